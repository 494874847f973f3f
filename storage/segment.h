/**
 * @file
 * What spool.c and stream.c share about segment files; nobody else includes it.
 */
#pragma once
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

struct spool;

#define SEGMENT_NAME_BYTES (16 + 1 + 16 + 4 + 1)

/* "STREAM-FIRSTSEQ.seg", both 16 hex digits. */
void segment_name(char out[SEGMENT_NAME_BYTES], uint64_t stream, uint64_t first_seq);

/* Descriptor of the spool's directory; -1 if it is in memory. */
int spool_dir(const struct spool *s);

/* Is nothing in it to be changed? */
bool spool_is_read_only(const struct spool *s);

struct block_head;
struct segment;
struct stream;

/* Fewer octets are in a stream. Inside its lock. */
void spool_shrink(struct spool *s, struct stream *st, uint64_t bytes);

/* Cut what is behind @p whole octets of a segment, torn or merely allocated; counts it. @return
 * HT_OK or -errno. */
int segment_cut(struct spool *s, const struct segment *seg, uint64_t whole);

/* With durability disk: the process that left it may have ended before it synced. Threads: the
 * stream's writer, so that however much there is nobody else waits. */
void stream_sync_old(struct spool *s, struct stream *st);

/* Remove all segments of a stream. Threads: its writer. */
void stream_drop(struct spool *s, struct stream *st);

/* Say where a segment is damaged, and keep it beside the others as *.bad for whoever wants to look
 * at it. */
void segment_set_aside(struct spool *s, const struct stream *st, const struct segment *seg,
		       uint64_t offset, uint64_t seq);

/**
 * Find the next whole block of a stream behind a damaged place.
 *
 * @param offset  Where to begin; set to where the block begins.
 * @param end     Octets in the segment.
 * @param buf     BLOCK_MAX_BYTES, 8-aligned; overwritten.
 * @return HT_OK; HT_EBADBLOCK if there is none; -errno.
 */
int segment_resync(int fd, uint64_t stream, uint64_t *offset, uint64_t end, void *buf,
		   struct block_head *head);

/**
 * Is there a whole block at an offset?
 *
 * @param in_full  Read and check all of it, not only its head.
 * @param buf      BLOCK_MAX_BYTES, 8-aligned; overwritten.
 * @return HT_OK, HT_ETORN (the segment ends inside of it), HT_EBADBLOCK, -errno.
 */
int segment_block_at(int fd, uint64_t offset, uint64_t end, bool in_full, void *buf,
		     struct block_head *head);
