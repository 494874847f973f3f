/**
 * @file
 * What receive threads know of the configuration: one constant snapshot, swapped by RCU on reload.
 * Threads: main makes and publishes; receive threads read it inside a read-side section; ht-rcu
 * frees the old one.
 */
#pragma once
#include <stdint.h>

#include "capture/legs.h"
#include "conf/conf.h"
#include "conf/rcu.h"
#include "conf/rules.h"
#include "hep/sip.h"

struct filter;

struct snapshot {
	struct rcu_head rcu;
	struct conf
		*owned; /* what the listeners below may point into; NULL for the first snapshot */
	const struct conf_listener *
		listener[CONF_MAX_SOURCES]; /* by number of the running source; NULL: no listener */
	struct view source[CONF_MAX_SOURCES]; /* names of the running sources */
	struct sip_names names;		      /* legs first, custom fields behind them */
	struct legs legs;
	uint8_t custom_fields;
	char node[104]; /* start of the node column */
	uint8_t node_len;
	uint64_t skew_us;
	uint32_t window_ms;  /* in which copies are looked for; 0: they are not */
	uint32_t generation; /* from 1, another one for each snapshot of a process */
	struct filter *filter;
	const struct rules *rules;
	uint16_t rule_number[CONF_MAX_FILTERS]; /* of each rule of the filter */
	int16_t rule_index[RULES_MAX];		/* the other way round; -1: it is not in this one */
};

/**
 * Make a snapshot of what a reload may change; the rest stays as it was at the start.
 *
 * @param start  What the process was started with; lives as long as the process.
 * @param fresh  Read again; taken over, even on failure. NULL at the start. A listener that it does
 * not name keeps what it had.
 * @param rules  Where its rules get their numbers; lives as long as any snapshot.
 * @return HT_OK, -ENOMEM, or another error for what conf_read() does not let pass.
 */
HT_MUST_CHECK int snapshot_new(struct snapshot **out, const struct conf *start, struct conf *fresh,
			       struct rules *rules);

/** Free at once: nobody reads it. */
void snapshot_free(struct snapshot *s);

/** Free when all who may read it have left their section. */
void snapshot_retire(struct snapshot *s);
