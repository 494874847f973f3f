/*
 * Senders copy structures of their machine: ports and addresses are in network order, the time
 * block is in the sender's own, which is little-endian on nearly all; and it takes 12 octets, since
 * the structure ends in two of padding. The octet that is said to be the head's length is not
 * believed: some count the time block, some do not, and some put something else there.
 */
#include "hep/legacy.h"

#include "hep/msg.h"

#define SANE_FROM_S  978307200U /* 2001: older than the protocol */
#define SANE_AHEAD_S 86400U

struct stamp {
	uint32_t s, us;
	uint16_t capture_id;
};

/* Linux says 10 for IPv6, FreeBSD 28, macOS 30, Solaris 26. */
static uint8_t family_of(uint8_t said)
{
	switch (said) {
	case 2:
		return FAMILY_IPV4;
	case 10:
	case 26:
	case 28:
	case 30:
		return FAMILY_IPV6;
	default:
		return FAMILY_NONE;
	}
}

static void address_read(struct cursor *c, uint8_t family, struct addr *out)
{
	size_t bytes = family == FAMILY_IPV4 ? 4 : 16;
	const uint8_t *at = cursor_take(c, bytes);

	out->family = family;
	if (at)
		memcpy(out->ip, at, bytes);
}

static bool is_sane(const struct stamp *t, uint64_t arrival_us)
{
	return t->s >= SANE_FROM_S && t->us < 1000000 &&
	       (arrival_us == 0 || t->s <= arrival_us / 1000000 + SANE_AHEAD_S);
}

/* In little-endian order, unless that makes no sense and big-endian does. */
static struct stamp stamp_read(struct cursor *c, uint64_t arrival_us)
{
	struct cursor again = *c;
	struct stamp little = { 0 }, big = { 0 };

	little.s = cursor_u32_le(c);
	little.us = cursor_u32_le(c);
	little.capture_id = cursor_u16_le(c);
	(void)cursor_take(c, 2);
	big.s = cursor_u32_be(&again);
	big.us = cursor_u32_be(&again);
	big.capture_id = cursor_u16_be(&again);
	return !is_sane(&little, arrival_us) && is_sane(&big, arrival_us) ? big : little;
}

ssize_t hep_decode_legacy(const uint8_t *buf, size_t len, struct msg *out)
{
	uint64_t arrival_us = out->arrival_us;
	struct cursor c = cursor_over(buf, len);
	struct msg m = { .arrival_us = arrival_us, .type = HEP_TYPE_SIP };
	struct stamp t;
	uint8_t family;

	m.version = cursor_u8(&c);
	(void)cursor_u8(&c);
	family = family_of(cursor_u8(&c));
	m.ip_proto = cursor_u8(&c);
	m.src.port = cursor_u16_be(&c);
	m.dst.port = cursor_u16_be(&c);
	if (c.failed)
		return HT_ESHORT;
	if (family == FAMILY_NONE)
		return HT_EADDRESS;
	address_read(&c, family, &m.src);
	address_read(&c, family, &m.dst);
	if (m.version == 2) {
		t = stamp_read(&c, arrival_us);
		m.ts_us = t.s ? (uint64_t)t.s * 1000000 + t.us : 0;
		m.capture_id = t.capture_id;
		m.has_capture_id = true;
	}
	if (c.failed)
		return HT_ESHORT;
	m.payload = cursor_rest(&c);
	*out = m;
	return (ssize_t)len;
}
