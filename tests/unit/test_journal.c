/* tune/journal.c: torn and damaged at every octet, and files that are not ours. */
#define XXH_INLINE_ALL
#include "tune/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "tests/unit/hosts.h"

#define ENTRIES	  5
#define FILE_MOST 8192

static struct journal_entry entry_number(unsigned i)
{
	struct journal_entry e = { .kind = "sysctl", .interface = "eth1" };

	snprintf(e.object, sizeof(e.object), "/proc/sys/net/thing%u", i);
	snprintf(e.identity, sizeof(e.identity), "name with\ttab, line\nfeed and 100%% %u", i);
	snprintf(e.old, sizeof(e.old), "%u\t%u", i, i + 1);
	snprintf(e.wanted, sizeof(e.wanted), "%u", 1000 * i);
	return e;
}

static void is_entry(const struct journal_entry *e, unsigned i, enum journal_step step)
{
	struct journal_entry want = entry_number(i);

	ck_assert_str_eq(e->kind, want.kind);
	ck_assert_str_eq(e->interface, want.interface);
	ck_assert_str_eq(e->object, want.object);
	ck_assert_str_eq(e->identity, want.identity);
	ck_assert_str_eq(e->old, want.old);
	ck_assert_str_eq(e->wanted, want.wanted);
	ck_assert_int_eq(e->step, step);
}

/* Entries 0 to 4: written, failed, undone, left, and one of which the end is not known. */
static void journal_fill(const char *path)
{
	static const enum journal_step steps[] = { JOURNAL_WRITTEN, JOURNAL_FAILED, JOURNAL_UNDONE,
						   JOURNAL_LEFT };
	struct journal_entry e;
	struct journal *j;
	size_t number;

	ck_assert_int_eq(journal_open(&j, path, "boot-1", "net:[1]", true), HT_OK);
	for (unsigned i = 0; i < ENTRIES; i++) {
		e = entry_number(i);
		ck_assert_int_eq(journal_begin(j, &e, &number), HT_OK);
		ck_assert_uint_eq(number, i);
		if (i < 4)
			ck_assert_int_eq(journal_note(j, i, steps[i], "now"), HT_OK);
	}
	journal_close(j);
}

static size_t file_get(const char *path, char *out)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, out, FILE_MOST);

	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, FILE_MOST);
	close(fd);
	return (size_t)n;
}

static void file_put(const char *path, const char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

START_TEST(what_was_noted_is_read_again)
{
	static const enum journal_step steps[] = { JOURNAL_WRITTEN, JOURNAL_FAILED, JOURNAL_UNDONE,
						   JOURNAL_LEFT, JOURNAL_WRITING };
	struct recorded r = recorded_make(NULL);
	struct journal *j;

	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", false), -ENOENT);
	journal_fill(r.other);
	ck_assert_int_eq(journal_open(&j, r.other, "boot-2", "net:[2]", false), HT_OK);
	ck_assert_str_eq(journal_boot(j), "boot-1");
	ck_assert_str_eq(journal_network(j), "net:[1]");
	ck_assert_uint_eq(journal_count(j), ENTRIES);
	ck_assert_uint_eq(journal_damaged_line(j), 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		is_entry(journal_entry(j, i), i, steps[i]);
	ck_assert_str_eq(journal_entry(j, 0)->now, "now");
	ck_assert_str_eq(journal_entry(j, 4)->now, "");
	ck_assert(journal_is_open_ended(j));
	ck_assert_int_eq(journal_note(j, 4, JOURNAL_LEFT, NULL), HT_OK);
	ck_assert(journal_is_open_ended(j));
	ck_assert_int_eq(journal_note(j, 0, JOURNAL_UNDONE, NULL), HT_OK);
	ck_assert(!journal_is_open_ended(j));
	ck_assert_int_eq(journal_remove(j), HT_OK);
	journal_close(j);
	ck_assert_int_eq(access(r.other, F_OK), -1);
	recorded_remove(&r);
}
END_TEST

/* Cut anywhere, it tells what was whole, and goes on from there. */
START_TEST(a_torn_end_is_cut_off_at_every_octet)
{
	struct recorded r = recorded_make(NULL);
	char whole[FILE_MOST];
	struct journal_entry e = entry_number(9);
	struct journal *j;
	size_t n, count, number;

	journal_fill(r.other);
	n = file_get(r.other, whole);
	for (size_t cut = 0; cut < n; cut++) {
		file_put(r.other, whole, cut);
		ck_assert_int_eq(journal_open(&j, r.other, "boot-1", "net:[1]", true), HT_OK);
		ck_assert_uint_eq(journal_damaged_line(j), 0);
		count = journal_count(j);
		ck_assert_uint_le(count, ENTRIES);
		for (unsigned i = 0; i < count; i++)
			is_entry(journal_entry(j, i), i, journal_entry(j, i)->step);
		ck_assert_int_eq(journal_begin(j, &e, &number), HT_OK);
		ck_assert_uint_eq(number, count);
		journal_close(j);
		ck_assert_int_eq(journal_open(&j, r.other, "boot-1", "net:[1]", false), HT_OK);
		ck_assert_uint_eq(journal_damaged_line(j), 0);
		ck_assert_uint_eq(journal_count(j), count + 1);
		is_entry(journal_entry(j, count), 9, JOURNAL_WRITING);
		journal_close(j);
	}
	recorded_remove(&r);
}
END_TEST

/* One octet is another: its line is named, all other lines hold, and nothing is added. */
START_TEST(damage_is_named_by_its_line_at_every_octet)
{
	static const char other[] = { '\0', 'x', '\n', '\t', '%' };
	struct recorded r = recorded_make(NULL);
	char whole[FILE_MOST], bad[FILE_MOST];
	struct journal_entry e = entry_number(9);
	struct journal *j;
	size_t n, line = 1, number;
	int err;

	journal_fill(r.other);
	n = file_get(r.other, whole);
	for (size_t at = 0; at < n; at++) {
		memcpy(bad, whole, n);
		bad[at] = other[at % sizeof(other)];
		if (bad[at] == whole[at])
			bad[at] = '~';
		file_put(r.other, bad, n);
		err = journal_open(&j, r.other, "boot-1", "net:[1]", false);
		if (line == 1) {
			ck_assert_int_eq(err, HT_EJOURNAL);
		} else {
			ck_assert_int_eq(err, HT_OK);
			/* without its line feed the last one is torn */
			ck_assert_uint_eq(journal_damaged_line(j), at == n - 1 ? 0 : line);
			ck_assert_uint_le(journal_count(j), ENTRIES);
			for (unsigned i = 0; i < journal_count(j); i++) {
				if (journal_entry(j, i)->kind[0])
					is_entry(journal_entry(j, i), i, journal_entry(j, i)->step);
			}
			if (at < n - 1)
				ck_assert_int_eq(journal_begin(j, &e, &number), HT_EJOURNAL);
			journal_close(j);
		}
		line += whole[at] == '\n';
	}
	recorded_remove(&r);
}
END_TEST

START_TEST(a_line_that_is_missing_is_seen)
{
	struct recorded r = recorded_make(NULL);
	struct journal *j;

	journal_fill(r.other);
	ck_assert_int_eq(run_line("sed -i 2d %s", r.other), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "boot-1", "net:[1]", false), HT_OK);
	ck_assert_uint_eq(journal_damaged_line(j), 2);
	ck_assert_uint_eq(journal_count(j), ENTRIES);
	is_entry(journal_entry(j, 4), 4, JOURNAL_WRITING);
	journal_close(j);
	recorded_remove(&r);
}
END_TEST

START_TEST(only_one_at_a_time_and_only_our_own)
{
	struct recorded r = recorded_make(NULL);
	struct journal *j, *second;

	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), HT_OK);
	ck_assert_int_eq(journal_open(&second, r.other, "b", "n", true), -EWOULDBLOCK);
	journal_close(j);
	ck_assert_int_eq(chmod(r.other, 0660), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", false), -EPERM);
	ck_assert_int_eq(chmod(r.other, 0600), 0);
	ck_assert_int_eq(chown(r.other, 12345, 0), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", false), -EPERM);
	ck_assert_int_eq(chown(r.other, 0, 0), 0);
	ck_assert_int_eq(run_line("ln %s %s/second", r.other, r.top), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", false), -EPERM);
	ck_assert_int_eq(run_line("rm %s && ln -s second %s", r.other, r.other), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), -ELOOP);
	ck_assert_int_eq(run_line("rm %s && mkfifo -m 600 %s", r.other, r.other), 0);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), -EPERM);
	recorded_remove(&r);
}
END_TEST

START_TEST(another_version_is_not_guessed_at)
{
	struct recorded r = recorded_make(NULL);
	static const char head[] = "heptap-tune-journal\t2\tb\tn\t";
	struct journal *j;
	char line[128];

	snprintf(line, sizeof(line), "%s%016" PRIx64 "\n", head,
		 (uint64_t)XXH3_64bits(head, strlen(head)));
	file_put(r.other, line, strlen(line));
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), HT_EFORMAT);
	file_put(r.other, "not a journal\n", 14);
	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), HT_EJOURNAL);
	ck_assert_int_eq(run_line("grep -qx 'not a journal' %s", r.other), 0);
	recorded_remove(&r);
}
END_TEST

/* The disk is full in the middle of a line: the file is as before, and can go on later. */
START_TEST(a_full_disk_leaves_no_half_line)
{
	struct recorded r = recorded_make(NULL);
	struct journal_entry e = entry_number(0);
	struct rlimit all, little;
	struct journal *j;
	struct stat st;
	size_t number;
	int err;

	ck_assert_int_eq(journal_open(&j, r.other, "b", "n", true), HT_OK);
	ck_assert_int_eq(stat(r.other, &st), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
	little = all;
	little.rlim_cur = (rlim_t)st.st_size + 10;
	signal(SIGXFSZ, SIG_IGN);
	/* no checks in between: libcheck writes to files, too */
	err = setrlimit(RLIMIT_FSIZE, &little) < 0 ? HT_OK : journal_begin(j, &e, &number);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	ck_assert_int_lt(err, 0);
	ck_assert_uint_eq(journal_count(j), 0);
	ck_assert_int_eq(run_line("test $(stat -c %%s %s) = %ld", r.other, (long)st.st_size), 0);
	ck_assert_int_eq(journal_begin(j, &e, &number), HT_OK);
	ck_assert_uint_eq(number, 0);
	journal_close(j);
	recorded_remove(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("journal");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(all, what_was_noted_is_read_again);
	tcase_add_test(all, a_torn_end_is_cut_off_at_every_octet);
	tcase_add_test(all, damage_is_named_by_its_line_at_every_octet);
	tcase_add_test(all, a_line_that_is_missing_is_seen);
	tcase_add_test(all, only_one_at_a_time_and_only_our_own);
	tcase_add_test(all, another_version_is_not_guessed_at);
	tcase_add_test(all, a_full_disk_leaves_no_half_line);
	tcase_set_timeout(all, 120);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
