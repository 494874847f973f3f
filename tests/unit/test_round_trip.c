/*
 * Each recorded machine, all the way: facts, plan, apply, verify, rollback. The plan writes
 * nothing, what it does not call blocked is done, and in the end the tree is what it was, also
 * after a kill behind any of the writes.
 */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/hosts.h"
#include "tune/apply.h"
#include "tune/host_plan.h"

/* A machine, and what is done to its tree before. */
static const struct {
	int host;
	const char *prepare;
	unsigned threads;
	bool may_management;
	unsigned least; /* changes that are made */
} machines[] = {
	{ 0, "true", 0, false, 2 },
	{ 0, "true", 2, true, 2 },
	{ 1, "true", 0, false, 2 },
	{ 1, "echo 1 >sys/class/net/ens3/threaded", 3, false, 5 },
	{ 2, "true", 0, false, 5 },
	{ 2, "rm -r proc/812", 0, false, 15 },
	{ 2, "rm -r proc/812; echo 'proc/irq/66/* write EIO' >>.faults", 12, false, 15 },
	{ 3, "true", 0, false, 5 },
	{ 3, "rm -r proc/[1-9]*", 0, false, 20 },
	{ 4, "true", 0, false, 0 },
};
#define MACHINES ((int)(sizeof(machines) / sizeof(machines[0])))

struct trip {
	struct recorded at;
	char before[96]; /* a copy of the tree */
	const char *nic;
	struct guard_options options;
	struct facts *facts;
	struct host_plan *plan;
	unsigned to_make, made, refused;
};

static bool is_as_before(const struct trip *t)
{
	return run_line("diff -r --no-dereference %s %s >/dev/null", t->before, t->at.root) == 0;
}

static void trip_begin(struct trip *t, int machine)
{
	struct tune_wish w = { .sizes = { .hep_sockets = 1, .memory = 1 << 30, .block_bytes = 1 },
			       .mirrors = { { .threads = machines[machine].threads } },
			       .ports = { 9060 },
			       .port_count = 1,
			       .may_management = machines[machine].may_management };

	*t = (struct trip){ .at = recorded_make(hosts_recorded[machines[machine].host]),
			    .nic = hosts_nic[machines[machine].host] };
	snprintf(t->before, sizeof(t->before), "%s/before", t->at.top);
	ck_assert_int_eq(run_line("cd %s && (%s) && cp -a . %s", t->at.root,
				  machines[machine].prepare, t->before),
			 0);
	t->options = (struct guard_options){ .root = t->at.root,
					     .interfaces = &t->nic,
					     .interfaces_count = 1,
					     .may_touch_management = w.may_management };
	t->facts = facts_read(t->at.root, &t->nic, 1, NULL, NULL);
	ck_assert_ptr_nonnull(t->facts);
	t->plan = host_plan_make(t->facts, &w);
	ck_assert_ptr_nonnull(t->plan);
	for (unsigned i = 0; i < t->plan->change_count; i++)
		t->to_make += !t->plan->changes[i].blocked;
	ck_assert_msg(is_as_before(t), "the plan wrote");
	ck_assert_msg(t->to_make >= machines[machine].least, "%u of %u", t->to_make,
		      machines[machine].least);
}

static void trip_end(struct trip *t)
{
	host_plan_free(t->plan);
	facts_free(t->facts);
	recorded_remove(&t->at);
}

/* What is blocked is refused for that reason, and nothing else is. */
static void as_planned(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct trip *t = ctx;

	if (r->state == APPLY_REFUSED) {
		ck_assert_msg(c->blocked != NULL, "%s: %s", c->object, r->note);
		ck_assert_str_eq(r->note, c->blocked);
		t->refused++;
	} else {
		ck_assert_msg(!c->blocked, "%s is done, though %s", c->object, c->blocked);
		ck_assert_msg(r->state == APPLY_DONE || r->state == APPLY_ROUNDED ||
				      r->state == APPLY_PENDING,
			      "%s: %s", c->object, apply_state_text(r->state));
		t->made++;
	}
}

static void is_kept(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	struct trip *t = ctx;

	ck_assert_msg(r->state == APPLY_DONE || r->state == APPLY_ROUNDED ||
			      r->state == APPLY_PENDING,
		      "%s: %s", c->object, apply_state_text(r->state));
	t->made--;
}

START_TEST(plan_apply_verify_rollback)
{
	struct apply_sums sums;
	struct trip t;

	trip_begin(&t, _i);
	ck_assert_int_eq(tune_apply(&t.options, t.at.other, t.plan->changes, t.plan->change_count,
				    as_planned, &t, &sums),
			 HT_OK);
	ck_assert_uint_eq(t.made, t.to_make);
	ck_assert_uint_eq(t.made + t.refused, t.plan->change_count);
	ck_assert_int_eq(is_as_before(&t), t.to_make == 0);
	if (t.to_make) {
		ck_assert_int_eq(tune_verify(&t.options, t.at.other, is_kept, &t, &sums), HT_OK);
		ck_assert_uint_eq(t.made, 0);
		ck_assert_int_eq(tune_rollback(&t.options, t.at.other, NULL, NULL, &sums), HT_OK);
		ck_assert_uint_eq(sums.of[APPLY_RESTORED], t.to_make);
	}
	ck_assert(is_as_before(&t));
	ck_assert_int_eq(access(t.at.other, F_OK), -1);
	trip_end(&t);
}
END_TEST

/* The journal is as it is between a write and its result: the last line is not there yet. */
static void kill_behind(struct trip *t, unsigned writes)
{
	struct apply_sums sums;
	pid_t child = fork();
	int status, err;

	if (child == 0) {
		err = tune_apply(&t->options, t->at.other, t->plan->changes, writes, NULL, NULL,
				 &sums);
		kill(getpid(), err == HT_OK ? SIGKILL : SIGTERM);
	}
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

START_TEST(killed_behind_any_write_it_goes_back)
{
	unsigned made = 0;
	struct apply_sums sums;
	struct trip t;

	trip_begin(&t, _i);
	for (unsigned n = 0; n < t.plan->change_count; n++) {
		if (t.plan->changes[n].blocked)
			continue;
		made++;
		kill_behind(&t, n + 1);
		ck_assert_int_eq(run_line("sed -i '$d' %s", t.at.other), 0);
		ck_assert_int_eq(tune_rollback(&t.options, t.at.other, NULL, NULL, &sums), HT_OK);
		ck_assert_uint_eq(sums.of[APPLY_RESTORED], made);
		ck_assert_msg(is_as_before(&t), "after %u", n);
		ck_assert_int_eq(access(t.at.other, F_OK), -1);
	}
	ck_assert_uint_eq(made, t.to_make);
	trip_end(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("round_trip");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(all, hosts_unpack, hosts_remove);
	tcase_add_loop_test(all, plan_apply_verify_rollback, 0, MACHINES);
	tcase_add_loop_test(all, killed_behind_any_write_it_goes_back, 0, MACHINES);
	tcase_set_timeout(all, 120);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
