/**
 * @file
 * Counters: one writer each, which adds without a locked instruction; any thread reads.
 *
 * A set of counters balances: what came in is counted before what became of it, with release
 * stores; a reader takes what became of it first, with acquire loads. So "in - out" is never
 * negative, and 0 at rest.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t counter;

static inline void counter_add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_release);
}

static inline uint64_t counter_get(const counter *c)
{
	return atomic_load_explicit(c, memory_order_acquire);
}

/*
 * What one receive thread counts of one source (a listener of `hep`).
 * X(field, metric, further label, help); the label `source` is added. The order is the one a reader
 * must keep: outcomes first, `received` and `datagrams` last.
 */
#define SOURCE_COUNTERS(X)                                                                         \
	X(not_sip_empty, "heptap_not_sip_total", "reason=\"empty\"",                               \
	  "messages that are not SIP, by reason")                                                  \
	X(not_sip_type, "heptap_not_sip_total", "reason=\"type\"", "")                             \
	X(not_sip_content, "heptap_not_sip_total", "reason=\"content\"", "")                       \
	X(malformed_short, "heptap_malformed_total", "reason=\"short\"",                           \
	  "HEP packets that cannot be read, by reason")                                            \
	X(malformed_version, "heptap_malformed_total", "reason=\"version\"", "")                   \
	X(malformed_length, "heptap_malformed_total", "reason=\"length\"", "")                     \
	X(malformed_chunk, "heptap_malformed_total", "reason=\"chunk\"", "")                       \
	X(malformed_address, "heptap_malformed_total", "reason=\"address\"", "")                   \
	X(malformed_inflate, "heptap_malformed_total", "reason=\"inflate\"", "")                   \
	X(malformed_partial, "heptap_malformed_total", "reason=\"partial\"", "")                   \
	X(malformed_oversize, "heptap_malformed_total", "reason=\"oversize\"", "")                 \
	X(denied_allow, "heptap_denied_total", "reason=\"allow\"",                                 \
	  "HEP packets refused, by reason")                                                        \
	X(denied_key, "heptap_denied_total", "reason=\"key\"", "")                                 \
	X(denied_off, "heptap_denied_total", "reason=\"off\"", "")                                 \
	X(denied_limit, "heptap_denied_total", "reason=\"limit\"", "")                             \
	X(received, "heptap_received_total", "", "messages or HEP records cut from carriers")      \
	X(incomplete_truncated, "heptap_packets_incomplete_total", "reason=\"truncated\"",         \
	  "packets of which a part is missing")                                                    \
	X(carriers, "heptap_carriers_total", "", "packets that carried messages or HEP records")   \
	X(kernel_dropped, "heptap_kernel_dropped_total", "",                                       \
	  "packets the kernel dropped because the receive buffer was full")                        \
	X(datagrams, "heptap_datagrams_total", "", "packets taken from the kernel")                \
	X(odd_chunks, "heptap_hep_chunks_ignored_total", "reason=\"size\"",                        \
	  "HEP chunks not used as they came, by reason")                                           \
	X(twice_chunks, "heptap_hep_chunks_ignored_total", "reason=\"twice\"", "")                 \
	X(tail_bytes, "heptap_hep_tail_bytes_total", "",                                           \
	  "octets behind the end of a HEP packet in its datagram")                                 \
	X(time_absent, "heptap_time_replaced_total", "reason=\"absent\"",                          \
	  "capture times replaced by the arrival time, by reason")                                 \
	X(time_ahead, "heptap_time_replaced_total", "reason=\"ahead\"", "")                        \
	X(no_correlation, "heptap_no_correlation_total", "",                                       \
	  "RTCP, reports and logs that do not say which call they belong to")                      \
	X(closed_end, "heptap_connections_closed_total", "reason=\"end\"",                         \
	  "TCP connections closed, by reason")                                                     \
	X(closed_error, "heptap_connections_closed_total", "reason=\"error\"", "")                 \
	X(closed_framing, "heptap_connections_closed_total", "reason=\"framing\"", "")             \
	X(closed_first_message, "heptap_connections_closed_total", "reason=\"first_message\"", "") \
	X(closed_message, "heptap_connections_closed_total", "reason=\"message\"", "")             \
	X(closed_idle, "heptap_connections_closed_total", "reason=\"idle\"", "")                   \
	X(closed_stop, "heptap_connections_closed_total", "reason=\"stop\"", "")                   \
	X(refused_allow, "heptap_connections_refused_total", "reason=\"allow\"",                   \
	  "TCP connections not taken, by reason")                                                  \
	X(refused_limit, "heptap_connections_refused_total", "reason=\"limit\"", "")               \
	X(connections, "heptap_connections_total", "", "TCP connections taken")

/* What one receive thread counts of its statistics: rows of sums on their way to the database. */
struct tally_counters {
	counter lost;	 /* rows that found no block */
	counter made;	 /* all of them; read after what became of them */
	counter repeats; /* messages that were not the first of their kind */
	counter evicted; /* first copies forgotten before their time */
	counter others;	 /* counted under `other` for want of a place */
} __attribute__((aligned(128)));

#define SHED_CLASSES  5	 /* 1 logs and reports ... 5 INVITE dialogs */
#define SHED_STEPS    16 /* of each class */
#define PRESSURE_MOST (SHED_CLASSES * SHED_STEPS)
enum shed_reason { SHED_MEMORY, SHED_SPOOL, SHED_REASONS };

struct source_counters {
	counter shed[SHED_REASONS][SHED_CLASSES + 1];
	counter rows_made; /* with the block that the row is in; read after what became of rows */
	counter accepted;
	counter filtered, duplicate; /* messages that rules keep out; copies */
#define X(field, metric, label, help) counter field;
	SOURCE_COUNTERS(X)
#undef X
} __attribute__((aligned(128))); /* no cache line is shared by two threads */
