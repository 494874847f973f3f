/*
 * hep/rtcp.c: any datagram. Properties: nothing outside it is read; the text is valid JSON without
 * duplicate members and within its bound; counts are those of the lists; what is cut off, at any
 * octet, adds nothing to what is told or omitted; octets behind the last packet change no text, and
 * a datagram that is whole is then told from one that is encrypted.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "hep/rtcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const lists[] = { "report_blocks", "xr_blocks", "sdes_information",
				     "bye_information", "app_information" };

/* An exact-size copy, so that a read beyond the end is seen; @p behind more octets of 0. */
static struct view copy_of(const uint8_t *data, size_t size, size_t behind)
{
	uint8_t *copy = calloc(1, size + behind + (size + behind == 0));

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	return (struct view){ copy, (uint32_t)(size + behind) };
}

static void check_count(const json_t *json, const char *list, const char *count)
{
	const json_t *n = json_object_get(json, count);

	assert((size_t)json_integer_value(n) == json_array_size(json_object_get(json, list)));
}

/* All that was found, whether there was room for it or not. */
static size_t things(struct view text)
{
	json_t *json = json_loadb((const char *)text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
	size_t n;

	assert(json_is_object(json));
	n = (size_t)json_integer_value(json_object_get(json, "omitted"));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		n += json_array_size(json_object_get(json, lists[i]));
	n += json_object_get(json, "report_blocks_xr") != NULL;
	check_count(json, "report_blocks", "report_count");
	check_count(json, "sdes_information", "sdes_report_count");
	json_decref(json);
	return n;
}

static size_t things_in(const uint8_t *data, size_t size, enum rtcp_kind *kind)
{
	static uint8_t room[RTCP_TEXT];
	struct view datagram = copy_of(data, size, 0), text = rtcp_text(datagram, room);

	assert(text.at == room && text.len > 0 && text.len <= RTCP_TEXT);
	*kind = rtcp_kind(datagram);
	free((void *)(uintptr_t)datagram.at);
	return things(text);
}

static void check_behind(const uint8_t *data, size_t size, enum rtcp_kind kind)
{
	static uint8_t room[2][RTCP_TEXT];
	struct view alone = copy_of(data, size, 0), more = copy_of(data, size, 14);
	struct view a = rtcp_text(alone, room[0]), b = rtcp_text(more, room[1]);

	if (kind == RTCP_REPORT || kind == RTCP_FEEDBACK) {
		assert(a.len == b.len && memcmp(a.at, b.at, a.len) == 0);
		assert(rtcp_kind(more) == RTCP_ENCRYPTED);
	}
	free((void *)(uintptr_t)alone.at);
	free((void *)(uintptr_t)more.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum rtcp_kind kind, part;
	size_t all, step = size / 16 + 1;

	if (size > 65535)
		return 0;
	all = things_in(data, size, &kind);
	for (size_t cut = 0; cut < size; cut += step)
		assert(things_in(data, cut, &part) <= all);
	check_behind(data, size, kind);
	return 0;
}
