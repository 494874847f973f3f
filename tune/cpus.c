#include "tune/cpus.h"

#include <stdio.h>
#include <string.h>

#define GROUP 32 /* bits between two commas of a mask */

unsigned cpus_count(const struct cpus *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CPUS_MOST / 64; i++)
		n += (unsigned)__builtin_popcountll(c->bits[i]);
	return n;
}

bool cpus_equal(const struct cpus *a, const struct cpus *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int cpus_next(const struct cpus *c, unsigned from)
{
	unsigned word = from / 64;
	uint64_t bits;

	if (from >= CPUS_MOST)
		return -1;
	bits = c->bits[word] & ~UINT64_C(0) << from % 64;
	while (!bits && ++word < CPUS_MOST / 64)
		bits = c->bits[word];
	return bits ? (int)(word * 64) + __builtin_ctzll(bits) : -1;
}

struct cpus cpus_and(const struct cpus *a, const struct cpus *b)
{
	struct cpus out;

	for (unsigned i = 0; i < CPUS_MOST / 64; i++)
		out.bits[i] = a->bits[i] & b->bits[i];
	return out;
}

struct cpus cpus_minus(const struct cpus *a, const struct cpus *b)
{
	struct cpus out;

	for (unsigned i = 0; i < CPUS_MOST / 64; i++)
		out.bits[i] = a->bits[i] & ~b->bits[i];
	return out;
}

/* Only blanks and newlines are left. */
static bool is_over(const char *text)
{
	return text[strspn(text, " \t\n")] == '\0';
}

static bool read_number(const char **text, unsigned *out)
{
	const char *at = *text;
	unsigned n = 0;

	while (*at >= '0' && *at <= '9' && n < CPUS_MOST)
		n = n * 10 + (unsigned)(*at++ - '0');
	if (at == *text || n >= CPUS_MOST)
		return false;
	*text = at;
	*out = n;
	return true;
}

static bool read_range(const char **text, struct cpus *out)
{
	unsigned first, last;

	if (!read_number(text, &first))
		return false;
	last = first;
	if (**text == '-') {
		(*text)++;
		if (!read_number(text, &last) || last < first)
			return false;
	}
	for (unsigned i = first; i <= last; i++)
		cpus_add(out, i);
	return true;
}

bool cpus_read_list(const char *text, struct cpus *out)
{
	*out = (struct cpus){ 0 };
	if (is_over(text))
		return true;
	while (read_range(&text, out)) {
		if (is_over(text))
			return true;
		if (*text++ != ',')
			break;
	}
	*out = (struct cpus){ 0 };
	return false;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* From the last digit, the lowest CPUs, to the first. */
bool cpus_read_mask(const char *text, struct cpus *out)
{
	size_t len = strcspn(text, " \t\n");
	unsigned cpu = 0;

	*out = (struct cpus){ 0 };
	if (!is_over(text + len))
		return false;
	while (len--) {
		int digit = hex_digit(text[len]);

		if (text[len] == ',' && cpu && cpu % GROUP == 0 && len)
			continue;
		if (digit < 0 || (digit && cpu >= CPUS_MOST)) {
			*out = (struct cpus){ 0 };
			return false;
		}
		for (unsigned bit = 0; bit < 4; bit++, cpu++)
			if (digit >> bit & 1)
				cpus_add(out, cpu);
	}
	return true;
}

const char *cpus_print(const struct cpus *c, char *out, size_t size)
{
	size_t used = 0;
	int first = cpus_first(c), last;

	snprintf(out, size, "none");
	for (; first >= 0; first = cpus_next(c, (unsigned)last + 1)) {
		char part[32];
		int len;

		for (last = first; cpus_has(c, (unsigned)last + 1); last++)
			;
		len = first == last ? snprintf(part, sizeof(part), "%s%d", used ? "," : "", first)
				    : snprintf(part, sizeof(part), "%s%d-%d", used ? "," : "",
					       first, last);
		if (used + (size_t)len + 4 > size) {
			snprintf(out + used, size - used, "...");
			break;
		}
		memcpy(out + used, part, (size_t)len + 1);
		used += (size_t)len;
	}
	return out;
}

const char *cpus_print_mask(const struct cpus *c, char *out, size_t size)
{
	int top = CPUS_MOST / GROUP - 1;
	size_t used = 0;

	while (top > 0 && (uint32_t)(c->bits[top / 2] >> top % 2 * GROUP) == 0)
		top--;
	for (int group = top; group >= 0 && used < size; group--) {
		uint32_t word = (uint32_t)(c->bits[group / 2] >> group % 2 * GROUP);

		used += (size_t)snprintf(out + used, size - used, group == top ? "%x" : ",%08x",
					 word);
	}
	return out;
}
