/* JSON, as far as one string of the outermost object needs it. No recursion: what is nested deeper
 * is walked over with a bit per level. */
#include "hep/json.h"

#define REPLACEMENT 0xfffd /* for half a surrogate pair */

static void blanks_skip(struct cursor *c)
{
	while (cursor_skip_byte(c, ' ') || cursor_skip_byte(c, '\t') || cursor_skip_byte(c, '\r') ||
	       cursor_skip_byte(c, '\n'))
		;
}

/* ---- strings ---- */

static uint32_t hex4(struct cursor *c)
{
	struct view digits = cursor_view(c, 4);
	uint32_t value = 0;

	for (uint32_t i = 0; i < digits.len; i++) {
		uint8_t byte = ascii_lower(digits.at[i]);

		if ((uint8_t)(byte - '0') < 10)
			value = value << 4 | (byte - '0');
		else if ((uint8_t)(byte - 'a') < 6)
			value = value << 4 | (byte - 'a' + 10);
		else
			c->failed = true;
	}
	return value;
}

/* What is behind \u, with the other half of a pair if it follows. */
static uint32_t code_point(struct cursor *c)
{
	uint32_t high = hex4(c), low;
	struct cursor ahead = *c;

	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || !cursor_skip_byte(&ahead, '\\') || !cursor_skip_byte(&ahead, 'u'))
		return REPLACEMENT;
	low = hex4(&ahead);
	if (ahead.failed || low < 0xdc00 || low > 0xdfff)
		return REPLACEMENT; /* what follows is read for itself */
	*c = ahead;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static int utf8_write(uint32_t code, uint8_t out[4])
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (uint8_t)(0xc0 | code >> 6);
		out[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (uint8_t)(0xe0 | code >> 12);
		out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | code >> 18);
	out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (code & 0x3f));
	return 4;
}

static int escape_read(struct cursor *c, uint8_t out[4])
{
	static const uint8_t plain[256] = {
		['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
		['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'
	};
	uint8_t byte = cursor_u8(c);

	if (byte == 'u')
		return utf8_write(code_point(c), out);
	out[0] = plain[byte];
	if (!out[0])
		c->failed = true;
	return 1;
}

/* The next character of a string whose opening quote is behind us: its octets (1 to 4); 0 at the
 * closing quote, which is stepped over, and where the cursor has failed. */
static int string_next(struct cursor *c, uint8_t out[4])
{
	uint8_t byte = cursor_u8(c);
	int n = 1;

	if (byte == '"')
		return 0;
	if (byte == '\\')
		n = escape_read(c, out);
	else
		out[0] = byte;
	return c->failed ? 0 : n;
}

static void string_skip(struct cursor *c)
{
	uint8_t octets[4];

	while (string_next(c, octets))
		;
}

/* Step over a string; is it @p text? */
static bool string_is(struct cursor *c, const char *text)
{
	struct view rest = view_of(text);
	bool is_same = true;
	uint8_t octets[4];
	int n;

	while ((n = string_next(c, octets))) {
		is_same = is_same && (uint32_t)n <= rest.len &&
			  memcmp(rest.at, octets, (size_t)n) == 0;
		if (is_same)
			rest = (struct view){ rest.at + n, rest.len - (uint32_t)n };
	}
	return is_same && rest.len == 0;
}

static int string_copy(struct cursor *c, uint8_t *out, size_t room, struct view *value)
{
	size_t used = 0;
	uint8_t octets[4];
	int n;

	while ((n = string_next(c, octets))) {
		if ((size_t)n > room - used)
			return HT_EFULL;
		memcpy(out + used, octets, (size_t)n);
		used += (size_t)n;
	}
	if (c->failed)
		return HT_ENOTSIP;
	*value = (struct view){ out, (uint32_t)used };
	return HT_OK;
}

/* ---- values ---- */

static bool ends_scalar(int byte)
{
	return byte < 0 || byte == ',' || byte == ':' || byte == '"' || byte == '{' ||
	       byte == '}' || byte == '[' || byte == ']' || byte == ' ' || byte == '\t' ||
	       byte == '\r' || byte == '\n';
}

/* A number, true, false, null. */
static void scalar_skip(struct cursor *c)
{
	if (ends_scalar(cursor_peek(c)))
		c->failed = true;
	while (!ends_scalar(cursor_peek(c)))
		cursor_take(c, 1);
}

/* An object or an array, with all that is in it; that brackets match is all that is asked of it. */
static void nested_skip(struct cursor *c)
{
	uint64_t is_object = 0; /* bit per level, the innermost is the lowest */
	unsigned depth = 0;

	do {
		uint8_t byte = cursor_u8(c);

		if (byte == '{' || byte == '[') {
			is_object = is_object << 1 | (byte == '{');
			c->failed |= ++depth > JSON_MAX_DEPTH;
		} else if (byte == '}' || byte == ']') {
			c->failed |= (is_object & 1) != (byte == '}');
			is_object >>= 1;
			depth--;
		} else if (byte == '"') {
			string_skip(c);
		}
	} while (depth && !c->failed);
}

static void value_skip(struct cursor *c)
{
	int byte = cursor_peek(c);

	if (byte == '{' || byte == '[')
		nested_skip(c);
	else if (cursor_skip_byte(c, '"'))
		string_skip(c);
	else
		scalar_skip(c);
}

/* ---- the object ---- */

/* Step over `"name":`. Is it @p key? */
static bool name_is(struct cursor *c, const char *key)
{
	bool is_key;

	blanks_skip(c);
	if (!cursor_skip_byte(c, '"')) {
		c->failed = true;
		return false;
	}
	is_key = string_is(c, key);
	blanks_skip(c);
	if (!cursor_skip_byte(c, ':'))
		c->failed = true;
	blanks_skip(c);
	return is_key;
}

int json_unwrap(struct view json, const char *key, uint8_t *out, size_t room, struct view *value)
{
	struct cursor c = cursor_over_view(json);
	bool is_key;

	blanks_skip(&c);
	if (!cursor_skip_byte(&c, '{'))
		return HT_ENOTSIP;
	do {
		is_key = name_is(&c, key);
		if (is_key && !c.failed && cursor_skip_byte(&c, '"'))
			return string_copy(&c, out, room, value);
		value_skip(&c);
		blanks_skip(&c);
	} while (!c.failed && cursor_skip_byte(&c, ','));
	return HT_ENOTSIP;
}
