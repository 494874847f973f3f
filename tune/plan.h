/**
 * @file
 * What the configuration leaves open is decided here: a pure function from facts and wishes to a
 * plan. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct host;

/* 0: to be decided. */
struct plan_wish {
	unsigned hep_threads, writers;
	unsigned cap_threads;	 /* that capture packets; 0: none */
	bool is_daily;		 /* layout homer5: SIP goes to three tables at once */
	unsigned hep_sockets;	 /* addresses that each receive thread listens on */
	uint64_t memory;	 /* octets */
	uint64_t block_bytes;	 /* octets a block may take */
	uint64_t messages_per_s; /* HEP expected in all; 0: 20,000 for each thread */
};

struct plan {
	unsigned hep_threads;	/* 1..64 */
	unsigned writers;	/* 1..8; the most that get rows, fewer if tables ask for that */
	uint64_t socket_buffer; /* effective octets wanted of each receive buffer */
	unsigned blocks;	/* per thread that receives or captures; a power of two */
};

void plan_make(const struct host *host, const struct plan_wish *wish, struct plan *out);

/* A table of entries in memory. */
struct plan_table {
	uint64_t entries;     /* wished; then those that it gets */
	uint64_t entry_bytes; /* that one costs, all in all; at least 1 */
};

#define PLAN_TABLES_MOST 8
#define PLAN_TABLE_LEAST 1024 /* entries that a table keeps, or all it wished if that is less */

/**
 * Half of `memory` is what all tables may take together: if they wish more, each gets the same part
 * of what it wished, but not less than PLAN_TABLE_LEAST entries, which the others make up for.
 *
 * @param memory  Octets. @param count  At most PLAN_TABLES_MOST.
 * @return false if even the least of all of them is more than that.
 */
bool plan_tables(uint64_t memory, struct plan_table *tables, unsigned count);

/**
 * Octets of a ring for packets of an interface: what comes in half a second, within a sixteenth of
 * the memory for all rings together.
 *
 * @param threads  Each with a ring; at least 1.
 * @param packets_per_s  In all; 100,000 for a mirror port of 1 Gbit/s.
 */
uint64_t plan_ring(const struct host *host, unsigned threads, uint64_t packets_per_s);
