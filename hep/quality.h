/**
 * @file
 * Reports on the quality of a call that telephones send inside SIP. Source: RFC 6035
 * (application/vq-rtcpxr). Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>

#include "hep/cursor.h"

/** Is this the Content-Type of such a report (parameters may follow)? */
bool quality_is_report(struct view content_type);

/** The Call-ID that a report is about: the value of its first line "CallID:"; empty if there is
 * none. */
struct view quality_callid(struct view body);
