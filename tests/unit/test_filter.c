/* conf/filter.h and capture/filter.h: the language, its errors, scopes and actions. */
#include "capture/filter.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "conf/filter_regex.h"
#include "conf/rcu.h"
#include "tests/unit/make_message.h"
#include "tests/unit/mallocs.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static struct filter_thread *thread;

static void start(void)
{
	filter_regex_interpret(false);
	ck_assert_int_eq(filter_thread_new(&thread), HT_OK);
}

static void stop(void)
{
	filter_thread_free(thread);
}

static struct filter *filter_of(const struct filter_source *rules, size_t count,
				const char *otherwise)
{
	struct filter_program *program;
	struct filter_error error = { 0 };
	struct filter *f;
	size_t failed;
	int err = filter_compile(rules, count, otherwise, &program, &failed, &error);

	ck_assert_msg(err == HT_OK, "rule %zu: %s: at %zu: %s", failed,
		      failed < count ? rules[failed].when : otherwise, error.offset, error.text);
	ck_assert_int_eq(filter_new(program, &f), HT_OK);
	return f;
}

static struct filter_decision decide(struct filter *f, const struct made *m, int record)
{
	struct filter_input in = made_input(m);
	struct filter_decision d;

	in.record = record;
	filter_decide(f, thread, &in, &d);
	return d;
}

/* Does a condition, alone and of scope message, match? */
static bool matches(const char *when, const struct made *m)
{
	struct filter_source rule = { "r", when, "drop", "", FILTER_SCOPE_MESSAGE };
	struct filter *f = filter_of(&rule, 1, "store");
	struct filter_decision d = decide(f, m, FILTER_NONE);

	ck_assert_int_eq(d.is_stored, d.rule == FILTER_NONE);
	ck_assert(!d.is_unsure);
	filter_end(f);
	return d.rule == 0;
}

static void check(const char *when, struct made m, bool expected)
{
	made_init(&m);
	ck_assert_msg(matches(when, &m) == expected, "%s: %s\n%s", when,
		      expected ? "does not match" : "matches", m.text);
	made_fini(&m);
}

/* ---- what trunks are told by ---- */

#define URI(uri)     .start = "INVITE " uri " SIP/2.0"
#define STATUS(code) .start = "SIP/2.0 " code

/* clang-format off */
static const struct {
	const char *when;
	struct made yes[4], no[6];
} trunks[] = {
	/* any user of a domain */
	{ "ruri =~ \"^sip:[^@]+@example\\.com(:[0-9]+)?(;.*)?$\"",
	  { { URI("sip:bob@example.com") }, { URI("sip:bob@example.com:5060;transport=tcp") } },
	  { { URI("sip:bob@example.comx") }, { URI("sip:bob@sub.example.com") }, { URI("sip:example.com") },
	    { URI("sip:bob@exampleXcom") } } },
	/* of an address */
	{ "ruri =~ '^sip:.*@192\\.0\\.2\\.10'",
	  { { URI("sip:1234@192.0.2.10") }, { URI("sip:1234@192.0.2.10:5062") } },
	  { { URI("sip:1234@192.0.2.1") }, { URI("sip:192.0.2.10") }, { URI("sip:1@192x0.2.10") } } },
	/* of an address range */
	{ "ruri =~ '^sip:.*@10\\.20\\.(1[6-9]|2[0-9]|3[01])\\.[0-9]+'",
	  { { URI("sip:1@10.20.16.1") }, { URI("sip:1@10.20.29.200:5061") }, { URI("sip:@10.20.31.0") } },
	  { { URI("sip:1@10.20.15.1") }, { URI("sip:1@10.20.32.1") }, { URI("sip:10.20.16.1") } } },
	{ "ruri.host in 198.18.0.0/15",
	  { { URI("sip:1@198.18.0.1") }, { URI("sip:198.19.255.255;x") } },
	  { { URI("sip:1@198.20.0.0") }, { URI("sip:1@example.com") }, { URI("sip:1@198.18.0.1.example") } } },
	/* a group of hosts on ports 5060 and 5061 */
	{ "ruri =~ '@(10\\.0\\.0\\.1|10\\.0\\.0\\.2|sbc\\.example\\.com):506[01]'",
	  { { URI("sip:1@10.0.0.1:5060") }, { URI("sip:1@10.0.0.2:5061") }, { URI("sip:a@sbc.example.com:5061") } },
	  { { URI("sip:1@10.0.0.1") }, { URI("sip:1@10.0.0.3:5060") }, { URI("sip:1@10.0.0.1:5062") } } },
	{ "src.ip in { 10.0.0.1, 10.0.0.2 } && src.port in {5060,5061}",
	  { { .src = "10.0.0.1" }, { .src = "10.0.0.2", .src_port = 5061 } },
	  { { .src = "10.0.0.3" }, { .src = "10.0.0.1", .src_port = 5062 } } },
	/* 7 digits beginning 2 to 9 */
	{ "ruri =~ \"^sip:[2-9][0-9]{6}@\"",
	  { { URI("sip:2000000@a") }, { URI("sip:9999999@a.example") } },
	  { { URI("sip:1234567@a") }, { URI("sip:234567@a") }, { URI("sip:23456789@a") }, { URI("tel:2345678") },
	    { URI("sip:234567x@a") } } },
	/* 8 digits */
	{ "ruri =~ \"^sip:[0-9]{8}@\"",
	  { { URI("sip:00000000@a") } }, { { URI("sip:1234567@a") }, { URI("sip:123456789@a") } } },
	/* 7 with an optional 8 before */
	{ "ruri =~ '^sip:8?[0-9]{7}@'",
	  { { URI("sip:1234567@a") }, { URI("sip:81234567@a") }, { URI("sip:8123456@a") } },
	  { { URI("sip:71234567@a") }, { URI("sip:123456@a") }, { URI("sip:812345678@a") } } },
	/* extensions of 4 digits beginning with 6 */
	{ "from.user =~ '^6[0-9]{3}$'",
	  { { .headers = "From: <sip:6000@a>\r\n" }, { .headers = "f: sip:6999@a;tag=2\r\n" } },
	  { { .headers = "From: <sip:600@a>\r\n" }, { .headers = "From: <sip:60000@a>\r\n" },
	    { .headers = "From: <sip:5999@a>\r\n" }, { .headers = "From: <sip:x6000@a>\r\n" } } },
	/* exclusions */
	{ "ruri =~ \"^sip:(?!55)[0-9]{7}@\"",
	  { { URI("sip:5412345@a") }, { URI("sip:4512345@a") } },
	  { { URI("sip:5512345@a") }, { URI("sip:551234@a") } } },
	{ "method =~ \"^(OPTIONS|NOTIFY|SUBSCRIBE)$\"",
	  { { .start = "OPTIONS sip:a SIP/2.0" }, { .start = "NOTIFY sip:a SIP/2.0" },
	    { .start = "SUBSCRIBE sip:a SIP/2.0" },
	    { STATUS("200 OK"), .headers = "CSeq: 2 OPTIONS\r\n" } },
	  { { 0 }, { .start = "XOPTIONS sip:a SIP/2.0" }, { .start = "OPTIONSX sip:a SIP/2.0" },
	    { STATUS("200 OK") } } },
	{ "status =~ \"^(1[0-9][0-9]|[3-6][0-9][0-9])$\"",
	  { { STATUS("100 Trying") }, { STATUS("183 Session Progress") }, { STATUS("302 Moved") },
	    { STATUS("699 x") } },
	  { { STATUS("200 OK") }, { STATUS("700 x") }, { STATUS("1000 x") }, { 0 } } },
	/* what section 4 begins with */
	{ "ruri.user =~ \"^(112|911)$\"", { { URI("sip:112@a") }, { URI("sips:911@a:5061") } },
	  { { URI("sip:1121@a") }, { URI("sip:0112@a") }, { URI("tel:110") } } },
	{ "ruri =~ \"^sip:8?[0-9]{7}@\" && src.ip in 198.18.0.0/15",
	  { { URI("sip:1234567@a"), .src = "198.19.1.1" } },
	  { { URI("sip:1234567@a") }, { .src = "198.19.1.1" } } },
	{ "method =~ \"^(OPTIONS|NOTIFY|SUBSCRIBE)$\" || (is_reply && cseq.method == \"OPTIONS\")",
	  { { .start = "NOTIFY sip:a SIP/2.0" }, { STATUS("200 OK"), .headers = "CSeq: 2 OPTIONS\r\n" } },
	  { { 0 }, { STATUS("200 OK") } } },
};
/* clang-format on */

START_TEST(expressions_for_trunks_tell_what_they_are_for)
{
	for (int i = 0; i < 4; i++) {
		if (i == 0 || memcmp(&trunks[_i].yes[i], &(struct made){ 0 }, sizeof(struct made)))
			check(trunks[_i].when, trunks[_i].yes[i], true);
	}
	for (int i = 0; i < 6; i++) {
		/* A row that is all zero is the usual INVITE, which none of them takes. */
		if (memcmp(&trunks[_i].no[i], &(struct made){ 0 }, sizeof(struct made)) || i == 0)
			check(trunks[_i].when, trunks[_i].no[i], false);
	}
	check(trunks[_i].when, (struct made){ 0 },
	      _i == 0); /* the domain of the first is that of the usual INVITE */
}
END_TEST

/* ---- fields ---- */

#define FULL                                                                                 \
	.start = "INVITE sip:u@r.example:5070;x=1 SIP/2.0",                                  \
	.headers = "From: \"F\" <sip:fu@f.example;a=b>;tag=ft\r\n"                           \
		   "t: <sips:tu@[2001:db8::7]:5061>;tag=tt\r\n"                              \
		   "m: \"C\" <sip:cu@c.example>;expires=60\r\n"                              \
		   "P-Asserted-Identity: \"P\" <sip:pu@p.example>\r\n"                       \
		   "i: id@host\r\nCSeq: 7 INVITE\r\nUser-Agent: phone/1\r\n"                 \
		   "c: application/sdp\r\nX-Name: one\r\nx-NAME: two\r\n"                    \
		   "X-Folded: a\r\n b\r\nX-Empty:\r\nMax-Forwards: 69\r\n",                  \
	.body = "v=0\r\no=x\r\n", .src = "10.0.0.9", .dst = "2001:db8::2", .src_port = 5070, \
	.dst_port = 5071, .agent = "edge-7", .source = "mirror", .capture_id = 2001 + 1,     \
	.proto = PROTO_TLS

static const struct {
	const char *field, *value;
} values[] = {
	{ "method", "INVITE" },
	{ "$rm", "INVITE" },
	{ "ruri", "sip:u@r.example:5070;x=1" },
	{ "$ru", "sip:u@r.example:5070;x=1" },
	{ "ruri.user", "u" },
	{ "$rU", "u" },
	{ "ruri.host", "r.example" },
	{ "$rd", "r.example" },
	{ "from", "sip:fu@f.example;a=b" },
	{ "$fu", "sip:fu@f.example;a=b" },
	{ "from.user", "fu" },
	{ "$fU", "fu" },
	{ "from.host", "f.example" },
	{ "to", "sips:tu@[2001:db8::7]:5061" },
	{ "$tu", "sips:tu@[2001:db8::7]:5061" },
	{ "to.user", "tu" },
	{ "$tU", "tu" },
	{ "to.host", "[2001:db8::7]" },
	{ "contact", "sip:cu@c.example" },
	{ "$ct", "\"C\" <sip:cu@c.example>;expires=60" },
	{ "contact.user", "cu" },
	{ "contact.host", "c.example" },
	{ "pai.user", "pu" },
	{ "callid", "id@host" },
	{ "$ci", "id@host" },
	{ "cseq.method", "INVITE" },
	{ "user_agent", "phone/1" },
	{ "$ua", "phone/1" },
	{ "content_type", "application/sdp" },
	{ "header(\"X-Name\")", "one" },
	{ "header('x-name')", "one" },
	{ "header( \"X-Empty\" )", "" },
	{ "header(\"X-Not-There\")", "" },
	{ "header(\"Call-ID\")", "id@host" },
	{ "header(\"i\")", "id@host" },
	{ "header(\"Contact\")", "\"C\" <sip:cu@c.example>;expires=60" },
	{ "transport", "tls" },
	{ "agent", "edge-7" },
	{ "source", "mirror" },
	{ "type", "sip" },
	{ "reason", "" },
};

START_TEST(field_is_what_it_says)
{
	const char *quote = strchr(values[_i].value, '"') ? "'" : "\"";
	char when[256];

	snprintf(when, sizeof(when), "%s == %s%s%s", values[_i].field, quote, values[_i].value,
		 quote);
	check(when, (struct made){ FULL }, true);
	snprintf(when, sizeof(when), "%s != %s%s%s", values[_i].field, quote, values[_i].value,
		 quote);
	check(when, (struct made){ FULL }, false);
	snprintf(when, sizeof(when), "%s == %s%s.%s", values[_i].field, quote, values[_i].value,
		 quote);
	check(when, (struct made){ FULL }, false);
	snprintf(when, sizeof(when), "%s =~ %s^\\Q%s\\E$%s", values[_i].field, quote,
		 values[_i].value, quote);
	check(when, (struct made){ FULL }, true);
	snprintf(when, sizeof(when), "%s in { %s%s%s, %s?%s }", values[_i].field, quote,
		 values[_i].value, quote, quote, quote);
	check(when, (struct made){ FULL }, true);
}
END_TEST

/* Conditions that hold for FULL, and after a bar some that do not. */
static const char *const full_yes[] = {
	"is_request",
	"!is_reply",
	"!!is_request",
	"src.ip == 10.0.0.9",
	"$si == \"10.0.0.9\"",
	"src.ip =~ '^10\\.0\\.0\\.'",
	"src.ip in 10.0.0.0/8",
	"src.ip in '10.0.0.0/8'",
	"src.ip in {192.0.2.0/24, 10.0.0.9}",
	"src.ip in ::ffff:0:0/96",
	"src.ip in ::/0",
	"src.ip != 10.0.0.8",
	"dst.ip == 2001:DB8::2",
	"dst.ip in 2001:db8::/32",
	"dst.ip =~ \"^2001:db8::2$\"",
	"dst.ip != src.ip",
	"to.host in 2001:db8::/64",
	"to.host == 2001:db8:0::7",
	"src.port == 5070",
	"$sp == '5070'",
	"src.port=~'^50'",
	"src.port != 5071",
	"src.port<5071",
	"src.port <= 5070",
	"src.port > 5069",
	"src.port >= 5070",
	"src.port >= 0",
	"src.port < dst.port",
	"src.port <= dst.port",
	"dst.port > src.port",
	"dst.port >= src.port",
	"dst.port != src.port",
	"src.port == src.port",
	"src.port in {1, 5070}",
	"dst.port == 5071",
	"capture_id == 2001",
	"capture_id > 2000",
	"header(\"Max-Forwards\") == 69",
	"header(\"Max-Forwards\") == 069",
	"header(\"Max-Forwards\") < 70",
	"header(\"Max-Forwards\") in {68, 69}",
	"header(\"Max-Forwards\") <= src.port",
	"header(\"X-Folded\") =~ 'a\\s+b'",
	"header(\"X-Name\") != 1",
	"!(header(\"X-Name\") < 1) && !(header(\"X-Name\") >= 0)",
	"body =~ '^v=0' && body =~ 'o=x\\r\\n$'",
	"from.user != to.user",
	"method == cseq.method",
	"method == $rm",
	"status != 200",
	"!(status == 200)",
	"!(status < 200) && !(status >= 200)",
	"status !~ '.'",
	"is_reply || is_request && src.port == 5070",
	"is_request || is_reply && is_reply", /* && first */
	"(is_request || is_reply) && src.port == 5070",
	"!(is_reply && is_request)",
	"!is_reply && is_request",
	"\tis_request\n",
};

static const char *const full_no[] = {
	"is_reply",
	"!is_request",
	"src.ip == 10.0.0.8",
	"src.ip in 11.0.0.0/8",
	"src.ip == dst.ip",
	"src.ip == ruri.host",
	"src.port in {1,2}",
	"src.port < 5070",
	"src.port > 5070",
	"src.port < 0",
	"src.port > dst.port",
	"status == 200",
	"status < 700",
	"status in {100, 200}",
	"capture_id == 2002",
	"header(\"X-Empty\") == 0",
	"header(\"X-Name\") == 0",
	"from.user == to.user",
	"method == \"invite\"",
	"method =~ 'invite'",
	"ruri.host in {10.0.0.0/8, 'R.example'}",
	"is_request && is_reply || is_reply",
	"(is_reply || is_request) && src.port == 5071",
	"!(is_request || is_reply)",
	"!(is_request) && is_request || is_reply",
};

START_TEST(condition_holds)
{
	check(full_yes[_i], (struct made){ FULL }, true);
}
END_TEST

START_TEST(condition_does_not_hold)
{
	check(full_no[_i], (struct made){ FULL }, false);
}
END_TEST

START_TEST(reply_has_its_own_fields)
{
	struct made m = {
		.start = "SIP/2.0 486 Busy Here",
		.headers = "From: <sip:a@b>\r\nTo: <sip:c@d>\r\nCSeq: 3 BYE\r\nServer: s/1\r\n"
	};

	check("is_reply && !is_request", m, true);
	check("status == 486 && $rs == '486' && status > 399 && status =~ '^4'", m, true);
	check("reason == 'Busy Here'", m, true);
	check("method == 'BYE' && $rm == 'BYE' && cseq.method == 'BYE'", m, true);
	check("ruri == '' && ruri.user == ''", m, true);
	check("user_agent == 's/1'", m, true);
	check("status in {486, 600}", m, true);
	m.start = "SIP/2.0 99999999999999999999 X";
	check("status > 0 || status == 0", m, false);
}
END_TEST

START_TEST(what_is_not_sip_has_no_fields_of_sip)
{
	struct made m = { .type = HEP_TYPE_RTCP };

	check("type == 'rtcp'", m, true);
	check("is_request || is_reply", m, false);
	check("method == '' && ruri == '' && header('From') == '' && pai.user == ''", m, true);
	check("body =~ '^INVITE'", m, true);
	check("src.ip == 192.0.2.1", m, true);
	check("status == 0 || status < 1000", m, false);
	m.type = HEP_TYPE_LOG;
	check("type == 'log'", m, true);
	m.type = 34;
	check("type == 'report'", m, true);
	m.type = 60;
	check("type == '60' && type == 60", m, true);
	made_init(&m);
	m.msg.correlation = view_of("call-9");
	ck_assert(matches("callid == 'call-9'", &m));
	m.msg.src.family = FAMILY_NONE;
	ck_assert(!matches("src.ip in ::/0 || src.port >= 0", &m));
	ck_assert(matches("src.ip != 10.0.0.1 && src.port != 5060 && src.ip =~ '^$'", &m));
	made_fini(&m);
}
END_TEST

static const struct {
	unsigned proto;
	const char *name;
} transports[] = { { PROTO_UDP, "udp" }, { PROTO_TCP, "tcp" },	 { PROTO_TLS, "tls" },
		   { PROTO_WS, "ws" },	 { PROTO_SCTP, "sctp" }, { 99, "99" } };

START_TEST(transport_has_a_name)
{
	char when[64];

	snprintf(when, sizeof(when), "transport == '%s'", transports[_i].name);
	check(when, (struct made){ .proto = transports[_i].proto }, true);
	check(when, (struct made){ .proto = transports[(_i + 1) % ROWS(transports)].proto }, false);
}
END_TEST

START_TEST(string_is_raw)
{
	struct made m = { .headers = "X-A: a\\d\"b\r\nX-B: it's\r\n" };

	check("header('X-A') == 'a\\d\"b'", m, true);
	check("header('X-B') == \"it's\"", m, true);
	check("header('X-A') =~ '^a\\\\d\"b$'", m, true);
	check("header('X-A') =~ '^a\\d'", m, false);
}
END_TEST

START_TEST(header_that_comes_twice_counts_first)
{
	struct made m = { .headers = "X: 1\r\nX: 2\r\nP-Asserted-Identity: <tel:+1555>\r\n"
				     "P-Asserted-Identity: <sip:x@y>\r\nnocolon\r\n\0: v\r\n" };

	check("header('X') == '1'", m, true);
	check("pai.user == '+1555'", m, true);
	check("header('P-Asserted-Identity') == '<tel:+1555>'", m, true);
}
END_TEST

/* ---- errors ---- */

static const struct {
	const char *when;
	size_t offset;
	const char *text;
} errors[] = {
	{ "", 0, "expected a field, ! or (, but it ends here" },
	{ "   ", 3, "expected a field, ! or (, but it ends here" },
	{ "rurii == 'a'", 0, "expected a field, ! or (, not rurii" },
	{ "is_reply && ruri.port == 1", 12, "expected a field, ! or (, not ruri.port" },
	{ "$xx == 1", 0, "expected a field, ! or (, not $xx" },
	{ "'INVITE' == method", 0, "expected a field, ! or (, not 'INVITE'" },
	{ "ruri", 4, "expected =~ !~ == != < <= > >= or in, but it ends here" },
	{ "ruri 'a'", 5, "expected =~ !~ == != < <= > >= or in, not 'a'" },
	{ "ruri = 'a'", 5, "expected ==" },
	{ "is_reply & is_request", 9, "expected &&" },
	{ "is_reply | is_request", 9, "expected ||" },
	{ "is_reply and is_request", 9, "expected &&, || or the end, not and" },
	{ "is_reply == 1", 9, "expected &&, || or the end, not ==" },
	{ "is_reply)", 8, "expected &&, || or the end, not )" },
	{ "(is_reply", 9, "expected &&, || or ), but it ends here" },
	{ "(is_reply is_reply)", 10, "expected &&, || or ), not is_reply" },
	{ "()", 1, "expected a field, ! or (, not )" },
	{ "!", 1, "expected a field, ! or (, but it ends here" },
	{ "!ruri == 'a'", 1, "expected is_request, is_reply or ( behind !, as in !(ruri ...)" },
	{ "is_reply &&", 11, "expected a field, ! or (, but it ends here" },
	{ "ruri == \"a", 8, "this quote is not closed" },
	{ "ruri == a", 8, "expected a string in quotes, a number, an address or a field, not a" },
	{ "ruri == ", 8,
	  "expected a string in quotes, a number, an address or a field, but it ends here" },
	{ "ruri < 'a'", 7, "expected a number, since < <= > >= compare numbers, not 'a'" },
	{ "ruri < a", 7, "expected a number, not a" },
	{ "ruri == is_reply", 8, "is_reply is compared with nothing" },
	{ "src.ip == src.port", 10, "a number and an address do not compare" },
	{ "src.ip < 1", 7, "< <= > >= compare numbers, not addresses" },
	{ "ruri < src.ip", 7, "expected a number, since < <= > >= compare numbers" },
	{ "src.ip == 10.0.0", 10, "expected an address or a field, not 10.0.0" },
	{ "src.ip == 10.0.0.0/8", 10, "a network is compared with `in`" },
	{ "src.ip in 10.0.0.1/8", 10, "bits are set behind the prefix, the network is 10.0.0.0/8" },
	{ "src.ip in 10.0.0.0/33", 10, "the prefix is 0 to 32" },
	{ "src.ip in {10.0.0.1, x}", 21, "expected an address or a network, not x" },
	{ "src.ip in {10.0.0.1 10.0.0.2}", 20, "expected , or }, not 10.0.0.2" },
	{ "src.ip in {}", 11, "expected an address or a network, not }" },
	{ "src.ip in {10.0.0.1", 19, "expected , or }, but it ends here" },
	{ "src.ip in", 9, "expected an address, a network or a list in { }, but it ends here" },
	{ "method in 'INVITE'", 10,
	  "expected an address, a network or a list in { }, not 'INVITE'" },
	{ "method in {'A', b}", 16, "expected a string in quotes, an address or a network, not b" },
	{ "src.port in 5060", 12, "expected a list in { }, not 5060" },
	{ "src.port in {5060, x}", 19, "expected a number, not x" },
	{ "src.port == x", 12, "expected a number or a field, not x" },
	{ "src.port == '5060x'", 12, "expected a number or a field, not '5060x'" },
	{ "status == \"\"", 10, "expected a number or a field, not \"\"" },
	{ "status == 1234567890123456789", 10, "a number has at most 18 digits" },
	{ "ruri =~ abc", 8, "expected a regular expression in quotes, not abc" },
	{ "ruri =~ '^(a'", 12, "missing closing parenthesis" },
	{ "ruri =~ '[z-a]'", 12, "range out of order in character class" },
	{ "ruri =~ \"a\" && ruri !~ \"*\"", 24, "quantifier does not follow a repeatable item" },
	{ "ruri =~ '(*UTF)a'", 15, "using UTF is disabled by the application" },
	{ "header", 6, "expected ( behind header, but it ends here" },
	{ "header(X)", 7, "expected the name of a header in quotes, not X" },
	{ "header('')", 7, "expected the name of a header, at most 64 octets" },
	{ "header('a b')", 7, "expected the name of a header, at most 64 octets" },
	{ "header('a' == 'b'", 11, "expected ), not ==" },
	{ "ruri == 'a' ; drop", 12, "';' has no meaning here" },
	{ "ruri == 'a' # x", 12, "'#' has no meaning here" },
	{ "((((((((((((((((((((((((((((((((!is_reply))))))))))))))))))))))))))))))))", 32,
	  "more than 32 levels of ( and !" },
};

START_TEST(error_says_where_and_what)
{
	struct filter_error error = { 0 };

	ck_assert_int_eq(filter_check(errors[_i].when, &error), HT_ECONF);
	ck_assert_msg(strcmp(error.text, errors[_i].text) == 0 && error.offset == errors[_i].offset,
		      "%s\nis     %zu: %s\nis not %zu: %s", errors[_i].when, error.offset,
		      error.text, errors[_i].offset, errors[_i].text);
}
END_TEST

START_TEST(condition_is_bounded)
{
	char text[FILTER_MAX_OCTETS + 2];
	struct filter_error error;

	memset(text, ' ', sizeof(text));
	memcpy(text, "is_reply", 8);
	text[FILTER_MAX_OCTETS] = '\0';
	ck_assert_int_eq(filter_check(text, &error), HT_OK);
	text[FILTER_MAX_OCTETS] = ' ';
	text[FILTER_MAX_OCTETS + 1] = '\0';
	ck_assert_int_eq(filter_check(text, &error), HT_ECONF);
	ck_assert_str_eq(error.text, "a condition has at most 4096 octets");
	/* as many terms as there can be */
	for (size_t i = 0; i + 12 < FILTER_MAX_OCTETS; i += 12)
		memcpy(text + i, i + 24 < FILTER_MAX_OCTETS ? "is_reply && " : "is_request\0", 12);
	ck_assert_int_eq(filter_check(text, &error), HT_OK);
	check(text, (struct made){ 0 }, false);
}
END_TEST

START_TEST(headers_are_bounded_over_all_rules)
{
	struct filter_source rules[FILTER_MAX_HEADERS + 1];
	char when[FILTER_MAX_HEADERS + 1][32];
	struct filter_program *program;
	struct filter_error error;
	size_t failed;

	for (int i = 0; i <= FILTER_MAX_HEADERS; i++) {
		snprintf(when[i], sizeof(when[i]), "header('X-%d') == 'a'", i);
		rules[i] = (struct filter_source){ "r", when[i], "store", "", FILTER_SCOPE_AUTO };
	}
	ck_assert_int_eq(
		filter_compile(rules, FILTER_MAX_HEADERS, "store", &program, &failed, &error),
		HT_OK);
	filter_free(program);
	ck_assert_int_eq(
		filter_compile(rules, FILTER_MAX_HEADERS + 1, "store", &program, &failed, &error),
		HT_ECONF);
	ck_assert_uint_eq(failed, FILTER_MAX_HEADERS);
	ck_assert_uint_eq(error.offset, 7);
	ck_assert_str_eq(error.text, "more than 64 different headers");
}
END_TEST

static const struct {
	const char *action;
	size_t offset;
	const char *text; /* NULL: good */
	struct filter_verdict verdict;
} actions[] = {
	{ "store", 0, NULL, { FILTER_STORE, 0 } },
	{ "drop", 0, NULL, { FILTER_DROP, 0 } },
	{ "sample 10%", 0, NULL, { FILTER_SAMPLE, 10000 } },
	{ "sample 100%", 0, NULL, { FILTER_SAMPLE, 100000 } },
	{ "sample 0%", 0, NULL, { FILTER_SAMPLE, 0 } },
	{ "sample 0.125%", 0, NULL, { FILTER_SAMPLE, 125 } },
	{ "sample  33.3%", 0, NULL, { FILTER_SAMPLE, 33300 } },
	{ "limit 100/s", 0, NULL, { FILTER_LIMIT, 100 } },
	{ "limit 999999999/s", 0, NULL, { FILTER_LIMIT, 999999999 } },
	{ "", 0, "expected store, drop, sample N% or limit N/s", { 0 } },
	{ "keep", 0, "expected store, drop, sample N% or limit N/s", { 0 } },
	{ "drop it", 0, "expected store, drop, sample N% or limit N/s", { 0 } },
	{ "sample",
	  6,
	  "expected a percentage from 0 to 100, with at most 3 decimal places",
	  { 0 } },
	{ "sample 101%",
	  7,
	  "expected a percentage from 0 to 100, with at most 3 decimal places",
	  { 0 } },
	{ "sample 1.%",
	  7,
	  "expected a percentage from 0 to 100, with at most 3 decimal places",
	  { 0 } },
	{ "sample 1.0001%",
	  7,
	  "expected a percentage from 0 to 100, with at most 3 decimal places",
	  { 0 } },
	{ "sample 10", 9, "expected % and then the end", { 0 } },
	{ "sample 10% x", 9, "expected % and then the end", { 0 } },
	{ "limit x", 6, "expected a number of at most 9 digits", { 0 } },
	{ "limit 1000000000/s", 6, "expected a number of at most 9 digits", { 0 } },
	{ "limit 10/m", 8, "expected /s and then the end", { 0 } },
};

START_TEST(action_is_read)
{
	struct filter_error error = { 0 };
	struct filter_verdict v;
	int err = filter_verdict_parse(actions[_i].action, &v, &error);

	ck_assert_int_eq(err, actions[_i].text ? HT_ECONF : HT_OK);
	if (err == HT_OK) {
		ck_assert_int_eq(v.action, actions[_i].verdict.action);
		ck_assert_uint_eq(v.amount, actions[_i].verdict.amount);
	} else {
		ck_assert_str_eq(error.text, actions[_i].text);
		ck_assert_uint_eq(error.offset, actions[_i].offset);
	}
}
END_TEST

/* ---- scopes ---- */

static const struct {
	const char *when;
	enum filter_scope scope;
} scopes[] = {
	{ "method == 'INVITE'", FILTER_SCOPE_DIALOG },
	{ "ruri =~ 'a' && from.user == 'b' || header('X') == 'status'", FILTER_SCOPE_DIALOG },
	{ "cseq.method == 'BYE' && src.ip in ::/0", FILTER_SCOPE_DIALOG },
	{ "status == 200", FILTER_SCOPE_MESSAGE },
	{ "$rs == 200", FILTER_SCOPE_MESSAGE },
	{ "ruri == reason", FILTER_SCOPE_MESSAGE },
	{ "ruri == 'a' && !(is_request)", FILTER_SCOPE_MESSAGE },
	{ "is_reply", FILTER_SCOPE_MESSAGE },
	{ "body =~ 'a'", FILTER_SCOPE_MESSAGE },
	{ "content_type == 'a'", FILTER_SCOPE_MESSAGE },
};

START_TEST(scope_follows_from_the_fields)
{
	struct filter_source rule = { "r", scopes[_i].when, "drop", "", FILTER_SCOPE_AUTO };
	struct filter *f = filter_of(&rule, 1, "store");

	ck_assert_int_eq(filter_scope_of(scopes[_i].when), scopes[_i].scope);
	ck_assert_int_eq(filter_program_of(f)->rules[0].scope, scopes[_i].scope);
	filter_end(f);
	for (rule.scope = FILTER_SCOPE_MESSAGE; rule.scope <= FILTER_SCOPE_DIALOG; rule.scope++) {
		f = filter_of(&rule, 1, "store");
		ck_assert_int_eq(filter_program_of(f)->rules[0].scope, rule.scope);
		filter_end(f);
	}
}
END_TEST

static const struct filter_source mixed[] = {
	{ "a", "src.port == 1", "store", "", FILTER_SCOPE_MESSAGE },
	{ "b", "ruri.user == 'bob'", "drop", "other", FILTER_SCOPE_DIALOG },
	{ "c", "ruri.user =~ '.'", "store", "", FILTER_SCOPE_DIALOG },
};

static void check_decision(const struct made *of, int record, int rule, int to_record)
{
	struct filter *f = filter_of(mixed, 3, "drop");
	struct made m = *of;
	struct filter_decision d;

	made_init(&m);
	d = decide(f, &m, record);
	ck_assert_int_eq(d.rule, rule);
	ck_assert_int_eq(d.record, to_record);
	ck_assert_int_eq(d.is_stored, rule == 0 || rule == 2);
	ck_assert_str_eq(d.table, rule == 1 ? "other" : "");
	made_fini(&m);
	filter_end(f);
}

#define IN_DIALOG "To: <sip:b@c>;tag=2\r\nCall-ID: call-1\r\n"

START_TEST(dialog_rules_test_initial_requests_and_the_rest_goes_by_the_record)
{
	struct made first = { 0 }, alice = { URI("sip:alice@a") }, port = { .src_port = 1 };
	struct made bye = { .start = "BYE sip:bob@a SIP/2.0", .headers = IN_DIALOG };
	struct made reply = { STATUS("200 OK") }, cancel = { .start = "CANCEL sip:bob@a SIP/2.0" };
	struct made ack = { .start = "ACK sip:bob@a SIP/2.0" };
	struct made reply_port = { STATUS("200 OK"), .src_port = 1 };
	struct made options = { .start = "OPTIONS sip:bob@a SIP/2.0" };
	struct made reg = { .start = "REGISTER sip:alice@a SIP/2.0" };
	struct made message = { .start = "MESSAGE sip:alice@a SIP/2.0" };
	struct made rtcp = { .type = HEP_TYPE_RTCP };

	check_decision(&first, FILTER_NONE, 1, 1);
	check_decision(&alice, FILTER_NONE, 2, 2);
	check_decision(&message, FILTER_NONE, 2, 2);
	/* An initial request is tested, whatever its record names. */
	check_decision(&first, 2, 1, 1);
	check_decision(&alice, 1, 2, 2);
	check_decision(&port, 2, 0, FILTER_NONE);
	/* Others are not, but for rules of scope message. */
	check_decision(&bye, FILTER_NONE, FILTER_NONE, FILTER_NONE);
	check_decision(&bye, 1, 1, FILTER_NONE);
	check_decision(&bye, 2, 2, FILTER_NONE);
	check_decision(&reply, FILTER_NONE, FILTER_NONE, FILTER_NONE);
	check_decision(&reply, 2, 2, FILTER_NONE);
	check_decision(&reply_port, 2, 0, FILTER_NONE);
	check_decision(&reply, 0, FILTER_NONE, FILTER_NONE); /* rule 0 is none of dialogs */
	check_decision(&cancel, FILTER_NONE, FILTER_NONE, FILTER_NONE);
	check_decision(&cancel, 2, 2, FILTER_NONE);
	check_decision(&ack, 1, 1, FILTER_NONE);
	check_decision(&rtcp, 1, 1, FILTER_NONE);
	/* These are judged, and nothing follows. */
	check_decision(&options, FILTER_NONE, 1, FILTER_NONE);
	check_decision(&reg, FILTER_NONE, 2, FILTER_NONE);
}
END_TEST

START_TEST(default_action_is_for_the_rest)
{
	struct made m = { 0 };
	struct filter *f = filter_of(NULL, 0, "drop");

	made_init(&m);
	ck_assert_int_eq(decide(f, &m, FILTER_NONE).rule, FILTER_NONE);
	ck_assert(!decide(f, &m, FILTER_NONE).is_stored);
	filter_end(f);
	f = filter_of(NULL, 0, "store");
	ck_assert(decide(f, &m, 7).is_stored);
	filter_end(f);
	made_fini(&m);
}
END_TEST

/* ---- actions ---- */

static bool is_stored(struct filter *f, const char *callid)
{
	char headers[128];
	struct made m = { .headers = headers };
	bool stored;

	snprintf(headers, sizeof(headers), "Call-ID: %s\r\n", callid);
	made_init(&m);
	stored = decide(f, &m, FILTER_NONE).is_stored;
	m.start = NULL;
	made_fini(&m);
	m.start = "SIP/2.0 200 OK"; /* another message of the call */
	made_init(&m);
	ck_assert_int_eq(decide(f, &m, FILTER_NONE).is_stored, stored);
	made_fini(&m);
	return stored;
}

START_TEST(sample_keeps_its_share_of_calls)
{
	struct filter_source rule = { "r", "callid =~ '.'", "sample 10%", "",
				      FILTER_SCOPE_MESSAGE };
	struct filter *f = filter_of(&rule, 1, "drop");
	int stored = 0;
	char id[32];

	for (int i = 0; i < 10000; i++) {
		snprintf(id, sizeof(id), "call-%d@host", i);
		stored += is_stored(f, id);
	}
	ck_assert_int_gt(stored, 850); /* 5 times the deviation; the hash is always the same */
	ck_assert_int_lt(stored, 1150);
	filter_end(f);
	rule.action = "sample 0%";
	f = filter_of(&rule, 1, "store");
	ck_assert(!is_stored(f, "a"));
	filter_end(f);
	rule.action = "sample 100%";
	f = filter_of(&rule, 1, "drop");
	ck_assert(is_stored(f, "a"));
	filter_end(f);
}
END_TEST

static unsigned stored_of(struct filter *f, struct filter_thread *t, const struct made *m,
			  unsigned messages, uint64_t mono_us)
{
	struct filter_input in = made_input(m);
	struct filter_decision d;
	unsigned stored = 0;

	in.mono_us = mono_us;
	while (messages--) {
		filter_decide(f, t, &in, &d);
		stored += d.is_stored;
	}
	return stored;
}

START_TEST(limit_is_that_of_a_second)
{
	struct filter_source rule = { "r", "is_request", "limit 5/s", "", FILTER_SCOPE_MESSAGE };
	struct filter *f = filter_of(&rule, 1, "limit 2/s");
	struct made m = { 0 }, reply = { STATUS("200 OK") };

	made_init(&m);
	made_init(&reply);
	ck_assert_uint_eq(stored_of(f, thread, &m, 10, 7000000), 5);
	ck_assert_uint_eq(stored_of(f, thread, &m, 10, 7999999), 0);
	ck_assert_uint_eq(stored_of(f, thread, &m, 3, 8000000), 3);
	ck_assert_uint_eq(stored_of(f, thread, &m, 10, 7900000), 2); /* late: counts in 8 */
	ck_assert_uint_eq(stored_of(f, thread, &m, 10, 8900000), 0);
	ck_assert_uint_eq(stored_of(f, thread, &reply, 10, 8000000), 2);
	filter_end(f);
	rule.action = "limit 0/s";
	f = filter_of(&rule, 1, "store");
	ck_assert_uint_eq(stored_of(f, thread, &m, 10, 7000000), 0);
	filter_end(f);
	made_fini(&m);
	made_fini(&reply);
}
END_TEST

struct limited {
	struct filter *f;
	const struct made *m;
	unsigned stored;
};

static void *limited_thread(void *arg)
{
	struct limited *l = arg;
	struct filter_thread *t;

	ck_assert_int_eq(filter_thread_new(&t), HT_OK);
	for (unsigned second = 1; second <= 20; second++)
		l->stored += stored_of(l->f, t, l->m, 500, second * 1000000ULL);
	filter_thread_free(t);
	return NULL;
}

/* Nobody is ahead by more than what is let through, so each second has its hundred. */
START_TEST(limit_holds_over_threads)
{
	struct filter_source rule = { "r", "ruri =~ 'bob' && is_request", "limit 100/s", "",
				      FILTER_SCOPE_MESSAGE };
	struct filter *f = filter_of(&rule, 1, "drop");
	struct made m = { 0 };
	struct limited of[4];
	pthread_t threads[4];
	unsigned stored = 0;

	made_init(&m);
	for (int i = 0; i < 4; i++) {
		of[i] = (struct limited){ f, &m, 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, limited_thread, &of[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		stored += of[i].stored;
	}
	ck_assert_uint_eq(stored, 2000);
	made_fini(&m);
	filter_end(f);
}
END_TEST

/* ---- limits of expressions ---- */

static void check_unsure(void)
{
	struct filter_source rules[] = {
		{ "slow", "body =~ '^(a+)+$'", "drop", "", FILTER_SCOPE_MESSAGE },
		{ "not", "body !~ '^(a+)+$'", "drop", "", FILTER_SCOPE_MESSAGE },
	};
	char body[2002];
	struct made m = { .body = body }, good = { .body = "aaa" };
	struct filter *f = filter_of(rules, 2, "drop");

	memset(body, 'a', sizeof(body) - 2);
	strcpy(body + sizeof(body) - 2, "b");
	made_init(&m);
	made_init(&good);
	for (unsigned i = 1; i <= 3; i++) {
		struct filter_decision d = decide(f, &m, FILTER_NONE);

		ck_assert(d.is_stored && d.is_unsure);
		ck_assert_int_eq(d.rule, FILTER_NONE);
		ck_assert_uint_eq(counter_get(filter_thread_unsure(thread)), i);
		d = decide(f, &good, FILTER_NONE);
		ck_assert(!d.is_stored && !d.is_unsure);
		ck_assert_int_eq(d.rule, 0);
	}
	made_fini(&m);
	made_fini(&good);
	filter_end(f);
}

START_TEST(expression_at_its_limit_keeps_the_message)
{
	check_unsure();
}
END_TEST

START_TEST(interpreted_expression_is_limited_too)
{
	filter_regex_interpret(true);
	check_unsure();
}
END_TEST

START_TEST(deciding_allocates_nothing)
{
	struct filter_source rules[] = {
		{ "a", "body =~ '^(a+)+$' || header('Q') == 'r' || src.ip =~ '9$'", "drop", "", 0 },
		{ "b", "pai.user in {'x', 10.0.0.0/8} || ruri.host in 10.0.0.0/8", "drop", "", 0 },
		{ "c", "ruri =~ 'alice.*@'", "limit 1/s", "", 0 },
	};
	struct filter *f = filter_of(rules, 3, "sample 50%");
	struct made m = { FULL };
	struct filter_input in;
	struct filter_decision d;
	uint64_t before;

	made_init(&m);
	in = made_input(&m);
	before = mallocs;
	for (int i = 0; i < 100; i++)
		filter_decide(f, thread, &in, &d);
	ck_assert_uint_eq(mallocs, before);
	ck_assert(!COUNTS_MALLOCS || before > 0);
	made_fini(&m);
	filter_end(f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("filter");
	TCase *t = tcase_create("filter");

	tcase_add_checked_fixture(t, start, stop);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, expressions_for_trunks_tell_what_they_are_for, 0, ROWS(trunks));
	tcase_add_loop_test(t, field_is_what_it_says, 0, ROWS(values));
	tcase_add_loop_test(t, condition_holds, 0, ROWS(full_yes));
	tcase_add_loop_test(t, condition_does_not_hold, 0, ROWS(full_no));
	tcase_add_test(t, reply_has_its_own_fields);
	tcase_add_test(t, what_is_not_sip_has_no_fields_of_sip);
	tcase_add_loop_test(t, transport_has_a_name, 0, ROWS(transports));
	tcase_add_test(t, string_is_raw);
	tcase_add_test(t, header_that_comes_twice_counts_first);
	tcase_add_loop_test(t, error_says_where_and_what, 0, ROWS(errors));
	tcase_add_test(t, condition_is_bounded);
	tcase_add_test(t, headers_are_bounded_over_all_rules);
	tcase_add_loop_test(t, action_is_read, 0, ROWS(actions));
	tcase_add_loop_test(t, scope_follows_from_the_fields, 0, ROWS(scopes));
	tcase_add_test(t, dialog_rules_test_initial_requests_and_the_rest_goes_by_the_record);
	tcase_add_test(t, default_action_is_for_the_rest);
	tcase_add_test(t, sample_keeps_its_share_of_calls);
	tcase_add_test(t, limit_is_that_of_a_second);
	tcase_add_test(t, limit_holds_over_threads);
	tcase_add_test(t, expression_at_its_limit_keeps_the_message);
	tcase_add_test(t, interpreted_expression_is_limited_too);
	tcase_add_test(t, deciding_allocates_nothing);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(suite());
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
