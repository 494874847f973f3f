/*
 * Any octets as a captured frame: the first says the link type, or that a known datagram is to be
 * wrapped as the octets behind it say. Properties: what is found lies within the frame and nests no
 * deeper than said; a frame of which less was captured gives the same or nothing; a wrapped
 * datagram is found exactly, unless there are too many tunnels around it; a glance that finds a
 * datagram finds what the layers do.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "capture/decode.h"
#include "tests/unit/make_packet.h"

#define WRAP	  0xff /* as first octet */
#define WRAPS_MAX 16
#define CUTS_MAX  256 /* shorter frames are cut at every octet, longer ones at this many */
#define BRIDGED	  0x6558
#define TEXT	  "OPTIONS sip:a@b SIP/2.0\r\n\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t links[] = { LINK_ETHERNET, LINK_RAW,  LINK_LINUX_SLL, LINK_LINUX_SLL2,
				  LINK_NULL,	 LINK_LOOP, LINK_IPV4,	    105 };

static void check_sctp(const struct decoded *d)
{
	struct cursor c = cursor_over_view(d->payload);
	struct sctp_data data;
	uint32_t chunks = 0;

	while (decode_sctp_data(&c, &data)) {
		assert(view_inside(data.payload, d->payload) && data.payload.len > 0);
		chunks++;
	}
	assert(!c.failed);
	assert(chunks * 17 <= d->payload.len);
}

static void check_found(const struct decoded *d, struct view frame)
{
	assert((d->kind == DECODED_NONE) == (d->reason != DECODE_FOUND));
	assert(d->depth <= DECODE_DEPTH_MOST);
	assert(d->vlans <= DECODE_VLANS_MOST);
	if (d->kind == DECODED_NONE) {
		assert(decode_reason_name(d->reason));
		return;
	}
	assert(view_inside(d->payload, frame));
	assert(d->src.family == FAMILY_IPV4 || d->src.family == FAMILY_IPV6);
	assert(d->src.family == d->dst.family);
	if (d->kind == DECODED_SCTP)
		check_sctp(d);
	if (d->kind != DECODED_FRAGMENT)
		return;
	assert(d->payload.len > 0 && d->fragment.offset + d->payload.len <= 65535);
	assert(!d->fragment.more || d->payload.len % 8 == 0);
	assert(d->fragment.more || d->fragment.offset);
	assert(d->src.port == 0 && d->dst.port == 0);
}

static bool is_addr_same(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, 16) == 0;
}

/* What a glance finds is there. */
static void check_glance(const struct captured *in, const struct decoded *d)
{
	struct glance g;

	if (!decode_glance(in, &g))
		return;
	assert(d->kind == DECODED_UDP && d->depth == 0);
	assert(g.src_port == d->src.port && g.dst_port == d->dst.port);
	assert(g.payload.len == d->payload.len);
	assert(g.payload.len == 0 || g.payload.at == d->payload.at);
}

/* Decode an exact-size copy of the first @p captured octets. @return where the payload begins. */
static size_t decode_copy(const uint8_t *frame, size_t captured, size_t wire_len, uint16_t link,
			  struct decoded *out)
{
	uint8_t *copy = malloc(captured + 1);
	struct captured in = { .bytes = { copy + 1, (uint32_t)captured },
			       .wire_len = (uint32_t)wire_len,
			       .link = link };
	size_t at = 0;

	assert(copy);
	if (captured)
		memcpy(copy + 1, frame, captured);
	memset(out, 0xa5, sizeof(*out));
	decode_packet(&in, out);
	check_found(out, in.bytes);
	check_glance(&in, out);
	if (out->payload.len)
		at = (size_t)(out->payload.at - copy - 1);
	free(copy);
	return at;
}

/* Reassembly may hand the same octets back; it ends. */
static void check_continued(struct decoded d, const uint8_t *frame, size_t at)
{
	struct view payload = { frame + at, d.payload.len };

	for (int rounds = 0; d.kind == DECODED_FRAGMENT; rounds++) {
		uint8_t before = d.depth;

		decode_ip_payload(&d, d.protocol, payload);
		assert(d.depth > before || d.reason == DECODE_DEPTH);
		check_found(&d, payload);
		assert(rounds <= DECODE_DEPTH_MOST);
	}
}

static void check_cuts(const uint8_t *frame, size_t len, uint16_t link, const struct decoded *whole,
		       size_t whole_at)
{
	size_t step = len / CUTS_MAX + 1;

	for (size_t n = 0; n < len; n += step) {
		struct decoded cut;
		size_t at = decode_copy(frame, n, len, link, &cut);

		if (cut.kind == DECODED_NONE)
			continue;
		assert(cut.kind == whole->kind && cut.depth == whole->depth);
		assert(is_addr_same(&cut.src, &whole->src) && is_addr_same(&cut.dst, &whole->dst));
		assert(cut.payload.len == whole->payload.len && at == whole_at);
	}
}

static struct decoded check_frame(const uint8_t *frame, size_t len, uint16_t link)
{
	struct decoded whole;
	size_t at = decode_copy(frame, len, len, link, &whole);

	assert(whole.reason != DECODE_SNAP);
	check_cuts(frame, len, link, &whole, at);
	if (whole.kind == DECODED_FRAGMENT)
		check_continued(whole, frame, at);
	if (whole.payload.len)
		whole.payload.at = frame + at; /* the copy is gone */
	return whole;
}

/* ---- a known datagram in any layers ---- */

struct wrapped {
	struct made m;
	unsigned type;	/* ethertype of what is there; BRIDGED: an Ethernet frame */
	unsigned depth; /* tunnels so far */
	unsigned vlans;
};

static bool is_ip(const struct wrapped *w)
{
	return w->type == 0x0800 || w->type == 0x86dd;
}

/* Put IP around what has IP protocol @p protocol. */
static void wrap_ip(struct wrapped *w, uint8_t protocol, uint8_t how)
{
	if (how & 1) {
		if (how & 2) {
			made_ip6_fragment(&w->m, protocol, 0, 99);
			protocol = 44;
		}
		if (how & 4) {
			made_ip6_extension(&w->m, protocol, 8 + (how & 0x18));
			protocol = 60;
		}
		made_ip6(&w->m, protocol, 1, 2);
	} else {
		if (how & 2) {
			made_authentication(&w->m, protocol, 24);
			protocol = 51;
		}
		made_ip4(&w->m, protocol, 1, 2, how >> 2 & 0x1c);
	}
	w->type = how & 1 ? 0x86dd : 0x0800;
}

static void wrap_bridged(struct wrapped *w, uint8_t how)
{
	uint8_t kind = how >> 5;

	w->depth++;
	if (kind == 0) {
		made_gre(&w->m, (unsigned)(how & 0x0e) << 12 & 0xb000, BRIDGED);
		wrap_ip(w, 47, how);
	} else if (kind == 1) {
		made_gre(&w->m, 0, 0x88be);
		wrap_ip(w, 47, how);
	} else if (kind == 2) {
		made_erspan2(&w->m);
		made_gre(&w->m, 0x1000, 0x88be);
		wrap_ip(w, 47, how);
	} else if (kind == 3) {
		made_erspan3(&w->m, false, how & 2);
		made_gre(&w->m, 0x1000, 0x22eb);
		wrap_ip(w, 47, how);
	} else if (kind == 4) {
		made_vxlan(&w->m);
		wrap_ip(w, PROTO_UDP, how);
	} else if (kind == 5) {
		made_geneve(&w->m, BRIDGED, how & 0x1c);
		wrap_ip(w, PROTO_UDP, how);
	} else if (kind == 6) {
		made_tzsp(&w->m);
		wrap_ip(w, PROTO_UDP, how);
	} else {
		made_head(&w->m, how & 1 ? 4 : 0); /* control word */
		made_mpls(&w->m, 1 + (how >> 1 & 3));
		w->type = how & 8 ? 0x8848 : 0x8847;
	}
}

static void wrap_tag(struct wrapped *w, uint8_t how)
{
	static const unsigned types[] = { 0x8100, 0x88a8, 0x9100, 0x8100 };

	made_vlan(&w->m, 0xe000U | (how & 0x1f), w->type);
	w->type = types[how >> 3 & 3];
	w->vlans += (how & 0x1f) != 0;
}

/* One layer around what is neither a frame nor the outermost. */
static void wrap_packet(struct wrapped *w, uint8_t how)
{
	uint8_t kind = how >> 5;

	if (kind < 2 || !is_ip(w)) {
		if (kind % 2) {
			wrap_tag(w, how);
		} else {
			made_ethernet(&w->m, w->type);
			w->type = BRIDGED;
		}
		return;
	}
	w->depth++;
	if (kind == 2) {
		wrap_ip(w, w->type == 0x0800 ? 4 : 41, how);
	} else if (kind == 3) {
		made_gre(&w->m, (unsigned)(how & 0x0e) << 12 & 0xb000, w->type);
		wrap_ip(w, 47, how);
	} else if (kind == 4) {
		made_geneve(&w->m, w->type, how & 0x1c);
		wrap_ip(w, PROTO_UDP, how);
	} else if (kind == 5) {
		made_mpls(&w->m, 1 + (how & 7));
		w->type = 0x8847;
	} else if (kind == 6) {
		made_pppoe(&w->m, w->type == 0x0800 ? 0x21 : 0x57, how & 1);
		w->type = 0x8864;
	} else {
		made_erspan3(&w->m, true, how & 2);
		made_gre(&w->m, 0x1000, 0x22eb);
		wrap_ip(w, 47, how);
	}
}

/* The outermost layer. @return its link type. */
static uint16_t wrap_link(struct wrapped *w, uint8_t how)
{
	uint8_t *at;

	made_padding(&w->m, how >> 4);
	if (w->type == BRIDGED)
		return LINK_ETHERNET;
	if (is_ip(w) && how & 1) {
		if (how & 2)
			return LINK_RAW;
		at = made_head(&w->m, 4);
		at[how & 4 ? 0 : 3] = w->type == 0x0800 ? 2 : 10;
		return LINK_NULL;
	}
	if (how & 2) {
		at = made_head(&w->m, 16);
		made_u16(at + 14, w->type);
		return LINK_LINUX_SLL;
	}
	at = made_head(&w->m, 20);
	made_u16(at, w->type);
	return LINK_LINUX_SLL2;
}

static void wrap(const uint8_t *data, size_t size)
{
	static struct wrapped w;
	struct decoded d;
	uint16_t link;

	if (size < 2)
		return;
	w = (struct wrapped){ 0 };
	made_bytes(&w.m, TEXT, strlen(TEXT));
	made_udp(&w.m, 5070, 5060);
	wrap_ip(&w, PROTO_UDP, data[0]);
	for (size_t i = 2; i < size && i < 2 + WRAPS_MAX; i++) {
		if (w.type == BRIDGED)
			wrap_bridged(&w, data[i]);
		else
			wrap_packet(&w, data[i]);
	}
	link = wrap_link(&w, data[1]);
	d = check_frame(made_at(&w.m), w.m.len, link);
	if (w.depth > DECODE_DEPTH_MOST) {
		assert(d.reason == DECODE_DEPTH);
		return;
	}
	assert(d.kind == DECODED_UDP && d.depth == w.depth);
	assert(d.src.port == 5070 && d.dst.port == 5060);
	assert(d.src.family == (data[0] & 1 ? FAMILY_IPV6 : FAMILY_IPV4));
	assert(d.src.ip[data[0] & 1 ? 15 : 3] == 1 && d.dst.ip[data[0] & 1 ? 15 : 3] == 2);
	assert(view_is(d.payload, TEXT));
	assert(d.vlans == (w.vlans < DECODE_VLANS_MOST ? w.vlans : DECODE_VLANS_MOST));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] == WRAP)
		wrap(data + 1, size - 1);
	else
		check_frame(data + 1, size - 1, links[data[0] % (sizeof(links) / sizeof(*links))]);
	return 0;
}
