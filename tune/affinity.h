/**
 * @file
 * Which CPUs a thread of this process may run on. A thread is found by its name, which is what a
 * plan knows it by.
 *
 * The kernel cuts what is asked for to the cpuset of the process without saying so: what came out
 * is read back. Threads: any; no state.
 */
#pragma once
#include <sys/types.h>

#include "conf/err.h"
#include "tune/cpus.h"

/** @return the thread's id, -ESRCH if no thread has that name, another -errno. */
HT_MUST_CHECK int affinity_find(const char *name);

/** @param tid  0: the calling thread. @return HT_OK, -ESRCH, another -errno. */
HT_MUST_CHECK int affinity_read(pid_t tid, struct cpus *out);

/**
 * Have a thread run on these CPUs only.
 *
 * @param got  What it may run on now, whatever the answer.
 * @return HT_OK if that is @p want; HT_EFULL if the process's cpuset took some away; -EINVAL if it
 *         would have left none, and nothing has changed; -EPERM for a thread of somebody else.
 */
HT_MUST_CHECK int affinity_set(pid_t tid, const struct cpus *want, struct cpus *got);
