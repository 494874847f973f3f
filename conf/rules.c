/* A list that only grows. */
#include "conf/rules.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OTHER (RULES_MAX - 1)

struct rule {
	char *name, *table;
};

struct rules {
	_Atomic unsigned count;
	struct rule rule[RULES_MAX];
};

static int rule_add(struct rules *r, const char *name, const char *table)
{
	unsigned n = atomic_load(&r->count);
	struct rule *rule = &r->rule[n];

	rule->name = strdup(name);
	rule->table = strdup(table);
	if (!rule->name || !rule->table) {
		free(rule->name);
		free(rule->table);
		return -ENOMEM;
	}
	atomic_store(&r->count, n + 1);
	return (int)n;
}

int rules_new(struct rules **out)
{
	struct rules *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	if (rule_add(r, "default_action", "") < 0) {
		rules_free(r);
		return -ENOMEM;
	}
	*out = r;
	return HT_OK;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->count; i++) {
		free(r->rule[i].name);
		free(r->rule[i].table);
	}
	free(r);
}

int rules_number(struct rules *r, const char *name, const char *table)
{
	unsigned count = atomic_load(&r->count);

	for (unsigned i = RULES_DEFAULT + 1; i < count; i++)
		if (strcmp(r->rule[i].name, name) == 0 && strcmp(r->rule[i].table, table) == 0)
			return (int)i;
	if (count == RULES_MAX)
		return OTHER;
	return count == OTHER ? rule_add(r, "other", "") : rule_add(r, name, table);
}

unsigned rules_count(const struct rules *r)
{
	return atomic_load(&r->count);
}

const char *rules_name(const struct rules *r, unsigned number)
{
	return r->rule[number].name;
}

const char *rules_table(const struct rules *r, unsigned number)
{
	return r->rule[number].table;
}
