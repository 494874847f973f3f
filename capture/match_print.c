/* A message is written into memory while it is judged, since who decides is known only at the end.
 */
#include "capture/match_print.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hep/msg.h"
#include "hep/sip.h"

#define SHOWN_OCTETS 120  /* of a value, for people */
#define JSON_OCTETS  4096 /* of a value; a Call-ID is never cut */

struct tested {
	const struct filter_test *test;
	int holds;
};

struct match_printer {
	FILE *to;
	char *text;
	size_t text_len;
	const struct conf *conf;
	const struct filter_program *program;
	struct filter_thread *thread;
	bool is_json, has_tests;
	const struct match_message *m;
	struct filter_teller teller;
	struct tested *tests; /* of one rule: no path through it is longer than the program */
	uint32_t test_count;
	bool is_next; /* a rule was told before */
};

const char *match_rule_name(const struct filter_program *program, int rule)
{
	return rule == FILTER_NONE || rule == (int)program->rule_count ? "default_action"
								       : program->rules[rule].name;
}

/* ---- octets of others ---- */

/* One character of UTF-8, RFC 3629. @return its octets; 0: it is none. */
static unsigned character(const uint8_t *at, size_t len, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

	if (n == 0 || at[0] > 0xf4 || n > len)
		return 0;
	*out = n == 1 ? at[0] : at[0] & (0x7fU >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		*out = *out << 6 | (at[i] & 0x3f);
	}
	return *out < least[n] || *out > 0x10ffff || (*out >= 0xd800 && *out < 0xe000) ? 0 : n;
}

/* Moves no cursor, turns no line around and ends none. */
static bool is_harmless(uint32_t c)
{
	return c >= ' ' && (c < 0x7f || c > 0x9f) && c != 0x61c && (c < 0x200b || c > 0x200f) &&
	       (c < 0x2028 || c > 0x202e) && (c < 0x2060 || c > 0x206f) && c != 0xfeff;
}

static void put_hex(FILE *to, const uint8_t *at, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fprintf(to, "\\x%02x", at[i]);
}

/* For people: what could do something to a terminal as \n or \x1b, and a backslash as two. */
static void put_shown(FILE *to, struct view v)
{
	uint32_t c;
	unsigned n;

	for (uint32_t i = 0; i < v.len; i += n ? n : 1) {
		n = character(v.at + i, v.len - i, &c);
		if (n == 0 || (!is_harmless(c) && c != '\r' && c != '\n' && c != '\t'))
			put_hex(to, v.at + i, n ? n : 1);
		else if (is_harmless(c) && c != '\\')
			fwrite(v.at + i, 1, n, to);
		else
			fprintf(to, "\\%c",
				c == '\r'   ? 'r'
				: c == '\n' ? 'n'
				: c == '\t' ? 't'
					    : '\\');
	}
}

/* What an administrator wrote: backslashes stay single, a new line is a blank. */
static void put_written(FILE *to, struct view v)
{
	uint32_t c;
	unsigned n;

	for (uint32_t i = 0; i < v.len; i += n ? n : 1) {
		n = character(v.at + i, v.len - i, &c);
		if (n && (c == '\n' || c == '\r' || c == '\t'))
			fputc(' ', to);
		else if (n && is_harmless(c))
			fwrite(v.at + i, 1, n, to);
		else
			put_hex(to, v.at + i, n ? n : 1);
	}
}

static struct view cut(struct view v, uint32_t most)
{
	uint32_t len = v.len < most ? v.len : most;

	/* between two characters, if they are any */
	for (unsigned i = 0; len < v.len && len > 0 && i < 3 && (v.at[len] & 0xc0) == 0x80; i++)
		len--;
	return (struct view){ v.at, len };
}

static void put_value(FILE *to, struct view v)
{
	struct view some = cut(v, SHOWN_OCTETS);

	fputc('"', to);
	put_shown(to, some);
	fputc('"', to);
	if (some.len < v.len)
		fprintf(to, " and %u octets more", v.len - some.len);
}

/* A string of JSON, RFC 8259; what is no UTF-8 becomes U+FFFD. */
static void json_text(FILE *to, struct view v)
{
	uint32_t c;
	unsigned n;

	fputc('"', to);
	for (uint32_t i = 0; i < v.len; i += n ? n : 1) {
		n = character(v.at + i, v.len - i, &c);
		if (n == 0)
			fputs("\\ufffd", to);
		else if (c == '"' || c == '\\')
			fprintf(to, "\\%c", (char)c);
		else if (is_harmless(c) || c > 0xffff)
			fwrite(v.at + i, 1, n, to);
		else
			fprintf(to, "\\u%04x", c);
	}
	fputc('"', to);
}

static void json_string(FILE *to, const char *text)
{
	json_text(to, view_of(text));
}

/* ---- what both show ---- */

static const char *ip_text(const struct addr *a, char text[INET6_ADDRSTRLEN])
{
	if (a->family == FAMILY_NONE)
		return "";
	inet_ntop(a->family == FAMILY_IPV6 ? AF_INET6 : AF_INET, a->ip, text, INET6_ADDRSTRLEN);
	return text;
}

static void put_time(FILE *to, uint64_t ts_us)
{
	time_t seconds = (time_t)(ts_us / 1000000);
	struct tm tm;
	char text[32] = "";

	if (gmtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(to, "%s.%06uZ", text, (unsigned)(ts_us % 1000000));
}

static struct view field(const struct match_printer *p, enum filter_field f)
{
	return filter_value(p->thread, (struct filter_operand){ .field = (uint8_t)f });
}

static const char *action_of(const struct match_printer *p, int rule)
{
	return rule == FILTER_NONE ? p->conf->default_action : p->conf->filters[rule].action;
}

static const char *scope_of(const struct filter_rule *r)
{
	return r->scope == FILTER_SCOPE_DIALOG ? "dialog" : "message";
}

static struct view written(const struct match_printer *p, uint32_t rule,
			   const struct filter_test *t)
{
	return (struct view){ (const uint8_t *)p->conf->filters[rule].when + t->at, t->octets };
}

/* Does what is written hold? */
static bool is_true(const struct tested *t)
{
	return t->holds > 0 && !t->test->is_not ? true : t->holds == 0 && t->test->is_not;
}

static bool has_two_fields(const struct filter_test *t)
{
	return t->op >= FILTER_OP_SAME_TEXT;
}

static bool is_header(struct filter_operand o)
{
	return o.field == FILTER_HEADER;
}

/* ---- for people ---- */

static void put_address(FILE *to, const struct addr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (a->family == FAMILY_NONE)
		fputc('-', to);
	else
		fprintf(to, a->family == FAMILY_IPV6 ? "[%s]:%u" : "%s:%u", ip_text(a, text),
			a->port);
}

/* INVITE; 200 INVITE; rtcp */
static void put_what(const struct match_printer *p)
{
	const struct sip *s = p->m->in->sip;

	if (!s) {
		put_shown(p->to, field(p, FILTER_TYPE));
		return;
	}
	if (s->is_reply) {
		put_shown(p->to, cut(s->method, SHOWN_OCTETS));
		fputc(' ', p->to);
	}
	put_shown(p->to, cut(field(p, FILTER_METHOD), SHOWN_OCTETS));
}

static void put_head(struct match_printer *p)
{
	const struct msg *m = p->m->in->msg;

	fprintf(p->to, "%" PRIu64 "  ", p->m->number);
	put_time(p->to, m->ts_us);
	fputs("  ", p->to);
	put_shown(p->to, field(p, FILTER_TRANSPORT));
	fputc(' ', p->to);
	put_address(p->to, &m->src);
	fputs(" > ", p->to);
	put_address(p->to, &m->dst);
	fputs("  ", p->to);
	put_what(p);
	fputs("  ", p->to);
	put_value(p->to, field(p, FILTER_CALLID));
	fputc('\n', p->to);
}

static void put_field(struct match_printer *p, struct filter_operand o)
{
	struct view v = filter_value(p->thread, o);

	if (is_header(o))
		fprintf(p->to, "header(\"%s\")", p->program->headers[o.header].lower);
	else
		fputs(filter_field_name(o.field), p->to);
	fputs(" is ", p->to);
	if (v.len)
		put_value(p->to, v);
	else
		fputs(filter_field_kind(o.field) == FILTER_TEXT ? "empty" : "absent", p->to);
}

static void put_test(struct match_printer *p, uint32_t rule, const struct tested *t)
{
	put_written(p->to, written(p, rule, t->test));
	if (t->holds < 0)
		fputs(" was given up", p->to);
	else
		fputs(is_true(t) ? " holds" : " does not hold", p->to);
	if (t->test->op == FILTER_OP_IS)
		return;
	fputs(": ", p->to);
	put_field(p, t->test->left);
	if (has_two_fields(t->test)) {
		fputs(", ", p->to);
		put_field(p, t->test->right);
	}
}

static void put_record(struct match_printer *p, enum match_record record, int rule)
{
	static const char *const words[] = {
		[MATCH_NO_CALLID] = "no initial request, and it names no call",
		[MATCH_NEVER] = "no initial request, and OPTIONS and REGISTER make no record",
		[MATCH_NONE] = "no initial request, and there is no record of its Call-ID",
		[MATCH_NO_RULE] = "no initial request, and the record of its Call-ID names no rule",
		[MATCH_RULE] = "no initial request; the record of its Call-ID names ",
	};

	fputs(words[record], p->to);
	if (record == MATCH_RULE)
		put_written(p->to, view_of(match_rule_name(p->program, rule)));
}

static void put_rule(struct match_printer *p, uint32_t rule, bool by_record, int matches)
{
	const struct filter_rule *r = &p->program->rules[rule];

	fputs(matches ? matches < 0 ? "   ?    " : "   yes  " : "   no   ", p->to);
	put_written(p->to, view_of(r->name));
	fprintf(p->to, " (%s, scope %s): ", action_of(p, (int)rule), scope_of(r));
	if (by_record)
		put_record(p, p->m->before, p->m->in->record);
	else if (p->test_count)
		put_test(p, rule, &p->tests[p->test_count - 1]);
	fputc('\n', p->to);
	for (uint32_t i = 0; p->has_tests && i < p->test_count; i++) {
		fputs("          ", p->to);
		put_test(p, rule, &p->tests[i]);
		fputc('\n', p->to);
	}
}

static const struct filter_verdict *verdict_of(const struct match_printer *p, int rule)
{
	return rule == FILTER_NONE ? &p->program->otherwise : &p->program->rules[rule].verdict;
}

static const char *reason_of(const struct match_printer *p)
{
	const struct filter_decision *d = &p->m->decision;

	switch (verdict_of(p, d->rule)->action) {
	case FILTER_SAMPLE:
		return d->is_stored ? ": it is in the sample" : ": it is not in the sample";
	case FILTER_LIMIT:
		return d->is_stored ? ": within the limit" : ": as many were stored in this second";
	default:
		return "";
	}
}

static void put_end(struct match_printer *p)
{
	const struct match_message *m = p->m;
	const struct filter_decision *d = &m->decision;

	if (d->is_unsure) {
		fputs("   stored: an expression reached its limit\n", p->to);
		return;
	}
	fputs(d->is_stored ? "   stored by " : "   dropped by ", p->to);
	put_written(p->to, view_of(match_rule_name(p->program, d->rule)));
	fprintf(p->to, " (%s)%s", action_of(p, d->rule), reason_of(p));
	if (d->is_stored && d->table[0])
		fprintf(p->to, "; in table %s", d->table);
	if (m->is_told) {
		fputs(m->before == MATCH_NONE ? "; a record is made, it names "
					      : "; the record of its Call-ID names ",
		      p->to);
		if (m->after == MATCH_RULE)
			put_written(p->to, view_of(match_rule_name(p->program, m->names)));
		else
			fputs(m->after == MATCH_NONE ? "nothing, for there is no room" : "no rule",
			      p->to);
	}
	fputc('\n', p->to);
}

/* ---- for scripts ---- */

static void json_value(FILE *to, const char *name, struct view v)
{
	struct view some = cut(v, JSON_OCTETS);

	fprintf(to, ",\"%s\":", name);
	json_text(to, some);
	if (some.len < v.len)
		fprintf(to, ",\"%s_octets\":%u", name, v.len);
}

static void json_address(FILE *to, const char *name, const struct addr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (a->family == FAMILY_NONE)
		fprintf(to, ",\"%s_ip\":null,\"%s_port\":null", name, name);
	else
		fprintf(to, ",\"%s_ip\":\"%s\",\"%s_port\":%u", name, ip_text(a, text), name,
			a->port);
}

static void json_head(struct match_printer *p)
{
	const struct msg *m = p->m->in->msg;
	const struct sip *s = p->m->in->sip;

	fprintf(p->to, "{\"kind\":\"message\",\"number\":%" PRIu64 ",\"time\":\"", p->m->number);
	put_time(p->to, m->ts_us);
	fputc('"', p->to);
	json_value(p->to, "transport", field(p, FILTER_TRANSPORT));
	json_address(p->to, "src", &m->src);
	json_address(p->to, "dst", &m->dst);
	json_value(p->to, "type", field(p, FILTER_TYPE));
	json_value(p->to, "source", p->m->in->source);
	json_value(p->to, "agent", p->m->in->agent);
	if (s)
		json_value(p->to, "method", field(p, FILTER_METHOD));
	if (s && s->is_reply)
		json_value(p->to, "status", s->method);
	fputs(",\"callid\":", p->to);
	json_text(p->to, field(p, FILTER_CALLID));
	fputs(",\"rules\":[", p->to);
}

static void json_field(struct match_printer *p, const char *name, struct filter_operand o)
{
	fprintf(p->to, ",\"%s\":", name);
	if (is_header(o))
		fprintf(p->to, "\"header(\\\"%s\\\")\"", p->program->headers[o.header].lower);
	else
		json_string(p->to, filter_field_name(o.field));
}

static void json_test(struct match_printer *p, uint32_t rule, const struct tested *t)
{
	fputs("{\"test\":", p->to);
	json_text(p->to, written(p, rule, t->test));
	fprintf(p->to, ",\"holds\":%s", t->holds < 0 ? "null" : is_true(t) ? "true" : "false");
	json_field(p, "field", t->test->left);
	if (t->test->op != FILTER_OP_IS)
		json_value(p->to, "value", filter_value(p->thread, t->test->left));
	if (has_two_fields(t->test)) {
		json_field(p, "other_field", t->test->right);
		json_value(p->to, "other_value", filter_value(p->thread, t->test->right));
	}
	fputc('}', p->to);
}

static void json_tests(struct match_printer *p, uint32_t rule)
{
	fputs(",\"by\":\"test\",\"decided_by\":", p->to);
	if (p->test_count)
		json_test(p, rule, &p->tests[p->test_count - 1]);
	else
		fputs("null", p->to);
	if (!p->has_tests)
		return;
	fputs(",\"tests\":[", p->to);
	for (uint32_t i = 0; i < p->test_count; i++) {
		fputs(i ? "," : "", p->to);
		json_test(p, rule, &p->tests[i]);
	}
	fputc(']', p->to);
}

static void json_rule(struct match_printer *p, uint32_t rule, bool by_record, int matches)
{
	const struct filter_rule *r = &p->program->rules[rule];

	fputs(p->is_next ? ",{\"rule\":" : "{\"rule\":", p->to);
	json_string(p->to, r->name);
	fprintf(p->to, ",\"action\":\"%s\",\"scope\":\"%s\",\"matches\":%s",
		action_of(p, (int)rule), scope_of(r),
		matches < 0 ? "null"
		: matches   ? "true"
			    : "false");
	if (by_record)
		fputs(",\"by\":\"record\"", p->to);
	else
		json_tests(p, rule);
	fputc('}', p->to);
}

static void json_record(struct match_printer *p, const char *name, enum match_record record,
			int rule)
{
	static const char *const words[] = { [MATCH_NO_CALLID] = "no_callid",
					     [MATCH_NEVER] = "never",
					     [MATCH_NONE] = "none",
					     [MATCH_NO_RULE] = "no_rule",
					     [MATCH_RULE] = "rule" };

	fprintf(p->to, ",\"%s\":\"%s\",\"%s_rule\":", name, words[record], name);
	if (record == MATCH_RULE)
		json_string(p->to, match_rule_name(p->program, rule));
	else
		fputs("null", p->to);
}

static void json_end(struct match_printer *p)
{
	const struct match_message *m = p->m;
	const struct filter_decision *d = &m->decision;

	fputs("],\"rule\":", p->to);
	if (d->rule == FILTER_NONE)
		fputs("null", p->to);
	else
		json_string(p->to, p->program->rules[d->rule].name);
	fprintf(p->to, ",\"action\":\"%s\",\"stored\":%s,\"unsure\":%s,\"table\":\"%s\"",
		action_of(p, d->rule), d->is_stored ? "true" : "false",
		d->is_unsure ? "true" : "false", d->table);
	json_record(p, "record_before", m->before, m->in->record);
	json_record(p, "record", m->is_told ? m->after : m->before,
		    m->is_told ? m->names : m->in->record);
	fputs("}\n", p->to);
}

/* ---- the teller ---- */

static void on_test(void *ctx, const struct filter_test *test, int holds)
{
	struct match_printer *p = ctx;

	p->tests[p->test_count++] = (struct tested){ test, holds };
}

static void on_rule(void *ctx, uint32_t rule, bool by_record, int matches)
{
	struct match_printer *p = ctx;

	if (!p->is_next && p->is_json)
		json_head(p);
	else if (!p->is_next)
		put_head(p);
	if (p->is_json)
		json_rule(p, rule, by_record, matches);
	else
		put_rule(p, rule, by_record, matches);
	p->is_next = true;
	p->test_count = 0;
}

const struct filter_teller *match_print_begin(struct match_printer *p,
					      const struct match_message *m)
{
	p->m = m;
	p->is_next = false;
	p->test_count = 0;
	rewind(p->to);
	return &p->teller;
}

bool match_print_end(struct match_printer *p, bool is_shown)
{
	if (!is_shown)
		return true;
	if (!p->is_next && p->is_json) /* there are no rules */
		json_head(p);
	else if (!p->is_next)
		put_head(p);
	if (p->is_json)
		json_end(p);
	else
		put_end(p);
	if (fflush(p->to) != 0)
		return false;
	fwrite(p->text, 1, p->text_len, stdout);
	return true;
}

/* ---- the summary ---- */

static void put_sums(const struct match_printer *p, const struct match_summary *s)
{
	printf("\n%10s %10s %10s\n", "hits", "stored", "dropped");
	for (uint32_t i = 0; i <= p->program->rule_count; i++) {
		printf("%10" PRIu64 " %10" PRIu64 " %10" PRIu64 "  ", s->rules[i].hits,
		       s->rules[i].stored, s->rules[i].hits - s->rules[i].stored);
		put_written(stdout, view_of(match_rule_name(p->program, (int)i)));
		putchar('\n');
	}
}

static void put_summary(const struct match_printer *p, const struct match_summary *s,
			uint64_t judged, uint64_t stored)
{
	if (s->has_packets)
		printf("packets: %" PRIu64 " = %" PRIu64 " carriers + %" PRIu64
		       " not for us + %" PRIu64 " incomplete + %" PRIu64 " held\n",
		       s->packets, s->carriers, s->not_for_us, s->incomplete, s->held);
	printf("messages: %" PRIu64 " = %" PRIu64 " stored + %" PRIu64 " dropped + %" PRIu64
	       " not SIP + %" PRIu64 " malformed + %" PRIu64 " too long\n",
	       judged + s->not_sip + s->not_stored_type + s->empty + s->malformed + s->too_long,
	       stored, judged - stored, s->not_sip + s->not_stored_type + s->empty, s->malformed,
	       s->too_long);
	if (s->unsure)
		printf("stored since an expression reached its limit: %" PRIu64 "\n", s->unsure);
	put_sums(p, s);
}

static void json_summary(const struct match_printer *p, const struct match_summary *s,
			 uint64_t judged, uint64_t stored)
{
	printf("{\"kind\":\"summary\",\"judged\":%" PRIu64 ",\"stored\":%" PRIu64
	       ",\"dropped\":%" PRIu64 ",\"unsure\":%" PRIu64 ",\"not_sip\":%" PRIu64
	       ",\"malformed\":%" PRIu64 ",\"too_long\":%" PRIu64 ",\"records_lost\":%" PRIu64,
	       judged, stored, judged - stored, s->unsure,
	       s->not_sip + s->not_stored_type + s->empty, s->malformed, s->too_long,
	       s->records_lost);
	if (s->has_packets)
		printf(",\"packets\":%" PRIu64 ",\"carriers\":%" PRIu64 ",\"not_for_us\":%" PRIu64
		       ",\"incomplete\":%" PRIu64 ",\"held\":%" PRIu64,
		       s->packets, s->carriers, s->not_for_us, s->incomplete, s->held);
	fputs(",\"rules\":[", stdout);
	for (uint32_t i = 0; i <= p->program->rule_count; i++) {
		fputs(i ? ",{\"rule\":" : "{\"rule\":", stdout);
		if (i < p->program->rule_count)
			json_string(stdout, p->program->rules[i].name);
		else
			fputs("null", stdout);
		printf(",\"hits\":%" PRIu64 ",\"stored\":%" PRIu64 "}", s->rules[i].hits,
		       s->rules[i].stored);
	}
	fputs("]}\n", stdout);
}

void match_print_summary(struct match_printer *p, const struct match_summary *s)
{
	uint64_t judged = s->unsure, stored = s->unsure;

	for (uint32_t i = 0; i <= p->program->rule_count; i++) {
		judged += s->rules[i].hits;
		stored += s->rules[i].stored;
	}
	if (p->is_json)
		json_summary(p, s, judged, stored);
	else
		put_summary(p, s, judged, stored);
}

/* ---- life ---- */

int match_printer_new(struct match_printer **out, const struct conf *conf,
		      const struct filter_program *program, struct filter_thread *thread,
		      bool is_json, bool has_tests)
{
	struct match_printer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->conf = conf;
	p->program = program;
	p->thread = thread;
	p->is_json = is_json;
	p->has_tests = has_tests;
	p->teller = (struct filter_teller){ .test = on_test, .rule = on_rule, .ctx = p };
	p->tests = calloc(program->test_count + 1, sizeof(*p->tests));
	p->to = open_memstream(&p->text, &p->text_len);
	if (!p->tests || !p->to) {
		match_printer_free(p);
		return -ENOMEM;
	}
	*out = p;
	return HT_OK;
}

void match_printer_free(struct match_printer *p)
{
	if (!p)
		return;
	if (p->to)
		fclose(p->to);
	free(p->text);
	free(p->tests);
	free(p);
}
