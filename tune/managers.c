/* Profiles of tuned are files of [section] and key=value; [main] may include others. */
#include "tune/managers.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/files.h"

#define INCLUDES_DEEP 8

/* ---- processes ---- */

struct search {
	const char *root, *name;
	int pid;
};

static void look_at_process(void *ctx, const char *pid)
{
	struct search *s = ctx;
	char path[64], comm[64];

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	if (!s->pid && isdigit((unsigned char)pid[0]) &&
	    file_value(s->root, path, comm, sizeof(comm)) >= 0 && strcmp(comm, s->name) == 0)
		s->pid = atoi(pid);
}

int process_find(const char *root, const char *name)
{
	struct search s = { .root = root, .name = name };

	file_list(root, "/proc", look_at_process, &s);
	return s.pid;
}

/* ---- a profile ---- */

struct question {
	const char *root;
	const struct tune_change *c;
	char *where;
	size_t size;
};

/* vm.swappiness of a profile is /proc/sys/vm/swappiness. */
static bool is_sysctl(const char *key, const char *object)
{
	object += strlen("/proc/sys/");
	for (; *key && *object; key++, object++)
		if (*key != *object && !(*key == '.' && *object == '/'))
			return false;
	return *key == *object;
}

/* IF/rings/rx is within what the key "ring" of a profile sets. */
static bool is_group(const char *key, const char *object)
{
	const char *group = strchr(object, '/');
	size_t n = strlen(key);

	return group && n && strncmp(group + 1, key, n) == 0 &&
	       (group[1 + n] == '/' || strncmp(group + 1 + n, "s/", 2) == 0);
}

static bool is_set_by(const struct tune_change *c, const char *section, const char *key)
{
	switch (c->kind) {
	case TUNE_SYSCTL:
		return strcmp(section, "sysctl") == 0 && is_sysctl(key, c->object);
	case TUNE_ETHTOOL:
		return strcmp(section, "net") == 0 && is_group(key, c->object);
	case TUNE_IRQ:
		return strcmp(key, "isolated_cores") == 0;
	case TUNE_QUEUE:
		break;
	}
	return false;
}

static char *trimmed(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	return text;
}

static bool profiles_set(const struct question *q, char *names, int deep);

/* @param section  That the line is in; changed by a line that begins one. */
static bool line_sets(const struct question *q, char *line, char section[32], const char *path,
		      int deep)
{
	char *value, *key = trimmed(line);

	if (key[0] == '[') {
		snprintf(section, 32, "%.*s", (int)strcspn(key + 1, "]"), key + 1);
		return false;
	}
	value = strchr(key, '=');
	if (!value || key[0] == '#' || key[0] == ';')
		return false;
	*value++ = '\0';
	key = trimmed(key);
	value = trimmed(value);
	if (strcmp(key, "type") == 0)
		snprintf(section, 32, "%s", value);
	if (strcmp(section, "main") == 0 && strcmp(key, "include") == 0)
		return profiles_set(q, value, deep + 1);
	if (!value[0] || !is_set_by(q->c, section, key))
		return false;
	snprintf(q->where, q->size, "%.128s=%.64s in %s", key, value, path);
	return true;
}

static bool profile_sets(const struct question *q, const char *name, int deep)
{
	static const char *const places[] = { "/etc/tuned", "/etc/tuned/profiles", "/usr/lib/tuned",
					      "/usr/lib/tuned/profiles" };
	char path[128], section[32] = "", *text = NULL, *line, *rest;
	bool sets = false;

	for (size_t i = 0; !text && i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%.64s/tuned.conf", places[i], name);
		text = strchr(name, '/') ? NULL : file_read_all(q->root, path);
	}
	if (!text) {
		snprintf(q->where, q->size, "what, as its profile %.64s cannot be read", name);
		return q->c->kind == TUNE_SYSCTL;
	}
	for (rest = text; !sets && (line = strsep(&rest, "\n"));)
		sets = line_sets(q, line, section, path, deep);
	free(text);
	return sets;
}

/* Apart by blanks or commas. */
static bool profiles_set(const struct question *q, char *names, int deep)
{
	char *name, *saved;
	bool sets = false;

	if (deep > INCLUDES_DEEP)
		return false;
	for (name = strtok_r(names, " ,\t\n", &saved); name && !sets;
	     name = strtok_r(NULL, " ,\t\n", &saved))
		sets = profile_sets(q, name, deep);
	return sets;
}

bool tuned_sets(const char *root, const struct tune_change *c, char *where, size_t size)
{
	const struct question q = { root, c, where, size };
	char names[256];

	return file_value(root, "/etc/tuned/active_profile", names, sizeof(names)) > 0 &&
	       profiles_set(&q, names, 0);
}
