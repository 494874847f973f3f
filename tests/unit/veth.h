/**
 * @file
 * A network of our own: a namespace with a pair of interfaces, `near` and `far`, where nobody else
 * has packets. What is sent on `far` comes in on `near`.
 * Threads: the namespace is of the thread that makes it, and of those that it starts.
 */
#pragma once
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* One line of ip(8) and the like. */
__attribute__((format(printf, 1, 2))) static inline void shell(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	ck_assert_msg(system(line) == 0, "%s", line);
}

/* @return false, after a line that says why, where the host refuses. */
static inline bool veth_make(const char *test)
{
	if (unshare(CLONE_NEWNET) < 0) {
		printf("skipped: %s: no network namespace: %s\n", test, strerror(errno));
		return false;
	}
	/* IPv6 would speak by itself. */
	shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || true");
	if (system("ip link add near type veth peer name far 2>/dev/null") != 0) {
		printf("skipped: %s: the kernel has no veth\n", test);
		return false;
	}
	shell("ip link set near arp off up && ip link set far arp off up");
	return true;
}

/* A socket that sends whole frames. */
static inline int veth_sender(const char *interface)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(interface) };

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static inline void veth_send(int fd, const void *bytes, size_t len)
{
	ck_assert_int_eq(send(fd, bytes, len, 0), (ssize_t)len);
}

/* ---- frames ---- */

struct frame_bytes {
	size_t len;
	uint8_t at[65600];
};

static inline void frame_put(struct frame_bytes *f, const void *from, size_t n)
{
	ck_assert_uint_le(f->len + n, sizeof(f->at));
	memcpy(f->at + f->len, from, n);
	f->len += n;
}

static inline void frame_put16(struct frame_bytes *f, unsigned v)
{
	uint16_t be = htons((uint16_t)v);

	frame_put(f, &be, 2);
}

static inline void frame_ip4(struct frame_bytes *f, unsigned words, unsigned proto,
			     unsigned fragment)
{
	uint8_t h[60] = { 0 };

	h[0] = (uint8_t)(0x40 | words);
	h[3] = 200; /* more than there is; nobody here looks */
	h[6] = (uint8_t)(fragment >> 8);
	h[7] = (uint8_t)fragment;
	h[8] = 64;
	h[9] = (uint8_t)proto;
	memcpy(h + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
	frame_put(f, h, words * 4);
}

static inline void frame_ip6(struct frame_bytes *f, unsigned next)
{
	uint8_t h[40] = { 0x60 };

	h[5] = 100;
	h[6] = (uint8_t)next;
	h[7] = 64;
	h[8] = h[24] = 0xfd;
	h[39] = 1;
	frame_put(f, h, 40);
}

/* One layer: "eth=TYPE", "tag=TYPE", "sll=TYPE", "sll2=TYPE", "null", "ip4=PROTO", "ip4o=PROTO"
 * with options, "frag=FLAGS:PROTO", "ip6=NEXT", "ports=FROM:TO", "udp=FROM:TO:FIRST" with the first
 * two octets of its payload. TYPE, FLAGS and FIRST are hexadecimal. */
static inline void frame_layer(struct frame_bytes *f, const char *layer)
{
	unsigned a = 0, b = 0, c = 0;

	if (sscanf(layer, "eth=%x", &a) == 1) {
		frame_put(f, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
		frame_put16(f, a);
	} else if (sscanf(layer, "tag=%x", &a) == 1) {
		frame_put16(f, 0x2064);
		frame_put16(f, a);
	} else if (sscanf(layer, "sll=%x", &a) == 1) {
		frame_put(f, "\0\0\0\1\0\6\2\0\0\0\0\1\0\0", 14);
		frame_put16(f, a);
	} else if (sscanf(layer, "sll2=%x", &a) == 1) {
		frame_put16(f, a);
		frame_put(f, "\0\0\0\0\0\2\0\1\0\6\2\0\0\0\0\1\0\0", 18);
	} else if (strcmp(layer, "null") == 0) {
		frame_put(f, "\2\0\0\0", 4);
	} else if (sscanf(layer, "ip4=%u", &a) == 1) {
		frame_ip4(f, 5, a, 0x4000);
	} else if (sscanf(layer, "ip4o=%u", &a) == 1) {
		frame_ip4(f, 15, a, 0);
	} else if (sscanf(layer, "udp=%u:%u:%x", &a, &b, &c) == 3) {
		frame_put16(f, a);
		frame_put16(f, b);
		frame_put(f, "\0\60\0\0", 4);
		frame_put16(f, c);
	} else if (sscanf(layer, "frag=%x:%u", &a, &b) == 2) {
		frame_ip4(f, 5, b, a);
	} else if (sscanf(layer, "ip6=%u", &a) == 1) {
		frame_ip6(f, a);
	} else {
		ck_assert_msg(sscanf(layer, "ports=%u:%u", &a, &b) == 2, "%s", layer);
		frame_put16(f, a);
		frame_put16(f, b);
	}
}

/* Layers with spaces between them, and 40 octets of payload. */
static inline struct frame_bytes frame_of_layers(const char *layers)
{
	struct frame_bytes f = { 0 };
	char copy[256], *rest = copy, *layer;

	snprintf(copy, sizeof(copy), "%s", layers);
	while ((layer = strsep(&rest, " ")))
		frame_layer(&f, layer);
	frame_put(&f, "0123456789012345678901234567890123456789", 40);
	return f;
}
