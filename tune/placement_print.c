/* A placement as text. */
#include <string.h>

#include "tune/placement.h"

#define LIST 512

static unsigned count_rx(const struct nic *nic)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nic->irq_count; i++)
		n += nic->irqs[i].role == IRQ_RX;
	return n;
}

static struct cpus cores_of(const struct place_nic *p)
{
	struct cpus out = { 0 };

	for (unsigned t = 0; t < p->threads; t++)
		if (p->core[t] >= 0)
			cpus_add(&out, (unsigned)p->core[t]);
	return out;
}

/* The bus address behind the @ says nothing more. */
static int name_length(const struct nic_irq *irq)
{
	return (int)strcspn(irq->name, "@");
}

static void print_queues(const struct placement *all, const struct place_nic *p, FILE *to)
{
	bool is_first = true;

	for (unsigned i = 0; i < p->nic->irq_count; i++) {
		const struct nic_irq *irq = &p->nic->irqs[i];

		if (irq->role != IRQ_RX)
			continue;
		fprintf(to, "%s%d(%.*s)->%d", is_first ? "  " : " ", irq->number, name_length(irq),
			irq->name, placement_irq_cpu(all, p, irq));
		is_first = false;
	}
	fputc('\n', to);
}

static int first_irq(const struct nic *nic)
{
	for (unsigned i = 0; i < nic->irq_count; i++)
		if (nic->irqs[i].role == IRQ_RX)
			return nic->irqs[i].number;
	return -1;
}

void placement_print_mode(const struct place_nic *p, FILE *to)
{
	struct cpus on = cores_of(p);
	char list[LIST], rps[LIST];

	cpus_print(&on, list, sizeof(list));
	switch (p->mode) {
	case PLACE_QUEUES:
		fprintf(to, "mode A multi-queue: T=%u threads on %s", p->threads, list);
		if (p->is_split)
			fprintf(to, ", %u of them beside their interrupts", placement_apart(p));
		fputs("; ", to);
		if (p->channels)
			fprintf(to,
				"%u queues > %u threads: --tune=full sets channels %u, else queue "
				"q -> "
				"C[q%%%u]\n",
				p->nic->rx_queues, p->threads, p->channels, p->cores);
		else
			fputs("channels unchanged\n", to);
		break;
	case PLACE_ONE_QUEUE:
		fprintf(to, "mode B single queue: irq %d->%d; T=%u on %s; rps_cpus=%s\n",
			first_irq(p->nic), p->irq_core[0], p->threads, list,
			cpus_first(&p->rps) < 0 ? "off" : cpus_print(&p->rps, rps, sizeof(rps)));
		break;
	case PLACE_THREADS_ONLY:
		fprintf(to,
			"mode C no queue interrupt of ours: T=%u pinned to %s; irq untouched; "
			"fanout "
			"HASH / REUSEPORT hash\n",
			p->threads, list);
		break;
	case PLACE_NOTHING:
		fprintf(to, "mode D one CPU: T=%u, not pinned; irq untouched; rps_cpus=off\n",
			p->threads);
		break;
	}
}

static void print_host(const struct facts *f, const struct placement *p,
		       const struct place_nic *nic, FILE *to)
{
	char house[LIST], writers[LIST], pool[LIST];

	fprintf(to, "cores=%u lcpu=%u ", cpus_count(&p->prime), cpus_count(&f->allowed));
	if (nic)
		fprintf(to, "nic=%s node=%d rxq=%u rxirq=%u ", nic->nic->name, nic->nic->node,
			nic->nic->rx_queues, count_rx(nic->nic));
	fprintf(to, "H=%s W=%s%s capbudget=%s\n", cpus_print(&p->housekeeping, house, LIST),
		cpus_print(&p->writers, writers, LIST), p->writers_share ? " (shared)" : "",
		cpus_print(nic ? &nic->pool : &p->spare, pool, LIST));
}

void placement_print(const struct facts *f, const struct placement *p, FILE *to)
{
	char idle[LIST], spare[LIST];

	if (p->nic_count == 0)
		print_host(f, p, NULL, to);
	for (unsigned i = 0; i < p->nic_count; i++) {
		print_host(f, p, &p->nics[i], to);
		fputc(' ', to);
		placement_print_mode(&p->nics[i], to);
		if (p->nics[i].mode == PLACE_QUEUES)
			print_queues(p, &p->nics[i], to);
	}
	fprintf(to, "  idle SMT siblings of capture cores=%s spare=%s\n",
		cpus_print(&p->idle, idle, LIST), cpus_print(&p->spare, spare, LIST));
}
