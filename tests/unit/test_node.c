/* tune/node.c: the kernel says what it was told. */
#include "tune/node.h"

#include <check.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int policy(unsigned long *nodes)
{
	int mode = -1;

	return syscall(SYS_get_mempolicy, &mode, nodes, 1024UL, NULL, 0UL) < 0 ? -errno : mode;
}

START_TEST(memory_comes_from_a_node_until_it_is_said_otherwise)
{
	unsigned long nodes[1024 / 64] = { 0 };

	node_prefer(0);
	if (policy(nodes) < 0 || policy(nodes) == MPOL_DEFAULT) {
		printf("skipped: memory_comes_from_a_node_until_it_is_said_otherwise: the kernel "
		       "has "
		       "no policies, or allows none\n");
		return;
	}
	ck_assert_int_eq(policy(nodes), MPOL_PREFERRED);
	ck_assert_uint_eq(nodes[0], 1);
	node_prefer(100000); /* there is none: nothing changes */
	ck_assert_int_eq(policy(nodes), MPOL_PREFERRED);
	node_prefer(-1);
	ck_assert_int_eq(policy(nodes), MPOL_DEFAULT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("node");
	TCase *t = tcase_create("node");
	SRunner *runner;
	int failed;

	tcase_add_test(t, memory_comes_from_a_node_until_it_is_said_otherwise);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
