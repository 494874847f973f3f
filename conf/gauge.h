/**
 * @file
 * Octets of something that comes and goes: how many there are, and the most there were. One writer
 * each, which neither locks nor waits; any thread reads.
 */
#pragma once
#include <stdint.h>

#include "conf/counters.h"

struct gauge {
	counter now, most;
};

static inline void gauge_set(struct gauge *g, uint64_t now)
{
	atomic_store_explicit(&g->now, now, memory_order_relaxed);
	if (now > atomic_load_explicit(&g->most, memory_order_relaxed))
		atomic_store_explicit(&g->most, now, memory_order_relaxed);
}

static inline void gauge_add(struct gauge *g, uint64_t n)
{
	gauge_set(g, atomic_load_explicit(&g->now, memory_order_relaxed) + n);
}

static inline void gauge_sub(struct gauge *g, uint64_t n)
{
	gauge_set(g, atomic_load_explicit(&g->now, memory_order_relaxed) - n);
}

/*
 * What owners of memory say of it, in octets: each adds its own to what is there. So the most that
 * several used is the sum of what each used at most, be it at different times.
 */
struct memory_use {
	uint64_t used;	    /* by what is in it now */
	uint64_t real_used; /* taken from the system for it, free places included */
	uint64_t max_used;  /* the most that `used` was; 0: whoever asks has to keep it */
	uint64_t limit;	    /* 0: none in octets */
};

static inline void memory_use_add_gauge(struct memory_use *sum, const struct gauge *g)
{
	sum->used += counter_get(&g->now);
	sum->max_used += counter_get(&g->most);
}
