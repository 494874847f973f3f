/*
 * Any octets as JSON: what comes out lies in its room and is no longer than what went in. And any
 * octets as a string, escaped by the test in one of several ways, come out as they were.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int unwrap(const uint8_t *json, size_t len, size_t room, uint8_t **out, struct view *value)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	*out = malloc(room ? room : 1);
	assert(copy && *out);
	if (len)
		memcpy(copy, json, len);
	err = json_unwrap((struct view){ copy, (uint32_t)len }, "payload", *out, room, value);
	free(copy);
	return err;
}

static void check_any(const uint8_t *data, size_t size)
{
	struct view value, less;
	uint8_t *out, *narrow;
	int err = unwrap(data, size, size, &out, &value);

	assert(err == HT_OK || err == HT_ENOTSIP); /* never longer than the text */
	if (err == HT_OK) {
		assert(value.at == out && value.len <= size);
		assert(unwrap(data, size, value.len, &narrow, &less) == HT_OK);
		assert(less.len == value.len && memcmp(narrow, out, less.len) == 0);
		free(narrow);
		if (value.len) {
			assert(unwrap(data, size, value.len - 1, &narrow, &less) == HT_EFULL);
			free(narrow);
		}
	}
	free(out);
}

/* {"x":[{"payload":1}],"payload":"..."}, each octet escaped in a way that @p how chooses. */
static void check_back(const uint8_t *data, size_t size, unsigned how)
{
	static const char front[] = "{\"x\":[{\"payload\":1},\"]\\\"}\"],\r\n\"payload\" : \"";
	char *json = malloc(sizeof(front) + 6 * size + 8);
	size_t used = sizeof(front) - 1;
	struct view value;
	uint8_t *out;

	assert(json);
	memcpy(json, front, used);
	for (size_t i = 0; i < size; i++) {
		uint8_t c = data[i];

		if (c < 0x80 && (how >> i % 8 & 1))
			used += (size_t)sprintf(json + used, "\\u%04X", c);
		else if (c == '"' || c == '\\' || (c == '/' && how & 1))
			used += (size_t)sprintf(json + used, "\\%c", c);
		else if (c == '\n' && how & 2)
			used += (size_t)sprintf(json + used, "\\n");
		else
			json[used++] = (char)c;
	}
	memcpy(json + used, "\"}\n", 3);
	used += 3;
	assert(unwrap((uint8_t *)json, used, size, &out, &value) == HT_OK);
	assert(value.len == size && (size == 0 || memcmp(value.at, data, size) == 0));
	free(out);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_any(data, size);
	if (size)
		check_back(data + 1, size - 1, data[0]);
	return 0;
}
