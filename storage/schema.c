/* The SQL files of web-sql/ are part of the binary; their places are filled in here. */
#include "storage/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/layout.h"
#include "storage/partitions.h"

/* The files as they are, by the assembler: no generated source, nothing to find at run time. */
#define FILE_TEXT(symbol, path)                                                                \
	__asm__(".section .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.previous\n"); \
	extern const char symbol[]

FILE_TEXT(schema_sip_capture, "web-sql/sip_capture.sql");
FILE_TEXT(schema_reports, "web-sql/reports.sql");
FILE_TEXT(schema_webrtc, "web-sql/webrtc.sql");
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
	[SCHEMA_WEBRTC] = { schema_webrtc, false },
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

/* ---- printing ---- */

static void partitions_print(FILE *out, const struct schema_names *names)
{
	struct partition p = { .bound = (uint64_t)names->today * 86400 };
	uint64_t until = p.bound + (LAYOUT_DAYS_AHEAD + 1) * 86400;

	fprintf(out,
		"\nPARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) (\n  PARTITION " PARTITION_PAST
		" VALUES LESS THAN (%" PRIu64 ")",
		p.bound);
	while (p.bound < until) {
		partition_next(&p, p.bound, 0, names->step);
		fprintf(out, ",\n  PARTITION %s VALUES LESS THAN (%" PRIu64 ")", p.name, p.bound);
	}
	fprintf(out, "\n)");
}

/* In GRANT, `_` and `%` in the name of a database stand for other characters too. */
static void pattern_print(FILE *out, const char *name)
{
	for (; *name; name++) {
		if (strchr("_%\\", *name))
			putc('\\', out);
		putc(*name, out);
	}
}

/* What the writer inserts messages into. Tables of days to come cannot be granted by name. */
static void sip_tables_print(FILE *out, const struct schema_names *names)
{
	putc('`', out);
	if (names->is_daily)
		pattern_print(out, names->database);
	else
		fputs(names->database, out);
	if (names->is_daily)
		fputs("`.*", out);
	else
		fprintf(out, "`.`%s`", names->table);
}

/* Homer 5 looks for a message by its id in ten minutes; Homer 3 by its id in its second. */
static const char *primary_key(enum schema_part part)
{
	return part == SCHEMA_CAPTURE_DAY ? "PRIMARY KEY (`id`, `date`),\n  KEY `date` (`date`)"
					  : "PRIMARY KEY (`date`, `id`)";
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
		} else if ((next = after(at, "@DATABASE_ONLY@"))) {
			pattern_print(out, names->database);
		} else if ((next = after(at, "@SIP_TABLES@"))) {
			sip_tables_print(out, names);
		} else if ((next = after(at, "@PRIMARY_KEY@"))) {
			fputs(primary_key(part), out);
		} else if ((next = after(at, "@PARTITIONS@"))) {
			if (parts[part].is_partitioned)
				partitions_print(out, names);
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

int schema_each(const char *text, schema_statement_fn *fn, void *ctx)
{
	char *sql = strdup(text), *statement = sql, *end;
	int err = HT_OK;

	if (!sql)
		return -ENOMEM;
	comments_drop(sql);
	while (err == HT_OK && (end = strstr(statement, ";\n"))) {
		*end = '\0';
		err = fn(ctx, statement + strspn(statement, "\n"));
		statement = end + 2;
	}
	free(sql);
	return err;
}

int schema_text(char **out, enum schema_part part, const struct schema_names *names)
{
	size_t len;
	FILE *file;
	int err;

	*out = NULL;
	file = open_memstream(out, &len);
	if (!file)
		return -ENOMEM;
	err = schema_print(file, part, names);
	if (fclose(file) != 0 && err == HT_OK)
		err = -ENOMEM;
	if (err < 0) {
		free(*out);
		*out = NULL;
	}
	return err;
}

static int statement_run(void *ctx, const char *statement)
{
	int64_t rows = db_query(ctx, NULL, NULL, statement);

	return rows < 0 ? (int)rows : HT_OK;
}

int schema_make(struct db *db, enum schema_part part, const struct schema_names *names)
{
	char *sql;
	int err = schema_text(&sql, part, names);

	if (err == HT_OK)
		err = schema_each(sql, statement_run, db);
	free(sql);
	return err;
}
