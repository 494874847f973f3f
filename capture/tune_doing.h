/**
 * @file
 * `heptap tune apply`, verify and rollback. Threads: main of a command.
 */
#pragma once
#include "capture/tune_command.h"

/** @return an exit code. */
int apply_command(const struct conf *conf, const char *file, const struct tune_words *words);
int verify_command(const struct tune_words *words);
int rollback_command(const struct tune_words *words);
