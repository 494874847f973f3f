/* Downstream first: stored, then appended, then made; and for each source outcomes first, then
 * received. */
#include "web-sql/stats.h"

#include <string.h>
#include <unistd.h>

#include "storage/spool.h"

static void writers_take(const struct stats_sources *from, struct stats *out)
{
	out->is_db_up = from->writer_count > 0;
	for (unsigned i = 0; i < from->writer_count; i++) {
		const struct writer_counters *w = writer_counters(from->writers[i]);

		out->unread += atomic_load(&w->unread); /* before what they have is counted */
		for (unsigned p = 0; p < PLACE_COUNT; p++)
			out->stored_in[p] += counter_get(&w->stored[p]);
		for (unsigned r = 0; r < REJECT_REASON_COUNT; r++)
			out->rejected_for[r] += counter_get(&w->rejected[r]);
		out->unrouted += counter_get(&w->unrouted);
		out->lost_damage += counter_get(&w->lost_damage);
		out->recovered += counter_get(&w->recovered);
		out->rewound += counter_get(&w->rewound);
		out->transactions += counter_get(&w->transactions);
		out->retries += counter_get(&w->retries);
		out->latency_sum_us += counter_get(&w->latency_sum_us);
		for (unsigned t = 0; t < ROW_TEXT_COUNT; t++) {
			out->clipped[t] += counter_get(&w->clipped[t]);
			out->repaired[t] += counter_get(&w->repaired[t]);
		}
		for (unsigned b = 0; b < WRITER_LATENCY_BUCKETS; b++)
			out->latency[b] += counter_get(&w->latency[b]);
		out->is_db_up &= atomic_load(&w->is_up);
	}
	for (unsigned p = 0; p < PLACE_COUNT; p++)
		out->stored += out->stored_in[p];
	for (unsigned r = 0; r < REJECT_REASON_COUNT; r++)
		out->rejected += out->rejected_for[r];
}

static void source_take(const struct source_counters *c, struct stats_source *one)
{
	one->rows_made = counter_get(&c->rows_made);
	one->accepted = counter_get(&c->accepted);
	one->filtered = counter_get(&c->filtered);
	one->duplicate = counter_get(&c->duplicate);
	for (unsigned r = 0; r < SHED_REASONS; r++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			one->shed[r][k] = counter_get(&c->shed[r][k]);
#define X(field, metric, label, help) one->field = counter_get(&c->field);
	SOURCE_COUNTERS(X)
#undef X
}

static void source_add(struct stats_source *sum, const struct stats_source *one)
{
	const uint64_t *from = (const uint64_t *)one;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0; i < sizeof(*one) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

/* What a source that captures counts elsewhere, put where that of others is. */
static void packets_take(const struct stats_sources *from, unsigned s, struct stats *out)
{
	struct stats_packets *p = &out->packets[s];
	struct stats_source *one = &out->source[s];

	out->is_capture[s] = from->packets && from->packets(from->ctx, s, p);
	if (!out->is_capture[s]) {
		one->incomplete = one->incomplete_truncated;
		one->held = one->datagrams - one->carriers - one->incomplete;
		return;
	}
	for (unsigned i = 0; i < p->end_count; i++)
		*(p->end[i].is_incomplete ? &one->incomplete : &one->not_for_us) += p->end[i].count;
	one->held = p->held;
	one->datagrams = p->seen - p->kernel_dropped;
	one->kernel_dropped = p->kernel_dropped;
	one->carriers = p->carriers;
	one->malformed_partial += p->malformed_partial;
	one->malformed_oversize += p->malformed_oversize;
	one->received += p->malformed_partial + p->malformed_oversize;
}

/* Downstream first here too; `made` last. */
static void deltas_take(const struct stats_sources *from, struct stats_deltas *out)
{
	const struct spool_counters *spool = spool_counters(from->spool);

	if (from->statistics_writer) {
		const struct writer_counters *w = writer_counters(from->statistics_writer);

		out->unread = atomic_load(&w->unread);
		out->stored = counter_get(&w->stored_deltas);
		out->lost_damage = counter_get(&w->lost_damage);
		out->recovered = counter_get(&w->recovered);
		out->rewound = counter_get(&w->rewound);
		out->is_up = atomic_load(&w->is_up);
	}
	out->lost_shutdown = counter_get(&spool->lost_deltas);
	out->lost_spool = counter_get(&spool->crowded_deltas);
	out->appended = counter_get(&spool->deltas_appended);
	for (unsigned i = 0; i < from->worker_count; i++) {
		const struct tally_counters *t = from->tally(from->ctx, i);

		if (!t)
			continue;
		out->lost_memory += counter_get(&t->lost);
		out->made += counter_get(&t->made);
		out->repeats += counter_get(&t->repeats);
		out->evicted += counter_get(&t->evicted);
		out->others += counter_get(&t->others);
	}
	out->in_memory =
		out->made - out->appended - out->lost_shutdown - out->lost_spool - out->lost_memory;
	out->in_spool =
		out->appended + out->recovered + out->rewound - out->stored - out->lost_damage;
}

static void calls_take(const struct call_counters *c, struct stats *out)
{
	for (unsigned i = 0; i < CALL_STATES; i++)
		out->calls[i] += counter_get(&c->state[i]);
	for (unsigned i = 0; i < CALL_FAIL_CLASSES; i++)
		out->calls_failed[i] += counter_get(&c->failed[i]);
	out->dial_delays += counter_get(&c->dial_delays);
	out->dial_delay_us += counter_get(&c->dial_delay_us);
	out->talks += counter_get(&c->talks);
	out->talk_us += counter_get(&c->talk_us);
}

static void decisions_take(const struct stats_sources *from, struct stats *out)
{
	unsigned rules = rules_count(from->rules);

	for (unsigned w = 0; w < from->worker_count; w++) {
		struct stats_decisions d;

		from->decisions(from->ctx, w, &d);
		for (unsigned i = 0; i < rules; i++) {
			out->filtered[i] += counter_get(&d.filtered[i]);
			out->hits[i] += counter_get(&d.hits[i]);
		}
		out->crowded += counter_get(&d.seen->crowded);
		out->again += counter_get(&d.seen->again);
		out->unsure += counter_get(d.unsure);
		out->media_found += counter_get(d.media_found);
		calls_take(d.calls, out);
		out->legs_joined += counter_get(&d.legs->joined);
		out->legs_refused += counter_get(&d.legs->refused);
		out->legs_unsure += counter_get(&d.legs->unsure);
	}
	for (unsigned i = 0; i < STATS_TABLES; i++)
		out->table[i] = rcu_table_sums(from->table[i].table);
}

uint64_t stats_resident_bytes(void)
{
	unsigned long long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void stats_take(const struct stats_sources *from, struct stats *out)
{
	const struct spool_counters *spool = spool_counters(from->spool);
	struct stats_source one = { 0 };
	uint64_t behind_spool;

	memset(out, 0, sizeof(*out));
	writers_take(from, out);
	deltas_take(from, &out->deltas);
	out->lost_shutdown = counter_get(&spool->lost_rows);
	out->rows_appended = counter_get(&spool->rows_appended);
	out->blocks_appended = counter_get(&spool->blocks_appended);
	out->torn_bytes = counter_get(&spool->torn_bytes);
	out->spool_bytes = counter_get(&spool->bytes);
	out->is_spool_ok = spool_is_ok(from->spool);
	for (unsigned r = 0; r < SHED_REASONS; r++)
		out->pressure[r] = (double)from->pressure(from->ctx, r) / PRESSURE_MOST;
	decisions_take(from, out);
	out->has_spool_reserve = spool_has_reserve(from->spool);
	for (unsigned s = 0; s < from->source_count; s++) {
		for (unsigned w = 0; w < from->worker_count; w++) {
			source_take(from->source(from->ctx, w, s), &one);
			source_add(&out->source[s], &one);
		}
		packets_take(from, s, out);
		source_add(&out->all, &out->source[s]);
	}
	for (unsigned w = 0; w < from->worker_count; w++)
		for (unsigned t = 0; t < 256; t++)
			out->types[t] += counter_get(&from->types(from->ctx, w)[t]);
	out->memory_count = from->memory ? from->memory(from->ctx, out->memory) : 0;
	out->finding_count = from->findings ? from->findings(from->host_ctx, out->findings) : 0;
	behind_spool = out->stored + out->rejected + out->lost_damage;
	out->in_spool = out->rows_appended + out->recovered + out->rewound - behind_spool;
	out->in_memory = out->all.rows_made - out->rows_appended - out->lost_shutdown;
}
