/*
 * Any frames, from a file or live, through decoding, tables and worker: after each of them every
 * packet is in one place of the packet line and every message in one of the message line; at the
 * end nothing is held. An input is records: two octets of length, one of flags (link type, cut,
 * time that passes), the frame.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "capture/fragments.h"
#include "capture/packets.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/worker.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "hep/listener.h"
#include "storage/agents.h"
#include "storage/spool.h"
#include "web-sql/stats.h"

#define MEMORY	 (2 << 20) /* little, so that entries push one another out */
#define FIRST_US 1700000000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf *conf;
static struct snapshot *snapshot;
static struct worker *worker;

static void worker_start(void)
{
	static const char yaml[] =
		"capture:\n"
		"  - { name: m, file: x, ports: [5060], hep_ports: [9060] }\n"
		"  - { name: n, file: y, bpf: 'udp or tcp', hep_ports: [9060] }\n";
	static const _Atomic bool is_off[CONF_MAX_SOURCES];
	static struct pressure none;
	struct spool_options spool = {
		.dir = "memory", .max_bytes = 1, .node_id = 1, .writers = 1, .in_memory = true
	};
	struct worker_options o = { .snapshot = &snapshot,
				    .spool_pressure = &none,
				    .is_off = is_off,
				    .blocks = 8,
				    .batch_rows = 100,
				    .batch_us = 20000 };
	struct spool *s;
	struct agents *agents;

	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	assert(conf_read_bytes("t", yaml, strlen(yaml), &conf, stderr) == HT_OK);
	assert(snapshot_new(&snapshot, conf, NULL) == HT_OK);
	assert(spool_open(&s, &spool) == HT_OK);
	assert(agents_new(&agents) == HT_OK);
	rcu_thread_begin();
	o.spool = s;
	o.agents = agents;
	o.spool_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	o.sources = (unsigned)(conf->hep_count + conf->capture_count);
	assert(worker_new(&worker, &o) == HT_OK);
}

static void blocks_return(void)
{
	struct block *b;

	while ((b = worker_take_sealed(worker)))
		worker_give_back(worker, b);
}

struct run {
	struct packets *packets;
	struct fragments *fragments;
	const struct source_counters *messages;
	uint64_t given;
};

static uint64_t outcomes(const struct source_counters *c)
{
	uint64_t sum = counter_get(&c->accepted);

	for (unsigned r = 0; r < SHED_REASONS; r++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			sum += counter_get(&c->shed[r][k]);
	return sum + counter_get(&c->not_sip_empty) + counter_get(&c->not_sip_type) +
	       counter_get(&c->not_sip_content) + counter_get(&c->malformed_short) +
	       counter_get(&c->malformed_version) + counter_get(&c->malformed_length) +
	       counter_get(&c->malformed_chunk) + counter_get(&c->malformed_address) +
	       counter_get(&c->malformed_inflate) + counter_get(&c->denied_off) +
	       counter_get(&c->denied_allow) + counter_get(&c->denied_key);
}

static void check(const struct run *r, bool is_drained)
{
	struct stats_packets s;
	uint64_t ended;

	packets_sum(&r->packets, 1, r->fragments, &s);
	ended = s.carriers + s.held + s.kernel_dropped;
	for (unsigned i = 0; i < s.end_count; i++)
		ended += s.end[i].count;
	assert(s.seen == r->given && ended == s.seen);
	assert(!is_drained || s.held == 0);
	assert(counter_get(&r->messages->received) == outcomes(r->messages));
}

/* A copy of its exact size. */
static void frame_give(const struct run *r, const uint8_t *data, size_t len, uint8_t flags,
		       uint64_t ts_us)
{
	static const uint16_t links[] = { LINK_ETHERNET, LINK_RAW, LINK_LINUX_SLL,
					  LINK_LINUX_SLL2 };
	uint8_t *copy = malloc(len ? len : 1);
	struct captured c = { .bytes = { copy, (uint32_t)len },
			      .wire_len = (uint32_t)len + (flags >> 2 & 1),
			      .link = links[flags & 3],
			      .ts_us = ts_us };

	assert(copy);
	if (len)
		memcpy(copy, data, len);
	packets_file_ops.begin(r->packets, ts_us, ts_us);
	packets_file_ops.frame(r->packets, &c);
	packets_file_ops.end(r->packets);
	free(copy);
}

static void frames_give(struct run *r, const uint8_t *data, size_t size)
{
	uint64_t ts_us = FIRST_US;

	while (size >= 3) {
		size_t len = (size_t)(data[0] << 8 | data[1]);
		uint8_t flags = data[2];

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		ts_us += 1ULL << (flags >> 3); /* up to half an hour */
		r->given++;
		frame_give(r, data, len, flags, ts_us);
		check(r, false);
		blocks_return();
		data += len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = { 0 };
	struct packets_options o = { .memory = MEMORY };

	if (!worker)
		worker_start();
	if (size == 0)
		return 0;
	o.worker = worker;
	o.conf = &conf->capture[data[0] & 1];
	o.source = (unsigned)conf->hep_count + (data[0] & 1);
	r.messages = worker_source(worker, o.source);
	assert(packets_fragments_new(&r.fragments, MEMORY) == HT_OK);
	o.fragments = r.fragments;
	assert(packets_new(&r.packets, &o) == HT_OK);
	frames_give(&r, data + 1, size - 1);
	packets_drain(r.packets);
	check(&r, true);
	worker_flush(worker);
	blocks_return();
	packets_free(r.packets);
	fragments_free(r.fragments);
	return 0;
}
