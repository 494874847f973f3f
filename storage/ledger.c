/* heptap_ledger(node, stream, seq, owner, updated) and heptap_ids(node, next). */
#include "storage/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LEASE_FIRST 64
#define LEASE_MOST  65536

struct ledger_row {
	uint64_t seq, owner;
};

static void ledger_row_see(void *ctx, unsigned columns, char **texts)
{
	struct ledger_row *row = ctx;

	if (columns == 2 && texts[0] && texts[1]) {
		row->seq = strtoull(texts[0], NULL, 10);
		row->owner = strtoull(texts[1], NULL, 10);
	}
}

static int claim_row(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner, bool is_mine,
		     uint64_t *seq)
{
	struct ledger_row row = { 0 };
	char sql[256];
	int64_t rows =
		db_run(db,
		       "INSERT IGNORE INTO heptap_ledger (node, stream, seq, owner, updated) "
		       "VALUES (%" PRIu32 ", %" PRIu64 ", 0, %" PRIu64 ", UTC_TIMESTAMP())",
		       node_id, stream, owner);

	/* First, since a row that was looked for and is not there locks the gap: two streams that
	 * begin at once would wait for each other. */
	if (rows < 0)
		return (int)rows;
	snprintf(sql, sizeof(sql),
		 "SELECT seq, owner FROM heptap_ledger WHERE node=%" PRIu32 " AND stream=%" PRIu64
		 " FOR UPDATE",
		 node_id, stream);
	rows = db_query(db, ledger_row_see, &row, sql);
	if (rows < 0)
		return (int)rows;
	*seq = row.seq;
	if (row.owner != owner && is_mine)
		return HT_EOWNER;
	else if (row.owner != owner)
		rows = db_run(db,
			      "UPDATE heptap_ledger SET owner=%" PRIu64 " WHERE node=%" PRIu32
			      " AND stream=%" PRIu64,
			      owner, node_id, stream);
	return rows < 0 ? (int)rows : HT_OK;
}

int ledger_claim(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner, bool is_mine,
		 uint64_t *seq)
{
	int err = claim_row(db, node_id, stream, owner, is_mine, seq);

	if (err == HT_OK)
		return db_commit(db);
	if (err != HT_ECONN)
		db_rollback(db);
	return err;
}

int ledger_advance(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner, uint64_t from,
		   uint64_t to)
{
	int64_t rows = db_run(db,
			      "UPDATE heptap_ledger SET seq=%" PRIu64
			      ", updated=UTC_TIMESTAMP() WHERE node=%" PRIu32 " AND stream=%" PRIu64
			      " AND seq=%" PRIu64 " AND owner=%" PRIu64,
			      to, node_id, stream, from, owner);

	if (rows < 0)
		return (int)rows;
	return rows == 1 ? HT_OK : HT_EOWNER;
}

int ledger_forget(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner)
{
	int64_t rows = db_run(db,
			      "DELETE FROM heptap_ledger WHERE node=%" PRIu32 " AND stream=%" PRIu64
			      " AND owner=%" PRIu64,
			      node_id, stream, owner);

	return rows < 0 ? (int)rows : db_commit(db);
}

static int lease_take(struct db *db, uint32_t node_id, uint64_t count, uint64_t *first)
{
	int64_t rows = db_run(db,
			      "INSERT INTO heptap_ids (node, next) VALUES (%" PRIu32
			      ", LAST_INSERT_ID(1) + %" PRIu64
			      ") ON DUPLICATE KEY UPDATE next = LAST_INSERT_ID(next) + %" PRIu64,
			      node_id, count, count);

	if (rows < 0)
		return (int)rows;
	*first = db_insert_id(db);
	return db_commit(db);
}

int lease_fill(struct lease *l, struct db *db, uint32_t node_id, uint64_t count, uint64_t now_us)
{
	uint64_t first = 0, size;
	int err;

	if (l->end - l->next >= count && now_us - l->drawn_us < LEASE_KEEP_US)
		return HT_OK;
	if (now_us - l->drawn_us >= LEASE_KEEP_US)
		l->size = LEASE_FIRST;
	else if (l->size < LEASE_MOST)
		l->size *= 2;
	size = l->size > count ? l->size : count;
	lease_drop(l);
	err = lease_take(db, node_id, size, &first);
	if (err < 0)
		return err;
	l->next = (uint64_t)node_id << ROW_ID_BITS | first;
	l->end = l->next + size;
	l->drawn_us = now_us;
	return HT_OK;
}

int lease_skip(struct lease *l, struct db *db, uint32_t node_id, uint64_t count)
{
	uint64_t first;

	lease_drop(l);
	return lease_take(db, node_id, count, &first);
}
