/*
 * capture/pcap_file.c against libpcap, frame by frame, over captures of real senders and what can
 * be made of them. Runs from the root of the sources.
 */
#include "capture/pcap_file.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXTURES    "tests/fixtures/sip"
#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define FRAMES_MOST 4096

/* ---- what was seen ---- */

struct seen {
	size_t count, batches;
	bool is_in_batch;
	struct captured at[FRAMES_MOST];
};

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct seen *s = ctx;

	ck_assert(!s->is_in_batch && wall_us && mono_us);
	s->is_in_batch = true;
	s->batches++;
}

static void on_frame(void *ctx, const struct captured *c)
{
	struct seen *s = ctx;
	uint8_t *copy = malloc(c->bytes.len + 1);

	ck_assert(s->is_in_batch);
	ck_assert_uint_lt(s->count, FRAMES_MOST);
	memcpy(copy, c->bytes.at, c->bytes.len);
	s->at[s->count] = *c;
	s->at[s->count++].bytes.at = copy;
}

static void on_end(void *ctx)
{
	struct seen *s = ctx;

	ck_assert(s->is_in_batch);
	s->is_in_batch = false;
}

static const struct source_ops ops = { .begin = on_begin, .frame = on_frame, .end = on_end };

static void seen_free(struct seen *s)
{
	for (size_t i = 0; i < s->count; i++)
		free((void *)(uintptr_t)s->at[i].bytes.at);
	free(s);
}

/* All that a file has. *end is what the last call returned, the reason is copied to @p why. */
static struct seen *read_all(struct pcap_file *f, unsigned most, int *end, char why[256])
{
	struct seen *s = calloc(1, sizeof(*s));
	int n = 1;

	while (n > 0) {
		n = pcap_file_batch(f, &ops, s, most);
		ck_assert_int_le(n, (int)most);
	}
	ck_assert(!s->is_in_batch);
	*end = n;
	snprintf(why, 256, "%s", pcap_file_why(f));
	return s;
}

static int memory_file(const void *bytes, size_t len)
{
	int fd = memfd_create("pcap", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static struct seen *read_bytes(const void *bytes, size_t len, int *end, char why[256])
{
	struct pcap_file *f;
	struct seen *s;

	ck_assert_int_eq(pcap_file_open_fd(&f, memory_file(bytes, len)), HT_OK);
	ck_assert_uint_eq(pcap_file_size(f), len);
	s = read_all(f, 7, end, why);
	ck_assert_uint_le(pcap_file_position(f), len);
	if (*end == 0 && !why[0])
		ck_assert_uint_eq(pcap_file_position(f), len);
	pcap_file_close(f);
	return s;
}

/* ---- files of real senders ---- */

struct fixture {
	char name[300];
	uint8_t *bytes;
	size_t len;
};

static void load(struct fixture *x)
{
	FILE *f = fopen(x->name, "rb");

	ck_assert_msg(f != NULL, "%s: run this from the root of the sources", x->name);
	x->bytes = malloc(1 << 20);
	x->len = fread(x->bytes, 1, 1 << 20, f);
	ck_assert_uint_lt(x->len, 1 << 20);
	fclose(f);
}

static int is_capture(const struct dirent *d)
{
	return strstr(d->d_name, ".pcap") != NULL;
}

static int fixture_count(void)
{
	struct dirent **all;
	int n = scandir(FIXTURES, &all, is_capture, alphasort);

	for (int i = 0; i < n; i++)
		free(all[i]);
	if (n >= 0)
		free(all);
	return n < 0 ? 0 : n;
}

static struct fixture fixture(int number)
{
	struct fixture x = { 0 };
	struct dirent **all;
	int n = scandir(FIXTURES, &all, is_capture, alphasort);

	for (int i = 0; i < n; i++) {
		if (number-- == 0)
			snprintf(x.name, sizeof(x.name), FIXTURES "/%s", all[i]->d_name);
		free(all[i]);
	}
	free(all);
	load(&x);
	return x;
}

static struct fixture fixture_named(const char *name)
{
	struct fixture x = { 0 };

	snprintf(x.name, sizeof(x.name), FIXTURES "/%s", name);
	load(&x);
	return x;
}

/* libpcap reads the same bytes. */
static void check_against_libpcap(const void *bytes, size_t len, const struct seen *s)
{
	char error[PCAP_ERRBUF_SIZE];
	FILE *file = fdopen(memory_file(bytes, len), "rb");
	pcap_t *p = pcap_fopen_offline(file, error);
	struct pcap_pkthdr *h;
	const u_char *data;
	size_t i = 0;

	ck_assert_msg(p != NULL, "%s", error);
	while (pcap_next_ex(p, &h, &data) == 1) {
		const struct captured *c = &s->at[i++];

		ck_assert_uint_le(i, s->count);
		ck_assert_int_eq(c->link, pcap_datalink(p));
		ck_assert_uint_eq(c->bytes.len, h->caplen);
		ck_assert_uint_eq(c->wire_len, h->len);
		ck_assert_mem_eq(c->bytes.at, data, h->caplen);
		ck_assert_uint_eq(c->ts_us,
				  (uint64_t)h->ts.tv_sec * 1000000 + (uint64_t)h->ts.tv_usec);
		ck_assert(!c->has_vlan);
	}
	ck_assert_uint_eq(i, s->count);
	pcap_close(p);
}

static void check_same(const struct seen *a, const struct seen *b)
{
	ck_assert_uint_eq(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		ck_assert_uint_eq(a->at[i].bytes.len, b->at[i].bytes.len);
		ck_assert_uint_eq(a->at[i].wire_len, b->at[i].wire_len);
		ck_assert_uint_eq(a->at[i].ts_us, b->at[i].ts_us);
		ck_assert_int_eq(a->at[i].link, b->at[i].link);
		ck_assert_mem_eq(a->at[i].bytes.at, b->at[i].bytes.at, a->at[i].bytes.len);
	}
}

START_TEST(frames_are_those_of_libpcap)
{
	struct fixture x = fixture(_i);
	struct pcap_file *f;
	struct seen *s;
	char why[256];
	int end;

	ck_assert_int_eq(pcap_file_open(&f, x.name), HT_OK);
	ck_assert_uint_eq(pcap_file_size(f), x.len);
	s = read_all(f, 64, &end, why);
	ck_assert_int_eq(end, 0);
	ck_assert_str_eq(why, "");
	ck_assert_uint_gt(s->count, 0);
	ck_assert_uint_eq(pcap_file_position(f), x.len);
	check_against_libpcap(x.bytes, x.len, s);
	pcap_file_close(f);
	seen_free(s);
	free(x.bytes);
}
END_TEST

/* A pipe gives what it likes at a time. */
START_TEST(pipe_gives_the_same_as_the_file)
{
	struct fixture x = fixture(_i);
	size_t sizes[] = { 1, 3, 7, 16, 24, 1000, 4096, 65536 }, done = 0;
	struct seen *whole, *piped;
	struct pcap_file *f;
	char why[256];
	int fds[2], end, status;
	pid_t child;

	whole = read_bytes(x.bytes, x.len, &end, why);
	ck_assert_int_eq(pipe(fds), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		close(fds[0]);
		for (size_t i = 0; done < x.len; i++) {
			size_t n = sizes[i % 8] < x.len - done ? sizes[i % 8] : x.len - done;

			if (write(fds[1], x.bytes + done, n) != (ssize_t)n)
				_exit(1);
			done += n;
		}
		_exit(0);
	}
	close(fds[1]);
	ck_assert_int_eq(pcap_file_open_fd(&f, fds[0]), HT_OK);
	ck_assert_uint_eq(pcap_file_size(f), 0);
	piped = read_all(f, 1000, &end, why);
	ck_assert_int_eq(end, 0);
	ck_assert_str_eq(why, "");
	check_same(piped, whole);
	pcap_file_close(f);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	seen_free(whole);
	seen_free(piped);
	free(x.bytes);
}
END_TEST

/* A frame is given before the one behind it has come. */
START_TEST(frame_in_a_pipe_does_not_wait)
{
	struct fixture x = fixture_named("direct-udp.pcap");
	struct seen *s = calloc(1, sizeof(*s));
	struct pcap_file *f;
	int fds[2];
	uint32_t len;

	memcpy(&len, x.bytes + 24 + 8, 4);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], x.bytes, 24 + 16 + len + 5), 24 + 16 + len + 5);
	ck_assert_int_eq(pcap_file_open_fd(&f, fds[0]), HT_OK);
	ck_assert_int_eq(pcap_file_batch(f, &ops, s, 100), 1);
	ck_assert_str_eq(pcap_file_why(f), "");
	ck_assert_uint_eq(s->at[0].bytes.len, len);
	close(fds[1]);
	ck_assert_int_eq(pcap_file_batch(f, &ops, s, 100), 0);
	ck_assert_str_ne(pcap_file_why(f), "");
	pcap_file_close(f);
	seen_free(s);
	free(x.bytes);
}
END_TEST

/* Whoever reads it can look after other things while nothing comes. */
START_TEST(pipe_is_waited_for_no_longer_than_asked)
{
	struct fixture x = fixture_named("direct-udp.pcap");
	struct seen *s = calloc(1, sizeof(*s));
	int fds[2], wake = eventfd(0, EFD_CLOEXEC);
	struct pcap_file *f;
	uint32_t len;

	memcpy(&len, x.bytes + 24 + 8, 4);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], x.bytes, 24 + 10), 24 + 10);
	ck_assert_int_eq(pcap_file_open_fd(&f, fds[0]), HT_OK);
	pcap_file_wait(f, wake, 1);
	ck_assert_int_eq(pcap_file_batch(f, &ops, s, 100), -EINTR);
	pcap_file_wait(f, wake, 60000);
	ck_assert_int_eq(write(fds[1], x.bytes + 24 + 10, 6 + len), (ssize_t)(6 + len));
	ck_assert_int_eq(pcap_file_batch(f, &ops, s, 100), 1);
	ck_assert_uint_eq(s->at[0].bytes.len, len);
	ck_assert_int_eq(eventfd_write(wake, 1), 0);
	ck_assert_int_eq(pcap_file_batch(f, &ops, s, 100), -EINTR);
	pcap_file_close(f);
	close(fds[1]);
	close(wake);
	seen_free(s);
	free(x.bytes);
}
END_TEST

/* ---- the kinds of pcap ---- */

/* Every field of a little-endian pcap file becomes one of the other kind. */
static size_t convert(const struct fixture *x, uint32_t magic, bool is_big, uint8_t *out)
{
	bool is_longer = magic == 0xa1b2cd34;
	const uint8_t *at = x->bytes, *end = at + x->len;
	uint8_t *to = out;
	uint32_t v;
	uint16_t h;

#define PUT32(value) \
	(v = (value), v = is_big ? __builtin_bswap32(v) : v, memcpy(to, &v, 4), to += 4)
#define GET32(from) (memcpy(&v, from, 4), v)
	PUT32(magic);
	for (int i = 4; i < 8; i += 2) {
		memcpy(&h, at + i, 2);
		h = is_big ? __builtin_bswap16(h) : h;
		memcpy(to, &h, 2);
		to += 2;
	}
	for (int i = 8; i < 24; i += 4)
		PUT32(GET32(at + i));
	for (at += 24; at < end;) {
		uint32_t len = GET32(at + 8);

		PUT32(GET32(at));
		PUT32(GET32(at + 4) * (magic == 0xa1b23c4d ? 1000 : 1));
		PUT32(len);
		PUT32(GET32(at + 12));
		if (is_longer)
			to = mempcpy(to, "\0\0\0\1\0\x08\4\0", 8);
		to = mempcpy(to, at + 16, len);
		at += 16 + len;
	}
	return (size_t)(to - out);
}

static const struct {
	uint32_t magic;
	bool is_big;
} kinds[] = {
	{ 0xa1b2c3d4, false }, { 0xa1b2c3d4, true },  { 0xa1b23c4d, false },
	{ 0xa1b23c4d, true },  { 0xa1b2cd34, false }, { 0xa1b2cd34, true },
};

START_TEST(every_kind_of_pcap_reads_the_same)
{
	struct fixture x = fixture_named("direct-udp.pcap");
	uint8_t *other = malloc(1 << 20);
	size_t len = convert(&x, kinds[_i].magic, kinds[_i].is_big, other);
	struct seen *a, *b;
	char why[256];
	int end;

	a = read_bytes(x.bytes, x.len, &end, why);
	b = read_bytes(other, len, &end, why);
	ck_assert_int_eq(end, 0);
	ck_assert_str_eq(why, "");
	check_same(a, b);
	check_against_libpcap(other, len, b);
	seen_free(a);
	seen_free(b);
	free(other);
	free(x.bytes);
}
END_TEST

/* Before 2.3 the length on the wire stood first. */
START_TEST(lengths_of_old_versions_are_swapped)
{
	static const uint8_t file[] = {
		0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0,	0,   1,	  0,
		0,    0,    1,	  0,	0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0,	0, 'a', 'b', 'c',
	};
	char why[256];
	int end;
	struct seen *s = read_bytes(file, sizeof(file), &end, why);

	ck_assert_uint_eq(s->count, 1);
	ck_assert_uint_eq(s->at[0].bytes.len, 3);
	ck_assert_uint_eq(s->at[0].wire_len, 9);
	ck_assert_uint_eq(s->at[0].ts_us, 1000002);
	check_against_libpcap(file, sizeof(file), s);
	seen_free(s);
}
END_TEST

/* ---- files that are not whole ---- */

/* Wherever it is cut, what was whole comes, and the rest is said to be missing. */
static void check_cut_anywhere(const char *name, size_t header)
{
	struct fixture x = fixture_named(name);
	size_t last = 0, whole_ends = 0;
	char why[256];
	int end;

	for (size_t len = header; len < x.len; len++) {
		struct seen *s = read_bytes(x.bytes, len, &end, why);

		ck_assert_int_eq(end, 0);
		ck_assert_uint_ge(s->count, last);
		ck_assert_uint_le(s->count, last + 1);
		if (!why[0])
			whole_ends++;
		else
			ck_assert_ptr_nonnull(strstr(why, " at octet "));
		last = s->count;
		seen_free(s);
	}
	ck_assert_uint_ge(whole_ends, last);
	ck_assert_uint_ge(last, 3);
	free(x.bytes);
}

START_TEST(pcap_that_is_cut_keeps_what_is_whole)
{
	check_cut_anywhere("sample-sngrep-ipip.pcap", 24);
}
END_TEST

START_TEST(pcapng_that_is_cut_keeps_what_is_whole)
{
	check_cut_anywhere("direct-udp-pcapng.pcapng", 12);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	const char *why;
} refused[] = {
	{ "", 0, "empty" },
	{ "\xa1\xb2\xc3", 3, "not a capture file (pcap or pcapng)" },
	{ "INVITE sip:a@b SIP/2.0\r\n", 24, "not a capture file (pcap or pcapng)" },
	{ "\x1f\x8b\x08\0\0\0\0\0", 8, "compressed; unpack it first, or into a pipe" },
	{ "\xa1\xb2\xc3\xd4\0\2", 6, "ends within its header at octet 0" },
	{ "\x0a\x0d\x0d\x0a\0\0", 6, "ends within its header at octet 0" },
	{ "\xa1\xb2\xc3\xd4\0\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 24,
	  "a version of pcap other than 2 at octet 0" },
	{ "\x0a\x0d\x0d\x0a\0\0\0\x1c\1\2\3\4", 12, "a section of no byte order at octet 0" },
};

START_TEST(what_is_no_capture_file_is_refused)
{
	struct pcap_file *f;

	ck_assert_int_eq(pcap_file_open_fd(&f, memory_file(refused[_i].bytes, refused[_i].len)),
			 HT_EPCAP);
	ck_assert_str_eq(pcap_file_why(f), refused[_i].why);
	pcap_file_close(f);
}
END_TEST

START_TEST(file_that_cannot_be_opened_is_an_error)
{
	struct pcap_file *f;

	ck_assert_int_eq(pcap_file_open(&f, "no/such/file"), -ENOENT);
	ck_assert_ptr_null(f);
	ck_assert_int_eq(pcap_file_open(&f, "capture"), -EISDIR);
	ck_assert_ptr_null(f);
}
END_TEST

START_TEST(record_of_impossible_length_ends_pcap)
{
	struct fixture x = fixture_named("direct-udp.pcap");
	uint32_t first, huge = PCAP_FILE_FRAME_MOST + 1;
	char why[256], expected[256];
	struct seen *s;
	int end;

	memcpy(&first, x.bytes + 24 + 8, 4);
	memcpy(x.bytes + 24 + 16 + first + 8, &huge, 4);
	s = read_bytes(x.bytes, x.len, &end, why);
	ck_assert_int_eq(end, HT_EPCAP);
	ck_assert_uint_eq(s->count, 1);
	snprintf(expected, sizeof(expected), "a packet of impossible length at octet %u",
		 24 + 16 + first);
	ck_assert_str_eq(why, expected);
	seen_free(s);
	free(x.bytes);
}
END_TEST

/* ---- pcapng made by hand ---- */

struct bytes {
	size_t len;
	bool is_big;
	uint8_t at[4 << 20];
};

static void put(struct bytes *b, const void *from, size_t n)
{
	memcpy(b->at + b->len, from, n);
	b->len += n;
}

static void put16(struct bytes *b, unsigned v)
{
	uint16_t h = (uint16_t)v;

	h = b->is_big ? __builtin_bswap16(h) : h;
	put(b, &h, 2);
}

static void put32(struct bytes *b, uint32_t v)
{
	v = b->is_big ? __builtin_bswap32(v) : v;
	put(b, &v, 4);
}

static void block(struct bytes *b, uint32_t type, const struct bytes *body)
{
	uint32_t len = (uint32_t)(body->len + 3) / 4 * 4;

	put32(b, type);
	put32(b, len + 12);
	put(b, body->at, body->len);
	put(b, "\0\0\0", len - body->len);
	put32(b, len + 12);
}

static struct bytes *fresh(const struct bytes *of)
{
	struct bytes *b = calloc(1, sizeof(*b));

	b->is_big = of->is_big;
	return b;
}

static void section(struct bytes *b, bool is_big)
{
	struct bytes *body;

	b->is_big = is_big;
	body = fresh(b);
	put32(body, 0x1a2b3c4d);
	put16(body, 1);
	put16(body, 0);
	put32(body, UINT32_MAX);
	put32(body, UINT32_MAX);
	block(b, 0x0a0d0d0a, body);
	free(body);
}

/* @p resolution: -1 without; @p offset: 0 without. */
static void interface(struct bytes *b, unsigned linktype, uint32_t snap, int resolution,
		      int64_t offset)
{
	struct bytes *body = fresh(b);

	put16(body, linktype);
	put16(body, 0);
	put32(body, snap);
	put16(body, 2); /* if_name */
	put16(body, 3);
	put(body, "eth\0", 4);
	if (resolution >= 0) {
		put16(body, 9);
		put16(body, 1);
		put(body, &(uint8_t){ (uint8_t)resolution }, 1);
		put(body, "\0\0\0", 3);
	}
	if (offset) {
		uint64_t v = b->is_big ? __builtin_bswap64((uint64_t)offset) : (uint64_t)offset;

		put16(body, 14);
		put16(body, 8);
		put(body, &v, 8);
	}
	put32(body, 0);
	block(b, 1, body);
	free(body);
}

static void enhanced(struct bytes *b, uint32_t of, uint64_t ticks, const char *text, uint32_t wire)
{
	struct bytes *body = fresh(b);

	put32(body, of);
	put32(body, (uint32_t)(ticks >> 32));
	put32(body, (uint32_t)ticks);
	put32(body, (uint32_t)strlen(text));
	put32(body, wire);
	put(body, text, strlen(text));
	block(b, 6, body);
	free(body);
}

static void obsolete(struct bytes *b, unsigned of, uint64_t ticks, const char *text, uint32_t wire)
{
	struct bytes *body = fresh(b);

	put16(body, of);
	put16(body, 0xffff);
	put32(body, (uint32_t)(ticks >> 32));
	put32(body, (uint32_t)ticks);
	put32(body, (uint32_t)strlen(text));
	put32(body, wire);
	put(body, text, strlen(text));
	block(b, 2, body);
	free(body);
}

static void simple(struct bytes *b, const char *text, uint32_t wire)
{
	struct bytes *body = fresh(b);

	put32(body, wire);
	put(body, text, strlen(text));
	block(b, 3, body);
	free(body);
}

static void unknown(struct bytes *b, size_t len)
{
	struct bytes *body = fresh(b);

	body->len = len;
	block(b, 0x0bad, body);
	free(body);
}

static void check_frame(const struct seen *s, size_t i, int dlt, uint64_t ts_us, const char *text,
			uint32_t wire)
{
	ck_assert_uint_lt(i, s->count);
	ck_assert_int_eq(s->at[i].link, dlt);
	ck_assert_uint_eq(s->at[i].ts_us, ts_us);
	ck_assert_uint_eq(s->at[i].bytes.len, strlen(text));
	ck_assert_mem_eq(s->at[i].bytes.at, text, strlen(text));
	ck_assert_uint_eq(s->at[i].wire_len, wire);
}

START_TEST(sections_and_interfaces_have_their_own_ways)
{
	struct bytes *b = calloc(1, sizeof(*b));
	struct seen *s;
	char why[256];
	int end;

	section(b, _i & 1);
	interface(b, 1, 4, -1, 0);
	interface(b, 101, 0, 9, 0);
	interface(b, 113, 0, 0x80 | 20, -100);
	enhanced(b, 0, 1700000000123456, "abc", 3);
	unknown(b, 0);
	enhanced(b, 1, 1700000000123456789, "defgh", 9);
	enhanced(b, 2, (UINT64_C(1700000100) << 20) + (1 << 19), "", 7);
	simple(b, "ijkl", 4000);
	obsolete(b, 1, 1, "m", 1);
	unknown(b, 2 << 20);
	section(b, !(_i & 1));
	interface(b, 276, 65535, 3, 1000);
	enhanced(b, 0, 77, "second", 6);
	s = read_bytes(b->at, b->len, &end, why);
	ck_assert_int_eq(end, 0);
	ck_assert_str_eq(why, "");
	ck_assert_uint_eq(s->count, 6);
	check_frame(s, 0, DLT_EN10MB, 1700000000123456, "abc", 3);
	check_frame(s, 1, DLT_RAW, 1700000000123456, "defgh", 9);
	check_frame(s, 2, DLT_LINUX_SLL, 1700000000500000, "", 7);
	check_frame(s, 3, DLT_EN10MB, 0, "ijkl", 4000);
	check_frame(s, 4, DLT_RAW, 0, "m", 1);
	check_frame(s, 5, DLT_LINUX_SLL2, 1000077000, "second", 6);
	seen_free(s);
	free(b);
}
END_TEST

/* Where libpcap takes it, it is the same: one interface. */
START_TEST(times_are_those_of_libpcap)
{
	static const int resolutions[] = { -1, 0, 3, 6, 7, 9, 12, 0x80, 0x80 | 10, 0x80 | 32 };
	struct bytes *b = calloc(1, sizeof(*b));
	struct seen *s;
	char why[256];
	int end;

	section(b, _i & 1);
	interface(b, 1, 65535, resolutions[_i / 2], _i % 3 ? 3600 : 0);
	enhanced(b, 0, 0, "zero", 4);
	enhanced(b, 0, 1, "one", 3);
	enhanced(b, 0, 1234567, "some", 4);
	enhanced(b, 0, UINT64_C(0x1234567890), "more", 4);
	obsolete(b, 0, 999999, "old", 3);
	if (_i % 3 == 0) /* libpcap gives what has no time that of the offset */
		simple(b, "without", 7);
	s = read_bytes(b->at, b->len, &end, why);
	ck_assert_uint_eq(s->count, _i % 3 ? 5 : 6);
	check_against_libpcap(b->at, b->len, s);
	seen_free(s);
	free(b);
}
END_TEST

START_TEST(impossible_times_do_no_harm)
{
	struct bytes *b = calloc(1, sizeof(*b));
	struct seen *s;
	char why[256];
	int end;

	section(b, false);
	interface(b, 1, 0, 127, 0);
	interface(b, 1, 0, 0xff, 0);
	interface(b, 1, 0, 0, INT64_MAX);
	interface(b, 1, 0, 6, INT64_MIN);
	for (uint32_t i = 0; i < 4; i++)
		enhanced(b, i, UINT64_MAX, "x", 1);
	s = read_bytes(b->at, b->len, &end, why);
	ck_assert_int_eq(end, 0);
	ck_assert_uint_eq(s->count, 4);
	ck_assert_uint_eq(s->at[0].ts_us, 0);
	ck_assert_uint_eq(s->at[1].ts_us, 0);
	ck_assert_uint_eq(s->at[2].ts_us, UINT64_MAX);
	ck_assert_uint_eq(s->at[3].ts_us, 0);
	seen_free(s);
	free(b);
}
END_TEST

START_TEST(damaged_block_is_told_and_what_was_before_it_is_kept)
{
	static const char *const whys[] = {
		"a packet of no interface",
		"a packet of impossible length",
		"a block whose two lengths differ",
		"a block of impossible length",
		"a block of impossible length",
		"a section of no byte order",
		"an interface that does not fit its block",
	};
	struct bytes *b = calloc(1, sizeof(*b));
	char why[256], expected[256];
	struct seen *s;
	size_t at;
	int end;

	section(b, false);
	interface(b, 1, 0, -1, 0);
	enhanced(b, 0, 1, "good", 4);
	at = b->len;
	if (_i == 5)
		section(b, false);
	else if (_i == 6)
		interface(b, 1, 0, -1, 0);
	else
		enhanced(b, _i == 0 ? 1 : 0, 2, "bad", 3);
	if (_i == 1)
		b->at[at + 20] = 0xff; /* captured length */
	if (_i == 2)
		b->at[b->len - 1] = 1;
	if (_i == 3)
		b->at[at + 4] = 8; /* length of the block */
	if (_i == 4)
		b->at[at + 7] = 0x7f;
	if (_i == 5)
		b->at[at + 8] = 0;
	if (_i == 6)
		b->at[at + 18] = 0xf0; /* length of an option */
	enhanced(b, 0, 3, "behind", 6);
	s = read_bytes(b->at, b->len, &end, why);
	ck_assert_int_eq(end, HT_EPCAP);
	ck_assert_uint_eq(s->count, 1);
	snprintf(expected, sizeof(expected), "%s at octet %zu", whys[_i], at);
	ck_assert_str_eq(why, expected);
	seen_free(s);
	free(b);
}
END_TEST

START_TEST(interfaces_are_bounded)
{
	struct bytes *b = calloc(1, sizeof(*b));
	struct seen *s;
	char why[256];
	int end;

	section(b, false);
	for (int i = 0; i <= 65536; i++) { /* the shortest block of an interface */
		put32(b, 1);
		put32(b, 20);
		put32(b, 1);
		put32(b, 0);
		put32(b, 20);
	}
	s = read_bytes(b->at, b->len, &end, why);
	ck_assert_int_eq(end, HT_EPCAP);
	ck_assert_ptr_nonnull(strstr(why, "more than 65536 interfaces at octet "));
	seen_free(s);
	free(b);
}
END_TEST

static Suite *pcap_suite(void)
{
	TCase *t = tcase_create("pcap_file");
	Suite *s = suite_create("pcap_file");

	tcase_add_loop_test(t, frames_are_those_of_libpcap, 0, fixture_count());
	tcase_add_loop_test(t, pipe_gives_the_same_as_the_file, 0, fixture_count());
	tcase_add_test(t, frame_in_a_pipe_does_not_wait);
	tcase_add_test(t, pipe_is_waited_for_no_longer_than_asked);
	tcase_add_loop_test(t, every_kind_of_pcap_reads_the_same, 0, ROWS(kinds));
	tcase_add_test(t, lengths_of_old_versions_are_swapped);
	tcase_add_test(t, pcap_that_is_cut_keeps_what_is_whole);
	tcase_add_test(t, pcapng_that_is_cut_keeps_what_is_whole);
	tcase_add_loop_test(t, what_is_no_capture_file_is_refused, 0, ROWS(refused));
	tcase_add_test(t, file_that_cannot_be_opened_is_an_error);
	tcase_add_test(t, record_of_impossible_length_ends_pcap);
	tcase_add_loop_test(t, sections_and_interfaces_have_their_own_ways, 0, 2);
	tcase_add_loop_test(t, times_are_those_of_libpcap, 0, 20);
	tcase_add_test(t, impossible_times_do_no_harm);
	tcase_add_loop_test(t, damaged_block_is_told_and_what_was_before_it_is_kept, 0, 7);
	tcase_add_test(t, interfaces_are_bounded);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(pcap_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
