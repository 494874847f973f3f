/* capture/tally.c: what of which message is counted, and what the rows of sums say of it. */
#include "capture/tally.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/first.h"
#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/block.h"

#define BEGIN 1700000100ULL /* five minutes begin here */

static struct first *first;
static struct tally *tally;
static struct block *block;
static char rows[1 << 20];

static void make(bool is_homer5, uint32_t max_rows)
{
	struct tally_options o = { .seed = 7, .is_homer5 = is_homer5 };

	ck_assert_int_eq(first_new(&first, 16 << 20), HT_OK);
	o.first = first;
	ck_assert_int_eq(tally_new(&tally, &o), HT_OK);
	ck_assert_int_eq(block_new(&block, max_rows), HT_OK);
}

static void make_homer3(void)
{
	make(false, 1000);
}

static void drop(void)
{
	tally_free(tally);
	first_free(first);
	block_free(block);
}

/* A message as a receive thread has it: start line and headers, both with their ends. */
static void count_from(uint64_t ts_s, const char *source, const char *start, const char *headers)
{
	char text[8192];
	struct msg m = { .ts_us = ts_s * 1000000 };
	struct sip s;

	snprintf(text, sizeof(text), "%s\r\n%s\r\n", start, headers);
	m.payload = view_of(text);
	ck_assert_int_eq(sip_parse(m.payload, NULL, &s), HT_OK);
	tally_count(tally, &m, &s, tally_key(tally, &s), view_of(source));
}

static void count(const char *start, const char *headers)
{
	count_from(BEGIN, "192.0.2.1", start, headers);
}

static void request(const char *method, const char *headers)
{
	static unsigned call;
	char start[256], all[4096];

	snprintf(start, sizeof(start), "%s sip:b@example.net SIP/2.0", method);
	snprintf(all, sizeof(all), "Call-ID: q%u\r\nCSeq: 1 %s\r\n%s", call++, method, headers);
	count(start, all);
}

static void reply(unsigned code, const char *method, const char *headers)
{
	static unsigned call;
	char start[256], all[4096];

	snprintf(start, sizeof(start), "SIP/2.0 %u Because", code);
	snprintf(all, sizeof(all), "Call-ID: a%u\r\nCSeq: 1 %s\r\n%s", call++, method, headers);
	count(start, all);
}

/* The rows of what is written now, one line each, in their order: at, kind, name, cseq, auth,
 * totag, text, total. */
static const char *written(void)
{
	size_t used = 0;

	rows[0] = '\0';
	while (tally_has_sums(tally)) {
		block_reset(block);
		tally_write(tally, block, 5);
		block_seal(block);
		block_stamp(block, 1, STREAM_STATISTICS | 9, 1, 0);
		const struct block_head *h = block_head_of(block->bytes);

		ck_assert_int_eq(block_check(block->bytes, h->bytes), HT_OK);
		for (uint32_t i = 0; i < h->rows; i++) {
			const struct row_head *r = block_row(h, i);
			struct view name = delta_text(h, r, DELTA_name),
				    cseq = delta_text(h, r, DELTA_cseq),
				    text = delta_text(h, r, DELTA_text);

			ck_assert_uint_eq(r->table, ROW_TABLE_STATISTICS);
			used += (size_t)snprintf(
				rows + used, sizeof(rows) - used, "%d %d %.*s/%.*s %d%d %.*s=%d\n",
				(int)((int64_t)delta_number(h, r, DELTA_at) - (int64_t)BEGIN),
				(int)delta_number(h, r, DELTA_kind), (int)name.len,
				(const char *)name.at, (int)cseq.len, (const char *)cseq.at,
				(int)delta_number(h, r, DELTA_auth),
				(int)delta_number(h, r, DELTA_totag), (int)text.len,
				(const char *)text.at, (int)delta_number(h, r, DELTA_total));
			ck_assert_uint_lt(used, sizeof(rows));
		}
	}
	return rows;
}

#define TAG  "To: <sip:b@example.net>;tag=t\r\n"
#define AUTH "Authorization: Digest username=\"alice\", realm=\"x\"\r\n"
#define UA   "User-Agent: phone\r\n"

/* One message after the other, each with the rows that it alone leads to. */
static const struct rule {
	unsigned code; /* 0: a request */
	const char *method, *headers, *rows;
} rules[] = {
	{ 0, "INVITE", UA,
	  "0 1 ALL/ 00 =1\n0 1 INVITE/ 00 =1\n0 3 INVITE/ 00 192.0.2.1=1\n0 4 INVITE/ 00 "
	  "phone=1\n" },
	{ 0, "INVITE", "", "0 1 ALL/ 00 =1\n0 1 INVITE/ 00 =1\n0 3 INVITE/ 00 192.0.2.1=1\n" },
	{ 0, "INVITE", AUTH,
	  "0 1 ALL/ 00 =1\n0 1 INVITE/ 00 =1\n0 1 INVITE/ 10 =1\n0 3 INVITE/ 00 192.0.2.1=1\n" },
	{ 0, "INVITE", TAG AUTH UA,
	  "0 1 ALL/ 00 =1\n0 1 INVITE/ 01 =1\n0 3 INVITE/ 00 192.0.2.1=1\n" },
	{ 0, "REGISTER", UA,
	  "0 1 ALL/ 00 =1\n0 1 REGISTER/ 00 =1\n0 3 REGISTER/ 00 192.0.2.1=1\n0 4 REGISTER/ 00 "
	  "phone=1\n" },
	{ 0, "REGISTER", AUTH,
	  "0 1 ALL/ 00 =1\n0 1 REGISTER/ 00 =1\n0 1 REGISTER/ 10 =1\n0 3 REGISTER/ 00 "
	  "192.0.2.1=1\n" },
	{ 0, "INVITE", TAG "User-Agent: a SIPVicious b\r\n",
	  "0 1 ALL/ 00 =1\n0 1 INVITE/ 01 =1\n0 3 INVITE/ 00 192.0.2.1=1\n0 6 scanner/ 00 "
	  "192.0.2.1=1\n" },
	{ 0, "REGISTER", "User-Agent: Friendly-Scanner\r\n",
	  "0 1 ALL/ 00 =1\n0 1 REGISTER/ 00 =1\n0 3 REGISTER/ 00 192.0.2.1=1\n0 6 scanner/ 00 "
	  "192.0.2.1=1\n0 4 REGISTER/ 00 Friendly-Scanner=1\n" },
	{ 0, "OPTIONS", "User-Agent: friendly-scanner\r\n",
	  "0 1 ALL/ 00 =1\n0 1 OPTIONS/ 00 =1\n" },
	{ 0, "BYE", "", "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n" },
	{ 0, "BYE", "Reason: Q.850;cause=16\r\n", "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n" },
	{ 0, "BYE", "Reason: Q.850 ;cause=17;text=\"x\"\r\n", "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n" },
	{ 0, "BYE", "Reason: Q.850;Cause=38\r\n",
	  "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n0 2 sdf/ 00 =1\n" },
	{ 0, "BYE", "Reason: Q.850;cause=160\r\n",
	  "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n0 2 sdf/ 00 =1\n" },
	{ 0, "BYE", "Reason: Q.850;text=\"no cause\"\r\n", "0 1 ALL/ 00 =1\n0 1 BYE/ 00 =1\n" },
	{ 0, "CANCEL", "Reason: Q.850;cause=38\r\n", "0 1 ALL/ 00 =1\n0 1 CANCEL/ 00 =1\n" },
	{ 0, "REFER", "", "0 1 ALL/ 00 =1\n0 1 REFER/ 00 =1\n" },
	{ 0, "UPDATE", "", "0 1 ALL/ 00 =1\n0 1 UPDATE/ 00 =1\n" },
	{ 0, "ACK", "", "0 1 ALL/ 00 =1\n" },
	{ 0, "PUBLISH", UA, "0 1 ALL/ 00 =1\n" },
	{ 0, "invite", UA, "0 1 ALL/ 00 =1\n" },
	{ 100, "INVITE", "", "0 1 ALL/ 00 =1\n" },
	{ 183, "INVITE", "", "0 1 ALL/ 00 =1\n" },
	{ 200, "INVITE", TAG UA, "0 1 ALL/ 00 =1\n0 1 200/INVITE 00 =1\n" },
	{ 200, "BYE", TAG, "0 1 ALL/ 00 =1\n0 1 200/BYE 00 =1\n" },
	{ 200, "REGISTER", "", "0 1 ALL/ 00 =1\n" },
	{ 401, "INVITE", "", "0 1 ALL/ 00 =1\n0 1 401/INVITE 00 =1\n" },
	{ 401, "BYE", "", "0 1 ALL/ 00 =1\n0 1 401/BYE 00 =1\n" },
	{ 401, "REGISTER", "", "0 1 ALL/ 00 =1\n" },
	{ 407, "INVITE", "", "0 1 ALL/ 00 =1\n0 1 407/INVITE 00 =1\n" },
	{ 407, "BYE", "", "0 1 ALL/ 00 =1\n0 1 407/BYE 00 =1\n" },
	{ 300, "INVITE", "", "0 1 ALL/ 00 =1\n0 1 300/ 00 =1\n" },
	{ 301, "OPTIONS", "", "0 1 ALL/ 00 =1\n0 1 300/ 00 =1\n" },
	{ 302, "REGISTER", "", "0 1 ALL/ 00 =1\n0 1 300/ 00 =1\n" },
	{ 305, "INVITE", "", "0 1 ALL/ 00 =1\n" },
	{ 486, "INVITE", "", "0 1 ALL/ 00 =1\n0 2 bad/ 00 =1\n" },
	{ 487, "INVITE", "", "0 1 ALL/ 00 =1\n0 2 bad/ 00 =1\n" },
	{ 603, "INVITE", "", "0 1 ALL/ 00 =1\n0 2 bad/ 00 =1\n" },
	{ 486, "BYE", "", "0 1 ALL/ 00 =1\n" },
	{ 504, "INVITE", "", "0 1 ALL/ 00 =1\n0 2 sd/ 00 =1\n" },
	{ 408, "INVITE", "", "0 1 ALL/ 00 =1\n0 2 isa/ 00 =1\n0 5 408/ 00 =1\n" },
	{ 408, "REGISTER", "", "0 1 ALL/ 00 =1\n0 5 408/ 00 =1\n" },
	{ 500, "INVITE", "Via: SIP/2.0/UDP 192.0.2.5\r\n",
	  "0 1 ALL/ 00 =1\n0 2 isa/ 00 =1\n0 2 sd/ 00 =1\n0 5 500/ 00 =1\n" },
	{ 503, "INVITE",
	  "Via: SIP/2.0/UDP 192.0.2.5\r\nv: SIP / 2.0 / TCP host.example:5070;branch=x, "
	  "SIP/2.0/UDP "
	  "192.0.2.7\r\n",
	  "0 1 ALL/ 00 =1\n0 2 isa/ 00 =1\n0 2 sd/ 00 =1\n0 5 503/ 00 =1\n0 5 503/ 00 "
	  "host.example=1\n" },
	{ 400, "OPTIONS", "Via: SIP/2.0/UDP 192.0.2.5, SIP/2.0/TLS [2001:db8::1]:5061;branch=x\r\n",
	  "0 1 ALL/ 00 =1\n0 5 400/ 00 =1\n0 5 400/ 00 [2001:db8::1]=1\n" },
	{ 403, "INVITE", "Via: SIP/2.0/UDP 192.0.2.5, SIP/2.0/UDP 192.0.2.6\r\n",
	  "0 1 ALL/ 00 =1\n0 5 403/ 00 =1\n" },
	{ 413, "INVITE", "", "0 1 ALL/ 00 =1\n0 5 413/ 00 =1\n" },
	{ 482, "INVITE", "", "0 1 ALL/ 00 =1\n0 5 482/ 00 =1\n" },
	{ 483, "INVITE", "", "0 1 ALL/ 00 =1\n0 5 483/ 00 =1\n" },
};

START_TEST(each_message_leads_to_its_rows)
{
	const struct rule *r = &rules[_i];

	if (r->code)
		reply(r->code, r->method, r->headers);
	else
		request(r->method, r->headers);
	ck_assert_str_eq(written(), r->rows);
	ck_assert(!tally_has_sums(tally));
	ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(a_repeat_counts_as_a_message_and_no_more)
{
	for (int i = 0; i < 3; i++)
		count("INVITE sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 1 INVITE\r\n");
	ck_assert_str_eq(written(),
			 "0 1 ALL/ 00 =3\n0 1 INVITE/ 00 =1\n0 3 INVITE/ 00 192.0.2.1=1\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->repeats), 2);
	/* another number, another method, a reply, another code, another method answered: no repeat
	 */
	count("INVITE sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 2 INVITE\r\n");
	count("BYE sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 1 BYE\r\n");
	count("SIP/2.0 200 OK", "Call-ID: x\r\nCSeq: 1 INVITE\r\n");
	count("SIP/2.0 180 Ringing", "Call-ID: x\r\nCSeq: 1 INVITE\r\n");
	count("SIP/2.0 200 OK", "Call-ID: x\r\nCSeq: 1 BYE\r\n");
	count("INVITE sip:b SIP/2.0", "Call-ID: y\r\nCSeq: 1 INVITE\r\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->repeats), 2);
	/* 31 s of packet time later it is a first one again */
	count_from(BEGIN + 31, "192.0.2.1", "BYE sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 1 BYE\r\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->repeats), 3);
	count_from(BEGIN + 32, "192.0.2.1", "BYE sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 1 BYE\r\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->repeats), 3);
}
END_TEST

START_TEST(homer5_has_a_total_and_packets)
{
	drop();
	make(true, 1000);
	for (int i = 0; i < 2; i++)
		count("OPTIONS sip:b SIP/2.0", "Call-ID: x\r\nCSeq: 1 OPTIONS\r\n");
	ck_assert_str_eq(written(), "0 1 TOTAL/ 00 =2\n0 1 ALL/ 00 =1\n0 1 OPTIONS/ 00 =1\n"
				    "0 2 packet_count/ 00 =2\n0 2 packet_size/ 00 =108\n");
}
END_TEST

START_TEST(five_minutes_end_at_their_edge_and_alarms_at_minutes)
{
	static const int after[] = { -1, 0, 59, 60, 299, 300 };
	char headers[64];

	for (int i = 0; i < 6; i++) {
		snprintf(headers, sizeof(headers), "Call-ID: e%d\r\nCSeq: 1 OPTIONS\r\n", i);
		count_from(BEGIN + (uint64_t)(int64_t)after[i], "192.0.2.1", "SIP/2.0 483 No",
			   headers);
	}
	ck_assert_str_eq(written(),
			 "-300 1 ALL/ 00 =1\n-60 5 483/ 00 =1\n"
			 "0 1 ALL/ 00 =4\n0 5 483/ 00 =2\n60 5 483/ 00 =1\n240 5 483/ 00 =1\n"
			 "300 1 ALL/ 00 =1\n300 5 483/ 00 =1\n");
}
END_TEST

START_TEST(late_messages_are_counted_in_their_time)
{
	char headers[64];

	for (unsigned i = 0; i < 24; i++) { /* times that stay in memory */
		snprintf(headers, sizeof(headers), "Call-ID: l%u\r\nCSeq: 1 BYE\r\n", i);
		ck_assert(!tally_is_full(tally, (BEGIN + i % 8 * 300) * 1000000));
		count_from(BEGIN + i % 8 * 300, "192.0.2.1", "BYE sip:b SIP/2.0", headers);
	}
	written();
	for (unsigned i = 0; i < 8; i++) {
		snprintf(headers, sizeof(headers), "%u 1 BYE/ 00 =3\n", i * 300);
		ck_assert_msg(strstr(rows, headers) != NULL, "%s lacks %s", rows, headers);
	}
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->lost), 0);
}
END_TEST

START_TEST(sums_pushed_out_unwritten_are_counted_as_lost)
{
	uint64_t far = BEGIN + 8 * 300;
	char headers[64];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(headers, sizeof(headers), "Call-ID: l%u\r\nCSeq: 1 BYE\r\n", i);
		count_from(BEGIN + i * 300, "192.0.2.1", "BYE sip:b SIP/2.0", headers);
	}
	ck_assert(tally_is_full(tally, far * 1000000));
	count_from(far, "192.0.2.1", "BYE sip:b SIP/2.0", "Call-ID: far\r\nCSeq: 1 BYE\r\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->lost), 2);
	written();
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->made), 2 * 9);
	ck_assert(strstr(rows, "\n0 1 BYE") == NULL);
	ck_assert(strstr(rows, "2400 1 BYE/ 00 =1\n") != NULL);
	ck_assert(!tally_is_full(tally, (far + 300) * 1000000)); /* written: it may go */
	count_from(far + 300, "192.0.2.1", "BYE sip:b SIP/2.0", "Call-ID: f\r\nCSeq: 1 BYE\r\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->lost), 2);
}
END_TEST

START_TEST(too_many_texts_go_under_other)
{
	for (unsigned i = 0; i < 3000; i++) {
		char headers[128], source[32];

		snprintf(headers, sizeof(headers),
			 "Call-ID: t%u\r\nCSeq: 1 INVITE\r\nUser-Agent: ua%u\r\n", i, i);
		snprintf(source, sizeof(source), "10.0.%u.%u", i >> 8, i & 255);
		count_from(BEGIN, source, "INVITE sip:b SIP/2.0", headers);
		if (i % 1000 == 999) /* what is known stays known once it is written */
			written();
	}
	for (unsigned i = 0; i < 3000; i += 1000) {
		char headers[128];

		snprintf(headers, sizeof(headers),
			 "Call-ID: u%u\r\nCSeq: 1 INVITE\r\nUser-Agent: ua%u\r\n", i, i);
		count_from(BEGIN, "10.0.0.0", "INVITE sip:b SIP/2.0", headers);
	}
	written();
	ck_assert_str_eq(rows, "0 1 ALL/ 00 =3\n0 1 INVITE/ 00 =3\n0 3 INVITE/ 00 10.0.0.0=3\n"
			       "0 4 INVITE/ 00 ua0=1\n0 4 INVITE/ 00 other=2\n");
	ck_assert_uint_eq(counter_get(&tally_counters(tally)->others),
			  3000 - TALLY_ADDRESSES + 3000 - TALLY_USER_AGENTS + 2);
}
END_TEST

START_TEST(a_long_text_is_cut_between_characters)
{
	char headers[512] = "Call-ID: x\r\nCSeq: 1 REGISTER\r\nUser-Agent: ";
	struct view agent;

	memset(headers + strlen(headers), 'a', 115);
	strcat(headers, "\xc3\xa4\xc3\xa4\r\n");
	count("REGISTER sip:b SIP/2.0", headers);
	block_reset(block);
	tally_write(tally, block, 5);
	block_seal(block);
	agent = delta_text(block_head_of(block->bytes), block_row(block->bytes, 3), DELTA_text);
	ck_assert_uint_eq(agent.len, 115);
}
END_TEST

START_TEST(a_full_block_is_followed_by_another)
{
	uint64_t made;

	drop();
	make(false, 2);
	request("INVITE", AUTH UA);
	reply(503, "INVITE", "Via: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\n");
	ck_assert_str_eq(written(),
			 "0 1 ALL/ 00 =2\n0 1 INVITE/ 00 =1\n0 1 INVITE/ 10 =1\n0 2 isa/ 00 =1\n"
			 "0 2 sd/ 00 =1\n0 5 503/ 00 =1\n0 3 INVITE/ 00 192.0.2.1=1\n"
			 "0 4 INVITE/ 00 phone=1\n0 5 503/ 00 b=1\n");
	made = counter_get(&tally_counters(tally)->made);
	ck_assert_uint_eq(made, 9);
	ck_assert(!tally_has_sums(tally));
}
END_TEST

START_TEST(hosts_of_vias)
{
	static const struct {
		const char *headers, *hosts[3];
	} cases[] = {
		{ "Via: SIP/2.0/UDP a;branch=1\r\n", { "a", "", "" } },
		{ "Via: SIP/2.0/UDP a;branch=1\r\nVia: SIP/2.0/UDP b:5060\r\n", { "a", "b", "" } },
		{ "Via: SIP/2.0/UDP a;x=1,SIP/2.0/UDP b\r\nv:SIP/2.0/TCP c\r\n",
		  { "a", "b", "c" } },
		{ "Via: SIP/2.0/UDP a,\r\n SIP/2.0/UDP  [::1]:1 ;r\r\n", { "a", "[::1]", "" } },
		{ "Via: nothing\r\nVia: SIP/2.0\r\nVia: SIP/2.0/UDP\r\n", { "", "", "" } },
		{ "X: y\r\n", { "", "", "" } },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), "SIP/2.0 200 OK\r\n%s\r\nVia: SIP/2.0/UDP body\r\n",
			 cases[i].headers);
		for (unsigned n = 0; n < 3; n++)
			ck_assert_msg(view_is(sip_via_host(view_of(text), n), cases[i].hosts[n]),
				      "%s: %u", cases[i].headers, n);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tally");
	TCase *t = tcase_create("tally");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, make_homer3, drop);
	tcase_add_loop_test(t, each_message_leads_to_its_rows, 0,
			    (int)(sizeof(rules) / sizeof(rules[0])));
	tcase_add_test(t, a_repeat_counts_as_a_message_and_no_more);
	tcase_add_test(t, homer5_has_a_total_and_packets);
	tcase_add_test(t, five_minutes_end_at_their_edge_and_alarms_at_minutes);
	tcase_add_test(t, late_messages_are_counted_in_their_time);
	tcase_add_test(t, sums_pushed_out_unwritten_are_counted_as_lost);
	tcase_add_test(t, too_many_texts_go_under_other);
	tcase_add_test(t, a_long_text_is_cut_between_characters);
	tcase_add_test(t, a_full_block_is_followed_by_another);
	tcase_add_test(t, hosts_of_vias);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
