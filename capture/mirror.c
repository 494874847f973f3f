/* One source after the other, thread by thread: `threads` holds those of all sources. */
#include "capture/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capture/af_packet.h"
#include "capture/bpf.h"
#include "capture/file_source.h"
#include "capture/fitting.h"
#include "capture/fragments.h"
#include "capture/packets.h"
#include "capture/pcap_file.h"
#include "capture/pcap_live.h"
#include "capture/tuning.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "tune/node.h"
#include "web-sql/stats.h"

#define FRAGMENTS_PART	16	/* of `memory`, for all sources */
#define REASSEMBLY_PART 8	/* for the flows of all threads */
#define STOP_US		1000000 /* what was read of a file waits so long for a block */

struct ring_thread {
	const struct conf_capture *conf;
	struct packets *packets;
	struct worker *worker;
	struct af_packet *ring; /* one of these */
	struct pcap_live *live;
	struct pcap_file *file;
	struct file_source *reader; /* of `file` */
	struct thread thread;
};

struct capture {
	unsigned first, count; /* of its threads */
	struct fragments *fragments;
	struct packets *packets[MIRROR_MAX_THREADS];
};

struct mirror {
	const struct conf *conf;
	unsigned source_first; /* the worker's number of the first one */
	struct capture captures[CONF_MAX_CAPTURES];
	struct ring_thread threads[MIRROR_MAX_THREADS];
	unsigned thread_count;
};

/* ---- open ---- */

static struct bpf_wish wish_of(const struct conf_capture *c)
{
	return (struct bpf_wish){ .ports = c->ports,
				  .hep_ports = c->hep_ports,
				  .port_count = c->port_count,
				  .hep_port_count = c->hep_port_count,
				  .is_rtcp = c->rtcp == CONF_TRUE,
				  .expression = c->bpf };
}

static int filter_make(struct sock_fprog *out, const struct conf_capture *c, int dlt)
{
	struct bpf_wish wish = wish_of(c);
	char why[WHY_BYTES] = "";
	int err;

	wish.dlt = dlt;
	wish.interface = c->interface;
	err = bpf_make(out, &wish, why);
	if (err == -EOPNOTSUPP) {
		*out = (struct sock_fprog){ 0 };
		return HT_OK;
	}
	if (err < 0)
		log_error("capture %s: bpf: %s", c->name, why[0] ? why : ht_strerror(err));
	return err;
}

/* Thread t reads queue t, which is where its core's interrupt is. */
static unsigned ring_of(const struct capture_fit *fit, unsigned thread)
{
	return fit->is_by_queue ? (thread + 1) % fit->threads : thread;
}

static int rings_open(struct mirror *m, const struct capture *k, const struct conf_capture *c,
		      const struct capture_fit *fit)
{
	struct af_packet_options o = { .interface = c->interface,
				       .rings = k->count,
				       .ring_bytes = fit->ring,
				       .is_by_queue = fit->is_by_queue,
				       .is_promiscuous = c->promiscuous == CONF_TRUE };
	struct af_packet *rings[AF_PACKET_RINGS_MOST];
	int dlt = af_packet_dlt(c->interface), err = HT_OK;

	if (dlt >= 0) /* else af_packet_open() says why */
		err = filter_make(&o.filter, c, dlt);
	if (err == HT_OK)
		err = af_packet_open(rings, &o);
	bpf_free(&o.filter);
	for (unsigned i = 0; i < k->count && err == HT_OK; i++)
		m->threads[k->first + i].ring = rings[ring_of(fit, i)];
	return err;
}

static int live_open(struct mirror *m, const struct capture *k, const struct conf_capture *c,
		     uint64_t ring_bytes)
{
	struct pcap_live_options o = { .interface = c->interface,
				       .buffer_bytes = ring_bytes,
				       .is_promiscuous = c->promiscuous == CONF_TRUE,
				       .filter = wish_of(c) };

	return pcap_live_open(&m->threads[k->first].live, &o);
}

/* A pipe could keep the server from starting, and from ending. */
static int file_open(struct mirror *m, const struct capture *k, const struct conf_capture *c)
{
	struct pcap_file **out = &m->threads[k->first].file;
	struct stat st;
	int err = stat(c->file, &st) < 0 ? -errno : HT_OK;

	if (err == HT_OK && !S_ISREG(st.st_mode)) {
		log_error("capture %s: %s: not a regular file; heptap import reads pipes", c->name,
			  c->file);
		return -EINVAL;
	}
	if (err == HT_OK)
		err = pcap_file_open(out, c->file);
	if (err < 0)
		log_error("capture %s: %s: %s", c->name, c->file,
			  err == HT_EPCAP ? pcap_file_why(*out) : ht_strerror(err));
	else
		log_info("capture %s: %s, %" PRIu64 " octets", c->name, c->file,
			 pcap_file_size(*out));
	return err;
}

/* Blocks of a ring are all of one size, so that it may be smaller by less than one of them. */
static int rings_check(const struct mirror *m, const struct capture *k,
		       const struct conf_capture *c, uint64_t wanted)
{
	for (unsigned i = 0; i < k->count && fitting_requires(m->conf, CONF_REQUIRE_RINGS); i++) {
		uint64_t got = af_packet_ring_bytes(m->threads[k->first + i].ring);

		if (got + AF_PACKET_BLOCK_MOST > wanted)
			continue;
		log_error("tune.require: rings: capture %s: %" PRIu64 " KiB of %" PRIu64, c->name,
			  got >> 10, wanted >> 10);
		return -ENOBUFS;
	}
	return HT_OK;
}

static int capture_open(struct mirror *m, unsigned number, const struct capture_fit *fit)
{
	const struct conf_capture *c = &m->conf->capture[number];
	struct capture *k = &m->captures[number];
	int err;

	k->first = m->thread_count;
	k->count = fit->threads;
	if (k->first + k->count > MIRROR_MAX_THREADS) {
		log_error("capture %s: more than %d threads for all sources", c->name,
			  MIRROR_MAX_THREADS);
		return -EINVAL;
	}
	m->thread_count += k->count;
	for (unsigned i = 0; i < k->count; i++)
		m->threads[k->first + i].conf = c;
	err = packets_fragments_new(&k->fragments,
				    m->conf->memory / FRAGMENTS_PART / m->conf->capture_count);
	if (err < 0)
		return err;
	if (c->file[0])
		return file_open(m, k, c);
	node_prefer(fit->node);
	err = c->method == CONF_METHOD_PCAP ? live_open(m, k, c, fit->ring)
					    : rings_open(m, k, c, fit);
	node_prefer(-1);
	if (err < 0)
		return err;
	if (c->method != CONF_METHOD_PCAP)
		err = rings_check(m, k, c, fit->ring);
	if (c->method == CONF_METHOD_PCAP)
		log_info("capture %s: %s by libpcap, buffer %" PRIu64 " KiB", c->name, c->interface,
			 fit->ring >> 10);
	else
		log_info("capture %s: %s, %u ring%s of %" PRIu64 " KiB", c->name, c->interface,
			 k->count, k->count == 1 ? "" : "s",
			 af_packet_ring_bytes(m->threads[k->first].ring) >> 10);
	return err;
}

int mirror_open(struct mirror **out, const struct conf *conf, const struct capture_fit *fits)
{
	struct mirror *m;
	int err = HT_OK;

	*out = NULL;
	if (conf->capture_count == 0)
		return HT_OK;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->conf = conf;
	m->source_first = (unsigned)conf->hep_count;
	*out = m;
	for (unsigned i = 0; i < conf->capture_count && err == HT_OK; i++)
		err = capture_open(m, i, &fits[i]);
	return err;
}

unsigned mirror_thread_count(const struct mirror *m)
{
	return m ? m->thread_count : 0;
}

const struct thread *mirror_thread(const struct mirror *m, unsigned i)
{
	return &m->threads[i].thread;
}

static unsigned capture_of(const struct mirror *m, unsigned thread)
{
	return (unsigned)(m->threads[thread].conf - m->conf->capture);
}

int mirror_attach(struct mirror *m, unsigned thread, struct worker *worker)
{
	struct ring_thread *t = &m->threads[thread];
	unsigned number = capture_of(m, thread);
	struct capture *k = &m->captures[number];
	struct packets_options o = { .worker = worker,
				     .source = m->source_first + number,
				     .conf = t->conf,
				     .fragments = k->fragments,
				     .memory =
					     m->conf->memory / REASSEMBLY_PART / m->thread_count };
	int err = packets_new(&t->packets, &o);

	t->worker = worker;
	k->packets[thread - k->first] = t->packets;
	if (err == HT_OK && t->file)
		err = file_source_new(&t->reader,
				      &(struct file_source_options){ .packets = t->packets,
								     .worker = worker,
								     .bpf = t->conf->bpf });
	return err;
}

/* ---- threads ---- */

static void run(void *ctx)
{
	struct ring_thread *t = ctx;
	struct packet_counters *c = packets_counters(t->packets);

	if (t->ring)
		af_packet_run(t->ring, &packets_live_ops, t->packets, c);
	else if (t->file)
		file_source_run(t->reader, t->file, t->conf->file);
	else
		pcap_live_run(t->live, &packets_live_ops, t->packets, c);
	worker_flush(t->worker);
}

int mirror_start(struct mirror *m)
{
	int err = HT_OK;

	for (unsigned i = 0; i < mirror_thread_count(m) && err == HT_OK; i++)
		err = thread_start(&m->threads[i].thread, run, &m->threads[i], "ht-cap-%u", i);
	return err;
}

void mirror_stop(struct mirror *m)
{
	for (unsigned i = 0; i < mirror_thread_count(m); i++) {
		struct ring_thread *t = &m->threads[i];

		if (t->thread.is_started && t->ring)
			af_packet_stop(t->ring);
		else if (t->thread.is_started && t->reader)
			file_source_stop(t->reader);
		else if (t->thread.is_started)
			pcap_live_stop(t->live);
	}
	for (unsigned i = 0; i < mirror_thread_count(m); i++) {
		struct ring_thread *t = &m->threads[i];

		if (t->reader && !thread_join_until(&t->thread, clock_mono_us() + STOP_US))
			file_source_give_up(t->reader);
		thread_join(&t->thread);
	}
}

bool mirror_sum(const struct mirror *m, unsigned source, struct stats_packets *out)
{
	const struct capture *k;

	if (!m || source < m->source_first)
		return false;
	k = &m->captures[source - m->source_first];
	packets_sum(k->packets, k->count, k->fragments, out);
	return true;
}

void mirror_memory(const struct mirror *m, struct memory_use *sum)
{
	for (unsigned i = 0; i < mirror_thread_count(m); i++)
		packets_memory(m->threads[i].packets, sum);
	for (unsigned i = 0; m && i < m->conf->capture_count; i++)
		fragments_memory(m->captures[i].fragments, sum);
}

void mirror_close(struct mirror *m)
{
	for (unsigned i = 0; i < mirror_thread_count(m); i++) {
		file_source_free(m->threads[i].reader);
		pcap_file_close(m->threads[i].file);
		packets_free(m->threads[i].packets);
		af_packet_close(m->threads[i].ring);
		pcap_live_close(m->threads[i].live);
	}
	for (unsigned i = 0; m && i < m->conf->capture_count; i++)
		fragments_free(m->captures[i].fragments);
	free(m);
}
