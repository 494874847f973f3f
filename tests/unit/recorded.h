/**
 * @file
 * A recorded machine, unpacked into a directory that is gone after the test.
 */
#pragma once
#include <check.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct recorded {
	char top[64];	/* what to remove */
	char root[96];	/* the tree */
	char other[96]; /* a place for a copy of it, or a journal */
};

__attribute__((format(printf, 1, 2))) static inline int run_line(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return system(line);
}

/* @param machine  Of tests/fixtures/hosts; NULL for an empty tree. */
static inline struct recorded recorded_make(const char *machine)
{
	struct recorded r;

	snprintf(r.top, sizeof(r.top), "/dev/shm/heptap-tune-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r.top));
	snprintf(r.root, sizeof(r.root), "%s/tree", r.top);
	snprintf(r.other, sizeof(r.other), "%s/other", r.top);
	if (machine)
		ck_assert_int_eq(run_line("sh tests/fixtures/hosts/unpack.sh "
					  "tests/fixtures/hosts/%s.host %s",
					  machine, r.root),
				 0);
	else
		ck_assert_int_eq(run_line("mkdir %s", r.root), 0);
	return r;
}

static inline void recorded_remove(struct recorded *r)
{
	ck_assert_int_eq(run_line("rm -rf %s", r->top), 0);
}
