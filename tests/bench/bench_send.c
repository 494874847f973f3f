/*
 * Send HEP packets at a rate: bench_send FILE PORT COUNT RATE [tcp|tcp:N|calls]
 * FILE holds u32 length + octets, over and over. RATE per second in batches each millisecond, 0: as
 * fast as it goes. tcp: over one connection; tcp:N: a new one for each N packets; calls: datagrams,
 * each with the Call-ID of its own that the octets "Call-ID: 0000000000" stand for, two messages to
 * a Call-ID. Prints what was sent.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/datagrams.h"

#define BATCH	    64
#define PLACE	    "Call-ID: 0000000000"
#define PLACE_BYTES (sizeof(PLACE) - 1)

struct sender {
	struct datagrams d;
	struct sockaddr_in to;
	int fd;
	uint64_t per_connection; /* TCP; 0: UDP */
	uint64_t in_connection;
	bool with_calls;
	uint8_t *patched[BATCH];
};

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

static int connect_to(struct sender *s)
{
	s->fd = socket(AF_INET, s->per_connection ? SOCK_STREAM : SOCK_DGRAM, 0);
	return connect(s->fd, (struct sockaddr *)&s->to, sizeof(s->to));
}

/* The same octets with a number of their own. */
static uint8_t *with_call(struct sender *s, unsigned slot, size_t k, uint64_t n)
{
	uint8_t *copy = s->patched[slot], *place;
	char digits[24];

	memcpy(copy, s->d.at[k], s->d.len[k]);
	place = memmem(copy, s->d.len[k], PLACE, PLACE_BYTES);
	if (place) {
		snprintf(digits, sizeof(digits), "%010llu",
			 (unsigned long long)(n / 2 % 10000000000ULL));
		memcpy(place + PLACE_BYTES - 10, digits, 10);
	}
	return copy;
}

/* @return packets sent. */
static uint64_t send_datagrams(struct sender *s, uint64_t first, uint64_t n)
{
	static struct mmsghdr head[BATCH];
	static struct iovec iov[BATCH];
	int done;

	for (uint64_t i = 0; i < n; i++) {
		size_t k = (first + i) % s->d.count;

		iov[i] = (struct iovec){ s->d.at[k], s->d.len[k] };
		if (s->with_calls)
			iov[i].iov_base = with_call(s, (unsigned)i, k, first + i);
		head[i].msg_hdr.msg_iov = &iov[i];
		head[i].msg_hdr.msg_iovlen = 1;
	}
	done = sendmmsg(s->fd, head, (unsigned)n, 0);
	return done > 0 ? (uint64_t)done : 0;
}

static uint64_t send_stream(struct sender *s, uint64_t first, uint64_t n)
{
	static uint8_t bytes[BATCH * 65536];
	size_t len = 0, at = 0;

	if (n > s->per_connection - s->in_connection)
		n = s->per_connection - s->in_connection;
	for (uint64_t i = 0; i < n; i++) {
		size_t k = (first + i) % s->d.count;

		memcpy(bytes + len, s->d.at[k], s->d.len[k]);
		len += s->d.len[k];
	}
	while (at < len) {
		ssize_t done = send(s->fd, bytes + at, len - at, MSG_NOSIGNAL);

		if (done <= 0)
			exit(3);
		at += (size_t)done;
	}
	s->in_connection += n;
	if (s->in_connection == s->per_connection) {
		close(s->fd);
		s->in_connection = 0;
		if (connect_to(s) < 0)
			exit(3);
	}
	return n;
}

int main(int argc, char **argv)
{
	struct sender s = { .to = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	const char *how = argc == 6 ? argv[5] : "";
	uint64_t count, rate, sent = 0;
	struct timespec begin;

	if (argc < 5 || argc > 6 || datagrams_read(argv[1], &s.d) < 0)
		return 2;
	s.to.sin_port = htons((uint16_t)atoi(argv[2]));
	count = strtoull(argv[3], NULL, 10);
	rate = strtoull(argv[4], NULL, 10);
	s.with_calls = strcmp(how, "calls") == 0;
	if (strncmp(how, "tcp", 3) == 0)
		s.per_connection = how[3] == ':' ? strtoull(how + 4, NULL, 10) : UINT64_MAX;
	for (int i = 0; i < BATCH; i++)
		s.patched[i] = malloc(65536);
	if (connect_to(&s) < 0)
		return 3;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint64_t tick = 1; sent < count; tick++) {
		uint64_t until = rate ? rate * tick / 1000 : count;

		while (sent < until && sent < count) {
			uint64_t n = until < count ? until - sent : count - sent;

			if (n > BATCH)
				n = BATCH;
			sent += s.per_connection ? send_stream(&s, sent, n)
						 : send_datagrams(&s, sent, n);
		}
		if (rate)
			wait_until(&begin, tick * 1000);
	}
	close(s.fd);
	printf("%llu\n", (unsigned long long)sent);
	return 0;
}
