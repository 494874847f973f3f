/**
 * @file
 * `heptap tune export`, and the files that `apply --persist` writes: what keeps the changes over a
 * restart of the host. A file of somebody else is never written to; a line of ours that the plan
 * has no more, as the host is so by now, stays. Threads: main of a command.
 */
#pragma once
#include <stddef.h>
#include <stdio.h>

#include "capture/tune_command.h"
#include "capture/tuning.h"
#include "conf/err.h"
#include "tune/change.h"
#include "tune/guard.h"

/* Changes to keep, each object once. */
struct tune_wanted {
	struct tune_change *list;
	size_t count, room;
};

/** The first one of an object counts. @return HT_OK, -ENOMEM. */
HT_MUST_CHECK int wanted_add(struct tune_wanted *w, const struct tune_change *c);

/** And what the journal says is done and still so. @return as tune_verify(), -ENOMEM. */
HT_MUST_CHECK int wanted_add_journal(struct tune_wanted *w, const char *root, const char *journal);
void wanted_fini(struct tune_wanted *w);

enum tune_file_state { FILE_MADE, FILE_WRITTEN, FILE_SAME, FILE_EMPTY, FILE_REFUSED };

struct tune_file {
	char path[128]; /* its place, from the root */
	char *text;	/* "" if it has no setting */
	enum tune_file_state state;
	char note[GUARD_WHY]; /* why it was refused */
};

#define TUNE_FILES (FACTS_NICS + 2)

struct tune_files {
	struct tune_file list[TUNE_FILES];
	size_t count;
};

/**
 * @param dir  Below it the files are, or will be; "" for the host itself; NULL: nowhere.
 * @param file  Of the configuration, for the unit.
 * @return HT_OK, -ENOMEM; tune_files_fini() them in any case.
 */
HT_MUST_CHECK int tune_files_make(struct tune_files *f, const struct tuning *t,
				  const struct conf *conf, const char *file, const char *dir,
				  const struct tune_wanted *wanted);
void tune_files_fini(struct tune_files *f);

/** Each says what became of it. */
void tune_files_write(struct tune_files *f, const char *dir);

bool tune_files_are_bad(const struct tune_files *f);
const char *tune_file_state_text(enum tune_file_state state);
void tune_files_print_states(const struct tune_files *f, FILE *to);

/** Files as one JSON object. @return false: no memory, or it could not be written. */
bool tune_files_print_json(const struct tune_files *f, FILE *to);

/** @return an exit code. */
int export_command(const struct conf *conf, const char *file, const struct tune_words *words);
