/* Blocks: filling, sealing and checking them. */
#include "storage/block.h"

#include <errno.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hep/msg.h"
#include "hep/sip.h"

#define ROW_FIXED_BYTES                                                 \
	(sizeof(struct row_head) + ROW_NUMBER_COUNT * sizeof(int64_t) + \
	 ROW_TEXT_COUNT * sizeof(struct row_ref))
#define TEXT_MAX_BYTES \
	16384 /* of a text that is not the message; HEP and SIP bound them all by one packet */
#define HASHED_FROM (offsetof(struct block_head, hash) + sizeof(uint64_t))

_Static_assert(sizeof(struct block_head) % 8 == 0, "rows behind the head are 8-aligned");
_Static_assert(ROW_FIXED_BYTES % 8 == 0, "the fixed part of a row keeps it 8-aligned");

int block_new(struct block **out, uint32_t max_rows)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->max_rows = max_rows;
	b->bytes = malloc(BLOCK_MAX_BYTES); /* pages are touched as they are filled */
	b->directory = calloc(max_rows + 1, sizeof(*b->directory));
	if (!b->bytes || !b->directory) {
		block_free(b);
		return -ENOMEM;
	}
	block_reset(b);
	*out = b;
	return HT_OK;
}

void block_free(struct block *b)
{
	if (!b)
		return;
	free(b->bytes);
	free(b->directory);
	free(b);
}

void block_reset(struct block *b)
{
	b->used = sizeof(struct block_head);
	b->rows = 0;
	b->is_statistics = false;
}

bool block_is_full(const struct block *b)
{
	return b->rows >= b->max_rows || b->used >= BLOCK_FULL_BYTES;
}

/* Where the bytes of a row go. The message is first, so that texts which are part of it can point
 * there. */
struct row_fill {
	uint8_t *row;
	uint32_t used; /* from the row's start */
	struct view msg;
	uint32_t msg_offset;
	struct row_ref *refs;
};

/* What is kept of a text that is not the message. */
static inline uint32_t text_bytes(struct view v)
{
	return v.len > TEXT_MAX_BYTES ? TEXT_MAX_BYTES : v.len;
}

static inline void row_fill_text(struct row_fill *f, enum row_text t, struct view v)
{
	if (v.len > 0 && view_inside(v, f->msg)) {
		f->refs[t] =
			(struct row_ref){ f->msg_offset + (uint32_t)(v.at - f->msg.at), v.len };
		return;
	}
	v.len = text_bytes(v);
	f->refs[t] = (struct row_ref){ f->used, v.len };
	if (v.len)
		memcpy(f->row + f->used, v.at, v.len);
	f->used += v.len;
}

int block_add(struct block *b, const struct msg *m, const struct sip *s, const struct row_extras *w)
{
	struct row_fill f = { .row = b->bytes + b->used,
			      .used = ROW_FIXED_BYTES,
			      .msg = m->payload };
	struct row_head *head = (struct row_head *)(void *)f.row;
	int64_t *numbers = (int64_t *)(void *)(head + 1);

	/* The texts outside of the message: addresses, node, correlation id, route; bounded so that
	 * no sum passes the end. */
	if (m->payload.len >
	    BLOCK_MAX_ROW_BYTES - ROW_FIXED_BYTES - 8 * TEXT_MAX_BYTES - text_bytes(w->route))
		return HT_EFULL;
	f.refs = (struct row_ref *)(void *)(numbers + ROW_NUMBER_COUNT);
	f.msg_offset = f.used;
	if (m->payload.len)
		memcpy(f.row + f.used, m->payload.at, m->payload.len);
	f.used += m->payload.len;

#define X(name, value) numbers[ROW_##name] = (int64_t)(value);
	ROW_NUMBERS(X)
#undef X
#define X(name, value) row_fill_text(&f, ROW_##name, value);
	ROW_TEXTS(X)
#undef X
	while (f.used % 8)
		f.row[f.used++] = 0;
	*head = (struct row_head){ .bytes = f.used,
				   .table = w->table,
				   .kind = w->kind,
				   .day = (uint32_t)(m->ts_us / 86400000000ULL),
				   .arrival_us = m->arrival_us };
	b->directory[b->rows++] = b->used;
	b->used += f.used;
	return HT_OK;
}

void block_add_delta(struct block *b, const struct delta *d, uint64_t arrival_us)
{
	const struct view texts[DELTA_TEXT_COUNT] = {
		[DELTA_name] = d->name, [DELTA_cseq] = d->cseq, [DELTA_text] = d->text
	};
	struct row_head *head = (struct row_head *)(void *)(b->bytes + b->used);
	int64_t *numbers = (int64_t *)(void *)(head + 1);
	struct row_fill f = { .row = b->bytes + b->used,
			      .refs = (struct row_ref *)(void *)(numbers + DELTA_NUMBER_COUNT) };

	f.used = sizeof(*head) + DELTA_NUMBER_COUNT * sizeof(*numbers) +
		 DELTA_TEXT_COUNT * sizeof(*f.refs);
	numbers[DELTA_kind] = d->kind;
	numbers[DELTA_at] = d->at;
	numbers[DELTA_auth] = d->auth;
	numbers[DELTA_totag] = d->totag;
	numbers[DELTA_total] = (int64_t)d->total;
	for (unsigned t = 0; t < DELTA_TEXT_COUNT; t++)
		row_fill_text(&f, t, texts[t]);
	while (f.used % 8)
		f.row[f.used++] = 0;
	*head = (struct row_head){ .bytes = f.used,
				   .table = ROW_TABLE_STATISTICS,
				   .day = d->at / 86400,
				   .arrival_us = arrival_us };
	b->is_statistics = true;
	b->directory[b->rows++] = b->used;
	b->used += f.used;
}

uint32_t block_seal(struct block *b)
{
	struct block_head *h = (struct block_head *)(void *)b->bytes;
	uint32_t directory_bytes = b->rows * 4;
	const struct row_head *first, *last;

	memcpy(b->bytes + b->used, b->directory, directory_bytes);
	*h = (struct block_head){ .magic = BLOCK_MAGIC,
				  .version = BLOCK_VERSION,
				  .bytes = b->used + directory_bytes,
				  .rows = b->rows,
				  .directory = b->used,
				  .numbers =
					  b->is_statistics ? DELTA_NUMBER_COUNT : ROW_NUMBER_COUNT,
				  .texts = b->is_statistics ? DELTA_TEXT_COUNT : ROW_TEXT_COUNT };
	if (h->bytes % 8) /* one more directory entry's room, zero, so that blocks are 8-aligned in
			     a segment */
		memset(b->bytes + h->bytes, 0, 4);
	h->bytes = (h->bytes + 7) & ~7U;
	if (b->rows) {
		first = block_row(b->bytes, 0);
		last = block_row(b->bytes, b->rows - 1);
		h->first_arrival_us = first->arrival_us;
		h->last_arrival_us = last->arrival_us;
	}
	return h->bytes;
}

static uint64_t block_hash(const uint8_t *bytes, uint32_t len)
{
	return XXH3_64bits_withSeed(bytes + HASHED_FROM, len - HASHED_FROM, BLOCK_VERSION);
}

void block_stamp(struct block *b, uint32_t node_id, uint64_t stream, uint64_t seq,
		 uint64_t rows_before)
{
	struct block_head *h = (struct block_head *)(void *)b->bytes;

	h->node_id = node_id;
	h->stream = stream;
	h->seq = seq;
	h->rows_before = rows_before;
	h->hash = block_hash(b->bytes, h->bytes);
}

int64_t block_head_check(const void *bytes, size_t len)
{
	struct block_head h;

	if (len < sizeof(h))
		return HT_ETORN;
	memcpy(&h, bytes, sizeof(h));
	if (h.magic != BLOCK_MAGIC || h.version != BLOCK_VERSION || h.bytes % 8 ||
	    h.bytes > BLOCK_MAX_BYTES)
		return HT_EBADBLOCK;
	if (h.rows > BLOCK_MAX_ROWS || h.directory < sizeof(h) || h.directory % 8 ||
	    h.directory > h.bytes || ((h.rows * 4 + 7) & ~7U) != h.bytes - h.directory)
		return HT_EBADBLOCK;
	if (h.numbers == 0 || h.numbers > 255 || h.texts == 0 || h.texts > 255)
		return HT_EBADBLOCK;
	if (h.seq == 0 || h.seq > INT64_MAX || h.rows_before > INT64_MAX)
		return HT_EBADBLOCK;
	return h.bytes;
}

static bool row_is_inside(const struct block_head *h, const uint8_t *bytes, uint32_t offset)
{
	size_t fixed = sizeof(struct row_head) + h->numbers * sizeof(int64_t) +
		       h->texts * sizeof(struct row_ref);
	struct row_head r;
	struct row_ref ref;

	if (offset < sizeof(*h) || offset % 8 || offset > h->directory ||
	    h->directory - offset < fixed)
		return false;
	memcpy(&r, bytes + offset, sizeof(r));
	if (r.bytes % 8 || r.bytes < fixed || r.bytes > h->directory - offset || r.table == 0 ||
	    r.table >= ROW_TABLE_END || r.kind >= ROW_KIND_END ||
	    (r.table == ROW_TABLE_STATISTICS) != stream_id_is_statistics(h->stream))
		return false;
	for (unsigned t = 0; t < h->texts; t++) {
		memcpy(&ref, bytes + offset + fixed - (h->texts - t) * sizeof(ref), sizeof(ref));
		if (ref.len &&
		    (ref.offset < fixed || ref.offset > r.bytes || ref.len > r.bytes - ref.offset))
			return false;
	}
	return true;
}

int block_check(const void *bytes, size_t len)
{
	const struct block_head *h = bytes;
	int64_t total = block_head_check(bytes, len);
	uint32_t offset;

	if (total < 0)
		return (int)total;
	if ((size_t)total > len)
		return HT_ETORN;
	if (h->hash != block_hash(bytes, h->bytes))
		return HT_EBADBLOCK;
	for (uint32_t i = 0; i < h->rows; i++) {
		memcpy(&offset, (const uint8_t *)bytes + h->directory + 4 * (size_t)i, 4);
		if (!row_is_inside(h, bytes, offset))
			return HT_EBADBLOCK;
	}
	return HT_OK;
}
