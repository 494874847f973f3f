/**
 * @file
 * A thread with a source of packets, which keeps what it is given.
 */
#pragma once
#include <cap-ng.h>
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture/source.h"
#include "conf/clock.h"
#include "tests/unit/veth.h"

#define GOT_MOST    40000
#define HEAD_BYTES  96
#define DEADLINE_US (20 * UINT64_C(1000000))

struct got {
	uint32_t len, wire_len, number; /* the last four octets */
	int link;
	bool has_vlan;
	uint16_t tci;
	uint64_t ts_us;
	uint8_t head[HEAD_BYTES];
};

/* A kind of source. */
struct runner_kind {
	void (*run)(void *source, const struct source_ops *ops, void *ctx,
		    struct packet_counters *counters);
	void (*stop)(void *source);
	void (*close)(void *source);
};

struct runner {
	void *source;
	const struct runner_kind *kind;
	struct packet_counters counters;
	pthread_t thread;
	bool waits_at_first; /* for the gate */
	bool has_no_rights;
	sem_t first, gate;
	bool is_in_batch;
	size_t batches;
	size_t count;
	_Atomic uint32_t last; /* number of the last one */
	struct got *got;
};

static inline void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	struct runner *r = ctx;

	ck_assert(!r->is_in_batch && wall_us && mono_us);
	r->is_in_batch = true;
	r->batches++;
}

static inline void on_frame(void *ctx, const struct captured *c)
{
	struct runner *r = ctx;
	struct got *g = &r->got[r->count];

	ck_assert(r->is_in_batch);
	if (r->count == 0 && r->waits_at_first) {
		sem_post(&r->first);
		while (sem_wait(&r->gate) < 0)
			;
	}
	ck_assert_uint_lt(r->count++, GOT_MOST);
	*g = (struct got){ .len = c->bytes.len,
			   .wire_len = c->wire_len,
			   .link = c->link,
			   .has_vlan = c->has_vlan,
			   .tci = c->vlan_tci,
			   .ts_us = c->ts_us };
	memcpy(g->head, c->bytes.at, c->bytes.len < HEAD_BYTES ? c->bytes.len : HEAD_BYTES);
	if (c->bytes.len >= 4)
		memcpy(&g->number, c->bytes.at + c->bytes.len - 4, 4);
	atomic_store(&r->last, g->number);
}

static inline void on_end(void *ctx)
{
	struct runner *r = ctx;

	ck_assert(r->is_in_batch);
	r->is_in_batch = false;
}

static inline bool on_tend(void *ctx, uint64_t mono_us)
{
	struct runner *r = ctx;

	ck_assert(!r->is_in_batch && mono_us);
	return false;
}

static const struct source_ops runner_ops = {
	.begin = on_begin, .frame = on_frame, .end = on_end, .tend = on_tend
};

/* Capabilities are of a thread. */
static inline void rights_drop(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	ck_assert_int_eq(capng_apply(CAPNG_SELECT_CAPS), 0);
	ck_assert_int_eq(socket(AF_PACKET, SOCK_RAW, 0), -1);
}

static inline void *runner_thread(void *arg)
{
	struct runner *r = arg;

	if (r->has_no_rights)
		rights_drop();
	r->kind->run(r->source, &runner_ops, r, &r->counters);
	return NULL;
}

static inline void runner_start(struct runner *r, const struct runner_kind *kind, void *source)
{
	r->kind = kind;
	r->source = source;
	r->got = calloc(GOT_MOST, sizeof(*r->got));
	sem_init(&r->first, 0, 0);
	sem_init(&r->gate, 0, 0);
	ck_assert_int_eq(pthread_create(&r->thread, NULL, runner_thread, r), 0);
}

static inline void runner_stop(struct runner *r)
{
	r->kind->stop(r->source);
	ck_assert_int_eq(pthread_join(r->thread, NULL), 0);
	ck_assert(!r->is_in_batch);
	ck_assert_uint_eq(counter_get(&r->counters.delivered), r->count);
	ck_assert_uint_eq(counter_get(&r->counters.seen),
			  r->count + counter_get(&r->counters.kernel_dropped));
}

static inline void runner_fini(struct runner *r)
{
	r->kind->close(r->source);
	free(r->got);
}

static inline void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* All runners together have seen so many. */
static inline void wait_for(struct runner *r, unsigned runners, uint64_t seen)
{
	uint64_t until = clock_mono_us() + DEADLINE_US, sum = 0;

	while (clock_mono_us() < until) {
		sum = 0;
		for (unsigned i = 0; i < runners; i++)
			sum += counter_get(&r[i].counters.seen);
		if (sum >= seen)
			break;
		nap();
	}
	ck_assert_uint_eq(sum, seen);
}

static inline struct frame_bytes numbered(const char *layers, uint32_t number)
{
	struct frame_bytes f = frame_of_layers(layers);

	frame_put(&f, &number, 4);
	return f;
}

/* As long as @p size. */
static inline void send_sized(int fd, const char *layers, size_t size, uint32_t number)
{
	static struct frame_bytes f;

	f = frame_of_layers(layers);
	while (f.len + 4 < size)
		frame_put(&f, f.at, size - 4 - f.len < 40 ? size - 4 - f.len : 40);
	frame_put(&f, &number, 4);
	veth_send(fd, f.at, f.len);
}

static inline void send_numbered(int fd, const char *layers, uint32_t number)
{
	struct frame_bytes f = numbered(layers, number);

	veth_send(fd, f.at, f.len);
}

/* The frame with this number has come, and with it all that were sent before. */
static inline void wait_for_number(struct runner *r, uint32_t number)
{
	uint64_t until = clock_mono_us() + DEADLINE_US;

	while (atomic_load(&r->last) != number && clock_mono_us() < until)
		nap();
	ck_assert_uint_eq(atomic_load(&r->last), number);
}

/* Send frames of a number until one comes through, which is when the interface has been taken
 * again. */
static inline void wait_until_it_sees(struct runner *r, unsigned rings, int fd, uint32_t number)
{
	uint64_t until = clock_mono_us() + DEADLINE_US;
	bool came = false;

	while (!came && clock_mono_us() < until) {
		send_numbered(fd, "eth=0800 ip4=17 ports=1:5060", number);
		nap();
		for (unsigned i = 0; i < rings; i++)
			came |= atomic_load(&r[i].last) == number;
	}
	ck_assert(came);
}

static inline bool is_promiscuous(void)
{
	return system("ip -d link show near | grep -q 'promiscuity 1'") == 0;
}

/* A socket that is opened before a source has a frame after the source has it. */
static inline int witness_open(void)
{
	int fd = veth_sender("near");
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex("near") };
	struct timeval patience = { .tv_sec = 20 };

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}
