/*
 * Any octets of a TCP flow, of SIP, WebSocket or HEP: in any pieces, and through capture/tcp.c in
 * any segments, in any order and again, they are the same messages and the same numbers as in one.
 * The first two octets of an input say whether the beginning of the flow was seen, whether it is at
 * a port of HEP, and how it is cut.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/stream.h"
#include "tests/unit/random.h"

#define HEP_PORT 9060
#define WINDOW	 8 /* segments that change places */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what comes out, as a number ---- */

static void hear(uint64_t *hash, uint64_t kind, struct view v)
{
	assert(v.len && v.len <= TCP_TAKER);
	for (uint32_t i = 0; i < v.len; i++)
		*hash = (*hash ^ v.at[i]) * 0x100000001b3;
	*hash = (*hash ^ (256 + kind)) * 0x100000001b3;
}

static void hear_sip(void *ctx, const struct tcp_flow *flow, struct view message, uint8_t proto)
{
	assert(flow->is_synced);
	hear(ctx, proto, message);
}

static void hear_hep(void *ctx, const struct tcp_flow *flow, struct view packet)
{
	assert(flow->is_synced);
	assert(packet.len >= 6 && (packet.at[4] << 8 | packet.at[5]) == (int)packet.len);
	hear(ctx, 0, packet);
}

static bool is_hep_port(void *ctx, uint16_t port)
{
	(void)ctx;
	return port == HEP_PORT;
}

static const struct stream_ops ops = { hear_sip, hear_hep, is_hep_port };

static void reset(struct stream *s, uint64_t *hash)
{
	memset(&s->counters, 0, sizeof(s->counters));
	memset(&s->sip.counters, 0, sizeof(s->sip.counters));
	memset(&s->hep.counters, 0, sizeof(s->hep.counters));
	memset(&s->websocket.counters, 0, sizeof(s->websocket.counters));
	*hash = 1;
	stream_init(s, &ops, hash);
}

static void check_same(const struct stream *a, const struct stream *b)
{
	assert(memcmp(&a->counters, &b->counters, sizeof(a->counters)) == 0);
	assert(memcmp(&a->sip.counters, &b->sip.counters, sizeof(a->sip.counters)) == 0);
	assert(memcmp(&a->hep.counters, &b->hep.counters, sizeof(a->hep.counters)) == 0);
	assert(memcmp(&a->websocket.counters, &b->websocket.counters,
		      sizeof(a->websocket.counters)) == 0);
}

/* ---- in pieces ---- */

struct input {
	struct view bytes;
	bool is_synced;
	uint16_t port;
	uint32_t most; /* octets of a piece */
	struct random random;
};

static void feed(struct stream *s, struct input *in, uint32_t most)
{
	struct tcp_flow flow = { .is_synced = in->is_synced, .dst.port = in->port };
	uint32_t taken = 0, there = 0;

	while (there < in->bytes.len) {
		uint32_t more = 1 + (uint32_t)random_below(&in->random, most);
		uint8_t *exact;
		size_t n;

		there = more < in->bytes.len - there ? there + more : in->bytes.len;
		exact = malloc(there - taken);
		assert(exact);
		memcpy(exact, in->bytes.at + taken, there - taken);
		n = stream_take(s, &flow, (struct view){ exact, there - taken }, false);
		assert(n <= there - taken && (n || there - taken < TCP_TAKER));
		taken += (uint32_t)n;
		free(exact);
	}
	(void)stream_take(s, &flow, (struct view){ in->bytes.at + taken, in->bytes.len - taken },
			  true);
}

/* ---- in segments ---- */

struct piece {
	uint32_t at, len;
};

static void send(struct tcp *t, const struct input *in, struct piece p, uint8_t flags)
{
	struct tcp_segment s = { .seq = 0U - 500 + p.at, .flags = flags, .ts_us = 1000000000 };

	s.src.family = s.dst.family = FAMILY_IPV4;
	s.dst.port = in->port;
	if (p.len)
		s.payload = (struct view){ in->bytes.at + p.at, p.len };
	tcp_add(t, &s);
}

/* Some begin in the one before them; some come again, sooner or later. */
static void send_shuffled(struct tcp *t, struct input *in)
{
	struct piece window[WINDOW];
	struct random *r = &in->random;
	uint32_t at = 0, count = 0;

	while (at < in->bytes.len || count) {
		uint32_t len = 1 + (uint32_t)random_below(r, in->most), from = at, k;

		if (at < in->bytes.len && count < WINDOW) {
			len = len < in->bytes.len - at ? len : in->bytes.len - at;
			if (random_below(r, 4) == 0)
				from -= (uint32_t)random_below(r, (at < 50 ? at : 50) + 1);
			window[count++] = (struct piece){ from, at + len - from };
			at += len;
			continue;
		}
		k = (uint32_t)random_below(r, count);
		send(t, in, window[k], 0);
		if (random_below(r, 4))
			window[k] = window[--count];
	}
}

static void feed_tcp(struct stream *s, struct input *in)
{
	static const struct tcp_options o = { 4, 4, 2, 1 << 20, 3000000, 600000000 };
	struct tcp *t;

	assert(tcp_new(&t, &o, stream_take, s) == HT_OK);
	send(t, in, (struct piece){ UINT32_MAX, 0 }, SEGMENT_SYN);
	send_shuffled(t, in);
	send(t, in, (struct piece){ in->bytes.len, 0 }, SEGMENT_FIN);
	tcp_drain(t);
	assert(counter_get(&tcp_counters(t)->gaps) == 0);
	tcp_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct stream whole, cut;
	uint64_t want, got;
	struct input in;

	if (size < 2 || size - 2 >= TCP_TAKER)
		return 0;
	in = (struct input){ .bytes = { data + 2, (uint32_t)size - 2 },
			     .is_synced = data[0] & 1,
			     .port = data[0] & 2 ? HEP_PORT : 5060,
			     .most = data[0] & 4 ? 1 : 1 + (data[0] >> 3) * 8U,
			     .random = random_from(data[1]) };
	reset(&whole, &want);
	feed(&whole, &in, UINT32_MAX);
	reset(&cut, &got);
	feed(&cut, &in, in.most);
	assert(got == want);
	check_same(&whole, &cut);
	if (!in.is_synced || in.bytes.len == 0)
		return 0;
	reset(&cut, &got);
	feed_tcp(&cut, &in);
	assert(got == want);
	check_same(&whole, &cut);
	return 0;
}
