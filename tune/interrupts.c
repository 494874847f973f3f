/*
 * A line: blanks, number, colon, one count for each CPU that is online, the chip, the number there
 * with its trigger (one word or two: "1-edge", "524288 Edge"), and the action, which may hold
 * blanks.
 */
#include "tune/interrupts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MOST 1000000

struct words {
	const char *at, *end;
};

static bool next_word(struct words *w, struct words *out)
{
	while (w->at < w->end && (*w->at == ' ' || *w->at == '\t'))
		w->at++;
	out->at = w->at;
	while (w->at < w->end && *w->at != ' ' && *w->at != '\t')
		w->at++;
	out->end = w->at;
	return out->end > out->at;
}

static bool is_number(const struct words *w, char last)
{
	const char *end = last ? w->end - 1 : w->end;

	if (last && (w->end - w->at < 2 || *end != last))
		return false;
	for (const char *c = w->at; c < end; c++)
		if (*c < '0' || *c > '9')
			return false;
	return end > w->at && end - w->at < 20;
}

static bool ends_with(const struct words *w, const char *tail)
{
	size_t len = strlen(tail);

	return (size_t)(w->end - w->at) >= len && strncasecmp(w->end - len, tail, len) == 0;
}

static bool is_trigger(const struct words *w)
{
	return ends_with(w, "edge") || ends_with(w, "level") || ends_with(w, "fasteoi");
}

/* Behind the trigger; without one the last word. */
static void read_action(struct words left, struct interrupt *out)
{
	struct words look = left, word, last = { left.end, left.end };
	size_t len;

	while (next_word(&look, &word)) {
		last = word;
		if (!is_trigger(&word))
			continue;
		while (look.at < look.end && (*look.at == ' ' || *look.at == '\t'))
			look.at++;
		last = (struct words){ look.at, look.end };
		break;
	}
	while (last.end > last.at && (last.end[-1] == ' ' || last.end[-1] == '\t'))
		last.end--;
	len = (size_t)(last.end - last.at);
	if (len >= IRQ_NAME)
		len = IRQ_NAME - 1;
	for (size_t i = 0; i < len; i++)
		out->name[i] = last.at[i] < ' ' || last.at[i] > '~' ? '?' : last.at[i];
	out->name[len] = '\0';
}

static bool read_line(struct words line, struct interrupt *out)
{
	struct words word, before;

	if (!next_word(&line, &word) || !is_number(&word, ':'))
		return false;
	*out = (struct interrupt){ .number = atoi(word.at) };
	if (word.end - word.at > 8 || out->number > NUMBER_MOST)
		return false;
	for (before = line; next_word(&line, &word) && is_number(&word, 0); before = line)
		out->count += strtoull(word.at, NULL, 10);
	read_action(before, out);
	return true;
}

bool interrupts_next(const char **at, struct interrupt *out)
{
	while (**at) {
		size_t len = strcspn(*at, "\n");
		struct words line = { *at, *at + len };

		*at += len + ((*at)[len] == '\n');
		if (read_line(line, out))
			return true;
	}
	return false;
}

enum irq_role interrupt_role(const char *name, int *queue)
{
	size_t len = strcspn(name, "@"), digits = len;
	char low[IRQ_NAME];

	*queue = -1;
	if (len >= sizeof(low))
		return IRQ_CONTROL;
	for (size_t i = 0; i < len; i++)
		low[i] = (char)tolower((unsigned char)name[i]);
	low[len] = '\0';
	while (digits > 0 && low[digits - 1] >= '0' && low[digits - 1] <= '9')
		digits--;
	if (digits == len || digits == 0 || len - digits > 6 || strstr(low, "async"))
		return IRQ_CONTROL;
	*queue = atoi(low + digits);
	low[digits] = '\0';
	if (strstr(low, "output") || (strstr(low, "tx") && !strstr(low, "rx")))
		return IRQ_TX;
	if (strstr(low, "rx") || strstr(low, "input") || strstr(low, "comp") ||
	    strstr(low, "-fp-") || strncmp(low, "mlx4-", 5) == 0)
		return IRQ_RX;
	*queue = -1;
	return IRQ_CONTROL;
}
