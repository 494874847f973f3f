/* tune/ethtool.c and tune/files.c: on a pair of interfaces in a namespace, and on a recorded
 * machine. */
#include "tune/ethtool.h"

#include <errno.h>

#include "tests/unit/hosts.h"
#include "tests/unit/veth.h"
#include "tune/files.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static void is_now(const char *root, const char *nic, const char *setting, const char *value)
{
	char now[64] = "";

	ck_assert_msg(ethtool_read(root, nic, setting, now, sizeof(now)) > 0, "%s", setting);
	ck_assert_msg(strcmp(now, value) == 0, "%s: %s, not %s", setting, now, value);
}

static bool pair_make(const char *test)
{
	if (!veth_make(test))
		return false;
	shell("ip link del near && ip link add near numrxqueues 4 numtxqueues 4 type veth peer "
	      "name far numrxqueues 4 numtxqueues 4 && ip link set near up && ip link set far up");
	return true;
}

/* ---- the kernel's ---- */

START_TEST(channels_of_a_pair_are_set)
{
	if (!pair_make("channels_of_a_pair_are_set"))
		return;
	is_now("", "near", "channels/max_rx", "4");
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", "1"), HT_OK);
	is_now("", "near", "channels/rx", "1");
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", "3"), HT_OK);
	is_now("", "near", "channels/rx", "3");
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", "5"), -EINVAL);
	is_now("", "near", "channels/rx", "3");
}
END_TEST

START_TEST(one_feature_is_set_and_no_other)
{
	char before[64], after[64];

	if (!pair_make("one_feature_is_set_and_no_other"))
		return;
	ck_assert_int_gt(ethtool_read("", "near", "features/rx-vlan-offload", before, 64), 0);
	is_now("", "near", "features/generic-receive-offload", "off");
	ck_assert_int_eq(ethtool_write("", "near", "features/generic-receive-offload", "on"),
			 HT_OK);
	is_now("", "near", "features/generic-receive-offload", "on");
	ck_assert_int_eq(ethtool_write("", "near", "features/generic-receive-offload", "off"),
			 HT_OK);
	is_now("", "near", "features/generic-receive-offload", "off");
	ck_assert_int_gt(ethtool_read("", "near", "features/rx-vlan-offload", after, 64), 0);
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(what_a_pair_does_not_have_is_said)
{
	static const struct {
		const char *nic, *setting;
		int err;
	} rows[] = {
		{ "near", "rings/rx", -EOPNOTSUPP },
		{ "near", "coalesce/adaptive_rx", -EOPNOTSUPP },
		{ "near", "pause/rx", -EOPNOTSUPP },
		{ "near", "features/no-such-feature", -EOPNOTSUPP },
		{ "near", "rings", -EINVAL },
		{ "near", "rings/color", -EINVAL },
		{ "near", "tables/rx", -EINVAL },
		{ "nobody", "channels/rx", -ENODEV },
		{ "a-name-that-is-far-too-long", "channels/rx", -ENODEV },
	};
	char text[64];

	if (!pair_make("what_a_pair_does_not_have_is_said"))
		return;
	for (int i = 0; i < ROWS(rows); i++)
		ck_assert_int_eq(ethtool_read("", rows[i].nic, rows[i].setting, text, 64),
				 rows[i].err);
	is_now("", "near", "driver/driver", "veth");
	is_now("", "near", "features/large-receive-offload", "off fixed");
	ck_assert_int_eq(ethtool_write("", "near", "features/large-receive-offload", "on"),
			 -EOPNOTSUPP);
	ck_assert_int_eq(ethtool_write("", "near", "channels/max_rx", "2"), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", "two"), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", ""), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "channels/rx", "4294967297"), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "pause/rx", "1"), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "rxflow/udp4", "sd"), -EOPNOTSUPP);
	ck_assert_int_eq(ethtool_write("", "near", "rxflow/udp4", "sx"), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "rxflow/udp4", ""), -EINVAL);
	ck_assert_int_eq(ethtool_write("", "near", "rxfh/key", "6d:5a"), -EINVAL);
}
END_TEST

/* ---- a recorded machine's ---- */

START_TEST(every_group_of_a_recorded_machine_is_set_and_set_back)
{
	static const struct {
		const char *setting, *value;
	} rows[] = {
		{ "channels/combined", "4" },  { "rings/rx", "4096" },
		{ "coalesce/rx_usecs", "50" }, { "coalesce/adaptive_rx", "on" },
		{ "pause/rx", "off" },	       { "features/large-receive-offload", "off" },
		{ "rxflow/udp4", "sdfn" },
	};
	struct recorded r = recorded_make("box16-ixgbe-8q");
	char old[64];

	ck_assert_int_eq(run_line("cp -a %s %s", r.root, r.other), 0);
	for (int i = 0; i < ROWS(rows); i++) {
		ck_assert_int_gt(ethtool_read(r.root, "enp3s0f0", rows[i].setting, old, 64), 0);
		ck_assert_str_ne(old, rows[i].value);
		ck_assert_int_eq(ethtool_write(r.root, "enp3s0f0", rows[i].setting, rows[i].value),
				 HT_OK);
		is_now(r.root, "enp3s0f0", rows[i].setting, rows[i].value);
		ck_assert_int_ne(
			run_line("diff -rq --no-dereference %s %s >/dev/null", r.root, r.other), 0);
		ck_assert_int_eq(ethtool_write(r.root, "enp3s0f0", rows[i].setting, old), HT_OK);
		ck_assert_int_eq(run_line("diff -r --no-dereference %s %s", r.root, r.other), 0);
	}
	ck_assert_int_eq(ethtool_write(r.root, "enp3s0f0", "features/rx-gro-hw", "on"),
			 -EOPNOTSUPP);
	ck_assert_int_eq(ethtool_read(r.root, "enp3s0f9", "rings/rx", old, 64), -ENODEV);
	ck_assert_int_eq(ethtool_read(r.root, "eno1", "coalesce/rx_usecs", old, 64), -EOPNOTSUPP);
	recorded_remove(&r);
}
END_TEST

START_TEST(a_recorded_fault_comes_back)
{
	struct recorded r = recorded_make("box16-ixgbe-8q");
	char text[64];

	ck_assert_int_eq(file_write(r.root, "/proc/irq/25/smp_affinity_list", "0"), -EIO);
	ck_assert_int_eq(file_write(r.root, "/proc/irq/64/smp_affinity_list", "0"), HT_OK);
	ck_assert_int_eq(file_value(r.root, "/sys/class/net/lo/speed", text, 64), -EINVAL);
	ck_assert_int_eq(file_value(r.root, "/sys/class/net/lo/mtu", text, 64), 5);
	ck_assert_int_eq(run_line("echo 'proc/irq/* write EPERM' >>%s/.faults", r.root), 0);
	ck_assert_int_eq(file_write(r.root, "/proc/irq/64/smp_affinity_list", "0"), -EPERM);
	ck_assert_int_eq(file_write(r.root, "/proc/irq/25/smp_affinity_list", "0"), -EIO);
	recorded_remove(&r);
}
END_TEST

START_TEST(a_link_does_not_lead_out_of_a_recorded_tree)
{
	struct recorded r = recorded_make(NULL);
	char text[64];

	ck_assert_int_eq(run_line("cd %s && echo 1 >../out && mkdir sys && echo 2 >out && "
				  "ln -s ../../out sys/up && ln -s /out sys/top",
				  r.root),
			 0);
	ck_assert_int_eq(file_value(r.root, "/sys/up", text, 64), 1);
	ck_assert_str_eq(text, "2");
	ck_assert_int_eq(file_write(r.root, "/sys/top", "3"), HT_OK);
	ck_assert_int_eq(file_value(r.root, "/../out", text, 64), 1);
	ck_assert_str_eq(text, "3");
	ck_assert_int_eq(run_line("grep -qx 1 %s/out", r.top), 0);
	recorded_remove(&r);
}
END_TEST

START_TEST(a_value_that_does_not_fit_is_refused)
{
	struct recorded r = recorded_make(NULL);
	char text[4], *all, longest[FILE_VALUE + 1];

	ck_assert_int_eq(
		run_line("cd %s && echo 123 >three && echo 12 >two && seq 9999 >long", r.root), 0);
	ck_assert_int_eq(file_value(r.root, "/two", text, sizeof(text)), 2);
	ck_assert_int_eq(file_value(r.root, "/three", text, sizeof(text)), HT_EFULL);
	all = file_read_all(r.root, "/long");
	ck_assert_ptr_nonnull(all);
	ck_assert_uint_eq(strlen(all), 48888);
	ck_assert_str_eq(all + 48888 - 6, "\n9999\n");
	free(all);
	/* as /proc/interrupts of the largest hosts */
	ck_assert_int_eq(run_line("seq 2999999 >%s/many && : >%s/empty", r.root, r.root), 0);
	all = file_read_all(r.root, "/many");
	ck_assert_ptr_nonnull(all);
	ck_assert_uint_eq(strlen(all), 22888888);
	free(all);
	ck_assert_int_eq(run_line("truncate -s 64M %s/huge", r.root), 0);
	errno = 0;
	ck_assert_ptr_null(file_read_all(r.root, "/huge"));
	ck_assert_int_eq(errno, EFBIG);
	all = file_read_all(r.root, "/empty");
	ck_assert_str_eq(all, "");
	free(all);
	ck_assert_ptr_null(file_read_all(r.root, "/none"));
	ck_assert_int_eq(errno, ENOENT);
	memset(longest, '1', sizeof(longest));
	longest[FILE_VALUE] = '\0';
	ck_assert_int_eq(file_write(r.root, "/two", longest), -E2BIG);
	ck_assert_int_eq(file_write(r.root, "/none", "1"), -ENOENT);
	ck_assert_int_ne(run_line("test -e %s/none", r.root), 0);
	recorded_remove(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ethtool");
	TCase *kernel = tcase_create("kernel"), *recorded = tcase_create("recorded");
	SRunner *runner;
	int failed;

	tcase_add_test(kernel, channels_of_a_pair_are_set);
	tcase_add_test(kernel, one_feature_is_set_and_no_other);
	tcase_add_test(kernel, what_a_pair_does_not_have_is_said);
	tcase_add_test(recorded, every_group_of_a_recorded_machine_is_set_and_set_back);
	tcase_add_test(recorded, a_recorded_fault_comes_back);
	tcase_add_test(recorded, a_link_does_not_lead_out_of_a_recorded_tree);
	tcase_add_test(recorded, a_value_that_does_not_fit_is_refused);
	tcase_set_timeout(kernel, 60);
	tcase_set_timeout(recorded, 60);
	suite_add_tcase(suite, kernel);
	suite_add_tcase(suite, recorded);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
