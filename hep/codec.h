/**
 * @file
 * HEP versions 1, 2 and 3 (and its other name, EEP) from bytes to struct msg. No sockets, no
 * allocation, no logging. Source: HEP3 Network Protocol Specification rev. 37 (2025-06-25);
 * draft-dubovikov-eep (2013).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/err.h"
struct msg;

#define HEP3_HEAD_BYTES 6
#define HEP_MAX_BYTES	65535 /* what the length field can say */

/**
 * Decode one HEP packet from the front of a byte range.
 *
 * @param buf  First octet of the packet.
 * @param len  Octets readable at @p buf. Octets behind the packet's own length are left alone.
 * @param out  arrival_us is set before: times of HEPv2 are judged by it. Filled on success:
 * addresses, time, type, views into @p buf. Absent chunks leave their defaults: type SIP, protocol
 * UDP, ts_us 0. arrival_us is not touched. An address pair of which one side is missing is an
 * error.
 *
 * @return octets consumed (> 0; versions 1 and 2 have no length and take all); HT_ESHORT: fewer
 * than 6 octets, or fewer than the packet says it has; HT_EVERSION: no HEP; HT_ELENGTH: the
 * packet's length is below 6; HT_ECHUNK: a chunk is shorter than its head or longer than what is
 * left; HT_EADDRESS: no source or no destination address. Then @p out is unspecified.
 *
 * Threads: pure; any thread. Memory: allocates and frees nothing.
 */
HT_MUST_CHECK ssize_t hep_decode(const uint8_t *buf, size_t len, struct msg *out);
