/**
 * @file
 * A table of nftables of our own, `inet heptap`, that keeps UDP ports out of connection tracking,
 * made by the program nft. Its value is a text: the ports from low to high ("9060 9061"), "none" if
 * there is no such table, "other" if there is one that says something else.
 *
 * In a recorded tree it is the file /nft/heptap. Threads: main of a command; waits for a child.
 */
#pragma once
#include <stddef.h>

#include "conf/err.h"

#define NOTRACK_OBJECT "nft/inet/heptap"

/** @return octets of @p out; -ENOENT: no nft; -EPERM; -EIO: it failed; another -errno. */
HT_MUST_CHECK int notrack_read(const char *root, char *out, size_t size);

/** Replace the table in one step, or delete it. @param value  Ports or "none".
 * @return HT_OK; -EINVAL for another value; else as notrack_read(). */
HT_MUST_CHECK int notrack_write(const char *root, const char *value);
