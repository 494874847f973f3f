/**
 * @file
 * Files of a host below a root directory: "" is this machine, anything else a recorded tree. No
 * other file of this folder opens one of /proc, /sys or /etc.
 *
 * No link leads out of a recorded tree, and what its `.faults` file lists ("PATH read|write ERRNO",
 * PATH without the first slash; it may end in `*`) fails as it did on the machine that was
 * recorded. Threads: any; no state.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/** Room for the longest value that is read or written, with its end. */
#define FILE_VALUE 4096

/**
 * Read a file, up to @p size - 1 octets of it, and end it with a NUL.
 *
 * @param format  The path from the root, beginning with a slash.
 *
 * @return Octets read, -errno if it cannot be read.
 */
__attribute__((format(printf, 4, 5))) long file_read(const char *root, char *out, size_t size,
						     const char *format, ...);

/** A whole file without the line feeds at its end. @return octets or -errno; HT_EFULL if it does
 * not fit, and then @p out is unspecified. */
HT_MUST_CHECK int file_value(const char *root, const char *path, char *out, size_t size);

/** A whole file, of less than 64 MiB. @return free() it; NULL with errno if it cannot be read. */
char *file_read_all(const char *root, const char *path);

/** The decimal number that a file begins with, blanks before it allowed. @return -1: unknown */
__attribute__((format(printf, 2, 3))) int64_t file_number(const char *root, const char *format,
							  ...);

__attribute__((format(printf, 2, 3))) bool file_exists(const char *root, const char *format, ...);

/** Its size; -1: unknown. */
int64_t file_size(const char *root, const char *path);

/** For each entry of a directory, hidden ones left out. @return how many, or -errno. */
int file_list(const char *root, const char *path, void (*each)(void *ctx, const char *name),
	      void *ctx);

/** Where a link leads, as it is written; @return false: it is none or cannot be read. */
__attribute__((format(printf, 4, 5))) bool file_link(const char *root, char *out, size_t size,
						     const char *format, ...);

/**
 * Write a value and a line feed with one write(2), which is what the kernel takes as one value.
 * The file must be there. @return HT_OK or -errno; -E2BIG from FILE_VALUE on.
 */
HT_MUST_CHECK int file_write(const char *root, const char *path, const char *value);

/** Would the file be opened for writing? Nothing is opened. @return HT_OK or -errno. */
HT_MUST_CHECK int file_may_write(const char *root, const char *path);
