/**
 * @file
 * What was changed on this host, and what was there before: a text file with a line per step, each
 * with a checksum, each synced before the step is taken. It tells how to set everything back after
 * a crash at any moment.
 *
 *     heptap-tune-journal  1  BOOT  NETWORK                                        CHECKSUM
 *     W  NUMBER  KIND  INTERFACE  OBJECT  IDENTITY  OLD  WANTED                    CHECKSUM
 *     R  NUMBER  STEP  NOW                                                         CHECKSUM
 *
 * Fields are separated by a tabulator; what could be one, a line feed or '%' is %XX. The settings
 * die with the kernel, so a journal of an earlier start of it tells nothing.
 *
 * Threads: one; one process at a time has a journal open.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

#define JOURNAL_VALUE	 512 /* octets of a value with its end */
#define JOURNAL_OBJECT	 256
#define JOURNAL_PER_FILE 65536 /* steps */

struct journal;

enum journal_step {
	JOURNAL_WRITING, /* announced; whether it was written is not known */
	JOURNAL_WRITTEN, /* and read back */
	JOURNAL_FAILED,	 /* the kernel refused */
	JOURNAL_UNDONE,	 /* set back */
	JOURNAL_LEFT,	 /* not ours to set back any more */
};

struct journal_entry {
	enum journal_step step;
	char kind[16], interface[16], object[JOURNAL_OBJECT];
	char identity[JOURNAL_OBJECT]; /* of the thing behind the name, which may be given again */
	char old[JOURNAL_VALUE], wanted[JOURNAL_VALUE];
	char now[JOURNAL_VALUE]; /* read back after it was written; "" before */
};

/**
 * Open a journal and read what is in it. A last line without an end is of a crash, before anything
 * was done about it: it is cut off if @p may_write. A journal of another boot or network namespace
 * is read as it is.
 *
 * @param boot, network  Written into a new journal.
 * @param may_write  Make it if it is not there. Else -ENOENT.
 * @return HT_OK; -EWOULDBLOCK if another process has it; -EPERM if it belongs to somebody else or
 *         others may write to it; HT_EFORMAT; HT_EJOURNAL if its first line is damaged; -errno.
 */
HT_MUST_CHECK int journal_open(struct journal **out, const char *path, const char *boot,
			       const char *network, bool may_write);

/** NULL is allowed. */
void journal_close(struct journal *j);

const char *journal_boot(const struct journal *j);
const char *journal_network(const struct journal *j);

/** Number of the first line that is damaged, or 0. The others are good. */
size_t journal_damaged_line(const struct journal *j);

size_t journal_count(const struct journal *j);

/** Valid until the next call that writes. */
const struct journal_entry *journal_entry(const struct journal *j, size_t number);

/** Is there anything that could be set back? */
bool journal_is_open_ended(const struct journal *j);

/**
 * Announce a write and sync. Only after HT_OK may it be done.
 * @param e  Copied; its step and @p now are not looked at.
 * @param number  Of the entry, for journal_note().
 * @return HT_OK, HT_EFULL, -errno: then the file is as before.
 */
HT_MUST_CHECK int journal_begin(struct journal *j, const struct journal_entry *e, size_t *number);

/** Say how it went, and sync. @param now  NULL: as noted before. */
HT_MUST_CHECK int journal_note(struct journal *j, size_t number, enum journal_step step,
			       const char *now);

/** Remove the file: nothing of it has to be set back. */
HT_MUST_CHECK int journal_remove(struct journal *j);
