/*
 * Any bytes as a list of CPUs, as a mask, as /proc/interrupts. What was read and printed is read as
 * the same set again; a name of an interrupt is printable and its queue a small number.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tune/cpus.h"
#include "tune/interrupts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_sets(const char *text)
{
	static char out[8 * CPUS_MOST];
	struct cpus set, again;

	if (cpus_read_list(text, &set) && cpus_first(&set) >= 0) {
		assert(cpus_read_list(cpus_print(&set, out, sizeof(out)), &again));
		assert(cpus_equal(&set, &again));
	} else {
		assert(cpus_count(&set) == 0);
	}
	if (cpus_read_mask(text, &set)) {
		assert(cpus_read_mask(cpus_print_mask(&set, out, sizeof(out)), &again));
		assert(cpus_equal(&set, &again));
	} else {
		assert(cpus_count(&set) == 0);
	}
	/* Too small a room is no reason to write behind it. */
	cpus_print(&set, out, 8);
	assert(strlen(out) < 8);
	cpus_print_mask(&set, out, 8);
	assert(strlen(out) < 8);
}

static void try_interrupts(const char *text)
{
	const char *at = text, *before = text;
	struct interrupt in;
	int queue;

	while (interrupts_next(&at, &in)) {
		assert(at > before && at <= text + strlen(text));
		before = at;
		assert(in.number >= 0 && in.number <= 1000000);
		assert(strlen(in.name) < IRQ_NAME);
		for (const char *c = in.name; *c; c++)
			assert(*c >= ' ' && *c <= '~');
		assert((interrupt_role(in.name, &queue) == IRQ_CONTROL) == (queue < 0));
		assert(queue < 1000000);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	try_sets(text);
	try_interrupts(text);
	free(text);
	return 0;
}
