/*
 * hep/codec.c: packets are built here chunk by chunk, right and wrong, and decoded from exact-size
 * heap copies, so that AddressSanitizer sees a byte too many.
 */
#include "hep/codec.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hep/msg.h"

#define ROWS(table)	 ((int)(sizeof(table) / sizeof((table)[0])))
#define CHUNK_HEAD_BYTES 6
#define TIME_S		 1700000000U
#define EVERYTHING_BYTES 139 /* of add_everything(), with the packet's head */

/* hep-wire.md section 4.3 */
enum {
	FAMILY = 0x01,
	PROTO = 0x02,
	SRC_IP4 = 0x03,
	DST_IP4 = 0x04,
	SRC_IP6 = 0x05,
	DST_IP6 = 0x06,
	SRC_PORT = 0x07,
	DST_PORT = 0x08,
	SECONDS = 0x09,
	MICROSECONDS = 0x0a,
	TYPE = 0x0b,
	CAPTURE_ID = 0x0c,
	KEEP_ALIVE = 0x0d,
	KEY = 0x0e,
	PAYLOAD = 0x0f,
	COMPRESSED = 0x10,
	CORRELATION = 0x11,
	VLAN = 0x12,
};

static const uint8_t src_ip4[4] = { 192, 0, 2, 1 }, dst_ip4[4] = { 198, 51, 100, 2 };
static const uint8_t src_ip6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
static const uint8_t dst_ip6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 };

struct packet {
	uint8_t bytes[2 * HEP_MAX_BYTES];
	size_t len;
};

static struct packet p; /* what the test at hand builds */
static uint8_t *kept;	/* the exact-size copy that was decoded last */
static struct msg m;

static void start_packet(void)
{
	memcpy(p.bytes, "HEP3", 4);
	p.len = HEP3_HEAD_BYTES;
	m = (struct msg){ 0 };
}

static void free_kept(void)
{
	free(kept);
	kept = NULL;
}

static void put_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* A chunk that says it has @p said octets, head included, and has @p len behind the head. */
static void add_chunk_saying(unsigned vendor, unsigned type, size_t said, const void *value,
			     size_t len)
{
	uint8_t *at = p.bytes + p.len;

	ck_assert_uint_le(p.len + CHUNK_HEAD_BYTES + len, sizeof(p.bytes));
	put_u16(at, vendor);
	put_u16(at + 2, type);
	put_u16(at + 4, said);
	if (len)
		memcpy(at + CHUNK_HEAD_BYTES, value, len);
	p.len += CHUNK_HEAD_BYTES + len;
}

static void add(unsigned type, const void *value, size_t len)
{
	add_chunk_saying(0, type, CHUNK_HEAD_BYTES + len, value, len);
}

static void add_text(unsigned type, const char *text)
{
	add(type, text, strlen(text));
}

static void add_u8(unsigned type, unsigned value)
{
	add(type, &(uint8_t){ (uint8_t)value }, 1);
}

static void add_u16(unsigned type, unsigned value)
{
	uint8_t be[2];

	put_u16(be, value);
	add(type, be, sizeof(be));
}

static void add_u32(unsigned type, uint32_t value)
{
	uint8_t be[4];

	put_u16(be, value >> 16);
	put_u16(be + 2, value & 0xffff);
	add(type, be, sizeof(be));
}

static void add_pair(void)
{
	add(SRC_IP4, src_ip4, sizeof(src_ip4));
	add(DST_IP4, dst_ip4, sizeof(dst_ip4));
}

/* Every chunk that means something to us, in the order of Kamailio. */
static void add_everything(void)
{
	add_u8(FAMILY, FAMILY_IPV4);
	add_u8(PROTO, PROTO_TCP);
	add_pair();
	add_u16(SRC_PORT, 5060);
	add_u16(DST_PORT, 65535);
	add_u32(SECONDS, TIME_S);
	add_u32(MICROSECONDS, 123456);
	add_u8(TYPE, 100);
	add_u32(CAPTURE_ID, 4294967295U);
	add_text(CORRELATION, "call@example.com");
	add_text(KEY, "secret");
	add_text(PAYLOAD, "INVITE");
}

static void check_everything(void)
{
	ck_assert_uint_eq(m.src.family, FAMILY_IPV4);
	ck_assert_uint_eq(m.dst.family, FAMILY_IPV4);
	ck_assert_mem_eq(m.src.ip, src_ip4, sizeof(src_ip4));
	ck_assert_mem_eq(m.dst.ip, dst_ip4, sizeof(dst_ip4));
	ck_assert_uint_eq(m.src.port, 5060);
	ck_assert_uint_eq(m.dst.port, 65535);
	ck_assert_uint_eq(m.ip_proto, PROTO_TCP);
	ck_assert_uint_eq(m.ts_us, TIME_S * UINT64_C(1000000) + 123456);
	ck_assert_uint_eq(m.type, 100);
	ck_assert(m.has_capture_id);
	ck_assert_uint_eq(m.capture_id, 4294967295U);
	ck_assert(view_is(m.correlation, "call@example.com"));
	ck_assert(m.has_key);
	ck_assert(view_is(m.key, "secret"));
	ck_assert(view_is(m.payload, "INVITE"));
	ck_assert(!m.is_compressed);
}

/* Decode the first @p len octets; they are all the decoder can see. */
static ssize_t decode_first(size_t len)
{
	struct view packet;
	ssize_t used;

	free_kept();
	kept = malloc(len);
	ck_assert_ptr_nonnull(kept);
	memcpy(kept, p.bytes, len);
	used = hep_decode(kept, len, &m);
	if (used <= 0)
		return used;
	ck_assert_int_le(used, (ssize_t)len);
	packet = (struct view){ kept, (uint32_t)used };
	ck_assert(view_inside(m.payload, packet));
	ck_assert(view_inside(m.correlation, packet));
	ck_assert(view_inside(m.key, packet));
	return used;
}

/* Say the packet's length, and decode it. */
static ssize_t decode(void)
{
	put_u16(p.bytes + 4, p.len);
	return decode_first(p.len);
}

static void check_decodes(void)
{
	ck_assert_int_eq(decode(), (ssize_t)p.len);
}

/* The packet. */

START_TEST(every_chunk_has_its_place)
{
	add_everything();
	check_decodes();
	check_everything();
	ck_assert_uint_eq(m.odd_chunks, 0);
	ck_assert_uint_eq(m.twice_chunks, 0);
}
END_TEST

START_TEST(absent_chunks_leave_their_defaults)
{
	m.arrival_us = 42;
	memset(&m.src, 0xff, sizeof(m.src));
	m.capture_id = 7;
	m.has_key = m.has_capture_id = m.is_compressed = true;
	m.odd_chunks = m.twice_chunks = 9;
	add_pair();
	check_decodes();
	ck_assert_uint_eq(m.type, HEP_TYPE_SIP);
	ck_assert_uint_eq(m.ip_proto, PROTO_UDP);
	ck_assert_uint_eq(m.ts_us, 0);
	ck_assert_uint_eq(m.arrival_us, 42);
	ck_assert_uint_eq(m.src.port, 0);
	ck_assert_uint_eq(m.dst.port, 0);
	ck_assert_uint_eq(m.capture_id, 0);
	ck_assert(!m.has_capture_id);
	ck_assert(!m.has_key);
	ck_assert(!m.is_compressed);
	ck_assert_uint_eq(m.payload.len, 0);
	ck_assert_uint_eq(m.correlation.len, 0);
	ck_assert_uint_eq(m.odd_chunks, 0);
	ck_assert_uint_eq(m.twice_chunks, 0);
}
END_TEST

START_TEST(no_bytes_are_too_few)
{
	ck_assert_int_eq(hep_decode(NULL, 0, &m), HT_ESHORT);
	ck_assert_int_eq(decode_first(0), HT_ESHORT);
}
END_TEST

START_TEST(packet_cut_anywhere_is_too_short)
{
	add_everything();
	put_u16(p.bytes + 4, p.len);
	for (size_t len = 0; len < p.len; len++)
		ck_assert_int_eq(decode_first(len), HT_ESHORT);
	ck_assert_int_eq(decode_first(p.len), (ssize_t)p.len);
}
END_TEST

static const char *const good_magics[] = { "HEP3", "EEP3", "EEP1" };

START_TEST(other_names_of_version_3_are_taken)
{
	memcpy(p.bytes, good_magics[_i], 4);
	add_everything();
	check_decodes();
	check_everything();
}
END_TEST

static const char *const bad_magics[] = {
	"HEP1", "HEP2", "HEP4", "EEP2", "hep3",		"HEP\0",
	" HEP", "INVI", "\r\n", "{\"p", "\x16\x03\x01", "\x03\x10\x02\x11",
	"HEO3",
};

START_TEST(other_magic_is_refused)
{
	add_everything();
	memset(p.bytes, 0, 4);
	strncpy((char *)p.bytes, bad_magics[_i], 4);
	ck_assert_int_eq(decode(), HT_EVERSION);
	ck_assert_int_eq(decode_first(5), HT_EVERSION);
	ck_assert_int_eq(decode_first(4), HT_EVERSION);
	ck_assert_int_eq(decode_first(2), HT_ESHORT);
}
END_TEST

START_TEST(packet_length_below_its_head_is_refused)
{
	add_everything();
	put_u16(p.bytes + 4, (size_t)_i);
	ck_assert_int_eq(decode_first(p.len), HT_ELENGTH);
	ck_assert_int_eq(decode_first(HEP3_HEAD_BYTES), HT_ELENGTH);
}
END_TEST

START_TEST(packet_longer_than_what_came_is_short)
{
	add_everything();
	put_u16(p.bytes + 4, p.len + 1);
	ck_assert_int_eq(decode_first(p.len), HT_ESHORT);
	put_u16(p.bytes + 4, HEP_MAX_BYTES);
	ck_assert_int_eq(decode_first(p.len), HT_ESHORT);
}
END_TEST

START_TEST(packet_without_chunks_has_no_addresses)
{
	ck_assert_int_eq(decode(), HT_EADDRESS);
}
END_TEST

START_TEST(octets_behind_the_packet_are_left)
{
	size_t len;

	add_everything();
	len = p.len;
	put_u16(p.bytes + 4, len);
	add_text(PAYLOAD, "of the next packet");
	ck_assert_int_eq(decode_first(p.len), (ssize_t)len);
	check_everything();
	ck_assert_int_eq(decode_first(len + 1), (ssize_t)len);
	check_everything();
}
END_TEST

START_TEST(packets_of_a_stream_are_decoded_one_by_one)
{
	size_t len;
	ssize_t first, second;

	add_everything();
	len = p.len;
	put_u16(p.bytes + 4, len);
	memcpy(p.bytes + len, p.bytes, len);
	kept = malloc(2 * len);
	memcpy(kept, p.bytes, 2 * len);
	first = hep_decode(kept, 2 * len, &m);
	ck_assert_int_eq(first, (ssize_t)len);
	second = hep_decode(kept + first, 2 * len - (size_t)first, &m);
	ck_assert_int_eq(second, (ssize_t)len);
	check_everything();
}
END_TEST

START_TEST(largest_packet_is_decoded)
{
	static uint8_t payload[HEP_MAX_BYTES];

	memset(payload, 'x', sizeof(payload));
	add_pair();
	add(PAYLOAD, payload, HEP_MAX_BYTES - CHUNK_HEAD_BYTES - p.len);
	ck_assert_uint_eq(p.len, HEP_MAX_BYTES);
	check_decodes();
	ck_assert_uint_eq(m.payload.len,
			  HEP_MAX_BYTES - HEP3_HEAD_BYTES - 2 * 10 - CHUNK_HEAD_BYTES);
}
END_TEST

/* Chunks. */

START_TEST(chunk_length_below_its_head_is_refused)
{
	add_pair();
	add_chunk_saying(0, PAYLOAD, (size_t)_i, "INVITE", 6);
	ck_assert_int_eq(decode(), HT_ECHUNK);
}
END_TEST

START_TEST(unknown_chunk_length_below_its_head_is_refused)
{
	add_pair();
	add_chunk_saying(2, 0x4711, (size_t)_i, "INVITE", 6);
	ck_assert_int_eq(decode(), HT_ECHUNK);
}
END_TEST

START_TEST(chunk_longer_than_packet_is_refused)
{
	static const size_t beyond[] = { 1, 2, 100, 65535 - CHUNK_HEAD_BYTES - 6 };

	add_pair();
	add_chunk_saying(0, PAYLOAD, CHUNK_HEAD_BYTES + 6 + beyond[_i], "INVITE", 6);
	ck_assert_int_eq(decode(), HT_ECHUNK);
}
END_TEST

START_TEST(chunk_longer_than_packet_is_refused_though_more_bytes_follow)
{
	add_pair();
	add_chunk_saying(0, PAYLOAD, CHUNK_HEAD_BYTES + 7, "INVITE", 6);
	put_u16(p.bytes + 4, p.len);
	add_text(PAYLOAD, "of the next packet");
	ck_assert_int_eq(decode_first(p.len), HT_ECHUNK);
}
END_TEST

START_TEST(less_than_a_chunk_head_at_the_end_is_refused)
{
	add_everything();
	memset(p.bytes + p.len, 0, (size_t)_i);
	p.len += (size_t)_i;
	ck_assert_int_eq(decode(), HT_ECHUNK);
}
END_TEST

/* A fixed-size chunk and what the message says of it. */
static const struct fixed_size {
	unsigned type;
	size_t bytes;
} fixed_sizes[] = {
	{ FAMILY, 1 },	 { PROTO, 1 },	      { SRC_IP4, 4 },  { DST_IP4, 4 },
	{ SRC_IP6, 16 }, { DST_IP6, 16 },     { SRC_PORT, 2 }, { DST_PORT, 2 },
	{ SECONDS, 4 },	 { MICROSECONDS, 4 }, { TYPE, 1 },     { CAPTURE_ID, 4 },
};

START_TEST(fixed_size_value_of_another_size_is_ignored_and_counted)
{
	static const uint8_t value[40];
	const struct fixed_size *f = &fixed_sizes[_i];

	for (size_t len = 0; len <= sizeof(value); len++) {
		if (len == f->bytes)
			continue;
		start_packet();
		add(f->type, value, len);
		add_everything();
		add(f->type, value, len);
		check_decodes();
		check_everything();
		ck_assert_uint_eq(m.odd_chunks, 2);
		ck_assert_uint_eq(m.twice_chunks, 0);
	}
}
END_TEST

START_TEST(value_of_another_size_does_not_stand_for_the_right_one)
{
	add(SRC_IP4, src_ip4, 3);
	add(DST_IP4, dst_ip4, 4);
	ck_assert_int_eq(decode(), HT_EADDRESS);
}
END_TEST

START_TEST(counts_of_odd_and_repeated_chunks_stop_at_their_limit)
{
	add_everything();
	for (int i = 0; i < 300; i++) {
		add(PROTO, "no", 2);
		add_text(PAYLOAD, "INVITE");
	}
	check_decodes();
	check_everything();
	ck_assert_uint_eq(m.odd_chunks, 255);
	ck_assert_uint_eq(m.twice_chunks, 255);
}
END_TEST

START_TEST(known_type_of_another_vendor_is_ignored)
{
	static const unsigned vendors[] = { 1, 2, 3, 8, 0x0100, 0xffff };

	for (unsigned type = 0; type <= CORRELATION; type++)
		add_chunk_saying(vendors[_i], type, CHUNK_HEAD_BYTES + 4, "\1\2\3\4", 4);
	add_everything();
	for (unsigned type = 0; type <= CORRELATION; type++)
		add_chunk_saying(vendors[_i], type, CHUNK_HEAD_BYTES + 4, "\1\2\3\4", 4);
	check_decodes();
	check_everything();
	ck_assert_uint_eq(m.odd_chunks, 0);
	ck_assert_uint_eq(m.twice_chunks, 0);
}
END_TEST

START_TEST(addresses_of_another_vendor_are_none)
{
	add_chunk_saying(2, SRC_IP4, CHUNK_HEAD_BYTES + 4, src_ip4, 4);
	add_chunk_saying(2, DST_IP4, CHUNK_HEAD_BYTES + 4, dst_ip4, 4);
	ck_assert_int_eq(decode(), HT_EADDRESS);
}
END_TEST

START_TEST(unknown_types_are_ignored)
{
	static const unsigned types[] = { 0x0000, KEEP_ALIVE, VLAN,   0x0013, 0x0014, 0x001f,
					  0x0020, 0x0026,     0x0029, 0x0065, 0x0100, 0xffff };

	add(types[_i], NULL, 0);
	add_everything();
	add(types[_i], "0123456789", 10);
	check_decodes();
	check_everything();
	ck_assert_uint_eq(m.odd_chunks, 0);
}
END_TEST

/* Chunks in another order: from the back, and turned by any number of places. */
static void reorder_chunks(bool is_reversed, size_t turn)
{
	static uint8_t from[512];
	struct view chunk[32];
	size_t count = 0, len = p.len;

	memcpy(from, p.bytes, len);
	for (size_t at = HEP3_HEAD_BYTES; at < len; at += chunk[count++].len)
		chunk[count] =
			(struct view){ from + at, (uint32_t)from[at + 4] << 8 | from[at + 5] };
	p.len = HEP3_HEAD_BYTES;
	for (size_t i = 0; i < count; i++) {
		struct view c = chunk[((is_reversed ? count - 1 - i : i) + turn) % count];

		memcpy(p.bytes + p.len, c.at, c.len);
		p.len += c.len;
	}
	ck_assert_uint_eq(p.len, len);
}

START_TEST(order_of_chunks_means_nothing)
{
	add_everything();
	reorder_chunks(_i % 2, (size_t)_i / 2);
	check_decodes();
	check_everything();
}
END_TEST

START_TEST(last_of_repeated_chunks_counts)
{
	add_u8(FAMILY, FAMILY_IPV6);
	add_u8(PROTO, PROTO_UDP);
	add(SRC_IP4, "\1\1\1\1", 4);
	add(DST_IP4, "\1\1\1\1", 4);
	add_u16(SRC_PORT, 1);
	add_u16(DST_PORT, 1);
	add_u32(SECONDS, 1);
	add_u32(MICROSECONDS, 1);
	add_u8(TYPE, 1);
	add_u32(CAPTURE_ID, 1);
	add_text(CORRELATION, "another one, and longer");
	add_text(KEY, "another key");
	add_text(PAYLOAD, "another payload");
	add_everything();
	check_decodes();
	check_everything();
	ck_assert_uint_eq(m.twice_chunks, 13);
	ck_assert_uint_eq(m.odd_chunks, 0);
}
END_TEST

/* Addresses. */

START_TEST(missing_address_is_an_error)
{
	static const struct {
		unsigned type;
		const void *ip;
		size_t len;
	} alone[] = { { SRC_IP4, src_ip4, 4 },
		      { DST_IP4, dst_ip4, 4 },
		      { SRC_IP6, src_ip6, 16 },
		      { DST_IP6, dst_ip6, 16 } };

	add(alone[_i].type, alone[_i].ip, alone[_i].len);
	add_u16(SRC_PORT, 5060);
	add_u16(DST_PORT, 5060);
	add_text(PAYLOAD, "INVITE");
	ck_assert_int_eq(decode(), HT_EADDRESS);
}
END_TEST

START_TEST(ipv6_pair_is_taken)
{
	add_u8(FAMILY, FAMILY_IPV6);
	add(SRC_IP6, src_ip6, sizeof(src_ip6));
	add(DST_IP6, dst_ip6, sizeof(dst_ip6));
	add_u16(SRC_PORT, 5061);
	check_decodes();
	ck_assert_uint_eq(m.src.family, FAMILY_IPV6);
	ck_assert_uint_eq(m.dst.family, FAMILY_IPV6);
	ck_assert_mem_eq(m.src.ip, src_ip6, sizeof(src_ip6));
	ck_assert_mem_eq(m.dst.ip, dst_ip6, sizeof(dst_ip6));
	ck_assert_uint_eq(m.src.port, 5061);
}
END_TEST

START_TEST(family_chunk_is_not_believed)
{
	static const unsigned families[] = { 0, 2, 10, 26, 28, 30, 255 };

	add_u8(FAMILY, families[_i]);
	add_pair();
	check_decodes();
	ck_assert_uint_eq(m.src.family, FAMILY_IPV4);
	ck_assert_uint_eq(m.dst.family, FAMILY_IPV4);
	start_packet();
	add(SRC_IP6, src_ip6, sizeof(src_ip6));
	add(DST_IP6, dst_ip6, sizeof(dst_ip6));
	add_u8(FAMILY, families[_i]);
	check_decodes();
	ck_assert_uint_eq(m.src.family, FAMILY_IPV6);
	ck_assert_uint_eq(m.dst.family, FAMILY_IPV6);
}
END_TEST

START_TEST(last_of_two_pairs_counts_and_leaves_nothing_of_the_first)
{
	static const uint8_t nothing[12];

	add(SRC_IP6, src_ip6, sizeof(src_ip6));
	add(DST_IP6, dst_ip6, sizeof(dst_ip6));
	add_u16(SRC_PORT, 5061);
	add_pair();
	check_decodes();
	ck_assert_uint_eq(m.src.family, FAMILY_IPV4);
	ck_assert_uint_eq(m.dst.family, FAMILY_IPV4);
	ck_assert_mem_eq(m.src.ip, src_ip4, sizeof(src_ip4));
	ck_assert_mem_eq(m.dst.ip, dst_ip4, sizeof(dst_ip4));
	ck_assert_mem_eq(m.src.ip + 4, nothing, sizeof(nothing));
	ck_assert_mem_eq(m.dst.ip + 4, nothing, sizeof(nothing));
	ck_assert_uint_eq(m.src.port, 5061);
}
END_TEST

/* Time. */

static const struct {
	uint32_t time_s, time_us;
	uint64_t ts_us;
} times[] = {
	{ 0, 0, 0 },
	{ 0, 999999, 0 },
	{ 1, 0, 1000000 },
	{ TIME_S, 0, TIME_S *UINT64_C(1000000) },
	{ TIME_S, 999999, TIME_S *UINT64_C(1000000) + 999999 },
	{ TIME_S, 1000000, (TIME_S + 1) * UINT64_C(1000000) },
	{ TIME_S, 2500001, (TIME_S + 2) * UINT64_C(1000000) + 500001 },
	{ TIME_S, UINT32_MAX, TIME_S *UINT64_C(1000000) + UINT32_MAX },
	{ UINT32_MAX, UINT32_MAX, UINT32_MAX *UINT64_C(1000000) + UINT32_MAX },
};

START_TEST(microseconds_of_a_second_and_more_are_carried)
{
	add_pair();
	add_u32(MICROSECONDS, times[_i].time_us);
	add_u32(SECONDS, times[_i].time_s);
	check_decodes();
	ck_assert_uint_eq(m.ts_us, times[_i].ts_us);
}
END_TEST

START_TEST(seconds_alone_are_a_time_and_microseconds_alone_are_none)
{
	add_pair();
	add_u32(SECONDS, TIME_S);
	check_decodes();
	ck_assert_uint_eq(m.ts_us, TIME_S * UINT64_C(1000000));
	start_packet();
	add_pair();
	add_u32(MICROSECONDS, 5);
	check_decodes();
	ck_assert_uint_eq(m.ts_us, 0);
}
END_TEST

/* Payload, correlation, key. */

START_TEST(empty_payload_is_a_message)
{
	add_pair();
	add(PAYLOAD, NULL, 0);
	check_decodes();
	ck_assert_uint_eq(m.payload.len, 0);
	ck_assert(!m.is_compressed);
}
END_TEST

START_TEST(payload_keeps_nul_and_line_ends)
{
	static const char payload[] = "\r\n\0INVITE\0\0";

	add_pair();
	add(PAYLOAD, payload, sizeof(payload));
	check_decodes();
	ck_assert_uint_eq(m.payload.len, sizeof(payload));
	ck_assert_mem_eq(m.payload.at, payload, sizeof(payload));
}
END_TEST

START_TEST(compressed_payload_is_handed_on_as_such)
{
	add_pair();
	add_text(COMPRESSED, "x\x9c");
	check_decodes();
	ck_assert(m.is_compressed);
	ck_assert(view_is(m.payload, "x\x9c"));
}
END_TEST

START_TEST(plain_payload_is_preferred_to_a_compressed_one)
{
	add_pair();
	add_text(_i ? PAYLOAD : COMPRESSED, _i ? "plain" : "packed");
	add_text(_i ? COMPRESSED : PAYLOAD, _i ? "packed" : "plain");
	check_decodes();
	ck_assert(!m.is_compressed);
	ck_assert(view_is(m.payload, "plain"));
	ck_assert_uint_eq(m.twice_chunks, 0);
}
END_TEST

START_TEST(empty_plain_payload_is_preferred_too)
{
	add_pair();
	add_text(COMPRESSED, "packed");
	add(PAYLOAD, NULL, 0);
	check_decodes();
	ck_assert(!m.is_compressed);
	ck_assert_uint_eq(m.payload.len, 0);
}
END_TEST

START_TEST(correlation_keeps_every_octet)
{
	static const char id[] = "a \"b\\c\0d\xc3\xa9";

	add_pair();
	add(CORRELATION, id, sizeof(id) - 1);
	check_decodes();
	ck_assert_uint_eq(m.correlation.len, sizeof(id) - 1);
	ck_assert_mem_eq(m.correlation.at, id, sizeof(id) - 1);
}
END_TEST

START_TEST(empty_key_is_not_an_absent_one)
{
	add_pair();
	check_decodes();
	ck_assert(!m.has_key);
	add(KEY, NULL, 0);
	check_decodes();
	ck_assert(m.has_key);
	ck_assert_uint_eq(m.key.len, 0);
}
END_TEST

START_TEST(capture_id_0_is_not_an_absent_one)
{
	add_pair();
	check_decodes();
	ck_assert(!m.has_capture_id);
	add_u32(CAPTURE_ID, 0);
	check_decodes();
	ck_assert(m.has_capture_id);
	ck_assert_uint_eq(m.capture_id, 0);
}
END_TEST

START_TEST(numbers_are_kept_whatever_they_are)
{
	add_pair();
	add_u8(PROTO, (unsigned)_i);
	add_u8(TYPE, (unsigned)_i);
	check_decodes();
	ck_assert_uint_eq(m.ip_proto, _i);
	ck_assert_uint_eq(m.type, _i);
}
END_TEST

/* Whatever single octet is wrong: refused, or a message within its packet. */
START_TEST(any_octet_may_have_any_value)
{
	uint8_t right;

	add_everything();
	put_u16(p.bytes + 4, p.len);
	ck_assert_uint_eq(p.len, EVERYTHING_BYTES);
	right = p.bytes[_i];
	for (unsigned wrong = 0; wrong < 256; wrong++) {
		p.bytes[_i] = (uint8_t)wrong;
		if (decode_first(p.len) > 0 && _i >= HEP3_HEAD_BYTES)
			ck_assert_uint_le(m.payload.len, p.len);
	}
	p.bytes[_i] = right;
	check_decodes();
	check_everything();
}
END_TEST

static TCase *packet_tests(void)
{
	TCase *t = tcase_create("packet");

	tcase_add_test(t, every_chunk_has_its_place);
	tcase_add_test(t, absent_chunks_leave_their_defaults);
	tcase_add_test(t, no_bytes_are_too_few);
	tcase_add_test(t, packet_cut_anywhere_is_too_short);
	tcase_add_loop_test(t, other_names_of_version_3_are_taken, 0, ROWS(good_magics));
	tcase_add_loop_test(t, other_magic_is_refused, 0, ROWS(bad_magics));
	tcase_add_loop_test(t, packet_length_below_its_head_is_refused, 0, HEP3_HEAD_BYTES);
	tcase_add_test(t, packet_longer_than_what_came_is_short);
	tcase_add_test(t, packet_without_chunks_has_no_addresses);
	tcase_add_test(t, octets_behind_the_packet_are_left);
	tcase_add_test(t, packets_of_a_stream_are_decoded_one_by_one);
	tcase_add_test(t, largest_packet_is_decoded);
	tcase_add_loop_test(t, any_octet_may_have_any_value, 0, EVERYTHING_BYTES);
	return t;
}

static TCase *chunk_tests(void)
{
	TCase *t = tcase_create("chunks");

	tcase_add_loop_test(t, chunk_length_below_its_head_is_refused, 0, CHUNK_HEAD_BYTES);
	tcase_add_loop_test(t, unknown_chunk_length_below_its_head_is_refused, 0, CHUNK_HEAD_BYTES);
	tcase_add_loop_test(t, chunk_longer_than_packet_is_refused, 0, 4);
	tcase_add_test(t, chunk_longer_than_packet_is_refused_though_more_bytes_follow);
	tcase_add_loop_test(t, less_than_a_chunk_head_at_the_end_is_refused, 1, CHUNK_HEAD_BYTES);
	tcase_add_loop_test(t, fixed_size_value_of_another_size_is_ignored_and_counted, 0,
			    ROWS(fixed_sizes));
	tcase_add_test(t, value_of_another_size_does_not_stand_for_the_right_one);
	tcase_add_test(t, counts_of_odd_and_repeated_chunks_stop_at_their_limit);
	tcase_add_loop_test(t, known_type_of_another_vendor_is_ignored, 0, 6);
	tcase_add_test(t, addresses_of_another_vendor_are_none);
	tcase_add_loop_test(t, unknown_types_are_ignored, 0, 12);
	tcase_add_loop_test(t, order_of_chunks_means_nothing, 0, 2 * 13);
	tcase_add_test(t, last_of_repeated_chunks_counts);
	return t;
}

static TCase *value_tests(void)
{
	TCase *t = tcase_create("values");

	tcase_add_loop_test(t, missing_address_is_an_error, 0, 4);
	tcase_add_test(t, ipv6_pair_is_taken);
	tcase_add_loop_test(t, family_chunk_is_not_believed, 0, 7);
	tcase_add_test(t, last_of_two_pairs_counts_and_leaves_nothing_of_the_first);
	tcase_add_loop_test(t, microseconds_of_a_second_and_more_are_carried, 0, ROWS(times));
	tcase_add_test(t, seconds_alone_are_a_time_and_microseconds_alone_are_none);
	tcase_add_test(t, empty_payload_is_a_message);
	tcase_add_test(t, payload_keeps_nul_and_line_ends);
	tcase_add_test(t, compressed_payload_is_handed_on_as_such);
	tcase_add_loop_test(t, plain_payload_is_preferred_to_a_compressed_one, 0, 2);
	tcase_add_test(t, empty_plain_payload_is_preferred_too);
	tcase_add_test(t, correlation_keeps_every_octet);
	tcase_add_test(t, empty_key_is_not_an_absent_one);
	tcase_add_test(t, capture_id_0_is_not_an_absent_one);
	tcase_add_loop_test(t, numbers_are_kept_whatever_they_are, 0, 256);
	return t;
}

int main(void)
{
	TCase *cases[] = { packet_tests(), chunk_tests(), value_tests() };
	Suite *s = suite_create("hep_codec");
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], start_packet, free_kept);
		suite_add_tcase(s, cases[i]);
	}
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
