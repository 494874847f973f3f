/*
 * capture/worker.c: from datagram to row, behind a real listener on 127.0.0.1, or, where time
 * matters, with the test as the listener. The test plays ht-spool. Built without a sanitizer it
 * also counts what the receive thread allocates.
 */
#include "capture/worker.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "capture/decide.h"
#include "capture/pressure.h"
#include "capture/first.h"
#include "capture/snapshot.h"
#include "capture/tally.h"
#include "conf/clock.h"
#include "conf/conf.h"
#include "conf/gauge.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "hep/listener.h"
#include "hep/msg.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "tests/unit/mallocs.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define WALL_US	    1700000000000000ULL
#define NEVER_US    (1ULL << 62)
#define DEADLINE_US 60000000ULL
#define IN_FLIGHT   100 /* datagrams that fit any receive buffer */

/* ---- HEP ---- */

struct hep {
	size_t len;
	uint8_t bytes[65536];
};

static void put(struct hep *h, const void *bytes, size_t len)
{
	ck_assert_uint_le(h->len + len, sizeof(h->bytes));
	memcpy(h->bytes + h->len, bytes, len);
	h->len += len;
}

static void put_number(struct hep *h, uint64_t n, size_t bytes)
{
	while (bytes--)
		put(h, &(uint8_t){ (uint8_t)(n >> 8 * bytes) }, 1);
}

static void hep_begin(struct hep *h)
{
	h->len = 0;
	put(h, "HEP3\0\0", 6);
}

static void hep_end(struct hep *h)
{
	h->bytes[4] = (uint8_t)(h->len >> 8);
	h->bytes[5] = (uint8_t)h->len;
}

static void chunk(struct hep *h, uint16_t type, const void *bytes, size_t len)
{
	put_number(h, 0, 2);
	put_number(h, type, 2);
	put_number(h, 6 + len, 2);
	put(h, bytes, len);
}

static void number_chunk(struct hep *h, uint16_t type, uint64_t n, size_t bytes)
{
	put_number(h, 0, 2);
	put_number(h, type, 2);
	put_number(h, 6 + bytes, 2);
	put_number(h, n, bytes);
}

/* Everything but payload and end. */
static void hep_front(struct hep *h, uint8_t proto, uint64_t ts_us)
{
	hep_begin(h);
	number_chunk(h, 0x01, 2, 1);
	number_chunk(h, 0x02, proto, 1);
	chunk(h, 0x03, "\xc0\x00\x02\x01", 4);
	chunk(h, 0x04, "\xc6\x33\x64\x02", 4);
	number_chunk(h, 0x07, 5060, 2);
	number_chunk(h, 0x08, 5061, 2);
	number_chunk(h, 0x09, ts_us / 1000000, 4);
	number_chunk(h, 0x0a, ts_us % 1000000, 4);
}

static void hep_payload(struct hep *h, const char *text)
{
	chunk(h, 0x0f, text, strlen(text));
	hep_end(h);
}

#define SIP_OF(method)                                                                      \
	method " sip:bob@example.org SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n" \
	       "Call-ID: the-call\r\nCSeq: 7 " method "\r\nX-CID: the-leg\r\n\r\n"

static void hep_sip(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	hep_payload(h, SIP_OF("INVITE"));
}

enum format { ZLIB, GZIP, RAW };

static void hep_compressed(struct hep *h, enum format format, const char *text, size_t keep)
{
	static const int bits[] = { [ZLIB] = 15, [GZIP] = 15 + 16, [RAW] = -15 };
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)text, .avail_in = (unsigned)strlen(text) };
	uint8_t out[8192];

	z.next_out = out;
	z.avail_out = sizeof(out);
	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, bits[format], 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	hep_front(h, 17, WALL_US);
	chunk(h, 0x10, out, keep < z.total_out ? keep : z.total_out);
	hep_end(h);
}

/* ---- the rig ---- */

struct rig {
	struct conf *conf;
	struct snapshot *published;
	struct spool *spool;
	struct pressure spool_pressure; /* the test asks */
	struct agents *agents;
	struct rules *rules;
	struct decide_tables tables;
	struct tally_options tally;
	struct worker *worker;
	int spool_fd;
	/* with a real listener */
	struct listener *listener;
	pthread_t thread;
	struct sockaddr_in to[2]; /* of each source */
	int from;		  /* sends from 127.0.0.1 */
	_Atomic uint64_t mallocs; /* of the receive thread, after each turn */
	uint64_t sent[2];
};

struct wish {
	const char *yaml;
	unsigned blocks;
	uint32_t batch_rows;
	uint64_t batch_us;
	enum conf_compat compat;
	bool statistics;
};

#define ONE_LISTENER "hep:\n  - { name: a, listen: [udp:127.0.0.1:9060]"
#define ANY	     ONE_LISTENER " }\n"

static void rig_make(struct rig *r, const struct wish *w)
{
	struct spool_options spool = {
		.dir = "memory", .max_bytes = 1, .node_id = 1, .writers = 1, .in_memory = true
	};
	static const _Atomic bool is_off[2];
	struct worker_options o = { .snapshot = &r->published,
				    .is_off = is_off,
				    .blocks = w->blocks,
				    .batch_rows = w->batch_rows,
				    .batch_us = w->batch_us,
				    .compat = w->compat };

	log_open(LOG_LEVEL_ERROR, LOG_TARGET_STDERR);
	memset(r, 0, sizeof(*r));
	ck_assert_int_eq(conf_read_bytes("t", w->yaml, strlen(w->yaml), &r->conf, stderr), HT_OK);
	ck_assert_int_eq(rules_new(&r->rules), HT_OK);
	ck_assert_int_eq(snapshot_new(&r->published, r->conf, NULL, r->rules), HT_OK);
	ck_assert_int_eq(spool_open(&r->spool, &spool), HT_OK);
	r->spool_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(r->spool_fd, 0);
	ck_assert_int_eq(agents_new(&r->agents, r->conf->tables.agents), HT_OK);
	o.spool = r->spool;
	o.tables = &r->tables;
	o.spool_pressure = &r->spool_pressure;
	o.agents = r->agents;
	if (w->statistics) {
		ck_assert_int_eq(first_new(&r->tally.first, 1 << 20), HT_OK);
		o.tally = &r->tally;
	}
	o.spool_fd = r->spool_fd;
	o.sources = (unsigned)r->conf->hep_count;
	ck_assert_int_eq(worker_new(&r->worker, &o), HT_OK);
}

static void rig_unmake(struct rig *r)
{
	worker_free(r->worker);
	agents_free(r->agents);
	first_free(r->tally.first);
	snapshot_free(r->published);
	rules_free(r->rules);
	conf_free(r->conf);
	spool_close(r->spool);
	close(r->spool_fd);
}

static const struct source_counters *counters(struct rig *r)
{
	return worker_source(r->worker, 0);
}

static uint64_t shed_of(const struct source_counters *c)
{
	uint64_t sum = 0;

	for (unsigned reason = 0; reason < SHED_REASONS; reason++)
		for (unsigned class = 1; class <= SHED_CLASSES; class ++)
			sum += counter_get(&c->shed[reason][class]);
	return sum;
}

/* What became of messages: the right side of DESIGN's second line. */
static uint64_t outcomes_of(const struct source_counters *c)
{
	return counter_get(&c->not_sip_empty) + counter_get(&c->not_sip_type) +
	       counter_get(&c->not_sip_content) + counter_get(&c->malformed_short) +
	       counter_get(&c->malformed_version) + counter_get(&c->malformed_length) +
	       counter_get(&c->malformed_chunk) + counter_get(&c->malformed_address) +
	       counter_get(&c->malformed_inflate) + counter_get(&c->malformed_oversize) +
	       counter_get(&c->malformed_partial) + counter_get(&c->denied_off) +
	       counter_get(&c->denied_allow) + counter_get(&c->denied_key) +
	       counter_get(&c->denied_limit) + shed_of(c) + counter_get(&c->accepted);
}

static void expect_balance(const struct source_counters *c, uint64_t received)
{
	ck_assert_uint_eq(counter_get(&c->received), received);
	ck_assert_uint_eq(outcomes_of(c), received);
	ck_assert_uint_eq(counter_get(&c->carriers), received);
	ck_assert_uint_eq(counter_get(&c->rows_made), counter_get(&c->accepted));
	ck_assert_uint_eq(counter_get(&c->incomplete_truncated), 0);
	ck_assert_uint_eq(counter_get(&c->kernel_dropped), 0);
}

/* ---- with a listener ---- */

static void through_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	worker_listener_ops.begin(((struct rig *)ctx)->worker, wall_us, mono_us);
}

static void through_record(void *ctx, unsigned source, const uint8_t *bytes, size_t len,
			   const uint8_t from_ip[16])
{
	worker_listener_ops.record(((struct rig *)ctx)->worker, source, bytes, len, from_ip);
}

static void through_end(void *ctx)
{
	worker_listener_ops.end(((struct rig *)ctx)->worker);
}

/* Each time round the thread also says what it allocated so far. */
static bool through_tend(void *ctx, uint64_t mono_us)
{
	struct rig *r = ctx;
	bool more = worker_listener_ops.tend(r->worker, mono_us);

	atomic_store(&r->mallocs, mallocs);
	return more;
}

static bool through_has_room(void *ctx)
{
	return worker_listener_ops.has_room(((struct rig *)ctx)->worker);
}

static void through_limits(void *ctx, unsigned source, const uint8_t from_ip[16],
			   struct listener_limits *out)
{
	worker_listener_ops.limits(((struct rig *)ctx)->worker, source, from_ip, out);
}

static const struct listener_ops through = { through_begin, through_record,   through_end,
					     through_tend,  through_has_room, through_limits };

static void *receive(void *arg)
{
	struct rig *r = arg;

	rcu_thread_begin();
	listener_run(r->listener);
	worker_flush(r->worker);
	rcu_thread_end();
	return NULL;
}

static void rig_start(struct rig *r, const struct wish *w)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct listener_socket sockets[2] = { 0 };

	rig_make(r, w);
	for (unsigned i = 0; i < r->conf->hep_count; i++) {
		socklen_t len = sizeof(r->to[i]);

		sockets[i].source = i;
		sockets[i].counters = worker_source(r->worker, i);
		sockets[i].fd = listener_open_udp((struct sockaddr *)&any, sizeof(any), 1 << 20,
						  &sockets[i].buffer);
		ck_assert_int_ge(sockets[i].fd, 0);
		ck_assert_int_eq(getsockname(sockets[i].fd, (struct sockaddr *)&r->to[i], &len), 0);
	}
	ck_assert_int_eq(
		listener_new(&r->listener, sockets, (unsigned)r->conf->hep_count, &through, r),
		HT_OK);
	r->from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(r->from, (struct sockaddr *)&any, sizeof(any)), 0);
	ck_assert_int_eq(pthread_create(&r->thread, NULL, receive, r), 0);
}

/* After this the counters are at rest and open blocks are sealed. */
static void rig_stop(struct rig *r)
{
	listener_stop(r->listener);
	pthread_join(r->thread, NULL);
}

static void rig_free(struct rig *r)
{
	listener_free(r->listener);
	close(r->from);
	rig_unmake(r);
}

/* All that was sent has become something. */
static void wait_for_outcomes(struct rig *r)
{
	uint64_t until = clock_mono_us() + DEADLINE_US;
	struct timespec moment = { .tv_nsec = 200000 };

	for (unsigned i = 0; i < r->conf->hep_count; i++) {
		while (outcomes_of(worker_source(r->worker, i)) < r->sent[i]) {
			ck_assert_uint_lt(clock_mono_us(), until);
			nanosleep(&moment, NULL);
		}
	}
}

static void send_from(struct rig *r, int fd, unsigned source, const void *bytes, size_t len)
{
	ssize_t n = sendto(fd, bytes, len, 0, (const struct sockaddr *)&r->to[source],
			   sizeof(r->to[source]));

	ck_assert_int_eq(n, (ssize_t)len);
	if (++r->sent[source] % IN_FLIGHT == 0)
		wait_for_outcomes(r);
}

static void send_hep(struct rig *r, const struct hep *h)
{
	send_from(r, r->from, 0, h->bytes, h->len);
}

/* Play ht-spool: how many rows were sealed, and if @p sums is given, of sums. Each block is whole.
 */
static uint64_t take_rows_and(struct rig *r, uint64_t *sums)
{
	struct block *b;
	uint64_t rows = 0;

	while ((b = worker_take_sealed(r->worker))) {
		block_stamp(b, 1, b->is_statistics ? 2 | STREAM_STATISTICS : 2, 3, 4);
		ck_assert_int_eq(block_check(b->bytes, block_head_of(b->bytes)->bytes), HT_OK);
		if (!b->is_statistics)
			rows += b->rows;
		else if (sums)
			*sums += b->rows;
		worker_give_back(r->worker, b);
	}
	return rows;
}

static uint64_t take_rows(struct rig *r)
{
	return take_rows_and(r, NULL);
}

/* ---- with the test as listener ---- */

static void give_at(struct rig *r, const struct hep *h, uint64_t wall_us, uint64_t mono_us)
{
	static const uint8_t loopback[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };
	uint8_t *exact = malloc(h->len ? h->len : 1);

	memcpy(exact, h->bytes, h->len);
	worker_listener_ops.begin(r->worker, wall_us, mono_us);
	counter_add(&worker_source(r->worker, 0)->carriers, 1);
	worker_listener_ops.record(r->worker, 0, exact, h->len, loopback);
	worker_listener_ops.end(r->worker);
	free(exact);
}

/* Give one datagram; its row, in a block that the caller gives back. */
static struct block *row_of(struct rig *r, const struct hep *h)
{
	struct block *b;

	give_at(r, h, WALL_US, 1);
	worker_flush(r->worker);
	b = worker_take_sealed(r->worker);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(b->rows, 1);
	return b;
}

static int64_t number_in(const struct block *b, enum row_number n)
{
	return row_number(block_head_of(b->bytes), block_row(b->bytes, 0), n, -77);
}

static bool text_in_is(const struct block *b, enum row_text t, const char *want)
{
	return view_is(row_text(block_head_of(b->bytes), block_row(b->bytes, 0), t), want);
}

static bool fd_is_set(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n);
}

/* ---- accounting ---- */

static void make_good(struct hep *h)
{
	hep_sip(h);
}

static void make_good_compressed(struct hep *h)
{
	hep_compressed(h, ZLIB, SIP_OF("BYE"), SIZE_MAX);
}

static void make_empty(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	hep_payload(h, "");
}

static void make_without_payload(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	hep_end(h);
}

static void make_dns(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	number_chunk(h, 0x0b, 53, 1);
	hep_payload(h, "{}");
}

static void make_chatter(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	hep_payload(h, "GET / HTTP/1.1\r\n\r\n");
}

static void make_nothing(struct hep *h)
{
	h->len = 0;
}

static void make_three_octets(struct hep *h)
{
	hep_begin(h);
	h->len = 3;
}

static void make_cut(struct hep *h)
{
	hep_sip(h);
	h->len--;
}

static void make_hep9(struct hep *h)
{
	h->len = 0;
	put(h, "\x09\x10\x02\x11", 4);
	put(h, h->bytes, 4);
	put(h, SIP_OF("INVITE"), strlen(SIP_OF("INVITE")));
}

static void make_of_length_5(struct hep *h)
{
	hep_sip(h);
	h->bytes[4] = 0;
	h->bytes[5] = 5;
}

static void make_short_chunk(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	put(h, "\0\0\0\x0f\0\5", 6);
	hep_end(h);
}

static void make_long_chunk(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	put(h, "\0\0\0\x0f\0\x40", 6);
	hep_end(h);
}

static void make_one_sided(struct hep *h)
{
	hep_begin(h);
	chunk(h, 0x03, "\x7f\0\0\1", 4);
	hep_payload(h, SIP_OF("INVITE"));
}

static void make_bad_deflate(struct hep *h)
{
	hep_front(h, 17, WALL_US);
	chunk(h, 0x10, "not compressed at all", 21);
	hep_end(h);
}

static void make_cut_deflate(struct hep *h)
{
	hep_compressed(h, ZLIB, SIP_OF("BYE"), 40);
}

#define FIELD(field) offsetof(struct source_counters, field)
static const struct {
	void (*make)(struct hep *h);
	size_t counter;
} mix[] = {
	{ make_good, FIELD(accepted) },
	{ make_good_compressed, FIELD(accepted) },
	{ make_empty, FIELD(not_sip_empty) },
	{ make_without_payload, FIELD(not_sip_empty) },
	{ make_dns, FIELD(not_sip_type) },
	{ make_chatter, FIELD(not_sip_content) },
	{ make_nothing, FIELD(malformed_short) },
	{ make_three_octets, FIELD(malformed_short) },
	{ make_cut, FIELD(malformed_short) },
	{ make_hep9, FIELD(malformed_version) },
	{ make_of_length_5, FIELD(malformed_length) },
	{ make_short_chunk, FIELD(malformed_chunk) },
	{ make_long_chunk, FIELD(malformed_chunk) },
	{ make_one_sided, FIELD(malformed_address) },
	{ make_bad_deflate, FIELD(malformed_inflate) },
	{ make_cut_deflate, FIELD(malformed_inflate) },
};
#undef FIELD

static uint64_t expected_of(size_t counter_offset, unsigned rounds)
{
	uint64_t n = 0;

	for (int i = 0; i < ROWS(mix); i++)
		n += mix[i].counter == counter_offset ? rounds * (1 + (unsigned)i % 3) : 0;
	return n;
}

START_TEST(every_datagram_is_counted_once_under_its_reason)
{
	struct wish w = { .yaml = ANY, .blocks = 8, .batch_rows = 10, .batch_us = 1000 };
	struct hep *h = malloc(sizeof(*h));
	const struct source_counters *c;
	uint64_t rows = 0;
	struct rig r;

	rig_start(&r, &w);
	for (unsigned round = 0; round < 20; round++) {
		for (int i = 0; i < ROWS(mix); i++) {
			mix[i].make(h);
			for (int n = 0; n <= i % 3; n++)
				send_hep(&r, h);
		}
		wait_for_outcomes(&r);
		rows += take_rows(&r);
	}
	rig_stop(&r);
	rows += take_rows(&r);
	c = counters(&r);
	expect_balance(c, r.sent[0]);
	ck_assert_uint_eq(counter_get(&c->datagrams), r.sent[0]);
	for (int i = 0; i < ROWS(mix); i++)
		ck_assert_uint_eq(counter_get((const counter *)(const void *)((const char *)c +
									      mix[i].counter)),
				  expected_of(mix[i].counter, 20));
	ck_assert_uint_eq(rows, counter_get(&c->accepted));
	rig_free(&r);
	free(h);
}
END_TEST

START_TEST(random_octets_are_counted_too)
{
	struct wish w = { .yaml = ANY, .blocks = 8, .batch_rows = 10, .batch_us = 1000 };
	struct hep *h = malloc(sizeof(*h));
	uint64_t rows = 0;
	uint32_t seed = 7;
	struct rig r;

	rig_start(&r, &w);
	for (unsigned n = 0; n < 5000; n++) {
		hep_sip(h);
		for (unsigned k = 0; k < 1 + n % 4; k++) {
			seed = seed * 1664525 + 1013904223;
			h->bytes[(seed >> 8) % h->len] ^= (uint8_t)(1 + (seed >> 24) % 255);
		}
		if (n % 7 == 0)
			h->len = (seed >> 9) % h->len;
		send_hep(&r, h);
		if (r.sent[0] % IN_FLIGHT == 0)
			rows += take_rows(&r);
	}
	rig_stop(&r);
	rows += take_rows(&r);
	expect_balance(counters(&r), 5000);
	ck_assert_uint_eq(rows, counter_get(&counters(&r)->accepted));
	ck_assert_uint_gt(rows, 500);
	ck_assert_uint_lt(rows, 4900);
	rig_free(&r);
	free(h);
}
END_TEST

START_TEST(oddities_that_cost_nothing_are_counted_beside)
{
	struct wish w = { .yaml = ANY, .blocks = 2, .batch_rows = 10, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 17, WALL_US);
	number_chunk(h, 0x07, 1, 4);
	number_chunk(h, 0x08, 1, 1);
	number_chunk(h, 0x02, 6, 1);
	hep_payload(h, SIP_OF("INVITE"));
	put(h, "tail", 4);
	give_at(&r, h, WALL_US, 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->odd_chunks), 2);
	ck_assert_uint_eq(counter_get(&counters(&r)->twice_chunks), 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->tail_bytes), 4);
	expect_balance(counters(&r), 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 1);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* ---- who may send ---- */

START_TEST(allow_list_is_that_of_the_source)
{
	struct wish w = {
		.yaml = "hep:\n"
			"  - { name: a, listen: [udp:127.0.0.1:9060], allow: [127.0.0.1/32] }\n"
			"  - { name: b, listen: [udp:127.0.0.1:9061], allow: [127.0.0.2, "
			"10.0.0.0/8] }\n",
		.blocks = 2,
		.batch_rows = 100,
		.batch_us = NEVER_US
	};
	struct sockaddr_in second = { .sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1) };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;
	int from2 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(from2, (struct sockaddr *)&second, sizeof(second)), 0);
	rig_start(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 3; i++)
		send_from(&r, r.from, 0, h->bytes, h->len);
	send_from(&r, from2, 0, h->bytes, h->len);
	for (int i = 0; i < 5; i++)
		send_from(&r, r.from, 1, h->bytes, h->len);
	for (int i = 0; i < 7; i++)
		send_from(&r, from2, 1, h->bytes, h->len);
	wait_for_outcomes(&r);
	rig_stop(&r);
	for (unsigned i = 0; i < 2; i++) {
		const struct source_counters *c = worker_source(r.worker, i);

		expect_balance(c, r.sent[i]);
		ck_assert_uint_eq(counter_get(&c->denied_allow), i ? 5 : 1);
		ck_assert_uint_eq(counter_get(&c->accepted), i ? 7 : 3);
	}
	close(from2);
	rig_free(&r);
	free(h);
}
END_TEST

static const struct {
	const char *key; /* NULL: none sent */
	bool is_accepted;
} keys[] = { { "secret", true },  { "other", true },	     { NULL, false },
	     { "", false },	  { "secre", false },	     { "secrets", false },
	     { "Secret", false }, { "secretsecret", false }, { "sother", false },
	     { "x", false } };

START_TEST(key_has_to_be_one_of_those_configured)
{
	struct wish w = { .yaml = ONE_LISTENER ", keys: [secret, other] }\n",
			  .blocks = 2,
			  .batch_rows = 10,
			  .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 17, WALL_US);
	if (keys[_i].key)
		chunk(h, 0x0e, keys[_i].key, strlen(keys[_i].key));
	hep_payload(h, SIP_OF("INVITE"));
	give_at(&r, h, WALL_US, 1);
	expect_balance(counters(&r), 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), keys[_i].is_accepted);
	ck_assert_uint_eq(counter_get(&counters(&r)->denied_key), !keys[_i].is_accepted);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* One agent over its limit, by the clock of batches; without a key it takes nothing of it. */
START_TEST(agent_has_so_many_messages_a_second)
{
	struct wish w = { .yaml = ONE_LISTENER ", keys: [secret], max_rate: 3 }\n",
			  .blocks = 4,
			  .batch_rows = 100,
			  .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 5; i++)
		give_at(&r, h, WALL_US, 1000000);
	hep_front(h, 17, WALL_US);
	chunk(h, 0x0e, "secret", 6);
	hep_payload(h, SIP_OF("INVITE"));
	for (int i = 0; i < 5; i++)
		give_at(&r, h, WALL_US, 1999999);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 3);
	ck_assert_uint_eq(counter_get(&counters(&r)->denied_limit), 2);
	ck_assert_uint_eq(counter_get(&counters(&r)->denied_key), 5);
	for (int i = 0; i < 5; i++)
		give_at(&r, h, WALL_US, 2000000);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 6);
	ck_assert_uint_eq(counter_get(&counters(&r)->denied_limit), 4);
	expect_balance(counters(&r), 15);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

START_TEST(reload_changes_keys_under_the_receive_thread)
{
	static const char fresh_yaml[] = ONE_LISTENER ", keys: [needed] }\n";
	struct wish w = { .yaml = ANY, .blocks = 2, .batch_rows = 1000, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct snapshot *next;
	struct conf *fresh;
	struct rig r;

	rig_start(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 10; i++)
		send_hep(&r, h);
	wait_for_outcomes(&r);
	ck_assert_int_eq(conf_read_bytes("t", fresh_yaml, strlen(fresh_yaml), &fresh, NULL), HT_OK);
	ck_assert_int_eq(snapshot_new(&next, r.conf, fresh, r.rules), HT_OK);
	snapshot_retire(rcu_swap(r.published, next));
	for (int i = 0; i < 10; i++)
		send_hep(&r, h);
	wait_for_outcomes(&r);
	rig_stop(&r);
	expect_balance(counters(&r), 20);
	ck_assert_uint_eq(counter_get(&counters(&r)->denied_key), 10);
	urcu_memb_barrier();
	rig_free(&r);
	free(h);
}
END_TEST

/* ---- values of the row ---- */

static const struct {
	uint64_t sent_us, want_us;
	bool is_absent, is_ahead;
} times[] = {
	{ WALL_US, WALL_US, false, false },
	{ 0, WALL_US, true, false },
	{ 999999, WALL_US, true, false },   /* no seconds */
	{ 1000000, 1000000, false, false }, /* old times are kept */
	{ WALL_US - 86400000000ULL * 3650, WALL_US - 86400000000ULL * 3650, false, false },
	{ WALL_US + 300000000, WALL_US + 300000000, false, false },
	{ WALL_US + 300000001, WALL_US, false, true },
	{ 0xffffffffULL * 1000000, WALL_US, false, true },
};

START_TEST(time_that_cannot_be_is_replaced)
{
	struct wish w = { .yaml = "max_clock_skew: 300\n" ANY,
			  .blocks = 2,
			  .batch_rows = 10,
			  .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct block *b;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 17, times[_i].sent_us);
	hep_payload(h, SIP_OF("INVITE"));
	b = row_of(&r, h);
	ck_assert_int_eq(number_in(b, ROW_micro_ts), (int64_t)times[_i].want_us);
	ck_assert_uint_eq(block_row(b->bytes, 0)->arrival_us, WALL_US);
	ck_assert_uint_eq(block_row(b->bytes, 0)->day, times[_i].want_us / 86400000000ULL);
	ck_assert_uint_eq(counter_get(&counters(&r)->time_absent), times[_i].is_absent);
	ck_assert_uint_eq(counter_get(&counters(&r)->time_ahead), times[_i].is_ahead);
	worker_give_back(r.worker, b);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

static const struct {
	int64_t id; /* -1: none */
	const char *want;
} capture_ids[] = { { -1, "sbc.example" },
		    { 0, "sbc.example:0" },
		    { 9, "sbc.example:9" },
		    { 2001, "sbc.example:2001" },
		    { 4294967295, "sbc.example:4294967295" } };

START_TEST(node_names_the_agent)
{
	struct wish w = { .yaml = "node: sbc.example\n" ANY,
			  .blocks = 2,
			  .batch_rows = 10,
			  .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct block *b;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 17, WALL_US);
	if (capture_ids[_i].id >= 0)
		number_chunk(h, 0x0c, (uint64_t)capture_ids[_i].id, 4);
	hep_payload(h, SIP_OF("INVITE"));
	b = row_of(&r, h);
	ck_assert(text_in_is(b, ROW_node, capture_ids[_i].want));
	worker_give_back(r.worker, b);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

static const struct {
	uint8_t sent;
	int64_t homer, opensips; /* kamailio numbers as homer does */
} protos[] = { { 17, 1, 17 }, { 6, 2, 6 },    { 22, 3, 22 },	{ 132, 4, 132 },
	       { 50, 5, 50 }, { 0, 0, 0 },    { 1, 0, 1 },	{ 5, 0, 5 },
	       { 7, 7, 7 },   { 41, 41, 41 }, { 255, 255, 255 } };

START_TEST(protocol_is_numbered_as_chosen)
{
	for (enum conf_compat compat = CONF_COMPAT_HOMER; compat <= CONF_COMPAT_OPENSIPS;
	     compat++) {
		struct wish w = { .yaml = ANY,
				  .blocks = 2,
				  .batch_rows = 10,
				  .batch_us = NEVER_US,
				  .compat = compat };
		struct hep *h = malloc(sizeof(*h));
		struct block *b;
		struct rig r;

		rcu_thread_begin();
		rig_make(&r, &w);
		hep_front(h, protos[_i].sent, WALL_US);
		hep_payload(h, SIP_OF("INVITE"));
		b = row_of(&r, h);
		ck_assert_int_eq(number_in(b, ROW_proto), compat == CONF_COMPAT_OPENSIPS
								  ? protos[_i].opensips
								  : protos[_i].homer);
		ck_assert(text_in_is(b, ROW_correlation_id,
				     compat == CONF_COMPAT_KAMAILIO ? "the-call" : "the-leg"));
		worker_give_back(r.worker, b);
		rig_unmake(&r);
		rcu_thread_end();
		free(h);
	}
}
END_TEST

START_TEST(row_has_what_hep_and_sip_say)
{
	struct wish w = { .yaml = "legs: [X-Other, X-CID]\ncustom_fields: [CSeq, X-None]\n" ANY,
			  .blocks = 2,
			  .batch_rows = 10,
			  .batch_us = NEVER_US,
			  .compat = CONF_COMPAT_KAMAILIO };
	static const uint8_t ip6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
	struct hep *h = malloc(sizeof(*h));
	struct block *b;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 6, WALL_US);
	chunk(h, 0x11, "from-hep", 8);
	hep_payload(h, SIP_OF("OPTIONS"));
	b = row_of(&r, h);
	ck_assert(text_in_is(b, ROW_msg, SIP_OF("OPTIONS")));
	ck_assert(text_in_is(b, ROW_method, "OPTIONS"));
	ck_assert(text_in_is(b, ROW_callid, "the-call"));
	ck_assert(text_in_is(b, ROW_callid_aleg, "the-leg"));
	ck_assert(text_in_is(b, ROW_correlation_id, "from-hep"));
	ck_assert(text_in_is(b, ROW_custom_field1, "7 OPTIONS"));
	ck_assert(text_in_is(b, ROW_custom_field2, ""));
	ck_assert(text_in_is(b, ROW_source_ip, "192.0.2.1"));
	ck_assert(text_in_is(b, ROW_destination_ip, "198.51.100.2"));
	ck_assert_int_eq(number_in(b, ROW_source_port), 5060);
	ck_assert_int_eq(number_in(b, ROW_destination_port), 5061);
	ck_assert_int_eq(number_in(b, ROW_family), 2);
	ck_assert_int_eq(number_in(b, ROW_type), 1);
	ck_assert_int_eq(number_in(b, ROW_expires), -1);
	worker_give_back(r.worker, b);

	hep_begin(h);
	chunk(h, 0x05, ip6, 16);
	chunk(h, 0x06, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	hep_payload(h, "SIP/2.0 200 OK\r\nCSeq: 1 BYE\r\n\r\n");
	b = row_of(&r, h);
	ck_assert(text_in_is(b, ROW_source_ip, "2001:db8::1"));
	ck_assert(text_in_is(b, ROW_destination_ip, "::"));
	ck_assert(text_in_is(b, ROW_method, "200"));
	ck_assert(text_in_is(b, ROW_reply_reason, "OK"));
	ck_assert_int_eq(number_in(b, ROW_family), 10);
	ck_assert_int_eq(number_in(b, ROW_type), 2);
	worker_give_back(r.worker, b);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

START_TEST(compressed_payload_is_stored_in_the_clear)
{
	struct wish w = { .yaml = ANY, .blocks = 2, .batch_rows = 10, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct block *b;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	for (enum format f = ZLIB; f <= RAW; f++) {
		hep_compressed(h, f, SIP_OF("BYE"), SIZE_MAX);
		b = row_of(&r, h);
		ck_assert(text_in_is(b, ROW_msg, SIP_OF("BYE")));
		ck_assert(text_in_is(b, ROW_callid, "the-call"));
		worker_give_back(r.worker, b);
	}
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* ---- blocks ---- */

START_TEST(block_is_sealed_by_age)
{
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 100, .batch_us = 20000 };
	const struct listener_ops *ops = &worker_listener_ops;
	struct hep *h = malloc(sizeof(*h));
	uint64_t t = 1000000000;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(h);
	ck_assert(!ops->tend(r.worker, t)); /* nothing is open */
	give_at(&r, h, WALL_US, t);
	ck_assert(!ops->tend(r.worker, t)); /* after a rest: at once */
	ck_assert_uint_eq(take_rows(&r), 1);
	ck_assert(fd_is_set(r.spool_fd));
	give_at(&r, h, WALL_US, t + 5000);
	ck_assert(ops->tend(r.worker, t + 5000)); /* will be due soon */
	give_at(&r, h, WALL_US, t + 19000);
	ck_assert(ops->tend(r.worker, t + 19999));
	ck_assert_uint_eq(take_rows(&r), 0);
	ck_assert(!fd_is_set(r.spool_fd));
	ck_assert(!ops->tend(r.worker, t + 20000)); /* batch_us behind the last seal */
	ck_assert_uint_eq(take_rows(&r), 2);
	ck_assert(!ops->tend(r.worker, t + 90000));
	ck_assert_uint_eq(take_rows(&r), 0);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

START_TEST(block_is_sealed_when_full)
{
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 3, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	char *text = calloc(1, 60001);
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 7; i++)
		give_at(&r, h, WALL_US, 1);
	ck_assert_uint_eq(take_rows(&r), 6);
	worker_flush(r.worker);
	ck_assert_uint_eq(take_rows(&r), 1);
	worker_flush(r.worker); /* nothing is open */
	ck_assert_uint_eq(take_rows(&r), 0);
	rig_unmake(&r);

	w.batch_rows = 1000;
	rig_make(&r, &w);
	memset(text, 'x', 60000);
	memcpy(text, SIP_OF("BYE"), strlen(SIP_OF("BYE")));
	hep_front(h, 17, WALL_US);
	hep_payload(h, text);
	for (int i = 0; i < 20; i++)
		give_at(&r, h, WALL_US, 1);
	ck_assert_uint_eq(take_rows(&r), 18); /* 1 MiB */
	worker_flush(r.worker);
	ck_assert_uint_eq(take_rows(&r), 2);
	rig_unmake(&r);
	rcu_thread_end();
	free(text);
	free(h);
}
END_TEST

START_TEST(stopping_seals_what_is_open)
{
	struct wish w = { .yaml = ANY, .blocks = 2, .batch_rows = 1000, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;

	rig_start(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 42; i++)
		send_hep(&r, h);
	listener_stop(r.listener); /* what lies in the socket is still read */
	pthread_join(r.thread, NULL);
	expect_balance(counters(&r), 42);
	ck_assert_uint_eq(take_rows(&r), 42);
	ck_assert(fd_is_set(r.spool_fd));
	rig_free(&r);
	free(h);
}
END_TEST

static const struct {
	const char *text;
	unsigned class;
} classes[] = {
	{ SIP_OF("INVITE"), 5 },
	{ SIP_OF("ACK"), 5 },
	{ SIP_OF("BYE"), 5 },
	{ SIP_OF("CANCEL"), 5 },
	{ SIP_OF("PRACK"), 5 },
	{ SIP_OF("UPDATE"), 5 },
	{ SIP_OF("INFO"), 5 },
	{ SIP_OF("REFER"), 5 },
	{ SIP_OF("SUBSCRIBE"), 4 },
	{ SIP_OF("NOTIFY"), 4 },
	{ SIP_OF("PUBLISH"), 4 },
	{ SIP_OF("MESSAGE"), 4 },
	{ SIP_OF("DANCE"), 4 },
	{ SIP_OF("REGISTER"), 3 },
	{ SIP_OF("OPTIONS"), 2 },
	{ "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n", 5 },
	{ "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\n\r\n", 3 },
	{ "SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n", 2 },
	{ "SIP/2.0 200 OK\r\n\r\n", 4 },
	{ "INVITE sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n",
	  2 }, /* CSeq says what dialog it is */
	{ "INVITE sip:a@b SIP/2.0\r\n\r\n", 5 },
	{ "NOTIFY sip:a@b SIP/2.0\r\nCSeq: 1 NOTIFY\r\nEvent: refer;id=2\r\n\r\n",
	  5 }, /* what a REFER led to */
	{ "NOTIFY sip:a@b SIP/2.0\r\nCSeq: 1 NOTIFY\r\nEvent: dialog\r\n\r\n", 4 },
};

/* Of four. */
static void expect_blocks(const struct rig *r, uint64_t used, uint64_t most)
{
	struct memory_use sum = { 0 };

	worker_memory(r->worker, &sum);
	ck_assert_uint_eq(sum.used, used * BLOCK_MAX_BYTES);
	ck_assert_uint_eq(sum.real_used, most * BLOCK_MAX_BYTES);
	ck_assert_uint_eq(sum.max_used, most * BLOCK_MAX_BYTES);
	ck_assert_uint_eq(sum.limit, 4 * BLOCK_MAX_BYTES);
}

START_TEST(message_is_shed_by_class_when_no_block_is_free)
{
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 1, .batch_us = NEVER_US };
	uint64_t later = 2 * PRESSURE_HOLD_US;
	struct hep *h = malloc(sizeof(*h));
	struct block *taken[4];
	unsigned writer;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 4; i++)
		give_at(&r, h, WALL_US, 1);
	expect_blocks(&r, 4, 4);
	hep_front(h, 17, WALL_US);
	hep_payload(h, classes[_i].text);
	give_at(&r, h, WALL_US, 1);
	expect_balance(counters(&r), 5);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 4);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_MEMORY][classes[_i].class]), 1);

	for (int i = 0; i < 4; i++)
		taken[i] = worker_take_sealed(r.worker);
	ck_assert_ptr_null(worker_take_sealed(r.worker));
	ck_assert_int_eq(spool_append(r.spool, taken[0], &writer),
			 HT_EFULL); /* now it is the spool's fault */
	give_at(&r, h, WALL_US, 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_SPOOL][classes[_i].class]), 1);
	ck_assert_uint_eq(shed_of(counters(&r)), 2);

	for (int i = 0; i < 4; i++)
		worker_give_back(r.worker, taken[i]);
	worker_listener_ops.tend(r.worker, 2); /* nothing is short any more */
	expect_blocks(&r, 0, 4);
	ck_assert_uint_gt(pressure_level(worker_pressure(r.worker)), 0);
	give_at(&r, h, WALL_US, later); /* and has not been for a while */
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 5);
	ck_assert_uint_eq(shed_of(counters(&r)), 2);
	expect_balance(counters(&r), 7);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* Blocks become few: what is of the classes up to the level is shed though there is room. */
START_TEST(lower_classes_go_while_blocks_are_few)
{
	struct wish w = { .yaml = ANY, .blocks = 8, .batch_rows = 1, .batch_us = NEVER_US };
	struct hep *call = malloc(sizeof(*call)), *options = malloc(sizeof(*options));
	uint64_t before;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(call);
	hep_front(options, 17, WALL_US);
	hep_payload(options, SIP_OF("OPTIONS"));
	for (int i = 0; i < 5; i++)
		give_at(&r, call, WALL_US, 1);
	give_at(&r, options, WALL_US, 1);
	give_at(&r, call, WALL_US, 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 7);
	give_at(&r, options, WALL_US, 1); /* one is left, of 8 */
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_MEMORY][2]), 1);
	give_at(&r, call, WALL_US, 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 8);
	expect_balance(counters(&r), 9);
	before = take_rows(&r);
	ck_assert_uint_eq(before, 8);
	give_at(&r, options, WALL_US, 1 + PRESSURE_HOLD_US / 2);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_MEMORY][2]), 2);
	ck_assert_uint_eq(take_rows(&r), 0);
	rig_unmake(&r);
	rcu_thread_end();
	free(call);
	free(options);
}
END_TEST

static void hep_of(struct hep *h, const char *method, int dialog)
{
	char text[300];

	snprintf(text, sizeof(text), "%s sip:a@b SIP/2.0\r\nCall-ID: d%d@e\r\nCSeq: 1 %s\r\n\r\n",
		 method, dialog, method);
	hep_front(h, 17, WALL_US);
	hep_payload(h, text);
}

/* The spool asks for half of the calls: of each one all is there, or nothing; the lower classes are
 * gone, reports too. */
START_TEST(spool_pressure_sheds_whole_dialogs)
{
	static const char *const methods[] = { "INVITE", "ACK", "INFO", "BYE" };
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 10, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	uint64_t kept = 0, before;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	pressure_ask(&r.spool_pressure, PRESSURE_MOST - SHED_STEPS / 2, 1);
	for (int dialog = 0; dialog < 1000; dialog++) {
		before = counter_get(&counters(&r)->accepted);
		for (int i = 0; i < ROWS(methods); i++) {
			hep_of(h, methods[i], dialog);
			give_at(&r, h, WALL_US, 1);
			take_rows(&r);
		}
		kept = counter_get(&counters(&r)->accepted) - before;
		ck_assert(kept == 0 || kept == ROWS(methods));
	}
	kept = counter_get(&counters(&r)->accepted);
	ck_assert_uint_gt(kept, 4 * 400);
	ck_assert_uint_lt(kept, 4 * 600);
	hep_of(h, "SUBSCRIBE", 1);
	give_at(&r, h, WALL_US, 1);
	hep_front(h, 17, WALL_US);
	number_chunk(h, 0x0b, HEP_TYPE_LOG, 1);
	hep_payload(h, "a line");
	give_at(&r, h, WALL_US, 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_SPOOL][4]), 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_SPOOL][1]), 1);
	ck_assert_uint_eq(counter_get(&counters(&r)->shed[SHED_SPOOL][5]), 4000 - kept);
	expect_balance(counters(&r), 4002);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* TCP agents wait a moment while the spool asks for anything, or blocks are few. */
START_TEST(there_is_no_room_for_streams_under_pressure)
{
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 1, .batch_us = NEVER_US };
	struct hep *h = malloc(sizeof(*h));
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	ck_assert(worker_listener_ops.has_room(r.worker));
	pressure_ask(&r.spool_pressure, 1, 1);
	ck_assert(!worker_listener_ops.has_room(r.worker));
	pressure_ask(&r.spool_pressure, 0, 1 + PRESSURE_HOLD_US);
	ck_assert(worker_listener_ops.has_room(r.worker));
	hep_sip(h);
	for (int i = 0; i < 3; i++)
		give_at(&r, h, WALL_US, 1);
	ck_assert(!worker_listener_ops.has_room(r.worker));
	take_rows(&r);
	ck_assert(worker_listener_ops.has_room(r.worker));
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* Nobody takes blocks: the thread goes on receiving and says what it threw away. */
START_TEST(listener_goes_on_when_no_block_is_free)
{
	struct wish w = { .yaml = ANY, .blocks = 2, .batch_rows = 10, .batch_us = 0 };
	struct hep *h = malloc(sizeof(*h));
	uint64_t rows;
	struct rig r;

	rig_start(&r, &w);
	hep_sip(h);
	for (int i = 0; i < 1000; i++)
		send_hep(&r, h);
	wait_for_outcomes(&r);
	ck_assert_uint_gt(shed_of(counters(&r)), 1000 - 21);
	rows = take_rows(&r);
	for (int i = 0; i < 10; i++)
		send_hep(&r, h);
	wait_for_outcomes(&r);
	rig_stop(&r);
	rows += take_rows(&r);
	expect_balance(counters(&r), 1010);
	ck_assert_uint_eq(rows, counter_get(&counters(&r)->accepted));
	rig_free(&r);
	free(h);
}
END_TEST

/* ---- allocations ---- */

#define WARM_UP	 500
#define MEASURED 20000

static void send_mix(struct rig *r, struct hep **kinds, int count, int datagrams)
{
	for (int i = 0; i < datagrams; i++) {
		send_hep(r, kinds[i % count]);
		if (r->sent[0] % IN_FLIGHT == 0)
			take_rows(r);
	}
	wait_for_outcomes(r);
}

/* The turn in which the last datagram was read is over. */
static uint64_t mallocs_at_rest(struct rig *r)
{
	struct timespec moment = { .tv_nsec = 200000 };
	uint64_t until = clock_mono_us() + DEADLINE_US;

	while (take_rows(r) ==
	       0) { /* batch_us of 1 ms: tend() seals, and then says what was allocated */
		ck_assert_uint_lt(clock_mono_us(), until);
		nanosleep(&moment, NULL);
	}
	return atomic_load(&r->mallocs);
}

START_TEST(receiving_allocates_nothing)
{
	struct wish w = { .yaml = "legs: [X-CID]\n" ANY,
			  .blocks = 16,
			  .batch_rows = 100,
			  .batch_us = 1000,
			  .statistics = true };
	enum { KINDS = ROWS(mix) + 2 };
	struct hep *kinds[KINDS];
	uint64_t before, after;
	struct rig r;

	if (!COUNTS_MALLOCS) {
		printf("skipped: receiving_allocates_nothing: the allocator is the sanitizer's\n");
		return;
	}
	for (int i = 0; i < KINDS; i++) {
		kinds[i] = malloc(sizeof(struct hep));
		if (i < ROWS(mix))
			mix[i].make(kinds[i]);
		else
			hep_compressed(kinds[i], i == ROWS(mix) ? GZIP : RAW, SIP_OF("INVITE"),
				       SIZE_MAX);
	}
	rig_start(&r, &w);
	send_mix(&r, kinds, 2, WARM_UP);
	send_mix(&r, kinds, 1, 1);
	before = mallocs_at_rest(&r);
	ck_assert_uint_gt(mallocs, 0); /* they are counted at all, in this thread */
	send_mix(&r, kinds, KINDS, MEASURED);
	send_mix(&r, kinds, 1, 1);
	after = mallocs_at_rest(&r);
	rig_stop(&r);
	ck_assert_uint_eq(after - before, 0);
	ck_assert_uint_ge(counter_get(&counters(&r)->received), WARM_UP + MEASURED);
	ck_assert_uint_eq(shed_of(counters(&r)), 0);
	rig_free(&r);
	for (int i = 0; i < KINDS; i++)
		free(kinds[i]);
}
END_TEST

START_TEST(sums_have_blocks_of_their_own_each_second)
{
	struct wish w = {
		.yaml = ANY, .blocks = 4, .batch_rows = 100, .batch_us = 20000, .statistics = true
	};
	const struct listener_ops *ops = &worker_listener_ops;
	struct hep *h = malloc(sizeof(*h));
	uint64_t t = 1000000000, sums = 0;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_front(h, 17, WALL_US);
	hep_payload(h, SIP_OF("BYE"));
	ops->tend(r.worker, t);
	give_at(&r, h, WALL_US, t);
	ops->tend(r.worker, t + 999999);
	ck_assert_uint_eq(take_rows_and(&r, &sums), 1);
	ck_assert_uint_eq(sums, 0);
	ck_assert(!ops->tend(r.worker, t + 1000000));
	ck_assert_uint_eq(take_rows_and(&r, &sums), 0);
	ck_assert_uint_eq(sums, 2);	  /* ALL and BYE */
	ops->tend(r.worker, t + 5000000); /* nothing more */
	ck_assert_uint_eq(take_rows_and(&r, &sums), 0);
	give_at(&r, h, WALL_US, t + 5000001);
	worker_flush(r.worker); /* the end */
	ck_assert_uint_eq(take_rows_and(&r, &sums), 1);
	ck_assert_uint_eq(sums, 3); /* a repeat: ALL */
	ck_assert_uint_eq(counter_get(&worker_tally(r.worker)->made), 3);
	ck_assert_uint_eq(counter_get(&counters(&r)->rows_made), 2);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

START_TEST(sums_take_no_block_that_a_message_may_need)
{
	struct wish w = {
		.yaml = ANY, .blocks = 2, .batch_rows = 1, .batch_us = NEVER_US, .statistics = true
	};
	struct hep *h = malloc(sizeof(*h));
	struct block *first, *second;
	uint64_t sums = 0;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	hep_sip(h);
	worker_listener_ops.tend(r.worker, 1);
	give_at(&r, h, WALL_US, 1);
	worker_listener_ops.tend(r.worker, 2000000); /* one is free: it stays */
	first = worker_take_sealed(r.worker);
	ck_assert(!first->is_statistics);
	ck_assert_ptr_null(worker_take_sealed(r.worker));
	give_at(&r, h, WALL_US, 2000001);
	second = worker_take_sealed(r.worker);
	ck_assert(second && !second->is_statistics);
	worker_give_back(r.worker, first);
	worker_give_back(r.worker, second);
	worker_listener_ops.tend(r.worker, 9000000);
	ck_assert_uint_eq(take_rows_and(&r, &sums), 0);
	ck_assert_uint_gt(sums, 0); /* of both messages */
	ck_assert_uint_eq(counter_get(&worker_tally(r.worker)->lost), 0);
	rig_unmake(&r);
	rcu_thread_end();
	free(h);
}
END_TEST

/* ---- a source that waits ---- */

struct taker {
	struct rig *r;
	_Atomic bool is_last;
	uint64_t rows, sums;
};

static void *take_on(void *arg)
{
	struct taker *t = arg;
	bool is_last;

	do {
		is_last = atomic_load(&t->is_last);
		t->rows += take_rows_and(t->r, &t->sums);
	} while (!is_last);
	return NULL;
}

static void seen_at(struct rig *r, uint64_t ts_us)
{
	struct msg m = { .src = { .family = FAMILY_IPV4 },
			 .dst = { .family = FAMILY_IPV4 },
			 .ts_us = ts_us,
			 .payload = { (const uint8_t *)SIP_OF("OPTIONS"),
				      (uint32_t)strlen(SIP_OF("OPTIONS")) },
			 .ip_proto = PROTO_UDP,
			 .type = HEP_TYPE_SIP };

	worker_sip_seen(r->worker, 0, &m);
}

/* Under all the pressure there is, with hardly a block, and sums that each message pushes out: in
 * one batch. */
START_TEST(source_that_waits_sheds_nothing)
{
	struct wish w = {
		.yaml = ANY, .blocks = 4, .batch_rows = 1, .batch_us = NEVER_US, .statistics = true
	};
	_Atomic bool is_patient = true;
	const uint64_t messages = 3000, step_us = 300 * 1000000ULL;
	struct rig r;
	struct taker t = { .r = &r };
	pthread_t thread;

	rcu_thread_begin();
	rig_make(&r, &w);
	worker_wait_for_blocks(r.worker, &is_patient);
	pressure_ask(&r.spool_pressure, PRESSURE_MOST, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, take_on, &t), 0);
	worker_listener_ops.begin(r.worker, WALL_US, 1);
	for (uint64_t i = 0; i < messages; i++)
		seen_at(&r, WALL_US - (messages - i) * step_us);
	worker_listener_ops.end(r.worker);
	while (!worker_flush(r.worker))
		sched_yield();
	atomic_store(&t.is_last, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), messages);
	ck_assert_uint_eq(shed_of(counters(&r)), 0);
	ck_assert_uint_eq(t.rows, messages);
	ck_assert_uint_eq(counter_get(&worker_tally(r.worker)->lost), 0);
	ck_assert_uint_ge(t.sums, messages); /* each in a time of its own */
	ck_assert_uint_eq(t.sums, counter_get(&worker_tally(r.worker)->made));
	ck_assert_uint_eq(pressure_level(worker_pressure(r.worker)), 0);
	rig_unmake(&r);
	rcu_thread_end();
}
END_TEST

static void *hurry(void *arg)
{
	struct timespec moment = { .tv_nsec = 20000000 };

	nanosleep(&moment, NULL);
	atomic_store((_Atomic bool *)arg, false);
	return NULL;
}

/* The order comes while a message waits, or before: either way it is shed and counted. */
START_TEST(source_that_must_end_waits_no_longer)
{
	struct wish w = { .yaml = ANY, .blocks = 4, .batch_rows = 1, .batch_us = NEVER_US };
	_Atomic bool is_patient = true;
	pthread_t thread;
	struct rig r;

	rcu_thread_begin();
	rig_make(&r, &w);
	worker_wait_for_blocks(r.worker, &is_patient);
	ck_assert(worker_has_room(r.worker));
	worker_listener_ops.begin(r.worker, WALL_US, 1);
	for (int i = 0; i < 4; i++)
		seen_at(&r, WALL_US);
	ck_assert(!worker_has_room(r.worker));
	ck_assert_int_eq(pthread_create(&thread, NULL, hurry, &is_patient), 0);
	seen_at(&r, WALL_US);
	pthread_join(thread, NULL);
	worker_listener_ops.end(r.worker);
	ck_assert_uint_eq(counter_get(&counters(&r)->accepted), 4);
	ck_assert_uint_eq(shed_of(counters(&r)), 1);
	ck_assert_uint_eq(take_rows(&r), 4);
	ck_assert(worker_has_room(r.worker));
	rig_unmake(&r);
	rcu_thread_end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker");
	TCase *t = tcase_create("worker");
	SRunner *runner;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_datagram_is_counted_once_under_its_reason);
	tcase_add_test(t, random_octets_are_counted_too);
	tcase_add_test(t, oddities_that_cost_nothing_are_counted_beside);
	tcase_add_test(t, allow_list_is_that_of_the_source);
	tcase_add_loop_test(t, key_has_to_be_one_of_those_configured, 0, ROWS(keys));
	tcase_add_test(t, agent_has_so_many_messages_a_second);
	tcase_add_test(t, reload_changes_keys_under_the_receive_thread);
	tcase_add_loop_test(t, time_that_cannot_be_is_replaced, 0, ROWS(times));
	tcase_add_loop_test(t, node_names_the_agent, 0, ROWS(capture_ids));
	tcase_add_loop_test(t, protocol_is_numbered_as_chosen, 0, ROWS(protos));
	tcase_add_test(t, row_has_what_hep_and_sip_say);
	tcase_add_test(t, compressed_payload_is_stored_in_the_clear);
	tcase_add_test(t, block_is_sealed_by_age);
	tcase_add_test(t, block_is_sealed_when_full);
	tcase_add_test(t, stopping_seals_what_is_open);
	tcase_add_loop_test(t, message_is_shed_by_class_when_no_block_is_free, 0, ROWS(classes));
	tcase_add_test(t, lower_classes_go_while_blocks_are_few);
	tcase_add_test(t, spool_pressure_sheds_whole_dialogs);
	tcase_add_test(t, there_is_no_room_for_streams_under_pressure);
	tcase_add_test(t, listener_goes_on_when_no_block_is_free);
	tcase_add_test(t, receiving_allocates_nothing);
	tcase_add_test(t, sums_have_blocks_of_their_own_each_second);
	tcase_add_test(t, sums_take_no_block_that_a_message_may_need);
	tcase_add_test(t, source_that_waits_sheds_nothing);
	tcase_add_test(t, source_that_must_end_waits_no_longer);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
