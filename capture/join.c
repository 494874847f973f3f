/* From the values of headers to the leg before and the first leg. */
#include "capture/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/legs.h"
#include "conf/filter_regex.h"
#include "hep/sip.h"
#include "storage/calls.h"

/* Records on the way to the first leg. One is enough where the legs came in their order, however
 * many there are; each that came before the one it names adds one. */
#define STEPS 32

struct joiner {
	struct rcu_table_thread *calls;
	const struct rcu_table *table;
	struct filter_matcher *matcher;
	struct leg_counters counters;
	uint8_t key[LEGS_KEY];
};

/* ---- records ---- */

static struct call *find(const struct joiner *j, struct view callid, uint32_t now_ms)
{
	return j->calls ? calls_find(j->table, calls_hash(j->table, callid), callid, now_ms) : NULL;
}

static struct call *get(struct joiner *j, struct view callid, uint32_t now_ms)
{
	return j->calls ? calls_get(j->calls, calls_hash(j->table, callid), callid, now_ms) : NULL;
}

static int compare(struct view a, struct view b)
{
	uint32_t len = a.len < b.len ? a.len : b.len;
	int order = len ? memcmp(a.at, b.at, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_same(struct view a, struct view b)
{
	return a.len == b.len && compare(a, b) == 0;
}

/* ---- the first leg ---- */

static struct view step_from(const struct call *call)
{
	struct view far = call_correlation(call);

	return far.len ? far : call_aleg(call);
}

/* Two threads at once may close a ring that neither saw. Those in it agree: the least is first. */
static struct view first_of_ring(const struct joiner *j, const struct call *call, uint32_t now_ms)
{
	struct view least = call_id(call), next;

	for (unsigned n = 0; n < STEPS; n++) {
		next = step_from(call);
		if (next.len == 0)
			return call_id(call); /* no ring, but a long way */
		call = find(j, next, now_ms);
		if (!call)
			return next;
		if (compare(next, least) < 0)
			least = next;
	}
	return least;
}

/* Of a record: Call-ID of the first leg, which is its own if no leg is before it. */
static struct view first_of(const struct joiner *j, const struct call *call, uint32_t now_ms)
{
	struct view first = call_id(call), next;

	for (unsigned n = 0; n < STEPS; n++) {
		const struct call *before;

		next = step_from(call);
		if (next.len == 0)
			return first;
		before = find(j, next, now_ms);
		if (!before)
			return next;
		first = next;
		call = before;
	}
	return first_of_ring(j, call, now_ms);
}

/* ---- joining ---- */

static struct call *own_get(struct joiner *j, const struct join_input *in, struct joined *out)
{
	if (!out->call && in->may_have_record)
		out->call = get(j, in->sip->callid, in->now_ms);
	return out->call;
}

static void leg_set(struct joiner *j, struct call *call, struct view aleg, struct view first)
{
	if (call_set_aleg(call, aleg) <= 0)
		return;
	(void)call_set_correlation(call, first);
	counter_add(&j->counters.joined, 1);
}

/* The message has them at once: its record may be in the making by another thread. */
static void own_leg_set(struct joiner *j, struct joined *out, struct view aleg, struct view first)
{
	if (out->aleg.len == 0) {
		out->aleg = aleg;
		out->correlation = first;
	}
	if (out->call)
		leg_set(j, out->call, aleg, first);
}

/* The header names the Call-ID of the leg before. Its record is made if it has not come yet, so
 * that it will know that it is one of several. */
static void join_named(struct joiner *j, const struct join_input *in, struct view before,
		       struct joined *out)
{
	struct view first = before;
	struct call *call;

	if (is_same(before, in->sip->callid))
		return;
	if (before.len > CALL_TEXT || !legs_is_callid(before)) {
		counter_add(&j->counters.refused, 1);
		return;
	}
	call = own_get(j, in, out) ? get(j, before, in->now_ms) : find(j, before, in->now_ms);
	if (call)
		first = first_of(j, call, in->now_ms);
	if (is_same(first, in->sip->callid)) {
		counter_add(&j->counters.refused, 1);
		return;
	}
	if (call)
		call_set_joined(call);
	own_leg_set(j, out, before, first);
}

/* The entry of a value that legs share; a new one begins with the first leg of this message. */
static struct call *shared_get(struct joiner *j, const struct join_input *in, unsigned rule,
			       struct view value, const struct call *own)
{
	struct view first = first_of(j, own, in->now_ms), key = { j->key, 0 };
	struct call *entry = NULL;
	uint64_t hash;

	key.len = legs_key(in->legs, rule, value, j->key);
	hash = calls_hash(j->table, key);
	if (key.len && (call_aleg(own).len || in->sip->callid.len <= CALL_TEXT))
		return calls_get_with_aleg(j->calls, hash, key, first, in->now_ms);
	if (key.len) /* half its own Call-ID would be no first leg */
		entry = calls_find(j->table, hash, key, in->now_ms);
	if (!entry)
		counter_add(&j->counters.refused, 1);
	return entry;
}

/* The first legs of two groups: the later group's gets the other before it. */
static void join_groups(struct joiner *j, const struct join_input *in, struct view first,
			struct view later)
{
	struct call *a = get(j, first, in->now_ms), *b = get(j, later, in->now_ms);

	if (!a || !b)
		return;
	call_set_joined(a);
	leg_set(j, b, first, first);
}

/* A value that legs share joins this one with the first that had it; if there is a leg before this
 * one already, all of its legs with all of those. */
static void join_shared(struct joiner *j, const struct join_input *in, unsigned rule,
			struct view value, struct joined *out)
{
	struct call *own = own_get(j, in, out), *entry, *call;
	struct view first, mine;

	if (!own)
		return;
	entry = shared_get(j, in, rule, value, own);
	if (!entry)
		return;
	call = get(j, call_aleg(entry), in->now_ms);
	if (!call)
		return;
	call_set_joined(call);
	first = first_of(j, call, in->now_ms);
	mine = call_aleg(own).len ? first_of(j, own, in->now_ms) : in->sip->callid;
	if (is_same(first, mine))
		return;
	if (call_aleg(own).len)
		join_groups(j, in, mine, first);
	else
		own_leg_set(j, out, first, first);
}

static void join_entry(struct joiner *j, const struct join_input *in, unsigned i,
		       struct joined *out)
{
	bool is_shared = in->legs->leg[i].is_shared;
	struct view value[LEGS_VALUES];
	int count;

	if (!is_shared && out->call && call_aleg(out->call).len)
		return; /* what was set first stays */
	count = legs_read(in->legs, i, j->matcher, in->sip, value);
	if (count < 0)
		counter_add(&j->counters.unsure, 1);
	for (int k = 0; k < count; k++) {
		if (is_shared)
			join_shared(j, in, i, value[k], out);
		else
			join_named(j, in, value[k], out);
	}
}

/* What the record says, for messages without such a header, too. */
static void tell(const struct joiner *j, const struct join_input *in, struct joined *out)
{
	struct view aleg = call_aleg(out->call);

	if (aleg.len == 0 && !call_is_joined(out->call))
		return;
	if (aleg.len)
		out->aleg = aleg;
	if (aleg.len || out->aleg.len == 0)
		out->correlation = first_of(j, out->call, in->now_ms);
	if (is_same(out->correlation, in->sip->callid))
		out->aleg = (struct view){ 0 };
}

void join(struct joiner *j, const struct join_input *in, struct joined *out)
{
	for (unsigned i = 0; i < in->legs->count; i++)
		join_entry(j, in, i, out);
	if (out->call)
		tell(j, in, out);
}

/* ---- life ---- */

int joiner_new(struct joiner **out, struct rcu_table_thread *calls)
{
	struct joiner *j = calloc(1, sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	j->calls = calls;
	j->table = calls ? rcu_table_of(calls) : NULL;
	err = filter_matcher_new(&j->matcher);
	if (err < 0)
		joiner_free(j);
	else
		*out = j;
	return err;
}

void joiner_free(struct joiner *j)
{
	if (!j)
		return;
	filter_matcher_free(j->matcher);
	free(j);
}

const struct leg_counters *joiner_counters(const struct joiner *j)
{
	return &j->counters;
}
