/**
 * @file
 * Which rule decides about a message, and how. The program is conf/filter.h's; here are the fields
 * of messages, the scopes, and the actions.
 *
 * Scopes: a rule of scope message tests the message. A rule of scope dialog tests it only if it is
 * an initial request; any other message matches if the record of its Call-ID names the rule. The
 * record is the caller's: the lowest `decision.record` of all initial requests of the Call-ID.
 *
 * Threads: struct filter is shared, constant but for the counts of `limit`, which are atomic.
 * struct filter_thread belongs to one thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "conf/filter.h"
#include "hep/cursor.h"

struct filter;
struct filter_thread;
struct msg;
struct sip;

#define FILTER_NONE (-1) /* no rule: the default action, or no record */

/* What a message is judged by. */
struct filter_input {
	const struct msg *msg; /* its payload is what `sip` was read from */
	const struct sip *sip; /* NULL: it is no SIP */
	struct view source;    /* name of the listener or capture */
	struct view agent;     /* name of the agent */
	int record;	       /* rule that the record of the Call-ID names; FILTER_NONE */
	bool is_kept; /* judged before a reload: its record alone says which rule of scope dialog */
	uint64_t mono_us; /* now, of clock_mono_us() */
};

struct filter_decision {
	int rule;	/* that matched first; FILTER_NONE: default_action */
	bool is_stored; /* else it is filtered by that rule */
	bool is_kept; /* by no rule of scope message: what was decided before the reload holds, and
			 no action was asked */
	bool is_unsure; /* a regular expression reached its limit: kept, whatever the rules say */
	int record;	/* rule to put into the record; FILTER_NONE: leave it */
	const char *table; /* "": none is asked for */
};

/* Who wants to know why. */
struct filter_teller {
	/* A test was made; 1: it holds, 0: it does not, -1: it was given up. */
	void (*test)(void *ctx, const struct filter_test *test, int holds);
	/* A rule was tried: all of its tests were told before; or, if @p by_record, the record
	 * alone says whether it matches. 1, 0, -1 as above. */
	void (*rule)(void *ctx, uint32_t rule, bool by_record, int matches);
	void *ctx;
};

/**
 * @param program  Becomes the filter's, also after an error.
 * @return HT_OK or -ENOMEM.
 */
HT_MUST_CHECK int filter_new(struct filter_program *program, struct filter **out);
/* Threads: when nobody decides by it any more. */
void filter_end(struct filter *f);

const struct filter_program *filter_program_of(const struct filter *f);

/** What a thread needs to decide, by whatever filter. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int filter_thread_new(struct filter_thread **out);
void filter_thread_free(struct filter_thread *t);

/** Messages that were kept since an expression reached its limit. */
const counter *filter_thread_unsure(const struct filter_thread *t);

/**
 * Judge one message. No allocation where expressions are machine code, no lock, no wait.
 * Views of @p in are read as long as this runs. Threads: the one @p t belongs to.
 */
void filter_decide(struct filter *f, struct filter_thread *t, const struct filter_input *in,
		   struct filter_decision *out);

/** The same, and tell on the way what it is judged by. */
void filter_explain(struct filter *f, struct filter_thread *t, const struct filter_input *in,
		    struct filter_decision *out, const struct filter_teller *teller);

/** A field as text, of the message that @p t judges: called by a teller. Lasts until the next one
 * is asked for. */
struct view filter_value(struct filter_thread *t, struct filter_operand field);

/**
 * Does a rule (FILTER_NONE: the default action) store the rest of the dialog of the message that
 * was judged last? `limit` counts messages: it says nothing of the next one. Threads: as above.
 */
bool filter_keeps_dialog(struct filter *f, struct filter_thread *t, int rule);

/** Does it begin a dialog, or may it: a request without a To tag, but ACK and CANCEL? */
bool filter_is_initial(const struct sip *sip);
