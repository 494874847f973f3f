/**
 * @file
 * Other programs that set what we would: irqbalance, which moves interrupts every ten seconds, and
 * tuned, which writes what its active profile names. Threads: any; no state.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "tune/change.h"

/** A process of this name. @return its id; 0: there is none. */
int process_find(const char *root, const char *name);

/**
 * Does the active profile of tuned, or one that it includes, set this?
 *
 * @param where  Set if so: the line and its file, or that the profile could not be read.
 */
bool tuned_sets(const char *root, const struct tune_change *c, char *where, size_t size);
