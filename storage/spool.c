/* Segment files: open and recover, append, expire. Reading is in stream.c. */
#include "storage/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "storage/block.h"
#include "storage/segment.h"

#define SYNC_US		   200000
#define SUMS_SEGMENT_BYTES (1U << 20) /* they are few */
#define SUMS_PART	   8	      /* of the spool, at most */

struct spool {
	struct spool_options options;
	int dir_fd;
	int lock_fd;
	struct stream *streams[SPOOL_MAX_STREAMS];
	size_t stream_count;
	uint64_t synced_us;
	bool sync_due;
	bool sums_are_lost; /* told */
	_Atomic bool is_ok, has_reserve;
	_Atomic unsigned used_writers; /* ht-admin says; streams that are appended to */
	struct spool_counters counters;
};

size_t spool_stream_count(const struct spool *s)
{
	return s->stream_count;
}

struct stream *spool_stream(struct spool *s, size_t i)
{
	return s->streams[i];
}

const struct spool_counters *spool_counters(const struct spool *s)
{
	return &s->counters;
}

bool spool_has_reserve(const struct spool *s)
{
	return atomic_load_explicit(&s->has_reserve, memory_order_relaxed);
}

bool spool_has_statistics(const struct spool *s)
{
	for (size_t i = 0; i < s->stream_count; i++)
		if (stream_id_is_statistics(s->streams[i]->id))
			return true;
	return false;
}

void spool_use_writers(struct spool *s, unsigned count)
{
	if (count > s->options.writers)
		count = s->options.writers;
	atomic_store_explicit(&s->used_writers, count ? count : 1, memory_order_relaxed);
}

bool spool_is_ok(const struct spool *s)
{
	return atomic_load_explicit(&s->is_ok, memory_order_relaxed);
}

/* ---- streams and segments ---- */

static struct stream *stream_new(uint64_t id, uint32_t node_id, bool is_live)
{
	struct stream *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->id = id;
	st->node_id = node_id;
	st->is_live = st->is_recovered = is_live;
	st->next_fd = -1;
	pthread_mutex_init(&st->lock, NULL);
	return st;
}

static void stream_free(struct stream *st)
{
	for (size_t i = 0; i < st->segment_count; i++)
		close(st->segments[i].fd);
	if (st->next_fd >= 0)
		close(st->next_fd);
	free(st->segments);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

/* Inside the stream's lock, or before there are threads. */
static struct segment *stream_add_segment(struct stream *st, uint64_t first_seq, int fd)
{
	struct segment *grown;

	if (st->segment_count == st->segment_room) {
		size_t room = st->segment_room ? 2 * st->segment_room : 16;

		grown = realloc(st->segments, room * sizeof(*grown));
		if (!grown)
			return NULL;
		st->segments = grown;
		st->segment_room = room;
	}
	st->segments[st->segment_count] =
		(struct segment){ .first_seq = first_seq, .last_seq = first_seq - 1, .fd = fd };
	return &st->segments[st->segment_count++];
}

void segment_name(char out[SEGMENT_NAME_BYTES], uint64_t stream, uint64_t first_seq)
{
	snprintf(out, SEGMENT_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".seg", stream, first_seq);
}

/* Of a stream's next segment, while it waits. */
static void next_name(char out[SEGMENT_NAME_BYTES], uint64_t stream)
{
	snprintf(out, SEGMENT_NAME_BYTES, "%016" PRIx64 ".next", stream);
}

static bool is_next_name(const char *name)
{
	return strlen(name) == 16 + 5 && strspn(name, "0123456789abcdef") == 16 &&
	       strcmp(name + 16, ".next") == 0;
}

static bool segment_name_read(const char *name, uint64_t *stream, uint64_t *first_seq)
{
	char again[SEGMENT_NAME_BYTES];

	if (strlen(name) != SEGMENT_NAME_BYTES - 1 ||
	    sscanf(name, "%16" SCNx64 "-%16" SCNx64 ".seg", stream, first_seq) != 2 ||
	    *first_seq == 0)
		return false;
	segment_name(again, *stream, *first_seq);
	return strcmp(name, again) == 0;
}

/* ---- what is removed ---- */

void spool_shrink(struct spool *s, struct stream *st, uint64_t bytes)
{
	st->bytes -= bytes;
	atomic_fetch_sub(&s->counters.bytes, bytes);
}

int segment_cut(struct spool *s, const struct segment *seg, uint64_t whole)
{
	int err;

	atomic_fetch_add(&s->counters.torn_bytes, seg->bytes - whole);
	if (s->options.read_only || ftruncate(seg->fd, (off_t)whole) == 0)
		return HT_OK;
	err = -errno;
	log_warning("spool: %s: a torn tail cannot be cut: %s", s->options.dir, ht_strerror(err));
	return err;
}

/* @return HT_OK if its name is gone. */
static int segment_unlink(struct spool *s, const struct stream *st, const struct segment *seg)
{
	static struct log_limit limit;
	char name[SEGMENT_NAME_BYTES];
	int err;

	segment_name(name, st->id, seg->first_seq);
	if (s->dir_fd < 0 || s->options.read_only || unlinkat(s->dir_fd, name, 0) == 0 ||
	    errno == ENOENT)
		return HT_OK;
	err = -errno;
	log_limited(&limit, LOG_LEVEL_WARNING, "spool: %s/%s: cannot be removed: %s",
		    s->options.dir, name, ht_strerror(err));
	return err;
}

void stream_drop(struct spool *s, struct stream *st)
{
	pthread_mutex_lock(&st->lock);
	while (st->segment_count) {
		const struct segment *seg = &st->segments[--st->segment_count];

		spool_shrink(s, st, seg->bytes + seg->kept_bytes);
		(void)segment_unlink(s, st, seg); /* the next start does */
		close(seg->fd);
	}
	pthread_mutex_unlock(&st->lock);
}

/* ---- what earlier starts left ---- */

static struct stream *spool_find(struct spool *s, uint64_t id)
{
	for (size_t i = 0; i < s->stream_count; i++)
		if (s->streams[i]->id == id)
			return s->streams[i];
	return NULL;
}

static int spool_add_stream(struct spool *s, uint64_t id, bool is_live, unsigned writer)
{
	struct stream *st;

	if (s->stream_count == SPOOL_MAX_STREAMS) {
		log_error("spool: %s: more than %d streams; the rest waits for the next start",
			  s->options.dir, SPOOL_MAX_STREAMS);
		return HT_EFULL;
	}
	st = stream_new(id, s->options.node_id, is_live);
	if (!st)
		return -ENOMEM;
	st->writer = writer;
	s->streams[s->stream_count++] = st;
	return HT_OK;
}

/* Of the segment that was just added: all of it, until somebody looks; and of the one before it:
 * all that its name and the next one's promise. */
static void stream_believe(struct spool *s, struct stream *st, uint64_t bytes)
{
	struct segment *seg = &st->segments[st->segment_count - 1];

	seg->bytes = bytes;
	st->bytes += bytes;
	atomic_fetch_add(&s->counters.bytes, bytes);
	if (st->segment_count == 1)
		st->committed = seg->first_seq - 1;
	else
		seg[-1].last_seq = seg->first_seq - 1;
}

static unsigned writer_of_old(const struct spool *s, uint64_t id)
{
	if (stream_id_is_statistics(id))
		return spool_statistics_writer(&s->options);
	return (unsigned)(s->stream_count % s->options.writers);
}

/* One file name of the directory, in order of stream and seq. */
static int spool_recover_file(struct spool *s, const char *name)
{
	uint64_t id, first_seq;
	struct stream *st;
	struct stat stat;
	int fd, err;

	if (is_next_name(name) && !s->options.read_only)
		(void)unlinkat(s->dir_fd, name, 0);
	if (!segment_name_read(name, &id, &first_seq))
		return HT_OK;
	if (fstatat(s->dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(stat.st_mode)) {
		log_warning("spool: %s/%s: not a file; left alone", s->options.dir, name);
		return HT_OK;
	}
	if (!spool_find(s, id)) {
		err = spool_add_stream(s, id, false, writer_of_old(s, id));
		if (err < 0)
			return err == HT_EFULL ? HT_OK : err;
	}
	st = spool_find(s, id);
	fd = openat(s->dir_fd, name, (s->options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		log_error("spool: %s/%s: %s", s->options.dir, name, ht_strerror(err));
		return err;
	}
	if (fstat(fd, &stat) < 0 || !stream_add_segment(st, first_seq, fd)) {
		close(fd);
		return -ENOMEM;
	}
	stream_believe(s, st, (uint64_t)stat.st_size);
	return HT_OK;
}

static int spool_recover(struct spool *s)
{
	struct dirent **names = NULL;
	int count = scandirat(s->dir_fd, ".", &names, NULL, alphasort);
	int err = count < 0 ? -errno : HT_OK;

	for (int i = 0; i < count; i++) {
		if (err == HT_OK)
			err = spool_recover_file(s, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return err;
}

static void reserve_drop(struct spool *s, struct stream *st)
{
	char name[SEGMENT_NAME_BYTES];

	if (st->next_fd < 0)
		return;
	next_name(name, st->id);
	(void)unlinkat(s->dir_fd, name, 0);
	close(st->next_fd);
	st->next_fd = -1;
}

/* Allocate the next segment of a stream; its size stays 0. A file system that cannot do that takes
 * the room when it comes to it. */
/* ---- open and close ---- */

/* Of a machine that is gone, perhaps on a medium that cannot be written. */
static int spool_open_dir_read_only(struct spool *s)
{
	const char *dir = s->options.dir;

	s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return -errno;
	s->lock_fd = openat(s->dir_fd, "lock", O_RDONLY | O_CLOEXEC);
	return s->lock_fd >= 0 && flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : HT_OK;
}

/* A directory that was made is lost with the power as long as the one above is not synced. */
static void spool_sync_above(struct spool *s)
{
	int fd = openat(s->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		log_warning("spool: %s: the directory above it cannot be synced: %s",
			    s->options.dir, ht_strerror(-errno));
	if (fd >= 0)
		close(fd);
}

static int spool_open_dir(struct spool *s)
{
	const char *dir = s->options.dir;
	bool is_new = mkdir(dir, 0750) == 0;
	int err = is_new ? 0 : errno;

	if (!is_new && err != EEXIST) {
		log_error("spool: %s: cannot make it: %s", dir, ht_strerror(-err));
		return -err;
	}
	if (is_new && s->options.owner_uid >= 0 &&
	    chown(dir, (uid_t)s->options.owner_uid, (gid_t)s->options.owner_gid) < 0)
		log_warning("spool: %s: cannot be given to the user that heptap runs as: %s", dir,
			    ht_strerror(-errno));
	s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		goto fail;
	if (s->options.sync)
		spool_sync_above(s);
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (s->lock_fd < 0)
		goto fail;
	if (s->options.owner_uid >= 0 &&
	    fchown(s->lock_fd, (uid_t)s->options.owner_uid, (gid_t)s->options.owner_gid) < 0)
		goto fail;
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			log_error("spool: %s: another heptap uses it; give each its own spool.dir",
				  dir);
		return -errno;
	}
	return HT_OK;
fail:
	err = errno;
	log_error("spool: %s: %s", dir, ht_strerror(-err));
	return -err;
}

/* They are the first ones; that of sums is the last of them. */
static unsigned live_count(const struct spool *s)
{
	return s->options.writers + (s->options.statistics ? 1 : 0);
}

static int spool_add_live_streams(struct spool *s)
{
	uint64_t id;

	for (unsigned w = 0; w < live_count(s); w++) {
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -errno;
		id &= ~STREAM_STATISTICS;
		if (w == spool_statistics_writer(&s->options))
			id |= STREAM_STATISTICS;
		if (spool_add_stream(s, id, true, w) < 0)
			return -ENOMEM;
	}
	return HT_OK;
}

int spool_open(struct spool **out, const struct spool_options *options)
{
	struct spool *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->options = *options;
	s->dir_fd = s->lock_fd = -1;
	s->is_ok = s->has_reserve = true;
	s->used_writers = options->writers;
	err = options->in_memory   ? HT_OK
	      : options->read_only ? spool_open_dir_read_only(s)
				   : spool_open_dir(s);
	if (err == HT_OK && !options->read_only)
		err = spool_add_live_streams(s);
	if (err == HT_OK && !options->in_memory)
		err = spool_recover(s);
	if (err < 0) {
		spool_close(s);
		return err;
	}
	*out = s;
	return HT_OK;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->stream_count; i++) {
		reserve_drop(s, s->streams[i]);
		stream_free(s->streams[i]);
	}
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s);
}

/* ---- append ---- */

static uint64_t blocks_behind(struct stream *st)
{
	uint64_t blocks;

	pthread_mutex_lock(&st->lock);
	blocks = st->last_seq - st->committed;
	pthread_mutex_unlock(&st->lock);
	return blocks;
}

/* Among those of messages. */
static struct stream *least_behind(struct spool *s)
{
	struct stream *best = s->streams[0];
	uint64_t least = UINT64_MAX;

	unsigned used = atomic_load_explicit(&s->used_writers, memory_order_relaxed);

	for (unsigned w = 0; used > 1 && w < used; w++) {
		uint64_t blocks = blocks_behind(s->streams[w]);

		if (blocks < least) {
			least = blocks;
			best = s->streams[w];
		}
	}
	return best;
}

/* Octets that all streams of sums may take: where nobody stores them, messages still have room. */
static uint64_t sums_most(const struct spool *s)
{
	return s->options.max_bytes / SUMS_PART;
}

static uint64_t sums_bytes(const struct spool *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->stream_count; i++) {
		struct stream *st = s->streams[i];

		if (!stream_id_is_statistics(st->id))
			continue;
		pthread_mutex_lock(&st->lock);
		bytes += st->bytes;
		pthread_mutex_unlock(&st->lock);
	}
	return bytes;
}

bool spool_has_room(const struct spool *s, uint64_t coming)
{
	return spool_is_ok(s) &&
	       counter_get(&s->counters.bytes) + coming <= s->options.max_bytes / 2 &&
	       sums_bytes(s) <= sums_most(s) / 2;
}

static bool sums_are_too_many(struct spool *s, const struct block *b)
{
	bool are_too_many = block_head_of(b->bytes)->bytes + sums_bytes(s) > sums_most(s);

	if (are_too_many && !s->sums_are_lost)
		log_error("spool: %s: statistics have their part of it, %" PRIu64
			  " octets: what is counted now is lost",
			  s->options.dir, sums_most(s));
	s->sums_are_lost = are_too_many;
	return are_too_many;
}

/*
 * What a segment has when the next block begins another. The segment that is appended to never
 * expires, so those of all writers together may only be a part of a small spool, or it would stay
 * full for ever.
 */
static uint64_t segment_full_bytes(const struct spool *s, const struct stream *st)
{
	uint64_t share = s->options.max_bytes / (4 * live_count(s));
	uint64_t most = SPOOL_SEGMENT_BYTES;

	if (stream_id_is_statistics(st->id)) {
		share = sums_most(s) / 4;
		most = SUMS_SEGMENT_BYTES;
	}
	return share < most ? share : most;
}

/* A file of its own, or the one that was allocated ahead. */
static int segment_open(struct spool *s, struct stream *st, const char *name)
{
	char next[SEGMENT_NAME_BYTES];
	int fd = st->next_fd;

	if (s->options.in_memory)
		fd = memfd_create(name, MFD_CLOEXEC);
	else if (fd < 0)
		fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	else if ((next_name(next, st->id), renameat(s->dir_fd, next, s->dir_fd, name)) < 0)
		return -errno;
	st->next_fd = -1;
	return fd < 0 ? -errno : fd;
}

/* The segment that the next block goes to, made if there is none or the last one is large enough.
 */
static int segment_for_append(struct spool *s, struct stream *st, struct segment **out)
{
	struct segment *seg = st->segment_count ? &st->segments[st->segment_count - 1] : NULL;
	char name[SEGMENT_NAME_BYTES];
	int fd;

	*out = seg;
	if (seg && !seg->is_closed && (!seg->bytes || seg->bytes < segment_full_bytes(s, st)))
		return HT_OK;
	segment_name(name, st->id, st->last_seq + 1);
	fd = segment_open(s, st, name);
	if (fd < 0)
		return fd;
	if (seg && ftruncate(seg->fd, (off_t)seg->bytes) < 0) /* gives back what it did not need */
		log_debug("spool: %s", ht_strerror(-errno));
	pthread_mutex_lock(&st->lock);
	*out = stream_add_segment(st, st->last_seq + 1, fd);
	pthread_mutex_unlock(&st->lock);
	if (*out)
		return HT_OK;
	close(fd);
	if (!s->options.in_memory)
		(void)unlinkat(s->dir_fd, name, 0);
	return -ENOMEM;
}

static int segment_write(struct segment *seg, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	ssize_t n;
	int err;

	while (done < len) {
		n = pwrite(seg->fd, bytes + done, len - done, (off_t)(seg->bytes + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : -EIO;
			if (ftruncate(seg->fd, (off_t)seg->bytes) < 0)
				log_debug("spool: torn tail stays until the next append: %s",
					  ht_strerror(-errno));
			return err;
		}
		done += (size_t)n;
	}
	return HT_OK;
}

static int append_to(struct spool *s, struct stream *st, struct block *b)
{
	const struct block_head *h;
	struct segment *seg = NULL;
	uint64_t bytes;
	int err = segment_for_append(s, st, &seg);

	if (err < 0)
		return err;
	block_stamp(b, s->options.node_id, st->id, st->last_seq + 1, st->rows);
	h = block_head_of(b->bytes);
	if (counter_get(&s->counters.bytes) + h->bytes > s->options.max_bytes)
		return HT_EFULL;
	err = segment_write(seg, b->bytes, h->bytes);
	if (err < 0) {
		pthread_mutex_lock(&st->lock);
		seg->is_closed = seg->bytes > 0; /* so that it can expire: it may be what fills the
						    disk, or lie on a bad place of it */
		pthread_mutex_unlock(&st->lock);
		return err;
	}
	counter_add(b->is_statistics ? &s->counters.deltas_appended : &s->counters.rows_appended,
		    h->rows); /* before a writer can see the block */
	counter_add(&s->counters.blocks_appended, 1);
	bytes = atomic_fetch_add(&s->counters.bytes, h->bytes) + h->bytes;
	if (bytes > counter_get(&s->counters.most_bytes))
		counter_add(&s->counters.most_bytes, bytes - counter_get(&s->counters.most_bytes));
	pthread_mutex_lock(&st->lock);
	seg->bytes += h->bytes;
	seg->last_seq = h->seq;
	seg->done_us = 0; /* its end was committed, and is not any more */
	st->last_seq = h->seq;
	st->rows += h->rows;
	st->bytes += h->bytes;
	pthread_mutex_unlock(&st->lock);
	return HT_OK;
}

int spool_append(struct spool *s, struct block *b, unsigned *writer)
{
	struct stream *st = b->is_statistics ? s->streams[s->options.writers] : least_behind(s);
	int err;

	*writer = st->writer;
	if (b->is_statistics && sums_are_too_many(s, b)) {
		counter_add(&s->counters.crowded_deltas, b->rows);
		return HT_OK;
	}
	err = append_to(s, st, b);
	if (err < 0 && spool_is_ok(s))
		log_error("spool: %s: cannot take more: %s; receiving goes on, messages are shed: "
			  "all but calls at once, calls when memory is full",
			  s->options.dir,
			  err == HT_EFULL ? s->options.in_memory ? "`memory` is reached"
								 : "storage.spool.max is reached"
					  : ht_strerror(err));
	if (err == HT_OK && !spool_is_ok(s))
		log_info("spool: %s: takes blocks again", s->options.dir);
	atomic_store_explicit(&s->is_ok, err == HT_OK, memory_order_relaxed);
	s->sync_due |= err == HT_OK && s->options.sync;
	return err;
}

void spool_give_up(struct spool *s, const struct block *b)
{
	counter_add(b->is_statistics ? &s->counters.lost_deltas : &s->counters.lost_rows, b->rows);
}

/* ---- expiry ---- */

/* Is the oldest segment long committed? The one that is being appended to never is. */
static bool stream_has_expired(const struct spool *s, struct stream *st, struct segment *seg)
{
	uint64_t keep_us = (s->options.keep_s ? s->options.keep_s : SPOOL_KEEP_S) * 1000000ULL;
	bool is_due;

	pthread_mutex_lock(&st->lock);
	is_due = st->segment_count > (st->is_live ? 1U : 0U) && st->segments[0].done_us &&
		 st->segments[0].last_seq <= st->committed &&
		 st->alive_us >= st->segments[0].done_us + keep_us;
	if (is_due)
		*seg = st->segments[0];
	pthread_mutex_unlock(&st->lock);
	return is_due;
}

/*
 * A segment that cannot be removed stays one. Once an old stream has none the ledger forgets it,
 * and if one came back after a power failure its rows would be stored again: so the last one's
 * removal is synced first.
 */
static bool stream_expire_one(struct spool *s, struct stream *st)
{
	struct segment seg;

	if (!stream_has_expired(s, st, &seg) || segment_unlink(s, st, &seg) < 0)
		return false;
	if (st->segment_count == 1 && s->dir_fd >= 0 && fsync(s->dir_fd) < 0)
		return false;
	pthread_mutex_lock(&st->lock);
	st->segment_count--;
	memmove(st->segments, st->segments + 1, st->segment_count * sizeof(*st->segments));
	spool_shrink(s, st, seg.bytes + seg.kept_bytes);
	pthread_mutex_unlock(&st->lock);
	close(seg.fd);
	return true;
}

/* ---- room ahead ---- */

static int reserve_make(struct spool *s, struct stream *st)
{
	off_t bytes = (off_t)(segment_full_bytes(s, st) + BLOCK_MAX_BYTES);
	char name[SEGMENT_NAME_BYTES];
	int err;

	next_name(name, st->id);
	st->next_fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (st->next_fd < 0)
		return -errno;
	if (fallocate(st->next_fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 || errno == EOPNOTSUPP ||
	    errno == ENOSYS)
		return HT_OK;
	err = -errno;
	reserve_drop(s, st);
	return err;
}

static void spool_reserve(struct spool *s)
{
	int err = HT_OK;

	for (unsigned w = 0; w < s->options.writers && err == HT_OK; w++)
		if (s->streams[w]->next_fd < 0)
			err = reserve_make(s, s->streams[w]);
	if (err < 0 && spool_has_reserve(s))
		log_warning("spool: %s: no room for the next segment: %s; receiving goes on while "
			    "the present one lasts",
			    s->options.dir, ht_strerror(err));
	if (err == HT_OK && !spool_has_reserve(s))
		log_info("spool: %s: there is room for the next segment again", s->options.dir);
	atomic_store_explicit(&s->has_reserve, err == HT_OK, memory_order_relaxed);
}

/* ---- now and then ---- */

void stream_sync_old(struct spool *s, struct stream *st)
{
	int err = HT_OK;

	if (!s->options.sync)
		return;
	for (size_t i = 0; i < st->segment_count && err == HT_OK; i++)
		err = fdatasync(st->segments[i].fd) < 0 ? -errno : HT_OK;
	if (err == HT_OK && fsync(s->dir_fd) < 0)
		err = -errno;
	if (err < 0)
		log_warning("spool: %s: what an earlier start left cannot be synced: %s",
			    s->options.dir, ht_strerror(err));
}

static int stream_sync(struct stream *st)
{
	for (size_t i = 0; i < st->segment_count; i++) {
		struct segment *seg = &st->segments[i];

		if (seg->synced_bytes == seg->bytes)
			continue;
		if (fdatasync(seg->fd) < 0)
			return -errno;
		pthread_mutex_lock(&st->lock); /* the writer copies the whole of it */
		seg->synced_bytes = seg->bytes;
		pthread_mutex_unlock(&st->lock);
	}
	return HT_OK;
}

/* What fails stays due. */
static void spool_sync(struct spool *s)
{
	static struct log_limit limit;
	int err = HT_OK;

	for (unsigned w = 0; w < live_count(s) && err == HT_OK; w++)
		err = stream_sync(s->streams[w]);
	if (err == HT_OK && s->dir_fd >= 0 && fsync(s->dir_fd) < 0) /* names of new segments */
		err = -errno;
	if (err < 0)
		log_limited(&limit, LOG_LEVEL_ERROR, "spool: %s: cannot be synced: %s",
			    s->options.dir, ht_strerror(err));
	s->sync_due = err < 0;
}

void spool_tend(struct spool *s, uint64_t now_us)
{
	if (s->sync_due && now_us - s->synced_us >= SYNC_US) {
		spool_sync(s);
		s->synced_us = now_us;
	}
	for (size_t i = 0; i < s->stream_count; i++)
		while (stream_expire_one(s, s->streams[i]))
			;
	if (!s->options.in_memory)
		spool_reserve(s);
}

/* Its segments are given back as they came, whole. */
void spool_memory(const struct spool *s, struct memory_use *sum)
{
	uint64_t bytes = counter_get(&s->counters.bytes);

	sum->used += bytes;
	sum->real_used += bytes;
	sum->max_used += counter_get(&s->counters.most_bytes);
	sum->limit += s->options.max_bytes;
}

bool spool_is_in_memory(const struct spool *s)
{
	return s->options.in_memory;
}

int spool_dir(const struct spool *s)
{
	return s->dir_fd;
}

bool spool_is_read_only(const struct spool *s)
{
	return s->options.read_only;
}
