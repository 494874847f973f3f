/* Lines are appended with one write(2) each. A line that could not be written or synced is cut off
 * again. */
#define XXH_INLINE_ALL
#include "tune/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC	    "heptap-tune-journal"
#define VERSION	    "1"
#define FIELDS_MOST 8
#define LINE_MOST   (3 * (3 * JOURNAL_VALUE + 3 * JOURNAL_OBJECT))
#define FILE_MOST   (64L << 20)
#define HASH_CHARS  16

struct journal {
	int fd;
	char path[512];
	char boot[64], network[64];
	struct journal_entry *entries;
	size_t count, room;
	size_t damaged_line;
	off_t size; /* of what is whole */
};

static const char *const step_names[] = { [JOURNAL_WRITING] = "writing",
					  [JOURNAL_WRITTEN] = "written",
					  [JOURNAL_FAILED] = "failed",
					  [JOURNAL_UNDONE] = "undone",
					  [JOURNAL_LEFT] = "left" };

/* ---- lines ---- */

static bool must_escape(unsigned char c)
{
	return c < ' ' || c == '%' || c == 0x7f;
}

/* @return octets, or 0 if there is no room. */
static size_t line_make(char out[LINE_MOST], const char *const *fields, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		for (const char *c = fields[i]; *c; c++) {
			if (len + 3 + 1 + HASH_CHARS + 2 > LINE_MOST)
				return 0;
			if (must_escape((unsigned char)*c))
				len += (size_t)sprintf(out + len, "%%%02X", (unsigned char)*c);
			else
				out[len++] = *c;
		}
		if (len + 1 + HASH_CHARS + 2 > LINE_MOST)
			return 0;
		out[len++] = '\t';
	}
	len += (size_t)sprintf(out + len, "%016" PRIx64 "\n", (uint64_t)XXH3_64bits(out, len));
	return len;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void unescape(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++) {
		if (*c == '%' && hex(c[1]) >= 0 && hex(c[2]) >= 0) {
			*to++ = (char)(hex(c[1]) * 16 + hex(c[2]));
			c += 2;
		} else {
			*to++ = *c;
		}
	}
	*to = '\0';
}

/* Split a line without its line feed, if its checksum holds. @return fields or 0. */
static size_t line_split(char *line, char *fields[FIELDS_MOST])
{
	char *last = strrchr(line, '\t'), sum[HASH_CHARS + 1];
	size_t n = 0;

	if (!last || strlen(last + 1) != HASH_CHARS)
		return 0;
	snprintf(sum, sizeof(sum), "%016" PRIx64,
		 (uint64_t)XXH3_64bits(line, (size_t)(last + 1 - line)));
	if (strcmp(sum, last + 1) != 0)
		return 0;
	*last = '\0';
	for (char *at = line; at; n++) {
		if (n == FIELDS_MOST)
			return 0;
		fields[n] = strsep(&at, "\t");
		unescape(fields[n]);
	}
	return n;
}

/* ---- reading ---- */

static bool copy(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	if (n >= size)
		return false;
	memcpy(to, from, n + 1);
	return true;
}

static int entry_add(struct journal *j, const struct journal_entry *e)
{
	if (j->count == JOURNAL_PER_FILE)
		return HT_EFULL;
	if (j->count == j->room) {
		size_t room = j->room ? 2 * j->room : 64;
		struct journal_entry *more = realloc(j->entries, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		j->entries = more;
		j->room = room;
	}
	j->entries[j->count++] = *e;
	return HT_OK;
}

/* @return HT_OK, HT_EJOURNAL if this cannot be a line of ours, -ENOMEM. */
static int take_writing(struct journal *j, char **f, size_t n, size_t line)
{
	static const struct journal_entry hole = { .step = JOURNAL_LEFT };
	struct journal_entry e = { .step = JOURNAL_WRITING };
	unsigned long number = n == 8 ? strtoul(f[1], NULL, 10) : 0;
	int err = HT_OK;

	if (n != 8 || number < j->count || number >= JOURNAL_PER_FILE ||
	    !copy(e.kind, sizeof(e.kind), f[2]) || !copy(e.interface, sizeof(e.interface), f[3]) ||
	    !copy(e.object, sizeof(e.object), f[4]) ||
	    !copy(e.identity, sizeof(e.identity), f[5]) || !copy(e.old, sizeof(e.old), f[6]) ||
	    !copy(e.wanted, sizeof(e.wanted), f[7]))
		return HT_EJOURNAL;
	if (number > j->count && !j->damaged_line)
		j->damaged_line = line;
	while (err == HT_OK && j->count < number)
		err = entry_add(j, &hole); /* of a line that was damaged */
	return err == HT_OK ? entry_add(j, &e) : err;
}

static int take_result(struct journal *j, char **f, size_t n)
{
	unsigned long number = n == 4 ? strtoul(f[1], NULL, 10) : j->count;

	if (number >= j->count ||
	    !copy(j->entries[number].now, sizeof(j->entries[number].now), f[3]))
		return HT_EJOURNAL;
	for (int s = JOURNAL_WRITTEN; s <= JOURNAL_LEFT; s++) {
		if (strcmp(step_names[s], f[2]) == 0) {
			j->entries[number].step = (enum journal_step)s;
			return HT_OK;
		}
	}
	return HT_EJOURNAL;
}

static int take_head(struct journal *j, char **f, size_t n)
{
	if (n < 2 || strcmp(f[0], MAGIC) != 0)
		return HT_EJOURNAL;
	if (strcmp(f[1], VERSION) != 0)
		return HT_EFORMAT;
	return n == 4 && copy(j->boot, sizeof(j->boot), f[2]) &&
			       copy(j->network, sizeof(j->network), f[3])
		       ? HT_OK
		       : HT_EJOURNAL;
}

static int take_line(struct journal *j, char *line, size_t number)
{
	char *f[FIELDS_MOST];
	size_t n = line_split(line, f);
	int err = HT_EJOURNAL;

	if (number == 1)
		return take_head(j, f, n);
	if (n && strcmp(f[0], "W") == 0)
		err = take_writing(j, f, n, number);
	else if (n && strcmp(f[0], "R") == 0)
		err = take_result(j, f, n);
	if (err == HT_EJOURNAL && !j->damaged_line)
		j->damaged_line = number;
	return err == HT_EJOURNAL ? HT_OK : err;
}

static int take_text(struct journal *j, char *text)
{
	size_t number = 0;
	int err = HT_OK;
	char *end;

	for (char *line = text; err == HT_OK && (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		err = take_line(j, line, ++number);
		j->size = end + 1 - text;
	}
	return err;
}

static int read_file(struct journal *j, off_t size)
{
	char *text = malloc((size_t)size + 1);
	ssize_t n;
	int err;

	if (!text)
		return -ENOMEM;
	n = pread(j->fd, text, (size_t)size, 0);
	err = n < 0 ? -errno : HT_OK;
	if (n >= 0) {
		for (ssize_t i = 0; i < n; i++) { /* damage, and not the end */
			if (!text[i])
				text[i] = '\1';
		}
		text[n] = '\0';
		err = take_text(j, text);
	}
	free(text);
	return err;
}

/* ---- writing ---- */

static int append(struct journal *j, const char *const *fields, size_t n)
{
	char line[LINE_MOST];
	size_t len = line_make(line, fields, n);
	ssize_t wrote;
	int err;

	if (!len)
		return HT_EFULL;
	if (j->size + (off_t)len > FILE_MOST)
		return HT_EFULL;
	wrote = pwrite(j->fd, line, len, j->size);
	if (wrote == (ssize_t)len && fdatasync(j->fd) == 0) {
		j->size += wrote;
		return HT_OK;
	}
	err = wrote >= 0 && wrote < (ssize_t)len ? -ENOSPC : -errno;
	if (ftruncate(j->fd, j->size) < 0)
		err = -errno; /* a torn line stays; the next one is written over it */
	return err;
}

static int sync_directory(const char *path)
{
	char dir[512];
	const char *slash = strrchr(path, '/');
	int fd, err;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path + 1), path);
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : HT_OK;
	close(fd);
	return err;
}

static int write_head(struct journal *j, const char *boot, const char *network)
{
	const char *fields[] = { MAGIC, VERSION, boot, network };
	int err;

	if (!copy(j->boot, sizeof(j->boot), boot) || !copy(j->network, sizeof(j->network), network))
		return -EINVAL;
	err = append(j, fields, 4);
	return err < 0 ? err : sync_directory(j->path);
}

/* ---- opening ---- */

/* The last one may have removed it between our opening and our lock. */
static bool is_still_there(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int open_locked(const char *path, int flags)
{
	int fd, err;

	do {
		fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			err = -errno;
			close(fd);
			return err;
		}
		if (is_still_there(fd, path))
			return fd;
		close(fd);
	} while (flags & O_CREAT);
	return -ENOENT;
}

/* What it says is done with our rights: nobody else may have had a hand in it. */
static int check_owner(int fd, off_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*size = st.st_size;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 ||
	    (st.st_mode & 022))
		return -EPERM;
	return st.st_size > FILE_MOST ? -EFBIG : HT_OK;
}

static int open_and_read(struct journal *j, const char *boot, const char *network, bool may_write)
{
	off_t size = 0;
	int err = check_owner(j->fd, &size);

	if (err == HT_OK)
		err = read_file(j, size);
	if (err < 0 || !may_write)
		return err;
	if (j->size < size && ftruncate(j->fd, j->size) < 0)
		return -errno;
	return j->size ? HT_OK : write_head(j, boot, network);
}

int journal_open(struct journal **out, const char *path, const char *boot, const char *network,
		 bool may_write)
{
	struct journal *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	if (!copy(j->path, sizeof(j->path), path)) {
		free(j);
		return -ENAMETOOLONG;
	}
	j->fd = open_locked(path, may_write ? O_RDWR | O_CREAT : O_RDWR);
	err = j->fd < 0 ? j->fd : open_and_read(j, boot, network, may_write);
	if (err < 0) {
		journal_close(j);
		return err;
	}
	*out = j;
	return HT_OK;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	free(j->entries);
	free(j);
}

/* ---- what is in it ---- */

const char *journal_boot(const struct journal *j)
{
	return j->boot;
}

const char *journal_network(const struct journal *j)
{
	return j->network;
}

size_t journal_damaged_line(const struct journal *j)
{
	return j->damaged_line;
}

size_t journal_count(const struct journal *j)
{
	return j->count;
}

const struct journal_entry *journal_entry(const struct journal *j, size_t number)
{
	return &j->entries[number];
}

bool journal_is_open_ended(const struct journal *j)
{
	for (size_t i = 0; i < j->count; i++) {
		if (j->entries[i].step == JOURNAL_WRITING || j->entries[i].step == JOURNAL_WRITTEN)
			return true;
	}
	return false;
}

/* ---- steps ---- */

int journal_begin(struct journal *j, const struct journal_entry *e, size_t *number)
{
	struct journal_entry added = *e;
	char text[24];
	const char *fields[] = { "W",	    text,	 e->kind, e->interface,
				 e->object, e->identity, e->old,  e->wanted };
	int err;

	if (j->damaged_line)
		return HT_EJOURNAL;
	added.step = JOURNAL_WRITING;
	added.now[0] = '\0';
	snprintf(text, sizeof(text), "%zu", j->count);
	err = entry_add(j, &added); /* first: memory may end, and the file must not be ahead */
	if (err < 0)
		return err;
	err = append(j, fields, 8);
	if (err < 0) {
		j->count--;
		return err;
	}
	*number = j->count - 1;
	return HT_OK;
}

int journal_note(struct journal *j, size_t number, enum journal_step step, const char *now)
{
	struct journal_entry *e = &j->entries[number];
	char text[24];
	const char *fields[] = { "R", text, step_names[step], now ? now : e->now };
	int err;

	snprintf(text, sizeof(text), "%zu", number);
	err = append(j, fields, 4);
	if (err < 0)
		return err;
	e->step = step;
	if (now)
		snprintf(e->now, sizeof(e->now), "%s", now);
	return HT_OK;
}

int journal_remove(struct journal *j)
{
	if (unlink(j->path) < 0)
		return -errno;
	return sync_directory(j->path);
}
