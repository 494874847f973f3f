/*
 * Any bytes as a capture file: frames lie within it, they come to no more than it has, and what
 * batches they come in makes no difference.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/pcap_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t frames, octets, hash;
	int open;
};

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct sum *s = ctx;

	(void)wall_us;
	(void)mono_us;
	assert(s->open++ == 0);
}

static void on_frame(void *ctx, const struct captured *c)
{
	struct sum *s = ctx;

	assert(s->open == 1 && c->bytes.len <= PCAP_FILE_FRAME_MOST && !c->has_vlan);
	s->frames++;
	s->octets += c->bytes.len;
	for (uint32_t i = 0; i < c->bytes.len; i++)
		s->hash = s->hash * 31 + c->bytes.at[i];
	s->hash = s->hash * 31 + c->ts_us + c->wire_len + c->link;
}

static void on_end(void *ctx)
{
	struct sum *s = ctx;

	assert(s->open-- == 1);
}

static const struct source_ops ops = { .begin = on_begin, .frame = on_frame, .end = on_end };

static int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0);
	assert(write(fd, data, size) == (ssize_t)size);
	assert(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static int read_all(const uint8_t *data, size_t size, unsigned most, struct sum *s)
{
	struct pcap_file *f;
	int n = pcap_file_open_fd(&f, file_of(data, size)), before;

	*s = (struct sum){ 0 };
	if (n == HT_EPCAP)
		assert(pcap_file_why(f)[0]);
	while (n >= 0) {
		before = n;
		n = pcap_file_batch(f, &ops, s, most);
		assert(n <= (int)most && pcap_file_position(f) <= size);
		assert(n != HT_EPCAP || pcap_file_why(f)[0]);
		if (n == 0 && before == 0)
			break; /* the end stays the end */
	}
	assert(n == 0 || n == HT_EPCAP);
	assert(s->octets <= size && s->open == 0);
	pcap_file_close(f);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum one, many;

	assert(read_all(data, size, 1, &one) == read_all(data, size, 64, &many));
	assert(one.frames == many.frames && one.octets == many.octets && one.hash == many.hash);
	return 0;
}
