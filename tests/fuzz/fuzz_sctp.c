/*
 * Any DATA chunks of two associations. The octets of a chunk follow from its number, and begin with
 * it: a message is those of consecutive numbers. Each packet ends once. In a table with much room,
 * and at one time, each packet does what a simple model says. An input is records of six octets:
 * the chunk, whether the packet ends behind it, and the time that passes.
 */
#undef NDEBUG
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sctp.h"

#define RECORD	      6
#define NUMBERS	      32 /* of chunks, from FIRST_NUMBER on: they wrap */
#define FIRST_NUMBER  (0U - 16)
#define CHUNK_MOST    (16 + 4 * 1000)
#define PACKET_MOST   (8 * CHUNK_MOST)
#define MODEL_BYTES   4096 /* of an input, that the model gets */
#define MODEL_PACKETS (MODEL_BYTES / RECORD + 1)

enum { LAST = 1, FIRST = 2, UNORDERED = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- chunks ---- */

static uint32_t len_of(uint32_t tsn)
{
	return tsn % 5 ? 4 + tsn % 7 : 4000 - tsn % 11 * 4;
}

static void octets_put(uint8_t *out, uint32_t tsn)
{
	uint32_t len = len_of(tsn);

	for (uint32_t i = 0; i < len; i++)
		out[i] = (uint8_t)(i < 4 ? tsn >> (24 - 8 * i) : tsn * 3 + i);
}

static uint32_t chunk_put(uint8_t *out, const uint8_t *r)
{
	uint32_t tsn = FIRST_NUMBER + r[1] % NUMBERS, len = len_of(tsn);

	memset(out, 0, 16);
	out[1] = r[0] & (LAST | FIRST | UNORDERED);
	out[2] = (uint8_t)((16 + len) >> 8);
	out[3] = (uint8_t)(16 + len);
	for (int i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(tsn >> (24 - 8 * i));
	out[9] = r[2] & 1;
	out[11] = r[2] >> 1 & 1;
	octets_put(out + 16, tsn);
	while (len % 4)
		out[16 + len++] = 0;
	return 16 + len;
}

/* The octets are those of consecutive chunks. */
static void check_message(struct view message)
{
	struct cursor c = cursor_over_view(message);
	uint32_t tsn = cursor_u32_be(&c);
	uint8_t octets[4096];

	c = cursor_over_view(message);
	while (cursor_left(&c)) {
		struct view got = cursor_view(&c, len_of(tsn));

		assert(!c.failed);
		octets_put(octets, tsn++);
		assert(memcmp(got.at, octets, got.len) == 0);
	}
}

/* ---- the model: chunks by their number, and packets that wait for some of them ---- */

struct model_chunk {
	enum { NONE, HELD, DONE } state;
	uint8_t flags, stream, seq;
	unsigned packet;
};

struct model {
	struct model_chunk chunks[2][NUMBERS];
	unsigned waiting[MODEL_PACKETS]; /* by packet */
	bool has_carried[MODEL_PACKETS];
	unsigned packets;
	uint64_t messages;
	uint8_t want[NUMBERS],
		want_count; /* number of the first chunk of each message, per packet */
};

static bool is_joined(const struct model_chunk *a, const struct model_chunk *b)
{
	return a->state == HELD && b->state == HELD && !(a->flags & LAST) && !(b->flags & FIRST) &&
	       a->stream == b->stream && !((a->flags ^ b->flags) & UNORDERED) &&
	       ((a->flags & UNORDERED) || a->seq == b->seq);
}

static void model_done(struct model *m, struct model_chunk *c)
{
	c->state = DONE;
	m->has_carried[c->packet] = true;
	m->waiting[c->packet]--;
}

static void model_chunk(struct model *m, unsigned flow, const uint8_t *r)
{
	struct model_chunk *all = m->chunks[flow];
	unsigned at = r[1] % NUMBERS, head = at, tail = at;

	if (all[at].state != NONE)
		return;
	all[at] = (struct model_chunk){ HELD, r[0] & 7, r[2] & 1, r[2] >> 1 & 1, m->packets };
	m->waiting[m->packets]++;
	while (head && is_joined(&all[head - 1], &all[head]))
		head--;
	while (tail + 1 < NUMBERS && is_joined(&all[tail], &all[tail + 1]))
		tail++;
	if (!(all[head].flags & FIRST) || !(all[tail].flags & LAST))
		return;
	m->messages++;
	m->want[m->want_count++] = (uint8_t)head;
	for (unsigned i = head; i <= tail; i++)
		model_done(m, &all[i]);
}

/* What the counters must be when no packet is being read. */
static void check_model(const struct sctp *t, const struct model *m, uint64_t empty)
{
	const struct sctp_counters *c = sctp_counters(t);
	uint64_t carried = 0, held = 0, stale;

	for (unsigned p = 0; p < m->packets; p++) {
		held += m->waiting[p] > 0;
		carried += m->waiting[p] == 0 && m->has_carried[p];
	}
	stale = m->packets - empty - carried - held;
	assert(counter_get(&c->given) == m->packets);
	assert(counter_get(&c->empty) == empty);
	assert(counter_get(&c->carried) == carried);
	assert(counter_get(&c->stale) == stale);
	assert(counter_get(&c->messages) == m->messages);
	assert(counter_get(&c->timed_out) + counter_get(&c->evicted) + counter_get(&c->oversize) ==
	       0);
}

/* ---- packets ---- */

/* What was handed on of one packet: the number of the first chunk of each message. */
struct heard {
	uint8_t first[NUMBERS], count;
};

static void hear(void *ctx, const struct sctp_packet *packet, struct view message)
{
	struct cursor c = cursor_over_view(message);
	struct heard *h = ctx;

	assert(packet->src.port < 2);
	check_message(message);
	h->first[h->count++ % NUMBERS] = (uint8_t)(cursor_u32_be(&c) - FIRST_NUMBER);
}

static uint64_t ended(const struct sctp *t)
{
	const struct sctp_counters *c = sctp_counters(t);

	return counter_get(&c->carried) + counter_get(&c->empty) + counter_get(&c->stale) +
	       counter_get(&c->timed_out) + counter_get(&c->evicted) + counter_get(&c->oversize);
}

/* The records of one packet. @return octets of them. */
static size_t packet_records(const uint8_t *data, size_t size)
{
	size_t n = 0;

	while (size - n >= RECORD && n < 8 * RECORD) {
		n += RECORD;
		if (data[n - RECORD] & 8)
			break;
	}
	return n;
}

static void add(struct sctp *t, const uint8_t *data, size_t n, uint64_t now_us)
{
	struct sctp_packet p = { .ts_us = now_us };
	uint8_t *bytes = malloc(PACKET_MOST), *exact;
	uint32_t len = 0;

	assert(bytes);
	for (size_t i = 0; i < n; i += RECORD)
		if (data[i + 5] != 255) /* a packet may have no DATA */
			len += chunk_put(bytes + len, data + i);
	exact = malloc(len ? len : 1);
	assert(exact);
	memcpy(exact, bytes, len);
	p.src.family = p.dst.family = FAMILY_IPV6;
	p.src.port = data[0] >> 4 & 1;
	p.chunks = (struct view){ exact, len };
	sctp_add(t, &p);
	free(exact);
	free(bytes);
}

static void fuzz_tight(const uint8_t *data, size_t size)
{
	static const struct sctp_options tight = { 5, SCTP_MESSAGE, SCTP_TIMEOUT_US };
	uint64_t now_us = 1000000000;
	struct heard h;
	struct sctp *t;
	size_t n;

	assert(sctp_new(&t, &tight, hear, &h) == HT_OK);
	for (; (n = packet_records(data, size)); data += n, size -= n) {
		now_us += (uint64_t)data[3] << (data[4] % 24);
		if (data[0] & 128)
			sctp_sweep(t, now_us);
		else
			add(t, data, n, now_us);
		assert(ended(t) <= counter_get(&sctp_counters(t)->given));
		assert(counter_get(&sctp_counters(t)->given) - ended(t) <= 5);
	}
	sctp_drain(t);
	assert(ended(t) == counter_get(&sctp_counters(t)->given));
	sctp_free(t);
}

static void fuzz_model(const uint8_t *data, size_t size)
{
	static const struct sctp_options roomy = { 2 * NUMBERS, SCTP_MESSAGE, SCTP_TIMEOUT_US };
	struct model *m = calloc(1, sizeof(*m));
	uint64_t empty = 0;
	struct heard h;
	struct sctp *t;
	size_t n;

	assert(m && sctp_new(&t, &roomy, hear, &h) == HT_OK);
	for (; (n = packet_records(data, size)); data += n, size -= n) {
		bool has_data = false;

		h.count = m->want_count = 0;
		add(t, data, n, 1000000000);
		for (size_t i = 0; i < n; i += RECORD) {
			if (data[i + 5] == 255)
				continue;
			has_data = true;
			model_chunk(m, data[0] >> 4 & 1, data + i);
		}
		empty += !has_data;
		m->packets++;
		assert(h.count == m->want_count && memcmp(h.first, m->want, h.count) == 0);
		check_model(t, m, empty);
	}
	sctp_free(t);
	free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_tight(data, size);
	fuzz_model(data, size < MODEL_BYTES ? size : MODEL_BYTES);
	return 0;
}
