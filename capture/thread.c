/* pthreads as we have them. */
#include "capture/thread.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>

#include "conf/clock.h"
#include "conf/rcu.h"
#include "tune/affinity.h"
#include "tune/placed.h"

static struct placed *places;

void thread_place(struct placed *placed)
{
	struct placed_thread *own = placed ? placed_find(placed, "heptap") : NULL;

	places = placed;
	if (own)
		placed_settle(placed, own, 0);
}

/* Before anything is allocated or made by it: memory and helpers are where it is. */
static void *thread_main(void *arg)
{
	struct thread *t = arg;

	if (t->place)
		placed_settle(t->placed, t->place, 0);
	sem_post(t->settled);
	rcu_thread_begin();
	t->run(t->ctx);
	rcu_thread_end();
	return NULL;
}

int thread_start(struct thread *t, void (*run)(void *), void *ctx, const char *format, ...)
{
	va_list args;
	sem_t settled;
	int err;

	va_start(args, format);
	vsnprintf(t->name, sizeof(t->name), format, args);
	va_end(args);
	t->run = run;
	t->ctx = ctx;
	t->placed = places;
	t->place = places ? placed_find(places, t->name) : NULL;
	t->settled = &settled;
	sem_init(&settled, 0, 0);
	err = pthread_create(&t->id, NULL, thread_main, t);
	t->is_started = err == 0;
	if (t->is_started) { /* by us, so that it has its name when we say that we are ready */
		pthread_setname_np(t->id, t->name);
		while (sem_wait(&settled) < 0) /* interrupted */
			;
	}
	sem_destroy(&settled);
	return -err;
}

void thread_join(struct thread *t)
{
	if (t->is_started)
		pthread_join(t->id, NULL);
	t->is_started = false;
}

bool thread_join_until(struct thread *t, uint64_t deadline_us)
{
	while (t->is_started && pthread_tryjoin_np(t->id, NULL) != 0) {
		if (clock_mono_us() > deadline_us)
			return false;
		poll(NULL, 0, 5);
	}
	t->is_started = false;
	return true;
}

int thread_start_rcu_helper(void)
{
	struct call_rcu_data *helper = urcu_memb_get_default_call_rcu_data();
	struct placed_thread *place = places ? placed_find(places, "ht-rcu") : NULL;
	int tid;

	if (!helper)
		return -ENOMEM;
	pthread_setname_np(urcu_memb_get_call_rcu_thread(helper), "ht-rcu");
	tid = place ? affinity_find("ht-rcu") : -ESRCH;
	if (tid > 0)
		placed_settle(places, place, tid);
	return HT_OK;
}
