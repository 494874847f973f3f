/**
 * @file
 * A file of datagrams, each u32 length (native) and octets, in memory. Benchmarks only: it trusts
 * its input.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct datagrams {
	size_t count, room;
	uint8_t **at;
	uint32_t *len;
};

static inline int datagrams_read(const char *file, struct datagrams *d)
{
	FILE *f = fopen(file, "rb");
	uint32_t len;

	*d = (struct datagrams){ 0 };
	if (!f)
		return -1;
	while (fread(&len, sizeof(len), 1, f) == 1) {
		if (d->count == d->room) {
			d->room = d->room ? 2 * d->room : 4096;
			d->at = realloc(d->at, d->room * sizeof(*d->at));
			d->len = realloc(d->len, d->room * sizeof(*d->len));
			if (!d->at || !d->len)
				abort();
		}
		d->at[d->count] = malloc(len ? len : 1);
		if (!d->at[d->count] || fread(d->at[d->count], 1, len, f) != len)
			break;
		d->len[d->count++] = len;
	}
	fclose(f);
	return d->count ? 0 : -1;
}
