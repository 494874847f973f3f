/*
 * hep/frame.c: a stream cut into packets. The fuzz target states the properties; here are the
 * borders, and what is held and when.
 */
#include "hep/frame.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define A	    "HEP3\0\x08hi"
#define B	    "EEP1\0\x06"
#define C	    "EEP3\0\x07!"

struct got {
	int count;
	size_t bytes;
	const uint8_t *last;
};

static void take(void *ctx, const uint8_t *packet, size_t len)
{
	struct got *g = ctx;

	g->count++;
	g->bytes += len;
	g->last = packet;
}

static int feed(struct frame *f, const char *bytes, size_t len, struct got *g)
{
	return frame_feed(f, (const uint8_t *)bytes, len, take, g);
}

START_TEST(packets_within_one_read_are_not_copied)
{
	static const char stream[] = A B C;
	struct frame f = { 0 };
	struct got g = { 0 };

	ck_assert_int_eq(feed(&f, stream, sizeof(stream) - 1, &g), 3);
	ck_assert_uint_eq(g.bytes, sizeof(stream) - 1);
	ck_assert_ptr_eq(g.last, (const uint8_t *)stream + 14);
	ck_assert_ptr_null(f.bytes);
	ck_assert_int_eq(feed(&f, "", 0, &g), 0);
}
END_TEST

START_TEST(packet_cut_anywhere_is_held_and_then_let_go)
{
	for (size_t cut = 1; cut < 8; cut++) {
		struct frame f = { 0 };
		struct got g = { 0 };

		ck_assert_int_eq(feed(&f, A, cut, &g), 0);
		ck_assert_uint_eq(frame_held(&f), cut);
		ck_assert_uint_le(f.room, 8);
		ck_assert_int_eq(feed(&f, A B + cut, 8 + 6 - cut, &g), 2);
		ck_assert_uint_eq(g.bytes, 14);
		ck_assert_uint_eq(frame_held(&f), 0);
		ck_assert_ptr_null(f.bytes);
	}
}
END_TEST

START_TEST(largest_packet_octet_by_octet)
{
	char *packet = calloc(1, 65535);
	struct frame f = { 0 };
	struct got g = { 0 };

	memcpy(packet, "HEP3\xff\xff", 6);
	for (size_t i = 0; i < 65534; i++)
		ck_assert_int_eq(feed(&f, packet + i, 1, &g), 0);
	ck_assert_uint_eq(f.room, 65535);
	ck_assert_int_eq(feed(&f, packet + 65534, 1, &g), 1);
	ck_assert_uint_eq(g.bytes, 65535);
	frame_free(&f);
	free(packet);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len, packets;
	int err;
} broken[] = {
	{ "X", 1, 0, HT_EVERSION },
	{ "HX", 2, 0, HT_EVERSION },
	{ "HEP4", 4, 0, HT_EVERSION },
	{ "\1\x10\2\x11", 4, 0, HT_EVERSION },
	{ "\2", 1, 0, HT_EVERSION },
	{ "HEP3\0\5", 6, 0, HT_ELENGTH },
	{ "HEP3\0\0", 6, 0, HT_ELENGTH },
	{ A "INVITE", 14, 1, HT_EVERSION },
	{ A B "HEP3\0\1xxxx", 24, 2, HT_ELENGTH },
};

START_TEST(lost_framing_is_said_and_what_was_before_is_handed_on)
{
	struct frame whole = { 0 }, single = { 0 };
	struct got g = { 0 };
	int err = 0;

	ck_assert_int_eq(feed(&whole, broken[_i].bytes, broken[_i].len, &g), broken[_i].err);
	ck_assert_int_eq(g.count, (int)broken[_i].packets);
	g.count = 0;
	for (size_t i = 0; i < broken[_i].len && err >= 0; i++)
		err = feed(&single, broken[_i].bytes + i, 1, &g);
	ck_assert_int_eq(err, broken[_i].err);
	ck_assert_int_eq(g.count, (int)broken[_i].packets);
	frame_free(&whole);
	frame_free(&single);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");
	SRunner *runner;
	int failed;

	tcase_add_test(t, packets_within_one_read_are_not_copied);
	tcase_add_test(t, packet_cut_anywhere_is_held_and_then_let_go);
	tcase_add_test(t, largest_packet_octet_by_octet);
	tcase_add_loop_test(t, lost_framing_is_said_and_what_was_before_is_handed_on, 0,
			    ROWS(broken));
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
