/* The words of `heptap tune`, and its plan as a table. */
#include "capture/tune_command.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "capture/tune_doing.h"
#include "capture/tune_files.h"
#include "capture/tuning.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 3 };

/* ---- words ---- */

static const char *const verbs[] = { [TUNE_PLAN] = "plan",
				     [TUNE_APPLY] = "apply",
				     [TUNE_VERIFY] = "verify",
				     [TUNE_ROLLBACK] = "rollback",
				     [TUNE_EXPORT] = "export" };

static bool verb_find(const char *word, enum tune_verb *out)
{
	for (unsigned v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++) {
		if (strcmp(word, verbs[v]) == 0) {
			*out = (enum tune_verb)v;
			return true;
		}
	}
	return false;
}

/* @return false if it is none of this command's, or its value is no good. */
static bool take_option(struct tune_words *w, const char *name, const char *value)
{
	if (!value || !value[0])
		return false;
	if (strcmp(name, "--root") == 0)
		w->root = value;
	else if (strcmp(name, "--dir") == 0 && w->verb == TUNE_EXPORT)
		w->dir = value;
	else if (strcmp(name, "--only") == 0 && w->verb == TUNE_APPLY && w->only_count < TUNE_ONLY)
		w->only[w->only_count++] = value;
	else if (strcmp(name, "--format") == 0 && strcmp(value, "json") == 0)
		w->is_json = true;
	else
		return strcmp(name, "--format") == 0 && strcmp(value, "text") == 0;
	return true;
}

bool tune_words(int argc, char **argv, struct tune_words *out)
{
	*out = (struct tune_words){ .root = "" };
	if (argc < 1 || !verb_find(argv[0], &out->verb))
		return false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--persist") == 0 && out->verb == TUNE_APPLY) {
			out->is_persistent = true;
			continue;
		}
		if (!take_option(out, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
			return false;
		i++;
	}
	return !out->is_persistent || !out->root[0];
}

bool tune_needs_conf(const struct tune_words *words)
{
	return words->verb != TUNE_VERIFY && words->verb != TUNE_ROLLBACK;
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

static int plan_command(const struct conf *conf, const struct tune_words *words)
{
	struct tuning t;
	bool is_done;

	if (tuning_init(&t, conf, words->root) < 0) {
		fprintf(stderr, "heptap: no memory for a plan\n");
		return EXIT_REFUSED;
	}
	is_done = true;
	if (words->is_json)
		is_done = tune_print_json(t.facts, &t.wish, t.plan, stdout);
	else
		print_text(t.facts, &t.wish, t.plan, stdout);
	if (!is_done || fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "heptap: the plan could not be written\n");
		is_done = false;
	}
	tuning_fini(&t);
	return is_done ? EXIT_DONE : EXIT_REFUSED;
}

int tune_command(const struct conf *conf, const char *file, const struct tune_words *words)
{
	if (!root_is_there(words->root))
		return EXIT_REFUSED;
	switch (words->verb) {
	case TUNE_APPLY:
		return apply_command(conf, file, words);
	case TUNE_VERIFY:
		return verify_command(words);
	case TUNE_ROLLBACK:
		return rollback_command(words);
	case TUNE_EXPORT:
		return export_command(conf, file, words);
	case TUNE_PLAN:
		break;
	}
	return plan_command(conf, words);
}
