/**
 * @file
 * Places in a configuration file, and complaints about them: "FILE:LINE:COLUMN: what is wrong", one
 * line each.
 * Threads: one reader, one thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define COMPLAINTS_MAX \
	100	      /* more than anybody reads; also what bounds the work on a hostile file */
#define WHY_BYTES 128 /* room for a reason that becomes part of a complaint */

/* A place; line and column (in characters) count from 1, line 0 is no place. */
struct mark {
	unsigned line, column;
};

struct complaints {
	const char *name; /* of the file; borrowed */
	FILE *out;	  /* borrowed; NULL: only counted */
	size_t count;
};

/**
 * Add one. The one after COMPLAINTS_MAX only says that there are more, those behind it are dropped.
 */
__attribute__((format(printf, 3, 4))) void complain(struct complaints *c, struct mark at,
						    const char *format, ...);

/** Is further reading a waste of time? */
bool complaints_are_full(const struct complaints *c);
