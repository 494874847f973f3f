/**
 * @file
 * One captured frame to the innermost transport: link layer, tags, tunnels, IP, then UDP, TCP or
 * SCTP. Sources: RFC 791, 8200, 768, 9293, 9260; of each tunnel at its function.
 *
 * Checksums are not verified: a mirror sees packets before the network card of the sender has put
 * them in, and a switch that cuts what it mirrors makes them wrong.
 *
 * Threads: pure; any thread, no state. Memory: allocates and frees nothing; views point into the
 * bytes that were given. Cost: linear in the length, whatever the frame holds.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hep/msg.h"

#define DECODE_DEPTH_MOST 8 /* tunnels in one another that are followed */
#define DECODE_VLANS_MOST 4 /* tags that are remembered; more are stepped over */

/* Link types as libpcap numbers them; raw IP has one more on OpenBSD and one more in files. */
enum {
	LINK_NULL = 0,
	LINK_ETHERNET = 1,
	LINK_RAW = 12,
	LINK_RAW_OPENBSD = 14,
	LINK_RAW_FILE = 101,
	LINK_LOOP = 108,
	LINK_LINUX_SLL = 113,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229,
	LINK_LINUX_SLL2 = 276,
};

/*
 * Why nothing was found. X(name, label of counters, help). SNAP and SHORT are packets of which a
 * part is missing; all others are packets that are not for us.
 */
#define DECODE_REASONS(X)                                                                \
	X(LINK, "link", "captured with a link type that is not read")                    \
	X(NOT_IP, "not_ip", "no IP packet: ARP, spanning tree, discovery")               \
	X(PROTOCOL, "protocol", "an IP protocol that carries no SIP")                    \
	X(ENCRYPTED, "encrypted", "encrypted by IPsec")                                  \
	X(TUNNEL, "tunnel", "in a tunnel of a kind that is not followed")                \
	X(DEPTH, "depth", "more tunnels in one another than are followed")               \
	X(JUMBO, "jumbo", "IPv6 jumbograms")                                             \
	X(SNAP, "snap", "longer than what was captured of them")                         \
	X(SHORT, "short", "longer, by their own header, than what was on the wire")      \
	X(MALFORMED_LINK, "malformed_link", "link layer header that cannot be right")    \
	X(MALFORMED_IP4, "malformed_ip4", "IPv4 header that cannot be right")            \
	X(MALFORMED_IP6, "malformed_ip6", "IPv6 header that cannot be right")            \
	X(MALFORMED_UDP, "malformed_udp", "UDP header that cannot be right")             \
	X(MALFORMED_TCP, "malformed_tcp", "TCP header that cannot be right")             \
	X(MALFORMED_SCTP, "malformed_sctp", "SCTP header or chunk that cannot be right") \
	X(MALFORMED_TUNNEL, "malformed_tunnel", "tunnel header that cannot be right")

enum decode_reason {
	DECODE_FOUND,
#define X(name, label, help) DECODE_##name,
	DECODE_REASONS(X)
#undef X
};

enum decoded_kind {
	DECODED_NONE, /* `reason` says why */
	DECODED_UDP,  /* payload: the datagram, which may be empty */
	DECODED_TCP,  /* payload: octets of the stream, often none; see struct decoded_segment */
	DECODED_SCTP, /* payload: its chunks, each in order; see decode_sctp_data() */
	DECODED_FRAGMENT, /* payload: its octets of the IP payload; see struct decoded_fragment */
};

/* One captured frame. */
struct captured {
	struct view bytes;
	uint32_t wire_len; /* octets it had on the wire; bytes.len if it was captured whole */
	uint16_t link;	   /* LINK_*, or another one, which is refused */
	uint16_t vlan_tci; /* of the tag that the kernel took out of the frame */
	bool has_vlan;
	uint64_t ts_us; /* when it was on the wire, since 1970, UTC; 0: not known */
};

/* Fragments of one datagram have src, dst, id and, with IPv4, protocol in common. An IPv6 datagram
 * goes on with the protocol of its first fragment. */
struct decoded_fragment {
	uint32_t id;
	uint16_t offset; /* octets; offset + payload.len <= 65535 */
	bool more;	 /* then payload.len is a multiple of 8; it is never 0 */
};

enum { SEGMENT_FIN = 1, SEGMENT_SYN = 2, SEGMENT_RST = 4, SEGMENT_PSH = 8, SEGMENT_ACK = 16 };

struct decoded_segment {
	uint32_t seq, ack;
	uint8_t flags; /* SEGMENT_*, and those of no interest here */
};

struct decoded {
	enum decoded_kind kind;
	enum decode_reason reason;
	struct addr src, dst; /* of the innermost IP header; ports unless it is a fragment */
	struct view payload;  /* whole, always: what is cut is not handed on */
	struct decoded_fragment fragment; /* of a DECODED_FRAGMENT only */
	struct decoded_segment segment;	  /* of a DECODED_TCP only */
	uint32_t ip_id;			  /* of the innermost IP packet, if it has one */
	bool has_ip_id;
	uint8_t protocol; /* PROTO_*; of a fragment what its header says is inside */
	uint8_t depth;	  /* tunnels it was in */
	uint8_t vlans;
	uint16_t vlan[DECODE_VLANS_MOST]; /* outer to inner, priority tags left out */
};

/**
 * Decode one frame.
 *
 * @param out  Filled. If nothing was found, kind and reason hold; addresses, depth and tags as far
 * as they were read.
 */
void decode_packet(const struct captured *in, struct decoded *out);

/* A datagram at first sight. */
struct glance {
	uint16_t src_port, dst_port;
	struct view payload;
};

/**
 * Is this a whole datagram in nothing but Ethernet, IPv4 without options and UDP, behind which no
 * tunnel can be? Most of what a mirror port brings is, and between ports of no interest: a few
 * loads tell that, where decode_packet() takes twenty steps.
 *
 * @return true: decode_packet() finds the same. false: it has to be asked.
 */
bool decode_glance(const struct captured *in, struct glance *out);

/**
 * Go on with the payload of a datagram that was put together from fragments. It counts as one
 * tunnel, so that fragments within fragments come to an end.
 *
 * @param d	   As decode_packet() left it for one of the fragments; its addresses, depth and
 * tags are gone on with. Filled as by decode_packet().
 * @param protocol of what is in @p payload: the first fragment's.
 */
void decode_ip_payload(struct decoded *d, uint8_t protocol, struct view payload);

/* One DATA chunk. A message is the payload of one chunk that is first and last, or of several with
 * consecutive tsn from first to last. */
struct sctp_data {
	struct view payload; /* never empty */
	uint32_t tsn;
	uint32_t ppid;	 /* what is inside, as the sender says; SIP has no number of its own */
	uint16_t stream; /* ordered delivery is per stream: seq */
	uint16_t seq;
	bool is_first, is_last, is_unordered;
};

/**
 * Next DATA chunk of a DECODED_SCTP; others (INIT, SACK, ...) are stepped over.
 *
 * @param chunks  Begin with cursor_over_view(payload). It does not fail, since decode_packet() has
 * walked over them.
 *
 * @return false: there is none left.
 */
bool decode_sctp_data(struct cursor *chunks, struct sctp_data *out);

/** Label of a counter: "not_ip"; "found" for DECODE_FOUND. */
const char *decode_reason_name(enum decode_reason reason);

/** Is a part of the packet missing (rather than: is it not for us)? */
static inline bool decode_is_incomplete(enum decode_reason reason)
{
	return reason == DECODE_SNAP || reason == DECODE_SHORT;
}
