/* zlib behind inflate.h. Its window is allocated by the first stream that is cut short, then kept
 * by inflateReset2(). */
#include "hep/inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#define ZLIB_OR_GZIP (15 + 32) /* windowBits: largest window, header recognised */
#define RAW_DEFLATE  (-15)

struct inflater {
	z_stream z;
	uint8_t out[INFLATE_MAX_BYTES + 1]; /* one more, to see that a stream goes on */
};

void inflater_free(struct inflater *i)
{
	if (!i)
		return;
	inflateEnd(&i->z);
	free(i);
}

static int run_as(struct inflater *i, int window_bits, struct view in)
{
	if (inflateReset2(&i->z, window_bits) != Z_OK)
		return HT_EINFLATE;
	i->z.next_in = (uint8_t *)(uintptr_t)in.at;
	i->z.avail_in = in.len;
	i->z.next_out = i->out;
	i->z.avail_out = sizeof(i->out);
	if (inflate(&i->z, Z_FINISH) != Z_STREAM_END || i->z.total_out > INFLATE_MAX_BYTES)
		return HT_EINFLATE;
	return HT_OK;
}

int inflater_run(struct inflater *i, struct view in, struct view *out)
{
	int err = run_as(i, ZLIB_OR_GZIP, in);

	if (err < 0)
		err = run_as(i, RAW_DEFLATE, in);
	if (err < 0)
		return err;
	*out = (struct view){ i->out, (uint32_t)i->z.total_out };
	return HT_OK;
}

/* Have the window allocated now: a stored block of two octets, of which one has come. */
static int window_take(struct inflater *i)
{
	static const uint8_t cut_short[] = { 0x00, 0x02, 0x00, 0xfd, 0xff, 'x' };

	i->z.next_in = (uint8_t *)(uintptr_t)cut_short;
	i->z.avail_in = sizeof(cut_short);
	i->z.next_out = i->out;
	i->z.avail_out = sizeof(i->out);
	return inflate(&i->z, Z_SYNC_FLUSH) == Z_OK ? HT_OK : -ENOMEM;
}

int inflater_new(struct inflater **out)
{
	struct inflater *i = calloc(1, sizeof(*i));

	if (!i)
		return -ENOMEM;
	if (inflateInit2(&i->z, RAW_DEFLATE) != Z_OK || window_take(i) < 0) {
		inflater_free(i); /* inflateEnd() knows a stream that never began */
		return -ENOMEM;
	}
	*out = i;
	return HT_OK;
}
