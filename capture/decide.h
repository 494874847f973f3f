/**
 * @file
 * What becomes of a message, and what call it is of: the filters of the snapshot, the record of its
 * Call-ID, legs, media, copies. All that threads share is in the tables.
 *
 * A record holds the verdict on its dialog by the number of the rule (conf/rules.h), behind its
 * place among the rules. After a reload an INVITE dialog keeps its verdict: rules of scope message
 * are tried as they are now, and where they do not match, what was decided holds.
 *
 * Threads: a decider belongs to one receive thread, its counters are read by any. Everything is
 * called inside a read-side section, and views it gives are valid until that ends.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"
#include "storage/seen.h"

struct call;
struct decider;
struct msg;
struct rcu_table;
struct sip;
struct snapshot;
struct stats_decisions;

/* Each may be NULL: then that is not known. */
struct decide_tables {
	struct rcu_table *calls, *media, *seen;
};

/* What is judged. */
struct decide_input {
	const struct snapshot *snapshot;
	struct msg *msg;
	const struct sip *sip; /* NULL: it is a report, of the call that its correlation names */
	struct view source;    /* name of the listener or capture */
	uint64_t mono_us;
	struct seen_key copy_key; /* of decide_expect(); 0: not known yet */
};

struct decision {
	bool is_stored;
	struct view table;	       /* empty: the usual one */
	struct call *call;	       /* NULL: no record */
	struct view aleg, correlation; /* empty: none is known */
};

/** @param thread  Its number in the tables. @return HT_OK or -ENOMEM. decider_free() it. */
HT_MUST_CHECK int decider_new(struct decider **out, const struct decide_tables *tables,
			      unsigned thread);
void decider_free(struct decider *d);

/** Where its counters are. */
void decider_tell(const struct decider *d, struct stats_decisions *out);

/** The Call-ID whose record a message goes by; empty: none. @p sip: NULL for a report. Threads:
 * any. */
struct view decide_callid(const struct msg *m, const struct sip *sip);

/** Can it make a record, as an initial request? Threads: any. */
bool decide_may_have_record(const struct sip *sip);

/**
 * A message that decide_is_copy() may be asked about. Its key is made early, so that its place in
 * the table, which hardly ever is in a cache, comes while the message is read.
 *
 * @return 0: copies are not looked for.
 */
struct seen_key decide_expect(const struct decider *d, const struct snapshot *snapshot,
			      const struct msg *m);

/** Is it stored by the rules, and what is known of its call? */
void decide(struct decider *d, const struct decide_input *in, struct decision *out);

/**
 * Was it stored already, brought by another tap or agent?
 * @param source  Number of the tap or agent.
 */
bool decide_is_copy(struct decider *d, const struct decide_input *in, uint32_t source);

/** A SIP message that is no copy: what it says of its call is remembered. */
void decide_note(struct decider *d, const struct decide_input *in, const struct decision *decision);

/** A report that does not say which call it is of gets the Call-ID that its addresses belong to. */
void decide_find_call(struct decider *d, const struct decide_input *in);
