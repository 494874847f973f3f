/**
 * @file
 * Rows that the database refuses for good: one JSON line each in a file of bounded size, so that
 * nothing is lost without a trace.
 *
 * A line: time, stream (16 hex digits), seq and row (its place in the stream), table, errno and
 * error (the server's words), data (base64 of the row as it is in the block; storage/block.h). The
 * file is DIR/rejected.jsonl; at its bound it becomes rejected.jsonl.1, whose predecessor goes. A
 * line is written before its transaction is committed, so it may stand there twice after a crash,
 * but never not at all.
 *
 * Threads: any; a lock inside.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"
struct block_head;
struct row_head;
struct reject_file;

/* What the server had against it, as a label; X(name, text). */
#define REJECT_REASONS(X)                  \
	X(REJECT_TOO_LONG, "too_long")     \
	X(REJECT_CHARSET, "charset")       \
	X(REJECT_RANGE, "range")           \
	X(REJECT_VALUE, "value")           \
	X(REJECT_NULL, "null")             \
	X(REJECT_DUPLICATE, "duplicate")   \
	X(REJECT_CONSTRAINT, "constraint") \
	X(REJECT_FUTURE, "future")         \
	X(REJECT_OTHER, "other")

enum reject_reason {
#define X(name, text) name,
	REJECT_REASONS(X)
#undef X
		REJECT_REASON_COUNT
};

const char *reject_reason_name(enum reject_reason reason);

/** The reason that an error number of the server stands for. */
enum reject_reason reject_reason_of(unsigned code);

#define REJECT_MAX_BYTES (64U << 20) /* of the file, before it is set aside */

/** @p dir exists by then; nothing is opened before the first row. @p max_bytes: 0 for the default.
 * @return HT_OK or -ENOMEM. reject_close() it. */
HT_MUST_CHECK int reject_open(struct reject_file **out, const char *dir, uint64_t max_bytes);
void reject_close(struct reject_file *f);

struct reject {
	const struct block_head *block;
	const struct row_head *row;
	uint32_t index; /* of the row in its block */
	unsigned code;
	char table[96];
	char error[256];
};

/** Append a line. @return HT_OK or -errno, and then the row must not be given up. */
HT_MUST_CHECK int reject_write(struct reject_file *f, const struct reject *r);
