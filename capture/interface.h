/**
 * @file
 * A network interface, as the sources of packets ask for it and hang on to it.
 * Threads: any.
 */
#pragma once
#include <stdbool.h>

#include "conf/err.h"

/** Its kind of hardware. @return ARPHRD_*, or -errno: -ENODEV if there is none of that name. */
HT_MUST_CHECK int interface_type(const char *name);

bool interface_is_up(const char *name);

/** All packets of an interface come to this socket of AF_PACKET; 0: of all. @return HT_OK or
 * -errno. */
HT_MUST_CHECK int interface_bind(int fd, unsigned index);

/** Also those that are for others, until the socket is closed or the interface gone. By membership,
 * which ends with the socket, however we end; a flag of the interface would stay.
 * @return HT_OK or -errno. */
HT_MUST_CHECK int interface_take_all(int fd, unsigned index);

/** @return false: it was bound to an interface that is gone, or to none. */
bool interface_is_bound(int fd);

/** Leave out what this host sends, as far as the kernel can (from 4.20). */
void interface_ignore_outgoing(int fd);
