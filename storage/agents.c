/* A cds_lfht of fixed size; entries come from a pool, free ones are a list under a lock that
 * receive threads only try. */
#include "storage/agents.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/gauge.h"
#include "conf/log.h"
#include "conf/rcu.h"

#define SMOOTHING 16 /* one over the weight of a new clock offset */

struct agent {
	struct cds_lfht_node node;
	struct rcu_head rcu;
	struct agents *table;
	struct agent_key key; /* constant while it is in the table, as is the name */
	char name[AGENT_NAME];
	uint64_t first_us;
	_Atomic uint64_t last_us, received, accepted, malformed, denied, limited, bytes;
	_Atomic uint64_t granted; /* a second of the monotonic clock, and how many in it */
	_Atomic uint32_t refused; /* the last second in which one was; 0: none */
	_Atomic int64_t offset_us;
	_Atomic bool has_offset;
	struct agent *next_free;
};

struct agents {
	struct cds_lfht *table;
	uint64_t seed;
	_Atomic uint64_t count, most, evicted; /* most: that `count` was */
	pthread_mutex_t lock;		       /* of the free list; a leaf */
	struct agent *free;
	struct agent rest; /* who found no place */
	uint32_t room;	   /* of the pool */
	struct agent pool[];
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

static void count_one(struct agents *a)
{
	uint64_t count = atomic_fetch_add_explicit(&a->count, 1, memory_order_relaxed) + 1;
	uint64_t most = atomic_load_explicit(&a->most, memory_order_relaxed);

	while (count > most &&
	       !atomic_compare_exchange_weak_explicit(&a->most, &most, count, memory_order_relaxed,
						      memory_order_relaxed))
		;
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
	count_one(a);
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
	return agent == &a->rest ? a->room : (uint32_t)(agent - a->pool);
}

#define GRANTED_BITS  32 /* of `granted`; the second is above them */
#define QUIET_S	      60
#define SECOND_OF(at) ((uint32_t)((at) >> GRANTED_BITS))
#define COUNT_OF(at)  ((uint32_t)(at))

/* The first one that is refused in a second tells whether that is news. */
static bool refusal_begins(struct agent *agent, uint32_t second)
{
	uint32_t last = atomic_load_explicit(&agent->refused, memory_order_relaxed);

	/* another thread may have told of this second already, or of the next */
	return (int32_t)(second - last) > 0 &&
	       atomic_compare_exchange_strong_explicit(&agent->refused, &last, second,
						       memory_order_relaxed,
						       memory_order_relaxed) &&
	       (last == 0 || second - last > QUIET_S);
}

static void refusal_tell(const struct agent *agent, uint32_t most, const char *listener)
{
	char address[INET6_ADDRSTRLEN], id[16] = "";

	agent_address(agent->key.ip, address);
	if (agent->key.has_capture_id)
		snprintf(id, sizeof(id), "/%" PRIu32, agent->key.capture_id);
	if (agent == &agent->table->rest)
		log_warning("hep %s: the agents for which there is no room in the table send more "
			    "than %" PRIu32 " messages a second: what is above is denied",
			    listener, most);
	else
		log_warning("hep %s: agent %s%s sends more than %" PRIu32
			    " messages a second: what is above is denied",
			    listener, address, id, most);
}

bool agent_may_send(struct agent *agent, uint32_t most, uint64_t mono_us, const char *listener)
{
	uint64_t was = atomic_load_explicit(&agent->granted, memory_order_relaxed), next;
	uint32_t second = (uint32_t)(mono_us / 1000000) + 1; /* 0: never */

	do {
		if ((int32_t)(second - SECOND_OF(was)) > 0) {
			next = (uint64_t)second << GRANTED_BITS | 1;
		} else if (COUNT_OF(was) < most) {
			next = was + 1;
		} else {
			if (refusal_begins(agent, second))
				refusal_tell(agent, most, listener);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&agent->granted, &was, next, memory_order_relaxed, memory_order_relaxed));
	return true;
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
	add(&agent->limited, tally->limited);
	add(&agent->bytes, tally->bytes);
	if (tally->has_offset)
		offset_smooth(agent, tally->offset_us);
	atomic_store_explicit(&agent->last_us, wall_us, memory_order_relaxed);
}

/* ---- sweep and list ---- */

void agents_sweep(struct agents *a, uint64_t wall_us)
{
	uint64_t most =
		agents_count(a) > a->room - a->room / 4 ? AGENTS_CROWDED_US : AGENTS_IDLE_US;
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
		.limited = atomic_load_explicit(&agent->limited, memory_order_relaxed),
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

void agent_address(const uint8_t ip[16], char out[INET6_ADDRSTRLEN])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(ip, mapped, sizeof(mapped)) == 0)
		inet_ntop(AF_INET, ip + sizeof(mapped), out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, ip, out, INET6_ADDRSTRLEN);
}

/* The list of free entries goes through all of them. */
void agents_memory(const struct agents *a, struct memory_use *sum)
{
	sum->used += agents_count(a) * sizeof(struct agent);
	sum->real_used += a->room * sizeof(struct agent);
	sum->max_used +=
		atomic_load_explicit(&a->most, memory_order_relaxed) * sizeof(struct agent);
	sum->limit += a->room * sizeof(struct agent);
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

int agents_new(struct agents **out, uint32_t most)
{
	struct agents *a = calloc(1, sizeof(*a) + most * sizeof(struct agent));
	unsigned long buckets = 1;

	if (!a)
		return -ENOMEM;
	a->room = most;
	while (buckets < most)
		buckets *= 2;
	pthread_mutex_init(&a->lock, NULL);
	if (getrandom(&a->seed, sizeof(a->seed), 0) == (ssize_t)sizeof(a->seed))
		a->table = cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_memb_flavor,
					       NULL); /* of fixed size: no helper resizes it */
	if (!a->table) {
		agents_free(a);
		return -ENOMEM;
	}
	a->rest.table = a;
	for (uint32_t i = most; i-- > 0;) {
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
