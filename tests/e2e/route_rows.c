/*
 * Leave a spool behind as a server with rules does: route_rows DIR NODE_ID ROWS < LINES. A line is
 * the number of a message of lib.sip(), the days it is younger than now, and the table that a rule
 * chose for it, each octet as two hexadecimal digits, or "-" for none. ROWS of them make a block.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/clock.h"
#include "conf/log.h"
#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/block.h"
#include "storage/spool.h"

#define ROUTE_MOST 300

static struct view route_of(const char *digits, uint8_t *out)
{
	uint32_t len = 0;
	unsigned octet;

	while (len < ROUTE_MOST && sscanf(digits + 2 * (size_t)len, "%2x", &octet) == 1)
		out[len++] = (uint8_t)octet;
	return (struct view){ out, len };
}

/* As lib.sip() has it. */
static struct view text_of(unsigned number, char *out, size_t size)
{
	int len = snprintf(out, size,
			   "OPTIONS sip:user@example.com SIP/2.0\r\n"
			   "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-%u\r\n"
			   "From: <sip:alice@example.com>;tag=f%u\r\n"
			   "To: <sip:bob@example.net>\r\nCall-ID: n%u@heptap.test\r\n"
			   "CSeq: 1 OPTIONS\r\nUser-Agent: heptap test\r\n"
			   "Content-Length: 0\r\n\r\n",
			   number, number, number);

	return (struct view){ (const uint8_t *)out, (uint32_t)len };
}

static int row_add(struct block *b, unsigned number, int days, const char *digits)
{
	uint64_t now = clock_wall_us();
	uint8_t route[ROUTE_MOST];
	struct msg m = { .src = { .family = FAMILY_IPV4, .port = 5060 },
			 .dst = { .family = FAMILY_IPV4, .port = 5060 },
			 .ts_us = (uint64_t)((int64_t)now + days * 86400000000LL),
			 .arrival_us = now };
	struct row_extras w = { .table = ROW_TABLE_SIP_CAPTURE,
				.kind = ROW_KIND_REST,
				.type = 1,
				.proto = 17,
				.source_ip = view_of("192.0.2.1"),
				.destination_ip = view_of("192.0.2.2"),
				.node = view_of("node1"),
				.route = route_of(digits, route) };
	char text[1024];
	struct sip s;

	m.payload = text_of(number, text, sizeof(text));
	if (sip_parse(m.payload, NULL, &s) < 0)
		abort();
	return block_add(b, &m, &s, &w);
}

static void append(struct spool *s, struct block *b)
{
	unsigned writer;

	block_seal(b);
	if (spool_append(s, b, &writer) < 0)
		exit(3);
	block_reset(b);
}

int main(int argc, char **argv)
{
	struct spool_options o = {
		.writers = 1, .max_bytes = 1ULL << 40, .owner_uid = -1, .owner_gid = -1
	};
	char digits[2 * ROUTE_MOST + 1];
	struct spool *s;
	struct block *b;
	unsigned number, rows;
	int days;

	if (argc != 4)
		return 2;
	o.dir = argv[1];
	o.node_id = (uint32_t)atoi(argv[2]);
	rows = (unsigned)atoi(argv[3]);
	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	if (spool_open(&s, &o) < 0 || block_new(&b, rows) < 0)
		return 3;
	while (scanf("%u %d %600s", &number, &days, digits) == 3) {
		if (row_add(b, number, days, digits) < 0)
			return 3;
		if (b->rows == rows)
			append(s, b);
	}
	if (b->rows)
		append(s, b);
	block_free(b);
	spool_close(s);
	return 0;
}
