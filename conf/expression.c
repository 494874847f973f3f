/* libpcap's compiler, on a handle that captures nothing. */
#include "conf/expression.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>

#include "conf/complain.h"

#define SNAP_BYTES 262144

int expression_check(const char *text, char *why)
{
	struct bpf_program program = { 0 };
	pcap_t *dead;
	int err = HT_OK;

	if (!text[0])
		return HT_OK;
	dead = pcap_open_dead(DLT_EN10MB, SNAP_BYTES);
	if (!dead)
		return -ENOMEM;
	/* Optimized, since only then it is found that nothing can match. */
	if (pcap_compile(dead, &program, text, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		snprintf(why, WHY_BYTES, "%s", pcap_geterr(dead));
		err = HT_ECONF;
	} else {
		pcap_freecode(&program);
	}
	pcap_close(dead);
	return err;
}
