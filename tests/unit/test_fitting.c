/* capture/fitting.c and tune/placed.c on recorded machines: who belongs where, and what is not
 * moved because another is at it. */
#include "capture/fitting.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tests/unit/hosts.h"

enum { VM2 = 0, BOX16 = 2 };

#define IRQ "/proc/irq/%d/smp_affinity_list"

static struct conf *conf;
static char root[256];

static void start_on(int machine, const char *yaml)
{
	char dir[300];

	snprintf(root, sizeof(root), "%s", hosts_root(machine));
	snprintf(dir, sizeof(dir), "%s/var", root);
	mkdir(dir, 0755);
	snprintf(dir, sizeof(dir), "%s/var/lib", root);
	mkdir(dir, 0755);
	setenv("HEPTAP_ROOT", root, 1);
	ck_assert_int_eq(conf_read_bytes("test", yaml, strlen(yaml), &conf, stderr), HT_OK);
}

static void end(void)
{
	conf_free(conf);
	unsetenv("HEPTAP_ROOT");
}

static const char *irq_now(int number)
{
	static char text[64];
	char path[400];
	FILE *in;

	snprintf(path, sizeof(path), "%s" IRQ, root, number);
	in = fopen(path, "re");
	ck_assert_ptr_nonnull(in);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), in));
	fclose(in);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* ---- places ---- */

static const char *place_of(struct placed *p, const char *name)
{
	static char text[128];
	const struct placed_thread *t = placed_find(p, name);

	return t ? cpus_print(&t->wanted, text, sizeof(text)) : "nowhere";
}

START_TEST(every_thread_has_its_place)
{
	static const struct placed_capture captures[] = { { 0, 0 }, { 0, 7 }, { -1, 0 } };
	struct placed_wish w = {
		.captures = captures, .capture_count = 3, .writers = 2, .may_pin = true
	};
	struct facts *f = facts_read(hosts_root(BOX16), &hosts_nic[BOX16], 1, NULL, NULL);
	struct place_wish pw = { .nic_count = 1,
				 .nics = { { .nic = &f->nics[0] } },
				 .hep_threads = 5 };
	struct placement placement;
	struct placed p;

	w.process = f->allowed;
	placement_make(f, &pw, &placement);
	ck_assert_int_eq(placed_init(&p, &placement, &w), HT_OK);
	ck_assert_str_eq(place_of(&p, "heptap"), "0-1");
	ck_assert_str_eq(place_of(&p, "ht-spool"), "0-1");
	ck_assert_str_eq(place_of(&p, "ht-db-1"), "2-3");
	ck_assert_str_eq(place_of(&p, "ht-db-2"), "nowhere");
	ck_assert_str_eq(place_of(&p, "ht-stat"), "2-3");
	ck_assert_str_eq(place_of(&p, "ht-cap-0"), "4");
	ck_assert_str_eq(place_of(&p, "ht-cap-1"), "11");
	ck_assert_str_eq(place_of(&p, "ht-cap-2"), "0-15"); /* a file's */
	ck_assert(!placed_find(&p, "ht-cap-2")->is_pinned);
	ck_assert_str_eq(place_of(&p, "ht-hep-3"), "15");
	ck_assert_str_eq(place_of(&p, "ht-hep-4"), "12"); /* one more than spare cores */
	ck_assert_uint_eq(p.irq_count, 8);
	ck_assert_int_eq(p.irqs[3].number, 67);
	ck_assert_int_eq(p.irqs[3].cpu, 7);
	placed_fini(&p);
	w.may_pin = false;
	ck_assert_int_eq(placed_init(&p, &placement, &w), HT_OK);
	ck_assert_str_eq(place_of(&p, "ht-cap-0"), "0-15");
	ck_assert(!placed_find(&p, "heptap")->is_pinned);
	placed_fini(&p);
	facts_free(f);
}
END_TEST

/* ---- entries of `capture` ---- */

#define ON(rest) "{interface: enp3s0f0" rest "}"

static const struct {
	const char *entries;
	unsigned threads[3], first[3];
	uint64_t ring_mib[3];
	int nic[3];
} entries[] = {
	{ ON(""), { 8 }, { 0 }, { 60 }, { 0 } },
	{ ON(", threads: 3"), { 3 }, { 0 }, { 159 }, { 0 } },
	{ ON(", method: pcap"), { 1 }, { 0 }, { 475 }, { 0 } },
	{ ON(", ring: 64M"), { 8 }, { 0 }, { 64 }, { 0 } },
	/* Of one interface each has a thread, and they share its rate. */
	{ ON("") ", " ON(", ring: 64M, name: b") ", " ON(", threads: 2, name: c"),
	  { 1, 1, 2 },
	  { 0, 1, 2 },
	  { 119, 64, 119 },
	  { 0, 0, 0 } },
	{ "{file: f}, " ON(", threads: 2, name: b") ", {interface: nowhere, name: c}",
	  { 1, 2, 4 },
	  { 0, 0, 0 },
	  { 48, 238, 16 },
	  { -1, 0, 1 } },
};

START_TEST(entries_get_what_the_plan_has_for_them)
{
	char yaml[512];
	struct tuning t;
	unsigned sum = 0;

	snprintf(yaml, sizeof(yaml), "capture: [%s]\n", entries[_i].entries);
	start_on(BOX16, yaml);
	ck_assert_int_eq(tuning_init(&t, conf, root), HT_OK);
	for (size_t i = 0; i < conf->capture_count; i++) {
		const struct capture_fit *c = &t.captures[i];

		ck_assert_uint_eq(c->threads, entries[_i].threads[i]);
		ck_assert_uint_eq(c->first, entries[_i].first[i]);
		ck_assert_uint_eq(c->ring >> 20, entries[_i].ring_mib[i]);
		ck_assert_int_eq(c->nic, entries[_i].nic[i]);
		sum += c->threads;
	}
	ck_assert_uint_eq(tuning_capture_threads(&t, conf), sum);
	tuning_fini(&t);
	end();
}
END_TEST

/* ---- interrupts ---- */

START_TEST(what_was_moved_by_hand_is_left)
{
	const char *nics[] = { "eth0" };
	struct guard_options o = { .root = root, .interfaces = nics, .interfaces_count = 1 };
	struct tune_change by_hand = { .kind = TUNE_IRQ,
				       .object = "/proc/irq/38/smp_affinity_list",
				       .nic = "eth0",
				       .now = "0-1",
				       .wanted = "0" };
	struct apply_sums sums;
	struct fitting f;

	start_on(VM2, "capture: [{interface: eth0}]\n");
	ck_assert_int_eq(fitting_init(&f, conf), HT_OK);
	ck_assert_str_eq(irq_now(38), "1");
	fitting_fini(&f);
	ck_assert_str_eq(irq_now(38), "0-1");

	ck_assert_int_eq(tune_apply(&o, f.by_hand, &by_hand, 1, NULL, NULL, &sums), HT_OK);
	ck_assert_str_eq(irq_now(38), "0");
	ck_assert_int_eq(fitting_init(&f, conf), HT_OK);
	ck_assert_str_eq(irq_now(38), "0");
	ck_assert_str_eq(irq_now(39), "1");
	ck_assert_str_eq(f.nics[0].why, "heptap tune apply has moved them");
	fitting_fini(&f);
	ck_assert_str_eq(irq_now(38), "0");
	ck_assert_str_eq(irq_now(39), "0-1");
	ck_assert_int_eq(tune_rollback(&o, f.by_hand, NULL, NULL, &sums), HT_OK);
	ck_assert_str_eq(irq_now(38), "0-1");
	end();
}
END_TEST

START_TEST(one_server_at_a_time_moves_interrupts)
{
	struct fitting first, second;

	start_on(VM2, "capture: [{interface: eth0}]\n");
	ck_assert_int_eq(fitting_init(&first, conf), HT_OK);
	ck_assert_int_eq(first.nics[0].moved, 2);
	ck_assert_int_eq(fitting_init(&second, conf), HT_OK); /* what it wants is so already */
	ck_assert_int_eq(second.nics[0].moved, 0);
	ck_assert_int_eq(second.keeper.pid, 0);
	ck_assert_uint_eq(second.nics[0].there, 2);
	fitting_fini(&second);
	ck_assert_str_eq(irq_now(38), "1");
	fitting_fini(&first);
	ck_assert_str_eq(irq_now(38), "0-1");
	end();
}
END_TEST

/* A start that only sets back what another left is none that moves interrupts. */
START_TEST(a_server_that_moves_nothing_is_in_nobodys_way)
{
	struct fitting killed, off, next;
	struct conf *quiet;
	static const char no[] = "tune: {mode: off}\ncapture: [{interface: eth0}]\n";

	start_on(VM2, "capture: [{interface: eth0}]\n");
	ck_assert_int_eq(fitting_init(&killed, conf), HT_OK);
	kill(killed.keeper.pid, SIGKILL);
	fitting_fini(&killed);
	ck_assert_str_eq(irq_now(38), "1");
	ck_assert_int_eq(conf_read_bytes("test", no, strlen(no), &quiet, stderr), HT_OK);
	ck_assert_int_eq(fitting_init(&off, quiet), HT_OK);
	ck_assert_str_eq(irq_now(38), "0-1");
	ck_assert_int_eq(fitting_init(&next, conf), HT_OK);
	ck_assert_uint_eq(next.nics[0].moved, 2);
	fitting_fini(&next);
	fitting_fini(&off);
	conf_free(quiet);
	end();
}
END_TEST

/* Who may look into the directory may not keep a server from its interrupts by a lock. */
START_TEST(nobody_else_can_lock_us_out)
{
	char dir[400];
	struct fitting f;
	int fd;

	start_on(VM2, "capture: [{interface: eth0}]\n");
	snprintf(dir, sizeof(dir), "%s/var/lib/heptap", root);
	mkdir(dir, 0755);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(fitting_init(&f, conf), HT_OK);
	ck_assert_uint_eq(f.nics[0].moved, 2);
	ck_assert_int_eq(run_line("test -z \"$(find %s -type f -perm /077)\"", dir), 0);
	fitting_fini(&f);
	close(fd);
	end();
}
END_TEST

/* ---- the rest of the host ---- */

/* The driver refuses the ring's size, which nobody knows before. */
START_TEST(what_is_refused_counts_once)
{
	struct fitting f;

	start_on(BOX16, "tune: {mode: full}\ncapture: [{interface: enp3s0f0}]\n");
	ck_assert_int_eq(run_line("sed -i 's/^rx=.*/& fixed/' %s/ethtool/enp3s0f0/rings", root), 0);
	ck_assert_int_eq(fitting_init(&f, conf), HT_OK);
	ck_assert_uint_gt(f.host.of[APPLY_DONE], 0);
	ck_assert_uint_eq(f.host.of[APPLY_REFUSED], 1);
	fitting_fini(&f);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fitting");
	TCase *t = tcase_create("fitting");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(t, hosts_unpack, hosts_remove);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, every_thread_has_its_place);
	tcase_add_loop_test(t, entries_get_what_the_plan_has_for_them, 0,
			    sizeof(entries) / sizeof(entries[0]));
	tcase_add_test(t, what_was_moved_by_hand_is_left);
	tcase_add_test(t, one_server_at_a_time_moves_interrupts);
	tcase_add_test(t, a_server_that_moves_nothing_is_in_nobodys_way);
	tcase_add_test(t, nobody_else_can_lock_us_out);
	tcase_add_test(t, what_is_refused_counts_once);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
