/**
 * @file
 * The log: one line per event that an operator can act on, naming the object first
 * ("eth0: ring shrunk to 32 MiB: out of memory"). Traffic is counted, never logged.
 *
 * A line is at most LOG_LINE_BYTES long with its line feed; the rest is cut and "..." says so.
 * Control characters in it become '?'. Logging never fails and leaves errno alone: a line that the
 * target refuses is gone.
 *
 * Threads: any; lines do not mix, since each is one write(2).
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

#define LOG_LINE_BYTES 1024

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };

/**
 * Choose where lines go and which are written. Before the first call: stderr, info. May be called
 * again (reload).
 *
 * On stderr, lines carry a UTC time and the level, or, where stderr is the journal of a service
 * manager (JOURNAL_STREAM names its device and inode), the <N> priority prefix that the journal
 * takes.
 * Threads: any, though only one at a time; lines of other threads go to the old or to the new
 * target.
 */
void log_open(enum log_level level, enum log_target target);

/**
 * Write one line, if @p level is written at all. @p format is as for printf and ends without a line
 * feed.
 */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* One cause of repeated lines; a static zeroed one per place. Threads: any. */
struct log_limit {
	_Atomic uint64_t next_us; /* no line before this time, monotonic */
	_Atomic uint64_t hidden;  /* lines swallowed since the last one */
};

/**
 * As log_line(), at most one line every 10 s per @p limit; the next line that is written ends with
 * "(and N more like this)". Lines of a level that is not written do not count.
 */
__attribute__((format(printf, 3, 4))) void log_limited(struct log_limit *limit,
						       enum log_level level, const char *format,
						       ...);

/**
 * Turn the control characters of a string (C0, DEL, and C1 in UTF-8) into '?', so that no line can
 * forge another.
 */
void log_clean(char *text);
