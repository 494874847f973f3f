/* What is undecided stays in the flow, where its reader finds it again. */
#include "capture/stream.h"

#include <assert.h>
#include <string.h>

#include "hep/msg.h"

/* The `kind` of a flow. */
enum kind { UNDECIDED, HEP, WEBSOCKET, SIP };

/* What is remembered of a flow, in its state, as long as it is undecided. */
struct memory {
	bool is_mid_line; /* the next octet does not begin a line */
};

static_assert(sizeof(struct memory) <= sizeof(((struct tcp_flow *)0)->state), "fits the state");

/* ---- what a flow is ---- */

static void decide(struct stream *s, struct tcp_flow *flow, enum kind kind)
{
	static_assert(HEP == 1 && SIP == 3, "in the order of the counters");
	counter *const flows[] = { NULL, &s->counters.hep, &s->counters.websocket,
				   &s->counters.sip };

	counter_add(flows[kind], 1);
	flow->kind = kind;
	memset(flow->state, 0, sizeof(flow->state));
}

/* Bodies need not end with a line end: a message may begin within a line, if it does so with a
 * letter that its method has. */
static int sip_begins(const struct memory *m, struct view rest)
{
	if (m->is_mid_line && (rest.at[0] < 'A' || rest.at[0] > 'Z'))
		return -1;
	return sip_stream_begins(rest, true);
}

/* Whichever comes first. @return octets that are neither. */
static uint32_t search(struct stream *s, struct tcp_flow *flow, struct view bytes)
{
	struct memory *m = (struct memory *)flow->state;
	uint32_t n;

	for (n = 0; n < bytes.len; n++) {
		struct view rest = { bytes.at + n, bytes.len - n };
		int sip = sip_begins(m, rest), websocket = websocket_begins(rest, m->is_mid_line);

		if (sip > 0 || websocket > 0)
			decide(s, flow, sip > 0 ? SIP : WEBSOCKET);
		if (sip >= 0 || websocket >= 0)
			break;
		m->is_mid_line = !byte_ends_line(rest.at[0]);
	}
	counter_add(&s->counters.unsynced_bytes, n);
	return n;
}

/* @return octets that are none of what the flow carries. */
static uint32_t recognise(struct stream *s, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	int websocket;

	if (s->ops->is_hep_port(s->ctx, flow->src.port) ||
	    s->ops->is_hep_port(s->ctx, flow->dst.port)) {
		decide(s, flow, HEP);
		return 0;
	}
	if (!flow->is_synced)
		return search(s, flow, bytes);
	websocket = websocket_begins(bytes, false);
	if (websocket != 0 || (is_end && bytes.len))
		decide(s, flow, websocket > 0 ? WEBSOCKET : SIP);
	return 0;
}

/* ---- what its readers find ---- */

static void take_hep(void *ctx, const struct tcp_flow *flow, struct view packet)
{
	struct stream *s = ctx;

	s->ops->hep(s->ctx, flow, packet);
}

static void take_sip(void *ctx, const struct tcp_flow *flow, struct view message)
{
	struct stream *s = ctx;

	s->ops->sip(s->ctx, flow, message, PROTO_TCP);
}

static void take_websocket(void *ctx, const struct tcp_flow *flow, struct view message)
{
	struct stream *s = ctx;

	s->ops->sip(s->ctx, flow, message, PROTO_WS);
}

void stream_init(struct stream *s, const struct stream_ops *ops, void *ctx)
{
	s->ops = ops;
	s->ctx = ctx;
	s->hep.fn = take_hep;
	s->sip.fn = take_sip;
	s->websocket.fn = take_websocket;
	s->hep.ctx = s->sip.ctx = s->websocket.ctx = s;
}

size_t stream_take(void *stream, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	struct stream *s = stream;
	uint32_t n = 0;

	if (flow->kind == UNDECIDED)
		n = recognise(s, flow, bytes, is_end);
	if (n)
		bytes = (struct view){ bytes.at + n, bytes.len - n };
	switch (flow->kind) {
	case HEP:
		return n + hep_stream_take(&s->hep, flow, bytes, is_end);
	case WEBSOCKET:
		return n + websocket_take(&s->websocket, flow, bytes, is_end);
	case SIP:
		return n + sip_stream_take(&s->sip, flow, bytes, is_end);
	default: /* it ends without having said */
		if (is_end)
			counter_add(&s->counters.unsynced_bytes, bytes.len);
		return n;
	}
}
