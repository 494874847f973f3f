/**
 * @file
 * Every setting that the tuner knows, and every one that guides to tuning name: what is done about
 * it, and why. A file or a setting that is not here is never written.
 * Threads: any; constant.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum ruling_verdict {
	RULING_AUTO,	 /* set at every start */
	RULING_FULL,	 /* set in mode full or by `heptap tune apply`, or written by export */
	RULING_REPORTED, /* what it is, and what it should be; changed by a person */
	RULING_REFUSED,	 /* never set, whoever asks */
};

struct ruling {
	const char *section; /* of the description that the rules come from */
	const char *name;
	const char *object; /* pattern of struct tune_change's objects; NULL: not of the host */
	enum ruling_verdict verdict;
	bool is_raised_only; /* more is safer: never lowered */
	const char *rule;    /* in words */
	const char *why;     /* the danger, or why it is not set */
};

extern const struct ruling rulings[];
extern const size_t rulings_count;

/** "set at every start", "reported" and so on. */
const char *ruling_verdict_text(enum ruling_verdict verdict);

/** The ruling on a file or an IF/GROUP/KEY. @return NULL if we know nothing about it. */
const struct ruling *ruling_find(const char *object);
