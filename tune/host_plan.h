/**
 * @file
 * The plan for a whole host: what we use, where it runs, what of the host should change and what
 * about it hurts. Facts and wishes go in; nothing is written, and the same input gives the same
 * plan. Threads: any.
 */
#pragma once
#include "tune/change.h"
#include "tune/knobs.h"
#include "tune/placement.h"
#include "tune/plan.h"

#define WISH_PORTS 64

/* A mirror port of the configuration; as many as there are NICs in the facts, in that order. */
struct mirror_wish {
	unsigned threads;	/* 0: to be decided */
	uint64_t ring;		/* octets of each thread; 0: to be decided */
	uint64_t packets_per_s; /* 0: unknown */
};

struct tune_wish {
	struct plan_wish sizes; /* its cap_threads are filled in by the plan */
	struct mirror_wish mirrors[FACTS_NICS];
	unsigned ports[WISH_PORTS]; /* that we listen on */
	unsigned port_count;
	bool use_siblings;   /* each hardware thread counts as a core */
	bool is_split;	     /* capture threads run beside the cores of their interrupts */
	bool may_management; /* the NIC of the default route may be tuned too */
	char notrack[512];   /* UDP ports to keep out of connection tracking, as tune/notrack.h
				has them; empty: that is not asked for */
};

struct host_plan {
	struct plan sizes;
	struct placement placement;
	uint64_t rings[FACTS_NICS];  /* octets of each thread */
	struct tune_change *changes; /* in the order of writing */
	unsigned change_count, change_room;
	char **texts; /* why changes are blocked, one for each that was found to be at last */
	unsigned text_count;
	struct findings findings;
};

/** @return host_plan_free() it; NULL: no memory. The facts must outlive it. */
struct host_plan *host_plan_make(const struct facts *f, const struct tune_wish *wish);
void host_plan_free(struct host_plan *p);

/* ---- parts of it, in files of their own ---- */

void plan_changes(const struct facts *f, const struct tune_wish *wish, struct host_plan *p);
void plan_findings(const struct facts *f, const struct tune_wish *wish, struct host_plan *p);

/** Packets per second expected of a NIC: as configured, or by its speed. */
uint64_t plan_rate(const struct mirror_wish *wish, const struct nic *nic);
