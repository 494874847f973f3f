/**
 * @file
 * Counting for Homer's statistics and alarms: what the capture scripts of Homer 3 and Homer 5 count
 * of each message, in five minutes of packet time, UTC. A receive thread has a tally of its own,
 * and hands its sums over as rows of a block each second.
 *
 * Memory is fixed. Of user agents, addresses and next hops so many in five minutes have a place of
 * their own, the others are counted under `other`.
 *
 * Threads: a tally belongs to one receive thread; its counters are read by any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/counters.h"
#include "conf/err.h"
#include "hep/cursor.h"

struct block;
struct first;
struct msg;
struct sip;
struct tally;

#define TALLY_ADDRESSES	  1024 /* by method */
#define TALLY_USER_AGENTS 512  /* by method */
#define TALLY_HOPS	  256  /* by code and minute */
#define TALLY_SCANNERS	  256

struct tally_options {
	struct first *first; /* shared by all */
	uint64_t seed;	     /* of hashes; the same for all that share `first` */
	bool is_homer5;	     /* TOTAL, packet_count and packet_size too; ALL is first copies only */
};

/** @return HT_OK or -ENOMEM. tally_free() it. */
HT_MUST_CHECK int tally_new(struct tally **out, const struct tally_options *options);
void tally_free(struct tally *t);

const struct tally_counters *tally_counters(const struct tally *t);

/** Would a message of this time have to push out sums that are not written? Then tally_write()
 * comes first; without, they are lost, and counted as that. */
bool tally_is_full(const struct tally *t, uint64_t ts_us);

/** What tells a message from others of its kind, for tally_count() a little later. */
uint64_t tally_key(const struct tally *t, const struct sip *s);

/** Count a message that was stored. @p source_ip is the text of where it came from. */
void tally_count(struct tally *t, const struct msg *m, const struct sip *s, uint64_t key,
		 struct view source_ip);

/** Is there anything to be written? */
bool tally_has_sums(const struct tally *t);

/** Move sums into a block that holds nothing else, until it is full or nothing is left. */
void tally_write(struct tally *t, struct block *b, uint64_t wall_us);
