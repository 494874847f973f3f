/*
 * RTCP from frame to row: it finds the call whose session description named its address, each
 * packet and message is in one place of its line, and nothing is allocated on the way.
 */
#include "capture/packets.h"

#include <check.h>
#include <stdio.h>

#include "conf/rcu.h"
#include "storage/block.h"
#include "storage/media.h"
#include "storage/seen.h"
#include "tests/unit/make_packet.h"
#include "tests/unit/make_rtcp.h"
#include "tests/unit/mallocs.h"
#include "tests/unit/rig.h"

#define MEMORY (64 << 20)
#define TS_US  1700000000123456ULL

#define CONF                                       \
	"capture:\n"                               \
	"  - { name: m, file: x }\n"               \
	"  - { name: n, file: y }\n"               \
	"  - { name: no, file: z, rtcp: false }\n" \
	"  - { name: any, file: a, bpf: 'udp' }\n"
enum { FIRST, SECOND, WITHOUT, ANY };

/* Media at 192.0.2.1, what @p lines say. */
#define INVITE(lines)                                                                             \
	"INVITE sip:b@example.org SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: " \
	"the-call\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 "     \
	"192.0.2.1\r\nt=0 0\r\n" lines

static struct rig rig;
static struct decide_tables tables;
static uint8_t block[8192];

static void setup_with(const char *yaml)
{
	ck_assert_int_eq(media_new(&tables.media, 1000, 1), HT_OK);
	ck_assert_int_eq(seen_new(&tables.seen, 1000, 1), HT_OK);
	rig_make_with(&rig, yaml, &tables);
}

static void setup(void)
{
	setup_with(CONF);
}

static void teardown(void)
{
	rig_unmake(&rig);
	rcu_table_free(tables.media);
	rcu_table_free(tables.seen);
}

/* From 192.0.2.1 to 198.51.100.2. */
static void give(const void *payload, size_t len, unsigned from, unsigned to)
{
	struct made m = { 0 };
	struct captured c;

	made_bytes(&m, payload, len);
	made_udp(&m, from, to);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	c = (struct captured){ .bytes = { made_at(&m), (uint32_t)m.len },
			       .wire_len = (uint32_t)m.len,
			       .link = LINK_RAW,
			       .ts_us = TS_US };
	rig_frame(&rig, &c);
}

static void give_text(const char *sip)
{
	give(sip, strlen(sip), 5060, 5060);
}

static void give_rr(unsigned from, unsigned to)
{
	struct rtcp_made m = { 0 };

	rtcp_rr(&m, 7, 1);
	rtcp_block(&m, 8, 3, 4);
	give(m.at, m.len, from, to);
}

/* Rows that were made; @p last gets the last one, which is in `block`. */
static unsigned rows_take(const struct row_head **last)
{
	unsigned rows = 0;
	struct block *b;

	worker_flush(rig.worker);
	while ((b = worker_take_sealed(rig.worker))) {
		ck_assert_uint_le(block_head_of(b->bytes)->bytes, sizeof(block));
		memcpy(block, b->bytes, block_head_of(b->bytes)->bytes);
		rows += b->rows;
		if (last)
			*last = block_row(block, b->rows - 1);
		worker_give_back(rig.worker, b);
	}
	return rows;
}

static void expect_text(const struct row_head *row, unsigned column, const char *want)
{
	struct view v = row_text(block_head_of(block), row, column);

	ck_assert_msg(view_is(v, want), "%.*s, not %s", (int)v.len, (const char *)v.at, want);
}

static long long number(const struct row_head *row, unsigned column)
{
	return row_number(block_head_of(block), row, column, 0);
}

static uint64_t end_of(const char *reason)
{
	struct stats_packets s;

	ck_assert_uint_eq(rig_packets_missing(&rig, &s), 0);
	ck_assert_uint_eq(rig_messages_missing(&rig), 0);
	for (unsigned i = 0; i < s.end_count; i++)
		if (strcmp(s.end[i].reason, reason) == 0)
			return s.end[i].count;
	ck_abort_msg("no reason %s", reason);
	return 0;
}

START_TEST(a_report_is_a_row_of_its_call)
{
	const struct row_head *row;

	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	ck_assert_uint_eq(rows_take(NULL), 1);
	give_rr(40001, 50001);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	ck_assert_uint_eq(rows_take(&row), 1);
	ck_assert_uint_eq(row->table, ROW_TABLE_RTCP_CAPTURE);
	expect_text(row, ROW_correlation_id, "the-call");
	expect_text(row, ROW_source_ip, "192.0.2.1");
	expect_text(row, ROW_msg,
		    "{\"ssrc\":7,\"type\":201,\"report_blocks\":[{\"source_ssrc\":8,"
		    "\"highest_seq_no\":65576,\"fraction_lost\":3,\"ia_jitter\":52,"
		    "\"packets_lost\":4,\"lsr\":1036856468,\"dlsr\":6000}],\"report_count\":1}");
	ck_assert_int_eq(number(row, ROW_type), 3);
	ck_assert_int_eq(number(row, ROW_source_port), 40001);
	ck_assert_int_eq(number(row, ROW_destination_port), 50001);
	ck_assert_int_eq(number(row, ROW_proto), 1);
	ck_assert_int_eq(number(row, ROW_micro_ts), TS_US);
	ck_assert_uint_eq(counter_get(&rig.messages->received), 2);
	ck_assert_uint_eq(counter_get(&rig.messages->accepted), 2);
}
END_TEST

/* ---- where it comes from ---- */

/* clang-format off */
static const struct {
	const char *sip;
	unsigned from, to;
	bool is_found;
} places[] = {
	{ INVITE("m=audio 40000 RTP/AVP 8\r\n"), 40001, 1, true },
	{ INVITE("m=audio 40000 RTP/AVP 8\r\n"), 40000, 1, true }, /* on the port of RTP */
	{ INVITE("m=audio 40000 RTP/AVP 8\r\na=rtcp-mux\r\n"), 40000, 1, true },
	{ INVITE("m=audio 40000 RTP/AVP 8\r\na=rtcp:45000\r\n"), 45000, 1, true },
	{ INVITE("m=audio 40000 RTP/AVP 8\r\n"), 40002, 1, false },
	{ INVITE("m=audio 40000 RTP/AVP 8\r\n"), 39999, 1, false },
	/* of the other side only the port is the same */
	{ INVITE("m=audio 40000 RTP/AVP 8\r\n"), 1, 40001, false },
	{ INVITE("c=IN IP4 198.51.100.2\r\nm=audio 41000 RTP/AVP 8\r\nc=IN IP4 198.51.100.2\r\n"),
	  1, 41001, true },
};
/* clang-format on */

START_TEST(address_is_the_one_that_was_named)
{
	const struct row_head *row;

	rig_capture(&rig, FIRST, MEMORY);
	give_text(places[_i].sip);
	give_rr(places[_i].from, places[_i].to);
	ck_assert_uint_eq(end_of("rtcp"), !places[_i].is_found);
	ck_assert_uint_eq(rows_take(&row), 1U + places[_i].is_found);
	if (places[_i].is_found)
		expect_text(row, ROW_correlation_id, "the-call");
}
END_TEST

START_TEST(others_have_reasons_of_their_own)
{
	static const uint8_t rtp[40] = { 0x80, 8 };
	struct rtcp_made m = { 0 };

	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\na=rtcp-mux\r\n"));
	give_rr(1, 2); /* of a call that nobody knows */
	give(rtp, sizeof(rtp), 40000, 2);
	rtcp_rr(&m, 7, 0);
	rtcp_end(&m);
	rtcp_bytes(&m, "\x80\0\0\1abcdefghij", 14);
	give(m.at, m.len, 40000, 2);
	m.len = 0;
	rtcp_begin(&m, 206, 1);
	rtcp_zeros(&m, 8);
	give(m.at, m.len, 40000, 2);
	give(m.at, m.len - 1, 40000, 2); /* longer than its datagram: not RTCP */
	ck_assert_uint_eq(end_of("rtcp"), 1);
	ck_assert_uint_eq(end_of("srtcp"), 1);
	ck_assert_uint_eq(end_of("rtcp_feedback"), 1);
	ck_assert_uint_eq(end_of("port"), 2);
	ck_assert_uint_eq(rows_take(NULL), 1);
}
END_TEST

START_TEST(without_the_key_it_is_a_port_among_others)
{
	rig_capture(&rig, WITHOUT, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	give_rr(40001, 1);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	ck_assert_uint_eq(end_of("port"), 1);
	ck_assert_uint_eq(rows_take(NULL), 1);
}
END_TEST

START_TEST(a_filter_of_the_users_may_let_it_through)
{
	rig_capture(&rig, ANY, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	give_rr(40001, 1);
	give_rr(1, 1);
	ck_assert_uint_eq(end_of("rtcp"), 1);
	ck_assert_uint_eq(end_of("content"), 0);
	ck_assert_uint_eq(rows_take(NULL), 2);
}
END_TEST

START_TEST(a_source_that_is_off_takes_nothing)
{
	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	atomic_store(&rig.is_off[rig.conf->hep_count + FIRST], true);
	give_rr(40001, 1);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	ck_assert_uint_eq(counter_get(&rig.messages->denied_off), 1);
	ck_assert_uint_eq(rows_take(NULL), 1);
}
END_TEST

START_TEST(what_two_taps_bring_is_stored_once)
{
	uint64_t duplicate;

	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	give_rr(40001, 1);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	rig_uncapture(&rig);
	rig_capture(&rig, SECOND, MEMORY);
	give_rr(40001, 1);
	duplicate = counter_get(&rig.messages->duplicate);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	ck_assert_uint_eq(duplicate, 1);
	ck_assert_uint_eq(rows_take(NULL), 2);
}
END_TEST

START_TEST(rules_say_whether_it_is_stored)
{
	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	give_rr(40001, 1);
	ck_assert_uint_eq(end_of("rtcp"), 0);
	ck_assert_uint_eq(counter_get(&rig.messages->filtered), 1);
	ck_assert_uint_eq(rows_take(NULL), 1);
}
END_TEST

static void setup_with_rule(void)
{
	setup_with(CONF "filters:\n  - { name: no, when: 'type == \"rtcp\"', action: drop, scope: "
			"message }\n");
}

START_TEST(nothing_is_allocated_for_it)
{
	struct rtcp_made m = { 0 };
	uint64_t before;

	rig_capture(&rig, FIRST, MEMORY);
	give_text(INVITE("m=audio 40000 RTP/AVP 8\r\n"));
	rtcp_sr(&m, 7, 1);
	rtcp_block(&m, 8, 3, 4);
	rtcp_sdes(&m, 7, 1, "somebody@example.com");
	before = mallocs;
	give(m.at, m.len, 40001, 1);
	give(m.at, m.len, 1, 1);
	before -= mallocs;
	ck_assert_uint_eq(before, 0);
	ck_assert_uint_eq(end_of("rtcp"), 1);
	ck_assert_uint_eq(rows_take(NULL), 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rtcp packets");
	TCase *t = tcase_create("rtcp"), *rule = tcase_create("with a rule");
	SRunner *runner;
	int failed;

	rcu_thread_begin();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_report_is_a_row_of_its_call);
	tcase_add_loop_test(t, address_is_the_one_that_was_named, 0,
			    (int)(sizeof(places) / sizeof(places[0])));
	tcase_add_test(t, others_have_reasons_of_their_own);
	tcase_add_test(t, without_the_key_it_is_a_port_among_others);
	tcase_add_test(t, a_filter_of_the_users_may_let_it_through);
	tcase_add_test(t, a_source_that_is_off_takes_nothing);
	tcase_add_test(t, what_two_taps_bring_is_stored_once);
	tcase_add_test(t, nothing_is_allocated_for_it);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(rule, setup_with_rule, teardown);
	tcase_add_test(rule, rules_say_whether_it_is_stored);
	suite_add_tcase(s, rule);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	rcu_thread_end();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
