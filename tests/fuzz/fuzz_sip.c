/*
 * Any bytes as SIP. The lines of the header are found here a second time, in the simplest way, and
 * every member must be what the line it comes from has; a member never has a byte of another line.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hep/sip.h"

#define NAMES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Members, and names of the headers they are read from, in order of preference; body: all of it. */
#define AT(field) offsetof(struct sip, field)
#define RTP_STATS                                                                              \
	"x-rtp-stat-add", "x-rtp-stat-t38", "x-rtp-stat", "p-rtp-stat", "x-siemens-rtp-stats", \
		"x-ng-rtp-stats", "rtp-rxstat"

static const struct member {
	size_t field;
	int is_body;
	const char *names[NAMES_MAX]; /* "a|b": either, the first line that is one */
} members[] = {
	{ AT(from.user), 0, { "from|f" } },
	{ AT(from.host), 0, { "from|f" } },
	{ AT(from.tag), 0, { "from|f" } },
	{ AT(to.user), 0, { "to|t" } },
	{ AT(to.host), 0, { "to|t" } },
	{ AT(to.tag), 0, { "to|t" } },
	{ AT(contact.user), 0, { "contact|m" } },
	{ AT(contact.host), 0, { "contact|m" } },
	{ AT(contact.tag), 0, { "contact|m" } },
	{ AT(pid_user), 0, { "p-asserted-identity", "p-preferred-identity", "remote-party-id" } },
	{ AT(auth), 1, { "proxy-authorization", "authorization" } },
	{ AT(auth_user), 0, { "proxy-authorization", "authorization" } },
	{ AT(callid), 1, { "call-id|i" } },
	{ AT(via_1), 1, { "via|v" } },
	{ AT(via_1_branch), 0, { "via|v" } },
	{ AT(cseq), 1, { "cseq" } },
	{ AT(cseq_method), 0, { "cseq" } },
	{ AT(diversion), 1, { "diversion" } },
	{ AT(reason), 1, { "reason" } },
	{ AT(content_type), 1, { "content-type|c" } },
	{ AT(user_agent), 1, { "user-agent", "server" } },
	{ AT(rtp_stat), 1, { RTP_STATS } },
	{ AT(originator_ip), 0, { "x-oip" } },
	{ AT(extra[0]), 1, { "x-cid" } },
	{ AT(extra[1]), 1, { "subject" } },
	{ AT(extra[2]), 1, { "via" } },
};

static const size_t start_line_members[] = {
	AT(method), AT(reply_reason), AT(ruri), AT(ruri_user), AT(ruri_host),
};

static struct view view_at(const struct sip *s, size_t field)
{
	return *(const struct view *)((const char *)s + field);
}

/* ---- lines, a second time ---- */

static size_t line_end(struct view text, size_t at)
{
	while (at < text.len && text.at[at] != '\n')
		at++;
	return at < text.len ? at + 1 : at;
}

static size_t start_of_start_line(struct view text)
{
	size_t at = 0;

	while (at < text.len && (text.at[at] == '\r' || text.at[at] == '\n'))
		at++;
	return at;
}

/* The header that begins at @p at, with its folded lines; empty at the empty line and at the end.
 */
static struct view header_at(struct view text, size_t at)
{
	size_t end = line_end(text, at);

	if (end - at == 0 || text.at[at] == '\n' ||
	    (text.at[at] == '\r' && (end - at == 1 || (end - at == 2 && text.at[at + 1] == '\n'))))
		return (struct view){ 0 };
	while (end < text.len && (text.at[end] == ' ' || text.at[end] == '\t'))
		end = line_end(text, end);
	return (struct view){ text.at + at, (uint32_t)(end - at) };
}

static int is_one_of(uint8_t byte, const char *bytes)
{
	return byte && strchr(bytes, byte);
}

/* The colon of the first line; the whole length if there is none, or a CR before it. */
static uint32_t colon_of(struct view header)
{
	for (uint32_t i = 0; i < header.len && header.at[i] != '\n' && header.at[i] != '\r'; i++)
		if (header.at[i] == ':')
			return i;
	return header.len;
}

static int is_named(struct view header, const char *name, size_t name_len)
{
	uint32_t len = colon_of(header);

	if (len == header.len)
		return 0;
	while (len && is_one_of(header.at[len - 1], " \t"))
		len--;
	return len == name_len && strncasecmp((const char *)header.at, name, len) == 0;
}

/* Is it called one of `a|b`? */
static int is_named_any(struct view header, const char *names)
{
	for (const char *name = names;; name++) {
		size_t len = strcspn(name, "|");

		if (is_named(header, name, len))
			return 1;
		name += len;
		if (!*name)
			return 0;
	}
}

static struct view header_find(struct view text, const char *names)
{
	size_t at = line_end(text, start_of_start_line(text));
	struct view header;

	while ((header = header_at(text, at)).len) {
		if (is_named_any(header, names))
			return header;
		at += header.len;
	}
	return header;
}

static struct view header_of(struct view text, const struct member *m)
{
	struct view header = { 0 };

	for (size_t i = 0; i < NAMES_MAX && m->names[i] && !header.len; i++)
		header = header_find(text, m->names[i]);
	return header;
}

static struct view body_of(struct view header)
{
	uint32_t from = colon_of(header) + 1, to = header.len;

	while (from < to && is_one_of(header.at[from], " \t\r\n"))
		from++;
	while (to > from && (header.at[to - 1] == '\0' || is_one_of(header.at[to - 1], "\r\n")))
		to--;
	return (struct view){ header.at + from, to - from };
}

/* ---- properties ---- */

static void check_member(struct view text, const struct sip *s, const struct member *m)
{
	struct view v = view_at(s, m->field), header = header_of(text, m), body;

	if (!header.len) {
		assert(v.len == 0);
		return;
	}
	body = body_of(header);
	assert(view_inside(v, body));
	assert(!m->is_body || (v.len == body.len && (v.len == 0 || v.at == body.at)));
}

static void check_start_line(struct view text, const struct sip *s)
{
	size_t start = start_of_start_line(text), end = line_end(text, start);
	struct view line = { text.at + start, (uint32_t)(end - start) };

	for (size_t i = 0; i < sizeof(start_line_members) / sizeof(start_line_members[0]); i++)
		assert(view_inside(view_at(s, start_line_members[i]), line));
	assert(s->method.len > 0);
	assert(s->is_reply ? s->ruri.len == 0 : s->ruri.len > 0);
	assert(view_inside(s->ruri_user, s->ruri));
	assert(view_inside(s->ruri_host, s->ruri));
}

static void check_header_bytes(struct view text, const struct sip *s)
{
	size_t at = line_end(text, start_of_start_line(text));
	struct view header;

	while ((header = header_at(text, at)).len)
		at += header.len;
	assert(s->header_bytes == line_end(text, at));
}

static void check_sip(struct view text, const struct sip *s)
{
	check_start_line(text, s);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		check_member(text, s, &members[i]);
	for (size_t i = 3; i < SIP_MAX_EXTRA; i++)
		assert(!s->extra[i].at);
	check_header_bytes(text, s);
	assert(s->expires >= -1);
}

static int is_view_same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || a.at == b.at);
}

static void check_same(const struct sip *a, const struct sip *b)
{
	for (size_t i = 0; i < sizeof(start_line_members) / sizeof(start_line_members[0]); i++)
		assert(is_view_same(view_at(a, start_line_members[i]),
				    view_at(b, start_line_members[i])));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		assert(is_view_same(view_at(a, members[i].field), view_at(b, members[i].field)));
	assert(a->is_reply == b->is_reply && a->status == b->status && a->expires == b->expires);
	assert(a->from.port == b->from.port && a->to.port == b->to.port);
	assert(a->contact.port == b->contact.port && a->originator_port == b->originator_port);
	assert(a->header_bytes == b->header_bytes);
}

/* The body has no part in it. */
static void check_body_does_not_matter(struct view text, const struct sip_names *names,
				       const struct sip *s)
{
	struct sip again;
	int err = sip_parse((struct view){ text.at, s->header_bytes }, names, &again);

	assert(err == HT_OK);
	check_same(s, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sip_names names = { 0 };
	struct sip s, again;
	uint8_t *copy = malloc(size);
	struct view text = { copy, (uint32_t)size };
	int err;

	assert(copy || size == 0);
	if (size)
		memcpy(copy, data, size);
	assert(sip_names_add(&names, "X-CID") == 0);
	assert(sip_names_add(&names, "Subject") == 1);
	assert(sip_names_add(&names, "via") == 2);
	memset(&s, 0xa5, sizeof(s));
	err = sip_parse(text, &names, &s);
	assert(err == HT_OK || err == HT_ENOTSIP);
	if (err == HT_OK) {
		check_sip(text, &s);
		memset(&again, 0x5a, sizeof(again));
		err = sip_parse(text, &names, &again);
		assert(err == HT_OK);
		check_same(&s, &again);
		check_body_does_not_matter(text, &names, &s);
	}
	free(copy);
	return 0;
}
