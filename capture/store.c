/* Start order: admin, writers; stop order: writers, admin, which they wait for. */
#include "capture/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "storage/admin.h"
#include "storage/reject.h"
#include "storage/rotate.h"
#include "storage/spool.h"
#include "storage/writer.h"

static int writer_make(struct store *s, const struct conf *conf, struct spool *spool, unsigned i,
		       bool is_statistics, uint64_t owner)
{
	struct writer_options o = { .index = i,
				    .spool = spool,
				    .admin = s->admin,
				    .layout = &s->layout,
				    .rejects = s->rejects,
				    .db = &s->db,
				    .owner = owner,
				    .node_id = conf->node_id,
				    .troubled = &s->troubled_writers,
				    .is_statistics = is_statistics,
				    .batch_rows = conf->storage.batch_rows };

	return writer_new(&s->writers[i], &o);
}

int store_init(struct store *s, const struct conf *conf, struct spool *spool, unsigned writers,
	       const char *reject_dir, bool tune_writers)
{
	const char *reject_max = getenv("HEPTAP_REJECT_MAX");
	struct rotate_options rotate;
	uint64_t owner;
	int err;

	memset(s, 0, sizeof(*s));
	routes_init(&s->routes);
	err = conf_password(conf, s->password, sizeof(s->password));
	if (err < 0) {
		log_error("storage.password_file: %s: %s", conf->storage.password_file,
			  ht_strerror(err));
		return err;
	}
	if (getrandom(&owner, sizeof(owner), 0) != (ssize_t)sizeof(owner))
		return -errno;
	s->db = (struct db_options){ .host = conf->storage.host,
				     .socket = conf->storage.socket,
				     .user = conf->storage.user,
				     .password = s->password,
				     .database = conf->storage.database,
				     .port = conf->storage.port,
				     .no_bulk = getenv("HEPTAP_NO_BULK") != NULL,
				     .no_row_number = getenv("HEPTAP_NO_ROW_NUMBER") != NULL };
	layout_init(&s->layout, &s->routes, conf);
	rotate = rotate_options_of(conf, &s->layout);
	err = admin_new(&s->admin, &s->db, &rotate);
	if (err == HT_OK && tune_writers && writers > 1)
		admin_tune_writers(s->admin, spool, writers);
	if (err == HT_OK && conf->storage.statistics == CONF_TRUE)
		admin_tend_statistics(s->admin);
	if (err == HT_OK)
		err = reject_open(&s->rejects, reject_dir,
				  reject_max ? strtoull(reject_max, NULL, 10) : 0);
	s->writer_count = writers + (spool_has_statistics(spool) ? 1 : 0);
	for (unsigned i = 0; i < s->writer_count && err == HT_OK; i++)
		err = writer_make(s, conf, spool, i, i == writers, owner >> 1);
	s->statistics = s->writers[writers];
	return err;
}

void store_fini(struct store *s)
{
	for (unsigned i = 0; i < s->writer_count; i++)
		writer_free(s->writers[i]);
	admin_free(s->admin);
	reject_close(s->rejects);
	routes_fini(&s->routes);
	explicit_bzero(s->password, sizeof(s->password));
}

int store_try(const struct store *s)
{
	struct db *db;
	int err = db_open(&db, &s->db);

	if (err == HT_OK)
		db_close(db);
	else
		fprintf(stderr, "heptap: the database cannot be reached: %s\n",
			db_last_error(NULL));
	return err;
}

static void run_writer(void *ctx)
{
	writer_run(ctx);
}

static void run_admin(void *ctx)
{
	admin_run(ctx);
}

int store_start(struct store *s)
{
	int err = thread_start(&s->admin_thread, run_admin, s->admin, "ht-admin");

	for (unsigned i = 0; i < s->writer_count && err == HT_OK; i++)
		err = thread_start(&s->db_thread[i], run_writer, s->writers[i],
				   s->writers[i] == s->statistics ? "ht-stat" : "ht-db-%u", i);
	return err;
}

void store_finish(struct store *s)
{
	for (unsigned i = 0; i < s->writer_count; i++)
		if (s->writers[i])
			writer_finish(s->writers[i]);
}

static bool writer_wait(struct store *s, unsigned i, uint64_t deadline_us, uint64_t down_us)
{
	uint64_t down_at_us = clock_mono_us() + down_us;

	while (!thread_join_until(&s->db_thread[i], clock_mono_us() + 100000)) {
		if (clock_mono_us() > deadline_us)
			return false;
		if (atomic_load(&writer_counters(s->writers[i])->is_up))
			down_at_us = clock_mono_us() + down_us;
		else if (clock_mono_us() > down_at_us)
			return false;
	}
	return true;
}

bool store_wait(struct store *s, uint64_t deadline_us, uint64_t down_us)
{
	bool is_done = true;

	for (unsigned i = 0; i < s->writer_count; i++)
		is_done &= writer_wait(s, i, deadline_us, down_us);
	return is_done;
}

void store_stop(struct store *s)
{
	if (s->admin)
		admin_stop(s->admin);
	for (unsigned i = 0; i < s->writer_count; i++) {
		if (s->writers[i])
			writer_stop(s->writers[i]);
		thread_join(&s->db_thread[i]);
	}
	thread_join(&s->admin_thread);
}
