/* Names and bounds. */
#include "storage/partitions.h"

#include <time.h>

void partition_name(char out[PARTITION_NAME], uint64_t at, unsigned step)
{
	time_t t = (time_t)at;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, PARTITION_NAME, step == PARTITION_HOUR ? "p%Y%m%d%H" : "p%Y%m%d", &tm);
}

void partition_next(struct partition *out, uint64_t end, uint64_t oldest, unsigned step)
{
	uint64_t start = end > oldest ? end : oldest;

	partition_name(out->name, start, step);
	out->bound = (start / step + 1) * step;
}
