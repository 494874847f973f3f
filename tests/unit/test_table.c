/* storage/table.c: texts made to fit a column. */
#include "storage/table.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static struct column column_of(enum column_charset charset, uint64_t chars, uint64_t bytes)
{
	return (struct column){ .name = "c", .charset = charset, .chars = chars, .bytes = bytes };
}

/* With scratch of exactly the text's length, so that a write behind it shows under
 * AddressSanitizer. */
static unsigned fit(const struct column *c, struct view text, uint8_t **scratch, struct view *out)
{
	*scratch = malloc(text.len ? text.len : 1);
	return text_fit(c, text, *scratch, out);
}

static const struct {
	enum column_charset charset;
	uint64_t chars, bytes;
	const char *text, *want;
	unsigned flags;
} cases[] = {
	{ CHARSET_UTF8MB4, 4, 16, "", "", FIT_AS_IS },
	{ CHARSET_UTF8MB4, 4, 16, "abcd", "abcd", FIT_AS_IS },
	{ CHARSET_UTF8MB4, 4, 16, "abcde", "abcd", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 0, 0, "a", "", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 0, 0, "", "", FIT_AS_IS },
	{ CHARSET_ASCII, 3, 3, "abcd", "abc", FIT_CLIPPED },
	{ CHARSET_LATIN1, 3, 3, "abcd", "abc", FIT_CLIPPED },
	{ CHARSET_UTF8MB3, 3, 9, "abcd", "abc", FIT_CLIPPED },
	/* octets are the limit of TEXT columns, whatever characters would allow */
	{ CHARSET_UTF8MB4, 65535, 3, "abcd", "abc", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 65535, 3, "a\xc3\xa4z", "a\xc3\xa4", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 65535, 4, "\xc3\xa4\xe2\x82\xac", "\xc3\xa4", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 65535, 5, "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac", FIT_AS_IS },
	/* characters, not octets */
	{ CHARSET_UTF8MB4, 2, 8, "\xc3\xa4\xc3\xb6\xc3\xbc", "\xc3\xa4\xc3\xb6", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 2, 8, "\xf0\x9f\x98\x80\xf0\x9f\x98\x81",
	  "\xf0\x9f\x98\x80\xf0\x9f\x98\x81", FIT_AS_IS },
	{ CHARSET_UTF8MB4, 2, 8, "\xf0\x9f\x98\x80\xf0\x9f\x98\x81x",
	  "\xf0\x9f\x98\x80\xf0\x9f\x98\x81", FIT_CLIPPED },
	/* four octets do not fit utf8mb3: one '?' for the character */
	{ CHARSET_UTF8MB3, 9, 27, "a\xf0\x9f\x98\x80z", "a?z", FIT_REPAIRED },
	{ CHARSET_UTF8MB3, 9, 27, "\xe2\x82\xac", "\xe2\x82\xac", FIT_AS_IS },
	{ CHARSET_UTF8MB3, 2, 6, "a\xf0\x9f\x98\x80z", "a?", FIT_CLIPPED | FIT_REPAIRED },
	/* latin1 has U+00A0 to U+00FF; what is below is other signs in MySQL */
	{ CHARSET_LATIN1, 9, 9, "\xc3\xa4\xc3\xbf\xc2\xa0", "\xc3\xa4\xc3\xbf\xc2\xa0", FIT_AS_IS },
	{ CHARSET_LATIN1, 9, 9, "\xc2\x9f", "?", FIT_REPAIRED },
	{ CHARSET_LATIN1, 9, 9, "\xc2\x80", "?", FIT_REPAIRED },
	{ CHARSET_LATIN1, 9, 9, "\xc4\x80", "?", FIT_REPAIRED },
	{ CHARSET_LATIN1, 9, 9, "\xe2\x82\xac", "?", FIT_REPAIRED },
	{ CHARSET_LATIN1, 9, 9, "\xf0\x9f\x98\x80", "?", FIT_REPAIRED },
	{ CHARSET_LATIN1, 2, 2, "\xc3\xa4\xc3\xb6\xc3\xbc", "\xc3\xa4\xc3\xb6", FIT_CLIPPED },
	{ CHARSET_ASCII, 9, 9, "\xc3\xa4z", "?z", FIT_REPAIRED },
	/* overlong */
	{ CHARSET_UTF8MB4, 9, 36, "\xc0\xaf", "??", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xc1\xbf", "??", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xe0\x80\xaf", "???", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xe0\x9f\xbf", "???", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xe0\xa0\x80", "\xe0\xa0\x80", FIT_AS_IS },
	{ CHARSET_UTF8MB4, 9, 36, "\xf0\x80\x80\xaf", "????", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xf0\x8f\xbf\xbf", "????", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xf0\x90\x80\x80", "\xf0\x90\x80\x80", FIT_AS_IS },
	/* surrogates, and what is next to them */
	{ CHARSET_UTF8MB4, 9, 36, "\xed\xa0\x80", "???", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xed\xbf\xbf", "???", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80",
	  FIT_AS_IS },
	/* behind U+10FFFF */
	{ CHARSET_UTF8MB4, 9, 36, "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", FIT_AS_IS },
	{ CHARSET_UTF8MB4, 9, 36, "\xf4\x90\x80\x80", "????", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xf5\x80\x80\x80", "????", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xff\xfe", "??", FIT_REPAIRED },
	/* cut off, and continuations without a start */
	{ CHARSET_UTF8MB4, 9, 36, "\x80", "?", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "a\xc3", "a?", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "a\xe2\x82", "a??", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "a\xf0\x9f\x98", "a???", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xc3z", "?z", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xe2\x82z", "??z", FIT_REPAIRED },
	{ CHARSET_UTF8MB4, 9, 36, "\xf0\x9f\x98z", "???z", FIT_REPAIRED },
	/* what is cut is not looked at */
	{ CHARSET_UTF8MB4, 1, 4, "a\xff", "a", FIT_CLIPPED },
	{ CHARSET_UTF8MB4, 1, 4,
	  "\xff"
	  "a",
	  "?", FIT_CLIPPED | FIT_REPAIRED },
	/* binary takes everything, counted in octets */
	{ CHARSET_BINARY, 0, 4, "\xff\xfe\x80\xc3", "\xff\xfe\x80\xc3", FIT_AS_IS },
	{ CHARSET_BINARY, 0, 3, "\xff\xfe\x80\xc3", "\xff\xfe\x80", FIT_CLIPPED },
};

START_TEST(text_is_made_to_fit)
{
	struct column c = column_of(cases[_i].charset, cases[_i].chars, cases[_i].bytes);
	struct view out;
	uint8_t *scratch;

	ck_assert_uint_eq(fit(&c, view_of(cases[_i].text), &scratch, &out), cases[_i].flags);
	ck_assert(view_is(out, cases[_i].want));
	free(scratch);
}
END_TEST

START_TEST(plain_text_stays_where_it_is)
{
	struct column c = column_of(CHARSET_UTF8MB4, 100, 400);
	char text[] = "0123456789abcdef0123456789abcdef";
	struct view out;

	for (uint32_t from = 0; from < 16; from++) {
		for (uint32_t len = 0; len <= 16; len++) {
			struct view v = { (uint8_t *)text + from, len };

			ck_assert_uint_eq(text_fit(&c, v, NULL, &out), FIT_AS_IS);
			ck_assert_ptr_eq(out.at, v.at);
			ck_assert_uint_eq(out.len, len);
		}
	}
}
END_TEST

/* The quick look at eight octets at once sees the one that is not ASCII, wherever it is. */
START_TEST(one_odd_octet_is_found_anywhere)
{
	struct column c = column_of(CHARSET_UTF8MB4, 100, 400);

	for (uint32_t len = 1; len <= 33; len++) {
		for (uint32_t at = 0; at < len; at++) {
			uint8_t *text = malloc(len), *scratch;
			struct view out;

			memset(text, 'x', len);
			text[at] = 0x80;
			ck_assert_uint_eq(fit(&c, (struct view){ text, len }, &scratch, &out),
					  FIT_REPAIRED);
			ck_assert_uint_eq(out.len, len);
			ck_assert_int_eq(out.at[at], '?');
			free(scratch);
			free(text);
		}
	}
}
END_TEST

START_TEST(text_without_octets_needs_no_address)
{
	struct column c = column_of(CHARSET_UTF8MB3, 3, 9);
	struct view out;

	ck_assert_uint_eq(text_fit(&c, (struct view){ NULL, 0 }, NULL, &out), FIT_AS_IS);
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

/* ---- the same by other means: code points ---- */

/* RFC 3629 by arithmetic instead of by table. @return octets, 0 if it is no character. */
static unsigned decode(const uint8_t *at, size_t len, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n = 1, ones = 0;

	while (ones < 8 && (at[0] & (0x80 >> ones)))
		ones++;
	if (ones == 0) {
		*code = at[0];
		return 1;
	}
	if (ones == 1 || ones > 4 || ones > len)
		return 0;
	*code = at[0] & (0x7fU >> ones);
	for (; n < ones; n++) {
		if ((at[n] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (at[n] & 0x3f);
	}
	return *code < least[ones] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff)
		       ? 0
		       : ones;
}

static unsigned reference(const struct column *c, struct view text, uint8_t *out, uint32_t *out_len)
{
	static const uint32_t highest[] = { [CHARSET_ASCII] = 0x7f,
					    [CHARSET_LATIN1] = 0xff,
					    [CHARSET_UTF8MB3] = 0xffff,
					    [CHARSET_UTF8MB4] = 0x10ffff };
	uint64_t chars = 0, bytes = 0;
	unsigned flags = FIT_AS_IS;
	uint32_t i = 0, code = 0;

	*out_len = 0;
	while (i < text.len) {
		unsigned n =
			c->charset == CHARSET_BINARY ? 0 : decode(text.at + i, text.len - i, &code);
		bool is_good = c->charset == CHARSET_BINARY ||
			       (n && code <= highest[c->charset] &&
				!(c->charset == CHARSET_LATIN1 && code >= 0x80 && code < 0xa0));
		unsigned stored = !is_good || n == 0 || c->charset <= CHARSET_LATIN1 ? 1 : n;

		if ((c->charset != CHARSET_BINARY && chars + 1 > c->chars) ||
		    bytes + stored > c->bytes)
			return flags | FIT_CLIPPED;
		for (unsigned k = 0; k < (n ? n : 1) && is_good; k++)
			out[(*out_len)++] = text.at[i + k];
		if (!is_good) {
			out[(*out_len)++] = '?';
			flags |= FIT_REPAIRED;
		}
		i += n ? n : 1;
		chars++;
		bytes += stored;
	}
	return flags;
}

static uint32_t random_state = 1;

static uint32_t draw(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % below;
}

/* Pieces that make each kind of text likely, so that some of them are next to one another. */
static uint32_t random_text(uint8_t *text)
{
	static const char *const pieces[] = {
		"a",	    "zz",	"plain text ",	"\xc3\xa4",
		"\xc2\x85", "\xc2\xa0", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"\xc3",	    "\xe2\x82", "\xf0\x9f",	"\x80",
		"\xff",	    "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"
	};
	uint32_t len = 0, count = draw(12);
	const char *p;

	for (uint32_t i = 0; i < count; i++) {
		if (draw(5) == 0) {
			text[len++] = (uint8_t)draw(256);
			continue;
		}
		p = pieces[draw(draw(3) ? ROWS(pieces) : 3)];
		memcpy(text + len, p, strlen(p));
		len += (uint32_t)strlen(p);
	}
	return len;
}

START_TEST(random_texts_fit_as_a_slow_reader_says)
{
	unsigned seen[4] = { 0 };

	for (int i = 0; i < 20000; i++) {
		uint8_t text[256], want[256], *exact, *scratch;
		uint32_t len = random_text(text), want_len;
		struct column c = column_of((enum column_charset)draw(5), draw(40), draw(80));
		struct view out;
		unsigned flags;

		exact = malloc(len ? len : 1);
		memcpy(exact, text, len);
		flags = fit(&c, (struct view){ exact, len }, &scratch, &out);
		ck_assert_uint_eq(flags,
				  reference(&c, (struct view){ text, len }, want, &want_len));
		ck_assert_uint_eq(out.len, want_len);
		if (want_len)
			ck_assert_mem_eq(out.at, want, want_len);
		ck_assert(view_inside(out, (struct view){ exact, len }) ||
			  view_inside(out, (struct view){ scratch, len }));
		seen[flags]++;
		free(exact);
		free(scratch);
	}
	for (unsigned f = 0; f < 4; f++)
		ck_assert_uint_gt(seen[f], 500);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("table");
	TCase *t = tcase_create("text_fit");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, text_is_made_to_fit, 0, ROWS(cases));
	tcase_add_test(t, plain_text_stays_where_it_is);
	tcase_add_test(t, one_odd_octet_is_found_anywhere);
	tcase_add_test(t, text_without_octets_needs_no_address);
	tcase_add_test(t, random_texts_fit_as_a_slow_reader_says);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
