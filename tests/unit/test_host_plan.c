/* tune/host_plan.c, changes.c, findings.c: what a whole machine gets, and what is said of
 * it. */
#include "tune/host_plan.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/hosts.h"
#include "tests/unit/made_host.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define MIB	    (1ULL << 20)

static struct tune_wish usual(void)
{
	return (struct tune_wish){
		.sizes = { .hep_sockets = 1, .memory = 1024 * MIB, .block_bytes = 1376256 },
		.ports = { 9060 },
		.port_count = 1
	};
}

static const struct tune_change *change_of(const struct host_plan *p, const char *object)
{
	for (unsigned i = 0; i < p->change_count; i++)
		if (strcmp(p->changes[i].object, object) == 0)
			return &p->changes[i];
	return NULL;
}

static const struct finding *finding_of(const struct host_plan *p, const char *object,
					const char *part)
{
	for (unsigned i = 0; i < p->findings.count; i++)
		if (strcmp(p->findings.list[i].object, object) == 0 &&
		    strstr(p->findings.list[i].text, part))
			return &p->findings.list[i];
	return NULL;
}

/* ---- recorded machines ---- */

/* NULL as wanted: there is no such change. */
static const struct {
	int machine;
	const char *object, *now, *wanted;
	bool is_auto, is_blocked;
} wanted[] = {
	{ 0, "/proc/irq/38/smp_affinity_list", "*", "1", true, false },
	{ 0, "/proc/irq/39/smp_affinity_list", "*", "1", true, false },
	{ 0, "/proc/irq/37/smp_affinity_list", "*", "0", false, false },
	{ 0, "/sys/class/net/eth0/queues/rx-0/rps_cpus", NULL, NULL, false, false },
	{ 0, "/proc/sys/net/core/rmem_max", NULL, NULL, false, false },
	{ 1, "/proc/irq/27/smp_affinity_list", "*", "2", true, false },
	{ 1, "/proc/irq/30/smp_affinity_list", "*", "3", true, false },
	{ 1, "ens3/channels/combined", NULL, NULL, false, false },
	{ 2, "/proc/irq/64/smp_affinity_list", "*", "4", true, true },
	{ 2, "/proc/irq/71/smp_affinity_list", "*", "11", true, true },
	{ 2, "enp3s0f0/rings/rx", "512", "2048", false, false },
	{ 2, "enp3s0f0/features/large-receive-offload", "on", "off", false, false },
	{ 2, "enp3s0f0/features/generic-receive-offload", "on", "off", false, false },
	{ 2, "enp3s0f0/features/rx-gro-hw", NULL, NULL, false, false },
	{ 0, "eth0/coalesce/rx_usecs", NULL, NULL, false, false },
	{ 2, "enp3s0f0/coalesce/rx_usecs", "1", "50", false, false },
	{ 2, "enp3s0f0/pause/rx", "on", "off", false, false },
	{ 2, "/proc/sys/vm/swappiness", "60", "10", false, false },
	{ 3, "ens3f0np0/channels/combined", "32", "16", false, false },
	{ 3, "ens3f0np0/rxflow/udp4", "sdfn", "sd", false, false },
	{ 2, "enp3s0f0/rxflow/udp4", NULL, NULL, false, false },
	{ 0, "eth0/rxflow/udp4", NULL, NULL, false, false },
	{ 3, "/proc/irq/41/smp_affinity_list", "*", "16", true, false },
	{ 3, "/proc/irq/57/smp_affinity_list", "*", "16", true, false },
	{ 3, "ens3f0np0/coalesce/rx_usecs", NULL, NULL, false, false },
	{ 4, "/proc/irq/64/smp_affinity_list", NULL, NULL, false, false },
};

static struct host_plan *plan_of(struct facts **f, int machine, const struct tune_wish *w)
{
	struct host_plan *p;

	*f = facts_read(hosts_root(machine), &hosts_nic[machine], 1, NULL, NULL);
	ck_assert_ptr_nonnull(*f);
	p = host_plan_make(*f, w);
	ck_assert_ptr_nonnull(p);
	ck_assert(!p->findings.is_short);
	return p;
}

START_TEST(recorded_machine_is_to_change)
{
	struct tune_wish w = usual();
	struct facts *f;
	struct host_plan *p = plan_of(&f, wanted[_i].machine, &w);
	const struct tune_change *c = change_of(p, wanted[_i].object);

	if (!wanted[_i].wanted) {
		ck_assert_ptr_null(c);
	} else {
		/* An interrupt may be there already. */
		ck_assert_msg(c || wanted[_i].now[0] == '*', "%s", wanted[_i].object);
	}
	if (c) {
		ck_assert_str_eq(c->wanted, wanted[_i].wanted);
		ck_assert(wanted[_i].now[0] == '*' || strcmp(c->now, wanted[_i].now) == 0);
		ck_assert_int_eq(c->is_auto, wanted[_i].is_auto);
		ck_assert_int_eq(c->blocked != NULL, wanted[_i].is_blocked);
	}
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* Channels, rings, features and hashes, interrupts, queues, the rest of the driver, sysctls. */
static int step_of(const struct tune_change *c)
{
	return c->kind == TUNE_IRQ		 ? 3
	       : c->kind == TUNE_QUEUE		 ? 4
	       : c->kind == TUNE_SYSCTL		 ? 6
	       : strstr(c->object, "/channels/") ? 0
	       : strstr(c->object, "/rings/")	 ? 1
	       : strstr(c->object, "/features/") ? 2
	       : strstr(c->object, "/rxflow/")	 ? 2
						 : 5;
}

/* Whatever the machine: an order that can be written, no change to what is there already, none of
   the same object twice, every member said, and the same plan again. */
START_TEST(changes_are_sound)
{
	struct tune_wish w = usual();
	struct facts *f;
	struct host_plan *p = plan_of(&f, _i, &w), *again = host_plan_make(f, &w);

	ck_assert_uint_eq(p->change_count, again->change_count);
	ck_assert_uint_eq(p->findings.count, again->findings.count);
	for (unsigned i = 0; i < p->change_count; i++) {
		const struct tune_change *c = &p->changes[i];

		ck_assert_str_eq(c->object, again->changes[i].object);
		ck_assert_str_eq(c->wanted, again->changes[i].wanted);
		ck_assert_str_ne(c->now, c->wanted);
		ck_assert(c->wanted[0] && c->why[0] && c->right && c->danger && c->undo);
		ck_assert_int_eq(c->expect[0] != 0, c->kind == TUNE_IRQ);
		ck_assert_int_eq(c->nic[0] == 0, c->kind == TUNE_SYSCTL);
		ck_assert(!i || step_of(&p->changes[i - 1]) <= step_of(c));
		ck_assert_ptr_eq(change_of(p, c->object), c);
	}
	host_plan_free(again);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* With channels for 600,000 packets/s, and with more threads than queues. */
START_TEST(wishes_change_the_plan)
{
	struct tune_wish w = usual();
	struct facts *f;
	struct host_plan *p;

	w.mirrors[0].packets_per_s = 600000;
	p = plan_of(&f, 3, &w);
	ck_assert_str_eq(change_of(p, "ens3f0np0/channels/combined")->wanted, "4");
	ck_assert_uint_eq(p->placement.nics[0].threads, 4);
	host_plan_free(p);
	facts_free(f);

	w = usual();
	w.mirrors[0].threads = 12;
	p = plan_of(&f, 2, &w);
	ck_assert_str_eq(change_of(p, "/sys/class/net/enp3s0f0/queues/rx-0/rps_cpus")->wanted,
			 "fff0");
	ck_assert_str_eq(change_of(p, "/sys/class/net/enp3s0f0/queues/tx-0/xps_cpus")->wanted,
			 "1010");
	ck_assert_str_eq(change_of(p, "/sys/class/net/enp3s0f0/queues/tx-7/xps_cpus")->wanted,
			 "800");
	host_plan_free(p);
	facts_free(f);

	w = usual();
	w.mirrors[0].ring = 5 * MIB;
	w.sizes.writers = 3;
	w.sizes.hep_threads = 2;
	p = plan_of(&f, 2, &w);
	ck_assert_uint_eq(p->rings[0], 5 * MIB);
	ck_assert_uint_eq(p->sizes.writers, 3);
	ck_assert_uint_eq(p->placement.hep_threads, 2);
	ck_assert_int_eq(p->placement.hep_core[0], 12);
	ck_assert_int_eq(p->placement.hep_core[1], 13);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

static const struct {
	int machine;
	const char *object, *part;
} said[] = {
	{ 2, "irqbalance", "IRQBALANCE_BANNED_CPULIST=4-11" },
	{ 2, "irqbalance", "--banirq=64" },
	{ 2, "enp3s0f0", "routing table could not be read" },
	{ 3, "tuned", "left to it" },
	{ 3, "SMT siblings", "idle" },
	{ 4, "CAP_NET_RAW", "can be captured" },
	{ 4, "net/core/rmem_max", "425984 octets" },
	{ 4, "net/core/rmem_max", "184 messages" },
};

START_TEST(recorded_machine_is_spoken_of)
{
	struct tune_wish w = usual();
	struct facts *f;
	struct host_plan *p = plan_of(&f, said[_i].machine, &w);

	ck_assert_ptr_nonnull(finding_of(p, said[_i].object, said[_i].part));
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* ---- settings that hurt, one at a time ---- */

static void make_machine(void)
{
	make_root();
	put("MemTotal: 16777216 kB\nSwapTotal: 1048576 kB\n", "proc/meminfo");
	put("0-7\n", "sys/devices/system/cpu/online");
	put("1\n", "sys/class/net/eth0/ifindex");
	put("0\n", "sys/class/net/eth0/queues/rx-0/rps_cpus");
}

static struct host_plan *plan_made(struct facts **f)
{
	const char *nic = "eth0";
	struct tune_wish w = usual();
	struct host_plan *p;

	*f = facts_read(root, &nic, 1, "/var/spool/heptap", NULL);
	p = host_plan_make(*f, &w);
	ck_assert_ptr_nonnull(p);
	return p;
}

/* file, a value that hurts, one that does not, the object of the finding */
static const struct {
	const char *file, *bad, *good, *object;
} settings[] = {
	{ "net/ipv4/tcp_timestamps", "0", "1", NULL },
	{ "net/ipv4/tcp_sack", "0", "1", NULL },
	{ "net/ipv4/tcp_window_scaling", "0", "1", NULL },
	{ "net/ipv4/tcp_syncookies", "0", "1", NULL },
	{ "net/ipv4/tcp_tw_recycle", "1", "0", NULL },
	{ "net/ipv4/ip_nonlocal_bind", "1", "0", NULL },
	{ "net/ipv4/udp_mem", "19257652\t19257652\t19257652", "383898\t511865\t767796", NULL },
	{ "net/ipv4/udp_rmem_min", "131072", "4096", NULL },
	{ "net/core/rmem_default", "31457280", "212992", NULL },
	{ "net/core/wmem_default", "31457280", "212992", NULL },
	{ "net/core/optmem_max", "25165824", "131072", NULL },
	{ "net/core/netdev_max_backlog", "300000", "1000", NULL },
	{ "net/core/netdev_tstamp_prequeue", "0", "1", NULL },
	{ "net/core/busy_poll", "50", "0", NULL },
	{ "net/core/busy_read", "50", "0", NULL },
	{ "net/core/somaxconn", "128", "4096", NULL },
	{ "net/ipv4/ip_local_port_range", "1024\t65535", "32768\t60999", NULL },
	{ "net/ipv4/conf/all/rp_filter", "1", "2", NULL },
	{ "net/ipv4/conf/all/log_martians", "1", "0", NULL },
	{ "net/ipv4/ip_forward", "1", "0", NULL },
	{ "net/ipv6/conf/all/disable_ipv6", "1", "0", NULL },
	{ "net/netfilter/nf_conntrack_count", "5", "0", NULL },
	{ "net/netfilter/nf_conntrack_helper", "1", "0", NULL },
	{ "vm/dirty_ratio", "60", "20", NULL },
	{ "vm/dirty_ratio", "30", "20", NULL },
	{ "vm/dirty_background_ratio", "30", "10", NULL },
	{ "net/core/flow_limit_cpu_bitmap", "f0", "00", NULL },
	{ "vm/zone_reclaim_mode", "1", "0", NULL },
	{ "kernel/shmmax", "1073741823", "18446744073692774399", NULL },
	{ "kernel/shmall", "1000", "18446744073692774399", NULL },
	{ "fs/file-max", "65536", "9223372036854775807", NULL },
	{ "fs/file-nr", "90000 0 100000", "1000 0 100000", NULL },
	{ "fs/nr_open", "1024", "1048576", NULL },
	{ "fs/epoll/max_user_watches", "100", "1000000", NULL },
};

START_TEST(setting_that_hurts_is_found)
{
	const char *object = settings[_i].object ? settings[_i].object : settings[_i].file;
	struct facts *f;
	struct host_plan *p;

	put(settings[_i].bad, "proc/sys/%s", settings[_i].file);
	p = plan_made(&f);
	ck_assert_msg(finding_of(p, object, "") != NULL, "%s", object);
	host_plan_free(p);
	facts_free(f);
	put(settings[_i].good, "proc/sys/%s", settings[_i].file);
	p = plan_made(&f);
	ck_assert_msg(finding_of(p, object, "") == NULL, "%s", object);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

START_TEST(mount_that_hurts_is_found)
{
	struct facts *f;
	struct host_plan *p;

	put("22 1 8:1 / / rw,sync,noatime - ext4 /dev/sda1 rw,nobarrier,data=writeback\n",
	    "proc/self/mountinfo");
	p = plan_made(&f);
	ck_assert_ptr_nonnull(finding_of(p, "/var/spool/heptap", "async"));
	ck_assert_ptr_nonnull(finding_of(p, "/var/spool/heptap", "said to be on disk"));
	ck_assert_ptr_nonnull(finding_of(p, "/var/spool/heptap", "old contents"));
	ck_assert_ptr_null(finding_of(p, "/var/spool/heptap", "each read"));
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* Of a disk with fewer interrupts than there are CPUs. */
START_TEST(disk_that_interrupts_a_capture_core_is_found)
{
	struct facts *f;
	struct host_plan *p;
	int core;

	put("22 1 8:1 / / rw,relatime - ext4 /dev/vda1 rw\n", "proc/self/mountinfo");
	put("0\n", "sys/devices/pci/virtio1/block/vda/vda1/partition");
	put("\n", "sys/devices/pci/msi_irqs/30");
	put("0\n", "sys/dev/block/none");
	ck_assert_int_eq(run_line("ln -s ../../devices/pci/virtio1/block/vda/vda1 "
				  "%s/sys/dev/block/8:1",
				  root),
			 0);
	put("0-7\n", "proc/irq/30/smp_affinity_list");
	put("0\n", "proc/irq/30/effective_affinity_list");
	p = plan_made(&f);
	ck_assert_uint_eq(f->spool.irq_count, 1);
	ck_assert_ptr_null(finding_of(p, "/var/spool/heptap", "interrupts of vda1"));
	core = p->placement.nics[0].core[0];
	ck_assert_int_gt(core, 0);
	host_plan_free(p);
	facts_free(f);
	ck_assert_int_eq(run_line("echo %d >%s/proc/irq/30/effective_affinity_list", core, root),
			 0);
	p = plan_made(&f);
	ck_assert_ptr_nonnull(finding_of(p, "/var/spool/heptap", "interrupts of vda1"));
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* These are not raised. */
START_TEST(settings_that_are_lowered_are_planned)
{
	const char *nic = "eth0";
	struct tune_wish w = usual();
	const struct tune_change *c;
	struct host_plan *p;
	struct facts *f;

	put("1\n", "sys/class/net/eth0/threaded");
	put("Ip: InReceives ReasmFails\nIp: 9 7\n", "proc/net/snmp");
	put("30\n", "proc/sys/net/ipv4/ipfrag_time");
	f = facts_read(root, &nic, 1, NULL, NULL);
	p = host_plan_make(f, &w);
	c = change_of(p, "/sys/class/net/eth0/threaded");
	ck_assert_ptr_nonnull(c);
	ck_assert_str_eq(c->wanted, "0");
	c = change_of(p, "/proc/sys/net/ipv4/ipfrag_time");
	ck_assert_ptr_nonnull(c);
	ck_assert_str_eq(c->wanted, "10");
	for (unsigned i = 0; i < p->change_count; i++)
		ck_assert_msg(!p->changes[i].blocked, "%s: %s", p->changes[i].object,
			      p->changes[i].blocked);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* Never a NIC of the default route, unless it was allowed. */
START_TEST(management_nic_is_left_alone)
{
	const char *nic = "eth0";
	struct tune_wish w = usual();
	struct host_plan *p;
	struct facts *f;

	put("Iface\neth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
	    "proc/net/route");
	f = facts_read(root, &nic, 1, NULL, NULL);
	f->nics[0].driver.gro = 1;
	p = host_plan_make(f, &w);
	ck_assert_ptr_nonnull(finding_of(p, "eth0", "default route"));
	ck_assert_uint_gt(p->change_count, 0);
	for (unsigned i = 0; i < p->change_count; i++)
		ck_assert(p->changes[i].kind == TUNE_SYSCTL || p->changes[i].blocked);
	host_plan_free(p);
	w.may_management = true;
	p = host_plan_make(f, &w);
	ck_assert_ptr_null(finding_of(p, "eth0", "default route"));
	ck_assert_ptr_null(change_of(p, "eth0/features/generic-receive-offload")->blocked);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

START_TEST(strict_reverse_path_of_the_agents_nic_is_found)
{
	struct host_plan *p;
	struct facts *f;

	put("Iface\neth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
	    "proc/net/route");
	put("1\n", "proc/sys/net/ipv4/conf/eth0/rp_filter");
	put("0\n", "proc/sys/net/ipv4/conf/all/rp_filter");
	p = plan_made(&f);
	ck_assert_ptr_nonnull(finding_of(p, "net/ipv4/conf/eth0/rp_filter", "dropped"));
	host_plan_free(p);
	facts_free(f);
	put("2\n", "proc/sys/net/ipv4/conf/all/rp_filter");
	p = plan_made(&f);
	ck_assert_ptr_null(finding_of(p, "net/ipv4/conf/eth0/rp_filter", ""));
	host_plan_free(p);
	facts_free(f);
}
END_TEST

/* Numbers of the host are raised where a rule asks for it, and never lowered. */
START_TEST(sysctls_are_raised_where_a_rule_asks)
{
	struct facts *f;
	struct host_plan *p;

	put("CapEff: 0000000000000000\n", "proc/self/status");
	put("212992\n", "proc/sys/net/core/rmem_max");
	put("1000\n", "proc/sys/net/core/netdev_max_backlog");
	put("300\n", "proc/sys/net/core/netdev_budget");
	put("2000\n", "proc/sys/net/core/netdev_budget_usecs");
	put("4194304\n", "proc/sys/net/ipv4/ipfrag_high_thresh");
	put("60\n", "proc/sys/vm/swappiness");
	put("100.00 200.00\n", "proc/uptime");
	put("00000010 00000005 00001000\n", "proc/net/softnet_stat");
	put("Ip: Forwarding ReasmFails\nIp: 1 7\nUdp: InErrors\nUdp: 9\n", "proc/net/snmp");
	p = plan_made(&f);
	ck_assert_ptr_nonnull(change_of(p, "/proc/sys/net/core/rmem_max"));
	ck_assert_str_eq(change_of(p, "/proc/sys/net/core/netdev_max_backlog")->wanted, "1024");
	ck_assert_str_eq(change_of(p, "/proc/sys/net/core/netdev_budget")->wanted, "600");
	ck_assert_str_eq(change_of(p, "/proc/sys/net/core/netdev_budget_usecs")->wanted, "8000");
	ck_assert_str_eq(change_of(p, "/proc/sys/net/ipv4/ipfrag_high_thresh")->wanted, "16777216");
	ck_assert_str_eq(change_of(p, "/proc/sys/vm/swappiness")->wanted, "10");
	host_plan_free(p);
	facts_free(f);

	put("10 20 30\n", "proc/sys/net/ipv4/udp_mem");
	p = plan_made(&f);
	ck_assert_str_eq(change_of(p, "/proc/sys/net/ipv4/udp_mem")->wanted, "10 45000 67500");
	host_plan_free(p);
	facts_free(f);

	put("CapEff: 000001fffeffffff\n", "proc/self/status");
	put("65536\n", "proc/sys/net/core/netdev_max_backlog");
	put("1200\n", "proc/sys/net/core/netdev_budget");
	put("9000\n", "proc/sys/net/core/netdev_budget_usecs");
	put("383898 511865 767796\n", "proc/sys/net/ipv4/udp_mem");
	put("33554432\n", "proc/sys/net/ipv4/ipfrag_high_thresh");
	put("5\n", "proc/sys/vm/swappiness");
	p = plan_made(&f);
	for (unsigned i = 0; i < p->change_count; i++)
		ck_assert_msg(p->changes[i].kind != TUNE_SYSCTL, "%s", p->changes[i].object);
	host_plan_free(p);
	facts_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("host_plan");
	TCase *hosts = tcase_create("hosts"), *made = tcase_create("made");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(hosts, hosts_unpack, hosts_remove);
	tcase_set_timeout(hosts, 120);
	tcase_add_loop_test(hosts, recorded_machine_is_to_change, 0, ROWS(wanted));
	tcase_add_loop_test(hosts, changes_are_sound, 0, HOSTS_COUNT);
	tcase_add_test(hosts, wishes_change_the_plan);
	tcase_add_loop_test(hosts, recorded_machine_is_spoken_of, 0, ROWS(said));
	tcase_add_checked_fixture(made, make_machine, remove_root);
	tcase_add_loop_test(made, setting_that_hurts_is_found, 0, ROWS(settings));
	tcase_add_test(made, mount_that_hurts_is_found);
	tcase_add_test(made, disk_that_interrupts_a_capture_core_is_found);
	tcase_add_test(made, settings_that_are_lowered_are_planned);
	tcase_add_test(made, management_nic_is_left_alone);
	tcase_add_test(made, strict_reverse_path_of_the_agents_nic_is_found);
	tcase_add_test(made, sysctls_are_raised_where_a_rule_asks);
	suite_add_tcase(s, hosts);
	suite_add_tcase(s, made);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
