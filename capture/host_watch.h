/**
 * @file
 * The host, looked at each ten seconds by a thread of its own (ht-watch): a NIC that is set up anew
 * may hold up whoever asks it for seconds. What is wrong with it is said in the log when it begins
 * and when it is over. Threads: main calls what is here.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "conf/conf.h"
#include "conf/err.h"

struct facts;
struct host_watch;
struct mirror;
struct stats_finding;
struct thread;

/**
 * Begin. Other threads have been started and placed: where they are now is where they are to be.
 *
 * @param conf, mirror  Live as long.
 * @param facts  The NICs to watch, as they are now.
 * @return HT_OK or -errno; host_watch_stop() it. A server can do without.
 */
HT_MUST_CHECK int host_watch_start(struct host_watch **out, const struct conf *conf,
				   const struct mirror *mirror, const struct facts *facts);

/** NULL is fine here. */
void host_watch_stop(struct host_watch *w);

/** For its name and clock. */
const struct thread *host_watch_thread(const struct host_watch *w);

/** The last reading as Prometheus text; nothing before the first. @p ctx: struct host_watch. */
void host_watch_print(void *ctx, FILE *to);

/** What may be wrong, all that is known, and whether it is. @return how many. */
unsigned host_watch_findings(void *ctx, struct stats_finding *out);
