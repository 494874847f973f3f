/* Networks and endpoints. */
#include "conf/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

#define MAPPED_BYTES   12 /* ::ffff: in front of an IPv4 address */
#define MAPPED_BITS    (MAPPED_BYTES * 8)
#define NET_TEXT_BYTES (INET6_ADDRSTRLEN + 4) /* with "/128" */

static const uint8_t mapped_head[MAPPED_BYTES] = { [10] = 0xff, [11] = 0xff };

/* Decimal, no sign, no leading zero, at most @p max (below 100000). @return the number or -1. */
static long small_number(const char *text, long max)
{
	size_t len = strspn(text, "0123456789");
	long n;

	if (len == 0 || len > 5 || text[len] || (text[0] == '0' && len > 1))
		return -1;
	n = strtol(text, NULL, 10);
	return n <= max ? n : -1;
}

/* @return bits of the address as it is written (32 or 128), or -1. */
static int ip_parse(const char *text, uint8_t ip[16])
{
	if (inet_pton(AF_INET, text, ip + MAPPED_BYTES) == 1) {
		memcpy(ip, mapped_head, MAPPED_BYTES);
		return 32;
	}
	return inet_pton(AF_INET6, text, ip) == 1 ? 128 : -1;
}

static uint8_t last_bits_mask(unsigned prefix)
{
	return (uint8_t)(0xff00U >> (prefix % 8));
}

static bool net_clear_host_bits(struct conf_net *net)
{
	uint8_t was[16];

	memcpy(was, net->ip, sizeof(was));
	if (net->prefix < 128)
		net->ip[net->prefix / 8] &= last_bits_mask(net->prefix);
	for (size_t i = net->prefix / 8 + 1U; i < sizeof(net->ip); i++)
		net->ip[i] = 0;
	return memcmp(was, net->ip, sizeof(was)) != 0;
}

static bool net_is_ipv4(const struct conf_net *net)
{
	return net->prefix >= MAPPED_BITS && memcmp(net->ip, mapped_head, MAPPED_BYTES) == 0;
}

static void net_text(const struct conf_net *net, char *out, size_t size)
{
	bool is_ipv4 = net_is_ipv4(net);
	char ip[INET6_ADDRSTRLEN];

	if (is_ipv4)
		inet_ntop(AF_INET, net->ip + MAPPED_BYTES, ip, sizeof(ip));
	else
		inet_ntop(AF_INET6, net->ip, ip, sizeof(ip));
	if (net->prefix == 128)
		snprintf(out, size, "%s", ip);
	else
		snprintf(out, size, "%s/%d", ip, is_ipv4 ? net->prefix - MAPPED_BITS : net->prefix);
}

int net_parse(const char *text, struct conf_net *out, char *why)
{
	const char *slash = strchrnul(text, '/');
	size_t len = (size_t)(slash - text);
	char ip[NET_TEXT_BYTES];
	long prefix;
	int bits;

	why[0] = '\0';
	if (len >= sizeof(ip))
		return HT_ECONF;
	memcpy(ip, text, len);
	ip[len] = '\0';
	bits = ip_parse(ip, out->ip);
	if (bits < 0)
		return HT_ECONF;
	prefix = *slash ? small_number(slash + 1, bits) : bits;
	if (prefix < 0) {
		snprintf(why, WHY_BYTES, "the prefix is 0 to %d", bits);
		return HT_ECONF;
	}
	out->prefix = (uint8_t)(128 - bits + prefix);
	if (!net_clear_host_bits(out))
		return HT_OK;
	net_text(out, ip, sizeof(ip));
	snprintf(why, WHY_BYTES, "bits are set behind the prefix, the network is %s", ip);
	return HT_ECONF;
}

void net_print(const struct conf_net *net, FILE *out)
{
	char text[NET_TEXT_BYTES];

	net_text(net, text, sizeof(text));
	fputs(text, out);
}

bool conf_net_has(const struct conf_net *nets, size_t count, const uint8_t ip[16])
{
	for (const struct conf_net *n = nets; n < nets + count; n++) {
		size_t whole = n->prefix / 8;

		if (memcmp(n->ip, ip, whole) != 0)
			continue;
		if (n->prefix % 8 == 0 ||
		    ((n->ip[whole] ^ ip[whole]) & last_bits_mask(n->prefix)) == 0)
			return true;
	}
	return false;
}

static bool sockaddr_fill(struct conf_endpoint *e, const char *ip, bool is_ipv6, in_port_t port_be)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&e->addr;
	struct sockaddr_in *in = (struct sockaddr_in *)&e->addr;

	if (is_ipv6) {
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = port_be };
		e->addr_len = sizeof(*in6);
		return inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1;
	}
	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port_be };
	e->addr_len = sizeof(*in);
	return inet_pton(AF_INET, ip, &in->sin_addr) == 1;
}

static int wrong(char *why, const char *reason)
{
	snprintf(why, WHY_BYTES, "%s", reason);
	return HT_ECONF;
}

/* @p text is ADDRESS:PORT, behind the transport if there is one; @p written is all of it. */
static int endpoint_fill(const char *written, const char *text, struct conf_endpoint *out,
			 char *why)
{
	const char *colon = strrchr(text, ':');
	bool is_ipv6 = text[0] == '[';
	char ip[INET6_ADDRSTRLEN];
	size_t len;
	long port;

	why[0] = '\0';
	if (!colon)
		return HT_ECONF;
	port = small_number(colon + 1, 65535);
	if (port < 1)
		return wrong(why, "the port is 1 to 65535");
	len = (size_t)(colon - text);
	if (is_ipv6 && text[len - 1] != ']')
		return HT_ECONF;
	text += is_ipv6;
	len -= is_ipv6 ? 2U : 0U;
	if (len >= sizeof(ip) || strlen(written) >= sizeof(out->text))
		return wrong(why, "ADDRESS is IPv4 or [IPv6], names are not resolved");
	memcpy(ip, text, len);
	ip[len] = '\0';
	if (!sockaddr_fill(out, ip, is_ipv6, htons((uint16_t)port)))
		return wrong(why, "ADDRESS is IPv4 or [IPv6], names are not resolved");
	strcpy(out->text, written);
	return HT_OK;
}

int endpoint_parse(const char *text, struct conf_endpoint *out, char *why)
{
	return endpoint_fill(text, text, out, why);
}

int endpoint_parse_listen(const char *text, struct conf_endpoint *out, char *why)
{
	why[0] = '\0';
	if (strncmp(text, "udp:", 4) == 0)
		return endpoint_fill(text, text + 4, out, why);
	out->is_stream = strncmp(text, "tcp:", 4) == 0;
	if (out->is_stream)
		return endpoint_fill(text, text + 4, out, why);
	if (strncmp(text, "tls:", 4) == 0)
		return wrong(why, "this version takes udp and tcp");
	return HT_ECONF;
}

int endpoint_parse_receiver(const char *text, struct conf_endpoint *out, char *why)
{
	why[0] = '\0';
	return strncmp(text, "udp:", 4) == 0 ? endpoint_fill(text, text + 4, out, why) : HT_ECONF;
}

bool endpoint_is_equal(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
	return a->addr_len == b->addr_len && a->is_stream == b->is_stream &&
	       memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}
