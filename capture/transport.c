/* UDP (RFC 768). */
#include "capture/layers.h"

#define UDP_HEAD_BYTES 8

enum decode_reason layer_udp(struct layers *l)
{
	struct decoded *out = l->out;
	uint16_t len;

	out->src.port = cursor_u16_be(&l->c);
	out->dst.port = cursor_u16_be(&l->c);
	len = cursor_u16_be(&l->c);
	cursor_take(&l->c, 2); /* checksum */
	if (l->c.failed)
		return layer_ended(l, DECODE_MALFORMED_UDP);
	if (len < UDP_HEAD_BYTES) /* 0 is for jumbograms, which are refused */
		return DECODE_MALFORMED_UDP;
	layer_limit(l, len - UDP_HEAD_BYTES);
	return layer_found(l, DECODED_UDP);
}
