/**
 * @file
 * The one place that includes liburcu (flavour urcu-memb), and what ThreadSanitizer has to be told
 * about it: before 0.15 it cannot see inside the library, so publishing, looking up and the grace
 * period are annotated here.
 *
 * Threads: those that server.c starts are registered; nobody else enters a read-side section.
 */
#pragma once
#include <assert.h>
#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#if defined(__SANITIZE_THREAD__)
#define HT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HT_TSAN 1
#endif
#endif

#ifdef HT_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define rcu_tell_release(addr) __tsan_release((void *)(addr))
#define rcu_tell_acquire(addr) __tsan_acquire((void *)(addr))
#else
#define rcu_tell_release(addr) ((void)(addr))
#define rcu_tell_acquire(addr) ((void)(addr))
#endif

extern char rcu_grace; /* its address stands for "a grace period"; never read or written */

/* What follows works on this thread only between these two. */
static inline void rcu_thread_begin(void)
{
	urcu_memb_register_thread();
}

static inline void rcu_thread_end(void)
{
	urcu_memb_unregister_thread();
}

/* A read-side section covers one batch at most and never blocks. */
static inline void rcu_read_begin(void)
{
	urcu_memb_read_lock();
}

static inline void rcu_read_end(void)
{
	rcu_tell_release(&rcu_grace);
	urcu_memb_read_unlock();
}

#define RCU_ASSERT_READING() assert(urcu_memb_read_ongoing())

/* The pointer as it is now; inside a read-side section. */
#define rcu_get(pointer)                                             \
	__extension__({                                              \
		__typeof__(pointer) got_ = rcu_dereference(pointer); \
		rcu_tell_acquire(got_);                              \
		got_;                                                \
	})

/* Publish a new value and return the old one, which readers may still use until a grace period has
 * passed. */
#define rcu_swap(pointer, fresh)                      \
	__extension__({                               \
		__typeof__(pointer) fresh_ = (fresh); \
		rcu_tell_release(fresh_);             \
		rcu_xchg_pointer(&(pointer), fresh_); \
	})

/* Call @p free_it after a grace period, on the thread ht-rcu; it only frees. */
static inline void rcu_retire(struct rcu_head *head, void (*free_it)(struct rcu_head *head))
{
	rcu_tell_release(&rcu_grace);
	urcu_memb_call_rcu(head, free_it);
}

/* The first statement of every callback given to rcu_retire(). */
static inline void rcu_retired(void)
{
	rcu_tell_acquire(&rcu_grace);
}
