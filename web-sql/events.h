/**
 * @file
 * Events: what changed in the numbers of the process since somebody was last told, each change
 * once, as one JSON object. No sockets and no clock: who is told, and when, is web-sql/notify.h.
 *
 * Every object has `event` (README lists them), `id` (grows by one),
 * `at` (UTC) and `node`; the rest is of the event. Threads: main, registered with RCU.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"

struct events;
struct stats;
struct stats_sources;

#define EVENTS_DB_GRACE_US (10 * UINT64_C(1000000)) /* for the first connections of a start */
#define EVENTS_LOSS_US	   (10 * UINT64_C(1000000)) /* losses are told no more often */
#define EVENTS_AGENTS_MOST 32	/* told one by one; if more change at once, their number is */
#define EVENTS_TEXT_MOST   1024 /* octets of a complaint */

/* The two clocks at one moment. */
struct events_time {
	uint64_t wall_us, mono_us;
};

/* @p json: one line without its end; it and @p name are gone afterwards. */
typedef void events_fn(void *ctx, const char *name, uint64_t id, const char *json);

/* Who gets what a call makes. */
struct events_to {
	events_fn *fn;
	void *ctx;
};

/**
 * @param from  Lives as long as the events do; agents, names of sources and node are read.
 * @param now   About the start of the process: a database that was not up yet is no event for
 *              EVENTS_DB_GRACE_US.
 * @return HT_OK or -ENOMEM; events_free() it.
 */
HT_MUST_CHECK int events_new(struct events **out, const struct stats_sources *from,
			     struct events_time now);
void events_free(struct events *e);

/** An agent is silent after @p us; 0: none is. */
void events_silent_after(struct events *e, uint64_t us);

/** Nobody was listening until now: all was well, and losses count from here. */
void events_start(struct events *e, const struct stats *st, struct events_time now);

/** Tell what changed since the last look, or since events_start(). */
void events_look(struct events *e, const struct stats *st, struct events_time now,
		 struct events_to to);

/** Nothing follows: tell what was lost since, however soon. */
void events_last(struct events *e, const struct stats *st, struct events_time now,
		 struct events_to to);

/** Tell what was wrong at the last look: for one who comes while others listen. */
void events_wrong(struct events *e, const struct stats *st, struct events_time now,
		  struct events_to to);

/** The configuration was read again. @p text: complaints, or remarks, or "". */
void events_reload(struct events *e, bool is_taken, const char *text, struct events_time now,
		   struct events_to to);

/** How many were made, and how many could not be for want of memory. */
uint64_t events_made(const struct events *e);
uint64_t events_unmade(const struct events *e);
