/**
 * @file
 * Capture files as a source of packets, for `heptap import` and for an entry of `capture` with a
 * `file`. Nothing of a file is ever shed: it is read as fast as the worker, the spool and so the
 * database take it.
 *
 * Threads: one, but for file_source_stop() and file_source_give_up(), which are for any, and for
 * signal handlers.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"

struct file_source;
struct packets;
struct pcap_file;
struct worker;

struct file_source_options {
	struct packets *packets;
	struct worker *worker; /* NULL: who takes the messages always has room */
	const char *bpf;       /* only frames that it takes are looked at; "": all of them */
	/* Called between batches; NULL: nobody wants to know. */
	void (*tell)(void *ctx, const struct file_source *f);
	void *ctx;
};

/** @return HT_OK or -errno. file_source_free() it. */
HT_MUST_CHECK int file_source_new(struct file_source **out,
				  const struct file_source_options *options);

/** NULL is fine. */
void file_source_free(struct file_source *f);

/**
 * Read a file to its end. What is not whole there waits for what the next file begins with.
 *
 * @param file  Open; the caller's. Its frames begin with number @p first, those before are passed
 * over and not counted.
 * @param name  For messages; lives as long as the call.
 * @return HT_OK; HT_ESTOP: file_source_stop() came first; HT_EPCAP: damaged, pcap_file_why() says
 * how; -errno. What was whole is taken in each case; file_source_next() and pcap_file_position()
 * say where it ended.
 */
HT_MUST_CHECK int file_source_read(struct file_source *f, struct pcap_file *file, const char *name,
				   uint64_t first);

/** Number of the frame that comes next in its file; the first is 1. */
uint64_t file_source_next(const struct file_source *f);

/** Time of the oldest frame that was looked at, since 1970; UINT64_MAX: there was none. */
uint64_t file_source_oldest_us(const struct file_source *f);

/** The file that is read, or was last. */
const struct pcap_file *file_source_file(const struct file_source *f);

/** No file follows: give up what is not whole, and seal what the worker has. */
void file_source_end(struct file_source *f);

/** All of it for a server, whose log tells: read the file, then wait for the stop. */
void file_source_run(struct file_source *f, struct pcap_file *file, const char *name);

/** Read no further. */
void file_source_stop(struct file_source *f);

/** And do not wait for room any more: for what has none is shed, and counted. */
void file_source_give_up(struct file_source *f);
