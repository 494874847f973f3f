/*
 * A string out of a JSON object. Properties: the value is never longer than what is between its
 * quotes, which leaves 13 octets of the shortest object that has it; a room of its length is enough
 * and one less is not; what is behind the string does not matter; what a JSON library takes is
 * understood the same; and any octets, escaped in any of the ways there are, come back.
 */
#undef NDEBUG
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/json.h"

#define KEY	   "payload"
#define LEAST_REST 13 /* {"payload":"" */
#define CUTS_MAX   64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unwrap exact-size copies; @p room is the caller's to free, and what it points to is in it. */
static int unwrap(const uint8_t *json, size_t len, size_t room_bytes, uint8_t **room,
		  struct view *value)
{
	uint8_t *copy = malloc(len);
	int err;

	*room = malloc(room_bytes);
	assert((copy || len == 0) && (*room || room_bytes == 0));
	if (len)
		memcpy(copy, json, len);
	*value = (struct view){ 0 };
	err = json_unwrap((struct view){ copy, (uint32_t)len }, KEY, *room, room_bytes, value);
	assert(err == HT_OK || err == HT_ENOTSIP || err == HT_EFULL);
	assert(err != HT_OK || view_inside(*value, (struct view){ *room, (uint32_t)room_bytes }));
	free(copy);
	return err;
}

/* Unwrap, and compare with what is expected. */
static void check_unwrap(const uint8_t *json, size_t len, size_t room_bytes, int err,
			 struct view value)
{
	struct view again;
	uint8_t *room;
	int got = unwrap(json, len, room_bytes, &room, &again);

	assert(got == err);
	if (err == HT_OK)
		assert(again.len == value.len &&
		       (value.len == 0 || memcmp(again.at, value.at, value.len) == 0));
	free(room);
}

/* ---- any octets as an object ---- */

/* Once the string is there, the same comes out; before that, nothing. */
static void check_cuts(const uint8_t *json, size_t len, struct view value)
{
	size_t step = len / CUTS_MAX + 1;
	int is_there = 0;

	for (size_t cut = 0; cut < len; cut += step) {
		struct view got;
		uint8_t *room;
		int err = unwrap(json, cut, cut, &room, &got);

		assert(err == HT_OK || (err == HT_ENOTSIP && !is_there));
		is_there = err == HT_OK;
		assert(err != HT_OK || (got.len == value.len &&
					(got.len == 0 || memcmp(got.at, value.at, got.len) == 0)));
		free(room);
	}
}

static int is_nested_deeply(const uint8_t *json, size_t len)
{
	size_t brackets = 0;

	for (size_t i = 0; i < len; i++)
		brackets += json[i] == '{' || json[i] == '[';
	return brackets > JSON_MAX_DEPTH;
}

/* Where the library takes it, and no name is there twice, it has the last word. */
static void check_library(const uint8_t *json, size_t len, int err, struct view value)
{
	json_t *root, *member;

	if (is_nested_deeply(json, len) || !len)
		return;
	root = json_loadb((const char *)json, len,
			  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL);
	if (!root)
		return;
	member = json_object_get(root, KEY);
	if (json_is_string(member)) {
		assert(err == HT_OK && value.len == json_string_length(member));
		assert(value.len == 0 ||
		       memcmp(value.at, json_string_value(member), value.len) == 0);
	} else {
		assert(err == HT_ENOTSIP);
	}
	json_decref(root);
}

static void check_object(const uint8_t *json, size_t len)
{
	struct view value;
	uint8_t *room;
	int err = unwrap(json, len, len, &room, &value);

	assert(err != HT_EFULL);
	check_library(json, len, err, value);
	if (err == HT_OK) {
		assert(value.len + LEAST_REST <= len);
		check_unwrap(json, len, value.len, HT_OK, value);
		if (value.len)
			check_unwrap(json, len, value.len - 1, HT_EFULL, value);
		check_cuts(json, len, value);
	}
	free(room);
}

/* ---- any octets as a value ---- */

/* Octets of the UTF-8 character that begins @p v, and its code; 0: there is none. */
static uint32_t utf8_read(struct view v, uint32_t *code)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t n = v.at[0] < 0x80   ? 1
		     : v.at[0] < 0xc0 ? 0
		     : v.at[0] < 0xe0 ? 2
		     : v.at[0] < 0xf0 ? 3
				      : 4;

	if (n == 0 || n > v.len || v.at[0] > 0xf4)
		return 0;
	*code = n == 1 ? v.at[0] : v.at[0] & (0xffU >> (n + 1));
	for (uint32_t i = 1; i < n; i++) {
		if ((v.at[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (v.at[i] & 0x3f);
	}
	if (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

static size_t write_u(char *at, uint32_t code, int is_upper)
{
	const char *format = is_upper ? "\\u%04X" : "\\u%04x";

	if (code < 0x10000)
		return (size_t)sprintf(at, format, code);
	sprintf(at, format, 0xd800 + ((code - 0x10000) >> 10));
	return 6 + (size_t)sprintf(at + 6, format, 0xdc00 + ((code - 0x10000) & 0x3ff));
}

/* One character, or an octet that is none, in a way that @p dice chooses. */
static size_t escape_one(struct view v, unsigned dice, char *at, uint32_t *taken)
{
	static const char octets[] = "\"\\/\b\f\n\r\t", names[] = "\"\\/bfnrt";
	const char *hit = v.at[0] ? strchr(octets, v.at[0]) : NULL;
	int is_obliged = v.at[0] == '"' || v.at[0] == '\\';
	uint32_t code;

	*taken = utf8_read(v, &code);
	if (*taken && dice % 4 == 0)
		return write_u(at, code, dice / 4 % 2);
	if (hit && (is_obliged || dice % 4 == 1)) {
		at[0] = '\\';
		at[1] = names[hit - octets];
		return 2;
	}
	*taken = *taken ? *taken : 1;
	memcpy(at, v.at, *taken);
	return *taken;
}

static size_t escape(struct view v, unsigned seed, char *at)
{
	size_t len = 0;
	uint32_t taken;

	while (v.len) {
		seed = seed * 1103515245 + 12345;
		len += escape_one(v, seed >> 16, at + len, &taken);
		v = (struct view){ v.at + taken, v.len - taken };
	}
	return len;
}

static void check_value(struct view value, unsigned seed)
{
	static const char *const fronts[] = {
		"{\"payload\":\"",
		" {\"a\":[1,{\"payload\":\"no\"}],\"payload\" : \"",
		"{\"payload\":null,\"\\u0070ayload\":\"",
		"{\"a\":\"\\\"}\",\"b\":{},\"c\":-1.5e3,\"payload\":\n\"",
	};
	static const char *const backs[] = { "\"}", "\",\"z\":1}", "\"}\r\n", "\"" };
	const char *front = fronts[seed % 4], *back = backs[seed / 4 % 4];
	size_t len = strlen(front);
	char *json = malloc(len + 6 * (size_t)value.len + strlen(back) + 1);

	assert(json);
	memcpy(json, front, len);
	len += escape(value, seed, json + len);
	memcpy(json + len, back, strlen(back));
	len += strlen(back);
	check_unwrap((uint8_t *)json, len, value.len, HT_OK, value);
	check_unwrap((uint8_t *)json, len, len, HT_OK, value);
	if (value.len)
		check_unwrap((uint8_t *)json, len, value.len - 1, HT_EFULL, value);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_object(data, size);
	if (size)
		check_value((struct view){ data + 1, (uint32_t)size - 1 }, data[0]);
	return 0;
}
