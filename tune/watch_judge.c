/* One small rule for each finding. */
#include "tune/watch_judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tune/watch.h"

#define FULL_PERCENT	 80
#define SQUEEZE_PER_S	 1
#define SOFTIRQ_PERCENT	 85
#define STRAY_LEAST	 10 /* interrupts between two readings */
#define STRAY_PART	 10 /* a tenth of all of the queue */
#define UNEVEN_TIMES	 3
#define UNEVEN_LEAST	 10000 /* packets between two readings: fewer say nothing */
#define SWAPPED_KIB	 1024  /* less may be what nobody needs again */
#define PRESSURE_PERCENT 10
#define NAMES_MOST	 80

struct look {
	const struct watch_reading *before, *now;
	const struct watch_place *place;
	uint64_t seconds; /* between them, at least 1; 0: there is one alone */
	char (*text)[WATCH_TEXT];
};

__attribute__((format(printf, 3, 4))) static void find(const struct look *l,
						       enum watch_finding which, const char *format,
						       ...)
{
	char *text = l->text[which];
	va_list args;

	va_start(args, format);
	vsnprintf(text, WATCH_TEXT, format, args);
	va_end(args);
	for (; *text; text++) /* names may hold anything */
		*text = *text < ' ' || *text > '~' ? '?' : *text;
}

/* 0 if it is unknown, or was set back. */
static uint64_t grown(int64_t before, int64_t now)
{
	return before >= 0 && now > before ? (uint64_t)(now - before) : 0;
}

static uint64_t value_grown(const struct look *l, enum watch_value v)
{
	return l->seconds ? grown(l->before->value[v], l->now->value[v]) : 0;
}

static bool is_over(int64_t part, int64_t all, unsigned percent)
{
	return part > 0 && all > 0 && (double)part * 100 > (double)all * percent;
}

/* ---- receiving ---- */

/* The kernel counts in 32 bits, which go round. */
static uint64_t softnet_grown(const struct look *l, unsigned cpu, enum softnet_event event)
{
	const struct watch_cpu *a = &l->before->cpu[cpu], *b = &l->now->cpu[cpu];

	if (!a->has_softnet || !b->has_softnet || a->softnet[event] < 0 || b->softnet[event] < 0)
		return 0;
	return (uint32_t)((uint64_t)b->softnet[event] - (uint64_t)a->softnet[event]);
}

static void softnet_judge(const struct look *l)
{
	uint64_t dropped = 0, squeezed = 0, n;
	unsigned drops_on = 0, squeezed_on = 0;

	if (!l->seconds)
		return;
	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++) {
		n = softnet_grown(l, cpu, SOFTNET_DROPPED);
		if (n > dropped) {
			dropped = n;
			drops_on = cpu;
		}
		n = softnet_grown(l, cpu, SOFTNET_SQUEEZED);
		if (n > squeezed) {
			squeezed = n;
			squeezed_on = cpu;
		}
	}
	if (dropped)
		find(l, FINDING_BACKLOG,
		     "CPU %u had no room for %" PRIu64
		     " packets in its backlog: they are lost before any socket; raise "
		     "net.core.netdev_max_backlog, or spread receiving over more CPUs",
		     drops_on, dropped);
	if (squeezed > SQUEEZE_PER_S * l->seconds)
		find(l, FINDING_SQUEEZE,
		     "CPU %u stopped receiving %" PRIu64 " times in %" PRIu64
		     " s with packets left: they wait, and the NIC drops when its ring is full; "
		     "raise net.core.netdev_budget and netdev_budget_usecs",
		     squeezed_on, squeezed, l->seconds);
}

static void sockets_judge(const struct look *l)
{
	uint64_t full = value_grown(l, V_UDP_RCVBUF) + value_grown(l, V_UDP6_RCVBUF);
	uint64_t memory = value_grown(l, V_UDP_MEM) + value_grown(l, V_UDP6_MEM);
	uint64_t overflows = value_grown(l, V_TCP_LISTEN_OVERFLOWS);
	uint64_t drops = value_grown(l, V_TCP_LISTEN_DROPS);

	if (full)
		find(l, FINDING_UDP_BUFFER,
		     "%" PRIu64 " UDP datagrams found the buffer of their socket full and are "
		     "lost (all sockets of this network namespace; heptap_kernel_dropped_total has "
		     "ours); raise net.core.rmem_max, or hep_threads",
		     full);
	if (memory)
		find(l, FINDING_UDP_MEMORY,
		     "%" PRIu64 " UDP datagrams are lost because all sockets together had the "
		     "memory that UDP may have; raise net.ipv4.udp_mem",
		     memory);
	if (drops || overflows)
		find(l, FINDING_LISTEN,
		     "%" PRIu64 " TCP connections were not taken, %" PRIu64
		     " of them because too many waited: agents try again, later; raise "
		     "net.core.somaxconn",
		     drops > overflows ? drops : overflows, overflows);
}

/* ---- NICs ---- */

static uint64_t nic_grown(const struct watch_nic *a, const struct watch_nic *b)
{
	uint64_t most = grown(a->event[NIC_MISSED], b->event[NIC_MISSED]), n;

	for (int i = NIC_FIFO; i <= NIC_OVER; i++) {
		n = grown(a->event[i], b->event[i]);
		most = n > most ? n : most;
	}
	for (int i = 0; i < WATCH_DRIVER_COUNT; i++) {
		n = grown(a->driver[i], b->driver[i]);
		most = n > most ? n : most;
	}
	return most;
}

static void queues_judge(const struct look *l, unsigned nic)
{
	const struct watch_nic *a = &l->before->nics[nic], *b = &l->now->nics[nic];
	uint64_t most = 0, sum = 0;
	unsigned count = 0, where = 0;

	for (unsigned q = 0; q < WATCH_QUEUES; q++) {
		uint64_t n = grown(a->queue_packets[q], b->queue_packets[q]);

		if (b->queue_packets[q] < 0)
			continue;
		count++;
		sum += n;
		if (n > most) {
			most = n;
			where = q;
		}
	}
	if (sum >= UNEVEN_LEAST && (double)most * count > (double)sum * UNEVEN_TIMES)
		find(l, FINDING_QUEUES,
		     "%s: receive queue %u has %" PRIu64 " of %" PRIu64
		     " packets though there are %u queues: its core does the work of all; mirror "
		     "more "
		     "flows, or, where no message is larger than a packet, hash by ports too "
		     "(ethtool -N %s rx-flow-hash udp4 sdfn; `heptap tune apply` undoes it)",
		     l->place->nics[nic].name, where, most, sum, count, l->place->nics[nic].name);
}

static void interrupts_judge(const struct look *l, unsigned nic)
{
	const struct watch_nic_place *p = &l->place->nics[nic];

	for (unsigned i = 0; i < p->irq_count; i++) {
		const struct watch_irq *a = &l->before->nics[nic].irqs[i];
		const struct watch_irq *b = &l->now->nics[nic].irqs[i];
		uint64_t all = grown(a->all, b->all), there = grown(a->there, b->there);

		if (p->irqs[i].cpu < 0 || a->there < 0 || b->there < 0 || all < there)
			continue;
		if (all - there < STRAY_LEAST || (all - there) * STRAY_PART < all)
			continue;
		find(l, FINDING_INTERRUPTS,
		     "%s: %" PRIu64 " of %" PRIu64
		     " interrupts of receive queue %d (%d) came elsewhere than on CPU %d, where "
		     "its thread is: packets go from cache to cache; see whether irqbalance "
		     "runs, and start again",
		     p->name, all - there, all, p->irqs[i].queue, p->irqs[i].number,
		     p->irqs[i].cpu);
		return;
	}
}

/* Percent of the time between the readings that a CPU was in softirqs. */
static unsigned softirq_percent(const struct look *l, int cpu)
{
	const struct watch_cpu *a = &l->before->cpu[cpu], *b = &l->now->cpu[cpu];
	uint64_t all = b->all - a->all;

	if (!a->has_ticks || !b->has_ticks || b->all <= a->all || b->softirq < a->softirq)
		return 0;
	return (unsigned)((double)(b->softirq - a->softirq) * 100 / (double)all);
}

/* Beside it nothing starves. */
static bool has_capture(const struct look *l, int cpu)
{
	for (unsigned i = 0; i < l->place->thread_count; i++) {
		const struct watch_thread_place *t = &l->place->threads[i];

		if (strncmp(t->name, "ht-cap-", 7) == 0 && cpus_has(&t->where, (unsigned)cpu))
			return true;
	}
	return false;
}

static void softirq_judge(const struct look *l, unsigned nic)
{
	const struct watch_nic_place *p = &l->place->nics[nic];
	uint64_t dropped = grown(l->before->nics[nic].ring_dropped, l->now->nics[nic].ring_dropped);

	for (unsigned i = 0; i < p->irq_count && dropped; i++) {
		int cpu = p->irqs[i].cpu;
		unsigned percent = cpu < 0 ? 0 : softirq_percent(l, cpu);

		if (percent <= SOFTIRQ_PERCENT || !has_capture(l, cpu))
			continue;
		find(l, FINDING_SOFTIRQ,
		     "%s: CPU %d spends %u %% of its time on receiving and leaves its capture "
		     "thread too little: %" PRIu64
		     " packets are lost in the ring; with tune.placement: split threads run "
		     "beside their interrupts from the next start on; or give the NIC more "
		     "queues (ethtool -L), each with a core of its own",
		     p->name, cpu, percent, dropped);
		return;
	}
}

static void nics_judge(const struct look *l)
{
	for (unsigned i = 0; l->seconds && i < l->place->nic_count; i++) {
		uint64_t dropped = nic_grown(&l->before->nics[i], &l->now->nics[i]);

		if (dropped)
			find(l, FINDING_NIC,
			     "%s: the NIC dropped %" PRIu64
			     " packets before the kernel had them: what they carried is not "
			     "seen; enlarge its ring (ethtool -G), or use more queues",
			     l->place->nics[i].name, dropped);
		queues_judge(l, i);
		interrupts_judge(l, i);
		softirq_judge(l, i);
	}
}

/* ---- threads ---- */

static const struct watch_thread *thread_find(const struct watch_reading *r, const char *name)
{
	for (unsigned i = 0; i < r->thread_count; i++)
		if (strcmp(r->threads[i].name, name) == 0)
			return &r->threads[i];
	return NULL;
}

/* One that sleeps is where it was until it wakes, whatever it was told meanwhile. */
static bool has_run(const struct look *l, const struct watch_thread *now)
{
	const struct watch_thread *before = thread_find(l->before, now->name);

	return before && (grown(before->voluntary, now->voluntary) ||
			  grown(before->involuntary, now->involuntary));
}

static void threads_judge(const struct look *l)
{
	char names[NAMES_MOST] = "";
	unsigned count = 0;

	for (unsigned i = 0; l->seconds && i < l->place->thread_count; i++) {
		const struct watch_thread_place *p = &l->place->threads[i];
		const struct watch_thread *t = thread_find(l->now, p->name);
		size_t used = strlen(names);

		if (!t || t->cpu < 0 || cpus_count(&p->where) == 0 ||
		    cpus_has(&p->where, (unsigned)t->cpu) || !has_run(l, t))
			continue;
		if (used + WATCH_NAME + 16 < sizeof(names))
			snprintf(names + used, sizeof(names) - used, "%s%s on CPU %" PRId64,
				 used ? ", " : "", t->name, t->cpu);
		count++;
	}
	if (count)
		find(l, FINDING_THREADS,
		     "%u threads are off the cores that they were given (%s): somebody moved "
		     "them, and they have no cache and share a core; see taskset, cpuset and "
		     "tuned, and start again",
		     count, names);
}

/* ---- limits ---- */

static void files_judge(const struct look *l)
{
	const int64_t *v = l->now->value;

	if (is_over(v[V_FILES_ALLOCATED] - (v[V_FILES_UNUSED] > 0 ? v[V_FILES_UNUSED] : 0),
		    v[V_FILES_MOST], FULL_PERCENT))
		find(l, FINDING_FILES,
		     "the host has %" PRId64 " of %" PRId64
		     " files open: soon nobody can open one, the spool included; raise "
		     "fs.file-max, or find who has them",
		     v[V_FILES_ALLOCATED], v[V_FILES_MOST]);
	if (is_over(v[V_OUR_FILES], v[V_OUR_FILES_MOST], FULL_PERCENT))
		find(l, FINDING_OUR_FILES,
		     "heptap has %" PRId64 " of %" PRId64
		     " files open: soon agents cannot connect; raise LimitNOFILE of the unit, or "
		     "lower max_connections",
		     v[V_OUR_FILES], v[V_OUR_FILES_MOST]);
}

static void conntrack_judge(const struct look *l)
{
	const int64_t *v = l->now->value;
	uint64_t failed = value_grown(l, V_TRACK_INSERT_FAILED);
	uint64_t dropped = value_grown(l, V_TRACK_DROP);

	if (is_over(v[V_TRACKED], v[V_TRACKED_MOST], FULL_PERCENT))
		find(l, FINDING_TRACK_FULL,
		     "%" PRId64 " of %" PRId64
		     " connections are tracked: when all are, packets of new ones are dropped, "
		     "HEP too; raise net.netfilter.nf_conntrack_max, or do not track the HEP port "
		     "(notrack)",
		     v[V_TRACKED], v[V_TRACKED_MOST]);
	if (failed || dropped)
		find(l, FINDING_TRACK_DROPS,
		     "connection tracking dropped %" PRIu64 " packets and could not insert %" PRIu64
		     " connections; raise net.netfilter.nf_conntrack_max, or do not track the HEP "
		     "port (notrack)",
		     dropped, failed);
}

static void memory_judge(const struct look *l)
{
	int64_t swapped = l->now->value[V_OUR_SWAPPED];
	int64_t pressure = l->now->value[V_PRESSURE_MEMORY];
	uint64_t limit = value_grown(l, V_CGROUP_HIGH) + value_grown(l, V_CGROUP_MAX) +
			 value_grown(l, V_CGROUP_OOM);

	if (swapped > SWAPPED_KIB)
		find(l, FINDING_SWAPPED,
		     "%" PRId64
		     " MiB of heptap are swapped out: a thread that needs them waits for "
		     "the disk, and its packets are lost meanwhile; lower `memory` or "
		     "vm.swappiness, or add memory",
		     swapped >> 10);
	if (limit)
		find(l, FINDING_MEMORY,
		     "the cgroup came to its limit of memory %" PRIu64
		     " times: the kernel takes pages away, and ends the process if that is not "
		     "enough; raise MemoryHigh and MemoryMax, or lower `memory`",
		     limit);
	else if (pressure > PRESSURE_PERCENT * 100)
		find(l, FINDING_MEMORY,
		     "tasks waited for memory %" PRId64
		     " %% of the last 10 s: what is kept too long is lost; lower `memory`, or "
		     "that of the database, or add some",
		     pressure / 100);
}

static void throttle_judge(const struct look *l)
{
	uint64_t times = value_grown(l, V_THROTTLED);

	if (times)
		find(l, FINDING_THROTTLED,
		     "the cgroup had used up its CPU time in %" PRIu64
		     " periods of the last %" PRIu64 " s, and all threads stood still: packets "
		     "wait, then are lost; raise CPUQuota, "
		     "or the container's limit",
		     times, l->seconds);
}

/* ---- all of it ---- */

void watch_judge(const struct watch_reading *before, const struct watch_reading *now,
		 const struct watch_place *place, struct watch_verdict *out)
{
	struct look l = { .before = before, .now = now, .place = place, .text = out->text };

	if (before->at_us && now->at_us > before->at_us)
		l.seconds = (now->at_us - before->at_us + 500000) / 1000000;
	if (before->at_us && l.seconds == 0)
		l.seconds = 1;
	for (int i = 0; i < WATCH_FINDINGS; i++)
		out->text[i][0] = '\0';
	softnet_judge(&l);
	sockets_judge(&l);
	nics_judge(&l);
	threads_judge(&l);
	files_judge(&l);
	conntrack_judge(&l);
	memory_judge(&l);
	throttle_judge(&l);
}

const char *watch_finding_name(enum watch_finding which)
{
	static const char *const name[WATCH_FINDINGS] = {
#define X(id, text) text,
		WATCH_FINDINGS_LIST(X)
#undef X
	};

	return name[which];
}

void watch_remember(struct watch_state *s, const struct watch_verdict *v, uint64_t now_us,
		    void (*tell)(enum watch_finding which, bool is_on, const char *text))
{
	for (int i = 0; i < WATCH_FINDINGS; i++) {
		bool is_wrong = v->text[i][0];

		if (is_wrong)
			s->finding[i].last_us = now_us;
		if (is_wrong && !s->finding[i].is_on) {
			s->finding[i].is_on = true;
			memcpy(s->finding[i].text, v->text[i], WATCH_TEXT);
			tell(i, true, s->finding[i].text);
		} else if (!is_wrong && s->finding[i].is_on &&
			   now_us - s->finding[i].last_us >= WATCH_HOLD_US) {
			s->finding[i].is_on = false;
			tell(i, false, s->finding[i].text);
		}
	}
}
