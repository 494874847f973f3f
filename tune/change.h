/**
 * @file
 * One change of the host: what the plan wants, what apply writes, what the journal remembers. Plain
 * data that owns its strings and can be copied.
 */
#pragma once
#include <stdbool.h>

#define TUNE_OBJECT 160
#define TUNE_VALUE  512

enum tune_kind {
	TUNE_IRQ,    /* /proc/irq/N/smp_affinity_list: a list of CPUs; may take effect late */
	TUNE_QUEUE,  /* /sys/class/net/IF/queues/...: a mask of CPUs, compared as a number */
	TUNE_SYSCTL, /* /proc/sys/...: words */
	TUNE_ETHTOOL /* IF/GROUP/KEY, as in tune/ethtool.h */
};

/* The order of struct host_plan's list is the order of writing: channels, rings, features and
   hashes, interrupts, queues, coalescing and pause, sysctls. */
struct tune_change {
	enum tune_kind kind;
	char object[TUNE_OBJECT]; /* path from the root, or IF/GROUP/KEY */
	char nic[16];		  /* the interface that it belongs to; empty: the host */
	char expect[64];	  /* TUNE_IRQ: the interrupt's action name, so that N is still it */
	char now[TUNE_VALUE];	  /* "unknown": could not be read */
	char wanted[TUNE_VALUE];  /* never empty */
	char why[TUNE_VALUE];	  /* the rule with its numbers */
	const char *right;	  /* needed to write; static */
	const char *danger;	  /* static */
	const char *undo;	  /* static; how a person does it, where rollback cannot */
	bool is_auto;		  /* mode auto may; else only full */
	const char *blocked; /* why it is not written here; static or the plan's; NULL: it is */
};
