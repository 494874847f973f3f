/*
 * The table of calls against a bare cds_lfht with nodes of the same size in the same kind of
 * memory: bench_tables ROUNDS ENTRIES [ENTRIES]... Prints lines "what entries ours reference", CPU
 * nanoseconds, taken in turn. `batch` and `message` (a batch of 64: SIP parsed, hashed, fetched,
 * looked up, noted, judged) have the first number of entries as reference, `seen` (the key of a
 * message, judged, mostly new) likewise. `readers` is lookups per CPU second of two readers and of
 * one while a writer inserts and the oldest are evicted.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/calls.h"
#include "storage/seen.h"

#define BATCH	   64
#define ASKED	   (1U << 20) /* different lookups: more than caches hold */
#define NODE_BYTES 448
#define ID_BYTES   40
#define THREADS	   4
#define SIZES	   8

/* The reference. */
struct node {
	struct cds_lfht_node node;
	uint32_t id_len;
	uint8_t pad[20];
	uint8_t id[NODE_BYTES - 40];
};

struct bare {
	struct cds_lfht *ht;
	struct node *nodes;
	size_t bytes;
};

/* A Call-ID; of several lengths, as they are. */
struct id {
	uint32_t len;
	uint8_t at[ID_BYTES];
};

/* One number of entries. */
struct size {
	uint32_t entries;
	struct rcu_table *calls, *seen;
	struct bare bare;
	struct id *asked;
};

static uint64_t sink;

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t mix(uint64_t z)
{
	z = (z + 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
	return z ^ z >> 31;
}

/* The Call-ID of call @p n. */
static void id_write(struct id *out, uint64_t n)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t bits = mix(n);

	memcpy(out->at, "0000000000000000-00000000@198.51.100.123", ID_BYTES);
	for (int i = 0; i < 16; i++)
		out->at[i] = (uint8_t)hex[bits >> 4 * i & 15];
	for (int i = 0; i < 8; i++)
		out->at[17 + i] = (uint8_t)hex[n >> 4 * i & 15];
	out->len = ID_BYTES - (uint32_t)(bits >> 32) % 8;
}

static struct view id_view(const struct id *id)
{
	return (struct view){ id->at, id->len };
}

static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		exit(3);
	(void)madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

/* ---- the bare table ---- */

static int node_match(struct cds_lfht_node *node, const void *key)
{
	const struct node *n = caa_container_of(node, struct node, node);
	const struct view *v = key;

	return n->id_len == v->len && memcmp(n->id, v->at, v->len) == 0;
}

static uint64_t bare_hash(struct view v)
{
	return XXH3_64bits_withSeed(v.at, v.len, 1);
}

static void bare_fill(struct bare *b, uint32_t entries)
{
	unsigned long buckets = 1;

	while (buckets < entries)
		buckets <<= 1;
	b->bytes = (size_t)entries * sizeof(struct node);
	b->nodes = map(b->bytes);
	b->ht = cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_memb_flavor, NULL);
	for (uint32_t i = 0; i < entries; i++) {
		struct id id;
		struct view v;

		id_write(&id, i);
		v = id_view(&id);
		memcpy(b->nodes[i].id, id.at, id.len);
		b->nodes[i].id_len = id.len;
		rcu_read_begin();
		cds_lfht_add_unique(b->ht, bare_hash(v), node_match, &v, &b->nodes[i].node);
		rcu_read_end();
	}
}

static double bare_lookups(struct size *s, unsigned n)
{
	double begin = cpu_ns();
	uint64_t hash[BATCH];

	for (unsigned i = 0; i < n; i += BATCH) {
		rcu_read_begin();
		for (unsigned k = 0; k < BATCH; k++)
			hash[k] = bare_hash(id_view(&s->asked[(i + k) % ASKED]));
		for (unsigned k = 0; k < BATCH; k++) {
			struct view v = id_view(&s->asked[(i + k) % ASKED]);
			struct cds_lfht_iter iter;

			cds_lfht_lookup(s->bare.ht, hash[k], node_match, &v, &iter);
			sink += cds_lfht_iter_get_node(&iter) != NULL;
		}
		rcu_read_end();
	}
	return (cpu_ns() - begin) / n;
}

/* ---- ours ---- */

static struct call *put(struct size *s, unsigned thread, uint64_t n, uint32_t now_ms)
{
	struct id id;
	struct view v;
	struct call *call;

	id_write(&id, n);
	v = id_view(&id);
	rcu_read_begin();
	call = calls_get(rcu_table_thread(s->calls, thread), calls_hash(s->calls, v), v, now_ms);
	rcu_read_end();
	return call;
}

static void fetch(const struct rcu_table *t, const uint64_t hash[BATCH])
{
	for (unsigned k = 0; k < BATCH; k++)
		rcu_table_prefetch_bucket(t, hash[k]);
	for (unsigned k = 0; k < BATCH; k++)
		rcu_table_prefetch_entry(t, hash[k]);
}

static double our_lookups(struct size *s, unsigned n, bool is_fetched)
{
	double begin = cpu_ns();
	uint64_t hash[BATCH];

	for (unsigned i = 0; i < n; i += BATCH) {
		rcu_read_begin();
		for (unsigned k = 0; k < BATCH; k++)
			hash[k] = calls_hash(s->calls, id_view(&s->asked[(i + k) % ASKED]));
		if (is_fetched)
			fetch(s->calls, hash);
		for (unsigned k = 0; k < BATCH; k++) {
			struct view v = id_view(&s->asked[(i + k) % ASKED]);

			sink += calls_find(s->calls, hash[k], v, 1) != NULL;
		}
		rcu_read_end();
	}
	return (cpu_ns() - begin) / n;
}

/* ---- a whole message ---- */

#define TEXT_BYTES 700

static const char text_head[] =
	"INVITE sip:alice@198.51.100.20:5060;transport=udp SIP/2.0\r\n"
	"Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK776asdhds;rport\r\n"
	"Via: SIP/2.0/UDP 192.0.2.44:5060;branch=z9hG4bKnashds8;received=192.0.2.44\r\n"
	"Max-Forwards: 69\r\n"
	"From: \"Bob\" <sip:bob@example.org>;tag=1928301774\r\n"
	"To: Alice <sip:alice@example.org>;tag=a6c85cf\r\n"
	"CSeq: 314159 INVITE\r\n"
	"Contact: <sip:bob@192.0.2.44:5060>\r\n"
	"User-Agent: bench 1.0\r\n"
	"Content-Length: 0\r\n"
	"Call-ID: ";

struct text {
	uint8_t at[TEXT_BYTES];
	uint32_t len;
};

static void text_write(struct text *t, const struct id *id)
{
	memcpy(t->at, text_head, sizeof(text_head) - 1);
	memcpy(t->at + sizeof(text_head) - 1, id->at, id->len);
	memcpy(t->at + sizeof(text_head) - 1 + id->len, "\r\n\r\n", 4);
	t->len = sizeof(text_head) - 1 + id->len + 4;
}

static double messages(struct size *s, unsigned n)
{
	static struct text text[BATCH];
	static struct sip sip[BATCH];
	double begin = cpu_ns();
	uint64_t hash[BATCH];

	for (unsigned i = 0; i < n; i += BATCH) {
		for (unsigned k = 0; k < BATCH; k++) {
			text_write(&text[k], &s->asked[(i + k) % ASKED]);
			if (sip_parse((struct view){ text[k].at, text[k].len }, NULL, &sip[k]) < 0)
				exit(3);
			hash[k] = calls_hash(s->calls, sip[k].callid);
		}
		rcu_read_begin();
		fetch(s->calls, hash);
		for (unsigned k = 0; k < BATCH; k++) {
			struct call *call = calls_find(s->calls, hash[k], sip[k].callid, i);

			if (!call)
				exit(3);
			sink += call_note(call, &sip[k], i + k + 1);
			sink += call_verdict(call).rule + call_aleg(call).len;
		}
		rcu_read_end();
	}
	return (cpu_ns() - begin) / n;
}

/* Every message is a new one, as almost all are; the table is full and evicts. */
static double copies(struct size *s, unsigned n)
{
	static uint64_t number;
	static struct seen_counters counters;
	struct rcu_table_thread *th = rcu_table_thread(s->seen, 0);
	static uint8_t text[BATCH][TEXT_BYTES];
	double begin = cpu_ns();

	for (unsigned i = 0; i < n; i += BATCH) {
		struct seen_copy copy[BATCH];
		uint64_t hash[BATCH];

		for (unsigned k = 0; k < BATCH; k++) {
			struct msg m = { .src = { .ip = { 192, 0, 2, 1 }, .family = FAMILY_IPV4 },
					 .dst = { .ip = { 192, 0, 2, 2 }, .family = FAMILY_IPV4 },
					 .payload = { text[k], TEXT_BYTES },
					 .ip_proto = PROTO_UDP };

			number++;
			memcpy(text[k], &number, sizeof(number));
			copy[k] = (struct seen_copy){ .key = seen_key(s->seen, &m),
						      .source = 1,
						      .ip_id = SEEN_NO_IP_ID,
						      .ts_us = number };
			hash[k] = copy[k].key.low;
		}
		rcu_read_begin();
		fetch(s->seen, hash);
		for (unsigned k = 0; k < BATCH; k++)
			sink += seen_judge(th, &counters, &copy[k], 5000, (uint32_t)(number >> 10));
		rcu_read_end();
	}
	return (cpu_ns() - begin) / n;
}

/* ---- readers while a writer inserts ---- */

struct reader {
	pthread_t thread;
	struct size *size;
	pthread_barrier_t *begin;
	unsigned lookups;
	double ns_each;
};

static _Atomic bool is_over;

static void *read_on(void *arg)
{
	struct reader *r = arg;

	rcu_thread_begin();
	pthread_barrier_wait(r->begin);
	r->ns_each = our_lookups(r->size, r->lookups, true);
	rcu_thread_end();
	return NULL;
}

static void *write_on(void *arg)
{
	struct reader *w = arg;
	uint64_t n = 1ULL << 40;

	rcu_thread_begin();
	pthread_barrier_wait(w->begin);
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		sink += put(w->size, 3, n, (uint32_t)(n & 0xffff)) != NULL;
		n++;
	}
	rcu_thread_end();
	return NULL;
}

/* Lookups per CPU microsecond of all readers together. */
static double read_with(struct size *s, unsigned readers, unsigned lookups)
{
	struct reader r[3] = { 0 };
	pthread_barrier_t begin;
	double sum = 0;

	pthread_barrier_init(&begin, NULL, readers + 1);
	atomic_store(&is_over, false);
	for (unsigned i = 0; i <= readers; i++) {
		r[i] = (struct reader){ .size = s, .begin = &begin, .lookups = lookups };
		pthread_create(&r[i].thread, NULL, i < readers ? read_on : write_on, &r[i]);
	}
	for (unsigned i = 0; i <= readers; i++) {
		if (i == readers)
			atomic_store(&is_over, true);
		pthread_join(r[i].thread, NULL);
		sum += i < readers ? 1e3 / r[i].ns_each : 0;
	}
	pthread_barrier_destroy(&begin);
	return sum;
}

/* ---- all of it ---- */

static void size_fill(struct size *s, uint32_t entries)
{
	double begin, ours, bare;

	s->entries = entries;
	if (calls_new(&s->calls, entries, THREADS) < 0 || seen_new(&s->seen, entries, THREADS) < 0)
		exit(3);
	s->asked = map((size_t)ASKED * sizeof(*s->asked));
	for (unsigned i = 0; i < ASKED; i++)
		id_write(&s->asked[i], mix(i) % entries);
	begin = cpu_ns();
	for (uint32_t i = 0; i < entries; i++)
		if (!put(s, 0, i, 1))
			exit(3);
	ours = (cpu_ns() - begin) / entries;
	begin = cpu_ns();
	bare_fill(&s->bare, entries);
	bare = (cpu_ns() - begin) / entries;
	printf("first %u %.1f %.1f\n", entries, ours, bare);
	(void)copies(s, entries + entries / 8);
}

int main(int argc, char **argv)
{
	static struct size size[SIZES];
	int sizes = argc - 2;
	unsigned n = 2 * ASKED;

	if (argc < 3 || sizes > SIZES)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	rcu_thread_begin();
	if (!urcu_memb_get_default_call_rcu_data())
		return 3;
	for (int i = 0; i < sizes; i++)
		size_fill(&size[i], (uint32_t)strtoul(argv[2 + i], NULL, 10));
	for (int round = -1; round < atoi(argv[1]); round++) {
		bool is_warm = round >= 0; /* the first round warms up */

		for (int i = 0; i < sizes; i++) {
			double ours = our_lookups(&size[i], n, false);
			double bare = bare_lookups(&size[i], n);

			if (is_warm)
				printf("lookup %u %.1f %.1f\n", size[i].entries, ours, bare);
		}
		for (int i = 0; i < sizes; i++) {
			double batch[2], whole[2], seen[2];

			for (int k = 0; k < 2; k++) {
				struct size *s = k ? &size[0] : &size[i];

				batch[k] = our_lookups(s, n, true);
				whole[k] = messages(s, n / 4);
				seen[k] = copies(s, n / 8);
			}
			if (!is_warm)
				continue;
			printf("batch %u %.1f %.1f\n", size[i].entries, batch[0], batch[1]);
			printf("message %u %.1f %.1f\n", size[i].entries, whole[0], whole[1]);
			printf("seen %u %.1f %.1f\n", size[i].entries, seen[0], seen[1]);
		}
	}
	/* at the end, because the writer evicts what was looked up before */
	for (int round = -1; round < atoi(argv[1]); round++)
		for (int i = 0; i < sizes; i++) {
			double two = read_with(&size[i], 2, n), one = read_with(&size[i], 1, n);

			if (round >= 0)
				printf("readers %u %.2f %.2f\n", size[i].entries, two, one);
		}
	return sink == 0;
}
