/**
 * @file
 * Blocks for tests: rows of a small SIP message that carries its own number, so that whoever reads
 * it back can tell which it was. Threads: one; the text is built in a static buffer.
 */
#pragma once
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/block.h"

#define MADE_MAX_PADDING 120000
#define MADE_ARRIVAL_US	 1700000000000000ULL

/* Row @p n with @p padding octets of body. @return what block_add() says. */
static inline int make_row(struct block *b, uint64_t n, size_t padding)
{
	static char text[1024 + MADE_MAX_PADDING];
	int head = snprintf(text, 1024,
			    "OPTIONS sip:%llu@example.org SIP/2.0\r\nFrom: "
			    "<sip:a@b>;tag=t%llu\r\nTo: <sip:c@d>\r\n"
			    "Call-ID: call-%llu\r\nCSeq: 1 OPTIONS\r\n\r\n",
			    (unsigned long long)n, (unsigned long long)n, (unsigned long long)n);
	struct msg m = { .src = { .family = FAMILY_IPV4, .port = 5060 },
			 .dst = { .family = FAMILY_IPV4, .port = 5061 } };
	struct row_extras x = { .table = ROW_TABLE_SIP_CAPTURE,
				.type = 1,
				.proto = 1,
				.source_ip = view_of("192.0.2.1"),
				.node = view_of("node1") };
	struct sip s;

	assert(padding <= MADE_MAX_PADDING);
	memset(text + head, 'a' + (int)(n % 26), padding);
	m.payload = (struct view){ (const uint8_t *)text, (uint32_t)((size_t)head + padding) };
	m.ts_us = m.arrival_us = MADE_ARRIVAL_US + n;
	if (sip_parse(m.payload, NULL, &s) < 0)
		abort();
	return block_add(b, &m, &s, &x);
}

/* A sealed block of rows @p first to @p first + @p rows - 1; not stamped. block_free() it. */
static inline struct block *make_block(uint64_t first, uint32_t rows, size_t padding)
{
	struct block *b;

	if (block_new(&b, BLOCK_MAX_ROWS) < 0)
		abort();
	for (uint32_t i = 0; i < rows; i++)
		if (make_row(b, first + i, padding) < 0)
			abort();
	block_seal(b);
	return b;
}

/* The number of a row that make_row() made. */
static inline uint64_t made_row_number(const struct block_head *h, const struct row_head *r)
{
	return (uint64_t)row_number(h, r, ROW_micro_ts, 0) - MADE_ARRIVAL_US;
}
