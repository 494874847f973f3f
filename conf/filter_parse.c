/* A condition into a tree. Precedence is that of C: ! before comparisons before && before ||. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/conf.h"
#include "conf/filter_lex.h"
#include "conf/filter_regex.h"
#include "conf/filter_tree.h"
#include "conf/net.h"

#define DIGITS "0123456789"
#define TOKEN_CHARS                                                   \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS \
	"-.!%*_+`'~" /* RFC 3261 section 25.1 */
#define QUOTED 40    /* octets of the text that an error repeats */

struct parser {
	const char *text;
	size_t offset; /* behind `next` */
	size_t behind; /* the token before `next` */
	struct filter_token next;
	unsigned depth;
	struct filter_names *names;
	struct filter_tree *tree;
	struct filter_error *error;
};

static const struct {
	const char *name;
	enum filter_kind kind;
	bool is_of_message;
} fields[FILTER_FIELD_COUNT] = {
#define X(id, name, kind, of_message) { name, kind, of_message },
	FILTER_FIELDS(X)
#undef X
};

/* Names that an OpenSIPS script has for them. */
static const struct {
	const char *name;
	enum filter_field field;
	const char *header;
} aliases[] = {
	{ "$ru", FILTER_RURI, NULL },	    { "$rU", FILTER_RURI_USER, NULL },
	{ "$rd", FILTER_RURI_HOST, NULL },  { "$fu", FILTER_FROM, NULL },
	{ "$fU", FILTER_FROM_USER, NULL },  { "$tu", FILTER_TO, NULL },
	{ "$tU", FILTER_TO_USER, NULL },    { "$rm", FILTER_METHOD, NULL },
	{ "$rs", FILTER_STATUS, NULL },	    { "$ci", FILTER_CALLID, NULL },
	{ "$ua", FILTER_USER_AGENT, NULL }, { "$si", FILTER_SRC_IP, NULL },
	{ "$sp", FILTER_SRC_PORT, NULL },   { "$ct", FILTER_HEADER, "Contact" },
};

/* RFC 3261 section 7.3.3, RFC 6665, RFC 4028, RFC 3515, RFC 3892. */
static const struct {
	char compact;
	const char *lower;
} compact_names[] = {
	{ 'v', "via" },
	{ 'f', "from" },
	{ 't', "to" },
	{ 'i', "call-id" },
	{ 'm', "contact" },
	{ 'c', "content-type" },
	{ 'l', "content-length" },
	{ 'e', "content-encoding" },
	{ 's', "subject" },
	{ 'k', "supported" },
	{ 'o', "event" },
	{ 'u', "allow-events" },
	{ 'x', "session-expires" },
	{ 'r', "refer-to" },
	{ 'b', "referred-by" },
};

const char *filter_field_name(enum filter_field field)
{
	return fields[field].name;
}

enum filter_kind filter_field_kind(enum filter_field field)
{
	return fields[field].kind;
}

/* ---- tokens ---- */

static int advance(struct parser *p)
{
	p->behind = p->offset;
	return filter_lex(p->text, &p->offset, &p->next, p->error);
}

static int expected(struct parser *p, const char *what)
{
	const struct filter_token *t = &p->next;
	size_t len = p->offset - t->offset;

	if (t->kind == TOKEN_END)
		return filter_fail(p->error, t->offset, "expected %s, but it ends here", what);
	return filter_fail(p->error, t->offset, "expected %s, not %.*s", what,
			   (int)(len < QUOTED ? len : QUOTED), p->text + t->offset);
}

static int expect(struct parser *p, enum filter_token_kind kind, const char *what)
{
	return p->next.kind == kind ? advance(p) : expected(p, what);
}

static bool token_is(const struct filter_token *t, const char *word)
{
	return t->kind == TOKEN_WORD && strlen(word) == t->len && memcmp(t->at, word, t->len) == 0;
}

/* ---- constants ---- */

/* Room for one more at the end of an array that grows as it has to. */
static void *grown(void *array, uint32_t count, size_t bytes)
{
	return count & (count - 1) ? array
				   : realloc(array, (count ? 2 * (size_t)count : 1) * bytes);
}

static int add_text(struct filter_test *t, const struct filter_token *token)
{
	struct filter_text *texts = grown(t->texts, t->text_count, sizeof(*texts));
	char *copy = strndup(token->at, token->len);

	if (texts)
		t->texts = texts;
	if (!texts || !copy) {
		free(copy);
		return -ENOMEM;
	}
	t->texts[t->text_count++] = (struct filter_text){ (uint32_t)token->len, copy };
	return HT_OK;
}

static int add_range(struct filter_test *t, uint64_t least, uint64_t most)
{
	struct filter_range *ranges = grown(t->ranges, t->range_count, sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	t->ranges = ranges;
	t->ranges[t->range_count++] = (struct filter_range){ least, most };
	return HT_OK;
}

static bool is_number(const struct filter_token *t)
{
	return t->len > 0 && strspn(t->at, DIGITS) >= t->len;
}

static int take_number(struct parser *p, uint64_t *out)
{
	const struct filter_token *t = &p->next;

	if ((t->kind != TOKEN_WORD && t->kind != TOKEN_STRING) || !is_number(t))
		return expected(p, "a number");
	if (t->len > FILTER_MAX_DIGITS)
		return filter_fail(p->error, t->offset, "a number has at most %d digits",
				   FILTER_MAX_DIGITS);
	*out = 0;
	for (size_t i = 0; i < t->len; i++)
		*out = *out * 10 + (uint64_t)(t->at[i] - '0');
	return advance(p);
}

static int take_net(struct parser *p, struct filter_test *t, const char *what)
{
	struct conf_net *nets = grown(t->nets, t->net_count, sizeof(*nets));
	char text[64], why[WHY_BYTES];

	if (!nets)
		return -ENOMEM;
	t->nets = nets;
	if (p->next.kind != TOKEN_WORD && p->next.kind != TOKEN_STRING)
		return expected(p, what);
	if (p->next.len >= sizeof(text))
		return expected(p, what);
	memcpy(text, p->next.at, p->next.len);
	text[p->next.len] = '\0';
	why[0] = '\0';
	if (net_parse(text, &nets[t->net_count], why) < 0)
		return why[0] ? filter_fail(p->error, p->next.offset, "%s", why)
			      : expected(p, what);
	t->net_count++;
	return advance(p);
}

/* ---- operands ---- */

static void name_lower(const struct filter_token *t, struct filter_header *out)
{
	*out = (struct filter_header){ .len = (uint8_t)t->len };
	for (size_t i = 0; i < t->len; i++) {
		char c = t->at[i];

		out->lower[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	for (size_t i = 0; i < sizeof(compact_names) / sizeof(compact_names[0]); i++) {
		if (strcmp(compact_names[i].lower, out->lower) != 0 &&
		    (t->len > 1 || compact_names[i].compact != out->lower[0]))
			continue;
		strcpy(out->lower, compact_names[i].lower);
		out->len = (uint8_t)strlen(out->lower);
		out->compact = compact_names[i].compact;
		return;
	}
}

static int take_name(struct parser *p, const struct filter_token *t, struct filter_operand *out)
{
	struct filter_header header;
	uint32_t i = 0;

	if (t->len == 0 || t->len > FILTER_MAX_NAME || strspn(t->at, TOKEN_CHARS) < t->len)
		return filter_fail(p->error, t->offset,
				   "expected the name of a header, at most %d octets",
				   FILTER_MAX_NAME);
	name_lower(t, &header);
	while (i < p->names->count && strcmp(p->names->at[i].lower, header.lower) != 0)
		i++;
	if (i == FILTER_MAX_HEADERS)
		return filter_fail(p->error, t->offset, "more than %d different headers",
				   FILTER_MAX_HEADERS);
	p->names->at[i] = header;
	if (i == p->names->count)
		p->names->count++;
	out->header = (uint8_t)i;
	return HT_OK;
}

/* Behind the word header. */
static int take_header(struct parser *p, struct filter_operand *out)
{
	int err = expect(p, TOKEN_OPEN, "( behind header");

	if (err < 0)
		return err;
	if (p->next.kind != TOKEN_STRING)
		return expected(p, "the name of a header in quotes");
	err = take_name(p, &p->next, out);
	if (err == HT_OK)
		err = advance(p);
	return err < 0 ? err : expect(p, TOKEN_CLOSE, ")");
}

static int take_hidden_header(struct parser *p, const char *name, struct filter_operand *out)
{
	struct filter_token t = { .at = name, .len = strlen(name), .offset = p->next.offset };

	return take_name(p, &t, out);
}

static bool is_field(const struct filter_token *t, struct filter_operand *out, const char **header)
{
	*header = NULL;
	for (size_t i = 0; i < FILTER_FIELD_COUNT; i++) {
		if (!token_is(t, fields[i].name))
			continue;
		out->field = (uint8_t)i;
		*header = i == FILTER_PAI_USER ? "P-Asserted-Identity" : NULL;
		return true;
	}
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (!token_is(t, aliases[i].name))
			continue;
		out->field = (uint8_t)aliases[i].field;
		*header = aliases[i].header;
		return true;
	}
	return false;
}

/* The field that is next, which is_field() has found. */
static int take_field(struct parser *p, struct filter_operand *out, const char *header)
{
	int err = header ? take_hidden_header(p, header, out) : HT_OK;

	if (fields[out->field].is_of_message)
		p->tree->is_of_message = true;
	if (err == HT_OK)
		err = advance(p);
	if (err == HT_OK && out->field == FILTER_HEADER && !header)
		err = take_header(p, out);
	return err;
}

/* ---- nodes ---- */

static int add_node(struct parser *p, const struct filter_node *n, uint32_t *out)
{
	struct filter_tree *tree = p->tree;
	struct filter_node *nodes;

	if (tree->count == tree->room) {
		tree->room = tree->room ? 2 * tree->room : 16;
		nodes = realloc(tree->nodes, tree->room * sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		tree->nodes = nodes;
	}
	*out = tree->count++;
	tree->nodes[*out] = *n;
	return HT_OK;
}

static int add_not(struct parser *p, uint32_t *node)
{
	return add_node(p, &(struct filter_node){ .kind = NODE_NOT, .left = *node }, node);
}

/* ---- comparisons ---- */

static enum filter_kind kind_of(const struct filter_operand *o)
{
	return fields[o->field].kind;
}

/* Behind =~ and !~. */
static int take_regex(struct parser *p, struct filter_test *t)
{
	size_t begin;
	int err;

	if (p->next.kind != TOKEN_STRING)
		return expected(p, "a regular expression in quotes");
	begin = p->next.offset + 1;
	t->op = FILTER_OP_REGEX;
	err = filter_regex_new(p->next.at, p->next.len, &t->regex, p->error);
	if (err == HT_ECONF)
		p->error->offset += begin;
	return err < 0 ? err : advance(p);
}

static int take_item(struct parser *p, struct filter_test *t, enum filter_kind kind)
{
	uint64_t n;
	int err;

	if (kind == FILTER_NUMBER) {
		err = take_number(p, &n);
		return err < 0 ? err : add_range(t, n, n);
	}
	if (kind == FILTER_ADDRESS)
		return take_net(p, t, "an address or a network");
	if (p->next.kind != TOKEN_STRING)
		return take_net(p, t, "a string in quotes, an address or a network");
	err = add_text(t, &p->next);
	return err < 0 ? err : advance(p);
}

/* Behind {. */
static int take_list(struct parser *p, struct filter_test *t, enum filter_kind kind)
{
	int err = take_item(p, t, kind);

	while (err == HT_OK && p->next.kind == TOKEN_COMMA) {
		err = advance(p);
		if (err == HT_OK)
			err = take_item(p, t, kind);
	}
	return err < 0 ? err : expect(p, TOKEN_CLOSE_LIST, ", or }");
}

static enum filter_op op_of_kind(enum filter_kind kind)
{
	if (kind == FILTER_NUMBER)
		return FILTER_OP_NUMBER;
	return kind == FILTER_ADDRESS ? FILTER_OP_NET : FILTER_OP_TEXT;
}

/* Are the words of a list numbers? Then a text field is one, too. */
static bool begins_with_number(const struct filter_token *t)
{
	return t->kind == TOKEN_WORD && is_number(t);
}

/* Behind `in`. */
static int take_in(struct parser *p, struct filter_test *t)
{
	enum filter_kind kind = kind_of(&t->left);
	int err;

	if (p->next.kind == TOKEN_OPEN_LIST) {
		err = advance(p);
		if (err == HT_OK && kind == FILTER_TEXT && begins_with_number(&p->next))
			kind = FILTER_NUMBER;
		t->op = op_of_kind(kind);
		return err < 0 ? err : take_list(p, t, kind);
	}
	if (kind == FILTER_NUMBER)
		return expected(p, "a list in { }");
	if (kind == FILTER_TEXT && p->next.kind == TOKEN_STRING)
		return expected(p, "an address, a network or a list in { }");
	t->op = FILTER_OP_NET;
	return take_net(p, t, "an address, a network or a list in { }");
}

/* Two fields: as numbers if one of them is a number, as addresses if one of them is one. */
static int compare_fields(struct parser *p, struct filter_test *t, const struct filter_token *right)
{
	enum filter_kind a = kind_of(&t->left), b = kind_of(&t->right);

	if (b == FILTER_FLAG)
		return filter_fail(p->error, right->offset, "%s is compared with nothing",
				   fields[t->right.field].name);
	if (a != b && a != FILTER_TEXT && b != FILTER_TEXT)
		return filter_fail(p->error, right->offset,
				   "a number and an address do not compare");
	if (a == FILTER_NUMBER || b == FILTER_NUMBER)
		t->op = FILTER_OP_SAME_NUMBER;
	else if (a == FILTER_ADDRESS || b == FILTER_ADDRESS)
		t->op = FILTER_OP_SAME_ADDRESS;
	else
		t->op = FILTER_OP_SAME_TEXT;
	return HT_OK;
}

static const char *what_to_compare_with(enum filter_kind kind)
{
	if (kind == FILTER_NUMBER)
		return "a number or a field";
	return kind == FILTER_ADDRESS ? "an address or a field"
				      : "a string in quotes, a number, an address or a field";
}

static int take_address(struct parser *p, struct filter_test *t, const char *what)
{
	if ((p->next.kind == TOKEN_WORD || p->next.kind == TOKEN_STRING) &&
	    memchr(p->next.at, '/', p->next.len))
		return filter_fail(p->error, p->next.offset, "a network is compared with `in`");
	t->op = FILTER_OP_NET;
	return take_net(p, t, what);
}

/* Behind == and !=. */
static int take_equal(struct parser *p, struct filter_test *t)
{
	enum filter_kind kind = kind_of(&t->left);
	struct filter_token right = p->next;
	const char *header;
	uint64_t n;
	int err;

	if (is_field(&right, &t->right, &header)) {
		err = take_field(p, &t->right, header);
		return err < 0 ? err : compare_fields(p, t, &right);
	}
	if (kind == FILTER_TEXT && right.kind == TOKEN_STRING) {
		t->op = FILTER_OP_TEXT;
		err = add_text(t, &right);
		return err < 0 ? err : advance(p);
	}
	if (kind == FILTER_NUMBER || (kind == FILTER_TEXT && begins_with_number(&right))) {
		if (!is_number(&right) || (right.kind != TOKEN_WORD && right.kind != TOKEN_STRING))
			return expected(p, what_to_compare_with(kind));
		t->op = FILTER_OP_NUMBER;
		err = take_number(p, &n);
		return err < 0 ? err : add_range(t, n, n);
	}
	return take_address(p, t, what_to_compare_with(kind));
}

static int order_fields(struct parser *p, struct filter_test *t, enum filter_token_kind op,
			const struct filter_token *right)
{
	struct filter_operand left = t->left;
	int err = compare_fields(p, t, right);

	if (err < 0)
		return err;
	if (t->op == FILTER_OP_SAME_ADDRESS)
		return filter_fail(p->error, right->offset,
				   "expected a number, since < <= > >= "
				   "compare numbers");
	t->op = op == TOKEN_LESS || op == TOKEN_MORE ? FILTER_OP_LESS : FILTER_OP_AT_MOST;
	if (op == TOKEN_MORE || op == TOKEN_AT_LEAST) {
		t->left = t->right;
		t->right = left;
	}
	return HT_OK;
}

/* Behind < <= > >=: a range, whose end is that of all numbers. */
static int take_order(struct parser *p, struct filter_test *t, enum filter_token_kind op)
{
	struct filter_token right = p->next;
	const char *header;
	uint64_t n;
	int err;

	if (is_field(&right, &t->right, &header)) {
		err = take_field(p, &t->right, header);
		return err < 0 ? err : order_fields(p, t, op, &right);
	}
	if (right.kind != TOKEN_WORD && kind_of(&t->left) != FILTER_NUMBER)
		return expected(p, "a number, since < <= > >= compare numbers");
	err = take_number(p, &n);
	if (err < 0)
		return err;
	t->op = FILTER_OP_NUMBER;
	if (op == TOKEN_LESS && n == 0)
		return HT_OK; /* no range, no number */
	if (op == TOKEN_LESS || op == TOKEN_AT_MOST)
		return add_range(t, 0, op == TOKEN_LESS ? n - 1 : n);
	return add_range(t, op == TOKEN_MORE ? n + 1 : n, UINT64_MAX);
}

static bool is_order(enum filter_token_kind kind)
{
	return kind == TOKEN_LESS || kind == TOKEN_AT_MOST || kind == TOKEN_MORE ||
	       kind == TOKEN_AT_LEAST;
}

/* Behind a field: operator and right side. */
static int take_comparison(struct parser *p, struct filter_test *t)
{
	enum filter_token_kind op = p->next.kind;
	bool is_in = token_is(&p->next, "in");
	size_t at = p->next.offset;
	int err;

	t->is_not = op == TOKEN_NO_REGEX || op == TOKEN_UNEQUAL;
	if (!is_in && !is_order(op) && op != TOKEN_REGEX && op != TOKEN_EQUAL && !t->is_not)
		return expected(p, "=~ !~ == != < <= > >= or in");
	if (is_order(op) && kind_of(&t->left) == FILTER_ADDRESS)
		return filter_fail(p->error, at, "< <= > >= compare numbers, not addresses");
	err = advance(p);
	if (err < 0)
		return err;
	if (is_in)
		return take_in(p, t);
	if (is_order(op))
		return take_order(p, t, op);
	return op == TOKEN_REGEX || op == TOKEN_NO_REGEX ? take_regex(p, t) : take_equal(p, t);
}

static int parse_test(struct parser *p, uint32_t *out)
{
	struct filter_node n = { .kind = NODE_TEST };
	size_t at = p->next.offset;
	const char *header;
	int err;

	if (!is_field(&p->next, &n.test.left, &header))
		return expected(p, "a field, ! or (");
	err = take_field(p, &n.test.left, header);
	if (err == HT_OK && kind_of(&n.test.left) == FILTER_FLAG)
		n.test.op = FILTER_OP_IS;
	else if (err == HT_OK)
		err = take_comparison(p, &n.test);
	n.test.at = (uint16_t)at;
	n.test.octets = (uint16_t)(p->behind - at);
	if (err == HT_OK)
		err = add_node(p, &n, out);
	if (err < 0) {
		filter_test_fini(&n.test);
		return err;
	}
	return n.test.is_not ? add_not(p, out) : HT_OK;
}

/* ---- ! ( ) && || ---- */

static int parse_or(struct parser *p, uint32_t *out);
static int parse_unary(struct parser *p, uint32_t *out);

static int parse_brackets(struct parser *p, uint32_t *out)
{
	int err = advance(p);

	if (err == HT_OK)
		err = parse_or(p, out);
	return err < 0 ? err : expect(p, TOKEN_CLOSE, "&&, || or )");
}

/* In C, ! binds to what stands directly behind it, and that is a flag or brackets. */
static int parse_not(struct parser *p, uint32_t *out)
{
	struct filter_operand o;
	const char *header;
	int err = advance(p);

	if (err == HT_OK && is_field(&p->next, &o, &header) && kind_of(&o) != FILTER_FLAG)
		return filter_fail(p->error, p->next.offset,
				   "expected is_request, is_reply or ( behind !, as in !(%s ...)",
				   fields[o.field].name);
	if (err == HT_OK)
		err = parse_unary(p, out);
	return err < 0 ? err : add_not(p, out);
}

static int parse_unary(struct parser *p, uint32_t *out)
{
	int err;

	if (p->next.kind != TOKEN_NOT && p->next.kind != TOKEN_OPEN)
		return parse_test(p, out);
	if (p->depth == FILTER_MAX_DEPTH)
		return filter_fail(p->error, p->next.offset, "more than %d levels of ( and !",
				   FILTER_MAX_DEPTH);
	p->depth++;
	err = p->next.kind == TOKEN_NOT ? parse_not(p, out) : parse_brackets(p, out);
	p->depth--;
	return err;
}

static int parse_and(struct parser *p, uint32_t *out)
{
	struct filter_node n = { .kind = NODE_AND };
	int err = parse_unary(p, out);

	while (err == HT_OK && p->next.kind == TOKEN_AND) {
		n.left = *out;
		err = advance(p);
		if (err == HT_OK)
			err = parse_unary(p, &n.right);
		if (err == HT_OK)
			err = add_node(p, &n, out);
	}
	return err;
}

static int parse_or(struct parser *p, uint32_t *out)
{
	struct filter_node n = { .kind = NODE_OR };
	int err = parse_and(p, out);

	while (err == HT_OK && p->next.kind == TOKEN_OR) {
		n.left = *out;
		err = advance(p);
		if (err == HT_OK)
			err = parse_and(p, &n.right);
		if (err == HT_OK)
			err = add_node(p, &n, out);
	}
	return err;
}

int filter_parse(const char *when, struct filter_names *names, struct filter_tree *out,
		 struct filter_error *error)
{
	struct parser p = { .text = when, .names = names, .tree = out, .error = error };
	int err;

	*out = (struct filter_tree){ 0 };
	if (strlen(when) > FILTER_MAX_OCTETS)
		return filter_fail(error, FILTER_MAX_OCTETS, "a condition has at most %d octets",
				   FILTER_MAX_OCTETS);
	err = advance(&p);
	if (err == HT_OK)
		err = parse_or(&p, &out->root);
	if (err == HT_OK && p.next.kind != TOKEN_END)
		err = expected(&p, "&&, || or the end");
	return err;
}

void filter_test_fini(struct filter_test *t)
{
	for (uint32_t i = 0; i < t->text_count; i++)
		free(t->texts[i].at);
	free(t->texts);
	free(t->ranges);
	free(t->nets);
	filter_regex_free(t->regex);
	*t = (struct filter_test){ 0 };
}

void filter_tree_fini(struct filter_tree *tree)
{
	for (uint32_t i = 0; i < tree->count; i++)
		filter_test_fini(&tree->nodes[i].test);
	free(tree->nodes);
	*tree = (struct filter_tree){ 0 };
}
