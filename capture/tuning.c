#include "capture/tuning.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/block.h"
#include "tune/notrack.h"

/* of a database on this host, unless it was told otherwise */
#define DATABASE_DIR "/var/lib/mysql"

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

/* Of an interface that several sources name the first one counts. */
static void add_mirror(const struct conf_capture *c, unsigned pps, struct tune_wish *w,
		       const char **names, unsigned *count)
{
	if (c->file[0] || *count == FACTS_NICS)
		return;
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(names[i], c->interface) == 0)
			return;
	w->mirrors[*count] = (struct mirror_wish){ .threads = c->threads,
						   .ring = c->ring,
						   .packets_per_s = pps };
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
	if (t->plan && !t->plan->findings.is_short)
		return HT_OK;
	tuning_fini(t);
	return -ENOMEM;
}

void tuning_fini(struct tuning *t)
{
	host_plan_free(t->plan);
	facts_free(t->facts);
	*t = (struct tuning){ 0 };
}
