/* capture/pressure.c: what is shed at each level, and how a level rises and falls. */
#include "capture/pressure.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS 4096
#define S     1000000ULL

static struct view call_id(unsigned n)
{
	static char text[64];

	return (struct view){ (uint8_t *)text,
			      (uint32_t)snprintf(text, sizeof(text), "%08x@example.org", n) };
}

static const struct msg somewhere = { .src = { .ip = { 192, 0, 2, 1 }, .port = 5060, .family = 2 },
				      .dst = {
					      .ip = { 192, 0, 2, 2 }, .port = 5080, .family = 2 } };

static unsigned shed_at(unsigned level, unsigned class)
{
	unsigned count = 0;

	for (unsigned n = 0; n < CALLS; n++)
		count += pressure_sheds(level, class, &somewhere, call_id(n));
	return count;
}

/* Each level sheds a sixteenth more of one class, give or take what a hash does. */
START_TEST(each_level_sheds_a_step_more_of_the_lowest_class_that_is_left)
{
	for (unsigned level = 0; level <= PRESSURE_MOST; level++) {
		for (unsigned class = 1; class <= SHED_CLASSES; class ++) {
			unsigned first = (class - 1) * SHED_STEPS;
			unsigned steps = level <= first		       ? 0
					 : level >= first + SHED_STEPS ? SHED_STEPS
								       : level - first;
			unsigned count = shed_at(level, class), want = CALLS / SHED_STEPS * steps;

			if (steps == 0 || steps == SHED_STEPS)
				ck_assert_uint_eq(count, want);
			ck_assert_uint_le(count, want + CALLS / 32);
			ck_assert_uint_ge(count + CALLS / 32, want);
		}
		ck_assert_uint_eq(pressure_class(level), (level + 15) / 16);
	}
}
END_TEST

START_TEST(what_is_shed_at_a_level_is_shed_at_all_above)
{
	for (unsigned class = 1; class <= SHED_CLASSES; class ++) {
		for (unsigned n = 0; n < CALLS; n++) {
			bool was = false;

			for (unsigned level = 0; level <= PRESSURE_MOST; level++) {
				bool is = pressure_sheds(level, class, &somewhere, call_id(n));

				ck_assert(is || !was);
				was = is;
			}
			ck_assert(was);
		}
	}
}
END_TEST

/* Requests and replies, from wherever: the Call-ID alone decides. Where there is none it is the
 * pair of addresses, and the other direction belongs to it. */
START_TEST(a_dialog_is_kept_or_shed_as_a_whole)
{
	struct msg back = { .src = somewhere.dst, .dst = somewhere.src }, other = somewhere;
	struct view none = { 0 };
	unsigned differ = 0;

	for (unsigned n = 0; n < CALLS; n++)
		ck_assert_int_eq(pressure_sheds(72, 5, &somewhere, call_id(n)),
				 pressure_sheds(72, 5, &back, call_id(n)));
	for (unsigned port = 1; port < 1000; port++) {
		other.src.port = back.dst.port = (uint16_t)port;
		ck_assert_int_eq(pressure_sheds(8, 1, &other, none),
				 pressure_sheds(8, 1, &back, none));
		differ += pressure_sheds(8, 1, &other, none);
	}
	ck_assert_uint_gt(differ, 400);
	ck_assert_uint_lt(differ, 600);
}
END_TEST

START_TEST(level_rises_at_once_and_falls_after_ten_seconds)
{
	struct pressure p = { 0 };
	uint64_t t = 1000 * S;

	pressure_ask(&p, 7, t);
	ck_assert_uint_eq(pressure_level(&p), 7);
	pressure_ask(&p, 40, t + 1);
	ck_assert_uint_eq(pressure_level(&p), 40);
	pressure_ask(&p, 12, t + 2);
	pressure_ask(&p, 3, t + 10 * S);
	ck_assert_uint_eq(pressure_level(&p), 40);
	pressure_ask(&p, 2, t + 1 + 10 * S);
	ck_assert_uint_eq(pressure_level(&p), 12); /* the most that was asked for meanwhile */
	pressure_ask(&p, 0, t + 20 * S);
	ck_assert_uint_eq(pressure_level(&p), 12);
	pressure_ask(&p, 12, t + 20 * S); /* again: from here on */
	pressure_ask(&p, 0, t + 30 * S - 1);
	ck_assert_uint_eq(pressure_level(&p), 12);
	pressure_ask(&p, 0, t + 30 * S);
	ck_assert_uint_eq(pressure_level(&p), 0);
	pressure_ask(&p, 0, t + 50 * S);
	pressure_ask(&p, 1, t + 50 * S);
	ck_assert_uint_eq(pressure_level(&p), 1);
}
END_TEST

START_TEST(spool_asks_by_what_it_holds)
{
	uint64_t max = 20ULL << 30, big = 1024ULL << 40;
	unsigned last = 0;

	ck_assert_uint_eq(pressure_of_spool(0, max, true), 0);
	ck_assert_uint_eq(pressure_of_spool(max / 10 * 8, max, true), 0);
	ck_assert_uint_eq(pressure_of_spool(max / 10 * 9, max, true), PRESSURE_MOST / 2);
	ck_assert_uint_eq(pressure_of_spool(max - 1, max, true), PRESSURE_MOST - 1);
	ck_assert_uint_eq(pressure_of_spool(max, max, true), PRESSURE_MOST);
	ck_assert_uint_eq(pressure_of_spool(max + 1, max, true), PRESSURE_MOST);
	ck_assert_uint_eq(pressure_of_spool(big - 1, big, true), PRESSURE_MOST - 1);
	for (uint64_t bytes = 0; bytes <= max; bytes += max / 997) {
		unsigned level = pressure_of_spool(bytes, max, true);

		ck_assert_uint_ge(level, last);
		last = level;
	}
}
END_TEST

/* A spool that refuses: everything but calls at once; calls have what memory is left. */
START_TEST(spool_that_refuses_sheds_all_but_calls)
{
	unsigned level = pressure_of_spool(0, 1000, false);

	for (unsigned class = 1; class < SHED_CLASSES; class ++)
		ck_assert_uint_eq(shed_at(level, class), CALLS);
	ck_assert_uint_eq(shed_at(level, SHED_CLASSES), 0);
	ck_assert_uint_eq(pressure_of_spool(1000, 1000, false), PRESSURE_MOST);
}
END_TEST

START_TEST(memory_asks_by_its_free_blocks)
{
	for (unsigned blocks = 4; blocks <= 64; blocks *= 2) {
		unsigned last = 0, room = blocks / 4 > 2 ? blocks / 4 : 2;

		for (unsigned free_blocks = blocks; free_blocks > 0; free_blocks--) {
			unsigned level = pressure_of_memory(free_blocks, blocks);

			ck_assert_uint_ge(level, last);
			ck_assert_int_eq(level == 0, free_blocks >= room);
			last = level;
		}
		ck_assert_uint_eq(pressure_of_memory(0, blocks), PRESSURE_MOST - SHED_STEPS / 2);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pressure");
	TCase *t = tcase_create("pressure");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, each_level_sheds_a_step_more_of_the_lowest_class_that_is_left);
	tcase_add_test(t, what_is_shed_at_a_level_is_shed_at_all_above);
	tcase_add_test(t, a_dialog_is_kept_or_shed_as_a_whole);
	tcase_add_test(t, level_rises_at_once_and_falls_after_ten_seconds);
	tcase_add_test(t, spool_asks_by_what_it_holds);
	tcase_add_test(t, spool_that_refuses_sheds_all_but_calls);
	tcase_add_test(t, memory_asks_by_its_free_blocks);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
