/**
 * @file
 * A block: rows on their way from a receive thread to the database, and byte for byte what the
 * spool holds.
 *
 *     head (struct block_head) | rows, each 8-aligned | directory: u32 offset of each row from the
 * block's start
 *
 * A row: struct row_head | numbers, 8 octets each | per text: u32 offset from the row's start, u32
 * length | bytes. Texts that are part of the message point into it instead of being written again.
 * All native byte order: a spool is read on the kind of machine that wrote it. Nothing in a block
 * is a pointer, and a reader believes none of it before block_check().
 *
 * Threads: a block has one owner at a time; the rings hand it over.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"
#include "storage/columns.h"

struct msg;
struct sip;

#define BLOCK_MAGIC	    0x4b4c425054504548ULL /* "HEPTPBLK" */
#define BLOCK_VERSION	    1
#define BLOCK_FULL_BYTES    (1U << 20)	 /* sealed once it holds this much */
#define BLOCK_MAX_ROW_BYTES (256U << 10) /* a row is at most this: two HEP payloads and change */
#define BLOCK_MAX_BYTES	    (BLOCK_FULL_BYTES + 2 * BLOCK_MAX_ROW_BYTES + 65536)
#define BLOCK_MAX_ROWS                                                            \
	10001 /* one more than may be asked for: a message makes two rows at most \
	       */

struct block_head {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes;	      /* of the whole block */
	uint64_t hash;	      /* XXH3 of everything behind this field, seeded with the version */
	uint64_t stream;      /* set by the spool, as are seq and rows_before */
	uint64_t seq;	      /* from 1, without gaps in a stream */
	uint64_t rows_before; /* rows of this stream in earlier blocks */
	uint64_t first_arrival_us, last_arrival_us;
	uint32_t node_id; /* whose ledger row this stream has */
	uint32_t rows;
	uint32_t directory;	 /* offset of the directory */
	uint16_t numbers, texts; /* values a row holds */
};

struct row_head {
	uint32_t bytes; /* of the row, a multiple of 8 */
	uint16_t table; /* enum row_table */
	uint16_t kind;	/* enum row_kind, of SIP */
	uint32_t day;	/* days since 1970, UTC, of the packet's time */
	uint32_t spare2;
	uint64_t arrival_us;
};

struct row_ref {
	uint32_t offset, len;
};

/* An open block. The buffer is BLOCK_MAX_BYTES and belongs to the block. */
struct block {
	uint8_t *bytes;
	uint32_t used; /* head and rows so far */
	uint32_t rows;
	uint32_t max_rows;  /* at most BLOCK_MAX_ROWS */
	uint64_t opened_us; /* when its first row came, monotonic */
	bool is_statistics; /* its rows are sums */
	uint32_t *directory;
};

/* Values of a row that are neither the message nor its headers. */
struct row_extras {
	uint16_t table; /* enum row_table */
	uint16_t kind;	/* enum row_kind */
	int64_t proto;	/* as the chosen compat numbers it */
	int64_t type;	/* SIP: 1 request, 2 reply; else what Homer knows such reports by */
	struct view callid_aleg, source_ip, destination_ip, correlation_id, node;
	struct view custom_field[3];
	struct view route; /* of a SIP message: the table that it goes to; empty: the usual one */
};

/** Allocate a block that is full with @p max_rows rows, and takes one more then. @return HT_OK or
 * -ENOMEM. block_free() it. */
HT_MUST_CHECK int block_new(struct block **out, uint32_t max_rows);
void block_free(struct block *b);

/** Make a block empty again. */
void block_reset(struct block *b);

/** Is there no room for the rows of one more message, which are two at most? Then seal it. */
bool block_is_full(const struct block *b);

/**
 * Add the row of a message.
 *
 * Texts other than the message are at most 16 KiB each (they come from one message, but may come
 * twice).
 * @return HT_OK, or HT_EFULL if the row is larger than BLOCK_MAX_ROW_BYTES; then the block is as it
 * was.
 */
HT_MUST_CHECK int block_add(struct block *b, const struct msg *m, const struct sip *s,
			    const struct row_extras *w);

/* A row of sums. */
struct delta {
	enum delta_kind kind;
	uint32_t at; /* s since 1970 */
	bool auth, totag;
	uint64_t total;
	struct view name, cseq, text;
};

/** Add a row of sums to a block that holds nothing else. Its texts are at most 1 KiB. */
void block_add_delta(struct block *b, const struct delta *d, uint64_t arrival_us);

/** Close a block: its directory and head, without stream, seq and hash. @return its bytes. */
uint32_t block_seal(struct block *b);

/** Give a sealed block its place in a stream, and its hash. */
void block_stamp(struct block *b, uint32_t node_id, uint64_t stream, uint64_t seq,
		 uint64_t rows_before);

/* Blocks of sums have streams of their own, which the highest bit of their number tells. */
#define STREAM_STATISTICS (1ULL << 63)

static inline bool stream_id_is_statistics(uint64_t stream)
{
	return stream & STREAM_STATISTICS;
}

/**
 * Is the head of a block believable?
 *
 * @param len  Octets readable; may be fewer than the block has.
 * @return the block's length (> 0); HT_ETORN if @p len is less than a head; HT_EBADBLOCK if it is
 * no head that was ever written.
 */
HT_MUST_CHECK int64_t block_head_check(const void *bytes, size_t len);

/**
 * Is a block whole: head, hash, directory, every row and every text inside of it? After HT_OK the
 * readers below need no tests.
 * @return HT_OK, HT_ETORN (shorter than it says), HT_EBADBLOCK.
 */
HT_MUST_CHECK int block_check(const void *bytes, size_t len);

/* ---- readers, for blocks that passed block_check() ---- */

static inline const struct block_head *block_head_of(const void *bytes)
{
	return bytes;
}

static inline const struct row_head *block_row(const void *bytes, uint32_t i)
{
	const uint8_t *at = bytes;
	uint32_t offset;

	memcpy(&offset, at + block_head_of(bytes)->directory + 4 * (size_t)i, 4);
	return (const struct row_head *)(const void *)(at + offset);
}

/* A number of a row; blocks of an older format may not have it: then @p absent. */
static inline int64_t row_number(const struct block_head *h, const struct row_head *r,
				 enum row_number n, int64_t absent)
{
	const int64_t *numbers = (const int64_t *)(const void *)(r + 1);

	return (unsigned)n < h->numbers ? numbers[n] : absent;
}

static inline struct view row_text(const struct block_head *h, const struct row_head *r,
				   enum row_text t)
{
	const struct row_ref *refs =
		(const struct row_ref *)(const void *)((const int64_t *)(const void *)(r + 1) +
						       h->numbers);

	if ((unsigned)t >= h->texts || refs[t].len == 0)
		return (struct view){ NULL, 0 };
	return (struct view){ (const uint8_t *)r + refs[t].offset, refs[t].len };
}

static inline uint64_t delta_number(const struct block_head *h, const struct row_head *r,
				    enum delta_number n)
{
	return (uint64_t)row_number(h, r, (enum row_number)n, 0);
}

static inline struct view delta_text(const struct block_head *h, const struct row_head *r,
				     enum delta_text t)
{
	return row_text(h, r, (enum row_text)t);
}
