/*
 * hep/json.c. Objects and rooms are exact-size heap blocks, so that AddressSanitizer sees a byte
 * too many.
 */
#include "hep/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define LIT(text)   text, sizeof(text) - 1

static uint8_t *kept, *room; /* of the last call */
static struct view value;

static void free_kept(void)
{
	free(kept);
	free(room);
	kept = room = NULL;
}

static int unwrap_into(const void *json, size_t len, const char *key, size_t room_bytes)
{
	int err;

	free_kept();
	kept = malloc(len);
	room = malloc(room_bytes);
	ck_assert(kept && room);
	memcpy(kept, json, len);
	value = (struct view){ 0 };
	err = json_unwrap((struct view){ kept, (uint32_t)len }, key, room, room_bytes, &value);
	if (err == HT_OK) {
		ck_assert(value.len == 0 || value.at == room);
		ck_assert_uint_le(value.len, room_bytes);
	}
	return err;
}

static int unwrap(const void *json, size_t len)
{
	return unwrap_into(json, len, "payload", len);
}

static const struct {
	const char *json;
	size_t len;
	const char *value;
	size_t value_len;
} good[] = {
	{ LIT("{\"payload\":\"OPTIONS\"}"), LIT("OPTIONS") },
	{ LIT("{\"payload\":\"\"}"), LIT("") },
	{ LIT(" \t\r\n{ \"payload\"\n:\t\"a\" } "), LIT("a") },
	{ LIT("{\"payload\":\"a\\r\\nb\\\\c\\/d\\\"e\\t\\b\\f\"}"), LIT("a\r\nb\\c/d\"e\t\b\f") },
	{ LIT("{\"payload\":\"\\u0041\\u00e9\\u20ac\\uD83D\\ude00\"}"),
	  LIT("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") },
	{ LIT("{\"payload\":\"\\u0000\\u007f\\u0080\\u07ff\\u0800\\uffff\"}"),
	  LIT("\0\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf") },
	{ LIT("{\"payload\":\"\\ud800\\udc00\\udbff\\udfff\"}"),
	  LIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf") },
	/* halves of pairs */
	{ LIT("{\"payload\":\"\\ud83d\"}"), LIT("\xef\xbf\xbd") },
	{ LIT("{\"payload\":\"\\ude00x\"}"), LIT("\xef\xbf\xbdx") },
	{ LIT("{\"payload\":\"\\ud83dx\\ude00\"}"), LIT("\xef\xbf\xbdx\xef\xbf\xbd") },
	{ LIT("{\"payload\":\"\\ud83d\\n\"}"), LIT("\xef\xbf\xbd\n") },
	{ LIT("{\"payload\":\"\\ud83d\\u0041\"}"), LIT("\xef\xbf\xbd\x41") },
	{ LIT("{\"payload\":\"\\ud83d\\ud83d\\ude00\"}"), LIT("\xef\xbf\xbd\xf0\x9f\x98\x80") },
	{ LIT("{\"payload\":\"\\ude00\\ud83d\"}"), LIT("\xef\xbf\xbd\xef\xbf\xbd") },
	{ LIT("{\"payload\":\"\\ude00\\ude00\"}"), LIT("\xef\xbf\xbd\xef\xbf\xbd") },
	/* as they are */
	{ LIT("{\"payload\":\"a\nb\rc\td\0e\x01\x7f\"}"), LIT("a\nb\rc\td\0e\x01\x7f") },
	{ LIT("{\"payload\":\"\xc3\xa9\xff\xfe\xc3\"}"), LIT("\xc3\xa9\xff\xfe\xc3") },
	/* other members */
	{ LIT("{\"a\":1,\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"a\":-1.5e+3 ,\"b\":true,\"c\":null,\"d\":false,\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"a\":\"payload\",\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"a\":\"\\\"payload\\\":\\\"no\\\"\",\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"a\":{\"payload\":\"no\"},\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"a\":[{\"payload\":\"no\"},[\"}\",\"]\",\"\\\"]\"],{}],\"payload\":\"x\"}"),
	  LIT("x") },
	{ LIT("{\"payload\":7,\"payload\":{},\"payload\":\"x\"}"), LIT("x") },
	{ LIT("{\"payload\":\"x\",\"payload\":\"y\"}"), LIT("x") },
	{ LIT("{\"Payload\":\"a\",\"payloads\":\"b\",\"payloa\":\"c\",\"\":\"d\",\"payload\":"
	      "\"x\"}"),
	  LIT("x") },
	{ LIT("{\"pay\\u006coa\\u0064\":\"x\"}"), LIT("x") },
	/* what is behind the string */
	{ LIT("{\"payload\":\"x\"}\0\0\0\0"), LIT("x") },
	{ LIT("{\"payload\":\"x\"}\r\n \0"), LIT("x") },
	{ LIT("{\"payload\":\"x\""), LIT("x") },
	{ LIT("{\"payload\":\"x\",oops"), LIT("x") },
};

START_TEST(string_is_found_and_unescaped)
{
	ck_assert_int_eq(unwrap(good[_i].json, good[_i].len), HT_OK);
	ck_assert_uint_eq(value.len, good[_i].value_len);
	ck_assert(value.len == 0 || memcmp(value.at, good[_i].value, value.len) == 0);
}
END_TEST

START_TEST(room_is_used_to_its_last_octet_and_no_further)
{
	size_t need = good[_i].value_len;

	ck_assert_int_eq(unwrap_into(good[_i].json, good[_i].len, "payload", need), HT_OK);
	for (size_t bytes = 0; bytes < need; bytes++)
		ck_assert_int_eq(unwrap_into(good[_i].json, good[_i].len, "payload", bytes),
				 HT_EFULL);
}
END_TEST

static const struct {
	const char *json;
	size_t len;
} bad[] = {
	{ LIT("") },
	{ LIT(" ") },
	{ LIT("{") },
	{ LIT("{}") },
	{ LIT("[]") },
	{ LIT("\"payload\"") },
	{ LIT("\0{\"payload\":\"x\"}") },
	{ LIT("[{\"payload\":\"x\"}]") },
	{ LIT("OPTIONS sip:a SIP/2.0\r\n\r\n") },
	{ LIT("{\"text\":\"x\"}") },
	{ LIT("{\"a\":{\"payload\":\"x\"}}") },
	{ LIT("{\"payload\":7}") },
	{ LIT("{\"payload\":null}") },
	{ LIT("{\"payload\":[\"x\"]}") },
	{ LIT("{\"payload\":x}") },
	{ LIT("{\"payload\"}") },
	{ LIT("{\"payload\",\"x\"}") },
	{ LIT("{\"payload\" \"x\"}") },
	{ LIT("{payload:\"x\"}") },
	{ LIT("{'payload':'x'}") },
	{ LIT("{,\"payload\":\"x\"}") },
	{ LIT("{\"a\":,\"payload\":\"x\"}") },
	{ LIT("{\"a\":1,,\"payload\":\"x\"}") },
	{ LIT("{\"a\":1 \"payload\":\"x\"}") },
	{ LIT("{\"a\":1:2,\"payload\":\"x\"}") },
	{ LIT("{\"a\":1}{\"payload\":\"x\"}") },
	{ LIT("{\"a\":[1},\"payload\":\"x\"}") },
	{ LIT("{\"a\":{1],\"payload\":\"x\"}") },
	{ LIT("{\"a\":],\"payload\":\"x\"}") },
	{ LIT("{\"a\":[\"\\x\"],\"payload\":\"x\"}") },
	{ LIT("{\"payload\":\"x") },
	{ LIT("{\"payload\":\"x\\") },
	{ LIT("{\"payload\":\"x\\\"") },
	{ LIT("{\"payload\":\"x\\q\"}") },
	{ LIT("{\"payload\":\"x\\0\"}") },
	{ LIT("{\"payload\":\"x\\\0\"}") },
	{ LIT("{\"payload\":\"\\u\"}") },
	{ LIT("{\"payload\":\"\\u123\"}") },
	{ LIT("{\"payload\":\"\\u12g4\"}") },
	{ LIT("{\"payload\":\"\\u+123\"}") },
	{ LIT("{\"payload\":\"\\ud83d\\u\"}") },
	{ LIT("{\"payload\":\"\\ud83d\\ude0\"}") },
	{ LIT("{\"payload\":\"\\ud83d\\") },
	{ LIT("{\"payload\":\"\\ud83d\\ude00") },
};

START_TEST(what_has_no_such_string_is_refused)
{
	ck_assert_int_eq(unwrap(bad[_i].json, bad[_i].len), HT_ENOTSIP);
}
END_TEST

START_TEST(object_cut_anywhere_is_refused_or_has_its_string)
{
	size_t end = 0;

	for (size_t len = 0; len <= good[_i].len; len++) {
		int err = unwrap(good[_i].json, len);

		if (end == 0 && err == HT_OK)
			end = len;
		ck_assert_int_eq(err, end ? HT_OK : HT_ENOTSIP);
	}
	ck_assert_uint_gt(end, 0);
}
END_TEST

START_TEST(any_octet_may_have_any_value)
{
	static char json[] = "{\"a\":[{\"b\":\"\\u00e9\"}],\"payload\":\"\\ud83d\\ude00\\n\"}";

	for (size_t at = 0; at < sizeof(json) - 1; at++) {
		char right = json[at];
		int err;

		json[at] = (char)_i;
		err = unwrap(LIT(json));
		ck_assert(err == HT_OK || err == HT_ENOTSIP);
		json[at] = right;
	}
}
END_TEST

START_TEST(nesting_is_bounded)
{
	char json[2000], *at = json;

	*at++ = '{';
	memcpy(at, "\"a\":", 4);
	at += 4;
	for (int i = 0; i < _i; i++)
		*at++ = i % 3 ? '[' : '{';
	for (int i = _i - 1; i >= 0; i--)
		*at++ = i % 3 ? ']' : '}';
	memcpy(at, ",\"payload\":\"x\"}", 15);
	at += 15;
	ck_assert_int_eq(unwrap(json, (size_t)(at - json)),
			 _i <= JSON_MAX_DEPTH ? HT_OK : HT_ENOTSIP);
}
END_TEST

START_TEST(open_brackets_alone_are_refused)
{
	static char json[65535];

	memset(json, _i ? '[' : '{', sizeof(json));
	memcpy(json, "{\"a\":", 5);
	ck_assert_int_eq(unwrap(json, sizeof(json)), HT_ENOTSIP);
}
END_TEST

START_TEST(any_key_can_be_asked_for)
{
	static const char json[] =
		"{\"\":\"1\",\"a\\\"b\":\"2\",\"\xc3\xa9\":\"3\",\"c\\u0000\":\"4\","
		"\"c\":\"5\",\"\\ud83d\\ude00\":\"6\"}";
	static const char *const keys[] = { "", "a\"b", "\xc3\xa9", "c", "\xf0\x9f\x98\x80" };
	static const char *const values[] = { "1", "2", "3", "5", "6" };

	ck_assert_int_eq(unwrap_into(LIT(json), keys[_i], 1), HT_OK);
	ck_assert(view_is(value, values[_i]));
}
END_TEST

static TCase *json_tests(void)
{
	TCase *t = tcase_create("json");

	tcase_add_loop_test(t, string_is_found_and_unescaped, 0, ROWS(good));
	tcase_add_loop_test(t, room_is_used_to_its_last_octet_and_no_further, 0, ROWS(good));
	tcase_add_loop_test(t, what_has_no_such_string_is_refused, 0, ROWS(bad));
	tcase_add_loop_test(t, object_cut_anywhere_is_refused_or_has_its_string, 0, ROWS(good));
	tcase_add_loop_test(t, any_octet_may_have_any_value, 0, 256);
	tcase_add_loop_test(t, nesting_is_bounded, 1, JSON_MAX_DEPTH + 3);
	tcase_add_loop_test(t, open_brackets_alone_are_refused, 0, 2);
	tcase_add_loop_test(t, any_key_can_be_asked_for, 0, 5);
	return t;
}

int main(void)
{
	TCase *t = json_tests();
	Suite *s = suite_create("json");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, NULL, free_kept);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
