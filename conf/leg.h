/**
 * @file
 * An entry of `legs`, what joins the legs of a call: the name of a header, which may have "shared"
 * in front and an expression behind it:
 *
 *     X-CID
 *     X-Corr =~ "^leg=([^;]+)"
 *     shared X-Global-Call
 *
 * Threads: pure; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"
#include "conf/filter.h"

#define LEG_MAX_NAME 64 /* octets of the header's name */

/* An entry, taken apart; it points into its text. */
struct leg_entry {
	bool is_shared; /* all legs have the same value; else it is the Call-ID of the leg before */
	const char *name;
	size_t name_len;
	const char *pattern; /* NULL: the whole value */
	size_t pattern_len;
};

/** @return HT_OK, or HT_ECONF with @p error filled. The expression is not looked at. */
HT_MUST_CHECK int leg_parse(const char *text, struct leg_entry *out, struct filter_error *error);

/** Its expression too. @return HT_OK, HT_ECONF with @p error filled, or -ENOMEM. */
HT_MUST_CHECK int leg_check(const char *text, struct filter_error *error);
