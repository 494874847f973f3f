/**
 * @file
 * Why the kernel refused to change a setting, in words, and what to do.
 * Threads: pure; any thread.
 */
#pragma once
#include <stddef.h>

#include "tune/change.h"

/** @param err  As value_read() and value_write() return it, negative. */
void reason_print(const struct tune_change *c, int err, char *out, size_t size);
