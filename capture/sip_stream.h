/**
 * @file
 * SIP messages cut from the octets of a TCP flow: what tcp.h hands its octets to. Source: RFC 3261
 * sections 7.5, 18.3 and 20.14; RFC 5626 section 3.5.1 (keep-alives).
 *
 * - A message ends where its Content-Length says; without one, and without a Content-Type, behind
 *   its headers; else before the next start line, or where the flow ends.
 * - CRLF between messages are keep-alives. Whatever else stands where a start line should is
 * dropped up to the next one, of a reply or a method that is known, also within a line; what is
 * dropped before the first one that is seen, or behind a hole, counts apart.
 * - What is cut does not depend on how the octets were cut into segments.
 *
 * Threads: one per struct; any may read the counters. Memory: none of its own.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "capture/tcp.h"
#include "conf/counters.h"
#include "hep/cursor.h"

#define SIP_STREAM_LINE	   (8 << 10)  /* octets of a start line, at most */
#define SIP_STREAM_HEADER  (64 << 10) /* of start line and headers */
#define SIP_STREAM_MESSAGE (TCP_TAKER - SIP_STREAM_LINE)

/** A whole message, valid during the call; flow->ts_us is the time of the packet that completed it.
 */
typedef void sip_stream_fn(void *ctx, const struct tcp_flow *flow, struct view message);

#define SIP_STREAM_COUNTERS(X)                                         \
	X(messages, "messages that were handed on")                    \
	X(partial, "messages of which the end did not come")           \
	X(oversize, "messages that are too large")                     \
	X(keep_alives, "CRLF between messages")                        \
	X(garbage_bytes, "octets where a start line should have been") \
	X(unsynced_bytes, "octets before a start line was seen, at first or behind a hole")

struct sip_stream_counters {
#define X(field, help) counter field;
	SIP_STREAM_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

struct sip_stream {
	sip_stream_fn *fn;
	void *ctx;
	struct sip_stream_counters counters;
};

/** A tcp_take_fn; @p sip_stream is a struct sip_stream. */
size_t sip_stream_take(void *sip_stream, struct tcp_flow *flow, struct view bytes, bool is_end);

/**
 * Do these octets begin a SIP message, as far as they go? @return 1 if its start line is whole, 0
 * if more octets have to say, -1 if not. @p is_strict: of methods that are known. Threads: pure.
 */
int sip_stream_begins(struct view bytes, bool is_strict);

/** A line ends at a LF, and at anything that is in no line. */
static inline bool byte_ends_line(uint8_t byte)
{
	return byte < ' ' && byte != '\t' && byte != '\r';
}
