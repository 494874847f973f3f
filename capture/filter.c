/* Running programs, scopes and actions. */
#include "capture/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "capture/filter_fields.h"
#include "conf/conf.h"
#include "conf/filter_regex.h"
#include "hep/msg.h"

/* Not the hash by which calls are shed under pressure; the same on every server, so that all of
 * them keep the same calls. */
#define SAMPLE_SEED 0x73616d706c65ULL

/* A second and how many messages were stored in it. */
struct limit {
	_Atomic uint64_t second_and_count;
} __attribute__((aligned(64)));

struct filter {
	struct filter_program *program;
	struct limit *limits; /* per rule, that of the default action behind them */
};

struct filter_thread {
	struct filter_matcher *matcher;
	counter unsure;
	struct filter_fields fields;
};

int filter_new(struct filter_program *program, struct filter **out)
{
	struct filter *f = calloc(1, sizeof(*f));
	size_t bytes = (program->rule_count + 1) * sizeof(*f->limits);

	if (f)
		f->limits = aligned_alloc(64, bytes);
	if (!f || !f->limits) {
		free(f);
		filter_free(program);
		return -ENOMEM;
	}
	memset(f->limits, 0, bytes);
	f->program = program;
	*out = f;
	return HT_OK;
}

void filter_end(struct filter *f)
{
	if (!f)
		return;
	filter_free(f->program);
	free(f->limits);
	free(f);
}

const struct filter_program *filter_program_of(const struct filter *f)
{
	return f->program;
}

int filter_thread_new(struct filter_thread **out)
{
	struct filter_thread *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	err = filter_matcher_new(&t->matcher);
	if (err < 0)
		free(t);
	else
		*out = t;
	return err;
}

void filter_thread_free(struct filter_thread *t)
{
	if (!t)
		return;
	filter_matcher_free(t->matcher);
	free(t);
}

const counter *filter_thread_unsure(const struct filter_thread *t)
{
	return &t->unsure;
}

/* Deciding and explaining are the same lines, compiled twice: where the teller is the constant
 * NULL, nothing of it is left. */
#define TWICE static inline __attribute__((always_inline))

/* ---- tests: 1 holds, 0 does not, -1 cannot be told ---- */

TWICE int test_nets(struct filter_fields *f, const struct filter_test *t)
{
	uint8_t ip[16];

	return t->net_count && filter_address(f, t->left, ip) &&
	       conf_net_has(t->nets, t->net_count, ip);
}

TWICE int test_texts(struct filter_fields *f, const struct filter_test *t)
{
	struct view v = filter_text(f, t->left);

	for (uint32_t i = 0; i < t->text_count; i++) {
		if (v.len == t->texts[i].len &&
		    (v.len == 0 || memcmp(v.at, t->texts[i].at, v.len) == 0))
			return 1;
	}
	return test_nets(f, t);
}

TWICE int test_ranges(struct filter_fields *f, const struct filter_test *t)
{
	uint64_t n;

	if (!filter_number(f, t->left, &n))
		return 0;
	for (uint32_t i = 0; i < t->range_count; i++) {
		if (n >= t->ranges[i].least && n <= t->ranges[i].most)
			return 1;
	}
	return 0;
}

TWICE int test_same_text(struct filter_fields *f, const struct filter_test *t)
{
	struct view a = filter_text(f, t->left), b = filter_text(f, t->right);

	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

TWICE int test_same_address(struct filter_fields *f, const struct filter_test *t)
{
	uint8_t a[16], b[16];

	return filter_address(f, t->left, a) && filter_address(f, t->right, b) &&
	       memcmp(a, b, sizeof(a)) == 0;
}

TWICE int test_numbers(struct filter_fields *f, const struct filter_test *t)
{
	uint64_t a, b;

	if (!filter_number(f, t->left, &a) || !filter_number(f, t->right, &b))
		return 0;
	if (t->op == FILTER_OP_SAME_NUMBER)
		return a == b;
	return t->op == FILTER_OP_LESS ? a < b : a <= b;
}

/* One look at a field is for all expressions that are looked for in it. */
TWICE bool is_possible(struct filter_fields *f, const struct filter_test *t)
{
	unsigned number = t->probe - 1U;
	struct view v;

	if (!(f->probed_bits >> number & 1)) {
		v = filter_text(f, t->left);
		filter_probe_look(&f->program->probes[number], v.at, v.len, &f->probed[number]);
		f->probed_bits |= (uint8_t)(1U << number);
	}
	return filter_probe_allows(t, &f->probed[number]);
}

TWICE int test_regex(struct filter_thread *thread, const struct filter_test *t)
{
	struct view v = filter_text(&thread->fields, t->left);

	return filter_regex_match(t->regex, thread->matcher, v.at, v.len);
}

TWICE int test_run(struct filter_thread *thread, const struct filter_test *t)
{
	struct filter_fields *f = &thread->fields;

	switch ((enum filter_op)t->op) {
	case FILTER_OP_IS:
		return filter_flag(f, t->left.field);
	case FILTER_OP_REGEX:
		return t->probe && !is_possible(f, t) ? 0 : test_regex(thread, t);
	case FILTER_OP_TEXT:
		return test_texts(f, t);
	case FILTER_OP_NUMBER:
		return test_ranges(f, t);
	case FILTER_OP_NET:
		return test_nets(f, t);
	case FILTER_OP_SAME_TEXT:
		return test_same_text(f, t);
	case FILTER_OP_SAME_ADDRESS:
		return test_same_address(f, t);
	case FILTER_OP_SAME_NUMBER:
	case FILTER_OP_LESS:
	case FILTER_OP_AT_MOST:
		return test_numbers(f, t);
	}
	return 0;
}

TWICE int rule_run(const struct filter_program *p, struct filter_thread *thread, uint32_t first,
		   const struct filter_teller *teller)
{
	uint32_t at = first;

	while (at < FILTER_NO) {
		int holds = test_run(thread, &p->tests[at]);

		if (teller)
			teller->test(teller->ctx, &p->tests[at], holds);
		if (holds < 0)
			return holds;
		at = holds ? p->tests[at].yes : p->tests[at].no;
	}
	return at == FILTER_YES;
}

/* ---- rules ---- */

bool filter_is_initial(const struct sip *sip)
{
	return !sip->is_reply && sip->to.tag.len == 0 && !view_is(sip->method, "ACK") &&
	       !view_is(sip->method, "CANCEL");
}

/* An OPTIONS or a REGISTER begins nothing that others would belong to. */
static bool makes_record(const struct sip *sip)
{
	return !view_is(sip->method, "OPTIONS") && !view_is(sip->method, "REGISTER");
}

TWICE int find_rule(const struct filter_program *p, struct filter_thread *thread,
		    const struct filter_input *in, bool is_initial, struct filter_decision *out,
		    const struct filter_teller *teller)
{
	for (uint32_t i = 0; i < p->rule_count; i++) {
		const struct filter_rule *r = &p->rules[i];
		bool by_record = r->scope == FILTER_SCOPE_DIALOG && !is_initial;
		int matches =
			by_record ? in->record == (int)i : rule_run(p, thread, r->first, teller);

		if (teller)
			teller->rule(teller->ctx, i, by_record, matches);
		out->is_unsure = matches < 0;
		if (matches)
			return matches < 0 ? FILTER_NONE : (int)i;
	}
	return FILTER_NONE;
}

/* ---- actions ---- */

static bool is_in_sample(struct filter_fields *f, uint32_t amount)
{
	struct view id = filter_text(f, (struct filter_operand){ .field = FILTER_CALLID });

	if (id.len == 0)
		id = f->in->msg->payload;
	return XXH3_64bits_withSeed(id.len ? (const void *)id.at : "", id.len, SAMPLE_SEED) %
		       FILTER_SAMPLE_ALL <
	       amount;
}

/* Threads' clocks are apart by the length of a batch: whoever is late counts in the newer second.
 */
static bool is_within_limit(struct limit *l, uint32_t amount, uint64_t mono_us)
{
	uint64_t second = mono_us / 1000000, was, count;

	was = atomic_load_explicit(&l->second_and_count, memory_order_relaxed);
	do {
		if (was >> 32 > second)
			second = was >> 32;
		count = was >> 32 == second ? was & UINT32_MAX : 0;
		if (count >= amount)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&l->second_and_count, &was, second << 32 | (count + 1), memory_order_relaxed,
		memory_order_relaxed));
	return true;
}

static bool is_stored(struct filter *f, struct filter_thread *t, const struct filter_verdict *v,
		      size_t limit, uint64_t mono_us)
{
	switch (v->action) {
	case FILTER_STORE:
		return true;
	case FILTER_DROP:
		return false;
	case FILTER_SAMPLE:
		return is_in_sample(&t->fields, v->amount);
	case FILTER_LIMIT:
		return is_within_limit(&f->limits[limit], v->amount, mono_us);
	}
	return true;
}

TWICE void judge(struct filter *f, struct filter_thread *t, const struct filter_input *in,
		 struct filter_decision *out, const struct filter_teller *teller)
{
	const struct filter_program *p = f->program;
	bool is_initial = in->sip && !in->is_kept && filter_is_initial(in->sip);
	const struct filter_rule *r;

	*out = (struct filter_decision){ .record = FILTER_NONE, .table = "", .is_stored = true };
	filter_fields_begin(&t->fields, p, in);
	out->rule = find_rule(p, t, in, is_initial, out, teller);
	if (out->is_unsure) {
		counter_add(&t->unsure, 1);
		return;
	}
	out->is_kept = in->is_kept && (out->rule == FILTER_NONE ||
				       p->rules[out->rule].scope == FILTER_SCOPE_DIALOG);
	if (out->is_kept)
		return;
	if (out->rule == FILTER_NONE) {
		out->is_stored = is_stored(f, t, &p->otherwise, p->rule_count, in->mono_us);
		return;
	}
	r = &p->rules[out->rule];
	if (is_initial && r->scope == FILTER_SCOPE_DIALOG && makes_record(in->sip))
		out->record = out->rule;
	out->table = r->table;
	out->is_stored = is_stored(f, t, &r->verdict, (size_t)out->rule, in->mono_us);
}

void filter_decide(struct filter *f, struct filter_thread *t, const struct filter_input *in,
		   struct filter_decision *out)
{
	judge(f, t, in, out, NULL);
}

void filter_explain(struct filter *f, struct filter_thread *t, const struct filter_input *in,
		    struct filter_decision *out, const struct filter_teller *teller)
{
	judge(f, t, in, out, teller);
}

struct view filter_value(struct filter_thread *t, struct filter_operand field)
{
	return filter_text(&t->fields, field);
}

bool filter_keeps_dialog(struct filter *f, struct filter_thread *t, int rule)
{
	const struct filter_program *p = f->program;
	const struct filter_verdict *v =
		rule == FILTER_NONE ? &p->otherwise : &p->rules[rule].verdict;

	return v->action == FILTER_SAMPLE ? is_in_sample(&t->fields, v->amount)
					  : v->action != FILTER_DROP;
}
