/*
 * capture/af_packet.c on a pair of interfaces in a namespace. Setting up a ring goes through a
 * wrapper that can refuse memory.
 */
#include "capture/af_packet.h"

#include <check.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>

#include "capture/bpf.h"
#include "tests/unit/runner.h"

#define MIB	    (1U << 20)
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* ---- less memory than is asked for ---- */

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

static uint64_t memory_left = UINT64_MAX, block_most = UINT64_MAX;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	const struct tpacket_req3 *r = value;

	if (level == SOL_PACKET && name == PACKET_RX_RING &&
	    (r->tp_block_size > block_most ||
	     (uint64_t)r->tp_block_size * r->tp_block_nr > memory_left)) {
		errno = ENOMEM;
		return -1;
	}
	return __real_setsockopt(fd, level, name, value, len);
}

static void ring_run(void *source, const struct source_ops *ops, void *ctx,
		     struct packet_counters *counters)
{
	af_packet_run(source, ops, ctx, counters);
}

static void ring_stop(void *source)
{
	af_packet_stop(source);
}

static void ring_close(void *source)
{
	af_packet_close(source);
}

static const struct runner_kind ring_kind = { ring_run, ring_stop, ring_close };

static struct af_packet_options usual(unsigned rings)
{
	return (struct af_packet_options){
		.interface = "near", .rings = rings, .ring_bytes = 4 * MIB, .is_promiscuous = true
	};
}

static void open_rings(struct runner *r, const struct af_packet_options *o)
{
	struct af_packet *rings[AF_PACKET_RINGS_MOST];

	ck_assert_int_eq(af_packet_open(rings, o), HT_OK);
	for (unsigned i = 0; i < o->rings; i++)
		runner_start(&r[i], &ring_kind, rings[i]);
}

/* A whole IPv4 packet or a fragment of one, whose lengths are true. */
static void send_ip4(int fd, unsigned id, unsigned fragment, const void *payload, size_t len)
{
	struct frame_bytes f = { 0 };
	unsigned sum = 0;

	frame_layer(&f, "eth=0800");
	frame_ip4(&f, 5, 17, fragment);
	f.at[16] = (uint8_t)((20 + len) >> 8);
	f.at[17] = (uint8_t)(20 + len);
	f.at[18] = (uint8_t)(id >> 8);
	f.at[19] = (uint8_t)id;
	for (int i = 14; i < 34; i += 2)
		sum += (unsigned)f.at[i] << 8 | f.at[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	f.at[24] = (uint8_t)(sum >> 8);
	f.at[25] = (uint8_t)sum;
	frame_put(&f, payload, len);
	veth_send(fd, f.at, f.len);
}

/* ---- frames ---- */

START_TEST(frame_is_as_it_was_on_the_wire)
{
	struct runner r = { 0 };
	struct af_packet_options o = usual(1);
	struct frame_bytes f = numbered("eth=0800 ip4=17 ports=5060:5060", 1);
	uint64_t before, after;
	int fd;

	if (!veth_make("frame_is_as_it_was_on_the_wire"))
		return;
	open_rings(&r, &o);
	fd = veth_sender("far");
	before = clock_wall_us();
	veth_send(fd, f.at, f.len);
	send_numbered(fd, "eth=8100 tag=0800 ip4=17 ports=5060:5060", 2);
	send_numbered(fd, "eth=88a8 tag=8100 tag=0800 ip4=17 ports=5060:5060", 3);
	wait_for(&r, 1, 3);
	after = clock_wall_us();
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(r.got[i].number, i + 1);
		ck_assert_int_eq(r.got[i].link, 1);
		ck_assert_uint_eq(r.got[i].len, r.got[i].wire_len);
		ck_assert_uint_ge(r.got[i].ts_us, before);
		ck_assert_uint_le(r.got[i].ts_us, after);
	}
	ck_assert_uint_eq(r.got[0].len, f.len);
	ck_assert_mem_eq(r.got[0].head, f.at, f.len);
	ck_assert(!r.got[0].has_vlan);
	/* The outer tag is beside the frame, which goes on as without it. */
	ck_assert(r.got[1].has_vlan && r.got[2].has_vlan);
	ck_assert_uint_eq(r.got[1].tci, 0x2064);
	ck_assert_uint_eq(r.got[1].len, f.len);
	ck_assert_mem_eq(r.got[1].head, f.at, f.len - 4);
	ck_assert_mem_eq(r.got[2].head + 12, "\x81\0\x20\x64\x08\0", 6);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* Also in a group of sockets. */
START_TEST(what_this_host_sends_is_left_out)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	int out, in;

	if (!veth_make("what_this_host_sends_is_left_out"))
		return;
	open_rings(r, &o);
	out = veth_sender("near");
	in = veth_sender("far");
	for (uint32_t i = 0; i < 10; i++) {
		send_numbered(out, "eth=0800 ip4=17 ports=1:5060", 100 + i);
		send_numbered(in, "eth=0800 ip4=17 ports=1:5060", i);
	}
	wait_for(r, rings, 10);
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		for (size_t n = 0; n < r[i].count; n++)
			ck_assert_uint_lt(r[i].got[n].number, 10);
		runner_fini(&r[i]);
	}
	close(in);
	close(out);
}
END_TEST

START_TEST(filter_decides_what_is_seen_and_how_much_of_it)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 50),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct runner r = { 0 };
	struct af_packet_options o = usual(1);
	int fd;

	if (!veth_make("filter_decides_what_is_seen_and_how_much_of_it"))
		return;
	o.filter = (struct sock_fprog){ .len = 4, .filter = code };
	open_rings(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0806", 1);
	send_numbered(fd, "eth=0800 ip4=17 ports=1:2", 2);
	wait_for(&r, 1, 1);
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 1);
	ck_assert_uint_eq(r.got[0].len, 50);
	ck_assert_uint_eq(r.got[0].wire_len, 14 + 20 + 4 + 40 + 4);
	close(fd);
	runner_fini(&r);
}
END_TEST

/* What may hide a port passes, whatever it hides; what has none of ours does not. */
static const struct {
	const char *layers;
	bool passes;
} mirrored[] = {
	{ "eth=0800 ip4=17 ports=5060:1", true },
	{ "eth=0800 ip4=17 ports=20000:20002", false }, /* RTP */
	{ "eth=86dd ip6=6 ports=1:5060", true },
	{ "eth=86dd ip6=17 ports=20000:20002", false },
	{ "eth=0800 ip4=132 ports=5060:1", true },
	{ "eth=0800 ip4=17 ports=1:9060", true }, /* HEP */
	{ "eth=0806", false },
	{ "eth=0800 ip4=1", false },
	/* Fragments: the first, which has ports of RTP, one between, the last, and of IPv6. */
	{ "eth=0800 frag=2000:17 ports=20000:20002", true },
	{ "eth=0800 frag=20b9:17", true },
	{ "eth=0800 frag=00b9:17", true },
	{ "eth=86dd ip6=44", true },
	{ "eth=8100 tag=0800 frag=00b9:17", true },
	{ "eth=88a8 tag=8100 tag=86dd ip6=44", true },
	/* Tags; the kernel takes one out. */
	{ "eth=8100 tag=0800 ip4=17 ports=5060:1", true },
	{ "eth=8100 tag=0800 ip4=17 ports=20000:20002", false },
	{ "eth=88a8 tag=8100 tag=0800 ip4=17 ports=5060:1", true },
	{ "eth=88a8 tag=8100 tag=86dd ip6=17 ports=20000:20002", false },
	{ "eth=88a8 tag=8100 tag=8100 tag=0800 ip4=17 ports=5060:1", true },
	{ "eth=88a8 tag=8100 tag=8100 tag=0800 ip4=17 ports=20000:20002", false },
	/* Tunnels: IP in IP, GRE and ERSPAN, VXLAN, GENEVE, TZSP, MPLS, PPPoE, authentication. */
	{ "eth=0800 ip4=4 ip4=17 ports=1:5060", true },
	{ "eth=0800 ip4=41 ip6=17 ports=1:5060", true },
	{ "eth=86dd ip6=4 ip4=17 ports=1:5060", true },
	{ "eth=86dd ip6=41 ip6=17 ports=1:5060", true },
	{ "eth=0800 ip4=47", true },
	{ "eth=86dd ip6=47", true },
	{ "eth=8100 tag=0800 ip4=47", true },
	{ "eth=0800 ip4=17 ports=50000:4789", true },
	{ "eth=86dd ip6=17 ports=50000:4789", true },
	{ "eth=0800 ip4=17 ports=50000:8472", true },
	{ "eth=0800 ip4=17 ports=50000:6081", true },
	{ "eth=0800 ip4=17 ports=50000:37008", true },
	{ "eth=8847 tag=0000", true },
	{ "eth=8864 tag=0000", true },
	{ "eth=8863 tag=0000", false }, /* how a session is found */
	{ "eth=0800 ip4=51", true },
	{ "eth=8100 tag=8847 tag=0000", true },
	{ "eth=0800 ip4=17 ports=20000:20002", false },
	{ "eth=0800 ip4=17 ports=5061:1", true },
};

/* Also in a group, whose kernel puts fragments together before. */
START_TEST(filter_from_ports_lets_through_what_may_hide_one)
{
	static const unsigned ports[] = { 5060, 5061 }, hep_ports[] = { 9060 };
	struct bpf_wish wish = { .ports = ports,
				 .port_count = 2,
				 .hep_ports = hep_ports,
				 .hep_port_count = 1,
				 .expression = "",
				 .dlt = LINK_ETHERNET };
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i, passing = 0, came[ROWS(mirrored)] = { 0 };
	struct af_packet_options o = usual(rings);
	char why[WHY_BYTES];
	int fd;

	if (!veth_make("filter_from_ports_lets_through_what_may_hide_one"))
		return;
	ck_assert_int_eq(bpf_make(&o.filter, &wish, why), HT_OK);
	open_rings(r, &o);
	fd = veth_sender("far");
	for (uint32_t i = 0; i < ROWS(mirrored); i++) {
		send_numbered(fd, mirrored[i].layers, i);
		passing += mirrored[i].passes;
	}
	/* The last one passes. */
	wait_for(r, rings, passing);
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		for (size_t n = 0; n < r[i].count; n++) {
			ck_assert_uint_lt(r[i].got[n].number, ROWS(mirrored));
			came[r[i].got[n].number]++;
		}
		runner_fini(&r[i]);
	}
	for (uint32_t i = 0; i < ROWS(mirrored); i++)
		ck_assert_msg(came[i] == mirrored[i].passes, "%s: %u", mirrored[i].layers, came[i]);
	bpf_free(&o.filter);
	close(fd);
}
END_TEST

/* ---- counting ---- */

START_TEST(burst_within_the_ring_loses_nothing)
{
	struct runner r = { 0 };
	struct af_packet_options o = usual(1);
	int fd;

	if (!veth_make("burst_within_the_ring_loses_nothing"))
		return;
	o.ring_bytes = 32 * MIB;
	open_rings(&r, &o);
	fd = veth_sender("far");
	for (uint32_t i = 0; i < 20000; i++)
		send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", i);
	wait_for(&r, 1, 20000);
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 20000);
	ck_assert_uint_eq(counter_get(&r.counters.kernel_dropped), 0);
	for (uint32_t i = 0; i < 20000; i++)
		ck_assert_uint_eq(r.got[i].number, i);
	ck_assert_uint_lt(r.batches, 10000); /* blocks, not frames */
	close(fd);
	runner_fini(&r);
}
END_TEST

static void send_of_flow(int fd, uint32_t number)
{
	char layers[64];

	snprintf(layers, sizeof(layers), "eth=0800 ip4=17 ports=%u:5060", 20000 + number % 50);
	send_numbered(fd, layers, number);
}

/* The threads stand still until the rings have long been full; what is lost is counted, frame by
 * frame. */
START_TEST(burst_beyond_the_ring_is_counted)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	uint64_t count = 0, dropped = 0;
	int fd;

	if (!veth_make("burst_beyond_the_ring_is_counted"))
		return;
	r[0].waits_at_first = r[1].waits_at_first = true;
	o.ring_bytes = MIB;
	open_rings(r, &o);
	ck_assert_uint_eq(af_packet_ring_bytes(r[0].source), MIB);
	fd = veth_sender("far");
	for (uint32_t i = 0; i < 50; i++) /* each ring has some */
		send_of_flow(fd, i);
	for (unsigned i = 0; i < rings; i++) {
		while (sem_wait(&r[i].first) < 0)
			;
	}
	for (uint32_t i = 50; i < 30000; i++)
		send_of_flow(fd, i);
	for (unsigned i = 0; i < rings; i++)
		sem_post(&r[i].gate);
	wait_for(r, rings, 30000);
	send_of_flow(fd, 30000); /* it goes on */
	wait_for(r, rings, 30001);
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		ck_assert_uint_gt(counter_get(&r[i].counters.freezes), 0);
		for (size_t n = 1; n < r[i].count; n++)
			ck_assert_uint_gt(r[i].got[n].number, r[i].got[n - 1].number);
		count += r[i].count;
		dropped += counter_get(&r[i].counters.kernel_dropped);
		runner_fini(&r[i]);
	}
	ck_assert_uint_gt(dropped, 10000);
	ck_assert_uint_gt(count, 2);
	ck_assert_uint_eq(count + dropped, 30001);
	close(fd);
}
END_TEST

/* What the thread has not looked at when it is told to stop. */
START_TEST(what_lies_in_the_ring_at_the_end_is_given)
{
	struct runner r = { 0 };
	struct af_packet_options o = usual(1);
	int fd, witness;
	uint8_t seen[2048];

	if (!veth_make("what_lies_in_the_ring_at_the_end_is_given"))
		return;
	r.waits_at_first = true;
	witness = witness_open();
	open_rings(&r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 0);
	while (sem_wait(&r.first) < 0)
		;
	ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	for (uint32_t i = 1; i < 3000; i++) {
		send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", i);
		ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	}
	af_packet_stop(r.source);
	sem_post(&r.gate);
	runner_stop(&r);
	/* The kernel closes a block after some time, so a slow machine may fill the ring. */
	ck_assert_uint_eq(r.count + counter_get(&r.counters.kernel_dropped), 3000);
	ck_assert_uint_gt(r.count, 1);
	close(fd);
	close(witness);
	runner_fini(&r);
}
END_TEST

/* ---- several rings ---- */

#define RINGS 4
#define FLOWS 100

START_TEST(both_directions_of_a_flow_are_in_one_ring)
{
	struct runner r[RINGS] = { 0 };
	struct af_packet_options o = usual(RINGS);
	int fd, in[FLOWS], used = 0;
	uint64_t total = 0;

	if (!veth_make("both_directions_of_a_flow_are_in_one_ring"))
		return;
	open_rings(r, &o);
	fd = veth_sender("far");
	for (uint32_t i = 0; i < 10 * FLOWS; i++) {
		uint32_t flow = i % FLOWS;
		uint8_t udp[12] = { 0 };

		udp[i < 5 * FLOWS ? 0 : 2] = (uint8_t)(20000 >> 8);
		udp[i < 5 * FLOWS ? 1 : 3] = (uint8_t)flow;
		udp[i < 5 * FLOWS ? 2 : 0] = 5060 >> 8;
		udp[i < 5 * FLOWS ? 3 : 1] = 5060 & 0xff;
		udp[5] = 12;
		memcpy(udp + 8, &flow, 4);
		send_ip4(fd, i, 0x4000, udp, sizeof(udp));
	}
	wait_for(r, RINGS, 10 * FLOWS);
	memset(in, 0xff, sizeof(in));
	for (int i = 0; i < RINGS; i++) {
		runner_stop(&r[i]);
		used += r[i].count > 0;
		total += r[i].count;
		for (size_t n = 0; n < r[i].count; n++) {
			uint32_t flow = r[i].got[n].number;

			ck_assert_uint_lt(flow, FLOWS);
			ck_assert(in[flow] == -1 || in[flow] == i);
			in[flow] = i;
		}
		runner_fini(&r[i]);
	}
	ck_assert_uint_eq(total, 10 * FLOWS);
	ck_assert_int_eq(used, RINGS);
	close(fd);
}
END_TEST

#define QUEUES 3

/* What is written to it comes in by that receive queue of an interface of software. */
static int queue_open(const char *interface)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void write_frame(int fd, unsigned number)
{
	struct frame_bytes f = { 0 };

	frame_layer(&f, "eth=0800");
	frame_ip4(&f, 5, 17, 0x4000);
	frame_put(&f, &number, sizeof(number));
	ck_assert_int_eq(write(fd, f.at, f.len), (ssize_t)f.len);
}

START_TEST(a_queue_has_a_ring_of_its_own)
{
	static const unsigned frames[QUEUES] = { 10, 20, 30 };
	struct af_packet_options o = usual(QUEUES);
	struct runner r[QUEUES] = { 0 };
	int queue[QUEUES];

	if (!veth_make("a_queue_has_a_ring_of_its_own"))
		return;
	shell("ip link del near");
	for (int q = 0; q < QUEUES; q++)
		queue[q] = queue_open("near");
	if (queue[QUEUES - 1] < 0) {
		printf("skipped: a_queue_has_a_ring_of_its_own: no tap with several queues\n");
		return;
	}
	shell("ip link set near arp off up");
	o.is_by_queue = true;
	open_rings(r, &o);
	for (int q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < frames[q]; i++)
			write_frame(queue[q], i);
	wait_for(r, QUEUES, 60);
	for (int i = 0; i < QUEUES; i++)
		runner_stop(&r[i]);
	for (int q = 0; q < QUEUES; q++) {
		ck_assert_uint_eq(r[(q + 1) % QUEUES].count, frames[q]);
		close(queue[q]);
	}
	for (int i = 0; i < QUEUES; i++)
		runner_fini(&r[i]);
}
END_TEST

/* Each by itself: what the kernel would put together and give up would be in no counter. */
START_TEST(fragments_come_as_they_are)
{
	struct runner r[2] = { 0 };
	struct af_packet_options o = usual(2);
	uint8_t datagram[3000] = { 1, 2, 5060 >> 8, 5060 & 0xff, 3000 >> 8, 3000 & 0xff };
	int fd;

	if (!veth_make("fragments_come_as_they_are"))
		return;
	open_rings(r, &o);
	fd = veth_sender("far");
	send_ip4(fd, 77, 0x2000, datagram, 1000);
	send_ip4(fd, 77, 0x2000 | 125, datagram + 1000, 1000);
	send_ip4(fd, 77, 250, datagram + 2000, 1000);
	send_ip4(fd, 78, 0x2000, datagram, 1000); /* the rest never comes */
	wait_for(r, 2, 4);
	runner_stop(&r[0]);
	runner_stop(&r[1]);
	ck_assert_uint_eq(r[0].count + r[1].count, 4);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned k = 0; k < r[i].count; k++)
			ck_assert_uint_eq(r[i].got[k].len, 14 + 20 + 1000);
	close(fd);
	runner_fini(&r[0]);
	runner_fini(&r[1]);
}
END_TEST

/* ---- the interface ---- */

START_TEST(promiscuous_only_while_it_is_open)
{
	struct af_packet_options o = usual(1);
	struct af_packet *a;

	if (!veth_make("promiscuous_only_while_it_is_open"))
		return;
	ck_assert(!is_promiscuous());
	ck_assert_int_eq(af_packet_open(&a, &o), HT_OK);
	ck_assert(is_promiscuous());
	af_packet_close(a);
	ck_assert(!is_promiscuous());
	o.is_promiscuous = false;
	ck_assert_int_eq(af_packet_open(&a, &o), HT_OK);
	ck_assert(!is_promiscuous());
	af_packet_close(a);
}
END_TEST

/* Up to the largest that there is, in the smallest ring. */
START_TEST(larger_frames_are_whole_when_the_mtu_grows)
{
	static const unsigned sizes[] = { 9000, 65535, 65535, 65535 };
	struct runner r = { 0 };
	struct af_packet_options o = usual(1);
	int fd;

	if (!veth_make("larger_frames_are_whole_when_the_mtu_grows"))
		return;
	o.ring_bytes = MIB;
	open_rings(&r, &o);
	shell("ip link set near mtu 65535 && ip link set far mtu 65535");
	fd = veth_sender("far");
	for (unsigned i = 0; i < 4; i++)
		send_sized(fd, "eth=0800 ip4=17 ports=1:5060", sizes[i], i);
	wait_for(&r, 1, 4);
	shell("ip link set near mtu 1500 && ip link set far mtu 1500");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 4);
	wait_for(&r, 1, 5);
	runner_stop(&r);
	ck_assert_uint_eq(r.count, 5);
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_uint_eq(r.got[i].number, i);
		ck_assert_uint_eq(r.got[i].len, sizes[i]);
		ck_assert_uint_eq(r.got[i].wire_len, sizes[i]);
	}
	ck_assert_uint_eq(r.got[4].number, 4);
	close(fd);
	runner_fini(&r);
}
END_TEST

START_TEST(interface_that_was_down_goes_on)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	int fd;

	if (!veth_make("interface_that_was_down_goes_on"))
		return;
	r[0].has_no_rights = r[1].has_no_rights = true;
	open_rings(r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 1);
	wait_for(r, rings, 1);
	shell("ip link set near down && ip link set near up");
	wait_until_it_sees(r, rings, fd, 2);
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		runner_fini(&r[i]);
	}
	close(fd);
}
END_TEST

/* Another interface of the same name, again and again, and no right to open a socket. */
START_TEST(interface_that_returns_is_taken_again)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	int fd;

	if (!veth_make("interface_that_returns_is_taken_again"))
		return;
	r[0].has_no_rights = r[1].has_no_rights = true;
	open_rings(r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 1);
	wait_for(r, rings, 1);
	for (uint32_t i = 0; i < 4; i++) {
		close(fd);
		shell("ip link del near");
		shell("ip link add near type veth peer name far");
		shell("ip link set near arp off up && ip link set far arp off up");
		fd = veth_sender("far");
		wait_until_it_sees(r, rings, fd, 10 + i);
		ck_assert(system("ip -d link show near | grep -q 'promiscuity 0'") != 0);
	}
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		runner_fini(&r[i]);
	}
	close(fd);
}
END_TEST

/* What was in the ring when it went, of one ring and of a group, where the ring goes, too. */
START_TEST(interface_that_goes_leaves_what_it_brought)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	uint8_t seen[2048];
	uint64_t count = 0;
	int fd, witness;

	if (!veth_make("interface_that_goes_leaves_what_it_brought"))
		return;
	r[0].waits_at_first = r[1].waits_at_first = true;
	witness = witness_open();
	open_rings(r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 0);
	ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	for (uint32_t i = 1; i < 500; i++) {
		send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", i);
		ck_assert_int_gt(recv(witness, seen, sizeof(seen), 0), 0);
	}
	shell("ip link del near");
	for (unsigned i = 0; i < rings; i++)
		sem_post(&r[i].gate);
	wait_for(r, rings, 500); /* a slow machine may fill the ring */
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		count += r[i].count;
		runner_fini(&r[i]);
	}
	ck_assert_uint_gt(count, 1);
	close(fd);
	close(witness);
}
END_TEST

/* It ends while there is nothing to read from. */
START_TEST(stops_while_the_interface_is_gone)
{
	struct runner r[2] = { 0 };
	unsigned rings = (unsigned)_i;
	struct af_packet_options o = usual(rings);
	int fd;

	if (!veth_make("stops_while_the_interface_is_gone"))
		return;
	open_rings(r, &o);
	fd = veth_sender("far");
	send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", 1);
	wait_for(r, rings, 1);
	shell("ip link del near");
	for (unsigned i = 0; i < rings; i++) {
		runner_stop(&r[i]);
		runner_fini(&r[i]);
	}
	close(fd);
}
END_TEST

/* ---- refusals ---- */

START_TEST(ring_shrinks_until_there_is_memory)
{
	struct af_packet_options o = usual(1);
	struct af_packet *a;

	if (!veth_make("ring_shrinks_until_there_is_memory"))
		return;
	o.ring_bytes = 16 * MIB;
	block_most = 128 << 10; /* smaller blocks are enough */
	ck_assert_int_eq(af_packet_open(&a, &o), HT_OK);
	ck_assert_uint_eq(af_packet_ring_bytes(a), 16 * MIB);
	af_packet_close(a);
	block_most = UINT64_MAX;
	memory_left = 5 * MIB;
	ck_assert_int_eq(af_packet_open(&a, &o), HT_OK);
	ck_assert_uint_eq(af_packet_ring_bytes(a), 4 * MIB);
	af_packet_close(a);
	memory_left = MIB - 1;
	ck_assert_int_eq(af_packet_open(&a, &o), -ENOMEM);
	ck_assert_ptr_null(a);
	memory_left = UINT64_MAX;
}
END_TEST

START_TEST(interface_that_cannot_be_taken_is_refused)
{
	struct af_packet_options o = usual(2);
	struct af_packet *a[2];

	if (!veth_make("interface_that_cannot_be_taken_is_refused"))
		return;
	ck_assert_int_eq(af_packet_dlt("near"), 1);
	ck_assert_int_eq(af_packet_dlt("lo"), 1);
	ck_assert_int_eq(af_packet_dlt("nowhere"), -ENODEV);
	o.interface = "nowhere";
	ck_assert_int_eq(af_packet_open(a, &o), -ENODEV);
	ck_assert_ptr_null(a[0]);
	ck_assert_ptr_null(a[1]);
}
END_TEST

static void *open_without_rights(void *arg)
{
	struct af_packet_options o = usual(1);

	rights_drop();
	*(int *)arg = af_packet_open(&(struct af_packet *){ NULL }, &o);
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

static Suite *af_packet_suite(void)
{
	TCase *t = tcase_create("af_packet");
	Suite *s = suite_create("af_packet");

	tcase_add_test(t, frame_is_as_it_was_on_the_wire);
	tcase_add_loop_test(t, what_this_host_sends_is_left_out, 1, 3);
	tcase_add_test(t, filter_decides_what_is_seen_and_how_much_of_it);
	tcase_add_loop_test(t, filter_from_ports_lets_through_what_may_hide_one, 1, 3);
	tcase_add_test(t, burst_within_the_ring_loses_nothing);
	tcase_add_loop_test(t, burst_beyond_the_ring_is_counted, 1, 3);
	tcase_add_test(t, what_lies_in_the_ring_at_the_end_is_given);
	tcase_add_test(t, both_directions_of_a_flow_are_in_one_ring);
	tcase_add_test(t, a_queue_has_a_ring_of_its_own);
	tcase_add_test(t, fragments_come_as_they_are);
	tcase_add_test(t, promiscuous_only_while_it_is_open);
	tcase_add_test(t, larger_frames_are_whole_when_the_mtu_grows);
	tcase_add_loop_test(t, interface_that_was_down_goes_on, 1, 3);
	tcase_add_loop_test(t, interface_that_returns_is_taken_again, 1, 3);
	tcase_add_loop_test(t, interface_that_goes_leaves_what_it_brought, 1, 3);
	tcase_add_loop_test(t, stops_while_the_interface_is_gone, 1, 3);
	tcase_add_test(t, ring_shrinks_until_there_is_memory);
	tcase_add_test(t, interface_that_cannot_be_taken_is_refused);
	tcase_add_test(t, opening_needs_the_right);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(af_packet_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
