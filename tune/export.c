/* One file after the other; a value is printed as it is, without what could begin a line. */
#include "tune/export.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* What systemd.link(5) calls them. */
static const struct key {
	const char *setting, *link;
	const char *unit; /* of the number */
} keys[] = {
	{ "channels/combined", "CombinedChannels", "" },
	{ "channels/rx", "RxChannels", "" },
	{ "rings/rx", "RxBufferSize", "" },
	{ "coalesce/rx_usecs", "RxCoalesceSec", "us" },
	{ "coalesce/rx_frames", "RxMaxCoalescedFrames", "" },
	{ "coalesce/adaptive_rx", "UseAdaptiveRxCoalesce", "" },
	{ "pause/rx", "RxFlowControl", "" },
	{ "pause/tx", "TxFlowControl", "" },
	{ "features/generic-receive-offload", "GenericReceiveOffload", "" },
	{ "features/large-receive-offload", "LargeReceiveOffload", "" },
};

static const struct key *key_find(const struct tune_change *c)
{
	size_t n = strlen(c->nic);

	if (c->kind != TUNE_ETHTOOL || strncmp(c->object, c->nic, n) != 0 || c->object[n] != '/')
		return NULL;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].setting, c->object + n + 1) == 0)
			return &keys[i];
	}
	return NULL;
}

static void put(FILE *out, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
}

static void put_comment(FILE *out, const struct tune_change *c)
{
	fputs("# ", out);
	put(out, c->why[0] ? c->why : "wanted");
	fputs(" (was ", out);
	put(out, c->now[0] ? c->now : "unknown");
	fputs(")\n", out);
}

/* ---- sysctl.d ---- */

/* With dots, unless a name has one itself, as that of a VLAN: then the slashes stay. */
static void put_key(FILE *out, const char *path)
{
	bool has_dots = strchr(path, '.') != NULL;

	for (; *path; path++)
		fputc(*path == '/' && !has_dots ? '.' : *path, out);
}

unsigned export_sysctl(FILE *out, const struct tune_change *changes, size_t n)
{
	static const char top[] = "/proc/sys/";
	unsigned lines = 0;

	fputs("# /etc/sysctl.d/60-heptap.conf: written by `heptap tune export`.\n"
	      "# A file with a later name and /etc/sysctl.conf override it.\n",
	      out);
	for (size_t i = 0; i < n; i++) {
		const struct tune_change *c = &changes[i];

		if (c->kind != TUNE_SYSCTL || strncmp(c->object, top, sizeof(top) - 1) != 0)
			continue;
		fputc('\n', out);
		put_comment(out, c);
		fputc('-', out);
		put_key(out, c->object + sizeof(top) - 1);
		fputs(" = ", out);
		put(out, c->wanted);
		fputc('\n', out);
		lines++;
	}
	return lines;
}

/* ---- .link ---- */

static bool is_pci(const char *bus)
{
	unsigned part[4];
	int end = 0;

	return sscanf(bus, "%4x:%2x:%2x.%1x%n", &part[0], &part[1], &part[2], &part[3], &end) ==
		       4 &&
	       !bus[end];
}

/* Of all files that match only the first one counts: the naming of the default one comes along, or
 * the interface would have another name after the next start. */
static void put_link_head(FILE *out, const char *nic, const char *bus)
{
	fprintf(out,
		"# /etc/systemd/network/60-heptap-%s.link: written by `heptap tune export`.\n"
		"# Takes effect when the interface appears, that is at the next start of the "
		"host.\n"
		"[Match]\n"
		"# %s\n",
		nic, nic);
	if (is_pci(bus))
		fprintf(out, "Path=pci-%s\n", bus);
	else
		fprintf(out, "OriginalName=%s\n", nic);
	fputs("\n[Link]\n"
	      "# As in 99-default.link, which does not count for this interface any more.\n"
	      "NamePolicy=keep kernel database onboard slot path\n"
	      "AlternativeNamesPolicy=database onboard slot path\n"
	      "MACAddressPolicy=persistent\n",
	      out);
}

unsigned export_link(FILE *out, const char *nic, const char *bus, const struct tune_change *changes,
		     size_t n)
{
	unsigned lines = 0;

	for (size_t i = 0; i < n; i++) {
		const struct tune_change *c = &changes[i];
		const struct key *k = strcmp(c->nic, nic) == 0 ? key_find(c) : NULL;

		if (!k)
			continue;
		if (!lines++)
			put_link_head(out, nic, bus);
		fputc('\n', out);
		put_comment(out, c);
		fprintf(out, "%s=", k->link);
		put(out, c->wanted);
		fprintf(out, "%s\n", k->unit);
	}
	return lines;
}

/* ---- the unit ---- */

static unsigned put_number(FILE *out, const char *why, const char *key, uint64_t value)
{
	if (!value)
		return 0;
	fprintf(out, "\n# %s\n%s=%" PRIu64 "\n", why, key, value);
	return 1;
}

/* What is lost with the kernel and that no file keeps. */
static unsigned put_apply(FILE *out, const struct export_unit *u, const struct tune_change *changes,
			  size_t n)
{
	unsigned left = 0;

	for (size_t i = 0; i < n; i++) {
		if (changes[i].kind == TUNE_SYSCTL || key_find(&changes[i]))
			continue;
		if (!left++)
			fputs("\n# With all rights and outside of this unit's sandbox, which has "
			      "/proc/sys "
			      "and /sys read-only; a failure\n"
			      "# does not stop the start. It is for what no other file can keep:\n",
			      out);
		fputs("# ", out);
		put(out, changes[i].object);
		fputs(" = ", out);
		put(out, changes[i].wanted);
		fputs(": ", out);
		put(out, changes[i].why[0] ? changes[i].why : "wanted");
		fputc('\n', out);
	}
	if (left)
		fprintf(out, "ExecStartPre=-+%s tune apply -c %s\n", u->program, u->conf);
	return left ? 1 : 0;
}

unsigned export_unit(FILE *out, const struct export_unit *unit, const struct tune_change *changes,
		     size_t n)
{
	unsigned lines = 0;

	fputs("# /etc/systemd/system/heptap.service.d/60-tune.conf: written by `heptap tune "
	      "export`.\n"
	      "[Service]\n",
	      out);
	lines += put_number(out,
			    "a descriptor for each agent over TCP, thread and file of the spool",
			    "LimitNOFILE", unit->open_files);
	fputs("\n# Others go first when memory ends; -1000, never, would let a leak take the host "
	      "down.\nOOMScoreAdjust=-500\n",
	      out);
	fputs("\n# Each thread is one; there are some dozens.\nTasksMax=4096\n", out);
	lines += 2;
	if (unit->memory_high_bytes)
		fprintf(out,
			"\n# Pools, rings and sockets together; when exceeded everything becomes "
			"slow.\n"
			"#MemoryHigh=%" PRIu64 "\n",
			unit->memory_high_bytes);
	return lines + put_apply(out, unit, changes, n);
}
