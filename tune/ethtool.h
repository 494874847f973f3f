/**
 * @file
 * Settings of an interface that sysfs does not have, one at a time: channels, ring sizes,
 * coalescing, pause, features, and the driver's name, by the SIOCETHTOOL ioctl in the network
 * namespace of the calling thread, or in the `ethtool/` files of a recorded tree.
 *
 * A setting is GROUP/KEY with a number, "on" or "off":
 *
 *     channels/combined, rx, tx, other         rings/rx, tx
 *     coalesce/rx_usecs, rx_frames, tx_usecs, tx_frames, adaptive_rx, adaptive_tx
 *     pause/rx, tx, autoneg                    features/NAME, as ethtool(8) calls it
 *
 * or rxflow/udp4, udp6, tcp4, tcp6 with the letters of ethtool(8) for what is hashed ("sd",
 * "sdfn"), with the largest value as channels/max_combined, rings/rx_max and so on; driver/driver
 * and driver/bus_info, rxfh/key and rxfh/input_xfrm are text. These are read only. Threads: any; no
 * state.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

/**
 * Read a setting. A feature that the driver never changes reads "on fixed" or "off fixed".
 *
 * @param root  As in tune/files.h.
 * @return octets of @p out; -ENODEV if there is no such interface, -EOPNOTSUPP if the driver has no
 *         such setting, -EINVAL if we do not know it, another -errno.
 */
HT_MUST_CHECK int ethtool_read(const char *root, const char *interface, const char *setting,
			       char *out, size_t size);

/**
 * Set it. All fields of its group are read and written back, as the kernel asks; of the features,
 * only the one bit. A driver may round or do nothing: read again.
 * @return HT_OK, -errno as above; -EPERM without CAP_NET_ADMIN.
 */
HT_MUST_CHECK int ethtool_write(const char *root, const char *interface, const char *setting,
				const char *value);
