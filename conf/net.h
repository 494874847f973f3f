/**
 * @file
 * Addresses in the configuration: networks and endpoints, text to struct and back. Names are not
 * resolved.
 * Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "conf/complain.h"
#include "conf/err.h"

struct conf_endpoint;
struct conf_net;

/**
 * "10.0.0.0/8", "fc00::/7", or an address alone. Bits behind the prefix must be 0.
 * @param why  WHY_BYTES; after HT_ECONF what is wrong, or "" if it is nothing like a network.
 */
HT_MUST_CHECK int net_parse(const char *text, struct conf_net *out, char *why);

/** Print a network so that net_parse() takes it. */
void net_print(const struct conf_net *net, FILE *out);

/** "ADDRESS:PORT", IPv6 in brackets. @p why as above. */
HT_MUST_CHECK int endpoint_parse(const char *text, struct conf_endpoint *out, char *why);

/** "udp:ADDRESS:PORT" or "tcp:ADDRESS:PORT". @p why as above. */
HT_MUST_CHECK int endpoint_parse_listen(const char *text, struct conf_endpoint *out, char *why);

/** "udp:ADDRESS:PORT". @p why as above. */
HT_MUST_CHECK int endpoint_parse_receiver(const char *text, struct conf_endpoint *out, char *why);

bool endpoint_is_equal(const struct conf_endpoint *a, const struct conf_endpoint *b);
