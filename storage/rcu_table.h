/**
 * @file
 * A hash table under RCU over a pool that is made once: nothing on the way of a message takes a
 * lock, waits or allocates. A table knows its entries only by their first member; calls.c, media.c
 * and seen.c say what stands behind it.
 *
 * Bounds: the pool is `entries` plus a reserve of a sixteenth or more. When only the reserve is
 * left, each insertion also evicts the oldest of a few entries picked at random; if evicted ones
 * are still within their grace period and the reserve is used up, the insertion is refused.
 * Evictions and refusals are counted.
 *
 * The number of buckets is fixed, `entries` rounded up to a power of two: with a bounded pool there
 * is nothing to resize for, and a table that resizes itself starts a thread of liburcu's that
 * inherits name and core of whoever was first. Hashes are XXH3 with a seed of the table's own.
 *
 * An entry that leaves the table is used again after a grace period; ht-rcu gives them back, a
 * chain at a time.
 *
 * Threads: each thread that inserts or sweeps has its own struct rcu_table_thread, and enters
 * read-side sections as conf/rcu.h says. Times are a clock of the caller's in ms that may wrap.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "conf/rcu.h"

struct memory_use;
struct rcu_table;
struct rcu_table_thread;

/* The first member of every entry. Its fields are the table's own. */
struct rcu_entry {
	struct cds_lfht_node node;
	uint32_t next; /* the one behind in a chain: index + 1 */
	_Atomic uint32_t next_chain;
	_Atomic uint32_t seen_ms; /* last touched */
	uint16_t chain_len;	  /* of the first of a chain */
	_Atomic bool is_live;	  /* can be evicted and expires */
};

/*
 * What a thread counts, and it alone writes.
 * entries = inserted - evicted - expired - replaced
 */
struct rcu_table_counters {
	counter inserted, evicted, expired, replaced;
	counter refused; /* found no entry in the pool */
};

struct rcu_table_options {
	uint32_t entries; /* 1 to 2^30 */
	uint32_t entry_bytes;
	unsigned threads;
	/* Is this the entry of the key? Called inside the table, as liburcu does. */
	cds_lfht_match_fct match;
	/* Write all that is behind struct rcu_entry, which is nobody else's yet. */
	void (*fill)(struct rcu_entry *entry, const void *key);
	/* Has it been idle for so long that it goes? */
	bool (*is_over)(const struct rcu_entry *entry, uint32_t idle_ms);
};

/**
 * @return HT_OK, -ENOMEM, -EINVAL, or -errno without random numbers for the seed.
 * Threads: one that is registered. rcu_table_free() it when no thread uses it any more, outside
 * read-side sections; it waits for a grace period.
 */
HT_MUST_CHECK int rcu_table_new(struct rcu_table **out, const struct rcu_table_options *options);
void rcu_table_free(struct rcu_table *t);

/** What thread @p i of `threads` brings along to insert or sweep. */
struct rcu_table_thread *rcu_table_thread(struct rcu_table *t, unsigned i);
const struct rcu_table *rcu_table_of(const struct rcu_table_thread *th);

/** The table's hash of these octets. Threads: any. */
uint64_t rcu_table_hash(const struct rcu_table *t, const void *at, size_t len);

/** Its seed, for hashes that are more than one call. */
uint64_t rcu_table_seed(const struct rcu_table *t);

/**
 * Begin to fetch what looking up a hash will read: first the bucket; then, when that has had its
 * time, what hangs on it. Either may be left out. The second one inside a read-side section.
 */
void rcu_table_prefetch_bucket(const struct rcu_table *t, uint64_t hash);
void rcu_table_prefetch_entry(const struct rcu_table *t, uint64_t hash);

/* What a lookup needs: the first member of struct rcu_table, seen here for the hot loop alone. */
struct rcu_table_lookup {
	struct cds_lfht *ht;
	cds_lfht_match_fct match;
};

/**
 * NULL if it is not there; else valid until the read-side section ends. Inside one, which is not
 * asked for here (a fifth of a lookup).
 */
static inline struct rcu_entry *rcu_table_find(const struct rcu_table *t, uint64_t hash,
					       const void *key)
{
	const struct rcu_table_lookup *l = (const struct rcu_table_lookup *)t;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	cds_lfht_lookup(l->ht, hash, l->match, key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	return node ? caa_container_of(node, struct rcu_entry, node) : NULL;
}

/**
 * The entry of the key, made by `fill` if there is none, and touched.
 * @return NULL if there is none and no room. Inside a read-side section.
 */
struct rcu_entry *rcu_table_put(struct rcu_table_thread *th, uint64_t hash, const void *key,
				uint32_t now_ms);

/** A fresh entry in the place of the one there, which others may go on reading. As above; a table
 * is used with this or with rcu_table_put(). */
struct rcu_entry *rcu_table_replace(struct rcu_table_thread *th, uint64_t hash, const void *key,
				    uint32_t now_ms);

static inline void rcu_entry_touch(struct rcu_entry *e, uint32_t now_ms)
{
	/* most of a batch finds it said already: then the line stays shared */
	if (atomic_load_explicit(&e->seen_ms, memory_order_relaxed) != now_ms)
		atomic_store_explicit(&e->seen_ms, now_ms, memory_order_relaxed);
}

/**
 * Look at the next @p most places of the pool and remove what is over; one read-side section of its
 * own. Places are taken in turn, those never used yet are not looked at.
 * @return how many places a full turn has now: call it that often that a turn takes as long as
 * entries may overstay. Threads: main.
 */
uint32_t rcu_table_sweep(struct rcu_table_thread *th, uint32_t now_ms, uint32_t most);

/** Call @p fn for each entry, in the order of the pool. Inside a read-side section; long for a
 * large table. */
void rcu_table_each(const struct rcu_table *t, void (*fn)(void *ctx, struct rcu_entry *entry),
		    void *ctx);

struct rcu_table_sums {
	uint64_t entries, inserted, evicted, expired, replaced, refused;
};

/** Summed over threads; `entries` is never negative. Threads: any. */
struct rcu_table_sums rcu_table_sums(const struct rcu_table *t);

/** The most memory it can use: pool and buckets. */
size_t rcu_table_bytes(const struct rcu_table *t);

/** Octets that one of many entries costs, at most, its share of the buckets and of the reserve
 * included. Entries that lie with threads come on top, some hundred for each. */
uint64_t rcu_table_entry_cost(uint32_t entry_bytes);

/** Add what it uses; buckets count always, places of the pool when an entry is there, and as taken
 * from the system since they were first used. The most is for the caller to keep. Threads: any. */
void rcu_table_memory(const struct rcu_table *t, struct memory_use *sum);

/** How long the longest chain behind a bucket is, counted in full. Inside a read-side section; for
 * tests and reports. */
unsigned rcu_table_longest_chain(const struct rcu_table *t);
