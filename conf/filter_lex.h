/**
 * @file
 * Words of the filter language. Only the compiler includes it.
 */
#pragma once
#include <stddef.h>

#include "conf/filter.h"

enum filter_token_kind {
	TOKEN_END,
	TOKEN_WORD,   /* a field, a number, an address or a network */
	TOKEN_STRING, /* what stands between the quotes */
	TOKEN_REGEX,  /* =~ */
	TOKEN_NO_REGEX,
	TOKEN_EQUAL,
	TOKEN_UNEQUAL,
	TOKEN_LESS,
	TOKEN_AT_MOST,
	TOKEN_MORE,
	TOKEN_AT_LEAST,
	TOKEN_AND,
	TOKEN_OR,
	TOKEN_NOT,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_OPEN_LIST,
	TOKEN_CLOSE_LIST,
	TOKEN_COMMA,
};

struct filter_token {
	enum filter_token_kind kind;
	const char *at; /* of a string: behind its quote */
	size_t len;
	size_t offset; /* where it begins, with its quote */
};

/** The next token from @p *offset on, which moves behind it. @return HT_OK or HT_ECONF. */
HT_MUST_CHECK int filter_lex(const char *text, size_t *offset, struct filter_token *out,
			     struct filter_error *error);

/** Fill an error. @return HT_ECONF. */
__attribute__((format(printf, 3, 4))) int filter_fail(struct filter_error *error, size_t offset,
						      const char *format, ...);
