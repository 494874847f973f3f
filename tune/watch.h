/**
 * @file
 * What a host says about itself while the server runs, to be shown and to be compared with what was
 * planned: softnet, drops of sockets and NICs, files, connection tracking, where interrupts and
 * threads are, memory, pressure, limits of the cgroup. Nothing is written.
 *
 * All of it is read at once into a struct watch_reading; a number that cannot be read is
 * WATCH_UNKNOWN and shown nowhere. Counters are the host's, since boot, of the network namespace
 * of the process where they are of the network.
 * Threads: one that reads; the rest is pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "tune/facts.h"
#include "tune/placed.h"
#include "tune/watch_text.h"
#include "tune/watch_values.h"

#define WATCH_THREADS PLACED_THREADS
#define WATCH_QUEUES  128 /* of a NIC; those behind them are not looked at */
#define WATCH_NAME    16

/* ---- numbers that are there once ---- */

enum watch_value {
#define X(id, file, section, name, scale, metric, label) V_##id,
	WATCH_VALUES_LIST(X)
#undef X
		WATCH_VALUES
};

/* ---- what is planned: where threads and interrupts are to be ---- */

struct watch_thread_place {
	char name[WATCH_NAME];
	struct cpus where;
};

struct watch_irq_place {
	int number, queue;
	char name[IRQ_NAME];
	int cpu; /* -1: any */
};

struct watch_nic_place {
	char name[WATCH_NAME];
	unsigned irq_count;
	struct watch_irq_place irqs[WATCH_QUEUES]; /* of receiving queues */
};

struct watch_place {
	unsigned thread_count, nic_count;
	struct watch_thread_place threads[WATCH_THREADS];
	struct watch_nic_place nics[FACTS_NICS];
};

/**
 * What there is at the moment, taken for the plan: the affinity of each thread of the process, and
 * the CPU of each interrupt of a receiving queue of the NICs in @p f that are ours, if it has one
 * CPU and a capture thread (ht-cap-) has. Nothing else says that somebody placed them.
 */
void watch_place_take(const struct facts *f, struct watch_place *out);

/* ---- one reading ---- */

struct watch_cpu {
	bool has_softnet, has_ticks;
	int64_t softnet[SOFTNET_EVENTS];
	int64_t net_rx;	       /* softirqs */
	uint64_t softirq, all; /* ticks */
};

enum nic_event {
	NIC_PACKETS,
	NIC_DROPPED,
	NIC_MISSED,
	NIC_FIFO,
	NIC_OVER,
	NIC_NO_HANDLER,
	NIC_EVENTS
};

/* Drops that only the driver knows, by its own name for them; '#' is the number of a queue, over
 * which they are added. */
#define WATCH_DRIVER_LIST(X)      \
	X("rx_no_dma_resources")  \
	X("rx_out_of_buffer")     \
	X("rx_no_buffer_count")   \
	X("rx_missed_errors")     \
	X("rx_missed")            \
	X("rx_discards_phy")      \
	X("rx_discards")          \
	X("rx_drops")             \
	X("port.rx_dropped")      \
	X("alloc_rx_buff_failed") \
	X("rx_alloc_fail")        \
	X("rx_queue_#_drops")     \
	X("rx#_drops")            \
	X("rx_queue_#_alloc_fail")

enum {
#define X(name) +1
	WATCH_DRIVER_COUNT = 0 WATCH_DRIVER_LIST(X)
#undef X
};

struct watch_irq {
	int64_t all, there; /* there: on the CPU of the plan */
};

struct watch_nic {
	int64_t event[NIC_EVENTS];
	int64_t driver[WATCH_DRIVER_COUNT];
	int64_t queue_packets[WATCH_QUEUES];
	struct watch_irq irqs[WATCH_QUEUES]; /* as in the place */
	int64_t ring_dropped;		     /* by the rings that capture from it; of the caller */
};

struct watch_thread {
	char name[WATCH_NAME];
	int64_t cpu, voluntary, involuntary, migrations;
};

struct watch_reading {
	uint64_t at_us; /* monotonic; 0: nothing was read */
	int64_t value[WATCH_VALUES];
	struct watch_cpu cpu[CPUS_MOST];
	struct watch_nic nics[FACTS_NICS]; /* as in the place */
	unsigned thread_count;
	struct watch_thread threads[WATCH_THREADS];
};

struct watch;

/**
 * @param root   "" for this machine.
 * @param place  Copied. NICs are read by it.
 * @return HT_OK or -ENOMEM; watch_free() it.
 */
HT_MUST_CHECK int watch_new(struct watch **out, const char *root, const struct watch_place *place);
void watch_free(struct watch *w);
const struct watch_place *watch_place(const struct watch *w);

/** Read all of it; the first time what is there and cannot be read is said in the log, once. */
void watch_read(struct watch *w, uint64_t now_us, struct watch_reading *out);

/** Statistics of a driver, by name; names that are on no list are passed over. */
void watch_driver_take(const char *name, uint64_t value, struct watch_nic *out);
/* All that the driver of a NIC has. -1 for each number without it. */
void watch_driver_read(const char *nic, struct watch_nic *out);

/** As Prometheus text. */
void watch_print(const struct watch_reading *r, const struct watch_place *place, FILE *to);
