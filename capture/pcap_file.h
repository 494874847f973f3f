/**
 * @file
 * Capture files: pcap (both byte orders, micro- and nanoseconds, the "modified" kind with longer
 * record headers) and pcapng, from a file or a pipe. Every length in them is a claim that is
 * checked; memory is one buffer and sixteen octets for each interface of a section.
 * Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 * Threads: one at a time.
 */
#pragma once
#include <stdint.h>

#include "capture/source.h"
#include "conf/err.h"

#define PCAP_FILE_FRAME_MOST 262144 /* octets of a frame; what claims more is damaged */

struct pcap_file;

/**
 * Open a capture file and read its header.
 *
 * @param name  Path; "-": standard input.
 * @param out   pcap_file_close() it; set also after HT_EPCAP, for pcap_file_why().
 * @return HT_OK; HT_EPCAP if it is none; -errno.
 */
HT_MUST_CHECK int pcap_file_open(struct pcap_file **out, const char *name);

/** The same from a descriptor, which is closed even on failure. */
HT_MUST_CHECK int pcap_file_open_fd(struct pcap_file **out, int fd);

/** NULL is fine. */
void pcap_file_close(struct pcap_file *f);

/** Of a pipe, wait for octets @p wait_ms at most, or until @p wake_fd is readable: -EINTR then, so
 * that the caller can look after other things. */
void pcap_file_wait(struct pcap_file *f, int wake_fd, int wait_ms);

/**
 * Give the next frames to @p ops (begin, frame, end) as one batch. Of a pipe, no frame waits for
 * the one behind it.
 *
 * @param most  Frames, at least 1.
 * @return how many (> 0); 0 at the end of the file; HT_EPCAP if what comes next is damaged; -errno,
 *         where after -EINTR the same call goes on. What was whole has been given before.
 */
HT_MUST_CHECK int pcap_file_batch(struct pcap_file *f, const struct source_ops *ops, void *ctx,
				  unsigned most);

/** Why the last call ended: "" if all is well, else such as "ends within a packet at octet 1234".
 * Lives until the next call. */
const char *pcap_file_why(const struct pcap_file *f);

/** Octets read so far, up to the next frame. */
uint64_t pcap_file_position(const struct pcap_file *f);

/** Octets in all; 0 if not known, as of a pipe. */
uint64_t pcap_file_size(const struct pcap_file *f);
