/**
 * @file
 * The configuration as wishes, the facts of the host, and the plan that comes of them: what a
 * server places itself by and what `heptap tune` shows and does. Threads: main.
 */
#pragma once
#include "conf/conf.h"
#include "tune/host_plan.h"

struct tuning {
	const char *nics[FACTS_NICS]; /* interfaces of `capture`, the configuration's strings */
	unsigned nic_count;
	struct tune_wish wish;
	struct facts *facts;
	struct host_plan *plan;
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
void tuning_fini(struct tuning *t);
