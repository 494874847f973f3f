/* Readings as Prometheus text. A family without a number is left out. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tune/watch.h"

enum scale {
	SCALE_ONE,
	SCALE_KIB,
	SCALE_PAGES,
	SCALE_RATIO, /* hundredths of a percent */
	SCALE_US,
	SCALE_NS,
};

static const struct {
	const char *metric, *label;
	enum scale scale;
} values[WATCH_VALUES] = {
#define X(id, file, section, name, scale, metric, label) { metric, label, SCALE_##scale },
	WATCH_VALUES_LIST(X)
#undef X
};

static const struct {
	const char *metric, *help;
} helps[] = {
	{ "heptap_host_tcp_events_total", "what happened to TCP in our network namespace" },
	{ "heptap_host_udp_events_total", "what happened to UDP in our network namespace" },
	{ "heptap_host_ip_events_total", "what happened to IP in our network namespace" },
	{ "heptap_host_sockets", "sockets, by kind" },
	{ "heptap_host_socket_memory_bytes", "memory of sockets and fragments" },
	{ "heptap_host_socket_memory_limit_bytes", "the most of it that is given" },
	{ "heptap_host_files", "open files of the host, by kind" },
	{ "heptap_host_dentries", "names of files in memory" },
	{ "heptap_host_inodes", "inodes in memory" },
	{ "heptap_host_conntrack_entries", "tracked connections" },
	{ "heptap_host_conntrack_limit", "the most of them" },
	{ "heptap_host_conntrack_buckets", "lists that they are found in" },
	{ "heptap_host_conntrack_events_total", "connections that could not be tracked" },
	{ "heptap_host_memory_bytes", "memory of the host, by kind" },
	{ "heptap_process_memory_bytes", "memory of the process that is swapped, that is locked" },
	{ "heptap_process_open_files", "open files of the process" },
	{ "heptap_process_open_files_limit", "the most of them" },
	{ "heptap_process_oom_score", "how likely the process is killed for want of memory" },
	{ "heptap_host_pressure_ratio", "part of the last 10 s in which tasks waited" },
	{ "heptap_host_pressure_seconds_total", "time in which tasks waited" },
	{ "heptap_cgroup_throttled_periods_total", "times that our cgroup had no CPU left" },
	{ "heptap_cgroup_throttled_seconds_total", "time that our cgroup had no CPU left" },
	{ "heptap_cgroup_memory_events_total", "times that our cgroup was at a limit of memory" },
	{ "heptap_host_tlb_shootdowns_total", "interrupts for changed mappings of memory" },
};

static const char *help_of(const char *metric)
{
	for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++)
		if (strcmp(helps[i].metric, metric) == 0)
			return helps[i].help;
	return "";
}

/* The family that is printed, whose head is there once. */
struct family {
	FILE *to;
	const char *metric, *help;
	bool is_begun;
};

static void begin(struct family *f)
{
	size_t len = strlen(f->metric);
	bool is_counter = len > 6 && strcmp(f->metric + len - 6, "_total") == 0;

	if (!f->is_begun)
		fprintf(f->to, "# HELP %s %s\n# TYPE %s %s\n", f->metric, f->help, f->metric,
			is_counter ? "counter" : "gauge");
	f->is_begun = true;
}

/* Names come from drivers and from programs. */
static const char *clean(const char *name, char *out, size_t size)
{
	size_t i = 0;

	for (; name[i] && i + 1 < size; i++)
		out[i] = name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\'
				 ? '?'
				 : name[i];
	out[i] = '\0';
	return out;
}

/* ---- what is there once ---- */

static void scaled_print(int64_t n, enum scale scale, FILE *to)
{
	uint64_t unit = scale == SCALE_KIB     ? 1024
			: scale == SCALE_PAGES ? (uint64_t)sysconf(_SC_PAGESIZE)
					       : 1;

	if (scale == SCALE_RATIO)
		fprintf(to, "%" PRId64 ".%04" PRId64 "\n", n / 10000, n % 10000);
	else if (scale == SCALE_US)
		fprintf(to, "%" PRId64 ".%06" PRId64 "\n", n / 1000000, n % 1000000);
	else if (scale == SCALE_NS)
		fprintf(to, "%" PRId64 ".%09" PRId64 "\n", n / 1000000000, n % 1000000000);
	else
		fprintf(to, "%" PRIu64 "\n", (uint64_t)n * unit);
}

static void values_print(const struct watch_reading *r, FILE *to)
{
	struct family f = { .to = to, .metric = "" };

	for (int i = 0; i < WATCH_VALUES; i++) {
		if (strcmp(f.metric, values[i].metric) != 0)
			f = (struct family){ to, values[i].metric, help_of(values[i].metric),
					     false };
		if (r->value[i] < 0)
			continue;
		begin(&f);
		fprintf(to, values[i].label[0] ? "%s{%s} " : "%s%s ", f.metric, values[i].label);
		scaled_print(r->value[i], values[i].scale, to);
	}
}

/* ---- CPUs ---- */

static void softnet_print(const struct watch_reading *r, FILE *to)
{
	static const char *const name[SOFTNET_EVENTS] = {
		[SOFTNET_PROCESSED] = "processed",   [SOFTNET_DROPPED] = "dropped",
		[SOFTNET_SQUEEZED] = "squeezed",     [SOFTNET_RPS] = "from_other_cpus",
		[SOFTNET_FLOW_LIMIT] = "flow_limit",
	};
	struct family f = { to, "heptap_host_softnet_total",
			    "packets in the receive path by CPU, and what befell them", false };
	struct family backlog = { to, "heptap_host_softnet_backlog", "packets that wait, by CPU",
				  false };

	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++)
		for (int i = 0; i < SOFTNET_BACKLOG; i++) {
			if (!r->cpu[cpu].has_softnet || r->cpu[cpu].softnet[i] < 0)
				continue;
			begin(&f);
			fprintf(to, "%s{cpu=\"%u\",event=\"%s\"} %" PRId64 "\n", f.metric, cpu,
				name[i], r->cpu[cpu].softnet[i]);
		}
	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++) {
		if (!r->cpu[cpu].has_softnet || r->cpu[cpu].softnet[SOFTNET_BACKLOG] < 0)
			continue;
		begin(&backlog);
		fprintf(to, "%s{cpu=\"%u\"} %" PRId64 "\n", backlog.metric, cpu,
			r->cpu[cpu].softnet[SOFTNET_BACKLOG]);
	}
}

static void softirqs_print(const struct watch_reading *r, FILE *to)
{
	struct family f = { to, "heptap_host_receive_softirqs_total",
			    "softirqs that received packets, by CPU", false };
	struct family time = { to, "heptap_host_softirq_seconds_total",
			       "time in softirqs of all kinds, by CPU", false };
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);

	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++) {
		if (r->cpu[cpu].net_rx < 0)
			continue;
		begin(&f);
		fprintf(to, "%s{cpu=\"%u\"} %" PRId64 "\n", f.metric, cpu, r->cpu[cpu].net_rx);
	}
	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++) {
		if (!r->cpu[cpu].has_ticks)
			continue;
		begin(&time);
		fprintf(to, "%s{cpu=\"%u\"} %" PRIu64 ".%02" PRIu64 "\n", time.metric, cpu,
			r->cpu[cpu].softirq / hz, r->cpu[cpu].softirq % hz * 100 / hz);
	}
}

/* ---- NICs ---- */

static void nic_line(struct family *f, const char *nic, const char *event, int64_t n)
{
	char name[WATCH_NAME];

	if (n < 0)
		return;
	begin(f);
	fprintf(f->to, "%s{nic=\"%s\",event=\"%s\"} %" PRId64 "\n", f->metric,
		clean(nic, name, sizeof(name)), event, n);
}

static void queue_line(struct family *f, const char *nic, int queue, int64_t n)
{
	char name[WATCH_NAME];

	if (n < 0)
		return;
	begin(f);
	fprintf(f->to, "%s{nic=\"%s\",queue=\"%d\"} %" PRId64 "\n", f->metric,
		clean(nic, name, sizeof(name)), queue, n);
}

static void events_print(const struct watch_reading *r, const struct watch_place *p, FILE *to)
{
	static const char *const event[NIC_EVENTS] = {
		[NIC_PACKETS] = "received", [NIC_DROPPED] = "dropped",
		[NIC_MISSED] = "missed",    [NIC_FIFO] = "fifo",
		[NIC_OVER] = "over",	    [NIC_NO_HANDLER] = "no_handler",
	};
	static const char *const driver[WATCH_DRIVER_COUNT] = {
#define X(name) name,
		WATCH_DRIVER_LIST(X)
#undef X
	};
	struct family f = { to, "heptap_host_nic_total", "packets of a NIC that we capture from",
			    false };
	struct family d = { to, "heptap_host_nic_driver_total",
			    "what its driver counts of packets lost", false };

	for (unsigned n = 0; n < p->nic_count; n++)
		for (int i = 0; i < NIC_EVENTS; i++)
			nic_line(&f, p->nics[n].name, event[i], r->nics[n].event[i]);
	for (unsigned n = 0; n < p->nic_count; n++)
		for (int i = 0; i < WATCH_DRIVER_COUNT; i++)
			nic_line(&d, p->nics[n].name, driver[i], r->nics[n].driver[i]);
}

/* A queue may have more than one interrupt; the first of them stands for it. */
static bool is_first(const struct watch_nic_place *p, unsigned irq)
{
	for (unsigned i = 0; i < irq; i++)
		if (p->irqs[i].queue == p->irqs[irq].queue)
			return false;
	return true;
}

static void queues_print(const struct watch_reading *r, const struct watch_place *p, FILE *to)
{
	struct family packets = { to, "heptap_host_nic_queue_packets_total",
				  "packets by receive queue", false };
	struct family all = { to, "heptap_host_nic_queue_interrupts_total",
			      "interrupts by receive queue", false };
	struct family there = { to, "heptap_host_nic_queue_interrupts_placed_total",
				"of them, on the CPU that the queue was placed on", false };

	for (unsigned n = 0; n < p->nic_count; n++)
		for (int q = 0; q < WATCH_QUEUES; q++)
			queue_line(&packets, p->nics[n].name, q, r->nics[n].queue_packets[q]);
	for (unsigned n = 0; n < p->nic_count; n++)
		for (unsigned i = 0; i < p->nics[n].irq_count; i++)
			if (is_first(&p->nics[n], i))
				queue_line(&all, p->nics[n].name, p->nics[n].irqs[i].queue,
					   r->nics[n].irqs[i].all);
	for (unsigned n = 0; n < p->nic_count; n++)
		for (unsigned i = 0; i < p->nics[n].irq_count; i++)
			if (is_first(&p->nics[n], i))
				queue_line(&there, p->nics[n].name, p->nics[n].irqs[i].queue,
					   r->nics[n].irqs[i].there);
}

/* ---- threads ---- */

static void thread_line(struct family *f, const struct watch_thread *t, const char *label,
			int64_t n)
{
	char name[WATCH_NAME];

	if (n < 0)
		return;
	begin(f);
	fprintf(f->to, "%s{thread=\"%s\"%s} %" PRId64 "\n", f->metric,
		clean(t->name, name, sizeof(name)), label, n);
}

static void threads_print(const struct watch_reading *r, FILE *to)
{
	struct family cpu = { to, "heptap_thread_last_cpu", "CPU that a thread last ran on",
			      false };
	struct family switches = { to, "heptap_thread_switches_total",
				   "times that a thread left its CPU, to wait or not", false };
	struct family moves = { to, "heptap_thread_migrations_total",
				"times that a thread was moved to another CPU", false };

	for (unsigned i = 0; i < r->thread_count; i++)
		thread_line(&cpu, &r->threads[i], "", r->threads[i].cpu);
	for (unsigned i = 0; i < r->thread_count; i++) {
		thread_line(&switches, &r->threads[i], ",kind=\"voluntary\"",
			    r->threads[i].voluntary);
		thread_line(&switches, &r->threads[i], ",kind=\"involuntary\"",
			    r->threads[i].involuntary);
	}
	for (unsigned i = 0; i < r->thread_count; i++)
		thread_line(&moves, &r->threads[i], "", r->threads[i].migrations);
}

void watch_print(const struct watch_reading *r, const struct watch_place *place, FILE *to)
{
	if (r->at_us == 0)
		return;
	values_print(r, to);
	softnet_print(r, to);
	softirqs_print(r, to);
	events_print(r, place, to);
	queues_print(r, place, to);
	threads_print(r, to);
}
