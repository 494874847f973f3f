/**
 * @file
 * Allocations, counted per thread: `mallocs`. Sanitizers have allocators of their own, where it
 * stays 0. In one file of a program.
 */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(HT_TSAN)
#define COUNTS_MALLOCS false
static __thread uint64_t mallocs; /* stays 0 */
#else
#define COUNTS_MALLOCS true
static __thread uint64_t mallocs;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	mallocs++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	mallocs++;
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	mallocs++;
	return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	mallocs++;
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	mallocs++;
	*out = __libc_memalign(alignment, size);
	return *out ? 0 : ENOMEM;
}
#endif
