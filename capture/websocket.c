/* Steps along the octets, as in sip_stream.c. A message that is not whole stays in the flow, from
 * its first frame on. */
#include "capture/websocket.h"

#include <assert.h>
#include <string.h>

#define LOOK	  12	    /* octets of a payload that tell whether a SIP message begins */
#define HTTP_LINE (8 << 10) /* octets of a line of HTTP, at most */
#define ANSWER	  "HTTP/1.1 "

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

enum phase { SEARCH, HTTP, FRAMES, CLOSED };

/* What is remembered of a flow, in its state. */
struct memory {
	uint32_t scanned; /* HTTP: octets looked at; FRAMES: where the frame to be looked at begins
			   */
	uint32_t skip;	  /* octets of a frame that is dropped */
	uint8_t phase;
	bool is_in_message; /* its first frame was there, and not its last */
	bool is_dropping;   /* the message is counted already */
	bool is_mid_line;   /* SEARCH: the next octet does not begin a line */
};

static_assert(sizeof(struct memory) == 12, "has no hole: it is compared by octets");
static_assert(sizeof(struct memory) <= sizeof(((struct tcp_flow *)0)->state), "fits the state");

struct head {
	bool is_last, is_compressed;
	enum opcode opcode;
	bool is_masked;
	uint8_t mask[4];
	uint32_t head, payload; /* octets */
};

/* ---- frames ---- */

static bool is_control(const struct head *h)
{
	return h->opcode >= CLOSE;
}

static bool is_opcode(uint8_t opcode)
{
	return opcode <= BINARY || (opcode >= CLOSE && opcode <= PONG);
}

/* The length in its shortest form, or UINT64_MAX. */
static uint64_t payload_length(struct cursor *c, uint8_t seven)
{
	uint64_t n = seven;

	if (seven == 126) {
		n = cursor_u16_be(c);
		return n < 126 ? UINT64_MAX : n;
	}
	if (seven == 127) {
		n = (uint64_t)cursor_u32_be(c) << 32;
		n |= cursor_u32_be(c);
		return n <= UINT16_MAX ? UINT64_MAX : n;
	}
	return n;
}

/* @return 1, 0 if more octets are needed, -1 if it cannot be a frame. */
static int head_read(struct view rest, struct head *h)
{
	struct cursor c = cursor_over_view(rest);
	uint8_t first = cursor_u8(&c), second = cursor_u8(&c);
	uint64_t payload;
	struct view mask;

	if (rest.len && ((first & 0x30) || !is_opcode(first & 15)))
		return -1;
	if (c.failed)
		return 0;
	*h = (struct head){ .is_last = first >> 7,
			    .is_compressed = first >> 6 & 1,
			    .opcode = first & 15,
			    .is_masked = second >> 7 };
	if (h->is_compressed && h->opcode != TEXT && h->opcode != BINARY)
		return -1;
	if (is_control(h) && (!h->is_last || (second & 127) > 125))
		return -1;
	payload = payload_length(&c, second & 127);
	mask = cursor_view(&c, h->is_masked ? 4 : 0);
	if (c.failed)
		return 0;
	if (payload > WEBSOCKET_FRAME)
		return -1;
	if (mask.len)
		memcpy(h->mask, mask.at, 4);
	h->head = (uint32_t)(c.pos - rest.at);
	h->payload = (uint32_t)payload;
	return 1;
}

static void unmask(uint8_t *out, const uint8_t *in, const struct head *h, uint32_t len)
{
	if (!h->is_masked) {
		memcpy(out, in, len);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		out[i] = in[i] ^ h->mask[i & 3];
}

/* ---- where something begins: 1, 0 if more octets have to say, -1 if nothing does ---- */

static int text_begins(struct view rest, const char *text)
{
	size_t len = strlen(text), n = rest.len < len ? rest.len : len;

	if (memcmp(rest.at, text, n) != 0)
		return -1;
	return n == len;
}

/* A whole line `GET ... HTTP/1.1`. */
static int request_begins(struct view rest)
{
	static const char version[] = " HTTP/1.1";
	uint32_t n = 0, len = sizeof(version) - 1;

	while (n < rest.len && n < HTTP_LINE && rest.at[n] >= ' ')
		n++;
	if (n == rest.len && n < HTTP_LINE)
		return 0;
	if (n == HTTP_LINE || rest.at[n] != '\r' || n < len)
		return -1;
	return memcmp(rest.at + n - len, version, len) == 0 ? 1 : -1;
}

/* `HTTP/1.1 101`. */
static int answer_begins(struct view rest)
{
	struct cursor c = cursor_over_view(rest);

	cursor_take(&c, strlen(ANSWER));
	for (int i = 0; i < 3; i++)
		if (cursor_left(&c) && (uint8_t)(cursor_u8(&c) - '0') >= 10)
			return -1;
	return rest.len >= strlen(ANSWER) + 3;
}

/* What is before an answer may be a body, which need not end with a line. */
static int http_begins(struct view rest, bool is_mid_line)
{
	int begins = -1;

	if (rest.at[0] == 'H')
		begins = text_begins(rest, ANSWER);
	if (begins > 0)
		return answer_begins(rest);
	if (rest.at[0] == 'G' && !is_mid_line)
		begins = text_begins(rest, "GET ");
	return begins > 0 ? request_begins(rest) : begins;
}

/* One that is compressed, or goes on, says nothing. */
static int sip_frame_begins(struct view rest)
{
	uint8_t first = rest.at[0] & 0x7f; /* last or not */
	uint8_t look[LOOK];
	struct head h;
	int is_frame;

	if (first != TEXT && first != BINARY)
		return -1;
	is_frame = head_read(rest, &h);
	if (is_frame <= 0)
		return is_frame;
	if (h.payload < LOOK)
		return -1;
	if (rest.len < h.head + LOOK)
		return 0;
	unmask(look, rest.at + h.head, &h, LOOK);
	return sip_stream_begins((struct view){ look, LOOK }, true) < 0 ? -1 : 1;
}

int websocket_begins(struct view bytes, bool is_mid_line)
{
	int http, frame;

	if (bytes.len == 0)
		return 0;
	http = http_begins(bytes, is_mid_line);
	frame = sip_frame_begins(bytes);
	return http > frame ? http : frame;
}

/* ---- steps: each returns how many octets it is done with, 0 if more are needed ---- */

static uint32_t drop(struct websocket *w, const struct tcp_flow *flow, uint32_t n)
{
	counter_add(flow->is_synced ? &w->counters.garbage_bytes : &w->counters.unsynced_bytes, n);
	return n;
}

static uint32_t step_search(struct websocket *w, struct tcp_flow *flow, struct memory *m,
			    struct view rest)
{
	for (uint32_t n = 0; n < rest.len; n++) {
		struct view from = { rest.at + n, rest.len - n };
		int begins = websocket_begins(from, m->is_mid_line);

		if (begins < 0) {
			m->is_mid_line = !byte_ends_line(rest.at[n]);
			continue;
		}
		if (n)
			return drop(w, flow, n);
		if (begins > 0 && http_begins(rest, m->is_mid_line) > 0) {
			*m = (struct memory){ .phase = HTTP };
		} else if (begins > 0) {
			*m = (struct memory){ .phase = FRAMES };
			flow->is_synced = true;
		}
		return 0;
	}
	return drop(w, flow, rest.len);
}

/* Is there a header `Upgrade: websocket`? */
static bool is_upgrade(struct view http)
{
	struct cursor c = cursor_over_view(http);

	while (cursor_left(&c)) {
		struct view line = cursor_until(&c, '\n');
		struct view name = { line.at, line.len < 8 ? line.len : 8 };

		if (!view_is_nocase(name, "upgrade:"))
			continue;
		for (uint32_t i = 8; i + 9 <= line.len; i++)
			if (view_is_nocase((struct view){ line.at + i, 9 }, "websocket"))
				return true;
	}
	return false;
}

static uint32_t step_http(struct websocket *w, struct tcp_flow *flow, struct memory *m,
			  struct view rest)
{
	uint32_t most = rest.len < WEBSOCKET_HTTP ? rest.len : WEBSOCKET_HTTP;
	const uint8_t *end = memmem(rest.at + m->scanned, most - m->scanned, "\r\n\r\n", 4);
	bool is_one;

	if (!end && rest.len >= WEBSOCKET_HTTP) {
		*m = (struct memory){ .phase = SEARCH };
		return drop(w, flow, 1);
	}
	if (!end) {
		m->scanned = rest.len > 3 ? rest.len - 3 : 0;
		return 0;
	}
	end += 4;
	is_one = is_upgrade((struct view){ rest.at, (uint32_t)(end - rest.at) });
	counter_add(is_one ? &w->counters.upgrades : &w->counters.not_upgraded, 1);
	flow->is_synced |= is_one;
	*m = (struct memory){ .phase = is_one ? FRAMES : SEARCH };
	return (uint32_t)(end - rest.at);
}

static bool is_keep_alive(struct view message)
{
	for (uint32_t i = 0; i < message.len; i++)
		if (message.at[i] != '\r' && message.at[i] != '\n')
			return false;
	return true;
}

static void deliver(struct websocket *w, const struct tcp_flow *flow, struct view message)
{
	if (is_keep_alive(message)) {
		counter_add(&w->counters.keep_alives, 1);
		return;
	}
	counter_add(&w->counters.messages, 1);
	w->fn(w->ctx, flow, message);
}

/* All of the message's frames, with control frames between them, are there. */
static void put_together(struct websocket *w, const struct tcp_flow *flow, struct view frames)
{
	uint32_t len = 0;
	struct head h;

	while (frames.len && head_read(frames, &h) > 0) {
		uint32_t whole = h.head + h.payload;

		if (!is_control(&h)) {
			unmask(w->message + len, frames.at + h.head, &h, h.payload);
			len += h.payload;
		}
		frames = (struct view){ frames.at + whole, frames.len - whole };
	}
	deliver(w, flow, (struct view){ w->message, len });
}

/* What is there of the message is dropped, and the frame as a whole with what did not come of it
 * yet. */
static uint32_t begin_dropping(struct memory *m, const struct head *h, counter *why)
{
	uint32_t n = m->scanned;

	if (why)
		counter_add(why, 1);
	m->skip = h->head + h->payload;
	m->is_dropping = is_control(h) || !h->is_last;
	m->is_in_message = false;
	m->scanned = 0;
	return n;
}

static uint32_t skip(struct memory *m, struct view rest)
{
	uint32_t n = m->skip < rest.len ? m->skip : rest.len;

	m->skip -= n;
	return n;
}

/* Whatever was begun is not to be had. What was before the frame is done with; the frame itself may
 * be the beginning of something. */
static uint32_t give_up(struct websocket *w, struct memory *m)
{
	uint32_t n = m->scanned;

	counter_add(&w->counters.broken, 1);
	if (m->is_in_message)
		counter_add(&w->counters.partial, 1);
	*m = (struct memory){ .phase = SEARCH };
	return n;
}

static uint32_t take_control(struct websocket *w, struct memory *m, const struct head *h,
			     struct view rest)
{
	uint32_t end = m->scanned + h->head + h->payload;

	if (rest.len < end)
		return 0;
	counter_add(&w->counters.control, 1);
	if (m->is_in_message && end > WEBSOCKET_MESSAGE && h->opcode != CLOSE)
		return begin_dropping(m, h, &w->counters.oversize);
	if (h->opcode == CLOSE) {
		counter_add(&w->counters.partial, m->is_in_message);
		*m = (struct memory){ .phase = CLOSED };
		return end;
	}
	if (!m->is_in_message)
		return end;
	m->scanned = end;
	return 0;
}

static uint32_t take_data(struct websocket *w, struct tcp_flow *flow, struct memory *m,
			  const struct head *h, struct view rest)
{
	uint32_t end = m->scanned + h->head + h->payload;

	if (m->is_dropping)
		return begin_dropping(m, h, NULL);
	if (h->is_compressed)
		return begin_dropping(m, h, &w->counters.compressed);
	if (end > WEBSOCKET_MESSAGE)
		return begin_dropping(m, h, &w->counters.oversize);
	if (rest.len < end)
		return 0;
	if (!h->is_last) {
		m->is_in_message = true;
		m->scanned = end;
		return 0;
	}
	if (m->is_in_message || h->is_masked)
		put_together(w, flow, (struct view){ rest.at, end });
	else
		deliver(w, flow, (struct view){ rest.at + h->head, h->payload });
	*m = (struct memory){ .phase = FRAMES };
	return end;
}

static uint32_t step_frames(struct websocket *w, struct tcp_flow *flow, struct memory *m,
			    struct view rest)
{
	struct view from = { rest.at + m->scanned, rest.len - m->scanned };
	struct head h;
	int is_frame;

	if (m->skip)
		return skip(m, rest);
	is_frame = head_read(from, &h);
	if (is_frame == 0)
		return 0;
	if (is_frame < 0)
		return give_up(w, m);
	if (is_control(&h))
		return take_control(w, m, &h, rest);
	if ((h.opcode == CONTINUATION) != (m->is_in_message || m->is_dropping))
		return give_up(w, m);
	return take_data(w, flow, m, &h, rest);
}

static uint32_t step(struct websocket *w, struct tcp_flow *flow, struct memory *m, struct view rest)
{
	switch (m->phase) {
	case SEARCH:
		return step_search(w, flow, m, rest);
	case HTTP:
		return step_http(w, flow, m, rest);
	case FRAMES:
		return step_frames(w, flow, m, rest);
	default:
		counter_add(&w->counters.closed_bytes, rest.len);
		return rest.len;
	}
}

/* Nothing follows. What is left of a message that is dropped was counted with it. */
static void finish(struct websocket *w, const struct tcp_flow *flow, const struct memory *m,
		   struct view rest)
{
	if (rest.len == 0 || m->is_dropping)
		return;
	if (m->phase != FRAMES)
		drop(w, flow, rest.len);
	else if (!m->is_in_message && (rest.at[0] & 15) >= CLOSE)
		counter_add(&w->counters.control, 1);
	else
		counter_add(&w->counters.partial, 1);
}

size_t websocket_take(void *websocket, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	struct memory *m = (struct memory *)flow->state;
	struct view rest = bytes;
	struct memory was;
	uint32_t n;

	while (rest.len) { /* until a step takes nothing and learns nothing */
		was = *m;
		n = step(websocket, flow, m, rest);
		if (n == 0 && memcmp(&was, m, sizeof(was)) == 0)
			break;
		rest = (struct view){ rest.at + n, rest.len - n };
	}
	if (is_end)
		finish(websocket, flow, m, rest);
	return bytes.len - rest.len;
}
