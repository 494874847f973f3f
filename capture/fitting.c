/* First what an earlier start left is set back, then the host is looked at: a plan must not be made
 * of what a dead server had changed. */
#include "capture/fitting.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/mirror.h"
#include "capture/thread.h"
#include "conf/log.h"
#include "tune/journal.h"

#define JOURNAL	     "start.journal" /* beside that of `heptap tune apply` */
#define LOCK	     "start.lock"
#define LOCK_WAIT_MS 5000 /* for the keeper of a server that was killed just now */
#define LOCK_LOOK_MS 20

struct picked {
	struct tune_change *list;
	size_t count;
};

static struct guard_options guard_of(const struct fitting *f)
{
	return (struct guard_options){ .root = f->root,
				       .interfaces = f->tuning.nics,
				       .interfaces_count = f->tuning.nic_count,
				       .may_touch_management =
					       f->conf->tune.allow_mgmt_nic == CONF_TRUE };
}

static void paths_set(struct fitting *f)
{
	const char *root = getenv("HEPTAP_ROOT");
	int dir;

	snprintf(f->root, sizeof(f->root), "%s", root ? root : "");
	apply_journal_path(f->root, f->by_hand, sizeof(f->by_hand));
	dir = (int)(strrchr(f->by_hand, '/') - f->by_hand);
	snprintf(f->journal, sizeof(f->journal), "%.*s/" JOURNAL, dir, f->by_hand);
}

/* ---- one server at a time ---- */

/* Nobody else may open it: whoever can open a file can lock it, for ever. */
static int lock_open(const struct fitting *f)
{
	char path[sizeof(f->journal) + sizeof(LOCK)];
	size_t dir = (size_t)(strrchr(f->journal, '/') - f->journal);
	int fd;

	snprintf(path, sizeof(path), "%.*s", (int)dir, f->journal);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path + dir, sizeof(path) - dir, "/" LOCK);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
	return fd < 0 ? -errno : fd;
}

/*
 * It is locked by the server and its keeper, until both have ended: the keeper of a server that was
 * killed must not find the journal of the next one.
 */
static int lock_take(struct fitting *f)
{
	int fd, err;

	if (f->lock >= 0)
		return HT_OK;
	fd = lock_open(f);
	if (fd < 0)
		return fd;
	err = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : HT_OK;
	for (int ms = 0; err == -EWOULDBLOCK && ms < LOCK_WAIT_MS; ms += LOCK_LOOK_MS) {
		poll(NULL, 0, LOCK_LOOK_MS);
		err = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : HT_OK;
	}
	if (err < 0)
		close(fd);
	else
		f->lock = fd;
	return err;
}

static void lock_drop(struct fitting *f)
{
	if (f->lock >= 0)
		close(f->lock);
	f->lock = -1;
}

/* @return how many. */
static unsigned interfaces_of(const struct journal *j, char names[FACTS_NICS][16])
{
	unsigned count = 0, k;

	for (size_t i = 0; i < journal_count(j) && count < FACTS_NICS; i++) {
		const struct journal_entry *e = journal_entry(j, i);

		for (k = 0; k < count && strcmp(names[k], e->interface) != 0; k++)
			;
		if (k == count)
			snprintf(names[count++], sizeof(names[0]), "%s", e->interface);
	}
	return count;
}

/* The configuration may speak of other interfaces by now: all that it holds was ours. */
static void leftover_undo(struct fitting *f)
{
	struct guard_options o = { .root = f->root, .may_touch_management = true };
	const char *interfaces[FACTS_NICS];
	char names[FACTS_NICS][16];
	struct journal *j;
	int err;

	if (access(f->journal, F_OK) < 0)
		return;
	err = lock_take(f);
	if (err == HT_OK && journal_open(&j, f->journal, "", "", false) == HT_OK) {
		o.interfaces_count = interfaces_of(j, names);
		journal_close(j);
	}
	for (size_t i = 0; i < o.interfaces_count; i++)
		interfaces[i] = names[i];
	o.interfaces = interfaces;
	if (err == -EWOULDBLOCK)
		log_info("tune: another server of this host has moved interrupts: %s", f->journal);
	else if (err < 0)
		log_warning("tune: an earlier start left %s, which cannot be read: %s", f->journal,
			    ht_strerror(err));
	else
		(void)!keeper_undo(&o, f->journal, "left by an earlier start");
}

/* ---- what is to be changed ---- */

static void note_why(struct fitting *f, const char *nic, const char *why)
{
	for (unsigned i = 0; i < f->tuning.nic_count; i++)
		if (strcmp(f->tuning.nics[i], nic) == 0 && !f->nics[i].why[0])
			snprintf(f->nics[i].why, sizeof(f->nics[i].why), "%s", why);
}

/* @p is_auto: of those that every start makes, or of those of mode full. */
static int pick(struct fitting *f, bool is_auto, struct picked *out)
{
	const struct host_plan *p = f->tuning.plan;

	*out = (struct picked){ .list = calloc(p->change_count + 1, sizeof(*out->list)) };
	if (!out->list)
		return -ENOMEM;
	for (unsigned i = 0; i < p->change_count; i++) {
		const struct tune_change *c = &p->changes[i];

		if (c->is_auto != is_auto)
			continue;
		if (c->blocked)
			note_why(f, c->nic, c->blocked);
		else if (is_auto && apply_holds(f->root, f->by_hand, c->object))
			note_why(f, c->nic, "heptap tune apply has moved them");
		else
			out->list[out->count++] = *c;
	}
	return HT_OK;
}

/* ---- interrupts ---- */

static void irq_note(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct fitting *f = ctx;

	log_debug("tune: %s: %s to %s: %s%s%s", c->object, r->now, c->wanted,
		  apply_state_text(r->state), r->note[0] ? ": " : "", r->note);
	if (r->state == APPLY_REFUSED)
		note_why(f, c->nic, r->note);
	for (unsigned i = 0; i < f->tuning.nic_count; i++)
		if (strcmp(f->tuning.nics[i], c->nic) == 0)
			f->nics[i].moved += r->state == APPLY_DONE || r->state == APPLY_PENDING;
}

/* Whoever could set them back has to be there first. @p why: GUARD_WHY octets. */
static int move_prepare(struct fitting *f, const struct guard_options *o, char *why)
{
	int err = geteuid() == 0 || f->root[0] ? lock_take(f) : -EPERM;

	if (err == -EPERM || err == -EACCES)
		snprintf(why, GUARD_WHY, "that needs root");
	else if (err == -EWOULDBLOCK)
		snprintf(why, GUARD_WHY, "another server of this host moves interrupts");
	else if (err < 0)
		snprintf(why, GUARD_WHY, "no journal at %s: %s", f->journal, ht_strerror(err));
	if (err < 0)
		return err;
	err = keeper_start(&f->keeper, o, f->journal);
	if (err < 0)
		snprintf(why, GUARD_WHY, "no process to set them back later: %s", ht_strerror(err));
	return err;
}

static int move(struct fitting *f, const struct picked *changes, char *why)
{
	struct guard_options o = guard_of(f);
	struct apply_sums sums;
	int err = move_prepare(f, &o, why);

	if (err < 0)
		return err;
	err = tune_apply(&o, f->journal, changes->list, changes->count, irq_note, f, &sums);
	if (err < 0)
		snprintf(why, GUARD_WHY, "%s: %s", f->journal, ht_strerror(err));
	if (access(f->journal, F_OK) < 0)
		keeper_end(&f->keeper);
	return err;
}

static int interrupts_move(struct fitting *f)
{
	struct picked changes;
	char why[GUARD_WHY];
	int err = pick(f, true, &changes), moved;

	if (err == HT_OK && changes.count) {
		moved = move(f, &changes, why);
		for (size_t i = 0; moved < 0 && i < changes.count; i++)
			note_why(f, changes.list[i].nic, why);
		err = tuning_renew(&f->tuning, f->conf, f->root);
	}
	free(changes.list);
	return err;
}

/* ---- the rest of the host, mode full ---- */

static void host_note(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	(void)ctx;
	log_info("tune: %s: %s to %s: %s%s%s", c->object, c->now, c->wanted,
		 apply_state_text(r->state), r->note[0] ? ": " : "", r->note);
}

static void halve(struct picked *changes, bool is_early)
{
	size_t n = 0;

	for (size_t i = 0; i < changes->count; i++)
		if (tuning_is_early(&changes->list[i]) == is_early)
			changes->list[n++] = changes->list[i];
	changes->count = n;
}

/* First what may bring other queues, and then other interrupts; the plan for the rest is made anew.
 */
static int host_change(struct fitting *f)
{
	struct guard_options o = guard_of(f);
	struct apply_sums sums;
	struct picked changes;
	int err = HT_OK;

	for (int half = 0; half < 2 && err == HT_OK && f->host_err == HT_OK; half++) {
		err = pick(f, false, &changes);
		if (err < 0)
			break;
		halve(&changes, half == 0);
		if (changes.count)
			f->host_err = tune_apply(&o, f->by_hand, changes.list, changes.count,
						 host_note, f, &sums);
		for (unsigned i = 0; changes.count && i <= APPLY_LEFT; i++)
			f->host.of[i] += sums.of[i];
		if (changes.count)
			err = tuning_renew(&f->tuning, f->conf, f->root);
		free(changes.list);
	}
	return err;
}

/* Before threads go to those that stay. */
static void interrupts_count(struct fitting *f)
{
	const struct placement *p = &f->tuning.plan->placement;

	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned k = 0; k < p->nics[i].nic->irq_count; k++) {
			const struct nic_irq *irq = &p->nics[i].nic->irqs[k];
			int cpu = placement_irq_cpu(p, &p->nics[i], irq);

			if (irq->role == IRQ_CONTROL || cpu < 0)
				continue;
			f->nics[i].irqs++;
			f->nics[i].there += irq->has_affinity && cpus_count(&irq->affinity) == 1 &&
					    cpus_has(&irq->affinity, (unsigned)cpu);
		}
}

/* ---- places ---- */

static int places_make(struct fitting *f)
{
	const struct conf *conf = f->conf;
	struct placed_capture captures[MIRROR_MAX_THREADS];
	struct placed_wish w = { .captures = captures,
				 .writers = f->tuning.plan->sizes.writers,
				 .may_pin = conf->tune.mode >= CONF_TUNE_AUTO &&
					    conf->tune.pin == CONF_TRUE };
	int err;

	for (unsigned i = 0; i < conf->capture_count; i++) {
		const struct capture_fit *c = &f->tuning.captures[i];

		for (unsigned t = 0; t < c->threads && w.capture_count < MIRROR_MAX_THREADS; t++)
			captures[w.capture_count++] =
				(struct placed_capture){ .nic = c->nic, .thread = c->first + t };
	}
	placed_read(0, &w.process);
	err = placed_init(&f->placed, &f->tuning.plan->placement, &w);
	if (err == HT_OK && w.may_pin)
		thread_place(&f->placed);
	return err;
}

/* ---- all of it ---- */

int fitting_init(struct fitting *f, const struct conf *conf)
{
	int err;

	*f = (struct fitting){ .conf = conf, .lock = -1 };
	paths_set(f);
	leftover_undo(f);
	err = tuning_init(&f->tuning, conf, f->root);
	if (err == HT_OK && conf->tune.mode == CONF_TUNE_FULL)
		err = host_change(f);
	if (err == HT_OK && conf->tune.mode >= CONF_TUNE_AUTO)
		err = interrupts_move(f);
	if (!f->keeper.pid)
		lock_drop(f);
	if (err == HT_OK && conf->tune.mode >= CONF_TUNE_AUTO) {
		interrupts_count(f);
		placement_follow(f->tuning.facts, &f->tuning.plan->placement);
	}
	if (err < 0)
		return err;
	fitting_report_sizes(f);
	return places_make(f);
}

void fitting_fini(struct fitting *f)
{
	thread_place(NULL);
	keeper_end(&f->keeper);
	lock_drop(f);
	placed_fini(&f->placed);
	tuning_fini(&f->tuning);
}

/* ---- what must be ---- */

bool fitting_requires(const struct conf *conf, enum conf_require what)
{
	for (size_t i = 0; i < conf->tune.require_count; i++)
		if (conf->tune.require[i] == what)
			return true;
	return false;
}

static bool is_every_thread_there(const struct placed *p)
{
	for (unsigned i = 0; i < p->thread_count; i++)
		if (p->threads[i].is_there && p->threads[i].is_pinned && p->threads[i].err != HT_OK)
			return false;
	return true;
}

static bool is_every_interrupt_there(const struct fitting *f)
{
	for (unsigned i = 0; i < f->tuning.nic_count; i++)
		if (f->nics[i].there < f->nics[i].irqs)
			return false;
	return true;
}

int fitting_check(const struct fitting *f)
{
	const char *missing = NULL;

	if (fitting_requires(f->conf, CONF_REQUIRE_PIN) && !is_every_thread_there(&f->placed))
		missing = "pin: a thread is not where it belongs";
	if (fitting_requires(f->conf, CONF_REQUIRE_INTERRUPTS) && !is_every_interrupt_there(f))
		missing = "interrupts: some are not where they belong";
	if (!missing)
		return HT_OK;
	log_error("tune.require: %s; the lines above say why", missing);
	return -EPERM;
}
