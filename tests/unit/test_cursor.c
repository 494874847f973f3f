/*
 * hep/cursor.h: what is read, and that a read past the end is none. Bytes are exact-size heap
 * copies, so that AddressSanitizer sees a byte too many.
 */
#include "hep/cursor.h"

#include <check.h>
#include <stdlib.h>

#define WALK_BYTES 64

static uint8_t *kept;

static void free_kept(void)
{
	free(kept);
	kept = NULL;
}

static struct cursor cursor_of(const void *bytes, size_t len)
{
	kept = malloc(len);
	ck_assert_ptr_nonnull(kept);
	memcpy(kept, bytes, len);
	return cursor_over(kept, len);
}

static struct cursor cursor_of_text(const char *text)
{
	return cursor_of(text, strlen(text));
}

static void check_view(struct view v, const char *text)
{
	ck_assert_uint_eq(v.len, strlen(text));
	ck_assert_msg(view_is(v, text), "'%.*s' is not '%s'", (int)v.len, (const char *)v.at, text);
}

/* Reading. */

START_TEST(numbers_are_big_endian)
{
	struct cursor c = cursor_of("\x01\x02\x03\xff\xfe\xfd\xfc", 7);

	ck_assert_uint_eq(cursor_u8(&c), 0x01);
	ck_assert_uint_eq(cursor_u16_be(&c), 0x0203);
	ck_assert_uint_eq(cursor_u32_be(&c), 0xfffefdfcU);
	ck_assert_uint_eq(cursor_left(&c), 0);
	ck_assert(!c.failed);
}
END_TEST

/* Each reader with one byte fewer than it needs. */
static void read_too_much(struct cursor *c, int reader)
{
	switch (reader) {
	case 0:
		ck_assert_uint_eq(cursor_u32_be(c), 0);
		break;
	case 1:
		ck_assert_uint_eq(cursor_view(c, 4).len, 0);
		break;
	case 2:
		ck_assert_ptr_null(cursor_view(c, 4).at);
		break;
	case 3:
		ck_assert_ptr_null(cursor_take(c, 4));
		break;
	default: /* position plus size would wrap around */
		ck_assert_ptr_null(cursor_take(c, SIZE_MAX));
		break;
	}
}

START_TEST(read_past_the_end_moves_nothing_and_fails)
{
	struct cursor c = cursor_of("abc", 3);

	read_too_much(&c, _i);
	ck_assert(c.failed);
	ck_assert_ptr_eq(c.pos, kept);
	ck_assert_uint_eq(cursor_left(&c), 3);
}
END_TEST

START_TEST(failure_stays_while_shorter_reads_succeed)
{
	struct cursor c = cursor_of("ab", 2);

	ck_assert_uint_eq(cursor_u32_be(&c), 0);
	ck_assert_uint_eq(cursor_u16_be(&c), 0x6162);
	ck_assert_uint_eq(cursor_u16_be(&c), 0);
	ck_assert_uint_eq(cursor_u8(&c), 0);
	ck_assert(c.failed);
}
END_TEST

START_TEST(no_bytes_can_be_taken_at_the_end)
{
	struct cursor c = cursor_of("ab", 2);

	ck_assert_uint_eq(cursor_u16_be(&c), 0x6162);
	ck_assert_uint_eq(cursor_view(&c, 0).len, 0);
	ck_assert_uint_eq(cursor_rest(&c).len, 0);
	ck_assert(!c.failed);
}
END_TEST

START_TEST(no_range_at_all_is_an_empty_one)
{
	struct cursor c = cursor_over(NULL, 0);

	ck_assert_uint_eq(cursor_left(&c), 0);
	ck_assert_int_eq(cursor_peek(&c), -1);
	ck_assert(!cursor_skip_byte(&c, 0));
	ck_assert_uint_eq(cursor_until(&c, '\n').len, 0);
	ck_assert_uint_eq(cursor_rest(&c).len, 0);
	ck_assert(!c.failed);
	ck_assert_uint_eq(cursor_u8(&c), 0);
	ck_assert(c.failed);
}
END_TEST

START_TEST(rest_is_all_that_is_left_once)
{
	struct cursor c = cursor_of_text("abcd");

	check_view(cursor_view(&c, 1), "a");
	check_view(cursor_rest(&c), "bcd");
	check_view(cursor_rest(&c), "");
	ck_assert(!c.failed);
}
END_TEST

START_TEST(peek_does_not_move)
{
	struct cursor c = cursor_of("\xff", 1);

	ck_assert_int_eq(cursor_peek(&c), 0xff);
	ck_assert_int_eq(cursor_peek(&c), 0xff);
	ck_assert_uint_eq(cursor_u8(&c), 0xff);
	ck_assert_int_eq(cursor_peek(&c), -1);
	ck_assert(!c.failed);
}
END_TEST

START_TEST(skip_moves_over_that_byte_only)
{
	struct cursor c = cursor_of_text("ab");

	ck_assert(!cursor_skip_byte(&c, 'b'));
	ck_assert(cursor_skip_byte(&c, 'a'));
	ck_assert(cursor_skip_byte(&c, 'b'));
	ck_assert(!cursor_skip_byte(&c, 'b'));
	ck_assert(!c.failed);
}
END_TEST

START_TEST(until_leaves_the_stop_out_and_behind)
{
	struct cursor c = cursor_of_text("one\n\ntwo\nthree");

	check_view(cursor_until(&c, '\n'), "one");
	check_view(cursor_until(&c, '\n'), "");
	check_view(cursor_until(&c, '\n'), "two");
	check_view(cursor_until(&c, '\n'), "three");
	check_view(cursor_until(&c, '\n'), "");
	ck_assert(!c.failed);
}
END_TEST

START_TEST(until_passes_nul)
{
	struct cursor c = cursor_of("a\0b\nc", 5);

	ck_assert_uint_eq(cursor_until(&c, '\n').len, 3);
	check_view(cursor_rest(&c), "c");
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 16;
}

static void read_something(struct cursor *c, uint32_t random)
{
	uint8_t byte = (uint8_t)(random >> 3);

	switch (random % 8) {
	case 0:
		cursor_u8(c);
		break;
	case 1:
		cursor_u16_be(c);
		break;
	case 2:
		cursor_u32_be(c);
		break;
	case 3:
		cursor_take(c, byte % 16);
		break;
	case 4:
		cursor_until(c, byte % 32);
		break;
	case 5:
		cursor_skip_byte(c, byte);
		break;
	case 6:
		cursor_view(c, byte);
		break;
	default:
		cursor_peek(c);
		break;
	}
}

START_TEST(position_never_passes_the_end_or_goes_back)
{
	uint8_t bytes[WALK_BYTES];
	uint32_t state = (uint32_t)_i;
	struct cursor c;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)next_random(&state) % 32;
	c = cursor_of(bytes, sizeof(bytes));
	for (int i = 0; i < 100; i++) {
		const uint8_t *before = c.pos;

		read_something(&c, next_random(&state));
		ck_assert(c.pos >= before);
		ck_assert(c.pos <= c.end);
		ck_assert_ptr_eq(c.end, kept + sizeof(bytes));
	}
}
END_TEST

/* Views. */

START_TEST(view_is_all_its_bytes)
{
	ck_assert(view_is(view_of("abc"), "abc"));
	ck_assert(!view_is(view_of("abc"), "ab"));
	ck_assert(!view_is(view_of("ab"), "abc"));
	ck_assert(!view_is(view_of("abc"), "abC"));
	ck_assert(view_is(view_of(""), ""));
	ck_assert(!view_is((struct view){ (const uint8_t *)"a\0", 2 }, "a"));
}
END_TEST

START_TEST(absent_view_is_the_empty_text)
{
	ck_assert(view_is((struct view){ 0 }, ""));
	ck_assert(view_is_nocase((struct view){ 0 }, ""));
	ck_assert(!view_is((struct view){ 0 }, "a"));
	ck_assert(!view_is_nocase((struct view){ 0 }, "a"));
}
END_TEST

START_TEST(case_is_ignored_for_ascii_letters_only)
{
	ck_assert(view_is_nocase(view_of("CaLL-iD"), "call-id"));
	ck_assert(!view_is_nocase(view_of("call-i"), "call-id"));
	ck_assert(!view_is_nocase(view_of("["), "{"));
	ck_assert(!view_is_nocase(view_of("@"), "`"));
	ck_assert(!view_is_nocase(view_of("\xc1"), "\xe1"));
	ck_assert(view_is_nocase(view_of("\xc1"), "\xc1"));
}
END_TEST

START_TEST(every_octet_but_capitals_is_its_own_lower_case)
{
	int is_capital = _i >= 'A' && _i <= 'Z';

	ck_assert_uint_eq(ascii_lower((uint8_t)_i), is_capital ? _i + 32 : _i);
}
END_TEST

START_TEST(inside_is_from_edge_to_edge)
{
	const uint8_t *at = (const uint8_t *)"0123456789";
	struct view outer = { at + 2, 4 };

	ck_assert(view_inside(outer, outer));
	ck_assert(view_inside((struct view){ at + 2, 1 }, outer));
	ck_assert(view_inside((struct view){ at + 5, 1 }, outer));
	ck_assert(!view_inside((struct view){ at + 1, 1 }, outer));
	ck_assert(!view_inside((struct view){ at + 6, 1 }, outer));
	ck_assert(!view_inside((struct view){ at + 1, 2 }, outer));
	ck_assert(!view_inside((struct view){ at + 5, 2 }, outer));
	ck_assert(!view_inside((struct view){ at, 10 }, outer));
	ck_assert(view_inside((struct view){ at, 0 }, outer));
	ck_assert(view_inside((struct view){ 0 }, outer));
	ck_assert(!view_inside((struct view){ at, 1 }, (struct view){ 0 }));
}
END_TEST

static TCase *reading_tests(void)
{
	TCase *t = tcase_create("reading");

	tcase_add_test(t, numbers_are_big_endian);
	tcase_add_loop_test(t, read_past_the_end_moves_nothing_and_fails, 0, 5);
	tcase_add_test(t, failure_stays_while_shorter_reads_succeed);
	tcase_add_test(t, no_bytes_can_be_taken_at_the_end);
	tcase_add_test(t, no_range_at_all_is_an_empty_one);
	tcase_add_test(t, rest_is_all_that_is_left_once);
	tcase_add_test(t, peek_does_not_move);
	tcase_add_test(t, skip_moves_over_that_byte_only);
	tcase_add_test(t, until_leaves_the_stop_out_and_behind);
	tcase_add_test(t, until_passes_nul);
	tcase_add_loop_test(t, position_never_passes_the_end_or_goes_back, 0, 200);
	return t;
}

static TCase *view_tests(void)
{
	TCase *t = tcase_create("views");

	tcase_add_test(t, view_is_all_its_bytes);
	tcase_add_test(t, absent_view_is_the_empty_text);
	tcase_add_test(t, case_is_ignored_for_ascii_letters_only);
	tcase_add_loop_test(t, every_octet_but_capitals_is_its_own_lower_case, 0, 256);
	tcase_add_test(t, inside_is_from_edge_to_edge);
	return t;
}

int main(void)
{
	TCase *cases[] = { reading_tests(), view_tests() };
	Suite *s = suite_create("cursor");
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], NULL, free_kept);
		suite_add_tcase(s, cases[i]);
	}
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
