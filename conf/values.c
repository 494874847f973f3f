/* Values of options: one row of functions per type. */
#include "conf/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/expression.h"
#include "conf/leg.h"
#include "conf/net.h"

#define DIGITS		 "0123456789"
#define LETTERS		 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define IDENTIFIER_CHARS LETTERS DIGITS "_$"
#define TOKEN_CHARS	 LETTERS DIGITS "-.!%*_+`'~" /* RFC 3261 section 25.1 */

_Static_assert(sizeof(enum conf_compat) == sizeof(unsigned), "enums are written as unsigned");

struct type_ops {
	size_t bytes; /* of one value in memory */
	int (*parse)(const struct conf_option *o, const char *text, void *at, char *why);
	void (*expects)(const struct conf_option *o, char *out, size_t size);
	void (*print)(const struct conf_option *o, const void *at, FILE *out);
	bool (*is_equal)(const void *a, const void *b);
	void (*fini)(const struct conf_option *o, void *at);
};

/* Strings. */

static uint32_t utf8_next(const unsigned char **at)
{
	const unsigned char *c = *at;
	unsigned more = c[0] < 0xc0 ? 0 : c[0] < 0xe0 ? 1 : c[0] < 0xf0 ? 2 : 3;
	uint32_t code = more ? c[0] & (0x3fU >> more) : c[0];

	for (c++; more && (*c & 0xc0) == 0x80; more--)
		code = code << 6 | (*c++ & 0x3fU);
	*at = c;
	return code;
}

/*
 * Characters that do not come back from a quoted YAML scalar on one line, and that no name or path
 * needs.
 */
static bool has_control_character(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		uint32_t c = utf8_next(&at);

		if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
		    c == 0xfeff || c == 0xfffe || c == 0xffff)
			return true;
	}
	return false;
}

static int string_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	size_t len = strlen(text);
	char **out = at;

	if (len < o->min || len > o->max)
		return HT_ECONF;
	if (has_control_character(text)) {
		snprintf(why, WHY_BYTES, "it has a control character");
		return HT_ECONF;
	}
	*out = strdup(text);
	return *out ? HT_OK : -ENOMEM;
}

static int identifier_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	return text[strspn(text, IDENTIFIER_CHARS)] ? HT_ECONF : string_take(o, text, at, why);
}

static int header_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	return text[strspn(text, TOKEN_CHARS)] ? HT_ECONF : string_take(o, text, at, why);
}

static int bpf_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	int err = strlen(text) <= o->max ? expression_check(text, why) : HT_ECONF;

	return err < 0 ? err : string_take(o, text, at, why);
}

bool value_mistake(const struct conf_option *o, const char *text, struct filter_error *error)
{
	struct filter_verdict verdict;

	if (o->type == CONF_CONDITION)
		return filter_check(text, error) == HT_ECONF;
	if (o->type == CONF_LEG)
		return leg_check(text, error) == HT_ECONF;
	return o->type == CONF_ACTION && filter_verdict_parse(text, &verdict, error) == HT_ECONF;
}

static int leg_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	struct filter_error error;
	int err = leg_check(text, &error);

	return err < 0 ? err : string_take(o, text, at, why);
}

static void leg_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size,
		 "a header, perhaps with =~ \"EXPRESSION\", of at most %" PRIu64 " octets", o->max);
}

/* On one line: line breaks and tabs are outside its strings, and so no more than blanks. */
static int condition_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	struct filter_error error;
	int err = *text ? filter_check(text, &error) : HT_OK;
	char *copy;

	if (err < 0)
		return err;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	for (char *c = copy; *(c += strcspn(c, "\n\r\t")); c++)
		*c = ' ';
	for (size_t len = strlen(copy); len && copy[len - 1] == ' '; len--)
		copy[len - 1] = '\0';
	err = string_take(o, copy, at, why);
	free(copy);
	return err;
}

static void condition_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "a condition of at most %d octets", FILTER_MAX_OCTETS);
}

static int action_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	struct filter_verdict verdict;
	struct filter_error error;
	char **out = at;

	(void)o;
	(void)why;
	if (filter_verdict_parse(text, &verdict, &error) < 0)
		return HT_ECONF;
	*out = strdup(text);
	return *out ? HT_OK : -ENOMEM;
}

static void action_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "store, drop, sample N%% or limit N/s");
}

static void bpf_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size, "a packet filter of at most %" PRIu64 " octets", o->max);
}

static void string_expects(const struct conf_option *o, char *out, size_t size)
{
	if (o->min == 0)
		snprintf(out, size, "a string of at most %" PRIu64 " octets", o->max);
	else
		snprintf(out, size, "a string of %" PRIu64 " to %" PRIu64 " octets", o->min,
			 o->max);
}

static void identifier_expects(const struct conf_option *o, char *out, size_t size)
{
	if (o->min == 0)
		snprintf(out, size, "at most %" PRIu64 " letters, digits, _ or $", o->max);
	else
		snprintf(out, size, "%" PRIu64 " to %" PRIu64 " letters, digits, _ or $", o->min,
			 o->max);
}

static void header_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size, "the name of a header, at most %" PRIu64 " octets", o->max);
}

static void string_print(const struct conf_option *o, const void *at, FILE *out)
{
	const char *const *text = at;

	(void)o;
	fputc('\'', out);
	for (const char *c = *text; *c; c++) {
		if (*c == '\'')
			fputc('\'', out);
		fputc(*c, out);
	}
	fputc('\'', out);
}

static bool string_is_equal(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y) == 0;
}

static void string_fini(const struct conf_option *o, void *at)
{
	char **text = at;

	if (*text && o->is_secret)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* Words. */

static int word_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	size_t len = strlen(text);
	unsigned *out = at, n = 0;

	(void)why;
	for (const char *w = o->words;; n++) {
		size_t word_len = strcspn(w, "|");

		if (word_len == len && memcmp(w, text, len) == 0) {
			*out = n;
			return HT_OK;
		}
		if (!w[word_len])
			return HT_ECONF;
		w += word_len + 1;
	}
}

static void word_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size, "one of %s", o->words);
}

static void word_print(const struct conf_option *o, const void *at, FILE *out)
{
	const char *w = o->words;

	for (unsigned n = *(const unsigned *)at; n > 0; n--)
		w += strcspn(w, "|") + 1;
	fprintf(out, "%.*s", (int)strcspn(w, "|"), w);
}

/* Numbers, with or without a suffix. */

struct suffix {
	const char *name;
	uint64_t factor;
};

static const struct suffix no_suffix[] = { { "", 1 }, { 0 } };
static const struct suffix size_suffixes[] = {
	{ "", 1 },
	{ "K", UINT64_C(1) << 10 },
	{ "M", UINT64_C(1) << 20 },
	{ "G", UINT64_C(1) << 30 },
	{ "T", UINT64_C(1) << 40 },
	{ 0 },
};
static const struct suffix time_suffixes[] = {
	/* in ms */
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { 0 },
};

static const struct suffix *suffix_find(const struct suffix *s, const char *name)
{
	while (s->name && strcmp(s->name, name) != 0)
		s++;
	return s->name ? s : NULL;
}

/* Decimal. A leading 0 is refused: YAML readers do not agree whether 010 is 8. */
static int number_split(const char *text, uint64_t *n, const char **rest)
{
	size_t len = strspn(text, DIGITS);

	if (len == 0 || (len > 1 && text[0] == '0'))
		return HT_ECONF;
	*n = 0;
	for (size_t i = 0; i < len; i++) {
		if (__builtin_mul_overflow(*n, 10U, n) ||
		    __builtin_add_overflow(*n, (uint64_t)(text[i] - '0'), n))
			return HT_ECONF;
	}
	*rest = text + len;
	return HT_OK;
}

/*
 * @p bare is the suffix that is meant when there is none. @return as value_parse(), @p out in units
 * of factor 1.
 */
static int number_scale(const char *text, const struct suffix *suffixes, const char *bare,
			uint64_t *out)
{
	const struct suffix *s;
	const char *rest;
	int err = number_split(text, out, &rest);

	if (err < 0)
		return err;
	s = suffix_find(suffixes, *rest ? rest : bare);
	if (!s || __builtin_mul_overflow(*out, s->factor, out))
		return HT_ECONF;
	return HT_OK;
}

static int range_check(const struct conf_option *o, uint64_t n)
{
	return n < o->min || n > o->max ? HT_ECONF : HT_OK;
}

static int number_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	uint64_t n;

	(void)why;
	if (number_scale(text, no_suffix, "", &n) < 0 || range_check(o, n) < 0)
		return HT_ECONF;
	*(unsigned *)at = (unsigned)n;
	return HT_OK;
}

static int time_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	uint64_t factor = suffix_find(time_suffixes, o->unit)->factor, n;

	if (number_scale(text, time_suffixes, o->unit, &n) < 0)
		return HT_ECONF;
	if (n % factor) {
		snprintf(why, WHY_BYTES, "it is counted in whole %s", o->unit);
		return HT_ECONF;
	}
	*(unsigned *)at = (unsigned)(n / factor);
	return range_check(o, n / factor);
}

static int size_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	uint64_t n;

	(void)why;
	if (number_scale(text, size_suffixes, "", &n) < 0)
		return HT_ECONF;
	*(uint64_t *)at = n;
	return range_check(o, n);
}

static void number_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size, "a number from %" PRIu64 " to %" PRIu64, o->min, o->max);
}

static void time_expects(const struct conf_option *o, char *out, size_t size)
{
	snprintf(out, size, "a time from %" PRIu64 " to %" PRIu64 " %s", o->min, o->max, o->unit);
}

/* With the largest suffix that divides it. */
static void size_text(uint64_t n, char *out, size_t size)
{
	const struct suffix *best = size_suffixes;

	for (const struct suffix *s = size_suffixes; s->name; s++) {
		if (n && n % s->factor == 0)
			best = s;
	}
	snprintf(out, size, "%" PRIu64 "%s", n / best->factor, best->name);
}

static void size_expects(const struct conf_option *o, char *out, size_t size)
{
	char min[32], max[32];

	size_text(o->min, min, sizeof(min));
	size_text(o->max, max, sizeof(max));
	snprintf(out, size, "a size from %s to %s", min, max);
}

static void number_print(const struct conf_option *o, const void *at, FILE *out)
{
	(void)o;
	fprintf(out, "%u", *(const unsigned *)at);
}

static void size_print(const struct conf_option *o, const void *at, FILE *out)
{
	char text[32];

	(void)o;
	size_text(*(const uint64_t *)at, text, sizeof(text));
	fputs(text, out);
}

static bool number_is_equal(const void *a, const void *b)
{
	return *(const unsigned *)a == *(const unsigned *)b;
}

static bool size_is_equal(const void *a, const void *b)
{
	return *(const uint64_t *)a == *(const uint64_t *)b;
}

/* Addresses. */

static int listen_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	(void)o;
	return endpoint_parse_listen(text, at, why);
}

static int address_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	(void)o;
	return endpoint_parse(text, at, why);
}

static int receiver_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	(void)o;
	return endpoint_parse_receiver(text, at, why);
}

static int net_take(const struct conf_option *o, const char *text, void *at, char *why)
{
	(void)o;
	return net_parse(text, at, why);
}

static void listen_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "udp:ADDRESS:PORT or tcp:ADDRESS:PORT (IPv6 in brackets)");
}

static void address_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "ADDRESS:PORT (IPv6 in brackets)");
}

static void receiver_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "udp:ADDRESS:PORT (IPv6 in brackets)");
}

static void net_expects(const struct conf_option *o, char *out, size_t size)
{
	(void)o;
	snprintf(out, size, "an address, or a network such as 10.0.0.0/8");
}

/* No character that a quoted scalar would have to escape can be in an address. */
static void endpoint_put(const struct conf_option *o, const void *at, FILE *out)
{
	const struct conf_endpoint *e = at;

	(void)o;
	fprintf(out, "'%s'", e->text);
}

static void net_put(const struct conf_option *o, const void *at, FILE *out)
{
	(void)o;
	fputc('\'', out);
	net_print(at, out);
	fputc('\'', out);
}

static bool endpoint_cmp(const void *a, const void *b)
{
	return endpoint_is_equal(a, b);
}

static bool net_cmp(const void *a, const void *b)
{
	const struct conf_net *x = a, *y = b;

	return x->prefix == y->prefix && memcmp(x->ip, y->ip, sizeof(x->ip)) == 0;
}

static void nothing_fini(const struct conf_option *o, void *at)
{
	(void)o;
	(void)at;
}

#define STRING_OPS   string_print, string_is_equal, string_fini
#define UNSIGNED_OPS number_is_equal, nothing_fini
#define ENDPOINT_OPS endpoint_put, endpoint_cmp, nothing_fini

static const struct type_ops types[] = {
	[CONF_STRING] = { sizeof(char *), string_take, string_expects, STRING_OPS },
	[CONF_IDENTIFIER] = { sizeof(char *), identifier_take, identifier_expects, STRING_OPS },
	[CONF_HEADER] = { sizeof(char *), header_take, header_expects, STRING_OPS },
	[CONF_LEG] = { sizeof(char *), leg_take, leg_expects, STRING_OPS },
	[CONF_BPF] = { sizeof(char *), bpf_take, bpf_expects, STRING_OPS },
	[CONF_CONDITION] = { sizeof(char *), condition_take, condition_expects, STRING_OPS },
	[CONF_ACTION] = { sizeof(char *), action_take, action_expects, STRING_OPS },
	[CONF_WORD] = { sizeof(unsigned), word_take, word_expects, word_print, UNSIGNED_OPS },
	[CONF_NUMBER] = { sizeof(unsigned), number_take, number_expects, number_print,
			  UNSIGNED_OPS },
	[CONF_TIME] = { sizeof(unsigned), time_take, time_expects, number_print, UNSIGNED_OPS },
	[CONF_SIZE] = { sizeof(uint64_t), size_take, size_expects, size_print, size_is_equal,
			nothing_fini },
	[CONF_LISTEN] = { sizeof(struct conf_endpoint), listen_take, listen_expects, ENDPOINT_OPS },
	[CONF_ADDRESS] = { sizeof(struct conf_endpoint), address_take, address_expects,
			   ENDPOINT_OPS },
	[CONF_RECEIVER] = { sizeof(struct conf_endpoint), receiver_take, receiver_expects,
			    ENDPOINT_OPS },
	[CONF_NET] = { sizeof(struct conf_net), net_take, net_expects, net_put, net_cmp,
		       nothing_fini },
};

int value_parse(const struct conf_option *o, const char *text, void *at, char *why)
{
	why[0] = '\0';
	return types[o->type].parse(o, text, at, why);
}

const char *value_expects(const struct conf_option *o, char *out, size_t size)
{
	types[o->type].expects(o, out, size);
	return out;
}

void value_print(const struct conf_option *o, const void *at, FILE *out)
{
	types[o->type].print(o, at, out);
}

/*
 * Lists of strings live in a struct conf_strings, other lists in an array with its count beside it.
 */
static bool is_strings(const struct conf_option *o)
{
	return conf_option_is_list(o) && types[o->type].bytes == sizeof(char *) &&
	       o->count_offset == 0;
}

int field_make(const struct conf_option *o, void *base, size_t count, struct field *out)
{
	struct conf_strings *strings = (void *)((char *)base + o->offset);

	if (is_strings(o)) {
		strings->at = calloc(count ? count : 1, sizeof(*strings->at));
		if (!strings->at)
			return -ENOMEM;
		strings->count = count;
	} else if (conf_option_is_list(o)) {
		*(size_t *)(void *)((char *)base + o->count_offset) = count;
	}
	*out = field_view(o, base);
	return HT_OK;
}

struct field field_view(const struct conf_option *o, const void *base)
{
	char *at = (char *)base + o->offset;
	const struct conf_strings *strings = (const void *)at;
	struct field f = { .at = at, .count = 1, .bytes = types[o->type].bytes };

	if (is_strings(o)) {
		f.at = (char *)strings->at;
		f.count = strings->count;
	} else if (conf_option_is_list(o)) {
		f.count = *(const size_t *)(const void *)((const char *)base + o->count_offset);
	}
	return f;
}

bool field_is_equal(const struct conf_option *o, const void *base, const void *other_base)
{
	struct field a = field_view(o, base), b = field_view(o, other_base);

	if (a.count != b.count)
		return false;
	for (size_t i = 0; i < a.count; i++) {
		if (!types[o->type].is_equal(a.at + i * a.bytes, b.at + i * b.bytes))
			return false;
	}
	return true;
}

void field_fini(const struct conf_option *o, void *base)
{
	struct conf_strings *strings = (void *)((char *)base + o->offset);
	struct field f = field_view(o, base);

	for (size_t i = 0; i < f.count; i++)
		types[o->type].fini(o, f.at + i * f.bytes);
	if (is_strings(o)) {
		free(strings->at);
		*strings = (struct conf_strings){ 0 };
	}
}
