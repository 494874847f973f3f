/*
 * Any fragments of a few datagrams. In a table with little room each octet of a datagram that is
 * whole was given for that place of that datagram, and every fragment has exactly one end. In one
 * with much room, and at one time, each fragment does what the model says. An input is records of
 * eight octets: what to do, the id, offset, length, and the time that passes.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/fragments.h"
#include "tests/unit/fragments_model.h"

#define RECORD 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The octet of a datagram at a place; its lowest bit is free. */
static uint8_t octet_of(uint32_t id, uint32_t at)
{
	return (uint8_t)((at * 10 + at / 256 * 6 + id * 2) & 0xfe);
}

static void check_sums(const struct fragments *t)
{
	struct fragments_sums s;

	fragments_sum(t, &s);
	assert(s.given == s.held + s.parts + s.timed_out + s.evicted + s.overlapping + s.duplicate +
				  s.oversize + s.malformed);
	assert(s.held <= s.given && s.completed <= s.parts && s.trimmed <= s.given);
}

static void add(struct fragments *t, const uint8_t *r, uint64_t now_us)
{
	static uint8_t buffer[FRAGMENTS_DATAGRAM];
	uint32_t len = (uint32_t)(r[4] << 8 | r[5]) * (r[0] & 8 ? 8 : 1);
	struct fragment f = { .id = r[1] % 8,
			      .offset = (uint32_t)(r[2] << 8 | r[3]) * (r[0] & 16 ? 1 : 8),
			      .more = r[0] & 1,
			      .proto = PROTO_UDP,
			      .ts_us = now_us };
	struct datagram got;
	uint8_t *bytes = malloc(len ? len : 1); /* of its exact size */

	assert(bytes);
	f.src.family = f.dst.family = r[0] & 2 ? FAMILY_IPV4 : FAMILY_IPV6;
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = octet_of(f.id, f.offset + i) | (r[0] >> 2 & 1);
	f.payload = (struct view){ bytes, len };
	if (fragments_add(t, &f, buffer, &got)) {
		assert(got.payload.len && got.payload.len <= FRAGMENTS_DATAGRAM);
		for (uint32_t i = 0; i < got.payload.len; i++)
			assert((got.payload.at[i] & 0xfe) == octet_of(f.id, i));
	}
	free(bytes);
}

static void fuzz_tight(const uint8_t *data, size_t size)
{
	static const struct fragments_options tight = { 16, 0, FRAGMENTS_TIMEOUT_US };
	struct fragments_sums s;
	struct fragments *t;
	uint64_t now_us = 1000000000;

	assert(fragments_new(&t, &tight) == HT_OK);
	for (; size >= RECORD; data += RECORD, size -= RECORD) {
		now_us += (uint64_t)data[6] << (data[7] % 24);
		if (data[0] & 128)
			fragments_sweep(t, now_us);
		else
			add(t, data, now_us);
		check_sums(t);
	}
	fragments_drain(t);
	check_sums(t);
	fragments_sum(t, &s);
	assert(s.held == 0);
	fragments_free(t);
}

/* One that the model knows: neither alone, nor refused for what it is, nor too long for it. */
static bool is_for_model(const struct fragment *f)
{
	return f->payload.len && (f->offset || f->more) && !(f->more && f->payload.len % 8);
}

static void add_to_both(struct fragments *t, struct model *m, const uint8_t *r)
{
	static uint8_t buffer[FRAGMENTS_DATAGRAM];
	uint8_t bytes[128];
	struct fragment f = { .id = r[1] % 4,
			      .offset = r[2] % 32 * 8U,
			      .more = r[0] & 1,
			      .proto = r[0] & 4 ? PROTO_UDP : PROTO_SCTP,
			      .payload = { bytes, r[3] % 16 * (r[0] & 8 ? 8U : 1U) },
			      .ts_us = 1000000000 };
	const struct ref *want = NULL;
	struct fragments_sums sums;
	struct datagram got;

	f.src.family = f.dst.family = r[0] & 2 ? FAMILY_IPV4 : FAMILY_IPV6;
	for (uint32_t i = 0; i < f.payload.len; i++)
		bytes[i] = octet_of(f.id, f.offset + i) | (i == r[4] % 16U && (r[0] & 16));
	if (!is_for_model(&f))
		return;
	if (fragments_add(t, &f, buffer, &got)) {
		assert(model_add(m, &f, &want));
		assert(got.payload.len == want->total && got.proto == want->proto);
		assert(memcmp(got.payload.at, want->bytes, want->total) == 0);
	} else {
		assert(!model_add(m, &f, &want));
	}
	fragments_sum(t, &sums);
	model_sum(m);
	assert(memcmp(&sums, &m->want, sizeof(sums)) == 0);
}

static void fuzz_model(const uint8_t *data, size_t size)
{
	static const struct fragments_options roomy = { 64, 0, FRAGMENTS_TIMEOUT_US };
	struct model m = { 0 };
	struct fragments *t;

	assert(fragments_new(&t, &roomy) == HT_OK);
	for (; size >= RECORD; data += RECORD, size -= RECORD)
		add_to_both(t, &m, data);
	fragments_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_tight(data, size);
	fuzz_model(data, size);
	return 0;
}
