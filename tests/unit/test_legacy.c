/*
 * HEP versions 1 and 2, and by name each class of packet that other collectors were brought down
 * by: not only that we live, but what becomes of it. Packets are exact-size heap copies, so that
 * AddressSanitizer sees an octet too many.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/msg.h"
#include "hep/quality.h"
#include "hep/sip.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define SIP_TEXT                                                  \
	"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP " \
	"192.0.2.1;branch=z9hG4bK1\r\nFrom: "                     \
	"<sip:a@b>;tag=f\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
#define HEP1	   "\x01\x10\x02\x11\x13\xce\x13\xc4\xc6\x33\x64\x01\xc0\x00\x02\x0a"
#define HEP2_TIME  "\x1b\xbf\x00\x6b\xfe\x2a\x07\x00\xbb\x0b\x00\x00"
#define HEP2	   "\x02\x10\x02\x11\x13\xce\x13\xc4\xc6\x33\x64\x01\xc0\x00\x02\x0a" HEP2_TIME
#define ARRIVAL_US 1795211035000000ULL /* about the time of HEP2_TIME */

static struct msg m;
static uint8_t *kept;

static void finish(void)
{
	free(kept);
	kept = NULL;
}

static ssize_t decode(const void *bytes, size_t len)
{
	free(kept);
	kept = malloc(len ? len : 1);
	memcpy(kept, bytes, len);
	m = (struct msg){ .arrival_us = ARRIVAL_US };
	return hep_decode(kept, len, &m);
}

#define DECODE(literal) decode(literal, sizeof(literal) - 1)

/* ---- versions 1 and 2 ---- */

START_TEST(version_1_is_addresses_and_payload)
{
	ck_assert_int_eq(DECODE(HEP1 SIP_TEXT), 16 + strlen(SIP_TEXT));
	ck_assert_uint_eq(m.version, 1);
	ck_assert_uint_eq(m.src.port, 5070);
	ck_assert_uint_eq(m.dst.port, 5060);
	ck_assert_mem_eq(m.src.ip, "\xc6\x33\x64\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	ck_assert_mem_eq(m.dst.ip, "\xc0\x00\x02\x0a", 4);
	ck_assert_uint_eq(m.ip_proto, PROTO_UDP);
	ck_assert_uint_eq(m.type, HEP_TYPE_SIP);
	ck_assert_uint_eq(m.ts_us, 0);
	ck_assert(!m.has_capture_id && !m.has_key && !m.is_compressed);
	ck_assert(view_is(m.payload, SIP_TEXT));
}
END_TEST

START_TEST(version_2_has_a_time_of_twelve_octets)
{
	ck_assert_int_eq(DECODE(HEP2 SIP_TEXT), 28 + strlen(SIP_TEXT));
	ck_assert_uint_eq(m.ts_us, 0x6b00bf1bULL * 1000000 + 0x72afe);
	ck_assert_uint_eq(m.capture_id, 3003);
	ck_assert(m.has_capture_id);
	ck_assert(view_is(m.payload, SIP_TEXT));
}
END_TEST

/* Where little-endian makes no sense and big-endian does; where neither does, the first. */
START_TEST(version_2_of_a_big_endian_sender)
{
	static const char head[] =
		"\x02\x10\x02\x11\x13\xce\x13\xc4\xc6\x33\x64\x01\xc0\x00\x02\x0a";
	char packet[64];

	memcpy(packet, head, 16);
	memcpy(packet + 16, "\x6b\x00\xbf\x1b\x00\x07\x2a\xfe\x0b\xbb\x00\x00x", 13);
	ck_assert_int_eq(decode(packet, 29), 29);
	ck_assert_uint_eq(m.ts_us, 0x6b00bf1bULL * 1000000 + 0x72afe);
	ck_assert_uint_eq(m.capture_id, 3003);
	memcpy(packet + 16, "\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00", 10);
	ck_assert_int_eq(decode(packet, 29), 29);
	ck_assert_uint_eq(m.ts_us, 1000001);
	ck_assert_uint_eq(m.capture_id, 1);
	memset(packet + 16, 0, 10);
	ck_assert_int_eq(decode(packet, 29), 29);
	ck_assert_uint_eq(m.ts_us, 0);
}
END_TEST

static const uint8_t ipv6_families[] = { 10, 26, 28, 30 };

START_TEST(ipv6_under_the_number_of_any_system)
{
	uint8_t packet[52 + 3] = { 2, 40, ipv6_families[_i], 6, 0x13, 0xc4, 0x13, 0xc5 };

	memset(packet + 8, 0xaa, 16);
	memset(packet + 24, 0xbb, 16);
	memcpy(packet + 40, HEP2_TIME "sip", 15);
	ck_assert_int_eq(decode(packet, sizeof(packet)), sizeof(packet));
	ck_assert_uint_eq(m.src.family, FAMILY_IPV6);
	ck_assert_mem_eq(m.src.ip, packet + 8, 16);
	ck_assert_mem_eq(m.dst.ip, packet + 24, 16);
	ck_assert_uint_eq(m.capture_id, 3003);
	ck_assert(view_is(m.payload, "sip"));
}
END_TEST

START_TEST(every_other_family_is_refused)
{
	uint8_t packet[60] = { 1, 16, 0, 17 };

	for (int family = 0; family < 256; family++) {
		bool is_known = family == 2 || memchr(ipv6_families, family, sizeof(ipv6_families));

		packet[2] = (uint8_t)family;
		ck_assert_int_eq(decode(packet, sizeof(packet)), is_known ? 60 : HT_EADDRESS);
	}
}
END_TEST

/* sngrep and sofia-sip put other things there. */
START_TEST(header_length_is_not_believed)
{
	char packet[] = HEP2 "x";

	for (int n = 0; n < 256; n++) {
		packet[1] = (char)n;
		ck_assert_int_eq(decode(packet, 29), 29);
		ck_assert(view_is(m.payload, "x"));
	}
}
END_TEST

START_TEST(version_1_or_2_cut_in_its_head)
{
	for (size_t len = 1; len < 16; len++)
		ck_assert_int_eq(decode(HEP1, len), HT_ESHORT);
	for (size_t len = 1; len < 28; len++)
		ck_assert_int_eq(decode(HEP2, len), HT_ESHORT);
	ck_assert_int_eq(decode(HEP1, 16), 16);
	ck_assert_uint_eq(m.payload.len, 0);
}
END_TEST

/* ---- NUL octets behind the message ---- */

static struct view trimmed(const char *text, size_t len)
{
	struct view v = { (const uint8_t *)text, (uint32_t)len };
	struct sip s;

	ck_assert_int_eq(sip_parse(v, NULL, &s), HT_OK);
	return sip_trim_nul(v, &s);
}

#define BODY_OF(length)	 "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: " length "\r\n\r\n"
#define TRIMMED(literal) trimmed(literal, sizeof(literal) - 1).len

START_TEST(nul_octets_are_cut_but_not_those_of_the_body)
{
	size_t head = sizeof(BODY_OF("4")) - 1;

	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "body\0\0\0\0\0\0\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "bo\0\0\0\0\0\0\0\0\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("0") "\0\0\0"), head);
	ck_assert_uint_eq(TRIMMED(BODY_OF("9") "body\0\0"), head + 4); /* cut by the sender */
	ck_assert_uint_eq(TRIMMED(BODY_OF("x") "body\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "bo\0dy"), head + 5);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4")), head);
}
END_TEST

static const struct {
	const char *value;
	int64_t want;
} lengths[] = { { "0", 0 },
		{ "0123", 123 },
		{ "4294967294", 4294967294 },
		{ "4294967295", -1 },
		{ "", -1 },
		{ "-5", -1 },
		{ "x", -1 },
		{ "12 ", 12 },
		{ "12;x", 12 },
		{ "99999999999999999999", -1 } };

START_TEST(content_length_is_a_number_or_not_there)
{
	char text[256];
	struct sip s;

	for (int compact = 0; compact < 2; compact++) {
		snprintf(text, sizeof(text), "OPTIONS sip:a SIP/2.0\r\n%s:  %s\r\n\r\n",
			 compact ? "l" : "CONTENT-Length", lengths[_i].value);
		ck_assert_int_eq(sip_parse(view_of(text), NULL, &s), HT_OK);
		ck_assert_int_eq(s.content_length, lengths[_i].want);
	}
}
END_TEST

START_TEST(quality_reports)
{
	ck_assert(quality_is_report(view_of("application/vq-rtcpxr")));
	ck_assert(quality_is_report(view_of("Application/VQ-RTCPXR ; x=y")));
	ck_assert(!quality_is_report(view_of("application/vq-rtcpxr2")));
	ck_assert(!quality_is_report(view_of("")));
	ck_assert(
		view_is(quality_callid(view_of("A: b\r\nCALLID:  x@y \r\nCallID: no\r\n")), "x@y"));
	ck_assert(view_is(quality_callid(view_of("CallID:last line")), "last line"));
	ck_assert_uint_eq(quality_callid(view_of("CallI\r\nXCallID: x\r\n")).len, 0);
	ck_assert_uint_eq(quality_callid(view_of("")).len, 0);
}
END_TEST

/* ---- what brought others down ---- */

#define PAIR "\0\0\0\3\0\x0a\xc0\0\2\1\0\0\0\4\0\x0a\xc0\0\2\2"

START_TEST(crash_chunk_length_beyond_the_packet)
{
	ck_assert_int_eq(DECODE("HEP3\0\x20" PAIR "\0\0\0\x0f\xff\xff"), HT_ECHUNK);
}
END_TEST

START_TEST(crash_chunk_of_length_zero)
{
	ck_assert_int_eq(DECODE("HEP3\0\x20" PAIR "\0\0\0\x0f\0\0"), HT_ECHUNK);
}
END_TEST

START_TEST(crash_wrong_fixed_size)
{
	/* a port of four octets, a time of one: ignored and counted, the packet is taken */
	ck_assert_int_eq(
		DECODE("HEP3\0\x31" PAIR "\0\0\0\7\0\x0a\1\2\3\4\0\0\0\x09\0\7\1\0\0\0\x0f\0\6"),
		49);
	ck_assert_uint_eq(m.odd_chunks, 2);
	ck_assert_uint_eq(m.src.port, 0);
	ck_assert_uint_eq(m.ts_us, 0);
	/* an address of one octet is none */
	ck_assert_int_eq(DECODE("HEP3\0\x17\0\0\0\3\0\7\1\0\0\0\4\0\x0a\xc0\0\2\2"), HT_EADDRESS);
}
END_TEST

START_TEST(crash_two_octet_packet)
{
	ck_assert_int_eq(DECODE("HE"), HT_ESHORT);
	ck_assert_int_eq(DECODE("\1\x10"), HT_ESHORT);
	ck_assert_int_eq(DECODE("\2\x10"), HT_ESHORT);
	ck_assert_int_eq(DECODE(""), HT_ESHORT);
}
END_TEST

static struct sip parsed(const char *text, size_t len)
{
	uint8_t *copy = malloc(len);
	struct sip s = { 0 };

	free(kept);
	kept = copy;
	memcpy(copy, text, len);
	ck_assert_int_eq(sip_parse((struct view){ copy, (uint32_t)len }, NULL, &s), HT_OK);
	return s;
}

#define PARSED(literal) parsed(literal, sizeof(literal) - 1)

START_TEST(crash_missing_via)
{
	struct sip s = PARSED("INVITE sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n");

	ck_assert_uint_eq(s.via_1.len, 0);
	ck_assert_uint_eq(s.via_1_branch.len, 0);
	ck_assert(view_is(s.callid, "x"));
}
END_TEST

START_TEST(crash_empty_values)
{
	struct sip s = PARSED(
		"INVITE sip: SIP/2.0\r\nVia:\r\nFrom:\r\nTo: \r\nCall-ID:\r\nCSeq:\r\nContact:\r\n"
		"Content-Length:\r\nAuthorization:\r\nX-OIP:\r\nReason:\r\n\r\n");

	ck_assert_uint_eq(s.ruri_user.len + s.ruri_host.len, 0);
	ck_assert_uint_eq(s.from.user.len + s.to.host.len + s.contact.user.len, 0);
	ck_assert_uint_eq(s.callid.len + s.via_1.len + s.cseq.len + s.auth_user.len, 0);
	ck_assert_int_eq(s.content_length, -1);
}
END_TEST

START_TEST(crash_nul_inside)
{
	struct sip s = PARSED("INVITE sip:a\0b@c SIP/2.0\r\nFrom: <sip:x\0y@z>;tag=\0\r\nCall-ID: "
			      "a\0b\r\n\r\nbo\0dy");

	ck_assert_uint_eq(s.callid.len, 3);
	ck_assert_mem_eq(s.callid.at, "a\0b", 3);
}
END_TEST

START_TEST(crash_header_name_with_blanks)
{
	struct sip s = PARSED(
		"OPTIONS sip:a SIP/2.0\r\nCall ID: no\r\n: nothing\r\nCall-ID  : yes\r\n\r\n");

	ck_assert(view_is(s.callid, "yes"));
}
END_TEST

START_TEST(crash_no_final_crlf)
{
	ck_assert(view_is(PARSED("OPTIONS sip:a SIP/2.0\r\nCall-ID: x").callid, "x"));
	ck_assert(view_is(PARSED("OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r").callid, "x"));
	ck_assert(view_is(PARSED("OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\n").callid, "x"));
	ck_assert(view_is(PARSED("OPTIONS sip:a SIP/2.0").method, "OPTIONS"));
}
END_TEST

START_TEST(crash_huge_content_length)
{
	struct sip s =
		PARSED("OPTIONS sip:a SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\nbody");

	ck_assert_int_eq(s.content_length, -1);
	ck_assert_uint_eq(
		TRIMMED("OPTIONS sip:a SIP/2.0\r\nContent-Length: 4294967290\r\n\r\nbody\0"),
		sizeof("OPTIONS sip:a SIP/2.0\r\nContent-Length: 4294967290\r\n\r\nbody") - 1);
}
END_TEST

START_TEST(crash_tags_of_four_kilobytes)
{
	char text[9000], tag[4097];
	struct sip s;
	int len;

	memset(tag, 't', 4096);
	tag[4096] = '\0';
	len = snprintf(
		text, sizeof(text),
		"BYE sip:a SIP/2.0\r\nFrom: <sip:a@b>;tag=%s\r\nTo: <sip:c@d>;tag=%s\r\n\r\n", tag,
		tag);
	s = parsed(text, (size_t)len);
	ck_assert(view_is(s.from.tag, tag));
	ck_assert(view_is(s.to.tag, tag));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("legacy");
	TCase *t = tcase_create("legacy"), *crash = tcase_create("crash classes");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, NULL, finish);
	tcase_add_test(t, version_1_is_addresses_and_payload);
	tcase_add_test(t, version_2_has_a_time_of_twelve_octets);
	tcase_add_test(t, version_2_of_a_big_endian_sender);
	tcase_add_loop_test(t, ipv6_under_the_number_of_any_system, 0, ROWS(ipv6_families));
	tcase_add_test(t, every_other_family_is_refused);
	tcase_add_test(t, header_length_is_not_believed);
	tcase_add_test(t, version_1_or_2_cut_in_its_head);
	tcase_add_test(t, nul_octets_are_cut_but_not_those_of_the_body);
	tcase_add_loop_test(t, content_length_is_a_number_or_not_there, 0, ROWS(lengths));
	tcase_add_test(t, quality_reports);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(crash, NULL, finish);
	tcase_add_test(crash, crash_chunk_length_beyond_the_packet);
	tcase_add_test(crash, crash_chunk_of_length_zero);
	tcase_add_test(crash, crash_wrong_fixed_size);
	tcase_add_test(crash, crash_two_octet_packet);
	tcase_add_test(crash, crash_missing_via);
	tcase_add_test(crash, crash_empty_values);
	tcase_add_test(crash, crash_nul_inside);
	tcase_add_test(crash, crash_header_name_with_blanks);
	tcase_add_test(crash, crash_no_final_crlf);
	tcase_add_test(crash, crash_huge_content_length);
	tcase_add_test(crash, crash_tags_of_four_kilobytes);
	suite_add_tcase(s, crash);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
