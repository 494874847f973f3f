/* The SQL files of web-sql/ are part of the binary; their places are filled in here. */
#include "storage/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The files as they are, by the assembler: no generated source, nothing to find at run time. */
#define FILE_TEXT(symbol, path)                                                                \
	__asm__(".section .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.previous\n"); \
	extern const char symbol[]

FILE_TEXT(schema_sip_capture, "web-sql/sip_capture.sql");
FILE_TEXT(schema_reports, "web-sql/reports.sql");
FILE_TEXT(schema_heptap, "web-sql/heptap.sql");
FILE_TEXT(schema_statistics, "web-sql/statistics.sql");
FILE_TEXT(schema_users, "web-sql/homer3_users.sql");
FILE_TEXT(schema_configuration, "web-sql/homer5_configuration.sql");
FILE_TEXT(schema_grants, "web-sql/grants.sql");

static const struct {
	const char *sql;
	bool is_partitioned;
} parts[] = {
	[SCHEMA_CAPTURE] = { schema_sip_capture, true },
	[SCHEMA_CAPTURE_DAY] = { schema_sip_capture, false },
	[SCHEMA_RTCP] = { schema_reports, true },
	[SCHEMA_REPORT] = { schema_reports, true },
	[SCHEMA_LOGS] = { schema_reports, true },
	[SCHEMA_HEPTAP] = { schema_heptap, false },
	[SCHEMA_STATISTICS] = { schema_statistics, false },
	[SCHEMA_USERS] = { schema_users, false },
	[SCHEMA_CONFIGURATION] = { schema_configuration, false },
	[SCHEMA_GRANTS] = { schema_grants, false },
};

const char *schema_report_table(enum schema_part part)
{
	return part == SCHEMA_RTCP     ? "rtcp_capture"
	       : part == SCHEMA_REPORT ? "report_capture"
				       : "logs_capture";
}

void schema_partition_name(char out[16], uint32_t day)
{
	time_t t = (time_t)day * 86400;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 16, "p%Y%m%d", &tm);
}

/* ---- printing ---- */

static void partitions_print(FILE *out, uint32_t today)
{
	char name[16];

	fprintf(out,
		"\nPARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) (\n  PARTITION p_past VALUES LESS "
		"THAN (%" PRIu64 ")",
		(uint64_t)today * 86400);
	for (uint32_t day = today; day <= today + SCHEMA_DAYS_AHEAD; day++) {
		schema_partition_name(name, day);
		fprintf(out, ",\n  PARTITION %s VALUES LESS THAN (%" PRIu64 ")", name,
			((uint64_t)day + 1) * 86400);
	}
	fprintf(out, "\n)");
}

static const char *after(const char *at, const char *place)
{
	size_t len = strlen(place);

	return strncmp(at, place, len) == 0 ? at + len : NULL;
}

int schema_print(FILE *out, enum schema_part part, const struct schema_names *names)
{
	const char *at = parts[part].sql, *next;

	while (*at) {
		if ((next = after(at, "@TABLE@"))) {
			fputs(names->table, out);
		} else if ((next = after(at, "@DATABASE@"))) {
			fputs(names->database, out);
		} else if ((next = after(at, "@PARTITIONS@"))) {
			if (parts[part].is_partitioned)
				partitions_print(out, names->today);
		} else {
			putc(*at, out);
			next = at + 1;
		}
		at = next;
	}
	return ferror(out) ? -EIO : HT_OK;
}

/* ---- running ---- */

/* Lines of comment may hold what looks like the end of a statement. */
static void comments_drop(char *sql)
{
	char *to = sql, *end;

	for (char *line = sql; *line; line = end) {
		end = strchrnul(line, '\n');
		end += *end == '\n';
		if (strncmp(line, "--", 2) == 0)
			continue;
		memmove(to, line, (size_t)(end - line));
		to += end - line;
	}
	*to = '\0';
}

int schema_run(struct db *db, const char *text)
{
	char *sql = strdup(text), *statement = sql, *end;
	int64_t rows = 0;

	if (!sql)
		return -ENOMEM;
	comments_drop(sql);
	while (rows >= 0 && (end = strstr(statement, ";\n"))) {
		*end = '\0';
		rows = db_query(db, NULL, NULL, statement);
		statement = end + 2;
	}
	free(sql);
	return rows < 0 ? (int)rows : HT_OK;
}

int schema_make(struct db *db, enum schema_part part, const struct schema_names *names)
{
	char *sql = NULL;
	size_t len;
	FILE *out = open_memstream(&sql, &len);
	int err;

	if (!out)
		return -ENOMEM;
	err = schema_print(out, part, names);
	if (fclose(out) != 0 && err == HT_OK)
		err = -ENOMEM;
	if (err == HT_OK)
		err = schema_run(db, sql);
	free(sql);
	return err;
}

/* ---- comparing ---- */

#define MAX_COLUMNS 128
#define NAME_BYTES  65

/* A column or the first column of a key of the table that is there. */
struct live {
	struct {
		char name[NAME_BYTES];
		uint64_t chars; /* 0: no text */
		bool is_wide;	/* utf8mb4, or octets */
	} column[MAX_COLUMNS];
	unsigned columns;
	char key[MAX_COLUMNS][NAME_BYTES];
	unsigned keys;
};

static void live_column_see(void *ctx, unsigned columns, char **texts)
{
	struct live *l = ctx;

	if (columns != 3 || !texts[0] || l->columns == MAX_COLUMNS)
		return;
	snprintf(l->column[l->columns].name, NAME_BYTES, "%s", texts[0]);
	l->column[l->columns].chars = texts[1] ? strtoull(texts[1], NULL, 10) : 0;
	l->column[l->columns++].is_wide = !texts[2] || strcmp(texts[2], "utf8mb4") == 0;
}

static void live_key_see(void *ctx, unsigned columns, char **texts)
{
	struct live *l = ctx;

	if (columns == 1 && texts[0] && l->keys < MAX_COLUMNS)
		snprintf(l->key[l->keys++], NAME_BYTES, "%s", texts[0]);
}

static int live_read(struct db *db, const char *table, struct live *out)
{
	char sql[512];
	int64_t rows;

	memset(out, 0, sizeof(*out));
	snprintf(sql, sizeof(sql),
		 "SELECT column_name, character_maximum_length, character_set_name FROM "
		 "information_schema.columns WHERE table_schema = DATABASE() AND table_name = '%s'",
		 table);
	rows = db_query(db, live_column_see, out, sql);
	if (rows < 0)
		return (int)rows;
	snprintf(
		sql, sizeof(sql),
		"SELECT DISTINCT column_name FROM information_schema.statistics WHERE table_schema "
		"= DATABASE() AND table_name = '%s' AND seq_in_index = 1",
		table);
	rows = db_query(db, live_key_see, out, sql);
	return rows < 0 ? (int)rows : HT_OK;
}

static int live_find(const struct live *l, const char *name)
{
	for (unsigned i = 0; i < l->columns; i++)
		if (strcasecmp(l->column[i].name, name) == 0)
			return (int)i;
	return -1;
}

static bool live_has_key(const struct live *l, const char *column)
{
	for (unsigned i = 0; i < l->keys; i++)
		if (strcasecmp(l->key[i], column) == 0)
			return true;
	return false;
}

/* Characters that a text of ours holds; 0: no text. */
static uint64_t chars_of(const char *definition)
{
	const char *type = strstr(definition, "` ");

	if (!type)
		return 0;
	if (strncmp(type + 2, "varchar(", 8) == 0)
		return strtoull(type + 10, NULL, 10);
	if (strncmp(type + 2, "mediumtext", 10) == 0)
		return 4000000;
	return strncmp(type + 2, "text", 4) == 0 ? 16000 : 0;
}

struct comparison {
	const struct live *live;
	const char *table;
	FILE *why, *sql;
	char before[NAME_BYTES]; /* the column before this one */
	unsigned changes;
};

static void change(struct comparison *c)
{
	if (c->changes++ == 0)
		fprintf(c->sql,
			"ALTER TABLE `%s`\n  DEFAULT CHARACTER SET utf8mb4 COLLATE "
			"utf8mb4_general_ci",
			c->table);
	fprintf(c->sql, ",\n  ");
}

/* A line of ours: "`name` type ...". */
static void column_compare(struct comparison *c, const char *name, const char *definition)
{
	int i = live_find(c->live, name);
	uint64_t chars = chars_of(definition);

	if (i < 0) {
		change(c);
		fprintf(c->why, "-- %s: %s is missing\n", c->table, name);
		fprintf(c->sql, "ADD COLUMN %s%s%s%s", definition, *c->before ? " AFTER `" : "",
			c->before, *c->before ? "`" : "");
	} else if (chars && (c->live->column[i].chars < chars || !c->live->column[i].is_wide) &&
		   !strstr(definition, "GENERATED")) {
		change(c);
		fprintf(c->why, "-- %s: %s %s\n", c->table, name,
			c->live->column[i].chars < chars ? "is narrower than ours"
							 : "cannot hold every character");
		fprintf(c->sql, "MODIFY COLUMN %s", definition);
	}
	snprintf(c->before, NAME_BYTES, "%s", name);
}

/* A line of ours: "KEY `name` (`column`, ...)". */
static void key_compare(struct comparison *c, const char *definition)
{
	char column[NAME_BYTES] = "";

	if (sscanf(definition, "KEY `%*[^`]` (`%64[^`]`", column) != 1 ||
	    live_has_key(c->live, column))
		return;
	change(c);
	fprintf(c->why, "-- %s: searches by %s have no key\n", c->table, column);
	fprintf(c->sql, "ADD %s", definition);
}

static void line_compare(struct comparison *c, char *line)
{
	size_t len = strlen(line);
	char name[NAME_BYTES] = "";

	if (len && line[len - 1] == ',')
		line[len - 1] = '\0';
	if (sscanf(line, "`%64[^`]`", name) == 1)
		column_compare(c, name, line);
	else if (strncmp(line, "KEY ", 4) == 0)
		key_compare(c, line);
}

/* Lines between "CREATE TABLE ... `table` (" and ") ENGINE". */
static void statement_compare(struct comparison *c, char *sql)
{
	bool is_inside = false;
	char head[128];

	snprintf(head, sizeof(head), "CREATE TABLE IF NOT EXISTS `%s` (", c->table);
	for (char *line = strtok(sql, "\n"); line; line = strtok(NULL, "\n")) {
		if (strcmp(line, head) == 0)
			is_inside = true;
		else if (is_inside && line[0] == ')')
			break;
		else if (is_inside)
			line_compare(c, line + strspn(line, " "));
	}
}

int schema_compare(struct db *db, enum schema_part part, const char *table, FILE *why, FILE *sql)
{
	struct schema_names names = { .database = "", .table = table };
	struct live *live = calloc(1, sizeof(*live));
	struct comparison c = { .live = live, .table = table, .why = why, .sql = sql };
	char *ours = NULL;
	size_t len;
	FILE *out = open_memstream(&ours, &len);
	int err = live && out ? live_read(db, table, live) : -ENOMEM;

	if (out && err == HT_OK)
		err = schema_print(out, part, &names);
	if (out && fclose(out) != 0 && err == HT_OK)
		err = -ENOMEM;
	if (err == HT_OK && live->columns)
		statement_compare(&c, ours);
	if (c.changes)
		fprintf(sql, ";\n");
	free(ours);
	free(live);
	return err < 0 ? err : c.changes > 0;
}
