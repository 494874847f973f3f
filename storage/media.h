/**
 * @file
 * Which call an address and port belong to, as its session descriptions said: for RTCP and reports
 * that carry no Call-ID. An RCU hash table; the call that named an address last has it.
 *
 * Threads: receive threads inside a read-side section, without waiting; main sweeps.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"
#include "hep/msg.h"
#include "storage/rcu_table.h"

struct sdp;

#define MEDIA_CALLID  120		/* octets of a Call-ID; longer ones are not kept */
#define MEDIA_IDLE_MS (4 * 3600 * 1000) /* neither named nor asked for: it goes */

/** The table, which is swept, summed and freed as any rcu_table. */
HT_MUST_CHECK int media_new(struct rcu_table **out, uint32_t entries, unsigned threads);

/** See rcu_table_entry_cost(). */
uint64_t media_entry_cost(void);

/**
 * The addresses of an offer or answer belong to this call from now on.
 * @return HT_OK; HT_EFULL if the Call-ID is empty or too long, or if there was no room for some of
 * them, which the table counts.
 */
int media_learn(struct rcu_table_thread *th, const struct sdp *sdp, struct view callid,
		uint32_t now_ms);

/**
 * The Call-ID that has this address: its port as it was named for RTP or RTCP, else the port below
 * it (RTCP comes to the port behind that of RTP; RFC 3550 section 11). Empty if there is none.
 * Points into the entry until the read-side section ends.
 */
struct view media_find(const struct rcu_table *media, const struct addr *at, uint32_t now_ms);
