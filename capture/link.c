/* Link layers, and what stands between them and IP. */
#include "capture/layers.h"

#define ARPHRD_NETLINK 824

void layer_vlan(struct decoded *out, uint16_t tci)
{
	uint16_t id = tci & 0xfff;

	if (id && out->vlans < DECODE_VLANS_MOST)
		out->vlan[out->vlans++] = id;
}

static bool is_vlan(uint16_t type)
{
	return type == ETHER_VLAN || type == ETHER_QINQ || type == ETHER_QINQ_OLD;
}

enum decode_reason layer_ethertype(struct layers *l, uint16_t type)
{
	while (is_vlan(type)) {
		uint16_t tci = cursor_u16_be(&l->c);

		type = cursor_u16_be(&l->c);
		if (l->c.failed)
			return layer_ended(l, DECODE_MALFORMED_LINK);
		layer_vlan(l->out, tci);
	}
	switch (type) {
	case ETHER_IP4:
		return layer_ip(l, DECODE_MALFORMED_IP4);
	case ETHER_IP6:
		return layer_ip(l, DECODE_MALFORMED_IP6);
	case ETHER_MPLS:
	case ETHER_MPLS_UPSTREAM:
		return layer_mpls(l);
	case ETHER_PPPOE:
		return layer_pppoe(l);
	default:
		return DECODE_NOT_IP;
	}
}

enum decode_reason layer_ethernet(struct layers *l)
{
	uint16_t type;

	cursor_take(&l->c, 12); /* both addresses */
	type = cursor_u16_be(&l->c);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_LINK);
	return layer_ethertype(l, type);
}

/* Linux "any" device: the ethertype is the last field, before it the kind of interface. */
static enum decode_reason linux_sll(struct layers *l)
{
	uint16_t interface, type;

	cursor_take(&l->c, 2);
	interface = cursor_u16_be(&l->c);
	cursor_take(&l->c, 10);
	type = cursor_u16_be(&l->c);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_LINK);
	return interface == ARPHRD_NETLINK ? DECODE_NOT_IP : layer_ethertype(l, type);
}

/* The same, version 2: the ethertype is the first field. */
static enum decode_reason linux_sll2(struct layers *l)
{
	uint16_t interface, type = cursor_u16_be(&l->c);

	cursor_take(&l->c, 6);
	interface = cursor_u16_be(&l->c);
	cursor_take(&l->c, 10);
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_LINK);
	return interface == ARPHRD_NETLINK ? DECODE_NOT_IP : layer_ethertype(l, type);
}

/* BSD loopback: an address family, in the byte order of whoever captured it (LINK_NULL) or of the
 * network (LINK_LOOP). Its high half is 0, which tells the order. IPv6 has another number on each
 * system. */
static enum decode_reason bsd_loopback(struct layers *l)
{
	uint32_t family = cursor_u32_be(&l->c);

	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_LINK);
	if (family >> 16)
		family = __builtin_bswap32(family);
	switch (family) {
	case 2:
		return layer_ip(l, DECODE_MALFORMED_IP4);
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* macOS */
		return layer_ip(l, DECODE_MALFORMED_IP6);
	default:
		return DECODE_NOT_IP;
	}
}

enum decode_reason layer_link(struct layers *l, uint16_t link)
{
	switch (link) {
	case LINK_ETHERNET:
		return layer_ethernet(l);
	case LINK_LINUX_SLL:
		return linux_sll(l);
	case LINK_LINUX_SLL2:
		return linux_sll2(l);
	case LINK_NULL:
	case LINK_LOOP:
		return bsd_loopback(l);
	case LINK_RAW:
	case LINK_RAW_OPENBSD:
	case LINK_RAW_FILE:
	case LINK_IPV4:
	case LINK_IPV6:
		return layer_ip(l, DECODE_MALFORMED_LINK);
	default:
		return DECODE_LINK;
	}
}
