/*
 * hep/sdp.c: media addresses of session descriptions, plain and within bodies of several parts.
 * Bytes are exact-size heap copies, so that AddressSanitizer sees a byte too many.
 */
#include "hep/sdp.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct sdp sdp;

static void read_as(const char *type, const char *body)
{
	size_t len = strlen(body);
	uint8_t *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, body, len);
	sdp_read(view_of(type), (struct view){ copy, (uint32_t)len }, &sdp);
	free(copy);
}

static void read_sdp(const char *body)
{
	read_as("application/sdp", body);
}

/* "192.0.2.1 4000", "" for no address. */
static void check_addr(const struct addr *a, const char *want)
{
	char ip[INET6_ADDRSTRLEN], text[80] = "";

	if (a->family != FAMILY_NONE) {
		inet_ntop(a->family == FAMILY_IPV4 ? AF_INET : AF_INET6, a->ip, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s %u", ip, a->port);
	}
	ck_assert_str_eq(text, want);
}

static void check_media(unsigned i, const char *rtp, const char *rtcp)
{
	ck_assert_uint_gt(sdp.count, i);
	check_addr(&sdp.media[i].rtp, rtp);
	check_addr(&sdp.media[i].rtcp, rtcp);
}

#define HEAD "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n"

START_TEST(address_of_the_session_is_that_of_its_media)
{
	read_sdp(HEAD "c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 8\r\n"
		      "a=rtpmap:0 PCMU/8000\r\n");
	ck_assert_uint_eq(sdp.count, 1);
	check_media(0, "192.0.2.1 49170", "");
	ck_assert(!sdp.media[0].is_mux);
}
END_TEST

START_TEST(address_of_a_media_section_is_its_own)
{
	read_sdp(HEAD "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\n"
		      "m=video 4002 RTP/AVP 31\r\n");
	ck_assert_uint_eq(sdp.count, 2);
	check_media(0, "2001:db8::7 4000", "");
	check_media(1, "192.0.2.1 4002", "");
}
END_TEST

START_TEST(rtcp_attribute_names_port_and_address)
{
	read_sdp(HEAD "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:53020\r\n"
		      "m=audio 4010 RTP/AVP 0\r\na=rtcp:53030 IN IP6 2001:db8::1\r\n"
		      "m=audio 4020 RTP/AVP 0\r\na=rtcp-mux\r\na=rtcp:0\r\n"
		      "m=audio 4030 RTP/AVP 0\r\na=rtcp-fb:* nack\r\na=rtcp-muxed\r\n");
	ck_assert_uint_eq(sdp.count, 4);
	check_media(0, "192.0.2.1 4000", "192.0.2.1 53020");
	check_media(1, "192.0.2.1 4010", "2001:db8::1 53030");
	check_media(2, "192.0.2.1 4020", "");
	check_media(3, "192.0.2.1 4030", "");
	ck_assert(!sdp.media[1].is_mux);
	ck_assert(sdp.media[2].is_mux);
	ck_assert(!sdp.media[3].is_mux);
}
END_TEST

START_TEST(attributes_before_the_address_count)
{
	read_sdp("v=0\nm=audio 4000 RTP/AVP 0\na=rtcp:4444\nc=IN IP4 192.0.2.3\n");
	ck_assert_uint_eq(sdp.count, 1);
	check_media(0, "192.0.2.3 4000", "192.0.2.3 4444");
}
END_TEST

START_TEST(port_count_makes_pairs)
{
	read_sdp(HEAD "c=IN IP4 192.0.2.1\r\nm=video 49170/2 RTP/AVP 31\r\na=rtcp:5000\r\n");
	ck_assert_uint_eq(sdp.count, 2);
	check_media(0, "192.0.2.1 49170", "192.0.2.1 5000");
	check_media(1, "192.0.2.1 49172", "");
	read_sdp(HEAD "c=IN IP4 192.0.2.1\r\nm=video 65534/9 RTP/AVP 31\r\n");
	ck_assert_uint_eq(sdp.count, 1);
}
END_TEST

START_TEST(media_that_nothing_can_be_sent_to_is_left_out)
{
	static const char *const sections[] = {
		"c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n",
		"c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP6 ::\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 media.example.org\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 224.2.1.1/127/3\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP6 ff15::101/3\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 192.0.2.256\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP6 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=ATM NSAP 47.0091\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 192.0.2.1\r\nm=audio 65536 RTP/AVP 0\r\n",
		"c=IN IP4 192.0.2.1\r\nm=audio x RTP/AVP 0\r\n",
		"c=IN IP4 192.0.2.1\r\nm=audio\r\n",
		"c=IN IP4 192.0.2.1\r\nm=\r\n",
		"c=IN IP4 192.0.2.1\r\nm=audio 4000/0 RTP/AVP 0\r\n",
		"c=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\n",
		"c=\r\nm=audio 4000 RTP/AVP 0\r\n",
		"m=audio 4000 RTP/AVP 0\r\n",
		"c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 host\r\n",
		"c=IN IP4 192.0.2.1\r\n",
		"",
	};

	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		char body[400];

		snprintf(body, sizeof(body), "%s%s", HEAD, sections[i]);
		read_sdp(body);
		ck_assert_msg(sdp.count == 0, "section %zu has media", i);
		ck_assert_uint_eq(sdp.more, 0);
	}
}
END_TEST

START_TEST(loose_writing_is_read)
{
	read_sdp("v=0\nc=in ip4  192.0.2.1/127 \nm=audio\t4000  RTP/AVP 0");
	ck_assert_uint_eq(sdp.count, 1);
	check_media(0, "192.0.2.1 4000", "");
	read_as("APPLICATION/Sdp ; charset=utf-8",
		HEAD "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n");
	ck_assert_uint_eq(sdp.count, 1);
	read_as("", HEAD "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n");
	ck_assert_uint_eq(sdp.count, 1);
}
END_TEST

START_TEST(other_types_are_not_read)
{
	static const char *const types[] = { "text/plain",	"application/sdpx",
					     "application/sd",	"application",
					     "multipart/mixed", "multipart/mixed;boundary=" };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		read_as(types[i], HEAD "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n");
		ck_assert_uint_eq(sdp.count, 0);
	}
	read_as("", "hello c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n");
	ck_assert_uint_eq(sdp.count, 0);
}
END_TEST

START_TEST(more_media_than_fit_are_counted)
{
	char body[4096] = HEAD "c=IN IP4 192.0.2.1\r\n";
	size_t len = strlen(body);

	for (unsigned i = 0; i < SDP_MEDIA_MAX + 5; i++)
		len += (size_t)snprintf(body + len, sizeof(body) - len, "m=audio %u RTP/AVP 0\r\n",
					4000 + 2 * i);
	read_sdp(body);
	ck_assert_uint_eq(sdp.count, SDP_MEDIA_MAX);
	ck_assert_uint_eq(sdp.more, 5);
	check_media(SDP_MEDIA_MAX - 1, "192.0.2.1 4030", "");
}
END_TEST

/* ---- several parts ---- */

#define PART(port)                                                                                 \
	"Content-Type: application/sdp\r\nContent-Length: 99\r\n\r\nv=0\r\nc=IN IP4 192.0.2.1\r\n" \
	"m=audio " port " RTP/AVP 0\r\n"

START_TEST(description_in_a_part_is_found)
{
	static const char *const types[] = { "multipart/mixed;boundary=xyz",
					     "multipart/mixed; boundary=\"xyz\"",
					     "Multipart/Related; type=\"a;b\";;x; BOUNDARY = xyz ",
					     "multipart/mixed;\r\n boundary=xyz;other=1" };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		read_as(types[i], "preamble\r\n--xyz\r\nContent-Type: application/isup\r\n\r\n"
				  "\x01\x10m=audio 1 x\r\nc=IN IP4 1.1.1.1\r\n--xyz\r\n" PART(
					  "4000") "--xyz--\r\n--xyz\r\n" PART("6000"));
		ck_assert_uint_eq(sdp.count, 1);
		check_media(0, "192.0.2.1 4000", "");
	}
}
END_TEST

START_TEST(parts_within_parts_are_found_to_a_depth)
{
	read_as("multipart/mixed;boundary=a",
		"--a\r\nc: multipart/alternative;boundary=b\r\n\r\n--b\r\n" PART(
			"4000") "--b--\r\n--a\r\n" PART("4002") "--a--\r\n");
	ck_assert_uint_eq(sdp.count, 2);
	check_media(0, "192.0.2.1 4000", "");
	check_media(1, "192.0.2.1 4002", "");
	read_as("multipart/mixed;boundary=a",
		"--a\r\nc:multipart/mixed;boundary=b\r\n\r\n--b\r\nc:multipart/"
		"mixed;boundary=d\r\n\r\n"
		"--d\r\nc:multipart/mixed;boundary=e\r\n\r\n--e\r\n" PART("4000"));
	ck_assert_uint_eq(sdp.count, 0);
}
END_TEST

START_TEST(part_that_is_cut_off_is_read)
{
	read_as("multipart/mixed;boundary=a", "--a\r\n" PART("4000"));
	ck_assert_uint_eq(sdp.count, 1);
	read_as("multipart/mixed;boundary=a", "--a\r\nContent-Type: application/sdp");
	ck_assert_uint_eq(sdp.count, 0);
	read_as("multipart/mixed;boundary=a", "--a");
	ck_assert_uint_eq(sdp.count, 0);
	read_as("multipart/mixed;boundary=a", "");
	ck_assert_uint_eq(sdp.count, 0);
}
END_TEST

START_TEST(longer_boundary_is_another_one)
{
	read_as("multipart/mixed;boundary=a",
		"--ab\r\n" PART("1") "--a\r\n" PART("4000") "--a-\r\n--a--\r\n");
	ck_assert_uint_eq(sdp.count, 1);
	check_media(0, "192.0.2.1 4000", "");
}
END_TEST

START_TEST(number_of_parts_is_bounded)
{
	static char body[64 * 1024];
	size_t len = 0;

	for (unsigned i = 0; i < SDP_PARTS_MAX; i++)
		len += (size_t)snprintf(body + len, sizeof(body) - len, "--a\r\n\r\n");
	snprintf(body + len, sizeof(body) - len, "--a\r\n" PART("4000"));
	read_as("multipart/mixed;boundary=a", body);
	ck_assert_uint_eq(sdp.count, 0);
	read_as("multipart/mixed;boundary=a", body + strlen("--a\r\n\r\n"));
	ck_assert_uint_eq(sdp.count, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sdp");
	TCase *t = tcase_create("sdp");
	SRunner *runner;
	int failed;

	tcase_add_test(t, address_of_the_session_is_that_of_its_media);
	tcase_add_test(t, address_of_a_media_section_is_its_own);
	tcase_add_test(t, rtcp_attribute_names_port_and_address);
	tcase_add_test(t, attributes_before_the_address_count);
	tcase_add_test(t, port_count_makes_pairs);
	tcase_add_test(t, media_that_nothing_can_be_sent_to_is_left_out);
	tcase_add_test(t, loose_writing_is_read);
	tcase_add_test(t, other_types_are_not_read);
	tcase_add_test(t, more_media_than_fit_are_counted);
	tcase_add_test(t, description_in_a_part_is_found);
	tcase_add_test(t, parts_within_parts_are_found_to_a_depth);
	tcase_add_test(t, part_that_is_cut_off_is_read);
	tcase_add_test(t, longer_boundary_is_another_one);
	tcase_add_test(t, number_of_parts_is_bounded);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
