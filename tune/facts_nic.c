/* A NIC: where its device sits, its queues and its interrupts. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/facts.h"
#include "tune/files.h"

#define NET   "/sys/class/net/%s"
#define CLIMB 4 /* from a virtio device to its bus device is one step */

/* ---- the device ---- */

/* The file of the first device, from the NIC's upwards, that has it. */
static bool device_path(const char *root, const char *nic, const char *leaf, char *out, size_t size)
{
	char up[3 * CLIMB + 1] = "";

	if (!file_exists(root, NET "/device", nic))
		return false;
	for (int i = 0; i < CLIMB; i++, strcat(up, "../")) {
		snprintf(out, size, NET "/device/%s%s", nic, up, leaf);
		if (file_exists(root, "%s", out))
			return true;
	}
	return false;
}

static int read_node(const char *root, const char *nic)
{
	char path[128];

	return device_path(root, nic, "numa_node", path, sizeof(path))
		       ? (int)file_number(root, "%s", path)
		       : -1;
}

/* ---- queues ---- */

struct queue_list {
	unsigned rx, tx;
};

static void count_queue(void *ctx, const char *name)
{
	struct queue_list *list = ctx;

	list->rx += strncmp(name, "rx-", 3) == 0;
	list->tx += strncmp(name, "tx-", 3) == 0;
}

static void read_queues(struct facts *f, struct nic *nic)
{
	struct queue_list list = { 0 };
	char path[128], text[CPUS_MOST];
	unsigned most;

	snprintf(path, sizeof(path), NET "/queues", nic->name);
	file_list(f->root, path, count_queue, &list);
	nic->rx_queues = list.rx < FACTS_QUEUES ? list.rx : FACTS_QUEUES;
	nic->tx_queues = list.tx < FACTS_QUEUES ? list.tx : FACTS_QUEUES;
	most = nic->rx_queues > nic->tx_queues ? nic->rx_queues : nic->tx_queues;
	nic->queues = calloc(most + 1, sizeof(*nic->queues));
	if (!nic->queues)
		nic->rx_queues = nic->tx_queues = 0;
	for (unsigned q = 0; q < nic->rx_queues; q++)
		nic->queues[q].has_mask =
			file_read(f->root, text, sizeof(text), NET "/queues/rx-%u/rps_cpus",
				  nic->name, q) > 0 &&
			cpus_read_mask(text, &nic->queues[q].rps);
	for (unsigned q = 0; q < nic->tx_queues; q++)
		nic->queues[q].has_xps =
			file_read(f->root, text, sizeof(text), NET "/queues/tx-%u/xps_cpus",
				  nic->name, q) > 0 &&
			cpus_read_mask(text, &nic->queues[q].xps);
}

/* ---- interrupts ---- */

/* The interrupts that the device has. */
struct irq_numbers {
	unsigned count;
	int number[FACTS_QUEUES * 2];
};

static void add_number(void *ctx, const char *name)
{
	struct irq_numbers *list = ctx;
	char *end;
	long n = strtol(name, &end, 10);

	if (*end == '\0' && n >= 0 && n < 1000000 && list->count < FACTS_QUEUES * 2)
		list->number[list->count++] = (int)n;
}

/* The kernel says it in debugfs only, which few may read. */
static enum known is_managed(const char *root, int number)
{
	char text[4096];

	if (file_read(root, text, sizeof(text), "/sys/kernel/debug/irq/irqs/%d", number) <= 0)
		return UNKNOWN;
	return strstr(text, "IRQD_AFFINITY_MANAGED") ? YES : NO;
}

static void read_irq(const char *root, const struct interrupt *in, struct nic_irq *out)
{
	char text[4096];

	*out = (struct nic_irq){ .number = in->number, .is_managed = is_managed(root, in->number) };
	memcpy(out->name, in->name, sizeof(out->name));
	out->role = interrupt_role(in->name, &out->queue);
	out->has_affinity = file_read(root, text, sizeof(text), "/proc/irq/%d/smp_affinity_list",
				      in->number) > 0 &&
			    cpus_read_list(text, &out->affinity);
	out->has_effective = file_read(root, text, sizeof(text),
				       "/proc/irq/%d/effective_affinity_list", in->number) > 0 &&
			     cpus_read_list(text, &out->effective);
}

static bool has_number(const struct irq_numbers *list, int number)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->number[i] == number)
			return true;
	return false;
}

/* A container sees the interrupts of its host: only those that our device claims are looked at. */
static void read_irqs(struct facts *f, struct nic *nic)
{
	struct irq_numbers *list = calloc(1, sizeof(*list));
	char *text = file_read_all(f->root, "/proc/interrupts"), path[128];
	const char *at = text;
	struct interrupt in;

	if (list && text && device_path(f->root, nic->name, "msi_irqs", path, sizeof(path)))
		file_list(f->root, path, add_number, list);
	if (list && list->count)
		nic->irqs = calloc(list->count, sizeof(*nic->irqs));
	while (nic->irqs && nic->irq_count < list->count && interrupts_next(&at, &in))
		if (has_number(list, in.number))
			read_irq(f->root, &in, &nic->irqs[nic->irq_count++]);
	free(text);
	free(list);
}

/* After setns() sysfs may still show another namespace. */
static enum known is_ours(const struct facts *f, const struct nic *nic)
{
	if (f->root[0] || nic->ifindex < 0)
		return UNKNOWN;
	return if_nametoindex(nic->name) == (unsigned)nic->ifindex ? YES : NO;
}

static enum known is_management(const struct facts *f, const struct nic *nic)
{
	if (f->management[0])
		return strcmp(f->management, nic->name) == 0 ? YES : NO;
	return file_exists(f->root, "/proc/net/route") ? NO : UNKNOWN;
}

/* No part of a path, so that it cannot name another file. */
static bool is_name(const char *name)
{
	return name[0] && strlen(name) < IFNAMSIZ && !strchr(name, '/') && name[0] != '.';
}

void facts_read_nic(struct facts *f, const char *name, struct nic *out)
{
	*out = (struct nic){ .node = -1, .is_ours = UNKNOWN, .is_management = UNKNOWN };
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->exists = is_name(name) && file_exists(f->root, NET, name);
	facts_read_driver(f->root, out->exists ? name : "", &out->driver);
	if (!out->exists)
		return;
	out->node = read_node(f->root, name);
	out->ifindex = file_number(f->root, NET "/ifindex", name);
	out->mtu = file_number(f->root, NET "/mtu", name);
	out->speed_mbit = file_number(f->root, NET "/speed", name);
	out->threaded = file_number(f->root, NET "/threaded", name);
	out->rx_dropped = file_number(f->root, NET "/statistics/rx_dropped", name);
	out->rx_missed = file_number(f->root, NET "/statistics/rx_missed_errors", name);
	out->rx_fifo = file_number(f->root, NET "/statistics/rx_fifo_errors", name);
	file_read(f->root, out->duplex, sizeof(out->duplex), NET "/duplex", name);
	out->duplex[strcspn(out->duplex, "\n")] = '\0';
	out->is_ours = is_ours(f, out);
	out->is_management = is_management(f, out);
	read_queues(f, out);
	read_irqs(f, out);
}

void facts_free_nic(struct nic *nic)
{
	free(nic->queues);
	free(nic->irqs);
}
