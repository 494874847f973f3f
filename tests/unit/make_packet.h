/**
 * @file
 * Packets made from the inside out: each call puts one header before what is there and fills in its
 * length. What a test wants to be wrong it changes afterwards, in the octets returned.
 */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MADE_ROOM 8192

struct made {
	uint8_t room[MADE_ROOM];
	size_t len; /* used, at the end of room */
};

static inline uint8_t *made_at(struct made *m)
{
	return m->room + MADE_ROOM - m->len;
}

/* @return @p n octets of 0 before what is there. */
static inline uint8_t *made_head(struct made *m, size_t n)
{
	assert(m->len + n <= MADE_ROOM);
	m->len += n;
	return memset(made_at(m), 0, n);
}

static inline uint8_t *made_bytes(struct made *m, const void *bytes, size_t n)
{
	return memcpy(made_head(m, n), bytes, n);
}

static inline void made_u16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void made_u32(uint8_t *at, uint32_t value)
{
	made_u16(at, value >> 16);
	made_u16(at + 2, value & 0xffff);
}

/* Octets behind what is there, which belong to no packet. */
static inline void made_padding(struct made *m, size_t n)
{
	memmove(made_at(m) - n, made_at(m), m->len);
	m->len += n;
	memset(m->room + MADE_ROOM - n, 0, n);
}

static inline uint8_t *made_udp(struct made *m, unsigned src_port, unsigned dst_port)
{
	size_t inside = m->len;
	uint8_t *at = made_head(m, 8);

	made_u16(at, src_port);
	made_u16(at + 2, dst_port);
	made_u16(at + 4, (unsigned)inside + 8);
	return at;
}

/* @p options octets of options, a multiple of 4. */
static inline uint8_t *made_tcp(struct made *m, unsigned src_port, unsigned dst_port, uint32_t seq,
				uint8_t flags, size_t options)
{
	uint8_t *at = made_head(m, 20 + options);

	made_u16(at, src_port);
	made_u16(at + 2, dst_port);
	made_u32(at + 4, seq);
	made_u32(at + 8, ~seq);
	at[12] = (uint8_t)((5 + options / 4) << 4);
	at[13] = flags;
	memset(at + 20, 1, options); /* no operation */
	return at;
}

/* A chunk with what is there: @p type, 0 is DATA, whose fields are then put before it. Only one
 * that is the last of its packet may have a length that is no multiple of 4. */
static inline uint8_t *made_sctp_chunk(struct made *m, uint8_t type, uint8_t flags, size_t len)
{
	uint8_t *at = made_head(m, type ? 4 : 16);

	at[0] = type;
	at[1] = flags;
	made_u16(at + 2, (unsigned)(len + (type ? 4 : 16)));
	if (type == 0)
		memcpy(at + 4, "\1\2\3\4\0\5\0\6\0\0\0\0", 12);
	return at;
}

static inline uint8_t *made_sctp(struct made *m, unsigned src_port, unsigned dst_port)
{
	uint8_t *at = made_head(m, 12);

	made_u16(at, src_port);
	made_u16(at + 2, dst_port);
	made_u32(at + 4, 0x77777777);
	return at;
}

/* From 192.0.2.@p src to 198.51.100.@p dst; @p options octets of options, a multiple of 4. */
static inline uint8_t *made_ip4(struct made *m, uint8_t protocol, uint8_t src, uint8_t dst,
				size_t options)
{
	size_t inside = m->len;
	uint8_t *at = made_head(m, 20 + options);

	at[0] = (uint8_t)(0x45 + options / 4);
	made_u16(at + 2, (unsigned)(20 + options + inside));
	made_u16(at + 4, 0x1234);
	at[8] = 64;
	at[9] = protocol;
	memcpy(at + 12, (const uint8_t[]){ 192, 0, 2, src }, 4);
	memcpy(at + 16, (const uint8_t[]){ 198, 51, 100, dst }, 4);
	memset(at + 20, 1, options); /* no operation */
	return at;
}

/* From 2001:db8::@p src to 2001:db8::@p dst. */
static inline uint8_t *made_ip6(struct made *m, uint8_t protocol, uint8_t src, uint8_t dst)
{
	size_t inside = m->len;
	uint8_t *at = made_head(m, 40);

	at[0] = 0x60;
	made_u16(at + 4, (unsigned)inside);
	at[6] = protocol;
	at[7] = 64;
	memcpy(at + 8, "\x20\x01\x0d\xb8", 4);
	at[23] = src;
	memcpy(at + 24, "\x20\x01\x0d\xb8", 4);
	at[39] = dst;
	return at;
}

/* Hop-by-hop, routing, destination: @p octets is a multiple of 8, filled with PadN of no octets. */
static inline uint8_t *made_ip6_extension(struct made *m, uint8_t next, size_t octets)
{
	uint8_t *at = made_head(m, octets);

	for (size_t i = 2; i < octets; i += 2)
		at[i] = 1;
	at[0] = next;
	at[1] = (uint8_t)(octets / 8 - 1);
	return at;
}

static inline uint8_t *made_ip6_fragment(struct made *m, uint8_t next, unsigned place, uint32_t id)
{
	uint8_t *at = made_head(m, 8);

	at[0] = next;
	made_u16(at + 2, place);
	made_u32(at + 4, id);
	return at;
}

/* RFC 4302, @p octets is a multiple of 4. */
static inline uint8_t *made_authentication(struct made *m, uint8_t next, size_t octets)
{
	uint8_t *at = made_head(m, octets);

	at[0] = next;
	at[1] = (uint8_t)(octets / 4 - 2);
	return at;
}

static inline uint8_t *made_ethernet(struct made *m, unsigned type)
{
	uint8_t *at = made_head(m, 14);

	memcpy(at, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	made_u16(at + 12, type);
	return at;
}

/* @p flags: checksum 0x8000, routing 0x4000, key 0x2000, sequence 0x1000, version in the low bits;
 * the fields of the first four are there. */
static inline uint8_t *made_gre(struct made *m, unsigned flags, unsigned type)
{
	size_t fields = (flags >> 15 & 1) + (flags >> 13 & 1) + (flags >> 12 & 1);
	uint8_t *at = made_head(m, 4 + fields * 4);

	memset(at, 0x5a, 4 + fields * 4);
	made_u16(at, flags);
	made_u16(at + 2, type);
	return at;
}

/* Types II and III, within GRE. */
static inline uint8_t *made_erspan2(struct made *m)
{
	return made_bytes(m, "\x10\x64\x00\x07\x00\x00\x00\x2a", 8);
}

static inline uint8_t *made_erspan3(struct made *m, bool is_ip, bool has_subhead)
{
	uint8_t *at = made_head(m, has_subhead ? 20 : 12);

	memcpy(at, "\x20\x64\x00\x07\x11\x22\x33\x44", 8);
	made_u16(at + 10, (is_ip ? 2U << 10 : 0) | has_subhead);
	return at;
}

static inline uint8_t *made_vxlan(struct made *m)
{
	made_bytes(m, "\x08\0\0\0\0\0\x64\0", 8);
	return made_udp(m, 54321, 4789);
}

/* @p options octets, a multiple of 4. */
static inline uint8_t *made_geneve(struct made *m, unsigned type, size_t options)
{
	uint8_t *at = made_head(m, 8 + options);

	at[0] = (uint8_t)(options / 4);
	made_u16(at + 2, type);
	at[5] = 100;
	if (options)
		memcpy(at + 8, (const uint8_t[]){ 1, 2, 0x80, (uint8_t)(options / 4 - 1) }, 4);
	return made_udp(m, 54321, 6081);
}

/* With every kind of tag: sensor, padding, end. */
static inline uint8_t *made_tzsp(struct made *m)
{
	made_bytes(m, "\x01\0\0\x01\x3c\6sensor\0\0\x0a\1\x80\x01", 18);
	return made_udp(m, 40000, 37008);
}

/* @p labels: how many, at least one. */
static inline uint8_t *made_mpls(struct made *m, size_t labels)
{
	for (size_t i = 0; i < labels; i++)
		made_u32(made_head(m, 4), (uint32_t)(16 + i) << 12 | (i == 0) << 8 | 64);
	return made_at(m);
}

/* @p protocol of PPP; below 256 in one octet if it is odd and @p is_short. */
static inline uint8_t *made_pppoe(struct made *m, unsigned protocol, bool is_short)
{
	size_t inside;
	uint8_t *at;

	if (is_short)
		made_head(m, 1)[0] = (uint8_t)protocol;
	else
		made_u16(made_head(m, 2), protocol);
	inside = m->len;
	at = made_head(m, 6);
	at[0] = 0x11;
	made_u16(at + 2, 0x4242);
	made_u16(at + 4, (unsigned)inside);
	return at;
}

/* What follows the ethertype of a tag; @p type is that of what is there. */
static inline uint8_t *made_vlan(struct made *m, unsigned tci, unsigned type)
{
	uint8_t *at = made_head(m, 4);

	made_u16(at, tci);
	made_u16(at + 2, type);
	return at;
}
