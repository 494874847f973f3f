/* Rows by table; one statement per table, and a search for who is to blame when it fails. */
#include "storage/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/admin.h"
#include "storage/block.h"
#include "storage/ledger.h"
#include "storage/table.h"

#define MAX_BLOCKS	4096
#define MAX_TARGETS	(32 + ROUTES_MOST) /* tables whose statements are kept */
#define SCRATCH_PER_ROW 10
#define STRIKES \
	3 /* transactions with refusals after which a lone row is not believed to be the fault */
#define SPARE_IDS 64 /* for rows of tables without transactions whose ids were taken */

_Static_assert(ROW_TEXT_COUNT <= 64, "a bit per text");

#define CALLS_LEAST 256	 /* rows of a table in a transaction from which it pays to gather calls */
#define NEEDED_FOR  1000 /* transactions that a seldom column is sent for after it had a value */

_Static_assert(TABLE_MAX_COLUMNS <= 64, "a bit per column");

/*
 * A table and its statement. What a value costs the server is much the same whether it is empty or
 * not, so columns that no row of a transaction has a value for are left to their defaults, where
 * these say the same.
 */
struct target {
	struct place place;
	struct table table;
	bool is_known;			 /* the table was read */
	struct db_insert *insert;	 /* NULL: to be prepared */
	uint64_t left_out;		 /* bit per column of the table */
	uint64_t needed;		 /* columns that had a value lately */
	uint64_t needed_since;		 /* number of the transaction */
	uint8_t sent[TABLE_MAX_COLUMNS]; /* columns in the order of the statement */
	unsigned sent_count;
	uint64_t used; /* number of the transaction */
};

struct row {
	const struct block_head *block;
	const struct row_head *head;
	uint32_t index;		    /* in its block */
	uint64_t order;		    /* see calls_gather() */
	uint64_t clipped, repaired; /* bit per text, of when it was last sent */
};

/* Rows of one table; see calls_gather(). */
struct run {
	struct place place;
	uint32_t first, count; /* in `sorted` */
	uint32_t last_day;
};

struct batch {
	struct batch_options options;
	const void *block[MAX_BLOCKS];
	uint32_t blocks, rows;

	struct row *sorted;
	uint32_t sorted_room, sorted_rows;
	struct run *run;
	uint32_t runs, runs_room;

	struct target *target[MAX_TARGETS];
	unsigned targets;
	uint64_t turn;

	/* while it is inserted */
	struct db *db;
	uint64_t first_id;
	uint64_t skipped_ids; /* of SPARE_IDS */
	struct target *to;
	const struct run *from;
	bool blame_rows;
	struct reject *refused;
	uint32_t refused_count, refused_room;
	uint32_t refused_most;
	uint32_t last_day, future; /* rows of later days, which the first so many refusals are */
	struct batch_result result;
	unsigned error_code;
	char error[256];
	uint8_t *scratch; /* repaired texts of one row */
	size_t scratch_room;

	unsigned strikes; /* transactions one after the other of which more than a tenth was refused
			   */
};

/* ---- the rows ---- */

void batch_clear(struct batch *b)
{
	b->blocks = b->rows = b->runs = 0;
	b->from = NULL;
	b->error_code = 0;
	b->error[0] = '\0';
}

uint32_t batch_rows(const struct batch *b)
{
	return b->rows;
}

uint32_t batch_blocks(const struct batch *b)
{
	return b->blocks;
}

const struct block_head *batch_block(const struct batch *b, uint32_t i)
{
	return block_head_of(b->block[i]);
}

uint64_t batch_ids(const struct batch *b)
{
	return b->rows + SPARE_IDS;
}

const struct batch_result *batch_result(const struct batch *b)
{
	return &b->result;
}

/* Make room for one more of what @p at points to. */
static int grow(void **at, uint32_t *room, uint32_t needed, size_t bytes)
{
	uint32_t more = *room ? *room : 64;
	void *grown;

	if (needed <= *room)
		return HT_OK;
	while (more < needed)
		more *= 2;
	grown = realloc(*at, more * bytes);
	if (!grown)
		return -ENOMEM;
	*at = grown;
	*room = more;
	return HT_OK;
}

/*
 * Room for the repaired texts of a row. An octet of the message is in msg, in its header's column
 * (authorization repeats one), in up to two parts of it, and in as many as four more where a leg or
 * custom field names the same header: less than SCRATCH_PER_ROW.
 */
static int scratch_ensure(struct batch *b, size_t row_bytes)
{
	size_t room = SCRATCH_PER_ROW * row_bytes;
	uint8_t *grown;

	if (room <= b->scratch_room)
		return HT_OK;
	grown = realloc(b->scratch, room);
	if (!grown)
		return -ENOMEM;
	b->scratch = grown;
	b->scratch_room = room;
	return HT_OK;
}

int batch_add(struct batch *b, const void *block)
{
	const struct block_head *h = block_head_of(block);
	int err = HT_OK;

	if (b->blocks == MAX_BLOCKS)
		return HT_EFULL;
	for (uint32_t i = 0; i < h->rows && err == HT_OK; i++)
		err = scratch_ensure(b, block_row(block, i)->bytes);
	b->block[b->blocks++] = block;
	b->rows += h->rows;
	return err;
}

static struct run *run_find(struct batch *b, struct place p)
{
	for (uint32_t i = b->runs; i-- > 0;)
		if (place_is(b->run[i].place, p))
			return &b->run[i];
	if (grow((void **)&b->run, &b->runs_room, b->runs + 1, sizeof(*b->run)) < 0)
		return NULL;
	b->run[b->runs] = (struct run){ .place = p };
	return &b->run[b->runs++];
}

/* No table will have a place for it, and waiting for its day would stop all that come behind it. */
static int future_refused(struct batch *b, const struct block_head *h, const struct row_head *r,
			  uint32_t index, struct place p)
{
	struct reject *to;

	if (grow((void **)&b->refused, &b->refused_room, b->refused_count + 1,
		 sizeof(*b->refused)) < 0)
		return -ENOMEM;
	to = &b->refused[b->refused_count++];
	b->future++;
	*to = (struct reject){ .block = h, .row = r, .index = index };
	layout_name(b->options.layout, p, to->table);
	snprintf(to->error, sizeof(to->error),
		 "its day is further ahead than a place is made for (by our clock and the "
		 "database's)");
	b->result.rejected[REJECT_FUTURE]++;
	return HT_OK;
}

/* The second, above what tells calls from one another. */
static uint64_t row_order(const struct block_head *h, const struct row_head *r)
{
	struct view callid = row_text(h, r, ROW_callid);
	uint64_t second = (uint64_t)row_number(h, r, ROW_micro_ts, 0) / 1000000;

	return second << 32 | (XXH3_64bits(callid.at, callid.len) & UINT32_MAX);
}

/* In order of arrival, where nothing else decides. */
static int row_compare(const void *one, const void *other)
{
	const struct row *a = one, *b = other;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->block != b->block)
		return a->block->seq < b->block->seq ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

/*
 * Within each second the rows of a call one after the other: they have most keys in common, so that
 * the server finds the pages of its indexes where it just was. Few rows stay in order of arrival.
 */
static void calls_gather(struct batch *b)
{
	for (uint32_t i = 0; i < b->runs; i++)
		if (b->run[i].count >= CALLS_LEAST)
			qsort(b->sorted + b->run[i].first, b->run[i].count, sizeof(*b->sorted),
			      row_compare);
}

/* Did a rule choose another table, which cannot be? */
static bool is_unrouted(const struct batch *b, const struct block_head *h, const struct row_head *r,
			struct place p)
{
	struct view route = row_text(h, r, ROW_route);

	return route.len && r->table == ROW_TABLE_SIP_CAPTURE && p.what < PLACE_ROUTED &&
	       layout_route(b->options.layout, route) == PLACE_COUNT;
}

/* Count a row, or in the second pass put it behind the others of its table. */
static int row_sort(struct batch *b, const struct block_head *h, uint32_t i, uint32_t today,
		    int pass)
{
	const struct row_head *r = block_row(h, i);
	struct place p = layout_place_of(b->options.layout, h, r, today);
	struct run *run;

	if (r->day > b->last_day)
		return pass == 0 ? future_refused(b, h, r, i, p) : HT_OK;
	run = run_find(b, p);
	if (!run)
		return -ENOMEM;
	if (pass == 1) {
		b->sorted[run->first + run->count] =
			(struct row){ .block = h, .head = r, .index = i, .order = row_order(h, r) };
		b->result.unrouted += is_unrouted(b, h, r, p);
	}
	run->count++;
	if (r->day > run->last_day)
		run->last_day = r->day;
	return HT_OK;
}

/* Count the rows of each table, then put them behind one another. */
static int sort(struct batch *b)
{
	uint32_t today = (uint32_t)(clock_wall_us() / 86400000000ULL), at = 0;
	int err = HT_OK;

	if (grow((void **)&b->sorted, &b->sorted_room, b->rows, sizeof(*b->sorted)) < 0)
		return -ENOMEM;
	b->runs = 0;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t k = 0; k < b->blocks; k++) {
			const struct block_head *h = block_head_of(b->block[k]);

			for (uint32_t i = 0; i < h->rows && err == HT_OK; i++)
				err = row_sort(b, h, i, today, pass);
		}
		for (uint32_t i = 0; i < b->runs && pass == 0; i++) {
			b->run[i].first = at;
			at += b->run[i].count;
			b->run[i].count = 0;
		}
	}
	b->sorted_rows = at;
	if (err == HT_OK)
		calls_gather(b);
	return err;
}

/* ---- values ---- */

static void value_fit(struct row *row, const struct column *c, struct view text, uint8_t **scratch,
		      struct db_value *out)
{
	struct view fitted = text;
	unsigned fit = text.len ? text_fit(c, text, *scratch, &fitted) : FIT_AS_IS;

	if (fitted.at == *scratch)
		*scratch += fitted.len;
	if (fit & FIT_CLIPPED)
		row->clipped |= 1ULL << c->value;
	if (fit & FIT_REPAIRED)
		row->repaired |= 1ULL << c->value;
	out->at = fitted.at;
	out->len = fitted.len;
}

/* A db_row_fn: the values of one row in the order of the table's columns. */
static void row_values(void *ctx, size_t n, struct db_value *values)
{
	struct batch *b = ctx;
	const struct table *table = &b->to->table;
	struct row *row = &b->sorted[n];
	const struct block_head *h = row->block;
	const struct row_head *r = row->head;
	uint8_t *scratch = b->scratch;
	struct db_value *raw = NULL;

	row->clipped = row->repaired = 0;
	for (unsigned i = 0; i < b->to->sent_count; i++) {
		const struct column *c = &table->column[b->to->sent[i]];

		switch (c->source) {
		case COLUMN_ID:
			values[i].number = (int64_t)(b->first_id + b->skipped_ids + n);
			break;
		case COLUMN_DATE:
			values[i].number = row_number(h, r, ROW_micro_ts, 0) / 1000000;
			break;
		case COLUMN_NUMBER:
			values[i].number =
				row_number(h, r, c->value, c->value == ROW_expires ? -1 : 0);
			break;
		case COLUMN_TEXT:
			value_fit(row, c, row_text(h, r, c->value), &scratch, &values[i]);
			break;
		case COLUMN_MSG_RAW:
			raw = &values[i];
			break;
		}
	}
	if (raw) {
		struct view msg = row_text(h, r, ROW_msg);

		raw->at = msg.at;
		raw->len = row->repaired & 1ULL << ROW_msg ? msg.len : 0;
	}
}

/* ---- tables ---- */

static void target_free(struct target *t)
{
	db_insert_free(t->insert);
	free(t);
}

/* One for this table, unprepared at first; the one that was not used for the longest time goes. */
static struct target *target_of(struct batch *b, struct place p)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < b->targets; i++) {
		if (place_is(b->target[i]->place, p))
			return b->target[i];
		if (b->target[i]->used < b->target[oldest]->used)
			oldest = i;
	}
	if (b->targets < MAX_TARGETS)
		oldest = b->targets++;
	else
		target_free(b->target[oldest]);
	b->target[oldest] = calloc(1, sizeof(struct target));
	if (!b->target[oldest]) {
		b->target[oldest] = b->target[--b->targets];
		return NULL;
	}
	b->target[oldest]->place = p;
	return b->target[oldest];
}

static void error_keep(struct batch *b)
{
	b->error_code = db_last_errno(b->db);
	snprintf(b->error, sizeof(b->error), "%s", db_last_error(b->db));
}

/* The columns of the table that are not left out. */
static int target_prepare(struct batch *b, struct target *t)
{
	static const enum db_kind kind[] = { [COLUMN_NUMBER] = DB_INTEGER,
					     [COLUMN_TEXT] = DB_TEXT,
					     [COLUMN_ID] = DB_INTEGER,
					     [COLUMN_DATE] = DB_DATETIME,
					     [COLUMN_MSG_RAW] = DB_BINARY };
	struct db_column columns[TABLE_MAX_COLUMNS];
	int err;

	db_insert_free(t->insert);
	t->insert = NULL;
	t->sent_count = 0;
	for (unsigned i = 0; i < t->table.count; i++) {
		struct db_column *c = &columns[t->sent_count];

		if (t->left_out >> i & 1)
			continue;
		memcpy(c->name, t->table.column[i].name, sizeof(c->name));
		c->kind = kind[t->table.column[i].source];
		t->sent[t->sent_count++] = (uint8_t)i;
	}
	err = db_insert_prepare(&t->insert, b->db, t->table.name, columns, t->sent_count);
	if (err < 0)
		error_keep(b);
	return err;
}

static bool has_value(const struct block_head *h, const struct row_head *r, const struct column *c)
{
	int64_t absent = c->value == ROW_expires ? -1 : 0;

	if (c->source == COLUMN_NUMBER)
		return row_number(h, r, c->value, absent) != absent;
	if (c->source == COLUMN_TEXT)
		return row_text(h, r, c->value).len > 0;
	return !text_is_plain(row_text(h, r, ROW_msg)); /* msg_raw may be needed */
}

/* Of these columns, those that no row of the run has a value for. */
static uint64_t columns_empty(const struct batch *b, const struct target *t, uint64_t columns)
{
	for (uint32_t n = b->from->first; n < b->from->first + b->from->count && columns; n++) {
		const struct row *row = &b->sorted[n];

		for (uint64_t left = columns; left; left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctzll(left);

			if (has_value(row->block, row->head, &t->table.column[i]))
				columns &= ~(1ULL << i);
		}
	}
	return columns;
}

static uint64_t may_be_left_out(const struct table *table)
{
	uint64_t columns = 0;

	for (unsigned i = 0; i < table->count; i++)
		columns |= (uint64_t)table->column[i].may_be_left_out << i;
	return columns;
}

/* Have a statement for the run's rows. A column that had a value is sent for a while, so that
 * statements are not prepared for every other transaction. */
static int target_ready(struct batch *b, struct target *t)
{
	uint64_t may = may_be_left_out(&t->table), empty = columns_empty(b, t, may);
	uint64_t left_out;

	if (b->turn - t->needed_since >= NEEDED_FOR) {
		t->needed = 0;
		t->needed_since = b->turn;
	}
	t->needed |= may & ~empty;
	left_out = may & ~t->needed;
	if (t->insert && left_out == t->left_out)
		return HT_OK;
	t->left_out = left_out;
	return target_prepare(b, t);
}

void batch_forget_table(struct batch *b, struct place p)
{
	for (unsigned i = 0; i < b->targets; i++) {
		if (!place_is(b->target[i]->place, p))
			continue;
		db_insert_free(b->target[i]->insert);
		b->target[i]->insert = NULL;
		b->target[i]->is_known = false;
	}
}

void batch_disconnect(struct batch *b)
{
	for (unsigned i = 0; i < b->targets; i++)
		target_free(b->target[i]);
	b->targets = 0;
}

/* ---- refusals ---- */

/* Is it the rows, as far as the kind of error says? */
static bool is_about_rows(const struct batch *b, int err)
{
	return err == HT_EROW || (err == HT_EDB && b->blame_rows) ||
	       (err == HT_EDUPLICATE && (b->blame_rows || !b->to->table.is_transactional));
}

static int row_refused(struct batch *b, size_t row)
{
	struct reject *r;

	if (b->refused_count - b->future == b->refused_most)
		return HT_ETABLE;
	if (grow((void **)&b->refused, &b->refused_room, b->refused_count + 1,
		 sizeof(*b->refused)) < 0)
		return -ENOMEM;
	r = &b->refused[b->refused_count++];
	*r = (struct reject){ .block = b->sorted[row].block,
			      .row = b->sorted[row].head,
			      .index = b->sorted[row].index,
			      .code = b->error_code };
	snprintf(r->table, sizeof(r->table), "%s", b->to->table.name);
	snprintf(r->error, sizeof(r->error), "%s", b->error);
	b->result.rejected[reject_reason_of(b->error_code)]++;
	b->result.stored[b->from->place.what]--;
	b->sorted[row].clipped = b->sorted[row].repaired = 0;
	return HT_OK;
}

static int rows_insert(struct batch *b, size_t first, size_t count);

/* A statement of these rows was refused, and the server does not say for which: halve it. */
static int rows_halve(struct batch *b, size_t first, size_t count)
{
	int err;

	if (count == 1)
		return row_refused(b, first);
	err = rows_insert(b, first, count / 2);
	return err < 0 ? err : rows_insert(b, first + count / 2, count - count / 2);
}

/*
 * The statement with the rows from @p first on was refused because of the one at @p bad. With
 * transactions nothing of it is in, so those before it are sent again; without, they are.
 */
static int rows_until(struct batch *b, size_t first, size_t bad)
{
	bool is_taken_id = b->error_code == 1062 && !b->to->table.is_transactional;
	unsigned code = b->error_code;
	char words[sizeof(b->error)];
	int err = HT_OK;

	memcpy(words, b->error, sizeof(words));
	if (bad > first && b->to->table.is_transactional)
		err = rows_insert(b, first, bad - first);
	if (err < 0)
		return err;
	if (is_taken_id && b->skipped_ids < SPARE_IDS) {
		b->skipped_ids++;
		return rows_insert(b, bad, 1);
	}
	b->error_code = code;
	memcpy(b->error, words, sizeof(words));
	return row_refused(b, bad);
}

static void count_see(void *ctx, unsigned columns, char **texts)
{
	if (columns == 1 && texts[0])
		*(int64_t *)ctx = strtoll(texts[0], NULL, 10);
}

/* Without transactions the rows before the refused one are in, and can be counted by their ids,
 * which are ours alone. */
static int64_t rows_in(struct batch *b, size_t first, size_t count)
{
	uint64_t id = b->first_id + b->skipped_ids + first;
	int64_t in = -1;
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "SELECT COUNT(*) FROM `%s` WHERE id BETWEEN %" PRIu64 " AND %" PRIu64,
		 b->to->table.name, id, id + count - 1);
	return db_query(b->db, count_see, &in, sql) < 0 ? -1 : in;
}

/* Which row of the statement was it? -1: the server does not say. */
static int64_t refused_one(struct batch *b, size_t first, size_t count)
{
	if (count == 1)
		return 0;
	if (b->error_code == 1153) /* of our own: it was not sent */
		return -1;
	if (!b->to->table.is_transactional && b->error_code != 1062)
		return rows_in(b, first, count);
	return db_refused_row(b->db);
}

/* Insert rows of the run, those aside that are refused alone. */
static int rows_insert(struct batch *b, size_t first, size_t count)
{
	size_t end = first + count, failed, of;
	int64_t bad;
	int err;

	while (first < end) {
		err = db_insert_run(b->to->insert, first, end - first, row_values, b);
		if (err == HT_OK)
			return HT_OK;
		error_keep(b);
		if (!is_about_rows(b, err))
			return err;
		db_insert_failed(b->to->insert, &failed, &of);
		bad = refused_one(b, failed, of);
		if (bad >= 0 && (size_t)bad < of) {
			err = rows_until(b, failed, failed + (size_t)bad);
			first = failed + (size_t)bad + 1;
		} else {
			err = rows_halve(b, failed, of);
			first = failed + of;
		}
		if (err < 0)
			return err;
	}
	return HT_OK;
}

/* ---- inserting ---- */

/* The rows of one table, in as many statements as the server's packet size asks for (text may be
 * written twice, as msg_raw, or escaped). */
static int run_insert(struct batch *b)
{
	uint64_t most = db_max_packet(b->db) / 4;
	size_t at = b->from->first, end = at + b->from->count;
	int err = HT_OK;

	while (at < end && err == HT_OK) {
		uint64_t bytes = 0;
		size_t first = at;

		while (at < end && (at == first || bytes + b->sorted[at].head->bytes <= most))
			bytes += b->sorted[at++].head->bytes;
		err = rows_insert(b, first, at - first);
	}
	return err;
}

static int rejects_write(struct batch *b)
{
	int err = HT_OK;

	for (uint32_t i = 0; i < b->refused_count && err == HT_OK; i++)
		err = reject_write(b->options.rejects, &b->refused[i]);
	if (err < 0) {
		b->error_code = 0;
		snprintf(b->error, sizeof(b->error), "rejected.jsonl: %s", ht_strerror(err));
	}
	return err;
}

static void texts_count(struct batch *b)
{
	for (uint32_t i = 0; i < b->sorted_rows; i++) {
		uint64_t any = b->sorted[i].clipped | b->sorted[i].repaired;

		for (unsigned t = 0; any >> t; t++) {
			b->result.clipped[t] += b->sorted[i].clipped >> t & 1;
			b->result.repaired[t] += b->sorted[i].repaired >> t & 1;
		}
	}
}

int batch_insert(struct batch *b, struct db *db, struct lease *ids, bool blame_rows,
		 uint32_t last_day)
{
	int err;

	b->db = db;
	b->first_id = lease_draw(ids, batch_ids(b));
	b->skipped_ids = 0;
	b->blame_rows = blame_rows;
	b->refused_count = b->future = 0;
	b->last_day = last_day;
	b->refused_most = b->rows / 10;
	if (b->refused_most == 0 && b->strikes < STRIKES)
		b->refused_most = 1;
	b->error_code = 0;
	b->error[0] = '\0';
	memset(&b->result, 0, sizeof(b->result));
	b->turn++;
	err = sort(b);
	for (uint32_t i = 0; i < b->runs && err == HT_OK; i++) {
		b->from = &b->run[i];
		b->to = target_of(b, b->from->place);
		if (!b->to)
			return -ENOMEM;
		b->to->used = b->turn;
		if (!b->to->is_known)
			err = admin_ask_table(b->options.admin, b->to->place, &b->to->table);
		b->to->is_known = err == HT_OK;
		if (err == HT_OK)
			err = target_ready(b, b->to);
		b->result.stored[b->from->place.what] += b->from->count;
		if (err == HT_OK)
			err = run_insert(b);
	}
	if (err == HT_OK) {
		b->from = NULL;
		texts_count(b);
		err = rejects_write(b);
	}
	return err;
}

void batch_committed(struct batch *b)
{
	if (b->refused_count)
		log_warning("database: %" PRIu32 " row%s refused (%u: %s); see rejected.jsonl",
			    b->refused_count, b->refused_count == 1 ? "" : "s", b->refused[0].code,
			    b->refused[0].error);
	if (b->refused_count == b->future)
		b->strikes = 0;
	else if (b->refused_count - b->future > b->rows / 10)
		b->strikes++;
}

struct place batch_trouble(const struct batch *b, char name[LAYOUT_NAME], uint32_t *last_day)
{
	name[0] = '\0';
	*last_day = 0;
	if (!b->from)
		return (struct place){ PLACE_COUNT, 0 };
	layout_name(b->options.layout, b->from->place, name);
	*last_day = b->from->last_day;
	return b->from->place;
}

unsigned batch_error(const struct batch *b, const char **words)
{
	*words = b->error;
	return b->error_code;
}

/* ---- life ---- */

int batch_new(struct batch **out, const struct batch_options *options)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->options = *options;
	*out = b;
	return HT_OK;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	batch_disconnect(b);
	free(b->sorted);
	free(b->run);
	free(b->refused);
	free(b->scratch);
	free(b);
}
