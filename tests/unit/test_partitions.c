/* Names and bounds of partitions, names of daily tables. */
#include <check.h>
#include <stdlib.h>

#include "storage/layout.h"
#include "storage/partitions.h"

#define NOON 1795262400ULL /* 2026-11-21 12:00:00 */

START_TEST(names_are_of_the_period_in_utc)
{
	char name[PARTITION_NAME];

	partition_name(name, NOON + 1, PARTITION_DAY);
	ck_assert_str_eq(name, "p20261121");
	partition_name(name, NOON + 3599, PARTITION_HOUR);
	ck_assert_str_eq(name, "p2026112112");
	partition_name(name, NOON + 3600, PARTITION_HOUR);
	ck_assert_str_eq(name, "p2026112113");
	partition_name(name, 0, PARTITION_DAY);
	ck_assert_str_eq(name, "p19700101");
}
END_TEST

/* From an odd end to the next whole one, then step by step without a hole. */
START_TEST(steps_begin_where_the_last_one_ends)
{
	struct partition p = { .bound = NOON + 1800 };

	partition_next(&p, p.bound, 0, PARTITION_HOUR);
	ck_assert_str_eq(p.name, "p2026112112");
	ck_assert_uint_eq(p.bound, NOON + 3600);
	partition_next(&p, p.bound, 0, PARTITION_DAY);
	ck_assert_str_eq(p.name, "p20261121");
	ck_assert_uint_eq(p.bound, NOON + 43200);
	partition_next(&p, p.bound, 0, PARTITION_DAY);
	ck_assert_str_eq(p.name, "p20261122");
	ck_assert_uint_eq(p.bound, NOON + 43200 + 86400);
	partition_next(&p, p.bound, 0, PARTITION_HOUR);
	ck_assert_str_eq(p.name, "p2026112300");
	ck_assert_uint_eq(p.bound, NOON + 43200 + 86400 + 3600);
}
END_TEST

START_TEST(what_was_slept_over_is_part_of_the_first)
{
	struct partition p;

	partition_next(&p, 1377734400, NOON, PARTITION_DAY);
	ck_assert_str_eq(p.name, "p20261121");
	ck_assert_uint_eq(p.bound, NOON + 43200);
}
END_TEST

static const struct layout one = { .table = "sip_capture" },
			   daily = { .table = "sip_capture", .is_daily = true };

START_TEST(every_name_of_a_layout_is_known_again)
{
	static const uint32_t days[] = { 0, 1, 20778, 20779, LAYOUT_PAST };
	char name[LAYOUT_NAME];
	struct place p;

	for (unsigned what = 0; what < PLACE_ROUTED; what++) {
		for (unsigned d = 0; d < sizeof(days) / sizeof(days[0]); d++) {
			struct place from = { what, days[d] };

			if (!place_is_daily(from))
				from.day = 0;
			layout_name(&daily, from, name);
			if (what == PLACE_SIP) {
				ck_assert(!layout_parse(&daily, name, &p));
				continue;
			}
			ck_assert_msg(layout_parse(&daily, name, &p), "%s", name);
			ck_assert_msg(place_is(from, p), "%s", name);
			ck_assert_msg(layout_parse(&one, name, &p) != place_is_daily(from), "%s",
				      name);
		}
	}
	ck_assert(layout_parse(&one, "sip_capture", &p));
	ck_assert_int_eq(p.what, PLACE_SIP);
}
END_TEST

START_TEST(names_of_others_are_not)
{
	static const char *const names[] = {
		"",
		"sip_capture_call",
		"sip_capture_call_",
		"sip_capture_call_2026112",
		"sip_capture_call_202611211",
		"sip_capture_call_20261121_old",
		"sip_capture_call_20261131",
		"sip_capture_call_20260229",
		"sip_capture_call_20261301",
		"sip_capture_call_20261100",
		"sip_capture_call_00000000",
		"sip_capture_call_ 0261121",
		"sip_capture_call_+0261121",
		"sip_capture_call_2026-121",
		"sip_capture_call_19691231",
		"sip_capture_call_Past",
		"sip_capture_calls_20261121",
		"sip_capture_isup_20261121",
		"sipXcapture_call_20261121",
		"old_sip_capture_call_20261121",
		"rtcp_capture_20261121",
		"rtcp_capture_all_20261121",
		"stats_method",
	};
	struct place p;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_msg(!layout_parse(&daily, names[i], &p), "%s", names[i]);
		ck_assert_msg(!layout_parse(&one, names[i], &p), "%s", names[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("partitions");
	TCase *tc = tcase_create("partitions");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, names_are_of_the_period_in_utc);
	tcase_add_test(tc, steps_begin_where_the_last_one_ends);
	tcase_add_test(tc, what_was_slept_over_is_part_of_the_first);
	tcase_add_test(tc, every_name_of_a_layout_is_known_again);
	tcase_add_test(tc, names_of_others_are_not);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
