/**
 * @file
 * A batch: the rows of one transaction, sorted by the table they go to, and inserting them. Rows
 * that the database refuses alone are set aside; their neighbours go in.
 *
 * Threads: a batch belongs to one writer.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "storage/columns.h"
#include "storage/db.h"
#include "storage/layout.h"
#include "storage/reject.h"

struct admin;
struct batch;
struct lease;

/* What became of the rows, if it is committed. */
struct batch_result {
	uint64_t stored[PLACE_COUNT];
	uint64_t unrouted; /* of them, went to the usual table instead of the one a rule chose */
	uint64_t rejected[REJECT_REASON_COUNT];
	uint64_t clipped[ROW_TEXT_COUNT], repaired[ROW_TEXT_COUNT];
	uint64_t deltas; /* rows of sums, where it is of those */
};

struct batch_options {
	struct admin *admin;
	const struct layout *layout;
	struct reject_file *rejects;
};

/** @return HT_OK or -ENOMEM. batch_free() it. */
HT_MUST_CHECK int batch_new(struct batch **out, const struct batch_options *options);
void batch_free(struct batch *b);

/** Forget the rows. */
void batch_clear(struct batch *b);

/** Add the rows of a block, which has to stay where it is. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int batch_add(struct batch *b, const void *block);

uint32_t batch_rows(const struct batch *b);
uint32_t batch_blocks(const struct batch *b);

/** A block of the batch. */
const struct block_head *batch_block(const struct batch *b, uint32_t i);

/**
 * Insert all rows, in the open transaction of @p db.
 *
 * @param ids  Enough for batch_ids() rows.
 * @param blame_rows  An error that nobody knows is the row's.
 * @param last_day  Rows of later days are refused without being sent.
 * @return HT_OK, then batch_result() holds; HT_EDUPLICATE: again with other ids; HT_ETABLE: too
 * many rows were refused to be their own fault; or an error of db_run() or of ht-admin. All but
 * HT_OK: roll back. batch_trouble() says where it was.
 */
HT_MUST_CHECK int batch_insert(struct batch *b, struct db *db, struct lease *ids, bool blame_rows,
			       uint32_t last_day);

/** Ids that batch_insert() may draw. */
uint64_t batch_ids(const struct batch *b);

const struct batch_result *batch_result(const struct batch *b);

/** The transaction is committed: what is remembered about refusals moves on. */
void batch_committed(struct batch *b);

/**
 * The table that the last failure was about: its name, and the last day of its rows.
 * @return its place; what == PLACE_COUNT if it was about none.
 */
struct place batch_trouble(const struct batch *b, char name[LAYOUT_NAME], uint32_t *last_day);

/** The server's number and words of the last failure, which questions asked since have replaced on
 * the connection; 0 and "" if there are none. */
unsigned batch_error(const struct batch *b, const char **words);

/** The table is read again, and its statement prepared again, before it is used again. */
void batch_forget_table(struct batch *b, struct place p);

/** The connection is gone: all statements are. Before db_close(). */
void batch_disconnect(struct batch *b);
