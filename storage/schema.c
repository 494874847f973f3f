/* The SQL files of web-sql/ are part of the binary; their places are filled in here. */
#include "storage/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
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
};

void schema_partition_name(char out[16], uint32_t day)
{
	time_t t = (time_t)day * 86400;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 16, "p%Y%m%d", &tm);
}

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

static int part_print(FILE *out, enum schema_part part, const char *table, uint32_t today)
{
	const char *at = parts[part].sql;

	while (*at) {
		if (strncmp(at, "@TABLE@", 7) == 0) {
			fputs(table, out);
			at += 7;
		} else if (strncmp(at, "@PARTITIONS@", 12) == 0) {
			if (parts[part].is_partitioned)
				partitions_print(out, today);
			at += 12;
		} else {
			putc(*at++, out);
		}
	}
	return ferror(out) ? -EIO : HT_OK;
}

int schema_print(FILE *out, const char *table, uint32_t today)
{
	int err = part_print(out, SCHEMA_CAPTURE, table, today);

	if (err == HT_OK)
		err = part_print(out, SCHEMA_RTCP, "rtcp_capture", today);
	if (err == HT_OK)
		err = part_print(out, SCHEMA_REPORT, "report_capture", today);
	if (err == HT_OK)
		err = part_print(out, SCHEMA_LOGS, "logs_capture", today);
	return err == HT_OK ? part_print(out, SCHEMA_HEPTAP, "", today) : err;
}

static int statements_run(struct db *db, char *sql)
{
	char *statement = sql, *end;
	int64_t rows;

	while ((end = strstr(statement, ";\n"))) {
		*end = '\0';
		rows = db_run(db, "%s", statement);
		if (rows < 0)
			return (int)rows;
		statement = end + 2;
	}
	return HT_OK;
}

int schema_make(struct db *db, enum schema_part part, const char *table, uint32_t today)
{
	char *sql = NULL;
	size_t len;
	FILE *out = open_memstream(&sql, &len);
	int err;

	if (!out)
		return -ENOMEM;
	err = part_print(out, part, table, today);
	if (fclose(out) != 0 && err == HT_OK)
		err = -ENOMEM;
	if (err == HT_OK)
		err = statements_run(db, sql);
	free(sql);
	return err;
}

int schema_install(struct db *db, const char *table, uint32_t today)
{
	int err = schema_make(db, SCHEMA_CAPTURE, table, today);

	if (err == HT_OK)
		err = schema_make(db, SCHEMA_RTCP, "rtcp_capture", today);
	if (err == HT_OK)
		err = schema_make(db, SCHEMA_REPORT, "report_capture", today);
	if (err == HT_OK)
		err = schema_make(db, SCHEMA_LOGS, "logs_capture", today);
	return err == HT_OK ? schema_make(db, SCHEMA_HEPTAP, "", today) : err;
}
