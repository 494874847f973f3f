/**
 * @file
 * The table of options: everything the configuration knows about a key stands in one row. Reading,
 * range errors, defaults, `heptap config`, what needs a restart, and the tests of the manual are
 * all made from it.
 * Threads: constant; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_type {
	CONF_STRING,	 /* min and max are octets */
	CONF_IDENTIFIER, /* a name in the database */
	CONF_HEADER,	 /* the name of a SIP header */
	CONF_LEG,	 /* a header that joins legs, conf/leg.h */
	CONF_BPF,	 /* a packet filter as tcpdump takes it, or "" */
	CONF_CONDITION,	 /* of a filter, or "" */
	CONF_ACTION,	 /* of a filter */
	CONF_WORD,	 /* one of `words`, held as an enum that counts them from 0 */
	CONF_NUMBER,	 /* unsigned */
	CONF_TIME,	 /* unsigned, in `unit`; may be written with ms, s, m or h */
	CONF_SIZE,	 /* uint64_t, bytes; may be written with K, M, G or T */
	CONF_LISTEN,	 /* struct conf_endpoint from udp:ADDRESS:PORT or tcp:ADDRESS:PORT */
	CONF_ADDRESS,	 /* struct conf_endpoint from ADDRESS:PORT */
	CONF_RECEIVER,	 /* struct conf_endpoint from udp:ADDRESS:PORT */
	CONF_NET,	 /* struct conf_net */
};

enum conf_when {
	CONF_RELOAD,  /* a reload takes the new value */
	CONF_RESTART, /* only the next start does */
};

struct conf_option {
	const char
		*key; /* "storage.spool.max"; "legs[]" is a list; "hep[].name" is in each of hep */
	enum conf_type type;
	enum conf_when when;
	bool is_secret;	   /* never shown */
	const char *unit;  /* of the number: "", "s", "ms", "bytes", "octets" */
	uint64_t min, max; /* of the number, or octets of the string; of each entry of a list */
	const char *words; /* of a CONF_WORD, "a|b|c" */
	const char *value; /* the default as in the file; one space between entries of a list */
	const char *help;  /* one sentence without its period */
	size_t offset;	   /* in struct conf, or in the entry of its group */

	/* Of a list: how many entries, and where their count is if not in a struct conf_strings. */
	size_t count_min, count_max;
	size_t count_offset;
};

#define CONF_OPTIONS_MAX 80

/** The rows in the order of the file, those of a section together; NULL behind the last. */
const struct conf_option *conf_option_at(size_t i);

/** Is it a list, such as "legs[]" or "hep[].allow[]"? */
bool conf_option_is_list(const struct conf_option *o);

/* A list of sections, `hep`, `capture` or `filters`: an array in struct conf whose entries are
 * structs of their own. */
struct conf_group {
	const char *name;	     /* "hep" */
	const char *prefix;	     /* of its options' keys: "hep[]." */
	const char *entry;	     /* what one is called: "listener" */
	size_t offset, count_offset; /* of the array and of its count, in struct conf */
	size_t bytes;		     /* of an entry */
	size_t count_unasked;	     /* entries, of defaults, if the file has none */
	size_t count_max;
	bool is_reloaded; /* there may be more or fewer without a restart */
};

#define CONF_GROUPS 3

/** @p i: less than CONF_GROUPS; in the order of the file. */
const struct conf_group *conf_group_at(size_t i);

/** The number of the group that an option is of; -1: it is in struct conf itself. */
int conf_option_group(const struct conf_option *o);

struct conf;
/** How many entries a group has, and where one of them is. */
size_t conf_group_count(const struct conf_group *g, const struct conf *conf);
void *conf_group_entry(const struct conf_group *g, const struct conf *conf, size_t i);

/** The last part of the key without "[]", "max" of "storage.spool.max". @return its length. */
size_t conf_option_leaf(const struct conf_option *o, const char **leaf);
