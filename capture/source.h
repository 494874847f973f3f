/**
 * @file
 * What every source of packets, a ring of the kernel, libpcap or a file, gives to the thread that
 * runs it: frames in batches, by callbacks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"

/* A frame as it was on the wire; valid during the call. */
struct captured {
	const uint8_t *bytes; /* the link header is the first */
	uint32_t len;	      /* octets at `bytes` */
	uint32_t wire_len;    /* octets that there were; more than `len` if it was cut */
	int dlt;	      /* kind of the link header, a DLT_ number of libpcap */
	bool has_vlan;	      /* the kernel took out the outer VLAN tag, which was: */
	uint16_t vlan_tpid, vlan_tci;
	uint64_t ts_us; /* since 1970, UTC; 0: not known */
};

/* What the thread does with them; @p ctx is the worker. */
struct source_ops {
	/* A batch of at least one frame follows; times are wall clock and monotonic. */
	void (*begin)(void *ctx, uint64_t wall_us, uint64_t mono_us);
	void (*frame)(void *ctx, const struct captured *c);
	/* The batch is over. */
	void (*end)(void *ctx);
	/* Each time round: finish what is due. True if more will be due soon. */
	bool (*tend)(void *ctx, uint64_t mono_us);
};

/*
 * Of one source and thread. At rest seen = delivered + kernel_dropped; a reader takes the two
 * before `seen`.
 */
struct packet_counters {
	counter kernel_dropped; /* the ring was full */
	counter delivered;	/* given to source_ops.frame */
	counter seen;		/* passed the filter */
	counter freezes;	/* times that the ring became full */
} __attribute__((aligned(128)));
