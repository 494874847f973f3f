/**
 * @file
 * A host made by the test: files under a directory that goes with it.
 */
#pragma once
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

__attribute__((format(printf, 2, 3))) static inline void put(const char *text, const char *format,
							     ...)
{
	char path[512];
	int used = snprintf(path, sizeof(path), "%s/", root);
	va_list args;
	FILE *f;

	va_start(args, format);
	vsnprintf(path + used, sizeof(path) - (size_t)used, format, args);
	va_end(args);
	for (char *c = path + used; (c = strchr(c, '/')); c++) {
		*c = '\0';
		mkdir(path, 0700);
		*c = '/';
	}
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static inline void make_root(void)
{
	snprintf(root, sizeof(root), "%s/host-XXXXXX",
		 access("build", W_OK) == 0 ? "build" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static inline void remove_root(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}
