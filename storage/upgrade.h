/**
 * @file
 * Tables that are there against ours: what they lack, as SQL that adds it. Ours are read from the
 * text of schema_print(), line by line, so that nothing is written down twice.
 * Threads: the caller's connection.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "conf/err.h"
#include "storage/schema.h"

/**
 * Compare the tables of a part with those of the connection's database: tables, columns and keys
 * that are missing, texts that are narrower than ours or of a character set that loses octets.
 * Nothing is ever dropped, narrowed or moved between partitions.
 *
 * @param convert  Make the tables of rows ours altogether: engine, row format, primary key, no
 *                 AUTO_INCREMENT, no key that the primary one begins with. Else comments name that.
 * @param out  Statements that end in ";\n", each behind lines of comment that say why, and how many
 *             rows it touches as far as information_schema knows. Comments alone name what only a
 *             person can decide.
 * @return statements printed, 0 if there is nothing to do, or an error of db_query() or -ENOMEM.
 */
HT_MUST_CHECK int upgrade_compare(struct db *db, enum schema_part part,
				  const struct schema_names *names, bool convert, FILE *out);
