/* tune/placement.c: recorded machines get the placement that was thought out for them, random ones
 * one that keeps its promises. */
#include "tune/placement.h"

#include <string.h>

#include "tests/unit/hosts.h"
#include "tests/unit/random.h"

/* ---- recorded machines ---- */

static void print_mode(const struct facts *f, uint64_t rate, bool is_split, FILE *to)
{
	struct place_wish w = { .nic_count = 1,
				.is_split = is_split,
				.nics = { { .nic = &f->nics[0], .packets_per_s = rate } } };
	struct placement p;

	placement_make(f, &w, &p);
	if (!rate) {
		placement_print(f, &p, to);
		return;
	}
	fprintf(to, " rate=%lu: ", rate);
	placement_print_mode(&p.nics[0], to);
}

static struct facts *recorded(int number)
{
	struct facts *f = facts_read(hosts_root(number), &hosts_nic[number], 1, NULL, NULL);

	ck_assert_ptr_nonnull(f);
	ck_assert(f->nics[0].exists);
	return f;
}

static void keep_one_queue(struct nic *nic)
{
	unsigned kept = 0;

	nic->rx_queues = 1;
	for (unsigned i = 0; i < nic->irq_count; i++)
		if (nic->irqs[i].queue <= 0)
			nic->irqs[kept++] = nic->irqs[i];
	nic->irq_count = kept;
}

static void print_all(bool is_split, FILE *to)
{
	static const int reduced[] = { 1, 2, 3 };

	for (int i = 0; i < HOSTS_COUNT; i++) {
		struct facts *f = recorded(i);

		fprintf(to, "## %s\n", hosts_recorded[i]);
		print_mode(f, 0, is_split, to);
		print_mode(f, 600000, is_split, to);
		fputc('\n', to);
		facts_free(f);
	}
	for (int i = 0; i < 3; i++) {
		struct facts *f = recorded(reduced[i]);

		keep_one_queue(&f->nics[0]);
		fprintf(to, "%s## variant: %s reduced to one RX queue\n", i ? "\n" : "",
			hosts_recorded[reduced[i]]);
		print_mode(f, 0, is_split, to);
		facts_free(f);
	}
}

static void check_expected(const char *file, bool is_split)
{
	static char want[65536];
	FILE *in = fopen(file, "re"), *to;
	char *got = NULL, *begin;
	size_t size;

	ck_assert_ptr_nonnull(in);
	want[fread(want, 1, sizeof(want) - 1, in)] = '\0';
	fclose(in);
	begin = strstr(want, "## ");
	ck_assert_ptr_nonnull(begin);
	to = open_memstream(&got, &size);
	print_all(is_split, to);
	fclose(to);
	ck_assert_str_eq(got, begin);
	free(got);
}

START_TEST(recorded_machines_are_placed_as_was_thought_out)
{
	check_expected(HOSTS "/expected-placement.txt", false);
	check_expected(HOSTS "/expected-split.txt", true);
}
END_TEST

/* The NIC on the other node: writers move to where it is not. */
START_TEST(writers_are_on_another_node_than_the_nic)
{
	struct facts *f = recorded(3);
	struct place_wish w = { .nic_count = 1, .nics = { { .nic = &f->nics[0] } } };
	struct placement p;
	char out[64];

	f->nics[0].node = 0;
	placement_make(f, &w, &p);
	ck_assert_str_eq(cpus_print(&p.writers, out, sizeof(out)), "16-19");
	ck_assert_str_eq(cpus_print(&p.nics[0].pool, out, sizeof(out)), "2-15");
	facts_free(f);
}
END_TEST

START_TEST(siblings_are_cores_where_they_count)
{
	struct facts *f = recorded(3);
	struct place_wish w = { .nic_count = 1,
				.nics = { { .nic = &f->nics[0] } },
				.use_siblings = true };
	struct placement p;
	char out[64];

	placement_make(f, &w, &p);
	ck_assert_str_eq(cpus_print(&p.nics[0].pool, out, sizeof(out)), "16-31,48-63");
	ck_assert_uint_eq(p.nics[0].threads, 32);
	ck_assert_str_eq(cpus_print(&p.idle, out, sizeof(out)), "none");
	facts_free(f);
}
END_TEST

/* ---- interrupts that stay ---- */

#define BOX16 2 /* eight queues; capture threads on 4-11, two for HEP on 12 and 13 */

static struct facts *box16(struct placement *p)
{
	struct facts *f = recorded(BOX16);
	struct place_wish w = { .nic_count = 1,
				.nics = { { .nic = &f->nics[0] } },
				.hep_threads = 2 };

	placement_make(f, &w, p);
	ck_assert_int_eq(p->nics[0].core[0], 4);
	ck_assert_int_eq(p->hep_core[0], 12);
	return f;
}

/* Of its receive queue; @p list is what it may be on, @p effective what it is on. */
static void put_irq(struct nic *nic, int queue, const char *list, const char *effective)
{
	unsigned i = 0;

	while (nic->irqs[i].role != IRQ_RX || nic->irqs[i].queue != queue)
		i++;
	nic->irqs[i].has_affinity = nic->irqs[i].has_effective = true;
	ck_assert(cpus_read_list(list, &nic->irqs[i].affinity));
	ck_assert(cpus_read_list(effective, &nic->irqs[i].effective));
}

START_TEST(threads_go_to_interrupts_that_stay)
{
	struct placement p;
	struct facts *f = box16(&p);
	char cpu[8];

	ck_assert_uint_eq(p.nics[0].threads, 8);
	for (int q = 0; q < 8; q++) {
		snprintf(cpu, sizeof(cpu), "%d", 11 - q);
		put_irq(&f->nics[0], q, q % 2 ? cpu : "0-15", cpu);
	}
	placement_follow(f, &p);
	for (int t = 0; t < 8; t++)
		ck_assert_int_eq(p.nics[0].core[t], 11 - t);
	ck_assert_uint_eq(placement_near(f, &p, &p.nics[0]), 8);
	ck_assert_int_eq(p.hep_core[0], 12);
	facts_free(f);
}
END_TEST

START_TEST(one_thread_alone_goes_to_a_core_of_many_interrupts)
{
	struct placement p;
	struct facts *f = box16(&p);

	for (int q = 0; q < 8; q++)
		put_irq(&f->nics[0], q, "0", "0");
	placement_follow(f, &p);
	ck_assert_int_eq(p.nics[0].core[0], 0);
	for (int t = 1; t < 8; t++)
		ck_assert_int_eq(p.nics[0].core[t], 4 + t);
	ck_assert_uint_eq(placement_near(f, &p, &p.nics[0]), 1);
	facts_free(f);
}
END_TEST

START_TEST(who_had_the_core_changes_places)
{
	struct placement p;
	struct facts *f = box16(&p);

	for (int q = 0; q < 8; q++)
		put_irq(&f->nics[0], q, "14-15", "14-15"); /* no single one */
	put_irq(&f->nics[0], 0, "12", "12");		   /* a HEP thread's */
	put_irq(&f->nics[0], 1, "6", "6"); /* thread 2's, which is not at its own interrupt */
	put_irq(&f->nics[0], 2, "7", "7");
	cpus_remove(&f->allowed, 15);
	put_irq(&f->nics[0], 4, "15", "15"); /* not ours to run on */
	placement_follow(f, &p);
	ck_assert_int_eq(p.nics[0].core[0], 12);
	ck_assert_int_eq(p.hep_core[0], 4);
	ck_assert_int_eq(p.nics[0].core[1], 6);
	ck_assert_int_eq(p.nics[0].core[2], 7);
	ck_assert_int_eq(p.nics[0].core[3], 5);
	ck_assert_int_eq(p.nics[0].core[4], 8);
	facts_free(f);
}
END_TEST

START_TEST(the_only_queue_takes_its_only_thread_along)
{
	struct facts *f = recorded(0);
	struct place_wish w = { .nic_count = 1, .nics = { { .nic = &f->nics[0] } } };
	struct placement p;

	placement_make(f, &w, &p);
	ck_assert_int_eq(p.nics[0].core[0], 1);
	put_irq(&f->nics[0], 0, "0-1", "0");
	placement_follow(f, &p);
	ck_assert_int_eq(p.nics[0].core[0], 0);
	ck_assert_int_eq(p.nics[0].irq_core[0], 0);
	facts_free(f);
}
END_TEST

/* Where software spreads it the interrupt is better off alone. */
START_TEST(threads_of_a_queue_that_is_spread_stay)
{
	struct facts *f = recorded(BOX16);
	struct place_wish w = { .nic_count = 1, .nics = { { .nic = &f->nics[0] } } };
	struct placement p, before;

	keep_one_queue(&f->nics[0]);
	placement_make(f, &w, &p);
	ck_assert_uint_gt(p.nics[0].threads, 1);
	put_irq(&f->nics[0], 0, "9", "9");
	before = p;
	placement_follow(f, &p);
	ck_assert_int_eq(memcmp(&before, &p, sizeof(p)), 0);
	facts_free(f);
}
END_TEST

/* ---- threads beside their interrupts ---- */

static struct facts *split16(struct placement *p, unsigned threads, unsigned cores_of_cache)
{
	struct facts *f = recorded(BOX16);
	struct place_wish w = { .nic_count = 1,
				.nics = { { .nic = &f->nics[0], .threads = threads } },
				.is_split = true };

	for (int cpu = 0; cpu < 16; cpu++)
		f->l3_of[cpu] = (int16_t)(cpu - cpu % (int)cores_of_cache);
	placement_make(f, &w, p);
	return f;
}

static void check_numbers(const int *got, unsigned count, const int *want)
{
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(got[i], want[i]);
}

START_TEST(threads_are_below_the_cache_of_their_interrupts)
{
	struct placement p;
	struct facts *f = split16(&p, 0, 4);

	ck_assert_uint_eq(p.nics[0].threads, 6);
	ck_assert_uint_eq(p.nics[0].fewer, 2);
	ck_assert_uint_eq(p.nics[0].channels, 6);
	check_numbers(p.nics[0].irq_core, 6, (int[]){ 4, 5, 8, 9, 12, 13 });
	check_numbers(p.nics[0].core, 6, (int[]){ 6, 7, 10, 11, 14, 15 });
	facts_free(f);
}
END_TEST

START_TEST(threads_that_were_asked_for_share_where_cores_are_few)
{
	struct placement p;
	struct facts *f = split16(&p, 8, 4);

	ck_assert_uint_eq(p.nics[0].threads, 8);
	ck_assert_uint_eq(p.nics[0].fewer, 0);
	check_numbers(p.nics[0].irq_core, 8, (int[]){ 4, 5, 8, 9, 12, 13, 6, 7 });
	check_numbers(p.nics[0].core, 8, (int[]){ 4, 5, 10, 11, 14, 15, 6, 7 });
	ck_assert_uint_eq(placement_apart(&p.nics[0]), 4);
	facts_free(f);
}
END_TEST

START_TEST(a_cache_for_each_core_splits_nothing)
{
	struct placement p;
	struct facts *f = split16(&p, 0, 1);

	ck_assert_uint_eq(p.nics[0].threads, 8);
	ck_assert_uint_eq(placement_apart(&p.nics[0]), 0);
	check_numbers(p.nics[0].irq_core, 8, p.nics[0].core);
	facts_free(f);
}
END_TEST

/* Who has more threads than queues has interrupts for some of them only. */
START_TEST(threads_without_a_queue_need_one_core)
{
	struct placement p;
	struct facts *f = split16(&p, 10, 16);
	char out[64];

	check_numbers(p.nics[0].core, 10, (int[]){ 14, 15, 6, 7, 8, 9, 10, 11, 12, 13 });
	ck_assert_uint_eq(placement_apart(&p.nics[0]), 2);
	ck_assert_str_eq(cpus_print(&p.spare, out, sizeof(out)), "none");
	facts_free(f);
}
END_TEST

START_TEST(siblings_that_count_are_beside_each_other)
{
	struct facts *f = recorded(3);
	struct place_wish w = { .nic_count = 1,
				.nics = { { .nic = &f->nics[0] } },
				.use_siblings = true,
				.is_split = true };
	struct placement p;

	placement_make(f, &w, &p);
	ck_assert_uint_eq(p.nics[0].threads, 16);
	for (int t = 0; t < 16; t++) {
		ck_assert_int_eq(p.nics[0].irq_core[t], 16 + t);
		ck_assert_int_eq(p.nics[0].core[t], 48 + t);
	}
	facts_free(f);
}
END_TEST

/* Of queue q, which thread q % 6 reads, to first + q % 6. */
static void put_all_irqs(struct facts *f, int first)
{
	char cpu[8];

	for (int q = 0; q < 8; q++) {
		snprintf(cpu, sizeof(cpu), "%d", first + q % 6);
		put_irq(&f->nics[0], q, cpu, cpu);
	}
}

START_TEST(threads_leave_cores_to_interrupts_that_stay)
{
	struct placement p;
	struct facts *f = split16(&p, 0, 16);

	check_numbers(p.nics[0].core, 6, (int[]){ 10, 11, 12, 13, 14, 15 });
	put_all_irqs(f, 10);
	placement_follow(f, &p);
	check_numbers(p.nics[0].core, 6, (int[]){ 4, 5, 6, 7, 8, 9 });
	check_numbers(p.nics[0].irq_core, 6, (int[]){ 10, 11, 12, 13, 14, 15 });
	ck_assert_uint_eq(placement_near(f, &p, &p.nics[0]), 6);
	facts_free(f);
}
END_TEST

START_TEST(threads_beside_interrupts_that_stay_stay_too)
{
	struct placement p, before;
	struct facts *f = split16(&p, 0, 16);

	put_all_irqs(f, 4);
	before = p;
	placement_follow(f, &p);
	ck_assert_int_eq(memcmp(&before, &p, sizeof(p)), 0);
	for (int q = 0; q < 8; q++)
		put_irq(&f->nics[0], q, "0", "0");
	placement_follow(f, &p);
	check_numbers(p.nics[0].core, 6, before.nics[0].core);
	ck_assert_int_eq(p.nics[0].irq_core[5], 0);
	ck_assert_uint_eq(placement_near(f, &p, &p.nics[0]), 6);
	facts_free(f);
}
END_TEST

START_TEST(threads_go_to_the_cache_of_interrupts_that_stay)
{
	struct placement p;
	struct facts *f = split16(&p, 2, 4); /* interrupts on 4 and 5, threads on 6 and 7 */
	char cpu[8];

	for (int q = 0; q < 8; q++)
		put_irq(&f->nics[0], q, q % 2 ? "5" : "12", q % 2 ? "5" : "12");
	placement_follow(f, &p);
	check_numbers(p.nics[0].core, 2, (int[]){ 13, 7 });
	check_numbers(p.nics[0].irq_core, 2, (int[]){ 12, 5 });
	facts_free(f);
	f = split16(&p, 0, 4); /* 12 and 13 have interrupts, 14 and 15 threads */
	for (int q = 0; q < 8; q++) {
		snprintf(cpu, sizeof(cpu), "%d", q % 6 ? p.nics[0].irq_core[q % 6] : 12);
		put_irq(&f->nics[0], q, cpu, cpu);
	}
	placement_follow(f, &p);
	check_numbers(p.nics[0].core, 6, (int[]){ 6, 7, 10, 11, 14, 15 });
	facts_free(f);
}
END_TEST

/* ---- machines of any shape ---- */

struct made {
	struct facts f;
	struct place_wish wish;
};

static void make_cpus(struct facts *f, struct random *r)
{
	unsigned cores = 1 + (unsigned)random_below(r, random_below(r, 2) ? 8 : 96);
	unsigned threads = 1 + (unsigned)random_below(r, 2),
		 nodes = 1 + (unsigned)random_below(r, 4), sharers = (unsigned)random_below(r, 17);
	bool has_nodes = random_below(r, 4), has_gaps = random_below(r, 3) == 0;

	f->nodes = has_nodes ? (int)nodes : -1;
	memset(f->node_of, 0xff, sizeof(f->node_of));
	memset(f->l3_of, 0xff, sizeof(f->l3_of));
	for (unsigned i = 0; i < cores * threads; i++) {
		if (i && has_gaps && random_below(r, 8) == 0)
			continue;
		cpus_add(&f->online, i);
		if (sharers)
			f->l3_of[i] = (int16_t)(i % cores - i % cores % sharers);
		f->core_of[i] = cpus_has(&f->online, i % cores) ? (int16_t)(i % cores) : (int16_t)i;
		if (has_nodes)
			f->node_of[i] = (int16_t)(i % cores * nodes / cores);
	}
	for (int cpu = cpus_first(&f->online); cpu >= 0;
	     cpu = cpus_next(&f->online, (unsigned)cpu + 1))
		if (cpu == cpus_first(&f->online) || !has_gaps || random_below(r, 4))
			cpus_add(&f->allowed, (unsigned)cpu);
	for (int cpu = cpus_first(&f->allowed); random_below(r, 8) == 0 && cpu >= 0;
	     cpu = cpus_next(&f->allowed, (unsigned)cpu + 1))
		if (random_below(r, 3) == 0)
			cpus_add(&f->isolated, (unsigned)cpu);
}

static void make_nic(struct made *m, unsigned number, struct random *r)
{
	struct nic *n = &m->f.nics[number];
	unsigned irqs = random_below(r, 4) ? 0 : 1;

	n->node = m->f.nodes > 0 && random_below(r, 4) ? (int)random_below(r, (uint64_t)m->f.nodes)
						       : -1;
	n->exists = true;
	n->is_ours = UNKNOWN;
	n->rx_queues =
		1 + (unsigned)(random_below(r, 2) ? random_below(r, 64) : random_below(r, 3));
	n->irqs = calloc(n->rx_queues + 1, sizeof(*n->irqs));
	if (irqs == 0) {
		n->irq_count = n->rx_queues + 1;
		for (unsigned q = 0; q < n->rx_queues; q++)
			n->irqs[q] = (struct nic_irq){ .role = IRQ_RX, .queue = (int)q };
		n->irqs[n->rx_queues] = (struct nic_irq){ .role = IRQ_CONTROL, .queue = -1 };
	}
	m->wish.nics[number] = (struct place_nic_wish){
		.nic = n,
		.threads = random_below(r, 3) ? 0 : 1 + (unsigned)random_below(r, PLACE_THREADS),
		.packets_per_s = random_below(r, 2) ? random_below(r, 20000000) : 0
	};
}

static struct made *make(uint64_t seed)
{
	struct random r = random_from(seed);
	struct made *m = calloc(1, sizeof(*m));

	make_cpus(&m->f, &r);
	m->wish.nic_count = (unsigned)random_below(&r, 5);
	m->wish.hep_threads = (unsigned)random_below(&r, 20);
	for (unsigned i = 0; i < m->wish.nic_count; i++)
		make_nic(m, i, &r);
	return m;
}

static void unmake(struct made *m)
{
	for (unsigned i = 0; i < m->wish.nic_count; i++)
		free(m->f.nics[i].irqs);
	free(m);
}

static struct cpus capture_cores(const struct placement *p, bool *is_shared)
{
	struct cpus out = { 0 };

	*is_shared = false;
	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++) {
			if (p->nics[i].core[t] < 0)
				continue;
			*is_shared |= cpus_has(&out, (unsigned)p->nics[i].core[t]);
			cpus_add(&out, (unsigned)p->nics[i].core[t]);
		}
	return out;
}

/* A queue's interrupt goes to a core whose thread reads what it brings. */
static void check_queues(const struct placement *p, const struct place_nic *n)
{
	struct cpus on = { 0 };
	const int *served = n->mode == PLACE_QUEUES ? n->irq_core : n->core;

	ck_assert_uint_ge(n->threads, 1);
	ck_assert_uint_le(n->threads, PLACE_THREADS);
	for (unsigned t = 0; t < n->threads; t++)
		if (served[t] >= 0)
			cpus_add(&on, (unsigned)served[t]);
	if (!n->is_split)
		ck_assert_uint_eq(placement_apart(n), 0);
	for (unsigned i = 0; i < n->nic->irq_count; i++) {
		const struct nic_irq *irq = &n->nic->irqs[i];
		int cpu = placement_irq_cpu(p, n, irq);

		if (n->mode == PLACE_QUEUES && irq->role == IRQ_RX)
			ck_assert(cpu >= 0 && cpus_has(&on, (unsigned)cpu));
		if (n->mode == PLACE_ONE_QUEUE && irq->role == IRQ_RX)
			ck_assert_int_eq(cpu, n->irq_core[0]);
		if (n->mode == PLACE_NOTHING || n->mode == PLACE_THREADS_ONLY)
			ck_assert_int_eq(cpu, -1);
		if (irq->role == IRQ_CONTROL && cpu >= 0)
			ck_assert(cpus_has(&p->housekeeping, (unsigned)cpu));
	}
	/* Each thread gets packets: of a queue of its own, or spread by software. */
	if (n->mode == PLACE_QUEUES && n->nic->rx_queues >= n->cores)
		for (unsigned t = 0; t < n->threads; t++) {
			bool is_served = false;

			for (unsigned i = 0; i < n->nic->irq_count; i++)
				is_served |= placement_irq_cpu(p, n, &n->nic->irqs[i]) == served[t];
			ck_assert(is_served);
		}
	if (n->mode == PLACE_ONE_QUEUE && n->cores > 1)
		ck_assert(cpus_equal(&n->rps, &on));
}

static void check_cores(const struct made *m, const struct placement *p)
{
	bool is_shared;
	struct cpus capture = capture_cores(p, &is_shared), both, outside;
	unsigned cores = cpus_count(&p->prime);

	outside = cpus_minus(&capture, &m->f.allowed);
	ck_assert_int_eq(cpus_first(&outside), -1);
	outside = cpus_minus(&capture, &p->prime);
	ck_assert_int_eq(cpus_first(&outside), -1);
	if (is_shared)
		ck_assert_int_eq(cpus_first(&p->spare), -1);
	if (cores >= 2) {
		both = cpus_and(&capture, &p->housekeeping);
		ck_assert_int_eq(cpus_first(&both), -1);
		ck_assert_int_ge(cpus_first(&p->housekeeping), 0);
		ck_assert_int_ge(cpus_first(&p->writers), 0);
	}
	if (cores > 3) {
		both = cpus_and(&capture, &p->writers);
		ck_assert_int_eq(cpus_first(&both), -1);
		both = cpus_and(&p->housekeeping, &p->writers);
		ck_assert_int_eq(cpus_first(&both), -1);
	}
	for (unsigned t = 0; t < p->hep_threads; t++)
		ck_assert(p->hep_core[t] < 0 || !cpus_has(&capture, (unsigned)p->hep_core[t]));
}

static bool shares_cache(const struct facts *f, int a, int b)
{
	if (f->l3_of[a] >= 0 || f->l3_of[b] >= 0)
		return f->l3_of[a] == f->l3_of[b];
	return f->node_of[a] == f->node_of[b];
}

static bool any_shares_cache(const struct facts *f, const struct cpus *cpus, int with)
{
	for (int cpu = cpus_first(cpus); cpu >= 0; cpu = cpus_next(cpus, (unsigned)cpu + 1))
		if (shares_cache(f, cpu, with))
			return true;
	return false;
}

static struct cpus interrupt_cores(const struct placement *p)
{
	struct cpus out = { 0 };

	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned k = 0; k < p->nics[i].nic->irq_count; k++) {
			const struct nic_irq *irq = &p->nics[i].nic->irqs[k];
			int cpu = placement_irq_cpu(p, &p->nics[i], irq);

			if (irq->role == IRQ_RX && cpu >= 0)
				cpus_add(&out, (unsigned)cpu);
		}
	return out;
}

/* A thread shares a core with an interrupt only where no other is free below its cache; a core
 * beside it is a prime one that neither writers nor housekeeping have. */
static void check_split(const struct made *m, const struct placement *p,
			const struct placement *same, uint64_t *apart)
{
	struct cpus irqs = interrupt_cores(p), both = cpus_and(&irqs, &p->spare);

	ck_assert_int_eq(cpus_first(&both), -1);
	both = cpus_minus(&irqs, &p->prime);
	ck_assert_int_eq(cpus_first(&both), -1);
	if (cpus_count(&p->prime) > 3) {
		both = cpus_and(&irqs, &p->housekeeping);
		ck_assert_int_eq(cpus_first(&both), -1);
		both = cpus_and(&irqs, &p->writers);
		ck_assert_int_eq(cpus_first(&both), -1);
	}
	for (unsigned t = 0; t < p->hep_threads; t++)
		ck_assert(p->hep_core[t] < 0 || !cpus_has(&irqs, (unsigned)p->hep_core[t]));
	for (unsigned i = 0; i < p->nic_count; i++) {
		const struct place_nic *n = &p->nics[i];

		ck_assert_int_eq(n->mode, same->nics[i].mode);
		ck_assert_uint_eq(n->threads + n->fewer, same->nics[i].threads);
		ck_assert(!n->fewer || !m->wish.nics[i].threads);
		if (m->wish.nic_count == 1 && n->fewer)
			ck_assert_uint_eq(placement_apart(n), n->threads);
		for (unsigned t = 0; n->mode == PLACE_QUEUES && t < n->threads; t++) {
			if (n->core[t] != n->irq_core[t])
				ck_assert(shares_cache(&m->f, n->core[t], n->irq_core[t]));
			if (t < n->nic->rx_queues && cpus_has(&irqs, (unsigned)n->core[t]))
				ck_assert(!any_shares_cache(&m->f, &p->spare, n->core[t]));
		}
		*apart += placement_apart(n);
	}
}

static char *as_text(const struct facts *f, const struct placement *p)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	placement_print(f, p, to);
	fclose(to);
	return text;
}

static void scatter_irqs(struct made *m, struct random *r)
{
	for (unsigned i = 0; i < m->wish.nic_count; i++)
		for (unsigned k = 0; k < m->f.nics[i].irq_count; k++) {
			struct nic_irq *irq = &m->f.nics[i].irqs[k];

			irq->has_affinity = true;
			cpus_add(&irq->affinity, (unsigned)random_below(r, 96));
		}
}

static unsigned times_used(const struct placement *p, int core)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned t = 0; t < p->nics[i].threads; t++)
			n += p->nics[i].core[t] == core;
	return n;
}

/* With split a thread is on the core of an interrupt that stays only if none is free beside it. */
static void check_followed(const struct made *m, const struct placement *p)
{
	struct cpus on = { 0 }, free;

	for (unsigned i = 0; i < p->nic_count; i++)
		for (unsigned k = 0; k < p->nics[i].nic->irq_count; k++)
			if (p->nics[i].nic->irqs[k].role == IRQ_RX && p->nics[i].mode <= 1)
				cpus_add(&on,
					 (unsigned)cpus_first(&p->nics[i].nic->irqs[k].affinity));
	free = cpus_minus(&p->spare, &on);
	for (unsigned i = 0; i < p->nic_count; i++) {
		const struct place_nic *n = &p->nics[i];

		for (unsigned q = 0; n->mode == PLACE_QUEUES && q < n->nic->rx_queues; q++) {
			int cpu = cpus_first(&n->nic->irqs[q].affinity);

			if (q < n->threads && n->nic->rx_queues <= n->cores &&
			    cpus_has(&m->f.allowed, (unsigned)cpu) && n->core[q] == cpu)
				ck_assert(!any_shares_cache(&m->f, &free, cpu));
		}
	}
}

/* No core has more threads than one had before, and none has a CPU that is not ours. */
START_TEST(following_shares_no_core_more)
{
	uint64_t rounds = getenv("SOAK") ? 100000 : 2000, followed = 0;

	for (uint64_t seed = 0; seed < rounds; seed++) {
		struct random r = { .state = seed };
		struct made *m = make(seed);
		struct placement p, before, again;
		unsigned most = 0;

		scatter_irqs(m, &r);
		m->wish.is_split = seed % 2;
		placement_make(&m->f, &m->wish, &p);
		before = again = p;
		placement_follow(&m->f, &p);
		placement_follow(&m->f, &again);
		ck_assert_int_eq(memcmp(&p, &again, sizeof(p)), 0);
		if (p.is_split)
			check_followed(m, &p);
		for (int cpu = 0; cpu < 200; cpu++)
			if (times_used(&before, cpu) > most)
				most = times_used(&before, cpu);
		for (unsigned i = 0; i < p.nic_count; i++)
			for (unsigned t = 0; t < p.nics[i].threads; t++) {
				int core = p.nics[i].core[t];

				ck_assert(core < 0 || cpus_has(&m->f.allowed, (unsigned)core) ||
					  core == before.nics[i].core[t]);
				ck_assert(core < 0 || times_used(&p, core) <= (most ? most : 1));
				followed += core != before.nics[i].core[t];
			}
		unmake(m);
	}
	ck_assert_uint_gt(followed, rounds / 10);
}
END_TEST

static void check_made(const struct made *m, const struct placement *p, unsigned modes[4],
		       unsigned *shared)
{
	struct placement again;
	char *first, *second;
	bool is_shared;

	placement_make(&m->f, &m->wish, &again);
	first = as_text(&m->f, p);
	second = as_text(&m->f, &again);
	ck_assert_str_eq(first, second);
	ck_assert_int_eq(memcmp(p, &again, sizeof(again)), 0);
	for (unsigned i = 0; i < p->nic_count; i++) {
		check_queues(p, &p->nics[i]);
		modes[p->nics[i].mode]++;
	}
	check_cores(m, p);
	capture_cores(p, &is_shared);
	*shared += is_shared;
	free(first);
	free(second);
}

START_TEST(any_machine_gets_a_sound_placement)
{
	uint64_t rounds = getenv("SOAK") ? 200000 : 4000, apart = 0;
	unsigned modes[4] = { 0 }, shared = 0;

	for (uint64_t seed = 0; seed < rounds; seed++) {
		struct made *m = make(seed);
		struct placement same, split;

		placement_make(&m->f, &m->wish, &same);
		check_made(m, &same, modes, &shared);
		m->wish.is_split = true;
		placement_make(&m->f, &m->wish, &split);
		check_made(m, &split, modes, &shared);
		check_split(m, &split, &same, &apart);
		unmake(m);
	}
	/* The machines were of all sorts. */
	for (int i = 0; i < 4; i++)
		ck_assert_uint_gt(modes[i], 40);
	ck_assert_uint_gt(shared, 40);
	ck_assert_uint_gt(apart, rounds);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("placement");
	TCase *hosts = tcase_create("hosts"), *made = tcase_create("made");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(hosts, hosts_unpack, hosts_remove);
	tcase_set_timeout(hosts, 120);
	tcase_set_timeout(made, 600);
	tcase_add_test(hosts, recorded_machines_are_placed_as_was_thought_out);
	tcase_add_test(hosts, writers_are_on_another_node_than_the_nic);
	tcase_add_test(hosts, siblings_are_cores_where_they_count);
	tcase_add_test(hosts, threads_go_to_interrupts_that_stay);
	tcase_add_test(hosts, one_thread_alone_goes_to_a_core_of_many_interrupts);
	tcase_add_test(hosts, who_had_the_core_changes_places);
	tcase_add_test(hosts, the_only_queue_takes_its_only_thread_along);
	tcase_add_test(hosts, threads_of_a_queue_that_is_spread_stay);
	tcase_add_test(hosts, threads_are_below_the_cache_of_their_interrupts);
	tcase_add_test(hosts, threads_that_were_asked_for_share_where_cores_are_few);
	tcase_add_test(hosts, a_cache_for_each_core_splits_nothing);
	tcase_add_test(hosts, threads_without_a_queue_need_one_core);
	tcase_add_test(hosts, siblings_that_count_are_beside_each_other);
	tcase_add_test(hosts, threads_leave_cores_to_interrupts_that_stay);
	tcase_add_test(hosts, threads_beside_interrupts_that_stay_stay_too);
	tcase_add_test(hosts, threads_go_to_the_cache_of_interrupts_that_stay);
	tcase_add_test(made, following_shares_no_core_more);
	tcase_add_test(made, any_machine_gets_a_sound_placement);
	suite_add_tcase(s, hosts);
	suite_add_tcase(s, made);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
