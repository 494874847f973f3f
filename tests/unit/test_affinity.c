/* tune/affinity.c and tune/cpus.c, tune/sockets.c: threads and sockets of this process, read
 * back from the kernel. */
#include "tune/affinity.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tune/sockets.h"

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- sets ---- */

static const struct {
	const char *list, *mask, *printed;
	unsigned count;
} sets[] = {
	{ "", "0", "none", 0 },
	{ "0", "1", "0", 1 },
	{ "0-3,8", "10f", "0-3,8", 5 },
	{ "8,0-3", "00000000,0000010f", "0-3,8", 5 },
	{ "31-32", "1,80000000", "31-32", 2 },
	{ "16", "00010000", "16", 1 },
	{ "64", "1,00000000,00000000", "64", 1 },
	{ "0-127", "ffffffff,ffffffff,ffffffff,ffffffff", "0-127", 128 },
	{ "5\n", "20\n", "5", 1 },
};

START_TEST(a_list_and_its_mask_are_one_set)
{
	struct cpus a, b;
	char text[2048];

	ck_assert(cpus_read_list(sets[_i].list, &a));
	ck_assert_uint_eq(cpus_count(&a), sets[_i].count);
	ck_assert_str_eq(cpus_print(&a, text, sizeof(text)), sets[_i].printed);
	ck_assert(cpus_read_mask(sets[_i].mask, &b));
	ck_assert(cpus_equal(&a, &b));
	ck_assert(cpus_read_mask(cpus_print_mask(&a, text, sizeof(text)), &b));
	ck_assert(cpus_equal(&a, &b));
}
END_TEST

static const char *const no_lists[] = { "x",	"1-",	"-1",	"3-1", "1,",
					",1",	"1,,2", "4096", "1 2", "99999999999999999999",
					"1-2-3" };
static const char *const no_masks[] = { "x", ",1", "1,", "1,2", "1,000000001", "0x1", "1 1" };

START_TEST(what_is_not_a_set_is_refused)
{
	struct cpus set;

	for (int i = 0; i < ROWS(no_lists); i++)
		ck_assert_msg(!cpus_read_list(no_lists[i], &set), "%s", no_lists[i]);
	for (int i = 0; i < ROWS(no_masks); i++)
		ck_assert_msg(!cpus_read_mask(no_masks[i], &set), "%s", no_masks[i]);
}
END_TEST

START_TEST(random_sets_survive_being_written)
{
	char list[CPUS_MOST * 6];
	struct cpus a, b;

	srand(7);
	for (int round = 0; round < 300; round++) {
		unsigned most = 1U << (1 + rand() % 12);

		a = (struct cpus){ 0 };
		for (int n = rand() % 200; n >= 0; n--)
			cpus_add(&a, (unsigned)rand() % most);
		ck_assert(cpus_read_list(cpus_print(&a, list, sizeof(list)), &b));
		ck_assert(cpus_equal(&a, &b));
		ck_assert(cpus_read_mask(cpus_print_mask(&a, list, sizeof(list)), &b));
		ck_assert(cpus_equal(&a, &b));
	}
}
END_TEST

/* ---- threads ---- */

struct sleeper {
	pthread_t id;
	sem_t ready, end;
};

static void *sleep_named(void *arg)
{
	struct sleeper *s = arg;

	pthread_setname_np(pthread_self(), "ht-cap-3");
	sem_post(&s->ready);
	while (sem_wait(&s->end) < 0)
		;
	return NULL;
}

static void sleeper_start(struct sleeper *s)
{
	sem_init(&s->ready, 0, 0);
	sem_init(&s->end, 0, 0);
	ck_assert_int_eq(pthread_create(&s->id, NULL, sleep_named, s), 0);
	while (sem_wait(&s->ready) < 0)
		;
}

static void sleeper_end(struct sleeper *s)
{
	sem_post(&s->end);
	ck_assert_int_eq(pthread_join(s->id, NULL), 0);
}

/* What the kernel says, in its own words. */
static void allowed_list(int tid, char out[256])
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	out[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Cpus_allowed_list: %255s", out) == 1)
			break;
	}
	fclose(f);
	ck_assert_str_ne(out, "");
}

START_TEST(a_thread_is_found_and_pinned_by_name)
{
	struct cpus all, one, got;
	char list[256], text[256];
	struct sleeper s;
	unsigned tried = 0;
	int tid;

	ck_assert_int_eq(affinity_find("ht-cap-3"), -ESRCH);
	sleeper_start(&s);
	tid = affinity_find("ht-cap-3");
	ck_assert_int_gt(tid, 0);
	ck_assert_int_ne(tid, getpid());
	ck_assert_int_eq(affinity_read(tid, &all), HT_OK);
	for (unsigned cpu = 0; cpu < CPUS_MOST; cpu++) {
		if (!cpus_has(&all, cpu))
			continue;
		one = (struct cpus){ 0 };
		cpus_add(&one, cpu);
		ck_assert_int_eq(affinity_set(tid, &one, &got), HT_OK);
		snprintf(text, sizeof(text), "%u", cpu);
		allowed_list(tid, list);
		ck_assert_str_eq(list, text);
		tried++;
	}
	ck_assert_uint_eq(tried, cpus_count(&all));
	ck_assert_int_eq(affinity_read(0, &got), HT_OK); /* our own is as it was */
	ck_assert(cpus_equal(&got, &all));
	sleeper_end(&s);
}
END_TEST

START_TEST(cpus_that_are_not_ours_are_cut_and_said)
{
	struct cpus all, want, got, none = { 0 };

	ck_assert_int_eq(affinity_read(0, &all), HT_OK);
	want = all;
	cpus_add(&want, 4000);
	ck_assert_int_eq(affinity_set(0, &want, &got), HT_EFULL);
	ck_assert(cpus_equal(&got, &all));
	cpus_add(&none, 4000);
	ck_assert_int_eq(affinity_set(0, &none, &got), -EINVAL);
	ck_assert(cpus_equal(&got, &all));
	ck_assert_int_eq(affinity_set(0x7ffffff0, &all, &got), -ESRCH);
}
END_TEST

/* A control group of its own with one CPU, if the host has that controller to give. */
START_TEST(a_cpuset_takes_cpus_away)
{
	static const char *const tops[] = { "/sys/fs/cgroup/cpuset", "/sys/fs/cgroup" };
	struct cpus all, got;
	char dir[128], line[512];
	int status, done = -1;
	pid_t child;

	ck_assert_int_eq(affinity_read(0, &all), HT_OK);
	for (int i = 0; i < ROWS(tops) && done != 0; i++) {
		snprintf(dir, sizeof(dir), "%s/heptap-test-%d", tops[i], getpid());
		if (cpus_count(&all) < 2 || mkdir(dir, 0755) < 0)
			continue;
		child = fork();
		if (child == 0) {
			snprintf(line, sizeof(line),
				 "cd %s && echo 1 >cpuset.cpus && (cat ../cpuset.mems >cpuset.mems "
				 "|| true) 2>/dev/null && echo %d >cgroup.procs",
				 dir, getpid());
			if (system(line) != 0)
				_exit(2);
			_exit(affinity_set(0, &all, &got) == HT_EFULL && cpus_count(&got) == 1 &&
					      cpus_has(&got, 1)
				      ? 0
				      : 1);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(rmdir(dir), 0);
		done = WEXITSTATUS(status) == 2 ? -1 : WEXITSTATUS(status);
	}
	if (done < 0)
		printf("skipped: a_cpuset_takes_cpus_away: no cpuset to make\n");
	else
		ck_assert_int_eq(done, 0);
}
END_TEST

/* ---- sockets ---- */

#define SOCKETS 2

static void group_open(int fds[SOCKETS], struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int on = 1;

	*at = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (int i = 0; i < SOCKETS; i++) {
		fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		ck_assert_int_ge(fds[i], 0);
		ck_assert_int_eq(setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
		ck_assert_int_eq(bind(fds[i], (struct sockaddr *)at, sizeof(*at)), 0);
		ck_assert_int_eq(getsockname(fds[i], (struct sockaddr *)at, &len), 0);
	}
}

/* All from one port, which a hash never spreads. */
static void send_some(const struct sockaddr_in *to, int count)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < count; i++)
		ck_assert_int_eq(sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)),
				 1);
	close(fd);
}

/* Over loopback a datagram is in the socket when sendto() returns. */
static int drain(int fd)
{
	char c;
	int n = 0;

	while (recv(fd, &c, 1, MSG_DONTWAIT) == 1)
		n++;
	return n;
}

START_TEST(one_agent_is_spread_by_chance)
{
	struct sockaddr_in at;
	int fds[SOCKETS], first;

	group_open(fds, &at);
	send_some(&at, 200);
	first = drain(fds[0]);
	ck_assert(first == 0 || first == 200);
	ck_assert_int_eq(first + drain(fds[1]), 200);
	ck_assert_int_eq(sockets_steer_by_chance(fds[0], SOCKETS), HT_OK);
	send_some(&at, 200);
	first = drain(fds[0]);
	ck_assert(first > 20 && first < 180);
	ck_assert_int_eq(first + drain(fds[1]), 200);
	ck_assert_int_eq(sockets_steer_by_chance(fds[0], 0), -EINVAL);
	ck_assert_int_lt(sockets_steer_by_chance(STDIN_FILENO, 2), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("affinity");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(all, a_list_and_its_mask_are_one_set, 0, ROWS(sets));
	tcase_add_test(all, what_is_not_a_set_is_refused);
	tcase_add_test(all, random_sets_survive_being_written);
	tcase_add_test(all, a_thread_is_found_and_pinned_by_name);
	tcase_add_test(all, cpus_that_are_not_ours_are_cut_and_said);
	tcase_add_test(all, a_cpuset_takes_cpus_away);
	tcase_add_test(all, one_agent_is_spread_by_chance);
	tcase_set_timeout(all, 60);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
