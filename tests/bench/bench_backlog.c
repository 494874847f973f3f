/*
 * Leave a spool behind as a long outage of the database does: bench_backlog DIR BYTES. Prints its
 * rows. Each row is a message with a Call-ID of its own, call-0 and on.
 */
#include <inttypes.h>

#include "conf/log.h"
#include "storage/spool.h"
#include "tests/unit/make_block.h"

#define ROWS	700
#define PADDING 600

int main(int argc, char **argv)
{
	struct spool_options o = { .node_id = 1,
				   .writers = 1,
				   .max_bytes = 1ULL << 50,
				   .owner_uid = -1,
				   .owner_gid = -1 };
	uint64_t rows = 0, most;
	struct spool *s;
	unsigned writer;

	if (argc != 3)
		return 2;
	o.dir = argv[1];
	most = strtoull(argv[2], NULL, 10);
	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	if (spool_open(&s, &o) < 0)
		return 3;
	while (counter_get(&spool_counters(s)->bytes) < most) {
		struct block *b = make_block(rows, ROWS, PADDING);

		if (spool_append(s, b, &writer) < 0)
			return 3;
		rows += ROWS;
		block_free(b);
	}
	spool_close(s);
	printf("%" PRIu64 "\n", rows);
	return 0;
}
