#include "capture/tuning.h"

#include <errno.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/mirror.h"
#include "storage/block.h"
#include "tune/notrack.h"

/* of a database on this host, unless it was told otherwise */
#define DATABASE_DIR "/var/lib/mysql"

#define RATE_UNKNOWN 100000 /* packets/s: a mirror port of 1 Gbit/s */

static uint16_t port_of(const struct conf_endpoint *e)
{
	return ntohs(e->addr.ss_family == AF_INET6
			     ? ((const struct sockaddr_in6 *)&e->addr)->sin6_port
			     : ((const struct sockaddr_in *)&e->addr)->sin_port);
}

static void add_port(struct tune_wish *w, const struct conf_endpoint *e)
{
	if (w->port_count < WISH_PORTS)
		w->ports[w->port_count++] = port_of(e);
}

static int port_order(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

/* UDP ports of HEP, each once, from low to high. */
static void wish_notrack(const struct conf *conf, struct tune_wish *w)
{
	uint16_t ports[CONF_MAX_LISTENERS * CONF_MAX_ENDPOINTS];
	size_t n = 0, len = 0;

	for (size_t i = 0; i < conf->hep_count; i++) {
		for (size_t k = 0; k < conf->hep[i].listen_count; k++) {
			if (!conf->hep[i].listen[k].is_stream)
				ports[n++] = port_of(&conf->hep[i].listen[k]);
		}
	}
	qsort(ports, n, sizeof(ports[0]), port_order);
	for (size_t i = 0; i < n && len + 8 < sizeof(w->notrack); i++) {
		if (!i || ports[i] != ports[i - 1])
			len += (size_t)snprintf(w->notrack + len, sizeof(w->notrack) - len, "%s%u",
						len ? " " : "", ports[i]);
	}
}

/* @return -1: it has none in the plan. */
static int nic_of(const struct conf_capture *c, const char *const *names, unsigned count)
{
	for (unsigned i = 0; !c->file[0] && i < count; i++)
		if (strcmp(names[i], c->interface) == 0)
			return (int)i;
	return -1;
}

/* libpcap and files have one thread. */
static unsigned threads_wished(const struct conf_capture *c)
{
	return c->file[0] || c->method == CONF_METHOD_PCAP ? 1 : c->threads;
}

/* Entries that share an interface have one thread each, unless they say how many. */
static void add_mirror(const struct conf_capture *c, unsigned pps, struct tune_wish *w,
		       const char **names, unsigned *count)
{
	int nic = nic_of(c, names, *count);
	unsigned threads = threads_wished(c);
	struct mirror_wish *m;

	if (nic >= 0) {
		m = &w->mirrors[nic];
		m->threads = (m->threads ? m->threads : 1) + (threads ? threads : 1);
		return;
	}
	if (c->file[0] || *count == FACTS_NICS) {
		w->sizes.cap_threads += threads ? threads : 1;
		return;
	}
	w->mirrors[*count] =
		(struct mirror_wish){ .threads = threads, .ring = c->ring, .packets_per_s = pps };
	names[(*count)++] = c->interface;
}

static unsigned wish_from(const struct conf *conf, struct tune_wish *w, const char **names)
{
	unsigned count = 0;

	*w = (struct tune_wish){
		.sizes = { .hep_threads = conf->hep_threads,
			   .writers = conf->storage.writers,
			   .is_daily = conf->storage.layout == CONF_LAYOUT_HOMER5,
			   .memory = conf->memory,
			   .block_bytes = BLOCK_MAX_BYTES },
		.use_siblings = conf->tune.smt == CONF_SMT_USE,
		.is_split = conf->tune.placement == CONF_PLACEMENT_SPLIT,
		.may_management = conf->tune.allow_mgmt_nic == CONF_TRUE,
	};
	for (size_t i = 0; i < conf->hep_count; i++) {
		w->sizes.hep_sockets += (unsigned)conf->hep[i].listen_count;
		for (size_t k = 0; k < conf->hep[i].listen_count; k++)
			add_port(w, &conf->hep[i].listen[k]);
	}
	if (conf->tune.manage_notrack == CONF_TRUE)
		wish_notrack(conf, w);
	for (size_t i = 0; i < conf->capture_count; i++)
		add_mirror(&conf->capture[i], conf->tune.pps, w, names, &count);
	return count;
}

static const char *database_dir(const struct conf *conf, const char *root)
{
	bool is_local = conf->storage.socket[0] || strcmp(conf->storage.host, "localhost") == 0 ||
			strcmp(conf->storage.host, "127.0.0.1") == 0;

	return is_local && (root[0] || access(DATABASE_DIR, F_OK) == 0) ? DATABASE_DIR : NULL;
}

/* ---- what each entry of `capture` gets of the plan ---- */

static bool is_alone(const struct conf *conf, unsigned number)
{
	for (unsigned i = 0; i < conf->capture_count; i++)
		if (i != number && !conf->capture[i].file[0] &&
		    strcmp(conf->capture[i].interface, conf->capture[number].interface) == 0)
			return false;
	return true;
}

static unsigned threads_before(const struct tuning *t, unsigned number)
{
	unsigned n = 0;

	for (unsigned i = 0; i < number; i++)
		n += t->captures[i].nic == t->captures[number].nic ? t->captures[i].threads : 0;
	return n;
}

/* A queue for each thread, each on a core of its own, and both directions of a flow in one queue:
 * the kernel need not look at addresses to spread packets. */
static bool is_one_to_one(const struct place_nic *p)
{
	return p->mode == PLACE_QUEUES && p->threads == p->nic->rx_queues &&
	       p->threads == p->cores && p->nic->driver.is_symmetric == YES;
}

/* Of an interface that entries share the rate is divided by the threads of all of them. */
static uint64_t ring_of(const struct tuning *t, const struct capture_fit *c)
{
	const struct place_nic *p = c->nic < 0 ? NULL : &t->plan->placement.nics[c->nic];

	return plan_ring(&t->facts->host, p ? p->threads : c->threads,
			 p ? plan_rate(&t->wish.mirrors[c->nic], p->nic) : RATE_UNKNOWN);
}

static void capture_decide(struct tuning *t, const struct conf *conf, unsigned number)
{
	const struct conf_capture *c = &conf->capture[number];
	struct capture_fit *out = &t->captures[number];
	const struct place_nic *place;
	unsigned most = MIRROR_MAX_THREADS / (unsigned)conf->capture_count;

	*out = (struct capture_fit){ .nic = nic_of(c, t->nics, t->nic_count),
				     .threads = threads_wished(c),
				     .node = -1 };
	if (out->nic >= 0) {
		place = &t->plan->placement.nics[out->nic];
		if (!out->threads && is_alone(conf, number))
			out->threads = place->threads < most ? place->threads : most;
		out->is_by_queue = is_alone(conf, number) && out->threads == place->threads &&
				   out->threads > 1 && is_one_to_one(place);
		out->node = t->facts->nodes > 1 ? place->nic->node : -1;
	}
	if (!out->threads)
		out->threads = 1;
	out->first = threads_before(t, number);
	out->ring = c->ring ? c->ring : ring_of(t, out);
}

unsigned tuning_capture_threads(const struct tuning *t, const struct conf *conf)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < conf->capture_count; i++)
		sum += t->captures[i].threads;
	return sum;
}

/* ---- all of it ---- */

/* A process is started for it: only where its answer counts. */
static void ask_notrack(struct facts *f)
{
	int err = notrack_read(f->root, f->notrack, sizeof(f->notrack));

	f->notrack_err = err < 0 ? err : HT_OK;
	if (err < 0)
		f->notrack[0] = '\0';
}

int tuning_init(struct tuning *t, const struct conf *conf, const char *root)
{
	*t = (struct tuning){ 0 };
	t->nic_count = wish_from(conf, &t->wish, t->nics);
	t->facts = facts_read(root, t->nics, t->nic_count, conf->storage.spool.dir,
			      database_dir(conf, root));
	if (t->facts && t->wish.notrack[0])
		ask_notrack(t->facts);
	t->plan = t->facts ? host_plan_make(t->facts, &t->wish) : NULL;
	if (!t->plan || t->plan->findings.is_short) {
		tuning_fini(t);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < conf->capture_count; i++)
		capture_decide(t, conf, i);
	return HT_OK;
}

int tuning_renew(struct tuning *t, const struct conf *conf, const char *root)
{
	tuning_fini(t);
	return tuning_init(t, conf, root);
}

bool tuning_is_early(const struct tune_change *c)
{
	static const char *const early[] = { "*/channels/*", "*/rings/*", "*/features/*",
					     "/sys/class/net/*/threaded" };

	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++)
		if (fnmatch(early[i], c->object, 0) == 0)
			return true;
	return false;
}

void tuning_fini(struct tuning *t)
{
	host_plan_free(t->plan);
	facts_free(t->facts);
	*t = (struct tuning){ 0 };
}
