/**
 * @file
 * RTCP as it is on the wire: what a datagram is, and as JSON text with the names that captagent,
 * heplify and rtpengine gave its fields, which Homer's pages read. Source: RFC 3550 section 6 (SR,
 * RR, SDES, BYE, APP), RFC 3611 (XR), RFC 5506 (any of them may come alone), RFC 3711 section 3.4
 * (SRTCP).
 *
 *     {"sender_information":{...},"ssrc":1,"type":200,"report_blocks":[...],"report_count":1,
 *      "report_blocks_xr":{...},"xr_blocks":[...],"sdes_ssrc":1,"sdes_information":[...],
 *      "sdes_report_count":1,"bye_information":[...],"app_information":[...],"omitted":1}
 *
 * Of several SR and RR the first gives `ssrc`, `type` and `sender_information`, and all of them
 * report_blocks. report_blocks_xr is the first block of VoIP metrics; xr_blocks are all the others.
 * What is not in the datagram is not in the text, but for report_blocks. Values are as they came:
 * ntp_timestamp_usec is the fraction of the NTP time in 1/2^32 s, as everybody writes it; losses
 * are in 1/256; packets_lost has a sign.
 *
 * Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hep/cursor.h"

/* Of the longest text; what does not fit is counted as `omitted`. */
#define RTCP_TEXT 8192

enum rtcp_kind {
	RTCP_NOT,
	RTCP_REPORT,
	RTCP_FEEDBACK,	/* nothing but what has no place in the text: NACK, PLI and others */
	RTCP_ENCRYPTED, /* something is behind the first packet that is none */
};

/** By two octets, which RTP never has (RFC 5761 section 4). What is not RTCP is told apart here
 * most of the time. */
static inline bool rtcp_may_be(struct view datagram)
{
	return datagram.len >= 4 && (datagram.at[0] & 0xc0) == 0x80 &&
	       (datagram.at[1] & 0xf8) == 200;
}

/** What a datagram is, by the headers of its packets; the first one is of type 200 to 207. */
enum rtcp_kind rtcp_kind(struct view datagram);

/**
 * Its text, of the packets before the first that is none; of any octets it is valid JSON.
 * @param out  RTCP_TEXT octets. @return what was written to it.
 */
struct view rtcp_text(struct view datagram, uint8_t *out);
