/**
 * @file
 * Numbers out of the texts of procfs and sysfs, by name: columns differ from kernel to kernel.
 * Any text will do, cut short anywhere. A number that is not there, is negative or is none is
 * WATCH_UNKNOWN; one that is too large is INT64_MAX. Threads: pure; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tune/cpus.h"

#define WATCH_UNKNOWN (-1)

/* Of netstat and snmp: a line of names and below it one of values, both begin with @p section
 * ("TcpExt:"). */
int64_t text_table(const char *text, const char *section, const char *name);

/* "Name value" and "Name: value kB", a line each; the colon is of @p name. */
int64_t text_pair(const char *text, const char *name);

/* Of sockstat: "TCP: inuse 5 orphan 0". */
int64_t text_in_line(const char *text, const char *section, const char *name);

/* Of pressure: "some avg10=0.12 total=34". One with a point is in hundredths. */
int64_t text_assigned(const char *text, const char *section, const char *name);

/* A number of the first line, by place. */
int64_t text_field(const char *text, unsigned place);

/* Of /proc/net/stat/nf_conntrack: names, then a line of hexadecimal values for each CPU. The sum.
 */
int64_t text_hex_sum(const char *text, const char *name);

enum softnet_event {
	SOFTNET_PROCESSED,
	SOFTNET_DROPPED,
	SOFTNET_SQUEEZED,
	SOFTNET_RPS,
	SOFTNET_FLOW_LIMIT,
	SOFTNET_BACKLOG, /* packets in it now */
	SOFTNET_EVENTS
};

/* A line of softnet_stat; the kernel counts in 32 bits. */
struct softnet_line {
	int64_t count[SOFTNET_EVENTS]; /* WATCH_UNKNOWN: this kernel does not have it */
	int cpu;		       /* -1: it does not say */
};

/** @return false: there are no more. Lines of less than three columns are left out. */
bool softnet_next(const char **at, struct softnet_line *out);

/* The CPUs that columns of /proc/interrupts and /proc/softirqs are of. */
struct cpu_columns {
	unsigned count;
	uint16_t cpu[CPUS_MOST];
};

/** @return false: the first line is no head. */
bool columns_read(const char *text, struct cpu_columns *out);

/* Counts of a line, CPU by CPU. */
struct row {
	const char *at, *end;
	unsigned column;
};

/** The line that begins with @p label ("64:"), and has @p name in it unless that is NULL. */
bool row_find(const char *text, const char *label, const char *name, struct row *out);
bool row_next(struct row *row, const struct cpu_columns *columns, unsigned *cpu, uint64_t *count);

/* Ticks of one CPU of /proc/stat. */
struct cpu_ticks {
	unsigned cpu;
	uint64_t softirq, all;
};

bool ticks_next(const char **at, struct cpu_ticks *out);

/**
 * /proc/PID/stat of a thread, whose name may hold anything.
 * @param name  At least 16 octets.
 * @return the CPU that it last ran on, or WATCH_UNKNOWN.
 */
int64_t text_thread(const char *text, char *name);
