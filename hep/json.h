/**
 * @file
 * One string out of a JSON object: OpenSIPS with homer5_on=0 sends its SIP messages as
 * `{"payload":"<escaped>"}`. Source: RFC 8259. Only what has to be known to find the string is
 * looked at; this is no validator.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

#define JSON_MAX_DEPTH 64 /* of what is walked over */

/**
 * The first member of the outermost object that is called @p key and is a string.
 *
 * @param json   The object, behind blanks. What is behind the string is not looked at.
 * @param key    Name, unescaped.
 * @param out    Gets the octets: escapes resolved, \\u as UTF-8, halves of surrogate pairs as
 * U+FFFD, everything else as it is. They are never more than the string has in @p json.
 * @param value  On success what was written to @p out.
 *
 * @return HT_OK; HT_ENOTSIP: no object, no such string, malformed up to its end, or nested deeper
 * than JSON_MAX_DEPTH; HT_EFULL: @p room is too small. Threads: pure; any thread.
 */
HT_MUST_CHECK int json_unwrap(struct view json, const char *key, uint8_t *out, size_t room,
			      struct view *value);
