/*
 * Any bytes as a compressed payload: what zlib itself uncompresses is what comes out, never more
 * than the limit. Any bytes as a payload: compressed in any format they come back.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "hep/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t expected[INFLATE_MAX_BYTES];
static uint8_t packed[2 * INFLATE_MAX_BYTES];

static int is_same(struct view v, const uint8_t *bytes, size_t len)
{
	return v.len == len && (len == 0 || memcmp(v.at, bytes, len) == 0);
}

static void check_against_zlib(struct inflater *i, struct view in)
{
	uLongf len = sizeof(expected);
	struct view out = { 0 };
	int err = inflater_run(i, in, &out);

	assert(err == HT_OK || err == HT_EINFLATE);
	assert(err < 0 || out.len <= INFLATE_MAX_BYTES);
	if (uncompress(expected, &len, in.at, in.len) != Z_OK)
		return;
	assert(err == HT_OK);
	assert(is_same(out, expected, len));
}

/* An inflater that has seen much gives what a new one gives. */
static void check_no_memory(struct inflater *used, struct view in)
{
	struct inflater *fresh = NULL;
	struct view a = { 0 }, b = { 0 };
	int err = inflater_new(&fresh);

	assert(err == HT_OK);
	err = inflater_run(fresh, in, &a);
	assert(err == inflater_run(used, in, &b));
	assert(err < 0 || is_same(a, b.at, b.len));
	inflater_free(fresh);
}

static size_t pack(int window_bits, const uint8_t *data, size_t size)
{
	z_stream z = { 0 };
	int err = deflateInit2(&z, 1, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);

	assert(err == Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)data;
	z.avail_in = (unsigned)size;
	z.next_out = packed;
	z.avail_out = sizeof(packed);
	err = deflate(&z, Z_FINISH);
	assert(err == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static void check_comes_back(struct inflater *i, const uint8_t *data, size_t size)
{
	static const int formats[] = { 15, 15 + 16, -15 }; /* zlib, gzip, raw */

	for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
		size_t len = pack(formats[f], data, size);
		struct view out = { 0 };
		int err = inflater_run(i, (struct view){ packed, (uint32_t)len }, &out);

		assert(err == (size <= INFLATE_MAX_BYTES ? HT_OK : HT_EINFLATE));
		assert(err < 0 || is_same(out, data, size));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inflater *i = NULL;
	uint8_t *copy = malloc(size);
	struct view in = { copy, (uint32_t)size };
	int err = inflater_new(&i);

	assert(err == HT_OK && (copy || size == 0));
	if (size)
		memcpy(copy, data, size);
	check_against_zlib(i, in);
	if (size <= INFLATE_MAX_BYTES + 1)
		check_comes_back(i, data, size);
	check_against_zlib(i, in);
	check_no_memory(i, in);
	inflater_free(i);
	free(copy);
	return 0;
}
