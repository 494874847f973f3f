/* One look: the clocks, what is there, what has to be made, what may go. */
#include "storage/rotate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/partitions.h"
#include "storage/stock.h"

#define CLOCKS_APART_S 600  /* of the two, before nothing is dropped any more */
#define PER_STATEMENT  48   /* partitions that one ALTER TABLE makes */
#define DROPS_MOST     100  /* of one look: writers may wait for us meanwhile */
#define RACES_MOST     3    /* with other servers, before it is left to the next look */
#define STATS_DAYS     20   /* statistics are kept at least so long */
#define STATS_SLICE    5000 /* rows of one DELETE */
#define SQL_MAX	       8000 /* octets of a statement, PER_STATEMENT partitions included */

/* What is said once as long as it lasts: bits, for each kind of table and for the whole. */
enum remark {
	SAID_FLAT = 1 << 0,
	SAID_FOREIGN = 1 << 1,
	SAID_FULL = 1 << 2,
	SAID_MAKING = 1 << 3,
	SAID_DROPPING = 1 << 4,
	SAID_CLOCKS = 1 << 5,
	SAID_BYTES = 1 << 6,
	SAID_STATISTICS = 1 << 7,
};
#define WHOLE PLACE_COUNT

struct rotate {
	struct rotate_options options;
	struct rotate_counters counters;
	unsigned said[PLACE_COUNT + 1], lasting[PLACE_COUNT + 1]; /* before, and in this look */
	unsigned statements, drops, failures;			  /* of this look */
	uint64_t now;						  /* the earlier clock, s */
	bool clocks_agree;
	struct stock stock; /* what was there when last read */
};

struct rotate_options rotate_options_of(const struct conf *conf, const struct layout *layout)
{
	return (struct rotate_options){ .layout = layout,
					.step = conf->storage.partition == CONF_PARTITION_HOUR
							? PARTITION_HOUR
							: PARTITION_DAY,
					.retention_days = conf->storage.retention_days,
					.retention_bytes = conf->storage.retention_bytes };
}

int rotate_new(struct rotate **out, const struct rotate_options *options)
{
	struct rotate *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->options = *options;
	*out = r;
	return HT_OK;
}

void rotate_free(struct rotate *r)
{
	if (!r)
		return;
	stock_free(&r->stock);
	free(r);
}

const struct rotate_counters *rotate_counters(const struct rotate *r)
{
	return &r->counters;
}

/* DDL waits two seconds for others: while it waits, whoever comes later waits behind it. MySQL 8
 * would answer with sizes of yesterday. */
int rotate_session(struct db *db)
{
	int64_t rows =
		db_run(db, "SET autocommit=1, lock_wait_timeout=2, innodb_lock_wait_timeout=2 "
			   "/*!80000 , information_schema_stats_expiry=0 */");

	return rows < 0 ? (int)rows : HT_OK;
}

/* ---- saying ---- */

__attribute__((format(printf, 3, 4))) static void say(struct rotate *r, enum log_level level,
						      const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (r->options.out)
		fprintf(r->options.out, "-- %s\n", line);
	else
		log_line(level, "%s", line);
}

/* Is it to be said, or was it in the look before? */
static bool is_news(struct rotate *r, unsigned what, enum remark remark)
{
	bool is_new = !((r->said[what] | r->lasting[what]) & remark);

	r->lasting[what] |= remark;
	return is_new;
}

static bool is_waiting(const struct db *db, int err)
{
	return err == HT_ERETRY && db_last_errno(db) == 1205;
}

/* A statement about a table failed. @return the error if the connection is gone, else HT_OK. */
static int failed(struct rotate *r, struct db *db, unsigned what, enum remark remark,
		  const char *doing, int err)
{
	r->failures++;
	if (err == HT_ECONN || err == HT_ESTOP || err == -ENOMEM)
		return err;
	if (!is_news(r, what, remark))
		return HT_OK;
	if (is_waiting(db, err))
		say(r, LOG_LEVEL_WARNING,
		    "%s waits behind a transaction or a long SELECT of somebody else (SHOW "
		    "PROCESSLIST has it); it is tried again at each look",
		    doing);
	else
		say(r, LOG_LEVEL_ERROR, "%s: %s: %s", doing, ht_strerror(err), db_last_error(db));
	return HT_OK;
}

/* Run a statement, or only show it. @return rows changed, or an error of db_run(). */
static int statement(struct rotate *r, struct db *db, const char *sql)
{
	r->statements++;
	if (r->options.out)
		fprintf(r->options.out, "%s;\n", sql);
	return r->options.is_dry ? 0 : (int)db_run(db, "%s", sql);
}

/* ---- the clocks ---- */

static void number_see(void *ctx, unsigned columns, char **texts)
{
	if (columns == 1 && texts[0])
		*(uint64_t *)ctx = strtoull(texts[0], NULL, 10);
}

static int clocks_read(struct rotate *r, struct db *db)
{
	uint64_t ours = clock_wall_us() / 1000000, theirs = 0;
	int64_t rows = db_query(db, number_see, &theirs, "SELECT UNIX_TIMESTAMP()");

	if (rows < 0)
		return (int)rows;
	r->now = ours < theirs ? ours : theirs;
	r->clocks_agree = (ours < theirs ? theirs - ours : ours - theirs) <= CLOCKS_APART_S;
	if (!r->clocks_agree && is_news(r, WHOLE, SAID_CLOCKS))
		say(r, LOG_LEVEL_ERROR,
		    "clocks: ours is %" PRIu64 " s %s the database server's; nothing is dropped "
		    "until they agree, and no partition is made more than %d days ahead of the "
		    "earlier one",
		    ours < theirs ? theirs - ours : ours - theirs,
		    ours < theirs ? "behind" : "ahead of", LAYOUT_DAYS_MOST);
	return HT_OK;
}

static uint32_t today(const struct rotate *r)
{
	return (uint32_t)(r->now / 86400);
}

static int stock_again(struct rotate *r, struct db *db)
{
	stock_free(&r->stock);
	return stock_read(&r->stock, db, r->options.layout);
}

/* ---- making ---- */

/* A name that the table does not have yet: others may count their hours in another zone. */
static void name_avoid(const struct rotate *r, const char *table, struct partition *p)
{
	char name[PARTITION_NAME];
	unsigned n = 1;

	snprintf(name, sizeof(name), "%.40s", p->name);
	while (stock_has(&r->stock, table, p->name) && n < 100)
		snprintf(p->name, sizeof(p->name), "%.40s_%u", name, ++n);
}

/* As many as fit into one statement. @return how many, and where they end. */
static unsigned partitions_list(struct rotate *r, FILE *sql, const char *table, uint64_t *end,
				uint64_t until)
{
	uint32_t days = today(r) > LAYOUT_DAYS_MOST ? today(r) - LAYOUT_DAYS_MOST : 0;
	uint64_t oldest = (uint64_t)days * 86400;
	struct partition p;
	unsigned n = 0;

	for (; *end < until && n < PER_STATEMENT; n++) {
		partition_next(&p, *end, oldest, r->options.step);
		name_avoid(r, table, &p);
		fprintf(sql, "%sPARTITION `%s` VALUES LESS THAN (%" PRIu64 ")", n ? ", " : "",
			p.name, p.bound);
		*end = p.bound;
	}
	return n;
}

/* One statement. Behind the last partition, or out of the one without end, which is empty. */
static int partitions_add(struct rotate *r, struct db *db, const char *table,
			  const struct stock_table *t, uint64_t *end, uint64_t until)
{
	char text[SQL_MAX];
	FILE *sql = fmemopen(text, sizeof(text), "w");
	unsigned n;
	int err;

	if (!sql)
		return -errno;
	if (t->max)
		fprintf(sql, "ALTER TABLE `%s` REORGANIZE PARTITION `%s` INTO (", table,
			t->max->partition);
	else
		fprintf(sql, "ALTER TABLE `%s` ADD PARTITION (", table);
	n = partitions_list(r, sql, table, end, until);
	if (t->max)
		fprintf(sql, ", PARTITION `%s` VALUES LESS THAN MAXVALUE", t->max->partition);
	fprintf(sql, ")");
	if (fclose(sql) != 0)
		return -E2BIG;
	err = statement(r, db, text);
	if (err < 0 || r->options.is_dry)
		return err;
	counter_add(&r->counters.made, n);
	say(r, LOG_LEVEL_INFO, "table %s: %u partition%s made", table, n, n == 1 ? "" : "s");
	return HT_OK;
}

/* Somebody else made partitions at the same time: names, bounds or the one that was split are no
 * longer as they were. */
static bool is_race(const struct db *db, int err)
{
	static const unsigned codes[] = { 1493, 1507, 1517, 1520 };

	for (unsigned i = 0; err == HT_EDB && i < sizeof(codes) / sizeof(codes[0]); i++)
		if (db_last_errno(db) == codes[i])
			return true;
	return false;
}

static int is_empty(struct db *db, const struct stock_item *i, bool *out)
{
	char sql[256];
	uint64_t one = 0;
	int64_t rows;

	snprintf(sql, sizeof(sql), "SELECT 1 FROM `%s` PARTITION (`%s`) LIMIT 1", i->table,
		 i->partition);
	rows = db_query(db, number_see, &one, sql);
	*out = rows == 0;
	return rows < 0 ? (int)rows : HT_OK;
}

/* Can rows be given new partitions? If not it is said. @return 1, 0, or an error. */
static int may_be_made(struct rotate *r, struct db *db, const struct stock_table *t,
		       const char *table, unsigned what)
{
	bool empty = true;
	int err = HT_OK;

	if (t->is_flat && is_news(r, what, SAID_FLAT))
		say(r, LOG_LEVEL_WARNING,
		    "table %s: it has no partitions, so nothing of it is ever dropped; rename it "
		    "and "
		    "a table with partitions is made",
		    table);
	if (t->is_foreign && is_news(r, what, SAID_FOREIGN))
		say(r, LOG_LEVEL_WARNING,
		    "table %s: its partitions are not ranges of UNIX_TIMESTAMP(date); they are "
		    "left to whoever made them",
		    table);
	if (t->is_flat || t->is_foreign)
		return 0;
	if (t->max)
		err = is_empty(db, t->max, &empty);
	if (err < 0)
		return err;
	if (!empty && is_news(r, what, SAID_FULL))
		say(r, LOG_LEVEL_WARNING,
		    "table %s: partition %s holds rows, and to split it they would be copied while "
		    "nobody can write; that is not done. New rows go there too, and nothing of it "
		    "is "
		    "ever dropped. Rename the table and a new one is made, or in a quiet hour: "
		    "ALTER TABLE `%s` REORGANIZE PARTITION `%s` INTO (...)",
		    table, t->max->partition, table, t->max->partition);
	return empty;
}

/* Partitions for what is older than @p until. @return HT_OK; HT_EMISSING: they cannot be made; or
 * an error. */
static int partitions_ensure(struct rotate *r, struct db *db, const char *table, unsigned what,
			     uint64_t until)
{
	int err = HT_OK;

	for (unsigned races = 0; races <= RACES_MOST && err == HT_OK; races++) {
		struct stock_table t = stock_of_table(&r->stock, table);
		uint64_t end = t.end;

		if (t.items == 0)
			return HT_OK;
		if (end >= until)
			return HT_OK;
		err = may_be_made(r, db, &t, table, what);
		if (err <= 0)
			return err < 0 ? err : t.max || t.is_flat ? HT_OK : HT_EMISSING;
		err = HT_OK;
		while (end < until && err == HT_OK)
			err = partitions_add(r, db, table, &t, &end, until);
		if (!is_race(db, err))
			return err;
		err = stock_again(r, db);
	}
	return err < 0 ? err : HT_ERETRY;
}

int rotate_make_table(struct rotate *r, struct db *db, struct place place)
{
	static const enum schema_part part[PLACE_COUNT] = {
		[PLACE_SIP] = SCHEMA_CAPTURE,
		[PLACE_ROUTED... PLACE_COUNT - 1] = SCHEMA_CAPTURE,
		[PLACE_CALL] = SCHEMA_CAPTURE_DAY,
		[PLACE_REGISTRATION] = SCHEMA_CAPTURE_DAY,
		[PLACE_REST] = SCHEMA_CAPTURE_DAY,
		[PLACE_RTCP] = SCHEMA_RTCP,
		[PLACE_REPORT] = SCHEMA_REPORT,
		[PLACE_LOGS] = SCHEMA_LOGS,
	};
	struct schema_names names = { .database = "", .step = r->options.step };
	char name[LAYOUT_NAME];
	int err = clocks_read(r, db);

	if (err < 0)
		return err;
	layout_name(r->options.layout, place, name);
	names.table = name;
	names.today = today(r);
	r->statements++;
	if (!r->options.is_dry)
		err = schema_make(db, part[place.what], &names);
	if (err == HT_OK && place_is_daily(place) && !r->options.is_dry)
		counter_add(&r->counters.made, 1);
	if (err == HT_OK)
		say(r, LOG_LEVEL_INFO, "table %s %smade", name, r->options.is_dry ? "to be " : "");
	return err;
}

int rotate_ensure(struct rotate *r, struct db *db, struct place place, uint32_t *last)
{
	char name[LAYOUT_NAME];
	uint32_t most;
	int err = clocks_read(r, db);

	if (err < 0)
		return err;
	most = today(r) + LAYOUT_DAYS_MOST;
	if (*last > most && *last != LAYOUT_PAST) {
		*last = most;
		return r->clocks_agree ? HT_EFUTURE : HT_EMISSING;
	}
	if (place_is_daily(place))
		return HT_OK;
	layout_name(r->options.layout, place, name);
	err = stock_again(r, db);
	if (err == HT_OK)
		err = partitions_ensure(r, db, name, place.what, ((uint64_t)*last + 1) * 86400);
	stock_free(&r->stock);
	return err;
}

/* ---- ahead of time ---- */

/* Tables that last. */
static int partitions_ahead(struct rotate *r, struct db *db)
{
	uint64_t until = ((uint64_t)today(r) + LAYOUT_DAYS_AHEAD + 1) * 86400;
	unsigned places = layout_places(r->options.layout);
	char name[LAYOUT_NAME], doing[LAYOUT_NAME + 64];
	int err = HT_OK;

	for (unsigned what = 0; what < places && err == HT_OK; what++) {
		struct place p = { what, 0 };

		if (place_is_daily(p) || (what == PLACE_SIP && r->options.layout->is_daily))
			continue;
		layout_name(r->options.layout, p, name);
		if (r->options.out && stock_of_table(&r->stock, name).items == 0)
			say(r, LOG_LEVEL_WARNING,
			    "table %s: not there; heptap schema install makes it", name);
		snprintf(doing, sizeof(doing), "table %s: making partitions", name);
		err = partitions_ensure(r, db, name, what, until);
		if (err < 0 && err != HT_EMISSING)
			err = failed(r, db, what, SAID_MAKING, doing, err);
		else
			err = HT_OK;
	}
	return err;
}

/* Tables of the next days. */
static int tables_ahead(struct rotate *r, struct db *db)
{
	static const enum layout_place places[] = { PLACE_CALL, PLACE_REGISTRATION, PLACE_REST };
	char name[LAYOUT_NAME], doing[LAYOUT_NAME + 64];
	int err = HT_OK;

	for (unsigned i = 0; i < 3 * (LAYOUT_DAYS_AHEAD + 1) && err == HT_OK; i++) {
		struct place p = { places[i % 3], today(r) + i / 3 };

		layout_name(r->options.layout, p, name);
		if (stock_of_table(&r->stock, name).items)
			continue;
		snprintf(doing, sizeof(doing), "table %s: making it", name);
		err = rotate_make_table(r, db, p);
		if (err < 0)
			err = failed(r, db, p.what, SAID_MAKING, doing, err);
	}
	return err;
}

/* ---- dropping ---- */

static bool is_past(const struct stock_item *i)
{
	return strcmp(i->partition, PARTITION_PAST) == 0 ||
	       (place_is_daily(i->place) && i->place.day == LAYOUT_PAST);
}

/* Can it be dropped at all? What holds rows of today or later cannot, nor what has no end. */
static bool is_over(const struct rotate *r, const struct stock_item *i)
{
	return !i->is_foreign && i->bound != STOCK_NO_BOUND && i->bound <= r->now;
}

static bool is_old(const struct rotate *r, const struct stock_item *i)
{
	uint64_t age = (uint64_t)r->options.retention_days * 86400;

	return age && !is_past(i) && is_over(r, i) && i->bound + age <= r->now;
}

/* What was there a moment ago and is not any more: another server was faster. */
static bool is_gone(const struct db *db)
{
	unsigned code = db_last_errno(db);

	return code == 1051 || code == 1146 || code == 1507;
}

/* The place of rows older than all partitions is emptied, the others go. */
static void drop_statement(const struct stock_item *i, char *sql, size_t size)
{
	if (!i->partition[0])
		snprintf(sql, size, "DROP TABLE `%s`", i->table);
	else if (is_past(i))
		snprintf(sql, size, "ALTER TABLE `%s` TRUNCATE PARTITION `%s`", i->table,
			 i->partition);
	else
		snprintf(sql, size, "ALTER TABLE `%s` DROP PARTITION `%s`", i->table, i->partition);
}

/* @return HT_OK with @p done, or an error of the connection; others are said. */
static int drop(struct rotate *r, struct db *db, const struct stock_item *i, const char *why,
		bool *done)
{
	const char *of = i->partition[0] ? ": partition " : "";
	char sql[256], doing[LAYOUT_NAME + PARTITION_NAME + 64];
	int err;

	drop_statement(i, sql, sizeof(sql));
	err = statement(r, db, sql);
	*done = err >= 0 || is_gone(db);
	snprintf(doing, sizeof(doing), "table %s%s%s: dropping it", i->table, of, i->partition);
	if (!*done)
		return failed(r, db, i->place.what, SAID_DROPPING, doing, err);
	if (err < 0)
		return HT_OK;
	r->drops++;
	if (!r->options.is_dry)
		counter_add(&r->counters.dropped, 1);
	say(r, LOG_LEVEL_INFO, "table %s%s%s %s%s (%s): about %" PRIu64 " rows, %" PRIu64 " bytes",
	    i->table, of, i->partition, r->options.is_dry ? "to be " : "",
	    is_past(i) && i->partition[0] ? "emptied" : "dropped", why, i->rows, i->bytes);
	return HT_OK;
}

static bool is_enough(const struct rotate *r)
{
	return !r->options.out && r->drops >= DROPS_MOST;
}

/* A table that somebody holds is left alone for this look. */
static bool is_held(const struct rotate *r, const struct stock_item *i)
{
	return r->lasting[i->place.what] & SAID_DROPPING && !place_is_daily(i->place);
}

/* Oldest first. What was dropped counts as gone for the bytes. */
static int drop_old(struct rotate *r, struct db *db, uint64_t *left)
{
	int err = HT_OK;
	bool done;

	for (size_t k = 0; k < r->stock.count && err == HT_OK && !is_enough(r); k++) {
		struct stock_item *i = &r->stock.item[k];

		if (!is_old(r, i) || is_held(r, i))
			continue;
		err = drop(r, db, i, "older than retention_days", &done);
		if (!done || err < 0)
			continue;
		*left -= i->bytes;
		i->bound = STOCK_NO_BOUND; /* not again */
	}
	return err;
}

/* An emptied partition stays, and its few pages with it. */
static bool is_emptied(struct db *db, const struct stock_item *i)
{
	bool empty = false;

	return i->partition[0] && is_past(i) && is_empty(db, i, &empty) == HT_OK && empty;
}

static int drop_surplus(struct rotate *r, struct db *db, uint64_t *left)
{
	bool done;
	int err;

	for (size_t k = 0; k<r->stock.count && * left> r->options.retention_bytes; k++) {
		const struct stock_item *i = &r->stock.item[k];

		if (is_enough(r))
			return HT_OK;
		if (!is_over(r, i) || is_held(r, i) || is_emptied(db, i))
			continue;
		err = drop(r, db, i, "more than retention_bytes", &done);
		if (err < 0)
			return err;
		if (done)
			*left -= i->bytes;
	}
	if (*left > r->options.retention_bytes && is_news(r, WHOLE, SAID_BYTES))
		say(r, LOG_LEVEL_WARNING,
		    "capture tables: %" PRIu64 " bytes, more than retention_bytes, and nothing is "
		    "left that could be dropped",
		    *left);
	return HT_OK;
}

static int retain(struct rotate *r, struct db *db)
{
	uint64_t left = r->stock.bytes;
	int err = HT_OK;

	if (r->clocks_agree && r->options.retention_days)
		err = drop_old(r, db, &left);
	if (r->clocks_agree && err == HT_OK && r->options.retention_bytes)
		err = drop_surplus(r, db, &left);
	atomic_store_explicit(&r->counters.bytes, left, memory_order_relaxed);
	return err;
}

/* ---- statistics ---- */

static int statistics_shorten(struct rotate *r, struct db *db, const char *table, uint64_t before)
{
	char sql[256], doing[128];
	int64_t rows;

	snprintf(sql, sizeof(sql),
		 "SELECT 1 FROM `%s` WHERE to_date < FROM_UNIXTIME(%" PRIu64 ") LIMIT 1", table,
		 before);
	rows = db_query(db, number_see, &(uint64_t){ 0 }, sql);
	if (rows == 0 || rows == HT_EMISSING)
		return HT_OK;
	snprintf(sql, sizeof(sql),
		 "DELETE FROM `%s` WHERE to_date < FROM_UNIXTIME(%" PRIu64
		 ") ORDER BY to_date LIMIT %d",
		 table, before, STATS_SLICE);
	if (rows > 0)
		rows = statement(r, db, sql);
	while (rows > 0 && r->options.out)
		rows = db_run(db, "%s", sql);
	snprintf(doing, sizeof(doing), "table %s: deleting old rows", table);
	return rows < 0 ? failed(r, db, WHOLE, SAID_STATISTICS, doing, (int)rows) : HT_OK;
}

/* Rows of five minutes each, a slice of them at a time, so that no transaction is long. Homer's
 * scripts keep some 10 days, some 20 and some for ever. */
static int statistics_retain(struct rotate *r, struct db *db)
{
	static const char *const tables[] = { "stats_method",	 "stats_data", "stats_ip",
					      "stats_useragent", "stats_geo",  "stats_dest_reply",
					      "stats_generic" };
	unsigned days = r->options.retention_days;
	int err = HT_OK;

	if (!r->clocks_agree || days == 0)
		return HT_OK;
	if (days < STATS_DAYS)
		days = STATS_DAYS;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && err == HT_OK; i++)
		err = statistics_shorten(r, db, tables[i], r->now - (uint64_t)days * 86400);
	return err;
}

/* ---- all of it ---- */

static void look_begin(struct rotate *r)
{
	memset(r->lasting, 0, sizeof(r->lasting));
	r->statements = r->drops = r->failures = 0;
}

int rotate_look(struct rotate *r, struct db *db)
{
	int err;

	look_begin(r);
	err = clocks_read(r, db);
	if (err == HT_OK)
		err = stock_again(r, db);
	if (err == HT_OK)
		err = partitions_ahead(r, db);
	if (err == HT_OK && r->options.layout->is_daily)
		err = tables_ahead(r, db);
	if (err == HT_OK)
		err = retain(r, db);
	if (err == HT_OK)
		err = statistics_retain(r, db);
	stock_free(&r->stock);
	if (err < 0)
		return err;
	if (r->options.out && r->statements == 0)
		say(r, LOG_LEVEL_INFO, "nothing to do");
	memcpy(r->said, r->lasting, sizeof(r->said));
	return (int)r->failures;
}
