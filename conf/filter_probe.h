/**
 * @file
 * One look at a text instead of one for each expression that is to be found in it: which of them
 * can match it by its first octets, and which pairs of octets it has at all.
 *
 * Threads: a probe is constant once built; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "conf/filter.h"
#include "conf/filter_hints.h"

#define FILTER_MAX_PROBES 8
#define PROBE_WORDS	  4   /* of 64 expressions each */
#define PROBE_LEAST	  4   /* expressions for which a look is worth it */
#define PROBE_MAX_OCTETS  256 /* of a text whose pairs are looked at */

/* The expressions that are looked for in one field. */
struct filter_probe {
	struct filter_operand field;
	uint32_t words; /* in use */
	bool has_pairs; /* enough of them have a literal */
	/* Bit per expression: may this octet stand at this position; may the text be so long? */
	uint64_t (*front)[256][PROBE_WORDS]; /* HINT_MAX_FRONT of them */
	uint64_t ends[HINT_MAX_FRONT + 1][PROBE_WORDS];
};

/* What a look has found. */
struct filter_probed {
	uint64_t may[PROBE_WORDS];
	uint64_t pairs; /* bit per hash of two octets side by side */
};

/** Give the expressions of a program their probes. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int filter_probes_build(struct filter_program *program);
void filter_probes_free(struct filter_program *program);

/** Look at a text. */
void filter_probe_look(const struct filter_probe *probe, const uint8_t *text, size_t len,
		       struct filter_probed *out);

/** May the expression of a test, which has a probe, match? False only if it cannot. */
static inline bool filter_probe_allows(const struct filter_test *t, const struct filter_probed *p)
{
	return (p->may[t->probe_bit / 64] >> (t->probe_bit % 64) & 1) && !(t->pairs & ~p->pairs);
}
