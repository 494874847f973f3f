/* tune/export.c, and tune/rulings.c against the index of what guides name. */
#include "tune/export.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/rulings.h"

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
	struct export_unit u = { "/usr/sbin/heptap", "/etc/heptap/heptap.yaml", 65536, 1 << 30, 0 };
	FILE *f = begin();

	ck_assert_uint_eq(export_unit(f, &u, changes, ROWS(changes)), 5);
	fclose(f);
	has_line("LimitNOFILE=65536");
	has_line("LimitMEMLOCK=1073741824");
	has_line("OOMScoreAdjust=-500");
	has_line("ExecStartPre=-+/usr/sbin/heptap tune apply -c /etc/heptap/heptap.yaml");
	has_line("# /proc/irq/41/smp_affinity_list = 16: queue 0 and ht-cap-0");
	ck_assert_ptr_null(strstr(text, "udp_mem"));
	has_comments();
	free(text);
	f = begin();
	ck_assert_uint_eq(export_unit(f, &u, &changes[4], 1), 4);
	fclose(f);
	ck_assert_ptr_null(strstr(text, "ExecStartPre"));
	free(text);
}
END_TEST

/* ---- rulings ---- */

static const char index_file[] = "tests/fixtures/tuning/knobs.txt";

/* Fields of a line that begins with @p kind. @return how many, or 0. */
static size_t fields_of(char *line, const char *kind, char *fields[8])
{
	size_t n = 0;
	char *at = line;

	line[strcspn(line, "\n")] = '\0';
	while (at && n < 8)
		fields[n++] = strsep(&at, "\t");
	return strcmp(fields[0], kind) == 0 ? n : 0;
}

static bool may_be(enum ruling_verdict v, const char *mode)
{
	static const char letters[] = { [RULING_AUTO] = 'S',
					[RULING_FULL] = 'F',
					[RULING_REPORTED] = 'R',
					[RULING_REFUSED] = 'X' };

	if (strcmp(mode, "generated") == 0)
		return v == RULING_FULL;
	if (strcmp(mode, "-") == 0)
		return true;
	return strchr(mode, letters[v]) != NULL;
}

/* Where the program's ruling is another than the description's mode. */
static const struct {
	const char *name, *why;
} others[] = {
	{ "IRQ affinity", "with auto, too, for an interface of the configuration" },
	{ "XPS", "where there are fewer queues than threads" },
	{ "RSS hash fields", "reported until it could be tried on a real NIC" },
	{ "RSS key / symmetric", "reported until it could be tried on a real NIC" },
	{ "indirection", "channels are shrunk instead" },
	{ "tcp_keepalive_time/intvl/probes", "per socket; the host's is never set" },
	{ "tcp_retries2", "per socket; the host's is never set" },
	{ "ip_nonlocal_bind", "per socket; the host's is never set" },
};

static bool is_other(const char *name)
{
	for (size_t i = 0; i < ROWS(others); i++) {
		if (strcmp(others[i].name, name) == 0)
			return true;
	}
	return false;
}

START_TEST(every_knob_of_the_description_has_a_verdict)
{
	char line[2048], *f[8];
	unsigned rows = 0;
	FILE *in = fopen(index_file, "re");

	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		bool has = false;

		if (fields_of(line, "row", f) != 5)
			continue;
		rows++;
		for (size_t i = 0; i < rulings_count; i++) {
			if (strcmp(rulings[i].section, f[1]) != 0 ||
			    strcmp(rulings[i].name, f[2]) != 0)
				continue;
			has = true;
			ck_assert_msg(may_be(rulings[i].verdict, f[4]) || is_other(f[2]),
				      "%s: %s, but %s", f[2],
				      ruling_verdict_text(rulings[i].verdict), f[4]);
		}
		ck_assert_msg(has, "%s %s has no verdict", f[1], f[2]);
	}
	fclose(in);
	ck_assert_uint_gt(rows, 140);
}
END_TEST

START_TEST(every_verdict_is_of_a_knob_and_has_a_reason)
{
	for (size_t i = 0; i < rulings_count; i++) {
		const struct ruling *r = &rulings[i];
		char line[2048], *f[8];
		bool has = false;
		FILE *in = fopen(index_file, "re");

		while (!has && fgets(line, sizeof(line), in))
			has = fields_of(line, "row", f) == 5 && strcmp(r->section, f[1]) == 0 &&
			      strcmp(r->name, f[2]) == 0;
		fclose(in);
		ck_assert_msg(has, "%s %s is not in the description", r->section, r->name);
		ck_assert_msg(r->rule[0], "%s has no rule", r->name);
		ck_assert_msg(r->why[0] || r->verdict < RULING_REPORTED, "%s has no reason",
			      r->name);
		for (size_t j = 0; r->object && j < i; j++)
			ck_assert_msg(!rulings[j].object ||
					      strcmp(rulings[j].object, r->object) != 0,
				      "%s twice", r->object);
		if (r->object && !strchr(r->object, '*'))
			ck_assert_ptr_eq(ruling_find(r->object), r);
	}
}
END_TEST

START_TEST(every_value_that_a_guide_names_has_a_verdict)
{
	unsigned values = 0, refused = 0, set = 0;
	char line[2048], *f[8];
	FILE *in = fopen(index_file, "re");

	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		const struct ruling *r;

		if (fields_of(line, "value", f) != 4)
			continue;
		values++;
		r = ruling_find(f[2]);
		ck_assert_msg(r != NULL, "%s of %s has no verdict", f[2], f[1]);
		ck_assert_msg(r->rule[0] && (r->why[0] || r->verdict < RULING_REPORTED), "%s",
			      f[2]);
		refused += r->verdict == RULING_REFUSED;
		set += r->verdict == RULING_FULL || r->verdict == RULING_AUTO;
	}
	fclose(in);
	ck_assert_uint_gt(values, 130);
	ck_assert_uint_gt(refused, 30); /* most of what old guides say */
	ck_assert_uint_gt(set, 5);
	ck_assert_ptr_null(ruling_find("/proc/sys/kernel/core_pattern"));
	ck_assert_ptr_null(ruling_find("/proc/irq/1/x/smp_affinity_list"));
	ck_assert_ptr_null(ruling_find("/sys/class/net/a/device/net/b/threaded"));
}
END_TEST

/* The index names for each seed the sections where its settings went. */
START_TEST(every_seed_has_a_verdict_where_the_index_says)
{
	static const char *const sections[] = { "1",   "2.1", "2.2", "2.3", "3.1",
						"3.2", "3.3", "3.4", "3.5", "3.6" };
	char line[2048], row[2048], *f[8], *g[8];
	unsigned seeds = 0;
	FILE *in = fopen(index_file, "re"), *rows;

	while (fgets(line, sizeof(line), in)) {
		unsigned found = 0;

		if (fields_of(line, "seed", f) != 3)
			continue;
		seeds++;
		rows = fopen(index_file, "re");
		while (fgets(row, sizeof(row), rows))
			found += fields_of(row, "row", g) == 5 && strstr(g[3], f[1]) != NULL;
		fclose(rows);
		/* Events are no setting of the host. */
		ck_assert_msg(found > 0 || strcmp(f[1], "EV") == 0, "no knob of %s", f[1]);
	}
	fclose(in);
	ck_assert_uint_eq(seeds, 14);
	for (size_t s = 0; s < ROWS(sections); s++) {
		bool has = false;

		for (size_t i = 0; i < rulings_count; i++)
			has |= strcmp(rulings[i].section, sections[s]) == 0;
		ck_assert_msg(has, "%s", sections[s]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("export");
	TCase *export = tcase_create("export"), *knobs = tcase_create("rulings");
	SRunner *runner;
	int failed;

	tcase_add_test(export, sysctls_are_ignored_if_unknown_and_explained);
	tcase_add_test(export, a_link_file_keeps_the_name);
	tcase_add_test(export, the_unit_applies_what_no_file_keeps);
	tcase_add_test(knobs, every_knob_of_the_description_has_a_verdict);
	tcase_add_test(knobs, every_verdict_is_of_a_knob_and_has_a_reason);
	tcase_add_test(knobs, every_value_that_a_guide_names_has_a_verdict);
	tcase_add_test(knobs, every_seed_has_a_verdict_where_the_index_says);
	suite_add_tcase(suite, export);
	suite_add_tcase(suite, knobs);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
