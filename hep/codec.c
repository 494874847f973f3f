/* HEP3: a six-octet head, then chunks of vendor, type, length, value. One row per generic chunk
 * says what becomes of it. */
#include "hep/codec.h"

#include "hep/legacy.h"
#include "hep/msg.h"

#define CHUNK_HEAD_BYTES 6

enum chunk_type {
	CHUNK_FAMILY = 0x01,
	CHUNK_PROTO = 0x02,
	CHUNK_SRC_IP4 = 0x03,
	CHUNK_DST_IP4 = 0x04,
	CHUNK_SRC_IP6 = 0x05,
	CHUNK_DST_IP6 = 0x06,
	CHUNK_SRC_PORT = 0x07,
	CHUNK_DST_PORT = 0x08,
	CHUNK_TIME_S = 0x09,
	CHUNK_TIME_US = 0x0a,
	CHUNK_TYPE = 0x0b,
	CHUNK_CAPTURE_ID = 0x0c,
	CHUNK_KEY = 0x0e,
	CHUNK_PAYLOAD = 0x0f,
	CHUNK_COMPRESSED = 0x10,
	CHUNK_CORRELATION = 0x11,
	CHUNK_AGENT_NAME = 0x13,
	CHUNK_KNOWN_END
};

/* Octets of each value that has a fixed size; 0: any size, or not a chunk that we read. */
static const uint8_t value_bytes[CHUNK_KNOWN_END] = {
	[CHUNK_FAMILY] = 1,   [CHUNK_PROTO] = 1,    [CHUNK_SRC_IP4] = 4,  [CHUNK_DST_IP4] = 4,
	[CHUNK_SRC_IP6] = 16, [CHUNK_DST_IP6] = 16, [CHUNK_SRC_PORT] = 2, [CHUNK_DST_PORT] = 2,
	[CHUNK_TIME_S] = 4,   [CHUNK_TIME_US] = 4,  [CHUNK_TYPE] = 1,	  [CHUNK_CAPTURE_ID] = 4,
};

/* What is gathered while walking; turned into the message when all chunks are seen, since they come
 * in any order. */
struct walk {
	struct msg *m;
	uint32_t time_s, time_us;
	uint32_t seen; /* bit per chunk type */
	struct view compressed;
	bool has_payload;
};

static void count_up(uint8_t *n)
{
	if (*n < UINT8_MAX)
		(*n)++;
}

static void addr_set(struct addr *a, uint8_t family, struct view value)
{
	a->family = family;
	memset(a->ip, 0, sizeof(a->ip)); /* an IPv6 address may have been there */
	memcpy(a->ip, value.at, value.len);
}

static void chunk_apply(struct walk *w, unsigned type, struct view value)
{
	struct cursor c = cursor_over_view(value);
	struct msg *m = w->m;

	switch (type) {
	case CHUNK_PROTO:
		m->ip_proto = cursor_u8(&c);
		break;
	case CHUNK_SRC_IP4:
		addr_set(&m->src, FAMILY_IPV4, value);
		break;
	case CHUNK_DST_IP4:
		addr_set(&m->dst, FAMILY_IPV4, value);
		break;
	case CHUNK_SRC_IP6:
		addr_set(&m->src, FAMILY_IPV6, value);
		break;
	case CHUNK_DST_IP6:
		addr_set(&m->dst, FAMILY_IPV6, value);
		break;
	case CHUNK_SRC_PORT:
		m->src.port = cursor_u16_be(&c);
		break;
	case CHUNK_DST_PORT:
		m->dst.port = cursor_u16_be(&c);
		break;
	case CHUNK_TIME_S:
		w->time_s = cursor_u32_be(&c);
		break;
	case CHUNK_TIME_US:
		w->time_us = cursor_u32_be(&c);
		break;
	case CHUNK_TYPE:
		m->type = cursor_u8(&c);
		break;
	case CHUNK_CAPTURE_ID:
		m->capture_id = cursor_u32_be(&c);
		m->has_capture_id = true;
		break;
	case CHUNK_KEY:
		m->key = value;
		m->has_key = true;
		break;
	case CHUNK_PAYLOAD:
		m->payload = value;
		w->has_payload = true;
		break;
	case CHUNK_COMPRESSED:
		w->compressed = value;
		m->is_compressed = true;
		break;
	case CHUNK_CORRELATION:
		m->correlation = value;
		break;
	case CHUNK_AGENT_NAME:
		m->agent_name = value;
		break;
	default: /* the family chunk: the address chunks are believed instead */
		break;
	}
}

static int chunk_read(struct walk *w, struct cursor *c)
{
	unsigned vendor = cursor_u16_be(c);
	unsigned type = cursor_u16_be(c);
	size_t len = cursor_u16_be(c);
	struct view value;

	if (c->failed || len < CHUNK_HEAD_BYTES)
		return HT_ECHUNK;
	value = cursor_view(c, len - CHUNK_HEAD_BYTES);
	if (c->failed)
		return HT_ECHUNK;
	if (vendor != 0 || type >= CHUNK_KNOWN_END)
		return HT_OK;
	if (value_bytes[type] && value.len != value_bytes[type]) {
		count_up(&w->m->odd_chunks);
		return HT_OK;
	}
	if (w->seen & (1U << type))
		count_up(&w->m->twice_chunks);
	w->seen |= 1U << type;
	chunk_apply(w, type, value);
	return HT_OK;
}

static bool magic_is_hep3(struct view magic)
{
	return view_is(magic, "HEP3") || view_is(magic, "EEP3") || view_is(magic, "EEP1");
}

ssize_t hep_decode(const uint8_t *buf, size_t len, struct msg *out)
{
	uint64_t arrival_us = out->arrival_us;
	struct cursor c = cursor_over(buf, len);
	struct walk w = { .m = out };
	struct view magic = cursor_view(&c, 4);
	size_t total = cursor_u16_be(&c);
	int err;

	if (len && (buf[0] == 1 || buf[0] == 2))
		return hep_decode_legacy(buf, len, out);
	if (!magic_is_hep3(magic))
		return len < 4 ? HT_ESHORT : HT_EVERSION;
	if (c.failed)
		return HT_ESHORT;
	if (total < HEP3_HEAD_BYTES)
		return HT_ELENGTH;
	if (total > len)
		return HT_ESHORT;

	*out = (struct msg){
		.arrival_us = arrival_us, .type = HEP_TYPE_SIP, .version = 3, .ip_proto = PROTO_UDP
	};
	c = cursor_over(buf + HEP3_HEAD_BYTES, total - HEP3_HEAD_BYTES);
	while (cursor_left(&c) > 0) {
		err = chunk_read(&w, &c);
		if (err < 0)
			return err;
	}
	if (out->src.family == FAMILY_NONE || out->dst.family == FAMILY_NONE)
		return HT_EADDRESS;
	if (w.time_s) /* microseconds of a second and more are carried */
		out->ts_us = (uint64_t)w.time_s * 1000000 + w.time_us;
	if (w.has_payload) /* both there: the plain one */
		out->is_compressed = false;
	else if (out->is_compressed)
		out->payload = w.compressed;
	return (ssize_t)total;
}
