/* libyaml's events into a tree. The only file that includes yaml.h. */
#include "conf/tree.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct builder {
	struct complaints *say;
	struct tree *root;
	struct tree *open[TREE_MAX_DEPTH]; /* lists and sections that have begun, outermost first */
	size_t depth;
	size_t nodes;
	unsigned documents;
};

static struct mark mark_of(yaml_mark_t m)
{
	return (struct mark){ .line = (unsigned)m.line + 1, .column = (unsigned)m.column + 1 };
}

void tree_free(struct tree *t)
{
	struct tree *next;

	if (!t)
		return;
	for (struct tree *child = t->first; child; child = next) {
		next = child->next;
		tree_free(child); /* at most TREE_MAX_DEPTH deep */
	}
	free(t->text);
	free(t);
}

static void attach(struct builder *b, struct tree *t)
{
	struct tree *parent;

	if (b->depth == 0) {
		b->root = t;
		return;
	}
	parent = b->open[b->depth - 1];
	if (parent->last)
		parent->last->next = t;
	else
		parent->first = t;
	parent->last = t;
	parent->count++;
}

static int add(struct builder *b, enum tree_kind kind, yaml_mark_t at, struct tree **out)
{
	struct tree *t;

	if (b->nodes++ == TREE_MAX_NODES) {
		complain(b->say, mark_of(at), "more than %d values", TREE_MAX_NODES);
		return HT_ECONF;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->kind = kind;
	t->at = mark_of(at);
	attach(b, t);
	*out = t;
	return HT_OK;
}

/*
 * The value is read on, so that what is inside it is complained about too. The name is not shown,
 * since it may be the beginning of a password that lacks its quotes.
 */
static void refuse_extras(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
			  yaml_mark_t at)
{
	if (anchor)
		complain(b->say, mark_of(at), "anchors are not taken; quote what begins with &");
	if (tag)
		complain(b->say, mark_of(at), "tags are not taken; quote what begins with !");
}

static enum tree_style style_of(yaml_scalar_style_t style)
{
	switch (style) {
	case YAML_SINGLE_QUOTED_SCALAR_STYLE:
		return TREE_SINGLE;
	case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
		return TREE_DOUBLE;
	case YAML_LITERAL_SCALAR_STYLE:
		return TREE_LITERAL;
	case YAML_FOLDED_SCALAR_STYLE:
		return TREE_FOLDED;
	default:
		return TREE_PLAIN;
	}
}

static int add_scalar(struct builder *b, const yaml_event_t *e)
{
	const yaml_char_t *value = e->data.scalar.value;
	struct tree *t;
	int err = add(b, TREE_SCALAR, e->start_mark, &t);

	if (err < 0)
		return err;
	refuse_extras(b, e->data.scalar.anchor, e->data.scalar.tag, e->start_mark);
	if (memchr(value, '\0', e->data.scalar.length)) {
		complain(b->say, t->at, "a NUL byte in a value");
		t->kind = TREE_REFUSED;
		return HT_OK;
	}
	t->style = style_of(e->data.scalar.style);
	t->text = strdup((const char *)value);
	return t->text ? HT_OK : -ENOMEM;
}

static int add_alias(struct builder *b, const yaml_event_t *e)
{
	struct tree *t;
	int err = add(b, TREE_REFUSED, e->start_mark, &t);

	if (err == HT_OK)
		complain(b->say, t->at, "aliases are not taken; quote what begins with *");
	return err;
}

static int open_value(struct builder *b, enum tree_kind kind, yaml_mark_t at)
{
	struct tree *t;
	int err;

	if (b->depth == TREE_MAX_DEPTH) {
		complain(b->say, mark_of(at), "nested deeper than %d levels", TREE_MAX_DEPTH);
		return HT_ECONF;
	}
	err = add(b, kind, at, &t);
	if (err == HT_OK)
		b->open[b->depth++] = t;
	return err;
}

static int begin_document(struct builder *b, const yaml_event_t *e)
{
	if (b->documents++ == 0)
		return HT_OK;
	complain(b->say, mark_of(e->start_mark), "a second document; a configuration is one");
	return HT_ECONF;
}

static int take_event(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return begin_document(b, e);
	case YAML_ALIAS_EVENT:
		return add_alias(b, e);
	case YAML_SCALAR_EVENT:
		return add_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		refuse_extras(b, e->data.sequence_start.anchor, e->data.sequence_start.tag,
			      e->start_mark);
		return open_value(b, TREE_LIST, e->start_mark);
	case YAML_MAPPING_START_EVENT:
		refuse_extras(b, e->data.mapping_start.anchor, e->data.mapping_start.tag,
			      e->start_mark);
		return open_value(b, TREE_SECTION, e->start_mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return HT_OK;
	default:
		return HT_OK;
	}
}

/*
 * libyaml gives errors of its decoder a byte offset only. Columns count characters, as its marks
 * do.
 */
static struct mark mark_at_offset(const uint8_t *bytes, size_t len, size_t offset)
{
	struct mark m = { .line = 1, .column = 1 };

	for (size_t i = 0; i < offset && i < len; i++) {
		if (bytes[i] == '\n')
			m = (struct mark){ .line = m.line + 1, .column = 1 };
		else if ((bytes[i] & 0xc0) != 0x80)
			m.column++;
	}
	return m;
}

static int syntax_error(const yaml_parser_t *p, struct complaints *say, const void *bytes,
			size_t len)
{
	switch (p->error) {
	case YAML_MEMORY_ERROR:
		return -ENOMEM;
	case YAML_READER_ERROR:
		complain(say, mark_at_offset(bytes, len, p->problem_offset), "not UTF-8 text: %s",
			 p->problem);
		return HT_ECONF;
	default:
		break;
	}
	if (p->context)
		complain(say, mark_of(p->problem_mark), "not YAML: %s (%s that begins in line %u)",
			 p->problem, p->context, mark_of(p->context_mark).line);
	else
		complain(say, mark_of(p->problem_mark), "not YAML: %s", p->problem);
	return HT_ECONF;
}

static int take_all(yaml_parser_t *p, struct builder *b, const void *bytes, size_t len)
{
	bool is_end = false;
	yaml_event_t e;
	int err = HT_OK;

	while (err == HT_OK && !is_end) {
		if (!yaml_parser_parse(p, &e))
			return syntax_error(p, b->say, bytes, len);
		err = take_event(b, &e);
		is_end = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
	}
	return err;
}

int tree_read(const void *bytes, size_t len, struct complaints *say, struct tree **out)
{
	struct builder b = { .say = say };
	yaml_parser_t p;
	int err;

	*out = NULL;
	if (len > TREE_MAX_BYTES) {
		complain(say, (struct mark){ 1, 1 }, "larger than 1 MiB");
		return HT_ECONF;
	}
	if (!yaml_parser_initialize(&p))
		return -ENOMEM;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, len ? bytes : (const void *)"", len);
	err = take_all(&p, &b, bytes, len);
	yaml_parser_delete(&p);
	*out = b.root;
	return err;
}
