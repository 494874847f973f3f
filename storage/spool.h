/**
 * @file
 * The spool: the queue between receiving and the database, as segment files.
 *
 * A segment `STREAM-FIRSTSEQ.seg` (both 16 hex digits) is blocks of one stream, one behind the
 * other. A stream belongs to one process start and one writer. Streams of this start are live and
 * appended to; what earlier starts left are old streams, drained too. A segment is removed once the
 * database was seen alive SPOOL_KEEP_S after its last block was committed: should the ledger turn
 * out to have gone back (a database killed with innodb_flush_log_at_trx_commit=0), its blocks are
 * still there, however long it was down.
 *
 * Threads: ht-spool appends, syncs and expires; the writer of a stream reads it and tells what is
 * committed. A stream's mutex covers its list of segments and their lengths; reading bytes needs no
 * lock, since a segment is only removed once the writer is far behind it.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"

struct block;
struct memory_use;
struct spool;

#define SPOOL_SEGMENT_BYTES \
	(64U << 20) /* a segment that has so much is followed by another; less in a small spool */
#define SPOOL_KEEP_S	  30
#define SPOOL_MAX_STREAMS 1024
#define STREAM_TAIL_MOST  64

struct spool_options {
	const char *dir;
	uint64_t max_bytes;
	uint32_t node_id;
	unsigned writers; /* live streams of messages, one each */
	bool statistics;  /* a live stream of sums besides; those of earlier starts are drained
			     anyway */
	bool in_memory;	  /* segments in memfds: promises nothing across an end of the process */
	unsigned keep_s;  /* 0: SPOOL_KEEP_S */
	bool sync;	  /* fdatasync at most every 200 ms */
	bool read_only;	  /* old streams only, and nothing in the directory is changed */
	int owner_uid, owner_gid; /* who gets a directory that is made; -1: nobody else */
};

struct segment {
	uint64_t first_seq, last_seq; /* last_seq < first_seq: empty */
	uint64_t bytes;		      /* of whole blocks; until it was looked at, of the file */
	uint64_t kept_bytes;	      /* behind them: no block, but on the disk */
	uint64_t done_us;	      /* monotonic time its last block was committed; 0: not yet */
	bool is_closed;		      /* appending to it failed: what comes goes to another */
	uint64_t synced_bytes;	      /* ht-spool's */
	int fd;
};

struct stream {
	uint64_t id;
	uint32_t node_id; /* that the ledger knows it under */
	bool is_live;
	bool is_recovered; /* stream_recover() was here; live ones need it not */
	unsigned writer;
	pthread_mutex_t lock;	  /* what follows; a leaf, nothing else is taken inside */
	struct segment *segments; /* in order of seq */
	size_t segment_count, segment_room;
	uint64_t last_seq;  /* appended; 0: none */
	uint64_t rows;	    /* appended to this stream, ever */
	uint64_t bytes;	    /* appended and not yet removed */
	uint64_t committed; /* seq */
	uint64_t alive_us;  /* monotonic time the database last answered this stream's writer */
	/* damaged blocks behind the last whole one: seq of the last of them, 0 if there is none,
	   and rows of each; the writer's */
	uint64_t tail_seq;
	uint32_t tail_count, tail_rows[STREAM_TAIL_MOST];
	int next_fd; /* allocated for the next segment; -1: none. ht-spool's */
};

/* Where a writer reads next. */
struct stream_pos {
	uint64_t seq;	    /* next block */
	uint64_t rows;	    /* of the stream before it */
	uint64_t first_seq; /* of the segment it is in; 0: to be looked up */
	uint64_t offset;    /* in that segment */
	uint64_t told; /* rows up to which losses were reported; stays over a seek, so that a second
			  try does not report them again */
};

/* Counted by ht-spool, but for torn_bytes and bytes, which several threads change. */
struct spool_counters {
	counter rows_appended; /* of messages */
	counter deltas_appended;
	counter blocks_appended;
	counter lost_rows; /* given up at shutdown */
	counter lost_deltas;
	counter crowded_deltas; /* that did not fit the part of the spool that is theirs */
	counter torn_bytes;	/* cut from the tails of old streams */
	counter bytes;		/* on disk now: goes up and down */
	counter most_bytes;	/* the most that was; ht-spool's */
} __attribute__((aligned(128)));

/**
 * Open the spool: make its directory, lock it against a second process, find the streams of earlier
 * starts.
 * @return HT_OK; -EWOULDBLOCK: another process has it; another -errno. Complains in the log where a
 * person has to act. Threads: main, before the others start.
 */
HT_MUST_CHECK int spool_open(struct spool **out, const struct spool_options *options);

/** Close it; files stay. Threads: main, after the others ended. */
void spool_close(struct spool *s);

/** The writer of all streams of sums: the one behind those of messages. */
static inline unsigned spool_statistics_writer(const struct spool_options *o)
{
	return o->writers;
}

/** Is there any stream of sums, live or old? */
bool spool_has_statistics(const struct spool *s);

/** Streams, live ones first. The count does not change while the server runs. */
size_t spool_stream_count(const struct spool *s);
struct stream *spool_stream(struct spool *s, size_t i);

const struct spool_counters *spool_counters(const struct spool *s);

/** Add what one in memory takes of it. Threads: any. */
void spool_memory(const struct spool *s, struct memory_use *sum);

/** Does it end with the process? */
bool spool_is_in_memory(const struct spool *s);

/** Does it take blocks, and is half of it free, and half of the part of sums, once the @p coming
 * octets are there? For who can wait with what it brings. Threads: any. */
bool spool_has_room(const struct spool *s, uint64_t coming);

/** Is there room for another segment? Threads: any. */
bool spool_has_reserve(const struct spool *s);

/**
 * Append to the first @p count live streams only, at least one and at most all: what the others
 * have is still read. Threads: any.
 */
void spool_use_writers(struct spool *s, unsigned count);

/** Is the spool taking blocks? False from a failed append to the next that works. Threads: any. */
bool spool_is_ok(const struct spool *s);

/**
 * Append a sealed block to the live stream that is least behind, of those in use; one of sums to
 * theirs, or, where those that nobody stores have taken their part of the spool, to none: that is
 * counted, told and HT_OK.
 *
 * @param writer  Set to the writer to be woken.
 * @return HT_OK: the block's bytes are in the kernel and @p b can be used again; HT_EFULL
 * (max_bytes reached) or -errno: nothing was appended, the block is still the caller's to try
 * again. Logs each change between working and not. Threads: ht-spool.
 */
HT_MUST_CHECK int spool_append(struct spool *s, struct block *b, unsigned *writer);

/** Sync what has to be synced, allocate segments ahead and remove what is long committed. @p now_us
 * is monotonic. Threads: ht-spool, about once in 200 ms. */
void spool_tend(struct spool *s, uint64_t now_us);

/** Count rows that will never be appended (at shutdown). Threads: ht-spool. */
void spool_give_up(struct spool *s, const struct block *b);

/**
 * Look at what an earlier start left of a stream: where it ends, and how many rows it has. What
 * was being written when that process ended is cut. Only the last segment is read, and those before
 * it while they hold nothing; further damage shows when they are read.
 * @return HT_OK, also if it was done before; -errno. Threads: the stream's writer, before anything
 * else of the stream.
 */
HT_MUST_CHECK int stream_recover(struct spool *s, struct stream *st);

/**
 * Put a position, all zero at first, on the block behind @p seq. Its rows are those in the blocks
 * up to and including @p seq, from the stream's beginning; for a seq that is no longer in the
 * spool, as many as lie before its first block.
 * @return HT_OK, or -errno from reading; then the position is as it was. Threads: the stream's
 * writer.
 */
HT_MUST_CHECK int stream_seek(struct stream *st, struct stream_pos *pos, uint64_t seq);

/**
 * Read whole, checked blocks from a position on.
 *
 * @param pos   Moved over blocks that are damaged, not over those that are read; stream_advance()
 * does that.
 * @param buf   8-aligned; holds at least one block (BLOCK_MAX_BYTES).
 * @param max_rows  Read no further block once there are this many rows.
 * @param len   Set to the octets read: blocks that lie one behind the other, 0 if nothing more is
 * there.
 * @param lost  Rows of damaged blocks that were passed over are added. The segment is kept beside
 * the others as *.bad.
 * @return HT_OK, or -errno from reading.
 * Threads: the stream's writer.
 */
HT_MUST_CHECK int stream_read(struct spool *s, struct stream *st, struct stream_pos *pos, void *buf,
			      size_t buf_len, uint32_t max_rows, size_t *len, uint64_t *lost);

/** Take what cannot be read from a disk for zeros, and so for damage like any other, in all that
 * this thread reads from now on. Threads: the stream's writer, after it tried long enough. */
void stream_pass_unreadable(bool on);

struct block_head;

/** Move a position behind a block that was read at it. */
void stream_advance(struct stream_pos *pos, const struct block_head *h);

/** The oldest block that is still in the spool; 0 if there is none. Threads: any. */
uint64_t stream_oldest(struct stream *st);

/** Is something behind @p pos, or was it not looked yet? Threads: any. */
bool stream_has_more(struct stream *st, const struct stream_pos *pos);

/** The ledger says that everything up to @p seq is committed (it may be less than before). Threads:
 * the stream's writer. */
void stream_committed(struct stream *st, uint64_t seq);

/** The database answers, and knows what it confirmed. Threads: the stream's writer. */
void stream_alive(struct stream *st);
