/**
 * @file
 * What somebody may have meant with a key that there is not.
 * Threads: pure; any thread.
 */
#pragma once
#include <stddef.h>

#define SUGGEST_BYTES 512

/**
 * @param prefix  Of the section's keys: "", "storage.", "hep[].".
 * @param word    What stands in the file.
 * @return @p out: "did you mean NAME?" if one name of the section is close, else "keys here: NAME,
 *         NAME, ...".
 */
const char *suggest_key(const char *prefix, const char *word, char *out, size_t size);
