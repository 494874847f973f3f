/*
 * capture/bpf.c: the programs run in libpcap's interpreter over frames of every kind, and in the
 * kernel on a pair of interfaces.
 */
#include "capture/bpf.h"

#include <check.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/veth.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const unsigned sip_ports[] = { 5060, 5061 }, hep_ports[] = { 9060 };

static struct bpf_wish wish_for(int dlt)
{
	return (struct bpf_wish){ .ports = sip_ports,
				  .port_count = 2,
				  .hep_ports = hep_ports,
				  .hep_port_count = 1,
				  .is_rtcp = true,
				  .expression = "",
				  .dlt = dlt };
}

static struct sock_fprog filter_make(const struct bpf_wish *wish)
{
	struct sock_fprog program;
	char why[WHY_BYTES];

	ck_assert_int_eq(bpf_make(&program, wish, why), HT_OK);
	ck_assert_str_eq(why, "");
	ck_assert(bpf_validate((const struct bpf_insn *)(const void *)program.filter, program.len));
	return program;
}

static bool passes(const struct sock_fprog *program, const void *bytes, size_t len)
{
	unsigned take = bpf_filter((const struct bpf_insn *)(const void *)program->filter, bytes,
				   (unsigned)len, (unsigned)len);

	ck_assert(take == 0 || take >= 65535 + 14);
	return take != 0;
}

/* clang-format off */
static const struct {
	const char *layers;
	bool passes;
} frames[] = {
	/* Ports. */
	{ "eth=0800 ip4=17 ports=5060:40000", true },
	{ "eth=0800 ip4=17 ports=40000:5060", true },
	{ "eth=0800 ip4=6 ports=40000:5061", true },
	{ "eth=0800 ip4=6 ports=5061:40000", true },
	{ "eth=0800 ip4=132 ports=5060:2", true },
	{ "eth=0800 ip4=17 ports=9060:1", true },
	{ "eth=0800 ip4=6 ports=1:9060", true },
	{ "eth=0800 ip4o=17 ports=1:5060", true },
	{ "eth=0800 ip4o=17 ports=1:5062", false },
	{ "eth=0800 ip4=17 ports=5059:5062", false },
	{ "eth=0800 ip4=17 ports=1:2", false },
	{ "eth=0800 ip4=6 ports=80:40000", false },
	{ "eth=0800 ip4=132 ports=80:40000", false },
	{ "eth=86dd ip6=17 ports=5060:1", true },
	{ "eth=86dd ip6=6 ports=1:5061", true },
	{ "eth=86dd ip6=132 ports=1:5061", true },
	{ "eth=86dd ip6=17 ports=1:2", false },
	/* RTCP: version 2, types 200 to 207, over UDP. */
	{ "eth=0800 ip4=17 udp=1:2:80c8", true },
	{ "eth=0800 ip4=17 udp=1:2:bfcf", true },
	{ "eth=0800 ip4=17 udp=1:2:80c7", false },
	{ "eth=0800 ip4=17 udp=1:2:80d0", false },
	{ "eth=0800 ip4=17 udp=1:2:8008", false }, /* RTP */
	{ "eth=0800 ip4=17 udp=1:2:8088", false },
	{ "eth=0800 ip4=17 udp=1:2:40c8", false },
	{ "eth=0800 ip4=17 udp=1:2:c0c8", false },
	{ "eth=0800 ip4=6 udp=1:2:80c8", false }, /* the number of an acknowledgement */
	{ "eth=0800 ip4=132 udp=1:2:80c8", false },
	{ "eth=0800 ip4o=17 udp=1:2:80c8", true },
	{ "eth=86dd ip6=17 udp=1:2:81c9", true },
	{ "eth=86dd ip6=6 udp=1:2:81c9", false },
	{ "eth=8100 tag=0800 ip4=17 udp=1:2:80cf", true },
	{ "eth=88a8 tag=8100 tag=86dd ip6=17 udp=1:2:80c8", true },
	{ "eth=8100 tag=0800 ip4=17 udp=1:2:8000", false },
	/* Not IP, no ports. */
	{ "eth=0806", false },
	{ "eth=0026", false },
	{ "eth=88cc", false },
	{ "eth=8863", false },
	{ "eth=0800 ip4=1 ports=5060:5060", false },
	{ "eth=0800 ip4=2 ports=5060:5060", false },
	{ "eth=0800 ip4=89 ports=5060:5060", false },
	{ "eth=86dd ip6=58 ports=5060:5060", false },
	{ "eth=86dd ip6=59", false },
	/* Fragments: the first, a middle one, the last; of whatever is in them. */
	{ "eth=0800 frag=2000:17 ports=1:2", true },
	{ "eth=0800 frag=20b9:17", true },
	{ "eth=0800 frag=00b9:17", true },
	{ "eth=0800 frag=1fff:6", true },
	{ "eth=0800 frag=0001:132", true },
	{ "eth=0800 frag=4000:17 ports=1:2", false }, /* do not fragment */
	{ "eth=0800 frag=8000:17 ports=1:2", false }, /* reserved */
	{ "eth=86dd ip6=44", true },
	{ "eth=86dd ip6=0", true },
	{ "eth=86dd ip6=43", true },
	{ "eth=86dd ip6=60", true },
	{ "eth=86dd ip6=51", true },
	/* Tags in the frame. */
	{ "eth=8100 tag=0800 ip4=17 ports=1:5060", true },
	{ "eth=8100 tag=0800 ip4=17 ports=1:2", false },
	{ "eth=8100 tag=86dd ip6=17 ports=1:5060", true },
	{ "eth=8100 tag=86dd ip6=17 ports=1:2", false },
	{ "eth=8100 tag=0800 frag=00b9:17", true },
	{ "eth=8100 tag=0806", false },
	{ "eth=88a8 tag=8100 tag=0800 ip4=17 ports=1:5060", true },
	{ "eth=88a8 tag=8100 tag=0800 ip4o=6 ports=5060:1", true },
	{ "eth=88a8 tag=8100 tag=0800 ip4=17 ports=1:2", false },
	{ "eth=9100 tag=8100 tag=86dd ip6=6 ports=5060:1", true },
	{ "eth=8100 tag=8100 tag=0800 ip4=47", true },
	{ "eth=8100 tag=8100 tag=8100 tag=0806", true }, /* deeper than is looked */
	/* Tunnels. */
	{ "eth=0800 ip4=4 ip4=17 ports=1:2", true },
	{ "eth=0800 ip4=41 ip6=17 ports=1:2", true },
	{ "eth=0800 ip4=47 ports=0:34984", true },
	{ "eth=0800 ip4=51", true },
	{ "eth=0800 ip4=137", true },
	{ "eth=86dd ip6=4 ip4=17 ports=1:5060", true },
	{ "eth=86dd ip6=41", true },
	{ "eth=86dd ip6=47", true },
	{ "eth=0800 ip4=17 ports=50000:4789", true },
	{ "eth=0800 ip4=17 ports=50000:8472", true },
	{ "eth=0800 ip4=17 ports=50000:6081", true },
	{ "eth=86dd ip6=17 ports=50000:37008", true },
	{ "eth=8847 tag=0000", true },
	{ "eth=8848 tag=0000", true },
	{ "eth=8864 tag=0000", true },
	{ "eth=8100 tag=8864 tag=0000", true },
};
/* clang-format on */

START_TEST(frame_passes_if_it_may_be_ours)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct sock_fprog program = filter_make(&wish);
	struct frame_bytes f = frame_of_layers(frames[_i].layers);

	ck_assert_msg(passes(&program, f.at, f.len) == frames[_i].passes, "%s", frames[_i].layers);
	bpf_free(&program);
}
END_TEST

START_TEST(without_rtcp_only_ports_count)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct frame_bytes rtcp = frame_of_layers("eth=0800 ip4=17 udp=1:2:80c8");
	struct frame_bytes sip = frame_of_layers("eth=0800 ip4=17 udp=1:5060:80c8");
	struct sock_fprog program;

	wish.is_rtcp = false;
	program = filter_make(&wish);
	ck_assert(!passes(&program, rtcp.at, rtcp.len));
	ck_assert(passes(&program, sip.at, sip.len));
	bpf_free(&program);
}
END_TEST

/* Whatever is cut off, the program ends, and passes nothing that it cannot see. */
START_TEST(short_frames_do_no_harm)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct sock_fprog program = filter_make(&wish);
	struct frame_bytes f = frame_of_layers(frames[_i].layers);
	bool before = false;

	for (size_t len = 0; len <= f.len; len++) {
		bool now = passes(&program, f.at, len);

		ck_assert(now || !before);
		before = now;
	}
	ck_assert_int_eq(before, frames[_i].passes);
	bpf_free(&program);
}
END_TEST

/* The same layers behind each kind of link header. */
START_TEST(link_headers_lead_to_the_same)
{
	static const struct {
		int dlt;
		const char *ip4, *ip6;
	} links[] = {
		{ DLT_EN10MB, "eth=0800 ", "eth=86dd " },
		{ DLT_LINUX_SLL, "sll=0800 ", "sll=86dd " },
		{ DLT_LINUX_SLL2, "sll2=0800 ", "sll2=86dd " },
		{ DLT_RAW, "", "" },
		{ DLT_NULL, "null ", "null " },
		{ DLT_LOOP, "null ", "null " },
	};
	static const struct {
		bool is_ip6;
		const char *layers;
		bool passes;
	} rest[] = {
		{ false, "ip4=17 ports=5060:1", true },
		{ false, "ip4o=6 ports=1:5061", true },
		{ false, "ip4=17 ports=1:2", false },
		{ false, "frag=00b9:17", true },
		{ false, "ip4=47", true },
		{ false, "ip4=1", false },
		{ true, "ip6=17 ports=5060:1", true },
		{ true, "ip6=6 ports=1:2", false },
		{ true, "ip6=44", true },
	};
	struct bpf_wish wish = wish_for(links[_i].dlt);
	struct sock_fprog program = filter_make(&wish);

	for (int i = 0; i < ROWS(rest); i++) {
		char layers[256];
		struct frame_bytes f;

		snprintf(layers, sizeof(layers), "%s%s",
			 rest[i].is_ip6 ? links[_i].ip6 : links[_i].ip4, rest[i].layers);
		f = frame_of_layers(layers);
		ck_assert_msg(passes(&program, f.at, f.len) == rest[i].passes, "%s", layers);
	}
	bpf_free(&program);
}
END_TEST

START_TEST(unknown_link_header_has_no_filter)
{
	struct bpf_wish wish = wish_for(DLT_IEEE802_11);
	struct sock_fprog program;
	char why[WHY_BYTES];

	ck_assert_int_eq(bpf_make(&program, &wish, why), -EOPNOTSUPP);
}
END_TEST

START_TEST(as_many_ports_as_the_configuration_takes)
{
	unsigned ports[64], heps[64];
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct sock_fprog program;

	for (unsigned i = 0; i < 64; i++) {
		ports[i] = 10000 + 3 * i;
		heps[i] = 20000 + 3 * i;
	}
	wish.ports = ports;
	wish.hep_ports = heps;
	wish.port_count = wish.hep_port_count = 64;
	program = filter_make(&wish);
	for (unsigned port = 9999; port < 20200; port++) {
		bool is_one = (port >= 10000 && port <= 10189 && (port - 10000) % 3 == 0) ||
			      (port >= 20000 && port <= 20189 && (port - 20000) % 3 == 0);
		char layers[64];
		struct frame_bytes f;

		snprintf(layers, sizeof(layers), "eth=0800 ip4=17 ports=%u:%u", port % 2 ? port : 1,
			 port % 2 ? 1 : port);
		f = frame_of_layers(layers);
		ck_assert_msg(passes(&program, f.at, f.len) == is_one, "%u", port);
	}
	bpf_free(&program);
}
END_TEST

/* ---- captures of real senders ---- */

static const struct {
	const char *file;
	unsigned port; /* beside the usual */
	unsigned rest; /* frames that are not ours, such as ARP */
} captures[] = {
	{ "direct-udp.pcap", 0, 0 },
	{ "direct-udp-v6.pcap", 0, 0 },
	{ "direct-udp-vlan.pcap", 0, 0 },
	{ "direct-udp-ipfrag.pcap", 0, 2 },
	{ "direct-tcp.pcap", 0, 0 },
	{ "gre.pcap", 0, 0 },
	{ "ipip.pcap", 0, 0 },
	{ "vxlan.pcap", 0, 0 },
	{ "sll2.pcap", 0, 0 },
	{ "sample-sngrep-ipv6frag.pcap", 5062, 0 },
	{ "sample-sngrep-ipip.pcap", 5090, 0 },
	{ "rtcp-only.pcap", 0, 0 },
};

START_TEST(frames_of_real_senders_pass)
{
	char name[256], error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *h;
	struct sock_fprog program;
	struct bpf_wish wish;
	const u_char *data;
	unsigned count = 0, passed = 0;
	pcap_t *p;

	snprintf(name, sizeof(name), "tests/fixtures/sip/%s", captures[_i].file);
	p = pcap_open_offline(name, error);
	ck_assert_msg(p != NULL, "%s", error);
	wish = wish_for(pcap_datalink(p));
	if (captures[_i].port) {
		wish.hep_ports = &captures[_i].port;
		wish.hep_port_count = 1;
	}
	program = filter_make(&wish);
	for (; pcap_next_ex(p, &h, &data) == 1; count++)
		passed += passes(&program, data, h->caplen);
	ck_assert_uint_gt(count, 0);
	ck_assert_uint_eq(passed, count - captures[_i].rest);
	bpf_free(&program);
	pcap_close(p);
}
END_TEST

/* ---- expressions ---- */

START_TEST(expression_is_taken_in_place_of_ports)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct frame_bytes ours = frame_of_layers("eth=0800 ip4=17 ports=1:5060");
	struct frame_bytes other = frame_of_layers("eth=0800 ip4=17 ports=7:7");
	struct sock_fprog program;

	wish.expression = "udp port 7";
	program = filter_make(&wish);
	ck_assert(passes(&program, other.at, other.len));
	ck_assert(!passes(&program, ours.at, ours.len));
	bpf_free(&program);
}
END_TEST

START_TEST(wrong_expression_is_told)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct sock_fprog program;
	char why[WHY_BYTES];

	wish.expression = "udp prot 7";
	ck_assert_int_eq(bpf_make(&program, &wish, why), HT_ECONF);
	ck_assert_ptr_nonnull(strstr(why, "syntax error"));
}
END_TEST

/* ---- in the kernel ---- */

static int filtered_socket(const struct sock_fprog *program)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll near = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex("near") };

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)),
			 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&near, sizeof(near)), 0);
	return fd;
}

/* What comes next carries the number that was sent. */
static void check_comes(int fd, unsigned number)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t bytes[2048];
	ssize_t n;
	unsigned got;

	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	n = recv(fd, bytes, sizeof(bytes), 0);
	ck_assert_int_ge(n, 4);
	memcpy(&got, bytes + n - 4, 4);
	ck_assert_uint_eq(got, number);
}

/* The kernel takes the outer tag out before; the verdicts are the same. */
START_TEST(kernel_comes_to_the_same_verdicts)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct sock_fprog program = filter_make(&wish);
	int sender, fd;

	if (!veth_make("kernel_comes_to_the_same_verdicts")) {
		bpf_free(&program);
		return;
	}
	fd = filtered_socket(&program);
	sender = veth_sender("far");
	for (int i = 0; i < ROWS(frames); i++) {
		struct frame_bytes f = frame_of_layers(frames[i].layers);

		frame_put(&f, &(unsigned){ (unsigned)i }, 4);
		veth_send(sender, f.at, f.len);
	}
	/* In order, so that one that should not have come shows at the next. */
	for (int i = 0; i < ROWS(frames); i++) {
		/* Three tags less one are two, which are looked into. */
		if (frames[i].passes && !strstr(frames[i].layers, "tag=8100 tag=8100 tag=0806"))
			check_comes(fd, (unsigned)i);
	}
	close(fd);
	close(sender);
	bpf_free(&program);
}
END_TEST

START_TEST(expression_sees_tags_that_the_kernel_took_out)
{
	struct bpf_wish wish = wish_for(DLT_EN10MB);
	struct frame_bytes plain = frame_of_layers("eth=0800 ip4=17 ports=1:5060");
	struct frame_bytes other = frame_of_layers("eth=8100 tag=0800 ip4=17 ports=1:2");
	struct frame_bytes tagged = frame_of_layers("eth=8100 tag=0800 ip4=17 ports=1:5060");
	struct sock_fprog program;
	char why[WHY_BYTES];
	int fd, sender;

	if (!veth_make("expression_sees_tags_that_the_kernel_took_out"))
		return;
	wish.expression = "vlan 100 and udp port 5060";
	wish.interface = "near";
	ck_assert_int_eq(bpf_make(&program, &wish, why), HT_OK);
	fd = filtered_socket(&program);
	sender = veth_sender("far");
	frame_put(&plain, &(unsigned){ 1 }, 4);
	frame_put(&other, &(unsigned){ 2 }, 4);
	frame_put(&tagged, &(unsigned){ 3 }, 4);
	veth_send(sender, plain.at, plain.len);
	veth_send(sender, other.at, other.len);
	veth_send(sender, tagged.at, tagged.len);
	check_comes(fd, 3);
	close(fd);
	close(sender);
	bpf_free(&program);
}
END_TEST

static Suite *bpf_suite(void)
{
	TCase *t = tcase_create("bpf");
	Suite *s = suite_create("bpf");

	tcase_add_loop_test(t, frame_passes_if_it_may_be_ours, 0, ROWS(frames));
	tcase_add_test(t, without_rtcp_only_ports_count);
	tcase_add_loop_test(t, short_frames_do_no_harm, 0, ROWS(frames));
	tcase_add_loop_test(t, link_headers_lead_to_the_same, 0, 6);
	tcase_add_test(t, unknown_link_header_has_no_filter);
	tcase_add_test(t, as_many_ports_as_the_configuration_takes);
	tcase_add_loop_test(t, frames_of_real_senders_pass, 0, ROWS(captures));
	tcase_add_test(t, expression_is_taken_in_place_of_ports);
	tcase_add_test(t, wrong_expression_is_told);
	tcase_add_test(t, kernel_comes_to_the_same_verdicts);
	tcase_add_test(t, expression_sees_tags_that_the_kernel_took_out);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(bpf_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
