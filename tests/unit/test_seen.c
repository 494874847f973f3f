/*
 * storage/seen.c: copies from several sources against two references, one that counts as DESIGN.md
 * section 3 words it and one that keeps a list of events; in random orders and by several threads.
 */
#include "storage/seen.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hep/msg.h"
#include "tests/unit/random.h"

#define THREADS	  4
#define WINDOW_MS 5000
#define START_US  UINT64_C(1800000000000000)

static struct rcu_table *seen;
static struct seen_counters counters[THREADS + 1];

static void start(uint32_t entries)
{
	rcu_thread_begin();
	ck_assert_int_eq(seen_new(&seen, entries, THREADS + 1), HT_OK);
}

static void finish(void)
{
	rcu_table_free(seen);
	rcu_thread_end();
}

/* Message @p n, from @p source at @p ms, with an IP id or none. */
static enum seen_verdict judge(unsigned thread, uint64_t n, uint32_t source, uint64_t ms, int ip_id)
{
	struct seen_copy copy = { .key = { rcu_table_hash(seen, &n, sizeof(n)), n },
				  .source = source,
				  .ip_id = ip_id,
				  .ts_us = START_US + ms * 1000 };
	enum seen_verdict v;

	rcu_read_begin();
	v = seen_judge(rcu_table_thread(seen, thread), &counters[thread], &copy, WINDOW_MS,
		       (uint32_t)ms);
	rcu_read_end();
	return v;
}

static enum seen_verdict copy(uint32_t source, uint64_t ms)
{
	return judge(0, 1, source, ms, SEEN_NO_IP_ID);
}

/* ---- the rule ---- */

START_TEST(what_two_taps_see_twice_is_one_message_and_one_retransmission)
{
	start(10);
	ck_assert_int_eq(copy(1, 0), SEEN_FIRST);
	ck_assert_int_eq(copy(2, 1), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(2, 500), SEEN_AGAIN);
	ck_assert_int_eq(copy(1, 501), SEEN_DUPLICATE);
	finish();
}
END_TEST

START_TEST(one_source_stores_all_its_copies)
{
	start(10);
	ck_assert_int_eq(copy(3, 0), SEEN_FIRST);
	for (uint64_t i = 1; i < 100; i++)
		ck_assert_int_eq(copy(3, i * 20), SEEN_AGAIN);
	finish();
}
END_TEST

START_TEST(slow_source_catches_up_with_duplicates)
{
	start(10);
	ck_assert_int_eq(copy(1, 0), SEEN_FIRST);
	ck_assert_int_eq(copy(1, 500), SEEN_AGAIN);
	ck_assert_int_eq(copy(1, 1500), SEEN_AGAIN);
	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(copy(2, 1600 + i), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(2, 1700), SEEN_AGAIN);
	ck_assert_int_eq(copy(1, 1701), SEEN_DUPLICATE);
	finish();
}
END_TEST

START_TEST(window_ends)
{
	start(10);
	ck_assert_int_eq(copy(1, 1000), SEEN_FIRST);
	ck_assert_int_eq(copy(2, 6000), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(3, 6001), SEEN_FIRST);
	finish();
}
END_TEST

/* The end of the window of one sending must not set the sources against each other. */
START_TEST(retransmission_at_the_end_of_a_window_is_stored_once)
{
	start(10);
	ck_assert_int_eq(copy(1, 0), SEEN_FIRST);
	ck_assert_int_eq(copy(2, 50), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(1, 4980), SEEN_AGAIN);
	ck_assert_int_eq(copy(2, 5010), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(1, 5020), SEEN_AGAIN);
	ck_assert_int_eq(copy(2, 5060), SEEN_DUPLICATE);
	finish();
}
END_TEST

START_TEST(clock_that_is_behind_makes_no_difference)
{
	start(10);
	ck_assert_int_eq(copy(1, 3000), SEEN_FIRST);
	ck_assert_int_eq(copy(2, 2000), SEEN_DUPLICATE);
	ck_assert_int_eq(copy(2, 2500), SEEN_AGAIN);
	ck_assert_int_eq(copy(1, 3500), SEEN_DUPLICATE);
	finish();
}
END_TEST

START_TEST(same_ip_id_within_100_ms_is_the_same_packet)
{
	start(10);
	ck_assert_int_eq(judge(0, 1, 1, 0, 77), SEEN_FIRST);
	ck_assert_int_eq(judge(0, 1, 1, 100, 77), SEEN_DUPLICATE);
	ck_assert_int_eq(judge(0, 1, 1, 101, 77), SEEN_AGAIN); /* later */
	ck_assert_int_eq(judge(0, 1, 1, 102, 78), SEEN_AGAIN); /* another id */
	ck_assert_int_eq(judge(0, 1, 1, 103, SEEN_NO_IP_ID), SEEN_AGAIN);
	ck_assert_int_eq(judge(0, 1, 1, 104, 78), SEEN_DUPLICATE);
	ck_assert_uint_eq(counters[0].same_packet, 2);
	/* another source has ids of its own, and did not bring the packet yet: four sendings */
	ck_assert_int_eq(judge(0, 1, 2, 105, 78), SEEN_DUPLICATE);
	ck_assert_int_eq(judge(0, 1, 2, 106, 0), SEEN_DUPLICATE);
	ck_assert_int_eq(judge(0, 1, 2, 107, 0), SEEN_DUPLICATE); /* the same packet */
	ck_assert_int_eq(judge(0, 1, 2, 108, 1), SEEN_DUPLICATE);
	ck_assert_int_eq(judge(0, 1, 2, 109, 2), SEEN_DUPLICATE);
	ck_assert_int_eq(judge(0, 1, 2, 110, 3), SEEN_AGAIN);
	ck_assert_uint_eq(counters[0].same_packet, 3);
	finish();
}
END_TEST

START_TEST(too_many_sources_bring_duplicates)
{
	start(10);
	ck_assert_int_eq(copy(0, 0), SEEN_FIRST);
	for (uint32_t source = 1; source < SEEN_SOURCES; source++)
		ck_assert_int_eq(copy(source * 4096 - 1, source), SEEN_DUPLICATE);
	ck_assert_uint_eq(counters[0].crowded, 0);
	ck_assert_int_eq(copy(SEEN_SOURCE_MAX, 100), SEEN_DUPLICATE);
	ck_assert_uint_eq(counters[0].crowded, 1);
	ck_assert_int_eq(copy(SEEN_SOURCE_MAX, 9000), SEEN_FIRST);
	finish();
}
END_TEST

START_TEST(without_room_everything_is_stored)
{
	unsigned first = 0;

	start(64);
	rcu_read_begin(); /* so that no entry comes back */
	for (uint64_t n = 0; n < 1000; n++)
		first += judge(0, n, 1, 0, SEEN_NO_IP_ID) == SEEN_FIRST;
	rcu_read_end();
	ck_assert_uint_eq(first, 1000);
	ck_assert_uint_gt(rcu_table_sums(seen).refused, 0);
	finish();
}
END_TEST

START_TEST(records_go_when_no_window_can_need_them)
{
	start(10);
	copy(1, 0);
	(void)rcu_table_sweep(rcu_table_thread(seen, 1), SEEN_WINDOW_MAX_MS, 1000);
	ck_assert_uint_eq(rcu_table_sums(seen).entries, 1);
	(void)rcu_table_sweep(rcu_table_thread(seen, 1), SEEN_WINDOW_MAX_MS + 1, 1000);
	ck_assert_uint_eq(rcu_table_sums(seen).entries, 0);
	finish();
}
END_TEST

/* ---- the key ---- */

static struct msg message(const char *payload, uint8_t proto)
{
	return (struct msg){ .src = { .ip = { 192, 0, 2, 1 }, .port = 5060, .family = FAMILY_IPV4 },
			     .dst = { .ip = { 192, 0, 2, 2 }, .port = 5061, .family = FAMILY_IPV4 },
			     .payload = view_of(payload),
			     .ip_proto = proto };
}

static bool same_key(const struct msg *a, const struct msg *b)
{
	struct seen_key x = seen_key(seen, a), y = seen_key(seen, b);

	return x.low == y.low && x.high == y.high;
}

START_TEST(key_is_hop_and_message)
{
	struct msg a = message("OPTIONS", PROTO_UDP), b = a;

	start(10);
	ck_assert(same_key(&a, &b));
	b.src.ip[9] = 1; /* nothing of an IPv4 address */
	b.ts_us = 5;
	ck_assert(same_key(&a, &b));
	b = message("OPTIONT", PROTO_UDP);
	ck_assert(!same_key(&a, &b));
	b = a;
	b.src.port++;
	ck_assert(!same_key(&a, &b));
	b = a;
	b.dst.ip[3]++;
	ck_assert(!same_key(&a, &b));
	b = a;
	b.src = a.dst;
	b.dst = a.src;
	ck_assert(!same_key(&a, &b));
	b = a;
	b.ip_proto = PROTO_TCP;
	ck_assert(!same_key(&a, &b));
	b = a;
	b.src.family = b.dst.family = FAMILY_IPV6;
	ck_assert(!same_key(&a, &b));
	finish();
}
END_TEST

START_TEST(ports_of_tcp_are_left_out)
{
	static const uint8_t over_tcp[] = { PROTO_TCP, PROTO_TLS, PROTO_WS };
	struct msg a = message("OPTIONS", PROTO_TCP), b;

	start(10);
	for (size_t i = 0; i < sizeof(over_tcp); i++) {
		b = message("OPTIONS", over_tcp[i]);
		b.src.port = 40000;
		b.dst.port = 1;
		ck_assert(same_key(&a, &b));
	}
	b = message("OPTIONS", PROTO_SCTP);
	a = b;
	b.src.port++;
	ck_assert(!same_key(&a, &b));
	finish();
}
END_TEST

/* ---- references ---- */

#define SOURCES 4

/* As DESIGN.md words it, for copies that all come within one window: "a copy is stored iff its
 * source's count exceeds the highest count of all other sources". */
START_TEST(counts_within_a_window_are_as_the_rule_says)
{
	struct random r = random_from(6);

	start(20000);
	for (uint64_t n = 0; n < 5000; n++) {
		unsigned counts[SOURCES] = { 0 }, sources = 1 + (unsigned)random_below(&r, SOURCES);
		unsigned copies = (unsigned)random_below(&r, SEEN_EVENTS + 1);

		for (unsigned i = 0; i < copies; i++) {
			uint32_t source = (uint32_t)random_below(&r, sources);
			unsigned most = 0;
			bool is_stored;

			counts[source]++;
			for (unsigned o = 0; o < SOURCES; o++)
				if (o != source && counts[o] > most)
					most = counts[o];
			is_stored = judge(0, n, source, random_below(&r, WINDOW_MS),
					  SEEN_NO_IP_ID) != SEEN_DUPLICATE;
			ck_assert_int_eq(is_stored, counts[source] > most);
		}
	}
	finish();
}
END_TEST

#define MODEL_EVENTS 4000

/* Sendings of one message, as a list that is never cut. */
struct model {
	struct {
		uint64_t ms;
		unsigned by;
	} event[MODEL_EVENTS];
	unsigned count;
	struct {
		uint64_t ms;
		int ip_id;
	} last[SOURCES];
};

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static enum seen_verdict model_judge(struct model *m, uint32_t source, uint64_t ms, int ip_id)
{
	bool any = false;

	if (ip_id != SEEN_NO_IP_ID) {
		if (m->last[source].ip_id == ip_id && apart(m->last[source].ms, ms) <= 100)
			return SEEN_DUPLICATE;
		m->last[source].ip_id = ip_id;
		m->last[source].ms = ms;
	}
	for (unsigned i = m->count > SEEN_EVENTS ? m->count - SEEN_EVENTS : 0; i < m->count; i++) {
		if (apart(m->event[i].ms, ms) > WINDOW_MS)
			continue;
		any = true;
		if (m->event[i].by & 1U << source)
			continue;
		m->event[i].by |= 1U << source;
		return SEEN_DUPLICATE;
	}
	ck_assert_uint_lt(m->count, MODEL_EVENTS);
	m->event[m->count].ms = ms;
	m->event[m->count++].by = 1U << source;
	return any ? SEEN_AGAIN : SEEN_FIRST;
}

START_TEST(long_traffic_is_as_the_list_of_events_says)
{
	static struct model m;
	unsigned verdicts[3] = { 0 };

	start(100);
	for (uint64_t n = 0; n < 200; n++) {
		struct random r = random_from(n);
		uint64_t ms = 20000, pace = 1 + random_below(&r, 4000);

		m = (struct model){ .count = 0 };
		for (int i = 0; i < SOURCES; i++)
			m.last[i].ip_id = SEEN_NO_IP_ID;
		for (int i = 0; i < 300; i++) {
			uint32_t source = (uint32_t)random_below(&r, SOURCES);
			int ip_id = (int)random_below(&r, 4) - 1;
			uint64_t at = ms - random_below(&r, 300);
			enum seen_verdict want = model_judge(&m, source, at, ip_id);

			ck_assert_int_eq(judge(0, n, source, at, ip_id), want);
			verdicts[want]++;
			ms += random_below(&r, pace);
		}
		(void)rcu_table_sweep(rcu_table_thread(seen, 0), 0x7fffffff, 1000);
		urcu_memb_barrier();
	}
	for (int i = 0; i < 3; i++)
		ck_assert_uint_gt(verdicts[i], 1000);
	finish();
}
END_TEST

/* ---- several threads ---- */

#define MESSAGES 3000
#define COPIES	 3

struct tap {
	pthread_t thread;
	unsigned i;
	pthread_barrier_t *begin;
	uint8_t stored[MESSAGES];
};

/* All taps see the same few messages at the same time: most compare-and-swaps meet. */
static void *see_all(void *arg)
{
	struct tap *t = arg;

	rcu_thread_begin();
	pthread_barrier_wait(t->begin);
	for (unsigned n = 0; n < MESSAGES; n++) {
		if (n % 50 == 0)
			pthread_barrier_wait(t->begin);
		for (unsigned c = 0; c < COPIES; c++) /* each packet twice: a mirror of both ways */
			for (int k = 0; k < 2; k++)
				t->stored[n] +=
					judge(t->i, n, t->i, n + c * 200, (int)c) != SEEN_DUPLICATE;
	}
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_store_each_sending_once)
{
	static pthread_barrier_t begin;
	static struct tap t[THREADS];
	uint64_t kept = 0, dropped = 0;

	start(2 * MESSAGES);
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		t[i].i = i;
		t[i].begin = &begin;
		ck_assert_int_eq(pthread_create(&t[i].thread, NULL, see_all, &t[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i].thread, NULL);
	for (unsigned n = 0; n < MESSAGES; n++) {
		unsigned stored = 0;

		for (unsigned i = 0; i < THREADS; i++)
			stored += t[i].stored[n];
		ck_assert_uint_eq(stored, COPIES);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		kept += counters[i].first + counters[i].again;
		dropped += counters[i].duplicate + counters[i].same_packet;
		ck_assert_uint_eq(counters[i].same_packet, MESSAGES * COPIES);
	}
	ck_assert_uint_eq(kept, MESSAGES * COPIES);
	ck_assert_uint_eq(kept + dropped, MESSAGES * COPIES * THREADS * 2);
	finish();
}
END_TEST

/* One source that two threads share: each copy is one sending. */
static void *see_as_one(void *arg)
{
	struct tap *t = arg;

	rcu_thread_begin();
	pthread_barrier_wait(t->begin);
	for (unsigned n = 0; n < MESSAGES; n++)
		t->stored[n] += judge(t->i, n, 9, n, SEEN_NO_IP_ID) != SEEN_DUPLICATE;
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_of_one_source_lose_no_copy)
{
	static pthread_barrier_t begin;
	static struct tap t[THREADS];
	uint64_t firsts = 0;

	start(2 * MESSAGES);
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		t[i].i = i;
		t[i].begin = &begin;
		ck_assert_int_eq(pthread_create(&t[i].thread, NULL, see_as_one, &t[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i].thread, NULL);
		firsts += counters[i].first;
		for (unsigned n = 0; n < MESSAGES; n++)
			ck_assert_uint_eq(t[i].stored[n], 1);
	}
	ck_assert_uint_eq(firsts, MESSAGES);
	finish();
}
END_TEST

static void clear_counters(void)
{
	memset(counters, 0, sizeof(counters));
}

int main(void)
{
	Suite *s = suite_create("seen");
	TCase *t = tcase_create("seen");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, clear_counters, NULL);
	tcase_add_test(t, what_two_taps_see_twice_is_one_message_and_one_retransmission);
	tcase_add_test(t, one_source_stores_all_its_copies);
	tcase_add_test(t, slow_source_catches_up_with_duplicates);
	tcase_add_test(t, window_ends);
	tcase_add_test(t, retransmission_at_the_end_of_a_window_is_stored_once);
	tcase_add_test(t, clock_that_is_behind_makes_no_difference);
	tcase_add_test(t, same_ip_id_within_100_ms_is_the_same_packet);
	tcase_add_test(t, too_many_sources_bring_duplicates);
	tcase_add_test(t, without_room_everything_is_stored);
	tcase_add_test(t, records_go_when_no_window_can_need_them);
	tcase_add_test(t, key_is_hop_and_message);
	tcase_add_test(t, ports_of_tcp_are_left_out);
	tcase_add_test(t, counts_within_a_window_are_as_the_rule_says);
	tcase_add_test(t, long_traffic_is_as_the_list_of_events_says);
	tcase_add_test(t, threads_store_each_sending_once);
	tcase_add_test(t, threads_of_one_source_lose_no_copy);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
