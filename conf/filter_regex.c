/* The only file that includes pcre2.h. */
#include "conf/filter_regex.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "conf/filter_hints.h"
#include "conf/log.h"

#define STACK_AT_FIRST (32 * 1024)
#define NESTING_MAX    64

struct filter_regex {
	struct filter_hints hints;
	pcre2_code *code;
	bool is_fast; /* has machine code */
};

struct filter_matcher {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	uint32_t limit; /* that the context has */
};

static _Atomic bool interpret_only;

void filter_regex_interpret(bool only)
{
	atomic_store(&interpret_only, only);
}

/* Where nothing may be written and run (systemd's MemoryDenyWriteExecute, SELinux), this fails. */
static bool make_fast(pcre2_code *code)
{
	static _Atomic bool is_said;
	size_t bytes = 0;

	if (atomic_load(&interpret_only))
		return false;
	if (pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0 &&
	    pcre2_pattern_info(code, PCRE2_INFO_JITSIZE, &bytes) == 0 && bytes > 0)
		return true;
	if (!atomic_exchange(&is_said, true))
		log_warning("filters: regular expressions are interpreted, which is slower: the "
			    "system lets no machine code be made of them");
	return false;
}

static bool has(const char *pattern, size_t len, const char *what)
{
	return memmem(pattern, len, what, strlen(what)) != NULL;
}

/*
 * Before 10.43, machine code misses matches of expressions such as (1|)b*1, where an alternative is
 * empty, by what it does to be quick at the start.
 */
static uint32_t options_of(const char *pattern, size_t len)
{
	bool has_empty =
		has(pattern, len, "|)") || has(pattern, len, "||") || has(pattern, len, "(|");

	return PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | (has_empty ? PCRE2_NO_START_OPTIMIZE : 0);
}

static int compile(const char *pattern, size_t len, pcre2_code **out, struct filter_error *error)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	int number = 0;
	size_t offset = 0;

	if (!context)
		return -ENOMEM;
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
	pcre2_set_parens_nest_limit(context, NESTING_MAX);
	*out = pcre2_compile((PCRE2_SPTR)pattern, len, options_of(pattern, len), &number, &offset,
			     context);
	pcre2_compile_context_free(context);
	if (*out)
		return HT_OK;
	if (number == PCRE2_ERROR_HEAP_FAILED || number == PCRE2_ERROR_NOMEMORY)
		return -ENOMEM;
	error->offset = offset;
	pcre2_get_error_message(number, (PCRE2_UCHAR *)error->text, sizeof(error->text));
	return HT_ECONF;
}

int filter_regex_new(const char *pattern, size_t len, struct filter_regex **out,
		     struct filter_error *error)
{
	struct filter_regex *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	err = compile(pattern, len, &r->code, error);
	if (err < 0) {
		filter_regex_free(r);
		return err;
	}
	r->is_fast = make_fast(r->code);
	filter_hints_find(pattern, len, &r->hints);
	*out = r;
	return HT_OK;
}

void filter_regex_free(struct filter_regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	free(r);
}

int filter_matcher_new(struct filter_matcher **out)
{
	struct filter_matcher *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->data = pcre2_match_data_create(2, NULL); /* the match and its first group */
	m->context = pcre2_match_context_create(NULL);
	m->stack = pcre2_jit_stack_create(STACK_AT_FIRST, FILTER_STACK_BYTES, NULL);
	if (!m->data || !m->context) {
		filter_matcher_free(m);
		return -ENOMEM;
	}
	pcre2_set_depth_limit(m->context, FILTER_DEPTH_LIMIT);
	pcre2_set_heap_limit(m->context, FILTER_HEAP_KIB);
	if (m->stack)
		pcre2_jit_stack_assign(m->context, NULL, m->stack);
	*out = m;
	return HT_OK;
}

void filter_matcher_free(struct filter_matcher *m)
{
	if (!m)
		return;
	pcre2_jit_stack_free(m->stack);
	pcre2_match_context_free(m->context);
	pcre2_match_data_free(m->data);
	free(m);
}

static void limit_set(struct filter_matcher *m, size_t len)
{
	uint32_t limit = FILTER_MATCH_LIMIT;

	if (len > FILTER_MATCH_STEPS / FILTER_MATCH_LIMIT)
		limit = (uint32_t)(FILTER_MATCH_STEPS / len);
	if (limit < FILTER_MATCH_LEAST)
		limit = FILTER_MATCH_LEAST;
	if (limit != m->limit)
		pcre2_set_match_limit(m->context, limit);
	m->limit = limit;
}

int filter_regex_match_bare(const struct filter_regex *r, struct filter_matcher *m,
			    const uint8_t *text, size_t len)
{
	PCRE2_SPTR subject = len ? text : (PCRE2_SPTR) "";
	int n;

	limit_set(m, len);
	n = r->is_fast ? pcre2_jit_match(r->code, subject, len, 0, 0, m->data, m->context)
		       : pcre2_match(r->code, subject, len, 0, PCRE2_NO_JIT, m->data, m->context);
	if (n >= 0) /* 0: it has groups that the match data has no room for, nor any use */
		return 1;
	return n == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

int filter_regex_find(const struct filter_regex *r, struct filter_matcher *m, const uint8_t *text,
		      size_t len, size_t *begin, size_t *found_len)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
	unsigned of = 2; /* the first group */
	uint32_t groups = 0;
	int found = filter_hints_ask(&r->hints, text, len) == HINT_NO
			    ? 0
			    : filter_regex_match_bare(r, m, text, len);

	if (found != 1)
		return found;
	pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	if (groups == 0 || at[of] == PCRE2_UNSET)
		of = 0;
	if (at[of] >= at[of + 1]) /* \K may turn it round */
		return 0;
	*begin = at[of];
	*found_len = at[of + 1] - at[of];
	return 1;
}

int filter_regex_match(const struct filter_regex *r, struct filter_matcher *m, const uint8_t *text,
		       size_t len)
{
	switch (filter_hints_ask(&r->hints, text, len)) {
	case HINT_NO:
		return 0;
	case HINT_YES:
		return 1;
	default:
		return filter_regex_match_bare(r, m, text, len);
	}
}

const struct filter_hints *filter_regex_hints(const struct filter_regex *r)
{
	return &r->hints;
}

bool filter_regex_is_fast(const struct filter_regex *r)
{
	return r->is_fast;
}
