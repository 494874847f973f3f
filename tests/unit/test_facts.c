/* tune/facts.c and what it reads with: lists, masks, interrupts, recorded machines, made ones. */
#include "tune/facts.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/hosts.h"
#include "tests/unit/made_host.h"
#include "tune/files.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- lists and masks ---- */

static const struct {
	const char *text;
	bool is_good;
	const char *printed, *mask;
} lists[] = {
	{ "0", true, "0", "1" },
	{ "0-3,8\n", true, "0-3,8", "10f" },
	{ "31,32,63-65", true, "31-32,63-65", "3,80000001,80000000" },
	{ "", true, "none", "0" },
	{ " \n", true, "none", "0" },
	{ "5-2", false, "none", "0" },
	{ "1,", false, "none", "0" },
	{ ",1", false, "none", "0" },
	{ "1-", false, "none", "0" },
	{ "0-3 x", false, "none", "0" },
	{ "4096", false, "none", "0" },
	{ "0-99999999999999999999", false, "none", "0" },
	{ "-1", false, "none", "0" },
};

START_TEST(list_is_read_and_printed)
{
	char out[256];
	struct cpus set, again;

	ck_assert_int_eq(cpus_read_list(lists[_i].text, &set), lists[_i].is_good);
	ck_assert_str_eq(cpus_print(&set, out, sizeof(out)), lists[_i].printed);
	ck_assert_str_eq(cpus_print_mask(&set, out, sizeof(out)), lists[_i].mask);
	ck_assert(cpus_read_mask(out, &again));
	ck_assert(cpus_equal(&set, &again));
}
END_TEST

START_TEST(mask_is_read)
{
	struct cpus set;
	char out[64], wide[1100];

	ck_assert(cpus_read_mask("00000000,00010000\n", &set));
	ck_assert_str_eq(cpus_print(&set, out, sizeof(out)), "16");
	ck_assert(cpus_read_mask("ffffffff,ffffffff\n", &set));
	ck_assert_str_eq(cpus_print(&set, out, sizeof(out)), "0-63");
	ck_assert(!cpus_read_mask("00g0", &set));
	ck_assert_uint_eq(cpus_count(&set), 0);
	memset(wide, 'f', 1025);
	wide[1025] = '\0';
	ck_assert(!cpus_read_mask(wide, &set));
	memset(wide, '0', 1025);
	ck_assert(cpus_read_mask(wide, &set));
	ck_assert(!cpus_read_mask("1,1", &set)); /* a group has eight digits */
}
END_TEST

START_TEST(what_does_not_fit_is_cut)
{
	struct cpus set = { 0 };
	char out[12];

	for (unsigned i = 0; i < 20; i += 2)
		cpus_add(&set, i);
	ck_assert_str_eq(cpus_print(&set, out, sizeof(out)), "0,2,4,6...");
}
END_TEST

/* ---- interrupts ---- */

static const struct {
	const char *name;
	enum irq_role role;
	int queue;
} names[] = {
	{ "virtio2-input.0", IRQ_RX, 0 },
	{ "virtio2-output.3", IRQ_TX, 3 },
	{ "virtio2-config", IRQ_CONTROL, -1 },
	{ "enp3s0f0-TxRx-7", IRQ_RX, 7 },
	{ "eth0-rx-1", IRQ_RX, 1 },
	{ "eth0-tx-1", IRQ_TX, 1 },
	{ "eth0-Tx-Rx-12", IRQ_RX, 12 },
	{ "eth1-fp-2", IRQ_RX, 2 },
	{ "i40e-eth2-TxRx-31", IRQ_RX, 31 },
	{ "mlx5_comp31@pci:0000:af:00.0", IRQ_RX, 31 },
	{ "mlx5_async0@pci:0000:af:00.0", IRQ_CONTROL, -1 },
	{ "mlx4-3@0000:01:00.0", IRQ_RX, 3 },
	{ "enp3s0f0", IRQ_CONTROL, -1 },
	{ "eth0", IRQ_CONTROL, -1 },
	{ "ena-mgmnt@pci:0000:00:05.0", IRQ_CONTROL, -1 },
	{ "nvme0q3", IRQ_CONTROL, -1 },
	{ "7", IRQ_CONTROL, -1 },
	{ "", IRQ_CONTROL, -1 },
};

START_TEST(name_says_which_queue)
{
	int queue;

	ck_assert_int_eq(interrupt_role(names[_i].name, &queue), names[_i].role);
	ck_assert_int_eq(queue, names[_i].queue);
}
END_TEST

START_TEST(interrupts_are_read_line_by_line)
{
	const char *at =
		"            CPU0       CPU2\n"
		"  9:          4          1   IR-IO-APIC    9-fasteoi   acpi\n"
		" 64:          5         10 PCI-MSIX-0000:03:00.0   0-edge      eth0-TxRx-0\n"
		" 65:          0          0   ITS-MSI 524288 Edge      eth0, two words \n"
		" 66:\n"
		"NMI:          0          0   Non-maskable interrupts\n"
		"ERR:          0\n"
		" 99:          7";
	static const struct interrupt want[] = {
		{ 9, 5, "acpi" },
		{ 64, 15, "eth0-TxRx-0" },
		{ 65, 0, "eth0, two words" },
		{ 66, 0, "" },
		{ 99, 7, "" },
	};
	struct interrupt in;

	for (int i = 0; i < ROWS(want); i++) {
		ck_assert(interrupts_next(&at, &in));
		ck_assert_int_eq(in.number, want[i].number);
		ck_assert_uint_eq(in.count, want[i].count);
		ck_assert_str_eq(in.name, want[i].name);
	}
	ck_assert(!interrupts_next(&at, &in));
}
END_TEST

/* ---- recorded machines ---- */

static const struct {
	const char *online, *allowed;
	int nodes, node;
	unsigned rx_queues, irqs, rx_irqs;
	int64_t ram, channels, channels_max, ring, lro;
	const char *driver, *irqbalance, *tuned;
	bool is_writable;
} machines[HOSTS_COUNT] = {
	{ "0-1", "0-1", 1, -1, 1, 3, 1, 24684084LL << 10, 1, 1, 256, 0, "virtio_net", "", "",
	  true },
	{ "0-3", "0-3", 1, -1, 2, 5, 2, -2, 2, 4, -2, -2, "virtio_net", "", "", true },
	{ "0-15", "0-15", 1, 0, 8, 9, 8, -2, 8, 63, 512, 1, "ixgbe", "/etc/default/irqbalance", "",
	  true },
	{ "0-63", "0-63", 2, 1, 32, 33, 32, -2, 32, -2, -2, -2, "mlx5_core", "", "network-latency",
	  true },
	{ "0-15", "4-7", 1, -1, 1, 0, 0, 4294967296LL, -2, -2, -1, -2, "veth", "", "", false },
};

/* -2 in the table: not asked for here. */
#define SAME(got, want)                              \
	do {                                         \
		if ((want) != -2)                    \
			ck_assert_int_eq(got, want); \
	} while (0)

START_TEST(recorded_machine_is_read)
{
	struct facts *f = facts_read(hosts_root(_i), &hosts_nic[_i], 1, NULL, NULL);
	const struct nic *n = &f->nics[0];
	unsigned rx = 0;
	char out[64];

	ck_assert_str_eq(cpus_print(&f->online, out, sizeof(out)), machines[_i].online);
	ck_assert_str_eq(cpus_print(&f->allowed, out, sizeof(out)), machines[_i].allowed);
	SAME(f->nodes, machines[_i].nodes);
	SAME(f->host.ram_bytes, machines[_i].ram);
	ck_assert_int_eq(f->host.cpus, cpus_count(&f->allowed));
	ck_assert(n->exists);
	SAME(n->node, machines[_i].node);
	ck_assert_uint_eq(n->rx_queues, machines[_i].rx_queues);
	ck_assert_uint_eq(n->irq_count, machines[_i].irqs);
	for (unsigned i = 0; i < n->irq_count; i++) {
		ck_assert(n->irqs[i].has_affinity && n->irqs[i].has_effective);
		ck_assert_int_eq(n->irqs[i].is_managed, UNKNOWN);
		rx += n->irqs[i].role == IRQ_RX;
	}
	ck_assert_uint_eq(rx, machines[_i].rx_irqs);
	for (unsigned q = 0; q < n->rx_queues; q++)
		ck_assert(n->queues[q].has_mask);
	ck_assert_str_eq(n->driver.name, machines[_i].driver);
	SAME(n->driver.channels, machines[_i].channels);
	SAME(n->driver.channels_max, machines[_i].channels_max);
	SAME(n->driver.ring, machines[_i].ring);
	SAME(n->driver.lro, machines[_i].lro);
	ck_assert_str_eq(f->irqbalance, machines[_i].irqbalance);
	ck_assert_str_eq(f->tuned, machines[_i].tuned);
	ck_assert(f->is_sys_writable == machines[_i].is_writable);
	ck_assert(f->has_rights);
	ck_assert(f->softnet.is_known == (_i != 4)); /* a container has none */
	ck_assert_int_eq(n->is_ours, UNKNOWN);
	ck_assert_int_eq(n->is_management, UNKNOWN);
	facts_free(f);
}
END_TEST

START_TEST(siblings_and_nodes_are_told_apart)
{
	struct facts *f = facts_read(hosts_root(3), NULL, 0, NULL, NULL);

	ck_assert_int_eq(f->core_of[48], 16);
	ck_assert_int_eq(f->core_of[16], 16);
	ck_assert_int_eq(f->node_of[48], 1);
	ck_assert_int_eq(f->node_of[47], 0);
	ck_assert_int_eq(f->l3_of[15], 0);
	ck_assert_int_eq(f->l3_of[48], 16);
	ck_assert_int_eq(f->host.cores, 32);
	facts_free(f);
}
END_TEST

/* Index 3 may be something else. */
START_TEST(caches_of_other_levels_do_not_count)
{
	struct recorded r = recorded_make("box16-ixgbe-8q");
	struct facts *f;

	ck_assert_int_eq(run_line("cd %s/sys/devices/system/cpu && echo 2 >cpu1/cache/index3/level "
				  "&& echo Instruction >cpu2/cache/index3/type "
				  "&& mv cpu3/cache/index3 cpu3/cache/index2",
				  r.root),
			 0);
	f = facts_read(r.root, NULL, 0, NULL, NULL);
	ck_assert_int_eq(f->l3_of[0], 0);
	ck_assert_int_eq(f->l3_of[1], -1);
	ck_assert_int_eq(f->l3_of[2], -1);
	ck_assert_int_eq(f->l3_of[3], 0);
	facts_free(f);
	recorded_remove(&r);
}
END_TEST

/* ---- made machines ---- */

/* An empty tree: everything is unknown, and nothing crashes. */
START_TEST(what_cannot_be_read_is_unknown)
{
	const char *const nics[] = { "eth0", "../../etc", "a-name-that-is-too-long", "" };
	struct facts *f = facts_read(root, nics, 4, "/var/spool/heptap", "/var/lib/mysql");

	ck_assert_int_eq(f->host.cpus, -1);
	ck_assert_int_eq(f->host.ram_bytes, -1);
	ck_assert_int_eq(f->nodes, -1);
	ck_assert_int_eq(f->open_files_soft, -1);
	ck_assert_int_eq(f->swap_bytes, -1);
	ck_assert_int_eq(f->tlb_shootdowns, -1);
	ck_assert(!f->has_rights && !f->softnet.is_known && !f->management[0]);
	ck_assert_int_eq(facts_sysctl_number(f, "net/core/rmem_max"), -1);
	for (int i = 0; i < 4; i++) {
		ck_assert(!f->nics[i].exists);
		ck_assert_int_eq(f->nics[i].driver.ring, -1);
	}
	ck_assert_str_eq(f->spool.device, "");
	ck_assert_int_eq(f->spool.has_journal, UNKNOWN);
	facts_free(f);
}
END_TEST

START_TEST(default_route_makes_the_management_nic)
{
	const char *const nics[] = { "eth0", "eth1" };
	struct facts *f;

	put("1\n", "sys/class/net/eth0/ifindex");
	put("2\n", "sys/class/net/eth1/ifindex");
	put("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	    "eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	    "eth1\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
	    "proc/net/route");
	f = facts_read(root, nics, 2, NULL, NULL);
	ck_assert_str_eq(f->management, "eth1");
	ck_assert_int_eq(f->nics[0].is_management, NO);
	ck_assert_int_eq(f->nics[1].is_management, YES);
	facts_free(f);
}
END_TEST

START_TEST(links_stay_within_the_root)
{
	char path[160], out[64];

	put("inside\n", "etc/hostname");
	put("", "proc/x");
	snprintf(path, sizeof(path), "%s/proc/out", root);
	ck_assert_int_eq(symlink("../../../../../../../../../../../../etc/hostname", path), 0);
	ck_assert_int_gt(file_read(root, out, sizeof(out), "/proc/out"), 0);
	ck_assert_str_eq(out, "inside\n");
	ck_assert(!file_exists(root, "/../../../../../../etc/passwd"));
}
END_TEST

START_TEST(longest_mount_holds_the_spool)
{
	struct facts *f;
	char path[160];

	put("21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
	    "22 21 8:17 / /var rw,sync,strictatime - ext4 /dev/sdb1 rw,data=writeback\n"
	    "23 21 0:9 / /var/spoo rw - tmpfs tmpfs rw\n"
	    "broken line\n",
	    "proc/self/mountinfo");
	put("", "proc/fs/jbd2/sda1-8/info");
	put("1\n", "sys/devices/sdb/queue/rotational");
	put("", "sys/devices/sdb/sdb1/partition");
	put("", "sys/dev/block/x");
	snprintf(path, sizeof(path), "%s/sys/dev/block/8:17", root);
	ck_assert_int_eq(symlink("../../devices/sdb/sdb1", path), 0);
	f = facts_read(root, NULL, 0, "/var/spool/heptap", NULL);
	ck_assert_str_eq(f->spool.device, "sdb1");
	ck_assert_str_eq(f->spool.kind, "ext4");
	ck_assert_str_eq(f->spool.options, "rw,sync,strictatime,rw,data=writeback");
	ck_assert_int_eq(f->spool.has_journal, NO);
	ck_assert_int_eq(f->spool.rotates, YES);
	ck_assert_str_eq(f->database.path, "");
	facts_free(f);
}
END_TEST

START_TEST(managed_interrupts_are_recognised)
{
	struct facts *f;
	const char *nic = "eth0";

	put("   CPU0\n 5: 1 PCI-MSIX-0 0-edge eth0-rx-0\n 6: 1 PCI-MSIX-0 1-edge eth0-rx-1\n"
	    " 7: 1 PCI-MSIX-0 0-edge eth9-rx-0\n",
	    "proc/interrupts");
	put("msix\n", "sys/class/net/eth0/device/msi_irqs/5");
	put("msix\n", "sys/class/net/eth0/device/msi_irqs/6");
	put("dstate:   0x1\n  IRQD_AFFINITY_MANAGED\n", "sys/kernel/debug/irq/irqs/5");
	put("dstate:   0x1\n", "sys/kernel/debug/irq/irqs/6");
	f = facts_read(root, &nic, 1, NULL, NULL);
	ck_assert_uint_eq(f->nics[0].irq_count, 2);
	ck_assert_int_eq(f->nics[0].irqs[0].is_managed, YES);
	ck_assert_int_eq(f->nics[0].irqs[1].is_managed, NO);
	ck_assert(!f->nics[0].irqs[0].has_affinity);
	facts_free(f);
}
END_TEST

/* This machine: whatever it is, it has a CPU that we run on, and lo. */
START_TEST(this_machine_is_read)
{
	const char *nic = "lo";
	struct facts *f = facts_read("", &nic, 1, "/", NULL);

	ck_assert_int_ge(cpus_count(&f->allowed), 1);
	ck_assert(f->nics[0].exists);
	ck_assert_int_eq(f->nics[0].is_ours, YES);
	ck_assert_int_eq(f->nics[0].driver.ring, -1);
	ck_assert_int_ge(f->nics[0].driver.gro, 0);
	ck_assert_uint_eq(f->nics[0].irq_count, 0);
	ck_assert_str_ne(f->spool.kind, "");
	facts_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("facts");
	TCase *text = tcase_create("text"), *hosts = tcase_create("hosts"),
	      *made = tcase_create("made");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(text, list_is_read_and_printed, 0, ROWS(lists));
	tcase_add_test(text, mask_is_read);
	tcase_add_test(text, what_does_not_fit_is_cut);
	tcase_add_loop_test(text, name_says_which_queue, 0, ROWS(names));
	tcase_add_test(text, interrupts_are_read_line_by_line);
	tcase_add_test(text, this_machine_is_read);
	tcase_add_unchecked_fixture(hosts, hosts_unpack, hosts_remove);
	tcase_set_timeout(hosts, 120);
	tcase_add_loop_test(hosts, recorded_machine_is_read, 0, HOSTS_COUNT);
	tcase_add_test(hosts, siblings_and_nodes_are_told_apart);
	tcase_add_test(hosts, caches_of_other_levels_do_not_count);
	tcase_add_checked_fixture(made, make_root, remove_root);
	tcase_add_test(made, what_cannot_be_read_is_unknown);
	tcase_add_test(made, default_route_makes_the_management_nic);
	tcase_add_test(made, links_stay_within_the_root);
	tcase_add_test(made, longest_mount_holds_the_spool);
	tcase_add_test(made, managed_interrupts_are_recognised);
	suite_add_tcase(s, text);
	suite_add_tcase(s, hosts);
	suite_add_tcase(s, made);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
