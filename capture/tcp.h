/**
 * @file
 * TCP segments put in order: each direction of a connection is a flow of its own, whose octets are
 * handed to one function. Memory is taken when the table is made. Source: RFC 9293.
 *
 * - Octets that came first are kept; what comes again is stale. Numbers wrap.
 * - A flow whose SYN was not seen begins with the first octets that are seen; so does one whose
 *   numbers are far behind what they were.
 * - When octets are missing and later ones are there, the hole is skipped after `gap_bytes` of
 * them, after `gap_us`, or when they do not fit any more. The taker is told of the end, and begins
 * anew behind it.
 * - A flow keeps what its taker did not take, at most TCP_WINDOW octets with those behind a hole,
 * in a small or a large buffer of two pools. Without a buffer or a place, the flow that was idle
 *   for longest goes: what it had is handed on first. Flows that are half open or closed use at
 * most a quarter of the places.
 *
 * Every segment ends exactly once: given = carried + empty + stale + held.
 *
 * Threads: a table belongs to one thread, which sees both directions of its connections; any may
 * read the counters.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/decode.h"
#include "conf/counters.h"
#include "conf/err.h"
#include "conf/gauge.h"
#include "hep/cursor.h"
#include "hep/msg.h"

#define TCP_SMALL  (8 << 10)
#define TCP_WINDOW (192 << 10)
#define TCP_TAKER  (128 << 10) /* of as many octets a taker takes some */

struct tcp;

struct tcp_options {
	uint32_t flows;		  /* at least 4 */
	uint32_t small, large;	  /* buffers of TCP_SMALL and TCP_WINDOW octets; at least 1 */
	uint32_t gap_bytes;	  /* behind a hole until it is skipped */
	uint64_t gap_us, idle_us; /* of capture time: until a hole is skipped, a flow forgotten */
};

struct tcp_segment {
	struct addr src, dst;
	uint32_t seq;
	uint8_t flags; /* SEGMENT_*; others are not looked at */
	struct view payload;
	uint64_t ts_us; /* capture time */
};

/* What a taker sees of a flow. */
struct tcp_flow {
	struct addr src, dst;
	uint64_t ts_us; /* of the packet that came last; it completed what is taken now */
	bool is_synced; /* the next octet begins something; the taker sets it once it found that */
	uint8_t kind;	/* the taker's, zero at the beginning */
	uint64_t state[4]; /* the taker's, all zero at the beginning and behind a hole */
};

/**
 * Take what can be taken from the front of the octets that are in order.
 *
 * @param bytes   Valid during the call. What was not taken is there again next time, with more.
 * @param is_end  Nothing will follow these: all of them are taken, whatever is returned.
 *
 * @return octets taken; more than 0 if there are TCP_TAKER.
 */
typedef size_t tcp_take_fn(void *ctx, struct tcp_flow *flow, struct view bytes, bool is_end);

#define TCP_COUNTERS(X)                                                              \
	X(carried, "segments whose octets were handed on")                           \
	X(empty, "segments without octets")                                          \
	X(stale, "segments with nothing new: retransmissions and keep-alive probes") \
	X(given, "segments; read after what became of them")                         \
	X(overlapping, "segments of which a part was there already")                 \
	X(gaps, "holes that were skipped")                                           \
	X(gap_bytes, "octets that were missing there")                               \
	X(pickups, "flows that were begun without their SYN")                        \
	X(evicted, "flows that went to make room, and were not closed")              \
	X(idle, "flows that were forgotten because they were silent, and were not closed")

struct tcp_counters {
#define X(field, help) counter field;
	TCP_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

/** @return HT_OK, -ENOMEM or -EINVAL. Memory: @p out is freed with tcp_free(). */
HT_MUST_CHECK int tcp_new(struct tcp **out, const struct tcp_options *options, tcp_take_fn *take,
			  void *ctx);

/** What is held is not handed on: tcp_drain() does that. NULL is fine. */
void tcp_free(struct tcp *t);

void tcp_add(struct tcp *t, const struct tcp_segment *segment);

/** Skip holes and forget flows whose time has come at @p now_us of capture time. */
void tcp_sweep(struct tcp *t, uint64_t now_us);

/** The end of a file: every flow ends. */
void tcp_drain(struct tcp *t);

const struct tcp_counters *tcp_counters(const struct tcp *t);

/** Add what its flows and buffers take. Threads: any. */
void tcp_memory(const struct tcp *t, struct memory_use *sum);
