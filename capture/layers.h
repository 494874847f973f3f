/**
 * @file
 * What the files of the packet decoder (decode, link, ip, tunnel, transport) know of one another.
 * Each layer reads its header, narrows the cursor to what the header says is inside and calls the
 * next one. What calls itself again (a packet within a packet) goes through layer_inside(), which
 * counts; everything else consumes octets in a loop. So the stack is bounded.
 */
#pragma once
#include "capture/decode.h"

/* Ethertypes; GRE and others use the same numbers. */
enum {
	ETHER_IP4 = 0x0800,
	ETHER_IP6 = 0x86dd,
	ETHER_VLAN = 0x8100,
	ETHER_QINQ = 0x88a8,
	ETHER_QINQ_OLD = 0x9100,
	ETHER_MPLS = 0x8847,
	ETHER_MPLS_UPSTREAM = 0x8848,
	ETHER_PPPOE = 0x8864,
	ETHER_BRIDGED = 0x6558, /* an Ethernet frame; only inside of tunnels */
};

/* Does the packet go on behind the end of the cursor? */
enum cut {
	CUT_NONE,
	CUT_SNAP,  /* yes: captured only so far */
	CUT_SHORT, /* yes, by the length in a header */
};

struct layers {
	struct cursor c; /* what is left of the layer that is being read */
	enum cut cut;
	struct decoded *out;
};

/* The layer says that @p n octets from here on are inside; those behind are padding. */
static inline void layer_limit(struct layers *l, size_t n)
{
	if (n <= cursor_left(&l->c)) {
		l->c = cursor_over_view(cursor_view(&l->c, n));
		l->cut = CUT_NONE;
	} else if (l->cut == CUT_NONE) {
		l->cut = CUT_SHORT;
	}
}

/* Why a layer ends before its header does: it was cut, or else it is @p malformed. */
static inline enum decode_reason layer_ended(const struct layers *l, enum decode_reason malformed)
{
	if (l->cut == CUT_SNAP)
		return DECODE_SNAP;
	return l->cut == CUT_SHORT ? DECODE_SHORT : malformed;
}

/* Everything left is the payload, if it is all there. */
static inline enum decode_reason layer_found(struct layers *l, enum decoded_kind kind)
{
	if (l->cut == CUT_NONE) {
		l->out->payload = cursor_rest(&l->c);
		l->out->kind = kind;
	}
	return layer_ended(l, DECODE_FOUND);
}

/* A packet within a packet. @p type: ETHER_*. */
enum decode_reason layer_inside(struct layers *l, uint16_t type);

/* link.c: from the front of a frame; from behind an ethertype. */
enum decode_reason layer_link(struct layers *l, uint16_t link);
enum decode_reason layer_ethernet(struct layers *l);
enum decode_reason layer_ethertype(struct layers *l, uint16_t type);
void layer_vlan(struct decoded *out, uint16_t tci);

/* ip.c */
enum decode_reason layer_ip(struct layers *l, enum decode_reason malformed);
enum decode_reason layer_ip_payload(struct layers *l, uint8_t protocol);

/* tunnel.c */
enum decode_reason layer_gre(struct layers *l);
enum decode_reason layer_mpls(struct layers *l);
enum decode_reason layer_pppoe(struct layers *l);
/* May what is sent to it be a tunnel that is followed? */
bool is_tunnel_port(uint16_t port);
/* Step over the head of a tunnel. @return type of what is inside; 0: it looks like none. */
uint16_t layer_udp_tunnel(struct layers *l);

/* transport.c */
enum decode_reason layer_udp(struct layers *l);
enum decode_reason layer_tcp(struct layers *l);
enum decode_reason layer_sctp(struct layers *l);
