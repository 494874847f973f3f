/*
 * Send HEP datagrams at a rate: bench_send FILE PORT COUNT RATE
 * FILE holds u32 length + octets, over and over. RATE per second in batches each millisecond, 0: as
 * fast as it goes. Prints what was sent.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/datagrams.h"

#define BATCH 64

static void wait_until(const struct timespec *begin, uint64_t us)
{
	struct timespec at = *begin;

	at.tv_sec += (time_t)(us / 1000000);
	at.tv_nsec += (long)(us % 1000000 * 1000);
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

int main(int argc, char **argv)
{
	struct datagrams d;
	struct mmsghdr head[BATCH] = { 0 };
	struct iovec iov[BATCH];
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t count, rate, sent = 0;
	struct timespec begin;

	if (argc != 5 || datagrams_read(argv[1], &d) < 0)
		return 2;
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	count = strtoull(argv[3], NULL, 10);
	rate = strtoull(argv[4], NULL, 10);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 3;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint64_t tick = 1; sent < count; tick++) {
		uint64_t until = rate ? rate * tick / 1000 : count;

		while (sent < until && sent < count) {
			uint64_t n = until - sent < BATCH ? until - sent : BATCH;
			int done;

			for (uint64_t i = 0; i < n; i++) {
				size_t k = (sent + i) % d.count;

				iov[i] = (struct iovec){ d.at[k], d.len[k] };
				head[i].msg_hdr.msg_iov = &iov[i];
				head[i].msg_hdr.msg_iovlen = 1;
			}
			done = sendmmsg(fd, head, (unsigned)n, 0);
			sent += done > 0 ? (uint64_t)done : 0;
		}
		if (rate)
			wait_until(&begin, tick * 1000);
	}
	printf("%llu\n", (unsigned long long)sent);
	return 0;
}
