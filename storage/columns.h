/**
 * @file
 * What a row holds: one line per value. The lists only ever grow at their end: blocks of an older
 * format hold fewer values, and those that are missing read as absent. Source: the columns of
 * Homer's sip_capture (create_sipcapture_version_4.sql; schema_data.sql of Homer 5).
 *
 * X(name, value) with `m` the struct msg, `s` the struct sip, `w` the struct row_extras of the
 * worker.
 */
#pragma once
#include <stdbool.h>

/* Numbers, 8 octets each. Absent is 0, but expires is -1. */
#define ROW_NUMBERS(X)                         \
	X(micro_ts, (int64_t)m->ts_us)         \
	X(source_port, m->src.port)            \
	X(destination_port, m->dst.port)       \
	X(contact_port, s->contact.port)       \
	X(originator_port, s->originator_port) \
	X(proto, w->proto)                     \
	X(family, m->src.family)               \
	X(type, w->type)                       \
	X(expires, s->expires)

/* Text, octets as they were on the wire. Absent is empty. `msg` comes first in the row's bytes, the
 * others mostly point into it. */
#define ROW_TEXTS(X)                         \
	X(msg, m->payload)                   \
	X(method, s->method)                 \
	X(reply_reason, s->reply_reason)     \
	X(ruri, s->ruri)                     \
	X(ruri_user, s->ruri_user)           \
	X(ruri_domain, s->ruri_host)         \
	X(from_user, s->from.user)           \
	X(from_domain, s->from.host)         \
	X(from_tag, s->from.tag)             \
	X(to_user, s->to.user)               \
	X(to_domain, s->to.host)             \
	X(to_tag, s->to.tag)                 \
	X(pid_user, s->pid_user)             \
	X(contact_user, s->contact.user)     \
	X(contact_ip, s->contact.host)       \
	X(auth_user, s->auth_user)           \
	X(auth, s->auth)                     \
	X(callid, s->callid)                 \
	X(callid_aleg, w->callid_aleg)       \
	X(via_1, s->via_1)                   \
	X(via_1_branch, s->via_1_branch)     \
	X(cseq, s->cseq)                     \
	X(diversion, s->diversion)           \
	X(reason, s->reason)                 \
	X(content_type, s->content_type)     \
	X(user_agent, s->user_agent)         \
	X(source_ip, w->source_ip)           \
	X(destination_ip, w->destination_ip) \
	X(originator_ip, s->originator_ip)   \
	X(rtp_stat, s->rtp_stat)             \
	X(correlation_id, w->correlation_id) \
	X(node, w->node)                     \
	X(custom_field1, w->custom_field[0]) \
	X(custom_field2, w->custom_field[1]) \
	X(custom_field3, w->custom_field[2]) \
	X(route, w->route) /* no column: the table that a rule chose for a SIP message */

/*
 * Columns of a live table that take one of these values under another name, or one that is made
 * when the row is written: id (drawn from a lease), date (micro_ts in seconds), authorization
 * (auth), msg_raw (msg, where its text had to be repaired).
 */

enum row_number {
#define X(name, value) ROW_##name,
	ROW_NUMBERS(X)
#undef X
		ROW_NUMBER_COUNT
};

enum row_text {
#define X(name, value) ROW_##name,
	ROW_TEXTS(X)
#undef X
		ROW_TEXT_COUNT
};

/* Is there a column of that name? */
static inline bool row_text_is_column(enum row_text t)
{
	return t != ROW_route;
}

/* Homer's tables that rows can go to; the number is in the blocks and keeps its meaning. */
enum row_table {
	ROW_TABLE_SIP_CAPTURE = 1,
	ROW_TABLE_RTCP_CAPTURE,
	ROW_TABLE_REPORT_CAPTURE,
	ROW_TABLE_LOGS_CAPTURE,
	ROW_TABLE_STATISTICS, /* a row of sums, in blocks of their own */
	ROW_TABLE_END
};

/*
 * What a row of sums holds: how many more there were of something. Its blocks have these values
 * instead of the ones above.
 */
#define DELTA_NUMBERS(X)                                       \
	X(kind) /* enum delta_kind */                          \
	X(at)	/* where its interval begins, s since 1970 */  \
	X(auth) /* 0 or 1, as is the next one: stats_method */ \
	X(totag)                                               \
	X(total)

#define DELTA_TEXTS(X)                                           \
	X(name) /* method, status code or type */                \
	X(cseq) /* stats_method: the method that was answered */ \
	X(text) /* address or user agent */

enum delta_number {
#define X(name) DELTA_##name,
	DELTA_NUMBERS(X)
#undef X
		DELTA_NUMBER_COUNT
};

enum delta_text {
#define X(name) DELTA_##name,
	DELTA_TEXTS(X)
#undef X
		DELTA_TEXT_COUNT
};

/* Where a sum goes; the number is in the blocks. Intervals are DELTA_BUCKET_S, but for alarms. */
enum delta_kind {
	DELTA_KIND_METHOD = 1,
	DELTA_KIND_DATA,
	DELTA_KIND_IP,
	DELTA_KIND_USERAGENT,
	DELTA_KIND_ALARM,   /* replies of a minute, all or from one address */
	DELTA_KIND_SCANNER, /* requests of scanners from one address */
	DELTA_KIND_END
};

#define DELTA_BUCKET_S 300
#define DELTA_ALARM_S  60

/* What a SIP message is about: Homer 5 has a table for each. The number is in the blocks too. */
enum row_kind { ROW_KIND_CALL, ROW_KIND_REGISTRATION, ROW_KIND_REST, ROW_KIND_END };
