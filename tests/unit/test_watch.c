/* tune/watch*.c: numbers are those of the texts, of any kernel; and each finding begins where it
 * should and not before. */
#include "tune/watch.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "conf/clock.h"
#include "tests/unit/hosts.h"
#include "tests/unit/random.h"
#include "tests/unit/veth.h"
#include "tune/files.h"
#include "tune/watch_judge.h"

#define ROWS(list) (int)(sizeof(list) / sizeof((list)[0]))

/* ---- texts ---- */

static const char netstat[] = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPBacklogDrop\n"
			      "TcpExt: 1 9617 9618 18446744073709551615\n"
			      "IpExt: InNoRoutes ListenDrops\n"
			      "IpExt: 5 -1\n";
static const char sockstat[] = "sockets: used 13\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 5\n"
			       "UDP: inuse 6 mem 7\nFRAG: inuse 0 memory 4096\n";
static const char psi[] = "some avg10=1.23 avg60=0.00 avg300=10.05 total=123456\n"
			  "full avg10=100.00 avg60=0.00 avg300=0.00 total=0\n";
static const char tracked[] = "entries  searched found insert_failed drop early_drop\n"
			      "0000000a  00000000 00000001 00000010 000000ff 00000001\n"
			      "0000000a  00000000 00000001 00000001 00000001 00000000\n";

START_TEST(numbers_are_found_by_name)
{
	ck_assert_int_eq(text_table(netstat, "TcpExt:", "ListenOverflows"), 9617);
	ck_assert_int_eq(text_table(netstat, "TcpExt:", "ListenDrops"), 9618);
	ck_assert_int_eq(text_table(netstat, "IpExt:", "InNoRoutes"), 5);
	ck_assert_int_eq(text_table(netstat, "TcpExt:", "TCPBacklogDrop"), INT64_MAX);
	ck_assert_int_eq(text_in_line(sockstat, "TCP:", "mem"), 5);
	ck_assert_int_eq(text_in_line(sockstat, "UDP:", "mem"), 7);
	ck_assert_int_eq(text_in_line(sockstat, "sockets:", "used"), 13);
	ck_assert_int_eq(text_pair("VmLck:\t 12 kB\nVmSwap:\t     8 kB\n", "VmSwap:"), 8);
	ck_assert_int_eq(text_pair("nr_periods 4\nnr_throttled 3\n", "nr_throttled"), 3);
	ck_assert_int_eq(text_assigned(psi, "some", "avg10"), 123);
	ck_assert_int_eq(text_assigned(psi, "some", "avg300"), 1005);
	ck_assert_int_eq(text_assigned(psi, "some", "total"), 123456);
	ck_assert_int_eq(text_assigned(psi, "full", "avg10"), 10000);
	ck_assert_int_eq(text_field("525\t0\t2466170\n", 2), 2466170);
	ck_assert_int_eq(text_field("7\n8\n", 0), 7);
	ck_assert_int_eq(text_hex_sum(tracked, "drop"), 0x100);
	ck_assert_int_eq(text_hex_sum(tracked, "insert_failed"), 0x11);
	ck_assert_int_eq(text_hex_sum(tracked, "entries"), 20);
}
END_TEST

START_TEST(what_is_not_there_is_unknown)
{
	static const char *const texts[] = { "",
					     "\n\n\n",
					     "TcpExt:",
					     "TcpExt: a b c",
					     "TcpExt: a\nTcpExt:",
					     "TcpExt: a b\nTcpExt: 1\n",
					     "TcpExt: b\nTcpExt: -5\n",
					     "TcpExt: b\nTcpExt: 12x\n",
					     "TcpExt: b\nIpExt: g\n",
					     "b",
					     "b \n",
					     "b x\n",
					     "b=",
					     "TcpExt: b=",
					     "TcpExt: b=.\n",
					     "TcpExt: b=1.\n",
					     "TcpExt: b=1.2\n",
					     "TcpExt: b=1.234\n",
					     "TcpExt: b=.50\n",
					     "a b\n1\n",
					     "a b\n1 g\n" };

	for (int i = 0; i < ROWS(texts); i++) {
		ck_assert_int_eq(text_table(texts[i], "TcpExt:", "b"), WATCH_UNKNOWN);
		ck_assert_int_eq(text_pair(texts[i], "b"), WATCH_UNKNOWN);
		ck_assert_int_eq(text_assigned(texts[i], "TcpExt:", "b"), WATCH_UNKNOWN);
		ck_assert_int_eq(text_hex_sum(texts[i], "b"), WATCH_UNKNOWN);
		ck_assert_int_eq(text_field(texts[i], 3), WATCH_UNKNOWN);
	}
	ck_assert_int_eq(text_table(netstat, "IpExt:", "ListenDrops"), WATCH_UNKNOWN);
	ck_assert_int_eq(text_table(netstat, "TcpExt", "ListenDrops"), WATCH_UNKNOWN);
	ck_assert_int_eq(text_in_line(sockstat, "UDP:", "orphan"), WATCH_UNKNOWN);
	ck_assert_int_eq(text_assigned(psi, "some", "avg1"), WATCH_UNKNOWN);
}
END_TEST

/* A kernel of 2.6 has 10 columns, of 3.11 11, of 5.10 13, of 6.18 15. */
START_TEST(softnet_of_several_kernels)
{
	static const struct {
		const char *text;
		int cpu;
		int64_t count[SOFTNET_EVENTS];
	} rows[] = {
		{ "0f9ddd8d 00000001 0000005c 0 0 0 0 0 0\n",
		  -1,
		  { 0x0f9ddd8d, 1, 0x5c, -1, -1, -1 } },
		{ "1 2 3 0 0 0 0 0 0 a\n", -1, { 1, 2, 3, 10, -1, -1 } },
		{ "1 2 3 0 0 0 0 0 0 a b\n", -1, { 1, 2, 3, 10, 11, -1 } },
		{ "1 2 3 0 0 0 0 0 0 a b c 00000005\n", 5, { 1, 2, 3, 10, 11, 12 } },
		{ "1 2 3 0 0 0 0 0 0 a b c 6 d e", 6, { 1, 2, 3, 10, 11, 12 } },
		{ "ffffffff 2 3 0 0 0 0 0 0 a b c ffffffff d e",
		  -1,
		  { 4294967295, 2, 3, 10, 11, 12 } },
		{ "1 2\n\n1 2 x 0 0 0 0 0 0 123456789", -1, { 1, 2, -1, -1, -1, -1 } },
		{ "1 2 3 4 5 6 7 8 9 a b c 3 d e f 10 11 12 13\n", 3, { 1, 2, 3, 10, 11, 12 } },
	};
	struct softnet_line line;

	for (int i = 0; i < ROWS(rows); i++) {
		const char *at = rows[i].text;

		ck_assert(softnet_next(&at, &line));
		ck_assert_int_eq(line.cpu, rows[i].cpu);
		for (int k = 0; k < SOFTNET_EVENTS; k++)
			ck_assert_msg(line.count[k] == rows[i].count[k], "row %d, column %d: %ld",
				      i, k, line.count[k]);
		ck_assert(!softnet_next(&at, &line));
	}
}
END_TEST

static const char interrupts[] =
	"           CPU0       CPU2       CPU3\n"
	"  8:          1          2          3  IO-APIC   8-edge  rtc0\n"
	" 64:         10         20         30  PCI-MSI 1-edge  eth0-TxRx-0\n"
	"164:        100        200        300  PCI-MSI 2-edge  eth0-TxRx-1\n"
	"TLB:          7          8          9  TLB shootdowns\n"
	"ERR:          0\n";

static uint64_t row_sum(const char *label, const char *name, unsigned only)
{
	struct cpu_columns columns;
	uint64_t sum = 0, count;
	unsigned cpu;
	struct row row;

	ck_assert(columns_read(interrupts, &columns));
	if (!row_find(interrupts, label, name, &row))
		return UINT64_MAX;
	while (row_next(&row, &columns, &cpu, &count))
		sum += only == UINT_MAX || only == cpu ? count : 0;
	return sum;
}

START_TEST(interrupts_are_counted_by_cpu)
{
	struct cpu_columns columns;

	ck_assert_uint_eq(row_sum("64:", NULL, UINT_MAX), 60);
	ck_assert_uint_eq(row_sum("64:", "eth0-TxRx-0", 2), 20);
	ck_assert_uint_eq(row_sum("64:", "eth0-TxRx-0", 1), 0);
	ck_assert_uint_eq(row_sum("64:", "eth1-TxRx-0", 2), UINT64_MAX);
	ck_assert_uint_eq(row_sum("TLB:", NULL, UINT_MAX), 24);
	ck_assert_uint_eq(row_sum("ERR:", NULL, UINT_MAX), 0);
	ck_assert_uint_eq(row_sum("4:", NULL, UINT_MAX), UINT64_MAX);
	ck_assert(!columns_read("", &columns));
	ck_assert(!columns_read("CPU0 CPU\n", &columns));
	ck_assert(!columns_read("CPU0 CPU99999\n", &columns));
	ck_assert(!columns_read("CPU0 CPU-1\n", &columns));
	ck_assert(!columns_read(" 8: 1 2\n", &columns));
}
END_TEST

START_TEST(ticks_are_of_each_cpu)
{
	const char *at = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
			 "cpu3 1 2 3 4 5 6 70\ncpu4 1 2 3\ncpux 1 2 3 4 5 6 7 8\nintr 1 2 3\n";
	struct cpu_ticks t;

	ck_assert(ticks_next(&at, &t));
	ck_assert(t.cpu == 0 && t.softirq == 7 && t.all == 36);
	ck_assert(ticks_next(&at, &t));
	ck_assert(t.cpu == 3 && t.softirq == 70 && t.all == 91);
	ck_assert(!ticks_next(&at, &t));
}
END_TEST

START_TEST(a_thread_may_be_called_anything)
{
	static const char rest[] =
		" S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 "
		"25 26 27 28 29 30 31 32 33 34 35 17 37\n";
	static const struct {
		const char *name, *read;
	} rows[] = { { "(ht-hep-0)", "ht-hep-0" },
		     { "(a) S 1 2)", "a) S 1 2" },
		     { "()", "" },
		     { "(a name that is too long)", "a name that is " } };
	char text[512], name[WATCH_NAME];

	for (int i = 0; i < ROWS(rows); i++) {
		snprintf(text, sizeof(text), "12 %s%s", rows[i].name, rest);
		ck_assert_int_eq(text_thread(text, name), 17);
		ck_assert_str_eq(name, rows[i].read);
		for (size_t cut = strlen(text) - 8; cut > 0; cut--) {
			text[cut] = '\0';
			ck_assert_int_ne(text_thread(text, name), 0);
			ck_assert_uint_lt(strlen(name), WATCH_NAME);
		}
	}
	ck_assert_int_eq(text_thread("12 )(", name), WATCH_UNKNOWN);
	ck_assert_int_eq(text_thread("", name), WATCH_UNKNOWN);
}
END_TEST

START_TEST(a_driver_says_it_in_its_own_words)
{
	static const struct {
		const char *name;
		int queue; /* -1: a drop; -2: nothing */
	} rows[] = { { "rx_queue_0_packets", 0 },  { "rx7_packets", 7 },
		     { "rx-12.packets", 12 },	   { "[3]: rx_ucast_packets", 3 },
		     { "queue_5_rx_cnt", 5 },	   { "rx_packets[9]", 9 },
		     { "rx_out_of_buffer", -1 },   { "rx_queue_3_drops", -1 },
		     { "rx4_drops", -1 },	   { "rx_no_dma_resources", -1 },
		     { "tx_queue_0_packets", -2 }, { "rx_packets", -2 },
		     { "rx_packets_phy", -2 },	   { "rx_queue__packets", -2 },
		     { "rx128_packets", -2 },	   { "rx99999999999_packets", -2 },
		     { "rx1_packetsx", -2 },	   { "", -2 } };

	for (int i = 0; i < ROWS(rows); i++) {
		int64_t queues = 0, drops = 0;
		struct watch_nic nic;

		memset(&nic, 0xff, sizeof(nic));
		watch_driver_take(rows[i].name, 40, &nic);
		watch_driver_take(rows[i].name, 2, &nic);
		for (int k = 0; k < WATCH_QUEUES; k++)
			queues += nic.queue_packets[k] < 0 ? 0 : nic.queue_packets[k];
		for (int k = 0; k < WATCH_DRIVER_COUNT; k++)
			drops += nic.driver[k] < 0 ? 0 : nic.driver[k];
		ck_assert_msg(queues == (rows[i].queue >= 0 ? 42 : 0), "%s", rows[i].name);
		ck_assert_msg(drops == (rows[i].queue == -1 ? 42 : 0), "%s", rows[i].name);
		for (int k = 0; k < WATCH_QUEUES; k++)
			ck_assert_int_eq(nic.irqs[k].all, WATCH_UNKNOWN);
		if (rows[i].queue >= 0)
			ck_assert_int_eq(nic.queue_packets[rows[i].queue], 42);
	}
}
END_TEST

/* ---- whole hosts ---- */

static struct watch_reading first, second;
static struct watch_place place;

static void read_recorded(int number, struct watch_reading *out)
{
	struct watch *w;

	ck_assert_int_eq(watch_new(&w, hosts_root(number), &place), HT_OK);
	watch_read(w, 1000000, out);
	watch_free(w);
}

START_TEST(a_recorded_machine_is_read)
{
	static char text[65536];
	const char *root = hosts_root(2);

	place = (struct watch_place){ .nic_count = 1 };
	strcpy(place.nics[0].name, "enp3s0f0");
	place.nics[0].irq_count = 2;
	place.nics[0].irqs[0] = (struct watch_irq_place){ 64, 0, "enp3s0f0-TxRx-0", 0 };
	place.nics[0].irqs[1] = (struct watch_irq_place){ 65, 1, "somebody-else", 0 };
	read_recorded(2, &first);
	for (int cpu = 0; cpu < CPUS_MOST; cpu++)
		ck_assert_int_eq(first.cpu[cpu].has_softnet, cpu < 16);
	ck_assert_int_eq(first.cpu[3].softnet[SOFTNET_PROCESSED], 0x03c8cfb8);
	ck_assert_int_eq(first.cpu[3].softnet[SOFTNET_SQUEEZED], 0x25);
	ck_assert_int_eq(first.nics[0].irqs[1].all, WATCH_UNKNOWN);
	ck_assert_int_ge(first.nics[0].irqs[0].all, first.nics[0].irqs[0].there);
	ck_assert_int_gt(first.nics[0].irqs[0].all, 0);
	ck_assert_int_eq(first.nics[0].event[NIC_MISSED],
			 file_number(root, "/sys/class/net/enp3s0f0/statistics/rx_missed_errors"));
	ck_assert_int_gt(file_read(root, text, sizeof(text), "/proc/meminfo"), 0);
	ck_assert_int_gt(first.value[V_MEMORY_AVAILABLE], 0);
	/* what it does not have is not 0 */
	ck_assert_int_eq(first.value[V_OUR_FILES], WATCH_UNKNOWN);
	ck_assert_int_eq(first.value[V_UDP_RCVBUF], WATCH_UNKNOWN);
}
END_TEST

/* Files that have a line for each CPU. */
START_TEST(a_thousand_cpus_are_read)
{
	struct recorded r = recorded_make("box16-ixgbe-8q");
	struct watch *w;

	place = (struct watch_place){ 0 };
	ck_assert_int_eq(
		run_line("cd %s && echo 0-1023 >sys/devices/system/cpu/online && "
			 "seq 1024 | awk '{ for (i = 0; i < 15; i++) "
			 "printf \"%%08x \", i == 12 ? NR - 1 : i == 1; print \"\" }' "
			 ">proc/net/softnet_stat && mkdir -p proc/net/stat && "
			 "{ echo entries drop early_drop search_restart insert insert_failed; "
			 "seq 1024 | awk '{ for (i = 0; i < 17; i++) printf \"%%08x \", i == 1; "
			 "print \"\" }'; } >proc/net/stat/nf_conntrack",
			 r.root),
		0);
	ck_assert_int_eq(watch_new(&w, r.root, &place), HT_OK);
	watch_read(w, 1000000, &first);
	watch_free(w);
	for (int cpu = 0; cpu < 1024; cpu++) {
		ck_assert(first.cpu[cpu].has_softnet);
		ck_assert_int_eq(first.cpu[cpu].softnet[SOFTNET_DROPPED], 1);
	}
	ck_assert_int_eq(first.value[V_TRACK_DROP], 1024);
	recorded_remove(&r);
}
END_TEST

START_TEST(a_host_without_files_is_read)
{
	struct watch *w;
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	place = (struct watch_place){ 0 };
	ck_assert_int_eq(watch_new(&w, "/dev/null", &place), HT_OK);
	watch_read(w, 1, &first);
	watch_free(w);
	watch_print(&first, &place, to);
	fclose(to);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

/* @return what was written to stderr meanwhile, in static memory */
static const char *log_of(void (*act)(void *ctx), void *ctx)
{
	static char text[2048];
	FILE *to = tmpfile();
	int err = dup(STDERR_FILENO);
	size_t len;

	ck_assert(to && err >= 0 && dup2(fileno(to), STDERR_FILENO) >= 0);
	act(ctx);
	dup2(err, STDERR_FILENO);
	close(err);
	rewind(to);
	len = fread(text, 1, sizeof(text) - 1, to);
	text[len] = '\0';
	fclose(to);
	return text;
}

static void read_one(void *ctx)
{
	watch_read(ctx, 1, &first);
}

/* A directory where a file should be. What is not there is no complaint. */
START_TEST(what_cannot_be_read_is_said_once)
{
	char root[96];
	struct watch *w;

	snprintf(root, sizeof(root), "%s/odd", hosts_dir);
	shell("mkdir -p %s/proc/net/snmp %s/proc/self/oom_score && echo 5 0 9 > %s/file-nr", root,
	      root, root);
	shell("mkdir -p %s/proc/sys/fs && mv %s/file-nr %s/proc/sys/fs/", root, root, root);
	place = (struct watch_place){ 0 };
	ck_assert_int_eq(watch_new(&w, root, &place), HT_OK);
	ck_assert_ptr_nonnull(strstr(log_of(read_one, w),
				     " host: not watched: /proc/net/snmp (Is a directory), "
				     "/proc/self/oom_score (Is a directory)\n"));
	ck_assert_int_eq(first.value[V_FILES_ALLOCATED], 5);
	ck_assert_int_eq(first.value[V_FILES_MOST], 9);
	ck_assert_int_eq(first.value[V_UDP_RCVBUF], WATCH_UNKNOWN);
	ck_assert_str_eq(log_of(read_one, w), "");
	watch_free(w);
}
END_TEST

/* Version 2, version 1, a container that shows its own at the top. */
START_TEST(the_cgroup_is_ours)
{
	static const struct {
		const char *self, *file;
		int64_t throttled;
	} rows[] = { { "0::/a/b.service", "a/b.service/cpu.stat", 7 },
		     { "0::/", "cpu.stat", 7 },
		     { "0::/docker/x", "cpu.stat", 7 },
		     { "3:cpuset:/no\n2:cpu,cpuacct:/y\n0::/", "cpu/y/cpu.stat", 7 },
		     { "2:cpuacct,cpu:/y", "cpu/cpu.stat", 7 },
		     { "2:cpuset:/y", "cpu/y/cpu.stat", WATCH_UNKNOWN },
		     { "2:cp:/y", "cpu/y/cpu.stat", WATCH_UNKNOWN },
		     { "", "cpu.stat", WATCH_UNKNOWN },
		     { "0", "cpu.stat", WATCH_UNKNOWN },
		     { "0:", "cpu.stat", WATCH_UNKNOWN },
		     { "2:cpu", "cpu.stat", WATCH_UNKNOWN } };

	place = (struct watch_place){ 0 };
	for (int i = 0; i < ROWS(rows); i++) {
		char root[96], file[192];
		struct watch *w;

		snprintf(root, sizeof(root), "%s/cgroup%d", hosts_dir, i);
		snprintf(file, sizeof(file), "%s/sys/fs/cgroup/%s", root, rows[i].file);
		shell("mkdir -p %s/proc/self $(dirname %s)", root, file);
		shell("printf '%s\n' > %s/proc/self/cgroup", rows[i].self, root);
		shell("printf 'usage_usec 5\nnr_throttled 7\nthrottled_usec 8\n' > %s", file);
		ck_assert_int_eq(watch_new(&w, root, &place), HT_OK);
		watch_read(w, 1, &first);
		watch_free(w);
		ck_assert_msg(first.value[V_THROTTLED] == rows[i].throttled, "%s: %" PRId64,
			      rows[i].self, first.value[V_THROTTLED]);
	}
}
END_TEST

/* Each family once, its lines together, no label twice. */
static void check_prometheus(char *text)
{
	char seen[128][80], family[80] = "", *line, *rest = NULL;
	unsigned count = 0;

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		size_t name = strcspn(line, "{ ");

		if (strncmp(line, "# HELP ", 7) == 0) {
			ck_assert_int_eq(sscanf(line, "# HELP %79s", family), 1);
			ck_assert_msg(strlen(line) > strlen(family) + 8, "%s: no help", family);
			for (unsigned i = 0; i < count; i++)
				ck_assert_str_ne(seen[i], family);
			ck_assert_uint_lt(count, 128);
			strcpy(seen[count++], family);
		} else if (line[0] != '#') {
			ck_assert_msg(strlen(family) == name && strncmp(line, family, name) == 0,
				      "%s in %s", line, family);
			ck_assert_msg(strchr(line, ' ') && !strstr(line, " -"), "%s", line);
		}
	}
	ck_assert_uint_gt(count, 5);
}

START_TEST(this_machine_is_read_and_shown)
{
	struct facts *f = facts_read("", NULL, 0, NULL, NULL);
	struct watch *w;
	char *text;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	uint64_t begun, us;

	ck_assert_ptr_nonnull(f);
	watch_place_take(f, &place);
	ck_assert_uint_ge(place.thread_count, 1);
	ck_assert_int_eq(watch_new(&w, "", &place), HT_OK);
	begun = clock_mono_us();
	watch_read(w, begun, &first);
	us = clock_mono_us() - begun;
	printf("a reading took %" PRIu64 " us\n", us);
	watch_free(w);
	watch_print(&first, &place, to);
	fclose(to);
	check_prometheus(text);
	free(text);
	ck_assert_int_ge(first.value[V_OUR_FILES], 3);
	ck_assert_uint_ge(first.thread_count, 1);
	ck_assert(cpus_has(&f->online, (unsigned)first.threads[0].cpu));
	facts_free(f);
}
END_TEST

static void reading_print(const char *wanted)
{
	char *text, line[256];
	size_t len;
	FILE *to = open_memstream(&text, &len);

	watch_print(&first, &place, to);
	fclose(to);
	snprintf(line, sizeof(line), "\n%s\n", wanted);
	ck_assert_msg(strstr(text, line), "no '%s' in:\n%s", wanted, text);
	free(text);
}

START_TEST(numbers_have_their_units)
{
	static const struct {
		enum watch_value value;
		int64_t number;
		const char *line;
	} rows[] = {
		{ V_OUR_SWAPPED, 3, "heptap_process_memory_bytes{kind=\"swapped\"} 3072" },
		{ V_MEMORY_UDP, 0, "heptap_host_socket_memory_bytes{kind=\"udp\"} 0" },
		{ V_PRESSURE_IO, 123,
		  "heptap_host_pressure_ratio{resource=\"io\",who=\"some\"} 0.0123" },
		{ V_PRESSURE_IO_ALL, 10000,
		  "heptap_host_pressure_ratio{resource=\"io\",who=\"all\"} 1.0000" },
		{ V_PRESSURE_CPU_SUM, 7000042,
		  "heptap_host_pressure_seconds_total{resource=\"cpu\",who=\"some\"} 7.000042" },
		{ V_THROTTLED_US, 1, "heptap_cgroup_throttled_seconds_total 0.000001" },
		{ V_THROTTLED_NS, 5000000001, "heptap_cgroup_throttled_seconds_total 5.000000001" },
		{ V_TRACKED, INT64_MAX, "heptap_host_conntrack_entries 9223372036854775807" },
		{ V_OUR_OOM, 666, "heptap_process_oom_score 666" },
	};
	char pages[128];

	memset(&first, 0xff, sizeof(first));
	first.at_us = 1;
	first.thread_count = 0;
	memset(first.cpu, 0, sizeof(first.cpu));
	place = (struct watch_place){ 0 };
	for (int i = 0; i < ROWS(rows); i++) {
		memset(first.value, 0xff, sizeof(first.value));
		first.value[rows[i].value] = rows[i].number;
		reading_print(rows[i].line);
	}
	first.value[V_MEMORY_UDP_MOST] = 3;
	snprintf(pages, sizeof(pages), "heptap_host_socket_memory_limit_bytes{kind=\"udp\"} %ld",
		 3 * sysconf(_SC_PAGESIZE));
	reading_print(pages);
	first.cpu[9] = (struct watch_cpu){ .has_softnet = true, .net_rx = 5 };
	first.cpu[9].softnet[SOFTNET_SQUEEZED] = 12;
	reading_print("heptap_host_softnet_total{cpu=\"9\",event=\"squeezed\"} 12");
	reading_print("heptap_host_receive_softirqs_total{cpu=\"9\"} 5");
	first.thread_count = 1;
	first.threads[0] = (struct watch_thread){ "a\"b\n", 1, 2, 3, 4 };
	reading_print("heptap_thread_migrations_total{thread=\"a?b?\"} 4");
	reading_print("heptap_thread_switches_total{thread=\"a?b?\",kind=\"involuntary\"} 3");
}
END_TEST

static int64_t udp_of(const char *text, const char *name)
{
	char names[1024], numbers[1024], *at = NULL, *number = NULL;
	const char *line = strstr(text, "\nUdp: ");

	ck_assert_ptr_nonnull(line);
	ck_assert_int_eq(sscanf(line, "\n%1023[^\n]\n%1023[^\n]", names, numbers), 2);
	for (char *n = strtok_r(names, " ", &at), *v = strtok_r(numbers, " ", &number); n && v;
	     n = strtok_r(NULL, " ", &at), v = strtok_r(NULL, " ", &number))
		if (strcmp(n, name) == 0)
			return atoll(v);
	ck_abort_msg("no %s", name);
	return -1;
}

/* Datagrams for a socket that nobody reads. */
static unsigned fill(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0), small = 4096;
	socklen_t len = sizeof(at);
	char octets[512] = "";

	shell("ip link set lo up");
	ck_assert_int_eq(setsockopt(in, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(bind(in, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(getsockname(in, (struct sockaddr *)&at, &len), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(
			sendto(out, octets, sizeof(octets), 0, (struct sockaddr *)&at, len),
			sizeof(octets));
	for (small = 0; recv(in, octets, sizeof(octets), MSG_DONTWAIT) > 0; small++)
		;
	close(in);
	close(out);
	return 100 - (unsigned)small;
}

/* In a namespace where nobody else has packets. */
START_TEST(a_namespace_that_rests_is_read_as_it_is)
{
	static char text[65536];
	struct watch_verdict v;
	struct watch *w;
	unsigned lost;

	if (!veth_make("a_namespace_that_rests_is_read_as_it_is"))
		return;
	place = (struct watch_place){ .nic_count = 1 };
	strcpy(place.nics[0].name, "near");
	ck_assert_int_eq(watch_new(&w, "", &place), HT_OK);
	watch_read(w, 1000000, &first);
	ck_assert_int_eq(first.value[V_UDP_RCVBUF], 0);
	lost = fill();
	ck_assert_uint_gt(lost, 50);
	watch_read(w, 11000000, &second);
	watch_free(w);
	ck_assert_int_eq(second.value[V_UDP_RCVBUF], lost);
	ck_assert_int_gt(file_read("", text, sizeof(text), "/proc/net/snmp"), 0);
	ck_assert_int_eq(second.value[V_UDP_IN], udp_of(text, "InDatagrams"));
	ck_assert_int_eq(second.value[V_UDP_ERRORS], udp_of(text, "InErrors"));
	ck_assert_int_eq(second.value[V_UDP_IN], 100 - lost);
	watch_judge(&first, &second, &place, &v);
	ck_assert_ptr_nonnull(strstr(v.text[FINDING_UDP_BUFFER], "UDP datagrams found the buffer"));
	ck_assert_uint_eq(strtoul(v.text[FINDING_UDP_BUFFER], NULL, 10), lost);
	watch_judge(&second, &second, &place, &v);
	ck_assert_str_eq(v.text[FINDING_UDP_BUFFER], "");
}
END_TEST

static void *wait_until_told(void *arg)
{
	_Atomic int *step = arg;

	atomic_store(step, 1);
	while (atomic_load(step) > 0) {
		usleep(100); /* so that it leaves its CPU and comes back */
		atomic_fetch_add(step, 1);
	}
	return NULL;
}

static void wait_for_turns(_Atomic int *step)
{
	int from = atomic_load(step);

	while (atomic_load(step) < from + 3)
		sched_yield();
}

/* A thread is moved, away from where it was when the watch began. */
START_TEST(a_thread_that_somebody_moved_is_found)
{
	_Atomic int step = 0;
	pthread_t other;
	cpu_set_t all, set;
	struct watch_verdict v;
	struct watch *w;
	int from = -1, to = -1;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		to = from < 0 ? -1 : to < 0 ? cpu : to;
		from = from < 0 ? cpu : from;
	}
	if (to < 0) {
		printf("skipped: a_thread_that_somebody_moved_is_found: one CPU\n");
		return;
	}
	ck_assert_int_eq(pthread_create(&other, NULL, wait_until_told, &step), 0);
	pthread_setname_np(other, "ht-hep-0");
	CPU_ZERO(&set);
	CPU_SET(from, &set);
	ck_assert_int_eq(pthread_setaffinity_np(other, sizeof(set), &set), 0);
	while (atomic_load(&step) < 1)
		sched_yield();
	watch_place_take(NULL, &place);
	ck_assert_int_eq(watch_new(&w, "", &place), HT_OK);
	watch_read(w, 1000000, &first);
	wait_for_turns(&step);
	watch_read(w, 2000000, &second);
	watch_judge(&first, &second, &place, &v);
	ck_assert_str_eq(v.text[FINDING_THREADS], "");
	first = second;
	CPU_ZERO(&set);
	CPU_SET(to, &set);
	ck_assert_int_eq(pthread_setaffinity_np(other, sizeof(set), &set), 0);
	wait_for_turns(&step);
	watch_read(w, 3000000, &second);
	watch_judge(&first, &second, &place, &v);
	ck_assert_ptr_nonnull(strstr(v.text[FINDING_THREADS], "ht-hep-0 on CPU "));
	watch_free(w);
	atomic_store(&step, INT_MIN);
	pthread_join(other, NULL);
}
END_TEST

/* ---- findings ---- */

/* Two readings ten seconds apart in which nothing is wrong. */
static void set_well(void)
{
	memset(&first, 0, sizeof(first));
	memset(first.value, 0xff, sizeof(first.value));
	first.at_us = 1000000;
	for (int cpu = 0; cpu < 4; cpu++)
		first.cpu[cpu] = (struct watch_cpu){ .has_softnet = true, .has_ticks = true };
	first.thread_count = 1;
	first.threads[0] = (struct watch_thread){ "ht-cap-0", 1, 5, 6, 7 };
	second = first;
	second.at_us = 11000000;
	second.threads[0].voluntary++;
	for (int cpu = 0; cpu < 4; cpu++)
		second.cpu[cpu].all = 1000;
	memset(&place, 0, sizeof(place));
	place.nic_count = place.thread_count = 1;
	strcpy(place.threads[0].name, "ht-cap-0");
	cpus_add(&place.threads[0].where, 1);
	strcpy(place.nics[0].name, "eth0");
	place.nics[0].irq_count = 1;
	place.nics[0].irqs[0] = (struct watch_irq_place){ 64, 0, "eth0-TxRx-0", 1 };
}

/* That finding alone, or none; its text is whole. */
static void found(int which, const char *part)
{
	struct watch_verdict v;

	watch_judge(&first, &second, &place, &v);
	for (int i = 0; i < WATCH_FINDINGS; i++) {
		ck_assert_msg((i == which) == (v.text[i][0] != '\0'), "%s: %s",
			      watch_finding_name(i), v.text[i]);
		ck_assert_uint_lt(strlen(v.text[i]), WATCH_TEXT - 1);
	}
	if (which >= 0)
		ck_assert_msg(strstr(v.text[which], part), "no '%s' in: %s", part, v.text[which]);
	set_well();
}

#define NONE (-1)

START_TEST(nothing_is_found_where_all_is_well)
{
	set_well();
	found(NONE, "");
	first.at_us = 0;
	second.value[V_UDP_RCVBUF] = 5;
	found(NONE, "");
	/* a number that was set back is no loss */
	first.value[V_UDP_RCVBUF] = 50;
	second.value[V_UDP_RCVBUF] = 5;
	found(NONE, "");
}
END_TEST

/* @p v grew by @p by. */
static void grow(enum watch_value v, int64_t by)
{
	first.value[v] = INT64_C(1) << 40;
	second.value[v] = first.value[v] + by;
}

START_TEST(each_counter_that_grows_is_found)
{
	static const struct {
		enum watch_value value;
		enum watch_finding finding;
	} rows[] = { { V_UDP_RCVBUF, FINDING_UDP_BUFFER },
		     { V_UDP6_RCVBUF, FINDING_UDP_BUFFER },
		     { V_UDP_MEM, FINDING_UDP_MEMORY },
		     { V_UDP6_MEM, FINDING_UDP_MEMORY },
		     { V_TCP_LISTEN_DROPS, FINDING_LISTEN },
		     { V_TCP_LISTEN_OVERFLOWS, FINDING_LISTEN },
		     { V_TRACK_INSERT_FAILED, FINDING_TRACK_DROPS },
		     { V_TRACK_DROP, FINDING_TRACK_DROPS },
		     { V_THROTTLED, FINDING_THROTTLED },
		     { V_CGROUP_HIGH, FINDING_MEMORY },
		     { V_CGROUP_MAX, FINDING_MEMORY },
		     { V_CGROUP_OOM, FINDING_MEMORY } };

	set_well();
	for (int i = 0; i < ROWS(rows); i++) {
		grow(rows[i].value, 0);
		found(NONE, "");
		grow(rows[i].value, 1);
		found(rows[i].finding, "1 ");
		grow(rows[i].value, INT64_C(1) << 40);
		found(rows[i].finding, "1099511627776 ");
		second.value[rows[i].value] = 7; /* it could not be read before */
		found(NONE, "");
	}
}
END_TEST

START_TEST(what_is_nearly_full_is_found)
{
	static const struct {
		enum watch_value used, most;
		enum watch_finding finding;
	} rows[] = { { V_FILES_ALLOCATED, V_FILES_MOST, FINDING_FILES },
		     { V_OUR_FILES, V_OUR_FILES_MOST, FINDING_OUR_FILES },
		     { V_TRACKED, V_TRACKED_MOST, FINDING_TRACK_FULL } };

	set_well();
	for (int i = 0; i < ROWS(rows); i++) {
		second.value[rows[i].used] = 800;
		second.value[rows[i].most] = 1000;
		found(NONE, "");
		second.value[rows[i].used] = 801;
		second.value[rows[i].most] = 1000;
		found(rows[i].finding, "801 of 1000 ");
		second.value[rows[i].used] = 801;
		found(NONE, "");
		second.value[rows[i].used] = INT64_MAX / 2;
		second.value[rows[i].most] = INT64_MAX;
		found(NONE, "");
	}
	second.value[V_FILES_ALLOCATED] = 900;
	second.value[V_FILES_UNUSED] = 200;
	second.value[V_FILES_MOST] = 1000;
	found(NONE, "");
	second.value[V_OUR_SWAPPED] = 1024;
	found(NONE, "");
	second.value[V_OUR_SWAPPED] = 5 << 10;
	found(FINDING_SWAPPED, "5 MiB ");
	second.value[V_PRESSURE_MEMORY] = 1000;
	found(NONE, "");
	second.value[V_PRESSURE_MEMORY] = 1234;
	found(FINDING_MEMORY, " 12 % of the last 10 s");
}
END_TEST

START_TEST(softnet_that_drops_or_stops_is_found)
{
	set_well();
	second.cpu[2].softnet[SOFTNET_DROPPED] = 5;
	second.cpu[3].softnet[SOFTNET_DROPPED] = 4;
	found(FINDING_BACKLOG, "CPU 2 had no room for 5 packets");
	second.cpu[3].softnet[SOFTNET_SQUEEZED] = 10; /* one each second */
	found(NONE, "");
	second.cpu[3].softnet[SOFTNET_SQUEEZED] = 11;
	found(FINDING_SQUEEZE, "CPU 3 stopped receiving 11 times in 10 s");
	first.cpu[1].softnet[SOFTNET_DROPPED] = UINT32_MAX; /* round */
	second.cpu[1].softnet[SOFTNET_DROPPED] = 2;
	found(FINDING_BACKLOG, "CPU 1 had no room for 3 packets");
	first.cpu[1].has_softnet = false;
	second.cpu[1].softnet[SOFTNET_DROPPED] = 2;
	found(NONE, "");
}
END_TEST

START_TEST(a_nic_that_drops_is_found)
{
	set_well();
	for (int i = NIC_MISSED; i <= NIC_OVER; i++) {
		second.nics[0].event[i] = 3;
		found(FINDING_NIC, "eth0: the NIC dropped 3 packets");
	}
	for (int i = 0; i < WATCH_DRIVER_COUNT; i++) {
		second.nics[0].driver[i] = 3;
		second.nics[0].event[NIC_MISSED] = 3; /* the same ones */
		found(FINDING_NIC, "eth0: the NIC dropped 3 packets");
	}
	/* what nobody wanted, or a filter refused, is not lost for us */
	second.nics[0].event[NIC_DROPPED] = second.nics[0].event[NIC_NO_HANDLER] = 9;
	found(NONE, "");
	first.nics[0].event[NIC_MISSED] = -1;
	second.nics[0].event[NIC_MISSED] = 9;
	found(NONE, "");
}
END_TEST

START_TEST(interrupts_elsewhere_are_found)
{
	set_well();
	second.nics[0].irqs[0] = (struct watch_irq){ 1000, 901 };
	found(NONE, "");
	second.nics[0].irqs[0] = (struct watch_irq){ 1000, 900 };
	found(FINDING_INTERRUPTS, "eth0: 100 of 1000 interrupts of receive queue 0 (64)");
	second.nics[0].irqs[0] = (struct watch_irq){ 9, 0 };
	found(NONE, "");
	second.nics[0].irqs[0] = (struct watch_irq){ 1000, 0 };
	place.nics[0].irqs[0].cpu = -1;
	found(NONE, "");
	first.nics[0].irqs[0] = (struct watch_irq){ -1, -1 };
	second.nics[0].irqs[0] = (struct watch_irq){ 1000, 0 };
	found(NONE, "");
}
END_TEST

START_TEST(threads_elsewhere_are_found)
{
	set_well();
	second.threads[0].cpu = 2;
	found(FINDING_THREADS,
	      "1 threads are off the cores that they were given (ht-cap-0 on CPU 2)");
	second.threads[0].cpu = 2;
	second.threads[0].voluntary--; /* it sleeps since */
	found(NONE, "");
	second.threads[0].cpu = 2;
	second.threads[0].voluntary--;
	second.threads[0].involuntary++;
	found(FINDING_THREADS, "(ht-cap-0 on CPU 2)");
	second.threads[0].cpu = 2;
	first.thread_count = 0;
	found(NONE, "");
	second.threads[0].cpu = 2;
	cpus_add(&place.threads[0].where, 2);
	first.threads[0].cpu = second.threads[0].cpu = 2;
	found(NONE, "");
	second.threads[0].cpu = 2;
	place.threads[0].where = (struct cpus){ 0 };
	found(NONE, "");
	second.thread_count = 0; /* it has ended */
	found(NONE, "");
	for (unsigned i = 0; i < WATCH_THREADS; i++) {
		snprintf(place.threads[i].name, WATCH_NAME, "ht-cap-%u", i);
		cpus_add(&place.threads[i].where, 1);
		memcpy(second.threads[i].name, place.threads[i].name, WATCH_NAME);
		second.threads[i].cpu = 1000;
		first.threads[i] = second.threads[i];
		second.threads[i].voluntary++;
	}
	place.thread_count = first.thread_count = second.thread_count = WATCH_THREADS;
	found(FINDING_THREADS, "160 threads");
	strcpy(place.nics[0].name, "e\xc3\xa4\n");
	second.nics[0].event[NIC_MISSED] = 3;
	found(FINDING_NIC, "e???: the NIC dropped 3 packets");
}
END_TEST

START_TEST(uneven_queues_are_found)
{
	set_well();
	for (int q = 0; q < 8; q++)
		second.nics[0].queue_packets[q] = q == 5 ? 5600 : 1000;
	for (int q = 8; q < WATCH_QUEUES; q++)
		second.nics[0].queue_packets[q] = -1;
	found(FINDING_QUEUES, "eth0: receive queue 5 has 5600 of 12600 packets though there are 8");
	for (int q = 0; q < WATCH_QUEUES; q++)
		second.nics[0].queue_packets[q] = q < 8 ? 1500 + (q == 5) * 500 : -1;
	found(NONE, "");
	for (int q = 0; q < WATCH_QUEUES; q++) /* too few to say */
		second.nics[0].queue_packets[q] = q < 8 ? (q == 5) * 9999 : -1;
	found(NONE, "");
	for (int q = 0; q < WATCH_QUEUES; q++)
		second.nics[0].queue_packets[q] = q == 0 ? INT64_MAX : -1;
	found(NONE, "");
}
END_TEST

START_TEST(a_core_that_only_receives_is_found)
{
	set_well();
	second.cpu[1].softirq = 860;
	second.nics[0].ring_dropped = 77;
	found(FINDING_SOFTIRQ, "CPU 1 spends 86 % of its time on receiving and leaves its capture "
			       "thread too little: 77 packets are lost in the ring; with "
			       "tune.placement: split");
	second.cpu[1].softirq = 860;
	found(NONE, "");
	second.cpu[1].softirq = 850;
	second.nics[0].ring_dropped = 77;
	found(NONE, "");
	second.cpu[2].softirq = 990;
	second.nics[0].ring_dropped = 77;
	found(NONE, "");
	place.threads[0].where = (struct cpus){ 0 }; /* beside it */
	cpus_add(&place.threads[0].where, 2);
	first.threads[0].cpu = second.threads[0].cpu = 2;
	second.cpu[1].softirq = 860;
	second.nics[0].ring_dropped = 77;
	found(NONE, "");
}
END_TEST

/* Whatever is read, every text has its end. */
START_TEST(any_two_readings_are_judged)
{
	struct random r = random_from(41);
	struct watch_verdict v;

	for (int round = 0; round < 300; round++) {
		uint64_t *words[2] = { (uint64_t *)&first, (uint64_t *)&second };

		set_well();
		for (int side = 0; side < 2; side++) {
			for (size_t i = 0; i < 20000; i++) {
				size_t at = random_below(&r, sizeof(first) / 8);

				words[side][at] = random_next(&r) >> random_below(&r, 64);
			}
			((struct watch_reading *)words[side])->thread_count = 1;
			memcpy(((struct watch_reading *)words[side])->threads[0].name, "ht-cap-0",
			       9);
		}
		for (int i = 0; i < CPUS_MOST; i++) { /* switches are no numbers */
			first.cpu[i].has_softnet = second.cpu[i].has_softnet = i & 1;
			first.cpu[i].has_ticks = second.cpu[i].has_ticks = i & 1;
		}
		watch_judge(&first, &second, &place, &v);
		for (int i = 0; i < WATCH_FINDINGS; i++)
			ck_assert_uint_lt(strlen(v.text[i]), WATCH_TEXT - 1);
	}
}
END_TEST

/* ---- begin and end ---- */

static char told[512];

static void tell(enum watch_finding which, bool is_on, const char *text)
{
	size_t used = strlen(told);

	snprintf(told + used, sizeof(told) - used, "%c%s(%s) ", is_on ? '+' : '-',
		 watch_finding_name(which), text);
}

static const char *remember(struct watch_state *s, uint64_t now_s, const char *nic,
			    const char *swapped)
{
	static struct watch_verdict v;

	told[0] = '\0';
	strcpy(v.text[FINDING_NIC], nic);
	strcpy(v.text[FINDING_SWAPPED], swapped);
	watch_remember(s, &v, now_s * 1000000, tell);
	return told;
}

START_TEST(a_finding_is_told_twice)
{
	static struct watch_state s;

	ck_assert_str_eq(remember(&s, 10, "", ""), "");
	ck_assert_str_eq(remember(&s, 20, "a", ""), "+nic_drops(a) ");
	ck_assert_str_eq(remember(&s, 30, "b", "c"), "+swapped(c) ");
	ck_assert_str_eq(remember(&s, 40, "", "c"), "");
	ck_assert_str_eq(remember(&s, 80, "", "c"), "");
	ck_assert_str_eq(remember(&s, 85, "d", "c"), ""); /* again, within the minute */
	ck_assert_str_eq(remember(&s, 144, "", "c"), "");
	ck_assert(s.finding[FINDING_NIC].is_on);
	ck_assert_str_eq(remember(&s, 145, "", "c"), "-nic_drops(a) ");
	ck_assert(!s.finding[FINDING_NIC].is_on && s.finding[FINDING_SWAPPED].is_on);
	ck_assert_str_eq(remember(&s, 155, "", ""), "");
	ck_assert_str_eq(remember(&s, 205, "e", ""), "+nic_drops(e) -swapped(c) ");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *texts = tcase_create("texts"), *hosts = tcase_create("hosts");
	TCase *findings = tcase_create("findings");
	SRunner *runner;
	int failed;

	tcase_add_test(texts, numbers_are_found_by_name);
	tcase_add_test(texts, what_is_not_there_is_unknown);
	tcase_add_test(texts, softnet_of_several_kernels);
	tcase_add_test(texts, interrupts_are_counted_by_cpu);
	tcase_add_test(texts, ticks_are_of_each_cpu);
	tcase_add_test(texts, a_thread_may_be_called_anything);
	tcase_add_test(texts, a_driver_says_it_in_its_own_words);
	tcase_add_unchecked_fixture(hosts, hosts_unpack, hosts_remove);
	tcase_add_test(hosts, a_recorded_machine_is_read);
	tcase_add_test(hosts, a_thousand_cpus_are_read);
	tcase_add_test(hosts, a_host_without_files_is_read);
	tcase_add_test(hosts, what_cannot_be_read_is_said_once);
	tcase_add_test(hosts, the_cgroup_is_ours);
	tcase_add_test(hosts, this_machine_is_read_and_shown);
	tcase_add_test(hosts, numbers_have_their_units);
	tcase_add_test(hosts, a_namespace_that_rests_is_read_as_it_is);
	tcase_add_test(hosts, a_thread_that_somebody_moved_is_found);
	tcase_set_timeout(hosts, 60);
	tcase_add_test(findings, nothing_is_found_where_all_is_well);
	tcase_add_test(findings, each_counter_that_grows_is_found);
	tcase_add_test(findings, what_is_nearly_full_is_found);
	tcase_add_test(findings, softnet_that_drops_or_stops_is_found);
	tcase_add_test(findings, a_nic_that_drops_is_found);
	tcase_add_test(findings, interrupts_elsewhere_are_found);
	tcase_add_test(findings, threads_elsewhere_are_found);
	tcase_add_test(findings, uneven_queues_are_found);
	tcase_add_test(findings, a_core_that_only_receives_is_found);
	tcase_add_test(findings, any_two_readings_are_judged);
	tcase_add_test(findings, a_finding_is_told_twice);
	tcase_set_timeout(findings, 60);
	suite_add_tcase(suite, texts);
	suite_add_tcase(suite, hosts);
	suite_add_tcase(suite, findings);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
