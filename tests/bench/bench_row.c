/*
 * From datagram to row in a block, against a bare scan of the same octets: bench_row FILE ROUNDS
 * The scan is what a program would do that only ever sees well-formed messages: walk the chunks,
 * find the header lines, remember where those lie that are stored, and user, host, tag and branch
 * in them. It checks no bound twice, knows no compact form, folding, quoting or case, counts
 * nothing, decides nothing and copies nothing. Prints pairs of microseconds per message, taken in
 * turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "capture/first.h"
#include "capture/pressure.h"
#include "capture/snapshot.h"
#include "capture/tables.h"
#include "capture/tally.h"
#include "capture/worker.h"
#include "hep/listener.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "tests/bench/datagrams.h"

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the bare scan ---- */

struct field {
	const uint8_t *at;
	size_t len;
};

enum {
	RURI,
	FROM,
	TO,
	CALL_ID,
	CSEQ,
	VIA,
	CONTACT,
	AGENT,
	TYPE,
	LINES,
	PARTS = LINES,
	FIELDS = LINES + 16
};
static struct field field[FIELDS + 32];

/* user, host and tag of a URI that is well-formed */
static void scan_uri(struct field f, struct field *out)
{
	const uint8_t *end = f.at + f.len, *colon = memchr(f.at, ':', f.len), *sign, *stop, *tag;

	if (!colon)
		return;
	sign = memchr(colon, '@', (size_t)(end - colon));
	if (sign)
		out[0] = (struct field){ colon + 1, (size_t)(sign - colon - 1) };
	else
		sign = colon;
	for (stop = sign + 1; stop < end && *stop != ':' && *stop != ';' && *stop != '>'; stop++)
		;
	out[1] = (struct field){ sign + 1, (size_t)(stop - sign - 1) };
	tag = memmem(stop, (size_t)(end - stop), "tag=", 4);
	if (tag)
		out[2] = (struct field){ tag + 4, (size_t)(end - tag - 4) };
}

static void scan_line(const uint8_t *at, size_t name, size_t len)
{
	static const struct {
		const char *name;
		size_t len;
		int field;
	} wanted[] = { { "Via", 3, VIA },
		       { "From", 4, FROM },
		       { "To", 2, TO },
		       { "Call-ID", 7, CALL_ID },
		       { "CSeq", 4, CSEQ },
		       { "Contact", 7, CONTACT },
		       { "User-Agent", 10, AGENT },
		       { "Content-Type", 12, TYPE },
		       { "Server", 6, AGENT },
		       { "Authorization", 13, 9 },
		       { "Proxy-Authorization", 19, 9 },
		       { "P-Asserted-Identity", 19, 10 },
		       { "Diversion", 9, 11 },
		       { "Reason", 6, 12 },
		       { "X-CID", 5, 13 },
		       { "Expires", 7, 14 } };

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (wanted[i].len == name && memcmp(wanted[i].name, at, name) == 0 &&
		    !field[wanted[i].field].at)
			field[wanted[i].field] = (struct field){ at + name + 2, len - name - 2 };
}

static void scan_sip(const uint8_t *at, const uint8_t *end)
{
	const uint8_t *branch;

	memset(field, 0, sizeof(field));
	field[RURI] = (struct field){ at, 80 < end - at ? 80 : (size_t)(end - at) };
	while (at < end) {
		const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
		const uint8_t *colon;

		if (!line_end)
			line_end = end;
		if (line_end - at <= 1)
			break;
		colon = memchr(at, ':', (size_t)(line_end - at));
		if (colon)
			scan_line(at, (size_t)(colon - at), (size_t)(line_end - at));
		at = line_end + 1;
	}
	for (int i = RURI; i <= TO; i++)
		scan_uri(field[i], &field[FIELDS + 3 * i]);
	if (field[CONTACT].at)
		scan_uri(field[CONTACT], &field[FIELDS + 9]);
	branch = field[VIA].at ? memmem(field[VIA].at, field[VIA].len, "branch=", 7) : NULL;
	field[FIELDS + 12].at = branch;
}

static void scan(const uint8_t *bytes, size_t len)
{
	size_t at = 6;

	while (at + 6 <= len) {
		unsigned type = (unsigned)(bytes[at + 2] << 8 | bytes[at + 3]);
		size_t size = (size_t)(bytes[at + 4] << 8 | bytes[at + 5]);

		if (size < 6 || at + size > len)
			break;
		if (type == 15)
			scan_sip(bytes + at + 6, bytes + at + size);
		else
			field[FIELDS + 16 + type % 16] = (struct field){ bytes + at + 6, size - 6 };
		at += size;
	}
}

/* ---- ours ---- */

static struct snapshot *published;

static void give_back_all(struct worker *w)
{
	struct block *b;

	while ((b = worker_take_sealed(w)))
		worker_give_back(w, b);
}

static void rows(struct worker *w, const struct datagrams *d)
{
	static const uint8_t loopback[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 };

	for (size_t i = 0; i < d->count; i += LISTENER_BATCH) {
		worker_listener_ops.begin(w, 1800000000000000ULL, i);
		for (size_t k = i; k < d->count && k < i + LISTENER_BATCH; k++)
			worker_listener_ops.record(w, 0, d->at[k], d->len[k], loopback);
		worker_listener_ops.end(w);
		give_back_all(w);
	}
}

int main(int argc, char **argv)
{
	static const _Atomic bool is_off[1];
	static const struct pressure calm;
	struct worker_options o = { .snapshot = &published,
				    .is_off = is_off,
				    .spool_pressure = &calm,
				    .blocks = 8,
				    .batch_rows = 1000,
				    .batch_us = 20000,
				    .sources = 1 };
	struct tally_options tally = { .seed = 1 };
	struct tables *tables;
	struct datagrams d;
	struct rules *rules;
	struct conf *conf;
	struct worker *w;
	int repeats = argc > 3 ? atoi(argv[3]) : 400;

	if (argc < 3 || datagrams_read(argv[1], &d) < 0)
		return 2;
	o.spool_fd = eventfd(0, EFD_NONBLOCK);
	rcu_thread_begin();
	if (agents_new(&o.agents, 16) < 0 || first_new(&tally.first, 16 << 20) < 0)
		return 3;
	o.tally = &tally;
	if (conf_read_bytes("bench", "{}", 2, &conf, stderr) < 0 || rules_new(&rules) < 0 ||
	    snapshot_new(&published, conf, NULL, rules) < 0 || tables_new(&tables, conf, 1) < 0)
		return 3;
	o.tables = tables_of(tables);
	if (worker_new(&w, &o) < 0)
		return 3;
	for (int round = -1; round < atoi(argv[2]); round++) {
		double t0 = cpu_us(), t1, t2;

		for (int i = 0; i < repeats; i++)
			rows(w, &d);
		t1 = cpu_us();
		for (int i = 0; i < repeats; i++)
			for (size_t k = 0; k < d.count; k++)
				scan(d.at[k], d.len[k]);
		t2 = cpu_us();
		if (round >= 0) /* the first one warms up */
			printf("%.4f %.4f\n", (t1 - t0) / repeats / (double)d.count,
			       (t2 - t1) / repeats / (double)d.count);
	}
	return 0;
}
