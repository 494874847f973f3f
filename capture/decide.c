/* The order of things: find the record, judge, make the record, learn. */
#include "capture/decide.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/filter.h"
#include "capture/join.h"
#include "capture/legs.h"
#include "capture/snapshot.h"
#include "hep/msg.h"
#include "hep/sdp.h"
#include "hep/sip.h"
#include "storage/calls.h"
#include "storage/media.h"
#include "storage/seen.h"
#include "web-sql/stats.h"

/* The `rule` of a verdict: the place among the rules comes first, so that the lowest place is the
 * least. */
#define NUMBER_BITS 14
#define NUMBER_MASK ((1U << NUMBER_BITS) - 1)

/* The `action` of a verdict. */
#define ACTION_DROP  0
#define ACTION_STORE 1

_Static_assert(RULES_MAX <= NUMBER_MASK && FILTER_MAX_RULES << NUMBER_BITS < CALL_NO_RULE,
	       "a rule and its number fit into a verdict");

struct decider_counters {
	counter hits[RULES_MAX], filtered[RULES_MAX]; /* by number of the rule */
	struct seen_counters seen;
	struct call_counters calls;
	counter media_found;
};

struct decider {
	const struct decide_tables *tables;
	struct rcu_table_thread *calls, *media, *seen; /* NULL as the tables are */
	struct filter_thread *filter;
	struct joiner *joiner;
	struct decider_counters counters;
};

static uint32_t now_ms(const struct decide_input *in)
{
	return (uint32_t)(in->mono_us / 1000);
}

/* ---- records ---- */

static struct view method_of(const struct sip *s)
{
	return s->cseq_method.len ? s->cseq_method : s->method;
}

/* An OPTIONS or REGISTER begins nothing that others would belong to. */
bool decide_may_have_record(const struct sip *s)
{
	struct view method = method_of(s);

	return legs_is_callid(s->callid) && !view_is(method, "OPTIONS") &&
	       !view_is(method, "REGISTER");
}

/* An OPTIONS within a dialog is of the dialog: RFC 3261 section 11. */
static bool may_belong(const struct sip *s)
{
	return decide_may_have_record(s) ||
	       (legs_is_callid(s->callid) && s->to.tag.len && view_is(method_of(s), "OPTIONS"));
}

struct view decide_callid(const struct msg *m, const struct sip *s)
{
	if (!s)
		return legs_is_callid(m->correlation) ? m->correlation : (struct view){ 0 };
	return may_belong(s) ? s->callid : (struct view){ 0 };
}

static struct call *call_find(const struct decider *d, const struct decide_input *in,
			      struct view callid)
{
	const struct rcu_table *calls = d->tables->calls;

	return calls && callid.len
		       ? calls_find(calls, calls_hash(calls, callid), callid, now_ms(in))
		       : NULL;
}

static struct call *call_get(const struct decider *d, const struct decide_input *in,
			     struct view callid)
{
	return d->calls ? calls_get(d->calls, calls_hash(d->tables->calls, callid), callid,
				    now_ms(in))
			: NULL;
}

/* ---- the verdict ---- */

static unsigned verdict_number(struct call_verdict v)
{
	return v.rule == CALL_NO_RULE ? RULES_DEFAULT : v.rule & NUMBER_MASK;
}

/* Of an INVITE dialog, by rules of before a reload. */
static bool is_kept(struct call_verdict v, uint32_t generation)
{
	return v.generation != generation && call_verdict_holds(v, generation);
}

static int record_of(struct call_verdict v, const struct snapshot *snap)
{
	if (v.generation == snap->generation)
		return v.rule == CALL_NO_RULE ? FILTER_NONE : (int)(v.rule >> NUMBER_BITS);
	return is_kept(v, snap->generation) ? snap->rule_index[verdict_number(v)] : FILTER_NONE;
}

/* A verdict for the record of the Call-ID, which is made if there is something to keep. */
static void record_judge(struct decider *d, const struct decide_input *in,
			 const struct filter_decision *f, struct decision *out)
{
	bool is_invite = view_is(in->sip->method, "INVITE");
	struct call_verdict mine = { .generation = in->snapshot->generation,
				     .rule = CALL_NO_RULE,
				     .is_invite = is_invite };

	if (!is_invite && f->record == FILTER_NONE && !out->call)
		return;
	if (!out->call)
		out->call = call_get(d, in, in->sip->callid);
	if (!out->call || f->is_unsure)
		return;
	if (f->record != FILTER_NONE)
		mine.rule =
			(uint32_t)f->record << NUMBER_BITS | in->snapshot->rule_number[f->record];
	mine.action = filter_keeps_dialog(in->snapshot->filter, d->filter, f->record) ? ACTION_STORE
										      : ACTION_DROP;
	(void)call_judge(out->call, mine);
}

static void outcome(struct decider *d, unsigned number, const char *table, bool is_stored,
		    struct decision *out)
{
	out->is_stored = is_stored;
	out->table = view_of(table);
	counter_add(&d->counters.hits[number], 1);
	if (!is_stored)
		counter_add(&d->counters.filtered[number], 1);
}

static void judge(struct decider *d, const struct decide_input *in, struct decision *out)
{
	const struct snapshot *snap = in->snapshot;
	struct call_verdict v = out->call ? call_verdict(out->call) : (struct call_verdict){ 0 };
	struct filter_input input = { .msg = in->msg,
				      .sip = in->sip,
				      .source = in->source,
				      .agent = in->msg->agent_name,
				      .record = record_of(v, snap),
				      .is_kept = is_kept(v, snap->generation),
				      .mono_us = in->mono_us };
	struct filter_decision f;

	filter_decide(snap->filter, d->filter, &input, &f);
	if (f.is_kept)
		outcome(d, verdict_number(v), rules_table(snap->rules, verdict_number(v)),
			v.action == ACTION_STORE, out);
	else
		outcome(d, f.rule == FILTER_NONE ? RULES_DEFAULT : snap->rule_number[f.rule],
			f.table, f.is_stored, out);
	if (in->sip && !input.is_kept && filter_is_initial(in->sip) &&
	    decide_may_have_record(in->sip))
		record_judge(d, in, &f, out);
}

/* ---- legs ---- */

static void legs_join(struct decider *d, const struct decide_input *in, struct decision *out)
{
	struct join_input input = { .legs = &in->snapshot->legs,
				    .sip = in->sip,
				    .may_have_record = decide_may_have_record(in->sip),
				    .now_ms = now_ms(in) };
	struct joined joined = { .call = out->call };

	join(d->joiner, &input, &joined);
	out->call = joined.call;
	out->aleg = joined.aleg;
	out->correlation = joined.correlation;
}

/* ---- copies ---- */

static bool is_key(struct seen_key key)
{
	return key.low || key.high;
}

struct seen_key decide_expect(const struct decider *d, const struct snapshot *snapshot,
			      const struct msg *m)
{
	struct seen_key key = { 0 };

	if (d->seen && snapshot->window_ms) {
		key = seen_key(d->tables->seen, m);
		rcu_table_prefetch_bucket(d->tables->seen, key.low);
	}
	return key;
}

bool decide_is_copy(struct decider *d, const struct decide_input *in, uint32_t source)
{
	const struct msg *m = in->msg;
	struct seen_copy copy;

	if (!d->seen || in->snapshot->window_ms == 0)
		return false;
	copy = (struct seen_copy){ .key = is_key(in->copy_key) ? in->copy_key
							       : seen_key(d->tables->seen, m),
				   .source = source,
				   .ip_id = m->has_ip_id ? m->ip_id : SEEN_NO_IP_ID,
				   .ts_us = m->ts_us };
	return seen_judge(d->seen, &d->counters.seen, &copy, in->snapshot->window_ms, now_ms(in)) ==
	       SEEN_DUPLICATE;
}

/* ---- all of it ---- */

void decide(struct decider *d, const struct decide_input *in, struct decision *out)
{
	if (is_key(in->copy_key))
		rcu_table_prefetch_entry(d->tables->seen, in->copy_key.low);
	*out = (struct decision){ .call = call_find(d, in, decide_callid(in->msg, in->sip)) };
	judge(d, in, out);
	if (in->sip)
		legs_join(d, in, out);
}

/* ---- what a message says of its call ---- */

static void media_note(struct decider *d, const struct decide_input *in)
{
	const struct sip *s = in->sip;
	struct view body = in->msg->payload;
	struct sdp sdp;

	if (!d->media || s->content_type.len == 0 || body.len <= s->header_bytes)
		return;
	body.at += s->header_bytes;
	body.len -= s->header_bytes;
	sdp_read(s->content_type, body, &sdp);
	if (sdp.count)
		(void)media_learn(d->media, &sdp, s->callid, now_ms(in));
}

void decide_note(struct decider *d, const struct decide_input *in, const struct decision *decision)
{
	if (decision->call)
		call_count(decision->call, &d->counters.calls, in->sip, in->msg->ts_us);
	media_note(d, in);
}

void decide_find_call(struct decider *d, const struct decide_input *in)
{
	struct msg *m = in->msg;

	if (!d->media || m->correlation.len)
		return;
	m->correlation = media_find(d->tables->media, &m->src, now_ms(in));
	if (m->correlation.len == 0)
		m->correlation = media_find(d->tables->media, &m->dst, now_ms(in));
	if (m->correlation.len)
		counter_add(&d->counters.media_found, 1);
}

/* ---- life ---- */

int decider_new(struct decider **out, const struct decide_tables *tables, unsigned thread)
{
	struct decider *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->tables = tables;
	if (tables->calls)
		d->calls = rcu_table_thread(tables->calls, thread);
	if (tables->media)
		d->media = rcu_table_thread(tables->media, thread);
	if (tables->seen)
		d->seen = rcu_table_thread(tables->seen, thread);
	err = filter_thread_new(&d->filter);
	if (err == HT_OK)
		err = joiner_new(&d->joiner, d->calls);
	if (err < 0)
		decider_free(d);
	else
		*out = d;
	return err;
}

void decider_free(struct decider *d)
{
	if (!d)
		return;
	filter_thread_free(d->filter);
	joiner_free(d->joiner);
	free(d);
}

void decider_tell(const struct decider *d, struct stats_decisions *out)
{
	const struct decider_counters *n = &d->counters;

	*out = (struct stats_decisions){ .hits = n->hits,
					 .filtered = n->filtered,
					 .seen = &n->seen,
					 .calls = &n->calls,
					 .media_found = &n->media_found,
					 .legs = joiner_counters(d->joiner),
					 .unsure = filter_thread_unsure(d->filter) };
}
