/**
 * @file
 * Sets of CPUs as the kernel writes them: lists ("0-3,8"), masks ("00000000,000000ff").
 * Threads: pure; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPUS_MOST 4096

/* Laid out as the kernel's: bit 0 of word 0 is CPU 0. */
struct cpus {
	uint64_t bits[CPUS_MOST / 64];
};

static inline bool cpus_has(const struct cpus *c, unsigned cpu)
{
	return cpu < CPUS_MOST && (c->bits[cpu / 64] >> cpu % 64 & 1);
}

static inline void cpus_add(struct cpus *c, unsigned cpu)
{
	if (cpu < CPUS_MOST)
		c->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

static inline void cpus_remove(struct cpus *c, unsigned cpu)
{
	if (cpu < CPUS_MOST)
		c->bits[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
}

unsigned cpus_count(const struct cpus *c);
bool cpus_equal(const struct cpus *a, const struct cpus *b);

/** Lowest CPU that is at least @p from. @return -1: there is none. */
int cpus_next(const struct cpus *c, unsigned from);

static inline int cpus_first(const struct cpus *c)
{
	return cpus_next(c, 0);
}

struct cpus cpus_and(const struct cpus *a, const struct cpus *b);
struct cpus cpus_minus(const struct cpus *a, const struct cpus *b);

/**
 * Read a whole text, blanks and a newline at its end allowed. An empty one is the empty set.
 *
 * @return false: it is no list (mask), or names a CPU from CPUS_MOST on; then @p out is empty.
 */
bool cpus_read_list(const char *text, struct cpus *out);
bool cpus_read_mask(const char *text, struct cpus *out);

/** A list; "none" if it is empty. What does not fit ends with "...". @return @p out */
const char *cpus_print(const struct cpus *c, char *out, size_t size);

/** A mask as sysfs takes it: groups of 32 bits, as many as the highest CPU needs. @return @p out */
const char *cpus_print_mask(const struct cpus *c, char *out, size_t size);
