/* [shared] NAME [=~ "EXPRESSION"] */
#include "conf/leg.h"

#include <string.h>
#include <strings.h>

#include "conf/filter_lex.h"
#include "conf/filter_regex.h"

#define BLANKS " \t\r\n"
/* RFC 3261 section 25.1 */
#define TOKEN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
#define SHARED	    "shared"
#define OPERATOR    "=~"
#define QUOTED	    40 /* octets of the text that an error repeats */

static int expected(const char *text, size_t at, const char *what, struct filter_error *error)
{
	if (!text[at])
		return filter_fail(error, at, "expected %s, but it ends here", what);
	return filter_fail(error, at, "expected %s, not %.*s", what, QUOTED, text + at);
}

static size_t behind_blanks(const char *text, size_t at)
{
	return at + strspn(text + at, BLANKS);
}

/* The word, if a name is behind it: else it is the name. */
static size_t behind_shared(const char *text, size_t at)
{
	size_t len = strspn(text + at, TOKEN_CHARS), behind = behind_blanks(text, at + len);

	return len == strlen(SHARED) && strncmp(text + at, SHARED, len) == 0 && behind > at + len &&
			       strspn(text + behind, TOKEN_CHARS)
		       ? behind
		       : at;
}

/* @p at is behind =~. */
static int pattern_parse(const char *text, size_t at, struct leg_entry *out,
			 struct filter_error *error)
{
	struct filter_token token;
	size_t begin = behind_blanks(text, at);
	int err;

	at = begin;
	if (text[at] != '"' && text[at] != '\'')
		return expected(text, at, "an expression in quotes", error);
	err = filter_lex(text, &at, &token, error);
	if (err < 0)
		return err;
	if (token.len == 0)
		return filter_fail(error, begin, "the expression is empty");
	out->pattern = token.at;
	out->pattern_len = token.len;
	at = behind_blanks(text, at);
	return text[at] ? expected(text, at, "nothing more", error) : HT_OK;
}

int leg_parse(const char *text, struct leg_entry *out, struct filter_error *error)
{
	size_t begin = behind_blanks(text, 0), at = behind_shared(text, begin);

	*out = (struct leg_entry){ .is_shared = at > begin, .name = text + at };
	out->name_len = strspn(text + at, TOKEN_CHARS);
	if (!out->name_len)
		return expected(text, at, "the name of a header", error);
	if (out->name_len > LEG_MAX_NAME)
		return filter_fail(error, at, "the name of a header has at most %d octets",
				   LEG_MAX_NAME);
	begin = at;
	at = behind_blanks(text, at + out->name_len);
	if (strncmp(text + at, OPERATOR, strlen(OPERATOR)) == 0)
		return pattern_parse(text, at + strlen(OPERATOR), out, error);
	if (text[at])
		return expected(text, at, "=~ or nothing more", error);
	if (out->name_len == strlen("Call-ID") &&
	    strncasecmp(out->name, "Call-ID", out->name_len) == 0)
		return filter_fail(error, begin,
				   "a leg's own Call-ID names no other leg without an expression");
	return HT_OK;
}

int leg_check(const char *text, struct filter_error *error)
{
	struct filter_regex *regex;
	struct leg_entry entry;
	int err = leg_parse(text, &entry, error);

	if (err < 0 || !entry.pattern)
		return err;
	err = filter_regex_new(entry.pattern, entry.pattern_len, &regex, error);
	if (err == HT_ECONF)
		error->offset += (size_t)(entry.pattern - text);
	if (err == HT_OK)
		filter_regex_free(regex);
	return err;
}
