/* Words of lines: everything here goes from word to word and never behind the NUL. */
#include "tune/watch_text.h"

#include <string.h>

#define THREAD_NAME	16
#define STAT_PROCESSOR	39 /* field of /proc/PID/stat, from 1; the name is 2 */
#define TICKS_SOFTIRQ	6  /* of a line of /proc/stat, from 0 */
#define TICKS_COLUMNS	8  /* what follows is part of these: guests */
#define SOFTNET_COLUMNS 16

struct words {
	const char *at, *end;
};

struct word {
	const char *at;
	size_t len;
};

static struct words line_at(const char *text)
{
	return (struct words){ text, text + strcspn(text, "\n") };
}

static const char *line_behind(const char *end)
{
	return end + (*end == '\n');
}

static bool next_word(struct words *w, struct word *out)
{
	while (w->at < w->end && (*w->at == ' ' || *w->at == '\t'))
		w->at++;
	out->at = w->at;
	while (w->at < w->end && *w->at != ' ' && *w->at != '\t')
		w->at++;
	out->len = (size_t)(w->at - out->at);
	return out->len > 0;
}

static bool is_word(const struct word *w, const char *text)
{
	return strlen(text) == w->len && memcmp(w->at, text, w->len) == 0;
}

/* @return -1: no digit of that base */
static int digit(char c, unsigned base)
{
	unsigned value = 99;

	if (c >= '0' && c <= '9')
		value = (unsigned)(c - '0');
	else if (c >= 'a' && c <= 'f')
		value = (unsigned)(c - 'a') + 10;
	else if (c >= 'A' && c <= 'F')
		value = (unsigned)(c - 'A') + 10;
	return value < base ? (int)value : -1;
}

static int64_t number(const struct word *w, unsigned base)
{
	uint64_t n = 0;

	if (w->len == 0)
		return WATCH_UNKNOWN;
	for (size_t i = 0; i < w->len; i++) {
		int d = digit(w->at[i], base);

		if (d < 0)
			return WATCH_UNKNOWN;
		n = n > INT64_MAX / base ? INT64_MAX : n * base + (uint64_t)d;
	}
	return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static int64_t add(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* The next line that begins with a word; @p at is moved behind it. */
static bool line_find(const char **at, const char *first, struct words *out)
{
	while (**at) {
		struct words line = line_at(*at);
		struct word word;

		*at = line_behind(line.end);
		if (next_word(&line, &word) && is_word(&word, first)) {
			*out = line;
			return true;
		}
	}
	return false;
}

/* ---- one number ---- */

int64_t text_table(const char *text, const char *section, const char *name)
{
	struct words names, values;
	struct word key, value;

	while (line_find(&text, section, &names) && line_find(&text, section, &values))
		while (next_word(&names, &key) && next_word(&values, &value))
			if (is_word(&key, name))
				return number(&value, 10);
	return WATCH_UNKNOWN;
}

int64_t text_pair(const char *text, const char *name)
{
	struct words line;
	struct word value;

	return line_find(&text, name, &line) && next_word(&line, &value) ? number(&value, 10)
									 : WATCH_UNKNOWN;
}

int64_t text_in_line(const char *text, const char *section, const char *name)
{
	struct words line;
	struct word key, value;

	if (line_find(&text, section, &line))
		while (next_word(&line, &key) && next_word(&line, &value))
			if (is_word(&key, name))
				return number(&value, 10);
	return WATCH_UNKNOWN;
}

/* "12.34" is 1234. */
static int64_t hundredths(const struct word *w, const char *point)
{
	struct word whole = { w->at, (size_t)(point - w->at) };
	struct word part = { point + 1, w->len - whole.len - 1 };
	int64_t a = number(&whole, 10), b = number(&part, 10);

	if (a < 0 || b < 0 || part.len != 2)
		return WATCH_UNKNOWN;
	return a > INT64_MAX / 100 - 1 ? INT64_MAX : a * 100 + b;
}

int64_t text_assigned(const char *text, const char *section, const char *name)
{
	size_t len = strlen(name);
	struct words line;
	struct word word;

	if (!line_find(&text, section, &line))
		return WATCH_UNKNOWN;
	while (next_word(&line, &word)) {
		struct word value = { word.at + len + 1, word.len - len - 1 };
		const char *point;

		if (word.len < len + 2 || memcmp(word.at, name, len) != 0 || word.at[len] != '=')
			continue;
		point = memchr(value.at, '.', value.len);
		return point ? hundredths(&value, point) : number(&value, 10);
	}
	return WATCH_UNKNOWN;
}

int64_t text_field(const char *text, unsigned place)
{
	struct words line = line_at(text);
	struct word word = { text, 0 };

	for (unsigned i = 0; i <= place; i++)
		if (!next_word(&line, &word))
			return WATCH_UNKNOWN;
	return number(&word, 10);
}

int64_t text_hex_sum(const char *text, const char *name)
{
	struct words line = line_at(text);
	int64_t sum = WATCH_UNKNOWN;
	struct word word;
	unsigned place = 0;

	while (next_word(&line, &word) && !is_word(&word, name))
		place++;
	if (word.len == 0)
		return WATCH_UNKNOWN;
	for (const char *at = line_behind(line.end); *at; at = line_behind(line.end)) {
		int64_t n = WATCH_UNKNOWN;

		line = line_at(at);
		for (unsigned i = 0; i <= place && next_word(&line, &word); i++)
			n = i == place ? number(&word, 16) : n;
		if (n >= 0)
			sum = add(sum < 0 ? 0 : sum, n);
	}
	return sum;
}

/* ---- CPU by CPU ---- */

bool softnet_next(const char **at, struct softnet_line *out)
{
	static const unsigned place[SOFTNET_EVENTS] = { 0, 1, 2, 9, 10, 11 };
	int64_t value[SOFTNET_COLUMNS];
	struct word word;

	while (**at) {
		struct words line = line_at(*at);
		unsigned count = 0;

		*at = line_behind(line.end);
		while (count < SOFTNET_COLUMNS && next_word(&line, &word))
			value[count++] = word.len <= 8 ? number(&word, 16) : WATCH_UNKNOWN;
		if (count < 3)
			continue;
		for (unsigned i = 0; i < SOFTNET_EVENTS; i++)
			out->count[i] = place[i] < count ? value[place[i]] : WATCH_UNKNOWN;
		out->cpu = count > 12 && value[12] < CPUS_MOST ? (int)value[12] : -1;
		return true;
	}
	return false;
}

bool columns_read(const char *text, struct cpu_columns *out)
{
	struct words line = line_at(text);
	struct word word;

	out->count = 0;
	while (out->count < CPUS_MOST && next_word(&line, &word)) {
		struct word digits = { word.at + 3, word.len - 3 };
		int64_t cpu;

		if (word.len < 4 || memcmp(word.at, "CPU", 3) != 0)
			return false;
		cpu = number(&digits, 10);
		if (cpu < 0 || cpu >= CPUS_MOST)
			return false;
		out->cpu[out->count++] = (uint16_t)cpu;
	}
	return out->count > 0;
}

bool row_find(const char *text, const char *label, const char *name, struct row *out)
{
	struct words line;

	while (line_find(&text, label, &line)) {
		if (name && !memmem(line.at, (size_t)(line.end - line.at), name, strlen(name)))
			continue;
		*out = (struct row){ .at = line.at, .end = line.end };
		return true;
	}
	return false;
}

bool row_next(struct row *row, const struct cpu_columns *columns, unsigned *cpu, uint64_t *count)
{
	struct words line = { row->at, row->end };
	struct word word;
	int64_t n;

	if (row->column >= columns->count || !next_word(&line, &word))
		return false;
	n = number(&word, 10);
	if (n < 0)
		return false;
	*cpu = columns->cpu[row->column++];
	*count = (uint64_t)n;
	row->at = line.at;
	return true;
}

/* "cpu" alone is the sum of the others. */
bool ticks_next(const char **at, struct cpu_ticks *out)
{
	while (**at) {
		struct words line = line_at(*at);
		struct word word, digits;
		unsigned place = 0;
		int64_t cpu, n;

		*at = line_behind(line.end);
		if (!next_word(&line, &word) || word.len < 4 || memcmp(word.at, "cpu", 3) != 0)
			continue;
		digits = (struct word){ word.at + 3, word.len - 3 };
		cpu = number(&digits, 10);
		if (cpu < 0 || cpu >= CPUS_MOST)
			continue;
		*out = (struct cpu_ticks){ .cpu = (unsigned)cpu };
		for (; place < TICKS_COLUMNS && next_word(&line, &word); place++) {
			n = number(&word, 10);
			if (n < 0 || n > INT64_MAX / TICKS_COLUMNS)
				break;
			out->all += (uint64_t)n;
			if (place == TICKS_SOFTIRQ)
				out->softirq = (uint64_t)n;
		}
		if (place > TICKS_SOFTIRQ)
			return true;
	}
	return false;
}

int64_t text_thread(const char *text, char *name)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	struct words rest;
	struct word word = { text, 0 };
	size_t len;

	name[0] = '\0';
	if (!open || !close || close < open)
		return WATCH_UNKNOWN;
	len = (size_t)(close - open - 1);
	if (len >= THREAD_NAME)
		len = THREAD_NAME - 1;
	memcpy(name, open + 1, len);
	name[len] = '\0';
	rest = line_at(close + 1);
	for (unsigned field = 3; field <= STAT_PROCESSOR; field++)
		if (!next_word(&rest, &word))
			return WATCH_UNKNOWN;
	return number(&word, 10);
}
