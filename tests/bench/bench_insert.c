/*
 * The bare bulk insert: the rows of a spool folder, all values ready in memory, batch after batch
 * into the table. bench_insert SPOOL SOCKET DATABASE TABLE BATCH [PART PARTS]: prints rows, seconds
 * and own CPU seconds of the inserting alone. With parts, of as many processes this one has every
 * so-manyth batch, waits for a line on its input when it is ready, and prints one then.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "storage/block.h"
#include "storage/db.h"
#include "storage/table.h"

struct row {
	struct db_value value[TABLE_MAX_COLUMNS];
};

static struct row *rows;
static size_t row_count;
static struct table table;

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void row_keep(const struct block_head *h, const struct row_head *r)
{
	struct row *row;

	if (r->table != ROW_TABLE_SIP_CAPTURE)
		return; /* sums of statistics */
	if (row_count % 65536 == 0)
		rows = realloc(rows, (row_count + 65536) * sizeof(*rows));
	row = &rows[row_count++];
	memset(row, 0, sizeof(*row));
	for (unsigned i = 0; i < table.count; i++) {
		const struct column *c = &table.column[i];
		struct view text = { 0 }, fitted;
		uint8_t scratch[65536];

		if (c->source == COLUMN_ID)
			row->value[i].number = (int64_t)row_count;
		else if (c->source == COLUMN_DATE)
			row->value[i].number = row_number(h, r, ROW_micro_ts, 0) / 1000000;
		else if (c->source == COLUMN_NUMBER)
			row->value[i].number = row_number(h, r, c->value, 0);
		else if (c->source == COLUMN_TEXT)
			text = row_text(h, r, c->value);
		if (text.len == 0)
			continue;
		text_fit(c, text, scratch, &fitted);
		row->value[i].at = memcpy(malloc(fitted.len), fitted.at, fitted.len);
		row->value[i].len = fitted.len;
	}
}

static void segment_keep(const char *path)
{
	struct stat s;
	FILE *f = fopen(path, "rb");
	uint8_t *bytes;
	size_t at = 0;

	if (!f || fstat(fileno(f), &s) < 0)
		exit(3);
	bytes = aligned_alloc(8, ((size_t)s.st_size + 7) & ~7UL);
	if (fread(bytes, 1, (size_t)s.st_size, f) != (size_t)s.st_size)
		exit(3);
	fclose(f);
	while (at < (size_t)s.st_size && block_check(bytes + at, (size_t)s.st_size - at) == HT_OK) {
		const struct block_head *h = block_head_of(bytes + at);

		for (uint32_t i = 0; i < h->rows; i++)
			row_keep(h, block_row(bytes + at, i));
		at += h->bytes;
	}
	free(bytes);
}

static void spool_keep(const char *dir)
{
	struct dirent **names;
	int count = scandir(dir, &names, NULL, alphasort);
	char path[4096];

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (strstr(names[i]->d_name, ".seg"))
			segment_keep(path);
	}
}

static void next_row(void *ctx, size_t row, struct db_value *values)
{
	(void)ctx;
	memcpy(values, rows[row].value, table.count * sizeof(*values));
}

int main(int argc, char **argv)
{
	struct db_options o = { .user = "root", .password = "" };
	struct db_column columns[TABLE_MAX_COLUMNS];
	struct db_insert *insert;
	struct db *db;
	double wall, cpu;
	size_t batch, part = 0, parts = 1, inserted = 0;

	if (argc != 6 && argc != 8)
		return 2;
	if (argc == 8) {
		part = strtoul(argv[6], NULL, 10);
		parts = strtoul(argv[7], NULL, 10);
	}
	o.socket = argv[2];
	o.database = argv[3];
	batch = strtoul(argv[5], NULL, 10);
	if (db_open(&db, &o) < 0 || table_read(db, argv[4], true, &table) < 0) {
		fprintf(stderr, "%s\n", db_last_error(NULL));
		return 3;
	}
	spool_keep(argv[1]);
	for (unsigned i = 0; i < table.count; i++) {
		static const enum db_kind kind[] = { [COLUMN_NUMBER] = DB_INTEGER,
						     [COLUMN_TEXT] = DB_TEXT,
						     [COLUMN_ID] = DB_INTEGER,
						     [COLUMN_DATE] = DB_DATETIME,
						     [COLUMN_MSG_RAW] = DB_BINARY };

		memcpy(columns[i].name, table.column[i].name, sizeof(columns[i].name));
		columns[i].kind = kind[table.column[i].source];
	}
	if (db_insert_prepare(&insert, db, argv[4], columns, table.count) < 0)
		return 3;
	if (parts > 1) {
		puts("ready");
		fflush(stdout);
		getchar();
	}
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t at = part * batch; at < row_count; at += parts * batch) {
		size_t n = row_count - at < batch ? row_count - at : batch;

		if (db_insert_run(insert, at, n, next_row, NULL) < 0 || db_commit(db) < 0) {
			fprintf(stderr, "%s\n", db_last_error(db));
			return 3;
		}
		inserted += n;
	}
	printf("%zu %.4f %.4f\n", inserted, seconds(CLOCK_MONOTONIC) - wall,
	       seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	return 0;
}
