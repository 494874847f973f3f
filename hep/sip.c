/* SIP: start line, then a walk over the header lines; the few structured headers are taken apart
 * when all are seen. */
#include "hep/sip.h"

#include <errno.h>

enum header {
	HEADER_OTHER,
	HEADER_VIA,
	HEADER_FROM,
	HEADER_TO,
	HEADER_CALL_ID,
	HEADER_CSEQ,
	HEADER_CONTACT,
	HEADER_CONTENT_TYPE,
	HEADER_USER_AGENT,
	HEADER_SERVER,
	HEADER_DIVERSION,
	HEADER_REASON,
	HEADER_AUTH,
	HEADER_PROXY_AUTH,
	HEADER_PAI,
	HEADER_PPI,
	HEADER_RPID,
	HEADER_X_OIP,
	HEADER_EXPIRES,
	HEADER_EVENT,
	HEADER_CONTENT_LENGTH,
	HEADER_RTP_STAT, /* seven names, in order of preference */
	HEADER_COUNT = HEADER_RTP_STAT + 7
};

#define NAME_WORDS 3 /* of eight octets: as long as the longest name that is known */

struct header_name {
	char lower[8 * NAME_WORDS];
	enum header id;
};

#define NAMES_PER_LENGTH 8
#define NAME_LENGTHS	 21

/* The headers that we store, by the length of their name. Compact forms: RFC 3261 section 7.3.3. */
static const struct header_name header_names[NAME_LENGTHS][NAMES_PER_LENGTH] = {
	[1] = { { "v", HEADER_VIA },
		{ "o", HEADER_EVENT },
		{ "l", HEADER_CONTENT_LENGTH },
		{ "f", HEADER_FROM },
		{ "t", HEADER_TO },
		{ "i", HEADER_CALL_ID },
		{ "m", HEADER_CONTACT },
		{ "c", HEADER_CONTENT_TYPE } },
	[2] = { { "to", HEADER_TO } },
	[3] = { { "via", HEADER_VIA } },
	[4] = { { "from", HEADER_FROM }, { "cseq", HEADER_CSEQ } },
	[5] = { { "x-oip", HEADER_X_OIP }, { "event", HEADER_EVENT } },
	[6] = { { "server", HEADER_SERVER }, { "reason", HEADER_REASON } },
	[7] = { { "call-id", HEADER_CALL_ID },
		{ "contact", HEADER_CONTACT },
		{ "expires", HEADER_EXPIRES } },
	[9] = { { "diversion", HEADER_DIVERSION } },
	[10] = { { "user-agent", HEADER_USER_AGENT },
		 { "x-rtp-stat", HEADER_RTP_STAT + 2 },
		 { "p-rtp-stat", HEADER_RTP_STAT + 3 },
		 { "rtp-rxstat", HEADER_RTP_STAT + 6 } },
	[12] = { { "content-type", HEADER_CONTENT_TYPE } },
	[13] = { { "authorization", HEADER_AUTH } },
	[14] = { { "content-length", HEADER_CONTENT_LENGTH },
		 { "x-rtp-stat-add", HEADER_RTP_STAT },
		 { "x-rtp-stat-t38", HEADER_RTP_STAT + 1 },
		 { "x-ng-rtp-stats", HEADER_RTP_STAT + 5 } },
	[15] = { { "remote-party-id", HEADER_RPID } },
	[19] = { { "proxy-authorization", HEADER_PROXY_AUTH },
		 { "p-asserted-identity", HEADER_PAI },
		 { "x-siemens-rtp-stats", HEADER_RTP_STAT + 4 } },
	[20] = { { "p-preferred-identity", HEADER_PPI } },
};

/* A short text in lower case, with zeros behind it. Compared as words: the lengths of names differ
 * from header to header, and a loop over octets would be guessed wrong by the processor at the end
 * of each. */
struct name_words {
	uint64_t word[NAME_WORDS];
};

/* ASCII letters of eight octets at once: 0x20 is added where an octet is from 'A' to 'Z'. */
static inline uint64_t lower_word(uint64_t w)
{
	uint64_t seven = w & 0x7f7f7f7f7f7f7f7fULL;
	uint64_t from_a = seven + 0x3f3f3f3f3f3f3f3fULL; /* the high bit is set from 'A' on */
	uint64_t beyond_z = seven + 0x2525252525252525ULL;
	uint64_t is_upper = ~w & (from_a ^ beyond_z) & 0x8080808080808080ULL;

	return w | is_upper >> 2;
}

/* @p name is at most 8 * NAME_WORDS octets; @p end is where the octets behind it end. */
static inline struct name_words name_load(struct view name, const uint8_t *end)
{
	static const uint8_t window[2 * 8 * NAME_WORDS] = { [0 ... 8 * NAME_WORDS - 1] = 0xff };
	struct name_words mask, n = { { 0 } };

	if ((size_t)(end - name.at) >= sizeof(n))
		memcpy(&n, name.at, sizeof(n));
	else
		memcpy(&n, name.at, name.len);
	memcpy(&mask, window + sizeof(n) - name.len, sizeof(mask));
	for (int i = 0; i < NAME_WORDS; i++)
		n.word[i] = lower_word(n.word[i] & mask.word[i]);
	return n;
}

static inline bool name_is(const struct name_words *n, const char lower[8 * NAME_WORDS])
{
	struct name_words known;

	memcpy(&known, lower, sizeof(known));
	return ((n->word[0] ^ known.word[0]) | (n->word[1] ^ known.word[1]) |
		(n->word[2] ^ known.word[2])) == 0;
}

static enum header header_find(struct view name, const uint8_t *end)
{
	struct name_words words;

	if (name.len == 0 || name.len >= NAME_LENGTHS)
		return HEADER_OTHER;
	words = name_load(name, end);
	for (int i = 0; i < NAMES_PER_LENGTH && header_names[name.len][i].lower[0]; i++)
		if (name_is(&words, header_names[name.len][i].lower))
			return header_names[name.len][i].id;
	return HEADER_OTHER;
}

int sip_names_add(struct sip_names *names, const char *name)
{
	size_t len = strlen(name);
	uint8_t i = names->count;

	if (len == 0 || len > SIP_MAX_NAME)
		return -EINVAL;
	if (i == SIP_MAX_EXTRA)
		return HT_EFULL;
	for (size_t k = 0; k < len; k++)
		names->name[i].lower[k] = (char)ascii_lower((uint8_t)name[k]);
	names->name[i].len = (uint8_t)len;
	names->lengths |= 1ULL << (len % 64);
	names->count++;
	return i;
}

/* ---- small readers ---- */

/* Classes of bytes, so that a scan asks one table once per byte. */
enum {
	BLANK = 1 << 0, /* SP, HTAB */
	LINE = 1 << 1,	/* CR, LF */
	NUL = 1 << 2,
	COLON = 1 << 3,
	SEMICOLON = 1 << 4,
	COMMA = 1 << 5,
	GREATER = 1 << 6,
	QUESTION = 1 << 7,
	EQUALS = 1 << 8,
	AT = 1 << 9,
	BRACKET = 1 << 10, /* the closing one */
	TOKEN = 1 << 11,   /* RFC 3261 section 25.1 */
	LWS = BLANK | LINE,
	PARAM_END = SEMICOLON | COMMA | LWS,
};

static const uint16_t byte_class[256] = {
	[' '] = BLANK,	 ['\t'] = BLANK,	['\r'] = LINE,	       ['\n'] = LINE,
	['\0'] = NUL,	 [':'] = COLON,		[';'] = SEMICOLON,     [','] = COMMA,
	['>'] = GREATER, ['?'] = QUESTION,	['='] = EQUALS,	       ['@'] = AT,
	[']'] = BRACKET, ['a' ... 'z'] = TOKEN, ['A' ... 'Z'] = TOKEN, ['0' ... '9'] = TOKEN,
	['-'] = TOKEN,	 ['.'] = TOKEN,		['!'] = TOKEN,	       ['%'] = TOKEN,
	['*'] = TOKEN,	 ['_'] = TOKEN,		['+'] = TOKEN,	       ['`'] = TOKEN,
	['\''] = TOKEN,	 ['~'] = TOKEN,
};

static inline struct view trim_front(struct view v, unsigned cut)
{
	while (v.len && (byte_class[v.at[0]] & cut)) {
		v.at++;
		v.len--;
	}
	return v;
}

static inline struct view trim_back(struct view v, unsigned cut)
{
	while (v.len && (byte_class[v.at[v.len - 1]] & cut))
		v.len--;
	return v;
}

/* Decimal digits at the front; UINT32_MAX if they do not fit, 0 if there are none. */
static uint32_t number_at_front(struct view v)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < v.len && (uint8_t)(v.at[i] - '0') < 10; i++) {
		n = n * 10 + (v.at[i] - '0');
		if (n > UINT32_MAX)
			return UINT32_MAX;
	}
	return (uint32_t)n;
}

/* Up to the first byte of the classes in @p stops, or all of it. */
static inline struct view front_until(struct view v, unsigned stops)
{
	struct view front = { v.at, 0 };

	while (front.len < v.len && !(byte_class[v.at[front.len]] & stops))
		front.len++;
	return front;
}

static struct view behind(struct view whole, struct view front)
{
	if (front.len == 0) /* an absent view has no address to add to, not even 0 */
		return whole;
	return (struct view){ whole.at + front.len, whole.len - front.len };
}

/* Length of the quoted string that begins @p v, quotes included; 0 if it does not end. */
static uint32_t quoted_len(struct view v)
{
	for (uint32_t i = 1; i < v.len; i++) {
		if (v.at[i] == '\\')
			i++;
		else if (v.at[i] == '"')
			return i + 1;
	}
	return 0;
}

/* What stands between the quotes; without a closing one, all of it. */
static struct view quoted_inside(struct view v)
{
	uint32_t len = quoted_len(v);

	return (struct view){ v.at + 1, len ? len - 2 : v.len - 1 };
}

/* ---- URIs and addresses (RFC 3261 section 25.1, as far as the columns need it) ---- */

static bool is_scheme(struct view v)
{
	if (v.len == 0 || (uint8_t)(ascii_lower(v.at[0]) - 'a') >= 26)
		return false;
	for (uint32_t i = 1; i < v.len; i++) {
		uint8_t byte = ascii_lower(v.at[i]);

		if ((uint8_t)(byte - 'a') >= 26 && (uint8_t)(byte - '0') >= 10 && byte != '+' &&
		    byte != '-' && byte != '.')
			return false;
	}
	return true;
}

static void hostport_split(struct view rest, struct view *host, uint32_t *port)
{
	if (rest.len && rest.at[0] == '[') {
		*host = front_until(rest, BRACKET);
		if (host->len == rest.len) {
			*host = (struct view){ 0 }; /* does not close */
			return;
		}
		host->len++;
	} else {
		*host = front_until(rest, COLON | QUESTION | GREATER | PARAM_END);
	}
	rest = trim_front(behind(rest, *host), LWS);
	if (rest.len && rest.at[0] == ':')
		*port = number_at_front(
			trim_front((struct view){ rest.at + 1, rest.len - 1 }, LWS));
	if (*port > UINT16_MAX)
		*port = 0; /* no port has that number */
}

/* A scheme that is not SIP's keeps user and host empty, but for tel, whose number is the user (RFC
 * 3966). */
static void uri_split(struct view uri, struct view *user, struct view *host, uint32_t *port)
{
	struct view scheme = front_until(uri, COLON);
	struct view rest = behind(uri, scheme), info;
	const uint8_t *sign;

	if (rest.len == 0 || !is_scheme(scheme))
		return;
	rest.at++;
	rest.len--;
	if (view_is_nocase(scheme, "tel")) {
		*user = front_until(rest, SEMICOLON | QUESTION);
		return;
	}
	if (!view_is_nocase(scheme, "sip") && !view_is_nocase(scheme, "sips"))
		return;
	sign = rest.len ? memchr(rest.at, '@', rest.len) : NULL;
	if (sign) {
		info = (struct view){ rest.at, (uint32_t)(sign - rest.at) };
		*user = front_until(info, COLON);
		rest = (struct view){ sign + 1, rest.len - info.len - 1 };
	}
	hostport_split(rest, host, port);
}

/* Split `"name" <uri>;params` or `uri;params`. False if the quotes or the brackets do not close. */
static bool address_split(struct view body, struct view *uri, struct view *params)
{
	bool colon_before = false;

	for (uint32_t i = 0; i < body.len; i++) {
		uint8_t byte = body.at[i];
		struct view rest = { body.at + i, body.len - i };

		if (byte == '"' && !colon_before) {
			uint32_t quoted = quoted_len(rest);

			if (!quoted)
				return false;
			i += quoted - 1;
		} else if (byte == ':') {
			colon_before = true; /* an unquoted name has none: this is a URI without
						brackets */
		} else if (byte == '<' && !colon_before) {
			rest = (struct view){ rest.at + 1, rest.len - 1 };
			*uri = front_until(rest, GREATER);
			if (uri->len == rest.len)
				return false;
			*params = (struct view){ uri->at + uri->len + 1, rest.len - uri->len - 1 };
			return true;
		}
	}
	*uri = front_until(body, PARAM_END);
	*params = behind(body, *uri);
	return true;
}

/* The value of a parameter in `;a=b;c="d"`; a comma ends the list of the first value. */
static struct view param_find(struct view params, const char *lower)
{
	while (params.len) {
		struct view name, value = { 0 };

		params = trim_front(params, LWS);
		if (params.len == 0 || params.at[0] != ';')
			break;
		params = trim_front((struct view){ params.at + 1, params.len - 1 }, LWS);
		name = front_until(params, EQUALS | PARAM_END);
		params = trim_front(behind(params, name), LWS);
		if (params.len && params.at[0] == '=') {
			params = trim_front((struct view){ params.at + 1, params.len - 1 }, LWS);
			value = front_until(params, PARAM_END);
			if (params.len && params.at[0] == '"')
				value.len = quoted_len(params);
			if (value.len == 0 && params.len && params.at[0] == '"')
				break;
			params = behind(params, value);
		}
		if (view_is_nocase(name, lower))
			return value;
	}
	return (struct view){ 0 };
}

static void address_read(struct view body, struct sip_addr *out)
{
	struct view uri, params;

	if (!address_split(body, &uri, &params))
		return;
	out->uri = trim_back(trim_front(uri, LWS), LWS);
	uri_split(out->uri, &out->user, &out->host, &out->port);
	out->tag = param_find(params, "tag");
}

/* ---- single headers ---- */

static void contact_read(struct view body, struct sip_addr *out)
{
	struct view first = front_until(body, PARAM_END);

	if (first.len == 1 && first.at[0] == '*')
		out->uri = out->user = first;
	else
		address_read(body, out);
}

/* Topmost Via: `SIP / 2.0 / UDP host:port ;branch=...`; its parameters begin at the first
 * semicolon. */
static struct view via_branch(struct view body)
{
	return param_find(behind(body, front_until(body, SEMICOLON | COMMA)), "branch");
}

/* username="alice@example.com" of a digest: alice. What other values quote is stepped over. */
static struct view digest_user(struct view body)
{
	for (uint32_t i = 0; i + 8 < body.len; i++) {
		struct view rest = { body.at + i, 8 };

		if (body.at[i] == '"') {
			uint32_t quoted = quoted_len((struct view){ body.at + i, body.len - i });

			if (!quoted)
				break;
			i += quoted - 1;
			continue;
		}
		if ((i && !(byte_class[body.at[i - 1]] & (LWS | COMMA))) ||
		    !view_is_nocase(rest, "username"))
			continue;
		rest = trim_front((struct view){ rest.at + 8, body.len - i - 8 }, LWS);
		if (rest.len == 0 || rest.at[0] != '=')
			continue;
		rest = trim_front((struct view){ rest.at + 1, rest.len - 1 }, LWS);
		if (rest.len && rest.at[0] == '"')
			return front_until(quoted_inside(rest), AT);
		return front_until(rest, COMMA | LWS | AT);
	}
	return (struct view){ 0 };
}

static struct view cseq_method_of(struct view cseq)
{
	struct view number = front_until(cseq, LWS);

	return front_until(trim_front(behind(cseq, number), LWS), LWS);
}

static int32_t expires_of(struct view body)
{
	uint32_t n = number_at_front(body);

	if (body.len == 0 || (uint8_t)(body.at[0] - '0') >= 10 || n > INT32_MAX)
		return -1;
	return (int32_t)n;
}

static int64_t content_length_of(struct view body)
{
	uint32_t n = number_at_front(body);

	if (body.len == 0 || (uint8_t)(body.at[0] - '0') >= 10)
		return -1;
	return n;
}

static void originator_read(struct view body, struct sip *out)
{
	if (body.len)
		hostport_split(body, &out->originator_ip, &out->originator_port);
}

/* ---- the walk ---- */

/* "SIP/" and a digit, in any case. */
static bool is_version(struct view v)
{
	return v.len >= 5 && view_is_nocase((struct view){ v.at, 4 }, "sip/") &&
	       (uint8_t)(v.at[4] - '0') < 10;
}

static int reply_line(struct view line, struct sip *out)
{
	struct view version = front_until(line, BLANK);
	struct view rest = trim_front(behind(line, version), BLANK);

	out->is_reply = true;
	out->method = front_until(rest, BLANK);
	if (out->method.len == 0 || (uint8_t)(out->method.at[0] - '0') >= 10)
		return HT_ENOTSIP;
	out->status = number_at_front(out->method);
	out->reply_reason = trim_front(behind(rest, out->method), BLANK);
	return HT_OK;
}

static int request_line(struct view line, struct sip *out)
{
	struct view rest, version = line;
	uint32_t port = 0;

	out->method = front_until(line, BLANK);
	for (uint32_t i = 0; i < out->method.len; i++)
		if (!(byte_class[out->method.at[i]] & TOKEN))
			return HT_ENOTSIP;
	rest = trim_front(behind(line, out->method), BLANK);
	while (version.len && !(byte_class[version.at[version.len - 1]] & BLANK))
		version.len--;
	version = behind(line, version); /* the last word */
	if (out->method.len == 0 || version.len >= rest.len || !is_version(version))
		return HT_ENOTSIP;
	out->ruri = trim_back((struct view){ rest.at, rest.len - version.len }, BLANK);
	uri_split(out->ruri, &out->ruri_user, &out->ruri_host, &port);
	return HT_OK;
}

static struct view start_line_bytes(struct cursor *c)
{
	while (cursor_skip_byte(c, '\r') || cursor_skip_byte(c, '\n'))
		;
	return cursor_until(c, '\n');
}

static int start_line(struct cursor *c, struct sip *out)
{
	struct view line = start_line_bytes(c);

	line = trim_back(trim_back(line, LINE | NUL), BLANK);
	if (line.len < 7)
		return HT_ENOTSIP;
	return is_version(line) ? reply_line(line, out) : request_line(line, out);
}

/* The next header line with its folded lines; false at the empty line or the end. */
bool sip_header_next(struct cursor *c, struct view *name, struct view *body)
{
	const uint8_t *start = c->pos, *colon;
	struct view line = cursor_until(c, '\n'), whole;

	if (line.len == 0 || (line.len == 1 && line.at[0] == '\r'))
		return false;
	colon = memchr(line.at, ':', line.len);
	*name = (struct view){ line.at, colon ? (uint32_t)(colon - line.at) : 0 };
	while (cursor_left(c) && (byte_class[*c->pos] & BLANK))
		cursor_until(c, '\n');
	whole = (struct view){ start, (uint32_t)(c->pos - start) };
	*body = behind(whole, *name);
	if (colon) /* a line without one is nobody's header */
		*body = (struct view){ body->at + 1, body->len - 1 };
	*name = trim_back(*name, BLANK);
	*body = trim_back(trim_front(*body, LWS), LINE | NUL);
	return true;
}

static void extra_keep(const struct sip_names *names, struct view name, struct view body,
		       struct sip *out)
{
	if (name.len == 0 || name.len > SIP_MAX_NAME || !(names->lengths & 1ULL << (name.len % 64)))
		return;
	for (uint8_t i = 0; i < names->count; i++)
		if (!out->extra[i].at && view_is_nocase(name, names->name[i].lower))
			out->extra[i] = body;
}

/* The first in order of the headers that are there. */
static struct view first_of(const struct view *headers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (headers[i].at)
			return headers[i];
	return (struct view){ 0 };
}

static void headers_take_apart(const struct view h[HEADER_COUNT], struct sip *out)
{
	struct sip_addr identity = { 0 };

	address_read(h[HEADER_FROM], &out->from);
	address_read(h[HEADER_TO], &out->to);
	contact_read(h[HEADER_CONTACT], &out->contact);
	address_read(first_of((struct view[]){ h[HEADER_PAI], h[HEADER_PPI], h[HEADER_RPID] }, 3),
		     &identity);
	out->pid_user = identity.user;
	out->auth = first_of((struct view[]){ h[HEADER_PROXY_AUTH], h[HEADER_AUTH] }, 2);
	out->auth_user = digest_user(out->auth);
	out->callid = h[HEADER_CALL_ID];
	out->event = h[HEADER_EVENT];
	out->content_length = content_length_of(h[HEADER_CONTENT_LENGTH]);
	out->via_1 = h[HEADER_VIA];
	out->via_1_branch = via_branch(h[HEADER_VIA]);
	out->cseq = h[HEADER_CSEQ];
	out->cseq_method = cseq_method_of(out->cseq);
	out->diversion = h[HEADER_DIVERSION];
	out->reason = h[HEADER_REASON];
	out->content_type = h[HEADER_CONTENT_TYPE];
	out->user_agent = first_of((struct view[]){ h[HEADER_USER_AGENT], h[HEADER_SERVER] }, 2);
	out->rtp_stat = first_of(&h[HEADER_RTP_STAT], 7);
	out->expires = expires_of(h[HEADER_EXPIRES]);
	originator_read(h[HEADER_X_OIP], out);
}

int sip_parse(struct view text, const struct sip_names *names, struct sip *out)
{
	struct view headers[HEADER_COUNT] = { 0 };
	struct cursor c = cursor_over_view(text);
	struct view name, body;
	enum header id;
	int err;

	*out = (struct sip){ .expires = -1 };
	err = start_line(&c, out);
	if (err < 0)
		return err;
	while (sip_header_next(&c, &name, &body)) {
		id = header_find(name, c.end);
		if (id != HEADER_OTHER && !headers[id].at)
			headers[id] = body;
		if (names && names->count)
			extra_keep(names, name, body, out);
	}
	out->header_bytes = (uint32_t)(c.pos - text.at);
	headers_take_apart(headers, out);
	return HT_OK;
}

struct cursor sip_headers(struct view text)
{
	struct cursor c = cursor_over_view(text);

	start_line_bytes(&c);
	return c;
}

struct sip_addr sip_address(struct view body)
{
	struct sip_addr a = { 0 };

	address_read(body, &a);
	return a;
}

/* `SIP / 2.0 / UDP host:port;params` */
static struct view via_host(struct view value)
{
	struct view rest = value, host = { 0 };
	const uint8_t *slash;
	uint32_t port;

	for (int i = 0; i < 2; i++) {
		slash = rest.len ? memchr(rest.at, '/', rest.len) : NULL;
		if (!slash)
			return host;
		rest.len -= (uint32_t)(slash + 1 - rest.at);
		rest.at = slash + 1;
	}
	rest = trim_front(rest, LWS);
	rest = trim_front(behind(rest, front_until(rest, LWS)), LWS);
	if (rest.len)
		hostport_split(rest, &host, &port);
	return host;
}

struct view sip_via_host(struct view text, unsigned n)
{
	struct cursor c = cursor_over_view(text);
	struct view name, body;

	cursor_until(&c, '\n');
	while (sip_header_next(&c, &name, &body)) {
		if (header_find(name, c.end) != HEADER_VIA)
			continue;
		while (body.len) {
			struct view value = front_until(body, COMMA);

			if (n-- == 0)
				return via_host(value);
			body = behind(body, value);
			if (body.len)
				body = (struct view){ body.at + 1, body.len - 1 };
		}
	}
	return (struct view){ 0 };
}

struct view sip_trim_nul(struct view text, const struct sip *s)
{
	uint64_t least = s->header_bytes;

	if (least >= text.len) /* no empty line: the walk went over them */
		least = 0;
	else if (s->content_length > 0 && (uint64_t)s->content_length <= text.len - least)
		least += (uint64_t)s->content_length;
	while (text.len > least && text.at[text.len - 1] == 0)
		text.len--;
	return text;
}
