/**
 * @file
 * Fragments of IPv4 and IPv6 packets put together: one table for all capture threads of a source,
 * as fragments of one packet may arrive at different ones. Memory is taken when the table is made.
 * Source: RFC 791, RFC 815, RFC 8200 section 4.5, RFC 5722, RFC 6946.
 *
 * - Octets that came first are kept. A fragment of IPv4 that overlaps gives what it has that is
 *   new. One of IPv6 that does so discards the datagram and whatever still comes of it, unless all
 *   of it is there already with the same octets: that is a repetition.
 * - A datagram that is not whole `timeout_us` of capture time after its first fragment is given up.
 * - Without room the oldest datagram that is not whole makes it.
 * - A fragment of a datagram that was whole at most FRAGMENTS_AGAIN_US ago is a repetition, as a
 *   mirror of both directions makes of every packet.
 *
 * Threads: any, all of them at once; a shard of the table has a lock that is held for the copying
 * of one fragment or one datagram. No other lock is taken inside.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"
#include "hep/msg.h"

#define FRAGMENTS_DATAGRAM   65535	       /* octets behind the IP headers, at most */
#define FRAGMENTS_TIMEOUT_US (30 * 1000000ULL) /* the usual `timeout_us` */
#define FRAGMENTS_AGAIN_US   (100 * 1000ULL)

struct fragments;
struct memory_use;

struct fragments_options {
	uint32_t datagrams;  /* that can be held at once; rounded up */
	uint64_t bytes;	     /* of payload that can be held; at least one datagram per shard */
	uint64_t timeout_us; /* from the first fragment that came */
};

struct fragment {
	struct addr src, dst; /* ports are not looked at */
	uint32_t id;	      /* identification; 16 bits of it for IPv4 */
	uint32_t offset;      /* octets, not units of eight */
	bool more;	      /* the M flag */
	uint8_t proto;	      /* part of what identifies an IPv4 datagram, not of an IPv6 one */
	struct view payload;  /* what follows the IP headers */
	uint64_t ts_us;	      /* capture time */
};

struct datagram {
	uint32_t parts;	     /* fragments it was put together of, this one included */
	uint8_t proto;	     /* as the fragment at offset 0 says */
	struct view payload; /* in the buffer given, or that of the fragment if it was all of it */
};

/* What becomes of fragments. X(field, what it counts). */
#define FRAGMENT_ENDS(X)                                               \
	X(parts, "were put together to a datagram")                    \
	X(timed_out, "the rest of the datagram did not come in time")  \
	X(evicted, "there was no room for the datagram")               \
	X(overlapping, "IPv6 that overlaps, and all of that datagram") \
	X(duplicate, "nothing in it is new")                           \
	X(oversize, "reaches beyond the largest datagram")             \
	X(malformed, "empty, or its length or the datagram's end is wrong")

/* given = held + all ends, exactly; `held` is never negative. */
struct fragments_sums {
#define X(field, help) uint64_t field;
	FRAGMENT_ENDS(X)
#undef X
	uint64_t given, held;
	uint64_t completed; /* datagrams */
	uint64_t trimmed;   /* IPv4 fragments of which octets were there already, and others not */
};

/** @return HT_OK, -ENOMEM or -EINVAL. Memory: @p out is freed with fragments_free(). */
HT_MUST_CHECK int fragments_new(struct fragments **out, const struct fragments_options *options);

/** Nobody uses it any more. NULL is fine. */
void fragments_free(struct fragments *t);

/**
 * Add a fragment.
 *
 * @param buffer  Where a datagram is put together; the caller's, one per thread.
 * @param out     Filled if this fragment completed it; valid as long as @p buffer and the fragment.
 *
 * @return true if the datagram is whole.
 */
HT_MUST_CHECK bool fragments_add(struct fragments *t, const struct fragment *f,
				 uint8_t buffer[FRAGMENTS_DATAGRAM], struct datagram *out);

/** Give up what is older than the time-out at @p now_us of capture time, or as far ahead of it. */
void fragments_sweep(struct fragments *t, uint64_t now_us);

/** The end of a file: nothing more will come. What is held counts as timed out. */
void fragments_drain(struct fragments *t);

/** Sums over all shards, in an order that keeps `held` from being negative. */
void fragments_sum(const struct fragments *t, struct fragments_sums *out);

/** Add what its datagrams take. Threads: any. */
void fragments_memory(const struct fragments *t, struct memory_use *sum);
