#include "tune/host_plan.h"

#include <stdlib.h>

#define RATE_PER_MBIT 100    /* packets/s that a mirror port may bring */
#define RATE_UNKNOWN  100000 /* as of 1 Gbit/s */

uint64_t plan_rate(const struct mirror_wish *wish, const struct nic *nic)
{
	if (wish->packets_per_s)
		return wish->packets_per_s;
	return nic->speed_mbit > 0 ? (uint64_t)nic->speed_mbit * RATE_PER_MBIT : RATE_UNKNOWN;
}

static void place(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	struct place_wish w = { .nic_count = f->nic_count,
				.hep_threads = wish->sizes.hep_sockets ? p->sizes.hep_threads : 0 };

	for (unsigned i = 0; i < f->nic_count; i++)
		w.nics[i] =
			(struct place_nic_wish){ .nic = &f->nics[i],
						 .threads = wish->mirrors[i].threads,
						 .packets_per_s = wish->mirrors[i].packets_per_s };
	placement_make(f, &w, &p->placement);
}

static void size_rings(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	for (unsigned i = 0; i < f->nic_count; i++)
		p->rings[i] = wish->mirrors[i].ring
				      ? wish->mirrors[i].ring
				      : plan_ring(&f->host, p->placement.nics[i].threads,
						  plan_rate(&wish->mirrors[i], &f->nics[i]));
}

/* Sizes first, for the placement asks how many threads receive HEP; blocks once more, for they are
   shared with the threads that capture. */
struct host_plan *host_plan_make(const struct facts *f, const struct tune_wish *wish)
{
	struct host_plan *p = calloc(1, sizeof(*p));
	struct plan_wish sizes = wish->sizes;

	if (!p)
		return NULL;
	plan_make(&f->host, &sizes, &p->sizes);
	place(f, wish, p);
	for (unsigned i = 0; i < f->nic_count; i++)
		sizes.cap_threads += p->placement.nics[i].threads;
	plan_make(&f->host, &sizes, &p->sizes);
	size_rings(f, wish, p);
	plan_changes(f, wish, p);
	plan_findings(f, wish, p);
	return p;
}

void host_plan_free(struct host_plan *p)
{
	if (!p)
		return;
	free(p->changes);
	free(p->findings.list);
	free(p);
}
