/* Strict: what the kernel did not write is not taken for a set. */
#include "tune/cpulist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cpulist_add(struct cpulist *set, unsigned cpu)
{
	if (cpu < CPULIST_MOST)
		set->words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

bool cpulist_has(const struct cpulist *set, unsigned cpu)
{
	return cpu < CPULIST_MOST && (set->words[cpu / 64] >> (cpu % 64) & 1);
}

unsigned cpulist_count(const struct cpulist *set)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CPULIST_MOST / 64; i++)
		n += (unsigned)__builtin_popcountll(set->words[i]);
	return n;
}

bool cpulist_is_equal(const struct cpulist *a, const struct cpulist *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* @return what is behind the number, or NULL. */
static const char *number(const char *text, unsigned *out)
{
	char *end;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return NULL;
	n = strtoul(text, &end, 10);
	*out = (unsigned)n;
	return n < CPULIST_MOST ? end : NULL;
}

int cpulist_parse(const char *text, struct cpulist *out)
{
	unsigned first, last;

	*out = (struct cpulist){ 0 };
	while (*text) {
		text = number(text, &first);
		last = first;
		if (text && *text == '-')
			text = number(text + 1, &last);
		if (!text || last < first || (*text && *text != ','))
			return -EINVAL;
		for (unsigned i = first; i <= last; i++)
			cpulist_add(out, i);
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	return HT_OK;
}

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* From the right: the last digit is CPU 0 to 3; each comma follows a group of eight. */
int cpulist_parse_mask(const char *text, struct cpulist *out)
{
	unsigned cpu = 0;
	int d;

	*out = (struct cpulist){ 0 };
	for (size_t i = strlen(text); i-- > 0;) {
		if (text[i] == ',' && cpu && cpu % 32 == 0 && i)
			continue;
		d = digit(text[i]);
		if (d < 0 || (d && cpu >= CPULIST_MOST))
			return -EINVAL;
		for (unsigned bit = 0; bit < 4; bit++) {
			if (d >> bit & 1)
				cpulist_add(out, cpu + bit);
		}
		cpu += 4;
	}
	return HT_OK;
}

__attribute__((format(printf, 4, 0))) static int text_add(char *out, size_t size, size_t *len,
							  const char *format, unsigned a,
							  unsigned b)
{
	int n = snprintf(out + *len, size - *len, format, a, b);

	if (n < 0 || (size_t)n >= size - *len)
		return HT_EFULL;
	*len += (size_t)n;
	return HT_OK;
}

int cpulist_print(const struct cpulist *set, char *out, size_t size)
{
	size_t len = 0;
	int err = size ? HT_OK : HT_EFULL;

	if (size)
		out[0] = '\0';
	for (unsigned i = 0; err == HT_OK && i < CPULIST_MOST; i++) {
		unsigned first = i;

		if (!cpulist_has(set, i))
			continue;
		while (cpulist_has(set, i + 1))
			i++;
		if (len)
			err = text_add(out, size, &len, ",", 0, 0);
		if (err == HT_OK)
			err = text_add(out, size, &len, i > first ? "%u-%u" : "%u", first, i);
	}
	return err;
}
