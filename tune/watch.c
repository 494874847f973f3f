/*
 * A list of files, each of a shape, and of numbers in them; then what is there for each CPU, NIC
 * and thread. A file is read once for all of its numbers.
 */
#include "tune/watch.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "conf/log.h"
#include "tune/files.h"

#define TEXT_BYTES    (1 << 20) /* some files have a line of 150 octets for each CPU */
#define PATH_BYTES    320
#define COMPLAINT     512
#define FD_TABLE_MOST 8192 /* places that are worth a walk */

enum watch_file {
	FILE_NETSTAT,
	FILE_SNMP,
	FILE_SNMP6,
	FILE_SOCKSTAT,
	FILE_SOCKSTAT6,
	FILE_TCP_MEM,
	FILE_UDP_MEM,
	FILE_FILE_NR,
	FILE_DENTRIES,
	FILE_INODES,
	FILE_TRACKED,
	FILE_TRACKED_MAX,
	FILE_TRACKED_BUCKETS,
	FILE_TRACKED_STAT,
	FILE_MEMINFO,
	FILE_STATUS,
	FILE_OOM,
	FILE_PRESSURE_CPU,
	FILE_PRESSURE_MEMORY,
	FILE_PRESSURE_IO,
	FILE_CGROUP_CPU,
	FILE_CGROUP_MEMORY,
	FILES,
	FILE_COUNTED = FILES /* by us */
};

enum shape { TABLE, PAIRS, IN_LINE, ASSIGNED, FIELDS, HEX_SUM };

/* A path of NULL is found when the watch begins. */
static const struct {
	const char *path;
	enum shape shape;
} files[FILES] = {
	[FILE_NETSTAT] = { "/proc/net/netstat", TABLE },
	[FILE_SNMP] = { "/proc/net/snmp", TABLE },
	[FILE_SNMP6] = { "/proc/net/snmp6", PAIRS },
	[FILE_SOCKSTAT] = { "/proc/net/sockstat", IN_LINE },
	[FILE_SOCKSTAT6] = { "/proc/net/sockstat6", IN_LINE },
	[FILE_TCP_MEM] = { "/proc/sys/net/ipv4/tcp_mem", FIELDS },
	[FILE_UDP_MEM] = { "/proc/sys/net/ipv4/udp_mem", FIELDS },
	[FILE_FILE_NR] = { "/proc/sys/fs/file-nr", FIELDS },
	[FILE_DENTRIES] = { "/proc/sys/fs/dentry-state", FIELDS },
	[FILE_INODES] = { "/proc/sys/fs/inode-state", FIELDS },
	[FILE_TRACKED] = { "/proc/sys/net/netfilter/nf_conntrack_count", FIELDS },
	[FILE_TRACKED_MAX] = { "/proc/sys/net/netfilter/nf_conntrack_max", FIELDS },
	[FILE_TRACKED_BUCKETS] = { "/proc/sys/net/netfilter/nf_conntrack_buckets", FIELDS },
	[FILE_TRACKED_STAT] = { "/proc/net/stat/nf_conntrack", HEX_SUM },
	[FILE_MEMINFO] = { "/proc/meminfo", PAIRS },
	[FILE_STATUS] = { "/proc/self/status", PAIRS },
	[FILE_OOM] = { "/proc/self/oom_score", FIELDS },
	[FILE_PRESSURE_CPU] = { "/proc/pressure/cpu", ASSIGNED },
	[FILE_PRESSURE_MEMORY] = { "/proc/pressure/memory", ASSIGNED },
	[FILE_PRESSURE_IO] = { "/proc/pressure/io", ASSIGNED },
	[FILE_CGROUP_CPU] = { NULL, PAIRS },
	[FILE_CGROUP_MEMORY] = { NULL, PAIRS },
};

static const struct {
	enum watch_file file;
	const char *section, *name;
} values[WATCH_VALUES] = {
#define X(id, file, section, name, scale, metric, label) { FILE_##file, section, name },
	WATCH_VALUES_LIST(X)
#undef X
};

struct watch {
	char root[FACTS_ROOT];
	char cgroup_cpu[PATH_BYTES], cgroup_memory[PATH_BYTES]; /* empty: there is none */
	struct watch_place place;
	bool was_read;
	char complaint[COMPLAINT]; /* what could not be read the first time */
	struct cpus online;
	char text[TEXT_BYTES];
};

/* ---- texts ---- */

/* What a kernel does not have is no complaint. */
static void complain(struct watch *w, const char *path, int err)
{
	size_t used = strlen(w->complaint);

	if (w->was_read || err == -ENOENT || err == -ENOTDIR)
		return;
	snprintf(w->complaint + used, sizeof(w->complaint) - used, "%s%s (%s)", used ? ", " : "",
		 path, ht_strerror(err));
}

static bool text_read(struct watch *w, const char *path)
{
	long n = file_read(w->root, w->text, sizeof(w->text), "%s", path);

	if (n < 0)
		complain(w, path, (int)n);
	return n > 0;
}

static int64_t value_find(enum shape shape, const char *text, const char *section, const char *name)
{
	switch (shape) {
	case TABLE:
		return text_table(text, section, name);
	case PAIRS:
		return text_pair(text, name);
	case IN_LINE:
		return text_in_line(text, section, name);
	case ASSIGNED:
		return text_assigned(text, section, name);
	case FIELDS:
		return text_field(text, (unsigned)(section[0] - '0'));
	case HEX_SUM:
		return text_hex_sum(text, name);
	}
	return WATCH_UNKNOWN;
}

static const char *path_of(const struct watch *w, enum watch_file file)
{
	if (file == FILE_CGROUP_CPU)
		return w->cgroup_cpu;
	return file == FILE_CGROUP_MEMORY ? w->cgroup_memory : files[file].path;
}

static void values_read(struct watch *w, struct watch_reading *out)
{
	for (int f = 0; f < FILES; f++) {
		const char *path = path_of(w, f);

		if (!path[0] || !text_read(w, path))
			continue;
		for (int v = 0; v < WATCH_VALUES; v++)
			if ((int)values[v].file == f)
				out->value[v] = value_find(files[f].shape, w->text,
							   values[v].section, values[v].name);
	}
}

/* ---- open files ---- */

static void entry_pass(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
}

/* Since 6.2 the size of the directory is their number. A walk through a large table would take
 * longer than it is worth. */
static int64_t files_open(struct watch *w)
{
	int64_t size = file_size(w->root, "/proc/self/fd");
	int count;

	if (w->root[0])
		return WATCH_UNKNOWN;
	if (size > 0)
		return size - 1; /* one is the look's */
	if (!text_read(w, "/proc/self/status") || text_pair(w->text, "FDSize:") > FD_TABLE_MOST)
		return WATCH_UNKNOWN;
	count = file_list("", "/proc/self/fd", entry_pass, NULL);
	return count > 0 ? count - 1 : WATCH_UNKNOWN; /* one is the walk's */
}

static void files_read(struct watch *w, struct watch_reading *out)
{
	struct rlimit most;

	out->value[V_OUR_FILES] = files_open(w);
	if (!w->root[0] && getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY)
		out->value[V_OUR_FILES_MOST] = (int64_t)most.rlim_cur;
}

/* ---- CPUs ---- */

/* Lines without a number are of the CPUs that are online, in their order. */
static void softnet_read(struct watch *w, struct watch_reading *out)
{
	const char *at = w->text;
	struct softnet_line line;
	int next = cpus_first(&w->online);

	if (!text_read(w, "/proc/net/softnet_stat"))
		return;
	while (softnet_next(&at, &line)) {
		int cpu = line.cpu >= 0 ? line.cpu : next;

		if (cpu < 0)
			return;
		out->cpu[cpu].has_softnet = true;
		memcpy(out->cpu[cpu].softnet, line.count, sizeof(line.count));
		next = cpus_next(&w->online, (unsigned)cpu + 1);
	}
}

static void softirqs_read(struct watch *w, struct watch_reading *out)
{
	char *text = file_read_all(w->root, "/proc/softirqs");
	struct cpu_columns columns;
	uint64_t count;
	unsigned cpu;
	struct row row;

	if (text && columns_read(text, &columns) && row_find(text, "NET_RX:", NULL, &row))
		while (row_next(&row, &columns, &cpu, &count))
			if (cpus_has(&w->online, cpu))
				out->cpu[cpu].net_rx = (int64_t)count;
	free(text);
}

static void ticks_read(struct watch *w, struct watch_reading *out)
{
	char *text = file_read_all(w->root, "/proc/stat");
	const char *at = text;
	struct cpu_ticks ticks;

	while (at && ticks_next(&at, &ticks)) {
		out->cpu[ticks.cpu].has_ticks = true;
		out->cpu[ticks.cpu].softirq = ticks.softirq;
		out->cpu[ticks.cpu].all = ticks.all;
	}
	free(text);
}

static void online_read(struct watch *w)
{
	if (!text_read(w, "/sys/devices/system/cpu/online") || !cpus_read_list(w->text, &w->online))
		w->online = (struct cpus){ 0 };
}

/* ---- interrupts ---- */

static void irq_read(const char *text, const struct cpu_columns *columns,
		     const struct watch_irq_place *place, struct watch_irq *out)
{
	char label[16];
	struct row row;
	uint64_t count;
	unsigned cpu;

	snprintf(label, sizeof(label), "%d:", place->number);
	if (!row_find(text, label, place->name, &row))
		return;
	out->all = 0;
	out->there = place->cpu < 0 ? WATCH_UNKNOWN : 0;
	while (row_next(&row, columns, &cpu, &count)) {
		out->all += (int64_t)count;
		if ((int)cpu == place->cpu)
			out->there = (int64_t)count;
	}
}

static void interrupts_read(struct watch *w, struct watch_reading *out)
{
	char *text = file_read_all(w->root, "/proc/interrupts");
	struct cpu_columns columns;
	uint64_t count;
	unsigned cpu;
	struct row row;

	if (!text || !columns_read(text, &columns)) {
		free(text);
		return;
	}
	for (unsigned n = 0; n < w->place.nic_count; n++)
		for (unsigned i = 0; i < w->place.nics[n].irq_count; i++)
			irq_read(text, &columns, &w->place.nics[n].irqs[i], &out->nics[n].irqs[i]);
	if (row_find(text, "TLB:", NULL, &row)) {
		out->value[V_SHOOTDOWNS] = 0;
		while (row_next(&row, &columns, &cpu, &count))
			out->value[V_SHOOTDOWNS] += (int64_t)count;
	}
	free(text);
}

/* ---- NICs ---- */

/* After a change of namespace /sys may still show the other one, with a NIC of the same name. */
static bool nic_is_ours(const struct watch *w, const char *nic)
{
	return w->root[0] ||
	       file_number("", "/sys/class/net/%s/ifindex", nic) == (int64_t)if_nametoindex(nic);
}

static void nic_read(const struct watch *w, const char *nic, struct watch_nic *out)
{
	static const char *const name[NIC_EVENTS] = {
		[NIC_PACKETS] = "rx_packets",	   [NIC_DROPPED] = "rx_dropped",
		[NIC_MISSED] = "rx_missed_errors", [NIC_FIFO] = "rx_fifo_errors",
		[NIC_OVER] = "rx_over_errors",	   [NIC_NO_HANDLER] = "rx_nohandler",
	};

	if (!nic_is_ours(w, nic))
		return;
	for (int i = 0; i < NIC_EVENTS; i++)
		out->event[i] =
			file_number(w->root, "/sys/class/net/%s/statistics/%s", nic, name[i]);
	if (!w->root[0])
		watch_driver_read(nic, out);
}

/* ---- threads ---- */

struct thread_list {
	struct watch *w;
	struct watch_reading *out;
};

/* Helpers of libraries may have the name of who started them, which came before. */
static bool is_named(const struct watch_reading *r, const char *name)
{
	for (unsigned i = 0; i < r->thread_count; i++)
		if (strcmp(r->threads[i].name, name) == 0)
			return true;
	return false;
}

static void thread_read(void *ctx, const char *id)
{
	struct thread_list *l = ctx;
	struct watch *w = l->w;
	struct watch_thread one = { .voluntary = WATCH_UNKNOWN,
				    .involuntary = WATCH_UNKNOWN,
				    .migrations = WATCH_UNKNOWN };

	if (l->out->thread_count == WATCH_THREADS ||
	    file_read(w->root, w->text, TEXT_BYTES, "/proc/self/task/%s/stat", id) <= 0)
		return;
	one.cpu = text_thread(w->text, one.name);
	if (one.cpu < 0 || is_named(l->out, one.name))
		return;
	if (file_read(w->root, w->text, TEXT_BYTES, "/proc/self/task/%s/status", id) > 0) {
		one.voluntary = text_pair(w->text, "voluntary_ctxt_switches:");
		one.involuntary = text_pair(w->text, "nonvoluntary_ctxt_switches:");
	}
	if (file_read(w->root, w->text, TEXT_BYTES, "/proc/self/task/%s/sched", id) > 0)
		one.migrations = text_in_line(w->text, "se.nr_migrations", ":");
	l->out->threads[l->out->thread_count++] = one;
}

/* ---- all of it ---- */

static void reading_clear(const struct watch *w, struct watch_reading *out)
{
	out->thread_count = 0;
	memset(out->value, 0xff, sizeof(out->value));
	memset(out->nics, 0xff, w->place.nic_count * sizeof(out->nics[0]));
	for (unsigned i = 0; i < CPUS_MOST; i++)
		out->cpu[i] = (struct watch_cpu){ .net_rx = WATCH_UNKNOWN };
}

void watch_read(struct watch *w, uint64_t now_us, struct watch_reading *out)
{
	struct thread_list threads = { w, out };

	reading_clear(w, out);
	out->at_us = now_us;
	online_read(w);
	values_read(w, out);
	files_read(w, out);
	softnet_read(w, out);
	softirqs_read(w, out);
	ticks_read(w, out);
	interrupts_read(w, out);
	for (unsigned i = 0; i < w->place.nic_count; i++)
		nic_read(w, w->place.nics[i].name, &out->nics[i]);
	(void)file_list(w->root, "/proc/self/task", thread_read, &threads);
	if (w->complaint[0])
		log_info("host: not watched: %s", w->complaint);
	w->complaint[0] = '\0';
	w->was_read = true;
}

/* ---- our cgroup ---- */

/* The path of the line "ID:CONTROLLERS:PATH" that has a controller, "" for version 2. */
static bool cgroup_path(const char *text, const char *controller, char *out, size_t size)
{
	size_t len = strlen(controller);

	while (*text) {
		size_t line = strcspn(text, "\n"), id = strcspn(text, ":\n");
		const char *word = text + id + 1;
		bool has = false;

		while (id < line && word < text + line && *word != ':') {
			size_t n = strcspn(word, ",:\n");

			has |= n == len && memcmp(word, controller, n) == 0;
			word += n + (word[n] == ',');
		}
		has |= id < line && len == 0 && text[id + 1] == ':';
		if (has && word < text + line && *word == ':') {
			int n = snprintf(out, size, "%.*s", (int)(text + line - word - 1),
					 word + 1);

			return n >= 0 && (size_t)n < size;
		}
		text += line + (text[line] == '\n');
	}
	return false;
}

/* The first of them that is there: ours by its path, or what a container shows as its own. */
static void cgroup_find(const struct watch *w, const char *text, const char *controller,
			const char *file, char *out)
{
	const char *const version[] = { "", controller };
	char path[PATH_BYTES / 2];

	for (int i = 0; i < 2; i++) {
		const char *of = version[i][0] ? "/" : "";

		if (!cgroup_path(text, version[i], path, sizeof(path)))
			continue;
		snprintf(out, PATH_BYTES, "/sys/fs/cgroup%s%s%s/%s", of, version[i],
			 strcmp(path, "/") == 0 ? "" : path, file);
		if (file_exists(w->root, "%s", out))
			return;
		snprintf(out, PATH_BYTES, "/sys/fs/cgroup%s%s/%s", of, version[i], file);
		if (file_exists(w->root, "%s", out))
			return;
	}
	out[0] = '\0';
}

/* ---- life ---- */

int watch_new(struct watch **out, const char *root, const struct watch_place *place)
{
	struct watch *w = calloc(1, sizeof(*w));

	*out = w;
	if (!w)
		return -ENOMEM;
	snprintf(w->root, sizeof(w->root), "%s", root);
	w->place = *place;
	if (text_read(w, "/proc/self/cgroup")) {
		char *text = strdup(w->text);

		if (!text) {
			free(w);
			return -ENOMEM;
		}
		cgroup_find(w, text, "cpu", "cpu.stat", w->cgroup_cpu);
		cgroup_find(w, text, "memory", "memory.events", w->cgroup_memory);
		free(text);
	}
	return HT_OK;
}

void watch_free(struct watch *w)
{
	free(w);
}

const struct watch_place *watch_place(const struct watch *w)
{
	return &w->place;
}
