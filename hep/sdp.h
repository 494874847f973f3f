/**
 * @file
 * Where the media of a call goes: addresses from the session descriptions in a SIP body. No
 * allocation. Source: RFC 4566 (c=, m=), RFC 3605 (a=rtcp), RFC 5761 (a=rtcp-mux); bodies of
 * several parts: RFC 2046 section 5.1 as SIP uses it (RFC 5621).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hep/cursor.h"
#include "hep/msg.h"

#define SDP_MEDIA_MAX 16 /* of a body; more are counted */
#define SDP_DEPTH_MAX 3	 /* of parts within parts */
#define SDP_PARTS_MAX 32 /* of a body, at all depths together */

struct sdp_media {
	struct addr rtp;
	struct addr rtcp; /* family FAMILY_NONE: the next port of `rtp` */
	bool is_mux;	  /* RTCP may come to the port of `rtp` */
};

struct sdp {
	uint32_t count;
	uint32_t more; /* media lines with a port for which there was no room */
	struct sdp_media media[SDP_MEDIA_MAX];
};

/**
 * Read a body. Media without a port (refused: port 0) or without a numeric address of one host
 *(names, multicast, the unspecified address of a call on hold) are left out.
 *
 * @param content_type  of the message, as written; empty: a body that begins as a session
 *			description is one.
 * @param out		Filled; count 0 if there is nothing.
 *
 * Threads: pure; any thread.
 */
void sdp_read(struct view content_type, struct view body, struct sdp *out);
