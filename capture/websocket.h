/**
 * @file
 * SIP messages in WebSocket frames, cut from the octets of a TCP flow: what tcp.h hands its octets
 * to. Source: RFC 6455 sections 4, 5; RFC 7118 section 5.
 *
 * - A flow begins with the HTTP upgrade. One that is seen from its middle, or goes on behind a
 * hole, begins at a frame in which a SIP message begins.
 * - A message may come in fragments, masked or not, with control frames between them. What is only
 *   CRLF is a keep-alive.
 * - permessage-deflate is not supported: such messages are counted.
 * - A frame that cannot be one is where the next upgrade or SIP message is looked for.
 *
 * Threads: one per struct; any may read the counters. Memory: the message being put together.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "capture/sip_stream.h"
#include "capture/tcp.h"
#include "conf/counters.h"
#include "hep/cursor.h"

#define WEBSOCKET_MESSAGE SIP_STREAM_MESSAGE /* octets of all frames of a message, at most */
#define WEBSOCKET_FRAME	  (16 << 20)	     /* a frame that is larger cannot be one */
#define WEBSOCKET_HTTP	  (64 << 10)	     /* header of the upgrade */

#define WEBSOCKET_COUNTERS(X)                                                                 \
	X(messages, "messages that were handed on")                                           \
	X(partial, "messages of which the end did not come")                                  \
	X(oversize, "messages that are too large")                                            \
	X(compressed, "messages with permessage-deflate, which is not supported")             \
	X(keep_alives, "messages of line ends only, or empty")                                \
	X(control, "ping, pong and close frames")                                             \
	X(upgrades, "upgrades to WebSocket, requests and answers")                            \
	X(not_upgraded, "requests and answers of HTTP that upgrade to nothing")               \
	X(broken, "frames that cannot be one")                                                \
	X(garbage_bytes, "octets where an upgrade or a frame should have been")               \
	X(unsynced_bytes, "octets before anything was recognised, at first or behind a hole") \
	X(closed_bytes, "octets behind a close frame")

struct websocket_counters {
#define X(field, help) counter field;
	WEBSOCKET_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

struct websocket {
	sip_stream_fn *fn; /* gets what a message holds, whatever it is */
	void *ctx;
	struct websocket_counters counters;
	uint8_t message[WEBSOCKET_MESSAGE];
};

/** A tcp_take_fn; @p websocket is a struct websocket. */
size_t websocket_take(void *websocket, struct tcp_flow *flow, struct view bytes, bool is_end);

/**
 * Does a line of HTTP begin here, or a frame in which SIP does? @return 1, 0 if more octets have to
 * say, -1 if not. A request of HTTP does not begin in the middle of a line. Threads: pure.
 */
int websocket_begins(struct view bytes, bool is_mid_line);
