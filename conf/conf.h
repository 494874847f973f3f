/**
 * @file
 * The configuration file: YAML by libyaml, one table of options (conf/options.h), a struct filled
 * from it. Every error names file, line, column, key and what was expected.
 * Threads: reading happens in the main thread; a finished struct conf is constant.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "conf/filter.h"
#include "conf/log.h"

enum conf_layout { CONF_LAYOUT_HOMER3, CONF_LAYOUT_HOMER5 };
enum conf_compat { CONF_COMPAT_HOMER, CONF_COMPAT_KAMAILIO, CONF_COMPAT_OPENSIPS };
enum conf_method { CONF_METHOD_AF_PACKET, CONF_METHOD_PCAP };
enum conf_switch { CONF_TRUE, CONF_FALSE };
enum conf_partition { CONF_PARTITION_DAY, CONF_PARTITION_HOUR };
enum conf_tune { CONF_TUNE_OFF, CONF_TUNE_REPORT, CONF_TUNE_AUTO, CONF_TUNE_FULL };
enum conf_smt { CONF_SMT_IGNORE, CONF_SMT_USE };
enum conf_placement { CONF_PLACEMENT_SAME, CONF_PLACEMENT_SPLIT };
enum conf_require {
	CONF_REQUIRE_PIN,
	CONF_REQUIRE_INTERRUPTS,
	CONF_REQUIRE_BUFFERS,
	CONF_REQUIRE_RINGS
};
enum conf_durability { CONF_DURABILITY_SPOOL, CONF_DURABILITY_DISK, CONF_DURABILITY_MEMORY };

#define CONF_MAX_LISTENERS   16 /* entries of `hep` */
#define CONF_MAX_CAPTURES    16 /* entries of `capture` */
#define CONF_MAX_FILTERS     FILTER_MAX_RULES
#define CONF_MAX_SOURCES     (CONF_MAX_LISTENERS + CONF_MAX_CAPTURES)
#define CONF_MAX_PORTS	     64 /* of one of them, for SIP and for HEP each */
#define CONF_RING_LEAST	     (UINT64_C(1) << 20)
#define CONF_MAX_ENDPOINTS   8	/* addresses of one listener */
#define CONF_MAX_NETS	     64 /* networks of one allow list */
#define CONF_MAX_KEYS	     16 /* keys of one listener */
#define CONF_MAX_LEGS	     8	/* entries of `legs` */
#define CONF_MAX_CUSTOM	     3	/* headers in `custom_fields` */
#define CONF_MAX_RECEIVERS   8	/* addresses that events are sent to */
#define CONF_MAX_DAILY_TABLE 42 /* octets of `storage.table` with daily tables; names have 64 */

/* A list of strings; each is owned by the struct conf. */
struct conf_strings {
	size_t count;
	char **at;
};

/* An address to listen on, from "udp:ADDRESS:PORT" or "tcp:ADDRESS:PORT" (IPv6 in brackets). */
struct conf_endpoint {
	struct sockaddr_storage addr;
	socklen_t addr_len;
	bool is_stream; /* TCP */
	char text[96];	/* as written, for messages */
};

/*
 * A network, from "10.0.0.0/8", "fc00::/7" or one address. IPv4 is held as ::ffff:a.b.c.d, prefix +
 * 96.
 */
struct conf_net {
	uint8_t ip[16];
	uint8_t prefix; /* bits, 0 to 128 */
};

struct conf_listener {
	char *name; /* the `source` label of metrics */
	struct conf_endpoint listen[CONF_MAX_ENDPOINTS];
	size_t listen_count;
	struct conf_net allow[CONF_MAX_NETS];
	size_t allow_count;
	struct conf_strings keys; /* accepted HEP auth keys; none: not asked */
	unsigned max_rate;	  /* messages a second of one agent; 0: any number */
	/* of its TCP side; times in s, 0: without end */
	unsigned max_connections;
	unsigned first_message_timeout;
	unsigned message_timeout;
	unsigned idle_timeout;
};

/* A source of packets: a mirror port, or a file. */
struct conf_capture {
	char *name;	 /* the `source` label of metrics */
	char *interface; /* exactly one of these two is not "" */
	char *file;
	enum conf_method method;
	unsigned ports[CONF_MAX_PORTS];
	size_t port_count;
	char *bpf; /* "": made from the ports */
	unsigned hep_ports[CONF_MAX_PORTS];
	size_t hep_port_count;
	enum conf_switch rtcp;
	unsigned threads; /* 0: decided by tune/ */
	uint64_t ring;	  /* bytes per thread; 0: decided by tune/ */
	enum conf_switch promiscuous;
};

/* A rule; conf/filter.h compiles them. */
struct conf_filter {
	char *name; /* the `rule` label of metrics */
	char *when; /* never "" */
	char *action;
	char *table; /* "": where such messages always go */
	enum filter_scope scope;
};

struct conf {
	char *file; /* where it was read from; "" for the defaults alone */
	char *node;
	unsigned node_id;	 /* 1..1023 */
	char *user;		 /* "" to stay what we are */
	unsigned hep_threads;	 /* 0: decided by tune/ */
	uint64_t memory;	 /* bytes for blocks, tables and reassembly */
	unsigned max_clock_skew; /* s */
	struct conf_listener hep[CONF_MAX_LISTENERS];
	size_t hep_count;
	struct conf_capture capture[CONF_MAX_CAPTURES];
	size_t capture_count;
	struct conf_filter filters[CONF_MAX_FILTERS];
	size_t filter_count;
	char *default_action;
	struct conf_strings legs; /* conf/leg.h takes them apart */
	struct conf_strings custom_fields;
	struct {
		unsigned window; /* s; 0: copies are not looked for */
	} duplicates;
	struct {
		unsigned calls, media, seen, agents; /* entries */
	} tables;
	struct {
		char *host;
		unsigned port;
		char *socket; /* "" to use host and port */
		char *user;
		char *password; /* never printed */
		char *password_file;
		char *database;
		char *table;
		enum conf_layout layout;
		enum conf_compat compat;
		unsigned batch_rows;
		unsigned batch_ms;
		unsigned writers; /* 0: decided by tune/ */
		enum conf_switch statistics;
		enum conf_partition partition;
		unsigned retention_days;  /* 0: for ever */
		uint64_t retention_bytes; /* 0: any number */
		struct {
			char *dir;
			uint64_t max; /* bytes */
			enum conf_durability durability;
		} spool;
	} storage;
	struct {
		enum conf_tune mode;
		enum conf_switch allow_mgmt_nic;
		enum conf_switch manage_notrack;
		enum conf_switch pin;
		enum conf_smt smt;
		enum conf_placement placement;
		enum conf_require require[4];
		size_t require_count;
		unsigned pps; /* packets/s that each interface may bring; 0: by its speed */
	} tune;
	struct {
		struct conf_endpoint listen;
		char *token_file; /* "" for no token */
	} http;
	struct {
		struct conf_endpoint receivers[CONF_MAX_RECEIVERS];
		size_t receiver_count;
		unsigned agent_silent; /* s; 0: nobody is told */
	} events;
	struct {
		enum log_level level;
		enum log_target target;
	} log;
};

/**
 * Read a configuration file.
 *
 * @param file  Path. NULL: all defaults.
 * @param out   The configuration on success; conf_free() it.
 * @param errors  Where complaints go, one line each, "FILE:LINE:COLUMN: key: what was expected";
 *                all that can be found, not only the first (behind a syntax error nothing can, and
 *                after 100 the rest is summed up). They quote the file, but neither secrets nor
 *                control characters. NULL: nowhere.
 * @return HT_OK, HT_ECONF after at least one complaint, or -errno (also complained about, without
 *         line and column).
 */
HT_MUST_CHECK int conf_read(const char *file, struct conf **out, FILE *errors);

/** The same from bytes in memory; @p name stands for the file. For tests and fuzzing. */
HT_MUST_CHECK int conf_read_bytes(const char *name, const void *bytes, size_t len,
				  struct conf **out, FILE *errors);

/** Free a configuration; NULL is fine. */
void conf_free(struct conf *conf);

/**
 * Print the effective configuration, every key of it, as YAML that conf_read() takes again and that
 * makes an equal configuration. Only a password and keys that are set become '***' comments: add
 * them before using the result.
 */
void conf_print(const struct conf *conf, FILE *out);

/**
 * Which keys differ that take effect only at the next start.
 *
 * Listeners and sources are compared in their order. If none of "hep", "hep[].name" and
 * "hep[].listen[]" is reported, listener i of one is listener i of the other, and what a reload
 * takes of it (allow, keys) may be taken by position.
 *
 * @param differ  Called once for each with its name in the table ("storage.spool.max",
 *                "hep[].listen[]"), or "hep" or "capture" if there are more or fewer of them. The
 * string is never freed.
 * @return how many.
 */
size_t conf_restart_keys(const struct conf *running, const struct conf *fresh,
			 void (*differ)(void *ctx, const char *key), void *ctx);

/**
 * The filters, compiled.
 * @return HT_OK and filter_free() it; -ENOMEM. What was read can be compiled.
 */
HT_MUST_CHECK int conf_compile_filters(const struct conf *conf, struct filter_program **out);

/**
 * The password for the database: `password`, or the first line of `password_file`, which is read on
 * every call.
 *
 * @param out  A string on success, perhaps "". The caller erases it after use.
 * @return HT_OK; -errno if the file cannot be read; -ENODATA if its first line is empty, -EINVAL if
 *         there is a NUL byte in it; -EMSGSIZE if the password and its end do not fit in @p
 *         out_size.
 */
HT_MUST_CHECK int conf_password(const struct conf *conf, char *out, size_t out_size);

/**
 * Is an address in one of the networks? For every packet: no allocation, no branch on the family.
 *
 * @param ip  16 bytes, IPv4 as ::ffff:a.b.c.d; so ::/0 holds every IPv4 address too.
 */
bool conf_net_has(const struct conf_net *nets, size_t count, const uint8_t ip[16]);
