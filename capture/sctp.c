/* Chunks in a hash by their number. Those of a message that lie next to one another are a run, a
 * list whose two ends know each other; a chunk that comes between two runs makes one of them. */
#include "capture/sctp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define PAGE_BYTES  504
#define PAGES_SPARE (UINT16_MAX / PAGE_BYTES + 1) /* of the largest chunk */

/* Constant size without holes, as it is hashed and compared by octets. */
struct key {
	uint8_t src[16], dst[16];
	uint16_t src_port, dst_port;
	uint32_t tsn;
	uint8_t family, zero[3];
};

struct page {
	struct page *next;
	uint8_t bytes[PAGE_BYTES];
};

/* A packet that did not end. */
struct packet {
	struct packet *next_free;
	uint32_t waiting; /* chunks of it that are held; one more while it is being read */
	counter *end;	  /* where it ends if no more happens */
};

/* HELD is in a run. DONE was handed on and is kept to know what comes again; it has no pages. */
enum state { FREE, HELD, DONE };

struct chunk {
	struct key key;
	enum state state;
	uint64_t digest; /* of its octets */
	uint64_t ts_us;	 /* HELD: when it came; DONE: when it was handed on */
	uint32_t len;
	uint16_t stream, seq;
	bool is_first, is_last, is_unordered;
	struct packet *packet;
	struct page *pages;
	struct chunk *before, *behind; /* in its run */
	struct chunk *other_end;       /* of its run; holds at the ends only, as does */
	uint32_t run_len;	       /* octets */
	LIST_ENTRY(chunk) in_bucket;
	TAILQ_ENTRY(chunk) in_list;
};

TAILQ_HEAD(chunks, chunk);
LIST_HEAD(bucket, chunk);

struct sctp {
	struct sctp_options options;
	sctp_fn *fn;
	void *ctx;
	uint64_t seed;
	uint32_t bucket_mask;
	uint32_t held_count, page_count; /* page_count: that are free */
	struct bucket *buckets;
	struct chunk *all;
	struct packet *packets;
	struct page *pages;
	struct packet *free_packets;
	struct page *free_pages;
	struct chunks held, done; /* the first that came first */
	struct chunks free;
	struct gauge memory; /* octets of chunks that are held, and of their pages */
	uint64_t limit;
	struct sctp_counters counters;
	uint8_t message[SCTP_MESSAGE];
};

static_assert(sizeof(struct chunk) * 2 + sizeof(struct packet) + 4 * sizeof(struct bucket) <=
		      SCTP_CHUNK_COST,
	      "what a chunk costs");

/* ---- packets ---- */

static struct packet *packet_begin(struct sctp *t)
{
	struct packet *p = t->free_packets;

	t->free_packets = p->next_free;
	*p = (struct packet){ .waiting = 1, .end = &t->counters.empty };
	return p;
}

/* A repetition does not say what becomes of a packet of which another chunk was given up. */
static void packet_saw_repetition(struct sctp *t, struct packet *p)
{
	counter_add(&t->counters.duplicates, 1);
	if (p->end == &t->counters.empty)
		p->end = &t->counters.stale;
}

static void packet_release(struct sctp *t, struct packet *p)
{
	if (--p->waiting)
		return;
	counter_add(p->end, 1);
	p->next_free = t->free_packets;
	t->free_packets = p;
}

/* One of its chunks has ended there. */
static void packet_end(struct sctp *t, struct packet *p, counter *end)
{
	if (p->end != &t->counters.carried)
		p->end = end;
	packet_release(t, p);
}

/* ---- pages ---- */

static uint32_t pages_of(uint32_t len)
{
	return (len + PAGE_BYTES - 1) / PAGE_BYTES;
}

static void pages_fill(struct sctp *t, struct chunk *c, struct view bytes)
{
	struct page **last = &c->pages;

	for (uint32_t at = 0; at < bytes.len; at += PAGE_BYTES) {
		struct page *page = t->free_pages;
		uint32_t left = bytes.len - at;

		t->free_pages = page->next;
		memcpy(page->bytes, bytes.at + at, left < PAGE_BYTES ? left : PAGE_BYTES);
		*last = page;
		last = &page->next;
	}
	*last = NULL;
	t->page_count -= pages_of(bytes.len);
}

static void pages_give(struct sctp *t, struct chunk *c)
{
	while (c->pages) {
		struct page *page = c->pages;

		c->pages = page->next;
		page->next = t->free_pages;
		t->free_pages = page;
	}
	t->page_count += pages_of(c->len);
}

/* ---- find ---- */

static void key_make(struct key *key, const struct sctp_packet *in)
{
	size_t len = in->src.family == FAMILY_IPV4 ? 4 : 16;

	memset(key, 0, sizeof(*key));
	memcpy(key->src, in->src.ip, len);
	memcpy(key->dst, in->dst.ip, len);
	key->src_port = in->src.port;
	key->dst_port = in->dst.port;
	key->family = in->src.family;
}

static struct bucket *bucket_of(struct sctp *t, const struct key *key)
{
	return &t->buckets[XXH3_64bits_withSeed(key, sizeof(*key), t->seed) & t->bucket_mask];
}

/* Farther away than the time-out, to either side: a file's clock may go back. */
static bool is_over(const struct sctp *t, uint64_t since_us, uint64_t now_us)
{
	uint64_t apart = now_us > since_us ? now_us - since_us : since_us - now_us;

	return apart > t->options.timeout_us;
}

static struct chunk *chunk_find(struct bucket *b, const struct key *key)
{
	struct chunk *c;

	LIST_FOREACH(c, b, in_bucket)
	if (memcmp(&c->key, key, sizeof(*key)) == 0)
		return c;
	return NULL;
}

static void chunk_free(struct sctp *t, struct chunk *c)
{
	LIST_REMOVE(c, in_bucket);
	c->state = FREE;
	TAILQ_INSERT_TAIL(&t->free, c, in_list);
}

static void chunk_forget(struct sctp *t, struct chunk *c)
{
	TAILQ_REMOVE(&t->done, c, in_list);
	chunk_free(t, c);
}

/* What is held with that number stays. What was handed on and differs was of another association,
 * and is forgotten: a number is there once. */
static bool is_repetition(struct sctp *t, struct bucket *b, const struct key *key, uint64_t digest,
			  uint64_t now_us)
{
	struct chunk *c = chunk_find(b, key);

	if (!c)
		return false;
	if (c->state == HELD || (c->digest == digest && !is_over(t, c->ts_us, now_us)))
		return true;
	chunk_forget(t, c);
	return false;
}

/* A neighbour of @p c that is of the same message, as far as they say. */
static struct chunk *neighbour(struct sctp *t, const struct chunk *c, uint32_t tsn)
{
	struct key key = c->key;
	struct chunk *n;

	key.tsn = tsn;
	n = chunk_find(bucket_of(t, &key), &key);
	if (!n || n->state != HELD || n->stream != c->stream ||
	    n->is_unordered != c->is_unordered || (n->seq != c->seq && !c->is_unordered))
		return NULL;
	return n;
}

/* ---- the end of a run ---- */

static struct chunk *run_head(struct chunk *c)
{
	while (c->before)
		c = c->before;
	return c;
}

static uint64_t held_bytes(const struct chunk *c)
{
	return sizeof(*c) + pages_of(c->len) * sizeof(struct page);
}

static void chunk_leave_held(struct sctp *t, struct chunk *c, counter *end)
{
	TAILQ_REMOVE(&t->held, c, in_list);
	t->held_count--;
	gauge_sub(&t->memory, held_bytes(c));
	pages_give(t, c);
	packet_end(t, c->packet, end);
	c->packet = NULL;
}

/* The run from @p head is not to become a message. */
static void run_give_up(struct sctp *t, struct chunk *head, counter *end)
{
	for (struct chunk *c = head, *behind; c; c = behind) {
		behind = c->behind;
		chunk_leave_held(t, c, end);
		chunk_free(t, c);
	}
}

static void give_up_oldest(struct sctp *t, counter *end)
{
	run_give_up(t, run_head(TAILQ_FIRST(&t->held)), end);
}

static uint32_t run_copy(struct sctp *t, const struct chunk *head)
{
	uint32_t len = 0;

	for (const struct chunk *c = head; c; c = c->behind) {
		uint32_t left = c->len;

		for (const struct page *page = c->pages; page; page = page->next) {
			uint32_t n = left < PAGE_BYTES ? left : PAGE_BYTES;

			memcpy(t->message + len, page->bytes, n);
			len += n;
			left -= n;
		}
	}
	return len;
}

static void chunk_done(struct sctp *t, struct chunk *c, uint64_t ts_us)
{
	c->state = DONE;
	c->ts_us = ts_us;
	TAILQ_INSERT_TAIL(&t->done, c, in_list);
}

static void deliver(struct sctp *t, const struct sctp_packet *in, struct view message)
{
	counter_add(&t->counters.messages, 1);
	t->fn(t->ctx, in, message);
}

/* All of a message is there. */
static void run_deliver(struct sctp *t, const struct sctp_packet *in, struct chunk *head)
{
	uint32_t len = run_copy(t, head);

	for (struct chunk *c = head, *behind; c; c = behind) {
		behind = c->behind;
		chunk_leave_held(t, c, &t->counters.carried);
		chunk_done(t, c, in->ts_us);
	}
	counter_add(&t->counters.assembled, 1);
	deliver(t, in, (struct view){ t->message, len });
}

/* ---- a chunk ---- */

/* One that is in no list. There is always one: about half of them are never held. */
static struct chunk *chunk_take(struct sctp *t)
{
	struct chunk *c;

	if (TAILQ_EMPTY(&t->free))
		chunk_forget(t, TAILQ_FIRST(&t->done));
	c = TAILQ_FIRST(&t->free);
	TAILQ_REMOVE(&t->free, c, in_list);
	return c;
}

static struct chunk *chunk_make(struct sctp *t, struct bucket *b, const struct key *key,
				const struct sctp_data *data, uint64_t digest)
{
	struct chunk *c = chunk_take(t);

	*c = (struct chunk){ .key = *key,
			     .digest = digest,
			     .len = data->payload.len,
			     .stream = data->stream,
			     .seq = data->seq,
			     .is_first = data->is_first,
			     .is_last = data->is_last,
			     .is_unordered = data->is_unordered };
	LIST_INSERT_HEAD(b, c, in_bucket);
	return c;
}

/* Join it with what lies before and behind it. @return the head of its run. */
static struct chunk *join(struct sctp *t, struct chunk *c)
{
	struct chunk *left = c->is_first ? NULL : neighbour(t, c, c->key.tsn - 1);
	struct chunk *right = c->is_last ? NULL : neighbour(t, c, c->key.tsn + 1);
	struct chunk *head = c, *tail = c;
	uint32_t len = c->len;

	if (left && !left->is_last) {
		c->before = left;
		left->behind = c;
		head = left->other_end;
		len += left->run_len;
	}
	if (right && !right->is_first) {
		c->behind = right;
		right->before = c;
		tail = right->other_end;
		len += right->run_len;
	}
	head->other_end = tail;
	tail->other_end = head;
	head->run_len = tail->run_len = len;
	return head;
}

/* There is room for one more than can be held: it may be what makes its message whole. */
static void hold(struct sctp *t, const struct sctp_packet *in, struct packet *p,
		 const struct key *key, const struct sctp_data *data, uint64_t digest)
{
	struct chunk *c = chunk_make(t, bucket_of(t, key), key, data, digest), *head;

	c->state = HELD;
	c->ts_us = in->ts_us;
	c->packet = p;
	p->waiting++;
	pages_fill(t, c, data->payload);
	TAILQ_INSERT_TAIL(&t->held, c, in_list);
	t->held_count++;
	gauge_add(&t->memory, held_bytes(c));
	head = join(t, c);
	if (head->run_len > SCTP_MESSAGE)
		run_give_up(t, head, &t->counters.oversize);
	else if (head->is_first && head->other_end->is_last)
		run_deliver(t, in, head);
	while (t->held_count > t->options.chunks || t->page_count < PAGES_SPARE)
		give_up_oldest(t, &t->counters.evicted);
}

static void take_data(struct sctp *t, const struct sctp_packet *in, struct packet *p,
		      struct key *key, const struct sctp_data *data)
{
	uint64_t digest = XXH3_64bits_withSeed(data->payload.at, data->payload.len, t->seed);
	struct bucket *b;

	key->tsn = data->tsn;
	b = bucket_of(t, key);
	if (is_repetition(t, b, key, digest, in->ts_us)) {
		packet_saw_repetition(t, p);
	} else if (data->is_first && data->is_last) {
		chunk_done(t, chunk_make(t, b, key, data, digest), in->ts_us);
		p->end = &t->counters.carried;
		deliver(t, in, data->payload);
	} else {
		hold(t, in, p, key, data, digest);
	}
}

void sctp_sweep(struct sctp *t, uint64_t now_us)
{
	struct chunk *c;

	while ((c = TAILQ_FIRST(&t->held)) && is_over(t, c->ts_us, now_us))
		give_up_oldest(t, &t->counters.timed_out);
}

void sctp_add(struct sctp *t, const struct sctp_packet *in)
{
	struct cursor chunks = cursor_over_view(in->chunks);
	struct sctp_data data;
	struct packet *p;
	struct key key;

	counter_add(&t->counters.given, 1);
	sctp_sweep(t, in->ts_us);
	p = packet_begin(t);
	key_make(&key, in);
	while (decode_sctp_data(&chunks, &data))
		take_data(t, in, p, &key, &data);
	packet_release(t, p);
}

void sctp_drain(struct sctp *t)
{
	while (!TAILQ_EMPTY(&t->held))
		give_up_oldest(t, &t->counters.timed_out);
	while (!TAILQ_EMPTY(&t->done))
		chunk_forget(t, TAILQ_FIRST(&t->done));
}

const struct sctp_counters *sctp_counters(const struct sctp *t)
{
	return &t->counters;
}

/* The lists of free places go through all of them. */
void sctp_memory(const struct sctp *t, struct memory_use *sum)
{
	memory_use_add_gauge(sum, &t->memory);
	sum->real_used += t->limit;
	sum->limit += t->limit;
}

/* ---- life ---- */

/* Those that are held, one more, and as many that were handed on. */
static uint32_t chunk_count(const struct sctp_options *options)
{
	return 2 * options->chunks + 1;
}

static void pools_init(struct sctp *t, uint32_t pages)
{
	TAILQ_INIT(&t->held);
	TAILQ_INIT(&t->done);
	TAILQ_INIT(&t->free);
	for (uint32_t i = 0; i < chunk_count(&t->options); i++)
		TAILQ_INSERT_TAIL(&t->free, &t->all[i], in_list);
	for (uint32_t i = t->options.chunks + 2; i-- > 0;) {
		t->packets[i].next_free = t->free_packets;
		t->free_packets = &t->packets[i];
	}
	for (uint32_t i = pages; i-- > 0;) {
		t->pages[i].next = t->free_pages;
		t->free_pages = &t->pages[i];
	}
	t->page_count = pages;
}

int sctp_new(struct sctp **out, const struct sctp_options *options, sctp_fn *fn, void *ctx)
{
	uint64_t pages = options->bytes / PAGE_BYTES + 1 + PAGES_SPARE;
	uint32_t buckets = 1;
	struct sctp *t;

	if (options->chunks == 0 || options->chunks > 1U << 24 || options->bytes < SCTP_MESSAGE ||
	    options->bytes > 1ULL << 40 || pages > UINT32_MAX)
		return -EINVAL;
	t = aligned_alloc(_Alignof(struct sctp), sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	while (buckets < 2 * options->chunks)
		buckets *= 2;
	t->options = *options;
	t->fn = fn;
	t->ctx = ctx;
	t->bucket_mask = buckets - 1;
	t->limit = (options->chunks + 1) * sizeof(*t->all) + pages * sizeof(*t->pages);
	t->buckets = calloc(buckets, sizeof(*t->buckets));
	t->all = calloc(chunk_count(options), sizeof(*t->all));
	t->packets = calloc((size_t)options->chunks + 2, sizeof(*t->packets));
	t->pages = calloc(pages, sizeof(*t->pages));
	if (!t->buckets || !t->all || !t->packets || !t->pages ||
	    getrandom(&t->seed, sizeof(t->seed), 0) != (ssize_t)sizeof(t->seed)) {
		sctp_free(t);
		return -ENOMEM;
	}
	pools_init(t, (uint32_t)pages);
	*out = t;
	return HT_OK;
}

void sctp_free(struct sctp *t)
{
	if (!t)
		return;
	free(t->buckets);
	free(t->all);
	free(t->packets);
	free(t->pages);
	free(t);
}
