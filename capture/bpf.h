/**
 * @file
 * The packet filter that the kernel runs, so that only what may be SIP or HEP is copied: made from
 * ports, or compiled from an expression of pcap-filter(7).
 *
 * The one made from ports lets through TCP, UDP and SCTP with one of them on either side, and
 * whatever may hide one: fragments, extension headers of IPv6, and tunnels; if it is wished also
 * UDP that begins as RTCP does. Up to two VLAN tags may be in the frame, beside the one that the
 * kernel takes out before filters run; more pass as they are. Threads: any.
 */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/complain.h"
#include "conf/err.h"

struct pcap;

struct bpf_wish {
	const unsigned *ports, *hep_ports;
	size_t port_count, hep_port_count;
	bool is_rtcp;		/* RTCP, too, on any port */
	const char *expression; /* in place of the ports; "": none */
	int dlt;		/* kind of link header, DLT_ of libpcap */
	/* Of an expression: it is compiled for this interface, whose VLAN tags the kernel takes
	 * out; or with this handle of libpcap; or, if both are NULL, for frames as they are in a
	 * file. */
	const char *interface;
	struct pcap *handle;
};

/**
 * Make a filter for SO_ATTACH_FILTER; bpf_free() it.
 *
 * @param why  WHY_BYTES; after HT_ECONF what is wrong with the expression.
 * @return HT_OK; -EOPNOTSUPP if nothing is known of this link header (then let everything through);
 *         HT_ECONF; -ENOMEM.
 */
HT_MUST_CHECK int bpf_make(struct sock_fprog *out, const struct bpf_wish *wish, char *why);
void bpf_free(struct sock_fprog *program);

struct captured;

/** Does a program made for frames as they are in a file take this one? An empty program takes none.
 */
bool bpf_takes(const struct sock_fprog *program, const struct captured *c);
