/**
 * @file
 * `heptap match`: which filter rule decides about each message of a capture file, or of standard
 * input, and why. Threads: the command's main thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "capture/words.h"
#include "conf/conf.h"
#include "hep/msg.h"

/* What the words behind the command ask for. */
struct match_wish {
	const char *capture; /* "-": standard input; NULL: that is messages, not packets */
	struct packet_wish packets;
	const char *source; /* name of listener or capture; NULL: the first one of a capture */
	bool is_json, is_summary;
	bool has_tests;	  /* show all tests, not only the one that settled a rule */
	const char *only; /* name of a rule; NULL: all messages are shown */
	/* of messages, which say nothing of it themselves */
	struct addr src, dst;
	uint8_t ip_proto;
	const char *agent;
};

/** Read the words. @param why  WHY_BYTES; what is wrong, if it returns false. */
HT_MUST_CHECK bool match_words(int argc, char **argv, struct match_wish *out, char *why);

/**
 * Judge what comes, and tell on stdout.
 * @return an exit code: 0 all of it was judged; 1 it is no capture or no SIP, or is damaged, or the
 * rule that is asked for decided nothing; 2 there is no such rule; 3 it could not be done, or was
 * interrupted.
 */
int match_command(const struct conf *conf, const struct match_wish *wish);
