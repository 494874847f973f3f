/* storage/spool.c and stream.c: what is appended is read back once and in order, whatever happened
 * to the files. */
#include "storage/spool.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/log.h"
#include "storage/block.h"
#include "tests/unit/make_block.h"

#define MIB	  (1ULL << 20)
#define SMALL_MAX (16 * MIB) /* segments of 4 MiB where there is one writer */
#define KEEP_US	  (SPOOL_KEEP_S * 1000000ULL)

/* ---- a directory per test ---- */

static char dir[256];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	snprintf(dir, sizeof(dir), "%s/spool-XXXXXX",
		 tmp			      ? tmp
		 : access("build", W_OK) == 0 ? "build"
					      : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

__attribute__((format(printf, 1, 2))) static const char *in_dir(const char *format, ...)
{
	static char path[512];
	int used = snprintf(path, sizeof(path), "%s/", dir);
	va_list args;

	va_start(args, format);
	vsnprintf(path + used, sizeof(path) - (size_t)used, format, args);
	va_end(args);
	return path;
}

/* Files of the directory that match; the first one's path in @p first, in order of name. */
static size_t count_files(const char *pattern, char first[512])
{
	glob_t found;
	size_t count = glob(in_dir("%s", pattern), 0, NULL, &found) == 0 ? found.gl_pathc : 0;

	if (count && first)
		snprintf(first, 512, "%s", found.gl_pathv[0]);
	globfree(&found);
	return count;
}

static off_t size_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 0x5a;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static uint8_t *read_file(const char *path, size_t *len)
{
	uint8_t *bytes = malloc((size_t)size_of(path) + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	*len = (size_t)size_of(path);
	ck_assert_int_eq(read(fd, bytes, *len), (ssize_t)*len);
	close(fd);
	return bytes;
}

/* ---- spools ---- */

static struct spool_options options_of(unsigned writers, uint64_t max_bytes)
{
	return (struct spool_options){ .dir = dir,
				       .max_bytes = max_bytes,
				       .node_id = 7,
				       .writers = writers,
				       .owner_uid = -1,
				       .owner_gid = -1 };
}

static struct spool *open_spool(unsigned writers, uint64_t max_bytes)
{
	struct spool_options o = options_of(writers, max_bytes);
	struct spool *s;

	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	for (size_t i = 0; i < spool_stream_count(s); i++)
		ck_assert_int_eq(stream_recover(s, spool_stream(s, i)), HT_OK);
	return s;
}

/* Rows number 0, 1, ... over all appends of a test. */
static uint64_t next_row;

static int try_append(struct spool *s, uint32_t rows, size_t padding, unsigned *writer)
{
	struct block *b = make_block(next_row, rows, padding);
	int err = spool_append(s, b, writer);

	if (err == HT_OK)
		next_row += rows;
	block_free(b);
	return err;
}

static void append(struct spool *s, uint32_t rows, size_t padding)
{
	unsigned writer;

	ck_assert_int_eq(try_append(s, rows, padding, &writer), HT_OK);
	ck_assert_uint_eq(writer, 0);
}

/* A block of about 1 MiB. */
static void append_large(struct spool *s)
{
	append(s, 10, 104000);
}

/* What reading to the end gave. */
struct seen {
	uint64_t blocks, rows, lost;
	uint64_t seq[4096]; /* of each block */
	uint64_t last_row;  /* number of the last one */
	unsigned gaps;	    /* places where row numbers do not follow one another */
};

static void see_block(struct seen *v, const uint8_t *at)
{
	const struct block_head *h = block_head_of(at);

	ck_assert_uint_lt(v->blocks, 4096);
	ck_assert(v->blocks == 0 || h->seq > v->seq[v->blocks - 1]);
	v->seq[v->blocks++] = h->seq;
	for (uint32_t i = 0; i < h->rows; i++) {
		uint64_t n = made_row_number(h, block_row(at, i));

		ck_assert(v->rows == 0 || n > v->last_row);
		v->gaps += v->rows && n != v->last_row + 1;
		v->last_row = n;
		v->rows++;
	}
}

static void read_on(struct spool *s, struct stream *st, struct stream_pos *pos, uint32_t max_rows,
		    struct seen *v)
{
	uint8_t *buf = aligned_alloc(8, BLOCK_MAX_BYTES);
	size_t len, used;

	do {
		ck_assert_int_eq(
			stream_read(s, st, pos, buf, BLOCK_MAX_BYTES, max_rows, &len, &v->lost),
			HT_OK);
		for (used = 0; used < len; used += block_head_of(buf + used)->bytes) {
			see_block(v, buf + used);
			stream_advance(pos, block_head_of(buf + used));
		}
	} while (len);
	ck_assert(!stream_has_more(st, pos));
	free(buf);
}

static void seek(struct stream *st, struct stream_pos *pos, uint64_t seq)
{
	ck_assert_int_eq(stream_seek(st, pos, seq), HT_OK);
}

static uint64_t rows_until(struct stream *st, uint64_t seq)
{
	struct stream_pos pos = { 0 };

	seek(st, &pos, seq);
	return pos.rows;
}

static struct seen *read_all(struct spool *s, struct stream *st, uint64_t behind_seq)
{
	struct seen *v = calloc(1, sizeof(*v));
	struct stream_pos pos = { 0 };

	seek(st, &pos, behind_seq);
	read_on(s, st, &pos, 1000, v);
	return v;
}

static struct stream *live(struct spool *s)
{
	return spool_stream(s, 0);
}

/* The only stream that an earlier start left, behind one live one. */
static struct stream *old(struct spool *s)
{
	ck_assert_uint_eq(spool_stream_count(s), 2);
	ck_assert(!spool_stream(s, 1)->is_live);
	return spool_stream(s, 1);
}

static void expect_read(struct spool *s, struct stream *st, uint64_t blocks, uint64_t rows,
			uint64_t lost)
{
	struct seen *v = read_all(s, st, 0);

	ck_assert_uint_eq(v->blocks, blocks);
	ck_assert_uint_eq(v->rows, rows);
	ck_assert_uint_eq(v->lost, lost);
	free(v);
}

/* The octet at which a block of the first segment begins, seq from 1. */
static off_t block_offset(const char *path, uint64_t seq)
{
	size_t len, at = 0;
	uint8_t *bytes = read_file(path, &len);

	while (block_head_of(bytes + at)->seq != seq) {
		at += block_head_of(bytes + at)->bytes;
		ck_assert_uint_lt(at, len);
	}
	free(bytes);
	return (off_t)at;
}

/* ---- appending and reading ---- */

START_TEST(what_is_appended_is_read_back)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	const struct spool_counters *c = spool_counters(s);
	struct seen *v;

	ck_assert(live(s)->is_live);
	ck_assert_uint_eq(spool_stream_count(s), 1);
	expect_read(s, live(s), 0, 0, 0);
	for (uint32_t i = 1; i <= 20; i++)
		append(s, i, i);
	v = read_all(s, live(s), 0);
	ck_assert_uint_eq(v->blocks, 20);
	ck_assert_uint_eq(v->rows, 210);
	ck_assert_uint_eq(v->gaps + v->lost, 0);
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_uint_eq(v->seq[i], i + 1);
	ck_assert_uint_eq(counter_get(&c->rows_appended), 210);
	ck_assert_uint_eq(counter_get(&c->blocks_appended), 20);
	ck_assert_uint_eq(counter_get(&c->bytes), live(s)->bytes);
	spool_give_up(s, &(struct block){ .rows = 3 });
	ck_assert_uint_eq(counter_get(&c->lost_rows), 3);
	free(v);
	spool_close(s);
}
END_TEST

START_TEST(reading_goes_on_where_appending_goes_on)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct stream_pos pos = { .seq = 1 };
	struct seen v = { 0 };

	for (unsigned i = 0; i < 5; i++) {
		ck_assert(!stream_has_more(live(s), &pos));
		append(s, 3, 0);
		append(s, 4, 0);
		ck_assert(stream_has_more(live(s), &pos));
		read_on(s, live(s), &pos, 1000, &v);
		ck_assert_uint_eq(v.rows, 7 * (i + 1));
		ck_assert_uint_eq(pos.rows, v.rows);
	}
	ck_assert_uint_eq(v.gaps + v.lost, 0);
	spool_close(s);
}
END_TEST

START_TEST(seek_goes_behind_a_block)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	uint64_t rows = 0;

	for (uint32_t i = 1; i <= 6; i++)
		append(s, i, 0);
	for (uint64_t seq = 0; seq <= 6; seq++) {
		struct seen *v = read_all(s, live(s), seq);
		struct stream_pos pos = { 0 };

		rows += seq;
		seek(live(s), &pos, seq);
		ck_assert_uint_eq(pos.seq, seq + 1);
		ck_assert_uint_eq(pos.rows, rows);
		ck_assert_uint_eq(v->blocks, 6 - seq);
		ck_assert_uint_eq(v->rows, 21 - rows);
		ck_assert_uint_eq(v->lost, 0);
		free(v);
	}
	spool_close(s);
}
END_TEST

START_TEST(read_stops_once_there_are_rows_enough)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	static const struct {
		uint32_t max_rows, blocks;
	} cases[] = {
		{ 1, 1 }, { 10, 1 }, { 11, 2 }, { 20, 2 }, { 21, 3 }, { 30, 3 }, { 1000, 3 }
	};
	uint8_t *buf = aligned_alloc(8, BLOCK_MAX_BYTES);
	uint64_t lost = 0;
	size_t len;

	for (int i = 0; i < 3; i++)
		append(s, 10, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stream_pos pos = { .seq = 1 };

		ck_assert_int_eq(stream_read(s, live(s), &pos, buf, BLOCK_MAX_BYTES,
					     cases[i].max_rows, &len, &lost),
				 HT_OK);
		ck_assert_uint_eq(len, cases[i].blocks * block_head_of(buf)->bytes);
		ck_assert_uint_eq(pos.seq, 1);
	}
	free(buf);
	spool_close(s);
}
END_TEST

START_TEST(segments_follow_one_another)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct seen *v;

	for (int i = 0; i < 13; i++)
		append_large(s);
	ck_assert_uint_ge(live(s)->segment_count, 3);
	ck_assert_uint_eq(count_files("*.seg", NULL), live(s)->segment_count);
	v = read_all(s, live(s), 0);
	ck_assert_uint_eq(v->blocks, 13);
	ck_assert_uint_eq(v->gaps + v->lost, 0);
	free(v);
	v = read_all(s, live(s), 7);
	ck_assert_uint_eq(v->blocks, 6);
	ck_assert_uint_eq(v->seq[0], 8);
	free(v);
	spool_close(s);
}
END_TEST

START_TEST(blocks_go_to_the_stream_that_is_least_behind)
{
	struct spool *s = open_spool(3, SMALL_MAX);
	unsigned writer, of[3] = { 0 };

	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(try_append(s, 1, 0, &writer), HT_OK);
		of[writer]++;
	}
	ck_assert(of[0] == 3 && of[1] == 3 && of[2] == 3);
	stream_committed(spool_stream(s, 1), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(try_append(s, 1, 0, &writer), HT_OK);
		ck_assert_uint_eq(writer, 1);
	}
	spool_close(s);
}
END_TEST

/* Fewer writers get rows, though theirs are further behind; what the others have stays readable. */
START_TEST(only_writers_in_use_get_blocks)
{
	static const unsigned uses[][2] = { { 2, 2 }, { 1, 1 }, { 0, 1 }, { 9, 4 } };
	struct spool *s = open_spool(4, SMALL_MAX);
	unsigned writer;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(try_append(s, 1, 0, &writer), HT_OK);
	for (size_t u = 0; u < sizeof(uses) / sizeof(uses[0]); u++) {
		unsigned seen = 0;

		for (size_t i = 0; i < 4; i++)
			stream_committed(spool_stream(s, i), spool_stream(s, i)->last_seq);
		spool_use_writers(s, uses[u][0]);
		for (int i = 0; i < 40; i++) {
			ck_assert_int_eq(try_append(s, 1, 0, &writer), HT_OK);
			seen |= 1U << writer;
		}
		ck_assert_uint_eq(seen, (1U << uses[u][1]) - 1);
	}
	for (size_t i = 0; i < 4; i++)
		ck_assert_uint_ge(spool_stream(s, i)->last_seq, 1);
	spool_close(s);
}
END_TEST

START_TEST(rows_are_counted_up_to_a_block)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	uint64_t rows = 0;

	for (uint32_t i = 1; i <= 12; i++)
		append(s, i, 80000);
	ck_assert_uint_gt(live(s)->segment_count, 1);
	for (uint64_t seq = 0; seq <= 12; seq++) {
		rows += seq;
		ck_assert_uint_eq(rows_until(live(s), seq), rows);
	}
	ck_assert_uint_eq(rows_until(live(s), 13), rows);
	ck_assert_uint_eq(rows_until(live(s), UINT64_MAX), rows);
	spool_close(s);
}
END_TEST

START_TEST(spool_in_memory_has_no_files)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s;
	unsigned writer;

	o.in_memory = true;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	for (int i = 0; i < 9; i++)
		append_large(s);
	ck_assert_uint_gt(live(s)->segment_count, 1);
	ck_assert_uint_eq(count_files("*", NULL), 0);
	expect_read(s, live(s), 9, 90, 0);
	while (try_append(s, 10, 104000, &writer) == HT_OK)
		;
	stream_committed(live(s), live(s)->last_seq);
	live(s)->alive_us += KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(live(s)->segment_count, 1);
	append_large(s);
	spool_close(s);
}
END_TEST

START_TEST(spool_with_sync_writes_the_same)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s;

	o.sync = true;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	append(s, 2, 0);
	spool_tend(s, 1000000);
	append(s, 3, 0);
	spool_tend(s, 1000001);
	expect_read(s, live(s), 2, 5, 0);
	spool_close(s);
}
END_TEST

/* ---- opening ---- */

START_TEST(directory_is_made)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	char inner[300];
	struct spool *s;

	snprintf(inner, sizeof(inner), "%s/a", dir);
	o.dir = inner;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	spool_close(s);
	snprintf(inner, sizeof(inner), "%s/b/c", dir);
	ck_assert_int_eq(spool_open(&s, &o), -ENOENT);
	write_file(in_dir("file"), "", 0);
	snprintf(inner, sizeof(inner), "%s/file", dir);
	ck_assert_int_eq(spool_open(&s, &o), -ENOTDIR);
}
END_TEST

START_TEST(second_open_is_refused)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s = open_spool(1, SMALL_MAX), *second;
	int status;
	pid_t pid;

	ck_assert_int_eq(spool_open(&second, &o), -EWOULDBLOCK);
	pid = fork();
	if (pid == 0)
		_exit(spool_open(&second, &o) == -EWOULDBLOCK ? 0 : 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	spool_close(s);
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	spool_close(s);
}
END_TEST

START_TEST(streams_of_earlier_starts_are_found)
{
	uint64_t id[3];
	struct spool *s;

	for (int start = 0; start < 3; start++) {
		s = open_spool(1, 8 * SMALL_MAX);
		id[start] = live(s)->id;
		for (int i = 0; i <= start; i++)
			append(s, 5, 0);
		ck_assert_uint_eq(spool_stream_count(s), 1U + (unsigned)start);
		spool_close(s);
	}
	s = open_spool(2, 8 * SMALL_MAX);
	ck_assert_uint_eq(spool_stream_count(s), 5);
	for (uint64_t start = 0; start < 3; start++) {
		struct stream *st = NULL;

		for (size_t i = 2; i < 5; i++)
			if (spool_stream(s, i)->id == id[start])
				st = spool_stream(s, i);
		ck_assert_ptr_nonnull(st);
		ck_assert(!st->is_live);
		ck_assert_uint_lt(st->writer, 2);
		ck_assert_uint_eq(st->node_id, 7);
		ck_assert_uint_eq(st->last_seq, start + 1);
		ck_assert_uint_eq(st->rows, 5 * (start + 1));
		ck_assert_uint_eq(st->committed, 0);
		expect_read(s, st, start + 1, 5 * (start + 1), 0);
	}
	ck_assert_uint_eq(counter_get(&spool_counters(s)->torn_bytes), 0);
	ck_assert_uint_gt(counter_get(&spool_counters(s)->bytes), 0);
	spool_close(s);
}
END_TEST

START_TEST(stream_keeps_the_node_that_wrote_it)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s = open_spool(1, SMALL_MAX);

	append(s, 1, 0);
	spool_close(s);
	o.node_id = 8;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	ck_assert_int_eq(stream_recover(s, old(s)), HT_OK);
	ck_assert_uint_eq(live(s)->node_id, 8);
	ck_assert_uint_eq(old(s)->node_id, 7);
	spool_close(s);
}
END_TEST

START_TEST(foreign_files_are_left_alone)
{
	static const char *const names[] = { "notes.txt",
					     ".hidden",
					     "0-1.seg",
					     "00000000000000AB-0000000000000001.seg",
					     "00000000000000ab-0000000000000000.seg",
					     "00000000000000ab-0000000000000001.seg.bad",
					     "00000000000000ab-0000000000000001.sex",
					     "0x000000000000ab-0000000000000001.seg",
					     "00000000000000ab_0000000000000001.seg",
					     " 0000000000000ab-0000000000000001.seg",
					     "+0000000000000ab-0000000000000001.seg" };
	struct spool *s;
	size_t len;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		write_file(in_dir("%s", names[i]), "mine", 4);
	ck_assert_int_eq(mkdir(in_dir("directory.seg"), 0700), 0);
	ck_assert_int_eq(symlink("nowhere", in_dir("link.seg")), 0);
	s = open_spool(1, SMALL_MAX);
	append(s, 1, 0);
	spool_close(s);
	s = open_spool(1, SMALL_MAX);
	expect_read(s, old(s), 1, 1, 0);
	spool_close(s);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint8_t *bytes = read_file(in_dir("%s", names[i]), &len);

		ck_assert_uint_eq(len, 4);
		ck_assert_mem_eq(bytes, "mine", 4);
		free(bytes);
	}
}
END_TEST

START_TEST(too_many_streams_wait_for_the_next_start)
{
	struct rlimit files = { 0 };
	struct block *b = make_block(0, 1, 0);
	struct spool *s;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (uint64_t id = 1; id <= SPOOL_MAX_STREAMS + 10; id++) {
		block_stamp(b, 7, id, 1, 0);
		write_file(in_dir("%016" PRIx64 "-%016x.seg", id, 1), b->bytes,
			   block_head_of(b->bytes)->bytes);
	}
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(spool_stream_count(s), SPOOL_MAX_STREAMS);
	expect_read(s, spool_stream(s, SPOOL_MAX_STREAMS - 1), 1, 1, 0);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.seg", NULL), SPOOL_MAX_STREAMS + 10);
	block_free(b);
}
END_TEST

/* ---- torn tails ---- */

/* Three blocks of 2, 3 and 4 rows as an earlier start left them; the path of their segment. */
static void leave_three_blocks(char path[512])
{
	struct spool *s = open_spool(1, SMALL_MAX);

	append(s, 2, 10);
	append(s, 3, 10);
	append(s, 4, 10);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.seg", path), 1);
}

START_TEST(torn_tail_of_any_length_is_cut)
{
	char path[512];
	size_t len, third;
	uint8_t *bytes;
	struct spool *s;

	leave_three_blocks(path);
	bytes = read_file(path, &len);
	third = (size_t)block_offset(path, 3);
	for (size_t torn = third; torn < len; torn++) {
		write_file(path, bytes, torn);
		s = open_spool(1, SMALL_MAX);
		ck_assert_uint_eq(counter_get(&spool_counters(s)->torn_bytes), torn - third);
		ck_assert_int_eq(size_of(path), (off_t)third);
		ck_assert_uint_eq(old(s)->last_seq, 2);
		ck_assert_uint_eq(old(s)->rows, 5);
		if (torn % 64 == 0 || torn + 1 == len)
			expect_read(s, old(s), 2, 5, 0);
		spool_close(s);
	}
	ck_assert_uint_eq(count_files("*.bad", NULL), 0);
	free(bytes);
}
END_TEST

START_TEST(garbage_behind_the_last_block_is_cut)
{
	char path[512];
	size_t len;
	uint8_t *bytes;
	struct spool *s;

	leave_three_blocks(path);
	bytes = read_file(path, &len);
	for (size_t more = 1; more <= 200; more += 7) {
		uint8_t *longer = malloc(len + more);

		memcpy(longer, bytes, len);
		memset(longer + len, (int)more, more);
		write_file(path, longer, len + more);
		free(longer);
		s = open_spool(1, SMALL_MAX);
		ck_assert_uint_eq(counter_get(&spool_counters(s)->torn_bytes), more);
		ck_assert_int_eq(size_of(path), (off_t)len);
		expect_read(s, old(s), 3, 9, 0);
		spool_close(s);
	}
	free(bytes);
}
END_TEST

/* More than an append can leave is damage of another kind. */
START_TEST(tail_that_no_append_left_is_kept)
{
	char path[512], bad[512];
	struct spool *s;
	off_t len;

	leave_three_blocks(path);
	len = size_of(path) + 2 * BLOCK_MAX_BYTES;
	ck_assert_int_eq(truncate(path, len), 0);
	for (int round = 0; round < 2; round++) {
		s = open_spool(1, SMALL_MAX);
		expect_read(s, old(s), 3, 9, 0);
		spool_close(s);
		ck_assert_uint_eq(count_files("*.bad", bad), 1);
		ck_assert_int_eq(size_of(bad), len);
	}
}
END_TEST

START_TEST(stream_without_one_whole_block_is_removed)
{
	char path[512];
	struct spool *s;

	leave_three_blocks(path);
	ck_assert_int_eq(truncate(path, 50), 0);
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(old(s)->last_seq, 0);
	expect_read(s, old(s), 0, 0, 0);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.seg", NULL), 0);
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(spool_stream_count(s), 1);
	spool_close(s);
}
END_TEST

/* The blocks before it are committed and gone; the ledger still has a row for the stream, so it
 * must come to its writer. */
START_TEST(empty_last_segment_tells_what_came_before)
{
	struct spool *s;

	write_file(in_dir("%016x-%016x.seg", 0xab, 6), "", 0);
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(old(s)->last_seq, 5);
	ck_assert_uint_eq(old(s)->committed, 5);
	expect_read(s, old(s), 0, 0, 0);
	stream_committed(old(s), 5);
	old(s)->alive_us += KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(old(s)->segment_count, 0);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.seg", NULL), 0);
}
END_TEST

/* ---- damage ---- */

#define HEAD_PLACES 10 /* octets in each field of the head, then some behind it */

/* Which octet of a block is damaged in round @p i. */
static off_t place(int i)
{
	static const off_t in_head[HEAD_PLACES] = { offsetof(struct block_head, magic),
						    offsetof(struct block_head, version),
						    offsetof(struct block_head, bytes) + 1,
						    offsetof(struct block_head, hash),
						    offsetof(struct block_head, stream),
						    offsetof(struct block_head, seq),
						    offsetof(struct block_head, seq) + 6,
						    offsetof(struct block_head, rows_before) + 2,
						    offsetof(struct block_head, rows),
						    offsetof(struct block_head, directory) };

	return i < HEAD_PLACES ? in_head[i]
			       : (off_t)sizeof(struct block_head) + 100 * (i - HEAD_PLACES);
}

#define PLACES (HEAD_PLACES + 3)

/* Five blocks of 1 to 5 rows; block 3 is damaged. Rows of the others come, 3 are lost, and the file
 * is kept. */
static void expect_third_lost(struct spool *s, struct stream *st)
{
	struct seen *v = read_all(s, st, 0);
	char bad[512];

	ck_assert_uint_eq(v->lost, 3);
	ck_assert_uint_eq(v->rows, 12);
	ck_assert_uint_eq(v->blocks, 4);
	ck_assert_uint_eq(v->gaps, 1);
	ck_assert_uint_eq(v->seq[1], 2);
	ck_assert_uint_eq(v->seq[2], 4);
	ck_assert_uint_eq(count_files("*.bad", bad), 1);
	free(v);
	for (uint64_t seq = 0, rows = 0; seq <= 5; rows += ++seq)
		if (seq != 3)
			ck_assert_uint_eq(rows_until(st, seq), rows);
	for (uint64_t behind = 1; behind <= 5; behind++) {
		v = read_all(s, st, behind);
		ck_assert_uint_eq(v->blocks, behind < 3 ? 4 - behind : 5 - behind);
		if (behind != 3) /* then what lies before it is only known from the damaged block */
			ck_assert_uint_eq(v->lost, behind < 3 ? 3 : 0);
		free(v);
	}
}

START_TEST(damaged_block_of_a_live_stream_costs_only_itself)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	char path[512];

	for (uint32_t i = 1; i <= 5; i++)
		append(s, i, 30);
	count_files("*.seg", path);
	flip(path, block_offset(path, 3) + place(_i));
	expect_third_lost(s, live(s));
	spool_close(s);
}
END_TEST

START_TEST(damaged_block_of_an_old_stream_costs_only_itself)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	char path[512];

	for (uint32_t i = 1; i <= 5; i++)
		append(s, i, 30);
	spool_close(s);
	count_files("*.seg", path);
	flip(path, block_offset(path, 3) + place(_i));
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->torn_bytes), 0);
	expect_third_lost(s, old(s));
	spool_close(s);
}
END_TEST

/* All blocks alike: a length that is wrong may lead exactly to another block. */
START_TEST(length_that_leads_over_a_block_does_not_lose_it)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct block_head h;
	char path[512];
	struct seen *v;
	int fd;

	for (uint32_t i = 1; i <= 6; i++)
		append(s, 1, 30);
	count_files("*.seg", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &h, sizeof(h), block_offset(path, 3)), sizeof(h));
	h.bytes *= 2;
	ck_assert_int_eq(pwrite(fd, &h, sizeof(h), (off_t)(2 * h.bytes / 2)), sizeof(h));
	close(fd);
	v = read_all(s, live(s), 3); /* to block 4 through the head of 3 */
	ck_assert_uint_eq(v->blocks, 3);
	ck_assert_uint_eq(v->seq[0], 4);
	free(v);
	expect_read(s, live(s), 5, 5, 1);
	spool_close(s);
}
END_TEST

/* Sixteen large blocks of 10 rows in several segments, left by an earlier start; the first
 * segment's path and how many blocks it has. */
static uint64_t leave_segments(char path[512])
{
	struct spool *s = open_spool(1, 2 * SMALL_MAX); /* segments of 8 MiB */
	uint64_t blocks;

	for (int i = 0; i < 16; i++)
		append_large(s);
	ck_assert_uint_ge(live(s)->segment_count, 2);
	blocks = live(s)->segments[0].last_seq;
	spool_close(s);
	count_files("*.seg", path);
	return blocks;
}

START_TEST(damage_in_an_earlier_segment_costs_only_that_block)
{
	char path[512];
	uint64_t blocks = leave_segments(path), victims[] = { 1, 3, blocks };
	size_t len;
	uint8_t *bytes = read_file(path, &len);

	for (size_t i = 0; i < 3; i++) {
		struct spool *s;
		struct seen *v;

		write_file(path, bytes, len);
		flip(path, block_offset(path, victims[i]) + place(_i));
		s = open_spool(1, 2 * SMALL_MAX);
		ck_assert_uint_eq(old(s)->last_seq, 16);
		ck_assert_uint_eq(old(s)->rows, 160);
		v = read_all(s, old(s), 0);
		ck_assert_uint_eq(v->blocks, 15);
		ck_assert_uint_eq(v->rows, 150);
		ck_assert_uint_eq(v->lost, 10);
		ck_assert_uint_eq(count_files("*.bad", NULL), 1);
		free(v);
		spool_close(s);
	}
	free(bytes);
}
END_TEST

START_TEST(destroyed_segment_costs_only_its_rows)
{
	char path[512];
	uint64_t blocks = leave_segments(path);
	size_t len = (size_t)size_of(path);
	uint8_t *zeros = calloc(1, len);
	struct spool *s;

	write_file(path, zeros, _i == 0 ? len : _i == 1 ? 0 : 1000);
	s = open_spool(1, 2 * SMALL_MAX);
	expect_read(s, old(s), 16 - blocks, 10 * (16 - blocks), 10 * blocks);
	stream_committed(old(s), 16);
	old(s)->alive_us += KEEP_US;
	spool_tend(s, 0);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.seg", NULL), 0);
	ck_assert_uint_eq(count_files("*.bad", NULL), _i == 1 ? 0 : 1);
	free(zeros);
}
END_TEST

START_TEST(missing_segment_costs_only_its_rows)
{
	char path[512];
	uint64_t blocks = leave_segments(path);
	struct spool *s;

	ck_assert_int_eq(unlink(path), 0);
	s = open_spool(1, 2 * SMALL_MAX);
	ck_assert_uint_eq(old(s)->committed, blocks); /* until the ledger is asked */
	expect_read(s, old(s), 16 - blocks, 10 * (16 - blocks), 10 * blocks);
	ck_assert_uint_eq(rows_until(old(s), 1), 10 * blocks);
	spool_close(s);
}
END_TEST

/* However much lies there, opening reads the ends of streams only. */
START_TEST(earlier_segments_are_not_read_at_the_start)
{
	char path[512];
	uint64_t blocks = leave_segments(path);
	struct spool *s;

	flip(path, block_offset(path, 2));
	s = open_spool(1, 2 * SMALL_MAX);
	ck_assert_uint_eq(count_files("*.bad", NULL), 0);
	ck_assert_uint_eq(old(s)->last_seq, 16);
	ck_assert_uint_eq(old(s)->segments[0].last_seq, blocks);
	expect_read(s, old(s), 15, 150, 10);
	ck_assert_uint_eq(count_files("*.bad", NULL), 1);
	spool_close(s);
}
END_TEST

START_TEST(damaged_segments_that_are_kept_are_not_without_bound)
{
	char path[512];

	for (int i = 0; i < 20; i++) {
		struct spool *s = open_spool(1, SMALL_MAX);
		struct seen v = { 0 };
		struct stream_pos pos = { .seq = 1 };

		append(s, 1, 30);
		append(s, 1, 30);
		snprintf(path, sizeof(path), "%s",
			 in_dir("%016" PRIx64 "-%016x.seg", live(s)->id, 1));
		flip(path, 200);
		read_on(s, live(s), &pos, 1000, &v);
		ck_assert_uint_eq(v.lost, 1);
		spool_close(s);
		ck_assert_int_eq(unlink(path), 0);
	}
	ck_assert_uint_eq(count_files("*.bad", NULL), 16);
}
END_TEST

/* Nothing whole comes behind it that would show the gap. */
START_TEST(damage_at_the_end_of_a_stream_is_lost_too)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct seen v = { 0 };
	struct stream_pos pos = { .seq = 1 };
	char path[512];

	for (uint32_t i = 1; i <= 5; i++)
		append(s, i, 30);
	count_files("*.seg", path);
	flip(path, block_offset(path, 4) + 200);
	flip(path, block_offset(path, 5) + 200);
	read_on(s, live(s), &pos, 1000, &v);
	ck_assert_uint_eq(v.rows, 6);
	ck_assert_uint_eq(v.lost, 9);
	append(s, 6, 30);
	read_on(s, live(s), &pos, 1000, &v);
	ck_assert_uint_eq(v.rows, 12);
	ck_assert_uint_eq(v.lost, 9);
	ck_assert_uint_eq(v.seq[3], 6);
	spool_close(s);
}
END_TEST

/* A writer that loses its connection seeks back and reads the same blocks again. */
START_TEST(loss_is_told_once)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct seen *v = calloc(3, sizeof(*v));
	struct stream_pos pos = { .seq = 1 };
	char path[512];

	for (uint32_t i = 1; i <= 5; i++)
		append(s, i, 30);
	count_files("*.seg", path);
	flip(path, block_offset(path, 3) + 200);
	read_on(s, live(s), &pos, 1000, &v[0]);
	ck_assert_uint_eq(v[0].lost, 3);
	seek(live(s), &pos, 1);
	read_on(s, live(s), &pos, 1000, &v[1]);
	ck_assert_uint_eq(v[1].rows, 11);
	ck_assert_uint_eq(v[1].lost, 0);
	stream_committed(live(s), 5);
	seek(live(s), &pos, 1); /* the ledger itself went back: those rows are counted as
					  gone back, and lost again */
	read_on(s, live(s), &pos, 1000, &v[2]);
	ck_assert_uint_eq(v[2].lost, 3);
	free(v);
	spool_close(s);
}
END_TEST

START_TEST(block_that_is_there_twice_is_read_once)
{
	char path[512];
	size_t len, first;
	uint8_t *bytes, *longer;
	struct spool *s;

	leave_three_blocks(path);
	bytes = read_file(path, &len);
	first = block_head_of(bytes)->bytes;
	longer = malloc(2 * (len + first));
	memcpy(longer, bytes, len);
	memcpy(longer + len, bytes, first);
	memcpy(longer + len + first, bytes, len);
	memcpy(longer + 2 * len + first, bytes, first);
	write_file(path, longer, 2 * (len + first));
	for (uint32_t max_rows = 1; max_rows <= 1000; max_rows += 999) {
		struct seen v = { 0 };
		struct stream_pos pos = { .seq = 1 };

		s = open_spool(1, SMALL_MAX);
		ck_assert_uint_eq(old(s)->last_seq, 3);
		ck_assert_uint_eq(old(s)->rows, 9);
		read_on(s, old(s), &pos, max_rows, &v);
		ck_assert_uint_eq(v.rows, 9);
		ck_assert_uint_eq(v.gaps + v.lost, 0);
		spool_close(s);
	}
	free(longer);
	free(bytes);
}
END_TEST

/* ---- expiry ---- */

START_TEST(segment_goes_once_the_database_lived_on_long_enough)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct stream *st = live(s);
	uint64_t bytes, done;

	for (int i = 0; i < 6; i++)
		append_large(s);
	ck_assert_uint_eq(st->segment_count, 2);
	bytes = st->segments[0].bytes;
	stream_committed(st, st->segments[0].last_seq - 1);
	ck_assert_uint_eq(st->segments[0].done_us, 0);
	st->alive_us += 10 * KEEP_US;
	spool_tend(s, UINT64_MAX / 2);
	ck_assert_uint_eq(st->segment_count, 2);

	stream_committed(st, st->segments[0].last_seq);
	done = st->segments[0].done_us;
	ck_assert_uint_gt(done, 0);
	stream_committed(st, st->last_seq);
	ck_assert_uint_eq(st->segments[0].done_us, done); /* the first time counts */
	spool_tend(s, UINT64_MAX / 2); /* however late it is: the database has to be seen alive */
	ck_assert_uint_eq(st->segment_count, 2);
	st->alive_us = done + KEEP_US - 1;
	spool_tend(s, 0);
	ck_assert_uint_eq(st->segment_count, 2);
	ck_assert_uint_eq(count_files("*.seg", NULL), 2);
	st->alive_us = done + KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(st->segment_count, 1);
	ck_assert_uint_eq(count_files("*.seg", NULL), 1);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->bytes), st->bytes);
	ck_assert_uint_lt(st->bytes, 3 * bytes);

	st->alive_us = done + 100 * KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(st->segment_count, 1); /* the one that is appended to stays */
	append_large(s);
	ck_assert_uint_eq(rows_until(st, 1), 10 * (st->segments[0].first_seq - 1));
	spool_close(s);
}
END_TEST

START_TEST(ledger_that_goes_back_keeps_segments)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	struct stream *st = live(s);

	for (int i = 0; i < 6; i++)
		append_large(s);
	stream_committed(st, 6);
	stream_committed(st, 2);
	ck_assert_uint_eq(st->segments[0].done_us, 0);
	st->alive_us += 10 * KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(st->segment_count, 2);
	expect_read(s, st, 6, 60, 0);
	spool_close(s);
}
END_TEST

START_TEST(old_stream_goes_whole)
{
	char path[512];
	struct spool *s;

	leave_three_blocks(path);
	s = open_spool(1, SMALL_MAX);
	stream_committed(old(s), 3);
	stream_alive(old(s));
	spool_tend(s, 0);
	ck_assert_uint_eq(old(s)->segment_count, 1);
	old(s)->alive_us += KEEP_US;
	spool_tend(s, 0);
	ck_assert_uint_eq(old(s)->segment_count, 0);
	ck_assert_uint_eq(count_files("*.seg", NULL), 0);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->bytes), 0);
	expect_read(s, old(s), 0, 0, 9); /* should the ledger go back behind all that was kept */
	spool_close(s);
}
END_TEST

/* ---- no room ---- */

START_TEST(full_spool_refuses_and_takes_again_after_expiry)
{
	unsigned writers = (unsigned)_i, writer;
	struct spool *s = open_spool(writers, SMALL_MAX);
	uint64_t rows, used;

	next_row = 0;
	while (try_append(s, 10, 104000, &writer) == HT_OK)
		ck_assert(spool_is_ok(s));
	ck_assert(!spool_is_ok(s));
	ck_assert_int_eq(try_append(s, 10, 104000, &writer), HT_EFULL);
	rows = next_row;
	used = counter_get(&spool_counters(s)->bytes);
	ck_assert_uint_le(used, SMALL_MAX);
	ck_assert_uint_gt(used, SMALL_MAX - 2 * MIB);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->rows_appended), rows);
	ck_assert_int_eq(try_append(s, 1, 0, &writer), HT_OK); /* a small one still fits */
	ck_assert(spool_is_ok(s));

	for (unsigned w = 0; w < writers; w++) {
		stream_committed(spool_stream(s, w), spool_stream(s, w)->last_seq);
		spool_stream(s, w)->alive_us += KEEP_US;
	}
	spool_tend(s, 0);
	ck_assert_uint_lt(counter_get(&spool_counters(s)->bytes), SMALL_MAX - 3 * MIB);
	ck_assert_int_eq(try_append(s, 10, 104000, &writer), HT_OK);
	ck_assert(spool_is_ok(s));
	spool_close(s);
}
END_TEST

static int child_of_limited_files(void)
{
	struct rlimit room;
	struct spool *s = open_spool(1, SMALL_MAX);
	struct seen *v;
	char path[512];
	unsigned writer;
	int err = HT_OK;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &room);
	room.rlim_cur = 2500000; /* in the middle of a block */
	if (setrlimit(RLIMIT_FSIZE, &room) < 0)
		return 10;
	for (int i = 0; i < 10 && err == HT_OK; i++)
		err = try_append(s, 10, 104000, &writer);
	if (err != -EFBIG || spool_is_ok(s) || count_files("*.seg", path) != 1)
		return 11;
	if ((uint64_t)size_of(path) != live(s)->bytes ||
	    live(s)->last_seq != 2) /* no torn tail stays */
		return 12;
	if (try_append(s, 10, 104000, &writer) != HT_OK || !spool_is_ok(s) ||
	    count_files("*.seg", path) != 2) /* another file has room */
		return 13;
	room.rlim_cur = room.rlim_max;
	setrlimit(RLIMIT_FSIZE, &room);
	if (try_append(s, 10, 104000, &writer) != HT_OK || !spool_is_ok(s))
		return 14;
	v = read_all(s, live(s), 0);
	if (v->blocks != 4 || v->rows != 40 || v->lost || v->gaps)
		return 15;
	free(v);
	spool_close(s);
	s = open_spool(1, SMALL_MAX);
	if (counter_get(&spool_counters(s)->torn_bytes) || old(s)->last_seq != 4)
		return 16;
	spool_close(s);
	return 0;
}

START_TEST(short_write_leaves_nothing_behind)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(child_of_limited_files());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* ---- room ahead ---- */

static uint64_t allocated(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(next_segment_is_allocated_ahead)
{
	struct spool *s = open_spool(1, SMALL_MAX);
	char next[512], first[512];

	spool_tend(s, 0);
	ck_assert_uint_eq(count_files("*.next", next), 1);
	ck_assert_int_eq(size_of(next), 0);
	ck_assert_uint_ge(allocated(next), SMALL_MAX / 4);
	append(s, 1, 0);
	ck_assert_uint_eq(count_files("*.next", NULL), 0); /* it is the first segment now */
	ck_assert_uint_eq(count_files("*.seg", first), 1);
	ck_assert_uint_ge(allocated(first), SMALL_MAX / 4);
	spool_tend(s, 0);
	ck_assert_uint_eq(count_files("*.next", NULL), 1);
	for (int i = 0; i < 6; i++)
		append_large(s);
	ck_assert_uint_eq(count_files("*.seg", NULL), 2);
	ck_assert_uint_lt(allocated(first), (uint64_t)size_of(first) + 65536);
	ck_assert(spool_has_reserve(s));
	spool_tend(s, 0);
	ck_assert_uint_eq(count_files("*.next", NULL), 1);
	spool_close(s);
	ck_assert_uint_eq(count_files("*.next", NULL), 0);
}
END_TEST

START_TEST(reserve_of_a_killed_process_is_removed)
{
	struct spool *s;

	write_file(in_dir("%016x.next", 5), "", 0);
	write_file(in_dir("%s", "mine.next"), "", 0);
	s = open_spool(1, SMALL_MAX);
	ck_assert_uint_eq(count_files("*.next", NULL), 1);
	spool_close(s);
}
END_TEST

/* ---- the spool of another machine ---- */

START_TEST(read_only_changes_nothing)
{
	char path[512];
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s;
	off_t torn;

	leave_three_blocks(path);
	flip(path, block_offset(path, 2) + 200);
	torn = size_of(path) - 30;
	ck_assert_int_eq(truncate(path, torn), 0);
	write_file(in_dir("%016x.next", 5), "", 0);
	o.read_only = true;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	ck_assert_uint_eq(spool_stream_count(s), 1);
	ck_assert_int_eq(stream_recover(s, spool_stream(s, 0)), HT_OK);
	ck_assert_uint_eq(spool_stream(s, 0)->last_seq, 1);
	expect_read(s, spool_stream(s, 0), 1, 2, 0);
	spool_close(s);
	ck_assert_int_eq(size_of(path), torn);
	ck_assert_uint_eq(count_files("*.bad", NULL), 0);
	ck_assert_uint_eq(count_files("*.next", NULL), 1);
}
END_TEST

static TCase *case_of(const char *name)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	return t;
}

/* Sums: a block with some of them. */
static int append_sums(struct spool *s, uint32_t rows, unsigned *writer)
{
	struct delta d = { .kind = DELTA_KIND_IP, .total = 1, .name = view_of("INVITE") };
	struct block *b;
	int err;

	ck_assert_int_eq(block_new(&b, BLOCK_MAX_ROWS), HT_OK);
	for (d.at = 0; d.at < rows; d.at++)
		block_add_delta(b, &d, 1);
	block_seal(b);
	err = spool_append(s, b, writer);
	block_free(b);
	return err;
}

static struct spool *open_with_sums(unsigned writers, bool statistics)
{
	struct spool_options o = options_of(writers, SMALL_MAX);
	struct spool *s;

	o.statistics = statistics;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	return s;
}

START_TEST(sums_have_a_stream_and_a_writer_of_their_own)
{
	struct spool *s = open_with_sums(2, true);
	uint64_t id = spool_stream(s, 2)->id;
	unsigned writer;

	ck_assert(spool_has_statistics(s));
	ck_assert_uint_eq(spool_stream_count(s), 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(stream_id_is_statistics(spool_stream(s, i)->id), i == 2);
	ck_assert_int_eq(append_sums(s, 5, &writer), HT_OK);
	ck_assert_uint_eq(writer, 2);
	ck_assert_int_eq(try_append(s, 3, 0, &writer), HT_OK);
	ck_assert_uint_lt(writer, 2);
	ck_assert_uint_eq(spool_stream(s, 2)->rows, 5);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->deltas_appended), 5);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->rows_appended), 3);
	spool_close(s);

	s = open_with_sums(1, false); /* switched off: what is left keeps its writer */
	ck_assert(spool_has_statistics(s));
	ck_assert_uint_eq(spool_stream_count(s), 3);
	for (size_t i = 1; i < 3; i++) {
		struct stream *st = spool_stream(s, i);

		ck_assert_int_eq(stream_recover(s, st), HT_OK);
		ck_assert_uint_eq(st->writer, st->id == id ? 1 : 0);
		ck_assert_uint_eq(st->rows, st->id == id ? 5 : 3);
	}
	spool_close(s);
}
END_TEST

START_TEST(without_statistics_there_is_no_stream_of_sums)
{
	struct spool *s = open_with_sums(2, false);

	ck_assert(!spool_has_statistics(s));
	ck_assert_uint_eq(spool_stream_count(s), 2);
	spool_close(s);
}
END_TEST

START_TEST(sums_that_nobody_stores_take_an_eighth)
{
	struct spool *s = open_with_sums(1, true);
	unsigned writer;

	/* what was there before counts too */
	while (counter_get(&spool_counters(s)->bytes) < SMALL_MAX / 16)
		ck_assert_int_eq(append_sums(s, 1000, &writer), HT_OK);
	spool_close(s);
	s = open_with_sums(1, true);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(append_sums(s, 1000, &writer), HT_OK);
	ck_assert_uint_gt(counter_get(&spool_counters(s)->crowded_deltas), 0);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->crowded_deltas) +
				  counter_get(&spool_counters(s)->deltas_appended),
			  100000);
	ck_assert_uint_le(counter_get(&spool_counters(s)->bytes), SMALL_MAX / 8);
	ck_assert_uint_gt(counter_get(&spool_counters(s)->bytes), SMALL_MAX / 9);
	ck_assert(spool_is_ok(s));
	append_large(s); /* messages have room */
	spool_close(s);
}
END_TEST

/* ---- who can wait ---- */

START_TEST(half_of_it_is_room_for_who_can_wait)
{
	struct spool *s = open_with_sums(1, true);
	uint64_t before = 0;
	unsigned writer;

	while (spool_has_room(s, 0)) {
		before = counter_get(&spool_counters(s)->bytes);
		append_large(s);
	}
	ck_assert_uint_le(before, SMALL_MAX / 2);
	ck_assert_uint_gt(counter_get(&spool_counters(s)->bytes), SMALL_MAX / 2);
	stream_committed(live(s), live(s)->last_seq);
	live(s)->alive_us += KEEP_US;
	spool_tend(s, 0);
	before = counter_get(&spool_counters(s)->bytes);
	ck_assert(spool_has_room(s, SMALL_MAX / 2 - before));
	ck_assert(!spool_has_room(s, SMALL_MAX / 2 - before + 1));

	while (spool_has_room(s, 0))
		ck_assert_int_eq(append_sums(s, 1000, &writer), HT_OK);
	ck_assert_uint_eq(counter_get(&spool_counters(s)->crowded_deltas), 0);
	ck_assert_uint_lt(counter_get(&spool_counters(s)->bytes), before + SMALL_MAX / 8);
	spool_close(s);
}
END_TEST

START_TEST(segments_can_be_kept_for_less)
{
	struct spool_options o = options_of(1, SMALL_MAX);
	struct spool *s;

	o.in_memory = true;
	o.keep_s = 2;
	ck_assert_int_eq(spool_open(&s, &o), HT_OK);
	ck_assert(spool_is_in_memory(s));
	for (int i = 0; i < 6; i++)
		append_large(s);
	stream_committed(live(s), live(s)->last_seq);
	live(s)->alive_us = live(s)->segments[0].done_us + 2000000 - 1;
	spool_tend(s, 0);
	ck_assert_uint_eq(live(s)->segment_count, 2);
	live(s)->alive_us++;
	spool_tend(s, 0);
	ck_assert_uint_eq(live(s)->segment_count, 1);
	spool_close(s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spool");
	TCase *flow = case_of("flow"), *start = case_of("start"), *damage = case_of("damage"),
	      *room = case_of("room");
	SRunner *runner;
	int failed;

	tcase_add_test(flow, what_is_appended_is_read_back);
	tcase_add_test(flow, reading_goes_on_where_appending_goes_on);
	tcase_add_test(flow, seek_goes_behind_a_block);
	tcase_add_test(flow, read_stops_once_there_are_rows_enough);
	tcase_add_test(flow, segments_follow_one_another);
	tcase_add_test(flow, blocks_go_to_the_stream_that_is_least_behind);
	tcase_add_test(flow, only_writers_in_use_get_blocks);
	tcase_add_test(flow, rows_are_counted_up_to_a_block);
	tcase_add_test(flow, spool_in_memory_has_no_files);
	tcase_add_test(flow, spool_with_sync_writes_the_same);
	tcase_add_test(start, directory_is_made);
	tcase_add_test(start, second_open_is_refused);
	tcase_add_test(start, streams_of_earlier_starts_are_found);
	tcase_add_test(start, stream_keeps_the_node_that_wrote_it);
	tcase_add_test(start, foreign_files_are_left_alone);
	tcase_add_test(start, too_many_streams_wait_for_the_next_start);
	tcase_add_test(start, torn_tail_of_any_length_is_cut);
	tcase_add_test(start, garbage_behind_the_last_block_is_cut);
	tcase_add_test(start, tail_that_no_append_left_is_kept);
	tcase_add_test(start, stream_without_one_whole_block_is_removed);
	tcase_add_test(start, empty_last_segment_tells_what_came_before);
	tcase_add_loop_test(damage, damaged_block_of_a_live_stream_costs_only_itself, 0, PLACES);
	tcase_add_loop_test(damage, damaged_block_of_an_old_stream_costs_only_itself, 0, PLACES);
	tcase_add_test(damage, length_that_leads_over_a_block_does_not_lose_it);
	tcase_add_loop_test(damage, damage_in_an_earlier_segment_costs_only_that_block, 0, PLACES);
	tcase_add_loop_test(damage, destroyed_segment_costs_only_its_rows, 0, 3);
	tcase_add_test(damage, missing_segment_costs_only_its_rows);
	tcase_add_test(damage, earlier_segments_are_not_read_at_the_start);
	tcase_add_test(damage, damaged_segments_that_are_kept_are_not_without_bound);
	tcase_add_test(damage, damage_at_the_end_of_a_stream_is_lost_too);
	tcase_add_test(damage, loss_is_told_once);
	tcase_add_test(damage, block_that_is_there_twice_is_read_once);
	tcase_add_test(room, segment_goes_once_the_database_lived_on_long_enough);
	tcase_add_test(room, ledger_that_goes_back_keeps_segments);
	tcase_add_test(room, old_stream_goes_whole);
	tcase_add_loop_test(room, full_spool_refuses_and_takes_again_after_expiry, 1, 4);
	tcase_add_test(room, short_write_leaves_nothing_behind);
	tcase_add_test(room, next_segment_is_allocated_ahead);
	tcase_add_test(room, reserve_of_a_killed_process_is_removed);
	tcase_add_test(start, read_only_changes_nothing);
	tcase_add_test(start, sums_have_a_stream_and_a_writer_of_their_own);
	tcase_add_test(start, without_statistics_there_is_no_stream_of_sums);
	tcase_add_test(room, sums_that_nobody_stores_take_an_eighth);
	tcase_add_test(room, half_of_it_is_room_for_who_can_wait);
	tcase_add_test(room, segments_can_be_kept_for_less);
	suite_add_tcase(s, flow);
	suite_add_tcase(s, start);
	suite_add_tcase(s, damage);
	suite_add_tcase(s, room);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
