/*
 * Any segments of a few flows, in a table with little room. The octet with number n is n, so that
 * the taker sees whether one is missing: what is handed on follows what came before it, until it is
 * told of an end. Every segment ends once. An input is records of eight octets: flags, the flow,
 * the number, the length, and the time that passes.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/tcp.h"

#define RECORD 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* state: 0 whether something was taken, 1 the next octet, 2 how many were handed on last time and
 * not taken. */
static size_t take(void *ctx, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	size_t n = bytes.len;

	(void)ctx;
	for (uint32_t i = 1; i < bytes.len; i++)
		assert(bytes.at[i] == (uint8_t)(bytes.at[i - 1] + 1));
	if (flow->state[0] && bytes.len)
		assert(bytes.at[0] == (uint8_t)flow->state[1]);
	assert(bytes.len <= TCP_WINDOW);
	assert(is_end || bytes.len > flow->state[2]); /* it is called when there is more */
	if (!is_end && bytes.len < TCP_TAKER)
		n = flow->dst.port % 2 ? bytes.len / 2 : (bytes.len > 100 ? bytes.len - 100 : 0);
	if (bytes.len) {
		flow->state[0] = 1;
		flow->state[1] = (uint8_t)(bytes.at[0] + n);
	}
	flow->state[2] = bytes.len - n;
	flow->is_synced |= n > 0;
	return n;
}

static void check_counters(const struct tcp *t, bool is_at_rest)
{
	const struct tcp_counters *c = tcp_counters(t);
	uint64_t ended = counter_get(&c->carried) + counter_get(&c->empty) + counter_get(&c->stale);

	assert(ended <= counter_get(&c->given));
	assert(!is_at_rest || ended == counter_get(&c->given));
}

static void add(struct tcp *t, const uint8_t *r, uint64_t now_us)
{
	uint32_t len = (uint32_t)(r[5] << (r[0] >> 4 & 7));
	struct tcp_segment s = { .flags = r[0] & 7, .ts_us = now_us };
	uint8_t *bytes = malloc(len ? len : 1); /* of its exact size */

	assert(bytes);
	s.seq = (uint32_t)(r[2] << 16 | r[3] << 8 | r[4]) - 0x8000;
	if (r[0] & 8)
		s.seq <<= 8;
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(s.seq + !!(s.flags & SEGMENT_SYN) + i);
	s.src.family = s.dst.family = r[1] & 8 ? FAMILY_IPV4 : FAMILY_IPV6;
	s.dst.port = r[1] & 7;
	s.payload = (struct view){ bytes, len };
	tcp_add(t, &s);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tcp_options tight = { 5, 2, 2, 70000, 3000000, 60000000 };
	uint64_t now_us = 1000000000;
	struct tcp *t;

	assert(tcp_new(&t, &tight, take, NULL) == HT_OK);
	for (; size >= RECORD; data += RECORD, size -= RECORD) {
		now_us += (uint64_t)data[6] << (data[7] % 24);
		if (data[0] & 128)
			tcp_sweep(t, now_us);
		else
			add(t, data, now_us);
		check_counters(t, false);
	}
	tcp_drain(t);
	check_counters(t, true);
	tcp_free(t);
	return 0;
}
