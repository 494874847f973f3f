/**
 * @file
 * Fields of messages, as the filter language has them. Only filter.c includes it.
 */
#pragma once
#include <arpa/inet.h>

#include "capture/filter.h"
#include "conf/filter_probe.h"
#include "hep/sip.h"

/* What is worked out once for a message, when first asked for. */
struct filter_fields {
	const struct filter_input *in;
	const struct filter_program *program;
	bool has_headers, has_pai;
	uint8_t src_len, dst_len; /* of texts; 0: not made yet */
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	char digits[24];
	struct view headers[FILTER_MAX_HEADERS]; /* as program->headers */
	struct sip_addr pai;
	uint8_t probed_bits; /* probes that have looked */
	struct filter_probed probed[FILTER_MAX_PROBES];
};

/** Another message. Nothing is worked out yet. */
void filter_fields_begin(struct filter_fields *f, const struct filter_program *program,
			 const struct filter_input *in);

bool filter_flag(const struct filter_fields *f, enum filter_field field);

/** As octets; a number or an address as text, which lasts until the next one is asked for. */
struct view filter_text(struct filter_fields *f, struct filter_operand o);

/** As a number, a text if it is 1 to FILTER_MAX_DIGITS digits. @return false: it is absent. */
bool filter_number(struct filter_fields *f, struct filter_operand o, uint64_t *out);

/** As an address, IPv4 as ::ffff:a.b.c.d; a text if it is one (IPv6 in brackets or without).
 * @return false: it is absent. */
bool filter_address(struct filter_fields *f, struct filter_operand o, uint8_t ip[16]);
