/* Steps along the octets: each drops or hands on some of them, or waits for more. */
#include "capture/sip_stream.h"

#include <assert.h>
#include <string.h>

#include "hep/sip.h"

#define METHOD_MOST 32

enum phase { BETWEEN, HEAD, BODY, OPEN_BODY };

/* What is remembered of a flow, in its state. */
struct memory {
	uint32_t scanned; /* octets of the message that need not be looked at again */
	uint32_t need;	  /* BODY: octets of the message */
	uint8_t phase;
	bool is_mid_line;   /* the next octet does not begin a line */
	bool is_in_garbage; /* since what was dropped, no message began */
};

static_assert(sizeof(struct memory) <= sizeof(((struct tcp_flow *)0)->state), "fits the state");

/* ---- start lines ---- */

static bool is_digit(uint8_t byte)
{
	return (uint8_t)(byte - '0') < 10;
}

/* RFC 3261 section 25.1. */
static bool is_token(uint8_t byte)
{
	return (uint8_t)(ascii_lower(byte) - 'a') < 26 || is_digit(byte) ||
	       (byte && strchr("-.!%*_+`'~", byte));
}

static const char *const known_methods[] = { "INVITE",	"ACK",	     "BYE",    "CANCEL",
					     "OPTIONS", "REGISTER",  "PRACK",  "UPDATE",
					     "INFO",	"SUBSCRIBE", "NOTIFY", "PUBLISH",
					     "MESSAGE", "REFER",     "SERVICE" };

/* Of which all that is there is a known method and a space, or the front of that. */
static bool is_known_front(struct view v)
{
	for (size_t k = 0; k < sizeof(known_methods) / sizeof(*known_methods); k++) {
		const char *method = known_methods[k];
		uint32_t i = 0;

		while (i < v.len && method[i] && v.at[i] == (uint8_t)method[i])
			i++;
		if (i == v.len || (method[i] == '\0' && v.at[i] == ' '))
			return true;
	}
	return false;
}

/* Does it go like the pattern (9: a digit, lower case: a letter of either case), as far as both go?
 */
static bool goes_like(struct view v, const char *pattern)
{
	for (uint32_t i = 0; i < v.len && pattern[i]; i++) {
		if (pattern[i] == '9' ? !is_digit(v.at[i])
				      : ascii_lower(v.at[i]) != (uint8_t)pattern[i])
			return false;
	}
	return true;
}

/* @p line is without its end. */
static bool ends_in_version(struct view line)
{
	struct view tail;

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	while (line.len && line.at[line.len - 1] == ' ')
		line.len--;
	if (line.len < 8)
		return false;
	tail = (struct view){ line.at + line.len - 8, 8 };
	return goes_like(tail, " sip/9.9");
}

static int reply_begins(struct view line, bool is_whole)
{
	if (!goes_like(line, "sip/9.9 999"))
		return -1;
	if (line.len > 11 && line.at[11] != ' ' && line.at[11] != '\r')
		return -1;
	return is_whole ? (line.len >= 11 ? 1 : -1) : 0;
}

static int request_begins(struct view line, bool is_whole)
{
	struct view method = { line.at, 0 };

	while (method.len < line.len && is_token(line.at[method.len]))
		method.len++;
	if (method.len > METHOD_MOST || (method.len == line.len && is_whole))
		return -1;
	if (method.len == line.len)
		return 0;
	if (method.len == 0 || line.at[method.len] != ' ')
		return -1;
	if (!is_whole)
		return 0;
	line = (struct view){ line.at + method.len, line.len - method.len };
	return line.len >= 10 && ends_in_version(line) ? 1 : -1;
}

/* A line has no other control characters than a CR before its LF, and tabs. */
static bool has_controls(struct view line)
{
	for (uint32_t i = 0; i < line.len; i++)
		if (line.at[i] < ' ' && line.at[i] != '\t' &&
		    (line.at[i] != '\r' || i + 1 < line.len))
			return true;
	return false;
}

int sip_stream_begins(struct view bytes, bool is_strict)
{
	uint32_t most = bytes.len < SIP_STREAM_LINE ? bytes.len : SIP_STREAM_LINE;
	struct view line = { bytes.at, most };
	const uint8_t *lf;
	int begins = -1;

	if (is_strict && !is_known_front(line) && !goes_like(line, "sip/"))
		return -1; /* of most octets; a line costs more */
	lf = most ? memchr(bytes.at, '\n', most) : NULL;
	line.len = lf ? (uint32_t)(lf - bytes.at) : most;
	if (!lf && bytes.len >= SIP_STREAM_LINE)
		return -1;
	if (line.len < 4 ? goes_like(line, "sip/") : goes_like(line, "sip/9"))
		begins = reply_begins(line, lf);
	if (begins < 0 && !(line.len >= 4 && line.at[3] == '/'))
		begins = request_begins(line, lf);
	return begins >= 0 && has_controls(line) ? -1 : begins;
}

/* ---- steps: each returns how many octets it is done with, 0 if more are needed ---- */

/* In the middle of a line, as bodies need not end with one, what begins does so with a letter that
 * its method has, or `SIP`. */
static int begins_in_garbage(struct view rest, bool is_mid_line)
{
	if (is_mid_line && (rest.at[0] < 'A' || rest.at[0] > 'Z'))
		return -1;
	return sip_stream_begins(rest, true);
}

/* Octets in which nothing begins, the first of them: up to where something may. */
static uint32_t drop_garbage(struct sip_stream *s, const struct tcp_flow *flow, struct memory *m,
			     struct view rest)
{
	uint32_t n = 0;

	m->is_in_garbage = true;
	do
		m->is_mid_line = !byte_ends_line(rest.at[n++]);
	while (n < rest.len &&
	       begins_in_garbage((struct view){ rest.at + n, rest.len - n }, m->is_mid_line) < 0);
	counter_add(flow->is_synced ? &s->counters.garbage_bytes : &s->counters.unsynced_bytes, n);
	return n;
}

static bool is_line_end(uint8_t byte)
{
	return byte == '\r' || byte == '\n';
}

static uint32_t take_keep_alives(struct sip_stream *s, struct view rest)
{
	uint32_t n = 0, lines = 0;

	for (; n < rest.len && is_line_end(rest.at[n]); n++)
		lines += rest.at[n] == '\n';
	counter_add(&s->counters.keep_alives, lines);
	return n;
}

static uint32_t deliver(struct sip_stream *s, struct tcp_flow *flow, struct memory *m,
			struct view message)
{
	*m = (struct memory){ 0 };
	counter_add(&s->counters.messages, 1);
	s->fn(s->ctx, flow, message);
	return message.len;
}

/* The first @p n octets are not what they should be; then a start line is looked for. */
static uint32_t give_up(struct sip_stream *s, struct memory *m, uint32_t n, bool is_mid_line)
{
	*m = (struct memory){ .is_in_garbage = true, .is_mid_line = is_mid_line };
	counter_add(&s->counters.oversize, 1);
	return n;
}

static uint32_t step_between(struct sip_stream *s, struct tcp_flow *flow, struct memory *m,
			     struct view rest)
{
	bool is_garbage = m->is_in_garbage || !flow->is_synced;
	int begins;

	if (!is_garbage && is_line_end(rest.at[0]))
		return take_keep_alives(s, rest);
	begins = is_garbage ? begins_in_garbage(rest, m->is_mid_line)
			    : sip_stream_begins(rest, false);
	if (begins < 0)
		return drop_garbage(s, flow, m, rest);
	if (begins == 0)
		return 0;
	flow->is_synced = true;
	*m = (struct memory){ .phase = HEAD };
	return 0;
}

/* Length of start line and headers with the empty line; 0 if it is not there yet. */
static uint32_t header_length(struct memory *m, struct view rest)
{
	while (m->scanned < rest.len) {
		const uint8_t *from = rest.at + m->scanned;
		const uint8_t *lf = memchr(from, '\n', rest.len - m->scanned);
		uint32_t next = lf ? (uint32_t)(lf - rest.at) + 1 : rest.len;

		if (!lf) {
			m->scanned = rest.len;
			return 0;
		}
		if (next < rest.len && rest.at[next] == '\n')
			return next + 1;
		if (next + 1 < rest.len && rest.at[next] == '\r' && rest.at[next + 1] == '\n')
			return next + 2;
		if (next == rest.len || (next + 1 == rest.len && rest.at[next] == '\r')) {
			m->scanned = next - 1; /* what follows the line is not there yet */
			return 0;
		}
		m->scanned = next;
	}
	return 0;
}

static uint32_t step_head(struct sip_stream *s, struct memory *m, struct view rest)
{
	uint32_t header = header_length(m, rest);
	struct sip sip;

	if (header > SIP_STREAM_HEADER || (header == 0 && rest.len >= SIP_STREAM_HEADER))
		return give_up(s, m, SIP_STREAM_HEADER, true);
	if (header == 0)
		return 0;
	if (sip_parse((struct view){ rest.at, header }, NULL, &sip) < 0) /* the start line is one */
		return give_up(s, m, header, false);
	if (sip.content_length > (int64_t)(SIP_STREAM_MESSAGE - header))
		return give_up(s, m, header, false);
	if (sip.content_length < 0 && sip.content_type.len) {
		m->phase = OPEN_BODY;
		m->scanned = header;
		return 0;
	}
	m->phase = BODY;
	m->need = header + (sip.content_length > 0 ? (uint32_t)sip.content_length : 0);
	return 0;
}

static uint32_t step_body(struct sip_stream *s, struct tcp_flow *flow, struct memory *m,
			  struct view rest)
{
	if (rest.len < m->need)
		return 0;
	return deliver(s, flow, m, (struct view){ rest.at, m->need });
}

/* Line by line, to one that begins a message. */
static uint32_t step_open_body(struct sip_stream *s, struct tcp_flow *flow, struct memory *m,
			       struct view rest)
{
	while (m->scanned < rest.len && m->scanned <= SIP_STREAM_MESSAGE) {
		struct view line = { rest.at + m->scanned, rest.len - m->scanned };
		int begins = m->is_mid_line ? -1 : sip_stream_begins(line, false);
		const uint8_t *lf;

		if (begins > 0)
			return deliver(s, flow, m, (struct view){ rest.at, m->scanned });
		if (begins == 0)
			return 0;
		lf = memchr(line.at, '\n', line.len);
		m->is_mid_line = !lf;
		m->scanned = lf ? (uint32_t)(lf - rest.at) + 1 : rest.len;
	}
	if (m->scanned > SIP_STREAM_MESSAGE)
		return give_up(s, m, SIP_STREAM_MESSAGE, true);
	return 0;
}

static uint32_t step(struct sip_stream *s, struct tcp_flow *flow, struct memory *m,
		     struct view rest)
{
	uint8_t phase;
	uint32_t n;

	do { /* a step may know more of the same octets than the one before it */
		phase = m->phase;
		switch (phase) {
		case HEAD:
			n = step_head(s, m, rest);
			break;
		case BODY:
			n = step_body(s, flow, m, rest);
			break;
		case OPEN_BODY:
			n = step_open_body(s, flow, m, rest);
			break;
		default:
			n = step_between(s, flow, m, rest);
		}
	} while (n == 0 && m->phase != phase);
	return n;
}

/* Nothing follows: what is left is a message that has no other end, or a part of one. */
static void finish(struct sip_stream *s, struct tcp_flow *flow, struct memory *m, struct view rest)
{
	if (rest.len == 0)
		return;
	if (m->phase == OPEN_BODY && rest.len <= SIP_STREAM_MESSAGE)
		deliver(s, flow, m, rest);
	else if (m->phase == OPEN_BODY)
		give_up(s, m, rest.len, false);
	else if (flow->is_synced)
		counter_add(&s->counters.partial, 1);
	else
		counter_add(&s->counters.unsynced_bytes, rest.len);
}

size_t sip_stream_take(void *sip_stream, struct tcp_flow *flow, struct view bytes, bool is_end)
{
	struct memory *m = (struct memory *)flow->state;
	struct view rest = bytes;
	uint32_t n = 1;

	while (rest.len && n) {
		n = step(sip_stream, flow, m, rest);
		rest = (struct view){ rest.at + n, rest.len - n };
	}
	if (is_end)
		finish(sip_stream, flow, m, rest);
	return bytes.len - rest.len;
}
