/**
 * @file
 * Where HEP agents connect: UDP sockets of one receive thread, read in batches that go to
 * callbacks.
 *
 * A thread that has taken something naps for a moment before it looks again, instead of being woken
 * by each datagram: the receive buffer holds what comes meanwhile, and a batch costs little more
 * than one datagram.
 *
 * Threads: a listener belongs to one receive thread; listener_stop() may come from any. Memory:
 * listener_run() allocates nothing per datagram.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
struct source_counters;

#define LISTENER_BATCH	     64
#define LISTENER_MAX_SOCKETS 128 /* CONF_MAX_LISTENERS * CONF_MAX_ENDPOINTS */

struct listener;

/* What the thread does with what comes; @p ctx is the worker. */
struct listener_ops {
	/* A batch follows; times are wall clock and monotonic. */
	void (*begin)(void *ctx, uint64_t wall_us, uint64_t mono_us);
	/* One datagram, valid during the call, from an address with IPv4 as ::ffff:a.b.c.d. */
	void (*datagram)(void *ctx, unsigned source, const uint8_t *bytes, size_t len,
			 const uint8_t from_ip[16]);
	/* The batch is over. */
	void (*end)(void *ctx);
	/* Each time round: finish what is due. True if more will be due soon. */
	bool (*tend)(void *ctx, uint64_t mono_us);
};

struct listener_socket {
	int fd;		 /* from listener_open_udp(); closed at the end of listener_run(), or by
			    listener_free() */
	unsigned source; /* number of the listener in the configuration */
	size_t buffer;	 /* receive buffer, octets */
	struct source_counters *counters; /* datagrams and kernel_dropped are counted here */
};

/**
 * Open a UDP socket with SO_REUSEPORT and SO_RXQ_OVFL and bind it.
 *
 * @param want_buffer  Receive buffer asked for, octets (SO_RCVBUF, and SO_RCVBUFFORCE where that
 * did not do).
 * @param got_buffer   What the kernel says it is now (twice what was granted).
 * @return the descriptor (>= 0) or -errno.
 */
HT_MUST_CHECK int listener_open_udp(const struct sockaddr *addr, socklen_t addr_len,
				    size_t want_buffer, size_t *got_buffer);

/** @return HT_OK, then the descriptors belong to it; -ENOMEM, -EINVAL. listener_free() it. */
HT_MUST_CHECK int listener_new(struct listener **out, const struct listener_socket *sockets,
			       unsigned count, const struct listener_ops *ops, void *ctx);
void listener_free(struct listener *l);

/**
 * The thread: until listener_stop(); then what already lies in the sockets is still read, for at
 * most a second, what comes meanwhile is counted as dropped, and they are closed.
 */
void listener_run(struct listener *l);

/** Threads: any. */
void listener_stop(struct listener *l);
