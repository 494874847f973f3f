/* Records of calls: atomics whose order of writing does not matter, in an rcu_table. */
#include "storage/calls.h"

#include <string.h>

#include "hep/sip.h"

/* The length of a text that is set once: whoever claims it writes the text; until the length is
 * there, readers see none. */
#define TEXT_NONE    0
#define TEXT_CLAIMED 255

/* The first two cache lines are what a lookup and a verdict need. */
struct call {
	struct rcu_entry entry;
	_Atomic uint64_t verdict; /* packed, below */
	_Atomic uint64_t last_us;
	uint32_t id_len;       /* of the whole Call-ID; constant, as is `id` */
	_Atomic uint32_t told; /* states that call_note() returned */
	uint8_t id[CALL_TEXT];
	_Atomic uint64_t first_us;
	_Atomic uint64_t setup_us, ring_us, answer_us, end_us;
	_Atomic uint64_t fail; /* time << 10 | status */
	_Atomic uint8_t aleg_len, correlation_len;
	_Atomic bool is_joined;
	uint8_t aleg[CALL_TEXT], correlation[CALL_CORRELATION];
};

_Static_assert(sizeof(struct call) <= 448, "seven cache lines");

#define FAIL_STATUS_BITS 10

static struct call *call_of(struct rcu_entry *e)
{
	return e ? caa_container_of(e, struct call, entry) : NULL;
}

static const struct call *call_of_const(const struct rcu_entry *e)
{
	return caa_container_of(e, const struct call, entry);
}

static uint64_t load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- times ---- */

/* The least of what was seen; 0 is nothing seen. */
static void keep_least(_Atomic uint64_t *value, uint64_t seen)
{
	uint64_t was = load(value);

	while ((was == 0 || seen < was) &&
	       !atomic_compare_exchange_weak_explicit(value, &was, seen, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

static void keep_most(_Atomic uint64_t *value, uint64_t seen)
{
	uint64_t was = load(value);

	while (seen > was && !atomic_compare_exchange_weak_explicit(
				     value, &was, seen, memory_order_relaxed, memory_order_relaxed))
		;
}

/* ---- the table ---- */

static uint32_t text_len(uint32_t len)
{
	return len < CALL_TEXT ? len : CALL_TEXT;
}

/* What an entry is found by comes first, behind it what a new one begins with. */
struct call_key {
	struct view callid, aleg;
};

static int call_match(struct cds_lfht_node *node, const void *key)
{
	struct call *call = caa_container_of(node, struct call, entry.node);
	const struct view *callid = key;

	rcu_tell_acquire(&call->entry);
	return call->id_len == callid->len &&
	       (callid->len == 0 || memcmp(call->id, callid->at, text_len(callid->len)) == 0);
}

static void call_fill(struct rcu_entry *e, const void *key)
{
	const struct call_key *k = key;
	struct call *call = call_of(e);

	memset((uint8_t *)call + sizeof(*e), 0, offsetof(struct call, id) - sizeof(*e));
	memset(&call->first_us, 0, offsetof(struct call, aleg) - offsetof(struct call, first_us));
	call->id_len = k->callid.len;
	if (k->callid.len)
		memcpy(call->id, k->callid.at, text_len(k->callid.len));
	if (k->aleg.len)
		memcpy(call->aleg, k->aleg.at, text_len(k->aleg.len));
	atomic_init(&call->aleg_len, (uint8_t)text_len(k->aleg.len));
}

static enum call_state state_of(const struct call *call);

static bool call_is_over(const struct rcu_entry *e, uint32_t idle_ms)
{
	static const uint32_t life_ms[] = {
		[CALL_NONE] = CALL_OTHER_MS,	    [CALL_SETUP] = CALL_SETUP_MS,
		[CALL_ANSWERED] = CALL_ANSWERED_MS, [CALL_ENDED] = CALL_OVER_MS,
		[CALL_FAILED] = CALL_OVER_MS,
	};

	return idle_ms >= CALL_OVER_MS && idle_ms >= life_ms[state_of(call_of_const(e))];
}

uint64_t calls_hash(const struct rcu_table *calls, struct view callid)
{
	return rcu_table_hash(calls, callid.at, callid.len);
}

struct call *calls_find(const struct rcu_table *calls, uint64_t hash, struct view callid,
			uint32_t now_ms)
{
	struct call *call = call_of(rcu_table_find(calls, hash, &callid));

	if (call)
		rcu_entry_touch(&call->entry, now_ms);
	return call;
}

struct call *calls_get(struct rcu_table_thread *th, uint64_t hash, struct view callid,
		       uint32_t now_ms)
{
	return calls_get_with_aleg(th, hash, callid, (struct view){ NULL, 0 }, now_ms);
}

struct call *calls_get_with_aleg(struct rcu_table_thread *th, uint64_t hash, struct view callid,
				 struct view aleg, uint32_t now_ms)
{
	struct call_key key = { .callid = callid, .aleg = aleg };

	return call_of(rcu_table_put(th, hash, &key, now_ms));
}

uint64_t calls_entry_cost(void)
{
	return rcu_table_entry_cost(sizeof(struct call));
}

int calls_new(struct rcu_table **out, uint32_t entries, unsigned threads)
{
	const struct rcu_table_options o = { .entries = entries,
					     .entry_bytes = sizeof(struct call),
					     .threads = threads,
					     .match = call_match,
					     .fill = call_fill,
					     .is_over = call_is_over };

	return rcu_table_new(out, &o);
}

/* ---- the verdict ---- */

/* generation 32 | is_invite 1 | rule 23 | action 8 */
#define RULE_SHIFT	 8
#define INVITE_SHIFT	 31
#define GENERATION_SHIFT 32

static uint64_t verdict_pack(struct call_verdict v)
{
	uint64_t rule = v.rule < CALL_NO_RULE ? v.rule : CALL_NO_RULE;

	return (uint64_t)v.generation << GENERATION_SHIFT | (uint64_t)v.is_invite << INVITE_SHIFT |
	       rule << RULE_SHIFT | v.action;
}

static struct call_verdict verdict_unpack(uint64_t word)
{
	return (struct call_verdict){
		.generation = (uint32_t)(word >> GENERATION_SHIFT),
		.is_invite = word >> INVITE_SHIFT & 1,
		.rule = (uint32_t)(word >> RULE_SHIFT) & CALL_NO_RULE,
		.action = (uint8_t)word,
	};
}

/* Which of two stands; the same whichever came first. */
static struct call_verdict verdict_merge(struct call_verdict a, struct call_verdict b)
{
	struct call_verdict v;

	if (a.generation == 0 || b.generation == 0)
		return a.generation ? a : b;
	if (a.generation == b.generation) {
		v = a.rule < b.rule || (a.rule == b.rule && a.action <= b.action) ? a : b;
		v.is_invite = a.is_invite || b.is_invite;
		return v;
	}
	if (a.is_invite != b.is_invite)
		return a.is_invite ? a : b;
	/* an INVITE dialog keeps its verdict, anything else is judged anew */
	return (a.generation < b.generation) == a.is_invite ? a : b;
}

/* Who reads a rule from a record may know it from there alone: what it stands for comes along. */
static uint64_t verdict_load(const struct call *call)
{
	return atomic_load_explicit(&call->verdict, memory_order_acquire);
}

struct call_verdict call_judge(struct call *call, struct call_verdict mine)
{
	uint64_t was = verdict_load(call), is;

	do
		is = verdict_pack(verdict_merge(verdict_unpack(was), mine));
	while (is != was &&
	       !atomic_compare_exchange_weak_explicit(&call->verdict, &was, is,
						      memory_order_acq_rel, memory_order_acquire));
	return verdict_unpack(is);
}

struct call_verdict call_verdict(const struct call *call)
{
	return verdict_unpack(verdict_load(call));
}

/* ---- texts ---- */

static int text_set(_Atomic uint8_t *len, uint8_t *at, uint32_t most, struct view v)
{
	uint8_t was = TEXT_NONE;

	if (v.len > most)
		return HT_EFULL;
	if (v.len == 0 || atomic_load_explicit(len, memory_order_relaxed) != TEXT_NONE ||
	    !atomic_compare_exchange_strong_explicit(len, &was, TEXT_CLAIMED, memory_order_relaxed,
						     memory_order_relaxed))
		return HT_OK;
	memcpy(at, v.at, v.len);
	atomic_store_explicit(len, (uint8_t)v.len, memory_order_release);
	return 1;
}

static struct view text_view(const _Atomic uint8_t *len, const uint8_t *at)
{
	uint8_t n = atomic_load_explicit(len, memory_order_acquire);

	return n == TEXT_NONE || n == TEXT_CLAIMED ? (struct view){ NULL, 0 }
						   : (struct view){ at, n };
}

int call_set_aleg(struct call *call, struct view callid)
{
	return text_set(&call->aleg_len, call->aleg, CALL_TEXT, callid);
}

int call_set_correlation(struct call *call, struct view callid)
{
	return text_set(&call->correlation_len, call->correlation, CALL_CORRELATION, callid);
}

void call_set_joined(struct call *call)
{
	if (!atomic_load_explicit(&call->is_joined, memory_order_relaxed))
		atomic_store_explicit(&call->is_joined, true, memory_order_relaxed);
}

bool call_is_joined(const struct call *call)
{
	return atomic_load_explicit(&call->is_joined, memory_order_relaxed);
}

struct view call_aleg(const struct call *call)
{
	return text_view(&call->aleg_len, call->aleg);
}

struct view call_correlation(const struct call *call)
{
	return text_view(&call->correlation_len, call->correlation);
}

struct view call_id(const struct call *call)
{
	return (struct view){ call->id, text_len(call->id_len) };
}

/* ---- how far it came ---- */

static enum call_state state_of(const struct call *call)
{
	if (load(&call->end_us))
		return CALL_ENDED;
	if (load(&call->answer_us))
		return CALL_ANSWERED;
	if (load(&call->fail))
		return CALL_FAILED;
	return load(&call->setup_us) ? CALL_SETUP : CALL_NONE;
}

static bool asks_again(uint32_t status)
{
	return status == 401 || status == 407;
}

static void note_reply(struct call *call, const struct sip *sip, uint64_t ts_us)
{
	if (!view_is(sip->cseq_method, "INVITE"))
		return;
	if (sip->status >= 180 && sip->status < 190)
		keep_least(&call->ring_us, ts_us);
	else if (sip->status >= 200 && sip->status < 300)
		keep_least(&call->answer_us, ts_us);
	else if (sip->status >= 300 && sip->status < 700 && !asks_again(sip->status))
		keep_most(&call->fail, ts_us << FAIL_STATUS_BITS | sip->status);
}

static void note_request(struct call *call, const struct sip *sip, uint64_t ts_us)
{
	if (view_is(sip->method, "INVITE") && sip->to.tag.len == 0)
		keep_least(&call->setup_us, ts_us);
	else if (view_is(sip->method, "BYE"))
		keep_least(&call->end_us, ts_us);
}

/* Most messages bring nothing new: then nothing shared is written. */
static unsigned tell_once(struct call *call, enum call_state state)
{
	uint32_t bit = 1U << state;

	if (state == CALL_NONE || atomic_load_explicit(&call->told, memory_order_relaxed) & bit)
		return 0;
	return atomic_fetch_or_explicit(&call->told, bit, memory_order_relaxed) & bit ? 0 : bit;
}

unsigned call_note(struct call *call, const struct sip *sip, uint64_t ts_us)
{
	unsigned news = 0;

	keep_least(&call->first_us, ts_us);
	keep_most(&call->last_us, ts_us);
	if (sip->is_reply)
		note_reply(call, sip, ts_us);
	else
		note_request(call, sip, ts_us);
	if (load(&call->setup_us))
		news |= tell_once(call, CALL_SETUP);
	if (load(&call->answer_us))
		news |= tell_once(call, CALL_ANSWERED);
	return news | tell_once(call, state_of(call));
}

struct call_summary call_summary(const struct call *call)
{
	uint64_t fail = load(&call->fail);
	struct call_summary s = {
		.state = state_of(call),
		.first_us = load(&call->first_us),
		.last_us = load(&call->last_us),
		.setup_us = load(&call->setup_us),
		.ring_us = load(&call->ring_us),
		.answer_us = load(&call->answer_us),
		.end_us = load(&call->end_us),
		.fail_us = fail >> FAIL_STATUS_BITS,
		.fail_status = fail & ((1U << FAIL_STATUS_BITS) - 1),
	};

	s.fail_class = s.state == CALL_FAILED ? s.fail_status / 100 : 0;
	if (s.setup_us && s.ring_us > s.setup_us)
		s.dial_delay_us = s.ring_us - s.setup_us;
	return s;
}

/* ---- counters ---- */

/* A call that fails counts under the class of what it had then; one that is answered by another
 * branch after that counts under both states. */
void call_count(struct call *call, struct call_counters *n, const struct sip *sip, uint64_t ts_us)
{
	unsigned news = call_note(call, sip, ts_us);
	struct call_summary s;

	if (!news)
		return;
	s = call_summary(call);
	for (unsigned i = CALL_SETUP; i < CALL_STATES; i++)
		counter_add(&n->state[i], news >> i & 1);
	if (news >> CALL_FAILED & 1)
		counter_add(&n->failed[s.fail_class], 1);
	if (news & (1U << CALL_ANSWERED | 1U << CALL_FAILED) && s.dial_delay_us) {
		counter_add(&n->dial_delay_us, s.dial_delay_us);
		counter_add(&n->dial_delays, 1);
	}
	if (news >> CALL_ENDED & 1 && s.answer_us && s.end_us > s.answer_us) {
		counter_add(&n->talk_us, s.end_us - s.answer_us);
		counter_add(&n->talks, 1);
	}
}
