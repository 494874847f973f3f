/**
 * @file
 * Files of the host, under a root directory: "" is this machine, anything else a recorded tree. A
 * link never leads out of a recorded tree, and what its `.faults` file lists ("PATH read|write
 * ERRNO", PATH may end in `*`) fails as it did on the machine that was recorded.
 * Threads: any; no state.
 */
#pragma once
#include <dirent.h>
#include <stddef.h>

#include "conf/err.h"

/** Longest value that is read or written; a line of /proc/interrupts of a large host is longer. */
#define ROOTED_VALUE 4096

/**
 * Read a file into @p out, without the line feed at its end.
 * @param path  Absolute, as on the host.
 * @return octets, or -errno; HT_EFULL if it does not fit.
 */
HT_MUST_CHECK int rooted_read(const char *root, const char *path, char *out, size_t size);

/** A file of any length. @param out  free() it; not set on failure. @return octets or -errno. */
HT_MUST_CHECK int rooted_read_all(const char *root, const char *path, char **out);

/**
 * Write a value and a line feed with one write(2), which is what the kernel takes as one value.
 * The file must be there. @return HT_OK or -errno.
 */
HT_MUST_CHECK int rooted_write(const char *root, const char *path, const char *value);

/** @return NULL with errno. closedir() it. */
DIR *rooted_list(const char *root, const char *path);
