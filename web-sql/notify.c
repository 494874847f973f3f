/* A look each second while somebody listens; the same object for all. */
#include "web-sql/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/net.h"
#include "web-sql/events.h"
#include "web-sql/stats.h"
#include "web-sql/subscribers.h"

struct receiver {
	struct conf_endpoint endpoint;
	int fd; /* connected, so that a refusal is heard of; -1: not yet */
	bool is_failing;
	bool is_new; /* has not been told what is wrong */
};

struct notify {
	const struct stats_sources *from;
	struct subscribers *subscribers;
	struct events *events;
	struct event *each_second;
	unsigned seconds; /* since the last beat */
	struct receiver receivers[CONF_MAX_RECEIVERS];
	unsigned receiver_count;
	uint64_t sent_subscribers, sent_receivers, dropped_subscribers, dropped_receivers;
};

static struct events_time now(void)
{
	return (struct events_time){ .wall_us = clock_wall_us(), .mono_us = clock_mono_us() };
}

/* ---- datagrams ---- */

static int receiver_open(struct receiver *r)
{
	const struct sockaddr *addr = (const struct sockaddr *)&r->endpoint.addr;
	int err;

	if (r->fd >= 0)
		return HT_OK;
	r->fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->fd < 0)
		return -errno;
	if (connect(r->fd, addr, r->endpoint.addr_len) == 0)
		return HT_OK;
	err = -errno;
	close(r->fd);
	r->fd = -1;
	return err;
}

static void receiver_failed(struct notify *n, struct receiver *r, int err)
{
	n->dropped_receivers++;
	if (!r->is_failing)
		log_warning("events: %s: %s; what is not taken there is counted", r->endpoint.text,
			    ht_strerror(err));
	r->is_failing = true;
}

/* That nobody took the last datagram is told to the next, which is not sent then. */
static void receiver_send(struct notify *n, struct receiver *r, const char *line, size_t len)
{
	int err = receiver_open(r);
	ssize_t sent = -1;

	if (err == HT_OK)
		sent = send(r->fd, line, len, MSG_NOSIGNAL);
	if (err == HT_OK && sent < 0 && errno == ECONNREFUSED) {
		receiver_failed(n, r, -ECONNREFUSED);
		sent = send(r->fd, line, len, MSG_NOSIGNAL);
	} else if (sent >= 0) {
		r->is_failing = false;
	}
	if (sent >= 0)
		n->sent_receivers++;
	else
		receiver_failed(n, r, err == HT_OK ? -errno : err);
}

static void receivers_send(struct notify *n, const char *json, bool only_new)
{
	char *line;
	int len;

	if (n->receiver_count == 0)
		return;
	len = asprintf(&line, "%s\n", json);
	if (len < 0) {
		n->dropped_receivers += n->receiver_count;
		return;
	}
	for (unsigned i = 0; i < n->receiver_count; i++)
		if (n->receivers[i].is_new || !only_new)
			receiver_send(n, &n->receivers[i], line, (size_t)len);
	free(line);
}

static void receivers_close(const struct receiver *receivers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (receivers[i].fd >= 0)
			close(receivers[i].fd);
}

/* ---- forms ---- */

#define SSE_FORM "event: %s\nid: %" PRIu64 "\ndata: %s\n\n"

/* What goes to one alone, with the begin of its answer. */
struct newcomer {
	struct notify *notify;
	struct evbuffer *out;
};

static void tell_newcomer(void *ctx, const char *name, uint64_t id, const char *json)
{
	struct newcomer *c = ctx;

	evbuffer_add_printf(c->out, SSE_FORM, name, id, json);
	c->notify->sent_subscribers++;
}

static void tell_all(void *ctx, const char *name, uint64_t id, const char *json)
{
	struct notify *n = ctx;
	unsigned subscribers = n->subscribers->count, sent = 0;
	char *text;
	int len;

	receivers_send(n, json, false);
	if (subscribers == 0)
		return;
	len = asprintf(&text, SSE_FORM, name, id, json);
	if (len >= 0) {
		sent = subscribers_send(n->subscribers, text, (size_t)len);
		free(text);
	}
	n->sent_subscribers += sent;
	n->dropped_subscribers += subscribers - sent;
}

/* ---- each second ---- */

static bool is_heard(const struct notify *n)
{
	return n->receiver_count || n->subscribers->count;
}

static void look(struct notify *n)
{
	struct stats st;

	stats_take(n->from, &st);
	events_look(n->events, &st, now(), (struct events_to){ tell_all, n });
}

static void second_passed(evutil_socket_t fd, short what, void *ctx)
{
	static const char beat[] = ":\n\n";
	struct notify *n = ctx;

	(void)fd;
	(void)what;
	if (!is_heard(n)) {
		event_del(n->each_second);
		return;
	}
	look(n);
	if (++n->seconds >= NOTIFY_BEAT_S) {
		n->seconds = 0;
		(void)subscribers_send(n->subscribers, beat, sizeof(beat) - 1);
	}
}

/* For the first who listens. The timer may still be there for one who has just gone. */
static bool looking_start(struct notify *n, const struct stats *st)
{
	static const struct timeval second = { .tv_sec = 1 };

	events_start(n->events, st, now());
	return event_add(n->each_second, &second) == 0;
}

/* ---- who comes ---- */

/* What is wrong is told at once; nothing else is. */
int notify_answer(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	struct notify *n = from->notify;
	struct newcomer one = { n, out };
	struct events_to newcomer = { tell_newcomer, &one };
	struct stats st;

	(void)rest;
	*type = "text/event-stream";
	evbuffer_add_printf(out, ":\n\n");
	stats_take(from, &st);
	if (is_heard(n)) {
		events_look(n->events, &st, now(), (struct events_to){ tell_all, n });
		events_wrong(n->events, &st, now(), newcomer);
		return 200;
	}
	if (!looking_start(n, &st))
		return 503;
	events_look(n->events, &st, now(), newcomer);
	return 200;
}

static void tell_new(void *ctx, const char *name, uint64_t id, const char *json)
{
	struct notify *n = ctx;

	(void)name;
	(void)id;
	receivers_send(n, json, true);
}

/* One that stays keeps its socket. @return whether there is another. */
static bool receivers_replace(struct notify *n, const struct conf *conf)
{
	struct receiver old[CONF_MAX_RECEIVERS];
	unsigned old_count = n->receiver_count;
	bool any = false;

	memcpy(old, n->receivers, sizeof(old));
	n->receiver_count = (unsigned)conf->events.receiver_count;
	for (unsigned i = 0; i < n->receiver_count; i++) {
		struct receiver *r = &n->receivers[i];

		*r = (struct receiver){ .endpoint = conf->events.receivers[i],
					.fd = -1,
					.is_new = true };
		for (unsigned k = 0; k < old_count && r->is_new; k++) {
			if (!endpoint_is_equal(&old[k].endpoint, &r->endpoint))
				continue;
			*r = old[k];
			old[k] = old[--old_count];
		}
		any |= r->is_new;
	}
	receivers_close(old, old_count);
	return any;
}

void notify_configure(struct notify *n, const struct conf *conf)
{
	bool was_heard = is_heard(n);
	struct stats st;

	events_silent_after(n->events, conf->events.agent_silent * 1000000ULL);
	if (!receivers_replace(n, conf))
		return;
	stats_take(n->from, &st);
	if (was_heard)
		events_wrong(n->events, &st, now(), (struct events_to){ tell_new, n });
	else if (!looking_start(n, &st))
		log_error("events: no timer; receivers are told of reloads alone");
	for (unsigned i = 0; i < n->receiver_count; i++)
		n->receivers[i].is_new = false;
}

void notify_reload(struct notify *n, bool is_taken, const char *text)
{
	if (is_heard(n))
		events_reload(n->events, is_taken, text, now(), (struct events_to){ tell_all, n });
}

void notify_last(struct notify *n)
{
	struct stats st;

	if (!n || !is_heard(n))
		return;
	stats_take(n->from, &st);
	events_last(n->events, &st, now(), (struct events_to){ tell_all, n });
}

void notify_counters(const struct notify *n, struct notify_counters *out)
{
	*out = (struct notify_counters){
		.made = events_made(n->events),
		.sent_subscribers = n->sent_subscribers,
		.sent_receivers = n->sent_receivers,
		.dropped_memory = events_unmade(n->events),
		.dropped_subscribers = n->dropped_subscribers,
		.dropped_receivers = n->dropped_receivers,
		.subscribers_cut = n->subscribers->cut,
		.subscribers_refused = n->subscribers->refused,
		.subscribers = n->subscribers->count,
		.receivers = n->receiver_count,
	};
}

/* ---- life ---- */

int notify_new(struct notify **out, struct event_base *base, struct http *http,
	       const struct stats_sources *from, const struct conf *conf)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->from = from;
	n->subscribers = http_subscribers(http);
	n->each_second = event_new(base, -1, EV_PERSIST, second_passed, n);
	if (!n->each_second || events_new(&n->events, from, now()) < 0) {
		notify_free(n);
		return -ENOMEM;
	}
	notify_configure(n, conf);
	*out = n;
	return HT_OK;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	receivers_close(n->receivers, n->receiver_count);
	if (n->each_second)
		event_free(n->each_second);
	events_free(n->events);
	free(n);
}
