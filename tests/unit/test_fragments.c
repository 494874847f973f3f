/*
 * capture/fragments.c: datagrams cut, shuffled, repeated, overlapping and lost, against a model
 * that keeps octet by octet what came first; the borders; and four threads on one table.
 */
#include "capture/fragments.h"

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "conf/gauge.h"
#include "tests/unit/fragments_model.h"
#include "tests/unit/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 100
#else
#define ROUNDS 1000
#endif
#define SECOND 1000000ULL
#define START  (1000 * SECOND)

static const struct fragments_options roomy = { 1024, 16 << 20, FRAGMENTS_TIMEOUT_US };

static struct fragments *table_new(const struct fragments_options *options)
{
	struct fragments *t;

	ck_assert_int_eq(fragments_new(&t, options), HT_OK);
	return t;
}

static struct fragment fragment_of(uint8_t family, uint32_t id, uint32_t offset, bool more,
				   const void *bytes, uint32_t len)
{
	struct fragment f = { .id = id, .offset = offset, .more = more, .proto = PROTO_UDP };

	f.src.family = f.dst.family = family;
	f.src.ip[0] = 10;
	f.dst.ip[0] = 20;
	f.payload = (struct view){ bytes, len };
	f.ts_us = START;
	return f;
}

/* What everything that was given adds up to. */
static struct fragments_sums sums_of(const struct fragments *t)
{
	struct fragments_sums s;

	fragments_sum(t, &s);
	ck_assert_uint_eq(s.given, s.held + s.parts + s.timed_out + s.evicted + s.overlapping +
					   s.duplicate + s.oversize + s.malformed);
	return s;
}

/* What is in use of what there may be. */
static uint64_t memory_used(const struct fragments *t)
{
	struct memory_use m = { 0 };

	fragments_memory(t, &m);
	ck_assert_uint_le(m.used, m.max_used);
	ck_assert_uint_le(m.max_used, m.real_used);
	ck_assert_uint_le(m.real_used, m.limit);
	return m.used;
}

static uint8_t buffer[FRAGMENTS_DATAGRAM];

/* ---- against the model ---- */

static void check_sums(const struct fragments *t, struct model *m)
{
	struct fragments_sums got = sums_of(t);

	model_sum(m);
	ck_assert_mem_eq(&got, &m->want, sizeof(got));
}

/* Any fragments at all, in a few datagrams of at most 64 units: what the table says of each is what
 * the model says. */
START_TEST(any_fragments_are_what_the_model_makes_of_them)
{
	struct random r = random_from(0xf4a6 + (uint64_t)_i);
	struct fragments *t = table_new(&roomy);
	struct model m = { 0 };
	unsigned liars = (unsigned)random_below(&r, 3); /* octets that differ: never to often */

	for (int i = 0; i < 300; i++) {
		uint8_t bytes[MODEL_MOST];
		uint32_t offset = (uint32_t)random_below(&r, 12) * 8, id, len;
		bool more = random_below(&r, 4), is_whole;
		const struct ref *want = NULL;
		struct datagram got;
		struct fragment f;

		id = (uint32_t)random_below(&r, 4);
		len = more ? 8 + (uint32_t)random_below(&r, 4) * 8
			   : 1 + (uint32_t)random_below(&r, 24);
		for (uint32_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)((offset + k) * 7 + id +
					     (liars && random_below(&r, 40) < liars));
		f = fragment_of(random_below(&r, 2) ? FAMILY_IPV4 : FAMILY_IPV6, id, offset, more,
				bytes, len);
		f.proto = random_below(&r, 8) ? PROTO_UDP : PROTO_SCTP;
		f.src.ip[15] = f.src.family == FAMILY_IPV6 && random_below(&r, 3) == 0;
		if (offset == 0 && !more)
			continue;
		is_whole = fragments_add(t, &f, buffer, &got);
		ck_assert_int_eq(is_whole, model_add(&m, &f, &want));
		if (is_whole) {
			ck_assert_uint_eq(got.payload.len, want->total);
			ck_assert_mem_eq(got.payload.at, want->bytes, want->total);
			ck_assert_uint_eq(got.proto, want->proto);
		}
		check_sums(t, &m);
	}
	fragments_free(t);
}
END_TEST

/* ---- datagrams cut anyhow ---- */

#define DATAGRAMS 40
#define PIECES	  (DATAGRAMS * 24)

struct piece {
	uint32_t datagram, offset, len;
	bool more, is_lost;
};

struct cut {
	uint8_t *bytes[DATAGRAMS];
	uint32_t len[DATAGRAMS];
	bool is_lossy[DATAGRAMS];
	uint32_t parts[DATAGRAMS]; /* pieces that are not repetitions and not lost */
	struct piece pieces[PIECES];
	size_t count;
};

static void cut_one(struct cut *c, struct random *r, uint32_t d, unsigned loss)
{
	uint32_t most = random_below(r, 10) ? 4000 : FRAGMENTS_DATAGRAM;
	uint32_t len = 9 + (uint32_t)random_below(r, most - 9), at = 0;
	uint32_t step = 8 * (1 + len / 8 / 16); /* at most about 20 pieces */

	c->len[d] = len;
	c->bytes[d] = malloc(len);
	for (uint32_t i = 0; i < len; i++)
		c->bytes[d][i] = (uint8_t)random_next(r);
	while (at < len) {
		uint32_t n = step + (uint32_t)random_below(r, 3) * step;
		struct piece p = { .datagram = d, .offset = at, .more = true };

		if (at == 0 && n >= len)
			n = 8;
		if (n >= len - at) {
			n = len - at;
			p.more = false;
		}
		p.len = n;
		p.is_lost = random_below(r, 100) < loss;
		c->is_lossy[d] |= p.is_lost;
		c->parts[d] += !p.is_lost;
		c->pieces[c->count++] = p;
		at += n;
	}
}

static struct cut *cut_make(struct random *r, unsigned loss)
{
	struct cut *c = calloc(1, sizeof(*c));

	ck_assert_ptr_nonnull(c);
	for (uint32_t d = 0; d < DATAGRAMS; d++)
		cut_one(c, r, d, loss);
	for (size_t i = c->count; i-- > 1;) {
		size_t k = random_below(r, i + 1);
		struct piece p = c->pieces[i];

		c->pieces[i] = c->pieces[k];
		c->pieces[k] = p;
	}
	return c;
}

static void cut_free(struct cut *c)
{
	for (uint32_t d = 0; d < DATAGRAMS; d++)
		free(c->bytes[d]);
	free(c);
}

static struct fragment piece_fragment(const struct cut *c, const struct piece *p)
{
	return fragment_of(p->datagram % 2 ? FAMILY_IPV4 : FAMILY_IPV6, p->datagram, p->offset,
			   p->more, c->bytes[p->datagram] + p->offset, p->len);
}

START_TEST(any_fragmentation_gives_the_datagram_back_and_losses_are_exact)
{
	struct random r = random_from(0xda7a + (uint64_t)_i);
	unsigned loss = _i % 2 ? 4 : 0, again = (unsigned)random_below(&r, 30);
	struct fragments *t = table_new(&roomy);
	struct cut *c = cut_make(&r, loss);
	uint64_t whole = 0, parts = 0, missing = 0, repeated = 0;
	struct fragments_sums s;
	struct datagram got;

	for (size_t i = 0; i < c->count; i++) {
		struct piece *p = &c->pieces[i];
		struct fragment f = piece_fragment(c, p);

		if (p->is_lost)
			continue;
		f.ts_us += i; /* the whole lot within a millisecond */
		if (fragments_add(t, &f, buffer, &got)) {
			ck_assert(!c->is_lossy[p->datagram]);
			ck_assert_uint_eq(got.payload.len, c->len[p->datagram]);
			ck_assert_mem_eq(got.payload.at, c->bytes[p->datagram], got.payload.len);
			whole++;
		}
		if (random_below(&r, 100) < again) {
			ck_assert(!fragments_add(t, &f, buffer, &got));
			repeated++;
		}
	}
	for (uint32_t d = 0; d < DATAGRAMS; d++) {
		ck_assert(loss || !c->is_lossy[d]);
		whole -= !c->is_lossy[d];
		*(c->is_lossy[d] ? &missing : &parts) += c->parts[d];
	}
	ck_assert_uint_eq(whole, 0);
	s = sums_of(t);
	ck_assert_uint_eq(s.held, missing);
	fragments_sweep(t, START + FRAGMENTS_TIMEOUT_US);
	ck_assert_uint_eq(sums_of(t).held, missing);
	fragments_sweep(t, START + FRAGMENTS_TIMEOUT_US + PIECES + 1);
	s = sums_of(t);
	ck_assert_uint_eq(s.held, 0);
	ck_assert_uint_eq(memory_used(t), 0);
	ck_assert_uint_eq(s.timed_out, missing);
	ck_assert_uint_eq(s.parts, parts);
	ck_assert_uint_eq(s.duplicate, repeated);
	cut_free(c);
	fragments_free(t);
}
END_TEST

/* With far too little room: what comes out is right all the same, and nothing is counted twice. */
START_TEST(without_room_the_oldest_go_and_the_sums_hold)
{
	static const struct fragments_options tight = { 16, 0, FRAGMENTS_TIMEOUT_US };
	struct random r = random_from(0x0d + (uint64_t)_i);
	struct fragments *t = table_new(&tight);
	struct cut *c = cut_make(&r, 0);
	struct datagram got;

	for (size_t i = 0; i < c->count; i++) {
		struct piece *p = &c->pieces[i];
		struct fragment f = piece_fragment(c, p);

		if (fragments_add(t, &f, buffer, &got)) {
			ck_assert_uint_eq(got.payload.len, c->len[p->datagram]);
			ck_assert_mem_eq(got.payload.at, c->bytes[p->datagram], got.payload.len);
		}
		ck_assert(sums_of(t).held == 0 || memory_used(t) >= 2048);
	}
	ck_assert_uint_gt(sums_of(t).evicted, 0);
	fragments_drain(t);
	ck_assert_uint_eq(memory_used(t), 0);
	ck_assert_uint_eq(sums_of(t).held, 0);
	cut_free(c);
	fragments_free(t);
}
END_TEST

static size_t heap_bytes(void)
{
	return mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* A flood of first fragments: whoever came last is put together, and nothing is taken from the
 * heap. */
START_TEST(a_flood_evicts_the_oldest_first)
{
	static const struct fragments_options tight = { 16, 0, FRAGMENTS_TIMEOUT_US };
	struct fragments *t = table_new(&tight);
	uint8_t bytes[16] = "0123456789abcdef";
	size_t before = heap_bytes();
	struct fragments_sums s;
	struct datagram got;
	struct fragment f;

	for (uint32_t id = 0; id < 100000; id++) {
		f = fragment_of(FAMILY_IPV6, id, 0, true, bytes, 8);
		ck_assert(!fragments_add(t, &f, buffer, &got));
	}
	f = fragment_of(FAMILY_IPV6, 99999, 8, false, bytes + 8, 8);
	ck_assert(fragments_add(t, &f, buffer, &got));
	ck_assert_mem_eq(got.payload.at, bytes, 16);
	s = sums_of(t);
	ck_assert_uint_le(s.held, 32);
	ck_assert_uint_eq(s.evicted, 100000 - 1 - s.held);
	ck_assert_uint_eq(heap_bytes(), before);
	fragments_drain(t);
	ck_assert_uint_eq(sums_of(t).timed_out, s.held);
	ck_assert_uint_eq(sums_of(t).given, 100000 + 1);
	fragments_free(t);
}
END_TEST

/* ---- borders ---- */

static const struct {
	uint8_t family;
	uint32_t offset;
	bool more;
	uint32_t len;
	bool is_whole;
	size_t sum; /* the one that becomes 1 */
} alone[] = {
	{ FAMILY_IPV4, 0, false, 100, true, offsetof(struct fragments_sums, parts) },
	{ FAMILY_IPV6, 0, false, 7, true, offsetof(struct fragments_sums, parts) },
	{ FAMILY_IPV4, 0, false, 65535, true, offsetof(struct fragments_sums, parts) },
	{ FAMILY_IPV4, 0, true, 0, false, offsetof(struct fragments_sums, malformed) },
	{ FAMILY_IPV4, 8, false, 0, false, offsetof(struct fragments_sums, malformed) },
	{ FAMILY_IPV4, 0, true, 12, false, offsetof(struct fragments_sums, malformed) },
	{ FAMILY_IPV4, 4, false, 12, false, offsetof(struct fragments_sums, malformed) },
	{ FAMILY_IPV4, 8, false, 12, false, offsetof(struct fragments_sums, held) },
	{ FAMILY_IPV4, 65528, false, 7, false, offsetof(struct fragments_sums, held) },
	{ FAMILY_IPV4, 65528, false, 8, false, offsetof(struct fragments_sums, oversize) },
	{ FAMILY_IPV6, 65528, true, 65535, false, offsetof(struct fragments_sums, oversize) },
	{ FAMILY_IPV6, UINT32_MAX - 7, false, 8, false, offsetof(struct fragments_sums, oversize) },
};

START_TEST(a_fragment_alone)
{
	struct fragments *t = table_new(&roomy);
	uint8_t *bytes = calloc(1, 65535);
	struct fragment f = fragment_of(alone[_i].family, 1, alone[_i].offset, alone[_i].more,
					bytes, alone[_i].len);
	struct fragments_sums s;
	struct datagram got;

	ck_assert_int_eq(fragments_add(t, &f, buffer, &got), alone[_i].is_whole);
	if (alone[_i].is_whole)
		ck_assert_uint_eq(got.payload.len, alone[_i].len);
	s = sums_of(t);
	ck_assert_uint_eq(*(uint64_t *)((char *)&s + alone[_i].sum), 1);
	free(bytes);
	fragments_free(t);
}
END_TEST

/* The largest datagram, backwards, eight octets at a time. */
START_TEST(largest_datagram_in_smallest_fragments)
{
	struct fragments *t = table_new(&roomy);
	uint8_t *bytes = malloc(65536);
	struct datagram got;

	for (uint32_t i = 0; i < 65536; i++)
		bytes[i] = (uint8_t)(i * i >> 8);
	for (uint32_t at = 65528; at; at -= 8) {
		struct fragment f = fragment_of(FAMILY_IPV4, 7, at, at != 65528, bytes + at,
						at == 65528 ? 7 : 8);

		ck_assert(!fragments_add(t, &f, buffer, &got));
	}
	ck_assert(fragments_add(t,
				&(struct fragment){ .src.family = FAMILY_IPV4,
						    .src.ip = { 10 },
						    .dst.family = FAMILY_IPV4,
						    .dst.ip = { 20 },
						    .id = 7,
						    .more = true,
						    .proto = PROTO_UDP,
						    .payload = { bytes, 8 },
						    .ts_us = START },
				buffer, &got));
	ck_assert_uint_eq(got.payload.len, 65535);
	ck_assert_mem_eq(got.payload.at, bytes, 65535);
	free(bytes);
	fragments_free(t);
}
END_TEST

/* The same id for another datagram: not mixed with what is left of the one before it. */
START_TEST(an_id_that_is_used_again_begins_anew)
{
	struct fragments *t = table_new(&roomy);
	struct fragment f = fragment_of(FAMILY_IPV4, 1, 0, true, "old-old-", 8);
	struct datagram got;

	ck_assert(!fragments_add(t, &f, buffer, &got));
	f = fragment_of(FAMILY_IPV4, 1, 8, false, "new", 3);
	f.ts_us += FRAGMENTS_TIMEOUT_US + 1;
	ck_assert(!fragments_add(t, &f, buffer, &got));
	f.offset = 0;
	f.more = true;
	f.payload = view_of("NEW-NEW-");
	ck_assert(fragments_add(t, &f, buffer, &got));
	ck_assert_mem_eq(got.payload.at, "NEW-NEW-new", 11);
	ck_assert_uint_eq(sums_of(t).timed_out, 1);

	f.ts_us += FRAGMENTS_AGAIN_US; /* a mirror of both directions */
	ck_assert(!fragments_add(t, &f, buffer, &got));
	ck_assert_uint_eq(sums_of(t).duplicate, 1);
	f.ts_us += 1; /* and no more */
	ck_assert(!fragments_add(t, &f, buffer, &got));
	ck_assert_uint_eq(sums_of(t).held, 1);
	fragments_free(t);
}
END_TEST

/* The clock of a file goes back by an hour: what is held does not stay for that hour. */
START_TEST(a_clock_set_back_holds_nothing_for_ever)
{
	struct fragments *t = table_new(&roomy);
	struct fragment f = fragment_of(FAMILY_IPV4, 1, 0, true, "12345678", 8);
	struct datagram got;

	f.ts_us += 3600 * SECOND;
	ck_assert(!fragments_add(t, &f, buffer, &got));
	fragments_sweep(t, START);
	ck_assert_uint_eq(sums_of(t).timed_out, 1);
	fragments_free(t);
}
END_TEST

START_TEST(too_much_is_refused)
{
	struct fragments_options wild = { UINT32_MAX, 1 << 20, 1 };
	struct fragments *t = NULL;

	ck_assert_int_eq(fragments_new(&t, &wild), -EINVAL);
	wild = (struct fragments_options){ 16, UINT64_MAX, 1 };
	ck_assert_int_eq(fragments_new(&t, &wild), -EINVAL);
	ck_assert_ptr_null(t);
}
END_TEST

/* ---- four threads ---- */

#define THREADS 4

struct thread {
	pthread_t id;
	struct fragments *table;
	const struct cut *cut;
	unsigned number;
	pthread_barrier_t *start;
	_Atomic unsigned *whole; /* per datagram */
	uint64_t wrong;
};

/* Each takes every fourth piece: those of one datagram come from all of them. */
static void *thread_run(void *arg)
{
	struct thread *th = arg;
	uint8_t *own = malloc(FRAGMENTS_DATAGRAM);
	const struct cut *c = th->cut;
	struct fragments_sums s;
	struct datagram got;

	pthread_barrier_wait(th->start);
	for (size_t i = th->number; i < c->count; i += THREADS) {
		const struct piece *p = &c->pieces[i];
		struct fragment f = piece_fragment(c, p);

		fragments_sum(th->table, &s);
		th->wrong += s.held > c->count;
		if (!fragments_add(th->table, &f, own, &got))
			continue;
		th->whole[p->datagram]++;
		th->wrong += got.payload.len != c->len[p->datagram] ||
			     memcmp(got.payload.at, c->bytes[p->datagram], got.payload.len) != 0;
	}
	free(own);
	return NULL;
}

START_TEST(four_threads_share_the_fragments_of_each_datagram)
{
	struct random r = random_from(0x4444 + (uint64_t)_i);
	struct fragments *t = table_new(&roomy);
	_Atomic unsigned whole[DATAGRAMS] = { 0 };
	struct cut *c = cut_make(&r, 0);
	struct thread threads[THREADS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){
			.table = t, .cut = c, .number = i, .start = &start, .whole = whole
		};
		ck_assert_int_eq(pthread_create(&threads[i].id, NULL, thread_run, &threads[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i].id, NULL);
		ck_assert_uint_eq(threads[i].wrong, 0);
	}
	for (unsigned d = 0; d < DATAGRAMS; d++)
		ck_assert_uint_eq(whole[d], 1);
	ck_assert_uint_eq(sums_of(t).parts, c->count);
	pthread_barrier_destroy(&start);
	cut_free(c);
	fragments_free(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fragments");
	TCase *t = tcase_create("fragments");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, any_fragments_are_what_the_model_makes_of_them, 0, ROUNDS);
	tcase_add_loop_test(t, any_fragmentation_gives_the_datagram_back_and_losses_are_exact, 0,
			    ROUNDS / 10);
	tcase_add_loop_test(t, without_room_the_oldest_go_and_the_sums_hold, 0, ROUNDS / 20);
	tcase_add_test(t, a_flood_evicts_the_oldest_first);
	tcase_add_loop_test(t, a_fragment_alone, 0, (int)(sizeof(alone) / sizeof(alone[0])));
	tcase_add_test(t, largest_datagram_in_smallest_fragments);
	tcase_add_test(t, an_id_that_is_used_again_begins_anew);
	tcase_add_test(t, a_clock_set_back_holds_nothing_for_ever);
	tcase_add_test(t, too_much_is_refused);
	tcase_add_loop_test(t, four_threads_share_the_fragments_of_each_datagram, 0, 20);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
