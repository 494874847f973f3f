/* Where threads and interrupts are at the moment. */
#include <stdlib.h>
#include <string.h>

#include "tune/affinity.h"
#include "tune/files.h"
#include "tune/watch.h"

static bool is_placed(const struct watch_place *p, const char *name)
{
	for (unsigned i = 0; i < p->thread_count; i++)
		if (strcmp(p->threads[i].name, name) == 0)
			return true;
	return false;
}

static void thread_take(void *ctx, const char *id)
{
	struct watch_place *p = ctx;
	struct watch_thread_place *t = &p->threads[p->thread_count];
	char text[1024];

	if (p->thread_count == WATCH_THREADS ||
	    file_read("", text, sizeof(text), "/proc/self/task/%s/stat", id) <= 0 ||
	    text_thread(text, t->name) < 0 || is_placed(p, t->name))
		return;
	p->thread_count += affinity_read(atoi(id), &t->where) == HT_OK;
}

/* Else nobody placed anything, and interrupts may go where they like. */
static bool has_pinned_capture(const struct watch_place *p)
{
	for (unsigned i = 0; i < p->thread_count; i++)
		if (strncmp(p->threads[i].name, "ht-cap-", 7) == 0 &&
		    cpus_count(&p->threads[i].where) == 1)
			return true;
	return false;
}

/* A move that was asked for takes place with the next interrupt: until then the one in effect is
 * the old one. */
static int irq_cpu(const struct nic_irq *irq)
{
	if (irq->has_affinity && cpus_count(&irq->affinity) == 1)
		return cpus_first(&irq->affinity);
	if (irq->has_effective && cpus_count(&irq->effective) == 1)
		return cpus_first(&irq->effective);
	return -1;
}

static void nic_take(const struct nic *nic, bool is_pinned, struct watch_nic_place *out)
{
	*out = (struct watch_nic_place){ 0 };
	snprintf(out->name, sizeof(out->name), "%s", nic->name);
	for (unsigned i = 0; i < nic->irq_count && out->irq_count < WATCH_QUEUES; i++) {
		const struct nic_irq *irq = &nic->irqs[i];
		struct watch_irq_place *o = &out->irqs[out->irq_count];

		if (irq->role != IRQ_RX || irq->queue < 0 || irq->queue >= WATCH_QUEUES)
			continue;
		*o = (struct watch_irq_place){ .number = irq->number,
					       .queue = irq->queue,
					       .cpu = is_pinned ? irq_cpu(irq) : -1 };
		memcpy(o->name, irq->name, sizeof(o->name));
		out->irq_count++;
	}
}

void watch_place_take(const struct facts *f, struct watch_place *out)
{
	*out = (struct watch_place){ 0 };
	(void)file_list("", "/proc/self/task", thread_take, out);
	for (unsigned i = 0; f && i < f->nic_count; i++)
		if (f->nics[i].exists && f->nics[i].is_ours != NO)
			nic_take(&f->nics[i], has_pinned_capture(out),
				 &out->nics[out->nic_count++]);
}
