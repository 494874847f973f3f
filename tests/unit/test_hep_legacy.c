/*
 * hep/legacy.c by way of hep_decode(): HEP versions 1 and 2. Packets are decoded from exact-size
 * heap copies, so that AddressSanitizer sees a byte too many.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/msg.h"

#define ROWS(table)   ((int)(sizeof(table) / sizeof((table)[0])))
#define ARRIVAL_S     1795211271U /* 2026-11-20 */
#define PAYLOAD	      "OPTIONS sip:a SIP/2.0\r\n\r\n"
#define PAYLOAD_BYTES (sizeof(PAYLOAD) - 1)

static const uint8_t src_ip[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
static const uint8_t dst_ip[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 };
static const uint8_t nothing[16];

struct packet {
	uint8_t bytes[70000];
	size_t len;
};

static struct packet p; /* what the test at hand builds */
static uint8_t *kept;	/* the exact-size copy that was decoded last */
static struct msg m;

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
	memcpy(p.bytes + p.len, bytes, len);
	p.len += len;
}

static void put_number(uint32_t value, size_t len, bool is_le)
{
	for (size_t i = 0; i < len; i++)
		p.bytes[p.len++] = (uint8_t)(value >> 8 * (is_le ? i : len - 1 - i));
}

/* Everything in front of the time block, or of the payload of version 1. */
static void put_head(unsigned version, unsigned family, size_t ip_bytes)
{
	put_number(version, 1, false);
	put_number(16, 1, false);
	put_number(family, 1, false);
	put_number(PROTO_TCP, 1, false);
	put_number(5060, 2, false);
	put_number(65535, 2, false);
	put(src_ip, ip_bytes);
	put(dst_ip, ip_bytes);
}

static void put_stamp(uint32_t time_s, uint32_t time_us, uint32_t capture_id, bool is_le)
{
	put_number(time_s, 4, is_le);
	put_number(time_us, 4, is_le);
	put_number(capture_id, 2, is_le);
	put_number(0xa55a, 2, false); /* padding */
}

static void put_packet(unsigned version, unsigned family, size_t ip_bytes)
{
	put_head(version, family, ip_bytes);
	if (version == 2)
		put_stamp(ARRIVAL_S, 450106, 2020, true);
	put(PAYLOAD, PAYLOAD_BYTES);
}

static ssize_t decode_first(size_t len)
{
	ssize_t used;

	free_kept();
	kept = malloc(len);
	ck_assert_ptr_nonnull(kept);
	memcpy(kept, p.bytes, len);
	used = hep_decode(kept, len, &m);
	ck_assert_int_ne(used, 0);
	if (used > 0) {
		ck_assert_int_eq(used, (ssize_t)len);
		ck_assert(view_inside(m.payload, (struct view){ kept, (uint32_t)len }));
	}
	return used;
}

static void check_decodes(void)
{
	ck_assert_int_eq(decode_first(p.len), (ssize_t)p.len);
}

/* Versions, families and their sizes: every layout there is. */
static const struct {
	unsigned version, family;
	size_t ip_bytes, head_bytes;
} layouts[] = {
	{ 1, FAMILY_IPV4, 4, 16 },  { 1, FAMILY_IPV6, 16, 40 }, { 2, FAMILY_IPV4, 4, 28 },
	{ 2, FAMILY_IPV6, 16, 52 }, { 1, 26, 16, 40 },		{ 1, 28, 16, 40 },
	{ 1, 30, 16, 40 },	    { 2, 26, 16, 52 },		{ 2, 28, 16, 52 },
	{ 2, 30, 16, 52 },
};

static void put_layout(int i)
{
	put_packet(layouts[i].version, layouts[i].family, layouts[i].ip_bytes);
}

static void check_addr(const struct addr *a, const uint8_t *ip, size_t ip_bytes, unsigned port)
{
	ck_assert_uint_eq(a->family, ip_bytes == 4 ? FAMILY_IPV4 : FAMILY_IPV6);
	ck_assert_mem_eq(a->ip, ip, ip_bytes);
	ck_assert_mem_eq(a->ip + ip_bytes, nothing, 16 - ip_bytes);
	ck_assert_uint_eq(a->port, port);
}

static void check_layout(int i)
{
	bool has_stamp = layouts[i].version == 2;

	ck_assert_uint_eq(m.version, layouts[i].version);
	check_addr(&m.src, src_ip, layouts[i].ip_bytes, 5060);
	check_addr(&m.dst, dst_ip, layouts[i].ip_bytes, 65535);
	ck_assert_uint_eq(m.ip_proto, PROTO_TCP);
	ck_assert_uint_eq(m.type, HEP_TYPE_SIP);
	ck_assert_uint_eq(m.ts_us, has_stamp ? ARRIVAL_S * UINT64_C(1000000) + 450106 : 0);
	ck_assert(m.has_capture_id == has_stamp);
	ck_assert_uint_eq(m.capture_id, has_stamp ? 2020 : 0);
	ck_assert(view_is(m.payload, PAYLOAD));
	ck_assert(!m.has_key && !m.is_compressed);
	ck_assert_uint_eq(m.key.len, 0);
	ck_assert_uint_eq(m.correlation.len, 0);
	ck_assert_uint_eq(m.odd_chunks, 0);
	ck_assert_uint_eq(m.twice_chunks, 0);
}

/* Layout. */

START_TEST(every_field_has_its_place)
{
	memset(&m, 0xff, sizeof(m));
	m.arrival_us = ARRIVAL_S * UINT64_C(1000000);
	put_layout(_i);
	check_decodes();
	check_layout(_i);
	ck_assert_uint_eq(m.arrival_us, ARRIVAL_S * UINT64_C(1000000));
}
END_TEST

/* As recorded from OpenSIPS, one of its log events with nothing but NUL octets for a payload. */
START_TEST(recorded_packet_is_read)
{
	static const char packet[] =
		"\x02\x10\x02\x06\x13\xc4\x13\xce\xc0\0\x02\x14\xc6\x33\x64\x01"
		"\x07\xc0\0\x6b\x3a\xde\x06\0\xe4\x07\0\0\0\0\0\0\0\0\0";

	put(packet, sizeof(packet));
	ck_assert_uint_eq(p.len, 36);
	check_decodes();
	check_addr(&m.src, (uint8_t[]){ 192, 0, 2, 20 }, 4, 5060);
	check_addr(&m.dst, (uint8_t[]){ 198, 51, 100, 1 }, 4, 5070);
	ck_assert_uint_eq(m.ip_proto, PROTO_TCP);
	ck_assert_uint_eq(m.ts_us, UINT64_C(1795211271450106));
	ck_assert_uint_eq(m.capture_id, 2020);
	ck_assert_uint_eq(m.payload.len, 8);
	ck_assert(view_is_all_nul(m.payload));
}
END_TEST

START_TEST(packet_cut_within_its_head_is_too_short)
{
	put_layout(_i);
	for (size_t len = 1; len < layouts[_i].head_bytes; len++)
		ck_assert_int_eq(decode_first(len), HT_ESHORT);
	ck_assert_int_eq(decode_first(layouts[_i].head_bytes), (ssize_t)layouts[_i].head_bytes);
	ck_assert_uint_eq(m.payload.len, 0);
}
END_TEST

START_TEST(payload_is_the_rest_of_the_datagram)
{
	put_layout(_i);
	for (size_t len = layouts[_i].head_bytes; len <= p.len; len++) {
		ck_assert_int_eq(decode_first(len), (ssize_t)len);
		ck_assert_uint_eq(m.payload.len, len - layouts[_i].head_bytes);
	}
	check_layout(_i);
}
END_TEST

START_TEST(payload_keeps_its_nul_octets)
{
	put_layout(_i);
	put(nothing, 8);
	check_decodes();
	ck_assert_uint_eq(m.payload.len, PAYLOAD_BYTES + 8);
}
END_TEST

START_TEST(largest_datagram_is_taken)
{
	put_layout(_i);
	p.len = HEP_MAX_BYTES;
	check_decodes();
	ck_assert_uint_eq(m.payload.len, HEP_MAX_BYTES - layouts[_i].head_bytes);
}
END_TEST

/* Kamailio has 16 or 40 in it, FreeSWITCH 28 or 52, sngrep a length's high octet. */
START_TEST(length_of_the_head_is_not_believed)
{
	for (int i = 0; i < ROWS(layouts); i++) {
		start();
		put_layout(i);
		p.bytes[1] = (uint8_t)_i;
		check_decodes();
		check_layout(i);
	}
}
END_TEST

START_TEST(family_that_nobody_has_is_refused)
{
	if (_i == FAMILY_IPV4 || _i == FAMILY_IPV6 || _i == 26 || _i == 28 || _i == 30)
		return;
	for (unsigned version = 1; version <= 2; version++) {
		start();
		put_packet(version, (unsigned)_i, 16);
		ck_assert_int_eq(decode_first(p.len), HT_EADDRESS);
		ck_assert_int_eq(decode_first(8), HT_EADDRESS);
		ck_assert_int_eq(decode_first(7), HT_ESHORT);
	}
}
END_TEST

START_TEST(protocol_is_kept_whatever_it_is)
{
	put_layout(2);
	p.bytes[3] = (uint8_t)_i;
	check_decodes();
	ck_assert_uint_eq(m.ip_proto, _i);
}
END_TEST

START_TEST(any_octet_may_have_any_value)
{
	for (int i = 0; i < 4; i++) {
		start();
		put_layout(i);
		for (size_t at = 1; at < layouts[i].head_bytes; at++) {
			uint8_t right = p.bytes[at];

			p.bytes[at] = (uint8_t)_i;
			if (decode_first(p.len) < 0)
				ck_assert_uint_eq(at, 2);
			p.bytes[at] = right;
		}
		check_decodes();
		check_layout(i);
	}
}
END_TEST

/* Time. */

#define US(time_s, time_us) ((time_s)*UINT64_C(1000000) + (time_us))

static const struct stamp_case {
	uint32_t time_s, time_us;
	bool is_le;
	uint32_t arrival_s; /* 0: not known */
	bool is_understood; /* false: it is read in the other byte order */
} stamps[] = {
	{ ARRIVAL_S, 999999, true, 0, true },
	{ ARRIVAL_S, 999999, true, ARRIVAL_S, true },
	{ ARRIVAL_S, 1, false, 0, true },
	{ ARRIVAL_S, 999999, false, 0, true },
	{ ARRIVAL_S, 999999, false, ARRIVAL_S, true },
	{ ARRIVAL_S, 0, false, ARRIVAL_S, true },
	/* where 0 microseconds tell nothing: the reading that is absurd in itself */
	{ ARRIVAL_S, 0, false, 0, true },
	/* a file is replayed, clocks differ */
	{ 978307200, 5, true, ARRIVAL_S, true },
	{ 978307200, 5, false, ARRIVAL_S, true },
	{ ARRIVAL_S + 86400, 5, true, ARRIVAL_S, true },
	{ ARRIVAL_S + 86400, 5, false, ARRIVAL_S, true },
	/* absurd in both: little-endian */
	{ ARRIVAL_S + 86401, 5, true, ARRIVAL_S, true },
	{ 978307199, 5, true, 0, true },
	{ 978307199, 5, true, ARRIVAL_S, true },
	{ 978307199, 5, false, ARRIVAL_S, false },
	{ 5, 5, true, ARRIVAL_S, true },
	{ UINT32_MAX, UINT32_MAX, true, ARRIVAL_S, true },
	/* microseconds of a second and more are carried */
	{ ARRIVAL_S, 1000000, true, 0, true },
	{ ARRIVAL_S, 2500001, true, ARRIVAL_S, true },
	{ ARRIVAL_S, UINT32_MAX, true, 0, true },
};

static void check_stamp(const struct stamp_case *c)
{
	uint32_t time_s = c->time_s, time_us = c->time_us;
	uint16_t id = 0x0102;

	if (!c->is_understood) {
		time_s = __builtin_bswap32(time_s);
		time_us = __builtin_bswap32(time_us);
		id = __builtin_bswap16(id);
	}
	ck_assert_uint_eq(m.ts_us, US(time_s, time_us));
	ck_assert_uint_eq(m.capture_id, id);
	ck_assert(m.has_capture_id);
}

START_TEST(time_is_little_endian_unless_only_big_endian_makes_sense)
{
	m.arrival_us = US(stamps[_i].arrival_s, 123456 * (stamps[_i].arrival_s != 0));
	put_head(2, FAMILY_IPV4, 4);
	put_stamp(stamps[_i].time_s, stamps[_i].time_us, 0x0102, stamps[_i].is_le);
	check_decodes();
	check_stamp(&stamps[_i]);
}
END_TEST

START_TEST(no_seconds_are_no_time)
{
	m.arrival_us = _i % 2 ? US(ARRIVAL_S, 0) : 0;
	put_head(2, FAMILY_IPV4, 4);
	put_stamp(0, _i / 2 ? 999999 : 0, 7, true);
	check_decodes();
	ck_assert_uint_eq(m.ts_us, 0);
	ck_assert_uint_eq(m.capture_id, 7);
}
END_TEST

static TCase *layout_tests(void)
{
	TCase *t = tcase_create("layout");

	tcase_add_loop_test(t, every_field_has_its_place, 0, ROWS(layouts));
	tcase_add_test(t, recorded_packet_is_read);
	tcase_add_loop_test(t, packet_cut_within_its_head_is_too_short, 0, ROWS(layouts));
	tcase_add_loop_test(t, payload_is_the_rest_of_the_datagram, 0, ROWS(layouts));
	tcase_add_loop_test(t, payload_keeps_its_nul_octets, 0, ROWS(layouts));
	tcase_add_loop_test(t, largest_datagram_is_taken, 0, ROWS(layouts));
	tcase_add_loop_test(t, length_of_the_head_is_not_believed, 0, 256);
	tcase_add_loop_test(t, family_that_nobody_has_is_refused, 0, 256);
	tcase_add_loop_test(t, protocol_is_kept_whatever_it_is, 0, 256);
	tcase_add_loop_test(t, any_octet_may_have_any_value, 0, 256);
	return t;
}

static TCase *time_tests(void)
{
	TCase *t = tcase_create("time");

	tcase_add_loop_test(t, time_is_little_endian_unless_only_big_endian_makes_sense, 0,
			    ROWS(stamps));
	tcase_add_loop_test(t, no_seconds_are_no_time, 0, 4);
	return t;
}

int main(void)
{
	TCase *cases[] = { layout_tests(), time_tests() };
	Suite *s = suite_create("hep_legacy");
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], start, free_kept);
		suite_add_tcase(s, cases[i]);
	}
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
