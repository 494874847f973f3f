/**
 * @file
 * RTCP made front to back: what is put goes into the packet that was begun last, whose length
 * follows.
 */
#pragma once
#include <assert.h>
#include <stdint.h>
#include <string.h>

struct rtcp_made {
	uint8_t at[8192];
	uint32_t len, packet; /* where the last packet begins */
	uint32_t is_begun;
};

/* Octets behind the packets: encrypted ones, and others that are no RTCP. */
static inline void rtcp_bytes(struct rtcp_made *m, const void *bytes, size_t n)
{
	uint32_t words;

	assert(m->len + n <= sizeof(m->at));
	if (n)
		memcpy(m->at + m->len, bytes, n);
	m->len += (uint32_t)n;
	if (!m->is_begun)
		return;
	words = (m->len - m->packet) / 4 - 1;
	m->at[m->packet + 2] = (uint8_t)(words >> 8);
	m->at[m->packet + 3] = (uint8_t)words;
}

static inline void rtcp_u8(struct rtcp_made *m, unsigned value)
{
	rtcp_bytes(m, &(uint8_t){ (uint8_t)value }, 1);
}

static inline void rtcp_u16(struct rtcp_made *m, unsigned value)
{
	rtcp_bytes(m, (const uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static inline void rtcp_u32(struct rtcp_made *m, uint32_t value)
{
	rtcp_u16(m, value >> 16);
	rtcp_u16(m, value & 0xffff);
}

static inline void rtcp_zeros(struct rtcp_made *m, size_t n)
{
	while (n--)
		rtcp_u8(m, 0);
}

static inline void rtcp_begin(struct rtcp_made *m, uint8_t type, uint8_t count)
{
	m->packet = m->len;
	m->is_begun = 0;
	rtcp_bytes(m, (const uint8_t[]){ 0x80 | count, type, 0, 0 }, 4);
	m->is_begun = 1;
}

/* What follows is no packet, or none that can be read. */
static inline void rtcp_end(struct rtcp_made *m)
{
	m->is_begun = 0;
}

static inline void rtcp_sr(struct rtcp_made *m, uint32_t ssrc, uint8_t blocks)
{
	rtcp_begin(m, 200, blocks);
	rtcp_u32(m, ssrc);
	rtcp_u32(m, 4004199885); /* NTP */
	rtcp_u32(m, 747958272);
	rtcp_u32(m, 6400); /* RTP */
	rtcp_u32(m, 41);   /* packets */
	rtcp_u32(m, 6560); /* octets */
}

static inline void rtcp_rr(struct rtcp_made *m, uint32_t ssrc, uint8_t blocks)
{
	rtcp_begin(m, 201, blocks);
	rtcp_u32(m, ssrc);
}

static inline void rtcp_block(struct rtcp_made *m, uint32_t ssrc, uint8_t fraction, int32_t lost)
{
	rtcp_u32(m, ssrc);
	rtcp_u32(m, (uint32_t)fraction << 24 | ((uint32_t)lost & 0xffffff));
	rtcp_u32(m, 0x10000 + 40); /* highest sequence number */
	rtcp_u32(m, 52);	   /* jitter */
	rtcp_u32(m, 1036856468);   /* last SR */
	rtcp_u32(m, 6000);	   /* delay since then */
}

static inline void rtcp_xr(struct rtcp_made *m, uint32_t ssrc)
{
	rtcp_begin(m, 207, 0);
	rtcp_u32(m, ssrc);
}

static inline void rtcp_xr_block(struct rtcp_made *m, uint8_t type, uint8_t flags, unsigned octets)
{
	rtcp_u8(m, type);
	rtcp_u8(m, flags);
	rtcp_u16(m, octets / 4);
}

static inline void rtcp_sdes(struct rtcp_made *m, uint32_t ssrc, uint8_t type, const char *text)
{
	size_t len = strlen(text);

	rtcp_begin(m, 202, 1);
	rtcp_u32(m, ssrc);
	rtcp_u8(m, type);
	rtcp_u8(m, (unsigned)len);
	rtcp_bytes(m, text, len);
	rtcp_zeros(m, 4 - (2 + len) % 4);
}
