/* Walk over an object's members until the one is found. */
#include "hep/json.h"

#define MAX_DEPTH 32

struct writer {
	uint8_t *at, *end; /* NULL: what is read is only stepped over */
	bool is_full;
};

static void put(struct writer *w, uint8_t byte)
{
	if (!w->at)
		return;
	if (w->at == w->end)
		w->is_full = true;
	else
		*w->at++ = byte;
}

static void put_utf8(struct writer *w, uint32_t c)
{
	if (c < 0x80) {
		put(w, (uint8_t)c);
	} else if (c < 0x800) {
		put(w, (uint8_t)(0xc0 | c >> 6));
		put(w, (uint8_t)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		put(w, (uint8_t)(0xe0 | c >> 12));
		put(w, (uint8_t)(0x80 | (c >> 6 & 63)));
		put(w, (uint8_t)(0x80 | (c & 63)));
	} else {
		put(w, (uint8_t)(0xf0 | c >> 18));
		put(w, (uint8_t)(0x80 | (c >> 12 & 63)));
		put(w, (uint8_t)(0x80 | (c >> 6 & 63)));
		put(w, (uint8_t)(0x80 | (c & 63)));
	}
}

static void skip_blanks(struct cursor *c)
{
	while (cursor_skip_byte(c, ' ') || cursor_skip_byte(c, '\t') || cursor_skip_byte(c, '\r') ||
	       cursor_skip_byte(c, '\n'))
		;
}

/* Four hex digits. @return the number, or -1. */
static int32_t hex4(struct cursor *c)
{
	int32_t n = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t digit = ascii_lower(cursor_u8(c));

		if (digit >= '0' && digit <= '9')
			n = n << 4 | (digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			n = n << 4 | (digit - 'a' + 10);
		else
			return -1;
	}
	return n;
}

/* Behind "\u". A surrogate without its other half is no character. */
static bool unicode_read(struct cursor *c, struct writer *w)
{
	int32_t n = hex4(c), low;
	struct cursor ahead;

	if (n < 0)
		return false;
	if (n < 0xd800 || n > 0xdfff) {
		put_utf8(w, (uint32_t)n);
		return true;
	}
	ahead = *c;
	if (n < 0xdc00 && cursor_skip_byte(&ahead, '\\') && cursor_skip_byte(&ahead, 'u')) {
		low = hex4(&ahead);
		if (low >= 0xdc00 && low <= 0xdfff) {
			*c = ahead;
			put_utf8(w, 0x10000 + ((uint32_t)(n - 0xd800) << 10) +
					    (uint32_t)(low - 0xdc00));
			return true;
		}
	}
	put_utf8(w, 0xfffd);
	return true;
}

static bool escape_read(struct cursor *c, struct writer *w)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint8_t what = cursor_u8(c);
	const char *hit;

	if (c->failed || what == 0)
		return false;
	if (what == 'u')
		return unicode_read(c, w);
	hit = strchr(from, what);
	if (!hit)
		return false;
	put(w, (uint8_t)to[hit - from]);
	return true;
}

/* Behind the opening quote, to behind the closing one. */
static bool string_read(struct cursor *c, struct writer *w)
{
	while (cursor_left(c) > 0) {
		uint8_t byte = cursor_u8(c);

		if (byte == '"')
			return true;
		if (byte != '\\')
			put(w, byte);
		else if (!escape_read(c, w))
			return false;
	}
	return false;
}

static bool string_skip(struct cursor *c)
{
	struct writer nowhere = { 0 };

	return string_read(c, &nowhere);
}

/* A value that is not wanted, of any kind: brackets are counted, not paired. */
static bool value_skip(struct cursor *c)
{
	unsigned depth = 0;
	int next;

	while ((next = cursor_peek(c)) >= 0) {
		if (depth == 0 && (next == ',' || next == '}'))
			return true;
		(void)cursor_u8(c);
		if (next == '"' && !string_skip(c))
			return false;
		if ((next == '{' || next == '[') && ++depth > MAX_DEPTH)
			return false;
		if ((next == '}' || next == ']') && depth-- == 0)
			return false;
	}
	return false;
}

/* The name of a member; true if it is @p key. */
static bool name_read(struct cursor *c, const char *key, bool *is_key)
{
	uint8_t name[64];
	struct writer w = { name, name + sizeof(name), false };

	skip_blanks(c);
	if (!cursor_skip_byte(c, '"') || !string_read(c, &w))
		return false;
	*is_key = !w.is_full && view_is((struct view){ name, (uint32_t)(w.at - name) }, key);
	skip_blanks(c);
	if (!cursor_skip_byte(c, ':'))
		return false;
	skip_blanks(c);
	return true;
}

int json_unwrap(struct view json, const char *key, uint8_t *out, size_t room, struct view *value)
{
	struct cursor c = cursor_over_view(json);
	struct writer w = { out, out + room, false };
	bool is_key;

	skip_blanks(&c);
	if (!cursor_skip_byte(&c, '{'))
		return HT_ENOTSIP;
	do {
		if (!name_read(&c, key, &is_key))
			return HT_ENOTSIP;
		if (is_key && cursor_skip_byte(&c, '"')) {
			if (!string_read(&c, &w))
				return HT_ENOTSIP;
			*value = (struct view){ out, (uint32_t)(w.at - out) };
			return w.is_full ? HT_EFULL : HT_OK;
		}
		if (!value_skip(&c))
			return HT_ENOTSIP;
		skip_blanks(&c);
	} while (cursor_skip_byte(&c, ','));
	return HT_ENOTSIP;
}
