/**
 * @file
 * The TCP side of a listener: connections of one receive thread, cut into HEP packets that go to
 * its callbacks.
 *
 * A connection holds nothing but the octets of a packet that has begun. One whose framing is lost,
 * that is silent for too long or that does not finish what it began is closed and counted; there is
 * no way to find the next packet in a stream that went wrong. When the worker has no room, none is
 * read for STREAMS_SLOW_US at most: the agents' kernels hold what comes meanwhile, but the agents
 * are SIP servers and must not be made to wait for a monitor. After that they are read whatever
 * becomes of it.
 *
 * Threads: all of it belongs to the receive thread, but for the count of connections of a source,
 * which its threads share. Memory: one allocation per connection and one per unfinished packet.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
struct event_base;
struct listener_ops;
struct listener_socket;
struct memory_use;
struct sockaddr;
struct streams;

#define STREAMS_SLOW_US 2000000

/** @return the descriptor (>= 0) of a listening socket with SO_REUSEPORT, or -errno. */
HT_MUST_CHECK int streams_open_tcp(const struct sockaddr *addr, unsigned addr_len);

/* Octets that one connection takes, at most; STREAMS_READ for all of a thread besides. */
#define STREAMS_CONNECTION_MOST (66U << 10)
#define STREAMS_READ		(256U << 10)

/** @return HT_OK or -ENOMEM. streams_free() it. */
HT_MUST_CHECK int streams_new(struct streams **out, struct event_base *base,
			      const struct listener_ops *ops, void *ctx);

/** Closes what is open, without counting. */
void streams_free(struct streams *s);

/** Accept on a socket of streams_open_tcp(), which is taken even on failure. @return HT_OK or
 * -ENOMEM. */
HT_MUST_CHECK int streams_add(struct streams *s, const struct listener_socket *socket);

/** Time-outs; about once a second. */
void streams_tend(struct streams *s, uint64_t now_us);

/** Add what its connections take and hold; their limit is somebody else's. Threads: any. */
void streams_memory(const struct streams *s, struct memory_use *sum);

/** Has a connection more than one turn takes? Then the thread does not nap. Asking forgets it. */
bool streams_are_behind(struct streams *s);

/** The end: what already lies in the sockets is read, until @p until_us (monotonic); all are
 * closed. */
void streams_finish(struct streams *s, uint64_t until_us);
