/**
 * @file
 * The configuration as wishes, the facts of the host, and the plan that comes of them: what a
 * server places itself by and what `heptap tune` shows and does. Threads: main.
 */
#pragma once
#include "conf/conf.h"
#include "tune/host_plan.h"

/* What an entry of `capture` gets. */
struct capture_fit {
	unsigned threads;
	uint64_t ring;	  /* octets of each thread */
	int nic;	  /* of the plan; -1: a file, or more interfaces than it has */
	unsigned first;	  /* the number that its first thread has among those of the NIC */
	int node;	  /* memory that is near; -1: all is */
	bool is_by_queue; /* thread t takes what comes in by queue t */
};

struct tuning {
	const char *nics[FACTS_NICS]; /* interfaces of `capture`, the configuration's strings */
	unsigned nic_count;
	struct tune_wish wish;
	struct facts *facts;
	struct host_plan *plan;
	struct capture_fit captures[CONF_MAX_CAPTURES];
};

/**
 * Look at the host and plan; nothing of it is changed.
 *
 * @param root  "" for this machine, or the directory of a recorded tree; lives as long.
 * @param conf  Lives as long.
 *
 * @return tuning_fini() it. HT_OK, -ENOMEM.
 */
HT_MUST_CHECK int tuning_init(struct tuning *t, const struct conf *conf, const char *root);

/** Once more, for a host that has been changed since. @return As tuning_init(). */
HT_MUST_CHECK int tuning_renew(struct tuning *t, const struct conf *conf, const char *root);

/** Does it reset the interface, so that interrupts may be others and lose what they were set to? Or
 * does the plan have it before those? Then it is done first, and the plan made anew. */
bool tuning_is_early(const struct tune_change *c);

/** Threads of all entries of `capture`. */
unsigned tuning_capture_threads(const struct tuning *t, const struct conf *conf);

void tuning_fini(struct tuning *t);
