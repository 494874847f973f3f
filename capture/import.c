/*
 * One reader, one worker, a spool in memory and one writer, so that ids follow the files. Without
 * room in the spool the reader waits: half of `memory` is for rows on their way to the database.
 */
#include "capture/import.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/file_source.h"
#include "capture/first.h"
#include "capture/fragments.h"
#include "capture/packets.h"
#include "capture/pcap_file.h"
#include "capture/progress.h"
#include "capture/snapshot.h"
#include "capture/spooler.h"
#include "capture/store.h"
#include "capture/tables.h"
#include "capture/tally.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "tune/plan.h"
#include "tune/probe.h"
#include "web-sql/stats.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_REFUSED = 3 };

#define LOOK_MS		100
#define WRITERS		1
#define KEEP_S		5  /* committed rows stay in memory, should the database go back */
#define FRAGMENTS_PART	16 /* of `memory` */
#define REASSEMBLY_PART 8
#define FIRST_PART	64

struct import {
	const struct conf *conf;
	const struct import_wish *wish;
	struct conf_capture capture; /* what is looked at */
	unsigned source;	     /* the worker's number of it: behind the listeners */
	struct snapshot *snapshot;
	struct rules *rules;
	struct tables *tables;
	struct spool *spool;
	struct spooler spooler;
	struct thread spool_thread;
	struct store store;
	struct agents *agents;
	struct tally_options tally;
	_Atomic bool is_off[CONF_MAX_SOURCES];
	struct worker *worker;
	struct fragments *fragments;
	struct packets *packets;
	struct file_source *files;
	struct stats_sources numbers;

	uint64_t size;			   /* octets of all files; 0: not known */
	uint64_t read_before, seen_before; /* octets and packets of the files before this one */
	struct progress progress;
	bool is_wrong;	/* a file is damaged, or cannot be read */
	bool is_cut;	/* Ctrl-C: not all of it was read */
	bool is_hinted; /* what another Ctrl-C does was told */
};

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t interrupts;
static struct file_source *_Atomic interrupted; /* NULL: nothing is read yet */

static void interrupt(int number)
{
	struct file_source *f = atomic_load(&interrupted);

	(void)number;
	interrupts = interrupts + 1;
	if (f && interrupts == 1)
		file_source_stop(f);
	else if (f)
		file_source_give_up(f);
}

static void signals_catch(struct file_source *f)
{
	struct sigaction sa = { .sa_handler = interrupt };

	atomic_store(&interrupted, f);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Of those that are started meanwhile no thread takes them. */
static void signals_mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(how, &set, NULL);
}

/* ---- numbers ---- */

static const struct source_counters *number_source(void *ctx, unsigned worker, unsigned source)
{
	struct import *m = ctx;

	(void)worker;
	(void)source;
	return worker_source(m->worker, m->source);
}

static bool number_packets(void *ctx, unsigned source, struct stats_packets *out)
{
	struct import *m = ctx;

	(void)source;
	packets_sum(&m->packets, 1, m->fragments, out);
	return true;
}

static const counter *number_types(void *ctx, unsigned worker)
{
	struct import *m = ctx;

	(void)worker;
	return worker_types(m->worker);
}

static const struct tally_counters *number_tally(void *ctx, unsigned worker)
{
	struct import *m = ctx;

	(void)worker;
	return worker_tally(m->worker);
}

static void number_decisions(void *ctx, unsigned worker, struct stats_decisions *out)
{
	struct import *m = ctx;

	(void)worker;
	worker_decisions(m->worker, out);
}

static unsigned number_pressure(void *ctx, enum shed_reason reason)
{
	struct import *m = ctx;

	return spooler_pressure(&m->spooler, reason);
}

static void numbers_prepare(struct import *m)
{
	m->numbers = (struct stats_sources){ .source_count = 1,
					     .worker_count = 1,
					     .writer_count = WRITERS,
					     .packets = number_packets,
					     .source = number_source,
					     .ctx = m,
					     .spool = m->spool,
					     .writers = m->store.writers,
					     .types = number_types,
					     .tally = number_tally,
					     .statistics_writer = m->store.statistics,
					     .pressure = number_pressure,
					     .decisions = number_decisions,
					     .rules = m->rules };
	tables_tell(m->tables, &m->numbers);
}

static uint64_t shed_of(const struct stats *s)
{
	uint64_t shed = 0;

	for (unsigned r = 0; r < SHED_REASONS; r++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			shed += s->all.shed[r][k];
	return shed;
}

static uint64_t rows_left(const struct stats *s)
{
	return s->in_memory + s->in_spool + s->lost_shutdown;
}

/* Of messages by what became of them: the prefix of a metric, "heptap_malformed_total". */
static uint64_t messages_of(const struct stats_source *s, const char *metric)
{
	uint64_t sum = 0;

#define X(field, name, label, help)    \
	if (strcmp(name, metric) == 0) \
		sum += s->field;
	SOURCE_COUNTERS(X)
#undef X
	return sum;
}

/* ---- how far ---- */

static void on_tell(void *ctx, const struct file_source *f)
{
	struct import *m = ctx;
	uint64_t done = m->read_before + pcap_file_position(file_source_file(f));

	tables_sweep(m->tables, clock_mono_us());
	progress_tell(&m->progress, done, m->size && done > m->size ? done : m->size,
		      m->seen_before + file_source_next(f) - 1);
}

static void storing_tell(struct import *m, struct progress *p)
{
	struct stats s;

	stats_take(&m->numbers, &s);
	if (interrupts && !m->is_hinted && rows_left(&s)) {
		m->is_hinted = true;
		progress_end(p);
		fprintf(stderr,
			"heptap: %" PRIu64 " rows that were read are to be stored; another Ctrl-C "
			"gives them up\n",
			rows_left(&s));
	}
	progress_tell(p, s.stored + s.rejected, s.all.rows_made + s.rewound, s.stored + s.rejected);
}

/* ---- the sums ---- */

static void reasons_print(const char *what, const struct stats_packets *p, bool is_incomplete)
{
	const char *before = what;

	for (unsigned i = 0; i < p->end_count; i++) {
		if (p->end[i].count == 0 || p->end[i].is_incomplete != is_incomplete)
			continue;
		printf("%s %s %" PRIu64, before, p->end[i].reason, p->end[i].count);
		before = ",";
	}
	if (before != what)
		putchar('\n');
}

static void packets_print(const struct stats *s)
{
	const struct stats_source *a = &s->all;

	printf("packets: %" PRIu64 " = %" PRIu64 " carriers + %" PRIu64 " not for us + %" PRIu64
	       " incomplete\n",
	       s->packets[0].seen, a->carriers, a->not_for_us, a->incomplete);
	reasons_print("not for us:", &s->packets[0], false);
	reasons_print("incomplete:", &s->packets[0], true);
}

static void messages_print(const struct stats *s)
{
	printf("messages: %" PRIu64 " = %" PRIu64 " accepted + %" PRIu64 " not SIP + %" PRIu64
	       " malformed",
	       s->all.received, s->all.accepted, messages_of(&s->all, "heptap_not_sip_total"),
	       messages_of(&s->all, "heptap_malformed_total"));
	if (s->all.filtered)
		printf(" + %" PRIu64 " filtered", s->all.filtered);
	if (s->all.duplicate)
		printf(" + %" PRIu64 " duplicate", s->all.duplicate);
	if (shed_of(s))
		printf(" + %" PRIu64 " given up", shed_of(s));
	putchar('\n');
}

static void rows_print(const struct stats *s)
{
	printf("rows: %" PRIu64, s->all.rows_made);
	if (s->rewound)
		printf(" + %" PRIu64 " that the database had forgotten", s->rewound);
	printf(" = %" PRIu64 " stored + %" PRIu64 " refused + %" PRIu64 " lost", s->stored,
	       s->rejected, s->lost_damage);
	if (rows_left(s))
		printf(" + %" PRIu64 " not stored", rows_left(s));
	putchar('\n');
	if (s->rejected)
		printf("the refused ones are in rejected.jsonl\n");
}

static uint64_t sums_lost(const struct stats_deltas *d)
{
	return d->lost_memory + d->lost_damage + d->lost_shutdown + d->lost_spool + d->in_memory +
	       d->in_spool;
}

/* A daily table goes with its day, however late its rows came. */
static void old_tell(const struct import *m)
{
	uint64_t keep_us = m->conf->storage.retention_days * 86400ULL * 1000000;
	uint64_t oldest_us = file_source_oldest_us(m->files);

	if (m->conf->storage.layout == CONF_LAYOUT_HOMER5 && keep_us &&
	    oldest_us < clock_wall_us() - keep_us)
		fprintf(stderr,
			"heptap: some packets are older than storage.retention_days (%u): the "
			"tables of such days are dropped within a minute where a server runs\n",
			m->conf->storage.retention_days);
}

/* @return an exit code. */
static int result_tell(const struct import *m)
{
	struct stats s;

	stats_take(&m->numbers, &s);
	packets_print(&s);
	messages_print(&s);
	rows_print(&s);
	if (sums_lost(&s.deltas))
		printf("statistics: %" PRIu64 " of %" PRIu64 " sums are not stored\n",
		       sums_lost(&s.deltas), s.deltas.made);
	fflush(stdout);
	old_tell(m);
	if (rows_left(&s) || shed_of(&s))
		fprintf(stderr,
			"heptap: given up: %" PRIu64 " rows are not stored, of %" PRIu64
			" messages no row was made\n",
			rows_left(&s), shed_of(&s));
	if (m->is_cut || rows_left(&s) || shed_of(&s))
		return EXIT_REFUSED;
	return m->is_wrong || s.rejected || s.lost_damage || sums_lost(&s.deltas) ? EXIT_WRONG
										  : EXIT_DONE;
}

/* ---- the files ---- */

static const char *shown(const char *name)
{
	return strcmp(name, "-") == 0 ? "standard input" : name;
}

static const char *words_of(int err, const struct pcap_file *f)
{
	return err == HT_EPCAP ? pcap_file_why(f) : ht_strerror(err);
}

/* @return an exit code. */
static int file_refused(const char *name, int err, const struct pcap_file *f)
{
	fprintf(stderr, "heptap: %s: %s\n", shown(name), words_of(err, f));
	return err == HT_EPCAP || err == -ENOENT || err == -ENOTDIR || err == -EISDIR
		       ? EXIT_WRONG
		       : EXIT_REFUSED;
}

/* All of them are looked at before anything is stored, but for pipes, which can be read once. */
static int files_look(struct import *m)
{
	bool is_known = true;

	for (int i = 0; i < m->wish->file_count; i++) {
		const char *name = m->wish->files[i];
		struct pcap_file *f = NULL;
		struct stat st;
		int err = HT_OK;

		if (strcmp(name, "-") == 0 ? fstat(STDIN_FILENO, &st) < 0 : stat(name, &st) < 0)
			return file_refused(name, -errno, NULL);
		if (!S_ISREG(st.st_mode)) {
			is_known = false;
			if (S_ISDIR(st.st_mode))
				return file_refused(name, -EISDIR, NULL);
			continue;
		}
		m->size += (uint64_t)st.st_size;
		if (strcmp(name, "-") != 0)
			err = pcap_file_open(&f, name);
		if (err < 0)
			err = file_refused(name, err, f);
		pcap_file_close(f);
		if (err != HT_OK)
			return err;
	}
	if (!is_known)
		m->size = 0;
	return EXIT_DONE;
}

static void stop_tell(const struct import *m, int file)
{
	const struct pcap_file *f = file_source_file(m->files);
	uint64_t next = file_source_next(m->files);
	const char *name = shown(m->wish->files[file]);

	fprintf(stderr, "heptap: %s: interrupted before packet %" PRIu64 ", octet %" PRIu64, name,
		next, pcap_file_position(f));
	if (pcap_file_size(f))
		fprintf(stderr, " of %" PRIu64 "; --from %" PRIu64 " goes on there",
			pcap_file_size(f), next);
	for (int i = file + 1; i < m->wish->file_count; i++)
		fprintf(stderr, "%s %s", i == file + 1 ? "; not read:" : "",
			shown(m->wish->files[i]));
	fputc('\n', stderr);
}

static void damage_tell(struct import *m, const char *name, int err)
{
	const struct pcap_file *f = file_source_file(m->files);

	m->is_wrong = true;
	fprintf(stderr,
		"heptap: %s: packet %" PRIu64 ", octet %" PRIu64
		": %s; what is before it is taken\n",
		shown(name), file_source_next(m->files), pcap_file_position(f), words_of(err, f));
}

/* @return false if it was interrupted. */
static bool file_take(struct import *m, int number)
{
	const char *name = m->wish->files[number];
	uint64_t first = number == 0 ? m->wish->first : 1;
	struct pcap_file *f;
	int err = pcap_file_open(&f, name);

	if (err == -EINTR) {
		fprintf(stderr, "heptap: %s: interrupted before its first packet\n", shown(name));
		return false;
	}
	if (err < 0) {
		m->is_wrong = true;
		(void)file_refused(name, err, f);
		pcap_file_close(f);
		return true;
	}
	err = file_source_read(m->files, f, name, first);
	if (err < 0)
		progress_end(&m->progress);
	if (err == HT_ESTOP)
		stop_tell(m, number);
	else if (err < 0)
		damage_tell(m, name, err);
	else if (file_source_next(m->files) < first)
		fprintf(stderr, "heptap: %s: it has %" PRIu64 " packets, nothing is behind\n",
			shown(name), file_source_next(m->files) - 1);
	m->read_before += pcap_file_position(f);
	m->seen_before += file_source_next(m->files) - 1;
	pcap_file_close(f);
	return err != HT_ESTOP;
}

static void files_take(struct import *m)
{
	progress_begin(&m->progress, "packets", 0);
	m->progress.is_octets = true;
	for (int i = 0; i < m->wish->file_count && !m->is_cut; i++)
		m->is_cut = !file_take(m, i);
	file_source_end(m->files);
	progress_last(&m->progress, m->read_before, m->size, m->seen_before);
}

/* ---- storing ---- */

/* Until all is stored, or Ctrl-C came twice. */
static void rest_store(struct import *m)
{
	struct progress progress;
	bool is_done = false;

	progress_begin(&progress, "rows", 0);
	spooler_finish(&m->spooler, UINT64_MAX);
	while (!thread_join_until(&m->spool_thread, clock_mono_us() + LOOK_MS * 1000)) {
		if (interrupts > 1)
			spooler_finish(&m->spooler, clock_mono_us());
		storing_tell(m, &progress);
	}
	store_finish(&m->store);
	while (!is_done && interrupts < 2) {
		is_done = store_wait(&m->store, clock_mono_us() + LOOK_MS * 1000, UINT64_MAX / 2);
		storing_tell(m, &progress);
	}
	progress_end(&progress);
	store_stop(&m->store);
}

static void run_spooler(void *ctx)
{
	spooler_run(ctx);
}

static int threads_start(struct import *m)
{
	int err = thread_start_rcu_helper();

	if (err == HT_OK)
		err = store_start(&m->store);
	if (err == HT_OK)
		err = thread_start(&m->spool_thread, run_spooler, &m->spooler, "ht-spool");
	return err;
}

static int run(struct import *m)
{
	int err;

	signals_mask(SIG_BLOCK);
	err = threads_start(m);
	signals_catch(m->files);
	signals_mask(SIG_UNBLOCK);
	if (err == HT_OK)
		files_take(m);
	else
		fprintf(stderr, "heptap: threads cannot start: %s\n", ht_strerror(err));
	rest_store(m);
	atomic_store(&interrupted, NULL);
	return err == HT_OK ? result_tell(m) : EXIT_REFUSED;
}

/* ---- making everything ---- */

static void capture_choose(struct import *m)
{
	static const unsigned usual[] = { 5060, 5061 };
	const struct import_wish *w = m->wish;
	struct conf_capture *c = &m->capture;

	*c = (struct conf_capture){ .bpf = "", .port_count = 2, .rtcp = CONF_TRUE };
	memcpy(c->ports, usual, sizeof(usual));
	if (m->conf->capture_count)
		*c = m->conf->capture[0];
	if (w->port_count) {
		c->bpf = "";
		c->port_count = w->port_count;
		memcpy(c->ports, w->ports, sizeof(c->ports));
	}
	if (w->hep_port_count) {
		c->hep_port_count = w->hep_port_count;
		memcpy(c->hep_ports, w->hep_ports, sizeof(c->hep_ports));
	}
	if (w->bpf)
		c->bpf = (char *)w->bpf; /* only read */
}

static int spool_make(struct import *m)
{
	struct spool_options o = { .dir = "memory",
				   .max_bytes = m->conf->memory,
				   .node_id = m->conf->node_id,
				   .writers = WRITERS,
				   .statistics = m->conf->storage.statistics == CONF_TRUE,
				   .in_memory = true,
				   .keep_s = KEEP_S,
				   .owner_uid = -1,
				   .owner_gid = -1 };

	return spool_open(&m->spool, &o);
}

static int tally_prepare(struct import *m)
{
	if (m->conf->storage.statistics != CONF_TRUE)
		return HT_OK;
	m->tally.is_homer5 = m->conf->storage.layout == CONF_LAYOUT_HOMER5;
	if (getrandom(&m->tally.seed, sizeof(m->tally.seed), 0) != (ssize_t)sizeof(m->tally.seed))
		return -errno;
	return first_new(&m->tally.first, m->conf->memory / FIRST_PART);
}

static int worker_make(struct import *m)
{
	struct plan_wish wish = { .hep_threads = 1,
				  .writers = WRITERS,
				  .memory = m->conf->memory,
				  .block_bytes = BLOCK_MAX_BYTES };
	struct host nothing = { 0 };
	struct plan plan;
	struct worker_options o = { .snapshot = &m->snapshot,
				    .spool = m->spool,
				    .spool_pressure = &m->spooler.pressure,
				    .batch_rows = m->conf->storage.batch_rows,
				    .batch_us = m->conf->storage.batch_ms * 1000ULL,
				    .sources = m->source + 1,
				    .agents = m->agents,
				    .is_off = m->is_off,
				    .compat = m->conf->storage.compat,
				    .tally = m->tally.first ? &m->tally : NULL,
				    .tables = tables_of(m->tables) };

	plan_make(&nothing, &wish, &plan);
	o.blocks = plan.blocks;
	o.spool_fd = m->spooler.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o.spool_fd < 0)
		return -errno;
	m->spooler.spool = m->spool;
	m->spooler.workers = &m->worker;
	m->spooler.worker_count = 1;
	m->spooler.writers = m->store.writers;
	m->spooler.spool_max = m->conf->memory;
	return worker_new(&m->worker, &o);
}

static int reader_make(struct import *m)
{
	struct packets_options p = { .worker = m->worker,
				     .source = m->source,
				     .conf = &m->capture,
				     .memory = m->conf->memory / REASSEMBLY_PART };
	struct file_source_options f = {
		.worker = m->worker, .bpf = m->capture.bpf, .tell = on_tell, .ctx = m
	};
	int err = packets_fragments_new(&m->fragments, m->conf->memory / FRAGMENTS_PART);

	p.fragments = m->fragments;
	if (err == HT_OK)
		err = packets_new(&m->packets, &p);
	f.packets = m->packets;
	return err == HT_OK ? file_source_new(&m->files, &f) : err;
}

static int import_open(struct import *m)
{
	int err = rules_new(&m->rules);

	if (err == HT_OK)
		err = snapshot_new(&m->snapshot, m->conf, NULL, m->rules);
	if (err == HT_OK)
		err = tables_new(&m->tables, m->conf, 1);
	if (err == HT_OK)
		err = spool_make(m);
	if (err == HT_OK)
		err = agents_new(&m->agents, m->conf->tables.agents);
	if (err == HT_OK)
		err = tally_prepare(m);
	if (err == HT_OK)
		err = worker_make(m);
	if (err == HT_OK)
		err = reader_make(m);
	if (err < 0)
		fprintf(stderr, "heptap: import cannot start: %s\n", ht_strerror(err));
	return err;
}

static void import_close(struct import *m)
{
	file_source_free(m->files);
	packets_free(m->packets);
	fragments_free(m->fragments);
	worker_free(m->worker);
	spool_close(m->spool);
	if (m->spooler.wake_fd > 0)
		close(m->spooler.wake_fd);
	agents_free(m->agents);
	first_free(m->tally.first);
	tables_free(m->tables);
	urcu_memb_barrier();
	snapshot_free(m->snapshot);
	rules_free(m->rules);
	free(m);
}

static int import_store(struct import *m)
{
	int code = EXIT_REFUSED;
	int err = store_init(&m->store, m->conf, m->spool, WRITERS, ".", false);

	if (err == HT_OK)
		err = store_try(&m->store);
	numbers_prepare(m);
	if (err == HT_OK)
		code = run(m);
	store_fini(&m->store);
	return code;
}

int import_command(const struct conf *conf, const struct import_wish *wish)
{
	struct import *m = calloc(1, sizeof(*m));
	int code = EXIT_REFUSED;

	if (!m) {
		fprintf(stderr, "heptap: %s\n", ht_strerror(-ENOMEM));
		return code;
	}
	m->conf = conf;
	m->wish = wish;
	m->source = (unsigned)conf->hep_count;
	capture_choose(m);
	rcu_thread_begin();
	code = files_look(m);
	if (code == EXIT_DONE)
		code = import_open(m) == HT_OK ? import_store(m) : EXIT_REFUSED;
	import_close(m);
	rcu_thread_end();
	return code;
}
