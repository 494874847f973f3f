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
#include "storage/batch.h"
#include "storage/block.h"
#include "storage/ledger.h"
#include "storage/spool.h"
#include "storage/sums.h"

#define WAIT_FIRST_MS	50
#define WAIT_MOST_MS	5000
#define OLD_ONE_IN	4 /* at least one transaction in four is for an old stream */
#define BATCH_MAX_BYTES (2 * BLOCK_MAX_BYTES)
#define BLAME_TRIES	5	 /* an error that nobody knows is the row's after so many ... */
#define BLAME_US	30000000 /* ... and so long */
#define TAKEN_TRIES	3	 /* as is a taken id after so many new ones */
#define SKIP_IDS	1000	 /* at a time, where somebody else takes them too */
#define IDLE_MS		1000
#define TICK_US		5000000 /* how often an idle connection is proven to be one */

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
	uint64_t tried_seq;	      /* last block of the last transaction that went to COMMIT */
	struct batch_result tried; /* what it stored, should the ledger say that it went through */

	/* tries of the same blocks */
	uint64_t failed_seq;
	unsigned failures, taken_ids;
	uint32_t last_day;	   /* in the next try rows of later days are refused */
	uint64_t failing_since_us; /* monotonic */
	unsigned wait_ms;	   /* between the last try and the next; 0: nothing is wrong */
	uint64_t not_before_us;	   /* monotonic */
	bool is_in_trouble;	   /* it was told */
};

struct writer {
	struct writer_options options;
	struct writer_counters counters;
	int wake_fd;
	_Atomic bool finish, stop;

	pthread_mutex_t db_lock; /* of the pointer, for writer_stop() */
	struct db *db;
	struct lease lease;

	struct source *sources;
	size_t source_count;
	unsigned turn; /* counts transactions, for OLD_ONE_IN */

	void *buf; /* BATCH_MAX_BYTES: the batch's blocks */
	struct batch *batch;
	struct sums *sums; /* of a writer of statistics; else NULL */

	unsigned wait_ms;   /* before the next connection; 0: nothing is wrong */
	bool is_told;	    /* the trouble was logged */
	uint64_t ticked_us; /* monotonic */
};

const struct writer_counters *writer_counters(const struct writer *w)
{
	return &w->counters;
}

/* ---- the batch ---- */

/* Blocks at the source's position into w->batch; none if nothing is there. */
static int batch_read(struct writer *w, struct source *src)
{
	uint64_t lost = 0;
	size_t len, used = 0;
	int err;

	batch_clear(w->batch);
	err = stream_read(w->options.spool, src->stream, &src->pos, w->buf, BATCH_MAX_BYTES,
			  2 * w->options.batch_rows, &len, &lost);
	if (lost)
		counter_add(&w->counters.lost_damage, lost);
	while (err == HT_OK && used < len) {
		const struct block_head *h = block_head_of((uint8_t *)w->buf + used);

		err = batch_add(w->batch, h);
		used += h->bytes;
	}
	return err == HT_EFULL ? HT_OK : err; /* what does not fit comes with the next */
}

/* ---- what was committed ---- */

static void latency_count(struct writer *w)
{
	static const uint64_t bound_ms[] = WRITER_LATENCY_MS;
	uint64_t now_us = clock_wall_us(), sum_us = 0, in_bucket[WRITER_LATENCY_BUCKETS] = { 0 };

	for (uint32_t b = 0; b < batch_blocks(w->batch); b++) {
		const struct block_head *h = batch_block(w->batch, b);

		for (uint32_t row = 0; row < h->rows; row++) {
			uint64_t arrival_us = block_row(h, row)->arrival_us;
			uint64_t age_us = now_us > arrival_us ? now_us - arrival_us : 0;
			unsigned k = 0;

			while (k < WRITER_LATENCY_BUCKETS - 1 && age_us > bound_ms[k] * 1000)
				k++;
			in_bucket[k]++;
			sum_us += age_us;
		}
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

static void result_count(struct writer *w, const struct batch_result *r)
{
	for (unsigned t = 0; t < ROW_TEXT_COUNT; t++) {
		if (r->clipped[t])
			counter_add(&w->counters.clipped[t], r->clipped[t]);
		if (r->repaired[t])
			counter_add(&w->counters.repaired[t], r->repaired[t]);
	}
	for (unsigned i = 0; i < REJECT_REASON_COUNT; i++)
		if (r->rejected[i])
			counter_add(&w->counters.rejected[i], r->rejected[i]);
	for (unsigned p = 0; p < PLACE_COUNT; p++)
		if (r->stored[p])
			counter_add(&w->counters.stored[p], r->stored[p]);
	if (r->unrouted)
		counter_add(&w->counters.unrouted, r->unrouted);
	if (r->deltas)
		counter_add(&w->counters.stored_deltas, r->deltas);
	counter_add(&w->counters.transactions, 1);
}

static void batch_is_committed(struct writer *w, struct source *src)
{
	const struct block_head *last = batch_block(w->batch, batch_blocks(w->batch) - 1);

	if (!w->sums) {
		latency_count(w);
		batch_committed(w->batch);
	}
	result_count(w, &src->tried);
	for (uint32_t b = 0; b < batch_blocks(w->batch); b++)
		stream_advance(&src->pos, batch_block(w->batch, b));
	source_move(src, last->seq, last->rows_before + last->rows);
	if (src->recovered && !stream_has_more(src->stream, &src->pos))
		recovery_end(src);
}

/* The ledger is ahead of us by @p rows: the transaction whose COMMIT was not confirmed went
 * through. */
static void doubt_settle(struct writer *w, const struct source *src, uint64_t seq, uint64_t rows)
{
	enum layout_place some = w->options.layout->is_daily ? PLACE_REST : PLACE_SIP;

	if (src->tried_seq == seq)
		result_count(w, &src->tried);
	else if (w->sums)
		counter_add(&w->counters.stored_deltas, rows);
	else
		counter_add(&w->counters.stored[some], rows);
}

/* The last blocks that an earlier start left were damaged: their rows are lost, unless the ledger
 * has them. */
static void tail_tell(struct writer *w, struct stream *st, uint64_t seq)
{
	uint64_t rows = 0;

	for (uint32_t i = 0; i < st->tail_count; i++)
		if (st->tail_seq - i > seq)
			rows += st->tail_rows[st->tail_count - 1 - i];
	counter_add(&w->counters.recovered, rows);
	counter_add(&w->counters.lost_damage, rows);
	st->tail_seq = st->tail_count = 0;
}

/*
 * The ledger was read: what it says goes. Ahead of us: a transaction of which we did not hear went
 * through. Behind us: the database forgot some that it had confirmed; they are stored again. An old
 * stream at first sight: the rest of it is recovered.
 */
static int ledger_follow(struct writer *w, struct source *src, uint64_t seq)
{
	uint64_t rows;
	int err = stream_seek(src->stream, &src->pos, seq);

	if (err < 0)
		return err;
	if (src->is_known && seq == src->ledger_seq) /* though its block may be damaged by now */
		src->pos.rows = src->ledger_rows;
	rows = src->pos.rows;
	if (!src->is_known && !src->stream->is_live) {
		counter_add(&w->counters.recovered,
			    src->stream->rows > rows ? src->stream->rows - rows : 0);
		if (src->stream->rows > rows)
			recovery_begin(src, src->stream->rows - rows);
	} else if (rows > src->ledger_rows) {
		doubt_settle(w, src, seq, rows - src->ledger_rows);
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
	tail_tell(w, src->stream, seq);
	src->is_known = true;
	src->in_doubt = false;
	source_move(src, seq, rows);
	return HT_OK;
}

static int source_claim(struct writer *w, struct source *src)
{
	uint64_t seq;
	int err = stream_recover(w->options.spool, src->stream);

	if (err == HT_OK && !src->stream->is_live && src->stream->last_seq == 0 &&
	    !src->stream->tail_seq)
		src->is_stopped = true; /* it never had a whole block */
	if (err < 0 || src->is_stopped)
		return err;
	err = ledger_claim(w->db, src->stream->node_id, src->stream->id, w->options.owner,
			   src->stream->is_live && src->is_known, &seq);

	if (err == HT_OK)
		err = ledger_follow(w, src, seq);
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

static void failures_begin(struct source *src)
{
	if (src->failed_seq == src->pos.seq)
		return;
	src->failed_seq = src->pos.seq;
	src->failures = src->taken_ids = 0;
	src->last_day = UINT32_MAX;
}

/* An error that nobody knows does not stop a stream for ever. */
static bool is_tried_enough(const struct source *src)
{
	return src->failures >= BLAME_TRIES && clock_mono_us() - src->failing_since_us >= BLAME_US;
}

static bool rows_are_to_blame(const struct source *src)
{
	return src->taken_ids > TAKEN_TRIES || is_tried_enough(src);
}

static int ledger_step(struct writer *w, const struct source *src)
{
	return ledger_advance(w->db, src->stream->node_id, src->stream->id, w->options.owner,
			      src->ledger_seq,
			      batch_block(w->batch, batch_blocks(w->batch) - 1)->seq);
}

/* Without the commit. */
static int messages_store(struct writer *w, struct source *src)
{
	int err = lease_fill(&w->lease, w->db, w->options.node_id, batch_ids(w->batch),
			     clock_mono_us());

	if (err < 0)
		return err;
	err = batch_insert(w->batch, w->db, &w->lease, rows_are_to_blame(src), src->last_day);
	if (err == HT_OK)
		err = ledger_step(w, src);
	if (err < 0)
		lease_drop(&w->lease); /* some were drawn for rows that are rolled back */
	src->tried = *batch_result(w->batch);
	return err;
}

/* The same of sums. The ledger first: in a table without transactions what is in stays in, so
 * nothing that can fail should come behind it. */
static int sums_of_batch_store(struct writer *w, struct source *src)
{
	int err = ledger_step(w, src);

	if (err == HT_OK)
		err = sums_store(w->sums, w->db, w->batch);
	src->tried = (struct batch_result){ .deltas = batch_rows(w->batch) };
	return err;
}

static int transaction(struct writer *w, struct source *src)
{
	int err = w->sums ? sums_of_batch_store(w, src) : messages_store(w, src);

	if (err < 0)
		return err;
	src->tried_seq = batch_block(w->batch, batch_blocks(w->batch) - 1)->seq;
	err = db_commit(w->db);
	if (err < 0)
		src->in_doubt = true;
	return err;
}

static int step(struct writer *w, struct source *src)
{
	int err;

	failures_begin(src);
	stream_pass_unreadable(is_tried_enough(src));
	err = src->in_doubt ? source_claim(w, src) : HT_OK;
	batch_clear(w->batch);
	if (err == HT_OK && !src->is_stopped)
		err = batch_read(w, src);
	if (err < 0 || batch_rows(w->batch) == 0)
		return err;
	failures_begin(src); /* reading may have moved it */
	err = transaction(w, src);
	if (err == HT_OK)
		batch_is_committed(w, src);
	if (err == HT_EOWNER)
		src->in_doubt = true;
	return err;
}

/* ---- connection ---- */

static void disconnect(struct writer *w)
{
	struct db *db = w->db;

	batch_disconnect(w->batch);
	lease_drop(&w->lease);
	pthread_mutex_lock(&w->db_lock);
	w->db = NULL;
	pthread_mutex_unlock(&w->db_lock);
	db_close(db);
	for (size_t i = 0; i < w->source_count; i++)
		w->sources[i].in_doubt = true;
}

static int connect_if_not(struct writer *w)
{
	struct db *db;
	int err;

	if (w->db)
		return HT_OK;
	err = db_open(&db, w->options.db);
	if (err < 0)
		return err;
	pthread_mutex_lock(&w->db_lock);
	w->db = db;
	pthread_mutex_unlock(&w->db_lock);
	return HT_OK;
}

/* ---- trouble ---- */

/* Between 3/4 and all of the time, so that servers that lost the same database do not come back as
 * one. */
static unsigned with_jitter(unsigned ms)
{
	return ms - (unsigned)(clock_mono_us() % (ms / 4 + 1));
}

static void back_off(struct writer *w, unsigned *wait_ms)
{
	*wait_ms = *wait_ms ? 2 * *wait_ms : WAIT_FIRST_MS;
	if (*wait_ms > WAIT_MOST_MS)
		*wait_ms = WAIT_MOST_MS;
	counter_add(&w->counters.retries, 1);
}

/* What the server said, if it was the server: about the batch, else about the ledger or the
 * connection. What hinders ht-admin it tells itself. */
static unsigned trouble_words(const struct writer *w, int err, const char *table,
			      const char **words)
{
	unsigned code = batch_error(w->batch, words);

	if (!w->db || (!**words && !table[0] && err < HT_ERROR_END)) {
		code = db_last_errno(w->db);
		*words = db_last_error(w->db);
	}
	return code;
}

/* Statistics wait by themselves. */
static void tell_sums_trouble(struct writer *w, int err)
{
	const char *words, *table = sums_trouble(w->sums, &words);

	log_error("statistics: %s%s%s%s%s; they wait in the spool", table, table[0] ? ": " : "",
		  ht_strerror(err), words[0] ? ": " : "", words);
}

/* One line when it begins, of whichever writer is the first; the end is told by all_is_well(). */
static void tell_trouble(struct writer *w, int err)
{
	char table[LAYOUT_NAME];
	const char *words;
	uint32_t day;
	unsigned code;

	atomic_store_explicit(&w->counters.is_up, false, memory_order_relaxed);
	if (w->is_told || err == HT_ESTOP || (w->sums && (err == HT_ECONN || !w->db)))
		return; /* a lost connection is told by the others */
	w->is_told = true;
	if (w->sums) {
		tell_sums_trouble(w, err);
		return;
	}
	if (atomic_fetch_add(w->options.troubled, 1) > 0)
		return;
	(void)batch_trouble(w->batch, table, &day);
	code = trouble_words(w, err, table, &words);
	log_error("%s: %s%s%s%s%s%s; rows wait in the spool",
		  err < HT_ERROR_END ? "database" : "storage", table[0] ? "table " : "", table,
		  table[0] ? ": " : "", ht_strerror(err), *words ? ": " : "", words);
	if (code)
		log_debug("database: errno %u", code);
}

/* Connected, and the server answers: well, unless a stream is still held up. */
static void all_is_well(struct writer *w)
{
	w->wait_ms = 0;
	for (size_t i = 0; i < w->source_count; i++)
		if (w->sources[i].is_in_trouble && !w->sources[i].is_stopped)
			return;
	if (w->is_told && w->sums)
		log_info("statistics: stores again");
	else if (w->is_told && atomic_fetch_sub(w->options.troubled, 1) == 1)
		log_info("database: stores again");
	w->is_told = false;
	atomic_store_explicit(&w->counters.is_up, true, memory_order_relaxed);
}

/* What the failed transaction needs before the next try; HT_OK: at once. */
static int mend(struct writer *w, struct source *src, int err)
{
	struct place place;
	char table[LAYOUT_NAME];
	uint32_t last_day;

	db_rollback(w->db);
	if (err == HT_EDUPLICATE && !w->sums) {
		src->taken_ids++;
		return lease_skip(&w->lease, w->db, w->options.node_id, SKIP_IDS * src->taken_ids);
	}
	if (w->sums)
		sums_forget(w->sums); /* the tables may have been mended, or changed again */
	if (w->sums || (err != HT_EMISSING && err != HT_ECOLUMNS))
		return err;
	place = batch_trouble(w->batch, table, &last_day);
	if (place.what == PLACE_COUNT)
		return err;
	batch_forget_table(w->batch, place); /* looked at again, and made if it is ours */
	if (err == HT_EMISSING)
		err = admin_ask_days(w->options.admin, place, &last_day);
	if (err != HT_EFUTURE)
		return err;
	src->last_day = last_day;
	return HT_OK;
}

static void connection_failed(struct writer *w, int err)
{
	tell_trouble(w, err);
	disconnect(w);
	back_off(w, &w->wait_ms);
}

static void source_told(struct writer *w, struct source *src, int err)
{
	src->is_in_trouble = true;
	tell_trouble(w, err);
}

/* A transaction failed. Nothing is given up; the question is only what comes before the next try.
 * Other streams go on meanwhile. */
static void source_failed(struct writer *w, struct source *src, int err)
{
	if ((err == HT_EDB || err == -EIO) && src->failures++ == 0)
		src->failing_since_us = clock_mono_us();
	if (err != HT_EMISSING && err != HT_ECOLUMNS && err != HT_ERETRY && err != HT_EOWNER &&
	    err != HT_EDUPLICATE)
		source_told(w, src, err);
	if (err == HT_EDUPLICATE)
		counter_add(&w->counters.retries, 1);
	err = mend(w, src, err);
	if (err < 0 && err != HT_EOWNER) {
		back_off(w, &src->wait_ms);
		src->not_before_us = clock_mono_us() + 1000ULL * with_jitter(src->wait_ms);
	}
	if (src->wait_ms > 1000)
		source_told(w, src, err);
}

static void source_is_well(struct source *src)
{
	src->wait_ms = 0;
	src->not_before_us = 0;
	src->is_in_trouble = false;
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
	uint64_t now_us = clock_mono_us();

	for (size_t i = 0; i < w->source_count; i++) {
		struct source *src = &w->sources[i];

		if (src->not_before_us > now_us || !source_has_work(src))
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

/* Everything is stored, and the streams end with the process: nobody will ask for them again. */
static void sources_end(struct writer *w)
{
	for (size_t i = 0; i < w->source_count; i++) {
		struct source *src = &w->sources[i];

		if (src->is_known && !src->is_stopped &&
		    ledger_forget(w->db, src->stream->node_id, src->stream->id, w->options.owner) <
			    0)
			log_debug("database: stream %016" PRIx64 " stays in the ledger",
				  src->stream->id);
	}
}

/* Every few seconds: is the server still the one that confirmed what it has? Only then may segments
 * be removed. */
static int tick(struct writer *w)
{
	uint64_t now_us = clock_mono_us();
	int err;

	if (now_us - w->ticked_us < TICK_US)
		return HT_OK;
	w->ticked_us = now_us;
	err = db_packet_has_changed(w->db);
	if (err < 0)
		return err;
	if (err > 0) { /* that goes for new connections only */
		log_info("database: max_allowed_packet was changed: connecting again");
		disconnect(w);
		return HT_OK;
	}
	for (size_t i = 0; i < w->source_count; i++)
		if (!w->sources[i].in_doubt)
			stream_alive(w->sources[i].stream);
	sources_clean(w);
	return HT_OK;
}

/* After `recovered` of the stream that was looked at. */
static void unread_count(struct writer *w)
{
	unsigned unread = 0;

	if (atomic_load_explicit(&w->counters.unread, memory_order_relaxed) == 0)
		return;
	for (size_t i = 0; i < w->source_count; i++)
		unread += !w->sources[i].stream->is_live && !w->sources[i].is_known &&
			  !w->sources[i].is_stopped;
	atomic_store(&w->counters.unread, unread);
}

static void wait_for_work(struct writer *w, int timeout_ms)
{
	struct pollfd p = { .fd = w->wake_fd, .events = POLLIN };
	uint64_t n;

	if (poll(&p, 1, timeout_ms) == 1 && read(w->wake_fd, &n, sizeof(n)) < 0)
		log_debug("writer: %s", ht_strerror(-errno));
}

static bool is_finished(const struct writer *w)
{
	for (size_t i = 0; i < w->source_count; i++)
		if (source_has_work(&w->sources[i]))
			return false;
	return atomic_load(&w->finish);
}

/* Until a stream that waits for its next try comes to it. */
static int idle_ms(const struct writer *w)
{
	uint64_t now_us = clock_mono_us(), until_us = now_us + IDLE_MS * 1000;

	for (size_t i = 0; i < w->source_count; i++)
		if (source_has_work(&w->sources[i]) && w->sources[i].not_before_us < until_us)
			until_us = w->sources[i].not_before_us;
	return until_us > now_us ? (int)((until_us - now_us) / 1000) + 1 : 0;
}

/* New work does not shorten the wait; the end does. */
static void wait_before_retry(struct writer *w)
{
	uint64_t now_us = clock_mono_us();
	uint64_t until_us = now_us + 1000ULL * with_jitter(w->wait_ms);

	while (now_us < until_us && !atomic_load(&w->stop)) {
		wait_for_work(w, (int)((until_us - now_us) / 1000) + 1);
		now_us = clock_mono_us();
	}
}

/* One transaction of the stream whose turn it is. *any: was there one? @return an error of the
 * connection. */
static int turn(struct writer *w, bool *any)
{
	struct source *src = source_choose(w);
	int err = src ? step(w, src) : HT_OK;

	*any = src != NULL;
	unread_count(w);
	if (err < 0)
		src->last_day = UINT32_MAX;
	if (err == HT_ECONN)
		return err;
	if (err < 0)
		source_failed(w, src, err);
	else if (src)
		source_is_well(src);
	return HT_OK;
}

void writer_run(struct writer *w)
{
	while (!atomic_load(&w->stop)) {
		bool any = false;
		int err = connect_if_not(w);

		if (err == HT_OK)
			err = turn(w, &any);
		if (err == HT_OK)
			err = tick(w);
		if (err < 0) {
			connection_failed(w, err);
			wait_before_retry(w);
			continue;
		}
		all_is_well(w);
		if (!any && is_finished(w)) {
			if (spool_is_in_memory(w->options.spool))
				sources_end(w);
			break;
		}
		if (!any)
			wait_for_work(w, idle_ms(w));
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
		if (st->writer == w->options.index && !st->is_live)
			w->counters.unread++;
	}
	return HT_OK;
}

int writer_new(struct writer **out, const struct writer_options *options)
{
	struct batch_options batch = { .admin = options->admin,
				       .layout = options->layout,
				       .rejects = options->rejects };
	struct writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->options = *options;
	pthread_mutex_init(&w->db_lock, NULL);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->buf = aligned_alloc(64, (BATCH_MAX_BYTES + 63) & ~63UL);
	err = w->wake_fd < 0 ? -errno : w->buf ? sources_make(w) : -ENOMEM;
	if (err == HT_OK)
		err = batch_new(&w->batch, &batch);
	if (err == HT_OK && options->is_statistics)
		err = sums_new(&w->sums, options->admin);
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
	batch_free(w->batch);
	sums_free(w->sums);
	free(w);
}
