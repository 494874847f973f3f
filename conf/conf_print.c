/* A struct conf as YAML, and two of them compared. */
#include <string.h>

#include "conf/conf.h"
#include "conf/options.h"
#include "conf/values.h"

#define INDENT "  "

static void indent(size_t depth, FILE *out)
{
	while (depth-- > 0)
		fputs(INDENT, out);
}

/* One line without its indentation. A secret becomes a comment: the output is shown around. */
static void print_option(const struct conf_option *o, const void *base, FILE *out)
{
	struct field f = field_view(o, base);
	bool is_list = conf_option_is_list(o);
	const char *leaf;
	int len = (int)conf_option_leaf(o, &leaf);

	if (o->is_secret && is_list && f.count) {
		fprintf(out, "# %.*s: ['***'] (%zu set)\n", len, leaf, f.count);
		return;
	}
	if (o->is_secret && !is_list && **(char **)(void *)f.at) {
		fprintf(out, "# %.*s: '***' (set)\n", len, leaf);
		return;
	}
	fprintf(out, "%.*s: %s", len, leaf, is_list ? "[" : "");
	for (size_t i = 0; i < f.count; i++) {
		fputs(i ? ", " : "", out);
		value_print(o, f.at + i * f.bytes, out);
	}
	fputs(is_list ? "]\n" : "\n", out);
}

/* The sections of a key that are not open since the key before. @return how deep the key is. */
static size_t print_sections(const char *before, const char *key, FILE *out)
{
	size_t depth = 0;
	const char *dot;

	for (const char *part = key; (dot = strchr(part, '.')); part = dot + 1, depth++) {
		if (strncmp(before, key, (size_t)(dot + 1 - key)) == 0)
			continue;
		indent(depth, out);
		fprintf(out, "%.*s:\n", (int)(dot - part), part);
	}
	return depth;
}

/* The rows of a listener, from @p row on. @return the row behind them. */
static size_t print_listener(const struct conf_listener *l, size_t row, FILE *out)
{
	const struct conf_option *o;

	for (size_t i = row; (o = conf_option_at(i)) && conf_option_is_of_listener(o); i++) {
		fputs(i == row ? INDENT "- " : INDENT INDENT, out);
		print_option(o, l, out);
	}
	while ((o = conf_option_at(row)) && conf_option_is_of_listener(o))
		row++;
	return row;
}

static size_t print_listeners(const struct conf *conf, size_t row, FILE *out)
{
	size_t next = row;

	fputs("hep:\n", out);
	for (size_t i = 0; i < conf->hep_count; i++)
		next = print_listener(&conf->hep[i], row, out);
	return next;
}

void conf_print(const struct conf *conf, FILE *out)
{
	const struct conf_option *o;
	const char *before = "";
	size_t i = 0;

	while ((o = conf_option_at(i))) {
		if (conf_option_is_of_listener(o)) {
			i = print_listeners(conf, i, out);
			continue;
		}
		indent(print_sections(before, o->key, out), out);
		print_option(o, conf, out);
		before = o->key;
		i++;
	}
}

/* Listeners are compared in their order; what only one side has is a matter of "hep". */
static bool is_equal_in_listeners(const struct conf_option *o, const struct conf *a,
				  const struct conf *b)
{
	for (size_t i = 0; i < a->hep_count && i < b->hep_count; i++) {
		if (!field_is_equal(o, &a->hep[i], &b->hep[i]))
			return false;
	}
	return true;
}

size_t conf_restart_keys(const struct conf *running, const struct conf *fresh,
			 void (*differ)(void *ctx, const char *key), void *ctx)
{
	const struct conf_option *o;
	size_t count = 0;
	bool is_equal;

	if (running->hep_count != fresh->hep_count) {
		differ(ctx, "hep");
		count++;
	}
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		is_equal = conf_option_is_of_listener(o) ? is_equal_in_listeners(o, running, fresh)
							 : field_is_equal(o, running, fresh);
		if (o->when != CONF_RESTART || is_equal)
			continue;
		differ(ctx, o->key);
		count++;
	}
	return count;
}
