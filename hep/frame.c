/* Six octets say how long a packet is. */
#include "hep/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/cursor.h"

void frame_free(struct frame *f)
{
	free(f->bytes);
	*f = (struct frame){ 0 };
}

static bool begins(const uint8_t *bytes, size_t len, const char *magic)
{
	return memcmp(bytes, magic, len < 4 ? len : 4) == 0;
}

/* Length of the packet of which @p len octets (at least one) are there; 0: its head is not complete
 * yet; or why it is none, which is said as soon as it is seen. */
static int64_t packet_length(const uint8_t *bytes, size_t len)
{
	struct cursor c = cursor_over(bytes, len);
	size_t total;

	if (!begins(bytes, len, "HEP3") && !begins(bytes, len, "EEP1") &&
	    !begins(bytes, len, "EEP3"))
		return HT_EVERSION;
	if (len < HEP3_HEAD_BYTES)
		return 0;
	(void)cursor_view(&c, 4);
	total = cursor_u16_be(&c);
	return total < HEP3_HEAD_BYTES ? HT_ELENGTH : (int64_t)total;
}

static int hold(struct frame *f, const uint8_t *bytes, size_t len, size_t room)
{
	uint8_t *grown;

	if (room > f->room) {
		grown = realloc(f->bytes, room);
		if (!grown)
			return -ENOMEM;
		f->bytes = grown;
		f->room = (uint32_t)room;
	}
	memcpy(f->bytes + f->used, bytes, len);
	f->used += (uint32_t)len;
	return HT_OK;
}

/* Go on with the packet that is held: first its head, then the rest. @return octets taken, or an
 * error; *done if it was completed. */
static int64_t held_feed(struct frame *f, const uint8_t *bytes, size_t len, bool *done)
{
	size_t want = HEP3_HEAD_BYTES, take;
	int64_t total = packet_length(f->bytes, f->used);
	int err;

	if (total > 0)
		want = (size_t)total;
	take = want - f->used < len ? want - f->used : len;
	err = hold(f, bytes, take, want);
	if (err < 0)
		return err;
	total = packet_length(f->bytes, f->used);
	if (total < 0)
		return total;
	*done = total > 0 && f->used == (size_t)total;
	return (int64_t)take;
}

int frame_feed(struct frame *f, const uint8_t *bytes, size_t len, frame_fn *fn, void *ctx)
{
	int packets = 0;
	int64_t n;

	while (len) {
		bool done = false;

		if (f->used) {
			n = held_feed(f, bytes, len, &done);
			if (n < 0)
				return (int)n;
			if (done) {
				fn(ctx, f->bytes, f->used);
				frame_free(f);
				packets++;
			}
		} else {
			n = packet_length(bytes, len);
			if (n < 0)
				return (int)n;
			if (n == 0 || (size_t)n > len) {
				int err = hold(f, bytes, len, n ? (size_t)n : HEP3_HEAD_BYTES);

				return err < 0 ? err : packets;
			}
			fn(ctx, bytes, (size_t)n);
			packets++;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return packets;
}
