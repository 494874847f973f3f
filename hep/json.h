/**
 * @file
 * SIP that comes inside JSON: OpenSIPS wraps it as {"payload":"..."}. One string of an object is
 * found and unescaped; no JSON library, no allocation. Source: RFC 8259. Threads: pure; any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

/**
 * Unescape one string member of the object at the front of a text.
 *
 * @param key    Name of the member; the first of that name counts. Members of members are not
 * looked at, nesting is bounded.
 * @param out    Room for the result, @p room octets. A text of n octets never unescapes to more
 * than n: an escape of 6 octets makes 3 at most, one pair of 12 makes 4.
 * @param value  The result, in @p out; may be empty.
 * @return HT_OK; HT_ENOTSIP: no object, or none with such a string; HT_EFULL: it does not fit.
 */
HT_MUST_CHECK int json_unwrap(struct view json, const char *key, uint8_t *out, size_t room,
			      struct view *value);
