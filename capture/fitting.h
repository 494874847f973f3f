/**
 * @file
 * A server fits itself to its host when it starts, as `tune.mode` says: it decides sizes, moves
 * interrupts of the NICs of `capture`, knows where each thread belongs, and says in the log what
 * came of it. Interrupts are set back by a keeper when the server has ended.
 * Threads: main.
 */
#pragma once
#include "capture/keeper.h"
#include "capture/tuning.h"
#include "tune/apply.h"
#include "tune/placed.h"

/* What became of a NIC's interrupts. */
struct fitting_nic {
	unsigned irqs, there, moved; /* of its queues; there: by us or before */
	char why[GUARD_WHY]; /* the first one that was not moved; "": all were, or had been */
};

struct fitting {
	const struct conf *conf;
	char root[FACTS_ROOT];
	char journal[FACTS_ROOT + 64]; /* of this start; `heptap tune apply` has another one */
	char by_hand[FACTS_ROOT + 64];
	struct tuning tuning;
	struct placed placed;
	struct keeper keeper;
	int lock; /* of one server at a time that moves interrupts; -1: not ours */
	struct fitting_nic nics[FACTS_NICS];
	struct apply_sums host; /* of changes that stay, mode full */
	int host_err;		/* why none of them was tried */
};

/**
 * All of it, and main goes to its place; threads that are started from here on go to theirs.
 * Before sockets, threads and dropping privileges. HEPTAP_ROOT in the environment: the directory of
 * a recorded host, which is looked at and changed instead of this one.
 * @return HT_OK, -ENOMEM. fitting_fini() it.
 */
HT_MUST_CHECK int fitting_init(struct fitting *f, const struct conf *conf);

/** Interrupts are set back when this returns. */
void fitting_fini(struct fitting *f);

static inline const struct plan *fitting_sizes(const struct fitting *f)
{
	return &f->tuning.plan->sizes;
}

/** Is this among what must come out as planned? */
bool fitting_requires(const struct conf *conf, enum conf_require what);

/** When all threads run. @return HT_OK; -EPERM after a line in the log: threads or interrupts are
 * not where they are required to be. */
HT_MUST_CHECK int fitting_check(const struct fitting *f);

/** One line in the log, and a warning if the memory is little for it. */
void fitting_report_sizes(const struct fitting *f);

/** A few lines in the log. When all threads run. */
void fitting_report(const struct fitting *f);
