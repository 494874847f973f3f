/* A flow is a place in the sequence numbers and, if octets wait, a buffer that begins there: first
 * those in order that the taker left, then, behind holes, ranges that came early. */
#include "capture/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define RANGES	   16
#define FAR_BEHIND (-(1 << 20)) /* no retransmission: another connection */

/* Octets behind a hole, and how many segments brought them. */
struct range {
	uint32_t at, end; /* from the start of the buffer */
	uint32_t segments;
};

struct buffer {
	struct buffer *next_free;
	uint32_t size;
	uint32_t count;
	struct range ranges[RANGES + 1]; /* in order, and neither touching nor empty */
	uint8_t bytes[];
};

/* Buffers of one size. The kernel gives memory for those from `fresh` on once they are used. */
struct pool {
	uint8_t *all, *fresh, *end;
	struct buffer *free;
	uint32_t size;
};

/* Constant size without holes, as it is hashed and compared by octets. */
struct key {
	uint8_t src[16], dst[16];
	uint16_t src_port, dst_port;
	uint8_t family, zero[3];
};

/* By what it can give when room is needed: nothing but its place, in SPARE (half open or closed)
 * and IDLE, or a buffer. */
enum kind { SPARE, IDLE, SMALL, LARGE, KINDS };

/* NEW is one that did not begin. CLOSED stays for what comes again. */
enum phase { NEW, OPEN, CLOSED };

struct flow {
	struct tcp_flow seen;
	struct key key;
	uint32_t base;	/* number of the first octet that was not taken */
	uint32_t ready; /* octets in order from there, in the buffer */
	uint32_t fin;	/* number behind the last octet, if has_fin */
	uint32_t first; /* number of the octet behind its SYN, if has_first */
	enum phase phase;
	bool has_fin, has_first;
	bool has_data;	 /* or is half open */
	bool is_pickup;	 /* until the taker is synchronised, or keeps something, any segment may
			    begin it */
	uint64_t gap_us; /* when the first octets behind the hole came */
	struct buffer *buffer;
	enum kind kind;
	LIST_ENTRY(flow) in_bucket;
	TAILQ_ENTRY(flow) in_list;
};

TAILQ_HEAD(flows, flow);
LIST_HEAD(bucket, flow);

struct tcp {
	struct tcp_options options;
	tcp_take_fn *take;
	void *ctx;
	uint64_t seed;
	uint32_t bucket_mask, spare_count;
	struct bucket *buckets;
	struct flow *all;
	struct flows lists[KINDS]; /* the longest idle first */
	struct flows free;
	struct pool small, large;
	struct gauge memory; /* octets of flows and buffers in use */
	counter touched;     /* of buffers ever used */
	struct tcp_counters counters;
};

/* ---- lists ---- */

static enum kind kind_of(const struct flow *f)
{
	if (f->buffer)
		return f->buffer->size == TCP_SMALL ? SMALL : LARGE;
	return f->phase == OPEN && f->has_data ? IDLE : SPARE;
}

static void list_leave(struct tcp *t, struct flow *f)
{
	TAILQ_REMOVE(&t->lists[f->kind], f, in_list);
	t->spare_count -= f->kind == SPARE;
}

static void list_enter(struct tcp *t, struct flow *f)
{
	f->kind = kind_of(f);
	t->spare_count += f->kind == SPARE;
	TAILQ_INSERT_TAIL(&t->lists[f->kind], f, in_list);
}

/* ---- handing on ---- */

static struct pool *pool_of(struct tcp *t, uint32_t size)
{
	return size == TCP_SMALL ? &t->small : &t->large;
}

static void buffer_give(struct tcp *t, struct flow *f)
{
	struct pool *pool = pool_of(t, f->buffer->size);

	gauge_sub(&t->memory, sizeof(struct buffer) + pool->size);
	f->buffer->next_free = pool->free;
	pool->free = f->buffer;
	f->buffer = NULL;
}

static uint32_t range_count(const struct flow *f)
{
	return f->buffer ? f->buffer->count : 0;
}

/* @p n octets from the start are done with. */
static void buffer_shift(struct flow *f, uint32_t n)
{
	struct buffer *b = f->buffer;
	uint32_t end = b->count ? b->ranges[b->count - 1].end : f->ready;

	memmove(b->bytes, b->bytes + n, end - n);
	for (uint32_t i = 0; i < b->count; i++) {
		b->ranges[i].at -= n;
		b->ranges[i].end -= n;
	}
	f->base += n;
	f->ready -= n;
}

static size_t call_taker(struct tcp *t, struct flow *f, struct view bytes, bool is_end)
{
	size_t n = t->take(t->ctx, &f->seen, bytes, is_end);

	if (f->seen.is_synced)
		f->is_pickup = false;
	return is_end || n > bytes.len ? bytes.len : n;
}

/* The taker begins anew with what comes next. */
static void taker_restart(struct flow *f, bool is_synced)
{
	memset(f->seen.state, 0, sizeof(f->seen.state));
	f->seen.is_synced = is_synced;
}

static struct view ready_of(const struct flow *f)
{
	return f->buffer ? (struct view){ f->buffer->bytes, f->ready } : (struct view){ NULL, 0 };
}

static void hand_on_end(struct tcp *t, struct flow *f)
{
	(void)call_taker(t, f, ready_of(f), true);
	if (f->buffer)
		buffer_shift(f, f->ready);
	taker_restart(f, false);
}

static void hand_on(struct tcp *t, struct flow *f)
{
	size_t n;

	do {
		n = call_taker(t, f, ready_of(f), false);
		if (n)
			buffer_shift(f, (uint32_t)n);
	} while (n && f->ready >= TCP_TAKER);
	if (f->ready >= TCP_TAKER) /* what a taker is stuck at goes */
		hand_on_end(t, f);
}

/* The first range is in order now. */
static void range_promote(struct tcp *t, struct flow *f)
{
	struct buffer *b = f->buffer;

	f->ready = b->ranges[0].end;
	counter_add(&t->counters.carried, b->ranges[0].segments);
	b->count--;
	memmove(b->ranges, b->ranges + 1, b->count * sizeof(*b->ranges));
	f->gap_us = f->seen.ts_us;
}

static void count_gap(struct tcp *t, uint32_t bytes)
{
	counter_add(&t->counters.gaps, 1);
	counter_add(&t->counters.gap_bytes, bytes);
}

/* What is before the hole ends there; what is behind it is in order. There is a range. */
static void gap_skip(struct tcp *t, struct flow *f)
{
	hand_on_end(t, f);
	count_gap(t, f->buffer->ranges[0].at);
	f->ready = f->buffer->ranges[0].at;
	buffer_shift(f, f->ready);
	range_promote(t, f);
	hand_on(t, f);
}

/* Everything that is there is handed on, and the taker is told of the end. */
static void flow_flush(struct tcp *t, struct flow *f)
{
	while (range_count(f))
		gap_skip(t, f);
	hand_on_end(t, f);
	if (f->buffer)
		buffer_give(t, f);
	if (f->has_fin && (int32_t)(f->fin - f->base) > 0)
		count_gap(t, f->fin - f->base);
	f->has_fin = false;
}

static void flow_drop(struct tcp *t, struct flow *f)
{
	if (f->phase == OPEN)
		flow_flush(t, f);
	LIST_REMOVE(f, in_bucket);
	list_leave(t, f);
	gauge_sub(&t->memory, sizeof(*f));
	TAILQ_INSERT_TAIL(&t->free, f, in_list);
}

/* ---- room ---- */

static void evict(struct tcp *t, struct flow *f)
{
	if (f->phase == OPEN)
		counter_add(&t->counters.evicted, 1);
	flow_drop(t, f);
}

static struct flow *longest_idle(struct tcp *t)
{
	struct flow *oldest = NULL;

	for (int kind = 0; kind < KINDS; kind++) {
		struct flow *f = TAILQ_FIRST(&t->lists[kind]);

		if (f && (!oldest || f->seen.ts_us < oldest->seen.ts_us))
			oldest = f;
	}
	return oldest;
}

static struct buffer *fresh_take(struct tcp *t, struct pool *pool)
{
	struct buffer *b = (struct buffer *)pool->fresh;

	pool->fresh += sizeof(*b) + pool->size;
	b->size = pool->size;
	counter_add(&t->touched, sizeof(*b) + pool->size);
	gauge_add(&t->memory, sizeof(*b) + pool->size);
	return b;
}

/* A buffer of a size, of another flow if none is free. @p f is in no list. */
static struct buffer *buffer_take(struct tcp *t, uint32_t size)
{
	struct pool *pool = pool_of(t, size);
	struct buffer *b;

	if (!pool->free && pool->fresh < pool->end)
		return fresh_take(t, pool);
	if (!pool->free)
		evict(t, TAILQ_FIRST(&t->lists[size == TCP_SMALL ? SMALL : LARGE]));
	b = pool->free;
	pool->free = b->next_free;
	gauge_add(&t->memory, sizeof(*b) + pool->size);
	b->count = 0;
	return b;
}

/* Make the flow's buffer hold @p end octets from its start, at most TCP_WINDOW. */
static void buffer_ensure(struct tcp *t, struct flow *f, uint32_t end)
{
	struct buffer *was = f->buffer, *b;
	uint32_t used;

	if (was && end <= was->size)
		return;
	b = buffer_take(t, end <= TCP_SMALL ? TCP_SMALL : TCP_WINDOW);
	if (was) {
		used = was->count ? was->ranges[was->count - 1].end : f->ready;
		memcpy(b->bytes, was->bytes, used);
		memcpy(b->ranges, was->ranges, sizeof(b->ranges));
		b->count = was->count;
		buffer_give(t, f);
	}
	f->buffer = b;
}

/* ---- find ---- */

static void key_make(struct key *key, const struct tcp_segment *s)
{
	size_t len = s->src.family == FAMILY_IPV4 ? 4 : 16;

	memset(key, 0, sizeof(*key));
	memcpy(key->src, s->src.ip, len);
	memcpy(key->dst, s->dst.ip, len);
	key->src_port = s->src.port;
	key->dst_port = s->dst.port;
	key->family = s->src.family;
}

static struct bucket *bucket_of(struct tcp *t, const struct key *key)
{
	return &t->buckets[XXH3_64bits_withSeed(key, sizeof(*key), t->seed) & t->bucket_mask];
}

static struct flow *flow_find(struct bucket *b, const struct key *key)
{
	struct flow *f;

	LIST_FOREACH(f, b, in_bucket)
	if (memcmp(&f->key, key, sizeof(*key)) == 0)
		return f;
	return NULL;
}

/* A new flow, in its list but with nothing in it. */
static struct flow *flow_make(struct tcp *t, struct bucket *b, const struct key *key,
			      const struct tcp_segment *s)
{
	struct flow *f;

	if (t->spare_count > t->options.flows / 4)
		evict(t, TAILQ_FIRST(&t->lists[SPARE]));
	if (TAILQ_EMPTY(&t->free))
		evict(t, longest_idle(t));
	f = TAILQ_FIRST(&t->free);
	TAILQ_REMOVE(&t->free, f, in_list);
	memset(f, 0, sizeof(*f));
	f->key = *key;
	f->seen.src = s->src;
	f->seen.dst = s->dst;
	LIST_INSERT_HEAD(b, f, in_bucket);
	list_enter(t, f);
	gauge_add(&t->memory, sizeof(*f));
	return f;
}

/* ---- a segment ---- */

/* The flow, whatever it was, begins at @p seq. */
static void flow_begin(struct tcp *t, struct flow *f, uint32_t seq, bool is_synced)
{
	if (f->phase == OPEN)
		flow_flush(t, f);
	taker_restart(f, is_synced);
	f->seen.kind = 0;
	f->base = seq;
	f->ready = 0;
	f->phase = OPEN;
	f->has_fin = false;
	f->has_first = is_synced;
	f->first = seq;
	f->is_pickup = !is_synced;
	if (!is_synced)
		counter_add(&t->counters.pickups, 1);
}

/* Copy octets [at, end) into the buffer, but where a range is already. @return how many. */
static uint32_t copy_new(struct buffer *b, uint32_t at, uint32_t end, const uint8_t *bytes)
{
	uint32_t pos = at, copied = 0;

	for (uint32_t i = 0; i <= b->count && pos < end; i++) {
		uint32_t stop = i < b->count && b->ranges[i].at < end ? b->ranges[i].at : end;

		if (stop > pos) {
			memcpy(b->bytes + pos, bytes + (pos - at), stop - pos);
			copied += stop - pos;
		}
		if (i < b->count && b->ranges[i].end > pos)
			pos = b->ranges[i].end;
	}
	return copied;
}

/* One more range, which swallows those that it touches. There is room for one. */
static void range_add(struct buffer *b, uint32_t at, uint32_t end)
{
	struct range r = { at, end, 1 };
	uint32_t i = 0, k;

	while (i < b->count && b->ranges[i].end < at)
		i++;
	for (k = i; k < b->count && b->ranges[k].at <= end; k++) {
		r.at = b->ranges[k].at < r.at ? b->ranges[k].at : r.at;
		r.end = b->ranges[k].end > r.end ? b->ranges[k].end : r.end;
		r.segments += b->ranges[k].segments;
	}
	memmove(b->ranges + i + 1, b->ranges + k, (b->count - k) * sizeof(*b->ranges));
	b->ranges[i] = r;
	b->count = b->count - (k - i) + 1;
}

/* In order and nothing waits: no copy but of what is not taken. @return how many octets are new. */
static uint32_t add_directly(struct tcp *t, struct flow *f, struct view bytes)
{
	size_t n;

	counter_add(&t->counters.carried, 1);
	n = call_taker(t, f, bytes, false);
	f->base += (uint32_t)n;
	if (n == bytes.len)
		return bytes.len;
	buffer_ensure(t, f, bytes.len - (uint32_t)n);
	f->ready = bytes.len - (uint32_t)n;
	memcpy(f->buffer->bytes, bytes.at + n, f->ready);
	return bytes.len;
}

/* It goes into the buffer, where it fits. @return how many octets are new. */
static uint32_t add_buffered(struct tcp *t, struct flow *f, uint32_t at, struct view bytes)
{
	uint32_t end = at + bytes.len, copied;
	bool had_gap = range_count(f);

	buffer_ensure(t, f, end);
	copied = copy_new(f->buffer, at, end, bytes.at);
	if (copied == 0)
		return 0;
	range_add(f->buffer, at, end);
	if (f->buffer->ranges[0].at == f->ready) {
		range_promote(t, f);
		hand_on(t, f);
	} else if (!had_gap) {
		f->gap_us = f->seen.ts_us;
	}
	return copied;
}

static uint32_t bytes_behind_gaps(const struct flow *f)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < range_count(f); i++)
		sum += f->buffer->ranges[i].end - f->buffer->ranges[i].at;
	return sum;
}

static bool gap_is_over(const struct tcp *t, const struct flow *f, uint64_t now_us)
{
	if (!range_count(f))
		return false;
	return bytes_behind_gaps(f) > t->options.gap_bytes ||
	       (now_us > f->gap_us && now_us - f->gap_us > t->options.gap_us);
}

/* Where it goes is not in the window, or needs a range too many: holes are skipped until it does,
 * and at last the one before itself. @return where it goes now. */
static int64_t make_fit(struct tcp *t, struct flow *f, uint32_t seq, uint32_t len)
{
	int64_t at = (int32_t)(seq - f->base);

	while (range_count(f) &&
	       (at + len > TCP_WINDOW || (f->buffer->count == RANGES && at > f->ready))) {
		gap_skip(t, f);
		at = (int32_t)(seq - f->base);
	}
	if (at + len <= TCP_WINDOW)
		return at;
	hand_on_end(t, f);
	if (seq != f->base)
		count_gap(t, seq - f->base);
	f->base = seq;
	return 0;
}

static void add_bytes(struct tcp *t, struct flow *f, uint32_t seq, struct view bytes)
{
	int64_t at = make_fit(t, f, seq, bytes.len);
	uint32_t len = bytes.len, fresh;

	if (at + len <= f->ready) {
		counter_add(&t->counters.stale, 1);
		return;
	}
	if (at < f->ready) {
		uint32_t old = f->ready - (uint32_t)at;

		bytes = (struct view){ bytes.at + old, len - old };
		at = f->ready;
	}
	if (at == 0 && range_count(f) == 0)
		fresh = add_directly(t, f, bytes);
	else
		fresh = add_buffered(t, f, (uint32_t)at, bytes);
	if (fresh < len)
		counter_add(fresh ? &t->counters.overlapping : &t->counters.stale, 1);
	while (gap_is_over(t, f, f->seen.ts_us))
		gap_skip(t, f);
}

static bool keeps_something(const struct flow *f)
{
	return f->ready || range_count(f);
}

/* Octets of a flow that is known, or not yet. */
static void take_bytes(struct tcp *t, struct flow *f, uint32_t seq, struct view bytes)
{
	int32_t at = (int32_t)(seq - f->base);
	bool is_old = at < 0 && at >= FAR_BEHIND;

	f->has_data = true;
	if (bytes.len > TCP_WINDOW - TCP_TAKER) /* no IP packet is as large */
		bytes.len = TCP_WINDOW - TCP_TAKER;
	if (f->phase == NEW || at < FAR_BEHIND || (f->phase == CLOSED && !is_old) ||
	    (f->phase == OPEN && f->is_pickup && !keeps_something(f) && at != 0))
		flow_begin(t, f, seq, false);
	if (f->phase == CLOSED)
		counter_add(&t->counters.stale, 1);
	else
		add_bytes(t, f, seq, bytes);
}

static void flow_close(struct tcp *t, struct flow *f)
{
	if (f->phase == OPEN)
		flow_flush(t, f);
	f->phase = CLOSED;
}

static void take_fin(struct flow *f, uint32_t fin)
{
	int32_t at = (int32_t)(fin - f->base);

	if (f->phase != OPEN || at < 0 || at > TCP_WINDOW)
		return;
	f->has_fin = true;
	f->fin = fin;
}

/* Its buffer goes when it is empty, and the flow when all of it was seen. */
static void flow_settle(struct tcp *t, struct flow *f)
{
	if (f->has_fin && f->phase == OPEN && range_count(f) == 0 && f->base + f->ready == f->fin)
		flow_close(t, f);
	if (f->buffer && f->ready == 0 && f->buffer->count == 0)
		buffer_give(t, f);
}

static bool is_worth_a_flow(const struct tcp_segment *s)
{
	return s->payload.len || (s->flags & (SEGMENT_SYN | SEGMENT_RST)) == SEGMENT_SYN;
}

void tcp_add(struct tcp *t, const struct tcp_segment *s)
{
	uint32_t first = s->seq + !!(s->flags & SEGMENT_SYN);
	struct bucket *b;
	struct flow *f;
	struct key key;

	counter_add(&t->counters.given, 1);
	if (s->payload.len == 0)
		counter_add(&t->counters.empty, 1);
	key_make(&key, s);
	b = bucket_of(t, &key);
	f = flow_find(b, &key);
	if (!f && !is_worth_a_flow(s))
		return;
	if (!f)
		f = flow_make(t, b, &key, s);
	list_leave(t, f); /* it is not what room is made of */
	f->seen.ts_us = s->ts_us;
	if ((s->flags & SEGMENT_SYN) &&
	    !(f->has_first && f->first == first)) /* not the same again */
		flow_begin(t, f, first, true);
	if (s->payload.len)
		take_bytes(t, f, first, s->payload);
	if (s->flags & SEGMENT_FIN)
		take_fin(f, first + s->payload.len);
	if (s->flags & SEGMENT_RST)
		flow_close(t, f);
	flow_settle(t, f);
	list_enter(t, f);
}

/* ---- sweep ---- */

static bool is_over(uint64_t now_us, uint64_t since_us, uint64_t most)
{
	return now_us > since_us && now_us - since_us > most;
}

/* Its time may have come to skip holes, or to go. */
static void sweep_flow(struct tcp *t, struct flow *f, uint64_t now_us)
{
	if (is_over(now_us, f->seen.ts_us, t->options.idle_us)) {
		counter_add(&t->counters.idle, f->phase == OPEN);
		flow_drop(t, f);
		return;
	}
	if (!gap_is_over(t, f, now_us))
		return;
	list_leave(t, f);
	while (gap_is_over(t, f, now_us))
		gap_skip(t, f);
	flow_settle(t, f);
	list_enter(t, f);
}

/* From the longest idle on. A flow whose hole is skipped goes to the end of its list. */
static void sweep_list(struct tcp *t, enum kind kind, uint64_t now_us)
{
	struct flow *f = TAILQ_FIRST(&t->lists[kind]), *next;
	uint64_t least =
		t->options.gap_us < t->options.idle_us ? t->options.gap_us : t->options.idle_us;

	for (; f && is_over(now_us, f->seen.ts_us, least); f = next) {
		next = TAILQ_NEXT(f, in_list);
		sweep_flow(t, f, now_us);
	}
}

void tcp_sweep(struct tcp *t, uint64_t now_us)
{
	for (int kind = 0; kind < KINDS; kind++)
		sweep_list(t, kind, now_us);
}

void tcp_drain(struct tcp *t)
{
	for (int kind = 0; kind < KINDS; kind++)
		while (!TAILQ_EMPTY(&t->lists[kind]))
			flow_drop(t, TAILQ_FIRST(&t->lists[kind]));
}

const struct tcp_counters *tcp_counters(const struct tcp *t)
{
	return &t->counters;
}

/* The list of free flows goes through all of them. */
void tcp_memory(const struct tcp *t, struct memory_use *sum)
{
	const struct tcp_options *o = &t->options;
	uint64_t flows = o->flows * sizeof(struct flow);

	memory_use_add_gauge(sum, &t->memory);
	sum->real_used += flows + counter_get(&t->touched);
	sum->limit += flows + o->small * (sizeof(struct buffer) + TCP_SMALL) +
		      o->large * (sizeof(struct buffer) + TCP_WINDOW);
}

/* ---- life ---- */

static int pool_init(struct pool *pool, uint32_t count, uint32_t size)
{
	size_t step = sizeof(struct buffer) + size;

	pool->size = size;
	pool->all = pool->fresh = calloc(count, step);
	if (!pool->all)
		return -ENOMEM;
	pool->end = pool->all + count * step;
	return HT_OK;
}

static void lists_init(struct tcp *t)
{
	for (int kind = 0; kind < KINDS; kind++)
		TAILQ_INIT(&t->lists[kind]);
	TAILQ_INIT(&t->free);
	for (uint32_t i = 0; i < t->options.flows; i++)
		TAILQ_INSERT_TAIL(&t->free, &t->all[i], in_list);
}

int tcp_new(struct tcp **out, const struct tcp_options *options, tcp_take_fn *take, void *ctx)
{
	uint32_t buckets = 1;
	struct tcp *t;

	if (options->flows < 4 || options->flows > 1U << 24 || !options->small || !options->large)
		return -EINVAL;
	t = aligned_alloc(_Alignof(struct tcp), sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	while (buckets < options->flows)
		buckets *= 2;
	t->options = *options;
	t->take = take;
	t->ctx = ctx;
	t->bucket_mask = buckets - 1;
	t->buckets = calloc(buckets, sizeof(*t->buckets));
	t->all = calloc(options->flows, sizeof(*t->all));
	if (!t->buckets || !t->all || pool_init(&t->small, options->small, TCP_SMALL) < 0 ||
	    pool_init(&t->large, options->large, TCP_WINDOW) < 0 ||
	    getrandom(&t->seed, sizeof(t->seed), 0) != (ssize_t)sizeof(t->seed)) {
		tcp_free(t);
		return -ENOMEM;
	}
	lists_init(t);
	*out = t;
	return HT_OK;
}

void tcp_free(struct tcp *t)
{
	if (!t)
		return;
	free(t->buckets);
	free(t->all);
	free(t->small.all);
	free(t->large.all);
	free(t);
}
