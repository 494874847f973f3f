/**
 * @file
 * An interface by rings that are shared with the kernel: TPACKET_V3 of AF_PACKET, one ring for each
 * thread, frames walked where they are. With several rings the kernel spreads packets by their
 * addresses and ports (PACKET_FANOUT_HASH, both directions to the same ring); fragments come as
 * they are, since what the kernel would put together and give up would be in no counter.
 *
 * Opening needs CAP_NET_RAW, running does not: an interface that went away and returns is bound
 * again on the same socket, or, since a socket that shares packets with others cannot be, on one
 * of four that were opened for that; a fifth return needs the right to open another.
 *
 * Threads: a ring belongs to one; af_packet_stop() may come from any. Memory: running allocates
 * nothing.
 */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/source.h"
#include "conf/err.h"

#define AF_PACKET_RINGS_MOST 64
#define AF_PACKET_BLOCK_MOST (256U << 10) /* octets */

struct af_packet;

struct af_packet_options {
	const char *interface; /* not "any" */
	unsigned rings;	       /* 1 to AF_PACKET_RINGS_MOST */
	uint64_t ring_bytes; /* of each; made smaller where the kernel has less, which is logged */
	bool is_promiscuous;
	bool is_by_queue; /* ring r gets what comes by receive queue r - 1; 0: by the last */
	struct sock_fprog filter; /* len 0: everything */
};

/** The kind of link header an interface has. @return a DLT_ number, -EOPNOTSUPP if none that is
 * taken here (libpcap may), -errno. */
HT_MUST_CHECK int af_packet_dlt(const char *interface);

/**
 * Open all rings of an interface; nothing is captured twice, nor before all of them are there.
 *
 * @param out  `rings` of them; af_packet_close() each.
 * @return HT_OK, or -errno after a line in the log.
 */
HT_MUST_CHECK int af_packet_open(struct af_packet **out, const struct af_packet_options *o);

/** NULL is fine. */
void af_packet_close(struct af_packet *a);

/**
 * The thread: until af_packet_stop(); then what has come by then is still given, for at most a
 * second.
 */
void af_packet_run(struct af_packet *a, const struct source_ops *ops, void *ctx,
		   struct packet_counters *counters);

/** Threads: any. */
void af_packet_stop(struct af_packet *a);

/** What the ring takes, in octets. */
uint64_t af_packet_ring_bytes(const struct af_packet *a);
