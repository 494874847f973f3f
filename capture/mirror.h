/**
 * @file
 * The sources of packets of a server, entries of `capture`: opened while there are rights to,
 * a thread (ht-cap-N) for each ring, handle or file. Threads: what is here is main's, but for
 * mirror_sum() (any).
 */
#pragma once
#include <stdbool.h>

#include "capture/thread.h"
#include "conf/conf.h"
#include "conf/err.h"

struct capture_fit;
struct memory_use;
struct mirror;
struct stats_packets;
struct worker;

#define MIRROR_MAX_THREADS 64

/**
 * Open all of them; they capture from here on, into their rings.
 *
 * @param conf  Lives as long.
 * @param fits  What each of them gets, see capture/tuning.h.
 * @return HT_OK, or an error after a line in the log. mirror_close() it. @p out is NULL if there
 * are no sources, which all functions here take.
 */
HT_MUST_CHECK int mirror_open(struct mirror **out, const struct conf *conf,
			      const struct capture_fit *fits);

unsigned mirror_thread_count(const struct mirror *m);

/** A thread, once it is started, for its name and clock. */
const struct thread *mirror_thread(const struct mirror *m, unsigned i);

/** Give one of the threads its worker. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int mirror_attach(struct mirror *m, unsigned thread, struct worker *worker);

/** All of them have one. @return HT_OK or -errno; mirror_stop() is right after either. */
HT_MUST_CHECK int mirror_start(struct mirror *m);

/** Stop and wait for all threads; what they have is sealed then. */
void mirror_stop(struct mirror *m);

/** What became of the packets of a source, @p source counted from the first listener. @return false
 * if that is a listener. */
bool mirror_sum(const struct mirror *m, unsigned source, struct stats_packets *out);

/** Add what packets are put together in. */
void mirror_memory(const struct mirror *m, struct memory_use *sum);

void mirror_close(struct mirror *m);
