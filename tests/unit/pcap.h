/**
 * @file
 * Frames of a capture file, one after the other: pcap, and pcapng with one section and one
 * interface, both little-endian, as the fixtures are.
 */
#pragma once
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/decode.h"

struct pcap {
	uint8_t *bytes; /* the whole file */
	struct cursor c;
	uint16_t link;
	bool is_ng;
};

static inline void pcap_open(struct pcap *p, const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t len = 0;

	assert(f);
	p->bytes = malloc(1 << 20);
	assert(p->bytes);
	len = fread(p->bytes, 1, 1 << 20, f);
	assert(len > 24 && len < 1 << 20);
	fclose(f);
	p->c = cursor_over(p->bytes, len);
	p->is_ng = p->bytes[0] == 0x0a;
	p->link = 0;
	if (p->is_ng)
		return;
	assert(cursor_u32_le(&p->c) == 0xa1b2c3d4);
	cursor_take(&p->c, 16);
	p->link = (uint16_t)cursor_u32_le(&p->c);
}

static inline void pcap_close(struct pcap *p)
{
	free(p->bytes);
}

/* Interface description (1) says the link type, an enhanced packet (6) is a frame. */
static inline bool pcap_next_ng(struct pcap *p, struct captured *out)
{
	while (cursor_left(&p->c)) {
		uint32_t type = cursor_u32_le(&p->c), len = cursor_u32_le(&p->c);
		struct cursor block = cursor_over_view(cursor_view(&p->c, len - 8));

		assert(!p->c.failed);
		if (type == 1)
			p->link = cursor_u16_le(&block);
		if (type != 6)
			continue;
		cursor_take(&block, 12); /* interface, time */
		len = cursor_u32_le(&block);
		*out = (struct captured){ .wire_len = cursor_u32_le(&block), .link = p->link };
		out->bytes = cursor_view(&block, len);
		assert(!block.failed);
		return true;
	}
	return false;
}

static inline bool pcap_next(struct pcap *p, struct captured *out)
{
	uint32_t len;

	if (p->is_ng)
		return pcap_next_ng(p, out);
	if (cursor_left(&p->c) == 0)
		return false;
	cursor_take(&p->c, 8); /* time */
	len = cursor_u32_le(&p->c);
	*out = (struct captured){ .wire_len = cursor_u32_le(&p->c), .link = p->link };
	out->bytes = cursor_view(&p->c, len);
	assert(!p->c.failed);
	return true;
}
