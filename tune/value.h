/**
 * @file
 * What a change is about, read and written, whatever kind it is.
 * Threads: any; no state.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"
#include "tune/change.h"

/** Names of the kinds in journals. */
const char *value_kind_name(enum tune_kind kind);
bool value_kind_parse(const char *name, enum tune_kind *out);

/** @return octets of @p out, or -errno. */
HT_MUST_CHECK int value_read(const char *root, const struct tune_change *c, char *out, size_t size);
HT_MUST_CHECK int value_write(const char *root, const struct tune_change *c, const char *value);

/** What can be said of a write without writing. @return HT_OK or -errno. */
HT_MUST_CHECK int value_may_write(const char *root, const struct tune_change *c);

/** The interrupt of a TUNE_IRQ, as text. @return false if its path is not one. */
bool value_irq(const struct tune_change *c, char out[12]);

/** Do these say the same of it, however they are written? */
bool value_is_equal(const struct tune_change *c, const char *a, const char *b);

/** May the kernel or a driver make another number of what is written? */
bool value_is_rounded(const struct tune_change *c);

/**
 * An interrupt goes on being served where it was until it fires next.
 * @return Is that so, of CPUs that @p list has?
 */
bool value_is_pending(const char *root, const struct tune_change *c, const char *list);

/**
 * What is behind a name that may be given to another thing later: the interrupt's chip and action,
 * the interface's index and driver. "" where the name is all there is.
 * @return HT_OK or -errno.
 */
HT_MUST_CHECK int value_identity(const char *root, const struct tune_change *c, char *out,
				 size_t size);
