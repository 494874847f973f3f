/*
 * Any octets of a WebSocket flow: cut into any pieces they are the same messages and the same
 * numbers as in one, and every octet is taken in the end. The first two octets of an input say
 * whether the beginning of the flow was seen, and how it is cut.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/websocket.h"
#include "tests/unit/random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, as a number. */
struct heard {
	uint64_t hash;
};

static void hear(void *ctx, const struct tcp_flow *flow, struct view message)
{
	struct heard *h = ctx;

	assert(flow->is_synced);
	assert(message.len && message.len <= WEBSOCKET_MESSAGE);
	for (uint32_t i = 0; i < message.len; i++)
		h->hash = (h->hash ^ message.at[i]) * 0x100000001b3;
	h->hash = (h->hash ^ 256) * 0x100000001b3;
}

/* As tcp.c does; @p most: octets of a piece. */
static void feed(struct websocket *w, bool is_synced, const uint8_t *data, size_t size,
		 uint32_t most, struct random *r)
{
	struct tcp_flow flow = { .is_synced = is_synced };
	size_t taken = 0, there = 0;

	while (there < size) {
		size_t more = 1 + random_below(r, most), n;
		uint8_t *exact;

		there = more < size - there ? there + more : size;
		exact = malloc(there - taken);
		assert(exact);
		memcpy(exact, data + taken, there - taken);
		n = websocket_take(w, &flow, (struct view){ exact, (uint32_t)(there - taken) },
				   false);
		assert(n <= there - taken && (n || there - taken < TCP_TAKER));
		taken += n;
		free(exact);
	}
	(void)websocket_take(w, &flow, (struct view){ data + taken, (uint32_t)(size - taken) },
			     true);
}

static void reset(struct websocket *w, struct heard *h)
{
	memset(&w->counters, 0, sizeof(w->counters));
	w->fn = hear;
	w->ctx = h;
	*h = (struct heard){ 1 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct websocket whole, cut;
	struct heard want, got;
	struct random r;
	bool is_synced;

	if (size < 2 || size - 2 >= TCP_TAKER)
		return 0;
	is_synced = data[0] & 1;
	r = random_from(data[1]);
	reset(&whole, &want);
	reset(&cut, &got);
	feed(&whole, is_synced, data + 2, size - 2, UINT32_MAX, &r);
	feed(&cut, is_synced, data + 2, size - 2, data[0] & 2 ? 1 : 1 + (data[0] >> 2) * 4U, &r);
	assert(got.hash == want.hash);
	assert(memcmp(&whole.counters, &cut.counters, sizeof(cut.counters)) == 0);
	return 0;
}
