/*
 * The bounded cursor against a model that indexes an array: the first half of the input says what
 * to read, the second half is read. Properties: every value is what the model says; nothing is read
 * or stepped over beyond the end; `failed` is set by the first read that would have passed it and
 * stays; a failed read moves nothing.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hep/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
	const uint8_t *bytes;
	size_t len, at;
	bool failed;
};

/* Where @p n octets begin, or the model's failure. */
static bool model_take(struct model *m, size_t n, size_t *begin)
{
	*begin = m->at;
	if (n > m->len - m->at) {
		m->failed = true;
		return false;
	}
	m->at += n;
	return true;
}

static uint32_t model_number(struct model *m, size_t n)
{
	uint32_t value = 0;
	size_t begin;

	if (!model_take(m, n, &begin))
		return 0;
	for (size_t i = 0; i < n; i++)
		value = value << 8 | m->bytes[begin + i];
	return value;
}

static void view_matches(struct view v, const struct model *m, size_t begin, size_t len)
{
	assert(v.len == len);
	assert(len == 0 || v.at == m->bytes + begin);
}

static void one_read(struct cursor *c, struct model *m, uint8_t op, uint8_t n)
{
	size_t begin, stop, len;
	struct view v;
	bool is_next;

	switch (op % 8) {
	case 0:
		assert(cursor_u8(c) == model_number(m, 1));
		break;
	case 1:
		assert(cursor_u16_be(c) == model_number(m, 2));
		break;
	case 2:
		assert(cursor_u32_be(c) == model_number(m, 4));
		break;
	case 3:
		v = cursor_view(c, n);
		len = model_take(m, n, &begin) ? n : 0;
		view_matches(v, m, begin, len);
		break;
	case 4:
		v = cursor_rest(c);
		view_matches(v, m, m->at, m->len - m->at);
		m->at = m->len;
		break;
	case 5:
		assert(cursor_peek(c) == (m->at < m->len ? m->bytes[m->at] : -1));
		break;
	case 6:
		is_next = m->at < m->len && m->bytes[m->at] == n;
		assert(cursor_skip_byte(c, n) == is_next);
		m->at += is_next;
		break;
	default:
		for (stop = m->at; stop < m->len && m->bytes[stop] != n; stop++)
			;
		v = cursor_until(c, n);
		view_matches(v, m, m->at, stop - m->at);
		m->at = stop < m->len ? stop + 1 : stop;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t half = size / 2 & ~(size_t)1, len = size - half;
	uint8_t *bytes =
		malloc(len ? len : 1); /* its exact size, so that a read beyond it is seen */
	struct cursor c;
	struct model m;

	if (!bytes)
		return 0;
	if (len)
		memcpy(bytes, data + half, len);
	c = cursor_over(bytes, len);
	m = (struct model){ .bytes = bytes, .len = len };
	for (size_t i = 0; i < half; i += 2) {
		one_read(&c, &m, data[i], data[i + 1]);
		assert(c.failed == m.failed);
		assert(cursor_left(&c) == m.len - m.at);
		assert(c.pos <= c.end);
	}
	free(bytes);
	return 0;
}
