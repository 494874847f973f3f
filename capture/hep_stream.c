/* Six octets say how long a packet is; six more whether its first chunk may be one: all senders
 * begin with one of no vendor, the address family. */
#include "capture/hep_stream.h"

#include <assert.h>
#include <string.h>

#include "hep/codec.h"

#define CHUNK_BYTES 6 /* head of a chunk: vendor, type, length with the head */

/* What is remembered of a flow, in its state. */
struct memory {
	bool is_in_garbage; /* since what was dropped, no packet began */
};

static_assert(sizeof(struct memory) <= sizeof(((struct tcp_flow *)0)->state), "fits the state");

static bool has_magic(struct view rest)
{
	size_t len = rest.len < 4 ? rest.len : 4;

	return memcmp(rest.at, "HEP3", len) == 0 || memcmp(rest.at, "EEP1", len) == 0 ||
	       memcmp(rest.at, "EEP3", len) == 0;
}

/* @return octets of the packet that begins here, 0 if more have to say, -1 if none does.
 * @p is_searching: something in the middle of a packet must not look like one. */
static int64_t packet_length(struct view rest, bool is_searching)
{
	struct cursor c = cursor_over_view(rest);
	uint16_t total, vendor, chunk;

	if (!has_magic(rest))
		return -1;
	cursor_take(&c, 4);
	total = cursor_u16_be(&c);
	if (c.failed)
		return 0;
	if (total < HEP3_HEAD_BYTES)
		return -1;
	if (!is_searching)
		return total;
	vendor = cursor_u16_be(&c);
	cursor_take(&c, 2); /* type */
	chunk = cursor_u16_be(&c);
	if (total < HEP3_HEAD_BYTES + CHUNK_BYTES)
		return -1;
	if (c.failed)
		return 0;
	if (vendor != 0 || chunk < CHUNK_BYTES || chunk > total - HEP3_HEAD_BYTES)
		return -1;
	return total;
}

static uint32_t drop(struct hep_stream *s, const struct tcp_flow *flow, uint32_t n)
{
	counter_add(flow->is_synced ? &s->counters.garbage_bytes : &s->counters.unsynced_bytes, n);
	return n;
}

/* The first octet begins no packet. @return how many do not. */
static uint32_t drop_garbage(struct hep_stream *s, const struct tcp_flow *flow, struct memory *m,
			     struct view rest)
{
	uint32_t n = 1;

	while (n < rest.len && packet_length((struct view){ rest.at + n, rest.len - n }, true) < 0)
		n++;
	m->is_in_garbage = true;
	return drop(s, flow, n);
}

/* @return octets that are done with, 0 if more are needed. */
static uint32_t step(struct hep_stream *s, struct tcp_flow *flow, struct memory *m,
		     struct view rest)
{
	int64_t len = packet_length(rest, m->is_in_garbage || !flow->is_synced);

	if (len < 0)
		return drop_garbage(s, flow, m, rest);
	if (len == 0)
		return 0;
	flow->is_synced = true;
	m->is_in_garbage = false;
	if (len > rest.len)
		return 0;
	counter_add(&s->counters.packets, 1);
	s->fn(s->ctx, flow, (struct view){ rest.at, (uint32_t)len });
	return (uint32_t)len;
}

/* Nothing follows: what is left is the front of a packet, or may be. */
static void finish(struct hep_stream *s, const struct tcp_flow *flow, const struct memory *m,
		   struct view rest)
{
	if (rest.len && flow->is_synced && !m->is_in_garbage)
		counter_add(&s->counters.partial, 1);
	else
		drop(s, flow, rest.len);
}

size_t hep_stream_take(void *hep_stream, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	struct memory *m = (struct memory *)flow->state;
	struct view rest = bytes;
	uint32_t n = 1;

	while (rest.len && n) {
		n = step(hep_stream, flow, m, rest);
		rest = (struct view){ rest.at + n, rest.len - n };
	}
	if (is_end)
		finish(hep_stream, flow, m, rest);
	return bytes.len - rest.len;
}
