/* Shards by hash, each with a lock, a pool of datagrams and a pool of pages. A datagram has a bit
 * for every unit of eight octets that is there: only the last fragment may end within a unit. */
#include "capture/fragments.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/gauge.h"

#define SHARDS	   16
#define UNIT	   8
#define UNITS	   ((FRAGMENTS_DATAGRAM + UNIT - 1) / UNIT)
#define PAGE_BYTES 2048 /* a datagram of an ordinary MTU and a half needs one or two */
#define PAGES	   ((FRAGMENTS_DATAGRAM + PAGE_BYTES - 1) / PAGE_BYTES)

/* Constant size without holes, as it is hashed and compared by octets. */
struct key {
	uint8_t src[16], dst[16];
	uint32_t id;
	uint8_t family, proto, zero[2];
};

union page {
	uint8_t bytes[PAGE_BYTES];
	union page *next_free;
};

/* FREE is in no bucket; DONE was whole and DISCARDED is refused, both are kept to know what comes
 * again and have no pages. */
enum state { FREE, OPEN, DONE, DISCARDED };

struct entry {
	struct key key;
	enum state state;
	uint8_t proto;
	uint64_t since_us; /* OPEN, DISCARDED: its first fragment; DONE: when it was whole */
	uint32_t fragments;
	uint32_t total; /* octets; 0: the last fragment did not come */
	uint32_t end;	/* of what is there, with the holes before it */
	uint32_t units; /* that are there */
	union page *pages[PAGES];
	uint64_t present[(UNITS + 63) / 64];
	LIST_ENTRY(entry) in_bucket;
	TAILQ_ENTRY(entry) in_age;
};

TAILQ_HEAD(age, entry);
LIST_HEAD(bucket, entry);

struct ends {
#define X(field, help) counter field;
	FRAGMENT_ENDS(X)
#undef X
	counter given, completed, trimmed; /* the lock makes one writer of them */
};

struct shard {
	pthread_mutex_t lock; /* of all that follows */
	struct age open;      /* OPEN and DISCARDED, the oldest first */
	struct age done;      /* the first done first */
	struct age free;
	union page *free_pages;
	/* Never used: the kernel gives memory for them once they are. */
	struct entry *fresh, *fresh_end;
	union page *fresh_page, *fresh_page_end;
	struct bucket *buckets;
	struct gauge memory; /* octets of datagrams and pages in use; the lock makes one writer */
	counter touched;     /* of those ever used */
	struct ends ends;
} __attribute__((aligned(128)));

struct fragments {
	uint64_t seed, timeout_us, limit;
	uint32_t bucket_mask;
	struct entry *entries;
	union page *pages;
	struct bucket *buckets;
	struct shard shards[SHARDS];
};

/* ---- the pools ---- */

static void taken(struct shard *s, uint64_t bytes, bool is_fresh)
{
	gauge_add(&s->memory, bytes);
	if (is_fresh)
		counter_add(&s->touched, bytes);
}

static void pages_give(struct shard *s, struct entry *e)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		if (!e->pages[i])
			continue;
		e->pages[i]->next_free = s->free_pages;
		s->free_pages = e->pages[i];
		e->pages[i] = NULL;
		gauge_sub(&s->memory, PAGE_BYTES);
	}
}

static struct age *age_of(struct shard *s, const struct entry *e)
{
	return e->state == DONE ? &s->done : &s->open;
}

static void entry_drop(struct shard *s, struct entry *e)
{
	pages_give(s, e);
	LIST_REMOVE(e, in_bucket);
	TAILQ_REMOVE(age_of(s, e), e, in_age);
	e->state = FREE;
	gauge_sub(&s->memory, sizeof(*e));
	TAILQ_INSERT_TAIL(&s->free, e, in_age);
}

/* The fragments that it holds end as @p end says. */
static void entry_give_up(struct shard *s, struct entry *e, counter *end)
{
	counter_add(end, e->fragments);
	entry_drop(s, e);
}

/* The oldest that holds something, but not @p but: its pages or its place are wanted. One that is
 * discarded has no pages to give, and goes on the way. */
static void evict(struct shard *s, const struct entry *but)
{
	struct entry *e = TAILQ_FIRST(&s->open);

	if (e == but)
		e = TAILQ_NEXT(e, in_age);
	entry_give_up(s, e, &s->ends.evicted);
}

static struct entry *entry_take(struct shard *s)
{
	struct entry *e;

	if (TAILQ_EMPTY(&s->free) && s->fresh < s->fresh_end) {
		taken(s, sizeof(*e), true);
		return s->fresh++;
	}
	if (TAILQ_EMPTY(&s->free) && !TAILQ_EMPTY(&s->done))
		entry_drop(s, TAILQ_FIRST(&s->done));
	else if (TAILQ_EMPTY(&s->free))
		evict(s, NULL);
	e = TAILQ_FIRST(&s->free);
	TAILQ_REMOVE(&s->free, e, in_age);
	taken(s, sizeof(*e), false);
	return e;
}

/* A shard has pages for one whole datagram: there is one, or somebody else has it. */
static union page *page_take(struct shard *s, const struct entry *e)
{
	union page *page;

	if (!s->free_pages && s->fresh_page < s->fresh_page_end) {
		taken(s, PAGE_BYTES, true);
		return s->fresh_page++;
	}
	while (!s->free_pages)
		evict(s, e);
	page = s->free_pages;
	s->free_pages = page->next_free;
	taken(s, PAGE_BYTES, false);
	return page;
}

/* ---- time ---- */

static bool is_stale(const struct fragments *t, const struct entry *e, uint64_t now_us)
{
	uint64_t most = e->state == DONE ? FRAGMENTS_AGAIN_US : t->timeout_us;

	return now_us > e->since_us ? now_us - e->since_us > most : e->since_us - now_us > most;
}

static void entry_expire(struct shard *s, struct entry *e)
{
	entry_give_up(s, e, &s->ends.timed_out); /* one that is done or discarded holds none */
}

/* From the oldest on, up to the first that is not. */
static void expire_oldest(struct fragments *t, struct shard *s, uint64_t now_us)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&s->open)) && is_stale(t, e, now_us))
		entry_expire(s, e);
	while ((e = TAILQ_FIRST(&s->done)) && is_stale(t, e, now_us))
		entry_drop(s, e);
}

/* ---- find ---- */

static void key_make(struct key *key, const struct fragment *f)
{
	size_t len = f->src.family == FAMILY_IPV4 ? 4 : 16;

	memset(key, 0, sizeof(*key));
	memcpy(key->src, f->src.ip, len);
	memcpy(key->dst, f->dst.ip, len);
	key->id = f->id;
	key->family = f->src.family;
	if (f->src.family == FAMILY_IPV4)
		key->proto = f->proto;
}

static struct entry *entry_find(struct bucket *b, const struct key *key)
{
	struct entry *e;

	LIST_FOREACH(e, b, in_bucket)
	if (memcmp(&e->key, key, sizeof(*key)) == 0)
		return e;
	return NULL;
}

static struct entry *entry_get(struct fragments *t, struct shard *s, struct bucket *b,
			       const struct key *key, const struct fragment *f)
{
	struct entry *e = entry_find(b, key);

	if (e && is_stale(t, e, f->ts_us)) { /* its id is used again */
		entry_expire(s, e);
		e = NULL;
	}
	if (e)
		return e;
	e = entry_take(s);
	e->key = *key;
	e->state = OPEN;
	e->proto = f->proto;
	e->since_us = f->ts_us;
	e->fragments = e->total = e->end = e->units = 0;
	memset(e->present, 0, sizeof(e->present));
	LIST_INSERT_HEAD(b, e, in_bucket);
	TAILQ_INSERT_TAIL(&s->open, e, in_age);
	return e;
}

/* ---- put together ---- */

static bool unit_is_there(const struct entry *e, uint32_t unit)
{
	return e->present[unit / 64] >> (unit % 64) & 1;
}

/* Octets of the fragment in one unit. */
static struct view unit_of(const struct fragment *f, uint32_t unit)
{
	uint32_t at = unit * UNIT - f->offset, left = f->payload.len - at;

	return (struct view){ f->payload.at + at, left < UNIT ? left : UNIT };
}

static uint8_t *place_of(const struct entry *e, uint32_t unit)
{
	uint32_t at = unit * UNIT;

	return e->pages[at / PAGE_BYTES]->bytes + at % PAGE_BYTES;
}

static uint32_t unit_first(const struct fragment *f)
{
	return f->offset / UNIT;
}

static uint32_t unit_end(const struct fragment *f)
{
	return (f->offset + f->payload.len + UNIT - 1) / UNIT;
}

/* How many units of the fragment are there, and whether what is there is the same. */
static uint32_t count_there(const struct entry *e, const struct fragment *f, bool *is_same)
{
	uint32_t there = 0;

	*is_same = true;
	for (uint32_t unit = unit_first(f); unit < unit_end(f); unit++) {
		struct view octets = unit_of(f, unit);

		if (!unit_is_there(e, unit))
			continue;
		there++;
		*is_same &= memcmp(place_of(e, unit), octets.at, octets.len) == 0;
	}
	return there;
}

static void put(struct shard *s, struct entry *e, const struct fragment *f)
{
	for (uint32_t unit = unit_first(f); unit < unit_end(f); unit++) {
		union page **page = &e->pages[unit * UNIT / PAGE_BYTES];
		struct view octets = unit_of(f, unit);

		if (unit_is_there(e, unit))
			continue;
		if (!*page)
			*page = page_take(s, e);
		memcpy(place_of(e, unit), octets.at, octets.len);
		e->present[unit / 64] |= 1ULL << (unit % 64);
		e->units++;
	}
}

/* Two fragments say where the datagram ends, or one is beyond that. */
static bool is_end_wrong(const struct entry *e, const struct fragment *f)
{
	uint32_t end = f->offset + f->payload.len;

	if (e->total)
		return f->more ? end > e->total : end != e->total;
	return !f->more && e->end > end;
}

static bool is_whole(const struct entry *e)
{
	return e->total && e->units == (e->total + UNIT - 1) / UNIT;
}

static void discard(struct shard *s, struct entry *e)
{
	pages_give(s, e);
	counter_add(&s->ends.overlapping, e->fragments + 1);
	e->fragments = 0;
	e->state = DISCARDED;
}

/* The fragment has its place in the datagram. */
static void hold(struct shard *s, struct entry *e, const struct fragment *f)
{
	uint32_t end = f->offset + f->payload.len;

	put(s, e, f);
	e->fragments++;
	if (end > e->end)
		e->end = end;
	if (!f->more)
		e->total = end;
	if (f->offset == 0)
		e->proto = f->proto;
}

static void take_ipv6(struct shard *s, struct entry *e, const struct fragment *f)
{
	bool is_same, is_wrong = is_end_wrong(e, f);
	uint32_t there = count_there(e, f, &is_same);

	if (!is_wrong && there == 0)
		hold(s, e, f);
	else if (!is_wrong && is_same && there == unit_end(f) - unit_first(f) &&
		 (f->more || e->total))
		counter_add(&s->ends.duplicate, 1);
	else
		discard(s, e);
}

static void take_ipv4(struct shard *s, struct entry *e, const struct fragment *f)
{
	uint32_t there, of = unit_end(f) - unit_first(f);
	bool is_same;

	if (is_end_wrong(e, f)) {
		counter_add(&s->ends.malformed, 1);
		return;
	}
	there = count_there(e, f, &is_same);
	if (there == of && (f->more || e->total)) {
		counter_add(&s->ends.duplicate, 1);
		return;
	}
	if (there)
		counter_add(&s->ends.trimmed, 1);
	hold(s, e, f);
}

static void copy_out(const struct entry *e, uint8_t *buffer)
{
	for (uint32_t at = 0; at < e->total; at += PAGE_BYTES) {
		uint32_t len = e->total - at < PAGE_BYTES ? e->total - at : PAGE_BYTES;

		memcpy(buffer + at, e->pages[at / PAGE_BYTES]->bytes, len);
	}
}

static void complete(struct shard *s, struct entry *e, uint64_t now_us, uint8_t *buffer,
		     struct datagram *out)
{
	copy_out(e, buffer);
	*out = (struct datagram){ .parts = e->fragments,
				  .proto = e->proto,
				  .payload = { buffer, e->total } };
	counter_add(&s->ends.completed, 1);
	counter_add(&s->ends.parts, e->fragments);
	e->fragments = 0;
	pages_give(s, e);
	TAILQ_REMOVE(&s->open, e, in_age);
	e->state = DONE;
	e->since_us = now_us;
	TAILQ_INSERT_TAIL(&s->done, e, in_age);
}

static bool add_locked(struct fragments *t, struct shard *s, struct bucket *b,
		       const struct key *key, const struct fragment *f, uint8_t *buffer,
		       struct datagram *out)
{
	struct entry *e;

	expire_oldest(t, s, f->ts_us);
	e = entry_get(t, s, b, key, f);
	if (e->state == DONE)
		counter_add(&s->ends.duplicate, 1);
	else if (e->state == DISCARDED)
		counter_add(&s->ends.overlapping, 1);
	else if (f->src.family == FAMILY_IPV4)
		take_ipv4(s, e, f);
	else
		take_ipv6(s, e, f);
	if (e->state != OPEN || !is_whole(e))
		return false;
	complete(s, e, f->ts_us, buffer, out);
	return true;
}

/* Why it is no fragment of any datagram; NULL if it may be one. */
static counter *refuse(struct ends *ends, const struct fragment *f)
{
	if (f->offset > FRAGMENTS_DATAGRAM || f->payload.len > FRAGMENTS_DATAGRAM - f->offset)
		return &ends->oversize;
	if (f->payload.len == 0 || f->offset % UNIT || (f->more && f->payload.len % UNIT) ||
	    f->src.family != f->dst.family)
		return &ends->malformed;
	return NULL;
}

bool fragments_add(struct fragments *t, const struct fragment *f,
		   uint8_t buffer[FRAGMENTS_DATAGRAM], struct datagram *out)
{
	struct shard *s;
	struct key key;
	uint64_t hash;
	bool is_done;
	counter *end;

	key_make(&key, f);
	hash = XXH3_64bits_withSeed(&key, sizeof(key), t->seed);
	s = &t->shards[hash % SHARDS];
	pthread_mutex_lock(&s->lock);
	counter_add(&s->ends.given, 1);
	end = refuse(&s->ends, f);
	is_done =
		!end && f->offset == 0 && !f->more; /* RFC 6946: alone, whatever else has its id */
	if (end) {
		counter_add(end, 1);
	} else if (is_done) {
		*out = (struct datagram){ .parts = 1, .proto = f->proto, .payload = f->payload };
		counter_add(&s->ends.completed, 1);
		counter_add(&s->ends.parts, 1);
	} else {
		is_done = add_locked(t, s, &s->buckets[(hash / SHARDS) & t->bucket_mask], &key, f,
				     buffer, out);
	}
	pthread_mutex_unlock(&s->lock);
	return is_done;
}

/* ---- sweep and sum ---- */

static void sweep_list(struct fragments *t, struct shard *s, struct age *list, uint64_t now_us)
{
	struct entry *e = TAILQ_FIRST(list), *next;

	for (; e; e = next) {
		next = TAILQ_NEXT(e, in_age);
		if (is_stale(t, e, now_us))
			entry_expire(s, e);
	}
}

void fragments_sweep(struct fragments *t, uint64_t now_us)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];

		pthread_mutex_lock(&s->lock);
		sweep_list(t, s, &s->open, now_us);
		sweep_list(t, s, &s->done, now_us);
		pthread_mutex_unlock(&s->lock);
	}
}

void fragments_drain(struct fragments *t)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &t->shards[i];

		pthread_mutex_lock(&s->lock);
		while (!TAILQ_EMPTY(&s->open))
			entry_expire(s, TAILQ_FIRST(&s->open));
		while (!TAILQ_EMPTY(&s->done))
			entry_drop(s, TAILQ_FIRST(&s->done));
		pthread_mutex_unlock(&s->lock);
	}
}

void fragments_sum(const struct fragments *t, struct fragments_sums *out)
{
	*out = (struct fragments_sums){ 0 };
	for (unsigned i = 0; i < SHARDS; i++) {
		const struct ends *ends = &t->shards[i].ends;
		uint64_t ended = 0, given;

#define X(field, help)                                  \
	{                                               \
		uint64_t n = counter_get(&ends->field); \
		out->field += n;                        \
		ended += n;                             \
	}
		FRAGMENT_ENDS(X)
#undef X
		out->completed += counter_get(&ends->completed);
		out->trimmed += counter_get(&ends->trimmed);
		given = counter_get(&ends->given);
		out->given += given;
		out->held += given - ended;
	}
}

void fragments_memory(const struct fragments *t, struct memory_use *sum)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		memory_use_add_gauge(sum, &t->shards[i].memory);
		sum->real_used += counter_get(&t->shards[i].touched);
	}
	sum->limit += t->limit;
}

/* ---- life ---- */

static uint32_t power_of_two(uint32_t least)
{
	uint32_t n = 1;

	while (n < least)
		n *= 2;
	return n;
}

static void shard_init(struct shard *s, struct entry *entries, uint32_t entry_count,
		       union page *pages, uint32_t page_count, struct bucket *buckets)
{
	TAILQ_INIT(&s->open);
	TAILQ_INIT(&s->done);
	TAILQ_INIT(&s->free);
	s->fresh = entries;
	s->fresh_end = entries + entry_count;
	s->fresh_page = pages;
	s->fresh_page_end = pages + page_count;
	s->buckets = buckets;
}

int fragments_new(struct fragments **out, const struct fragments_options *options)
{
	uint64_t bytes = options->bytes / SHARDS;
	uint32_t entries = options->datagrams / SHARDS + 1, buckets = power_of_two(entries), pages;
	struct fragments *t;

	if (options->datagrams > 1U << 24 || bytes / PAGE_BYTES > 1U << 24)
		return -EINVAL;
	pages = (uint32_t)(bytes / PAGE_BYTES);
	if (pages < PAGES)
		pages = PAGES;
	t = aligned_alloc(_Alignof(struct fragments), sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&t->shards[i].lock, NULL);
	t->timeout_us = options->timeout_us;
	t->bucket_mask = buckets - 1;
	t->limit = SHARDS * (entries * sizeof(*t->entries) + pages * sizeof(*t->pages));
	t->entries = calloc((size_t)SHARDS * entries, sizeof(*t->entries));
	t->pages = calloc((size_t)SHARDS * pages, sizeof(*t->pages));
	t->buckets = calloc((size_t)SHARDS * buckets, sizeof(*t->buckets));
	if (!t->entries || !t->pages || !t->buckets ||
	    getrandom(&t->seed, sizeof(t->seed), 0) != (ssize_t)sizeof(t->seed)) {
		fragments_free(t);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < SHARDS; i++)
		shard_init(&t->shards[i], t->entries + (size_t)i * entries, entries,
			   t->pages + (size_t)i * pages, pages, t->buckets + (size_t)i * buckets);
	*out = t;
	return HT_OK;
}

void fragments_free(struct fragments *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&t->shards[i].lock);
	free(t->entries);
	free(t->pages);
	free(t->buckets);
	free(t);
}
