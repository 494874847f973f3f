/*
 * Any bytes as a block: block_check() accepts it or not, and of what it accepts every row and text
 * lies inside, and goes to a table whose name is one. The first octet says how the rest becomes a
 * block, so that the checks behind the hash are reached too.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/block.h"
#include "storage/layout.h"
#include "tests/unit/make_block.h"

#define HASHED_FROM (offsetof(struct block_head, hash) + sizeof(uint64_t))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void touch(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++)
		sink += at[i];
}

/* Names stand between backquotes in SQL. */
static void check_table(const struct block_head *h, const struct row_head *r, bool is_daily)
{
	static struct routes routes = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct layout l = { .table = "sip_capture", .is_daily = is_daily, .routes = &routes };
	struct place p = layout_place_of(&l, h, r, 20778);
	char name[LAYOUT_NAME];

	assert((unsigned)p.what < layout_places(&l));
	layout_name(&l, p, name);
	assert(route_is_name(view_of(name)));
}

static void check_row(const uint8_t *bytes, uint32_t i)
{
	const struct block_head *h = block_head_of(bytes);
	const struct row_head *r = block_row(bytes, i);
	const uint8_t *at = (const uint8_t *)r, *end = bytes + h->directory;
	struct view row = { at, r->bytes };

	assert(at >= bytes + sizeof(*h) && at < end && r->bytes <= end - at);
	assert((uintptr_t)at % 8 == 0);
	assert(r->table > 0 && r->table < ROW_TABLE_END);
	assert((r->table == ROW_TABLE_STATISTICS) == stream_id_is_statistics(h->stream));
	for (unsigned n = 0; n < DELTA_NUMBER_COUNT; n++)
		sink += delta_number(h, r, (enum delta_number)n);
	for (unsigned t = 0; t < DELTA_TEXT_COUNT; t++)
		assert(view_inside(delta_text(h, r, (enum delta_text)t), row));
	for (unsigned n = 0; n < ROW_NUMBER_COUNT; n++)
		sink += (uint64_t)row_number(h, r, (enum row_number)n, -1);
	for (unsigned t = 0; t < ROW_TEXT_COUNT; t++) {
		struct view text = row_text(h, r, (enum row_text)t);

		assert(view_inside(text, row));
		assert((text.len == 0) == (text.at == NULL));
		touch(text.at, text.len);
	}
	touch(r, r->bytes);
	for (int is_daily = 0; is_daily < 2 && r->table != ROW_TABLE_STATISTICS; is_daily++)
		check_table(h, r, is_daily);
}

/* @p bytes is 8-aligned and exactly @p len octets long. */
static void check(const uint8_t *bytes, size_t len)
{
	int64_t total = block_head_check(bytes, len);
	int err = block_check(bytes, len);

	assert(err == HT_OK || err == HT_ETORN || err == HT_EBADBLOCK);
	assert(total > 0 || total == HT_ETORN || total == HT_EBADBLOCK);
	if (total < 0 || (size_t)total > len) {
		assert(err == (total < 0 ? (int)total : HT_ETORN));
		return;
	}
	assert(err != HT_ETORN);
	for (uint32_t i = 0; err == HT_OK && i < block_head_of(bytes)->rows; i++)
		check_row(bytes, i);
}

/* Make the head one that could be, but for what @p keep says stays as it came. */
static void head_repair(uint8_t *bytes, size_t len, uint8_t keep)
{
	struct block_head h;

	memcpy(&h, bytes, sizeof(h));
	h.magic = BLOCK_MAGIC;
	h.version = BLOCK_VERSION;
	if (!(keep & 1))
		h.bytes = (uint32_t)len & ~7U;
	if (!(keep & 2))
		h.rows %= 16;
	if (!(keep & 4) && h.rows * 4 + 4 + sizeof(h) <= h.bytes)
		h.directory = h.bytes - ((h.rows * 4 + 7) & ~7U);
	if (!(keep & 8)) {
		h.numbers = (uint16_t)(1 + h.numbers % 12);
		h.texts = (uint16_t)(1 + h.texts % 40);
	}
	if (!(keep & 16)) {
		h.seq = 1 + h.seq % 100;
		h.rows_before %= 1000;
	}
	memcpy(bytes, &h, sizeof(h));
}

static void hash_repair(uint8_t *bytes, size_t len)
{
	struct block_head h;

	memcpy(&h, bytes, sizeof(h));
	if (h.bytes < sizeof(h) || h.bytes > len)
		return;
	h.hash = XXH3_64bits_withSeed(bytes + HASHED_FROM, h.bytes - HASHED_FROM, BLOCK_VERSION);
	memcpy(bytes + offsetof(struct block_head, hash), &h.hash, sizeof(h.hash));
}

/* Sums instead of messages. */
static struct block *make_sums(uint32_t rows)
{
	struct delta d = { .kind = DELTA_KIND_IP,
			   .total = 1,
			   .name = view_of("INVITE"),
			   .text = view_of("192.0.2.1") };
	struct block *b;

	if (block_new(&b, BLOCK_MAX_ROWS) < 0)
		abort();
	for (d.at = 0; d.at < rows; d.at++)
		block_add_delta(b, &d, MADE_ARRIVAL_US);
	block_seal(b);
	return b;
}

/* A good block with some of its 32-bit words replaced: pairs of u16 place and u32 value. */
static void check_edited(const uint8_t *data, size_t size)
{
	bool is_statistics = data[0] >= 128;
	struct block *b = is_statistics ? make_sums(1 + data[0] % 4U)
					: make_block(1, 1 + data[0] % 4U, data[0] / 4);
	uint32_t len;
	uint8_t *bytes;

	block_stamp(b, 1, is_statistics ? 2 | STREAM_STATISTICS : 2, 3, 4);
	len = block_head_of(b->bytes)->bytes;
	bytes = malloc(len);
	assert(bytes);
	memcpy(bytes, b->bytes, len);
	for (data++, size--; size >= 6; data += 6, size -= 6) {
		uint16_t place;

		memcpy(&place, data, 2);
		memcpy(bytes + place % (len / 4) * 4, data + 2, 4);
	}
	hash_repair(bytes, len);
	check(bytes, len);
	free(bytes);
	block_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size - 1;
	uint8_t *bytes;

	if (size < 2 || size > BLOCK_MAX_BYTES)
		return 0;
	if (data[0] % 3 == 2) {
		check_edited(data + 1, size - 1);
		return 0;
	}
	bytes = malloc(len);
	assert(bytes);
	memcpy(bytes, data + 1, len);
	if (data[0] % 3 == 1 && len >= sizeof(struct block_head)) {
		head_repair(bytes, len, data[0] / 3);
		hash_repair(bytes, len);
	}
	check(bytes, len);
	free(bytes);
	return 0;
}
