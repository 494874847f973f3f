/* on_frame() is the flow: decoded, put together while it is a fragment, then by transport. */
#include "capture/packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/fragments.h"
#include "capture/sctp.h"
#include "capture/stream.h"
#include "capture/tcp.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/conf.h"
#include "hep/listener.h"
#include "hep/msg.h"
#include "hep/rtcp.h"
#include "web-sql/stats.h"

#define SWEEP_US       1000000
#define GAP_BYTES      (64 << 10)
#define GAP_US	       (5 * 1000000ULL)
#define IDLE_US	       (600 * 1000000ULL)
#define FLOW_BYTES     1024 /* of memory for each flow, most of which need no buffer */
#define DATAGRAM_BYTES 4096

/* Where packets end here that nobody else counts. X(name, label) */
#define ENDS(X)                      \
	X(PORT, "port")              \
	X(FILTER, "filter")          \
	X(CONTENT, "content")        \
	X(KEEP_ALIVE, "keep_alive")  \
	X(RTCP, "rtcp")              \
	X(FEEDBACK, "rtcp_feedback") \
	X(SRTCP, "srtcp")

#define DECODED_ENDS (DECODE_MALFORMED_TUNNEL + 1) /* by enum decode_reason, before ours */
enum end {
	END_DECODED = DECODED_ENDS - 1,
#define X(name, label) END_##name,
	ENDS(X)
#undef X
		END_COUNT
};

struct packets {
	struct packet_counters counters;
	struct {
		counter at[END_COUNT];
		counter carriers; /* but those of TCP and SCTP */
	} ends __attribute__((aligned(128)));
	struct packets_options is;
	struct packets_taker take;
	void *taker;
	struct tcp *tcp;
	struct sctp *sctp;
	struct stream stream;
	uint64_t sip_ports[65536 / 64], hep_ports[65536 / 64];
	bool is_any_port; /* a filter of the user's says what is SIP */
	bool is_rtcp;	  /* it is looked for, on any port */
	uint64_t wall_us; /* of the batch */
	uint64_t ts_us;	  /* of the frame */
	uint64_t swept_us;
	uint8_t datagram[FRAGMENTS_DATAGRAM];
};

/* ---- ends ---- */

static void end(struct packets *p, unsigned reason, uint32_t weight)
{
	counter_add(&p->ends.at[reason], weight);
}

static void carried(struct packets *p, uint32_t weight)
{
	counter_add(&p->ends.carriers, weight);
}

static const char *end_name(unsigned reason)
{
	static const char *const ours[] = {
#define X(name, label) label,
		ENDS(X)
#undef X
	};

	return reason < DECODED_ENDS ? decode_reason_name(reason) : ours[reason - DECODED_ENDS];
}

/* ---- ports ---- */

static bool port_is(const uint64_t set[65536 / 64], uint16_t port)
{
	return set[port / 64] >> port % 64 & 1;
}

static void ports_put(uint64_t set[65536 / 64], const unsigned *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		set[ports[i] / 64] |= UINT64_C(1) << ports[i] % 64;
}

static bool is_hep(const struct packets *p, const struct addr *src, const struct addr *dst)
{
	return port_is(p->hep_ports, src->port) || port_is(p->hep_ports, dst->port);
}

static bool is_sip(const struct packets *p, const struct addr *src, const struct addr *dst)
{
	return p->is_any_port || port_is(p->sip_ports, src->port) ||
	       port_is(p->sip_ports, dst->port);
}

/* ---- messages ---- */

static void sip_take(struct packets *p, const struct addr *src, const struct addr *dst,
		     uint8_t transport, uint64_t ts_us, struct view message)
{
	struct msg m = { .src = *src,
			 .dst = *dst,
			 .ts_us = ts_us,
			 .payload = message,
			 .ip_proto = transport,
			 .type = HEP_TYPE_SIP };

	p->take.sip(p->taker, p->is.source, &m);
}

/* The number of an IPv4 packet tells one that was mirrored twice from one that was sent twice. */
static struct msg udp_message(const struct packets *p, const struct decoded *d, uint8_t type)
{
	return (struct msg){ .src = d->src,
			     .dst = d->dst,
			     .ts_us = p->ts_us,
			     .payload = d->payload,
			     .ip_proto = PROTO_UDP,
			     .type = type,
			     .has_ip_id = d->has_ip_id && d->src.family == FAMILY_IPV4,
			     .ip_id = (uint16_t)d->ip_id };
}

static void hep_take(struct packets *p, const struct addr *src, uint64_t ts_us, struct view packet)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t ip[16];

	memcpy(ip, src->ip, sizeof(ip));
	if (src->family == FAMILY_IPV4) {
		memcpy(ip, mapped, sizeof(mapped));
		memcpy(ip + sizeof(mapped), src->ip, 4);
	}
	p->take.hep(p->taker, p->is.source, packet, ip, ts_us);
}

/* ---- UDP ---- */

/* What stands where a method or "SIP/2.0" would: so RTP, STUN and DTLS are told apart by one octet.
 */
static bool is_token(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '!' || c == '%' || c == '*' || c == '_' || c == '+' ||
	       c == '`' || c == '\'' || c == '~';
}

static bool is_blank(uint8_t c)
{
	return c == '\r' || c == '\n' || c == ' ' || c == '\t' || c == '\0';
}

/* What comes first behind blanks; NULL if nothing does. */
static const uint8_t *front(struct view v)
{
	uint32_t i = 0;

	while (i < v.len && is_blank(v.at[i]))
		i++;
	return i < v.len ? v.at + i : NULL;
}

static void udp_sip_take(struct packets *p, const struct decoded *d, uint32_t weight)
{
	const uint8_t *at = front(d->payload);
	struct msg m;

	if (!at) {
		end(p, END_KEEP_ALIVE, weight);
	} else if (!is_token(*at)) {
		end(p, END_CONTENT, weight);
	} else {
		carried(p, weight);
		m = udp_message(p, d, HEP_TYPE_SIP);
		p->take.sip(p->taker, p->is.source, &m);
	}
}

static void udp_rtcp_take(struct packets *p, const struct decoded *d, enum rtcp_kind kind,
			  uint32_t weight)
{
	struct msg m = udp_message(p, d, HEP_TYPE_RTCP);

	if (kind == RTCP_ENCRYPTED)
		end(p, END_SRTCP, weight);
	else if (kind == RTCP_FEEDBACK)
		end(p, END_FEEDBACK, weight);
	else if (worker_rtcp_seen(p->is.worker, p->is.source, &m))
		carried(p, weight);
	else
		end(p, END_RTCP, weight);
}

static void udp_take(struct packets *p, const struct decoded *d, uint32_t weight)
{
	bool may_be_rtcp = p->is_rtcp && rtcp_may_be(d->payload);
	enum rtcp_kind rtcp = may_be_rtcp ? rtcp_kind(d->payload) : RTCP_NOT;

	if (is_hep(p, &d->src, &d->dst)) {
		carried(p, weight);
		hep_take(p, &d->src, p->ts_us, d->payload);
	} else if (rtcp != RTCP_NOT) {
		udp_rtcp_take(p, d, rtcp, weight);
	} else if (is_sip(p, &d->src, &d->dst)) {
		udp_sip_take(p, d, weight);
	} else {
		end(p, END_PORT, weight);
	}
}

/* ---- TCP and SCTP: they count what they are given as one packet ---- */

static void tcp_take(struct packets *p, const struct decoded *d, uint32_t weight)
{
	struct tcp_segment s = { .src = d->src,
				 .dst = d->dst,
				 .seq = d->segment.seq,
				 .flags = d->segment.flags,
				 .payload = d->payload,
				 .ts_us = p->ts_us };

	if (!is_hep(p, &d->src, &d->dst) && !is_sip(p, &d->src, &d->dst)) {
		end(p, END_PORT, weight);
		return;
	}
	carried(p, weight - 1);
	tcp_add(p->tcp, &s);
}

static void sctp_take(struct packets *p, const struct decoded *d, uint32_t weight)
{
	struct sctp_packet s = {
		.src = d->src, .dst = d->dst, .chunks = d->payload, .ts_us = p->ts_us
	};

	if (!is_sip(p, &d->src, &d->dst)) {
		end(p, END_PORT, weight);
		return;
	}
	carried(p, weight - 1);
	sctp_add(p->sctp, &s);
}

static void on_stream_sip(void *ctx, const struct tcp_flow *flow, struct view message,
			  uint8_t proto)
{
	sip_take(ctx, &flow->src, &flow->dst, proto, flow->ts_us, message);
}

static void on_stream_hep(void *ctx, const struct tcp_flow *flow, struct view packet)
{
	hep_take(ctx, &flow->src, flow->ts_us, packet);
}

static bool is_hep_port(void *ctx, uint16_t port)
{
	const struct packets *p = ctx;

	return port_is(p->hep_ports, port);
}

static void on_sctp_message(void *ctx, const struct sctp_packet *packet, struct view message)
{
	sip_take(ctx, &packet->src, &packet->dst, PROTO_SCTP, packet->ts_us, message);
}

/* ---- fragments ---- */

/*
 * @return the datagram is whole, and decoded. Of a fragment that was itself put together all
 * packets but one end here: the table counts what it is given once.
 */
static bool fragment_take(struct packets *p, struct decoded *d, uint32_t *weight)
{
	struct fragment f = { .src = d->src,
			      .dst = d->dst,
			      .id = d->fragment.id,
			      .offset = d->fragment.offset,
			      .more = d->fragment.more,
			      .proto = d->protocol,
			      .payload = d->payload,
			      .ts_us = p->ts_us };
	struct datagram whole;

	carried(p, *weight - 1);
	if (!fragments_add(p->is.fragments, &f, p->datagram, &whole))
		return false;
	*weight = whole.parts;
	decode_ip_payload(d, whole.proto, whole.payload);
	return true;
}

/* ---- frames ---- */

/*
 * Where a frame ends that is, at first sight, what most of a mirror port is: a datagram between
 * ports that nobody asked for, or of what cannot be SIP.
 *
 * @return END_COUNT: more has to be known.
 */
static enum end glance_end(const struct packets *p, const struct captured *c)
{
	struct glance g;

	if (!decode_glance(c, &g) || port_is(p->hep_ports, g.src_port) ||
	    port_is(p->hep_ports, g.dst_port) || (p->is_rtcp && rtcp_may_be(g.payload)))
		return END_COUNT;
	if (!p->is_any_port && !port_is(p->sip_ports, g.src_port) &&
	    !port_is(p->sip_ports, g.dst_port))
		return END_PORT;
	return g.payload.len && !is_blank(*g.payload.at) && !is_token(*g.payload.at) ? END_CONTENT
										     : END_COUNT;
}

static void frame_take(struct packets *p, const struct captured *c)
{
	enum end at_once = glance_end(p, c);
	struct decoded d;
	uint32_t weight = 1;

	p->ts_us = c->ts_us ? c->ts_us : p->wall_us;
	if (at_once != END_COUNT) {
		end(p, at_once, 1);
		return;
	}
	decode_packet(c, &d);
	while (d.kind == DECODED_FRAGMENT)
		if (!fragment_take(p, &d, &weight))
			return;
	switch (d.kind) {
	case DECODED_UDP:
		udp_take(p, &d, weight);
		break;
	case DECODED_TCP:
		tcp_take(p, &d, weight);
		break;
	case DECODED_SCTP:
		sctp_take(p, &d, weight);
		break;
	default:
		end(p, d.reason, weight);
	}
}

static void sweep(struct packets *p, uint64_t now_us)
{
	p->swept_us = now_us;
	tcp_sweep(p->tcp, now_us);
	sctp_sweep(p->sctp, now_us);
	fragments_sweep(p->is.fragments, now_us);
}

static bool is_sweep_due(const struct packets *p, uint64_t now_us)
{
	return now_us >= p->swept_us + SWEEP_US || now_us < p->swept_us;
}

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct packets *p = ctx;

	p->wall_us = wall_us;
	p->take.begin(p->taker, wall_us, mono_us);
}

static void on_frame(void *ctx, const struct captured *c)
{
	frame_take(ctx, c);
}

static void on_end(void *ctx)
{
	struct packets *p = ctx;

	p->take.end(p->taker);
}

/* What is due by the clock hands on messages as well: a batch of its own. */
static bool on_tend(void *ctx, uint64_t mono_us)
{
	struct packets *p = ctx;
	uint64_t now_us = clock_wall_us();

	if (is_sweep_due(p, now_us)) {
		on_begin(p, now_us, mono_us);
		sweep(p, now_us);
		on_end(p);
	}
	return p->take.tend(p->taker, mono_us);
}

/* A file has a time of its own, which goes as fast as it is read. */
static void on_file_frame(void *ctx, const struct captured *c)
{
	struct packets *p = ctx;

	counter_add(&p->counters.seen, 1);
	frame_take(p, c);
	counter_add(&p->counters.delivered, 1);
	if (is_sweep_due(p, p->ts_us))
		sweep(p, p->ts_us);
}

static bool on_file_tend(void *ctx, uint64_t mono_us)
{
	struct packets *p = ctx;

	return p->take.tend(p->taker, mono_us);
}

const struct source_ops packets_live_ops = {
	.begin = on_begin, .frame = on_frame, .end = on_end, .tend = on_tend
};
const struct source_ops packets_file_ops = {
	.begin = on_begin, .frame = on_file_frame, .end = on_end, .tend = on_file_tend
};

void packets_filtered(struct packets *p)
{
	counter_add(&p->counters.seen, 1);
	end(p, END_FILTER, 1);
	counter_add(&p->counters.delivered, 1);
}

void packets_drain(struct packets *p)
{
	on_begin(p, clock_wall_us(), clock_mono_us());
	tcp_drain(p->tcp);
	sctp_drain(p->sctp);
	fragments_drain(p->is.fragments);
	on_end(p);
}

/* ---- sums ---- */

struct packet_counters *packets_counters(struct packets *p)
{
	return &p->counters;
}

static void end_add(struct stats_packets *out, const char *reason, bool is_incomplete,
		    uint64_t count)
{
	unsigned i = 0;

	while (i < out->end_count && strcmp(out->end[i].reason, reason) != 0)
		i++;
	if (i == STATS_MAX_ENDS)
		abort(); /* the lists in this file are longer than that */
	if (i == out->end_count)
		out->end_count++;
	out->end[i].reason = reason;
	out->end[i].is_incomplete = is_incomplete;
	out->end[i].count += count;
}

static void event_add(struct stats_packets *out, const char *name, uint64_t count)
{
	unsigned i = 0;

	while (i < out->event_count && strcmp(out->event[i].name, name) != 0)
		i++;
	if (i == STATS_MAX_EVENTS)
		abort();
	if (i == out->event_count)
		out->event_count++;
	out->event[i].name = name;
	out->event[i].count += count;
}

static void ends_sum(const struct packets *p, struct stats_packets *out)
{
	for (unsigned i = DECODE_FOUND + 1; i < END_COUNT; i++)
		end_add(out, end_name(i), i < DECODED_ENDS && decode_is_incomplete(i),
			counter_get(&p->ends.at[i]));
	out->carriers += counter_get(&p->ends.carriers);
}

static void tcp_sum(const struct packets *p, struct stats_packets *out)
{
	const struct tcp_counters *c = tcp_counters(p->tcp);
	uint64_t carriers = counter_get(&c->carried), empty = counter_get(&c->empty);
	uint64_t stale = counter_get(&c->stale);

	out->carriers += carriers;
	end_add(out, "tcp_empty", false, empty);
	end_add(out, "tcp_stale", false, stale);
	out->held += counter_get(&c->given) - carriers - empty - stale;
	event_add(out, "tcp_overlapping", counter_get(&c->overlapping));
	event_add(out, "tcp_gaps", counter_get(&c->gaps));
	event_add(out, "tcp_gap_bytes", counter_get(&c->gap_bytes));
	event_add(out, "tcp_pickups", counter_get(&c->pickups));
	event_add(out, "tcp_evicted", counter_get(&c->evicted));
	event_add(out, "tcp_idle", counter_get(&c->idle));
}

static void sctp_sum(const struct packets *p, struct stats_packets *out)
{
	const struct sctp_counters *c = sctp_counters(p->sctp);
	uint64_t carriers = counter_get(&c->carried), empty = counter_get(&c->empty);
	uint64_t stale = counter_get(&c->stale), late = counter_get(&c->timed_out);
	uint64_t evicted = counter_get(&c->evicted), oversize = counter_get(&c->oversize);

	out->carriers += carriers;
	end_add(out, "sctp_empty", false, empty);
	end_add(out, "sctp_stale", false, stale);
	end_add(out, "sctp_oversize", false, oversize);
	end_add(out, "sctp_timeout", true, late);
	end_add(out, "sctp_evicted", true, evicted);
	out->held += counter_get(&c->given) - carriers - empty - stale - late - evicted - oversize;
	event_add(out, "sctp_assembled", counter_get(&c->assembled));
	event_add(out, "sctp_duplicates", counter_get(&c->duplicates));
}

static void streams_sum(const struct packets *p, struct stats_packets *out)
{
	const struct stream *s = &p->stream;

#define X(field, help) event_add(out, "stream_" #field, counter_get(&s->counters.field));
	STREAM_COUNTERS(X)
#undef X
#define X(field, help) event_add(out, "sip_" #field, counter_get(&s->sip.counters.field));
	SIP_STREAM_COUNTERS(X)
#undef X
#define X(field, help) \
	event_add(out, "websocket_" #field, counter_get(&s->websocket.counters.field));
	WEBSOCKET_COUNTERS(X)
#undef X
#define X(field, help) event_add(out, "hep_" #field, counter_get(&s->hep.counters.field));
	HEP_STREAM_COUNTERS(X)
#undef X
	out->malformed_partial += counter_get(&s->sip.counters.partial) +
				  counter_get(&s->websocket.counters.partial) +
				  counter_get(&s->hep.counters.partial);
	out->malformed_oversize += counter_get(&s->sip.counters.oversize) +
				   counter_get(&s->websocket.counters.oversize);
}

static void fragments_add_sums(const struct fragments *t, struct stats_packets *out)
{
	struct fragments_sums f;

	fragments_sum(t, &f);
	end_add(out, "fragment_stale", false, f.duplicate);
	end_add(out, "fragment_oversize", false, f.oversize);
	end_add(out, "fragment_malformed", false, f.malformed);
	end_add(out, "fragment_timeout", true, f.timed_out);
	end_add(out, "fragment_evicted", true, f.evicted);
	end_add(out, "fragment_overlap", true, f.overlapping);
	out->held += f.held;
	event_add(out, "fragments_completed", f.completed);
	event_add(out, "fragments_trimmed", f.trimmed);
}

/* A packet goes from the fragments to the others and ends there: in the opposite order it is found
 * once at most. */
void packets_sum(struct packets *const *all, unsigned count, const struct fragments *fragments,
		 struct stats_packets *out)
{
	*out = (struct stats_packets){ 0 };
	for (unsigned i = 0; i < count; i++) {
		out->kernel_dropped += counter_get(&all[i]->counters.kernel_dropped);
		out->freezes += counter_get(&all[i]->counters.freezes);
		ends_sum(all[i], out);
		streams_sum(all[i], out);
	}
	for (unsigned i = 0; i < count; i++) {
		tcp_sum(all[i], out);
		sctp_sum(all[i], out);
	}
	fragments_add_sums(fragments, out);
	for (unsigned i = 0; i < count; i++)
		out->seen += counter_get(&all[i]->counters.seen);
}

/* It has buffers for one datagram and one message of WebSocket in itself. */
void packets_memory(const struct packets *p, struct memory_use *sum)
{
	tcp_memory(p->tcp, sum);
	sctp_memory(p->sctp, sum);
	sum->used += sizeof(*p);
	sum->real_used += sizeof(*p);
	sum->max_used += sizeof(*p);
	sum->limit += sizeof(*p);
}

/* ---- life ---- */

int packets_fragments_new(struct fragments **out, uint64_t memory)
{
	struct fragments_options o = { .datagrams = (uint32_t)(memory / DATAGRAM_BYTES),
				       .bytes = memory,
				       .timeout_us = FRAGMENTS_TIMEOUT_US };

	return fragments_new(out, &o);
}

/* Half of the memory for large buffers, since one message may need one. */
static int tables_make(struct packets *p, uint64_t memory)
{
	struct tcp_options t = { .flows = (uint32_t)(memory / 8 / FLOW_BYTES) + 4,
				 .small = (uint32_t)(memory / 4 / TCP_SMALL) + 1,
				 .large = (uint32_t)(memory / 2 / TCP_WINDOW) + 1,
				 .gap_bytes = GAP_BYTES,
				 .gap_us = GAP_US,
				 .idle_us = IDLE_US };
	struct sctp_options s = { .chunks = (uint32_t)(memory / 16 / SCTP_CHUNK_COST) + 1,
				  .bytes = memory / 16 + SCTP_MESSAGE,
				  .timeout_us = SCTP_TIMEOUT_US };
	int err = tcp_new(&p->tcp, &t, stream_take, &p->stream);

	return err < 0 ? err : sctp_new(&p->sctp, &s, on_sctp_message, p);
}

static void worker_take_sip(void *ctx, unsigned source, struct msg *m)
{
	worker_sip_seen(ctx, source, m);
}

static void worker_take_hep(void *ctx, unsigned source, struct view packet,
			    const uint8_t from_ip[16], uint64_t ts_us)
{
	worker_hep_seen(ctx, source, packet, from_ip, ts_us);
}

static void taker_choose(struct packets *p)
{
	if (p->is.taker) {
		p->take = *p->is.taker;
		p->taker = p->is.taker_ctx;
		return;
	}
	p->take = (struct packets_taker){ .begin = worker_listener_ops.begin,
					  .sip = worker_take_sip,
					  .hep = worker_take_hep,
					  .end = worker_listener_ops.end,
					  .tend = worker_listener_ops.tend };
	p->taker = p->is.worker;
}

int packets_new(struct packets **out, const struct packets_options *options)
{
	static const struct stream_ops stream_ops = { .sip = on_stream_sip,
						      .hep = on_stream_hep,
						      .is_hep_port = is_hep_port };
	struct packets *p = aligned_alloc(_Alignof(struct packets), sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	p->is = *options;
	taker_choose(p);
	p->is_any_port = options->conf->bpf[0] != '\0';
	p->is_rtcp = p->is.worker && options->conf->rtcp == CONF_TRUE;
	ports_put(p->sip_ports, options->conf->ports, options->conf->port_count);
	ports_put(p->hep_ports, options->conf->hep_ports, options->conf->hep_port_count);
	stream_init(&p->stream, &stream_ops, p);
	err = tables_make(p, options->memory);
	if (err < 0) {
		packets_free(p);
		return err;
	}
	*out = p;
	return HT_OK;
}

void packets_free(struct packets *p)
{
	if (!p)
		return;
	tcp_free(p->tcp);
	sctp_free(p->sctp);
	free(p);
}
