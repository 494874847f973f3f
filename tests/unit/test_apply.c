/*
 * tune/apply.c, tune/guard.c, tune/reason.c and tune/knobs.c on copies of a recorded machine: every
 * write refused for every reason, killed between any two system calls, changed by somebody else.
 */
#include "tune/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/hosts.h"
#include "tune/journal.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define NIC	    "enp3s0f0"
#define QUEUE	    "/sys/class/net/" NIC "/queues/rx-0/rps_cpus"
#define DEVICE	    "sys/devices/pci0000:00/0000:00:01.0/0000:03:00.0/net/" NIC

static const struct tune_change changes[] = {
	{ .kind = TUNE_ETHTOOL, .nic = NIC, .object = NIC "/channels/combined", .wanted = "4" },
	{ .kind = TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "2048" },
	{ .kind = TUNE_ETHTOOL,
	  .nic = NIC,
	  .object = NIC "/features/large-receive-offload",
	  .wanted = "off" },
	{ .kind = TUNE_IRQ,
	  .nic = NIC,
	  .object = "/proc/irq/64/smp_affinity_list",
	  .expect = NIC "-TxRx-0",
	  .wanted = "12" },
	{ .kind = TUNE_IRQ,
	  .nic = NIC,
	  .object = "/proc/irq/65/smp_affinity_list",
	  .wanted = "13-14" },
	{ .kind = TUNE_QUEUE, .nic = NIC, .object = QUEUE, .wanted = "0ff0" },
	{ .kind = TUNE_ETHTOOL, .nic = NIC, .object = NIC "/coalesce/rx_usecs", .wanted = "50" },
	{ .kind = TUNE_ETHTOOL, .nic = NIC, .object = NIC "/pause/rx", .wanted = "off" },
	{ .kind = TUNE_SYSCTL, .object = "/proc/sys/net/core/rmem_max", .wanted = "16777216" },
	{ .kind = TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
};
#define CHANGES ROWS(changes)

/* Where each is written to, as .faults has it. */
static const char *const files[] = {
	"ethtool/" NIC "/channels",	 "ethtool/" NIC "/rings",
	"ethtool/" NIC "/features",	 "proc/irq/64/smp_affinity_list",
	"proc/irq/65/smp_affinity_list", DEVICE "/queues/rx-0/rps_cpus",
	"ethtool/" NIC "/coalesce",	 "ethtool/" NIC "/pause",
	"proc/sys/net/core/rmem_max",	 "proc/sys/vm/swappiness",
};
_Static_assert(ROWS(files) == CHANGES, "one each");

/* ---- a machine ---- */

struct machine {
	struct recorded at;
	char before[96]; /* a copy of it */
	const char *names[1];
	struct guard_options options;
	struct apply_sums sums;
	int said;
	struct apply_result results[64];
	char objects[64][TUNE_OBJECT];
};

/* The recorded one without its irqbalance, and with little of what is not looked at. */
static void machine_unpack(void)
{
	hosts_unpack_one(2);
	ck_assert_int_eq(
		run_line("cd %s/box16-ixgbe-8q && rm -rf proc/812 sys/devices/system etc && "
			 "mkdir -p proc/sys/kernel/random && "
			 "echo boot-1 >proc/sys/kernel/random/boot_id",
			 hosts_dir),
		0);
}

static void machine_make(struct machine *m)
{
	*m = (struct machine){ .at = recorded_make("box16-ixgbe-8q"), .names = { NIC } };
	snprintf(m->before, sizeof(m->before), "%s/before", m->at.top);
	ck_assert_int_eq(run_line("cp -a %s %s", m->at.root, m->before), 0);
	m->options = (struct guard_options){ .root = m->at.root,
					     .interfaces = m->names,
					     .interfaces_count = 1 };
}

static void machine_remove(struct machine *m)
{
	recorded_remove(&m->at);
}

static bool is_as_before(const struct machine *m)
{
	return run_line("diff -r --no-dereference %s %s >/dev/null", m->before, m->at.root) == 0;
}

static void keep(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct machine *m = ctx;

	if (m->said == 64)
		abort();
	memcpy(m->objects[m->said], c->object, TUNE_OBJECT);
	m->results[m->said++] = *r;
}

static int machine_apply(struct machine *m, const struct tune_change *list, size_t n)
{
	m->said = 0;
	return tune_apply(&m->options, m->at.other, list, n, keep, m, &m->sums);
}

static int machine_verify(struct machine *m)
{
	m->said = 0;
	return tune_verify(&m->options, m->at.other, keep, m, &m->sums);
}

static int machine_rollback(struct machine *m)
{
	m->said = 0;
	return tune_rollback(&m->options, m->at.other, keep, m, &m->sums);
}

static void file_has(const struct machine *m, const char *path, const char *line)
{
	ck_assert_msg(run_line("grep -qx -- '%s' '%s/%s'", line, m->at.root, path) == 0, "%s: %s",
		      path, line);
}

/* ---- there and back ---- */

START_TEST(apply_verify_rollback_leaves_everything_as_it_was)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_int_eq(m.said, CHANGES);
	/* A recorded interrupt never fires: it is served where it was. */
	ck_assert_uint_eq(m.sums.of[APPLY_DONE], CHANGES - 2);
	ck_assert_uint_eq(m.sums.of[APPLY_PENDING], 2);
	ck_assert(!apply_is_bad(&m.sums));
	ck_assert(!is_as_before(&m));
	file_has(&m, files[0], "combined=4");
	file_has(&m, files[1], "rx=2048");
	file_has(&m, files[2], "large-receive-offload=off");
	file_has(&m, files[3], "12");
	file_has(&m, files[4], "13-14");
	file_has(&m, files[5], "0ff0");
	file_has(&m, files[6], "rx_usecs=50");
	file_has(&m, files[7], "rx=off");
	file_has(&m, files[8], "16777216");
	file_has(&m, files[9], "10");
	/* Every file of ours, and no other. */
	ck_assert_int_eq(run_line("test $(diff -rq --no-dereference %s %s | wc -l) = %d", m.before,
				  m.at.root, CHANGES),
			 0);

	ck_assert_int_eq(machine_verify(&m), HT_OK);
	ck_assert_int_eq(m.said, CHANGES);
	ck_assert_uint_eq(m.sums.of[APPLY_DONE] + m.sums.of[APPLY_PENDING], CHANGES);

	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_NOT_NEEDED], CHANGES);

	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], CHANGES);
	for (int i = 0; i < CHANGES; i++) /* in reverse order */
		ck_assert_str_eq(m.objects[i], changes[CHANGES - 1 - i].object);
	ck_assert(is_as_before(&m));
	ck_assert_int_eq(access(m.at.other, F_OK), -1);
	ck_assert_int_eq(machine_rollback(&m), -ENOENT);
	ck_assert_int_eq(machine_verify(&m), -ENOENT);
	machine_remove(&m);
}
END_TEST

START_TEST(an_interrupt_is_done_when_it_is_served_there)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, &changes[3], 1), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_PENDING);
	ck_assert_int_eq(run_line("echo 12 >%s/proc/irq/64/effective_affinity_list", m.at.root), 0);
	ck_assert_int_eq(machine_verify(&m), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_DONE);
	machine_remove(&m);
}
END_TEST

START_TEST(changes_upon_changes_go_back_to_the_first)
{
	struct tune_change c = changes[8];
	struct machine m;

	machine_make(&m);
	for (unsigned i = 1; i <= 5; i++) {
		snprintf(c.wanted, sizeof(c.wanted), "%u", i * 10000000);
		ck_assert_int_eq(machine_apply(&m, &c, 1), HT_OK);
		ck_assert_int_eq(m.results[0].state, APPLY_DONE);
	}
	ck_assert_int_eq(machine_verify(&m), HT_OK);
	ck_assert_int_eq(m.said, 1);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], 5);
	ck_assert(is_as_before(&m));
	machine_remove(&m);
}
END_TEST

/* ---- refused ---- */

#define OF_NIC                                                                \
	"needs CAP_NET_ADMIN in the network namespace of the interface: run " \
	"as root there"
#define ALL(text)                      \
	{                              \
		text, text, text, text \
	}

/* What is said of each, by kind: interrupt, queue, sysctl, ethtool. */
static const struct {
	const char *name;
	int err;
	const char *why[4];
} errnos[] = {
	{ "EPERM",
	  EPERM,
	  { "the kernel manages this interrupt by itself (6.12 and later), or root is missing",
	    OF_NIC, "needs root in the first network namespace", OF_NIC } },
	{ "EIO",
	  EIO,
	  { "the kernel manages this interrupt by itself: leave it where it is",
	    "the kernel or the driver failed: look into the kernel's log",
	    "the kernel or the driver failed: look into the kernel's log",
	    "the kernel or the driver failed: look into the kernel's log" } },
	{ "EINVAL",
	  EINVAL,
	  { "none of these CPUs is online: take another CPU", "the kernel does not take this value",
	    "the kernel does not take this value: it is out of range",
	    "the driver does not take this value: look at its largest one" } },
	{ "EROFS", EROFS,
	  ALL("mounted read-only, as in a container or with ProtectKernelTunables=yes: run `heptap "
	      "tune apply` on the host itself, in a unit of its own") },
	{ "EACCES", EACCES,
	  ALL("may not be written by us: run as root in the first network namespace") },
	{ "EBUSY", EBUSY, ALL("in use: try again later") },
	{ "ENOSPC",
	  ENOSPC,
	  { "that CPU has no interrupt vector left: take another CPU",
	    "the kernel or the device has no room for it",
	    "the kernel or the device has no room for it",
	    "the kernel or the device has no room for it" } },
	{ "ENOENT",
	  ENOENT,
	  { "the interrupt is gone or has another number: make the plan again",
	    "no such queue, or it has nothing to choose from: leave it",
	    "this kernel or this namespace has no such setting: leave it",
	    "there is no such file" } },
	{ "EOPNOTSUPP",
	  EOPNOTSUPP,
	  { "the kernel or the driver has no such thing: leave it",
	    "the kernel or the driver has no such thing: leave it",
	    "the kernel or the driver has no such thing: leave it",
	    "the driver cannot do that: leave it" } },
};

/* Every third write is refused: that is said in words, all others are done, and it all goes back.
 */
static void refuse_every_third(struct machine *m, int first, const char *name)
{
	for (int i = first; i < CHANGES; i += 3)
		ck_assert_int_eq(run_line("cd %s && grep -v '^%s write' .faults >../f; "
					  "echo '%s write %s' >>../f; cp ../f .faults",
					  m->at.root, files[i], files[i], name),
				 0);
}

START_TEST(a_refused_write_stops_nothing_else)
{
	char note[GUARD_WHY];
	struct machine m;

	machine_make(&m);
	for (int first = 0; first < 3; first++) {
		unsigned refused = 0;

		refuse_every_third(&m, first, errnos[_i].name);
		ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
		ck_assert_int_eq(m.said, CHANGES);
		for (int i = 0; i < CHANGES; i++) {
			if (i % 3 != first)
				continue;
			refused++;
			ck_assert_int_eq(m.results[i].state, APPLY_REFUSED);
			ck_assert_int_eq(m.results[i].err, -errnos[_i].err);
			snprintf(note, sizeof(note), "%s: %s", ht_strerror(-errnos[_i].err),
				 errnos[_i].why[changes[i].kind]);
			ck_assert_str_eq(m.results[i].note, note);
		}
		ck_assert_uint_eq(m.sums.of[APPLY_REFUSED], refused);
		ck_assert_uint_eq(m.sums.of[APPLY_DONE] + m.sums.of[APPLY_PENDING],
				  CHANGES - refused);
		ck_assert(apply_is_bad(&m.sums));
		ck_assert_int_eq(machine_rollback(&m), HT_OK);
		ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], CHANGES - refused);
		ck_assert_int_eq(run_line("cp %s/.faults %s/.faults", m.before, m.at.root), 0);
		ck_assert(is_as_before(&m));
	}
	machine_remove(&m);
}
END_TEST

/* A rollback that is refused can be done again. */
START_TEST(a_refused_rollback_keeps_the_journal)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_int_eq(run_line("echo '%s write EIO' >>%s/.faults", files[3], m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_REFUSED], 1);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], CHANGES - 1);
	ck_assert_int_eq(access(m.at.other, F_OK), 0);
	ck_assert_int_eq(run_line("cp %s/.faults %s/.faults", m.before, m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], 1);
	ck_assert_int_eq(m.said, 1);
	ck_assert(is_as_before(&m));
	ck_assert_int_eq(access(m.at.other, F_OK), -1);
	machine_remove(&m);
}
END_TEST

/* Who could be asked is gone, and not the table. */
START_TEST(a_table_stays_in_the_journal_without_nft)
{
	static const struct tune_change c = {
		.kind = TUNE_TABLE, .object = "nft/inet/heptap", .now = "none", .wanted = "9060"
	};
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(run_line("mkdir %s/nft && echo none >%s/nft/heptap", m.at.root, m.at.root),
			 0);
	ck_assert_int_eq(machine_apply(&m, &c, 1), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_DONE);
	ck_assert_int_eq(run_line("mv %s/nft %s/away", m.at.root, m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_REFUSED);
	ck_assert_msg(strstr(m.results[0].note, "nft") != NULL, "%s", m.results[0].note);
	ck_assert_int_eq(run_line("mv %s/away %s/nft", m.at.root, m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_RESTORED);
	file_has(&m, "nft/heptap", "none");
	machine_remove(&m);
}
END_TEST

/* The kernel's own refusal, and not a recorded one. */
START_TEST(a_tree_that_is_mounted_read_only_is_said_and_left)
{
	struct machine m;

	machine_make(&m);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: a_tree_that_is_mounted_read_only_is_said_and_left: %s\n",
		       strerror(errno));
		machine_remove(&m);
		return;
	}
	ck_assert_int_eq(mount(m.at.root, m.at.root, NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, m.at.root, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_REFUSED], CHANGES);
	for (int i = 0; i < CHANGES; i++) {
		ck_assert_int_eq(m.results[i].err, -EROFS);
		ck_assert_ptr_nonnull(strstr(m.results[i].note, "ProtectKernelTunables"));
	}
	ck_assert_int_eq(umount(m.at.root), 0);
	ck_assert(is_as_before(&m));
	ck_assert_int_eq(access(m.at.other, F_OK), -1);
	machine_remove(&m);
}
END_TEST

/* ---- no journal, no write ---- */

/* Only "not tried" is a reason here. @return changes that were refused; 100 and more: a mistake. */
static int apply_with_little_disk(struct machine *m, rlim_t octets)
{
	struct rlimit little = { octets, octets };
	pid_t child = fork();
	int status;

	if (child == 0) { /* libcheck writes to files, too */
		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &little) < 0)
			_exit(100);
		if (machine_apply(m, changes, CHANGES) != HT_OK)
			_exit(101);
		for (int i = 0; i < CHANGES; i++) {
			if (m->results[i].state == APPLY_REFUSED &&
			    !strstr(m->results[i].note, "not tried"))
				_exit(102);
		}
		_exit((int)m->sums.of[APPLY_REFUSED]);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(nothing_is_written_that_is_not_journalled)
{
	int refused = CHANGES, partly = 0;
	struct machine m;

	machine_make(&m);
	/* The largest file of the tree that is written is smaller. */
	for (rlim_t octets = 300; refused; octets += 37) {
		refused = apply_with_little_disk(&m, octets);
		ck_assert_int_le(refused, CHANGES);
		partly += refused > 0 && refused < CHANGES;
		ck_assert_int_eq(run_line("test $(diff -rq --no-dereference %s %s | wc -l) = %d",
					  m.before, m.at.root, CHANGES - refused),
				 0);
		if (refused < CHANGES)
			ck_assert_int_eq(machine_rollback(&m), HT_OK);
		ck_assert(is_as_before(&m));
	}
	ck_assert_int_gt(partly, CHANGES);
	snprintf(m.at.other, sizeof(m.at.other), "%s/no/such/journal", m.at.top);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), -ENOENT);
	ck_assert_int_eq(m.said, 0);
	ck_assert(is_as_before(&m));
	machine_remove(&m);
}
END_TEST

/* Another process is at work. */
START_TEST(a_journal_that_somebody_has_stops_apply)
{
	struct machine m;
	int status;
	pid_t child;
	int fd;

	machine_make(&m);
	fd = open(m.at.other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	child = fork();
	if (child == 0)
		_exit(machine_apply(&m, changes, CHANGES) == -EWOULDBLOCK && m.said == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert(is_as_before(&m));
	close(fd);
	ck_assert_int_eq(unlink(m.at.other), 0);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert(!is_as_before(&m));
	machine_remove(&m);
}
END_TEST

/* Of a disk that is full: the first line of a journal does not fit. */
START_TEST(a_full_disk_stops_apply)
{
	struct machine m;
	int err;

	machine_make(&m);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: a_full_disk_stops_apply: %s\n", strerror(errno));
		machine_remove(&m);
		return;
	}
	ck_assert_int_eq(run_line("mkdir %s/disk && mount -t tmpfs -o size=4k none %s/disk && "
				  "(head -c 8192 /dev/zero >%s/disk/all 2>/dev/null; true)",
				  m.at.top, m.at.top, m.at.top),
			 0);
	snprintf(m.at.other, sizeof(m.at.other), "%.64s/disk/journal", m.at.top);
	err = machine_apply(&m, changes, CHANGES);
	ck_assert_int_eq(err, -ENOSPC);
	ck_assert_int_eq(m.said, 0);
	ck_assert(is_as_before(&m));
	ck_assert_int_eq(run_line("umount %s/disk", m.at.top), 0);
	machine_remove(&m);
}
END_TEST

/* ---- killed ---- */

/* A child that stops at each entry of a system call and each return from one. */
static pid_t child_start(struct machine *m, bool is_rollback)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		m->said = 0;
		_exit((is_rollback ? tune_rollback(&m->options, m->at.other, NULL, NULL, &m->sums)
				   : tune_apply(&m->options, m->at.other, changes, CHANGES, NULL,
						NULL, &m->sums)) == HT_OK
			      ? 0
			      : 1);
	}
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, child, NULL,
				(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
			 0);
	return child;
}

/* @return false if it has ended. */
static bool child_step(pid_t child)
{
	int status;

	ck_assert_int_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	else
		ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80));
	return !WIFEXITED(status);
}

/* Is it about to do something that a disk would show? Between two such calls all points are one. */
static bool is_at_change(pid_t child)
{
	struct __ptrace_syscall_info info;

	ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof(info), &info), 0);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	switch (info.entry.nr) {
	case SYS_write:
	case SYS_pwrite64:
	case SYS_ftruncate:
	case SYS_fdatasync:
	case SYS_fsync:
	case SYS_unlink:
	case SYS_mkdir:
	case SYS_exit_group:
		return true;
	case SYS_openat:
		return info.entry.args[2] & O_CREAT;
	default:
		return false;
	}
}

/*
 * Kill it before the step after so many: a call that changes something, or, with SOAK, any call at
 * its entry or return. @return false if it ended before.
 */
static bool kill_after(struct machine *m, unsigned steps, bool is_rollback)
{
	pid_t child = child_start(m, is_rollback);
	bool is_every = getenv("SOAK") != NULL;
	int status;

	for (unsigned i = 0; i <= steps;) {
		if (!child_step(child))
			return false;
		i += is_every || is_at_change(child);
	}
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return true;
}

static void child_path(pid_t child, uint64_t fd, char out[512])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", child, (int)fd);
	n = readlink(link, out, 511);
	out[n < 0 ? 0 : n] = '\0';
}

/* Each write into the tree comes after a sync of the journal, and the journal says it. */
START_TEST(the_journal_is_synced_before_each_write)
{
	struct __ptrace_syscall_info info;
	unsigned into_tree = 0, syncs = 0, syncs_since = 0;
	bool is_synced = true;
	char path[512], top[512];
	struct machine m;
	pid_t child;

	machine_make(&m);
	ck_assert_ptr_nonnull(realpath(m.at.top, top));
	child = child_start(&m, false);
	while (child_step(child)) {
		ck_assert_int_gt(
			ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof(info), &info), 0);
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		child_path(child, info.entry.args[0], path);
		if (strncmp(path, top, strlen(top)) != 0)
			continue;
		if (strcmp(path + strlen(top), "/other") == 0) {
			if (info.entry.nr == SYS_pwrite64) {
				is_synced = false;
			} else if (info.entry.nr == SYS_fdatasync) {
				is_synced = true;
				syncs++;
				syncs_since++;
			}
		} else if (info.entry.nr == SYS_write || info.entry.nr == SYS_pwrite64) {
			/* the first line, or the result before; and this one's announcement */
			ck_assert_msg(is_synced && syncs_since == 2, "%s", path);
			syncs_since = 0;
			into_tree++;
		}
	}
	ck_assert_uint_eq(into_tree, CHANGES);
	ck_assert_uint_eq(syncs, 1 + 2 * CHANGES);
	machine_remove(&m);
}
END_TEST

/* What is killed and traced does not see more in a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KILL_EACH 7
#else
#define KILL_EACH 1
#endif

START_TEST(a_kill_anywhere_in_apply_can_be_rolled_back)
{
	unsigned steps, changed = 0;
	struct machine m;
	int err;

	machine_make(&m);
	for (steps = 0; kill_after(&m, steps, false); steps += KILL_EACH) {
		changed += !is_as_before(&m);
		err = machine_rollback(&m);
		ck_assert_msg(err == HT_OK || err == -ENOENT, "after %u: %s", steps,
			      ht_strerror(err));
		ck_assert_uint_eq(m.sums.of[APPLY_REFUSED] + m.sums.of[APPLY_LEFT] +
					  m.sums.of[APPLY_VANISHED],
				  0);
		ck_assert_msg(is_as_before(&m), "after %u", steps);
		ck_assert_int_eq(access(m.at.other, F_OK), -1);
	}
	ck_assert_int_gt(steps, 5 * CHANGES);
	ck_assert_int_gt(changed * KILL_EACH, steps / 2); /* it was at work */
	machine_remove(&m);
}
END_TEST

START_TEST(a_kill_anywhere_in_rollback_can_be_rolled_back)
{
	unsigned steps = 0;
	bool is_killed = true;
	struct machine m;
	int err;

	machine_make(&m);
	for (; is_killed; steps += KILL_EACH) {
		ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
		is_killed = kill_after(&m, steps, true);
		err = machine_rollback(&m);
		ck_assert_msg(err == HT_OK || err == -ENOENT, "after %u: %s", steps,
			      ht_strerror(err));
		ck_assert_uint_eq(m.sums.of[APPLY_REFUSED] + m.sums.of[APPLY_LEFT], 0);
		ck_assert_msg(is_as_before(&m), "after %u", steps);
	}
	ck_assert_int_gt(steps, 3 * CHANGES);
	machine_remove(&m);
}
END_TEST

/* ---- somebody else ---- */

START_TEST(what_somebody_else_changed_is_left_alone)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_int_eq(
		run_line("cd %s && echo 33554432 >%s && echo 7 >%s && rm %s && echo 33554432 "
			 ">%s/%s && echo 7 >%s/%s && rm %s/%s",
			 m.at.root, files[8], files[3], files[9], m.before, files[8], m.before,
			 files[3], m.before, files[9]),
		0);
	ck_assert_int_eq(machine_verify(&m), HT_OK);
	ck_assert_int_eq(m.results[8].state, APPLY_OVERRIDDEN);
	ck_assert_int_eq(m.results[3].state, APPLY_OVERRIDDEN);
	ck_assert_int_eq(m.results[9].state, APPLY_VANISHED);
	ck_assert(apply_is_bad(&m.sums));
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_uint_eq(m.sums.of[APPLY_LEFT], 2);
	ck_assert_uint_eq(m.sums.of[APPLY_VANISHED], 1);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], CHANGES - 3);
	ck_assert_ptr_nonnull(strstr(m.results[1].note, "33554432"));
	ck_assert_ptr_nonnull(strstr(m.results[1].note, "212992"));
	ck_assert(is_as_before(&m));
	ck_assert_int_eq(access(m.at.other, F_OK), -1);
	machine_remove(&m);
}
END_TEST

START_TEST(an_interrupt_with_another_name_is_another)
{
	struct tune_change c = changes[3];
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, &c, 1), HT_OK);
	ck_assert_int_eq(
		run_line("sed -i 's/" NIC "-TxRx-0/another-0/' %s/proc/interrupts", m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_VANISHED);
	file_has(&m, files[3], "12");
	ck_assert_int_eq(machine_apply(&m, &c, 1), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_REFUSED);
	ck_assert_ptr_nonnull(strstr(m.results[0].note, "another-0"));
	machine_remove(&m);
}
END_TEST

START_TEST(a_journal_of_an_earlier_start_tells_nothing)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, &changes[8], 1), HT_OK);
	ck_assert_int_eq(run_line("cp -a %s/. %s && echo boot-2 >%s/proc/sys/kernel/random/boot_id",
				  m.before, m.at.root, m.at.root),
			 0);
	ck_assert_int_eq(machine_verify(&m), -ESTALE);
	ck_assert_int_eq(machine_apply(&m, &changes[9], 1), HT_OK);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_int_eq(m.said, 1);
	ck_assert_int_eq(machine_apply(&m, &changes[8], 1), HT_OK);
	ck_assert_int_eq(run_line("echo boot-3 >%s/proc/sys/kernel/random/boot_id", m.at.root), 0);
	ck_assert_int_eq(machine_rollback(&m), HT_OK);
	ck_assert_int_eq(m.said, 0);
	file_has(&m, files[8], "16777216");
	ck_assert_int_eq(access(m.at.other, F_OK), -1);
	machine_remove(&m);
}
END_TEST

/* The lines that hold are set back; a person looks at the rest. */
START_TEST(a_damaged_journal_stops_apply_and_is_kept)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_OK);
	ck_assert_int_eq(run_line("sed -i '2s/combined/c0mbined/' %s", m.at.other), 0);
	ck_assert_int_eq(machine_apply(&m, changes, CHANGES), HT_EJOURNAL);
	ck_assert_int_eq(m.said, 0);
	ck_assert_int_eq(machine_verify(&m), HT_EJOURNAL);
	ck_assert_int_eq(machine_rollback(&m), HT_EJOURNAL);
	ck_assert_uint_eq(m.sums.of[APPLY_RESTORED], CHANGES - 1);
	ck_assert_int_eq(access(m.at.other, F_OK), 0);
	file_has(&m, files[0], "combined=4");
	machine_remove(&m);
}
END_TEST

/* ---- what is not touched ---- */

/* tuned runs, with this profile and that file of it. */
#define TUNED(name)                                                             \
	"mkdir proc/701 && echo tuned >proc/701/comm && mkdir -p etc/tuned && " \
	"echo '" name "' >etc/tuned/active_profile && "
#define PROFILE(name, text)                                                         \
	"mkdir -p usr/lib/tuned/" name " && printf '" text "' >usr/lib/tuned/" name \
	"/tuned.conf && "
#define DONE "true"

/* @p prepare: a line of shell in the tree. */
static const struct {
	const char *prepare;
	struct tune_change c;
	const char *why; /* part of what is said; NULL: it is done */
} guarded[] = {
	{ "true",
	  { TUNE_ETHTOOL, .nic = "eno1", .object = "eno1/rings/rx", .wanted = "512" },
	  "eno1 is not named" },
	{ "true",
	  { TUNE_QUEUE, .nic = "eno1", .object = "/sys/class/net/eno1/queues/rx-0/rps_cpus",
	    .wanted = "1" },
	  "eno1 is not named" },
	{ "true",
	  { TUNE_QUEUE, .nic = NIC, .object = "/sys/class/net/eno1/queues/rx-0/rps_cpus",
	    .wanted = "1" },
	  "does not belong" },
	{ "true",
	  { TUNE_QUEUE, .nic = NIC, .object = "/sys/class/net/" NIC "/../eno1/queues/rx-0/rps_cpus",
	    .wanted = "1" },
	  "makes sense" },
	{ "true",
	  { TUNE_QUEUE, .nic = NIC, .object = "/sys/class/net/" NIC "/device/net/eno1/threaded",
	    .wanted = "1" },
	  "not a setting that heptap knows" },
	{ "true",
	  { TUNE_ETHTOOL, .nic = NIC, .object = "eno1/rings/rx", .wanted = "512" },
	  "which interface" },
	{ "true",
	  { TUNE_IRQ, .nic = NIC, .object = "/proc/irq/81/smp_affinity_list", .wanted = "1" },
	  "interrupt 81 is not of" },
	{ "true",
	  { TUNE_IRQ, .object = "/proc/irq/64/smp_affinity_list", .wanted = "1" },
	  "not an interrupt of an interface" },
	{ "true",
	  { TUNE_IRQ, .nic = NIC, .object = "/proc/irq/default_smp_affinity", .wanted = "1" },
	  "not an interrupt of an interface" },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/kernel/core_pattern", .wanted = "|/bin/sh" },
	  "not a setting that heptap knows" },
	{ "true", { TUNE_SYSCTL, .object = "/etc/passwd", .wanted = "x" }, "does not belong" },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/net/ipv4/tcp_timestamps", .wanted = "0" },
	  "refused: stays at 1" },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/net/core/somaxconn", .wanted = "300000" },
	  "reported: our listen()" },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/net/core/rmem_max", .wanted = "1\n2" },
	  "makes sense" },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/net/core/rmem_max", .now = "4194304",
	    .wanted = "8388608" },
	  "when the plan was made" },
	{ "printf 'Iface Destination Gateway Flags RefCnt Use Metric Mask\\n" NIC
	  " 00000000 0100000A 0003 0 0 0 00000000 0 0 0\\n' >proc/net/route",
	  { TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "1024" },
	  "reached by" },
	{ "printf 'Iface Destination Gateway Flags RefCnt Use Metric Mask\\n" NIC
	  " 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\\n' >proc/net/route",
	  { TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "1024" },
	  NULL },
	{ "echo 00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
	  "fe800000000000000000000000000001 00000400 00000001 00000000 00000003 bond0 "
	  ">proc/net/ipv6_route; ln -s ../bond0 " DEVICE "/upper_bond0",
	  { TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "1024" },
	  "reached by" },
	{ "mkdir proc/700 && echo irqbalance >proc/700/comm",
	  { TUNE_IRQ, .nic = NIC, .object = "/proc/irq/64/smp_affinity_list", .wanted = "9" },
	  "--banirq=64" },
	{ "mkdir proc/700 && echo irqbalance >proc/700/comm",
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  NULL },
	{ TUNED("ours") PROFILE("ours", "[sysctl]\\nvm.swappiness = 10\\n") DONE,
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  "tuned (process 701) sets vm.swappiness=10 in /usr/lib/tuned/ours/tuned.conf" },
	{ TUNED("ours") PROFILE("ours", "[main]\\ninclude=base\\n[sysctl]\\nvm.dirty_ratio=5\\n")
		  PROFILE("base", "[x]\\ntype=sysctl\\nnet/core/rmem_max=>1\\n") DONE,
	  { TUNE_SYSCTL, .object = "/proc/sys/net/core/rmem_max", .wanted = "16777216" },
	  "net/core/rmem_max=>1 in /usr/lib/tuned/base/tuned.conf" },
	{ TUNED("ours") PROFILE("ours", "[main]\\ninclude=ours\\n[sysctl]\\nvm.dirty_ratio=5\\n")
		  DONE,
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  NULL },
	{ TUNED("ours") PROFILE("ours", "[vm]\\nvm.swappiness=10\\n[net]\\nring=rx 512\\n") DONE,
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  NULL },
	{ TUNED("ours") PROFILE("ours", "[net]\\nring=rx 512\\n") DONE,
	  { TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "1024" },
	  "ring=rx 512" },
	{ TUNED("ours") PROFILE("ours", "[net]\\nring=rx 512\\n") DONE,
	  { TUNE_ETHTOOL, .nic = NIC, .object = NIC "/pause/rx", .wanted = "off" },
	  NULL },
	{ TUNED("ours") PROFILE("ours", "[scheduler]\\nisolated_cores=4-7\\n") DONE,
	  { TUNE_IRQ, .nic = NIC, .object = "/proc/irq/64/smp_affinity_list", .wanted = "9" },
	  "isolated_cores=4-7" },
	{ TUNED("gone") "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  "profile gone cannot be read" },
	{ TUNED("../../ours") PROFILE("ours", "[sysctl]\\nvm.swappiness=10\\n") DONE,
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  "cannot be read" },
	{ "mkdir proc/701 && echo tuned >proc/701/comm",
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  NULL },
	{ "true",
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10",
	    .blocked = "the plan says no" },
	  "the plan says no" },
	{ "mkdir proc/701 && echo tuned-ppd >proc/701/comm",
	  { TUNE_SYSCTL, .object = "/proc/sys/vm/swappiness", .wanted = "10" },
	  NULL },
};

START_TEST(what_is_not_ours_is_not_touched)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(run_line("cd %s && %s", m.at.root, guarded[_i].prepare), 0);
	ck_assert_int_eq(run_line("rm -rf %s && cp -a %s %s", m.before, m.at.root, m.before), 0);
	ck_assert_int_eq(machine_apply(&m, &guarded[_i].c, 1), HT_OK);
	if (guarded[_i].why) {
		ck_assert_int_eq(m.results[0].state, APPLY_REFUSED);
		ck_assert_msg(strstr(m.results[0].note, guarded[_i].why) != NULL, "%s",
			      m.results[0].note);
		ck_assert(is_as_before(&m));
	} else {
		ck_assert_msg(m.results[0].state == APPLY_DONE, "%s", m.results[0].note);
		ck_assert(!is_as_before(&m));
	}
	machine_remove(&m);
}
END_TEST

START_TEST(the_management_interface_is_touched_if_told)
{
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(run_line("cd %s && %s", m.at.root, guarded[15].prepare), 0);
	ck_assert_int_eq(machine_apply(&m, &guarded[15].c, 1), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_REFUSED);
	m.options.may_touch_management = true;
	ck_assert_int_eq(machine_apply(&m, &guarded[15].c, 1), HT_OK);
	ck_assert_int_eq(m.results[0].state, APPLY_DONE);
	machine_remove(&m);
}
END_TEST

START_TEST(more_is_never_lowered)
{
	static const struct tune_change less[] = {
		{ TUNE_SYSCTL, .object = "/proc/sys/net/core/rmem_max", .wanted = "100000" },
		{ TUNE_ETHTOOL, .nic = NIC, .object = NIC "/rings/rx", .wanted = "256" },
		{ TUNE_SYSCTL, .object = "/proc/sys/net/ipv4/udp_mem", .wanted = "1 1 1" },
	};
	struct machine m;

	machine_make(&m);
	ck_assert_int_eq(machine_apply(&m, less, ROWS(less)), HT_OK);
	for (int i = 0; i < ROWS(less); i++)
		ck_assert_msg(m.results[i].state == APPLY_NOT_NEEDED &&
				      strcmp(m.results[i].note, "it is more already") == 0,
			      "%s: %s", less[i].object, m.results[i].note);
	ck_assert(is_as_before(&m));
	machine_remove(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("apply");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(all, machine_unpack, hosts_remove);
	tcase_add_test(all, apply_verify_rollback_leaves_everything_as_it_was);
	tcase_add_test(all, an_interrupt_is_done_when_it_is_served_there);
	tcase_add_test(all, changes_upon_changes_go_back_to_the_first);
	tcase_add_loop_test(all, a_refused_write_stops_nothing_else, 0, ROWS(errnos));
	tcase_add_test(all, a_refused_rollback_keeps_the_journal);
	tcase_add_test(all, a_table_stays_in_the_journal_without_nft);
	tcase_add_test(all, a_tree_that_is_mounted_read_only_is_said_and_left);
	tcase_add_test(all, nothing_is_written_that_is_not_journalled);
	tcase_add_test(all, a_journal_that_somebody_has_stops_apply);
	tcase_add_test(all, a_full_disk_stops_apply);
	tcase_add_test(all, the_journal_is_synced_before_each_write);
	tcase_add_test(all, a_kill_anywhere_in_apply_can_be_rolled_back);
	tcase_add_test(all, a_kill_anywhere_in_rollback_can_be_rolled_back);
	tcase_add_test(all, what_somebody_else_changed_is_left_alone);
	tcase_add_test(all, an_interrupt_with_another_name_is_another);
	tcase_add_test(all, a_journal_of_an_earlier_start_tells_nothing);
	tcase_add_test(all, a_damaged_journal_stops_apply_and_is_kept);
	tcase_add_loop_test(all, what_is_not_ours_is_not_touched, 0, ROWS(guarded));
	tcase_add_test(all, the_management_interface_is_touched_if_told);
	tcase_add_test(all, more_is_never_lowered);
	tcase_set_timeout(all, 300);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
