/*
 * A datagram is walked once for each member of the object, which takes what is of its types. An
 * element of a list that does not fit is taken back and counted.
 */
#include "hep/rtcp.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#define LOWEST	192 /* types of RTCP that are or may be assigned (RFC 5761 section 4) */
#define HIGHEST 223
#define BEHIND	256 /* octets of the text for what is behind the last element */
#define XR_VOIP 7

enum { SR = 200, RR, SDES, BYE, APP, XR = 207 };

struct packet {
	uint8_t count; /* what the five bits of the header say: how many, or a subtype */
	uint8_t type;
	struct view body; /* without padding */
};

struct text {
	char *at;
	uint32_t len; /* may be more than there is room for: then the element is taken back */
	const char *list;
	bool is_open; /* the list has an element */
	uint32_t count, omitted;
	uint32_t voip; /* blocks of VoIP metrics that were walked over */
};

/* ---- packets ---- */

static bool packet_next(struct cursor *c, struct packet *out)
{
	uint8_t first = cursor_u8(c), padding;
	uint16_t words;

	out->type = cursor_u8(c);
	words = cursor_u16_be(c);
	out->count = first & 0x1f;
	out->body = cursor_view(c, 4U * words);
	if (c->failed || first >> 6 != 2 || out->type < LOWEST || out->type > HIGHEST)
		return false;
	padding = first & 0x20 && out->body.len ? out->body.at[out->body.len - 1] : 0;
	if (padding <= out->body.len)
		out->body.len -= padding;
	return true;
}

static bool has_text(uint8_t type)
{
	return (type >= SR && type <= APP) || type == XR;
}

enum rtcp_kind rtcp_kind(struct view datagram)
{
	struct cursor c = cursor_over_view(datagram);
	struct packet p;
	bool is_report;

	if (!rtcp_may_be(datagram) || !packet_next(&c, &p))
		return RTCP_NOT;
	is_report = has_text(p.type);
	while (cursor_left(&c) > 0) {
		if (!packet_next(&c, &p))
			return RTCP_ENCRYPTED;
		is_report |= has_text(p.type);
	}
	return is_report ? RTCP_REPORT : RTCP_FEEDBACK;
}

/* ---- text ---- */

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	size_t room = t->len < RTCP_TEXT ? RTCP_TEXT - t->len : 0;
	va_list values;
	int n;

	va_start(values, format);
	n = vsnprintf(room ? t->at + t->len : NULL, room, format, values);
	va_end(values);
	t->len += n > 0 ? (uint32_t)n : 0;
}

static void list_begin(struct text *t, const char *name)
{
	t->list = name;
	t->is_open = false;
	t->count = 0;
}

/* @return where the element begins; list_put() it. */
static uint32_t list_element(struct text *t)
{
	uint32_t mark = t->len;

	if (t->is_open)
		add(t, ",");
	else
		add(t, "\"%s\":[", t->list);
	return mark;
}

/* Is there room for what was written from @p mark on? Else it is taken back. */
static bool is_kept(struct text *t, uint32_t mark)
{
	if (t->len <= RTCP_TEXT - BEHIND)
		return true;
	t->len = mark;
	t->omitted++;
	return false;
}

static void list_put(struct text *t, uint32_t mark)
{
	if (!is_kept(t, mark))
		return;
	t->is_open = true;
	t->count++;
}

static void list_end(struct text *t)
{
	if (t->is_open)
		add(t, "],");
}

/* Octets of the character of UTF-8 that is next, without those that are no shortest form and halves
 * of surrogate pairs; 0 if it is none. */
static unsigned utf8_octets(const struct cursor *c)
{
	struct cursor at = *c;
	uint8_t first = cursor_u8(&at), second = cursor_u8(&at);
	unsigned octets = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	if (first < 0xc2 || first > 0xf4 || second < least || second > most)
		return 0;
	for (unsigned i = 2; i < octets; i++)
		if (cursor_u8(&at) >> 6 != 2)
			return 0;
	return at.failed ? 0 : octets;
}

static void add_string(struct text *t, struct view v)
{
	struct cursor c = cursor_over_view(v);
	unsigned octets;
	int byte;

	add(t, "\"");
	while ((byte = cursor_peek(&c)) >= 0) {
		octets = byte < 0x80 ? 1 : utf8_octets(&c);
		if (octets == 0 || byte == 0)
			add(t, "\\ufffd");
		else if (byte < ' ')
			add(t, "\\u%04x", (unsigned)byte);
		else if (byte == '"' || byte == '\\')
			add(t, "\\%c", byte);
		else
			add(t, "%.*s", (int)octets, (const char *)c.pos);
		(void)cursor_take(&c, octets ? octets : 1);
	}
	add(t, "\"");
}

/* ---- SR and RR ---- */

static void sender_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);
	uint32_t sec, fraction, rtp, packets, octets;

	(void)cursor_u32_be(&c);
	sec = cursor_u32_be(&c);
	fraction = cursor_u32_be(&c);
	rtp = cursor_u32_be(&c);
	packets = cursor_u32_be(&c);
	octets = cursor_u32_be(&c);
	if (c.failed)
		return;
	add(t,
	    "\"sender_information\":{\"ntp_timestamp_sec\":%u,\"ntp_timestamp_usec\":%u,"
	    "\"octets\":%u,\"rtp_timestamp\":%u,\"packets\":%u},",
	    sec, fraction, octets, rtp, packets);
}

static void block_add(struct text *t, struct cursor *c)
{
	uint32_t mark = list_element(t), source = cursor_u32_be(c), lost = cursor_u32_be(c);
	uint32_t highest = cursor_u32_be(c), jitter = cursor_u32_be(c);
	uint32_t lsr = cursor_u32_be(c), dlsr = cursor_u32_be(c);
	int32_t packets = (int32_t)(lost << 8) / 256; /* 24 bits with a sign */

	add(t,
	    "{\"source_ssrc\":%u,\"highest_seq_no\":%u,\"fraction_lost\":%u,\"ia_jitter\":%u,"
	    "\"packets_lost\":%d,\"lsr\":%u,\"dlsr\":%u}",
	    source, highest, lost >> 24, jitter, packets, lsr, dlsr);
	list_put(t, mark);
}

static void blocks_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);

	(void)cursor_take(&c, p->type == SR ? 24 : 4);
	for (uint8_t i = 0; i < p->count && !c.failed && cursor_left(&c) >= 24; i++)
		block_add(t, &c);
}

/* ---- XR ---- */

struct xr_block {
	uint8_t type, flags;
	struct view body;
};

static bool xr_next(struct cursor *c, struct xr_block *out)
{
	uint16_t words;

	out->type = cursor_u8(c);
	out->flags = cursor_u8(c);
	words = cursor_u16_be(c);
	out->body = cursor_view(c, 4U * words);
	return !c->failed;
}

#define VOIP_OCTETS 32

/* RFC 3611 section 4.7; heplify named the first ten. */
static void voip_add(struct text *t, const struct xr_block *b)
{
	struct cursor c = cursor_over_view(b->body);

	add(t, "{\"type\":%u,\"id\":%u", b->type, cursor_u32_be(&c));
	add(t, ",\"fraction_lost\":%u", cursor_u8(&c));
	add(t, ",\"fraction_discard\":%u", cursor_u8(&c));
	add(t, ",\"burst_density\":%u", cursor_u8(&c));
	add(t, ",\"gap_density\":%u", cursor_u8(&c));
	add(t, ",\"burst_duration\":%u", cursor_u16_be(&c));
	add(t, ",\"gap_duration\":%u", cursor_u16_be(&c));
	add(t, ",\"round_trip_delay\":%u", cursor_u16_be(&c));
	add(t, ",\"end_system_delay\":%u", cursor_u16_be(&c));
	add(t, ",\"signal_level\":%d", (int8_t)cursor_u8(&c));
	add(t, ",\"noise_level\":%d", (int8_t)cursor_u8(&c));
	add(t, ",\"rerl\":%u", cursor_u8(&c));
	add(t, ",\"gmin\":%u", cursor_u8(&c));
	add(t, ",\"r_factor\":%u", cursor_u8(&c));
	add(t, ",\"ext_r_factor\":%u", cursor_u8(&c));
	add(t, ",\"mos_lq\":%u", cursor_u8(&c));
	add(t, ",\"mos_cq\":%u", cursor_u8(&c));
	add(t, ",\"rx_config\":%u", cursor_u8(&c));
	(void)cursor_u8(&c);
	add(t, ",\"jb_nominal\":%u", cursor_u16_be(&c));
	add(t, ",\"jb_maximum\":%u", cursor_u16_be(&c));
	add(t, ",\"jb_abs_max\":%u}", cursor_u16_be(&c));
}

/* Section 4.6: the flags say which of the values are there. */
static void summary_add(struct text *t, const struct xr_block *b)
{
	struct cursor c = cursor_over_view(b->body);
	uint32_t id = cursor_u32_be(&c), begin = cursor_u16_be(&c), end = cursor_u16_be(&c);
	uint32_t lost = cursor_u32_be(&c), dup = cursor_u32_be(&c), jitter[4];

	for (unsigned i = 0; i < 4; i++)
		jitter[i] = cursor_u32_be(&c);
	add(t, "{\"type\":%u,\"id\":%u,\"begin_seq\":%u,\"end_seq\":%u", b->type, id, begin, end);
	if (b->flags & 0x80)
		add(t, ",\"lost_packets\":%u", lost);
	if (b->flags & 0x40)
		add(t, ",\"dup_packets\":%u", dup);
	if (b->flags & 0x20)
		add(t, ",\"min_jitter\":%u,\"max_jitter\":%u,\"mean_jitter\":%u,\"dev_jitter\":%u",
		    jitter[0], jitter[1], jitter[2], jitter[3]);
	if (b->flags & 0x18) {
		add(t, ",\"min_ttl\":%u", cursor_u8(&c));
		add(t, ",\"max_ttl\":%u", cursor_u8(&c));
		add(t, ",\"mean_ttl\":%u", cursor_u8(&c));
		add(t, ",\"dev_ttl\":%u", cursor_u8(&c));
	}
	add(t, "}");
}

/* Section 4.4. */
static void reference_add(struct text *t, const struct xr_block *b)
{
	struct cursor c = cursor_over_view(b->body);
	uint32_t sec = cursor_u32_be(&c), fraction = cursor_u32_be(&c);

	add(t, "{\"type\":%u,\"ntp_timestamp_sec\":%u,\"ntp_timestamp_usec\":%u}", b->type, sec,
	    fraction);
}

/* Section 4.5: one for each receiver whose reference time is answered. */
static void dlrr_add(struct text *t, const struct xr_block *b)
{
	struct cursor c = cursor_over_view(b->body);
	const char *comma = "";

	add(t, "{\"type\":%u,\"reports\":[", b->type);
	while (cursor_left(&c) >= 12 && t->len < RTCP_TEXT) {
		add(t, "%s{\"ssrc\":%u", comma, cursor_u32_be(&c));
		add(t, ",\"lrr\":%u", cursor_u32_be(&c));
		add(t, ",\"dlrr\":%u}", cursor_u32_be(&c));
		comma = ",";
	}
	add(t, "]}");
}

static void xr_block_add(struct text *t, const struct xr_block *b)
{
	static const struct {
		uint8_t type, octets; /* at least */
		void (*add)(struct text *t, const struct xr_block *b);
	} kinds[] = {
		{ 4, 8, reference_add },
		{ 5, 0, dlrr_add },
		{ 6, 36, summary_add },
		{ XR_VOIP, VOIP_OCTETS, voip_add },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].type == b->type && b->body.len >= kinds[i].octets) {
			kinds[i].add(t, b);
			return;
		}
	}
	add(t, "{\"type\":%u,\"octets\":%u}", b->type, b->body.len);
}

static bool is_voip(const struct xr_block *b)
{
	return b->type == XR_VOIP && b->body.len >= VOIP_OCTETS;
}

static void first_voip_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);
	struct xr_block b;
	uint32_t mark = t->len;

	(void)cursor_take(&c, 4);
	while (t->voip == 0 && xr_next(&c, &b)) {
		if (!is_voip(&b))
			continue;
		t->voip++;
		add(t, "\"report_blocks_xr\":");
		voip_add(t, &b);
		add(t, ",");
		(void)is_kept(t, mark);
	}
}

static void xr_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);
	struct xr_block b;
	uint32_t mark;

	(void)cursor_take(&c, 4);
	while (xr_next(&c, &b)) {
		if (is_voip(&b) && t->voip++ == 0)
			continue;
		mark = list_element(t);
		xr_block_add(t, &b);
		list_put(t, mark);
	}
}

/* ---- SDES, BYE, APP ---- */

static void sdes_item_add(struct text *t, uint32_t ssrc, uint8_t type, struct view text)
{
	uint32_t mark = t->len;

	if (!t->is_open)
		add(t, "\"sdes_ssrc\":%u,", ssrc);
	(void)list_element(t);
	add(t, "{\"sdes_chunk_ssrc\":%u,\"type\":%u,\"text\":", ssrc, type);
	add_string(t, text);
	add(t, "}");
	list_put(t, mark);
}

/* The items of a chunk end with one of type 0, and zeros up to the next word. */
static void sdes_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);
	uint32_t ssrc;
	uint8_t type;
	struct view text;

	for (uint8_t i = 0; i < p->count && cursor_left(&c) >= 4; i++) {
		ssrc = cursor_u32_be(&c);
		while ((type = cursor_u8(&c)) != 0) {
			text = cursor_view(&c, cursor_u8(&c));
			if (c.failed)
				return;
			sdes_item_add(t, ssrc, type, text);
		}
		while (cursor_left(&c) > 0 && (p->body.len - cursor_left(&c)) % 4)
			(void)cursor_u8(&c);
	}
}

static void bye_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body),
		      sources = cursor_over_view(cursor_view(&c, 4U * p->count));
	struct view reason = cursor_view(&c, cursor_u8(&c));
	uint32_t mark;

	while (cursor_left(&sources) > 0) {
		mark = list_element(t);
		add(t, "{\"ssrc\":%u", cursor_u32_be(&sources));
		if (reason.len) {
			add(t, ",\"reason\":");
			add_string(t, reason);
		}
		add(t, "}");
		list_put(t, mark);
	}
}

static void app_add(struct text *t, const struct packet *p)
{
	struct cursor c = cursor_over_view(p->body);
	uint32_t ssrc = cursor_u32_be(&c), mark;
	struct view name = cursor_view(&c, 4);

	if (c.failed)
		return;
	mark = list_element(t);
	add(t, "{\"ssrc\":%u,\"subtype\":%u,\"name\":", ssrc, p->count);
	add_string(t, name);
	add(t, ",\"octets\":%u}", (uint32_t)cursor_left(&c));
	list_put(t, mark);
}

/* ---- the whole ---- */

static void each(struct text *t, struct view datagram, uint8_t type, uint8_t or_type,
		 void (*take)(struct text *t, const struct packet *p))
{
	struct cursor c = cursor_over_view(datagram);
	struct packet p;

	while (packet_next(&c, &p))
		if (p.type == type || p.type == or_type)
			take(t, &p);
}

/* The first SR or RR, else the first packet. */
static bool whose(struct view datagram, struct packet *out)
{
	struct cursor c = cursor_over_view(datagram);
	struct packet p;
	bool is_any = false;

	while (packet_next(&c, &p)) {
		if (!is_any)
			*out = p;
		is_any = true;
		if (p.type == SR || p.type == RR) {
			*out = p;
			break;
		}
	}
	return is_any;
}

static void source_add(struct text *t, struct view datagram)
{
	struct packet p;
	struct cursor c;

	if (!whose(datagram, &p))
		return;
	if (p.type == SR)
		sender_add(t, &p);
	c = cursor_over_view(p.body);
	add(t, "\"ssrc\":%u,\"type\":%u,", cursor_u32_be(&c), p.type);
}

static void list_of(struct text *t, struct view datagram, const char *name, uint8_t type,
		    void (*take)(struct text *t, const struct packet *p))
{
	list_begin(t, name);
	each(t, datagram, type, type, take);
	list_end(t);
}

struct view rtcp_text(struct view datagram, uint8_t *out)
{
	struct text t = { .at = (char *)out };

	add(&t, "{");
	source_add(&t, datagram);
	list_begin(&t, "report_blocks");
	each(&t, datagram, SR, RR, blocks_add);
	add(&t, t.is_open ? "]," : "\"report_blocks\":[],");
	add(&t, "\"report_count\":%u,", t.count);
	each(&t, datagram, XR, XR, first_voip_add);
	t.voip = 0;
	list_of(&t, datagram, "xr_blocks", XR, xr_add);
	list_of(&t, datagram, "sdes_information", SDES, sdes_add);
	if (t.is_open)
		add(&t, "\"sdes_report_count\":%u,", t.count);
	list_of(&t, datagram, "bye_information", BYE, bye_add);
	list_of(&t, datagram, "app_information", APP, app_add);
	if (t.omitted)
		add(&t, "\"omitted\":%u,", t.omitted);
	t.at[t.len - 1] = '}'; /* in place of the last comma */
	return (struct view){ out, t.len };
}
