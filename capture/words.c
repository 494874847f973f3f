/* Options that commands share. */
#include "capture/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/expression.h"

const char *words_find(const char *word, const char *const *names)
{
	for (; *names; names++) {
		size_t len = strlen(*names);

		if (strncmp(word, *names, len) == 0 && (!word[len] || word[len] == '='))
			return *names;
	}
	return NULL;
}

char *words_value(int argc, char **argv, int *i)
{
	char *value = strchr(argv[*i], '=');

	if (value)
		return value + 1;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

const char *words_number(const char *at, uint64_t most, uint64_t *out)
{
	char *behind;

	if (*at < '0' || *at > '9')
		return NULL;
	errno = 0;
	*out = strtoull(at, &behind, 10);
	return errno || *out == 0 || *out > most ? NULL : behind;
}

static bool ports_read(const char *name, const char *text, unsigned *ports, unsigned *count,
		       char *why)
{
	const char *at = text;
	uint64_t port;

	*count = 0;
	while (*count < CONF_MAX_PORTS && (at = words_number(at, 65535, &port))) {
		ports[(*count)++] = (unsigned)port;
		if (*at == '\0')
			return true;
		if (*at++ != ',')
			break;
	}
	snprintf(why, WHY_BYTES, "%s takes up to %d ports such as 5060,5070", name, CONF_MAX_PORTS);
	return false;
}

static bool bpf_read(const char *text, const char **out, char *why)
{
	char wrong[WHY_BYTES];

	*out = text;
	if (expression_check(text, wrong) == HT_OK)
		return true;
	snprintf(why, WHY_BYTES, "--bpf: %.*s", WHY_BYTES - 10, wrong);
	return false;
}

bool packet_wish_read(struct packet_wish *out, const char *name, const char *value, char *why)
{
	if (strcmp(name, "--ports") == 0)
		return ports_read(name, value, out->ports, &out->port_count, why);
	if (strcmp(name, "--hep-ports") == 0)
		return ports_read(name, value, out->hep_ports, &out->hep_port_count, why);
	return bpf_read(value, &out->bpf, why);
}

void packet_wish_choose(const struct packet_wish *wish, const struct conf *conf,
			struct conf_capture *out)
{
	static const unsigned usual[] = { 5060, 5061 };

	*out = (struct conf_capture){ .bpf = "", .port_count = 2, .rtcp = CONF_TRUE };
	memcpy(out->ports, usual, sizeof(usual));
	if (conf->capture_count)
		*out = conf->capture[0];
	if (wish->port_count) {
		out->bpf = "";
		out->port_count = wish->port_count;
		memcpy(out->ports, wish->ports, sizeof(out->ports));
	}
	if (wish->hep_port_count) {
		out->hep_port_count = wish->hep_port_count;
		memcpy(out->hep_ports, wish->hep_ports, sizeof(out->hep_ports));
	}
	if (wish->bpf)
		out->bpf = (char *)wish->bpf; /* only read */
}
