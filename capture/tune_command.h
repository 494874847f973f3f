/**
 * @file
 * `heptap tune plan`: what the tuner would use, change and warn of, as a table or as JSON. It
 * writes nothing to the host. Threads: main of a command.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "conf/conf.h"
#include "tune/host_plan.h"

struct tune_words {
	const char *root; /* "": this machine */
	bool is_json;
};

/** The words that may follow, for a usage error. */
#define TUNE_USAGE "tune takes plan, and perhaps --root DIR and --format text or json"

/** Are these words good? */
bool tune_words(int argc, char **argv, struct tune_words *out);

/** @return an exit code. */
int tune_command(const struct conf *conf, const struct tune_words *words);

/** The plan as one JSON object. @return false: no memory, or it could not be written. */
bool tune_print_json(const struct facts *f, const struct tune_wish *wish, const struct host_plan *p,
		     FILE *to);
