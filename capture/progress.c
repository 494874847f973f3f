/* Rate and time left are those since the beginning. */
#include "capture/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/clock.h"

#define BAR	30
#define BAR_US	200000
#define LINE_US 10000000

void progress_begin(struct progress *p, const char *unit, uint64_t done)
{
	const char *kind = getenv("TERM");

	*p = (struct progress){ .unit = unit, .first_done = done };
	p->begun_us = p->told_us = clock_mono_us();
	p->is_terminal = isatty(STDERR_FILENO) && kind && *kind;
}

static void time_print(uint64_t seconds)
{
	if (seconds >= 3600)
		fprintf(stderr, "%" PRIu64 ":%02u:%02u left", seconds / 3600,
			(unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
	else
		fprintf(stderr, "%u:%02u left", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
}

void progress_tell(struct progress *p, uint64_t done, uint64_t all, uint64_t count)
{
	uint64_t now_us = clock_mono_us(), passed_us = now_us - p->begun_us;
	unsigned percent = all ? (unsigned)(100.0 * (double)done / (double)all) : 100;

	if (now_us - p->told_us < (p->is_terminal ? BAR_US : LINE_US))
		return;
	p->told_us = now_us;
	if (p->is_terminal) {
		fprintf(stderr, "\r[");
		for (unsigned i = 0; i < BAR; i++)
			fputc(i * 100 < percent * BAR ? '#' : ' ', stderr);
		fprintf(stderr, "] ");
	}
	fprintf(stderr, "%3u %%  %" PRIu64 " %s  %.0f/s  ", percent, count, p->unit,
		(double)count * 1e6 / (double)(passed_us ? passed_us : 1));
	if (done > p->first_done)
		time_print((uint64_t)((double)(all - done) * (double)passed_us / 1e6 /
				      (double)(done - p->first_done)));
	fputs(p->is_terminal ? "\033[K" : "\n", stderr);
	fflush(stderr);
	p->is_drawn = p->is_terminal;
}

void progress_end(struct progress *p)
{
	if (p->is_drawn)
		fputc('\n', stderr);
	p->is_drawn = false;
}
