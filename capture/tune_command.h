/**
 * @file
 * `heptap tune`: plan says what the tuner would use, change and warn of; apply, verify and rollback
 * change the host, look whether that still holds, and set it back; export prints or writes files
 * that keep it. Threads: main of a command.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "conf/conf.h"
#include "tune/host_plan.h"

enum tune_verb { TUNE_PLAN, TUNE_APPLY, TUNE_VERIFY, TUNE_ROLLBACK, TUNE_EXPORT };

#define TUNE_ONLY 32

struct tune_words {
	enum tune_verb verb;
	const char *root; /* "": this machine */
	const char *dir;  /* export writes files below it; NULL: it prints them */
	const char *only[TUNE_ONLY];
	unsigned only_count;
	bool is_json;
	bool is_persistent; /* apply also writes the files of export to their places */
};

/** The words that may follow, for a usage error. */
#define TUNE_USAGE                                                                           \
	"tune takes plan, apply, verify, rollback or export, and perhaps --root DIR and "    \
	"--format text or json; apply also --only PATTERN and (not with --root) --persist; " \
	"export also --dir DIR"

/** Are these words good? */
bool tune_words(int argc, char **argv, struct tune_words *out);

/** verify and rollback go by the journal alone: a configuration may be wrong by then. */
bool tune_needs_conf(const struct tune_words *words);

/**
 * @param conf  NULL if it is not needed.
 * @param file  Where it came from.
 * @return an exit code.
 */
int tune_command(const struct conf *conf, const char *file, const struct tune_words *words);

/** The plan as one JSON object. @return false: no memory, or it could not be written. */
bool tune_print_json(const struct facts *f, const struct tune_wish *wish, const struct host_plan *p,
		     FILE *to);
