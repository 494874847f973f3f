/* What `ethtool -S` shows, by the ioctl: hundreds of numbers, named as each driver likes. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tune/watch.h"

#define STATISTICS_MOST 65536
/* A NIC that gets more queues between the question and the answer has more to say than was asked
 * for, and the kernel writes all of it. */
#define ROOM 8192

static const char *const drops[] = {
#define X(name) name,
	WATCH_DRIVER_LIST(X)
#undef X
};

static const char *const packets[] = {
	"rx_queue_#_packets", "rx#_packets",	       "rx-#.packets",	"rx-#.rx_packets",
	"queue_#_rx_cnt",     "[#]: rx_ucast_packets", "rx_packets[#]", "rvec_#_rx_pkts",
};

/* '#' stands for a number, which is @p queue then. */
static bool is_like(const char *name, const char *pattern, unsigned *queue)
{
	for (; *pattern; pattern++) {
		unsigned digits = 0;

		if (*pattern != '#') {
			if (*name++ != *pattern)
				return false;
			continue;
		}
		for (*queue = 0; *name >= '0' && *name <= '9' && digits < 6; digits++)
			*queue = *queue * 10 + (unsigned)(*name++ - '0');
		if (digits == 0)
			return false;
	}
	return *name == '\0';
}

static void add(int64_t *sum, uint64_t value)
{
	uint64_t all = (uint64_t)(*sum < 0 ? 0 : *sum);

	*sum = value > INT64_MAX - all ? INT64_MAX : (int64_t)(all + value);
}

void watch_driver_take(const char *name, uint64_t value, struct watch_nic *out)
{
	unsigned queue;

	for (unsigned i = 0; i < WATCH_DRIVER_COUNT; i++)
		if (is_like(name, drops[i], &queue))
			add(&out->driver[i], value);
	for (unsigned i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
		if (is_like(name, packets[i], &queue) && queue < WATCH_QUEUES)
			add(&out->queue_packets[queue], value);
}

static int ask(int fd, const char *nic, void *question)
{
	struct ifreq request = { .ifr_data = question };

	strncpy(request.ifr_name, nic, sizeof(request.ifr_name) - 1);
	return ioctl(fd, SIOCETHTOOL, &request);
}

static void take_all(const struct ethtool_gstrings *names, const struct ethtool_stats *values,
		     struct watch_nic *out)
{
	for (unsigned i = 0; i < values->n_stats; i++) {
		char name[ETH_GSTRING_LEN + 1] = "";

		memcpy(name, names->data + (size_t)i * ETH_GSTRING_LEN, ETH_GSTRING_LEN);
		watch_driver_take(name, values->data[i], out);
	}
}

static void read_by(int fd, const char *nic, struct watch_nic *out)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ethtool_gstrings *names;
	struct ethtool_stats *values;

	if (ask(fd, nic, &info) < 0 || info.n_stats == 0 || info.n_stats > STATISTICS_MOST)
		return;
	names = calloc(1, sizeof(*names) + (size_t)(info.n_stats + ROOM) * ETH_GSTRING_LEN);
	values = calloc(1, sizeof(*values) + (info.n_stats + ROOM) * sizeof(values->data[0]));
	if (names && values) {
		*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS,
						    .string_set = ETH_SS_STATS,
						    .len = info.n_stats };
		*values = (struct ethtool_stats){ .cmd = ETHTOOL_GSTATS, .n_stats = info.n_stats };
		if (ask(fd, nic, names) == 0 && ask(fd, nic, values) == 0 &&
		    names->len == info.n_stats && values->n_stats == info.n_stats)
			take_all(names, values, out);
	}
	free(names);
	free(values);
}

void watch_driver_read(const char *nic, struct watch_nic *out)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(out->driver, 0xff, sizeof(out->driver));
	memset(out->queue_packets, 0xff, sizeof(out->queue_packets));
	if (fd < 0)
		return;
	read_by(fd, nic, out);
	close(fd);
}
