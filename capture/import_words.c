/* Options of `heptap import`, "--ports 5060,5070" or "--ports=5060,5070". */
#include <stdio.h>
#include <string.h>

#include "capture/import.h"
#include "conf/complain.h"

static bool option_read(const char *name, const char *value, struct import_wish *out, char *why)
{
	if (strcmp(name, "--from") != 0)
		return packet_wish_read(&out->packets, name, value, why);
	value = words_number(value, UINT64_MAX, &out->first);
	if (value && *value == '\0')
		return true;
	snprintf(why, WHY_BYTES, "--from takes the number of a packet, from 1 on");
	return false;
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
	static const char *const names[] = { PACKET_WORDS, "--from", NULL };
	bool is_option = true;

	*out = (struct import_wish){ .files = argv, .first = 1 };
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *name = words_find(word, names), *value;

		if (!is_option || word[0] != '-' || strcmp(word, "-") == 0) {
			argv[out->file_count++] = argv[i];
			continue;
		}
		if (strcmp(word, "--") == 0) {
			is_option = false;
			continue;
		}
		value = name ? words_value(argc, argv, &i) : NULL;
		if (!value) {
			snprintf(why, WHY_BYTES,
				 name ? "%.60s takes a value" : "no such option: %.60s", word);
			return false;
		}
		if (!option_read(name, value, out, why))
			return false;
	}
	return files_are_good(out, why);
}
