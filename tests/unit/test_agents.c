/*
 * storage/agents.c: found, counted, bounded, swept; by several threads at once. And the names of
 * tables (storage/layout.c).
 */
#include "storage/agents.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/rcu.h"
#include "storage/layout.h"

#define THREADS 4
#define ROUNDS	20000

#define AGENTS_MAX 4096

static struct agents *agents;

static void start(void)
{
	rcu_thread_begin();
	ck_assert_int_eq(agents_new(&agents, AGENTS_MAX), HT_OK);
}

static void finish(void)
{
	rcu_thread_end();
	agents_free(agents);
}

static struct agent_key key_of(uint32_t n)
{
	struct agent_key k = { .ip = { [10] = 0xff, 0xff, 192, 0, 2, 1 },
			       .capture_id = n,
			       .has_capture_id = 1 };

	return k;
}

static void hear(uint32_t n, uint64_t wall_us)
{
	struct agent_tally one = { .received = 1, .accepted = n % 2, .bytes = 100 };
	struct agent_key k = key_of(n);

	rcu_read_begin();
	agent_add(agents_get(agents, &k, view_of("name"), wall_us), &one, wall_us);
	rcu_read_end();
}

struct sum {
	uint64_t entries, received, accepted, bytes, rest;
	struct agent_view last;
};

static void sum_up(void *ctx, const struct agent_view *v)
{
	struct sum *s = ctx;

	s->entries++;
	s->received += v->received;
	s->accepted += v->accepted;
	s->bytes += v->bytes;
	s->rest += v->is_rest ? v->received : 0;
	s->last = *v;
}

static struct sum sum(void)
{
	struct sum s = { 0 };

	rcu_read_begin();
	agents_list(agents, sum_up, &s);
	rcu_read_end();
	return s;
}

START_TEST(an_agent_is_counted_under_its_key)
{
	struct agent_tally late = { .offset_us = 1600, .has_offset = true };
	struct agent_key k = key_of(7);
	struct agent *a;
	struct sum s;

	hear(7, 1000);
	hear(7, 3000);
	rcu_read_begin();
	a = agents_get(agents, &k, view_of(""), 5000);
	agent_add(a, &late, 5000);
	ck_assert_int_eq(sum().last.offset_us, 1600);
	late.offset_us = 0;
	agent_add(a, &late, 5000);
	rcu_read_end();
	ck_assert_uint_eq(sum().entries, 1);
	ck_assert_uint_eq(sum().received, 2);
	ck_assert_uint_eq(sum().last.first_us, 1000);
	ck_assert_uint_eq(sum().last.last_us, 5000);
	ck_assert_int_eq(sum().last.offset_us, 1500);
	ck_assert_str_eq(sum().last.name, "name");
	s = sum();
	ck_assert_mem_eq(&s.last.key, &k, sizeof(k));
	k.source = 1;
	rcu_read_begin();
	ck_assert_ptr_ne(agents_get(agents, &k,
				    view_of("odd \"\x01 and much longer than there is room "
					    "for in the name of an agent, really"),
				    1),
			 a);
	rcu_read_end();
	ck_assert_uint_eq(agents_count(agents), 2);
}
END_TEST

START_TEST(who_finds_no_place_is_counted_together)
{
	struct sum s;

	for (uint32_t n = 0; n < AGENTS_MAX + 100; n++)
		hear(n, 1000);
	s = sum();
	ck_assert_uint_eq(agents_count(agents), AGENTS_MAX);
	ck_assert_uint_eq(agents_evicted(agents), 100);
	ck_assert_uint_eq(s.entries, AGENTS_MAX + 1);
	ck_assert_uint_eq(s.received, AGENTS_MAX + 100);
	ck_assert_uint_eq(s.rest, 100);
}
END_TEST

START_TEST(the_silent_make_room)
{
	uint64_t hour_us = AGENTS_CROWDED_US, now_us = 10 * AGENTS_IDLE_US;

	for (uint32_t n = 0; n < 100; n++)
		hear(n, now_us - (n < 50 ? AGENTS_IDLE_US + 1 : hour_us));
	agents_sweep(agents, now_us);
	ck_assert_uint_eq(agents_count(agents), 50);
	ck_assert_uint_eq(agents_evicted(agents), 50);
	urcu_memb_barrier(); /* those that were removed are places again */
	for (uint32_t n = 0; n < AGENTS_MAX - 50; n++)
		hear(1000 + n, now_us);
	ck_assert_uint_eq(agents_count(agents), AGENTS_MAX);
	agents_sweep(agents, now_us); /* crowded: an hour is enough */
	ck_assert_uint_eq(agents_count(agents), AGENTS_MAX - 50);
}
END_TEST

static void *hear_many(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	rcu_thread_begin();
	for (unsigned i = 0; i < ROUNDS; i++)
		hear((seed = seed * 1103515245 + 12345) >> 16 & 255, 1000 + i);
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_lose_no_count)
{
	pthread_t thread[THREADS];
	unsigned seed[THREADS];
	struct sum s;

	for (unsigned i = 0; i < THREADS; i++) {
		seed[i] = i;
		pthread_create(&thread[i], NULL, hear_many, &seed[i]);
	}
	for (unsigned i = 0; i < 20; i++)
		agents_sweep(agents, 1000); /* nothing is old */
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	s = sum();
	ck_assert_uint_eq(s.received, THREADS * ROUNDS);
	ck_assert_uint_eq(s.bytes, THREADS * ROUNDS * 100);
	ck_assert_uint_le(agents_count(agents), 256);
}
END_TEST

/* ---- a limit ---- */

#define SECOND 1000000ULL

/* How many of @p n messages at a time one of the agents may send. */
static unsigned granted_of(uint32_t capture_id, unsigned n, uint32_t most, uint64_t mono_us)
{
	struct agent_key k = key_of(capture_id);
	struct agent *a;
	unsigned sum = 0;

	rcu_read_begin();
	a = agents_get(agents, &k, view_of("name"), 1000);
	for (unsigned i = 0; i < n; i++)
		sum += agent_may_send(a, most, mono_us, "agents");
	rcu_read_end();
	return sum;
}

START_TEST(an_agent_has_so_many_messages_a_second)
{
	ck_assert_uint_eq(granted_of(1, 100, 10, 5 * SECOND), 10);
	ck_assert_uint_eq(granted_of(1, 100, 10, 6 * SECOND - 1), 0);
	ck_assert_uint_eq(granted_of(2, 7, 10, 5 * SECOND), 7); /* another has its own */
	ck_assert_uint_eq(granted_of(2, 7, 10, 5 * SECOND), 3);
	ck_assert_uint_eq(granted_of(1, 100, 10, 6 * SECOND), 10);
	ck_assert_uint_eq(granted_of(1, 100, 10, 6 * SECOND - 1), 0); /* who is behind */
	ck_assert_uint_eq(granted_of(1, 100, 15, 6 * SECOND), 5);     /* the limit was raised */
	ck_assert_uint_eq(granted_of(1, 100, 5, 6 * SECOND), 0);      /* and lowered */
	ck_assert_uint_eq(granted_of(1, 100, 5, 3600 * SECOND), 5);
}
END_TEST

START_TEST(those_without_a_place_have_what_one_has)
{
	for (uint32_t n = 0; n < AGENTS_MAX; n++)
		hear(n, 1000);
	ck_assert_uint_eq(granted_of(AGENTS_MAX + 1, 8, 10, SECOND), 8);
	ck_assert_uint_eq(granted_of(AGENTS_MAX + 2, 8, 10, SECOND), 2);
	ck_assert_uint_eq(granted_of(1, 8, 10, SECOND), 8);
}
END_TEST

/* The log while it is written to a file. */
struct captured_log {
	int fd, before;
};

static struct captured_log log_capture(void)
{
	struct captured_log l = { memfd_create("log", 0), dup(STDERR_FILENO) };

	ck_assert_int_ge(l.fd, 0);
	ck_assert_int_ge(dup2(l.fd, STDERR_FILENO), 0);
	return l;
}

/* How often a text is in it. */
static unsigned log_count(struct captured_log *l, const char *text)
{
	static char all[65536];
	ssize_t len = pread(l->fd, all, sizeof(all) - 1, 0);
	unsigned n = 0;

	ck_assert_int_ge(len, 0);
	all[len] = '\0';
	for (const char *at = all; (at = strstr(at, text)); at++)
		n++;
	return n;
}

static void log_release(struct captured_log *l)
{
	dup2(l->before, STDERR_FILENO);
	close(l->before);
	close(l->fd);
}

START_TEST(the_log_tells_when_a_limit_begins)
{
	static const char line[] = "agent 192.0.2.1/1 sends more than 10 messages a second";
	struct captured_log l = log_capture();
	unsigned at_first, during, soon, later, other, rest;

	(void)granted_of(1, 10, 10, 5 * SECOND);
	at_first = log_count(&l, line);
	for (unsigned s = 5; s < 300; s++) /* limited all the time: once */
		(void)granted_of(1, 100, 10, s * SECOND);
	during = log_count(&l, line);
	(void)granted_of(1, 100, 10, (299 + 60) * SECOND);
	soon = log_count(&l, line);
	(void)granted_of(1, 100, 10, (299 + 60 + 61) * SECOND);
	later = log_count(&l, line);
	(void)granted_of(2, 100, 10, 299 * SECOND);
	other = log_count(&l, "hep agents: agent 192.0.2.1/2 sends more");
	for (uint32_t n = 0; n < AGENTS_MAX; n++)
		hear(n, 1000);
	(void)granted_of(AGENTS_MAX + 1, 100, 10, 5 * SECOND);
	(void)granted_of(AGENTS_MAX + 2, 100, 10, 5 * SECOND);
	rest = log_count(&l, "for which there is no room in the table send more");
	log_release(&l);
	ck_assert_uint_eq(at_first, 0);
	ck_assert_uint_eq(during, 1);
	ck_assert_uint_eq(soon, 1);
	ck_assert_uint_eq(later, 2);
	ck_assert_uint_eq(other, 1);
	ck_assert_uint_eq(rest, 1);
}
END_TEST

#define LIMITED_SECONDS 50
#define LIMITED_MOST	1000

static _Atomic uint64_t granted;

/* Each thread goes through the seconds by itself, so that some are behind others. */
static void *send_many(void *arg)
{
	uint64_t sum = 0;

	(void)arg;
	rcu_thread_begin();
	for (unsigned s = 0; s < LIMITED_SECONDS; s++)
		sum += granted_of(1, LIMITED_MOST, LIMITED_MOST, s * SECOND);
	atomic_fetch_add(&granted, sum);
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_share_a_limit)
{
	pthread_t thread[THREADS];

	hear(1, 1000); /* two that add it at once may find the pool's lock taken */
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, send_many, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_le(granted, LIMITED_SECONDS * LIMITED_MOST);
	ck_assert_uint_ge(granted, LIMITED_MOST); /* one ahead of all others takes no second away */
}
END_TEST

/* ---- layout ---- */

static const char *name_of(const struct layout *l, uint16_t table, uint16_t kind, uint32_t day,
			   uint32_t today)
{
	static char name[LAYOUT_NAME];
	struct row_head r = { .table = table, .kind = kind, .day = day };
	struct block_head h = { 0 }; /* without a text */

	layout_name(l, layout_place_of(l, &h, &r, today), name);
	return name;
}

START_TEST(names_of_tables)
{
	struct layout one = { "sip_capture", false, NULL }, daily = { "sc", true, NULL };
	uint32_t day = 20778; /* 2026-11-21 */

	ck_assert_str_eq(name_of(&one, ROW_TABLE_SIP_CAPTURE, ROW_KIND_REST, day, day),
			 "sip_capture");
	ck_assert_str_eq(name_of(&one, ROW_TABLE_RTCP_CAPTURE, 0, day, day), "rtcp_capture");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_REPORT_CAPTURE, 0, day, day), "report_capture");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_LOGS_CAPTURE, 0, day, day), "logs_capture");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_SIP_CAPTURE, ROW_KIND_CALL, day, day),
			 "sc_call_20261121");
	ck_assert_str_eq(
		name_of(&daily, ROW_TABLE_SIP_CAPTURE, ROW_KIND_REGISTRATION, day + 1, day),
		"sc_registration_20261122");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_SIP_CAPTURE, ROW_KIND_REST, day - 366, day),
			 "sc_rest_20251120");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_SIP_CAPTURE, ROW_KIND_REST, day - 367, day),
			 "sc_rest_past");
	ck_assert_str_eq(name_of(&daily, ROW_TABLE_SIP_CAPTURE, ROW_KIND_CALL, 0, day),
			 "sc_call_past");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("agents");
	TCase *t = tcase_create("agents"), *names = tcase_create("layout");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, start, finish);
	tcase_add_test(t, an_agent_is_counted_under_its_key);
	tcase_add_test(t, who_finds_no_place_is_counted_together);
	tcase_add_test(t, the_silent_make_room);
	tcase_add_test(t, threads_lose_no_count);
	tcase_add_test(t, an_agent_has_so_many_messages_a_second);
	tcase_add_test(t, those_without_a_place_have_what_one_has);
	tcase_add_test(t, the_log_tells_when_a_limit_begins);
	tcase_add_test(t, threads_share_a_limit);
	suite_add_tcase(s, t);
	tcase_add_test(names, names_of_tables);
	suite_add_tcase(s, names);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
