/* capture/pcap_live.c on a pair of interfaces in a namespace. */
#include "capture/pcap_live.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/runner.h"

#define MIB   (1U << 20)
#define SIP   "eth=0800 ip4=17 ports=1:5060"
#define OTHER "eth=0800 ip4=17 ports=1:2"

static const unsigned sip_ports[] = { 5060, 5061 };

static void live_run(void *source, const struct source_ops *ops, void *ctx,
		     struct packet_counters *counters)
{
	pcap_live_run(source, ops, ctx, counters);
}

static void live_stop(void *source)
{
	pcap_live_stop(source);
}

static void live_close(void *source)
{
	pcap_live_close(source);
}

static const struct runner_kind live_kind = { live_run, live_stop, live_close };

static struct pcap_live_options usual(void)
{
	return (struct pcap_live_options){
		.interface = "near",
		.buffer_bytes = 8 * MIB,
		.is_promiscuous = true,
		.filter = { .ports = sip_ports, .port_count = 2, .expression = "" },
	};
}

static void open_live(struct runner *r, const struct pcap_live_options *o)
{
	struct pcap_live *l;

	ck_assert_int_eq(pcap_live_open(&l, o), HT_OK);
	runner_start(r, &live_kind, l);
}

static void check_numbers(const struct runner *r, size_t count, const uint32_t *numbers)
{
	ck_assert_uint_eq(r->count, count);
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(r->got[i].number, numbers[i]);
}

/* ---- frames ---- */

START_TEST(frame_is_as_it_was_on_the_wire)
{
	static const char *const layers[] = {
		SIP,
		"eth=8100 tag=0800 ip4=17 ports=5060:5060",
		"eth=88a8 tag=8100 tag=0800 ip4=17 ports=5060:5060",
		"eth=8100 tag=8100 tag=86dd ip6=17 ports=5060:5060",
	};
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	uint64_t before, after;
	int fd;

	if (!veth_make("frame_is_as_it_was_on_the_wire"))
		return;
	open_live(&r, &o);
	fd = veth_sender("far");
	before = clock_wall_us();
	for (uint32_t i = 0; i < 4; i++)
		send_numbered(fd, layers[i], i);
	wait_for(&r, 1, 4);
	after = clock_wall_us();
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		struct frame_bytes f = numbered(layers[i], i);

		ck_assert_int_eq(r.got[i].link, LINK_ETHERNET);
		ck_assert_uint_eq(r.got[i].len, f.len);
		ck_assert_uint_eq(r.got[i].wire_len, f.len);
		ck_assert_mem_eq(r.got[i].head, f.at, f.len < HEAD_BYTES ? f.len : HEAD_BYTES);
		ck_assert(!r.got[i].has_vlan); /* all tags are in the frame */
		ck_assert_uint_ge(r.got[i].ts_us, before);
		ck_assert_uint_le(r.got[i].ts_us, after);
	}
	close(fd);
	runner_fini(&r);
}
END_TEST

START_TEST(what_this_host_sends_is_left_out)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int out, in;

	if (!veth_make("what_this_host_sends_is_left_out"))
		return;
	open_live(&r, &o);
	out = veth_sender("near");
	in = veth_sender("far");
	for (uint32_t i = 0; i < 10; i++) {
		send_numbered(out, SIP, 100 + i);
		send_numbered(in, SIP, i);
	}
	wait_for(&r, 1, 10);
	runner_stop(&r);
	check_numbers(&r, 10, (const uint32_t[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 });
	close(in);
	close(out);
	runner_fini(&r);
}
END_TEST

/* Each frame once, although there are two interfaces that have it, with a header that stands for
 * Ethernet's; the filter counts from there. */
START_TEST(any_takes_what_comes_in_on_each_interface)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int from_far, from_near;

	if (!veth_make("any_takes_what_comes_in_on_each_interface"))
		return;
	o.interface = "any";
	open_live(&r, &o);
	from_far = veth_sender("far");
	from_near = veth_sender("near");
	send_numbered(from_far, SIP, 1);
	send_numbered(from_far, OTHER, 2);
	send_numbered(from_near, "eth=86dd ip6=17 ports=5061:1", 3);
	send_numbered(from_far, "eth=8100 tag=0800 ip4=17 ports=1:5060", 4);
	send_numbered(from_far, "eth=8100 tag=0800 ip4=17 ports=1:2", 5);
	send_numbered(from_far, "eth=0800 frag=00b9:17", 6);
	wait_for(&r, 1, 4);
	runner_stop(&r);
	check_numbers(&r, 4, (const uint32_t[]){ 1, 3, 4, 6 });
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(r.got[i].link, LINK_LINUX_SLL);
	ck_assert_mem_eq(r.got[0].head + 14, "\x08\0\x45", 3);
	ck_assert_mem_eq(r.got[1].head + 14, "\x86\xdd\x60", 3);
	ck_assert_mem_eq(r.got[2].head + 14, "\x81\0\x20\x64\x08\0\x45", 7);
	close(from_far);
	close(from_near);
	runner_fini(&r);
}
END_TEST

/* An interface that comes later is one, too. */
START_TEST(any_takes_interfaces_that_come_and_go)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("any_takes_interfaces_that_come_and_go"))
		return;
	o.interface = "any";
	r.has_no_rights = true;
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 1);
	wait_for(&r, 1, 1);
	close(fd);
	shell("ip link del near");
	shell("ip link add other type veth peer name far");
	shell("ip link set other arp off up && ip link set far arp off up");
	fd = veth_sender("far");
	send_numbered(fd, SIP, 2);
	wait_for(&r, 1, 2);
	runner_stop(&r);
	check_numbers(&r, 2, (const uint32_t[]){ 1, 2 });
	close(fd);
	runner_fini(&r);
}
END_TEST

START_TEST(expression_takes_the_place_of_ports)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("expression_takes_the_place_of_ports"))
		return;
	o.filter.expression = "udp port 7 or (vlan 100 and udp port 8)";
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 1);
	send_numbered(fd, "eth=0800 ip4=17 ports=7:1", 2);
	send_numbered(fd, "eth=0800 ip4=17 ports=8:1", 3);
	send_numbered(fd, "eth=8100 tag=0800 ip4=17 ports=8:1", 4);
	wait_for(&r, 1, 2);
	runner_stop(&r);
	check_numbers(&r, 2, (const uint32_t[]){ 2, 4 });
	close(fd);
	runner_fini(&r);
}
END_TEST

START_TEST(frames_are_whole_whatever_the_mtu)
{
	static const unsigned sizes[] = { 9000, 65535 };
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("frames_are_whole_whatever_the_mtu"))
		return;
	open_live(&r, &o);
	shell("ip link set near mtu 65535 && ip link set far mtu 65535");
	fd = veth_sender("far");
	for (unsigned i = 0; i < 2; i++)
		send_sized(fd, SIP, sizes[i], i);
	wait_for(&r, 1, 2);
	runner_stop(&r);
	check_numbers(&r, 2, (const uint32_t[]){ 0, 1 });
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(r.got[i].len, sizes[i]);
		ck_assert_uint_eq(r.got[i].wire_len, sizes[i]);
	}
	close(fd);
	runner_fini(&r);
}
END_TEST

/* ---- counting ---- */

START_TEST(burst_within_the_buffer_loses_nothing)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("burst_within_the_buffer_loses_nothing"))
		return;
	o.buffer_bytes = 64 * MIB;
	open_live(&r, &o);
	fd = veth_sender("far");
	for (uint32_t i = 0; i < 20000; i++)
		send_numbered(fd, SIP, i);
	wait_for(&r, 1, 20000);
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 20000);
	ck_assert_uint_eq(counter_get(&r.counters.kernel_dropped), 0);
	for (uint32_t i = 0; i < 20000; i++)
		ck_assert_uint_eq(r.got[i].number, i);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* The thread stands still until the buffer has long been full; what is lost is counted, frame by
 * frame. What did not pass the filter, and what this host sent, is not among it. */
START_TEST(burst_beyond_the_buffer_is_counted)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd, out;

	if (!veth_make("burst_beyond_the_buffer_is_counted"))
		return;
	r.waits_at_first = true;
	o.buffer_bytes = MIB;
	open_live(&r, &o);
	fd = veth_sender("far");
	out = veth_sender("near");
	send_numbered(fd, SIP, 0);
	while (sem_wait(&r.first) < 0)
		;
	for (uint32_t i = 1; i < 30000; i++) {
		send_numbered(fd, SIP, i);
		send_numbered(fd, OTHER, i);
		send_numbered(out, SIP, i);
	}
	sem_post(&r.gate);
	wait_for(&r, 1, 30000);
	send_numbered(fd, SIP, 30000); /* it goes on */
	wait_for(&r, 1, 30001);
	runner_stop(&r);
	ck_assert_uint_gt(counter_get(&r.counters.kernel_dropped), 10000);
	ck_assert_uint_gt(r.count, 2);
	ck_assert_uint_eq(r.got[r.count - 1].number, 30000);
	for (size_t i = 1; i < r.count; i++)
		ck_assert_uint_gt(r.got[i].number, r.got[i - 1].number);
	close(fd);
	close(out);
	runner_fini(&r);
}
END_TEST

/* What the thread has not looked at when it is told to stop. */
START_TEST(what_lies_in_the_buffer_at_the_end_is_given)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd, witness;
	uint8_t seen[2048];

	if (!veth_make("what_lies_in_the_buffer_at_the_end_is_given"))
		return;
	r.waits_at_first = true;
	o.buffer_bytes = 64 * MIB;
	witness = witness_open();
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 0);
	while (sem_wait(&r.first) < 0)
		;
	ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	for (uint32_t i = 1; i < 3000; i++) {
		send_numbered(fd, SIP, i);
		ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	}
	pcap_live_stop(r.source);
	sem_post(&r.gate);
	runner_stop(&r);
	/* The kernel closes a block after some time, so a slow machine may fill the buffer. */
	ck_assert_uint_eq(r.count + counter_get(&r.counters.kernel_dropped), 3000);
	ck_assert_uint_gt(r.count, 1);
	close(fd);
	close(witness);
	runner_fini(&r);
}
END_TEST

/* ---- interfaces that come and go, and no right to open a socket ---- */

START_TEST(promiscuous_only_while_it_is_open)
{
	struct pcap_live_options o = usual();
	struct pcap_live *l;

	if (!veth_make("promiscuous_only_while_it_is_open"))
		return;
	ck_assert_int_eq(pcap_live_open(&l, &o), HT_OK);
	ck_assert(is_promiscuous());
	pcap_live_close(l);
	ck_assert(!is_promiscuous());
	o.is_promiscuous = false;
	ck_assert_int_eq(pcap_live_open(&l, &o), HT_OK);
	ck_assert(!is_promiscuous());
	pcap_live_close(l);
}
END_TEST

START_TEST(interface_that_was_down_goes_on)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("interface_that_was_down_goes_on"))
		return;
	r.has_no_rights = true;
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 1);
	wait_for(&r, 1, 1);
	shell("ip link set near down && ip link set near up");
	wait_until_it_sees(&r, 1, fd, 2);
	runner_stop(&r);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* Another interface of the same name, as often as that happens. */
START_TEST(interface_that_returns_is_taken_again)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("interface_that_returns_is_taken_again"))
		return;
	r.has_no_rights = true;
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 1);
	wait_for(&r, 1, 1);
	for (uint32_t i = 0; i < 4; i++) {
		close(fd);
		shell("ip link del near");
		shell("ip link add near type veth peer name far");
		shell("ip link set near arp off up && ip link set far arp off up");
		fd = veth_sender("far");
		wait_until_it_sees(&r, 1, fd, 10 + i);
		ck_assert(is_promiscuous());
	}
	/* The filter is still there. */
	send_numbered(fd, OTHER, 3);
	send_numbered(fd, SIP, 4);
	wait_for_number(&r, 4);
	runner_stop(&r);
	for (size_t i = 0; i < r.count; i++)
		ck_assert_uint_ne(r.got[i].number, 3);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* What was in the buffer when it went. */
START_TEST(interface_that_goes_leaves_what_it_brought)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd, witness;
	uint8_t seen[2048];

	if (!veth_make("interface_that_goes_leaves_what_it_brought"))
		return;
	r.waits_at_first = true;
	witness = witness_open();
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 0);
	while (sem_wait(&r.first) < 0)
		;
	ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	for (uint32_t i = 1; i < 500; i++) {
		send_numbered(fd, SIP, i);
		ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	}
	shell("ip link del near");
	sem_post(&r.gate);
	wait_for(&r, 1, 500); /* a slow machine may fill the buffer */
	runner_stop(&r);
	ck_assert_uint_gt(r.count, 1);
	close(fd);
	close(witness);
	runner_fini(&r);
}
END_TEST

/* It ends while there is nothing to read from. */
START_TEST(stops_while_the_interface_is_gone)
{
	struct runner r = { 0 };
	struct pcap_live_options o = usual();
	int fd;

	if (!veth_make("stops_while_the_interface_is_gone"))
		return;
	open_live(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, SIP, 1);
	wait_for(&r, 1, 1);
	shell("ip link del near");
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 1);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* ---- refusals ---- */

START_TEST(what_cannot_be_taken_is_refused)
{
	struct pcap_live_options o = usual();
	struct pcap_live *l;

	if (!veth_make("what_cannot_be_taken_is_refused"))
		return;
	o.interface = "nowhere";
	ck_assert_int_eq(pcap_live_open(&l, &o), -ENODEV);
	ck_assert_ptr_null(l);
	o.interface = "near";
	o.filter.expression = "udp prot 7";
	ck_assert_int_eq(pcap_live_open(&l, &o), HT_ECONF);
	ck_assert_ptr_null(l);
}
END_TEST

static void *open_without_rights(void *arg)
{
	struct pcap_live_options o = usual();

	rights_drop();
	*(int *)arg = pcap_live_open(&(struct pcap_live *){ NULL }, &o);
	return NULL;
}

START_TEST(opening_needs_the_right)
{
	pthread_t thread;
	int err = 0;

	if (!veth_make("opening_needs_the_right"))
		return;
	ck_assert_int_eq(pthread_create(&thread, NULL, open_without_rights, &err), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(err, -EPERM);
}
END_TEST

static Suite *pcap_live_suite(void)
{
	TCase *t = tcase_create("pcap_live");
	Suite *s = suite_create("pcap_live");

	tcase_add_test(t, frame_is_as_it_was_on_the_wire);
	tcase_add_test(t, what_this_host_sends_is_left_out);
	tcase_add_test(t, any_takes_what_comes_in_on_each_interface);
	tcase_add_test(t, any_takes_interfaces_that_come_and_go);
	tcase_add_test(t, expression_takes_the_place_of_ports);
	tcase_add_test(t, frames_are_whole_whatever_the_mtu);
	tcase_add_test(t, burst_within_the_buffer_loses_nothing);
	tcase_add_test(t, burst_beyond_the_buffer_is_counted);
	tcase_add_test(t, what_lies_in_the_buffer_at_the_end_is_given);
	tcase_add_test(t, promiscuous_only_while_it_is_open);
	tcase_add_test(t, interface_that_was_down_goes_on);
	tcase_add_test(t, interface_that_returns_is_taken_again);
	tcase_add_test(t, interface_that_goes_leaves_what_it_brought);
	tcase_add_test(t, stops_while_the_interface_is_gone);
	tcase_add_test(t, what_cannot_be_taken_is_refused);
	tcase_add_test(t, opening_needs_the_right);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(pcap_live_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
