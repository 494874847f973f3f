/* The plan, results and files as JSON: what the text says, for programs. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "capture/tune_command.h"
#include "capture/tune_files.h"
#include "capture/tune_report.h"
#include "tune/value.h"

/* Names come from outside: what is no UTF-8 shows as question marks. */
static json_t *text_json(const char *text)
{
	json_t *out = json_string(text);
	char *copy;

	if (out)
		return out;
	copy = strdup(text);
	for (char *at = copy; at && *at; at++)
		*at = (unsigned char)*at < 0x80 ? *at : '?';
	out = copy ? json_string(copy) : NULL;
	free(copy);
	return out;
}

/* Takes @p all. @return false: no memory, or it could not be written. */
static bool dump(json_t *all, FILE *to)
{
	bool is_done = all && json_dumpf(all, to, JSON_INDENT(2)) == 0;

	if (is_done)
		fputc('\n', to);
	json_decref(all);
	return is_done;
}

static json_t *cpus_json(const struct cpus *c)
{
	json_t *out = json_array();

	for (int cpu = cpus_first(c); cpu >= 0; cpu = cpus_next(c, (unsigned)cpu + 1))
		json_array_append_new(out, json_integer(cpu));
	return out;
}

/* null: not pinned */
static json_t *cores_json(const int *core, unsigned count)
{
	json_t *out = json_array();

	for (unsigned t = 0; t < count; t++)
		json_array_append_new(out, core[t] < 0 ? json_null() : json_integer(core[t]));
	return out;
}

static json_t *irqs_json(const struct placement *all, const struct place_nic *p)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < p->nic->irq_count; i++) {
		const struct nic_irq *irq = &p->nic->irqs[i];
		int cpu = placement_irq_cpu(all, p, irq);

		json_array_append_new(out,
				      json_pack("{s:i, s:o, s:i, s:o}", "number", irq->number,
						"name", text_json(irq->name), "queue", irq->queue,
						"cpu", cpu < 0 ? json_null() : json_integer(cpu)));
	}
	return out;
}

static json_t *nics_json(const struct facts *f, const struct host_plan *p)
{
	static const char *const modes[] = { "queues", "one queue", "threads only", "nothing" };
	json_t *out = json_array();

	for (unsigned i = 0; i < f->nic_count; i++) {
		const struct place_nic *n = &p->placement.nics[i];

		json_array_append_new(
			out,
			json_pack("{s:o, s:b, s:s, s:i, s:i, s:i, s:I, s:o, s:o, s:o, s:i, s:i}",
				  "name", text_json(f->nics[i].name), "exists", f->nics[i].exists,
				  "mode", modes[n->mode], "node", n->nic->node, "rx_queues",
				  (int)n->nic->rx_queues, "threads", (int)n->threads, "ring",
				  (json_int_t)p->rings[i], "cores", cores_json(n->core, n->threads),
				  "rps", cpus_json(&n->rps), "interrupts",
				  irqs_json(&p->placement, n), "channels", (int)n->channels,
				  "apart", (int)placement_apart(n)));
	}
	return out;
}

static json_t *changes_json(const struct host_plan *p)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < p->change_count; i++) {
		const struct tune_change *c = &p->changes[i];

		json_array_append_new(
			out,
			json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o}",
				  "kind", value_kind_name(c->kind), "object", text_json(c->object),
				  "nic", text_json(c->nic), "expect", text_json(c->expect), "now",
				  text_json(c->now), "wanted", text_json(c->wanted), "why",
				  text_json(c->why), "mode", c->is_auto ? "auto" : "full", "right",
				  c->right, "danger", c->danger, "undo", c->undo, "blocked",
				  c->blocked ? text_json(c->blocked) : json_null()));
	}
	return out;
}

static json_t *findings_json(const struct host_plan *p)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < p->findings.count; i++) {
		const struct finding *n = &p->findings.list[i];

		json_array_append_new(out, json_pack("{s:o, s:o, s:s, s:o}", "object",
						     text_json(n->object), "now", text_json(n->now),
						     "verdict", verdict_name(n->verdict), "text",
						     text_json(n->text)));
	}
	return out;
}

bool tune_print_json(const struct facts *f, const struct tune_wish *wish, const struct host_plan *p,
		     FILE *to)
{
	const struct placement *at = &p->placement;
	json_t *all = json_pack(
		"{s:{s:i, s:i, s:i, s:I}, s:{s:o, s:o, s:o, s:o, s:o, s:o}, s:o, s:o, s:o}",
		"sizes", "hep_threads", (int)p->sizes.hep_threads, "writers", (int)p->sizes.writers,
		"blocks", (int)p->sizes.blocks, "socket_buffer",
		(json_int_t)(wish->sizes.hep_sockets ? p->sizes.socket_buffer : 0), "placement",
		"cores", cpus_json(&at->prime), "housekeeping", cpus_json(&at->housekeeping),
		"writers", cpus_json(&at->writers), "hep",
		cores_json(at->hep_core, at->hep_threads), "spare", cpus_json(&at->spare),
		"idle_siblings", cpus_json(&at->idle), "nics", nics_json(f, p), "changes",
		changes_json(p), "findings", findings_json(p));

	return dump(all, to);
}

/* ---- what apply, verify and rollback did ---- */

/* "" is null: unknown, or nothing to say */
static json_t *text_or_null(const char *text)
{
	return text[0] ? text_json(text) : json_null();
}

static json_t *results_json(const struct tune_report *r)
{
	json_t *out = json_array();

	for (size_t i = 0; i < r->count; i++) {
		const struct tune_change *c = &r->list[i].change;
		const struct apply_result *got = &r->list[i].result;

		json_array_append_new(
			out,
			json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "kind",
				  value_kind_name(c->kind), "object", text_json(c->object), "nic",
				  text_json(c->nic), "state", report_state(r->verb, got->state),
				  "was", text_or_null(c->now), "wanted", text_json(c->wanted), "is",
				  text_or_null(got->now), "why", text_or_null(c->why), "note",
				  text_or_null(got->note)));
	}
	return out;
}

static json_t *counts_json(const struct tune_report *r)
{
	json_t *out = json_object();

	for (unsigned s = 0; s <= APPLY_LEFT; s++)
		if (r->sums.of[s])
			json_object_set_new(out, report_state(r->verb, (enum apply_state)s),
					    json_integer(r->sums.of[s]));
	return out;
}

static json_t *files_json(const struct tune_files *f)
{
	json_t *out = json_array();

	for (size_t i = 0; f && i < f->count; i++)
		json_array_append_new(out, json_pack("{s:o, s:s, s:o, s:o}", "path",
						     text_json(f->list[i].path), "state",
						     tune_file_state_text(f->list[i].state), "note",
						     text_or_null(f->list[i].note), "text",
						     text_json(f->list[i].text)));
	return out;
}

bool report_print_json(const struct tune_report *r, FILE *to)
{
	return dump(json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "journal", text_json(r->journal),
			      "error", text_or_null(r->error), "message", text_or_null(r->message),
			      "results", results_json(r), "counts", counts_json(r), "files",
			      files_json(r->files)),
		    to);
}

bool tune_files_print_json(const struct tune_files *f, FILE *to)
{
	return dump(json_pack("{s:o}", "files", files_json(f)), to);
}
