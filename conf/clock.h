/**
 * @file
 * The two clocks, in microseconds. Threads: any.
 */
#pragma once
#include <stdint.h>
#include <time.h>

/* Since 1970, UTC: what is stored. */
static inline uint64_t clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Since some start, never set back: what intervals are measured with. */
static inline uint64_t clock_mono_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
