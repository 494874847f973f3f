/*
 * storage/rcu_table.c: found, made once, replaced, evicted, expired, refused; memory bounded;
 * entries used again only after a grace period; by several threads at once against a reference.
 */
#include "storage/rcu_table.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/gauge.h"
#include "tests/unit/mallocs.h"
#include "tests/unit/random.h"

#define THREADS 4

struct item {
	struct rcu_entry entry;
	uint64_t key, check;
	_Atomic uint64_t adds;
};

static struct rcu_table *table;
static uint32_t life_ms;

static struct item *item_of(struct rcu_entry *e)
{
	return caa_container_of(e, struct item, entry);
}

static uint64_t check_of(uint64_t key)
{
	return key * 0x9e3779b97f4a7c15ULL + 1;
}

static int match(struct cds_lfht_node *node, const void *key)
{
	struct rcu_entry *e = caa_container_of(node, struct rcu_entry, node);

	rcu_tell_acquire(e);
	return item_of(e)->key == *(const uint64_t *)key;
}

static void fill(struct rcu_entry *e, const void *key)
{
	struct item *item = item_of(e);

	item->key = *(const uint64_t *)key;
	item->check = check_of(item->key);
	atomic_init(&item->adds, 0);
}

static bool is_over(const struct rcu_entry *e, uint32_t idle_ms)
{
	(void)e;
	return idle_ms >= life_ms;
}

static void start(uint32_t entries, unsigned threads)
{
	struct rcu_table_options o = { .entries = entries,
				       .entry_bytes = sizeof(struct item),
				       .threads = threads,
				       .match = match,
				       .fill = fill,
				       .is_over = is_over };

	life_ms = 1000;
	rcu_thread_begin();
	ck_assert_int_eq(rcu_table_new(&table, &o), HT_OK);
}

static void finish(void)
{
	rcu_table_free(table);
	rcu_thread_end();
}

static uint64_t hash_of(uint64_t key)
{
	return rcu_table_hash(table, &key, sizeof(key));
}

/* Inside a read-side section. */
static struct item *put(unsigned thread, uint64_t key, uint32_t now_ms)
{
	struct rcu_entry *e =
		rcu_table_put(rcu_table_thread(table, thread), hash_of(key), &key, now_ms);

	if (!e)
		return NULL;
	ck_assert_uint_eq(item_of(e)->key, key);
	ck_assert_uint_eq(item_of(e)->check, check_of(key));
	return item_of(e);
}

static struct item *find(uint64_t key)
{
	struct rcu_entry *e = rcu_table_find(table, hash_of(key), &key);

	return e ? item_of(e) : NULL;
}

static bool is_there(uint64_t key)
{
	bool is;

	rcu_read_begin();
	is = find(key) != NULL;
	rcu_read_end();
	return is;
}

static bool put_alone(uint64_t key, uint32_t now_ms)
{
	bool is;

	rcu_read_begin();
	is = put(0, key, now_ms) != NULL;
	rcu_read_end();
	return is;
}

struct census {
	uint64_t *key;
	size_t count, most;
	uintptr_t lowest, highest;
};

static void census_one(void *ctx, struct rcu_entry *e)
{
	struct census *c = ctx;

	ck_assert_uint_lt(c->count, c->most);
	ck_assert_uint_eq(item_of(e)->check, check_of(item_of(e)->key));
	ck_assert_ptr_eq(find(item_of(e)->key), item_of(e));
	c->key[c->count++] = item_of(e)->key;
	c->lowest = (uintptr_t)e < c->lowest ? (uintptr_t)e : c->lowest;
	c->highest = (uintptr_t)e > c->highest ? (uintptr_t)e : c->highest;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* At rest: each entry is listed once, is what a search finds, is counted, and lies within the
 * memory that the table says it has. */
static size_t census_take(void)
{
	size_t places = rcu_table_bytes(table) / sizeof(struct item);
	struct census c = { .key = calloc(places, sizeof(uint64_t)),
			    .most = places,
			    .lowest = UINTPTR_MAX };
	struct rcu_table_sums s = rcu_table_sums(table);

	ck_assert_ptr_nonnull(c.key);
	rcu_read_begin();
	rcu_table_each(table, census_one, &c);
	rcu_read_end();
	qsort(c.key, c.count, sizeof(*c.key), by_number);
	for (size_t i = 1; i < c.count; i++)
		ck_assert_uint_ne(c.key[i], c.key[i - 1]);
	free(c.key);
	if (c.count)
		ck_assert_uint_le(c.highest - c.lowest + sizeof(struct item),
				  rcu_table_bytes(table));
	ck_assert_uint_eq(s.entries, c.count);
	ck_assert_uint_eq(s.entries, s.inserted - s.evicted - s.expired - s.replaced);
	return c.count;
}

/* ---- one thread ---- */

START_TEST(entry_is_made_once_and_found)
{
	struct item *first;

	start(100, 1);
	rcu_read_begin();
	ck_assert_ptr_null(find(7));
	first = put(0, 7, 1);
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_eq(put(0, 7, 2), first);
	ck_assert_ptr_eq(find(7), first);
	ck_assert_ptr_null(find(8));
	rcu_read_end();
	ck_assert_uint_eq(census_take(), 1);
	ck_assert_uint_eq(rcu_table_sums(table).inserted, 1);
	finish();
}
END_TEST

START_TEST(replaced_entry_stays_readable_to_the_end_of_the_section)
{
	struct item *old, *fresh;
	uint64_t key = 5;

	start(64, 1);
	rcu_read_begin();
	old = item_of(rcu_table_replace(rcu_table_thread(table, 0), hash_of(5), &key, 1));
	fresh = item_of(rcu_table_replace(rcu_table_thread(table, 0), hash_of(5), &key, 2));
	ck_assert_ptr_ne(old, fresh);
	ck_assert_ptr_eq(find(5), fresh);
	ck_assert_uint_eq(old->check, check_of(5));
	rcu_read_end();
	ck_assert_uint_eq(rcu_table_sums(table).replaced, 1);
	ck_assert_uint_eq(census_take(), 1);
	finish();
}
END_TEST

START_TEST(options_that_cannot_be_are_refused)
{
	struct rcu_table_options o = { .entries = 1, .threads = 1, .entry_bytes = 1 };
	struct rcu_table *t = NULL;

	ck_assert_int_eq(rcu_table_new(&t, &o), -EINVAL);
	o.entry_bytes = sizeof(struct item);
	o.entries = 0;
	ck_assert_int_eq(rcu_table_new(&t, &o), -EINVAL);
	o.entries = UINT32_MAX;
	ck_assert_int_eq(rcu_table_new(&t, &o), -EINVAL);
	o.entries = 1;
	o.threads = 0;
	ck_assert_int_eq(rcu_table_new(&t, &o), -EINVAL);
	ck_assert_ptr_null(t);
	rcu_table_free(NULL);
}
END_TEST

/* Ten times as many keys as entries, with grace periods in between. */
START_TEST(full_table_evicts_and_takes_new_ones)
{
	const uint64_t keys = 50000, entries = 5000;
	struct rcu_table_sums s;
	size_t there;

	start((uint32_t)entries, 1);
	for (uint64_t key = 0; key < keys; key++) {
		ck_assert(put_alone(key, (uint32_t)key));
		ck_assert(is_there(key));
		if (key % 100 == 0)
			urcu_memb_barrier();
	}
	there = census_take();
	s = rcu_table_sums(table);
	ck_assert_uint_eq(s.inserted, keys);
	ck_assert_uint_eq(s.evicted, keys - there);
	ck_assert_uint_ge(there, entries - entries / 8);
	ck_assert_uint_le(there, entries + entries / 8);
	finish();
}
END_TEST

START_TEST(what_is_in_use_is_not_evicted)
{
	const uint64_t entries = 4096, hot = 64;

	start((uint32_t)entries, 1);
	for (uint64_t key = 0; key < 10 * entries; key++) {
		uint32_t now_ms = (uint32_t)(key / 16);

		rcu_read_begin();
		for (uint64_t h = 0; key % 64 == 0 && h < hot; h++)
			ck_assert_ptr_nonnull(put(0, 1000000 + h, now_ms));
		ck_assert_ptr_nonnull(put(0, key, now_ms));
		rcu_read_end();
		if (key % 64 == 0)
			urcu_memb_barrier();
	}
	/* inserted once each: none of them was ever missing */
	ck_assert_uint_eq(rcu_table_sums(table).inserted, 10 * entries + hot);
	finish();
}
END_TEST

/* No grace period can end while the section is open: refused, not waited for. */
START_TEST(reader_that_stays_makes_no_one_wait)
{
	struct rcu_table_sums s;
	uint64_t taken = 0;

	start(256, 1);
	rcu_read_begin();
	for (uint64_t key = 0; key < 2000; key++)
		taken += put(0, key, (uint32_t)key) != NULL;
	rcu_read_end();
	s = rcu_table_sums(table);
	ck_assert_uint_eq(s.inserted, taken);
	ck_assert_uint_eq(s.refused, 2000 - taken);
	ck_assert_uint_gt(s.refused, 0);
	ck_assert_uint_le(taken * sizeof(struct item), rcu_table_bytes(table));
	urcu_memb_barrier();
	for (uint64_t key = 5000; key < 5010; key++)
		ck_assert(put_alone(key, 3000));
	census_take();
	finish();
}
END_TEST

static struct memory_use memory_now(void)
{
	struct memory_use m = { 0 };

	rcu_table_memory(table, &m);
	ck_assert_uint_le(m.used, m.real_used);
	ck_assert_uint_le(m.real_used, m.limit);
	ck_assert_uint_eq(m.limit, rcu_table_bytes(table));
	return m;
}

/* Entries that went leave their places taken; a full table is near its limit, and costs what was
 * said beforehand. */
START_TEST(memory_is_what_entries_take)
{
	uint64_t buckets, one = (sizeof(struct item) + 63) / 64 * 64;

	start(10000, 1);
	buckets = memory_now().used;
	ck_assert_uint_eq(buckets, 16384 * sizeof(struct cds_lfht_node));
	ck_assert_uint_eq(memory_now().real_used, buckets);
	ck_assert_uint_le(memory_now().limit,
			  10000 * rcu_table_entry_cost(sizeof(struct item)) + 256 * one);
	for (uint64_t key = 0; key < 500; key++)
		ck_assert(put_alone(key, 0));
	ck_assert_uint_eq(memory_now().used, buckets + 500 * one);
	ck_assert_uint_ge(memory_now().real_used, buckets + 500 * one);
	ck_assert_uint_le(memory_now().real_used, buckets + 600 * one);
	(void)rcu_table_sweep(rcu_table_thread(table, 0), 5000, UINT32_MAX);
	ck_assert_uint_eq(memory_now().used, buckets);
	ck_assert_uint_ge(memory_now().real_used, buckets + 500 * one);
	urcu_memb_barrier(); /* they can be used again */
	for (uint64_t key = 0; key < 10000; key++)
		ck_assert(put_alone(key, 6000));
	ck_assert_uint_gt(memory_now().used, memory_now().limit / 10 * 9);
	finish();
}
END_TEST

START_TEST(idle_entries_expire_slice_by_slice)
{
	struct rcu_table_thread *th;
	uint32_t turn;

	start(1000, 1);
	th = rcu_table_thread(table, 0);
	for (uint64_t key = 0; key < 1000; key++)
		put_alone(key, key < 500 ? 100 : 600);
	ck_assert_uint_eq(rcu_table_sums(table).evicted, 0);
	turn = rcu_table_sweep(th, 1099, 10000); /* nobody is old enough */
	ck_assert_uint_eq(census_take(), 1000);
	ck_assert_uint_ge(turn, 1000);
	(void)rcu_table_sweep(th, 1100, 10);
	ck_assert_uint_eq(census_take(), 990);
	for (uint32_t seen = 10; seen < turn; seen += 10)
		(void)rcu_table_sweep(th, 1100, 10);
	ck_assert_uint_eq(census_take(), 500);
	ck_assert_uint_eq(rcu_table_sums(table).expired, 500);
	ck_assert(!is_there(499));
	ck_assert(is_there(500));
	(void)rcu_table_sweep(th, 1600, turn);
	ck_assert_uint_eq(census_take(), 0);
	finish();
}
END_TEST

START_TEST(clock_that_wraps_or_goes_back_expires_nothing_early)
{
	start(10, 1);
	put_alone(1, UINT32_MAX - 100);
	put_alone(2, 5000);
	(void)rcu_table_sweep(rcu_table_thread(table, 0), 800, 100);
	ck_assert(is_there(1)); /* 901 ms old */
	ck_assert(is_there(2)); /* from the future */
	(void)rcu_table_sweep(rcu_table_thread(table, 0), 899, 100);
	ck_assert(!is_there(1));
	finish();
}
END_TEST

START_TEST(entry_is_used_again_only_after_a_grace_period)
{
	struct rcu_table_thread *th;
	struct item *held;
	bool is_again = false;

	start(100, 1);
	th = rcu_table_thread(table, 0);
	put_alone(1, 0);
	rcu_read_begin();
	held = find(1);
	(void)rcu_table_sweep(th, 5000, 1000);
	ck_assert_ptr_null(find(1));
	for (uint64_t key = 100; key < 1100; key++)
		ck_assert_ptr_ne(put(0, key, 5000), held);
	ck_assert_uint_eq(held->key, 1);
	ck_assert_uint_eq(held->check, check_of(1));
	rcu_read_end();
	(void)rcu_table_sweep(th, 9000, 1000);
	urcu_memb_barrier();
	rcu_read_begin();
	for (uint64_t key = 2000; key < 3000; key++) /* until none is left */
		is_again |= put(0, key, 9000) == held;
	rcu_read_end();
	ck_assert(is_again);
	finish();
}
END_TEST

START_TEST(nothing_is_allocated_on_the_way)
{
	unsigned long before;

	start(1000, 1);
	ck_assert_ptr_nonnull(urcu_memb_get_default_call_rcu_data()); /* as the server starts it */
	before = mallocs;
	for (uint64_t key = 0; key < 20000; key++) {
		rcu_read_begin();
		(void)rcu_table_put(rcu_table_thread(table, 0), hash_of(key), &key, (uint32_t)key);
		rcu_read_end();
	}
	(void)rcu_table_sweep(rcu_table_thread(table, 0), 30000, 2000);
	ck_assert_uint_eq(mallocs, before);
	finish();
}
END_TEST

START_TEST(prefetch_changes_nothing)
{
	uint64_t hash[32];

	start(1000, 1);
	for (uint64_t key = 0; key < 32; key++) {
		hash[key] = hash_of(key);
		if (key % 2)
			put_alone(key, 1);
	}
	rcu_read_begin();
	for (uint64_t key = 0; key < 32; key++) {
		rcu_table_prefetch_bucket(table, hash[key]);
		rcu_table_prefetch_entry(table, hash[key]);
	}
	for (uint64_t key = 0; key < 32; key++)
		ck_assert_int_eq(find(key) != NULL, key % 2 == 1);
	rcu_read_end();
	finish();
}
END_TEST

/* ---- chosen keys ---- */

#define FLOOD 4096

/* Keys that all fall into one bucket if the table had the seed 0, as a sender may choose them who
 * knows this source. */
START_TEST(chosen_keys_do_not_make_a_long_chain)
{
	uint64_t key = 0, found = 0;
	unsigned longest;

	start(FLOOD, 1);
	while (found < FLOOD) {
		key++;
		if ((XXH3_64bits_withSeed(&key, sizeof(key), 0) & 1023) != 1)
			continue;
		ck_assert(put_alone(key, 1));
		found++;
	}
	ck_assert_uint_eq(census_take(), FLOOD);
	rcu_read_begin();
	longest = rcu_table_longest_chain(table);
	rcu_read_end();
	/* 4096 balls in 4096 urns: 16 in one has a probability below 1e-9 */
	ck_assert_uint_ge(longest, 2);
	ck_assert_uint_lt(longest, 16);
	finish();
}
END_TEST

START_TEST(longest_chain_is_counted)
{
	uint64_t key, one, n = 0;
	unsigned longest;

	start(16, 1);
	one = hash_of(0) & 15;
	for (key = 0; n < 10; key++) {
		if ((hash_of(key) & 15) != one)
			continue;
		put_alone(key, 1);
		n++;
	}
	rcu_read_begin();
	longest = rcu_table_longest_chain(table);
	rcu_read_end();
	ck_assert_uint_eq(longest, 10);
	finish();
}
END_TEST

START_TEST(each_table_has_its_own_seed)
{
	struct rcu_table *one;
	uint64_t seed;

	start(16, 1);
	one = table;
	seed = rcu_table_seed(one);
	rcu_thread_end();
	start(16, 1);
	ck_assert_uint_ne(rcu_table_seed(table), seed);
	ck_assert_uint_ne(rcu_table_hash(table, "a", 1), rcu_table_hash(one, "a", 1));
	rcu_table_free(one);
	finish();
}
END_TEST

/* ---- several threads ---- */

struct worker {
	pthread_t thread;
	unsigned i;
	uint64_t keys;
	unsigned rounds;
	uint64_t *adds; /* the reference: what this thread added to each key */
	uint64_t refused;
	pthread_barrier_t *begin;
};

static void *add_on(void *arg)
{
	struct worker *w = arg;
	struct random r = random_from(w->i + 1);

	rcu_thread_begin();
	pthread_barrier_wait(w->begin);
	for (unsigned n = 0; n < w->rounds; n++) {
		rcu_read_begin();
		for (int k = 0; k < 16; k++) {
			uint64_t key = random_below(&r, w->keys);
			struct item *item = put(w->i, key, n);

			w->refused += !item;
			if (!item)
				continue;
			atomic_fetch_add_explicit(&item->adds, 1, memory_order_relaxed);
			w->adds[key]++;
			if (find(key + w->keys))
				ck_abort_msg("a key nobody put");
		}
		rcu_read_end();
	}
	rcu_thread_end();
	return NULL;
}

static void run_workers(struct worker *w, uint64_t keys, unsigned rounds)
{
	static pthread_barrier_t begin;

	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .i = i,
					.keys = keys,
					.rounds = rounds,
					.adds = calloc(keys, sizeof(uint64_t)),
					.begin = &begin };
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, add_on, &w[i]), 0);
	}
}

static void join_workers(struct worker *w)
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
}

/* Everything fits: nothing may be lost, and no key may be there twice. */
START_TEST(threads_that_add_lose_nothing)
{
	const uint64_t keys = 2000;
	struct worker w[THREADS];

	start((uint32_t)keys, THREADS + 1);
	run_workers(w, keys, 2000);
	join_workers(w);
	for (uint64_t key = 0; key < keys; key++) {
		uint64_t sum = 0;

		for (int i = 0; i < THREADS; i++)
			sum += w[i].adds[key];
		rcu_read_begin();
		ck_assert_uint_eq(sum == 0, find(key) == NULL);
		if (sum)
			ck_assert_uint_eq(find(key)->adds, sum);
		rcu_read_end();
	}
	census_take();
	ck_assert_uint_eq(rcu_table_sums(table).refused, 0);
	for (int i = 0; i < THREADS; i++)
		free(w[i].adds);
	finish();
}
END_TEST

/* Ten times too many keys, and a sweeper beside it: every entry found is that of its key, and at
 * the end the table is as its counters say. */
START_TEST(threads_insert_find_expire_and_evict)
{
	const uint64_t keys = 20000, entries = 2000;
	struct rcu_table_sums s = { 0 };
	struct worker w[THREADS];
	uint64_t puts = 0, refused = 0, most;

	start((uint32_t)entries, THREADS + 1);
	most = rcu_table_bytes(table) / sizeof(struct item);
	life_ms = 500;
	run_workers(w, keys, 3000);
	for (uint32_t now_ms = 0; s.inserted + s.refused < 50000; now_ms++) {
		(void)rcu_table_sweep(rcu_table_thread(table, THREADS), now_ms, 256);
		s = rcu_table_sums(table);
		ck_assert_uint_le(s.entries, most);
	}
	join_workers(w);
	s = rcu_table_sums(table);
	for (int i = 0; i < THREADS; i++) {
		for (uint64_t key = 0; key < keys; key++)
			puts += w[i].adds[key];
		refused += w[i].refused;
		free(w[i].adds);
	}
	ck_assert_uint_eq(puts + refused, THREADS * 3000 * 16);
	ck_assert_uint_eq(s.refused, refused);
	ck_assert_uint_le(s.inserted, puts);
	ck_assert_uint_gt(s.evicted, 0);
	census_take();
	life_ms = 0;
	(void)rcu_table_sweep(rcu_table_thread(table, THREADS), 5000, (uint32_t)most);
	ck_assert_uint_eq(census_take(), 0);
	finish();
}
END_TEST

/* Everybody replaces the same few keys. */
static void *replace_on(void *arg)
{
	struct worker *w = arg;

	rcu_thread_begin();
	pthread_barrier_wait(w->begin);
	for (unsigned n = 0; n < w->rounds; n++) {
		uint64_t key = n % w->keys;
		struct rcu_entry *e;

		rcu_read_begin();
		e = rcu_table_replace(rcu_table_thread(table, w->i), hash_of(key), &key, n);
		if (e)
			ck_assert_uint_eq(item_of(e)->check, check_of(key));
		e = rcu_table_find(table, hash_of(key), &key);
		if (e)
			ck_assert_uint_eq(item_of(e)->check, check_of(key));
		rcu_read_end();
		ck_assert_uint_le(rcu_table_sums(table).entries, w->rounds * THREADS);
	}
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_that_replace_leave_one_each)
{
	static pthread_barrier_t begin;
	struct worker w[THREADS];

	start(20000, THREADS); /* room for all: none is evicted */
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .i = i, .keys = 7, .rounds = 4000, .begin = &begin };
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, replace_on, &w[i]), 0);
	}
	join_workers(w);
	ck_assert_uint_eq(census_take(), 7);
	ck_assert_uint_eq(rcu_table_sums(table).inserted, rcu_table_sums(table).replaced + 7);
	finish();
}
END_TEST

/* A thread that stays in its read-side section: the others go on, and what it holds stays. */
START_TEST(threads_go_on_while_one_reads)
{
	struct worker w[THREADS];
	struct item *held;

	start(500, THREADS + 1);
	rcu_read_begin();
	held = put(THREADS, 30000, 0);
	run_workers(w, 20000, 500);
	join_workers(w); /* they end, although no grace period can */
	ck_assert_uint_eq(held->key, 30000);
	ck_assert_uint_eq(held->check, check_of(30000));
	rcu_read_end();
	ck_assert_uint_gt(rcu_table_sums(table).refused, 0);
	for (int i = 0; i < THREADS; i++)
		free(w[i].adds);
	census_take();
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rcu_table");
	TCase *one = tcase_create("one thread"), *many = tcase_create("threads");
	SRunner *runner;
	int failed;

	tcase_set_timeout(one, 120);
	tcase_add_test(one, entry_is_made_once_and_found);
	tcase_add_test(one, replaced_entry_stays_readable_to_the_end_of_the_section);
	tcase_add_test(one, options_that_cannot_be_are_refused);
	tcase_add_test(one, full_table_evicts_and_takes_new_ones);
	tcase_add_test(one, what_is_in_use_is_not_evicted);
	tcase_add_test(one, reader_that_stays_makes_no_one_wait);
	tcase_add_test(one, memory_is_what_entries_take);
	tcase_add_test(one, idle_entries_expire_slice_by_slice);
	tcase_add_test(one, clock_that_wraps_or_goes_back_expires_nothing_early);
	tcase_add_test(one, entry_is_used_again_only_after_a_grace_period);
	tcase_add_test(one, nothing_is_allocated_on_the_way);
	tcase_add_test(one, prefetch_changes_nothing);
	tcase_add_test(one, chosen_keys_do_not_make_a_long_chain);
	tcase_add_test(one, longest_chain_is_counted);
	tcase_add_test(one, each_table_has_its_own_seed);
	suite_add_tcase(s, one);
	tcase_set_timeout(many, 120);
	tcase_add_test(many, threads_that_add_lose_nothing);
	tcase_add_test(many, threads_insert_find_expire_and_evict);
	tcase_add_test(many, threads_that_replace_leave_one_each);
	tcase_add_test(many, threads_go_on_while_one_reads);
	suite_add_tcase(s, many);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
