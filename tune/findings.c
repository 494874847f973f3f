/* What a person should know about the host, beyond the plain checks of the table of knobs. */
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tune/host_plan.h"

#define DATAGRAM_CHARGE 2304
#define MESSAGE_RATE	20000 /* of a receive thread */
#define TEN_GBIT	10000
#define DIRTY_MOST	(4LL << 30)

static void of_number(struct findings *to, enum verdict v, const char *object, int64_t now,
		      const char *text)
{
	char value[32];

	snprintf(value, sizeof(value), "%lld", (long long)now);
	finding_add(to, v, object, value, "%s", text);
}

/* ---- NICs ---- */

static void nic_can_be_tuned(const struct facts *f, const struct tune_wish *wish,
			     const struct nic *n, struct findings *to)
{
	if (!n->exists) {
		finding_add(to, KNOB_REFUSE, n->name, "missing", "there is no such interface");
		return;
	}
	if (n->is_ours == NO)
		finding_add(to, KNOB_REFUSE, n->name, "foreign",
			    "/sys shows the NIC of another network namespace; mount it again there "
			    "(ip netns exec does)");
	if (n->is_management == YES && !wish->may_management)
		finding_add(to, KNOB_REFUSE, n->name, "default route",
			    "it holds the default route, so that a reset could cut you off: its "
			    "interrupts and driver stay as they are");
	if (n->is_management == UNKNOWN)
		finding_add(to, KNOB_REPORT, n->name, "unknown",
			    "the routing table could not be read: whether it is the NIC that you "
			    "are connected through is not known");
	if (f->root[0] == '\0' && n->irq_count == 0)
		finding_add(to, KNOB_REPORT, n->name, "no interrupts",
			    "none of its own can be seen (virtual, or in a container): threads are "
			    "placed, interrupts are not");
}

static void nic_driver(const struct nic *n, struct findings *to)
{
	const struct nic_driver *d = &n->driver;

	if (d->rx_hash == 0 && !d->rx_hash_fixed)
		finding_add(to, KNOB_REPORT, n->name, "receive-hashing off",
			    "the kernel computes the hash of each packet itself; switch it on");
	if (strcmp(n->duplex, "half") == 0)
		finding_add(to, KNOB_REPORT, n->name, "half duplex",
			    "check cable and autonegotiation of both ends");
	if (n->threaded == 1)
		finding_add(to, KNOB_REPORT, n->name, "threaded NAPI",
			    "its threads, not the interrupts, decide on the cores: switch it off, "
			    "or pin napi/%s-* as the interrupts below",
			    n->name);
	if (n->rx_missed > 0)
		of_number(to, KNOB_REPORT, n->name, n->rx_missed,
			  "packets missed by the NIC since boot: ring too small, or core too busy");
	if (n->rx_fifo > 0)
		of_number(to, KNOB_REPORT, n->name, n->rx_fifo,
			  "packets lost in the NIC's own memory since boot");
	if (d->is_symmetric == NO && n->rx_queues > 1)
		finding_add(to, KNOB_REPORT, n->name, "receive hash not symmetric",
			    "both directions of a call come in on different queues: packets are "
			    "spread by HASH fanout, not by CPU or queue");
}

static void nic_irqs(const struct place_nic *p, struct findings *to)
{
	unsigned managed = 0;

	for (unsigned i = 0; i < p->nic->irq_count; i++)
		managed += p->nic->irqs[i].is_managed == YES;
	if (managed)
		of_number(to, KNOB_REPORT, p->nic->name, managed,
			  "interrupts managed by the kernel: nobody can move them");
	if (p->is_mismatch)
		finding_add(to, KNOB_REFUSE, p->nic->name, "interrupts and queues differ",
			    "which interrupt serves which queue is not clear: they stay where they "
			    "are");
}

/* What was asked for and could not be had of it. */
static void nic_split(const struct place_nic *p, struct findings *to)
{
	unsigned apart = placement_apart(p);
	unsigned most = p->threads < p->nic->rx_queues ? p->threads : p->nic->rx_queues;
	char now[FACTS_VALUE];

	if (!p->is_split)
		return;
	snprintf(now, sizeof(now), "%u of %u threads split", apart, most);
	if (!apart)
		finding_add(to, KNOB_REPORT, p->nic->name, now,
			    "tune.placement is the same for them: no core below the third-level "
			    "cache of one with an interrupt is free");
	else if (apart < most)
		finding_add(to, KNOB_REPORT, p->nic->name, now,
			    "no core is free beside the interrupts of the others: they share "
			    "theirs; fewer threads (capture[].threads) would leave some");
	else if (p->fewer)
		finding_add(to, KNOB_REPORT, p->nic->name, now,
			    "%u fewer than without tune.placement: split, since each has one core "
			    "and its interrupts another",
			    p->fewer);
}

static void nic_spread(const struct place_nic *p, struct findings *to)
{
	char now[FACTS_VALUE];

	for (unsigned q = 0; q < p->nic->rx_queues; q++)
		if (p->mode == PLACE_QUEUES && p->nic->rx_queues >= p->cores &&
		    cpus_first(&p->nic->queues[q].rps) >= 0) {
			finding_add(to, KNOB_REPORT, p->nic->name,
				    cpus_print_mask(&p->nic->queues[q].rps, now, sizeof(now)),
				    "rps_cpus of queue %u takes packets away from the core that is "
				    "meant to read them; write 0",
				    q);
			return;
		}
}

/* ---- other programs ---- */

static void list_irqs(const struct host_plan *p, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < p->change_count && used + 24 < size; i++)
		if (p->changes[i].kind == TUNE_IRQ)
			used += (size_t)snprintf(out + used, size - used, " --banirq=%d",
						 atoi(p->changes[i].object + strlen("/proc/irq/")));
}

/* Of threads, and those beside them of interrupts. */
static struct cpus capture_cores(const struct placement *p)
{
	struct cpus cores = { 0 };

	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++) {
			if (p->nics[i].core[t] >= 0)
				cpus_add(&cores, (unsigned)p->nics[i].core[t]);
			if (p->nics[i].mode == PLACE_QUEUES)
				cpus_add(&cores, (unsigned)p->nics[i].irq_core[t]);
		}
	return cores;
}

static void managers(const struct facts *f, struct host_plan *p)
{
	struct cpus cores = capture_cores(&p->placement);
	char cpus[128], irqs[256];

	list_irqs(p, irqs, sizeof(irqs));
	if (f->irqbalance[0] && f->nic_count)
		finding_add(&p->findings, KNOB_REPORT, "irqbalance", "runs",
			    "moves interrupts every 10 s. In %s: IRQBALANCE_BANNED_CPULIST=%s, or "
			    "options%s",
			    f->irqbalance, cpus_print(&cores, cpus, sizeof(cpus)), irqs);
	if (f->tuned[0])
		finding_add(&p->findings, KNOB_REPORT, "tuned", f->tuned,
			    "writes sysctls too: what its profile sets is left to it");
}

/* ---- settings that need more than a comparison ---- */

static void udp_mem(const struct facts *f, struct findings *to)
{
	char now[FACTS_VALUE];
	unsigned long long low, middle, high;

	if (f->host.ram_bytes > 0 && facts_sysctl(f, "net/ipv4/udp_mem", now, sizeof(now)) &&
	    sscanf(now, "%llu %llu %llu", &low, &middle, &high) == 3 &&
	    middle > (unsigned long long)f->host.ram_bytes /
			     (unsigned long long)sysconf(_SC_PAGESIZE))
		finding_add(
			to, KNOB_REPORT, "net/ipv4/udp_mem", now,
			"pages, not bytes: beyond the memory of the host, so that a flood ends in "
			"the kernel's out-of-memory killer; the default is about an eighth of RAM");
}

static void ports(const struct facts *f, const struct tune_wish *wish, struct findings *to)
{
	char now[FACTS_VALUE];
	unsigned low, high;

	if (!facts_sysctl(f, "net/ipv4/ip_local_port_range", now, sizeof(now)) ||
	    sscanf(now, "%u %u", &low, &high) != 2)
		return;
	for (unsigned i = 0; i < wish->port_count; i++)
		if (wish->ports[i] >= low && wish->ports[i] <= high) {
			finding_add(
				to, KNOB_REPORT, "net/ipv4/ip_local_port_range", now,
				"port %u that we listen on is within it: an outgoing connection "
				"may take it first; add it to ip_local_reserved_ports",
				wish->ports[i]);
			return;
		}
}

static void conntrack(const struct facts *f, const struct tune_wish *wish, struct findings *to)
{
	int64_t count = facts_sysctl_number(f, "net/netfilter/nf_conntrack_count");
	int64_t most = facts_sysctl_number(f, "net/netfilter/nf_conntrack_max");
	int64_t buckets = facts_sysctl_number(f, "net/netfilter/nf_conntrack_buckets");

	if (count > 0 && wish->port_count)
		of_number(to, KNOB_REPORT, "net/netfilter/nf_conntrack_count", count,
			  "connections are tracked, those of HEP perhaps too; a rule without it: "
			  "nft add rule ... udp dport PORT notrack, with an accept of its own");
	if (count > 0 && most > 0 && count > most / 10 * 7)
		of_number(
			to, KNOB_REPORT, "net/netfilter/nf_conntrack_max", most,
			"more than 70 % are used; when it is full new packets are dropped: double "
			"it");
	if (most > 0 && buckets > 0 && most / buckets > 4)
		of_number(to, KNOB_REPORT, "net/netfilter/nf_conntrack_buckets", buckets,
			  "more than four connections in each: long lists; set max/4 or more");
}

static void martians(const struct facts *f, struct findings *to)
{
	if (f->nic_count && facts_sysctl_number(f, "net/ipv4/conf/all/log_martians") == 1)
		finding_add(
			to, KNOB_REPORT, "net/ipv4/conf/all/log_martians", "1",
			"a mirror port that has an address floods the log; it should have none");
	if (f->nic_count && facts_sysctl_number(f, "net/ipv4/ip_forward") == 1)
		finding_add(to, KNOB_REPORT, "net/ipv4/ip_forward", "1",
			    "the host may forward packets that the mirror port brings");
}

/* The kernel takes the stricter of all and the NIC's own. */
static void reverse_path(const struct facts *f, struct findings *to)
{
	char name[64];

	if (!f->management[0] || facts_sysctl_number(f, "net/ipv4/conf/all/rp_filter") == 1)
		return;
	snprintf(name, sizeof(name), "net/ipv4/conf/%s/rp_filter", f->management);
	if (facts_sysctl_number(f, name) == 1 &&
	    facts_sysctl_number(f, "net/ipv4/conf/all/rp_filter") != 2)
		finding_add(
			to, KNOB_REPORT, name, "1",
			"HEP of agents whose way back leads over another NIC is dropped silently; "
			"2 is loose, and safe enough");
}

/* A mask, of CPUs that drop packets of the largest flows first. */
static void flow_limit(const struct facts *f, struct findings *to)
{
	char now[FACTS_VALUE];
	struct cpus cpus;

	if (f->nic_count && facts_sysctl(f, "net/core/flow_limit_cpu_bitmap", now, sizeof(now)) &&
	    cpus_read_mask(now, &cpus) && cpus_first(&cpus) >= 0)
		finding_add(to, KNOB_REPORT, "net/core/flow_limit_cpu_bitmap", now,
			    "when the queue of such a CPU fills, packets of the largest flows are "
			    "dropped first, which are those of the busiest SBC; write 0");
}

/* A limit in octets, where there is one, holds instead of the percentage. */
static void dirty_limit(const struct facts *f, struct findings *to, const char *ratio,
			const char *octets, const char *text)
{
	int64_t percent = facts_sysctl_number(f, ratio);
	int64_t most = f->host.ram_bytes > 0 && percent > 0 ? f->host.ram_bytes / 100 * percent : 0;
	char now[32];

	if (most <= DIRTY_MOST || facts_sysctl_number(f, octets) > 0)
		return;
	snprintf(now, sizeof(now), "%lld", (long long)percent);
	finding_add(to, KNOB_REPORT, ratio, now, "%lld GiB %s", (long long)(most >> 30), text);
}

/* Of a host with a spool or a database. */
static void dirty(const struct facts *f, struct findings *to)
{
	if (!f->spool.path[0] && !f->database.path[0])
		return;
	dirty_limit(f, to, "vm/dirty_ratio", "vm/dirty_bytes",
		    "may pile up in memory; then all that write wait until the disk has them. A "
		    "person could set vm.dirty_bytes=1073741824");
	dirty_limit(f, to, "vm/dirty_background_ratio", "vm/dirty_background_bytes",
		    "pile up before the disk begins, and then keep it busy at once. A person could "
		    "set vm.dirty_background_bytes=268435456");
}

static void files_and_memory(const struct facts *f, struct findings *to)
{
	char now[FACTS_VALUE];
	unsigned long long used, unused, most;
	int64_t least = facts_sysctl_number(f, "vm/min_free_kbytes");

	if (facts_sysctl(f, "fs/file-nr", now, sizeof(now)) &&
	    sscanf(now, "%llu %llu %llu", &used, &unused, &most) == 3 && used > most / 5 * 4)
		finding_add(to, KNOB_REPORT, "fs/file-nr", now, "more than 80 %% of fs.file-max");
	for (unsigned i = 0; i < f->nic_count; i++)
		if (f->nics[i].speed_mbit >= TEN_GBIT && least >= 0 && least < 65536) {
			of_number(to, KNOB_REPORT, "vm/min_free_kbytes", least,
				  "less than 64 MiB for interrupts that allocate at 10 Gbit/s");
			break;
		}
	if (f->swap_bytes == 0 && facts_sysctl_number(f, "vm/swappiness") == 0)
		finding_add(to, KNOB_REPORT, "vm/swappiness", "0",
			    "memory may be said to be out early");
}

/* ---- disks ---- */

/* Is @p word one of a list with commas? */
static bool has_option(const char *options, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = options; at; at = at ? at + 1 : NULL) {
		if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
		at = strchr(at, ',');
	}
	return false;
}

static void disk(const struct disk *d, struct findings *to)
{
	if (!d->path[0])
		return;
	if (has_option(d->options, "sync"))
		finding_add(to, KNOB_REPORT, d->path, "sync",
			    "each write waits for the disk; mount it async, the default");
	if (has_option(d->options, "strictatime"))
		finding_add(to, KNOB_REPORT, d->path, "strictatime",
			    "each read writes; relatime is the default");
	if (d->has_journal == NO || has_option(d->options, "noload"))
		finding_add(
			to, KNOB_REFUSE, d->path, "no journal",
			"a power cut loses files; tune2fs -O has_journal on the unmounted disk");
	if (has_option(d->options, "nobarrier") || has_option(d->options, "barrier=0"))
		finding_add(to, KNOB_REFUSE, d->path, "nobarrier",
			    "a power cut loses what was said to be on disk");
	if (has_option(d->options, "data=writeback"))
		finding_add(
			to, KNOB_REPORT, d->path, "data=writeback",
			"after a power cut files may hold old contents; ordered is the default");
	if (strcmp(d->kind, "tmpfs") == 0)
		finding_add(to, KNOB_REPORT, d->path, "tmpfs",
			    "in memory: a restart of the host loses it");
	if (strncmp(d->kind, "nfs", 3) == 0)
		finding_add(to, KNOB_REPORT, d->path, d->kind,
			    "over the network: the spool is there for the time when that fails");
}

/* A disk with an interrupt for each CPU gets them only where somebody writes, which is not here. */
static void disk_irqs(const struct facts *f, const struct placement *p, const struct disk *d,
		      struct findings *to)
{
	struct cpus cores = capture_cores(p), both = cpus_and(&cores, &d->served);
	char now[FACTS_VALUE], shared[FACTS_VALUE];

	if (d->irq_count && d->irq_count < cpus_count(&f->online) && cpus_first(&both) >= 0)
		finding_add(to, KNOB_REPORT, d->path, cpus_print(&d->served, now, sizeof(now)),
			    "CPUs that serve the interrupts of %s; %s capture, too: move the "
			    "interrupts to the writers, if the kernel does not manage them",
			    d->device, cpus_print(&both, shared, sizeof(shared)));
}

/* ---- ourselves ---- */

static void rights(const struct facts *f, const struct tune_wish *wish, const struct host_plan *p,
		   struct findings *to)
{
	int64_t most = f->host.rmem_max * 2;
	char now[32];

	if (f->has_rights && f->nic_count && !(f->rights >> CAP_NET_RAW & 1))
		finding_add(to, KNOB_REPORT, "CAP_NET_RAW", "missing",
			    "no packet of a mirror port can be captured");
	if (!wish->sizes.hep_sockets || !f->has_rights || (f->rights >> CAP_NET_ADMIN & 1) ||
	    f->host.rmem_max < 0 || (uint64_t)most >= p->sizes.socket_buffer)
		return;
	snprintf(now, sizeof(now), "%lld", (long long)f->host.rmem_max);
	finding_add(to, KNOB_REPORT, "net/core/rmem_max", now,
		    "without CAP_NET_ADMIN a receive buffer gets %lld octets instead of %llu: %lld "
		    "messages, %lld ms at %d messages/s. A burst beyond that is lost",
		    (long long)most, (unsigned long long)p->sizes.socket_buffer,
		    (long long)(most / DATAGRAM_CHARGE),
		    (long long)(most / DATAGRAM_CHARGE * 1000 / MESSAGE_RATE), MESSAGE_RATE);
}

static void quota(const struct facts *f, const struct host_plan *p, struct findings *to)
{
	unsigned threads = p->sizes.hep_threads;
	char now[32];

	for (unsigned i = 0; i < p->placement.nic_count; i++)
		threads += p->placement.nics[i].threads;
	if (f->cpu_quota <= 0 || threads + p->sizes.writers <= f->cpu_quota)
		return;
	snprintf(now, sizeof(now), "%.1f CPUs", f->cpu_quota);
	finding_add(
		to, KNOB_REPORT, "cpu.max", now,
		"%u threads are to receive and %u to write: the control group stops all of them "
		"when its time is used up",
		threads, p->sizes.writers);
}

static void places(const struct placement *p, struct findings *to)
{
	char cpus[FACTS_VALUE];

	if (cpus_first(&p->idle) >= 0)
		finding_add(to, KNOB_REPORT, "SMT siblings",
			    cpus_print(&p->idle, cpus, sizeof(cpus)),
			    "share a core with a capture thread: keep them idle");
}

void plan_findings(const struct facts *f, const struct tune_wish *wish, struct host_plan *p)
{
	struct findings *to = &p->findings;

	for (unsigned i = 0; i < f->nic_count; i++) {
		nic_can_be_tuned(f, wish, &f->nics[i], to);
		if (!f->nics[i].exists)
			continue;
		nic_driver(&f->nics[i], to);
		nic_irqs(&p->placement.nics[i], to);
		nic_split(&p->placement.nics[i], to);
		nic_spread(&p->placement.nics[i], to);
	}
	managers(f, p);
	rights(f, wish, p, to);
	quota(f, p, to);
	places(&p->placement, to);
	udp_mem(f, to);
	ports(f, wish, to);
	conntrack(f, wish, to);
	martians(f, to);
	reverse_path(f, to);
	flow_limit(f, to);
	files_and_memory(f, to);
	dirty(f, to);
	disk(&f->spool, to);
	disk(&f->database, to);
	disk_irqs(f, &p->placement, &f->spool, to);
	disk_irqs(f, &p->placement, &f->database, to);
	knobs_check(f, to);
}
