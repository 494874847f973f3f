/* A slot: the upper half of the hash, and when it was seen. 0: empty. */
#include "capture/first.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "conf/gauge.h"

#define WAYS	   8
#define PAGE_SETS  64 /* sets of a page of 4 KiB */
#define LOOK_PAGES 64 /* of the memory, at most, tell what all of it is used for */

struct set {
	_Atomic uint64_t slot[WAYS];
} __attribute__((aligned(64)));

struct first {
	struct set *sets;
	uint64_t mask; /* sets - 1, sets a power of two */
};

int first_new(struct first **out, uint64_t bytes)
{
	struct first *f = calloc(1, sizeof(*f));
	uint64_t sets = 1;

	if (!f)
		return -ENOMEM;
	while (2 * sets * sizeof(struct set) <= bytes)
		sets *= 2;
	f->mask = sets - 1;
	f->sets = mmap(NULL, sets * sizeof(struct set), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->sets == MAP_FAILED) {
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return HT_OK;
}

void first_free(struct first *f)
{
	if (!f)
		return;
	munmap(f->sets, first_bytes(f));
	free(f);
}

uint64_t first_bytes(const struct first *f)
{
	return (f->mask + 1) * sizeof(struct set);
}

static bool is_alive(uint64_t slot, uint32_t at)
{
	uint32_t seen = (uint32_t)slot, age = at > seen ? at - seen : seen - at;

	return slot != 0 && age <= FIRST_KEEP_S;
}

/* @return how many of its slots are alive; @p is_touched is set if any was ever used. */
static unsigned page_look(const struct first *f, uint64_t first_set, uint64_t sets, uint32_t now_s,
			  bool *is_touched)
{
	unsigned alive = 0;

	for (uint64_t i = 0; i < sets; i++) {
		for (unsigned w = 0; w < WAYS; w++) {
			uint64_t slot = atomic_load_explicit(&f->sets[first_set + i].slot[w],
							     memory_order_relaxed);

			*is_touched |= slot != 0;
			alive += is_alive(slot, now_s);
		}
	}
	return alive;
}

/* Keys are spread evenly, so that pages at even distances are like all others. */
void first_memory(const struct first *f, uint32_t now_s, struct memory_use *sum)
{
	uint64_t sets = f->mask + 1, page = sets < PAGE_SETS ? sets : PAGE_SETS;
	uint64_t pages = sets / page, looked = pages < LOOK_PAGES ? pages : LOOK_PAGES;
	uint64_t alive = 0, touched = 0;

	for (uint64_t i = 0; i < looked; i++) {
		bool is_touched = false;

		alive += page_look(f, i * (pages / looked) * page, page, now_s, &is_touched);
		touched += is_touched;
	}
	sum->used += alive * (pages / looked) * sizeof(f->sets->slot[0]);
	sum->real_used += touched * (pages / looked) * page * sizeof(struct set);
	sum->limit += first_bytes(f);
}

/*
 * The slot of this tag, else the one that is oldest, which an empty one is; of equals the first.
 * That depends on nothing but the set, so that threads with the same key choose alike.
 */
static unsigned slot_choose(struct set *set, uint32_t tag, uint64_t *was)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t slot = atomic_load_explicit(&set->slot[i], memory_order_relaxed);

		if (slot && slot >> 32 == tag) {
			*was = slot;
			return i;
		}
		if (i == 0 || (uint32_t)slot < (uint32_t)*was) {
			oldest = i;
			*was = slot;
		}
	}
	return oldest;
}

void first_expect(const struct first *f, uint64_t hash)
{
	__builtin_prefetch(&f->sets[hash & f->mask], 1);
}

enum first_verdict first_see(struct first *f, uint64_t hash, uint32_t at)
{
	struct set *set = &f->sets[hash & f->mask];
	uint32_t tag = (uint32_t)(hash >> 32);
	uint64_t was = 0;
	unsigned i;

	if (at == 0)
		at = 1; /* an empty slot is 0 */
	do {
		i = slot_choose(set, tag, &was);
		if (was && was >> 32 == tag && is_alive(was, at))
			return FIRST_REPEAT;
	} while (!atomic_compare_exchange_weak_explicit(
		&set->slot[i], &was, (uint64_t)tag << 32 | at, memory_order_relaxed,
		memory_order_relaxed));
	return was >> 32 != tag && is_alive(was, at) ? FIRST_NEW_EVICTED : FIRST_NEW;
}
