/* Reasons to say no, from the cheapest to find out to the dearest. */
#include "tune/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tune/files.h"
#include "tune/knobs.h"
#include "tune/managers.h"
#include "tune/notrack.h"
#include "tune/value.h"

#define UPPERS_DEEP  4 /* interfaces on interfaces */
#define PARENTS_MOST 32
#define ENVIRONMENT  32768
#define SAY(...)     (snprintf(why, GUARD_WHY, __VA_ARGS__), false)

/* ---- other programs ---- */

/* SSH_CONNECTION: their address and port, ours and its port. Of a link-local one "%eth0" is no part
 * that an interface has. */
static bool session_parse(const char *text, char out[64])
{
	return sscanf(text, "%*s %*s %63[^% ]", out) == 1;
}

static bool session_of(int pid, char out[64])
{
	static const char name[] = "SSH_CONNECTION=";
	char text[ENVIRONMENT];
	long n = file_read("", text, sizeof(text), "/proc/%d/environ", pid);

	for (const char *at = text; at < text + n; at += strlen(at) + 1)
		if (strncmp(at, name, sizeof(name) - 1) == 0)
			return session_parse(at + sizeof(name) - 1, out);
	return false;
}

static int parent_of(int pid)
{
	char text[512];
	const char *behind; /* the name, which may have blanks */
	int parent = 0;

	if (file_read("", text, sizeof(text), "/proc/%d/stat", pid) <= 0)
		return 0;
	behind = strrchr(text, ')');
	return behind && sscanf(behind, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* sudo(8) takes the variable away from us, and not from those that started it. */
static void session_find(char out[64])
{
	const char *ours = getenv("SSH_CONNECTION");
	int pid = getppid();

	out[0] = '\0';
	if (ours && session_parse(ours, out))
		return;
	for (int i = 0; i < PARENTS_MOST && pid > 1 && !session_of(pid, out); i++)
		pid = parent_of(pid);
}

void guard_init(struct guard *g, const struct guard_options *options)
{
	*g = (struct guard){ .options = options,
			     .irqbalance = process_find(options->root, "irqbalance"),
			     .tuned = process_find(options->root, "tuned") };
	if (!options->root[0])
		session_find(g->session);
}

static bool is_nobody_in_charge(const struct guard *g, const struct tune_change *c, char *why)
{
	char irq[12], where[256];

	if (g->irqbalance && c->kind == TUNE_IRQ && value_irq(c, irq))
		return SAY("irqbalance (process %d) would move it back: give it --banirq=%s, or "
			   "IRQBALANCE_BANNED_CPULIST=%.128s in /etc/default/irqbalance or "
			   "/etc/sysconfig/irqbalance, or stop it",
			   g->irqbalance, irq, c->wanted);
	if (g->tuned && tuned_sets(g->options->root, c, where, sizeof(where)))
		return SAY("tuned (process %d) sets %s: change its profile, or stop tuned",
			   g->tuned, where);
	return true;
}

/* ---- what it is ---- */

/* The interface that a path speaks of, if any. */
static void interface_of(const char *path, char out[16])
{
	static const char *const before[] = { "/sys/class/net/", "/proc/sys/net/ipv4/conf/",
					      "/proc/sys/net/ipv6/conf/" };

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		size_t n = strlen(before[i]);

		if (strncmp(path, before[i], n) == 0)
			snprintf(out, 16, "%.*s", (int)strcspn(path + n, "/"), path + n);
	}
	if (strcmp(out, "all") == 0 || strcmp(out, "default") == 0)
		out[0] = '\0';
}

static bool is_well_formed(const struct tune_change *c, char *why)
{
	static const char *const tops[] = { [TUNE_IRQ] = "/proc/irq/",
					    [TUNE_QUEUE] = "/sys/class/net/",
					    [TUNE_SYSCTL] = "/proc/sys/" };
	char nic[16], irq[12];

	if (strchr(c->nic, '/') || strcmp(c->nic, ".") == 0 || strcmp(c->nic, "..") == 0 ||
	    strstr(c->object, "..") || !c->wanted[0] || strpbrk(c->wanted, "\n"))
		return SAY("not a change that makes sense");
	if (c->kind == TUNE_TABLE)
		return (!c->nic[0] && strcmp(c->object, NOTRACK_OBJECT) == 0) ||
		       SAY("not a table of ours");
	if (c->kind == TUNE_ETHTOOL) {
		size_t n = strlen(c->nic);

		return (n && strncmp(c->object, c->nic, n) == 0 && c->object[n] == '/') ||
		       SAY("it does not say which interface it is of");
	}
	interface_of(c->object, nic);
	if (strncmp(c->object, tops[c->kind], strlen(tops[c->kind])) != 0 ||
	    strcmp(nic, c->kind == TUNE_IRQ ? "" : c->nic) != 0)
		return SAY("it does not belong to what it says");
	return c->kind != TUNE_IRQ || (value_irq(c, irq) && c->nic[0]) ||
	       SAY("not an interrupt of an interface");
}

static bool is_known(const struct tune_change *c, char *why)
{
	const struct knob *k = knob_find(c->object);

	if (!k)
		return SAY("not a setting that heptap knows");
	return k->verdict == KNOB_START || k->verdict == KNOB_FULL ||
	       SAY("%s: %s", verdict_name(k->verdict), k->reason);
}

/* ---- interfaces ---- */

static bool is_named(const struct guard_options *o, const char *nic)
{
	for (size_t i = 0; i < o->interfaces_count; i++) {
		if (strcmp(o->interfaces[i], nic) == 0)
			return true;
	}
	return false;
}

/* The line of a default route names it: IPv4 first, IPv6 last. */
static bool has_default_route(const char *root, const char *nic)
{
	char *text, *line, *rest, name[17], to[33], mask[17], length[3];
	bool has = false;

	rest = text = file_read_all(root, "/proc/net/route");
	while ((line = strsep(&rest, "\n")))
		has |= sscanf(line, "%16s %16s %*s %*s %*s %*s %*s %16s", name, to, mask) == 3 &&
		       strcmp(to, "00000000") == 0 && strcmp(mask, "00000000") == 0 &&
		       strcmp(name, nic) == 0;
	free(text);
	rest = text = file_read_all(root, "/proc/net/ipv6_route");
	while ((line = strsep(&rest, "\n")))
		has |= sscanf(line, "%32s %2s %*s %*s %*s %*s %*s %*s %*s %16s", to, length,
			      name) == 3 &&
		       strspn(to, "0") == 32 && strcmp(length, "00") == 0 && strcmp(name, nic) == 0;
	free(text);
	return has;
}

static bool has_address(const char *nic, const char *address)
{
	char text[INET6_ADDRSTRLEN];
	struct ifaddrs *list;
	bool has = false;

	if (!address[0] || getifaddrs(&list) < 0)
		return false;
	for (struct ifaddrs *a = list; a; a = a->ifa_next) {
		const void *at = NULL;

		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET)
			at = &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr;
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET6)
			at = &((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr;
		has |= at && strcmp(a->ifa_name, nic) == 0 &&
		       inet_ntop(a->ifa_addr->sa_family, at, text, sizeof(text)) &&
		       strcmp(text, address) == 0;
	}
	freeifaddrs(list);
	return has;
}

struct climb {
	const struct guard *guard;
	int deep;
	bool is;
};

static bool is_management(const struct guard *g, const char *nic, int deep);

static void look_at_upper(void *ctx, const char *name)
{
	struct climb *c = ctx;

	if (!c->is && strncmp(name, "upper_", 6) == 0 && strlen(name) < 6 + 16)
		c->is = is_management(c->guard, name + 6, c->deep - 1);
}

/* It, or a bridge, bond or VLAN that is on it. */
static bool is_management(const struct guard *g, const char *nic, int deep)
{
	struct climb c = { .guard = g, .deep = deep };
	char path[64];

	if (has_default_route(g->options->root, nic) || has_address(nic, g->session))
		return true;
	snprintf(path, sizeof(path), "/sys/class/net/%.16s/", nic);
	if (deep)
		file_list(g->options->root, path, look_at_upper, &c);
	return c.is;
}

/* Its address as both sides tell it; indices may be the same by chance. */
static bool is_same_address(const char *nic)
{
	char path[64], shown[32], asked[32];
	struct ifreq request = { 0 };
	const unsigned char *a = (const unsigned char *)request.ifr_hwaddr.sa_data;
	int fd, err;

	snprintf(path, sizeof(path), "/sys/class/net/%.16s/address", nic);
	if (file_value("", path, shown, sizeof(shown)) != 17)
		return true; /* none, or not of Ethernet */
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", nic);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	err = fd < 0 ? -1 : ioctl(fd, SIOCGIFHWADDR, &request);
	if (fd >= 0)
		close(fd);
	snprintf(asked, sizeof(asked), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3],
		 a[4], a[5]);
	return err == 0 && strcmp(shown, asked) == 0;
}

/*
 * sysfs shows the interfaces of the namespace that it was mounted in, sockets see those of ours:
 * after setns(2) these are two, and a write would hit somebody else's interface.
 */
static bool is_of_our_namespace(const char *root, const char *nic)
{
	char path[64], text[16];
	unsigned index = if_nametoindex(nic);

	if (root[0])
		return true;
	snprintf(path, sizeof(path), "/sys/class/net/%.16s/ifindex", nic);
	return index && file_value(root, path, text, sizeof(text)) > 0 &&
	       strtoul(text, NULL, 10) == index && is_same_address(nic);
}

/* Its number is among those of the interface's device, or of the device that that one is on. */
static bool is_interrupt_of(const char *root, const char *nic, const char *irq)
{
	static const char *const places[] = { "device", "device/.." };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (file_exists(root, "/sys/class/net/%.16s/%s/msi_irqs/%s", nic, places[i], irq))
			return true;
	return false;
}

static bool is_interface_ours(const struct guard *g, const struct tune_change *c, char *why)
{
	const struct guard_options *o = g->options;
	char path[64], index[16], irq[12];

	if (!c->nic[0])
		return true;
	if (!is_named(o, c->nic))
		return SAY("%s is not named in the configuration", c->nic);
	snprintf(path, sizeof(path), "/sys/class/net/%s/ifindex", c->nic);
	if (file_value(o->root, path, index, sizeof(index)) < 0)
		return SAY("%s: no such interface in /sys", c->nic);
	if (!is_of_our_namespace(o->root, c->nic))
		return SAY(
			"%s in /sys is of another network namespace: mount /sys anew in this one",
			c->nic);
	if (!o->may_touch_management && is_management(g, c->nic, UPPERS_DEEP))
		return SAY("%s is what this host is reached by: set tune.allow_mgmt_nic if that is "
			   "meant",
			   c->nic);
	return c->kind != TUNE_IRQ || !value_irq(c, irq) || is_interrupt_of(o->root, c->nic, irq) ||
	       SAY("interrupt %s is not of %s", irq, c->nic);
}

bool guard_allows_undo(const struct guard *g, const struct tune_change *c, char *why)
{
	return is_well_formed(c, why) && is_known(c, why) && is_interface_ours(g, c, why);
}

bool guard_allows(const struct guard *g, const struct tune_change *c, char *why)
{
	return guard_allows_undo(g, c, why) && is_nobody_in_charge(g, c, why);
}
