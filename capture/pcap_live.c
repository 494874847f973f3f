/* libpcap without blocking, so that the thread waits for it and for the order to stop at once. */
#include "capture/pcap_live.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/interface.h"
#include "conf/clock.h"
#include "conf/log.h"

#define SNAP_BYTES     262144
#define BUFFER_MS      20 /* longest time that a frame waits for others */
#define FRAMES_A_BATCH 1024
#define LOOK_US	       1000000
#define BUSY_MS	       5
#define LAST_READ_US   1000000

/* One of libpcap; what it says of itself begins at 0 with it. */
struct handle {
	pcap_t *pcap; /* NULL: none */
	int type;     /* of the interface, ARPHRD_*; < 0: it is none, such as `any` */
	int dlt;
	bool is_nano;
	uint32_t received, dropped; /* the library's counters when they were last looked at */
	uint64_t passed; /* frames that the kernel says have passed and are in its ring */
	uint64_t taken;	 /* frames that we had in hand */
};

struct pcap_live {
	struct pcap_live_options is;
	struct handle h;
	bool is_lost; /* the interface is gone */
	bool is_down;

	_Atomic bool stop;
	int wake_fd;
	const struct source_ops *ops;
	void *ctx;
	struct packet_counters *counters;
	bool is_in_batch;
};

/* ---- open ---- */

static int error_of(int status)
{
	switch (status) {
	case PCAP_ERROR_PERM_DENIED:
	case PCAP_ERROR_PROMISC_PERM_DENIED:
		return -EPERM;
	case PCAP_ERROR_NO_SUCH_DEVICE:
		return -ENODEV;
	case PCAP_ERROR_IFACE_NOT_UP:
		return -ENETDOWN;
	default:
		return -EIO;
	}
}

static const char *link_name(int dlt)
{
	const char *name = pcap_datalink_val_to_name(dlt);

	return name ? name : "its link header";
}

static int filter_set(const struct pcap_live *l, const struct handle *h, char *why)
{
	struct bpf_wish wish = l->is.filter;
	struct sock_fprog made;
	struct bpf_program program;
	int err;

	wish.dlt = h->dlt;
	wish.handle = h->pcap;
	err = bpf_make(&made, &wish, why);
	if (err == -EOPNOTSUPP) {
		log_info("%s: %s has no filter by ports, everything is looked at", l->is.interface,
			 link_name(h->dlt));
		return HT_OK;
	}
	if (err < 0)
		return err;
	program = (struct bpf_program){ .bf_len = made.len, .bf_insns = (void *)made.filter };
	if (pcap_setfilter(h->pcap, &program) < 0) {
		snprintf(why, WHY_BYTES, "%s", pcap_geterr(h->pcap));
		err = -EIO;
	}
	bpf_free(&made);
	return err;
}

static int handle_activate(const struct pcap_live *l, struct handle *h, char *why)
{
	uint64_t buffer = l->is.buffer_bytes < INT_MAX ? l->is.buffer_bytes : INT_MAX;
	int status;

	/* None of these fails before the handle is active. */
	pcap_set_snaplen(h->pcap, SNAP_BYTES);
	pcap_set_promisc(h->pcap, l->is.is_promiscuous);
	pcap_set_timeout(h->pcap, BUFFER_MS);
	pcap_set_buffer_size(h->pcap, (int)buffer);
	h->is_nano = pcap_set_tstamp_precision(h->pcap, PCAP_TSTAMP_PRECISION_NANO) == 0;
	status = pcap_activate(h->pcap);
	if (status < 0) {
		const char *what = pcap_statustostr(status), *more = pcap_geterr(h->pcap);
		const char *hint =
			error_of(status) == -EPERM ? "; capturing needs CAP_NET_RAW" : "";

		if (strcmp(what, more) == 0)
			more = "";
		snprintf(why, WHY_BYTES, "%s%s%s%s", what, *more ? ": " : "", more, hint);
		return error_of(status);
	}
	/* That `any` cannot be promiscuous is no news. */
	if (status > 0 && status != PCAP_WARNING_PROMISC_NOTSUP)
		log_warning("%s: %s", l->is.interface, pcap_statustostr(status));
	h->dlt = pcap_datalink(h->pcap);
	interface_ignore_outgoing(pcap_fileno(h->pcap));
	/* On older kernels libpcap leaves it out; where that cannot be told it is taken, too. */
	if (pcap_setdirection(h->pcap, PCAP_D_IN) < 0)
		log_info("%s: what this host sends is captured, too", l->is.interface);
	return HT_OK;
}

static void handle_close(struct handle *h)
{
	if (h->pcap)
		pcap_close(h->pcap);
	h->pcap = NULL;
}

/* What came before there was a filter is libpcap's to sort out. */
static void counters_begin(struct handle *h)
{
	struct pcap_stat s = { 0 };

	if (pcap_stats(h->pcap, &s) < 0)
		return;
	h->received = s.ps_recv;
	h->dropped = s.ps_drop;
}

/* @param why  WHY_BYTES; set after an error, when @p out is as it was. */
static int handle_open(const struct pcap_live *l, struct handle *out, char *why)
{
	struct handle h = { .type = interface_type(l->is.interface) };
	char error[PCAP_ERRBUF_SIZE] = "";
	int err;

	why[0] = '\0';
	h.pcap = pcap_create(l->is.interface, error);
	if (!h.pcap) {
		snprintf(why, WHY_BYTES, "%s", error);
		return -EIO;
	}
	err = handle_activate(l, &h, why);
	if (err == HT_OK)
		err = filter_set(l, &h, why);
	if (err == HT_OK && pcap_setnonblock(h.pcap, 1, error) < 0) {
		snprintf(why, WHY_BYTES, "%s", error);
		err = -EIO;
	}
	if (err < 0) {
		handle_close(&h);
		return err;
	}
	counters_begin(&h);
	*out = h;
	return HT_OK;
}

/* ---- frames ---- */

static void frame(u_char *user, const struct pcap_pkthdr *p, const u_char *bytes)
{
	struct pcap_live *l = (void *)user;
	uint64_t fraction = (uint64_t)p->ts.tv_usec;
	struct captured c = { .bytes = { bytes, p->caplen },
			      .wire_len = p->len,
			      .link = (uint16_t)l->h.dlt,
			      .ts_us = (uint64_t)p->ts.tv_sec * 1000000 +
				       (l->h.is_nano ? fraction / 1000 : fraction) };

	if (!l->is_in_batch)
		l->ops->begin(l->ctx, clock_wall_us(), clock_mono_us());
	l->is_in_batch = true;
	l->h.taken++;
	counter_add(&l->counters->seen, 1);
	l->ops->frame(l->ctx, &c);
	counter_add(&l->counters->delivered, 1);
}

/* @return how many frames there were; < 0 after an error of libpcap. */
static int frames_take(struct pcap_live *l)
{
	int n = pcap_dispatch(l->h.pcap, FRAMES_A_BATCH, frame, (u_char *)l);

	if (l->is_in_batch)
		l->ops->end(l->ctx);
	l->is_in_batch = false;
	return n;
}

/* Its counters have 32 bits. */
static void statistics_take(struct pcap_live *l)
{
	struct handle *h = &l->h;
	uint32_t received, dropped;
	struct pcap_stat s = { 0 };

	if (pcap_stats(h->pcap, &s) < 0)
		return;
	received = (uint32_t)s.ps_recv - h->received;
	dropped = (uint32_t)s.ps_drop - h->dropped;
	h->received += received;
	h->dropped += dropped;
	h->passed += received - dropped; /* those that were dropped are among the received */
	counter_add(&l->counters->seen, dropped);
	counter_add(&l->counters->kernel_dropped, dropped);
}

static void wait_for_more(struct pcap_live *l, int ms)
{
	int fd = l->is_lost ? -1 : pcap_get_selectable_fd(l->h.pcap);
	struct pollfd p[] = { { .fd = fd, .events = POLLIN },
			      { .fd = l->wake_fd, .events = POLLIN } };
	uint64_t n;

	if (!l->is_lost && fd < 0 && ms > BUFFER_MS)
		ms = BUFFER_MS; /* there is nothing to wait for */
	if (poll(p, 2, ms) > 0 && p[1].revents && read(l->wake_fd, &n, sizeof(n)) < 0)
		log_debug("%s: %s", l->is.interface, ht_strerror(-errno));
}

/* What has passed the filter is given; the kernel hands over the last of it after BUFFER_MS. */
static void drain(struct pcap_live *l)
{
	uint64_t until = clock_mono_us() + LAST_READ_US;

	do {
		statistics_take(l);
		if (frames_take(l) > 0)
			continue;
		if (l->h.taken >= l->h.passed)
			break;
		wait_for_more(l, BUFFER_MS);
	} while (clock_mono_us() < until);
}

/* ---- interfaces that come and go ---- */

static void interface_lost(struct pcap_live *l, const char *why)
{
	l->is_lost = true;
	log_warning("%s: %s; it is taken again when it returns", l->is.interface, why);
	drain(l);
}

/* The socket is libpcap's, and so is the ring that stays; that it is of another interface now is
 * nothing to it. Unlike opening another this needs no rights. */
static int socket_rebind(const struct pcap_live *l, unsigned index)
{
	int fd = pcap_fileno(l->h.pcap);
	int err = interface_bind(fd, index);

	return err == HT_OK && l->is.is_promiscuous && index ? interface_take_all(fd, index) : err;
}

/* Another kind of interface, or one that libpcap takes by other means. */
static int handle_replace(struct pcap_live *l, char *why)
{
	struct handle h;
	int err = handle_open(l, &h, why);

	if (err < 0)
		return err;
	handle_close(&l->h);
	l->h = h;
	return HT_OK;
}

static void interface_return(struct pcap_live *l)
{
	static struct log_limit limit;
	int type = interface_type(l->is.interface);
	char why[WHY_BYTES] = "";
	int err = -EOPNOTSUPP;

	if (l->h.type >= 0 && type < 0)
		return; /* not yet */
	if (type == l->h.type)
		err = socket_rebind(l, if_nametoindex(l->is.interface));
	if (err < 0)
		err = handle_replace(l, why);
	if (err < 0) {
		log_limited(&limit, LOG_LEVEL_ERROR,
			    "%s: the interface is back, but cannot be captured: %s",
			    l->is.interface, why);
		return;
	}
	l->is_lost = false;
	log_info("%s: the interface is back", l->is.interface);
}

static void interface_look(struct pcap_live *l)
{
	bool was_down = l->is_down;

	if (l->is_lost) {
		interface_return(l);
		return;
	}
	statistics_take(l);
	if (l->h.type < 0)
		return;
	if (!interface_is_bound(pcap_fileno(l->h.pcap))) {
		interface_lost(l, "the interface is gone");
		return;
	}
	l->is_down = !interface_is_up(l->is.interface);
	if (l->is_down && !was_down)
		log_warning("%s: the interface is down", l->is.interface);
	else if (!l->is_down && was_down)
		log_info("%s: the interface is up", l->is.interface);
}

/* ---- the thread ---- */

/* From now on nothing passes. Past libpcap, which would filter what lies in its buffer, too; where
 * there is no socket, what comes is taken to the end of the second. */
static void shut(const struct pcap_live *l)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog program = { .len = 1, .filter = &nothing };

	if (setsockopt(pcap_fileno(l->h.pcap), SOL_SOCKET, SO_ATTACH_FILTER, &program,
		       sizeof(program)) < 0)
		log_debug("%s: %s", l->is.interface, ht_strerror(-errno));
}

/* @return how many frames there were. */
static int turn(struct pcap_live *l)
{
	int n = l->is_lost ? 0 : frames_take(l);

	if (n < 0)
		interface_lost(l, pcap_geterr(l->h.pcap));
	return n > 0 ? n : 0;
}

void pcap_live_run(struct pcap_live *l, const struct source_ops *ops, void *ctx,
		   struct packet_counters *counters)
{
	uint64_t look_us = 0;

	l->ops = ops;
	l->ctx = ctx;
	l->counters = counters;
	while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
		int n = turn(l);
		uint64_t now = clock_mono_us();
		bool is_busy;

		if (now >= look_us) {
			look_us = now + LOOK_US;
			interface_look(l);
		}
		is_busy = ops->tend(ctx, now);
		if (n == 0)
			wait_for_more(l, is_busy ? BUSY_MS : (int)((look_us - now) / 1000) + 1);
	}
	shut(l);
	drain(l);
}

void pcap_live_stop(struct pcap_live *l)
{
	uint64_t one = 1;

	atomic_store(&l->stop, true);
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		log_debug("%s: %s", l->is.interface, ht_strerror(-errno));
}

/* ---- life ---- */

int pcap_live_open(struct pcap_live **out, const struct pcap_live_options *o)
{
	struct pcap_live *l = calloc(1, sizeof(*l));
	char why[WHY_BYTES] = "";
	int err;

	*out = NULL;
	if (!l)
		return -ENOMEM;
	l->is = *o;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = l->wake_fd < 0 ? -errno : handle_open(l, &l->h, why);
	if (err < 0) {
		log_error("%s: cannot be captured: %s", o->interface,
			  why[0] ? why : ht_strerror(err));
		pcap_live_close(l);
		return err;
	}
	*out = l;
	return HT_OK;
}

void pcap_live_close(struct pcap_live *l)
{
	if (!l)
		return;
	handle_close(&l->h);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	free(l);
}
