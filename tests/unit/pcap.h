/**
 * @file
 * Frames of a capture file, one after the other: read at once, so that taking them allocates
 * nothing.
 */
#pragma once
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "capture/pcap_file.h"

struct pcap {
	struct captured *frames; /* each with a copy of its octets */
	size_t count, next;
};

static inline void pcap_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	(void)ctx;
	(void)wall_us;
	(void)mono_us;
}

static inline void pcap_keep(void *ctx, const struct captured *c)
{
	struct pcap *p = ctx;
	uint8_t *copy = malloc(c->bytes.len + 1);

	p->frames = realloc(p->frames, (p->count + 1) * sizeof(*p->frames));
	assert(p->frames && copy);
	memcpy(copy, c->bytes.at, c->bytes.len);
	p->frames[p->count] = *c;
	p->frames[p->count++].bytes.at = copy;
}

static inline void pcap_end(void *ctx)
{
	(void)ctx;
}

static inline void pcap_open(struct pcap *p, const char *path)
{
	static const struct source_ops ops = { .begin = pcap_begin,
					       .frame = pcap_keep,
					       .end = pcap_end };
	struct pcap_file *f;
	int n = pcap_file_open(&f, path);

	*p = (struct pcap){ 0 };
	assert(n == HT_OK);
	do
		n = pcap_file_batch(f, &ops, p, 1000);
	while (n > 0);
	assert(n == 0 && p->count > 0);
	pcap_file_close(f);
}

static inline bool pcap_next(struct pcap *p, struct captured *out)
{
	if (p->next == p->count)
		return false;
	*out = p->frames[p->next++];
	return true;
}

static inline void pcap_close(struct pcap *p)
{
	for (size_t i = 0; i < p->count; i++)
		free((void *)(uintptr_t)p->frames[i].bytes.at);
	free(p->frames);
}
