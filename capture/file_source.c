/* Batches while there is room; in between the worker is tended, and the order to stop is looked
 * for. */
#include "capture/file_source.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "capture/bpf.h"
#include "capture/packets.h"
#include "capture/pcap_file.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/log.h"

#define FRAMES_A_BATCH 512
#define ROOM_MS	       2  /* without room, and not stopped, it is looked again so soon */
#define TEND_MS	       20 /* the worker is tended so often when nothing comes */
#define FILTERS_MOST   16 /* link types of which a filter is kept */

/* The user's filter, for frames of one link type. */
struct filter {
	uint16_t link;
	struct sock_fprog program; /* filter NULL: it cannot be compiled for them, none is taken */
};

struct file_source {
	struct file_source_options is;
	struct filter filters[FILTERS_MOST];
	unsigned filter_count;
	struct pcap_file *file; /* that is read */
	const char *name;
	uint64_t next, first; /* numbers of frames */
	uint64_t oldest_us;
	_Atomic bool stop;
	_Atomic bool is_patient; /* the worker waits for room */
	int wake_fd;
};

/* ---- filters ---- */

static void filter_make(const struct file_source *f, struct filter *out, uint16_t link)
{
	struct bpf_wish wish = { .expression = f->is.bpf, .dlt = link };
	char why[WHY_BYTES];

	*out = (struct filter){ .link = link };
	if (bpf_make(&out->program, &wish, why) < 0) {
		out->program = (struct sock_fprog){ 0 };
		log_warning("%s: packet %" PRIu64
			    ": the filter cannot be compiled for link type %u: %s; "
			    "no packet of this kind is taken",
			    f->name, f->next, link, why);
	}
}

/* Without a place for one more kind the last one gives its own. */
static const struct filter *filter_of(struct file_source *f, uint16_t link)
{
	struct filter *last;

	for (unsigned i = 0; i < f->filter_count; i++)
		if (f->filters[i].link == link)
			return &f->filters[i];
	if (f->filter_count < FILTERS_MOST)
		f->filter_count++;
	last = &f->filters[f->filter_count - 1];
	bpf_free(&last->program);
	filter_make(f, last, link);
	return last;
}

static void take(struct file_source *f, const struct captured *c)
{
	if (f->is.bpf[0] && !bpf_takes(&filter_of(f, c->link)->program, c)) {
		packets_filtered(f->is.packets);
		return;
	}
	packets_file_ops.frame(f->is.packets, c);
	if (c->ts_us && c->ts_us < f->oldest_us)
		f->oldest_us = c->ts_us;
}

/* ---- what the reader of files calls ---- */

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct file_source *f = ctx;

	packets_file_ops.begin(f->is.packets, wall_us, mono_us);
}

static void on_frame(void *ctx, const struct captured *c)
{
	struct file_source *f = ctx;

	if (f->next >= f->first)
		take(f, c);
	f->next++;
}

static void on_end(void *ctx)
{
	struct file_source *f = ctx;

	packets_file_ops.end(f->is.packets);
}

static const struct source_ops ops = { .begin = on_begin, .frame = on_frame, .end = on_end };

/* ---- reading ---- */

static void pause_ms(struct file_source *f, int ms)
{
	struct pollfd p = { .fd = f->wake_fd, .events = POLLIN };

	(void)poll(&p, 1, ms); /* interrupted: somebody looks again anyway */
}

static void tend(struct file_source *f)
{
	(void)packets_file_ops.tend(f->is.packets, clock_mono_us());
	if (f->is.tell)
		f->is.tell(f->is.ctx, f);
}

/* @return frames; 0 at the end; an error. -EINTR: nothing came, or there is no room. */
static int batch_read(struct file_source *f)
{
	if (!f->is.worker || worker_has_room(f->is.worker))
		return pcap_file_batch(f->file, &ops, f, FRAMES_A_BATCH);
	pause_ms(f, ROOM_MS);
	return -EINTR;
}

int file_source_read(struct file_source *f, struct pcap_file *file, const char *name,
		     uint64_t first)
{
	int n = -EINTR;

	f->file = file;
	f->name = name;
	f->next = 1;
	f->first = first;
	pcap_file_wait(file, f->wake_fd, TEND_MS);
	while (n > 0 || n == -EINTR) {
		if (atomic_load(&f->stop))
			return HT_ESTOP;
		n = batch_read(f);
		tend(f);
	}
	return n == 0 && *pcap_file_why(file) ? HT_EPCAP : n; /* it ends within a packet */
}

uint64_t file_source_next(const struct file_source *f)
{
	return f->next;
}

uint64_t file_source_oldest_us(const struct file_source *f)
{
	return f->oldest_us;
}

const struct pcap_file *file_source_file(const struct file_source *f)
{
	return f->file;
}

void file_source_end(struct file_source *f)
{
	packets_drain(f->is.packets);
	while (f->is.worker && !worker_flush(f->is.worker) && atomic_load(&f->is_patient)) {
		poll(NULL, 0, ROOM_MS);
		(void)packets_file_ops.tend(f->is.packets, clock_mono_us());
	}
}

/* ---- in a server ---- */

static void result_log(const struct file_source *f, int err)
{
	uint64_t packets = f->next - 1, octet = pcap_file_position(f->file);

	if (err == HT_OK)
		log_info("%s: read to its end: %" PRIu64 " packets", f->name, packets);
	else if (err == HT_ESTOP)
		log_warning("%s: stopped before packet %" PRIu64 ", at octet %" PRIu64
			    " of %" PRIu64,
			    f->name, f->next, octet, pcap_file_size(f->file));
	else
		log_error("%s: packet %" PRIu64 ": %s; the %" PRIu64 " before it are taken",
			  f->name, f->next,
			  err == HT_EPCAP ? pcap_file_why(f->file) : ht_strerror(err), packets);
}

void file_source_run(struct file_source *f, struct pcap_file *file, const char *name)
{
	int err = file_source_read(f, file, name, 1);

	packets_drain(f->is.packets);
	result_log(f, err);
	while (!atomic_load(&f->stop)) {
		tend(f);
		pause_ms(f, TEND_MS);
	}
}

void file_source_stop(struct file_source *f)
{
	uint64_t one = 1;

	atomic_store(&f->stop, true);
	(void)!write(f->wake_fd, &one, sizeof(one)); /* it is readable already if this fails */
}

void file_source_give_up(struct file_source *f)
{
	atomic_store(&f->is_patient, false);
	file_source_stop(f);
}

/* ---- life ---- */

int file_source_new(struct file_source **out, const struct file_source_options *options)
{
	struct file_source *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->is = *options;
	f->next = 1;
	f->oldest_us = UINT64_MAX;
	f->is_patient = true;
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake_fd < 0) {
		free(f);
		return -errno;
	}
	if (options->worker)
		worker_wait_for_blocks(options->worker, &f->is_patient);
	*out = f;
	return HT_OK;
}

void file_source_free(struct file_source *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->filter_count; i++)
		bpf_free(&f->filters[i].program);
	close(f->wake_fd);
	free(f);
}
