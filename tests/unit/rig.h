/**
 * @file
 * A worker with all it needs, and one source of packets before it. Threads: one.
 */
#pragma once
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "capture/decide.h"
#include "capture/fragments.h"
#include "capture/packets.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/worker.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "storage/agents.h"
#include "storage/spool.h"
#include "web-sql/stats.h"

struct rig {
	struct conf *conf;
	struct snapshot *snapshot;
	struct spool *spool;
	struct agents *agents;
	struct worker *worker;
	_Atomic bool is_off[CONF_MAX_SOURCES];
	struct pressure none;
	int spool_fd;
	struct rules *rules;
	struct decide_tables tables;
	struct fragments *fragments;
	struct packets *packets;
	const struct source_counters *messages;
};

/* The calling thread is registered with RCU. @p tables stay the caller's. */
static inline void rig_make_with(struct rig *r, const char *yaml,
				 const struct decide_tables *tables)
{
	struct spool_options spool = {
		.dir = "memory", .max_bytes = 1, .node_id = 1, .writers = 1, .in_memory = true
	};
	struct worker_options o = { .snapshot = &r->snapshot,
				    .spool_pressure = &r->none,
				    .is_off = r->is_off,
				    .blocks = 8,
				    .batch_rows = 1000,
				    .batch_us = 20000 };

	memset(r, 0, sizeof(*r));
	r->tables = *tables;
	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	r->spool_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (conf_read_bytes("t", yaml, strlen(yaml), &r->conf, stderr) < 0 ||
	    rules_new(&r->rules) < 0 || snapshot_new(&r->snapshot, r->conf, NULL, r->rules) < 0 ||
	    spool_open(&r->spool, &spool) < 0 || agents_new(&r->agents, r->conf->tables.agents) < 0)
		abort();
	o.spool = r->spool;
	o.tables = &r->tables;
	o.agents = r->agents;
	o.spool_fd = r->spool_fd;
	o.sources = (unsigned)(r->conf->hep_count + r->conf->capture_count);
	if (worker_new(&r->worker, &o) < 0)
		abort();
}

/* Without tables. */
static inline void rig_make(struct rig *r, const char *yaml)
{
	rig_make_with(r, yaml, &(struct decide_tables){ NULL, NULL, NULL });
}

/* What entry @p number of `capture` captures goes to the worker from now on. */
static inline void rig_capture(struct rig *r, unsigned number, uint64_t memory)
{
	struct packets_options o = { .worker = r->worker,
				     .source = (unsigned)r->conf->hep_count + number,
				     .conf = &r->conf->capture[number],
				     .memory = memory };

	if (packets_fragments_new(&r->fragments, memory) < 0)
		abort();
	o.fragments = r->fragments;
	if (packets_new(&r->packets, &o) < 0)
		abort();
	r->messages = worker_source(r->worker, o.source);
}

static inline void rig_uncapture(struct rig *r)
{
	packets_free(r->packets);
	fragments_free(r->fragments);
	r->packets = NULL;
	r->fragments = NULL;
}

static inline void rig_unmake(struct rig *r)
{
	rig_uncapture(r);
	worker_free(r->worker);
	agents_free(r->agents);
	snapshot_free(r->snapshot);
	rules_free(r->rules);
	conf_free(r->conf);
	spool_close(r->spool);
	close(r->spool_fd);
}

/* A batch of one. */
static inline void rig_frame(struct rig *r, const struct captured *c)
{
	packets_file_ops.begin(r->packets, 1, 1);
	packets_file_ops.frame(r->packets, c);
	packets_file_ops.end(r->packets);
}

/* What is left of the packet line; 0 if it is exact. */
static inline uint64_t rig_packets_missing(const struct rig *r, struct stats_packets *s)
{
	uint64_t ended;

	packets_sum(&r->packets, 1, r->fragments, s);
	ended = s->carriers + s->held + s->kernel_dropped;
	for (unsigned i = 0; i < s->end_count; i++)
		ended += s->end[i].count;
	return s->seen - ended;
}

/* The same of the message line. */
static inline uint64_t rig_messages_missing(const struct rig *r)
{
	const struct source_counters *c = r->messages;
	uint64_t sum =
		counter_get(&c->accepted) + counter_get(&c->filtered) + counter_get(&c->duplicate);

	for (unsigned i = 0; i < SHED_REASONS; i++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			sum += counter_get(&c->shed[i][k]);
	sum += counter_get(&c->not_sip_empty) + counter_get(&c->not_sip_type) +
	       counter_get(&c->not_sip_content) + counter_get(&c->malformed_short) +
	       counter_get(&c->malformed_version) + counter_get(&c->malformed_length) +
	       counter_get(&c->malformed_chunk) + counter_get(&c->malformed_address) +
	       counter_get(&c->malformed_inflate) + counter_get(&c->denied_off) +
	       counter_get(&c->denied_allow) + counter_get(&c->denied_key) +
	       counter_get(&c->denied_limit);
	return counter_get(&c->received) - sum;
}
