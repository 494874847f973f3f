/*
 * tune/apply.c for real: a pair of interfaces in a network namespace of the test's own, with its
 * own /sys. No interface of the host is named anywhere.
 */
#include <cap-ng.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mount.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/hosts.h"
#include "tests/unit/veth.h"
#include "tune/apply.h"
#include "tune/ethtool.h"
#include "tune/files.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define NEAR	    "/sys/class/net/near/"

static const struct tune_change changes[] = {
	{ .kind = TUNE_ETHTOOL, .nic = "near", .object = "near/channels/rx", .wanted = "3" },
	{ .kind = TUNE_ETHTOOL,
	  .nic = "near",
	  .object = "near/features/generic-receive-offload",
	  .wanted = "on" },
	{ .kind = TUNE_QUEUE, .nic = "near", .object = NEAR "queues/rx-0/rps_cpus", .wanted = "1" },
	{ .kind = TUNE_QUEUE, .nic = "near", .object = NEAR "queues/rx-1/rps_cpus", .wanted = "1" },
	{ .kind = TUNE_QUEUE, .nic = "near", .object = NEAR "queues/tx-0/xps_cpus", .wanted = "1" },
	{ .kind = TUNE_QUEUE, .nic = "near", .object = NEAR "threaded", .wanted = "1" },
	{ .kind = TUNE_SYSCTL,
	  .object = "/proc/sys/net/ipv4/ipfrag_high_thresh",
	  .wanted = "16777216" },
	{ .kind = TUNE_SYSCTL, .object = "/proc/sys/net/ipv4/ipfrag_time", .wanted = "10" },
};
#define CHANGES ROWS(changes)

static const char *const names[] = { "near" };
static const struct guard_options options = { .root = "",
					      .interfaces = names,
					      .interfaces_count = 1 };

/* ---- a network and a /sys of our own ---- */

static bool network_make(const char *test)
{
	if (!veth_make(test))
		return false;
	shell("ip link del near && ip link add near numrxqueues 4 numtxqueues 4 type veth peer "
	      "name far numrxqueues 4 numtxqueues 4 && ip link set near up && ip link set far up");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0) {
		printf("skipped: %s: no /sys of its own: %s\n", test, strerror(errno));
		return false;
	}
	return true;
}

/* ---- everything that there is ---- */

static FILE *snapshot_to;

static int snapshot_add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char value[4096];
	ssize_t n;
	int fd;

	(void)st;
	/* settings, and not states or counts */
	if (type != FTW_F || strstr(path, "/statistics/") ||
	    strncmp(path + ftw->base, "carrier", 7) == 0 ||
	    strcmp(path + ftw->base, "operstate") == 0 || strcmp(path + ftw->base, "uevent") == 0)
		return 0;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, value, sizeof(value));
	fprintf(snapshot_to, "%s: %.*s\n", path, n < 0 ? 0 : (int)n, value);
	if (fd >= 0)
		close(fd);
	return 0;
}

static char *snapshot_take(void)
{
	static const char *const tops[] = { "/proc/sys/net", "/sys/class/net/near/.",
					    "/sys/class/net/far/." };
	char *text, value[64];
	size_t size;

	snapshot_to = open_memstream(&text, &size);
	for (int i = 0; i < ROWS(tops); i++)
		ck_assert_int_eq(nftw(tops[i], snapshot_add, 16, FTW_PHYS), 0);
	for (int i = 0; i < CHANGES; i++) {
		if (changes[i].kind == TUNE_ETHTOOL &&
		    ethtool_read("", "near", changes[i].object + 5, value, sizeof(value)) > 0)
			fprintf(snapshot_to, "%s: %s\n", changes[i].object, value);
	}
	fclose(snapshot_to);
	ck_assert_uint_gt(size, 10000);
	return text;
}

/* The first line that is another. */
static void is_same(const char *before, const char *now)
{
	size_t at = 0;

	while (before[at] && before[at] == now[at])
		at++;
	while (at && before[at - 1] != '\n')
		at--;
	ck_assert_msg(strcmp(before, now) == 0, "%.200s\nis now\n%.200s", before + at, now + at);
}

static void say(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	(void)ctx;
	if (r->state == APPLY_REFUSED)
		printf("%s: %s\n", c->object, r->note);
}

static void is_value(const char *path, const char *value)
{
	char now[64] = "";

	ck_assert_int_gt(file_value("", path, now, sizeof(now)), 0);
	ck_assert_str_eq(now, value);
}

/* A thread of the kernel that polls this interface. */
static bool has_napi_thread(void)
{
	return system("grep -qs '^napi/near-' /proc/[0-9]*/comm") == 0;
}

/* ---- tests ---- */

START_TEST(apply_verify_rollback_on_a_pair)
{
	struct recorded r = recorded_make(NULL);
	char *before, *after, *back;
	struct apply_sums sums;

	if (!network_make("apply_verify_rollback_on_a_pair")) {
		recorded_remove(&r);
		return;
	}
	before = snapshot_take();
	ck_assert_int_eq(tune_apply(&options, r.other, changes, CHANGES, say, NULL, &sums), HT_OK);
	ck_assert_uint_eq(sums.of[APPLY_DONE], CHANGES);
	after = snapshot_take();
	ck_assert_str_ne(before, after); /* it wrote */
	is_value(NEAR "queues/rx-0/rps_cpus", "1");
	is_value("/proc/sys/net/ipv4/ipfrag_time", "10");
	is_value(NEAR "threaded", "1");
	ck_assert(has_napi_thread());
	ck_assert_int_eq(access(NEAR "queues/rx-2", F_OK), 0);
	ck_assert_int_eq(access(NEAR "queues/rx-3", F_OK), -1);
	ck_assert_int_eq(tune_verify(&options, r.other, say, NULL, &sums), HT_OK);
	ck_assert_uint_eq(sums.of[APPLY_DONE], CHANGES);
	ck_assert_int_eq(tune_rollback(&options, r.other, say, NULL, &sums), HT_OK);
	ck_assert_uint_eq(sums.of[APPLY_RESTORED], CHANGES);
	ck_assert(!has_napi_thread());
	back = snapshot_take();
	is_same(before, back);
	free(before);
	free(after);
	free(back);
	recorded_remove(&r);
}
END_TEST

/* At a write that the kernel has taken, whichever it is. */
START_TEST(killed_in_the_middle_and_rolled_back)
{
	struct recorded r = recorded_make(NULL);
	unsigned changed = 0;
	struct apply_sums sums;
	char *before, *now;
	int status, err;
	pid_t child;

	if (!network_make("killed_in_the_middle_and_rolled_back")) {
		recorded_remove(&r);
		return;
	}
	before = snapshot_take();
	for (int n = 1; n <= CHANGES; n++) {
		child = fork();
		if (child == 0) { /* the n first ones, and no more */
			err = tune_apply(&options, r.other, changes, (size_t)n, NULL, NULL, &sums);
			kill(getpid(), err == HT_OK ? SIGKILL : SIGTERM);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		now = snapshot_take();
		changed += strcmp(before, now) != 0;
		free(now);
		/* The last result never got into the journal. */
		ck_assert_int_eq(run_line("sed -i '$d' %s", r.other), 0);
		ck_assert_int_eq(tune_rollback(&options, r.other, say, NULL, &sums), HT_OK);
		ck_assert_uint_eq(sums.of[APPLY_RESTORED], n);
		now = snapshot_take();
		is_same(before, now);
		free(now);
	}
	ck_assert_uint_eq(changed, CHANGES);
	free(before);
	recorded_remove(&r);
}
END_TEST

START_TEST(without_rights_it_is_said_and_nothing_changes)
{
	struct recorded r = recorded_make(NULL);
	struct apply_sums sums;
	char *before, *now;

	if (!network_make("without_rights_it_is_said_and_nothing_changes")) {
		recorded_remove(&r);
		return;
	}
	before = snapshot_take();
	capng_clear(CAPNG_SELECT_BOTH);
	ck_assert_int_eq(capng_apply(CAPNG_SELECT_CAPS), 0);
	ck_assert_int_eq(tune_apply(&options, r.other, changes, 6, say, NULL, &sums), HT_OK);
	ck_assert_uint_eq(sums.of[APPLY_REFUSED], 6);
	now = snapshot_take();
	is_same(before, now);
	ck_assert_int_eq(access(r.other, F_OK), -1);
	free(before);
	free(now);
	recorded_remove(&r);
}
END_TEST

/* Read-only as in a container. */
START_TEST(a_read_only_proc_is_said_and_nothing_changes)
{
	struct recorded r = recorded_make(NULL);
	struct apply_sums sums;
	char *before, *now;

	if (!network_make("a_read_only_proc_is_said_and_nothing_changes")) {
		recorded_remove(&r);
		return;
	}
	ck_assert_int_eq(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, "/proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(mount(NULL, "/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	before = snapshot_take();
	/* all but the channels and the features, which no mount protects */
	ck_assert_int_eq(tune_apply(&options, r.other, changes + 2, CHANGES - 2, say, NULL, &sums),
			 HT_OK);
	ck_assert_uint_eq(sums.of[APPLY_REFUSED], CHANGES - 2);
	now = snapshot_take();
	is_same(before, now);
	ck_assert_int_eq(access(r.other, F_OK), -1);
	free(before);
	free(now);
	recorded_remove(&r);
}
END_TEST

/* The index in the old /sys may well be the same: only asked, never written. */
START_TEST(a_sys_of_another_namespace_is_seen)
{
	struct tune_change c = changes[2];
	char why[GUARD_WHY];
	struct guard g;

	if (!network_make("a_sys_of_another_namespace_is_seen"))
		return;
	guard_init(&g, &options);
	ck_assert(guard_allows(&g, &c, why));
	/* The old one stays while somebody has it open. */
	ck_assert_int_ge(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), 0);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	shell("ip link add near type veth peer name far");
	ck_assert(!guard_allows(&g, &c, why));
	ck_assert_ptr_nonnull(strstr(why, "another network namespace"));
	shell("ip link del near");
	ck_assert(!guard_allows(&g, &c, why));
	ck_assert_ptr_nonnull(strstr(why, "another network namespace"));
}
END_TEST

START_TEST(a_default_route_makes_it_the_management_interface)
{
	struct tune_change c = changes[2];
	char why[GUARD_WHY];
	struct guard g;

	if (!network_make("a_default_route_makes_it_the_management_interface"))
		return;
	guard_init(&g, &options);
	ck_assert(guard_allows(&g, &c, why));
	shell("ip addr add 198.18.0.1/24 dev near && ip route add default via 198.18.0.2");
	ck_assert(!guard_allows(&g, &c, why));
	ck_assert_ptr_nonnull(strstr(why, "reached by"));
	shell("ip route del default");
	ck_assert(guard_allows(&g, &c, why));
	if (system("ip link add over link near type vlan id 5 2>/dev/null || "
		   "ip link add over link near type macvlan 2>/dev/null") == 0) {
		shell("ip link set over up && ip addr add 198.18.1.1/24 dev over && "
		      "ip route add default via 198.18.1.2");
		ck_assert(!guard_allows(&g, &c, why));
		shell("ip route del default");
		ck_assert(guard_allows(&g, &c, why));
	} else {
		printf("skipped: an interface upon it: the kernel has neither VLAN nor macvlan\n");
	}
	setenv("SSH_CONNECTION", "198.18.0.9 40000 198.18.0.1 22", 1);
	guard_init(&g, &options);
	ck_assert(!guard_allows(&g, &c, why));
	setenv("SSH_CONNECTION", "198.18.0.9 40000 198.18.0.3 22", 1);
	guard_init(&g, &options);
	ck_assert(guard_allows(&g, &c, why));
}
END_TEST

/* This program with "session": the address that it was started by. */
static int session_print(void)
{
	struct guard g;

	guard_init(&g, &options);
	puts(g.session);
	return 0;
}

/* sudo takes SSH_CONNECTION out of the environment of what it starts. */
START_TEST(a_session_is_known_behind_sudo)
{
	char self[256] = "", command[512], got[64] = "";
	FILE *from;

	ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	snprintf(command, sizeof(command),
		 "SSH_CONNECTION='198.18.0.9 40000 198.18.0.1 22' sh -c 'env -u SSH_CONNECTION %s "
		 "session; true'",
		 self);
	from = popen(command, "re");
	ck_assert_ptr_nonnull(from);
	ck_assert_ptr_nonnull(fgets(got, sizeof(got), from));
	ck_assert_int_eq(pclose(from), 0);
	ck_assert_str_eq(got, "198.18.0.1\n");
}
END_TEST

/* A process with that name is all that can be seen of it. */
START_TEST(a_running_irqbalance_is_seen)
{
	struct guard g;
	int pipes[2];
	pid_t child;
	char c = 0;

	ck_assert_int_eq(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_NAME, "irqbalance");
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)!write(pipes[1], &c, 1);
		pause();
		_exit(0);
	}
	ck_assert_int_eq(read(pipes[0], &c, 1), 1);
	guard_init(&g, &options);
	ck_assert_int_gt(g.irqbalance, 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

int main(int argc, char **argv)
{
	SRunner *runner;
	Suite *suite;
	TCase *all;
	int failed;

	if (argc == 2 && strcmp(argv[1], "session") == 0)
		return session_print();
	suite = suite_create("tune_live");
	all = tcase_create("all");
	tcase_add_test(all, apply_verify_rollback_on_a_pair);
	tcase_add_test(all, killed_in_the_middle_and_rolled_back);
	tcase_add_test(all, without_rights_it_is_said_and_nothing_changes);
	tcase_add_test(all, a_read_only_proc_is_said_and_nothing_changes);
	tcase_add_test(all, a_sys_of_another_namespace_is_seen);
	tcase_add_test(all, a_default_route_makes_it_the_management_interface);
	tcase_add_test(all, a_session_is_known_behind_sudo);
	tcase_add_test(all, a_running_irqbalance_is_seen);
	tcase_set_timeout(all, 120);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	/* Namespaces are of a process: each test has its own. */
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
