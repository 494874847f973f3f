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

static bool is_in_group(size_t row, int group)
{
	const struct conf_option *o = conf_option_at(row);

	return o && conf_option_group(o) == group;
}

static void print_entry(const void *entry, size_t row, int group, FILE *out)
{
	for (size_t i = row; is_in_group(i, group); i++) {
		fputs(i == row ? INDENT "- " : INDENT INDENT, out);
		print_option(conf_option_at(i), entry, out);
	}
}

/* All entries of the group whose options begin at @p row. @return the row behind them. */
static size_t print_group(const struct conf *conf, size_t row, FILE *out)
{
	int group = conf_option_group(conf_option_at(row));
	const struct conf_group *g = conf_group_at((size_t)group);

	fprintf(out, "%s:%s\n", g->name, conf_group_count(g, conf) ? "" : " []");
	for (size_t i = 0; i < conf_group_count(g, conf); i++)
		print_entry(conf_group_entry(g, conf, i), row, group, out);
	while (is_in_group(row, group))
		row++;
	return row;
}

void conf_print(const struct conf *conf, FILE *out)
{
	const struct conf_option *o;
	const char *before = "";
	size_t i = 0;

	while ((o = conf_option_at(i))) {
		if (conf_option_group(o) >= 0) {
			i = print_group(conf, i, out);
			continue;
		}
		indent(print_sections(before, o->key, out), out);
		print_option(o, conf, out);
		before = o->key;
		i++;
	}
}

/* Entries are compared in their order; what only one side has is a matter of the group's name. */
static bool is_equal_in_group(const struct conf_option *o, const struct conf *a,
			      const struct conf *b)
{
	const struct conf_group *g = conf_group_at((size_t)conf_option_group(o));

	for (size_t i = 0; i < conf_group_count(g, a) && i < conf_group_count(g, b); i++) {
		if (!field_is_equal(o, conf_group_entry(g, a, i), conf_group_entry(g, b, i)))
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

	for (size_t i = 0; i < CONF_GROUPS; i++) {
		const struct conf_group *g = conf_group_at(i);

		if (g->is_reloaded || conf_group_count(g, running) == conf_group_count(g, fresh))
			continue;
		differ(ctx, g->name);
		count++;
	}
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		is_equal = conf_option_group(o) >= 0 ? is_equal_in_group(o, running, fresh)
						     : field_is_equal(o, running, fresh);
		if (o->when != CONF_RESTART || is_equal)
			continue;
		differ(ctx, o->key);
		count++;
	}
	return count;
}
