/* Looked at once a minute: whoever sends little need not be spread, however uneven it is. */
#include "capture/spread.h"

#include <inttypes.h>

#include "capture/worker.h"
#include "conf/counters.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "storage/agents.h"
#include "tune/sockets.h"

#define SENDERS_EACH 4 /* for each thread: hashes of so many are spread well enough */
#define UNEVEN	     3 /* times as much as the thread with least */
#define RECENT_US    60000000

bool spread_is_due(const struct spread_load *load, unsigned threads, unsigned senders)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned t = 0; t < threads; t++) {
		least = load->received[t] < least ? load->received[t] : least;
		most = load->received[t] > most ? load->received[t] : most;
	}
	return threads > 1 && load->dropped && senders < SENDERS_EACH * threads &&
	       most > UNEVEN * least;
}

struct count {
	unsigned listener, senders;
	uint64_t since_us;
};

static void count_sender(void *ctx, const struct agent_view *view)
{
	struct count *c = ctx;

	/* an entry for many is of many */
	if (view->is_rest)
		c->senders += SENDERS_EACH * SPREAD_THREADS;
	else if (view->key.source == c->listener && view->last_us >= c->since_us)
		c->senders++;
}

static unsigned senders_of(const struct spread *s, unsigned listener, uint64_t wall_us)
{
	struct count c = { .listener = listener, .since_us = wall_us - RECENT_US };

	rcu_read_begin();
	agents_list(s->agents, count_sender, &c);
	rcu_read_end();
	return c.senders;
}

/* Since the last time; what there is now is kept for the next one. */
static struct spread_load load_take(struct spread *s, unsigned listener)
{
	struct spread_load now = { 0 }, *before = &s->seen[listener], since = { 0 };

	for (unsigned t = 0; t < s->threads; t++) {
		const struct source_counters *c = worker_source(s->workers[t], listener);

		now.received[t] = counter_get(&c->received);
		now.dropped += counter_get(&c->kernel_dropped);
		since.received[t] = now.received[t] - before->received[t];
	}
	since.dropped = now.dropped - before->dropped;
	*before = now;
	return since;
}

static void deal_by_chance(struct spread *s, unsigned listener, const struct spread_load *load,
			   unsigned senders)
{
	int err = HT_OK;

	s->is_done[listener] = true;
	for (unsigned k = 0; k < s->socket_count && err == HT_OK; k++)
		if (s->listener[k] == listener)
			err = sockets_steer_by_chance(s->sockets[k], s->threads);
	if (err < 0)
		log_warning("hep %s: %" PRIu64 " datagrams were lost while threads were idle, and "
			    "cannot be dealt otherwise: %s",
			    s->conf->hep[listener].name, load->dropped, ht_strerror(err));
	else
		log_warning("hep %s: %" PRIu64 " datagrams were lost while threads were idle, as "
			    "%u sender%s keep few of %u threads busy: from now on they are dealt "
			    "by chance, and messages of one sender may change their order",
			    s->conf->hep[listener].name, load->dropped, senders,
			    senders == 1 ? "" : "s", s->threads);
}

void spread_add(struct spread *s, int fd, unsigned listener)
{
	s->sockets[s->socket_count] = fd;
	s->listener[s->socket_count++] = listener;
}

void spread_look(struct spread *s, uint64_t wall_us)
{
	for (unsigned i = 0; i < s->conf->hep_count; i++) {
		struct spread_load load = load_take(s, i);
		unsigned senders;

		if (s->is_done[i] || !load.dropped)
			continue;
		senders = senders_of(s, i, wall_us);
		if (spread_is_due(&load, s->threads, senders))
			deal_by_chance(s, i, &load, senders);
	}
}
