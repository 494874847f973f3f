/**
 * @file
 * What every source of packets, a ring of the kernel, libpcap or a file, gives to the thread that
 * runs it: frames in batches, by callbacks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/decode.h"
#include "conf/counters.h"

/* What the thread does with them; @p ctx is the worker. */
struct source_ops {
	/* A batch of at least one frame follows; times are wall clock and monotonic. */
	void (*begin)(void *ctx, uint64_t wall_us, uint64_t mono_us);
	/* Valid during the call. */
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
