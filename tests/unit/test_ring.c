/* conf/ring.h: nothing is lost, doubled or reordered between two threads. */
#include "conf/ring.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>

#define ITEMS		 1000000UL
#define ITEMS_ONE_BY_ONE 50000UL /* where each needs a switch of threads */

START_TEST(ring_takes_as_many_as_it_has_slots)
{
	struct ring r;
	char item[9];

	ck_assert_int_eq(ring_init(&r, 8), HT_OK);
	ck_assert_ptr_null(ring_take(&r));
	for (int round = 0; round < 20; round++) { /* round and round */
		for (int i = 0; i < 8; i++)
			ck_assert(ring_put(&r, &item[i]));
		ck_assert(!ring_put(&r, &item[8]));
		for (int i = 0; i < 8; i++)
			ck_assert_ptr_eq(ring_take(&r), &item[i]);
		ck_assert_ptr_null(ring_take(&r));
		ck_assert(ring_put(&r, &item[0]));
		ck_assert_ptr_eq(ring_take(&r), &item[0]);
	}
	ring_fini(&r);
}
END_TEST

START_TEST(ring_of_one_slot_works)
{
	struct ring r;
	int a, b;

	ck_assert_int_eq(ring_init(&r, 1), HT_OK);
	ck_assert(ring_put(&r, &a));
	ck_assert(!ring_put(&r, &b));
	ck_assert_ptr_eq(ring_take(&r), &a);
	ck_assert_ptr_null(ring_take(&r));
	ring_fini(&r);
}
END_TEST

START_TEST(ring_goes_on_where_its_counts_wrap)
{
	struct ring r;
	int item[6];

	ck_assert_int_eq(ring_init(&r, 4), HT_OK);
	atomic_store(&r.head, SIZE_MAX - 1);
	atomic_store(&r.tail, SIZE_MAX - 1);
	for (int i = 0; i < 4; i++)
		ck_assert(ring_put(&r, &item[i]));
	ck_assert(!ring_put(&r, &item[4]));
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_eq(ring_take(&r), &item[i]);
	ck_assert_ptr_null(ring_take(&r));
	ring_fini(&r);
}
END_TEST

struct two {
	struct ring there, back;
	uint64_t items;
	uint64_t *
		values; /* what the pointers point to: plain memory that only the ring hands over */
};

static void *put_all(void *arg)
{
	struct two *t = arg;

	for (uint64_t n = 0; n < t->items;) {
		uint64_t *v = ring_take(&t->back);

		if (!v) {
			sched_yield();
			continue;
		}
		*v = n++;
		ck_assert(ring_put(&t->there, v)); /* has room for all that there are */
	}
	return NULL;
}

START_TEST(two_threads_keep_the_order)
{
	static const size_t slots[] = { 1, 2, 64 };
	struct two t = { .items = slots[_i] > 2 ? ITEMS : ITEMS_ONE_BY_ONE };
	pthread_t putter;

	ck_assert_int_eq(ring_init(&t.there, slots[_i]), HT_OK);
	ck_assert_int_eq(ring_init(&t.back, slots[_i]), HT_OK);
	t.values = calloc(slots[_i], sizeof(*t.values));
	for (size_t i = 0; i < slots[_i]; i++)
		ck_assert(ring_put(&t.back, &t.values[i]));
	ck_assert_int_eq(pthread_create(&putter, NULL, put_all, &t), 0);
	for (uint64_t n = 0; n < t.items;) {
		uint64_t *v = ring_take(&t.there);

		if (!v) {
			sched_yield();
			continue;
		}
		if (*v != n)
			ck_abort_msg("%lu came as number %lu", *v, n);
		n++;
		*v = UINT64_MAX;
		ck_assert(ring_put(&t.back, v));
	}
	pthread_join(putter, NULL);
	ck_assert_ptr_null(ring_take(&t.there));
	ring_fini(&t.there);
	ring_fini(&t.back);
	free(t.values);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, ring_takes_as_many_as_it_has_slots);
	tcase_add_test(t, ring_of_one_slot_works);
	tcase_add_test(t, ring_goes_on_where_its_counts_wrap);
	tcase_add_loop_test(t, two_threads_keep_the_order, 0, 3);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
