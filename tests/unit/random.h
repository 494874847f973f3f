/**
 * @file
 * Random numbers that a seed gives again (splitmix64). Threads: one per state.
 */
#pragma once
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline struct random random_from(uint64_t seed)
{
	return (struct random){ seed };
}

static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* From 0 to @p below - 1. */
static inline uint64_t random_below(struct random *r, uint64_t below)
{
	return random_next(r) % below;
}
