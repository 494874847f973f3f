/**
 * @file
 * Files of a host below a root directory, which is "" for this machine or a recorded tree. No link
 * leads out of a recorded tree. Nothing here writes. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Read a file, up to @p size - 1 octets of it, and end it with a NUL.
 *
 * @param format  The path from the root, beginning with a slash.
 *
 * @return Octets read, -errno if it cannot be read.
 */
__attribute__((format(printf, 4, 5))) long file_read(const char *root, char *out, size_t size,
						     const char *format, ...);

/** A whole file, of at most 16 MiB, on the heap; NULL if it cannot be read. */
char *file_read_all(const char *root, const char *path);

/** The decimal number that a file begins with, blanks before it allowed. @return -1: unknown */
__attribute__((format(printf, 2, 3))) int64_t file_number(const char *root, const char *format,
							  ...);

__attribute__((format(printf, 2, 3))) bool file_exists(const char *root, const char *format, ...);

/** For each entry of a directory, hidden ones left out. @return how many; -1: cannot be read. */
int file_list(const char *root, const char *path, void (*each)(void *ctx, const char *name),
	      void *ctx);

/** Where a link leads, as it is written; @return false: it is none or cannot be read. */
__attribute__((format(printf, 4, 5))) bool file_link(const char *root, char *out, size_t size,
						     const char *format, ...);
