/**
 * @file
 * Which of the sockets that share a port gets a datagram or a connection, and how a socket waits.
 * All of it needs no rights and ends with the socket.
 *
 * Sockets with SO_REUSEPORT are numbered in the order in which they were bound; a program is
 * attached to any one of them and decides for all.
 * Threads: any; no state.
 */
#pragma once
#include <stddef.h>

#include "conf/err.h"

#define SOCKETS_CPUS_MOST 1024

/**
 * What comes in on CPU @p cpus[i] goes to socket i; on another CPU, by hash as before.
 * Only where the interrupts of the interface are where the threads are: a virtual interface or RPS
 * may have all packets on one CPU, and then one socket has all of them.
 * @return HT_OK, -EINVAL for none or too many, another -errno.
 */
HT_MUST_CHECK int sockets_steer_by_cpu(int fd, const unsigned *cpus, size_t n);

/**
 * Datagrams in turn by chance over @p n sockets, whoever sent them: a few agents are a few flows,
 * and no hash spreads those. Messages of one agent are no longer in order between threads.
 */
HT_MUST_CHECK int sockets_steer_by_chance(int fd, size_t n);

/** By hash of the addresses again. @return HT_OK, -ENOENT if nothing was attached. */
HT_MUST_CHECK int sockets_steer_by_hash(int fd);

/** Prefer this socket of the port for what comes in on a CPU; -1: no more. Read back. */
HT_MUST_CHECK int socket_prefer_cpu(int fd, int cpu);

/** Have a read look into the interface's queue for so long before it sleeps, which takes a core;
 * 0: off. Read back. @return HT_OK; -EPERM on older kernels without CAP_NET_ADMIN. */
HT_MUST_CHECK int socket_busy_poll(int fd, int us);
