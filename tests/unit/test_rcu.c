/*
 * conf/rcu.h and capture/snapshot.h: the snapshot is swapped under readers. Under ThreadSanitizer
 * also that a race beside the wrapper is still reported: the annotations must not hide what they
 * are not about. For that the binary runs itself with "plant".
 */
#include "conf/rcu.h"

#include <check.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/snapshot.h"
#include "conf/clock.h"
#include "conf/conf.h"

#define READERS	  4
#define SWAPS	  1000
#define TSAN_EXIT 66

#if defined(__SANITIZE_ADDRESS__) || defined(HT_TSAN)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

static struct snapshot *published;
static struct conf *start;
static struct rules *rules;

/* A configuration in which every value says the same @p n. */
static struct conf *read_conf(unsigned n)
{
	struct conf *conf;
	char yaml[256];
	int len = snprintf(yaml, sizeof(yaml),
			   "max_clock_skew: %u\nlegs: [X-%u]\nhep:\n  - { name: agents, listen: "
			   "[udp:127.0.0.1:9060], keys: ['%u'] }\n",
			   n, n, n);

	ck_assert_int_eq(conf_read_bytes("t", yaml, (size_t)len, &conf, NULL), HT_OK);
	return conf;
}

static struct snapshot *make_snapshot(unsigned n)
{
	struct snapshot *s;

	ck_assert_int_eq(snapshot_new(&s, start, read_conf(n), rules), HT_OK);
	return s;
}

/* All values are of one configuration; which one. */
static unsigned consistent(const struct snapshot *s)
{
	unsigned n = (unsigned)(s->skew_us / 1000000);
	char text[16];

	RCU_ASSERT_READING();
	snprintf(text, sizeof(text), "%u", n);
	ck_assert_str_eq(s->listener[0]->keys.at[0], text);
	ck_assert_str_eq(s->names.name[0].lower + 2, text);
	ck_assert_int_eq(memcmp(s->node, "node1", 5), 0);
	return n;
}

struct reader {
	pthread_t thread;
	_Atomic bool *stop;
	_Atomic unsigned last; /* newest configuration seen */
	unsigned long sections;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	unsigned last = 0, n;

	rcu_thread_begin();
	while (!atomic_load_explicit(r->stop, memory_order_relaxed)) {
		rcu_read_begin();
		for (int i = 0; i < 20; i++) {
			n = consistent(rcu_get(published));
			ck_assert_uint_ge(n, last); /* time does not run backwards */
			last = n;
		}
		rcu_read_end();
		atomic_store_explicit(&r->last, last, memory_order_relaxed);
		r->sections++;
	}
	rcu_thread_end();
	return NULL;
}

static void wait_for(_Atomic unsigned *value, unsigned least)
{
	uint64_t until = clock_mono_us() + 60000000;

	while (atomic_load_explicit(value, memory_order_relaxed) < least) {
		ck_assert_uint_lt(clock_mono_us(), until);
		sched_yield();
	}
}

static size_t allocated(void)
{
	return mallinfo2().uordblks;
}

START_TEST(snapshot_is_swapped_under_readers)
{
	_Atomic bool stop = false;
	struct reader readers[READERS] = { 0 };
	size_t before = 0;

	start = read_conf(1);
	ck_assert_int_eq(rules_new(&rules), HT_OK);
	published = make_snapshot(1);
	for (int i = 0; i < READERS; i++) {
		readers[i].stop = &stop;
		ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned n = 2; n <= SWAPS + 1; n++) {
		snapshot_retire(rcu_swap(published, make_snapshot(n)));
		if (n % 100 == 0) { /* so that each reader is seen to go along */
			for (int i = 0; i < READERS; i++)
				wait_for(&readers[i].last, n);
		}
		if (n == SWAPS / 2) {
			urcu_memb_barrier();
			before = allocated();
		}
	}
	for (int i = 0; i < READERS; i++)
		wait_for(&readers[i].last, SWAPS + 1);
	atomic_store(&stop, true);
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		ck_assert_uint_gt(readers[i].sections, 10);
	}
	urcu_memb_barrier();
	if (!IS_SANITIZED) /* there the allocator is another, and the leak checker looks */
		ck_assert_uint_lt(allocated(), before + SWAPS / 8 * sizeof(struct snapshot));
	snapshot_free(published);
	conf_free(start);
	rules_free(rules);
}
END_TEST

START_TEST(retiring_nothing_is_fine)
{
	snapshot_retire(NULL);
	snapshot_free(NULL);
}
END_TEST

/* ---- the planted race ---- */

/* Threads that meet by relaxed flags alone, which tell ThreadSanitizer nothing about what comes
 * before what. */
static _Atomic int step;

static void wait_for_step(int n)
{
	while (atomic_load_explicit(&step, memory_order_relaxed) < n)
		sched_yield();
}

static void *read_and_stay(void *arg)
{
	uint64_t *sum = arg;

	rcu_thread_begin();
	rcu_read_begin();
	*sum += rcu_get(published)->skew_us;
	atomic_store_explicit(&step, 1, memory_order_relaxed);
	wait_for_step(2);
	rcu_read_end();
	rcu_thread_end();
	return NULL;
}

/* What was published is changed while a reader may look at it: no grace period has passed. */
static void plant(void)
{
	static struct snapshot first = { .skew_us = 1 }, second = { .skew_us = 2 };
	struct snapshot *old;
	uint64_t sum = 0;
	pthread_t reader;

	published = &first;
	if (pthread_create(&reader, NULL, read_and_stay, &sum) != 0)
		exit(1);
	wait_for_step(1);
	old = rcu_swap(published, &second);
	old->skew_us = 3;
	atomic_store_explicit(&step, 2, memory_order_relaxed);
	pthread_join(reader, NULL);
}

/* Run this binary with "plant"; its exit code, and what it says on stderr. */
static int run_plant(char *text, size_t size)
{
	const char *options = getenv("TSAN_OPTIONS");
	char with_exit[512], path[512];
	int out[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	snprintf(with_exit, sizeof(with_exit), "%s exitcode=%d", options ? options : "", TSAN_EXIT);
	ck_assert_int_eq(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		setenv("TSAN_OPTIONS", with_exit, 1);
		dup2(out[1], STDERR_FILENO);
		execl(path, path, "plant", (char *)NULL);
		_exit(1);
	}
	close(out[1]);
	while ((n = read(out[0], text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(out[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(race_beside_the_wrapper_is_reported)
{
	static char text[65536];
	int code = run_plant(text, sizeof(text));

#ifdef HT_TSAN
	ck_assert_int_eq(code, TSAN_EXIT);
	ck_assert_ptr_nonnull(strstr(text, "data race"));
	ck_assert_ptr_nonnull(strstr(text, "plant"));
#else
	ck_assert_int_eq(code, 0);
#endif
}
END_TEST

int main(int argc, char **argv)
{
	SRunner *runner;
	int failed;
	Suite *s;
	TCase *t;

	if (argc > 1 && strcmp(argv[1], "plant") == 0) {
		plant();
		return EXIT_SUCCESS;
	}
	s = suite_create("rcu");
	t = tcase_create("rcu");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, snapshot_is_swapped_under_readers);
	tcase_add_test(t, retiring_nothing_is_fine);
	tcase_add_test(t, race_beside_the_wrapper_is_reported);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
