/* One read per connection and turn, into a buffer of the thread; frame_feed() cuts it. */
#include "hep/streams.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/counters.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "hep/codec.h"
#include "hep/frame.h"
#include "hep/listener.h"

#define BACKLOG		 4096
#define ACCEPTS_PER_TURN 64
#define KEEP_IDLE_S	 60 /* before the first probe */
#define KEEP_BETWEEN_S	 10
#define KEEP_PROBES	 6
#define LOOK_AGAIN_MS	 10 /* for room, while nothing is read */

/* A listening socket. */
struct port {
	struct listener_socket is;
	struct streams *streams;
	struct event *event;
	struct port *next;
};

struct connection {
	struct port *port;
	struct event *event;
	struct connection *next, *before;
	struct frame frame;
	uint32_t counted;	      /* octets of the frame that are in `memory` */
	uint64_t opened_us, heard_us; /* monotonic */
	uint64_t begun_us;	      /* when the packet that is not complete began */
	int fd;
	bool has_spoken; /* a whole packet came */
	uint8_t ip[16];
};

struct streams {
	struct event_base *base;
	const struct listener_ops *ops;
	void *ctx;
	struct port *ports;
	struct connection *connections;
	struct event *look_again;
	uint64_t slow_since_us; /* when there was first no room; 0: there is */
	uint64_t turn_us;	/* monotonic, of the read that is being cut */
	bool is_resting;	/* no connection is watched */
	bool is_behind;
	bool is_accepting;
	uint8_t *bytes;
	struct gauge memory; /* octets */
};

_Static_assert(sizeof(struct connection) + HEP_MAX_BYTES <= STREAMS_CONNECTION_MOST,
	       "what a connection takes");

int streams_open_tcp(const struct sockaddr *addr, unsigned addr_len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, err;

	if (fd < 0)
		return -errno;
	if ((addr->sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, addr, addr_len) < 0 || listen(fd, BACKLOG) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* ---- memory ---- */

/* Its frame may have grown, or be gone. */
static void connection_measure(struct connection *c)
{
	struct gauge *memory = &c->port->streams->memory;

	if (c->frame.room == c->counted)
		return;
	gauge_set(memory, counter_get(&memory->now) - c->counted + c->frame.room);
	c->counted = c->frame.room;
}

void streams_memory(const struct streams *s, struct memory_use *sum)
{
	memory_use_add_gauge(sum, &s->memory);
	sum->real_used += counter_get(&s->memory.now);
	sum->limit += STREAMS_READ;
}

/* ---- the end of a connection ---- */

static void connection_unlink(struct connection *c)
{
	struct streams *s = c->port->streams;

	if (c->before)
		c->before->next = c->next;
	else
		s->connections = c->next;
	if (c->next)
		c->next->before = c->before;
}

/* @p reason: how it is counted. What was left of a packet counts once. */
static void connection_close(struct connection *c, counter *reason)
{
	struct source_counters *counters = c->port->is.counters;

	if (frame_held(&c->frame)) {
		counter_add(&counters->received, 1);
		counter_add(&counters->malformed_partial, 1);
	}
	counter_add(reason, 1);
	atomic_fetch_sub(c->port->is.connections, 1);
	connection_unlink(c);
	event_free(c->event);
	frame_free(&c->frame);
	connection_measure(c);
	gauge_sub(&c->port->streams->memory, sizeof(*c));
	close(c->fd);
	free(c);
}

/* ---- when there is no room ---- */

static void all_rest(struct streams *s)
{
	static const struct timeval soon = { .tv_usec = LOOK_AGAIN_MS * 1000 };

	s->is_resting = true;
	for (struct connection *c = s->connections; c; c = c->next)
		event_del(c->event);
	event_add(s->look_again, &soon);
}

static void all_go_on(struct streams *s)
{
	s->is_resting = false;
	for (struct connection *c = s->connections; c; c = c->next)
		event_add(c->event, NULL);
}

/* May be read now? If the worker has no room: not before it has, or before the time is over. */
static bool may_read(struct streams *s, uint64_t now_us)
{
	if (s->ops->has_room(s->ctx)) {
		s->slow_since_us = 0;
		return true;
	}
	if (s->slow_since_us == 0)
		s->slow_since_us = now_us;
	return now_us - s->slow_since_us >= STREAMS_SLOW_US;
}

static void looked_again(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval soon = { .tv_usec = LOOK_AGAIN_MS * 1000 };
	struct streams *s = arg;

	(void)fd;
	(void)what;
	if (may_read(s, clock_mono_us()))
		all_go_on(s);
	else
		event_add(s->look_again, &soon);
}

/* ---- reading ---- */

static void packet_came(void *ctx, const uint8_t *packet, size_t len)
{
	struct connection *c = ctx;
	struct streams *s = c->port->streams;

	c->has_spoken = true;
	connection_measure(c); /* what was put together is still there */
	s->ops->record(s->ctx, c->port->is.source, packet, len, c->ip);
}

/* Cut what was read. @return HT_OK or why the stream cannot go on. */
static int connection_feed(struct connection *c, size_t len)
{
	struct streams *s = c->port->streams;
	struct source_counters *counters = c->port->is.counters;
	int packets;

	c->heard_us = s->turn_us = clock_mono_us();
	counter_add(&counters->datagrams, 1);
	counter_add(&counters->carriers, 1);
	s->ops->begin(s->ctx, clock_wall_us(), s->turn_us);
	packets = frame_feed(&c->frame, s->bytes, len, packet_came, c);
	s->ops->end(s->ctx);
	connection_measure(c);
	if (packets > 0)
		c->begun_us = 0;
	if (frame_held(&c->frame) == 0)
		c->begun_us = 0;
	else if (c->begun_us == 0)
		c->begun_us = s->turn_us;
	return packets < 0 ? packets : HT_OK;
}

static void framing_lost(struct connection *c, int err)
{
	struct source_counters *counters = c->port->is.counters;

	if (err == -ENOMEM) {
		connection_close(c, &counters->closed_error);
		return;
	}
	frame_free(&c->frame); /* it is counted as what it is */
	counter_add(&counters->received, 1);
	counter_add(err == HT_EVERSION ? &counters->malformed_version : &counters->malformed_length,
		    1);
	connection_close(c, &counters->closed_framing);
}

/* One read. @return octets; 0 if the connection is gone or has nothing. */
static size_t connection_read(struct connection *c)
{
	struct streams *s = c->port->streams;
	struct source_counters *counters = c->port->is.counters;
	ssize_t len = recv(c->fd, s->bytes, STREAMS_READ, MSG_DONTWAIT);
	int err;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len <= 0) {
		connection_close(c, len == 0 ? &counters->closed_end : &counters->closed_error);
		return 0;
	}
	err = connection_feed(c, (size_t)len);
	if (err == HT_OK)
		return (size_t)len;
	framing_lost(c, err);
	return 0;
}

static void connection_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct streams *s = c->port->streams;

	(void)fd;
	(void)what;
	if (!may_read(s, clock_mono_us())) {
		all_rest(s);
		return;
	}
	if (connection_read(c) == STREAMS_READ)
		s->is_behind = true;
}

/* ---- new connections ---- */

/* Hosts that are gone without a word are found by the kernel; we never send anything that would
 * tell. */
static void keep_alive(int fd)
{
	int on = 1, idle = KEEP_IDLE_S, between = KEEP_BETWEEN_S, probes = KEEP_PROBES;
	unsigned user_timeout_ms = (KEEP_IDLE_S + KEEP_BETWEEN_S * KEEP_PROBES) * 1000;

	if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
		       sizeof(user_timeout_ms)) < 0)
		log_debug("listener: keep-alive: %s", ht_strerror(-errno));
}

static struct connection *connection_new(struct port *p, int fd, const uint8_t ip[16])
{
	struct streams *s = p->streams;
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->port = p;
	c->fd = fd;
	c->opened_us = c->heard_us = clock_mono_us();
	memcpy(c->ip, ip, sizeof(c->ip));
	c->event = event_new(s->base, fd, EV_READ | EV_PERSIST, connection_readable, c);
	if (!c->event || (!s->is_resting && event_add(c->event, NULL) < 0)) {
		if (c->event)
			event_free(c->event);
		free(c);
		return NULL;
	}
	c->next = s->connections;
	if (c->next)
		c->next->before = c;
	s->connections = c;
	gauge_add(&s->memory, sizeof(*c));
	return c;
}

static void connection_take(struct port *p, int fd, const struct sockaddr_in6 *from)
{
	struct source_counters *counters = p->is.counters;
	struct listener_limits limits;
	uint8_t ip[16];

	listener_ip(from, ip);
	p->streams->ops->limits(p->streams->ctx, p->is.source, ip, &limits);
	if (!limits.is_allowed) {
		counter_add(&counters->refused_allow, 1);
		close(fd);
		return;
	}
	if (atomic_fetch_add(p->is.connections, 1) >= limits.max_connections) {
		atomic_fetch_sub(p->is.connections, 1);
		counter_add(&counters->refused_limit, 1);
		close(fd);
		return;
	}
	keep_alive(fd);
	if (!connection_new(p, fd, ip)) {
		atomic_fetch_sub(p->is.connections, 1);
		counter_add(&counters->refused_limit, 1);
		close(fd);
		return;
	}
	counter_add(&counters->connections, 1);
}

/* Out of descriptors: the backlog holds who comes until streams_tend() looks again. */
static void accepting_rests(struct streams *s)
{
	static struct log_limit limit;

	log_limited(&limit, LOG_LEVEL_ERROR, "listener: no more connections: %s",
		    ht_strerror(-errno));
	s->is_accepting = false;
	for (struct port *p = s->ports; p; p = p->next)
		event_del(p->event);
}

static void port_readable(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_in6 from;
		socklen_t len = sizeof(from);
		int new = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (new >= 0) {
			connection_take(p, new, &from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accepting_rests(p->streams);
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- time ---- */

static bool is_over(uint64_t since_us, unsigned timeout_s, uint64_t now_us)
{
	return timeout_s && now_us > since_us && now_us - since_us >= timeout_s * 1000000ULL;
}

/* What a connection is to be closed for by now; NULL: nothing. */
static counter *connection_is_late(struct connection *c, uint64_t now_us)
{
	struct source_counters *counters = c->port->is.counters;
	struct streams *s = c->port->streams;
	struct listener_limits limits;

	s->ops->limits(s->ctx, c->port->is.source, c->ip, &limits);
	if (c->begun_us && is_over(c->begun_us, limits.message_timeout, now_us))
		return &counters->closed_message;
	if (!c->has_spoken && is_over(c->opened_us, limits.first_message_timeout, now_us))
		return &counters->closed_first_message;
	return is_over(c->heard_us, limits.idle_timeout, now_us) ? &counters->closed_idle : NULL;
}

void streams_tend(struct streams *s, uint64_t now_us)
{
	struct connection *next;
	counter *reason;

	if (!s->is_accepting) {
		s->is_accepting = true;
		for (struct port *p = s->ports; p; p = p->next)
			event_add(p->event, NULL);
	}
	if (s->is_resting) /* we do not listen: nobody is late */
		return;
	for (struct connection *c = s->connections; c; c = next) {
		next = c->next;
		reason = connection_is_late(c, now_us);
		if (reason)
			connection_close(c, reason);
	}
}

bool streams_are_behind(struct streams *s)
{
	bool was = s->is_behind;

	s->is_behind = false;
	return was;
}

/* ---- life ---- */

int streams_new(struct streams **out, struct event_base *base, const struct listener_ops *ops,
		void *ctx)
{
	struct streams *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base = base;
	s->ops = ops;
	s->ctx = ctx;
	s->is_accepting = true;
	s->bytes = malloc(STREAMS_READ);
	s->look_again = evtimer_new(base, looked_again, s);
	if (!s->bytes || !s->look_again) {
		streams_free(s);
		return -ENOMEM;
	}
	gauge_set(&s->memory, STREAMS_READ);
	*out = s;
	return HT_OK;
}

int streams_add(struct streams *s, const struct listener_socket *socket)
{
	struct port *p = calloc(1, sizeof(*p));

	if (!p) {
		close(socket->fd);
		return -ENOMEM;
	}
	p->is = *socket;
	p->streams = s;
	p->event = event_new(s->base, socket->fd, EV_READ | EV_PERSIST, port_readable, p);
	if (!p->event || event_add(p->event, NULL) < 0) {
		if (p->event)
			event_free(p->event);
		close(socket->fd);
		free(p);
		return -ENOMEM;
	}
	p->next = s->ports;
	s->ports = p;
	return HT_OK;
}

static void ports_close(struct streams *s)
{
	struct port *p;

	while ((p = s->ports)) {
		s->ports = p->next;
		event_free(p->event);
		close(p->is.fd);
		free(p);
	}
}

/* Who waits in the backlog was told that it is connected, and may have sent something. */
void streams_finish(struct streams *s, uint64_t until_us)
{
	struct connection *c, *next;

	for (struct port *p = s->ports; p; p = p->next)
		port_readable(p->is.fd, 0, p);
	for (c = s->connections; c; c = next) {
		next = c->next;
		while (connection_read(c) > 0 && clock_mono_us() < until_us)
			;
	}
	while ((c = s->connections))
		connection_close(c, &c->port->is.counters->closed_stop);
	ports_close(s);
}

void streams_free(struct streams *s)
{
	struct connection *c;

	if (!s)
		return;
	while ((c = s->connections))
		connection_close(c, &c->port->is.counters->closed_stop);
	ports_close(s);
	if (s->look_again)
		event_free(s->look_again);
	free(s->bytes);
	free(s);
}
