/**
 * @file
 * SIP messages from the DATA chunks of SCTP: what decode_sctp_data() reads, put together where a
 * message came in several. Memory is taken when the table is made. Source: RFC 9260 sections 3.3.1
 * and 6.9; RFC 4168.
 *
 * - A message of one chunk is handed on as it lies in the packet. One of several, with consecutive
 *   numbers from the first to the last, is handed on when all of them came, in any order.
 * - Messages are handed on as they become whole, not in the order of their stream: they do not
 *   depend on one another.
 * - A chunk that is held, or was handed on at most `timeout_us` ago with the same octets, is a
 *   repetition. As many as can be held are remembered.
 * - A message that is not whole `timeout_us` of capture time after the first of its chunks that
 *   came is given up. Without room the one that waited longest makes it.
 *
 * Every packet ends exactly once, when the last of its chunks does:
 *
 *     given = carried + empty + stale + timed_out + evicted + oversize + held
 *
 * It is carried if anything of it was handed on. If not, it ends as the last of its chunks that was
 * given up; stale if none was.
 *
 * Threads: a table belongs to one thread; any may read the counters.
 */
#pragma once
#include <stdint.h>

#include "capture/decode.h"
#include "conf/counters.h"
#include "conf/err.h"
#include "conf/gauge.h"
#include "hep/cursor.h"
#include "hep/msg.h"

#define SCTP_MESSAGE	(120 << 10)	  /* octets of a message, at most */
#define SCTP_TIMEOUT_US (30 * 1000000ULL) /* the usual `timeout_us` */
#define SCTP_CHUNK_COST 448 /* octets that one of `chunks` takes, at most, without its payload */

struct sctp;

struct sctp_options {
	uint32_t chunks;     /* that can be held at once */
	uint64_t bytes;	     /* of payload; a chunk takes pages of 504; at least SCTP_MESSAGE */
	uint64_t timeout_us; /* of capture time */
};

struct sctp_packet {
	struct addr src, dst;
	struct view chunks; /* payload of a DECODED_SCTP */
	uint64_t ts_us;	    /* capture time */
};

/** A whole message, valid during the call; @p packet is the one that completed it. */
typedef void sctp_fn(void *ctx, const struct sctp_packet *packet, struct view message);

#define SCTP_COUNTERS(X)                                                    \
	X(carried, "packets of which something was handed on")              \
	X(empty, "packets without DATA")                                    \
	X(stale, "packets with nothing new: retransmissions")               \
	X(timed_out, "packets whose messages did not become whole in time") \
	X(evicted, "packets for whose messages there was no room")          \
	X(oversize, "packets of messages that are too large")               \
	X(given, "packets; read after what became of them")                 \
	X(messages, "messages that were handed on")                         \
	X(assembled, "of them, those put together of several chunks")       \
	X(duplicates, "DATA chunks that came again")

struct sctp_counters {
#define X(field, help) counter field;
	SCTP_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

/** @return HT_OK, -ENOMEM or -EINVAL. Memory: @p out is freed with sctp_free(). */
HT_MUST_CHECK int sctp_new(struct sctp **out, const struct sctp_options *options, sctp_fn *fn,
			   void *ctx);

/** NULL is fine. */
void sctp_free(struct sctp *t);

void sctp_add(struct sctp *t, const struct sctp_packet *packet);

/** Give up what is older than the time-out at @p now_us of capture time, or as far ahead of it. */
void sctp_sweep(struct sctp *t, uint64_t now_us);

/** The end of a file: what is held counts as timed out. */
void sctp_drain(struct sctp *t);

const struct sctp_counters *sctp_counters(const struct sctp *t);

/** Add what the chunks that are held take. Threads: any. */
void sctp_memory(const struct sctp *t, struct memory_use *sum);
