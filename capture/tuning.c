#include "capture/tuning.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/block.h"

/* of a database on this host, unless it was told otherwise */
#define DATABASE_DIR "/var/lib/mysql"

static void add_port(struct tune_wish *w, const struct conf_endpoint *e)
{
	uint16_t port = e->addr.ss_family == AF_INET6
				? ((const struct sockaddr_in6 *)&e->addr)->sin6_port
				: ((const struct sockaddr_in *)&e->addr)->sin_port;

	if (w->port_count < WISH_PORTS)
		w->ports[w->port_count++] = ntohs(port);
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

int tuning_init(struct tuning *t, const struct conf *conf, const char *root)
{
	*t = (struct tuning){ 0 };
	t->nic_count = wish_from(conf, &t->wish, t->nics);
	t->facts = facts_read(root, t->nics, t->nic_count, conf->storage.spool.dir,
			      database_dir(conf, root));
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
