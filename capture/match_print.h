/**
 * @file
 * How `heptap match` shows a judged message: for people, without a control character of the
 * message's own, or as a JSON object. It is a teller of filter.h. Threads: one.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "capture/filter.h"
#include "conf/conf.h"

struct match_printer;

/* What the record of a Call-ID says. */
enum match_record {
	MATCH_NO_CALLID, /* the message names no call */
	MATCH_NEVER,	 /* OPTIONS and REGISTER have none */
	MATCH_NONE,	 /* there is none */
	MATCH_NO_RULE,	 /* there is one, but no rule of scope dialog matched */
	MATCH_RULE,	 /* it names a rule */
};

struct match_message {
	uint64_t number;
	const struct filter_input *in;
	struct filter_decision decision;
	enum match_record before, after; /* in->record and `names` are the rules of the last one */
	int names;
	bool is_told; /* the record was written, or would have been had there been room */
};

struct match_sums {
	uint64_t hits, stored;
};

struct match_summary {
	uint64_t unsure, not_sip, not_stored_type, empty, malformed, too_long, records_lost;
	const struct match_sums *rules; /* in their order, behind them the default action */
	bool has_packets;
	uint64_t packets, carriers, not_for_us, incomplete, held;
};

/** @return HT_OK or -ENOMEM. match_printer_free() it. What is given lives as long. */
HT_MUST_CHECK int match_printer_new(struct match_printer **out, const struct conf *conf,
				    const struct filter_program *program,
				    struct filter_thread *thread, bool is_json, bool has_tests);
void match_printer_free(struct match_printer *p);

/** A message is about to be judged by filter_explain(): what to give that. */
const struct filter_teller *match_print_begin(struct match_printer *p,
					      const struct match_message *m);

/** It was judged. What was told is written if @p is_shown. @return false: no memory for it. */
HT_MUST_CHECK bool match_print_end(struct match_printer *p, bool is_shown);

void match_print_summary(struct match_printer *p, const struct match_summary *s);

/** Name of a rule; FILTER_NONE or the number of rules: "default_action". */
const char *match_rule_name(const struct filter_program *program, int rule);
