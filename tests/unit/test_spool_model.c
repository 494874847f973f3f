/*
 * The spool against a model: random appends, reads, commits, databases that go back, ends of the
 * process in any system call, power failures, calls that fail and files that are damaged, over a
 * disk in memory (disk.h).
 *
 * The model knows each block that was appended: which stream and seq, its octets, and where they
 * lie. A block is there as long as the disk has those octets in that place, which is looked up at
 * each turn of things and not asked of the spool.
 *
 * - It is gone only if it was damaged, was not synced when the power failed, or was removed
 *   SPOOL_KEEP_S after its commit.
 * - A block that is there is read, once and in order, until the ledger has it; nothing else is.
 * - Rows reported lost are those of the blocks that are gone before one that is read. What the
 *   spool cannot know is how many rows were in blocks at the end of an old stream: it may report
 *   anything up to their number, and if octets of them are left, it says so (torn_bytes, *.bad).
 *   Nor, if the ledger's last block is gone when a process first asks for it, how many of the rows
 *   up to the next whole block were in it: again up to their number.
 * - What is recovered or rewound balances with what is then stored and lost.
 * - After the last fault all of it is drained, appends work and the directory is small.
 *
 * SPOOL_MODEL_SEED=n runs that one only and prints what it does; SPOOL_MODEL_RUNS=n is how many
 * fresh random ones there are.
 */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <sys/random.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/log.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "tests/unit/disk.h"
#include "tests/unit/make_block.h"
#include "tests/unit/random.h"

#define KEEP_US	    (SPOOL_KEEP_S * 1000000ULL)
#define SYNC_US	    200000
#define MAX_STREAMS 256
#define BAD_MOST    16

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KNOWN_RUNS 50
#define NEW_RUNS   10
#define SOAK_RUNS  2000
#define LIE_RUNS   50
#define STRIDE	   13 /* of the calls in which a process ends */
#else
#define KNOWN_RUNS 2000
#define NEW_RUNS   300
#define SOAK_RUNS  200000
#define LIE_RUNS   100
#define STRIDE	   1
#endif

/* ---- what is printed when something is wrong ---- */

static char trace_text[64 << 10];
static size_t trace_used;
static bool trace_is_on;

static void trace_line(const char *format, va_list args)
{
	char line[1024];
	int len = vsnprintf(line, sizeof(line) - 1, format, args);

	if (len >= (int)sizeof(line) - 1)
		len = (int)sizeof(line) - 2;
	line[len++] = '\n';
	if (trace_is_on)
		fwrite(line, 1, (size_t)len, stderr);
	if (trace_used + (size_t)len > sizeof(trace_text)) { /* the later half is enough */
		memmove(trace_text, trace_text + sizeof(trace_text) / 2, sizeof(trace_text) / 2);
		trace_used -= sizeof(trace_text) / 2;
	}
	memcpy(trace_text + trace_used, line, (size_t)len);
	trace_used += (size_t)len;
}

__attribute__((format(printf, 1, 2))) static void trace(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	trace_line(format, args);
	va_end(args);
}

/* The log of the code under test. */
void __wrap_syslog(int priority, const char *format, ...);
void __wrap___syslog_chk(int priority, int flag, const char *format, ...);

void __wrap_syslog(int priority, const char *format, ...)
{
	va_list args;

	(void)priority;
	va_start(args, format);
	trace_line(format, args);
	va_end(args);
}

void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;

	(void)priority;
	(void)flag;
	va_start(args, format);
	trace_line(format, args);
	va_end(args);
}

/* ---- the model ---- */

struct ref_block {
	uint64_t rows, rows_before;
	uint64_t first_seq, offset; /* the segment, and where in it */
	uint32_t bytes;
	uint64_t hash; /* of all its octets */
	bool is_there, is_synced, is_stored;
	uint64_t committed_us; /* when the spool heard of it; 0: it did not */
};

struct ref_stream {
	uint64_t id;
	struct ref_block *blocks; /* seq from 1 */
	size_t count, room;
	uint64_t ledger; /* the database's row */

	/* of the present process */
	struct stream *st; /* NULL: it has none */
	struct stream_pos pos;
	bool in_doubt, is_known, is_stopped, starts_unknown;
	uint64_t at_seq, told;		  /* what pos should be at; rows told lost */
	uint64_t ledger_seq, ledger_rows; /* as the writer knows them */
	uint64_t safe_seq;		  /* to which the database may go back */
	uint64_t moved_us;		  /* when it went beyond that */
	int64_t balance;		  /* recovered and rewound, less stored and lost */
	uint64_t lost_ahead;		  /* told, and the ledger is not beyond them yet */
	bool is_drained, is_in_memory;
};

struct model {
	uint64_t seed;
	struct random random;
	struct spool *s;
	struct spool_options options;
	struct ref_stream *streams[MAX_STREAMS];
	size_t stream_count;
	struct block *block; /* being appended */
	bool is_pending;     /* and nobody knows whether it was */
	uint64_t next_row, now_us, alive_us, synced_us;
	bool is_clean;	     /* the files have what was written to them, and no call failed */
	uint64_t most_bytes; /* max_bytes, or what was there already when the process began */
	bool keeps_names;    /* the directory is on the disk to stay */
	unsigned largest_rows, largest_padding;
	char failure[512];
	uint64_t reads, blocks_read, restarts, lost;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct model *m, const char *format, ...)
{
	va_list args;

	if (m->failure[0])
		return;
	va_start(args, format);
	vsnprintf(m->failure, sizeof(m->failure), format, args);
	va_end(args);
	trace("FAILED: %s", m->failure);
}

static bool is_over(const struct model *m)
{
	return m->failure[0] || disk_is_ended();
}

static uint64_t below(struct model *m, uint64_t n)
{
	return random_below(&m->random, n);
}

static uint64_t hash_of(const void *bytes, size_t len)
{
	return XXH3_64bits_withSeed(bytes, len, 0x6d6f64656c);
}

static void segment_name_of(char out[64], uint64_t stream, uint64_t first_seq)
{
	snprintf(out, 64, "%016" PRIx64 "-%016" PRIx64 ".seg", stream, first_seq);
}

static struct ref_stream *ref_find(struct model *m, uint64_t id)
{
	for (size_t i = 0; i < m->stream_count; i++)
		if (m->streams[i]->id == id)
			return m->streams[i];
	return NULL;
}

static struct ref_stream *ref_make(struct model *m, uint64_t id)
{
	struct ref_stream *r = calloc(1, sizeof(*r));

	if (!r || m->stream_count == MAX_STREAMS)
		abort();
	r->id = id;
	m->streams[m->stream_count++] = r;
	return r;
}

static struct ref_block *ref_add(struct ref_stream *r)
{
	if (r->count == r->room) {
		r->room = r->room ? 2 * r->room : 32;
		r->blocks = realloc(r->blocks, r->room * sizeof(*r->blocks));
		if (!r->blocks)
			abort();
	}
	r->blocks[r->count] = (struct ref_block){ 0 };
	return &r->blocks[r->count++];
}

static struct ref_block *ref_block(struct ref_stream *r, uint64_t seq)
{
	return seq && seq <= r->count ? &r->blocks[seq - 1] : NULL;
}

/* Rows up to and including a block. */
static uint64_t ref_rows_until(struct ref_stream *r, uint64_t seq)
{
	const struct ref_block *b = ref_block(r, seq < r->count ? seq : r->count);

	return b ? b->rows_before + b->rows : 0;
}

static bool is_intact(const struct ref_stream *r, const struct ref_block *b)
{
	struct disk_file f;
	char name[64];

	if (r->st && r->st->segment_count && r->is_in_memory) /* its files have no names */
		return r->st->segments[0].first_seq <= b->first_seq;
	segment_name_of(name, r->id, b->first_seq);
	return disk_find(name, &f) && b->offset + b->bytes <= f.size &&
	       hash_of(f.bytes + b->offset, b->bytes) == b->hash;
}

/* ---- which blocks are there, and whether those that are not may be gone ---- */

enum cause { CAUSE_SPOOL, CAUSE_POWER, CAUSE_DAMAGE };

static void block_went(struct model *m, const struct ref_stream *r, size_t i, enum cause cause)
{
	const struct ref_block *b = &r->blocks[i];

	if (cause == CAUSE_POWER && b->is_synced)
		wrong(m, "block %zu of stream %016" PRIx64 " was synced and is gone", i + 1, r->id);
	if (cause != CAUSE_SPOOL)
		return;
	if (!b->committed_us || m->alive_us < b->committed_us + KEEP_US)
		wrong(m,
		      "block %zu of stream %016" PRIx64 " is gone, committed at %" PRIu64
		      ", database alive at %" PRIu64,
		      i + 1, r->id, b->committed_us, m->alive_us);
}

static void look(struct model *m, enum cause cause)
{
	for (size_t k = 0; k < m->stream_count; k++) {
		struct ref_stream *r = m->streams[k];

		for (size_t i = 0; i < r->count; i++) {
			bool is_there = is_intact(r, &r->blocks[i]);

			if (r->blocks[i].is_there && !is_there)
				block_went(m, r, i, cause);
			if (!r->blocks[i].is_there && is_there && cause == CAUSE_SPOOL)
				wrong(m, "block %zu of stream %016" PRIx64 " came back", i + 1,
				      r->id);
			r->blocks[i].is_there = is_there;
		}
	}
}

/* ---- how much there is ---- */

static bool has_ending(const char *name, const char *ending)
{
	size_t len = strlen(name), end = strlen(ending);

	return len >= end && strcmp(name + len - end, ending) == 0;
}

static size_t count_files(const char *ending, uint64_t *bytes)
{
	size_t count = 0;

	*bytes = 0;
	for (size_t i = 0; i < disk_file_count(); i++) {
		struct disk_file f = disk_file(i);

		if (!has_ending(f.name, ending))
			continue;
		count++;
		*bytes += f.size;
	}
	return count;
}

static void check_bytes(struct model *m)
{
	uint64_t counted = counter_get(&spool_counters(m->s)->bytes), sum = 0, on_disk, bad;

	for (size_t i = 0; i < spool_stream_count(m->s); i++)
		sum += spool_stream(m->s, i)->bytes;
	count_files(".seg", &on_disk);
	if (counted != sum)
		wrong(m, "%" PRIu64 " octets counted, %" PRIu64 " in the streams", counted, sum);
	if (counted > m->most_bytes)
		wrong(m, "%" PRIu64 " octets counted of %" PRIu64, counted, m->most_bytes);
	if (!m->options.in_memory && disk_failures() == 0 && counted != on_disk)
		wrong(m, "%" PRIu64 " octets counted, %" PRIu64 " on disk", counted, on_disk);
	if (count_files(".bad", &bad) > BAD_MOST)
		wrong(m, "more than %d damaged segments are kept", BAD_MOST);
}

/* ---- the process begins and ends ---- */

static void stream_attach(struct model *m, struct stream *st)
{
	struct ref_stream *r = ref_find(m, st->id);

	if (!r && !st->is_live) {
		wrong(m, "stream %016" PRIx64 " came from nowhere", st->id);
		return;
	}
	if (r && st->is_live)
		wrong(m, "stream %016" PRIx64 " is there already", st->id);
	if (!r)
		r = ref_make(m, st->id);
	r->st = st;
	r->pos = (struct stream_pos){ .seq = 1 };
	r->in_doubt = true;
	r->is_known = r->is_stopped = r->starts_unknown = r->is_drained = false;
	r->at_seq = 1;
	r->told = r->lost_ahead = r->ledger_seq = r->ledger_rows = r->moved_us = 0;
	r->balance = 0;
	r->is_in_memory = m->options.in_memory;
	r->safe_seq = r->ledger;
}

static void check_streams_found(struct model *m)
{
	for (size_t k = 0; k < m->stream_count; k++) {
		const struct ref_stream *r = m->streams[k];

		for (size_t i = 0; i < r->count && !r->st; i++)
			if (r->blocks[i].is_there)
				wrong(m, "stream %016" PRIx64 " is not found", r->id);
	}
}

/* What is there now stays there, whatever happens to the power: all of it, or that of live streams.
 */
static void mark_synced(struct ref_stream *r)
{
	for (size_t i = 0; i < r->count; i++)
		r->blocks[i].is_synced |= r->blocks[i].is_there;
}

static void mark_live_synced(struct model *m)
{
	for (size_t k = 0; k < m->stream_count; k++)
		if (m->streams[k]->st && m->streams[k]->st->is_live)
			mark_synced(m->streams[k]);
}

/* @return false if it does not start because a call fails, or ends. */
static bool process_begin(struct model *m)
{
	uint64_t failures = disk_failures();
	int err;

	trace("-- start");
	m->restarts++;
	m->synced_us = 0;
	m->alive_us = 0;
	for (size_t k = 0; k < m->stream_count; k++)
		for (size_t i = 0; i < m->streams[k]->count; i++)
			m->streams[k]->blocks[i].committed_us = 0;
	err = spool_open(&m->s, &m->options);
	if (err < 0) {
		m->s = NULL;
		if (err == -ENOENT && m->options.read_only && disk_file_count() == 0)
			return false; /* the directory itself is gone */
		if (!disk_is_ended() && disk_failures() == failures)
			wrong(m, "does not open: %s", ht_strerror(err));
		return false;
	}
	if (is_over(m))
		return false;
	for (size_t i = 0; i < spool_stream_count(m->s); i++)
		stream_attach(m, spool_stream(m->s, i));
	m->keeps_names = disk_failures() == failures;
	check_streams_found(m);
	m->most_bytes = counter_get(&spool_counters(m->s)->bytes);
	if (m->is_clean && m->most_bytes > m->options.max_bytes)
		wrong(m, "%" PRIu64 " octets were left", m->most_bytes);
	if (m->most_bytes < m->options.max_bytes)
		m->most_bytes = m->options.max_bytes;
	check_bytes(m);
	return true;
}

/* The block that was being appended when the process ended: the disk knows whether it is one. */
static void pending_settle(struct model *m)
{
	const struct block_head *h = block_head_of(m->block->bytes);
	struct ref_stream *r = ref_find(m, h->stream);
	struct ref_block b = { .rows = h->rows,
			       .rows_before = h->rows_before,
			       .bytes = h->bytes,
			       .hash = hash_of(h, h->bytes) };

	m->is_pending = false;
	if (!r || h->seq != r->count + 1)
		return; /* it had no place yet */
	b.first_seq = h->seq;
	if (!is_intact(r, &b) && r->count) {
		b.first_seq = r->blocks[r->count - 1].first_seq;
		b.offset = r->blocks[r->count - 1].offset + r->blocks[r->count - 1].bytes;
	}
	if (!is_intact(r, &b))
		return;
	trace("the block in flight is there");
	b.is_there = true;
	*ref_add(r) = b;
}

static void process_end(struct model *m, bool power_fails)
{
	trace("-- end%s%s", disk_is_ended() ? " in a call" : "", power_fails ? ", no power" : "");
	spool_close(m->s);
	m->s = NULL;
	for (size_t k = 0; k < m->stream_count; k++)
		m->streams[k]->st = NULL;
	if (disk_failures())
		m->is_clean = false;
	disk_restart();
	if (m->is_pending)
		pending_settle(m);
	look(m, CAUSE_SPOOL);
	if (!power_fails)
		return;
	disk_power_failure();
	m->is_clean = false;
	look(m, CAUSE_POWER);
}

/* ---- appending ---- */

static void block_make(struct model *m)
{
	uint32_t rows = (uint32_t)below(m, m->largest_rows + 1);
	size_t padding = below(m, 4) ? below(m, 200) : below(m, m->largest_padding + 1);

	block_reset(m->block);
	for (uint32_t i = 0; i < rows; i++)
		if (make_row(m->block, m->next_row + i, padding) < 0)
			abort();
	block_seal(m->block);
}

static struct ref_stream *live_of(struct model *m, unsigned writer)
{
	for (size_t i = 0; i < spool_stream_count(m->s); i++) {
		struct stream *st = spool_stream(m->s, i);

		if (st->is_live && st->writer == writer)
			return ref_find(m, st->id);
	}
	return NULL;
}

static void appended(struct model *m, unsigned writer)
{
	const struct block_head *h = block_head_of(m->block->bytes);
	struct ref_stream *r = live_of(m, writer);
	const struct segment *seg;
	struct ref_block *b;

	if (!r || h->stream != r->id || h->seq != r->count + 1 ||
	    h->rows_before != ref_rows_until(r, r->count)) {
		wrong(m, "block %" PRIu64 " is not the next of stream %016" PRIx64, h->seq,
		      h->stream);
		return;
	}
	seg = &r->st->segments[r->st->segment_count - 1];
	b = ref_add(r);
	*b = (struct ref_block){ .rows = h->rows,
				 .rows_before = h->rows_before,
				 .first_seq = seg->first_seq,
				 .offset = seg->bytes - h->bytes,
				 .bytes = h->bytes,
				 .hash = hash_of(h, h->bytes),
				 .is_there = true };
	m->next_row += h->rows;
	r->balance += h->rows;
	r->is_drained = false;
	trace("append: stream %016" PRIx64 " block %" PRIu64 ", %" PRIu64 " rows, %" PRIu32
	      " octets at %" PRIx64 "+%" PRIu64,
	      r->id, h->seq, b->rows, b->bytes, b->first_seq, b->offset);
}

static void check_refused(struct model *m, int err, uint64_t failures)
{
	uint64_t bytes = counter_get(&spool_counters(m->s)->bytes);

	trace("append: %s", ht_strerror(err));
	if (spool_is_ok(m->s))
		wrong(m, "an append fails and the spool is well");
	if (err == HT_EFULL &&
	    bytes + block_head_of(m->block->bytes)->bytes <= m->options.max_bytes)
		wrong(m, "full at %" PRIu64 " octets", bytes);
	if (err != HT_EFULL && disk_failures() == failures)
		wrong(m, "an append fails: %s", ht_strerror(err));
}

/* @return whether it was taken. */
static bool op_append(struct model *m)
{
	uint64_t failures = disk_failures();
	unsigned writer = 0;
	int err;

	block_make(m);
	err = spool_append(m->s, m->block, &writer);
	if (err == HT_OK)
		appended(m, writer);
	else if (disk_is_ended())
		m->is_pending = true;
	else
		check_refused(m, err, failures);
	return err == HT_OK;
}

/* ---- a writer ---- */

/* A seq that the ledger may name: what the spool makes of it. */
static void check_rows_until(struct model *m, struct ref_stream *r, uint64_t seq, uint64_t rows)
{
	struct ref_block *b = ref_block(r, seq);
	uint64_t low = 0, high = ref_rows_until(r, r->count);

	for (uint64_t i = 1; i <= r->count; i++) {
		if (r->blocks[i - 1].is_there && i <= seq)
			low = ref_rows_until(r, i);
		if (r->blocks[i - 1].is_there && i > seq && r->blocks[i - 1].rows_before < high)
			high = r->blocks[i - 1].rows_before;
	}
	if (seq == 0)
		high = 0;
	else if (b && b->is_there)
		high = low;
	if (!r->st->is_live && rows < low && rows == r->st->rows)
		low = rows; /* nothing whole is behind, and what is not is not known */
	if (rows < low || rows > high)
		wrong(m,
		      "stream %016" PRIx64 ": %" PRIu64 " rows up to block %" PRIu64
		      ", not %" PRIu64 " to %" PRIu64,
		      r->id, rows, seq, low, high);
}

/* As the writer does when it has read the ledger. */
static void ledger_follow(struct model *m, struct ref_stream *r)
{
	struct ref_block *b = ref_block(r, r->ledger);
	uint64_t seq = r->ledger, failures = disk_failures(), rows;
	bool went_back = seq < r->st->committed, is_same = r->is_known && seq == r->ledger_seq;
	int err = stream_seek(r->st, &r->pos, seq);

	if (is_over(m))
		return;
	if (err < 0) {
		trace("ledger: stream %016" PRIx64 ": %s", r->id, ht_strerror(err));
		if (disk_failures() == failures)
			wrong(m, "does not seek: %s", ht_strerror(err));
		return;
	}
	check_rows_until(m, r, seq, r->pos.rows);
	if (is_same)
		r->pos.rows = r->ledger_rows;
	rows = r->pos.rows;
	if (!r->is_known && !r->st->is_live)
		r->balance += (int64_t)r->st->rows - (int64_t)rows;
	else
		r->balance += (int64_t)r->ledger_rows - (int64_t)rows;
	r->is_known = true;
	r->in_doubt = false;
	stream_committed(r->st, seq);
	r->ledger_seq = seq;
	r->ledger_rows = rows;
	r->at_seq = seq + 1;
	r->starts_unknown = seq && !(b && b->is_there) && !(is_same && !r->starts_unknown);
	if (went_back) { /* what was told lost is told again, also what the ledger had not passed */
		r->told = 0;
		r->balance += (int64_t)r->lost_ahead;
		r->lost_ahead = 0;
	}
	for (uint64_t i = 1; i <= r->count; i++)
		r->blocks[i - 1].committed_us = i > seq ? 0
						: r->blocks[i - 1].committed_us
							? r->blocks[i - 1].committed_us
							: m->now_us;
	m->alive_us = m->now_us;
	trace("ledger: stream %016" PRIx64 " at %" PRIu64 ", %" PRIu64 " rows", r->id, seq, rows);
}

/* Are octets left of blocks behind the last one that is there? Then it is told, or they are kept.
 */
static bool has_tail(const struct ref_stream *r)
{
	char name[64];
	struct disk_file f;

	for (size_t i = r->count; i-- > 0 && !r->blocks[i].is_there;) {
		segment_name_of(name, r->id, r->blocks[i].first_seq);
		if (disk_find(name, &f) && f.size > r->blocks[i].offset)
			return true;
	}
	return false;
}

static bool is_kept(const struct ref_stream *r)
{
	struct disk_file f;
	char name[80];
	uint64_t bytes;

	for (size_t i = r->count; i-- > 0 && !r->blocks[i].is_there;) {
		segment_name_of(name, r->id, r->blocks[i].first_seq);
		strcat(name, ".bad");
		if (disk_find(name, &f))
			return true;
	}
	return count_files(".bad", &bytes) == BAD_MOST;
}

static bool stream_claim(struct model *m, struct ref_stream *r)
{
	uint64_t failures = disk_failures(), torn = counter_get(&spool_counters(m->s)->torn_bytes);
	bool is_first = !r->st->is_recovered, is_torn = is_first && has_tail(r);
	int err = stream_recover(m->s, r->st);

	if (disk_is_ended())
		return false;
	if (err < 0) {
		if (disk_failures() == failures)
			wrong(m, "does not recover: %s", ht_strerror(err));
		return false;
	}
	if (is_torn && counter_get(&spool_counters(m->s)->torn_bytes) == torn && !is_kept(r) &&
	    !m->options.read_only && disk_failures() == 0)
		wrong(m, "stream %016" PRIx64 ": a torn end is not told", r->id);
	if (m->options.sync && m->keeps_names && is_first && disk_failures() == failures)
		mark_synced(r);
	if (r->st->last_seq == 0 && !r->st->is_live) {
		trace("stream %016" PRIx64 " has nothing", r->id);
		r->is_stopped = true;
		for (size_t i = 0; i < r->count; i++)
			if (r->blocks[i].is_there)
				wrong(m, "stream %016" PRIx64 " has a block", r->id);
		return false;
	}
	ledger_follow(m, r);
	return !is_over(m) && !r->in_doubt;
}

/* Rows in blocks that are gone, from where the stream is read to a block that was read, or the end:
 * those that were not told. */
static void check_lost(struct model *m, struct ref_stream *r, uint64_t to_seq, uint64_t lost)
{
	uint64_t from = ref_rows_until(r, r->at_seq - 1), to = ref_rows_until(r, to_seq - 1);
	bool is_end = to_seq > r->count;
	uint64_t due;

	for (uint64_t seq = r->at_seq; seq < to_seq && seq <= r->count; seq++)
		if (r->blocks[seq - 1].is_there)
			wrong(m, "block %" PRIu64 " of stream %016" PRIx64 " is passed over", seq,
			      r->id);
	if (r->told > from)
		from = r->told;
	due = to > from ? to - from : 0;
	if (r->told < to)
		r->told = to;
	if (lost > due || (lost < due && !r->starts_unknown && (!is_end || r->st->is_live)))
		wrong(m,
		      "stream %016" PRIx64 ": %" PRIu64 " rows lost before block %" PRIu64
		      ", not %" PRIu64,
		      r->id, lost, to_seq, due);
	r->balance -= (int64_t)lost;
	r->lost_ahead += lost;
	m->lost += lost;
}

static void check_block(struct model *m, struct ref_stream *r, const struct block_head *h)
{
	struct ref_block *b = ref_block(r, h->seq);

	m->blocks_read++;
	if (h->stream != r->id || !b || hash_of(h, h->bytes) != b->hash)
		wrong(m, "block %" PRIu64 " of stream %016" PRIx64 " was never appended", h->seq,
		      h->stream);
	else if (!b->is_there)
		wrong(m, "block %" PRIu64 " of stream %016" PRIx64 " is not there", h->seq, r->id);
	else if (b->is_stored)
		wrong(m, "block %" PRIu64 " of stream %016" PRIx64 " is stored twice", h->seq,
		      r->id);
}

/* The transaction goes through. */
static void commit(struct model *m, struct ref_stream *r, const struct block_head *h)
{
	struct ref_block *b = ref_block(r, h->seq);

	if (m->failure[0])
		return;
	b->is_stored = true;
	r->ledger = r->ledger_seq = h->seq;
	r->ledger_rows = h->rows_before + h->rows;
	r->balance -= h->rows;
	r->lost_ahead = 0;
	r->at_seq = h->seq + 1;
	r->starts_unknown = false;
	stream_advance(&r->pos, h);
}

static void committed(struct model *m, struct ref_stream *r, uint64_t before)
{
	if (r->moved_us && m->alive_us >= r->moved_us + KEEP_US)
		r->moved_us = 0;
	if (!r->moved_us) {
		r->safe_seq = before;
		r->moved_us = m->now_us;
	}
	stream_committed(r->st, r->ledger);
	m->alive_us = m->now_us;
	for (uint64_t seq = 1; seq <= r->ledger; seq++)
		if (!r->blocks[seq - 1].committed_us)
			r->blocks[seq - 1].committed_us = m->now_us;
	trace("commit: stream %016" PRIx64 " to %" PRIu64, r->id, r->ledger);
}

static uint64_t read_buf[BLOCK_MAX_BYTES / 8];

/* What was read goes to the database: all of it, or only the first blocks, or not at all. */
static void blocks_store(struct model *m, struct ref_stream *r, size_t len, bool all)
{
	const uint8_t *bytes = (const uint8_t *)read_buf;
	bool is_refused = !all && below(m, 6) == 0;
	uint64_t seq = block_head_of(bytes)->seq, before = r->ledger;
	size_t used = 0;

	while (used < len && !m->failure[0]) {
		const struct block_head *h = block_head_of(bytes + used);

		if (block_check(h, len - used) < 0 || h->seq != seq) {
			wrong(m, "what is read of stream %016" PRIx64 " is not block %" PRIu64,
			      r->id, seq);
			return;
		}
		check_block(m, r, h);
		if (!is_refused)
			commit(m, r, h);
		seq = h->seq + 1;
		used += h->bytes;
		if (!all && below(m, 10) == 0)
			break;
	}
	if (is_refused)
		r->in_doubt = below(m, 2) != 0; /* or it is tried again */
	else if (!m->failure[0])
		committed(m, r, before);
}

/* @return whether there may be more. */
static bool op_read(struct model *m, struct ref_stream *r, bool all)
{
	uint64_t failures = disk_failures(), lost = 0;
	uint32_t max_rows = all ? 1000 : 1 + (uint32_t)below(m, 60);
	size_t len;
	int err;

	if (r->is_stopped || (r->in_doubt && !stream_claim(m, r)))
		return false;
	m->reads++;
	err = stream_read(m->s, r->st, &r->pos, read_buf, sizeof(read_buf), max_rows, &len, &lost);
	if (disk_is_ended())
		return false;
	if (err < 0) {
		trace("read: stream %016" PRIx64 ": %s", r->id, ht_strerror(err));
		if (disk_failures() == failures)
			wrong(m, "does not read: %s", ht_strerror(err));
		r->in_doubt = below(m, 2) != 0;
		return false;
	}
	if (lost)
		trace("read: stream %016" PRIx64 " from %" PRIu64 ": %" PRIu64 " rows lost", r->id,
		      r->at_seq, lost);
	if (len) {
		check_lost(m, r, block_head_of(read_buf)->seq, lost);
		blocks_store(m, r, len, all);
		return !m->failure[0];
	}
	check_lost(m, r, r->count + 1, lost);
	r->at_seq = r->count + 1;
	if (stream_has_more(r->st, &r->pos))
		wrong(m, "stream %016" PRIx64 " has more than is read", r->id);
	if (r->balance)
		wrong(m, "stream %016" PRIx64 ": %" PRId64 " rows are neither stored nor lost",
		      r->id, r->balance);
	r->is_drained = true;
	return false;
}

static struct ref_stream *some_stream(struct model *m)
{
	size_t i = below(m, spool_stream_count(m->s));

	return ref_find(m, spool_stream(m->s, i)->id);
}

/* The database lost what it had confirmed within SPOOL_KEEP_S of its life. */
static void op_database_goes_back(struct model *m)
{
	struct ref_stream *r = some_stream(m);
	uint64_t seq;

	if (r->is_stopped || !r->is_known || !r->moved_us || m->alive_us >= r->moved_us + KEEP_US ||
	    r->safe_seq >= r->ledger)
		return;
	seq = r->safe_seq + below(m, r->ledger - r->safe_seq);
	trace("database: stream %016" PRIx64 " goes back from %" PRIu64 " to %" PRIu64, r->id,
	      r->ledger, seq);
	r->ledger = seq;
	for (uint64_t i = seq + 1; i <= r->count; i++)
		r->blocks[i - 1].is_stored = false;
	r->in_doubt = true;
	r->is_drained = false;
}

static void op_alive(struct model *m)
{
	for (size_t i = 0; i < spool_stream_count(m->s); i++) {
		struct stream *st = spool_stream(m->s, i);
		struct ref_stream *r = ref_find(m, st->id);

		if (r->in_doubt || r->is_stopped)
			continue;
		stream_alive(st);
		m->alive_us = m->now_us;
		if (st->is_live || st->segment_count)
			continue;
		trace("database: stream %016" PRIx64 " is forgotten", r->id);
		r->ledger = 0;
		r->is_stopped = true;
	}
}

static void op_tend(struct model *m, uint64_t us)
{
	uint64_t failed = disk_failed_syncs();
	bool is_due;

	m->now_us += us;
	disk_set_clock(m->now_us);
	is_due = m->options.sync && m->keeps_names && m->now_us - m->synced_us >= SYNC_US;
	trace("tend: %" PRIu64 " ms later", us / 1000);
	spool_tend(m->s, m->now_us);
	if (disk_is_ended())
		return;
	if (is_due)
		m->synced_us = m->now_us;
	if (is_due && disk_failed_syncs() == failed)
		mark_live_synced(m);
	look(m, CAUSE_SPOOL);
}

/* ---- faults and damage ---- */

static void op_fault(struct model *m)
{
	unsigned how = (unsigned)below(m, 5);
	uint64_t used;

	count_files("", &used);
	disk_fail_often(0, false);
	disk_set_room(UINT64_MAX);
	if (how == 0)
		disk_fail_often(2 + (unsigned)below(m, 20), true);
	if (how == 1)
		disk_fail_often(2 + (unsigned)below(m, 20), false);
	if (how == 2)
		disk_set_room(used + below(m, 10000));
	trace("fault: %s", how == 0   ? "writes fail"
			   : how == 1 ? "calls fail"
			   : how == 2 ? "the disk is full"
				      : "none");
}

/* An octet of a file, most often one of a block's head. */
static size_t some_place(struct model *m, const struct disk_file *f)
{
	struct ref_stream *r;
	struct ref_block *b;
	char name[64];

	for (unsigned tries = 0; tries < 20; tries++) {
		r = m->streams[below(m, m->stream_count)];
		if (!r->count)
			continue;
		b = &r->blocks[below(m, r->count)];
		segment_name_of(name, r->id, b->first_seq);
		if (strcmp(name, f->name) == 0 && b->offset + sizeof(struct block_head) <= f->size)
			return b->offset + below(m, sizeof(struct block_head));
	}
	return below(m, f->size);
}

static void damage_one(struct model *m, const struct disk_file *f, bool in_place)
{
	size_t at = below(m, 2) ? some_place(m, f) : below(m, f->size), len;

	switch (below(m, in_place ? 2 : 7)) {
	case 0:
		trace("damage: %s: bit at %zu", f->name, at);
		disk_flip(f->name, at, (uint8_t)(1 << below(m, 8)));
		break;
	case 1:
		at &= ~511UL;
		len = below(m, 2) ? 512 : 4096;
		len = len < f->size - at ? len : f->size - at;
		trace("damage: %s: zeros at %zu", f->name, at);
		disk_zero(f->name, at, len);
		break;
	case 2:
		trace("damage: %s: %zu left of %zu", f->name, at, f->size);
		disk_truncate(f->name, at);
		break;
	case 3:
		trace("damage: %s: a few less of %zu", f->name, f->size);
		disk_truncate(f->name, f->size - below(m, f->size < 300 ? f->size : 300));
		break;
	case 4:
		trace("damage: %s: more than %zu", f->name, f->size);
		disk_truncate(f->name, f->size + below(m, 10000));
		break;
	case 5:
		trace("damage: %s: removed", f->name);
		disk_remove(f->name);
		break;
	default:
		trace("damage: %s: all of it", f->name);
		disk_zero(f->name, 0, f->size);
	}
}

static void op_damage(struct model *m, bool in_place)
{
	struct disk_file f;

	for (unsigned tries = 0; tries < 10 && disk_file_count(); tries++) {
		f = disk_file(below(m, disk_file_count()));
		if (!has_ending(f.name, ".seg") || !f.size)
			continue;
		damage_one(m, &f, in_place);
		m->is_clean = false;
		look(m, CAUSE_DAMAGE);
		return;
	}
}

/* ---- one run ---- */

static struct model *model_make(uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m || block_new(&m->block, BLOCK_MAX_ROWS) < 0)
		abort();
	log_open(LOG_LEVEL_INFO, LOG_TARGET_SYSLOG);
	trace_used = 0;
	disk_make(seed ^ 0x6469736b);
	m->seed = seed;
	m->random = random_from(seed);
	m->now_us = 1000000000;
	m->is_clean = true;
	m->largest_rows = 8;
	m->largest_padding = 1500;
	m->options = (struct spool_options){ .dir = DISK_DIR,
					     .max_bytes = 256 << 10,
					     .node_id = 7,
					     .writers = 1,
					     .owner_uid = -1,
					     .owner_gid = -1 };
	return m;
}

static void model_free(struct model *m)
{
	spool_close(m->s);
	for (size_t k = 0; k < m->stream_count; k++) {
		free(m->streams[k]->blocks);
		free(m->streams[k]);
	}
	block_free(m->block);
	disk_free();
	free(m);
}

static void drain(struct model *m)
{
	for (size_t i = 0; i < spool_stream_count(m->s) && !is_over(m); i++) {
		struct ref_stream *r = ref_find(m, spool_stream(m->s, i)->id);
		size_t most = 2 * r->count + 100;

		while (op_read(m, r, true))
			if (most-- == 0)
				wrong(m, "stream %016" PRIx64 " has no end", r->id);
	}
}

static void check_all_stored(struct model *m)
{
	for (size_t k = 0; k < m->stream_count; k++) {
		const struct ref_stream *r = m->streams[k];

		for (size_t i = 0; i < r->count; i++)
			if (r->blocks[i].is_there && !r->blocks[i].is_stored)
				wrong(m, "block %zu of stream %016" PRIx64 " is not stored", i + 1,
				      r->id);
	}
}

static void check_small(struct model *m)
{
	uint64_t bytes;

	if (m->options.in_memory || m->failure[0])
		return;
	if (count_files(".seg", &bytes) > m->options.writers)
		wrong(m, "%zu segments are left", count_files(".seg", &bytes));
	if (count_files(".next", &bytes) > m->options.writers)
		wrong(m, "%zu segments are allocated ahead", count_files(".next", &bytes));
	if (disk_file_count() > 1 + 2 * m->options.writers + BAD_MOST)
		wrong(m, "%zu files are left", disk_file_count());
}

/* The last fault is over: a start, and all of it is drained, expires, and there is room again. */
static void settle(struct model *m)
{
	if (!m->s && !process_begin(m))
		return;
	drain(m);
	check_all_stored(m);
	for (unsigned i = 0; i < 2 && !m->failure[0]; i++) {
		op_alive(m);
		op_tend(m, KEEP_US + 1000000);
	}
	check_small(m);
	for (unsigned i = 0; i < 2 * m->options.writers && !m->failure[0]; i++)
		if (!op_append(m))
			wrong(m, "an empty spool does not take a block");
	if (!m->failure[0] && !spool_is_ok(m->s))
		wrong(m, "the spool is not well");
	drain(m);
	check_all_stored(m);
	if (!m->failure[0])
		check_bytes(m);
}

static void op_random(struct model *m, bool with_faults, bool with_damage)
{
	uint64_t what = below(m, 100);

	if (what < 50)
		op_append(m);
	else if (what < 75)
		op_read(m, some_stream(m), false);
	else if (what < 80)
		op_alive(m);
	else if (what < 90)
		op_tend(m, SYNC_US + below(m, 1000000));
	else if (what < 93)
		op_tend(m, below(m, 2 * KEEP_US));
	else if (what < 96)
		op_database_goes_back(m);
	else if (what < 98 && with_faults)
		op_fault(m);
	else if (what == 98)
		spool_use_writers(m->s, 1 + (unsigned)below(m, 3));
	else if (what == 99 && with_damage && below(m, 4) == 0)
		op_damage(m, true);
	if (!is_over(m))
		check_bytes(m);
}

static void life(struct model *m, bool with_faults, bool with_damage)
{
	uint64_t ops = 10 + below(m, 120);

	if (with_faults && below(m, 4) == 0)
		disk_fail_often(20, false);
	if (below(m, 2))
		disk_end_at(disk_calls() + 1 + below(m, below(m, 4) ? 400 : 30), below(m, 2));
	if (process_begin(m))
		for (uint64_t i = 0; i < ops && !is_over(m); i++)
			op_random(m, with_faults, with_damage);
}

/* Another machine stores what lies there, and changes nothing of it. */
static void replay(struct model *m)
{
	uint64_t before = disk_changes();

	m->options.read_only = true;
	if (process_begin(m)) {
		drain(m);
		check_all_stored(m);
	}
	process_end(m, false);
	if (disk_changes() != before)
		wrong(m, "a spool that is only read was changed");
	m->options.read_only = false;
}

static void run_random(struct model *m)
{
	uint64_t lives = 1 + below(m, 5);
	bool with_faults = below(m, 3) == 0, with_damage = below(m, 3) == 0;
	bool with_power_failures = below(m, 2) == 0;

	m->options.writers = 1 + (unsigned)below(m, 3);
	m->options.max_bytes = (32U << 10 << below(m, 5)) * m->options.writers;
	m->options.sync = below(m, 2);
	m->options.in_memory = below(m, 16) == 0;
	m->largest_rows = 1 + (unsigned)below(m, 12);
	m->largest_padding = (unsigned)below(m, 1000);
	if (below(m, 100) == 0) { /* blocks as large as they come, so that a tail can be too long */
		m->options.max_bytes = m->options.writers * (24U << 20);
		m->largest_padding = 100000;
		lives = 1 + below(m, 2);
	}
	if (m->options.in_memory) {
		lives = 1;
		with_damage = false;
	}
	for (uint64_t i = 0; i < lives && !m->failure[0]; i++) {
		life(m, with_faults, with_damage);
		if (m->options.in_memory)
			break;
		process_end(m, with_power_failures && below(m, 2));
		for (uint64_t n = with_damage && below(m, 2) ? 1 + below(m, 4) : 0; n; n--)
			op_damage(m, false);
	}
	disk_fail_often(0, false);
	disk_set_room(UINT64_MAX);
	if (m->options.in_memory && (disk_is_ended() || !m->s))
		return;
	disk_end_at(0, false);
	if (!m->s && !m->failure[0] && below(m, 8) == 0)
		replay(m);
	if (!m->failure[0])
		settle(m);
}

/* Print what led to it, and end the test. */
static void expect_good(struct model *m)
{
	if (m->failure[0]) {
		fwrite(trace_text + (trace_used > 6000 ? trace_used - 6000 : 0), 1,
		       trace_used > 6000 ? 6000 : trace_used, stderr);
		ck_abort_msg("SPOOL_MODEL_SEED=%" PRIu64 ": %s", m->seed, m->failure);
	}
}

/* ---- one story, which ends or fails in each of its calls ---- */

static void append_some(struct model *m, unsigned blocks)
{
	while (blocks-- && !is_over(m))
		op_append(m);
}

static void read_some(struct model *m, unsigned reads)
{
	for (size_t i = 0; i < spool_stream_count(m->s) && !is_over(m); i++)
		for (unsigned n = 0; n < reads; n++)
			op_read(m, ref_find(m, spool_stream(m->s, i)->id), false);
}

static void tend(struct model *m, uint64_t us)
{
	if (!is_over(m))
		op_alive(m);
	if (!is_over(m))
		op_tend(m, us);
}

/* Segments begin, are read, committed and removed; all calls of the spool are among it. */
static void story_of_a_life(struct model *m)
{
	append_some(m, 4);
	tend(m, SYNC_US);
	append_some(m, 10);
	read_some(m, 3);
	tend(m, SYNC_US);
	append_some(m, 6);
	read_some(m, 6);
	tend(m, KEEP_US / 2);
	tend(m, KEEP_US);
	append_some(m, 8);
	tend(m, SYNC_US);
	read_some(m, 2);
}

static struct model *story_begin(uint64_t seed)
{
	struct model *m = model_make(seed);

	m->options.sync = true;
	m->options.writers = 1 + seed % 2;
	m->options.max_bytes = 48 << 10;
	return m;
}

/* What it does to the story that a test wants. */
struct twist {
	uint64_t ends_at, fails_at; /* call; 0: none */
	bool in_midst, power_fails;
	uint64_t ends_again_at; /* call after that */
};

/* @return how many calls there were up to its end. */
static uint64_t story_tell(uint64_t seed, const struct twist *t)
{
	struct model *m = story_begin(seed);
	uint64_t calls;

	disk_end_at(t->ends_at, t->in_midst);
	disk_fail_at(t->fails_at);
	for (unsigned i = 0; i < 2 && !is_over(m); i++) {
		if (process_begin(m))
			story_of_a_life(m);
		if (i == 0 || is_over(m))
			process_end(m, t->power_fails && disk_is_ended());
		if (t->ends_at && disk_calls() >= t->ends_at)
			break;
	}
	calls = disk_calls();
	if (t->ends_again_at && !m->failure[0]) {
		disk_end_at(calls + t->ends_again_at, false);
		if (m->s || process_begin(m))
			drain(m);
		process_end(m, t->power_fails);
	}
	disk_end_at(0, false);
	disk_fail_at(0);
	if (!m->failure[0])
		settle(m);
	expect_good(m);
	model_free(m);
	return calls;
}

/* ---- tests ---- */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void run_seed(uint64_t seed)
{
	struct model *m = model_make(seed);

	run_random(m);
	expect_good(m);
	model_free(m);
}

START_TEST(process_that_ends_in_any_call)
{
	uint64_t calls = story_tell((uint64_t)_i, &(struct twist){ 0 });

	ck_assert_uint_gt(calls, 100);
	for (uint64_t k = 1; k <= calls; k += STRIDE)
		for (unsigned how = 0; how < 8; how++)
			story_tell((uint64_t)_i,
				   &(struct twist){ .ends_at = k,
						    .in_midst = how & 1,
						    .power_fails = how & 2,
						    .ends_again_at = how & 4 ? 1 + k % 30 : 0 });
}
END_TEST

START_TEST(call_that_fails_anywhere)
{
	uint64_t calls = story_tell((uint64_t)_i, &(struct twist){ 0 });

	for (uint64_t k = 1; k <= calls; k += STRIDE)
		story_tell((uint64_t)_i, &(struct twist){ .fails_at = k });
}
END_TEST

START_TEST(random_lives_of_known_seeds)
{
	for (uint64_t seed = 1; seed <= KNOWN_RUNS; seed++)
		run_seed(seed);
}
END_TEST

START_TEST(random_lives_of_new_seeds)
{
	uint64_t seed = (uint64_t)time(NULL) << 20,
		 runs = number_of("SPOOL_MODEL_RUNS", getenv("SOAK") ? SOAK_RUNS : NEW_RUNS);

	printf("SPOOL_MODEL_SEED=%" PRIu64 " and the %" PRIu64 " that follow\n", seed, runs - 1);
	fflush(stdout);
	while (runs--)
		run_seed(seed++);
}
END_TEST

/* ---- a disk that lies is found out ---- */

/* In some runs it does not matter; in none where it is honest is anything found. */
START_TEST(lie_of_the_disk_is_found)
{
	unsigned found = 0;
	uint64_t lies = 0;

	for (uint64_t seed = 1; seed <= LIE_RUNS; seed++) {
		struct model *m = model_make(seed);

		disk_lie((enum disk_lie)_i, 3);
		run_random(m);
		found += m->failure[0] != 0;
		lies += disk_lies();
		model_free(m);
	}
	ck_assert_uint_gt(lies, LIE_RUNS);
	ck_assert_uint_gt(found, 0);
}
END_TEST

/* ---- what the model found once ---- */

static void append_until(struct model *m, size_t segments)
{
	do
		append_some(m, 1);
	while (!is_over(m) && live_of(m, 0)->st->segment_count < segments);
}

static struct model *begin(bool sync)
{
	struct model *m = model_make(1);

	m->options.sync = sync;
	m->options.max_bytes = 64 << 10;
	process_begin(m);
	return m;
}

static void finish(struct model *m)
{
	if (!m->failure[0])
		settle(m);
	expect_good(m);
	model_free(m);
}

/* The segment's end was committed long ago, and then there was more. */
START_TEST(segment_stays_after_the_commit_of_its_last_block)
{
	struct model *m = begin(false);

	append_some(m, 2);
	drain(m);
	tend(m, 2 * KEEP_US);
	append_until(m, 2);
	drain(m);
	tend(m, KEEP_US / 2);
	finish(m);
}
END_TEST

START_TEST(three_segments_between_two_syncs_are_synced)
{
	struct model *m = begin(true);

	append_until(m, 4);
	tend(m, SYNC_US);
	process_end(m, true);
	finish(m);
}
END_TEST

START_TEST(failed_sync_is_tried_again)
{
	struct model *m = begin(true);

	append_some(m, 3);
	disk_fail_at(disk_calls() + 1);
	tend(m, SYNC_US);
	ck_assert_uint_eq(disk_failed_syncs(), 1);
	tend(m, SYNC_US);
	process_end(m, true);
	finish(m);
}
END_TEST

START_TEST(what_was_not_synced_is_synced_by_the_next_start)
{
	struct model *m = begin(true);

	append_some(m, 3);
	process_end(m, false);
	process_begin(m);
	drain(m);
	process_end(m, true);
	finish(m);
}
END_TEST

/* The first of two blocks is damaged; looking for the next, a read fails. */
START_TEST(read_that_fails_at_the_start_cuts_nothing)
{
	struct model *m = model_make((uint64_t)_i);
	uint64_t call = 1 + (uint64_t)_i % 8;
	char name[64];

	process_begin(m);
	append_some(m, 2);
	segment_name_of(name, m->streams[0]->id, 1);
	process_end(m, false);
	disk_flip(name, 60, 1);
	look(m, CAUSE_DAMAGE);
	process_begin(m);
	disk_fail_at(disk_calls() + call);
	drain(m);
	disk_fail_at(0);
	finish(m);
}
END_TEST

/* Each process leaves a stream whose last block but one is damaged. */
START_TEST(only_so_many_damaged_segments_are_kept)
{
	struct model *m = begin(false);
	uint64_t bytes;

	m->options.max_bytes = 1 << 20;
	for (unsigned i = 0; i < BAD_MOST + 4; i++) {
		char name[64];

		append_some(m, 3);
		segment_name_of(name, m->streams[m->stream_count - 1]->id, 1);
		process_end(m, false);
		disk_flip(name, 60, 1);
		look(m, CAUSE_DAMAGE);
		process_begin(m);
		drain(m);
		expect_good(m);
	}
	ck_assert_uint_eq(count_files(".bad", &bytes), BAD_MOST);
	finish(m);
}
END_TEST

/* The ledger is at a block whose head says how many rows came before it. */
START_TEST(damaged_head_of_the_ledgers_block_is_not_believed)
{
	for (size_t at = 0; at < sizeof(struct block_head); at++) {
		struct model *m = begin(false);
		struct ref_stream *r = m->streams[0];
		char name[64];

		append_some(m, 3);
		drain(m);
		append_some(m, 3);
		segment_name_of(name, r->id, 1);
		process_end(m, false);
		disk_flip(name, r->blocks[2].offset + at, 0x40);
		look(m, CAUSE_DAMAGE);
		finish(m);
	}
}
END_TEST

/* From the ledger's block on its segment is destroyed, the next is not. */
START_TEST(rows_are_counted_over_a_destroyed_segment)
{
	struct model *m = begin(false);
	struct ref_stream *r = m->streams[0];
	char name[64];

	append_some(m, 3);
	drain(m);
	append_until(m, 3);
	segment_name_of(name, r->id, 1);
	process_end(m, false);
	disk_truncate(name, r->blocks[2].offset);
	look(m, CAUSE_DAMAGE);
	finish(m);
}
END_TEST

START_TEST(destroyed_end_of_a_stream_is_counted_and_goes)
{
	struct model *m = begin(false);
	struct ref_stream *r = m->streams[0];
	struct disk_file f;
	char name[64];

	append_until(m, 4);
	process_end(m, false);
	for (unsigned i = 0; i < r->count; i++) {
		if (r->blocks[i].first_seq == 1)
			continue;
		segment_name_of(name, r->id, r->blocks[i].first_seq);
		if (disk_find(name, &f))
			disk_zero(name, 0, f.size);
	}
	look(m, CAUSE_DAMAGE);
	finish(m);
}
END_TEST

/* An old stream is drained and its time is over, and a call fails, once that of the removal. */
START_TEST(segment_that_cannot_be_removed_is_not_stored_again)
{
	for (uint64_t k = 1; k < 8; k++) {
		struct model *m = begin(false);

		append_some(m, 3);
		process_end(m, false);
		process_begin(m);
		drain(m);
		tend(m, KEEP_US);
		disk_fail_at(disk_calls() + k);
		tend(m, SYNC_US);
		op_alive(m);
		process_end(m, false);
		finish(m);
	}
}
END_TEST

START_TEST(removal_that_the_power_failure_undid_is_not_stored_again)
{
	for (unsigned i = 0; i < 10; i++) { /* it may or may not be undone */
		struct model *m = begin(true);

		append_some(m, 3 + i);
		tend(m, SYNC_US);
		process_end(m, false);
		process_begin(m);
		drain(m);
		tend(m, KEEP_US);
		tend(m, KEEP_US);
		tend(m, KEEP_US);
		process_end(m, true);
		finish(m);
	}
}
END_TEST

static Suite *suite_make(void)
{
	Suite *s = suite_create("spool model");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 0);
	tcase_add_test(t, segment_stays_after_the_commit_of_its_last_block);
	tcase_add_test(t, three_segments_between_two_syncs_are_synced);
	tcase_add_test(t, failed_sync_is_tried_again);
	tcase_add_test(t, what_was_not_synced_is_synced_by_the_next_start);
	tcase_add_loop_test(t, read_that_fails_at_the_start_cuts_nothing, 1, 64);
	tcase_add_test(t, only_so_many_damaged_segments_are_kept);
	tcase_add_test(t, damaged_head_of_the_ledgers_block_is_not_believed);
	tcase_add_test(t, rows_are_counted_over_a_destroyed_segment);
	tcase_add_test(t, destroyed_end_of_a_stream_is_counted_and_goes);
	tcase_add_test(t, segment_that_cannot_be_removed_is_not_stored_again);
	tcase_add_test(t, removal_that_the_power_failure_undid_is_not_stored_again);
	tcase_add_loop_test(t, process_that_ends_in_any_call, 1, 3);
	tcase_add_loop_test(t, call_that_fails_anywhere, 1, 3);
	tcase_add_loop_test(t, lie_of_the_disk_is_found, DISK_HONEST + 1, DISK_LIES);
	tcase_add_test(t, random_lives_of_known_seeds);
	tcase_add_test(t, random_lives_of_new_seeds);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner;
	int failed;

	if (getenv("SPOOL_MODEL_SEED")) {
		trace_is_on = true;
		run_seed(number_of("SPOOL_MODEL_SEED", 0));
		return EXIT_SUCCESS;
	}
	runner = srunner_create(suite_make());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
