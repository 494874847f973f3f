/* A recorded tree is opened with RESOLVE_IN_ROOT: the kernel keeps its links inside. */
#include "tune/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 512
#define ALL_MOST   (64u << 20) /* /proc/interrupts of 1,024 CPUs has 11 KiB in each line */

/* ---- opening ---- */

/* @return a descriptor or -errno. ".." is refused for the moment while something is renamed. */
static int open_inside(const char *root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
				.resolve = RESOLVE_IN_ROOT };
	int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (top < 0)
		return -errno;
	do
		fd = (int)syscall(SYS_openat2, top, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN);
	if (fd < 0)
		fd = -errno;
	close(top);
	return fd;
}

/* ---- what failed on the machine that was recorded ---- */

static int errno_of(const char *name)
{
	for (int e = 1; e < 134; e++) {
		const char *known = strerrorname_np(e);

		if (known && strcmp(known, name) == 0)
			return e;
	}
	return EIO;
}

/* How well a line of .faults fits: 0 not, an exact path better than any prefix. */
static size_t fits(const char *pattern, const char *path)
{
	size_t n = strlen(pattern);

	if (n && pattern[n - 1] == '*')
		return strncmp(pattern, path, n - 1) == 0 ? n : 0;
	return strcmp(pattern, path) == 0 ? SIZE_MAX : 0;
}

/* @param path  From the root, without a slash before it. @return 0 or -errno. */
static int fault_of(FILE *faults, const char *path, bool is_write)
{
	char line[512], pattern[256], op[16], name[32];
	size_t best = 0, fit;
	int err = 0;

	rewind(faults);
	while (fgets(line, sizeof(line), faults)) {
		if (sscanf(line, "%255s %15s %31s", pattern, op, name) != 3 ||
		    strcmp(op, is_write ? "write" : "read") != 0)
			continue;
		fit = fits(pattern, path);
		if (fit > best) {
			best = fit;
			err = -errno_of(name);
		}
	}
	return err;
}

/* The path behind the links of directories. @return false: opening it will say what is wrong. */
static bool real_path(const char *root, const char *path, char *out, size_t size)
{
	char dir[PATH_BYTES], link[64], real[PATH_MAX], top[PATH_MAX];
	const char *name = strrchr(path, '/');
	ssize_t len;
	size_t n;
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path + 1), path);
	fd = open_inside(root, dir, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, real, sizeof(real) - 1);
	close(fd);
	if (len < 0 || !realpath(root, top))
		return false;
	real[len] = '\0';
	n = strlen(top);
	if (strncmp(real, top, n) != 0 || (real[n] && real[n] != '/'))
		return false;
	n = (size_t)snprintf(out, size, "%s%s", real + n, name);
	return n < size;
}

/* Faults are listed by the path that is asked for or by the one behind the links. */
static int fault_find(const char *root, const char *path, bool is_write)
{
	char file[PATH_BYTES], real[PATH_MAX];
	FILE *faults;
	int err;

	snprintf(file, sizeof(file), "%s/.faults", root);
	faults = fopen(file, "re");
	if (!faults)
		return 0;
	err = fault_of(faults, path + 1, is_write);
	if (err == 0 && real_path(root, path, real, sizeof(real)))
		err = fault_of(faults, real + 1, is_write);
	fclose(faults);
	return err;
}

/* @return a descriptor or -errno */
static int open_below(const char *root, const char *path, int flags)
{
	int fd, err = 0;

	if (root[0] == '\0') {
		fd = open(path, flags | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	if (!(flags & O_PATH))
		err = fault_find(root, path, (flags & O_ACCMODE) != O_RDONLY);
	return err < 0 ? err : open_inside(root, path, flags);
}

/* ---- reading ---- */

static long read_whole(int fd, char *out, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, out + used, size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (long)used;
}

#define PATH_FROM(format)                                  \
	char path[PATH_BYTES];                             \
	va_list args;                                      \
	int len;                                           \
                                                           \
	va_start(args, format);                            \
	len = vsnprintf(path, sizeof(path), format, args); \
	va_end(args)

long file_read(const char *root, char *out, size_t size, const char *format, ...)
{
	long n;
	int fd;
	PATH_FROM(format);

	out[0] = '\0';
	if (len < 0 || (size_t)len >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	n = read_whole(fd, out, size - 1);
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n;
}

int file_value(const char *root, const char *path, char *out, size_t size)
{
	int fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
	long n;

	if (fd < 0)
		return fd;
	n = read_whole(fd, out, size);
	close(fd);
	if (n == (long)size)
		n = HT_EFULL;
	if (n < 0)
		return (int)n;
	while (n && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
	return (int)n;
}

/* Grows until there is room left behind the end. */
static long read_grown(int fd, char **text)
{
	size_t used = 0;

	for (size_t size = 65536; size <= ALL_MOST; size *= 2) {
		char *more = realloc(*text, size);
		long n;

		if (!more)
			return -ENOMEM;
		*text = more;
		n = read_whole(fd, more + used, size - used);
		if (n < 0)
			return n;
		used += (size_t)n;
		if (used < size) {
			more[used] = '\0';
			return (long)used;
		}
	}
	return -EFBIG;
}

char *file_read_all(const char *root, const char *path)
{
	int fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
	char *text = NULL;
	long n = fd < 0 ? fd : read_grown(fd, &text);

	if (fd >= 0)
		close(fd);
	if (n >= 0)
		return text;
	free(text);
	errno = (int)-n;
	return NULL;
}

int64_t file_number(const char *root, const char *format, ...)
{
	char text[64], *end;
	long long n;
	PATH_FROM(format);

	if (len < 0 || (size_t)len >= sizeof(path) ||
	    file_read(root, text, sizeof(text), "%s", path) <= 0)
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	return end == text ? -1 : errno == ERANGE ? INT64_MAX : n;
}

bool file_exists(const char *root, const char *format, ...)
{
	int fd;
	PATH_FROM(format);

	if (len < 0 || (size_t)len >= sizeof(path))
		return false;
	fd = open_below(root, path, O_PATH);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int64_t file_size(const char *root, const char *path)
{
	int fd = open_below(root, path, O_PATH);
	struct stat st;
	int64_t size;

	if (fd < 0)
		return -1;
	size = fstat(fd, &st) == 0 ? (int64_t)st.st_size : -1;
	close(fd);
	return size;
}

int file_list(const char *root, const char *path, void (*each)(void *ctx, const char *name),
	      void *ctx)
{
	int fd = open_below(root, path, O_RDONLY | O_DIRECTORY), n = 0;
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		n = -errno;
		close(fd);
		return n;
	}
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		each(ctx, e->d_name);
		n++;
	}
	closedir(dir);
	return n;
}

bool file_link(const char *root, char *out, size_t size, const char *format, ...)
{
	ssize_t n;
	int fd;
	PATH_FROM(format);

	if (len < 0 || (size_t)len >= sizeof(path))
		return false;
	fd = open_below(root, path, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return false;
	n = readlinkat(fd, "", out, size - 1);
	close(fd);
	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

/* ---- writing ---- */

/*
 * A file of a recorded tree is as long as what was last written: a shorter value is padded with
 * line feeds in the one write, so that whoever looks in between sees the old value or the new one.
 */
static int write_value(int fd, const char *value, size_t len, bool is_recorded)
{
	char text[FILE_VALUE + 1];
	struct stat st;
	size_t padded = len + 1;

	if (is_recorded && fstat(fd, &st) == 0 && (size_t)st.st_size > padded)
		padded = (size_t)st.st_size < sizeof(text) ? (size_t)st.st_size : sizeof(text);
	memcpy(text, value, len);
	memset(text + len, '\n', padded - len);
	if (write(fd, text, padded) != (ssize_t)padded)
		return errno ? -errno : -EIO;
	if (is_recorded && ftruncate(fd, (off_t)len + 1) < 0)
		return -errno;
	return HT_OK;
}

int file_may_write(const char *root, const char *path)
{
	if (root[0])
		return fault_find(root, path, true);
	return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0 ? -errno : HT_OK;
}

int file_write(const char *root, const char *path, const char *value)
{
	size_t len = strlen(value);
	int fd, err;

	if (len >= FILE_VALUE)
		return -E2BIG;
	fd = open_below(root, path, O_WRONLY | O_NOCTTY);
	if (fd < 0)
		return fd;
	errno = 0;
	err = write_value(fd, value, len, root[0] != '\0');
	if (close(fd) < 0 && err == HT_OK)
		err = -errno;
	return err;
}
