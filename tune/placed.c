/* Names are those that the server gives its threads. */
#include "tune/placed.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tune/affinity.h"

/* ---- threads ---- */

__attribute__((format(printf, 3, 4))) static void add(struct placed *p, const struct cpus *cpus,
						      const char *name, ...)
{
	struct placed_thread *t = &p->threads[p->thread_count];
	va_list args;

	if (p->thread_count == PLACED_THREADS)
		return;
	p->thread_count++;
	va_start(args, name);
	vsnprintf(t->name, sizeof(t->name), name, args);
	va_end(args);
	t->wanted = *cpus;
}

static struct cpus core_or(int core, const struct cpus *all)
{
	struct cpus one = { 0 };

	if (core < 0)
		return *all;
	cpus_add(&one, (unsigned)core);
	return one;
}

static void add_threads(struct placed *out, const struct placement *p, const struct placed_wish *w)
{
	static const char *const others[] = { "heptap", "ht-rcu", "ht-spool", "ht-admin",
					      "ht-watch" };
	const struct cpus *all = &w->process;
	const struct cpus *calm = cpus_first(&p->housekeeping) >= 0 ? &p->housekeeping : all;
	const struct cpus *busy = cpus_first(&p->writers) >= 0 ? &p->writers : all;

	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		add(out, calm, "%s", others[i]);
	for (unsigned i = 0; i < w->writers; i++)
		add(out, busy, "ht-db-%u", i);
	add(out, busy, "ht-stat");
	for (unsigned t = 0; t < p->hep_threads; t++) {
		struct cpus on = core_or(p->hep_core[t], all);

		add(out, &on, "ht-hep-%u", t);
	}
	for (unsigned t = 0; t < w->capture_count; t++) {
		const struct placed_capture *c = &w->captures[t];
		struct cpus on = core_or(c->nic >= 0 && c->thread < PLACE_THREADS
						 ? p->nics[c->nic].core[c->thread]
						 : -1,
					 all);

		add(out, &on, "ht-cap-%u", t);
	}
}

/* ---- interrupts ---- */

static int add_irqs(struct placed *out, const struct placement *p)
{
	unsigned room = 0;

	for (unsigned i = 0; i < p->nic_count; i++)
		room += p->nics[i].nic->irq_count;
	out->irqs = room ? calloc(room, sizeof(*out->irqs)) : NULL;
	if (room && !out->irqs)
		return -ENOMEM;
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned k = 0; k < p->nics[i].nic->irq_count; k++) {
			const struct nic_irq *irq = &p->nics[i].nic->irqs[k];
			struct placed_irq *o = &out->irqs[out->irq_count];
			int cpu = placement_irq_cpu(p, &p->nics[i], irq);

			if (irq->role == IRQ_CONTROL || cpu < 0)
				continue;
			out->irq_count++;
			snprintf(o->nic, sizeof(o->nic), "%s", p->nics[i].nic->name);
			o->number = irq->number;
			o->queue = irq->queue;
			o->cpu = cpu;
			o->is_there = irq->has_affinity && cpus_count(&irq->affinity) == 1 &&
				      cpus_has(&irq->affinity, (unsigned)cpu);
		}
	return HT_OK;
}

/* ---- all of it ---- */

int placed_init(struct placed *out, const struct placement *p, const struct placed_wish *wish)
{
	memset(out, 0, sizeof(*out));
	out->process = wish->process;
	add_threads(out, p, wish);
	for (unsigned i = 0; i < out->thread_count; i++) {
		struct placed_thread *t = &out->threads[i];

		if (!wish->may_pin)
			t->wanted = wish->process;
		t->is_pinned = !cpus_equal(&t->wanted, &wish->process);
	}
	return add_irqs(out, p);
}

void placed_fini(struct placed *p)
{
	free(p->irqs);
	*p = (struct placed){ 0 };
}

struct placed_thread *placed_find(struct placed *p, const char *name)
{
	for (unsigned i = 0; i < p->thread_count; i++)
		if (strcmp(p->threads[i].name, name) == 0)
			return &p->threads[i];
	return NULL;
}

void placed_read(pid_t tid, struct cpus *out)
{
	(void)!affinity_read(tid, out);
}

void placed_settle(const struct placed *p, struct placed_thread *t, pid_t tid)
{
	t->err = affinity_set(tid, &t->wanted, &t->got);
	if (t->err < 0 && t->err != HT_EFULL)
		(void)!affinity_set(tid, &p->process, &t->got);
	t->is_there = true;
}
