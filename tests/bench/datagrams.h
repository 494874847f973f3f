/**
 * @file
 * A file of datagrams, each u32 length (native) and octets, in memory. Benchmarks only: it trusts
 * its input.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define DATAGRAMS_MOST 4096

struct datagrams {
	size_t count;
	uint8_t *at[DATAGRAMS_MOST];
	uint32_t len[DATAGRAMS_MOST];
};

static inline int datagrams_read(const char *file, struct datagrams *d)
{
	FILE *f = fopen(file, "rb");
	uint32_t len;

	d->count = 0;
	if (!f)
		return -1;
	while (d->count < DATAGRAMS_MOST && fread(&len, sizeof(len), 1, f) == 1) {
		d->at[d->count] = malloc(len ? len : 1);
		if (!d->at[d->count] || fread(d->at[d->count], 1, len, f) != len)
			break;
		d->len[d->count++] = len;
	}
	fclose(f);
	return d->count ? 0 : -1;
}
