/* openat2(2) keeps links inside of a recorded tree. */
#include "tune/rooted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MOST (4U << 20)

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

/* @return 0 or -errno. @p path: relative to the root. */
static int fault_of(const char *root, const char *path, bool is_write)
{
	char file[512], line[512], pattern[256], op[16], name[32];
	size_t best = 0, fit;
	int err = 0;
	FILE *f;

	snprintf(file, sizeof(file), "%s/.faults", root);
	f = fopen(file, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%255s %15s %31s", pattern, op, name) != 3 ||
		    strcmp(op, is_write ? "write" : "read") != 0)
			continue;
		fit = fits(pattern, path);
		if (fit > best) {
			best = fit;
			err = -errno_of(name);
		}
	}
	fclose(f);
	return err;
}

/* ---- files ---- */

static int open_inside(const char *root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags, .resolve = RESOLVE_IN_ROOT };
	int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (top < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, top, path, &how, sizeof(how));
	if (fd < 0)
		fd = -errno;
	close(top);
	return fd;
}

/* Faults are listed by the path behind the links of directories, too. */
static int fault_behind_links(const char *root, const char *path, bool is_write)
{
	char link[64], real[1024], top[PATH_MAX];
	const char *name = strrchr(path, '/');
	size_t n;
	ssize_t got;
	int fd;

	snprintf(real, sizeof(real), "%.*s", (int)(name - path + 1), path);
	fd = open_inside(root, real, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return HT_OK; /* opening the file will say what is wrong */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	got = readlink(link, real, sizeof(real) - 256);
	close(fd);
	if (got < 0 || !realpath(root, top) || strlen(name) >= 256)
		return HT_OK;
	strcpy(real + got, name);
	n = strlen(top);
	return strncmp(real, top, n) == 0 && real[n] == '/' ? fault_of(root, real + n + 1, is_write)
							    : HT_OK;
}

static int open_at(const char *root, const char *path, int flags)
{
	bool is_write = (flags & O_ACCMODE) != O_RDONLY;
	int fd, err;

	flags |= O_CLOEXEC | O_NOCTTY;
	if (!root[0]) {
		fd = open(path, flags);
		return fd < 0 ? -errno : fd;
	}
	err = fault_of(root, path + 1, is_write);
	if (err == HT_OK)
		err = fault_behind_links(root, path, is_write);
	return err < 0 ? err : open_inside(root, path, flags);
}

int rooted_read(const char *root, const char *path, char *out, size_t size)
{
	int fd = open_at(root, path, O_RDONLY);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	while ((n = read(fd, out + len, size - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		n = -errno;
	else if (len == size)
		n = HT_EFULL;
	close(fd);
	if (n < 0)
		return (int)n;
	while (len && out[len - 1] == '\n')
		len--;
	out[len] = '\0';
	return (int)len;
}

int rooted_read_all(const char *root, const char *path, char **out)
{
	int err = HT_EFULL;

	for (size_t size = ROOTED_VALUE; size <= FILE_MOST && err == HT_EFULL; size *= 4) {
		char *text = malloc(size);

		if (!text)
			return -ENOMEM;
		err = rooted_read(root, path, text, size);
		if (err >= 0) {
			*out = text;
			return err;
		}
		free(text);
	}
	return err;
}

/*
 * A file of a recorded tree is as long as what was last written: a shorter value is padded with
 * line feeds in the one write, so that whoever looks in between sees the old value or the new one.
 */
static int write_value(int fd, const char *value, size_t len, bool is_recorded)
{
	char text[ROOTED_VALUE + 1];
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

int rooted_write(const char *root, const char *path, const char *value)
{
	size_t len = strlen(value);
	int fd, err;

	if (len >= ROOTED_VALUE)
		return -E2BIG;
	fd = open_at(root, path, O_WRONLY);
	if (fd < 0)
		return fd;
	errno = 0;
	err = write_value(fd, value, len, root[0] != '\0');
	if (close(fd) < 0 && err == HT_OK)
		err = -errno;
	return err;
}

DIR *rooted_list(const char *root, const char *path)
{
	int fd = open_at(root, path, O_RDONLY | O_DIRECTORY);
	DIR *dir;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	dir = fdopendir(fd);
	if (!dir)
		close(fd);
	return dir;
}
