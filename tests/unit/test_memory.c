/*
 * capture/memory.c: groups of a server's real parts, the most they used, and lines in the log near
 * a limit; conf/gauge.h with a reader beside its writer.
 */
#include "capture/memory.h"

#include <check.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/first.h"
#include "conf/clock.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "hep/listener.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/calls.h"
#include "storage/spool.h"
#include "tests/unit/rig.h"
#include "web-sql/http.h"

#define YAML "hep:\n  - { name: a, listen: ['tcp:127.0.0.1:9060'], max_connections: 10 }\n"
#define NOW  (10 * AGENTS_IDLE_US)

static struct rig rig;
static struct memory memory;
static struct event_base *base;
static struct http *http;
static struct first *first;
static int log_fd, log_before;

static void start(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	rcu_thread_begin();
	rig_make(&rig, YAML);
	base = event_base_new();
	ck_assert_int_eq(http_open(&http, base, (struct sockaddr *)&any, sizeof(any)), HT_OK);
	memory = (struct memory){ .conf = rig.conf,
				  .snapshot = &rig.snapshot,
				  .workers = &rig.worker,
				  .worker_count = 1,
				  .spool = rig.spool,
				  .agents = rig.agents,
				  .http = http };
	log_open(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
	log_fd = memfd_create("log", 0);
	log_before = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
}

static void finish(void)
{
	dup2(log_before, STDERR_FILENO);
	close(log_before);
	close(log_fd);
	http_close(http);
	event_base_free(base);
	rig_unmake(&rig);
	rcu_thread_end();
}

static unsigned log_count(const char *text)
{
	static char all[65536];
	ssize_t len = pread(log_fd, all, sizeof(all) - 1, 0);
	unsigned n = 0;

	ck_assert_int_ge(len, 0);
	all[len] = '\0';
	for (const char *at = all; (at = strstr(at, text)); at++)
		n++;
	return n;
}

/* A group as it is now; all zero if there is none. */
static struct stats_memory group(const char *name)
{
	struct stats_memory all[STATS_MAX_MEMORY];
	unsigned count = memory_take(&memory, all);

	for (unsigned i = 0; i < count; i++) {
		ck_assert_uint_le(all[i].used, all[i].max_used);
		ck_assert_uint_le(all[i].used, all[i].real_used);
		if (strcmp(all[i].group, name) == 0)
			return all[i];
	}
	return (struct stats_memory){ 0 };
}

/* So many percent of the places for agents are taken; there were fewer before. */
static void agents_fill(unsigned percent)
{
	static uint32_t id;
	struct agent_tally one = { .received = 1 };

	rcu_read_begin();
	while (agents_count(rig.agents) * 100 < rig.conf->tables.agents * percent) {
		struct agent_key key = { .capture_id = ++id, .has_capture_id = 1 };

		agent_add(agents_get(rig.agents, &key, (struct view){ 0 }, NOW), &one, NOW);
	}
	rcu_read_end();
}

/* All go, and so many percent come. */
static void agents_refill(unsigned percent)
{
	agents_sweep(rig.agents, NOW + AGENTS_IDLE_US);
	ck_assert_uint_eq(agents_count(rig.agents), 0);
	urcu_memb_barrier();
	agents_fill(percent);
}

#define HIGH "memory: agents had"
#define LOW  "memory: agents has"

static void expect_lines(unsigned high, unsigned low)
{
	memory_look(&memory);
	ck_assert_uint_eq(log_count(HIGH), high);
	ck_assert_uint_eq(log_count(LOW), low);
	ck_assert_int_eq(group("agents").is_high, high > low);
}

START_TEST(a_limit_that_comes_near_is_told_of_once)
{
	expect_lines(0, 0);
	agents_fill(79);
	expect_lines(0, 0);
	agents_fill(82);
	expect_lines(1, 0);
	expect_lines(1, 0);
	agents_fill(100);
	expect_lines(1, 0);
	agents_refill(75); /* neither: no flapping */
	expect_lines(1, 0);
	agents_fill(90);
	expect_lines(1, 0);
	agents_refill(68);
	expect_lines(1, 1);
	agents_fill(75);
	expect_lines(1, 1);
	agents_fill(82);
	expect_lines(2, 1);
	agents_refill(1);
	expect_lines(2, 2);
}
END_TEST

START_TEST(a_peak_between_two_looks_is_told_of)
{
	uint64_t most;

	expect_lines(0, 0);
	agents_fill(90);
	most = agents_count(rig.agents);
	agents_refill(10);
	expect_lines(1, 0);
	expect_lines(1, 1);
	ck_assert_uint_eq(group("agents").max_used,
			  group("agents").limit / rig.conf->tables.agents * most);
	expect_lines(1, 1);
}
END_TEST

START_TEST(groups_are_those_that_there_are)
{
	struct stats_memory all[STATS_MAX_MEMORY], blocks;
	unsigned with = memory_take(&memory, all);

	ck_assert_uint_eq(group("blocks").limit / 8, BLOCK_MAX_BYTES);
	ck_assert_uint_ge(group("hep_streams").limit, 10 * 65536);
	ck_assert_uint_eq(group("spool").limit, 1);
	ck_assert_ptr_null(group("reassembly").group);
	ck_assert_ptr_null(group("first_copies").group);
	ck_assert_int_eq(first_new(&first, 1 << 20), HT_OK);
	memory.first = first;
	ck_assert_uint_eq(group("first_copies").limit, 1 << 20);
	ck_assert_uint_eq(memory_take(&memory, all), with + 1);
	memory.first = NULL;
	first_free(first);

	worker_listener_ops.begin(rig.worker, 1, 1); /* it sees its blocks for the first time */
	worker_listener_ops.end(rig.worker);
	blocks = group("blocks");
	ck_assert_uint_eq(blocks.used, 0);
	ck_assert_uint_eq(blocks.max_used, 0);
}
END_TEST

/* Tables keep no most by themselves. */
START_TEST(a_table_is_a_group_with_its_most)
{
	static const char name[] = "call-00";
	struct rcu_table *calls;
	uint64_t empty;

	ck_assert_ptr_null(group("calls").group);
	ck_assert_int_eq(calls_new(&calls, 10000, 1), HT_OK);
	memory.calls = calls;
	empty = group("calls").used;
	ck_assert_uint_eq(group("calls").limit, rcu_table_bytes(calls));
	for (unsigned n = 0; n < 50; n++) {
		char text[sizeof(name)];
		struct view id = { (uint8_t *)text, sizeof(text) - 1 };

		snprintf(text, sizeof(text), "call-%02u", n);
		rcu_read_begin();
		ck_assert_ptr_nonnull(
			calls_get(rcu_table_thread(calls, 0), calls_hash(calls, id), id, 1));
		rcu_read_end();
	}
	memory_look(&memory);
	ck_assert_uint_eq((group("calls").used - empty) % 50, 0);
	ck_assert_uint_ge((group("calls").used - empty) / 50, 64);
	ck_assert_uint_le((group("calls").used - empty) / 50, calls_entry_cost());
	(void)rcu_table_sweep(rcu_table_thread(calls, 0), 1U << 30, UINT32_MAX);
	ck_assert_uint_eq(group("calls").used, empty);
	ck_assert_uint_gt(group("calls").max_used, empty + 50 * 64 - 1);
	memory.calls = NULL;
	rcu_table_free(calls);
}
END_TEST

START_TEST(most_is_kept_for_those_that_do_not_keep_it)
{
	uint32_t now_s = (uint32_t)(clock_wall_us() / 1000000);
	uint64_t most;

	ck_assert_int_eq(first_new(&first, 4096), HT_OK);
	memory.first = first;
	for (uint64_t n = 0; n < 100; n++)
		(void)first_see(first, n * 0x9e3779b97f4a7c15ULL, now_s);
	memory_look(&memory);
	most = group("first_copies").used;
	ck_assert_uint_gt(most, 50 * 8);
	memory.first = NULL; /* as if it were empty again */
	first_free(first);
	ck_assert_int_eq(first_new(&first, 4096), HT_OK);
	memory.first = first;
	ck_assert_uint_eq(group("first_copies").used, 0);
	ck_assert_uint_eq(group("first_copies").max_used, most);
	first_free(first);
}
END_TEST

START_TEST(dump_has_a_line_for_each_group)
{
	struct stats_memory all[STATS_MAX_MEMORY];
	unsigned count = memory_take(&memory, all);

	agents_fill(90);
	memory_look(&memory);
	memory_dump(&memory);
	ck_assert_uint_eq(log_count("info: memory: "), count + 2);
	ck_assert_uint_eq(log_count("memory: KiB of               used    real_used     max_used   "
				    "     limit\n"),
			  1);
	ck_assert_uint_eq(log_count("%, high\n"), 1);
	ck_assert_uint_eq(log_count("KiB resident; `memory` is 1048576 KiB\n"), 1);
	ck_assert_uint_gt(stats_resident_bytes(), 1 << 20);
}
END_TEST

/* ---- a gauge ---- */

static struct gauge gauge;
static _Atomic bool is_over;

static void *write_gauge(void *arg)
{
	(void)arg;
	for (unsigned n = 0; n < 100000; n++) {
		gauge_add(&gauge, 3);
		gauge_add(&gauge, n % 5);
		gauge_sub(&gauge, 3);
		gauge_sub(&gauge, n % 5);
	}
	atomic_store(&is_over, true);
	return NULL;
}

START_TEST(a_reader_sees_what_there_was)
{
	struct memory_use sum = { 0 };
	pthread_t writer;

	ck_assert_int_eq(pthread_create(&writer, NULL, write_gauge, NULL), 0);
	while (!atomic_load(&is_over)) {
		ck_assert_uint_le(counter_get(&gauge.now), 7);
		ck_assert_uint_le(counter_get(&gauge.most), 7);
	}
	pthread_join(writer, NULL);
	sum.used = 10;
	memory_use_add_gauge(&sum, &gauge);
	ck_assert_uint_eq(sum.used, 10);
	ck_assert_uint_eq(sum.max_used, 7);
	gauge_set(&gauge, 9);
	gauge_set(&gauge, 4);
	ck_assert_uint_eq(counter_get(&gauge.now), 4);
	ck_assert_uint_eq(counter_get(&gauge.most), 9);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memory");
	TCase *t = tcase_create("groups"), *g = tcase_create("gauge");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, start, finish);
	tcase_add_test(t, a_limit_that_comes_near_is_told_of_once);
	tcase_add_test(t, a_peak_between_two_looks_is_told_of);
	tcase_add_test(t, groups_are_those_that_there_are);
	tcase_add_test(t, a_table_is_a_group_with_its_most);
	tcase_add_test(t, most_is_kept_for_those_that_do_not_keep_it);
	tcase_add_test(t, dump_has_a_line_for_each_group);
	suite_add_tcase(s, t);
	tcase_add_test(g, a_reader_sees_what_there_was);
	suite_add_tcase(s, g);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
