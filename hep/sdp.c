/* SDP: a walk over lines, with the session's address at hand when a media section has none. */
#include "hep/sdp.h"

#include <arpa/inet.h>

#define BOUNDARY_MAX 70 /* RFC 2046 section 5.1.1 */
#define ADDRESS_MAX  INET6_ADDRSTRLEN

/* What one walk over all parts may still do. */
struct walk {
	struct sdp *out;
	unsigned parts_left;
};

/* ---- small readers ---- */

/* Ends of lines as well: a Content-Type may be folded. */
static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct view trim(struct view v)
{
	while (v.len && is_blank(v.at[0])) {
		v.at++;
		v.len--;
	}
	while (v.len && is_blank(v.at[v.len - 1]))
		v.len--;
	return v;
}

/* The next line without its end; lines may end in a lone LF. */
static struct view next_line(struct cursor *c)
{
	struct view line = cursor_until(c, '\n');

	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static void skip_blanks(struct cursor *c)
{
	while (is_blank((uint8_t)cursor_peek(c)))
		cursor_skip_byte(c, (uint8_t)cursor_peek(c));
}

/* The next word of a line; empty at its end. */
static struct view next_word(struct cursor *c)
{
	struct view word;

	skip_blanks(c);
	word.at = c->pos;
	word.len = 0;
	while (cursor_left(c) && !is_blank((uint8_t)cursor_peek(c))) {
		cursor_take(c, 1);
		word.len++;
	}
	return word;
}

/* Decimal digits at the front, as far as they go; more than @p most (below UINT32_MAX / 10) reads
 * as 0, as does none. */
static uint32_t number(struct view v, uint32_t most)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v.len && v.at[i] >= '0' && v.at[i] <= '9'; i++) {
		n = n * 10 + (uint32_t)(v.at[i] - '0');
		if (n > most)
			return 0;
	}
	return n;
}

static struct view view_from(struct view v, uint32_t skip)
{
	return (struct view){ v.at + skip, v.len - skip };
}

static bool begins_with(struct view v, const char *text)
{
	size_t len = strlen(text);

	return v.len >= len && memcmp(v.at, text, len) == 0;
}

static bool begins_with_nocase(struct view v, const char *lower)
{
	size_t len = strlen(lower);

	return v.len >= len && view_is_nocase((struct view){ v.at, (uint32_t)len }, lower);
}

/* ---- addresses ---- */

/* Of one host that packets can be sent to. */
static bool is_host(const struct addr *a)
{
	static const uint8_t none[16];

	if (a->family == FAMILY_IPV4)
		return memcmp(a->ip, none, 4) != 0 && (a->ip[0] & 0xf0) != 0xe0;
	return memcmp(a->ip, none, 16) != 0 && a->ip[0] != 0xff;
}

/* "IN IP4 192.0.2.1", perhaps with a TTL or a count behind a slash. No family: it is none of ours.
 */
static struct addr read_address(struct cursor *c)
{
	struct addr none = { .family = FAMILY_NONE }, a = none;
	bool is_in = view_is_nocase(next_word(c), "in");
	struct view type = next_word(c), word = next_word(c);
	struct cursor of_word = cursor_over_view(word);
	struct view ip = cursor_until(&of_word, '/');
	char text[ADDRESS_MAX];

	if (!is_in || ip.len == 0 || ip.len >= sizeof(text))
		return none;
	memcpy(text, ip.at, ip.len);
	text[ip.len] = '\0';
	if (view_is_nocase(type, "ip4") && inet_pton(AF_INET, text, a.ip) == 1)
		a.family = FAMILY_IPV4;
	else if (view_is_nocase(type, "ip6") && inet_pton(AF_INET6, text, a.ip) == 1)
		a.family = FAMILY_IPV6;
	return a.family != FAMILY_NONE && is_host(&a) ? a : none;
}

/* ---- one session description ---- */

/* A media section as far as it was read. */
struct section {
	struct addr address; /* the session's, until a c= of its own */
	bool has_own;
	uint16_t port, ports; /* 0: no media section is open; ports in steps of two */
	bool has_rtcp, is_mux;
	struct addr rtcp;
	struct addr session;
};

static void media_add(struct sdp *out, const struct section *s, unsigned i)
{
	struct sdp_media *m;

	if (out->count == SDP_MEDIA_MAX) {
		out->more++;
		return;
	}
	m = &out->media[out->count++];
	*m = (struct sdp_media){ .rtp = s->address, .is_mux = s->is_mux };
	m->rtp.port = (uint16_t)(s->port + 2 * i);
	if (!s->has_rtcp || i > 0)
		return;
	m->rtcp = s->rtcp.family != FAMILY_NONE ? s->rtcp : s->address;
	m->rtcp.port = s->rtcp.port;
}

static void section_close(struct section *s, struct sdp *out)
{
	if (s->address.family != FAMILY_NONE)
		for (unsigned i = 0; i < s->ports && s->port + 2 * i <= UINT16_MAX; i++)
			media_add(out, s, i);
	s->ports = 0;
}

/* "audio 49170 RTP/AVP 0", or "video 49170/2 ...": two pairs of ports. */
static void section_open(struct section *s, struct cursor line)
{
	struct cursor port;
	struct view count;

	(void)next_word(&line);
	port = cursor_over_view(next_word(&line));
	*s = (struct section){ .address = s->session, .session = s->session };
	s->port = (uint16_t)number(cursor_until(&port, '/'), UINT16_MAX);
	count = cursor_rest(&port);
	s->ports = count.len ? (uint16_t)number(count, UINT16_MAX / 2) : 1;
	if (s->ports > SDP_MEDIA_MAX)
		s->ports = SDP_MEDIA_MAX;
	if (s->port == 0)
		s->ports = 0;
}

static void read_connection(struct section *s, bool in_media, struct cursor line)
{
	struct addr a = read_address(&line);

	if (!in_media) {
		s->session = s->address = a;
		return;
	}
	if (s->has_own)
		return; /* further ones are layers of a multicast */
	s->has_own = true;
	s->address = a;
}

/* "rtcp:53020" or "rtcp:53020 IN IP6 2001:db8::1"; "rtcp-mux". */
static void read_attribute(struct section *s, struct view value)
{
	struct cursor c;
	uint32_t port;

	if (view_is(trim(value), "rtcp-mux"))
		s->is_mux = true;
	if (!begins_with(value, "rtcp:"))
		return;
	c = cursor_over_view(view_from(value, 5));
	port = number(next_word(&c), UINT16_MAX);
	if (port == 0)
		return;
	s->has_rtcp = true;
	s->rtcp = read_address(&c);
	s->rtcp.port = (uint16_t)port;
}

static void read_description(struct view text, struct sdp *out)
{
	struct section s = { .port = 0 };
	struct cursor c = cursor_over_view(text);
	bool in_media = false;

	while (cursor_left(&c)) {
		struct view line = next_line(&c);
		struct view value;

		if (line.len < 2 || line.at[1] != '=')
			continue;
		value = view_from(line, 2);
		if (line.at[0] == 'm') {
			section_close(&s, out);
			section_open(&s, cursor_over_view(value));
			in_media = true;
		} else if (line.at[0] == 'c') {
			read_connection(&s, in_media, cursor_over_view(value));
		} else if (line.at[0] == 'a' && in_media) {
			read_attribute(&s, value);
		}
	}
	section_close(&s, out);
}

/* ---- bodies of several parts ---- */

/* The value of a parameter, without quotes; empty if it is not there. */
static struct view parameter(struct view content_type, const char *lower)
{
	struct cursor c = cursor_over_view(content_type);

	(void)cursor_until(&c, ';');
	while (cursor_left(&c)) {
		struct view name = { c.pos, 0 }, value;

		while (cursor_left(&c) && cursor_peek(&c) != '=' && cursor_peek(&c) != ';') {
			cursor_skip_byte(&c, (uint8_t)cursor_peek(&c));
			name.len++;
		}
		if (cursor_u8(&c) != '=')
			continue;
		skip_blanks(&c);
		if (cursor_skip_byte(&c, '"')) {
			value = cursor_until(&c, '"');
			(void)cursor_until(&c, ';');
		} else {
			value = trim(cursor_until(&c, ';'));
		}
		if (view_is_nocase(trim(name), lower))
			return value;
	}
	return (struct view){ NULL, 0 };
}

/* Is the line the boundary, and is it the last one? */
static bool is_boundary(struct view line, struct view boundary, bool *is_last)
{
	struct view rest;

	if (line.len < boundary.len + 2 || !begins_with(line, "--") ||
	    memcmp(line.at + 2, boundary.at, boundary.len) != 0)
		return false;
	rest = trim(view_from(line, boundary.len + 2));
	*is_last = view_is(rest, "--");
	return rest.len == 0 || *is_last;
}

static void read_body(struct walk *w, struct view content_type, struct view body, unsigned depth);

/* Its header fields, an empty line, its body. A part that does not say its type is text. */
static void read_part(struct walk *w, struct view part, unsigned depth)
{
	struct cursor c = cursor_over_view(part);
	struct view type = view_of("text/plain"), line;

	while (cursor_left(&c) && (line = next_line(&c)).len) {
		struct cursor of_line = cursor_over_view(line);
		struct view name = trim(cursor_until(&of_line, ':'));

		if (view_is_nocase(name, "content-type") || view_is_nocase(name, "c"))
			type = cursor_rest(&of_line);
	}
	read_body(w, type, cursor_rest(&c), depth);
}

static void read_parts(struct walk *w, struct view boundary, struct view body, unsigned depth)
{
	struct cursor c = cursor_over_view(body);
	const uint8_t *begin = NULL; /* of the part that is open */
	bool is_last = false;

	while (cursor_left(&c) && !is_last && w->parts_left) {
		const uint8_t *at = c.pos;

		if (!is_boundary(next_line(&c), boundary, &is_last))
			continue;
		if (begin) {
			w->parts_left--;
			read_part(w, (struct view){ begin, (uint32_t)(at - begin) }, depth + 1);
		}
		begin = c.pos;
	}
	if (begin && !is_last && w->parts_left) { /* cut off before its end */
		w->parts_left--;
		read_part(w, (struct view){ begin, (uint32_t)(c.end - begin) }, depth + 1);
	}
}

static bool is_type(struct view content_type, const char *lower)
{
	struct cursor c = cursor_over_view(content_type);

	return view_is_nocase(trim(cursor_until(&c, ';')), lower);
}

static void read_body(struct walk *w, struct view content_type, struct view body, unsigned depth)
{
	struct view boundary;

	content_type = trim(content_type);
	if (is_type(content_type, "application/sdp") ||
	    (content_type.len == 0 && begins_with(body, "v=0"))) {
		read_description(body, w->out);
	} else if (begins_with_nocase(content_type, "multipart/") && depth < SDP_DEPTH_MAX) {
		boundary = parameter(content_type, "boundary");
		if (boundary.len && boundary.len <= BOUNDARY_MAX)
			read_parts(w, boundary, body, depth);
	}
}

void sdp_read(struct view content_type, struct view body, struct sdp *out)
{
	struct walk w = { .out = out, .parts_left = SDP_PARTS_MAX };

	out->count = out->more = 0;
	read_body(&w, content_type, body, 0);
}
