/*
 * Any bytes as each text that the watch reads. Nothing outside is read; sums are those of another
 * reader, made of strtok_r() and strtoull().
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tune/watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a word is to another reader. */
static int64_t value_of(const char *word, int base)
{
	const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
	unsigned long long n;

	if (!*word || word[strspn(word, digits)])
		return WATCH_UNKNOWN;
	n = strtoull(word, NULL, base);
	return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static char *copy(const char *text, size_t len)
{
	char *own = malloc(len + 1);

	assert(own);
	memcpy(own, text, len);
	own[len] = '\0';
	return own;
}

/* ---- one line ---- */

static void try_field(const char *text)
{
	for (unsigned place = 0; place < 4; place++) {
		char *line = copy(text, strcspn(text, "\n")), *at = NULL;
		char *word = strtok_r(line, " \t", &at);

		for (unsigned i = 0; i < place && word; i++)
			word = strtok_r(NULL, " \t", &at);
		assert(text_field(text, place) == (word ? value_of(word, 10) : WATCH_UNKNOWN));
		free(line);
	}
}

/* ---- sums ---- */

static int64_t other_hex_sum(const char *text, const char *name)
{
	char *all = copy(text, strlen(text)), *rest = all, *word, *words;
	char *line = strsep(&rest, "\n");
	int64_t sum = WATCH_UNKNOWN;
	int place = 0;

	for (word = strtok_r(line, " \t", &words); word && strcmp(word, name) != 0; place++)
		word = strtok_r(NULL, " \t", &words);
	while (word && (line = strsep(&rest, "\n"))) {
		char *value = strtok_r(line, " \t", &words);

		for (int i = 0; i < place && value; i++)
			value = strtok_r(NULL, " \t", &words);
		if (value && value_of(value, 16) >= 0) {
			int64_t n = value_of(value, 16), had = sum < 0 ? 0 : sum;

			sum = n > INT64_MAX - had ? INT64_MAX : had + n;
		}
	}
	free(all);
	return sum;
}

static void try_softnet(const char *text)
{
	const char *at = text, *before = text;
	char *all = copy(text, strlen(text)), *rest = all, *line;
	struct softnet_line got;

	while ((line = strsep(&rest, "\n"))) {
		static const int place[] = { 0, 1, 2, 9, 10, 11 };
		char *word, *words, *list[16];
		int count = 0;

		for (word = strtok_r(line, " \t", &words); word && count < 16;
		     word = strtok_r(NULL, " \t", &words))
			list[count++] = word;
		if (count < 3)
			continue;
		assert(softnet_next(&at, &got));
		assert(at > before && at <= text + strlen(text));
		before = at;
		for (int i = 0; i < SOFTNET_EVENTS; i++)
			assert(got.count[i] == (place[i] < count && strlen(list[place[i]]) <= 8
							? value_of(list[place[i]], 16)
							: WATCH_UNKNOWN));
		assert(got.cpu >= -1 && got.cpu < CPUS_MOST);
	}
	assert(!softnet_next(&at, &got));
	free(all);
}

/* ---- CPU by CPU ---- */

static void try_rows(const char *text)
{
	static struct cpu_columns columns;
	static const char *const labels[] = { "64:", "NET_RX:", "TLB:" };
	uint64_t count;
	unsigned cpu;
	struct row row;

	if (!columns_read(text, &columns))
		return;
	assert(columns.count > 0 && columns.count <= CPUS_MOST);
	for (int i = 0; i < 3; i++) {
		unsigned n = 0;

		if (!row_find(text, labels[i], NULL, &row))
			continue;
		assert(row.at >= text && row.end <= text + strlen(text));
		while (row_next(&row, &columns, &cpu, &count))
			assert(cpu == columns.cpu[n++]);
		assert(n <= columns.count);
		assert(row.at <= row.end);
		assert(!row_find(text, labels[i], "\n", &row)); /* that is no part of a line */
	}
}

static void try_ticks(const char *text)
{
	const char *at = text, *before = text;
	struct cpu_ticks t;

	while (ticks_next(&at, &t)) {
		assert(at > before && at <= text + strlen(text));
		before = at;
		assert(t.cpu < CPUS_MOST && t.softirq <= t.all);
	}
	assert(*at == '\0');
}

static void try_names(const char *text)
{
	static const char *const names[] = { "b", "drop", "avg10", "total", "InErrors" };
	char thread[WATCH_NAME];

	for (int i = 0; i < 5; i++) {
		assert(text_table(text, "Udp:", names[i]) >= WATCH_UNKNOWN);
		assert(text_pair(text, names[i]) >= WATCH_UNKNOWN);
		assert(text_in_line(text, "Udp:", names[i]) >= WATCH_UNKNOWN);
		assert(text_assigned(text, "some", names[i]) >= WATCH_UNKNOWN);
		assert(text_hex_sum(text, names[i]) == other_hex_sum(text, names[i]));
	}
	assert(text_thread(text, thread) >= WATCH_UNKNOWN);
	assert(strlen(thread) < WATCH_NAME);
}

static void try_driver(const char *text)
{
	static struct watch_nic nic;
	int64_t sum = 0;

	memset(&nic, 0xff, sizeof(nic));
	watch_driver_take(text, 3, &nic);
	for (int i = 0; i < WATCH_QUEUES; i++)
		sum += nic.queue_packets[i] + 1;
	for (int i = 0; i < WATCH_DRIVER_COUNT; i++)
		sum += nic.driver[i] + 1;
	assert(sum == 0 || sum == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = copy(size ? (const char *)data : "", size);

	try_field(text);
	try_softnet(text);
	try_rows(text);
	try_ticks(text);
	try_names(text);
	try_driver(text);
	free(text);
	return 0;
}
