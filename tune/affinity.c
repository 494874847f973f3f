/* The kernel's calls and not glibc's, whose sets end at 1,024 CPUs. */
#include "tune/affinity.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tune/rooted.h"

int affinity_find(const char *name)
{
	DIR *tasks = rooted_list("", "/proc/self/task");
	char path[320], comm[64];
	const struct dirent *d;
	int tid = -ESRCH;

	if (!tasks)
		return -errno;
	while (tid == -ESRCH && (d = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		if (d->d_name[0] != '.' && rooted_read("", path, comm, sizeof(comm)) >= 0 &&
		    strcmp(comm, name) == 0)
			tid = atoi(d->d_name);
	}
	closedir(tasks);
	return tid;
}

int affinity_read(pid_t tid, struct cpulist *out)
{
	*out = (struct cpulist){ 0 };
	return syscall(SYS_sched_getaffinity, tid, sizeof(*out), out) < 0 ? -errno : HT_OK;
}

int affinity_set(pid_t tid, const struct cpulist *want, struct cpulist *got)
{
	int err = HT_OK, again;

	if (syscall(SYS_sched_setaffinity, tid, sizeof(*want), want) < 0)
		err = -errno;
	again = affinity_read(tid, got);
	if (err < 0)
		return err;
	if (again < 0)
		return again;
	return cpulist_is_equal(want, got) ? HT_OK : HT_EFULL;
}
