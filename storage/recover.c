/* What an earlier start left of a stream: where does it end? */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
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

/* Is what lies behind the last whole block one that is all there, and damaged, rather than cut off
 * while it was written? Then its head, if that goes on from the block before, says what is lost. */
static bool tail_is_block(struct stream *st, const struct segment *seg, const struct found *found)
{
	struct block_head buf, h;

	if (segment_block_at(seg->fd, found->bytes, seg->bytes, false, &buf, &h) < 0 ||
	    found->bytes + h.bytes != seg->bytes || h.stream != st->id ||
	    h.seq != found->last_seq + 1 || h.rows_before != found->rows)
		return false; /* of a stream's first block these are 1 and 0 */
	st->tail_seq = h.seq;
	st->tail_rows = h.rows;
	return true;
}

/* What lies behind the last whole block: one that was being written goes, anything else is kept for
 * whoever wants to look at it. @return octets that stay. */
static uint64_t tail_settle(struct spool *s, struct stream *st, struct segment *seg,
			    const struct found *found, bool is_last)
{
	uint64_t tail = seg->bytes - found->bytes;
	uint64_t seq = found->bytes ? found->last_seq : seg->first_seq - 1;

	if (tail && (tail_is_block(st, seg, found) || !is_last || tail > BLOCK_MAX_BYTES)) {
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
	uint64_t kept;
	int err;

	for (size_t i = st->segment_count; i-- > 0 && !found.last_seq;) {
		struct segment *seg = &st->segments[i];

		err = segment_walk(st, seg, buf, &found);
		if (err < 0)
			return err;
		kept = tail_settle(s, st, seg, &found, i + 1 == st->segment_count);
		pthread_mutex_lock(&st->lock);
		segment_settle(s, st, seg, &found, kept);
		pthread_mutex_unlock(&st->lock);
	}
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
