/*
 * capture/decode.c with recorded frames: every frame of tests/fixtures/sip, against what another
 * decoder made of them (the .expected.jsonl beside each). Fragments are put together here, in the
 * simplest way; of messages over TCP the frame that completes them is compared.
 */
#include "capture/decode.h"

#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>

#include "tests/unit/pcap.h"
#include "tests/unit/sha256.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define DATAGRAMS   64 /* in fragments, of one file */

/* How many messages: datagrams whole and in fragments; over TCP, and those of them that are a
 * segment of their own. */
static const struct {
	const char *name, *ext;
	int udp, fragmented, tcp, segments;
} files[] = {
	{ "direct-tcp", "pcap", 0, 0, 12, 11 },
	{ "direct-udp", "pcap", 23, 0, 0, 0 },
	{ "direct-udp-ipfrag", "pcap", 12, 2, 0, 0 },
	{ "direct-udp-pcapng", "pcapng", 23, 0, 0, 0 },
	{ "direct-udp-v6", "pcap", 8, 0, 0, 0 },
	{ "direct-udp-vlan", "pcap", 23, 0, 0, 0 },
	{ "gre", "pcap", 6, 0, 0, 0 },
	{ "ipip", "pcap", 9, 0, 0, 0 },
	{ "kamailio-proxy-large", "pcap", 13, 2, 0, 0 },
	{ "kamailio-proxy-tcp", "pcap", 17, 0, 17, 17 },
	{ "kamailio-proxy-udp", "pcap", 112, 0, 0, 0 },
	{ "kamailio-proxy-udp-v6", "pcap", 41, 0, 0, 0 },
	{ "rtcp-only", "pcap", 0, 0, 0, 0 },
	{ "sample-heplify-ipip0", "pcap", 8, 0, 0, 0 },
	{ "sample-sngrep-aaa", "pcap", 81, 0, 0, 0 },
	{ "sample-sngrep-ipip", "pcap", 0, 0, 4, 4 },
	{ "sample-sngrep-ipv6frag", "pcap", 32, 2, 0, 0 },
	{ "sll2", "pcap", 8, 0, 0, 0 },
	{ "tcp-pipelined-split", "pcap", 0, 0, 13, 1 },
	{ "vxlan", "pcap", 8, 0, 0, 0 },
};

struct datagram {
	struct addr src, dst;
	uint32_t id, got, total; /* octets; total is 0 until the last fragment has come */
	uint8_t protocol;	 /* of the first fragment */
	uint8_t bytes[65536];
};

static struct datagram datagrams[DATAGRAMS];
static int datagram_count;

static bool is_same(const struct addr *a, const struct addr *b)
{
	return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->family == b->family;
}

static struct datagram *find_datagram(const struct decoded *d)
{
	struct datagram *g;

	for (int i = 0; i < datagram_count; i++) {
		g = &datagrams[i];
		if (is_same(&g->src, &d->src) && is_same(&g->dst, &d->dst) &&
		    g->id == d->fragment.id && g->got != g->total)
			return g;
	}
	ck_assert_int_lt(datagram_count, DATAGRAMS);
	g = &datagrams[datagram_count++];
	g->src = d->src;
	g->dst = d->dst;
	g->id = d->fragment.id;
	return g;
}

/* Go on with @p d if it completes its datagram. */
static void reassemble(struct decoded *d)
{
	struct datagram *g = find_datagram(d);

	memcpy(g->bytes + d->fragment.offset, d->payload.at, d->payload.len);
	g->got += d->payload.len;
	if (d->fragment.offset == 0)
		g->protocol = d->protocol;
	if (!d->fragment.more)
		g->total = d->fragment.offset + d->payload.len;
	if (g->got == g->total)
		decode_ip_payload(d, g->protocol, (struct view){ g->bytes, g->total });
}

struct expected {
	FILE *f;
	json_t *line; /* NULL: no more */
};

static void expected_next(struct expected *e)
{
	json_decref(e->line);
	e->line = json_loadf(e->f, JSON_DISABLE_EOF_CHECK, NULL);
}

static int number(const json_t *line, const char *key)
{
	return (int)json_integer_value(json_object_get(line, key));
}

static void check_address(const struct addr *a, const json_t *line, const char *ip,
			  const char *port)
{
	const char *text = json_string_value(json_object_get(line, ip));
	uint8_t bytes[16] = { 0 };

	ck_assert_int_eq(a->family, number(line, "family"));
	ck_assert_int_eq(inet_pton(a->family == FAMILY_IPV4 ? AF_INET : AF_INET6, text, bytes), 1);
	ck_assert_int_eq(memcmp(a->ip, bytes, 16), 0);
	ck_assert_int_eq(a->port, number(line, port));
}

static void check_payload(struct view payload, const json_t *line)
{
	char hash[65];

	ck_assert_int_eq((int)payload.len, number(line, "msg_len"));
	sha256_text(payload.at, payload.len, hash);
	ck_assert_str_eq(hash, json_string_value(json_object_get(line, "msg_sha256")));
}

static void check_message(const struct decoded *d, const json_t *line, int is_fragmented)
{
	const json_t *vlans = json_object_get(line, "vlan");

	check_address(&d->src, line, "src_ip", "src_port");
	check_address(&d->dst, line, "dst_ip", "dst_port");
	ck_assert_int_eq(d->protocol, number(line, "ip_proto"));
	ck_assert_uint_eq(d->vlans, json_array_size(vlans));
	for (int i = 0; i < d->vlans; i++)
		ck_assert_int_eq(d->vlan[i], json_integer_value(json_array_get(vlans, (size_t)i)));
	ck_assert_uint_eq(d->depth - is_fragmented,
			  json_array_size(json_object_get(line, "encap")));
}

static bool holds_sip(struct view v)
{
	return v.len && memmem(v.at, v.len, "SIP/2.0", 7);
}

/* All lines of frame @p n. */
static void check_frame(struct expected *e, int n, const struct decoded *d, int is_fragmented,
			int counts[4])
{
	if (d->kind == DECODED_UDP && holds_sip(d->payload))
		ck_assert_msg(e->line && number(e->line, "frame") == n, "frame %d is not expected",
			      n);
	for (; e->line && number(e->line, "frame") == n; expected_next(e)) {
		check_message(d, e->line, is_fragmented);
		if (d->kind == DECODED_UDP || (int)d->payload.len == number(e->line, "msg_len"))
			check_payload(d->payload, e->line);
		counts[0] += d->kind == DECODED_UDP;
		counts[1] += is_fragmented;
		counts[2] += d->kind == DECODED_TCP;
		counts[3] +=
			d->kind == DECODED_TCP && (int)d->payload.len == number(e->line, "msg_len");
	}
}

START_TEST(recorded_frames_hold_what_another_decoder_found)
{
	struct expected e = { 0 };
	struct captured in;
	struct decoded d;
	struct pcap p;
	char path[200];
	int counts[4] = { 0 };

	snprintf(path, sizeof(path), "tests/fixtures/sip/%s.expected.jsonl", files[_i].name);
	e.f = fopen(path, "r");
	ck_assert_ptr_nonnull(e.f);
	expected_next(&e);
	snprintf(path, sizeof(path), "tests/fixtures/sip/%s.%s", files[_i].name, files[_i].ext);
	pcap_open(&p, path);
	for (int n = 1; pcap_next(&p, &in); n++) {
		int is_fragmented;

		decode_packet(&in, &d);
		is_fragmented = d.kind == DECODED_FRAGMENT;
		if (is_fragmented)
			reassemble(&d);
		ck_assert_msg(d.kind != DECODED_NONE || d.reason == DECODE_NOT_IP ||
				      d.reason == DECODE_PROTOCOL,
			      "%s: frame %d: %s", path, n, decode_reason_name(d.reason));
		check_frame(&e, n, &d, is_fragmented, counts);
	}
	ck_assert_ptr_null(e.line);
	ck_assert_int_eq(counts[0], files[_i].udp);
	ck_assert_int_eq(counts[1], files[_i].fragmented);
	ck_assert_int_eq(counts[2], files[_i].tcp);
	ck_assert_int_eq(counts[3], files[_i].segments);
	pcap_close(&p);
	fclose(e.f);
	memset(datagrams, 0, sizeof(datagrams));
	datagram_count = 0;
}
END_TEST

int main(void)
{
	Suite *s = suite_create("decode_corpus");
	TCase *t = tcase_create("decode_corpus");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, recorded_frames_hold_what_another_decoder_found, 0, ROWS(files));
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
