/*
 * capture/sip_stream.c: messages of every kind, cut anywhere, are the same messages and the same
 * numbers; and through capture/tcp.c with segments that are late, repeated, overlapping and lost,
 * every message whose octets came is there.
 */
#include "capture/sip_stream.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 30
#else
#define ROUNDS 300
#endif
#define START 1000000000ULL
#define MOST  128

/* What came out: the octets of messages one behind the other, and where each ends. */
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

/* ---- feeding as tcp.c does: what was not taken is there again ---- */

static void feed(struct sip_stream *s, bool is_synced, const uint8_t *bytes, size_t len,
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
		n = sip_stream_take(s, &flow, (struct view){ copy, (uint32_t)n }, false);
		ck_assert_uint_le(n, upto - taken);
		ck_assert(n > 0 || upto - taken < TCP_TAKER);
		taken += n;
		free(copy);
	}
	(void)sip_stream_take(s, &flow, (struct view){ bytes + taken, (uint32_t)(len - taken) },
			      true);
}

/* ---- streams and what is in them; a bar stands around each message ---- */

#define INVITE	"INVITE sip:bob@example.org SIP/2.0\r\n"
#define REPLY	"SIP/2.0 200 OK\r\n"
#define CALL_ID "Call-ID: a\r\n"

static const struct {
	const char *text; /* | around messages: taken out before it is fed */
	bool starts_late; /* no SYN was seen */
	uint64_t partial, oversize, keep_alives, garbage, unsynced;
} streams[] = {
	{ .text = "" },
	{ .text = "|" INVITE CALL_ID "Content-Length: 5\r\n\r\nhello|" },
	{ .text = "|" INVITE CALL_ID "l: 5\r\n\r\nhello||" REPLY "L:0\r\n\r\n||" REPLY
		  "l : 1\r\n\r\nx|" },
	{ .text = "|" INVITE CALL_ID "\r\n||" REPLY "\r\n|" }, /* neither length nor type */
	{ .text = "|" INVITE "c: text/plain\r\n\r\nline\r\nline\r\n||" REPLY "l: 0\r\n\r\n|" },
	{ .text = "|" INVITE "c: text/plain\r\n\r\nline\r\n|" },
	{ .text = "|" INVITE "c: text/plain\r\n\r\n|" },
	{ .text = "|" INVITE
		  "c: a/b\r\nl: x\r\n\r\nSIP/2.0 20 is no reply\nINVITE is none\n||" REPLY
		  "\r\n|" },
	{ .text = "|" INVITE "l: 2\n\nhi|" }, /* lone LF */
	{ .text = "|" INVITE "l:\r\n  2\r\n\r\nhi|" },
	{ .text = "\r\n\r\n|" REPLY "l: 0\r\n\r\n|\r\n|" REPLY "l: 0\r\n\r\n|\r\n\r\n",
	  .keep_alives = 5 },
	{ .text = "\r\n\r\n", .starts_late = true, .unsynced = 4 },
	{ .text = "hello\r\n\r\n|" REPLY "l: 0\r\n\r\n|bye\r\n", .garbage = 9 + 5 },
	{ .text = "hello\r\n\r\n|" REPLY "l: 0\r\n\r\n|bye\r\n",
	  .starts_late = true,
	  .unsynced = 9,
	  .garbage = 5 },
	{ .text = "E sip:bob@example.org SIP/2.0\r\nl: 0\r\n\r\n|" REPLY "l: 0\r\n\r\n|",
	  .starts_late = true,
	  .unsynced = 31 + 6 + 2 },
	{ .text = "|KDMQ sip:bob@example.org SIP/2.0\r\nl: 0\r\n\r\n|" },
	{ .text = "\r\nKDMQ sip:bob@example.org SIP/2.0\r\nl: 0\r\n\r\n|" REPLY "l: 0\r\n\r\n|",
	  .starts_late = true,
	  .unsynced = 2 + 34 + 6 + 2 },
	{ .text = "Via: SIP/2.0/UDP 10.0.0.1\r\nSIP/2.0/UDP 10.0.0.1\r\n|" REPLY "l: 0\r\n\r\n|",
	  .starts_late = true,
	  .unsynced = 27 + 22 },
	{ .text = "\1|" REPLY "l: 0\r\n\r\n|",
	  .starts_late = true,
	  .unsynced = 1 }, /* a keep-alive probe */
	{ .text = "|" INVITE "l: 2\r\n\r\nhi|xy|" REPLY "l: 0\r\n\r\n|INV/|" INVITE
		  "l: 0\r\n\r\n|INVIT",
	  .garbage = 6,
	  .partial = 1 },
	{ .text = "|" INVITE "l: 2\r\n\r\nhi|there\r\n|" REPLY "l: 0\r\n\r\n|", .garbage = 7 },
	{ .text = INVITE "l: 9\r\n\r\nhello", .partial = 1 },
	{ .text = INVITE "l: 9\r\n", .partial = 1 },
	{ .text = "|" REPLY "l: 0\r\n\r\n|INVITE sip:b", .partial = 1 },
	{ .text = "INVITE sip:b", .starts_late = true, .unsynced = 12 },
	{ .text = "INVITE sip:bob@example.org HTTP/1.1\r\n\r\n", .garbage = 39 },
	{ .text = "SIP/2.0 20\r\nSIP/2.0 2000 OK\r\nSIP/2.0 200\tx\r\nSIP/20 200\r\n|SIP/2.0 "
		  "200\r\nl: "
		  "0\r\n\r\n|",
	  .garbage = 12 + 17 + 15 + 12 },
	{ .text = "|sip/2.0 200 OK\r\nl: 0\r\n\r\n|" },
	{ .text = "\177sip/2.0 200 OK\r\n", .garbage = 17 }, /* not within a line */
	{ .text = "|" REPLY "l: 0\r\n\r\n|" REPLY "l: 122880\r\n\r\nabc\r\n|" REPLY "l: 0\r\n\r\n|",
	  .oversize = 1,
	  .garbage = 5 },
	{ .text = REPLY "l: 99999999999999999999\r\n\r\n\r\n|" REPLY "l: 0\r\n\r\n|",
	  .oversize = 1,
	  .garbage = 2 },
};

/* The stream without bars, and what is to come out. */
static size_t unbar(const char *text, uint8_t *out, struct got *want)
{
	size_t len = 0;
	bool inside = false;

	for (; *text; text++) {
		if (*text == '|') {
			inside = !inside;
			if (!inside)
				want->ends[want->count++] = want->len;
			continue;
		}
		if (inside)
			want->bytes[want->len++] = (uint8_t)*text;
		out[len++] = (uint8_t)*text;
	}
	return len;
}

static void check(const struct sip_stream *s, const struct got *got, const struct got *want, int i)
{
	const struct sip_stream_counters *c = &s->counters;

	ck_assert_uint_eq(got->count, want->count);
	ck_assert_uint_eq(got->len, want->len);
	ck_assert(got->len == 0 || memcmp(got->bytes, want->bytes, got->len) == 0);
	ck_assert_mem_eq(got->ends, want->ends, sizeof(got->ends));
	ck_assert_uint_eq(counter_get(&c->messages), got->count);
	ck_assert_uint_eq(counter_get(&c->partial), streams[i].partial);
	ck_assert_uint_eq(counter_get(&c->oversize), streams[i].oversize);
	ck_assert_uint_eq(counter_get(&c->keep_alives), streams[i].keep_alives);
	ck_assert_uint_eq(counter_get(&c->garbage_bytes), streams[i].garbage);
	ck_assert_uint_eq(counter_get(&c->unsynced_bytes), streams[i].unsynced);
}

static void check_cut(int i, const uint8_t *bytes, size_t len, const struct got *want,
		      const size_t *cuts, size_t count)
{
	struct got got = got_of(len);
	struct sip_stream s = { .fn = take, .ctx = &got };

	feed(&s, !streams[i].starts_late, bytes, len, cuts, count);
	check(&s, &got, want, i);
	free(got.bytes);
}

/* In one, in any two, in any three pieces, and octet by octet. */
START_TEST(the_same_messages_however_they_are_cut)
{
	size_t most = strlen(streams[_i].text), len, all[1024] = { 0 };
	uint8_t *bytes = malloc(most + 1);
	struct got want = got_of(most);

	len = unbar(streams[_i].text, bytes, &want);
	ck_assert_uint_lt(len, 1024);
	for (size_t i = 0; i < len; i++)
		all[i] = i;
	check_cut(_i, bytes, len, &want, NULL, 0);
	check_cut(_i, bytes, len, &want, all, len);
	for (size_t a = 0; a < len; a++)
		for (size_t b = a; b < len; b += ROUNDS < 300 ? 7 : 1)
			check_cut(_i, bytes, len, &want, (size_t[]){ a, b }, 2);
	free(want.bytes);
	free(bytes);
}
END_TEST

/* ---- sizes ---- */

/* A message of exactly @p header octets of start line and headers, and a body. */
static size_t make_large(uint8_t *out, size_t header, size_t body, bool says_length)
{
	size_t n = (size_t)sprintf(
		(char *)out, says_length ? REPLY "l: %zu\r\nX: " : REPLY "c: a/b\r\nX: ", body);

	memset(out + n, 'x', header - n + body);
	memcpy(out + header - 4, "\r\n\r\n", 4);
	return header + body;
}

static const struct {
	size_t header, body;
	bool says_length, is_taken;
} sizes[] = {
	{ SIP_STREAM_HEADER, 10, true, true },
	{ SIP_STREAM_HEADER + 1, 10, true, false },
	{ SIP_STREAM_HEADER, 10, false, true },
	{ 100, SIP_STREAM_MESSAGE - 100, true, true },
	{ 100, SIP_STREAM_MESSAGE - 99, true, false },
	{ 100, SIP_STREAM_MESSAGE - 100 - 2, false, true }, /* and the line end */
	{ 100, SIP_STREAM_MESSAGE - 99 - 2, false, false },
	{ 100, 3 * SIP_STREAM_MESSAGE, false, false },
	{ 2 * SIP_STREAM_HEADER, 10, true, false },
};

/* The largest message is one, one octet more is none, and the next one is found all the same. */
START_TEST(sizes_have_a_limit)
{
	static const char next[] = "\r\n" REPLY "l: 0\r\n\r\n";
	size_t room = sizes[_i].header + sizes[_i].body + sizeof(next), len, cuts[1024];
	uint8_t *bytes = malloc(room);

	len = make_large(bytes, sizes[_i].header, sizes[_i].body, sizes[_i].says_length);
	memcpy(bytes + len, next, sizeof(next) - 1);
	for (size_t piece = len + sizeof(next); piece > 999; piece /= 5) {
		struct got got = got_of(room);
		struct sip_stream s = { .fn = take, .ctx = &got };
		size_t count = 0;

		for (size_t at = piece; at < len + sizeof(next) - 1; at += piece)
			cuts[count++] = at;
		feed(&s, true, bytes, len + sizeof(next) - 1, cuts, count);
		ck_assert_uint_eq(got.count, 1 + sizes[_i].is_taken);
		ck_assert_uint_eq(counter_get(&s.counters.oversize), !sizes[_i].is_taken);
		if (sizes[_i].is_taken)
			ck_assert_uint_eq(got.ends[0], len + (sizes[_i].says_length ? 0 : 2));
		ck_assert_mem_eq(got.bytes + got.len - (sizeof(next) - 3), next + 2,
				 sizeof(next) - 3);
		free(got.bytes);
	}
	free(bytes);
}
END_TEST

/* ---- through tcp.c ---- */

#define MESSAGES 60

struct story {
	uint8_t *bytes;
	size_t len, count;
	size_t begin[MESSAGES], end[MESSAGES];
	struct got want;
};

static void story_add(struct story *t, const uint8_t *bytes, size_t len)
{
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

/* A message with a length, which has a number in it; perhaps keep-alives behind it. */
static void story_tell(struct story *t, struct random *r)
{
	char text[8192];
	size_t body = random_below(r, 5) ? random_below(r, 900) : random_below(r, 5000);
	size_t n = (size_t)sprintf(text, "%sCall-ID: %zu-%u\r\nX: %0*d\r\n%s: %zu\r\n\r\n",
				   random_below(r, 2) ? INVITE : REPLY, t->count,
				   (unsigned)random_below(r, 100000), (int)random_below(r, 1500), 0,
				   random_below(r, 2) ? "l" : "content-LENGTH", body);

	for (size_t i = 0; i < body; i++) /* nothing in it begins a message */
		text[n + i] = "abc\r\n:/ 12"[random_below(r, 10)];
	t->begin[t->count] = t->len;
	story_add(t, (uint8_t *)text, n + body);
	t->end[t->count++] = t->len;
	for (uint64_t i = random_below(r, 8); i < 2; i++)
		story_add(t, (const uint8_t *)"\r\n\r\n", 4);
}

static bool is_whole(const uint8_t *is_there, size_t begin, size_t end)
{
	return !memchr(is_there + begin, 0, end - begin);
}

/* What must come out when only some octets came: messages that are whole. */
static void check_story(const struct story *t, const uint8_t *is_there, const struct got *got)
{
	size_t at = 0, count = 0;

	for (size_t i = 0; i < t->count; i++) {
		size_t len = t->end[i] - t->begin[i];

		if (!is_whole(is_there, t->begin[i], t->end[i]))
			continue;
		ck_assert_uint_lt(count, got->count);
		ck_assert_uint_eq(got->ends[count++], at + len);
		ck_assert_mem_eq(got->bytes + at, t->bytes + t->begin[i], len);
		at += len;
	}
	ck_assert_uint_eq(got->count, count);
}

static void send_segment(struct tcp *tcp, uint32_t isn, const struct story *t, size_t at,
			 size_t len, uint64_t ts_us)
{
	struct tcp_segment s = { .seq = isn + 1 + (uint32_t)at, .ts_us = ts_us };

	s.src.family = s.dst.family = FAMILY_IPV6;
	s.src.port = 40000;
	s.dst.port = 5060;
	s.payload = (struct view){ t->bytes + at, (uint32_t)len };
	tcp_add(tcp, &s);
}

static void send_syn(struct tcp *tcp, uint32_t isn)
{
	struct tcp_segment s = { .seq = isn, .flags = SEGMENT_SYN, .ts_us = START };

	s.src.family = s.dst.family = FAMILY_IPV6;
	s.src.port = 40000;
	s.dst.port = 5060;
	tcp_add(tcp, &s);
}

static struct story *story_make(struct random *r)
{
	struct story *t = calloc(1, sizeof(*t));

	t->bytes = malloc(MESSAGES * 8200);
	for (int i = 0; i < MESSAGES; i++)
		story_tell(t, r);
	return t;
}

static void run_story(int seed, unsigned loss)
{
	static const struct tcp_options o = { 16, 4, 2, 32 << 10, 3000000, 600000000 };
	struct random r = random_from(0x51b + (uint64_t)seed);
	struct story *t = story_make(&r);
	struct got got = got_of(t->len);
	struct sip_stream s = { .fn = take, .ctx = &got };
	uint8_t *is_there = calloc(1, t->len);
	uint32_t isn = (uint32_t)random_next(&r);
	size_t at = 0, held_at = 0, held_len = 0, i = 0;
	struct tcp *tcp;

	ck_assert_int_eq(tcp_new(&tcp, &o, sip_stream_take, &s), HT_OK);
	if (random_below(&r, 4))
		send_syn(tcp, isn);
	while (at < t->len) {
		size_t n = 1 + random_below(&r, 1460), from = at;

		n = n < t->len - at ? n : t->len - at;
		if (random_below(&r, 100) < loss) {
			at += n;
			continue;
		}
		if (random_below(&r, 4) == 0 && at > 300 &&
		    !loss) /* overlaps, or all of it again */
			from -= random_below(&r, 300);
		memset(is_there + from, 1, n + at - from);
		at += n;
		if (held_len == 0 && from && random_below(&r, 3) == 0) { /* this one will be late */
			held_at = from;
			held_len = at - from;
			continue;
		}
		send_segment(tcp, isn, t, from, at - from, START + ++i);
		if (held_len) {
			send_segment(tcp, isn, t, held_at, held_len, START + ++i);
			if (random_below(&r, 3) == 0)
				send_segment(tcp, isn, t, held_at, held_len, START + ++i);
			held_len = 0;
		}
	}
	if (held_len)
		send_segment(tcp, isn, t, held_at, held_len, START + ++i);
	tcp_drain(tcp);
	check_story(t, is_there, &got);
	tcp_free(tcp);
	free(is_there);
	free(got.bytes);
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
	static const char text[] = REPLY "l: 4\r\n\r\nabcd" REPLY "l: 0\r\n\r\n";
	static const size_t cuts[] = { 5, 20, 28, 30, sizeof(text) - 2 };
	struct got got = got_of(sizeof(text));
	struct sip_stream s = { .fn = take, .ctx = &got };

	feed(&s, true, (const uint8_t *)text, sizeof(text) - 1, cuts, 5);
	ck_assert_uint_eq(got.count, 2);
	ck_assert_uint_eq(got.ts[0], START + 2);
	ck_assert_uint_eq(got.ts[1], START + 5);
	free(got.bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sip_stream");
	TCase *t = tcase_create("sip_stream");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, the_same_messages_however_they_are_cut, 0,
			    (int)(sizeof(streams) / sizeof(streams[0])));
	tcase_add_loop_test(t, sizes_have_a_limit, 0, (int)(sizeof(sizes) / sizeof(sizes[0])));
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
