/* Requests from the writers, a look at tables and partitions each minute, one connection of its
 * own. */
#include "storage/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/schema.h"
#include "storage/spool.h"

#define LOOK_S 60

/* What a writer waits for; on its stack. */
struct request {
	struct place place;
	uint32_t until;	   /* last day that needs a partition; 0: none */
	struct table *out; /* NULL: not asked for */
	int result;
	bool is_done;
	struct request *next;
};

struct admin {
	const struct db_options *options;
	const struct layout *layout;
	struct db *db;		    /* ht-admin only, but for db_interrupt() under the lock */
	bool is_installed;	    /* ledger and ids were seen on this connection */
	unsigned told[PLACE_COUNT]; /* columns of the table, as the log has them */
	bool is_refused;	    /* said once in the log */
	struct spool *spool;	    /* NULL: it uses all its writers */
	unsigned writers, used_writers;
	bool is_compressed[PLACE_COUNT]; /* that table, of today where there is one a day */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t asked; /* a request is there, or stop */
	pthread_cond_t answered;
	bool stop;
	struct request *first, **last;
};

int admin_new(struct admin **out, const struct db_options *options, const struct layout *layout)
{
	struct admin *a = calloc(1, sizeof(*a));
	pthread_condattr_t attr;

	if (!a)
		return -ENOMEM;
	a->options = options;
	a->layout = layout;
	a->last = &a->first;
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->asked, &attr);
	pthread_cond_init(&a->answered, &attr);
	pthread_condattr_destroy(&attr);
	*out = a;
	return HT_OK;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	pthread_cond_destroy(&a->asked);
	pthread_cond_destroy(&a->answered);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void admin_tune_writers(struct admin *a, struct spool *spool, unsigned writers)
{
	a->spool = spool;
	a->writers = a->used_writers = writers;
}

static uint32_t today(void)
{
	return (uint32_t)(clock_wall_us() / 86400000000ULL);
}

/* ---- partitions ---- */

struct partitions {
	uint64_t last_bound; /* seconds since 1970; rows from there on have no place */
	bool is_partitioned;
	bool has_maxvalue;
};

static void partition_see(void *ctx, unsigned columns, char **texts)
{
	struct partitions *p = ctx;
	uint64_t bound;

	if (columns != 1 || !texts[0])
		return;
	p->is_partitioned = true;
	if (strcmp(texts[0], "MAXVALUE") == 0) {
		p->has_maxvalue = true;
		return;
	}
	bound = strtoull(texts[0], NULL, 10);
	if (bound > p->last_bound)
		p->last_bound = bound;
}

static int partitions_add(struct admin *a, const char *table, uint32_t first, uint32_t last)
{
	char sql[2048], name[16];
	size_t used = (size_t)snprintf(sql, sizeof(sql), "ALTER TABLE `%s` ADD PARTITION (", table);
	int64_t rows;

	for (uint32_t day = first; day <= last && used < sizeof(sql) - 128; day++) {
		schema_partition_name(name, day);
		used += (size_t)snprintf(sql + used, sizeof(sql) - used,
					 "%sPARTITION %s VALUES LESS THAN (%" PRIu64 ")",
					 day == first ? "" : ", ", name,
					 ((uint64_t)day + 1) * 86400);
	}
	rows = db_run(a->db, "%s)", sql);
	if (rows < 0 && (db_last_errno(a->db) == 1517 || db_last_errno(a->db) == 1493))
		return HT_OK; /* another server that shares the table was faster */
	if (rows < 0)
		return (int)rows;
	log_info("table %s: partitions made for %u day%s from %s on", table, last - first + 1,
		 last == first ? "" : "s", (schema_partition_name(name, first), name));
	return HT_OK;
}

/* Rows of days up to @p until get a place. A table without partitions, or with one for everything,
 * has it already. */
static int partitions_ensure(struct admin *a, const char *table, uint32_t until)
{
	struct partitions p = { 0 };
	char sql[512];
	uint32_t now = today(), first;
	int64_t rows;

	snprintf(sql, sizeof(sql),
		 "SELECT partition_description FROM information_schema.partitions "
		 "WHERE table_schema = DATABASE() AND table_name = '%s' AND partition_name IS NOT "
		 "NULL",
		 table);
	rows = db_query(a->db, partition_see, &p, sql);
	if (rows < 0)
		return (int)rows;
	if (!p.is_partitioned || p.has_maxvalue || until < p.last_bound / 86400)
		return HT_OK;
	if (until > now + SCHEMA_DAYS_MOST)
		return HT_EMISSING;
	first = (uint32_t)(p.last_bound / 86400);
	if (first + 1 <
	    now) /* after a long rest the first new one also holds the days that were slept over */
		first = now - 1;
	return partitions_add(a, table, first, until);
}

/* ---- tables ---- */

static int table_make(struct admin *a, struct place place, const char *name)
{
	static const enum schema_part part[PLACE_COUNT] = {
		[PLACE_SIP] = SCHEMA_CAPTURE,
		[PLACE_CALL] = SCHEMA_CAPTURE_DAY,
		[PLACE_REGISTRATION] = SCHEMA_CAPTURE_DAY,
		[PLACE_REST] = SCHEMA_CAPTURE_DAY,
		[PLACE_RTCP] = SCHEMA_RTCP,
		[PLACE_REPORT] = SCHEMA_REPORT,
		[PLACE_LOGS] = SCHEMA_LOGS,
	};
	struct schema_names names = { .database = "", .table = name, .today = today() };
	int err = schema_make(a->db, part[place.what], &names);

	if (err == HT_OK)
		log_info("database: table %s made", name);
	return err;
}

/* The ledger and the leases, which every transaction needs. */
static int heptap_ensure(struct admin *a)
{
	struct schema_names names = { .database = "", .table = "", .today = today() };
	int err = HT_OK;

	if (a->is_installed)
		return HT_OK;
	if (db_run(a->db, "DO (SELECT COUNT(*) FROM heptap_ledger, heptap_ids WHERE 0)") ==
	    HT_EMISSING)
		err = schema_make(a->db, SCHEMA_HEPTAP, &names);
	a->is_installed = err == HT_OK;
	return err;
}

/* Where SIP goes today. @return how many. */
static unsigned sip_places(const struct admin *a, struct place out[3])
{
	static const enum layout_place daily[] = { PLACE_CALL, PLACE_REGISTRATION, PLACE_REST };

	out[0] = (struct place){ PLACE_SIP, 0 };
	for (unsigned i = 0; i < 3 && a->layout->is_daily; i++)
		out[i] = (struct place){ daily[i], today() };
	return a->layout->is_daily ? 3 : 1;
}

/* A compressed table takes one writer at a time, another one two. Blocks hold rows for all tables,
 * so with several of them writers now and then meet in one all the same. */
static void writers_settle(struct admin *a)
{
	struct place places[3];
	unsigned useful, compressed = 0, count = sip_places(a, places);

	for (unsigned i = 0; i < count; i++)
		compressed += a->is_compressed[places[i].what];
	useful = 2 * count - compressed;
	if (useful > a->writers)
		useful = a->writers;
	if (!a->spool || useful == a->used_writers)
		return;
	log_info("table %s: ROW_FORMAT=COMPRESSED, which takes one writer at a time, in %u of %u: "
		 "%u of %u writers get rows",
		 a->layout->table, compressed, count, useful, a->writers);
	a->used_writers = useful;
	spool_use_writers(a->spool, useful);
}

/* Read a table, making it if it is not there. */
static int table_look(struct admin *a, struct place place, struct table *out)
{
	char name[LAYOUT_NAME];
	int err;

	if (place_is_daily(place) && place.day != LAYOUT_PAST &&
	    place.day > today() + SCHEMA_DAYS_MOST)
		return HT_EMISSING;
	layout_name(a->layout, place, name);
	*out = (struct table){ .count = a->told[place.what] };
	err = table_read(a->db, name, place.what <= PLACE_REST, out);
	if (err == HT_OK && out->is_missing) {
		err = table_make(a, place, name);
		if (err == HT_OK)
			err = table_read(a->db, name, place.what <= PLACE_REST, out);
	}
	if (err < 0)
		return err;
	a->told[place.what] = out->count;
	if (place.day == 0 || place.day == today())
		a->is_compressed[place.what] = out->is_compressed;
	return out->is_missing || out->count == 0 ? HT_EMISSING : HT_OK;
}

static bool table_is_there(struct admin *a, const char *name)
{
	int64_t rows = db_run(a->db, "DO (SELECT 1 FROM `%s` LIMIT 0)", name);

	return rows >= 0;
}

/* What the next days need: partitions, or tables. */
static int days_ahead(struct admin *a)
{
	static const enum layout_place lasting[] = { PLACE_SIP, PLACE_RTCP, PLACE_REPORT,
						     PLACE_LOGS };
	struct place places[3];
	char name[LAYOUT_NAME];
	int err = HT_OK;

	for (unsigned i = a->layout->is_daily; i < 4 && err == HT_OK; i++) {
		layout_name(a->layout, (struct place){ lasting[i], 0 }, name);
		if (table_is_there(a, name))
			err = partitions_ensure(a, name, today() + SCHEMA_DAYS_AHEAD);
	}
	(void)sip_places(a, places);
	for (unsigned day = 0; day <= SCHEMA_DAYS_AHEAD && a->layout->is_daily; day++) {
		for (unsigned i = 0; i < 3 && err == HT_OK; i++) {
			struct place p = { places[i].what, places[i].day + day };

			layout_name(a->layout, p, name);
			if (!table_is_there(a, name))
				err = table_make(a, p, name);
		}
	}
	return err;
}

/* ---- the thread ---- */

static int connect_if_not(struct admin *a)
{
	struct db *db;
	int64_t rows;
	int err;

	if (a->db)
		return HT_OK;
	err = db_open(&db, a->options);
	if (err < 0)
		return err;
	rows = db_run(db, "SET autocommit=1, lock_wait_timeout=2, wait_timeout=600");
	if (rows < 0) {
		db_close(db);
		return (int)rows;
	}
	pthread_mutex_lock(&a->lock);
	a->db = db;
	pthread_mutex_unlock(&a->lock);
	return HT_OK;
}

static void disconnect(struct admin *a)
{
	struct db *db = a->db;

	pthread_mutex_lock(&a->lock);
	a->db = NULL;
	pthread_mutex_unlock(&a->lock);
	db_close(db);
	a->is_installed = false;
}

/* Say what hinders us once, until it works again; a lost connection is told by the writers. */
static void tell(struct admin *a, int err)
{
	bool is_refused = err < 0 && err != HT_ECONN && err != HT_ERETRY;

	if (is_refused && !a->is_refused)
		log_error("database: tables: %s: %s", ht_strerror(err),
			  a->db ? db_last_error(a->db) : db_last_error(NULL));
	a->is_refused = is_refused;
}

static int serve(struct admin *a, struct request *r)
{
	char name[LAYOUT_NAME];
	int err = connect_if_not(a);

	if (err == HT_OK)
		err = heptap_ensure(a);
	if (err == HT_OK && r->out)
		err = table_look(a, r->place, r->out);
	writers_settle(a);
	if (err == HT_OK && r->until && !place_is_daily(r->place)) {
		layout_name(a->layout, r->place, name);
		err = partitions_ensure(a, name, r->until);
	}
	tell(a, err);
	if (err == HT_ECONN)
		disconnect(a);
	return err;
}

/* The one table, if nobody asked for it yet; each time all of today, if their format matters. */
static int sip_tables_look(struct admin *a)
{
	struct place places[3];
	unsigned count = sip_places(a, places);
	struct table table;
	int err = HT_OK;

	for (unsigned i = 0; i < count && err == HT_OK; i++)
		if (a->spool || (places[i].what == PLACE_SIP && !a->told[PLACE_SIP]))
			err = table_look(a, places[i], &table);
	writers_settle(a);
	return err;
}

/* Now and then, without being asked. */
static void look_ahead(struct admin *a)
{
	int err = connect_if_not(a);

	if (err == HT_OK)
		err = heptap_ensure(a);
	if (err == HT_OK)
		err = sip_tables_look(a);
	if (err == HT_OK)
		err = days_ahead(a);
	tell(a, err);
	if (err == HT_ECONN)
		disconnect(a);
}

/* Inside the lock: wait for a request. @return false if it is time for the next look. */
static bool wait_for_request(struct admin *a, const struct timespec *until)
{
	while (!a->stop && !a->first)
		if (pthread_cond_timedwait(&a->asked, &a->lock, until) == ETIMEDOUT)
			return a->first != NULL;
	return true;
}

static void next_look(struct timespec *out)
{
	clock_gettime(CLOCK_MONOTONIC, out);
	out->tv_sec += LOOK_S;
}

void admin_run(struct admin *a)
{
	struct timespec until;
	struct request *r;
	int err;

	look_ahead(a);
	next_look(&until);
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (!wait_for_request(a, &until)) {
			pthread_mutex_unlock(&a->lock);
			look_ahead(a);
			next_look(&until);
			pthread_mutex_lock(&a->lock);
		}
		r = a->first;
		if (!r || a->stop)
			continue;
		pthread_mutex_unlock(&a->lock);
		err = serve(a, r);
		pthread_mutex_lock(&a->lock);
		a->first = r->next;
		if (!a->first)
			a->last = &a->first;
		r->result = err;
		r->is_done = true;
		pthread_cond_broadcast(&a->answered);
	}
	for (r = a->first; r; r = r->next) {
		r->result = HT_ESTOP;
		r->is_done = true;
	}
	a->first = NULL;
	pthread_cond_broadcast(&a->answered);
	pthread_mutex_unlock(&a->lock);
	disconnect(a);
}

void admin_stop(struct admin *a)
{
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	if (a->db)
		db_interrupt(a->db);
	pthread_cond_broadcast(&a->asked);
	pthread_cond_broadcast(&a->answered);
	pthread_mutex_unlock(&a->lock);
}

/* A request that is in the list stays ht-admin's until it is done, even after admin_stop(). */
static int ask(struct admin *a, struct request *r)
{
	pthread_mutex_lock(&a->lock);
	if (a->stop) {
		pthread_mutex_unlock(&a->lock);
		return HT_ESTOP;
	}
	*a->last = r;
	a->last = &r->next;
	pthread_cond_signal(&a->asked);
	while (!r->is_done)
		pthread_cond_wait(&a->answered, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return r->result;
}

int admin_ask_table(struct admin *a, struct place place, struct table *out)
{
	struct request r = { .place = place, .out = out };

	return ask(a, &r);
}

int admin_ask_days(struct admin *a, struct place place, uint32_t last)
{
	struct request r = { .place = place, .until = last };

	return ask(a, &r);
}
