/* The live tables, and what ht-admin does about statistics each minute. */
#include "storage/statistics.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/columns.h"
#include "storage/schema.h"

#define HOMER5_DATABASE "homer_statistic"
#define BUCKET_GRACE_S	60 /* after its end five minutes are computed ... */
#define ALARM_GRACE_S \
	10 /* ... and a minute's alarms raised; what comes later is looked at by itself */
#define ALARM_DAYS 5
#define AT_A_TIME  500 /* of what is due, in one transaction */
#define TURNS	   20  /* transactions in one look */
#define TRIES	   5
#define THRESHOLDS 256 /* lines of alarm_config */

struct statistics {
	const struct layout *layout;
	struct statistics_tables tables;
	bool is_pending_there; /* heptap_pending was seen */
	bool has_config, is_config_told;
	uint32_t config_has; /* bit per enum config_column */
	char database[80];   /* "`homer_statistic`." or "" */
	char told[512];	     /* what the log knows of the tables */
	int trouble;	     /* told already */
	struct sums_due *due;
	unsigned due_count;
	struct threshold *threshold;
	unsigned threshold_count;
};

/* Something of heptap_pending. */
struct sums_due {
	uint32_t at;
	char name[84];
	char source_ip[484];
	uint64_t total;
};

struct threshold {
	char code[52];
	char name[256];
	int64_t most;
};

enum config_column {
	CONFIG_TYPE,
	CONFIG_VALUE,
	CONFIG_NAME,
	CONFIG_START,
	CONFIG_STOP,
	CONFIG_ACTIVE,
	CONFIG_COLUMNS
};

static const char *const config_column[CONFIG_COLUMNS] = { "type",	"value",    "name",
							   "startdate", "stopdate", "active" };

/* ---- what the tables are called, and their columns ---- */

static const char *const table_name[SUMS_TABLES] = { "stats_method", "stats_data", "stats_ip",
						     "stats_useragent", "alarm_data" };

static const char *const column_name[SUMS_TABLES][ROLE_COUNT] = {
	[SUMS_METHOD] = { [ROLE_FROM] = "from_date",
			  [ROLE_TO] = "to_date",
			  [ROLE_NAME] = "method",
			  [ROLE_AUTH] = "auth",
			  [ROLE_TOTAG] = "totag",
			  [ROLE_CSEQ] = "cseq",
			  [ROLE_TOTAL] = "total" },
	[SUMS_DATA] = { [ROLE_FROM] = "from_date",
			[ROLE_TO] = "to_date",
			[ROLE_NAME] = "type",
			[ROLE_TOTAL] = "total" },
	[SUMS_IP] = { [ROLE_FROM] = "from_date",
		      [ROLE_TO] = "to_date",
		      [ROLE_NAME] = "method",
		      [ROLE_TEXT] = "source_ip",
		      [ROLE_TOTAL] = "total" },
	[SUMS_USERAGENT] = { [ROLE_FROM] = "from_date",
			     [ROLE_TO] = "to_date",
			     [ROLE_NAME] = "method",
			     [ROLE_TEXT] = "useragent",
			     [ROLE_TOTAL] = "total" },
	[SUMS_ALARM] = { [ROLE_FROM] = "create_date",
			 [ROLE_NAME] = "type",
			 [ROLE_TEXT] = "source_ip",
			 [ROLE_TOTAL] = "total",
			 [ROLE_DESCRIPTION] = "description",
			 [ROLE_STATUS] = "status" },
};

const char *sums_column(enum sums_table t, enum sums_role r)
{
	return column_name[t][r];
}

size_t sums_literal(struct db *db, const struct sums_live *t, enum sums_role r,
		    const struct sums_values *v, char *out)
{
	uint8_t scratch[SUMS_TEXT_MAX];
	struct view text = { 0 };
	size_t used = 1;

	switch (r) {
	case ROLE_FROM:
		return (size_t)sprintf(out, "FROM_UNIXTIME(%" PRIu32 ")", v->from);
	case ROLE_TO:
		return (size_t)sprintf(out, "FROM_UNIXTIME(%" PRIu32 ")", v->to);
	case ROLE_AUTH:
		return (size_t)sprintf(out, "%d", v->auth);
	case ROLE_TOTAG:
		return (size_t)sprintf(out, "%d", v->totag);
	case ROLE_TOTAL:
		return (size_t)sprintf(out, "%" PRIu64,
				       t->total_most && v->total > t->total_most ? t->total_most
										 : v->total);
	case ROLE_STATUS:
		return (size_t)sprintf(out, "1");
	case ROLE_NAME:
		text = v->name;
		break;
	case ROLE_CSEQ:
		text = v->cseq;
		break;
	case ROLE_TEXT:
		text = v->text;
		break;
	default:
		text = v->description;
	}
	if (text.len > SUMS_TEXT_MAX)
		text.len = SUMS_TEXT_MAX;
	if (text.len)
		(void)text_fit(&t->column[r], text, scratch, &text);
	out[0] = '\'';
	if (text.len)
		used += db_escape(db, out + 1, text);
	out[used] = '\'';
	return used + 1;
}

/* ---- the live tables ---- */

/* A table being read. Of unique keys come one column after the other, those of a key together. */
struct look {
	struct sums_live *live;
	enum sums_table t;
	char key_name[65];
	uint32_t key;	  /* bit per role, so far */
	bool key_is_ours; /* so far all of its columns are */
};

/* ROLE_COUNT: no column of ours. */
static enum sums_role role_of(enum sums_table t, const char *column)
{
	unsigned r = 0;

	while (r < ROLE_COUNT && (!column_name[t][r] || strcmp(column_name[t][r], column) != 0))
		r++;
	return r;
}

static void column_see(void *ctx, unsigned columns, char **texts)
{
	struct look *k = ctx;
	struct sums_live *live = k->live;
	enum sums_role r;

	if (columns != 6 || !texts[0])
		return;
	r = role_of(k->t, texts[0]);
	if (r == ROLE_COUNT)
		return;
	live->has |= 1U << r;
	live->column[r].chars = texts[1] ? strtoull(texts[1], NULL, 10) : 0;
	live->column[r].bytes = texts[2] ? strtoull(texts[2], NULL, 10) : 0;
	live->column[r].charset = column_charset(texts[3]);
	if (r == ROLE_TOTAL && texts[4])
		live->total_most = strstr(texts[4], "bigint")	  ? INT64_MAX
				   : strstr(texts[5], "unsigned") ? UINT32_MAX
								  : INT32_MAX;
}

/* Sums are added by a key that tells all of them apart; one without cseq is known from Homer 3. */
static void key_end(struct look *k)
{
	uint32_t must = k->live->has &
			(1U << ROLE_NAME | 1U << ROLE_AUTH | 1U << ROLE_TOTAG | 1U << ROLE_TEXT);
	bool has_time = k->key & (1U << ROLE_FROM | 1U << ROLE_TO);

	if (k->key_is_ours && has_time && (k->key & must) == must)
		k->live->key = k->key;
}

static void key_see(void *ctx, unsigned columns, char **texts)
{
	struct look *k = ctx;
	enum sums_role r;

	if (columns != 2 || !texts[0] || !texts[1])
		return;
	if (strcmp(k->key_name, texts[0]) != 0) {
		key_end(k);
		snprintf(k->key_name, sizeof(k->key_name), "%s", texts[0]);
		k->key = 0;
		k->key_is_ours = true;
	}
	r = role_of(k->t, texts[1]);
	if (r == ROLE_COUNT)
		k->key_is_ours = false;
	else
		k->key |= 1U << r;
}

static void engine_see(void *ctx, unsigned columns, char **texts)
{
	bool *is_transactional = ctx;

	*is_transactional = columns == 1 && texts[0] && strcmp(texts[0], "YES") == 0;
}

/* The database of a table, as a literal. */
static const char *database_of(const struct statistics *s)
{
	return s->database[0] ? "'" HOMER5_DATABASE "'" : "DATABASE()";
}

/* @return HT_OK; `has` stays 0 if it is not there. */
static int table_look(struct statistics *s, struct db *db, enum sums_table t)
{
	struct sums_live *live = &s->tables.table[t];
	struct look look = { .live = live, .t = t };
	char sql[768];
	int64_t rows;

	*live = (struct sums_live){ 0 };
	snprintf(live->name, sizeof(live->name), "%s`%s`", s->database, table_name[t]);
	snprintf(sql, sizeof(sql),
		 "SELECT LOWER(column_name), character_maximum_length, character_octet_length, "
		 "character_set_name, data_type, column_type FROM information_schema.columns "
		 "WHERE table_schema = %s AND table_name = '%s'",
		 database_of(s), table_name[t]);
	rows = db_query(db, column_see, &look, sql);
	if (rows <= 0)
		return (int)rows;
	snprintf(sql, sizeof(sql),
		 "SELECT index_name, LOWER(column_name) FROM information_schema.statistics "
		 "WHERE table_schema = %s AND table_name = '%s' AND non_unique = 0 "
		 "ORDER BY index_name, seq_in_index",
		 database_of(s), table_name[t]);
	rows = db_query(db, key_see, &look, sql);
	if (rows < 0)
		return (int)rows;
	key_end(&look);
	snprintf(sql, sizeof(sql),
		 "SELECT e.transactions FROM information_schema.tables t JOIN "
		 "information_schema.engines e ON e.engine = t.engine "
		 "WHERE t.table_schema = %s AND t.table_name = '%s'",
		 database_of(s), table_name[t]);
	rows = db_query(db, engine_see, &live->is_transactional, sql);
	return rows < 0 ? (int)rows : HT_OK;
}

/* @return how many are there, or an error. */
static int tables_look(struct statistics *s, struct db *db)
{
	int there = 0;

	for (unsigned t = 0; t < SUMS_TABLES; t++) {
		int err = table_look(s, db, t);

		if (err < 0)
			return err;
		there += s->tables.table[t].has != 0;
	}
	return there;
}

static void config_see(void *ctx, unsigned columns, char **texts)
{
	struct statistics *s = ctx;

	for (unsigned c = 0; c < CONFIG_COLUMNS && columns == 1 && texts[0]; c++)
		if (strcmp(config_column[c], texts[0]) == 0)
			s->config_has |= 1U << c;
}

static int config_look(struct statistics *s, struct db *db)
{
	char sql[512];
	int64_t rows;

	s->config_has = 0;
	snprintf(sql, sizeof(sql),
		 "SELECT LOWER(column_name) FROM information_schema.columns "
		 "WHERE table_schema = %s AND table_name = 'alarm_config'",
		 database_of(s));
	rows = db_query(db, config_see, s, sql);
	return rows < 0 ? (int)rows : HT_OK;
}

static int pending_ensure(struct statistics *s, struct db *db)
{
	struct schema_names names = { .database = "", .table = "" };
	int64_t rows;
	int err = HT_OK;

	if (s->is_pending_there)
		return HT_OK;
	rows = db_run(db, "DO (SELECT COUNT(*) FROM heptap_pending WHERE 0)");
	if (rows == HT_EMISSING)
		err = schema_make(db, SCHEMA_HEPTAP, &names);
	else if (rows < 0)
		err = (int)rows;
	s->is_pending_there = err == HT_OK;
	return err;
}

/* What is worth a line in the log, again only if it has changed. */
static void tables_tell(struct statistics *s)
{
	const struct sums_live *method = &s->tables.table[SUMS_METHOD];
	char words[512] = "", *at = words, *end = words + sizeof(words);

	for (unsigned t = 0; t < SUMS_TABLES; t++) {
		const struct sums_live *live = &s->tables.table[t];

		if (!live->is_transactional)
			at += snprintf(at, (size_t)(end - at), "; %s has no transactions",
				       table_name[t]);
		if (!live->key && t != SUMS_ALARM)
			at += snprintf(at, (size_t)(end - at), "; %s has no key to add by",
				       table_name[t]);
	}
	if (method->key && !(method->key & 1U << ROLE_CSEQ))
		at += snprintf(
			at, (size_t)(end - at),
			"; stats_method cannot tell replies to INVITE from those to BYE: those "
			"to BYE are left out");
	if (!s->config_has)
		snprintf(at, (size_t)(end - at),
			 "; there is no alarm_config, so only scanners raise alarms");
	if (strcmp(words, s->told) != 0)
		log_info("statistics: in %s%s", s->database[0] ? HOMER5_DATABASE : "the database",
			 words);
	else if (!s->is_config_told)
		log_info("statistics: in %s", s->database[0] ? HOMER5_DATABASE : "the database");
	s->is_config_told = true;
	memcpy(s->told, words, sizeof(words));
}

int statistics_look(struct statistics *s, struct db *db, struct statistics_tables *out)
{
	struct schema_names names = { .database = "", .table = "" };
	int there = 0, err = pending_ensure(s, db);

	if (err < 0)
		return err;
	if (s->layout->is_daily) {
		strcpy(s->database, "`" HOMER5_DATABASE "`.");
		there = tables_look(s, db);
	}
	if (there >= 0 && there < SUMS_TABLES) {
		s->database[0] = '\0';
		there = tables_look(s, db);
	}
	if (there >= 0 && there < SUMS_TABLES) {
		err = schema_make(db, SCHEMA_STATISTICS, &names);
		there = err < 0 ? err : tables_look(s, db);
	}
	if (there < 0)
		return there;
	err = config_look(s, db);
	if (err < 0 || there < SUMS_TABLES)
		return err < 0 ? err : HT_EMISSING;
	tables_tell(s);
	if (out)
		*out = s->tables;
	return HT_OK;
}

/* ---- what is due ---- */

static void due_see(void *ctx, unsigned columns, char **texts)
{
	struct statistics *s = ctx;
	struct sums_due *d = &s->due[s->due_count];

	if (columns != 4 || !texts[0] || s->due_count == AT_A_TIME)
		return;
	d->at = (uint32_t)strtoul(texts[0], NULL, 10);
	snprintf(d->name, sizeof(d->name), "%s", texts[1]);
	snprintf(d->source_ip, sizeof(d->source_ip), "%s", texts[2]);
	d->total = strtoull(texts[3], NULL, 10);
	s->due_count++;
}

/* Take what is due out of heptap_pending, in the open transaction: locked first, so that what was
 * added by others is committed and seen, and what comes later makes a new row. */
static int due_take(struct statistics *s, struct db *db, enum pending what, uint32_t before)
{
	char sql[512];
	int64_t rows;

	s->due_count = 0;
	snprintf(sql, sizeof(sql),
		 "SELECT UNIX_TIMESTAMP(at), name, source_ip, total FROM heptap_pending "
		 "WHERE what = %d AND at < FROM_UNIXTIME(%" PRIu32 ") "
		 "ORDER BY what, at, name, source_ip LIMIT %d FOR UPDATE",
		 what, before, AT_A_TIME);
	rows = db_query(db, due_see, s, sql);
	if (rows <= 0)
		return (int)rows;
	rows = db_run(db,
		      "DELETE FROM heptap_pending WHERE what = %d AND at < FROM_UNIXTIME(%" PRIu32
		      ") ORDER BY what, at, name, source_ip LIMIT %d",
		      what, before, AT_A_TIME);
	return rows < 0 ? (int)rows : HT_OK;
}

/* ---- asr and ner ---- */

struct calls {
	int64_t invites, answered, asked, bad; /* asked: for credentials, 407 */
};

static void calls_see(void *ctx, unsigned columns, char **texts)
{
	int64_t *out = ctx;

	for (unsigned i = 0; i < columns; i++)
		out[i] = texts[i] ? strtoll(texts[i], NULL, 10) : 0;
}

static int64_t percent(int64_t part, int64_t whole)
{
	if (whole <= 0)
		return 0;
	return part * 100 / whole < 100 ? part * 100 / whole : 100;
}

static int calls_read(struct statistics *s, struct db *db, uint32_t at, struct calls *out)
{
	const struct sums_live *method = &s->tables.table[SUMS_METHOD];
	bool has_cseq = method->has & 1U << ROLE_CSEQ;
	int64_t three[3] = { 0 }, bad = 0, rows;
	char sql[1024];

	snprintf(sql, sizeof(sql),
		 "SELECT SUM(IF(method = 'INVITE' AND auth = 0 AND totag = 0, total, 0)), "
		 "SUM(IF(method = '200'%s, total, 0)), SUM(IF(method = '407'%s, total, 0)) FROM %s "
		 "WHERE from_date = FROM_UNIXTIME(%" PRIu32 ") AND to_date = FROM_UNIXTIME(%" PRIu32
		 ") AND method IN ('INVITE', '200', '407')",
		 has_cseq ? " AND cseq = 'INVITE'" : "", has_cseq ? " AND cseq = 'INVITE'" : "",
		 method->name, at, at + DELTA_BUCKET_S);
	rows = db_query(db, calls_see, three, sql);
	if (rows < 0)
		return (int)rows;
	snprintf(sql, sizeof(sql),
		 "SELECT SUM(total) FROM %s WHERE type = 'bad' AND from_date = "
		 "FROM_UNIXTIME(%" PRIu32 ") AND to_date = FROM_UNIXTIME(%" PRIu32 ")",
		 s->tables.table[SUMS_DATA].name, at, at + DELTA_BUCKET_S);
	rows = db_query(db, calls_see, &bad, sql);
	*out = (struct calls){ three[0], three[1], three[2], bad };
	return rows < 0 ? (int)rows : HT_OK;
}

/* One that was there is replaced: the sums have changed since. */
static int ratio_store(struct statistics *s, struct db *db, uint32_t at, const char *type,
		       int64_t value)
{
	const char *table = s->tables.table[SUMS_DATA].name;
	int64_t rows = db_run(db,
			      "DELETE FROM %s WHERE type = '%s' AND from_date = "
			      "FROM_UNIXTIME(%" PRIu32 ") AND to_date = FROM_UNIXTIME(%" PRIu32 ")",
			      table, type, at, at + DELTA_BUCKET_S);

	if (rows >= 0)
		rows = db_run(db,
			      "INSERT INTO %s (from_date, to_date, type, total) VALUES "
			      "(FROM_UNIXTIME(%" PRIu32 "), FROM_UNIXTIME(%" PRIu32
			      "), '%s', %" PRId64 ")",
			      table, at, at + DELTA_BUCKET_S, type, value);
	return rows < 0 ? (int)rows : HT_OK;
}

static int bucket_close(struct statistics *s, struct db *db, const struct sums_due *due)
{
	struct calls c;
	int err = calls_read(s, db, due->at, &c);

	if (err == HT_OK)
		err = ratio_store(s, db, due->at, "asr", percent(c.answered, c.invites - c.asked));
	if (err == HT_OK)
		err = ratio_store(s, db, due->at, "ner",
				  percent(c.answered + c.bad, c.invites - c.asked));
	return err;
}

/* ---- alarms ---- */

static void threshold_see(void *ctx, unsigned columns, char **texts)
{
	struct statistics *s = ctx;
	struct threshold *h = &s->threshold[s->threshold_count];

	if (columns != 3 || !texts[0] || !texts[1] || s->threshold_count == THRESHOLDS)
		return;
	snprintf(h->code, sizeof(h->code), "%s", texts[0]);
	snprintf(h->name, sizeof(h->name), "%s", texts[2] ? texts[2] : "");
	h->most = strtoll(texts[1], NULL, 10);
	s->threshold_count++;
}

/* Homer 5 has a name, and a time in which the line counts. */
static int thresholds_read(struct statistics *s, struct db *db)
{
	uint32_t dates = 1U << CONFIG_START | 1U << CONFIG_STOP;
	char sql[512];
	int64_t rows;

	s->threshold_count = 0;
	if (!(s->config_has & 1U << CONFIG_TYPE) || !(s->config_has & 1U << CONFIG_VALUE))
		return HT_OK;
	snprintf(sql, sizeof(sql), "SELECT type, value, %s FROM %s`alarm_config` WHERE 1%s%s",
		 s->config_has & 1U << CONFIG_NAME ? "name" : "''", s->database,
		 s->config_has & 1U << CONFIG_ACTIVE ? " AND active = 1" : "",
		 (s->config_has & dates) == dates ? " AND NOW() BETWEEN startdate AND stopdate"
						  : "");
	rows = db_query(db, threshold_see, s, sql);
	return rows < 0 ? (int)rows : HT_OK;
}

static const char *alarm_words(const char *code)
{
	static const char *const words[][2] = { { "413", "Too many big messages" },
						{ "483", "Too many hops messages" },
						{ "482", "Too many loops messages" },
						{ "403", "fraud alarm" },
						{ "503", "service unavailable" },
						{ "500", "server errors" },
						{ "408", "Timeout" },
						{ "400", "Too many bad request" } };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i][0], code) == 0)
			return words[i][1];
	return "";
}

static int alarm_store(struct statistics *s, struct db *db, const struct sums_due *due,
		       uint32_t seconds, const char *type, const char *description)
{
	const struct sums_live *live = &s->tables.table[SUMS_ALARM];
	struct sums_values v = { .from = due->at + seconds,
				 .name = view_of(type),
				 .description = view_of(description),
				 .text = view_of(due->source_ip[0] ? due->source_ip : "0.0.0.0"),
				 .total = due->total };
	char names[512] = "", values[ROLE_COUNT * (2 * SUMS_TEXT_MAX + 64)];
	size_t name = 0, value = 0;
	int64_t rows;

	for (unsigned r = 0; r < ROLE_COUNT; r++) {
		if (!(live->has & 1U << r))
			continue;
		name += (size_t)snprintf(names + name, sizeof(names) - name, "%s`%s`",
					 name ? ", " : "", sums_column(SUMS_ALARM, r));
		if (value)
			values[value++] = ',';
		value += sums_literal(db, live, r, &v, values + value);
	}
	rows = db_run(db, "INSERT INTO %s (%s) VALUES (%.*s)", live->name, names, (int)value,
		      values);
	return rows < 0 ? (int)rows : HT_OK;
}

/* Replies of a minute: an alarm for each line of alarm_config that they pass. */
static int replies_look(struct statistics *s, struct db *db, const struct sums_due *due)
{
	int err = HT_OK;

	for (unsigned i = 0; i < s->threshold_count && err == HT_OK; i++) {
		const struct threshold *h = &s->threshold[i];
		char type[300], description[400];

		if (strcmp(h->code, due->name) != 0 || (int64_t)due->total <= h->most)
			continue;
		if (s->layout->is_daily && h->name[0]) {
			snprintf(type, sizeof(type), "%s", h->name);
			snprintf(description, sizeof(description), "%s - %s", h->name, h->code);
		} else {
			snprintf(type, sizeof(type), "Too Many %s", h->code);
			snprintf(description, sizeof(description), "%s", alarm_words(h->code));
		}
		err = alarm_store(s, db, due, DELTA_ALARM_S, type, description);
	}
	return err;
}

static int scanner_tell(struct statistics *s, struct db *db, const struct sums_due *due)
{
	return alarm_store(s, db, due, DELTA_BUCKET_S, "scanner", "Friendly scanner alarm!");
}

/* ---- each minute ---- */

typedef int due_fn(struct statistics *s, struct db *db, const struct sums_due *due);

/* All that is due of one kind; each transaction takes some out and stores what follows from them.
 */
static int due_do(struct statistics *s, struct db *db, enum pending what, uint32_t before,
		  due_fn *fn)
{
	int err = HT_OK;

	s->due_count = AT_A_TIME;
	for (unsigned turn = 0; turn < TURNS && s->due_count == AT_A_TIME && err == HT_OK; turn++) {
		err = (int)db_run(db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
		if (err >= 0)
			err = (int)db_run(db, "START TRANSACTION");
		if (err >= 0)
			err = due_take(s, db, what, before);
		for (unsigned i = 0; i < s->due_count && err == HT_OK; i++)
			err = fn(s, db, &s->due[i]);
		if (err == HT_OK)
			err = db_commit(db);
		if (err < 0 && err != HT_ECONN)
			db_rollback(db);
	}
	return err;
}

static int alarms_expire(struct statistics *s, struct db *db)
{
	int64_t rows = db_run(db,
			      "DELETE FROM %s WHERE create_date < DATE_SUB(NOW(), INTERVAL %d DAY) "
			      "LIMIT 10000",
			      s->tables.table[SUMS_ALARM].name, ALARM_DAYS);

	return rows < 0 ? (int)rows : HT_OK;
}

/* Five minutes in which nothing comes have an asr and a ner too. */
static int bucket_begin(struct db *db, uint32_t now)
{
	int64_t rows =
		db_run(db,
		       "INSERT IGNORE INTO heptap_pending (what, at, name, source_ip, total) "
		       "VALUES (%d, FROM_UNIXTIME(%" PRIu32 "), '', '', 0)",
		       PENDING_BUCKET, now - now % DELTA_BUCKET_S);

	return rows < 0 ? (int)rows : HT_OK;
}

static int tend(struct statistics *s, struct db *db)
{
	uint32_t now = (uint32_t)(clock_wall_us() / 1000000);
	int err = statistics_look(s, db, NULL);

	if (err == HT_OK)
		err = bucket_begin(db, now);
	if (err == HT_OK)
		err = due_do(s, db, PENDING_BUCKET, now - DELTA_BUCKET_S - BUCKET_GRACE_S,
			     bucket_close);
	if (err == HT_OK)
		err = thresholds_read(s, db);
	if (err == HT_OK)
		err = due_do(s, db, PENDING_ALARM, now - DELTA_ALARM_S - ALARM_GRACE_S,
			     replies_look);
	if (err == HT_OK)
		err = due_do(s, db, PENDING_SCANNER, now - DELTA_BUCKET_S - ALARM_GRACE_S,
			     scanner_tell);
	if (err == HT_OK)
		err = alarms_expire(s, db);
	return err;
}

/* Other servers do the same at the same time: whom the database sends back tries again, a little
 * later than they do. */
static int tend_again(struct statistics *s, struct db *db)
{
	int err = tend(s, db);

	for (int tries = 1; tries < TRIES && err == HT_ERETRY; tries++) {
		poll(NULL, 0, (int)(20 + clock_mono_us() % 100));
		err = tend(s, db);
	}
	return err;
}

int statistics_tend(struct statistics *s, struct db *db)
{
	int err = tend_again(s, db);

	if (err == HT_ECONN)
		return err;
	if (err < 0 && err != HT_ERETRY && err != s->trouble)
		log_error("statistics: %s: %s; asr, ner and alarms wait", ht_strerror(err),
			  db_last_error(db));
	if (err == HT_OK && s->trouble)
		log_info("statistics: asr, ner and alarms are made again");
	if (err != HT_ERETRY)
		s->trouble = err;
	return HT_OK;
}

/* ---- life ---- */

int statistics_new(struct statistics **out, const struct layout *layout)
{
	struct statistics *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->layout = layout;
	s->due = calloc(AT_A_TIME, sizeof(*s->due));
	s->threshold = calloc(THRESHOLDS, sizeof(*s->threshold));
	if (!s->due || !s->threshold) {
		statistics_free(s);
		return -ENOMEM;
	}
	*out = s;
	return HT_OK;
}

void statistics_free(struct statistics *s)
{
	if (!s)
		return;
	free(s->due);
	free(s->threshold);
	free(s);
}
