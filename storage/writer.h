/**
 * @file
 * A database writer: blocks from the spool, one transaction of rows and ledger at a time.
 *
 * Exactly once: the ledger row of the stream moves in the transaction that stores the rows, from
 * where it was to where they end, and only if it is still there and ours. After any doubt (an error
 * or a time-out on COMMIT, a new connection, the start) the ledger is read with SELECT ... FOR
 * UPDATE and the writer goes on behind what it says. There is no other memory of what is stored.
 *
 * Threads: writer_run() is ht-db-N; writer_wake() is for ht-spool, writer_stop() for anyone;
 * counters are read by anyone.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "storage/columns.h"
#include "storage/db.h"
#include "storage/layout.h"
#include "storage/reject.h"

struct admin;
struct spool;
struct writer;

/* Upper bounds of the latency histogram, milliseconds; a last bucket holds the rest. */
#define WRITER_LATENCY_MS                                                                  \
	{                                                                                  \
		2, 5, 10, 20, 40, 60, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000 \
	}
#define WRITER_LATENCY_BUCKETS 16

struct writer_counters {
	/* outcomes, read before what they are outcomes of */
	counter stored[PLACE_COUNT];
	counter unrouted; /* of the stored ones; see batch_result */
	counter stored_deltas;
	counter rejected[REJECT_REASON_COUNT];
	counter lost_damage; /* rows of damaged blocks */
	counter recovered;   /* rows of earlier starts found behind the ledger */
	counter rewound;     /* rows counted stored that the ledger does not know any more */
	counter transactions;
	counter retries;
	counter clipped[ROW_TEXT_COUNT];
	counter repaired[ROW_TEXT_COUNT];
	counter latency[WRITER_LATENCY_BUCKETS]; /* rows, arrival to commit */
	counter latency_sum_us;
	_Atomic bool is_up;	 /* connected and storing */
	_Atomic unsigned unread; /* streams of earlier starts whose rows are not counted yet; to be
				    read before `recovered` */
} __attribute__((aligned(128)));

struct writer_options {
	unsigned index;	    /* of this writer; streams name it */
	bool is_statistics; /* its streams are of sums, not of messages */
	struct spool *spool;
	struct admin *admin;
	const struct layout *layout;
	struct reject_file *rejects;
	const struct db_options *db;
	uint64_t owner;	  /* of this process start */
	uint32_t node_id; /* whose leases row ids are drawn from */
	uint32_t batch_rows;
	_Atomic unsigned *troubled; /* how many writers told of trouble; shared by all of them */
};

/** @return HT_OK or -errno. writer_free() it. What @p options points to has to live as long. */
HT_MUST_CHECK int writer_new(struct writer **out, const struct writer_options *options);
void writer_free(struct writer *w);

/** The thread: until writer_stop(), or until writer_finish() and nothing is left. Reconnects for
 * ever. */
void writer_run(struct writer *w);

/** Something was appended to one of its streams. */
void writer_wake(struct writer *w);

/** End when all that is in the spool is stored. */
void writer_finish(struct writer *w);

/** End now: what is not committed stays in the spool. */
void writer_stop(struct writer *w);

const struct writer_counters *writer_counters(const struct writer *w);
