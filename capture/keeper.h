/**
 * @file
 * A child that sets interrupts back when the server has ended, however it ended. The server itself
 * cannot: it gives up its rights. The keeper stays root and gives up the rest: it has no sockets
 * and one capability, waits at a pipe, and ignores the signals that end a server.
 *
 * Threads: main, before there are others.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "conf/err.h"
#include "tune/guard.h"

struct keeper {
	pid_t pid; /* 0: there is none */
	int pipe;  /* closed when the server ends */
};

/** @param journal  What it sets back. Both are looked at later, in its own memory. */
HT_MUST_CHECK int keeper_start(struct keeper *k, const struct guard_options *o,
			       const char *journal);

/** Have it do its work and wait for that. Nothing if there is none. */
void keeper_end(struct keeper *k);

/**
 * Set back what a journal holds, with a line in the log. Waits some seconds for another process
 * that is at it.
 * @param what  Begins that line. @return As tune_rollback().
 */
HT_MUST_CHECK int keeper_undo(const struct guard_options *o, const char *journal, const char *what);
