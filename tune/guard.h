/**
 * @file
 * What is not touched, whoever asks: interfaces that are not named, the one that this host is
 * reached by, those of another network namespace, what another program is in charge of, and
 * settings that tune/knobs.h does not know or refuses.
 * Threads: one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "tune/change.h"

#define GUARD_WHY 512 /* octets of a reason with its end */

struct guard_options {
	const char *root;	       /* as in tune/files.h */
	const char *const *interfaces; /* that may be touched */
	size_t interfaces_count;
	bool may_touch_management; /* the interface of the default route or of this SSH session */
};

struct guard {
	const struct guard_options *options;
	int irqbalance, tuned; /* process ids, or 0 */
	char session[64];      /* our address of the SSH session that started us, or "" */
};

/** Look which other programs are in charge. @p options is kept. */
void guard_init(struct guard *g, const struct guard_options *options);

/** May it be changed? @param why  GUARD_WHY octets: if not, the reason and what to do. */
bool guard_allows(const struct guard *g, const struct tune_change *c, char *why);

/** May its old value be written back? The same without the question of who else is in charge. */
bool guard_allows_undo(const struct guard *g, const struct tune_change *c, char *why);
