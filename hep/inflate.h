/**
 * @file
 * The compressed payload chunk (0x0010) of HEP3: zlib, gzip or raw deflate, to at most 65,535
 * octets. Threads: one inflater per thread. Memory: all of it is taken by inflater_new(); a message
 * allocates nothing.
 */
#pragma once
#include "conf/err.h"
#include "hep/cursor.h"

#define INFLATE_MAX_BYTES 65535

struct inflater;

/** @return HT_OK or -ENOMEM. inflater_free() it. */
HT_MUST_CHECK int inflater_new(struct inflater **out);
void inflater_free(struct inflater *i);

/**
 * Inflate one payload.
 *
 * @param out  On success the octets, in the inflater's own buffer until the next call.
 * @return HT_OK, or HT_EINFLATE: no known format, damaged, not ending, or more than
 * INFLATE_MAX_BYTES.
 */
HT_MUST_CHECK int inflater_run(struct inflater *i, struct view in, struct view *out);
