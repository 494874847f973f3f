/**
 * @file
 * From frame to message: what a source gives is decoded, put together from fragments, segments and
 * chunks, and handed to the worker as SIP or HEP. Every packet ends exactly once:
 *
 *     seen = kernel_dropped + not_for_us + held + incomplete + carriers
 *
 * A packet of a datagram that was put together ends as that datagram does. What TCP and SCTP put in
 * order is a carrier when its octets were handed on, whether a message was in them or not.
 *
 * Threads: one capture thread each; the fragments are shared by those of a source; any may read the
 * counters. Memory: taken when it is made.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/source.h"
#include "conf/err.h"
#include "hep/cursor.h"

struct conf_capture;
struct fragments;
struct memory_use;
struct msg;
struct packets;
struct stats_packets;
struct worker;

/* Who takes what is found: begin and end around each batch, tend now and then. Its sip and hep are
 * worker_sip_seen() and worker_hep_seen() of worker.h. */
struct packets_taker {
	void (*begin)(void *ctx, uint64_t wall_us, uint64_t mono_us);
	void (*sip)(void *ctx, unsigned source, struct msg *m);
	void (*hep)(void *ctx, unsigned source, struct view packet, const uint8_t from_ip[16],
		    uint64_t ts_us);
	void (*end)(void *ctx);
	bool (*tend)(void *ctx, uint64_t mono_us);
};

struct packets_options {
	struct worker *worker;		 /* of this thread; NULL: there is another taker */
	unsigned source;		 /* the worker's number of it */
	const struct conf_capture *conf; /* ports, hep_ports, bpf; lives as long */
	struct fragments *fragments;
	uint64_t memory; /* octets for flows of TCP and messages of SCTP */
	const struct packets_taker *taker;
	void *taker_ctx;
};

/** @return HT_OK, -ENOMEM or -EINVAL. packets_free() it. */
HT_MUST_CHECK int packets_new(struct packets **out, const struct packets_options *options);

/** NULL is fine. */
void packets_free(struct packets *p);

/** The table that threads of a source share, of about @p memory octets. @return as
 * fragments_new(). */
HT_MUST_CHECK int packets_fragments_new(struct fragments **out, uint64_t memory);

/** For af_packet_run() and pcap_live_run(); their ctx is the struct packets, their counters are
 * packets_counters(). */
extern const struct source_ops packets_live_ops;

/** For pcap_file_batch(), which counts nothing by itself. */
extern const struct source_ops packets_file_ops;

struct packet_counters *packets_counters(struct packets *p);

/** A frame that the filter of a file does not take: it counts as not for us. Threads: its own. */
void packets_filtered(struct packets *p);

/** Nothing more will come: give up what is not whole. Threads: its own, outside of a batch. */
void packets_drain(struct packets *p);

/** Add what it puts together in, but for fragments. Threads: any. */
void packets_memory(const struct packets *p, struct memory_use *sum);

/** What became of the packets of a source. @p all: those of its threads. Threads: any. */
void packets_sum(struct packets *const *all, unsigned count, const struct fragments *fragments,
		 struct stats_packets *out);
