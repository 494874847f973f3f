/**
 * @file
 * HEP packets cut from the octets of a TCP flow that was seen on the wire: what tcp.h hands its
 * octets to. Source: HEP3 Network Protocol Specification rev. 37; the same head is used by EEP.
 *
 * A packet ends where its head says. Where none begins, in garbage, behind a hole or in the middle
 * of a flow, the next one is looked for: its magic, with a chunk of no vendor behind it that fits.
 *
 * Threads: one per struct; any may read the counters. Memory: none of its own.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "capture/tcp.h"
#include "conf/counters.h"
#include "hep/cursor.h"

/** A whole packet, valid during the call; flow->ts_us is the time of what completed it. */
typedef void hep_stream_fn(void *ctx, const struct tcp_flow *flow, struct view packet);

#define HEP_STREAM_COUNTERS(X)                                     \
	X(packets, "HEP packets that were handed on")              \
	X(partial, "HEP packets of which the end did not come")    \
	X(garbage_bytes, "octets where a packet should have been") \
	X(unsynced_bytes, "octets before a packet was seen, at first or behind a hole")

struct hep_stream_counters {
#define X(field, help) counter field;
	HEP_STREAM_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

struct hep_stream {
	hep_stream_fn *fn;
	void *ctx;
	struct hep_stream_counters counters;
};

/** A tcp_take_fn; @p hep_stream is a struct hep_stream. */
size_t hep_stream_take(void *hep_stream, struct tcp_flow *flow, struct view bytes, bool is_end);
