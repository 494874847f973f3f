/*
 * Preloaded into heptap by test_diskfaults.py: what the kernel says about segments, and which time
 * it is, as a file that the test maps too has it. Everything else goes to the kernel as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct faults {
	int32_t write_errno; /* of everything that changes the spool's directory; 0: none */
	int32_t read_errno;  /* of reading some octets of some segments */
	uint64_t read_from, read_to;
	int64_t clock_us;   /* added to the wall clock */
	char read_name[64]; /* segments whose names have this in them */
};

static volatile struct faults *faults;

__attribute__((constructor)) static void faults_map(void)
{
	const char *path = getenv("HEPTAP_TEST_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*faults), PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		abort();
	faults = at;
	close(fd);
}

static int is_in_spool(int fd, const char *what)
{
	char link[64], path[4096];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	return strstr(path, "/spool") && strstr(path, what);
}

static int write_fails(int fd)
{
	if (!faults->write_errno || !is_in_spool(fd, ""))
		return 0;
	errno = faults->write_errno;
	return 1;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return write_fails(fd) ? -1 : syscall(SYS_pwrite64, fd, buf, len, offset);
}

int ftruncate(int fd, off_t len)
{
	return write_fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return write_fails(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fdatasync(int fd)
{
	return write_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int unlinkat(int fd, const char *name, int flags)
{
	return write_fails(fd) ? -1 : (int)syscall(SYS_unlinkat, fd, name, flags);
}

int renameat(int from, const char *name, int to, const char *other)
{
	return write_fails(to) ? -1 : (int)syscall(SYS_renameat2, from, name, to, other, 0);
}

int openat(int fd, const char *name, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if ((flags & O_CREAT) && write_fails(fd))
		return -1;
	return (int)syscall(SYS_openat, fd, name, flags, mode);
}

/* As a disk does: what lies in front of the bad place is read. */
ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	uint64_t from = faults->read_from, to = faults->read_to, at = (uint64_t)offset;
	char name[sizeof(faults->read_name)];

	memcpy(name, (const void *)faults->read_name, sizeof(name));
	if (!faults->read_errno || at >= to || at + len <= from || !is_in_spool(fd, name))
		return syscall(SYS_pread64, fd, buf, len, offset);
	if (at < from)
		return syscall(SYS_pread64, fd, buf, from - at, offset);
	errno = faults->read_errno;
	return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int err = (int)syscall(SYS_clock_gettime, clock, now);
	int64_t us;

	if (err == 0 && clock == CLOCK_REALTIME && faults->clock_us) {
		us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000 + faults->clock_us;
		now->tv_sec = us / 1000000;
		now->tv_nsec = us % 1000000 * 1000;
	}
	return err;
}
