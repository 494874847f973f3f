/**
 * @file
 * A receive thread's work on one message: parse, decide, row.
 *
 * Run to completion: the thread that took a message from the kernel carries it to a row in its own
 * open block; sealed blocks go to ht-spool through a bounded ring, empty ones come back through
 * another. No lock, no wait, no allocation.
 *
 * Threads: a worker belongs to one receive thread, but for worker_take_sealed() and
 * worker_give_back() (ht-spool) and the counters (any).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "conf/counters.h"
#include "conf/err.h"
#include "hep/cursor.h"

struct agents;
struct block;
struct decide_tables;
struct memory_use;
struct msg;
struct pressure;
struct snapshot;
struct spool;
struct stats_decisions;
struct tally_options;
struct worker;

struct worker_options {
	struct snapshot *const
		*snapshot;	   /* the published pointer; read inside a read-side section */
	const struct spool *spool; /* asked only whether it takes blocks */
	const struct pressure *spool_pressure;
	int spool_fd;	 /* eventfd that wakes ht-spool */
	unsigned blocks; /* in circulation; a power of two */
	uint32_t batch_rows;
	uint64_t batch_us;
	unsigned sources; /* listeners in the configuration, captures behind them */
	struct agents *agents;
	const _Atomic bool *is_off; /* per source: switched off by a person */
	enum conf_compat compat;
	const struct tally_options *tally; /* NULL: nothing is counted for statistics */
	const struct decide_tables *tables;
	unsigned thread; /* its number in the tables */
};

/** @return HT_OK or -ENOMEM. worker_free() it. */
HT_MUST_CHECK int worker_new(struct worker **out, const struct worker_options *options);
void worker_free(struct worker *w);

/** Do rows come of records of this HEP protocol type, other than SIP? Threads: any. */
bool worker_stores_report(uint8_t hep_type);

/** Records by HEP protocol type, 256 of them. */
const counter *worker_types(const struct worker *w);

/** Counters of one source. */
struct source_counters *worker_source(struct worker *w, unsigned source);

/** What was counted for statistics; NULL if nothing is. */
const struct tally_counters *worker_tally(const struct worker *w);

/** Where it counts what it decides. */
void worker_decisions(const struct worker *w, struct stats_decisions *out);

/** Add what its blocks take. Threads: any. */
void worker_memory(const struct worker *w, struct memory_use *sum);

/** Its own: how few blocks are free. */
const struct pressure *worker_pressure(const struct worker *w);

/** The callbacks for a listener, and for whoever else brings HEP; their ctx is the worker. */
struct listener_ops;
extern const struct listener_ops worker_listener_ops;

/** A SIP message as it was seen on the wire: its addresses, transport, time (0: not known) and
 * octets. @p m is changed. Threads: the receive thread, between begin and end of
 * worker_listener_ops. */
void worker_sip_seen(struct worker *w, unsigned source, struct msg *m);

/** RTCP as it was seen on the wire, of which rtcp_kind() says that it is a report. @return false:
 * it is of no call that is known, and nothing was done. Else as worker_sip_seen(). */
HT_MUST_CHECK bool worker_rtcp_seen(struct worker *w, unsigned source, struct msg *m);

/** A HEP packet that was seen on its way to somebody else. @p from_ip: with IPv4 as ::ffff:a.b.c.d.
 * @p ts_us: when; 0: not known. Threads: as above. */
void worker_hep_seen(struct worker *w, unsigned source, struct view packet,
		     const uint8_t from_ip[16], uint64_t ts_us);

/**
 * Its source can wait, as a file can: while @p flag is true, which somebody else may change,
 * nothing is shed by pressure, and a message for which there is no block waits for one. Threads:
 * before the receive thread begins.
 */
void worker_wait_for_blocks(struct worker *w, const _Atomic bool *flag);

/** Are there blocks for some more, and room in the spool? What such a source asks before each
 * batch. Threads: the receive thread. */
bool worker_has_room(struct worker *w);

/** Seal what is open, whatever its age. @return false if sums are left for which there was no
 * block: again later. Threads: the receive thread, at its end. */
bool worker_flush(struct worker *w);

/** The next sealed block, or NULL. Threads: ht-spool. */
struct block *worker_take_sealed(struct worker *w);

/** A block that was appended goes back. Threads: ht-spool. */
void worker_give_back(struct worker *w, struct block *b);
