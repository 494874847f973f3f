/*
 * The table: one row per object; of two patterns that fit the first. What older guides say was
 * right for the kernels of their time: since then the defaults have overtaken most of the numbers,
 * so that writing them today makes things worse.
 */
#include "tune/knobs.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF_SYSCTLS		"/proc/sys/"
#define CHECK(how, limit, text) how, limit, text
#define NO_CHECKS		NO_CHECK, 0, NULL

const struct knob knobs[] = {
	/* ---- ourselves: threads, sockets, memory ---- */
	{ "1", "thread CPU affinity", NULL, KNOB_OWN, false,
	  "by the placement: a capture thread runs on the core of its queue, or with "
	  "tune.placement: "
	  "split beside it",
	  NO_CHECKS },
	{ "1", "thread name", NULL, KNOB_OWN, false,
	  "each says what it does, so that it is found in top -H", NO_CHECKS },
	{ "1", "nice", NULL, KNOB_REFUSE, false,
	  "left as it is: 0 is right; a positive one, as in old units, slows capture", NO_CHECKS },
	{ "1", "SCHED_FIFO/RR", NULL, KNOB_REFUSE, false,
	  "a busy capture thread would starve the softirq of its own core", NO_CHECKS },
	{ "1", "NUMA memory policy", NULL, KNOB_OWN, false,
	  "preferred, for rings, where there are several nodes: a strict policy can end one node's "
	  "memory with some free on the other",
	  NO_CHECKS },
	{ "1", "receive buffer", NULL, KNOB_OWN, false,
	  "a quarter second of the expected rate; beyond rmem_max with CAP_NET_ADMIN, and what "
	  "came of it is read back",
	  NO_CHECKS },
	{ "1", "send buffer", NULL, KNOB_REFUSE, false, "we receive; nothing is sent on",
	  NO_CHECKS },
	{ "1", "drop counter", NULL, KNOB_OWN, false,
	  "SO_RXQ_OVFL and SO_MEMINFO of each socket, as a metric", NO_CHECKS },
	{ "1", "SO_REUSEPORT", NULL, KNOB_OWN, false, "a socket for each receive thread",
	  NO_CHECKS },
	{ "1", "reuseport CPU map", NULL, KNOB_REFUSE, false,
	  "interrupts of the agents' NIC are not placed, since it is not named: no CPU belongs to "
	  "one of our threads",
	  NO_CHECKS },
	{ "1", "reuseport spread", NULL, KNOB_OWN, false,
	  "by chance where datagrams were lost because a few agents kept a few threads busy",
	  NO_CHECKS },
	{ "1", "SO_INCOMING_CPU", NULL, KNOB_REFUSE, false, "as the CPU map", NO_CHECKS },
	{ "1", "busy poll", NULL, KNOB_REFUSE, false, "it would keep a core busy for each thread",
	  NO_CHECKS },
	{ "1", "prefer busy poll / budget", NULL, KNOB_REFUSE, false,
	  "if we stall, interrupts stay masked", NO_CHECKS },
	{ "1", "batch read", NULL, KNOB_OWN, false, "recvmmsg reads many datagrams with one call",
	  NO_CHECKS },
	{ "1", "TPACKET version", NULL, KNOB_OWN, false,
	  "3: blocks of packets instead of single ones", NO_CHECKS },
	{ "1", "RX ring", NULL, KNOB_OWN, false,
	  "half a second of packets, within a sixteenth of RAM for all of them; less where that is "
	  "refused",
	  NO_CHECKS },
	{ "1", "block timeout", NULL, KNOB_OWN, false,
	  "some milliseconds: a packet waits no longer for its block to fill", NO_CHECKS },
	{ "1", "fanout", NULL, KNOB_OWN, false,
	  "by hash, which is the same for both directions; by CPU or queue half of all calls would "
	  "be split",
	  NO_CHECKS },
	{ "1", "packet filter", NULL, KNOB_OWN, false,
	  "in the kernel, by the ports and protocols that are wanted, with all fragments",
	  NO_CHECKS },
	{ "1", "promiscuous", NULL, KNOB_OWN, false,
	  "a membership of the socket's, which ends with it", NO_CHECKS },
	{ "1", "ignore own output", NULL, KNOB_OWN, false,
	  "what this host sends is not captured on a mirror port", NO_CHECKS },
	{ "1", "VLAN data", NULL, KNOB_OWN, false, "the tag is taken from the ring's own fields",
	  NO_CHECKS },
	{ "1", "timestamps", NULL, KNOB_OWN, false,
	  "the kernel's; the clock of a NIC may differ from the host's", NO_CHECKS },
	{ "1", "open files", NULL, KNOB_OWN, false,
	  "as many as the connections of the configuration may take; the hard limit with "
	  "CAP_SYS_RESOURCE only",
	  NO_CHECKS },
	{ "1", "locked memory", NULL, KNOB_REFUSE, false,
	  "nothing is locked: packet rings are the kernel's, which never swaps them", NO_CHECKS },
	{ "1", "core file", NULL, KNOB_OWN, false,
	  "the soft limit is 0: a core holds SIP, which is personal data", NO_CHECKS },
	{ "1", "stack/data/fsize/as/rss/cpu/nproc/locks/sigpending/msgqueue", NULL, KNOB_REFUSE,
	  false, "the defaults are right", NO_CHECKS },
	{ "1", "OOM score", "/proc/self/oom_score_adj", KNOB_OWN, false,
	  "OOMScoreAdjust=-500 of the unit; never -1000, which would let a leak take the host down",
	  NO_CHECKS },
	{ "1", "transparent huge pages", NULL, KNOB_OWN, false, "madvise for the large pools",
	  NO_CHECKS },
	{ "1", "huge pages for rings", NULL, KNOB_REFUSE, false,
	  "they would have to be reserved; rings of ours do without", NO_CHECKS },
	{ "1", "eager binding", NULL, KNOB_OWN, false,
	  "linked that way, so that LD_BIND_NOW is not needed", NO_CHECKS },
	{ "1", "memory accounting", NULL, KNOB_OWN, false,
	  "what tables, blocks and queues use are metrics; SIGUSR1 writes the state to the log",
	  NO_CHECKS },
	{ "1", "memory budget", NULL, KNOB_OWN, false,
	  "`memory` of the configuration bounds tables and blocks", NO_CHECKS },
	/* ---- interrupts and steering of a NIC ---- */
	{ "2.1", "IRQ affinity", "/proc/irq/*/smp_affinity_list", KNOB_START, false,
	  "one core for each queue, by the placement, and undone at stop; never of a NIC that is "
	  "not named",
	  NO_CHECKS },
	{ "2.1", "find queue IRQs", NULL, KNOB_OWN, false,
	  "those of the NIC's own device, by their names in /proc/interrupts", NO_CHECKS },
	{ "2.1", "default_smp_affinity", "/proc/irq/default_smp_affinity", KNOB_REFUSE, false,
	  "hits every later interrupt of the host", NO_CHECKS },
	{ "2.1", "irqbalance", NULL, KNOB_REPORT, false, "never stopped; what to ban is printed",
	  NO_CHECKS },
	{ "2.1", "disk IRQs", NULL, KNOB_REPORT, false,
	  "looked at: those of a spool's disk should not be served by capture cores; those of NVMe "
	  "disks are managed by the kernel",
	  NO_CHECKS },
	{ "2.1", "RPS mask", "/sys/class/net/*/queues/rx-*/rps_cpus", KNOB_FULL, false,
	  "where a NIC has fewer queues than threads; costs interrupts between cores", NO_CHECKS },
	{ "2.1", "RFS", "/sys/class/net/*/queues/rx-*/rps_flow_cnt", KNOB_REFUSE, false,
	  "of no use to packet sockets and UDP", NO_CHECKS },
	{ "2.1", "RFS", "/proc/sys/net/core/rps_sock_flow_entries", KNOB_REFUSE, false,
	  "of no use to packet sockets and UDP; with many HEP agents over TCP a person may set "
	  "32768",
	  NO_CHECKS },
	{ "2.1", "RPS default", "/proc/sys/net/core/rps_default_mask", KNOB_REFUSE, false,
	  "would silently apply to every interface that appears, of containers too", NO_CHECKS },
	{ "2.1", "XPS", "/sys/class/net/*/queues/tx-*/xps_cpus", KNOB_FULL, false,
	  "where a NIC has fewer queues than threads, so that answers to agents do not meet on one "
	  "queue; else left, for we receive",
	  NO_CHECKS },
	{ "2.1", "threaded NAPI", "/sys/class/net/*/threaded", KNOB_FULL, false,
	  "off: its threads and not the interrupts would decide on the cores", NO_CHECKS },
	{ "2.1", "deferred IRQ", "/sys/class/net/*/gro_flush_timeout", KNOB_REFUSE, false,
	  "adds latency", NO_CHECKS },
	{ "2.1", "deferred IRQ", "/sys/class/net/*/napi_defer_hard_irqs", KNOB_REFUSE, false,
	  "adds latency", NO_CHECKS },
	{ "2.1", "channels", "*/channels/combined", KNOB_FULL, false,
	  "as many as there are cores for them; resets the NIC", NO_CHECKS },
	{ "2.1", "channels", "*/channels/rx", KNOB_FULL, false,
	  "as many as there are cores for them; resets the NIC", NO_CHECKS },
	{ "2.1", "RSS hash fields", "*/rxflow/udp4", KNOB_FULL, false,
	  "by addresses alone on a mirror port: fragments of large messages have no ports",
	  NO_CHECKS },
	{ "2.1", "RSS key / symmetric", "*/rxfh/key", KNOB_REPORT, false,
	  "not changed: HASH fanout needs no symmetric one, and the key belongs to all users of "
	  "the NIC; where it is symmetric already, each queue gets a ring",
	  NO_CHECKS },
	{ "2.1", "indirection", "*/rxfh/indir", KNOB_REFUSE, false,
	  "left as it is: channels are shrunk instead", NO_CHECKS },
	/* ---- queues of a NIC ---- */
	{ "2.2", "NIC RX ring", "*/rings/rx", KNOB_FULL, true,
	  "10 ms of packets, never lowered, not simply the most, which would miss the caches; may "
	  "reset the link",
	  NO_CHECKS },
	{ "2.2", "NIC TX ring", "*/rings/tx", KNOB_REFUSE, false, "for sending; we receive",
	  NO_CHECKS },
	{ "2.2", "coalescing", "*/coalesce/rx_usecs", KNOB_FULL, false,
	  "50 us where it is not between 30 and 125; an adaptive one is left while nothing is lost",
	  NO_CHECKS },
	{ "2.2", "coalescing", "*/coalesce/adaptive_rx", KNOB_FULL, false,
	  "50 us where it is not between 30 and 125; an adaptive one is left while nothing is lost",
	  NO_CHECKS },
	{ "2.2", "coalescing", "*/coalesce/rx_frames", KNOB_REFUSE, false, "the time alone is set",
	  NO_CHECKS },
	{ "2.2", "flow control", "*/pause/rx", KNOB_FULL, false,
	  "off on mirror ports: pause frames can stall the switch's mirror", NO_CHECKS },
	{ "2.2", "flow control", "*/pause/tx", KNOB_FULL, false,
	  "off on mirror ports: pause frames can stall the switch's mirror", NO_CHECKS },
	{ "2.2", "flow control", "*/pause/autoneg", KNOB_REFUSE, false,
	  "negotiating again takes the link down", NO_CHECKS },
	{ "2.2", "txqueuelen", "/sys/class/net/*/tx_queue_len", KNOB_REFUSE, false,
	  "for sending; we receive", NO_CHECKS },
	{ "2.2", "speed/duplex/autoneg", "/sys/class/net/*/speed", KNOB_REFUSE, false,
	  "without autonegotiation a gigabit link fails or falls to half duplex", NO_CHECKS },
	{ "2.2", "speed/duplex/autoneg", "/sys/class/net/*/duplex", KNOB_REPORT, false,
	  "never set; half duplex is said: one of both ends does not negotiate", NO_CHECKS },
	{ "2.2", "MTU", "/sys/class/net/*/mtu", KNOB_REFUSE, false,
	  "left as it is; a mirror with tunnels or tags needs more than 1500", NO_CHECKS },
	{ "2.2", "GSO/TSO/SG (TX)", "*/features/tx-*", KNOB_REFUSE, false,
	  "for sending; we receive", NO_CHECKS },
	/* ---- offloads of a NIC ---- */
	{ "2.3", "LRO", "*/features/large-receive-offload", KNOB_FULL, false,
	  "off on mirror ports: it merges segments for good", NO_CHECKS },
	{ "2.3", "GRO (generic-receive-offload), rx-gro-hw", "*/features/generic-receive-offload",
	  KNOB_FULL, false, "off on mirror ports: frames of 60 KiB arrive instead of packets",
	  NO_CHECKS },
	{ "2.3", "GRO (generic-receive-offload), rx-gro-hw", "*/features/rx-gro-hw", KNOB_FULL,
	  false, "off on mirror ports: frames of 60 KiB arrive instead of packets", NO_CHECKS },
	{ "2.3", "rx-gro-list, rx-udp-gro-forwarding", "*/features/rx-gro-list", KNOB_FULL, false,
	  "off on mirror ports: datagrams are merged", NO_CHECKS },
	{ "2.3", "rx-gro-list, rx-udp-gro-forwarding", "*/features/rx-udp-gro-forwarding",
	  KNOB_FULL, false, "off on mirror ports: datagrams are merged", NO_CHECKS },
	{ "2.3", "rx-vlan-offload", "*/features/rx-vlan-offload", KNOB_REFUSE, false,
	  "the tag is read either way", NO_CHECKS },
	{ "2.3", "rx-checksumming", "*/features/rx-checksumming", KNOB_REFUSE, false,
	  "packets are taken either way", NO_CHECKS },
	{ "2.3", "receive-hashing", "*/features/receive-hashing", KNOB_REPORT, false,
	  "off costs CPU, as the kernel then computes the hash; not ours to change", NO_CHECKS },
	{ "2.3", "ntuple", "*/features/ntuple-filters", KNOB_REFUSE, false, "left as it is",
	  NO_CHECKS },
	/* ---- receive path and buffers ---- */
	{ "3.1", "net.core.rmem_max", "/proc/sys/net/core/rmem_max", KNOB_FULL, true,
	  "raised to what our sockets ask for, only where we may not pass it by", NO_CHECKS },
	{ "3.1", "net.core.rmem_default", "/proc/sys/net/core/rmem_default", KNOB_REFUSE, false,
	  "every socket of every program would get it; ours ask for theirs by themselves",
	  CHECK(IF_ABOVE, 4 << 20,
		"each socket of each program may hold that much; 212992 is the usual default") },
	{ "3.1", "net.core.wmem_max / wmem_default", "/proc/sys/net/core/wmem_max", KNOB_REFUSE,
	  false, "we receive", NO_CHECKS },
	{ "3.1", "net.core.wmem_max / wmem_default", "/proc/sys/net/core/wmem_default", KNOB_REFUSE,
	  false, "every socket of every program would get it",
	  CHECK(IF_ABOVE, 4 << 20,
		"each socket of each program may hold that much; 212992 is the usual default") },
	{ "3.1", "net.core.optmem_max", "/proc/sys/net/core/optmem_max", KNOB_REFUSE, false,
	  "for ancillary data and filters only; large values let any program take kernel memory",
	  CHECK(IF_ABOVE, 1 << 20, "any program may take that much kernel memory per socket") },
	{ "3.1", "net.core.netdev_max_backlog", "/proc/sys/net/core/netdev_max_backlog", KNOB_FULL,
	  true,
	  "raised where packets are spread in software or the queue overflowed, to 16384 at most",
	  CHECK(IF_ABOVE, 65536,
		"packets wait so long that they are stale, and a full queue holds hundreds of MiB "
		"per CPU; 1000 to 16384 is enough") },
	{ "3.1", "net.core.netdev_budget / _usecs", "/proc/sys/net/core/netdev_budget", KNOB_FULL,
	  true, "600 where softnet_stat shows more than one time_squeeze per second and CPU",
	  NO_CHECKS },
	{ "3.1", "net.core.netdev_budget / _usecs", "/proc/sys/net/core/netdev_budget_usecs",
	  KNOB_FULL, true,
	  "8000 where softnet_stat shows more than one time_squeeze per second and CPU",
	  NO_CHECKS },
	{ "3.1", "net.core.dev_weight(_rx_bias)", "/proc/sys/net/core/dev_weight", KNOB_REFUSE,
	  false, "the default is right; the budget is what helps", NO_CHECKS },
	{ "3.1", "net.core.dev_weight(_rx_bias)", "/proc/sys/net/core/dev_weight_rx_bias",
	  KNOB_REFUSE, false, "the default is right; the budget is what helps", NO_CHECKS },
	{ "3.1", "net.core.busy_poll / busy_read", "/proc/sys/net/core/busy_poll", KNOB_REPORT,
	  false, "it would change every poll() of the host",
	  CHECK(IF_ABOVE, 0, "every poll() of the host spins; costs CPU on all cores") },
	{ "3.1", "net.core.busy_poll / busy_read", "/proc/sys/net/core/busy_read", KNOB_REPORT,
	  false, "it would change every read of a socket of the host",
	  CHECK(IF_ABOVE, 0, "every read of a socket spins; costs CPU on all cores") },
	{ "3.1", "net.core.flow_limit_cpu_bitmap", "/proc/sys/net/core/flow_limit_cpu_bitmap",
	  KNOB_REPORT, false,
	  "must be 0 on CPUs that capture: it drops packets of the largest flows first",
	  NO_CHECKS },
	{ "3.1", "net.core.netdev_tstamp_prequeue", "/proc/sys/net/core/netdev_tstamp_prequeue",
	  KNOB_REPORT, false, "1 is right",
	  CHECK(IF_IS, 0, "packets are stamped after they waited: times of calls are late") },
	{ "3.1", "net.core.default_qdisc", "/proc/sys/net/core/default_qdisc", KNOB_REFUSE, false,
	  "for sending; we receive", NO_CHECKS },
	{ "3.1", "net.ipv4.udp_mem", "/proc/sys/net/ipv4/udp_mem", KNOB_FULL, true,
	  "pages, not bytes; raised only if our sockets need more than a quarter, to RAM/4 at most",
	  NO_CHECKS },
	{ "3.1", "net.ipv4.udp_rmem_min", "/proc/sys/net/ipv4/udp_rmem_min", KNOB_REFUSE, false,
	  "a floor per socket that ignores udp_mem",
	  CHECK(IF_ABOVE, 65536, "each UDP socket keeps that much even when memory runs out") },
	{ "3.1", "net.ipv4.udp_rmem_min", "/proc/sys/net/ipv4/udp_rmem", KNOB_REFUSE, false,
	  "there is no such setting; udp_rmem_min is meant", NO_CHECKS },
	{ "3.1", "net.ipv4.udp_wmem_min", "/proc/sys/net/ipv4/udp_wmem_min", KNOB_REFUSE, false,
	  "has no effect: the kernel does not account it", NO_CHECKS },
	{ "3.1", "net.ipv4.udp_early_demux", "/proc/sys/net/ipv4/udp_early_demux", KNOB_REFUSE,
	  false, "0 would save a lookup; not worth a change", NO_CHECKS },
	{ "3.1", "net.ipv4.ipfrag_high_thresh / ipfrag_time",
	  "/proc/sys/net/ipv4/ipfrag_high_thresh", KNOB_FULL, true, "16 MiB where reassembly fails",
	  NO_CHECKS },
	{ "3.1", "net.ipv4.ipfrag_high_thresh / ipfrag_time", "/proc/sys/net/ipv4/ipfrag_time",
	  KNOB_FULL, false, "10 s where reassembly fails, so that halves do not hold the memory",
	  NO_CHECKS },
	{ "3.1", "net.ipv4.tcp_rmem / tcp_wmem", "/proc/sys/net/ipv4/tcp_rmem", KNOB_REFUSE, false,
	  "the numbers of guides lower today's maximum and initial window", NO_CHECKS },
	{ "3.1", "net.ipv4.tcp_rmem / tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem", KNOB_REFUSE, false,
	  "the numbers of guides lower today's maximum and initial window", NO_CHECKS },
	{ "3.1", "net.ipv4.tcp_mem", "/proc/sys/net/ipv4/tcp_mem", KNOB_REFUSE, false,
	  "pages, not bytes; the kernel sizes it by RAM", NO_CHECKS },
	{ "3.1", "net.ipv4.tcp_max_orphans", "/proc/sys/net/ipv4/tcp_max_orphans", KNOB_REFUSE,
	  false, "left as it is: the kernel sizes it by RAM", NO_CHECKS },
	{ "3.1", "unix.max_dgram_qlen", "/proc/sys/net/unix/max_dgram_qlen", KNOB_REFUSE, false,
	  "no socket of ours depends on it", NO_CHECKS },
	/* ---- TCP ---- */
	{ "3.2", "net.core.somaxconn", "/proc/sys/net/core/somaxconn", KNOB_REPORT, false,
	  "our listen() asks for 4096",
	  CHECK(IF_BELOW, 4096,
		"bursts of HEP agents that connect at once are cut short; set 4096, the default") },
	{ "3.2", "tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog", KNOB_REFUSE,
	  false, "bounded by the listener's backlog anyway; syncookies cover the rest", NO_CHECKS },
	{ "3.2", "tcp_syncookies", "/proc/sys/net/ipv4/tcp_syncookies", KNOB_REFUSE, false,
	  "stays at 1",
	  CHECK(IF_IS, 0, "a flood of SYNs locks HEP agents out; set 1, the default") },
	{ "3.2", "tcp_timestamps", "/proc/sys/net/ipv4/tcp_timestamps", KNOB_REFUSE, false,
	  "stays at 1",
	  CHECK(IF_IS, 0,
		"no PAWS, no round-trip times, and options are lost with syncookies; set 1, the "
		"default") },
	{ "3.2", "tcp_sack", "/proc/sys/net/ipv4/tcp_sack", KNOB_REFUSE, false, "stays at 1",
	  CHECK(IF_IS, 0, "one lost packet stalls an agent's whole stream; set 1, the default") },
	{ "3.2", "tcp_window_scaling", "/proc/sys/net/ipv4/tcp_window_scaling", KNOB_REFUSE, false,
	  "stays at 1",
	  CHECK(IF_IS, 0, "no window beyond 64 KiB: distant agents are slow; set 1, the default") },
	{ "3.2", "tcp_no_metrics_save", "/proc/sys/net/ipv4/tcp_no_metrics_save", KNOB_REFUSE,
	  false, "left as it is: of outgoing connections", NO_CHECKS },
	{ "3.2", "tcp_tw_recycle", "/proc/sys/net/ipv4/tcp_tw_recycle", KNOB_REFUSE, false,
	  "gone since kernel 4.12, after it had broken agents behind NAT",
	  CHECK(IF_IS_NOT, 0, "agents behind one NAT address cannot connect; set 0") },
	{ "3.2", "tcp_tw_reuse", "/proc/sys/net/ipv4/tcp_tw_reuse", KNOB_REFUSE, false,
	  "for outgoing connections only", NO_CHECKS },
	{ "3.2", "tcp_max_tw_buckets", "/proc/sys/net/ipv4/tcp_max_tw_buckets", KNOB_REFUSE, false,
	  "the default is right", NO_CHECKS },
	{ "3.2", "tcp_fin_timeout", "/proc/sys/net/ipv4/tcp_fin_timeout", KNOB_REFUSE, false,
	  "of orphans in FIN-WAIT-2, not of TIME_WAIT as guides believe", NO_CHECKS },
	{ "3.2", "tcp_keepalive_time/intvl/probes", "/proc/sys/net/ipv4/tcp_keepalive_time",
	  KNOB_OWN, false, "TCP_KEEPIDLE of our sockets; the host's is left", NO_CHECKS },
	{ "3.2", "tcp_keepalive_time/intvl/probes", "/proc/sys/net/ipv4/tcp_keepalive_intvl",
	  KNOB_OWN, false, "TCP_KEEPINTVL of our sockets; the host's is left", NO_CHECKS },
	{ "3.2", "tcp_keepalive_time/intvl/probes", "/proc/sys/net/ipv4/tcp_keepalive_probes",
	  KNOB_OWN, false, "TCP_KEEPCNT of our sockets; the host's is left", NO_CHECKS },
	{ "3.2", "tcp_retries2", "/proc/sys/net/ipv4/tcp_retries2", KNOB_OWN, false,
	  "TCP_USER_TIMEOUT of our sockets; the host's is left", NO_CHECKS },
	{ "3.2", "tcp_syn_retries", "/proc/sys/net/ipv4/tcp_syn_retries", KNOB_REFUSE, false,
	  "for outgoing connections only", NO_CHECKS },
	{ "3.2", "tcp_rfc1337", "/proc/sys/net/ipv4/tcp_rfc1337", KNOB_REFUSE, false,
	  "left as it is: not of performance", NO_CHECKS },
	{ "3.2", "ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range", KNOB_REPORT,
	  false, "looked at: our listen ports should lie outside it", NO_CHECKS },
	{ "3.2", "ip_nonlocal_bind", "/proc/sys/net/ipv4/ip_nonlocal_bind", KNOB_REFUSE, false,
	  "for the whole host it hides mistyped addresses",
	  CHECK(IF_IS, 1, "a mistyped listen address of any program goes unnoticed") },
	{ "3.2", "TCP connection limits", NULL, KNOB_OWN, false,
	  "threads by the placement; agents and the buffer of each are bounded by the "
	  "configuration",
	  NO_CHECKS },
	/* ---- conntrack ---- */
	{ "3.3", "is it active?", "/proc/sys/net/netfilter/nf_conntrack_count", KNOB_REPORT, false,
	  "looked at; modules are never removed, which would take the firewall with them",
	  NO_CHECKS },
	{ "3.3", "notrack rule", "nft/inet/heptap", KNOB_FULL, false,
	  "HEP over UDP in a table of our own, where tune.manage_notrack asks for it", NO_CHECKS },
	{ "3.3", "nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_max", KNOB_REPORT, false,
	  "looked at; the numbers of guides lower today's default", NO_CHECKS },
	{ "3.3", "nf_conntrack_max", "/proc/sys/net/nf_conntrack_max", KNOB_REPORT, false,
	  "the same as net.netfilter.nf_conntrack_max", NO_CHECKS },
	{ "3.3", "nf_conntrack_max", "/proc/sys/net/ipv4/ip_conntrack_max", KNOB_REFUSE, false,
	  "gone; net.netfilter.nf_conntrack_max is what it was", NO_CHECKS },
	{ "3.3", "nf_conntrack_buckets / module hashsize",
	  "/proc/sys/net/netfilter/nf_conntrack_buckets", KNOB_REPORT, false,
	  "looked at: no more than four connections in each", NO_CHECKS },
	{ "3.3", "nf_conntrack_buckets / module hashsize",
	  "/sys/module/nf_conntrack/parameters/hashsize", KNOB_REFUSE, false,
	  "the same as nf_conntrack_buckets, which is looked at; writing it doubles the memory for "
	  "a while",
	  NO_CHECKS },
	{ "3.3", "memory", NULL, KNOB_REFUSE, false,
	  "follows from nf_conntrack_max, which is looked at", NO_CHECKS },
	{ "3.3", "error text", NULL, KNOB_REFUSE, false,
	  "the kernel's log is not read: how full the table is is looked at", NO_CHECKS },
	{ "3.3", "timeouts and the rest", "/proc/sys/net/netfilter/nf_conntrack_helper",
	  KNOB_REPORT, false, "a SIP helper on 5060 slows capture",
	  CHECK(IF_IS, 1, "the SIP helper looks into each packet of port 5060; set 0") },
	{ "3.3", "timeouts and the rest", "/proc/sys/net/netfilter/nf_conntrack_*", KNOB_REFUSE,
	  false, "left as they are: a notrack rule for the HEP ports does what is wanted",
	  NO_CHECKS },
	/* ---- memory, files, disks ---- */
	{ "3.4", "vm.swappiness", "/proc/sys/vm/swappiness", KNOB_FULL, false,
	  "10 where there is swap and it is higher; 0 can end memory early", NO_CHECKS },
	{ "3.4", "swap on/off", NULL, KNOB_REFUSE, false,
	  "not ours to do; it needs memory for all that is in it", NO_CHECKS },
	{ "3.4", "vm.dirty_ratio / dirty_background_ratio", "/proc/sys/vm/dirty_ratio", KNOB_REPORT,
	  false, "looked at for the disks of spool and database; all programs share it",
	  CHECK(IF_ABOVE, 40,
		"writing is put off until much has piled up, and then the disk stalls for long; 20 "
		"is the default") },
	{ "3.4", "vm.dirty_ratio / dirty_background_ratio", "/proc/sys/vm/dirty_background_ratio",
	  KNOB_REPORT, false,
	  "looked at for the disks of spool and database; all programs share it", NO_CHECKS },
	{ "3.4", "vm.dirty_ratio / dirty_background_ratio", "/proc/sys/vm/dirty_bytes", KNOB_REPORT,
	  false, "what to set instead of dirty_ratio, which it zeroes", NO_CHECKS },
	{ "3.4", "vm.dirty_ratio / dirty_background_ratio", "/proc/sys/vm/dirty_background_bytes",
	  KNOB_REPORT, false, "what to set instead of dirty_background_ratio, which it zeroes",
	  NO_CHECKS },
	{ "3.4", "vm.max_map_count", "/proc/sys/vm/max_map_count", KNOB_REFUSE, false,
	  "for other programs only", NO_CHECKS },
	{ "3.4", "vm.min_free_kbytes", "/proc/sys/vm/min_free_kbytes", KNOB_REPORT, false,
	  "looked at where a NIC has 10 Gbit/s or more", NO_CHECKS },
	{ "3.4", "vm.zone_reclaim_mode", "/proc/sys/vm/zone_reclaim_mode", KNOB_REPORT, false,
	  "0 is right",
	  CHECK(IF_IS_NOT, 0, "memory of a node is reclaimed while others have some; set 0") },
	{ "3.4", "vm.nr_hugepages", "/proc/sys/vm/nr_hugepages", KNOB_REFUSE, false,
	  "rings of ours do without", NO_CHECKS },
	{ "3.4", "kernel.numa_balancing", "/proc/sys/kernel/numa_balancing", KNOB_FULL, false,
	  "0 on machines with several nodes: our threads are pinned, and moving pages only costs",
	  NO_CHECKS },
	{ "3.4",
	  "vm.stat_interval, kernel.timer_migration, kernel.nmi_watchdog, sched_rt_runtime_us",
	  "/proc/sys/vm/stat_interval", KNOB_REFUSE, false, "tuning for real time is not ours",
	  NO_CHECKS },
	{ "3.4",
	  "vm.stat_interval, kernel.timer_migration, kernel.nmi_watchdog, sched_rt_runtime_us",
	  "/proc/sys/kernel/timer_migration", KNOB_REFUSE, false,
	  "tuning for real time is not ours", NO_CHECKS },
	{ "3.4",
	  "vm.stat_interval, kernel.timer_migration, kernel.nmi_watchdog, sched_rt_runtime_us",
	  "/proc/sys/kernel/nmi_watchdog", KNOB_REFUSE, false, "tuning for real time is not ours",
	  NO_CHECKS },
	{ "3.4",
	  "vm.stat_interval, kernel.timer_migration, kernel.nmi_watchdog, sched_rt_runtime_us",
	  "/proc/sys/kernel/sched_rt_runtime_us", KNOB_REFUSE, false,
	  "tuning for real time is not ours", NO_CHECKS },
	{ "3.4", "kernel.shmmax / shmall", "/proc/sys/kernel/shmmax", KNOB_REFUSE, false,
	  "the default is no limit; guides' numbers break databases",
	  CHECK(IF_BELOW, 1 << 30, "less than 1 GiB of shared memory: a database may not start") },
	{ "3.4", "kernel.shmmax / shmall", "/proc/sys/kernel/shmall", KNOB_REFUSE, false,
	  "as shmmax; in pages",
	  CHECK(IF_BELOW, 262144, "less than 1 GiB of shared memory for all programs together") },
	{ "3.4", "kernel.sem", "/proc/sys/kernel/sem", KNOB_REFUSE, false,
	  "the default is larger than guides' numbers", NO_CHECKS },
	{ "3.4", "shm limits view", NULL, KNOB_REFUSE, false,
	  "our memory is anonymous: no limit of shared memory is near", NO_CHECKS },
	{ "3.4", "fs.file-max", "/proc/sys/fs/file-max", KNOB_REFUSE, false,
	  "the default is larger than guides' numbers",
	  CHECK(IF_BELOW, 100000, "all programs together may run out of files") },
	{ "3.4", "fs.file-max", "/proc/sys/fs/file-nr", KNOB_REPORT, false,
	  "looked at: no more than 80 % of fs.file-max", NO_CHECKS },
	{ "3.4", "fs.nr_open", "/proc/sys/fs/nr_open", KNOB_REPORT, false,
	  "looked at: at least what our unit asks for",
	  CHECK(IF_BELOW, 65536, "a unit that asks for more open files does not start") },
	{ "3.4", "fs.inode-max", "/proc/sys/fs/inode-max", KNOB_REFUSE, false,
	  "does not exist any more", NO_CHECKS },
	{ "3.4", "fs.epoll.max_user_watches / max_user_instances",
	  "/proc/sys/fs/epoll/max_user_watches", KNOB_REPORT, false,
	  "looked at: twice as many as agents",
	  CHECK(IF_BELOW, 8192, "fewer HEP agents can be connected than we allow") },
	{ "3.4", "fs.epoll.max_user_watches / max_user_instances",
	  "/proc/sys/fs/epoll/max_user_instances", KNOB_REFUSE, false, "gone in new kernels",
	  NO_CHECKS },
	{ "3.4", "mount options async / noatime", NULL, KNOB_REPORT, false,
	  "looked at: sync slows the spool, and relatime, the default, is as good as noatime; "
	  "nothing is mounted again",
	  NO_CHECKS },
	{ "3.4", "journal off", NULL, KNOB_REFUSE, false,
	  "without a journal a power cut loses files, the spool's too; tune2fs is never run",
	  NO_CHECKS },
	{ "3.4", "mail of disk stall", NULL, KNOB_OWN, false,
	  "threads that receive or capture never write to a disk or a database", NO_CHECKS },
	/* ---- security ---- */
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/all/rp_filter", KNOB_REPORT, false,
	  "security; not ours to change",
	  CHECK(IF_IS, 1,
		"HEP that comes in on another NIC than the way back leads over is dropped "
		"silently; 2 is loose, and safe enough") },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/rp_filter", KNOB_REPORT, false,
	  "security; looked at on the NIC of the agents", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/log_martians", KNOB_REPORT, false,
	  "security; a mirror port with an address floods the log", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv6/conf/all/disable_ipv6", KNOB_REFUSE, false,
	  "security; not ours to change",
	  CHECK(IF_IS, 1, "listening on [::] fails, and HEP over IPv6 is ignored") },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv6/conf/*/disable_ipv6", KNOB_REFUSE, false,
	  "security; not ours to change", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists", "/proc/sys/net/ipv4/ip_forward",
	  KNOB_REPORT, false, "security; looked at where there is a mirror port", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/accept_source_route", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/accept_redirects", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/secure_redirects", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/conf/*/send_redirects", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv6/conf/*/accept_source_route", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv6/conf/*/accept_redirects", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/net/ipv4/icmp_ignore_bogus_error_responses", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/fs/protected_hardlinks", KNOB_REFUSE, false, "security; does nothing for us",
	  NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/fs/protected_symlinks", KNOB_REFUSE, false, "security; does nothing for us",
	  NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists", "/proc/sys/kernel/kptr_restrict",
	  KNOB_REFUSE, false, "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/kernel/yama/ptrace_scope", KNOB_REFUSE, false, "security; does nothing for us",
	  NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/kernel/perf_event_paranoid", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists",
	  "/proc/sys/kernel/randomize_va_space", KNOB_REFUSE, false,
	  "security; does nothing for us", NO_CHECKS },
	{ "3.5", "net.ipv4 and kernel settings of security lists", "/proc/sys/kernel/panic",
	  KNOB_REFUSE, false, "security; does nothing for us", NO_CHECKS },
	/* ---- unit and boot ---- */
	{ "3.6", "/etc/security/limits.d", NULL, KNOB_REFUSE, false,
	  "services do not read it; the unit has the limits", NO_CHECKS },
	{ "3.6", "unit LimitNOFILE", NULL, KNOB_OWN, false,
	  "65536 in the unit, what the configuration needs in the drop-in of export", NO_CHECKS },
	{ "3.6", "LimitMEMLOCK", NULL, KNOB_REFUSE, false,
	  "nothing is locked, and packet rings do not count for it", NO_CHECKS },
	{ "3.6",
	  "LimitCORE/STACK/AS/RSS/DATA/FSIZE/NPROC/SIGPENDING/MSGQUEUE=infinity, TasksMax=infinity",
	  NULL, KNOB_OWN, false, "the defaults are right; TasksMax=4096 in the drop-in of export",
	  NO_CHECKS },
	{ "3.6", "MemoryLimit=infinity", NULL, KNOB_OWN, false,
	  "an obsolete name; MemoryHigh as a comment in the drop-in of export", NO_CHECKS },
	{ "3.6", "Nice=1, LimitRTPRIO=70", NULL, KNOB_REFUSE, false,
	  "neither is in the unit: the first slows capture, the second is not needed", NO_CHECKS },
	{ "3.6", "CPUAffinity=", NULL, KNOB_REFUSE, false,
	  "would confine all threads, against the placement", NO_CHECKS },
	{ "3.6", "NUMAPolicy=/NUMAMask=", NULL, KNOB_REFUSE, false,
	  "would bind all threads, against the placement", NO_CHECKS },
	{ "3.6", "OOMScoreAdjust=-500", NULL, KNOB_OWN, false, "in the unit", NO_CHECKS },
	{ "3.6", "Capabilities", NULL, KNOB_OWN, false,
	  "all are given up when sockets and rings are open", NO_CHECKS },
	{ "3.6", "privilege split", NULL, KNOB_OWN, false,
	  "the drop-in of export applies as root in a process of its own, before the start",
	  NO_CHECKS },
	{ "3.6", "Restart=, TimeoutSec=300, PrivateTmp=, After=network.target", NULL, KNOB_OWN,
	  false, "in the unit", NO_CHECKS },
	{ "3.6", "ETHTOOL_OPTS / ifcfg / rc.local / ifconfig", NULL, KNOB_REFUSE, false,
	  "obsolete; export writes .link files", NO_CHECKS },
	{ "3.6", "sysctl -p typo sysct -p, udp_rmem name, echo -15 /proc/PID/oom_adj without >",
	  NULL, KNOB_REFUSE, false, "mistakes of guides", NO_CHECKS },
	{ "3.6", "ulimit -n in init script", NULL, KNOB_OWN, false,
	  "the soft limit is raised to the hard one", NO_CHECKS },
	{ "3.6", "SELinux/AppArmor, firewall ports", NULL, KNOB_REFUSE, false,
	  "cannot be seen from inside", NO_CHECKS },
	{ "3.6", "in-kernel module with user-space fallback", NULL, KNOB_OWN, false,
	  "what makes it faster is done without where the kernel refuses it", NO_CHECKS },
	{ "3.6", "cloud instance", NULL, KNOB_OWN, false,
	  "facts are read on the host itself, whatever it is", NO_CHECKS },
	{ "3.6", "regular expressions", NULL, KNOB_OWN, false,
	  "compiled when the configuration is read", NO_CHECKS },
};
const unsigned knob_count = sizeof(knobs) / sizeof(knobs[0]);

const char *verdict_name(enum verdict v)
{
	static const char *const names[] = { "set at every start", "set in mode full", "ours alone",
					     "reported", "refused" };

	return names[v];
}

const struct knob *knob_find(const char *object)
{
	for (unsigned i = 0; i < knob_count; i++) {
		if (knobs[i].object && fnmatch(knobs[i].object, object, FNM_PATHNAME) == 0)
			return &knobs[i];
	}
	return NULL;
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
		const char *name;
		char value[FACTS_VALUE];

		if (k->check == NO_CHECK)
			continue;
		name = k->object + strlen(OF_SYSCTLS);
		if (facts_sysctl(f, name, value, sizeof(value)) && hurts(k, value))
			finding_add(to, k->verdict, name, value, "%s", k->hurts);
	}
}
