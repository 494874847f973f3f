/**
 * @file
 * Who sends HEP: one entry per listener, address and capture id, in an RCU hash table over a pool
 * of fixed size. Who finds no place is counted under one entry for all of them; an entry that was
 * silent for long makes room.
 *
 * Threads: receive threads look up and add inside a read-side section and never wait; main sweeps;
 * any registered thread lists.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

struct agent;
struct agents;
struct memory_use;

#define AGENT_NAME	  64
#define AGENTS_IDLE_US	  (7 * 86400 * 1000000ULL) /* an entry older than that goes */
#define AGENTS_CROWDED_US (3600 * 1000000ULL)	   /* when the pool is nearly used up */

struct agent_key {
	uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint32_t source;
	uint32_t capture_id;
	uint32_t has_capture_id;
};

/* What one thread has to add. */
struct agent_tally {
	uint64_t received, accepted, malformed, bytes;
	uint64_t denied, limited; /* limited: of those denied, for being too many */
	int64_t offset_us; /* arrival less the sender's time, of the last record that had one */
	bool has_offset;
};

/* One entry as it is listed. */
struct agent_view {
	struct agent_key key;
	char name[AGENT_NAME];
	uint64_t first_us, last_us; /* wall clock */
	uint64_t received, accepted, malformed, bytes;
	uint64_t denied, limited;
	int64_t offset_us; /* smoothed */
	bool has_offset;
	bool is_rest; /* the one for all who found no place */
};

/** @param most  Agents that are told apart. @return HT_OK or -ENOMEM. agents_free() it, when no
 * thread uses it any more. */
HT_MUST_CHECK int agents_new(struct agents **out, uint32_t most);
void agents_free(struct agents *a);

/**
 * The entry of an agent, made if there is none. @p name: what it calls itself, or empty.
 * @return never NULL; valid until the read-side section ends.
 */
struct agent *agents_get(struct agents *a, const struct agent_key *key, struct view name,
			 uint64_t wall_us);

/** Its number, from 0 on; the last one is of all who found no place. */
uint32_t agents_number(const struct agents *a, const struct agent *agent);

/**
 * May it send one more message? At most @p most of them in each second of @p mono_us are granted,
 * however many threads ask. Those that found no place have together what one agent has. Tells once
 * in the log that it sends more than that, and again after a minute in which it did not.
 *
 * @param most      At least 1.
 * @param mono_us   Monotonic; a thread that is a little behind others counts in their second.
 * @param listener  Its name, for the log.
 * Threads: any; no lock, no wait. What is refused is counted by agent_add().
 */
bool agent_may_send(struct agent *agent, uint32_t most, uint64_t mono_us, const char *listener);

void agent_add(struct agent *agent, const struct agent_tally *tally, uint64_t wall_us);

/** Remove entries that were silent for too long. Threads: main; about once a minute. */
void agents_sweep(struct agents *a, uint64_t wall_us);

/** Call @p fn for each entry, in no order. Inside a read-side section. */
void agents_list(struct agents *a, void (*fn)(void *ctx, const struct agent_view *view), void *ctx);

/** Text of an address that has IPv4 as ::ffff:a.b.c.d. */
void agent_address(const uint8_t ip[16], char out[INET6_ADDRSTRLEN]);

/** Add what its entries take. Threads: any. */
void agents_memory(const struct agents *a, struct memory_use *sum);

/** How many entries there are, and how many were removed or found no place. */
uint64_t agents_count(const struct agents *a);
uint64_t agents_evicted(const struct agents *a);
