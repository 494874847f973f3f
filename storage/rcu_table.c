/* A cds_lfht of fixed size over a pool. Free entries are chains on a stack without a lock; each
 * thread works off a chain of its own. */
#include "storage/rcu_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/gauge.h"

#define CHAIN_MAX      64  /* entries a thread takes and gives back at once */
#define RETIRES	       64  /* chains of one thread that wait for their grace period */
#define CANDIDATES     8   /* the oldest of so many is evicted */
#define RESERVE_SHARE  16  /* of the pool, for what waits for its grace period */
#define ENTRY_ALIGN    64  /* a cache line */
#define PREFETCH_LINES 2   /* of an entry: its head and the beginning of its key */
#define LFHT_FLAGS     7UL /* liburcu's, in the low bits of a pointer to a node */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; younger than some C libraries */
#endif
#define HUGE_PAGE   (2UL << 20)
#define ENTRIES_MAX (1U << 30)

/* A chain on its way through a grace period. */
struct retire {
	struct rcu_head rcu;
	struct rcu_table *table;
	uint32_t first;
	_Atomic bool is_used; /* the thread sets it, ht-rcu clears it */
};

struct rcu_table_thread {
	struct rcu_table *table;
	uint32_t free;		     /* chain of entries nobody can see */
	uint32_t unused, unused_end; /* places of the pool that were never used */
	uint32_t gone, gone_len;     /* entries taken out of the table, grace period to come */
	uint32_t hand;		     /* of the sweeper */
	uint64_t random;
	struct rcu_table_counters n;
	struct retire retires[RETIRES];
} __attribute__((aligned(128)));

struct rcu_table {
	struct rcu_table_lookup lookup;
	uint8_t *pool;
	uint64_t seed;
	uint64_t bucket_mask;
	uint32_t entry_bytes, places, reserve, chain_max;
	unsigned threads;
	void (*fill)(struct rcu_entry *entry, const void *key);
	bool (*is_over)(const struct rcu_entry *entry, uint32_t idle_ms);
	struct rcu_table_thread *thread;
	/* what threads share and write, once per chain */
	_Atomic uint32_t chains __attribute__((aligned(128))); /* stack: index + 1 of the first */
	_Atomic uint32_t unused; /* places below it were given to threads; may pass `places` */
	_Atomic int64_t free;	 /* entries not given to a thread; never negative at rest */
};

static inline struct rcu_entry *entry_at(const struct rcu_table *t, uint32_t index)
{
	return (struct rcu_entry *)(t->pool + (size_t)index * t->entry_bytes);
}

/* Index + 1, so that 0 is the end of a chain. */
static inline uint32_t entry_link(const struct rcu_table *t, const struct rcu_entry *e)
{
	return (uint32_t)((size_t)((const uint8_t *)e - t->pool) / t->entry_bytes) + 1;
}

/* ---- chains of free entries ---- */

/*
 * The stack has no ABA problem: who pops is in a read-side section, and what was popped comes back
 * only through a grace period that began later, so not before the section ends.
 */
static uint32_t chain_pop(struct rcu_table *t)
{
	uint32_t first = atomic_load_explicit(&t->chains, memory_order_acquire), next;

	do {
		if (!first)
			return 0;
		next = atomic_load_explicit(&entry_at(t, first - 1)->next_chain,
					    memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
		&t->chains, &first, next, memory_order_acquire, memory_order_acquire));
	atomic_fetch_sub_explicit(&t->free, entry_at(t, first - 1)->chain_len,
				  memory_order_relaxed);
	return first;
}

static void chain_push(struct rcu_table *t, uint32_t first, uint16_t len)
{
	struct rcu_entry *e = entry_at(t, first - 1);
	uint32_t next = atomic_load_explicit(&t->chains, memory_order_relaxed);

	e->chain_len = len;
	do
		atomic_store_explicit(&e->next_chain, next, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&t->chains, &next, first,
						      memory_order_release, memory_order_relaxed));
	atomic_fetch_add_explicit(&t->free, len, memory_order_relaxed);
}

/* Give a chain back that nobody can see any more, in pieces of the usual length. Who added an entry
 * may have said that it is live when somebody else had replaced it already. */
static void chain_release(struct rcu_table *t, uint32_t first)
{
	while (first) {
		struct rcu_entry *e = entry_at(t, first - 1);
		uint32_t piece = first;
		uint16_t len = 1;

		atomic_store_explicit(&e->is_live, false, memory_order_relaxed);
		for (; e->next && len < t->chain_max; len++) {
			e = entry_at(t, e->next - 1);
			atomic_store_explicit(&e->is_live, false, memory_order_relaxed);
		}
		first = e->next;
		e->next = 0;
		chain_push(t, piece, len);
	}
}

static void chain_retired(struct rcu_head *head)
{
	struct retire *r = caa_container_of(head, struct retire, rcu);

	rcu_retired();
	chain_release(r->table, r->first);
	atomic_store_explicit(&r->is_used, false, memory_order_release);
}

/* Send what this thread took out through a grace period. If all its ways are taken, the chain goes
 * on growing. */
static void gone_send(struct rcu_table_thread *th)
{
	for (unsigned i = 0; th->gone && i < RETIRES; i++) {
		struct retire *r = &th->retires[i];

		if (atomic_load_explicit(&r->is_used, memory_order_acquire))
			continue;
		atomic_store_explicit(&r->is_used, true, memory_order_relaxed);
		r->table = th->table;
		r->first = th->gone;
		th->gone = th->gone_len = 0;
		rcu_retire(&r->rcu, chain_retired);
	}
}

/* Of the one thread that took it out of the table. */
static void entry_gone(struct rcu_table_thread *th, struct rcu_entry *e)
{
	atomic_store_explicit(&e->is_live, false, memory_order_relaxed); /* evict others */
	e->next = th->gone;
	th->gone = entry_link(th->table, e);
	if (++th->gone_len % th->table->chain_max == 0)
		gone_send(th);
}

/* ---- taking an entry, evicting ---- */

static bool unused_take(struct rcu_table_thread *th)
{
	struct rcu_table *t = th->table;
	uint32_t from = atomic_load_explicit(&t->unused, memory_order_relaxed), n = t->chain_max;

	if (from >= t->places)
		return false;
	from = atomic_fetch_add_explicit(&t->unused, n, memory_order_relaxed);
	if (from >= t->places)
		return false;
	n = n < t->places - from ? n : t->places - from;
	atomic_fetch_sub_explicit(&t->free, n, memory_order_relaxed);
	th->unused = from;
	th->unused_end = from + n;
	return true;
}

static struct rcu_entry *entry_take(struct rcu_table_thread *th)
{
	struct rcu_entry *e;

	if (!th->free && th->unused == th->unused_end) {
		th->free = chain_pop(th->table); /* before new places: less memory in use */
		if (!th->free && !unused_take(th))
			return NULL;
	}
	if (!th->free)
		return entry_at(th->table, th->unused++);
	e = entry_at(th->table, th->free - 1);
	th->free = e->next;
	if (th->free) /* the next one to be taken */
		__builtin_prefetch(entry_at(th->table, th->free - 1), 1);
	return e;
}

/* It was never added. */
static void entry_untake(struct rcu_table_thread *th, struct rcu_entry *e)
{
	e->next = th->free;
	th->free = entry_link(th->table, e);
}

/* Places that were used so far. */
static uint32_t places_used(const struct rcu_table *t)
{
	uint32_t used = atomic_load_explicit(&t->unused, memory_order_relaxed);

	return used < t->places ? used : t->places;
}

static uint64_t random_step(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool entry_is_live(const struct rcu_entry *e)
{
	bool is_live = atomic_load_explicit(&e->is_live, memory_order_acquire);

	rcu_tell_acquire(e);
	return is_live;
}

static uint32_t idle_ms(const struct rcu_entry *e, uint32_t now_ms)
{
	uint32_t idle = now_ms - atomic_load_explicit(&e->seen_ms, memory_order_relaxed);

	return (int32_t)idle < 0 ? 0 : idle; /* another thread's clock is a little ahead */
}

static void evict_one(struct rcu_table_thread *th, uint32_t now_ms)
{
	struct rcu_table *t = th->table;
	uint32_t places = places_used(t), most = 0;
	struct rcu_entry *some[CANDIDATES], *oldest = NULL;

	for (unsigned i = 0; i < CANDIDATES; i++) { /* all misses at once */
		uint64_t any = random_step(&th->random) >> 32;

		some[i] = entry_at(t, (uint32_t)(any * places >> 32));
		__builtin_prefetch(some[i]);
	}
	for (unsigned i = 0; i < CANDIDATES; i++) {
		if (!entry_is_live(some[i]) || (oldest && idle_ms(some[i], now_ms) <= most))
			continue;
		oldest = some[i];
		most = idle_ms(oldest, now_ms);
	}
	if (!oldest || cds_lfht_del(t->lookup.ht, &oldest->node) != 0)
		return;
	entry_gone(th, oldest);
	counter_add(&th->n.evicted, 1);
}

static bool is_short(const struct rcu_table *t)
{
	return atomic_load_explicit(&t->free, memory_order_relaxed) < t->reserve;
}

/* An entry for the key, filled but not in the table; NULL, counted, if there is none. */
static struct rcu_entry *entry_make(struct rcu_table_thread *th, const void *key, uint32_t now_ms)
{
	struct rcu_entry *e;

	if (is_short(th->table))
		evict_one(th, now_ms);
	e = entry_take(th);
	if (!e) {
		counter_add(&th->n.refused, 1);
		gone_send(th);
		return NULL;
	}
	cds_lfht_node_init(&e->node);
	atomic_store_explicit(&e->seen_ms, now_ms, memory_order_relaxed);
	th->table->fill(e, key);
	rcu_tell_release(e);
	return e;
}

/* ---- find, put, replace ---- */

uint64_t rcu_table_hash(const struct rcu_table *t, const void *at, size_t len)
{
	return XXH3_64bits_withSeed(at, len, t->seed);
}

uint64_t rcu_table_seed(const struct rcu_table *t)
{
	return t->seed;
}

/* From here on it can be evicted and expires. */
static struct rcu_entry *entry_added(struct rcu_entry *e)
{
	atomic_store_explicit(&e->is_live, true, memory_order_release);
	return e;
}

struct rcu_entry *rcu_table_put(struct rcu_table_thread *th, uint64_t hash, const void *key,
				uint32_t now_ms)
{
	struct rcu_table *t = th->table;
	struct rcu_entry *e = rcu_table_find(t, hash, key);
	struct cds_lfht_node *there;

	RCU_ASSERT_READING();
	if (!e) {
		e = entry_make(th, key, now_ms);
		if (!e)
			return NULL;
		there = cds_lfht_add_unique(t->lookup.ht, hash, t->lookup.match, key, &e->node);
		if (there == &e->node) {
			counter_add(&th->n.inserted, 1);
			return entry_added(e);
		}
		entry_untake(th, e);
		e = caa_container_of(there, struct rcu_entry, node);
	}
	rcu_entry_touch(e, now_ms);
	return e;
}

struct rcu_entry *rcu_table_replace(struct rcu_table_thread *th, uint64_t hash, const void *key,
				    uint32_t now_ms)
{
	struct rcu_table *t = th->table;
	struct rcu_entry *e;
	struct cds_lfht_node *old;

	RCU_ASSERT_READING();
	e = entry_make(th, key, now_ms);
	if (!e)
		return NULL;
	counter_add(&th->n.inserted, 1); /* before somebody else can replace it */
	old = cds_lfht_add_replace(t->lookup.ht, hash, t->lookup.match, key, &e->node);
	if (old) {
		entry_gone(th, caa_container_of(old, struct rcu_entry, node));
		counter_add(&th->n.replaced, 1);
	}
	return entry_added(e);
}

/* ---- prefetch ---- */

/* Buckets lie in one array, because the table was made with cds_lfht_mm_mmap. */
static struct cds_lfht_node *bucket_of(const struct rcu_table *t, uint64_t hash)
{
	return cds_lfht_mm_mmap.bucket_at(t->lookup.ht, hash & t->bucket_mask);
}

static const struct cds_lfht_node *node_behind(const struct cds_lfht_node *node)
{
	return (const struct cds_lfht_node *)((uintptr_t)__atomic_load_n(&node->next,
									 __ATOMIC_RELAXED) &
					      ~LFHT_FLAGS);
}

static void node_prefetch(const struct cds_lfht_node *node)
{
	for (unsigned line = 0; line < PREFETCH_LINES; line++)
		__builtin_prefetch((const uint8_t *)node + (size_t)line * ENTRY_ALIGN);
}

void rcu_table_prefetch_bucket(const struct rcu_table *t, uint64_t hash)
{
	__builtin_prefetch(bucket_of(t, hash));
}

void rcu_table_prefetch_entry(const struct rcu_table *t, uint64_t hash)
{
	RCU_ASSERT_READING();
	node_prefetch(node_behind(bucket_of(t, hash)));
}

/* ---- sweep and list ---- */

uint32_t rcu_table_sweep(struct rcu_table_thread *th, uint32_t now_ms, uint32_t most)
{
	struct rcu_table *t = th->table;
	uint32_t places = places_used(t);

	rcu_read_begin();
	for (uint32_t i = 0; i < most && i < places; i++) {
		struct rcu_entry *e;

		th->hand = th->hand < places ? th->hand : 0;
		e = entry_at(t, th->hand++);
		if (!entry_is_live(e) || !t->is_over(e, idle_ms(e, now_ms)) ||
		    cds_lfht_del(t->lookup.ht, &e->node) != 0)
			continue;
		entry_gone(th, e);
		counter_add(&th->n.expired, 1);
	}
	rcu_read_end();
	gone_send(th);
	return places;
}

void rcu_table_each(const struct rcu_table *t, void (*fn)(void *ctx, struct rcu_entry *entry),
		    void *ctx)
{
	uint32_t places = places_used(t);

	RCU_ASSERT_READING();
	for (uint32_t i = 0; i < places; i++) {
		struct rcu_entry *e = entry_at(t, i);

		if (entry_is_live(e) && !cds_lfht_is_node_deleted(&e->node))
			fn(ctx, e);
	}
}

unsigned rcu_table_longest_chain(const struct rcu_table *t)
{
	uint64_t last = UINT64_MAX;
	unsigned len = 0, most = 0;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	RCU_ASSERT_READING();
	/* in the order of the reversed hash: a bucket's entries follow one another */
	for (cds_lfht_first(t->lookup.ht, &iter); (node = cds_lfht_iter_get_node(&iter));
	     cds_lfht_next(t->lookup.ht, &iter)) {
		uint64_t bucket =
			t->bucket_mask
				? node->reverse_hash >> (64 - __builtin_popcountll(t->bucket_mask))
				: 0;

		len = bucket == last ? len + 1 : 1;
		last = bucket;
		most = len > most ? len : most;
	}
	return most;
}

struct rcu_table_sums rcu_table_sums(const struct rcu_table *t)
{
	struct rcu_table_sums s = { 0 };

	for (unsigned i = 0; i < t->threads; i++) { /* what became of them first */
		const struct rcu_table_counters *n = &t->thread[i].n;

		s.evicted += counter_get(&n->evicted);
		s.expired += counter_get(&n->expired);
		s.replaced += counter_get(&n->replaced);
		s.refused += counter_get(&n->refused);
	}
	for (unsigned i = 0; i < t->threads; i++)
		s.inserted += counter_get(&t->thread[i].n.inserted);
	s.entries = s.inserted - s.evicted - s.expired - s.replaced;
	return s;
}

/* ---- life ---- */

static size_t pool_bytes(const struct rcu_table *t)
{
	return (size_t)t->places * t->entry_bytes;
}

size_t rcu_table_bytes(const struct rcu_table *t)
{
	return pool_bytes(t) + (t->bucket_mask + 1) * sizeof(struct cds_lfht_node);
}

static uint32_t aligned(uint32_t entry_bytes)
{
	return (entry_bytes + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN;
}

/* The number of buckets is the next power of two. */
uint64_t rcu_table_entry_cost(uint32_t entry_bytes)
{
	return aligned(entry_bytes) + aligned(entry_bytes) / RESERVE_SHARE +
	       2 * sizeof(struct cds_lfht_node);
}

void rcu_table_memory(const struct rcu_table *t, struct memory_use *sum)
{
	uint64_t limit = rcu_table_bytes(t), buckets = limit - pool_bytes(t);

	sum->used += buckets + rcu_table_sums(t).entries * t->entry_bytes;
	sum->real_used += buckets + (uint64_t)places_used(t) * t->entry_bytes;
	sum->limit += limit;
}

struct rcu_table_thread *rcu_table_thread(struct rcu_table *t, unsigned i)
{
	return &t->thread[i];
}

const struct rcu_table *rcu_table_of(const struct rcu_table_thread *th)
{
	return th->table;
}

static uint64_t power_of_two(uint64_t least)
{
	uint64_t n = 1;

	while (n < least)
		n <<= 1;
	return n;
}

static void sizes_set(struct rcu_table *t, const struct rcu_table_options *o)
{
	uint64_t in_threads;

	t->chain_max = o->entries / CHAIN_MAX;
	t->chain_max = t->chain_max < 1 ? 1 : t->chain_max > CHAIN_MAX ? CHAIN_MAX : t->chain_max;
	/* what lies with the threads is theirs: a chain to take from and one on the way out */
	in_threads = 2ULL * o->threads * t->chain_max;
	t->reserve = o->entries / RESERVE_SHARE + 2 * t->chain_max;
	t->places = (uint32_t)(o->entries + in_threads + t->reserve);
	t->bucket_mask = power_of_two(o->entries) - 1;
	t->entry_bytes = aligned(o->entry_bytes);
	t->threads = o->threads;
	t->lookup.match = o->match;
	t->fill = o->fill;
	t->is_over = o->is_over;
	atomic_init(&t->free, t->places);
}

/*
 * The buckets, which are all there from the beginning, in huge pages if the kernel (6.1) does it:
 * to find the page of one takes as long as to fetch it otherwise.
 */
static void buckets_collapse(struct rcu_table *t)
{
	uint8_t *at = (uint8_t *)cds_lfht_mm_mmap.bucket_at(t->lookup.ht, 0);
	size_t bytes = (t->bucket_mask + 1) * sizeof(struct cds_lfht_node);
	size_t before = (size_t) - (uintptr_t)at % HUGE_PAGE;

	if (bytes > before)
		(void)madvise(at + before, (bytes - before) / HUGE_PAGE * HUGE_PAGE, MADV_COLLAPSE);
}

static int parts_make(struct rcu_table *t)
{
	uint64_t buckets = t->bucket_mask + 1;

	if (getrandom(&t->seed, sizeof(t->seed), 0) != (ssize_t)sizeof(t->seed))
		return -errno;
	t->thread = aligned_alloc(128, t->threads * sizeof(*t->thread));
	if (!t->thread)
		return -ENOMEM;
	memset(t->thread, 0, t->threads * sizeof(*t->thread));
	for (unsigned i = 0; i < t->threads; i++) {
		t->thread[i].table = t;
		t->thread[i].random = t->seed + i;
	}
	/* memory is used as places are */
	t->pool = mmap(NULL, pool_bytes(t), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->pool == MAP_FAILED) {
		t->pool = NULL;
		return -ENOMEM;
	}
	/* a wish: a sixth less for a lookup among millions, and fewer page faults on the way */
	(void)madvise(t->pool, pool_bytes(t), MADV_HUGEPAGE);
	/* by its full name, because it says which memory the buckets get: see bucket_of() */
	t->lookup.ht = _cds_lfht_new(buckets, buckets, buckets, 0, &cds_lfht_mm_mmap,
				     &urcu_memb_flavor, NULL);
	if (!t->lookup.ht)
		return -ENOMEM;
	buckets_collapse(t);
	return HT_OK;
}

int rcu_table_new(struct rcu_table **out, const struct rcu_table_options *o)
{
	struct rcu_table *t;
	int err;

	if (o->entries == 0 || o->entries > ENTRIES_MAX || o->threads == 0 ||
	    o->entry_bytes < sizeof(struct rcu_entry))
		return -EINVAL;
	t = aligned_alloc(128, sizeof(*t));
	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	sizes_set(t, o);
	err = parts_make(t);
	if (err < 0) {
		rcu_table_free(t);
		return err;
	}
	*out = t;
	return HT_OK;
}

/* Wait until ht-rcu has let go of all that was retired, and see what it did. */
static void retired_wait(struct rcu_table *t)
{
	urcu_memb_barrier();
	for (unsigned i = 0; i < t->threads * RETIRES; i++)
		(void)atomic_load_explicit(&t->thread[i / RETIRES].retires[i % RETIRES].is_used,
					   memory_order_acquire);
}

/* Nobody else is there: no read-side section. By the pool, because in the order of the list every
 * empty bucket is a miss. */
static void table_empty(struct rcu_table *t)
{
	for (uint32_t i = 0; i < places_used(t); i++)
		if (entry_is_live(entry_at(t, i)))
			(void)cds_lfht_del(t->lookup.ht, &entry_at(t, i)->node);
}

void rcu_table_free(struct rcu_table *t)
{
	if (!t)
		return;
	if (t->lookup.ht) {
		table_empty(t);
		retired_wait(t);
		(void)cds_lfht_destroy(t->lookup.ht, NULL);
	}
	if (t->pool)
		munmap(t->pool, pool_bytes(t));
	free(t->thread);
	free(t);
}
