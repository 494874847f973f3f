/*
 * From frame to row: recorded frames make as many rows as another decoder found messages, each
 * packet and message is in one place of its line, and nothing is allocated on the way.
 */
#include "capture/packets.h"

#include <check.h>
#include <stdio.h>

#include "conf/clock.h"
#include "conf/rcu.h"
#include "storage/block.h"
#include "tests/unit/make_packet.h"
#include "tests/unit/mallocs.h"
#include "tests/unit/pcap.h"
#include "tests/unit/rig.h"

#define MEMORY	(64 << 20)
#define TS_US	1700000000123456ULL
#define ROWS(a) ((int)(sizeof(a) / sizeof((a)[0])))

#define BY_PORTS                                                       \
	"capture:\n"                                                   \
	"  - { name: m, file: x, ports: [5060], hep_ports: [9060] }\n" \
	"  - { name: any, file: y, bpf: 'udp or tcp' }\n"
enum { PORTS, ANY };

#define SIP                                                                                 \
	"OPTIONS sip:bob@example.org SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n" \
	"Call-ID: the-call\r\nCSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n"

/* Rows that were made; the first of them is copied. */
static unsigned rows_take(struct rig *r, uint8_t first[4096])
{
	struct block *b;
	unsigned rows = 0;

	worker_flush(r->worker);
	while ((b = worker_take_sealed(r->worker))) {
		if (first && rows == 0) {
			uint32_t bytes = block_head_of(b->bytes)->bytes;

			ck_assert_uint_le(bytes, 4096);
			memcpy(first, b->bytes, bytes);
		}
		rows += b->rows;
		worker_give_back(r->worker, b);
	}
	return rows;
}

static void expect_exact(const struct rig *r, uint64_t seen, struct stats_packets *s)
{
	ck_assert_uint_eq(rig_packets_missing(r, s), 0);
	ck_assert_uint_eq(s->seen, seen);
	ck_assert_uint_eq(rig_messages_missing(r), 0);
}

static uint64_t end_of(const struct stats_packets *s, const char *reason)
{
	for (unsigned i = 0; i < s->end_count; i++)
		if (strcmp(s->end[i].reason, reason) == 0)
			return s->end[i].count;
	ck_abort_msg("no reason %s", reason);
	return 0;
}

/* ---- recorded frames ---- */

static const char *const files[] = {
	"direct-tcp.pcap",
	"direct-udp-ipfrag.pcap",
	"direct-udp-pcapng.pcapng",
	"direct-udp-v6.pcap",
	"direct-udp-vlan.pcap",
	"direct-udp.pcap",
	"gre.pcap",
	"ipip.pcap",
	"kamailio-proxy-large.pcap",
	"kamailio-proxy-tcp.pcap",
	"kamailio-proxy-udp-v6.pcap",
	"kamailio-proxy-udp.pcap",
	"rtcp-only.pcap",
	"sample-heplify-ipip0.pcap",
	"sample-sngrep-aaa.pcap",
	"sample-sngrep-ipip.pcap",
	"sample-sngrep-ipv6frag.pcap",
	"sll2.pcap",
	"tcp-pipelined-split.pcap",
	"vxlan.pcap",
};

static unsigned lines_of(const char *name)
{
	char path[200];
	unsigned lines = 0;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "tests/fixtures/sip/%.*s.expected.jsonl",
		 (int)(strchr(name, '.') - name), name);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s: run this from the root of the sources", path);
	while ((c = fgetc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

START_TEST(recorded_frames_make_rows)
{
	struct stats_packets s;
	struct captured c;
	struct rig r;
	struct pcap p;
	uint64_t before, n = 0, missing = 0;
	char path[200];

	snprintf(path, sizeof(path), "tests/fixtures/sip/%s", files[_i]);
	pcap_open(&p, path);
	rig_make(&r, BY_PORTS);
	rig_capture(&r, ANY, MEMORY);
	before = mallocs;
	while (pcap_next(&p, &c)) {
		c.ts_us = TS_US + n++;
		rig_frame(&r, &c);
		missing |= rig_packets_missing(&r, &s); /* an assertion would allocate */
	}
	packets_drain(r.packets);
	before -= mallocs;
	ck_assert_uint_eq(before, 0);
	ck_assert_uint_eq(missing, 0);
	expect_exact(&r, n, &s);
	ck_assert_uint_eq(s.held, 0);
	ck_assert_uint_eq(rows_take(&r, NULL), lines_of(files[_i]));
	pcap_close(&p);
	rig_unmake(&r);
}
END_TEST

/* ---- single frames ---- */

static void give_cut(struct rig *r, struct made *m, uint32_t missing)
{
	struct captured c = { .bytes = { made_at(m), (uint32_t)m->len - missing },
			      .wire_len = (uint32_t)m->len,
			      .link = LINK_RAW,
			      .ts_us = TS_US };

	rig_frame(r, &c);
}

static void give(struct rig *r, struct made *m)
{
	give_cut(r, m, 0);
}

static void give_udp(struct rig *r, const void *payload, size_t len, unsigned from, unsigned to)
{
	struct made m = { 0 };

	made_bytes(&m, payload, len);
	made_udp(&m, from, to);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	give(r, &m);
}

START_TEST(what_is_for_us_is_told_by_port_and_first_octet)
{
	static const uint8_t rtp[40] = { 0x80, 0 }, blank[4] = "\r\n\r\n", nul[1] = { 0 };
	static const uint8_t stun[20] = { 0, 1 };
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	give_udp(&r, SIP, strlen(SIP), 5070, 5060);
	give_udp(&r, SIP, strlen(SIP), 5060, 5070);
	give_udp(&r, SIP, strlen(SIP), 5070, 5071); /* port */
	give_udp(&r, rtp, sizeof(rtp), 5060, 5060); /* content */
	give_udp(&r, stun, sizeof(stun), 5070, 5060);
	give_udp(&r, blank, sizeof(blank), 5070, 5060); /* keep_alive */
	give_udp(&r, nul, sizeof(nul), 5070, 5060);
	give_udp(&r, "", 0, 5070, 5060);
	give_udp(&r, "\r\n" SIP, strlen(SIP) + 2, 5070, 5060);
	give_udp(&r, "hello", 5, 5070, 5060); /* a carrier whose message is not SIP */
	expect_exact(&r, 10, &s);
	ck_assert_uint_eq(s.carriers, 4);
	ck_assert_uint_eq(end_of(&s, "port"), 1);
	ck_assert_uint_eq(end_of(&s, "content"), 2);
	ck_assert_uint_eq(end_of(&s, "keep_alive"), 3);
	ck_assert_uint_eq(counter_get(&r.messages->received), 4);
	ck_assert_uint_eq(counter_get(&r.messages->not_sip_content), 1);
	ck_assert_uint_eq(rows_take(&r, NULL), 3);
	rig_unmake(&r);
}
END_TEST

START_TEST(a_filter_of_the_users_says_what_is_sip)
{
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, ANY, MEMORY);
	give_udp(&r, SIP, strlen(SIP), 7, 8);
	packets_filtered(r.packets);
	expect_exact(&r, 2, &s);
	ck_assert_uint_eq(end_of(&s, "filter"), 1);
	ck_assert_uint_eq(rows_take(&r, NULL), 1);
	rig_unmake(&r);
}
END_TEST

START_TEST(a_row_has_the_time_and_addresses_of_the_packet)
{
	static uint8_t block[4096];
	const struct row_head *row;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	give_udp(&r, SIP, strlen(SIP), 5070, 5060);
	ck_assert_uint_eq(rows_take(&r, block), 1);
	row = block_row(block, 0);
	ck_assert_int_eq(row_number(block_head_of(block), row, ROW_micro_ts, 0), TS_US);
	ck_assert_int_eq(row_number(block_head_of(block), row, ROW_source_port, 0), 5070);
	ck_assert_int_eq(row_number(block_head_of(block), row, ROW_proto, 0), 1);
	ck_assert(view_is_nocase(row_text(block_head_of(block), row, ROW_source_ip), "192.0.2.1"));
	ck_assert(view_is_nocase(row_text(block_head_of(block), row, ROW_destination_ip),
				 "198.51.100.2"));
	rig_unmake(&r);
}
END_TEST

/* Part of a UDP datagram with @p text; @p at and @p len are of the datagram with its header. */
static void give_fragment(struct rig *r, const char *text, unsigned to_port, size_t at, size_t len)
{
	struct made m = { 0 }, part = { 0 };
	uint8_t *ip;

	made_bytes(&m, text, strlen(text));
	made_udp(&m, 5070, to_port);
	if (len > m.len - at)
		len = m.len - at;
	made_bytes(&part, made_at(&m) + at, len);
	ip = made_ip4(&part, PROTO_UDP, 1, 2, 0);
	made_u16(ip + 4, to_port);
	made_u16(ip + 6, (unsigned)(at / 8 | (at + len < m.len ? 0x2000U : 0U)));
	give(r, &part);
}

START_TEST(fragments_end_as_their_datagram_does)
{
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	for (size_t at = 40; at < strlen(SIP) + 8; at += 40)
		give_fragment(&r, SIP, 5060, at, 40);
	expect_exact(&r, 3, &s);
	ck_assert_uint_eq(s.held, 3);
	give_fragment(&r, SIP, 5060, 0, 40);
	expect_exact(&r, 4, &s);
	ck_assert_uint_eq(s.held, 0);
	ck_assert_uint_eq(s.carriers, 4);
	give_fragment(&r, SIP, 5061, 0, 128); /* another port, seen when it is whole */
	give_fragment(&r, SIP, 5061, 128, 1000);
	give_fragment(&r, SIP, 5062, 0, 128); /* the rest never comes */
	packets_drain(r.packets);
	expect_exact(&r, 7, &s);
	ck_assert_uint_eq(end_of(&s, "port"), 2);
	ck_assert_uint_eq(end_of(&s, "fragment_timeout"), 1);
	ck_assert_uint_eq(rows_take(&r, NULL), 1);
	rig_unmake(&r);
}
END_TEST

START_TEST(what_is_cut_is_incomplete)
{
	struct stats_packets s;
	struct made m = { 0 };
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	made_bytes(&m, SIP, strlen(SIP));
	made_udp(&m, 5070, 5060);
	made_ip4(&m, PROTO_UDP, 1, 2, 0);
	give_cut(&r, &m, 1);
	expect_exact(&r, 1, &s);
	ck_assert_uint_eq(end_of(&s, "snap"), 1);
	ck_assert_uint_eq(rows_take(&r, NULL), 0);
	rig_unmake(&r);
}
END_TEST

static void give_tcp(struct rig *r, const char *text, uint32_t seq, uint8_t flags)
{
	struct made m = { 0 };

	made_bytes(&m, text, strlen(text));
	made_tcp(&m, 5070, 5060, seq, flags, 0);
	made_ip4(&m, PROTO_TCP, 1, 2, 0);
	give(r, &m);
}

START_TEST(segments_behind_a_hole_are_held)
{
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	give_tcp(&r, "", 99, SEGMENT_SYN);
	give_tcp(&r, SIP SIP, 100 + strlen(SIP), SEGMENT_ACK);
	expect_exact(&r, 2, &s);
	ck_assert_uint_eq(s.held, 1);
	give_tcp(&r, SIP, 100, SEGMENT_ACK);
	give_tcp(&r, SIP, 100, SEGMENT_ACK);
	give_tcp(&r, "INVITE sip:x@y SIP/2.0\r\n", 100 + 3 * strlen(SIP), SEGMENT_FIN);
	packets_drain(r.packets);
	expect_exact(&r, 5, &s);
	ck_assert_uint_eq(s.held, 0);
	ck_assert_uint_eq(s.carriers, 3);
	ck_assert_uint_eq(end_of(&s, "tcp_empty"), 1);
	ck_assert_uint_eq(end_of(&s, "tcp_stale"), 1);
	ck_assert_uint_eq(s.malformed_partial, 1);
	ck_assert_uint_eq(rows_take(&r, NULL), 3);
	rig_unmake(&r);
}
END_TEST

START_TEST(sctp_has_its_number)
{
	static uint8_t block[4096];
	struct stats_packets s;
	struct made m = { 0 };
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	made_bytes(&m, SIP, strlen(SIP));
	made_sctp_chunk(&m, 0, 3, strlen(SIP));
	made_sctp(&m, 5060, 5060);
	made_ip4(&m, PROTO_SCTP, 1, 2, 0);
	give(&r, &m);
	expect_exact(&r, 1, &s);
	ck_assert_uint_eq(s.carriers, 1);
	ck_assert_uint_eq(rows_take(&r, block), 1);
	ck_assert_int_eq(row_number(block_head_of(block), block_row(block, 0), ROW_proto, 0), 4);
	rig_unmake(&r);
}
END_TEST

/* ---- HEP on its way to somebody else ---- */

START_TEST(hep_is_taken_for_what_it_carries)
{
	static const uint8_t head[] = { 0x01, 0x10, 0x02, 0x11, 0x13, 0xc4, 0x13, 0xc5,
					10,   0,    0,	  1,	10,   0,    0,	  2 };
	static uint8_t block[4096];
	uint8_t hep[1024];
	const struct row_head *row;
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	memcpy(hep, head, sizeof(head));
	memcpy(hep + sizeof(head), SIP, strlen(SIP));
	give_udp(&r, hep, sizeof(head) + strlen(SIP), 40000, 9060);
	give_udp(&r, "HEP3 it is not", 14, 40000, 9060);
	expect_exact(&r, 2, &s);
	ck_assert_uint_eq(s.carriers, 2);
	ck_assert_uint_eq(counter_get(&r.messages->malformed_length) +
				  counter_get(&r.messages->malformed_short),
			  1);
	ck_assert_uint_eq(rows_take(&r, block), 1);
	row = block_row(block, 0);
	ck_assert(view_is_nocase(row_text(block_head_of(block), row, ROW_source_ip), "10.0.0.1"));
	/* version 1 has no time: that of the packet */
	ck_assert_int_eq(row_number(block_head_of(block), row, ROW_micro_ts, 0), TS_US);
	rig_unmake(&r);
}
END_TEST

START_TEST(a_source_that_is_off_takes_nothing)
{
	struct stats_packets s;
	struct rig r;

	rig_make(&r, BY_PORTS);
	rig_capture(&r, PORTS, MEMORY);
	atomic_store(&r.is_off[r.conf->hep_count + PORTS], true);
	give_udp(&r, SIP, strlen(SIP), 5070, 5060);
	give_udp(&r, "HEP3", 4, 5070, 9060);
	expect_exact(&r, 2, &s);
	ck_assert_uint_eq(counter_get(&r.messages->denied_off), 2);
	ck_assert_uint_eq(rows_take(&r, NULL), 0);
	rig_unmake(&r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("packets");
	TCase *t = tcase_create("packets");
	SRunner *runner;
	int failed;

	rcu_thread_begin();
	tcase_add_loop_test(t, recorded_frames_make_rows, 0, ROWS(files));
	tcase_add_test(t, what_is_for_us_is_told_by_port_and_first_octet);
	tcase_add_test(t, a_filter_of_the_users_says_what_is_sip);
	tcase_add_test(t, a_row_has_the_time_and_addresses_of_the_packet);
	tcase_add_test(t, fragments_end_as_their_datagram_does);
	tcase_add_test(t, what_is_cut_is_incomplete);
	tcase_add_test(t, segments_behind_a_hole_are_held);
	tcase_add_test(t, sctp_has_its_number);
	tcase_add_test(t, hep_is_taken_for_what_it_carries);
	tcase_add_test(t, a_source_that_is_off_takes_nothing);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	rcu_thread_end();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
