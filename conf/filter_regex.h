/**
 * @file
 * Regular expressions of filters and legs: PCRE2, compiled to machine code where the system lets
 * us. Before it runs, what is known of any match is looked for in cheaper ways
 * (conf/filter_hints.h).
 *
 * Octets, not characters: what senders write need not be UTF-8.
 *
 * Threads: a compiled expression is constant; any. struct filter_matcher belongs to one thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/filter.h"

/*
 * Bounds of one match; one that reaches them is given up. PCRE2 counts steps from each octet where
 * a match may begin anew, so a longer text has fewer from each: all of it takes at most about
 * FILTER_MATCH_STEPS, or FILTER_MATCH_LEAST for each octet.
 */
#define FILTER_MATCH_STEPS 4000000
#define FILTER_MATCH_LIMIT 20000
#define FILTER_MATCH_LEAST 400
#define FILTER_DEPTH_LIMIT 1000
#define FILTER_HEAP_KIB	   256
#define FILTER_STACK_BYTES (256 * 1024) /* of the machine code */

struct filter_hints;
struct filter_matcher;

/** @return HT_OK, HT_ECONF with @p error (offset within the pattern) or -ENOMEM. */
HT_MUST_CHECK int filter_regex_new(const char *pattern, size_t len, struct filter_regex **out,
				   struct filter_error *error);
void filter_regex_free(struct filter_regex *regex);

/** What is known of every text that it matches. */
const struct filter_hints *filter_regex_hints(const struct filter_regex *regex);

/** What a thread needs to match: match data and stack. @return HT_OK or -ENOMEM. */
HT_MUST_CHECK int filter_matcher_new(struct filter_matcher **out);
void filter_matcher_free(struct filter_matcher *matcher);

/**
 * @param len  Any; @p text may be NULL if it is 0.
 * @return 1 it matches, 0 it does not, -1 a limit was reached.
 * Memory: none is allocated where there is machine code; else up to FILTER_HEAP_KIB, kept by the
 * matcher.
 */
int filter_regex_match(const struct filter_regex *regex, struct filter_matcher *matcher,
		       const uint8_t *text, size_t len);

/**
 * Find what it is about: its first group, or the whole match if that took no part or there is none.
 * @return as above; after 1, where it is in @p text, which is not empty.
 */
int filter_regex_find(const struct filter_regex *regex, struct filter_matcher *matcher,
		      const uint8_t *text, size_t len, size_t *begin, size_t *found_len);

/** filter_regex_match() without looking for anything before; what tests and measurements compare
 * with. */
int filter_regex_match_bare(const struct filter_regex *regex, struct filter_matcher *matcher,
			    const uint8_t *text, size_t len);

/** From now on, compile nothing to machine code: what a system that forbids it does. For tests. */
void filter_regex_interpret(bool only);

/** Is there machine code for it? */
bool filter_regex_is_fast(const struct filter_regex *regex);
