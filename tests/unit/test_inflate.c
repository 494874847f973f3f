/*
 * hep/inflate.c against zlib's other half, which makes what is inflated here. Input is an
 * exact-size heap copy, so that AddressSanitizer sees a byte too many.
 */
#include "hep/inflate.h"

#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define ROWS(table)  ((int)(sizeof(table) / sizeof((table)[0])))
#define PACKED_BYTES (128 << 10)

#define SIP_TEXT                                              \
	"INVITE sip:bob@example.com SIP/2.0\r\n"              \
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n" \
	"From: <sip:alice@example.com>;tag=1\r\n"             \
	"To: <sip:bob@example.com>\r\n"                       \
	"Call-ID: 1@example.com\r\n\r\n"

/* windowBits of deflateInit2(): sign and size say which format. */
enum { FORMAT_ZLIB = 15, FORMAT_SMALL_ZLIB = 9, FORMAT_GZIP = 15 + 16, FORMAT_RAW = -15 };
static const int formats[] = { FORMAT_ZLIB, FORMAT_SMALL_ZLIB, FORMAT_GZIP, FORMAT_RAW };

static struct inflater *inflater;
static uint8_t packed[PACKED_BYTES], *kept;
static uint8_t plain[2 * INFLATE_MAX_BYTES];

static void start(void)
{
	ck_assert_int_eq(inflater_new(&inflater), HT_OK);
}

static void finish(void)
{
	inflater_free(inflater);
	free(kept);
	kept = NULL;
}

static size_t pack(int format, int level, const void *bytes, size_t len)
{
	z_stream z = { 0 };

	ck_assert_int_eq(deflateInit2(&z, level, Z_DEFLATED, format, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)bytes;
	z.avail_in = (unsigned)len;
	z.next_out = packed;
	z.avail_out = sizeof(packed);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_text(int format)
{
	return pack(format, Z_DEFAULT_COMPRESSION, SIP_TEXT, strlen(SIP_TEXT));
}

static int run_on(const void *bytes, size_t len, struct view *out)
{
	free(kept);
	kept = malloc(len);
	ck_assert_ptr_nonnull(kept);
	memcpy(kept, bytes, len);
	return inflater_run(inflater, (struct view){ kept, (uint32_t)len }, out);
}

static int run(size_t len, struct view *out)
{
	return run_on(packed, len, out);
}

static void check_gives(size_t len, const void *bytes, size_t expected_len)
{
	struct view out;

	ck_assert_int_eq(run(len, &out), HT_OK);
	ck_assert_uint_eq(out.len, expected_len);
	ck_assert(memcmp(out.at, bytes, expected_len) == 0);
}

static void fill_plain(void)
{
	uint32_t state = 1;

	for (size_t i = 0; i < sizeof(plain); i++) {
		state = state * 1664525 + 1013904223;
		plain[i] = (uint8_t)(state >> 24);
	}
}

START_TEST(every_format_and_level_is_inflated)
{
	for (int level = Z_NO_COMPRESSION; level <= Z_BEST_COMPRESSION; level++)
		check_gives(pack(formats[_i], level, SIP_TEXT, strlen(SIP_TEXT)), SIP_TEXT,
			    strlen(SIP_TEXT));
}
END_TEST

START_TEST(nothing_compressed_is_nothing)
{
	check_gives(pack(formats[_i], Z_DEFAULT_COMPRESSION, "", 0), "", 0);
}
END_TEST

START_TEST(as_much_as_the_limit_is_inflated)
{
	fill_plain();
	check_gives(pack(formats[_i], Z_DEFAULT_COMPRESSION, plain, INFLATE_MAX_BYTES), plain,
		    INFLATE_MAX_BYTES);
}
END_TEST

START_TEST(more_than_the_limit_is_refused)
{
	struct view out;
	size_t len;

	fill_plain();
	len = pack(formats[_i], Z_DEFAULT_COMPRESSION, plain, INFLATE_MAX_BYTES + 1);
	ck_assert_int_eq(run(len, &out), HT_EINFLATE);
	len = pack(formats[_i], Z_DEFAULT_COMPRESSION, plain, INFLATE_MAX_BYTES + 2);
	ck_assert_int_eq(run(len, &out), HT_EINFLATE);
}
END_TEST

START_TEST(bomb_is_refused)
{
	static const uint8_t zeros[8 << 20];
	struct view out;
	size_t len = pack(formats[_i], Z_BEST_COMPRESSION, zeros, sizeof(zeros));

	ck_assert_int_eq(run(len, &out), HT_EINFLATE);
}
END_TEST

START_TEST(stream_cut_anywhere_is_refused)
{
	size_t len = pack_text(formats[_i]);
	struct view out;

	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(run(cut, &out), HT_EINFLATE);
	check_gives(len, SIP_TEXT, strlen(SIP_TEXT));
}
END_TEST

START_TEST(wrong_checksum_is_refused)
{
	size_t len = pack_text(formats[_i]);
	struct view out;

	if (formats[_i] == FORMAT_RAW) /* has none */
		return;
	packed[len - 1] ^= 1;
	ck_assert_int_eq(run(len, &out), HT_EINFLATE);
}
END_TEST

START_TEST(octets_behind_the_stream_are_left)
{
	size_t len = pack_text(formats[_i]);

	memcpy(packed + len, "tail", 4);
	check_gives(len + 4, SIP_TEXT, strlen(SIP_TEXT));
}
END_TEST

START_TEST(stream_that_needs_a_dictionary_is_refused)
{
	z_stream z = { 0 };
	struct view out;

	ck_assert_int_eq(deflateInit(&z, Z_DEFAULT_COMPRESSION), Z_OK);
	ck_assert_int_eq(deflateSetDictionary(&z, (const uint8_t *)SIP_TEXT, 40), Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)SIP_TEXT;
	z.avail_in = strlen(SIP_TEXT);
	z.next_out = packed;
	z.avail_out = sizeof(packed);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	ck_assert_int_eq(run(z.total_out, &out), HT_EINFLATE);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
} no_streams[] = {
	{ "", 0 },
	{ "x", 1 },
	{ "x\x9c", 2 },
	{ "\x1f\x8b", 2 },
	{ "\x1f\x8b\x08\xff", 4 },
	{ "\0", 1 },
	{ "\xff\xff\xff\xff\xff\xff\xff\xff", 8 },
	{ SIP_TEXT, sizeof(SIP_TEXT) - 1 },
	{ "{\"payload\": \"INVITE\"}", 21 },
	{ "BZh91AY&SY", 10 },
	{ "(\xb5/\xfd", 4 },
};

START_TEST(what_is_no_stream_is_refused)
{
	struct view out;

	ck_assert_int_eq(run_on(no_streams[_i].bytes, no_streams[_i].len, &out), HT_EINFLATE);
}
END_TEST

START_TEST(absent_payload_is_refused)
{
	struct view out;

	ck_assert_int_eq(inflater_run(inflater, (struct view){ 0 }, &out), HT_EINFLATE);
}
END_TEST

START_TEST(failure_leaves_nothing_for_the_next)
{
	struct view out;
	size_t len;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		len = pack_text(formats[_i]);
		ck_assert_int_eq(run(len / 2, &out), HT_EINFLATE);
		ck_assert_int_eq(run_on(SIP_TEXT, strlen(SIP_TEXT), &out), HT_EINFLATE);
		check_gives(pack_text(formats[i]), SIP_TEXT, strlen(SIP_TEXT));
	}
}
END_TEST

START_TEST(result_does_not_depend_on_the_input_staying)
{
	size_t len = pack_text(formats[_i]);
	struct view out;

	ck_assert_int_eq(run(len, &out), HT_OK);
	memset(kept, 0, len);
	ck_assert_uint_eq(out.len, strlen(SIP_TEXT));
	ck_assert(memcmp(out.at, SIP_TEXT, out.len) == 0);
}
END_TEST

static size_t heap_bytes(void)
{
	struct mallinfo2 heap = mallinfo2();

	return heap.uordblks + heap.hblkhd;
}

/* A sanitizer has a heap of its own, which is not counted here; other builds see every octet. */
START_TEST(message_allocates_nothing)
{
	size_t len = pack_text(formats[_i]), before, after_half, after_whole;
	struct view whole = { packed, (uint32_t)len }, half = { packed, (uint32_t)len / 2 }, out;
	int err;

	before = heap_bytes();
	err = inflater_run(inflater, half, &out);
	after_half = heap_bytes();
	ck_assert_int_eq(err, HT_EINFLATE);
	err = inflater_run(inflater, whole, &out);
	after_whole = heap_bytes();
	ck_assert_int_eq(err, HT_OK);
	ck_assert_uint_eq(after_half, before);
	ck_assert_uint_eq(after_whole, before);
}
END_TEST

START_TEST(no_inflater_can_be_freed)
{
	inflater_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inflate");
	TCase *t = tcase_create("inflate");
	SRunner *runner;
	int failed, all = ROWS(formats);

	tcase_add_checked_fixture(t, start, finish);
	tcase_add_loop_test(t, every_format_and_level_is_inflated, 0, all);
	tcase_add_loop_test(t, nothing_compressed_is_nothing, 0, all);
	tcase_add_loop_test(t, as_much_as_the_limit_is_inflated, 0, all);
	tcase_add_loop_test(t, more_than_the_limit_is_refused, 0, all);
	tcase_add_loop_test(t, bomb_is_refused, 0, all);
	tcase_add_loop_test(t, stream_cut_anywhere_is_refused, 0, all);
	tcase_add_loop_test(t, wrong_checksum_is_refused, 0, all);
	tcase_add_loop_test(t, octets_behind_the_stream_are_left, 0, all);
	tcase_add_test(t, stream_that_needs_a_dictionary_is_refused);
	tcase_add_loop_test(t, what_is_no_stream_is_refused, 0, ROWS(no_streams));
	tcase_add_test(t, absent_payload_is_refused);
	tcase_add_loop_test(t, failure_leaves_nothing_for_the_next, 0, all);
	tcase_add_loop_test(t, result_does_not_depend_on_the_input_staying, 0, all);
	tcase_add_loop_test(t, message_allocates_nothing, 0, all);
	tcase_add_test(t, no_inflater_can_be_freed);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
