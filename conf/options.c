/* The table of options. */
#include "conf/options.h"

#include <string.h>

#include "conf/conf.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

#define IN_CONF(field)		  .offset = offsetof(struct conf, field)
#define IN_LISTENER(field)	  .offset = offsetof(struct conf_listener, field)
#define IN_CAPTURE(field)	  .offset = offsetof(struct conf_capture, field)
#define IN_FILTER(field)	  .offset = offsetof(struct conf_filter, field)
#define ENTRIES(least, most)	  .count_min = (least), .count_max = (most)
#define COUNTED_IN(field)	  .count_offset = offsetof(struct conf_listener, field)
#define COUNTED_IN_CAPTURE(field) .count_offset = offsetof(struct conf_capture, field)
#define COUNTED_IN_CONF(field)	  .count_offset = offsetof(struct conf, field)
#define RANGE(least, most, of)	  .min = (least), .max = (most), .unit = (of)

#define NETS_AT_HOME "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1 fc00::/7"

/* clang-format off */
static const struct conf_option options[] = {
	{ .key = "node", .type = CONF_STRING, .when = CONF_RESTART, RANGE(1, 100, "octets"),
	  .value = "node1", IN_CONF(node),
	  .help = "name of this server in the column `node`" },
	{ .key = "node_id", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(1, 1023, ""),
	  .value = "1", IN_CONF(node_id),
	  .help = "number of this server, part of every row id; each of a database has its own" },
	{ .key = "user", .type = CONF_STRING, .when = CONF_RESTART, RANGE(0, 32, "octets"),
	  .value = "heptap", IN_CONF(user),
	  .help = "account to run as once the sockets are open; empty: the one that started it" },
	{ .key = "hep_threads", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(0, 64, ""),
	  .value = "0", IN_CONF(hep_threads),
	  .help = "threads that receive HEP; 0: as many as the host is good for" },
	{ .key = "memory", .type = CONF_SIZE, .when = CONF_RESTART, RANGE(64 * MIB, TIB, "bytes"),
	  .value = "1G", IN_CONF(memory),
	  .help = "memory for messages on their way to the spool, and for what is put together of packets" },
	{ .key = "max_clock_skew", .type = CONF_TIME, .when = CONF_RELOAD, RANGE(0, 86400, "s"),
	  .value = "300", IN_CONF(max_clock_skew),
	  .help = "a message further ahead of our clock gets its time of arrival" },

	{ .key = "hep[].name", .type = CONF_STRING, .when = CONF_RESTART, RANGE(1, 64, "octets"),
	  .value = "agents", IN_LISTENER(name),
	  .help = "name of the listener, the label `source` of its metrics" },
	{ .key = "hep[].listen[]", .type = CONF_LISTEN, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .value = "udp:0.0.0.0:9060 tcp:0.0.0.0:9060", IN_LISTENER(listen), ENTRIES(1, CONF_MAX_ENDPOINTS),
	  COUNTED_IN(listen_count),
	  .help = "addresses to receive on" },
	{ .key = "hep[].allow[]", .type = CONF_NET, .when = CONF_RELOAD, RANGE(0, 0, ""),
	  .value = NETS_AT_HOME, IN_LISTENER(allow), ENTRIES(1, CONF_MAX_NETS),
	  COUNTED_IN(allow_count),
	  .help = "networks whose agents are heard" },
	{ .key = "hep[].keys[]", .type = CONF_STRING, .when = CONF_RELOAD, RANGE(1, 256, "octets"),
	  .value = "", IN_LISTENER(keys), ENTRIES(0, CONF_MAX_KEYS), .is_secret = true,
	  .help = "authentication keys that are accepted; none: not asked for" },
	{ .key = "hep[].max_rate", .type = CONF_NUMBER, .when = CONF_RELOAD,
	  RANGE(0, 1000000, ""), .value = "0", IN_LISTENER(max_rate),
	  .help = "messages a second of one agent, what is above is denied; 0: any number" },
	{ .key = "hep[].max_connections", .type = CONF_NUMBER, .when = CONF_RELOAD,
	  RANGE(1, 65536, ""), .value = "1024", IN_LISTENER(max_connections),
	  .help = "TCP connections at a time" },
	{ .key = "hep[].first_message_timeout", .type = CONF_TIME, .when = CONF_RELOAD,
	  RANGE(0, 86400, "s"), .value = "300", IN_LISTENER(first_message_timeout),
	  .help = "a TCP connection without a whole packet by then is closed; 0: never" },
	{ .key = "hep[].message_timeout", .type = CONF_TIME, .when = CONF_RELOAD,
	  RANGE(0, 86400, "s"), .value = "30", IN_LISTENER(message_timeout),
	  .help = "a packet that has begun on a TCP connection has to be complete by then; "
		  "0: never" },
	{ .key = "hep[].idle_timeout", .type = CONF_TIME, .when = CONF_RELOAD,
	  RANGE(0, 2592000, "s"), .value = "86400", IN_LISTENER(idle_timeout),
	  .help = "a TCP connection that is silent for so long is closed; 0: never" },

	{ .key = "capture[].name", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(1, 64, "octets"), .value = "mirror", IN_CAPTURE(name),
	  .help = "name of the source, the label `source` of its metrics" },
	{ .key = "capture[].interface", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 15, "octets"), .value = "", IN_CAPTURE(interface),
	  .help = "network interface to take packets from" },
	{ .key = "capture[].file", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 4095, "octets"), .value = "", IN_CAPTURE(file),
	  .help = "capture file to take packets from, instead of an interface" },
	{ .key = "capture[].method", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "af_packet|pcap", .value = "af_packet", IN_CAPTURE(method),
	  .help = "how: rings of the kernel, or libpcap" },
	{ .key = "capture[].ports[]", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1, 65535, ""), .value = "5060 5061", IN_CAPTURE(ports), ENTRIES(1, CONF_MAX_PORTS),
	  COUNTED_IN_CAPTURE(port_count),
	  .help = "ports of UDP, TCP and SCTP where SIP is" },
	{ .key = "capture[].bpf", .type = CONF_BPF, .when = CONF_RESTART, RANGE(0, 4096, "octets"),
	  .value = "", IN_CAPTURE(bpf),
	  .help = "packet filter in place of the one made from the ports" },
	{ .key = "capture[].hep_ports[]", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1, 65535, ""), .value = "", IN_CAPTURE(hep_ports), ENTRIES(0, CONF_MAX_PORTS),
	  COUNTED_IN_CAPTURE(hep_port_count),
	  .help = "ports of UDP and TCP where HEP between others is" },
	{ .key = "capture[].rtcp", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "true", IN_CAPTURE(rtcp),
	  .help = "take RTCP of calls whose session descriptions were seen, whatever its port" },
	{ .key = "capture[].threads", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(0, 64, ""),
	  .value = "0", IN_CAPTURE(threads),
	  .help = "threads, each with a ring; 0: one" },
	{ .key = "capture[].ring", .type = CONF_SIZE, .when = CONF_RESTART,
	  RANGE(0, 16384 * MIB, "bytes"), .value = "0", IN_CAPTURE(ring),
	  .help = "bytes of the ring of each thread; 0: what the host is good for" },
	{ .key = "capture[].promiscuous", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "true", IN_CAPTURE(promiscuous),
	  .help = "take what is addressed to others, as a mirror port needs" },

	{ .key = "filters[].name", .type = CONF_STRING, .when = CONF_RELOAD,
	  RANGE(1, 64, "octets"), .value = "rule", IN_FILTER(name),
	  .help = "name of the rule, the label `rule` of its metrics" },
	{ .key = "filters[].when", .type = CONF_CONDITION, .when = CONF_RELOAD,
	  RANGE(0, FILTER_MAX_OCTETS, "octets"), .value = "", IN_FILTER(when),
	  .help = "the condition" },
	{ .key = "filters[].action", .type = CONF_ACTION, .when = CONF_RELOAD,
	  RANGE(0, 0, ""), .value = "store", IN_FILTER(action),
	  .help = "what becomes of messages that match: store, drop, sample N% or limit N/s" },
	{ .key = "filters[].table", .type = CONF_IDENTIFIER, .when = CONF_RELOAD,
	  RANGE(0, 64, "octets"), .value = "", IN_FILTER(table),
	  .help = "table for them; empty: the one they always go to" },
	{ .key = "filters[].scope", .type = CONF_WORD, .when = CONF_RELOAD, RANGE(0, 0, ""),
	  .words = "auto|message|dialog", .value = "auto", IN_FILTER(scope),
	  .help = "whether each message is tested, or what begins a dialog for all of it" },
	{ .key = "default_action", .type = CONF_ACTION, .when = CONF_RELOAD, RANGE(0, 0, ""),
	  .value = "store", IN_CONF(default_action),
	  .help = "what becomes of messages that no rule matches" },

	{ .key = "legs[]", .type = CONF_LEG, .when = CONF_RELOAD, RANGE(1, 1024, "octets"),
	  .value = "X-CID", IN_CONF(legs), ENTRIES(0, CONF_MAX_LEGS),
	  .help = "headers that join the legs of a call" },
	{ .key = "custom_fields[]", .type = CONF_HEADER, .when = CONF_RELOAD,
	  RANGE(1, 64, "octets"),
	  .value = "", IN_CONF(custom_fields), ENTRIES(0, CONF_MAX_CUSTOM),
	  .help = "headers stored in the columns custom_field1 to custom_field3" },

	{ .key = "duplicates.window", .type = CONF_TIME, .when = CONF_RELOAD, RANGE(0, 10, "s"),
	  .value = "5", IN_CONF(duplicates.window),
	  .help = "time in which copies of a message from several sources are stored once; 0: all are" },

	{ .key = "tables.calls", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1024, 100000000, ""), .value = "1000000", IN_CONF(tables.calls),
	  .help = "calls that are remembered" },
	{ .key = "tables.media", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1024, 100000000, ""), .value = "500000", IN_CONF(tables.media),
	  .help = "addresses of media that are remembered" },
	{ .key = "tables.seen", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1024, 100000000, ""), .value = "1000000", IN_CONF(tables.seen),
	  .help = "messages that copies are recognised of" },
	{ .key = "tables.agents", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(16, 16384, ""),
	  .value = "4096", IN_CONF(tables.agents),
	  .help = "agents that are told apart" },

	{ .key = "storage.host", .type = CONF_STRING, .when = CONF_RESTART, RANGE(1, 255, "octets"),
	  .value = "localhost", IN_CONF(storage.host),
	  .help = "host of the database" },
	{ .key = "storage.port", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(1, 65535, ""),
	  .value = "3306", IN_CONF(storage.port),
	  .help = "TCP port of the database" },
	{ .key = "storage.socket", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 107, "octets"),
	  .value = "", IN_CONF(storage.socket),
	  .help = "Unix socket of the database; empty: host and port" },
	{ .key = "storage.user", .type = CONF_STRING, .when = CONF_RESTART, RANGE(1, 128, "octets"),
	  .value = "homeruser", IN_CONF(storage.user),
	  .help = "account in the database" },
	{ .key = "storage.password", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 1024, "octets"),
	  .value = "", IN_CONF(storage.password), .is_secret = true,
	  .help = "its password; password_file is the better place" },
	{ .key = "storage.password_file", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 4095, "octets"), .value = "", IN_CONF(storage.password_file),
	  .help = "file whose first line is the password" },
	{ .key = "storage.database", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(1, 64, "octets"),
	  .value = "homer_db", IN_CONF(storage.database),
	  .help = "database that Homer reads" },
	{ .key = "storage.table", .type = CONF_IDENTIFIER, .when = CONF_RESTART,
	  RANGE(1, 64, "octets"),
	  .value = "sip_capture", IN_CONF(storage.table),
	  .help = "table for SIP messages" },
	{ .key = "storage.layout", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "homer3|homer5", .value = "homer3", IN_CONF(storage.layout),
	  .help = "one table for SIP messages, or one for each day and kind" },
	{ .key = "storage.compat", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "homer|kamailio|opensips", .value = "homer", IN_CONF(storage.compat),
	  .help = "whose column values to write" },
	{ .key = "storage.batch_rows", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(1, 10000, ""),
	  .value = "1000", IN_CONF(storage.batch_rows),
	  .help = "rows of one transaction, at most" },
	{ .key = "storage.batch_ms", .type = CONF_TIME, .when = CONF_RESTART, RANGE(1, 1000, "ms"),
	  .value = "20", IN_CONF(storage.batch_ms),
	  .help = "longest time that a row waits for others" },
	{ .key = "storage.writers", .type = CONF_NUMBER, .when = CONF_RESTART, RANGE(0, 8, ""),
	  .value = "0", IN_CONF(storage.writers),
	  .help = "connections that write to the database; 0: as many as host and tables are good for" },
	{ .key = "storage.statistics", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "true", IN_CONF(storage.statistics),
	  .help = "whether to count for Homer's statistics and alarms" },
	{ .key = "storage.partition", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "day|hour", .value = "day", IN_CONF(storage.partition),
	  .help = "how much time a partition holds" },
	{ .key = "storage.retention_days", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(0, 36500, ""), .value = "10", IN_CONF(storage.retention_days),
	  .help = "days after which partitions and daily tables are dropped; 0: never" },
	{ .key = "storage.retention_bytes", .type = CONF_SIZE, .when = CONF_RESTART,
	  RANGE(0, 1024 * TIB, "bytes"), .value = "0", IN_CONF(storage.retention_bytes),
	  .help = "size of the capture tables above which the oldest are dropped; 0: any" },
	{ .key = "storage.spool.dir", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(1, 4000, "octets"),
	  .value = "/var/spool/heptap", IN_CONF(storage.spool.dir),
	  .help = "directory for rows that are not in the database yet" },
	{ .key = "storage.spool.max", .type = CONF_SIZE, .when = CONF_RESTART,
	  RANGE(16 * MIB, 1024 * TIB, "bytes"), .value = "20G", IN_CONF(storage.spool.max),
	  .help = "most that the spool takes of the disk" },
	{ .key = "storage.spool.durability", .type = CONF_WORD, .when = CONF_RESTART,
	  RANGE(0, 0, ""),
	  .words = "spool|disk|memory", .value = "spool", IN_CONF(storage.spool.durability),
	  .help = "what the spool survives: the end of the process, of the power, or neither" },

	{ .key = "tune.mode", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "off|report|auto|full", .value = "auto", IN_CONF(tune.mode),
	  .help = "how far this host is fitted to its load" },
	{ .key = "tune.pin", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "true", IN_CONF(tune.pin),
	  .help = "threads stay on their cores; false: they run where the kernel puts them" },
	{ .key = "tune.smt", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "ignore|use", .value = "ignore", IN_CONF(tune.smt),
	  .help = "whether both threads of a core count as cores" },
	{ .key = "tune.placement", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "same|split", .value = "same", IN_CONF(tune.placement),
	  .help = "capture threads on the cores of their interrupts, or beside them" },
	{ .key = "tune.require[]", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "pin|interrupts|buffers|rings", .value = "", IN_CONF(tune.require), ENTRIES(0, 4),
	  COUNTED_IN_CONF(tune.require_count),
	  .help = "what must come out as planned, or the server does not start" },
	{ .key = "tune.allow_mgmt_nic", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "false", IN_CONF(tune.allow_mgmt_nic),
	  .help = "fit the interface of the default route, too, if `capture` names it" },
	{ .key = "tune.manage_notrack", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "true|false", .value = "false", IN_CONF(tune.manage_notrack),
	  .help = "have a table of nftables keep HEP over UDP out of connection tracking" },
	{ .key = "tune.pps", .type = CONF_NUMBER, .when = CONF_RESTART,
	  RANGE(0, 1000000000, "packets/s"), .value = "0", IN_CONF(tune.pps),
	  .help = "packets that an interface of `capture` brings; 0: by its speed" },

	{ .key = "http.listen", .type = CONF_ADDRESS, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .value = "127.0.0.1:9080", IN_CONF(http.listen),
	  .help = "address of the metrics and of the status page" },
	{ .key = "http.token_file", .type = CONF_STRING, .when = CONF_RESTART,
	  RANGE(0, 4095, "octets"),
	  .value = "", IN_CONF(http.token_file),
	  .help = "file with the token that HTTP clients must show; empty: none" },

	{ .key = "events.receivers[]", .type = CONF_RECEIVER, .when = CONF_RELOAD, RANGE(0, 0, ""),
	  .value = "", IN_CONF(events.receivers), ENTRIES(0, CONF_MAX_RECEIVERS),
	  COUNTED_IN_CONF(events.receiver_count),
	  .help = "addresses that get each event as a datagram" },
	{ .key = "events.agent_silent", .type = CONF_TIME, .when = CONF_RELOAD,
	  RANGE(0, 604800, "s"), .value = "300", IN_CONF(events.agent_silent),
	  .help = "an agent that was not heard for so long is an event; 0: never" },

	{ .key = "log.level", .type = CONF_WORD, .when = CONF_RELOAD, RANGE(0, 0, ""),
	  .words = "error|warning|info|debug", .value = "info", IN_CONF(log.level),
	  .help = "least important lines that are written" },
	{ .key = "log.target", .type = CONF_WORD, .when = CONF_RESTART, RANGE(0, 0, ""),
	  .words = "stderr|syslog", .value = "stderr", IN_CONF(log.target),
	  .help = "where lines go" },
};
/* clang-format on */

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

_Static_assert(OPTION_COUNT <= CONF_OPTIONS_MAX, "CONF_OPTIONS_MAX is too small");

const struct conf_option *conf_option_at(size_t i)
{
	return i < OPTION_COUNT ? &options[i] : NULL;
}

bool conf_option_is_list(const struct conf_option *o)
{
	return o->count_max > 0;
}

static const struct conf_group groups[CONF_GROUPS] = {
	{ "hep", "hep[].", "listener", offsetof(struct conf, hep), offsetof(struct conf, hep_count),
	  sizeof(struct conf_listener), 1, CONF_MAX_LISTENERS, false },
	{ "capture", "capture[].", "source", offsetof(struct conf, capture),
	  offsetof(struct conf, capture_count), sizeof(struct conf_capture), 0, CONF_MAX_CAPTURES,
	  false },
	{ "filters", "filters[].", "rule", offsetof(struct conf, filters),
	  offsetof(struct conf, filter_count), sizeof(struct conf_filter), 0, CONF_MAX_FILTERS,
	  true },
};

const struct conf_group *conf_group_at(size_t i)
{
	return &groups[i];
}

int conf_option_group(const struct conf_option *o)
{
	for (int i = 0; i < CONF_GROUPS; i++) {
		if (strncmp(o->key, groups[i].prefix, strlen(groups[i].prefix)) == 0)
			return i;
	}
	return -1;
}

size_t conf_group_count(const struct conf_group *g, const struct conf *conf)
{
	return *(const size_t *)(const void *)((const char *)conf + g->count_offset);
}

void *conf_group_entry(const struct conf_group *g, const struct conf *conf, size_t i)
{
	return (char *)conf + g->offset + i * g->bytes;
}

size_t conf_option_leaf(const struct conf_option *o, const char **leaf)
{
	const char *dot = strrchr(o->key, '.');

	*leaf = dot ? dot + 1 : o->key;
	return strcspn(*leaf, "[");
}
