/* tune/plan.c and tune/probe.c: what is planned for which host, from recorded ones too. Runs from
 * the root of the sources. */
#include "tune/plan.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/unit/hosts.h"
#include "tests/unit/made_host.h"
#include "tune/probe.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define GIB	    (1LL << 30)
#define MIB	    (1LL << 20)
#define USUAL	    .hep_sockets = 1, .memory = GIB, .block_bytes = 1376256 /* of a wish */
#define WANTED	    11520000 /* 20,000 messages/s for 250 ms at 2,304 octets */

/* ---- plan ---- */

static const struct {
	const char *what;
	struct host host;
	struct plan_wish wish;
	struct plan plan;
} goldens[] = {
	{ "2 cores, 24 GiB",
	  { .cpus = 2,
	    .cores = 2,
	    .ram_bytes = 24 * GIB,
	    .rmem_max = 4 * MIB,
	    .udp_mem_bytes = 3 * GIB },
	  { USUAL },
	  { 1, 1, WANTED, 64 } },
	{ "nothing is known", { -1, -1, -1, -1, -1 }, { USUAL }, { 1, 1, WANTED, 64 } },
	{ "one core", { 1, 1, 16 * GIB, -1, -1 }, { USUAL }, { 1, 1, WANTED, 64 } },
	{ "three cores", { 3, 3, 16 * GIB, -1, -1 }, { USUAL }, { 1, 1, WANTED, 64 } },
	{ "four cores", { 4, 4, 16 * GIB, -1, -1 }, { USUAL }, { 2, 2, WANTED, 64 } },
	{ "siblings are no cores", { 4, 2, 16 * GIB, -1, -1 }, { USUAL }, { 1, 2, WANTED, 64 } },
	{ "we may run on 4 of 16", { 4, 16, 64 * GIB, -1, -1 }, { USUAL }, { 2, 2, WANTED, 64 } },
	{ "CPUs known, cores not", { 8, -1, 64 * GIB, -1, -1 }, { USUAL }, { 4, 2, WANTED, 32 } },
	{ "128 cores", { 256, 128, 512 * GIB, -1, -1 }, { USUAL }, { 16, 2, WANTED, 8 } },
	{ "daily tables, two cores",
	  { 2, 2, 16 * GIB, -1, -1 },
	  { USUAL, .is_daily = true },
	  { 1, 1, WANTED, 64 } },
	{ "daily tables, four cores",
	  { 4, 4, 16 * GIB, -1, -1 },
	  { USUAL, .is_daily = true },
	  { 2, 2, WANTED, 64 } },
	{ "daily tables, sixteen CPUs",
	  { 16, 8, 64 * GIB, -1, -1 },
	  { USUAL, .is_daily = true },
	  { 4, 4, WANTED, 32 } },
	{ "daily tables, 128 cores",
	  { 256, 128, 512 * GIB, -1, -1 },
	  { USUAL, .is_daily = true },
	  { 16, 6, WANTED, 8 } },
	{ "daily tables, nothing is known",
	  { -1, -1, -1, -1, -1 },
	  { USUAL, .is_daily = true },
	  { 1, 1, WANTED, 64 } },
	{ "daily tables, the configuration says how many",
	  { 2, 2, 16 * GIB, -1, -1 },
	  { USUAL, .writers = 7, .is_daily = true },
	  { 1, 7, WANTED, 64 } },
	{ "the configuration says how many",
	  { 128, 64, 64 * GIB, -1, -1 },
	  { USUAL, .hep_threads = 3, .writers = 8 },
	  { 3, 8, WANTED, 64 } },
	/* bounds of the buffer: a 32nd of the memory over all threads, a quarter of udp_mem over
	   all sockets */
	{ "little memory",
	  { 2, 2, 256 * MIB, -1, -1 },
	  { .hep_sockets = 1, .memory = 64 * MIB, .block_bytes = 1376256 },
	  { 1, 1, 8 * MIB, 8 } },
	{ "very little memory",
	  { 2, 2, 64 * MIB, -1, -1 },
	  { .hep_sockets = 1, .memory = 8 * MIB, .block_bytes = 1376256 },
	  { 1, 1, 2 * MIB, 4 } },
	{ "a 32nd is what is wanted",
	  { 2, 2, 32LL * WANTED, -1, -1 },
	  { USUAL },
	  { 1, 1, WANTED, 64 } },
	{ "a 32nd is one less",
	  { 2, 2, 32LL * WANTED - 1, -1, -1 },
	  { USUAL },
	  { 1, 1, WANTED - 1, 64 } },
	{ "a 32nd is shared", { 8, 8, 1 * GIB, -1, -1 }, { USUAL }, { 4, 2, 8 * MIB, 32 } },
	{ "udp_mem", { 2, 2, 24 * GIB, -1, 40 * MIB }, { USUAL }, { 1, 1, 10 * MIB, 64 } },
	{ "udp_mem over sockets",
	  { 2, 2, 24 * GIB, -1, 40 * MIB },
	  { .hep_sockets = 2, .memory = GIB, .block_bytes = 1376256 },
	  { 1, 1, 5 * MIB, 64 } },
	{ "udp_mem over threads and sockets",
	  { 4, 4, 24 * GIB, -1, 40 * MIB },
	  { .hep_sockets = 2, .memory = GIB, .block_bytes = 1376256 },
	  { 2, 2, 5 * MIB / 2, 64 } },
	{ "no socket",
	  { 2, 2, 24 * GIB, -1, 40 * MIB },
	  { .memory = GIB, .block_bytes = 1376256 },
	  { 1, 1, WANTED, 64 } },
	{ "no memory for blocks",
	  { 2, 2, 24 * GIB, -1, -1 },
	  { .hep_sockets = 1, .memory = 0, .block_bytes = 1376256 },
	  { 1, 1, WANTED, 4 } },
	{ "blocks of unknown size",
	  { 2, 2, 24 * GIB, -1, -1 },
	  { .hep_sockets = 1, .memory = GIB },
	  { 1, 1, WANTED, 64 } },
};

START_TEST(plan_is_as_it_was_thought_out)
{
	struct plan p;

	plan_make(&goldens[_i].host, &goldens[_i].wish, &p);
	ck_assert_msg(memcmp(&p, &goldens[_i].plan, sizeof(p)) == 0 ||
			      (p.hep_threads == goldens[_i].plan.hep_threads &&
			       p.writers == goldens[_i].plan.writers &&
			       p.socket_buffer == goldens[_i].plan.socket_buffer &&
			       p.blocks == goldens[_i].plan.blocks),
		      "%s: %u threads, %u writers, %lu octets, %u blocks", goldens[_i].what,
		      p.hep_threads, p.writers, p.socket_buffer, p.blocks);
}
END_TEST

/* What the server relies on, for hosts of all sizes. */
START_TEST(plan_stays_within_its_bounds)
{
	for (int64_t cpus = -1; cpus <= 512; cpus += cpus < 8 ? 1 : 56) {
		for (int64_t ram = 16 * MIB; ram <= 4096 * GIB; ram *= 4) {
			for (int64_t udp = 1 * MIB; udp <= 64 * GIB; udp *= 8) {
				struct host h = { cpus, cpus, ram, -1, udp };
				struct plan_wish w = { .hep_sockets = 3,
						       .is_daily = ram & GIB,
						       .memory = (uint64_t)ram / 4,
						       .block_bytes = 1376256 };
				struct plan p;

				plan_make(&h, &w, &p);
				ck_assert(p.hep_threads >= 1 && p.hep_threads <= 16);
				ck_assert(p.writers >= 1 && p.writers <= (w.is_daily ? 6 : 2));
				ck_assert(p.blocks >= 4 && p.blocks <= 64 &&
					  (p.blocks & (p.blocks - 1)) == 0);
				ck_assert_uint_le(p.socket_buffer * p.hep_threads,
						  (uint64_t)ram / 32);
				ck_assert_uint_le(p.socket_buffer * p.hep_threads * 3,
						  (uint64_t)udp / 4);
				ck_assert_uint_le(p.socket_buffer, WANTED);
			}
		}
	}
}
END_TEST

/* ---- probe ---- */

static const struct {
	int machine;
	struct host host; /* udp_mem in pages */
} recorded[] = {
	{ 0, { 2, 2, 24684084LL * 1024, 4194304, 767734 } },
	{ 4, { 4, 16, 4294967296LL, 212992, -1 } },
};

static void expect_host(const char *of, const struct host *want)
{
	struct host h;

	host_probe(of, &h);
	ck_assert_int_eq(h.cpus, want->cpus);
	ck_assert_int_eq(h.cores, want->cores);
	ck_assert_int_eq(h.ram_bytes, want->ram_bytes);
	ck_assert_int_eq(h.rmem_max, want->rmem_max);
	ck_assert_int_eq(h.udp_mem_bytes, want->udp_mem_bytes < 0
						  ? -1
						  : want->udp_mem_bytes * sysconf(_SC_PAGESIZE));
}

START_TEST(recorded_host_is_read)
{
	expect_host(hosts_root(recorded[_i].machine), &recorded[_i].host);
}
END_TEST

START_TEST(recorded_host_gets_its_plan)
{
	struct plan_wish w = { USUAL };
	struct host h;
	struct plan p;

	host_probe(hosts_root(0), &h);
	plan_make(&h, &w, &p);
	ck_assert_uint_eq(p.hep_threads, 1);
	ck_assert_uint_eq(p.writers, 1);
	ck_assert_uint_eq(p.socket_buffer, WANTED);
}
END_TEST

START_TEST(no_host_is_unknown)
{
	expect_host("tests/fixtures/hosts/nowhere", &(struct host){ -1, -1, -1, -1, -1 });
}
END_TEST

/* Messages/s in all, and what a receive buffer is then to hold. */
static const struct {
	int machine;
	uint64_t messages_per_s;
	unsigned threads;
	uint64_t buffer;
} worked[] = {
	{ 0, 20000, 1, 11520000 },
	{ 2, 100000, 8, 8388608 },
	{ 3, 800000, 16, 28800000 },
	{ 4, 20000, 2, 8388608 },
};

START_TEST(worked_sizes_are_met)
{
	struct plan_wish w = { USUAL, .messages_per_s = worked[_i].messages_per_s };
	struct host h;
	struct plan p;

	host_probe(hosts_root(worked[_i].machine), &h);
	plan_make(&h, &w, &p);
	ck_assert_uint_eq(p.hep_threads, worked[_i].threads);
	ck_assert_uint_eq(p.socket_buffer, worked[_i].buffer);
}
END_TEST

START_TEST(this_host_has_a_cpu)
{
	struct host h;

	host_probe("", &h);
	ck_assert_int_ge(h.cpus, 1);
	ck_assert(h.cores == -1 || h.cores >= 1);
}
END_TEST

START_TEST(siblings_count_as_one_core)
{
	char text[32];

	put("0-3,8-9,11\n", "sys/devices/system/cpu/online");
	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "%d,%d\n", i % 2, i % 2 + 2);
		put(text, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
	}
	put("8-9\n", "sys/devices/system/cpu/cpu8/topology/thread_siblings_list");
	put("8-9\n", "sys/devices/system/cpu/cpu9/topology/thread_siblings_list");
	put("11\n", "sys/devices/system/cpu/cpu11/topology/thread_siblings_list");
	expect_host(root, &(struct host){ 7, 4, -1, -1, -1 });
}
END_TEST

START_TEST(control_group_lowers_the_memory)
{
	put("MemTotal:    1048576 kB\nMemFree: 5 kB\n", "proc/meminfo");
	expect_host(root, &(struct host){ -1, -1, GIB, -1, -1 });
	put("max\n", "sys/fs/cgroup/memory.max");
	expect_host(root, &(struct host){ -1, -1, GIB, -1, -1 });
	put("268435456\n", "sys/fs/cgroup/memory.max");
	expect_host(root, &(struct host){ -1, -1, 256 * MIB, -1, -1 });
	put("9223372036854771712\n", "sys/fs/cgroup/memory.max");
	expect_host(root, &(struct host){ -1, -1, GIB, -1, -1 });
}
END_TEST

START_TEST(files_with_nonsense_are_unknown_facts)
{
	put("", "sys/devices/system/cpu/online");
	put("MemFree: 5 kB\n", "proc/meminfo");
	put("", "proc/sys/net/core/rmem_max");
	put("17\n", "proc/sys/net/ipv4/udp_mem");
	expect_host(root, &(struct host){ -1, -1, -1, -1, -1 });
	put("0-4294967295,5-2,99999999999999999999\n", "sys/devices/system/cpu/online");
	host_probe(root, &(struct host){ 0 }); /* ends, within its arrays */
}
END_TEST

static const struct {
	int64_t ram_gib;
	unsigned threads;
	uint64_t packets_per_s, mib;
} rings[] = {
	{ 24, 1, 100000, 48 },	  { 31, 8, 1000000, 60 }, { 252, 16, 10000000, 297 },
	{ 24, 1, 1000, 16 },	  { 24, 1, 0, 16 },	  { 1024, 1, 100000000, 1024 },
	{ 1, 4, 1000000000, 16 }, { -1, 1, 100000, 48 },  { 1, 64, 1000000, 1 },
};

START_TEST(ring_rides_out_a_burst)
{
	struct host host = { -1, -1, rings[_i].ram_gib > 0 ? rings[_i].ram_gib * GIB : -1, -1, -1 };

	ck_assert_uint_eq(plan_ring(&host, rings[_i].threads, rings[_i].packets_per_s),
			  rings[_i].mib * (uint64_t)MIB);
}
END_TEST

/* ---- tables ---- */

#define TABLES 3

static const struct {
	const char *what;
	uint64_t memory;
	struct plan_table wish[TABLES];
	uint64_t entries[TABLES];
	bool is_enough;
} tables[] = {
	{ "all fit",
	  GIB,
	  { { 1000000, 400 }, { 500000, 100 }, { 1000000, 86 } },
	  { 1000000, 500000, 1000000 },
	  true },
	{ "to the last octet", 2 * MIB, { { 1024, 512 }, { 2048, 256 } }, { 1024, 2048, 0 }, true },
	{ "one too many for all",
	  4 * MIB - 2,
	  { { 8192, 128 }, { 8192, 128 } },
	  { 8191, 8191, 0 },
	  true },
	{ "each the same part",
	  64 * MIB,
	  { { 1000000, 128 }, { 500000, 64 }, { 100000, 320 } },
	  { 174762, 87381, 17476 },
	  true },
	{ "the least, and the other gives it",
	  4 * MIB,
	  { { 1000000, 1000 }, { 2000, 1024 } },
	  { 1048, 1024, 0 },
	  true },
	{ "a small wish stays",
	  4 * MIB,
	  { { 1000000, 1000 }, { 10, 1024 }, { 0, 64 } },
	  { 2086, 10, 0 },
	  true },
	{ "one alone", 64 * MIB, { { 4000000, 512 } }, { 65536, 0, 0 }, true },
	{ "nothing is wished", 64 * MIB, { { 0, 512 } }, { 0, 0, 0 }, true },
	{ "more than there are octets",
	  UINT64_MAX,
	  { { UINT64_MAX, UINT64_MAX } },
	  { 1024, 0, 0 },
	  false },
	{ "the largest that may be wished",
	  64 * MIB,
	  { { 1 << 30, 1 << 20 }, { 1 << 30, 8 } },
	  { 1024, 1024, 0 },
	  false },
	{ "no memory", 0, { { 5000, 100 }, { 100, 100 } }, { 1024, 100, 0 }, false },
};

START_TEST(tables_take_half_of_the_memory)
{
	struct plan_table t[TABLES];
	bool is_enough;

	memcpy(t, tables[_i].wish, sizeof(t));
	is_enough = plan_tables(tables[_i].memory, t, TABLES);
	ck_assert_msg(is_enough == tables[_i].is_enough, "%s: enough?", tables[_i].what);
	for (unsigned i = 0; i < TABLES; i++) {
		ck_assert_msg(t[i].entries == tables[_i].entries[i],
			      "%s: table %u has %" PRIu64 " entries", tables[_i].what, i,
			      t[i].entries);
		ck_assert_uint_eq(t[i].entry_bytes, tables[_i].wish[i].entry_bytes);
	}
}
END_TEST

/* What is taken in all, and that nothing is given away but for rounding and what was not wished. */
START_TEST(tables_of_any_wish_are_within_the_half)
{
	struct random r = random_from(0x7ab1e5);

	for (unsigned n = 0; n < 20000; n++) {
		uint64_t memory = 64 * MIB << random_below(&r, 10), sum = 0, wished = 0, slack = 0;
		struct plan_table t[TABLES], wish[TABLES];

		for (unsigned i = 0; i < TABLES; i++)
			wish[i] =
				(struct plan_table){ random_below(&r,
								  1U << (1 + random_below(&r, 25))),
						     64 * (1 + random_below(&r, 16)) };
		memcpy(t, wish, sizeof(t));
		ck_assert(plan_tables(memory, t, TABLES));
		for (unsigned i = 0; i < TABLES; i++) {
			ck_assert_uint_le(t[i].entries, wish[i].entries);
			ck_assert(t[i].entries >= PLAN_TABLE_LEAST ||
				  t[i].entries == wish[i].entries);
			sum += t[i].entries * t[i].entry_bytes;
			wished += wish[i].entries * wish[i].entry_bytes;
			slack += t[i].entry_bytes;
		}
		ck_assert_uint_le(sum, memory / 2);
		ck_assert_uint_ge(sum + slack, wished < memory / 2 ? wished : memory / 2);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plan");
	TCase *plan = tcase_create("plan"), *probe = tcase_create("probe"),
	      *made = tcase_create("made");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(plan, plan_is_as_it_was_thought_out, 0, ROWS(goldens));
	tcase_add_test(plan, plan_stays_within_its_bounds);
	tcase_add_loop_test(plan, tables_take_half_of_the_memory, 0, ROWS(tables));
	tcase_add_test(plan, tables_of_any_wish_are_within_the_half);
	tcase_add_loop_test(plan, ring_rides_out_a_burst, 0, ROWS(rings));
	tcase_add_loop_test(probe, recorded_host_is_read, 0, ROWS(recorded));
	tcase_add_test(probe, recorded_host_gets_its_plan);
	tcase_add_unchecked_fixture(probe, hosts_unpack, hosts_remove);
	tcase_set_timeout(probe, 120);
	tcase_add_test(probe, no_host_is_unknown);
	tcase_add_loop_test(probe, worked_sizes_are_met, 0, ROWS(worked));
	tcase_add_test(probe, this_host_has_a_cpu);
	tcase_add_checked_fixture(made, make_root, remove_root);
	tcase_add_test(made, siblings_count_as_one_core);
	tcase_add_test(made, control_group_lowers_the_memory);
	tcase_add_test(made, files_with_nonsense_are_unknown_facts);
	suite_add_tcase(s, plan);
	suite_add_tcase(s, probe);
	suite_add_tcase(s, made);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
