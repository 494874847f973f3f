/* What Content-Length says, NUL octets behind a message, and reports on quality inside SIP. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hep/quality.h"
#include "hep/sip.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- NUL octets behind the message ---- */

static struct view trimmed(const char *text, size_t len)
{
	struct view v = { (const uint8_t *)text, (uint32_t)len };
	struct sip s;

	ck_assert_int_eq(sip_parse(v, NULL, &s), HT_OK);
	return sip_trim_nul(v, &s);
}

#define BODY_OF(length)	 "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: " length "\r\n\r\n"
#define TRIMMED(literal) trimmed(literal, sizeof(literal) - 1).len

START_TEST(nul_octets_are_cut_but_not_those_of_the_body)
{
	size_t head = sizeof(BODY_OF("4")) - 1;

	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "body\0\0\0\0\0\0\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "bo\0\0\0\0\0\0\0\0\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("0") "\0\0\0"), head);
	ck_assert_uint_eq(TRIMMED(BODY_OF("9") "body\0\0"), head + 4); /* cut by the sender */
	ck_assert_uint_eq(TRIMMED(BODY_OF("x") "body\0\0"), head + 4);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4") "bo\0dy"), head + 5);
	ck_assert_uint_eq(TRIMMED(BODY_OF("4")), head);
}
END_TEST

static const struct {
	const char *value;
	int64_t want;
} lengths[] = { { "0", 0 },
		{ "0123", 123 },
		{ "4294967294", 4294967294 },
		{ "4294967295", 4294967295 },
		{ "", -1 },
		{ "-5", -1 },
		{ "x", -1 },
		{ "12 ", 12 },
		{ "12;x", 12 },
		{ "99999999999999999999", 4294967295 } };

START_TEST(content_length_is_a_number_or_not_there)
{
	char text[256];
	struct sip s;

	for (int compact = 0; compact < 2; compact++) {
		snprintf(text, sizeof(text), "OPTIONS sip:a SIP/2.0\r\n%s:  %s\r\n\r\n",
			 compact ? "l" : "CONTENT-Length", lengths[_i].value);
		ck_assert_int_eq(sip_parse(view_of(text), NULL, &s), HT_OK);
		ck_assert_int_eq(s.content_length, lengths[_i].want);
	}
}
END_TEST

START_TEST(quality_reports)
{
	ck_assert(quality_is_report(view_of("application/vq-rtcpxr")));
	ck_assert(quality_is_report(view_of("Application/VQ-RTCPXR ; x=y")));
	ck_assert(!quality_is_report(view_of("application/vq-rtcpxr2")));
	ck_assert(!quality_is_report(view_of("")));
	ck_assert(
		view_is(quality_callid(view_of("A: b\r\nCALLID:  x@y \r\nCallID: no\r\n")), "x@y"));
	ck_assert(view_is(quality_callid(view_of("CallID:last line")), "last line"));
	ck_assert_uint_eq(quality_callid(view_of("CallI\r\nXCallID: x\r\n")).len, 0);
	ck_assert_uint_eq(quality_callid(view_of("")).len, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trim");
	TCase *t = tcase_create("trim");
	SRunner *runner;
	int failed;

	tcase_add_test(t, nul_octets_are_cut_but_not_those_of_the_body);
	tcase_add_loop_test(t, content_length_is_a_number_or_not_there, 0, ROWS(lengths));
	tcase_add_test(t, quality_reports);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
