/**
 * @file
 * HEP versions 1 and 2: a fixed head, addresses, in version 2 a time, and the message to the end of
 * the datagram. Source: the structures of the senders; see the comments in legacy.c. For codec.c.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/err.h"
struct msg;

/** As hep_decode(), for a packet whose first octet is 1 or 2. */
HT_MUST_CHECK ssize_t hep_decode_legacy(const uint8_t *buf, size_t len, struct msg *out);
