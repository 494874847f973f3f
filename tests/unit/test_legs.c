/*
 * capture/legs.c and capture/join.c: what headers of the RFCs and hostile ones say, and legs in
 * every order of their messages, in chains, in rings and from several threads at once.
 */
#include "capture/legs.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/join.h"
#include "conf/filter_regex.h"
#include "conf/log.h"
#include "storage/calls.h"
#include "tests/unit/random.h"

#define THREADS	    4
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

#define UUID_A "ab30317f1a784dc48ff824d0d3715d86"
#define UUID_B "47755a9de7794ba387653f2099600ef2"
#define NIL    "00000000000000000000000000000000"

static struct conf *conf;
static struct sip_names names;
static struct legs legs;

static void legs_make(const char *entries)
{
	char yaml[2048];

	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	snprintf(yaml, sizeof(yaml), "legs: [%s]\n", entries);
	ck_assert_int_eq(conf_read_bytes("t", yaml, strlen(yaml), &conf, stderr), HT_OK);
	names = (struct sip_names){ 0 };
	ck_assert_int_eq(legs_init(&legs, &conf->legs, &names), HT_OK);
}

static void legs_unmake(void)
{
	legs_fini(&legs);
	conf_free(conf);
}

static void parse(char *text, size_t size, const char *method, const char *callid,
		  const char *headers, struct sip *out)
{
	int len = snprintf(text, size,
			   "%s sip:b@b.example SIP/2.0\r\nTo: <sip:b@b.example>\r\n%s: %s\r\n"
			   "CSeq: 1 %s\r\n%s\r\n",
			   method, callid[0] == 's' ? "i" : "Call-ID", callid, method, headers);

	ck_assert(len > 0 && (size_t)len < size);
	ck_assert_int_eq(sip_parse((struct view){ (uint8_t *)text, (uint32_t)len }, &names, out),
			 HT_OK);
}

/* ---- what one header says ---- */

#define ICID_1 "AyretyU0dm+6O2IrT5tAFrbHLso=023551024"

/* `says`: the values, a bar between them; "!" a limit */
static const struct {
	const char *entry, *headers, *says;
} headers[] = {
	{ "X-CID", "X-CID: a84b4c76e66710@pc33.atlanta.example.com\r\n",
	  "a84b4c76e66710@pc33.atlanta.example.com" },
	{ "X-CID", "x-cid:   a@b \t\r\n", "a@b" },
	{ "X-CID", "X-CID:\r\n  a@b\r\n", "a@b" },
	{ "X-CID", "X-CID:\r\n", "" },
	{ "X-CID", "X-CIDs: a\r\n", "" },
	{ "X-CID", "X-CID: a\r\nX-CID: b\r\n", "a" },

	/* RFC 7989 section 10: the first INVITE, its reply, and requests of either end */
	{ "Session-ID", "Session-ID: " UUID_A "; remote=" NIL "\r\n", UUID_A },
	{ "Session-ID", "Session-ID: " UUID_B ";remote=" UUID_A "\r\n", UUID_B "|" UUID_A },
	{ "session-id", "SESSION-ID: " UUID_A " ; logme ;REMOTE = " UUID_B "\r\n",
	  UUID_A "|" UUID_B },
	/* RFC 7329, before it */
	{ "Session-ID", "Session-ID: 0123456789abcdef123456789abcdef0\r\n",
	  "0123456789abcdef123456789abcdef0" },
	{ "Session-ID", "Session-ID: " NIL ";remote=" UUID_A "\r\n", UUID_A },
	{ "Session-ID", "Session-ID: " NIL ";remote=" NIL "\r\n", "" },
	{ "Session-ID", "Session-ID: " UUID_A "0;remote=x\r\n", "" },
	{ "Session-ID", "Session-ID: ab30317f-1a78-4dc4-8ff8-24d0d3715d86\r\n", "" },
	{ "Session-ID", "Session-ID: g0000000000000000000000000000001\r\n", "" },
	{ "Session-ID", "Session-ID: ;remote=\r\n", "" },
	{ "Session-ID", "Session-ID: ;;;;;;;;\r\n", "" },
	{ "Session-ID", "Session-ID: x;remotes=" UUID_A ";xremote=" UUID_B "\r\n", "" },
	{ "Session-ID", "Session-ID: " UUID_A ";x=\";remote=" UUID_B "\r\n", UUID_A },
	{ "Session-ID", "Session-ID: " UUID_A ";remote=" UUID_B ";remote=" UUID_A "\r\n",
	  UUID_A "|" UUID_B },
	{ "shared Session-ID", "Session-ID: " UUID_A ";remote=" NIL "\r\n", UUID_A },

	/* RFC 7315 section 5.6 and the signalling flows of 3GPP TS 24.228 */
	{ "P-Charging-Vector",
	  "P-Charging-Vector: icid-value=1234bc9876e; icid-generated-at=192.0.6.8; "
	  "orig-ioi=home1.net\r\n",
	  "1234bc9876e" },
	{ "P-Charging-Vector",
	  "P-Charging-Vector: icid-value=\"" ICID_1 "\"; orig-ioi=home1.net\r\n", ICID_1 },
	{ "P-Charging-Vector",
	  "p-charging-vector: orig-ioi=\"a;icid-value=no\" ;ICID-Value =  1 ; term-ioi=x\r\n",
	  "1" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\"a;b\\\";c\";d=e\r\n", "a;b\\\";c" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\"open;d=e\r\n", "\"open;d=e" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\"\\\r\n", "\"\\" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\"\"\r\n", "" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\"\r\n", "\"" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=\r\n", "" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value\r\n", "" },
	{ "P-Charging-Vector", "P-Charging-Vector: =a;;=;icid-values=b\r\n", "" },
	{ "P-Charging-Vector", "P-Charging-Vector: icid-value=;icid-value=b\r\n", "b" },

	{ "'X-Corr =~ \"^leg=([^;]+)\"'", "X-Corr: leg=a@b;x\r\n", "a@b" },
	{ "'X-Corr =~ \"^leg=([^;]+)\"'", "X-Corr: leg=;x\r\n", "" },
	{ "'X-Corr =~ \"^leg=([^;]*)\"'", "X-Corr: leg=;x\r\n", "" },
	{ "'X-Corr =~ \"[0-9]+\"'", "X-Corr: ab12cd34\r\n", "12" },
	{ "'X-Corr =~ \"a(x)?b\"'", "X-Corr: zabz\r\n", "ab" },
	{ "'X-Corr =~ \"a|(b)(c)(d)\"'", "X-Corr: bcd\r\n", "b" },
	{ "'X-Corr =~ \"a|(b)(c)(d)\"'", "X-Corr: za\r\n", "a" },
	{ "'X-Corr =~ \"ab\\Kcd\"'", "X-Corr: abcd\r\n", "cd" },
	{ "'X-Corr =~ \"ab\\K\"'", "X-Corr: abcd\r\n", "" },
	{ "'X-Corr =~ \"x*\"'", "X-Corr: abcd\r\n", "" },
	{ "'X-Corr =~ \"^(a|aa)+$\"'",
	  "X-Corr: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\r\n", "!" },
	{ "'Session-ID =~ \"remote=([0-9a-f]+)\"'", "Session-ID: x;remote=77\r\n", "77" },
	{ "'Call-ID =~ \"^(.+)_b2b-[0-9]+$\"'", "Call-ID: no\r\n", "own@x" },
	{ "'call-id =~ \"^(.+)_b2c\"'", "", "" },
};

START_TEST(header_says_what_it_says)
{
	struct view value[LEGS_VALUES];
	struct filter_matcher *matcher;
	char text[2048], said[512] = "", *end = said;
	struct sip sip;
	int count;

	legs_make(headers[_i].entry);
	ck_assert_int_eq(filter_matcher_new(&matcher), HT_OK);
	parse(text, sizeof(text), "INVITE", "sown@x_b2b-1", headers[_i].headers, &sip);
	sip.callid.at++; /* "own@x_b2b-1", from the short form of the header */
	sip.callid.len--;
	count = legs_read(&legs, 0, matcher, &sip, value);
	if (count < 0)
		end = stpcpy(end, "!");
	for (int i = 0; i < count; i++) {
		ck_assert_uint_gt(value[i].len, 0);
		end += sprintf(end, "%s%.*s", i ? "|" : "", (int)value[i].len,
			       (const char *)value[i].at);
	}
	ck_assert_str_eq(said, headers[_i].says);
	filter_matcher_free(matcher);
	legs_unmake();
}
END_TEST

/* Whatever octets there are, what is found lies in them. */
START_TEST(random_headers_are_read_within_their_octets)
{
	static const char octets[] = ";;==\"\"\\ \tab0icid-value=\"remote=" UUID_A "\r\n";
	struct random r = random_from(7);
	struct filter_matcher *matcher;
	unsigned found = 0;

	legs_make("Session-ID, P-Charging-Vector");
	ck_assert_int_eq(filter_matcher_new(&matcher), HT_OK);
	for (unsigned n = 0; n < 200000; n++) {
		uint32_t len = 0, want = (uint32_t)random_below(&r, 90);
		struct view value[LEGS_VALUES], whole;
		uint8_t *at = malloc(want ? want : 1);
		struct sip sip = { 0 };

		while (len < want) { /* pieces, so that some of them mean something */
			uint32_t from = (uint32_t)random_below(&r, sizeof(octets)),
				 piece = 1 + (uint32_t)random_below(&r, 40);

			for (; piece-- && from < sizeof(octets) && len < want; from++)
				at[len++] = (uint8_t)octets[from];
		}
		whole = (struct view){ at, len };
		sip.extra[0] = sip.extra[1] = whole;
		for (unsigned i = 0; i < 2; i++) {
			int count = legs_read(&legs, i, matcher, &sip, value);

			ck_assert_int_le(count, i ? 1 : 2);
			for (int k = 0; k < count; k++) {
				ck_assert(value[k].len && view_inside(value[k], whole));
				found++;
			}
		}
		free(at);
	}
	ck_assert_uint_gt(found, 1000);
	filter_matcher_free(matcher);
	legs_unmake();
}
END_TEST

START_TEST(keys_are_no_call_ids_and_tell_headers_apart)
{
	static const char upper[] = "AB30317F1A784DC48FF824D0D3715D86";
	uint8_t a[LEGS_KEY], b[LEGS_KEY], text[LEGS_KEY];
	uint32_t len;

	legs_make("Session-ID, shared X-One, shared X-One2, 'Shared-X'");
	len = legs_key(&legs, 0, view_of(UUID_A), a);
	ck_assert_uint_eq(len, 1 + 10 + 1 + 32);
	ck_assert_uint_eq(legs_key(&legs, 0, view_of(upper), b), len);
	ck_assert_mem_eq(a, b, len);
	ck_assert(!legs_is_callid((struct view){ a, len }));
	ck_assert(!legs_is_callid(view_of("")));
	ck_assert(legs_is_callid(view_of("a")));
	ck_assert_uint_eq(legs_key(&legs, 1, view_of("2:x"), a), 10);
	ck_assert_uint_eq(legs_key(&legs, 2, view_of(":x"), b), 10);
	ck_assert_mem_ne(a, b, 10);
	memset(text, 'x', sizeof(text));
	ck_assert_uint_gt(legs_key(&legs, 1, (struct view){ text, 256 }, a), 256);
	ck_assert_uint_eq(legs_key(&legs, 1, (struct view){ text, LEGS_KEY - 7 }, a), LEGS_KEY);
	ck_assert_uint_eq(legs_key(&legs, 1, (struct view){ text, LEGS_KEY - 6 }, a), 0);
	ck_assert_uint_eq(legs_key(&legs, 1, (struct view){ text, UINT32_MAX }, a), 0);
	legs_unmake();
}
END_TEST

/* ---- joining ---- */

static struct rcu_table *calls;
static struct joiner *joiner[THREADS];

/* What a row gets. */
struct told {
	char aleg[512], correlation[512];
};

static void start(const char *entries)
{
	rcu_thread_begin();
	legs_make(entries);
	ck_assert_int_eq(calls_new(&calls, 100000, THREADS), HT_OK);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(joiner_new(&joiner[i], rcu_table_thread(calls, i)), HT_OK);
}

static void finish(void)
{
	for (unsigned i = 0; i < THREADS; i++)
		joiner_free(joiner[i]);
	rcu_table_free(calls);
	legs_unmake();
	rcu_thread_end();
}

static void keep(char out[512], struct view v)
{
	ck_assert_uint_lt(v.len, 512);
	if (v.len)
		memcpy(out, v.at, v.len);
	out[v.len] = '\0';
}

/* As capture/decide.c does: the record that is there, then what the message says. */
static struct told say(unsigned thread, const char *method, const char *callid, const char *more)
{
	bool may = strcmp(method, "OPTIONS") != 0;
	struct join_input in = { .legs = &legs, .may_have_record = may, .now_ms = 1 };
	struct joined out = { 0 };
	struct told told;
	char text[4096];
	struct sip sip;

	parse(text, sizeof(text), method, callid, more, &sip);
	in.sip = &sip;
	rcu_read_begin();
	if (may)
		out.call = calls_find(calls, calls_hash(calls, sip.callid), sip.callid, 1);
	join(joiner[thread], &in, &out);
	keep(told.aleg, out.aleg);
	keep(told.correlation, out.correlation);
	rcu_read_end();
	return told;
}

static void check_told(struct told t, const char *aleg, const char *correlation)
{
	ck_assert_str_eq(t.aleg, aleg);
	ck_assert_str_eq(t.correlation, correlation);
}

static uint64_t count(counter *(*which)(struct leg_counters *))
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < THREADS; i++)
		sum += counter_get(which((struct leg_counters *)joiner_counters(joiner[i])));
	return sum;
}

static counter *joined_of(struct leg_counters *n)
{
	return &n->joined;
}

static counter *refused_of(struct leg_counters *n)
{
	return &n->refused;
}

static counter *unsure_of(struct leg_counters *n)
{
	return &n->unsure;
}

START_TEST(three_legs_have_the_correlation_of_the_first)
{
	start("X-CID");
	check_told(say(0, "INVITE", "a", ""), "", "");
	check_told(say(0, "INVITE", "b", "X-CID: a\r\n"), "a", "a");
	check_told(say(0, "ACK", "a", ""), "", "a");
	check_told(say(0, "INVITE", "c", "X-CID: b\r\n"), "b", "a");
	check_told(say(0, "BYE", "c", ""), "b", "a");
	check_told(say(0, "BYE", "b", ""), "a", "a");
	check_told(say(0, "BYE", "a", ""), "", "a");
	check_told(say(0, "INVITE", "other", ""), "", "");
	/* what was set first stays, and is counted once */
	check_told(say(0, "INVITE", "c", "X-CID: a\r\n"), "b", "a");
	check_told(say(0, "INVITE", "c", "X-CID: zz\r\n"), "b", "a");
	ck_assert_uint_eq(count(joined_of), 2);
	ck_assert_uint_eq(count(refused_of), 0);
	finish();
}
END_TEST

START_TEST(a_header_that_names_its_own_leg_joins_nothing)
{
	start("X-CID, 'Call-ID =~ \"^.*\"'");
	check_told(say(0, "INVITE", "a", "X-CID: a\r\n"), "", "");
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 0);
	ck_assert_uint_eq(count(refused_of), 0);
	finish();
}
END_TEST

START_TEST(legs_do_not_close_a_ring)
{
	start("X-CID");
	check_told(say(0, "INVITE", "b", "X-CID: a\r\n"), "a", "a");
	check_told(say(0, "INVITE", "a", "X-CID: b\r\n"), "", "a");
	ck_assert_uint_eq(count(refused_of), 1);
	check_told(say(0, "INVITE", "c", "X-CID: b\r\n"), "b", "a");
	check_told(say(0, "INVITE", "a", "X-CID: c\r\n"), "", "a");
	ck_assert_uint_eq(count(refused_of), 2);
	check_told(say(0, "BYE", "b", ""), "a", "a");
	finish();
}
END_TEST

/* Two threads may do so; then the least is the first. */
START_TEST(ring_that_two_threads_closed_has_one_first_leg)
{
	static const char *const id[] = { "x", "m", "y" };

	start("X-CID");
	rcu_read_begin();
	for (unsigned i = 0; i < 3; i++) {
		struct view own = view_of(id[i]);
		struct call *call =
			calls_get(rcu_table_thread(calls, 0), calls_hash(calls, own), own, 1);

		ck_assert_int_eq(call_set_aleg(call, view_of(id[(i + 1) % 3])), 1);
	}
	rcu_read_end();
	check_told(say(0, "BYE", "x", ""), "m", "m");
	check_told(say(0, "BYE", "m", ""), "", "m");
	check_told(say(0, "BYE", "y", ""), "x", "m");
	check_told(say(0, "INVITE", "z", "X-CID: x\r\n"), "x", "m");
	check_told(say(0, "INVITE", "zz", "X-CID: z\r\n"), "z", "m");
	finish();
}
END_TEST

static const char *octets(char c, unsigned n)
{
	static char text[4][600];
	static unsigned turn;
	char *at = text[turn++ % 4];

	memset(at, c, n);
	at[n] = '\0';
	return at;
}

static const char *line(const char *name, const char *value)
{
	static char text[4][700];
	static unsigned turn;
	char *at = text[turn++ % 4];

	snprintf(at, sizeof(text[0]), "%s: %s\r\n", name, value);
	return at;
}

START_TEST(what_is_too_long_is_refused_and_counted)
{
	start("X-CID, shared X-G");
	check_told(say(0, "INVITE", "a", line("X-CID", octets('l', 121))), "", "");
	ck_assert_uint_eq(count(refused_of), 1);
	check_told(say(0, "INVITE", "b", line("X-CID", octets('l', 120))), octets('l', 120),
		   octets('l', 120));
	/* longer than CALL_CORRELATION, and found on the way all the same */
	check_told(say(0, "INVITE", "c", line("X-CID", "b")), "b", octets('l', 120));
	check_told(say(0, "BYE", octets('l', 120), ""), "", octets('l', 120));
	check_told(say(0, "INVITE", "d", line("X-G", octets('v', 256))), "", "d");
	check_told(say(0, "INVITE", "e", line("X-G", octets('v', 256))), "d", "d");
	check_told(say(0, "INVITE", "f", line("X-G", octets('v', 400))), "", "");
	ck_assert_uint_eq(count(refused_of), 2);
	/* no first leg, but another one */
	check_told(say(0, "INVITE", octets('o', 130), line("X-G", "new")), "", "");
	ck_assert_uint_eq(count(refused_of), 3);
	check_told(say(0, "INVITE", octets('o', 131), line("X-G", octets('v', 256))), "d", "d");
	check_told(say(0, "INVITE", octets('o', 132), line("X-CID", "e")), "e", "d");
	check_told(say(0, "BYE", octets('o', 131), ""), "d", "d");
	ck_assert_uint_eq(count(refused_of), 3);
	finish();
}
END_TEST

/* Such as the key of a value would be. */
START_TEST(header_does_not_name_the_entry_of_a_value)
{
	struct join_input in = { .legs = &legs, .may_have_record = true, .now_ms = 1 };
	struct joined out = { 0 };
	uint8_t key[LEGS_KEY];
	struct sip sip = { .callid = view_of("b") };

	start("X-CID, shared X-G");
	check_told(say(0, "INVITE", "a", "X-G: v\r\n"), "", "a");
	sip.extra[0] = (struct view){ key, legs_key(&legs, 1, view_of("v"), key) };
	in.sip = &sip;
	rcu_read_begin();
	join(joiner[0], &in, &out);
	rcu_read_end();
	ck_assert_uint_eq(out.aleg.len, 0);
	ck_assert_ptr_null(out.call);
	ck_assert_uint_eq(count(refused_of), 1);
	finish();
}
END_TEST

START_TEST(limit_of_an_expression_joins_nothing_and_is_counted)
{
	start("'X-Corr =~ \"^(a|aa)+$\"', X-CID");
	check_told(say(0, "INVITE", "b",
		       "X-Corr: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"
		       "\r\nX-CID: first\r\n"),
		   "first", "first");
	ck_assert_uint_eq(count(unsure_of), 1);
	check_told(say(0, "INVITE", "c", "X-Corr: a\r\n"), "a", "a");
	ck_assert_uint_eq(count(unsure_of), 1);
	finish();
}
END_TEST

START_TEST(options_have_what_they_name_and_no_record)
{
	start("X-CID, shared X-G");
	check_told(say(0, "OPTIONS", "o", "X-CID: a\r\nX-G: v\r\n"), "a", "a");
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 0);
	check_told(say(0, "INVITE", "b", "X-CID: a\r\n"), "a", "a");
	check_told(say(0, "OPTIONS", "o", "X-CID: b\r\n"), "b", "a");
	check_told(say(0, "OPTIONS", "o", ""), "", "");
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 2);
	finish();
}
END_TEST

START_TEST(without_a_table_rows_have_what_they_name)
{
	struct join_input in = { .legs = &legs, .may_have_record = true, .now_ms = 1 };
	struct joined out = { 0 };
	struct joiner *alone;
	char text[1024];
	struct sip sip;

	start("X-CID, Session-ID");
	ck_assert_int_eq(joiner_new(&alone, NULL), HT_OK);
	parse(text, sizeof(text), "INVITE", "b", "X-CID: a\r\nSession-ID: " UUID_A "\r\n", &sip);
	in.sip = &sip;
	join(alone, &in, &out);
	ck_assert(view_is(out.aleg, "a") && view_is(out.correlation, "a"));
	ck_assert_ptr_null(out.call);
	joiner_free(alone);
	finish();
}
END_TEST

START_TEST(session_is_known_by_the_uuid_of_either_end)
{
	start("Session-ID");
	check_told(say(0, "INVITE", "a", "Session-ID: " UUID_A ";remote=" NIL "\r\n"), "", "a");
	check_told(say(0, "BYE", "b", "Session-ID: " UUID_B ";remote=" UUID_A "\r\n"), "a", "a");
	check_told(say(0, "BYE", "c", "Session-ID: " UUID_B ";remote=" NIL "\r\n"), "a", "a");
	check_told(say(0, "BYE", "x", "Session-ID: " NIL ";remote=" NIL "\r\n"), "", "");
	check_told(say(0, "BYE", "x", "Session-ID: " NIL "1;remote=a\r\n"), "", "");
	ck_assert_uint_eq(rcu_table_sums(calls).entries, 5);
	finish();
}
END_TEST

/* Two calls of a transfer turn out to be one. */
START_TEST(value_that_two_groups_share_joins_them)
{
	start("shared X-G, shared X-H");
	check_told(say(0, "INVITE", "a", "X-G: 1\r\n"), "", "a");
	check_told(say(0, "INVITE", "b", "X-G: 1\r\n"), "a", "a");
	check_told(say(0, "INVITE", "c", "X-H: 2\r\n"), "", "c");
	check_told(say(0, "INVITE", "d", "X-H: 2\r\n"), "c", "c");
	check_told(say(0, "INFO", "b", "X-H: 2\r\n"), "a", "a");
	check_told(say(0, "BYE", "d", ""), "c", "a");
	check_told(say(0, "BYE", "c", ""), "a", "a");
	check_told(say(0, "BYE", "a", "X-H: 2\r\n"), "", "a");
	ck_assert_uint_eq(count(joined_of), 3);
	ck_assert_uint_eq(count(refused_of), 0);
	finish();
}
END_TEST

/* ---- in every order ---- */

#define LEGS 4

/* Four legs of a call in the order in which it is set up; `root` if it is always the same. */
static const struct {
	const char *entries, *root, *id[LEGS], *headers[LEGS];
} stories[] = {
	{ "X-CID",
	  "a",
	  { "a", "b", "c", "d" },
	  { "", "X-CID: a\r\n", "X-CID: b\r\n", "X-CID: c\r\n" } },
	{ "'Call-ID =~ \"^(.+)_[0-9]$\"'",
	  "a",
	  { "a", "a_1", "a_1_2", "a_1_2_3" },
	  { "", "", "", "" } },
	{ "'X-Corr =~ \"leg=([^;]+)\"', X-None",
	  "a",
	  { "a", "b", "c", "d" },
	  { "X-Corr: nothing\r\n", "X-Corr: 1;leg=a;\r\n", "X-Corr: leg=b\r\n",
	    "X-Corr: leg=b\r\n" } },
	{ "Session-ID",
	  NULL,
	  { "a", "b", "c", "d" },
	  { "Session-ID: " UUID_A ";remote=" NIL "\r\n",
	    "Session-ID: " UUID_A ";remote=" NIL "\r\n",
	    "Session-ID: " UUID_B ";remote=" UUID_A "\r\n",
	    "Session-ID: " UUID_A ";remote=" UUID_B "\r\n" } },
	{ "P-Charging-Vector",
	  NULL,
	  { "a", "b", "c", "d" },
	  { "P-Charging-Vector: icid-value=1\r\n",
	    "P-Charging-Vector: icid-value=\"1\";orig-ioi=x\r\n",
	    "P-Charging-Vector: orig-ioi=x;icid-value=1\r\n",
	    "P-Charging-Vector: ICID-VALUE=1\r\n" } },
	{ "shared X-Global-Call",
	  NULL,
	  { "a", "b", "c", "d" },
	  { "X-Global-Call: 1\r\n", "X-Global-Call: 1\r\n", "X-Global-Call: 1\r\n",
	    "X-Global-Call: 1\r\n" } },
	/* each server has its own way */
	{ "X-CID, Session-ID, shared X-G",
	  NULL,
	  { "a", "b", "c", "d" },
	  { "", "X-CID: a\r\nSession-ID: " UUID_A "\r\n", "Session-ID: " UUID_A "\r\nX-G: 1\r\n",
	    "X-G: 1\r\n" } },
	{ "shared X-G, X-CID",
	  NULL,
	  { "a", "b", "c", "d" },
	  { "X-G: 1\r\n", "X-CID: a\r\nX-G: 1\r\n", "X-G: 2\r\nX-CID: b\r\n",
	    "X-CID: c\r\nX-G: 2\r\n" } },
};

static void order_of(unsigned number, unsigned order[LEGS])
{
	unsigned left[LEGS] = { 0, 1, 2, 3 };

	for (unsigned n = LEGS; n > 0; n--) {
		unsigned k = number % n;

		number /= n;
		order[LEGS - n] = left[k];
		memmove(&left[k], &left[k + 1], (n - k - 1) * sizeof(left[0]));
	}
}

/* All have the same first leg, which alone has none before it. @return it. */
static const char *check_joined(unsigned story, const char *suffix)
{
	static char first[512];
	unsigned firsts = 0;

	for (unsigned i = 0; i < LEGS; i++) {
		char id[64];
		struct told t;

		snprintf(id, sizeof(id), "%s%s", suffix, stories[story].id[i]);
		t = say(0, "BYE", id, "");
		if (i == 0)
			strcpy(first, t.correlation);
		ck_assert_str_eq(t.correlation, first);
		ck_assert_str_ne(t.correlation, "");
		ck_assert_int_eq(t.aleg[0] == '\0', strcmp(id, first) == 0);
		firsts += t.aleg[0] == '\0';
	}
	ck_assert_uint_eq(firsts, 1);
	return first;
}

START_TEST(order_of_legs_does_not_matter)
{
	unsigned order[LEGS];

	for (unsigned number = 0; number < 24; number++) {
		const char *first;

		start(stories[_i].entries);
		order_of(number, order);
		for (unsigned i = 0; i < LEGS; i++)
			(void)say(0, "INVITE", stories[_i].id[order[i]],
				  stories[_i].headers[order[i]]);
		first = check_joined((unsigned)_i, "");
		if (stories[_i].root)
			ck_assert_str_eq(first, stories[_i].root);
		ck_assert_uint_eq(count(joined_of), LEGS - 1);
		finish();
	}
}
END_TEST

/* In order one step leads to the first, whatever their number; the other way round one for each. */
START_TEST(long_chains_have_one_first_leg)
{
	bool is_backwards = _i;
	unsigned n = is_backwards ? 60 : 500;
	char id[16], header[32];

	start("X-CID");
	for (unsigned i = 0; i < n; i++) {
		unsigned leg = is_backwards ? n - i : i + 1;

		snprintf(id, sizeof(id), "c%u", leg);
		snprintf(header, sizeof(header), "X-CID: c%u\r\n", leg - 1);
		(void)say(0, "INVITE", id, header);
	}
	for (unsigned leg = 1; leg <= n; leg++) {
		snprintf(id, sizeof(id), "c%u", leg);
		snprintf(header, sizeof(header), "c%u", leg - 1);
		check_told(say(0, "BYE", id, ""), header, "c0");
	}
	check_told(say(0, "BYE", "c0", ""), "", "c0");
	ck_assert_uint_eq(count(joined_of), n);
	finish();
}
END_TEST

/* ---- threads ---- */

#define CALLS 300

struct watcher {
	pthread_t thread;
	unsigned i, story;
	pthread_barrier_t *begin;
	char (*told)[CALLS][LEGS][512]; /* correlation that each message was told */
};

/* The headers of a story name its Call-IDs and values: each call has its own. */
static void make_own(char *out, size_t size, const char *text, const char *prefix)
{
	static const char *const before[] = { "X-CID: ",     "leg=",	    "icid-value=\"",
					      "icid-value=", "ICID-VALUE=", "X-Global-Call: ",
					      "X-G: " };
	char *end = out;

	while (*text) {
		size_t step = 0;

		for (size_t i = 0; i < ROWS(before) && !step; i++)
			if (strncmp(text, before[i], strlen(before[i])) == 0)
				step = strlen(before[i]);
		ck_assert_uint_lt((size_t)(end - out) + 64, size);
		if (step)
			end += sprintf(end, "%.*s%s", (int)step, text, prefix);
		else if (strncmp(text, UUID_A, 32) == 0 || strncmp(text, UUID_B, 32) == 0)
			end += sprintf(end, "%.*s%08x", 24, text,
				       (unsigned)strtoul(prefix, NULL, 10) + 1);
		if (!step && (strncmp(text, UUID_A, 32) == 0 || strncmp(text, UUID_B, 32) == 0))
			step = 32;
		if (!step) {
			*end++ = *text;
			step = 1;
		}
		text += step;
	}
	*end = '\0';
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct random r = random_from(w->i * 1000 + w->story);
	unsigned order[LEGS];

	rcu_thread_begin();
	pthread_barrier_wait(w->begin);
	for (unsigned n = 0; n < CALLS; n++) {
		char prefix[16], id[64], header[512];

		snprintf(prefix, sizeof(prefix), "%u-", n);
		order_of((unsigned)random_below(&r, 24), order);
		for (unsigned i = 0; i < LEGS; i++) {
			unsigned leg = order[i];
			struct told t;

			snprintf(id, sizeof(id), "%s%s", prefix, stories[w->story].id[leg]);
			make_own(header, sizeof(header), stories[w->story].headers[leg], prefix);
			t = say(w->i, "INVITE", id, header);
			strcpy((*w->told)[n][leg], t.correlation);
		}
	}
	rcu_thread_end();
	return NULL;
}

/* Of a value that is shared, and of nothing else, the first leg is known from the first message on:
 * no thread tells another one. */
static bool is_settled_at_once(unsigned story)
{
	return stories[story].entries[0] == 'P' ||
	       strcmp(stories[story].entries, "shared X-Global-Call") == 0;
}

START_TEST(threads_come_to_the_same)
{
	static char told[THREADS][CALLS][LEGS][512];
	static pthread_barrier_t begin;
	struct watcher w[THREADS] = { 0 };

	start(stories[_i].entries);
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct watcher){
			.i = i, .story = (unsigned)_i, .begin = &begin, .told = &told[i]
		};
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, watch, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	pthread_barrier_destroy(&begin);
	for (unsigned n = 0; n < CALLS; n++) {
		const char *first;
		char prefix[16], root[32];

		snprintf(prefix, sizeof(prefix), "%u-", n);
		first = check_joined((unsigned)_i, prefix);
		snprintf(root, sizeof(root), "%sa", prefix);
		if (stories[_i].root)
			ck_assert_str_eq(first, root);
		for (unsigned i = 0; i < THREADS && is_settled_at_once((unsigned)_i); i++)
			for (unsigned leg = 0; leg < LEGS; leg++)
				ck_assert_str_eq(told[i][n][leg], first);
	}
	if (is_settled_at_once((unsigned)_i))
		ck_assert_uint_eq(count(joined_of), CALLS * (LEGS - 1));
	finish();
}
END_TEST

/* Each names the other: whichever way it comes out, it is one for all. */
static void *quarrel(void *arg)
{
	struct watcher *w = arg;

	rcu_thread_begin();
	for (unsigned n = 0; n < CALLS; n++) {
		char id[32], header[64];

		pthread_barrier_wait(w->begin);
		snprintf(id, sizeof(id), "%u-%c", n, 'a' + (int)w->i % 2);
		snprintf(header, sizeof(header), "X-CID: %u-%c\r\n", n, 'b' - (int)w->i % 2);
		(void)say(w->i, "INVITE", id, header);
	}
	rcu_thread_end();
	return NULL;
}

START_TEST(threads_that_close_a_ring_come_to_the_same)
{
	static pthread_barrier_t begin;
	struct watcher w[THREADS] = { 0 };

	start("X-CID");
	pthread_barrier_init(&begin, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct watcher){ .i = i, .begin = &begin };
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, quarrel, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	pthread_barrier_destroy(&begin);
	for (unsigned n = 0; n < CALLS; n++) {
		char id[2][32];
		struct told t[2];

		for (unsigned i = 0; i < 2; i++) {
			snprintf(id[i], sizeof(id[i]), "%u-%c", n, 'a' + (int)i);
			t[i] = say(0, "BYE", id[i], "");
		}
		ck_assert_str_eq(t[0].correlation, t[1].correlation);
		for (unsigned i = 0; i < 2; i++)
			if (strcmp(t[i].correlation, id[i]) == 0)
				ck_assert_str_eq(t[i].aleg, "");
			else
				ck_assert_str_eq(t[i].aleg, id[1 - i]);
		ck_assert(strcmp(t[0].correlation, id[0]) == 0 ||
			  strcmp(t[0].correlation, id[1]) == 0);
	}
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("legs");
	TCase *t = tcase_create("legs");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, header_says_what_it_says, 0, ROWS(headers));
	tcase_add_test(t, random_headers_are_read_within_their_octets);
	tcase_add_test(t, keys_are_no_call_ids_and_tell_headers_apart);
	tcase_add_test(t, three_legs_have_the_correlation_of_the_first);
	tcase_add_test(t, a_header_that_names_its_own_leg_joins_nothing);
	tcase_add_test(t, legs_do_not_close_a_ring);
	tcase_add_test(t, ring_that_two_threads_closed_has_one_first_leg);
	tcase_add_test(t, what_is_too_long_is_refused_and_counted);
	tcase_add_test(t, header_does_not_name_the_entry_of_a_value);
	tcase_add_test(t, limit_of_an_expression_joins_nothing_and_is_counted);
	tcase_add_test(t, options_have_what_they_name_and_no_record);
	tcase_add_test(t, without_a_table_rows_have_what_they_name);
	tcase_add_test(t, session_is_known_by_the_uuid_of_either_end);
	tcase_add_test(t, value_that_two_groups_share_joins_them);
	tcase_add_loop_test(t, order_of_legs_does_not_matter, 0, ROWS(stories));
	tcase_add_loop_test(t, long_chains_have_one_first_leg, 0, 2);
	tcase_add_loop_test(t, threads_come_to_the_same, 0, ROWS(stories));
	tcase_add_test(t, threads_that_close_a_ring_come_to_the_same);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
