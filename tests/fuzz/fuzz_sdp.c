/*
 * hep/sdp.c: any Content-Type (first line) and body. Properties: nothing outside the body is read;
 * every address that comes out is one of a host, with a port; the count is within its bound; blanks
 * behind the type change nothing; a description put into a part is read as it is alone.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hep/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exact-size copies, so that a read beyond the end is seen. */
static void read_copy(struct view type, struct view body, struct sdp *out)
{
	uint8_t *t = malloc(type.len ? type.len : 1), *b = malloc(body.len ? body.len : 1);

	if (!t || !b)
		abort();
	if (type.len)
		memcpy(t, type.at, type.len);
	if (body.len)
		memcpy(b, body.at, body.len);
	memset(out, 0, sizeof(*out));
	sdp_read((struct view){ t, type.len }, (struct view){ b, body.len }, out);
	free(t);
	free(b);
}

static void check_addr(const struct addr *a)
{
	static const uint8_t none[16];

	assert(a->family == FAMILY_IPV4 || a->family == FAMILY_IPV6);
	assert(a->port != 0);
	assert(memcmp(a->ip, none, sizeof(none)) != 0);
}

static bool is_equal(const struct sdp *a, const struct sdp *b)
{
	return a->count == b->count && a->more == b->more &&
	       memcmp(a->media, b->media, a->count * sizeof(a->media[0])) == 0;
}

/* The same as one part of several. */
static void check_in_part(struct view body, const struct sdp *alone)
{
	static const char head[] = "--4f2c\r\nContent-Type: application/sdp\r\n\r\n";
	static const char tail[] = "\r\n--4f2c--\r\n";
	size_t size = sizeof(head) + sizeof(tail) + body.len;
	uint8_t *text = malloc(size), *at = text;
	struct sdp in_part;

	if (!text)
		abort();
	at = (uint8_t *)memcpy(at, head, sizeof(head) - 1) + sizeof(head) - 1;
	if (body.len)
		memcpy(at, body.at, body.len);
	at += body.len;
	at = (uint8_t *)memcpy(at, tail, sizeof(tail) - 1) + sizeof(tail) - 1;
	read_copy(view_of("multipart/mixed;boundary=4f2c"),
		  (struct view){ text, (uint32_t)(at - text) }, &in_part);
	assert(is_equal(alone, &in_part));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_over(data, size);
	struct view type = cursor_until(&c, '\n'), body = cursor_rest(&c);
	struct sdp out, alone;

	if (size > 65536)
		return 0;
	read_copy(type, body, &out);
	assert(out.count <= SDP_MEDIA_MAX);
	assert(out.more == 0 || out.count == SDP_MEDIA_MAX);
	for (uint32_t i = 0; i < out.count; i++) {
		check_addr(&out.media[i].rtp);
		if (out.media[i].rtcp.family != FAMILY_NONE)
			check_addr(&out.media[i].rtcp);
	}
	read_copy(view_of("application/sdp"), body, &alone);
	if (!memmem(body.at, body.len, "--4f2c", 6))
		check_in_part(body, &alone);
	return 0;
}
