/**
 * @file
 * What we store of a SIP message: start line and header fields, as views into its bytes. One pass,
 * no allocation. Source: RFC 3261 sections 7, 20 and 25; compact forms 7.3.3; the leniency is that
 * of RFC 4475 and of what Homer shows.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "hep/cursor.h"

#define SIP_MAX_NAME  64 /* octets of a header name that can be asked for */
#define SIP_MAX_EXTRA 11 /* headers asked for by name: 8 legs and 3 custom fields */

/* A From, To or Contact. Empty views where it is absent or cannot be read. */
struct sip_addr {
	struct view uri;	/* without brackets and what is behind them; "*" of a Contact */
	struct view user, host; /* as written: no unescaping; IPv6 keeps its brackets */
	struct view tag;
	uint32_t port; /* 0: none */
};

/**
 * The message. A header that occurs several times counts as it first occurs. `body` of a header is
 * what schema calls BODY: leading white space and folded line starts skipped, to the end with its
 * folded lines, trailing NUL, CR and LF removed.
 */
struct sip {
	bool is_reply;
	uint32_t status;	  /* reply: its code; UINT32_MAX if it does not fit */
	struct view method;	  /* request: method; reply: the code as written */
	struct view reply_reason; /* reply: reason phrase */
	struct view ruri, ruri_user, ruri_host;
	struct sip_addr from, to, contact;
	struct view pid_user;
	struct view auth, auth_user;
	struct view callid;
	struct view via_1, via_1_branch;
	struct view cseq, cseq_method;
	struct view diversion, reason, content_type, user_agent, event;
	struct view rtp_stat;
	struct view originator_ip;
	uint32_t originator_port;
	int32_t expires;	/* s; -1: absent or no number */
	int64_t content_length; /* octets, as said, UINT32_MAX if more; -1: absent or no number */
	struct view extra[SIP_MAX_EXTRA]; /* in the order of struct sip_names */
	uint32_t header_bytes;		  /* start line to empty line, both included */
};

/* Names of further headers to look for. Filled once, then constant. */
struct sip_names {
	uint8_t count;
	uint64_t lengths; /* bit per length that occurs, so that most headers need no comparison */
	struct {
		uint8_t len;
		char lower[SIP_MAX_NAME + 1];
	} name[SIP_MAX_EXTRA];
};

/**
 * Add a header name. @return its index in sip.extra, or HT_EFULL (too many) or -EINVAL (empty or
 * longer than SIP_MAX_NAME). Threads: while nobody else uses @p names.
 */
int sip_names_add(struct sip_names *names, const char *name);

/**
 * Read a SIP message.
 *
 * @param text   The message with its body; CR and LF before the start line are skipped. Lines may
 * end in a lone LF.
 * @param names  Further headers wanted, or NULL.
 * @param out    Filled on success; its views point into @p text.
 *
 * @return HT_OK, or HT_ENOTSIP if there is no SIP start line; a message with broken headers is
 * still a message. Threads: pure; any thread.
 */
HT_MUST_CHECK int sip_parse(struct view text, const struct sip_names *names, struct sip *out);

/**
 * Walk over the header lines of a message that sip_parse() takes, in their order.
 *
 * sip_headers() steps over the start line; sip_header_next() is false at the empty line or the end.
 * @p name is as written, without blanks behind it, empty for a line without a colon; @p body is as
 * in struct sip. Threads: pure; any thread.
 */
struct cursor sip_headers(struct view text);
bool sip_header_next(struct cursor *c, struct view *name, struct view *body);

/** The first address in the body of a header. Threads: pure; any thread. */
struct sip_addr sip_address(struct view body);

/**
 * The host of a Via value, as written: that of the topmost for 0, then further down, whether they
 * stand in headers of their own or behind commas. A walk over the headers; empty if there are not
 * so many. Threads: pure; any thread.
 */
struct view sip_via_host(struct view text, unsigned n);

/**
 * The message without the NUL octets behind it, which senders of HEP versions 1 and 2 may leave
 * there; what its Content-Length says is its body stays. Threads: pure; any thread.
 */
struct view sip_trim_nul(struct view text, const struct sip *s);
