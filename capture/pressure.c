/* The rules: where pressure begins, how it grows, and which sixteenth a message is of. */
#include "capture/pressure.h"

#include <stddef.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SPOOL_CALM 80 /* percent of the spool that ask for nothing */
/*
 * A spool that takes nothing, though it is not full: everything but calls goes, which have what
 * memory is left.
 */
#define SPOOL_REFUSES ((SHED_CLASSES - 1) * SHED_STEPS)
#define ROOM_SHARE    4 /* memory is short when fewer blocks than this part are free */
#define ROOM_LEAST    2
/*
 * Memory asks for half of the calls at most: it is short for a moment, and that must not cost all
 * calls of the time that the level is held. Where there is no block at all nothing can be kept
 * anyway.
 */
#define MEMORY_MOST (PRESSURE_MOST - SHED_STEPS / 2)
/* The same everywhere and always, so that servers that see parts of a dialog agree; no other hash
 * has it. */
#define SEED 0x7368656464696e67ULL

void pressure_ask(struct pressure *p, unsigned level, uint64_t now_us)
{
	unsigned now = pressure_level(p);

	if (level < now) {
		if (level > p->highest)
			p->highest = level;
		if (now_us - p->since_us < PRESSURE_HOLD_US)
			return;
		now = p->highest;
		p->highest = level;
	} else {
		now = level;
		p->highest = 0;
	}
	p->since_us = now_us;
	atomic_store_explicit(&p->level, now, memory_order_relaxed);
}

/* From 0 at @p calm to PRESSURE_MOST at @p full. */
static unsigned share(uint64_t used, uint64_t calm, uint64_t full)
{
	if (used <= calm)
		return 0;
	return used >= full ? PRESSURE_MOST
			    : (unsigned)((used - calm) * PRESSURE_MOST / (full - calm));
}

unsigned pressure_of_spool(uint64_t bytes, uint64_t max_bytes, bool is_ok)
{
	unsigned level = share(bytes, max_bytes / 100 * SPOOL_CALM, max_bytes);

	return is_ok || level > SPOOL_REFUSES ? level : SPOOL_REFUSES;
}

unsigned pressure_of_memory(unsigned free_blocks, unsigned blocks)
{
	unsigned room = blocks / ROOM_SHARE > ROOM_LEAST ? blocks / ROOM_SHARE : ROOM_LEAST;
	unsigned level = free_blocks >= room ? 0 : share(room - free_blocks, 0, room);

	return level < MEMORY_MOST ? level : MEMORY_MOST;
}

static uint64_t addr_hash(const struct addr *a)
{
	return XXH3_64bits_withSeed(a, offsetof(struct addr, port) + sizeof(a->port), SEED);
}

static unsigned step_of(const struct msg *m, struct view dialog)
{
	uint64_t hash = dialog.len ? XXH3_64bits_withSeed(dialog.at, dialog.len, SEED)
				   : addr_hash(&m->src) + addr_hash(&m->dst);

	return (unsigned)(hash >> 32) % SHED_STEPS;
}

bool pressure_sheds(unsigned level, unsigned class, const struct msg *m, struct view dialog)
{
	unsigned below = (class - 1) * SHED_STEPS;

	return level > below && step_of(m, dialog) < level - below;
}
