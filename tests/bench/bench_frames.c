/*
 * Put frames on an interface: bench_frames FILE INTERFACE COUNT RATE
 * FILE holds u32 length + octets, over and over. RATE per second in batches each millisecond, 0: as
 * fast as it goes. Prints what was sent and the seconds that took.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/bench/datagrams.h"

#define BATCH	  256
#define SEND_ROOM (4 << 20)

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void wait_until(uint64_t us)
{
	struct timespec at = { .tv_sec = (time_t)(us / 1000000),
			       .tv_nsec = (long)(us % 1000000 * 1000) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* A frame goes straight to the interface: queues of the kernel would be work of the sender's. */
static int open_on(const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1, room = SEND_ROOM;

	if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		return -1;
	return fd;
}

static void frames_send(int fd, const struct datagrams *d, uint64_t first, unsigned n)
{
	static struct mmsghdr head[BATCH];
	static struct iovec iov[BATCH];

	for (unsigned i = 0; i < n; i++) {
		size_t k = (first + i) % d->count;

		iov[i] = (struct iovec){ d->at[k], d->len[k] };
		head[i].msg_hdr.msg_iov = &iov[i];
		head[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned done = 0; done < n;) {
		int sent = sendmmsg(fd, head + done, n - done, 0);

		if (sent <= 0) {
			perror("sendmmsg");
			exit(3);
		}
		done += (unsigned)sent;
	}
}

int main(int argc, char **argv)
{
	uint64_t count, rate, begin, sent = 0;
	struct datagrams d;
	int fd;

	if (argc != 5 || datagrams_read(argv[1], &d) < 0)
		return 2;
	fd = open_on(argv[2]);
	if (fd < 0) {
		perror(argv[2]);
		return 3;
	}
	count = strtoull(argv[3], NULL, 10);
	rate = strtoull(argv[4], NULL, 10);
	begin = now_us();
	for (uint64_t tick = 1; sent < count; tick++) {
		uint64_t until = rate ? rate * tick / 1000 : count;

		while (sent < until && sent < count) {
			uint64_t n = (until < count ? until : count) - sent;

			if (n > BATCH)
				n = BATCH;
			frames_send(fd, &d, sent, (unsigned)n);
			sent += n;
		}
		if (rate)
			wait_until(begin + tick * 1000);
	}
	printf("%llu %.6f\n", (unsigned long long)sent, (double)(now_us() - begin) / 1e6);
	return 0;
}
