/* Packets within packets: GRE and ERSPAN. */
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
	if (l->c.failed || cursor_left(&l->c) == 0)
		return layer_ended(l, DECODE_MALFORMED_TUNNEL);
	if (first >> 28 != (type == ERSPAN_3 ? 2 : 1))
		return DECODE_TUNNEL;
	if (first & ERSPAN_CUT && l->cut == CUT_NONE)
		l->cut = CUT_SHORT;
	if (kind == ERSPAN_3_IP)
		return layer_inside(l, layer_ip_type(l));
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
