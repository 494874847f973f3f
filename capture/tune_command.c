/* The configuration as wishes, and the plan as a table. */
#include "capture/tune_command.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/block.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 3 };

#define DATABASE_DIR                                                                 \
	"/var/lib/mysql" /* of a database on this host, unless it was told otherwise \
			  */

bool tune_words(int argc, char **argv, struct tune_words *out)
{
	*out = (struct tune_words){ .root = "" };
	if (argc < 1 || strcmp(argv[0], "plan") != 0)
		return false;
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 >= argc)
			return false;
		if (strcmp(argv[i], "--root") == 0 && argv[i + 1][0])
			out->root = argv[i + 1];
		else if (strcmp(argv[i], "--format") == 0 && strcmp(argv[i + 1], "json") == 0)
			out->is_json = true;
		else if (strcmp(argv[i], "--format") != 0 || strcmp(argv[i + 1], "text") != 0)
			return false;
	}
	return true;
}

/* ---- wishes ---- */

static void add_port(struct tune_wish *w, const struct conf_endpoint *e)
{
	uint16_t port = e->addr.ss_family == AF_INET6
				? ((const struct sockaddr_in6 *)&e->addr)->sin6_port
				: ((const struct sockaddr_in *)&e->addr)->sin_port;

	if (w->port_count < WISH_PORTS)
		w->ports[w->port_count++] = ntohs(port);
}

/* Of an interface that several sources name the first one counts. */
static void add_mirror(const struct conf_capture *c, struct tune_wish *w, const char **names,
		       unsigned *count)
{
	if (c->file[0] || *count == FACTS_NICS)
		return;
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(names[i], c->interface) == 0)
			return;
	w->mirrors[*count] = (struct mirror_wish){ .threads = c->threads, .ring = c->ring };
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
	};
	for (size_t i = 0; i < conf->hep_count; i++) {
		w->sizes.hep_sockets += (unsigned)conf->hep[i].listen_count;
		for (size_t k = 0; k < conf->hep[i].listen_count; k++)
			add_port(w, &conf->hep[i].listen[k]);
	}
	for (size_t i = 0; i < conf->capture_count; i++)
		add_mirror(&conf->capture[i], w, names, &count);
	return count;
}

static const char *database_dir(const struct conf *conf, const struct tune_words *words)
{
	bool is_local = conf->storage.socket[0] || strcmp(conf->storage.host, "localhost") == 0 ||
			strcmp(conf->storage.host, "127.0.0.1") == 0;

	return is_local && (words->root[0] || access(DATABASE_DIR, F_OK) == 0) ? DATABASE_DIR
									       : NULL;
}

/* ---- text ---- */

static void print_threads(const char *what, const int *core, unsigned count, FILE *to)
{
	fprintf(to, "  %s", what);
	for (unsigned t = 0; t < count; t++)
		if (core[t] >= 0)
			fprintf(to, "%s %u on CPU %d", t ? "," : "", t, core[t]);
		else
			fprintf(to, "%s %u not pinned", t ? "," : "", t);
	fputc('\n', to);
}

static void print_sizes(const struct facts *f, const struct tune_wish *w, const struct host_plan *p,
			FILE *to)
{
	char cpus[128];

	fprintf(to, "WE USE\n  %u thread%s for HEP, %u writer%s, %u blocks for each thread\n",
		p->sizes.hep_threads, p->sizes.hep_threads == 1 ? "" : "s", p->sizes.writers,
		p->sizes.writers == 1 ? "" : "s", p->sizes.blocks);
	if (w->sizes.hep_sockets)
		fprintf(to,
			"  receive buffer of each HEP socket: %" PRIu64
			" octets (asked for as %" PRIu64 ")\n",
			p->sizes.socket_buffer, p->sizes.socket_buffer / 2);
	for (unsigned i = 0; i < f->nic_count; i++)
		fprintf(to, "  %s: %u thread%s, each with a ring of %" PRIu64 " MiB\n",
			f->nics[i].name, p->placement.nics[i].threads,
			p->placement.nics[i].threads == 1 ? "" : "s", p->rings[i] >> 20);
	fputs("\nWHERE\n", to);
	for (unsigned i = 0; i < f->nic_count; i++) {
		char what[64];

		snprintf(what, sizeof(what), "%s: capture thread", f->nics[i].name);
		print_threads(what, p->placement.nics[i].core, p->placement.nics[i].threads, to);
	}
	if (p->placement.hep_threads)
		print_threads("HEP thread", p->placement.hep_core, p->placement.hep_threads, to);
	fprintf(to, "  writers: %s\n", cpus_print(&p->placement.writers, cpus, sizeof(cpus)));
	fprintf(to, "  everything else: %s\n\n",
		cpus_print(&p->placement.housekeeping, cpus, sizeof(cpus)));
	placement_print(f, &p->placement, to);
}

static void print_change(const struct tune_change *c, FILE *to)
{
	fprintf(to, "\n  %s%s%s%s\n", c->object, c->expect[0] ? " (" : "", c->expect,
		c->expect[0] ? ")" : "");
	fprintf(to, "    now     %s\n    wanted  %s\n    why     %s\n", c->now, c->wanted, c->why);
	fprintf(to, "    mode    %s\n    right   %s\n    danger  %s\n    undo    %s\n",
		c->is_auto ? "auto" : "full", c->right, c->danger, c->undo);
	if (c->blocked)
		fprintf(to, "    but     not here: %s\n", c->blocked);
}

static void print_text(const struct facts *f, const struct tune_wish *w, const struct host_plan *p,
		       FILE *to)
{
	print_sizes(f, w, p, to);
	fprintf(to, "\nCHANGES OF THE HOST: %u\n", p->change_count);
	for (unsigned i = 0; i < p->change_count; i++)
		print_change(&p->changes[i], to);
	fprintf(to, "\nFINDINGS: %u\n", p->findings.count);
	for (unsigned i = 0; i < p->findings.count; i++) {
		const struct finding *n = &p->findings.list[i];

		fprintf(to, "\n  %s: %s (%s)\n    %s\n", n->object, n->now,
			verdict_name(n->verdict), n->text);
	}
}

/* ---- command ---- */

static bool root_is_there(const char *root)
{
	struct stat st;

	if (root[0] == '\0' ||
	    (strlen(root) < FACTS_ROOT && stat(root, &st) == 0 && S_ISDIR(st.st_mode)))
		return true;
	fprintf(stderr, "heptap: --root: %s: there is no such directory\n", root);
	return false;
}

int tune_command(const struct conf *conf, const struct tune_words *words)
{
	const char *names[FACTS_NICS];
	struct tune_wish wish;
	unsigned count = wish_from(conf, &wish, names);
	struct host_plan *plan;
	struct facts *facts;
	bool is_done;

	if (!root_is_there(words->root))
		return EXIT_REFUSED;
	facts = facts_read(words->root, names, count, conf->storage.spool.dir,
			   database_dir(conf, words));
	plan = facts ? host_plan_make(facts, &wish) : NULL;
	is_done = plan && !plan->findings.is_short;
	if (!is_done)
		fprintf(stderr, "heptap: no memory for a plan\n");
	else if (words->is_json)
		is_done = tune_print_json(facts, &wish, plan, stdout);
	else
		print_text(facts, &wish, plan, stdout);
	if (plan && (!is_done || fflush(stdout) != 0 || ferror(stdout))) {
		fprintf(stderr, "heptap: the plan could not be written\n");
		is_done = false;
	}
	host_plan_free(plan);
	facts_free(facts);
	return is_done ? EXIT_DONE : EXIT_REFUSED;
}
