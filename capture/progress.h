/**
 * @file
 * How far a command is: a bar that is redrawn on a terminal, a plain line now and then otherwise,
 * both on stderr. Threads: one.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *unit;	    /* of `count`: "rows", "packets" */
	uint64_t begun_us, told_us; /* monotonic */
	uint64_t first_done;
	bool is_terminal, is_drawn;
	bool is_octets; /* what is done is octets, which are told; set after progress_begin() */
};

/** Begin; @p done of the work, in any measure, is behind us already. */
void progress_begin(struct progress *p, const char *unit, uint64_t done);

/** Say that @p done of @p all (0: nobody knows) is done, and that this was @p count units so far.
 * To be called often; it writes when it is time. */
void progress_tell(struct progress *p, uint64_t done, uint64_t all, uint64_t count);

/** Say the same as the last word, whatever the time. */
void progress_last(struct progress *p, uint64_t done, uint64_t all, uint64_t count);

/** Leave the line of the bar, so that something else can be written. */
void progress_end(struct progress *p);
