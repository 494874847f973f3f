/**
 * @file
 * What every text that a regular expression matches must have: which octets may stand at its
 * beginning, and a literal somewhere in it. A small reading of the pattern; what it does not know
 * for certain it does not claim.
 * Source: pcre2pattern(3). Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HINT_MAX_FRONT	 16
#define HINT_MAX_LITERAL 64

struct filter_hints {
	/* Bit p of front[octet]: it may stand at position p, of the first front_len. A match has
	 * all of these positions. 0: a match may begin anywhere. */
	uint16_t front[256];
	uint8_t front_len;
	bool is_whole; /* there is no more to the pattern: what has the front matches */
	bool has_end;  /* then: but for the $ behind it */
	/* Stands somewhere, if it has a length; its rarest octet is at literal_rare. */
	uint8_t literal_len, literal_rare;
	uint8_t literal[HINT_MAX_LITERAL];
};

/** @p pattern: one that PCRE2 compiles for octets, without options, lines ending in LF. */
void filter_hints_find(const char *pattern, size_t len, struct filter_hints *out);

/* What is known of a text without running the expression. */
enum filter_hint { HINT_NO, HINT_YES, HINT_MAYBE };

enum filter_hint filter_hints_ask(const struct filter_hints *hints, const uint8_t *text,
				  size_t len);
