/*
 * The bare receiver, which only counts: bench_sink PORT COUNT [tcp]
 * UDP: recvmmsg in a loop. TCP: one connection, read in large pieces and cut by the length that
 * each packet says. Ends after COUNT packets or two seconds of silence; prints packets taken and
 * CPU seconds.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define BATCH	   64
#define BYTES	   65536
#define READ_BYTES (256 << 10)

static uint64_t take_datagrams(int fd, uint64_t count)
{
	static uint8_t bytes[BATCH][BYTES + 17 * 64];
	struct mmsghdr head[BATCH] = { 0 };
	struct iovec iov[BATCH];
	uint64_t taken = 0;
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], BYTES };
		head[i].msg_hdr.msg_iov = &iov[i];
		head[i].msg_hdr.msg_iovlen = 1;
	}
	while (taken < count && (n = recvmmsg(fd, head, BATCH, MSG_WAITFORONE, NULL)) > 0)
		taken += (uint64_t)n;
	return taken;
}

static uint64_t take_stream(int fd, uint64_t count)
{
	static uint8_t bytes[READ_BYTES + BYTES];
	size_t have = 0, at;
	uint64_t taken = 0;
	ssize_t n;

	while (taken < count && (n = recv(fd, bytes + have, READ_BYTES, 0)) > 0) {
		have += (size_t)n;
		for (at = 0; have - at >= 6; taken++) {
			size_t len = (size_t)bytes[at + 4] << 8 | bytes[at + 5];

			if (len > have - at)
				break;
			at += len;
		}
		memmove(bytes, bytes + at, have - at);
		have -= at;
	}
	return taken;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval silence = { .tv_sec = 2 };
	bool is_stream = argc == 4 && strcmp(argv[3], "tcp") == 0;
	int fd = socket(AF_INET, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0), room = 8 << 20;
	uint64_t count, taken;
	struct rusage used;

	if (argc < 3 || argc > 4)
		return 2;
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	count = strtoull(argv[2], NULL, 10);
	if (!is_stream)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || (is_stream && listen(fd, 4) < 0))
		return 3;
	puts("ready");
	fflush(stdout);
	if (is_stream)
		fd = accept(fd, NULL, NULL);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	taken = is_stream ? take_stream(fd, count) : take_datagrams(fd, count);
	getrusage(RUSAGE_SELF, &used);
	printf("%llu %ld.%06ld\n", (unsigned long long)taken,
	       used.ru_utime.tv_sec + used.ru_stime.tv_sec +
		       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000000,
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) % 1000000);
	return 0;
}
