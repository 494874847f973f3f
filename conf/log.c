/*
 * The log. A line is put together on the stack: head, text, tail; then one write(2) or syslog(3).
 */
#include "conf/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_US   10000000 /* one line per cause in this time */
#define TAIL_BYTES 48	    /* enough for " (and 18446744073709551615 more like this)" */

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

enum stderr_kind { STDERR_UNKNOWN, STDERR_PLAIN, STDERR_JOURNAL };

/* Any thread reads these, log_open() writes them. */
static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int target_now = LOG_TARGET_STDERR;
static _Atomic int stderr_kind_now = STDERR_UNKNOWN;

struct line {
	char text[LOG_LINE_BYTES]; /* always ends with NUL */
	size_t len;
};

static enum stderr_kind stderr_kind_find(void)
{
	const char *journal = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!journal || sscanf(journal, "%llu:%llu", &dev, &ino) != 2)
		return STDERR_PLAIN;
	if (fstat(STDERR_FILENO, &st) != 0 || st.st_dev != dev || st.st_ino != ino)
		return STDERR_PLAIN;
	return STDERR_JOURNAL;
}

/* Threads that find it unknown at the same time all find the same. */
static enum stderr_kind stderr_kind(void)
{
	int kind = atomic_load_explicit(&stderr_kind_now, memory_order_relaxed);

	if (kind == STDERR_UNKNOWN) {
		kind = stderr_kind_find();
		atomic_store_explicit(&stderr_kind_now, kind, memory_order_relaxed);
	}
	return kind;
}

void log_open(enum log_level level, enum log_target target)
{
	if (target == LOG_TARGET_SYSLOG)
		openlog("heptap", LOG_PID, LOG_DAEMON);
	atomic_store_explicit(&stderr_kind_now, STDERR_UNKNOWN, memory_order_relaxed);
	atomic_store_explicit(&level_now, level, memory_order_relaxed);
	atomic_store_explicit(&target_now, target, memory_order_relaxed);
}

static bool is_written(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_clean(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
			c[0] = c[1] = '?';
	}
}

/* "2026-01-31T23:59:59.123Z warning: ", or "<4>" for the journal. */
static void line_head(struct line *l, enum log_level level)
{
	struct timespec now;
	struct tm utc;
	int n;

	if (stderr_kind() == STDERR_JOURNAL) {
		n = snprintf(l->text, sizeof(l->text), "<%d>", levels[level].priority);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &utc);
		n = snprintf(l->text, sizeof(l->text),
			     "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s: ", utc.tm_year + 1900,
			     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
			     now.tv_nsec / 1000000, levels[level].name);
	}
	l->len = (size_t)n;
}

/* Where to cut so that no UTF-8 character is cut in two. */
static size_t cut_before(const char *text, size_t end)
{
	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	return end;
}

/* The caller's text, as much as leaves room for @p tail, "..." and a line feed. */
static void line_body(struct line *l, const char *tail, const char *format, va_list args)
{
	size_t room = sizeof(l->text) - l->len - strlen(tail) - 1;
	int n = vsnprintf(l->text + l->len, room, format, args);

	if (n < 0) {
		n = 0;
		l->text[l->len] = '\0';
	}
	log_clean(l->text + l->len);
	if ((size_t)n < room) {
		l->len += (size_t)n;
	} else {
		l->len = cut_before(l->text, l->len + room - sizeof("..."));
		l->len = (size_t)(stpcpy(l->text + l->len, "...") - l->text);
	}
	l->len = (size_t)(stpcpy(l->text + l->len, tail) - l->text);
}

static void line_write(struct line *l)
{
	ssize_t n;

	l->text[l->len++] = '\n';
	do
		n = write(STDERR_FILENO, l->text, l->len);
	while (n < 0 && errno == EINTR);
}

static void line_send(enum log_level level, const char *tail, const char *format, va_list args)
{
	bool is_syslog =
		atomic_load_explicit(&target_now, memory_order_relaxed) == LOG_TARGET_SYSLOG;
	int saved = errno; /* %m in the text still means the caller's */
	struct line l = { .len = 0 };

	if (!is_syslog)
		line_head(&l, level);
	errno = saved;
	line_body(&l, tail, format, args);
	if (is_syslog)
		syslog(LOG_DAEMON | levels[level].priority, "%s", l.text);
	else
		line_write(&l);
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (!is_written(level))
		return;
	va_start(args, format);
	line_send(level, "", format, args);
	va_end(args);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Of the threads that come when the time is over, the one whose exchange works writes the line. */
static bool limit_is_over(struct log_limit *limit)
{
	uint64_t next = atomic_load_explicit(&limit->next_us, memory_order_relaxed);
	uint64_t now = now_us();

	return now >= next &&
	       atomic_compare_exchange_strong(&limit->next_us, &next, now + LIMIT_US);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	char tail[TAIL_BYTES] = "";
	uint64_t hidden;
	va_list args;

	if (!is_written(level))
		return;
	if (!limit_is_over(limit)) {
		atomic_fetch_add_explicit(&limit->hidden, 1, memory_order_relaxed);
		return;
	}
	hidden = atomic_exchange_explicit(&limit->hidden, 0, memory_order_relaxed);
	if (hidden)
		snprintf(tail, sizeof(tail), " (and %ju more like this)", (uintmax_t)hidden);
	va_start(args, format);
	line_send(level, tail, format, args);
	va_end(args);
}
