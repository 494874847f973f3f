/**
 * @file
 * Changes are made one after the other, each journalled before it is written and read back after;
 * verified against the journal; and set back in reverse order. A value that somebody else has
 * changed since is left alone.
 *
 * Channels come before what depends on queues and interrupts: the order is the caller's.
 * Threads: one.
 */
#pragma once
#include <stddef.h>

#include "conf/err.h"
#include "tune/change.h"
#include "tune/guard.h"

#define APPLY_JOURNAL "/var/lib/heptap/tune.journal"

/* X(name, text, is_bad) */
#define APPLY_STATES(X)                                                                   \
	X(APPLY_DONE, "done", false)                                                      \
	X(APPLY_ROUNDED, "rounded", false)                                                \
	X(APPLY_PENDING, "pending", false) /* the kernel does it later */                 \
	X(APPLY_NOT_NEEDED, "not needed", false)                                          \
	X(APPLY_REFUSED, "refused", true)                                                 \
	X(APPLY_OVERRIDDEN, "overridden", true) /* by somebody else, since */             \
	X(APPLY_VANISHED, "vanished", true)	/* the thing, or its name is another's */ \
	X(APPLY_RESTORED, "set back", false)                                              \
	X(APPLY_LEFT, "left alone", false) /* somebody else changed it, since */

enum apply_state {
#define X(name, text, is_bad) name,
	APPLY_STATES(X)
#undef X
};

struct apply_result {
	enum apply_state state;
	int err;	      /* HT_OK, or why it was refused */
	char now[TUNE_VALUE]; /* read last; "" if it could not be read */
	char note[GUARD_WHY]; /* the reason and what to do; "" if all is said */
};

/* Gets every change with its result. */
typedef void apply_say(void *ctx, const struct tune_change *c, const struct apply_result *r);

/* Counts by state. */
struct apply_sums {
	unsigned of[APPLY_LEFT + 1];
};

const char *apply_state_text(enum apply_state state);

/** Is there one that a person should look at? */
bool apply_is_bad(const struct apply_sums *sums);

/** Where the journal is if nobody says. */
void apply_journal_path(const char *root, char *out, size_t size);

/**
 * Make the changes.
 *
 * @param journal  Its path as we see it, not under the root. Changes add to it.
 * @param sums  Set, also on failure.
 * @return HT_OK, whatever became of the changes; or why nothing was tried: as journal_open(), or
 *         HT_EJOURNAL if it is damaged.
 */
HT_MUST_CHECK int tune_apply(const struct guard_options *o, const char *journal,
			     const struct tune_change *changes, size_t n, apply_say *say, void *ctx,
			     struct apply_sums *sums);

/** Is there something to set back of an object, by a journal of this start of the kernel? It is so
 * while another process has the journal. */
bool apply_holds(const char *root, const char *journal, const char *object);

/** Compare with the journal; writes nothing. @return HT_OK; -ENOENT if there is no journal;
 * -ESTALE if it is of an earlier start of the kernel; -EXDEV, of another network namespace. */
HT_MUST_CHECK int tune_verify(const struct guard_options *o, const char *journal, apply_say *say,
			      void *ctx, struct apply_sums *sums);

/**
 * Set everything back. The journal is removed when nothing is left of it to set back; it stays if
 * the kernel refused, or if a line of it is damaged.
 * @return As tune_verify(), except that a journal of an earlier start of the kernel is removed
 *         and HT_OK; HT_EJOURNAL if a line is damaged: the others have been set back.
 */
HT_MUST_CHECK int tune_rollback(const struct guard_options *o, const char *journal, apply_say *say,
				void *ctx, struct apply_sums *sums);
