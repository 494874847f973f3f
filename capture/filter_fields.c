/* Fields of messages. */
#include "capture/filter_fields.h"

#include <stdio.h>
#include <string.h>

#include "hep/msg.h"

static const struct view nothing;

void filter_fields_begin(struct filter_fields *f, const struct filter_program *program,
			 const struct filter_input *in)
{
	f->in = in;
	f->program = program;
	f->has_headers = f->has_pai = false;
	f->src_len = f->dst_len = 0;
	f->probed_bits = 0;
}

/* ---- headers ---- */

static void header_keep(struct filter_fields *f, struct view name, struct view body)
{
	for (uint32_t i = 0; i < f->program->header_count; i++) {
		const struct filter_header *h = &f->program->headers[i];

		if (f->headers[i].at || name.len == 0)
			continue;
		if (name.len == h->len
			    ? view_is_nocase(name, h->lower)
			    : name.len == 1 && h->compact && ascii_lower(name.at[0]) == h->compact)
			f->headers[i] = body;
	}
}

/* One walk finds all headers that any rule asks for. */
static struct view header(struct filter_fields *f, uint8_t number)
{
	struct view name, body;
	struct cursor c;

	if (!f->has_headers) {
		memset(f->headers, 0, f->program->header_count * sizeof(f->headers[0]));
		c = sip_headers(f->in->msg->payload);
		while (sip_header_next(&c, &name, &body))
			header_keep(f, name, body);
		f->has_headers = true;
	}
	return f->headers[number];
}

static struct view pai_user(struct filter_fields *f, uint8_t number)
{
	if (!f->has_pai)
		f->pai = sip_address(header(f, number));
	f->has_pai = true;
	return f->pai.user;
}

static struct view body(const struct filter_fields *f)
{
	struct cursor c = cursor_over_view(f->in->msg->payload);

	cursor_view(&c, f->in->sip->header_bytes);
	return cursor_rest(&c);
}

/* ---- what is text ---- */

static struct view digits(struct filter_fields *f, uint64_t n)
{
	char *end = f->digits + sizeof(f->digits), *at = end;

	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	return (struct view){ (const uint8_t *)at, (uint32_t)(end - at) };
}

static struct view transport(struct filter_fields *f)
{
	switch (f->in->msg->ip_proto) {
	case PROTO_UDP:
		return view_of("udp");
	case PROTO_TCP:
		return view_of("tcp");
	case PROTO_TLS:
		return view_of("tls");
	case PROTO_WS:
		return view_of("ws");
	case PROTO_SCTP:
		return view_of("sctp");
	default:
		return digits(f, f->in->msg->ip_proto);
	}
}

/* The reports are those that are stored as reports. */
static struct view type(struct filter_fields *f)
{
	switch (f->in->msg->type) {
	case HEP_TYPE_SIP:
		return view_of("sip");
	case HEP_TYPE_RTCP:
		return view_of("rtcp");
	case HEP_TYPE_LOG:
		return view_of("log");
	case 32:
	case 34:
	case 35:
	case 37:
	case 38:
	case 99:
		return view_of("report");
	default:
		return digits(f, f->in->msg->type);
	}
}

static struct view sip_text(struct filter_fields *f, struct filter_operand o)
{
	const struct sip *s = f->in->sip;

	switch ((enum filter_field)o.field) {
	case FILTER_METHOD:
		return s->is_reply ? s->cseq_method : s->method;
	case FILTER_STATUS:
		return s->is_reply ? s->method : nothing;
	case FILTER_REASON:
		return s->reply_reason;
	case FILTER_RURI:
		return s->ruri;
	case FILTER_RURI_USER:
		return s->ruri_user;
	case FILTER_RURI_HOST:
		return s->ruri_host;
	case FILTER_FROM:
		return s->from.uri;
	case FILTER_FROM_USER:
		return s->from.user;
	case FILTER_FROM_HOST:
		return s->from.host;
	case FILTER_TO:
		return s->to.uri;
	case FILTER_TO_USER:
		return s->to.user;
	case FILTER_TO_HOST:
		return s->to.host;
	case FILTER_CONTACT:
		return s->contact.uri;
	case FILTER_CONTACT_USER:
		return s->contact.user;
	case FILTER_CONTACT_HOST:
		return s->contact.host;
	case FILTER_PAI_USER:
		return pai_user(f, o.header);
	case FILTER_CALLID:
		return s->callid;
	case FILTER_CSEQ_METHOD:
		return s->cseq_method;
	case FILTER_USER_AGENT:
		return s->user_agent;
	case FILTER_CONTENT_TYPE:
		return s->content_type;
	case FILTER_HEADER:
		return header(f, o.header);
	case FILTER_BODY:
		return body(f);
	default:
		return nothing;
	}
}

/* What is no SIP is all body, and what it says of its call is a Call-ID. */
static struct view other_text(const struct filter_fields *f, uint8_t field)
{
	if (field == FILTER_BODY)
		return f->in->msg->payload;
	return field == FILTER_CALLID ? f->in->msg->correlation : nothing;
}

static struct view address_text(const struct addr *a, char text[INET6_ADDRSTRLEN], uint8_t *len)
{
	int family = a->family == FAMILY_IPV6 ? AF_INET6 : AF_INET;

	if (a->family == FAMILY_NONE)
		return nothing;
	if (!*len && inet_ntop(family, a->ip, text, INET6_ADDRSTRLEN))
		*len = (uint8_t)strlen(text);
	return (struct view){ (const uint8_t *)text, *len };
}

static struct view number_text(struct filter_fields *f, struct filter_operand o)
{
	uint64_t n;

	return filter_number(f, o, &n) ? digits(f, n) : nothing;
}

struct view filter_text(struct filter_fields *f, struct filter_operand o)
{
	const struct msg *m = f->in->msg;

	switch ((enum filter_field)o.field) {
	case FILTER_SRC_IP:
		return address_text(&m->src, f->src, &f->src_len);
	case FILTER_DST_IP:
		return address_text(&m->dst, f->dst, &f->dst_len);
	case FILTER_SRC_PORT:
	case FILTER_DST_PORT:
	case FILTER_CAPTURE_ID:
		return number_text(f, o);
	case FILTER_TRANSPORT:
		return transport(f);
	case FILTER_TYPE:
		return type(f);
	case FILTER_AGENT:
		return f->in->agent;
	case FILTER_SOURCE:
		return f->in->source;
	default:
		return f->in->sip ? sip_text(f, o) : other_text(f, o.field);
	}
}

/* ---- what is something else ---- */

bool filter_flag(const struct filter_fields *f, enum filter_field field)
{
	const struct sip *s = f->in->sip;

	return s && s->is_reply == (field == FILTER_IS_REPLY);
}

static bool number_of_text(struct view v, uint64_t *out)
{
	if (v.len == 0 || v.len > FILTER_MAX_DIGITS)
		return false;
	*out = 0;
	for (uint32_t i = 0; i < v.len; i++) {
		if ((uint8_t)(v.at[i] - '0') >= 10)
			return false;
		*out = *out * 10 + (uint64_t)(v.at[i] - '0');
	}
	return true;
}

bool filter_number(struct filter_fields *f, struct filter_operand o, uint64_t *out)
{
	const struct msg *m = f->in->msg;

	switch ((enum filter_field)o.field) {
	case FILTER_SRC_PORT:
		*out = m->src.port;
		return m->src.family != FAMILY_NONE;
	case FILTER_DST_PORT:
		*out = m->dst.port;
		return m->dst.family != FAMILY_NONE;
	case FILTER_CAPTURE_ID:
		*out = m->capture_id;
		return m->has_capture_id;
	default:
		return number_of_text(filter_text(f, o), out);
	}
}

static bool address_of_text(struct view v, uint8_t ip[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char text[INET6_ADDRSTRLEN];

	if (v.len > 1 && v.at[0] == '[' && v.at[v.len - 1] == ']')
		v = (struct view){ v.at + 1, v.len - 2 };
	if (v.len == 0 || v.len >= sizeof(text) || memchr(v.at, '\0', v.len))
		return false;
	memcpy(text, v.at, v.len);
	text[v.len] = '\0';
	if (memchr(text, ':', v.len))
		return inet_pton(AF_INET6, text, ip) == 1;
	memcpy(ip, mapped, sizeof(mapped));
	return inet_pton(AF_INET, text, ip + sizeof(mapped)) == 1;
}

static bool address_of_addr(const struct addr *a, uint8_t ip[16])
{
	if (a->family == FAMILY_IPV6) {
		memcpy(ip, a->ip, 16);
		return true;
	}
	memset(ip, 0, 10);
	memset(ip + 10, 0xff, 2);
	memcpy(ip + 12, a->ip, 4);
	return a->family == FAMILY_IPV4;
}

bool filter_address(struct filter_fields *f, struct filter_operand o, uint8_t ip[16])
{
	if (o.field == FILTER_SRC_IP)
		return address_of_addr(&f->in->msg->src, ip);
	if (o.field == FILTER_DST_IP)
		return address_of_addr(&f->in->msg->dst, ip);
	return address_of_text(filter_text(f, o), ip);
}
