/* Sort, add up neighbours, write. */
#include "storage/sums.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/admin.h"
#include "storage/batch.h"
#include "storage/block.h"
#include "storage/db.h"
#include "storage/statistics.h"

#define STATEMENT_FULL 65536 /* octets after which a statement is sent */
#define VALUE_MOST     (2 * SUMS_TEXT_MAX + 64)

/* What is added up: equal in all but the total. */
struct sum {
	enum delta_kind kind;
	uint32_t at;
	bool auth, totag;
	uint64_t total;
	struct view name, cseq, text;
};

struct sums {
	struct admin *admin;
	struct statistics_tables tables;
	bool is_known; /* the tables are */
	struct sum *sum;
	uint32_t count, room;
	char *sql;
	size_t used, sql_room;
	const char *table; /* being changed */
	char words[256];
};

/* ---- adding up ---- */

static int view_compare(struct view a, struct view b)
{
	uint32_t len = a.len < b.len ? a.len : b.len;
	int order = len ? memcmp(a.at, b.at, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int sum_compare(const void *left, const void *right)
{
	const struct sum *a = left, *b = right;
	int order = (a->kind > b->kind) - (a->kind < b->kind);

	if (!order)
		order = (a->at > b->at) - (a->at < b->at);
	if (!order)
		order = view_compare(a->name, b->name);
	if (!order)
		order = view_compare(a->cseq, b->cseq);
	if (!order)
		order = view_compare(a->text, b->text);
	if (!order)
		order = a->auth - b->auth;
	return order ? order : a->totag - b->totag;
}

static int sums_read(struct sums *s, const struct batch *batch)
{
	uint32_t rows = batch_rows(batch);

	if (rows > s->room) {
		struct sum *grown = realloc(s->sum, rows * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->sum = grown;
		s->room = rows;
	}
	s->count = 0;
	for (uint32_t k = 0; k < batch_blocks(batch); k++) {
		const struct block_head *h = batch_block(batch, k);

		for (uint32_t i = 0; i < h->rows; i++) {
			const struct row_head *r = block_row(h, i);

			s->sum[s->count++] =
				(struct sum){ .kind = (enum delta_kind)delta_number(h, r,
										    DELTA_kind),
					      .at = (uint32_t)delta_number(h, r, DELTA_at),
					      .auth = delta_number(h, r, DELTA_auth),
					      .totag = delta_number(h, r, DELTA_totag),
					      .total = delta_number(h, r, DELTA_total),
					      .name = delta_text(h, r, DELTA_name),
					      .cseq = delta_text(h, r, DELTA_cseq),
					      .text = delta_text(h, r, DELTA_text) };
		}
	}
	return HT_OK;
}

/* In one order, so that servers that share a database do not wait for each other in a circle. */
static void sums_merge(struct sums *s)
{
	uint32_t to = 0;

	qsort(s->sum, s->count, sizeof(*s->sum), sum_compare);
	for (uint32_t i = 0; i < s->count; i++) {
		if (to && sum_compare(&s->sum[to - 1], &s->sum[i]) == 0)
			s->sum[to - 1].total += s->sum[i].total;
		else
			s->sum[to++] = s->sum[i];
	}
	s->count = to;
}

/* ---- statements ---- */

static int sql_room(struct sums *s, size_t more)
{
	size_t room = s->sql_room ? s->sql_room : 2 * STATEMENT_FULL;
	char *grown;

	while (room < s->used + more)
		room *= 2;
	if (room == s->sql_room)
		return HT_OK;
	grown = realloc(s->sql, room);
	if (!grown)
		return -ENOMEM;
	s->sql = grown;
	s->sql_room = room;
	return HT_OK;
}

/* There is room for it. */
__attribute__((format(printf, 2, 3))) static void sql_add(struct sums *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	s->used += (size_t)vsnprintf(s->sql + s->used, s->sql_room - s->used, format, args);
	va_end(args);
}

static int64_t sql_send(struct sums *s, struct db *db)
{
	int64_t rows = db_run_long(db, s->sql, s->used);

	s->used = 0;
	if (rows < 0)
		snprintf(s->words, sizeof(s->words), "%s", db_last_error(db));
	return rows;
}

static struct sums_values values_of(const struct sum *x)
{
	return (struct sums_values){ .from = x->at,
				     .to = x->at + DELTA_BUCKET_S,
				     .name = x->name,
				     .cseq = x->cseq,
				     .text = x->text,
				     .total = x->total,
				     .auth = x->auth,
				     .totag = x->totag };
}

static void names_add(struct sums *s, enum sums_table t, uint32_t has)
{
	const char *comma = "";

	sql_add(s, "INSERT INTO %s (", s->tables.table[t].name);
	for (unsigned r = 0; r < ROLE_COUNT; r++) {
		if (!(has & 1U << r))
			continue;
		sql_add(s, "%s`%s`", comma, sums_column(t, r));
		comma = ",";
	}
	sql_add(s, ") VALUES ");
}

static void row_add(struct sums *s, struct db *db, const struct sums_live *live,
		    const struct sums_values *v)
{
	const char *comma = "(";

	for (unsigned r = 0; r < ROLE_COUNT; r++) {
		if (!(live->has & 1U << r))
			continue;
		sql_add(s, "%s", comma);
		s->used += sums_literal(db, live, r, v, s->sql + s->used);
		comma = ",";
	}
	sql_add(s, ")");
}

/* Replies to BYE would be added to those to INVITE where the key does not tell them apart; what
 * Homer's pages show are those to INVITE. */
static bool is_left_out(const struct sums_live *live, const struct sum *x)
{
	return live->key && !(live->key & 1U << ROLE_CSEQ) && x->kind == DELTA_KIND_METHOD &&
	       view_is(x->cseq, "BYE");
}

/* The table has a key that tells sums apart. */
static int64_t store_by_key(struct sums *s, struct db *db, enum sums_table t, const struct sum *x,
			    uint32_t count)
{
	const struct sums_live *live = &s->tables.table[t];
	int64_t rows = 0;

	for (uint32_t i = 0; i < count && rows >= 0;) {
		s->used = 0;
		for (; i < count && s->used < STATEMENT_FULL; i++) {
			struct sums_values v = values_of(&x[i]);
			int err = sql_room(s, ROLE_COUNT * VALUE_MOST + 2048);

			if (err < 0)
				return err;
			if (is_left_out(live, &x[i]))
				continue;
			if (s->used == 0)
				names_add(s, t, live->has);
			else
				sql_add(s, ",");
			row_add(s, db, live, &v);
		}
		if (s->used == 0)
			break;
		sql_add(s,
			" ON DUPLICATE KEY UPDATE total = LEAST(total + VALUES(total), %" PRIu64
			")",
			live->total_most);
		rows = sql_send(s, db);
	}
	return rows;
}

/* It has none: what is there is changed, else inserted. */
static int64_t store_by_search(struct sums *s, struct db *db, enum sums_table t,
			       const struct sum *x)
{
	const struct sums_live *live = &s->tables.table[t];
	struct sums_values v = values_of(x);
	const char *word = " WHERE ";
	int64_t rows;
	int err = sql_room(s, ROLE_COUNT * VALUE_MOST + 2048);

	if (err < 0)
		return err;
	s->used = 0;
	sql_add(s, "UPDATE %s SET total = LEAST(total + %" PRIu64 ", %" PRIu64 ")", live->name,
		x->total, live->total_most);
	for (unsigned r = 0; r < ROLE_COUNT; r++) {
		if (r == ROLE_TOTAL || !(live->has & 1U << r))
			continue;
		sql_add(s, "%s`%s` = ", word, sums_column(t, r));
		s->used += sums_literal(db, live, r, &v, s->sql + s->used);
		word = " AND ";
	}
	sql_add(s, " LIMIT 1");
	rows = sql_send(s, db);
	if (rows != 0)
		return rows;
	names_add(s, t, live->has);
	row_add(s, db, live, &v);
	return sql_send(s, db);
}

/* ---- what is to be done later ---- */

static int pending_add(struct sums *s, struct db *db, enum pending what, const struct sum *x,
		       uint64_t total)
{
	static const struct sums_live texts = {
		.column = { [ROLE_NAME] = { .chars = 20, .bytes = 80, .charset = CHARSET_ASCII },
			    [ROLE_TEXT] = { .chars = 120,
					    .bytes = 480,
					    .charset = CHARSET_UTF8MB4 } }
	};
	struct sums_values v = values_of(x);
	int64_t rows;
	int err = sql_room(s, 2 * VALUE_MOST + 512);

	if (err < 0)
		return err;
	s->table = "heptap_pending";
	s->used = 0;
	sql_add(s,
		"INSERT INTO heptap_pending (what, at, name, source_ip, total) VALUES "
		"(%d, FROM_UNIXTIME(%" PRIu32 "), ",
		what, x->at);
	s->used += sums_literal(db, &texts, ROLE_NAME, &v, s->sql + s->used);
	sql_add(s, ", ");
	s->used += sums_literal(db, &texts, ROLE_TEXT, &v, s->sql + s->used);
	sql_add(s, ", %" PRIu64 ") ON DUPLICATE KEY UPDATE total = total + VALUES(total)", total);
	rows = sql_send(s, db);
	return rows < 0 ? (int)rows : HT_OK;
}

/* The five minutes that get something: what follows from them is computed again. */
static int buckets_touch(struct sums *s, struct db *db)
{
	struct sum touched = { 0 };
	int err = HT_OK;

	for (uint32_t i = 0; i < s->count && err == HT_OK; i++) {
		if (s->sum[i].kind != DELTA_KIND_METHOD || s->sum[i].at == touched.at)
			continue;
		touched.at = s->sum[i].at;
		err = pending_add(s, db, PENDING_BUCKET, &touched, 1);
	}
	return err;
}

static int alarms_add(struct sums *s, struct db *db, const struct sum *x, uint32_t count)
{
	enum pending what = x->kind == DELTA_KIND_ALARM ? PENDING_ALARM : PENDING_SCANNER;
	int err = HT_OK;

	for (uint32_t i = 0; i < count && err == HT_OK; i++)
		err = pending_add(s, db, what, &x[i], x[i].total);
	return err;
}

/* ---- all of it ---- */

/* Sums of one kind. */
static int kind_store(struct sums *s, struct db *db, const struct sum *x, uint32_t count)
{
	static const enum sums_table table[DELTA_KIND_END] = { [DELTA_KIND_METHOD] = SUMS_METHOD,
							       [DELTA_KIND_DATA] = SUMS_DATA,
							       [DELTA_KIND_IP] = SUMS_IP,
							       [DELTA_KIND_USERAGENT] =
								       SUMS_USERAGENT };
	const struct sums_live *live;
	int64_t rows = 0;

	if (x->kind == 0 || x->kind >= DELTA_KIND_END)
		return HT_OK; /* a later version's */
	if (x->kind >= DELTA_KIND_ALARM)
		return alarms_add(s, db, x, count);
	live = &s->tables.table[table[x->kind]];
	s->table = live->name;
	if (live->key)
		rows = store_by_key(s, db, table[x->kind], x, count);
	else
		for (uint32_t i = 0; i < count && rows >= 0; i++)
			rows = store_by_search(s, db, table[x->kind], &x[i]);
	return rows < 0 ? (int)rows : HT_OK;
}

static int tables_know(struct sums *s)
{
	int err = s->is_known ? HT_OK : admin_ask_statistics(s->admin, &s->tables);

	s->is_known = err == HT_OK;
	return err;
}

int sums_store(struct sums *s, struct db *db, const struct batch *batch)
{
	uint32_t from = 0, to;
	int err;

	s->table = "";
	s->words[0] = '\0';
	err = tables_know(s);
	if (err == HT_OK)
		err = sums_read(s, batch);
	if (err < 0)
		return err;
	sums_merge(s);
	err = buckets_touch(s, db);
	for (; from < s->count && err == HT_OK; from = to) {
		for (to = from; to < s->count && s->sum[to].kind == s->sum[from].kind; to++)
			;
		err = kind_store(s, db, &s->sum[from], to - from);
	}
	return err;
}

const char *sums_trouble(const struct sums *s, const char **words)
{
	*words = s->words;
	return s->table;
}

void sums_forget(struct sums *s)
{
	s->is_known = false;
}

/* ---- life ---- */

int sums_new(struct sums **out, struct admin *admin)
{
	struct sums *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->admin = admin;
	s->table = "";
	*out = s;
	return HT_OK;
}

void sums_free(struct sums *s)
{
	if (!s)
		return;
	free(s->sum);
	free(s->sql);
	free(s);
}
