/* Tables of what may stand where, for all expressions of a field at once. */
#include "conf/filter_probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/filter_regex.h"

#define PAIRS_LEAST 6 /* expressions with a literal */

static uint64_t pair_bit(uint8_t a, uint8_t b)
{
	return UINT64_C(1) << ((a * 0x9e37U + b * 0x79b9U) >> 8 & 63);
}

static uint64_t pairs_of(const uint8_t *text, size_t len)
{
	uint64_t pairs = 0;

	for (size_t i = 1; i < len; i++)
		pairs |= pair_bit(text[i - 1], text[i]);
	return pairs;
}

static bool is_same(struct filter_operand a, struct filter_operand b)
{
	return a.field == b.field && a.header == b.header;
}

static bool is_probable(const struct filter_test *t)
{
	return t->op == FILTER_OP_REGEX;
}

/* How many expressions are looked for in the field of a test, and how many have a literal. */
static uint32_t count(const struct filter_program *p, struct filter_operand field,
		      uint32_t *literals)
{
	uint32_t n = 0;

	*literals = 0;
	for (uint32_t i = 0; i < p->test_count; i++) {
		const struct filter_test *t = &p->tests[i];

		if (!is_probable(t) || !is_same(t->left, field))
			continue;
		n++;
		*literals += filter_regex_hints(t->regex)->literal_len > 1;
	}
	return n;
}

static bool has_probe(const struct filter_program *p, struct filter_operand field)
{
	for (uint32_t i = 0; i < p->probe_count; i++) {
		if (is_same(p->probes[i].field, field))
			return true;
	}
	return false;
}

static void add_test(struct filter_probe *probe, struct filter_test *t, uint32_t bit)
{
	const struct filter_hints *h = filter_regex_hints(t->regex);
	uint64_t mask = UINT64_C(1) << (bit % 64);
	uint32_t word = bit / 64;

	t->probe_bit = (uint8_t)bit;
	if (probe->has_pairs)
		t->pairs = pairs_of(h->literal, h->literal_len);
	for (unsigned len = h->front_len; len <= HINT_MAX_FRONT; len++)
		probe->ends[len][word] |= mask;
	for (unsigned at = 0; at < HINT_MAX_FRONT; at++) {
		for (unsigned c = 0; c < 256; c++) {
			if (at >= h->front_len || (h->front[c] >> at & 1))
				probe->front[at][c][word] |= mask;
		}
	}
}

static int build(struct filter_program *p, struct filter_operand field, uint32_t literals)
{
	struct filter_probe *probe = &p->probes[p->probe_count];
	uint32_t bits = 0;

	probe->front = calloc(HINT_MAX_FRONT, sizeof(*probe->front));
	if (!probe->front)
		return -ENOMEM;
	probe->field = field;
	probe->has_pairs = literals >= PAIRS_LEAST;
	for (uint32_t i = p->test_count; i-- > 0 && bits < PROBE_WORDS * 64;) {
		struct filter_test *t = &p->tests[i];

		if (!is_probable(t) || !is_same(t->left, field))
			continue;
		t->probe = (uint8_t)(p->probe_count + 1);
		add_test(probe, t, bits++);
	}
	probe->words = (bits + 63) / 64;
	p->probe_count++;
	return HT_OK;
}

int filter_probes_build(struct filter_program *p)
{
	uint32_t literals;
	int err = HT_OK;

	p->probes = calloc(FILTER_MAX_PROBES, sizeof(*p->probes));
	if (!p->probes)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->test_count && err == HT_OK; i++) {
		const struct filter_test *t = &p->tests[i];

		if (is_probable(t) && p->probe_count < FILTER_MAX_PROBES &&
		    !has_probe(p, t->left) && count(p, t->left, &literals) >= PROBE_LEAST)
			err = build(p, t->left, literals);
	}
	return err;
}

void filter_probes_free(struct filter_program *p)
{
	for (uint32_t i = 0; i < p->probe_count; i++)
		free(p->probes[i].front);
	free(p->probes);
}

void filter_probe_look(const struct filter_probe *probe, const uint8_t *text, size_t len,
		       struct filter_probed *out)
{
	size_t front = len < HINT_MAX_FRONT ? len : HINT_MAX_FRONT;

	memcpy(out->may, probe->ends[front], sizeof(out->may));
	for (size_t at = 0; at < front; at++) {
		for (uint32_t word = 0; word < probe->words; word++)
			out->may[word] &= probe->front[at][text[at]][word];
	}
	out->pairs = probe->has_pairs && len <= PROBE_MAX_OCTETS ? pairs_of(text, len) : UINT64_MAX;
}
