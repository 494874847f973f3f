/*
 * What has brought other collectors down, one named test per class: packets and messages that
 * crash, loop or read beyond their end elsewhere. Each has a right outcome here, in every HEP
 * version that can carry it (_i is the version). Everything is decoded from exact-size heap copies,
 * so that AddressSanitizer sees a byte too many.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/frame.h"
#include "hep/msg.h"
#include "hep/sip.h"

#define LIT(text)	 text, sizeof(text) - 1
#define CHUNK_HEAD_BYTES 6
#define TAG_BYTES	 4096

#define START_LINE "INVITE sip:bob@example.com SIP/2.0\r\n"
#define VIA	   "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n"
#define FROM	   "From: \"Alice\" <sip:alice@example.com>;tag=f1\r\n"
#define TO	   "To: <sip:bob@example.com>\r\n"
#define CALL_ID	   "Call-ID: call-1@192.0.2.1\r\n"
#define CSEQ	   "CSeq: 1 INVITE\r\n"

enum {
	SRC_IP4 = 0x03,
	DST_IP4 = 0x04,
	SRC_IP6 = 0x05,
	TIME_S = 0x09,
	CAPTURE_ID = 0x0c,
	PAYLOAD = 0x0f
};

static const uint8_t src_ip[4] = { 192, 0, 2, 1 }, dst_ip[4] = { 198, 51, 100, 2 };

static struct {
	uint8_t bytes[65536];
	size_t len;
} p; /* what the test at hand builds */

static uint8_t *kept; /* the exact-size copy that was decoded last */
static struct msg m;
static struct sip s;
static struct view text; /* the message, without what is behind it */

static void start(void)
{
	p.len = 0;
	m = (struct msg){ 0 };
}

static void free_kept(void)
{
	free(kept);
	kept = NULL;
}

static void put(const void *bytes, size_t len)
{
	ck_assert_uint_le(p.len + len, sizeof(p.bytes));
	if (len)
		memcpy(p.bytes + p.len, bytes, len);
	p.len += len;
}

static void put_u16(size_t value)
{
	put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

/* A chunk with @p len octets behind its head that says it has @p said, head included. */
static void chunk_saying(unsigned type, size_t said, const void *value, size_t len)
{
	put_u16(0);
	put_u16(type);
	put_u16(said);
	put(value, len);
}

static void chunk(unsigned type, const void *value, size_t len)
{
	chunk_saying(type, CHUNK_HEAD_BYTES + len, value, len);
}

/* A packet of a version up to its payload. */
static void put_head(int version)
{
	static const uint8_t stamp[12] = { 0x07, 0xc0, 0x00, 0x6b, 0x3a,
					   0xde, 0x06, 0x00, 0xe4, 0x07 };

	if (version == 3) {
		put("HEP3\0\0", HEP3_HEAD_BYTES);
		chunk(SRC_IP4, src_ip, 4);
		chunk(DST_IP4, dst_ip, 4);
		return;
	}
	put((uint8_t[]){ (uint8_t)version, 16, FAMILY_IPV4, PROTO_UDP }, 4);
	put_u16(5060);
	put_u16(5060);
	put(src_ip, 4);
	put(dst_ip, 4);
	if (version == 2)
		put(stamp, sizeof(stamp));
}

static ssize_t decode_bytes(void)
{
	free_kept();
	kept = malloc(p.len);
	ck_assert_ptr_nonnull(kept);
	memcpy(kept, p.bytes, p.len);
	return hep_decode(kept, p.len, &m);
}

/* The packet as it is now, with its length where the version has one. */
static ssize_t decode(int version)
{
	if (version == 3) {
		p.bytes[4] = (uint8_t)(p.len >> 8);
		p.bytes[5] = (uint8_t)p.len;
	}
	return decode_bytes();
}

static struct view whole(void)
{
	return (struct view){ kept, (uint32_t)p.len };
}

/* What comes out of a packet with this payload: as in the worker, first HEP, then SIP. */
static int carry(int version, const void *payload, size_t len)
{
	int err;

	start();
	put_head(version);
	if (version == 3)
		chunk(PAYLOAD, payload, len);
	else
		put(payload, len);
	ck_assert_int_eq(decode(version), (ssize_t)p.len);
	ck_assert_uint_eq(m.version, (unsigned)version);
	ck_assert_uint_eq(m.payload.len, len);
	ck_assert(view_inside(m.payload, whole()));
	err = sip_parse(m.payload, NULL, &s);
	if (err == HT_OK)
		text = sip_trim_nul(m.payload, &s);
	return err;
}

__attribute__((format(printf, 2, 3))) static void carry_good(int version, const char *format, ...)
{
	static char message[4 * TAG_BYTES];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	ck_assert_int_lt(len, (int)sizeof(message));
	ck_assert_int_eq(carry(version, message, (size_t)len), HT_OK);
	ck_assert(view_is(text, message));
}

/* HEP. */

START_TEST(chunk_length_beyond_the_packet)
{
	static const size_t said[] = { 11, 12, 1000, 65535 };

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		start();
		put_head(3);
		chunk_saying(PAYLOAD, said[i], "abcd", 4);
		ck_assert_int_eq(decode(3), HT_ECHUNK);
	}
	start();
	put_head(3);
	chunk_saying(PAYLOAD, 10, "abcd", 4);
	ck_assert_int_eq(decode(3), (ssize_t)p.len);
}
END_TEST

/* Of a chunk that cannot be stepped over, and of one that is known. */
START_TEST(zero_length_chunk)
{
	static const unsigned types[] = { 0, PAYLOAD, TIME_S, 0x4711, 0xffff };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		start();
		put_head(3);
		chunk_saying(types[i], 0, NULL, 0);
		ck_assert_int_eq(decode(3), HT_ECHUNK);
		chunk(PAYLOAD, START_LINE, sizeof(START_LINE) - 1);
		ck_assert_int_eq(decode(3), HT_ECHUNK);
	}
	start();
	put("HEP3\0\0", HEP3_HEAD_BYTES);
	put((uint8_t[60]){ 0 }, 60); /* nothing but such chunks */
	ck_assert_int_eq(decode(3), HT_ECHUNK);
}
END_TEST

START_TEST(packet_length_that_is_not_the_datagrams)
{
	struct frame f = { 0 };

	put_head(3);
	p.bytes[4] = 0xff;
	p.bytes[5] = 0xff;
	ck_assert_int_eq(decode_bytes(), HT_ESHORT);
	for (uint8_t said = 0; said < HEP3_HEAD_BYTES; said++) {
		p.bytes[4] = 0;
		p.bytes[5] = said;
		ck_assert_int_eq(decode_bytes(), HT_ELENGTH);
		ck_assert_int_eq(frame_feed(&f, kept, p.len, NULL, NULL), HT_ELENGTH);
	}
	p.bytes[5] = HEP3_HEAD_BYTES;
	ck_assert_int_eq(decode_bytes(), HT_EADDRESS);
	p.bytes[5] = HEP3_HEAD_BYTES + 3; /* ends within the first chunk's head */
	ck_assert_int_eq(decode_bytes(), HT_ECHUNK);
}
END_TEST

START_TEST(wrong_fixed_size)
{
	static const uint8_t ones[40] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	static const struct {
		unsigned type;
		size_t right;
	} values[] = { { SRC_IP4, 4 }, { SRC_IP6, 16 }, { TIME_S, 4 }, { CAPTURE_ID, 4 } };

	for (size_t len = 0; len < sizeof(ones); len++) {
		if (len == values[_i].right)
			continue;
		start();
		put_head(3);
		chunk(values[_i].type, ones, len);
		chunk(PAYLOAD, START_LINE, sizeof(START_LINE) - 1);
		ck_assert_int_eq(decode(3), (ssize_t)p.len);
		ck_assert_uint_eq(m.odd_chunks, 1);
		ck_assert_mem_eq(m.src.ip, src_ip, 4);
		ck_assert_uint_eq(m.ts_us, 0);
		ck_assert(!m.has_capture_id);
		ck_assert(view_is(m.payload, START_LINE));
	}
}
END_TEST

/* And of every other length that is less than a head. */
START_TEST(two_byte_packet)
{
	size_t head;

	put_head(_i);
	head = _i == 3 ? HEP3_HEAD_BYTES : p.len;
	p.bytes[4] = 0;
	p.bytes[5] = 200;
	for (p.len = 0; p.len < head; p.len++)
		ck_assert_int_eq(decode_bytes(), HT_ESHORT);
	p.len = 2;
	p.bytes[0] = 0xff;
	ck_assert_int_lt(decode_bytes(), 0);
	memset(p.bytes, 0, 2);
	ck_assert_int_lt(decode_bytes(), 0);
}
END_TEST

START_TEST(address_family_that_is_none)
{
	static const uint8_t families[] = { 0, 1, 3, 6, 255 };

	for (size_t i = 0; i < sizeof(families); i++) {
		start();
		put_head(_i);
		p.bytes[2] = families[i];
		ck_assert_int_eq(decode(_i), HT_EADDRESS);
	}
	start();
	put_head(_i);
	p.bytes[2] = FAMILY_IPV6; /* and there is no room for such addresses */
	ck_assert_int_eq(decode(_i), HT_ESHORT);
}
END_TEST

START_TEST(no_payload)
{
	ck_assert_int_eq(carry(_i, NULL, 0), HT_ENOTSIP);
	ck_assert_uint_eq(m.payload.len, 0);
	ck_assert(view_is_all_nul(m.payload));
}
END_TEST

START_TEST(payload_of_nul_octets)
{
	static const char zeros[32];

	ck_assert_int_eq(carry(_i, zeros, 8), HT_ENOTSIP);
	ck_assert(view_is_all_nul(m.payload));
	ck_assert_int_eq(carry(_i, zeros, 32), HT_ENOTSIP);
	ck_assert(view_is_all_nul(m.payload));
}
END_TEST

/* SIP. */

START_TEST(missing_via)
{
	carry_good(_i, START_LINE FROM TO CALL_ID CSEQ "\r\n");
	ck_assert_uint_eq(s.via_1.len, 0);
	ck_assert_uint_eq(s.via_1_branch.len, 0);
	ck_assert(view_is(s.callid, "call-1@192.0.2.1"));
	ck_assert(view_is(s.cseq_method, "INVITE"));
}
END_TEST

START_TEST(missing_everything)
{
	carry_good(_i, START_LINE "\r\n");
	ck_assert(view_is(s.method, "INVITE"));
	ck_assert_uint_eq(s.callid.len, 0);
	ck_assert_uint_eq(s.from.tag.len, 0);
	ck_assert_uint_eq(s.cseq.len, 0);
	ck_assert_int_eq(s.content_length, -1);
	carry_good(_i, START_LINE);
	ck_assert(view_is(s.method, "INVITE"));
}
END_TEST

START_TEST(empty_values)
{
	carry_good(_i, START_LINE
		   "Via:\r\nFrom:\r\nTo: \r\nCall-ID:\t\r\nCSeq:\r\nContact:\r\nContent-Length:\r\n"
		   "Authorization:\r\nUser-Agent: ua\r\nP-Asserted-Identity:\r\nX-OIP:\r\n\r\n");
	ck_assert_uint_eq(s.via_1.len, 0);
	ck_assert_uint_eq(s.from.user.len, 0);
	ck_assert_uint_eq(s.to.tag.len, 0);
	ck_assert_uint_eq(s.callid.len, 0);
	ck_assert_uint_eq(s.cseq_method.len, 0);
	ck_assert_uint_eq(s.contact.host.len, 0);
	ck_assert_uint_eq(s.auth_user.len, 0);
	ck_assert_uint_eq(s.pid_user.len, 0);
	ck_assert_int_eq(s.content_length, -1);
	ck_assert(view_is(s.user_agent, "ua"));
}
END_TEST

START_TEST(empty_parameters)
{
	carry_good(_i, START_LINE "Via: SIP/2.0/UDP h;branch=\r\nFrom: <sip:@>;tag=\r\n"
				  "To: <>;tag\r\nContact: <sip:>\r\nAuthorization: username=\r\n"
				  "X-OIP: :\r\nCSeq: \r\n\r\n");
	ck_assert_uint_eq(s.via_1_branch.len, 0);
	ck_assert_uint_eq(s.from.user.len, 0);
	ck_assert_uint_eq(s.from.host.len, 0);
	ck_assert_uint_eq(s.from.tag.len, 0);
	ck_assert_uint_eq(s.to.tag.len, 0);
	ck_assert_uint_eq(s.contact.host.len, 0);
	ck_assert_uint_eq(s.auth_user.len, 0);
	ck_assert_uint_eq(s.originator_port, 0);
}
END_TEST

START_TEST(nul_inside)
{
	static const char message[] =
		START_LINE "Call-ID: a\0b\r\n" FROM "Content-Length: 5\r\n\r\n"
			   "x\0y\0\0";

	ck_assert_int_eq(carry(_i, LIT(message)), HT_OK);
	ck_assert_uint_eq(s.callid.len, 3);
	ck_assert_mem_eq(s.callid.at, "a\0b", 3);
	ck_assert(view_is(s.from.user, "alice"));
	ck_assert_int_eq(s.content_length, 5);
	ck_assert_uint_eq(text.len, sizeof(message) - 1);
	ck_assert_int_eq(carry(_i, LIT("\0" START_LINE "\r\n")), HT_ENOTSIP);
	ck_assert_int_eq(carry(_i, LIT("INV\0ITE sip:a SIP/2.0\r\n\r\n")), HT_ENOTSIP);
}
END_TEST

/* As OpenSIPS does with HEPv1 and HEPv2. */
START_TEST(nul_behind)
{
	static const char message[] =
		START_LINE CALL_ID "Content-Length: 2\r\n\r\nxy\0\0\0\0\0\0\0\0";

	ck_assert_int_eq(carry(_i, LIT(message)), HT_OK);
	ck_assert(view_is(text, START_LINE CALL_ID "Content-Length: 2\r\n\r\nxy"));
	ck_assert_int_eq(carry(_i, LIT(START_LINE "Call-ID: a\0\0\0\0\0\0\0\0")), HT_OK);
	ck_assert(view_is(s.callid, "a"));
	ck_assert(view_is(text, START_LINE "Call-ID: a"));
}
END_TEST

START_TEST(header_name_with_blanks)
{
	carry_good(_i,
		   START_LINE "Call-ID \t : a\r\nFr om: <sip:x@y>\r\n : nameless\r\n"
			      "no colon at all\r\n: nothing\r\nTo\t: <sip:bob@h>;tag=t\r\n\r\n");
	ck_assert(view_is(s.callid, "a"));
	ck_assert_uint_eq(s.from.user.len, 0);
	ck_assert(view_is(s.to.tag, "t"));
}
END_TEST

START_TEST(no_final_crlf)
{
	static const char message[] = START_LINE VIA CALL_ID "CSeq: 1 INVITE";

	carry_good(_i, message);
	ck_assert(view_is(s.cseq_method, "INVITE"));
	ck_assert_uint_eq(s.header_bytes, sizeof(message) - 1);
	carry_good(_i, START_LINE "Call-ID: a\r");
	ck_assert(view_is(s.callid, "a"));
	carry_good(_i, START_LINE "Call-ID:");
	ck_assert_uint_eq(s.callid.len, 0);
	carry_good(_i, START_LINE "Call-ID");
	ck_assert_uint_eq(s.callid.len, 0);
	carry_good(_i, "INVITE sip:bob@example.com SIP/2.0");
	ck_assert(view_is(s.ruri_user, "bob"));
	carry_good(_i, START_LINE "Call-ID: a\r\n ");
	ck_assert(view_is(s.callid, "a\r\n "));
}
END_TEST

static const char *const huge[] = { "65536",
				    "2147483648",
				    "4294967295",
				    "4294967296",
				    "9223372036854775807",
				    "9223372036854775808",
				    "18446744073709551615",
				    "18446744073709551616",
				    "99999999999999999999",
				    "99999999999999999999999999999999999999999999999999999" };

START_TEST(huge_content_length)
{
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		carry_good(_i, START_LINE CALL_ID "Content-Length: %s\r\n\r\nv=0\r\n", huge[i]);
		ck_assert_int_eq(s.content_length, i == 0   ? 65536
						   : i == 1 ? INT64_C(2147483648)
							    : UINT32_MAX);
		ck_assert(view_is(s.callid, "call-1@192.0.2.1"));
		ck_assert_uint_eq(s.header_bytes + 5, m.payload.len);
	}
}
END_TEST

START_TEST(negative_content_length)
{
	carry_good(_i, START_LINE CALL_ID "Content-Length: -1\r\n\r\nv=0\r\n");
	ck_assert_int_eq(s.content_length, -1);
	carry_good(_i, START_LINE "l: -99999999999999999999\r\n\r\nv=0\r\n");
	ck_assert_int_eq(s.content_length, -1);
}
END_TEST

START_TEST(tags_of_4_kilobytes)
{
	static char tag[TAG_BYTES + 1];

	memset(tag, 't', TAG_BYTES);
	carry_good(_i,
		   START_LINE "Via: SIP/2.0/UDP h;branch=%s\r\nFrom: <sip:a@h>;tag=%s\r\n"
			      "To: <sip:b@h>;tag=%s\r\n" CALL_ID "\r\n",
		   tag, tag, tag);
	ck_assert(view_is(s.via_1_branch, tag));
	ck_assert(view_is(s.from.tag, tag));
	ck_assert(view_is(s.to.tag, tag));
	ck_assert(view_is(s.callid, "call-1@192.0.2.1"));
}
END_TEST

START_TEST(names_and_users_of_4_kilobytes)
{
	static char word[TAG_BYTES + 1];

	memset(word, 'w', TAG_BYTES);
	carry_good(_i, START_LINE "%s: x\r\nFrom: <sip:%s@h>\r\nCall-ID: %s\r\n\r\n", word, word,
		   word);
	ck_assert(view_is(s.from.user, word));
	ck_assert(view_is(s.callid, word));
	carry_good(_i, "%s sip:%s SIP/2.0\r\n\r\n", word, word);
	ck_assert(view_is(s.method, word));
	ck_assert(view_is(s.ruri_host, word));
}
END_TEST

static TCase *hep_tests(void)
{
	TCase *t = tcase_create("hep");

	tcase_add_test(t, chunk_length_beyond_the_packet);
	tcase_add_test(t, zero_length_chunk);
	tcase_add_test(t, packet_length_that_is_not_the_datagrams);
	tcase_add_loop_test(t, wrong_fixed_size, 0, 4);
	tcase_add_loop_test(t, two_byte_packet, 1, 4);
	tcase_add_loop_test(t, address_family_that_is_none, 1, 3);
	tcase_add_loop_test(t, no_payload, 1, 4);
	tcase_add_loop_test(t, payload_of_nul_octets, 1, 4);
	return t;
}

static TCase *sip_tests(void)
{
	TCase *t = tcase_create("sip");

	tcase_add_loop_test(t, missing_via, 1, 4);
	tcase_add_loop_test(t, missing_everything, 1, 4);
	tcase_add_loop_test(t, empty_values, 1, 4);
	tcase_add_loop_test(t, empty_parameters, 1, 4);
	tcase_add_loop_test(t, nul_inside, 1, 4);
	tcase_add_loop_test(t, nul_behind, 1, 4);
	tcase_add_loop_test(t, header_name_with_blanks, 1, 4);
	tcase_add_loop_test(t, no_final_crlf, 1, 4);
	tcase_add_loop_test(t, huge_content_length, 1, 4);
	tcase_add_loop_test(t, negative_content_length, 1, 4);
	tcase_add_loop_test(t, tags_of_4_kilobytes, 1, 4);
	tcase_add_loop_test(t, names_and_users_of_4_kilobytes, 1, 4);
	return t;
}

int main(void)
{
	TCase *cases[] = { hep_tests(), sip_tests() };
	Suite *suite = suite_create("crash_classes");
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], start, free_kept);
		suite_add_tcase(suite, cases[i]);
	}
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
