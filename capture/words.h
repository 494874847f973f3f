/**
 * @file
 * Words behind commands, "--name value" or "--name=value", and those that say which packets of a
 * capture file are looked at. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/** Which of the @p names, a list that NULL ends, is this word? @return it; NULL: none. */
const char *words_find(const char *word, const char *const *names);

/** What is said of option argv[*i], which words_find() has found: behind its "=", or the next word,
 * to which *i moves. @return NULL: nothing is. */
char *words_value(int argc, char **argv, int *i);

/** A decimal number from 1 to @p most of nothing but digits. @return what is behind it; NULL if it
 * is none. */
const char *words_number(const char *at, uint64_t most, uint64_t *out);

/* Which packets are looked at; nothing: as the configuration has it. */
struct packet_wish {
	unsigned ports[CONF_MAX_PORTS], hep_ports[CONF_MAX_PORTS];
	unsigned port_count, hep_port_count;
	const char *bpf;
};

#define PACKET_WORDS "--ports", "--hep-ports", "--bpf"

/** Read the value of one of PACKET_WORDS. @param why  WHY_BYTES; what is wrong, if it is false. */
HT_MUST_CHECK bool packet_wish_read(struct packet_wish *out, const char *name, const char *value,
				    char *why);

/** The first capture of the configuration, else one of the usual ports, and what is wished instead.
 * It borrows from both. */
void packet_wish_choose(const struct packet_wish *wish, const struct conf *conf,
			struct conf_capture *out);
