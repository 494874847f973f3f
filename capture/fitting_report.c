/* What was done at start, in a few lines; `heptap tune plan` says the rest. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "capture/fitting.h"
#include "conf/log.h"
#include "storage/block.h"

static const char *s(unsigned count)
{
	return count == 1 ? "" : "s";
}

void fitting_report_sizes(const struct fitting *f)
{
	const struct plan *p = fitting_sizes(f);
	const struct host *h = &f->tuning.facts->host;
	unsigned captures = tuning_capture_threads(&f->tuning, f->conf);
	uint64_t blocks = (uint64_t)(p->hep_threads + captures) * p->blocks * BLOCK_MAX_BYTES;

	log_info("tune: %" PRId64 " cores, %" PRId64
		 " MiB: %u receive thread%s, %u capture thread%s, %u writer%s, %u blocks each",
		 h->cores, h->ram_bytes >> 20, p->hep_threads, s(p->hep_threads), captures,
		 s(captures), p->writers, s(p->writers), p->blocks);
	if (blocks > f->conf->memory / 2)
		log_warning("memory: %" PRIu64
			    " MiB are little for %u threads, whose blocks take %" PRIu64 " MiB",
			    f->conf->memory >> 20, p->hep_threads + captures, blocks >> 20);
}

/* ---- threads ---- */

static struct cpus cpus_of(const struct placed *p, const char *prefix)
{
	struct cpus sum = { 0 };

	for (unsigned i = 0; i < p->thread_count; i++) {
		const struct placed_thread *t = &p->threads[i];

		if (t->is_there && strncmp(t->name, prefix, strlen(prefix)) == 0)
			for (unsigned k = 0; k < CPUS_MOST / 64; k++)
				sum.bits[k] |= t->got.bits[k];
	}
	return sum;
}

static void add_threads(const struct placed *p, const char *prefix, const char *what, char *text,
			size_t size)
{
	struct cpus on = cpus_of(p, prefix);
	size_t n = strlen(text);
	char list[128];

	if (cpus_first(&on) >= 0)
		snprintf(text + n, size - n, "%s%s on %s", n ? ", " : "", what,
			 cpus_print(&on, list, sizeof(list)));
}

/* @return how many are not where they should be; the first of them in @p first. */
static unsigned misplaced(const struct placed *p, const struct placed_thread **first)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->thread_count; i++) {
		const struct placed_thread *t = &p->threads[i];

		if (!t->is_there || t->err == HT_OK || !t->is_pinned)
			continue;
		if (n++ == 0)
			*first = t;
	}
	return n;
}

static unsigned pinned(const struct placed *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->thread_count; i++)
		n += p->threads[i].is_there && p->threads[i].is_pinned;
	return n;
}

static void report_threads(const struct placed *p)
{
	const struct placed_thread *first = NULL;
	unsigned astray = misplaced(p, &first);
	char text[1024] = "", wanted[128], got[128];

	if (!pinned(p)) {
		log_info("tune: all threads run where the kernel puts them");
		return;
	}
	add_threads(p, "ht-cap-", "threads that capture", text, sizeof(text));
	add_threads(p, "ht-hep-", "that receive", text, sizeof(text));
	add_threads(p, "ht-db-", "writers", text, sizeof(text));
	add_threads(p, "heptap", "everything else", text, sizeof(text));
	log_info("tune: CPUs: %s", text);
	if (astray)
		log_warning("tune: %u thread%s not where planned: %s was to run on %s and may run "
			    "on %s: %s: a core may be shared now, and a packet go from core to "
			    "core; the cpuset of the container or service decides",
			    astray, astray == 1 ? " is" : "s are", first->name,
			    cpus_print(&first->wanted, wanted, sizeof(wanted)),
			    cpus_print(&first->got, got, sizeof(got)), ht_strerror(first->err));
}

/* ---- interrupts ---- */

static struct cpus irqs_wanted(const struct fitting *f, const char *nic)
{
	struct cpus on = { 0 };

	for (unsigned i = 0; i < f->placed.irq_count; i++)
		if (strcmp(f->placed.irqs[i].nic, nic) == 0)
			cpus_add(&on, (unsigned)f->placed.irqs[i].cpu);
	return on;
}

/* Where they were asked to be beside their interrupts. */
static void report_split(const struct fitting *f, const struct place_nic *p)
{
	unsigned near = placement_near(f->tuning.facts, &f->tuning.plan->placement, p);

	if (p->is_split)
		log_info("tune: %s: %u of %u threads are beside the cores of their interrupts "
			 "(tune.placement: split)%s",
			 p->nic->name, near, p->threads,
			 near < p->threads ? "; no core is free beside those of the others" : "");
}

static void report_interrupts(const struct fitting *f, unsigned nic)
{
	const struct placement *all = &f->tuning.plan->placement;
	const struct place_nic *p = &all->nics[nic];
	const struct fitting_nic *n = &f->nics[nic];
	struct cpus on = irqs_wanted(f, p->nic->name);
	char list[128];

	if (!n->irqs)
		return;
	if (n->there == n->irqs)
		log_info("tune: %s: interrupts of its queues are on CPUs %s; %u of %u were moved, "
			 "until we end",
			 p->nic->name, cpus_print(&on, list, sizeof(list)), n->moved, n->irqs);
	else
		log_warning("tune: %s: %u of %u interrupts of its queues stay where they are: %s; "
			    "%u of %u threads are %s theirs are, and what the others read comes "
			    "from another %s",
			    p->nic->name, n->irqs - n->there, n->irqs,
			    n->why[0] ? n->why : "the kernel keeps them there",
			    placement_near(f->tuning.facts, all, p), p->threads,
			    all->is_split ? "beside where" : "where",
			    all->is_split ? "cache" : "core");
	report_split(f, p);
}

/* ---- what is left ---- */

static void report_host(const struct fitting *f)
{
	const struct apply_sums *h = &f->host;

	if (f->host_err < 0)
		log_warning("tune: no setting of the host was changed: %s: %s", f->by_hand,
			    ht_strerror(f->host_err));
	else if (f->conf->tune.mode == CONF_TUNE_FULL)
		log_info("tune: settings of the host: %u changed, %u refused; they stay when we "
			 "end, heptap tune rollback sets them back",
			 h->of[APPLY_DONE] + h->of[APPLY_ROUNDED] + h->of[APPLY_PENDING],
			 h->of[APPLY_REFUSED]);
}

static void report_findings(const struct fitting *f)
{
	const struct host_plan *p = f->tuning.plan;
	bool is_all = f->conf->tune.mode == CONF_TUNE_REPORT;

	for (unsigned i = 0; is_all && i < p->findings.count; i++)
		log_info("tune: %s: %s: %s", p->findings.list[i].object, p->findings.list[i].now,
			 p->findings.list[i].text);
	if (p->change_count || p->findings.count)
		log_info("tune: %u setting%s of this host could suit us better, %u thing%s about "
			 "it should be known: heptap tune plan -c %s says which and why",
			 p->change_count, s(p->change_count), p->findings.count,
			 s(p->findings.count), f->conf->file);
}

void fitting_report(const struct fitting *f)
{
	if (f->conf->tune.mode == CONF_TUNE_OFF)
		return;
	if (f->conf->tune.mode == CONF_TUNE_REPORT)
		log_info("tune: nothing is placed, as tune.mode is report");
	else
		report_threads(&f->placed);
	for (unsigned i = 0; i < f->tuning.nic_count; i++)
		if (f->conf->tune.mode != CONF_TUNE_REPORT)
			report_interrupts(f, i);
	report_host(f);
	report_findings(f);
}
