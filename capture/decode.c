/* The two ways into the layers, and the names of the ways out. */
#include "capture/decode.h"

#include "capture/layers.h"

const char *decode_reason_name(enum decode_reason reason)
{
	static const char *const names[] = { [DECODE_FOUND] = "found",
#define X(name, label, help) [DECODE_##name] = label,
					     DECODE_REASONS(X)
#undef X
	};

	return names[reason];
}

void decode_packet(const struct captured *in, struct decoded *out)
{
	struct layers l = {
		.c = cursor_over_view(in->bytes),
		.cut = in->bytes.len < in->wire_len ? CUT_SNAP : CUT_NONE,
		.out = out,
	};

	*out = (struct decoded){ 0 };
	if (in->has_vlan)
		layer_vlan(out, in->vlan_tci);
	out->reason = layer_link(&l, in->link);
}

/* Where things are if a header is as most are. */
enum {
	AT_TYPE = 12, /* Ethernet */
	AT_IP = 14,
	AT_IP_TOTAL = AT_IP + 2,
	AT_IP_PLACE = AT_IP + 6,
	AT_IP_PROTOCOL = AT_IP + 9,
	AT_UDP = AT_IP + 20,
	AT_UDP_LEN = AT_UDP + 4,
	AT_PAYLOAD = AT_UDP + 8,
	IP4_PLAIN = 0x45,      /* version 4, a header of five words */
	IP4_FRAGMENT = 0x3fff, /* place, or more to come */
};

static unsigned u16_at(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

bool decode_glance(const struct captured *in, struct glance *out)
{
	struct cursor c = cursor_over_view(in->bytes);
	const uint8_t *head = cursor_take(&c, AT_PAYLOAD);
	unsigned total, len;

	if (!head || in->link != LINK_ETHERNET || in->bytes.len < in->wire_len)
		return false;
	if (u16_at(head + AT_TYPE) != ETHER_IP4 || head[AT_IP] != IP4_PLAIN ||
	    u16_at(head + AT_IP_PLACE) & IP4_FRAGMENT || head[AT_IP_PROTOCOL] != PROTO_UDP)
		return false;
	total = u16_at(head + AT_IP_TOTAL);
	len = u16_at(head + AT_UDP_LEN);
	out->src_port = (uint16_t)u16_at(head + AT_UDP);
	out->dst_port = (uint16_t)u16_at(head + AT_UDP + 2);
	if (total > in->bytes.len - AT_IP || len > total - (AT_UDP - AT_IP) ||
	    total < AT_PAYLOAD - AT_IP || len < AT_PAYLOAD - AT_UDP ||
	    is_tunnel_port(out->dst_port))
		return false;
	out->payload = cursor_view(&c, len - (AT_PAYLOAD - AT_UDP));
	return true;
}

void decode_ip_payload(struct decoded *d, uint8_t protocol, struct view payload)
{
	struct layers l = { .c = cursor_over_view(payload), .out = d };

	d->kind = DECODED_NONE;
	d->payload = (struct view){ 0 };
	d->fragment = (struct decoded_fragment){ 0 };
	d->segment = (struct decoded_segment){ 0 };
	d->reason = DECODE_DEPTH;
	if (d->depth < DECODE_DEPTH_MOST) {
		d->depth++;
		d->reason = layer_ip_payload(&l, protocol);
	}
}

enum decode_reason layer_inside(struct layers *l, uint16_t type)
{
	if (l->out->depth == DECODE_DEPTH_MOST)
		return DECODE_DEPTH;
	l->out->depth++;
	return type == ETHER_BRIDGED ? layer_ethernet(l) : layer_ethertype(l, type);
}
