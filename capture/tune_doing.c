/*
 * The plan is made twice if the first part of it gives an interface other queues: interrupts have
 * other numbers then, and lost what they were set to.
 */
#include "capture/tune_doing.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture/tune_files.h"
#include "capture/tune_report.h"
#include "capture/tuning.h"
#include "tune/apply.h"
#include "tune/value.h"

/* ---- a journal that cannot be had ---- */

static const struct {
	int err;
	const char *why;
} journal_rows[] = {
	{ EWOULDBLOCK, "another program has it open: wait until that is done" },
	{ EPERM, "it is somebody else's, or others may write to it: what it says is not believed" },
	{ EACCES, "it may not be opened by us: run as root" },
	{ EROFS, "it is on a file system that is mounted read-only, as in a container" },
	{ ENOENT, "there is no directory for it" },
	{ ELOOP, "it is a link: remove it" },
	{ ENOSPC, "the file system is full" },
	{ EXDEV, "it is of another network namespace: run this there" },
	{ ESTALE, "it is of an earlier start of the kernel, and what was set went with that: "
		  "`heptap tune apply` begins anew" },
	{ -HT_EFORMAT, "another version of heptap made it: use that one to set back" },
	{ -HT_EJOURNAL,
	  "`heptap tune rollback` sets back what can be read; then have a look at it and remove "
	  "it" },
};

static void fail_journal(struct tune_report *r, int err)
{
	const char *why = NULL;

	for (size_t i = 0; !why && i < sizeof(journal_rows) / sizeof(journal_rows[0]); i++) {
		if (journal_rows[i].err == -err)
			why = journal_rows[i].why;
	}
	report_fail(r, "%s: %s%s%s", r->journal, ht_strerror(err), why ? ": " : "", why ? why : "");
}

/* ---- the journal before anything is done ---- */

#define NICS_MOST 64

/* Interfaces that the journal has changes of. */
struct looked {
	char names[NICS_MOST][16];
	const char *list[NICS_MOST];
	size_t count;
};

static void look_at(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct looked *l = ctx;

	(void)r;
	if (!c->nic[0] || l->count == NICS_MOST)
		return;
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->names[i], c->nic) == 0)
			return;
	}
	memcpy(l->names[l->count], c->nic, sizeof(l->names[0]));
	l->list[l->count] = l->names[l->count];
	l->count++;
}

/* @return as tune_verify(). */
static int journal_look(const struct tune_report *r, struct looked *out)
{
	struct guard_options nothing = { .root = r->root };
	struct apply_sums sums;

	out->count = 0;
	return tune_verify(&nothing, r->journal, look_at, out, &sums);
}

static void say_stale(struct tune_report *r)
{
	report_say(r,
		   "%s was of an earlier start of the kernel, and what was set went with that: "
		   "removed",
		   r->journal);
}

/* ---- apply ---- */

struct apply {
	const struct conf *conf;
	const struct tune_words *words;
	struct tuning tuning;
	struct tune_report report;
};

static bool is_meant(const struct tune_words *w, const struct tune_change *c)
{
	for (unsigned i = 0; i < w->only_count; i++) {
		if (fnmatch(w->only[i], c->object, 0) == 0 || strcmp(w->only[i], c->nic) == 0 ||
		    strcmp(w->only[i], value_kind_name(c->kind)) == 0)
			return true;
	}
	return w->only_count == 0;
}

/* One half of the plan. @return as tune_apply(). */
static int apply_half(struct apply *a, bool early)
{
	const struct host_plan *p = a->tuning.plan;
	struct guard_options options = { .root = a->words->root,
					 .interfaces = a->tuning.nics,
					 .interfaces_count = a->tuning.nic_count,
					 .may_touch_management = a->tuning.wish.may_management };
	struct tune_change *list = malloc((p->change_count + 1) * sizeof(*list));
	struct apply_sums sums;
	size_t n = 0;
	int err = HT_OK;

	if (!list)
		return -ENOMEM;
	for (unsigned i = 0; i < p->change_count; i++) {
		if (tuning_is_early(&p->changes[i]) == early && is_meant(a->words, &p->changes[i]))
			list[n++] = p->changes[i];
	}
	if (n)
		err = tune_apply(&options, a->report.journal, list, n, report_take, &a->report,
				 &sums);
	free(list);
	return err;
}

static bool has_written(const struct apply_sums *s)
{
	return s->of[APPLY_DONE] || s->of[APPLY_ROUNDED] || s->of[APPLY_PENDING];
}

static int apply_all(struct apply *a)
{
	int err = tuning_init(&a->tuning, a->conf, a->words->root);

	if (err == HT_OK)
		err = apply_half(a, true);
	if (err == HT_OK && has_written(&a->report.sums)) {
		tuning_fini(&a->tuning);
		err = tuning_init(&a->tuning, a->conf, a->words->root);
	}
	if (err == HT_OK)
		err = apply_half(a, false);
	return err;
}

/* An interrupt is served elsewhere only when it fires: mostly it has by then. */
static void look_again(struct tune_report *r)
{
	if (!r->sums.of[APPLY_PENDING])
		return;
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	for (size_t i = 0; i < r->count; i++) {
		const struct tune_result *t = &r->list[i];

		if (t->result.state != APPLY_PENDING)
			continue;
		if (value_is_pending(r->root, &t->change, t->result.now))
			report_correct(r, i, APPLY_PENDING,
				       "no interrupt came for a second: `heptap tune verify` looks "
				       "again");
		else
			report_correct(r, i, APPLY_DONE, "took effect within a second");
	}
}

/* The files are of what holds now. @return as tune_files_make(). */
static int persist(struct apply *a, const char *file, struct tune_files *files)
{
	struct tune_wanted wanted = { 0 };
	int err = HT_OK;

	for (size_t i = 0; err == HT_OK && i < a->report.count; i++) {
		const struct tune_result *t = &a->report.list[i];

		if (t->result.state == APPLY_DONE || t->result.state == APPLY_ROUNDED ||
		    t->result.state == APPLY_PENDING)
			err = wanted_add(&wanted, &t->change);
	}
	if (err == HT_OK)
		err = wanted_add_journal(&wanted, a->words->root, a->report.journal);
	if (err == HT_OK)
		err = tune_files_make(files, &a->tuning, a->conf, file, "", &wanted);
	if (err == HT_OK) {
		tune_files_write(files, "");
		a->report.files = files;
	}
	wanted_fini(&wanted);
	return err;
}

static void say_applied(struct apply *a)
{
	struct tune_report *r = &a->report;

	if (!r->count && a->words->only_count && a->tuning.plan->change_count)
		report_say(r, "nothing to do: the plan's changes are none that --only means");
	else if (!r->count)
		report_say(r, "nothing to do: this host is as the plan wants it");
	else if (has_written(&r->sums))
		report_say(r, "`heptap tune rollback` sets it back, by %s", r->journal);
}

int apply_command(const struct conf *conf, const char *file, const struct tune_words *words)
{
	struct apply a = { .conf = conf, .words = words };
	struct tune_files files = { 0 };
	struct looked looked;
	int err, code;

	signal(SIGPIPE, SIG_IGN); /* a pager that is closed must not leave it half done */
	report_init(&a.report, words);
	if (journal_look(&a.report, &looked) == -ESTALE)
		say_stale(&a.report);
	err = apply_all(&a);
	if (err == -ENOMEM)
		report_fail(&a.report, "no memory for a plan");
	else if (err < 0)
		fail_journal(&a.report, err);
	look_again(&a.report);
	if (err == HT_OK)
		say_applied(&a);
	if (err == HT_OK && words->is_persistent && persist(&a, file, &files) < 0)
		report_fail(&a.report, "no memory for files");
	code = report_finish(&a.report);
	tune_files_fini(&files);
	report_fini(&a.report);
	tuning_fini(&a.tuning);
	return code;
}

/* ---- verify ---- */

int verify_command(const struct tune_words *words)
{
	struct guard_options options = { .root = words->root };
	struct tune_report r;
	struct apply_sums sums;
	int err, code;

	report_init(&r, words);
	err = tune_verify(&options, r.journal, report_take, &r, &sums);
	if (err == -ENOENT)
		report_say(&r, "nothing to verify: there is no journal %s", r.journal);
	else if (err < 0)
		fail_journal(&r, err);
	code = report_finish(&r);
	report_fini(&r);
	return code;
}

/* ---- rollback ---- */

/* What was allowed when it was changed may be set back, though the configuration names it no more:
   nobody but us can have written that journal. */
int rollback_command(const struct tune_words *words)
{
	struct guard_options options = { .root = words->root, .may_touch_management = true };
	struct tune_report r;
	struct apply_sums sums;
	struct looked looked;
	int err, before, code;

	signal(SIGPIPE, SIG_IGN);
	report_init(&r, words);
	before = journal_look(&r, &looked);
	options.interfaces = looked.list;
	options.interfaces_count = looked.count;
	err = tune_rollback(&options, r.journal, report_take, &r, &sums);
	if (err == -ENOENT)
		report_say(&r, "nothing to set back: there is no journal %s", r.journal);
	else if (err < 0)
		fail_journal(&r, err);
	else if (before == -ESTALE)
		say_stale(&r);
	else if (r.sums.of[APPLY_REFUSED])
		report_say(&r, "%s stays: what was refused can be set back later", r.journal);
	else
		report_say(&r, "nothing is left to set back: %s is removed", r.journal);
	code = report_finish(&r);
	report_fini(&r);
	return code;
}
