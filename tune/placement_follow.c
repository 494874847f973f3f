/* Interrupts that stay where they are, and threads that go to them. */
#include "tune/placement.h"

#include <string.h>

/* ---- where interrupts are ---- */

/* The only CPU that may serve it, if we may run there; -1: there is none. */
static int irq_is_on(const struct facts *f, const struct nic_irq *irq)
{
	const struct cpus *on = irq->has_affinity && cpus_count(&irq->affinity) == 1
					? &irq->affinity
					: &irq->effective;

	if (on == &irq->effective && (!irq->has_effective || cpus_count(on) != 1))
		return -1;
	return cpus_has(&f->allowed, (unsigned)cpus_first(on)) ? cpus_first(on) : -1;
}

/* What thread t reads, if it is one queue, or one of those whose interrupts are on one CPU. */
static int thread_irq_cpu(const struct facts *f, const struct place_nic *p, unsigned t)
{
	int cpu = -1;

	if (p->mode != PLACE_QUEUES && (p->mode != PLACE_ONE_QUEUE || p->threads > 1))
		return -1;
	for (unsigned i = 0; i < p->nic->irq_count; i++) {
		const struct nic_irq *irq = &p->nic->irqs[i];
		int on;

		if (irq->role != IRQ_RX || (unsigned)irq->queue % p->cores != t % p->cores)
			continue;
		on = irq_is_on(f, irq);
		if (on < 0 || (cpu >= 0 && cpu != on))
			return -1;
		cpu = on;
	}
	return cpu;
}

/* ---- onto their cores ---- */

/* Who has this core: a place for its number, and in @p nic whose (NULL: a HEP thread's). */
static int *holder_find(struct placement *p, int cpu, struct place_nic **nic, unsigned *thread)
{
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++)
			if (p->nics[i].core[t] == cpu) {
				*nic = &p->nics[i];
				*thread = t;
				return &p->nics[i].core[t];
			}
	*nic = NULL;
	for (unsigned t = 0; t < p->hep_threads; t++)
		if (p->hep_core[t] == cpu)
			return &p->hep_core[t];
	return NULL;
}

/* Whoever has the core changes places, unless it is where its own interrupt is. */
static void follow(const struct facts *f, struct placement *p, struct place_nic *nic, unsigned t)
{
	int cpu = thread_irq_cpu(f, nic, t), *theirs;
	struct place_nic *other;
	unsigned thread = 0;

	if (cpu < 0 || cpu == nic->core[t])
		return;
	theirs = holder_find(p, cpu, &other, &thread);
	if (theirs && other && thread_irq_cpu(f, other, thread) == cpu)
		return;
	if (theirs)
		*theirs = nic->core[t];
	nic->core[t] = cpu;
	if (nic->mode == PLACE_ONE_QUEUE)
		nic->irq_core[0] = cpu;
}

static void note_cores(struct placement *p)
{
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++)
			if (p->nics[i].mode == PLACE_QUEUES)
				p->nics[i].irq_core[t] = p->nics[i].core[t];
}

/* ---- beside them ---- */

struct beside {
	const struct facts *f;
	struct placement *p;
	struct cpus astray; /* cores with interrupts that were wanted elsewhere */
	struct cpus taken;  /* with interrupts, wherever they were wanted */
};

static void look_around(const struct facts *f, struct placement *p, struct beside *out)
{
	*out = (struct beside){ .f = f, .p = p };
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned k = 0; k < p->nics[i].nic->irq_count; k++) {
			const struct nic_irq *irq = &p->nics[i].nic->irqs[k];
			int wanted = placement_irq_cpu(p, &p->nics[i], irq);
			int on = irq->role == IRQ_RX ? irq_is_on(f, irq) : -1;

			if (on < 0 || wanted < 0)
				continue;
			cpus_add(&out->taken, (unsigned)on);
			if (on != wanted)
				cpus_add(&out->astray, (unsigned)on);
		}
}

static bool is_beside(const struct facts *f, int core, int cpu)
{
	struct cpus own = { 0 };

	cpus_add(&own, (unsigned)core);
	own = placement_beside(f, &own, cpu);
	return cpus_first(&own) >= 0;
}

/* As the plan has it, or as good. @param on  Where its interrupts are; -1: not known, or many */
static bool is_well(const struct beside *b, const struct place_nic *nic, unsigned t, int on)
{
	if (cpus_has(&b->astray, (unsigned)nic->core[t]))
		return false;
	return on < 0 || on == nic->irq_core[t] || is_beside(b->f, nic->core[t], on);
}

/* Cores that neither a thread nor an interrupt has; those from which all interrupts of the plan
 * stay away are among them. */
static struct cpus free_cores(const struct beside *b)
{
	struct placement p = *b->p;

	for (unsigned i = 0; i < p.nic_count; i++)
		memset(p.nics[i].irq_core, 0xff, sizeof(p.nics[i].irq_core));
	placement_count_left(b->f, &p);
	return cpus_minus(&p.spare, &b->taken);
}

/* @return whether it has moved, and then it is well. */
static bool go_beside(const struct beside *b, struct place_nic *nic, unsigned t)
{
	int on = thread_irq_cpu(b->f, nic, t);
	struct cpus free;

	if (nic->core[t] < 0 || is_well(b, nic, t, on))
		return false;
	free = free_cores(b);
	free = placement_beside(b->f, &free, on >= 0 ? on : nic->core[t]);
	if (cpus_first(&free) < 0)
		return false;
	nic->core[t] = cpus_first(&free);
	return true;
}

/* Where software spreads a single queue its threads stay, as without. */
static bool may_move(const struct place_nic *nic)
{
	return nic->mode == PLACE_QUEUES || (nic->mode == PLACE_ONE_QUEUE && nic->threads == 1);
}

static bool all_go_beside(const struct beside *b)
{
	bool has_moved = false;

	for (unsigned i = 0; i < b->p->nic_count; i++)
		for (unsigned t = 0; may_move(&b->p->nics[i]) && t < b->p->nics[i].threads; t++)
			has_moved |= go_beside(b, &b->p->nics[i], t);
	return has_moved;
}

/* What is beside a thread is where the plan wants it from now on. */
static void note_interrupts(const struct facts *f, struct placement *p)
{
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; may_move(&p->nics[i]) && t < p->nics[i].threads; t++) {
			int on = thread_irq_cpu(f, &p->nics[i], t);

			if (on >= 0 && is_beside(f, p->nics[i].core[t], on))
				p->nics[i].irq_core[t] = on;
		}
}

/* A core that was left may be what another one looks for. Who moved stays, so this ends. */
static void follow_beside(const struct facts *f, struct placement *p)
{
	struct beside b;

	look_around(f, p, &b);
	while (all_go_beside(&b))
		;
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++)
			if (may_move(&p->nics[i]) && p->nics[i].core[t] >= 0 &&
			    cpus_has(&b.astray, (unsigned)p->nics[i].core[t]))
				follow(f, p, &p->nics[i], t);
	note_interrupts(f, p);
}

/* ---- all of them ---- */

void placement_follow(const struct facts *f, struct placement *p)
{
	if (p->is_split) {
		follow_beside(f, p);
	} else {
		for (unsigned i = 0; i < p->nic_count; i++)
			for (unsigned t = 0; t < p->nics[i].threads; t++)
				follow(f, p, &p->nics[i], t);
		note_cores(p);
	}
	placement_count_left(f, p);
}

unsigned placement_near(const struct facts *f, const struct placement *all,
			const struct place_nic *p)
{
	unsigned n = 0;

	for (unsigned t = 0; t < p->threads; t++) {
		int on = thread_irq_cpu(f, p, t);

		if (on >= 0 && p->core[t] >= 0)
			n += all->is_split ? is_beside(f, p->core[t], on) : on == p->core[t];
	}
	return n;
}
