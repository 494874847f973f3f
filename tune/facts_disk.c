/* What a directory is on: the mount that holds it, its file system and its disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/facts.h"
#include "tune/files.h"

#define CLIMB 9 /* from a partition of a SATA disk to its controller */

/* Is @p path at or below @p mount? */
static bool is_below(const char *path, const char *mount)
{
	size_t len = strlen(mount);

	return strncmp(path, mount, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/' || (len == 1 && mount[0] == '/'));
}

/* The last of the longest: a later mount hides an earlier one. */
static void find_mount(char *text, struct disk *out, char *device, size_t size)
{
	size_t best = 0;

	for (char *line = text, *next; line && *line; line = next) {
		char mount[256], options[128], kind[16], number[16], super[128];
		char *tail;

		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		tail = strstr(line, " - ");
		if (!tail ||
		    sscanf(line, "%*d %*d %15s %*s %255s %127s", number, mount, options) != 3 ||
		    sscanf(tail, " - %15s %*s %127s", kind, super) != 2 || strlen(mount) < best ||
		    !is_below(out->path, mount))
			continue;
		best = strlen(mount);
		snprintf(out->kind, sizeof(out->kind), "%s", kind);
		snprintf(out->options, sizeof(out->options), "%s,%s", options, super);
		snprintf(device, size, "%s", number);
	}
}

struct journal_search {
	const char *device;
	bool found;
};

static void look_at_journal(void *ctx, const char *name)
{
	struct journal_search *s = ctx;
	size_t len = strlen(s->device);

	if (strncmp(name, s->device, len) == 0 && name[len] == '-')
		s->found = true;
}

/* Those of ext3 and ext4 have a directory each; other file systems keep theirs always. */
static enum known has_journal(const char *root, const struct disk *disk)
{
	struct journal_search s = { .device = disk->device };

	if (strncmp(disk->kind, "ext", 3) != 0)
		return UNKNOWN;
	if (strcmp(disk->kind, "ext2") == 0)
		return NO;
	if (!disk->device[0] || file_list(root, "/proc/fs/jbd2", look_at_journal, &s) < 0)
		return UNKNOWN;
	return s.found ? YES : NO;
}

/* ---- interrupts ---- */

struct irq_search {
	const char *root;
	struct disk *out;
};

static void look_at_irq(void *ctx, const char *number)
{
	static const char *const lists[] = { "effective_affinity_list", "smp_affinity_list" };
	struct irq_search *s = ctx;
	char text[4096];
	struct cpus cpus;

	for (int i = 0; i < 2; i++) {
		if (file_read(s->root, text, sizeof(text), "/proc/irq/%.16s/%s", number,
			      lists[i]) <= 0 ||
		    !cpus_read_list(text, &cpus))
			continue;
		s->out->irq_count++;
		for (unsigned w = 0; w < CPUS_MOST / 64; w++)
			s->out->served.bits[w] |= cpus.bits[w];
		return;
	}
}

/* Of the first device, from the disk upwards, that has some: its controller. */
static void read_irqs(const char *root, const char *number, struct disk *out)
{
	struct irq_search s = { root, out };
	char path[128], up[3 * CLIMB + 1] = "";

	for (int i = 0; i < CLIMB; i++, strcat(up, "../")) {
		snprintf(path, sizeof(path), "/sys/dev/block/%s/%smsi_irqs", number, up);
		if (file_list(root, path, look_at_irq, &s) >= 0)
			return;
	}
}

void facts_read_disk(const char *root, const char *path, struct disk *out)
{
	char *text = file_read_all(root, "/proc/self/mountinfo"), number[16] = "", link[256];
	int64_t rotates = -1;

	*out = (struct disk){ .has_journal = UNKNOWN, .rotates = UNKNOWN };
	snprintf(out->path, sizeof(out->path), "%s", path);
	if (text)
		find_mount(text, out, number, sizeof(number));
	free(text);
	if (!number[0] || !file_link(root, link, sizeof(link), "/sys/dev/block/%s", number))
		return;
	snprintf(out->device, sizeof(out->device), "%.31s",
		 strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
	out->has_journal = has_journal(root, out);
	rotates = file_number(root, "/sys/dev/block/%s/queue/rotational", number);
	if (rotates < 0) /* a partition */
		rotates = file_number(root, "/sys/dev/block/%s/../queue/rotational", number);
	read_irqs(root, number, out);
	out->rotates = rotates < 0 ? UNKNOWN : rotates ? YES : NO;
}
