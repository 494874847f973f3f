/*
 * From frame to row in a block, against a loop that only touches the frames: bench_packets FILE
 * ROUNDS [REPEATS] No ring, no thread, no spool: what decoding, telling SIP from RTP, parsing and
 * the row cost, where a profiler finds nothing else. Prints pairs of microseconds per frame, taken
 * in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "capture/first.h"
#include "capture/fragments.h"
#include "capture/packets.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/tables.h"
#include "capture/tally.h"
#include "capture/worker.h"
#include "storage/agents.h"
#include "tests/bench/datagrams.h"

#define BATCH  400 /* frames of a block of a ring */
#define MEMORY (64 << 20)

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct snapshot *published;

static void give_back_all(struct worker *w)
{
	struct block *b;

	while ((b = worker_take_sealed(w)))
		worker_give_back(w, b);
}

static void rows(struct packets *p, struct worker *w, const struct datagrams *d)
{
	for (size_t i = 0; i < d->count; i += BATCH) {
		packets_live_ops.begin(p, 1800000000000000ULL, i);
		for (size_t k = i; k < d->count && k < i + BATCH; k++) {
			struct captured c = { .bytes = { d->at[k], d->len[k] },
					      .wire_len = d->len[k],
					      .link = LINK_ETHERNET,
					      .ts_us = 1800000000000000ULL };

			packets_live_ops.frame(p, &c);
		}
		packets_live_ops.end(p);
		give_back_all(w);
	}
}

static unsigned touch(const struct datagrams *d)
{
	unsigned sum = 0;

	for (size_t k = 0; k < d->count; k++)
		sum += *(const volatile uint8_t *)d->at[k];
	return sum;
}

static void make(struct worker **w, struct packets **p)
{
	static const char yaml[] = "capture: [{ name: bench, interface: bench, bpf: udp }]";
	static const _Atomic bool is_off[2];
	static const struct pressure calm;
	static struct tally_options tally = { .seed = 1 };
	struct worker_options o = { .snapshot = &published,
				    .is_off = is_off,
				    .spool_pressure = &calm,
				    .blocks = 8,
				    .batch_rows = 1000,
				    .batch_us = 20000,
				    .tally = &tally };
	struct packets_options with = { .memory = MEMORY };
	struct tables *tables;
	struct rules *rules;
	struct conf *conf;

	o.spool_fd = eventfd(0, EFD_NONBLOCK);
	if (agents_new(&o.agents, 16) < 0 || first_new(&tally.first, 16 << 20) < 0 ||
	    conf_read_bytes("bench", yaml, sizeof(yaml) - 1, &conf, stderr) < 0 ||
	    rules_new(&rules) < 0 || snapshot_new(&published, conf, NULL, rules) < 0 ||
	    tables_new(&tables, conf, 1) < 0)
		exit(3);
	o.tables = tables_of(tables);
	with.source = (unsigned)conf->hep_count;
	o.sources = with.source + 1;
	with.conf = conf->capture;
	if (worker_new(w, &o) < 0 || packets_fragments_new(&with.fragments, MEMORY) < 0)
		exit(3);
	with.worker = *w;
	if (packets_new(p, &with) < 0)
		exit(3);
}

int main(int argc, char **argv)
{
	struct datagrams d;
	struct packets *p;
	struct worker *w;
	int repeats = argc > 3 ? atoi(argv[3]) : 1;

	if (argc < 3 || datagrams_read(argv[1], &d) < 0)
		return 2;
	rcu_thread_begin();
	make(&w, &p);
	for (int round = -1; round < atoi(argv[2]); round++) {
		double t0 = cpu_us(), t1, t2;

		for (int i = 0; i < repeats; i++)
			rows(p, w, &d);
		t1 = cpu_us();
		for (int i = 0; i < repeats; i++)
			touch(&d);
		t2 = cpu_us();
		if (round >= 0) /* the first one warms up */
			printf("%.4f %.4f\n", (t1 - t0) / repeats / (double)d.count,
			       (t2 - t1) / repeats / (double)d.count);
	}
	return 0;
}
