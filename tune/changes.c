/* What of the host should change. Bigger is safer: a number is raised, never lowered. */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tune/files.h"
#include "tune/host_plan.h"
#include "tune/notrack.h"

#define RING_MS		 10
#define RING_LEAST	 1024
#define USECS		 50
#define USECS_LOW	 30
#define USECS_HIGH	 125
#define BACKLOG_MS	 20
#define BACKLOG_MOST	 16384
#define BUDGET		 600
#define BUDGET_USECS	 8000
#define RMEM_MOST	 (256LL << 20)
#define FRAGMENT_BYTES	 (16LL << 20)
#define FRAGMENT_SECONDS 10
#define SWAPPINESS	 10

#define OF_IRQ	   "root, and /proc/irq writable"
#define OF_NIC	   "CAP_NET_ADMIN in the namespace of the NIC"
#define OF_HOST	   "root, and /proc/sys writable"
#define OF_TABLE   "CAP_NET_ADMIN, and nft"
#define BY_JOURNAL "heptap tune rollback, or write the old value"

static bool has_right(const struct facts *f, int capability)
{
	return f->has_rights && (f->rights >> capability & 1);
}

/* One line of the list; what is wanted already makes none. */
struct entry {
	enum tune_kind kind;
	const char *right, *danger;
	const char *blocked;
	bool is_auto;
};

__attribute__((format(printf, 6, 7))) static struct tune_change *add(
	struct host_plan *p, const struct entry *e, const char *object, const char *now,
	const char *wanted, const char *why, ...)
{
	struct tune_change *c;
	va_list args;

	if (p->change_count == p->change_room) {
		unsigned room = p->change_room ? p->change_room * 2 : 64;

		c = realloc(p->changes, room * sizeof(*c));
		if (!c) {
			p->findings.is_short = true;
			return NULL;
		}
		p->changes = c;
		p->change_room = room;
	}
	c = &p->changes[p->change_count++];
	*c = (struct tune_change){ .kind = e->kind,
				   .right = e->right,
				   .danger = e->danger,
				   .undo = BY_JOURNAL,
				   .is_auto = e->is_auto,
				   .blocked = e->blocked };
	snprintf(c->object, sizeof(c->object), "%s", object);
	snprintf(c->now, sizeof(c->now), "%s", now);
	snprintf(c->wanted, sizeof(c->wanted), "%s", wanted);
	va_start(args, why);
	vsnprintf(c->why, sizeof(c->why), why, args);
	va_end(args);
	return c;
}

static uint64_t pow2up(uint64_t n)
{
	uint64_t p = 1;

	while (p < n && p < UINT64_C(1) << 62)
		p *= 2;
	return p;
}

/* ---- a NIC ---- */

struct context {
	const struct facts *f;
	const struct tune_wish *wish;
	struct host_plan *p;
	const struct place_nic *place;
	const struct nic *nic;
	const struct mirror_wish *mirror;
};

static const char *blocked_nic(const struct context *c)
{
	if (c->nic->is_ours == NO)
		return "the NIC that /sys shows is of another network namespace";
	if (c->nic->is_management == YES && !c->wish->may_management)
		return "the NIC of the default route is left alone";
	return NULL;
}

/* A setting of the driver, as a number. */
static void add_driver(const struct context *c, const char *key, const char *now,
		       const char *wanted, const char *danger, const char *why)
{
	struct entry e = {
		.kind = TUNE_ETHTOOL, .right = OF_NIC, .danger = danger, .blocked = blocked_nic(c)
	};
	char object[TUNE_OBJECT];
	struct tune_change *change;

	snprintf(object, sizeof(object), "%s/%s", c->nic->name, key);
	change = add(c->p, &e, object, now, wanted, "%s", why);
	if (change)
		snprintf(change->nic, sizeof(change->nic), "%s", c->nic->name);
}

static void add_number(const struct context *c, const char *key, int64_t now, int64_t wanted,
		       const char *danger, const char *why)
{
	char old[32], new[32];

	snprintf(old, sizeof(old), "%lld", (long long)now);
	snprintf(new, sizeof(new), "%lld", (long long)wanted);
	add_driver(c, key, old, new, danger, why);
}

static void add_switch_off(const struct context *c, const char *key, int64_t now, bool is_fixed,
			   const char *danger, const char *why)
{
	if (now == 1 && !is_fixed)
		add_driver(c, key, "on", "off", danger, why);
}

/* Fewer where they cannot have a core each, more only where the rate asks for them. */
static void channels(const struct context *c)
{
	const struct nic_driver *d = &c->nic->driver;
	unsigned wanted = c->place->channels;
	char why[TUNE_VALUE];

	if (c->place->mode != PLACE_QUEUES || !wanted || d->channels <= 0 ||
	    d->channels == wanted || (d->channels_max > 0 && wanted > d->channels_max))
		return;
	snprintf(why, sizeof(why),
		 "%u receive queues share %u capture cores; one queue for each core",
		 c->nic->rx_queues, wanted);
	add_number(c, d->is_combined ? "channels/combined" : "channels/rx", d->channels, wanted,
		   "resets the NIC: the link flaps, interrupts get new numbers and lose their "
		   "affinity",
		   why);
}

/* 10 ms of packets, at least 1024: not simply the most, which would not fit the caches. */
static void ring(const struct context *c)
{
	const struct nic_driver *d = &c->nic->driver;
	unsigned queues = c->place->channels  ? c->place->channels
			  : c->nic->rx_queues ? c->nic->rx_queues
					      : 1;
	uint64_t rate = plan_rate(c->mirror, c->nic) / queues;
	uint64_t wanted = pow2up(rate * RING_MS / 1000);
	char why[TUNE_VALUE];

	if (wanted < RING_LEAST)
		wanted = RING_LEAST;
	if (d->ring_max > 0 && wanted > (uint64_t)d->ring_max)
		wanted = (uint64_t)d->ring_max;
	if (d->ring <= 0 || wanted <= (uint64_t)d->ring)
		return;
	snprintf(why, sizeof(why),
		 "%llu packets/s of a queue for %d ms, the next power of two, at least %d, at most "
		 "%lld",
		 (unsigned long long)rate, RING_MS, RING_LEAST, (long long)d->ring_max);
	add_number(c, "rings/rx", d->ring, (int64_t)wanted, "most drivers reset the link", why);
}

static void offloads(const struct context *c)
{
	const struct nic_driver *d = &c->nic->driver;
	const char *merged = "SIP over TCP arrives as frames of up to 64 KiB instead of packets";

	add_switch_off(c, "features/large-receive-offload", d->lro, d->lro_fixed, "costs CPU",
		       "segments are merged for good, and borders of packets lost");
	add_switch_off(c, "features/generic-receive-offload", d->gro, d->gro_fixed,
		       "costs CPU where there is much TCP", merged);
	add_switch_off(c, "features/rx-gro-hw", d->gro_hw, d->gro_hw_fixed, "costs CPU", merged);
	add_switch_off(c, "features/rx-gro-list", d->gro_list, d->gro_list_fixed, "costs CPU",
		       "datagrams are merged");
	add_switch_off(c, "features/rx-udp-gro-forwarding", d->udp_gro, d->udp_gro_fixed,
		       "costs CPU", "datagrams are merged");
}

static const char *blocked_irq(const struct context *c, const struct nic_irq *irq)
{
	if (irq->is_managed == YES)
		return "managed by the kernel: nobody can move it";
	return blocked_nic(c);
}

static void why_irq(const struct context *c, const struct nic_irq *irq, char *why, size_t size)
{
	unsigned thread =
		c->place->mode == PLACE_QUEUES ? (unsigned)irq->queue % c->place->cores : 0;

	if (irq->role == IRQ_CONTROL)
		snprintf(why, size, "carries no packets: housekeeping");
	else if (irq->role == IRQ_TX)
		snprintf(why, size, "sends; on the core of the receive queue of its number");
	else if (c->place->mode == PLACE_ONE_QUEUE && cpus_first(&c->place->rps) >= 0)
		snprintf(why, size, "the only queue; software spreads it over the capture threads");
	else if (c->place->mode == PLACE_QUEUES &&
		 c->place->core[thread] != c->place->irq_core[thread])
		snprintf(why, size, "queue %d is read by capture thread %u beside it, on CPU %d",
			 irq->queue, thread, c->place->core[thread]);
	else
		snprintf(why, size, "queue %d is read by capture thread %u on the same core",
			 irq->queue, thread);
}

static void interrupts(const struct context *c)
{
	for (unsigned i = 0; i < c->nic->irq_count; i++) {
		const struct nic_irq *irq = &c->nic->irqs[i];
		int cpu = placement_irq_cpu(&c->p->placement, c->place, irq);
		struct entry e = { .kind = TUNE_IRQ,
				   .right = OF_IRQ,
				   .danger = "takes effect with the next interrupt; a reset of the "
					     "link undoes it",
				   .blocked = blocked_irq(c, irq),
				   .is_auto = irq->role != IRQ_CONTROL };
		char object[TUNE_OBJECT], now[TUNE_VALUE] = "unknown", wanted[16], why[TUNE_VALUE];
		struct tune_change *change;

		if (cpu < 0 || !irq->has_affinity)
			continue;
		snprintf(object, sizeof(object), "/proc/irq/%d/smp_affinity_list", irq->number);
		cpus_print(&irq->affinity, now, sizeof(now));
		snprintf(wanted, sizeof(wanted), "%d", cpu);
		if (strcmp(now, wanted) == 0)
			continue;
		why_irq(c, irq, why, sizeof(why));
		change = add(c->p, &e, object, now, wanted, "%s", why);
		if (!change)
			continue;
		snprintf(change->nic, sizeof(change->nic), "%s", c->nic->name);
		snprintf(change->expect, sizeof(change->expect), "%s", irq->name);
	}
}

/* CPUs that packets of a NIC are to be spread over in software; none: not at all. */
static struct cpus spread_over(const struct place_nic *p)
{
	struct cpus out = p->rps;

	if (p->mode == PLACE_QUEUES && p->nic->rx_queues < p->cores)
		for (unsigned t = 0; t < p->threads; t++)
			cpus_add(&out, (unsigned)p->core[t]);
	return out;
}

static void spreading(const struct context *c)
{
	struct entry e = { .kind = TUNE_QUEUE,
			   .right = OF_NIC,
			   .danger = "each packet costs an interrupt between cores",
			   .blocked = blocked_nic(c) };
	struct cpus wanted = spread_over(c->place);
	char list[128];

	if (cpus_first(&wanted) < 0)
		return;
	for (unsigned q = 0; q < c->nic->rx_queues; q++) {
		const struct nic_queue *queue = &c->nic->queues[q];
		char object[TUNE_OBJECT], now[TUNE_VALUE], mask[TUNE_VALUE];
		struct tune_change *change;

		if (!queue->has_mask || cpus_equal(&queue->rps, &wanted))
			continue;
		snprintf(object, sizeof(object), "/sys/class/net/%s/queues/rx-%u/rps_cpus",
			 c->nic->name, q);
		change = add(c->p, &e, object, cpus_print_mask(&queue->rps, now, sizeof(now)),
			     cpus_print_mask(&wanted, mask, sizeof(mask)),
			     "%u queue%s for %u threads: spread over CPUs %s", c->nic->rx_queues,
			     c->nic->rx_queues == 1 ? "" : "s", c->place->threads,
			     cpus_print(&wanted, list, sizeof(list)));
		if (change)
			snprintf(change->nic, sizeof(change->nic), "%s", c->nic->name);
	}
}

/* The n-th of every @p parts CPUs of a set. */
static struct cpus part_of(const struct cpus *all, unsigned n, unsigned parts)
{
	struct cpus out = { 0 };
	unsigned i = 0;

	for (int cpu = cpus_first(all); cpu >= 0; cpu = cpus_next(all, (unsigned)cpu + 1))
		if (i++ % parts == n)
			cpus_add(&out, (unsigned)cpu);
	return out;
}

/* Threads that share the receive queues share those that answers to agents leave by, too. */
static void sending(const struct context *c)
{
	struct entry e = { .kind = TUNE_QUEUE,
			   .right = OF_NIC,
			   .danger = "programs on other CPUs send through a queue by hash",
			   .blocked = blocked_nic(c) };
	struct cpus spread = spread_over(c->place);

	if (c->nic->tx_queues < 2 || cpus_count(&spread) < c->nic->tx_queues)
		return;
	for (unsigned q = 0; q < c->nic->tx_queues; q++) {
		const struct nic_queue *queue = &c->nic->queues[q];
		struct cpus wanted = part_of(&spread, q, c->nic->tx_queues);
		char object[TUNE_OBJECT], now[TUNE_VALUE], mask[TUNE_VALUE];
		struct tune_change *change;

		if (!queue->has_xps || cpus_equal(&queue->xps, &wanted))
			continue;
		snprintf(object, sizeof(object), "/sys/class/net/%s/queues/tx-%u/xps_cpus",
			 c->nic->name, q);
		change = add(c->p, &e, object, cpus_print_mask(&queue->xps, now, sizeof(now)),
			     cpus_print_mask(&wanted, mask, sizeof(mask)),
			     "%u queues for %u threads: each thread sends through one of them",
			     c->nic->tx_queues, c->place->threads);
		if (change)
			snprintf(change->nic, sizeof(change->nic), "%s", c->nic->name);
	}
}

/* Where packets are polled by threads of the kernel these decide on the core. */
static void polling(const struct context *c)
{
	struct entry e = { .kind = TUNE_QUEUE,
			   .right = OF_NIC,
			   .danger = "packets are taken in softirq again, as is usual",
			   .blocked = blocked_nic(c) };
	char object[TUNE_OBJECT];
	struct tune_change *change;

	if (c->nic->threaded != 1)
		return;
	snprintf(object, sizeof(object), "/sys/class/net/%s/threaded", c->nic->name);
	change = add(c->p, &e, object, "1", "0",
		     "threads of the kernel poll it, on cores that the placement does not know");
	if (change)
		snprintf(change->nic, sizeof(change->nic), "%s", c->nic->name);
}

/* Only what has ports now: another choice than that of all four fields was somebody's. */
static void hashing(const struct context *c)
{
	const char *now = c->nic->driver.udp4_hash;

	if (strcmp(now, "sdfn") == 0 && c->nic->rx_queues > 1)
		add_driver(c, "rxflow/udp4", now, "sd",
			   "a single pair of addresses comes in on a single queue",
			   "fragments of large messages have no ports and would come in on another "
			   "queue");
}

static void coalescing(const struct context *c)
{
	const struct nic_driver *d = &c->nic->driver;
	bool has_lost = c->nic->rx_missed > 0 || c->nic->rx_fifo > 0;
	const char *danger = "longer: fewer interrupts, but the ring must hold more";
	char why[TUNE_VALUE];

	if (d->usecs < 0 || (d->adaptive == 1 && !has_lost))
		return;
	/* A virtual machine whose host has no coalescing for it answers 0 and refuses the rest. */
	if (d->usecs == 0 && strcmp(d->name, "virtio_net") == 0)
		return;
	snprintf(why, sizeof(why), "%d us where it is not between %d and %d", USECS, USECS_LOW,
		 USECS_HIGH);
	if (d->adaptive == 1)
		add_driver(c, "coalesce/adaptive_rx", "on", "off", danger,
			   "adaptive coalescing lost packets");
	if (d->usecs < USECS_LOW || d->usecs > USECS_HIGH)
		add_number(c, "coalesce/rx_usecs", d->usecs, USECS, danger, why);
}

static void pausing(const struct context *c)
{
	const char *danger =
		"bursts are dropped here instead of held by the switch; may reset the link";
	const char *why = "pause frames of a mirror port can stall the switch's mirror";

	add_switch_off(c, "pause/rx", c->nic->driver.pause_rx, false, danger, why);
	add_switch_off(c, "pause/tx", c->nic->driver.pause_tx, false, danger, why);
}

/* ---- the host ---- */

static void add_sysctl(const struct facts *f, struct host_plan *p, const char *name,
		       const char *now, const char *wanted, const char *danger, const char *why)
{
	struct entry e = { .kind = TUNE_SYSCTL, .right = OF_HOST, .danger = danger };
	char object[TUNE_OBJECT];

	if (!f->is_sys_writable)
		e.blocked = "/proc/sys is mounted read-only: a container, or the unit's protection";
	snprintf(object, sizeof(object), "/proc/sys/%s", name);
	add(p, &e, object, now, wanted, "%s", why);
}

__attribute__((format(printf, 6, 7))) static void raise_to(const struct facts *f,
							   struct host_plan *p, const char *name,
							   int64_t wanted, const char *danger,
							   const char *why, ...)
{
	int64_t now = facts_sysctl_number(f, name);
	char old[32], new[32], text[TUNE_VALUE];
	va_list args;

	if (now < 0 || now >= wanted)
		return;
	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	snprintf(old, sizeof(old), "%lld", (long long)now);
	snprintf(new, sizeof(new), "%lld", (long long)wanted);
	add_sysctl(f, p, name, old, new, danger, text);
}

/* Only where the socket may not pass it by. */
static void receive_limit(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	int64_t ask = (int64_t)(p->sizes.socket_buffer / 2);

	if (!wish->sizes.hep_sockets || !f->has_rights || has_right(f, CAP_NET_ADMIN))
		return;
	raise_to(f, p, "net/core/rmem_max", ask < RMEM_MOST ? ask : RMEM_MOST,
		 "every program may ask for that much",
		 "half of a receive buffer of %llu octets (the kernel doubles it), and we have no "
		 "CAP_NET_ADMIN to pass the limit by",
		 (unsigned long long)p->sizes.socket_buffer);
}

/* Packets of the busiest NIC that is spread, for each of its CPUs. */
static uint64_t spread_rate(const struct facts *f, const struct tune_wish *wish,
			    const struct host_plan *p)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < f->nic_count; i++) {
		struct cpus over = spread_over(&p->placement.nics[i]);
		unsigned n = cpus_count(&over);
		uint64_t rate = n ? plan_rate(&wish->mirrors[i], &f->nics[i]) / n : 0;

		most = rate > most ? rate : most;
	}
	return most;
}

static void backlog(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	int64_t now = facts_sysctl_number(f, "net/core/netdev_max_backlog");
	uint64_t rate = spread_rate(f, wish, p), wanted = pow2up(rate * BACKLOG_MS / 1000);

	if (!rate && f->softnet.dropped && now > 0)
		wanted = pow2up((uint64_t)now + 1);
	raise_to(
		f, p, "net/core/netdev_max_backlog",
		wanted > BACKLOG_MOST ? BACKLOG_MOST : (int64_t)wanted,
		"a longer queue needs a fast CPU, or what it holds is old",
		"%llu packets/s for each CPU that they are spread to, for %d ms; %llu were dropped "
		"since boot",
		(unsigned long long)rate, BACKLOG_MS, (unsigned long long)f->softnet.dropped);
}

static void budget(const struct facts *f, struct host_plan *p)
{
	int64_t uptime = file_number(f->root, "/proc/uptime");
	unsigned cpus = cpus_count(&f->online);
	const char *danger = "threads on the cores of interrupts wait longer";

	if (uptime <= 0 || !cpus || f->softnet.squeezed / cpus <= (uint64_t)uptime)
		return;
	raise_to(f, p, "net/core/netdev_budget", BUDGET, danger,
		 "softnet ran out of it %llu times in %lld s",
		 (unsigned long long)f->softnet.squeezed, (long long)uptime);
	raise_to(f, p, "net/core/netdev_budget_usecs", BUDGET_USECS, danger,
		 "softnet ran out of it %llu times in %lld s",
		 (unsigned long long)f->softnet.squeezed, (long long)uptime);
}

/* Asked for without its limit, which lowers the buffers of the plan. */
static void udp_memory(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), need, most;
	uint64_t sockets = (uint64_t)p->sizes.hep_threads * wish->sizes.hep_sockets;
	struct host free_host = f->host;
	struct plan free_plan;
	char now[FACTS_VALUE], wanted[TUNE_VALUE], why[TUNE_VALUE];
	unsigned long long low, middle, high;

	if (f->host.ram_bytes < 0 || !facts_sysctl(f, "net/ipv4/udp_mem", now, sizeof(now)) ||
	    sscanf(now, "%llu %llu %llu", &low, &middle, &high) != 3)
		return;
	free_host.udp_mem_bytes = -1;
	plan_make(&free_host, &wish->sizes, &free_plan);
	need = sockets * free_plan.socket_buffer * 4 / page;
	most = (uint64_t)f->host.ram_bytes / 4 / page;
	need = need > most ? most : need;
	if (middle >= need)
		return;
	snprintf(wanted, sizeof(wanted), "%llu %llu %llu", low, (unsigned long long)need,
		 high > need + need / 2 ? high : (unsigned long long)(need + need / 2));
	snprintf(why, sizeof(why),
		 "pages; %llu sockets of %llu octets must fit a quarter of the middle value",
		 (unsigned long long)sockets, (unsigned long long)free_plan.socket_buffer);
	add_sysctl(f, p, "net/ipv4/udp_mem", now, wanted, "kernel memory under a flood", why);
}

/* A counter of /proc/net/snmp, by its name. */
static int64_t snmp_counter(const struct facts *f, const char *group, const char *name)
{
	char *text = file_read_all(f->root, "/proc/net/snmp");
	char *names = text ? strstr(text, group) : NULL;
	char *values = names ? strstr(names + 1, group) : NULL, *saved_n, *saved_v, *n, *v;
	int64_t out = -1;

	if (values) {
		values[-1] = '\0';
		values[strcspn(values, "\n")] = '\0';
		n = strtok_r(names, " \n", &saved_n);
		v = strtok_r(values, " \n", &saved_v);
		for (; n && v && out < 0;
		     n = strtok_r(NULL, " \n", &saved_n), v = strtok_r(NULL, " \n", &saved_v))
			if (strcmp(n, name) == 0)
				out = strtoll(v, NULL, 10);
	}
	free(text);
	return out;
}

static void fragments(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	int64_t fails = snmp_counter(f, "Ip:", "ReasmFails");
	int64_t seconds = facts_sysctl_number(f, "net/ipv4/ipfrag_time");
	char why[TUNE_VALUE], now[32];

	if (fails <= 0 || !wish->sizes.hep_sockets)
		return;
	snprintf(why, sizeof(why), "%lld datagrams could not be put together again",
		 (long long)fails);
	raise_to(f, p, "net/ipv4/ipfrag_high_thresh", FRAGMENT_BYTES, "kernel memory", "%s", why);
	if (seconds <= FRAGMENT_SECONDS)
		return;
	snprintf(now, sizeof(now), "%lld", (long long)seconds);
	add_sysctl(f, p, "net/ipv4/ipfrag_time", now, "10",
		   "a fragment that is later than that is lost", why);
}

static void memory(const struct facts *f, struct host_plan *p)
{
	int64_t swappiness = facts_sysctl_number(f, "vm/swappiness");
	int64_t balancing = facts_sysctl_number(f, "kernel/numa_balancing");
	char now[32], why[TUNE_VALUE];

	if (swappiness > SWAPPINESS && f->swap_bytes > 0) {
		snprintf(now, sizeof(now), "%lld", (long long)swappiness);
		add_sysctl(f, p, "vm/swappiness", now, "10", "page cache shrinks first",
			   "there is swap, and capture must not wait for it");
	}
	if (balancing > 0 && f->nodes >= 2) {
		snprintf(now, sizeof(now), "%lld", (long long)balancing);
		snprintf(
			why, sizeof(why),
			"%d nodes and pinned threads: moving pages only costs; %lld TLB shootdowns "
			"since boot",
			f->nodes, (long long)f->tlb_shootdowns);
		add_sysctl(f, p, "kernel/numa_balancing", now, "0",
			   "programs that are not pinned may run slower", why);
	}
}

static const char *blocked_notrack(const struct facts *f)
{
	if (facts_sysctl_number(f, "net/netfilter/nf_conntrack_count") < 0)
		return "connection tracking is not loaded: there is nothing to keep HEP out of";
	if (f->notrack_err == -ENOENT)
		return "nft is not installed";
	if (f->notrack_err == -EPERM)
		return "nft may not be asked without CAP_NET_ADMIN";
	if (f->notrack_err < 0)
		return "nft failed: try `nft list ruleset`";
	return strcmp(f->notrack, "other") == 0
		       ? "there is a table inet heptap that we did not make like that: delete it"
		       : NULL;
}

/* Only if the configuration asks for it: a firewall may count on the state of connections. */
static void notrack(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	struct entry e = { .kind = TUNE_TABLE,
			   .right = OF_TABLE,
			   .danger = "a firewall that accepts HEP by its state (new, established) "
				     "drops it: the state is untracked",
			   .blocked = blocked_notrack(f) };

	if (wish->notrack[0] && strcmp(wish->notrack, f->notrack) != 0)
		add(p, &e, NOTRACK_OBJECT, f->notrack[0] ? f->notrack : "unknown", wish->notrack,
		    "UDP ports of HEP that are not tracked: tracking costs CPU for each datagram, "
		    "and drops them when its table is full");
}

/* In the order in which they must be written, over all NICs. */
void plan_changes(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	/* Without GRO some drivers have nothing to poll, and refuse to say how. */
	static void (*const steps[])(
		const struct context *) = { channels,	ring,	   polling, offloads,	hashing,
					    interrupts, spreading, sending, coalescing, pausing };

	for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++)
		for (unsigned i = 0; i < f->nic_count; i++)
			if (f->nics[i].exists)
				steps[step](&(struct context){ .f = f,
							       .wish = wish,
							       .p = p,
							       .place = &p->placement.nics[i],
							       .nic = &f->nics[i],
							       .mirror = &wish->mirrors[i] });
	receive_limit(f, wish, p);
	udp_memory(f, wish, p);
	backlog(f, wish, p);
	budget(f, p);
	fragments(f, wish, p);
	memory(f, p);
	notrack(f, wish, p);
}
