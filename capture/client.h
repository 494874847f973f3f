/**
 * @file
 * A command to the running server: one PUT to its HTTP address. Threads: main of a command.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "conf/err.h"

/**
 * Send it and print the answer: on stdout if it was done, else on stderr.
 * @param path  Percent-encoded.
 * @return the HTTP status, or -errno (told on stderr) if there is no answer.
 */
HT_MUST_CHECK int client_put(const struct conf *conf, const char *path);

/** Percent-encode one part of a path. @return false if it does not fit. */
bool client_encode(const char *text, char *out, size_t size);

/** Read the token that http.token_file holds, in its first line. @return HT_OK, -errno, or -EINVAL
 * for an empty one. */
HT_MUST_CHECK int client_token(const char *file, char *out, size_t size);
