/**
 * @file
 * SIP messages from a list of what is in them, and judging them.
 */
#pragma once
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/filter.h"
#include "hep/msg.h"
#include "hep/sip.h"

/* NULL: what is in the braces. */
struct made {
	const char *start;     /* start line {INVITE sip:bob@example.com SIP/2.0} */
	const char *headers;   /* whole lines {From, To, Call-ID and CSeq of a first INVITE} */
	const char *body;      /* {nothing} */
	const char *src, *dst; /* {192.0.2.1, 192.0.2.2} */
	unsigned src_port, dst_port;
	unsigned proto; /* {PROTO_UDP} */
	unsigned type;	/* {HEP_TYPE_SIP} */
	const char *agent, *source;
	long capture_id; /* {none}; n + 1 */

	struct msg msg;
	struct sip sip;
	char *text;
	bool is_sip;
};

#define MADE_HEADERS                                  \
	"From: \"A\" <sip:alice@a.example>;tag=1\r\n" \
	"To: <sip:bob@b.example>\r\n"                 \
	"Call-ID: call-1\r\n"                         \
	"CSeq: 1 INVITE\r\n"

static inline void made_addr(const char *text, unsigned port, struct addr *out)
{
	out->port = (uint16_t)port;
	if (strchr(text, ':')) {
		out->family = FAMILY_IPV6;
		ck_assert_int_eq(inet_pton(AF_INET6, text, out->ip), 1);
	} else if (*text) {
		out->family = FAMILY_IPV4;
		ck_assert_int_eq(inet_pton(AF_INET, text, out->ip), 1);
	}
}

/* made_fini() it. */
static inline void made_init(struct made *m)
{
	const char *start = m->start ? m->start : "INVITE sip:bob@example.com SIP/2.0";
	int len = asprintf(&m->text, "%s\r\n%s\r\n%s", start,
			   m->headers ? m->headers : MADE_HEADERS, m->body ? m->body : "");

	ck_assert_int_gt(len, 0);
	m->msg = (struct msg){ .payload = { (uint8_t *)m->text, (uint32_t)len },
			       .ip_proto = (uint8_t)(m->proto ? m->proto : PROTO_UDP),
			       .type = (uint8_t)(m->type ? m->type : HEP_TYPE_SIP),
			       .capture_id = m->capture_id ? (uint32_t)(m->capture_id - 1) : 0,
			       .has_capture_id = m->capture_id != 0 };
	made_addr(m->src ? m->src : "192.0.2.1", m->src_port ? m->src_port : 5060, &m->msg.src);
	made_addr(m->dst ? m->dst : "192.0.2.2", m->dst_port ? m->dst_port : 5060, &m->msg.dst);
	m->is_sip =
		m->msg.type == HEP_TYPE_SIP && sip_parse(m->msg.payload, NULL, &m->sip) == HT_OK;
}

static inline void made_fini(struct made *m)
{
	free(m->text);
}

static inline struct filter_input made_input(const struct made *m)
{
	return (struct filter_input){ .msg = &m->msg,
				      .sip = m->is_sip ? &m->sip : NULL,
				      .source = view_of(m->source ? m->source : "agents"),
				      .agent = view_of(m->agent ? m->agent : "edge"),
				      .record = FILTER_NONE,
				      .mono_us = 1000000 };
}
