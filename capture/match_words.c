/* Options of `heptap match`. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "capture/match.h"
#include "conf/complain.h"

static bool ip_read(const char *text, struct addr *out)
{
	out->family = strchr(text, ':') ? FAMILY_IPV6 : FAMILY_IPV4;
	return inet_pton(out->family == FAMILY_IPV6 ? AF_INET6 : AF_INET, text, out->ip) == 1;
}

/* 192.0.2.1, 192.0.2.1:5060, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:5060. */
static bool address_read(const char *name, const char *text, struct addr *out, char *why)
{
	const char *colon = strrchr(text, ':'), *end = strchr(text, ']');
	bool is_bracketed = *text == '[' && end;
	const char *host = is_bracketed ? text + 1 : text;
	size_t len = is_bracketed ? (size_t)(end - host) : strlen(text);
	char ip[INET6_ADDRSTRLEN];
	uint64_t port = 5060;
	bool is_good = !is_bracketed || end[1] == '\0' || end + 1 == colon;

	*out = (struct addr){ 0 };
	if (colon && (is_bracketed ? colon > end : strchr(text, ':') == colon)) {
		const char *behind = words_number(colon + 1, 65535, &port);

		is_good = is_good && behind && *behind == '\0';
		len = is_bracketed ? len : (size_t)(colon - text);
	}
	if (is_good && len < sizeof(ip)) {
		memcpy(ip, host, len);
		ip[len] = '\0';
		out->port = (uint16_t)port;
		if (ip_read(ip, out))
			return true;
	}
	snprintf(why, WHY_BYTES, "%s takes an address such as 192.0.2.1:5060 or [2001:db8::1]:5060",
		 name);
	return false;
}

static bool transport_read(const char *text, uint8_t *out, char *why)
{
	static const struct {
		const char *name;
		uint8_t number;
	} all[] = { { "udp", PROTO_UDP },
		    { "tcp", PROTO_TCP },
		    { "tls", PROTO_TLS },
		    { "ws", PROTO_WS },
		    { "sctp", PROTO_SCTP } };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].name, text) != 0)
			continue;
		*out = all[i].number;
		return true;
	}
	snprintf(why, WHY_BYTES, "--transport takes udp, tcp, tls, ws or sctp");
	return false;
}

static bool value_read(const char *name, const char *value, struct match_wish *out, char *why)
{
	if (strcmp(name, "--src") == 0)
		return address_read(name, value, &out->src, why);
	if (strcmp(name, "--dst") == 0)
		return address_read(name, value, &out->dst, why);
	if (strcmp(name, "--transport") == 0)
		return transport_read(value, &out->ip_proto, why);
	if (strcmp(name, "-r") == 0)
		out->capture = value;
	else if (strcmp(name, "--only") == 0)
		out->only = value;
	else if (strcmp(name, "--source") == 0)
		out->source = value;
	else if (strcmp(name, "--agent") == 0)
		out->agent = value;
	else
		return packet_wish_read(&out->packets, name, value, why);
	return true;
}

static bool flag_read(const char *word, struct match_wish *out)
{
	if (strcmp(word, "--json") == 0)
		out->is_json = true;
	else if (strcmp(word, "--summary") == 0)
		out->is_summary = true;
	else if (strcmp(word, "--tests") == 0)
		out->has_tests = true;
	else
		return false;
	return true;
}

/* What would silently be left out is refused. */
static bool wish_is_good(const struct match_wish *w, char *why)
{
	bool of_packets = w->packets.port_count || w->packets.hep_port_count || w->packets.bpf;
	bool of_messages = w->src.family || w->dst.family || w->ip_proto || w->agent;

	if (w->capture && of_messages)
		snprintf(why, WHY_BYTES,
			 "a capture file says itself what --src, --dst, "
			 "--transport and --agent do");
	else if (!w->capture && of_packets)
		snprintf(why, WHY_BYTES, "--ports, --hep-ports and --bpf go with -r");
	else if (w->is_summary && w->has_tests)
		snprintf(why, WHY_BYTES, "--summary shows no message, and so no tests");
	else
		return true;
	return false;
}

bool match_words(int argc, char **argv, struct match_wish *out, char *why)
{
	static const char *const names[] = { PACKET_WORDS,  "-r",	"--only",  "--src", "--dst",
					     "--transport", "--source", "--agent", NULL };

	*out = (struct match_wish){ 0 };
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *name = words_find(word, names), *value;

		if (flag_read(word, out))
			continue;
		value = name ? words_value(argc, argv, &i) : NULL;
		if (!value) {
			snprintf(why, WHY_BYTES,
				 name		  ? "%.60s takes a value"
				 : word[0] == '-' ? "no such option: %.60s"
						  : "a capture file goes behind -r: %.60s",
				 word);
			return false;
		}
		if (!value_read(name, value, out, why))
			return false;
	}
	return wish_is_good(out, why);
}
