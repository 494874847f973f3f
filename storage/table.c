/* Columns from information_schema, and fitting texts to them. */
#include "storage/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/log.h"

struct known {
	const char *name;
	enum column_source source;
	unsigned value;
};

/* Every column name that we can fill. Order is that of columns.h, so that clip counters can be
 * indexed by it. */
static const struct known known[] = {
	{ "id", COLUMN_ID, 0 },
	{ "date", COLUMN_DATE, 0 },
#define X(name, value) { #name, COLUMN_NUMBER, ROW_##name },
	ROW_NUMBERS(X)
#undef X
#define X(name, value) { #name, COLUMN_TEXT, ROW_##name },
		ROW_TEXTS(X)
#undef X
			{ "authorization", COLUMN_TEXT, ROW_auth },
	{ "msg_raw", COLUMN_MSG_RAW, ROW_msg },
};

#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))
_Static_assert(KNOWN_COUNT <= TABLE_MAX_COLUMNS, "every known column has a place");

static bool is_column(const struct known *k)
{
	return k->source != COLUMN_TEXT || row_text_is_column(k->value);
}

static const struct known *known_find(const char *name)
{
	for (size_t i = 0; i < KNOWN_COUNT; i++)
		if (strcmp(known[i].name, name) == 0)
			return is_column(&known[i]) ? &known[i] : NULL;
	return NULL;
}

enum column_charset column_charset(const char *name)
{
	if (!name)
		return CHARSET_BINARY;
	if (strcmp(name, "utf8mb4") == 0)
		return CHARSET_UTF8MB4;
	if (strncmp(name, "utf8", 4) == 0)
		return CHARSET_UTF8MB3;
	if (strcmp(name, "latin1") == 0)
		return CHARSET_LATIN1;
	return CHARSET_ASCII;
}

/* A default as MariaDB writes it, or MySQL: is it the one for a value that is absent? */
static bool is_default(const char *text, const char *absent)
{
	size_t len = strlen(absent);

	if (text[0] == '\'')
		return strncmp(text + 1, absent, len) == 0 && strcmp(text + 1 + len, "'") == 0;
	return strcmp(text, absent) == 0;
}

static bool may_be_left_out(const struct known *k, const char *text, bool is_nullable)
{
	switch (k->source) {
	case COLUMN_TEXT:
		return text && is_default(text, "");
	case COLUMN_NUMBER:
		return text && is_default(text, k->value == ROW_expires ? "-1" : "0");
	case COLUMN_MSG_RAW:
		return is_nullable && (!text || strcmp(text, "NULL") == 0);
	default:
		return false;
	}
}

/* A row of information_schema.columns: name, character length, octet length, character set, extra,
 * default, nullable. */
static void column_see(void *ctx, unsigned columns, char **texts)
{
	struct table *t = ctx;
	const struct known *k;
	struct column *c;

	if (columns != 7 || !texts[0] || t->count == TABLE_MAX_COLUMNS)
		return;
	k = known_find(texts[0]);
	if (!k)
		return;
	if (texts[4] && strstr(texts[4], "GENERATED")) {
		t->generated |= 1ULL << (k - known);
		return;
	}
	c = &t->column[t->count++];
	snprintf(c->name, sizeof(c->name), "%s", texts[0]);
	c->source = k->source;
	c->value = k->value;
	c->chars = texts[1] ? strtoull(texts[1], NULL, 10) : 0;
	c->bytes = texts[2] ? strtoull(texts[2], NULL, 10) : 0;
	c->charset = column_charset(texts[3]);
	c->may_be_left_out = may_be_left_out(k, texts[5], texts[6] && *texts[6] == 'Y');
}

/* Whether its engine has transactions, and its row format. */
static void engine_see(void *ctx, unsigned columns, char **texts)
{
	struct table *t = ctx;

	t->is_missing = false;
	if (columns != 2)
		return;
	t->is_transactional = texts[0] && strcmp(texts[0], "YES") == 0;
	t->is_compressed = texts[1] && strcasecmp(texts[1], "Compressed") == 0;
}

static bool table_has(const struct table *t, const char *name)
{
	for (unsigned i = 0; i < t->count; i++)
		if (strcmp(t->column[i].name, name) == 0)
			return true;
	return false;
}

/* Reports have these of the columns; a SIP message has all. */
static bool is_of_reports(const struct known *k)
{
	static const char *const names[] = { "id",
					     "date",
					     "micro_ts",
					     "proto",
					     "family",
					     "type",
					     "node",
					     "msg",
					     "msg_raw",
					     "source_ip",
					     "destination_ip",
					     "correlation_id",
					     "source_port",
					     "destination_port" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(k->name, names[i]) == 0)
			return true;
	return false;
}

static void table_tell(const struct table *t, bool is_sip)
{
	char missing[1024] = "";
	size_t used = 0;

	for (size_t i = 0; i < KNOWN_COUNT; i++)
		if ((is_sip ? is_column(&known[i]) : is_of_reports(&known[i])) &&
		    !table_has(t, known[i].name) && !(t->generated & 1ULL << i) &&
		    used < sizeof(missing) - 80)
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s",
						 used ? ", " : "", known[i].name);
	log_info("table %s: fills %u columns%s%s", t->name, t->count, used ? "; not there: " : "",
		 missing);
	if (!t->is_transactional)
		log_warning("table %s: its engine has no transactions: rows arrive at least once "
			    "instead of exactly once",
			    t->name);
}

int table_read(struct db *db, const char *name, bool is_sip, struct table *out)
{
	struct table t = { .is_missing = true };
	char sql[512];
	int64_t rows;

	snprintf(t.name, sizeof(t.name), "%s", name);
	snprintf(sql, sizeof(sql),
		 "SELECT e.transactions, t.row_format FROM information_schema.tables t JOIN "
		 "information_schema.engines e ON e.engine = t.engine "
		 "WHERE t.table_schema = DATABASE() AND t.table_name = '%s'",
		 name);
	rows = db_query(db, engine_see, &t, sql);
	if (rows < 0)
		return (int)rows;
	snprintf(sql, sizeof(sql),
		 "SELECT LOWER(column_name), character_maximum_length, character_octet_length, "
		 "character_set_name, extra, column_default, is_nullable "
		 "FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = "
		 "'%s' ORDER BY ordinal_position",
		 name);
	rows = db_query(db, column_see, &t, sql);
	if (rows < 0)
		return (int)rows;
	if (!t.is_missing && t.count != out->count)
		table_tell(&t, is_sip);
	*out = t;
	return HT_OK;
}

/* ---- texts ---- */

bool text_is_plain(struct view text)
{
	uint64_t word, any = 0;
	size_t i = 0;

	for (; i + 8 <= text.len; i += 8) {
		memcpy(&word, text.at + i, 8);
		any |= word;
	}
	for (; i < text.len; i++)
		any |= (uint64_t)text.at[i];
	return (any & 0x8080808080808080ULL) == 0;
}

/* Octets of the valid UTF-8 character at the front (RFC 3629: no surrogates, nothing overlong); 0
 * if there is none. */
static unsigned utf8_char(const uint8_t *at, size_t len)
{
	uint8_t a = at[0], lowest = 0x80, highest = 0xbf;
	unsigned n;

	if (a < 0x80)
		return 1;
	n = a >= 0xc2 && a <= 0xdf   ? 2
	    : a >= 0xe0 && a <= 0xef ? 3
	    : a >= 0xf0 && a <= 0xf4 ? 4
				     : 0;
	if (n == 0 || n > len)
		return 0;
	if (a == 0xe0)
		lowest = 0xa0;
	else if (a == 0xed)
		highest = 0x9f;
	else if (a == 0xf0)
		lowest = 0x90;
	else if (a == 0xf4)
		highest = 0x8f;
	if (at[1] < lowest || at[1] > highest)
		return 0;
	for (unsigned i = 2; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* Can the column hold this valid character? */
static bool charset_has(enum column_charset charset, const uint8_t *at, unsigned bytes)
{
	switch (charset) {
	case CHARSET_UTF8MB4:
		return true;
	case CHARSET_UTF8MB3:
		return bytes <= 3;
	case CHARSET_LATIN1: /* U+00A0 to U+00FF; MySQL's latin1 has other signs below */
		return bytes == 1 ||
		       (bytes == 2 && at[0] <= 0xc3 && (at[0] == 0xc3 || at[1] >= 0xa0));
	default:
		return bytes == 1;
	}
}

/* Octets a valid character takes in the column. */
static unsigned stored_bytes(enum column_charset charset, unsigned bytes)
{
	return charset == CHARSET_LATIN1 || charset == CHARSET_ASCII ? 1 : bytes;
}

static unsigned text_fit_slowly(const struct column *column, struct view text, uint8_t *scratch,
				struct view *out)
{
	uint64_t chars = 0, bytes = 0;
	uint32_t used = 0;
	unsigned fit = FIT_AS_IS;

	for (uint32_t i = 0; i < text.len;) {
		unsigned n = utf8_char(text.at + i, text.len - i);
		bool is_good = n && charset_has(column->charset, text.at + i, n);
		unsigned stored = is_good ? stored_bytes(column->charset, n) : 1;

		if (chars + 1 > column->chars || bytes + stored > column->bytes) {
			fit |= FIT_CLIPPED;
			break;
		}
		if (is_good) {
			memcpy(scratch + used, text.at + i, n);
			used += n;
		} else {
			scratch[used++] = '?';
			fit |= FIT_REPAIRED;
		}
		i += n ? n : 1;
		chars++;
		bytes += stored;
	}
	*out = (struct view){ scratch, used };
	return fit;
}

unsigned text_fit(const struct column *column, struct view text, uint8_t *scratch, struct view *out)
{
	uint64_t most = column->charset == CHARSET_BINARY || column->chars > column->bytes
				? column->bytes
				: column->chars;
	bool is_plain = column->charset == CHARSET_BINARY || text_is_plain(text);

	if (!is_plain)
		return text_fit_slowly(column, text, scratch, out);
	*out = text;
	if (text.len <= most)
		return FIT_AS_IS;
	out->len = (uint32_t)most;
	return FIT_CLIPPED;
}
