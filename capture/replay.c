/* The same writers as the server's, on streams that nobody appends to. */
#include "capture/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "capture/progress.h"
#include "capture/store.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "storage/spool.h"
#include "storage/writer.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_REFUSED = 3 };

#define LOOK_MS 100

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

static void signals_catch(void)
{
	struct sigaction sa = { .sa_handler = interrupt };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- how far ---- */

/* Blocks of all streams, and those of them that are in the database. */
struct extent {
	uint64_t blocks, done;
};

static struct extent extent_of(struct spool *spool)
{
	struct extent e = { 0 };

	for (size_t i = 0; i < spool_stream_count(spool); i++) {
		struct stream *st = spool_stream(spool, i);
		uint64_t first, committed;

		pthread_mutex_lock(&st->lock);
		first = st->segment_count ? st->segments[0].first_seq : st->last_seq + 1;
		committed = st->committed < first ? first - 1 : st->committed;
		e.blocks += st->last_seq + 1 - first;
		e.done += committed + 1 - first;
		pthread_mutex_unlock(&st->lock);
	}
	return e;
}

/* Rows by what became of them. */
struct sums {
	uint64_t recovered, stored, rejected, lost;
};

static struct sums sums_of(const struct store *store)
{
	struct sums s = { 0 };

	for (unsigned i = 0; i < store->writer_count; i++) {
		const struct writer_counters *c = writer_counters(store->writers[i]);

		for (unsigned p = 0; p < PLACE_COUNT; p++)
			s.stored += counter_get(&c->stored[p]);
		for (unsigned r = 0; r < REJECT_REASON_COUNT; r++)
			s.rejected += counter_get(&c->rejected[r]);
		s.lost += counter_get(&c->lost_damage);
		s.recovered += counter_get(&c->recovered);
	}
	return s;
}

/* ---- the command ---- */

/* The ends of all streams, so that it is known how much there is. */
static int look_at_all(struct spool *spool)
{
	int err = HT_OK;

	for (size_t i = 0; i < spool_stream_count(spool) && err == HT_OK; i++)
		err = stream_recover(spool, spool_stream(spool, i));
	return err;
}

/* Until all is stored, or somebody wants it to end. @return all is? */
static bool drain(struct store *store, struct spool *spool)
{
	struct progress progress;
	struct extent e = extent_of(spool);
	bool is_done = false;

	progress_begin(&progress, "rows", e.done);
	store_finish(store);
	while (!is_done && !is_interrupted) {
		is_done = store_wait(store, clock_mono_us() + LOOK_MS * 1000, UINT64_MAX / 2);
		e = extent_of(spool);
		progress_tell(&progress, e.done, e.blocks, sums_of(store).stored);
	}
	progress_end(&progress);
	return is_done && e.done == e.blocks;
}

static int result_tell(const struct store *store, struct spool *spool, const char *dir,
		       bool is_done)
{
	struct sums s = sums_of(store);
	struct extent e = extent_of(spool);

	printf("%s: %" PRIu64 " rows stored, %" PRIu64 " refused, %" PRIu64 " lost to damage\n",
	       dir, s.stored, s.rejected, s.lost);
	if (s.rejected)
		printf("the refused ones are in %s/rejected.jsonl\n", dir);
	if (!is_done) {
		fprintf(stderr,
			"heptap: %s: %s with %" PRIu64 " of %" PRIu64
			" blocks to go; the same command goes on from there\n",
			dir, is_interrupted ? "interrupted" : "ended", e.blocks - e.done, e.blocks);
		return EXIT_REFUSED;
	}
	return s.lost || s.rejected ? EXIT_WRONG : EXIT_DONE;
}

static int replay_spool(const struct conf *conf, struct spool *spool, unsigned writers,
			const char *dir)
{
	struct store store;
	int code = EXIT_REFUSED;
	int err = store_init(&store, conf, spool, writers, dir, false);

	if (err == HT_OK)
		err = store_try(&store);
	if (err == HT_OK)
		err = thread_start_rcu_helper();
	if (err == HT_OK) {
		signals_catch();
		rcu_thread_begin();
		if (store_start(&store) == HT_OK) {
			bool is_done = drain(&store, spool);

			code = result_tell(&store, spool, dir, is_done);
		}
		store_stop(&store);
		rcu_thread_end();
	}
	store_fini(&store);
	return code;
}

static unsigned writers_for(const struct conf *conf)
{
	return conf->storage.writers ? conf->storage.writers : 1;
}

int replay_command(const struct conf *conf, const char *dir)
{
	struct spool_options o = { .dir = dir,
				   .max_bytes = UINT64_MAX,
				   .node_id = conf->node_id,
				   .writers = writers_for(conf),
				   .read_only = true,
				   .owner_uid = -1,
				   .owner_gid = -1 };
	struct spool *spool;
	int code = EXIT_DONE, err = spool_open(&spool, &o);

	if (err < 0) {
		fprintf(stderr, "heptap: %s: %s\n", dir,
			err == -EWOULDBLOCK ? "a heptap that runs uses it, and stores it too"
					    : ht_strerror(err));
		return err == -ENOENT || err == -ENOTDIR ? EXIT_WRONG : EXIT_REFUSED;
	}
	err = look_at_all(spool);
	if (err < 0) {
		fprintf(stderr, "heptap: %s: %s\n", dir, ht_strerror(err));
		code = EXIT_REFUSED;
	} else if (extent_of(spool).blocks == 0) {
		printf("%s: nothing is in it\n", dir);
	} else {
		code = replay_spool(conf, spool, o.writers, dir);
	}
	spool_close(spool);
	return code;
}
