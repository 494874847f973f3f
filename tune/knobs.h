/**
 * @file
 * Every setting that the tuner or a guide to tuning names, and what becomes of it here, with the
 * reason. A file or a setting that is not in the table is never written. Threads: any.
 */
#pragma once
#include "tune/facts.h"

enum verdict {
	KNOB_START,  /* by the plan, where a rule asks for it; in mode auto, too */
	KNOB_FULL,   /* by the plan, where a rule asks for it, in mode full */
	KNOB_OWN,    /* on our own sockets, threads and unit, without touching the host */
	KNOB_REPORT, /* looked at; a person decides */
	KNOB_REFUSE  /* never */
};

/* When it hurts: its first number compared with a limit. */
enum knob_check { NO_CHECK, IF_IS, IF_IS_NOT, IF_ABOVE, IF_BELOW };

struct knob {
	const char *section; /* of the description that the rules come from */
	const char *name;
	const char *object; /* pattern of struct tune_change's objects; NULL: not of the host */
	enum verdict verdict;
	bool is_raised_only; /* more is safer: never lowered */
	const char *reason;
	enum knob_check check; /* of a sysctl: a finding when it is true */
	int64_t limit;
	const char *hurts; /* what then happens; what to do */
};

extern const struct knob knobs[];
extern const unsigned knob_count;

const char *verdict_name(enum verdict v);

/** The row of a file or an IF/GROUP/KEY. @return NULL: we know nothing about it. */
const struct knob *knob_find(const char *object);

#define FINDING_OBJECT 96
#define FINDING_TEXT   512

/* Something that a person should know. */
struct finding {
	enum verdict verdict;
	char object[FINDING_OBJECT];
	char now[FACTS_VALUE];
	char text[FINDING_TEXT];
};

struct findings {
	struct finding *list;
	unsigned count, room;
	bool is_short; /* of memory: some are missing */
};

__attribute__((format(printf, 5, 6))) void finding_add(struct findings *to, enum verdict v,
						       const char *object, const char *now,
						       const char *format, ...);

/** Every row of the table whose check is true. */
void knobs_check(const struct facts *f, struct findings *to);
