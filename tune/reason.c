/* What an errno means depends on what was written to. */
#include "tune/reason.h"

#include <errno.h>
#include <stdio.h>

#include "conf/err.h"

static const char rights_of_nic[] =
	"needs CAP_NET_ADMIN in the network namespace of the interface: "
	"run as root there";

#define ANY -1

/* The first row that fits. */
static const struct {
	int kind, err;
	const char *why;
} rows[] = {
	{ TUNE_IRQ, EIO, "the kernel manages this interrupt by itself: leave it where it is" },
	{ TUNE_IRQ, EPERM,
	  "the kernel manages this interrupt by itself (6.12 and later), or root is missing" },
	{ TUNE_IRQ, ENOSPC, "that CPU has no interrupt vector left: take another CPU" },
	{ TUNE_IRQ, EINVAL, "none of these CPUs is online: take another CPU" },
	{ TUNE_IRQ, ERANGE, "there is no such CPU: make the plan again on this host" },
	{ TUNE_IRQ, EOVERFLOW, "there is no such CPU: make the plan again on this host" },
	{ TUNE_IRQ, ENOENT, "the interrupt is gone or has another number: make the plan again" },
	{ TUNE_QUEUE, EOVERFLOW, "there is no such CPU: make the plan again on this host" },
	{ TUNE_QUEUE, ENOENT, "no such queue, or it has nothing to choose from: leave it" },
	{ TUNE_QUEUE, EPERM, rights_of_nic },
	{ TUNE_ETHTOOL, EPERM, rights_of_nic },
	{ TUNE_ETHTOOL, EOPNOTSUPP, "the driver cannot do that: leave it" },
	{ TUNE_ETHTOOL, EINVAL, "the driver does not take this value: look at its largest one" },
	{ TUNE_SYSCTL, ENOENT, "this kernel or this namespace has no such setting: leave it" },
	{ TUNE_SYSCTL, EINVAL, "the kernel does not take this value: it is out of range" },
	{ TUNE_SYSCTL, EPERM, "needs root in the first network namespace" },
	{ ANY, EINVAL, "the kernel does not take this value" },
	{ ANY, EOPNOTSUPP, "the kernel or the driver has no such thing: leave it" },
	{ ANY, EROFS,
	  "mounted read-only, as in a container or with ProtectKernelTunables=yes: "
	  "run `heptap tune apply` on the host itself, in a unit of its own" },
	{ ANY, EACCES, "may not be written by us: run as root in the first network namespace" },
	{ ANY, EPERM, "needs root" },
	{ ANY, EIO, "the kernel or the driver failed: look into the kernel's log" },
	{ ANY, ENODEV, "there is no such interface" },
	{ ANY, ENOSPC, "the kernel or the device has no room for it" },
	{ ANY, EBUSY, "in use: try again later" },
	{ ANY, EAGAIN, "in use: try again later" },
	{ ANY, ENOENT, "there is no such file" },
};

void reason_print(const struct tune_change *c, int err, char *out, size_t size)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].err == -err && (rows[i].kind == ANY || rows[i].kind == (int)c->kind)) {
			snprintf(out, size, "%s: %s", ht_strerror(err), rows[i].why);
			return;
		}
	}
	snprintf(out, size, "%s", ht_strerror(err));
}
