/**
 * @file
 * The bounded reader through which every byte from outside is read.
 *
 * Invariant: pos <= end, always. A read that would pass the end moves nothing, returns 0 (or an
 * empty view) and sets `failed`, which stays set: read several fields, test once.
 *
 * Threads: a cursor belongs to the caller; no state behind it. Memory: borrows the bytes, frees
 * nothing.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of somebody else's buffer. `at` may be NULL only if `len` is 0. */
struct view {
	const uint8_t *at;
	uint32_t len;
};

struct cursor {
	const uint8_t *pos; /* next byte; pos <= end */
	const uint8_t *end; /* one past the last byte */
	bool failed;	    /* a read went past the end */
};

static inline struct cursor cursor_over(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	return (struct cursor){ .pos = at, .end = len ? at + len : at, .failed = false };
}

static inline struct cursor cursor_over_view(struct view v)
{
	return cursor_over(v.at, v.len);
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->pos);
}

/* Step over @p n bytes and return where they begin; NULL and `failed` if there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *at = c->pos;

	if (n > cursor_left(c)) {
		c->failed = true;
		return NULL;
	}
	if (n) /* there may be no address to add to, not even 0 */
		c->pos += n;
	return at;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *at = cursor_take(c, 1);

	return at ? at[0] : 0;
}

static inline uint16_t cursor_u16_be(struct cursor *c)
{
	const uint8_t *at = cursor_take(c, 2);

	return at ? (uint16_t)(at[0] << 8 | at[1]) : 0;
}

static inline uint32_t cursor_u32_be(struct cursor *c)
{
	const uint8_t *at = cursor_take(c, 4);

	return at ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
		  : 0;
}

static inline uint32_t cursor_u32_le(struct cursor *c)
{
	return __builtin_bswap32(cursor_u32_be(c));
}

static inline uint16_t cursor_u16_le(struct cursor *c)
{
	return __builtin_bswap16(cursor_u16_be(c));
}

static inline struct view cursor_view(struct cursor *c, size_t n)
{
	const uint8_t *at = cursor_take(c, n);

	return (struct view){ at, at ? (uint32_t)n : 0 };
}

/* Everything that is left. */
static inline struct view cursor_rest(struct cursor *c)
{
	return cursor_view(c, cursor_left(c));
}

/* The next byte without stepping over it, -1 at the end (which is no failure). */
static inline int cursor_peek(const struct cursor *c)
{
	return c->pos < c->end ? *c->pos : -1;
}

/* Step over @p byte if it is next. */
static inline bool cursor_skip_byte(struct cursor *c, uint8_t byte)
{
	if (cursor_peek(c) != byte)
		return false;
	c->pos++;
	return true;
}

/* Bytes up to @p stop, which is stepped over but not part of the view; without one, all that is
 * left. */
static inline struct view cursor_until(struct cursor *c, uint8_t stop)
{
	size_t left = cursor_left(c);
	const uint8_t *at = c->pos;
	const uint8_t *hit = left ? memchr(at, stop, left) : NULL;

	if (!hit)
		return cursor_rest(c);
	c->pos = hit + 1;
	return (struct view){ at, (uint32_t)(hit - at) };
}

/* ---- views ---- */

static inline struct view view_of(const char *text)
{
	return (struct view){ (const uint8_t *)text, (uint32_t)strlen(text) };
}

static inline bool view_is(struct view v, const char *text)
{
	size_t len = strlen(text);

	return v.len == len && (len == 0 || memcmp(v.at, text, len) == 0);
}

static inline uint8_t ascii_lower(uint8_t byte)
{
	return (uint8_t)(byte - 'A') < 26 ? byte | 0x20 : byte;
}

static inline bool view_is_all_nul(struct view v)
{
	for (uint32_t i = 0; i < v.len; i++)
		if (v.at[i])
			return false;
	return true;
}

/* Equal but for the case of ASCII letters; @p lower is written in lower case. */
static inline bool view_is_nocase(struct view v, const char *lower)
{
	size_t len = strlen(lower);

	if (v.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (ascii_lower(v.at[i]) != (uint8_t)lower[i])
			return false;
	return true;
}

/* Does @p inner lie wholly within @p outer? An empty view lies in every view. */
static inline bool view_inside(struct view inner, struct view outer)
{
	uintptr_t a = (uintptr_t)inner.at, b = (uintptr_t)outer.at;

	return inner.len == 0 || (a >= b && a + inner.len <= b + outer.len);
}
