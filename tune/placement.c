/*
 * First the cores are dealt: housekeeping, writers, and for each NIC a pool on its own node. Then
 * each NIC takes threads and interrupts out of its pool. A core whose sibling works on packets is
 * left alone: two threads of one core got no more done than one.
 */
#include "tune/placement.h"

#include <string.h>

#define PACKETS_PER_THREAD 150000 /* per second; a placeholder until it is measured */
#define THREADS_ONE_QUEUE  4	  /* what one queue keeps busy */
#define FEW_CORES	   3	  /* up to so many the writers have no core of their own */
#define WRITER_CORES	   8

/* ---- dealing cores ---- */

static struct cpus prime_cores(const struct facts *f, bool use_siblings)
{
	struct cpus out = { 0 }, seen = { 0 };

	for (int cpu = cpus_first(&f->allowed); cpu >= 0;
	     cpu = cpus_next(&f->allowed, (unsigned)cpu + 1)) {
		unsigned core = (unsigned)f->core_of[cpu];

		if (cpus_has(&seen, core) && !use_siblings)
			continue;
		cpus_add(&seen, core);
		cpus_add(&out, (unsigned)cpu);
	}
	return out;
}

/* Move the first @p n of @p from; first of those that are in @p rather as well. */
static struct cpus take(struct cpus *from, unsigned n, const struct cpus *rather)
{
	struct cpus out = { 0 }, good = cpus_and(from, rather);

	for (int pass = 0; pass < 2 && n; pass++) {
		const struct cpus source = pass == 0 ? good : *from;

		for (int cpu = cpus_first(&source); cpu >= 0 && n;
		     cpu = cpus_next(&source, (unsigned)cpu + 1), n--) {
			cpus_add(&out, (unsigned)cpu);
			cpus_remove(from, (unsigned)cpu);
		}
	}
	return out;
}

static struct cpus on_node(const struct facts *f, const struct cpus *cpus, int node)
{
	struct cpus out = { 0 };

	for (int cpu = cpus_first(cpus); cpu >= 0; cpu = cpus_next(cpus, (unsigned)cpu + 1))
		if (f->node_of[cpu] == node)
			cpus_add(&out, (unsigned)cpu);
	return out;
}

/* CPUs with the same one are beside each other. */
static int cache_of(const struct facts *f, int cpu)
{
	if (f->l3_of[cpu] >= 0)
		return f->l3_of[cpu];
	return f->node_of[cpu] >= 0 ? CPUS_MOST + f->node_of[cpu] : -1;
}

struct cpus placement_beside(const struct facts *f, const struct cpus *cores, int cpu)
{
	struct cpus out = { 0 };

	for (int c = cpus_first(cores); c >= 0; c = cpus_next(cores, (unsigned)c + 1))
		if (c != cpu && cache_of(f, c) == cache_of(f, cpu))
			cpus_add(&out, (unsigned)c);
	return out;
}

/* Cores that are neither isolated nor on the node of a NIC. */
static struct cpus for_writers(const struct facts *f, const struct place_wish *wish,
			       const struct cpus *cores)
{
	struct cpus out = cpus_minus(cores, &f->isolated);

	for (unsigned i = 0; i < wish->nic_count; i++) {
		struct cpus near = { 0 };

		if (wish->nics[i].nic->node >= 0)
			near = on_node(f, &out, wish->nics[i].nic->node);
		out = cpus_minus(&out, &near);
	}
	return out;
}

static void deal_others(const struct facts *f, const struct place_wish *wish, struct cpus *left,
			struct placement *out)
{
	unsigned cores = cpus_count(left), writers = (cores + 4) / 8;
	struct cpus calm = cpus_minus(left, &f->isolated), far;

	if (cores < 2)
		return;
	out->housekeeping = take(left, cores < 16 ? 1 : cores < 48 ? 2 : 4, &calm);
	out->writers_share = cores <= FEW_CORES;
	if (out->writers_share) {
		out->writers = out->housekeeping;
		return;
	}
	if (writers < 1)
		writers = 1;
	far = for_writers(f, wish, left);
	if (cpus_first(&far) < 0)
		far = cpus_minus(left, &f->isolated);
	out->writers = take(left, writers < WRITER_CORES ? writers : WRITER_CORES, &far);
}

static struct cpus pool_of(const struct facts *f, const struct nic *nic, const struct cpus *left)
{
	struct cpus pool = { 0 }, quiet;

	if (nic->node >= 0)
		pool = on_node(f, left, nic->node);
	if (cpus_first(&pool) < 0)
		pool = *left;
	quiet = cpus_and(&pool, &f->isolated);
	return cpus_first(&quiet) >= 0 ? quiet : pool;
}

static uint64_t rate_of(const struct place_nic_wish *w)
{
	return w->packets_per_s ? w->packets_per_s : 1;
}

/* The NIC that has least of what its rate asks for, of those whose pool this core is in. */
static int whose(const struct place_wish *wish, const struct cpus *pools, const unsigned *has,
		 unsigned cpu)
{
	int best = -1;

	for (unsigned i = 0; i < wish->nic_count; i++)
		if (cpus_has(&pools[i], cpu) &&
		    (best < 0 || (uint64_t)has[i] * rate_of(&wish->nics[best]) <
					 (uint64_t)has[best] * rate_of(&wish->nics[i])))
			best = (int)i;
	return best;
}

/* Each core goes to one NIC, while there are as many. */
static void deal_pools(const struct facts *f, const struct place_wish *wish,
		       const struct cpus *left, struct placement *out)
{
	struct cpus pools[FACTS_NICS];
	unsigned has[FACTS_NICS] = { 0 };

	for (unsigned i = 0; i < wish->nic_count; i++)
		pools[i] = pool_of(f, wish->nics[i].nic, left);
	for (int cpu = cpus_first(left); cpu >= 0; cpu = cpus_next(left, (unsigned)cpu + 1)) {
		int i = whose(wish, pools, has, (unsigned)cpu);

		if (i < 0)
			continue;
		cpus_add(&out->nics[i].pool, (unsigned)cpu);
		has[i]++;
	}
	for (unsigned i = 0; i < wish->nic_count; i++)
		if (!has[i])
			out->nics[i].pool = pools[i];
}

/* ---- a NIC ---- */

static unsigned rx_irqs(const struct nic *nic)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nic->irq_count; i++)
		n += nic->irqs[i].role == IRQ_RX;
	return n;
}

static unsigned needed(const struct place_nic_wish *w)
{
	uint64_t n = (w->packets_per_s + PACKETS_PER_THREAD - 1) / PACKETS_PER_THREAD;

	return n > PLACE_THREADS ? PLACE_THREADS : (unsigned)n;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static enum place_mode mode_of(const struct facts *f, const struct place_nic *p)
{
	unsigned irqs = rx_irqs(p->nic);

	if (cpus_count(&f->allowed) < 2)
		return PLACE_NOTHING;
	if (irqs == 0 || irqs != p->nic->rx_queues || p->nic->is_ours == NO)
		return PLACE_THREADS_ONLY;
	return irqs == 1 ? PLACE_ONE_QUEUE : PLACE_QUEUES;
}

static unsigned threads_of(const struct place_nic_wish *w, const struct place_nic *p,
			   unsigned cores)
{
	unsigned need = needed(w);

	if (w->threads)
		return least(w->threads, PLACE_THREADS);
	if (p->mode == PLACE_NOTHING)
		return 1;
	if (p->mode == PLACE_QUEUES)
		return least(least(p->nic->rx_queues, need ? need : PLACE_THREADS),
			     least(cores, PLACE_THREADS));
	return least(need ? need : THREADS_ONE_QUEUE, cores);
}

/* Half of those below each third-level cache: there is another one beside each of them. */
static struct cpus with_neighbour(const struct facts *f, const struct cpus *cores)
{
	struct cpus out = { 0 };

	for (int cpu = cpus_first(cores); cpu >= 0; cpu = cpus_next(cores, (unsigned)cpu + 1)) {
		struct cpus all = placement_beside(f, cores, cpu);
		struct cpus chosen = placement_beside(f, &out, cpu);

		if (2 * (cpus_count(&chosen) + 1) <= cpus_count(&all) + 1)
			cpus_add(&out, (unsigned)cpu);
	}
	return out;
}

/* A thread that was not asked for is not worth sharing a core with an interrupt. */
static void count_threads(const struct place_nic_wish *w, const struct cpus *cores,
			  const struct cpus *pairs, struct place_nic *p)
{
	unsigned of_all = threads_of(w, p, cpus_count(cores));

	p->threads = cpus_first(pairs) < 0 ? of_all : threads_of(w, p, cpus_count(pairs));
	p->fewer = of_all - p->threads;
}

/* With three cores or more the interrupt of the only queue has one for itself. */
static void place_nic(const struct facts *f, const struct place_nic_wish *w, bool is_split,
		      struct place_nic *p)
{
	struct cpus cores = p->pool, left, pairs = { 0 };

	p->nic = w->nic;
	p->mode = mode_of(f, p);
	p->is_split = is_split && p->mode == PLACE_QUEUES;
	p->is_mismatch = rx_irqs(p->nic) && rx_irqs(p->nic) != p->nic->rx_queues;
	memset(p->irq_core, 0xff, sizeof(p->irq_core));
	if (p->mode == PLACE_ONE_QUEUE)
		p->irq_core[0] = cpus_first(&cores);
	if (p->mode == PLACE_ONE_QUEUE && cpus_count(&cores) >= 3)
		cpus_remove(&cores, (unsigned)p->irq_core[0]);
	if (p->is_split)
		pairs = with_neighbour(f, &cores);
	count_threads(w, &cores, &pairs, p);
	left = cores;
	for (unsigned t = 0; t < p->threads; t++) {
		struct cpus one;

		if (cpus_first(&left) < 0)
			left = cores;
		one = take(&left, 1, &pairs);
		p->core[t] = p->mode == PLACE_NOTHING ? -1 : cpus_first(&one);
	}
}

/* What follows from the cores that the threads got. */
static void finish_nic(struct place_nic *p)
{
	struct cpus on = { 0 };

	for (unsigned t = 0; t < p->threads; t++)
		if (p->core[t] >= 0)
			cpus_add(&on, (unsigned)p->core[t]);
	p->cores = cpus_count(&on);
	for (unsigned t = 0; p->mode == PLACE_QUEUES && t < p->threads; t++)
		if (p->irq_core[t] < 0)
			p->irq_core[t] = p->core[t];
	if (p->mode == PLACE_ONE_QUEUE && p->cores > 1)
		p->rps = on;
	if (p->mode == PLACE_QUEUES && p->nic->rx_queues > p->cores)
		p->channels = p->cores;
}

/* ---- threads of several NICs ---- */

/* Nobody shares a core while one is spare, be it on another node. */
static void part_sharers(const struct facts *f, struct placement *out)
{
	struct cpus seen = { 0 }, near;

	for (unsigned i = 0; i < out->nic_count; i++) {
		struct place_nic *p = &out->nics[i];

		for (unsigned t = 0; t < p->threads; t++) {
			int spare = cpus_first(&out->spare);

			if (p->core[t] >= 0 && cpus_has(&seen, (unsigned)p->core[t]) &&
			    spare >= 0) {
				near = on_node(f, &out->spare, p->nic->node);
				p->core[t] = cpus_first(&near) >= 0 ? cpus_first(&near) : spare;
				cpus_remove(&out->spare, (unsigned)p->core[t]);
			}
			if (p->core[t] >= 0)
				cpus_add(&seen, (unsigned)p->core[t]);
		}
	}
}

/* The thread goes, the interrupt stays. */
static void split_thread(const struct facts *f, const struct cpus *free, struct place_nic *p,
			 unsigned t, struct cpus *spare)
{
	struct cpus near = placement_beside(f, free, p->core[t]);

	if (p->irq_core[t] >= 0 || cpus_first(&near) < 0)
		return;
	p->irq_core[t] = p->core[t];
	p->core[t] = cpus_first(&near);
	cpus_remove(spare, (unsigned)p->core[t]);
}

/* Each NIC has the cores of its own pool first. Threads beyond the queues have no interrupt. */
static void split_threads(const struct facts *f, struct placement *out)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < out->nic_count; i++) {
			struct place_nic *p = &out->nics[i];

			for (unsigned t = 0;
			     p->is_split && t < least(p->threads, p->nic->rx_queues); t++) {
				struct cpus free =
					pass ? out->spare : cpus_and(&out->spare, &p->pool);

				split_thread(f, &free, p, t, &out->spare);
			}
		}
}

/* ---- what is left ---- */

static void mark_idle(const struct facts *f, int core, struct cpus *idle)
{
	for (int cpu = core < 0 ? -1 : cpus_first(&f->allowed); cpu >= 0;
	     cpu = cpus_next(&f->allowed, (unsigned)cpu + 1))
		if (cpu != core && f->core_of[cpu] == f->core_of[core])
			cpus_add(idle, (unsigned)cpu);
}

static void mark_used(struct cpus *spare, const int *core, unsigned count)
{
	for (unsigned t = 0; t < count; t++)
		if (core[t] >= 0)
			cpus_remove(spare, (unsigned)core[t]);
}

void placement_count_left(const struct facts *f, struct placement *p)
{
	p->spare = cpus_minus(&p->prime, &p->housekeeping);
	p->spare = cpus_minus(&p->spare, &p->writers);
	p->idle = (struct cpus){ 0 };
	if (cpus_count(&f->allowed) < 2)
		p->spare = (struct cpus){ 0 };
	mark_used(&p->spare, p->hep_core, p->hep_threads);
	for (unsigned i = 0; i < p->nic_count; i++) {
		const struct place_nic *n = &p->nics[i];

		mark_used(&p->spare, n->core, n->threads);
		mark_used(&p->spare, n->irq_core, PLACE_THREADS);
		for (unsigned t = 0; !p->use_siblings && t < n->threads; t++) {
			mark_idle(f, n->core[t], &p->idle);
			if (n->mode == PLACE_QUEUES)
				mark_idle(f, n->irq_core[t], &p->idle);
		}
	}
}

/* On spare cores; without any they go where the scheduler wants them. */
static void place_hep(const struct place_wish *wish, struct placement *out)
{
	unsigned cores = cpus_count(&out->spare);
	int at = -1;

	out->hep_threads = least(wish->hep_threads, PLACE_THREADS);
	for (unsigned t = 0; t < out->hep_threads; t++) {
		if (cores && t % cores == 0)
			at = -1;
		at = cores ? cpus_next(&out->spare, (unsigned)(at + 1)) : -1;
		out->hep_core[t] = at;
	}
}

void placement_make(const struct facts *f, const struct place_wish *wish, struct placement *out)
{
	struct cpus left;

	memset(out, 0, sizeof(*out));
	out->nic_count = wish->nic_count;
	out->use_siblings = wish->use_siblings;
	out->is_split = wish->is_split;
	out->prime = left = prime_cores(f, wish->use_siblings);
	deal_others(f, wish, &left, out);
	deal_pools(f, wish, &left, out);
	for (unsigned i = 0; i < wish->nic_count; i++) {
		/* Nothing is known of the CPUs: a thread runs where it may. */
		if (cpus_first(&out->nics[i].pool) < 0)
			cpus_add(&out->nics[i].pool, 0);
		place_nic(f, &wish->nics[i], wish->is_split, &out->nics[i]);
	}
	placement_count_left(f, out);
	part_sharers(f, out);
	split_threads(f, out);
	for (unsigned i = 0; i < wish->nic_count; i++)
		finish_nic(&out->nics[i]);
	place_hep(wish, out);
	placement_count_left(f, out);
}

/* Queue q goes to that of thread q modulo cores; a control interrupt to housekeeping. */
int placement_irq_cpu(const struct placement *all, const struct place_nic *p,
		      const struct nic_irq *irq)
{
	if (p->mode == PLACE_NOTHING || p->mode == PLACE_THREADS_ONLY)
		return -1;
	if (irq->role == IRQ_CONTROL || irq->queue < 0)
		return cpus_first(&all->housekeeping);
	return p->irq_core[p->mode == PLACE_ONE_QUEUE ? 0 : (unsigned)irq->queue % p->cores];
}

unsigned placement_apart(const struct place_nic *p)
{
	unsigned n = 0;

	for (unsigned t = 0; t < p->threads; t++)
		n += p->mode == PLACE_QUEUES && p->core[t] != p->irq_core[t];
	return n;
}
