/**
 * @file
 * A captured message: where it was seen, when, and views of its bytes.
 *
 * The views point into the packet it was decoded from (or into the decoder's own inflate buffer)
 * and live until the next packet is decoded into the same buffers. Nothing here is allocated or
 * freed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hep/cursor.h"

/* HEP values of the family octet; also what the `family` column holds. */
enum { FAMILY_NONE = 0, FAMILY_IPV4 = 2, FAMILY_IPV6 = 10 };

/* HEP protocol types (chunk 0x000b) that we act on. */
enum { HEP_TYPE_SIP = 1, HEP_TYPE_RTCP = 5, HEP_TYPE_LOG = 100 };

/* IP protocol numbers, and the markers that HEP senders use for transports that have none. */
enum { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_TLS = 22, PROTO_WS = 50, PROTO_SCTP = 132 };

struct addr {
	uint8_t ip[16]; /* IPv4 in the first four octets */
	uint16_t port;	/* host order */
	uint8_t family; /* FAMILY_*; NONE: not there */
};

struct msg {
	struct addr src, dst;
	uint64_t ts_us;	     /* when it was on the wire, since 1970, UTC; 0: not said */
	uint64_t arrival_us; /* when this process got it */
	struct view payload;
	struct view correlation; /* chunk 0x0011 */
	struct view key;	 /* chunk 0x000e; has_key tells absent from empty */
	struct view agent_name;	 /* chunk 0x0013 */
	uint32_t capture_id;
	uint8_t ip_proto; /* PROTO_*, or whatever was said */
	uint8_t type;	  /* HEP protocol type */
	uint8_t version;  /* of HEP: 1, 2 or 3; 0: seen on the wire itself */
	bool has_capture_id;
	bool has_key;
	bool is_compressed; /* payload is chunk 0x0010, still to be inflated */
	bool has_ip_id;
	uint16_t ip_id;	    /* of the IPv4 packet that brought it, seen on the wire */
	uint8_t odd_chunks; /* chunks ignored because a fixed-size value had another size (stops at
			       255) */
	uint8_t twice_chunks; /* chunks that came again; the last one counts (stops at 255) */
};
