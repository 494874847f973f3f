/* Copies of messages, in an rcu_table: per message a ring of events and a cell per source, each one
 * word that is changed by compare-and-swap. */
#include "storage/seen.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hep/msg.h"

/*
 * An event: time in ms, its number, who covered it. 0 where there was none yet.
 * Event n lies in slot n % SEEN_EVENTS, so that two threads which make the next event want the same
 * word, and one of them finds that it came second. Bits of a source are set and never cleared, so
 * what a thread saw covered or too old stays so while it decides.
 */
struct event {
	uint32_t time_ms;
	uint16_t number;
	uint8_t covered; /* bit i: by the source of cell i */
	bool is_there;
};

/* A source: its number, and id and time of its last IP packet. 0: free. */
struct cell {
	uint32_t source;
	bool has_ip_id;
	uint16_t ip_id;
	uint32_t time_ms;
};

struct seen {
	struct rcu_entry entry;
	struct seen_key key;
	_Atomic uint64_t events[SEEN_EVENTS];
	_Atomic uint64_t cells[SEEN_SOURCES];
};

_Static_assert(sizeof(struct seen) <= 192, "three cache lines");

#define CROWDED (-1)

static uint64_t event_pack(struct event e)
{
	return (uint64_t)e.time_ms << 32 | (uint64_t)e.number << 16 | (uint64_t)e.covered << 8 |
	       e.is_there;
}

static struct event event_unpack(uint64_t word)
{
	return (struct event){ .time_ms = (uint32_t)(word >> 32),
			       .number = (uint16_t)(word >> 16),
			       .covered = (uint8_t)(word >> 8),
			       .is_there = word & 1 };
}

static uint64_t cell_pack(struct cell c)
{
	return (uint64_t)c.time_ms << 32 | (uint64_t)c.ip_id << 16 | (uint64_t)(c.source + 1) << 1 |
	       c.has_ip_id;
}

static struct cell cell_unpack(uint64_t word)
{
	return (struct cell){ .time_ms = (uint32_t)(word >> 32),
			      .ip_id = (uint16_t)(word >> 16),
			      .source = (uint32_t)(word >> 1 & 0x7fff) - 1,
			      .has_ip_id = word & 1 };
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static bool swap(_Atomic uint64_t *word, uint64_t *was, uint64_t is)
{
	return atomic_compare_exchange_strong_explicit(word, was, is, memory_order_acq_rel,
						       memory_order_acquire);
}

/* Clocks of two taps differ a little: either may be ahead. */
static bool is_within(uint32_t a_ms, uint32_t b_ms, uint32_t most_ms)
{
	int32_t apart = (int32_t)(a_ms - b_ms);

	return apart >= -(int32_t)most_ms && apart <= (int32_t)most_ms;
}

/* ---- the table ---- */

static int seen_match(struct cds_lfht_node *node, const void *key)
{
	struct seen *s = caa_container_of(node, struct seen, entry.node);

	rcu_tell_acquire(&s->entry);
	return memcmp(&s->key, key, sizeof(s->key)) == 0;
}

static void seen_fill(struct rcu_entry *e, const void *key)
{
	struct seen *s = caa_container_of(e, struct seen, entry);

	s->key = *(const struct seen_key *)key;
	memset(s->events, 0, sizeof(s->events));
	memset(s->cells, 0, sizeof(s->cells));
}

static bool seen_is_over(const struct rcu_entry *e, uint32_t idle_ms)
{
	(void)e;
	return idle_ms > SEEN_WINDOW_MAX_MS;
}

uint64_t seen_entry_cost(void)
{
	return rcu_table_entry_cost(sizeof(struct seen));
}

int seen_new(struct rcu_table **out, uint32_t entries, unsigned threads)
{
	const struct rcu_table_options o = { .entries = entries,
					     .entry_bytes = sizeof(struct seen),
					     .threads = threads,
					     .match = seen_match,
					     .fill = seen_fill,
					     .is_over = seen_is_over };

	return rcu_table_new(out, &o);
}

/* ---- the key ---- */

/* Without padding, because it is hashed. */
struct hop {
	uint8_t src[16], dst[16];
	uint16_t src_port, dst_port;
	uint16_t family, transport;
	uint64_t message[2];
};

static void ip_set(uint8_t out[16], const struct addr *a)
{
	memcpy(out, a->ip, a->family == FAMILY_IPV4 ? 4 : 16);
}

/* An agent may call it TLS or WebSocket, which a mirror sees as TCP. */
static bool is_over_tcp(uint8_t ip_proto)
{
	return ip_proto == PROTO_TCP || ip_proto == PROTO_TLS || ip_proto == PROTO_WS;
}

struct seen_key seen_key(const struct rcu_table *seen, const struct msg *m)
{
	uint64_t seed = rcu_table_seed(seen);
	XXH128_hash_t digest = XXH3_128bits_withSeed(m->payload.at, m->payload.len, seed);
	bool is_stream = is_over_tcp(m->ip_proto);
	struct hop hop = { .src_port = is_stream ? 0 : m->src.port,
			   .dst_port = is_stream ? 0 : m->dst.port,
			   .family = m->src.family,
			   .transport = is_stream ? PROTO_TCP : m->ip_proto,
			   .message = { digest.low64, digest.high64 } };

	ip_set(hop.src, &m->src);
	ip_set(hop.dst, &m->dst);
	digest = XXH3_128bits_withSeed(&hop, sizeof(hop), seed);
	return (struct seen_key){ digest.low64, digest.high64 };
}

/* ---- one copy ---- */

/* The cell of a source, taken if it has none; cells are taken in turn, so it has only one. */
static int cell_of(struct seen *s, uint32_t source)
{
	for (int i = 0; i < SEEN_SOURCES; i++) {
		uint64_t word = load(&s->cells[i]);

		if (word == 0 &&
		    swap(&s->cells[i], &word, cell_pack((struct cell){ .source = source })))
			return i;
		if (cell_unpack(word).source == source)
			return i;
	}
	return CROWDED;
}

static bool is_same_packet(_Atomic uint64_t *cell, const struct seen_copy *copy, uint32_t time_ms)
{
	uint64_t was = load(cell);
	struct cell c, is = { .source = copy->source,
			      .has_ip_id = true,
			      .ip_id = (uint16_t)copy->ip_id,
			      .time_ms = time_ms };

	do {
		c = cell_unpack(was);
		if (c.has_ip_id && c.ip_id == is.ip_id &&
		    is_within(time_ms, c.time_ms, SEEN_SAME_PACKET_MS))
			return true;
	} while (!swap(cell, &was, cell_pack(is)));
	return false;
}

/* The ring as it was when it was read, word by word. */
struct ring_view {
	uint64_t word[SEEN_EVENTS];
	uint16_t newest; /* number of the newest event */
	bool is_empty;
};

static struct ring_view ring_read(const struct seen *s)
{
	struct ring_view r = { .is_empty = true };

	for (int i = 0; i < SEEN_EVENTS; i++) {
		struct event e;

		r.word[i] = load(&s->events[i]);
		e = event_unpack(r.word[i]);
		if (e.is_there && (r.is_empty || (int16_t)(e.number - r.newest) > 0)) {
			r.newest = e.number;
			r.is_empty = false;
		}
	}
	return r;
}

/* One try to place the copy; false if another thread came between. */
static bool place(struct seen *s, int cell, uint32_t time_ms, uint32_t window_ms,
		  enum seen_verdict *out)
{
	uint8_t bit = cell == CROWDED ? 0 : (uint8_t)(1 << cell);
	struct ring_view r = ring_read(s);
	uint16_t next = r.is_empty ? 0 : (uint16_t)(r.newest + 1);
	struct event fresh = { time_ms, next, bit, true };
	bool any = false;

	for (uint16_t n = (uint16_t)(next - SEEN_EVENTS); n != next; n++) { /* from the oldest */
		unsigned slot = n % SEEN_EVENTS;
		struct event e = event_unpack(r.word[slot]);

		if (!e.is_there || e.number != n || !is_within(time_ms, e.time_ms, window_ms))
			continue;
		any = true;
		if (cell != CROWDED && (e.covered & bit))
			continue;
		*out = SEEN_DUPLICATE;
		e.covered |= bit;
		return cell == CROWDED || swap(&s->events[slot], &r.word[slot], event_pack(e));
	}
	*out = any ? SEEN_AGAIN : SEEN_FIRST;
	return swap(&s->events[next % SEEN_EVENTS], &r.word[next % SEEN_EVENTS], event_pack(fresh));
}

enum seen_verdict seen_judge(struct rcu_table_thread *th, struct seen_counters *n,
			     const struct seen_copy *copy, uint32_t window_ms, uint32_t now_ms)
{
	struct rcu_entry *e = rcu_table_put(th, copy->key.low, &copy->key, now_ms);
	uint32_t time_ms = (uint32_t)(copy->ts_us / 1000);
	enum seen_verdict verdict = SEEN_FIRST;
	struct seen *s;
	int cell;

	if (!e) {
		counter_add(&n->first, 1);
		return SEEN_FIRST;
	}
	s = caa_container_of(e, struct seen, entry);
	cell = cell_of(s, copy->source);
	if (cell != CROWDED && copy->ip_id != SEEN_NO_IP_ID &&
	    is_same_packet(&s->cells[cell], copy, time_ms)) {
		counter_add(&n->same_packet, 1);
		return SEEN_DUPLICATE;
	}
	while (!place(s, cell, time_ms, window_ms, &verdict))
		;
	if (verdict == SEEN_DUPLICATE && cell == CROWDED)
		counter_add(&n->crowded, 1);
	counter_add(verdict == SEEN_FIRST   ? &n->first
		    : verdict == SEEN_AGAIN ? &n->again
					    : &n->duplicate,
		    1);
	return verdict;
}
