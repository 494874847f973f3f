/* pthreads as we have them. */
#include "capture/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "conf/clock.h"
#include "conf/rcu.h"

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	rcu_thread_begin();
	t->run(t->ctx);
	rcu_thread_end();
	return NULL;
}

int thread_start(struct thread *t, void (*run)(void *), void *ctx, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	vsnprintf(t->name, sizeof(t->name), format, args);
	va_end(args);
	t->run = run;
	t->ctx = ctx;
	err = pthread_create(&t->id, NULL, thread_main, t);
	t->is_started = err == 0;
	if (t->is_started) /* by us, so that it has its name when we say that we are ready */
		pthread_setname_np(t->id, t->name);
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

	if (!helper)
		return -ENOMEM;
	pthread_setname_np(urcu_memb_get_call_rcu_thread(helper), "ht-rcu");
	return HT_OK;
}
