/**
 * @file
 * The numbers of the whole process in one place: sums over threads, taken so that the accounting
 * lines hold.
 *
 *     packets:  seen = kernel_dropped + not_for_us + held + incomplete + carriers
 *     messages: received = not_sip + malformed + denied + filtered + duplicate + shed + accepted
 *     rows:     rows_made + recovered + rewound = stored + rejected + in_memory + in_spool + lost
 *
 * and a fourth of the rows of sums that statistics are made of.
 *
 * Outcomes are read before what they are outcomes of, so that no difference is ever negative, and
 * each is 0 at rest. Threads: main.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/conf.h"
#include "conf/counters.h"
#include "conf/rules.h"
#include "storage/calls.h"
#include "storage/rcu_table.h"
#include "storage/rotate.h"
#include "storage/seen.h"
#include "storage/writer.h"

struct agents;
struct notify;
struct spool;

#define STATS_MAX_THREADS  96
#define STATS_MAX_ENDS	   48 /* of packets */
#define STATS_MAX_EVENTS   64
#define STATS_MAX_MEMORY   16
#define STATS_TABLES	   3
#define STATS_MAX_FINDINGS 24
#define STATS_FINDING_TEXT 400

/* Packets of one source that captures:
 * seen = kernel_dropped + not_for_us + held + incomplete + carriers. */
struct stats_packets {
	uint64_t seen, kernel_dropped, held, carriers, freezes;
	unsigned end_count, event_count;
	struct {
		const char *reason;
		bool is_incomplete; /* else it is not for us */
		uint64_t count;
	} end[STATS_MAX_ENDS];
	struct {
		const char *name; /* "tcp_gaps" */
		uint64_t count;
	} event[STATS_MAX_EVENTS];
	/* of what TCP carried: messages that were received and are malformed */
	uint64_t malformed_partial, malformed_oversize;
};

/* What one receive thread decided; arrays are by number of the rule. */
struct stats_decisions {
	const counter *hits, *filtered, *media_found, *unsure;
	const struct seen_counters *seen;
	const struct call_counters *calls;
	const struct leg_counters *legs;
};

/* Octets of one part of the process; `limit` is what it may have. */
struct stats_memory {
	const char *group;
	uint64_t used;	    /* by what is in it now */
	uint64_t real_used; /* taken from the system for it, free places included */
	uint64_t max_used;  /* the most that `used` was */
	uint64_t limit;	    /* 0: none in octets */
	bool is_high;	    /* used passed 80 % of the limit, and is not below 70 % since */
};

/* What may be wrong with the host. */
struct stats_finding {
	const char *name;
	bool is_on;
	char text[STATS_FINDING_TEXT]; /* as it was when it began */
};

/* Where the numbers are. Set up before threads start, then constant. */
struct stats_sources {
	unsigned source_count, worker_count, writer_count;
	const char *source_name[CONF_MAX_SOURCES];
	/* @return false if that one does not capture; else @p out is filled */
	bool (*packets)(void *ctx, unsigned source, struct stats_packets *out);
	const struct source_counters *(*source)(void *ctx, unsigned worker, unsigned source);
	void *ctx;
	const struct spool *spool;
	struct writer *const *writers;
	const struct rotate_counters *rotate;
	const char *node;
	const struct layout *layout;
	const counter *(*types)(void *ctx, unsigned worker);
	/* @return NULL if nothing is counted for statistics */
	const struct tally_counters *(*tally)(void *ctx, unsigned worker);
	void (*decisions)(void *ctx, unsigned worker, struct stats_decisions *out);
	const struct rules *rules;
	struct {
		const char *name;
		const struct rcu_table *table;
	} table[STATS_TABLES];
	struct writer *statistics_writer; /* NULL: none */
	uint64_t first_bytes;		  /* reserved to recognise first copies */
	unsigned (*pressure)(void *ctx, enum shed_reason reason); /* 0 to PRESSURE_MOST */
	uint64_t started_us;					  /* wall clock */
	/* fills at most STATS_MAX_MEMORY, @return how many; NULL: nobody asks for it */
	unsigned (*memory)(void *ctx, struct stats_memory *out);
	unsigned thread_count;
	struct {
		const char *name;
		clockid_t cpu;
	} thread[STATS_MAX_THREADS];
	/* Prometheus text of the host, and what is wrong with it: fills at most
	 * STATS_MAX_FINDINGS. NULL: nobody looks. */
	void (*host)(void *host_ctx, FILE *to);
	unsigned (*findings)(void *host_ctx, struct stats_finding *out);
	void *host_ctx;
	const _Atomic bool *is_receiving;
	struct agents *agents;
	struct notify *notify; /* who is told of events */
	/* what a person can ask for; ctx as above */
	struct {
		/* @return false if there is no such source */
		bool (*capture)(void *ctx, const char *name, bool on);
		/* @return HT_OK, or an error with what is wrong in @p complaints */
		int (*reload)(void *ctx, FILE *complaints);
	} control;
};

struct stats_source {
	uint64_t shed[SHED_REASONS][SHED_CLASSES + 1];
	uint64_t rows_made, accepted, filtered, duplicate;
	uint64_t not_for_us, held, incomplete; /* packets */
#define X(field, metric, label, help) uint64_t field;
	SOURCE_COUNTERS(X)
#undef X
};

/* Rows of sums: made + recovered + rewound = stored + in_memory + in_spool + lost. */
struct stats_deltas {
	uint64_t made, recovered, rewound, stored, in_memory, in_spool;
	uint64_t lost_memory, lost_damage, lost_shutdown, lost_spool;
	uint64_t appended, repeats, evicted, others;
	unsigned unread; /* streams of earlier starts that are not counted in in_spool yet */
	bool is_up;
};

struct stats {
	struct stats_deltas deltas;
	struct stats_source source[CONF_MAX_SOURCES];
	bool is_capture[CONF_MAX_SOURCES];
	struct stats_packets packets[CONF_MAX_SOURCES];
	struct stats_source all;
	uint64_t stored, rejected; /* sums of the next two */
	uint64_t unrouted;	   /* of the stored ones */
	uint64_t stored_in[PLACE_COUNT], rejected_for[REJECT_REASON_COUNT];
	uint64_t types[256];			       /* records by HEP protocol type */
	uint64_t hits[RULES_MAX], filtered[RULES_MAX]; /* by rule */
	uint64_t again, crowded;
	uint64_t unsure, media_found;
	uint64_t legs_joined, legs_refused, legs_unsure;
	uint64_t calls[CALL_STATES], calls_failed[CALL_FAIL_CLASSES];
	uint64_t dial_delays, dial_delay_us, talks, talk_us;
	struct rcu_table_sums table[STATS_TABLES];
	uint64_t lost_damage, lost_shutdown, recovered, rewound;
	uint64_t rows_appended, blocks_appended, torn_bytes, spool_bytes;
	uint64_t in_memory, in_spool;
	uint64_t transactions, retries;
	uint64_t clipped[ROW_TEXT_COUNT], repaired[ROW_TEXT_COUNT];
	uint64_t latency[WRITER_LATENCY_BUCKETS], latency_sum_us;
	double pressure[SHED_REASONS]; /* 0 to 1 */
	struct stats_memory memory[STATS_MAX_MEMORY];
	unsigned memory_count;
	struct stats_finding findings[STATS_MAX_FINDINGS];
	unsigned finding_count;
	bool is_db_up, is_spool_ok, has_spool_reserve;
	unsigned unread; /* streams of earlier starts that are not counted in in_spool yet */
};

void stats_take(const struct stats_sources *from, struct stats *out);

/** What the process has in memory, all of it; 0 if that cannot be known. */
uint64_t stats_resident_bytes(void);
