/**
 * @file
 * Which core does what: queue, interrupt, capture thread; writers and housekeeping elsewhere. A
 * pure function of facts and wishes: the same input gives the same placement. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tune/cpus.h"
#include "tune/facts.h"

#define PLACE_THREADS 64

struct place_nic_wish {
	const struct nic *nic;
	unsigned threads;	/* 0: decided here */
	uint64_t packets_per_s; /* 0: unknown */
};

struct place_wish {
	struct place_nic_wish nics[FACTS_NICS];
	unsigned nic_count;
	unsigned hep_threads; /* that need a core beside those of the NICs */
	bool use_siblings;    /* each thread of a core counts as a core */
	bool is_split;	      /* threads beside their interrupts instead of on their cores */
};

enum place_mode {
	PLACE_QUEUES,	    /* A: several queues, an interrupt each */
	PLACE_ONE_QUEUE,    /* B: one queue, spread by software */
	PLACE_THREADS_ONLY, /* C: no interrupt of ours to be seen */
	PLACE_NOTHING	    /* D: one CPU */
};

struct place_nic {
	const struct nic *nic;
	enum place_mode mode;
	unsigned threads;
	unsigned cores;		     /* distinct ones of them */
	int core[PLACE_THREADS];     /* of thread t; -1: not pinned */
	int irq_core[PLACE_THREADS]; /* of the interrupts of thread t's queues; of the only queue:
					[0]; -1: none of ours */
	struct cpus pool;	     /* what the threads could be on */
	struct cpus rps;	     /* CPUs to spread over in software; empty: off */
	unsigned channels;	     /* wanted of the NIC; 0: as they are */
	bool is_mismatch; /* queues have interrupts, but not one each: these stay as they are */
	bool is_split;	  /* PLACE_QUEUES: threads were to be beside their interrupts */
	unsigned fewer;	  /* threads than there were if it was not */
};

struct placement {
	bool use_siblings, is_split;
	struct cpus prime;	  /* one CPU for each core that we may run on */
	struct cpus housekeeping; /* empty: there is one core */
	struct cpus writers;
	bool writers_share; /* with housekeeping */
	struct cpus spare;  /* cores that nobody has */
	struct cpus idle;   /* siblings of the cores of capture threads, and of those beside */
	unsigned nic_count;
	struct place_nic nics[FACTS_NICS];
	unsigned hep_threads;
	int hep_core[PLACE_THREADS]; /* -1: not pinned */
};

void placement_make(const struct facts *f, const struct place_wish *wish, struct placement *out);

/** CPU for an interrupt of @p p's NIC; -1: it stays where it is. */
int placement_irq_cpu(const struct placement *all, const struct place_nic *p,
		      const struct nic_irq *irq);

/** How many threads of a NIC are beside their interrupts, not on the core of these. */
unsigned placement_apart(const struct place_nic *p);

/**
 * Interrupts that could not be moved stay where they are, and threads go to them: thread t to the
 * core of the interrupts of its queues, if that is one which we may run on and no other thread is
 * at its own interrupt there. Who had that core changes places with it; the others stay. Where
 * software spreads a single queue over several threads nobody moves.
 *
 * With is_split it goes to a free core beside that one. Where there is none it stays, if no
 * interrupt that could not be moved is on its core; else it does as without.
 *
 * @param f  As it is now, with the NICs that @p p points to. Interrupts that are where they were
 *           wanted change nothing.
 */
void placement_follow(const struct facts *f, struct placement *p);

/** How many of a NIC's threads are where the interrupts of their queues are, or with is_split
 * beside them. */
unsigned placement_near(const struct facts *f, const struct placement *all,
			const struct place_nic *p);

/** Two to four lines for each NIC, as an operator reads them. */
void placement_print(const struct facts *f, const struct placement *p, FILE *to);

/** The line that says mode and threads alone. */
void placement_print_mode(const struct place_nic *p, FILE *to);

/* ---- what its parts share ---- */

/** Those of @p cores that share the third-level cache of @p cpu; where that is unknown its node;
 * where that is unknown too all. */
struct cpus placement_beside(const struct facts *f, const struct cpus *cores, int cpu);

/** Fill in what nobody has, from what the others have. */
void placement_count_left(const struct facts *f, struct placement *p);
