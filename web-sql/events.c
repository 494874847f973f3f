/* What was told last, compared with what is. */
#include "web-sql/events.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/rcu.h"
#include "storage/agents.h"
#include "web-sql/stats.h"

#define QUIET_MOST 16384 /* silent agents: as many as `tables.agents` may be */

/* What is well or not. */
struct state {
	bool is_db_up, is_spool_ok, has_reserve;
	unsigned shed_class; /* the highest that the spool sheds; 0: none */
	bool is_high[STATS_MAX_MEMORY];
	bool is_found[STATS_MAX_FINDINGS];
};

static const struct state all_well = { .is_db_up = true, .is_spool_ok = true, .has_reserve = true };

/* Losses, by what is lost: they only grow. */
enum loss {
	LOSS_KERNEL,
	LOSS_SHED_MEMORY,
	LOSS_SHED_SPOOL,
	LOSS_DAMAGE,
	LOSS_SHUTDOWN,
	LOSS_STATISTICS,
	LOSS_KINDS
};

static const char *const loss_name[LOSS_KINDS] = {
	[LOSS_KERNEL] = "kernel_dropped",  [LOSS_SHED_MEMORY] = "shed_memory",
	[LOSS_SHED_SPOOL] = "shed_spool",  [LOSS_DAMAGE] = "rows_damage",
	[LOSS_SHUTDOWN] = "rows_shutdown", [LOSS_STATISTICS] = "statistics_rows",
};

struct quiet {
	struct agent_key key; /* no padding: compared octet by octet */
	char name[AGENT_NAME];
	uint64_t last_us;
};

/* Agents that are silent, by key. */
struct quiet_set {
	unsigned count;
	struct quiet at[QUIET_MOST];
};

struct events {
	const struct stats_sources *from;
	uint64_t born_us; /* monotonic */
	bool was_db_up;	  /* once, at least */
	uint64_t silent_us;
	uint64_t made, unmade;
	struct state told;
	uint64_t lost[LOSS_KINDS];	/* as told */
	uint64_t lost_us, lost_told_us; /* monotonic: counted from; 0: not told yet */
	struct quiet_set set[2], *quiet, *spare;
};

/* ---- forms ---- */

static json_t *json_moment(uint64_t wall_us)
{
	time_t t = (time_t)(wall_us / 1000000);
	char day[32], text[48];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned)(wall_us / 1000 % 1000));
	return json_string(text);
}

/* JSON takes UTF-8 alone; what a complaint quotes may be anything, and is cut anywhere. */
static json_t *json_text(const char *text)
{
	char clean[EVENTS_TEXT_MOST + 1];
	size_t len = strnlen(text, EVENTS_TEXT_MOST);
	json_t *json;

	while (text[len] && len && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--; /* the character that the cut would part */
	json = json_stringn(text, len);
	if (json)
		return json;
	for (size_t i = 0; i < len; i++)
		clean[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	return json_stringn(clean, len);
}

/* @p details is taken. */
static void tell(struct events *e, struct events_to to, const char *name, uint64_t wall_us,
		 json_t *details)
{
	json_t *root = json_pack("{sssIsoso}", "event", name, "id", (json_int_t)(e->made + 1), "at",
				 json_moment(wall_us), "node", json_text(e->from->node));
	char *text = NULL;

	if (root && details && json_object_update(root, details) == 0)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(details);
	json_decref(root);
	if (!text) {
		e->unmade++;
		return;
	}
	to.fn(to.ctx, name, ++e->made, text);
	free(text);
}

/* ---- what is well or not ---- */

static unsigned class_of(double pressure)
{
	unsigned level = (unsigned)(pressure * PRESSURE_MOST + 0.5);

	return (level + SHED_STEPS - 1) / SHED_STEPS;
}

static void state_take(struct events *e, const struct stats *st, struct events_time now,
		       struct state *out)
{
	e->was_db_up |= st->is_db_up;
	*out = (struct state){
		.is_db_up = st->is_db_up ||
			    (!e->was_db_up && now.mono_us - e->born_us < EVENTS_DB_GRACE_US),
		.is_spool_ok = st->is_spool_ok,
		.has_reserve = st->has_spool_reserve,
		.shed_class = class_of(st->pressure[SHED_SPOOL]),
	};
	for (unsigned i = 0; i < st->memory_count; i++)
		out->is_high[i] = st->memory[i].is_high;
	for (unsigned i = 0; i < st->finding_count; i++)
		out->is_found[i] = st->findings[i].is_on;
}

static bool spool_is_well(const struct state *s)
{
	return s->is_spool_ok && s->has_reserve && s->shed_class == 0;
}

static json_t *spool_details(const struct stats *st)
{
	return json_pack("{sIsI}", "spool_bytes", (json_int_t)st->spool_bytes, "rows_in_spool",
			 (json_int_t)st->in_spool);
}

static json_t *shedding_details(const struct stats *st, unsigned class)
{
	json_t *details = spool_details(st);

	if (details && json_object_set_new(details, "class", json_integer(class)) == 0)
		return details;
	json_decref(details);
	return NULL;
}

static void spool_compare(struct events *e, const struct state *was, const struct state *is,
			  const struct stats *st, uint64_t wall_us, struct events_to to)
{
	if (was->is_spool_ok && !is->is_spool_ok)
		tell(e, to, "spool_refuses", wall_us, spool_details(st));
	if (was->has_reserve && !is->has_reserve)
		tell(e, to, "spool_reserve_missing", wall_us, spool_details(st));
	if (is->shed_class && is->shed_class != was->shed_class)
		tell(e, to, "spool_shedding", wall_us, shedding_details(st, is->shed_class));
	if (!spool_is_well(was) && spool_is_well(is))
		tell(e, to, "spool_normal", wall_us, spool_details(st));
}

static void memory_compare(struct events *e, const struct state *was, const struct state *is,
			   const struct stats *st, uint64_t wall_us, struct events_to to)
{
	for (unsigned i = 0; i < st->memory_count; i++) {
		const struct stats_memory *m = &st->memory[i];

		if (was->is_high[i] != is->is_high[i])
			tell(e, to, is->is_high[i] ? "memory_high" : "memory_normal", wall_us,
			     json_pack("{sssIsI}", "group", m->group, "used", (json_int_t)m->used,
				       "limit", (json_int_t)m->limit));
	}
}

static void host_compare(struct events *e, const struct state *was, const struct state *is,
			 const struct stats *st, uint64_t wall_us, struct events_to to)
{
	for (unsigned i = 0; i < st->finding_count; i++) {
		const struct stats_finding *f = &st->findings[i];

		if (was->is_found[i] != is->is_found[i])
			tell(e, to, is->is_found[i] ? "host_finding" : "host_normal", wall_us,
			     json_pack("{ssso}", "finding", f->name, "text", json_text(f->text)));
	}
}

static void state_compare(struct events *e, const struct state *was, const struct state *is,
			  const struct stats *st, uint64_t wall_us, struct events_to to)
{
	if (was->is_db_up != is->is_db_up)
		tell(e, to, is->is_db_up ? "database_up" : "database_down", wall_us,
		     json_pack("{sI}", "rows_in_spool", (json_int_t)st->in_spool));
	spool_compare(e, was, is, st, wall_us, to);
	memory_compare(e, was, is, st, wall_us, to);
	host_compare(e, was, is, st, wall_us, to);
}

/* ---- losses ---- */

static void losses_take(const struct stats *st, uint64_t out[LOSS_KINDS])
{
	const struct stats_deltas *d = &st->deltas;

	memset(out, 0, LOSS_KINDS * sizeof(out[0]));
	for (unsigned k = 0; k <= SHED_CLASSES; k++) {
		out[LOSS_SHED_MEMORY] += st->all.shed[SHED_MEMORY][k];
		out[LOSS_SHED_SPOOL] += st->all.shed[SHED_SPOOL][k];
	}
	out[LOSS_KERNEL] = st->all.kernel_dropped;
	out[LOSS_DAMAGE] = st->lost_damage;
	out[LOSS_SHUTDOWN] = st->lost_shutdown;
	out[LOSS_STATISTICS] = d->lost_memory + d->lost_damage + d->lost_shutdown + d->lost_spool;
}

static void losses_compare(struct events *e, const struct stats *st, struct events_time now,
			   struct events_to to)
{
	uint64_t lost[LOSS_KINDS];
	json_t *details;
	bool any = false;

	if (e->lost_told_us && now.mono_us - e->lost_told_us < EVENTS_LOSS_US)
		return;
	losses_take(st, lost);
	for (unsigned i = 0; i < LOSS_KINDS; i++)
		any |= lost[i] != e->lost[i];
	if (!any)
		return;
	details = json_object();
	for (unsigned i = 0; i < LOSS_KINDS; i++)
		json_object_set_new(details, loss_name[i],
				    json_integer((json_int_t)(lost[i] - e->lost[i])));
	json_object_set_new(details, "seconds",
			    json_integer((json_int_t)((now.mono_us - e->lost_us) / 1000000)));
	tell(e, to, "loss", now.wall_us, details);
	memcpy(e->lost, lost, sizeof(lost));
	e->lost_us = e->lost_told_us = now.mono_us;
}

/* ---- agents ---- */

/* Those that changed: all are counted, some kept. */
struct turned {
	unsigned count;
	struct quiet some[EVENTS_AGENTS_MOST];
};

struct roll_call {
	const struct quiet_set *was;
	struct quiet_set *is;
	uint64_t wall_us, silent_us;
	struct turned silent, back;
};

static int key_order(const void *a, const void *b)
{
	const struct quiet *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static void turned_add(struct turned *t, const struct quiet *q)
{
	if (t->count < EVENTS_AGENTS_MOST)
		t->some[t->count] = *q;
	t->count++;
}

/* Who never sent what was stored is no agent to be missed: a scanner, a key that is wrong. */
static void agent_look(void *ctx, const struct agent_view *v)
{
	struct roll_call *c = ctx;
	struct quiet q = { .key = v->key, .last_us = v->last_us };
	const struct quiet *was;

	if (v->is_rest || v->accepted == 0 || c->is->count == QUIET_MOST)
		return;
	memcpy(q.name, v->name, sizeof(q.name));
	was = bsearch(&q, c->was->at, c->was->count, sizeof(q), key_order);
	if (c->wall_us >= v->last_us && c->wall_us - v->last_us >= c->silent_us) {
		c->is->at[c->is->count++] = q;
		if (!was)
			turned_add(&c->silent, &q);
	} else if (was && was->last_us != v->last_us) {
		turned_add(&c->back, &q);
	}
}

static void agents_tell(struct events *e, const char *name, const struct turned *t,
			uint64_t wall_us, struct events_to to)
{
	char address[INET6_ADDRSTRLEN];

	if (t->count > EVENTS_AGENTS_MOST) {
		tell(e, to, name, wall_us, json_pack("{sI}", "agents", (json_int_t)t->count));
		return;
	}
	for (unsigned i = 0; i < t->count; i++) {
		const struct quiet *q = &t->some[i];

		agent_address(q->key.ip, address);
		tell(e, to, name, wall_us,
		     json_pack("{sisssossssso}", "agents", 1, "address", address, "capture_id",
			       q->key.has_capture_id ? json_integer(q->key.capture_id)
						     : json_null(),
			       "name", q->name, "source", e->from->source_name[q->key.source],
			       "last_seen", json_moment(q->last_us)));
	}
}

static void agents_compare(struct events *e, uint64_t wall_us, struct events_to to)
{
	struct quiet_set *was = e->quiet;
	struct roll_call c = {
		.was = was, .is = e->spare, .wall_us = wall_us, .silent_us = e->silent_us
	};

	c.is->count = 0;
	if (e->silent_us) {
		rcu_read_begin();
		agents_list(e->from->agents, agent_look, &c);
		rcu_read_end();
	}
	qsort(c.is->at, c.is->count, sizeof(c.is->at[0]), key_order);
	e->quiet = c.is;
	e->spare = was;
	agents_tell(e, "agent_silent", &c.silent, wall_us, to);
	agents_tell(e, "agent_back", &c.back, wall_us, to);
}

/* ---- all of it ---- */

void events_start(struct events *e, const struct stats *st, struct events_time now)
{
	e->told = all_well;
	losses_take(st, e->lost);
	e->lost_us = now.mono_us;
	e->lost_told_us = 0;
	e->quiet->count = 0;
}

void events_look(struct events *e, const struct stats *st, struct events_time now,
		 struct events_to to)
{
	struct state is;

	state_take(e, st, now, &is);
	state_compare(e, &e->told, &is, st, now.wall_us, to);
	e->told = is;
	losses_compare(e, st, now, to);
	agents_compare(e, now.wall_us, to);
}

/* Whoever stores has ended, so the rest of the state says nothing any more. */
void events_last(struct events *e, const struct stats *st, struct events_time now,
		 struct events_to to)
{
	e->lost_told_us = 0;
	losses_compare(e, st, now, to);
}

void events_wrong(struct events *e, const struct stats *st, struct events_time now,
		  struct events_to to)
{
	struct turned silent = { 0 };

	state_compare(e, &all_well, &e->told, st, now.wall_us, to);
	for (unsigned i = 0; i < e->quiet->count; i++)
		turned_add(&silent, &e->quiet->at[i]);
	agents_tell(e, "agent_silent", &silent, now.wall_us, to);
}

void events_reload(struct events *e, bool is_taken, const char *text, struct events_time now,
		   struct events_to to)
{
	tell(e, to, is_taken ? "reload_done" : "reload_refused", now.wall_us,
	     json_pack("{so}", is_taken ? "remarks" : "complaints", json_text(text)));
}

uint64_t events_made(const struct events *e)
{
	return e->made;
}

uint64_t events_unmade(const struct events *e)
{
	return e->unmade;
}

void events_silent_after(struct events *e, uint64_t us)
{
	e->silent_us = us;
}

/* ---- life ---- */

int events_new(struct events **out, const struct stats_sources *from, struct events_time now)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->from = from;
	e->born_us = now.mono_us;
	e->told = all_well;
	e->quiet = &e->set[0];
	e->spare = &e->set[1];
	*out = e;
	return HT_OK;
}

void events_free(struct events *e)
{
	free(e);
}
