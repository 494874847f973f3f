/**
 * @file
 * What the capture tables hold: their partitions, and the tables that have none, with age and size.
 *
 * Sizes are DATA_LENGTH + INDEX_LENGTH of information_schema.partitions, which every engine fills
 * and every account may read. InnoDB counts them anew some 10 s after a tenth of a partition has
 * changed, so the newest one lags behind and the old ones, which nothing changes, are exact; room
 * that a file has reserved and not filled is not in them. Rows are estimates.
 *
 * Threads: the caller's connection.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "storage/db.h"
#include "storage/layout.h"
#include "storage/partitions.h"

#define STOCK_NO_BOUND UINT64_MAX

/* A partition, or a table without any. */
struct stock_item {
	struct place place;
	char table[LAYOUT_NAME];
	char partition[PARTITION_NAME]; /* "": the whole table */
	uint64_t bound;			/* no row is as young; STOCK_NO_BOUND: no end */
	uint64_t rows, bytes;
	bool is_foreign; /* partitioned, but not by ranges of seconds */
};

/* In order of age, the oldest first. */
struct stock {
	struct stock_item *item;
	size_t count;
	uint64_t bytes;
};

/** Read what is there of a layout. @return HT_OK, -ENOMEM or an error of db_query(); stock_free()
 * it in any case. */
HT_MUST_CHECK int stock_read(struct stock *out, struct db *db, const struct layout *layout);
void stock_free(struct stock *s);

/* One lasting table, as far as its partitions go. */
struct stock_table {
	unsigned items;		      /* 0: the table is not there */
	uint64_t end;		      /* the highest bound */
	const struct stock_item *max; /* the partition without end, or NULL */
	bool is_flat, is_foreign;     /* no partitions; not ours to touch */
};

struct stock_table stock_of_table(const struct stock *s, const char *table);

bool stock_has(const struct stock *s, const char *table, const char *partition);
