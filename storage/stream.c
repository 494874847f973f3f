/* Reading a stream back: positions, whole blocks, and what to do where a segment is damaged. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/block.h"
#include "storage/segment.h"
#include "storage/spool.h"

#define BAD_MOST 16 /* damaged segments are kept; the disk is not theirs */

#define UNREADABLE 4096 /* octets that a disk does not give back, at least */

static _Thread_local bool pass_unreadable;

void stream_pass_unreadable(bool on)
{
	pass_unreadable = on;
}

/* As much as can be read, which is less than @p len only in front of a place that cannot be; -errno
 * if that is nothing. */
static ssize_t read_some(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0, gap;
	ssize_t n;

	while (done < len) {
		n = pread(fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && !pass_unreadable)
			return done ? (ssize_t)done : n < 0 ? -errno : -EIO;
		if (n <= 0) {
			gap = UNREADABLE - (offset + done) % UNREADABLE;
			n = (ssize_t)(gap < len - done ? gap : len - done);
			memset((uint8_t *)buf + done, 0, (size_t)n);
		}
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = read_some(fd, buf, len, offset);

	return n < 0 ? (int)n : (size_t)n < len ? -EIO : HT_OK;
}

int segment_block_at(int fd, uint64_t offset, uint64_t end, bool in_full, void *buf,
		     struct block_head *head)
{
	int64_t total;
	int err;

	if (end - offset < sizeof(*head))
		return HT_ETORN;
	err = read_at(fd, buf, sizeof(*head), offset);
	if (err < 0)
		return err;
	memcpy(head, buf, sizeof(*head));
	total = block_head_check(head, sizeof(*head));
	if (total < 0)
		return (int)total;
	if ((uint64_t)total > end - offset)
		return HT_ETORN;
	if (!in_full)
		return HT_OK;
	err = read_at(fd, buf, (size_t)total, offset);
	return err < 0 ? err : block_check(buf, (size_t)total);
}

int segment_resync(int fd, uint64_t stream, uint64_t *offset, uint64_t end, void *buf,
		   struct block_head *head)
{
	uint64_t window[512], at = *offset + 8, magic = BLOCK_MAGIC;
	size_t want;
	int err;

	while (at + sizeof(*head) <= end) {
		want = end - at < sizeof(window) ? end - at : sizeof(window);
		err = read_at(fd, window, want & ~7UL, at);
		if (err < 0)
			return err;
		for (size_t i = 0; i < want / 8; i++) {
			if (window[i] != magic)
				continue;
			err = segment_block_at(fd, at + 8 * i, end, true, buf, head);
			if (err == HT_EBADBLOCK || err == HT_ETORN ||
			    (err == HT_OK && head->stream != stream))
				continue;
			*offset = at + 8 * i;
			return err;
		}
		at += want & ~7UL;
	}
	return HT_EBADBLOCK;
}

/* The segment that holds @p seq, else the first behind it; NULL if there is none. Inside the
 * stream's lock. */
static const struct segment *segment_from(const struct stream *st, uint64_t seq)
{
	for (size_t i = 0; i < st->segment_count; i++)
		if (st->segments[i].last_seq >= seq && st->segments[i].bytes)
			return &st->segments[i];
	return NULL;
}

/* A copy: the list may move while bytes are read. */
static bool segment_find(struct stream *st, uint64_t seq, struct segment *out)
{
	const struct segment *seg;

	pthread_mutex_lock(&st->lock);
	seg = segment_from(st, seq);
	if (seg)
		*out = *seg;
	pthread_mutex_unlock(&st->lock);
	return seg != NULL;
}

/* Walk heads from the segment's start to the first block from @p seq on. They are believed, so a
 * damaged one may lead astray. */
static int offset_find(const struct segment *seg, uint64_t seq, uint64_t *offset,
		       struct block_head *h)
{
	struct block_head buf;
	int err;

	for (*offset = 0; *offset < seg->bytes; *offset += h->bytes) {
		err = segment_block_at(seg->fd, *offset, seg->bytes, false, &buf, h);
		if (err < 0 || h->seq >= seq)
			return err;
	}
	return HT_EBADBLOCK;
}

/* From @p offset on, the first whole block from @p seq on; each block on the way is read in full.
 * HT_EBADBLOCK if there is none. */
static int whole_block_find(const struct stream *st, const struct segment *seg, uint64_t seq,
			    uint64_t *offset, void *buf, struct block_head *h)
{
	int err;

	for (; *offset < seg->bytes; *offset += h->bytes) {
		err = segment_block_at(seg->fd, *offset, seg->bytes, true, buf, h);
		if (err == HT_EBADBLOCK || err == HT_ETORN || (err == HT_OK && h->stream != st->id))
			err = segment_resync(seg->fd, st->id, offset, seg->bytes, buf, h);
		if (err < 0 || h->seq >= seq)
			return err;
	}
	return HT_EBADBLOCK;
}

/* The quick way if it leads to @p seq itself and that is whole, else the sure one. */
static int block_find(const struct stream *st, const struct segment *seg, uint64_t seq,
		      uint64_t *offset, void *buf, struct block_head *h)
{
	int err = offset_find(seg, seq, offset, h);

	if (err == HT_OK && h->seq == seq)
		err = segment_block_at(seg->fd, *offset, seg->bytes, true, buf, h);
	if (err == HT_OK && h->seq == seq && h->stream == st->id)
		return HT_OK;
	if (err < 0 && err != HT_EBADBLOCK && err != HT_ETORN)
		return err;
	*offset = 0;
	return whole_block_find(st, seg, seq, offset, buf, h);
}

/* How many rows lie in the blocks up to and including @p seq. */
static int rows_until(struct stream *st, uint64_t seq, uint64_t *rows)
{
	void *buf = aligned_alloc(8, BLOCK_MAX_BYTES);
	uint64_t offset, from = seq;
	struct segment seg;
	struct block_head h;
	int err = HT_EBADBLOCK;

	*rows = 0;
	if (!buf)
		return -ENOMEM;
	while (seq && err == HT_EBADBLOCK && segment_find(st, from, &seg)) {
		err = block_find(st, &seg, from, &offset, buf, &h);
		from = seg.last_seq + 1; /* where it has nothing whole, the next one has */
	}
	free(buf);
	if (seq == 0)
		return HT_OK;
	if (err == HT_OK)
		*rows = h.seq == seq ? h.rows_before + h.rows : h.rows_before;
	if (err != HT_EBADBLOCK)
		return err;
	pthread_mutex_lock(&st->lock);
	*rows = st->rows;
	pthread_mutex_unlock(&st->lock);
	return HT_OK;
}

int stream_seek(struct stream *st, struct stream_pos *pos, uint64_t seq)
{
	uint64_t told = seq < st->committed ? 0 : pos->told; /* what went back is told again */
	uint64_t rows;
	int err = rows_until(st, seq, &rows);

	if (err < 0)
		return err;
	*pos = (struct stream_pos){ .seq = seq + 1, .rows = rows, .told = told };
	return HT_OK;
}

void stream_advance(struct stream_pos *pos, const struct block_head *h)
{
	pos->seq = h->seq + 1;
	pos->rows = h->rows_before + h->rows;
	pos->offset += h->bytes;
}

uint64_t stream_oldest(struct stream *st)
{
	uint64_t seq;

	pthread_mutex_lock(&st->lock);
	seq = st->segment_count ? st->segments[0].first_seq : 0;
	pthread_mutex_unlock(&st->lock);
	return seq;
}

bool stream_has_more(struct stream *st, const struct stream_pos *pos)
{
	bool has_more;

	pthread_mutex_lock(&st->lock);
	has_more = pos->seq <= st->last_seq || !st->is_recovered;
	pthread_mutex_unlock(&st->lock);
	return has_more;
}

/* Damaged segments that are kept already. */
static int bad_count(int dir)
{
	int count = 0, fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		count += strlen(e->d_name) > 4 &&
			 strcmp(e->d_name + strlen(e->d_name) - 4, ".bad") == 0;
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return count;
}

void segment_set_aside(struct spool *s, const struct stream *st, const struct segment *seg,
		       uint64_t offset, uint64_t seq)
{
	char name[SEGMENT_NAME_BYTES], bad[SEGMENT_NAME_BYTES + 8];

	segment_name(name, st->id, seg->first_seq);
	snprintf(bad, sizeof(bad), "%s.bad", name);
	log_error("spool: %s: block %" PRIu64 " at or before octet %" PRIu64 " is damaged", name,
		  seq, offset);
	if (spool_dir(s) < 0 || spool_is_read_only(s) || faccessat(spool_dir(s), bad, F_OK, 0) == 0)
		return;
	if (bad_count(spool_dir(s)) >= BAD_MOST)
		log_warning("spool: %s is not kept: there are %d damaged segments already", name,
			    BAD_MOST);
	else if (linkat(spool_dir(s), name, spool_dir(s), bad, 0) < 0)
		log_warning("spool: %s: cannot be kept as %s: %s", name, bad, ht_strerror(-errno));
	else
		log_info("spool: %s is kept as %s", name, bad);
}

/* Whole blocks at the front of @p len octets: how many octets they have. HT_EBADBLOCK if the first
 * is damaged. */
static int64_t whole_blocks(const uint8_t *buf, size_t len, uint64_t stream, uint64_t seq,
			    uint32_t max_rows)
{
	size_t used = 0;
	uint32_t rows = 0;
	const struct block_head *h;

	while (used + sizeof(*h) <= len && (used == 0 || rows < max_rows)) {
		h = block_head_of(buf + used);
		if (block_check(buf + used, len - used) < 0 || h->stream != stream ||
		    (used && h->seq != seq) || h->seq < seq)
			break;
		rows += h->rows;
		used += h->bytes;
		seq = h->seq + 1;
	}
	return used ? (int64_t)used : HT_EBADBLOCK;
}

/* Go to the block at or behind pos->seq in a segment; past the segment if it has none. */
static int segment_enter(struct spool *s, struct stream *st, struct stream_pos *pos,
			 const struct segment *seg, void *buf)
{
	struct block_head h;
	int err = block_find(st, seg, pos->seq, &pos->offset, buf, &h);

	if (err < 0 && err != HT_EBADBLOCK)
		return err;
	if (pos->seq >= seg->first_seq && (err < 0 || h.seq > pos->seq))
		segment_set_aside(s, st, seg, pos->offset, pos->seq);
	pos->first_seq = seg->first_seq;
	if (err == HT_EBADBLOCK)
		pos->seq = seg->last_seq + 1;
	return HT_OK;
}

/* Read at a position inside a segment; HT_EBADBLOCK if there is no whole block. */
static int segment_read(const struct segment *seg, struct stream *st, const struct stream_pos *pos,
			void *buf, size_t buf_len, uint32_t max_rows, size_t *len)
{
	size_t want = seg->bytes - pos->offset < buf_len ? seg->bytes - pos->offset : buf_len;
	ssize_t got = read_some(seg->fd, buf, want, pos->offset);
	int64_t whole;

	if (got < 0)
		return (int)got;
	whole = whole_blocks(buf, (size_t)got, st->id, pos->seq, max_rows);
	if (whole < 0)
		return (size_t)got < want ? -EIO : (int)whole;
	*len = (size_t)whole;
	return HT_OK;
}

/* Behind a damaged place: to the segment's next whole block, or past the segment. */
static int segment_skip_damage(struct spool *s, struct stream *st, struct stream_pos *pos,
			       const struct segment *seg, void *buf)
{
	struct block_head h;
	int err;

	segment_set_aside(s, st, seg, pos->offset, pos->seq);
	err = whole_block_find(st, seg, pos->seq, &pos->offset, buf, &h);
	if (err < 0 && err != HT_EBADBLOCK)
		return err;
	pos->seq = err == HT_OK ? h.seq : seg->last_seq + 1;
	return HT_OK;
}

/* A position has come to @p rows; those between that were not read are lost, and told once, however
 * often they are passed. */
static void rows_passed(struct stream_pos *pos, uint64_t rows, uint64_t *lost)
{
	uint64_t from = pos->told > pos->rows ? pos->told : pos->rows;

	if (rows > from)
		*lost += rows - from;
	if (rows > pos->told)
		pos->told = rows;
	pos->rows = rows;
}

/* Nothing whole is left: what lay between here and the end of the stream is lost too. */
static void stream_ended(struct stream *st, struct stream_pos *pos, uint64_t *lost)
{
	pthread_mutex_lock(&st->lock);
	if (!segment_from(st, pos->seq)) { /* nor was anything appended meanwhile */
		if (pos->rows < st->rows)
			rows_passed(pos, st->rows, lost);
		if (pos->seq <= st->last_seq)
			pos->seq = st->last_seq + 1;
	}
	pthread_mutex_unlock(&st->lock);
}

int stream_read(struct spool *s, struct stream *st, struct stream_pos *pos, void *buf,
		size_t buf_len, uint32_t max_rows, size_t *len, uint64_t *lost)
{
	struct segment seg;
	int err = HT_OK;

	*len = 0;
	while (*len == 0 && err == HT_OK && segment_find(st, pos->seq, &seg)) {
		if (pos->first_seq != seg.first_seq) {
			err = segment_enter(s, st, pos, &seg, buf);
			continue;
		}
		err = segment_read(&seg, st, pos, buf, buf_len, max_rows, len);
		if (err == HT_EBADBLOCK)
			err = segment_skip_damage(s, st, pos, &seg, buf);
	}
	if (err < 0)
		return err;
	if (*len)
		rows_passed(pos, block_head_of(buf)->rows_before, lost);
	else
		stream_ended(st, pos, lost);
	return HT_OK;
}

void stream_committed(struct stream *st, uint64_t seq)
{
	uint64_t now_us = clock_mono_us();

	pthread_mutex_lock(&st->lock);
	st->committed = seq;
	st->alive_us = now_us;
	for (size_t i = 0; i < st->segment_count; i++) {
		struct segment *seg = &st->segments[i];

		if (seg->last_seq > seq)
			seg->done_us = 0;
		else if (!seg->done_us)
			seg->done_us = now_us;
	}
	pthread_mutex_unlock(&st->lock);
}

void stream_alive(struct stream *st)
{
	pthread_mutex_lock(&st->lock);
	st->alive_us = clock_mono_us();
	pthread_mutex_unlock(&st->lock);
}
