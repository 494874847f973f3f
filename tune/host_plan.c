#include "tune/host_plan.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "tune/guard.h"
#include "tune/reason.h"
#include "tune/value.h"

#define RATE_PER_MBIT 100    /* packets/s that a mirror port may bring */
#define RATE_UNKNOWN  100000 /* as of 1 Gbit/s */

/* The speed of an interface that is made of software is made up. */
static bool has_speed(const struct nic *nic)
{
	static const char *const made_up[] = { "veth", "tun", "bridge", "dummy" };

	for (unsigned i = 0; i < sizeof(made_up) / sizeof(made_up[0]); i++)
		if (strcmp(nic->driver.name, made_up[i]) == 0)
			return false;
	return nic->speed_mbit > 0;
}

uint64_t plan_rate(const struct mirror_wish *wish, const struct nic *nic)
{
	if (wish->packets_per_s)
		return wish->packets_per_s;
	return has_speed(nic) ? (uint64_t)nic->speed_mbit * RATE_PER_MBIT : RATE_UNKNOWN;
}

static void place(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	struct place_wish w = { .nic_count = f->nic_count,
				.use_siblings = wish->use_siblings,
				.is_split = wish->is_split,
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

/* ---- what apply would refuse ---- */

static int right_missing(const struct facts *f, const struct tune_change *c)
{
	bool is_of_nic = c->kind == TUNE_ETHTOOL || c->kind == TUNE_QUEUE;

	return is_of_nic && f->root[0] == '\0' && f->has_rights && !(f->rights >> CAP_NET_ADMIN & 1)
		       ? -EPERM
		       : HT_OK;
}

/* @param why  GUARD_WHY octets. */
static bool is_refused(const struct facts *f, const struct guard *g, const struct tune_change *c,
		       char *why)
{
	int err;

	if (!guard_allows(g, c, why))
		return true;
	err = right_missing(f, c);
	if (err == HT_OK)
		err = value_may_write(f->root, c);
	if (err < 0)
		reason_print(c, err, why, GUARD_WHY);
	return err < 0;
}

/* The plan promises nothing that apply would refuse: both ask the same guard. */
static void block(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	const char *names[FACTS_NICS];
	struct guard_options o = { .root = f->root,
				   .interfaces = names,
				   .interfaces_count = f->nic_count,
				   .may_touch_management = wish->may_management };
	struct guard g;
	char why[GUARD_WHY];

	for (unsigned i = 0; i < f->nic_count; i++)
		names[i] = f->nics[i].name;
	guard_init(&g, &o);
	p->texts = calloc(p->change_count + 1, sizeof(*p->texts));
	for (unsigned i = 0; i < p->change_count; i++) {
		struct tune_change *c = &p->changes[i];

		if (c->blocked || !is_refused(f, &g, c, why))
			continue;
		c->blocked = "apply refuses it"; /* no memory for the reason */
		if (p->texts && (p->texts[p->text_count] = strdup(why)))
			c->blocked = p->texts[p->text_count++];
	}
}

/* ---- the plan ---- */

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
	block(f, wish, p);
	plan_findings(f, wish, p);
	return p;
}

void host_plan_free(struct host_plan *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->text_count; i++)
		free(p->texts[i]);
	free(p->texts);
	free(p->changes);
	free(p->findings.list);
	free(p);
}
