/* Lines of text; the JSON is in tune_json.c. */
#include "capture/tune_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/tune_files.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 3 };

#define STATES (APPLY_LEFT + 1)

void report_init(struct tune_report *r, const struct tune_words *words)
{
	*r = (struct tune_report){ .verb = words->verb,
				   .root = words->root,
				   .is_json = words->is_json };
	apply_journal_path(words->root, r->journal, sizeof(r->journal));
}

void report_fini(struct tune_report *r)
{
	free(r->list);
	r->list = NULL;
}

const char *report_state(enum tune_verb verb, enum apply_state state)
{
	return state == APPLY_DONE && verb == TUNE_VERIFY ? "ok" : apply_state_text(state);
}

/* ---- a result ---- */

static const char *or_unknown(const char *value)
{
	return value[0] ? value : "unknown";
}

/* What was not looked at is as it was. */
static void print_values(const struct tune_change *c, const struct apply_result *got)
{
	printf("was %s, wanted %s", or_unknown(c->now), c->wanted);
	if (got->now[0])
		printf(", is %s", got->now);
}

static void print_result(const struct tune_report *r, const struct tune_change *c,
			 const struct apply_result *got)
{
	const char *why = got->note[0] ? got->note : c->why;

	if (r->is_json)
		return;
	printf("%-10s  %s: ", report_state(r->verb, got->state), c->object);
	print_values(c, got);
	printf("%s%s\n", why[0] ? "; " : "", why);
	fflush(stdout); /* whoever looks on wants to know where it is */
}

static struct tune_result *room_make(struct tune_report *r)
{
	struct tune_result *list;
	size_t room = r->room ? r->room * 2 : 64;

	if (r->count < r->room)
		return &r->list[r->count++];
	list = realloc(r->list, room * sizeof(*list));
	if (!list) {
		r->is_short = true;
		return NULL;
	}
	r->list = list;
	r->room = room;
	return &r->list[r->count++];
}

void report_take(void *report, const struct tune_change *c, const struct apply_result *got)
{
	struct tune_report *r = report;
	struct tune_result *to = room_make(r);

	r->sums.of[got->state]++;
	print_result(r, c, got);
	if (!to)
		return;
	*to = (struct tune_result){ .change = *c, .result = *got };
	to->change.blocked = NULL; /* the plan's, which may be made anew */
}

void report_correct(struct tune_report *r, size_t number, enum apply_state state, const char *note)
{
	struct tune_result *t = &r->list[number];

	r->sums.of[t->result.state]--;
	r->sums.of[state]++;
	t->result.state = state;
	snprintf(t->result.note, sizeof(t->result.note), "%s", note);
	print_result(r, &t->change, &t->result);
}

/* ---- of all of it ---- */

void report_say(struct tune_report *r, const char *format, ...)
{
	size_t len = strlen(r->message);
	char text[GUARD_WHY];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!r->is_json)
		printf("%s\n", text);
	snprintf(r->message + len, sizeof(r->message) - len, "%s%s", len ? "; " : "", text);
}

void report_fail(struct tune_report *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->error, sizeof(r->error), format, args);
	va_end(args);
	fprintf(stderr, "heptap: %s\n", r->error);
}

static void print_counts(const struct tune_report *r)
{
	const char *comma = "";

	for (unsigned s = 0; s < STATES; s++) {
		if (!r->sums.of[s])
			continue;
		printf("%s%u %s", comma, r->sums.of[s], report_state(r->verb, (enum apply_state)s));
		comma = ", ";
	}
	if (comma[0])
		putchar('\n');
}

int report_finish(struct tune_report *r)
{
	bool is_bad =
		r->verb == TUNE_ROLLBACK ? r->sums.of[APPLY_REFUSED] > 0 : apply_is_bad(&r->sums);

	if (r->is_short)
		report_fail(r, "no memory for all results: some are not shown");
	if (r->files && !r->is_json)
		tune_files_print_states(r->files, stdout);
	if (!r->is_json)
		print_counts(r);
	else if (!report_print_json(r, stdout))
		is_bad = true;
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "heptap: the results could not be written\n");
		is_bad = true;
	}
	return is_bad || r->error[0] || (r->files && tune_files_are_bad(r->files)) ? EXIT_REFUSED
										   : EXIT_DONE;
}
