/* capture/spread.c: when datagrams of a few senders are dealt by chance. */
#include "capture/spread.h"

#include <check.h>
#include <stdlib.h>

static const struct {
	uint64_t received[4], dropped;
	unsigned threads, senders;
	bool is_due;
} loads[] = {
	{ { 90000, 10, 0, 0 }, 5, 4, 3, true },
	{ { 90000, 10, 0, 0 }, 0, 4, 3, false },  /* nothing is lost */
	{ { 90000, 10, 0, 0 }, 5, 4, 16, false }, /* hashes of so many are good */
	{ { 90000, 10, 0, 0 }, 5, 4, 15, true },
	{ { 90000, 30000, 30000, 30000 },
	  5,
	  4,
	  3,
	  false }, /* three times as much is not yet uneven */
	{ { 90001, 30000, 30000, 30000 }, 5, 4, 3, true },
	{ { 90000 }, 5, 1, 1, false },
	{ { 90000, 0, 90000, 90000 }, 5, 2, 1, true },
	{ { 0, 0, 0, 0 }, 5, 4, 0, false },
};

START_TEST(few_senders_that_lose_are_spread)
{
	struct spread_load load = { .dropped = loads[_i].dropped };

	for (int t = 0; t < 4; t++)
		load.received[t] = loads[_i].received[t];
	ck_assert_int_eq(spread_is_due(&load, loads[_i].threads, loads[_i].senders),
			 loads[_i].is_due);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spread");
	TCase *t = tcase_create("spread");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, few_senders_that_lose_are_spread, 0,
			    sizeof(loads) / sizeof(loads[0]));
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
