/*
 * A small assembler and the one program that is written in it. Jumps only go forward and by at most
 * 255, so the long list of ports comes last and has its verdicts in line. X holds how much further
 * headers are than in a frame without tags; every load counts from behind the link header, since
 * libpcap moves those of a cooked socket. The first word of memory holds the protocol of IP.
 */
#include "capture/bpf.h"

#include <assert.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/decode.h"

#define TAKE	     262144 /* octets of a frame that passes: all */
#define TAGS_MOST    2	    /* in the frame */
#define COMPILE_RING (256 * 1024)

/* NEXT is the next instruction. */
enum label {
	NEXT,
	ACCEPT,
	DROP,
	ETHER,
	IP4,
	IP4_PORTS,
	IP6,
	IP6_PORTS,
	PORTS,
	REFUSE,
	TAG,
	LABELS = TAG + 3
};

struct assembly {
	struct sock_filter at[BPF_MAXINSNS];
	uint8_t yes[BPF_MAXINSNS], no[BPF_MAXINSNS]; /* labels of a branch */
	unsigned count;
	unsigned place[LABELS];
	uint32_t header; /* octets of the link header */
};

static void put(struct assembly *a, uint16_t code, uint32_t k)
{
	assert(a->count < BPF_MAXINSNS);
	a->at[a->count++] = (struct sock_filter){ .code = code, .k = k };
}

static void branch(struct assembly *a, uint16_t test, uint32_t k, enum label yes, enum label no)
{
	a->yes[a->count] = (uint8_t)yes;
	a->no[a->count] = (uint8_t)no;
	put(a, BPF_JMP | test | BPF_K, k);
}

static void here(struct assembly *a, enum label label)
{
	a->place[label] = a->count;
}

/* Where A is one of the values, go to @p yes; else on. */
static void any_of(struct assembly *a, const uint16_t *values, enum label yes)
{
	for (; *values; values++)
		branch(a, BPF_JEQ, *values, yes, NEXT);
}

/* A = the octets at @p offset of the header that X leads to. */
static void load(struct assembly *a, uint16_t size, uint32_t offset)
{
	put(a, BPF_LD | size | BPF_IND, a->header + offset);
}

static void resolve(struct assembly *a)
{
	for (unsigned i = 0; i < a->count; i++) {
		unsigned yes = a->yes[i] ? a->place[a->yes[i]] - i - 1 : 0;
		unsigned no = a->no[i] ? a->place[a->no[i]] - i - 1 : 0;

		if (BPF_CLASS(a->at[i].code) != BPF_JMP || (!a->yes[i] && !a->no[i]))
			continue;
		if (BPF_OP(a->at[i].code) == BPF_JA) {
			a->at[i].k = yes;
			continue;
		}
		assert(yes <= UINT8_MAX && no <= UINT8_MAX);
		a->at[i].jt = (uint8_t)yes;
		a->at[i].jf = (uint8_t)no;
	}
}

/* ---- the program ---- */

static const uint16_t tags[] = { 0x8100, 0x88a8, 0x9100, 0 };
/* MPLS, PPPoE: sessions only. */
static const uint16_t hiding_types[] = { 0x8847, 0x8848, 0x8864, 0 };
static const uint16_t port_protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, 0 };
/* IP in IP, 6in4, GRE (and ERSPAN in it), authentication header, MPLS in IP. */
static const uint16_t hiding_protocols[] = { 4, 41, 47, 51, 137, 0 };
/* Routing, fragment, destination options; hop-by-hop options, which are 0, beside these. */
static const uint16_t extensions[] = { 43, 44, 60, 0 };
/* VXLAN, VXLAN of early Linux, GENEVE, TZSP. */
static const uint16_t hiding_ports[] = { 4789, 8472, 6081, 37008, 0 };

/* The kernel asks that memory is filled on all ways to where it is read, and takes what is behind a
 * verdict for one of them. */
static void put_memory(struct assembly *a)
{
	put(a, BPF_LDX | BPF_IMM, 0);
	put(a, BPF_STX, 0);
}

/* Leaves the type in A, and in X how long the tags are. */
static void put_tags(struct assembly *a, uint32_t type_at)
{
	for (uint32_t n = 0; n <= TAGS_MOST; n++) {
		put(a, BPF_LDX | BPF_IMM, 4 * n);
		put(a, BPF_LD | BPF_H | BPF_ABS, n ? a->header + 4 * n - 2 : type_at);
		any_of(a, tags, n < TAGS_MOST ? (enum label)(TAG + n) : ACCEPT);
		branch(a, BPF_JA, 0, ETHER, NEXT);
		here(a, (enum label)(TAG + n));
	}
	here(a, ETHER);
	branch(a, BPF_JEQ, 0x0800, IP4, NEXT);
	branch(a, BPF_JEQ, 0x86dd, IP6, NEXT);
	any_of(a, hiding_types, ACCEPT);
	branch(a, BPF_JA, 0, DROP, NEXT);
}

/* Without a type, the version tells. */
static void put_version(struct assembly *a)
{
	put(a, BPF_LDX | BPF_IMM, 0);
	put(a, BPF_LD | BPF_B | BPF_ABS, a->header);
	put(a, BPF_ALU | BPF_AND | BPF_K, 0xf0);
	branch(a, BPF_JEQ, 0x40, IP4, NEXT);
	branch(a, BPF_JEQ, 0x60, IP6, DROP);
}

static void put_ip4(struct assembly *a)
{
	here(a, IP4);
	load(a, BPF_H, 6);
	branch(a, BPF_JSET, 0x3fff, ACCEPT, NEXT); /* more fragments, or an offset */
	load(a, BPF_B, 9);
	put(a, BPF_ST, 0);
	any_of(a, port_protocols, IP4_PORTS);
	any_of(a, hiding_protocols, ACCEPT);
	branch(a, BPF_JA, 0, DROP, NEXT);
	here(a, IP4_PORTS);
	load(a, BPF_B, 0);
	put(a, BPF_ALU | BPF_AND | BPF_K, 0x0f);
	put(a, BPF_ALU | BPF_LSH | BPF_K, 2);
	put(a, BPF_ALU | BPF_ADD | BPF_X, 0);
	put(a, BPF_MISC | BPF_TAX, 0);
	branch(a, BPF_JA, 0, PORTS, NEXT);
}

static void put_ip6(struct assembly *a)
{
	here(a, IP6);
	load(a, BPF_B, 6);
	put(a, BPF_ST, 0);
	any_of(a, port_protocols, IP6_PORTS);
	branch(a, BPF_JEQ, 0, ACCEPT, NEXT);
	any_of(a, extensions, ACCEPT);
	any_of(a, hiding_protocols, ACCEPT);
	branch(a, BPF_JA, 0, DROP, NEXT);
	here(a, IP6_PORTS);
	put(a, BPF_MISC | BPF_TXA, 0);
	put(a, BPF_ALU | BPF_ADD | BPF_K, 40);
	put(a, BPF_MISC | BPF_TAX, 0);
	branch(a, BPF_JA, 0, PORTS, NEXT);
}

static void put_verdicts(struct assembly *a)
{
	here(a, ACCEPT);
	put(a, BPF_RET | BPF_K, TAKE);
	here(a, DROP);
	put(a, BPF_RET | BPF_K, 0);
}

static void put_port(struct assembly *a, unsigned port)
{
	put(a, BPF_JMP | BPF_JEQ | BPF_K, port);
	a->at[a->count - 1].jf = 1;
	put(a, BPF_RET | BPF_K, TAKE);
}

/* Version 2 of RTP, types 200 to 207 (see rtcp_may_be()), in the first octets behind the header of
 * UDP. */
static void put_rtcp(struct assembly *a)
{
	put(a, BPF_LD | BPF_W | BPF_MEM, 0);
	branch(a, BPF_JEQ, IPPROTO_UDP, NEXT, REFUSE);
	load(a, BPF_H, 8);
	put(a, BPF_ALU | BPF_AND | BPF_K, 0xc0f8);
	branch(a, BPF_JEQ, 0x80c8, NEXT, REFUSE);
	put(a, BPF_RET | BPF_K, TAKE);
}

static void put_ports(struct assembly *a, const struct bpf_wish *wish)
{
	here(a, PORTS);
	for (uint32_t side = 0; side < 2; side++) {
		load(a, BPF_H, 2 * side);
		for (size_t i = 0; i < wish->port_count; i++)
			put_port(a, wish->ports[i]);
		for (size_t i = 0; i < wish->hep_port_count; i++)
			put_port(a, wish->hep_ports[i]);
		for (size_t i = 0; hiding_ports[i]; i++)
			put_port(a, hiding_ports[i]);
	}
	if (wish->is_rtcp)
		put_rtcp(a);
	here(a, REFUSE);
	put(a, BPF_RET | BPF_K, 0);
}

/* ---- link headers ---- */

#define NO_TYPE UINT32_MAX

static const struct link {
	int dlt;
	uint32_t header, type_at;
} links[] = {
	{ DLT_EN10MB, 14, 12 },	  { DLT_LINUX_SLL, 16, 14 }, { DLT_LINUX_SLL2, 20, 0 },
	{ DLT_RAW, 0, NO_TYPE },  { DLT_IPV4, 0, NO_TYPE },  { DLT_IPV6, 0, NO_TYPE },
	{ DLT_NULL, 4, NO_TYPE }, { DLT_LOOP, 4, NO_TYPE },
};

static const struct link *link_find(int dlt)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].dlt == dlt)
			return &links[i];
	}
	return NULL;
}

static int program_copy(struct sock_fprog *out, const void *code, unsigned count)
{
	struct sock_filter *copy = malloc(count * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, code, count * sizeof(*copy));
	*out = (struct sock_fprog){ .len = (unsigned short)count, .filter = copy };
	return HT_OK;
}

static int from_ports(struct sock_fprog *out, const struct bpf_wish *wish)
{
	const struct link *link = link_find(wish->dlt);
	struct assembly *a;
	int err;

	if (!link)
		return -EOPNOTSUPP;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->header = link->header;
	put_memory(a);
	if (link->type_at == NO_TYPE)
		put_version(a);
	else
		put_tags(a, link->type_at);
	put_ip4(a);
	put_ip6(a);
	put_verdicts(a);
	put_ports(a, wish);
	resolve(a);
	err = program_copy(out, a->at, a->count);
	free(a);
	return err;
}

/* ---- frames of files ---- */

bool bpf_takes(const struct sock_fprog *program, const struct captured *c)
{
	return program->filter && bpf_filter((const struct bpf_insn *)program->filter, c->bytes.at,
					     c->wire_len, c->bytes.len) != 0;
}

/* ---- expressions ---- */

/* Only a handle that listens to an interface knows that its tags are taken out. */
static pcap_t *handle_of(const char *interface)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_create(interface, error);

	if (p && pcap_set_snaplen(p, TAKE) == 0 && pcap_set_buffer_size(p, COMPILE_RING) == 0 &&
	    pcap_activate(p) >= 0)
		return p;
	if (p)
		pcap_close(p);
	return NULL;
}

static int from_expression(struct sock_fprog *out, const struct bpf_wish *wish, char *why)
{
	_Static_assert(sizeof(struct bpf_insn) == sizeof(struct sock_filter), "they are the same");
	struct bpf_program program;
	pcap_t *own = NULL, *p = wish->handle;
	int err;

	if (!p && wish->interface)
		p = own = handle_of(wish->interface);
	if (!p)
		p = own = pcap_open_dead(wish->dlt, TAKE);
	if (!p)
		return -ENOMEM;
	if (pcap_compile(p, &program, wish->expression, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		snprintf(why, WHY_BYTES, "%s", pcap_geterr(p));
		err = HT_ECONF;
	} else {
		err = program_copy(out, program.bf_insns, program.bf_len);
		pcap_freecode(&program);
	}
	if (own)
		pcap_close(own);
	return err;
}

int bpf_make(struct sock_fprog *out, const struct bpf_wish *wish, char *why)
{
	why[0] = '\0';
	return wish->expression[0] ? from_expression(out, wish, why) : from_ports(out, wish);
}

void bpf_free(struct sock_fprog *program)
{
	free(program->filter);
	*program = (struct sock_fprog){ 0 };
}
