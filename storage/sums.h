/**
 * @file
 * Storing sums: those of all blocks of a transaction put together, one statement for each table.
 * Threads: belongs to one writer.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"

struct admin;
struct batch;
struct db;
struct sums;

/** @return HT_OK or -ENOMEM. sums_free() it. */
HT_MUST_CHECK int sums_new(struct sums **out, struct admin *admin);
void sums_free(struct sums *s);

/**
 * Add the rows of a batch, all of sums, to the tables, in the open transaction of @p db.
 * @return HT_OK, or an error of db_run() or of ht-admin; then roll back. sums_trouble() says where
 * it was.
 */
HT_MUST_CHECK int sums_store(struct sums *s, struct db *db, const struct batch *batch);

/** The table that the last failure was about, "" if none, and the server's words. */
const char *sums_trouble(const struct sums *s, const char **words);

/** The tables are looked at again before they are used again. */
void sums_forget(struct sums *s);
