/**
 * @file
 * A disk in memory, under what a program of the tests calls: with the linker's --wrap (DISK_WRAP in
 * the Makefile) the system calls of the spool come here. One directory, DISK_DIR, with files in it.
 *
 * What a call wrote is seen by every later call, and survives the end of the process
 * (disk_restart()). A power failure (disk_power_failure()) leaves what was synced, and of the rest
 * any part: each sector of 512 octets of a file the new one or the old one, its size anything from
 * the synced one to the last one, each creation, link, rename or removal of a name done or not.
 * fdatasync() makes a file's octets and size last, fsync() of the directory its names, fsync() of
 * DISK_ROOT the directory itself.
 *
 * Calls can fail (disk_fail_*), and the process can end in any of them (disk_end_at()): from then
 * on nothing changes and every call fails, so that the code under test comes back to the test. The
 * monotonic clock is the test's too.
 *
 * Threads: one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_ROOT "/disk"
#define DISK_DIR  DISK_ROOT "/spool"

/* What the disk does wrong and says nothing of, so that a test can show that it would be seen. */
enum disk_lie {
	DISK_HONEST,
	DISK_FORGETS_SYNC,	/* fdatasync() of a file does nothing */
	DISK_FORGETS_NAMES,	/* fsync() of a directory does nothing */
	DISK_FORGETS_WRITE,	/* a sector of a write keeps what was there */
	DISK_READS_OTHER_OCTET, /* a read gives one octet that is another */
	DISK_LIES
};

/* An empty disk; random decisions come from @p seed. Before anything else. */
void disk_make(uint64_t seed);

/* Free it; calls are those of the system again. */
void disk_free(void);

/* The process is over, or another one begins: descriptors are closed, no call fails any more. */
void disk_restart(void);

/* disk_restart(), and what was not synced is there or not. */
void disk_power_failure(void);

/* Calls so far. */
uint64_t disk_calls(void);

/* Calls that changed something: octets, sizes or names. */
uint64_t disk_changes(void);

/* The process ends in that call, before it has done anything, or, if @p in_midst, a write having
 * written a part. */
void disk_end_at(uint64_t call, bool in_midst);
bool disk_is_ended(void);

/* That call fails. Which errno: one that the call can have, chosen at random; 0: none fails. */
void disk_fail_at(uint64_t call);

/* One call in @p one_in fails, writes of all kinds only if @p writes_only; 0: none. */
void disk_fail_often(unsigned one_in, bool writes_only);

/* From now on there are so many octets of room for files; UINT64_MAX: any. */
void disk_set_room(uint64_t bytes);

/* Calls that failed because of one of the above, since the start of the process. */
uint64_t disk_failures(void);
/* Failed syncs among them. */
uint64_t disk_failed_syncs(void);

/* One call in @p one_in lies. */
void disk_lie(enum disk_lie lie, unsigned one_in);
uint64_t disk_lies(void);

void disk_set_clock(uint64_t mono_us);

/* ---- the files, to look at and to damage ---- */

struct disk_file {
	char name[64];
	uint8_t *bytes;
	size_t size;
};

/* Names in the directory now; the i-th of them in no order. */
size_t disk_file_count(void);
struct disk_file disk_file(size_t i);

/* @return false if there is none. */
bool disk_find(const char *name, struct disk_file *out);

/* What happens to files by themselves; lasts. */
void disk_flip(const char *name, size_t at, uint8_t mask);
void disk_zero(const char *name, size_t at, size_t len);
void disk_truncate(const char *name, size_t size);
void disk_remove(const char *name);
