/**
 * @file
 * What became of each change, as `heptap tune apply`, verify and rollback say it: a line each while
 * it happens, or one JSON object at the end. Threads: main of a command.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "capture/tune_command.h"
#include "tune/apply.h"

struct tune_result {
	struct tune_change change;
	struct apply_result result;
};

struct tune_files;

struct tune_report {
	enum tune_verb verb;
	const char *root;
	bool is_json;
	char journal[512];	 /* its path */
	char message[GUARD_WHY]; /* of all of it; "" if nothing is to be said */
	char error[GUARD_WHY];	 /* why it was not done, or not all of it */
	struct tune_result *list;
	size_t count, room;
	bool is_short; /* of memory: some results are missing */
	struct apply_sums sums;
	const struct tune_files *files; /* written, too; may be NULL */
};

void report_init(struct tune_report *r, const struct tune_words *words);
void report_fini(struct tune_report *r);

/** An apply_say of it; text is printed at once. */
void report_take(void *report, const struct tune_change *c, const struct apply_result *r);

/** Say a result again, whose state was another. */
void report_correct(struct tune_report *r, size_t number, enum apply_state state, const char *note);

__attribute__((format(printf, 2, 3))) void report_say(struct tune_report *r, const char *format,
						      ...);
__attribute__((format(printf, 2, 3))) void report_fail(struct tune_report *r, const char *format,
						       ...);

/** The end of it. @return an exit code: 3 if a person should look at it. */
int report_finish(struct tune_report *r);

/** What a state is called after a command. */
const char *report_state(enum tune_verb verb, enum apply_state state);

/** As one JSON object. @return false: no memory, or it could not be written. */
bool report_print_json(const struct tune_report *r, FILE *to);
