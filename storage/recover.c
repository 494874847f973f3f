/* What an earlier start left of a stream: where does it end? */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/log.h"
#include "storage/block.h"
#include "storage/segment.h"
#include "storage/spool.h"

/* What a walk over a segment found. */
struct found {
	uint64_t bytes;	   /* up to the end of the last whole block; 0: there is none */
	uint64_t last_seq; /* of whole blocks that belong here; 0: there is none */
	uint64_t rows;	   /* of the stream up to there */
	uint32_t node_id;
};

/* Every block is read in full; damaged places between whole ones are passed over, and told when the
 * stream is read. */
static int segment_walk(const struct stream *st, const struct segment *seg, void *buf,
			struct found *out)
{
	struct block_head h;
	uint64_t at = 0;
	int err;

	*out = (struct found){ 0 };
	while (at < seg->bytes) {
		err = segment_block_at(seg->fd, at, seg->bytes, true, buf, &h);
		if (err == HT_OK && h.stream != st->id)
			err = HT_EBADBLOCK;
		if (err == HT_ETORN || err == HT_EBADBLOCK)
			err = segment_resync(seg->fd, st->id, &at, seg->bytes, buf, &h);
		if (err == HT_EBADBLOCK)
			break;
		if (err < 0)
			return err;
		at += h.bytes;
		out->bytes = at;
		if (h.seq < seg->first_seq || h.seq <= out->last_seq)
			continue; /* there twice, or under a wrong name: reading passes it over */
		out->last_seq = h.seq;
		out->node_id = h.node_id;
		out->rows = h.rows_before + h.rows;
	}
	return HT_OK;
}

/* Damaged blocks one after the other, all there: each head goes on from the one before. */
struct tail {
	bool is_whole; /* to the end of the segment */
	uint64_t first_seq, last_seq;
	uint64_t rows_before, rows_behind; /* of the stream */
	uint32_t count, rows[STREAM_TAIL_MOST];
};

/* What lies behind the last whole block: such blocks, or one that was cut off while it was written?
 * Where no block of the segment is whole, its name says the first seq, and the head the rows. */
static void tail_walk(const struct stream *st, const struct segment *seg, const struct found *found,
		      struct tail *out)
{
	uint64_t at = found->bytes, seq = found->last_seq, rows = found->rows;
	bool is_known = at > 0 || seg->first_seq == 1;
	struct block_head buf, h;

	if (at == 0)
		seq = seg->first_seq - 1;
	*out = (struct tail){ .first_seq = seq + 1, .last_seq = seq };
	out->rows_before = out->rows_behind = rows;
	for (; at < seg->bytes && out->count < STREAM_TAIL_MOST; at += h.bytes) {
		if (segment_block_at(seg->fd, at, seg->bytes, false, &buf, &h) < 0 ||
		    h.stream != st->id || h.seq != out->last_seq + 1 ||
		    (is_known && h.rows_before != out->rows_behind))
			return;
		if (!is_known)
			out->rows_before = h.rows_before;
		is_known = true;
		out->rows[out->count++] = h.rows;
		out->last_seq = h.seq;
		out->rows_behind = h.rows_before + h.rows;
	}
	out->is_whole = at == seg->bytes;
}

/* Does @p behind, of the next segment, go on where @p t ends? Then it becomes part of it. */
static void tail_join(struct tail *t, const struct tail *behind)
{
	if (!t->is_whole || behind->count == 0 || behind->first_seq != t->last_seq + 1 ||
	    behind->rows_before != t->rows_behind || t->count + behind->count > STREAM_TAIL_MOST)
		return;
	memcpy(t->rows + t->count, behind->rows, behind->count * sizeof(t->rows[0]));
	t->count += behind->count;
	t->last_seq = behind->last_seq;
	t->rows_behind = behind->rows_behind;
}

/* What lies behind the last whole block: one that was being written goes, anything else is kept for
 * whoever wants to look at it. @return octets that stay. */
static uint64_t tail_settle(struct spool *s, struct stream *st, struct segment *seg,
			    const struct found *found, bool are_blocks, bool is_last)
{
	uint64_t tail = seg->bytes - found->bytes;
	uint64_t seq = found->bytes ? found->last_seq : seg->first_seq - 1;

	if (tail && (are_blocks || !is_last || tail > BLOCK_MAX_BYTES)) {
		segment_set_aside(s, st, seg, found->bytes, seq + 1);
		return tail;
	}
	if (tail)
		log_warning("spool: stream %016" PRIx64 ": cut %" PRIu64
			    " octets behind block %" PRIu64
			    " that were being written when the process ended",
			    st->id, tail, seq);
	return is_last && segment_cut(s, seg, found->bytes) < 0 ? tail : 0;
}

/* Inside the stream's lock. What a segment's name promises was there once, even if it holds
 * nothing. */
static void segment_settle(struct spool *s, struct stream *st, struct segment *seg,
			   const struct found *found, uint64_t kept)
{
	uint64_t before = seg->first_seq - 1;

	spool_shrink(s, st, seg->bytes - found->bytes - kept);
	seg->bytes = found->bytes;
	seg->kept_bytes += kept;
	seg->last_seq = found->last_seq; /* 0: the ledger need not come here for it to go */
	if (st->last_seq < before)
		st->last_seq = before;
	if (st->last_seq < found->last_seq)
		st->last_seq = found->last_seq;
	if (found->last_seq) {
		st->node_id = found->node_id;
		st->rows = found->rows;
	}
}

/* From the last segment back to one that holds a whole block. */
static int last_block_find(struct spool *s, struct stream *st, void *buf)
{
	struct found found = { 0 };
	struct tail tail, behind = { 0 };
	uint64_t kept;
	int err;

	for (size_t i = st->segment_count; i-- > 0 && !found.last_seq;) {
		struct segment *seg = &st->segments[i];

		err = segment_walk(st, seg, buf, &found);
		if (err < 0)
			return err;
		tail_walk(st, seg, &found, &tail);
		kept = tail_settle(s, st, seg, &found, tail.is_whole, i + 1 == st->segment_count);
		tail_join(&tail, &behind);
		behind = tail;
		pthread_mutex_lock(&st->lock);
		segment_settle(s, st, seg, &found, kept);
		pthread_mutex_unlock(&st->lock);
	}
	st->tail_seq = behind.count ? behind.last_seq : 0; /* its heads say what is lost */
	st->tail_count = behind.count;
	memcpy(st->tail_rows, behind.rows, behind.count * sizeof(behind.rows[0]));
	if (st->last_seq == 0) /* not one block was ever whole: nothing to be drained, ever */
		stream_drop(s, st);
	return HT_OK;
}

int stream_recover(struct spool *s, struct stream *st)
{
	void *buf;
	int err;

	if (st->is_recovered)
		return HT_OK;
	buf = aligned_alloc(8, BLOCK_MAX_BYTES);
	if (!buf)
		return -ENOMEM;
	err = last_block_find(s, st, buf);
	free(buf);
	if (err == HT_OK)
		stream_sync_old(s, st);
	pthread_mutex_lock(&st->lock);
	st->is_recovered = err == HT_OK;
	pthread_mutex_unlock(&st->lock);
	return err;
}
