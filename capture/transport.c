/* UDP (RFC 768), TCP (RFC 9293) and SCTP (RFC 9260). */
#include "capture/layers.h"

#define UDP_HEAD_BYTES 8
#define TCP_HEAD_BYTES 20

#define SCTP_CHUNK_BYTES                                                                          \
	4		   /* head of any chunk; its length counts it, but not the padding behind \
			    */
#define SCTP_DATA_BYTES 12 /* what DATA has before its payload */
#define SCTP_DATA	0
#define SCTP_LAST	1
#define SCTP_FIRST	2
#define SCTP_UNORDERED	4

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

static void read_data(struct cursor *chunk, uint8_t flags, struct sctp_data *out)
{
	out->is_first = flags & SCTP_FIRST;
	out->is_last = flags & SCTP_LAST;
	out->is_unordered = flags & SCTP_UNORDERED;
	out->tsn = cursor_u32_be(chunk);
	out->stream = cursor_u16_be(chunk);
	out->seq = cursor_u16_be(chunk);
	out->ppid = cursor_u32_be(chunk);
	out->payload = cursor_rest(chunk);
}

bool decode_sctp_data(struct cursor *chunks, struct sctp_data *out)
{
	while (cursor_left(chunks)) {
		uint8_t type = cursor_u8(chunks), flags = cursor_u8(chunks);
		uint16_t len = cursor_u16_be(chunks);
		size_t least = SCTP_CHUNK_BYTES + (type == SCTP_DATA ? SCTP_DATA_BYTES + 1 : 0);
		struct cursor chunk;

		if (len < least) {
			chunks->failed = true;
			return false;
		}
		chunk = cursor_over_view(cursor_view(chunks, len - SCTP_CHUNK_BYTES));
		if (chunks->failed)
			return false;
		for (; len % 4 && cursor_left(chunks); len++) /* the last one may come without */
			cursor_take(chunks, 1);
		if (type == SCTP_DATA) {
			read_data(&chunk, flags, out);
			return true;
		}
	}
	return false;
}

enum decode_reason layer_sctp(struct layers *l)
{
	struct decoded *out = l->out;
	struct sctp_data data;
	struct cursor walk;

	out->src.port = cursor_u16_be(&l->c);
	out->dst.port = cursor_u16_be(&l->c);
	cursor_take(&l->c, 8); /* verification tag, checksum */
	walk = l->c;
	while (decode_sctp_data(&walk, &data))
		;
	if (walk.failed || cursor_left(&l->c) == 0)
		return layer_ended(l, DECODE_MALFORMED_SCTP);
	return layer_found(l, DECODED_SCTP);
}
