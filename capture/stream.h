/**
 * @file
 * What a TCP flow carries, decided once per flow, and handed to who reads it: what tcp.h hands its
 * octets to.
 *
 * - HEP if one of its ports is one of HEP.
 * - Else, if its beginning was seen: WebSocket if it begins with a request or an answer of HTTP,
 *   SIP if not.
 * - Else whichever comes first: a line with which SIP begins, a frame in which it does, or a line
 *   of HTTP.
 *
 * A flow stays what it was behind a hole.
 *
 * Threads: one per struct; any may read the counters. Memory: none but the struct, which is large.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/hep_stream.h"
#include "capture/sip_stream.h"
#include "capture/tcp.h"
#include "capture/websocket.h"
#include "conf/counters.h"
#include "hep/cursor.h"

struct stream_ops {
	/* A whole message, valid during the call; @p proto: PROTO_TCP or PROTO_WS. With WebSocket
	 * it is what a message holds, whatever that is. */
	void (*sip)(void *ctx, const struct tcp_flow *flow, struct view message, uint8_t proto);
	/* A whole packet, valid during the call. */
	void (*hep)(void *ctx, const struct tcp_flow *flow, struct view packet);
	bool (*is_hep_port)(void *ctx, uint16_t port); /* asked once per flow */
};

#define STREAM_COUNTERS(X)                   \
	X(sip, "flows with SIP")             \
	X(websocket, "flows with WebSocket") \
	X(hep, "flows with HEP")             \
	X(unsynced_bytes, "octets before it was known what a flow is")

struct stream_counters {
#define X(field, help) counter field;
	STREAM_COUNTERS(X)
#undef X
} __attribute__((aligned(128)));

struct stream {
	const struct stream_ops *ops;
	void *ctx;
	struct stream_counters counters;
	struct hep_stream hep;
	struct sip_stream sip;
	struct websocket websocket;
};

/** @p s is all zero before; @p ops lives as long as it. There is nothing to free. */
void stream_init(struct stream *s, const struct stream_ops *ops, void *ctx);

/** A tcp_take_fn; @p stream is a struct stream. */
size_t stream_take(void *stream, struct tcp_flow *flow, struct view bytes, bool is_end);
