/* storage/block.c: rows into a block and back, and that nothing damaged passes block_check(). */
#include "storage/block.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hep/msg.h"
#include "hep/sip.h"
#include "tests/unit/make_block.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define FIXED_BYTES                                                     \
	(sizeof(struct row_head) + ROW_NUMBER_COUNT * sizeof(int64_t) + \
	 ROW_TEXT_COUNT * sizeof(struct row_ref))
#define MAX_PAYLOAD (BLOCK_MAX_ROW_BYTES - FIXED_BYTES - 8 * 16384)

static const char invite[] = "INVITE sip:bob@biloxi.example:5070;transport=tcp SIP/2.0\r\n"
			     "Via: SIP/2.0/TCP pc33.example;branch=z9hG4bK776asdhds\r\n"
			     "From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
			     "To: Bob <sip:bob@biloxi.example>;tag=a6c85cf\r\n"
			     "Call-ID: a84b4c76e66710\r\n"
			     "CSeq: 314159 INVITE\r\n"
			     "Contact: <sip:alice@pc33.example:5088>\r\n"
			     "P-Asserted-Identity: <sip:carol@chicago.example>\r\n"
			     "Authorization: Digest username=\"alice\", realm=\"r\"\r\n"
			     "Diversion: <sip:dave@denver.example>\r\n"
			     "Reason: Q.850;cause=16\r\n"
			     "Content-Type: application/sdp\r\n"
			     "User-Agent: softphone\r\n"
			     "X-OIP: sip:192.0.2.7:5066\r\n"
			     "P-RTP-Stat: PS=1,OS=2\r\n"
			     "Expires: 90\r\n"
			     "X-CID: other-leg\r\n"
			     "X-One: first\r\n\r\nv=0\r\n";

/* What a row is made of; views point into `text` or at constants. */
struct given {
	struct msg m;
	struct sip s;
	struct row_extras x;
};

static struct given given_invite(void)
{
	struct given g = { .m = { .src = { .family = FAMILY_IPV6, .port = 5060 },
				  .dst = { .family = FAMILY_IPV6, .port = 5070 },
				  .ts_us = 86400000000ULL * 19675 + 5,
				  .arrival_us = 86400000000ULL * 19675 + 77,
				  .payload = view_of(invite) } };
	struct sip_names names = { 0 };

	ck_assert_int_eq(sip_names_add(&names, "X-CID"), 0);
	ck_assert_int_eq(sip_names_add(&names, "X-One"), 1);
	ck_assert_int_eq(sip_parse(g.m.payload, &names, &g.s), HT_OK);
	g.x = (struct row_extras){
		.table = ROW_TABLE_SIP_CAPTURE,
		.type = 1,
		.proto = 2,
		.callid_aleg = g.s.extra[0],
		.source_ip = view_of("2001:db8::1"),
		.destination_ip = view_of("2001:db8::2"),
		.correlation_id = view_of("from-hep"),
		.node = view_of("node1:2001"),
		.custom_field = { g.s.extra[1], view_of("outside"), { NULL, 0 } },
		.route = view_of("trunk_a")
	};
	return g;
}

static struct block *new_block(uint32_t max_rows)
{
	struct block *b;

	ck_assert_int_eq(block_new(&b, max_rows), HT_OK);
	return b;
}

static int add(struct block *b, const struct given *g)
{
	return block_add(b, &g->m, &g->s, &g->x);
}

/* A copy of exactly its size, so that reading behind it shows under AddressSanitizer. free() it. */
static uint8_t *copy_of(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	return memcpy(copy, bytes, len);
}

static int check_copy(const void *bytes, size_t len)
{
	uint8_t *copy = copy_of(bytes, len);
	int err = block_check(copy, len);

	free(copy);
	return err;
}

/* Seal and stamp; how many octets it has. */
static uint32_t finish(struct block *b)
{
	uint32_t bytes = block_seal(b);

	block_stamp(b, 7, 0x1234, 9, 100);
	return bytes;
}

static void stamp_again(uint8_t *bytes)
{
	struct block_head *h = (struct block_head *)(void *)bytes;
	size_t from = offsetof(struct block_head, hash) + sizeof(h->hash);

	h->hash = XXH3_64bits_withSeed(bytes + from, h->bytes - from, BLOCK_VERSION);
}

static void expect_text(const struct block_head *h, const struct row_head *r, enum row_text t,
			struct view want)
{
	struct view got = row_text(h, r, t);

	ck_assert_uint_eq(got.len, want.len);
	if (want.len)
		ck_assert_mem_eq(got.at, want.at, want.len);
	else
		ck_assert_ptr_null(got.at);
}

static void expect_row(const struct block_head *h, const struct row_head *r, const struct given *g)
{
	const struct msg *m = &g->m;
	const struct sip *s = &g->s;
	const struct row_extras *w = &g->x;

#define X(name, value) ck_assert_int_eq(row_number(h, r, ROW_##name, -77), (int64_t)(value));
	ROW_NUMBERS(X)
#undef X
#define X(name, value) expect_text(h, r, ROW_##name, value);
	ROW_TEXTS(X)
#undef X
	ck_assert_uint_eq(r->table, ROW_TABLE_SIP_CAPTURE);
	ck_assert_uint_eq(r->day, m->ts_us / 86400000000ULL);
	ck_assert_uint_eq(r->arrival_us, m->arrival_us);
}

/* ---- filling ---- */

START_TEST(row_reads_back_as_it_was_added)
{
	struct given g = given_invite(),
		     empty = { .m = { .ts_us = 1 }, .s = { .expires = -1 }, .x = { .table = 1 } };
	struct block *b = new_block(10);
	const struct block_head *h;

	ck_assert_uint_gt(g.s.rtp_stat.len, 0);
	ck_assert_uint_gt(g.s.originator_ip.len, 0);
	ck_assert_int_eq(add(b, &g), HT_OK);
	ck_assert_int_eq(add(b, &empty), HT_OK);
	g.x.type = 2;
	g.m.arrival_us += 5;
	ck_assert_int_eq(add(b, &g), HT_OK);
	ck_assert_int_eq(check_copy(b->bytes, finish(b)), HT_OK);

	h = block_head_of(b->bytes);
	ck_assert_uint_eq(h->rows, 3);
	ck_assert_uint_eq(h->seq, 9);
	ck_assert_uint_eq(h->stream, 0x1234);
	ck_assert_uint_eq(h->node_id, 7);
	ck_assert_uint_eq(h->rows_before, 100);
	ck_assert_uint_eq(h->last_arrival_us, g.m.arrival_us);
	expect_row(h, block_row(b->bytes, 1), &empty);
	expect_row(h, block_row(b->bytes, 2), &g);
	g.x.type = 1;
	g.m.arrival_us -= 5;
	expect_row(h, block_row(b->bytes, 0), &g);
	ck_assert_uint_eq(h->first_arrival_us, g.m.arrival_us);
	block_free(b);
}
END_TEST

START_TEST(texts_of_the_message_are_not_written_again)
{
	struct given g = given_invite();
	struct block *b = new_block(10);
	size_t outside = g.x.source_ip.len + g.x.destination_ip.len + g.x.correlation_id.len +
			 g.x.node.len + g.x.route.len + strlen("outside");
	const struct row_head *r;
	struct view msg, callid;

	ck_assert_int_eq(add(b, &g), HT_OK);
	finish(b);
	r = block_row(b->bytes, 0);
	ck_assert_uint_eq(r->bytes, (FIXED_BYTES + sizeof(invite) - 1 + outside + 7) & ~7UL);
	msg = row_text(block_head_of(b->bytes), r, ROW_msg);
	callid = row_text(block_head_of(b->bytes), r, ROW_callid);
	ck_assert(view_inside(callid, msg));
	block_free(b);
}
END_TEST

START_TEST(text_outside_of_the_message_is_cut_at_16_kib)
{
	struct given g = given_invite();
	struct block *b = new_block(1);
	char *big = malloc(20000);

	memset(big, 'k', 20000);
	g.x.correlation_id = (struct view){ (const uint8_t *)big, 20000 };
	ck_assert_int_eq(add(b, &g), HT_OK);
	ck_assert_int_eq(check_copy(b->bytes, finish(b)), HT_OK);
	g.x.correlation_id.len = 16384;
	expect_row(block_head_of(b->bytes), block_row(b->bytes, 0), &g);
	free(big);
	block_free(b);
}
END_TEST

START_TEST(everything_lies_on_multiples_of_eight)
{
	for (uint32_t rows = 0; rows < 12; rows++) {
		struct block *b = make_block(1, rows, rows);

		block_stamp(b, 1, 2, 3, 0);
		ck_assert_uint_eq(block_head_of(b->bytes)->bytes % 8, 0);
		ck_assert_uint_eq(block_head_of(b->bytes)->directory % 8, 0);
		ck_assert_int_eq(check_copy(b->bytes, block_head_of(b->bytes)->bytes), HT_OK);
		for (uint32_t i = 0; i < rows; i++) {
			ck_assert_uint_eq((uintptr_t)block_row(b->bytes, i) % 8, 0);
			ck_assert_uint_eq(
				made_row_number(block_head_of(b->bytes), block_row(b->bytes, i)),
				1 + i);
		}
		block_free(b);
	}
}
END_TEST

START_TEST(block_is_full_by_rows)
{
	struct block *b = new_block(3);

	for (uint64_t n = 0; n < 3; n++) {
		ck_assert(!block_is_full(b));
		ck_assert_int_eq(make_row(b, n, 0), HT_OK);
	}
	ck_assert(block_is_full(b));
	block_reset(b);
	ck_assert(!block_is_full(b));
	block_free(b);
}
END_TEST

START_TEST(block_is_full_by_bytes)
{
	struct block *b = new_block(BLOCK_MAX_ROWS);

	while (!block_is_full(b)) {
		ck_assert_uint_lt(b->used, BLOCK_FULL_BYTES);
		ck_assert_int_eq(make_row(b, b->rows, 20000), HT_OK);
	}
	ck_assert_uint_ge(b->used, BLOCK_FULL_BYTES);
	ck_assert_uint_gt(b->rows, 40);
	ck_assert_int_eq(check_copy(b->bytes, finish(b)), HT_OK);
	block_free(b);
}
END_TEST

/* As many rows as there may be, as full as it may be, and then the largest row: the buffer still
 * holds it and its directory. */
START_TEST(largest_block_fits_its_buffer)
{
	struct given small = { .m = { .payload = view_of("x") }, .x = { .table = 1 } },
		     large = { .m = { .ts_us = 1 } };
	struct block *b = new_block(BLOCK_MAX_ROWS);
	char *text = calloc(1, 16384);
	uint8_t *payload = calloc(1, MAX_PAYLOAD);
	struct view outside = { (const uint8_t *)text, 16384 };
	uint32_t bytes;

	while (b->used + 2 * FIXED_BYTES < BLOCK_FULL_BYTES)
		ck_assert_int_eq(add(b, &small), HT_OK);
	large.m.payload = (struct view){ payload, MAX_PAYLOAD };
	large.x = (struct row_extras){ .table = ROW_TABLE_SIP_CAPTURE,
				       .callid_aleg = outside,
				       .source_ip = outside,
				       .destination_ip = outside,
				       .correlation_id = outside,
				       .node = outside,
				       .custom_field = { outside, outside, outside },
				       .route = outside };
	ck_assert_int_eq(add(b, &large), HT_EFULL);
	large.m.payload.len -= outside.len;
	ck_assert_int_eq(add(b, &large), HT_OK);
	ck_assert_uint_eq(b->used - b->directory[b->rows - 1], BLOCK_MAX_ROW_BYTES);
	bytes = finish(b);
	ck_assert_uint_le(bytes, BLOCK_MAX_BYTES);
	ck_assert_uint_gt(bytes, BLOCK_FULL_BYTES + BLOCK_MAX_ROW_BYTES - 2 * FIXED_BYTES);
	ck_assert_int_eq(check_copy(b->bytes, bytes), HT_OK);
	expect_row(block_head_of(b->bytes), block_row(b->bytes, b->rows - 1), &large);
	free(text);
	free(payload);
	block_free(b);
}
END_TEST

START_TEST(row_that_is_too_large_is_refused_and_changes_nothing)
{
	struct given g = given_invite();
	struct block *b = new_block(10);
	uint8_t *payload = calloc(1, MAX_PAYLOAD + 1), *before;
	uint32_t bytes, used;

	ck_assert_int_eq(add(b, &g), HT_OK);
	used = b->used;
	bytes = finish(b);
	before = copy_of(b->bytes, bytes);
	g.x.route.len = 0;
	g.m.payload = (struct view){ payload, MAX_PAYLOAD + 1 };
	ck_assert_int_eq(add(b, &g), HT_EFULL);
	ck_assert_uint_eq(b->used, used);
	ck_assert_uint_eq(b->rows, 1);
	ck_assert_uint_eq(finish(b), bytes);
	ck_assert_mem_eq(b->bytes, before, bytes);
	g = given_invite();
	ck_assert_int_eq(add(b, &g), HT_OK);
	ck_assert_int_eq(check_copy(b->bytes, finish(b)), HT_OK);
	free(before);
	free(payload);
	block_free(b);
}
END_TEST

START_TEST(block_can_be_used_again)
{
	struct given g = given_invite();
	struct block *b = make_block(1, 20, 100);

	block_reset(b);
	ck_assert_int_eq(add(b, &g), HT_OK);
	ck_assert_int_eq(check_copy(b->bytes, finish(b)), HT_OK);
	ck_assert_uint_eq(block_head_of(b->bytes)->rows, 1);
	expect_row(block_head_of(b->bytes), block_row(b->bytes, 0), &g);
	block_free(b);
}
END_TEST

/* ---- damage ---- */

static void flips_are_detected(uint32_t rows)
{
	struct block *b = make_block(1, rows, 3);
	uint32_t len = finish(b);
	uint8_t *bytes = copy_of(b->bytes, len);

	for (uint32_t i = 0; i < len; i++) {
		for (unsigned flip = 1; flip < 256; flip++) {
			int err;

			bytes[i] ^= (uint8_t)flip;
			err = block_check(bytes, len);
			ck_assert_msg(err == HT_EBADBLOCK || err == HT_ETORN, "octet %u xor %u: %d",
				      i, flip, err);
			bytes[i] ^= (uint8_t)flip;
		}
	}
	ck_assert_int_eq(block_check(bytes, len), HT_OK);
	free(bytes);
	block_free(b);
}

START_TEST(every_changed_octet_is_detected)
{
	flips_are_detected((uint32_t)_i); /* 1 row has padding behind the directory, 2 have none */
}
END_TEST

START_TEST(every_truncation_is_torn)
{
	struct block *b = make_block(1, 2, 0);
	uint32_t len = finish(b);

	for (uint32_t i = 0; i < len; i++) {
		ck_assert_int_eq(check_copy(b->bytes, i), HT_ETORN);
		ck_assert_int_eq((int)block_head_check(b->bytes, i),
				 i < sizeof(struct block_head) ? HT_ETORN : (int)len);
	}
	block_free(b);
}
END_TEST

START_TEST(octets_behind_a_block_are_left_alone)
{
	struct block *b = make_block(1, 2, 0);
	uint32_t len = finish(b);
	uint8_t *bytes = malloc(len + 8);

	memcpy(bytes, b->bytes, len);
	memset(bytes + len, 0xff, 8);
	ck_assert_int_eq(block_check(bytes, len + 8), HT_OK);
	free(bytes);
	block_free(b);
}
END_TEST

/* Heads that no block_seal() writes; the hash is right. */
static const struct {
	const char *what;
	size_t offset, size;
	uint64_t value;
} bad_heads[] = {
#define FIELD(field) offsetof(struct block_head, field), sizeof(((struct block_head *)0)->field)
	{ "magic", FIELD(magic), BLOCK_MAGIC + 1 },
	{ "version 0", FIELD(version), 0 },
	{ "next version", FIELD(version), BLOCK_VERSION + 1 },
	{ "odd length", FIELD(bytes), 1004 },
	{ "no length", FIELD(bytes), 0 },
	{ "length of half a head", FIELD(bytes), 40 },
	{ "too long", FIELD(bytes), BLOCK_MAX_BYTES + 8 },
	{ "most length", FIELD(bytes), 0xfffffff8 },
	{ "too many rows", FIELD(rows), BLOCK_MAX_ROWS + 1 },
	{ "more rows than directory", FIELD(rows), 5 },
	{ "fewer rows than directory", FIELD(rows), 0 },
	{ "rows that wrap", FIELD(rows), 0x40000001 },
	{ "directory in the head", FIELD(directory), sizeof(struct block_head) - 8 },
	{ "directory odd", FIELD(directory), sizeof(struct block_head) + 4 },
	{ "directory behind the end", FIELD(directory), 0xfffffff8 },
	{ "no numbers", FIELD(numbers), 0 },
	{ "many numbers", FIELD(numbers), 256 },
	{ "no texts", FIELD(texts), 0 },
	{ "many texts", FIELD(texts), 256 },
	{ "seq 0", FIELD(seq), 0 },
	{ "seq that wraps", FIELD(seq), UINT64_MAX },
	{ "rows before that wrap", FIELD(rows_before), UINT64_MAX },
#undef FIELD
};

START_TEST(head_that_was_never_written_is_refused)
{
	struct block *b = make_block(1, 2, 0);
	uint32_t len = finish(b);
	uint8_t *bytes = copy_of(b->bytes, len);

	memcpy(bytes + bad_heads[_i].offset, &bad_heads[_i].value, bad_heads[_i].size);
	if (block_head_of(bytes)->bytes == len)
		stamp_again(bytes);
	ck_assert_int_eq(block_head_check(bytes, len), HT_EBADBLOCK);
	ck_assert_int_eq(block_check(bytes, len), HT_EBADBLOCK);
	free(bytes);
	block_free(b);
}
END_TEST

/* Rows that lead outside, in a block whose hash is right. Offsets count from the second row's
 * start; -1: its place in the directory. */
static const struct {
	const char *what;
	int offset;
	size_t size;
	uint64_t value;
} bad_rows[] = {
	{ "row in the head", -1, 4, 0 },
	{ "row not aligned", -1, 4, sizeof(struct block_head) + 4 },
	{ "row in the directory", -1, 4, 0xfffffff0 },
	{ "row that touches the directory", -1, 4,
	  UINT32_MAX }, /* the directory's offset is put in */
	{ "row shorter than its values", offsetof(struct row_head, bytes), 4, FIXED_BYTES - 8 },
	{ "row longer than the block", offsetof(struct row_head, bytes), 4, 1 << 20 },
	{ "row that wraps", offsetof(struct row_head, bytes), 4, 0xfffffff8 },
	{ "row of odd length", offsetof(struct row_head, bytes), 4, FIXED_BYTES + 4 },
	{ "no table", offsetof(struct row_head, table), 2, 0 },
	{ "unknown table", offsetof(struct row_head, table), 2, ROW_TABLE_END },
	{ "text in the row's head", FIXED_BYTES - 8, 8, 0x100000008 },
	{ "text right before the bytes", FIXED_BYTES - 8, 8, 0x100000000 + FIXED_BYTES - 1 },
	{ "text behind the row", FIXED_BYTES - 8, 8, 0x100100000 },
	{ "text that is too long", FIXED_BYTES - 8, 8, 0x0010000000000000 + FIXED_BYTES },
	{ "text that wraps", FIXED_BYTES - 8, 8, 0xffffffff00000000 + FIXED_BYTES },
	{ "text whose offset wraps", FIXED_BYTES - 8, 8, 0x20fffffff0 },
	{ "message behind the row", sizeof(struct row_head) + ROW_NUMBER_COUNT * 8, 8,
	  0x100100000 },
};

START_TEST(row_that_leads_outside_is_refused)
{
	struct block *b = make_block(1, 2, 0);
	uint32_t len = finish(b);
	uint8_t *bytes = copy_of(b->bytes, len);
	uint8_t *row = bytes + ((const uint8_t *)block_row(b->bytes, 1) - b->bytes);
	uint8_t *place = bytes + block_head_of(bytes)->directory + 4;
	uint64_t value = bad_rows[_i].value;

	if (bad_rows[_i].offset == -1 && value == UINT32_MAX)
		value = block_head_of(bytes)->directory;
	memcpy(bad_rows[_i].offset == -1 ? place : row + bad_rows[_i].offset, &value,
	       bad_rows[_i].size);
	stamp_again(bytes);
	ck_assert_int_eq(block_check(bytes, len), HT_EBADBLOCK);
	free(bytes);
	block_free(b);
}
END_TEST

START_TEST(text_of_no_length_may_point_anywhere)
{
	struct block *b = make_block(1, 1, 0);
	uint32_t len = finish(b);
	struct row_ref *refs =
		(struct row_ref *)(void *)(b->bytes + sizeof(struct block_head) + FIXED_BYTES) -
		ROW_TEXT_COUNT;

	refs[ROW_custom_field3] = (struct row_ref){ 0xffffffff, 0 };
	stamp_again(b->bytes);
	ck_assert_int_eq(check_copy(b->bytes, len), HT_OK);
	ck_assert_ptr_null(
		row_text(block_head_of(b->bytes), block_row(b->bytes, 0), ROW_custom_field3).at);
	block_free(b);
}
END_TEST

/* ---- other formats ---- */

/* The invite's row as a version with other numbers of values would have written it: values that we
 * do not know are 1 and "?". */
static uint8_t *block_with(uint16_t numbers, uint16_t texts, uint32_t *len)
{
	struct block *b = new_block(1);
	struct given g = given_invite();
	size_t fixed = sizeof(struct row_head) + numbers * 8U + texts * 8U;
	const struct row_head *old;
	struct block_head *h;
	struct row_head *r;
	struct row_ref *refs;
	uint8_t *bytes;
	uint32_t rest;

	ck_assert_int_eq(add(b, &g), HT_OK);
	finish(b);
	old = block_row(b->bytes, 0);
	rest = (uint32_t)(old->bytes - FIXED_BYTES);
	*len = (uint32_t)(sizeof(*h) + fixed + rest + 8);
	bytes = calloc(1, *len);
	h = (struct block_head *)(void *)bytes;
	*h = *block_head_of(b->bytes);
	h->numbers = numbers;
	h->texts = texts;
	h->bytes = *len;
	h->directory = *len - 8;
	r = (struct row_head *)(void *)(bytes + sizeof(*h));
	*r = *old;
	r->bytes = (uint32_t)(fixed + rest);
	for (unsigned i = 0; i < numbers; i++)
		((int64_t *)(void *)(r + 1))[i] =
			i < ROW_NUMBER_COUNT ? ((const int64_t *)(const void *)(old + 1))[i] : 1;
	refs = (struct row_ref *)(void *)((int64_t *)(void *)(r + 1) + numbers);
	for (unsigned i = 0; i < texts; i++) {
		refs[i] = (struct row_ref){ (uint32_t)fixed, 1 };
		if (i >= ROW_TEXT_COUNT)
			continue;
		refs[i] = ((
			const struct row_ref *)(const void *)((const int64_t *)(const void *)(old +
											      1) +
							      ROW_NUMBER_COUNT))[i];
		refs[i].offset = (uint32_t)(refs[i].offset - FIXED_BYTES + fixed);
	}
	memcpy((uint8_t *)r + fixed, (const uint8_t *)old + FIXED_BYTES, rest);
	((uint32_t *)(void *)(bytes + h->directory))[0] = sizeof(*h);
	stamp_again(bytes);
	block_free(b);
	return bytes;
}

START_TEST(values_that_an_older_format_lacks_are_absent)
{
	struct given g = given_invite();
	uint32_t len;
	uint8_t *bytes = block_with(ROW_NUMBER_COUNT - 1, ROW_callid + 1, &len);
	const struct block_head *h = block_head_of(bytes);
	const struct row_head *r;

	ck_assert_int_eq(block_check(bytes, len), HT_OK);
	r = block_row(bytes, 0);
	ck_assert_int_eq(row_number(h, r, ROW_expires, -1), -1);
	ck_assert_int_eq(row_number(h, r, ROW_type, -1), 1);
	expect_text(h, r, ROW_callid, g.s.callid);
	expect_text(h, r, ROW_msg, g.m.payload);
	for (unsigned t = ROW_callid + 1; t < ROW_TEXT_COUNT; t++)
		expect_text(h, r, (enum row_text)t, (struct view){ NULL, 0 });
	free(bytes);
}
END_TEST

/* As those wrote that had no `table:` of rules yet. */
START_TEST(row_of_before_there_were_routes_has_none)
{
	struct given g = given_invite();
	uint32_t len;
	uint8_t *bytes = block_with(ROW_NUMBER_COUNT, ROW_route, &len);

	ck_assert_int_eq(block_check(bytes, len), HT_OK);
	g.x.route = (struct view){ NULL, 0 };
	expect_row(block_head_of(bytes), block_row(bytes, 0), &g);
	free(bytes);
}
END_TEST

START_TEST(values_that_only_a_newer_format_has_are_passed_over)
{
	struct given g = given_invite();
	uint32_t len;
	uint8_t *bytes = block_with(ROW_NUMBER_COUNT + 3, ROW_TEXT_COUNT + 2, &len);

	ck_assert_int_eq(block_check(bytes, len), HT_OK);
	expect_row(block_head_of(bytes), block_row(bytes, 0), &g);
	free(bytes);
}
END_TEST

START_TEST(sums_read_back_as_they_were_added)
{
	struct delta d = { .kind = DELTA_KIND_USERAGENT,
			   .at = 1700000100,
			   .auth = true,
			   .total = 1ULL << 40,
			   .name = view_of("REGISTER"),
			   .cseq = view_of("BYE"),
			   .text = view_of("phone") };
	const struct block_head *h;
	const struct row_head *r;
	struct block *b;

	ck_assert_int_eq(block_new(&b, 10), HT_OK);
	block_add_delta(b, &d, 77);
	d.text = (struct view){ NULL, 0 };
	d.totag = true;
	block_add_delta(b, &d, 78);
	block_seal(b);
	block_stamp(b, 1, STREAM_STATISTICS | 5, 1, 0);
	h = block_head_of(b->bytes);
	ck_assert_int_eq(block_check(b->bytes, h->bytes), HT_OK);
	ck_assert_uint_eq(h->rows, 2);
	ck_assert_uint_eq(h->last_arrival_us, 78);
	r = block_row(b->bytes, 0);
	ck_assert_uint_eq(r->table, ROW_TABLE_STATISTICS);
	ck_assert_uint_eq(delta_number(h, r, DELTA_kind), DELTA_KIND_USERAGENT);
	ck_assert_uint_eq(delta_number(h, r, DELTA_at), 1700000100);
	ck_assert_uint_eq(delta_number(h, r, DELTA_auth), 1);
	ck_assert_uint_eq(delta_number(h, r, DELTA_totag), 0);
	ck_assert_uint_eq(delta_number(h, r, DELTA_total), 1ULL << 40);
	ck_assert(view_is(delta_text(h, r, DELTA_name), "REGISTER"));
	ck_assert(view_is(delta_text(h, r, DELTA_cseq), "BYE"));
	ck_assert(view_is(delta_text(h, r, DELTA_text), "phone"));
	r = block_row(b->bytes, 1);
	ck_assert_uint_eq(delta_number(h, r, DELTA_totag), 1);
	ck_assert_uint_eq(delta_text(h, r, DELTA_text).len, 0);
	block_reset(b); /* and messages again */
	ck_assert_int_eq(make_row(b, 1, 0), HT_OK);
	block_seal(b);
	block_stamp(b, 1, 5, 1, 0);
	ck_assert_int_eq(block_check(b->bytes, block_head_of(b->bytes)->bytes), HT_OK);
	block_free(b);
}
END_TEST

START_TEST(sums_and_messages_keep_to_their_streams)
{
	struct block *b = make_block(1, 2, 0);

	block_stamp(b, 1, STREAM_STATISTICS | 5, 1, 0);
	ck_assert_int_eq(block_check(b->bytes, block_head_of(b->bytes)->bytes), HT_EBADBLOCK);
	block_reset(b);
	block_add_delta(b, &(struct delta){ .kind = DELTA_KIND_DATA, .total = 1 }, 1);
	block_seal(b);
	block_stamp(b, 1, 5, 1, 0);
	ck_assert_int_eq(block_check(b->bytes, block_head_of(b->bytes)->bytes), HT_EBADBLOCK);
	block_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("block");
	TCase *t = tcase_create("block");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, row_reads_back_as_it_was_added);
	tcase_add_test(t, texts_of_the_message_are_not_written_again);
	tcase_add_test(t, text_outside_of_the_message_is_cut_at_16_kib);
	tcase_add_test(t, everything_lies_on_multiples_of_eight);
	tcase_add_test(t, block_is_full_by_rows);
	tcase_add_test(t, block_is_full_by_bytes);
	tcase_add_test(t, largest_block_fits_its_buffer);
	tcase_add_test(t, row_that_is_too_large_is_refused_and_changes_nothing);
	tcase_add_test(t, block_can_be_used_again);
	tcase_add_loop_test(t, every_changed_octet_is_detected, 1, 3);
	tcase_add_test(t, every_truncation_is_torn);
	tcase_add_test(t, octets_behind_a_block_are_left_alone);
	tcase_add_loop_test(t, head_that_was_never_written_is_refused, 0, ROWS(bad_heads));
	tcase_add_loop_test(t, row_that_leads_outside_is_refused, 0, ROWS(bad_rows));
	tcase_add_test(t, text_of_no_length_may_point_anywhere);
	tcase_add_test(t, values_that_an_older_format_lacks_are_absent);
	tcase_add_test(t, row_of_before_there_were_routes_has_none);
	tcase_add_test(t, values_that_only_a_newer_format_has_are_passed_over);
	tcase_add_test(t, sums_read_back_as_they_were_added);
	tcase_add_test(t, sums_and_messages_keep_to_their_streams);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
