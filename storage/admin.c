/* Requests from the writers, a look at the partitions each minute, one connection of its own. */
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

#define LOOK_S 60

struct admin {
	const struct db_options *options;
	const char *table_name;
	struct db *db; /* ht-admin only, but for db_interrupt() under the lock */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t asked; /* a request is there, or stop */
	pthread_cond_t answered;
	bool stop;
	bool wants_table;
	uint32_t wants_until; /* last day that needs a partition; 0: none */
	uint64_t asked_count; /* requests so far */
	uint64_t answered_count;
	int result; /* of the last answer */
	struct table table;
	bool is_refused; /* said once in the log */
};

int admin_new(struct admin **out, const struct db_options *options, const char *table)
{
	struct admin *a = calloc(1, sizeof(*a));
	pthread_condattr_t attr;

	if (!a)
		return -ENOMEM;
	a->options = options;
	a->table_name = table;
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

static int partitions_add(struct admin *a, uint32_t first, uint32_t last)
{
	char sql[2048], name[16];
	size_t used = (size_t)snprintf(sql, sizeof(sql), "ALTER TABLE `%s` ADD PARTITION (",
				       a->table_name);
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
	log_info("table %s: partitions made for %u day%s from %s on", a->table_name,
		 last - first + 1, last == first ? "" : "s",
		 (schema_partition_name(name, first), name));
	return HT_OK;
}

/* Rows of days up to @p until get a place. A table without partitions, or with one for everything,
 * has it already. */
static int partitions_ensure(struct admin *a, uint32_t until)
{
	struct partitions p = { 0 };
	char sql[512];
	uint32_t now = today(), first;
	int64_t rows;

	snprintf(sql, sizeof(sql),
		 "SELECT partition_description FROM information_schema.partitions "
		 "WHERE table_schema = DATABASE() AND table_name = '%s' AND partition_name IS NOT "
		 "NULL",
		 a->table_name);
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
	return partitions_add(a, first, until);
}

/* ---- the table ---- */

static bool ledger_is_missing(struct db *db)
{
	return db_run(db, "DO (SELECT COUNT(*) FROM heptap_ledger, heptap_ids WHERE 0)") ==
	       HT_EMISSING;
}

static int table_look(struct admin *a)
{
	struct table fresh = a->table;
	int err = table_read(a->db, a->table_name, &fresh);

	if (err == HT_OK && (fresh.is_missing || ledger_is_missing(a->db))) {
		err = schema_install(a->db, a->table_name, today());
		if (err == HT_OK) {
			log_info("database: tables of heptap made");
			err = table_read(a->db, a->table_name, &fresh);
		}
	}
	if (err < 0)
		return err;
	pthread_mutex_lock(&a->lock);
	a->table = fresh;
	pthread_mutex_unlock(&a->lock);
	return fresh.is_missing || fresh.count == 0 ? HT_EMISSING : HT_OK;
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
	rows = db_run(db, "SET lock_wait_timeout=2, wait_timeout=600");
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
}

/* Say what hinders us once, until it works again; a lost connection is told by the writers. */
static void tell(struct admin *a, int err)
{
	if (err < 0 && err != HT_ECONN && err != HT_ERETRY && !a->is_refused)
		log_error("database: table %s: %s: %s", a->table_name, ht_strerror(err),
			  a->db ? db_last_error(a->db) : db_last_error(NULL));
	a->is_refused = err < 0 && err != HT_ECONN && err != HT_ERETRY;
}

static int serve(struct admin *a, bool wants_table, uint32_t until)
{
	int err = connect_if_not(a);

	if (err == HT_OK && (wants_table || a->table.generation == 0))
		err = table_look(a);
	if (err == HT_OK)
		err = partitions_ensure(a, today() + SCHEMA_DAYS_AHEAD);
	if (err == HT_OK && until)
		err = partitions_ensure(a, until);
	tell(a, err);
	if (err == HT_ECONN)
		disconnect(a);
	return err;
}

/* Inside the lock: wait for a request or the next look. */
static void wait_for_request(struct admin *a)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LOOK_S;
	while (!a->stop && a->asked_count == a->answered_count)
		if (pthread_cond_timedwait(&a->asked, &a->lock, &until) == ETIMEDOUT)
			break;
}

void admin_run(struct admin *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		bool wants_table = a->wants_table;
		uint32_t until = a->wants_until;
		uint64_t count = a->asked_count;
		int err;

		a->wants_table = false;
		a->wants_until = 0;
		pthread_mutex_unlock(&a->lock);
		err = serve(a, wants_table, until);
		pthread_mutex_lock(&a->lock);
		a->result = err;
		a->answered_count = count;
		pthread_cond_broadcast(&a->answered);
		wait_for_request(a);
	}
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

/* Inside the lock: until the request numbered @p mine has its answer. */
static int wait_for_answer(struct admin *a, uint64_t mine)
{
	pthread_cond_signal(&a->asked);
	while (!a->stop && a->answered_count < mine)
		pthread_cond_wait(&a->answered, &a->lock);
	return a->stop ? HT_ESTOP : a->result;
}

int admin_ask_table(struct admin *a, struct table *out)
{
	int err;

	pthread_mutex_lock(&a->lock);
	a->wants_table = true;
	err = wait_for_answer(a, ++a->asked_count);
	*out = a->table;
	pthread_mutex_unlock(&a->lock);
	return err;
}

int admin_ask_days(struct admin *a, uint32_t last)
{
	int err;

	pthread_mutex_lock(&a->lock);
	if (last > a->wants_until)
		a->wants_until = last;
	err = wait_for_answer(a, ++a->asked_count);
	pthread_mutex_unlock(&a->lock);
	return err;
}
