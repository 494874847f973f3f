/*
 * Damaged segment files: the spool opens, reading comes to an end, no block is read twice, and what
 * is read and what is lost is no more than there was. The input is a program: some good blocks, in
 * one or more files of a stream, and then what happens to the files.
 */
#undef _FORTIFY_SOURCE /* it would make syslog() a macro of its own */
#include <assert.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/log.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "tests/unit/make_block.h"

#define STREAM	     0x5eULL
#define OTHER_STREAM 0x5fULL
#define FILES	     3
#define FILE_MOST    65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The log goes nowhere: each damage is told, and there is much of it. */
void __syslog_chk(int priority, int flag, const char *format, ...);

void openlog(const char *ident, int options, int facility)
{
	(void)ident;
	(void)options;
	(void)facility;
}

void syslog(int priority, const char *format, ...)
{
	(void)priority;
	(void)format;
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
	(void)priority;
	(void)flag;
	(void)format;
}

/* ---- input ---- */

struct input {
	const uint8_t *at;
	size_t left;
};

static unsigned next(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static size_t next_below(struct input *in, size_t below)
{
	size_t n = next(in) | next(in) << 8;

	return below ? n % below : 0;
}

/* ---- files ---- */

struct file {
	uint64_t first_seq;
	size_t len;
	uint8_t bytes[FILE_MOST];
};

static struct file files[FILES];
static char dir[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_dir(void)
{
	nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (!dir[0])
		snprintf(dir, sizeof(dir), "%.40s/segment-%d",
			 tmp				 ? tmp
			 : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
							 : "/tmp",
			 getpid());
	remove_dir();
	if (mkdir(dir, 0700) < 0)
		abort();
}

static void file_write(const struct file *f)
{
	char path[128];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%016llx-%016llx.seg", dir, STREAM,
		 (unsigned long long)f->first_seq);
	out = fopen(path, "we");
	if (!out || fwrite(f->bytes, 1, f->len, out) != f->len)
		abort();
	fclose(out);
}

/* ---- blocks, and what happens to them ---- */

/* Good blocks, one seq after the other; how many rows they have. */
static uint64_t files_make(struct input *in)
{
	unsigned blocks = 1 + next(in) % 12;
	uint64_t rows = 0, seq = 1;
	size_t f = 0;

	memset(files, 0, sizeof(files));
	files[0].first_seq = 1;
	for (; seq <= blocks; seq++) {
		unsigned how = next(in);
		struct block *b = make_block(rows, how % 4, how & 16 ? 200 : 0);
		uint32_t len = block_head_of(b->bytes)->bytes;

		block_stamp(b, 1, how & 64 ? OTHER_STREAM : STREAM, seq, rows);
		if ((how & 128) && f + 1 < FILES)
			files[++f].first_seq = seq;
		assert(files[f].len + len <= FILE_MOST);
		memcpy(files[f].bytes + files[f].len, b->bytes, len);
		files[f].len += len;
		rows += how % 4;
		block_free(b);
	}
	return rows;
}

/* Where a block begins; 0 if there is none behind @p want. */
static size_t block_at(const struct file *f, unsigned want)
{
	size_t at = 0;

	while (want-- && at + sizeof(struct block_head) <= f->len) {
		const struct block_head *h = block_head_of(f->bytes + at);

		if (h->bytes == 0 || h->bytes % 8 || h->bytes > f->len - at)
			return 0;
		at += h->bytes;
	}
	return at + sizeof(struct block_head) <= f->len ? at : 0;
}

static void insert(struct file *f, size_t at, const uint8_t *bytes, size_t len)
{
	if (f->len + len > FILE_MOST)
		return;
	memmove(f->bytes + at + len, f->bytes + at, f->len - at);
	memcpy(f->bytes + at, bytes, len);
	f->len += len;
}

/* Another place in the stream for a block, with a hash that fits. */
static void restamp(struct file *f, struct input *in)
{
	size_t at = block_at(f, next(in) % 8);
	struct block_head *h = (struct block_head *)(void *)(f->bytes + at);
	struct block b = { .bytes = f->bytes + at };
	unsigned how = next(in);
	uint64_t seq = next(in), rows_before = next(in);

	if (at + sizeof(*h) > f->len || h->bytes < sizeof(*h) || h->bytes > f->len - at)
		return;
	if (how & 1)
		seq = INT64_MAX - seq;
	if (how & 2)
		rows_before = INT64_MAX - rows_before;
	block_stamp(&b, 1, how & 4 ? OTHER_STREAM : STREAM, seq, rows_before);
}

/* One thing that happens. @return false if afterwards blocks may say anything with a hash that
 * fits. */
static bool mutate(struct input *in)
{
	static uint8_t copy[FILE_MOST];
	struct file *f = &files[next(in) % FILES], *g = &files[next(in) % FILES];
	size_t at = next_below(in, f->len + 1), len;

	switch (next(in) % 9) {
	case 0: /* an octet is another */
		if (at < f->len)
			f->bytes[at] ^= (uint8_t)next(in);
		break;
	case 1: /* in a head */
		at = block_at(f, next(in) % 12) + next(in) % sizeof(struct block_head);
		if (at < f->len)
			f->bytes[at] ^= (uint8_t)next(in);
		break;
	case 2: /* the end is gone */
		f->len = at;
		break;
	case 3: /* zeros, as after a power failure */
		len = next_below(in, f->len - at + 1);
		memset(f->bytes + at, 0, len);
		break;
	case 4: /* something comes between */
		len = next(in) % 64;
		memset(copy, (int)next(in), len);
		insert(f, at, copy, len);
		break;
	case 5: /* a block is there twice */
		at = block_at(g, next(in) % 12);
		len = at + sizeof(struct block_head) <= g->len ? block_head_of(g->bytes + at)->bytes
							       : 0;
		if (len == 0 || len > g->len - at)
			break;
		memcpy(copy, g->bytes + at, len);
		insert(f, block_at(f, next(in) % 12), copy, len);
		break;
	case 6: /* a piece is missing */
		len = next_below(in, f->len - at + 1);
		memmove(f->bytes + at, f->bytes + at + len, f->len - at - len);
		f->len -= len;
		break;
	case 7: /* a file has another one's octets */
		memcpy(f->bytes, g->bytes, g->len);
		f->len = g->len;
		break;
	default:
		restamp(f, in);
		return false;
	}
	return true;
}

/* ---- reading ---- */

struct seen {
	uint64_t rows, lost, last_seq, last_row;
	bool is_honest;
};

static void see_block(struct seen *v, const uint8_t *at)
{
	const struct block_head *h = block_head_of(at);

	assert(h->seq > v->last_seq);
	v->last_seq = h->seq;
	for (uint32_t i = 0; i < h->rows; i++) {
		uint64_t n = made_row_number(h, block_row(at, i)) + 1;

		assert(!v->is_honest || n > v->last_row);
		v->last_row = n;
		v->rows++;
	}
}

static struct seen read_behind(struct spool *s, struct stream *st, uint64_t seq, uint32_t max_rows,
			       bool is_honest)
{
	static uint64_t buf[BLOCK_MAX_BYTES / 8];
	struct seen v = { .last_seq = seq, .is_honest = is_honest };
	struct stream_pos pos = { 0 };
	size_t len, used;

	if (stream_seek(st, &pos, seq) < 0)
		abort();
	do {
		if (stream_read(s, st, &pos, buf, sizeof(buf), max_rows, &len, &v.lost) < 0)
			abort();
		assert(len <= sizeof(buf));
		for (used = 0; used < len; used += block_head_of((uint8_t *)buf + used)->bytes) {
			assert(block_check((uint8_t *)buf + used, len - used) == HT_OK);
			see_block(&v, (uint8_t *)buf + used);
			stream_advance(&pos, block_head_of((uint8_t *)buf + used));
		}
		assert(used == len);
	} while (len);
	assert(!stream_has_more(st, &pos));
	return v;
}

static void check_stream(struct spool *s, struct stream *st, struct input *in, uint64_t rows,
			 bool is_honest)
{
	struct seen v = read_behind(s, st, 0, 1000, is_honest), again;
	uint64_t seq = next(in) % 14;

	/* The count of rows in the head of a last block is only believed, and may be one too many.
	 */
	assert(!is_honest || v.rows + v.lost <= rows + 1);
	again = read_behind(s, st, 0, 1, is_honest);
	assert(again.rows == v.rows && again.last_seq == v.last_seq);
	again = read_behind(s, st, seq, 2, is_honest);
	assert(!is_honest || again.rows <= v.rows);
}

static void open_and_check(struct input *in, uint64_t rows, bool is_honest)
{
	struct spool_options o = { .dir = dir,
				   .max_bytes = 1 << 24,
				   .node_id = 1,
				   .writers = 1,
				   .owner_uid = -1,
				   .owner_gid = -1 };
	struct spool *s;

	if (spool_open(&s, &o) < 0)
		abort();
	assert(spool_stream_count(s) <= 2);
	if (spool_stream_count(s) == 2 && stream_recover(s, spool_stream(s, 1)) < 0)
		abort();
	if (spool_stream_count(s) == 2)
		check_stream(s, spool_stream(s, 1), in, rows, is_honest);
	spool_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	bool is_honest = true;
	uint64_t rows;

	log_open(LOG_LEVEL_ERROR, LOG_TARGET_SYSLOG);
	make_dir();
	rows = files_make(&in);
	for (unsigned i = 0; i < 20 && in.left > 8; i++)
		is_honest &= mutate(&in);
	for (int i = 0; i < FILES; i++)
		if (files[i].first_seq)
			file_write(&files[i]);
	open_and_check(&in, rows, is_honest);
	open_and_check(&in, rows, is_honest); /* after what the first start cut */
	remove_dir();
	return 0;
}
