/**
 * @file
 * Numbers for the names of filter rules, that outlive a reload: a rule that is there before and
 * after has the same number, so that its counters go on and the calls it chose stay its own.
 *
 * Threads: main adds; any thread reads what it has a number of.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"

struct rules;

#define RULES_MAX     1000 /* numbers; what comes later shares the last one */
#define RULES_DEFAULT 0	   /* no rule: the default action */

/** @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int rules_new(struct rules **out);
void rules_free(struct rules *r);

/**
 * The number of a rule of this name with this table ("": none is asked for).
 * @return it, or -ENOMEM. Threads: main.
 */
HT_MUST_CHECK int rules_number(struct rules *r, const char *name, const char *table);

/** How many numbers were given, from 0 on. */
unsigned rules_count(const struct rules *r);

/* Of a number that was given; they live as long as @p r. */
const char *rules_name(const struct rules *r, unsigned number);
const char *rules_table(const struct rules *r, unsigned number);
