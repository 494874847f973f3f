/*
 * The table. What older guides say was right for the kernels of their time: since then the defaults
 * have overtaken most of the numbers, so that writing them today makes things worse.
 */
#include "tune/knobs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(how, limit, text) how, limit, text

const struct knob knobs[] = {
	/* ---- receive path and buffers ---- */
	{ "net/core/rmem_max", KNOB_SET,
	  "raised to what our sockets ask for, only where we may not pass it by; never lowered",
	  NO_CHECK, 0, NULL },
	{ "net/core/rmem_default", KNOB_REFUSE,
	  "every socket of every program would get it; ours ask for theirs by themselves",
	  CHECK(IF_ABOVE, 4 << 20,
		"each socket of each program may hold that much; 212992 is the usual default") },
	{ "net/core/wmem_max", KNOB_REPORT, "we receive", NO_CHECK, 0, NULL },
	{ "net/core/wmem_default", KNOB_REFUSE, "every socket of every program would get it",
	  CHECK(IF_ABOVE, 4 << 20,
		"each socket of each program may hold that much; 212992 is the usual default") },
	{ "net/core/optmem_max", KNOB_REFUSE,
	  "for ancillary data and filters only; large values let any program take kernel memory",
	  CHECK(IF_ABOVE, 1 << 20, "any program may take that much kernel memory per socket") },
	{ "net/core/netdev_max_backlog", KNOB_SET,
	  "raised where packets are spread in software or the queue overflowed, to 16384 at most",
	  CHECK(IF_ABOVE, 65536,
		"packets wait so long that they are stale, and a full queue holds hundreds of MiB "
		"per CPU; 1000 to 16384 is enough") },
	{ "net/core/netdev_budget", KNOB_SET, "600 where softnet_stat shows time_squeeze growing",
	  NO_CHECK, 0, NULL },
	{ "net/core/netdev_budget_usecs", KNOB_SET,
	  "8000 where softnet_stat shows time_squeeze growing", NO_CHECK, 0, NULL },
	{ "net/core/dev_weight", KNOB_REFUSE, "the default is right; budget is the knob", NO_CHECK,
	  0, NULL },
	{ "net/core/dev_weight_rx_bias", KNOB_REFUSE, "as dev_weight", NO_CHECK, 0, NULL },
	{ "net/core/busy_poll", KNOB_REPORT, "it would change every poll() of the host",
	  CHECK(IF_ABOVE, 0, "every poll() of the host spins; costs CPU on all cores") },
	{ "net/core/busy_read", KNOB_REPORT, "it would change every read of a socket of the host",
	  CHECK(IF_ABOVE, 0, "every read of a socket spins; costs CPU on all cores") },
	{ "net/core/flow_limit_cpu_bitmap", KNOB_REPORT, "must be 0 on CPUs that capture", NO_CHECK,
	  0, NULL },
	{ "net/core/netdev_tstamp_prequeue", KNOB_REPORT, "1 is right",
	  CHECK(IF_IS, 0, "packets are stamped after they waited: times of calls are late") },
	{ "net/core/default_qdisc", KNOB_REFUSE, "for sending; we receive", NO_CHECK, 0, NULL },
	{ "net/core/rps_default_mask", KNOB_REFUSE,
	  "would silently apply to every interface that appears, of containers too", NO_CHECK, 0,
	  NULL },
	{ "net/core/rps_sock_flow_entries", KNOB_REPORT,
	  "of no use to packet sockets and UDP; with many HEP agents over TCP a person may set "
	  "32768",
	  NO_CHECK, 0, NULL },
	{ "net/ipv4/udp_mem", KNOB_SET,
	  "pages, not bytes; raised only if our sockets need more than a quarter, to RAM/4 at most",
	  NO_CHECK, 0, NULL },
	{ "net/ipv4/udp_rmem_min", KNOB_REFUSE, "a floor per socket that ignores udp_mem",
	  CHECK(IF_ABOVE, 65536, "each UDP socket keeps that much even when memory runs out") },
	{ "net/ipv4/udp_wmem_min", KNOB_REFUSE, "has no effect: the kernel does not account it",
	  NO_CHECK, 0, NULL },
	{ "net/ipv4/udp_early_demux", KNOB_REPORT, "0 would save a lookup; not worth a change",
	  NO_CHECK, 0, NULL },
	{ "net/ipv4/ipfrag_high_thresh", KNOB_SET, "16 MiB where reassembly fails", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/ipfrag_time", KNOB_SET, "10 s where reassembly fails", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_rmem", KNOB_REFUSE,
	  "the numbers of guides lower today's maximum and initial window", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_wmem", KNOB_REFUSE, "as tcp_rmem", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_mem", KNOB_REFUSE, "pages, not bytes; the kernel sizes it by RAM", NO_CHECK,
	  0, NULL },
	{ "net/ipv4/tcp_max_orphans", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "net/unix/max_dgram_qlen", KNOB_REFUSE, "no socket of ours depends on it", NO_CHECK, 0,
	  NULL },
	/* ---- TCP ---- */
	{ "net/core/somaxconn", KNOB_REPORT, "our listen() asks for 4096",
	  CHECK(IF_BELOW, 4096,
		"bursts of HEP agents that connect at once are cut short; set 4096") },
	{ "net/ipv4/tcp_max_syn_backlog", KNOB_REPORT,
	  "bounded by the listener's backlog anyway; syncookies cover the rest", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_syncookies", KNOB_REFUSE, "stays at 1",
	  CHECK(IF_IS, 0, "a flood of SYNs locks HEP agents out; set 1, the default") },
	{ "net/ipv4/tcp_timestamps", KNOB_REFUSE, "stays at 1",
	  CHECK(IF_IS, 0,
		"no PAWS, no round-trip times, and options are lost with syncookies; set 1, the "
		"default") },
	{ "net/ipv4/tcp_sack", KNOB_REFUSE, "stays at 1",
	  CHECK(IF_IS, 0, "one lost packet stalls an agent's whole stream; set 1, the default") },
	{ "net/ipv4/tcp_window_scaling", KNOB_REFUSE, "stays at 1",
	  CHECK(IF_IS, 0, "no window beyond 64 KiB: distant agents are slow; set 1, the default") },
	{ "net/ipv4/tcp_no_metrics_save", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_tw_recycle", KNOB_REFUSE,
	  "gone since kernel 4.12, after it had broken agents behind NAT",
	  CHECK(IF_IS_NOT, 0, "agents behind one NAT address cannot connect; set 0") },
	{ "net/ipv4/tcp_tw_reuse", KNOB_REFUSE, "for outgoing connections only", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_max_tw_buckets", KNOB_REFUSE, "the default is right", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_fin_timeout", KNOB_REFUSE,
	  "of orphans in FIN-WAIT-2, not of TIME_WAIT as guides believe", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_keepalive_time", KNOB_OWN, "TCP_KEEPIDLE of our sockets", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_keepalive_intvl", KNOB_OWN, "TCP_KEEPINTVL of our sockets", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_keepalive_probes", KNOB_OWN, "TCP_KEEPCNT of our sockets", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_retries2", KNOB_OWN, "TCP_USER_TIMEOUT of our sockets", NO_CHECK, 0, NULL },
	{ "net/ipv4/tcp_syn_retries", KNOB_REFUSE, "for outgoing connections only", NO_CHECK, 0,
	  NULL },
	{ "net/ipv4/tcp_rfc1337", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "net/ipv4/ip_local_port_range", KNOB_REPORT,
	  "looked at: our listen ports should lie outside it", NO_CHECK, 0, NULL },
	{ "net/ipv4/ip_nonlocal_bind", KNOB_OWN,
	  "IP_FREEBIND of a socket does it; for the whole host it hides mistyped addresses",
	  CHECK(IF_IS, 1, "a mistyped listen address of any program goes unnoticed") },
	/* ---- conntrack ---- */
	{ "net/netfilter/nf_conntrack_count", KNOB_REPORT, "looked at", NO_CHECK, 0, NULL },
	{ "net/netfilter/nf_conntrack_max", KNOB_REPORT,
	  "left as it is; the numbers of guides lower today's default", NO_CHECK, 0, NULL },
	{ "net/netfilter/nf_conntrack_buckets", KNOB_REPORT, "looked at: max/buckets at most 4",
	  NO_CHECK, 0, NULL },
	{ "nf_conntrack hashsize", KNOB_REPORT, "as nf_conntrack_buckets", NO_CHECK, 0, NULL },
	{ "nf_conntrack timeouts", KNOB_REPORT,
	  "left as they are: acct, checksum, events, expect_max, generic_timeout, icmp_timeout, "
	  "log_invalid, tcp_be_liberal, tcp_loose, tcp_max_retrans, tcp_timeout_*, timestamp, "
	  "udp_timeout, udp_timeout_stream",
	  NO_CHECK, 0, NULL },
	{ "net/netfilter/nf_conntrack_helper", KNOB_REPORT, "a SIP helper on 5060 slows capture",
	  CHECK(IF_IS, 1, "the SIP helper looks into each packet of port 5060; set 0") },
	{ "removing conntrack modules", KNOB_REFUSE,
	  "takes the firewall with it; a notrack rule for the HEP ports does what is wanted",
	  NO_CHECK, 0, NULL },
	/* ---- memory, files, disks ---- */
	{ "vm/swappiness", KNOB_SET, "10 where there is swap and it is higher", NO_CHECK, 0, NULL },
	{ "swap off", KNOB_REFUSE, "not ours to do; our own share of it is a metric", NO_CHECK, 0,
	  NULL },
	{ "vm/dirty_ratio", KNOB_REPORT,
	  "left as it is; dirty_bytes of 1 GiB is better for a host with a database",
	  CHECK(IF_ABOVE, 40,
		"writing is put off until much has piled up, and then the disk stalls for long; 20 "
		"is the default") },
	{ "vm/dirty_background_ratio", KNOB_REPORT,
	  "left as it is; dirty_background_bytes of 64 to 256 MiB is better", NO_CHECK, 0, NULL },
	{ "vm/dirty_bytes", KNOB_REPORT, "setting it zeroes dirty_ratio", NO_CHECK, 0, NULL },
	{ "vm/dirty_background_bytes", KNOB_REPORT, "setting it zeroes dirty_background_ratio",
	  NO_CHECK, 0, NULL },
	{ "vm/max_map_count", KNOB_REFUSE, "for other programs only", NO_CHECK, 0, NULL },
	{ "vm/min_free_kbytes", KNOB_REPORT, "looked at where a NIC has 10 Gbit/s or more",
	  NO_CHECK, 0, NULL },
	{ "vm/zone_reclaim_mode", KNOB_REPORT, "0 is right",
	  CHECK(IF_IS_NOT, 0, "memory of a node is reclaimed while others have some; set 0") },
	{ "vm/nr_hugepages", KNOB_REPORT, "rings of ours do without", NO_CHECK, 0, NULL },
	{ "vm/overcommit_memory", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "vm/stat_interval", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "kernel/numa_balancing", KNOB_SET, "0 on machines with several nodes", NO_CHECK, 0,
	  NULL },
	{ "kernel/timer_migration", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "kernel/nmi_watchdog", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "kernel/sched_rt_runtime_us", KNOB_REPORT, "left as it is", NO_CHECK, 0, NULL },
	{ "kernel/shmmax", KNOB_REFUSE, "the default is no limit; guides' numbers break databases",
	  CHECK(IF_BELOW, 1 << 30, "less than 1 GiB of shared memory: a database may not start") },
	{ "kernel/shmall", KNOB_REFUSE, "as shmmax; in pages",
	  CHECK(IF_BELOW, 262144, "less than 1 GiB of shared memory for all programs together") },
	{ "kernel/sem", KNOB_REFUSE, "the default is larger than guides' numbers", NO_CHECK, 0,
	  NULL },
	{ "fs/file-max", KNOB_REFUSE, "the default is larger than guides' numbers",
	  CHECK(IF_BELOW, 100000, "all programs together may run out of files") },
	{ "fs/file-nr", KNOB_REPORT, "looked at: no more than 80 % of fs.file-max", NO_CHECK, 0,
	  NULL },
	{ "fs/nr_open", KNOB_REPORT, "looked at: at least what our unit asks for",
	  CHECK(IF_BELOW, 65536, "a unit that asks for more open files does not start") },
	{ "fs/inode-max", KNOB_REFUSE, "does not exist any more", NO_CHECK, 0, NULL },
	{ "fs/epoll/max_user_watches", KNOB_REPORT, "looked at: twice as many as agents",
	  CHECK(IF_BELOW, 8192, "fewer HEP agents can be connected than we allow") },
	{ "fs/epoll/max_user_instances", KNOB_REPORT, "gone in new kernels", NO_CHECK, 0, NULL },
	{ "mount option noatime", KNOB_REPORT, "relatime, the default, is as good; never remounted",
	  NO_CHECK, 0, NULL },
	{ "mount option async", KNOB_REPORT, "looked at: sync slows the spool; never remounted",
	  NO_CHECK, 0, NULL },
	{ "journal of the file system", KNOB_REFUSE,
	  "without one a power cut loses files, the spool's too; tune2fs is never run", NO_CHECK, 0,
	  NULL },
	{ "interrupts of disks", KNOB_REPORT, "those of NVMe disks are managed by the kernel",
	  NO_CHECK, 0, NULL },
	{ "read-ahead and scheduler of disks", KNOB_REPORT, "left as they are", NO_CHECK, 0, NULL },
	/* ---- security ---- */
	{ "net/ipv4/conf/all/rp_filter", KNOB_REPORT, "security; not ours to change",
	  CHECK(IF_IS, 1,
		"HEP that comes in on another NIC than the way back leads over is dropped "
		"silently; 2 "
		"is loose, and safe enough") },
	{ "net/ipv4/conf/all/log_martians", KNOB_REPORT, "security; not ours to change", NO_CHECK,
	  0, NULL },
	{ "net/ipv6/conf/all/disable_ipv6", KNOB_REFUSE, "security; not ours to change",
	  CHECK(IF_IS, 1, "listening on [::] fails, and HEP over IPv6 is ignored") },
	{ "net/ipv4/ip_forward", KNOB_REPORT, "security; not ours to change", NO_CHECK, 0, NULL },
	{ "accept_source_route, accept_redirects, secure_redirects, send_redirects", KNOB_REFUSE,
	  "security; does nothing for us", NO_CHECK, 0, NULL },
	{ "icmp_echo_ignore_broadcasts, icmp_ignore_bogus_error_responses", KNOB_REFUSE,
	  "security; does nothing for us", NO_CHECK, 0, NULL },
	{ "protected_hardlinks, protected_symlinks, kptr_restrict, ptrace_scope, "
	  "perf_event_paranoid, "
	  "randomize_va_space, kernel.panic",
	  KNOB_REFUSE, "security; does nothing for us", NO_CHECK, 0, NULL },
	/* ---- process, unit, limits ---- */
	{ "/etc/security/limits.d", KNOB_REFUSE, "services do not read it; the unit has the limits",
	  NO_CHECK, 0, NULL },
	{ "open files", KNOB_OWN, "the soft limit is raised to the hard one; the unit sets that",
	  NO_CHECK, 0, NULL },
	{ "locked memory", KNOB_OWN, "the unit sets it", NO_CHECK, 0, NULL },
	{ "core files", KNOB_OWN, "none: they would hold SIP, which is personal data", NO_CHECK, 0,
	  NULL },
	{ "limits of stack, data, fsize, as, rss, cpu, nproc, locks, sigpending, msgqueue",
	  KNOB_REPORT, "the defaults are right", NO_CHECK, 0, NULL },
	{ "OOM score", KNOB_OWN, "OOMScoreAdjust of the unit; never -1000", NO_CHECK, 0, NULL },
	{ "real-time priority", KNOB_REFUSE,
	  "a busy capture thread would starve the softirq of its own core", NO_CHECK, 0, NULL },
	{ "nice", KNOB_REPORT, "0 is right; a positive one, as in old units, slows capture",
	  NO_CHECK, 0, NULL },
	{ "transparent huge pages", KNOB_OWN, "madvise for large pools only", NO_CHECK, 0, NULL },
	{ "LD_BIND_NOW", KNOB_OWN, "linked that way", NO_CHECK, 0, NULL },
	{ "affinity of threads", KNOB_OWN, "by the placement", NO_CHECK, 0, NULL },
	{ "CPU governor", KNOB_REPORT, "performance avoids slow first packets; not ours to change",
	  NO_CHECK, 0, NULL },
	/* ---- NICs ---- */
	{ "affinity of interrupts", KNOB_SET, "one core for each queue, by the placement", NO_CHECK,
	  0, NULL },
	{ "default_smp_affinity", KNOB_REPORT, "hits every later interrupt of the host", NO_CHECK,
	  0, NULL },
	{ "irqbalance", KNOB_REPORT, "never stopped; what to ban is printed", NO_CHECK, 0, NULL },
	{ "RPS", KNOB_SET, "where a NIC has fewer queues than threads", NO_CHECK, 0, NULL },
	{ "RFS", KNOB_REPORT, "of no use to packet sockets and UDP", NO_CHECK, 0, NULL },
	{ "XPS", KNOB_REPORT, "for sending; we receive", NO_CHECK, 0, NULL },
	{ "threaded NAPI", KNOB_REPORT, "its thread would compete with the capture thread",
	  NO_CHECK, 0, NULL },
	{ "gro_flush_timeout, napi_defer_hard_irqs", KNOB_REPORT, "adds latency", NO_CHECK, 0,
	  NULL },
	{ "channels", KNOB_SET, "as many as there are cores for them; resets the NIC", NO_CHECK, 0,
	  NULL },
	{ "receive hash", KNOB_REPORT,
	  "not changed: HASH fanout needs no symmetric one, and the key belongs to all users",
	  NO_CHECK, 0, NULL },
	{ "receive ring", KNOB_SET, "10 ms of packets, never lowered; resets the NIC", NO_CHECK, 0,
	  NULL },
	{ "transmit ring", KNOB_REFUSE, "for sending; we receive", NO_CHECK, 0, NULL },
	{ "coalescing", KNOB_SET, "50 us where it is out of 30 to 125", NO_CHECK, 0, NULL },
	{ "pause frames", KNOB_SET, "off on mirror ports: they can stall the switch's mirror",
	  NO_CHECK, 0, NULL },
	{ "txqueuelen", KNOB_REPORT, "for sending; we receive", NO_CHECK, 0, NULL },
	{ "speed, duplex, autonegotiation", KNOB_REFUSE,
	  "without autonegotiation a gigabit link fails or falls to half duplex", NO_CHECK, 0,
	  NULL },
	{ "MTU", KNOB_REPORT, "a mirror with tunnels or tags needs more than 1500", NO_CHECK, 0,
	  NULL },
	{ "LRO", KNOB_SET, "off on mirror ports: it merges segments for good", NO_CHECK, 0, NULL },
	{ "GRO", KNOB_SET, "off on mirror ports: frames of 60 KiB arrive instead of packets",
	  NO_CHECK, 0, NULL },
	{ "GSO, TSO, scatter-gather", KNOB_REFUSE, "for sending; we receive", NO_CHECK, 0, NULL },
	{ "VLAN offload, checksum offload", KNOB_REFUSE, "we read both ways", NO_CHECK, 0, NULL },
};
const unsigned knob_count = sizeof(knobs) / sizeof(knobs[0]);

const char *verdict_name(enum verdict v)
{
	static const char *const names[] = { "set", "own", "reported", "refused" };

	return names[v];
}

static struct finding *room_for_one(struct findings *to)
{
	if (to->count == to->room) {
		unsigned room = to->room ? to->room * 2 : 32;
		struct finding *more = realloc(to->list, room * sizeof(*more));

		if (!more) {
			to->is_short = true;
			return NULL;
		}
		to->list = more;
		to->room = room;
	}
	return &to->list[to->count++];
}

void finding_add(struct findings *to, enum verdict v, const char *object, const char *now,
		 const char *format, ...)
{
	struct finding *f = room_for_one(to);
	va_list args;

	if (!f)
		return;
	*f = (struct finding){ .verdict = v };
	snprintf(f->object, sizeof(f->object), "%s", object);
	snprintf(f->now, sizeof(f->now), "%s", now);
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static bool hurts(const struct knob *k, const char *value)
{
	unsigned long long big = strtoull(value, NULL, 10); /* kernel.shmmax has 64 bits */
	int64_t n = value[0] == '-'   ? strtoll(value, NULL, 10)
		    : big > INT64_MAX ? INT64_MAX
				      : (int64_t)big;

	switch (k->check) {
	case IF_IS:
		return n == k->limit;
	case IF_IS_NOT:
		return n != k->limit;
	case IF_ABOVE:
		return n > k->limit;
	case IF_BELOW:
		return n < k->limit;
	case NO_CHECK:
		break;
	}
	return false;
}

void knobs_check(const struct facts *f, struct findings *to)
{
	for (unsigned i = 0; i < knob_count; i++) {
		const struct knob *k = &knobs[i];
		char value[FACTS_VALUE];

		if (k->check != NO_CHECK && facts_sysctl(f, k->name, value, sizeof(value)) &&
		    hurts(k, value))
			finding_add(to, k->verdict, k->name, value, "%s", k->hurts);
	}
}
