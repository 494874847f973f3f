/*
 * capture/decode.c and the layers behind it. Packets are made by hand and decoded from exact-size
 * heap copies, so that AddressSanitizer sees a byte too many; each that holds something is decoded
 * once more with every number of octets captured.
 */
#include "capture/decode.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/make_packet.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define TEXT	    "OPTIONS sip:a@b SIP/2.0\r\n\r\n"

/* What a glance says, decode_packet() says. @return something was found. */
static bool check_glance(const struct captured *in, const struct decoded *d)
{
	struct glance g;

	if (!decode_glance(in, &g))
		return false;
	ck_assert_int_eq(d->kind, DECODED_UDP);
	ck_assert_uint_eq(d->depth, 0);
	ck_assert_uint_eq(g.src_port, d->src.port);
	ck_assert_uint_eq(g.dst_port, d->dst.port);
	ck_assert_uint_eq(g.payload.len, d->payload.len);
	if (g.payload.len)
		ck_assert_ptr_eq(g.payload.at, d->payload.at);
	return true;
}

/* Decode the first @p captured octets of @p wire_len; what is found is copied to @p text. */
static struct decoded decode(const uint8_t *bytes, size_t captured, size_t wire_len, uint16_t link,
			     uint8_t *text)
{
	uint8_t *copy = malloc(captured + 1); /* of at least one octet */
	struct captured in = {
		.bytes = { copy + 1, (uint32_t)captured },
		.wire_len = (uint32_t)wire_len,
		.link = link,
	};
	struct decoded out;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy + 1, bytes, captured);
	memset(&out, 0xa5, sizeof(out));
	decode_packet(&in, &out);
	(void)check_glance(&in, &out);
	ck_assert_int_eq(out.kind == DECODED_NONE, out.reason != DECODE_FOUND);
	ck_assert(out.depth <= DECODE_DEPTH_MOST);
	if (out.kind != DECODED_NONE) {
		ck_assert(view_inside(out.payload, in.bytes));
		if (out.payload.len)
			memcpy(text, out.payload.at, out.payload.len);
	}
	free(copy);
	return out;
}

static bool is_malformed(enum decode_reason reason)
{
	return strncmp(decode_reason_name(reason), "malformed_", 10) == 0;
}

/* Every number of octets, captured of a longer frame or of one that was as short: what is missing
 * is said, and never is something else found. */
static void check_cuts(const struct made *m, uint16_t link, const struct decoded *whole,
		       const uint8_t *whole_text)
{
	const uint8_t *bytes = m->room + MADE_ROOM - m->len;
	uint8_t text[MADE_ROOM];

	for (size_t n = 0; n < m->len; n++) {
		struct decoded snap = decode(bytes, n, m->len, link, text);

		if (snap.kind == DECODED_NONE) {
			ck_assert_msg(decode_is_incomplete(snap.reason), "%zu of %zu: %s", n,
				      m->len, decode_reason_name(snap.reason));
		} else { /* what is missing is padding */
			ck_assert_int_eq(snap.kind, whole->kind);
			ck_assert_uint_eq(snap.payload.len, whole->payload.len);
			ck_assert_int_eq(memcmp(text, whole_text, whole->payload.len), 0);
		}
		snap = decode(bytes, n, n, link, text);
		ck_assert(snap.reason != DECODE_SNAP);
		if (snap.kind == DECODED_NONE) {
			ck_assert_msg(snap.reason == DECODE_SHORT || is_malformed(snap.reason),
				      "%zu octets: %s", n, decode_reason_name(snap.reason));
		} else {
			ck_assert_uint_eq(snap.payload.len, whole->payload.len);
			ck_assert_int_eq(memcmp(text, whole_text, whole->payload.len), 0);
		}
	}
}

static struct decoded decode_made(struct made *m, uint16_t link)
{
	uint8_t text[MADE_ROOM];
	struct decoded out = decode(made_at(m), m->len, m->len, link, text);

	if (out.kind != DECODED_NONE)
		check_cuts(m, link, &out, text);
	return out;
}

static void check_address(const struct addr *a, uint8_t family, const char *ip, uint16_t port)
{
	ck_assert_uint_eq(a->family, family);
	ck_assert_int_eq(memcmp(a->ip, ip, family == FAMILY_IPV4 ? 4 : 16), 0);
	ck_assert_uint_eq(a->port, port);
}

/* The datagram of inner4() or inner6() was found. */
static void check_inner(const struct decoded *d, uint8_t family)
{
	ck_assert_msg(d->reason == DECODE_FOUND, "%s", decode_reason_name(d->reason));
	ck_assert_int_eq(d->kind, DECODED_UDP);
	ck_assert_uint_eq(d->protocol, PROTO_UDP);
	ck_assert_uint_eq(d->payload.len, strlen(TEXT));
	if (family == FAMILY_IPV4) {
		check_address(&d->src, family, "\xc0\x00\x02\x01", 5070);
		check_address(&d->dst, family, "\xc6\x33\x64\x02", 5060);
	} else {
		check_address(&d->src, family, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 5070);
		check_address(&d->dst, family, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 5060);
	}
}

static struct made inner_udp(void)
{
	struct made m = { 0 };

	made_bytes(&m, TEXT, strlen(TEXT));
	made_udp(&m, 5070, 5060);
	return m;
}

static struct made inner4(void)
{
	struct made m = inner_udp();

	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	return m;
}

static struct made inner6(void)
{
	struct made m = inner_udp();

	made_ip6(&m, PROTO_UDP, 1, 2);
	return m;
}

static void check_refused(struct made *m, enum decode_reason reason)
{
	struct decoded d = decode_made(m, LINK_RAW);

	ck_assert_msg(d.reason == reason, "%s", decode_reason_name(d.reason));
}

/* Link layers. */

static const struct {
	uint16_t link;
	uint8_t family; /* of what is inside */
	size_t head_len;
	const char *head;
	enum decode_reason reason;
} links[] = {
	{ LINK_ETHERNET, FAMILY_IPV4, 14, "222222333333\x08\x00", DECODE_FOUND },
	{ LINK_ETHERNET, FAMILY_IPV6, 14, "222222333333\x86\xdd", DECODE_FOUND },
	{ LINK_ETHERNET, FAMILY_IPV4, 14, "222222333333\x08\x06", DECODE_NOT_IP },
	{ LINK_ETHERNET, FAMILY_IPV4, 14, "222222333333\x00\x26", DECODE_NOT_IP },
	{ LINK_ETHERNET, FAMILY_IPV4, 14, "222222333333\x65\x58", DECODE_NOT_IP },
	{ LINK_ETHERNET, FAMILY_IPV4, 14, "222222333333\x86\xdd", DECODE_FOUND },
	{ LINK_ETHERNET, FAMILY_IPV6, 14, "222222333333\x08\x00", DECODE_FOUND },
	{ LINK_ETHERNET, FAMILY_IPV4, 15, "222222333333\x86\xdd\x50", DECODE_MALFORMED_IP6 },
	{ LINK_ETHERNET, FAMILY_IPV6, 15, "222222333333\x08\x00\x00", DECODE_MALFORMED_IP4 },
	{ LINK_LINUX_SLL, FAMILY_IPV4, 16, "\0\4\0\1\0\6mac000\0\0\x08\x00", DECODE_FOUND },
	{ LINK_LINUX_SLL, FAMILY_IPV6, 16, "\0\4\3\4\0\0\0\0\0\0\0\0\0\0\x86\xdd", DECODE_FOUND },
	{ LINK_LINUX_SLL, FAMILY_IPV4, 16, "\0\4\3\x38\0\0\0\0\0\0\0\0\0\0\x08\x00",
	  DECODE_NOT_IP },
	{ LINK_LINUX_SLL2, FAMILY_IPV4, 20, "\x08\x00\0\0\0\0\0\7\0\1\0\6mac000\0\0",
	  DECODE_FOUND },
	{ LINK_LINUX_SLL2, FAMILY_IPV6, 20, "\x86\xdd\0\0\0\0\0\7\3\4\0\0\0\0\0\0\0\0\0\0",
	  DECODE_FOUND },
	{ LINK_LINUX_SLL2, FAMILY_IPV4, 20, "\x08\x06\0\0\0\0\0\7\0\1\0\6mac000\0\0",
	  DECODE_NOT_IP },
	{ LINK_NULL, FAMILY_IPV4, 4, "\2\0\0\0", DECODE_FOUND },
	{ LINK_NULL, FAMILY_IPV4, 4, "\0\0\0\2", DECODE_FOUND },
	{ LINK_NULL, FAMILY_IPV6, 4, "\x1e\0\0\0", DECODE_FOUND },
	{ LINK_NULL, FAMILY_IPV6, 4, "\0\0\0\x1c", DECODE_FOUND },
	{ LINK_NULL, FAMILY_IPV4, 4, "\0\0\0\7", DECODE_NOT_IP },
	{ LINK_LOOP, FAMILY_IPV4, 4, "\0\0\0\2", DECODE_FOUND },
	{ LINK_LOOP, FAMILY_IPV6, 4, "\0\0\0\x18", DECODE_FOUND },
	{ LINK_LOOP, FAMILY_IPV6, 4, "\0\0\0\x0a", DECODE_FOUND },
	{ LINK_RAW, FAMILY_IPV4, 0, "", DECODE_FOUND },
	{ LINK_RAW_FILE, FAMILY_IPV6, 0, "", DECODE_FOUND },
	{ LINK_RAW_OPENBSD, FAMILY_IPV6, 0, "", DECODE_FOUND },
	{ LINK_RAW, FAMILY_IPV4, 1, "\x50", DECODE_MALFORMED_LINK },
	{ LINK_IPV4, FAMILY_IPV4, 0, "", DECODE_FOUND },
	{ LINK_IPV4, FAMILY_IPV6, 0, "", DECODE_FOUND },
	{ LINK_IPV6, FAMILY_IPV6, 0, "", DECODE_FOUND },
	{ LINK_IPV6, FAMILY_IPV4, 1, "\x10", DECODE_MALFORMED_LINK },
	{ 105, FAMILY_IPV4, 0, "", DECODE_LINK }, /* 802.11 */
};

START_TEST(link_layers_lead_to_ip)
{
	struct made m = links[_i].family == FAMILY_IPV4 ? inner4() : inner6();
	struct decoded d;

	made_bytes(&m, links[_i].head, links[_i].head_len);
	d = decode_made(&m, links[_i].link);
	if (links[_i].reason == DECODE_FOUND)
		check_inner(&d, links[_i].family);
	ck_assert_str_eq(decode_reason_name(d.reason), decode_reason_name(links[_i].reason));
	ck_assert_uint_eq(d.depth, 0);
	ck_assert_uint_eq(d.vlans, 0);
}
END_TEST

START_TEST(tags_of_all_kinds_are_stepped_over_and_remembered)
{
	static const uint16_t outer_types[] = { 0x8100, 0x88a8, 0x9100 };
	struct made m = inner6();
	struct decoded d;

	made_vlan(&m, 0xe000 | 100, 0x86dd);
	made_vlan(&m, 0, 0x8100); /* priority only */
	made_vlan(&m, 4094, 0x8100);
	made_ethernet(&m, outer_types[_i]);
	d = decode_made(&m, LINK_ETHERNET);
	check_inner(&d, FAMILY_IPV6);
	ck_assert_uint_eq(d.vlans, 2);
	ck_assert_uint_eq(d.vlan[0], 4094);
	ck_assert_uint_eq(d.vlan[1], 100);
}
END_TEST

START_TEST(tag_that_the_kernel_took_out_is_the_outermost)
{
	struct made m = inner4();
	struct captured in = { .link = LINK_ETHERNET, .has_vlan = true, .vlan_tci = 0x2007 };
	struct decoded d;

	made_vlan(&m, 100, 0x0800);
	made_ethernet(&m, 0x8100);
	in.bytes = (struct view){ made_at(&m), (uint32_t)m.len };
	in.wire_len = (uint32_t)m.len;
	decode_packet(&in, &d);
	check_inner(&d, FAMILY_IPV4);
	ck_assert_uint_eq(d.vlans, 2);
	ck_assert_uint_eq(d.vlan[0], 7);
	ck_assert_uint_eq(d.vlan[1], 100);
}
END_TEST

START_TEST(more_tags_than_are_remembered)
{
	struct made m = inner4();
	struct decoded d;

	made_vlan(&m, 900, 0x0800);
	for (unsigned i = 0; i < 99; i++)
		made_vlan(&m, 899 - i, 0x8100);
	made_ethernet(&m, 0x8100);
	d = decode_made(&m, LINK_ETHERNET);
	check_inner(&d, FAMILY_IPV4);
	ck_assert_uint_eq(d.vlans, DECODE_VLANS_MOST);
	ck_assert_uint_eq(d.vlan[3], 804);
}
END_TEST

START_TEST(linux_cooked_frames_may_be_tagged)
{
	struct made m = inner4();
	struct decoded d;

	made_vlan(&m, 9, 0x0800);
	made_bytes(&m, "\0\4\0\1\0\6mac000\0\0\x81\x00", 16);
	d = decode_made(&m, LINK_LINUX_SLL);
	check_inner(&d, FAMILY_IPV4);
	ck_assert_uint_eq(d.vlan[0], 9);
}
END_TEST

/* IPv4. */

START_TEST(ip4_options_and_padding)
{
	for (size_t options = 0; options <= 40; options += 4) {
		struct made m = inner_udp();
		struct decoded d;

		made_ip4(&m, PROTO_UDP, 1, 2, options);
		made_padding(&m, 7);
		made_ethernet(&m, 0x0800);
		d = decode_made(&m, LINK_ETHERNET);
		check_inner(&d, FAMILY_IPV4);
		ck_assert(d.has_ip_id);
		ck_assert_uint_eq(d.ip_id, 0x1234);
	}
}
END_TEST

static const struct {
	size_t at;
	uint8_t value;
	enum decode_reason reason;
} ip4_odd[] = {
	{ 0, 0x44, DECODE_MALFORMED_IP4 }, /* header of 16 octets */
	{ 3, 19, DECODE_MALFORMED_IP4 },   /* longer than the packet */
	{ 3, 20, DECODE_MALFORMED_UDP },   /* nothing inside */
	{ 3, 27, DECODE_MALFORMED_UDP },   /* 7 octets inside */
	{ 3, 28, DECODE_SHORT },	   /* a UDP header that promises more */
	{ 3, 255, DECODE_FOUND },	   /* more, which is padding: the datagram is all there */
	{ 9, 1, DECODE_PROTOCOL },	   /* ICMP */
	{ 9, 0, DECODE_PROTOCOL },	   /* hop-by-hop is IPv6 only */
	{ 9, 44, DECODE_PROTOCOL },	   /* so is this fragment header */
	{ 9, 50, DECODE_ENCRYPTED },
	{ 6, 0x20, DECODE_MALFORMED_IP4 }, /* more to come, but not 8 octets of each */
	{ 6, 0x40, DECODE_FOUND },	   /* "do not fragment" */
	{ 6, 0x80, DECODE_FOUND },	   /* the reserved bit */
};

START_TEST(ip4_header_with_one_octet_changed)
{
	struct made m = inner4();
	struct decoded d;

	made_at(&m)[ip4_odd[_i].at] = ip4_odd[_i].value;
	d = decode_made(&m, LINK_IPV4);
	ck_assert_str_eq(decode_reason_name(d.reason), decode_reason_name(ip4_odd[_i].reason));
}
END_TEST

/* A plain datagram is seen; with any value of any octet of its headers the two agree. */
START_TEST(glance_agrees_with_the_layers)
{
	struct made m = inner4();
	unsigned seen = 0;

	made_ethernet(&m, 0x0800);
	for (size_t at = 0; at < 14 + 20 + 8; at++) {
		uint8_t was = made_at(&m)[at];

		for (unsigned value = 0; value < 256; value++) {
			struct captured in = { .bytes = { made_at(&m), (uint32_t)m.len },
					       .wire_len = (uint32_t)m.len,
					       .link = LINK_ETHERNET };
			struct decoded d;
			bool is_seen;

			made_at(&m)[at] = (uint8_t)value;
			decode_packet(&in, &d);
			is_seen = check_glance(&in, &d);
			ck_assert(is_seen || value != was);
			seen += is_seen;
			in.wire_len++;
			ck_assert(!decode_glance(&in, &(struct glance){ 0 }));
			in.wire_len--;
			in.link = LINK_RAW;
			ck_assert(!decode_glance(&in, &(struct glance){ 0 }));
		}
		made_at(&m)[at] = was;
	}
	/* both MACs (12), type of service, number (2), bits 6 and 7 of the place, time to live,
	   checksum (2), addresses (8), ports (4, but for those of tunnels) and checksum (2) are
	   free */
	ck_assert_uint_gt(seen, (12 + 1 + 2 + 1 + 2 + 8 + 3 + 2) * 256);
}
END_TEST

START_TEST(ip4_length_0_is_all_there_is)
{
	struct made m = inner4();
	struct decoded d;

	made_u16(made_at(&m) + 2, 0);
	d = decode_made(&m, LINK_IPV4);
	check_inner(&d, FAMILY_IPV4);
}
END_TEST

START_TEST(ip4_fragments_say_where_they_belong)
{
	struct made m = { 0 };
	struct decoded d;
	uint8_t *ip;

	made_bytes(&m, "0123456789abcdef", 16);
	ip = made_ip4(&m, PROTO_UDP, 1, 2, 8);
	made_u16(ip + 6, 0x2000 | 185);
	made_padding(&m, 3);
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_FRAGMENT);
	check_address(&d.src, FAMILY_IPV4, "\xc0\x00\x02\x01", 0);
	check_address(&d.dst, FAMILY_IPV4, "\xc6\x33\x64\x02", 0);
	ck_assert_uint_eq(d.fragment.id, 0x1234);
	ck_assert_uint_eq(d.fragment.offset, 1480);
	ck_assert(d.fragment.more);
	ck_assert_uint_eq(d.protocol, PROTO_UDP);
	ck_assert_uint_eq(d.payload.len, 16);
	made_u16(made_at(&m) + 6, 185);
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_FRAGMENT);
	ck_assert(!d.fragment.more);
	made_at(&m)[9] = 1; /* nothing to put together */
	check_refused(&m, DECODE_PROTOCOL);
	made_at(&m)[9] = 50;
	check_refused(&m, DECODE_ENCRYPTED);
}
END_TEST

START_TEST(ip4_fragments_that_cannot_be)
{
	struct made m = { 0 };

	made_bytes(&m, "01234567", 8);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	made_u16(made_at(&m) + 6, 8190); /* 65520 + 8 */
	ck_assert_int_eq(decode_made(&m, LINK_RAW).kind, DECODED_FRAGMENT);
	made_u16(made_at(&m) + 6, 8191); /* 65528 + 8 */
	check_refused(&m, DECODE_MALFORMED_IP4);
	made_u16(made_at(&m) + 6, 0x2000);
	made_u16(made_at(&m) + 2, 27);
	check_refused(&m, DECODE_MALFORMED_IP4);
	made_u16(made_at(&m) + 2, 20);
	check_refused(&m, DECODE_MALFORMED_IP4);
	made_u16(made_at(&m) + 6, 1);
	check_refused(&m, DECODE_MALFORMED_IP4);
}
END_TEST

START_TEST(authentication_header_is_stepped_over)
{
	struct made m = inner_udp(), m6 = inner_udp();
	struct decoded d;

	made_authentication(&m, PROTO_UDP, 24);
	made_ip4(&m, 51, 1, 2, 0);
	d = decode_made(&m, LINK_RAW);
	check_inner(&d, FAMILY_IPV4);
	made_authentication(&m6, PROTO_UDP, 28);
	made_ip6(&m6, 51, 1, 2);
	d = decode_made(&m6, LINK_RAW);
	check_inner(&d, FAMILY_IPV6);
}
END_TEST

/* IPv6. */

START_TEST(ip6_extension_headers_in_any_number)
{
	struct made m = inner_udp();
	struct decoded d;

	made_authentication(&m, PROTO_UDP, 24);
	made_ip6_extension(&m, 51, 8);
	made_ip6_fragment(&m, 60, 0, 77); /* the only one of its datagram */
	made_ip6_extension(&m, 44, 24);
	made_ip6_extension(&m, 43, 2048);
	made_ip6_extension(&m, 60, 8);
	made_ip6(&m, 0, 1, 2);
	made_padding(&m, 5);
	d = decode_made(&m, LINK_RAW);
	check_inner(&d, FAMILY_IPV6);
	ck_assert(d.has_ip_id);
	ck_assert_uint_eq(d.ip_id, 77);
	m = inner6();
	ck_assert(!decode_made(&m, LINK_RAW).has_ip_id);
}
END_TEST

START_TEST(ip6_fragments_say_where_they_belong)
{
	struct made m = { 0 };
	struct decoded d;

	made_bytes(&m, "0123456789abcdef", 16);
	made_ip6_fragment(&m, PROTO_UDP, 1448 | 1, 0xdeadbeef);
	made_ip6_extension(&m, 44, 8);
	made_ip6(&m, 60, 1, 2);
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_FRAGMENT);
	check_address(&d.src, FAMILY_IPV6, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 0);
	ck_assert_uint_eq(d.fragment.id, 0xdeadbeef);
	ck_assert_uint_eq(d.fragment.offset, 1448);
	ck_assert(d.fragment.more);
	ck_assert_uint_eq(d.protocol, PROTO_UDP);
	ck_assert_uint_eq(d.payload.len, 16);
}
END_TEST

static const struct {
	uint8_t protocol;
	enum decode_reason reason;
} ip6_ends[] = {
	{ 58, DECODE_PROTOCOL },      { 59, DECODE_PROTOCOL },	    { 50, DECODE_ENCRYPTED },
	{ 0, DECODE_MALFORMED_IP6 },  { 43, DECODE_MALFORMED_IP6 }, { 44, DECODE_MALFORMED_IP6 },
	{ 51, DECODE_MALFORMED_IP6 },
};

START_TEST(ip6_ends_with_a_header_that_is_not_there)
{
	struct made m = { 0 };

	made_bytes(&m, "\x11\x00\0\0\0\0\0", 7);
	made_ip6(&m, ip6_ends[_i].protocol, 1, 2);
	check_refused(&m, ip6_ends[_i].reason);
}
END_TEST

START_TEST(jumbograms_are_refused)
{
	struct made m = inner_udp();
	uint8_t *options = made_ip6_extension(&m, PROTO_UDP, 16), *ip;

	memcpy(options + 4, "\0\xc2\4\0\1\0\0\0", 8); /* Pad1, the length, Pad1 */
	ip = made_ip6(&m, 0, 1, 2);
	ck_assert_int_eq(decode_made(&m, LINK_RAW).kind, DECODED_UDP);
	made_u16(ip + 4, 0);
	check_refused(&m, DECODE_JUMBO);
	ip[40 + 5] = 1; /* no jumbo option: a length of 0 is wrong */
	check_refused(&m, DECODE_MALFORMED_IP6);
	ip[6] = PROTO_UDP; /* nothing inside */
	check_refused(&m, DECODE_MALFORMED_UDP);
}
END_TEST

/* UDP. */

static const struct {
	uint16_t len;
	uint32_t payload;
	enum decode_reason reason;
} udp_lengths[] = {
	{ 0, 0, DECODE_MALFORMED_UDP }, { 7, 0, DECODE_MALFORMED_UDP }, { 8, 0, DECODE_FOUND },
	{ 9, 1, DECODE_FOUND },		{ 35, 27, DECODE_FOUND },	{ 36, 0, DECODE_SHORT },
	{ 65535, 0, DECODE_SHORT },
};

START_TEST(udp_length_against_what_is_there)
{
	struct made m = inner_udp();
	struct decoded d;

	made_u16(made_at(&m) + 4, udp_lengths[_i].len);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	d = decode_made(&m, LINK_RAW);
	ck_assert_str_eq(decode_reason_name(d.reason), decode_reason_name(udp_lengths[_i].reason));
	if (d.kind != DECODED_NONE)
		ck_assert_uint_eq(d.payload.len, udp_lengths[_i].payload);
}
END_TEST

/* TCP. */

START_TEST(tcp_segments_with_options)
{
	for (size_t options = 0; options <= 40; options += 4) {
		struct made m = { 0 };
		struct decoded d;

		made_bytes(&m, TEXT, strlen(TEXT));
		made_tcp(&m, 40001, 5061, 0xfffffff0, SEGMENT_PSH | SEGMENT_ACK, options);
		made_ip6(&m, PROTO_TCP, 1, 2);
		d = decode_made(&m, LINK_RAW);
		ck_assert_int_eq(d.kind, DECODED_TCP);
		ck_assert_uint_eq(d.protocol, PROTO_TCP);
		ck_assert_uint_eq(d.src.port, 40001);
		ck_assert_uint_eq(d.dst.port, 5061);
		ck_assert_uint_eq(d.segment.seq, 0xfffffff0);
		ck_assert_uint_eq(d.segment.ack, 0x0f);
		ck_assert_uint_eq(d.segment.flags, SEGMENT_PSH | SEGMENT_ACK);
		ck_assert_uint_eq(d.payload.len, strlen(TEXT));
	}
}
END_TEST

START_TEST(tcp_segment_of_nothing_but_flags)
{
	struct made m = { 0 };
	struct decoded d;

	made_tcp(&m, 40001, 5061, 7, SEGMENT_SYN, 8);
	made_ip4(&m, PROTO_TCP, 1, 2, 4);
	made_padding(&m, 6); /* must not become a part of the stream */
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_TCP);
	ck_assert_uint_eq(d.segment.flags, SEGMENT_SYN);
	ck_assert_uint_eq(d.payload.len, 0);
}
END_TEST

START_TEST(tcp_header_lengths_that_cannot_be)
{
	for (uint8_t words = 0; words < 16; words++) {
		struct made m = { 0 };

		made_bytes(&m, "0123", 4);
		made_tcp(&m, 40001, 5061, 7, SEGMENT_ACK, 0)[12] = (uint8_t)(words << 4);
		made_ip4(&m, PROTO_TCP, 1, 2, 0);
		check_refused(&m, words == 5 || words == 6 ? DECODE_FOUND : DECODE_MALFORMED_TCP);
		made_u16(made_at(&m) + 2, 100); /* part of it is missing */
		check_refused(&m, words < 5 ? DECODE_MALFORMED_TCP : DECODE_SHORT);
	}
}
END_TEST

/* Tunnels: @p d holds inner4() or inner6() in @p depth of them. */
static void check_tunnel(struct made *m, uint16_t link, uint8_t family, unsigned depth)
{
	struct decoded d = decode_made(m, link);

	check_inner(&d, family);
	ck_assert_uint_eq(d.depth, depth);
	ck_assert(d.has_ip_id == (family == FAMILY_IPV4));
}

START_TEST(ip_within_ip)
{
	struct made m = inner4();

	made_ip4(&m, 4, 9, 9, 8);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	m = inner6();
	made_ip4(&m, 41, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
	m = inner4();
	made_ip6_extension(&m, 4, 8); /* tunnel encapsulation limit */
	made_ip6(&m, 60, 9, 9);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	m = inner6();
	made_ip6(&m, 41, 9, 9);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
}
END_TEST

START_TEST(tunnels_are_followed_only_so_deep)
{
	struct made m = inner4();

	for (unsigned depth = 1; depth <= DECODE_DEPTH_MOST; depth++) {
		made_ip4(&m, 4, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV4, depth);
	}
	made_ip4(&m, 4, 9, 9, 0);
	check_refused(&m, DECODE_DEPTH);
}
END_TEST

START_TEST(length_of_an_outer_packet_bounds_the_inner_one)
{
	struct made m = inner4();
	uint8_t *outer = made_ip4(&m, 4, 9, 9, 0);

	made_u16(outer + 2, (unsigned)m.len - 1);
	check_refused(&m, DECODE_SHORT);
	made_u16(outer + 2, 20 + 19);
	check_refused(&m, DECODE_MALFORMED_IP4);
}
END_TEST

START_TEST(gre_with_any_of_its_fields)
{
	static const unsigned flags[] = {
		0, 0x8000, 0x2000, 0x1000, 0xa000, 0x3000, 0x9000, 0xb000
	};
	struct made m = inner4();

	made_gre(&m, flags[_i], 0x0800);
	made_ip6(&m, 47, 9, 9);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	m = inner6();
	made_gre(&m, flags[_i], 0x86dd);
	made_ip4(&m, 47, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
	m = inner6();
	made_vlan(&m, 5, 0x86dd);
	made_ethernet(&m, 0x8100);
	made_gre(&m, flags[_i], 0x6558);
	made_ip4(&m, 47, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
}
END_TEST

START_TEST(gre_that_is_not_followed)
{
	struct made m = inner4();
	uint8_t *gre = made_gre(&m, 0x4000, 0x0800);

	made_ip4(&m, 47, 9, 9, 0);
	check_refused(&m, DECODE_TUNNEL);
	made_u16(gre, 1);
	check_refused(&m, DECODE_TUNNEL);
	made_u16(gre, 0);
	made_u16(gre + 2, 0x880b); /* PPP */
	check_refused(&m, DECODE_NOT_IP);
}
END_TEST

START_TEST(erspan_of_all_types)
{
	struct made m = inner4();

	made_ethernet(&m, 0x0800);
	made_gre(&m, 0, 0x88be);
	made_ip4(&m, 47, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	m = inner6();
	made_ethernet(&m, 0x86dd);
	made_erspan2(&m);
	made_gre(&m, 0x1000, 0x88be);
	made_ip4(&m, 47, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
	for (int has_subhead = 0; has_subhead < 2; has_subhead++) {
		m = inner6();
		made_ethernet(&m, 0x86dd);
		made_erspan3(&m, false, has_subhead);
		made_gre(&m, 0x1000, 0x22eb);
		made_ip4(&m, 47, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
		m = inner4();
		made_erspan3(&m, true, has_subhead);
		made_gre(&m, 0x1000, 0x22eb);
		made_ip4(&m, 47, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	}
}
END_TEST

START_TEST(erspan_that_is_not_followed)
{
	struct made m = inner4();
	uint8_t *erspan;

	made_ethernet(&m, 0x0800);
	erspan = made_erspan3(&m, false, false);
	made_gre(&m, 0x1000, 0x22eb);
	made_ip4(&m, 47, 9, 9, 0);
	erspan[10] = 3 << 2; /* no kind of frame */
	check_refused(&m, DECODE_TUNNEL);
	erspan[10] = 0;
	erspan[0] = 0x10; /* not its version */
	check_refused(&m, DECODE_TUNNEL);
}
END_TEST

START_TEST(frame_that_the_switch_has_cut)
{
	struct made m = { 0 };
	uint8_t *erspan;

	made_bytes(&m, "\x45\0\x02\0", 4);
	made_ethernet(&m, 0x0800);
	erspan = made_erspan2(&m);
	made_gre(&m, 0x1000, 0x88be);
	made_ip4(&m, 47, 9, 9, 0);
	check_refused(&m, DECODE_MALFORMED_IP4);
	erspan[2] |= 4;
	check_refused(&m, DECODE_SHORT);
}
END_TEST

START_TEST(vxlan_on_both_its_ports)
{
	static const char *const heads[] = { "\x08\0\0\0\0\0\x64", "\x88\0\0\7\0\0\x64",
					     "\x88\x48\0\7\0\0\x64" };

	for (int i = 0; i < ROWS(heads); i++) {
		struct made m = inner6();

		made_ethernet(&m, 0x86dd);
		made_bytes(&m, heads[i], 8);
		made_udp(&m, 54321, i % 2 ? 4789 : 8472);
		made_ip4(&m, PROTO_UDP, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
	}
}
END_TEST

START_TEST(geneve_with_options)
{
	for (size_t options = 0; options <= 252; options += 84) {
		struct made m = inner4();

		made_ethernet(&m, 0x0800);
		made_geneve(&m, 0x6558, options);
		made_ip6(&m, PROTO_UDP, 9, 9);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
		m = inner6();
		made_geneve(&m, 0x86dd, options);
		made_ip4(&m, PROTO_UDP, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
	}
}
END_TEST

START_TEST(tzsp_with_tags)
{
	struct made m = inner4();

	made_ethernet(&m, 0x0800);
	made_tzsp(&m);
	made_ip4(&m, PROTO_UDP, 9, 9, 0);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV4, 1);
	m = inner6();
	made_ethernet(&m, 0x86dd);
	made_bytes(&m, "\1\1\0\1\1", 5);
	made_udp(&m, 37008, 37008);
	made_ip6(&m, PROTO_UDP, 9, 9);
	check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 1);
}
END_TEST

static const struct {
	uint16_t port;
	uint8_t len;
	const char *bytes;
} no_tunnels[] = {
	{ 4789, 0, "" },
	{ 4789, 7, "\x08\0\0\0\0\0\x64" },
	{ 4789, 16, "\x00\0\0\0\0\0\x64\0........" }, /* no network number */
	{ 4789, 16, "\x08\0\0\0\0\0\x64\1........" },
	{ 4789, 16, "\x08\0\1\0\0\0\x64\0........" },
	{ 4789, 16, "INVITE sip:a@b S" },
	{ 8472, 16, "\x80\0\x12\x34\0\0\0\0ssrcxxxx" }, /* RTP */
	{ 6081, 16, "OPTIONS sip:a@b " },
	{ 6081, 16, "\x80\0\x12\x34\0\0\0\0ssrcxxxx" },
	{ 6081, 4, "\r\n\r\n" },
	{ 6081, 16, "\x00\0\x65\x58\0\0\0\1........" },
	{ 6081, 16, "\x00\0\x08\x06\0\0\0\0........" },
	{ 6081, 11, "\x01\0\x65\x58\0\0\0\0..." }, /* shorter than its options */
	{ 37008, 16, "SIP/2.0 200 OK\r\n" },
	{ 37008, 4, "\1\0\0\1" }, /* no end of tags */
	{ 37008, 6, "\1\0\0\1\x0a\1" },
	{ 37008, 5, "\2\0\0\1\1" },
	{ 37008, 5, "\1\2\0\1\1" },
	{ 37008, 5, "\1\0\0\x12\1" }, /* 802.11 */
	{ 37008, 4, "\1\4\0\0" },     /* keep-alive */
};

START_TEST(port_of_a_tunnel_alone_makes_none)
{
	struct made m = { 0 };
	struct decoded d;

	made_bytes(&m, no_tunnels[_i].bytes, no_tunnels[_i].len);
	made_udp(&m, 5060, no_tunnels[_i].port);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	d = decode_made(&m, LINK_RAW);
	ck_assert_msg(d.kind == DECODED_UDP, "%s", decode_reason_name(d.reason));
	ck_assert_uint_eq(d.payload.len, no_tunnels[_i].len);
	ck_assert_uint_eq(d.depth, 0);
	ck_assert_uint_eq(d.dst.port, no_tunnels[_i].port);
}
END_TEST

START_TEST(what_is_in_a_tunnel_is_not_always_for_us)
{
	struct made m = { 0 };

	made_bytes(&m, "\0\1\x08\0\6\4\0\1", 8);
	made_ethernet(&m, 0x0806);
	made_vxlan(&m);
	made_ip4(&m, PROTO_UDP, 9, 9, 0);
	check_refused(&m, DECODE_NOT_IP);
}
END_TEST

START_TEST(mpls_over_ethernet_and_gre)
{
	for (size_t labels = 1; labels < 12; labels += 5) {
		struct made m = inner4();

		made_mpls(&m, labels);
		made_vlan(&m, 3, labels == 1 ? 0x8848 : 0x8847);
		made_ethernet(&m, 0x8100);
		check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV4, 1);
		m = inner6();
		made_mpls(&m, labels);
		made_gre(&m, 0x2000, 0x8847);
		made_ip4(&m, 47, 9, 9, 0);
		check_tunnel(&m, LINK_RAW, FAMILY_IPV6, 2);
	}
}
END_TEST

START_TEST(ethernet_over_mpls_with_a_control_word_and_without)
{
	struct made m = inner6();
	uint8_t *ethernet;

	ethernet = made_ethernet(&m, 0x86dd);
	made_mpls(&m, 2);
	made_ethernet(&m, 0x8847);
	check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV6, 1);
	ethernet[0] = 0x72; /* no such version of IP */
	check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV6, 1);
	m = inner4();
	made_ethernet(&m, 0x0800);
	made_head(&m, 4);
	made_mpls(&m, 1);
	made_ethernet(&m, 0x8847);
	check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV4, 1);
	for (int has_control = 0; has_control < 2;
	     has_control++) { /* an ethertype at both places */
		m = inner4();
		made_vlan(&m, 5, 0x0800);
		made_ethernet(&m, 0x8100);
		made_head(&m, has_control ? 4 : 0);
		made_mpls(&m, 1);
		made_ethernet(&m, 0x8847);
		check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV4, 1);
	}
}
END_TEST

START_TEST(control_word_begins_with_four_bits_of_0)
{
	struct made m = inner4();

	made_ethernet(&m, 0x0800);
	made_bytes(&m, "\x70\0\0\0", 4);
	made_mpls(&m, 1);
	made_ethernet(&m, 0x8847);
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_NOT_IP);
}
END_TEST

START_TEST(labels_without_end)
{
	struct made m = { 0 };

	made_head(&m, 400);
	made_ethernet(&m, 0x8847);
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_MALFORMED_TUNNEL);
}
END_TEST

START_TEST(pppoe_sessions)
{
	for (int is_short = 0; is_short < 2; is_short++) {
		struct made m = inner4();

		made_pppoe(&m, 0x21, is_short);
		made_padding(&m, 3);
		made_ethernet(&m, 0x8864);
		check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV4, 1);
		m = inner6();
		made_pppoe(&m, 0x57, is_short);
		made_vlan(&m, 7, 0x8864);
		made_ethernet(&m, 0x8100);
		check_tunnel(&m, LINK_ETHERNET, FAMILY_IPV6, 1);
	}
}
END_TEST

START_TEST(pppoe_of_other_kinds)
{
	struct made m = inner4();
	uint8_t *pppoe = made_pppoe(&m, 0xc021, false); /* link control */

	made_ethernet(&m, 0x8864);
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_NOT_IP);
	pppoe[1] = 9; /* discovery */
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_TUNNEL);
	pppoe[1] = 0;
	made_u16(pppoe + 4, 1);
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_MALFORMED_TUNNEL);
	made_u16(pppoe + 4, 2);
	made_u16(pppoe + 6, 0x21);
	ck_assert_int_eq(decode_made(&m, LINK_ETHERNET).reason, DECODE_MALFORMED_IP4);
}
END_TEST

/* SCTP. */

START_TEST(sctp_data_chunks_between_others)
{
	struct made m = { 0 };
	struct sctp_data data;
	struct decoded d;
	struct cursor c;

	made_bytes(&m, "abcde", 5); /* the last one, without its padding */
	made_sctp_chunk(&m, 0, 1, 5);
	made_bytes(&m, "01234567", 8);
	made_sctp_chunk(&m, 3, 0, 8); /* SACK */
	made_bytes(&m, "ABC\0", 4);
	made_sctp_chunk(&m, 0, 4 | 2, 3);
	made_sctp_chunk(&m, 11, 0, 0); /* COOKIE ACK */
	made_sctp(&m, 5070, 5060);
	made_ip6(&m, PROTO_SCTP, 1, 2);
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_SCTP);
	ck_assert_uint_eq(d.src.port, 5070);
	ck_assert_uint_eq(d.dst.port, 5060);
	c = cursor_over(made_at(&m) + 40 + 12, d.payload.len); /* decode() has freed its copy */
	ck_assert(decode_sctp_data(&c, &data));
	ck_assert(view_is(data.payload, "ABC"));
	ck_assert_uint_eq(data.tsn, 0x01020304);
	ck_assert_uint_eq(data.stream, 5);
	ck_assert_uint_eq(data.seq, 6);
	ck_assert_uint_eq(data.ppid, 0);
	ck_assert(data.is_first && !data.is_last && data.is_unordered);
	ck_assert(decode_sctp_data(&c, &data));
	ck_assert(view_is(data.payload, "abcde"));
	ck_assert(!data.is_first && data.is_last && !data.is_unordered);
	ck_assert(!decode_sctp_data(&c, &data));
	ck_assert(!c.failed);
}
END_TEST

START_TEST(sctp_without_data)
{
	struct made m = { 0 };
	struct sctp_data data;
	struct decoded d;
	struct cursor c;

	made_bytes(&m, "0123456789abcdef", 16);
	made_sctp_chunk(&m, 1, 0, 16); /* INIT */
	made_sctp(&m, 5070, 5060);
	made_ip4(&m, PROTO_SCTP, 1, 2, 0);
	d = decode_made(&m, LINK_RAW);
	ck_assert_int_eq(d.kind, DECODED_SCTP);
	c = cursor_over(made_at(&m) + 20 + 12, d.payload.len);
	ck_assert(!decode_sctp_data(&c, &data));
	ck_assert(!c.failed);
}
END_TEST

static const struct {
	uint8_t len;
	const char *chunks;
} sctp_broken[] = {
	{ 0, "" },
	{ 3, "\3\0\0" },
	{ 4, "\3\0\0\3" },		  /* shorter than its head */
	{ 4, "\3\0\0\5" },		  /* longer than the packet */
	{ 4, "\0\3\0\4" },		  /* DATA without its fields */
	{ 16, "\0\3\0\x10tsn.si.q.ppi" }, /* DATA of nothing */
	{ 17, "\0\3\0\x12tsn.si.q.ppi.x" },
	{ 9, "\3\0\0\4\0\0\0\0x" },
};

START_TEST(sctp_chunks_that_cannot_be)
{
	struct made m = { 0 };

	made_bytes(&m, sctp_broken[_i].chunks, sctp_broken[_i].len);
	made_sctp(&m, 5070, 5060);
	made_ip4(&m, PROTO_SCTP, 1, 2, 0);
	check_refused(&m, DECODE_MALFORMED_SCTP);
}
END_TEST

/* Going on behind reassembly. */

START_TEST(reassembled_datagram_keeps_what_its_fragments_said)
{
	struct made m = { 0 }, whole = inner_udp();
	struct decoded d;

	made_bytes(&m, "01234567", 8);
	made_u16(made_ip4(&m, PROTO_UDP, 1, 2, 0) + 6, 0x2000);
	made_vlan(&m, 100, 0x0800);
	made_ethernet(&m, 0x8100);
	d = decode_made(&m, LINK_ETHERNET);
	ck_assert_int_eq(d.kind, DECODED_FRAGMENT);
	decode_ip_payload(&d, d.protocol, (struct view){ made_at(&whole), (uint32_t)whole.len });
	check_inner(&d, FAMILY_IPV4);
	ck_assert_uint_eq(d.depth, 1);
	ck_assert_uint_eq(d.vlan[0], 100);
}
END_TEST

START_TEST(fragments_within_fragments_come_to_an_end)
{
	struct made m = { 0 };
	struct decoded d;
	int rounds = 0;

	made_bytes(&m, "01234567", 8);
	made_ip6_fragment(&m, 44, 1, 7);
	made_ip6(&m, 44, 1, 2);
	d = decode_made(&m, LINK_RAW);
	while (d.kind == DECODED_FRAGMENT) {
		decode_ip_payload(&d, 44, (struct view){ made_at(&m) + 40, 16 });
		rounds++;
	}
	ck_assert_int_eq(rounds, DECODE_DEPTH_MOST + 1);
	ck_assert_int_eq(d.reason, DECODE_DEPTH);
}
END_TEST

static void add_link_tests(Suite *s)
{
	TCase *t = tcase_create("link");

	tcase_add_loop_test(t, link_layers_lead_to_ip, 0, ROWS(links));
	tcase_add_loop_test(t, tags_of_all_kinds_are_stepped_over_and_remembered, 0, 3);
	tcase_add_test(t, tag_that_the_kernel_took_out_is_the_outermost);
	tcase_add_test(t, more_tags_than_are_remembered);
	tcase_add_test(t, linux_cooked_frames_may_be_tagged);
	suite_add_tcase(s, t);
}

static void add_ip_tests(Suite *s)
{
	TCase *t = tcase_create("ip");

	tcase_add_test(t, ip4_options_and_padding);
	tcase_add_loop_test(t, ip4_header_with_one_octet_changed, 0, ROWS(ip4_odd));
	tcase_add_test(t, ip4_length_0_is_all_there_is);
	tcase_add_test(t, ip4_fragments_say_where_they_belong);
	tcase_add_test(t, ip4_fragments_that_cannot_be);
	tcase_add_test(t, authentication_header_is_stepped_over);
	tcase_add_test(t, ip6_extension_headers_in_any_number);
	tcase_add_test(t, ip6_fragments_say_where_they_belong);
	tcase_add_loop_test(t, ip6_ends_with_a_header_that_is_not_there, 0, ROWS(ip6_ends));
	tcase_add_test(t, jumbograms_are_refused);
	tcase_add_test(t, reassembled_datagram_keeps_what_its_fragments_said);
	tcase_add_test(t, fragments_within_fragments_come_to_an_end);
	suite_add_tcase(s, t);
}

static void add_transport_tests(Suite *s)
{
	TCase *t = tcase_create("transport");

	tcase_add_test(t, glance_agrees_with_the_layers);
	tcase_add_loop_test(t, udp_length_against_what_is_there, 0, ROWS(udp_lengths));
	tcase_add_test(t, tcp_segments_with_options);
	tcase_add_test(t, tcp_segment_of_nothing_but_flags);
	tcase_add_test(t, tcp_header_lengths_that_cannot_be);
	tcase_add_test(t, sctp_data_chunks_between_others);
	tcase_add_test(t, sctp_without_data);
	tcase_add_loop_test(t, sctp_chunks_that_cannot_be, 0, ROWS(sctp_broken));
	suite_add_tcase(s, t);
}

static void add_tunnel_tests(Suite *s)
{
	TCase *t = tcase_create("tunnel");

	tcase_add_test(t, ip_within_ip);
	tcase_add_test(t, tunnels_are_followed_only_so_deep);
	tcase_add_test(t, length_of_an_outer_packet_bounds_the_inner_one);
	tcase_add_loop_test(t, gre_with_any_of_its_fields, 0, 8);
	tcase_add_test(t, gre_that_is_not_followed);
	tcase_add_test(t, erspan_of_all_types);
	tcase_add_test(t, erspan_that_is_not_followed);
	tcase_add_test(t, frame_that_the_switch_has_cut);
	tcase_add_test(t, vxlan_on_both_its_ports);
	tcase_add_test(t, geneve_with_options);
	tcase_add_test(t, tzsp_with_tags);
	tcase_add_loop_test(t, port_of_a_tunnel_alone_makes_none, 0, ROWS(no_tunnels));
	tcase_add_test(t, what_is_in_a_tunnel_is_not_always_for_us);
	tcase_add_test(t, mpls_over_ethernet_and_gre);
	tcase_add_test(t, ethernet_over_mpls_with_a_control_word_and_without);
	tcase_add_test(t, control_word_begins_with_four_bits_of_0);
	tcase_add_test(t, labels_without_end);
	tcase_add_test(t, pppoe_sessions);
	tcase_add_test(t, pppoe_of_other_kinds);
	suite_add_tcase(s, t);
}

int main(void)
{
	Suite *s = suite_create("decode");
	SRunner *runner;
	int failed;

	add_link_tests(s);
	add_ip_tests(s);
	add_transport_tests(s);
	add_tunnel_tests(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
