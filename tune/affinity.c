/* The kernel's calls and not glibc's, whose sets end at 1,024 CPUs. */
#include "tune/affinity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tune/files.h"

struct search {
	const char *name;
	int tid;
};

static void look_at_thread(void *ctx, const char *tid)
{
	struct search *s = ctx;
	char path[64], comm[64];

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
	if (s->tid < 0 && file_value("", path, comm, sizeof(comm)) >= 0 &&
	    strcmp(comm, s->name) == 0)
		s->tid = atoi(tid);
}

int affinity_find(const char *name)
{
	struct search s = { .name = name, .tid = -ESRCH };
	int n = file_list("", "/proc/self/task", look_at_thread, &s);

	return n < 0 ? n : s.tid;
}

int affinity_read(pid_t tid, struct cpus *out)
{
	*out = (struct cpus){ 0 };
	return syscall(SYS_sched_getaffinity, tid, sizeof(*out), out) < 0 ? -errno : HT_OK;
}

int affinity_set(pid_t tid, const struct cpus *want, struct cpus *got)
{
	int err = HT_OK, again;

	if (syscall(SYS_sched_setaffinity, tid, sizeof(*want), want) < 0)
		err = -errno;
	again = affinity_read(tid, got);
	if (err < 0)
		return err;
	if (again < 0)
		return again;
	return cpus_equal(want, got) ? HT_OK : HT_EFULL;
}
