/**
 * @file
 * `heptap replay DIR`: the spool of a machine that is gone, into the database, exactly once.
 * Threads: the command's main thread.
 */
#pragma once
#include "conf/conf.h"

/**
 * Store what is in @p dir and not in the database yet; the directory stays as it is, so that it can
 * be done again: then nothing is left to do.
 * @return an exit code: 0 all is stored; 1 some was damaged, or rows were refused; 3 it could not
 * be done, or was interrupted. Says so on stderr, and the sums on stdout.
 */
int replay_command(const struct conf *conf, const char *dir);
