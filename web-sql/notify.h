/**
 * @file
 * Who is told of events: subscribers of /api/events, and receivers of datagrams. While there is
 * neither, nothing is done: no timer runs and no number is read. Threads: main.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "web-sql/http.h"

struct conf;
struct notify;
struct stats_sources;

#define NOTIFY_BEAT_S 15 /* a comment, so that nobody on the way forgets the connection */

struct notify_counters {
	uint64_t made;		      /* events */
	uint64_t sent_subscribers;    /* one for each who gets an event */
	uint64_t sent_receivers;      /* taken by the kernel */
	uint64_t dropped_memory;      /* not made for want of it */
	uint64_t dropped_subscribers; /* the rest for those who were cut goes uncounted */
	uint64_t dropped_receivers;   /* not taken by the kernel, or refused afterwards */
	uint64_t subscribers_cut;     /* did not read */
	uint64_t subscribers_refused; /* found no place */
	unsigned subscribers, receivers;
};

/** @return HT_OK or -ENOMEM; notify_free() it after @p http is closed. */
HT_MUST_CHECK int notify_new(struct notify **out, struct event_base *base, struct http *http,
			     const struct stats_sources *from, const struct conf *conf);
void notify_free(struct notify *n);

/** Take receivers and times of a configuration; nothing of it is kept. */
void notify_configure(struct notify *n, const struct conf *conf);

/** The configuration was read again: done, or refused with complaints. */
void notify_reload(struct notify *n, bool is_taken, const char *text);

/** All threads have ended: tell receivers what was lost on the way. NULL is fine. */
void notify_last(struct notify *n);

/** GET /api/events. @p ctx: struct stats_sources. */
int notify_answer(void *ctx, const char *rest, struct evbuffer *out, const char **type);

void notify_counters(const struct notify *n, struct notify_counters *out);
