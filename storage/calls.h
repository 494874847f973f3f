/**
 * @file
 * What is remembered of a call: one record per Call-ID, in an RCU hash table. The verdict of the
 * filters (DESIGN.md section 4), first and last seen, the other leg, and how far the call came.
 *
 * Every field is made so that threads may write in any order and come to the same record: times are
 * minima and maxima, the verdict is the least of an order, texts are set once.
 *
 * Threads: receive threads find and write inside a read-side section without waiting; main sweeps.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "hep/cursor.h"
#include "storage/rcu_table.h"

struct call;
struct sip;

#define CALL_TEXT	 120 /* octets kept of a Call-ID, its own or a leg's: as wide as the columns */
#define CALL_CORRELATION 100
#define CALL_NO_RULE	 0x7fffffU

/* How long a record stays that nobody looks for. */
#define CALL_OVER_MS	 64000 /* ended or failed: late BYE and its replies (timer F, twice) */
#define CALL_SETUP_MS	 (600 * 1000)	 /* INVITE without an end: it rings */
#define CALL_ANSWERED_MS (24 * 3600000U) /* answered */
#define CALL_OTHER_MS	 (2 * 3600000)	 /* no INVITE: a subscription that is refreshed hourly */

/** The table, which is swept, summed and freed as any rcu_table. */
HT_MUST_CHECK int calls_new(struct rcu_table **out, uint32_t entries, unsigned threads);

/** See rcu_table_entry_cost(). */
uint64_t calls_entry_cost(void);

/** The hash that the next two take. */
uint64_t calls_hash(const struct rcu_table *calls, struct view callid);

/**
 * The record of a Call-ID; NULL if there is none. It counts as in use at @p now_ms (a clock that
 * may wrap). Two Call-IDs that agree in length and their first CALL_TEXT octets are told apart by
 * their hash. Inside a read-side section, and valid until it ends.
 */
struct call *calls_find(const struct rcu_table *calls, uint64_t hash, struct view callid,
			uint32_t now_ms);

/** The same, made if there is none; NULL, counted, if there is no room. */
struct call *calls_get(struct rcu_table_thread *th, uint64_t hash, struct view callid,
		       uint32_t now_ms);

/**
 * The same; one that is made has this `aleg` from the beginning, so that of threads that come at
 * once all see what the first of them brought.
 * @param aleg  At most CALL_TEXT octets.
 */
struct call *calls_get_with_aleg(struct rcu_table_thread *th, uint64_t hash, struct view callid,
				 struct view aleg, uint32_t now_ms);

/* ---- the verdict ---- */

struct call_verdict {
	uint32_t generation; /* of the configuration, from 1; 0: no initial request was judged */
	uint32_t rule;	     /* index, or CALL_NO_RULE: the default action */
	uint8_t action;	     /* the caller's own; it goes with the rule */
	bool is_invite;	     /* an initial INVITE was judged */
};

/**
 * An initial request was judged. The record keeps the lowest rule of one generation; of two
 * generations an INVITE dialog keeps the older one, anything else the newer one.
 * @return the verdict that stands.
 */
struct call_verdict call_judge(struct call *call, struct call_verdict mine);
struct call_verdict call_verdict(const struct call *call);

/** Does the verdict count for a message that is judged by configuration @p generation? */
static inline bool call_verdict_holds(struct call_verdict v, uint32_t generation)
{
	return v.generation == generation || (v.generation && v.is_invite);
}

/* ---- the other leg ---- */

/**
 * The Call-ID of the leg before this one, and of the first leg as far as it is known then. What was
 * set first stays.
 * @return 1 if this set it, HT_OK if it was set already or @p callid is empty; HT_EFULL if it is
 * longer than CALL_TEXT or CALL_CORRELATION: half an identifier finds nothing.
 */
int call_set_aleg(struct call *call, struct view callid);
int call_set_correlation(struct call *call, struct view callid);

/** Another leg names this one as the one before it. */
void call_set_joined(struct call *call);
bool call_is_joined(const struct call *call);

/** Empty if not set. They point into the record. */
struct view call_aleg(const struct call *call);
struct view call_correlation(const struct call *call);

/** Its own Call-ID, at most CALL_TEXT octets of it. */
struct view call_id(const struct call *call);

/* ---- how far it came ---- */

enum call_state {
	CALL_NONE,     /* no INVITE was seen */
	CALL_SETUP,    /* an initial INVITE, no final reply */
	CALL_ANSWERED, /* 2xx to an INVITE */
	CALL_ENDED,    /* BYE, whether or not the answer was seen */
	CALL_FAILED,   /* 3xx to 6xx to an INVITE, and no answer from another branch */
};

/* Times are the packets', in microseconds since 1970; 0: not seen. */
struct call_summary {
	enum call_state state;
	uint64_t first_us, last_us;
	uint64_t setup_us, ring_us, answer_us, end_us;
	uint64_t fail_us;
	uint32_t fail_status;	/* latest final status, without 401 and 407, which ask again */
	unsigned fail_class;	/* 3 to 6; 0: it did not fail */
	uint64_t dial_delay_us; /* post-dial delay: INVITE to the first 18x; 0: none */
};

/**
 * A message of the call was seen. Source: RFC 3261 sections 12 to 15.
 * @return 1 << state for each state that the call is now the first time in, over all threads; so
 * that each call is counted once under each.
 */
unsigned call_note(struct call *call, const struct sip *sip, uint64_t ts_us);
struct call_summary call_summary(const struct call *call);

#define CALL_STATES	  (CALL_FAILED + 1)
#define CALL_FAIL_CLASSES 7 /* by the first digit of the status */

/* What one thread counts of calls: each call once under each state, by whichever thread brought it
 * there. Times are sums in microseconds. */
struct call_counters {
	counter state[CALL_STATES];
	counter failed[CALL_FAIL_CLASSES];
	counter dial_delays, dial_delay_us; /* of calls that rang */
	counter talks, talk_us;		    /* answered to ended */
};

/** call_note(), and what is new counted. */
void call_count(struct call *call, struct call_counters *n, const struct sip *sip, uint64_t ts_us);

/* What one thread counts of legs. */
struct leg_counters {
	counter joined;	 /* calls that got a leg before them */
	counter refused; /* values that are too long, or would have closed a ring */
	counter unsure;	 /* an expression reached its limit: nothing is joined */
};
