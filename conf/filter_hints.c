/* A reading of patterns that gives up at whatever is not plain. */
#include "conf/filter_hints.h"

#include <string.h>

#define MAX_DEPTH  16
#define MAX_REPEAT 65535

struct literal {
	uint8_t len;
	uint8_t at[HINT_MAX_LITERAL];
};

/* What is known of a part of the pattern. */
struct part {
	uint16_t front[256];
	uint8_t front_len;
	bool is_closed;	  /* nothing is known behind the front */
	bool is_exact;	  /* what has the front, and no more, is what it matches */
	bool is_anchored; /* only at the beginning of the text */
	struct literal best;
};

/* One thing that a quantifier may follow. */
struct atom {
	enum { ATOM_SET, ATOM_GROUP, ATOM_NOTHING } kind; /* nothing: an assertion */
	bool is_anchor, is_end;
	uint64_t set[4]; /* bit per octet */
};

struct reader {
	const uint8_t *at, *end;
	unsigned depth;
	bool gave_up;
};

static void give_up(struct reader *r)
{
	r->gave_up = true;
	r->at = r->end;
}

static int peek(const struct reader *r, size_t ahead)
{
	return (size_t)(r->end - r->at) > ahead ? r->at[ahead] : -1;
}

static bool accept(struct reader *r, int octet)
{
	if (peek(r, 0) != octet)
		return false;
	r->at++;
	return true;
}

static bool is_alnum(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void set_add(uint64_t set[4], unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		set[c / 64] |= UINT64_C(1) << (c % 64);
}

static bool set_has(const uint64_t set[4], unsigned c)
{
	return set[c / 64] >> (c % 64) & 1;
}

static int set_single(const uint64_t set[4])
{
	int found = -1;

	for (unsigned c = 0; c < 256; c++) {
		if (!set_has(set, c))
			continue;
		if (found >= 0)
			return -1;
		found = (int)c;
	}
	return found;
}

/* \d \w \s and their opposites; false if it is none of them. */
static bool set_of_class(int letter, uint64_t set[4])
{
	uint64_t of[4] = { 0 };

	switch (letter | 0x20) {
	case 'd':
		set_add(of, '0', '9');
		break;
	case 'w':
		set_add(of, '0', '9');
		set_add(of, 'a', 'z');
		set_add(of, 'A', 'Z');
		set_add(of, '_', '_');
		break;
	case 's':
		set_add(of, '\t', '\r');
		set_add(of, ' ', ' ');
		break;
	default:
		return false;
	}
	for (int i = 0; i < 4; i++)
		set[i] |= letter & 0x20 ? of[i] : ~of[i];
	return true;
}

/* One octet of a class that may begin or end a range; -1: none of that sort. */
static int class_octet(struct reader *r)
{
	int c = peek(r, 0);

	if (c == '[' && (peek(r, 1) == ':' || peek(r, 1) == '.' || peek(r, 1) == '='))
		return -1;
	if (c == '\\') {
		c = peek(r, 1);
		if (c < 0 || c >= 0x80 || is_alnum(c))
			return -1;
		r->at++;
	}
	r->at++;
	return c;
}

static void read_class_member(struct reader *r, uint64_t set[4])
{
	int from, to;

	if (peek(r, 0) == '\\' && peek(r, 1) >= 0 && set_of_class(peek(r, 1), set)) {
		r->at += 2;
		if (peek(r, 0) == '-' && peek(r, 1) != ']')
			give_up(r);
		return;
	}
	from = to = class_octet(r);
	if (peek(r, 0) == '-' && peek(r, 1) != ']' && from >= 0) {
		r->at++;
		to = class_octet(r);
	}
	if (from < 0 || to < from)
		give_up(r);
	else
		set_add(set, (unsigned)from, (unsigned)to);
}

static void read_class(struct reader *r, struct atom *a)
{
	bool is_negated = accept(r, '^'), is_first = true;

	a->kind = ATOM_SET;
	while (is_first || peek(r, 0) != ']') {
		if (peek(r, 0) < 0) {
			give_up(r);
			return;
		}
		read_class_member(r, a->set);
		is_first = false;
	}
	r->at++;
	for (int i = 0; i < 4 && is_negated; i++)
		a->set[i] = ~a->set[i];
}

static void read_escape(struct reader *r, struct atom *a)
{
	int c = peek(r, 0);

	if (c < 0 || c >= 0x80) {
		give_up(r);
		return;
	}
	r->at++;
	a->kind = ATOM_SET;
	if (!is_alnum(c)) {
		set_add(a->set, (unsigned)c, (unsigned)c);
	} else if (set_of_class(c, a->set)) {
		return;
	} else if (c == 'b' || c == 'B' || c == 'A') {
		a->kind = ATOM_NOTHING;
		a->is_anchor = c == 'A';
	} else {
		give_up(r);
	}
}

static struct part read_alternatives(struct reader *r);

/* Behind the name of a group. */
static void skip_name(struct reader *r, int close)
{
	while (peek(r, 0) >= 0 && peek(r, 0) != close)
		r->at++;
	if (!accept(r, close))
		give_up(r);
}

/* Behind "(?". */
static void read_group_kind(struct reader *r, struct atom *a)
{
	if (accept(r, ':') || accept(r, '>') || accept(r, '|'))
		return;
	if (accept(r, '=') || accept(r, '!')) {
		a->kind = ATOM_NOTHING;
	} else if (peek(r, 0) == '<' && (peek(r, 1) == '=' || peek(r, 1) == '!')) {
		r->at += 2;
		a->kind = ATOM_NOTHING;
	} else if (accept(r, '<')) {
		skip_name(r, '>');
	} else if (accept(r, '\'')) {
		skip_name(r, '\'');
	} else if (peek(r, 0) == 'P' && peek(r, 1) == '<') {
		r->at += 2;
		skip_name(r, '>');
	} else {
		give_up(r); /* options, conditions, recursion, comments, callouts */
	}
}

/* Behind "(". */
static void read_group(struct reader *r, struct atom *a, struct part *inner)
{
	a->kind = ATOM_GROUP;
	if (peek(r, 0) == '*' || r->depth == MAX_DEPTH) {
		give_up(r);
		return;
	}
	if (accept(r, '?'))
		read_group_kind(r, a);
	r->depth++;
	*inner = read_alternatives(r);
	r->depth--;
	if (!accept(r, ')'))
		give_up(r);
}

static void read_atom(struct reader *r, struct atom *a, struct part *inner)
{
	int c = peek(r, 0);

	*a = (struct atom){ .kind = ATOM_SET };
	r->at++;
	switch (c) {
	case '(':
		read_group(r, a, inner);
		break;
	case '[':
		read_class(r, a);
		break;
	case '\\':
		read_escape(r, a);
		break;
	case '.':
		set_add(a->set, 0, 255);
		a->set['\n' / 64] &= ~(UINT64_C(1) << '\n');
		break;
	case '^':
	case '$':
		a->kind = ATOM_NOTHING;
		a->is_anchor = c == '^';
		a->is_end = c == '$';
		break;
	case '*':
	case '+':
	case '?':
	case '{': /* whether it is a quantifier depends on the version */
		give_up(r);
		break;
	default:
		set_add(a->set, (unsigned)c, (unsigned)c);
	}
}

static bool read_number(struct reader *r, unsigned *n)
{
	const uint8_t *begin = r->at;

	*n = 0;
	while (peek(r, 0) >= '0' && peek(r, 0) <= '9' && *n <= MAX_REPEAT)
		*n = *n * 10 + (unsigned)(*r->at++ - '0');
	return r->at > begin && *n <= MAX_REPEAT;
}

/* Behind "{". */
static void read_braces(struct reader *r, unsigned *least, bool *is_fixed)
{
	unsigned most;

	if (!read_number(r, least)) {
		give_up(r);
		return;
	}
	*is_fixed = true;
	if (accept(r, ',')) {
		*is_fixed = peek(r, 0) != '}' && read_number(r, &most) && most == *least;
	}
	if (!accept(r, '}'))
		give_up(r);
}

static void read_quantifier(struct reader *r, unsigned *least, bool *is_fixed)
{
	*least = 1;
	*is_fixed = true;
	if (accept(r, '*') || accept(r, '?')) {
		*least = 0;
		*is_fixed = false;
	} else if (accept(r, '+')) {
		*is_fixed = false;
	} else if (accept(r, '{')) {
		read_braces(r, least, is_fixed);
	} else {
		return;
	}
	if (!accept(r, '?'))	/* lazy */
		accept(r, '+'); /* possessive */
}

/* ---- what is known of a sequence ---- */

static void front_add_set(struct part *p, const uint64_t set[4])
{
	if (p->front_len == HINT_MAX_FRONT) {
		p->is_closed = true;
		p->is_exact = false;
		return;
	}
	for (unsigned c = 0; c < 256; c++) {
		if (set_has(set, c))
			p->front[c] |= (uint16_t)(1U << p->front_len);
	}
	p->front_len++;
}

static void front_add_part(struct part *p, const struct part *inner)
{
	unsigned len = p->front_len + inner->front_len;

	for (unsigned c = 0; c < 256; c++)
		p->front[c] |= (uint16_t)((unsigned)inner->front[c] << p->front_len);
	if (len > HINT_MAX_FRONT || inner->is_closed)
		p->is_closed = true;
	if (len > HINT_MAX_FRONT || !inner->is_exact)
		p->is_exact = false;
	p->front_len = (uint8_t)(len > HINT_MAX_FRONT ? HINT_MAX_FRONT : len);
}

static void front_extend(struct part *p, const struct atom *a, const struct part *inner,
			 unsigned least, bool is_fixed)
{
	for (unsigned i = 0; i < least && !p->is_closed; i++) {
		if (a->kind == ATOM_SET)
			front_add_set(p, a->set);
		else
			front_add_part(p, inner);
		if (a->kind == ATOM_GROUP && inner->front_len == 0)
			break; /* however often */
	}
	if (!is_fixed) {
		p->is_closed = true;
		p->is_exact = false;
	}
}

static void keep_longer(struct literal *best, const struct literal *other)
{
	if (other->len > best->len)
		*best = *other;
}

static void run_extend(struct literal *run, struct part *p, const struct atom *a, unsigned least,
		       bool is_fixed)
{
	int single = a->kind == ATOM_SET ? set_single(a->set) : -1;

	for (unsigned i = 0; i < least && single >= 0 && run->len < HINT_MAX_LITERAL; i++)
		run->at[run->len++] = (uint8_t)single;
	keep_longer(&p->best, run);
	if (single < 0 || !is_fixed || run->len == HINT_MAX_LITERAL)
		run->len = 0;
}

static bool is_sequence_over(const struct reader *r)
{
	int c = peek(r, 0);

	return c < 0 || c == '|' || c == ')';
}

static struct part read_sequence(struct reader *r)
{
	struct part p = { .is_exact = true }, inner;
	struct literal run = { 0 };
	bool is_first = true, is_fixed;
	unsigned least;
	struct atom a;

	while (!is_sequence_over(r)) {
		memset(&inner, 0, sizeof(inner));
		read_atom(r, &a, &inner);
		read_quantifier(r, &least, &is_fixed);
		if (is_first && least > 0)
			p.is_anchored = a.kind == ATOM_NOTHING ? a.is_anchor : inner.is_anchored;
		if (a.kind == ATOM_NOTHING ? !is_first || !a.is_anchor
					   : inner.is_anchored && !(is_first && least == 1))
			p.is_exact = false;
		is_first = false;
		if (a.kind == ATOM_NOTHING)
			continue; /* what stands beside it stands side by side */
		front_extend(&p, &a, &inner, least, is_fixed);
		if (p.is_anchored && !p.is_closed)
			run.len = 0; /* the front has it */
		else
			run_extend(&run, &p, &a, least, is_fixed);
		if (a.kind == ATOM_GROUP && least > 0)
			keep_longer(&p.best, &inner.best);
	}
	return p;
}

static void part_or(struct part *p, const struct part *other)
{
	if (p->front_len != other->front_len)
		p->is_closed = true;
	p->is_closed = p->is_closed || other->is_closed;
	if (other->front_len < p->front_len)
		p->front_len = other->front_len;
	for (unsigned c = 0; c < 256; c++)
		p->front[c] =
			(uint16_t)((p->front[c] | other->front[c]) & ((1U << p->front_len) - 1));
	p->is_exact = false;
	p->is_anchored = p->is_anchored && other->is_anchored;
	p->best.len = 0;
}

static struct part read_alternatives(struct reader *r)
{
	struct part p = read_sequence(r), other;

	while (accept(r, '|')) {
		other = read_sequence(r);
		part_or(&p, &other);
	}
	return p;
}

/* How rare an octet is in SIP, as a guess: memchr() stops at each. */
static int rarity(uint8_t c)
{
	static const char common[] = "0123456789.:;=-/ sipetanorclmdu\r\n";

	if (strchr("@<>\"", c))
		return 3;
	if (c && strchr(common, c))
		return 1;
	return 2;
}

static void literal_take(struct filter_hints *out, const struct literal *best)
{
	out->literal_len = best->len;
	memcpy(out->literal, best->at, best->len);
	for (uint8_t i = 1; i < best->len; i++) {
		if (rarity(best->at[i]) > rarity(best->at[out->literal_rare]))
			out->literal_rare = i;
	}
}

void filter_hints_find(const char *pattern, size_t len, struct filter_hints *out)
{
	struct reader r = { .at = (const uint8_t *)pattern, .end = (const uint8_t *)pattern + len };
	bool has_end = len > 1 && pattern[len - 1] == '$' && pattern[len - 2] != '\\';
	struct part p;

	*out = (struct filter_hints){ 0 };
	/* That $ is an assertion of the whole pattern if what is before it can be read alone. */
	if (has_end)
		r.end--;
	p = read_alternatives(&r);
	if (r.gave_up || r.at != r.end)
		return;
	if (p.is_anchored) {
		memcpy(out->front, p.front, sizeof(out->front));
		out->front_len = p.front_len;
		out->is_whole = p.is_exact && !p.is_closed && p.front_len > 0;
		out->has_end = has_end;
	}
	if (!out->is_whole)
		literal_take(out, &p.best);
}

/* ---- asking ---- */

static bool has_front(const struct filter_hints *h, const uint8_t *text, size_t len)
{
	if (len < h->front_len)
		return false;
	for (unsigned i = 0; i < h->front_len; i++) {
		if (!(h->front[text[i]] >> i & 1))
			return false;
	}
	return true;
}

static bool has_literal(const struct filter_hints *h, const uint8_t *text, size_t len)
{
	const uint8_t *at, *last;
	uint8_t rare = h->literal[h->literal_rare];

	if (len < h->literal_len)
		return false;
	at = text + h->literal_rare;
	last = at + (len - h->literal_len);
	while (at <= last && (at = memchr(at, rare, (size_t)(last - at) + 1))) {
		if (memcmp(at - h->literal_rare, h->literal, h->literal_len) == 0)
			return true;
		at++;
	}
	return false;
}

enum filter_hint filter_hints_ask(const struct filter_hints *h, const uint8_t *text, size_t len)
{
	if (!has_front(h, text, len))
		return HINT_NO;
	if (h->is_whole) {
		/* $ is before a last line feed, too. */
		if (h->has_end && len != h->front_len &&
		    !(len == h->front_len + 1U && text[h->front_len] == '\n'))
			return HINT_NO;
		return HINT_YES;
	}
	return h->literal_len && !has_literal(h, text, len) ? HINT_NO : HINT_MAYBE;
}
