/*
 * A buffer over read(2), and the two formats on it. Nothing is consumed before it is whole, so a
 * record that has to wait for more of a pipe is simply looked at again.
 */
#include "capture/pcap_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/clock.h"
#include "hep/cursor.h"

#define BUFFER_BYTES	(1U << 20) /* of a pcapng block that means something to us, too */
#define INTERFACES_MOST 65536
#define WHY_BYTES	160
#define US_PER_S	1000000

#define MAGIC_US       0xa1b2c3d4
#define MAGIC_NS       0xa1b23c4d
#define MAGIC_MODIFIED 0xa1b2cd34
#define MAGIC_SECTION  0x0a0d0d0a
#define BYTE_ORDER_NG  0x1a2b3c4d

enum { BLOCK_INTERFACE = 1, BLOCK_PACKET = 2, BLOCK_SIMPLE = 3, BLOCK_ENHANCED = 6 };
enum { OPTION_END = 0, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };
enum { STEP_FRAME = 1, STEP_OTHER = 2 }; /* what a step came to, if it is no error */

struct interface {
	uint16_t linktype;
	uint8_t resolution; /* as in the file: power of ten, or of two with the highest bit */
	uint32_t snap;	    /* 0: any */
	int64_t offset_s;   /* to be added to times */
};

struct pcap_file {
	int fd;
	bool is_eof, is_ng, is_little, is_regular;
	int wake_fd, wait_ms; /* of a pipe; wake_fd -1: no read is waited for with others */
	uint64_t size;
	uint8_t *buf;
	size_t begin, end; /* of what is in the buffer; begin <= end <= BUFFER_BYTES */
	uint64_t at;	   /* place of `begin` in the file */
	uint64_t skip;	   /* octets from `begin` on that mean nothing to us */
	bool is_in_batch;  /* frames are waiting for the end of their batch: no read may block */
	char why[WHY_BYTES];

	/* pcap */
	bool is_nano;
	uint32_t record_header;
	uint16_t minor, linktype;
	/* pcapng, of the section */
	struct interface *interfaces;
	size_t interface_count, interface_room;
};

/* ---- bytes ---- */

static size_t left_in(const struct pcap_file *f)
{
	return f->end - f->begin;
}

static void consume(struct pcap_file *f, size_t n)
{
	f->begin += n;
	f->at += n;
}

static int pipe_wait(const struct pcap_file *f)
{
	struct pollfd p[] = { { .fd = f->fd, .events = POLLIN },
			      { .fd = f->wake_fd, .events = POLLIN } };
	int n;

	if (f->is_regular || f->wake_fd < 0)
		return HT_OK;
	n = poll(p, 2, f->wait_ms);
	return n < 0 ? -errno : p[0].revents && !p[1].revents ? HT_OK : -EINTR;
}

static int fill(struct pcap_file *f)
{
	ssize_t n;
	int err;

	if (f->begin) {
		memmove(f->buf, f->buf + f->begin, left_in(f));
		f->end -= f->begin;
		f->begin = 0;
	}
	err = pipe_wait(f);
	if (err < 0)
		return err;
	n = read(f->fd, f->buf + f->end, BUFFER_BYTES - f->end);
	if (n < 0)
		return -errno;
	f->is_eof = n == 0;
	f->end += (size_t)n;
	return HT_OK;
}

/*
 * Have @p n octets in the buffer, at most BUFFER_BYTES. @return HT_OK, HT_ESHORT if the file ends
 * before, -EAGAIN if a batch should end first, -errno.
 */
static int need(struct pcap_file *f, size_t n)
{
	int err = HT_OK;

	while (left_in(f) < n && err == HT_OK) {
		if (f->is_eof)
			return HT_ESHORT;
		err = f->is_in_batch ? -EAGAIN : fill(f);
	}
	return err;
}

static int skip_rest(struct pcap_file *f)
{
	int err = HT_OK;

	while (f->skip && err == HT_OK) {
		size_t n = f->skip < left_in(f) ? (size_t)f->skip : left_in(f);

		consume(f, n);
		f->skip -= n;
		if (f->skip)
			err = need(f, 1);
	}
	return err;
}

static int damaged(struct pcap_file *f, const char *what)
{
	snprintf(f->why, sizeof(f->why), "%s at octet %" PRIu64, what, f->at);
	return HT_EPCAP;
}

static uint16_t u16(const struct pcap_file *f, struct cursor *c)
{
	return f->is_little ? cursor_u16_le(c) : cursor_u16_be(c);
}

static uint32_t u32(const struct pcap_file *f, struct cursor *c)
{
	return f->is_little ? cursor_u32_le(c) : cursor_u32_be(c);
}

/* The few link types whose number in files is not the one that programs use. */
static uint16_t link_of(uint16_t linktype)
{
	static const struct {
		uint16_t linktype, link;
	} others[] = { { 100, 11 }, { 101, 12 }, { 102, 15 }, { 103, 16 } };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (others[i].linktype == linktype)
			return others[i].link;
	}
	return linktype;
}

/* ---- pcap ---- */

static int classic_begin(struct pcap_file *f, uint32_t magic)
{
	struct cursor c;
	int err = need(f, 24);

	if (err < 0)
		return err == HT_ESHORT ? damaged(f, "ends within its header") : err;
	c = cursor_over(f->buf, 24);
	cursor_take(&c, 4);
	if (u16(f, &c) != 2)
		return damaged(f, "a version of pcap other than 2");
	f->minor = u16(f, &c);
	cursor_take(&c, 12); /* zone, accuracy, snap length */
	f->linktype = (uint16_t)u32(f, &c);
	f->is_nano = magic == MAGIC_NS;
	f->record_header = magic == MAGIC_MODIFIED ? 24 : 16;
	consume(f, 24);
	return HT_OK;
}

/* Before version 2.3 the two lengths were the other way round, and in 2.3 with some writers. */
static bool lengths_are_swapped(const struct pcap_file *f, const struct captured *c)
{
	return f->minor < 3 || (f->minor == 3 && c->bytes.len > c->wire_len);
}

static int classic_step(struct pcap_file *f, struct captured *out)
{
	struct cursor c;
	uint32_t sec, fraction;
	int err = need(f, f->record_header);

	if (err < 0)
		return err;
	c = cursor_over(f->buf + f->begin, f->record_header);
	sec = u32(f, &c);
	fraction = u32(f, &c);
	*out = (struct captured){ .link = link_of(f->linktype) };
	out->bytes.len = u32(f, &c);
	out->wire_len = u32(f, &c);
	if (lengths_are_swapped(f, out)) {
		uint32_t len = out->wire_len;

		out->wire_len = out->bytes.len;
		out->bytes.len = len;
	}
	if (out->bytes.len > PCAP_FILE_FRAME_MOST)
		return damaged(f, "a packet of impossible length");
	out->ts_us = (uint64_t)sec * US_PER_S + (f->is_nano ? fraction / 1000 : fraction);
	err = need(f, f->record_header + out->bytes.len);
	if (err < 0)
		return err;
	out->bytes.at = f->buf + f->begin + f->record_header;
	consume(f, f->record_header + out->bytes.len);
	return STEP_FRAME;
}

/* ---- pcapng ---- */

static bool is_known(uint32_t block)
{
	return block == MAGIC_SECTION || block == BLOCK_INTERFACE || block == BLOCK_PACKET ||
	       block == BLOCK_SIMPLE || block == BLOCK_ENHANCED;
}

static int section_begin(struct pcap_file *f, struct cursor *body)
{
	cursor_take(body, 4);
	if (u16(f, body) != 1 || body->failed)
		return damaged(f, "a version of pcapng other than 1");
	f->interface_count = 0;
	return STEP_OTHER;
}

static void interface_option(struct pcap_file *f, struct interface *i, uint16_t code, struct view v)
{
	struct cursor c = cursor_over_view(v);
	uint32_t first, second;

	if (code == OPTION_TSRESOL && v.len == 1)
		i->resolution = cursor_u8(&c);
	if (code != OPTION_TSOFFSET || v.len != 8)
		return;
	first = u32(f, &c);
	second = u32(f, &c);
	i->offset_s = (int64_t)(f->is_little ? (uint64_t)second << 32 | first
					     : (uint64_t)first << 32 | second);
}

static int interface_room(struct pcap_file *f)
{
	size_t room = f->interface_room ? 2 * f->interface_room : 16;
	struct interface *more;

	if (f->interface_count < f->interface_room)
		return HT_OK;
	if (f->interface_count >= INTERFACES_MOST)
		return damaged(f, "more than 65536 interfaces");
	more = realloc(f->interfaces, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	f->interfaces = more;
	f->interface_room = room;
	return HT_OK;
}

static int interface_add(struct pcap_file *f, struct cursor *body)
{
	struct interface i = { .linktype = u16(f, body), .resolution = 6 };
	int err = interface_room(f);

	if (err < 0)
		return err;
	cursor_take(body, 2);
	i.snap = u32(f, body);
	while (cursor_left(body) >= 4) {
		uint16_t code = u16(f, body), len = u16(f, body);
		struct view v = cursor_view(body, len);

		if (code == OPTION_END || body->failed)
			break;
		interface_option(f, &i, code, v);
		cursor_take(body, (4 - len % 4) % 4);
	}
	if (body->failed)
		return damaged(f, "an interface that does not fit its block");
	f->interfaces[f->interface_count++] = i;
	return STEP_OTHER;
}

/* Both factors and the sum fit 128 bits; what cannot be a time becomes the nearest that can. */
static uint64_t time_us(const struct interface *i, uint64_t ticks)
{
	unsigned power = i->resolution & 0x7f;
	__int128 us = (__int128)ticks * US_PER_S;

	if (i->resolution & 0x80) {
		us = us >> power;
	} else {
		for (; power > 0 && us; power--)
			us /= 10;
	}
	us += (__int128)i->offset_s * US_PER_S;
	return us < 0 ? 0 : us > (__int128)UINT64_MAX ? UINT64_MAX : (uint64_t)us;
}

/* The lengths of the frame are in @p out, its bytes come next. */
static int frame_of(struct pcap_file *f, size_t interface, struct cursor *body,
		    struct captured *out)
{
	if (interface >= f->interface_count)
		return damaged(f, "a packet of no interface");
	out->link = link_of(f->interfaces[interface].linktype);
	out->bytes.at = cursor_take(body, out->bytes.len);
	if (body->failed || out->bytes.len > PCAP_FILE_FRAME_MOST)
		return damaged(f, "a packet of impossible length");
	return STEP_FRAME;
}

static int packet(struct pcap_file *f, size_t interface, struct cursor *body, struct captured *out)
{
	uint64_t ticks = (uint64_t)u32(f, body) << 32;
	int err;

	ticks |= u32(f, body);
	out->bytes.len = u32(f, body);
	out->wire_len = u32(f, body);
	err = frame_of(f, interface, body, out);
	if (err == STEP_FRAME)
		out->ts_us = time_us(&f->interfaces[interface], ticks);
	return err;
}

/* It does not say its time, nor how much there is of it: as much as the interface takes. */
static int simple_packet(struct pcap_file *f, struct cursor *body, struct captured *out)
{
	out->wire_len = u32(f, body);
	out->bytes.len = out->wire_len;
	if (f->interface_count && f->interfaces[0].snap && out->bytes.len > f->interfaces[0].snap)
		out->bytes.len = f->interfaces[0].snap;
	return frame_of(f, 0, body, out);
}

static int block_read(struct pcap_file *f, uint32_t type, struct cursor *body, struct captured *out)
{
	size_t interface;

	*out = (struct captured){ 0 };
	switch (type) {
	case MAGIC_SECTION:
		return section_begin(f, body);
	case BLOCK_INTERFACE:
		return interface_add(f, body);
	case BLOCK_PACKET:
		interface = u16(f, body);
		cursor_take(body, 2); /* drops */
		return packet(f, interface, body, out);
	case BLOCK_SIMPLE:
		return simple_packet(f, body, out);
	default:
		interface = u32(f, body);
		return packet(f, interface, body, out);
	}
}

/* The byte order of a section is in it; what is before it reads the same in both. */
static int byte_order_find(struct pcap_file *f, struct cursor c)
{
	uint32_t order;

	cursor_take(&c, 8);
	order = cursor_u32_be(&c);
	if (order != BYTE_ORDER_NG && order != __builtin_bswap32(BYTE_ORDER_NG))
		return damaged(f, "a section of no byte order");
	f->is_little = order != BYTE_ORDER_NG;
	return HT_OK;
}

static int ng_step(struct pcap_file *f, struct captured *out)
{
	struct cursor c, body, end;
	uint32_t type, len;
	int err = need(f, 12);

	if (err < 0)
		return err;
	c = cursor_over(f->buf + f->begin, 12);
	type = u32(f, &c);
	if (type == MAGIC_SECTION && byte_order_find(f, cursor_over(f->buf + f->begin, 12)) < 0)
		return HT_EPCAP;
	len = u32(f, &c);
	if (len < 12 || len % 4 || (is_known(type) && len > BUFFER_BYTES))
		return damaged(f, "a block of impossible length");
	if (!is_known(type)) {
		f->skip = len;
		return STEP_OTHER;
	}
	err = need(f, len);
	if (err < 0)
		return err;
	body = cursor_over(f->buf + f->begin + 8, len - 12);
	end = cursor_over(f->buf + f->begin + len - 4, 4);
	if (u32(f, &end) != len)
		return damaged(f, "a block whose two lengths differ");
	err = block_read(f, type, &body, out);
	if (err > 0)
		consume(f, len);
	return err;
}

/* ---- batches ---- */

/* @return STEP_FRAME; HT_ESHORT at the end, with `why` if that is not where it should be; others.
 */
static int next_frame(struct pcap_file *f, struct captured *out)
{
	int step = STEP_OTHER;

	while (step == STEP_OTHER) {
		step = skip_rest(f);
		if (step == HT_OK)
			step = f->is_ng ? ng_step(f, out) : classic_step(f, out);
	}
	if (step == HT_ESHORT && (left_in(f) || f->skip))
		(void)damaged(f, f->skip ? "ends within a block" : "ends within a packet");
	return step;
}

int pcap_file_batch(struct pcap_file *f, const struct source_ops *ops, void *ctx, unsigned most)
{
	struct captured c;
	unsigned given = 0;
	int err = HT_OK;

	f->why[0] = '\0';
	while (given < most) {
		err = next_frame(f, &c);
		if (err != STEP_FRAME)
			break;
		if (given++ == 0)
			ops->begin(ctx, clock_wall_us(), clock_mono_us());
		f->is_in_batch = true;
		ops->frame(ctx, &c);
	}
	f->is_in_batch = false;
	if (given == 0)
		return err == HT_ESHORT ? 0 : err;
	f->why[0] = '\0'; /* the next call comes to it again */
	ops->end(ctx);
	return (int)given;
}

const char *pcap_file_why(const struct pcap_file *f)
{
	return f->why;
}

void pcap_file_wait(struct pcap_file *f, int wake_fd, int wait_ms)
{
	f->wake_fd = wake_fd;
	f->wait_ms = wait_ms;
}

uint64_t pcap_file_position(const struct pcap_file *f)
{
	return f->at;
}

uint64_t pcap_file_size(const struct pcap_file *f)
{
	return f->size;
}

/* ---- life ---- */

static int refuse(struct pcap_file *f, uint32_t magic)
{
	const char *why = "not a capture file (pcap or pcapng)";

	if (f->end == 0)
		why = "empty";
	else if (magic >> 16 == 0x1f8b || magic == 0x28b52ffd || magic == 0xfd377a58)
		why = "compressed; unpack it first, or into a pipe";
	snprintf(f->why, sizeof(f->why), "%s", why);
	return HT_EPCAP;
}

static int header_read(struct pcap_file *f)
{
	struct cursor c;
	uint32_t magic, other;
	int err;

	err = need(f, 4);
	if (err < 0 && err != HT_ESHORT)
		return err;
	c = cursor_over(f->buf, f->end);
	magic = cursor_u32_be(&c);
	other = __builtin_bswap32(magic);
	f->is_ng = magic == MAGIC_SECTION;
	if (f->is_ng) {
		/* The first step reads it; here only that it is one. */
		err = need(f, 12);
		if (err == HT_OK)
			return byte_order_find(f, cursor_over(f->buf, 12));
		return err == HT_ESHORT ? damaged(f, "ends within its header") : err;
	}
	if (magic == MAGIC_US || magic == MAGIC_NS || magic == MAGIC_MODIFIED)
		return classic_begin(f, magic);
	f->is_little = true;
	if (other == MAGIC_US || other == MAGIC_NS || other == MAGIC_MODIFIED)
		return classic_begin(f, other);
	return refuse(f, magic);
}

int pcap_file_open_fd(struct pcap_file **out, int fd)
{
	struct pcap_file *f = calloc(1, sizeof(*f));
	struct stat st;
	int err = HT_OK;

	*out = NULL;
	if (f)
		f->buf = malloc(BUFFER_BYTES);
	if (!f || !f->buf) {
		free(f);
		close(fd);
		return -ENOMEM;
	}
	f->fd = fd;
	f->wake_fd = -1;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else
		f->is_regular = S_ISREG(st.st_mode);
	if (f->is_regular)
		f->size = (uint64_t)st.st_size;
	if (err == HT_OK)
		err = header_read(f);
	if (err < 0 && err != HT_EPCAP) {
		pcap_file_close(f);
		return err;
	}
	*out = f;
	return err;
}

int pcap_file_open(struct pcap_file **out, const char *name)
{
	int fd = strcmp(name, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
					: open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	*out = NULL;
	return fd < 0 ? -errno : pcap_file_open_fd(out, fd);
}

void pcap_file_close(struct pcap_file *f)
{
	if (!f)
		return;
	close(f->fd);
	free(f->interfaces);
	free(f->buf);
	free(f);
}
