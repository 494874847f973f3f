/**
 * @file
 * Packet filters in the language of tcpdump (pcap-filter(7)).
 * Threads: any.
 */
#pragma once
#include "conf/err.h"

/**
 * Can it be compiled for Ethernet? Names of hosts in it are looked up, which may take a while.
 *
 * @param why  WHY_BYTES; after HT_ECONF what is wrong with it.
 * @return HT_OK, also for "", HT_ECONF or -ENOMEM.
 */
HT_MUST_CHECK int expression_check(const char *text, char *why);
