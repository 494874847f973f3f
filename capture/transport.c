/* UDP (RFC 768) and TCP (RFC 9293). */
#include "capture/layers.h"

#define UDP_HEAD_BYTES 8
#define TCP_HEAD_BYTES 20

enum decode_reason layer_udp(struct layers *l)
{
	struct decoded *out = l->out;
	uint16_t len, inside;

	out->src.port = cursor_u16_be(&l->c);
	out->dst.port = cursor_u16_be(&l->c);
	len = cursor_u16_be(&l->c);
	cursor_take(&l->c, 2); /* checksum */
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_UDP);
	if (len < UDP_HEAD_BYTES) /* 0 is for jumbograms, which are refused */
		return DECODE_MALFORMED_UDP;
	layer_limit(l, len - UDP_HEAD_BYTES);
	inside = layer_udp_tunnel(l);
	return inside ? layer_inside(l, inside) : layer_found(l, DECODED_UDP);
}

enum decode_reason layer_tcp(struct layers *l)
{
	struct decoded *out = l->out;
	size_t head;

	out->src.port = cursor_u16_be(&l->c);
	out->dst.port = cursor_u16_be(&l->c);
	out->segment.seq = cursor_u32_be(&l->c);
	out->segment.ack = cursor_u32_be(&l->c);
	head = (size_t)(cursor_u8(&l->c) >> 4) * 4;
	out->segment.flags = cursor_u8(&l->c);
	cursor_take(&l->c, 6); /* window, checksum, urgent pointer */
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TCP);
	if (head < TCP_HEAD_BYTES)
		return DECODE_MALFORMED_TCP;
	cursor_take(&l->c, head - TCP_HEAD_BYTES); /* options */
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_TCP);
	return layer_found(l, DECODED_TCP);
}
