/* A table of groups, each a function that asks the owners. */
#include "capture/memory.h"

#include <inttypes.h>

#include "capture/first.h"
#include "capture/mirror.h"
#include "capture/snapshot.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "hep/listener.h"
#include "hep/streams.h"
#include "storage/agents.h"
#include "storage/rcu_table.h"
#include "storage/spool.h"
#include "web-sql/http.h"

/* ---- the groups: @return false if there is none ---- */

static bool blocks_take(const struct memory *m, struct memory_use *sum)
{
	for (unsigned i = 0; i < m->worker_count; i++)
		worker_memory(m->workers[i], sum);
	return true;
}

static bool first_copies_take(const struct memory *m, struct memory_use *sum)
{
	if (m->first)
		first_memory(m->first, (uint32_t)(clock_wall_us() / 1000000), sum);
	return m->first;
}

static bool spool_take(const struct memory *m, struct memory_use *sum)
{
	spool_memory(m->spool, sum);
	return spool_is_in_memory(m->spool);
}

static bool agents_take(const struct memory *m, struct memory_use *sum)
{
	agents_memory(m->agents, sum);
	return true;
}

static bool has_stream(const struct conf_listener *l)
{
	bool has = false;

	for (size_t i = 0; i < l->listen_count; i++)
		has |= l->listen[i].is_stream;
	return has;
}

static bool hep_streams_take(const struct memory *m, struct memory_use *sum)
{
	for (unsigned i = 0; i < m->listener_count; i++)
		listener_memory(m->listeners[i], sum);
	for (size_t i = 0; i < m->conf->hep_count; i++)
		if (has_stream(&m->conf->hep[i]))
			sum->limit += (uint64_t)(*m->snapshot)->listener[i]->max_connections *
				      STREAMS_CONNECTION_MOST;
	return true;
}

static bool reassembly_take(const struct memory *m, struct memory_use *sum)
{
	mirror_memory(m->mirror, sum);
	return m->mirror;
}

static bool table_take(const struct rcu_table *table, struct memory_use *sum)
{
	if (table)
		rcu_table_memory(table, sum);
	return table;
}

static bool calls_take(const struct memory *m, struct memory_use *sum)
{
	return table_take(m->calls, sum);
}

static bool media_take(const struct memory *m, struct memory_use *sum)
{
	return table_take(m->media, sum);
}

static bool seen_take(const struct memory *m, struct memory_use *sum)
{
	return table_take(m->seen, sum);
}

static bool http_take(const struct memory *m, struct memory_use *sum)
{
	http_memory(m->http, sum);
	return true;
}

static const struct group {
	const char *name;
	bool (*take)(const struct memory *m, struct memory_use *sum);
} groups[] = {
	{ "blocks", blocks_take },
	{ "first_copies", first_copies_take },
	{ "spool", spool_take },
	{ "agents", agents_take },
	{ "calls", calls_take },
	{ "media", media_take },
	{ "seen", seen_take },
	{ "hep_streams", hep_streams_take },
	{ "reassembly", reassembly_take },
	{ "http", http_take },
};

#define GROUPS (sizeof(groups) / sizeof(groups[0]))

_Static_assert(GROUPS <= STATS_MAX_MEMORY, "STATS_MAX_MEMORY is too small");

/* @return false if there is no such group */
static bool group_take(struct memory *m, unsigned i, struct stats_memory *out)
{
	struct memory_use sum = { 0 };

	if (!groups[i].take(m, &sum))
		return false;
	if (sum.max_used < sum.used) /* nobody kept it, or it grew since it was asked for */
		sum.max_used = sum.used;
	if (sum.max_used > m->max_used[i])
		m->max_used[i] = sum.max_used;
	*out = (struct stats_memory){ .group = groups[i].name,
				      .used = sum.used,
				      .real_used = sum.real_used,
				      .max_used = m->max_used[i],
				      .limit = sum.limit,
				      .is_high = m->is_high[i] };
	return true;
}

unsigned memory_take(struct memory *m, struct stats_memory *out)
{
	unsigned count = 0;

	for (unsigned i = 0; i < GROUPS; i++)
		count += group_take(m, i, &out[count]);
	return count;
}

/* ---- near the limit ---- */

static uint64_t part(uint64_t of, unsigned percent)
{
	return of / 100 * percent;
}

/* One that passed it for the first time since the last look is told of, even if that is over. */
static void group_look(struct memory *m, unsigned i)
{
	uint64_t most_before = m->max_used[i];
	struct stats_memory g;
	uint64_t high;

	if (!group_take(m, i, &g) || g.limit == 0)
		return;
	high = part(g.limit, MEMORY_HIGH);
	if (!g.is_high && (g.used > high || (most_before <= high && g.max_used > high))) {
		m->is_high[i] = true;
		log_warning("memory: %s had %" PRIu64 " KiB, more than %d %% of its limit of "
			    "%" PRIu64 " KiB; it has %" PRIu64 " KiB now",
			    g.group, (g.used > high ? g.used : g.max_used) >> 10, MEMORY_HIGH,
			    g.limit >> 10, g.used >> 10);
	} else if (g.is_high && g.used < part(g.limit, MEMORY_LOW)) {
		m->is_high[i] = false;
		log_info("memory: %s has %" PRIu64 " KiB, less than %d %% of its limit again",
			 g.group, g.used >> 10, MEMORY_LOW);
	}
}

void memory_look(struct memory *m)
{
	for (unsigned i = 0; i < GROUPS; i++)
		group_look(m, i);
}

/* ---- the dump ---- */

static void dump_line(const struct stats_memory *g)
{
	if (g->limit == 0)
		log_info("memory: %-12s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12s", g->group,
			 g->used >> 10, g->real_used >> 10, g->max_used >> 10, "-");
	else
		log_info("memory: %-12s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64
			 " %4" PRIu64 " %%%s",
			 g->group, g->used >> 10, g->real_used >> 10, g->max_used >> 10,
			 g->limit >> 10, g->used / (g->limit / 100 + 1),
			 g->is_high ? ", high" : "");
}

void memory_dump(struct memory *m)
{
	struct stats_memory g[STATS_MAX_MEMORY];
	unsigned count = memory_take(m, g);

	log_info("memory: %-12s %12s %12s %12s %12s", "KiB of", "used", "real_used", "max_used",
		 "limit");
	for (unsigned i = 0; i < count; i++)
		dump_line(&g[i]);
	log_info("memory: the process has %" PRIu64 " KiB resident; `memory` is %" PRIu64 " KiB",
		 stats_resident_bytes() >> 10, m->conf->memory >> 10);
}
