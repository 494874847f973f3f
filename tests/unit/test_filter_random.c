/*
 * The filter language against what its description says, word by word: random rules, and dialogs of
 * random messages, judged by capture/filter.c and by a reading of the rules that walks their trees,
 * knows the messages from what they were made of, and takes its time.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <arpa/inet.h>
#include <check.h>
#include <pcre2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "capture/filter.h"
#include "tests/unit/make_message.h"
#include "tests/unit/random.h"

#define ROWS(table)   (sizeof(table) / sizeof((table)[0]))
#define RULES	      6
#define NODES	      24
#define CALLS	      3
#define ONE_OF(table) (table)[random_below(&rnd, ROWS(table))]

static struct random rnd;

/* ---- messages ---- */

enum {
	F_METHOD,
	F_STATUS,
	F_REASON,
	F_RURI,
	F_RURI_USER,
	F_RURI_HOST,
	F_FROM,
	F_FROM_USER,
	F_FROM_HOST,
	F_TO,
	F_TO_USER,
	F_TO_HOST,
	F_CONTACT,
	F_CONTACT_USER,
	F_CONTACT_HOST,
	F_PAI_USER,
	F_CALLID,
	F_CSEQ_METHOD,
	F_USER_AGENT,
	F_CONTENT_TYPE,
	F_X_NAME,
	F_X_COUNT,
	F_BODY,
	F_SRC_IP,
	F_SRC_PORT,
	F_DST_IP,
	F_DST_PORT,
	F_TRANSPORT,
	F_AGENT,
	F_CAPTURE_ID,
	F_SOURCE,
	F_TYPE,
	F_CONTACT_BODY,
	FIELDS
};

enum kind { TEXT, NUMBER, ADDRESS };

static const struct {
	const char *name, *alias;
	enum kind kind;
	bool is_of_message;
} fields[FIELDS] = {
	[F_METHOD] = { "method", "$rm", TEXT, false },
	[F_STATUS] = { "status", "$rs", NUMBER, true },
	[F_REASON] = { "reason", NULL, TEXT, true },
	[F_RURI] = { "ruri", "$ru", TEXT, false },
	[F_RURI_USER] = { "ruri.user", "$rU", TEXT, false },
	[F_RURI_HOST] = { "ruri.host", "$rd", TEXT, false },
	[F_FROM] = { "from", "$fu", TEXT, false },
	[F_FROM_USER] = { "from.user", "$fU", TEXT, false },
	[F_FROM_HOST] = { "from.host", NULL, TEXT, false },
	[F_TO] = { "to", "$tu", TEXT, false },
	[F_TO_USER] = { "to.user", "$tU", TEXT, false },
	[F_TO_HOST] = { "to.host", NULL, TEXT, false },
	[F_CONTACT] = { "contact", NULL, TEXT, false },
	[F_CONTACT_USER] = { "contact.user", NULL, TEXT, false },
	[F_CONTACT_HOST] = { "contact.host", NULL, TEXT, false },
	[F_PAI_USER] = { "pai.user", NULL, TEXT, false },
	[F_CALLID] = { "callid", "$ci", TEXT, false },
	[F_CSEQ_METHOD] = { "cseq.method", NULL, TEXT, false },
	[F_USER_AGENT] = { "user_agent", "$ua", TEXT, false },
	[F_CONTENT_TYPE] = { "content_type", NULL, TEXT, true },
	[F_X_NAME] = { "header(\"X-Name\")", "header( 'x-name' )", TEXT, false },
	[F_X_COUNT] = { "header('X-Count')", NULL, TEXT, false },
	[F_BODY] = { "body", NULL, TEXT, true },
	[F_SRC_IP] = { "src.ip", "$si", ADDRESS, false },
	[F_SRC_PORT] = { "src.port", "$sp", NUMBER, false },
	[F_DST_IP] = { "dst.ip", NULL, ADDRESS, false },
	[F_DST_PORT] = { "dst.port", NULL, NUMBER, false },
	[F_TRANSPORT] = { "transport", NULL, TEXT, false },
	[F_AGENT] = { "agent", NULL, TEXT, false },
	[F_CAPTURE_ID] = { "capture_id", NULL, NUMBER, false },
	[F_SOURCE] = { "source", NULL, TEXT, false },
	[F_TYPE] = { "type", NULL, TEXT, false },
	[F_CONTACT_BODY] = { "header('contact')", "$ct", TEXT, false },
};

static const char *const methods[] = { "INVITE",  "BYE",      "ACK",	"CANCEL",
				       "OPTIONS", "REGISTER", "MESSAGE" };
static const char *const users[] = { "bob", "112", "8123456", "5512345", "6001", "", "+1555" };
static const char *const hosts[] = { "a.example", "10.0.0.1", "10.1.0.1", "[2001:db8::1]",
				     "B.example" };
static const char *const ips[] = { "10.0.0.1", "10.1.0.1", "192.0.2.77", "2001:db8::1", "::1" };
static const char *const ports[] = { "5060", "5061", "1", "65535" };
static const char *const codes[] = { "100", "180", "200", "404", "486", "699" };
static const char *const words[] = { "one", "7", "70", "", "a b", "007" };
static const char *const bodies[] = { "", "v=0\r\no=x\r\n", "text\n" };

/* A message as a list of values; NULL is absent. */
struct story {
	bool is_sip, is_reply, has_tag;
	unsigned call;
	char value[FIELDS][64];
	bool has[FIELDS];
	struct made made;
	char start[160], headers[1024];
};

__attribute__((format(printf, 3, 4))) static void set(struct story *s, int field,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	ck_assert_int_lt(vsnprintf(s->value[field], sizeof(s->value[field]), format, args),
			 (int)sizeof(s->value[field]));
	va_end(args);
	s->has[field] = true;
}

static void set_uri(struct story *s, int whole)
{
	const char *user = ONE_OF(users), *host = ONE_OF(hosts);

	if (*user)
		set(s, whole, "sip:%s@%s:%s", user, host, ONE_OF(ports));
	else
		set(s, whole, "sip:%s", host);
	set(s, whole + 1, "%s", user);
	set(s, whole + 2, "%s", host);
}

static void set_packet(struct story *s)
{
	static const struct {
		unsigned proto;
		const char *name;
	} protos[] = { { PROTO_UDP, "udp" }, { PROTO_TCP, "tcp" }, { PROTO_TLS, "tls" } };
	size_t proto = random_below(&rnd, ROWS(protos));

	set(s, F_SRC_IP, "%s", ONE_OF(ips));
	set(s, F_DST_IP, "%s", ONE_OF(ips));
	set(s, F_SRC_PORT, "%s", ONE_OF(ports));
	set(s, F_DST_PORT, "%s", ONE_OF(ports));
	set(s, F_TRANSPORT, "%s", protos[proto].name);
	set(s, F_AGENT, "%s", ONE_OF(words));
	set(s, F_SOURCE, "%s", random_below(&rnd, 2) ? "agents" : "mirror");
	s->made = (struct made){ .src = s->value[F_SRC_IP],
				 .dst = s->value[F_DST_IP],
				 .src_port = (unsigned)atoi(s->value[F_SRC_PORT]),
				 .dst_port = (unsigned)atoi(s->value[F_DST_PORT]),
				 .proto = protos[proto].proto,
				 .agent = s->value[F_AGENT],
				 .source = s->value[F_SOURCE] };
	if (random_below(&rnd, 2)) {
		set(s, F_CAPTURE_ID, "%u", (unsigned)random_below(&rnd, 3) * 35);
		s->made.capture_id = atoi(s->value[F_CAPTURE_ID]) + 1;
	}
}

static void set_start(struct story *s)
{
	set(s, F_CSEQ_METHOD, "%s", ONE_OF(methods));
	set(s, F_METHOD, "%s", s->value[F_CSEQ_METHOD]);
	s->is_reply = random_below(&rnd, 3) == 0;
	if (s->is_reply) {
		set(s, F_STATUS, "%s", ONE_OF(codes));
		set(s, F_REASON, "%s", random_below(&rnd, 2) ? "OK" : "Not Found");
		sprintf(s->start, "SIP/2.0 %s %s", s->value[F_STATUS], s->value[F_REASON]);
		return;
	}
	set_uri(s, F_RURI);
	if (random_below(&rnd, 8) == 0) /* a sender's mistake */
		set(s, F_CSEQ_METHOD, "BYE");
	sprintf(s->start, "%s %s SIP/2.0", s->value[F_METHOD], s->value[F_RURI]);
}

static void add_header(struct story *s, int field, const char *name, const char *value)
{
	char *end = s->headers + strlen(s->headers);

	if (random_below(&rnd, 4) == 0)
		return;
	set(s, field, "%s", value);
	sprintf(end, "%s: %s\r\n", name, value);
}

static void set_headers(struct story *s)
{
	char *at = s->headers;

	set_uri(s, F_FROM);
	set_uri(s, F_TO);
	set(s, F_CALLID, "call-%u", s->call);
	s->has_tag = random_below(&rnd, 2);
	at += sprintf(at, "f: \"x\" <%s>;tag=1\r\nTo: <%s>%s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n",
		      s->value[F_FROM], s->value[F_TO], s->has_tag ? " ;tag=2" : "",
		      s->value[F_CALLID], s->value[F_CSEQ_METHOD]);
	if (random_below(&rnd, 2)) {
		set_uri(s, F_CONTACT);
		set(s, F_CONTACT_BODY, "<%s>", s->value[F_CONTACT]);
		at += sprintf(at, "m: %s\r\n", s->value[F_CONTACT_BODY]);
	}
	if (random_below(&rnd, 2)) {
		set(s, F_PAI_USER, "%s", ONE_OF(users));
		at += sprintf(at, "P-Asserted-Identity: <sip:%s%sh>\r\n", s->value[F_PAI_USER],
			      s->value[F_PAI_USER][0] ? "@" : "");
	}
	add_header(s, F_USER_AGENT, "User-Agent", ONE_OF(words));
	add_header(s, F_CONTENT_TYPE, "c", "application/sdp");
	add_header(s, F_X_NAME, "X-Name", ONE_OF(words));
	add_header(s, F_X_COUNT, "x-count", ONE_OF(words));
	set(s, F_BODY, "%s", ONE_OF(bodies));
}

/* fini_story() it. */
static void make_story(struct story *s)
{
	memset(s, 0, sizeof(*s));
	s->is_sip = random_below(&rnd, 8) != 0;
	s->call = (unsigned)random_below(&rnd, CALLS);
	set_packet(s);
	set(s, F_TYPE, "%s", s->is_sip ? "sip" : "rtcp");
	if (s->is_sip) {
		set_start(s);
		set_headers(s);
		s->made.start = s->start;
		s->made.headers = s->headers;
		s->made.body = s->value[F_BODY];
	} else {
		set(s, F_BODY, "{}\r\n\r\n");
		set(s, F_CALLID, "call-%u", s->call);
		s->made.type = HEP_TYPE_RTCP;
		s->made.start = "{}";
		s->made.headers = "";
	}
	made_init(&s->made);
	if (!s->is_sip)
		s->made.msg.correlation = view_of(s->value[F_CALLID]);
	ck_assert(s->made.is_sip == s->is_sip);
}

/* ---- conditions ---- */

enum op {
	IS_REQUEST,
	IS_REPLY,
	MATCHES,
	MATCHES_NOT,
	EQUAL,
	UNEQUAL,
	LESS,
	AT_MOST,
	MORE,
	AT_LEAST,
	IN
};
static const char *const op_names[] = { "is_request", "is_reply", "=~", "!~", "==", "!=",
					"<",	      "<=",	  ">",	">=", "in" };

struct term {
	enum op op;
	int field, other; /* other: a field on the right, or -1 */
	bool is_net;	  /* a bare address or network on the right of == != in */
	bool is_number;	  /* a bare number, or a list of them */
	unsigned count;	  /* entries; of a list without braces 0 */
	const char *entry[3];
};

struct node {
	enum { TERM, NOT, AND, OR } kind;
	struct node *left, *right;
	struct term term;
};

struct rule {
	struct node nodes[NODES];
	unsigned count;
	struct node *root;
	char text[4000];
	enum filter_scope asked, scope;
	bool is_stored;
};

static const char *const patterns[] = {
	"^sip:8?[0-9]{7}@",
	"^sip:(?!55)[0-9]{7}@",
	"^(OPTIONS|NOTIFY|REGISTER)$",
	"^(1[0-9][0-9]|[3-6][0-9][0-9])$",
	"^6[0-9]{3}$",
	":506[01]",
	"example",
	"^$",
	".",
	"^10\\.",
	"@10\\.[01]\\.",
	"b",
	"[0-9]+$",
	"^call-[12]$",
	"^sip:[^@]+@a\\.example",
	"one|7",
	"sip:112@",
	"^2001:",
	"^sip:112@",
	"o=x",
	"^506",
};
static const char *const nets[] = { "10.0.0.0/8",    "10.0.0.0/16", "10.0.0.1", "192.0.2.64/26",
				    "2001:db8::/32", "::/0",	    "::1",	"0.0.0.0/0" };
static const char *const numbers[] = { "0",   "7",    "35",   "70",    "112", "200",
				       "486", "5060", "5061", "65535", "6001" };
static const char *const any_text[] = { "INVITE", "OPTIONS", "bob", "112",	"a.example",
					"one",	  "a b",     "",    "call-1",	"mirror",
					"udp",	  "rtcp",    "OK",  "10.0.0.1", "application/sdp",
					"v=0" };

static enum kind kind_with_field(int a, int b)
{
	if (fields[a].kind == NUMBER || fields[b].kind == NUMBER)
		return NUMBER;
	return fields[a].kind == ADDRESS || fields[b].kind == ADDRESS ? ADDRESS : TEXT;
}

static int other_field(int field, bool is_order)
{
	int other;

	do
		other = (int)random_below(&rnd, FIELDS);
	while ((fields[field].kind != TEXT && fields[other].kind != TEXT &&
		fields[field].kind != fields[other].kind) ||
	       (is_order && kind_with_field(field, other) == ADDRESS));
	return other;
}

static const char *constant(const struct term *t)
{
	if (t->is_number)
		return ONE_OF(numbers);
	if (!t->is_net)
		return ONE_OF(any_text);
	return t->op == IN ? ONE_OF(nets) : ONE_OF(ips);
}

static void make_operand(struct term *t)
{
	enum kind kind = fields[t->field].kind;
	bool is_order = t->op >= LESS && t->op <= AT_LEAST;

	t->count = 1;
	if (t->op == MATCHES || t->op == MATCHES_NOT) {
		t->entry[0] = ONE_OF(patterns);
		return;
	}
	if (t->op != IN && random_below(&rnd, 5) == 0) {
		t->other = other_field(t->field, is_order);
		return;
	}
	t->is_number = is_order || kind == NUMBER || (kind == TEXT && random_below(&rnd, 4) == 0);
	t->is_net = !t->is_number && (kind == ADDRESS || random_below(&rnd, 4) == 0);
	if (t->op == IN && t->is_net && random_below(&rnd, 2))
		t->count = 0; /* without braces */
	else if (t->op == IN)
		t->count = 1 + (unsigned)random_below(&rnd, 3);
	for (unsigned i = 0; i < 3; i++)
		t->entry[i] = constant(t);
}

static void make_term(struct term *t)
{
	*t = (struct term){ .other = -1 };
	t->op = (enum op)random_below(&rnd, random_below(&rnd, 6) ? 11 : 2);
	do
		t->field = (int)random_below(&rnd, FIELDS);
	while (t->op >= LESS && t->op <= AT_LEAST && fields[t->field].kind == ADDRESS);
	if ((t->op == MATCHES || t->op == MATCHES_NOT) && random_below(&rnd, 2))
		t->field = F_RURI; /* as rules do; many of one field are looked for together */
	if (t->op > IS_REPLY)
		make_operand(t);
}

static struct node *make_node(struct rule *r, unsigned depth)
{
	struct node *n = &r->nodes[r->count++];

	n->kind = TERM;
	if (depth < 4 && r->count + 2 * (4 - depth) < NODES)
		n->kind = random_below(&rnd, 2) ? TERM : 1 + random_below(&rnd, 3);
	if (n->kind == TERM)
		make_term(&n->term);
	else
		n->left = make_node(r, depth + 1);
	if (n->kind == AND || n->kind == OR)
		n->right = make_node(r, depth + 1);
	return n;
}

/* ---- as text ---- */

static void put(struct rule *r, const char *text)
{
	ck_assert_uint_lt(strlen(r->text) + strlen(text), sizeof(r->text) - 8);
	strcat(r->text, text);
	if (random_below(&rnd, 4) == 0)
		strcat(r->text, " ");
}

static void put_field(struct rule *r, int field)
{
	put(r, fields[field].alias && random_below(&rnd, 2) ? fields[field].alias
							    : fields[field].name);
	strcat(r->text, " ");
}

static void put_constant(struct rule *r, const struct term *t, unsigned i, bool may_be_bare)
{
	const char *quote = random_below(&rnd, 2) ? "'" : "\"";
	bool is_bare = (t->is_net || t->is_number) &&
		       (fields[t->field].kind == TEXT || may_be_bare || random_below(&rnd, 2));

	if (!is_bare)
		strcat(r->text, quote);
	strcat(r->text, t->entry[i]);
	if (!is_bare)
		strcat(r->text, quote);
	put(r, "");
}

static void put_term(struct rule *r, const struct term *t)
{
	bool is_order = t->op >= LESS && t->op <= AT_LEAST;

	if (t->op <= IS_REPLY) {
		put(r, op_names[t->op]);
		return;
	}
	put_field(r, t->field);
	put(r, op_names[t->op]);
	if (t->op == IN)
		strcat(r->text, " ");
	if (t->other >= 0) {
		strcat(r->text, " ");
		put_field(r, t->other);
	} else if (t->op == IN && t->count) {
		put(r, "{");
		for (unsigned i = 0; i < t->count; i++) {
			put(r, i ? "," : "");
			put_constant(r, t, i, false);
		}
		put(r, "}");
	} else {
		put_constant(r, t, 0, is_order);
	}
}

/* With as few brackets as C needs, or a few more. */
static void put_node(struct rule *r, const struct node *n, int binds)
{
	int of[] = { [OR] = 1, [AND] = 2, [NOT] = 3, [TERM] = 3 };
	bool has_brackets = of[n->kind] < binds || random_below(&rnd, 6) == 0 ||
			    (binds == 3 && n->kind == TERM && n->term.op > IS_REPLY);

	if (has_brackets)
		put(r, "(");
	if (n->kind == TERM) {
		put_term(r, &n->term);
	} else if (n->kind == NOT) {
		put(r, "!");
		put_node(r, n->left, 3);
	} else {
		put_node(r, n->left, of[n->kind]);
		put(r, n->kind == AND ? " &&" : " ||");
		/* a && (b && c) is a && b && c all the same */
		put_node(r, n->right, of[n->kind]);
	}
	if (has_brackets)
		put(r, ")");
}

/* ---- the slow way ---- */

static bool slow_number(const struct story *s, int field, unsigned long long *out)
{
	const char *text = s->value[field];

	if (!s->has[field] || !*text || strspn(text, "0123456789") != strlen(text))
		return false;
	*out = strtoull(text, NULL, 10);
	return true;
}

/* Bits of an address, IPv4 behind ::ffff. */
static bool slow_bits(const char *text, char bits[129])
{
	unsigned char ip[16] = { [10] = 0xff, [11] = 0xff };
	char bare[64];

	if (*text == '[') {
		snprintf(bare, sizeof(bare), "%.*s", (int)strlen(text) - 2, text + 1);
		text = bare;
	}
	if (inet_pton(AF_INET, text, ip + 12) != 1 && inet_pton(AF_INET6, text, ip) != 1)
		return false;
	for (int i = 0; i < 128; i++)
		bits[i] = ip[i / 8] & (0x80 >> i % 8) ? '1' : '0';
	bits[128] = '\0';
	return true;
}

static bool slow_is_in_net(const char *text, const char *net)
{
	char address[64], bits[129], net_bits[129];
	const char *slash = strchr(net, '/');
	int prefix = 128;

	snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - net) : (int)strlen(net),
		 net);
	if (slash)
		prefix = atoi(slash + 1) + (strchr(net, ':') ? 0 : 96);
	return slow_bits(text, bits) && slow_bits(address, net_bits) &&
	       strncmp(bits, net_bits, (size_t)prefix) == 0;
}

static bool slow_regex(const char *pattern, const char *text)
{
	PCRE2_SIZE offset;
	int err, n;
	pcre2_code *code =
		pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &err, &offset, NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);

	ck_assert_ptr_nonnull(code);
	n = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL);
	ck_assert(n >= 0 || n == PCRE2_ERROR_NOMATCH);
	pcre2_match_data_free(data);
	pcre2_code_free(code);
	return n >= 0;
}

static bool slow_order(enum op op, unsigned long long a, unsigned long long b)
{
	switch (op) {
	case LESS:
		return a < b;
	case AT_MOST:
		return a <= b;
	case MORE:
		return a > b;
	case AT_LEAST:
		return a >= b;
	default:
		return a == b;
	}
}

static bool slow_fields(const struct story *s, const struct term *t)
{
	bool is_order = t->op >= LESS && t->op <= AT_LEAST;
	enum kind kind = kind_with_field(t->field, t->other);
	unsigned long long a, b;
	char x[129], y[129];

	/* Texts are compared as texts, unless one of the two is something else or there is an
	 * order. */
	if (kind == NUMBER || is_order)
		return slow_number(s, t->field, &a) && slow_number(s, t->other, &b) &&
		       slow_order(t->op, a, b);
	if (kind == ADDRESS)
		return slow_bits(s->value[t->field], x) && slow_bits(s->value[t->other], y) &&
		       strcmp(x, y) == 0;
	return strcmp(s->value[t->field], s->value[t->other]) == 0;
}

static bool slow_constant(const struct story *s, const struct term *t, const char *entry)
{
	unsigned long long a;

	if (t->is_number)
		return slow_number(s, t->field, &a) &&
		       slow_order(t->op, a, strtoull(entry, NULL, 10));
	if (t->is_net)
		return s->has[t->field] && slow_is_in_net(s->value[t->field], entry);
	return strcmp(s->value[t->field], entry) == 0;
}

static bool slow_term(const struct story *s, const struct term *t)
{
	bool holds = false;

	if (t->op <= IS_REPLY)
		return s->is_sip && s->is_reply == (t->op == IS_REPLY);
	if (t->op == MATCHES || t->op == MATCHES_NOT)
		return slow_regex(t->entry[0], s->value[t->field]) == (t->op == MATCHES);
	if (t->other >= 0)
		return slow_fields(s, t) == (t->op != UNEQUAL);
	for (unsigned i = 0; i < t->count || i == 0; i++)
		holds = holds || slow_constant(s, t, t->entry[i]);
	return holds == (t->op != UNEQUAL);
}

static bool slow_node(const struct story *s, const struct node *n)
{
	switch (n->kind) {
	case NOT:
		return !slow_node(s, n->left);
	case AND:
		return slow_node(s, n->left) && slow_node(s, n->right);
	case OR:
		return slow_node(s, n->left) || slow_node(s, n->right);
	default:
		return slow_term(s, &n->term);
	}
}

static bool slow_is_of_message(const struct node *n)
{
	const struct term *t = &n->term;

	if (n->kind == NOT)
		return slow_is_of_message(n->left);
	if (n->kind != TERM)
		return slow_is_of_message(n->left) || slow_is_of_message(n->right);
	return t->op <= IS_REPLY || fields[t->field].is_of_message ||
	       (t->other >= 0 && fields[t->other].is_of_message);
}

static bool slow_is_initial(const struct story *s)
{
	return s->is_sip && !s->is_reply && !s->has_tag && strcmp(s->value[F_METHOD], "ACK") != 0 &&
	       strcmp(s->value[F_METHOD], "CANCEL") != 0;
}

/* Rules are tried in order, the first match wins. */
static int slow_decide(const struct rule *rules, const struct story *s, int record)
{
	for (int i = 0; i < RULES; i++) {
		bool is_tested = rules[i].scope == FILTER_SCOPE_MESSAGE || slow_is_initial(s);

		if (is_tested ? slow_node(s, rules[i].root) : record == i)
			return i;
	}
	return FILTER_NONE;
}

static bool slow_makes_record(const struct story *s)
{
	return slow_is_initial(s) && strcmp(s->value[F_METHOD], "OPTIONS") != 0 &&
	       strcmp(s->value[F_METHOD], "REGISTER") != 0;
}

/* ---- both ---- */

struct seen {
	unsigned rules[RULES + 1], by_record, yes, no, probes;
};

static void make_rules(struct rule *rules, struct filter_source *sources)
{
	memset(rules, 0, RULES * sizeof(*rules));
	for (int i = 0; i < RULES; i++) {
		struct rule *r = &rules[i];

		r->root = make_node(r, 0);
		put_node(r, r->root, 0);
		r->asked = (enum filter_scope)random_below(&rnd, 3);
		r->scope = r->asked			 ? r->asked
			   : slow_is_of_message(r->root) ? FILTER_SCOPE_MESSAGE
							 : FILTER_SCOPE_DIALOG;
		r->is_stored = random_below(&rnd, 2);
		sources[i] = (struct filter_source){ "r", r->text, r->is_stored ? "store" : "drop",
						     "", r->asked };
	}
}

static struct filter *compile(const struct filter_source *sources)
{
	struct filter_program *program;
	struct filter_error error = { 0 };
	struct filter *f;
	size_t failed;
	int err = filter_compile(sources, RULES, "store", &program, &failed, &error);

	ck_assert_msg(err == HT_OK, "%s\n%zu: %s", sources[failed].when, error.offset, error.text);
	ck_assert_int_eq(filter_new(program, &f), HT_OK);
	return f;
}

/* ---- what is told ---- */

#define TOLD 256

struct told {
	const struct filter_test *test[TOLD];
	int holds[TOLD];
	unsigned tests, tested; /* all of them; of rules that were told */
	unsigned rules;
	unsigned rule_of[TOLD];
	int last;
};

static void on_test(void *ctx, const struct filter_test *test, int holds)
{
	struct told *t = ctx;

	ck_assert_uint_lt(t->tests, TOLD);
	t->test[t->tests] = test;
	t->holds[t->tests++] = holds;
}

static void on_rule(void *ctx, uint32_t rule, bool by_record, int matches)
{
	struct told *t = ctx;

	ck_assert_uint_eq(rule, t->rules);
	ck_assert(by_record == (t->tests == t->tested));
	while (t->tested < t->tests)
		t->rule_of[t->tested++] = rule;
	t->rules++;
	t->last = matches;
}

/* What a test is written as, alone, says the same of the message. */
static void check_test(const char *when, const struct filter_test *t, int holds,
		       struct filter_input *in)
{
	struct filter_source alone = { "r", NULL, "drop", "", FILTER_SCOPE_MESSAGE };
	char *text = strndup(when + t->at, t->octets);
	struct filter_program *program;
	struct filter_thread *thread;
	struct filter_decision d;
	struct filter_error error;
	struct filter *f;
	size_t failed;

	ck_assert_ptr_nonnull(text);
	alone.when = text;
	ck_assert_msg(filter_compile(&alone, 1, "store", &program, &failed, &error) == HT_OK,
		      "%s\nin %s", text, when);
	ck_assert_uint_eq(program->test_count, 1);
	ck_assert_int_eq(filter_new(program, &f), HT_OK);
	ck_assert_int_eq(filter_thread_new(&thread), HT_OK);
	filter_decide(f, thread, in, &d);
	ck_assert_msg((d.rule == 0) == (holds != t->is_not), "%s: %d", text, holds);
	filter_thread_free(thread);
	filter_end(f);
	free(text);
}

/* Explaining decides the same, and tells each rule up to the one that decides. */
static void check_told(struct filter *f, struct filter_thread *thread, const struct rule *rules,
		       struct filter_input *in, const struct filter_decision *decided)
{
	struct told told = { 0 };
	struct filter_teller teller = { .test = on_test, .rule = on_rule, .ctx = &told };
	struct filter_decision d;

	filter_explain(f, thread, in, &d, &teller);
	ck_assert_int_eq(d.rule, decided->rule);
	ck_assert_int_eq(d.record, decided->record);
	ck_assert(d.is_stored == decided->is_stored && d.is_unsure == decided->is_unsure);
	ck_assert_uint_eq(told.rules, d.rule == FILTER_NONE ? RULES : (unsigned)d.rule + 1);
	ck_assert_int_eq(told.last, d.rule != FILTER_NONE);
	for (unsigned i = 0; i < told.tests; i++)
		check_test(rules[told.rule_of[i]].text, told.test[i], told.holds[i], in);
}

static void judge(struct filter *f, struct filter_thread *thread, const struct rule *rules,
		  int records[CALLS], struct seen *seen)
{
	struct story s;
	struct filter_input in;
	struct filter_decision d;
	int rule;

	make_story(&s);
	in = made_input(&s.made);
	in.record = records[s.call];
	rule = slow_decide(rules, &s, records[s.call]);
	filter_decide(f, thread, &in, &d);
	ck_assert_msg(d.rule == rule, "rule %d, not %d; record %d\n%s\n---\n%s\n---\n%s", d.rule,
		      rule, records[s.call], rule >= 0 ? rules[rule].text : "",
		      d.rule >= 0 ? rules[d.rule].text : "", s.made.text);
	ck_assert_int_eq(d.is_stored, rule == FILTER_NONE || rules[rule].is_stored);
	if (random_below(&rnd, 20) == 0)
		check_told(f, thread, rules, &in, &d);
	if (slow_makes_record(&s) && rule >= 0 && rules[rule].scope == FILTER_SCOPE_DIALOG) {
		ck_assert_int_eq(d.record, rule);
		if (records[s.call] == FILTER_NONE || rule < records[s.call])
			records[s.call] = rule;
	} else {
		ck_assert_int_eq(d.record, FILTER_NONE);
		seen->by_record += rule >= 0 && rules[rule].scope == FILTER_SCOPE_DIALOG;
	}
	seen->rules[rule + 1]++;
	for (int i = 0; i < RULES; i++)
		*(slow_node(&s, rules[i].root) ? &seen->yes : &seen->no) += 1;
	made_fini(&s.made);
}

START_TEST(decisions_are_those_of_the_description)
{
	unsigned rounds = getenv("SOAK") ? 15000 : 1500;
	struct rule *rules = calloc(RULES, sizeof(*rules));
	struct filter_source sources[RULES];
	struct filter_thread *thread;
	struct seen seen = { 0 };

	rnd = random_from((uint64_t)_i + 1);
	ck_assert_ptr_nonnull(rules);
	ck_assert_int_eq(filter_thread_new(&thread), HT_OK);
	for (unsigned i = 0; i < rounds; i++) {
		int records[CALLS] = { FILTER_NONE, FILTER_NONE, FILTER_NONE };
		struct filter *f;

		make_rules(rules, sources);
		f = compile(sources);
		seen.probes += filter_program_of(f)->probe_count > 0;
		for (int k = 0; k < RULES; k++)
			ck_assert_int_eq(filter_program_of(f)->rules[k].scope, rules[k].scope);
		for (int k = 0; k < 20; k++)
			judge(f, thread, rules, records, &seen);
		filter_end(f);
	}
	/* All of it happened. */
	for (int i = 0; i <= RULES; i++)
		ck_assert_uint_gt(seen.rules[i], rounds / 10);
	ck_assert_uint_gt(seen.by_record, rounds);
	ck_assert_uint_gt(seen.probes, rounds / 100);
	ck_assert_uint_gt(seen.yes, 20 * rounds);
	ck_assert_uint_gt(seen.no, 20 * rounds);
	filter_thread_free(thread);
	free(rules);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("filter_random");
	TCase *t = tcase_create("filter_random");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 1800);
	tcase_add_loop_test(t, decisions_are_those_of_the_description, 0, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
