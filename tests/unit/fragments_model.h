/**
 * @file
 * What becomes of fragments, octet by octet, without room and time coming to an end: what
 * capture/fragments.c is compared with.
 */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "capture/fragments.h"

#define MODEL_MOST 512 /* octets of a datagram, at most */
#define MODEL_REFS 32  /* datagrams */

struct ref {
	struct fragment first; /* who it is */
	uint8_t bytes[MODEL_MOST], is_there[MODEL_MOST];
	uint32_t total, fragments;
	bool is_done, is_discarded;
	uint8_t proto;
};

struct model {
	struct ref refs[MODEL_REFS];
	size_t count;
	struct fragments_sums want;
};

static inline struct ref *ref_get(struct model *m, const struct fragment *f)
{
	bool is_4 = f->src.family == FAMILY_IPV4;

	for (size_t i = 0; i < m->count; i++) {
		const struct fragment *g = &m->refs[i].first;

		if (g->id == f->id && g->src.family == f->src.family &&
		    memcmp(g->src.ip, f->src.ip, is_4 ? 4 : 16) == 0 &&
		    (!is_4 || g->proto == f->proto))
			return &m->refs[i];
	}
	assert(m->count < MODEL_REFS);
	m->refs[m->count].first = *f;
	return &m->refs[m->count++];
}

static inline uint32_t ref_end(const struct ref *r)
{
	uint32_t end = MODEL_MOST;

	while (end && !r->is_there[end - 1])
		end--;
	return end;
}

static inline void ref_discard(struct model *m, struct ref *r)
{
	m->want.overlapping += r->fragments + 1;
	r->fragments = 0;
	r->is_discarded = true;
}

/* @return whether it is the one that makes the datagram whole. */
static inline bool ref_take(struct model *m, struct ref *r, const struct fragment *f)
{
	uint32_t end = f->offset + f->payload.len, there = 0, same = 0;
	bool is_6 = f->src.family == FAMILY_IPV6, is_wrong;

	is_wrong = r->total ? (f->more ? end > r->total : end != r->total)
			    : (!f->more && ref_end(r) > end);
	for (uint32_t i = f->offset; i < end; i++) {
		there += r->is_there[i];
		same += r->is_there[i] && r->bytes[i] == f->payload.at[i - f->offset];
	}
	if (is_wrong && !is_6) {
		m->want.malformed++;
		return false;
	}
	if (!is_wrong && there == f->payload.len && (f->more || r->total) &&
	    (!is_6 || same == there)) {
		m->want.duplicate++;
		return false;
	}
	if (is_6 && (is_wrong || there)) {
		ref_discard(m, r);
		return false;
	}
	m->want.trimmed += there > 0;
	for (uint32_t i = f->offset; i < end; i++) {
		if (!r->is_there[i])
			r->bytes[i] = f->payload.at[i - f->offset];
		r->is_there[i] = 1;
	}
	r->fragments++;
	if (!f->more)
		r->total = end;
	if (f->offset == 0)
		r->proto = f->proto;
	for (uint32_t i = 0; i < r->total; i++)
		if (!r->is_there[i])
			return false;
	return r->total;
}

static inline bool model_add(struct model *m, const struct fragment *f, const struct ref **out)
{
	struct ref *r = ref_get(m, f);

	m->want.given++;
	if (r->is_done)
		m->want.duplicate++;
	else if (r->is_discarded)
		m->want.overlapping++;
	else if (ref_take(m, r, f)) {
		m->want.completed++;
		m->want.parts += r->fragments;
		r->fragments = 0;
		r->is_done = true;
		*out = r;
		return true;
	}
	return false;
}

/* What it must add up to. */
static inline void model_sum(struct model *m)
{
	m->want.held = 0;
	for (size_t i = 0; i < m->count; i++)
		m->want.held += m->refs[i].fragments;
}
