/**
 * @file
 * Threads with a name, registered with RCU. Threads: what is here is main's.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"

struct placed;
struct placed_thread;

struct thread {
	pthread_t id;
	char name[16];
	void (*run)(void *ctx);
	void *ctx;
	const struct placed *placed;
	struct placed_thread *place; /* NULL: where its maker is */
	void *settled;		     /* while it starts */
	bool is_started;
};

/** From now on threads start where @p placed has their names, NULL: where main is. Main and
 * liburcu's helper are threads as well: this puts main to its place. */
void thread_place(struct placed *placed);

/** Start liburcu's helper, which would else have the name and the core of whoever needs it first.
 * Before other threads. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int thread_start_rcu_helper(void);

/** Have a thread run @p run. @p format: its name, at most 15 octets. @return HT_OK or -errno. */
__attribute__((format(printf, 4, 5))) HT_MUST_CHECK int thread_start(struct thread *t,
								     void (*run)(void *), void *ctx,
								     const char *format, ...);

/** Wait for its end, if it was started. */
void thread_join(struct thread *t);

/** The same until @p deadline_us, monotonic. @return false if it still runs then. */
HT_MUST_CHECK bool thread_join_until(struct thread *t, uint64_t deadline_us);
