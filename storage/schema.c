/* The SQL files of web-sql/ are part of the binary; their places are filled in here. */
#include "storage/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The file as it is, by the assembler: no generated source, nothing to find at run time. */
__asm__(".section .rodata\n"
	"schema_sip_capture:\n"
	".incbin \"web-sql/sip_capture.sql\"\n"
	".byte 0\n"
	".previous\n");
extern const char schema_sip_capture[];

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

	fprintf(out, "  PARTITION p_past VALUES LESS THAN (%" PRIu64 ")", (uint64_t)today * 86400);
	for (uint32_t day = today; day <= today + SCHEMA_DAYS_AHEAD; day++) {
		schema_partition_name(name, day);
		fprintf(out, ",\n  PARTITION %s VALUES LESS THAN (%" PRIu64 ")", name,
			((uint64_t)day + 1) * 86400);
	}
}

int schema_print(FILE *out, const char *table, uint32_t today)
{
	const char *at = schema_sip_capture;

	while (*at) {
		if (strncmp(at, "@TABLE@", 7) == 0) {
			fputs(table, out);
			at += 7;
		} else if (strncmp(at, "@PARTITIONS@", 12) == 0) {
			partitions_print(out, today);
			at += 12;
		} else {
			putc(*at++, out);
		}
	}
	return ferror(out) ? -EIO : HT_OK;
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

int schema_install(struct db *db, const char *table, uint32_t today)
{
	char *sql = NULL;
	size_t len;
	FILE *out = open_memstream(&sql, &len);
	int err;

	if (!out)
		return -ENOMEM;
	err = schema_print(out, table, today);
	if (fclose(out) != 0 && err == HT_OK)
		err = -ENOMEM;
	if (err == HT_OK)
		err = statements_run(db, sql);
	free(sql);
	return err;
}
