/*
 * The rules. Receive threads: half of the cores, since the database's client, the spool and usually
 * the database itself want the others. Receive buffer: what a burst of BURST_MS at the expected
 * rate is charged by the kernel.
 */
#include "tune/plan.h"

#include "tune/probe.h"

#define RATE_PER_THREAD 20000 /* messages per second expected of one receive thread */
#define BURST_MS	250
#define DATAGRAM_CHARGE 2304 /* octets charged per datagram of 700 to 1400 octets */
#define BUFFER_LEAST	(8ULL << 20)
#define BUFFER_MOST	(512ULL << 20)
#define THREADS_MOST	16
#define WRITERS_DAILY	6 /* two for each of three tables */
#define BLOCKS_LEAST	4
#define RING_BURST_MS	500
#define RING_FRAME	996 /* octets that a frame takes of a ring, on average */
#define RING_STEP	(1ULL << 20)
#define RING_LEAST	16 /* steps */
#define RING_MOST	1024
#define BLOCKS_MOST	64

static uint64_t clamp(uint64_t x, uint64_t low, uint64_t high)
{
	return x > high ? high : x < low ? (low > high ? high : low) : x;
}

static unsigned threads_for(const struct host *h)
{
	int64_t cores = h->cores;

	if (h->cpus > 0 && (cores < 0 || h->cpus < cores))
		cores = h->cpus;
	return cores < 4 ? 1 : (unsigned)clamp((uint64_t)cores / 2, 1, THREADS_MOST);
}

/*
 * A table takes at most two writers at once; on few cores a second one only adds switches. Each
 * keeps a core of the database busy: for several tables more of them share a quarter of the CPUs.
 */
static unsigned writers_for(const struct host *h, bool is_daily)
{
	if (h->cpus < 4)
		return 1;
	return is_daily ? (unsigned)clamp((uint64_t)h->cpus / 4, 2, WRITERS_DAILY) : 2;
}

static uint64_t buffer_for(const struct host *h, const struct plan_wish *w, unsigned threads)
{
	uint64_t rate = w->messages_per_s ? w->messages_per_s / threads : RATE_PER_THREAD;
	uint64_t want = rate * BURST_MS / 1000 * DATAGRAM_CHARGE;
	unsigned sockets = w->hep_sockets;
	uint64_t most = BUFFER_MOST;

	if (h->ram_bytes > 0 && (uint64_t)h->ram_bytes / 32 / threads < most)
		most = (uint64_t)h->ram_bytes / 32 / threads;
	if (h->udp_mem_bytes > 0 && sockets &&
	    (uint64_t)h->udp_mem_bytes / 4 / (threads * sockets) < most)
		most = (uint64_t)h->udp_mem_bytes / 4 / (threads * sockets);
	return clamp(want, BUFFER_LEAST, most);
}

/* A quarter of the memory budget. */
static unsigned blocks_for(const struct plan_wish *w, unsigned threads)
{
	uint64_t room = w->memory / 4 / threads / (w->block_bytes ? w->block_bytes : 1);
	unsigned blocks = BLOCKS_LEAST;

	while (blocks < BLOCKS_MOST && blocks * 2 <= room)
		blocks *= 2;
	return blocks;
}

void plan_make(const struct host *host, const struct plan_wish *wish, struct plan *out)
{
	out->hep_threads = wish->hep_threads ? wish->hep_threads : threads_for(host);
	out->writers = wish->writers ? wish->writers : writers_for(host, wish->is_daily);
	out->socket_buffer = buffer_for(host, wish, out->hep_threads);
	out->blocks = blocks_for(wish, out->hep_threads + wish->cap_threads);
}

static uint64_t least_of(const struct plan_table *t)
{
	return t->entries < PLAN_TABLE_LEAST ? t->entries : PLAN_TABLE_LEAST;
}

/* Products of the largest sizes do not fit in 64 bits. */
static uint64_t share_of(uint64_t entries, uint64_t room, unsigned __int128 wished)
{
	return wished ? (uint64_t)((unsigned __int128)entries * room / wished) : 0;
}

/* The table whose share is below its least; @p count: none. */
static unsigned small_find(const struct plan_table *tables, const bool *is_settled, unsigned count,
			   uint64_t room, unsigned __int128 wished)
{
	unsigned i = 0;

	while (i < count &&
	       (is_settled[i] || share_of(tables[i].entries, room, wished) >= least_of(&tables[i])))
		i++;
	return i;
}

/* One that gets its least leaves less to the others, so that they may come to theirs. */
bool plan_tables(uint64_t memory, struct plan_table *tables, unsigned count)
{
	bool is_settled[PLAN_TABLES_MOST] = { false }, is_enough = true;
	uint64_t room = memory / 2, cost;
	unsigned __int128 wished = 0;
	unsigned small;

	for (unsigned i = 0; i < count; i++)
		wished += (unsigned __int128)tables[i].entries * tables[i].entry_bytes;
	if (wished <= room)
		return true;
	while ((small = small_find(tables, is_settled, count, room, wished)) < count) {
		struct plan_table *t = &tables[small];

		wished -= (unsigned __int128)t->entries * t->entry_bytes;
		t->entries = least_of(t);
		cost = t->entries * t->entry_bytes;
		is_enough &= cost <= room;
		room -= cost <= room ? cost : room;
		is_settled[small] = true;
	}
	for (unsigned i = 0; i < count; i++)
		if (!is_settled[i])
			tables[i].entries = share_of(tables[i].entries, room, wished);
	return is_enough;
}

uint64_t plan_ring(const struct host *host, unsigned threads, uint64_t packets_per_s)
{
	uint64_t burst = packets_per_s / threads * RING_BURST_MS / 1000 * RING_FRAME;
	uint64_t most = RING_MOST;

	if (host->ram_bytes > 0 && (uint64_t)host->ram_bytes / 16 / threads / RING_STEP < most)
		most = (uint64_t)host->ram_bytes / 16 / threads / RING_STEP;
	return clamp((burst + RING_STEP - 1) / RING_STEP, RING_LEAST, most ? most : 1) * RING_STEP;
}
