/* IPv4 (RFC 791) and IPv6 (RFC 8200): addresses, lengths, extension headers, fragments. */
#include "capture/layers.h"

#define IP4_HEAD_BYTES	20
#define IP4_MORE	0x2000
#define IP4_OFFSET	0x1fff /* in units of 8 octets */
#define IP_PAYLOAD_MOST 65535

#define IP6_MORE	 1
#define IP6_OFFSET	 0xfff8
#define IP6_OPTION_PAD1	 0
#define IP6_OPTION_JUMBO 0xc2

/* Protocol numbers of no interest outside of the decoder. */
enum {
	IP6_HOP_BY_HOP = 0,
	IP_IP4 = 4,
	IP_IP6 = 41,
	IP6_ROUTING = 43,
	IP6_FRAGMENT = 44,
	IP_GRE = 47,
	IP_ESP = 50,
	IP_AUTHENTICATION = 51,
	IP6_DESTINATION = 60,
	IP6_MOBILITY = 135,
};

static void take_address(struct cursor *c, struct addr *addr, uint8_t family)
{
	size_t len = family == FAMILY_IPV4 ? 4 : 16;
	const uint8_t *at = cursor_take(c, len);

	*addr = (struct addr){ .family = family };
	if (at)
		memcpy(addr->ip, at, len);
}

static enum decode_reason fragment(struct layers *l, uint32_t id, uint16_t offset, bool more,
				   enum decode_reason malformed)
{
	size_t len = cursor_left(&l->c);

	l->out->fragment = (struct decoded_fragment){ .id = id, .offset = offset, .more = more };
	if (l->cut != CUT_NONE)
		return layer_ended(l, malformed);
	if (len == 0 || (more && len % 8) || offset + len > IP_PAYLOAD_MOST)
		return malformed;
	return layer_found(l, DECODED_FRAGMENT);
}

/* Why what has this protocol is not read; DECODE_FOUND: it is. */
static enum decode_reason refusal(uint8_t protocol)
{
	switch (protocol) {
	case IP_IP4:
	case PROTO_TCP:
	case PROTO_UDP:
	case IP_IP6:
	case IP_GRE:
	case IP_AUTHENTICATION:
	case PROTO_SCTP:
		return DECODE_FOUND;
	case IP_ESP:
		return DECODE_ENCRYPTED;
	default:
		return DECODE_PROTOCOL;
	}
}

/* What the innermost IP header says is in it. */
static enum decode_reason payload(struct layers *l, uint8_t protocol)
{
	l->out->protocol = protocol;
	switch (protocol) {
	case PROTO_UDP:
		return layer_udp(l);
	case PROTO_TCP:
		return layer_tcp(l);
	case PROTO_SCTP:
		return layer_sctp(l);
	case IP_IP4:
		return layer_inside(l, ETHER_IP4);
	case IP_IP6:
		return layer_inside(l, ETHER_IP6);
	case IP_GRE:
		return layer_gre(l);
	default:
		return refusal(protocol);
	}
}

static bool is_extension(uint8_t protocol, bool is_ip6)
{
	switch (protocol) {
	case IP_AUTHENTICATION:
		return true;
	case IP6_HOP_BY_HOP:
	case IP6_ROUTING:
	case IP6_FRAGMENT:
	case IP6_DESTINATION:
	case IP6_MOBILITY:
		return is_ip6;
	default:
		return false;
	}
}

/* Step over an extension header, whose length is in units of 4 octets less 2 or of 8 less 1.
 * @return the protocol behind it. */
static uint8_t skip_extension(struct cursor *c, uint8_t protocol)
{
	uint8_t next = cursor_u8(c);
	size_t len = cursor_u8(c);

	cursor_take(c, protocol == IP_AUTHENTICATION ? len * 4 + 6 : len * 8 + 6);
	return next;
}

/* @return place in the datagram; 0: what follows is whole. */
static uint16_t ip6_fragment(struct layers *l, uint8_t *protocol)
{
	uint16_t place;

	*protocol = cursor_u8(&l->c);
	cursor_take(&l->c, 1);
	place = cursor_u16_be(&l->c) & (IP6_OFFSET | IP6_MORE);
	l->out->ip_id = cursor_u32_be(&l->c);
	l->out->has_ip_id = true;
	return place;
}

enum decode_reason layer_ip_payload(struct layers *l, uint8_t protocol)
{
	bool is_ip6 = l->out->src.family == FAMILY_IPV6;
	enum decode_reason malformed = is_ip6 ? DECODE_MALFORMED_IP6 : DECODE_MALFORMED_IP4;

	while (is_extension(protocol, is_ip6)) {
		uint16_t place = 0;

		if (protocol == IP6_FRAGMENT)
			place = ip6_fragment(l, &protocol);
		else
			protocol = skip_extension(&l->c, protocol);
		if (l->c.failed)
			return layer_ended(l, malformed);
		l->out->protocol = protocol;
		if (place)
			return fragment(l, l->out->ip_id, place & IP6_OFFSET, place & IP6_MORE,
					malformed);
	}
	return payload(l, protocol);
}

static enum decode_reason ip4(struct layers *l)
{
	size_t head = (cursor_u8(&l->c) & 15) * 4, total;
	uint16_t id, place;
	uint8_t protocol;

	cursor_take(&l->c, 1); /* type of service */
	total = cursor_u16_be(&l->c);
	id = cursor_u16_be(&l->c);
	place = cursor_u16_be(&l->c);
	cursor_take(&l->c, 1); /* time to live */
	protocol = cursor_u8(&l->c);
	cursor_take(&l->c, 2); /* checksum */
	take_address(&l->c, &l->out->src, FAMILY_IPV4);
	take_address(&l->c, &l->out->dst, FAMILY_IPV4);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_IP4);
	if (head < IP4_HEAD_BYTES || (total && total < head))
		return DECODE_MALFORMED_IP4;
	/* Of a packet that its sender's network card still has to split, the length may be 0. */
	if (total)
		layer_limit(l, total - IP4_HEAD_BYTES);
	cursor_take(&l->c, head - IP4_HEAD_BYTES); /* options */
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_IP4);
	l->out->ip_id = id;
	l->out->has_ip_id = true;
	if (place & (IP4_MORE | IP4_OFFSET)) {
		l->out->protocol = protocol;
		if (refusal(protocol)) /* spares the reassembly of what is not read then */
			return refusal(protocol);
		return fragment(l, id, (uint16_t)((place & IP4_OFFSET) * 8), place & IP4_MORE,
				DECODE_MALFORMED_IP4);
	}
	return layer_ip_payload(l, protocol);
}

/* Does a hop-by-hop header begin here that has the option of jumbograms? */
static bool is_jumbo(struct cursor c)
{
	size_t len;
	int type;

	cursor_take(&c, 1);
	len = cursor_u8(&c);
	c = cursor_over_view(cursor_view(&c, len * 8 + 6));
	while ((type = cursor_peek(&c)) >= 0) {
		cursor_take(&c, 1);
		if (type == IP6_OPTION_JUMBO)
			return true;
		if (type != IP6_OPTION_PAD1)
			cursor_take(&c, cursor_u8(&c));
	}
	return false;
}

static enum decode_reason ip6(struct layers *l)
{
	uint8_t protocol;
	uint16_t len;

	cursor_take(&l->c, 4); /* version, class, flow label */
	len = cursor_u16_be(&l->c);
	protocol = cursor_u8(&l->c);
	cursor_take(&l->c, 1); /* hop limit */
	take_address(&l->c, &l->out->src, FAMILY_IPV6);
	take_address(&l->c, &l->out->dst, FAMILY_IPV6);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_IP6);
	l->out->has_ip_id = false;
	if (len == 0 && protocol == IP6_HOP_BY_HOP)
		return is_jumbo(l->c) ? DECODE_JUMBO : layer_ended(l, DECODE_MALFORMED_IP6);
	layer_limit(l, len);
	return layer_ip_payload(l, protocol);
}

/* The packet itself says its version: Linux sends IPv6 through an IPv4 tunnel under the type of
 * IPv4. */
enum decode_reason layer_ip(struct layers *l, enum decode_reason malformed)
{
	int first = cursor_peek(&l->c);

	if (first < 0)
		return layer_ended(l, malformed);
	switch (first >> 4) {
	case 4:
		return ip4(l);
	case 6:
		return ip6(l);
	default:
		return malformed;
	}
}
