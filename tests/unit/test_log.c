/*
 * conf/log.c: what a line looks like, and that it is one. stderr is a pipe, syslog(3) a function in
 * this file.
 */
#undef _FORTIFY_SOURCE /* it would make syslog() a macro of its own */
#include "conf/log.h"

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define TIME_BYTES 25 /* "2026-01-31T23:59:59.123Z " */
#define THREADS	   4
#define LINES	   100

static int real_stderr, pipe_out, syslog_priority;
static char syslog_text[2 * LOG_LINE_BYTES];
static char seen[65536];

void __syslog_chk(int priority, int flag, const char *format, ...);

void openlog(const char *ident, int options, int facility)
{
	ck_assert_str_eq(ident, "heptap");
	(void)options;
	ck_assert_int_eq(facility, LOG_DAEMON);
}

void syslog(int priority, const char *format, ...)
{
	va_list args;

	syslog_priority = priority;
	va_start(args, format);
	vsnprintf(syslog_text, sizeof(syslog_text), format, args);
	va_end(args);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;

	(void)flag;
	syslog_priority = priority;
	va_start(args, format);
	vsnprintf(syslog_text, sizeof(syslog_text), format, args);
	va_end(args);
}

static void stderr_to_pipe(void)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	pipe_out = fds[0];
	real_stderr = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	unsetenv("JOURNAL_STREAM");
	log_open(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
}

static void stderr_back(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(pipe_out);
}

/* What was written since stderr_to_pipe(); nothing more can be. */
static const char *all_lines(void)
{
	size_t len = 0;
	ssize_t n;

	dup2(real_stderr, STDERR_FILENO); /* the pipe's last writer */
	while ((n = read(pipe_out, seen + len, sizeof(seen) - 1 - len)) > 0)
		len += (size_t)n;
	seen[len] = '\0';
	return seen;
}

/* The one line behind its time. */
static const char *one_line(void)
{
	const char *text = all_lines();

	ck_assert_uint_gt(strlen(text), TIME_BYTES);
	ck_assert_int_eq(text[TIME_BYTES - 2], 'Z');
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	return text + TIME_BYTES;
}

START_TEST(line_has_utc_time_and_level)
{
	int year, month, day, hour, minute, second, ms, used = 0;

	log_warning("eth0: ring shrunk to %d MiB", 32);
	sscanf(all_lines(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour, &minute,
	       &second, &ms, &used);
	ck_assert_int_eq(used, TIME_BYTES);
	ck_assert_int_ge(year, 2024);
	ck_assert_str_eq(seen + used, "warning: eth0: ring shrunk to 32 MiB\n");
}
END_TEST

START_TEST(level_below_is_not_written)
{
	log_open(LOG_LEVEL_WARNING, LOG_TARGET_STDERR);
	log_info("no");
	log_debug("no");
	log_error("yes");
	ck_assert_str_eq(one_line(), "error: yes\n");
}
END_TEST

START_TEST(control_characters_become_question_marks)
{
	log_info("a\nb\rc\td\033[1me\177f\302\233g\001h");
	ck_assert_str_eq(one_line(), "info: a?b?c?d?[1me?f??g?h\n");
}
END_TEST

START_TEST(utf8_text_stays)
{
	log_info("Zürich \302\240 \342\202\254");
	ck_assert_str_eq(one_line(), "info: Zürich \302\240 \342\202\254\n");
}
END_TEST

START_TEST(long_line_is_cut_to_one_kib)
{
	char text[3000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	ck_assert_uint_eq(strlen(all_lines()), LOG_LINE_BYTES - 1); /* a NUL had to fit */
	ck_assert_str_eq(seen + LOG_LINE_BYTES - 6, "x...\n");
}
END_TEST

START_TEST(longest_line_that_fits_is_not_cut)
{
	size_t room = LOG_LINE_BYTES - 2 - TIME_BYTES - strlen("info: ");
	char text[LOG_LINE_BYTES];

	memset(text, 'x', room);
	text[room] = '\0';
	log_info("%s", text);
	ck_assert_uint_eq(strlen(all_lines()), LOG_LINE_BYTES - 1);
	ck_assert_str_eq(seen + LOG_LINE_BYTES - 4, "xx\n");
}
END_TEST

/* Whatever the offset of a long text, what is left of it is whole characters. */
START_TEST(cut_is_between_characters)
{
	char text[3000] = "";
	const char *c;

	memset(text, 'x', (size_t)_i);
	for (size_t i = (size_t)_i; i + 4 < sizeof(text); i += 3)
		memcpy(text + i, "\342\202\254", 4);
	log_info("%s", text);
	c = strstr(one_line(), "...\n");
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(memcmp(c - 3, "\342\202\254", 3), 0);
}
END_TEST

START_TEST(journal_gets_priorities)
{
	char stream[64];
	struct stat st;

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(LOG_LEVEL_DEBUG, LOG_TARGET_STDERR);
	log_error("a");
	log_warning("b");
	log_info("c");
	log_debug("d");
	ck_assert_str_eq(all_lines(), "<3>a\n<4>b\n<6>c\n<7>d\n");
}
END_TEST

/* A process under a service manager whose stderr somebody sent elsewhere. */
START_TEST(journal_of_another_file_is_none)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_open(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
	log_info("a");
	ck_assert_str_eq(one_line(), "info: a\n");
}
END_TEST

START_TEST(syslog_gets_text_and_priority)
{
	log_open(LOG_LEVEL_INFO, LOG_TARGET_SYSLOG);
	log_warning("100%% of\n%s", "it");
	ck_assert_str_eq(syslog_text, "100% of?it");
	ck_assert_int_eq(syslog_priority, LOG_DAEMON | LOG_WARNING);
	ck_assert_str_eq(all_lines(), "");
}
END_TEST

START_TEST(errno_survives_and_can_be_printed)
{
	errno = ENOENT;
	log_info("%m");
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_str_eq(one_line(), "info: No such file or directory\n");
}
END_TEST

START_TEST(limited_line_comes_once)
{
	struct log_limit limit = { 0 };

	for (int i = 0; i < 5; i++)
		log_limited(&limit, LOG_LEVEL_WARNING, "spool: %d", i);
	ck_assert_str_eq(one_line(), "warning: spool: 0\n");
	ck_assert_uint_eq(limit.hidden, 4);
}
END_TEST

START_TEST(line_after_the_pause_counts_the_hidden)
{
	struct log_limit limit = { 0 };

	log_limited(&limit, LOG_LEVEL_WARNING, "a");
	log_limited(&limit, LOG_LEVEL_WARNING, "b");
	log_limited(&limit, LOG_LEVEL_WARNING, "c");
	limit.next_us = 0; /* as if ten seconds were over */
	log_limited(&limit, LOG_LEVEL_WARNING, "d");
	limit.next_us = 0;
	log_limited(&limit, LOG_LEVEL_WARNING, "e");
	ck_assert_ptr_nonnull(strstr(all_lines(), " warning: a\n"));
	ck_assert_ptr_nonnull(strstr(seen, " warning: d (and 2 more like this)\n"));
	ck_assert_ptr_nonnull(strstr(seen, " warning: e\n"));
	ck_assert_ptr_null(strstr(seen, "warning: b"));
}
END_TEST

START_TEST(hidden_count_survives_a_cut)
{
	struct log_limit limit = { .hidden = UINT64_MAX };
	char text[3000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_limited(&limit, LOG_LEVEL_INFO, "%s", text);
	ck_assert_uint_eq(strlen(all_lines()), LOG_LINE_BYTES - 1);
	ck_assert_ptr_nonnull(strstr(seen, "x... (and 18446744073709551615 more like this)\n"));
}
END_TEST

START_TEST(level_that_is_not_written_is_not_counted)
{
	struct log_limit limit = { 0 };

	log_limited(&limit, LOG_LEVEL_DEBUG, "a");
	log_limited(&limit, LOG_LEVEL_DEBUG, "b");
	ck_assert_uint_eq(limit.hidden, 0);
	ck_assert_uint_eq(limit.next_us, 0);
	ck_assert_str_eq(all_lines(), "");
}
END_TEST

static pthread_barrier_t start_line;
static struct log_limit shared_limit;

static void *write_lines(void *arg)
{
	pthread_barrier_wait(&start_line);
	for (int i = 0; i < LINES; i++) {
		log_info("thread %s line %d ends", (const char *)arg, i);
		log_limited(&shared_limit, LOG_LEVEL_INFO, "limited");
	}
	return NULL;
}

static void run_threads(void)
{
	static char names[THREADS][2] = { "0", "1", "2", "3" };
	pthread_t threads[THREADS];

	pthread_barrier_init(&start_line, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start_line);
}

START_TEST(lines_of_threads_do_not_mix)
{
	int whole = 0, limited = 0, thread, line, used;
	uint64_t told = 0, more;
	char *save = NULL;

	run_threads();
	all_lines();
	for (char *l = strtok_r(seen, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		used = 0;
		sscanf(l + TIME_BYTES, "info: thread %d line %d ends%n", &thread, &line, &used);
		whole += used > 0 && !l[TIME_BYTES + used];
		limited += strncmp(l + TIME_BYTES, "info: limited", strlen("info: limited")) == 0;
		if (sscanf(l + TIME_BYTES, "info: limited (and %" SCNu64 " more", &more) == 1)
			told += more; /* others came while the first one was written */
	}
	ck_assert_int_eq(whole, THREADS * LINES);
	ck_assert_int_eq(limited, 1);
	ck_assert_uint_eq(told + shared_limit.hidden, THREADS * LINES - 1);
}
END_TEST

static Suite *log_suite(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("lines");

	tcase_add_checked_fixture(t, stderr_to_pipe, stderr_back);
	tcase_add_test(t, line_has_utc_time_and_level);
	tcase_add_test(t, level_below_is_not_written);
	tcase_add_test(t, control_characters_become_question_marks);
	tcase_add_test(t, utf8_text_stays);
	tcase_add_test(t, long_line_is_cut_to_one_kib);
	tcase_add_test(t, longest_line_that_fits_is_not_cut);
	tcase_add_loop_test(t, cut_is_between_characters, 0, 3);
	tcase_add_test(t, journal_gets_priorities);
	tcase_add_test(t, journal_of_another_file_is_none);
	tcase_add_test(t, syslog_gets_text_and_priority);
	tcase_add_test(t, errno_survives_and_can_be_printed);
	tcase_add_test(t, limited_line_comes_once);
	tcase_add_test(t, line_after_the_pause_counts_the_hidden);
	tcase_add_test(t, hidden_count_survives_a_cut);
	tcase_add_test(t, level_that_is_not_written_is_not_counted);
	tcase_add_test(t, lines_of_threads_do_not_mix);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(log_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
