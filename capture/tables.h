/**
 * @file
 * The tables of a server that its receive threads decide by: made at the start as `tables` says and
 * `memory` allows, swept a little each second. Threads: main.
 */
#pragma once
#include <stdint.h>

#include "conf/conf.h"
#include "conf/err.h"

struct decide_tables;
struct stats_sources;
struct tables;

/**
 * @param threads  Receive threads that will use them.
 * @return HT_OK or an error. tables_free() it; NULL is fine there and in tables_sweep().
 * Threads: one that is registered with RCU, all three.
 */
HT_MUST_CHECK int tables_new(struct tables **out, const struct conf *conf, unsigned threads);
void tables_free(struct tables *t);

const struct decide_tables *tables_of(const struct tables *t);

/** Name them for the numbers of the process. */
void tables_tell(const struct tables *t, struct stats_sources *out);

/** Remove what is over. Each second. */
void tables_sweep(struct tables *t, uint64_t mono_us);
