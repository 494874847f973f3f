/* A recorded tree is opened with RESOLVE_IN_ROOT: the kernel keeps its links inside. */
#include "tune/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 512
#define ALL_MOST   (16u << 20)

/* @return a descriptor or -errno */
static int open_below(const char *root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
				.resolve = RESOLVE_IN_ROOT };
	int dir, fd;

	if (root[0] == '\0') {
		fd = open(path, flags | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

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

char *file_read_all(const char *root, const char *path)
{
	size_t size = 65536;
	char *text = NULL, *more;
	int fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
	size_t used = 0;
	long n = fd < 0 ? -1 : 1;

	while (n > 0) {
		size *= 2;
		more = size <= ALL_MOST ? realloc(text, size) : NULL;
		if (!more) {
			n = -1;
			break;
		}
		text = more;
		n = read_whole(fd, text + used, size - used - 1);
		used += n > 0 ? (size_t)n : 0;
		if (n < (long)(size / 2) && used < size - 1)
			break;
	}
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[used] = '\0';
	return text;
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

int file_list(const char *root, const char *path, void (*each)(void *ctx, const char *name),
	      void *ctx)
{
	int fd = open_below(root, path, O_RDONLY | O_DIRECTORY), n = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -1;
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
