/*
 * storage/media.c: addresses of offers and answers lead to their call, also those of RTCP; the last
 * call has them; several threads at once.
 */
#include "storage/media.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "hep/sdp.h"
#include "tests/unit/random.h"

#define THREADS 4

static struct rcu_table *media;

static void start(uint32_t entries)
{
	rcu_thread_begin();
	ck_assert_int_eq(media_new(&media, entries, THREADS + 1), HT_OK);
}

static void finish(void)
{
	rcu_table_free(media);
	rcu_thread_end();
}

static struct addr addr_of(const char *ip, uint16_t port)
{
	/* what is behind the four octets of IPv4 must not matter */
	struct addr a = { .ip = { [4] = (uint8_t)port, [15] = 7 }, .port = port };

	a.family = strchr(ip, ':') ? FAMILY_IPV6 : FAMILY_IPV4;
	ck_assert_int_eq(inet_pton(a.family == FAMILY_IPV6 ? AF_INET6 : AF_INET, ip, a.ip), 1);
	return a;
}

static int learn(const char *body, const char *callid, uint32_t now_ms)
{
	struct sdp sdp;
	int err;

	sdp_read(view_of("application/sdp"), view_of(body), &sdp);
	rcu_read_begin();
	err = media_learn(rcu_table_thread(media, 0), &sdp, view_of(callid), now_ms);
	rcu_read_end();
	return err;
}

static void check_found(const char *ip, uint16_t port, const char *callid)
{
	struct addr a = addr_of(ip, port);
	struct view v;

	rcu_read_begin();
	v = media_find(media, &a, 1);
	ck_assert_msg(view_is(v, callid), "%s %u: '%.*s' is not '%s'", ip, port, (int)v.len,
		      (const char *)v.at, callid);
	rcu_read_end();
}

START_TEST(rtp_and_the_port_behind_it_are_found)
{
	start(100);
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n", "one", 1), 0);
	check_found("192.0.2.1", 4000, "one");
	check_found("192.0.2.1", 4001, "one");
	check_found("192.0.2.1", 4002, "");
	check_found("192.0.2.1", 3999, "");
	check_found("192.0.2.2", 4000, "");
	check_found("192.0.2.1", 0, "");
	check_found("c000:201::", 4000, ""); /* the same octets, another family */
	finish();
}
END_TEST

START_TEST(rtcp_elsewhere_is_found)
{
	start(100);
	ck_assert_int_eq(learn("v=0\nc=IN IP6 2001:db8::1\nm=audio 4000 x\na=rtcp:9000\n"
			       "m=audio 5000 x\na=rtcp:9000 IN IP4 192.0.2.7\n",
			       "one", 1),
			 0);
	check_found("2001:db8::1", 9000, "one");
	check_found("192.0.2.7", 9000, "one");
	check_found("2001:db8::1", 5000, "one");
	ck_assert_uint_eq(rcu_table_sums(media).entries, 4);
	finish();
}
END_TEST

START_TEST(port_of_its_own_goes_before_the_one_below)
{
	start(100);
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\n", "one", 1), 0);
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4001 x\n", "two", 1), 0);
	check_found("192.0.2.1", 4000, "one");
	check_found("192.0.2.1", 4001, "two");
	check_found("192.0.2.1", 4002, "two");
	finish();
}
END_TEST

START_TEST(last_call_has_the_port_and_repeating_changes_nothing)
{
	const char *body = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\n";

	start(100);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(learn(body, "one", 1), 0);
	ck_assert_uint_eq(rcu_table_sums(media).inserted, 1);
	ck_assert_int_eq(learn(body, "two", 2), 0);
	check_found("192.0.2.1", 4000, "two");
	ck_assert_uint_eq(rcu_table_sums(media).entries, 1);
	ck_assert_uint_eq(rcu_table_sums(media).replaced, 1);
	finish();
}
END_TEST

START_TEST(call_id_that_is_empty_or_too_long_is_refused)
{
	char callid[MEDIA_CALLID + 2];

	memset(callid, 'c', sizeof(callid));
	callid[MEDIA_CALLID + 1] = '\0';
	start(100);
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\n", callid, 1), HT_EFULL);
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\n", "", 1), HT_EFULL);
	ck_assert_uint_eq(rcu_table_sums(media).entries, 0);
	callid[MEDIA_CALLID] = '\0';
	ck_assert_int_eq(learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\n", callid, 1), HT_OK);
	check_found("192.0.2.1", 4001, callid);
	finish();
}
END_TEST

START_TEST(what_is_asked_for_stays)
{
	struct addr used = addr_of("192.0.2.1", 4000);

	start(100);
	ck_assert_int_eq(
		learn("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 x\nm=audio 5000 x\n", "one", 1000), 0);
	rcu_read_begin();
	ck_assert(view_is(media_find(media, &used, 2000), "one"));
	rcu_read_end();
	(void)rcu_table_sweep(rcu_table_thread(media, 1), 1000 + MEDIA_IDLE_MS, 1000);
	check_found("192.0.2.1", 4000, "one");
	check_found("192.0.2.1", 5000, "");
	finish();
}
END_TEST

/* ---- several threads ---- */

#define PORTS  200
#define ROUNDS 4000

struct talker {
	pthread_t thread;
	unsigned i;
	pthread_barrier_t *begin;
	unsigned found, bad, refused;
};

/* A call id names its port: whatever is found must be of the port asked for. */
static void talk_once(struct talker *t, struct random *r)
{
	uint16_t port = (uint16_t)(2 * (1 + random_below(r, PORTS)));
	struct sdp sdp = { .count = 1, .media[0].rtp = addr_of("192.0.2.1", port) };
	struct addr ask = addr_of("192.0.2.1", (uint16_t)(port + random_below(r, 2)));
	char callid[40], head[20];
	struct view v;

	snprintf(head, sizeof(head), "port-%u-", port);
	snprintf(callid, sizeof(callid), "%s%u", head, (unsigned)random_below(r, 3));
	rcu_read_begin();
	t->refused += media_learn(rcu_table_thread(media, t->i), &sdp, view_of(callid), 1) != 0;
	v = media_find(media, &ask, 1);
	t->found += v.len > 0;
	t->bad += v.len == 0 || v.len < strlen(head) || memcmp(v.at, head, strlen(head)) != 0;
	rcu_read_end();
}

static void *talk(void *arg)
{
	struct talker *t = arg;
	struct random r = random_from(t->i + 7);

	rcu_thread_begin();
	pthread_barrier_wait(t->begin);
	for (unsigned n = 0; n < ROUNDS; n++)
		talk_once(t, &r);
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_find_only_what_belongs_to_the_port)
{
	static pthread_barrier_t begin;
	struct talker t[THREADS] = { 0 };
	struct rcu_table_sums s;

	start(20000); /* none is evicted */
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		t[i].i = i;
		t[i].begin = &begin;
		ck_assert_int_eq(pthread_create(&t[i].thread, NULL, talk, &t[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i].thread, NULL);
		ck_assert_uint_eq(t[i].bad, 0);
		ck_assert_uint_eq(t[i].refused, 0);
		ck_assert_uint_eq(t[i].found, ROUNDS);
	}
	s = rcu_table_sums(media);
	ck_assert_uint_eq(s.entries, PORTS);
	ck_assert_uint_gt(s.replaced, PORTS);
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("media");
	TCase *t = tcase_create("media");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, rtp_and_the_port_behind_it_are_found);
	tcase_add_test(t, rtcp_elsewhere_is_found);
	tcase_add_test(t, port_of_its_own_goes_before_the_one_below);
	tcase_add_test(t, last_call_has_the_port_and_repeating_changes_nothing);
	tcase_add_test(t, call_id_that_is_empty_or_too_long_is_refused);
	tcase_add_test(t, what_is_asked_for_stays);
	tcase_add_test(t, threads_find_only_what_belongs_to_the_port);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
