/**
 * @file
 * Where an octet of a YAML scalar stands in its file: quotes, escapes, folded lines and indentation
 * lie between the two.
 * Threads: pure; any thread.
 */
#pragma once
#include <stddef.h>

#include "conf/complain.h"

struct tree;

/**
 * @param bytes   The file that @p t, a scalar, was read from.
 * @param offset  Octets into its text; behind its end is its end.
 */
struct mark place_in_scalar(const void *bytes, size_t len, const struct tree *t, size_t offset);
