/**
 * @file
 * How much is shed under pressure, and what of it: a level of SHED_STEPS for each class, the lowest
 * class first.
 *
 * A step is a sixteenth of the class, by a hash of the Call-ID: at a level the messages of one
 * Call-ID are all kept or all shed, by each thread and each server, so that dialogs are whole or
 * not there. Nothing is remembered of any of them.
 *
 * Threads: pure, but for struct pressure.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"
#include "hep/msg.h"

#define PRESSURE_HOLD_US 10000000

/* What one source of pressure asks for: rises at once, and falls when that was not asked for in
 * PRESSURE_HOLD_US. Threads: one asks, any reads the level. */
struct pressure {
	_Atomic unsigned level; /* 0: nothing is shed; PRESSURE_MOST: everything */
	unsigned highest;	/* asked for since then, below the level */
	uint64_t since_us;	/* monotonic */
};

static inline unsigned pressure_level(const struct pressure *p)
{
	return atomic_load_explicit(&p->level, memory_order_relaxed);
}

/** The highest class of which something is shed at a level; 0: none. */
static inline unsigned pressure_class(unsigned level)
{
	return (level + SHED_STEPS - 1) / SHED_STEPS;
}

/** @p level is asked for at @p now_us (monotonic). */
void pressure_ask(struct pressure *p, unsigned level, uint64_t now_us);

/** What a spool asks for that has @p bytes of @p max_bytes. @p is_ok: does it take blocks? */
unsigned pressure_of_spool(uint64_t bytes, uint64_t max_bytes, bool is_ok);

/** What a receive thread asks for that has @p free_blocks of @p blocks. */
unsigned pressure_of_memory(unsigned free_blocks, unsigned blocks);

/**
 * Is this message shed at this level?
 * @param class   1 to SHED_CLASSES.
 * @param dialog  What belongs together: the Call-ID or correlation id. If it is empty, the pair of
 * addresses of @p m, in either direction.
 */
bool pressure_sheds(unsigned level, unsigned class, const struct msg *m, struct view dialog);
