/*
 * storage/calls.c: verdicts, legs and timing of a call, in every order of its messages and from
 * several threads at once.
 */
#include "storage/calls.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hep/sip.h"
#include "tests/unit/random.h"

#define THREADS 4

static struct rcu_table *calls;

static void start(uint32_t entries)
{
	rcu_thread_begin();
	ck_assert_int_eq(calls_new(&calls, entries, THREADS + 1), HT_OK);
}

static void finish(void)
{
	rcu_table_free(calls);
	rcu_thread_end();
}

/* Inside a read-side section. */
static struct call *get(unsigned thread, const char *callid, uint32_t now_ms)
{
	struct view v = view_of(callid);

	return calls_get(rcu_table_thread(calls, thread), calls_hash(calls, v), v, now_ms);
}

static struct call *find(struct view v, uint32_t now_ms)
{
	return calls_find(calls, calls_hash(calls, v), v, now_ms);
}

static void check_text(struct view v, const char *text)
{
	ck_assert_msg(view_is(v, text), "'%.*s' is not '%s'", (int)v.len, (const char *)v.at, text);
}

START_TEST(record_is_found_by_its_call_id)
{
	struct call *call;

	start(100);
	rcu_read_begin();
	ck_assert_ptr_null(find(view_of("a@h"), 1));
	call = get(0, "a@h", 1);
	ck_assert_ptr_nonnull(call);
	ck_assert_ptr_eq(find(view_of("a@h"), 2), call);
	ck_assert_ptr_null(find(view_of("a@H"), 2)); /* case counts: RFC 3261 section 20.8 */
	ck_assert_ptr_null(find(view_of("a@"), 2));
	ck_assert_ptr_null(find(view_of(""), 2));
	check_text(call_id(call), "a@h");
	call = get(0, "", 3);
	ck_assert_ptr_eq(find(view_of(""), 3), call);
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(long_call_ids_are_told_apart)
{
	char one[1000], two[1000];
	struct call *a, *b;

	memset(one, 'x', sizeof(one));
	memset(two, 'x', sizeof(two));
	one[998] = '1';
	one[999] = two[999] = '\0';
	start(100);
	rcu_read_begin();
	a = get(0, one, 1);
	b = get(0, two, 1);
	ck_assert_ptr_ne(a, b);
	ck_assert_ptr_eq(find(view_of(one), 1), a);
	ck_assert_ptr_eq(find(view_of(two), 1), b);
	ck_assert_uint_eq(call_id(a).len, CALL_TEXT);
	rcu_read_end();
	finish();
}
END_TEST

#define FLOOD 2048

/* Call-IDs that a sender chose so that they fall into one bucket of a table with the seed 0. */
START_TEST(chosen_call_ids_do_not_make_a_long_chain)
{
	char callid[300]; /* room for what gcc thinks the hash may read */
	unsigned longest;

	start(FLOOD);
	for (unsigned n = 0, found = 0; found < FLOOD; n++) {
		int len = snprintf(callid, sizeof(callid), "flood-%u@192.0.2.1", n);

		if ((XXH3_64bits_withSeed(callid, (size_t)len, 0) & 255) != 7)
			continue;
		rcu_read_begin();
		ck_assert_ptr_nonnull(get(0, callid, 1));
		rcu_read_end();
		found++;
	}
	ck_assert_uint_eq(rcu_table_sums(calls).entries, FLOOD);
	rcu_read_begin();
	longest = rcu_table_longest_chain(calls);
	rcu_read_end();
	ck_assert_uint_lt(longest, 16);
	finish();
}
END_TEST

START_TEST(memory_is_bounded_by_the_number_of_entries)
{
	start(100000);
	ck_assert_uint_le(rcu_table_bytes(calls), 100000 * 512);
	finish();
}
END_TEST

/* ---- verdicts ---- */

static struct call_verdict verdict(uint32_t generation, uint32_t rule, bool is_invite)
{
	return (struct call_verdict){ .generation = generation,
				      .rule = rule,
				      .action = (uint8_t)(rule + 1),
				      .is_invite = is_invite };
}

static void check_verdict(struct call_verdict v, struct call_verdict want)
{
	ck_assert_uint_eq(v.generation, want.generation);
	ck_assert_uint_eq(v.rule, want.rule);
	ck_assert_uint_eq(v.action, want.action);
	ck_assert_int_eq(v.is_invite, want.is_invite);
}

START_TEST(record_begins_without_a_verdict)
{
	struct call_verdict v;

	start(10);
	rcu_read_begin();
	v = call_verdict(get(0, "a", 1));
	rcu_read_end();
	ck_assert_uint_eq(v.generation, 0);
	ck_assert(!call_verdict_holds(v, 1));
	finish();
}
END_TEST

START_TEST(lowest_rule_stands_and_takes_its_action_along)
{
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "a", 1);
	check_verdict(call_judge(call, verdict(1, CALL_NO_RULE, false)),
		      verdict(1, CALL_NO_RULE, false));
	check_verdict(call_judge(call, verdict(1, 7, false)), verdict(1, 7, false));
	check_verdict(call_judge(call, verdict(1, 9, true)), verdict(1, 7, true));
	check_verdict(call_judge(call, verdict(1, 3, false)), verdict(1, 3, true));
	check_verdict(call_verdict(call), verdict(1, 3, true));
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(verdict_of_an_invite_outlives_a_reload_and_others_do_not)
{
	struct call *invite, *subscribe;

	start(10);
	rcu_read_begin();
	invite = get(0, "i", 1);
	subscribe = get(0, "s", 1);
	check_verdict(call_judge(invite, verdict(4, 5, true)), verdict(4, 5, true));
	check_verdict(call_judge(subscribe, verdict(4, 5, false)), verdict(4, 5, false));
	ck_assert(call_verdict_holds(call_verdict(invite), 4));
	ck_assert(call_verdict_holds(call_verdict(invite), 5));
	ck_assert(call_verdict_holds(call_verdict(subscribe), 4));
	ck_assert(!call_verdict_holds(call_verdict(subscribe), 5));
	check_verdict(call_judge(invite, verdict(5, 2, true)), verdict(4, 5, true));
	check_verdict(call_judge(subscribe, verdict(5, 8, false)), verdict(5, 8, false));
	rcu_read_end();
	finish();
}
END_TEST

/* What stands does not depend on the order: all orders of four verdicts. */
static void check_all_orders(const struct call_verdict v[4], struct call_verdict want)
{
	unsigned n = 0;
	char name[16];

	for (unsigned order = 0; order < 256; order++) {
		unsigned i[4] = { order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 };
		struct call *call;

		if ((1U << i[0] | 1U << i[1] | 1U << i[2] | 1U << i[3]) != 15)
			continue;
		n++;
		snprintf(name, sizeof(name), "%u", order);
		rcu_read_begin();
		call = get(0, name, 1);
		for (int k = 0; k < 4; k++)
			call_judge(call, v[i[k]]);
		check_verdict(call_verdict(call), want);
		rcu_read_end();
	}
	ck_assert_uint_eq(n, 24);
}

START_TEST(order_of_verdicts_does_not_matter)
{
	const struct call_verdict mixed[] = { verdict(2, 4, true), verdict(2, 1, false),
					      verdict(2, CALL_NO_RULE, false),
					      verdict(2, 9, true) };
	const struct call_verdict invites[] = { verdict(2, 4, true), verdict(3, 1, true),
						verdict(2, 6, true), verdict(4, 0, true) };
	const struct call_verdict others[] = { verdict(2, 0, false), verdict(3, 5, false),
					       verdict(3, 6, false), verdict(1, 0, false) };

	start(1000);
	if (_i == 0)
		check_all_orders(mixed, verdict(2, 1, true));
	else if (_i == 1)
		check_all_orders(invites, verdict(2, 4, true));
	else
		check_all_orders(others, verdict(3, 5, false));
	finish();
}
END_TEST

/* ---- legs ---- */

START_TEST(leg_that_was_set_first_stays)
{
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "b", 1);
	check_text(call_aleg(call), "");
	ck_assert_int_eq(call_set_aleg(call, view_of("")), HT_OK);
	check_text(call_aleg(call), "");
	ck_assert_int_eq(call_set_aleg(call, view_of("a")), 1);
	ck_assert_int_eq(call_set_aleg(call, view_of("other")), HT_OK);
	ck_assert_int_eq(call_set_correlation(call, view_of("icid-1")), 1);
	check_text(call_aleg(call), "a");
	check_text(call_correlation(call), "icid-1");
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(leg_that_is_too_long_is_refused_not_cut)
{
	char text[CALL_TEXT + 2];
	struct call *call;

	memset(text, 'c', sizeof(text));
	text[CALL_TEXT + 1] = '\0';
	start(10);
	rcu_read_begin();
	call = get(0, "b", 1);
	ck_assert_int_eq(call_set_aleg(call, view_of(text)), HT_EFULL);
	check_text(call_aleg(call), "");
	ck_assert_int_eq(call_set_correlation(call, view_of(text + CALL_TEXT - CALL_CORRELATION)),
			 HT_EFULL);
	text[CALL_TEXT] = '\0';
	ck_assert_int_eq(call_set_aleg(call, view_of(text)), 1);
	check_text(call_aleg(call), text);
	ck_assert_int_eq(call_set_correlation(call, view_of(text + CALL_TEXT - CALL_CORRELATION)),
			 1);
	ck_assert_uint_eq(call_correlation(call).len, CALL_CORRELATION);
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(record_begins_with_the_leg_before)
{
	struct call *call;

	start(10);
	rcu_read_begin();
	call = calls_get_with_aleg(rcu_table_thread(calls, 0), calls_hash(calls, view_of("v")),
				   view_of("v"), view_of("a"), 1);
	check_text(call_aleg(call), "a");
	ck_assert_ptr_eq(calls_get_with_aleg(rcu_table_thread(calls, 0),
					     calls_hash(calls, view_of("v")), view_of("v"),
					     view_of("b"), 1),
			 call);
	check_text(call_aleg(call), "a");
	ck_assert_int_eq(call_set_aleg(call, view_of("b")), HT_OK);
	check_text(call_aleg(call), "a");
	rcu_read_end();
	finish();
}
END_TEST

/* A record that is used again begins anew. */
START_TEST(nothing_of_an_earlier_call_is_left)
{
	struct sip bye = { .method = view_of("BYE") };
	char name[16];

	start(64);
	for (unsigned n = 0; n < 2000; n++) {
		struct call_summary s;
		struct call *call;

		snprintf(name, sizeof(name), "%u", n);
		rcu_read_begin();
		call = get(0, name, n);
		ck_assert_ptr_nonnull(call);
		s = call_summary(call);
		ck_assert_uint_eq(s.first_us | s.last_us | s.end_us | s.setup_us, 0);
		ck_assert_uint_eq(call_verdict(call).generation, 0);
		check_text(call_aleg(call), "");
		check_text(call_correlation(call), "");
		ck_assert_uint_eq(call_note(call, &bye, 5), 1U << CALL_ENDED);
		call_judge(call, verdict(1, 1, true));
		ck_assert(!call_is_joined(call));
		call_set_joined(call);
		ck_assert(call_is_joined(call));
		ck_assert_int_eq(call_set_aleg(call, view_of(name)), 1);
		ck_assert_int_eq(call_set_correlation(call, view_of(name)), 1);
		rcu_read_end();
		urcu_memb_barrier();
	}
	ck_assert_uint_gt(rcu_table_sums(calls).evicted, 1000);
	finish();
}
END_TEST

/* ---- timing ---- */

static struct sip request(const char *method, const char *to_tag)
{
	return (struct sip){ .method = view_of(method),
			     .cseq_method = view_of(method),
			     .to = { .tag = view_of(to_tag) } };
}

static struct sip reply(uint32_t status, const char *method)
{
	return (struct sip){ .is_reply = true, .status = status, .cseq_method = view_of(method) };
}

static unsigned note(struct call *call, struct sip sip, uint64_t ts_us)
{
	return call_note(call, &sip, ts_us);
}

START_TEST(answered_call_has_its_times)
{
	struct call_summary s;
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "a", 1);
	ck_assert_uint_eq(note(call, request("INVITE", ""), 1000), 1U << CALL_SETUP);
	ck_assert_uint_eq(note(call, reply(407, "INVITE"), 1100), 0);
	ck_assert_int_eq(call_summary(call).state, CALL_SETUP);
	ck_assert_uint_eq(note(call, request("ACK", "t"), 1200), 0);
	ck_assert_uint_eq(note(call, request("INVITE", ""), 1300), 0);
	ck_assert_uint_eq(note(call, reply(100, "INVITE"), 1400), 0);
	ck_assert_uint_eq(note(call, reply(180, "INVITE"), 1500), 0);
	ck_assert_uint_eq(note(call, reply(183, "INVITE"), 1600), 0);
	ck_assert_uint_eq(note(call, reply(200, "PRACK"), 1700), 0);
	ck_assert_int_eq(call_summary(call).state, CALL_SETUP);
	ck_assert_uint_eq(note(call, reply(200, "INVITE"), 2000), 1U << CALL_ANSWERED);
	ck_assert_uint_eq(note(call, request("INVITE", "t"), 3000), 0);
	ck_assert_uint_eq(note(call, reply(488, "INVITE"), 3100), 0);
	ck_assert_int_eq(call_summary(call).state, CALL_ANSWERED);
	ck_assert_uint_eq(note(call, request("BYE", "t"), 9000), 1U << CALL_ENDED);
	ck_assert_uint_eq(note(call, request("BYE", "t"), 9500), 0);
	ck_assert_uint_eq(note(call, reply(200, "BYE"), 9600), 0);
	s = call_summary(call);
	rcu_read_end();
	ck_assert_int_eq(s.state, CALL_ENDED);
	ck_assert_uint_eq(s.first_us, 1000);
	ck_assert_uint_eq(s.setup_us, 1000);
	ck_assert_uint_eq(s.ring_us, 1500);
	ck_assert_uint_eq(s.dial_delay_us, 500);
	ck_assert_uint_eq(s.answer_us, 2000);
	ck_assert_uint_eq(s.end_us, 9000);
	ck_assert_uint_eq(s.last_us, 9600);
	ck_assert_uint_eq(s.fail_class, 0);
	finish();
}
END_TEST

START_TEST(failed_call_has_its_class)
{
	static const uint32_t status[] = { 302, 404, 486, 487, 503, 603 };
	struct call_summary s;
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "a", 1);
	note(call, request("INVITE", ""), 1000);
	ck_assert_uint_eq(note(call, reply(status[_i], "INVITE"), 2000), 1U << CALL_FAILED);
	ck_assert_uint_eq(note(call, request("ACK", "t"), 2100), 0);
	s = call_summary(call);
	ck_assert_int_eq(s.state, CALL_FAILED);
	ck_assert_uint_eq(s.fail_status, status[_i]);
	ck_assert_uint_eq(s.fail_class, status[_i] / 100);
	ck_assert_uint_eq(s.fail_us, 2000);
	/* another branch answers */
	ck_assert_uint_eq(note(call, reply(200, "INVITE"), 3000), 1U << CALL_ANSWERED);
	s = call_summary(call);
	ck_assert_int_eq(s.state, CALL_ANSWERED);
	ck_assert_uint_eq(s.fail_class, 0);
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(other_methods_are_no_call)
{
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "a", 1);
	ck_assert_uint_eq(note(call, request("SUBSCRIBE", ""), 1000), 0);
	ck_assert_uint_eq(note(call, reply(489, "SUBSCRIBE"), 1001), 0);
	ck_assert_uint_eq(note(call, reply(UINT32_MAX, "INVITE"), 1002), 0);
	ck_assert_uint_eq(note(call, request("INVITE", "t"), 1003), 0); /* begun before we looked */
	ck_assert_int_eq(call_summary(call).state, CALL_NONE);
	rcu_read_end();
	finish();
}
END_TEST

START_TEST(records_expire_by_state)
{
	static const struct {
		uint32_t status, stays_ms;
	} at[] = { { 0, CALL_SETUP_MS }, { 200, CALL_ANSWERED_MS }, { 404, CALL_OVER_MS } };
	struct call *call;

	start(10);
	rcu_read_begin();
	call = get(0, "a", 1000);
	note(call, request("INVITE", ""), 1000);
	if (at[_i].status)
		note(call, reply(at[_i].status, "INVITE"), 2000);
	rcu_read_end();
	(void)rcu_table_sweep(rcu_table_thread(calls, 1), 1000 + at[_i].stays_ms - 1, 1000);
	rcu_read_begin();
	ck_assert_ptr_nonnull(find(view_of("a"), 2000)); /* and from now on */
	rcu_read_end();
	(void)rcu_table_sweep(rcu_table_thread(calls, 1), 2000 + at[_i].stays_ms - 1, 1000);
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 1);
	(void)rcu_table_sweep(rcu_table_thread(calls, 1), 2000 + at[_i].stays_ms, 1000);
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 0);
	finish();
}
END_TEST

/* ---- several threads ---- */

#define MESSAGES 8
#define CALLS	 300

/* The messages of one call; each thread sees all of them in an order of its own. */
static void messages_of(struct sip sip[MESSAGES], uint64_t ts_us[MESSAGES], unsigned n)
{
	struct random r = random_from(n);

	sip[0] = request("INVITE", "");
	sip[1] = reply(100, "INVITE");
	sip[2] = reply(180, "INVITE");
	sip[3] = reply(n % 3 == 0 ? 486 : 200, "INVITE");
	sip[4] = request("ACK", "t");
	sip[5] = n % 3 == 1 ? request("BYE", "t") : request("INFO", "t");
	sip[6] = reply(503, "INVITE"); /* of another branch */
	sip[7] = reply(183, "INVITE");
	for (int i = 0; i < MESSAGES; i++)
		ts_us[i] = 1000000 + random_below(&r, 1000000);
}

struct watcher {
	pthread_t thread;
	unsigned i;
	pthread_barrier_t *begin;
	unsigned news[CALL_FAILED + 1];
	unsigned bad_texts;
};

static void shuffle(unsigned order[MESSAGES], struct random *r)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		order[i] = i;
	for (unsigned i = MESSAGES - 1; i > 0; i--) {
		unsigned k = (unsigned)random_below(r, i + 1), keep = order[i];

		order[i] = order[k];
		order[k] = keep;
	}
}

/* Texts of which all octets are the same letter: half of one and half of another would show. */
static bool is_whole(struct view v)
{
	for (uint32_t i = 1; i < v.len; i++)
		if (v.at[i] != v.at[0])
			return false;
	return v.len == 0 || v.len == 60 + (uint32_t)(v.at[0] - 'A');
}

static void watch_one(struct watcher *w, unsigned n, struct random *r)
{
	struct sip sip[MESSAGES];
	uint64_t ts_us[MESSAGES];
	unsigned order[MESSAGES];
	char name[16], leg[80];
	struct call *call;

	messages_of(sip, ts_us, n);
	shuffle(order, r);
	snprintf(name, sizeof(name), "call-%u", n);
	memset(leg, 'A' + (int)w->i, sizeof(leg));
	leg[60 + w->i] = '\0';
	rcu_read_begin();
	call = get(w->i, name, 1);
	for (unsigned i = 0; call && i < MESSAGES; i++) {
		unsigned news = call_note(call, &sip[order[i]], ts_us[order[i]]);

		for (unsigned s = CALL_SETUP; s <= CALL_FAILED; s++)
			w->news[s] += news >> s & 1;
		w->bad_texts += !is_whole(call_aleg(call));
		call_judge(call, verdict(1, (uint32_t)(n * 7 + w->i * 3 + order[i]) % 50, i == 0));
		(void)call_set_aleg(call, view_of(leg));
		w->bad_texts += !is_whole(call_aleg(call));
	}
	rcu_read_end();
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct random r = random_from(w->i + 100);

	rcu_thread_begin();
	pthread_barrier_wait(w->begin);
	for (unsigned n = 0; n < CALLS; n++)
		watch_one(w, n, &r);
	rcu_thread_end();
	return NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The reference: from the messages, with no regard to any order. */
static void check_call(unsigned n)
{
	struct sip sip[MESSAGES];
	uint64_t ts[MESSAGES], first = UINT64_MAX, last = 0;
	uint32_t rule = UINT32_MAX;
	bool is_failed = n % 3 == 0;
	struct call_summary s;
	struct call *call;
	char name[16];

	messages_of(sip, ts, n);
	for (int i = 0; i < MESSAGES; i++) {
		first = least(first, ts[i]);
		last = ts[i] > last ? ts[i] : last;
		for (unsigned t = 0; t < THREADS; t++)
			rule = (uint32_t)least(rule, (n * 7 + t * 3 + (unsigned)i) % 50);
	}
	snprintf(name, sizeof(name), "call-%u", n);
	rcu_read_begin();
	call = find(view_of(name), 1);
	ck_assert_ptr_nonnull(call);
	s = call_summary(call);
	check_verdict(call_verdict(call), verdict(1, rule, true));
	ck_assert_uint_ge(call_aleg(call).len, 60);
	rcu_read_end();
	ck_assert_uint_eq(s.first_us, first);
	ck_assert_uint_eq(s.last_us, last);
	ck_assert_uint_eq(s.setup_us, ts[0]);
	ck_assert_uint_eq(s.ring_us, least(ts[2], ts[7]));
	ck_assert_uint_eq(s.answer_us, is_failed ? 0 : ts[3]);
	ck_assert_uint_eq(s.end_us, n % 3 == 1 ? ts[5] : 0);
	ck_assert_uint_eq(s.fail_us, is_failed && ts[3] > ts[6] ? ts[3] : ts[6]);
	ck_assert_int_eq(s.state, is_failed    ? CALL_FAILED
				  : n % 3 == 1 ? CALL_ENDED
					       : CALL_ANSWERED);
}

START_TEST(order_of_threads_does_not_matter)
{
	static pthread_barrier_t begin;
	struct watcher w[THREADS] = { 0 };
	unsigned setups = 0, answers = 0, ends = 0;

	start(2 * CALLS);
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].i = i;
		w[i].begin = &begin;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, watch, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		setups += w[i].news[CALL_SETUP];
		answers += w[i].news[CALL_ANSWERED];
		ends += w[i].news[CALL_ENDED];
		ck_assert_uint_eq(w[i].bad_texts, 0);
	}
	for (unsigned n = 0; n < CALLS; n++)
		check_call(n);
	ck_assert_uint_eq(setups, CALLS);
	ck_assert_uint_eq(answers, CALLS - CALLS / 3);
	ck_assert_uint_eq(ends, CALLS / 3);
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("calls");
	TCase *t = tcase_create("calls");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, record_is_found_by_its_call_id);
	tcase_add_test(t, long_call_ids_are_told_apart);
	tcase_add_test(t, chosen_call_ids_do_not_make_a_long_chain);
	tcase_add_test(t, memory_is_bounded_by_the_number_of_entries);
	tcase_add_test(t, record_begins_without_a_verdict);
	tcase_add_test(t, lowest_rule_stands_and_takes_its_action_along);
	tcase_add_test(t, verdict_of_an_invite_outlives_a_reload_and_others_do_not);
	tcase_add_loop_test(t, order_of_verdicts_does_not_matter, 0, 3);
	tcase_add_test(t, leg_that_was_set_first_stays);
	tcase_add_test(t, record_begins_with_the_leg_before);
	tcase_add_test(t, leg_that_is_too_long_is_refused_not_cut);
	tcase_add_test(t, nothing_of_an_earlier_call_is_left);
	tcase_add_test(t, answered_call_has_its_times);
	tcase_add_loop_test(t, failed_call_has_its_class, 0, 6);
	tcase_add_test(t, other_methods_are_no_call);
	tcase_add_loop_test(t, records_expire_by_state, 0, 3);
	tcase_add_test(t, order_of_threads_does_not_matter);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
