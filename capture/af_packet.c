/*
 * Blocks of a ring are the kernel's or ours; a batch is one block. The kernel gives one over when
 * it is full, or BLOCK_MS after its first frame, however little is in it: a thread that stands
 * still at a low rate has room for as many times BLOCK_MS as there are blocks. Hence many small
 * ones.
 */
#include "capture/af_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/interface.h"
#include "conf/clock.h"
#include "conf/log.h"

#define BLOCK_BYTES AF_PACKET_BLOCK_MOST
#define BLOCK_LEAST \
	(128U << 10) /* the longest IP packet fits, which one that was put together may be */
#define BLOCKS_LEAST  8
#define FRAME_BYTES   2048 /* only divides blocks; frames take what they need */
#define BLOCK_MS      20
#define BLOCKS_A_TURN 64 /* then it is looked whether something is due */
#define LOOK_US	      1000000
#define BUSY_MS	      5
#define LAST_READ_US  1000000
#define SPARES	      4 /* returns of an interface without rights, of each ring of a group */
#define FRAMES_AHEAD  8
#define CACHE_LINE    64
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING /* newer than some headers */
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif
#define NO_GROUP       (-1)
#define DLT_EN10MB     1
#define DLT_RAW	       12
#define ARPHRD_NO_LINK 0xfffe /* ARPHRD_NONE: tun */
#define ARPHRD_IP      519    /* ARPHRD_RAWIP */

struct af_packet {
	char interface[IFNAMSIZ];
	unsigned number; /* of the ring; the first one logs what concerns all */
	int fd;
	int spares[SPARES]; /* for when `fd` cannot be bound again */
	unsigned spare_count;
	int fanout; /* PACKET_FANOUT id; NO_GROUP: the only ring */
	int dlt;
	bool is_promiscuous;
	bool is_by_queue;
	bool is_lost; /* the interface is gone */
	bool is_down;
	struct sock_fprog filter;

	uint8_t *map;
	uint32_t block_bytes, block_count;
	uint32_t next; /* block */

	_Atomic bool stop;
	int wake_fd;
	const struct source_ops *ops;
	void *ctx;
	struct packet_counters *counters;
	uint64_t kernel_seen; /* what the kernel says has passed the filter, its drops included */
	uint64_t taken;	      /* frames that we had in hand */
	uint64_t dropped;
};

/* ---- the interface ---- */

int af_packet_dlt(const char *interface)
{
	int type = interface_type(interface);

	switch (type) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		return DLT_EN10MB;
	case ARPHRD_NO_LINK:
	case ARPHRD_IP:
		return DLT_RAW;
	default:
		return type < 0 ? type : -EOPNOTSUPP;
	}
}

static int promiscuous_on(const struct af_packet *a, unsigned index)
{
	return a->is_promiscuous ? interface_take_all(a->fd, index) : HT_OK;
}

/* ---- the ring ---- */

static void ring_size_choose(struct af_packet *a, uint64_t bytes)
{
	a->block_bytes = BLOCK_BYTES;
	while (bytes / a->block_bytes < BLOCKS_LEAST && a->block_bytes > BLOCK_LEAST)
		a->block_bytes /= 2;
	a->block_count = (uint32_t)(bytes / a->block_bytes);
	if (a->block_count < BLOCKS_LEAST)
		a->block_count = BLOCKS_LEAST;
}

/* Smaller blocks are easier to find for the kernel; then fewer. @return false: that was the least.
 */
static bool ring_size_step_down(struct af_packet *a)
{
	if (a->block_bytes > BLOCK_LEAST) {
		a->block_bytes /= 2;
		a->block_count *= 2;
		return true;
	}
	a->block_count /= 2;
	return a->block_count >= BLOCKS_LEAST;
}

static int ring_ask(const struct af_packet *a)
{
	struct tpacket_req3 req = { .tp_block_size = a->block_bytes,
				    .tp_block_nr = a->block_count,
				    .tp_frame_size = FRAME_BYTES,
				    .tp_frame_nr = a->block_bytes / FRAME_BYTES * a->block_count,
				    .tp_retire_blk_tov = BLOCK_MS };

	return setsockopt(a->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0 ? -errno
										    : HT_OK;
}

uint64_t af_packet_ring_bytes(const struct af_packet *a)
{
	return (uint64_t)a->block_bytes * a->block_count;
}

static int ring_make(struct af_packet *a)
{
	uint64_t wanted = af_packet_ring_bytes(a);
	int version = TPACKET_V3, err;
	void *map;

	if (setsockopt(a->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return -errno;
	do
		err = ring_ask(a);
	while (err == -ENOMEM && ring_size_step_down(a));
	if (err < 0)
		return err;
	if (af_packet_ring_bytes(a) < wanted)
		log_warning("%s: ring shrunk to %" PRIu64 " KiB of %" PRIu64 ": out of memory",
			    a->interface, af_packet_ring_bytes(a) >> 10, wanted >> 10);
	map = mmap(NULL, af_packet_ring_bytes(a), PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	a->map = map;
	a->next = 0;
	return HT_OK;
}

static struct tpacket_hdr_v1 *block_at(const struct af_packet *a, uint32_t n)
{
	struct tpacket_block_desc *b = (void *)(a->map + (size_t)n * a->block_bytes);

	return &b->hdr.bh1;
}

static bool block_is_ours(const struct tpacket_hdr_v1 *b)
{
	return __atomic_load_n(&b->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

static void block_give_back(struct tpacket_hdr_v1 *b)
{
	__atomic_store_n(&b->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

static struct captured frame_view(const struct af_packet *a, const struct tpacket3_hdr *h)
{
	struct captured c = { .bytes = { (const uint8_t *)h + h->tp_mac, h->tp_snaplen },
			      .wire_len = h->tp_len,
			      .link = (uint16_t)a->dlt,
			      .ts_us = (uint64_t)h->tp_sec * 1000000 + h->tp_nsec / 1000 };

	if (h->tp_status & TP_STATUS_VLAN_VALID) {
		c.has_vlan = true;
		c.vlan_tci = (uint16_t)h->hv1.tp_vlan_tci;
	}
	return c;
}

/* Older kernels do not know that a group of sockets is not to have what this host sends. */
static bool is_outgoing(const struct tpacket3_hdr *h)
{
	const struct sockaddr_ll *from =
		(const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));

	return from->sll_pkttype == PACKET_OUTGOING;
}

static const struct tpacket3_hdr *frame_next(const struct tpacket3_hdr *h)
{
	return (const void *)((const uint8_t *)h + h->tp_next_offset);
}

/*
 * Another core has just written the block, so each line of it comes from there. What is read of a
 * frame begins in the line behind its header's: it is asked for some frames ahead.
 */
static void block_walk(struct af_packet *a, const struct tpacket_hdr_v1 *b)
{
	const struct tpacket3_hdr *h =
		(const void *)((const uint8_t *)b - offsetof(struct tpacket_block_desc, hdr) +
			       b->offset_to_first_pkt);
	const struct tpacket3_hdr *ahead = h;
	uint32_t seen = 0;

	for (uint32_t i = 0; i < b->num_pkts; i++) {
		for (; seen < b->num_pkts && seen <= i + FRAMES_AHEAD; seen++) {
			__builtin_prefetch((const uint8_t *)ahead + CACHE_LINE);
			ahead = frame_next(ahead);
		}
		a->taken++;
		if (!is_outgoing(h)) {
			struct captured c = frame_view(a, h);

			counter_add(&a->counters->seen, 1);
			a->ops->frame(a->ctx, &c);
			counter_add(&a->counters->delivered, 1);
		}
		h = frame_next(h);
	}
}

/* @return how many blocks there were. */
static unsigned blocks_take(struct af_packet *a, unsigned most)
{
	unsigned n = 0;

	for (; n < most; n++) {
		struct tpacket_hdr_v1 *b = block_at(a, a->next);

		if (!block_is_ours(b))
			break;
		if (b->num_pkts) {
			a->ops->begin(a->ctx, clock_wall_us(), clock_mono_us());
			block_walk(a, b);
			a->ops->end(a->ctx);
		}
		block_give_back(b);
		a->next = (a->next + 1) % a->block_count;
	}
	return n;
}

/* The kernel begins again at 0 with each look. */
static void statistics_take(struct af_packet *a)
{
	struct tpacket_stats_v3 s;
	socklen_t len = sizeof(s);

	if (getsockopt(a->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) < 0)
		return;
	a->kernel_seen += s.tp_packets;
	a->dropped += s.tp_drops;
	counter_add(&a->counters->seen, s.tp_drops);
	counter_add(&a->counters->kernel_dropped, s.tp_drops);
	counter_add(&a->counters->freezes, s.tp_freeze_q_cnt);
}

/* ---- the socket ---- */

static int filter_set(const struct af_packet *a, const struct sock_fprog *program)
{
	return setsockopt(a->fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)) < 0
		       ? -errno
		       : HT_OK;
}

/* From now on nothing passes. */
static int filter_shut(const struct af_packet *a)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K, .k = 0 };

	return filter_set(a, &(struct sock_fprog){ .len = 1, .filter = &nothing });
}

static int filter_open(const struct af_packet *a)
{
	struct sock_filter all = { .code = BPF_RET | BPF_K, .k = UINT32_MAX };

	return filter_set(a, a->filter.len ? &a->filter
					   : &(struct sock_fprog){ .len = 1, .filter = &all });
}

/*
 * Join the others. The kernel finds an id that nobody has for the first of them; that one is kept
 * for later, too. By queue it counts rings in the order in which they joined, and queues from one
 * on: queue 0 goes to ring 1.
 */
static int fanout_join(struct af_packet *a)
{
	uint32_t how = (a->is_by_queue ? PACKET_FANOUT_QM : PACKET_FANOUT_HASH) |
		       PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
	uint32_t value = a->fanout == NO_GROUP ? (how | PACKET_FANOUT_FLAG_UNIQUEID) << 16
					       : how << 16 | (uint32_t)a->fanout;
	socklen_t len = sizeof(value);

	if (setsockopt(a->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value)) < 0 ||
	    getsockopt(a->fd, SOL_PACKET, PACKET_FANOUT, &value, &len) < 0)
		return -errno;
	a->fanout = (int)(value & 0xffff);
	return HT_OK;
}

/*
 * All but the filter, so that a socket that is bound and has not joined the others yet, and would
 * get what they get, gets nothing. @p is_shared: with others.
 */
static int socket_prepare(struct af_packet *a, bool is_shared)
{
	unsigned index = if_nametoindex(a->interface);
	int err;

	if (!index)
		return -ENODEV;
	interface_ignore_outgoing(a->fd);
	err = a->map ? HT_OK : ring_make(a);
	if (err == HT_OK)
		err = filter_shut(a);
	if (err == HT_OK)
		err = interface_bind(a->fd, index);
	if (err == HT_OK && is_shared)
		err = fanout_join(a);
	if (err == HT_OK)
		err = promiscuous_on(a, index);
	return err;
}

static void socket_drop(struct af_packet *a)
{
	if (a->map)
		munmap(a->map, af_packet_ring_bytes(a));
	if (a->fd >= 0)
		close(a->fd);
	a->map = NULL;
	a->fd = -1;
}

static int socket_new(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* ---- interfaces that come and go ---- */

/* @return whether something has happened to the interface. */
static bool wait_for_more(struct af_packet *a, int ms)
{
	struct pollfd p[] = { { .fd = a->fd, .events = POLLIN },
			      { .fd = a->wake_fd, .events = POLLIN } };
	socklen_t len = sizeof(int);
	uint64_t n;
	int error;

	if (poll(p, 2, ms) <= 0)
		return false;
	if (p[1].revents && read(a->wake_fd, &n, sizeof(n)) < 0) /* the caller looks at stop */
		log_debug("%s: %s", a->interface, ht_strerror(-errno));
	if (!(p[0].revents & POLLERR))
		return false;
	(void)getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len); /* it is told once */
	return true;
}

/* What has passed the filter is given; the last block is ours after BLOCK_MS. */
static void drain(struct af_packet *a)
{
	uint64_t until = clock_mono_us() + LAST_READ_US;

	do {
		statistics_take(a);
		blocks_take(a, a->block_count);
		if (a->taken + a->dropped >= a->kernel_seen)
			break;
		wait_for_more(a, BLOCK_MS);
	} while (clock_mono_us() < until);
}

static void spares_fill(struct af_packet *a)
{
	while (a->spare_count < SPARES) {
		int fd = socket_new();

		if (fd < 0)
			return;
		a->spares[a->spare_count++] = fd;
	}
}

/* A socket that shares packets cannot be bound again; what fails is tried again with the same. */
static int socket_replace(struct af_packet *a)
{
	int err;

	if (a->fd < 0)
		a->fd = a->spare_count ? a->spares[--a->spare_count] : socket_new();
	if (a->fd < 0)
		return a->fd;
	err = socket_prepare(a, true);
	if (err == HT_OK)
		err = filter_open(a);
	if (err < 0)
		return err;
	spares_fill(a);
	if (a->spare_count == 0 && a->number == 0)
		log_warning("%s: when the interface goes away again, only a restart takes it back",
			    a->interface);
	return HT_OK;
}

static int socket_rebind(struct af_packet *a, unsigned index)
{
	int err = interface_bind(a->fd, index);

	return err == HT_OK ? promiscuous_on(a, index) : err;
}

/* The interface, or another of that name, is there again. */
static void interface_return(struct af_packet *a, unsigned index)
{
	static struct log_limit limit;
	int err = af_packet_dlt(a->interface) == a->dlt ? HT_OK : -EOPNOTSUPP;

	if (err == HT_OK)
		err = a->fanout == NO_GROUP ? socket_rebind(a, index) : socket_replace(a);
	if (err < 0) {
		log_limited(&limit, LOG_LEVEL_ERROR,
			    "%s: the interface is back, but cannot be %s: %s", a->interface,
			    "captured", ht_strerror(err));
		return;
	}
	a->is_lost = false;
	if (a->number == 0)
		log_info("%s: the interface is back", a->interface);
}

/* All of a group let go of their sockets, since a group is of one interface. */
static void interface_lost(struct af_packet *a)
{
	a->is_lost = true;
	if (a->number == 0)
		log_warning("%s: the interface is gone; it is taken again when it returns",
			    a->interface);
	if (a->fanout == NO_GROUP)
		return;
	drain(a);
	socket_drop(a);
}

static void interface_look(struct af_packet *a)
{
	bool was_down = a->is_down;
	unsigned index;

	if (!a->is_lost && interface_is_bound(a->fd)) {
		a->is_down = !interface_is_up(a->interface);
		if (a->number == 0 && a->is_down && !was_down)
			log_warning("%s: the interface is down", a->interface);
		else if (a->number == 0 && !a->is_down && was_down)
			log_info("%s: the interface is up", a->interface);
		return;
	}
	if (!a->is_lost) {
		interface_lost(a);
		return;
	}
	index = if_nametoindex(a->interface);
	if (index)
		interface_return(a, index);
}

/* ---- the thread ---- */

static void read_the_rest(struct af_packet *a)
{
	if (!a->map)
		return;
	if (filter_shut(a) < 0)
		log_debug("%s: %s", a->interface, ht_strerror(-errno));
	drain(a);
	statistics_take(a);
}

void af_packet_run(struct af_packet *a, const struct source_ops *ops, void *ctx,
		   struct packet_counters *counters)
{
	uint64_t look_us = 0;

	a->ops = ops;
	a->ctx = ctx;
	a->counters = counters;
	while (!atomic_load_explicit(&a->stop, memory_order_relaxed)) {
		unsigned n = a->map ? blocks_take(a, BLOCKS_A_TURN) : 0;
		uint64_t now = clock_mono_us();
		bool is_busy;

		if (now >= look_us) {
			look_us = now + LOOK_US;
			if (a->map)
				statistics_take(a);
			interface_look(a);
		}
		is_busy = ops->tend(ctx, now);
		if (n == 0 &&
		    wait_for_more(a, is_busy ? BUSY_MS : (int)((look_us - now) / 1000) + 1))
			look_us = 0;
	}
	read_the_rest(a);
}

void af_packet_stop(struct af_packet *a)
{
	uint64_t one = 1;

	atomic_store(&a->stop, true);
	if (write(a->wake_fd, &one, sizeof(one)) < 0)
		log_debug("%s: %s", a->interface, ht_strerror(-errno));
}

/* ---- life ---- */

static int filter_copy(struct af_packet *a, const struct sock_fprog *from)
{
	size_t bytes = from->len * sizeof(*from->filter);

	if (!from->len)
		return HT_OK;
	a->filter.filter = malloc(bytes);
	if (!a->filter.filter)
		return -ENOMEM;
	memcpy(a->filter.filter, from->filter, bytes);
	a->filter.len = from->len;
	return HT_OK;
}

static int ring_open(struct af_packet *a, const struct af_packet_options *o, int fanout)
{
	bool is_shared = o->rings > 1;
	int err = filter_copy(a, &o->filter);

	strncpy(a->interface, o->interface, IFNAMSIZ - 1);
	a->is_promiscuous = o->is_promiscuous;
	a->is_by_queue = o->is_by_queue;
	a->fanout = fanout;
	ring_size_choose(a, o->ring_bytes);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->wake_fd < 0)
		return -errno;
	a->dlt = err < 0 ? err : af_packet_dlt(o->interface);
	if (a->dlt < 0)
		return a->dlt;
	a->fd = socket_new();
	if (a->fd < 0)
		return a->fd;
	if (is_shared)
		spares_fill(a);
	return socket_prepare(a, is_shared);
}

static void refusal_tell(const char *interface, int err)
{
	const char *hint = err == -EPERM	? "; capturing needs CAP_NET_RAW"
			   : err == -EOPNOTSUPP ? "; no Ethernet, try `method: pcap`"
						: "";

	log_error("%s: cannot be captured: %s%s", interface, ht_strerror(err), hint);
}

int af_packet_open(struct af_packet **out, const struct af_packet_options *o)
{
	int err = HT_OK, fanout = NO_GROUP;

	memset(out, 0, o->rings * sizeof(*out));
	for (unsigned i = 0; i < o->rings && err == HT_OK; i++) {
		out[i] = calloc(1, sizeof(*out[i]));
		if (!out[i]) {
			err = -ENOMEM;
			break;
		}
		out[i]->number = i;
		out[i]->fd = out[i]->wake_fd = -1;
		err = ring_open(out[i], o, fanout);
		fanout = out[i]->fanout;
	}
	for (unsigned i = 0; i < o->rings && err == HT_OK; i++)
		err = filter_open(out[i]);
	if (err == HT_OK)
		return HT_OK;
	refusal_tell(o->interface, err);
	for (unsigned i = 0; i < o->rings; i++) {
		af_packet_close(out[i]);
		out[i] = NULL;
	}
	return err;
}

void af_packet_close(struct af_packet *a)
{
	if (!a)
		return;
	socket_drop(a);
	while (a->spare_count)
		close(a->spares[--a->spare_count]);
	if (a->wake_fd >= 0)
		close(a->wake_fd);
	free(a->filter.filter);
	free(a);
}
