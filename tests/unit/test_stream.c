/*
 * capture/stream.c and capture/hep_stream.c: what a flow is, from its beginning or its middle, and
 * what comes out of it, is the same however it is cut; a flow stays what it is behind a hole; and
 * 100,000 flows that are half open take no memory and are counted.
 */
#include "capture/stream.h"

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/make_websocket.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP 17
#else
#define STEP 3
#endif
#define START	 1000000000ULL
#define HEP_PORT 9060
#define ROOM	 4096

/* What came out: for each 'T', 'W' or 'H', the octets, and a bar. */
struct got {
	uint8_t bytes[ROOM];
	size_t len;
};

static void got_add(struct got *g, char kind, struct view v)
{
	ck_assert_uint_le(g->len + v.len + 2, ROOM);
	g->bytes[g->len++] = (uint8_t)kind;
	memcpy(g->bytes + g->len, v.at, v.len);
	g->len += v.len;
	g->bytes[g->len++] = '|';
}

static void on_sip(void *ctx, const struct tcp_flow *flow, struct view message, uint8_t proto)
{
	ck_assert_uint_ge(flow->ts_us, START);
	ck_assert(proto == PROTO_TCP || proto == PROTO_WS);
	got_add(ctx, proto == PROTO_TCP ? 'T' : 'W', message);
}

static void on_hep(void *ctx, const struct tcp_flow *flow, struct view packet)
{
	ck_assert_uint_ge(flow->ts_us, START);
	got_add(ctx, 'H', packet);
}

static bool is_hep_port(void *ctx, uint16_t port)
{
	(void)ctx;
	return port == HEP_PORT;
}

static const struct stream_ops ops = { on_sip, on_hep, is_hep_port };

static struct stream *stream_of(struct got *got)
{
	struct stream *s = aligned_alloc(_Alignof(struct stream), sizeof(*s));

	memset(s, 0, sizeof(*s));
	stream_init(s, &ops, got);
	return s;
}

/* As tcp.c does: what was not taken is there again, with more. */
static void feed(struct stream *s, struct tcp_flow *flow, const uint8_t *bytes, size_t len,
		 const size_t *cuts, size_t cut_count)
{
	size_t taken = 0;

	for (size_t i = 0; i <= cut_count; i++) {
		size_t upto = i < cut_count ? cuts[i] : len, n = upto - taken;
		uint8_t *copy;

		if (n == 0)
			continue;
		copy = malloc(n); /* of its exact size */
		memcpy(copy, bytes + taken, n);
		flow->ts_us = START + i;
		n = stream_take(s, flow, (struct view){ copy, (uint32_t)n }, false);
		ck_assert_uint_le(n, upto - taken);
		taken += n;
		free(copy);
	}
	(void)stream_take(s, flow,
			  taken < len ? (struct view){ bytes + taken, (uint32_t)(len - taken) }
				      : (struct view){ NULL, 0 },
			  true);
}

/* ---- flows ---- */

#define GET    "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
#define ANSWER "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
#define INVITE "INVITE sip:bob@example.org SIP/2.0\r\nl: 2\r\n\r\nhi"
#define REPLY  "SIP/2.0 200 OK\r\nl: 0\r\n\r\n"

enum { RAW = -1, HEP = -2 }; /* or the first octet of a frame */

struct piece {
	int first;
	const char *text; /* of HEP: the magic, then what is in the packet */
	bool is_masked, is_wanted;
};

static const struct {
	struct piece pieces[8];
	bool starts_late; /* no SYN was seen */
	uint16_t port;
	struct {
		uint64_t sip, websocket, hep, unsynced; /* of the stream */
		uint64_t garbage, partial;		/* of whoever reads the flow */
		uint64_t reader_unsynced;
	} sums;
} flows[] = {
	{ .pieces = { { RAW, "" } } },
	{ .pieces = { { RAW, INVITE, .is_wanted = true } }, .sums.sip = 1 },
	{ .pieces = { { RAW, "\r\n\r\n" }, { RAW, REPLY, .is_wanted = true } }, .sums.sip = 1 },
	{ .pieces = { { RAW, GET }, { LAST | TEXT, INVITE, true, true } }, .sums.websocket = 1 },
	{ .pieces = { { RAW, ANSWER },
		      { LAST | TEXT, REPLY, .is_wanted = true },
		      { LAST | BINARY, INVITE, .is_wanted = true } },
	  .sums.websocket = 1 },
	{ .pieces = { { RAW, "GETTING /x SIP/2.0\r\nl: 0\r\n\r\n", .is_wanted = true } },
	  .sums.sip = 1 },
	{ .pieces = { { RAW, "GET sip:b SIP/2.0\r\nl: 0\r\n\r\n", .is_wanted = true } },
	  .sums.sip = 1 }, /* no HTTP, so it is a method that nobody knows */
	{ .pieces = { { RAW, "\x16\x03\x01\x02" }, { RAW, INVITE, .is_wanted = true } },
	  .sums = { .sip = 1, .garbage = 4 } },
	{ .pieces = { { RAW, "G" } }, .sums = { .sip = 1, .partial = 1 } },
	{ .pieces = { { LAST | TEXT, INVITE, .is_wanted = true } }, .sums.websocket = 1 },
	/* picked up in the middle */
	{ .pieces = { { RAW, "d of it\r\n" }, { RAW, INVITE, .is_wanted = true } },
	  .starts_late = true,
	  .sums = { .sip = 1, .unsynced = 9 } },
	{ .pieces = { { RAW, "no line end" }, { RAW, REPLY, .is_wanted = true } },
	  .starts_late = true,
	  .sums = { .sip = 1, .unsynced = 11 } },
	{ .pieces = { { RAW, "it is no sip/2.0 200 OK\r\n" },
		      { RAW, "sip/2.0 200 OK\r\nl: 0\r\n\r\n", .is_wanted = true },
		      { RAW, "x" } },
	  .starts_late = true,
	  .sums = { .sip = 1, .unsynced = 25, .partial = 1 } },
	{ .pieces = { { RAW, "d of it\r\n" },
		      { LAST | PING, "abc" },
		      { LAST | TEXT, "SIP/2.0 200 OK\r\n", true, true },
		      { LAST | TEXT, REPLY, true, true },
		      { RAW, "\x81" } },
	  .starts_late = true,
	  .sums = { .websocket = 1, .unsynced = 9 + 5, .partial = 1 } },
	{ .pieces = { { RAW, "d of it\r\n" }, { RAW, GET }, { LAST | TEXT, REPLY, true, true } },
	  .starts_late = true,
	  .sums = { .websocket = 1, .unsynced = 9 } },
	{ .pieces = { { RAW, "BYE or GET HTTP/1.1 \r\n" },
		      { LAST | TEXT, REPLY, .is_wanted = true },
		      { RAW, "\x89" } },
	  .starts_late = true,
	  .sums = { .websocket = 1, .unsynced = 22 } },
	{ .pieces = { { RAW, "x GET / HTTP/1.1\r\n" }, { RAW, REPLY, .is_wanted = true } },
	  .starts_late = true,
	  .sums = { .sip = 1, .unsynced = 18 } },
	{ .pieces = { { RAW, "nothing at all: INVI" } }, .starts_late = true, .sums.unsynced = 20 },
	/* HEP */
	{ .pieces = { { HEP, "HEP3" INVITE, .is_wanted = true },
		      { HEP, "EEP1x", .is_wanted = true },
		      { HEP, "EEP3", .is_wanted = true } },
	  .port = HEP_PORT,
	  .sums.hep = 1 },
	{ .pieces = { { HEP, "HEP3" INVITE, .is_wanted = true }, { RAW, "HEP3\0" } },
	  .port = HEP_PORT,
	  .sums = { .hep = 1, .partial = 1 } },
	{ .pieces = { { RAW, "HEP4" },
		      { HEP, "HEP3abc", .is_wanted = true },
		      { RAW, "HE" },
		      { HEP, "HEP3def", .is_wanted = true } },
	  .port = HEP_PORT,
	  .sums = { .hep = 1, .garbage = 4 + 2 } },
	/* where one is looked for, its first chunk tells */
	{ .pieces = { { RAW, "is in HEP3 as in HEP3, or" },
		      { HEP, "HEP3abc", .is_wanted = true },
		      { RAW, "HEP" } },
	  .starts_late = true,
	  .port = HEP_PORT,
	  .sums = { .hep = 1, .reader_unsynced = 25, .partial = 1 } },
	{ .pieces = { { RAW, "xHEP" } }, .port = HEP_PORT, .sums = { .hep = 1, .garbage = 4 } },
	{ .pieces = { { RAW, "HEP3\1\1" } },
	  .starts_late = true,
	  .port = HEP_PORT,
	  .sums = { .hep = 1, .reader_unsynced = 6 } },
	{ .pieces = { { RAW, INVITE } },
	  .port = HEP_PORT,
	  .sums = { .hep = 1, .garbage = sizeof(INVITE) - 1 } },
};

/* A packet with one chunk. */
static size_t hep_put(uint8_t *out, const char *text)
{
	size_t chunk = strlen(text) - 4 + 6;

	memcpy(out, text, 4);
	out[4] = (uint8_t)((chunk + 6) >> 8);
	out[5] = (uint8_t)(chunk + 6);
	memcpy(out + 6, "\0\0\0\x0f", 4);
	out[10] = (uint8_t)(chunk >> 8);
	out[11] = (uint8_t)chunk;
	memcpy(out + 12, text + 4, chunk - 6);
	return chunk + 6;
}

static size_t piece_put(uint8_t *out, const struct piece *p)
{
	size_t len = strlen(p->text);

	if (p->first == HEP)
		return hep_put(out, p->text);
	if (p->first != RAW)
		return frame_put(out, (unsigned)p->first, p->is_masked ? MASK : NULL, p->text, len);
	memcpy(out, p->text, len);
	return len;
}

/* The octets of the flow, and what is to come out. */
static size_t pieces_put(uint8_t *out, const struct piece *pieces, struct got *want)
{
	size_t len = 0;

	for (const struct piece *p = pieces; p->text; p++) {
		size_t n = piece_put(out + len, p);

		if (p->is_wanted && p->first == HEP)
			got_add(want, 'H', (struct view){ out + len, (uint32_t)n });
		else if (p->is_wanted)
			got_add(want, p->first == RAW ? 'T' : 'W', view_of(p->text));
		len += n;
	}
	return len;
}

static struct tcp_flow flow_of(int i)
{
	return (struct tcp_flow){ .is_synced = !flows[i].starts_late,
				  .ts_us = START,
				  .src.port = 5060,
				  .dst.port = flows[i].port };
}

static void check_sums(const struct stream *s, int i)
{
	ck_assert_uint_eq(counter_get(&s->counters.sip), flows[i].sums.sip);
	ck_assert_uint_eq(counter_get(&s->counters.websocket), flows[i].sums.websocket);
	ck_assert_uint_eq(counter_get(&s->counters.hep), flows[i].sums.hep);
	ck_assert_uint_eq(counter_get(&s->counters.unsynced_bytes), flows[i].sums.unsynced);
	ck_assert_uint_eq(counter_get(&s->sip.counters.garbage_bytes) +
				  counter_get(&s->websocket.counters.garbage_bytes) +
				  counter_get(&s->hep.counters.garbage_bytes),
			  flows[i].sums.garbage);
	ck_assert_uint_eq(counter_get(&s->sip.counters.partial) +
				  counter_get(&s->websocket.counters.partial) +
				  counter_get(&s->hep.counters.partial),
			  flows[i].sums.partial);
	ck_assert_uint_eq(counter_get(&s->sip.counters.unsynced_bytes) +
				  counter_get(&s->websocket.counters.unsynced_bytes) +
				  counter_get(&s->hep.counters.unsynced_bytes),
			  flows[i].sums.reader_unsynced);
}

static void check_cut(int i, const uint8_t *bytes, size_t len, const struct got *want,
		      const size_t *cuts, size_t count)
{
	struct tcp_flow flow = flow_of(i);
	struct got got = { .len = 0 };
	struct stream *s = stream_of(&got);

	feed(s, &flow, bytes, len, cuts, count);
	ck_assert_uint_eq(got.len, want->len);
	ck_assert_mem_eq(got.bytes, want->bytes, got.len);
	check_sums(s, i);
	free(s);
}

/* In one, in any two, in any three pieces, and octet by octet. */
START_TEST(a_flow_is_the_same_however_it_is_cut)
{
	struct got want = { .len = 0 };
	uint8_t bytes[ROOM];
	size_t len = pieces_put(bytes, flows[_i].pieces, &want), all[ROOM] = { 0 };

	for (size_t i = 0; i < len; i++)
		all[i] = i;
	check_cut(_i, bytes, len, &want, NULL, 0);
	check_cut(_i, bytes, len, &want, all, len);
	for (size_t a = 0; a < len; a++)
		for (size_t b = a; b < len; b += STEP)
			check_cut(_i, bytes, len, &want, (size_t[]){ a, b }, 2);
}
END_TEST

static void count_hep(void *ctx, const struct tcp_flow *flow, struct view packet)
{
	(void)flow;
	ck_assert_uint_eq(packet.len, 65535);
	(*(unsigned *)ctx)++;
}

/* It is as large as its length can say, and less than what a flow must be able to hold. */
START_TEST(largest_hep_packet_is_one)
{
	uint8_t *bytes = calloc(1, 65535);
	struct tcp_flow flow = { .is_synced = true };
	unsigned packets = 0;
	struct hep_stream s = { .fn = count_hep, .ctx = &packets };

	memcpy(bytes, "HEP3\xff\xff", 6);
	ck_assert_uint_eq(hep_stream_take(&s, &flow, (struct view){ bytes, 65534 }, false), 0);
	ck_assert_uint_eq(hep_stream_take(&s, &flow, (struct view){ bytes, 65535 }, false), 65535);
	ck_assert_uint_eq(packets, 1);
	free(bytes);
}
END_TEST

/* ---- behind a hole ---- */

static void send(struct tcp *t, uint16_t port, uint32_t seq, uint8_t flags, const void *bytes,
		 size_t len)
{
	struct tcp_segment s = { .seq = seq, .flags = flags, .ts_us = START };

	s.src.family = s.dst.family = FAMILY_IPV4;
	s.src.port = 40000;
	s.dst.port = port;
	s.payload = (struct view){ bytes, (uint32_t)len };
	tcp_add(t, &s);
}

static struct tcp *tcp_of(struct stream *s, uint32_t flow_count)
{
	struct tcp_options o = { flow_count, 8, 2, 32 << 10, 3000000, 600000000 };
	struct tcp *t;

	ck_assert_int_eq(tcp_new(&t, &o, stream_take, s), HT_OK);
	return t;
}

/* What is behind it would, alone, be taken for the other. */
START_TEST(a_flow_stays_what_it_is_behind_a_hole)
{
	struct got got = { .len = 0 }, want = { .len = 0 };
	struct stream *s = stream_of(&got);
	struct tcp *t = tcp_of(s, 16);
	uint8_t frame[ROOM];
	size_t len = frame_put(frame, LAST | TEXT, NULL, REPLY, sizeof(REPLY) - 1);

	send(t, 5060, 99, SEGMENT_SYN, NULL, 0);
	send(t, 5060, 100, 0, INVITE, sizeof(INVITE) - 1);
	send(t, 5060, 1000, 0, frame, len);
	send(t, 80, 99, SEGMENT_SYN, NULL, 0);
	send(t, 80, 100, 0, GET, sizeof(GET) - 1);
	send(t, 80, 1000, 0, INVITE, sizeof(INVITE) - 1);
	send(t, 80, 1000 + sizeof(INVITE) - 1, 0, frame, len);
	tcp_sweep(t, START + 3000001);
	got_add(&want, 'T', view_of(INVITE));
	got_add(&want, 'T', view_of(REPLY));
	got_add(&want, 'W', view_of(REPLY));
	ck_assert_uint_eq(got.len, want.len);
	ck_assert_mem_eq(got.bytes, want.bytes, got.len);
	ck_assert_uint_eq(counter_get(&s->sip.counters.unsynced_bytes), len - sizeof(REPLY) + 1);
	ck_assert_uint_eq(counter_get(&s->websocket.counters.unsynced_bytes), sizeof(INVITE) - 1);
	send(t, 80, 5000000, SEGMENT_SYN, REPLY, sizeof(REPLY) - 1); /* another connection */
	got_add(&want, 'T', view_of(REPLY));
	ck_assert_uint_eq(got.len, want.len);
	ck_assert_mem_eq(got.bytes, want.bytes, got.len);
	ck_assert_uint_eq(counter_get(&s->counters.sip), 2);
	ck_assert_uint_eq(counter_get(&s->counters.websocket), 1);
	tcp_free(t);
	free(s);
}
END_TEST

/* ---- many ---- */

static size_t heap_bytes(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

#define FLOWS 100000

/* Half of them send the front of a message before they fall silent: all of it is counted, and
 * nothing is taken from the heap. */
START_TEST(half_open_flows_take_no_memory_and_are_counted)
{
	static const char front[] = "INVITE sip:bob@example.org SIP/2.0\r\nl: 9";
	struct got got = { .len = 0 };
	struct stream *s = stream_of(&got);
	struct tcp *t = tcp_of(s, 1024);
	const struct tcp_counters *c = tcp_counters(t);
	size_t before = heap_bytes();
	uint64_t partial;

	for (uint32_t i = 0; i < FLOWS; i++) {
		struct tcp_segment syn = { .seq = i, .flags = SEGMENT_SYN, .ts_us = START + i };

		syn.src.family = syn.dst.family = FAMILY_IPV6;
		memcpy(syn.src.ip, &i, sizeof(i));
		tcp_add(t, &syn);
		if (i % 2 == 0)
			continue;
		syn.seq++;
		syn.flags = 0;
		syn.payload = (struct view){ (const uint8_t *)front, sizeof(front) - 1 };
		tcp_add(t, &syn);
	}
	ck_assert_uint_eq(heap_bytes(), before);
	ck_assert_uint_eq(counter_get(&c->given), FLOWS + FLOWS / 2);
	ck_assert_uint_eq(counter_get(&c->empty), FLOWS);
	ck_assert_uint_eq(counter_get(&c->carried), FLOWS / 2);
	ck_assert_uint_eq(counter_get(&s->counters.sip), FLOWS / 2);
	partial = counter_get(&s->sip.counters.partial);
	ck_assert_uint_lt(partial, FLOWS / 2); /* some are still held */
	ck_assert_uint_ge(partial, FLOWS / 2 - 8 - 2);
	tcp_drain(t);
	ck_assert_uint_eq(counter_get(&s->sip.counters.partial), FLOWS / 2);
	ck_assert_uint_eq(got.len, 0);
	tcp_free(t);
	free(s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, a_flow_is_the_same_however_it_is_cut, 0,
			    (int)(sizeof(flows) / sizeof(flows[0])));
	tcase_add_test(t, largest_hep_packet_is_one);
	tcase_add_test(t, a_flow_stays_what_it_is_behind_a_hole);
	tcase_add_test(t, half_open_flows_take_no_memory_and_are_counted);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
