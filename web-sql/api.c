/* Numbers as Prometheus text and as JSON. */
#include "web-sql/api.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/rcu.h"
#include "conf/version.h"
#include "storage/agents.h"
#include "web-sql/control.h"
#include "web-sql/notify.h"
#include "web-sql/stats.h"

#define AGENT_SERIES 1000 /* of agents that have one of their own */

static void family(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter_line(struct evbuffer *out, const char *name, uint64_t value)
{
	evbuffer_add_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void single(struct evbuffer *out, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	family(out, name, type, help);
	counter_line(out, name, value);
}

/* ---- metrics, group by group ---- */

static uint64_t connections_open(const struct stats_source *s)
{
	return s->connections - s->closed_end - s->closed_error - s->closed_framing -
	       s->closed_first_message - s->closed_message - s->closed_idle - s->closed_stop;
}

/* Where packets of the sources that capture ended. */
static void metrics_ends(struct evbuffer *out, const struct stats_sources *from,
			 const struct stats *st, const char *metric, bool is_incomplete)
{
	for (unsigned i = 0; i < from->source_count; i++) {
		const struct stats_packets *p = &st->packets[i];

		for (unsigned k = 0; k < p->end_count; k++)
			if (p->end[k].is_incomplete == is_incomplete)
				evbuffer_add_printf(out,
						    "%s{source=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
						    metric, from->source_name[i], p->end[k].reason,
						    p->end[k].count);
	}
}

static void metrics_captures(struct evbuffer *out, const struct stats_sources *from,
			     const struct stats *st)
{
	static const char not_for_us[] = "heptap_packets_not_for_us_total";

	family(out, not_for_us, "counter", "packets that carry nothing for us, by reason");
	metrics_ends(out, from, st, not_for_us, false);
	family(out, "heptap_ring_freezes_total", "counter",
	       "times that a ring became full and the kernel dropped");
	for (unsigned i = 0; i < from->source_count; i++)
		if (st->is_capture[i])
			evbuffer_add_printf(
				out, "heptap_ring_freezes_total{source=\"%s\"} %" PRIu64 "\n",
				from->source_name[i], st->packets[i].freezes);
	family(out, "heptap_reassembly_total", "counter",
	       "what happened while fragments, segments and chunks were put together");
	for (unsigned i = 0; i < from->source_count; i++)
		for (unsigned k = 0; k < st->packets[i].event_count; k++)
			evbuffer_add_printf(
				out,
				"heptap_reassembly_total{source=\"%s\",event=\"%s\"} %" PRIu64 "\n",
				from->source_name[i], st->packets[i].event[k].name,
				st->packets[i].event[k].count);
}

/* All series of a family have to stand together: one pass per line of the list, a head where the
 * family changes. */
static void metrics_sources(struct evbuffer *out, const struct stats_sources *from,
			    const struct stats *st)
{
	const char *last = "";

#define X(field, metric, label, help)                                                   \
	if (strcmp(last, metric) != 0)                                                  \
		family(out, metric, "counter", help);                                   \
	last = metric;                                                                  \
	for (unsigned i = 0; i < from->source_count; i++)                               \
		evbuffer_add_printf(out, "%s{source=\"%s\"%s%s} %" PRIu64 "\n", metric, \
				    from->source_name[i], *label ? "," : "", label,     \
				    st->source[i].field);                               \
	if (strcmp(metric, "heptap_packets_incomplete_total") == 0)                     \
		metrics_ends(out, from, st, metric, true);
	SOURCE_COUNTERS(X)
#undef X
	family(out, "heptap_packets_seen_total", "counter",
	       "packets that reached a socket or passed the filter of a ring, taken or dropped");
	for (unsigned i = 0; i < from->source_count; i++)
		evbuffer_add_printf(out, "heptap_packets_seen_total{source=\"%s\"} %" PRIu64 "\n",
				    from->source_name[i],
				    st->source[i].datagrams + st->source[i].kernel_dropped);
	family(out, "heptap_connections", "gauge", "TCP connections that are open");
	for (unsigned i = 0; i < from->source_count; i++)
		evbuffer_add_printf(out, "heptap_connections{source=\"%s\"} %" PRIu64 "\n",
				    from->source_name[i], connections_open(&st->source[i]));
	family(out, "heptap_packets_held", "gauge", "packets taken and not yet done with");
	for (unsigned i = 0; i < from->source_count; i++)
		evbuffer_add_printf(out, "heptap_packets_held{source=\"%s\"} %" PRIu64 "\n",
				    from->source_name[i], st->source[i].held);
}

static const char *const shed_reason[SHED_REASONS] = {
	[SHED_MEMORY] = "memory",
	[SHED_SPOOL] = "spool",
};

static void metrics_messages(struct evbuffer *out, const struct stats *st)
{
	family(out, "heptap_shed_total", "counter",
	       "messages given up under pressure, by class (1 reports to 5 INVITE dialogs) and "
	       "reason");
	for (unsigned k = 1; k <= SHED_CLASSES; k++)
		for (unsigned r = 0; r < SHED_REASONS; r++)
			evbuffer_add_printf(
				out, "heptap_shed_total{class=\"%u\",reason=\"%s\"} %" PRIu64 "\n",
				k, shed_reason[r], st->all.shed[r][k]);
	family(out, "heptap_pressure", "gauge",
	       "how much is shed, by reason: 0 nothing, a fifth more for each class, 1 everything");
	for (unsigned r = 0; r < SHED_REASONS; r++)
		evbuffer_add_printf(out, "heptap_pressure{reason=\"%s\"} %.4f\n", shed_reason[r],
				    st->pressure[r]);
	single(out, "heptap_accepted_total", "counter", "messages that became rows",
	       st->all.accepted);
}

/* Several numbers may be of one name: rules that ask for different tables. Its first one shows the
 * sum. */
static void metrics_rules(struct evbuffer *out, const struct rules *rules, const char *metric,
			  const char *help, const uint64_t *values)
{
	unsigned count = rules_count(rules);

	family(out, metric, "counter", help);
	for (unsigned i = 0; i < count; i++) {
		const char *name = rules_name(rules, i);
		uint64_t sum = 0;
		bool is_first = true;

		for (unsigned k = 0; k < count; k++) {
			if (strcmp(rules_name(rules, k), name) != 0)
				continue;
			is_first &= k >= i;
			sum += values[k];
		}
		if (is_first)
			evbuffer_add_printf(out, "%s{rule=\"%s\"} %" PRIu64 "\n", metric, name,
					    sum);
	}
}

static void metrics_decisions(struct evbuffer *out, const struct stats_sources *from,
			      const struct stats *st)
{
	metrics_rules(out, from->rules, "heptap_filtered_total",
		      "messages that a rule keeps out, by rule", st->filtered);
	metrics_rules(out, from->rules, "heptap_rule_hits_total",
		      "messages that a rule decided about, by rule", st->hits);
	single(out, "heptap_filter_unsure_total", "counter",
	       "messages kept because an expression reached its limit", st->unsure);
	single(out, "heptap_duplicate_total", "counter",
	       "copies of messages, brought by another tap or agent or mirrored twice",
	       st->all.duplicate);
	single(out, "heptap_duplicate_crowded_total", "counter",
	       "of these, of messages that more sources bring than are told apart", st->crowded);
	single(out, "heptap_retransmissions_total", "counter",
	       "messages that their source brought again: they are stored again", st->again);
	single(out, "heptap_legs_joined_total", "counter", "calls that got a leg before them",
	       st->legs_joined);
	single(out, "heptap_legs_refused_total", "counter",
	       "headers of legs that are too long to follow or would lead in a ring",
	       st->legs_refused);
	single(out, "heptap_legs_unsure_total", "counter",
	       "headers of legs whose expression reached its limit: they joined nothing",
	       st->legs_unsure);
	single(out, "heptap_media_found_total", "counter",
	       "reports without a Call-ID whose call was found by an address", st->media_found);
}

static void metrics_calls(struct evbuffer *out, const struct stats *st)
{
	static const char *const state[CALL_STATES] = { [CALL_SETUP] = "setup",
							[CALL_ANSWERED] = "answered",
							[CALL_ENDED] = "ended",
							[CALL_FAILED] = "failed" };

	family(out, "heptap_calls_total", "counter", "calls that came to a state, by state");
	for (unsigned i = CALL_SETUP; i < CALL_STATES; i++)
		evbuffer_add_printf(out, "heptap_calls_total{state=\"%s\"} %" PRIu64 "\n", state[i],
				    st->calls[i]);
	family(out, "heptap_calls_failed_total", "counter",
	       "calls that failed, by class of status");
	for (unsigned i = 3; i < CALL_FAIL_CLASSES; i++)
		evbuffer_add_printf(out, "heptap_calls_failed_total{class=\"%u\"} %" PRIu64 "\n", i,
				    st->calls_failed[i]);
	family(out, "heptap_call_dial_delay_seconds", "summary",
	       "from the INVITE to ringing, of calls that were answered or failed");
	evbuffer_add_printf(out,
			    "heptap_call_dial_delay_seconds_sum %.6f\n"
			    "heptap_call_dial_delay_seconds_count %" PRIu64 "\n",
			    (double)st->dial_delay_us / 1e6, st->dial_delays);
	family(out, "heptap_call_talk_seconds", "summary", "from the answer to the BYE");
	evbuffer_add_printf(out,
			    "heptap_call_talk_seconds_sum %.6f\n"
			    "heptap_call_talk_seconds_count %" PRIu64 "\n",
			    (double)st->talk_us / 1e6, st->talks);
}

static void metrics_rows(struct evbuffer *out, const struct stats_sources *from,
			 const struct stats *st)
{
	char label[LAYOUT_NAME];

	single(out, "heptap_rows_made_total", "counter", "rows made of messages",
	       st->all.rows_made);
	single(out, "heptap_rows_recovered_total", "counter",
	       "rows of earlier starts found in the spool behind the ledger", st->recovered);
	single(out, "heptap_rows_rewound_total", "counter",
	       "rows counted stored that the database had forgotten", st->rewound);
	family(out, "heptap_stored_total", "counter", "rows committed, by table");
	for (unsigned p = 0; p < layout_places(from->layout); p++) {
		if (place_is_daily((struct place){ p, 0 }) != from->layout->is_daily &&
		    p <= PLACE_REST)
			continue;
		layout_label(from->layout, p, label);
		evbuffer_add_printf(out, "heptap_stored_total{table=\"%s\"} %" PRIu64 "\n", label,
				    st->stored_in[p]);
	}
	single(out, "heptap_unrouted_total", "counter",
	       "rows in the usual table though a rule named another, which cannot be",
	       st->unrouted);
	family(out, "heptap_rejected_total", "counter", "rows the database refused, by reason");
	for (unsigned r = 0; r < REJECT_REASON_COUNT; r++)
		evbuffer_add_printf(out, "heptap_rejected_total{reason=\"%s\"} %" PRIu64 "\n",
				    reject_reason_name(r), st->rejected_for[r]);
	family(out, "heptap_lost_total", "counter", "rows lost, by reason");
	evbuffer_add_printf(out,
			    "heptap_lost_total{reason=\"damage\"} %" PRIu64
			    "\nheptap_lost_total{reason=\"shutdown\"} %" PRIu64 "\n",
			    st->lost_damage, st->lost_shutdown);
	single(out, "heptap_in_memory", "gauge", "rows in blocks that are not in the spool yet",
	       st->in_memory);
	single(out, "heptap_in_spool", "gauge", "rows in the spool that are not stored yet",
	       st->in_spool);
	single(out, "heptap_spool_streams_unread", "gauge",
	       "streams of earlier starts whose rows are not known yet, and in no other number",
	       st->unread + st->deltas.unread);
	single(out, "heptap_spool_bytes", "gauge",
	       "octets of segments, stored ones of the last half minute included", st->spool_bytes);
	single(out, "heptap_spool_ok", "gauge", "1 while the spool takes blocks", st->is_spool_ok);
	single(out, "heptap_spool_reserve_ok", "gauge",
	       "1 while there is room on the disk for another segment", st->has_spool_reserve);
	single(out, "heptap_spool_torn_bytes_total", "counter",
	       "octets cut from unfinished blocks at start", st->torn_bytes);
	single(out, "heptap_spool_blocks_total", "counter", "blocks appended to the spool",
	       st->blocks_appended);
}

static void metrics_statistics(struct evbuffer *out, const struct stats_deltas *d)
{
	single(out, "heptap_statistics_made_total", "counter",
	       "rows of sums that receive threads made for statistics", d->made);
	single(out, "heptap_statistics_recovered_total", "counter",
	       "rows of sums of earlier starts found in the spool behind the ledger", d->recovered);
	single(out, "heptap_statistics_rewound_total", "counter",
	       "rows of sums counted stored that the database had forgotten", d->rewound);
	single(out, "heptap_statistics_stored_total", "counter", "rows of sums committed",
	       d->stored);
	family(out, "heptap_statistics_lost_total", "counter", "rows of sums lost, by reason");
	evbuffer_add_printf(out,
			    "heptap_statistics_lost_total{reason=\"damage\"} %" PRIu64
			    "\nheptap_statistics_lost_total{reason=\"memory\"} %" PRIu64
			    "\nheptap_statistics_lost_total{reason=\"shutdown\"} %" PRIu64
			    "\nheptap_statistics_lost_total{reason=\"spool\"} %" PRIu64 "\n",
			    d->lost_damage, d->lost_memory, d->lost_shutdown, d->lost_spool);
	single(out, "heptap_statistics_in_memory", "gauge",
	       "rows of sums in blocks that are not in the spool yet", d->in_memory);
	single(out, "heptap_statistics_in_spool", "gauge",
	       "rows of sums in the spool that are not stored yet", d->in_spool);
	single(out, "heptap_statistics_repeats_total", "counter",
	       "messages stored that were not the first of their kind", d->repeats);
	single(out, "heptap_statistics_others_total", "counter",
	       "addresses and user agents counted under `other`", d->others);
	single(out, "heptap_statistics_ok", "gauge", "1 while statistics are stored", d->is_up);
}

static void metrics_types(struct evbuffer *out, const struct stats *st)
{
	family(out, "heptap_hep_types_total", "counter", "HEP records, by protocol type");
	for (unsigned t = 0; t < 256; t++)
		if (st->types[t])
			evbuffer_add_printf(out,
					    "heptap_hep_types_total{type=\"%u\"} %" PRIu64 "\n", t,
					    st->types[t]);
}

struct agent_lines {
	struct evbuffer *out;
	const struct stats_sources *from;
	uint64_t now_us, oldest_us;
	unsigned count;
};

/* The first thousand by name, the rest as the one that was silent for the longest time. */
static void agent_line(void *ctx, const struct agent_view *v)
{
	struct agent_lines *l = ctx;
	uint64_t age_us = l->now_us > v->last_us ? l->now_us - v->last_us : 0;
	char address[INET6_ADDRSTRLEN];

	if (v->is_rest || l->count == AGENT_SERIES) {
		if (age_us > l->oldest_us)
			l->oldest_us = age_us;
		return;
	}
	l->count++;
	agent_address(v->key.ip, address);
	if (v->key.has_capture_id)
		evbuffer_add_printf(l->out,
				    "heptap_agent_last_seen_seconds{agent=\"%s/%" PRIu32
				    "\",source=\"%s\"} %" PRIu64 ".%03" PRIu64 "\n",
				    address, v->key.capture_id, l->from->source_name[v->key.source],
				    age_us / 1000000, age_us / 1000 % 1000);
	else
		evbuffer_add_printf(
			l->out,
			"heptap_agent_last_seen_seconds{agent=\"%s\",source=\"%s\"} %" PRIu64
			".%03" PRIu64 "\n",
			address, l->from->source_name[v->key.source], age_us / 1000000,
			age_us / 1000 % 1000);
}

static void metrics_agents(struct evbuffer *out, const struct stats_sources *from)
{
	struct agent_lines l = { .out = out, .from = from, .now_us = clock_wall_us() };

	family(out, "heptap_agent_last_seen_seconds", "gauge",
	       "time since an agent was last heard, by address and capture id");
	rcu_read_begin();
	agents_list(from->agents, agent_line, &l);
	rcu_read_end();
	if (l.oldest_us)
		evbuffer_add_printf(out,
				    "heptap_agent_last_seen_seconds{agent=\"other\"} %" PRIu64 "\n",
				    l.oldest_us / 1000000);
}

static void metrics_tables(struct evbuffer *out, const struct stats_sources *from,
			   const struct stats *st)
{
	static const char evicted[] = "heptap_table_evicted_total";

	family(out, "heptap_table_entries", "gauge", "entries of a table in memory");
	evbuffer_add_printf(out, "heptap_table_entries{table=\"agents\"} %" PRIu64 "\n",
			    agents_count(from->agents));
	for (unsigned i = 0; i < STATS_TABLES; i++)
		evbuffer_add_printf(out, "heptap_table_entries{table=\"%s\"} %" PRIu64 "\n",
				    from->table[i].name, st->table[i].entries);
	family(out, evicted, "counter",
	       "entries removed for others or not taken for want of a place");
	evbuffer_add_printf(out, "%s{table=\"agents\"} %" PRIu64 "\n", evicted,
			    agents_evicted(from->agents));
	for (unsigned i = 0; i < STATS_TABLES; i++)
		evbuffer_add_printf(out, "%s{table=\"%s\"} %" PRIu64 "\n", evicted,
				    from->table[i].name,
				    st->table[i].evicted + st->table[i].refused);
	if (from->first_bytes)
		evbuffer_add_printf(out, "%s{table=\"first_copies\"} %" PRIu64 "\n", evicted,
				    st->deltas.evicted);
}

static void metrics_texts(struct evbuffer *out, const struct stats *st)
{
	static const char *const name[ROW_TEXT_COUNT] = {
#define X(text, value) #text,
		ROW_TEXTS(X)
#undef X
	};

	family(out, "heptap_clipped_total", "counter", "texts cut to the width of their column");
	for (unsigned t = 0; t < ROW_TEXT_COUNT; t++)
		if (st->clipped[t])
			evbuffer_add_printf(out,
					    "heptap_clipped_total{column=\"%s\"} %" PRIu64 "\n",
					    name[t], st->clipped[t]);
	family(out, "heptap_repaired_total", "counter",
	       "texts made valid in the character set of their column");
	for (unsigned t = 0; t < ROW_TEXT_COUNT; t++)
		if (st->repaired[t])
			evbuffer_add_printf(out,
					    "heptap_repaired_total{column=\"%s\"} %" PRIu64 "\n",
					    name[t], st->repaired[t]);
}

static void metrics_events(struct evbuffer *out, const struct notify *notify)
{
	struct notify_counters c;

	notify_counters(notify, &c);
	single(out, "heptap_events_total", "counter", "events that came up while somebody listened",
	       c.made);
	family(out, "heptap_events_sent_total", "counter",
	       "events sent, one for each who gets it, by kind of listener");
	evbuffer_add_printf(out,
			    "heptap_events_sent_total{to=\"receivers\"} %" PRIu64
			    "\nheptap_events_sent_total{to=\"subscribers\"} %" PRIu64 "\n",
			    c.sent_receivers, c.sent_subscribers);
	family(out, "heptap_events_dropped_total", "counter",
	       "events that did not go out or were refused, by reason");
	evbuffer_add_printf(out,
			    "heptap_events_dropped_total{reason=\"memory\"} %" PRIu64
			    "\nheptap_events_dropped_total{reason=\"receiver\"} %" PRIu64
			    "\nheptap_events_dropped_total{reason=\"slow\"} %" PRIu64 "\n",
			    c.dropped_memory, c.dropped_receivers, c.dropped_subscribers);
	single(out, "heptap_event_subscribers", "gauge", "clients that get events by HTTP now",
	       c.subscribers);
	single(out, "heptap_event_subscribers_cut_total", "counter",
	       "clients that were cut because they did not read", c.subscribers_cut);
	single(out, "heptap_event_subscribers_refused_total", "counter",
	       "clients that found no place", c.subscribers_refused);
	single(out, "heptap_event_receivers", "gauge", "addresses that get events as datagrams",
	       c.receivers);
}

static void metrics_rotation(struct evbuffer *out, const struct rotate_counters *c)
{
	single(out, "heptap_partitions_made_total", "counter",
	       "partitions and daily tables made ahead or on demand", counter_get(&c->made));
	single(out, "heptap_partitions_dropped_total", "counter",
	       "partitions and daily tables dropped, or emptied", counter_get(&c->dropped));
	single(out, "heptap_storage_bytes", "gauge",
	       "octets of the capture tables, data and indexes, as of the last look",
	       counter_get(&c->bytes));
}

static void metrics_database(struct evbuffer *out, const struct stats *st)
{
	static const unsigned bound_ms[] = WRITER_LATENCY_MS;
	uint64_t sum = 0;

	single(out, "heptap_db_up", "gauge", "1 while every writer stores", st->is_db_up);
	single(out, "heptap_transactions_total", "counter", "transactions committed",
	       st->transactions);
	single(out, "heptap_retries_total", "counter", "transactions or connections tried again",
	       st->retries);
	family(out, "heptap_store_latency_seconds", "histogram", "arrival to commit, per row");
	for (unsigned b = 0; b < WRITER_LATENCY_BUCKETS - 1; b++) {
		sum += st->latency[b];
		evbuffer_add_printf(
			out, "heptap_store_latency_seconds_bucket{le=\"%u.%03u\"} %" PRIu64 "\n",
			bound_ms[b] / 1000, bound_ms[b] % 1000, sum);
	}
	sum += st->latency[WRITER_LATENCY_BUCKETS - 1];
	evbuffer_add_printf(out, "heptap_store_latency_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n",
			    sum);
	evbuffer_add_printf(out, "heptap_store_latency_seconds_sum %" PRIu64 ".%06" PRIu64 "\n",
			    st->latency_sum_us / 1000000, st->latency_sum_us % 1000000);
	counter_line(out, "heptap_store_latency_seconds_count", sum);
}

static void memory_line(struct evbuffer *out, const char *group, const char *kind, uint64_t bytes)
{
	evbuffer_add_printf(out, "heptap_memory_bytes{group=\"%s\",kind=\"%s\"} %" PRIu64 "\n",
			    group, kind, bytes);
}

static void metrics_memory(struct evbuffer *out, const struct stats *st)
{
	family(out, "heptap_memory_bytes", "gauge", "memory, by group and kind");
	for (unsigned i = 0; i < st->memory_count; i++) {
		const struct stats_memory *g = &st->memory[i];

		memory_line(out, g->group, "used", g->used);
		memory_line(out, g->group, "real_used", g->real_used);
		memory_line(out, g->group, "max_used", g->max_used);
		if (g->limit)
			memory_line(out, g->group, "limit", g->limit);
	}
	memory_line(out, "process", "resident", stats_resident_bytes());
}

static void metrics_process(struct evbuffer *out, const struct stats_sources *from)
{
	struct timespec cpu;

	family(out, "heptap_thread_cpu_seconds_total", "counter", "CPU time, by thread");
	for (unsigned i = 0; i < from->thread_count; i++)
		if (clock_gettime(from->thread[i].cpu, &cpu) == 0)
			evbuffer_add_printf(
				out, "heptap_thread_cpu_seconds_total{thread=\"%s\"} %lld.%06ld\n",
				from->thread[i].name, (long long)cpu.tv_sec, cpu.tv_nsec / 1000);
	single(out, "heptap_start_time_seconds", "gauge",
	       "start of the process, seconds since 1970", from->started_us / 1000000);
	family(out, "heptap_build_info", "gauge", "version");
	evbuffer_add_printf(out, "heptap_build_info{version=\"%s\"} 1\n", HEPTAP_VERSION);
}

/* What is known of the host is not ours to name. */
static void metrics_host(struct evbuffer *out, const struct stats_sources *from,
			 const struct stats *st)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to;

	family(out, "heptap_host_finding", "gauge",
	       "1 while something is wrong with the host, by what it is");
	for (unsigned i = 0; i < st->finding_count; i++)
		evbuffer_add_printf(out, "heptap_host_finding{finding=\"%s\"} %d\n",
				    st->findings[i].name, st->findings[i].is_on);
	to = from->host ? open_memstream(&text, &len) : NULL;
	if (!to)
		return;
	from->host(from->host_ctx, to);
	if (fclose(to) == 0)
		evbuffer_add(out, text, len);
	free(text);
}

static int answer_metrics(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	struct stats st;

	(void)rest;
	*type = "text/plain; version=0.0.4; charset=utf-8";
	stats_take(from, &st);
	metrics_sources(out, from, &st);
	metrics_captures(out, from, &st);
	metrics_messages(out, &st);
	metrics_types(out, &st);
	metrics_decisions(out, from, &st);
	metrics_calls(out, &st);
	metrics_agents(out, from);
	metrics_tables(out, from, &st);
	metrics_rows(out, from, &st);
	if (from->statistics_writer)
		metrics_statistics(out, &st.deltas);
	metrics_texts(out, &st);
	metrics_database(out, &st);
	metrics_events(out, from->notify);
	metrics_rotation(out, from->rotate);
	metrics_memory(out, &st);
	metrics_process(out, from);
	metrics_host(out, from, &st);
	return 200;
}

/* ---- health ---- */

static int answer_healthz(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	(void)rest;
	(void)ctx;
	(void)type;
	evbuffer_add_printf(out, "ok\n");
	return 200;
}

static int answer_readyz(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	struct stats st;
	bool is_receiving = atomic_load(from->is_receiving), is_keeping;

	(void)rest;
	(void)type;
	stats_take(from, &st);
	is_keeping = st.is_db_up || st.is_spool_ok;
	evbuffer_add_printf(out, "receiving: %s\nstoring: %s\nspooling: %s\n",
			    is_receiving ? "yes" : "no", st.is_db_up ? "yes" : "no",
			    st.is_spool_ok ? "yes" : "no");
	return is_receiving && is_keeping ? 200 : 503;
}

/* ---- status ---- */

static json_t *status_messages(const struct stats_source *s)
{
	uint64_t not_sip = s->not_sip_empty + s->not_sip_type + s->not_sip_content;
	uint64_t malformed = s->malformed_short + s->malformed_version + s->malformed_length +
			     s->malformed_chunk + s->malformed_address + s->malformed_inflate +
			     s->malformed_partial + s->malformed_oversize;
	uint64_t shed = 0;

	for (unsigned r = 0; r < SHED_REASONS; r++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			shed += s->shed[r][k];
	return json_pack(
		"{sIsIsIsIsIsIsIsI}", "received", (json_int_t)s->received, "not_sip",
		(json_int_t)not_sip, "malformed", (json_int_t)malformed, "denied",
		(json_int_t)(s->denied_allow + s->denied_key + s->denied_off + s->denied_limit),
		"filtered", (json_int_t)s->filtered, "duplicate", (json_int_t)s->duplicate, "shed",
		(json_int_t)shed, "accepted", (json_int_t)s->accepted);
}

static json_t *status_packets(const struct stats_source *s)
{
	return json_pack("{sIsIsIsIsIsI}", "seen", (json_int_t)(s->datagrams + s->kernel_dropped),
			 "kernel_dropped", (json_int_t)s->kernel_dropped, "not_for_us",
			 (json_int_t)s->not_for_us, "held", (json_int_t)s->held, "incomplete",
			 (json_int_t)s->incomplete, "carriers", (json_int_t)s->carriers);
}

static json_t *status_rows(const struct stats *st)
{
	return json_pack("{sIsIsIsIsIsIsIsI}", "made", (json_int_t)st->all.rows_made, "recovered",
			 (json_int_t)st->recovered, "rewound", (json_int_t)st->rewound, "stored",
			 (json_int_t)st->stored, "rejected", (json_int_t)st->rejected, "in_memory",
			 (json_int_t)st->in_memory, "in_spool", (json_int_t)st->in_spool, "lost",
			 (json_int_t)(st->lost_damage + st->lost_shutdown));
}

static json_t *status_memory(const struct stats *st)
{
	json_t *groups = json_array();

	for (unsigned i = 0; i < st->memory_count; i++) {
		const struct stats_memory *g = &st->memory[i];

		json_array_append_new(
			groups,
			json_pack("{sssIsIsIsosb}", "group", g->group, "used", (json_int_t)g->used,
				  "real_used", (json_int_t)g->real_used, "max_used",
				  (json_int_t)g->max_used, "limit",
				  g->limit ? json_integer((json_int_t)g->limit) : json_null(),
				  "high", g->is_high));
	}
	return json_pack("{sIso}", "resident", (json_int_t)stats_resident_bytes(), "groups",
			 groups);
}

static json_t *status_host(const struct stats *st)
{
	json_t *findings = json_array();

	for (unsigned i = 0; i < st->finding_count; i++)
		if (st->findings[i].is_on)
			json_array_append_new(findings,
					      json_pack("{ssss}", "finding", st->findings[i].name,
							"text", st->findings[i].text));
	return findings;
}

static int answer_status(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	json_t *sources = json_array(), *root;
	struct stats st;
	char *text;

	(void)rest;
	*type = "application/json";
	stats_take(from, &st);
	for (unsigned i = 0; i < from->source_count; i++)
		json_array_append_new(sources,
				      json_pack("{sssoso}", "name", from->source_name[i], "packets",
						status_packets(&st.source[i]), "messages",
						status_messages(&st.source[i])));
	root = json_pack("{sssssIsbsbsbsososososIsosos{sfsf}}", "version", HEPTAP_VERSION, "node",
			 from->node, "uptime_s",
			 (json_int_t)((clock_wall_us() - from->started_us) / 1000000), "receiving",
			 atomic_load(from->is_receiving), "storing", st.is_db_up, "spooling",
			 st.is_spool_ok, "packets", status_packets(&st.all), "messages",
			 status_messages(&st.all), "rows", status_rows(&st), "sources", sources,
			 "spool_bytes", (json_int_t)st.spool_bytes, "memory", status_memory(&st),
			 "host", status_host(&st), "pressure", shed_reason[SHED_MEMORY],
			 st.pressure[SHED_MEMORY], shed_reason[SHED_SPOOL],
			 st.pressure[SHED_SPOOL]);
	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!text)
		return 503;
	evbuffer_add_printf(out, "%s\n", text);
	free(text);
	return 200;
}

const struct http_path api_paths[] = {
	{ .path = "/metrics", .answer = answer_metrics },
	{ .path = "/healthz", .answer = answer_healthz, .is_open = true },
	{ .path = "/readyz", .answer = answer_readyz, .is_open = true },
	{ .path = "/api/status", .answer = answer_status },
	{ .path = "/api/agents", .answer = control_agents },
	{ .path = "/api/events", .answer = notify_answer, .is_stream = true },
	{ .path = "/api/capture/", .answer = control_capture, .is_put = true },
	{ .path = "/api/reload", .answer = control_reload, .is_put = true },
	{ .path = NULL },
};
