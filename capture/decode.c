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
