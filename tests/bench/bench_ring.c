/*
 * The bare ring, which only counts: bench_ring INTERFACE COUNT RING_BYTES [EXPRESSION]
 * A TPACKET_V3 ring of the same size, blocks, time-out and filter as capture/af_packet.c has; walks
 * the frames of each block and adds up their lengths. EXPRESSION: the filter, in place of the one
 * for port 5060. Ends after COUNT packets or two seconds of silence; prints packets taken, dropped,
 * octets and CPU seconds.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "capture/bpf.h"

#define BLOCK_BYTES (256U << 10)
#define FRAME_BYTES 2048
#define BLOCK_MS    20
#define SILENCE_MS  2000
#define ETHERNET    1 /* DLT_EN10MB */

struct ring {
	int fd;
	uint8_t *map;
	unsigned blocks, next;
	uint64_t taken, dropped, octets;
};

static void fail(const char *what)
{
	perror(what);
	exit(3);
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void filter_set(int fd, const char *interface, const char *expression)
{
	static const unsigned ports[] = { 5060 };
	struct bpf_wish wish = { .ports = ports,
				 .port_count = 1,
				 .expression = expression,
				 .dlt = ETHERNET,
				 .interface = interface };
	struct sock_fprog program;
	char why[WHY_BYTES];

	if (bpf_make(&program, &wish, why) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		fail("filter");
}

static void ring_open(struct ring *r, const char *interface, uint64_t bytes)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(interface) };
	struct packet_mreq all = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	struct tpacket_req3 req = { .tp_block_size = BLOCK_BYTES,
				    .tp_block_nr = (unsigned)(bytes / BLOCK_BYTES),
				    .tp_frame_size = FRAME_BYTES,
				    .tp_retire_blk_tov = BLOCK_MS };
	int version = TPACKET_V3, on = 1;

	r->blocks = req.tp_block_nr;
	req.tp_frame_nr = BLOCK_BYTES / FRAME_BYTES * r->blocks;
	if (setsockopt(r->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
	    setsockopt(r->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
	    setsockopt(r->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		fail("ring");
	r->map = mmap(NULL, (size_t)BLOCK_BYTES * r->blocks, PROT_READ | PROT_WRITE, MAP_SHARED,
		      r->fd, 0);
	if (r->map == MAP_FAILED || bind(r->fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    setsockopt(r->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
		fail(interface);
}

static void block_count(struct ring *r, const struct tpacket_hdr_v1 *b, const uint8_t *block)
{
	const struct tpacket3_hdr *h = (const void *)(block + b->offset_to_first_pkt);

	for (uint32_t i = 0; i < b->num_pkts; i++) {
		r->octets += h->tp_snaplen;
		h = (const void *)((const uint8_t *)h + h->tp_next_offset);
	}
	r->taken += b->num_pkts;
}

static bool block_take(struct ring *r)
{
	uint8_t *at = r->map + (size_t)r->next * BLOCK_BYTES;
	struct tpacket_hdr_v1 *b = &((struct tpacket_block_desc *)(void *)at)->hdr.bh1;

	if (!(__atomic_load_n(&b->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	block_count(r, b, at);
	__atomic_store_n(&b->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	r->next = (r->next + 1) % r->blocks;
	return true;
}

static void drops_take(struct ring *r)
{
	struct tpacket_stats_v3 s;
	socklen_t len = sizeof(s);

	if (getsockopt(r->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) < 0)
		fail("statistics");
	r->dropped += s.tp_drops;
}

/* Silence counts from the first packet on. */
static void take(struct ring *r, uint64_t count)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };

	while (r->taken < count)
		if (!block_take(r) && poll(&p, 1, r->taken ? SILENCE_MS : -1) == 0)
			break;
	drops_take(r);
}

int main(int argc, char **argv)
{
	struct ring r = { .fd = socket(AF_PACKET, SOCK_RAW, 0) };
	double before;

	if (argc < 4 || argc > 5)
		return 2;
	if (r.fd < 0)
		fail("socket");
	filter_set(r.fd, argv[1], argc == 5 ? argv[4] : "");
	ring_open(&r, argv[1], strtoull(argv[3], NULL, 10));
	puts("ready");
	fflush(stdout);
	before = cpu_s();
	take(&r, strtoull(argv[2], NULL, 10));
	printf("%llu %llu %llu %.6f\n", (unsigned long long)r.taken, (unsigned long long)r.dropped,
	       (unsigned long long)r.octets, cpu_s() - before);
	return 0;
}
