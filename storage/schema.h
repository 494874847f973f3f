/**
 * @file
 * Our own tables: the SQL of web-sql/ with its places filled in, printed, run, or compared with the
 * tables that are there. Threads: pure, or the caller's connection.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "storage/db.h"

/* What is made together. */
enum schema_part {
	SCHEMA_CAPTURE,	    /* the table of SIP messages, partitioned by day */
	SCHEMA_CAPTURE_DAY, /* one of a day and kind */
	SCHEMA_RTCP,
	SCHEMA_REPORT,
	SCHEMA_LOGS,
	SCHEMA_HEPTAP, /* ledger and ids */
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
 * Compare a table that is there with ours: columns and keys that it lacks, texts that are narrower
 * or of a character set that loses octets. Nothing is ever dropped or narrowed.
 *
 * @param why  Lines of SQL comment that say what is different.
 * @return statements (one ALTER TABLE each) printed to @p sql, ends of statement included; 0:
 * nothing to do; an error of db_query(). A table that is not there counts as nothing to do.
 */
HT_MUST_CHECK int schema_compare(struct db *db, enum schema_part part, const char *table, FILE *why,
				 FILE *sql);

/** Run statements that end in ";\n"; lines of comment are passed over. @return HT_OK or an error.
 */
HT_MUST_CHECK int schema_run(struct db *db, const char *sql);

/** "p20261120" for a day since 1970. @p out holds 16 octets. */
void schema_partition_name(char out[16], uint32_t day);

#define SCHEMA_DAYS_AHEAD 2 /* partitions made ahead: today and these */
#define SCHEMA_DAYS_MOST  7 /* the furthest ahead that one is made on demand */
