/* HTTP by hand: one request, one answer, the connection closed behind it. */
#include "capture/client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_BYTES 65536
#define WAIT_S	     10

int client_token(const char *file, char *out, size_t size)
{
	FILE *f = fopen(file, "re");
	bool is_read;

	if (!f)
		return -errno;
	is_read = fgets(out, (int)size, f) != NULL;
	fclose(f);
	out[is_read ? strcspn(out, "\r\n") : 0] = '\0';
	return out[0] ? HT_OK : -EINVAL;
}

bool client_encode(const char *text, char *out, size_t size)
{
	size_t used = 0;

	for (; *text && used + 4 <= size; text++)
		used += (size_t)snprintf(out + used, size - used,
					 isalnum((uint8_t)*text) ? "%c" : "%%%02X", (uint8_t)*text);
	if (used < size)
		out[used] = '\0';
	return *text == '\0' && used < size;
}

/* A server that listens on every address listens on this host's own. */
static void to_this_host(struct sockaddr_storage *addr)
{
	struct sockaddr_in *in = (struct sockaddr_in *)addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)addr;

	if (addr->ss_family == AF_INET && in->sin_addr.s_addr == INADDR_ANY)
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (addr->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		in6->sin6_addr = in6addr_loopback;
}

static int connect_to(const struct conf *conf)
{
	struct sockaddr_storage addr = conf->http.listen.addr;
	struct timeval wait = { .tv_sec = WAIT_S };
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	to_this_host(&addr);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, conf->http.listen.addr_len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* @return octets of the answer, or -errno. */
static ssize_t exchange(int fd, const char *path, const char *token, char *answer)
{
	char request[2048];
	size_t used = 0;
	ssize_t n;
	int len =
		snprintf(request, sizeof(request),
			 "PUT %s HTTP/1.1\r\nHost: heptap\r\nConnection: close\r\n"
			 "Content-Length: 0\r\n%s%s%s\r\n",
			 path, *token ? "Authorization: Bearer " : "", token, *token ? "\r\n" : "");

	if (len < 0 || len >= (int)sizeof(request))
		return -EMSGSIZE;
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		return -EPIPE;
	while (used < ANSWER_BYTES - 1 &&
	       (n = recv(fd, answer + used, ANSWER_BYTES - 1 - used, 0)) > 0)
		used += (size_t)n;
	answer[used] = '\0';
	return used ? (ssize_t)used : -ETIMEDOUT;
}

int client_put(const struct conf *conf, const char *path)
{
	static char answer[ANSWER_BYTES];
	char token[256] = "", *body;
	int fd = HT_OK, status = 0;
	ssize_t len;

	if (conf->http.token_file[0])
		fd = client_token(conf->http.token_file, token, sizeof(token));
	if (fd < 0) {
		fprintf(stderr, "heptap: http.token_file: %s: %s\n", conf->http.token_file,
			ht_strerror(fd));
		return fd;
	}
	fd = connect_to(conf);
	len = fd < 0 ? fd : exchange(fd, path, token, answer);
	if (fd >= 0)
		close(fd);
	if (len < 0) {
		fprintf(stderr, "heptap: no answer from %s: %s; is the server running?\n",
			conf->http.listen.text, ht_strerror((int)len));
		return (int)len;
	}
	body = strstr(answer, "\r\n\r\n");
	if (sscanf(answer, "HTTP/1.%*d %d", &status) != 1 || !body) {
		fprintf(stderr, "heptap: %s does not answer like heptap\n", conf->http.listen.text);
		return -EPROTO;
	}
	fputs(body + 4, status == 200 ? stdout : stderr);
	return status;
}
