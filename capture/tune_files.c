/* A file is made as text, joined with the one that is there, and written beside it and renamed. */
#include "capture/tune_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tune/apply.h"
#include "tune/ethtool.h"
#include "tune/export.h"
#include "tune/knobs.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 3 };

#define MADE_BY	    "written by `heptap tune export`" /* in the first line of each of ours */
#define FILE_MOST   (1 << 20)
#define FILES_LEAST 65536 /* open files, as the unit has them */

/* ---- changes to keep ---- */

int wanted_add(struct tune_wanted *w, const struct tune_change *c)
{
	for (size_t i = 0; i < w->count; i++) {
		if (strcmp(w->list[i].object, c->object) == 0)
			return HT_OK;
	}
	if (w->count == w->room) {
		size_t room = w->room ? w->room * 2 : 64;
		struct tune_change *list = realloc(w->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		w->list = list;
		w->room = room;
	}
	w->list[w->count++] = *c;
	return HT_OK;
}

struct journal_taker {
	struct tune_wanted *wanted;
	int err;
};

static void take_from_journal(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct journal_taker *t = ctx;
	const struct knob *k = knob_find(c->object);
	struct tune_change kept = *c;

	if (t->err < 0 ||
	    (r->state != APPLY_DONE && r->state != APPLY_ROUNDED && r->state != APPLY_PENDING))
		return;
	/* The journal does not tell the numbers that it was decided by. */
	if (k)
		snprintf(kept.why, sizeof(kept.why), "%s", k->reason);
	t->err = wanted_add(t->wanted, &kept);
}

int wanted_add_journal(struct tune_wanted *w, const char *root, const char *journal)
{
	struct guard_options options = { .root = root };
	struct journal_taker t = { .wanted = w };
	struct apply_sums sums;
	int err = tune_verify(&options, journal, take_from_journal, &t, &sums);

	return t.err < 0 ? t.err : err;
}

void wanted_fini(struct tune_wanted *w)
{
	free(w->list);
	*w = (struct tune_wanted){ 0 };
}

/* ---- a file that is there ---- */

static int path_make(char out[PATH_MAX], const char *dir, const char *path)
{
	int n = snprintf(out, PATH_MAX, "%s%s", dir, path);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : HT_OK;
}

/* @param out  free() it; NULL if there is none. @return HT_OK, -errno. */
static int old_read(const char *dir, const char *path, char **out)
{
	char full[PATH_MAX];
	struct stat st;
	ssize_t n = -1;
	int err = path_make(full, dir, path), fd;

	*out = NULL;
	if (err < 0)
		return err;
	fd = open(full, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? HT_OK : -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MOST)
		err = -EINVAL;
	else {
		*out = malloc((size_t)st.st_size + 1);
		n = *out ? read(fd, *out, (size_t)st.st_size) : -1;
		err = n < 0 ? -errno : HT_OK;
	}
	close(fd);
	if (err < 0) {
		free(*out);
		*out = NULL;
		return err;
	}
	(*out)[n] = '\0';
	return HT_OK;
}

static bool is_ours(const char *text)
{
	const char *at = strstr(text, MADE_BY);

	return at && text[0] == '#' && at < text + strcspn(text, "\n");
}

/* ---- joining ---- */

/* The name in "NAME=VALUE" or "-NAME = VALUE". @return false: the line is no setting. */
static bool name_of(const char *line, char out[128])
{
	size_t n = strcspn(line, "=\n");

	if (line[n] != '=' || line[0] == '#')
		return false;
	if (line[0] == '-') {
		line++;
		n--;
	}
	while (n && line[n - 1] == ' ')
		n--;
	snprintf(out, 128, "%.*s", (int)n, line);
	return true;
}

static const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line ? line + 1 : line;
}

static bool has_setting(const char *text, const char *name)
{
	char have[128];

	for (; *text; text = next_line(text)) {
		if (name_of(text, have) && strcmp(have, name) == 0)
			return true;
	}
	return false;
}

/* Settings of the old text that the new one has not, with the comments right above them. */
static void keep_rest(FILE *out, const char *old, const char *new)
{
	const char *from = old; /* of the comments */
	char name[128];

	for (const char *line = old; *line; line = next_line(line)) {
		bool is_setting = name_of(line, name);

		if (is_setting && !has_setting(new, name))
			fprintf(out, "\n%.*s", (int)(next_line(line) - from), from);
		if (is_setting || line[0] != '#')
			from = next_line(line);
	}
}

/* Has the old text each setting of the new one? Its reasons are the better ones then: once a change
 * is done the plan gives none any more. */
static bool has_all(const char *old, const char *new)
{
	char name[128];

	for (; *new; new = next_line(new)) {
		size_t n = strcspn(new, "\n");
		const char *at = old;

		if (!name_of(new, name))
			continue;
		while (*at && (strcspn(at, "\n") != n || memcmp(at, new, n) != 0))
			at = next_line(at);
		if (!*at)
			return false;
	}
	return true;
}

/* With a file of ours that is there. Takes @p old. */
static int file_join(struct tune_file *f, char *old, unsigned settings)
{
	char *joined = NULL;
	size_t size;
	FILE *out;

	if (!settings || has_all(old, f->text)) {
		free(f->text);
		f->text = old;
		f->state = FILE_SAME;
		return HT_OK;
	}
	out = open_memstream(&joined, &size);
	if (out) {
		fputs(f->text, out);
		keep_rest(out, old, f->text);
	}
	free(old);
	if (!out || fclose(out) != 0) {
		free(joined);
		return -ENOMEM;
	}
	free(f->text);
	f->text = joined;
	return HT_OK;
}

/* Takes @p text. */
static int file_add(struct tune_files *f, const char *dir, const char *path, char *text,
		    unsigned settings)
{
	struct tune_file *to = &f->list[f->count++];
	char *old = NULL;
	int err = dir ? old_read(dir, path, &old) : HT_OK;

	*to = (struct tune_file){ .text = text };
	snprintf(to->path, sizeof(to->path), "%s", path);
	if (err == HT_OK && old && is_ours(old))
		return file_join(to, old, settings);
	if (!settings) {
		to->text[0] = '\0';
		to->state = FILE_EMPTY;
	} else if (err < 0 || old) {
		to->state = FILE_REFUSED;
		snprintf(to->note, sizeof(to->note), "%s%s",
			 err < 0 ? "what is there cannot be read: "
				 : "what is there was not made by heptap, and is left alone",
			 err < 0 ? ht_strerror(err) : "");
	}
	free(old);
	return HT_OK;
}

/* ---- the files ---- */

static int sysctl_make(struct tune_files *f, const char *dir, const struct tune_wanted *w)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned settings;

	if (!out)
		return -ENOMEM;
	settings = export_sysctl(out, w->list, w->count);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	return file_add(f, dir, "/etc/sysctl.d/60-heptap.conf", text, settings);
}

static int link_make(struct tune_files *f, const char *root, const char *nic, const char *dir,
		     const struct tune_wanted *w)
{
	char *text = NULL, path[128], bus[64];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned settings;

	if (!out)
		return -ENOMEM;
	if (ethtool_read(root, nic, "driver/bus_info", bus, sizeof(bus)) < 0)
		bus[0] = '\0';
	settings = export_link(out, nic, bus, w->list, w->count);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	snprintf(path, sizeof(path), "/etc/systemd/network/60-heptap-%s.link", nic);
	return file_add(f, dir, path, text, settings);
}

/* What the rules ask for of descriptors and memory. */
static struct export_unit unit_of(const struct tuning *t, const struct conf *conf)
{
	const struct host_plan *p = t->plan;
	uint64_t rings = 0, files = 1024, threads = p->sizes.hep_threads;

	for (unsigned i = 0; i < t->facts->nic_count; i++) {
		rings += p->rings[i] * p->placement.nics[i].threads;
		threads += p->placement.nics[i].threads;
	}
	for (size_t i = 0; i < conf->hep_count; i++)
		files += 2ULL * conf->hep[i].max_connections;
	files += 64 * threads;
	return (struct export_unit){ .open_files = files > FILES_LEAST ? files : FILES_LEAST,
				     .memory_high_bytes = conf->memory + rings +
							  p->sizes.socket_buffer *
								  p->sizes.hep_threads *
								  t->wish.sizes.hep_sockets };
}

static int unit_make(struct tune_files *f, const struct tuning *t, const struct conf *conf,
		     const char *file, const char *dir, const struct tune_wanted *w)
{
	struct export_unit unit = unit_of(t, conf);
	char *text = NULL, program[PATH_MAX] = "", where[PATH_MAX];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned settings;

	if (!out)
		return -ENOMEM;
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		snprintf(program, sizeof(program), "/usr/local/sbin/heptap");
	unit.program = program;
	unit.conf = realpath(file, where) ? where : file;
	settings = export_unit(out, &unit, w->list, w->count);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	return file_add(f, dir, "/etc/systemd/system/heptap.service.d/60-tune.conf", text,
			settings);
}

int tune_files_make(struct tune_files *f, const struct tuning *t, const struct conf *conf,
		    const char *file, const char *dir, const struct tune_wanted *wanted)
{
	int err;

	*f = (struct tune_files){ 0 };
	err = sysctl_make(f, dir, wanted);
	for (unsigned i = 0; err == HT_OK && i < t->nic_count; i++)
		err = link_make(f, t->facts->root, t->nics[i], dir, wanted);
	return err == HT_OK ? unit_make(f, t, conf, file, dir, wanted) : err;
}

void tune_files_fini(struct tune_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->list[i].text);
	f->count = 0;
}

/* ---- writing ---- */

static int directories_make(char *path, size_t after)
{
	for (char *slash = path + after + 1; (slash = strchr(slash, '/')); slash++) {
		int err;

		*slash = '\0';
		err = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : HT_OK;
		*slash = '/';
		if (err < 0)
			return err;
	}
	return HT_OK;
}

static int text_write(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n = write(fd, text, len);

	if (n != (ssize_t)len)
		return n < 0 ? -errno : -ENOSPC;
	return fchmod(fd, 0644) < 0 || fsync(fd) < 0 ? -errno : HT_OK;
}

/* Over one of ours; where there was none, not over one that came to be meanwhile. */
static int file_place(const char *temporary, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return rename(temporary, path) < 0 ? -errno : HT_OK;
	if (link(temporary, path) < 0)
		return -errno;
	(void)unlink(temporary);
	return HT_OK;
}

static int file_put(const char *dir, const struct tune_file *f)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int err = path_make(path, dir, f->path), fd;

	if (err == HT_OK)
		err = path_make(temporary, path, ".XXXXXX");
	if (err == HT_OK)
		err = directories_make(path, strlen(dir));
	if (err < 0)
		return err;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = text_write(fd, f->text);
	close(fd);
	if (err == HT_OK)
		err = file_place(temporary, path);
	if (err < 0)
		(void)unlink(temporary);
	return err;
}

void tune_files_write(struct tune_files *f, const char *dir)
{
	for (size_t i = 0; i < f->count; i++) {
		struct tune_file *one = &f->list[i];
		int err;

		if (one->state != FILE_MADE)
			continue;
		err = file_put(dir, one);
		one->state = err < 0 ? FILE_REFUSED : FILE_WRITTEN;
		if (err < 0)
			snprintf(one->note, sizeof(one->note), "%s", ht_strerror(err));
	}
}

/* ---- saying ---- */

bool tune_files_are_bad(const struct tune_files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].state == FILE_REFUSED)
			return true;
	}
	return false;
}

const char *tune_file_state_text(enum tune_file_state state)
{
	static const char *const texts[] = { [FILE_MADE] = "made",
					     [FILE_WRITTEN] = "written",
					     [FILE_SAME] = "unchanged",
					     [FILE_EMPTY] = "not needed",
					     [FILE_REFUSED] = "refused" };

	return texts[state];
}

void tune_files_print_states(const struct tune_files *f, FILE *to)
{
	for (size_t i = 0; i < f->count; i++)
		fprintf(to, "%-10s  %s%s%s\n", tune_file_state_text(f->list[i].state),
			f->list[i].path, f->list[i].note[0] ? ": " : "", f->list[i].note);
}

static void print_texts(const struct tune_files *f, FILE *to)
{
	const char *between = "";

	for (size_t i = 0; i < f->count; i++) {
		if (!f->list[i].text[0])
			continue;
		fprintf(to, "%s==> %s <==\n%s", between, f->list[i].path, f->list[i].text);
		between = "\n";
	}
}

/* ---- export ---- */

/* Changes of an interface that must not be touched are none to keep. */
static int wanted_of_plan(struct tune_wanted *w, const struct host_plan *p)
{
	int err = HT_OK;

	for (unsigned i = 0; err == HT_OK && i < p->change_count; i++) {
		if (!p->changes[i].blocked || !p->changes[i].nic[0])
			err = wanted_add(w, &p->changes[i]);
	}
	return err;
}

/* What the journal says is done is in the plan no more. */
static int wanted_now(struct tune_wanted *w, const struct host_plan *p, const char *root)
{
	char journal[512];
	int err = wanted_of_plan(w, p);

	if (err < 0)
		return err;
	apply_journal_path(root, journal, sizeof(journal));
	err = wanted_add_journal(w, root, journal);
	if (err < 0 && err != -ENOMEM && err != -ENOENT && err != -ESTALE)
		fprintf(stderr, "heptap: %s: %s: what was applied already is missing here\n",
			journal, ht_strerror(err));
	return err == -ENOMEM ? err : HT_OK;
}

static bool dir_is_there(const char *dir)
{
	struct stat st;

	if (!dir || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)))
		return true;
	fprintf(stderr, "heptap: --dir: %s: there is no such directory\n", dir);
	return false;
}

/* @return an exit code */
static int files_say(struct tune_files *f, const struct tune_words *words)
{
	bool is_done = true;

	if (words->dir)
		tune_files_write(f, words->dir);
	if (words->is_json)
		is_done = tune_files_print_json(f, stdout);
	else if (words->dir)
		tune_files_print_states(f, stdout);
	else
		print_texts(f, stdout);
	if (!is_done || fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "heptap: the files could not be written\n");
		return EXIT_REFUSED;
	}
	return words->dir && tune_files_are_bad(f) ? EXIT_REFUSED : EXIT_DONE;
}

int export_command(const struct conf *conf, const char *file, const struct tune_words *words)
{
	struct tune_wanted wanted = { 0 };
	struct tune_files files = { 0 };
	const char *dir = words->dir ? words->dir : words->root[0] ? NULL : "";
	struct tuning t;
	int err, code = EXIT_REFUSED;

	if (!dir_is_there(words->dir))
		return EXIT_REFUSED;
	err = tuning_init(&t, conf, words->root);
	if (err == HT_OK)
		err = wanted_now(&wanted, t.plan, words->root);
	if (err == HT_OK)
		err = tune_files_make(&files, &t, conf, file, dir, &wanted);
	if (err == HT_OK)
		code = files_say(&files, words);
	else
		fprintf(stderr, "heptap: no memory for files\n");
	tune_files_fini(&files);
	wanted_fini(&wanted);
	tuning_fini(&t);
	return code;
}
