/**
 * @file
 * Which of the sockets that share a port gets a datagram. It needs no rights and ends with the
 * sockets. Threads: any; no state.
 */
#pragma once
#include <stddef.h>

#include "conf/err.h"

/**
 * Datagrams in turn by chance over the @p n sockets of a port (SO_REUSEPORT), whoever sent them: a
 * few agents are a few flows, and no hash spreads those. Messages of one agent are no longer in
 * order between threads.
 *
 * @param fd  Any of the sockets: it decides for all. @return HT_OK, -EINVAL for none, -errno.
 */
HT_MUST_CHECK int sockets_steer_by_chance(int fd, size_t n);
