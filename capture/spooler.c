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

/* Append until it works; false if the end came first. */
static bool append(struct spooler *s, struct block *b)
{
	unsigned writer;

	while (spool_append(s->spool, b, &writer) < 0) {
		if (is_over(s))
			return false;
		poll(NULL, 0, RETRY_MS);
		spool_tend(s->spool, clock_mono_us());
	}
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
				spool_give_up(s->spool, b->rows);
			worker_give_back(s->workers[i], b);
		}
	}
	return any;
}

void spooler_run(struct spooler *s)
{
	uint64_t tended_us = 0, now_us;
	bool is_last;

	do {
		is_last = atomic_load(&s->finish);
		if (!is_last)
			wait_for_blocks(s);
		while (take_all(s))
			;
		now_us = clock_mono_us();
		if (is_last || now_us - tended_us >= TEND_MS * 1000) {
			spool_tend(s->spool, now_us);
			tended_us = now_us;
		}
	} while (!is_last);
}

void spooler_finish(struct spooler *s, uint64_t deadline_us)
{
	uint64_t one = 1;

	atomic_store(&s->deadline_us, deadline_us);
	atomic_store(&s->finish, true);
	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		log_debug("spool: %s", ht_strerror(-errno));
}
