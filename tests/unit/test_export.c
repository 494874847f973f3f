/* tune/export.c: files that keep changes over a restart of the host. */
#include "tune/export.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct tune_change changes[] = {
	{ .kind = TUNE_ETHTOOL,
	  .nic = "ens1",
	  .object = "ens1/channels/combined",
	  .now = "32",
	  .wanted = "16",
	  .why = "16 cores for 32 queues" },
	{ .kind = TUNE_ETHTOOL,
	  .nic = "ens1",
	  .object = "ens1/coalesce/rx_usecs",
	  .now = "8",
	  .wanted = "50",
	  .why = "fewer interrupts" },
	{ .kind = TUNE_ETHTOOL,
	  .nic = "ens1",
	  .object = "ens1/features/large-receive-offload",
	  .now = "on",
	  .wanted = "off",
	  .why = "it merges messages" },
	{ .kind = TUNE_IRQ,
	  .nic = "ens1",
	  .object = "/proc/irq/41/smp_affinity_list",
	  .now = "0-63",
	  .wanted = "16",
	  .why = "queue 0 and ht-cap-0" },
	{ .kind = TUNE_SYSCTL,
	  .object = "/proc/sys/net/ipv4/udp_mem",
	  .now = "1\t2\t3",
	  .wanted = "4 5 6",
	  .why = "two\nlines" },
	{ .kind = TUNE_SYSCTL,
	  .nic = "eth0.100",
	  .object = "/proc/sys/net/ipv4/conf/eth0.100/rp_filter",
	  .wanted = "2" },
};

static char *text;
static size_t text_size;

static FILE *begin(void)
{
	FILE *f = open_memstream(&text, &text_size);

	ck_assert_ptr_nonnull(f);
	return f;
}

static void has_line(const char *line)
{
	char with[512];

	snprintf(with, sizeof(with), "\n%s\n", line);
	ck_assert_msg(strstr(text, with) != NULL, "no \"%s\" in:\n%s", line, text);
}

/* A setting without a comment above it would be one that nobody can explain. */
static void has_comments(void)
{
	bool was_comment = false;
	char *copy = strdup(text), *rest = copy, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (line[0] && line[0] != '#' && line[0] != '[')
			ck_assert_msg(was_comment, "%s", line);
		was_comment = line[0] == '#' || (was_comment && strstr(line, "Policy="));
	}
	free(copy);
}

START_TEST(sysctls_are_ignored_if_unknown_and_explained)
{
	FILE *f = begin();

	ck_assert_uint_eq(export_sysctl(f, changes, ROWS(changes)), 2);
	fclose(f);
	has_line("-net.ipv4.udp_mem = 4 5 6");
	has_line("# two lines (was 1 2 3)");
	has_line("-net/ipv4/conf/eth0.100/rp_filter = 2");
	has_line("# wanted (was unknown)");
	has_comments();
	free(text);
}
END_TEST

START_TEST(a_link_file_keeps_the_name)
{
	FILE *f = begin();

	ck_assert_uint_eq(export_link(f, "ens1", "0000:3b:00.0", changes, ROWS(changes)), 3);
	fclose(f);
	has_line("Path=pci-0000:3b:00.0");
	has_line("NamePolicy=keep kernel database onboard slot path");
	has_line("CombinedChannels=16");
	has_line("RxCoalesceSec=50us");
	has_line("LargeReceiveOffload=off");
	has_line("# it merges messages (was on)");
	has_comments();
	free(text);
	f = begin();
	ck_assert_uint_eq(export_link(f, "ens1", "virtio0", changes, 1), 1);
	fclose(f);
	has_line("OriginalName=ens1");
	free(text);
	f = begin();
	ck_assert_uint_eq(export_link(f, "ens2", "", changes, ROWS(changes)), 0);
	fclose(f);
	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(the_unit_applies_what_no_file_keeps)
{
	struct export_unit u = { "/usr/sbin/heptap", "/etc/heptap/heptap.yaml", 65536, 0 };
	FILE *f = begin();

	ck_assert_uint_eq(export_unit(f, &u, changes, ROWS(changes)), 4);
	fclose(f);
	has_line("LimitNOFILE=65536");
	ck_assert_ptr_null(strstr(text, "LimitMEMLOCK")); /* nothing is locked */
	has_line("OOMScoreAdjust=-500");
	has_line("ExecStartPre=-+/usr/sbin/heptap tune apply -c /etc/heptap/heptap.yaml");
	has_line("# /proc/irq/41/smp_affinity_list = 16: queue 0 and ht-cap-0");
	ck_assert_ptr_null(strstr(text, "udp_mem"));
	has_comments();
	free(text);
	f = begin();
	ck_assert_uint_eq(export_unit(f, &u, &changes[4], 1), 3);
	fclose(f);
	ck_assert_ptr_null(strstr(text, "ExecStartPre"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("export");
	TCase *export = tcase_create("export");
	SRunner *runner;
	int failed;

	tcase_add_test(export, sysctls_are_ignored_if_unknown_and_explained);
	tcase_add_test(export, a_link_file_keeps_the_name);
	tcase_add_test(export, the_unit_applies_what_no_file_keeps);
	suite_add_tcase(suite, export);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
