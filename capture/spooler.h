/**
 * @file
 * ht-spool: takes sealed blocks from the workers' rings, appends them to the spool, gives them back
 * and wakes the writers. It also says how much pressure the spool is under. Threads: spooler_run()
 * is ht-spool; spooler_finish() comes from main.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/pressure.h"

struct spool;
struct worker;
struct writer;

struct spooler {
	struct spool *spool;
	struct worker **workers;
	unsigned worker_count;
	struct writer **writers;     /* by their index, which streams name */
	int wake_fd;		     /* eventfd; workers write to it */
	uint64_t spool_max;	     /* octets that the spool takes at most */
	struct pressure pressure;    /* the spool's */
	uint64_t tended_us;	     /* monotonic; ht-spool only, as what follows */
	unsigned told[SHED_REASONS]; /* classes that are shed, as the log has it */
	_Atomic bool finish;
	_Atomic uint64_t deadline_us; /* monotonic; after it what cannot be appended is given up */
};

void spooler_run(struct spooler *s);

/** The level that a reason asks for now, of memory that of the thread that has least. Threads: any.
 */
unsigned spooler_pressure(const struct spooler *s, enum shed_reason reason);

/** No worker will seal any more: append what is there, until @p deadline_us at the latest, then
 * return from spooler_run(). */
void spooler_finish(struct spooler *s, uint64_t deadline_us);
