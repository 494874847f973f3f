/* A disk in memory behind the system calls of the spool. */
#include "tests/unit/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/random.h"

#define FD_FIRST  (1 << 20) /* above any descriptor of the system */
#define FD_COUNT  1024
#define SECTOR	  512
#define PAGE	  4096
#define MAX_FILES 1024
#define MAX_NAMES 1024

#define CALLS(X)                                                 \
	X(OPEN, true, ENOSPC, EIO, EROFS, EMFILE, EACCES)        \
	X(WRITE, true, ENOSPC, EIO, EROFS, EDQUOT, EINTR)        \
	X(READ, false, EIO, EINTR, EIO, EIO, EIO)                \
	X(TRUNCATE, true, EIO, EROFS, EIO, EIO, EIO)             \
	X(ALLOCATE, true, ENOSPC, EOPNOTSUPP, EIO, EINTR, EROFS) \
	X(SYNC, true, EIO, ENOSPC, EIO, EDQUOT, EIO)             \
	X(UNLINK, true, EROFS, EIO, EACCES, EBUSY, EIO)          \
	X(LINK, true, EROFS, EIO, ENOSPC, EPERM, EMLINK)         \
	X(RENAME, true, EROFS, EIO, ENOSPC, EACCES, EIO)         \
	X(MKDIR, true, EROFS, EIO, ENOSPC, EACCES, EIO)          \
	X(LOOK, false, EIO, EIO, EIO, ENOMEM, EIO)

enum call {
#define X(name, ...) CALL_##name,
	CALLS(X)
#undef X
};

static const struct {
	bool is_write;
	int errors[5];
} calls[] = {
#define X(name, is_write, ...) { is_write, { __VA_ARGS__ } },
	CALLS(X)
#undef X
};

/* What a file has now, and what of it lasts. */
struct content {
	uint8_t *bytes;
	size_t size, room;
};

struct file {
	bool is_used;
	struct content now, lasting;
	size_t dirty_from, dirty_to; /* what the next sync has to copy */
};

/* A change of the directory that was not synced: the name is made, or goes (file < 0). A rename is
 * two that happen both or not at all. */
struct change {
	char name[64];
	int file;
	bool is_with_next;
};

struct name {
	char name[64];
	int file;
};

struct names {
	struct name list[MAX_NAMES];
	size_t count;
};

enum descriptor_kind { FD_CLOSED, FD_FILE, FD_DIR, FD_ROOT };

struct descriptor {
	enum descriptor_kind kind;
	int file;
};

static struct disk {
	struct random random;
	bool has_dir, has_lasting_dir;
	struct file files[MAX_FILES];
	struct names now, lasting;
	struct change changes[MAX_NAMES];
	size_t change_count;
	struct descriptor fds[FD_COUNT];
	struct listing {
		int fd;
		size_t at;
		struct dirent entry;
	} listing; /* one at a time */

	uint64_t calls, written, end_at, fail_at, failures, failed_syncs, room;
	bool ends_in_midst, is_ended;
	unsigned fail_one_in;
	bool fail_writes_only;
	enum disk_lie lie;
	unsigned lie_one_in;
	uint64_t lies;
	uint64_t mono_us;
} * disk;

static void die(const char *what)
{
	fprintf(stderr, "disk: %s\n", what);
	abort();
}

/* ---- octets ---- */

static void content_resize(struct content *c, size_t size)
{
	if (size > c->room) {
		c->room = size < 4096 ? 4096 : 2 * size;
		c->bytes = realloc(c->bytes, c->room);
		if (!c->bytes)
			die("out of memory");
	}
	if (size > c->size)
		memset(c->bytes + c->size, 0, size - c->size);
	c->size = size;
}

static void file_touch(struct file *f, size_t from, size_t to)
{
	if (from < f->dirty_from)
		f->dirty_from = from;
	if (to > f->dirty_to)
		f->dirty_to = to;
}

static void file_clean(struct file *f)
{
	f->dirty_from = SIZE_MAX;
	f->dirty_to = 0;
}

static void file_sync(struct file *f)
{
	size_t to = f->dirty_to < f->now.size ? f->dirty_to : f->now.size;

	content_resize(&f->lasting, f->now.size);
	if (f->dirty_from < to)
		memcpy(f->lasting.bytes + f->dirty_from, f->now.bytes + f->dirty_from,
		       to - f->dirty_from);
	file_clean(f);
}

static void file_release(struct file *f)
{
	free(f->now.bytes);
	free(f->lasting.bytes);
	*f = (struct file){ 0 };
}

static bool names_have(const struct names *n, int file)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->list[i].file == file)
			return true;
	return false;
}

static bool file_is_needed(int file)
{
	for (size_t i = 0; i < FD_COUNT; i++)
		if (disk->fds[i].kind == FD_FILE && disk->fds[i].file == file)
			return true;
	for (size_t i = 0; i < disk->change_count; i++)
		if (disk->changes[i].file == file)
			return true;
	return names_have(&disk->now, file) || names_have(&disk->lasting, file);
}

static void files_collect(void)
{
	for (int i = 0; i < MAX_FILES; i++)
		if (disk->files[i].is_used && !file_is_needed(i))
			file_release(&disk->files[i]);
}

static int file_make(void)
{
	for (int again = 0; again < 2; again++) {
		for (int i = 0; i < MAX_FILES; i++)
			if (!disk->files[i].is_used) {
				disk->files[i].is_used = true;
				file_clean(&disk->files[i]);
				return i;
			}
		files_collect();
	}
	die("too many files");
	return -1;
}

/* ---- names ---- */

static struct name *name_find(struct names *n, const char *name)
{
	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->list[i].name, name) == 0)
			return &n->list[i];
	return NULL;
}

/* The name is @p file's from now on; nobody's if that is negative. */
static void names_set(struct names *n, const char *name, int file)
{
	struct name *found = name_find(n, name);

	if (found && file < 0) {
		*found = n->list[--n->count];
	} else if (found) {
		found->file = file;
	} else if (file >= 0) {
		if (n->count == MAX_NAMES)
			die("too many names");
		snprintf(n->list[n->count].name, sizeof(n->list[0].name), "%s", name);
		n->list[n->count++].file = file;
	}
}

static void name_change(const char *name, int file, bool is_with_next)
{
	struct change *c = &disk->changes[disk->change_count];

	if (++disk->change_count > MAX_NAMES)
		die("too many changes");
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->file = file;
	c->is_with_next = is_with_next;
	names_set(&disk->now, name, file);
	disk->written++;
}

static void names_sync(void)
{
	disk->lasting.count = disk->now.count;
	memcpy(disk->lasting.list, disk->now.list, disk->now.count * sizeof(disk->now.list[0]));
	disk->change_count = 0;
}

/* ---- descriptors ---- */

static int fd_make(enum descriptor_kind kind, int file)
{
	for (int i = 0; i < FD_COUNT; i++)
		if (disk->fds[i].kind == FD_CLOSED) {
			disk->fds[i] = (struct descriptor){ kind, file };
			return FD_FIRST + i;
		}
	die("too many descriptors");
	return -1;
}

static bool fd_is_ours(int fd)
{
	return disk && fd >= FD_FIRST && fd < FD_FIRST + FD_COUNT;
}

static struct descriptor *fd_get(int fd)
{
	struct descriptor *d = &disk->fds[fd - FD_FIRST];

	if (d->kind == FD_CLOSED)
		die("a closed descriptor is used");
	return d;
}

static struct file *fd_file(int fd)
{
	struct descriptor *d = fd_get(fd);

	if (d->kind != FD_FILE)
		die("a directory is read or written");
	return &disk->files[d->file];
}

/* ---- whether a call does what it is asked for ---- */

static bool is_to_fail(enum call call)
{
	if (disk->fail_at && disk->calls == disk->fail_at)
		return true;
	if (!disk->fail_one_in || (disk->fail_writes_only && !calls[call].is_write))
		return false;
	return random_below(&disk->random, disk->fail_one_in) == 0;
}

/* @return false: the call fails, errno says how. */
static bool call_goes_on(enum call call)
{
	disk->calls++;
	if (disk->end_at && disk->calls == disk->end_at)
		disk->is_ended = true;
	if (disk->is_ended) {
		errno = EIO;
		return false;
	}
	if (!is_to_fail(call))
		return true;
	disk->failures++;
	disk->failed_syncs += call == CALL_SYNC;
	errno = calls[call].errors[random_below(&disk->random, 5)];
	return false;
}

static bool is_to_lie(enum disk_lie lie)
{
	if (disk->lie != lie || random_below(&disk->random, disk->lie_one_in))
		return false;
	disk->lies++;
	return true;
}

/* ---- the calls ---- */

#define WRAPPED(type, name, ...)         \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

typedef int filter_of(const struct dirent *);
typedef int order_of(const struct dirent **, const struct dirent **);

WRAPPED(int, open, const char *path, int flags, ...);
WRAPPED(int, openat, int dir, const char *name, int flags, ...);
WRAPPED(int, __openat_2, int dir, const char *name, int flags); /* _FORTIFY_SOURCE calls it so */
WRAPPED(int, close, int fd);
WRAPPED(ssize_t, pwrite, int fd, const void *buf, size_t len, off_t at);
WRAPPED(ssize_t, pread, int fd, void *buf, size_t len, off_t at);
WRAPPED(ssize_t, __pread_chk, int fd, void *buf, size_t len, off_t at, size_t room);
WRAPPED(int, ftruncate, int fd, off_t size);
WRAPPED(int, fallocate, int fd, int mode, off_t at, off_t len);
WRAPPED(int, fstat, int fd, struct stat *out);
WRAPPED(int, fdatasync, int fd);
WRAPPED(int, fsync, int fd);
WRAPPED(int, unlinkat, int dir, const char *name, int flags);
WRAPPED(int, linkat, int from, const char *old, int to, const char *name, int flags);
WRAPPED(int, renameat, int from, const char *old, int to, const char *name);
WRAPPED(int, mkdir, const char *path, mode_t mode);
WRAPPED(int, chown, const char *path, uid_t uid, gid_t gid);
WRAPPED(int, fchown, int fd, uid_t uid, gid_t gid);
WRAPPED(int, flock, int fd, int how);
WRAPPED(int, memfd_create, const char *name, unsigned flags);
WRAPPED(int, scandirat, int dir, const char *name, struct dirent ***out, filter_of *filter,
	order_of *order);
WRAPPED(DIR *, fdopendir, int fd);
WRAPPED(struct dirent *, readdir, DIR *d);
WRAPPED(int, closedir, DIR *d);
WRAPPED(int, faccessat, int dir, const char *name, int mode, int flags);
WRAPPED(ssize_t, getrandom, void *buf, size_t len, unsigned flags);
WRAPPED(int, clock_gettime, clockid_t clock, struct timespec *out);

int __wrap_open(const char *path, int flags, ...)
{
	bool is_root = strcmp(path, DISK_ROOT) == 0;
	va_list args;
	unsigned mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
	va_end(args);
	if (!disk || (!is_root && strcmp(path, DISK_DIR) != 0))
		return __real_open(path, flags, mode);
	if (!call_goes_on(CALL_OPEN))
		return -1;
	if (!is_root && !disk->has_dir) {
		errno = ENOENT;
		return -1;
	}
	return fd_make(is_root ? FD_ROOT : FD_DIR, -1);
}

static int fd_make_file(int file, int flags)
{
	struct file *f = &disk->files[file];

	if (flags & O_TRUNC) {
		file_touch(f, 0, f->now.size);
		content_resize(&f->now, 0);
	}
	return fd_make(FD_FILE, file);
}

int __wrap_openat(int dir, const char *name, int flags, ...)
{
	struct name *found;
	va_list args;
	unsigned mode;
	int file;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
	va_end(args);
	if (!fd_is_ours(dir))
		return __real_openat(dir, name, flags, mode);
	if (!call_goes_on(CALL_OPEN))
		return -1;
	if (strcmp(name, ".") == 0)
		return fd_make(FD_DIR, -1);
	if (strcmp(name, "..") == 0)
		return fd_make(FD_ROOT, -1);
	found = name_find(&disk->now, name);
	if (found ? (flags & O_EXCL) != 0 : !(flags & O_CREAT)) {
		errno = found ? EEXIST : ENOENT;
		return -1;
	}
	if (found)
		return fd_make_file(found->file, flags);
	file = file_make();
	name_change(name, file, false);
	return fd_make(FD_FILE, file);
}

int __wrap___openat_2(int dir, const char *name, int flags)
{
	return __wrap_openat(dir, name, flags);
}

int __wrap_close(int fd)
{
	if (!fd_is_ours(fd))
		return __real_close(fd);
	fd_get(fd)->kind = FD_CLOSED;
	return 0;
}

static uint64_t bytes_used(void)
{
	uint64_t used = 0;

	for (int i = 0; i < MAX_FILES; i++)
		used += disk->files[i].now.size;
	return used;
}

static void file_write(struct file *f, const uint8_t *buf, size_t len, size_t at)
{
	uint8_t kept[SECTOR];
	size_t sector = at + random_below(&disk->random, len);
	size_t there = at + len - sector < SECTOR ? at + len - sector : SECTOR;
	bool is_forgotten = is_to_lie(DISK_FORGETS_WRITE);

	disk->written++;
	if (at + len > f->now.size)
		content_resize(&f->now, at + len);
	memcpy(kept, f->now.bytes + sector, there);
	memcpy(f->now.bytes + at, buf, len);
	if (is_forgotten)
		memcpy(f->now.bytes + sector, kept, there);
	file_touch(f, at, at + len);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	struct file *f;
	bool was_ended;
	uint64_t used;

	if (!fd_is_ours(fd))
		return __real_pwrite(fd, buf, len, at);
	f = fd_file(fd);
	was_ended = disk->is_ended;
	if (!call_goes_on(CALL_WRITE)) {
		if (was_ended || (disk->is_ended && !disk->ends_in_midst) || len < 2)
			return -1;
		/* A part was written; a caller that lives on hears of that first. */
		len = 1 + random_below(&disk->random, len - 1);
		if (!disk->is_ended && random_below(&disk->random, 2))
			return -1;
		file_write(f, buf, len, (size_t)at);
		return disk->is_ended ? -1 : (ssize_t)len;
	}
	if (disk->room != UINT64_MAX) {
		used = bytes_used();
		if (used + len > disk->room) {
			len = used < disk->room ? disk->room - used : 0;
			disk->failures++;
		}
		if (len == 0) {
			errno = ENOSPC;
			return -1;
		}
	}
	file_write(f, buf, len, (size_t)at);
	return (ssize_t)len;
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at)
{
	struct file *f;

	if (!fd_is_ours(fd))
		return __real_pread(fd, buf, len, at);
	f = fd_file(fd);
	if (!call_goes_on(CALL_READ)) {
		if (disk->is_ended || len < 2 || random_below(&disk->random, 2))
			return -1;
		len = 1 + random_below(&disk->random, len - 1); /* less than was asked for */
	}
	if ((size_t)at >= f->now.size)
		return 0;
	if (len > f->now.size - (size_t)at)
		len = f->now.size - (size_t)at;
	memcpy(buf, f->now.bytes + at, len);
	if (len && is_to_lie(DISK_READS_OTHER_OCTET))
		((uint8_t *)buf)[random_below(&disk->random, len)] ^= 0x10;
	return (ssize_t)len;
}

ssize_t __wrap___pread_chk(int fd, void *buf, size_t len, off_t at, size_t room)
{
	if (len > room)
		die("a read larger than its buffer");
	return __wrap_pread(fd, buf, len, at);
}

int __wrap_ftruncate(int fd, off_t size)
{
	struct file *f;

	if (!fd_is_ours(fd))
		return __real_ftruncate(fd, size);
	f = fd_file(fd);
	if (!call_goes_on(CALL_TRUNCATE))
		return -1;
	disk->written += (size_t)size != f->now.size;
	file_touch(f, (size_t)size < f->now.size ? (size_t)size : f->now.size, f->now.size);
	content_resize(&f->now, (size_t)size);
	return 0;
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
	if (!fd_is_ours(fd))
		return __real_fallocate(fd, mode, at, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		die("this fallocate() would change a size");
	fd_file(fd);
	if (!call_goes_on(CALL_ALLOCATE))
		return -1;
	if (disk->room == UINT64_MAX || bytes_used() + (uint64_t)(at + len) <= disk->room)
		return 0;
	disk->failures++;
	errno = ENOSPC;
	return -1;
}

int __wrap_fstat(int fd, struct stat *out)
{
	if (!fd_is_ours(fd))
		return __real_fstat(fd, out);
	if (!call_goes_on(CALL_LOOK))
		return -1;
	*out = (struct stat){ .st_mode = S_IFREG | 0640, .st_nlink = 1 };
	out->st_size = (off_t)fd_file(fd)->now.size;
	out->st_blocks = (out->st_size + 511) / 512;
	return 0;
}

static int sync_fd(int fd)
{
	struct descriptor *d = fd_get(fd);

	if (!call_goes_on(CALL_SYNC))
		return -1;
	if (d->kind == FD_FILE && !is_to_lie(DISK_FORGETS_SYNC))
		file_sync(&disk->files[d->file]);
	if (d->kind == FD_DIR && !is_to_lie(DISK_FORGETS_NAMES))
		names_sync();
	if (d->kind == FD_ROOT && !is_to_lie(DISK_FORGETS_NAMES))
		disk->has_lasting_dir = disk->has_dir;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	return fd_is_ours(fd) ? sync_fd(fd) : __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
	return fd_is_ours(fd) ? sync_fd(fd) : __real_fsync(fd);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	if (!fd_is_ours(dir))
		return __real_unlinkat(dir, name, flags);
	if (!call_goes_on(CALL_UNLINK))
		return -1;
	if (!name_find(&disk->now, name)) {
		errno = ENOENT;
		return -1;
	}
	name_change(name, -1, false);
	return 0;
}

int __wrap_linkat(int from, const char *old, int to, const char *name, int flags)
{
	struct name *found;

	if (!fd_is_ours(from))
		return __real_linkat(from, old, to, name, flags);
	if (!call_goes_on(CALL_LINK))
		return -1;
	found = name_find(&disk->now, old);
	if (!found || name_find(&disk->now, name)) {
		errno = found ? EEXIST : ENOENT;
		return -1;
	}
	name_change(name, found->file, false);
	return 0;
}

int __wrap_renameat(int from, const char *old, int to, const char *name)
{
	struct name *found;

	if (!fd_is_ours(from))
		return __real_renameat(from, old, to, name);
	if (!call_goes_on(CALL_RENAME))
		return -1;
	found = name_find(&disk->now, old);
	if (!found) {
		errno = ENOENT;
		return -1;
	}
	name_change(name, found->file, true);
	name_change(old, -1, false);
	return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	if (!disk || strcmp(path, DISK_DIR) != 0)
		return __real_mkdir(path, mode);
	if (!call_goes_on(CALL_MKDIR))
		return -1;
	if (disk->has_dir) {
		errno = EEXIST;
		return -1;
	}
	disk->has_dir = true;
	return 0;
}

int __wrap_chown(const char *path, uid_t uid, gid_t gid)
{
	return disk && strcmp(path, DISK_DIR) == 0 ? 0 : __real_chown(path, uid, gid);
}

int __wrap_fchown(int fd, uid_t uid, gid_t gid)
{
	return fd_is_ours(fd) ? 0 : __real_fchown(fd, uid, gid);
}

int __wrap_flock(int fd, int how)
{
	return fd_is_ours(fd) ? 0 : __real_flock(fd, how);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	if (!disk)
		return __real_memfd_create(name, flags);
	return call_goes_on(CALL_OPEN) ? fd_make(FD_FILE, file_make()) : -1;
}

static struct dirent *entry_of(const char *name)
{
	struct dirent *e = calloc(1, sizeof(*e));

	if (!e)
		die("out of memory");
	snprintf(e->d_name, sizeof(e->d_name), "%s", name);
	return e;
}

int __wrap_scandirat(int dir, const char *name, struct dirent ***out, filter_of *filter,
		     order_of *order)
{
	struct dirent **list;
	size_t count = 0;

	if (!fd_is_ours(dir))
		return __real_scandirat(dir, name, out, filter, order);
	if (!call_goes_on(CALL_LOOK))
		return -1;
	list = calloc(disk->now.count + 1, sizeof(*list));
	if (!list)
		die("out of memory");
	for (size_t i = 0; i < disk->now.count; i++) {
		list[count] = entry_of(disk->now.list[i].name);
		if (filter && !filter(list[count]))
			free(list[count]);
		else
			count++;
	}
	qsort(list, count, sizeof(*list), (int (*)(const void *, const void *))order);
	*out = list;
	return (int)count;
}

static bool is_listing(const DIR *d)
{
	return disk && (const void *)d == &disk->listing;
}

DIR *__wrap_fdopendir(int fd)
{
	if (!fd_is_ours(fd))
		return __real_fdopendir(fd);
	disk->listing = (struct listing){ .fd = fd };
	return (DIR *)(void *)&disk->listing;
}

struct dirent *__wrap_readdir(DIR *d)
{
	struct listing *l = &disk->listing;

	if (!is_listing(d))
		return __real_readdir(d);
	if (l->at == disk->now.count)
		return NULL;
	snprintf(l->entry.d_name, sizeof(l->entry.d_name), "%s", disk->now.list[l->at++].name);
	return &l->entry;
}

int __wrap_closedir(DIR *d)
{
	return is_listing(d) ? __wrap_close(disk->listing.fd) : __real_closedir(d);
}

int __wrap_faccessat(int dir, const char *name, int mode, int flags)
{
	if (!fd_is_ours(dir))
		return __real_faccessat(dir, name, mode, flags);
	if (!call_goes_on(CALL_LOOK))
		return -1;
	errno = ENOENT;
	return name_find(&disk->now, name) ? 0 : -1;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
	if (!disk)
		return __real_getrandom(buf, len, flags);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)random_next(&disk->random);
	return (ssize_t)len;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	if (!disk || clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, out);
	out->tv_sec = (time_t)(disk->mono_us / 1000000);
	out->tv_nsec = (long)(disk->mono_us % 1000000) * 1000;
	return 0;
}

/* ---- what a power failure leaves ---- */

static bool toss(void)
{
	return random_below(&disk->random, 2) != 0;
}

static size_t size_between(size_t a, size_t b)
{
	size_t low = a < b ? a : b, high = a < b ? b : a;

	switch (random_below(&disk->random, 4)) {
	case 0:
		return a;
	case 1:
		return low + random_below(&disk->random, high - low + 1);
	default:
		return b;
	}
}

static void sector_copy(uint8_t *to, const struct content *from, size_t at)
{
	size_t have = from->size > at ? from->size - at : 0;

	if (have)
		memcpy(to + at, from->bytes + at, have < SECTOR ? have : SECTOR);
}

/* Page by page the new one, the old one, or a mixture of their sectors; zeros where a file was
 * never synced that far. */
static void file_settle(struct file *f)
{
	size_t size = size_between(f->lasting.size, f->now.size);
	size_t end = f->now.size > f->lasting.size ? f->now.size : f->lasting.size;
	bool all = random_below(&disk->random, 4) == 0; /* the kernel had written it all */
	uint8_t *bytes = calloc(1, end + SECTOR);
	uint64_t how = 0;

	if (!bytes)
		die("out of memory");
	for (size_t at = 0; at < end; at += SECTOR) {
		if (at % PAGE == 0)
			how = all ? 0 : random_below(&disk->random, 3);
		sector_copy(bytes, how == 0 || (how == 2 && toss()) ? &f->now : &f->lasting, at);
	}
	f->now.size = f->lasting.size = 0;
	content_resize(&f->now, size);
	content_resize(&f->lasting, size);
	if (size) {
		memcpy(f->now.bytes, bytes, size);
		memcpy(f->lasting.bytes, bytes, size);
	}
	file_clean(f);
	free(bytes);
}

static void names_settle(void)
{
	bool is_done = false;

	for (size_t i = 0; i < disk->change_count; i++) {
		const struct change *c = &disk->changes[i];

		if (i == 0 || !disk->changes[i - 1].is_with_next)
			is_done = toss();
		if (is_done)
			names_set(&disk->lasting, c->name, c->file);
	}
	if (!disk->has_lasting_dir)
		disk->lasting.count = 0;
	disk->now = disk->lasting;
	disk->has_dir = disk->has_lasting_dir;
	disk->change_count = 0;
}

void disk_power_failure(void)
{
	disk_restart();
	names_settle();
	for (int i = 0; i < MAX_FILES; i++)
		if (disk->files[i].is_used)
			file_settle(&disk->files[i]);
	files_collect();
}

/* ---- the test's side ---- */

void disk_make(uint64_t seed)
{
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		die("out of memory");
	disk->random = random_from(seed);
	disk->mono_us = 1000000000;
	disk->room = UINT64_MAX;
}

void disk_free(void)
{
	for (int i = 0; i < MAX_FILES; i++)
		file_release(&disk->files[i]);
	free(disk);
	disk = NULL;
}

void disk_restart(void)
{
	memset(disk->fds, 0, sizeof(disk->fds));
	disk->is_ended = disk->ends_in_midst = disk->fail_writes_only = false;
	disk->end_at = disk->fail_at = disk->fail_one_in = 0;
	disk->failures = disk->failed_syncs = 0;
	disk->room = UINT64_MAX;
	files_collect();
}

uint64_t disk_changes(void)
{
	return disk->written;
}

uint64_t disk_calls(void)
{
	return disk->calls;
}

void disk_end_at(uint64_t call, bool in_midst)
{
	disk->end_at = call;
	disk->ends_in_midst = in_midst;
}

bool disk_is_ended(void)
{
	return disk->is_ended;
}

void disk_fail_at(uint64_t call)
{
	disk->fail_at = call;
}

void disk_fail_often(unsigned one_in, bool writes_only)
{
	disk->fail_one_in = one_in;
	disk->fail_writes_only = writes_only;
}

void disk_set_room(uint64_t bytes)
{
	disk->room = bytes;
}

uint64_t disk_failures(void)
{
	return disk->failures;
}

uint64_t disk_failed_syncs(void)
{
	return disk->failed_syncs;
}

void disk_lie(enum disk_lie lie, unsigned one_in)
{
	disk->lie = lie;
	disk->lie_one_in = one_in;
}

uint64_t disk_lies(void)
{
	return disk->lies;
}

void disk_set_clock(uint64_t mono_us)
{
	disk->mono_us = mono_us;
}

size_t disk_file_count(void)
{
	return disk->now.count;
}

static struct disk_file file_view(const struct name *n)
{
	struct disk_file v = { .bytes = disk->files[n->file].now.bytes,
			       .size = disk->files[n->file].now.size };

	snprintf(v.name, sizeof(v.name), "%s", n->name);
	return v;
}

struct disk_file disk_file(size_t i)
{
	return file_view(&disk->now.list[i]);
}

bool disk_find(const char *name, struct disk_file *out)
{
	struct name *found = name_find(&disk->now, name);

	if (found)
		*out = file_view(found);
	return found != NULL;
}

static struct file *file_named(const char *name)
{
	return &disk->files[name_find(&disk->now, name)->file];
}

void disk_flip(const char *name, size_t at, uint8_t mask)
{
	struct file *f = file_named(name);

	f->now.bytes[at] ^= mask;
	if (at < f->lasting.size)
		f->lasting.bytes[at] = f->now.bytes[at];
}

void disk_zero(const char *name, size_t at, size_t len)
{
	struct file *f = file_named(name);

	memset(f->now.bytes + at, 0, len);
	if (at < f->lasting.size)
		memset(f->lasting.bytes + at, 0,
		       len < f->lasting.size - at ? len : f->lasting.size - at);
}

void disk_truncate(const char *name, size_t size)
{
	struct file *f = file_named(name);

	content_resize(&f->now, size);
	if (size < f->lasting.size)
		content_resize(&f->lasting, size);
}

void disk_remove(const char *name)
{
	names_set(&disk->now, name, -1);
	names_set(&disk->lasting, name, -1);
}
