/**
 * @file
 * Datagrams of a few senders over all receive threads. The kernel deals them by their addresses, so
 * that a few senders keep a few threads busy, and the sockets of those overflow while others are
 * empty. Where that loses datagrams they are dealt by chance from then on, whoever sent them; what
 * one sender sends is then no longer worked on in its order.
 *
 * Threads: main.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "hep/listener.h"

struct agents;
struct worker;

#define SPREAD_THREADS 64

/* What the threads got of one listener since it was looked at last. */
struct spread_load {
	uint64_t received[SPREAD_THREADS], dropped;
};

struct spread {
	const struct conf *conf;
	struct agents *agents;
	struct worker *const *workers; /* of the receive threads */
	unsigned threads;
	int sockets[LISTENER_MAX_SOCKETS]; /* of the first thread, for UDP; they decide for all */
	unsigned listener[LISTENER_MAX_SOCKETS]; /* that each is of */
	unsigned socket_count;
	struct spread_load seen[CONF_MAX_LISTENERS];
	bool is_done[CONF_MAX_LISTENERS];
};

/** Are they to be dealt by chance? @param senders  In the same time. Threads: pure; any. */
bool spread_is_due(const struct spread_load *load, unsigned threads, unsigned senders);

/** @param fd  A UDP socket of the first thread, which stays whose it is. */
void spread_add(struct spread *s, int fd, unsigned listener);

/** About once a minute. Registered with RCU. */
void spread_look(struct spread *s, uint64_t wall_us);
