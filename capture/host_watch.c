/*
 * Two readings take turns: the thread fills one while the other is shown. The lock is held to swap
 * them and to show one, never while anything is read or logged.
 */
#include "capture/host_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "capture/mirror.h"
#include "capture/thread.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "tune/facts.h"
#include "tune/watch.h"
#include "tune/watch_judge.h"
#include "web-sql/stats.h"

#define EACH_S 10

_Static_assert(WATCH_FINDINGS <= STATS_MAX_FINDINGS, "STATS_MAX_FINDINGS is too small");
_Static_assert(WATCH_TEXT <= STATS_FINDING_TEXT, "STATS_FINDING_TEXT is too small");

struct host_watch {
	const struct conf *conf;
	const struct mirror *mirror;
	struct watch *watch; /* of the thread; its place is constant */
	struct watch_verdict verdict;
	struct watch_state state; /* of the thread */
	struct thread thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	bool is_stopping;
	struct watch_reading reading[2], *shown;
	struct watch_state shown_state;
};

/* ---- the thread ---- */

static void tell(enum watch_finding which, bool is_on, const char *text)
{
	if (is_on)
		log_warning("host: %s: %s", watch_finding_name(which), text);
	else
		log_info("host: %s: not for a minute now", watch_finding_name(which));
}

/* What the rings that capture from a NIC dropped, which only we know. */
static int64_t ring_dropped(const struct host_watch *w, const char *nic)
{
	const struct conf *c = w->conf;
	int64_t sum = 0;

	for (unsigned i = 0; i < c->capture_count; i++) {
		struct stats_packets packets = { 0 };

		if (strcmp(c->capture[i].interface, nic) == 0 &&
		    mirror_sum(w->mirror, (unsigned)c->hep_count + i, &packets))
			sum += (int64_t)packets.kernel_dropped;
	}
	return sum;
}

static void look(struct host_watch *w)
{
	struct watch_reading *before = w->shown;
	struct watch_reading *now = before == &w->reading[0] ? &w->reading[1] : &w->reading[0];
	const struct watch_place *place = watch_place(w->watch);
	uint64_t now_us = clock_mono_us();

	watch_read(w->watch, now_us, now);
	for (unsigned i = 0; i < place->nic_count; i++)
		now->nics[i].ring_dropped = ring_dropped(w, place->nics[i].name);
	watch_judge(before, now, place, &w->verdict);
	watch_remember(&w->state, &w->verdict, now_us, tell);
	pthread_mutex_lock(&w->lock);
	w->shown = now;
	w->shown_state = w->state;
	pthread_mutex_unlock(&w->lock);
}

/* @return false: it is over */
static bool wait_for_next(struct host_watch *w)
{
	struct timespec until;
	bool is_stopping;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += EACH_S;
	pthread_mutex_lock(&w->lock);
	while (!w->is_stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
		;
	is_stopping = w->is_stopping;
	pthread_mutex_unlock(&w->lock);
	return !is_stopping;
}

static void run_watch(void *ctx)
{
	struct host_watch *w = ctx;

	do
		look(w);
	while (wait_for_next(w));
}

/* ---- what main asks ---- */

const struct thread *host_watch_thread(const struct host_watch *w)
{
	return &w->thread;
}

void host_watch_print(void *ctx, FILE *to)
{
	struct host_watch *w = ctx;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	watch_print(w->shown, watch_place(w->watch), to);
	pthread_mutex_unlock(&w->lock);
}

unsigned host_watch_findings(void *ctx, struct stats_finding *out)
{
	struct host_watch *w = ctx;

	if (!w)
		return 0;
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < WATCH_FINDINGS; i++) {
		out[i].name = watch_finding_name(i);
		out[i].is_on = w->shown_state.finding[i].is_on;
		memcpy(out[i].text, w->shown_state.finding[i].text, WATCH_TEXT);
	}
	pthread_mutex_unlock(&w->lock);
	return WATCH_FINDINGS;
}

/* ---- life ---- */

static int watch_make(struct host_watch *w, const struct facts *facts)
{
	struct watch_place *place = calloc(1, sizeof(*place));
	int err = -ENOMEM;

	if (place) {
		watch_place_take(facts, place);
		err = watch_new(&w->watch, "", place);
	}
	free(place);
	return err;
}

static void lock_init(struct host_watch *w)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attributes);
	pthread_condattr_destroy(&attributes);
}

int host_watch_start(struct host_watch **out, const struct conf *conf, const struct mirror *mirror,
		     const struct facts *facts)
{
	struct host_watch *w = calloc(1, sizeof(*w));
	int err;

	*out = NULL;
	if (!w)
		return -ENOMEM;
	w->conf = conf;
	w->mirror = mirror;
	w->shown = &w->reading[0];
	lock_init(w);
	err = watch_make(w, facts);
	if (err == HT_OK)
		err = thread_start(&w->thread, run_watch, w, "ht-watch");
	if (err < 0) {
		host_watch_stop(w);
		return err;
	}
	*out = w;
	return HT_OK;
}

void host_watch_stop(struct host_watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->is_stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	thread_join(&w->thread);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	watch_free(w->watch);
	free(w);
}
