/**
 * @file
 * Partitions and daily tables made ahead and on demand, and dropped when they are too old or too
 * much; statistics shortened. For ht-admin and for `heptap schema rotate`.
 *
 * What time it is: the earlier of our clock and the database server's. While they are more than ten
 * minutes apart nothing is dropped, so that a clock that has jumped costs no message.
 *
 * A partition is dropped by age when all that it can hold is older than retention_days.
 * PARTITION_PAST and the partition without end never are. Several servers may share the tables:
 * what another one has made or dropped is success.
 *
 * Threads: a struct rotate belongs to one thread, with its connection; its counters are read by
 * any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/conf.h"
#include "conf/counters.h"
#include "storage/db.h"
#include "storage/layout.h"
#include "storage/schema.h"

struct rotate;

struct rotate_options {
	const struct layout *layout; /* the caller's, and has to live as long */
	unsigned step;		     /* of partitions, s: PARTITION_DAY or PARTITION_HOUR */
	unsigned retention_days;     /* 0: for ever */
	uint64_t retention_bytes;    /* 0: any number */
	FILE *out;   /* statements and remarks go there, and everything is done at once; NULL: the
			log,   and a look does a bounded piece of it */
	bool is_dry; /* statements are not run */
};

struct rotate_counters {
	counter made, dropped; /* partitions and daily tables */
	counter bytes;	       /* of the capture tables when last looked at */
};

/** The options that a configuration stands for. */
struct rotate_options rotate_options_of(const struct conf *conf, const struct layout *layout);

/** @return HT_OK or -ENOMEM. rotate_free() it. */
HT_MUST_CHECK int rotate_new(struct rotate **out, const struct rotate_options *options);
void rotate_free(struct rotate *r);

const struct rotate_counters *rotate_counters(const struct rotate *r);

/** What a connection needs that is used here: autocommit, no long waits, sizes of now. @return
 * HT_OK or an error of db_run(). */
HT_MUST_CHECK int rotate_session(struct db *db);

/**
 * All of it once. What the server refuses of it is said, once as long as it lasts.
 * @return what could not be done (waits are among it), or an error of the connection.
 */
HT_MUST_CHECK int rotate_look(struct rotate *r, struct db *db);

/**
 * Have a place for rows until this day (since 1970, UTC), the day included, in a lasting table.
 * @param last  If it is too far ahead: replaced by the last day that gets a place.
 * @return HT_OK; HT_EFUTURE: too far ahead, for certain; HT_EMISSING: so it seems, but the clocks
 * disagree, or the table is somebody else's to mend; or an error of db_run().
 */
HT_MUST_CHECK int rotate_ensure(struct rotate *r, struct db *db, struct place place,
				uint32_t *last);

/** Make a table of the layout. @return HT_OK or an error of db_run(). */
HT_MUST_CHECK int rotate_make_table(struct rotate *r, struct db *db, struct place place);
