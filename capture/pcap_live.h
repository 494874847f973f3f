/**
 * @file
 * An interface by libpcap: for what the rings of af_packet.h do not take, such as `any` or link
 * headers that are not Ethernet's. One thread; VLAN tags are in the frame.
 *
 * Opening needs CAP_NET_RAW. Running does not: an interface that went away and returns is taken
 * again by the same handle, unless it has become another kind of interface.
 *
 * Threads: a source belongs to one; pcap_live_stop() may come from any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/bpf.h"
#include "capture/source.h"

struct pcap_live;

struct pcap_live_options {
	const char *interface; /* lives as long as the source */
	uint64_t buffer_bytes;
	bool is_promiscuous;
	struct bpf_wish filter; /* its `dlt`, `interface` and `handle` are not looked at; what it
				   points to lives as long as the source */
};

/** @return HT_OK, or an error after a line in the log; pcap_live_close() it. */
HT_MUST_CHECK int pcap_live_open(struct pcap_live **out, const struct pcap_live_options *o);

/** NULL is fine. */
void pcap_live_close(struct pcap_live *l);

/** The thread: until pcap_live_stop(); then what has come by then is still given, for at most a
 * second. */
void pcap_live_run(struct pcap_live *l, const struct source_ops *ops, void *ctx,
		   struct packet_counters *counters);

/** Threads: any. */
void pcap_live_stop(struct pcap_live *l);
