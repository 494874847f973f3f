/*
 * Any bytes as a configuration: it is read, or it is complained about, and what is printed reads
 * back the same.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/conf.h"
#include "conf/options.h"
#include "conf/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "fuzz:LINE:COLUMN: " in front of something, LINE and COLUMN from 1. */
static int is_complaint(const char *line)
{
	unsigned row, column;
	int used = 0;

	return sscanf(line, "fuzz:%u:%u: %n", &row, &column, &used) == 2 && used > 0 && row > 0 &&
	       column > 0 && line[used];
}

/* Every line is one complaint, and nothing in it can move a terminal's cursor. */
static void check_complaints(char *text)
{
	char *save = NULL;
	size_t count = 0;

	for (char *c = text; *c; c++)
		assert(*c == '\n' || ((unsigned char)*c >= 0x20 && *c != 0x7f));
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		assert(is_complaint(l));
		count++;
	}
	assert(count > 0 && count <= COMPLAINTS_MAX + 1);
}

static int read_bytes(const void *bytes, size_t len, struct conf **out)
{
	char *text = NULL;
	size_t text_len;
	FILE *f = open_memstream(&text, &text_len);
	int err = conf_read_bytes("fuzz", bytes, len, out, f);

	fclose(f);
	assert(err == HT_OK || err == HT_ECONF);
	assert((err == HT_OK) == (text_len == 0));
	assert(strlen(text) == text_len);
	if (err < 0)
		check_complaints(text);
	free(text);
	return err;
}

static char *print_of(const struct conf *conf, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	conf_print(conf, f);
	fclose(f);
	return text;
}

/*
 * What is not printed cannot come back, so it goes before the comparison: fini and a new, empty
 * value.
 */
static void drop_secrets(const struct conf_option *o, void *base)
{
	struct field f;
	char why[WHY_BYTES];
	int err;

	if (!o->is_secret)
		return;
	field_fini(o, base);
	err = field_make(o, base, 0, &f);
	if (err == HT_OK && !conf_option_is_list(o))
		err = value_parse(o, "", f.at, why);
	assert(err == HT_OK);
}

static void drop_all_secrets(struct conf *conf)
{
	const struct conf_option *o;

	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		const struct conf_group *g;

		if (conf_option_group(o) < 0) {
			drop_secrets(o, conf);
			continue;
		}
		g = conf_group_at((size_t)conf_option_group(o));
		for (size_t n = 0; n < conf_group_count(g, conf); n++)
			drop_secrets(o, conf_group_entry(g, conf, n));
	}
}

static void differs(void *ctx, const char *key)
{
	(void)ctx;
	(void)key;
}

static void check_round_trip(struct conf *conf)
{
	size_t len, again_len;
	char *text, *again;
	struct conf *back;
	int err;

	free(print_of(conf, &len)); /* with its secrets */
	drop_all_secrets(conf);
	text = print_of(conf, &len);
	err = read_bytes(text, len, &back);
	assert(err == HT_OK);
	again = print_of(back, &again_len);
	assert(len == again_len && memcmp(text, again, len) == 0);
	assert(conf_restart_keys(conf, back, differs, NULL) == 0);
	free(text);
	free(again);
	conf_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf;

	if (read_bytes(data, size, &conf) == HT_OK) {
		check_round_trip(conf);
		conf_free(conf);
	}
	return 0;
}
