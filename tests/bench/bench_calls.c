/*
 * A whole message, from datagram to row, while a few calls are remembered and while many are:
 * bench_calls FILE ROUNDS ENTRIES [ENTRIES]... Call-ID and branch of the messages in FILE are
 * overwritten, so that each is of one of that many calls, at random, and no copy of another. Prints
 * lines "entries ours reference": CPU nanoseconds per message, the first number of entries being
 * the reference, taken in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "capture/decide.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/worker.h"
#include "hep/listener.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/calls.h"
#include "storage/media.h"
#include "storage/rcu_table.h"
#include "storage/seen.h"
#include "tests/bench/datagrams.h"

#define SIZES	8
#define DIGITS	10
#define A_ROUND 200000
#define MEDIA	100000
#define SEEN	1000000

/* A message whose call can be chosen. */
struct template
{
	uint8_t *at, *callid, *branch;
	size_t len;
};

struct size {
	uint32_t entries;
	struct decide_tables tables;
	struct worker *worker;
};

static struct template templates[4096];
static size_t template_count;
static struct snapshot *published;
static struct conf *conf;
static struct rules *rules;
static uint64_t number;

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t random_next(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void digits_put(uint8_t *at, uint64_t n)
{
	for (int i = DIGITS; i-- > 0; n /= 10)
		at[i] = (uint8_t)('0' + n % 10);
}

/* Where DIGITS octets behind @p word may be overwritten; NULL if there are not so many. */
static uint8_t *room_behind(struct template *t, const char *word)
{
	uint8_t *at = memmem(t->at, t->len, word, strlen(word));

	if (!at)
		return NULL;
	at += strlen(word);
	for (int i = 0; i < DIGITS; i++)
		if (at + i >= t->at + t->len || at[i] <= ' ' || at[i] == ';')
			return NULL;
	return at;
}

static void templates_find(struct datagrams *d)
{
	for (size_t i = 0; i < d->count && template_count < 4096; i++) {
		struct template *t = &templates[template_count];

		*t = (struct template){ .at = (uint8_t *)(uintptr_t)d->at[i], .len = d->len[i] };
		t->callid = room_behind(t, "\r\nCall-ID: ");
		t->branch = room_behind(t, "branch=z9hG4bK");
		template_count += t->callid && t->branch;
	}
}

static void give_back_all(struct worker *w)
{
	struct block *b;

	while ((b = worker_take_sealed(w)))
		worker_give_back(w, b);
}

static void batch(const struct size *s, struct template *const *pick, unsigned count)
{
	static const uint8_t loopback[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 };

	worker_listener_ops.begin(s->worker, 1800000000000000ULL, number);
	for (unsigned i = 0; i < count; i++)
		worker_listener_ops.record(s->worker, 0, pick[i]->at, pick[i]->len, loopback);
	worker_listener_ops.end(s->worker);
	give_back_all(s->worker);
}

/* One of the numbers that a template's calls have. */
static uint64_t number_of(const struct size *s, size_t k, uint64_t random)
{
	return k + template_count * (random % (s->entries / template_count));
}

/* Different templates in a batch, since each is one buffer. */
static double messages(const struct size *s, uint64_t count)
{
	struct template *pick[LISTENER_BATCH];
	unsigned most = template_count < LISTENER_BATCH ? (unsigned)template_count : LISTENER_BATCH;
	double ns = 0, begun;

	for (uint64_t done = 0; done < count; done += most) {
		for (unsigned i = 0; i < most; i++) {
			size_t k = (done + i) % template_count;

			pick[i] = &templates[k];
			digits_put(pick[i]->callid, number_of(s, k, random_next()));
			digits_put(pick[i]->branch, number++);
		}
		begun = cpu_ns();
		batch(s, pick, most);
		ns += cpu_ns() - begun;
	}
	return ns / (double)count;
}

/* A record for each, without the messages that would make them. */
static void fill(struct size *s)
{
	struct rcu_table_thread *th = rcu_table_thread(s->tables.calls, 0);

	rcu_read_begin();
	for (size_t k = 0; k < template_count; k++) {
		uint8_t *at = templates[k].callid;
		uint8_t *end = memchr(at, '\r', 200);
		struct view id = { at, (uint32_t)(end - at) };

		for (uint64_t n = 0; n < s->entries / template_count; n++) {
			digits_put(at, number_of(s, k, n));
			if (!calls_get(th, calls_hash(s->tables.calls, id), id, 1))
				exit(4);
		}
	}
	rcu_read_end();
}

static void size_make(struct size *s, uint32_t entries, struct agents *agents)
{
	static const _Atomic bool is_off[1];
	static const struct pressure calm;
	struct worker_options o = { .snapshot = &published,
				    .is_off = is_off,
				    .spool_pressure = &calm,
				    .blocks = 8,
				    .batch_rows = 1000,
				    .batch_us = 20000,
				    .sources = 1,
				    .agents = agents,
				    .tables = &s->tables };

	s->entries = entries;
	o.spool_fd = eventfd(0, EFD_NONBLOCK);
	if (calls_new(&s->tables.calls, entries, 1) < 0 ||
	    media_new(&s->tables.media, MEDIA, 1) < 0 || seen_new(&s->tables.seen, SEEN, 1) < 0 ||
	    worker_new(&s->worker, &o) < 0)
		exit(3);
	fill(s);
}

int main(int argc, char **argv)
{
	struct size size[SIZES];
	struct agents *agents;
	struct datagrams d;

	if (argc < 4 || argc - 3 > SIZES || datagrams_read(argv[1], &d) < 0)
		return 2;
	templates_find(&d);
	rcu_thread_begin();
	if (template_count == 0 || conf_read_bytes("bench", "{}", 2, &conf, stderr) < 0 ||
	    rules_new(&rules) < 0 || snapshot_new(&published, conf, NULL, rules) < 0 ||
	    agents_new(&agents, 16) < 0)
		return 3;
	for (int i = 0; i < argc - 3; i++)
		size_make(&size[i], (uint32_t)atol(argv[i + 3]), agents);
	for (int round = -1; round < atoi(argv[2]); round++) {
		double reference = messages(&size[0], A_ROUND);

		for (int i = 1; i < argc - 3; i++) {
			double ours = messages(&size[i], A_ROUND);

			if (round >= 0) /* the first one warms up */
				printf("%u %.1f %.1f\n", size[i].entries, ours, reference);
		}
	}
	return 0;
}
