/**
 * @file
 * The ledger: one row per stream in the database, changed in the transaction that stores rows,
 * which makes them arrive exactly once; and the leases that row ids are drawn from. Threads: the
 * caller's connection.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"
#include "storage/db.h"

/**
 * Take over a stream and learn what of it is committed. Waits for a session that is still
 * committing to it (SELECT ... FOR UPDATE), which a plain SELECT would not. Commits.
 *
 * @param owner  Of this process start. @p is_mine: the row, if it is there, has to carry it already
 * (a live stream is nobody else's).
 * @param seq    Set to the last committed block; 0 if the stream is new.
 * @return HT_OK; HT_EOWNER; an error of db_run(), and then nothing is known.
 */
HT_MUST_CHECK int ledger_claim(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner,
			       bool is_mine, uint64_t *seq);

/**
 * Inside the transaction with the rows: move the stream on.
 * @return HT_OK; HT_EOWNER if the row was not at @p from or not ours: roll back; an error of
 * db_run().
 */
HT_MUST_CHECK int ledger_advance(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner,
				 uint64_t from, uint64_t to);

/** Forget a stream whose segments are gone. Commits. @return HT_OK or an error of db_run(). */
HT_MUST_CHECK int ledger_forget(struct db *db, uint32_t node_id, uint64_t stream, uint64_t owner);

/* Row ids: node_id << 43 | n, below 2^53 so that browsers keep them exact. */
#define ROW_ID_BITS   43
#define LEASE_KEEP_US 1000000

struct lease {
	uint64_t next, end; /* ids not yet used */
	uint64_t drawn_us;  /* monotonic */
	uint64_t size;	    /* of the next lease: doubles while leases are used up quickly */
};

/**
 * Make sure that @p count ids can be drawn with lease_draw(). The rest of a lease older than 1 s is
 * dropped, so that ids follow time. Commits; not inside a transaction. @return HT_OK or an error of
 * db_run().
 */
HT_MUST_CHECK int lease_fill(struct lease *l, struct db *db, uint32_t node_id, uint64_t count,
			     uint64_t now_us);

/* @return the first of @p count ids that lease_fill() has made sure of. */
static inline uint64_t lease_draw(struct lease *l, uint64_t count)
{
	l->next += count;
	return l->next - count;
}

/**
 * Somebody else has taken ids of ours (a table with AUTO_INCREMENT goes on behind the highest):
 * lease from further on. Commits. @return HT_OK or an error of db_run().
 */
HT_MUST_CHECK int lease_skip(struct lease *l, struct db *db, uint32_t node_id, uint64_t count);

/** Drop what is left: after a lost connection the server may not remember having leased it. */
static inline void lease_drop(struct lease *l)
{
	l->next = l->end = 0;
}
