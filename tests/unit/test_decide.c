/*
 * capture/decide.c over real tables: which messages of a call are stored, before and after reloads,
 * by one thread and by two; what is counted of calls; which call a report is of.
 */
#include "capture/decide.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/snapshot.h"
#include "capture/tables.h"
#include "conf/conf.h"
#include "conf/rules.h"
#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/calls.h"
#include "storage/seen.h"
#include "web-sql/stats.h"

#define THREADS 2
#define SMALL	"tables: { calls: 1024, media: 1024, seen: 1024 }\n"

/* What a server has for its receive threads. */
static struct {
	struct conf *conf;
	struct rules *rules;
	struct snapshot *snapshot, *former[32];
	unsigned formers;
	struct tables *tables;
	struct decider *decider[THREADS];
	uint64_t mono_us;
} rig;

static struct conf *conf_of(const char *yaml)
{
	struct conf *conf;

	ck_assert_int_eq(conf_read_bytes("t", yaml, strlen(yaml), &conf, stderr), HT_OK);
	return conf;
}

static void start(const char *yaml)
{
	rcu_thread_begin();
	memset(&rig, 0, sizeof(rig));
	rig.mono_us = 1000000;
	rig.conf = conf_of(yaml);
	ck_assert_int_eq(rules_new(&rig.rules), HT_OK);
	ck_assert_int_eq(snapshot_new(&rig.snapshot, rig.conf, NULL, rig.rules), HT_OK);
	ck_assert_int_eq(tables_new(&rig.tables, rig.conf, THREADS), HT_OK);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(decider_new(&rig.decider[i], tables_of(rig.tables), i), HT_OK);
}

/* The former snapshot stays, for a thread that is late. */
static void reload(const char *yaml)
{
	ck_assert_uint_lt(rig.formers, 32);
	rig.former[rig.formers++] = rig.snapshot;
	ck_assert_int_eq(snapshot_new(&rig.snapshot, rig.conf, conf_of(yaml), rig.rules), HT_OK);
}

static void finish(void)
{
	for (unsigned i = 0; i < THREADS; i++)
		decider_free(rig.decider[i]);
	tables_free(rig.tables);
	snapshot_free(rig.snapshot);
	while (rig.formers)
		snapshot_free(rig.former[--rig.formers]);
	rules_free(rig.rules);
	conf_free(rig.conf);
	rcu_thread_end();
}

static struct stats_decisions counted(unsigned thread)
{
	struct stats_decisions d;

	decider_tell(rig.decider[thread], &d);
	return d;
}

/* The number that a rule has; 0 if it has none. */
static unsigned number_of(const char *rule)
{
	for (unsigned i = 0; i < rules_count(rig.rules); i++)
		if (strcmp(rules_name(rig.rules, i), rule) == 0)
			return i;
	return RULES_DEFAULT;
}

static uint64_t hits_of(const char *rule)
{
	return counter_get(&counted(0).hits[number_of(rule)]) +
	       counter_get(&counted(1).hits[number_of(rule)]);
}

static uint64_t filtered_of(const char *rule)
{
	return counter_get(&counted(0).filtered[number_of(rule)]) +
	       counter_get(&counted(1).filtered[number_of(rule)]);
}

/* ---- messages ---- */

/* Here and in judge() nothing of check is used: what it writes down would put threads in order. */
static struct addr addr_of(const char *ip, uint16_t port)
{
	struct addr a = { .family = FAMILY_IPV4, .port = port };

	if (inet_pton(AF_INET, ip, a.ip) != 1)
		abort();
	return a;
}

struct judged {
	bool is_stored, has_record;
	unsigned state;
	char table[16];
};

/* As capture/worker.c does it with what is no copy. */
static struct judged judge(unsigned thread, const struct snapshot *snapshot, const char *text)
{
	struct msg m = { .payload = view_of(text),
			 .type = HEP_TYPE_SIP,
			 .ip_proto = PROTO_UDP,
			 .src = addr_of("192.0.2.1", 5060),
			 .dst = addr_of("192.0.2.2", 5060),
			 .ts_us = rig.mono_us };
	struct decide_input in = {
		.snapshot = snapshot, .msg = &m, .source = view_of("agents"), .mono_us = rig.mono_us
	};
	struct decision decision;
	struct judged j;
	struct sip s;

	if (sip_parse(m.payload, &snapshot->names, &s) < 0)
		abort();
	in.sip = &s;
	rcu_read_begin();
	decide(rig.decider[thread], &in, &decision);
	decide_note(rig.decider[thread], &in, &decision);
	j = (struct judged){ .is_stored = decision.is_stored, .has_record = decision.call };
	snprintf(j.table, sizeof(j.table), "%.*s", (int)decision.table.len,
		 (const char *)decision.table.at);
	if (decision.call)
		j.state = call_summary(decision.call).state;
	rcu_read_end();
	return j;
}

static const char *message(const char *start, const char *callid, const char *cseq, bool has_tag)
{
	static _Thread_local char text[2048];

	snprintf(text, sizeof(text),
		 "%s\r\nFrom: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>%s\r\n"
		 "Call-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
		 start, has_tag ? ";tag=2" : "", callid, cseq);
	return text;
}

static const char *request(const char *method, const char *to, const char *callid, bool has_tag)
{
	char start_line[256], cseq[64];

	snprintf(start_line, sizeof(start_line), "%s sip:%s@b.example SIP/2.0", method, to);
	snprintf(cseq, sizeof(cseq), "1 %s", method);
	return message(start_line, callid, cseq, has_tag);
}

static const char *reply(unsigned status, const char *method, const char *callid)
{
	char start_line[64], cseq[64];

	snprintf(start_line, sizeof(start_line), "SIP/2.0 %u X", status);
	snprintf(cseq, sizeof(cseq), "1 %s", method);
	return message(start_line, callid, cseq, status > 100);
}

static bool begins(const char *method, const char *to, const char *callid)
{
	return judge(0, rig.snapshot, request(method, to, callid, false)).is_stored;
}

static bool goes_on(const char *method, const char *callid)
{
	return judge(0, rig.snapshot, request(method, "x", callid, true)).is_stored;
}

static bool answers(unsigned status, const char *method, const char *callid)
{
	return judge(0, rig.snapshot, reply(status, method, callid)).is_stored;
}

/* ---- dialogs ---- */

#define TRUNK "{ name: trunk, when: 'ruri.user =~ \"^8\"', action: store }"

START_TEST(chosen_call_is_stored_with_all_that_is_in_it)
{
	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(!goes_on("BYE", "a")); /* nothing is known of it yet */
	ck_assert(!answers(180, "INVITE", "a"));
	ck_assert(begins("INVITE", "81", "a"));
	ck_assert(!begins("INVITE", "71", "b"));
	ck_assert(answers(180, "INVITE", "a") && !answers(180, "INVITE", "b"));
	ck_assert(goes_on("BYE", "a") && !goes_on("BYE", "b"));
	ck_assert(answers(200, "BYE", "a"));
	ck_assert(!goes_on("BYE", "never-begun"));
	ck_assert_uint_eq(hits_of("trunk"), 4);
	ck_assert_uint_eq(filtered_of("trunk"), 0);
	ck_assert_uint_eq(hits_of("default_action"), 6);
	ck_assert_uint_eq(filtered_of("default_action"), 6);
	finish();
}
END_TEST

/* Hops rewrite the Request-URI; threads may see them in any order. */
START_TEST(lowest_rule_of_all_hops_counts)
{
	start(SMALL "filters:\n- { name: first, when: 'ruri.user == \"first\"', action: store }\n"
		    "- { name: second, when: 'ruri.user == \"second\"', action: drop }\n");
	for (int order = 0; order < 2; order++) {
		const char *id = order ? "forth" : "back";

		ck_assert_int_eq(begins("INVITE", order ? "first" : "second", id), order);
		ck_assert_int_eq(begins("INVITE", order ? "second" : "first", id), !order);
		ck_assert(answers(180, "INVITE", id) && goes_on("BYE", id));
	}
	ck_assert_uint_eq(hits_of("first"), 2 + 4);
	ck_assert_uint_eq(hits_of("second"), 2);
	finish();
}
END_TEST

START_TEST(options_and_registrations_make_no_record)
{
	static const char *const methods[] = { "OPTIONS", "REGISTER" };

	start(SMALL "filters: [{ name: all, when: 'from.user == \"a\"', action: store }]\n"
		    "default_action: drop\n");
	for (unsigned i = 0; i < 2; i++) {
		struct judged j = judge(0, rig.snapshot, request(methods[i], "x", "c", false));

		ck_assert(j.is_stored && !j.has_record);
		j = judge(0, rig.snapshot, reply(200, methods[i], "c"));
		ck_assert(!j.is_stored && !j.has_record);
	}
	ck_assert_uint_eq(rcu_table_sums(tables_of(rig.tables)->calls).inserted, 0);
	finish();
}
END_TEST

/* Telephones ask with OPTIONS inside of a call whether it is still there: RFC 3261 section 11. */
START_TEST(options_within_a_call_are_of_the_call)
{
	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(begins("INVITE", "81", "a"));
	ck_assert(goes_on("OPTIONS", "a") && answers(200, "OPTIONS", "a"));
	ck_assert(!goes_on("OPTIONS", "b") && !answers(200, "OPTIONS", "b"));
	ck_assert_uint_eq(rcu_table_sums(tables_of(rig.tables)->calls).inserted, 1);
	finish();
}
END_TEST

/* ---- reload ---- */

START_TEST(call_keeps_its_verdict_whatever_becomes_of_the_rule)
{
	static const char *const after[] = {
		"filters: []\ndefault_action: drop\n",
		"filters: [{ name: renamed, when: 'ruri.user =~ \"^8\"', action: drop }]\n"
		"default_action: drop\n",
		"filters: [{ name: trunk, when: 'ruri.user =~ \"^8\"', action: drop }]\n"
		"default_action: drop\n",
		"filters:\n- { name: before, when: 'from.user == \"a\"', action: drop }\n- " TRUNK
		"\ndefault_action: drop\n",
	};

	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(begins("INVITE", "81", "a") && !begins("INVITE", "71", "b"));
	reload(after[_i]);
	ck_assert(answers(200, "INVITE", "a") && goes_on("BYE", "a"));
	ck_assert(begins("INVITE", "71", "a")); /* a second hop that came late */
	ck_assert(!answers(200, "INVITE", "b") && !goes_on("BYE", "b"));
	ck_assert_uint_eq(hits_of("trunk"), 1 + 3); /* its counters go on */
	ck_assert_uint_eq(hits_of("default_action"), 1 + 2);
	ck_assert(!begins("INVITE", "81", "c") || _i == 4);
	finish();
}
END_TEST

START_TEST(dropped_call_stays_dropped)
{
	start(SMALL "filters: [{ name: no, when: 'ruri.user == \"81\"', action: drop }]\n");
	ck_assert(!begins("INVITE", "81", "a") && begins("INVITE", "82", "b"));
	reload("default_action: drop\n");
	reload("default_action: drop\n");
	ck_assert(!answers(200, "INVITE", "a") && answers(200, "INVITE", "b"));
	ck_assert_uint_eq(filtered_of("no"), 2);
	ck_assert_uint_eq(filtered_of("default_action"), 0);
	finish();
}
END_TEST

/* What a rule of scope message says of an INVITE, it says of that alone. */
START_TEST(rule_about_a_message_says_nothing_of_the_call_after_a_reload)
{
	static const char *const by_default[] = { "store", "drop" };
	static const char *const other[] = { "drop", "store" };
	char yaml[512];
	bool is_stored = _i == 0;

	snprintf(yaml, sizeof(yaml),
		 SMALL "filters: [{ name: one, when: 'is_request && method == \"INVITE\"', "
		       "action: %s }]\ndefault_action: %s\n",
		 other[_i], by_default[_i]);
	start(yaml);
	ck_assert_int_eq(begins("INVITE", "81", "a"), !is_stored);
	ck_assert_int_eq(answers(180, "INVITE", "a"), is_stored);
	snprintf(yaml, sizeof(yaml), "default_action: %s\n", other[_i]);
	reload(yaml);
	ck_assert_int_eq(answers(200, "INVITE", "a"), is_stored);
	ck_assert_int_eq(goes_on("BYE", "a"), is_stored);
	finish();
}
END_TEST

/* By a rule in front the INVITE is stored or not; the rest of its call is in the sample or is not,
 * and stays so. */
START_TEST(sampled_call_is_whole_after_a_reload)
{
	unsigned stored = 0;

	start(SMALL "filters: [{ name: one, when: 'is_request && method == \"INVITE\"', "
		    "action: store }]\ndefault_action: sample 50%\n");
	for (int n = 0; n < 200; n++) {
		char id[32];
		bool is_in;

		snprintf(id, sizeof(id), "sample-%d", n);
		ck_assert(begins("INVITE", "81", id));
		is_in = answers(180, "INVITE", id);
		stored += is_in;
		ck_assert_int_eq(answers(200, "INVITE", id), is_in);
	}
	ck_assert(stored > 60 && stored < 140);
	reload("default_action: drop\n");
	for (int n = 0; n < 200; n++) {
		char id[32];

		snprintf(id, sizeof(id), "sample-%d", n);
		stored -= goes_on("BYE", id);
	}
	ck_assert_uint_eq(stored, 0);
	finish();
}
END_TEST

START_TEST(rules_about_messages_are_tried_as_they_are_now)
{
	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(begins("INVITE", "81", "a") && !begins("INVITE", "71", "b"));
	reload("filters:\n- { name: no-trying, when: 'status == 100', action: drop }\n- " TRUNK
	       "\n- { name: byes, when: 'is_request && method == \"BYE\"', action: store }\n"
	       "default_action: drop\n");
	ck_assert(!answers(100, "INVITE", "a") && answers(180, "INVITE", "a"));
	ck_assert(goes_on("BYE", "a") && goes_on("BYE", "b") && !answers(180, "INVITE", "b"));
	ck_assert_uint_eq(hits_of("no-trying"), 1);
	ck_assert_uint_eq(hits_of("byes"), 1); /* it stands behind the rule that chose the other */
	finish();
}
END_TEST

START_TEST(rule_that_is_about_messages_now_is_tried_as_one)
{
	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(begins("INVITE", "81", "a"));
	reload("filters: [{ name: trunk, when: 'ruri.user =~ \"^8\"', action: drop, "
	       "scope: message }]\ndefault_action: drop\n");
	ck_assert(!judge(0, rig.snapshot, request("INFO", "81", "a", true)).is_stored);
	ck_assert(judge(0, rig.snapshot, request("INFO", "71", "a", true)).is_stored);
	finish();
}
END_TEST

/* It is stored whatever they say, so it does not take the place of what they let through. */
START_TEST(call_from_before_a_reload_does_not_count_for_limits)
{
	static const char *const after[] = {
		"default_action: limit 5/s\n",
		"filters: [{ name: trunk, when: 'ruri.user =~ \"^8\"', action: limit 5/s }]\n",
	};

	start(SMALL "filters: [" TRUNK "]\n");
	ck_assert(begins("INVITE", _i ? "81" : "71", "a"));
	reload(after[_i]);
	for (int n = 0; n < 100; n++)
		ck_assert(goes_on("INFO", "a"));
	for (int n = 0; n < 5; n++)
		ck_assert(begins("INVITE", "81", "b"));
	ck_assert(!begins("INVITE", "81", "b"));
	finish();
}
END_TEST

START_TEST(subscription_is_judged_anew)
{
	start(SMALL "filters: [{ name: all, when: 'from.user == \"a\"', action: store }]\n"
		    "default_action: drop\n");
	ck_assert(begins("SUBSCRIBE", "x", "s") && goes_on("NOTIFY", "s"));
	reload("filters: [{ name: all, when: 'from.user == \"a\"', action: store }]\n"
	       "default_action: drop\n");
	ck_assert(!goes_on("NOTIFY", "s")); /* it waits for its next initial request */
	ck_assert(begins("SUBSCRIBE", "x", "s") && goes_on("NOTIFY", "s"));
	reload("default_action: drop\n");
	ck_assert(!begins("SUBSCRIBE", "x", "s") && !goes_on("NOTIFY", "s"));
	finish();
}
END_TEST

/* A thread that is late judges by the rules of before the reload. */
START_TEST(late_thread_keeps_the_verdict_of_the_newer_rules)
{
	start(SMALL "default_action: drop\n");
	reload("filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(judge(0, rig.snapshot, request("INVITE", "81", "a", false)).is_stored);
	ck_assert(judge(1, rig.former[0], reply(180, "INVITE", "a")).is_stored);
	ck_assert(judge(1, rig.former[0], request("INVITE", "81", "a", false)).is_stored);
	ck_assert(judge(0, rig.snapshot, request("BYE", "x", "a", true)).is_stored);
	finish();
}
END_TEST

/* ---- many rules ---- */

static char *many_rules(unsigned from, unsigned count, const char *action)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fprintf(f, SMALL "default_action: drop\nfilters:\n");
	for (unsigned i = 0; i < count; i++)
		fprintf(f, "- { name: r%u, when: 'ruri.user == \"u%u\"', action: %s }\n", from + i,
			i, action);
	fclose(f);
	return text;
}

static void check_each_call(unsigned count, bool is_stored)
{
	for (unsigned i = 0; i < count; i++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%u", i);
		ck_assert_int_eq(answers(180, "INVITE", id), is_stored);
	}
}

/* 256 rules at a time and new names by each reload, until numbers run out and are shared. */
START_TEST(verdicts_hold_when_numbers_of_rules_run_out)
{
	char *text = many_rules(0, FILTER_MAX_RULES, "store");
	uint64_t hits = 0;

	start(text);
	free(text);
	for (unsigned i = 0; i < FILTER_MAX_RULES; i++) {
		char to[32], id[32];

		snprintf(to, sizeof(to), "u%u", i);
		snprintf(id, sizeof(id), "id-%u", i);
		ck_assert(begins("INVITE", to, id));
	}
	check_each_call(FILTER_MAX_RULES, true);
	for (unsigned n = 1; n <= 5; n++) {
		text = many_rules(n * FILTER_MAX_RULES, FILTER_MAX_RULES, "drop");
		reload(text);
		free(text);
		check_each_call(FILTER_MAX_RULES, true);
	}
	ck_assert_uint_eq(rules_count(rig.rules), RULES_MAX);
	ck_assert(!begins("INVITE", "u255", "late")); /* by a rule that shares a number */
	ck_assert_uint_eq(filtered_of("other"), 1);
	reload("default_action: store\n");
	ck_assert(!goes_on("BYE", "late"));
	check_each_call(FILTER_MAX_RULES, true);
	for (unsigned i = 0; i < FILTER_MAX_RULES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "r%u", i);
		hits += hits_of(name);
		ck_assert_uint_eq(hits_of(name), 8);
	}
	ck_assert_uint_eq(hits, 8 * FILTER_MAX_RULES);
	reload("filters: [{ name: one_more, when: 'ruri.user == \"t\"', table: apart }]\n");
	ck_assert_str_eq(judge(0, rig.snapshot, request("INVITE", "t", "routed", false)).table,
			 "apart");
	finish();
}
END_TEST

/* ---- what cannot be told ---- */

#define SLOW "'ruri.user =~ \"^(a+)+$\"'"

/* A user that SLOW gives up on. */
static const char *slow_user(void)
{
	static char to[64];

	memset(to, 'a', sizeof(to) - 2);
	to[sizeof(to) - 2] = '!';
	return to;
}

START_TEST(message_that_no_rule_can_be_told_of_is_kept)
{
	start(SMALL "filters: [{ name: slow, when: " SLOW ", action: drop }]\n"
		    "default_action: drop\n");
	ck_assert(begins("INVITE", slow_user(), "a"));
	ck_assert_uint_eq(counter_get(counted(0).unsure), 1);
	ck_assert_uint_eq(hits_of("slow"), 0);
	ck_assert(!answers(180, "INVITE", "a"));  /* no verdict on the call: the default */
	ck_assert(!begins("INVITE", "aaa", "a")); /* the next hop can be told, and counts */
	ck_assert_uint_eq(filtered_of("slow"), 1);
	ck_assert(!answers(180, "INVITE", "a"));
	ck_assert_uint_eq(filtered_of("slow"), 2);
	ck_assert(begins("INVITE", slow_user(), "b"));
	reload("default_action: store\n");
	ck_assert(!answers(200, "INVITE", "a")); /* there is a verdict to keep */
	ck_assert(answers(200, "INVITE", "b"));	 /* here is none */
	finish();
}
END_TEST

START_TEST(message_of_a_dropped_call_is_kept_if_no_rule_can_be_told_of_it)
{
	start(SMALL "default_action: drop\n");
	ck_assert(!begins("INVITE", "x", "a"));
	reload("filters: [{ name: slow, when: " SLOW ", action: drop, scope: message }]\n"
	       "default_action: drop\n");
	ck_assert(!goes_on("INFO", "a"));
	ck_assert(judge(0, rig.snapshot, request("BYE", slow_user(), "a", true)).is_stored);
	ck_assert_uint_eq(counter_get(counted(0).unsure), 1);
	finish();
}
END_TEST

/* ---- calls ---- */

static uint64_t state_count(enum call_state state)
{
	return counter_get(&counted(0).calls->state[state]) +
	       counter_get(&counted(1).calls->state[state]);
}

static void at_ms(uint64_t ms, unsigned thread, const char *text)
{
	rig.mono_us = 1000000 + ms * 1000;
	(void)judge(thread, rig.snapshot, text);
}

START_TEST(calls_are_counted_once_by_state)
{
	const struct call_counters *n;

	start(SMALL "default_action: drop\n"); /* what is not stored is counted, too */
	n = counted(0).calls;
	at_ms(0, 0, request("INVITE", "x", "a", false));
	at_ms(0, 0, request("INVITE", "y", "a", false));
	at_ms(10, 0, reply(100, "INVITE", "a"));
	at_ms(250, 0, reply(180, "INVITE", "a"));
	at_ms(400, 0, reply(183, "INVITE", "a"));
	at_ms(2000, 0, reply(200, "INVITE", "a"));
	at_ms(2001, 0, reply(200, "INVITE", "a"));
	at_ms(12000, 0, request("BYE", "x", "a", true));
	at_ms(12010, 0, reply(200, "BYE", "a"));
	at_ms(20000, 0, request("INVITE", "x", "b", false));
	at_ms(20100, 0, reply(401, "INVITE", "b")); /* asks again: no failure */
	ck_assert_uint_eq(state_count(CALL_FAILED), 0);
	at_ms(20200, 0, request("INVITE", "x", "b", false));
	at_ms(20300, 0, reply(486, "INVITE", "b"));
	at_ms(20310, 0, reply(486, "INVITE", "b"));
	at_ms(30000, 0, request("INVITE", "x", "c", false));
	at_ms(30100, 0, reply(503, "INVITE", "c"));
	ck_assert_uint_eq(state_count(CALL_SETUP), 3);
	ck_assert_uint_eq(state_count(CALL_ANSWERED), 1);
	ck_assert_uint_eq(state_count(CALL_ENDED), 1);
	ck_assert_uint_eq(state_count(CALL_FAILED), 2);
	ck_assert_uint_eq(counter_get(&n->failed[4]), 1);
	ck_assert_uint_eq(counter_get(&n->failed[5]), 1);
	ck_assert_uint_eq(counter_get(&n->dial_delays), 1);
	ck_assert_uint_eq(counter_get(&n->dial_delay_us), 250000);
	ck_assert_uint_eq(counter_get(&n->talks), 1);
	ck_assert_uint_eq(counter_get(&n->talk_us), 10000000);
	finish();
}
END_TEST

/* One branch is busy, another one answers: an answered call that counts once, and two threads. */
START_TEST(forked_call_is_answered_once)
{
	start(SMALL);
	at_ms(0, 0, request("INVITE", "x", "f", false));
	at_ms(1, 1, request("INVITE", "branch-1", "f", false));
	at_ms(1, 0, request("INVITE", "branch-2", "f", false));
	at_ms(100, 1, reply(180, "INVITE", "f"));
	at_ms(120, 0, reply(180, "INVITE", "f"));
	at_ms(500, 1, reply(200, "INVITE", "f"));
	at_ms(510, 0, reply(200, "INVITE", "f"));
	at_ms(520, 0, reply(486, "INVITE", "f")); /* the other branch, late */
	at_ms(530, 1, reply(487, "INVITE", "f"));
	ck_assert_uint_eq(state_count(CALL_SETUP), 1);
	ck_assert_uint_eq(state_count(CALL_ANSWERED), 1);
	ck_assert_uint_eq(state_count(CALL_FAILED), 0);
	ck_assert_uint_eq(counter_get(&counted(0).calls->dial_delays) +
				  counter_get(&counted(1).calls->dial_delays),
			  1);
	ck_assert_uint_eq(counter_get(&counted(1).calls->dial_delay_us), 100000);
	finish();
}
END_TEST

/* ---- reports ---- */

#define SDP                                                                      \
	"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\n" \
	"t=0 0\r\nm=audio 30000 RTP/AVP 8\r\n"

static const char *invite_with_sdp(const char *to, const char *callid)
{
	static char text[1024];

	snprintf(text, sizeof(text),
		 "INVITE sip:%s@b.example SIP/2.0\r\nFrom: <sip:a@a.example>;tag=1\r\n"
		 "To: <sip:b@b.example>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\n"
		 "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
		 to, callid, strlen(SDP), SDP);
	return text;
}

/* A report from @p ip; the Call-ID it was given goes to @p callid. */
static bool report_is_stored(const char *ip, uint16_t port, const char *correlation, char *callid)
{
	struct msg m = { .payload = view_of("{}"),
			 .type = HEP_TYPE_RTCP,
			 .ip_proto = PROTO_UDP,
			 .src = addr_of(ip, port),
			 .dst = addr_of("203.0.113.9", 9),
			 .correlation = view_of(correlation),
			 .ts_us = rig.mono_us };
	struct decide_input in = { .snapshot = rig.snapshot, .msg = &m, .mono_us = rig.mono_us };
	struct decision decision;

	rcu_read_begin();
	decide_find_call(rig.decider[0], &in);
	decide(rig.decider[0], &in, &decision);
	snprintf(callid, 64, "%.*s", (int)m.correlation.len, (const char *)m.correlation.at);
	rcu_read_end();
	return decision.is_stored;
}

START_TEST(report_follows_the_call_that_its_address_is_of)
{
	char callid[64];

	start(SMALL "filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(judge(0, rig.snapshot, invite_with_sdp("81", "a")).is_stored);
	ck_assert(report_is_stored("198.51.100.7", 30001, "", callid));
	ck_assert_str_eq(callid, "a");
	ck_assert_uint_eq(counter_get(counted(0).media_found), 1);
	ck_assert(!report_is_stored("198.51.100.7", 40001, "", callid)); /* nobody's */
	ck_assert_str_eq(callid, "");
	ck_assert(!report_is_stored("198.51.100.7", 30001, "b", callid)); /* it says itself */
	ck_assert_str_eq(callid, "b");
	ck_assert(!judge(0, rig.snapshot, invite_with_sdp("71", "c")).is_stored);
	ck_assert(!report_is_stored("198.51.100.7", 30001, "", callid)); /* the port moved on */
	ck_assert_str_eq(callid, "c");
	ck_assert_uint_eq(counter_get(counted(0).media_found), 2);
	reload("default_action: drop\n");
	ck_assert(report_is_stored("203.0.113.7", 1, "a", callid)); /* it keeps its verdict */
	finish();
}
END_TEST

/* ---- full tables ---- */

START_TEST(call_that_was_forgotten_follows_the_default)
{
	unsigned stored = 0;
	struct rcu_table_sums sums;

	start(SMALL "filters: [{ name: all, when: 'from.user == \"a\"', action: store }]\n"
		    "default_action: drop\n");
	for (int n = 0; n < 8000; n++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%d", n);
		rig.mono_us += 1000;
		ck_assert(begins("INVITE", "x", id));
	}
	sums = rcu_table_sums(tables_of(rig.tables)->calls);
	ck_assert_uint_ge(sums.inserted, 1024);
	ck_assert_uint_ge(sums.evicted + sums.refused, 8000 - 2 * 1024);
	for (int n = 0; n < 8000; n++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%d", n);
		stored += answers(200, "INVITE", id);
	}
	ck_assert_uint_eq(stored, sums.entries);
	ck_assert_uint_eq(hits_of("default_action"), 8000 - stored);
	finish();
}
END_TEST

/* ---- two threads ---- */

#define RACED 3000

struct racer {
	unsigned thread;
	pthread_barrier_t *gate;
};

/* Both judge the two hops of each call, in opposite orders. */
static void *race(void *arg)
{
	const struct racer *r = arg;

	rcu_thread_begin();
	pthread_barrier_wait(r->gate);
	for (int n = 0; n < RACED; n++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%d", n);
		(void)judge(r->thread, rig.snapshot,
			    request("INVITE", r->thread ? "second" : "first", id, false));
	}
	rcu_thread_end();
	return NULL;
}

START_TEST(order_of_threads_does_not_matter)
{
	pthread_t other;
	pthread_barrier_t gate;
	struct racer racer[2] = { { 0, &gate }, { 1, &gate } };

	start("tables: { calls: 10000 }\nfilters:\n"
	      "- { name: first, when: 'ruri.user == \"first\"', action: store }\n"
	      "- { name: second, when: 'ruri.user == \"second\"', action: drop }\n");
	ck_assert_int_eq(pthread_barrier_init(&gate, NULL, 2), 0);
	ck_assert_int_eq(pthread_create(&other, NULL, race, &racer[1]), 0);
	rcu_thread_end();
	(void)race(&racer[0]);
	pthread_join(other, NULL);
	rcu_thread_begin();
	for (int n = 0; n < RACED; n++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%d", n);
		ck_assert(answers(180, "INVITE", id));
	}
	ck_assert_uint_eq(state_count(CALL_SETUP), RACED);
	finish();
	pthread_barrier_destroy(&gate);
}
END_TEST

static const struct snapshot *late;

/* Until another thread chose the call, by a rule that was not there when this one began. */
static void *wait_by_late_rules(void *arg)
{
	(void)arg;
	rcu_thread_begin();
	while (!judge(1, late, reply(180, "INVITE", "a")).is_stored)
		;
	rcu_thread_end();
	return NULL;
}

/* The record is older than the rule. With ThreadSanitizer it shows that a verdict brings along what
 * its rule is called. */
START_TEST(late_thread_meets_a_rule_that_is_new)
{
	pthread_t other;

	start(SMALL "filters: [{ name: subscriptions, when: 'method == \"SUBSCRIBE\"', "
		    "action: drop }]\ndefault_action: drop\n");
	ck_assert(!begins("SUBSCRIBE", "x", "a"));
	late = rig.snapshot;
	ck_assert_int_eq(pthread_create(&other, NULL, wait_by_late_rules, NULL), 0);
	while (counter_get(&counted(1).hits[number_of("subscriptions")]) == 0)
		;
	reload("filters: [" TRUNK "]\ndefault_action: drop\n");
	ck_assert(begins("INVITE", "81", "a"));
	rcu_thread_end();
	pthread_join(other, NULL);
	rcu_thread_begin();
	ck_assert_uint_eq(counter_get(&counted(1).hits[number_of("trunk")]), 1);
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("decide");
	TCase *t = tcase_create("decide");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, chosen_call_is_stored_with_all_that_is_in_it);
	tcase_add_test(t, lowest_rule_of_all_hops_counts);
	tcase_add_test(t, options_and_registrations_make_no_record);
	tcase_add_test(t, options_within_a_call_are_of_the_call);
	tcase_add_loop_test(t, call_keeps_its_verdict_whatever_becomes_of_the_rule, 0, 4);
	tcase_add_test(t, dropped_call_stays_dropped);
	tcase_add_loop_test(t, rule_about_a_message_says_nothing_of_the_call_after_a_reload, 0, 2);
	tcase_add_test(t, sampled_call_is_whole_after_a_reload);
	tcase_add_test(t, rules_about_messages_are_tried_as_they_are_now);
	tcase_add_test(t, rule_that_is_about_messages_now_is_tried_as_one);
	tcase_add_loop_test(t, call_from_before_a_reload_does_not_count_for_limits, 0, 2);
	tcase_add_test(t, subscription_is_judged_anew);
	tcase_add_test(t, late_thread_keeps_the_verdict_of_the_newer_rules);
	tcase_add_test(t, verdicts_hold_when_numbers_of_rules_run_out);
	tcase_add_test(t, message_that_no_rule_can_be_told_of_is_kept);
	tcase_add_test(t, message_of_a_dropped_call_is_kept_if_no_rule_can_be_told_of_it);
	tcase_add_test(t, calls_are_counted_once_by_state);
	tcase_add_test(t, forked_call_is_answered_once);
	tcase_add_test(t, report_follows_the_call_that_its_address_is_of);
	tcase_add_test(t, call_that_was_forgotten_follows_the_default);
	tcase_add_test(t, order_of_threads_does_not_matter);
	tcase_add_test(t, late_thread_meets_a_rule_that_is_new);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
