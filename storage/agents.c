/* A cds_lfht of fixed size; entries come from a pool, free ones are a list under a lock that
 * receive threads only try. */
#include "storage/agents.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/rcu.h"

#define BUCKETS	       AGENTS_MAX
#define SMOOTHING      16 /* one over the weight of a new clock offset */
#define NEARLY_USED(n) ((n) > AGENTS_MAX - AGENTS_MAX / 4)

struct agent {
	struct cds_lfht_node node;
	struct rcu_head rcu;
	struct agents *table;
	struct agent_key key; /* constant while it is in the table, as is the name */
	char name[AGENT_NAME];
	uint64_t first_us;
	_Atomic uint64_t last_us, received, accepted, malformed, denied, bytes;
	_Atomic int64_t offset_us;
	_Atomic bool has_offset;
	struct agent *next_free;
};

struct agents {
	struct cds_lfht *table;
	uint64_t seed;
	_Atomic uint64_t count, evicted;
	pthread_mutex_t lock; /* of the free list; a leaf */
	struct agent *free;
	struct agent rest; /* who found no place */
	struct agent pool[AGENTS_MAX];
};

static uint64_t key_hash(const struct agents *a, const struct agent_key *key)
{
	return XXH3_64bits_withSeed(key, sizeof(*key), a->seed);
}

static int key_is(struct cds_lfht_node *node, const void *key)
{
	struct agent *agent = caa_container_of(node, struct agent, node);

	rcu_tell_acquire(agent);
	return memcmp(&agent->key, key, sizeof(agent->key)) == 0;
}

/* ---- the pool ---- */

static struct agent *pool_take(struct agents *a)
{
	struct agent *agent = NULL;

	if (pthread_mutex_trylock(&a->lock) != 0)
		return NULL;
	agent = a->free;
	if (agent)
		a->free = agent->next_free;
	pthread_mutex_unlock(&a->lock);
	return agent;
}

static void pool_give(struct agent *agent)
{
	struct agents *a = agent->table;

	pthread_mutex_lock(&a->lock);
	agent->next_free = a->free;
	a->free = agent;
	pthread_mutex_unlock(&a->lock);
}

static void agent_retired(struct rcu_head *head)
{
	rcu_retired();
	pool_give(caa_container_of(head, struct agent, rcu));
}

/* ---- find and add ---- */

static void name_set(char out[AGENT_NAME], struct view name)
{
	size_t len = name.len < AGENT_NAME - 1 ? name.len : AGENT_NAME - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = name.at[i] > ' ' && name.at[i] < 0x7f ? (char)name.at[i] : '?';
	out[len] = '\0';
}

static struct agent *agent_insert(struct agents *a, uint64_t hash, const struct agent_key *key,
				  struct view name, uint64_t wall_us)
{
	struct agent *agent = pool_take(a);
	struct cds_lfht_node *there;

	if (!agent) {
		atomic_fetch_add_explicit(&a->evicted, 1, memory_order_relaxed);
		return &a->rest;
	}
	memset(agent, 0, sizeof(*agent));
	agent->table = a;
	agent->key = *key;
	agent->first_us = wall_us;
	name_set(agent->name, name);
	cds_lfht_node_init(&agent->node);
	rcu_tell_release(agent);
	there = cds_lfht_add_unique(a->table, hash, key_is, key, &agent->node);
	if (there != &agent->node) {
		pool_give(agent); /* nobody saw it */
		return caa_container_of(there, struct agent, node);
	}
	atomic_fetch_add_explicit(&a->count, 1, memory_order_relaxed);
	return agent;
}

struct agent *agents_get(struct agents *a, const struct agent_key *key, struct view name,
			 uint64_t wall_us)
{
	uint64_t hash = key_hash(a, key);
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	cds_lfht_lookup(a->table, hash, key_is, key, &iter);
	node = cds_lfht_iter_get_node(&iter);
	return node ? caa_container_of(node, struct agent, node)
		    : agent_insert(a, hash, key, name, wall_us);
}

uint32_t agents_number(const struct agents *a, const struct agent *agent)
{
	return agent == &a->rest ? AGENTS_MAX : (uint32_t)(agent - a->pool);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	if (n)
		atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* Two threads that smooth at once lose one of two near values. */
static void offset_smooth(struct agent *agent, int64_t offset_us)
{
	int64_t was = atomic_load_explicit(&agent->offset_us, memory_order_relaxed);

	if (atomic_load_explicit(&agent->has_offset, memory_order_relaxed))
		offset_us = was + (offset_us - was) / SMOOTHING;
	atomic_store_explicit(&agent->offset_us, offset_us, memory_order_relaxed);
	atomic_store_explicit(&agent->has_offset, true, memory_order_relaxed);
}

void agent_add(struct agent *agent, const struct agent_tally *tally, uint64_t wall_us)
{
	add(&agent->received, tally->received);
	add(&agent->accepted, tally->accepted);
	add(&agent->malformed, tally->malformed);
	add(&agent->denied, tally->denied);
	add(&agent->bytes, tally->bytes);
	if (tally->has_offset)
		offset_smooth(agent, tally->offset_us);
	atomic_store_explicit(&agent->last_us, wall_us, memory_order_relaxed);
}

/* ---- sweep and list ---- */

void agents_sweep(struct agents *a, uint64_t wall_us)
{
	uint64_t most = NEARLY_USED(agents_count(a)) ? AGENTS_CROWDED_US : AGENTS_IDLE_US;
	struct cds_lfht_iter iter;
	struct agent *agent;

	rcu_read_begin();
	cds_lfht_for_each_entry(a->table, &iter, agent, node)
	{
		uint64_t last_us = atomic_load_explicit(&agent->last_us, memory_order_relaxed);

		rcu_tell_acquire(agent);
		if (last_us == 0 || wall_us < last_us || wall_us - last_us < most ||
		    cds_lfht_del(a->table, &agent->node) != 0)
			continue;
		atomic_fetch_sub_explicit(&a->count, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&a->evicted, 1, memory_order_relaxed);
		rcu_retire(&agent->rcu, agent_retired);
	}
	rcu_read_end();
}

static void view_take(struct agent *agent, struct agent_view *out)
{
	*out = (struct agent_view){
		.key = agent->key,
		.first_us = agent->first_us,
		.last_us = atomic_load_explicit(&agent->last_us, memory_order_relaxed),
		.received = atomic_load_explicit(&agent->received, memory_order_relaxed),
		.accepted = atomic_load_explicit(&agent->accepted, memory_order_relaxed),
		.malformed = atomic_load_explicit(&agent->malformed, memory_order_relaxed),
		.denied = atomic_load_explicit(&agent->denied, memory_order_relaxed),
		.bytes = atomic_load_explicit(&agent->bytes, memory_order_relaxed),
		.offset_us = atomic_load_explicit(&agent->offset_us, memory_order_relaxed),
		.has_offset = atomic_load_explicit(&agent->has_offset, memory_order_relaxed),
	};
	memcpy(out->name, agent->name, sizeof(out->name));
}

void agents_list(struct agents *a, void (*fn)(void *ctx, const struct agent_view *view), void *ctx)
{
	struct agent_view view;
	struct cds_lfht_iter iter;
	struct agent *agent;

	cds_lfht_for_each_entry(a->table, &iter, agent, node)
	{
		rcu_tell_acquire(agent);
		view_take(agent, &view);
		fn(ctx, &view);
	}
	view_take(&a->rest, &view);
	view.is_rest = true;
	if (view.received)
		fn(ctx, &view);
}

uint64_t agents_count(const struct agents *a)
{
	return atomic_load_explicit(&a->count, memory_order_relaxed);
}

uint64_t agents_evicted(const struct agents *a)
{
	return atomic_load_explicit(&a->evicted, memory_order_relaxed);
}

/* ---- life ---- */

int agents_new(struct agents **out)
{
	struct agents *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	pthread_mutex_init(&a->lock, NULL);
	if (getrandom(&a->seed, sizeof(a->seed), 0) == (ssize_t)sizeof(a->seed))
		a->table = cds_lfht_new_flavor(BUCKETS, BUCKETS, BUCKETS, 0, &urcu_memb_flavor,
					       NULL); /* of fixed size: no helper resizes it */
	if (!a->table) {
		agents_free(a);
		return -ENOMEM;
	}
	a->rest.table = a;
	for (unsigned i = AGENTS_MAX; i-- > 0;) {
		a->pool[i].table = a;
		a->pool[i].next_free = a->free;
		a->free = &a->pool[i];
	}
	*out = a;
	return HT_OK;
}

/* Nobody else is there: no read-side section. */
static void table_empty(struct agents *a)
{
	struct cds_lfht_iter iter;
	struct agent *agent;

	cds_lfht_for_each_entry(a->table, &iter, agent, node)(void)
		cds_lfht_del(a->table, &agent->node);
}

void agents_free(struct agents *a)
{
	if (!a)
		return;
	if (a->table) {
		table_empty(a);
		urcu_memb_barrier();
		pthread_mutex_lock(&a->lock); /* what ht-rcu gave back is seen */
		pthread_mutex_unlock(&a->lock);
		(void)cds_lfht_destroy(a->table, NULL);
	}
	pthread_mutex_destroy(&a->lock);
	free(a);
}
