/* Files and ethtool settings behind one pair of functions. */
#include "tune/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/cpus.h"
#include "tune/ethtool.h"
#include "tune/files.h"

static const char *const kind_names[] = { [TUNE_IRQ] = "irq",
					  [TUNE_QUEUE] = "queue",
					  [TUNE_SYSCTL] = "sysctl",
					  [TUNE_ETHTOOL] = "ethtool" };

const char *value_kind_name(enum tune_kind kind)
{
	return kind_names[kind];
}

bool value_kind_parse(const char *name, enum tune_kind *out)
{
	for (unsigned k = 0; k < sizeof(kind_names) / sizeof(kind_names[0]); k++) {
		if (strcmp(kind_names[k], name) == 0) {
			*out = (enum tune_kind)k;
			return true;
		}
	}
	return false;
}

/* ---- reading and writing ---- */

bool value_irq(const struct tune_change *c, char out[12])
{
	int end = 0;

	return sscanf(c->object, "/proc/irq/%10[0-9]/smp_affinity_list%n", out, &end) == 1 && end &&
	       !c->object[end];
}

/* @return GROUP/KEY of IF/GROUP/KEY, or "", which is no setting. */
static const char *setting_of(const struct tune_change *c)
{
	size_t n = strlen(c->nic);

	return n && strncmp(c->object, c->nic, n) == 0 && c->object[n] == '/' ? c->object + n + 1
									      : "";
}

int value_read(const char *root, const struct tune_change *c, char *out, size_t size)
{
	return c->kind == TUNE_ETHTOOL ? ethtool_read(root, c->nic, setting_of(c), out, size)
				       : file_value(root, c->object, out, size);
}

int value_write(const char *root, const struct tune_change *c, const char *value)
{
	return c->kind == TUNE_ETHTOOL ? ethtool_write(root, c->nic, setting_of(c), value)
				       : file_write(root, c->object, value);
}

int value_may_write(const char *root, const struct tune_change *c)
{
	char path[TUNE_OBJECT + 16];

	if (c->kind != TUNE_ETHTOOL)
		return file_may_write(root, c->object);
	if (!root[0])
		return HT_OK; /* a matter of rights, which are no file's */
	snprintf(path, sizeof(path), "/ethtool/%.*s", (int)(strrchr(c->object, '/') - c->object),
		 c->object);
	return file_may_write(root, path);
}

/* ---- comparing ---- */

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_mask(const struct tune_change *c)
{
	return c->kind == TUNE_QUEUE &&
	       (ends_in(c->object, "/rps_cpus") || ends_in(c->object, "/xps_cpus"));
}

/* The numbers of a sysctl are apart by tabulators, whatever they were written with. */
static bool is_equal_words(const char *a, const char *b)
{
	for (;;) {
		while (isspace((unsigned char)*a))
			a++;
		while (isspace((unsigned char)*b))
			b++;
		while (*a && !isspace((unsigned char)*a)) {
			if (*a++ != *b++)
				return false;
		}
		if (*b && !isspace((unsigned char)*b))
			return false;
		if (!*a && !*b)
			return true;
	}
}

bool value_is_equal(const struct tune_change *c, const char *a, const char *b)
{
	bool (*parse)(const char *, struct cpus *) = is_mask(c)		   ? cpus_read_mask
						     : c->kind == TUNE_IRQ ? cpus_read_list
									   : NULL;
	struct cpus x, y;

	if (parse && parse(a, &x) && parse(b, &y))
		return cpus_equal(&x, &y);
	if (c->kind == TUNE_ETHTOOL) /* without "fixed" */
		return strcspn(a, " ") == strcspn(b, " ") && strncmp(a, b, strcspn(a, " ")) == 0;
	return is_equal_words(a, b);
}

bool value_is_rounded(const struct tune_change *c)
{
	return c->kind == TUNE_ETHTOOL || ends_in(c->object, "/rps_flow_cnt") ||
	       ends_in(c->object, "/rps_sock_flow_entries");
}

bool value_is_pending(const char *root, const struct tune_change *c, const char *list)
{
	char irq[12], path[64], text[TUNE_VALUE];
	struct cpus set, effective;

	if (c->kind != TUNE_IRQ || !value_irq(c, irq))
		return false;
	snprintf(path, sizeof(path), "/proc/irq/%s/effective_affinity_list", irq);
	if (file_value(root, path, text, sizeof(text)) <= 0 || !cpus_read_list(text, &effective) ||
	    !cpus_read_list(list, &set))
		return false; /* not every platform has it */
	effective = cpus_minus(&effective, &set);
	return cpus_first(&effective) >= 0;
}

/* ---- identity ---- */

static unsigned columns_count(const char *head)
{
	unsigned n = 0;

	for (const char *at = head; (at = strstr(at, "CPU")); at += 3)
		n++;
	return n;
}

static const char *skip_words(const char *at, unsigned n)
{
	while (n--) {
		at += strspn(at, " \t");
		at += strcspn(at, " \t\n");
	}
	return at + strspn(at, " \t");
}

/* @return the line of /proc/interrupts behind "NUMBER:", or NULL. */
static const char *irq_line(const char *text, const char *number)
{
	size_t n = strlen(number);

	while ((text = strchr(text, '\n'))) {
		text += 1 + strspn(text + 1, " ");
		if (strncmp(text, number, n) == 0 && text[n] == ':')
			return text + n + 1;
	}
	return NULL;
}

/* What is behind the counts: chip, number there, action. Spaces are squeezed. */
static int irq_identity(const char *root, const struct tune_change *c, char *out, size_t size)
{
	size_t len = 0;
	const char *at;
	char *text, irq[12];

	if (!value_irq(c, irq))
		return -EINVAL;
	text = file_read_all(root, "/proc/interrupts");
	if (!text)
		return -errno;
	at = irq_line(text, irq);
	if (at) {
		text[strcspn(text, "\n")] = '\0';
		at = skip_words(at, columns_count(text));
		for (; *at && *at != '\n' && len + 1 < size; at++) {
			if (*at != ' ' || (len && out[len - 1] != ' '))
				out[len++] = *at;
		}
		out[len] = '\0';
	}
	free(text);
	return at ? HT_OK : -ENOENT;
}

static int interface_identity(const char *root, const struct tune_change *c, char *out, size_t size)
{
	char path[96], index[16], driver[64] = "", bus[64] = "";
	int err;

	snprintf(path, sizeof(path), "/sys/class/net/%s/ifindex", c->nic);
	err = file_value(root, path, index, sizeof(index));
	if (err < 0)
		return err == -ENOENT ? -ENODEV : err;
	if (ethtool_read(root, c->nic, "driver/driver", driver, sizeof(driver)) < 0)
		driver[0] = '\0';
	if (ethtool_read(root, c->nic, "driver/bus_info", bus, sizeof(bus)) < 0)
		bus[0] = '\0';
	snprintf(out, size, "%s %s %s", index, driver, bus);
	return HT_OK;
}

int value_identity(const char *root, const struct tune_change *c, char *out, size_t size)
{
	out[0] = '\0';
	if (c->kind == TUNE_IRQ)
		return irq_identity(root, c, out, size);
	return c->nic[0] ? interface_identity(root, c, out, size) : HT_OK;
}
