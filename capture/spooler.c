/* One loop over the rings; a block that cannot be appended waits here, and the workers shed when
 * theirs run out. */
#include "capture/spooler.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "storage/writer.h"

#define TEND_MS	 200
#define RETRY_MS 100

static void wait_for_blocks(struct spooler *s)
{
	struct pollfd p = { .fd = s->wake_fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, TEND_MS) == 1 && read(s->wake_fd, &n, sizeof(n)) < 0)
		log_debug("spool: %s", ht_strerror(-errno));
}

static bool is_over(const struct spooler *s)
{
	return atomic_load(&s->finish) && clock_mono_us() >= atomic_load(&s->deadline_us);
}

/* ---- pressure ---- */

unsigned spooler_pressure(const struct spooler *s, enum shed_reason reason)
{
	unsigned most = 0, level;

	if (reason == SHED_SPOOL)
		return pressure_level(&s->pressure);
	for (unsigned i = 0; i < s->worker_count; i++) {
		level = pressure_level(worker_pressure(s->workers[i]));
		if (level > most)
			most = level;
	}
	return most;
}

static void pressure_tell(struct spooler *s, enum shed_reason reason)
{
	static const char *const what[SHED_CLASSES + 1] = {
		[1] = "logs, reports and RTCP",
		[2] = "OPTIONS",
		[3] = "REGISTER",
		[4] = "SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE and the like",
		[5] = "calls",
	};
	static const char *const why[SHED_REASONS] = {
		[SHED_MEMORY] = "memory: few blocks are free",
		[SHED_SPOOL] = "spool: nearly full, or takes nothing",
	};
	unsigned class = pressure_class(spooler_pressure(s, reason));

	if (class == s->told[reason])
		return;
	if (class == 0)
		log_info("%s: shedding ends", reason == SHED_MEMORY ? "memory" : "spool");
	else
		log_warning("%s: shedding %s class %u (%s), whole Call-IDs", why[reason],
			    s->told[reason] == 0      ? "begins, up to"
			    : class > s->told[reason] ? "reaches"
						      : "is down to",
			    class, what[class]);
	s->told[reason] = class;
}

/* After each attempt to append, and when nothing comes: pressure at once, the rest when it is due.
 */
static void tend(struct spooler *s)
{
	uint64_t now_us = clock_mono_us();

	pressure_ask(&s->pressure,
		     pressure_of_spool(counter_get(&spool_counters(s->spool)->bytes), s->spool_max,
				       spool_is_ok(s->spool)),
		     now_us);
	if (now_us - s->tended_us < TEND_MS * 1000)
		return;
	s->tended_us = now_us;
	spool_tend(s->spool, now_us);
	pressure_tell(s, SHED_MEMORY);
	pressure_tell(s, SHED_SPOOL);
}

/* ---- blocks ---- */

/* Append until it works; false if the end came first. */
static bool append(struct spooler *s, struct block *b)
{
	unsigned writer;

	while (spool_append(s->spool, b, &writer) < 0) {
		tend(s);
		if (is_over(s))
			return false;
		poll(NULL, 0, RETRY_MS);
	}
	tend(s);
	writer_wake(s->writers[writer]);
	return true;
}

/* @return whether there was anything. */
static bool take_all(struct spooler *s)
{
	bool any = false;
	struct block *b;

	for (unsigned i = 0; i < s->worker_count; i++) {
		while ((b = worker_take_sealed(s->workers[i]))) {
			any = true;
			if (!append(s, b))
				spool_give_up(s->spool, b);
			worker_give_back(s->workers[i], b);
		}
	}
	return any;
}

void spooler_run(struct spooler *s)
{
	bool is_last;

	do {
		is_last = atomic_load(&s->finish);
		if (!is_last)
			wait_for_blocks(s);
		while (take_all(s))
			;
		tend(s);
	} while (!is_last);
	spool_tend(s->spool, clock_mono_us());
}

void spooler_finish(struct spooler *s, uint64_t deadline_us)
{
	uint64_t one = 1;

	atomic_store(&s->deadline_us, deadline_us);
	atomic_store(&s->finish, true);
	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		log_debug("spool: %s", ht_strerror(-errno));
}
