/*
 * conf/filter_regex.c and conf/filter_hints.c: whatever is looked for before an expression runs,
 * the answer is that of PCRE2 alone.
 */
#include "conf/filter_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <check.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/filter_hints.h"
#include "conf/filter_probe.h"
#include "tests/unit/random.h"

#define ROWS(table)   ((int)(sizeof(table) / sizeof((table)[0])))
#define PATTERN_BYTES 512
#define TEXT_BYTES    48

static struct filter_matcher *matcher;

static void start(void)
{
	filter_regex_interpret(false);
	ck_assert_int_eq(filter_matcher_new(&matcher), HT_OK);
}

static void stop(void)
{
	filter_matcher_free(matcher);
}

/* ---- PCRE2 alone ---- */

static pcre2_code *plain_compile(const char *pattern, uint32_t options)
{
	pcre2_compile_context *c = pcre2_compile_context_create(NULL);
	PCRE2_SIZE offset;
	pcre2_code *code;
	int err;

	pcre2_set_newline(c, PCRE2_NEWLINE_LF);
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &err, &offset, c);
	pcre2_compile_context_free(c);
	return code;
}

/* 1, 0, or -1 at a limit. */
static int plain_match(const pcre2_code *code, const char *text, size_t len)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	int n = pcre2_match(code, (PCRE2_SPTR)text, len, 0, PCRE2_NO_JIT, data, NULL);

	pcre2_match_data_free(data);
	return n >= 0 ? 1 : n == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

/* ---- what is found in patterns ---- */

static const struct {
	const char *pattern, *literal; /* NULL: none */
	int front;
	bool is_whole;
} known[] = {
	{ "^sip:[2-9][0-9]{6}@", NULL, 12, true },
	{ "^sip:8?[0-9]{7}@", "@", 4, false },
	{ "^sip:.*@192\\.0\\.2\\.10", "@192.0.2.10", 4, false },
	{ "@(10\\.0\\.0\\.1|10\\.0\\.0\\.2):506[01]", ":506", 0, false },
	{ "^(OPTIONS|NOTIFY|SUBSCRIBE)$", NULL, 6, false },
	{ "^(112|911)$", NULL, 3, false },
	{ "^112$", NULL, 3, true },
	{ "^(?!55)[0-9]{7}@x", NULL, 9, false },
	{ "abc", "abc", 0, false },
	{ "ab?c", "a", 0, false },
	{ "xab+cd", "xab", 0, false },
	{ "a{3}b", "aaab", 0, false },
	{ "x(abc)*yz", "yz", 0, false },
	{ "x(abc)+y", "abc", 0, false },
	{ "x(?:abc|abd)y", "x", 0, false },
	{ "abc|abd", NULL, 0, false },
	{ "^abc|^abd", NULL, 3, false },
	{ "^abc|abd", NULL, 0, false },
	{ "(?i)abc", NULL, 0, false },
	{ "a(?i:bc)d", NULL, 0, false },
	{ "a(*ACCEPT)bcd", NULL, 0, false },
	{ "\\x41bcd", NULL, 0, false },
	{ "\\Qa.b\\E", NULL, 0, false },
	{ "a\\.b", "a.b", 0, false },
	{ "a(?=bcdef)b", "ab", 0, false },
	{ "a(?#bcd)e", NULL, 0, false },
	{ "^a(^b)", NULL, 2, false },
	{ "[]abc]xyz", "xyz", 0, false },
	{ "^[^]a-c]x", NULL, 2, true },
	{ "(?<name>abc)d", "abc", 0, false },
	{ "", NULL, 0, false },
};

START_TEST(hints_are_what_the_pattern_demands)
{
	struct filter_hints h;
	const char *literal = known[_i].literal ? known[_i].literal : "";

	filter_hints_find(known[_i].pattern, strlen(known[_i].pattern), &h);
	ck_assert_msg(h.literal_len == strlen(literal) &&
			      memcmp(h.literal, literal, h.literal_len) == 0,
		      "%s: '%.*s'", known[_i].pattern, h.literal_len, h.literal);
	ck_assert_msg(h.front_len == known[_i].front, "%s: %u", known[_i].pattern, h.front_len);
	ck_assert_int_eq(h.is_whole, known[_i].is_whole);
}
END_TEST

/* ---- random patterns ---- */

static const char *const atoms[] = {
	"a",	   "b",		  "c",	      "d",     "ab",	    "abc",	 ".",
	"[ab]",	   "[^a]",	  "[b-d]",    "\\d",   "\\w",	    "\\s",	 "\\D",
	"\\.",	   "\\b",	  "^",	      "$",     "[]a]",	    "[^]a]",	 "[a\\]]",
	"[\\d-]",  "[-a]",	  "[a-]",     "[.-0]", "\\x61",	    "\\Qa\\E",	 "(?=a)",
	"(?!ab)",  "(?<=a)",	  "(?<!b)",   "@",     "sip:",	    "1",	 "\\n",
	"\n",	   "{",		  "}",	      "]",     "\\A",	    "\\z",	 "\\Z",
	"(?i)",	   "(?s)",	  "(?m)",     "(?#x)", "\\1",	    "(*ACCEPT)", "(?i:a)",
	"\\K",	   "[[:alpha:]]", "[a-\\d]",  "\\h",   "\\R",	    "\\C",	 "(*FAIL)",
	"(?|a|b)", "\\Aa",	  "[\\w.]",   "x",     "(*COMMIT)", "\\cA",	 "\\e",
	"\\N",	   "[^\\W]",	  "\303\244", "(?R)?", "(?(1)a|b)", "(?1)",
};

static const char *const quantifiers[] = { "?",	    "*",     "+",     "{2}", "{0}",    "{1,}",
					   "{2,3}", "{0,1}", "{3,3}", "??",  "*?",     "++",
					   "{2}+",  "?+",    "{,2}",  "{a}", "{1,2}?", "{17}" };

static const char *const openings[] = { "(",   "(",   "(?:", "(?>",    "(?<n>",
					"(?|", "(?=", "(?!", "(?P<m>", "(?'k'" };

static void pattern_add(struct random *r, char *out, unsigned depth)
{
	unsigned parts = 1 + (unsigned)random_below(r, 5);

	for (unsigned i = 0; i < parts; i++) {
		if (strlen(out) > PATTERN_BYTES - 80)
			return;
		if (depth < 3 && random_below(r, 5) == 0) {
			strcat(out, openings[random_below(r, (uint64_t)ROWS(openings))]);
			pattern_add(r, out, depth + 1);
			strcat(out, ")");
		} else {
			/* plain ones more often, so that texts match */
			strcat(out, atoms[random_below(
					    r, random_below(r, 3) ? 8 : (uint64_t)ROWS(atoms))]);
		}
		if (random_below(r, 4) == 0)
			strcat(out, quantifiers[random_below(r, (uint64_t)ROWS(quantifiers))]);
		if (random_below(r, depth ? 4 : 12) == 0)
			strcat(out, "|");
	}
}

static size_t random_text(struct random *r, char *out)
{
	static const char octets[] = "aaabbbccdd@.1-\nsip:xAB ]\303\244";
	size_t len = random_below(r, random_below(r, 2) ? 6 : TEXT_BYTES);

	for (size_t i = 0; i < len; i++)
		out[i] = octets[random_below(r, sizeof(octets))]; /* NUL is one of them */
	return len;
}

struct tally {
	unsigned patterns, fast, matched, refused, hints;
};

static void try_pattern(struct random *r, const char *pattern, struct tally *n)
{
	struct filter_error error;
	struct filter_regex *regex;
	pcre2_code *plain, *slow;
	char text[TEXT_BYTES];
	int expected, is;

	if (filter_regex_new(pattern, strlen(pattern), &regex, &error) < 0)
		return;
	plain = plain_compile(pattern, 0);
	slow = plain_compile(pattern, PCRE2_NO_START_OPTIMIZE);
	ck_assert_ptr_nonnull(plain);
	n->patterns++;
	n->fast += filter_regex_is_fast(regex);
	for (int i = 0; i < 30; i++) {
		size_t len = random_text(r, text);
		struct filter_hints h;

		/* With its own short cuts, PCRE2 does not always agree with itself. */
		expected = plain_match(plain, text, len);
		if (plain_match(slow, text, len) != expected)
			continue;
		is = filter_regex_match(regex, matcher, (const uint8_t *)text, len);
		filter_hints_find(pattern, strlen(pattern), &h);
		/* A limit may be reached by one and not by the other; a verdict never differs. */
		if (expected >= 0 && is >= 0)
			ck_assert_msg(expected == is, "/%s/ on '%.*s': %d, not %d", pattern,
				      (int)len, text, is, expected);
		n->matched += expected == 1;
		n->refused += expected == 0;
		n->hints += filter_hints_ask(&h, (const uint8_t *)text, len) != HINT_MAYBE;
	}
	pcre2_code_free(plain);
	pcre2_code_free(slow);
	filter_regex_free(regex);
}

START_TEST(verdict_is_that_of_pcre2_alone)
{
	struct random r = random_from((uint64_t)_i + 1);
	unsigned rounds = getenv("SOAK") ? 30000 : 8000;
	char pattern[PATTERN_BYTES];
	struct tally n = { 0 };

	filter_regex_interpret(_i == 1);
	for (unsigned i = 0; i < rounds; i++) {
		strcpy(pattern, random_below(&r, 2) ? "^" : "");
		pattern_add(&r, pattern, 0);
		if (random_below(&r, 4) == 0)
			strcat(pattern, "$");
		try_pattern(&r, pattern, &n);
	}
	/* What is compared is something. */
	ck_assert_uint_gt(n.patterns, rounds / 2);
	ck_assert_uint_gt(n.matched, rounds);
	ck_assert_uint_gt(n.refused, rounds);
	ck_assert_uint_gt(n.hints, rounds);
	if (_i == 1)
		ck_assert_uint_eq(n.fast, 0);
}
END_TEST

/* ---- many expressions at once ---- */

#define MANY 80

/* A program of as many expressions as there are patterns that compile; those without one are "". */
static struct filter_program *many(struct random *r, char patterns[MANY][PATTERN_BYTES])
{
	static char when[MANY][PATTERN_BYTES + 32];
	struct filter_source rules[MANY];
	struct filter_program *program;
	struct filter_error error;
	size_t failed;

	for (int i = 0; i < MANY; i++) {
		do {
			strcpy(patterns[i], random_below(r, 2) ? "^" : "");
			pattern_add(r, patterns[i], 1);
			snprintf(when[i], sizeof(when[i]), "agent =~ \"%s\"", patterns[i]);
		} while (filter_check(when[i], &error) != HT_OK);
		rules[i] = (struct filter_source){ "r", when[i], "drop", "", FILTER_SCOPE_AUTO };
	}
	ck_assert_int_eq(filter_compile(rules, MANY, "store", &program, &failed, &error), HT_OK);
	return program;
}

START_TEST(look_at_a_text_rules_out_nothing_that_matches)
{
	struct random r = random_from(3);
	unsigned rounds = getenv("SOAK") ? 200 : 40, out = 0, in = 0;
	static char patterns[MANY][PATTERN_BYTES];
	char text[TEXT_BYTES];

	for (unsigned n = 0; n < rounds; n++) {
		struct filter_program *p = many(&r, patterns);
		pcre2_code *plain[MANY];

		ck_assert_uint_eq(p->probe_count, 1);
		for (int i = 0; i < MANY; i++)
			plain[i] = plain_compile(patterns[i], 0);
		for (int k = 0; k < 50; k++) {
			size_t len = random_text(&r, text);
			struct filter_probed probed;

			filter_probe_look(&p->probes[0], (const uint8_t *)text, len, &probed);
			for (int i = 0; i < MANY; i++) {
				const struct filter_test *t = &p->tests[p->rules[i].first];
				int matches = plain_match(plain[i], text, len);

				ck_assert_uint_eq(t->probe, 1);
				if (filter_probe_allows(t, &probed))
					in += matches == 0;
				else
					out++;
				ck_assert_msg(matches <= 0 || filter_probe_allows(t, &probed),
					      "/%s/ on '%.*s'", patterns[i], (int)len, text);
			}
		}
		for (int i = 0; i < MANY; i++)
			pcre2_code_free(plain[i]);
		filter_free(p);
	}
	ck_assert_uint_gt(out, rounds * 50 * MANY / 8); /* it rules out much */
	ck_assert_uint_gt(in, 0);
}
END_TEST

/* Of PCRE2 10.42, whose machine code finds nothing here. */
START_TEST(empty_alternative_is_one)
{
	struct filter_regex *regex;
	struct filter_error error;

	ck_assert_int_eq(filter_regex_new("c(?:ab|)]*?a", 12, &regex, &error), HT_OK);
	ck_assert_int_eq(filter_regex_match(regex, matcher, (const uint8_t *)"cab", 3), 1);
	ck_assert_int_eq(filter_regex_match(regex, matcher, (const uint8_t *)"cb", 2), 0);
	filter_regex_free(regex);
}
END_TEST

START_TEST(match_is_bounded)
{
	struct filter_regex *regex;
	struct filter_error error;
	char text[4000];

	memset(text, 'a', sizeof(text));
	for (int only = 0; only < 2; only++) {
		filter_regex_interpret(only);
		ck_assert_int_eq(filter_regex_new("(a+)+b|(a|a)+$x", 15, &regex, &error), HT_OK);
		ck_assert_int_eq(
			filter_regex_match(regex, matcher, (const uint8_t *)text, sizeof(text)),
			-1);
		ck_assert_int_eq(filter_regex_match(regex, matcher, (const uint8_t *)"ab", 2), 1);
		ck_assert_int_eq(filter_regex_match(regex, matcher, NULL, 0), 0);
		filter_regex_free(regex);
	}
}
END_TEST

/* Steps are counted from each beginning: a text of runs that each stay below the limit of a short
 * one would take a second. */
START_TEST(long_text_has_fewer_steps_from_each_octet)
{
	static const char plain[] = "a.*b[^\\n]*x?\\nb";
	static char text[65000];
	struct filter_regex *regex;
	struct filter_error error;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 14 == 0 ? 'b' : i % 14 == 13 ? '\n' : 'a';
	for (int only = 0; only < 2; only++) {
		filter_regex_interpret(only);
		ck_assert_int_eq(filter_regex_new("(a+)+b", 6, &regex, &error), HT_OK);
		ck_assert_int_eq(filter_regex_match(regex, matcher, (uint8_t *)text, sizeof(text)),
				 -1);
		ck_assert_int_eq(filter_regex_match(regex, matcher, (uint8_t *)text, 14), 0);
		filter_regex_free(regex);
		/* what people write has enough */
		ck_assert_int_eq(filter_regex_new(plain, strlen(plain), &regex, &error), HT_OK);
		ck_assert_int_eq(filter_regex_match(regex, matcher, (uint8_t *)text, sizeof(text)),
				 0);
		filter_regex_free(regex);
	}
}
END_TEST

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* As MemoryDenyWriteExecute of a unit does: a process that has no machine code yet, and may not. */
static void become_hardened(int err_fd)
{
	dup2(err_fd, STDERR_FILENO);
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) < 0)
		_exit(2);
	execl("/proc/self/exe", "test_filter_regex", "hardened", (char *)NULL);
	_exit(3);
}

/* @return 0 if all is as it should be. */
static int run_hardened(void)
{
	struct filter_regex *a, *b;
	struct filter_error error;
	int is_wrong;

	if (filter_matcher_new(&matcher) < 0 || filter_regex_new("^a+b", 4, &a, &error) < 0 ||
	    filter_regex_new("[ac]", 4, &b, &error) < 0)
		return 1;
	is_wrong = filter_regex_is_fast(a) || filter_regex_is_fast(b) ||
		   filter_regex_match(a, matcher, (const uint8_t *)"aab", 3) != 1 ||
		   filter_regex_match(b, matcher, (const uint8_t *)"bb", 2) != 0;
	filter_regex_free(a);
	filter_regex_free(b);
	filter_matcher_free(matcher);
	return is_wrong;
}

START_TEST(system_that_forbids_machine_code_has_it_interpreted)
{
	char said[1024] = "", *line;
	int fds[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(fds), 0);
	child = fork();
	if (child == 0)
		become_hardened(fds[1]);
	close(fds[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_ge(read(fds[0], said, sizeof(said) - 1), 0);
	close(fds[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
		printf("skipped: system_that_forbids_machine_code: this kernel cannot\n");
		return;
	}
	ck_assert_int_eq(status, 0);
	line = strstr(said, "regular expressions are interpreted");
	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_null(strstr(line + 1, "regular expressions are interpreted")); /* once */
}
END_TEST

START_TEST(pattern_is_bounded)
{
	const char *big = "(((ab){100}){100}){100}";
	struct filter_regex *regex;
	struct filter_error error;

	ck_assert_int_eq(filter_regex_new(big, strlen(big), &regex, &error), HT_ECONF);
	ck_assert_str_eq(error.text, "regular expression is too large");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("filter_regex");
	TCase *t = tcase_create("filter_regex");

	tcase_add_checked_fixture(t, start, stop);
	tcase_set_timeout(t, 1200);
	tcase_add_loop_test(t, hints_are_what_the_pattern_demands, 0, ROWS(known));
	tcase_add_loop_test(t, verdict_is_that_of_pcre2_alone, 0, 2);
	tcase_add_test(t, look_at_a_text_rules_out_nothing_that_matches);
	tcase_add_test(t, empty_alternative_is_one);
	tcase_add_test(t, match_is_bounded);
	tcase_add_test(t, long_text_has_fewer_steps_from_each_octet);
	tcase_add_test(t, system_that_forbids_machine_code_has_it_interpreted);
	tcase_add_test(t, pattern_is_bounded);
	suite_add_tcase(s, t);
	return s;
}

int main(int argc, char **argv)
{
	SRunner *r;
	int failed;

	if (argc > 1 && strcmp(argv[1], "hardened") == 0)
		return run_hardened();
	r = srunner_create(suite());

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
