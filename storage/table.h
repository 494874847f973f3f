/**
 * @file
 * The live table: which of its columns we can fill, how wide they are, and how a text is made to
 * fit one. Threads: pure, but for table_read(), which belongs to whoever owns the connection.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"
#include "storage/columns.h"
#include "storage/db.h"

#define TABLE_MAX_COLUMNS 64

/* Where the value of a column comes from. */
enum column_source { COLUMN_NUMBER, COLUMN_TEXT, COLUMN_ID, COLUMN_DATE, COLUMN_MSG_RAW };

enum column_charset {
	CHARSET_BINARY,
	CHARSET_ASCII,
	CHARSET_LATIN1,
	CHARSET_UTF8MB3,
	CHARSET_UTF8MB4
};

struct column {
	char name[65];
	enum column_source source;
	unsigned value; /* enum row_number or enum row_text */
	uint64_t chars; /* width of a text: characters */
	uint64_t bytes; /* and octets */
	enum column_charset charset;
	bool may_be_left_out; /* its default is what we write where there is nothing */
};

struct table {
	char name[65];
	unsigned count;
	struct column column[TABLE_MAX_COLUMNS];
	uint64_t generated; /* bit per column that we know and that the server computes itself */
	bool is_transactional;
	bool is_compressed; /* ROW_FORMAT=COMPRESSED */
	bool is_missing;
};

/**
 * Read what the connection's database has under @p name. Columns that we do not know are left to
 * their defaults, those that we could fill and that are not there are named once in the log; a
 * table that is not there is is_missing and HT_OK.
 * @param is_sip  Are all columns expected, or those of reports?
 * @param out  What was known of it: it is told again if it has another number of columns.
 * @return HT_OK or an error of db_query().
 */
HT_MUST_CHECK int table_read(struct db *db, const char *name, bool is_sip, struct table *out);

/** What the server calls a character set; NULL: none, octets. */
enum column_charset column_charset(const char *name);

/** Is a text plain ASCII, which fits every character set as it is? */
bool text_is_plain(struct view text);

/* What happened to a text on its way into a column. */
enum fit { FIT_AS_IS = 0, FIT_CLIPPED = 1, FIT_REPAIRED = 2 };

/**
 * Make a text fit a column: octets that are not valid in its character set become '?', what is too
 * long is cut on a character boundary.
 *
 * @param scratch  Room for at least @p text.len octets; used only if something has to change.
 * @param out      Points into @p text where its octets can stay, else into @p scratch.
 * @return FIT_* flags.
 */
unsigned text_fit(const struct column *column, struct view text, uint8_t *scratch,
		  struct view *out);
