/**
 * @file
 * Does the plan still hold? Two readings say what is wrong now; a memory of a minute says when that
 * began and when it is over. Threads: the functions are pure; a struct watch_state has one writer.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct watch_place;
struct watch_reading;

#define WATCH_TEXT    400
#define WATCH_HOLD_US (60 * UINT64_C(1000000)) /* well for so long: it is over */

#define WATCH_FINDINGS_LIST(X)                                            \
	X(BACKLOG, "backlog_drops")  /* a CPU's backlog was full */       \
	X(SQUEEZE, "receive_budget") /* softirqs end with packets left */ \
	X(UDP_BUFFER, "udp_buffer")  /* sockets were full */              \
	X(UDP_MEMORY, "udp_memory")  /* udp_mem was */                    \
	X(LISTEN, "listen_drops")                                         \
	X(NIC, "nic_drops")                                               \
	X(INTERRUPTS, "interrupts_off_core")                              \
	X(THREADS, "threads_off_core")                                    \
	X(QUEUES, "queues_uneven")                                        \
	X(SOFTIRQ, "softirq_starves")                                     \
	X(FILES, "files_of_host")                                         \
	X(TRACK_FULL, "conntrack_full")                                   \
	X(TRACK_DROPS, "conntrack_drops")                                 \
	X(OUR_FILES, "files_of_process")                                  \
	X(SWAPPED, "swapped")                                             \
	X(THROTTLED, "throttled")                                         \
	X(MEMORY, "memory_pressure")

enum watch_finding {
#define X(id, name) FINDING_##id,
	WATCH_FINDINGS_LIST(X)
#undef X
		WATCH_FINDINGS
};

/* Texts that are not empty: what is wrong, what it costs, what a person could do. */
struct watch_verdict {
	char text[WATCH_FINDINGS][WATCH_TEXT];
};

const char *watch_finding_name(enum watch_finding which);

/** @param before  Nothing is wrong of what takes two readings if its at_us is 0. */
void watch_judge(const struct watch_reading *before, const struct watch_reading *now,
		 const struct watch_place *place, struct watch_verdict *out);

struct watch_state {
	struct {
		bool is_on;
		uint64_t last_us; /* when it was wrong */
		char text[WATCH_TEXT];
	} finding[WATCH_FINDINGS];
};

/**
 * Take a verdict, and tell of what begins or is over.
 * @param tell  Called for each; @p text is that of its begin.
 */
void watch_remember(struct watch_state *s, const struct watch_verdict *v, uint64_t now_us,
		    void (*tell)(enum watch_finding which, bool is_on, const char *text));
