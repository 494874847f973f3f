/* Text and source of a scalar, read side by side. */
#include "conf/place.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "conf/tree.h"

struct place {
	const uint8_t *at, *end;
	struct mark mark;
	size_t indent; /* of a block */
};

static int next(const struct place *p)
{
	return p->at < p->end ? *p->at : -1;
}

static bool is_break(int c)
{
	return c == '\n' || c == '\r';
}

static bool is_blank(int c)
{
	return c == ' ' || c == '\t';
}

static bool is_inside(uint8_t octet)
{
	return (octet & 0xc0) == 0x80; /* of a character of UTF-8 */
}

/* Over one character; CR LF is one. */
static void step(struct place *p)
{
	int c = next(p);

	if (c < 0)
		return;
	p->at++;
	if (is_break(c)) {
		if (c == '\r' && next(p) == '\n')
			p->at++;
		p->mark = (struct mark){ p->mark.line + 1, 1 };
		return;
	}
	while (p->at < p->end && is_inside(*p->at))
		p->at++;
	p->mark.column++;
}

static void steps(struct place *p, size_t n)
{
	while (n--)
		step(p);
}

static void skip_blanks(struct place *p)
{
	while (is_blank(next(p)))
		step(p);
}

static bool is_block(const struct tree *t)
{
	return t->style == TREE_LITERAL || t->style == TREE_FOLDED;
}

/* Does the line end here, but for blanks? */
static bool is_at_fold(const struct place *p)
{
	const uint8_t *at = p->at;

	while (at < p->end && is_blank(*at))
		at++;
	return at < p->end && is_break(*at);
}

/* Line breaks in the source are a space or fewer breaks in the text. */
static void skip_fold(struct place *p)
{
	while (is_at_fold(p)) {
		skip_blanks(p);
		step(p);
	}
	skip_blanks(p);
}

static void skip_indent(struct place *p)
{
	for (size_t i = 0; i < p->indent && next(p) == ' '; i++)
		step(p);
}

/* Over a backslash and what it stands before; what ends in a line break is nothing in the text. */
static void skip_escape(struct place *p)
{
	step(p);
	switch (next(p)) {
	case 'x':
		steps(p, 3);
		break;
	case 'u':
		steps(p, 5);
		break;
	case 'U':
		steps(p, 9);
		break;
	default:
		step(p);
	}
}

static void skip_continuations(struct place *p)
{
	while (next(p) == '\\' && p->at + 1 < p->end && is_break(p->at[1])) {
		steps(p, 2);
		skip_blanks(p);
	}
}

/* Over what one character of a flow scalar is in the source. */
static void skip_flow(struct place *p, const struct tree *t, char c)
{
	if (t->style == TREE_DOUBLE && next(p) == '\\')
		skip_escape(p);
	else if ((c == ' ' || c == '\n') && is_at_fold(p))
		skip_fold(p);
	else if (t->style == TREE_SINGLE && next(p) == '\'')
		steps(p, 2);
	else if (c != '\n') /* one of several, for which the fold is behind us */
		step(p);
	if (t->style == TREE_DOUBLE)
		skip_continuations(p);
}

static void skip_in_block(struct place *p, const struct tree *t, const char *text)
{
	bool is_over = is_break(next(p));

	step(p);
	if (!is_over)
		return;
	/* What is folded has a break more than the text has. */
	if (t->style == TREE_FOLDED && text[0] == '\n' && text[1] != '\n' && is_break(next(p)))
		step(p);
	skip_indent(p);
}

/* To the first character. */
static void enter(struct place *p, const struct tree *t)
{
	size_t spaces = 0;

	if (t->style == TREE_SINGLE || t->style == TREE_DOUBLE)
		step(p);
	if (t->style == TREE_DOUBLE)
		skip_continuations(p);
	if (!is_block(t))
		return;
	while (next(p) >= 0 && !is_break(next(p)))
		step(p);
	step(p);
	while (p->at + spaces < p->end && p->at[spaces] == ' ')
		spaces++;
	p->indent = spaces - (spaces < strspn(t->text, " ") ? spaces : strspn(t->text, " "));
	skip_indent(p);
}

static void find(struct place *p, struct mark at)
{
	if (p->end - p->at >= 3 && memcmp(p->at, "\357\273\277", 3) == 0)
		p->at += 3;
	while (p->at < p->end && p->mark.line < at.line)
		step(p);
	while (p->at < p->end && p->mark.column < at.column && !is_break(next(p)))
		step(p);
}

struct mark place_in_scalar(const void *bytes, size_t len, const struct tree *t, size_t offset)
{
	struct place p = { .at = bytes, .end = (const uint8_t *)bytes + len, .mark = { 1, 1 } };
	const char *text = t->text;

	find(&p, t->at);
	enter(&p, t);
	for (size_t i = 0; i < offset && text[i]; i++) {
		if (is_inside((uint8_t)text[i]))
			continue;
		if (is_block(t))
			skip_in_block(&p, t, text + i);
		else
			skip_flow(&p, t, text[i]);
	}
	return p.mark;
}
