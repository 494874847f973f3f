/* recvmmsg on libevent, and the loop of the thread. */
#include "hep/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/counters.h"
#include "conf/log.h"
#include "hep/streams.h"

#define DATAGRAM_BYTES 65536
#define DATAGRAM_STRIDE \
	(DATAGRAM_BYTES + 17 * 64) /* so that the fronts of all buffers do not share cache sets */
#define BATCHES_PER_TURN 16	   /* then timers get their turn */
#define NAP_MOST_US	 5000
#define NAP_RATE_US	 2 /* half of the buffer has to last at a datagram each so many microseconds */
#define DATAGRAM_CHARGE \
	2304 /* octets of receive buffer that a datagram of 700 to 1400 octets is charged */
#define LAST_READ_US 1000000

struct udp_socket {
	struct listener_socket is;
	struct listener *listener;
	struct event *event;
	uint32_t drops_seen; /* the kernel's 32-bit counter when it was last looked at */
};

struct listener {
	const struct listener_ops *ops;
	void *ctx;
	struct event_base *base;
	struct event *wake, *each_second;
	int wake_fd;
	_Atomic bool stop;
	unsigned nap_us;
	bool is_behind; /* a socket had more than one turn takes: no nap */
	struct udp_socket socket[LISTENER_MAX_SOCKETS];
	unsigned socket_count;
	struct streams *streams;
	/* one batch */
	uint8_t *bytes;
	struct mmsghdr head[LISTENER_BATCH];
	struct iovec iov[LISTENER_BATCH];
	struct sockaddr_in6 from[LISTENER_BATCH];
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(uint32_t))];
	} control[LISTENER_BATCH];
};

/* ---- sockets ---- */

static size_t buffer_size(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &len) < 0 || size < 0 ? 0
										  : (size_t)size;
}

/* SO_RCVBUF never fails: it is silently cut at rmem_max and doubled. SO_RCVBUFFORCE is not cut but
 * needs CAP_NET_ADMIN. */
static size_t buffer_ask(int fd, size_t want)
{
	int half = (int)(want / 2);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half)) == 0 &&
	    buffer_size(fd) < want)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half));
	return buffer_size(fd);
}

int listener_open_udp(const struct sockaddr *addr, socklen_t addr_len, size_t want_buffer,
		      size_t *got_buffer)
{
	int fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, err;

	if (fd < 0)
		return -errno;
	if (addr->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		goto fail;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)) < 0)
		goto fail;
	*got_buffer = buffer_ask(fd, want_buffer);
	if (bind(fd, addr, addr_len) < 0)
		goto fail;
	return fd;
fail:
	err = -errno;
	close(fd);
	return err;
}

/* ---- drops ---- */

/* The kernel's counter wraps at 32 bits; only its growth counts. */
static void drops_note(struct udp_socket *s, uint32_t drops)
{
	uint32_t more = drops - s->drops_seen;

	if (more && more < UINT32_MAX / 2) {
		s->drops_seen = drops;
		counter_add(&s->is.counters->kernel_dropped, more);
	}
}

/* SO_RXQ_OVFL comes only with the next datagram, so the counter is also asked for. */
static void drops_poll(struct udp_socket *s)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	if (getsockopt(s->is.fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 &&
	    len > SK_MEMINFO_DROPS * sizeof(info[0]))
		drops_note(s, info[SK_MEMINFO_DROPS]);
}

static void drops_read(struct udp_socket *s, struct msghdr *head)
{
	uint32_t drops;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		memcpy(&drops, CMSG_DATA(c), sizeof(drops));
		drops_note(s, drops);
	}
}

/* ---- reading ---- */

void listener_ip(const struct sockaddr_in6 *from, uint8_t ip[16])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;

	if (from->sin6_family == AF_INET6) {
		memcpy(ip, &from->sin6_addr, 16);
		return;
	}
	memset(ip, 0, 10);
	ip[10] = ip[11] = 0xff;
	memcpy(ip + 12, &v4->sin_addr, 4);
}

static void batch_prepare(struct listener *l, int count)
{
	for (int i = 0; i < count; i++) {
		l->head[i].msg_hdr.msg_namelen = sizeof(l->from[i]);
		l->head[i].msg_hdr.msg_controllen = sizeof(l->control[i].bytes);
	}
}

/* @return datagrams read, 0 if there are none. */
static int batch_read(struct udp_socket *s)
{
	struct listener *l = s->listener;
	uint8_t ip[16];
	int count = recvmmsg(s->is.fd, l->head, LISTENER_BATCH, MSG_DONTWAIT, NULL);

	if (count <= 0)
		return 0;
	counter_add(&s->is.counters->datagrams, (uint64_t)count);
	l->ops->begin(l->ctx, clock_wall_us(), clock_mono_us());
	for (int i = 0; i < count; i++) {
		if (l->head[i].msg_hdr.msg_controllen)
			drops_read(s, &l->head[i].msg_hdr);
		if (l->head[i].msg_hdr.msg_flags & MSG_TRUNC) {
			counter_add(&s->is.counters->incomplete_truncated, 1);
			continue;
		}
		listener_ip(&l->from[i], ip);
		counter_add(&s->is.counters->carriers, 1);
		l->ops->record(l->ctx, s->is.source, l->iov[i].iov_base, l->head[i].msg_len, ip);
	}
	l->ops->end(l->ctx);
	batch_prepare(l, count);
	return count;
}

static void socket_readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *s = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < BATCHES_PER_TURN; i++)
		if (batch_read(s) < LISTENER_BATCH)
			return;
	s->listener->is_behind = true;
}

static void second_passed(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < l->socket_count; i++)
		drops_poll(&l->socket[i]);
	streams_tend(l->streams, clock_mono_us());
}

static void woken(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	(void)what;
	(void)arg;
	if (read(fd, &n, sizeof(n)) < 0) /* listener_run() looks at stop */
		log_debug("listener: %s", ht_strerror(-errno));
}

/* From now on the kernel drops what comes, and counts it like any other drop. */
static void socket_shut(struct udp_socket *s)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog program = { .len = 1, .filter = &nothing };

	if (setsockopt(s->is.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		log_debug("listener: %s", ht_strerror(-errno));
}

/*
 * What lies in the sockets when the end is asked for was sent to us and is taken, but nobody can
 * keep us here. The sockets are closed at once, so that senders learn of it while others still
 * store.
 */
static void read_the_rest(struct listener *l)
{
	uint64_t until = clock_mono_us() + LAST_READ_US;

	for (unsigned i = 0; i < l->socket_count; i++)
		socket_shut(&l->socket[i]);
	for (unsigned i = 0; i < l->socket_count; i++) {
		while (batch_read(&l->socket[i]) > 0 && clock_mono_us() < until)
			;
		drops_poll(&l->socket[i]);
		event_del(l->socket[i].event);
		close(l->socket[i].is.fd);
		l->socket[i].is.fd = -1;
	}
	streams_finish(l->streams, until);
}

void listener_run(struct listener *l)
{
	struct timespec nap = { .tv_nsec = (long)l->nap_us * 1000 };
	bool is_busy = false;

	while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
		if (is_busy && !l->is_behind)
			nanosleep(&nap, NULL);
		l->is_behind = false;
		event_base_loop(l->base,
				is_busy ? EVLOOP_ONCE | EVLOOP_NONBLOCK
					: EVLOOP_ONCE); /* once round, or a busy socket keeps us */
		is_busy = l->ops->tend(l->ctx, clock_mono_us());
		l->is_behind |= streams_are_behind(l->streams);
	}
	read_the_rest(l);
}

void listener_stop(struct listener *l)
{
	uint64_t one = 1;

	atomic_store(&l->stop, true);
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		log_debug("listener: %s", ht_strerror(-errno));
}

/* ---- life ---- */

static unsigned nap_for(size_t buffer)
{
	size_t us = buffer / DATAGRAM_CHARGE / 2 * NAP_RATE_US;

	return us > NAP_MOST_US ? NAP_MOST_US : (unsigned)us;
}

static int udp_add(struct listener *l, const struct listener_socket *socket)
{
	struct udp_socket *s = &l->socket[l->socket_count++];

	*s = (struct udp_socket){ .is = *socket, .listener = l };
	if (nap_for(s->is.buffer) < l->nap_us)
		l->nap_us = nap_for(s->is.buffer);
	s->event = event_new(l->base, s->is.fd, EV_READ | EV_PERSIST, socket_readable, s);
	return s->event && event_add(s->event, NULL) == 0 ? HT_OK : -ENOMEM;
}

static int sockets_add(struct listener *l, const struct listener_socket *sockets, unsigned count)
{
	int err = HT_OK;

	l->nap_us = NAP_MOST_US;
	for (unsigned i = 0; i < count; i++) {
		if (err < 0)
			close(sockets[i].fd);
		else if (sockets[i].is_stream)
			err = streams_add(l->streams, &sockets[i]);
		else
			err = udp_add(l, &sockets[i]);
	}
	return err;
}

static int events_add(struct listener *l)
{
	static const struct timeval second = { .tv_sec = 1 };

	l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, woken, l);
	l->each_second = event_new(l->base, -1, EV_PERSIST, second_passed, l);
	if (!l->wake || !l->each_second || event_add(l->wake, NULL) < 0 ||
	    event_add(l->each_second, &second) < 0)
		return -ENOMEM;
	return HT_OK;
}

static void batch_init(struct listener *l)
{
	for (int i = 0; i < LISTENER_BATCH; i++) {
		l->iov[i] =
			(struct iovec){ l->bytes + (size_t)i * DATAGRAM_STRIDE, DATAGRAM_BYTES };
		l->head[i].msg_hdr.msg_iov = &l->iov[i];
		l->head[i].msg_hdr.msg_iovlen = 1;
		l->head[i].msg_hdr.msg_name = &l->from[i];
		l->head[i].msg_hdr.msg_control = l->control[i].bytes;
	}
	batch_prepare(l, LISTENER_BATCH);
}

static int listener_make(struct listener *l, const struct listener_ops *ops, void *ctx)
{
	int err = -ENOMEM;

	l->ops = ops;
	l->ctx = ctx;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->base = event_base_new();
	l->bytes = malloc((size_t)LISTENER_BATCH * DATAGRAM_STRIDE);
	if (l->wake_fd >= 0 && l->base && l->bytes)
		err = events_add(l);
	if (err == HT_OK)
		err = streams_new(&l->streams, l->base, ops, ctx);
	if (err == HT_OK)
		batch_init(l);
	return err;
}

int listener_new(struct listener **out, const struct listener_socket *sockets, unsigned count,
		 const struct listener_ops *ops, void *ctx)
{
	struct listener *l = calloc(1, sizeof(*l));
	int err = l ? listener_make(l, ops, ctx) : -ENOMEM;

	if (err < 0)
		for (unsigned i = 0; i < count; i++)
			close(sockets[i].fd);
	else
		err = sockets_add(l, sockets, count);
	if (err < 0) {
		listener_free(l);
		return err;
	}
	*out = l;
	return HT_OK;
}

void listener_memory(const struct listener *l, struct memory_use *sum)
{
	streams_memory(l->streams, sum);
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < LISTENER_MAX_SOCKETS; i++) {
		if (l->socket[i].event)
			event_free(l->socket[i].event);
		if (i < l->socket_count && l->socket[i].is.fd >= 0)
			close(l->socket[i].is.fd);
	}
	streams_free(l->streams);
	if (l->wake)
		event_free(l->wake);
	if (l->each_second)
		event_free(l->each_second);
	if (l->base)
		event_base_free(l->base);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	free(l->bytes);
	free(l);
}
