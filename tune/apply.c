/* One change at a time: look, announce, write, look again. */
#include "tune/apply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tune/files.h"
#include "tune/journal.h"
#include "tune/knobs.h"
#include "tune/reason.h"
#include "tune/value.h"

_Static_assert(TUNE_VALUE <= JOURNAL_VALUE && TUNE_OBJECT <= JOURNAL_OBJECT, "it fits");

struct work {
	const struct guard_options *o;
	struct guard guard;
	struct journal *journal;
	apply_say *say;
	void *ctx;
	struct apply_sums *sums;
};

const char *apply_state_text(enum apply_state state)
{
	static const char *const texts[] = {
#define X(name, text, is_bad) text,
		APPLY_STATES(X)
#undef X
	};

	return texts[state];
}

bool apply_is_bad(const struct apply_sums *sums)
{
	static const bool bad[] = {
#define X(name, text, is_bad) is_bad,
		APPLY_STATES(X)
#undef X
	};
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		n += bad[i] ? sums->of[i] : 0;
	return n > 0;
}

void apply_journal_path(const char *root, char *out, size_t size)
{
	snprintf(out, size, "%s" APPLY_JOURNAL, root);
}

/* ---- results ---- */

__attribute__((format(printf, 3, 4))) static void set(struct apply_result *r,
						      enum apply_state state, const char *format,
						      ...)
{
	va_list args;

	r->state = state;
	va_start(args, format);
	vsnprintf(r->note, sizeof(r->note), format, args);
	va_end(args);
}

static void refuse(struct apply_result *r, const struct tune_change *c, int err)
{
	r->state = APPLY_REFUSED;
	r->err = err;
	reason_print(c, err, r->note, sizeof(r->note));
}

static void tell(struct work *w, const struct tune_change *c, const struct apply_result *r)
{
	w->sums->of[r->state]++;
	if (w->say)
		w->say(w->ctx, c, r);
}

/* @return HT_OK or -errno; then now is "". */
static int look(const struct work *w, const struct tune_change *c, struct apply_result *r)
{
	int err = value_read(w->o->root, c, r->now, sizeof(r->now));

	if (err < 0)
		r->now[0] = '\0';
	return err < 0 ? err : HT_OK;
}

/* ---- apply ---- */

/* Is no number of it less than wanted? */
static bool is_enough(const char *now, const char *wanted)
{
	char *a, *b;

	for (;;) {
		unsigned long long have = strtoull(now, &a, 10), want = strtoull(wanted, &b, 10);

		if (a == now || b == wanted)
			return a == now && b == wanted;
		if (have < want)
			return false;
		now = a;
		wanted = b;
	}
}

static bool is_needed(const struct tune_change *c, struct apply_result *r)
{
	const struct knob *k = knob_find(c->object);

	if (value_is_equal(c, r->now, c->wanted)) {
		set(r, APPLY_NOT_NEEDED, "it is so already");
		return false;
	}
	if (k && k->is_raised_only && is_enough(r->now, c->wanted)) {
		set(r, APPLY_NOT_NEEDED, "it is more already");
		return false;
	}
	return true;
}

/* May it be done, and is it to be done? */
static bool is_to_do(struct work *w, const struct tune_change *c, struct apply_result *r,
		     char *identity)
{
	char why[GUARD_WHY];
	int err;

	if (c->blocked) {
		r->err = -EPERM;
		set(r, APPLY_REFUSED, "%s", c->blocked);
		return false;
	}
	if (!guard_allows(&w->guard, c, why)) {
		r->err = -EPERM;
		set(r, APPLY_REFUSED, "%s", why);
		return false;
	}
	err = look(w, c, r);
	if (err == HT_OK)
		err = value_identity(w->o->root, c, identity, JOURNAL_OBJECT);
	if (err < 0) {
		refuse(r, c, err);
		return false;
	}
	if (c->kind == TUNE_IRQ && c->expect[0] && !strstr(identity, c->expect)) {
		set(r, APPLY_REFUSED, "it is \"%s\" by now: make the plan again", identity);
		return false;
	}
	if (!is_needed(c, r))
		return false;
	if (c->now[0] && strcmp(c->now, "unknown") != 0 && !value_is_equal(c, r->now, c->now)) {
		set(r, APPLY_REFUSED, "it was %.128s when the plan was made: make the plan again",
		    c->now);
		return false;
	}
	return true;
}

static int announce(struct work *w, const struct tune_change *c, const char *old,
		    const char *identity, size_t *number)
{
	struct journal_entry e = { .step = JOURNAL_WRITING };

	snprintf(e.kind, sizeof(e.kind), "%s", value_kind_name(c->kind));
	snprintf(e.interface, sizeof(e.interface), "%s", c->nic);
	snprintf(e.object, sizeof(e.object), "%s", c->object);
	snprintf(e.identity, sizeof(e.identity), "%s", identity);
	snprintf(e.old, sizeof(e.old), "%s", old);
	snprintf(e.wanted, sizeof(e.wanted), "%s", c->wanted);
	return journal_begin(w->journal, &e, number);
}

/* What came of the write? */
static void judge(struct work *w, const struct tune_change *c, const char *old, int err,
		  struct apply_result *r)
{
	int again = look(w, c, r);

	if (again < 0)
		refuse(r, c, again);
	else if (err < 0)
		refuse(r, c, err);
	else if (value_is_equal(c, r->now, c->wanted))
		set(r, value_is_pending(w->o->root, c, r->now) ? APPLY_PENDING : APPLY_DONE, "%s",
		    value_is_pending(w->o->root, c, r->now) ? "takes effect with the next interrupt"
							    : "");
	else if (value_is_equal(c, r->now, old))
		set(r, APPLY_REFUSED,
		    "the write was taken and nothing changed: the driver or the "
		    "kernel keeps its value");
	else
		set(r, APPLY_ROUNDED, "the kernel made %.128s of it", r->now);
}

static void change_make(struct work *w, const struct tune_change *c)
{
	struct apply_result r = { 0 };
	char old[TUNE_VALUE], identity[JOURNAL_OBJECT];
	size_t number;
	int err;

	if (!is_to_do(w, c, &r, identity)) {
		tell(w, c, &r);
		return;
	}
	memcpy(old, r.now, sizeof(old));
	err = announce(w, c, old, identity, &number);
	if (err < 0) {
		r.err = err;
		set(&r, APPLY_REFUSED, "not tried, as the journal cannot be written: %s",
		    ht_strerror(err));
		tell(w, c, &r);
		return;
	}
	judge(w, c, old, value_write(w->o->root, c, c->wanted), &r);
	/* What could not be read back may have been written; what is as before was not. */
	err = journal_note(w->journal, number,
			   r.now[0] && value_is_equal(c, r.now, old) ? JOURNAL_FAILED
								     : JOURNAL_WRITTEN,
			   r.now[0] ? r.now : c->wanted);
	if (err < 0 && r.state != APPLY_REFUSED)
		snprintf(r.note, sizeof(r.note), "the journal could not be completed: %s",
			 ht_strerror(err));
	tell(w, c, &r);
}

/* ---- what makes a journal one of here and now ---- */

static void where_we_are(const char *root, char boot[64], char network[64])
{
	if (file_value(root, "/proc/sys/kernel/random/boot_id", boot, 64) < 0)
		snprintf(boot, 64, "recorded");
	if (root[0] || !file_link("", network, 64, "/proc/self/ns/net"))
		snprintf(network, 64, "recorded");
}

/* One level, as systemd's StateDirectory= makes it. */
static void directory_make(const char *path)
{
	char dir[512];
	const char *slash = strrchr(path, '/');

	if (slash && slash > path && slash - path < (long)sizeof(dir)) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		(void)mkdir(dir, 0755); /* opening the journal says what is wrong */
	}
}

/* @return HT_OK with the journal open, -ESTALE, -EXDEV or as journal_open(). */
static int begin(struct work *w, const struct guard_options *o, const char *path, bool may_make)
{
	char boot[64], network[64];
	int err;

	memset(w->sums, 0, sizeof(*w->sums));
	w->o = o;
	guard_init(&w->guard, o);
	where_we_are(o->root, boot, network);
	if (may_make)
		directory_make(path);
	err = journal_open(&w->journal, path, boot, network, may_make);
	if (err < 0)
		return err;
	if (strcmp(journal_boot(w->journal), boot) != 0)
		return -ESTALE;
	return strcmp(journal_network(w->journal), network) != 0 ? -EXDEV : HT_OK;
}

/* Its settings are gone with the kernel that had them. */
static int begin_anew(struct work *w, const struct guard_options *o, const char *path)
{
	int err = begin(w, o, path, true);

	if (err != -ESTALE)
		return err;
	err = journal_remove(w->journal);
	journal_close(w->journal);
	w->journal = NULL;
	return err < 0 ? err : begin(w, o, path, true);
}

int tune_apply(const struct guard_options *o, const char *journal,
	       const struct tune_change *changes, size_t n, apply_say *say, void *ctx,
	       struct apply_sums *sums)
{
	struct work w = { .say = say, .ctx = ctx, .sums = sums };
	int err = begin_anew(&w, o, journal);

	if (err == HT_OK && journal_damaged_line(w.journal))
		err = HT_EJOURNAL;
	for (size_t i = 0; err == HT_OK && i < n; i++)
		change_make(&w, &changes[i]);
	if (err == HT_OK && !journal_is_open_ended(w.journal))
		err = journal_remove(w.journal);
	journal_close(w.journal);
	return err;
}

/* ---- back from the journal ---- */

static bool change_of(const struct journal_entry *e, struct tune_change *c)
{
	*c = (struct tune_change){ 0 };
	if (!value_kind_parse(e->kind, &c->kind))
		return false;
	snprintf(c->nic, sizeof(c->nic), "%s", e->interface);
	snprintf(c->object, sizeof(c->object), "%.*s", TUNE_OBJECT - 1, e->object);
	snprintf(c->now, sizeof(c->now), "%s", e->old);
	snprintf(c->wanted, sizeof(c->wanted), "%s", e->wanted);
	return true;
}

static bool is_open(const struct journal_entry *e)
{
	return e->step == JOURNAL_WRITING || e->step == JOURNAL_WRITTEN;
}

bool apply_holds(const char *root, const char *journal, const char *object)
{
	char boot[64], network[64];
	bool is_now, holds = false;
	struct journal *j;
	int err;

	where_we_are(root, boot, network);
	err = journal_open(&j, journal, boot, network, false);
	if (err < 0)
		return err == -EWOULDBLOCK;
	is_now = strcmp(journal_boot(j), boot) == 0;
	for (size_t i = 0; is_now && !holds && i < journal_count(j); i++)
		holds = is_open(journal_entry(j, i)) &&
			strcmp(journal_entry(j, i)->object, object) == 0;
	journal_close(j);
	return holds;
}

/* The thing, as it was when it was written to? Looks at the value, too. */
static bool is_there(const struct work *w, const struct tune_change *c,
		     const struct journal_entry *e, struct apply_result *r)
{
	char identity[JOURNAL_OBJECT];
	int err = value_identity(w->o->root, c, identity, sizeof(identity));

	if (err == HT_OK && strcmp(identity, e->identity) != 0) {
		set(r, APPLY_VANISHED, "the name is another's now: \"%.100s\", and was \"%.100s\"",
		    identity, e->identity);
		return false;
	}
	if (err == HT_OK)
		err = look(w, c, r);
	/* A table is asked for by a program, which may be gone while the table stands. */
	if ((err == -ENOENT && c->kind != TUNE_TABLE) || err == -ENODEV) {
		set(r, APPLY_VANISHED, "it is gone");
		return false;
	}
	if (err < 0)
		refuse(r, c, err);
	return err == HT_OK;
}

/* Is what is there what was written? After a crash in between nobody read back what a driver that
 * rounds made of it. */
static bool is_written_by_us(const struct tune_change *c, const struct journal_entry *e,
			     const char *now)
{
	if (e->step == JOURNAL_WRITTEN)
		return value_is_equal(c, now, e->now);
	return value_is_equal(c, now, e->wanted) || value_is_rounded(c);
}

/* ---- verify ---- */

static bool has_later(const struct journal *j, size_t number)
{
	const struct journal_entry *e = journal_entry(j, number);

	for (size_t i = number + 1; i < journal_count(j); i++) {
		const struct journal_entry *later = journal_entry(j, i);

		if (is_open(later) && strcmp(later->object, e->object) == 0)
			return true;
	}
	return false;
}

static void entry_verify(struct work *w, size_t number)
{
	const struct journal_entry *e = journal_entry(w->journal, number);
	struct apply_result r = { 0 };
	struct tune_change c;

	if (!is_open(e) || has_later(w->journal, number) || !change_of(e, &c))
		return;
	if (is_there(w, &c, e, &r)) {
		if (!is_written_by_us(&c, e, r.now))
			set(&r, APPLY_OVERRIDDEN, "somebody else changed it%s",
			    w->guard.irqbalance && c.kind == TUNE_IRQ ? ", most likely irqbalance"
			    : w->guard.tuned			      ? ", most likely tuned"
								      : "");
		else if (!value_is_equal(&c, r.now, c.wanted))
			set(&r, APPLY_ROUNDED, "the kernel made %.128s of it", r.now);
		else if (value_is_pending(w->o->root, &c, r.now))
			set(&r, APPLY_PENDING, "takes effect with the next interrupt");
	}
	tell(w, &c, &r);
}

int tune_verify(const struct guard_options *o, const char *journal, apply_say *say, void *ctx,
		struct apply_sums *sums)
{
	struct work w = { .say = say, .ctx = ctx, .sums = sums };
	int err = begin(&w, o, journal, false);

	for (size_t i = 0; err == HT_OK && i < journal_count(w.journal); i++)
		entry_verify(&w, i);
	if (err == HT_OK && journal_damaged_line(w.journal))
		err = HT_EJOURNAL;
	journal_close(w.journal);
	return err;
}

/* ---- rollback ---- */

static void write_back(struct work *w, const struct tune_change *c, const char *old,
		       struct apply_result *r)
{
	int err = value_write(w->o->root, c, old);

	if (err == HT_OK)
		err = look(w, c, r);
	if (err < 0)
		refuse(r, c, err);
	else if (!value_is_equal(c, r->now, old))
		set(r, APPLY_REFUSED, "the kernel made %.128s of the old value %.128s", r->now,
		    old);
	else
		set(r, APPLY_RESTORED, "%s", "");
}

static void undo(struct work *w, const struct tune_change *c, const struct journal_entry *e,
		 struct apply_result *r)
{
	char why[GUARD_WHY];

	if (!is_there(w, c, e, r))
		return;
	if (value_is_equal(c, r->now, e->old)) {
		set(r, APPLY_NOT_NEEDED, "it is as it was");
		/* A recorded file that was killed in its writing may still be too long. */
		if (w->o->root[0] && value_write(w->o->root, c, e->old) < 0)
			set(r, APPLY_REFUSED, "it is as it was, and cannot be written");
	} else if (!is_written_by_us(c, e, r->now))
		set(r, APPLY_LEFT, "somebody else changed it to %.128s; it was %.128s before us",
		    r->now, e->old);
	else if (!guard_allows_undo(&w->guard, c, why))
		set(r, APPLY_REFUSED, "%s", why);
	else
		write_back(w, c, e->old, r);
}

/* @return HT_OK, or why the journal could not be written. */
static int entry_undo(struct work *w, size_t number)
{
	const struct journal_entry *e = journal_entry(w->journal, number);
	struct apply_result r = { 0 };
	enum journal_step step;
	struct tune_change c;
	int err = HT_OK;

	if (!is_open(e))
		return HT_OK;
	if (!change_of(e, &c))
		return HT_EJOURNAL;
	undo(w, &c, e, &r);
	step = r.state == APPLY_LEFT || r.state == APPLY_VANISHED ? JOURNAL_LEFT : JOURNAL_UNDONE;
	if (r.state != APPLY_REFUSED)
		err = journal_note(w->journal, number, step, NULL);
	tell(w, &c, &r);
	return err;
}

int tune_rollback(const struct guard_options *o, const char *journal, apply_say *say, void *ctx,
		  struct apply_sums *sums)
{
	struct work w = { .say = say, .ctx = ctx, .sums = sums };
	int err = begin(&w, o, journal, false), first = HT_OK;

	if (err == -ESTALE)
		err = journal_remove(w.journal);
	else if (err == HT_OK) {
		for (size_t i = journal_count(w.journal); i-- > 0;) {
			err = entry_undo(&w, i);
			if (first == HT_OK)
				first = err;
		}
		err = first;
		if (err == HT_OK && journal_damaged_line(w.journal))
			err = HT_EJOURNAL;
		if (err == HT_OK && !journal_is_open_ended(w.journal))
			err = journal_remove(w.journal);
	}
	journal_close(w.journal);
	return err;
}
