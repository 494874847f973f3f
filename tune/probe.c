/* A handful of files, each read with one bounded read. */
#include "tune/probe.h"

#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CPUS 1024

__attribute__((format(printf, 4, 5))) static bool read_text(const char *root, char *out,
							    size_t size, const char *format, ...)
{
	char path[512], tail[256];
	va_list args;
	FILE *f;
	size_t n;

	va_start(args, format);
	vsnprintf(tail, sizeof(tail), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "%s%s", root, tail);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(out, 1, size - 1, f);
	fclose(f);
	out[n] = '\0';
	return n > 0;
}

/* "0-3,8" into one flag per CPU. */
static void cpu_list_read(const char *text, bool cpus[MAX_CPUS])
{
	while (*text >= '0' && *text <= '9') {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long i = first; i <= last && i < MAX_CPUS; i++)
			cpus[i] = true;
		text = *end == ',' ? end + 1 : end;
	}
}

/* A core is counted at the first of its siblings. */
static int64_t cores_count(const char *root)
{
	bool online[MAX_CPUS] = { false };
	char text[4096];
	int64_t cores = 0;

	if (!read_text(root, text, sizeof(text), "/sys/devices/system/cpu/online"))
		return -1;
	cpu_list_read(text, online);
	for (int i = 0; i < MAX_CPUS; i++) {
		if (!online[i])
			continue;
		if (!read_text(root, text, sizeof(text),
			       "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i) ||
		    atoi(text) == i)
			cores++;
	}
	return cores;
}

static int64_t cpus_count(const char *root)
{
	bool online[MAX_CPUS] = { false };
	char text[4096];
	cpu_set_t set;
	int64_t cpus = 0;

	if (root[0] == '\0' && sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	if (!read_text(root, text, sizeof(text), "/sys/devices/system/cpu/online"))
		return -1;
	cpu_list_read(text, online);
	for (int i = 0; i < MAX_CPUS; i++)
		cpus += online[i];
	return cpus;
}

static int64_t ram_bytes(const char *root)
{
	char text[4096], *at;
	int64_t bytes = -1, limit;

	if (read_text(root, text, sizeof(text), "/proc/meminfo") &&
	    (at = strstr(text, "MemTotal:")))
		bytes = strtoll(at + 9, NULL, 10) * 1024;
	if (read_text(root, text, sizeof(text), "/sys/fs/cgroup/memory.max") && text[0] >= '0' &&
	    text[0] <= '9') {
		limit = strtoll(text, NULL, 10);
		if (bytes < 0 || limit < bytes)
			bytes = limit;
	}
	return bytes;
}

void host_probe(const char *root, struct host *out)
{
	char text[256];
	long long low, middle;

	*out = (struct host){ .cpus = cpus_count(root),
			      .cores = cores_count(root),
			      .ram_bytes = ram_bytes(root),
			      .rmem_max = -1,
			      .udp_mem_bytes = -1 };
	if (read_text(root, text, sizeof(text), "/proc/sys/net/core/rmem_max"))
		out->rmem_max = strtoll(text, NULL, 10);
	if (read_text(root, text, sizeof(text), "/proc/sys/net/ipv4/udp_mem") &&
	    sscanf(text, "%lld %lld", &low, &middle) == 2)
		out->udp_mem_bytes = middle * sysconf(_SC_PAGESIZE);
}
