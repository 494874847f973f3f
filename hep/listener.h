/**
 * @file
 * Where HEP agents send to: UDP sockets of one receive thread, read in batches that go to
 * callbacks, and the thread's loop; TCP is streams.h.
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
struct memory_use;
struct source_counters;

#define LISTENER_BATCH	     64
#define LISTENER_MAX_SOCKETS 128 /* CONF_MAX_LISTENERS * CONF_MAX_ENDPOINTS */

struct listener;

/* What a source grants a TCP connection; times in s, 0: without end. */
struct listener_limits {
	bool is_allowed; /* is this address heard at all? */
	unsigned max_connections;
	unsigned first_message_timeout, message_timeout, idle_timeout;
};

/* What the thread does with what comes; @p ctx is the worker. */
struct listener_ops {
	/* A batch follows; times are wall clock and monotonic. */
	void (*begin)(void *ctx, uint64_t wall_us, uint64_t mono_us);
	/* One datagram, or one HEP packet of a stream; valid during the call, from an address with
	 * IPv4 as ::ffff:a.b.c.d. */
	void (*record)(void *ctx, unsigned source, const uint8_t *bytes, size_t len,
		       const uint8_t from_ip[16]);
	/* The batch is over. */
	void (*end)(void *ctx);
	/* Each time round: finish what is due. True if more will be due soon. */
	bool (*tend)(void *ctx, uint64_t mono_us);
	/* Can what comes be taken? UDP is read anyway, TCP waits a moment. */
	bool (*has_room)(void *ctx);
	/* What a connection from this address is granted now; outside of begin and end. */
	void (*limits)(void *ctx, unsigned source, const uint8_t from_ip[16],
		       struct listener_limits *out);
};

struct listener_socket {
	int fd;		 /* from listener_open_udp() or streams_open_tcp(); closed at the end of
			    listener_run(), or by	  listener_free() */
	unsigned source; /* number of the listener in the configuration */
	bool is_stream;	 /* TCP */
	size_t buffer;	 /* of UDP: receive buffer, octets */
	_Atomic unsigned *connections; /* of TCP: open now, shared by all threads of the source */
	struct source_counters *counters; /* packets, drops and connections are counted here */
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

struct sockaddr_in6;

/** The address of a peer (which may be IPv4), with IPv4 as ::ffff:a.b.c.d. */
void listener_ip(const struct sockaddr_in6 *from, uint8_t ip[16]);

/** Takes the descriptors, even on failure. @return HT_OK or -ENOMEM. listener_free() it. @p count:
 * at most LISTENER_MAX_SOCKETS. */
HT_MUST_CHECK int listener_new(struct listener **out, const struct listener_socket *sockets,
			       unsigned count, const struct listener_ops *ops, void *ctx);
void listener_free(struct listener *l);

/**
 * The thread: until listener_stop(); then what already lies in the sockets is still read, for at
 * most a second, what comes meanwhile is counted as dropped, and they are closed.
 */
void listener_run(struct listener *l);

/** Add what its TCP connections take: see streams_memory(). Threads: any. */
void listener_memory(const struct listener *l, struct memory_use *sum);

/** Threads: any. */
void listener_stop(struct listener *l);
