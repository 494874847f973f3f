/*
 * capture/websocket.c: SIP in frames of every kind, cut anywhere, is the same messages and the same
 * numbers; and through capture/tcp.c with segments that are late, repeated and lost, every message
 * whose octets came is there.
 */
#include "capture/websocket.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/make_websocket.h"
#include "tests/unit/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 30
#else
#define ROUNDS 300
#endif
#define START 1000000000ULL
#define MOST  128

struct got {
	uint8_t *bytes;
	size_t len, room, count, ends[MOST];
	uint64_t ts[MOST];
};

static void take(void *ctx, const struct tcp_flow *flow, struct view message)
{
	struct got *g = ctx;

	ck_assert_uint_le(g->len + message.len, g->room);
	ck_assert_uint_lt(g->count, MOST);
	memcpy(g->bytes + g->len, message.at, message.len);
	g->len += message.len;
	g->ts[g->count] = flow->ts_us;
	g->ends[g->count++] = g->len;
}

static struct got got_of(size_t room)
{
	return (struct got){ .bytes = malloc(room ? room : 1), .room = room };
}

static struct websocket *websocket_of(struct got *got)
{
	struct websocket *w = aligned_alloc(_Alignof(struct websocket), sizeof(*w));

	memset(w, 0, sizeof(*w));
	w->fn = take;
	w->ctx = got;
	return w;
}

/* As tcp.c does: what was not taken is there again, with more. */
static void feed(struct websocket *w, bool is_synced, const uint8_t *bytes, size_t len,
		 const size_t *cuts, size_t cut_count)
{
	struct tcp_flow flow = { .is_synced = is_synced };
	size_t taken = 0;

	for (size_t i = 0; i <= cut_count; i++) {
		size_t upto = i < cut_count ? cuts[i] : len, n = upto - taken;
		uint8_t *copy;

		if (n == 0 && i < cut_count)
			continue;
		copy = malloc(n ? n : 1); /* of its exact size */
		memcpy(copy, bytes + taken, n);
		flow.ts_us = START + i;
		n = websocket_take(w, &flow, (struct view){ copy, (uint32_t)n }, false);
		ck_assert_uint_le(n, upto - taken);
		ck_assert(n > 0 || upto - taken < TCP_TAKER);
		taken += n;
		free(copy);
	}
	(void)websocket_take(w, &flow, (struct view){ bytes + taken, (uint32_t)(len - taken) },
			     true);
}

/* ---- streams of frames ---- */

#define GET "GET /sip HTTP/1.1\r\nHost: a\r\nupgrade:  WebSocket\r\nX: y\r\n\r\n"
#define ANSWER \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define REFUSED "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
#define INVITE	"INVITE sip:bob@example.org SIP/2.0\r\nCall-ID: a\r\n\r\n"
#define REPLY	"SIP/2.0 200 OK\r\nCall-ID: a\r\n\r\n"
#define LONG_HEADER                                                                           \
	"X: 0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n" \
	"X: 0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n"
#define LONG_REPLY "SIP/2.0 200 OK\r\n" LONG_HEADER "\r\n" /* takes another form of length */

/* One piece of a stream: octets as they are if there is no frame (first is -1). */
struct piece {
	int first;
	const char *mask, *text;
};

/* clang-format off */
#define RAW(text) { -1, NULL, text }
#define PLAIN(first, text) { first, NULL, text }
#define MASKED(first, text) { first, MASK, text }
/* clang-format on */

static const struct {
	struct piece pieces[12];
	const char *want[4];
	bool starts_late; /* no SYN was seen */
	struct {
		uint64_t partial, compressed, keep_alives, control, upgrades, not_upgraded, broken,
			garbage, unsynced, closed;
	} sums;
} streams[] = {
	{ .pieces = { RAW("") } },
	{ .pieces = { RAW(GET), MASKED(LAST | TEXT, INVITE) },
	  .want = { INVITE },
	  .sums.upgrades = 1 },
	{ .pieces = { RAW(ANSWER), PLAIN(LAST | TEXT, REPLY), PLAIN(LAST | BINARY, LONG_REPLY),
		      PLAIN(LAST | TEXT, INVITE) },
	  .want = { REPLY, LONG_REPLY, INVITE },
	  .sums.upgrades = 1 },
	/* in fragments, one of them empty */
	{ .pieces = { RAW(GET), MASKED(TEXT, "INVITE sip:bob@"), MASKED(CONTINUED, ""),
		      MASKED(CONTINUED, "example.org SIP/2.0\r\n"),
		      MASKED(LAST | CONTINUED, "Call-ID: a\r\n\r\n"), MASKED(LAST | TEXT, REPLY) },
	  .want = { INVITE, REPLY },
	  .sums.upgrades = 1 },
	/* masked and not, in one message */
	{ .pieces = { RAW(GET), PLAIN(TEXT, "SIP/2.0 "),
		      MASKED(LAST | CONTINUED, "200 OK\r\n\r\n") },
	  .want = { "SIP/2.0 200 OK\r\n\r\n" },
	  .sums.upgrades = 1 },
	/* control frames between and within */
	{ .pieces = { RAW(ANSWER), PLAIN(LAST | PING, ""), PLAIN(TEXT, "SIP/2.0 "),
		      PLAIN(LAST | PING, "12345"), MASKED(LAST | PONG, "SIP/2.0 200 no\r\n"),
		      PLAIN(LAST | CONTINUED, "200 OK\r\n\r\n"), PLAIN(LAST | PONG, "x") },
	  .want = { "SIP/2.0 200 OK\r\n\r\n" },
	  .sums = { .upgrades = 1, .control = 4 } },
	/* keep-alives, RFC 7118 section 6 */
	{ .pieces = { RAW(GET), MASKED(LAST | TEXT, "\r\n\r\n"), MASKED(LAST | TEXT, ""),
		      MASKED(TEXT, "\r\n"), MASKED(LAST | CONTINUED, "\r\n"),
		      MASKED(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .keep_alives = 3 } },
	/* what is no SIP is for others to judge */
	{ .pieces = { RAW(GET), MASKED(LAST | TEXT, "hello"), MASKED(LAST | BINARY, "\1\2") },
	  .want = { "hello", "\1\2" },
	  .sums.upgrades = 1 },
	{ .pieces = { RAW(ANSWER), PLAIN(LAST | COMPRESSED | TEXT, "\xf2\x48\xcd"),
		      PLAIN(LAST | TEXT, REPLY), PLAIN(COMPRESSED | TEXT, "abc"),
		      PLAIN(LAST | PING, ""), PLAIN(CONTINUED, "def"), PLAIN(LAST | CONTINUED, "g"),
		      PLAIN(LAST | BINARY, INVITE) },
	  .want = { REPLY, INVITE },
	  .sums = { .upgrades = 1, .compressed = 2, .control = 1 } },
	{ .pieces = { RAW(ANSWER), PLAIN(LAST | TEXT, REPLY),
		      PLAIN(LAST | CLOSE, "\3\xe8"
					  "bye"),
		      PLAIN(LAST | TEXT, INVITE) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .control = 1, .closed = 2 + sizeof(INVITE) - 1 } },
	{ .pieces = { RAW(ANSWER), PLAIN(TEXT, "SIP/2.0 200"), PLAIN(LAST | CLOSE, ""), RAW("x") },
	  .sums = { .upgrades = 1, .partial = 1, .control = 1, .closed = 1 } },
	/* refused, then upgraded, each with its body or none */
	{ .pieces = { RAW(REFUSED), RAW(ANSWER), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .not_upgraded = 1 } },
	{ .pieces = { RAW("HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nhello"), RAW(ANSWER),
		      PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .not_upgraded = 1, .garbage = 5 } },
	/* an upgrade that was refused is followed by another */
	{ .pieces = { RAW(GET), RAW(GET), MASKED(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 2, .broken = 1 } },
	{ .pieces = { RAW("GET / HTTP/1.1\r\nUpgrade: h2c\r\nX: websocket\r\n\r\n") },
	  .sums.not_upgraded = 1 },
	{ .pieces = { RAW("GET / HTTP/2\r\nGETHTTP/1.1 \r\n") }, .sums.garbage = 14 + 14 },
	/* frames that cannot be one: of reserved bits, opcodes, lengths; control frames that are
	 * long or in fragments; what goes on where nothing was begun, or begins within */
	{ .pieces = { RAW(ANSWER), RAW("\x91\x01z"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 3 } },
	{ .pieces = { RAW(ANSWER), RAW("\x83\x01z"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 3 } },
	{ .pieces = { RAW(ANSWER), RAW("\x81\x7e\x01\x01"), PLAIN(LAST | TEXT, REPLY) },
	  .sums = { .upgrades = 1, .partial = 1 } }, /* it is long, and does not come */
	{ .pieces = { RAW(ANSWER), PLAIN(PING, "z"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 3 } },
	{ .pieces = { RAW(ANSWER), RAW("\x89\x7ezz"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 4 } },
	{ .pieces = { RAW(ANSWER), PLAIN(LAST | CONTINUED, "z"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 3 } },
	{ .pieces = { RAW(ANSWER), PLAIN(TEXT, "INVITE sip:bob@"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .partial = 1 } },
	{ .pieces = { RAW(ANSWER), RAW("\xc0\x01z"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 3 } },
	/* a frame is never as large */
	{ .pieces = { RAW(ANSWER), RAW("\x82\x7f\x40zzzzzzz"), PLAIN(LAST | TEXT, REPLY) },
	  .want = { REPLY },
	  .sums = { .upgrades = 1, .broken = 1, .garbage = 10 } },
	/* picked up in the middle: of a frame, of a message, before one that is no SIP */
	{ .pieces = { RAW("nd of it\r\n\r\n"), PLAIN(LAST | TEXT, REPLY),
		      MASKED(LAST | TEXT, INVITE) },
	  .want = { REPLY, INVITE },
	  .starts_late = true,
	  .sums.unsynced = 12 },
	{ .pieces = { MASKED(CONTINUED, "SIP/2.0 200 OK\r\n"), MASKED(LAST | CONTINUED, "x"),
		      MASKED(LAST | TEXT, INVITE), MASKED(LAST | TEXT, "hello") },
	  .want = { INVITE, "hello" },
	  .starts_late = true,
	  .sums.unsynced = 6 + 16 + 6 + 1 },
	{ .pieces = { PLAIN(LAST | PING, ""), PLAIN(LAST | TEXT, "hello"),
		      PLAIN(LAST | TEXT, REPLY), PLAIN(LAST | PING, "") },
	  .want = { REPLY },
	  .starts_late = true,
	  .sums = { .unsynced = 2 + 7, .control = 1 } },
	{ .pieces = { RAW("Date: x\r\n\r\n"), RAW(GET), MASKED(LAST | TEXT, INVITE) },
	  .want = { INVITE },
	  .starts_late = true,
	  .sums = { .unsynced = 11, .upgrades = 1 } },
	/* ends */
	{ .pieces = { RAW(ANSWER), RAW("\x81\x05hell") }, .sums = { .upgrades = 1, .partial = 1 } },
	{ .pieces = { RAW(ANSWER), RAW("\x81") }, .sums = { .upgrades = 1, .partial = 1 } },
	{ .pieces = { RAW(ANSWER), RAW("\x89") }, .sums = { .upgrades = 1, .control = 1 } },
	{ .pieces = { RAW(ANSWER), PLAIN(TEXT, "SIP/2.0") },
	  .sums = { .upgrades = 1, .partial = 1 } },
	{ .pieces = { RAW(ANSWER), RAW("\xc1\x05x") }, .sums = { .upgrades = 1, .compressed = 1 } },
	{ .pieces = { RAW(ANSWER), RAW("\x41\x01x"), RAW("\x80") },
	  .sums = { .upgrades = 1, .compressed = 1 } },
	{ .pieces = { RAW("GET / HTTP/1.1\r\nX: y\r\n") }, .sums.garbage = 22 },
	{ .pieces = { RAW("GE") }, .starts_late = true, .sums.unsynced = 2 },
};

static size_t pieces_put(uint8_t *out, const struct piece *pieces)
{
	size_t len = 0;

	for (const struct piece *p = pieces; p->text; p++) {
		size_t n = strlen(p->text);

		if (p->first < 0)
			memcpy(out + len, p->text, n);
		len += p->first < 0 ? n
				    : frame_put(out + len, (unsigned)p->first, p->mask, p->text, n);
	}
	return len;
}

static void check_cut(int i, const uint8_t *bytes, size_t len, const size_t *cuts, size_t count)
{
	struct got got = got_of(len);
	struct websocket *w = websocket_of(&got);
	const struct websocket_counters *c = &w->counters;
	size_t at = 0, n = 0;

	feed(w, !streams[i].starts_late, bytes, len, cuts, count);
	for (; n < 4 && streams[i].want[n]; n++) {
		const char *want = streams[i].want[n];

		ck_assert_uint_lt(n, got.count);
		ck_assert_uint_eq(got.ends[n], at + strlen(want));
		ck_assert_mem_eq(got.bytes + at, want, strlen(want));
		at += strlen(want);
	}
	ck_assert_uint_eq(got.count, n);
	ck_assert_uint_eq(counter_get(&c->messages), n);
	ck_assert_uint_eq(counter_get(&c->oversize), 0);
	ck_assert_uint_eq(counter_get(&c->partial), streams[i].sums.partial);
	ck_assert_uint_eq(counter_get(&c->compressed), streams[i].sums.compressed);
	ck_assert_uint_eq(counter_get(&c->keep_alives), streams[i].sums.keep_alives);
	ck_assert_uint_eq(counter_get(&c->control), streams[i].sums.control);
	ck_assert_uint_eq(counter_get(&c->upgrades), streams[i].sums.upgrades);
	ck_assert_uint_eq(counter_get(&c->not_upgraded), streams[i].sums.not_upgraded);
	ck_assert_uint_eq(counter_get(&c->broken), streams[i].sums.broken);
	ck_assert_uint_eq(counter_get(&c->garbage_bytes), streams[i].sums.garbage);
	ck_assert_uint_eq(counter_get(&c->unsynced_bytes), streams[i].sums.unsynced);
	ck_assert_uint_eq(counter_get(&c->closed_bytes), streams[i].sums.closed);
	free(w);
	free(got.bytes);
}

/* In one, in any two, in any three pieces, and octet by octet. */
START_TEST(the_same_messages_however_they_are_cut)
{
	uint8_t bytes[2048];
	size_t len = pieces_put(bytes, streams[_i].pieces), all[2048] = { 0 };

	ck_assert_uint_le(len, sizeof(bytes));
	for (size_t i = 0; i < len; i++)
		all[i] = i;
	check_cut(_i, bytes, len, NULL, 0);
	check_cut(_i, bytes, len, all, len);
	for (size_t a = 0; a < len; a++)
		for (size_t b = a; b < len; b += ROUNDS < 300 ? 31 : 5)
			check_cut(_i, bytes, len, (size_t[]){ a, b }, 2);
}
END_TEST

/* ---- sizes ---- */

static const struct {
	size_t frame; /* octets of payload of each but the last */
	size_t message;
	bool has_pings, is_taken;
} sizes[] = {
	{ WEBSOCKET_MESSAGE - 14, WEBSOCKET_MESSAGE - 14, false, true }, /* less its head */
	{ WEBSOCKET_MESSAGE - 13, WEBSOCKET_MESSAGE - 13, false, false },
	{ 65536, 100000, false, true },
	{ 65535, 200000, false, false },
	{ 1000, 119000, false, true },
	{ 1000, 300000, false, false },
	{ 10 << 20, 10 << 20, false, false },
	{ 20, 2000, true, true },
	{ 20, 20000, true, false }, /* what is between counts too */
};

static size_t put_large(uint8_t *out, size_t frame, size_t message, bool has_pings)
{
	uint8_t *payload = malloc(message);
	size_t len = 0, at = 0;

	memset(payload, 'x', message);
	memcpy(payload, INVITE, sizeof(INVITE) - 1 < message ? sizeof(INVITE) - 1 : message);
	while (at < message) {
		size_t n = frame < message - at ? frame : message - at;
		unsigned first = (at ? CONTINUED : TEXT) | (at + n == message ? LAST : 0);

		if (at && has_pings)
			len += frame_put(out + len, LAST | PING, MASK, payload, 125);
		len += frame_put(out + len, first, MASK, payload + at, n);
		at += n;
	}
	free(payload);
	return len;
}

/* The largest message is one, one octet more is none, and the next one is found all the same. */
START_TEST(sizes_have_a_limit)
{
	uint8_t *bytes = malloc(12 << 20);
	size_t len = (size_t)sprintf((char *)bytes, GET), cuts[4096];

	len += put_large(bytes + len, sizes[_i].frame, sizes[_i].message, sizes[_i].has_pings);
	len += frame_put(bytes + len, LAST | TEXT, MASK, REPLY, sizeof(REPLY) - 1);
	for (size_t piece = 65000; piece > 3000; piece /= 3) {
		struct got got = got_of(len);
		struct websocket *w = websocket_of(&got);
		size_t count = 0;

		for (size_t at = piece; at < len; at += piece)
			cuts[count++] = at;
		feed(w, true, bytes, len, cuts, count);
		ck_assert_uint_eq(got.count, 1 + sizes[_i].is_taken);
		if (sizes[_i].is_taken)
			ck_assert_uint_eq(got.ends[0], sizes[_i].message);
		ck_assert_mem_eq(got.bytes + got.len - (sizeof(REPLY) - 1), REPLY,
				 sizeof(REPLY) - 1);
		ck_assert_uint_eq(counter_get(&w->counters.oversize), !sizes[_i].is_taken);
		ck_assert_uint_eq(counter_get(&w->counters.broken), 0);
		ck_assert_uint_eq(counter_get(&w->counters.partial), 0);
		free(w);
		free(got.bytes);
	}
	free(bytes);
}
END_TEST

/* A message is begun, and nothing but pings follow: it is not waited for. */
START_TEST(pings_within_a_message_have_a_limit)
{
	uint8_t *bytes = malloc(200000), ping[125] = { 0 };
	size_t len = (size_t)sprintf((char *)bytes, ANSWER), cuts[200], count = 0;
	struct got got = got_of(1000);
	struct websocket *w = websocket_of(&got);

	len += frame_put(bytes + len, TEXT, NULL, INVITE, 20);
	for (int i = 0; i < 1100; i++)
		len += frame_put(bytes + len, LAST | PING, NULL, ping, sizeof(ping));
	len += frame_put(bytes + len, LAST | CONTINUED, NULL, ping, 1);
	len += frame_put(bytes + len, LAST | TEXT, NULL, REPLY, sizeof(REPLY) - 1);
	for (size_t at = 1400; at < len; at += 1400)
		cuts[count++] = at;
	feed(w, true, bytes, len, cuts, count);
	ck_assert_uint_eq(got.count, 1);
	ck_assert_mem_eq(got.bytes, REPLY, sizeof(REPLY) - 1);
	ck_assert_uint_eq(counter_get(&w->counters.oversize), 1);
	ck_assert_uint_eq(counter_get(&w->counters.control), 1100);
	ck_assert_uint_eq(counter_get(&w->counters.partial), 0);
	free(w);
	free(got.bytes);
	free(bytes);
}
END_TEST

START_TEST(header_of_http_has_a_limit)
{
	size_t len = WEBSOCKET_HTTP + 100;
	uint8_t *bytes = malloc(len);
	struct got got = got_of(len);
	struct websocket *w = websocket_of(&got);
	size_t n = (size_t)sprintf((char *)bytes, "GET / HTTP/1.1\r\nX: ");

	memset(bytes + n, 'x', len - n);
	n = len - (sizeof(REPLY) - 1) - 2;
	frame_put(bytes + n, LAST | TEXT, NULL, REPLY, sizeof(REPLY) - 1);
	feed(w, true, bytes, len, (size_t[]){ 7, 100, 40000 }, 3);
	ck_assert_uint_eq(got.count, 1);
	ck_assert_uint_eq(counter_get(&w->counters.garbage_bytes), n);
	free(w);
	free(got.bytes);
	free(bytes);
}
END_TEST

/* ---- through tcp.c ---- */

#define MESSAGES 60

struct story {
	uint8_t *bytes;
	size_t len, count;
	size_t begin[MESSAGES], end[MESSAGES]; /* of its frames */
	struct got want;
};

/* A message in frames of which the first tells that it is SIP, pings between them. */
static void story_tell(struct story *t, struct random *r)
{
	const char *mask = random_below(r, 2) ? MASK : NULL;
	char text[8192];
	size_t len =
		(size_t)sprintf(text, "%sX-%zu: %0*d\r\n\r\n", random_below(r, 2) ? INVITE : REPLY,
				t->count, (int)random_below(r, 5000), 0);
	size_t at = 0;

	t->begin[t->count] = t->len;
	while (at < len) {
		size_t n = random_below(r, 2) ? len : 12 + random_below(r, 900);

		n = n < len - at ? n : len - at;
		t->len += frame_put(t->bytes + t->len,
				    (at ? CONTINUED : TEXT) | (at + n == len ? LAST : 0), mask,
				    text + at, n);
		at += n;
		if (at < len && random_below(r, 3) == 0)
			t->len += frame_put(t->bytes + t->len, LAST | PING, mask, "abc", 3);
	}
	t->end[t->count++] = t->len;
	memcpy(t->want.bytes + t->want.len, text, len);
	t->want.len += len;
	t->want.ends[t->want.count++] = t->want.len;
	if (random_below(r, 4) == 0)
		t->len += frame_put(t->bytes + t->len, LAST | TEXT, mask, "\r\n\r\n", 4);
}

static struct story *story_make(struct random *r)
{
	struct story *t = calloc(1, sizeof(*t));

	t->bytes = malloc(MESSAGES * 9000);
	t->want = got_of(MESSAGES * 9000);
	t->len = (size_t)sprintf((char *)t->bytes, GET);
	for (int i = 0; i < MESSAGES; i++)
		story_tell(t, r);
	return t;
}

/* What must come out when only some octets came: messages that are whole. */
static void check_story(const struct story *t, const uint8_t *is_there, const struct got *got)
{
	size_t at = 0, from = 0, count = 0;

	for (size_t i = 0; i < t->count; i++) {
		size_t len = t->want.ends[i] - from;

		if (!memchr(is_there + t->begin[i], 0, t->end[i] - t->begin[i])) {
			ck_assert_uint_lt(count, got->count);
			ck_assert_uint_eq(got->ends[count++], at + len);
			ck_assert_mem_eq(got->bytes + at, t->want.bytes + from, len);
			at += len;
		}
		from += len;
	}
	ck_assert_uint_eq(got->count, count);
}

static void send_segment(struct tcp *tcp, const struct story *t, size_t at, size_t len,
			 uint64_t ts_us)
{
	struct tcp_segment s = { .seq = 4294960000U + (uint32_t)at, .ts_us = ts_us };

	s.src.family = s.dst.family = FAMILY_IPV4;
	s.src.port = 40000;
	s.dst.port = 80;
	s.payload = (struct view){ t->bytes + at, (uint32_t)len };
	if (at == 0) {
		s.seq--;
		s.flags = SEGMENT_SYN;
	}
	tcp_add(tcp, &s);
}

#define PICKUP 20000

/* From the beginning or the middle, in pieces, neighbours out of order, some again, some not at
 * all. */
static void run_story(int seed, unsigned loss)
{
	static const struct tcp_options o = { 16, 4, 2, 32 << 10, 3000000, 600000000 };
	struct random r = random_from(0x3eb + (uint64_t)seed);
	struct story *t = story_make(&r);
	struct got got = got_of(t->len);
	struct websocket *w = websocket_of(&got);
	uint8_t *is_there = calloc(1, t->len);
	size_t at = seed % 3 ? 0 : 1 + random_below(&r, t->len / 2), begin = at;
	size_t late_at = 0, late_len = 0;
	uint64_t ts = START;
	struct tcp *tcp;

	ck_assert_int_eq(tcp_new(&tcp, &o, websocket_take, w), HT_OK);
	while (at < t->len) {
		size_t n = 1 + random_below(&r, 1460), from = at;
		bool is_late = from > begin && late_len == 0 && random_below(&r, 3) == 0;

		n = n < t->len - at ? n : t->len - at;
		at += n;
		if (from != begin && random_below(&r, 100) < loss)
			continue;
		if (begin && from < begin + PICKUP) /* order is known when something is */
			is_late = false;
		memset(is_there + from, 1, n);
		if (is_late) {
			late_at = from;
			late_len = n;
			continue;
		}
		send_segment(tcp, t, from, n, ++ts);
		for (uint64_t i = random_below(&r, 3); late_len && i < 3; i++)
			send_segment(tcp, t, late_at, late_len, ++ts);
		late_len = 0;
	}
	if (late_len)
		send_segment(tcp, t, late_at, late_len, ++ts);
	tcp_drain(tcp);
	check_story(t, is_there, &got);
	tcp_free(tcp);
	free(w);
	free(is_there);
	free(got.bytes);
	free(t->want.bytes);
	free(t->bytes);
	free(t);
}

START_TEST(any_segments_give_the_same_messages)
{
	run_story(_i, 0);
}
END_TEST

START_TEST(losses_cost_the_messages_that_they_hit)
{
	run_story(_i, 1 + (unsigned)_i % 8);
}
END_TEST

START_TEST(a_message_has_the_time_of_the_packet_that_completed_it)
{
	uint8_t bytes[512];
	size_t len = (size_t)sprintf((char *)bytes, GET), first, second;
	struct got got = got_of(sizeof(bytes));
	struct websocket *w = websocket_of(&got);

	first = len + frame_put(bytes + len, LAST | TEXT, MASK, REPLY, sizeof(REPLY) - 1);
	second = first + frame_put(bytes + first, LAST | TEXT, NULL, REPLY, sizeof(REPLY) - 1);
	feed(w, true, bytes, second, (size_t[]){ len + 3, first, first + 1, second - 1 }, 4);
	ck_assert_uint_eq(got.count, 2);
	ck_assert_uint_eq(got.ts[0], START + 1);
	ck_assert_uint_eq(got.ts[1], START + 4);
	free(w);
	free(got.bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("websocket");
	TCase *t = tcase_create("websocket");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, the_same_messages_however_they_are_cut, 0,
			    (int)(sizeof(streams) / sizeof(streams[0])));
	tcase_add_loop_test(t, sizes_have_a_limit, 0, (int)(sizeof(sizes) / sizeof(sizes[0])));
	tcase_add_test(t, pings_within_a_message_have_a_limit);
	tcase_add_test(t, header_of_http_has_a_limit);
	tcase_add_loop_test(t, any_segments_give_the_same_messages, 0, ROUNDS);
	tcase_add_loop_test(t, losses_cost_the_messages_that_they_hit, 0, ROUNDS);
	tcase_add_test(t, a_message_has_the_time_of_the_packet_that_completed_it);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
