/*
 * Any octets as a TCP stream, in any pieces: the same packets, the same end and the same octets
 * held as a walk over all of it at once says. The first two octets seed the sizes of pieces.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/frame.h"

#define PACKETS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct packets {
	const uint8_t *stream; /* what was fed */
	size_t at;	       /* where the next packet has to begin */
	int count;
};

/* Packets come one behind the other, each whole and as it was sent. */
static void take(void *ctx, const uint8_t *packet, size_t len)
{
	struct packets *p = ctx;

	assert(len >= HEP3_HEAD_BYTES && len <= HEP_MAX_BYTES);
	assert(memcmp(packet, p->stream + p->at, len) == 0);
	p->at += len;
	p->count++;
}

/* The walk over all of it: how far packets go, and why it ends. */
static int reference(const uint8_t *at, size_t len, size_t *used)
{
	*used = 0;
	while (*used < len) {
		const uint8_t *p = at + *used;
		size_t left = len - *used, n = left < 4 ? left : 4, total;

		if (memcmp(p, "HEP3", n) != 0 && memcmp(p, "EEP1", n) != 0 &&
		    memcmp(p, "EEP3", n) != 0)
			return HT_EVERSION;
		if (left < HEP3_HEAD_BYTES)
			return HT_OK;
		total = (size_t)p[4] << 8 | p[5];
		if (total < HEP3_HEAD_BYTES)
			return HT_ELENGTH;
		if (total > left)
			return HT_OK;
		*used += total;
	}
	return HT_OK;
}

static void feed(const uint8_t *stream, size_t len, unsigned most, unsigned seed)
{
	struct packets p = { .stream = stream };
	struct frame f = { 0 };
	size_t fed = 0, used;
	int want = reference(stream, len, &used), got = HT_OK;

	while (fed < len && got >= 0) {
		size_t piece = 1 + (size_t)(seed = seed * 1103515245 + 12345) / 65536 % most;
		uint8_t *copy;

		if (piece > len - fed)
			piece = len - fed;
		copy = malloc(piece); /* of exactly its size, and gone before the next */
		assert(copy);
		memcpy(copy, stream + fed, piece);
		got = frame_feed(&f, copy, piece, take, &p);
		free(copy);
		fed += piece;
		assert(f.used <= HEP_MAX_BYTES && f.used <= f.room);
	}
	assert(p.at == used);
	assert(want == HT_OK ? got >= 0 : got == want);
	if (want == HT_OK)
		assert(frame_held(&f) == len - used);
	if (want == HT_OK && frame_held(&f) == 0)
		assert(f.bytes == NULL);
	frame_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned seed;

	if (size < 2)
		return 0;
	seed = (unsigned)data[0] << 8 | data[1];
	feed(data + 2, size - 2, 1, seed);
	feed(data + 2, size - 2, 7, seed);
	feed(data + 2, size - 2, 1500, seed);
	feed(data + 2, size - 2, 1 << 20, seed);
	return 0;
}
