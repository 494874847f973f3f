/* Text of a condition into tokens. */
#include "conf/filter_lex.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORD_CHARS                                                       \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" \
	"_$.:/"

static const struct {
	const char *text;
	enum filter_token_kind kind;
} signs[] = {
	/* longer ones first */
	{ "=~", TOKEN_REGEX },	 { "!~", TOKEN_NO_REGEX }, { "==", TOKEN_EQUAL },
	{ "!=", TOKEN_UNEQUAL }, { "<=", TOKEN_AT_MOST },  { ">=", TOKEN_AT_LEAST },
	{ "&&", TOKEN_AND },	 { "||", TOKEN_OR },	   { "<", TOKEN_LESS },
	{ ">", TOKEN_MORE },	 { "!", TOKEN_NOT },	   { "(", TOKEN_OPEN },
	{ ")", TOKEN_CLOSE },	 { "{", TOKEN_OPEN_LIST }, { "}", TOKEN_CLOSE_LIST },
	{ ",", TOKEN_COMMA },
};

int filter_fail(struct filter_error *error, size_t offset, const char *format, ...)
{
	va_list args;

	error->offset = offset;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return HT_ECONF;
}

static int lex_string(const char *text, size_t *offset, struct filter_token *out,
		      struct filter_error *error)
{
	const char *begin = text + *offset, *end = strchr(begin + 1, *begin);

	for (const char *c = begin + 1; end && c < end; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return filter_fail(error, (size_t)(c - text),
					   "a control character in a string; expressions have "
					   "\\t, \\r and \\n for some");
	}
	if (!end)
		return filter_fail(error, *offset, "this quote is not closed");
	out->kind = TOKEN_STRING;
	out->at = begin + 1;
	out->len = (size_t)(end - begin - 1);
	*offset += out->len + 2;
	return HT_OK;
}

static int lex_sign(const char *text, size_t *offset, struct filter_token *out,
		    struct filter_error *error)
{
	const char *at = text + *offset;
	int octets = 1; /* of the character */

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		size_t len = strlen(signs[i].text);

		if (strncmp(at, signs[i].text, len) != 0)
			continue;
		out->kind = signs[i].kind;
		out->len = len;
		*offset += len;
		return HT_OK;
	}
	if (*at == '&' || *at == '|' || *at == '=')
		return filter_fail(error, *offset, "expected %c%c", *at, *at);
	while ((at[octets] & 0xc0) == 0x80)
		octets++;
	return filter_fail(error, *offset, "'%.*s' has no meaning here", octets, at);
}

int filter_lex(const char *text, size_t *offset, struct filter_token *out,
	       struct filter_error *error)
{
	const char *at;

	*offset += strspn(text + *offset, " \t\r\n");
	at = text + *offset;
	*out = (struct filter_token){ .kind = TOKEN_END, .at = at, .offset = *offset };
	if (!*at)
		return HT_OK;
	if (*at == '"' || *at == '\'')
		return lex_string(text, offset, out, error);
	out->len = strspn(at, WORD_CHARS);
	if (!out->len)
		return lex_sign(text, offset, out, error);
	out->kind = TOKEN_WORD;
	*offset += out->len;
	return HT_OK;
}
