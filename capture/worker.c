/* From datagram to row: the whole flow is worker_hep(). */
#include "capture/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/decide.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/tally.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "conf/ring.h"
#include "hep/codec.h"
#include "hep/inflate.h"
#include "hep/json.h"
#include "hep/listener.h"
#include "hep/msg.h"
#include "hep/quality.h"
#include "hep/rtcp.h"
#include "hep/sip.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/spool.h"

#define KNOWN_IPS_BITS 8
#define ROOM_BLOCKS    2 /* free ones that TCP leaves to UDP */
#define BLOCK_WAIT_MS  1
#define SUMS_US	       1000000 /* sums are written so often */
#define HEP_TYPES      256

_Static_assert(RTCP_TEXT <= HEP_MAX_BYTES, "one buffer is for both");

/* An address and its text. */
struct known_ip {
	uint8_t ip[16];
	uint8_t family; /* FAMILY_NONE: nothing here */
	uint8_t len;
	char text[INET6_ADDRSTRLEN];
};

struct worker {
	struct worker_options options;
	struct source_counters *sources;
	struct inflater *inflater;
	struct decider *decider;
	struct ring sealed, empty;
	struct block **spare; /* taken from `empty`; the last one back is the first one used, while
				 it is warm in the cache */
	unsigned spare_count;
	struct block *open; /* NULL: to be taken from `spare` */
	struct gauge
		taken; /* blocks that are not free; the thread's, in its own line of the cache */
	struct pressure memory;
	const _Atomic bool *is_patient;	 /* NULL: the source does not wait */
	unsigned spool_level;		 /* of pressure, during a batch */
	uint64_t mono_us;		 /* of the batch */
	uint64_t sealed_us;		 /* monotonic time of the last seal */
	struct tally *statistics;	 /* NULL: nothing is counted for them */
	uint64_t sums_us;		 /* monotonic time its sums were last written */
	uint64_t wall_us;		 /* of the batch */
	uint64_t came_us;		 /* when HEP came: now, or when its packet was captured */
	const struct snapshot *snapshot; /* during a batch */
	counter types[HEP_TYPES];
	/* the agent of the last record, and what is to be added to it; only within a batch */
	struct agent *agent;
	struct agent_key agent_key;
	struct agent_tally tally;
	uint8_t *text; /* HEP_MAX_BYTES: SIP that came inside JSON, or RTCP as JSON */
	/* texts of the row that is being made */
	char node[104 + 1 + 10];
	struct known_ip known_src[1 << KNOWN_IPS_BITS], known_dst[1 << KNOWN_IPS_BITS];
};

const counter *worker_types(const struct worker *w)
{
	return w->types;
}

struct source_counters *worker_source(struct worker *w, unsigned source)
{
	return &w->sources[source];
}

const struct tally_counters *worker_tally(const struct worker *w)
{
	return w->statistics ? tally_counters(w->statistics) : NULL;
}

void worker_decisions(const struct worker *w, struct stats_decisions *out)
{
	decider_tell(w->decider, out);
}

const struct pressure *worker_pressure(const struct worker *w)
{
	return &w->memory;
}

/* ---- blocks ---- */

/* One that is free goes on a stack, so those that were never taken stay at its bottom. */
void worker_memory(const struct worker *w, struct memory_use *sum)
{
	uint64_t most = counter_get(&w->taken.most) * BLOCK_MAX_BYTES;

	sum->used += counter_get(&w->taken.now) * BLOCK_MAX_BYTES;
	sum->real_used += most;
	sum->max_used += most;
	sum->limit += (uint64_t)w->options.blocks * BLOCK_MAX_BYTES;
}

static void hand_over(struct worker *w, struct block *b)
{
	uint64_t one = 1;

	block_seal(b);
	if (!ring_put(&w->sealed, b))
		abort(); /* the ring holds as many as there are blocks */
	if (write(w->options.spool_fd, &one, sizeof(one)) < 0)
		log_debug("worker: %s", ht_strerror(-errno));
}

static void seal(struct worker *w, uint64_t mono_us)
{
	if (!w->open || w->open->rows == 0)
		return;
	hand_over(w, w->open);
	w->open = NULL;
	w->sealed_us = mono_us;
}

static void spare_gather(struct worker *w)
{
	struct block *b;

	while ((b = ring_take(&w->empty)))
		w->spare[w->spare_count++] = b;
	gauge_set(&w->taken, w->options.blocks - w->spare_count);
}

/* There is a spare one. */
static struct block *spare_take(struct worker *w)
{
	struct block *b = w->spare[--w->spare_count];

	gauge_set(&w->taken, w->options.blocks - w->spare_count);
	return b;
}

static struct block *open_block(struct worker *w)
{
	if (w->open)
		return w->open;
	spare_gather(w);
	if (w->spare_count)
		w->open = spare_take(w);
	return w->open;
}

/* Sums take no block that a message may need: without one they stay where they are, and grow. */
static struct block *sums_block(struct worker *w)
{
	spare_gather(w);
	return w->spare_count > (w->open ? 0U : 1U) ? spare_take(w) : NULL;
}

/* The messages go first, so that no more is counted than is stored, whenever the process ends. */
static void sums_write(struct worker *w, uint64_t mono_us)
{
	struct block *b;

	if (!w->statistics || !tally_has_sums(w->statistics))
		return;
	seal(w, mono_us);
	while (tally_has_sums(w->statistics) && (b = sums_block(w))) {
		tally_write(w->statistics, b, w->wall_us);
		hand_over(w, b);
	}
}

/* ---- decisions ---- */

/* Of equal length and content, in a time that depends on the lengths alone. */
static bool key_is(struct view key, const char *accepted)
{
	size_t len = strlen(accepted);
	uint8_t differ = key.len != len;

	for (size_t i = 0; i < len; i++)
		differ |= (uint8_t)accepted[i] ^ (key.len ? key.at[i % key.len] : 0);
	return differ == 0;
}

/* @p l: NULL: HEP that was sent to somebody else, whose matter that is. */
static bool key_is_accepted(const struct conf_listener *l, const struct msg *m)
{
	bool is_accepted = !l || l->keys.count == 0;

	if (is_accepted)
		return true;
	for (size_t i = 0; i < l->keys.count; i++)
		is_accepted |= m->has_key && key_is(m->key, l->keys.at[i]);
	return is_accepted;
}

static void malformed_count(struct source_counters *c, ssize_t err)
{
	counter *reason = err == HT_EVERSION   ? &c->malformed_version
			  : err == HT_ELENGTH  ? &c->malformed_length
			  : err == HT_ECHUNK   ? &c->malformed_chunk
			  : err == HT_EADDRESS ? &c->malformed_address
					       : &c->malformed_short;

	counter_add(reason, 1);
}

/*
 * What a SIP message is about, by the method of its CSeq, so that replies follow their requests.
 * Class: what is shed first under pressure; 1 are reports, 5 is an INVITE dialog.
 */
struct sort {
	const char *lower;
	uint8_t class;
	uint8_t kind; /* enum row_kind */
};

/* "refer", or "refer;id=93809824" (RFC 3515). */
static bool is_refer(struct view event)
{
	struct cursor c = cursor_over_view(event);
	struct view package = cursor_until(&c, ';');

	while (package.len && package.at[package.len - 1] <= ' ')
		package.len--;
	return view_is_nocase(package, "refer");
}

static const struct sort *sip_sort(const struct sip *s)
{
	static const struct sort sorts[] = {
		{ "invite", 5, ROW_KIND_CALL },	 { "ack", 5, ROW_KIND_CALL },
		{ "bye", 5, ROW_KIND_CALL },	 { "register", 3, ROW_KIND_REGISTRATION },
		{ "options", 2, ROW_KIND_REST }, { "cancel", 5, ROW_KIND_CALL },
		{ "prack", 5, ROW_KIND_CALL },	 { "update", 5, ROW_KIND_CALL },
		{ "info", 5, ROW_KIND_CALL },	 { "refer", 5, ROW_KIND_CALL },
	};
	static const struct sort refer_notify = { "notify", 5, ROW_KIND_CALL };
	static const struct sort rest = { "", 4, ROW_KIND_REST };
	struct view method = s->cseq_method.len ? s->cseq_method : s->method;

	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (view_is_nocase(method, sorts[i].lower))
			return &sorts[i];
	return view_is_nocase(method, "notify") && is_refer(s->event) ? &refer_notify : &rest;
}

static bool is_patient(const struct worker *w)
{
	return w->is_patient && atomic_load_explicit(w->is_patient, memory_order_relaxed);
}

/* If not, there is an open block. */
static bool is_shed(struct worker *w, struct source_counters *c, unsigned class,
		    const struct msg *m, struct view dialog)
{
	bool is_for_spool;

	if (is_patient(w) && open_block(w))
		return false;
	is_for_spool = pressure_sheds(w->spool_level, class, m, dialog);
	if (!is_for_spool && !pressure_sheds(pressure_level(&w->memory), class, m, dialog) &&
	    open_block(w))
		return false;
	is_for_spool |= !spool_is_ok(w->options.spool);
	counter_add(&c->shed[is_for_spool ? SHED_SPOOL : SHED_MEMORY][class], 1);
	return true;
}

/* ---- values of the row ---- */

static void time_settle(const struct worker *w, struct source_counters *c, struct msg *m)
{
	m->arrival_us = w->wall_us;
	if (m->ts_us == 0)
		counter_add(&c->time_absent, 1);
	else if (m->version == 0)
		return; /* no agent's clock: the kernel's, or that of a file */
	else if (m->ts_us > w->came_us + w->snapshot->skew_us)
		counter_add(&c->time_ahead, 1);
	else
		return;
	m->ts_us = w->came_us;
}

static char *decimal(char *at, uint32_t n)
{
	char digits[10];
	unsigned count = 0;

	do
		digits[count++] = (char)('0' + n % 10);
	while (n /= 10);
	while (count)
		*at++ = digits[--count];
	return at;
}

static uint8_t ip_text(const struct addr *a, char out[INET6_ADDRSTRLEN])
{
	char *at = out;

	if (a->family == FAMILY_IPV6) {
		inet_ntop(AF_INET6, a->ip, out, INET6_ADDRSTRLEN);
		return (uint8_t)strlen(out);
	}
	for (int i = 0; i < 4; i++) {
		if (i)
			*at++ = '.';
		at = decimal(at, a->ip[i]);
	}
	return (uint8_t)(at - out);
}

/*
 * Addresses repeat: their texts are kept, each in the one place that its octets lead to. Source and
 * destination have places of their own, so that the text of one does not go while the other's is
 * made.
 */
static struct view ip_text_known(struct known_ip known[1 << KNOWN_IPS_BITS], const struct addr *a)
{
	struct known_ip *k;
	uint64_t half[2];

	memcpy(half, a->ip, sizeof(half));
	k = &known[((half[0] ^ half[1]) * 0x9e3779b97f4a7c15ULL) >> (64 - KNOWN_IPS_BITS)];
	if (k->family != a->family || memcmp(k->ip, half, sizeof(half)) != 0) {
		memcpy(k->ip, half, sizeof(half));
		k->family = a->family;
		k->len = ip_text(a, k->text);
	}
	return (struct view){ (uint8_t *)k->text, k->len };
}

/* "<node>:<capture id>" where HEP carries one. */
static struct view node_text(struct worker *w, const struct msg *m)
{
	char *end = w->node + w->snapshot->node_len;

	memcpy(w->node, w->snapshot->node, w->snapshot->node_len);
	if (m->has_capture_id) {
		*end++ = ':';
		end = decimal(end, m->capture_id);
	}
	return (struct view){ (uint8_t *)w->node, (uint32_t)(end - w->node) };
}

/* Homer numbers transports from 1 on; a protocol that has no such number keeps its own, where that
 * is not mistaken for one. */
static int64_t proto_number(enum conf_compat compat, uint8_t ip_proto)
{
	if (compat == CONF_COMPAT_OPENSIPS)
		return ip_proto;
	switch (ip_proto) {
	case PROTO_UDP:
		return 1;
	case PROTO_TCP:
		return 2;
	case PROTO_TLS:
		return 3;
	case PROTO_SCTP:
		return 4;
	case PROTO_WS:
		return 5;
	default:
		return ip_proto > 6 ? ip_proto : 0;
	}
}

static struct row_extras row_extras(struct worker *w, const struct msg *m)
{
	return (struct row_extras){ .proto = proto_number(w->options.compat, m->ip_proto),
				    .source_ip = ip_text_known(w->known_src, &m->src),
				    .destination_ip = ip_text_known(w->known_dst, &m->dst),
				    .correlation_id = m->correlation,
				    .node = node_text(w, m) };
}

static void row_add(struct worker *w, struct source_counters *c, const struct msg *m,
		    const struct sip *s, const struct row_extras *extras)
{
	if (block_add(w->open, m, s, extras) < 0) /* no HEP packet is that large */
		abort();
	counter_add(&c->rows_made, 1);
}

/* ---- SIP ---- */

static void sip_row(struct worker *w, struct source_counters *c, const struct msg *m,
		    const struct sip *s, uint16_t kind, const struct decision *decision)
{
	const struct snapshot *snap = w->snapshot;
	struct row_extras x = row_extras(w, m);

	x.table = ROW_TABLE_SIP_CAPTURE;
	x.kind = kind;
	x.type = s->is_reply ? 2 : 1;
	x.callid_aleg = decision->aleg;
	x.route = decision->table;
	if (x.correlation_id.len == 0)
		x.correlation_id = w->options.compat == CONF_COMPAT_KAMAILIO
					   ? s->callid
					   : decision->correlation;
	for (uint8_t i = 0; i < snap->custom_fields; i++)
		x.custom_field[i] = s->extra[snap->legs.count + i];
	row_add(w, c, m, s, &x);
}

/* ---- what is not SIP ---- */

static const struct sip no_sip = { .expires = -1 };

/* Where records of a HEP type go, and the number that Homer's pages know them by. */
struct report_sort {
	uint8_t hep_type;
	uint8_t table;
	uint8_t type;
};

static const struct report_sort *report_sort(uint8_t hep_type)
{
	static const struct report_sort sorts[] = {
		{ HEP_TYPE_RTCP, ROW_TABLE_RTCP_CAPTURE, 3 },
		{ HEP_TYPE_LOG, ROW_TABLE_LOGS_CAPTURE, 5 },
		{ 32, ROW_TABLE_REPORT_CAPTURE, 2 },
		{ 34, ROW_TABLE_REPORT_CAPTURE, 34 },
		{ 35, ROW_TABLE_REPORT_CAPTURE, 35 },
		{ 37, ROW_TABLE_REPORT_CAPTURE, 37 },
		{ 38, ROW_TABLE_REPORT_CAPTURE, 38 },
		{ 99, ROW_TABLE_REPORT_CAPTURE, 4 },
	};

	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		if (sorts[i].hep_type == hep_type)
			return &sorts[i];
	return NULL;
}

bool worker_stores_report(uint8_t hep_type)
{
	return report_sort(hep_type);
}

static void report_row(struct worker *w, struct source_counters *c, const struct msg *m,
		       uint16_t table, int64_t type)
{
	struct row_extras x = row_extras(w, m);

	x.table = table;
	x.type = type;
	if (m->correlation.len == 0)
		counter_add(&c->no_correlation, 1);
	row_add(w, c, m, &no_sip, &x);
}

/* A telephone's report on the quality of a call, carried by a PUBLISH or NOTIFY, is also one of the
 * reports. */
static void quality_report_row(struct worker *w, struct source_counters *c, const struct msg *m,
			       const struct sip *s)
{
	struct msg report = *m;

	if (!quality_is_report(s->content_type) || m->payload.len <= s->header_bytes)
		return;
	report.payload.at += s->header_bytes;
	report.payload.len -= s->header_bytes;
	report.correlation = quality_callid(report.payload);
	report_row(w, c, &report, ROW_TABLE_REPORT_CAPTURE, 1);
}

/* ---- agents ---- */

static void tally_settle(struct worker *w)
{
	if (w->agent)
		agent_add(w->agent, &w->tally, w->wall_us);
	w->agent = NULL;
	w->tally = (struct agent_tally){ 0 };
}

/* Records of one agent often come one after the other: they are added at once. @p m: NULL if
 * nothing could be read. */
static struct agent_tally *tally_of(struct worker *w, unsigned source, const uint8_t from_ip[16],
				    const struct msg *m)
{
	struct agent_key key = { .source = source };

	memcpy(key.ip, from_ip, sizeof(key.ip));
	if (m && m->has_capture_id) {
		key.capture_id = m->capture_id;
		key.has_capture_id = 1;
	}
	if (!w->agent || memcmp(&key, &w->agent_key, sizeof(key)) != 0) {
		tally_settle(w);
		w->agent_key = key;
		w->agent = agents_get(w->options.agents, &key,
				      m ? m->agent_name : (struct view){ 0 }, w->wall_us);
	}
	return &w->tally;
}

/* Does it send more than the listener grants one agent? @p l: NULL: HEP that was sent to somebody
 * else. */
static bool is_over_rate(struct worker *w, const struct conf_listener *l)
{
	if (!l || l->max_rate == 0 || agent_may_send(w->agent, l->max_rate, w->mono_us, l->name))
		return false;
	w->tally.limited++;
	return true;
}

/* ---- one record ---- */

static void statistics_count(struct worker *w, const struct msg *m, const struct sip *s,
			     uint64_t key)
{
	if (tally_is_full(w->statistics, m->ts_us))
		sums_write(w, w->mono_us);
	tally_count(w->statistics, m, s, key, ip_text_known(w->known_src, &m->src));
}

/* Who brought a message, among all who may bring copies of it: a tap, or an agent. */
static uint32_t bringer(const struct worker *w, unsigned source, const struct msg *m)
{
	return m->version == 0 ? source
			       : CONF_MAX_SOURCES + agents_number(w->options.agents, w->agent);
}

static struct decide_input decide_input(const struct worker *w, unsigned source, struct msg *m,
					const struct sip *s)
{
	return (struct decide_input){ .snapshot = w->snapshot,
				      .msg = m,
				      .sip = s,
				      .source = w->snapshot->source[source],
				      .mono_us = w->mono_us };
}

/* What the rules drop is no copy of anything: where one tap's messages are dropped, another's are
 * stored. What is shed is none either. @return accepted? */
static bool sip_store(struct worker *w, struct source_counters *c, unsigned source, struct msg *m,
		      const struct sip *s, struct seen_key copy_key)
{
	struct decide_input in = decide_input(w, source, m, s);
	const struct sort *sort = sip_sort(s);
	struct decision decision;
	uint64_t key = 0;

	in.copy_key = copy_key;
	decide(w->decider, &in, &decision);
	if (!decision.is_stored) {
		counter_add(&c->filtered, 1);
		time_settle(w, c, m);
		decide_note(w->decider, &in, &decision);
		return false;
	}
	if (is_shed(w, c, sort->class, m, s->callid))
		return false;
	time_settle(w, c, m);
	if (decide_is_copy(w->decider, &in, bringer(w, source, m))) {
		counter_add(&c->duplicate, 1);
		return false;
	}
	decide_note(w->decider, &in, &decision);
	if (w->statistics)
		key = tally_key(w->statistics, s);
	sip_row(w, c, m, s, sort->kind, &decision);
	quality_report_row(w, c, m, s);
	counter_add(&c->accepted, 1);
	if (w->statistics)
		statistics_count(w, m, s, key);
	return true;
}

static bool worker_sip(struct worker *w, struct source_counters *c, unsigned source, struct msg *m)
{
	bool is_padded = m->version == 1 || m->version == 2; /* perhaps: NULs behind it */
	struct seen_key copy_key = { 0 };
	struct sip s;

	if (m->version != 0 && m->payload.at[0] == '{' &&
	    json_unwrap(m->payload, "payload", w->text, HEP_MAX_BYTES, &m->payload) < 0) {
		counter_add(&c->not_sip_content, 1);
		return false;
	}
	if (!is_padded)
		copy_key = decide_expect(w->decider, w->snapshot, m);
	if (sip_parse(m->payload, &w->snapshot->names, &s) < 0) {
		counter_add(&c->not_sip_content, 1);
		return false;
	}
	if (is_padded)
		m->payload = sip_trim_nul(m->payload, &s);
	return sip_store(w, c, source, m, &s, copy_key);
}

static bool report_store(struct worker *w, struct source_counters *c, unsigned source,
			 const struct decide_input *in, const struct report_sort *sort)
{
	struct msg *m = in->msg;
	struct decision decision;

	decide(w->decider, in, &decision);
	if (!decision.is_stored) {
		counter_add(&c->filtered, 1);
		return false;
	}
	if (is_shed(w, c, 1, m, m->correlation))
		return false;
	time_settle(w, c, m);
	if (m->version == 0 && decide_is_copy(w->decider, in, bringer(w, source, m))) {
		counter_add(&c->duplicate, 1);
		return false;
	}
	report_row(w, c, m, sort->table, sort->type);
	counter_add(&c->accepted, 1);
	return true;
}

static bool worker_report(struct worker *w, struct source_counters *c, unsigned source,
			  struct msg *m, const struct report_sort *sort)
{
	struct decide_input in = decide_input(w, source, m, NULL);

	decide_find_call(w->decider, &in);
	return report_store(w, c, source, &in, sort);
}

static void decoded_count(struct worker *w, struct source_counters *c, const struct msg *m,
			  size_t tail)
{
	if (m->odd_chunks)
		counter_add(&c->odd_chunks, m->odd_chunks);
	if (m->twice_chunks)
		counter_add(&c->twice_chunks, m->twice_chunks);
	if (tail)
		counter_add(&c->tail_bytes, tail);
	counter_add(&w->types[m->type], 1);
}

static void worker_hep(struct worker *w, unsigned source, const uint8_t *bytes, size_t len,
		       const uint8_t from_ip[16])
{
	struct source_counters *c = &w->sources[source];
	struct msg m = { .arrival_us = w->wall_us };
	ssize_t used = hep_decode(bytes, len, &m);
	struct agent_tally *tally = tally_of(w, source, from_ip, used < 0 ? NULL : &m);
	const struct report_sort *report;

	tally->received++;
	tally->bytes += len;
	if (used < 0) {
		malformed_count(c, used);
		tally->malformed++;
		return;
	}
	decoded_count(w, c, &m, len - (size_t)used);
	if (m.ts_us) {
		tally->offset_us = (int64_t)(w->came_us - m.ts_us);
		tally->has_offset = true;
	}
	report = report_sort(m.type);

	if (!key_is_accepted(w->snapshot->listener[source], &m)) {
		counter_add(&c->denied_key, 1);
		tally->denied++;
	} else if (is_over_rate(w, w->snapshot->listener[source])) {
		counter_add(&c->denied_limit, 1);
		tally->denied++;
	} else if (m.type != HEP_TYPE_SIP && !report) {
		counter_add(&c->not_sip_type, 1);
	} else if (m.payload.len == 0 || (m.version < 3 && view_is_all_nul(m.payload))) {
		counter_add(&c->not_sip_empty, 1);
	} else if (m.is_compressed && inflater_run(w->inflater, m.payload, &m.payload) < 0) {
		counter_add(&c->malformed_inflate, 1);
		tally->malformed++;
	} else if (m.payload.len == 0) {
		counter_add(&c->not_sip_empty, 1);
	} else if (report ? worker_report(w, c, source, &m, report)
			  : worker_sip(w, c, source, &m)) {
		tally->accepted++;
	}
}

/* ---- what the listener calls ---- */

static void memory_look(struct worker *w, uint64_t mono_us)
{
	spare_gather(w);
	if (is_patient(w)) /* then few free blocks are the usual thing */
		return;
	pressure_ask(&w->memory,
		     pressure_of_memory(w->spare_count + (w->open != NULL), w->options.blocks),
		     mono_us);
}

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct worker *w = ctx;

	rcu_read_begin();
	w->snapshot = rcu_get(*w->options.snapshot);
	w->wall_us = wall_us;
	w->mono_us = mono_us;
	w->spool_level = pressure_level(w->options.spool_pressure);
	memory_look(w, mono_us);
}

static bool is_switched_off(const struct worker *w, unsigned source)
{
	return atomic_load_explicit(&w->options.is_off[source], memory_order_relaxed);
}

/* Blocks for a message that came at @p ts_us, and for the sums that it may push out. */
static bool has_blocks(struct worker *w, uint64_t ts_us)
{
	if (w->statistics && tally_is_full(w->statistics, ts_us))
		sums_write(w, w->mono_us);
	return open_block(w) && !(w->statistics && tally_is_full(w->statistics, ts_us));
}

/* Between two messages, so that the section can be left meanwhile. */
static void blocks_wait(struct worker *w, uint64_t ts_us)
{
	while (is_patient(w) && !has_blocks(w, ts_us)) {
		tally_settle(w);
		rcu_read_end();
		poll(NULL, 0, BLOCK_WAIT_MS);
		rcu_read_begin();
		w->snapshot = rcu_get(*w->options.snapshot);
	}
}

/* After each message. */
static void seal_if_full(struct worker *w)
{
	if (w->open && block_is_full(w->open))
		seal(w, w->mono_us);
}

void worker_sip_seen(struct worker *w, unsigned source, struct msg *m)
{
	struct source_counters *c = &w->sources[source];

	counter_add(&c->received, 1);
	w->came_us = w->wall_us;
	blocks_wait(w, m->ts_us ? m->ts_us : w->came_us);
	if (is_switched_off(w, source))
		counter_add(&c->denied_off, 1);
	else
		(void)worker_sip(w, c, source, m);
	seal_if_full(w);
}

bool worker_rtcp_seen(struct worker *w, unsigned source, struct msg *m)
{
	struct source_counters *c = &w->sources[source];
	struct decide_input in;

	w->came_us = w->wall_us;
	blocks_wait(w, m->ts_us ? m->ts_us : w->came_us);
	in = decide_input(w, source, m, NULL);
	decide_find_call(w->decider, &in);
	if (m->correlation.len == 0)
		return false;
	counter_add(&c->received, 1);
	m->payload = rtcp_text(m->payload, w->text);
	if (is_switched_off(w, source))
		counter_add(&c->denied_off, 1);
	else
		(void)report_store(w, c, source, &in, report_sort(HEP_TYPE_RTCP));
	seal_if_full(w);
	return true;
}

static void record(struct worker *w, unsigned source, const uint8_t *bytes, size_t len,
		   const uint8_t from_ip[16])
{
	const struct conf_listener *l = w->snapshot->listener[source];
	struct source_counters *c = &w->sources[source];

	counter_add(&c->received, 1);
	if (is_switched_off(w, source))
		counter_add(&c->denied_off, 1);
	else if (l && !conf_net_has(l->allow, l->allow_count, from_ip))
		counter_add(&c->denied_allow, 1);
	else
		worker_hep(w, source, bytes, len, from_ip);
	seal_if_full(w);
}

void worker_hep_seen(struct worker *w, unsigned source, struct view packet,
		     const uint8_t from_ip[16], uint64_t ts_us)
{
	w->came_us = ts_us ? ts_us : w->wall_us;
	blocks_wait(w, w->came_us);
	record(w, source, packet.at, packet.len, from_ip);
}

static void on_record(void *ctx, unsigned source, const uint8_t *bytes, size_t len,
		      const uint8_t from_ip[16])
{
	struct worker *w = ctx;

	w->came_us = w->wall_us;
	record(w, source, bytes, len, from_ip);
}

static void on_end(void *ctx)
{
	struct worker *w = ctx;

	tally_settle(w);
	w->snapshot = NULL;
	rcu_read_end();
}

/*
 * A block is sealed when it is full, or when the last seal is batch_us ago: the first message after
 * a rest goes at once, and a stream of them makes a block each batch_us, however few rows that is.
 */
static bool on_tend(void *ctx, uint64_t mono_us)
{
	struct worker *w = ctx;

	if (w->open && w->open->rows && mono_us - w->sealed_us >= w->options.batch_us)
		seal(w, mono_us);
	if (mono_us - w->sums_us >= SUMS_US) { /* the listener comes by each second at least */
		sums_write(w, mono_us);
		w->sums_us = mono_us;
	}
	memory_look(w, mono_us);
	return w->open && w->open->rows;
}

static bool has_room(void *ctx)
{
	struct worker *w = ctx;

	spare_gather(w);
	return w->spare_count >= ROOM_BLOCKS && pressure_level(w->options.spool_pressure) == 0;
}

static void limits_take(void *ctx, unsigned source, const uint8_t from_ip[16],
			struct listener_limits *out)
{
	struct worker *w = ctx;
	const struct conf_listener *l;

	rcu_read_begin();
	l = rcu_get(*w->options.snapshot)->listener[source];
	*out = (struct listener_limits){
		.is_allowed = conf_net_has(l->allow, l->allow_count, from_ip),
		.max_connections = l->max_connections,
		.first_message_timeout = l->first_message_timeout,
		.message_timeout = l->message_timeout,
		.idle_timeout = l->idle_timeout,
	};
	rcu_read_end();
}

const struct listener_ops worker_listener_ops = { .begin = on_begin,
						  .record = on_record,
						  .end = on_end,
						  .tend = on_tend,
						  .has_room = has_room,
						  .limits = limits_take };

void worker_wait_for_blocks(struct worker *w, const _Atomic bool *flag)
{
	w->is_patient = flag;
}

bool worker_has_room(struct worker *w)
{
	uint64_t on_way;

	spare_gather(w);
	on_way = w->options.blocks - w->spare_count - (w->open != NULL);
	return w->spare_count >= ROOM_BLOCKS &&
	       spool_has_room(w->options.spool, on_way * BLOCK_FULL_BYTES);
}

bool worker_flush(struct worker *w)
{
	seal(w, w->mono_us);
	sums_write(w, w->mono_us);
	return !w->statistics || !tally_has_sums(w->statistics);
}

struct block *worker_take_sealed(struct worker *w)
{
	return ring_take(&w->sealed);
}

void worker_give_back(struct worker *w, struct block *b)
{
	block_reset(b);
	if (!ring_put(&w->empty, b))
		abort(); /* the ring holds as many as there are blocks */
}

/* ---- life ---- */

static int blocks_make(struct worker *w)
{
	struct block *b;
	int err;

	for (unsigned i = 0; i < w->options.blocks; i++) {
		err = block_new(&b, w->options.batch_rows);
		if (err < 0)
			return err;
		worker_give_back(w, b);
	}
	return HT_OK;
}

int worker_new(struct worker **out, const struct worker_options *options)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->options = *options;
	w->sources = aligned_alloc(_Alignof(struct source_counters),
				   options->sources * sizeof(*w->sources));
	w->spare = calloc(options->blocks, sizeof(struct block *));
	w->text = malloc(HEP_MAX_BYTES);
	err = w->sources && w->spare && w->text ? inflater_new(&w->inflater) : -ENOMEM;
	if (err == HT_OK)
		err = ring_init(&w->sealed, options->blocks);
	if (err == HT_OK)
		err = ring_init(&w->empty, options->blocks);
	if (w->sources)
		memset(w->sources, 0, options->sources * sizeof(*w->sources));
	if (err == HT_OK)
		err = blocks_make(w);
	if (err == HT_OK && options->tally)
		err = tally_new(&w->statistics, options->tally);
	if (err == HT_OK)
		err = decider_new(&w->decider, options->tables, options->thread);
	if (err < 0) {
		worker_free(w);
		return err;
	}
	*out = w;
	return HT_OK;
}

static void ring_empty(struct ring *r)
{
	struct block *b;

	while (r->slots && (b = ring_take(r)))
		block_free(b);
	ring_fini(r);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	ring_empty(&w->sealed);
	ring_empty(&w->empty);
	while (w->spare_count)
		block_free(w->spare[--w->spare_count]);
	block_free(w->open);
	free(w->spare);
	free(w->text);
	inflater_free(w->inflater);
	decider_free(w->decider);
	tally_free(w->statistics);
	free(w->sources);
	free(w);
}
