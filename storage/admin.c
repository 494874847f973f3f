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
#include "storage/rotate.h"
#include "storage/schema.h"
#include "storage/spool.h"

#define LOOK_S 60

/* What a writer waits for; on its stack. */
struct request {
	struct place place;
	uint32_t until;	   /* last day that needs a partition; 0: not asked for */
	struct table *out; /* NULL: not asked for */
	struct statistics_tables *statistics;
	int result;
	bool is_done;
	struct request *next;
};

struct admin {
	const struct db_options *options;
	const struct layout *layout;
	struct rotate *rotate;
	struct db *db;		    /* ht-admin only, but for db_interrupt() under the lock */
	bool is_installed;	    /* ledger and ids were seen on this connection */
	unsigned told[PLACE_COUNT]; /* columns of the table, as the log has them */
	bool is_refused;	    /* said once in the log */
	struct statistics *statistics;
	bool tends_statistics;
	struct spool *spool; /* NULL: it uses all its writers */
	unsigned writers, used_writers;
	bool is_compressed[PLACE_COUNT]; /* that table, of today where there is one a day */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t asked; /* a request is there, or stop */
	pthread_cond_t answered;
	bool stop;
	struct request *first, **last;
};

int admin_new(struct admin **out, const struct db_options *options,
	      const struct rotate_options *rotate)
{
	struct admin *a = calloc(1, sizeof(*a));
	pthread_condattr_t attr;

	if (!a)
		return -ENOMEM;
	if (rotate_new(&a->rotate, rotate) < 0) {
		free(a);
		return -ENOMEM;
	}
	a->options = options;
	a->layout = rotate->layout;
	a->last = &a->first;
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->asked, &attr);
	pthread_cond_init(&a->answered, &attr);
	pthread_condattr_destroy(&attr);
	if (statistics_new(&a->statistics, a->layout) < 0) {
		admin_free(a);
		return -ENOMEM;
	}
	*out = a;
	return HT_OK;
}

void admin_tend_statistics(struct admin *a)
{
	a->tends_statistics = true;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	statistics_free(a->statistics);
	pthread_cond_destroy(&a->asked);
	pthread_cond_destroy(&a->answered);
	pthread_mutex_destroy(&a->lock);
	rotate_free(a->rotate);
	free(a);
}

void admin_tune_writers(struct admin *a, struct spool *spool, unsigned writers)
{
	a->spool = spool;
	a->writers = a->used_writers = writers;
}

const struct rotate_counters *admin_counters(const struct admin *a)
{
	return rotate_counters(a->rotate);
}

static uint32_t today(void)
{
	return (uint32_t)(clock_wall_us() / 86400000000ULL);
}

/* ---- tables ---- */

/* The ledger and the leases, which every transaction needs. */
static int heptap_ensure(struct admin *a)
{
	struct schema_names names = { .database = "", .table = "" };
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

	if (place_is_daily(place)) {
		err = rotate_ensure(a->rotate, a->db, place, &place.day);
		if (err < 0)
			return err == HT_EFUTURE ? HT_EMISSING : err;
	}
	layout_name(a->layout, place, name);
	*out = (struct table){ .count = a->told[place.what] };
	err = table_read(a->db, name, place_is_sip(place), out);
	if (err == HT_OK && out->is_missing) {
		err = rotate_make_table(a->rotate, a->db, place);
		if (err == HT_OK)
			err = table_read(a->db, name, place_is_sip(place), out);
	}
	if (err < 0)
		return err;
	a->told[place.what] = out->count;
	if (place.day == 0 || place.day == today())
		a->is_compressed[place.what] = out->is_compressed;
	return out->is_missing || out->count == 0 ? HT_EMISSING : HT_OK;
}

/* ---- the thread ---- */

static int connect_if_not(struct admin *a)
{
	struct db *db;
	int err;

	if (a->db)
		return HT_OK;
	err = db_open(&db, a->options);
	if (err < 0)
		return err;
	err = rotate_session(db);
	if (err == HT_OK && db_run(db, "SET wait_timeout=600") < 0)
		err = HT_ECONN;
	if (err < 0) {
		db_close(db);
		return err;
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
	bool is_refused = err < 0 && err != HT_ECONN && err != HT_ERETRY && err != HT_EFUTURE;

	if (is_refused && !a->is_refused)
		log_error("database: tables: %s: %s", ht_strerror(err),
			  a->db ? db_last_error(a->db) : db_last_error(NULL));
	a->is_refused = is_refused;
}

static int serve(struct admin *a, struct request *r)
{
	int err = connect_if_not(a);

	if (err == HT_OK)
		err = heptap_ensure(a);
	if (err == HT_OK && r->out)
		err = table_look(a, r->place, r->out);
	if (err == HT_OK && r->statistics)
		err = statistics_look(a->statistics, a->db, r->statistics);
	writers_settle(a);
	if (err == HT_OK && r->until)
		err = rotate_ensure(a->rotate, a->db, r->place, &r->until);
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
		err = rotate_look(a->rotate, a->db);
	tell(a, err);
	if (a->db && err != HT_ECONN && a->tends_statistics)
		err = statistics_tend(a->statistics, a->db);
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

int admin_ask_statistics(struct admin *a, struct statistics_tables *out)
{
	struct request r = { .statistics = out };

	return ask(a, &r);
}

int admin_ask_days(struct admin *a, struct place place, uint32_t *last)
{
	struct request r = { .place = place, .until = *last };
	int err = ask(a, &r);

	*last = r.until;
	return err;
}
