/* Sizes, and how often a turn of the sweeper comes round. */
#include "capture/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "capture/decide.h"
#include "conf/log.h"
#include "storage/calls.h"
#include "storage/media.h"
#include "storage/rcu_table.h"
#include "storage/seen.h"
#include "tune/plan.h"
#include "web-sql/stats.h"

/* Seconds in which all places are looked at: what is over stays at most so much longer. */
#define CALLS_TURN_S 32
#define MEDIA_TURN_S 60
#define SEEN_TURN_S  8

struct swept {
	struct rcu_table_thread *main;
	uint32_t turn_s;
	uint32_t places; /* of a turn, as the last look said */
};

struct tables {
	struct decide_tables is;
	struct swept calls, media, seen;
};

static void swept_by_main(struct swept *s, struct rcu_table *t, unsigned main, uint32_t turn_s)
{
	*s = (struct swept){ .main = rcu_table_thread(t, main), .turn_s = turn_s };
}

enum { CALLS, MEDIA, SEEN };

/* As many as are wished, within half of `memory`. */
static void sizes_decide(const struct conf *conf, struct plan_table size[STATS_TABLES])
{
	size[CALLS] = (struct plan_table){ conf->tables.calls, calls_entry_cost() };
	size[MEDIA] = (struct plan_table){ conf->tables.media, media_entry_cost() };
	size[SEEN] = (struct plan_table){ conf->tables.seen, seen_entry_cost() };
	if (!plan_tables(conf->memory, size, STATS_TABLES))
		log_warning("tables: the least that they need is more than half of `memory`");
	if (size[CALLS].entries < conf->tables.calls)
		log_info("tables: half of `memory` is enough for %" PRIu64 " calls, %" PRIu64
			 " addresses of media, %" PRIu64 " messages seen",
			 size[CALLS].entries, size[MEDIA].entries, size[SEEN].entries);
}

int tables_new(struct tables **out, const struct conf *conf, unsigned threads)
{
	struct tables *t = calloc(1, sizeof(*t));
	struct plan_table size[STATS_TABLES];
	int err;

	if (!t)
		return -ENOMEM;
	sizes_decide(conf, size);
	err = calls_new(&t->is.calls, (uint32_t)size[CALLS].entries, threads + 1);
	if (err == HT_OK)
		err = media_new(&t->is.media, (uint32_t)size[MEDIA].entries, threads + 1);
	if (err == HT_OK)
		err = seen_new(&t->is.seen, (uint32_t)size[SEEN].entries, threads + 1);
	if (err < 0) {
		tables_free(t);
		return err;
	}
	swept_by_main(&t->calls, t->is.calls, threads, CALLS_TURN_S);
	swept_by_main(&t->media, t->is.media, threads, MEDIA_TURN_S);
	swept_by_main(&t->seen, t->is.seen, threads, SEEN_TURN_S);
	*out = t;
	return HT_OK;
}

void tables_free(struct tables *t)
{
	if (!t)
		return;
	rcu_table_free(t->is.calls);
	rcu_table_free(t->is.media);
	rcu_table_free(t->is.seen);
	free(t);
}

const struct decide_tables *tables_of(const struct tables *t)
{
	return &t->is;
}

void tables_tell(const struct tables *t, struct stats_sources *out)
{
	const char *const name[STATS_TABLES] = { "calls", "media", "seen" };
	const struct rcu_table *const table[STATS_TABLES] = { t->is.calls, t->is.media,
							      t->is.seen };

	for (unsigned i = 0; i < STATS_TABLES; i++) {
		out->table[i].name = name[i];
		out->table[i].table = table[i];
	}
}

static void sweep(struct swept *s, uint32_t now_ms)
{
	s->places = rcu_table_sweep(s->main, now_ms, s->places / s->turn_s + 1);
}

void tables_sweep(struct tables *t, uint64_t mono_us)
{
	uint32_t now_ms = (uint32_t)(mono_us / 1000);

	sweep(&t->calls, now_ms);
	sweep(&t->media, now_ms);
	sweep(&t->seen, now_ms);
}
