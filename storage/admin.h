/**
 * @file
 * The admin thread's work: everything that is slow or implicitly commits, so that writers never do
 * it. It reads information_schema, makes missing tables, says how many writers the tables take, and
 * does each minute what storage/rotate.h does: partitions and daily tables ahead of time (and on
 * demand), retention.
 *
 * Threads: admin_run() is ht-admin; writers ask and wait; the mutex covers the requests.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"
#include "storage/db.h"
#include "storage/rotate.h"
#include "storage/statistics.h"
#include "storage/table.h"

struct admin;
struct spool;

/** @p options and the layout stay the caller's and have to live as long. @return HT_OK or -ENOMEM.
 * admin_free() it. */
HT_MUST_CHECK int admin_new(struct admin **out, const struct db_options *options,
			    const struct rotate_options *rotate);
void admin_free(struct admin *a);

/**
 * Have the spool give rows to as many of its @p writers (2 or more) as the tables take at once: two
 * each, one where it is ROW_FORMAT=COMPRESSED. Threads: main, before the thread starts.
 */
void admin_tune_writers(struct admin *a, struct spool *spool, unsigned writers);

const struct rotate_counters *admin_counters(const struct admin *a);

/** Also see to what follows from statistics, each minute. Before admin_run(). */
void admin_tend_statistics(struct admin *a);

/** The thread: until admin_stop(). */
void admin_run(struct admin *a);

/** Make admin_run() return and waiting writers give up with HT_ESTOP. Threads: any. */
void admin_stop(struct admin *a);

/**
 * Have a table read afresh (and made, if it is missing), and get what it looks like.
 * @return HT_OK; HT_EMISSING: not there and not to be made; HT_ESTOP; or the error that ht-admin
 * met. Threads: writers; waits for ht-admin.
 */
HT_MUST_CHECK int admin_ask_table(struct admin *a, struct place place, struct table *out);

/**
 * Have the tables of statistics read afresh (and made, if they are missing).
 * @return HT_OK; HT_EMISSING; HT_ESTOP; or the error that ht-admin met. Threads: writers; waits for
 * ht-admin.
 */
HT_MUST_CHECK int admin_ask_statistics(struct admin *a, struct statistics_tables *out);

/**
 * Have partitions made in a table that hold rows until this day (since 1970, UTC).
 * @param last  With HT_EFUTURE: replaced by the last day that gets a place.
 * @return HT_OK; as rotate_ensure(); HT_ESTOP. Threads: writers; waits for ht-admin.
 */
HT_MUST_CHECK int admin_ask_days(struct admin *a, struct place place, uint32_t *last);
