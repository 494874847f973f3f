/* Packets within packets: GRE and ERSPAN, VXLAN, GENEVE and TZSP, MPLS and PPPoE. */
#include "capture/layers.h"

/* RFC 2784, 2890. */
#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING  0x4000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION  0x0007

#define ERSPAN_2	  0x88be /* as a type of GRE; type I has the same and no sequence number */
#define ERSPAN_3	  0x22eb
#define ERSPAN_CUT	  0x0400 /* the switch has cut the frame */
#define ERSPAN_3_SUBHEAD  1
#define ERSPAN_3_ETHERNET 0
#define ERSPAN_3_IP	  2

/* draft-foschiano-erspan-03. */
static enum decode_reason erspan(struct layers *l, uint16_t type)
{
	uint32_t first = cursor_u32_be(&l->c), last, kind = ERSPAN_3_ETHERNET;

	cursor_take(&l->c, 4); /* index, or time */
	if (type == ERSPAN_3) {
		last = cursor_u32_be(&l->c);
		kind = last >> 10 & 31;
		cursor_take(&l->c, last & ERSPAN_3_SUBHEAD ? 8 : 0);
	}
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	if (first >> 28 != (type == ERSPAN_3 ? 2 : 1))
		return DECODE_TUNNEL;
	if (first & ERSPAN_CUT && l->cut == CUT_NONE)
		l->cut = CUT_SHORT;
	if (kind == ERSPAN_3_IP)
		return layer_inside(l, ETHER_IP4);
	return kind == ERSPAN_3_ETHERNET ? layer_inside(l, ETHER_BRIDGED) : DECODE_TUNNEL;
}

enum decode_reason layer_gre(struct layers *l)
{
	uint16_t flags = cursor_u16_be(&l->c), type = cursor_u16_be(&l->c);

	if (!l->c.failed && flags & (GRE_ROUTING | GRE_VERSION))
		return DECODE_TUNNEL; /* routes are no more sent; version 1 is PPTP */
	cursor_take(&l->c, flags & GRE_CHECKSUM ? 4 : 0);
	cursor_take(&l->c, flags & GRE_KEY ? 4 : 0);
	cursor_take(&l->c, flags & GRE_SEQUENCE ? 4 : 0);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	if (type == ERSPAN_3 || (type == ERSPAN_2 && flags & GRE_SEQUENCE))
		return erspan(l, type);
	return layer_inside(l, type == ERSPAN_2 ? ETHER_BRIDGED : type);
}

/*
 * Tunnels over UDP are guessed by their port. A reader returns the type of what is inside, or 0 if
 * this is none of its kind: then it is a datagram like any other.
 */

/* RFC 7348, and draft-smith-vxlan-group-policy, which uses reserved bits. */
static uint16_t vxlan(struct cursor *c)
{
	uint32_t flags = cursor_u32_be(c), network = cursor_u32_be(c);
	bool is_one = flags == 0x08000000 || (flags & 0xffb70000) == 0x88000000;

	return is_one && !(network & 0xff) ? ETHER_BRIDGED : 0;
}

/* RFC 8926. */
static uint16_t geneve(struct cursor *c)
{
	uint16_t flags = cursor_u16_be(c), type = cursor_u16_be(c);
	uint32_t network = cursor_u32_be(c);

	if (flags & 0xc03f || network & 0xff)
		return 0;
	cursor_take(c, (flags >> 8) * 4); /* options */
	return type == ETHER_BRIDGED || type == ETHER_IP4 || type == ETHER_IP6 ? type : 0;
}

/* TaZmen sniffer protocol, as RouterOS sends it: a packet that was received (0) or sent (1),
 * Ethernet (1); then tags up to the one that ends them. */
static uint16_t tzsp(struct cursor *c)
{
	uint32_t head = cursor_u32_be(c);

	while (!c->failed && (head & 0xfffeffff) == 0x01000001) {
		uint8_t tag = cursor_u8(c);

		if (tag == 1 && !c->failed)
			return ETHER_BRIDGED;
		if (tag != 0) /* padding, which has no length */
			cursor_take(c, cursor_u8(c));
	}
	return 0;
}

enum { PORT_VXLAN = 4789, PORT_VXLAN_OLD = 8472, PORT_GENEVE = 6081, PORT_TZSP = 37008 };

bool is_tunnel_port(uint16_t port)
{
	return port == PORT_VXLAN || port == PORT_VXLAN_OLD || port == PORT_GENEVE ||
	       port == PORT_TZSP;
}

static uint16_t tunnel_type(struct cursor *c, uint16_t port)
{
	switch (port) {
	case PORT_VXLAN:
	case PORT_VXLAN_OLD: /* of early Linux */
		return vxlan(c);
	case PORT_GENEVE:
		return geneve(c);
	case PORT_TZSP:
		return tzsp(c);
	default:
		return 0;
	}
}

uint16_t layer_udp_tunnel(struct layers *l)
{
	struct cursor c = l->c;
	uint16_t type = tunnel_type(&c, l->out->dst.port);

	if (!type || c.failed)
		return 0;
	l->c = c;
	return type;
}

#define MPLS_LAST     0x100  /* of the stack of labels */
#define PPPOE_SESSION 0x1100 /* version 1, type 1, no code */
#define PPP_IP4	      0x0021
#define PPP_IP6	      0x0057

static bool is_read(uint16_t type)
{
	switch (type) {
	case ETHER_IP4:
	case ETHER_IP6:
	case ETHER_VLAN:
	case ETHER_QINQ:
	case ETHER_QINQ_OLD:
	case ETHER_MPLS:
	case ETHER_MPLS_UPSTREAM:
	case ETHER_PPPOE:
		return true;
	default:
		return false;
	}
}

/* Does an Ethernet frame of interest begin here? */
static bool is_ethernet(struct cursor c)
{
	cursor_take(&c, 12);
	return is_read(cursor_u16_be(&c));
}

/* RFC 3032. No label says what is inside, only its two ends know: IP by its version, else Ethernet
 * (RFC 4448); if that makes no sense, behind a control word, which begins with four bits of 0. */
enum decode_reason layer_mpls(struct layers *l)
{
	int version;

	while (!(cursor_u32_be(&l->c) & MPLS_LAST) && !l->c.failed)
		;
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	version = cursor_peek(&l->c) >> 4;
	if (version == 4 || version == 6)
		return layer_inside(l, ETHER_IP4);
	if (version == 0 && !is_ethernet(l->c))
		cursor_take(&l->c, 4);
	return layer_inside(l, ETHER_BRIDGED);
}

/* RFC 2516, session stage; the protocol of PPP may be cut to one octet (RFC 1661). */
enum decode_reason layer_pppoe(struct layers *l)
{
	uint16_t head = cursor_u16_be(&l->c), len, protocol;

	cursor_take(&l->c, 2); /* session */
	len = cursor_u16_be(&l->c);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	if (head != PPPOE_SESSION)
		return DECODE_TUNNEL;
	layer_limit(l, len);
	protocol = cursor_u8(&l->c);
	if (!(protocol & 1))
		protocol = (uint16_t)(protocol << 8 | cursor_u8(&l->c));
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	if (protocol != PPP_IP4 && protocol != PPP_IP6)
		return DECODE_NOT_IP;
	return layer_inside(l, protocol == PPP_IP4 ? ETHER_IP4 : ETHER_IP6);
}
