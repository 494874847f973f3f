/* One transaction at a time; what an error means is decided by its class. */
#include "storage/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/admin.h"
#include "storage/block.h"
#include "storage/ledger.h"
#include "storage/spool.h"
#include "storage/table.h"

#define WAIT_FIRST_MS	 50
#define WAIT_MOST_MS	 5000
#define OLD_ONE_IN	 4 /* at least one transaction in four is for an old stream */
#define GROUP_MAX_BLOCKS 4096
#define GROUP_MAX_BYTES	 (2 * BLOCK_MAX_BYTES)
#define SCRATCH_PER_ROW	 10
#define TICK_US		 5000000 /* how often an idle connection is proven to be one */

/* A stream as its writer knows it. */
struct source {
	struct stream *stream;
	struct stream_pos pos;
	uint64_t ledger_seq;	      /* what the ledger says; valid unless in doubt */
	uint64_t ledger_rows;	      /* rows up to there */
	bool in_doubt;		      /* the ledger has to be read */
	bool is_known;		      /* it was read once */
	bool is_stopped;	      /* somebody else writes it */
	uint64_t recovered, began_us; /* rows of an earlier start being stored since then
					 (monotonic); 0: none */
};

/* Blocks that go into one transaction. */
struct group {
	size_t bytes;
	uint32_t rows;
	uint64_t last_seq;
	uint32_t last_day;
	uint32_t blocks;
	struct {
		const void *at;
		uint32_t first_row;
	} block[GROUP_MAX_BLOCKS];
};

struct writer {
	struct writer_options options;
	struct writer_counters counters;
	int wake_fd;
	_Atomic bool finish, stop;

	pthread_mutex_t db_lock; /* of the pointer, for writer_stop() */
	struct db *db;
	struct db_insert *insert;
	struct table table;
	struct lease lease;

	struct source *sources;
	size_t source_count;
	unsigned turn; /* counts transactions, for OLD_ONE_IN */

	void *buf; /* GROUP_MAX_BYTES: the group's blocks */
	struct group group;
	unsigned cursor_block; /* of the row that was asked for last */
	uint8_t *scratch;      /* repaired texts of one row */
	size_t scratch_room;
	uint64_t clipped[ROW_TEXT_COUNT], repaired[ROW_TEXT_COUNT]; /* of this transaction */

	unsigned wait_ms;   /* before the next try; 0: nothing is wrong */
	bool is_told;	    /* the trouble was logged */
	uint64_t ticked_us; /* monotonic */
};

const struct writer_counters *writer_counters(const struct writer *w)
{
	return &w->counters;
}

/* ---- rows of the group, as the insert asks for them ---- */

static const struct row_head *group_row(struct writer *w, size_t row,
					const struct block_head **head)
{
	const struct group *g = &w->group;
	unsigned b = w->cursor_block;

	if (b >= g->blocks || row < g->block[b].first_row)
		b = 0;
	while (b + 1 < g->blocks && row >= g->block[b + 1].first_row)
		b++;
	w->cursor_block = b;
	*head = block_head_of(g->block[b].at);
	return block_row(g->block[b].at, (uint32_t)row - g->block[b].first_row);
}

static void value_fit(struct writer *w, const struct column *c, struct view text, uint8_t **scratch,
		      struct db_value *out, bool *repaired)
{
	struct view fitted = text;
	unsigned fit = text.len ? text_fit(c, text, *scratch, &fitted) : FIT_AS_IS;

	if (fitted.at == *scratch)
		*scratch += fitted.len;
	if (fit & FIT_CLIPPED)
		w->clipped[c->value]++;
	if (fit & FIT_REPAIRED)
		w->repaired[c->value]++;
	if (c->value == ROW_msg)
		*repaired = fit & FIT_REPAIRED;
	out->at = fitted.at;
	out->len = fitted.len;
}

/* A db_row_fn: the values of one row in the order of the table's columns. */
static void row_values(void *ctx, size_t row, struct db_value *values)
{
	struct writer *w = ctx;
	const struct block_head *h;
	const struct row_head *r = group_row(w, row, &h);
	struct view msg = row_text(h, r, ROW_msg);
	uint8_t *scratch = w->scratch;
	struct db_value *raw = NULL;
	bool msg_repaired = false;

	for (unsigned i = 0; i < w->table.count; i++) {
		const struct column *c = &w->table.column[i];

		switch (c->source) {
		case COLUMN_ID:
			values[i].number = (int64_t)lease_draw(&w->lease);
			break;
		case COLUMN_DATE:
			values[i].number = row_number(h, r, ROW_micro_ts, 0) / 1000000;
			break;
		case COLUMN_NUMBER:
			values[i].number =
				row_number(h, r, c->value, c->value == ROW_expires ? -1 : 0);
			break;
		case COLUMN_TEXT:
			value_fit(w, c, row_text(h, r, c->value), &scratch, &values[i],
				  &msg_repaired);
			break;
		case COLUMN_MSG_RAW:
			raw = &values[i];
			break;
		}
	}
	if (raw) {
		raw->at = msg.at;
		raw->len = msg_repaired ? msg.len : 0;
	}
}

/* ---- the group ---- */

/*
 * Room for the repaired texts of a row. An octet of the message is in msg, in its header's column
 * (authorization repeats one), in up to two parts of it, and in as many as four more where a leg or
 * custom field names the same header: less than SCRATCH_PER_ROW.
 */
static int scratch_ensure(struct writer *w, size_t row_bytes)
{
	size_t room = SCRATCH_PER_ROW * row_bytes;
	uint8_t *grown;

	if (room <= w->scratch_room)
		return HT_OK;
	grown = realloc(w->scratch, room);
	if (!grown)
		return -ENOMEM;
	w->scratch = grown;
	w->scratch_room = room;
	return HT_OK;
}

static int group_add(struct writer *w, const void *at)
{
	struct group *g = &w->group;
	const struct block_head *h = block_head_of(at);
	const struct row_head *r;
	int err;

	g->block[g->blocks].at = at;
	g->block[g->blocks].first_row = g->rows;
	g->blocks++;
	g->rows += h->rows;
	g->bytes += h->bytes;
	g->last_seq = h->seq;
	for (uint32_t i = 0; i < h->rows; i++) {
		r = block_row(at, i);
		if (r->day > g->last_day)
			g->last_day = r->day;
		err = scratch_ensure(w, r->bytes);
		if (err < 0)
			return err;
	}
	return HT_OK;
}

/* Blocks at the source's position into w->group; rows == 0 and blocks == 0 if there are none. */
static int group_read(struct writer *w, struct source *src)
{
	uint64_t lost = 0;
	size_t len, used = 0;
	int err;

	w->group.blocks = w->group.rows = w->group.last_day = 0;
	w->group.bytes = 0;
	w->cursor_block = 0;
	err = stream_read(w->options.spool, src->stream, &src->pos, w->buf, GROUP_MAX_BYTES,
			  2 * w->options.batch_rows, &len, &lost);
	if (lost)
		counter_add(&w->counters.lost_damage, lost);
	while (err == HT_OK && used < len && w->group.blocks < GROUP_MAX_BLOCKS) {
		err = group_add(w, (uint8_t *)w->buf + used);
		used += block_head_of((uint8_t *)w->buf + used)->bytes;
	}
	return err;
}

/* The rows, in as many statements as the server's packet size asks for (text may be written twice,
 * as msg_raw, or escaped). */
static int group_insert(struct writer *w)
{
	uint64_t most = db_max_packet(w->db) / 4;
	const struct block_head *h;
	size_t first = 0;
	int err = HT_OK;

	while (first < w->group.rows && err == HT_OK) {
		uint64_t bytes = 0;
		size_t end = first;

		while (end < w->group.rows &&
		       (end == first || bytes + group_row(w, end, &h)->bytes <= most))
			bytes += group_row(w, end++, &h)->bytes;
		err = db_insert_run(w->insert, first, end - first, row_values, w);
		first = end;
	}
	return err;
}

/* ---- what was committed ---- */

static void latency_count(struct writer *w)
{
	static const uint64_t bound_ms[] = WRITER_LATENCY_MS;
	uint64_t now_us = clock_wall_us(), sum_us = 0, in_bucket[WRITER_LATENCY_BUCKETS] = { 0 };
	const struct block_head *h;

	for (size_t row = 0; row < w->group.rows; row++) {
		uint64_t arrival_us = group_row(w, row, &h)->arrival_us;
		uint64_t age_us = now_us > arrival_us ? now_us - arrival_us : 0;
		unsigned b = 0;

		while (b < WRITER_LATENCY_BUCKETS - 1 && age_us > bound_ms[b] * 1000)
			b++;
		in_bucket[b]++;
		sum_us += age_us;
	}
	for (unsigned b = 0; b < WRITER_LATENCY_BUCKETS; b++)
		if (in_bucket[b])
			counter_add(&w->counters.latency[b], in_bucket[b]);
	counter_add(&w->counters.latency_sum_us, sum_us);
}

static void source_move(struct source *src, uint64_t seq, uint64_t rows)
{
	src->ledger_seq = seq;
	src->ledger_rows = rows;
	stream_committed(src->stream, seq);
}

static void recovery_begin(struct source *src, uint64_t rows)
{
	src->recovered = rows;
	src->began_us = clock_mono_us();
	log_info("spool: stream %016" PRIx64 " of an earlier start: %" PRIu64 " rows to be stored",
		 src->stream->id, rows);
}

static void recovery_end(struct source *src)
{
	uint64_t us = clock_mono_us() - src->began_us;

	log_info("spool: stream %016" PRIx64 " of an earlier start is stored: %" PRIu64
		 " rows in %" PRIu64 ".%03" PRIu64 " s",
		 src->stream->id, src->recovered, us / 1000000, us / 1000 % 1000);
	src->recovered = 0;
}

static void group_committed(struct writer *w, struct source *src)
{
	const struct block_head *last = block_head_of(w->group.block[w->group.blocks - 1].at);

	latency_count(w);
	for (unsigned t = 0; t < ROW_TEXT_COUNT; t++) {
		if (w->clipped[t])
			counter_add(&w->counters.clipped[t], w->clipped[t]);
		if (w->repaired[t])
			counter_add(&w->counters.repaired[t], w->repaired[t]);
	}
	counter_add(&w->counters.transactions, 1);
	counter_add(&w->counters.stored, w->group.rows);
	for (unsigned b = 0; b < w->group.blocks; b++)
		stream_advance(&src->pos, block_head_of(w->group.block[b].at));
	source_move(src, w->group.last_seq, last->rows_before + last->rows);
	if (src->recovered && !stream_has_more(src->stream, &src->pos))
		recovery_end(src);
}

/*
 * The ledger was read: what it says goes. Ahead of us: a transaction of which we did not hear went
 * through. Behind us: the database forgot some that it had confirmed; they are stored again. An old
 * stream at first sight: the rest of it is recovered.
 */
static void ledger_follow(struct writer *w, struct source *src, uint64_t seq)
{
	uint64_t rows = stream_rows_until(src->stream, seq);

	if (!src->is_known && !src->stream->is_live) {
		counter_add(&w->counters.recovered,
			    src->stream->rows > rows ? src->stream->rows - rows : 0);
		if (src->stream->rows > rows)
			recovery_begin(src, src->stream->rows - rows);
	} else if (rows > src->ledger_rows) {
		counter_add(&w->counters.stored, rows - src->ledger_rows);
	} else if (rows < src->ledger_rows) {
		counter_add(&w->counters.rewound, src->ledger_rows - rows);
		log_warning("database: it went back: %" PRIu64
			    " rows that it had confirmed are stored again",
			    src->ledger_rows - rows);
	}
	if (stream_oldest(src->stream) > seq + 1)
		log_error("database: the ledger is at block %" PRIu64 " of stream %016" PRIx64
			  ", the spool begins at %" PRIu64
			  ": what lies between was stored once and removed; an older backup?",
			  seq, src->stream->id, stream_oldest(src->stream));
	src->is_known = true;
	src->in_doubt = false;
	stream_seek(src->stream, &src->pos, seq);
	source_move(src, seq, rows);
}

static int source_claim(struct writer *w, struct source *src)
{
	uint64_t seq;
	int err = ledger_claim(w->db, src->stream->node_id, src->stream->id, w->options.owner,
			       src->stream->is_live && src->is_known, &seq);

	if (err == HT_OK)
		ledger_follow(w, src, seq);
	if (err == HT_EOWNER) {
		src->is_stopped = true;
		log_error("database: stream %016" PRIx64
			  ": somebody else writes it; it stops here (is node_id %" PRIu32
			  " used by two servers?)",
			  src->stream->id, src->stream->node_id);
	}
	return err;
}

/* ---- one transaction ---- */

static int transaction(struct writer *w, struct source *src)
{
	int err = lease_fill(&w->lease, w->db, w->options.node_id, w->group.rows, clock_mono_us());

	if (err < 0)
		return err;
	memset(w->clipped, 0, sizeof(w->clipped));
	memset(w->repaired, 0, sizeof(w->repaired));
	err = group_insert(w);
	if (err == HT_OK)
		err = ledger_advance(w->db, src->stream->node_id, src->stream->id, w->options.owner,
				     src->ledger_seq, w->group.last_seq);
	if (err < 0) {
		lease_drop(&w->lease); /* some were drawn for rows that are rolled back */
		return err;
	}
	err = db_commit(w->db);
	if (err < 0)
		src->in_doubt = true;
	return err;
}

static int step(struct writer *w, struct source *src)
{
	int err = src->in_doubt ? source_claim(w, src) : HT_OK;

	if (err == HT_OK)
		err = group_read(w, src);
	if (err < 0 || w->group.blocks == 0)
		return err;
	err = transaction(w, src);
	if (err == HT_OK)
		group_committed(w, src);
	if (err == HT_EOWNER)
		src->in_doubt = true;
	return err;
}

/* ---- connection and columns ---- */

static void disconnect(struct writer *w)
{
	struct db *db = w->db;

	db_insert_free(w->insert);
	w->insert = NULL;
	lease_drop(&w->lease);
	pthread_mutex_lock(&w->db_lock);
	w->db = NULL;
	pthread_mutex_unlock(&w->db_lock);
	db_close(db);
	for (size_t i = 0; i < w->source_count; i++)
		w->sources[i].in_doubt = true;
}

/* What the live table has, and the statement for it. */
static int columns_prepare(struct writer *w)
{
	struct db_column columns[TABLE_MAX_COLUMNS];
	int err = admin_ask_table(w->options.admin, &w->table);

	if (err < 0)
		return err;
	db_insert_free(w->insert);
	w->insert = NULL;
	for (unsigned i = 0; i < w->table.count; i++) {
		static const enum db_kind kind[] = { [COLUMN_NUMBER] = DB_INTEGER,
						     [COLUMN_TEXT] = DB_TEXT,
						     [COLUMN_ID] = DB_INTEGER,
						     [COLUMN_DATE] = DB_DATETIME,
						     [COLUMN_MSG_RAW] = DB_BINARY };

		memcpy(columns[i].name, w->table.column[i].name, sizeof(columns[i].name));
		columns[i].kind = kind[w->table.column[i].source];
	}
	return db_insert_prepare(&w->insert, w->db, w->table.name, columns, w->table.count);
}

static int connect_if_not(struct writer *w)
{
	struct db *db;
	int err;

	if (w->db)
		return w->insert ? HT_OK : columns_prepare(w);
	err = db_open(&db, w->options.db);
	if (err < 0)
		return err;
	pthread_mutex_lock(&w->db_lock);
	w->db = db;
	pthread_mutex_unlock(&w->db_lock);
	return columns_prepare(w);
}

/* ---- trouble ---- */

static void back_off(struct writer *w)
{
	w->wait_ms = w->wait_ms ? 2 * w->wait_ms : WAIT_FIRST_MS;
	if (w->wait_ms > WAIT_MOST_MS)
		w->wait_ms = WAIT_MOST_MS;
	counter_add(&w->counters.retries, 1);
}

/* One line when it begins; the end is told by all_is_well(). */
static void tell_trouble(struct writer *w, int err)
{
	atomic_store_explicit(&w->counters.is_up, false, memory_order_relaxed);
	if (w->is_told || err == HT_ESTOP)
		return;
	w->is_told = true;
	if (db_last_errno(w->db))
		log_error("database: %s (%u: %s); rows wait in the spool", ht_strerror(err),
			  db_last_errno(w->db), db_last_error(w->db));
	else
		log_error("database: %s; rows wait in the spool", ht_strerror(err));
}

static void all_is_well(struct writer *w)
{
	w->wait_ms = 0;
	if (w->is_told)
		log_info("database: stores again");
	w->is_told = false;
	atomic_store_explicit(&w->counters.is_up, true, memory_order_relaxed);
}

/* The transaction failed, or the connection could not be made. Nothing is given up; the question is
 * only what comes before the next try. */
static void handle(struct writer *w, int err)
{
	if (err == HT_ECONN || !w->db) {
		tell_trouble(w, err);
		disconnect(w);
		back_off(w);
		return;
	}
	if (err != HT_EMISSING && err != HT_ERETRY && err != HT_EOWNER)
		tell_trouble(w, err);
	if (err == HT_EMISSING &&
	    db_last_errno(w->db) == 1146) /* ht-admin makes a table of ours when it looks for it */
		err = HT_ECOLUMNS;
	db_rollback(w->db);
	if (err == HT_EMISSING)
		err = admin_ask_days(w->options.admin, w->group.last_day);
	if (err == HT_ECOLUMNS ||
	    err == HT_EMISSING) { /* look at the table again before the next try */
		db_insert_free(w->insert);
		w->insert = NULL;
	}
	if (err < 0 && err != HT_EOWNER)
		back_off(w);
	if (w->wait_ms > 1000)
		tell_trouble(w, err);
}

/* ---- the thread ---- */

/* A stream in doubt is looked up in the ledger even if nothing new is there: the database may have
 * gone back. */
static bool source_has_work(const struct source *src)
{
	static const struct stream_pos beginning = { .seq = 1 };

	return !src->is_stopped &&
	       stream_has_more(src->stream, src->in_doubt ? &beginning : &src->pos);
}

/* Live streams first, but in one turn of four an old one if any waits. */
static struct source *source_choose(struct writer *w)
{
	struct source *live = NULL, *old = NULL;

	for (size_t i = 0; i < w->source_count; i++) {
		struct source *src = &w->sources[i];

		if (!source_has_work(src))
			continue;
		if (src->stream->is_live)
			live = src;
		else if (!old)
			old = src;
	}
	w->turn++;
	if (!live || (old && w->turn % OLD_ONE_IN == 0))
		return old ? old : live;
	return live;
}

/* An old stream of which nothing is left in the spool is forgotten by the ledger too. */
static void sources_clean(struct writer *w)
{
	for (size_t i = 0; i < w->source_count; i++) {
		struct source *src = &w->sources[i];
		bool is_gone;

		pthread_mutex_lock(&src->stream->lock);
		is_gone = src->stream->segment_count == 0;
		pthread_mutex_unlock(&src->stream->lock);
		if (src->stream->is_live || src->is_stopped || src->in_doubt || !is_gone)
			continue;
		if (ledger_forget(w->db, src->stream->node_id, src->stream->id, w->options.owner) ==
		    HT_OK)
			src->is_stopped = true;
	}
}

/* Every few seconds: is the server still the one that confirmed what it has? Only then may segments
 * be removed. */
static int tick(struct writer *w)
{
	uint64_t now_us = clock_mono_us();
	int64_t rows;

	if (now_us - w->ticked_us < TICK_US)
		return HT_OK;
	w->ticked_us = now_us;
	rows = db_run(w->db, "DO 1");
	if (rows < 0)
		return (int)rows;
	for (size_t i = 0; i < w->source_count; i++)
		if (!w->sources[i].in_doubt)
			stream_alive(w->sources[i].stream);
	sources_clean(w);
	return HT_OK;
}

static void wait_for_work(struct writer *w, int timeout_ms)
{
	struct pollfd p = { .fd = w->wake_fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, timeout_ms) == 1 && read(w->wake_fd, &n, sizeof(n)) < 0)
		log_debug("writer: %s", ht_strerror(-errno));
}

/* Between 3/4 and all of the time, so that servers that lost the same database do not come back as
 * one. */
static int with_jitter(unsigned ms)
{
	return (int)(ms - (unsigned)(clock_mono_us() % (ms / 4 + 1)));
}

static bool is_finished(const struct writer *w, const struct source *src)
{
	return atomic_load(&w->finish) && !src;
}

/* New work does not shorten the wait; the end does. */
static void wait_before_retry(struct writer *w)
{
	uint64_t now_us = clock_mono_us();
	uint64_t until_us = now_us + 1000ULL * (uint64_t)with_jitter(w->wait_ms);

	while (now_us < until_us && !atomic_load(&w->stop)) {
		wait_for_work(w, (int)((until_us - now_us) / 1000) + 1);
		now_us = clock_mono_us();
	}
}

void writer_run(struct writer *w)
{
	while (!atomic_load(&w->stop)) {
		int err = connect_if_not(w);
		struct source *src = NULL;

		if (err == HT_OK) {
			src = source_choose(w);
			err = src ? step(w, src) : HT_OK;
		}
		if (err == HT_OK)
			err = tick(w);
		if (err == HT_OK) {
			all_is_well(w);
			if (is_finished(w, src))
				break;
			if (!src)
				wait_for_work(w, 1000);
			continue;
		}
		handle(w, err);
		wait_before_retry(w);
	}
	disconnect(w);
}

static void poke(struct writer *w)
{
	uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		log_debug("writer: %s", ht_strerror(-errno));
}

void writer_wake(struct writer *w)
{
	poke(w);
}

void writer_finish(struct writer *w)
{
	atomic_store(&w->finish, true);
	poke(w);
}

void writer_stop(struct writer *w)
{
	atomic_store(&w->stop, true);
	pthread_mutex_lock(&w->db_lock);
	if (w->db)
		db_interrupt(w->db);
	pthread_mutex_unlock(&w->db_lock);
	poke(w);
}

static int sources_make(struct writer *w)
{
	size_t all = spool_stream_count(w->options.spool);

	w->sources = calloc(all ? all : 1, sizeof(*w->sources));
	if (!w->sources)
		return -ENOMEM;
	for (size_t i = 0; i < all; i++) {
		struct stream *st = spool_stream(w->options.spool, i);

		if (st->writer == w->options.index)
			w->sources[w->source_count++] = (struct source){ .stream = st,
									 .pos = { .seq = 1 },
									 .in_doubt = true };
	}
	return HT_OK;
}

int writer_new(struct writer **out, const struct writer_options *options)
{
	struct writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->options = *options;
	pthread_mutex_init(&w->db_lock, NULL);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->buf = aligned_alloc(64, (GROUP_MAX_BYTES + 63) & ~63UL);
	err = w->wake_fd < 0 ? -errno : w->buf ? sources_make(w) : -ENOMEM;
	if (err < 0) {
		writer_free(w);
		return err;
	}
	*out = w;
	return HT_OK;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	pthread_mutex_destroy(&w->db_lock);
	free(w->sources);
	free(w->buf);
	free(w->scratch);
	free(w);
}
