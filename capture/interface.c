/* ioctl(2) of an interface, and sockets of AF_PACKET. */
#include "capture/interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(const char *interface, unsigned long request, struct ifreq *out)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = HT_OK;

	if (fd < 0)
		return -errno;
	*out = (struct ifreq){ 0 };
	strncpy(out->ifr_name, interface, IFNAMSIZ - 1);
	if (ioctl(fd, request, out) < 0)
		err = -errno;
	close(fd);
	return err;
}

int interface_type(const char *name)
{
	struct ifreq r;
	int err = ask(name, SIOCGIFHWADDR, &r);

	return err < 0 ? err : r.ifr_hwaddr.sa_family;
}

bool interface_is_up(const char *name)
{
	struct ifreq r;

	return ask(name, SIOCGIFFLAGS, &r) == HT_OK && (r.ifr_flags & IFF_UP);
}

int interface_bind(int fd, unsigned index)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)index };

	return bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : HT_OK;
}

int interface_take_all(int fd, unsigned index)
{
	struct packet_mreq m = { .mr_ifindex = (int)index, .mr_type = PACKET_MR_PROMISC };

	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ? -errno
										    : HT_OK;
}

bool interface_is_bound(int fd)
{
	struct sockaddr_ll at = { 0 };
	socklen_t len = sizeof(at);

	return getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.sll_ifindex > 0;
}

void interface_ignore_outgoing(int fd)
{
	int on = 1;

	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
}
