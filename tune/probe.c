#include "tune/probe.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tune/cpus.h"
#include "tune/files.h"

#define LIST_BYTES 4096

static bool online(const char *root, struct cpus *out)
{
	char text[LIST_BYTES];

	return file_read(root, text, sizeof(text), "/sys/devices/system/cpu/online") > 0 &&
	       cpus_read_list(text, out) && cpus_first(out) >= 0;
}

/* A core is counted at the first of its siblings. */
static int64_t cores_count(const char *root)
{
	struct cpus cpus, siblings;
	char text[LIST_BYTES];
	int64_t cores = 0;

	if (!online(root, &cpus))
		return -1;
	for (int i = cpus_first(&cpus); i >= 0; i = cpus_next(&cpus, (unsigned)i + 1)) {
		if (file_read(root, text, sizeof(text),
			      "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
			      i) <= 0 ||
		    !cpus_read_list(text, &siblings) || cpus_first(&siblings) == i)
			cores++;
	}
	return cores;
}

/* In a recorded tree what its process may run on. */
static int64_t cpus_allowed(const char *root)
{
	struct cpus cpus, allowed;
	char text[2 * LIST_BYTES], *at;
	cpu_set_t set;

	if (root[0] == '\0' && sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	if (!online(root, &cpus))
		return -1;
	if (file_read(root, text, sizeof(text), "/proc/self/status") > 0 &&
	    (at = strstr(text, "Cpus_allowed_list:"))) {
		at += strlen("Cpus_allowed_list:");
		at[strcspn(at, "\n")] = '\0';
		if (cpus_read_list(at + strspn(at, " \t"), &allowed))
			cpus = cpus_and(&cpus, &allowed);
	}
	return cpus_count(&cpus);
}

static int64_t ram_bytes(const char *root)
{
	static const char *const limits[] = { "/sys/fs/cgroup/memory.max",
					      "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
	char text[LIST_BYTES], *at;
	int64_t bytes = -1, limit;

	if (file_read(root, text, sizeof(text), "/proc/meminfo") > 0 &&
	    (at = strstr(text, "MemTotal:")))
		bytes = strtoll(at + 9, NULL, 10) * 1024;
	for (int i = 0; i < 2; i++) {
		limit = file_number(root, "%s", limits[i]);
		if (limit > 0 && (bytes < 0 || limit < bytes))
			bytes = limit;
	}
	return bytes;
}

void host_probe(const char *root, struct host *out)
{
	char text[256];
	long long low, middle;

	*out = (struct host){ .cpus = cpus_allowed(root),
			      .cores = cores_count(root),
			      .ram_bytes = ram_bytes(root),
			      .rmem_max = file_number(root, "/proc/sys/net/core/rmem_max"),
			      .udp_mem_bytes = -1 };
	if (file_read(root, text, sizeof(text), "/proc/sys/net/ipv4/udp_mem") > 0 &&
	    sscanf(text, "%lld %lld", &low, &middle) == 2)
		out->udp_mem_bytes = middle * sysconf(_SC_PAGESIZE);
}
