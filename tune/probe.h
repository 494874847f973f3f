/**
 * @file
 * Facts about the host, from procfs and sysfs under a root directory. What cannot be read is -1,
 * never a guess. Threads: main, at start.
 */
#pragma once
#include <stdint.h>

struct host {
	int64_t cpus;	       /* logical CPUs we may run on */
	int64_t cores;	       /* physical cores among those that are online */
	int64_t ram_bytes;     /* of the machine, or of our control group if that is less */
	int64_t rmem_max;      /* net.core.rmem_max, octets */
	int64_t udp_mem_bytes; /* middle value of net.ipv4.udp_mem, octets */
};

/** Read the facts. @p root is "" for this machine or a directory with a recorded tree. */
void host_probe(const char *root, struct host *out);
