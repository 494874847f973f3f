/**
 * @file
 * A connection to MariaDB or MySQL, and what its errors mean for us. The only file that includes
 * mysql.h is db.c. Threads: a struct db belongs to one thread; db_interrupt() may come from
 * another.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

struct db;
struct db_insert;

struct db_options {
	const char *host, *socket, *user, *password, *database; /* database NULL: none chosen */
	unsigned port;
	bool autocommit;
	bool is_patient;    /* a statement may take hours, and a person may think before the next */
	bool no_bulk;	    /* multi-row INSERT even where bulk statements are there */
	bool no_row_number; /* do not ask which row was refused */
};

/* One value of a row. Which member counts is said by the column's kind. */
enum db_kind { DB_INTEGER, DB_TEXT, DB_BINARY, DB_DATETIME };

struct db_column {
	char name[65];
	enum db_kind kind;
};

struct db_value {
	int64_t number; /* INTEGER; DATETIME: seconds since 1970, UTC */
	const void *at; /* TEXT, BINARY; valid until the next row is asked for */
	size_t len;
};

/* Called per row, in order, possibly again from the first after an error. */
typedef void db_row_fn(void *ctx, size_t row, struct db_value *values);

/**
 * Connect: time-outs 10 s to connect, 30 s to read and to write (patient: none to read, 8 h between
 * statements); session in UTC, utf8mb4, strict.
 * @return HT_OK and a connection for db_close(); HT_ECONN, HT_EDENIED or HT_EDB with the server's
 * words in db_last_error(NULL).
 */
HT_MUST_CHECK int db_open(struct db **out, const struct db_options *options);
void db_close(struct db *db);

/** Make a call that waits for the server in another thread fail. Threads: any, while the connection
 * is open. */
void db_interrupt(struct db *db);

/** Error number and words of the last failed call; of the thread's last db_open() for NULL. Never
 * NULL. */
unsigned db_last_errno(const struct db *db);
const char *db_last_error(const struct db *db);

/** The server's max_allowed_packet, octets. */
uint64_t db_max_packet(const struct db *db);

/** Ask the server whether new connections have another one. @return 1 or 0; an error as db_run().
 */
HT_MUST_CHECK int db_packet_has_changed(struct db *db);

/**
 * Run one statement that returns no rows.
 * @return rows changed (>= 0); HT_ECONN, HT_ERETRY, HT_EMISSING, HT_ECOLUMNS, HT_EDENIED, HT_EROW,
 * HT_EDUPLICATE or HT_EDB (class of the error).
 */
__attribute__((format(printf, 2, 3))) HT_MUST_CHECK int64_t db_run(struct db *db,
								   const char *format, ...);

/**
 * Run one statement of any length and see its rows: texts, NULL for NULL; @p fn may be NULL.
 * @return rows seen, or an error as db_run().
 */
typedef void db_result_fn(void *ctx, unsigned columns, char **texts);
HT_MUST_CHECK int64_t db_query(struct db *db, db_result_fn *fn, void *ctx, const char *sql);

/** The same of a statement as it is, of any length. */
HT_MUST_CHECK int64_t db_run_long(struct db *db, const char *sql, size_t len);

/**
 * A text as it stands between quotes in a statement.
 * @param out  Room for 2 * @p text.len + 1 octets. @return how many were written.
 */
size_t db_escape(struct db *db, char *out, struct view text);

HT_MUST_CHECK int db_commit(struct db *db);
void db_rollback(struct db *db);

/** The value that LAST_INSERT_ID(x) set in the last statement. */
uint64_t db_insert_id(const struct db *db);

/**
 * Prepare inserting rows.
 * @param columns  Copied.
 * @return HT_OK and something for db_insert_free(), else an error as db_run().
 */
HT_MUST_CHECK int db_insert_prepare(struct db_insert **out, struct db *db, const char *table,
				    const struct db_column *columns, unsigned count);
void db_insert_free(struct db_insert *in);

/**
 * Insert rows @p first to @p first + @p count - 1: one bulk statement, or multi-row INSERTs. What
 * is larger than max_allowed_packet is not sent, since the server would hang up: HT_EROW, 1153.
 * @return HT_OK or an error as db_run(); then the transaction has to be rolled back.
 */
HT_MUST_CHECK int db_insert_run(struct db_insert *in, size_t first, size_t count, db_row_fn *fn,
				void *ctx);

/** The rows of the statement in which the last db_insert_run() failed; those before them are in. */
void db_insert_failed(const struct db_insert *in, size_t *first, size_t *count);

/**
 * Which row of the last failed statement was refused, counted from 0, by GET DIAGNOSTICS. To be
 * asked directly after the failure; db_last_error() is another one then. @return -1 if the server
 * does not say (before MariaDB 10.7; MySQL).
 */
int64_t db_refused_row(struct db *db);
