/**
 * @file
 * Recorded machines, unpacked into a directory that goes with the test. Runs from the root of the
 * sources.
 */
#pragma once
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOSTS "tests/fixtures/hosts"

static char hosts_dir[64];

static const char *const hosts_recorded[] = { "vm2-virtio-1q", "vm4-virtio-2q", "box16-ixgbe-8q",
					      "box64-mlx5-32q", "ctr-unpriv-veth" };
static const char *const hosts_nic[] = { "eth0", "ens3", "enp3s0f0", "ens3f0np0", "eth0" };
#define HOSTS_COUNT 5

static inline void hosts_unpack(void)
{
	snprintf(hosts_dir, sizeof(hosts_dir), "%s/hosts-XXXXXX",
		 access("build", W_OK) == 0 ? "build" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(hosts_dir));
	for (int i = 0; i < HOSTS_COUNT; i++) {
		char command[256];

		snprintf(command, sizeof(command), "sh %s/unpack.sh %s/%s.host %s/%s", HOSTS, HOSTS,
			 hosts_recorded[i], hosts_dir, hosts_recorded[i]);
		ck_assert_int_eq(system(command), 0);
	}
}

static inline void hosts_remove(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", hosts_dir);
	ck_assert_int_eq(system(command), 0);
}

/* The root of the recorded machine, in static memory. */
static inline const char *hosts_root(int number)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", hosts_dir, hosts_recorded[number]);
	return path;
}
