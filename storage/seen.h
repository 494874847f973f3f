/**
 * @file
 * Copies of one message: the same packet from two taps or agents is stored once, a retransmission
 * is stored again (DESIGN.md section 3). An RCU hash table by hop and hash of the message.
 *
 * The copies of a message are matched with its events: an event is one sending of the message, made
 * by the first copy that no event of the last `window` was waiting for. A source covers the oldest
 * event that it has not covered yet. Within a window that is: a copy is stored iff its source has
 * brought more copies than every other one.
 *
 * Threads: receive threads inside a read-side section, without waiting; the outcome is that of some
 * order of the copies. Main sweeps.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "storage/rcu_table.h"

struct msg;

#define SEEN_SOURCES	    8	  /* of one message; copies of further ones are duplicates */
#define SEEN_EVENTS	    8	  /* of one message in a window; then the oldest is forgotten */
#define SEEN_SOURCE_MAX	    32766 /* sources are numbered from 0 to this */
#define SEEN_WINDOW_MAX_MS  10000U
#define SEEN_SAME_PACKET_MS 100 /* a mirror of both directions shows a packet twice */
#define SEEN_NO_IP_ID	    (-1)

enum seen_verdict {
	SEEN_FIRST,	/* store it */
	SEEN_AGAIN,	/* a retransmission: store it */
	SEEN_DUPLICATE, /* stored already */
};

/* What one thread counts. copies = first + again + duplicate + same_packet */
struct seen_counters {
	counter first, again;
	counter duplicate;   /* brought by another source before */
	counter same_packet; /* twice from one mirror: IP id and time agree */
	counter crowded; /* duplicates because SEEN_SOURCES others came first; part of `duplicate`
			  */
};

struct seen_key {
	uint64_t low, high;
};

/* One copy. */
struct seen_copy {
	struct seen_key key;
	uint32_t source;
	int32_t ip_id;	/* SEEN_NO_IP_ID: from an agent, or IPv6 */
	uint64_t ts_us; /* the time it is judged by */
};

/** The table, which is swept, summed and freed as any rcu_table. */
HT_MUST_CHECK int seen_new(struct rcu_table **out, uint32_t entries, unsigned threads);

/** See rcu_table_entry_cost(). */
uint64_t seen_entry_cost(void);

/**
 * Hop and hash of a message: source, destination and transport, for TCP and what runs over it
 * without ports. Its `low` is the table's hash, for rcu_table_prefetch_bucket(). Threads: any.
 */
struct seen_key seen_key(const struct rcu_table *seen, const struct msg *m);

/**
 * Judge a copy and remember it. Without room for it in the table it is SEEN_FIRST.
 * @param window_ms  1 to SEEN_WINDOW_MAX_MS.
 */
enum seen_verdict seen_judge(struct rcu_table_thread *th, struct seen_counters *n,
			     const struct seen_copy *copy, uint32_t window_ms, uint32_t now_ms);
