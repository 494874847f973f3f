/*
 * capture/sctp.c: messages in one chunk and in many, in any order, again, bundled and lost: each
 * that is whole comes out once, and every packet ends once; the borders; and 100,000 messages of
 * which the end does not come.
 */
#include "capture/sctp.h"

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 50
#else
#define ROUNDS 500
#endif
#define SECOND 1000000ULL
#define START  (1000 * SECOND)

static const struct sctp_options roomy = { 4096, 4 << 20, SCTP_TIMEOUT_US };

/* What was handed on, with a bar behind each. */
struct got {
	uint8_t *bytes;
	size_t len, room;
	unsigned count;
	uint64_t ts_us;
	struct addr src;
};

static void take(void *ctx, const struct sctp_packet *packet, struct view message)
{
	struct got *g = ctx;

	ck_assert_uint_le(g->len + message.len + 1, g->room);
	memcpy(g->bytes + g->len, message.at, message.len);
	g->len += message.len;
	g->bytes[g->len++] = '|';
	g->count++;
	g->ts_us = packet->ts_us;
	g->src = packet->src;
}

static struct got got_of(size_t room)
{
	return (struct got){ .bytes = malloc(room), .room = room };
}

static bool got_is(const struct got *g, const char *text)
{
	return g->len == strlen(text) && memcmp(g->bytes, text, g->len) == 0;
}

static struct sctp *table_new(const struct sctp_options *options, struct got *g)
{
	struct sctp *t;

	ck_assert_int_eq(sctp_new(&t, options, take, g), HT_OK);
	return t;
}

#define COUNT(t, field) counter_get(&sctp_counters(t)->field)

static uint64_t held_of(const struct sctp *t)
{
	uint64_t ended = COUNT(t, carried) + COUNT(t, empty) + COUNT(t, stale) +
			 COUNT(t, timed_out) + COUNT(t, evicted) + COUNT(t, oversize);

	ck_assert_uint_le(ended, COUNT(t, given));
	return COUNT(t, given) - ended;
}

/* What is in use of what there may be. */
static uint64_t memory_used(const struct sctp *t)
{
	struct memory_use m = { 0 };

	sctp_memory(t, &m);
	ck_assert_uint_le(m.used, m.max_used);
	ck_assert_uint_le(m.max_used, m.real_used);
	ck_assert_uint_le(m.real_used, m.limit);
	return m.used;
}

/* ---- chunks ---- */

enum { LAST = 1, FIRST = 2, WHOLE = 3, UNORDERED = 4 };

static size_t chunk_put(uint8_t *out, uint8_t flags, uint32_t tsn, uint16_t stream, uint16_t seq,
			const void *bytes, size_t len)
{
	size_t padded = (16 + len + 3) / 4 * 4;

	memset(out, 0, padded);
	out[1] = flags;
	out[2] = (uint8_t)((16 + len) >> 8);
	out[3] = (uint8_t)(16 + len);
	for (int i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(tsn >> (24 - 8 * i));
	out[8] = (uint8_t)(stream >> 8);
	out[9] = (uint8_t)stream;
	out[10] = (uint8_t)(seq >> 8);
	out[11] = (uint8_t)seq;
	memcpy(out + 16, bytes, len);
	return padded;
}

static struct sctp_packet packet_of(uint16_t port, const uint8_t *chunks, size_t len,
				    uint64_t ts_us)
{
	struct sctp_packet p = { .chunks = { chunks, (uint32_t)len }, .ts_us = ts_us };

	p.src.family = p.dst.family = FAMILY_IPV4;
	p.src.ip[0] = 10;
	p.src.port = port;
	p.dst.port = 5060;
	return p;
}

/* A packet of one chunk of stream 1. */
static void add(struct sctp *t, uint8_t flags, uint32_t tsn, uint16_t seq, const char *text,
		uint64_t after_us)
{
	uint8_t bytes[1024];
	size_t len = chunk_put(bytes, flags, tsn, 1, seq, text, strlen(text));
	struct sctp_packet p = packet_of(1, bytes, len, START + after_us);

	sctp_add(t, &p);
}

/* ---- any order ---- */

#define MESSAGES 40
#define CHUNKS	 (MESSAGES * 12)

struct chunk {
	unsigned message;
	uint32_t tsn, at, len;
	uint8_t flags;
	uint16_t stream, seq;
	bool is_lost;
};

struct story {
	char text[MESSAGES][12 * 700];
	uint32_t len[MESSAGES];
	bool is_lossy[MESSAGES];
	struct chunk chunks[CHUNKS];
	size_t count;
};

static void story_tell(struct story *s, struct random *r, unsigned m, uint32_t first_tsn,
		       unsigned loss)
{
	uint32_t chunks = random_below(r, 2) ? 1 : 2 + (uint32_t)random_below(r, 11), at = 0;
	uint16_t stream = (uint16_t)random_below(r, 3);
	uint8_t unordered = random_below(r, 3) ? 0 : UNORDERED;

	for (uint32_t i = 0; i < chunks; i++) {
		struct chunk *c = &s->chunks[s->count];

		*c = (struct chunk){ .message = m,
				     .tsn = first_tsn + (uint32_t)s->count,
				     .at = at,
				     .len = 8 + (uint32_t)random_below(r, 690),
				     .stream = stream,
				     .seq = unordered ? 0 : (uint16_t)m,
				     .is_lost = random_below(r, 100) < loss };
		c->flags = unordered | (i ? 0 : FIRST) | (i + 1 < chunks ? 0 : LAST);
		s->is_lossy[m] |= c->is_lost;
		at += c->len;
		s->count++;
	}
	for (uint32_t i = 0; i < at; i++)
		s->text[m][i] = (char)('a' + random_below(r, 26));
	s->len[m] = at;
	memcpy(s->text[m], &m, sizeof(m)); /* no two are the same */
}

static struct story *story_make(struct random *r, unsigned loss)
{
	struct story *s = calloc(1, sizeof(*s));
	uint32_t tsn = 0U - (uint32_t)random_below(r, 300); /* numbers wrap */

	for (unsigned m = 0; m < MESSAGES; m++)
		story_tell(s, r, m, tsn, loss);
	for (size_t i = s->count; i-- > 1;) {
		size_t k = random_below(r, i + 1);
		struct chunk c = s->chunks[i];

		s->chunks[i] = s->chunks[k];
		s->chunks[k] = c;
	}
	return s;
}

/* Each message, and how often it came out. */
struct heard {
	const struct story *story;
	unsigned times[MESSAGES];
};

static void hear(void *ctx, const struct sctp_packet *packet, struct view message)
{
	struct heard *h = ctx;
	unsigned m;

	(void)packet;
	memcpy(&m, message.at, sizeof(m));
	ck_assert_uint_lt(m, MESSAGES);
	ck_assert_uint_eq(message.len, h->story->len[m]);
	ck_assert_mem_eq(message.at, h->story->text[m], message.len);
	h->times[m]++;
}

/* Chunks in packets of one to four, some of which come again. */
static uint64_t send_story(struct sctp *t, const struct story *s, struct random *r)
{
	uint8_t bytes[4 * 1024];
	uint64_t packets = 0;
	size_t i = 0;

	while (i < s->count) {
		size_t upto = i + 1 + random_below(r, 4), len = 0;
		struct sctp_packet p;

		for (; i < upto && i < s->count; i++) {
			const struct chunk *c = &s->chunks[i];

			if (!c->is_lost)
				len += chunk_put(bytes + len, c->flags, c->tsn, c->stream, c->seq,
						 s->text[c->message] + c->at, c->len);
		}
		p = packet_of(1, bytes, len, START + i);
		for (uint64_t times = 1 + (random_below(r, 4) == 0); times--; packets++)
			sctp_add(t, &p);
	}
	return packets;
}

static void run_story(int seed, unsigned loss)
{
	struct random r = random_from(0x5c7b + (uint64_t)seed);
	struct story *s = story_make(&r, loss);
	struct heard h = { .story = s };
	uint64_t packets, dropped;
	struct sctp *t;

	ck_assert_int_eq(sctp_new(&t, &roomy, hear, &h), HT_OK);
	packets = send_story(t, s, &r);
	for (unsigned m = 0; m < MESSAGES; m++)
		ck_assert_uint_eq(h.times[m], !s->is_lossy[m]);
	ck_assert_uint_eq(COUNT(t, given), packets);
	ck_assert(loss || held_of(t) == 0);
	dropped = held_of(t);
	ck_assert_uint_eq(COUNT(t, timed_out), 0);
	sctp_sweep(t, START + SCTP_TIMEOUT_US + s->count + 1);
	ck_assert_uint_eq(held_of(t), 0);
	ck_assert_uint_eq(memory_used(t), 0);
	ck_assert_uint_le(COUNT(t, timed_out), dropped);
	ck_assert_uint_eq(COUNT(t, evicted) + COUNT(t, oversize), 0);
	sctp_free(t);
	free(s);
}

START_TEST(any_order_gives_every_message_once)
{
	run_story(_i, 0);
}
END_TEST

START_TEST(losses_cost_the_messages_that_they_hit)
{
	run_story(_i, 1 + (unsigned)_i % 10);
}
END_TEST

/* With far too little room what comes out is right all the same, and no packet ends twice. */
START_TEST(without_room_the_sums_hold)
{
	static const struct sctp_options tight = { 5, SCTP_MESSAGE, SCTP_TIMEOUT_US };
	struct random r = random_from(0x717 + (uint64_t)_i);
	struct story *s = story_make(&r, 0);
	struct heard h = { .story = s };
	uint64_t packets;
	struct sctp *t;

	ck_assert_int_eq(sctp_new(&t, &tight, hear, &h), HT_OK);
	packets = send_story(t, s, &r);
	ck_assert_uint_eq(COUNT(t, given), packets);
	ck_assert_uint_gt(COUNT(t, evicted), 0);
	ck_assert_uint_le(held_of(t), 5);
	ck_assert_int_eq(memory_used(t) > 0, held_of(t) > 0);
	sctp_drain(t);
	ck_assert_uint_eq(held_of(t), 0);
	ck_assert_uint_eq(memory_used(t), 0);
	sctp_free(t);
	free(s);
}
END_TEST

/* ---- one by one ---- */

START_TEST(message_of_one_chunk_is_not_copied)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);

	add(t, WHOLE, 7, 0, "one", 5);
	ck_assert(got_is(&g, "one|"));
	ck_assert_uint_eq(g.ts_us, START + 5);
	ck_assert_uint_eq(g.src.port, 1);
	ck_assert_uint_eq(COUNT(t, carried), 1);
	ck_assert_uint_eq(COUNT(t, assembled), 0);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

START_TEST(message_of_several_has_the_time_of_what_completed_it)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);

	add(t, LAST, 1, 0, "c", 1); /* behind the wrap of the numbers */
	add(t, FIRST, UINT32_MAX, 0, "a", 2);
	ck_assert_uint_eq(held_of(t), 2);
	add(t, 0, 0, 0, "b", 3);
	ck_assert(got_is(&g, "abc|"));
	ck_assert_uint_eq(g.ts_us, START + 3);
	ck_assert_uint_eq(COUNT(t, carried), 3);
	ck_assert_uint_eq(COUNT(t, assembled), 1);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

/* Neighbours in number are not of one message if one of them ends, or they are of other streams. */
START_TEST(neighbours_of_other_messages_are_not_joined)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);
	uint8_t bytes[64];
	size_t len;
	struct sctp_packet p;

	add(t, LAST, 11, 0, "x", 0);
	add(t, FIRST, 12, 1, "a", 0);
	add(t, LAST, 13, 2, "y", 0); /* another seq */
	len = chunk_put(bytes, LAST, 14, 2, 1, "z", 1);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p);
	len = chunk_put(bytes, LAST | UNORDERED, 15, 1, 1, "z", 1);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p);
	len = chunk_put(bytes, LAST, 13, 1, 1, "b", 1); /* of another association */
	p = packet_of(2, bytes, len, START);
	sctp_add(t, &p);
	ck_assert_uint_eq(g.count, 0);
	ck_assert_uint_eq(held_of(t), 6);
	sctp_drain(t);
	ck_assert_uint_eq(COUNT(t, timed_out), 6);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

START_TEST(what_comes_again_is_stale)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);

	add(t, WHOLE, 1, 0, "one", 0);
	add(t, WHOLE, 1, 0, "one", SCTP_TIMEOUT_US);
	add(t, FIRST, 2, 1, "a", 0);
	add(t, FIRST, 2, 1, "a", 1);
	add(t, LAST, 3, 1, "b", 2);
	add(t, FIRST, 2, 1, "a", 3);
	ck_assert(got_is(&g, "one|ab|"));
	ck_assert_uint_eq(COUNT(t, carried), 3);
	ck_assert_uint_eq(COUNT(t, stale), 3);
	ck_assert_uint_eq(COUNT(t, duplicates), 3);
	ck_assert_uint_eq(held_of(t), 0);
	add(t, WHOLE, 1, 0, "one", SCTP_TIMEOUT_US + 1); /* so late it is another */
	add(t, WHOLE, 1, 0, "two", SCTP_TIMEOUT_US + 1); /* with other octets it is, too */
	add(t, WHOLE, 1, 0, "two", SCTP_TIMEOUT_US + 1);
	ck_assert(got_is(&g, "one|ab|one|two|"));
	ck_assert_uint_eq(COUNT(t, stale), 4);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

START_TEST(message_that_is_not_whole_in_time_is_given_up)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);

	add(t, FIRST, 1, 0, "a", 0);
	add(t, 0, 2, 0, "b", 20 * SECOND);
	add(t, FIRST, 9, 1, "x", 20 * SECOND);
	sctp_sweep(t, START + SCTP_TIMEOUT_US);
	ck_assert_uint_eq(held_of(t), 3);
	add(t, LAST, 3, 0, "c", SCTP_TIMEOUT_US + 1); /* a packet sees it as well as a sweep */
	ck_assert_uint_eq(g.count, 0);
	ck_assert_uint_eq(COUNT(t, timed_out), 2);
	ck_assert_uint_eq(held_of(t), 2);
	add(t, LAST, 10, 1, "y", SCTP_TIMEOUT_US + 2);
	ck_assert(got_is(&g, "xy|"));
	sctp_sweep(t, START); /* a clock that goes back by more than that */
	ck_assert_uint_eq(held_of(t), 0);
	ck_assert_uint_eq(COUNT(t, timed_out), 3);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

/* A packet ends when the last of its chunks does. */
START_TEST(packet_of_several_chunks_ends_once)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);
	uint8_t bytes[256];
	size_t len = chunk_put(bytes, WHOLE, 1, 0, 0, "one", 3);
	struct sctp_packet p;

	len += chunk_put(bytes + len, FIRST, 2, 0, 1, "a", 1);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p); /* a message and a half */
	ck_assert_uint_eq(g.count, 1);
	ck_assert_uint_eq(held_of(t), 1);
	sctp_add(t, &p);
	ck_assert_uint_eq(COUNT(t, stale), 1);
	sctp_sweep(t, START + SCTP_TIMEOUT_US + 1);
	ck_assert_uint_eq(COUNT(t, carried), 1);
	ck_assert_uint_eq(COUNT(t, timed_out), 0);

	len = chunk_put(bytes, FIRST, 10, 0, 2, "a", 1);
	len += chunk_put(bytes + len, FIRST, 10, 0, 2, "a", 1);
	len += chunk_put(bytes + len, FIRST, 20, 0, 3, "b", 1);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p); /* nothing of it becomes whole */
	ck_assert_uint_eq(COUNT(t, duplicates), 3);
	ck_assert_uint_eq(held_of(t), 1);
	sctp_drain(t);
	ck_assert_uint_eq(COUNT(t, timed_out), 1);

	len = chunk_put(bytes, FIRST, 30, 0, 4, "a", 1);
	len += chunk_put(bytes + len, LAST, 31, 0, 4, "b", 1);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p);
	ck_assert(got_is(&g, "one|ab|"));
	ck_assert_uint_eq(COUNT(t, carried), 2);
	ck_assert_uint_eq(COUNT(t, given), 4);
	ck_assert_uint_eq(held_of(t), 0);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

START_TEST(packet_without_data_is_empty)
{
	static const uint8_t sack[] = { 3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0 };
	struct got g = got_of(1);
	struct sctp *t = table_new(&roomy, &g);
	struct sctp_packet p = packet_of(1, sack, sizeof(sack), START);

	sctp_add(t, &p);
	ck_assert_uint_eq(COUNT(t, empty), 1);
	ck_assert_uint_eq(held_of(t), 0);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

/* The largest message, in chunks from the largest to small ones, and one octet more. */
START_TEST(sizes_have_a_limit)
{
	static const uint32_t steps[] = { 65000, 1400, 500 };
	uint32_t step = steps[_i / 2], total = SCTP_MESSAGE + _i % 2, at = 0, tsn = 0;
	struct got g = got_of(total + 1);
	struct sctp *t = table_new(&roomy, &g);
	uint8_t *text = malloc(total), *bytes = malloc(66000);

	for (uint32_t i = 0; i < total; i++)
		text[i] = (uint8_t)(i * 7 >> 3);
	for (; at < total; at += step, tsn++) {
		uint32_t n = step < total - at ? step : total - at;
		size_t len = chunk_put(bytes, (at ? 0 : FIRST) | (at + n == total ? LAST : 0), tsn,
				       0, 0, text + at, n);
		struct sctp_packet p = packet_of(1, bytes, len, START);

		sctp_add(t, &p);
	}
	if (_i % 2 == 0) {
		ck_assert_uint_eq(g.len, total + 1);
		ck_assert_mem_eq(g.bytes, text, total);
		ck_assert_uint_eq(COUNT(t, carried), tsn);
	} else {
		ck_assert_uint_eq(g.count, 0);
		ck_assert_uint_eq(COUNT(t, oversize), tsn);
	}
	ck_assert_uint_eq(held_of(t), 0);
	sctp_free(t);
	free(bytes);
	free(text);
	free(g.bytes);
}
END_TEST

/* What came again says nothing of a packet of which something else was given up. */
START_TEST(packet_ends_as_what_was_given_up)
{
	struct got g = got_of(100);
	struct sctp *t = table_new(&roomy, &g);
	uint8_t *text = calloc(1, 65000), *bytes = malloc(66000);
	size_t len = chunk_put(bytes, FIRST, 1, 0, 0, text, 65000);
	struct sctp_packet p = packet_of(1, bytes, len, START);

	add(t, WHOLE, 9, 0, "one", 0);
	sctp_add(t, &p);
	len = chunk_put(bytes, 0, 2, 0, 0, text, 60000);
	len += chunk_put(bytes + len, WHOLE, 9, 1, 0, "one", 3);
	p = packet_of(1, bytes, len, START);
	sctp_add(t, &p);
	ck_assert(got_is(&g, "one|"));
	ck_assert_uint_eq(COUNT(t, duplicates), 1);
	ck_assert_uint_eq(COUNT(t, oversize), 2);
	ck_assert_uint_eq(COUNT(t, stale), 0);
	sctp_free(t);
	free(text);
	free(bytes);
	free(g.bytes);
}
END_TEST

START_TEST(too_little_and_too_much_is_refused)
{
	struct sctp_options none = { 0, 1 << 20, 1 }, little = { 16, SCTP_MESSAGE - 1, 1 },
			    many = { UINT32_MAX, 1 << 20, 1 }, much = { 16, UINT64_MAX, 1 };
	struct sctp *t = NULL;

	ck_assert_int_eq(sctp_new(&t, &none, take, NULL), -EINVAL);
	ck_assert_int_eq(sctp_new(&t, &little, take, NULL), -EINVAL);
	ck_assert_int_eq(sctp_new(&t, &many, take, NULL), -EINVAL);
	ck_assert_int_eq(sctp_new(&t, &much, take, NULL), -EINVAL);
	ck_assert_ptr_null(t);
	sctp_free(NULL);
}
END_TEST

/* ---- many ---- */

static size_t heap_bytes(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

#define OPEN 100000

/* Their first chunks only: what came last is put together, and nothing is taken from the heap. */
START_TEST(open_messages_are_bounded_and_counted)
{
	static const struct sctp_options small = { 1000, 1 << 20, SCTP_TIMEOUT_US };
	struct got g = got_of(100);
	struct sctp *t = table_new(&small, &g);
	size_t before = heap_bytes(), len;
	uint8_t bytes[64];

	for (uint32_t i = 0; i < OPEN; i++) {
		struct sctp_packet p;

		len = chunk_put(bytes, FIRST, i, 0, 0, "INVITE", 6);
		p = packet_of((uint16_t)i, bytes, len, START + i);
		p.src.ip[1] = (uint8_t)(i >> 16);
		sctp_add(t, &p);
		ck_assert_uint_eq(held_of(t), i < 1000 ? i + 1 : 1000);
	}
	ck_assert_uint_eq(heap_bytes(), before);
	ck_assert_uint_eq(COUNT(t, evicted), OPEN - 1000);
	for (uint32_t i = OPEN - 1000; i < OPEN; i++) {
		struct sctp_packet p;

		len = chunk_put(bytes, LAST, i + 1, 0, 0, " sip:b", 6);
		p = packet_of((uint16_t)i, bytes, len, START + OPEN);
		p.src.ip[1] = (uint8_t)(i >> 16);
		g.len = 0;
		sctp_add(t, &p);
		ck_assert(got_is(&g, "INVITE sip:b|"));
	}
	ck_assert_uint_eq(COUNT(t, messages), 1000);
	ck_assert_uint_eq(COUNT(t, carried), 2 * 1000);
	ck_assert_uint_eq(COUNT(t, evicted), OPEN - 1000);
	ck_assert_uint_eq(COUNT(t, given), OPEN + 1000);
	ck_assert_uint_eq(held_of(t), 0);
	sctp_free(t);
	free(g.bytes);
}
END_TEST

/* Few large chunks take the room of many small ones: the first that came goes first. */
START_TEST(octets_are_bounded_as_well_as_chunks)
{
	static const struct sctp_options small = { 1000, SCTP_MESSAGE, SCTP_TIMEOUT_US };
	struct got g = got_of(2 * SCTP_MESSAGE);
	struct sctp *t = table_new(&small, &g);
	uint8_t *text = calloc(1, 60000), *bytes = malloc(61000);

	for (uint16_t port = 1; port <= 5; port++) {
		size_t len = chunk_put(bytes, FIRST, port, 0, 0, text, 60000);
		struct sctp_packet p = packet_of(port, bytes, len, START);

		sctp_add(t, &p);
		ck_assert_uint_eq(held_of(t), port < 2 ? port : 2);
	}
	ck_assert_uint_eq(COUNT(t, evicted), 3);
	for (uint16_t port = 3; port <= 5; port++) { /* the end makes room for itself */
		size_t len = chunk_put(bytes, LAST, 9U - port, 0, 0, text, 60000);
		struct sctp_packet p = packet_of(8 - port, bytes, len, START);

		sctp_add(t, &p);
	}
	ck_assert_uint_eq(g.len, 2 * 120001);
	ck_assert_uint_eq(COUNT(t, carried), 4);
	ck_assert_uint_eq(COUNT(t, evicted), 3);
	ck_assert_uint_eq(held_of(t), 1);
	sctp_drain(t);
	ck_assert_uint_eq(held_of(t), 0);
	sctp_free(t);
	free(text);
	free(bytes);
	free(g.bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sctp");
	TCase *t = tcase_create("sctp");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, any_order_gives_every_message_once, 0, ROUNDS);
	tcase_add_loop_test(t, losses_cost_the_messages_that_they_hit, 0, ROUNDS);
	tcase_add_loop_test(t, without_room_the_sums_hold, 0, ROUNDS);
	tcase_add_test(t, message_of_one_chunk_is_not_copied);
	tcase_add_test(t, message_of_several_has_the_time_of_what_completed_it);
	tcase_add_test(t, neighbours_of_other_messages_are_not_joined);
	tcase_add_test(t, what_comes_again_is_stale);
	tcase_add_test(t, message_that_is_not_whole_in_time_is_given_up);
	tcase_add_test(t, packet_of_several_chunks_ends_once);
	tcase_add_test(t, packet_without_data_is_empty);
	tcase_add_loop_test(t, sizes_have_a_limit, 0, 6);
	tcase_add_test(t, packet_ends_as_what_was_given_up);
	tcase_add_test(t, too_little_and_too_much_is_refused);
	tcase_add_test(t, open_messages_are_bounded_and_counted);
	tcase_add_test(t, octets_are_bounded_as_well_as_chunks);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
