/* The nearest key by edit distance. */
#include "conf/suggest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "conf/options.h"

#define NAME_BYTES 32 /* longer than any name in the table */

/*
 * The row's name in the section of @p prefix: "spool" of "storage.spool.max" behind "storage.".
 * @return length or 0.
 */
static size_t name_in_section(const struct conf_option *o, const char *prefix, const char **name)
{
	size_t len = strlen(prefix);

	if (strncmp(o->key, prefix, len) != 0)
		return 0;
	*name = o->key + len;
	return strcspn(*name, ".[");
}

/*
 * The next name of the section that is not that of the row before; "" behind the last. @p row goes
 * on.
 */
static void next_name(const char *prefix, size_t *row, char out[NAME_BYTES])
{
	const struct conf_option *o;
	char last[NAME_BYTES];
	const char *name;
	size_t len;

	memcpy(last, out, sizeof(last));
	while ((o = conf_option_at((*row)++))) {
		len = name_in_section(o, prefix, &name);
		snprintf(out, NAME_BYTES, "%.*s", (int)len, len ? name : "");
		if (len && strcmp(out, last) != 0)
			return;
	}
	out[0] = '\0';
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/*
 * Letters to insert, delete, replace or exchange with their neighbour. Both are shorter than
 * NAME_BYTES.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t d[NAME_BYTES][NAME_BYTES], la = strlen(a), lb = strlen(b);

	for (size_t i = 0; i <= la; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		for (size_t j = 1; j <= lb; j++) {
			size_t change = a[i - 1] == b[j - 1] ? 0 : 1;

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min3(d[i][j], d[i - 2][j - 2] + 1, d[i][j]);
		}
	}
	return d[la][lb];
}

/* Two letters of a long name may be wrong, one of a short. */
static size_t distance_allowed(const char *name)
{
	return strlen(name) > 4 ? 2 : 1;
}

static bool nearest_name(const char *prefix, const char *word, char out[NAME_BYTES])
{
	size_t best = NAME_BYTES, distance, row = 0;
	char name[NAME_BYTES] = "";

	if (strlen(word) >= NAME_BYTES)
		return false;
	for (next_name(prefix, &row, name); name[0]; next_name(prefix, &row, name)) {
		distance = edit_distance(word, name);
		if (distance > distance_allowed(name) || distance >= best)
			continue;
		best = distance;
		memcpy(out, name, NAME_BYTES);
	}
	return best < NAME_BYTES;
}

const char *suggest_key(const char *prefix, const char *word, char *out, size_t size)
{
	char name[NAME_BYTES] = "";
	size_t len, row = 0;

	if (nearest_name(prefix, word, name)) {
		snprintf(out, size, "did you mean %s?", name);
		return out;
	}
	len = (size_t)snprintf(out, size, "keys here:");
	name[0] = '\0';
	for (next_name(prefix, &row, name); name[0]; next_name(prefix, &row, name)) {
		if (len < size)
			len += (size_t)snprintf(out + len, size - len, " %s,", name);
	}
	out[(len < size ? len : size) - 1] = '\0'; /* the last comma */
	return out;
}
