/* storage/routes.c and what storage/layout.c makes of it: which tables rules may choose, and how
 * many. */
#include "storage/routes.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/log.h"
#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/layout.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define TODAY	    20778 /* 2026-11-21 */
#define LONGEST	    "a123456789b123456789c123456789d123456789e123456789f123456789_$zZ"

static struct routes routes;
static const struct layout one = { .table = "sip_capture", .routes = &routes },
			   daily = { .table = "sip_capture", .is_daily = true, .routes = &routes };

static void begin(void)
{
	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	routes_init(&routes);
}

static void end(void)
{
	routes_fini(&routes);
}

/* Where the only row of a block of its own goes. */
static const char *table_of(const struct layout *l, uint16_t table, struct view route)
{
	static char name[LAYOUT_NAME];
	struct msg m = { .payload = view_of("x"), .ts_us = TODAY * 86400000000ULL };
	struct row_extras w = { .table = table, .kind = ROW_KIND_CALL, .route = route };
	struct sip s = { 0 };
	struct block *b;

	ck_assert_int_eq(block_new(&b, 1), HT_OK);
	ck_assert_int_eq(block_add(b, &m, &s, &w), HT_OK);
	block_stamp(b, 1, 1, block_seal(b) ? 1 : 0, 0);
	ck_assert_int_eq(block_check(b->bytes, block_head_of(b->bytes)->bytes), HT_OK);
	layout_name(l, layout_place_of(l, block_head_of(b->bytes), block_row(b->bytes, 0), TODAY),
		    name);
	block_free(b);
	return name;
}

static const char *sip_table_of(const struct layout *l, const char *route)
{
	return table_of(l, ROW_TABLE_SIP_CAPTURE, view_of(route));
}

/* ---- names ---- */

static const char *const good[] = { "a", "_", "$", "0", "trunk_a", "Trunk_A", "2026", LONGEST };

START_TEST(name_of_a_table_is_one)
{
	ck_assert(route_is_name(view_of(good[_i])));
	ck_assert_str_eq(sip_table_of(&one, good[_i]), good[_i]);
	ck_assert_str_eq(sip_table_of(&daily, good[_i]), good[_i]);
	ck_assert_uint_eq(routes_count(&routes), 1);
}
END_TEST

static const struct view bad[] = {
	{ (const uint8_t *)"a\0", 2 },
	{ (const uint8_t *)"\0", 1 },
	{ (const uint8_t *)"a`b", 3 },
	{ (const uint8_t *)"`", 1 },
	{ (const uint8_t *)"a;DROP TABLE sip_capture", 24 },
	{ (const uint8_t *)"a'b", 3 },
	{ (const uint8_t *)"a\"b", 3 },
	{ (const uint8_t *)"a\\", 2 },
	{ (const uint8_t *)"a b", 3 },
	{ (const uint8_t *)" ", 1 },
	{ (const uint8_t *)"a.b", 3 },
	{ (const uint8_t *)"a-b", 3 },
	{ (const uint8_t *)"a%s", 3 },
	{ (const uint8_t *)"a\n", 2 },
	{ (const uint8_t *)"t\xc3\xa4", 3 },
	{ (const uint8_t *)"\xff\xff", 2 },
	{ (const uint8_t *)LONGEST "x", sizeof(LONGEST) },
};

START_TEST(what_is_no_name_goes_to_the_usual_table)
{
	(void)sip_table_of(&one, "a"); /* not taken for this one */
	ck_assert(!route_is_name(bad[_i]));
	ck_assert_str_eq(table_of(&one, ROW_TABLE_SIP_CAPTURE, bad[_i]), "sip_capture");
	ck_assert_str_eq(table_of(&daily, ROW_TABLE_SIP_CAPTURE, bad[_i]),
			 "sip_capture_call_20261121");
	ck_assert_int_eq(layout_route(&one, bad[_i]), PLACE_COUNT);
	ck_assert_uint_eq(routes_count(&routes), 1);
}
END_TEST

/* ---- tables with another use ---- */

static const char *const taken[] = { "rtcp_capture", "report_capture", "logs_capture",
				     "Logs_Capture", "webrtc_capture", "heptap_ledger",
				     "HEPTAP_IDS",   "heptap_pending", "stats_method",
				     "stats_x",	     "alarm_config",   "alarm_data" };

START_TEST(table_with_another_use_is_left_alone)
{
	const struct layout *const both[] = { &one, &daily };

	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(layout_route(both[i], view_of(taken[_i])), PLACE_COUNT);
	ck_assert_str_eq(sip_table_of(&one, taken[_i]), "sip_capture");
	ck_assert_uint_eq(routes_count(&routes), 0);
}
END_TEST

/* A day's table has its days; with one table for all its name says nothing. */
START_TEST(daily_table_is_no_route_where_there_are_any)
{
	ck_assert_int_eq(layout_route(&daily, view_of("sip_capture_call_20261120")), PLACE_COUNT);
	ck_assert_int_eq(layout_route(&daily, view_of("sip_capture_rest_past")), PLACE_COUNT);
	ck_assert_int_eq(layout_route(&daily, view_of("sip_capture_call_20261131")), PLACE_ROUTED);
	ck_assert_int_eq(layout_route(&one, view_of("sip_capture_call_20261120")),
			 PLACE_ROUTED + 1);
}
END_TEST

START_TEST(usual_table_is_no_route)
{
	ck_assert_int_eq(layout_route(&one, view_of("sip_capture")), PLACE_SIP);
	ck_assert_str_eq(sip_table_of(&one, "sip_capture"), "sip_capture");
	ck_assert_uint_eq(routes_count(&routes), 0);
	ck_assert_int_eq(layout_route(&daily, view_of("sip_capture")), PLACE_ROUTED);
	ck_assert_str_eq(sip_table_of(&daily, "sip_capture"), "sip_capture");
}
END_TEST

START_TEST(only_sip_messages_are_routed)
{
	ck_assert_str_eq(table_of(&one, ROW_TABLE_RTCP_CAPTURE, view_of("trunk")), "rtcp_capture");
	ck_assert_str_eq(table_of(&daily, ROW_TABLE_LOGS_CAPTURE, view_of("trunk")),
			 "logs_capture");
	ck_assert_uint_eq(routes_count(&routes), 0);
	ck_assert_str_eq(sip_table_of(&one, ""), "sip_capture");
	ck_assert_str_eq(sip_table_of(&daily, ""), "sip_capture_call_20261121");
}
END_TEST

START_TEST(layout_without_routes_has_none)
{
	struct layout plain = { .table = "sip_capture" };

	ck_assert_str_eq(sip_table_of(&plain, "trunk"), "sip_capture");
	ck_assert_uint_eq(layout_places(&plain), PLACE_ROUTED);
}
END_TEST

/* ---- how many ---- */

static const char *numbered(unsigned n)
{
	static char name[32];

	snprintf(name, sizeof(name), "table_%u", n);
	return name;
}

START_TEST(one_more_than_the_most_goes_to_the_usual_table)
{
	struct place p;

	for (unsigned n = 0; n < ROUTES_MOST; n++)
		ck_assert_int_eq(layout_route(&one, view_of(numbered(n))), PLACE_ROUTED + n);
	ck_assert_uint_eq(layout_places(&one), PLACE_COUNT);
	ck_assert_int_eq(layout_route(&one, view_of("late")), PLACE_COUNT);
	ck_assert_str_eq(sip_table_of(&one, "late"), "sip_capture");
	ck_assert_str_eq(sip_table_of(&daily, "late"), "sip_capture_call_20261121");
	ck_assert(!layout_parse(&one, "late", &p));
	for (unsigned n = 0; n < ROUTES_MOST; n++) {
		const char *name = numbered(n);

		ck_assert_str_eq(sip_table_of(&one, name), name);
		ck_assert(layout_parse(&one, name, &p));
		ck_assert(place_is(p, (struct place){ PLACE_ROUTED + n, 0 }));
		ck_assert(place_is_sip(p) && !place_is_daily(p));
	}
	ck_assert(!layout_parse(&one, "table_", &p));
	ck_assert(!layout_parse(&one, "table_32", &p));
	ck_assert(!layout_parse(&one, "table_3_20261121", &p));
}
END_TEST

/* Names that begin alike, or are told apart by upper and lower case only. */
START_TEST(names_are_told_apart)
{
	ck_assert_int_eq(layout_route(&one, view_of("trunk")), PLACE_ROUTED);
	ck_assert_int_eq(layout_route(&one, view_of("trunk_a")), PLACE_ROUTED + 1);
	ck_assert_int_eq(layout_route(&one, view_of("trun")), PLACE_ROUTED + 2);
	ck_assert_int_eq(layout_route(&one, view_of("Trunk")), PLACE_ROUTED + 3);
	ck_assert_int_eq(layout_route(&one, view_of("trunk")), PLACE_ROUTED);
	ck_assert_int_eq(routes_find(&routes, view_of("Tr")), -ENOENT);
	ck_assert_int_eq(routes_find(&routes, view_of("")), -ENOENT);
}
END_TEST

/* ---- many writers ---- */

#define THREADS 4

static pthread_barrier_t together;

/* Each sees the names in another order, more of them than there may be. */
static void *routes_take(void *arg)
{
	unsigned first = *(unsigned *)arg;
	int *got = calloc(2 * ROUTES_MOST, sizeof(*got));
	char name[32];

	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < 2 * ROUTES_MOST; i++) {
		unsigned n = (first + i) % (2 * ROUTES_MOST);

		snprintf(name, sizeof(name), "table_%u", n);
		got[n] = (int)layout_route(&one, view_of(name));
		layout_places(&one);
	}
	return got;
}

START_TEST(writers_agree_on_numbers)
{
	unsigned first[THREADS] = { 0, 16, 32, 48 }, there = 0;
	pthread_t thread[THREADS];
	int *got[THREADS];
	char name[LAYOUT_NAME];

	pthread_barrier_init(&together, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, routes_take, &first[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], (void **)&got[i]);
	pthread_barrier_destroy(&together);
	ck_assert_uint_eq(routes_count(&routes), ROUTES_MOST);
	for (unsigned n = 0; n < 2 * ROUTES_MOST; n++) {
		int now = (int)layout_route(&one, view_of(numbered(n)));

		there += now != PLACE_COUNT;
		for (unsigned i = 0; i < THREADS; i++)
			ck_assert_int_eq(got[i][n], now);
		if (now == PLACE_COUNT)
			continue;
		layout_name(&one, (struct place){ (enum layout_place)now, 0 }, name);
		ck_assert_str_eq(name, numbered(n));
	}
	ck_assert_uint_eq(there, ROUTES_MOST);
	for (unsigned i = 0; i < THREADS; i++)
		free(got[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("routes");
	TCase *tc = tcase_create("routes");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, begin, end);
	tcase_add_loop_test(tc, name_of_a_table_is_one, 0, ROWS(good));
	tcase_add_loop_test(tc, what_is_no_name_goes_to_the_usual_table, 0, ROWS(bad));
	tcase_add_loop_test(tc, table_with_another_use_is_left_alone, 0, ROWS(taken));
	tcase_add_test(tc, daily_table_is_no_route_where_there_are_any);
	tcase_add_test(tc, usual_table_is_no_route);
	tcase_add_test(tc, only_sip_messages_are_routed);
	tcase_add_test(tc, layout_without_routes_has_none);
	tcase_add_test(tc, one_more_than_the_most_goes_to_the_usual_table);
	tcase_add_test(tc, names_are_told_apart);
	tcase_add_test(tc, writers_agree_on_numbers);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
