/* The kernel's call and not libnuma's: it is the only one. */
#include "tune/node.h"

#include <linux/mempolicy.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODES_MOST 64

void node_prefer(int node)
{
	unsigned long mask;

	if (node >= NODES_MOST)
		return;
	if (node < 0) {
		(void)!syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
		return;
	}
	mask = 1UL << node;
	(void)!syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, (unsigned long)NODES_MOST + 1);
}
