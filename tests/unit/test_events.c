/*
 * web-sql/events.c: each change is told once, nothing is told while all is well, amounts are those
 * since the last event. Times are parameters.
 */
#include "web-sql/events.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "conf/rcu.h"
#include "storage/agents.h"
#include "web-sql/stats.h"

#define AGENTS 4096

#define SECOND	UINT64_C(1000000)
#define MOST	128
#define WALL_US UINT64_C(1795000000123000) /* 2026-11-18T11:06:40.123Z */

static struct stats_sources from;
static struct stats st;
static struct events *events;
static struct events_time now;
static json_t *told[MOST];
static unsigned told_count;
static uint64_t last_id;

static void collect(void *ctx, const char *name, uint64_t id, const char *json)
{
	json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);

	ck_assert_ptr_eq(ctx, &told);
	ck_assert_msg(root != NULL, "no JSON: %s", json);
	ck_assert_ptr_null(strchr(json, '\n'));
	ck_assert_str_eq(json_string_value(json_object_get(root, "event")), name);
	ck_assert_str_eq(json_string_value(json_object_get(root, "node")), "node1");
	ck_assert_uint_eq((uint64_t)json_integer_value(json_object_get(root, "id")), id);
	ck_assert_uint_eq(id, last_id + 1);
	last_id = id;
	ck_assert_uint_lt(told_count, MOST);
	told[told_count++] = root;
}

static const struct events_to to = { collect, &told };

static void forget(void)
{
	while (told_count)
		json_decref(told[--told_count]);
}

static void start(void)
{
	rcu_thread_begin();
	memset(&st, 0, sizeof(st));
	st.is_db_up = st.is_spool_ok = st.has_spool_reserve = true;
	from = (struct stats_sources){ .node = "node1", .source_name = { "agents" } };
	ck_assert_int_eq(agents_new(&from.agents, AGENTS), HT_OK);
	now = (struct events_time){ .wall_us = WALL_US, .mono_us = 1000 * SECOND };
	last_id = 0;
	ck_assert_int_eq(events_new(&events, &from, now), HT_OK);
	events_silent_after(events, 60 * SECOND);
	events_start(events, &st, now);
}

static void finish(void)
{
	forget();
	events_free(events);
	rcu_thread_end();
	agents_free(from.agents);
}

/* What is told after @p seconds; names, each with a space behind. */
static const char *names_told(void)
{
	static char names[MOST * 32];

	names[0] = '\0';
	for (unsigned i = 0; i < told_count; i++) {
		strcat(names, json_string_value(json_object_get(told[i], "event")));
		strcat(names, " ");
	}
	return names;
}

static void pass(uint64_t us)
{
	now.wall_us += us;
	now.mono_us += us;
}

static const char *look_after(uint64_t us)
{
	forget();
	pass(us);
	events_look(events, &st, now, to);
	return names_told();
}

static const char *look(void)
{
	return look_after(SECOND);
}

static json_int_t number(unsigned i, const char *key)
{
	json_t *value = json_object_get(told[i], key);

	ck_assert_msg(json_is_integer(value), "%s is missing", key);
	return json_integer_value(value);
}

static const char *string(unsigned i, const char *key)
{
	return json_string_value(json_object_get(told[i], key));
}

static const char *wrong(void)
{
	forget();
	events_wrong(events, &st, now, to);
	return names_told();
}

/* ---- the database ---- */

START_TEST(nothing_is_told_while_all_is_well)
{
	st.all.received = st.all.accepted = 1000;
	st.in_spool = 5;
	for (int i = 0; i < 100; i++)
		ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "");
	ck_assert_uint_eq(events_made(events), 0);
	ck_assert_uint_eq(events_unmade(events), 0);
}
END_TEST

START_TEST(database_down_and_up_are_told_once_each)
{
	ck_assert_str_eq(look(), "");
	st.is_db_up = false;
	st.in_spool = 77;
	ck_assert_str_eq(look(), "database_down ");
	ck_assert_int_eq(number(0, "rows_in_spool"), 77);
	ck_assert_str_eq(string(0, "at"), "2026-11-18T11:06:42.123Z");
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "database_down ");
	ck_assert_str_eq(look(), "");
	st.is_db_up = true;
	ck_assert_str_eq(look(), "database_up ");
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "");
}
END_TEST

START_TEST(database_has_a_moment_after_the_start_of_the_process)
{
	st.is_db_up = false;
	ck_assert_str_eq(look_after(EVENTS_DB_GRACE_US - 1), "");
	ck_assert_str_eq(look_after(1), "database_down ");
	ck_assert_str_eq(look(), "");
}
END_TEST

START_TEST(database_that_was_up_has_none)
{
	ck_assert_str_eq(look_after(1), "");
	st.is_db_up = false;
	ck_assert_str_eq(look_after(1), "database_down ");
}
END_TEST

START_TEST(what_is_wrong_when_somebody_comes_is_told)
{
	st.is_db_up = st.has_spool_reserve = false;
	pass(3600 * SECOND);
	events_start(events, &st, now);
	ck_assert_str_eq(look(), "database_down spool_reserve_missing ");
	ck_assert_str_eq(look(), "");
	events_start(events, &st, now);
	ck_assert_str_eq(look(), "database_down spool_reserve_missing ");
}
END_TEST

/* ---- losses ---- */

START_TEST(losses_are_told_at_once_then_as_sums_of_ten_seconds)
{
	ck_assert_str_eq(look(), "");
	st.all.kernel_dropped = 3;
	ck_assert_str_eq(look(), "loss ");
	ck_assert_int_eq(number(0, "kernel_dropped"), 3);
	ck_assert_int_eq(number(0, "shed_memory"), 0);
	ck_assert_int_eq(number(0, "seconds"), 2);
	for (int i = 0; i < 9; i++) {
		st.all.kernel_dropped += 10;
		st.all.shed[SHED_SPOOL][1]++;
		st.all.shed[SHED_MEMORY][5] += 2;
		ck_assert_str_eq(look(), "");
	}
	st.lost_damage = 4;
	st.lost_shutdown = 5;
	st.deltas.lost_spool = 6;
	ck_assert_str_eq(look(), "loss ");
	ck_assert_int_eq(number(0, "kernel_dropped"), 90);
	ck_assert_int_eq(number(0, "shed_spool"), 9);
	ck_assert_int_eq(number(0, "shed_memory"), 18);
	ck_assert_int_eq(number(0, "rows_damage"), 4);
	ck_assert_int_eq(number(0, "rows_shutdown"), 5);
	ck_assert_int_eq(number(0, "statistics_rows"), 6);
	ck_assert_int_eq(number(0, "seconds"), 10);
	ck_assert_str_eq(look_after(60 * SECOND), "");
}
END_TEST

START_TEST(losses_while_nobody_listened_are_not_told)
{
	st.all.kernel_dropped = 1000;
	events_start(events, &st, now);
	ck_assert_str_eq(look(), "");
	st.all.kernel_dropped++;
	ck_assert_str_eq(look(), "loss ");
	ck_assert_int_eq(number(0, "kernel_dropped"), 1);
}
END_TEST

START_TEST(last_losses_do_not_wait)
{
	st.lost_damage = 1;
	ck_assert_str_eq(look(), "loss ");
	st.lost_shutdown = 2;
	st.is_db_up = false; /* as writers leave it */
	forget();
	events_last(events, &st, now, to);
	ck_assert_str_eq(names_told(), "loss ");
	ck_assert_int_eq(number(0, "rows_shutdown"), 2);
	ck_assert_int_eq(number(0, "rows_damage"), 0);
	forget();
	events_last(events, &st, now, to);
	ck_assert_str_eq(names_told(), "");
}
END_TEST

/* ---- spool ---- */

START_TEST(each_class_that_the_spool_sheds_is_told_once)
{
	static const struct {
		unsigned level;
		const char *names;
		int class;
	} steps[] = {
		{ 0, "", 0 },
		{ 1, "spool_shedding ", 1 },
		{ SHED_STEPS, "", 0 },
		{ SHED_STEPS + 1, "spool_shedding ", 2 },
		{ PRESSURE_MOST, "spool_shedding ", 5 },
		{ 3 * SHED_STEPS, "spool_shedding ", 3 },
		{ 3 * SHED_STEPS, "", 0 },
		{ 0, "spool_normal ", 0 },
		{ 0, "", 0 },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		st.pressure[SHED_SPOOL] = (double)steps[i].level / PRESSURE_MOST;
		st.spool_bytes = 1000 + i;
		ck_assert_str_eq(look(), steps[i].names);
		if (steps[i].class) {
			ck_assert_int_eq(number(0, "class"), steps[i].class);
			ck_assert_int_eq(number(0, "spool_bytes"), (json_int_t)(1000 + i));
		}
	}
}
END_TEST

START_TEST(spool_is_normal_when_all_of_it_is)
{
	st.has_spool_reserve = false;
	ck_assert_str_eq(look(), "spool_reserve_missing ");
	st.is_spool_ok = false;
	st.pressure[SHED_SPOOL] = 0.8;
	ck_assert_str_eq(look(), "spool_refuses spool_shedding ");
	st.is_spool_ok = true;
	ck_assert_str_eq(look(), "");
	st.pressure[SHED_SPOOL] = 0;
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "spool_reserve_missing ");
	st.is_spool_ok = false;
	ck_assert_str_eq(look(), "spool_refuses ");
	st.is_spool_ok = st.has_spool_reserve = true;
	ck_assert_str_eq(look(), "spool_normal ");
	ck_assert_str_eq(look(), "");
}
END_TEST

/* ---- memory ---- */

START_TEST(each_group_of_memory_has_its_own)
{
	st.memory_count = 2;
	st.memory[0] = (struct stats_memory){ .group = "calls", .used = 80, .limit = 100 };
	st.memory[1] = (struct stats_memory){ .group = "media", .used = 9, .limit = 10 };
	ck_assert_str_eq(look(), "");
	st.memory[1].is_high = true;
	ck_assert_str_eq(look(), "memory_high ");
	ck_assert_str_eq(string(0, "group"), "media");
	ck_assert_int_eq(number(0, "used"), 9);
	ck_assert_int_eq(number(0, "limit"), 10);
	ck_assert_str_eq(look(), "");
	st.memory[0].is_high = true;
	st.memory[1].is_high = false;
	ck_assert_str_eq(look(), "memory_high memory_normal ");
	ck_assert_str_eq(string(0, "group"), "calls");
	ck_assert_str_eq(string(1, "group"), "media");
	ck_assert_str_eq(wrong(), "memory_high ");
}
END_TEST

START_TEST(each_finding_about_the_host_has_its_own)
{
	st.finding_count = 2;
	st.findings[0] = (struct stats_finding){ .name = "nic_drops" };
	st.findings[1] = (struct stats_finding){ .name = "swapped", .text = "5 MiB \xff" };
	ck_assert_str_eq(look(), "");
	st.findings[1].is_on = true;
	ck_assert_str_eq(look(), "host_finding ");
	ck_assert_str_eq(string(0, "finding"), "swapped");
	ck_assert_str_eq(string(0, "text"), "5 MiB ?");
	ck_assert_str_eq(look(), "");
	st.findings[0].is_on = true;
	st.findings[1].is_on = false;
	ck_assert_str_eq(look(), "host_finding host_normal ");
	ck_assert_str_eq(string(0, "finding"), "nic_drops");
	ck_assert_str_eq(string(1, "finding"), "swapped");
	ck_assert_str_eq(wrong(), "host_finding ");
}
END_TEST

/* ---- agents ---- */

static void hear_kind(uint32_t n, bool is_accepted)
{
	struct agent_key k = { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 1 },
			       .capture_id = n,
			       .has_capture_id = n != 0 };
	struct agent_tally one = { .received = 1, .accepted = is_accepted };

	rcu_read_begin();
	agent_add(agents_get(from.agents, &k, view_of("edge"), now.wall_us), &one, now.wall_us);
	rcu_read_end();
}

static void hear(uint32_t n)
{
	hear_kind(n, true);
}

START_TEST(silent_agent_is_told_once_and_when_it_is_back)
{
	hear(7);
	hear(0);
	ck_assert_str_eq(look_after(60 * SECOND - 1), "");
	hear(0);
	ck_assert_str_eq(look_after(1), "agent_silent ");
	ck_assert_int_eq(number(0, "agents"), 1);
	ck_assert_int_eq(number(0, "capture_id"), 7);
	ck_assert_str_eq(string(0, "address"), "192.0.2.1");
	ck_assert_str_eq(string(0, "name"), "edge");
	ck_assert_str_eq(string(0, "source"), "agents");
	ck_assert_str_eq(string(0, "last_seen"), "2026-11-18T11:06:40.123Z");
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "agent_silent ");
	hear(7);
	ck_assert_str_eq(look(), "agent_back ");
	ck_assert_int_eq(number(0, "capture_id"), 7);
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "");
	ck_assert_str_eq(look_after(60 * SECOND), "agent_silent agent_silent ");
	ck_assert_str_eq(look(), "");
}
END_TEST

START_TEST(who_never_sent_what_was_stored_is_not_missed)
{
	hear_kind(1, false);
	ck_assert_str_eq(look_after(3600 * SECOND), "");
}
END_TEST

START_TEST(agent_that_is_forgotten_is_not_back)
{
	hear(1);
	ck_assert_str_eq(look_after(60 * SECOND), "agent_silent ");
	agents_sweep(from.agents, now.wall_us + AGENTS_IDLE_US);
	ck_assert_uint_eq(agents_count(from.agents), 0);
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(wrong(), "");
	hear(1);
	ck_assert_str_eq(look(), "");
}
END_TEST

START_TEST(another_limit_brings_nobody_back)
{
	hear(1);
	ck_assert_str_eq(look_after(60 * SECOND), "agent_silent ");
	events_silent_after(events, 3600 * SECOND);
	ck_assert_str_eq(look(), "");
	ck_assert_str_eq(look_after(3600 * SECOND), "agent_silent ");
	events_silent_after(events, 0);
	ck_assert_str_eq(look(), "");
	hear(1);
	ck_assert_str_eq(look_after(86400 * SECOND), "");
	events_silent_after(events, 60 * SECOND);
	ck_assert_str_eq(look(), "agent_silent ");
}
END_TEST

START_TEST(clock_that_went_back_makes_nobody_silent)
{
	hear(1);
	now.wall_us -= 3600 * SECOND;
	ck_assert_str_eq(look(), "");
}
END_TEST

/* As many as the table has: a network is away. */
START_TEST(many_at_once_are_told_as_a_number)
{
	for (uint32_t n = 1; n <= EVENTS_AGENTS_MOST; n++)
		hear(n);
	look_after(60 * SECOND);
	ck_assert_uint_eq(told_count, EVENTS_AGENTS_MOST);
	for (uint32_t n = 1; n <= AGENTS; n++)
		hear(n);
	look();
	ck_assert_uint_eq(told_count, EVENTS_AGENTS_MOST);
	ck_assert_str_eq(string(0, "event"), "agent_back");
	ck_assert_str_eq(look_after(60 * SECOND), "agent_silent ");
	ck_assert_int_eq(number(0, "agents"), AGENTS);
	ck_assert_ptr_null(string(0, "address"));
	ck_assert_str_eq(wrong(), "agent_silent ");
	hear(5);
	ck_assert_str_eq(look(), "agent_back ");
	ck_assert_int_eq(number(0, "capture_id"), 5);
	for (uint32_t n = 1; n <= AGENTS; n++)
		hear(n);
	ck_assert_str_eq(look(), "agent_back ");
	ck_assert_int_eq(number(0, "agents"), AGENTS - 1);
}
END_TEST

/* ---- reload ---- */

START_TEST(reload_is_told_with_its_text)
{
	events_reload(events, true, "memory was changed\n", now, to);
	events_reload(events, false, "f:1:2: \"x\": unknown\n", now, to);
	ck_assert_str_eq(names_told(), "reload_done reload_refused ");
	ck_assert_str_eq(string(0, "remarks"), "memory was changed\n");
	ck_assert_str_eq(string(1, "complaints"), "f:1:2: \"x\": unknown\n");
}
END_TEST

/* Cut at each place of a character, and not UTF-8 at all. */
START_TEST(complaint_is_cut_between_characters)
{
	char text[EVENTS_TEXT_MOST + 100];
	size_t before = EVENTS_TEXT_MOST - 6 + (size_t)_i, len;

	memset(text, 'a', sizeof(text));
	for (size_t i = before; i + 4 < sizeof(text); i += 4)
		memcpy(text + i, "\xf0\x9f\x93\x9e", 4);
	text[before + 40] = '\0';
	events_reload(events, false, text, now, to);
	ck_assert_uint_eq(told_count, 1);
	len = strlen(string(0, "complaints"));
	ck_assert_uint_le(len, EVENTS_TEXT_MOST);
	ck_assert_uint_gt(len, EVENTS_TEXT_MOST - 4);
	ck_assert_int_eq(strncmp(string(0, "complaints"), text, len), 0);
}
END_TEST

START_TEST(complaint_that_is_not_utf8_is_told_all_the_same)
{
	events_reload(events, false, "a\xff\xc3 \x80z", now, to);
	ck_assert_str_eq(string(0, "complaints"), "a?? ?z");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("events");
	TCase *t = tcase_create("changes");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, start, finish);
	tcase_add_test(t, nothing_is_told_while_all_is_well);
	tcase_add_test(t, database_down_and_up_are_told_once_each);
	tcase_add_test(t, database_has_a_moment_after_the_start_of_the_process);
	tcase_add_test(t, database_that_was_up_has_none);
	tcase_add_test(t, what_is_wrong_when_somebody_comes_is_told);
	tcase_add_test(t, losses_are_told_at_once_then_as_sums_of_ten_seconds);
	tcase_add_test(t, losses_while_nobody_listened_are_not_told);
	tcase_add_test(t, last_losses_do_not_wait);
	tcase_add_test(t, each_class_that_the_spool_sheds_is_told_once);
	tcase_add_test(t, spool_is_normal_when_all_of_it_is);
	tcase_add_test(t, each_group_of_memory_has_its_own);
	tcase_add_test(t, each_finding_about_the_host_has_its_own);
	tcase_add_test(t, silent_agent_is_told_once_and_when_it_is_back);
	tcase_add_test(t, who_never_sent_what_was_stored_is_not_missed);
	tcase_add_test(t, agent_that_is_forgotten_is_not_back);
	tcase_add_test(t, another_limit_brings_nobody_back);
	tcase_add_test(t, clock_that_went_back_makes_nobody_silent);
	tcase_add_test(t, many_at_once_are_told_as_a_number);
	tcase_add_test(t, reload_is_told_with_its_text);
	tcase_add_loop_test(t, complaint_is_cut_between_characters, 0, 7);
	tcase_add_test(t, complaint_that_is_not_utf8_is_told_all_the_same);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
