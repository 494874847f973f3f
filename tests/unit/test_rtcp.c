/*
 * hep/rtcp.c: packets made by hand. The whole text is compared where a page reads it, members by
 * jansson elsewhere. Datagrams are exact-size heap copies, so that AddressSanitizer sees a byte too
 * many.
 */
#include "hep/rtcp.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/make_rtcp.h"

static uint8_t room[RTCP_TEXT];

static struct view copy_of(const struct rtcp_made *m)
{
	uint8_t *copy = malloc(m->len ? m->len : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, m->at, m->len);
	return (struct view){ copy, m->len };
}

static struct view text_of(const struct rtcp_made *m)
{
	struct view datagram = copy_of(m), text = rtcp_text(datagram, room);

	ck_assert_ptr_eq(text.at, room);
	ck_assert_uint_le(text.len, RTCP_TEXT);
	free((void *)(uintptr_t)datagram.at);
	return text;
}

static void expect(const struct rtcp_made *m, const char *want)
{
	struct view text = text_of(m);

	ck_assert_msg(view_is(text, want), "%.*s\n%s", (int)text.len, (const char *)text.at, want);
}

static json_t *json_of(const struct rtcp_made *m)
{
	struct view text = text_of(m);
	json_error_t why;
	json_t *json = json_loadb((const char *)text.at, text.len, JSON_REJECT_DUPLICATES, &why);

	ck_assert_msg(json != NULL, "%s: %.*s", why.text, (int)text.len, (const char *)text.at);
	return json;
}

static void expect_kind(const struct rtcp_made *m, enum rtcp_kind want)
{
	struct view datagram = copy_of(m);

	ck_assert_int_eq(rtcp_kind(datagram), want);
	free((void *)(uintptr_t)datagram.at);
}

static long long number(const json_t *of, const char *name)
{
	const json_t *value = json_object_get(of, name);

	ck_assert_msg(json_is_integer(value), "%s is no number", name);
	return json_integer_value(value);
}

START_TEST(sender_report_reads_as_agents_write_it)
{
	struct rtcp_made m = { 0 };

	rtcp_sr(&m, 287454020, 1);
	rtcp_block(&m, 2695938256, 1, 1);
	rtcp_sdes(&m, 287454020, 1, "caller@example.com");
	expect_kind(&m, RTCP_REPORT);
	expect(&m, "{\"sender_information\":{\"ntp_timestamp_sec\":4004199885,"
		   "\"ntp_timestamp_usec\":747958272,\"octets\":6560,\"rtp_timestamp\":6400,"
		   "\"packets\":41},\"ssrc\":287454020,\"type\":200,\"report_blocks\":[{"
		   "\"source_ssrc\":2695938256,\"highest_seq_no\":65576,\"fraction_lost\":1,"
		   "\"ia_jitter\":52,\"packets_lost\":1,\"lsr\":1036856468,\"dlsr\":6000}],"
		   "\"report_count\":1,\"sdes_ssrc\":287454020,\"sdes_information\":[{"
		   "\"sdes_chunk_ssrc\":287454020,\"type\":1,\"text\":\"caller@example.com\"}],"
		   "\"sdes_report_count\":1}");
}
END_TEST

START_TEST(receiver_report_without_blocks_has_an_empty_list)
{
	struct rtcp_made m = { 0 };

	rtcp_rr(&m, 7, 0);
	expect_kind(&m, RTCP_REPORT);
	expect(&m, "{\"ssrc\":7,\"type\":201,\"report_blocks\":[],\"report_count\":0}");
}
END_TEST

START_TEST(fewer_packets_lost_than_none_is_a_number_below_zero)
{
	struct rtcp_made m = { 0 };
	json_t *json;

	rtcp_rr(&m, 7, 2);
	rtcp_block(&m, 8, 255, -3);
	rtcp_block(&m, 9, 0, 0x7fffff);
	json = json_of(&m);
	json_t *blocks = json_object_get(json, "report_blocks");
	ck_assert_uint_eq(json_array_size(blocks), 2);
	ck_assert_int_eq(number(json_array_get(blocks, 0), "packets_lost"), -3);
	ck_assert_int_eq(number(json_array_get(blocks, 0), "fraction_lost"), 255);
	ck_assert_int_eq(number(json_array_get(blocks, 1), "packets_lost"), 0x7fffff);
	json_decref(json);
}
END_TEST

/* More than 31 sources (RFC 3550 section 6.4.2). */
START_TEST(blocks_of_further_reports_are_in_one_list)
{
	struct rtcp_made m = { 0 };
	json_t *json;

	rtcp_sr(&m, 7, 2);
	rtcp_block(&m, 1, 0, 0);
	rtcp_block(&m, 2, 0, 0);
	rtcp_rr(&m, 7, 1);
	rtcp_block(&m, 3, 0, 0);
	json = json_of(&m);
	ck_assert_int_eq(number(json, "type"), 200);
	ck_assert_int_eq(number(json, "report_count"), 3);
	ck_assert_int_eq(
		number(json_array_get(json_object_get(json, "report_blocks"), 2), "source_ssrc"),
		3);
	json_decref(json);
}
END_TEST

START_TEST(voip_metrics_have_the_names_that_heplify_gave_them)
{
	struct rtcp_made m = { 0 };

	rtcp_xr(&m, 5);
	rtcp_xr_block(&m, 7, 0, 32);
	rtcp_u32(&m, 77);
	for (unsigned i = 1; i <= 4; i++)
		rtcp_u8(&m, i); /* losses, discards, densities */
	for (unsigned i = 0; i < 4; i++)
		rtcp_u16(&m, 1000 + i); /* durations, delays */
	rtcp_u8(&m, 0xe7);		/* -25 dBm0 */
	rtcp_u8(&m, 0xb5);
	for (unsigned i = 0; i < 8; i++)
		rtcp_u8(&m, 90 + i);
	for (unsigned i = 0; i < 3; i++)
		rtcp_u16(&m, 40 + i);
	expect_kind(&m, RTCP_REPORT);
	expect(&m, "{\"ssrc\":5,\"type\":207,\"report_blocks\":[],\"report_count\":0,"
		   "\"report_blocks_xr\":{\"type\":7,\"id\":77,\"fraction_lost\":1,"
		   "\"fraction_discard\":2,\"burst_density\":3,\"gap_density\":4,"
		   "\"burst_duration\":1000,\"gap_duration\":1001,\"round_trip_delay\":1002,"
		   "\"end_system_delay\":1003,\"signal_level\":-25,\"noise_level\":-75,"
		   "\"rerl\":90,\"gmin\":91,\"r_factor\":92,\"ext_r_factor\":93,\"mos_lq\":94,"
		   "\"mos_cq\":95,\"rx_config\":96,\"jb_nominal\":40,\"jb_maximum\":41,"
		   "\"jb_abs_max\":42}}");
}
END_TEST

START_TEST(other_blocks_of_extended_reports)
{
	struct rtcp_made m = { 0 };

	rtcp_xr(&m, 5);
	rtcp_xr_block(&m, 4, 0, 8); /* receiver reference time */
	rtcp_u32(&m, 4004199885);
	rtcp_u32(&m, 9);
	rtcp_xr_block(&m, 5, 0, 24); /* DLRR, two of them */
	for (unsigned i = 1; i <= 6; i++)
		rtcp_u32(&m, i);
	rtcp_xr_block(&m, 6, 0xa8, 36); /* losses, jitter, TTL; no duplicates */
	rtcp_u32(&m, 8);
	rtcp_u16(&m, 100);
	rtcp_u16(&m, 200);
	for (unsigned i = 0; i < 6; i++)
		rtcp_u32(&m, 10 + i);
	for (unsigned i = 0; i < 4; i++)
		rtcp_u8(&m, 60 + i);
	rtcp_xr_block(&m, 1, 0, 8); /* which packets were lost */
	rtcp_u32(&m, 8);
	rtcp_u32(&m, 8);
	expect(&m,
	       "{\"ssrc\":5,\"type\":207,\"report_blocks\":[],\"report_count\":0,\"xr_blocks\":["
	       "{\"type\":4,\"ntp_timestamp_sec\":4004199885,\"ntp_timestamp_usec\":9},"
	       "{\"type\":5,\"reports\":[{\"ssrc\":1,\"lrr\":2,\"dlrr\":3},"
	       "{\"ssrc\":4,\"lrr\":5,\"dlrr\":6}]},"
	       "{\"type\":6,\"id\":8,\"begin_seq\":100,\"end_seq\":200,\"lost_packets\":10,"
	       "\"min_jitter\":12,\"max_jitter\":13,\"mean_jitter\":14,\"dev_jitter\":15,"
	       "\"min_ttl\":60,\"max_ttl\":61,\"mean_ttl\":62,\"dev_ttl\":63},"
	       "{\"type\":1,\"octets\":8}]}");
}
END_TEST

START_TEST(second_block_of_voip_metrics_is_beside_the_others)
{
	struct rtcp_made m = { 0 };
	json_t *json;

	rtcp_xr(&m, 5);
	for (unsigned i = 0; i < 2; i++) {
		rtcp_xr_block(&m, 7, 0, 32);
		rtcp_u32(&m, 70 + i);
		rtcp_zeros(&m, 28);
	}
	rtcp_xr_block(&m, 7, 0, 4); /* too short to be one */
	rtcp_u32(&m, 72);
	json = json_of(&m);
	json_t *more = json_object_get(json, "xr_blocks");
	ck_assert_int_eq(number(json_object_get(json, "report_blocks_xr"), "id"), 70);
	ck_assert_uint_eq(json_array_size(more), 2);
	ck_assert_int_eq(number(json_array_get(more, 0), "id"), 71);
	ck_assert_int_eq(number(json_array_get(more, 1), "octets"), 4);
	json_decref(json);
}
END_TEST

START_TEST(bye_and_app)
{
	struct rtcp_made m = { 0 };

	rtcp_rr(&m, 7, 0);
	rtcp_begin(&m, 203, 2);
	rtcp_u32(&m, 7);
	rtcp_u32(&m, 8);
	rtcp_bytes(&m,
		   "\x05"
		   "ended",
		   6);
	rtcp_zeros(&m, 2);
	rtcp_begin(&m, 204, 9);
	rtcp_u32(&m, 7);
	rtcp_bytes(&m, "qtsi", 4);
	rtcp_zeros(&m, 12);
	expect(&m, "{\"ssrc\":7,\"type\":201,\"report_blocks\":[],\"report_count\":0,"
		   "\"bye_information\":[{\"ssrc\":7,\"reason\":\"ended\"},"
		   "{\"ssrc\":8,\"reason\":\"ended\"}],\"app_information\":[{\"ssrc\":7,"
		   "\"subtype\":9,\"name\":\"qtsi\",\"octets\":12}]}");
}
END_TEST

START_TEST(several_chunks_of_sources)
{
	struct rtcp_made m = { 0 };

	rtcp_begin(&m, 202, 3);
	rtcp_u32(&m, 1);
	rtcp_bytes(&m,
		   "\x01\x03"
		   "abc\x02\x00\x00",
		   8); /* two items, of which one is empty */
	rtcp_u32(&m, 2);
	rtcp_bytes(&m, "\x00\x00\x00\x00", 4);
	rtcp_u32(&m, 3);
	rtcp_bytes(&m, "\x08\x01x\x00", 4);
	expect(&m, "{\"ssrc\":1,\"type\":202,\"report_blocks\":[],\"report_count\":0,"
		   "\"sdes_ssrc\":1,\"sdes_information\":["
		   "{\"sdes_chunk_ssrc\":1,\"type\":1,\"text\":\"abc\"},"
		   "{\"sdes_chunk_ssrc\":1,\"type\":2,\"text\":\"\"},"
		   "{\"sdes_chunk_ssrc\":3,\"type\":8,\"text\":\"x\"}],\"sdes_report_count\":3}");
}
END_TEST

/* clang-format off */
static const struct {
	const char *octets, *text;
} names[] = {
	{ "caf\xc3\xa9 \xf0\x9f\x9a\x80", "caf\xc3\xa9 \xf0\x9f\x9a\x80" },
	{ "a\"b\\c\n", "a\\\"b\\\\c\\u000a" },
	{ "\xc3", "\\ufffd" },
	{ "\xc0\xaf", "\\ufffd\\ufffd" },	      /* not the shortest form */
	{ "\xed\xa0\x80x", "\\ufffd\\ufffd\\ufffdx" }, /* half of a pair */
	{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
	{ "\xe2\x82", "\\ufffd\\ufffd" },
};
/* clang-format on */

START_TEST(names_are_valid_text)
{
	struct rtcp_made m = { 0 };
	char want[300];

	rtcp_sdes(&m, 1, 1, names[_i].octets);
	snprintf(want, sizeof(want),
		 "{\"ssrc\":1,\"type\":202,\"report_blocks\":[],\"report_count\":0,\"sdes_ssrc\":1,"
		 "\"sdes_information\":[{\"sdes_chunk_ssrc\":1,\"type\":1,\"text\":\"%s\"}],"
		 "\"sdes_report_count\":1}",
		 names[_i].text);
	expect(&m, want);
}
END_TEST

START_TEST(what_does_not_fit_is_counted)
{
	struct rtcp_made m = { 0 };
	json_t *json;

	for (unsigned i = 0; i < 3; i++) {
		rtcp_rr(&m, 7, 31);
		for (unsigned k = 0; k < 31; k++)
			rtcp_block(&m, UINT32_MAX, 255, -0x800000);
	}
	rtcp_xr(&m, 5);
	rtcp_xr_block(&m, 7, 0, 32);
	rtcp_zeros(&m, 32);
	rtcp_sdes(&m, 1, 1, "somebody");
	json = json_of(&m);
	size_t blocks = json_array_size(json_object_get(json, "report_blocks"));
	ck_assert_uint_gt(blocks, 31);
	ck_assert_int_eq(number(json, "report_count"), (int)blocks);
	ck_assert_int_eq(number(json, "omitted") + (int)blocks,
			 3 * 31 + 1 + 1 - (json_object_get(json, "report_blocks_xr") != NULL) -
				 (json_object_get(json, "sdes_information") != NULL));
	json_decref(json);
}
END_TEST

START_TEST(padding_belongs_to_no_packet)
{
	struct rtcp_made m = { 0 };

	rtcp_begin(&m, 204, 0);
	rtcp_u32(&m, 7);
	rtcp_bytes(&m, "name", 4);
	rtcp_bytes(&m, "\0\0\0\0\0\0\0\x08", 8);
	m.at[0] |= 0x20;
	expect(&m, "{\"ssrc\":7,\"type\":204,\"report_blocks\":[],\"report_count\":0,"
		   "\"app_information\":[{\"ssrc\":7,\"subtype\":0,\"name\":\"name\","
		   "\"octets\":0}]}");
}
END_TEST

/* ---- what is RTCP ---- */

START_TEST(other_datagrams_are_not)
{
	static const struct {
		const char *octets;
		size_t len;
	} others[] = {
		{ "", 0 },
		{ "\x80", 1 },
		{ "\x80\xc8\x00", 3 },
		{ "\x80\xc8\x00\x06\0\0\0\0", 8 }, /* longer than the datagram */
		{ "\x80\x08\x00\x01\0\0\0\1", 8 }, /* RTP, PCMA */
		{ "\x80\x88\x00\x01\0\0\0\1", 8 }, /* with its marker */
		{ "\x40\xc8\x00\x01\0\0\0\1", 8 }, /* another version */
		{ "\x80\xc7\x00\x01\0\0\0\1", 8 }, /* types beside ours */
		{ "\x80\xd0\x00\x01\0\0\0\1", 8 },
		{ "SIP/2.0 200 OK\r\n\r\n", 18 },
	};
	struct rtcp_made m = { 0 };

	rtcp_bytes(&m, others[_i].octets, others[_i].len);
	expect_kind(&m, RTCP_NOT);
}
END_TEST

START_TEST(encrypted_reports_are_told_by_what_is_behind)
{
	struct rtcp_made m = { 0 };

	rtcp_rr(&m, 7, 1); /* its block is not readable, which nothing tells */
	rtcp_block(&m, 0x9d3f21c8, 17, 99);
	rtcp_end(&m);
	rtcp_u32(&m, 0x80000001); /* E, index */
	rtcp_bytes(&m, "\x17\x81\x33\x90\xa1\x0b\xcc\x04\x20\x42", 10);
	expect_kind(&m, RTCP_ENCRYPTED);
	m.len -= 10 + 4;
	expect_kind(&m, RTCP_REPORT);
}
END_TEST

START_TEST(feedback_alone_is_no_report)
{
	struct rtcp_made m = { 0 };

	rtcp_begin(&m, 205, 15);
	rtcp_zeros(&m, 20);
	expect_kind(&m, RTCP_FEEDBACK);
	rtcp_begin(&m, 201, 0);
	rtcp_u32(&m, 7);
	expect_kind(&m, RTCP_REPORT);
}
END_TEST

#define ROWS(a) ((int)(sizeof(a) / sizeof((a)[0])))

int main(void)
{
	Suite *s = suite_create("rtcp");
	TCase *t = tcase_create("rtcp");
	SRunner *r;
	int failed;

	tcase_add_test(t, sender_report_reads_as_agents_write_it);
	tcase_add_test(t, receiver_report_without_blocks_has_an_empty_list);
	tcase_add_test(t, fewer_packets_lost_than_none_is_a_number_below_zero);
	tcase_add_test(t, blocks_of_further_reports_are_in_one_list);
	tcase_add_test(t, voip_metrics_have_the_names_that_heplify_gave_them);
	tcase_add_test(t, other_blocks_of_extended_reports);
	tcase_add_test(t, second_block_of_voip_metrics_is_beside_the_others);
	tcase_add_test(t, bye_and_app);
	tcase_add_test(t, several_chunks_of_sources);
	tcase_add_loop_test(t, names_are_valid_text, 0, ROWS(names));
	tcase_add_test(t, what_does_not_fit_is_counted);
	tcase_add_test(t, padding_belongs_to_no_packet);
	tcase_add_loop_test(t, other_datagrams_are_not, 0, 10);
	tcase_add_test(t, encrypted_reports_are_told_by_what_is_behind);
	tcase_add_test(t, feedback_alone_is_no_report);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
