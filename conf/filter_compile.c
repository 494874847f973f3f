/* Trees into one array of tests; actions; scopes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/filter_lex.h"
#include "conf/filter_probe.h"
#include "conf/filter_tree.h"

#define DIGITS	     "0123456789"
#define LIMIT_DIGITS 9

/* ---- actions ---- */

static const char action_expected[] = "expected store, drop, sample N% or limit N/s";

/* "12.5%" in parts of FILTER_SAMPLE_ALL. */
static int parse_percent(const char *text, size_t at, uint32_t *out, struct filter_error *error)
{
	size_t whole = strspn(text + at, DIGITS), places = 0, end = at + whole;
	uint32_t n = 0;

	if (text[end] == '.')
		places = strspn(text + end + 1, DIGITS);
	if (whole == 0 || whole > 3 || (text[end] == '.' && (places == 0 || places > 3)))
		return filter_fail(error, at,
				   "expected a percentage from 0 to 100, with at most "
				   "3 decimal places");
	for (size_t i = at; i < end; i++)
		n = n * 10 + (uint32_t)(text[i] - '0');
	for (size_t i = 1; i <= 3; i++)
		n = n * 10 + (i <= places ? (uint32_t)(text[end + i] - '0') : 0);
	if (n > FILTER_SAMPLE_ALL)
		return filter_fail(error, at,
				   "expected a percentage from 0 to 100, with at most "
				   "3 decimal places");
	end += places ? places + 1 : 0;
	if (strcmp(text + end, "%") != 0)
		return filter_fail(error, end, "expected %% and then the end");
	*out = n;
	return HT_OK;
}

static int parse_rate(const char *text, size_t at, uint32_t *out, struct filter_error *error)
{
	size_t len = strspn(text + at, DIGITS);

	if (len == 0 || len > LIMIT_DIGITS)
		return filter_fail(error, at, "expected a number of at most %d digits",
				   LIMIT_DIGITS);
	if (strcmp(text + at + len, "/s") != 0)
		return filter_fail(error, at + len, "expected /s and then the end");
	*out = (uint32_t)strtoul(text + at, NULL, 10);
	return HT_OK;
}

int filter_verdict_parse(const char *action, struct filter_verdict *out, struct filter_error *error)
{
	size_t len = strcspn(action, " "), at = len + strspn(action + len, " ");

	*out = (struct filter_verdict){ 0 };
	if (len == 6 && strncmp(action, "sample", len) == 0) {
		out->action = FILTER_SAMPLE;
		return parse_percent(action, at, &out->amount, error);
	}
	if (len == 5 && strncmp(action, "limit", len) == 0) {
		out->action = FILTER_LIMIT;
		return parse_rate(action, at, &out->amount, error);
	}
	out->action = strcmp(action, "drop") == 0 ? FILTER_DROP : FILTER_STORE;
	if (out->action == FILTER_STORE && strcmp(action, "store") != 0)
		return filter_fail(error, 0, "%s", action_expected);
	return HT_OK;
}

/* ---- conditions ---- */

/*
 * The tests of a node, last one first, so that where each of them goes on is known. @return the
 * first one to run. As deep as there are terms and brackets, which the length bounds.
 */
static uint32_t emit(struct filter_program *p, struct filter_tree *tree, uint32_t node,
		     uint32_t yes, uint32_t no)
{
	struct filter_node *n = &tree->nodes[node];
	struct filter_test *t;

	switch (n->kind) {
	case NODE_NOT:
		return emit(p, tree, n->left, no, yes);
	case NODE_AND:
		return emit(p, tree, n->left, emit(p, tree, n->right, yes, no), no);
	case NODE_OR:
		return emit(p, tree, n->left, yes, emit(p, tree, n->right, yes, no));
	case NODE_TEST:
		break;
	}
	t = &p->tests[p->test_count];
	*t = n->test;
	n->test = (struct filter_test){ 0 };
	t->yes = yes;
	t->no = no;
	return p->test_count++;
}

static int take_tests(struct filter_program *p, struct filter_tree *tree, uint32_t *first)
{
	struct filter_test *tests =
		realloc(p->tests, (p->test_count + tree->count) * sizeof(*tests));

	if (!tests)
		return -ENOMEM;
	p->tests = tests;
	*first = emit(p, tree, tree->root, FILTER_YES, FILTER_NO);
	return HT_OK;
}

static enum filter_scope scope_of(const struct filter_tree *tree)
{
	return tree->is_of_message ? FILTER_SCOPE_MESSAGE : FILTER_SCOPE_DIALOG;
}

static int compile_rule(struct filter_program *p, const struct filter_source *source,
			struct filter_names *names, struct filter_error *error)
{
	struct filter_rule *r = &p->rules[p->rule_count++];
	struct filter_tree tree;
	int err = filter_parse(source->when, names, &tree, error);

	if (err == HT_OK)
		err = filter_verdict_parse(source->action, &r->verdict, error);
	if (err == HT_OK)
		err = take_tests(p, &tree, &r->first);
	if (err == HT_OK) {
		r->scope = source->scope == FILTER_SCOPE_AUTO ? scope_of(&tree) : source->scope;
		r->name = strdup(source->name);
		r->table = strdup(source->table);
		if (!r->name || !r->table)
			err = -ENOMEM;
	}
	filter_tree_fini(&tree);
	return err;
}

int filter_compile(const struct filter_source *rules, size_t count, const char *otherwise,
		   struct filter_program **out, size_t *failed, struct filter_error *error)
{
	struct filter_program *p = calloc(1, sizeof(*p));
	struct filter_names names = { 0 };
	int err = HT_OK;

	if (!p)
		return -ENOMEM;
	names.at = p->headers;
	p->rules = calloc(count + 1, sizeof(*p->rules));
	if (!p->rules)
		err = -ENOMEM;
	for (*failed = 0; err == HT_OK && *failed < count; ++*failed) {
		err = compile_rule(p, &rules[*failed], &names, error);
		if (err < 0)
			break;
	}
	if (err == HT_OK)
		err = filter_verdict_parse(otherwise, &p->otherwise, error);
	p->header_count = names.count;
	if (err == HT_OK)
		err = filter_probes_build(p);
	if (err < 0)
		filter_free(p);
	else
		*out = p;
	return err;
}

void filter_free(struct filter_program *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->test_count; i++)
		filter_test_fini(&p->tests[i]);
	for (uint32_t i = 0; i < p->rule_count; i++) {
		free(p->rules[i].name);
		free(p->rules[i].table);
	}
	filter_probes_free(p);
	free(p->tests);
	free(p->rules);
	free(p);
}

/* A condition alone. */
static int parse_alone(const char *when, struct filter_error *error, enum filter_scope *scope)
{
	struct filter_header headers[FILTER_MAX_HEADERS];
	struct filter_names names = { .at = headers };
	struct filter_tree tree;
	int err = filter_parse(when, &names, &tree, error);

	*scope = scope_of(&tree);
	filter_tree_fini(&tree);
	return err;
}

int filter_check(const char *when, struct filter_error *error)
{
	enum filter_scope scope;

	return parse_alone(when, error, &scope);
}

enum filter_scope filter_scope_of(const char *when)
{
	struct filter_error error;
	enum filter_scope scope;

	(void)!parse_alone(when, &error, &scope);
	return scope;
}
