/*
 * capture/tcp.c: a stream cut into segments that come late, again, overlapping, with other octets,
 * or not at all, against a model that keeps octet by octet what came first; then what makes a hole
 * be skipped, how flows begin and end, and who makes room.
 */
#include "capture/tcp.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"

#if defined(__SANITIZE_THREAD__)
#define ROUNDS 20 /* one thread has nothing to show there */
#elif defined(__SANITIZE_ADDRESS__)
#define ROUNDS 100
#else
#define ROUNDS 1000
#endif
#define SECOND 1000000ULL
#define START  (1000 * SECOND)
#define ISN    4294967000U /* the numbers wrap soon */

static const struct tcp_options roomy = { 64, 16, 4, 1 << 20, 3 * SECOND, 600 * SECOND };

/* What was handed on, and a bar at each end. */
struct sink {
	uint8_t *bytes;
	size_t len, room;
	unsigned ends;
	size_t end_at[64];
	size_t leaves; /* octets that are not taken before the end */
	struct random *random;
	uint64_t last_ts;
};

static size_t sink_take(void *ctx, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	struct sink *k = ctx;
	size_t n = bytes.len;

	if (!is_end && k->random && bytes.len < TCP_TAKER)
		n = random_below(k->random, 3) ? random_below(k->random, bytes.len + 1) : 0;
	else if (!is_end && bytes.len < TCP_TAKER)
		n = bytes.len > k->leaves ? bytes.len - k->leaves : 0;
	flow->state[0] += n;
	ck_assert_uint_le(k->len + n, k->room);
	if (n)
		memcpy(k->bytes + k->len, bytes.at, n);
	k->len += n;
	k->last_ts = flow->ts_us;
	if (is_end && k->ends < 64)
		k->end_at[k->ends] = k->len;
	k->ends += is_end;
	return n;
}

static struct sink sink_of(size_t room)
{
	return (struct sink){ .bytes = malloc(room), .room = room };
}

static struct tcp *table_new(const struct tcp_options *options, struct sink *k)
{
	struct tcp *t;

	ck_assert_int_eq(tcp_new(&t, options, sink_take, k), HT_OK);
	return t;
}

static void add(struct tcp *t, uint16_t port, uint8_t flags, uint32_t seq, const void *bytes,
		size_t len, uint64_t ts_us)
{
	struct tcp_segment s = { .seq = seq, .flags = flags, .ts_us = ts_us };

	s.src.family = s.dst.family = FAMILY_IPV4;
	s.src.port = port;
	s.dst.port = 5060;
	s.payload = (struct view){ bytes, (uint32_t)len };
	tcp_add(t, &s);
}

static void add_text(struct tcp *t, uint32_t at, const char *text, uint64_t after_us)
{
	add(t, 1, 0, ISN + 1 + at, text, strlen(text), START + after_us);
}

static uint64_t held_of(const struct tcp *t)
{
	const struct tcp_counters *c = tcp_counters(t);

	return counter_get(&c->given) - counter_get(&c->carried) - counter_get(&c->empty) -
	       counter_get(&c->stale);
}

/* What is in use of what there may be. */
static uint64_t memory_used(const struct tcp *t)
{
	struct memory_use m = { 0 };

	tcp_memory(t, &m);
	ck_assert_uint_le(m.used, m.max_used);
	ck_assert_uint_le(m.max_used, m.real_used);
	ck_assert_uint_le(m.real_used, m.limit);
	return m.used;
}

static bool sink_is(const struct sink *k, const char *text)
{
	return k->len == strlen(text) && memcmp(k->bytes, text, k->len) == 0;
}

#define COUNT(t, field) counter_get(&tcp_counters(t)->field)

/* ---- against the model ---- */

struct seg {
	uint32_t at, len;
	uint8_t version; /* other octets for the same place */
	bool is_lost;
};

struct model {
	uint8_t *bytes, *is_there;
	uint32_t len, frontier;
	uint32_t held_ends[512];
	size_t held;
	uint64_t stale, carried;
};

static uint8_t octet_of(uint32_t at, uint8_t version)
{
	return (uint8_t)(at * 2654435761U >> 13) ^ version;
}

static void model_add(struct model *m, const struct seg *s)
{
	uint32_t fresh = 0;
	size_t kept = 0;

	for (uint32_t i = s->at; i < s->at + s->len; i++) {
		if (m->is_there[i])
			continue;
		m->is_there[i] = 1;
		m->bytes[i] = octet_of(i, s->version);
		fresh++;
	}
	m->stale += fresh == 0;
	if (fresh)
		m->held_ends[m->held++] = s->at + s->len;
	while (m->frontier < m->len && m->is_there[m->frontier])
		m->frontier++;
	for (size_t i = 0; i < m->held; i++) {
		if (m->held_ends[i] > m->frontier)
			m->held_ends[kept++] = m->held_ends[i];
		else
			m->carried++;
	}
	m->held = kept;
}

/* Segments that cover the stream, and some that cover it again; each at most `window` places from
 * where it belongs. */
static size_t cut(struct random *r, uint32_t len, struct seg *segs, size_t most, bool lies)
{
	size_t count = 0, window = 1 + random_below(r, 8);
	uint32_t at = 0;

	while (at < len) {
		uint32_t n = 1 + (uint32_t)random_below(r, 1460), from = at;

		ck_assert_uint_lt(count + 1, most);
		n = n < len - at ? n : len - at;
		if (random_below(r, 4) == 0) /* begins in the one before it */
			from -= (uint32_t)random_below(r, at < 700 ? at + 1 : 700);
		segs[count++] =
			(struct seg){ from, n + at - from, lies && random_below(r, 2), false };
		at += n;
		if (random_below(r, 5) == 0) {
			segs[count] = segs[random_below(r, count)];
			segs[count++].version ^= lies;
		}
	}
	for (size_t i = 0; i + 1 < count; i++) {
		size_t k = i + random_below(r, count - i < window ? count - i : window);
		struct seg s = segs[i];

		segs[i] = segs[k];
		segs[k] = s;
	}
	return count;
}

/* What must have been handed on: what there is, and an end at each hole and behind the last. */
static void check_runs(const struct model *m, const struct sink *k, uint64_t gaps, uint64_t missing)
{
	size_t at = 0;
	unsigned ends = 0;

	for (uint32_t i = 0; i < m->len; i++) {
		if (m->is_there[i]) {
			ck_assert_uint_lt(at, k->len);
			ck_assert_uint_eq(k->bytes[at++], m->bytes[i]);
			continue;
		}
		missing--;
		if (i + 1 == m->len || m->is_there[i + 1]) {
			gaps--;
			if (i + 1 < m->len)
				ck_assert_uint_eq(k->end_at[ends++], at);
		}
	}
	ck_assert_uint_eq(at, k->len);
	ck_assert_uint_eq(missing, 0);
	ck_assert_uint_eq(gaps, 0);
	ck_assert_uint_eq(k->ends, ends + 1);
}

static void run_model(int seed, unsigned losses, bool lies)
{
	struct random r = random_from(0x7c9 + (uint64_t)seed);
	uint32_t len = 1 + (uint32_t)random_below(&r, 60000), isn = (uint32_t)random_next(&r);
	struct model m = { .bytes = malloc(len), .is_there = calloc(1, len), .len = len };
	static struct seg segs[2048];
	size_t count = cut(&r, len, segs, 2048, lies);
	struct sink k = sink_of(len);
	struct tcp *t = table_new(&roomy, &k);

	if (seed % 2)
		isn = 0U - (uint32_t)random_below(&r, len);
	k.random = &r;
	while (losses--)
		segs[random_below(&r, count)].is_lost = true;
	add(t, 1, SEGMENT_SYN, isn, NULL, 0, START);
	for (size_t i = 0; i < count; i++) {
		uint8_t bytes[4096];

		if (segs[i].is_lost)
			continue;
		for (uint32_t b = 0; b < segs[i].len; b++)
			bytes[b] = octet_of(segs[i].at + b, segs[i].version);
		add(t, 1, 0, isn + 1 + segs[i].at, bytes, segs[i].len, START + i);
		model_add(&m, &segs[i]);
		ck_assert_uint_eq(COUNT(t, stale), m.stale);
		ck_assert_uint_eq(COUNT(t, carried), m.carried);
		ck_assert_uint_eq(held_of(t), m.held);
	}
	add(t, 1, SEGMENT_FIN, isn + 1 + len, NULL, 0, START + count);
	ck_assert_uint_eq(k.ends, m.frontier == len); /* ends with its last octet, or later */
	ck_assert(held_of(t) == 0 || memory_used(t) > TCP_SMALL);
	tcp_drain(t);
	ck_assert_uint_eq(held_of(t), 0);
	ck_assert_uint_eq(memory_used(t), 0);
	check_runs(&m, &k, COUNT(t, gaps), COUNT(t, gap_bytes));
	tcp_free(t);
	free(m.bytes);
	free(m.is_there);
	free(k.bytes);
}

START_TEST(any_segments_give_the_stream_back)
{
	run_model(_i, 0, false);
}
END_TEST

START_TEST(octets_that_came_first_are_kept)
{
	run_model(_i, 0, true);
}
END_TEST

START_TEST(what_is_missing_is_counted_to_the_octet)
{
	run_model(_i, 1 + (unsigned)_i % 5, _i % 3 == 0);
}
END_TEST

/* ---- holes ---- */

START_TEST(hole_is_skipped_when_enough_came_behind_it)
{
	struct tcp_options o = roomy;
	struct sink k = sink_of(100);
	struct tcp *t;

	o.gap_bytes = 6;
	t = table_new(&o, &k);
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "abc", 0);
	add_text(t, 5, "fgh", 0);
	add_text(t, 8, "ijk", 0);
	ck_assert(sink_is(&k, "abc"));
	ck_assert_uint_eq(held_of(t), 2);
	add_text(t, 11, "l", 0);
	ck_assert(sink_is(&k, "abcfghijkl"));
	ck_assert_uint_eq(k.ends, 1);
	ck_assert_uint_eq(k.end_at[0], 3);
	ck_assert_uint_eq(held_of(t), 0);
	add_text(t, 3, "de", 0); /* too late */
	ck_assert_uint_eq(COUNT(t, stale), 1);
	ck_assert_uint_eq(COUNT(t, gap_bytes), 2);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(hole_is_skipped_after_its_time)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 2, "c", 10);
	add_text(t, 3, "d", 3 * SECOND);
	ck_assert_uint_eq(k.len, 0);
	add_text(t, 5, "f", 3 * SECOND + 11); /* a segment sees it */
	ck_assert(sink_is(&k, "cd"));
	ck_assert_uint_eq(COUNT(t, gaps), 1);
	add_text(t, 9, "j", 4 * SECOND);
	tcp_sweep(t, START + 7 * SECOND);
	ck_assert_uint_eq(held_of(t), 2);
	tcp_sweep(t, START + 7 * SECOND + 1); /* or a sweep */
	ck_assert(sink_is(&k, "cdfj"));
	ck_assert_uint_eq(k.last_ts, START + 4 * SECOND);
	ck_assert_uint_eq(COUNT(t, gaps), 3);
	ck_assert_uint_eq(COUNT(t, gap_bytes), 2 + 1 + 3);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(hole_that_is_filled_is_none)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 1;
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 2, "cd", 0);
	add_text(t, 6, "gh", 0);
	add_text(t, 0, "abX", 1);
	ck_assert(sink_is(&k, "abc"));
	add_text(t, 3, "DefGH", 2 * SECOND);
	ck_assert(sink_is(&k, "abcdefg"));
	ck_assert_uint_eq(k.last_ts, START + 2 * SECOND);
	ck_assert_uint_eq(COUNT(t, overlapping), 2);
	ck_assert_uint_eq(COUNT(t, gaps), 0);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* Every second octet is missing: there are more holes than are remembered. */
START_TEST(many_holes_are_skipped_from_the_first_on)
{
	struct sink k = sink_of(1000);
	struct tcp *t = table_new(&roomy, &k);

	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	for (uint32_t i = 0; i < 500; i++)
		add_text(t, 2 * i + 1, "x", 0);
	ck_assert_uint_gt(k.len, 480);
	add_text(t, 998, "y", 0); /* fills the last one */
	tcp_drain(t);
	ck_assert_uint_eq(k.len, 501);
	ck_assert_uint_eq(COUNT(t, gap_bytes), 499);
	ck_assert_uint_eq(COUNT(t, carried), 501);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* Farther ahead than the window: as after a loss that the capture did not see the end of. */
START_TEST(segment_beyond_the_window_skips_what_is_before_it)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 100;
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "ab", 0);
	add_text(t, 5, "f", 0);
	add_text(t, TCP_WINDOW + 1000, "far", 0);
	ck_assert(sink_is(&k, "abf"));
	ck_assert_uint_eq(k.ends, 2);
	ck_assert_uint_eq(COUNT(t, gap_bytes), TCP_WINDOW + 1000 - 3);
	tcp_drain(t);
	ck_assert(sink_is(&k, "abffar"));
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* ---- a flow begins and ends ---- */

START_TEST(flow_without_syn_begins_where_it_is_seen)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	add(t, 1, 0, ISN, NULL, 0, START); /* nothing to begin with */
	add_text(t, 50, "one", 0);
	add_text(t, 10, "two", 0); /* the taker is not synchronised: this may be the beginning */
	add_text(t, 13, "three", 0);
	ck_assert(sink_is(&k, "onetwothree"));
	ck_assert_uint_eq(COUNT(t, pickups), 2);
	ck_assert_uint_eq(COUNT(t, gaps), 0);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* As long as something waits behind a hole, what comes next does not begin the flow anew. */
START_TEST(flow_without_syn_keeps_what_waits_behind_a_hole)
{
	struct tcp_options o = roomy;
	struct sink k = sink_of(100);
	struct tcp *t;

	o.gap_bytes = 7;
	t = table_new(&o, &k);
	k.leaves = 1;
	add_text(t, 50, "one", 0);
	k.leaves = 0;
	add_text(t, 60, "two", 0);
	add_text(t, 70, "three", 0); /* the first hole is skipped */
	ck_assert(sink_is(&k, "onetwo"));
	add_text(t, 75, "3", 0);
	add_text(t, 63, "fill it", 0);
	ck_assert(sink_is(&k, "onetwofill itthree3"));
	ck_assert_uint_eq(COUNT(t, pickups), 1);
	ck_assert_uint_eq(COUNT(t, gaps), 1);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(keep_alive_probe_is_stale)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "abc", 0);
	add(t, 1, 0, ISN + 1 + 2, "\0", 1, START + 9 * SECOND);
	add(t, 1, 0, ISN + 1 + 2, NULL, 0, START + 9 * SECOND);
	add_text(t, 3, "def", 10 * SECOND);
	ck_assert(sink_is(&k, "abcdef"));
	ck_assert_uint_eq(COUNT(t, stale), 1);
	ck_assert_uint_eq(COUNT(t, empty), 2);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(fin_ends_the_flow_when_all_before_it_came)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 1;
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add(t, 1, SEGMENT_FIN, ISN + 1 + 3, "def", 3, START);
	ck_assert_uint_eq(k.ends, 0);
	add_text(t, 0, "abc", 0);
	ck_assert(sink_is(&k, "abcdef"));
	ck_assert_uint_eq(k.ends, 1);
	add(t, 1, SEGMENT_FIN, ISN + 1 + 3, "def", 3, START); /* again */
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);	      /* late */
	ck_assert_uint_eq(COUNT(t, stale), 1);
	add(t, 1, SEGMENT_SYN, ISN + 900, "new", 3, START); /* the ports are used again */
	tcp_drain(t);
	ck_assert(sink_is(&k, "abcdefnew"));
	ck_assert_uint_eq(COUNT(t, gaps), 0);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(reset_ends_the_flow_with_what_there_is)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 100;
	add(t, 2, SEGMENT_RST, ISN, NULL, 0, START); /* of nothing */
	ck_assert_uint_eq(k.ends, 0);
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "abc", 0);
	add_text(t, 5, "fgh", 0);
	add(t, 1, SEGMENT_RST, ISN + 4, NULL, 0, START);
	ck_assert(sink_is(&k, "abcfgh"));
	ck_assert_uint_eq(k.ends, 2);
	ck_assert_uint_eq(held_of(t), 0);
	add_text(t, 8, "again", 0); /* somebody goes on: picked up */
	tcp_drain(t);
	ck_assert(sink_is(&k, "abcfghagain"));
	ck_assert_uint_eq(COUNT(t, pickups), 1);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(new_syn_begins_anew)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 100;
	add(t, 1, SEGMENT_SYN, 100, NULL, 0, START);
	add(t, 1, 0, 101, "abc", 3, START);
	add(t, 1, SEGMENT_SYN, 100, NULL, 0, START); /* the same again is no new one */
	ck_assert_uint_eq(k.ends, 0);
	add(t, 1, SEGMENT_SYN, 3000000000U, NULL, 0, START);
	ck_assert_uint_eq(k.ends, 1);
	add(t, 1, 0, 3000000001U, "def", 3, START);
	add(t, 1, 0, 1000000000U, "ghi", 3, START); /* far behind: a SYN was not seen */
	ck_assert_uint_eq(k.ends, 2);
	tcp_drain(t);
	ck_assert(sink_is(&k, "abcdefghi"));
	ck_assert_uint_eq(COUNT(t, gaps), 0);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(silent_flow_is_forgotten_with_what_it_had)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 100;
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "abc", 0);
	tcp_sweep(t, START + 600 * SECOND);
	ck_assert_uint_eq(k.ends, 0);
	tcp_sweep(t, START + 600 * SECOND + 1);
	ck_assert(sink_is(&k, "abc"));
	ck_assert_uint_eq(COUNT(t, idle), 1);
	tcp_drain(t);
	ck_assert_uint_eq(k.ends, 1);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* ---- room ---- */

START_TEST(half_open_flood_does_not_push_out_who_talks)
{
	struct sink k = sink_of(100);
	struct tcp *t = table_new(&roomy, &k);

	k.leaves = 2;
	add(t, 1, SEGMENT_SYN, ISN, NULL, 0, START);
	add_text(t, 0, "abc", 0);
	for (uint32_t i = 0; i < 100000; i++) {
		struct tcp_segment s = { .seq = i, .flags = SEGMENT_SYN, .ts_us = START + i };

		s.src.family = s.dst.family = FAMILY_IPV6;
		memcpy(s.src.ip, &i, sizeof(i));
		tcp_add(t, &s);
	}
	add_text(t, 3, "def", 0);
	ck_assert(sink_is(&k, "abcd"));
	ck_assert_uint_ge(COUNT(t, evicted), 100000 - roomy.flows / 4 - 1);
	ck_assert_uint_le(COUNT(t, evicted), 100000 - roomy.flows / 4);
	tcp_free(t);
	free(k.bytes);
}
END_TEST

START_TEST(longest_idle_gives_its_buffer)
{
	struct sink k = sink_of(1 << 20);
	struct tcp *t = table_new(&roomy, &k);
	uint64_t ts = START;

	k.leaves = TCP_TAKER;
	for (uint16_t port = 1; port <= 17; port++)
		add(t, port, SEGMENT_SYN, ISN, port == 1 ? "first" : "other", 5, ts++);
	ck_assert(sink_is(&k, "first"));
	ck_assert_uint_eq(k.ends, 1);
	ck_assert_uint_eq(COUNT(t, evicted), 1);
	add(t, 2, 0, ISN + 6, "more", 4, ts++); /* now 3 is */
	add(t, 18, SEGMENT_SYN, ISN, "new", 3, ts++);
	add(t, 2, SEGMENT_RST, 0, NULL, 0, ts++);
	ck_assert(sink_is(&k, "firstotherothermore"));
	tcp_free(t);
	free(k.bytes);
}
END_TEST

/* From a small buffer to a large one, and to one that another had. */
START_TEST(flow_that_needs_more_gets_a_large_buffer)
{
	struct tcp_options o = roomy;
	struct sink k = sink_of(1 << 20);
	uint8_t *bytes = malloc(100000);
	struct tcp *t;

	o.small = o.large = 1;
	t = table_new(&o, &k);
	k.leaves = TCP_TAKER;
	for (uint32_t i = 0; i < 100000; i++)
		bytes[i] = octet_of(i, 0);
	for (uint16_t port = 1; port <= 2; port++) {
		add(t, port, SEGMENT_SYN, ISN, NULL, 0, START + port);
		for (uint32_t at = 0; at < 100000; at += 1000)
			add(t, port, 0, ISN + 1 + at, bytes + at, 1000, START + port);
	}
	ck_assert_uint_eq(COUNT(t, evicted), 1);
	ck_assert_uint_eq(k.len, 100000);
	ck_assert_uint_gt(memory_used(t), TCP_WINDOW);
	ck_assert_uint_lt(memory_used(t), TCP_WINDOW + TCP_SMALL);
	tcp_drain(t);
	ck_assert_uint_eq(k.len, 200000);
	ck_assert_mem_eq(k.bytes, bytes, 100000);
	ck_assert_mem_eq(k.bytes + 100000, bytes, 100000);
	tcp_free(t);
	free(bytes);
	free(k.bytes);
}
END_TEST

static size_t take_nothing(void *ctx, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	(void)flow;
	*(unsigned *)ctx += is_end && bytes.len >= TCP_TAKER;
	return 0;
}

START_TEST(taker_that_is_stuck_does_not_fill_the_window)
{
	static const uint8_t bytes[65000];
	unsigned stuck = 0;
	struct tcp *t;

	ck_assert_int_eq(tcp_new(&t, &roomy, take_nothing, &stuck), HT_OK);
	for (uint32_t at = 0; at < 100; at++)
		add(t, 1, 0, ISN + at * 65000, bytes, 65000, START);
	ck_assert_uint_ge(stuck, 30);
	ck_assert_uint_eq(COUNT(t, carried), 100);
	tcp_free(t);
}
END_TEST

START_TEST(too_little_and_too_much_is_refused)
{
	struct tcp_options few = { 3, 1, 1, 1, 1, 1 }, none = { 4, 0, 1, 1, 1, 1 },
			   many = { UINT32_MAX, 1, 1, 1, 1, 1 };
	struct tcp *t = NULL;

	ck_assert_int_eq(tcp_new(&t, &few, sink_take, NULL), -EINVAL);
	ck_assert_int_eq(tcp_new(&t, &none, sink_take, NULL), -EINVAL);
	ck_assert_int_eq(tcp_new(&t, &many, sink_take, NULL), -EINVAL);
	ck_assert_ptr_null(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tcp");
	TCase *t = tcase_create("tcp");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, any_segments_give_the_stream_back, 0, ROUNDS);
	tcase_add_loop_test(t, octets_that_came_first_are_kept, 0, ROUNDS / 2);
	tcase_add_loop_test(t, what_is_missing_is_counted_to_the_octet, 0, ROUNDS);
	tcase_add_test(t, hole_is_skipped_when_enough_came_behind_it);
	tcase_add_test(t, hole_is_skipped_after_its_time);
	tcase_add_test(t, hole_that_is_filled_is_none);
	tcase_add_test(t, many_holes_are_skipped_from_the_first_on);
	tcase_add_test(t, segment_beyond_the_window_skips_what_is_before_it);
	tcase_add_test(t, flow_without_syn_begins_where_it_is_seen);
	tcase_add_test(t, flow_without_syn_keeps_what_waits_behind_a_hole);
	tcase_add_test(t, keep_alive_probe_is_stale);
	tcase_add_test(t, fin_ends_the_flow_when_all_before_it_came);
	tcase_add_test(t, reset_ends_the_flow_with_what_there_is);
	tcase_add_test(t, new_syn_begins_anew);
	tcase_add_test(t, silent_flow_is_forgotten_with_what_it_had);
	tcase_add_test(t, half_open_flood_does_not_push_out_who_talks);
	tcase_add_test(t, longest_idle_gives_its_buffer);
	tcase_add_test(t, flow_that_needs_more_gets_a_large_buffer);
	tcase_add_test(t, taker_that_is_stuck_does_not_fill_the_window);
	tcase_add_test(t, too_little_and_too_much_is_refused);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
