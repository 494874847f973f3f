/**
 * @file
 * What memory is used for, by group: the sum of what its owners say, the most it was, and a line in
 * the log when a group comes near its limit.
 *
 * Owners count by themselves what comes and goes (conf/gauge.h); here they are asked, which takes
 * no lock and stops nobody. One more is a line in the table of memory.c.
 *
 * Threads: main.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "web-sql/stats.h"

struct agents;
struct conf;
struct first;
struct http;
struct listener;
struct mirror;
struct rcu_table;
struct snapshot;
struct spool;
struct worker;

#define MEMORY_HIGH 80 /* % of its limit that a group passes to be worth a line */
#define MEMORY_LOW  70 /* % that it is below, to be told of again */

/* The parts of the server, all there before memory_look(); NULL: there is none. */
struct memory {
	const struct conf *conf;
	struct snapshot *const *snapshot; /* main is who swaps it */
	struct worker *const *workers;
	unsigned worker_count;
	struct listener *const *listeners;
	unsigned listener_count;
	const struct mirror *mirror;
	const struct spool *spool;
	const struct agents *agents;
	const struct first *first;
	const struct rcu_table *calls, *media, *seen;
	struct http *http;
	/* of each group, as of the last look */
	uint64_t max_used[STATS_MAX_MEMORY];
	bool is_high[STATS_MAX_MEMORY];
};

/** Look at all groups: keep the most of those that do not by themselves, and tell of those that
 * pass MEMORY_HIGH or are below MEMORY_LOW again. Each second. */
void memory_look(struct memory *m);

/** The groups that there are, as they are now. @p out: STATS_MAX_MEMORY. @return how many. */
unsigned memory_take(struct memory *m, struct stats_memory *out);

/** All of it as a table in the log, with what the process has. */
void memory_dump(struct memory *m);
