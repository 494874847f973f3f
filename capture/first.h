/**
 * @file
 * Which messages are the first of their kind: those whose key was not seen within the last 31 s of
 * packet time. A fixed array of atomic slots that all receive threads share; sets of eight, each a
 * cache line of its own; pages that were never touched cost nothing.
 *
 * Of threads that see the same key at the same time one is told that it was the first: they choose
 * the same slot, and one of them changes it. (Only if a third one changes the same set between
 * their looks could two be told so.)
 *
 * Source: the capture scripts of Homer 3 and Homer 5, which keep such keys for 31 s.
 */
#pragma once
#include <stdint.h>

#include "conf/err.h"

struct first;
struct memory_use;

#define FIRST_KEEP_S 31

enum first_verdict {
	FIRST_REPEAT,
	FIRST_NEW,
	FIRST_NEW_EVICTED, /* and another was forgotten for it before its time */
};

/** @param bytes  Of memory at most. @return HT_OK or -ENOMEM. first_free() it. */
HT_MUST_CHECK int first_new(struct first **out, uint64_t bytes);
void first_free(struct first *f);

/** Octets that its slots take once all are touched. */
uint64_t first_bytes(const struct first *f);

/** Add what its slots take, judged by a few of its pages: `used` are those that still tell a repeat
 * at @p now_s, s since 1970. Threads: any. */
void first_memory(const struct first *f, uint32_t now_s, struct memory_use *sum);

/** A key will be seen soon: its line of the cache is fetched meanwhile. */
void first_expect(const struct first *f, uint64_t hash);

/**
 * See a key.
 * @param hash  Of the key, seeded. @param at  Its packet's time, s since 1970.
 * Threads: any; no lock, no wait.
 */
enum first_verdict first_see(struct first *f, uint64_t hash, uint32_t at);
