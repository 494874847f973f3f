/*
 * The bare receiver: recvmmsg in a loop, counting. bench_sink PORT COUNT
 * Ends after COUNT datagrams or two seconds of silence; prints datagrams taken and CPU seconds.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define BATCH 64
#define BYTES 65536

int main(int argc, char **argv)
{
	static uint8_t bytes[BATCH][BYTES + 17 * 64];
	struct mmsghdr head[BATCH] = { 0 };
	struct iovec iov[BATCH];
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval silence = { .tv_sec = 2 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 8 << 20, n;
	uint64_t count, taken = 0;
	struct rusage used;

	if (argc != 3)
		return 2;
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	count = strtoull(argv[2], NULL, 10);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return 3;
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], BYTES };
		head[i].msg_hdr.msg_iov = &iov[i];
		head[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);
	while (taken < count && (n = recvmmsg(fd, head, BATCH, MSG_WAITFORONE, NULL)) > 0)
		taken += (uint64_t)n;
	getrusage(RUSAGE_SELF, &used);
	printf("%llu %ld.%06ld\n", (unsigned long long)taken,
	       used.ru_utime.tv_sec + used.ru_stime.tv_sec +
		       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000000,
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) % 1000000);
	return 0;
}
