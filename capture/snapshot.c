/* Header names made comparable, the node's name measured; the rest stays where it is. */
#include "capture/snapshot.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "capture/filter.h"

static _Atomic uint32_t last_generation;

static int names_add(struct snapshot *s, const struct conf_strings *strings)
{
	int err;

	for (size_t i = 0; i < strings->count; i++) {
		err = sip_names_add(&s->names, strings->at[i]);
		if (err < 0)
			return err;
	}
	return HT_OK;
}

static const struct conf_listener *listener_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->hep_count; i++)
		if (strcmp(conf->hep[i].name, name) == 0)
			return &conf->hep[i];
	return NULL;
}

static void listeners_find(struct snapshot *s, const struct conf *start, const struct conf *now)
{
	for (size_t i = 0; i < start->hep_count; i++) {
		s->listener[i] = listener_find(now, start->hep[i].name);
		if (!s->listener[i])
			s->listener[i] = &start->hep[i];
	}
}

static void sources_name(struct snapshot *s, const struct conf *start)
{
	for (size_t i = 0; i < start->hep_count; i++)
		s->source[i] = view_of(start->hep[i].name);
	for (size_t i = 0; i < start->capture_count; i++)
		s->source[start->hep_count + i] = view_of(start->capture[i].name);
}

static int rules_number_all(struct snapshot *s, struct rules *rules)
{
	const struct filter_program *program = filter_program_of(s->filter);

	s->rules = rules;
	memset(s->rule_index, 0xff, sizeof(s->rule_index));
	for (uint32_t i = 0; i < program->rule_count; i++) {
		const struct filter_rule *r = &program->rules[i];
		int number = rules_number(rules, r->name, r->table);

		if (number < 0)
			return number;
		s->rule_number[i] = (uint16_t)number;
		s->rule_index[number] = (int16_t)i;
	}
	return HT_OK;
}

static int filter_make(struct snapshot *s, const struct conf *now, struct rules *rules)
{
	struct filter_program *program;
	int err = conf_compile_filters(now, &program);

	if (err == HT_OK)
		err = filter_new(program, &s->filter);
	return err < 0 ? err : rules_number_all(s, rules);
}

int snapshot_new(struct snapshot **out, const struct conf *start, struct conf *fresh,
		 struct rules *rules)
{
	const struct conf *now = fresh ? fresh : start;
	struct snapshot *s = calloc(1, sizeof(*s));
	size_t node_len = strlen(start->node);
	int err;

	if (!s) {
		conf_free(fresh);
		return -ENOMEM;
	}
	s->owned = fresh;
	s->custom_fields = (uint8_t)now->custom_fields.count;
	s->skew_us = now->max_clock_skew * 1000000ULL;
	s->window_ms = now->duplicates.window * 1000;
	s->generation = atomic_fetch_add(&last_generation, 1) + 1;
	listeners_find(s, start, now);
	sources_name(s, start);
	err = node_len < sizeof(s->node) ? legs_init(&s->legs, &now->legs, &s->names) : -EINVAL;
	if (err == HT_OK)
		err = names_add(s, &now->custom_fields);
	if (err == HT_OK)
		err = filter_make(s, now, rules);
	if (err < 0) {
		snapshot_free(s);
		return err;
	}
	memcpy(s->node, start->node, node_len);
	s->node_len = (uint8_t)node_len;
	*out = s;
	return HT_OK;
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	filter_end(s->filter);
	legs_fini(&s->legs);
	conf_free(s->owned);
	free(s);
}

static void snapshot_free_rcu(struct rcu_head *head)
{
	rcu_retired();
	snapshot_free(caa_container_of(head, struct snapshot, rcu));
}

void snapshot_retire(struct snapshot *s)
{
	if (s)
		rcu_retire(&s->rcu, snapshot_free_rcu);
}
