/*
 * tune/knobs.c against the description of all knobs, against what guides name, and against what the
 * rest of the program does: what is planned, what findings speak of.
 */
#include "tune/knobs.h"

#include "tests/unit/hosts.h"
#include "tune/host_plan.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* ---- what is named ---- */

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

/* What a person is to decide on may be reported or left alone. */
static bool may_be(enum verdict v, const char *mode)
{
	static const char *const letters[] = { [KNOB_START] = "SF",
					       [KNOB_FULL] = "F",
					       [KNOB_OWN] = "S",
					       [KNOB_REPORT] = "R",
					       [KNOB_REFUSE] = "XR" };

	if (strcmp(mode, "generated") == 0)
		return v == KNOB_OWN;
	return strcmp(mode, "-") == 0 || strpbrk(mode, letters[v]) != NULL;
}

/* Where the program's verdict is another than the description's mode. */
static const struct {
	const char *name, *why;
} others[] = {
	{ "XPS", "set where there are fewer queues than threads" },
	{ "RSS key / symmetric", "HASH fanout needs none, and the key belongs to all users" },
	{ "indirection", "channels are shrunk instead" },
	{ "nice", "0 is right" },
	{ "reuseport CPU map", "no CPU belongs to a thread of HEP" },
	{ "send buffer", "nothing is relayed" },
	{ "SO_INCOMING_CPU", "as the CPU map" },
	{ "locked memory", "the rings are the kernel's" },
	{ "LimitMEMLOCK", "nothing is locked" },
	{ "coalescing", "the time alone is set, not the frames" },
	{ "speed/duplex/autoneg", "half duplex is said" },
	{ "fs.file-max", "how many are open is looked at" },
	{ "flow control", "off without negotiating again" },
	{ "OOM score", "the unit's" },
	{ "ip_nonlocal_bind", "addresses of a failover are not listened on before they are there" },
	{ "Nice=1, LimitRTPRIO=70", "neither is needed" },
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
		for (unsigned i = 0; i < knob_count; i++) {
			if (strcmp(knobs[i].section, f[1]) != 0 || strcmp(knobs[i].name, f[2]) != 0)
				continue;
			has = true;
			ck_assert_msg(may_be(knobs[i].verdict, f[4]) || is_other(f[2]),
				      "%s: %s, but %s", f[2], verdict_name(knobs[i].verdict), f[4]);
		}
		ck_assert_msg(has, "%s %s has no verdict", f[1], f[2]);
	}
	fclose(in);
	ck_assert_uint_gt(rows, 140);
}
END_TEST

START_TEST(every_verdict_is_of_a_knob_and_has_a_reason)
{
	for (unsigned i = 0; i < knob_count; i++) {
		const struct knob *r = &knobs[i];
		char line[2048], *f[8];
		bool has = false;
		FILE *in = fopen(index_file, "re");

		while (!has && fgets(line, sizeof(line), in))
			has = fields_of(line, "row", f) == 5 && strcmp(r->section, f[1]) == 0 &&
			      strcmp(r->name, f[2]) == 0;
		fclose(in);
		ck_assert_msg(has, "%s %s is not in the description", r->section, r->name);
		ck_assert_msg(r->reason[0], "%s has no reason", r->name);
		ck_assert_int_eq(r->check != NO_CHECK, r->hurts != NULL);
		/* A check reads a sysctl. */
		ck_assert(r->check == NO_CHECK ||
			  (strncmp(r->object, "/proc/sys/", 10) == 0 && !strchr(r->object, '*')));
		for (size_t j = 0; r->object && j < i; j++)
			ck_assert_msg(!knobs[j].object || strcmp(knobs[j].object, r->object) != 0,
				      "%s twice", r->object);
		if (r->object && !strchr(r->object, '*'))
			ck_assert_ptr_eq(knob_find(r->object), r);
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
		const struct knob *r;

		if (fields_of(line, "value", f) != 4)
			continue;
		values++;
		r = knob_find(f[2]);
		ck_assert_msg(r != NULL, "%s of %s has no verdict", f[2], f[1]);
		refused += r->verdict == KNOB_REFUSE;
		set += r->verdict == KNOB_FULL || r->verdict == KNOB_START;
	}
	fclose(in);
	ck_assert_uint_gt(values, 130);
	ck_assert_uint_gt(refused, 30); /* most of what old guides say */
	ck_assert_uint_gt(set, 5);
	ck_assert_ptr_null(knob_find("/proc/sys/kernel/core_pattern"));
	ck_assert_ptr_null(knob_find("/proc/irq/1/x/smp_affinity_list"));
	ck_assert_ptr_null(knob_find("/sys/class/net/a/device/net/b/threaded"));
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

		for (unsigned i = 0; i < knob_count; i++)
			has |= strcmp(knobs[i].section, sections[s]) == 0;
		ck_assert_msg(has, "%s", sections[s]);
	}
}
END_TEST

static const struct knob *knob_named(const char *name)
{
	char path[300];

	for (unsigned i = 0; i < knob_count; i++)
		if (strcmp(knobs[i].name, name) == 0)
			return &knobs[i];
	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	return knob_find(path);
}

/* One on each line. */
START_TEST(every_setting_of_guides_has_a_verdict)
{
	FILE *in = fopen("tests/fixtures/guides-settings.txt", "re");
	char line[256];
	int count = 0;

	ck_assert_ptr_nonnull(in);
	while (fgets(line, sizeof(line), in)) {
		const struct knob *k;

		line[strcspn(line, "\n")] = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		k = knob_named(line);
		ck_assert_msg(k != NULL, "%s has no verdict", line);
		ck_assert(k->reason[0] && verdict_name(k->verdict)[0]);
		count++;
	}
	fclose(in);
	ck_assert_int_gt(count, 80);
}
END_TEST

/* ---- what is done ---- */

static void planned_as_the_table_says(const struct host_plan *p)
{
	for (unsigned i = 0; i < p->change_count; i++) {
		const struct tune_change *c = &p->changes[i];
		const struct knob *k = knob_find(c->object);

		ck_assert_msg(k != NULL, "%s is planned and has no verdict", c->object);
		ck_assert_msg(k->verdict == KNOB_START || (k->verdict == KNOB_FULL && !c->is_auto),
			      "%s is planned for mode %s, but %s", c->object,
			      c->is_auto ? "auto" : "full", verdict_name(k->verdict));
	}
}

START_TEST(changes_have_the_verdict_of_their_knob)
{
	struct tune_wish w = { .sizes = { .hep_sockets = 1, .memory = 1 << 30, .block_bytes = 1 },
			       .may_management = _i % 2,
			       .mirrors = { { .threads = _i / 2 * 6 } } };
	unsigned count = 0;

	for (int host = 0; host < HOSTS_COUNT; host++) {
		struct facts *f = facts_read(hosts_root(host), &hosts_nic[host], 1, NULL, NULL);
		struct host_plan *p = host_plan_make(f, &w);

		planned_as_the_table_says(p);
		count += p->change_count;
		host_plan_free(p);
		facts_free(f);
	}
	ck_assert_uint_gt(count, 20);
}
END_TEST

static char *source_of(const char *path)
{
	FILE *in = fopen(path, "re");
	char *text = calloc(1, 1 << 17);

	ck_assert_ptr_nonnull(in);
	ck_assert_uint_gt(fread(text, 1, (1 << 17) - 1, in), 1000);
	fclose(in);
	return text;
}

/* The last part of an object is how the sources name it. */
START_TEST(what_is_said_to_be_set_or_looked_at_is)
{
	char *changes = source_of("tune/changes.c"), *findings = source_of("tune/findings.c");
	unsigned set = 0, looked_at = 0;

	for (unsigned i = 0; i < knob_count; i++) {
		const struct knob *k = &knobs[i];
		const char *leaf = k->object ? strrchr(k->object, '/') + 1 : NULL;

		if (leaf && (k->verdict == KNOB_START || k->verdict == KNOB_FULL)) {
			ck_assert_msg(strstr(changes, leaf) != NULL, "nothing sets %s", k->object);
			set++;
		}
		if (leaf && k->verdict == KNOB_REPORT && k->check == NO_CHECK &&
		    strncmp(k->object, "/proc/sys/", 10) == 0) {
			ck_assert_msg(strstr(findings, leaf) != NULL, "nothing looks at %s",
				      k->object);
			looked_at++;
		}
	}
	ck_assert_uint_gt(set, 25);
	ck_assert_uint_gt(looked_at, 10);
	free(changes);
	free(findings);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("knobs");
	TCase *named = tcase_create("named"), *done = tcase_create("done");
	SRunner *runner;
	int failed;

	tcase_add_test(named, every_knob_of_the_description_has_a_verdict);
	tcase_add_test(named, every_verdict_is_of_a_knob_and_has_a_reason);
	tcase_add_test(named, every_value_that_a_guide_names_has_a_verdict);
	tcase_add_test(named, every_seed_has_a_verdict_where_the_index_says);
	tcase_add_test(named, every_setting_of_guides_has_a_verdict);
	tcase_add_unchecked_fixture(done, hosts_unpack, hosts_remove);
	tcase_add_loop_test(done, changes_have_the_verdict_of_their_knob, 0, 4);
	tcase_add_test(done, what_is_said_to_be_set_or_looked_at_is);
	tcase_set_timeout(done, 60);
	suite_add_tcase(suite, named);
	suite_add_tcase(suite, done);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
