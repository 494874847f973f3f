/**
 * @file
 * Joins the legs of a call: what the headers of `legs` say (capture/legs.h) goes into the records
 * of the Call-IDs, and every message gets the leg before its own and the first leg of all.
 *
 * A header that names a Call-ID makes that the leg before. Of those that share a value the Call-ID
 * that came first is the first leg, and the leg before each of the others; the table of calls has
 * an entry for the value, whose `aleg` is the first Call-ID. Records are written once and in any
 * order, by any thread: which leg is the first is found by going from leg to leg, so that those
 * whose messages come before their first leg's are joined as well. What would close a ring is not
 * joined.
 *
 * Threads: a joiner belongs to one receive thread, its counters are read by any. Inside a read-side
 * section; views it gives are valid until that ends.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

struct call;
struct joiner;
struct leg_counters;
struct legs;
struct rcu_table_thread;
struct sip;

/** @param calls  Of the table, NULL if there is none: then nothing is remembered. */
HT_MUST_CHECK int joiner_new(struct joiner **out, struct rcu_table_thread *calls);
void joiner_free(struct joiner *j);
const struct leg_counters *joiner_counters(const struct joiner *j);

struct join_input {
	const struct legs *legs;
	const struct sip *sip;
	bool may_have_record; /* a record may be made of its Call-ID */
	uint32_t now_ms;
};

struct joined {
	struct call *call;	       /* in: its record, or NULL; out: perhaps made */
	struct view aleg, correlation; /* out; empty: none */
};

/** A SIP message. */
void join(struct joiner *j, const struct join_input *in, struct joined *out);
