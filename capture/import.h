/**
 * @file
 * `heptap import CAPTURE...`: SIP of capture files into the database. Threads: the command's main
 * thread, which reads.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/words.h"
#include "conf/conf.h"

/* What the words behind the command ask for. */
struct import_wish {
	struct packet_wish packets;
	uint64_t first; /* number of the packet that the first file is read from; from 1 */
	char **files;	/* "-": standard input, once at most */
	int file_count;
};

/**
 * Read the words. @p argv is put in another order, and @p out points into it.
 * @param why  WHY_BYTES; what is wrong, if it returns false.
 */
HT_MUST_CHECK bool import_words(int argc, char **argv, struct import_wish *out, char *why);

/**
 * Store what is in the files, and tell the sums on stdout.
 * @return an exit code: 0 all is stored; 1 a file is none, or damaged, or rows were refused; 3 it
 * could not be done, or was interrupted.
 */
int import_command(const struct conf *conf, const struct import_wish *wish);
