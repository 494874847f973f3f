/**
 * @file
 * The database side, from the spool on: ht-admin and the writers, as the configuration wants them.
 * For the server and for the commands that store by themselves. Threads: what is here is main's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/thread.h"
#include "conf/conf.h"
#include "storage/db.h"
#include "storage/layout.h"

struct admin;
struct reject_file;
struct spool;
struct writer;

#define STORE_MAX_WRITERS (8 + 1) /* one of statistics */

struct store {
	struct db_options db;
	struct layout layout;
	struct routes routes; /* of the layout */
	char password[256];
	struct reject_file *rejects;
	struct admin *admin;
	struct writer *writers[STORE_MAX_WRITERS];
	unsigned writer_count;
	_Atomic unsigned troubled_writers;
	struct writer *statistics; /* one of them; NULL: there is nothing for it */
	struct thread admin_thread, db_thread[STORE_MAX_WRITERS];
};

/**
 * Make all of it; nothing runs yet.
 * @param writers     As many as the spool's streams of messages name; one more is made for those of
 * statistics, if there are any.
 * @param reject_dir  Where rejected.jsonl goes.
 * @param tune_writers  Rows go to fewer of them where the tables ask for that.
 * @return HT_OK or an error, told in the log. store_fini() is right after either. @p conf and @p
 * spool have to live as long.
 */
HT_MUST_CHECK int store_init(struct store *s, const struct conf *conf, struct spool *spool,
			     unsigned writers, const char *reject_dir, bool tune_writers);
void store_fini(struct store *s);

/** Can the database be reached? Says so on stderr if not. @return as db_open(). */
HT_MUST_CHECK int store_try(const struct store *s);

/** Start the threads. @return HT_OK or -errno. */
HT_MUST_CHECK int store_start(struct store *s);

/** Nothing is appended to the spool any more: let the writers store what is there. */
void store_finish(struct store *s);

/**
 * Wait for that.
 * @return false if there is still something to store at @p deadline_us (monotonic), or the database
 * was away for @p down_us.
 */
HT_MUST_CHECK bool store_wait(struct store *s, uint64_t deadline_us, uint64_t down_us);

/** End the threads, done or not: what is not committed stays in the spool. */
void store_stop(struct store *s);
