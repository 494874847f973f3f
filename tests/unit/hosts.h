/**
 * @file
 * Recorded machines of tests/fixtures/hosts, unpacked into directories that go with the test. Runs
 * from the root of the sources.
 */
#pragma once
#include <check.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOSTS "tests/fixtures/hosts"

static const char *const hosts_recorded[] = { "vm2-virtio-1q", "vm4-virtio-2q", "box16-ixgbe-8q",
					      "box64-mlx5-32q", "ctr-unpriv-veth" };
static const char *const hosts_nic[] = { "eth0", "ens3", "enp3s0f0", "ens3f0np0", "eth0" };
#define HOSTS_COUNT 5

__attribute__((format(printf, 1, 2))) static inline int run_line(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return system(line);
}

/* ---- all of them, once for a group of tests ---- */

static char hosts_dir[64];

static inline void hosts_unpack_one(int number)
{
	if (!hosts_dir[0]) {
		snprintf(hosts_dir, sizeof(hosts_dir), "/dev/shm/heptap-hosts-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(hosts_dir));
	}
	ck_assert_int_eq(run_line("sh " HOSTS "/unpack.sh " HOSTS "/%s.host %s/%s",
				  hosts_recorded[number], hosts_dir, hosts_recorded[number]),
			 0);
}

static inline void hosts_unpack(void)
{
	for (int i = 0; i < HOSTS_COUNT; i++)
		hosts_unpack_one(i);
}

static inline void hosts_remove(void)
{
	ck_assert_int_eq(run_line("rm -r %s", hosts_dir), 0);
	hosts_dir[0] = '\0';
}

/* The root of the recorded machine, in static memory. */
static inline const char *hosts_root(int number)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", hosts_dir, hosts_recorded[number]);
	return path;
}

/* ---- one of its own, to write to ---- */

struct recorded {
	char top[64];	/* what to remove */
	char root[96];	/* the tree */
	char other[96]; /* a place for a copy of it, or a journal */
};

/* @param machine  Of hosts_recorded, a copy if they are unpacked; NULL for an empty tree. */
static inline struct recorded recorded_make(const char *machine)
{
	struct recorded r;

	snprintf(r.top, sizeof(r.top), "/dev/shm/heptap-tune-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r.top));
	snprintf(r.root, sizeof(r.root), "%s/tree", r.top);
	snprintf(r.other, sizeof(r.other), "%s/other", r.top);
	if (machine && hosts_dir[0])
		ck_assert_int_eq(run_line("cp -a %s/%s %s", hosts_dir, machine, r.root), 0);
	else if (machine)
		ck_assert_int_eq(
			run_line("sh " HOSTS "/unpack.sh " HOSTS "/%s.host %s", machine, r.root),
			0);
	else
		ck_assert_int_eq(run_line("mkdir %s", r.root), 0);
	return r;
}

static inline void recorded_remove(struct recorded *r)
{
	ck_assert_int_eq(run_line("rm -rf %s", r->top), 0);
}
