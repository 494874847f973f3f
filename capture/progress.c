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

static void share_print(const struct progress *p, uint64_t done, uint64_t all)
{
	unsigned percent = (unsigned)(100.0 * (double)done / (double)all);

	if (p->is_terminal) {
		fputc('[', stderr);
		for (unsigned i = 0; i < BAR; i++)
			fputc(i * 100 < percent * BAR ? '#' : ' ', stderr);
		fputs("] ", stderr);
	}
	fprintf(stderr, "%3u %%  ", percent);
}

static void octets_print(uint64_t done, uint64_t all)
{
	fprintf(stderr, "%.1f", (double)done / (1 << 20));
	if (all)
		fprintf(stderr, " of %.1f", (double)all / (1 << 20));
	fputs(" MiB  ", stderr);
}

static void draw(struct progress *p, uint64_t done, uint64_t all, uint64_t count)
{
	uint64_t passed_us = clock_mono_us() - p->begun_us;

	p->told_us = p->begun_us + passed_us;
	if (p->is_terminal)
		fputc('\r', stderr);
	if (all)
		share_print(p, done, all);
	fprintf(stderr, "%" PRIu64 " %s  %.0f/s  ", count, p->unit,
		(double)count * 1e6 / (double)(passed_us ? passed_us : 1));
	if (p->is_octets)
		octets_print(done, all);
	if (all && done > p->first_done)
		time_print((uint64_t)((double)(all - done) * (double)passed_us / 1e6 /
				      (double)(done - p->first_done)));
	fputs(p->is_terminal ? "\033[K" : "\n", stderr);
	fflush(stderr);
	p->is_drawn = p->is_terminal;
}

void progress_tell(struct progress *p, uint64_t done, uint64_t all, uint64_t count)
{
	if (clock_mono_us() - p->told_us >= (p->is_terminal ? BAR_US : LINE_US))
		draw(p, done, all, count);
}

void progress_last(struct progress *p, uint64_t done, uint64_t all, uint64_t count)
{
	draw(p, done, all, count);
	progress_end(p);
}

void progress_end(struct progress *p)
{
	if (p->is_drawn)
		fputc('\n', stderr);
	p->is_drawn = false;
}
