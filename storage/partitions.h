/**
 * @file
 * Partitions by time: what they are called and where they end. All times are seconds since 1970,
 * UTC; a bound is the first second that is no longer in. They are compared as numbers: names of
 * days and hours, and of other people's scripts, stand side by side in a table.
 * Threads: pure.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define PARTITION_NAME 65 /* octets of a name, its end included */
#define PARTITION_DAY  86400
#define PARTITION_HOUR 3600
#define PARTITION_PAST "p_past" /* of our tables: rows older than all others */

struct partition {
	char name[PARTITION_NAME];
	uint64_t bound;
};

/** "p20261121", or "p2026112107" with a step of an hour, of the period that holds @p at. */
void partition_name(char out[PARTITION_NAME], uint64_t at, unsigned step);

/**
 * The one that follows where the last one ends: to the next end of a step, so that a table may
 * change its step. What lies between @p end and @p oldest becomes part of the first one behind it.
 */
void partition_next(struct partition *out, uint64_t end, uint64_t oldest, unsigned step);
