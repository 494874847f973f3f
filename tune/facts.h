/**
 * @file
 * Facts about a host that its tuning depends on, from procfs, sysfs and (on this machine) ethtool.
 * Numbers that cannot be read are -1, never a guess. Nothing is written. Threads: main.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "tune/cpus.h"
#include "tune/interrupts.h"
#include "tune/probe.h"

#define FACTS_NICS   16
#define FACTS_VALUE  96
#define FACTS_QUEUES 1024
#define FACTS_ROOT   256

/* Of a question that may have no answer. */
enum known { UNKNOWN = -1, NO, YES };

struct nic_irq {
	int number;
	char name[IRQ_NAME];
	enum irq_role role;
	int queue; /* of IRQ_RX and IRQ_TX */
	bool has_affinity, has_effective;
	struct cpus affinity, effective;
	enum known is_managed; /* by the kernel: nobody can move it */
};

struct nic_queue {
	bool has_mask;	 /* rps_cpus could be read */
	struct cpus rps; /* that packets of it are spread over */
	bool has_xps;	 /* xps_cpus of the sending queue of that number could be read */
	struct cpus xps; /* that send through it */
};

/* What a NIC's driver answers; -1: nothing. Switches are 0 and 1. */
struct nic_driver {
	char name[32];
	int64_t channels, channels_max; /* combined, or of receiving alone */
	bool is_combined;
	int64_t ring, ring_max; /* receive descriptors */
	int64_t adaptive, usecs;
	int64_t lro, gro, gro_hw, gro_list, udp_gro, rx_hash;
	bool lro_fixed, gro_fixed, gro_hw_fixed, gro_list_fixed, udp_gro_fixed, rx_hash_fixed;
	int64_t pause_rx, pause_tx;
	char udp4_hash[16];	 /* "sd", "sdfn"; empty: unknown */
	enum known is_symmetric; /* receive hash: both directions of a flow get one queue */
};

struct nic {
	char name[16];
	bool exists;
	enum known is_ours;	  /* of our network namespace */
	enum known is_management; /* holds a default route */
	int node;		  /* -1: unknown, or no NUMA */
	int64_t ifindex, mtu, speed_mbit, threaded, rx_dropped, rx_missed, rx_fifo;
	char duplex[16];
	unsigned rx_queues, tx_queues;
	struct nic_queue *queues; /* as many as the larger number of both */
	struct nic_irq *irqs;	  /* of this device only, by number */
	unsigned irq_count;
	struct nic_driver driver;
};

struct softnet {
	uint64_t processed, dropped, squeezed; /* sums over CPUs, since boot */
	bool is_known;
};

/* What a directory of ours is on. */
struct disk {
	char path[256];
	char device[32];   /* as in /sys/block; empty: unknown */
	char kind[16];	   /* of file system */
	char options[256]; /* of the mount and its superblock */
	enum known has_journal;
	enum known rotates;
	unsigned irq_count; /* of its controller; 0: unknown or none */
	struct cpus served; /* CPUs that these come in on */
};

struct facts {
	struct host host;
	struct cpus online, allowed; /* allowed: that we may run on, within cpuset and affinity */
	struct cpus isolated;	     /* isolcpus and nohz_full */
	int nodes;		     /* -1: unknown */
	int16_t node_of[CPUS_MOST];  /* -1: unknown */
	int16_t core_of[CPUS_MOST];  /* lowest sibling that is online; itself where unknown */
	int16_t l3_of[CPUS_MOST];    /* lowest CPU that shares its third-level cache; -1: unknown */
	double cpu_quota;	     /* CPUs worth of time that we get; 0: no limit or unknown */
	char kernel[64];
	struct softnet softnet;
	int64_t swap_bytes, open_files_soft, open_files_hard, locked_bytes, tlb_shootdowns;
	uint64_t rights;	     /* effective capabilities, one bit each */
	bool has_rights;	     /* they could be read */
	bool is_sys_writable;	     /* /proc/sys is not mounted read-only */
	char irqbalance[64];	     /* where it is configured if it runs; empty: it does not */
	char tuned[FACTS_VALUE];     /* active profile of tuned; empty: none */
	char management[16];	     /* NIC of the default route; empty: unknown or none */
	struct nic nics[FACTS_NICS]; /* in the order in which they were asked for */
	unsigned nic_count;
	struct disk spool, database; /* path empty: not asked for */
	char notrack[512]; /* of tune/notrack.h, if somebody asked nft; empty: see notrack_err */
	int notrack_err;
	char root[FACTS_ROOT];
};

/**
 * @param root  "" for this machine, or the directory of a recorded tree; shorter than FACTS_ROOT.
 * @param nics  Names of @p nic_count interfaces; those beyond FACTS_NICS are left out.
 * @param spool, database  Directories on this machine; NULL: there is none.
 *
 * @return facts_free() them; NULL: no memory.
 */
struct facts *facts_read(const char *root, const char *const *nics, unsigned nic_count,
			 const char *spool, const char *database);
void facts_free(struct facts *f);

/** A sysctl, "net/core/rmem_max", without its newline, tabs as blanks. @return false: unknown */
bool facts_sysctl(const struct facts *f, const char *name, char *out, size_t size);

/** Its first number; -1: unknown. */
int64_t facts_sysctl_number(const struct facts *f, const char *name);

/* ---- parts of it, in files of their own ---- */

void facts_read_nic(struct facts *f, const char *name, struct nic *out);
void facts_free_nic(struct nic *nic);
void facts_read_driver(const char *root, const char *nic, struct nic_driver *out);
void facts_read_disk(const char *root, const char *path, struct disk *out);
