/**
 * @file
 * ht-spool: takes sealed blocks from the workers' rings, appends them to the spool, gives them back
 * and wakes the writers. Threads: spooler_run() is ht-spool; spooler_finish() comes from main.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct spool;
struct worker;
struct writer;

struct spooler {
	struct spool *spool;
	struct worker **workers;
	unsigned worker_count;
	struct writer **writers; /* as many as the spool has live streams */
	int wake_fd;		 /* eventfd; workers write to it */
	_Atomic bool finish;
	_Atomic uint64_t deadline_us; /* monotonic; after it what cannot be appended is given up */
};

void spooler_run(struct spooler *s);

/** No worker will seal any more: append what is there, until @p deadline_us at the latest, then
 * return from spooler_run(). */
void spooler_finish(struct spooler *s, uint64_t deadline_us);
