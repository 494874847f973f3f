/* CPUs, memory, limits and other programs that tune; NICs and disks have files of their own. */
#include "tune/facts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "tune/files.h"
#include "tune/managers.h"

#define CACHES_MOST 10 /* of a CPU */

/* The rest of the line that begins with @p key; NULL: there is none. */
static const char *line_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && strncmp(text, key, len) != 0) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text ? text + len + strspn(text + len, " \t") : NULL;
}

static bool read_list(const char *root, const char *path, struct cpus *out)
{
	char text[8192];

	return file_read(root, text, sizeof(text), "%s", path) > 0 && cpus_read_list(text, out);
}

/* Of all siblings that are online the first stands for the core. */
static void read_cores(struct facts *f)
{
	for (int cpu = cpus_first(&f->online); cpu >= 0;
	     cpu = cpus_next(&f->online, (unsigned)cpu + 1)) {
		char path[96];
		struct cpus siblings;

		f->core_of[cpu] = (int16_t)cpu;
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		if (!read_list(f->root, path, &siblings))
			continue;
		siblings = cpus_and(&siblings, &f->online);
		if (cpus_has(&siblings, (unsigned)cpu))
			f->core_of[cpu] = (int16_t)cpus_first(&siblings);
	}
}

/* The index says nothing of the level. */
static bool read_l3(const char *root, int cpu, struct cpus *out)
{
	char path[80], type[16];

	for (int i = 0; i < CACHES_MOST; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/cache/index%d", cpu, i);
		if (file_number(root, "%s/level", path) == 3 &&
		    file_read(root, type, sizeof(type), "%s/type", path) > 0 &&
		    strncmp(type, "Instruction", 11) != 0) {
			strcat(path, "/shared_cpu_list");
			return read_list(root, path, out) && cpus_has(out, (unsigned)cpu);
		}
	}
	return false;
}

static void read_caches(struct facts *f)
{
	memset(f->l3_of, 0xff, sizeof(f->l3_of));
	for (int cpu = cpus_first(&f->online); cpu >= 0;
	     cpu = cpus_next(&f->online, (unsigned)cpu + 1)) {
		struct cpus sharers;

		if (read_l3(f->root, cpu, &sharers))
			f->l3_of[cpu] = (int16_t)cpus_first(&sharers);
	}
}

static void read_nodes(struct facts *f)
{
	struct cpus nodes, cpus;

	f->nodes = -1;
	memset(f->node_of, 0xff, sizeof(f->node_of));
	if (!read_list(f->root, "/sys/devices/system/node/online", &nodes))
		return;
	f->nodes = (int)cpus_count(&nodes);
	for (int node = cpus_first(&nodes); node >= 0;
	     node = cpus_next(&nodes, (unsigned)node + 1)) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
		if (!read_list(f->root, path, &cpus))
			continue;
		for (int cpu = cpus_first(&cpus); cpu >= 0;
		     cpu = cpus_next(&cpus, (unsigned)cpu + 1))
			f->node_of[cpu] = (int16_t)node;
	}
}

/* The process's own list is within its cpuset already; that of the control group is asked for a
   recorded tree, whose process was a shell. */
static void read_allowed(struct facts *f, const char *status)
{
	static const char *const sets[] = { "/sys/fs/cgroup/cpuset.cpus.effective",
					    "/sys/fs/cgroup/cpuset/cpuset.effective_cpus" };
	const char *line = line_of(status, "Cpus_allowed_list:");
	struct cpus set;
	char text[8192];

	f->allowed = f->online;
	if (line) {
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, "\n"), line);
		if (cpus_read_list(text, &set))
			f->allowed = cpus_and(&f->allowed, &set);
	}
	for (int i = 0; i < 2; i++)
		if (read_list(f->root, sets[i], &set) && cpus_first(&set) >= 0)
			f->allowed = cpus_and(&f->allowed, &set);
}

static void read_isolated(struct facts *f)
{
	struct cpus quiet = { 0 };

	read_list(f->root, "/sys/devices/system/cpu/isolated", &f->isolated);
	if (read_list(f->root, "/sys/devices/system/cpu/nohz_full", &quiet))
		for (unsigned i = 0; i < CPUS_MOST / 64; i++)
			f->isolated.bits[i] |= quiet.bits[i];
}

static void read_quota(struct facts *f)
{
	char text[64];
	double quota, period;

	if (file_read(f->root, text, sizeof(text), "/sys/fs/cgroup/cpu.max") > 0 &&
	    sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0)
		f->cpu_quota = quota / period;
}

static void read_process(struct facts *f, const char *status)
{
	const char *line = line_of(status, "CapEff:");
	char limits[4096];

	f->has_rights = line != NULL;
	f->rights = line ? strtoull(line, NULL, 16) : 0;
	f->open_files_soft = f->open_files_hard = f->locked_bytes = -1;
	if (file_read(f->root, limits, sizeof(limits), "/proc/self/limits") <= 0)
		return;
	line = line_of(limits, "Max open files");
	if (line) {
		char *end;

		f->open_files_soft = strtoll(line, &end, 10);
		f->open_files_hard = strtoll(end, NULL, 10);
	}
	line = line_of(limits, "Max locked memory");
	if (line)
		f->locked_bytes =
			isdigit((unsigned char)*line) ? strtoll(line, NULL, 10) : INT64_MAX;
}

/* Columns in hexadecimal: processed, dropped, squeezed. */
static void read_softnet(struct facts *f)
{
	char *text = file_read_all(f->root, "/proc/net/softnet_stat");

	for (char *line = text; line && *line; line += strcspn(line, "\n"), line += *line != 0) {
		unsigned processed, dropped, squeezed;

		if (sscanf(line, "%x %x %x", &processed, &dropped, &squeezed) != 3)
			continue;
		f->softnet.is_known = true;
		f->softnet.processed += processed;
		f->softnet.dropped += dropped;
		f->softnet.squeezed += squeezed;
	}
	free(text);
}

static void read_shootdowns(struct facts *f)
{
	char *text = file_read_all(f->root, "/proc/interrupts");
	const char *at = text ? strstr(text, "TLB:") : NULL;

	f->tlb_shootdowns = at ? 0 : -1;
	for (at = at ? at + 4 : NULL; at;) {
		char *end;
		unsigned long long n = strtoull(at, &end, 10);

		if (end == at)
			break;
		f->tlb_shootdowns += (int64_t)n;
		at = end;
	}
	free(text);
}

/* ---- programs that move interrupts and write sysctls too ---- */

static void read_managers(struct facts *f)
{
	static const char *const files[] = { "/etc/default/irqbalance",
					     "/etc/sysconfig/irqbalance" };
	bool runs = process_find(f->root, "irqbalance") != 0;

	for (int i = 0; runs && i < 2 && !f->irqbalance[0]; i++)
		if (file_exists(f->root, "%s", files[i]))
			snprintf(f->irqbalance, sizeof(f->irqbalance), "%s", files[i]);
	if (runs && !f->irqbalance[0])
		snprintf(f->irqbalance, sizeof(f->irqbalance), "/etc");
	if (file_read(f->root, f->tuned, sizeof(f->tuned), "/etc/tuned/active_profile") > 0)
		f->tuned[strcspn(f->tuned, "\n")] = '\0';
}

/* A destination and a mask of zeros. */
static void read_management(struct facts *f)
{
	char *text = file_read_all(f->root, "/proc/net/route");

	for (char *line = text; line && *line; line += strcspn(line, "\n"), line += *line != 0) {
		unsigned to, mask;
		char name[16];

		if (sscanf(line, "%15s %x %*x %*x %*d %*d %*d %x", name, &to, &mask) == 3 &&
		    to == 0 && mask == 0) {
			snprintf(f->management, sizeof(f->management), "%s", name);
			break;
		}
	}
	free(text);
}

static void read_writable(struct facts *f)
{
	struct statvfs fs;
	char text[512];

	f->is_sys_writable = true;
	if (f->root[0] == '\0')
		f->is_sys_writable = statvfs("/proc/sys", &fs) < 0 || !(fs.f_flag & ST_RDONLY);
	else if (file_read(f->root, text, sizeof(text), "/.faults") > 0)
		f->is_sys_writable = !strstr(text, "proc/sys/* write EROFS");
}

struct facts *facts_read(const char *root, const char *const *nics, unsigned nic_count,
			 const char *spool, const char *database)
{
	struct facts *f = calloc(1, sizeof(*f));
	char status[8192], text[8192];

	if (!f)
		return NULL;
	snprintf(f->root, sizeof(f->root), "%s", root);
	root = f->root;
	host_probe(root, &f->host);
	read_list(root, "/sys/devices/system/cpu/online", &f->online);
	read_cores(f);
	read_caches(f);
	read_nodes(f);
	file_read(root, status, sizeof(status), "/proc/self/status");
	read_allowed(f, status);
	if (cpus_first(&f->allowed) >= 0)
		f->host.cpus = cpus_count(&f->allowed);
	read_isolated(f);
	read_quota(f);
	read_process(f, status);
	read_softnet(f);
	read_shootdowns(f);
	read_managers(f);
	read_management(f);
	read_writable(f);
	facts_sysctl(f, "kernel/osrelease", f->kernel, sizeof(f->kernel));
	f->swap_bytes = -1;
	if (file_read(root, text, sizeof(text), "/proc/meminfo") > 0 && line_of(text, "SwapTotal:"))
		f->swap_bytes = strtoll(line_of(text, "SwapTotal:"), NULL, 10) * 1024;
	for (unsigned i = 0; i < nic_count && i < FACTS_NICS; i++)
		facts_read_nic(f, nics[i], &f->nics[f->nic_count++]);
	if (spool)
		facts_read_disk(root, spool, &f->spool);
	if (database)
		facts_read_disk(root, database, &f->database);
	return f;
}

void facts_free(struct facts *f)
{
	for (unsigned i = 0; f && i < f->nic_count; i++)
		facts_free_nic(&f->nics[i]);
	free(f);
}

bool facts_sysctl(const struct facts *f, const char *name, char *out, size_t size)
{
	long n = file_read(f->root, out, size, "/proc/sys/%s", name);

	while (n > 0 && isspace((unsigned char)out[n - 1]))
		out[--n] = '\0';
	for (char *c = out; *c; c++)
		if (*c == '\t')
			*c = ' ';
	return n > 0;
}

int64_t facts_sysctl_number(const struct facts *f, const char *name)
{
	return file_number(f->root, "/proc/sys/%s", name);
}
