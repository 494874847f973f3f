/**
 * @file
 * What runs where, by name: each thread of a server with the CPUs that it was to get and those that
 * it has, and the queue interrupts of its NICs with their CPUs. For reports and for whoever
 * watches whether it stays so. Threads: main writes, before the others run; any reads then.
 */
#pragma once
#include <sys/types.h>

#include "conf/err.h"
#include "tune/placement.h"

#define PLACED_THREADS (2 * PLACE_THREADS + 32)

struct placed_thread {
	char name[16];
	bool is_pinned;		 /* to less than the process had; else wanted is that */
	bool is_there;		 /* it runs, and has been put there */
	int err;		 /* why it is not, or HT_EFULL: a cpuset took some away */
	struct cpus wanted, got; /* got: read back; empty before */
};

struct placed_irq {
	char nic[16];
	int number, queue, cpu; /* cpu: where the plan wants it */
	bool is_there;		/* it is so, or will be with the next interrupt */
};

struct placed {
	struct cpus process; /* where any thread may run that has no place */
	struct placed_thread threads[PLACED_THREADS];
	unsigned thread_count;
	struct placed_irq *irqs;
	unsigned irq_count;
};

/* A capture thread by its number: the NIC of the plan and which of its threads; nic -1: none. */
struct placed_capture {
	int nic;
	unsigned thread;
};

/* What a placement does not know. */
struct placed_wish {
	struct cpus process; /* what it may run on before any thread is put anywhere */
	const struct placed_capture *captures;
	unsigned capture_count;
	unsigned writers; /* without the one of statistics, which has its place too */
	bool may_pin;	  /* else every thread may run where the process may */
};

/** @return HT_OK or -ENOMEM. placed_fini() it. */
HT_MUST_CHECK int placed_init(struct placed *out, const struct placement *p,
			      const struct placed_wish *wish);
void placed_fini(struct placed *p);

/** What a thread may run on now; empty: cannot be read. @param tid  0: the calling thread. */
void placed_read(pid_t tid, struct cpus *out);

/** @return NULL: nothing is planned for a thread of that name. */
struct placed_thread *placed_find(struct placed *p, const char *name);

/**
 * Put a thread where it belongs, and note what came of it. Where that is impossible it may run
 * where the process may, wherever the one is that made it.
 * @param tid  0: the calling thread.
 */
void placed_settle(const struct placed *p, struct placed_thread *t, pid_t tid);
