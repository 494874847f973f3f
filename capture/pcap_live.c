/* libpcap without blocking, so that the thread waits for it and for the order to stop at once. */
#include "capture/pcap_live.h"

#include <errno.h>
#include <limits.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/clock.h"
#include "conf/log.h"

#define SNAP_BYTES     262144
#define BUFFER_MS      20 /* longest time that a frame waits for others */
#define FRAMES_A_BATCH 1024
#define LOOK_US	       1000000
#define BUSY_MS	       5
#define LAST_READ_US   1000000
#define QUIET_TURNS    3 /* of BUFFER_MS each, at the end */

struct pcap_live {
	struct pcap_live_options is;
	pcap_t *pcap; /* NULL: the interface is gone */
	int dlt;
	bool is_nano;
	uint32_t drops_seen; /* the library's 32-bit counter when it was last looked at */

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

static int filter_set(struct pcap_live *l, char *why)
{
	struct bpf_wish wish = l->is.filter;
	struct sock_fprog made;
	struct bpf_program program;
	int err;

	wish.dlt = l->dlt;
	wish.handle = l->pcap;
	err = bpf_make(&made, &wish, why);
	if (err == -EOPNOTSUPP) {
		log_info("%s: %s has no filter by ports, everything is looked at", l->is.interface,
			 pcap_datalink_val_to_name(l->dlt) ? pcap_datalink_val_to_name(l->dlt)
							   : "its link header");
		return HT_OK;
	}
	if (err < 0)
		return err;
	program = (struct bpf_program){ .bf_len = made.len, .bf_insns = (void *)made.filter };
	if (pcap_setfilter(l->pcap, &program) < 0) {
		snprintf(why, WHY_BYTES, "%s", pcap_geterr(l->pcap));
		err = -EIO;
	}
	bpf_free(&made);
	return err;
}

static int handle_activate(struct pcap_live *l, char *why)
{
	uint64_t buffer = l->is.buffer_bytes < INT_MAX ? l->is.buffer_bytes : INT_MAX;
	int status;

	/* None of these fails before the handle is active. */
	pcap_set_snaplen(l->pcap, SNAP_BYTES);
	pcap_set_promisc(l->pcap, l->is.is_promiscuous);
	pcap_set_timeout(l->pcap, BUFFER_MS);
	pcap_set_buffer_size(l->pcap, (int)buffer);
	l->is_nano = pcap_set_tstamp_precision(l->pcap, PCAP_TSTAMP_PRECISION_NANO) == 0;
	status = pcap_activate(l->pcap);
	if (status < 0) {
		const char *more = pcap_geterr(l->pcap);

		snprintf(why, WHY_BYTES, "%s", *more ? more : pcap_statustostr(status));
		return error_of(status);
	}
	if (status > 0)
		log_warning("%s: %s", l->is.interface, pcap_statustostr(status));
	l->dlt = pcap_datalink(l->pcap);
	/* What this host sends; where that cannot be told it is taken, too. */
	if (pcap_setdirection(l->pcap, PCAP_D_IN) < 0)
		log_info("%s: what this host sends is captured, too", l->is.interface);
	return HT_OK;
}

static void handle_close(struct pcap_live *l)
{
	if (l->pcap)
		pcap_close(l->pcap);
	l->pcap = NULL;
}

/* @param why  WHY_BYTES; set after an error. */
static int handle_open(struct pcap_live *l, char *why)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	int err;

	why[0] = '\0';
	l->drops_seen = 0;
	l->pcap = pcap_create(l->is.interface, error);
	if (!l->pcap) {
		snprintf(why, WHY_BYTES, "%s", error);
		return -EIO;
	}
	err = handle_activate(l, why);
	if (err == HT_OK)
		err = filter_set(l, why);
	if (err == HT_OK && pcap_setnonblock(l->pcap, 1, error) < 0) {
		snprintf(why, WHY_BYTES, "%s", error);
		err = -EIO;
	}
	if (err < 0)
		handle_close(l);
	return err;
}

/* ---- frames ---- */

static void frame(u_char *user, const struct pcap_pkthdr *h, const u_char *bytes)
{
	struct pcap_live *l = (void *)user;
	uint64_t fraction = (uint64_t)h->ts.tv_usec;
	struct captured c = { .bytes = { bytes, h->caplen },
			      .wire_len = h->len,
			      .link = (uint16_t)l->dlt,
			      .ts_us = (uint64_t)h->ts.tv_sec * 1000000 +
				       (l->is_nano ? fraction / 1000 : fraction) };

	if (!l->is_in_batch)
		l->ops->begin(l->ctx, clock_wall_us(), clock_mono_us());
	l->is_in_batch = true;
	counter_add(&l->counters->seen, 1);
	l->ops->frame(l->ctx, &c);
	counter_add(&l->counters->delivered, 1);
}

static void statistics_take(struct pcap_live *l)
{
	struct pcap_stat s;
	uint32_t more;

	if (!l->pcap || pcap_stats(l->pcap, &s) < 0)
		return;
	more = (uint32_t)s.ps_drop - l->drops_seen;
	l->drops_seen = (uint32_t)s.ps_drop;
	counter_add(&l->counters->seen, more);
	counter_add(&l->counters->kernel_dropped, more);
}

static void interface_lost(struct pcap_live *l)
{
	log_warning("%s: %s; it is tried again each second", l->is.interface, pcap_geterr(l->pcap));
	statistics_take(l);
	handle_close(l);
}

/* @return how many frames there were. */
static int batch_take(struct pcap_live *l)
{
	int n;

	if (!l->pcap)
		return 0;
	n = pcap_dispatch(l->pcap, FRAMES_A_BATCH, frame, (u_char *)l);
	if (l->is_in_batch)
		l->ops->end(l->ctx);
	l->is_in_batch = false;
	if (n < 0 && n != PCAP_ERROR_BREAK)
		interface_lost(l);
	return n > 0 ? n : 0;
}

static void interface_look(struct pcap_live *l)
{
	static struct log_limit limit;
	char why[WHY_BYTES];

	statistics_take(l);
	if (l->pcap)
		return;
	if (handle_open(l, why) == HT_OK)
		log_info("%s: captured again", l->is.interface);
	else
		log_limited(&limit, LOG_LEVEL_WARNING, "%s: cannot be captured: %s",
			    l->is.interface, why);
}

/* ---- the thread ---- */

static void wait_for_more(struct pcap_live *l, int ms)
{
	int fd = l->pcap ? pcap_get_selectable_fd(l->pcap) : -1;
	struct pollfd p[] = { { .fd = fd, .events = POLLIN },
			      { .fd = l->wake_fd, .events = POLLIN } };
	uint64_t n;

	if (l->pcap && fd < 0 && ms > BUFFER_MS)
		ms = BUFFER_MS; /* there is nothing to wait for */
	if (poll(p, 2, ms) > 0 && p[1].revents && read(l->wake_fd, &n, sizeof(n)) < 0)
		log_debug("%s: %s", l->is.interface, ht_strerror(-errno));
}

/* From now on nothing passes. Past libpcap, which would filter what lies in its buffer, too; where
 * there is no socket, what comes is taken to the end of the second. */
static void shut(const struct pcap_live *l)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K, .k = 0 };
	struct sock_fprog program = { .len = 1, .filter = &nothing };

	if (setsockopt(pcap_fileno(l->pcap), SOL_SOCKET, SO_ATTACH_FILTER, &program,
		       sizeof(program)) < 0)
		log_debug("%s: %s", l->is.interface, ht_strerror(-errno));
}

static void read_the_rest(struct pcap_live *l)
{
	uint64_t until = clock_mono_us() + LAST_READ_US;

	if (!l->pcap)
		return;
	shut(l);
	for (int quiet = 0; quiet < QUIET_TURNS && clock_mono_us() < until; quiet++) {
		if (batch_take(l) > 0)
			quiet = -1;
		else
			wait_for_more(l, BUFFER_MS);
	}
	statistics_take(l);
}

void pcap_live_run(struct pcap_live *l, const struct source_ops *ops, void *ctx,
		   struct packet_counters *counters)
{
	uint64_t look_us = 0;

	l->ops = ops;
	l->ctx = ctx;
	l->counters = counters;
	while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
		int n = batch_take(l);
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
	read_the_rest(l);
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
	err = l->wake_fd < 0 ? -errno : handle_open(l, why);
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
	handle_close(l);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	free(l);
}
