/**
 * @file
 * A bounded ring of pointers between one thread that puts and one that takes (C11 atomics, no lock,
 * no wait). Memory: the slots are the ring's, what they point to is not; a pointer that was put
 * belongs to the taker.
 */
#pragma once
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "conf/err.h"

struct ring {
	void **slots;
	size_t mask;					  /* slots - 1, slots a power of two */
	_Atomic size_t tail __attribute__((aligned(64))); /* written by the putting thread */
	_Atomic size_t head __attribute__((aligned(64))); /* written by the taking thread */
};

/* @p slots is a power of two. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK static inline int ring_init(struct ring *r, size_t slots)
{
	r->slots = calloc(slots, sizeof(*r->slots));
	if (!r->slots)
		return -ENOMEM;
	r->mask = slots - 1;
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
	return HT_OK;
}

static inline void ring_fini(struct ring *r)
{
	free(r->slots);
	r->slots = NULL;
}

/* False if it is full; then the pointer is still the caller's. Threads: the putting one. */
HT_MUST_CHECK static inline bool ring_put(struct ring *r, void *item)
{
	size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&r->head, memory_order_acquire) > r->mask)
		return false;
	r->slots[tail & r->mask] = item;
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return true;
}

/* NULL if it is empty. Threads: the taking one. */
static inline void *ring_take(struct ring *r)
{
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	void *item;

	if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
		return NULL;
	item = r->slots[head & r->mask];
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return item;
}
