/* information_schema against the lines of our own CREATE TABLE statements. */
#include "storage/upgrade.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 128
#define KEYS_MAX    128
#define NAME_BYTES  65
#define LIST_BYTES  512 /* the columns of one key */

struct live_column {
	char name[NAME_BYTES];
	char type[256]; /* as it would be written in CREATE TABLE; "": too long to write again */
	uint64_t chars; /* 0: no text */
	char charset[NAME_BYTES];		    /* "": none, octets or a number */
	bool is_nullable, is_generated, is_counted; /* AUTO_INCREMENT */
};

struct live_key {
	char name[NAME_BYTES];
	char columns[LIST_BYTES]; /* "a,b," in their order */
	bool is_unique;
};

/* A table that is there. */
struct live {
	struct live_column column[COLUMNS_MAX];
	unsigned columns;
	struct live_key key[KEYS_MAX];
	unsigned keys;
	uint64_t rows, bytes; /* as the server estimates them */
	char engine[NAME_BYTES], format[NAME_BYTES];
};

/* ---- what is there ---- */

static void size_see(void *ctx, unsigned columns, char **texts)
{
	struct live *l = ctx;

	if (columns != 4)
		return;
	l->rows = texts[0] ? strtoull(texts[0], NULL, 10) : 0;
	l->bytes = texts[1] ? strtoull(texts[1], NULL, 10) : 0;
	snprintf(l->engine, sizeof(l->engine), "%s", texts[2] ? texts[2] : "");
	snprintf(l->format, sizeof(l->format), "%s", texts[3] ? texts[3] : "");
}

static void column_see(void *ctx, unsigned columns, char **texts)
{
	struct live *l = ctx;
	struct live_column *c = &l->column[l->columns];

	if (columns != 6 || !texts[0] || l->columns == COLUMNS_MAX)
		return;
	l->columns++;
	snprintf(c->name, sizeof(c->name), "%s", texts[0]);
	if (texts[1] && strlen(texts[1]) < sizeof(c->type))
		snprintf(c->type, sizeof(c->type), "%s", texts[1]);
	c->chars = texts[2] ? strtoull(texts[2], NULL, 10) : 0;
	snprintf(c->charset, sizeof(c->charset), "%s", texts[3] ? texts[3] : "");
	c->is_nullable = texts[4] && strcmp(texts[4], "YES") == 0;
	c->is_generated = texts[5] && strstr(texts[5], "GENERATED");
	c->is_counted = texts[5] && strstr(texts[5], "auto_increment");
}

static void key_see(void *ctx, unsigned columns, char **texts)
{
	struct live *l = ctx;
	struct live_key *k = &l->key[l->keys];

	if (columns != 3 || !texts[0] || !texts[1] || !texts[2] || l->keys == KEYS_MAX)
		return;
	l->keys++;
	snprintf(k->name, sizeof(k->name), "%s", texts[0]);
	k->is_unique = strcmp(texts[1], "0") == 0;
	snprintf(k->columns, sizeof(k->columns), "%s,", texts[2]);
}

static int64_t ask(struct db *db, db_result_fn *fn, struct live *l, const char *what,
		   const char *table, const char *order)
{
	char sql[768];

	snprintf(sql, sizeof(sql), "%s WHERE table_schema = DATABASE() AND table_name = '%s' %s",
		 what, table, order);
	return db_query(db, fn, l, sql);
}

/* A table without columns is not there. */
static int live_read(struct db *db, const char *table, struct live *out)
{
	int64_t rows;

	memset(out, 0, sizeof(*out));
	rows = ask(db, size_see, out,
		   "SELECT table_rows, data_length + index_length, engine, row_format FROM "
		   "information_schema.tables",
		   table, "");
	if (rows >= 0)
		rows = ask(db, column_see, out,
			   "SELECT column_name, column_type, character_maximum_length, "
			   "character_set_name, is_nullable, extra FROM information_schema.columns",
			   table, "ORDER BY ordinal_position");
	if (rows >= 0)
		rows = ask(db, key_see, out,
			   "SELECT index_name, MIN(non_unique), GROUP_CONCAT(column_name ORDER BY "
			   "seq_in_index) FROM information_schema.statistics",
			   table, "GROUP BY index_name");
	return rows < 0 ? (int)rows : HT_OK;
}

static const struct live_column *live_find(const struct live *l, const char *name)
{
	for (unsigned i = 0; i < l->columns; i++)
		if (strcasecmp(l->column[i].name, name) == 0)
			return &l->column[i];
	return NULL;
}

/* ---- differences ---- */

struct comparison {
	const struct live *live;
	char table[NAME_BYTES];
	FILE *why, *changes;
	char before[NAME_BYTES]; /* the column before this one */
	unsigned count;
	bool convert, is_of_rows;
};

static void change(struct comparison *c)
{
	c->count++;
	fputs(",\n  ", c->changes);
}

/* Characters that a text of ours needs; 0: no text. Of mediumtext a whole message, not all of it:
 * how many characters an old one holds depends on its character set. */
static uint64_t chars_of(const char *type)
{
	if (strncmp(type, "varchar(", 8) == 0)
		return strtoull(type + 8, NULL, 10);
	if (strncmp(type, "mediumtext", 10) == 0)
		return 4000000;
	return strncmp(type, "text", 4) == 0 ? 16000 : 0;
}

/* A text of ours that is compared octet by octet. */
#define BINARY " COLLATE utf8mb4_bin"

/* What follows the type, but for the collation. A column that may be NULL stays so: it may hold
 * some. */
static const char *tail_of(const struct live_column *live, const char *type)
{
	if (live->is_nullable)
		return " NULL";
	if (strstr(type, "GENERATED"))
		return " NOT NULL DEFAULT ''";
	type += strcspn(type, " ");
	return strncmp(type, BINARY, strlen(BINARY)) == 0 ? type + strlen(BINARY) : type;
}

/* A text that is there: as wide as the wider of both. */
static void text_compare(struct comparison *c, const struct live_column *live, const char *type)
{
	uint64_t chars = chars_of(type);
	bool is_narrow = live->chars < chars;
	bool is_lossy = strcmp(live->charset, "utf8mb4") != 0;

	if (!chars || !live->chars || !*live->charset || !*live->type || live->is_generated ||
	    (!is_narrow && !is_lossy))
		return;
	change(c);
	if (is_narrow)
		fprintf(c->why, "-- %s: %s is narrower than ours\n", c->table, live->name);
	else
		fprintf(c->why, "-- %s: %s cannot hold every character\n", c->table, live->name);
	fprintf(c->changes, "MODIFY COLUMN `%s` %.*s CHARACTER SET utf8mb4 COLLATE utf8mb4_%s%s",
		live->name, is_narrow ? (int)strcspn(type, " ") : (int)strlen(live->type),
		is_narrow ? type : live->type, strstr(type, BINARY) ? "bin" : "general_ci",
		tail_of(live, type));
}

/* A line of ours: "`name` type ...". */
static void column_compare(struct comparison *c, const char *name, const char *definition)
{
	const struct live_column *live = live_find(c->live, name);

	if (live) {
		text_compare(c, live, definition + strlen(name) + 3);
	} else {
		change(c);
		fprintf(c->why, "-- %s: %s is missing\n", c->table, name);
		fprintf(c->changes, "ADD COLUMN %s%s%s%s", definition, *c->before ? " AFTER `" : "",
			c->before, *c->before ? "`" : "");
	}
	snprintf(c->before, sizeof(c->before), "%s", name);
}

/* Add a key of ours, under a name of the server's choice if another key has ours. */
static void key_add(struct comparison *c, const char *definition)
{
	const char *columns = strchr(definition, '(');
	char name[NAME_BYTES] = "";

	change(c);
	if (sscanf(definition, "%*[^`]`%64[^`]`", name) == 1 && columns)
		for (unsigned i = 0; i < c->live->keys; i++)
			if (strcasecmp(c->live->key[i].name, name) == 0) {
				fprintf(c->changes, "ADD %sKEY %s",
					*definition == 'U' ? "UNIQUE " : "", columns);
				return;
			}
	fprintf(c->changes, "ADD %s", definition);
}

/* A line of ours: "KEY `name` (`column`, ...)": any key that begins with the column will do. */
static void key_compare(struct comparison *c, const char *definition)
{
	char column[NAME_BYTES] = "";
	size_t len;

	if (sscanf(definition, "KEY `%*[^`]` (`%64[^`]`", column) != 1)
		return;
	len = strlen(column);
	for (unsigned i = 0; i < c->live->keys; i++)
		if (strncasecmp(c->live->key[i].columns, column, len) == 0 &&
		    c->live->key[i].columns[len] == ',')
			return;
	fprintf(c->why, "-- %s: searches by %s have no key\n", c->table, column);
	key_add(c, definition);
}

/* How many columns of "a,b," are in "x,a,b,", and how many there are. */
static void columns_count(const char *of, const char *in, unsigned *found, unsigned *all)
{
	char place[LIST_BYTES + 1], name[NAME_BYTES + 2];
	int len;

	snprintf(place, sizeof(place), ",%s", in);
	for (*found = *all = 0; *of; of += len) {
		len = (int)strcspn(of, ",") + 1;
		snprintf(name, sizeof(name), ",%.*s", len, of);
		*found += strcasestr(place, name) != NULL;
		++*all;
	}
}

/* "... (`a`, `b`)" as "a,b,". */
static void columns_of(const char *definition, char out[LIST_BYTES])
{
	size_t used = 0;

	for (const char *at = strchr(definition, '('); at && *at; at++)
		if (!strchr("(` )", *at) && used < LIST_BYTES - 2)
			out[used++] = *at;
	out[used++] = ',';
	out[used] = '\0';
}

/* A line of ours: "UNIQUE KEY `name` (`a`, `b`)". What counts add up by has to be just these. */
static void unique_compare(struct comparison *c, const char *definition)
{
	char ours[LIST_BYTES];
	bool is_there = false;

	columns_of(definition, ours);
	for (unsigned i = 0; i < c->live->keys; i++) {
		const struct live_key *k = &c->live->key[i];
		unsigned found, all, ours_found, ours_all;

		columns_count(k->columns, ours, &found, &all);
		columns_count(ours, k->columns, &ours_found, &ours_all);
		if (!k->is_unique || found != all)
			continue;
		if (ours_found == ours_all)
			is_there = true;
		else
			fprintf(c->why,
				"-- %s: its unique key `%s` adds up what ours keeps apart; if "
				"nobody needs it: ALTER TABLE `%s` DROP KEY `%s`;\n",
				c->table, k->name, c->table, k->name);
	}
	if (is_there)
		return;
	fprintf(c->why, "-- %s: nothing keeps it at one row for each %.*s\n", c->table,
		(int)strlen(ours) - 1, ours);
	key_add(c, definition);
}

/* ---- what makes a table ours altogether ---- */

/* Say that it is different; @return whether it is to be changed. */
static bool is_to_convert(struct comparison *c, const char *what, const char *why)
{
	fprintf(c->why, "-- %s: %s: %s%s\n", c->table, what, why,
		c->convert ? "" : " (upgrade --convert changes it)");
	return c->convert;
}

static void storage_compare(struct comparison *c)
{
	bool is_innodb = strcasecmp(c->live->engine, "InnoDB") == 0;

	if (is_innodb && strcasecmp(c->live->format, "Compressed") != 0)
		return;
	if (!is_to_convert(c, is_innodb ? "ROW_FORMAT=COMPRESSED" : c->live->engine,
			   is_innodb ? "a row costs twice as much"
				     : "rows arrive at least once instead of exactly once"))
		return;
	change(c);
	fputs("ENGINE=InnoDB ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=0", c->changes);
}

/* Keys that the primary one begins with save nothing. */
static void spare_keys_drop(struct comparison *c, const char *primary)
{
	for (unsigned i = 0; i < c->live->keys; i++) {
		const struct live_key *k = &c->live->key[i];

		if (k->is_unique || strncasecmp(primary, k->columns, strlen(k->columns)) != 0)
			continue;
		change(c);
		fprintf(c->changes, "DROP KEY `%s`", k->name);
	}
}

/* A line of ours: "PRIMARY KEY (`a`, `b`)". */
static void primary_compare(struct comparison *c, const char *definition)
{
	const struct live_column *id = live_find(c->live, "id");
	char ours[LIST_BYTES] = "";
	bool is_same = false;

	columns_of(definition, ours);
	for (unsigned i = 0; i < c->live->keys; i++)
		is_same |= strcmp(c->live->key[i].name, "PRIMARY") == 0 &&
			   strcasecmp(c->live->key[i].columns, ours) == 0;
	if (!c->is_of_rows || is_same || !id ||
	    !is_to_convert(c, "another primary key",
			   id->is_counted
				   ? "a row costs one more key; with ours other programs cannot "
				     "write to it, as their rows have no id"
				   : "a row costs one more key"))
		return;
	if (id->is_counted) {
		change(c);
		fputs("MODIFY COLUMN `id` bigint unsigned NOT NULL", c->changes);
	}
	change(c);
	fputs("DROP PRIMARY KEY", c->changes);
	change(c);
	fprintf(c->changes, "ADD %s", definition);
	spare_keys_drop(c, ours);
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
	else if (strncmp(line, "UNIQUE KEY ", 11) == 0)
		unique_compare(c, line);
	else if (strncmp(line, "PRIMARY KEY ", 12) == 0)
		primary_compare(c, line);
}

/* ---- one table, one part ---- */

/* The lines between "CREATE TABLE ... (" and ") ENGINE". */
static void lines_compare(struct comparison *c, const char *statement)
{
	char *sql = strdup(statement), *rest = NULL, *line;

	line = sql ? strtok_r(sql, "\n", &rest) : NULL;
	while (line && (line = strtok_r(NULL, "\n", &rest)) && *line != ')')
		line_compare(c, line + strspn(line, " "));
	free(sql);
}

static int table_compare(struct comparison *c, const char *statement, FILE *out)
{
	char *why = NULL, *changes = NULL;
	size_t why_len, changes_len;
	int err = HT_OK;

	c->why = open_memstream(&why, &why_len);
	c->changes = open_memstream(&changes, &changes_len);
	if (c->why && c->changes) {
		if (c->is_of_rows)
			storage_compare(c);
		lines_compare(c, statement);
	}
	if (!c->why || fclose(c->why) != 0)
		err = -ENOMEM;
	if (!c->changes || fclose(c->changes) != 0)
		err = -ENOMEM;
	if (err == HT_OK)
		fputs(why, out);
	if (err == HT_OK && c->count)
		fprintf(out,
			"-- %s: about %" PRIu64 " rows, %" PRIu64
			" MiB: it may be rewritten; what is captured meanwhile waits in the spool\n"
			"ALTER TABLE `%s`\n  DEFAULT CHARACTER SET utf8mb4 COLLATE "
			"utf8mb4_general_ci%s;\n",
			c->table, c->live->rows, c->live->bytes >> 20, c->table, changes);
	free(why);
	free(changes);
	return err < 0 ? err : c->count > 0;
}

struct part_comparison {
	struct db *db;
	bool convert, is_of_rows;
	struct live *live;
	FILE *out;
	int statements;
};

static int statement_compare(void *ctx, const char *statement)
{
	struct part_comparison *p = ctx;
	struct comparison c = { .live = p->live,
				.convert = p->convert,
				.is_of_rows = p->is_of_rows };
	int n;

	if (sscanf(statement, "CREATE TABLE IF NOT EXISTS `%64[^`]`", c.table) != 1)
		return HT_OK;
	n = live_read(p->db, c.table, p->live);
	if (n == HT_OK && p->live->columns == 0) {
		fprintf(p->out, "-- %s: is missing\n%s;\n", c.table, statement);
		n = 1;
	} else if (n == HT_OK) {
		n = table_compare(&c, statement, p->out);
	}
	if (n > 0)
		p->statements += n;
	return n < 0 ? n : HT_OK;
}

int upgrade_compare(struct db *db, enum schema_part part, const struct schema_names *names,
		    bool convert, FILE *out)
{
	struct part_comparison p = {
		.db = db, .convert = convert, .is_of_rows = part <= SCHEMA_LOGS, .out = out
	};
	char *ours = NULL;
	int err;

	p.live = malloc(sizeof(*p.live));
	if (!p.live)
		return -ENOMEM;
	err = schema_text(&ours, part, names);
	if (err == HT_OK)
		err = schema_each(ours, statement_compare, &p);
	free(ours);
	free(p.live);
	return err < 0 ? err : p.statements;
}
