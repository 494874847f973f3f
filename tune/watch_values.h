/**
 * @file
 * The numbers of a host that are there once: where each is and how it is shown. A line is
 *
 *     X(id, file, section, name, scale, metric, label)
 *
 * with a section of text_table() and the like, or the place of a number of the first line. Lines of
 * one metric stand together.
 */
#pragma once

#define WATCH_VALUES_LIST(X)                                                                       \
	X(TCP_LISTEN_OVERFLOWS, NETSTAT, "TcpExt:", "ListenOverflows", ONE,                        \
	  "heptap_host_tcp_events_total", "event=\"listen_overflows\"")                            \
	X(TCP_LISTEN_DROPS, NETSTAT, "TcpExt:", "ListenDrops", ONE,                                \
	  "heptap_host_tcp_events_total", "event=\"listen_drops\"")                                \
	X(TCP_BACKLOG_DROP, NETSTAT, "TcpExt:", "TCPBacklogDrop", ONE,                             \
	  "heptap_host_tcp_events_total", "event=\"backlog_drops\"")                               \
	X(TCP_RCVQ_DROP, NETSTAT, "TcpExt:", "TCPRcvQDrop", ONE, "heptap_host_tcp_events_total",   \
	  "event=\"receive_queue_drops\"")                                                         \
	X(TCP_PRUNED, NETSTAT, "TcpExt:", "PruneCalled", ONE, "heptap_host_tcp_events_total",      \
	  "event=\"pruned\"")                                                                      \
	X(TCP_TW, NETSTAT, "TcpExt:", "TW", ONE, "heptap_host_tcp_events_total",                   \
	  "event=\"time_wait\"")                                                                   \
	X(TCP_TW_RECYCLED, NETSTAT, "TcpExt:", "TWRecycled", ONE, "heptap_host_tcp_events_total",  \
	  "event=\"time_wait_recycled\"")                                                          \
	X(TCP_TW_KILLED, NETSTAT, "TcpExt:", "TWKilled", ONE, "heptap_host_tcp_events_total",      \
	  "event=\"time_wait_killed\"")                                                            \
	X(TCP_PAWS_ACTIVE, NETSTAT, "TcpExt:", "PAWSActive", ONE, "heptap_host_tcp_events_total",  \
	  "event=\"paws_active\"")                                                                 \
	X(TCP_PAWS_ESTAB, NETSTAT, "TcpExt:", "PAWSEstab", ONE, "heptap_host_tcp_events_total",    \
	  "event=\"paws_established\"")                                                            \
	X(UDP_IN, SNMP, "Udp:", "InDatagrams", ONE, "heptap_host_udp_events_total",                \
	  "family=\"4\",event=\"received\"")                                                       \
	X(UDP_NO_PORT, SNMP, "Udp:", "NoPorts", ONE, "heptap_host_udp_events_total",               \
	  "family=\"4\",event=\"no_port\"")                                                        \
	X(UDP_ERRORS, SNMP, "Udp:", "InErrors", ONE, "heptap_host_udp_events_total",               \
	  "family=\"4\",event=\"errors\"")                                                         \
	X(UDP_RCVBUF, SNMP, "Udp:", "RcvbufErrors", ONE, "heptap_host_udp_events_total",           \
	  "family=\"4\",event=\"buffer_full\"")                                                    \
	X(UDP_CSUM, SNMP, "Udp:", "InCsumErrors", ONE, "heptap_host_udp_events_total",             \
	  "family=\"4\",event=\"checksum\"")                                                       \
	X(UDP_MEM, SNMP, "Udp:", "MemErrors", ONE, "heptap_host_udp_events_total",                 \
	  "family=\"4\",event=\"memory\"")                                                         \
	X(UDP6_IN, SNMP6, "", "Udp6InDatagrams", ONE, "heptap_host_udp_events_total",              \
	  "family=\"6\",event=\"received\"")                                                       \
	X(UDP6_NO_PORT, SNMP6, "", "Udp6NoPorts", ONE, "heptap_host_udp_events_total",             \
	  "family=\"6\",event=\"no_port\"")                                                        \
	X(UDP6_ERRORS, SNMP6, "", "Udp6InErrors", ONE, "heptap_host_udp_events_total",             \
	  "family=\"6\",event=\"errors\"")                                                         \
	X(UDP6_RCVBUF, SNMP6, "", "Udp6RcvbufErrors", ONE, "heptap_host_udp_events_total",         \
	  "family=\"6\",event=\"buffer_full\"")                                                    \
	X(UDP6_CSUM, SNMP6, "", "Udp6InCsumErrors", ONE, "heptap_host_udp_events_total",           \
	  "family=\"6\",event=\"checksum\"")                                                       \
	X(UDP6_MEM, SNMP6, "", "Udp6MemErrors", ONE, "heptap_host_udp_events_total",               \
	  "family=\"6\",event=\"memory\"")                                                         \
	X(IP_REASM_FAILS, SNMP, "Ip:", "ReasmFails", ONE, "heptap_host_ip_events_total",           \
	  "family=\"4\",event=\"reassembly_failed\"")                                              \
	X(IP_REASM_TIMEOUT, SNMP, "Ip:", "ReasmTimeout", ONE, "heptap_host_ip_events_total",       \
	  "family=\"4\",event=\"reassembly_timeout\"")                                             \
	X(IP_RP_FILTER, NETSTAT, "TcpExt:", "IPReversePathFilter", ONE,                            \
	  "heptap_host_ip_events_total", "family=\"4\",event=\"reverse_path\"")                    \
	X(IP6_REASM_FAILS, SNMP6, "", "Ip6ReasmFails", ONE, "heptap_host_ip_events_total",         \
	  "family=\"6\",event=\"reassembly_failed\"")                                              \
	X(IP6_REASM_TIMEOUT, SNMP6, "", "Ip6ReasmTimeout", ONE, "heptap_host_ip_events_total",     \
	  "family=\"6\",event=\"reassembly_timeout\"")                                             \
	X(SOCKETS_USED, SOCKSTAT, "sockets:", "used", ONE, "heptap_host_sockets", "kind=\"all\"")  \
	X(SOCKETS_TCP, SOCKSTAT, "TCP:", "inuse", ONE, "heptap_host_sockets", "kind=\"tcp\"")      \
	X(SOCKETS_ORPHAN, SOCKSTAT, "TCP:", "orphan", ONE, "heptap_host_sockets",                  \
	  "kind=\"tcp_orphan\"")                                                                   \
	X(SOCKETS_TW, SOCKSTAT, "TCP:", "tw", ONE, "heptap_host_sockets",                          \
	  "kind=\"tcp_time_wait\"")                                                                \
	X(SOCKETS_ALLOC, SOCKSTAT, "TCP:", "alloc", ONE, "heptap_host_sockets",                    \
	  "kind=\"tcp_allocated\"")                                                                \
	X(SOCKETS_UDP, SOCKSTAT, "UDP:", "inuse", ONE, "heptap_host_sockets", "kind=\"udp\"")      \
	X(SOCKETS_TCP6, SOCKSTAT6, "TCP6:", "inuse", ONE, "heptap_host_sockets", "kind=\"tcp6\"")  \
	X(SOCKETS_UDP6, SOCKSTAT6, "UDP6:", "inuse", ONE, "heptap_host_sockets", "kind=\"udp6\"")  \
	X(MEMORY_TCP, SOCKSTAT, "TCP:", "mem", PAGES, "heptap_host_socket_memory_bytes",           \
	  "kind=\"tcp\"")                                                                          \
	X(MEMORY_UDP, SOCKSTAT, "UDP:", "mem", PAGES, "heptap_host_socket_memory_bytes",           \
	  "kind=\"udp\"")                                                                          \
	X(MEMORY_FRAG, SOCKSTAT, "FRAG:", "memory", ONE, "heptap_host_socket_memory_bytes",        \
	  "kind=\"fragments\"")                                                                    \
	X(MEMORY_FRAG6, SOCKSTAT6, "FRAG6:", "memory", ONE, "heptap_host_socket_memory_bytes",     \
	  "kind=\"fragments6\"")                                                                   \
	X(MEMORY_TCP_MOST, TCP_MEM, "2", "", PAGES, "heptap_host_socket_memory_limit_bytes",       \
	  "kind=\"tcp\"")                                                                          \
	X(MEMORY_UDP_MOST, UDP_MEM, "2", "", PAGES, "heptap_host_socket_memory_limit_bytes",       \
	  "kind=\"udp\"")                                                                          \
	X(FILES_ALLOCATED, FILE_NR, "0", "", ONE, "heptap_host_files", "kind=\"allocated\"")       \
	X(FILES_UNUSED, FILE_NR, "1", "", ONE, "heptap_host_files", "kind=\"unused\"")             \
	X(FILES_MOST, FILE_NR, "2", "", ONE, "heptap_host_files", "kind=\"limit\"")                \
	X(DENTRIES_ALL, DENTRIES, "0", "", ONE, "heptap_host_dentries", "kind=\"all\"")            \
	X(DENTRIES_UNUSED, DENTRIES, "1", "", ONE, "heptap_host_dentries", "kind=\"unused\"")      \
	X(INODES_ALL, INODES, "0", "", ONE, "heptap_host_inodes", "kind=\"all\"")                  \
	X(INODES_UNUSED, INODES, "1", "", ONE, "heptap_host_inodes", "kind=\"unused\"")            \
	X(TRACKED, TRACKED, "0", "", ONE, "heptap_host_conntrack_entries", "")                     \
	X(TRACKED_MOST, TRACKED_MAX, "0", "", ONE, "heptap_host_conntrack_limit", "")              \
	X(TRACKED_BUCKETS, TRACKED_BUCKETS, "0", "", ONE, "heptap_host_conntrack_buckets", "")     \
	X(TRACK_INSERT_FAILED, TRACKED_STAT, "", "insert_failed", ONE,                             \
	  "heptap_host_conntrack_events_total", "event=\"insert_failed\"")                         \
	X(TRACK_DROP, TRACKED_STAT, "", "drop", ONE, "heptap_host_conntrack_events_total",         \
	  "event=\"drop\"")                                                                        \
	X(TRACK_EARLY_DROP, TRACKED_STAT, "", "early_drop", ONE,                                   \
	  "heptap_host_conntrack_events_total", "event=\"early_drop\"")                            \
	X(MEMORY_AVAILABLE, MEMINFO, "", "MemAvailable:", KIB, "heptap_host_memory_bytes",         \
	  "kind=\"available\"")                                                                    \
	X(MEMORY_SHARED, MEMINFO, "", "Shmem:", KIB, "heptap_host_memory_bytes",                   \
	  "kind=\"shared\"")                                                                       \
	X(MEMORY_SWAP_FREE, MEMINFO, "", "SwapFree:", KIB, "heptap_host_memory_bytes",             \
	  "kind=\"swap_free\"")                                                                    \
	X(OUR_SWAPPED, STATUS, "", "VmSwap:", KIB, "heptap_process_memory_bytes",                  \
	  "kind=\"swapped\"")                                                                      \
	X(OUR_LOCKED, STATUS, "", "VmLck:", KIB, "heptap_process_memory_bytes", "kind=\"locked\"") \
	X(OUR_FILES, COUNTED, "", "", ONE, "heptap_process_open_files", "")                        \
	X(OUR_FILES_MOST, COUNTED, "", "", ONE, "heptap_process_open_files_limit", "")             \
	X(OUR_OOM, OOM, "0", "", ONE, "heptap_process_oom_score", "")                              \
	X(PRESSURE_CPU, PRESSURE_CPU, "some", "avg10", RATIO, "heptap_host_pressure_ratio",        \
	  "resource=\"cpu\",who=\"some\"")                                                         \
	X(PRESSURE_MEMORY, PRESSURE_MEMORY, "some", "avg10", RATIO, "heptap_host_pressure_ratio",  \
	  "resource=\"memory\",who=\"some\"")                                                      \
	X(PRESSURE_MEMORY_ALL, PRESSURE_MEMORY, "full", "avg10", RATIO,                            \
	  "heptap_host_pressure_ratio", "resource=\"memory\",who=\"all\"")                         \
	X(PRESSURE_IO, PRESSURE_IO, "some", "avg10", RATIO, "heptap_host_pressure_ratio",          \
	  "resource=\"io\",who=\"some\"")                                                          \
	X(PRESSURE_IO_ALL, PRESSURE_IO, "full", "avg10", RATIO, "heptap_host_pressure_ratio",      \
	  "resource=\"io\",who=\"all\"")                                                           \
	X(PRESSURE_CPU_SUM, PRESSURE_CPU, "some", "total", US,                                     \
	  "heptap_host_pressure_seconds_total", "resource=\"cpu\",who=\"some\"")                   \
	X(PRESSURE_MEMORY_SUM, PRESSURE_MEMORY, "some", "total", US,                               \
	  "heptap_host_pressure_seconds_total", "resource=\"memory\",who=\"some\"")                \
	X(PRESSURE_IO_SUM, PRESSURE_IO, "some", "total", US, "heptap_host_pressure_seconds_total", \
	  "resource=\"io\",who=\"some\"")                                                          \
	X(THROTTLED, CGROUP_CPU, "", "nr_throttled", ONE, "heptap_cgroup_throttled_periods_total", \
	  "")                                                                                      \
	X(THROTTLED_US, CGROUP_CPU, "", "throttled_usec", US,                                      \
	  "heptap_cgroup_throttled_seconds_total", "")                                             \
	X(THROTTLED_NS, CGROUP_CPU, "", "throttled_time", NS,                                      \
	  "heptap_cgroup_throttled_seconds_total", "")                                             \
	X(CGROUP_HIGH, CGROUP_MEMORY, "", "high", ONE, "heptap_cgroup_memory_events_total",        \
	  "event=\"high\"")                                                                        \
	X(CGROUP_MAX, CGROUP_MEMORY, "", "max", ONE, "heptap_cgroup_memory_events_total",          \
	  "event=\"max\"")                                                                         \
	X(CGROUP_OOM, CGROUP_MEMORY, "", "oom", ONE, "heptap_cgroup_memory_events_total",          \
	  "event=\"oom\"")                                                                         \
	X(CGROUP_KILLED, CGROUP_MEMORY, "", "oom_kill", ONE, "heptap_cgroup_memory_events_total",  \
	  "event=\"oom_kill\"")                                                                    \
	X(SHOOTDOWNS, COUNTED, "", "", ONE, "heptap_host_tlb_shootdowns_total", "")
