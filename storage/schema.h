/**
 * @file
 * Our own tables: the SQL of web-sql/ with its places filled in, printed or run. Threads: pure, or
 * the caller's connection.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "storage/db.h"

/* What is made together. */
enum schema_part {
	SCHEMA_CAPTURE,	    /* the table of SIP messages, partitioned */
	SCHEMA_CAPTURE_DAY, /* one of a day and kind */
	SCHEMA_RTCP,
	SCHEMA_REPORT,
	SCHEMA_LOGS,
	SCHEMA_WEBRTC, /* stays empty; Homer 5 searches it */
	SCHEMA_HEPTAP, /* ledger, ids and what is pending */
	SCHEMA_STATISTICS,
	SCHEMA_USERS,	      /* Homer 3's, a database of its own */
	SCHEMA_CONFIGURATION, /* Homer 5's, likewise */
	SCHEMA_GRANTS
};

/* What is filled in. */
struct schema_names {
	const char *database; /* in grants and examples */
	const char *table;    /* of the part; in grants and examples, of SIP messages */
	uint32_t today;	      /* days since 1970, UTC: partitions are made from there on */
	unsigned step;	      /* of them, s: PARTITION_DAY or PARTITION_HOUR */
	bool is_daily;	      /* SIP messages have a table for each day and kind */
};

/** Print the statements that make a part. @return HT_OK or -errno. */
HT_MUST_CHECK int schema_print(FILE *out, enum schema_part part, const struct schema_names *names);

/**
 * Make a part; what is there already stays as it is. SCHEMA_USERS and SCHEMA_CONFIGURATION leave
 * the connection in their database.
 * @return HT_OK or an error of db_run().
 */
HT_MUST_CHECK int schema_make(struct db *db, enum schema_part part,
			      const struct schema_names *names);

/* The name of a report table. */
const char *schema_report_table(enum schema_part part);

/**
 * What schema_print() prints, as a string.
 * @param out  To be freed; NULL after an error.
 * @return HT_OK or -errno.
 */
HT_MUST_CHECK int schema_text(char **out, enum schema_part part, const struct schema_names *names);

/** See one statement, without its end. @return HT_OK to go on. */
typedef int schema_statement_fn(void *ctx, const char *statement);

/**
 * Each statement of a text; they end in ";\n", lines of comment are passed over.
 * @return HT_OK, -ENOMEM, or what @p fn returned that was not HT_OK.
 */
HT_MUST_CHECK int schema_each(const char *text, schema_statement_fn *fn, void *ctx);
