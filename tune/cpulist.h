/**
 * @file
 * Sets of CPUs, and the two ways in which the kernel writes them: lists ("0-3,8") and masks in
 * hexadecimal, 32 bits a group ("1,00000000").
 * Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

#define CPULIST_MOST 4096

/* Laid out as the kernel's: bit 0 of word 0 is CPU 0 (on 64 bits). */
struct cpulist {
	uint64_t words[CPULIST_MOST / 64];
};

void cpulist_add(struct cpulist *set, unsigned cpu);
bool cpulist_has(const struct cpulist *set, unsigned cpu);
unsigned cpulist_count(const struct cpulist *set);
bool cpulist_is_equal(const struct cpulist *a, const struct cpulist *b);

/** An empty text is an empty set. @return HT_OK or -EINVAL. */
HT_MUST_CHECK int cpulist_parse(const char *text, struct cpulist *out);
HT_MUST_CHECK int cpulist_parse_mask(const char *text, struct cpulist *out);

/** @return HT_OK, or HT_EFULL if @p out is too small. */
HT_MUST_CHECK int cpulist_print(const struct cpulist *set, char *out, size_t size);
