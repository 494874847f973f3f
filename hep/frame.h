/**
 * @file
 * Cutting a byte stream into HEP packets by the length that each says. No sockets. Source: HEP3
 * Network Protocol Specification rev. 37; the same head is used by EEP.
 *
 * Threads: a frame belongs to one thread. Memory: what is held of an unfinished packet, at most
 * HEP_MAX_BYTES, and nothing between packets.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/* All zero is one that holds nothing. */
struct frame {
	uint8_t *bytes; /* front of a packet that is not complete */
	uint32_t used, room;
};

/** One whole packet, valid during the call. */
typedef void frame_fn(void *ctx, const uint8_t *packet, size_t len);

/**
 * Take what was read and hand on each packet that is complete; those that lie whole in @p bytes are
 * not copied.
 *
 * @return packets handed on (>= 0); HT_EVERSION: what follows is no HEP3 or EEP; HT_ELENGTH: a
 * packet says that it is shorter than its head; -ENOMEM. After an error the stream has no next
 * packet; those before it were handed on.
 */
HT_MUST_CHECK int frame_feed(struct frame *f, const uint8_t *bytes, size_t len, frame_fn *fn,
			     void *ctx);

/** Octets of an unfinished packet. */
static inline size_t frame_held(const struct frame *f)
{
	return f->used;
}

/** Free what is held and hold nothing. */
void frame_free(struct frame *f);
