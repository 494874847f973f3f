/**
 * @file
 * Our own tables: the SQL of web-sql/ with its places filled in, printed or run.
 * Threads: pure, or the caller's connection.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "storage/db.h"

/* What is made together. */
enum schema_part {
	SCHEMA_CAPTURE,
	SCHEMA_CAPTURE_DAY,
	SCHEMA_RTCP,
	SCHEMA_REPORT,
	SCHEMA_LOGS,
	SCHEMA_HEPTAP
};

/** Make one part, if it is not there; @p table: its name. */
HT_MUST_CHECK int schema_make(struct db *db, enum schema_part part, const char *table,
			      uint32_t today);

/**
 * Print the statements that make our tables.
 * @param table  Name of the capture table. @p today: days since 1970, UTC; partitions are made from
 * there on.
 * @return HT_OK or -errno.
 */
HT_MUST_CHECK int schema_print(FILE *out, const char *table, uint32_t today);

/** Run them; what is there already stays as it is. @return HT_OK or an error of db_run(). */
HT_MUST_CHECK int schema_install(struct db *db, const char *table, uint32_t today);

/** "p20261120" for a day since 1970. @p out holds 16 octets. */
void schema_partition_name(char out[16], uint32_t day);

#define SCHEMA_DAYS_AHEAD 2 /* partitions made ahead: today and these */
#define SCHEMA_DAYS_MOST  7 /* the furthest ahead that one is made on demand */
