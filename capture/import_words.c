/* Options of `heptap import`, "--ports 5060,5070" or "--ports=5060,5070". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/import.h"
#include "conf/complain.h"
#include "conf/expression.h"

/* A decimal number of nothing but digits. @return what is behind it; NULL if it is none, or 0. */
static const char *number_read(const char *at, uint64_t most, uint64_t *out)
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
	while (*count < CONF_MAX_PORTS && (at = number_read(at, 65535, &port))) {
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

static bool option_read(const char *name, const char *value, struct import_wish *out, char *why)
{
	if (strcmp(name, "--ports") == 0)
		return ports_read(name, value, out->ports, &out->port_count, why);
	if (strcmp(name, "--hep-ports") == 0)
		return ports_read(name, value, out->hep_ports, &out->hep_port_count, why);
	if (strcmp(name, "--bpf") == 0)
		return bpf_read(value, &out->bpf, why);
	value = number_read(value, UINT64_MAX, &out->first);
	if (value && *value == '\0')
		return true;
	snprintf(why, WHY_BYTES, "--from takes the number of a packet, from 1 on");
	return false;
}

static const char *option_find(const char *word)
{
	static const char *const names[] = { "--ports", "--hep-ports", "--bpf", "--from" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		if (strncmp(word, names[i], len) == 0 && (!word[len] || word[len] == '='))
			return names[i];
	}
	return NULL;
}

static bool files_are_good(const struct import_wish *w, char *why)
{
	int pipes = 0;

	for (int i = 0; i < w->file_count; i++)
		pipes += strcmp(w->files[i], "-") == 0;
	if (w->file_count == 0)
		snprintf(why, WHY_BYTES, "import takes capture files");
	else if (pipes > 1)
		snprintf(why, WHY_BYTES, "standard input can be read once");
	return w->file_count > 0 && pipes < 2;
}

bool import_words(int argc, char **argv, struct import_wish *out, char *why)
{
	bool is_option = true;

	*out = (struct import_wish){ .files = argv, .first = 1 };
	for (int i = 0; i < argc; i++) {
		const char *name = option_find(argv[i]), *value;

		if (!is_option || argv[i][0] != '-' || strcmp(argv[i], "-") == 0) {
			argv[out->file_count++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			is_option = false;
			continue;
		}
		value = name ? strchr(argv[i], '=') : NULL;
		value = value ? value + 1 : name && i + 1 < argc ? argv[++i] : NULL;
		if (!value) {
			snprintf(why, WHY_BYTES,
				 name ? "%.60s takes a value" : "no such option: %.60s", argv[i]);
			return false;
		}
		if (!option_read(name, value, out, why))
			return false;
	}
	return files_are_good(out, why);
}
