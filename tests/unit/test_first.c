/* capture/first.c: what is the first of its kind, alone and with threads that ask at once. */
#include "capture/first.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "conf/gauge.h"

#define NOW 1700000000U

/* Hashes spread over all bits (splitmix64). */
static uint64_t hash_of(uint64_t n)
{
	n += 0x9e3779b97f4a7c15ULL;
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
	n = (n ^ n >> 27) * 0x94d049bb133111ebULL;
	return n ^ n >> 31;
}

static struct first *make(uint64_t bytes)
{
	struct first *f;

	ck_assert_int_eq(first_new(&f, bytes), HT_OK);
	return f;
}

START_TEST(a_key_is_the_first_once_in_31_seconds)
{
	struct first *f = make(1 << 20);

	ck_assert_int_eq(first_see(f, hash_of(1), NOW), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 31), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 32), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 33), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(2), NOW), FIRST_NEW);
	first_free(f);
}
END_TEST

START_TEST(a_repeat_does_not_make_it_live_longer)
{
	struct first *f = make(1 << 20);

	ck_assert_int_eq(first_see(f, hash_of(1), NOW), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 20), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 40), FIRST_NEW);
	first_free(f);
}
END_TEST

START_TEST(times_that_go_back_are_near_or_far_too)
{
	struct first *f = make(1 << 20);

	ck_assert_int_eq(first_see(f, hash_of(1), NOW), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW - 31), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW - 32), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(2), 0), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(2), 0), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(3), UINT32_MAX), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(3), UINT32_MAX), FIRST_REPEAT);
	first_free(f);
}
END_TEST

START_TEST(without_room_the_oldest_goes_and_that_is_told)
{
	struct first *f = make(64); /* one set of eight */

	for (uint64_t n = 0; n < 8; n++)
		ck_assert_int_eq(first_see(f, hash_of(n), NOW + (uint32_t)n), FIRST_NEW);
	ck_assert_int_eq(first_see(f, hash_of(8), NOW + 8), FIRST_NEW_EVICTED);
	ck_assert_int_eq(first_see(f, hash_of(1), NOW + 8), FIRST_REPEAT);
	ck_assert_int_eq(first_see(f, hash_of(0), NOW + 8), FIRST_NEW_EVICTED);
	/* those that are dead anyway go without a word */
	for (uint64_t n = 20; n < 28; n++)
		ck_assert_int_eq(first_see(f, hash_of(n), NOW + 100), FIRST_NEW);
	first_free(f);
}
END_TEST

/* All of a small one is looked at, of a large one a part that tells of the rest. */
START_TEST(memory_in_use_is_what_still_tells_a_repeat)
{
	struct first *f = make(4096), *large = make(64 << 20);
	struct memory_use m = { 0 };

	first_memory(f, NOW, &m);
	ck_assert_uint_eq(m.used + m.real_used, 0);
	ck_assert_uint_eq(m.limit, 4096);
	for (uint64_t n = 0; n < 50; n++)
		(void)first_see(f, hash_of(n) + (n << 8), n < 20 ? NOW - 20 : NOW);
	first_memory(f, NOW, &m);
	ck_assert_uint_eq(m.used, 50 * 8);
	ck_assert_uint_eq(m.real_used, 4096);
	m = (struct memory_use){ 0 };
	first_memory(f, NOW + 20, &m);
	ck_assert_uint_eq(m.used, 30 * 8);
	m = (struct memory_use){ 0 };
	for (uint64_t n = 0; n < 400000; n++)
		(void)first_see(large, n * 0x9e3779b97f4a7c15ULL, NOW);
	first_memory(large, NOW, &m);
	ck_assert_uint_gt(m.used, 400000 * 8 / 10 * 9);
	ck_assert_uint_lt(m.used, 400000 * 8 / 10 * 11);
	ck_assert_uint_eq(m.real_used, m.limit);
	first_free(f);
	first_free(large);
}
END_TEST

START_TEST(memory_is_bounded)
{
	struct first *f = make(1000000);

	ck_assert_uint_eq(first_bytes(f), 1 << 19);
	first_free(f);
	f = make(0);
	ck_assert_uint_eq(first_bytes(f), 64);
	first_free(f);
}
END_TEST

#define KEYS 200000

struct taker {
	pthread_t id;
	struct first *first;
	pthread_barrier_t *begin;
	uint64_t seen;
	uint8_t *is_first;
};

static void *take_all(void *ctx)
{
	struct taker *t = ctx;

	pthread_barrier_wait(t->begin);
	for (uint64_t n = 0; n < KEYS; n++) {
		if (n % 1000 == 0) /* side by side */
			pthread_barrier_wait(t->begin);
		t->is_first[n] = first_see(t->first, hash_of(n), NOW) == FIRST_NEW;
	}
	return NULL;
}

START_TEST(of_two_threads_one_is_told_that_it_was_first)
{
	struct first *f = make(64 << 20);
	struct taker taker[2];
	pthread_barrier_t begin;
	unsigned both = 0, none = 0, by_second = 0;

	pthread_barrier_init(&begin, NULL, 2);
	for (int i = 0; i < 2; i++) {
		taker[i] =
			(struct taker){ .first = f, .begin = &begin, .is_first = calloc(KEYS, 1) };
		ck_assert_int_eq(pthread_create(&taker[i].id, NULL, take_all, &taker[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(taker[i].id, NULL);
	for (uint64_t n = 0; n < KEYS; n++) {
		both += taker[0].is_first[n] && taker[1].is_first[n];
		none += !taker[0].is_first[n] && !taker[1].is_first[n];
		by_second += taker[1].is_first[n];
	}
	ck_assert_uint_eq(both, 0);
	ck_assert_uint_eq(none, 0);
	ck_assert_uint_gt(by_second, 0);
	ck_assert_uint_lt(by_second, KEYS);
	for (int i = 0; i < 2; i++)
		free(taker[i].is_first);
	pthread_barrier_destroy(&begin);
	first_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("first");
	TCase *t = tcase_create("first");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_key_is_the_first_once_in_31_seconds);
	tcase_add_test(t, a_repeat_does_not_make_it_live_longer);
	tcase_add_test(t, times_that_go_back_are_near_or_far_too);
	tcase_add_test(t, without_room_the_oldest_goes_and_that_is_told);
	tcase_add_test(t, memory_is_bounded);
	tcase_add_test(t, memory_in_use_is_what_still_tells_a_repeat);
	tcase_add_test(t, of_two_threads_one_is_told_that_it_was_first);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
