/**
 * @file
 * Homer's statistics tables: where they are and what they look like; and what follows from the sums
 * in them: asr and ner of five minutes that are over, alarms, and the end of old alarms.
 *
 * With Homer 5 they are in the database homer_statistic if it has them, else, and with Homer 3,
 * beside the messages. Tables of other people have fewer columns, or other keys.
 *
 * Threads: the caller's connection; struct statistics belongs to ht-admin.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "storage/db.h"
#include "storage/layout.h"
#include "storage/table.h"

enum sums_table { SUMS_METHOD, SUMS_DATA, SUMS_IP, SUMS_USERAGENT, SUMS_ALARM, SUMS_TABLES };

/* What a column holds. */
enum sums_role {
	ROLE_FROM,
	ROLE_TO,
	ROLE_NAME,
	ROLE_AUTH,
	ROLE_TOTAG,
	ROLE_CSEQ,
	ROLE_TEXT,
	ROLE_TOTAL,
	ROLE_DESCRIPTION,
	ROLE_STATUS,
	ROLE_COUNT
};

/* One of them, live. */
struct sums_live {
	char name[140]; /* with its database, quoted */
	uint32_t has;	/* bit per role that has a column */
	uint32_t key;	/* the same of the unique key that sums are added by; 0: none */
	struct column column[ROLE_COUNT]; /* width of texts */
	uint64_t total_most;		  /* that its total can hold */
	bool is_transactional;
};

struct statistics_tables {
	struct sums_live table[SUMS_TABLES];
};

struct statistics;

/** @return HT_OK or -ENOMEM. statistics_free() it. */
HT_MUST_CHECK int statistics_new(struct statistics **out, const struct layout *layout);
void statistics_free(struct statistics *s);

/** Read the tables, making those beside the messages that are missing. @return HT_OK; HT_EMISSING;
 * an error of db_run(). */
HT_MUST_CHECK int statistics_look(struct statistics *s, struct db *db,
				  struct statistics_tables *out);

/**
 * Once a minute: compute what is due, raise alarms, drop those older than five days. Says in the
 * log what hinders it, once.
 * @param db  With autocommit.
 * @return HT_OK, or HT_ECONN.
 */
HT_MUST_CHECK int statistics_tend(struct statistics *s, struct db *db);

/** The name of a column. */
const char *sums_column(enum sums_table t, enum sums_role r);

/* ---- heptap_pending ---- */

enum pending { PENDING_BUCKET = 1, PENDING_ALARM, PENDING_SCANNER };

/* ---- making statements, here and in sums.c ---- */

#define SUMS_TEXT_MAX 1024 /* octets of a text that is stored */

struct sums_values {
	uint32_t from, to;
	struct view name, cseq, text, description;
	uint64_t total;
	bool auth, totag;
};

/** Write one value as a literal, texts made to fit their column. @p out holds 2 * SUMS_TEXT_MAX +
 * 64 octets. @return how many were written. */
size_t sums_literal(struct db *db, const struct sums_live *t, enum sums_role r,
		    const struct sums_values *v, char *out);
