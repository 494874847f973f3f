/**
 * @file
 * Values of options: text into a field, field into text, compare, free. What a field looks like in
 * memory is said by the option's type (options.h).
 *
 * A base is the struct conf, or the entry for options of a group. A field that
 * was never set is all zero bytes, which every function here takes.
 * Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "conf/complain.h"
#include "conf/err.h"
#include "conf/filter.h"
#include "conf/options.h"

/**
 * Turn text into one value.
 *
 * @param at   The field, or an entry of it; all zero so far.
 * @param why  WHY_BYTES. After HT_ECONF: what is wrong beyond value_expects(), or "".
 * @return HT_OK, HT_ECONF or -ENOMEM.
 */
HT_MUST_CHECK int value_parse(const struct conf_option *o, const char *text, void *at, char *why);

/** Where a condition, an action or a leg that value_parse() refused has its mistake, and which.
 * @return false: it is none of these, or too long, or has control characters. */
bool value_mistake(const struct conf_option *o, const char *text, struct filter_error *error);

/** What value_parse() takes, to complete "expected ...". @return the string at @p out. */
const char *value_expects(const struct conf_option *o, char *out, size_t size);

/** Print one value so that value_parse() takes it, as a YAML scalar. */
void value_print(const struct conf_option *o, const void *at, FILE *out);

/* The values of an option: one, or the entries of a list. */
struct field {
	char *at; /* the first */
	size_t count;
	size_t bytes; /* of each */
};

/** Make room for @p count values (1 if the option is not a list). @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int field_make(const struct conf_option *o, void *base, size_t count,
			     struct field *out);

/** The values there are. What is not const in @p out is so only if @p base is not. */
struct field field_view(const struct conf_option *o, const void *base);

bool field_is_equal(const struct conf_option *o, const void *base, const void *other_base);

/** Free what the field owns, erasing secrets, and leave it all zero. */
void field_fini(const struct conf_option *o, void *base);
