/* Classic BPF: it needs no rights, and every kernel with SO_REUSEPORT groups has it. */
#include "tune/sockets.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

static int attach(int fd, struct sock_filter *code, size_t n)
{
	struct sock_fprog program = { .len = (unsigned short)n, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0
		       ? -errno
		       : HT_OK;
}

/* Per CPU a test and an answer. An answer beyond the last socket is the kernel's own hash. */
int sockets_steer_by_cpu(int fd, const unsigned *cpus, size_t n)
{
	struct sock_filter *code;
	size_t at = 0;
	int err;

	if (n == 0 || n > SOCKETS_CPUS_MOST)
		return -EINVAL;
	code = calloc(2 * n + 2, sizeof(*code));
	if (!code)
		return -ENOMEM;
	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						  (uint32_t)(SKF_AD_OFF + SKF_AD_CPU));
	for (size_t i = 0; i < n; i++) {
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, cpus[i], 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (uint32_t)i);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	err = attach(fd, code, at);
	free(code);
	return err;
}

int sockets_steer_by_chance(int fd, size_t n)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, (uint32_t)n),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	return n ? attach(fd, code, sizeof(code) / sizeof(code[0])) : -EINVAL;
}

int sockets_steer_by_hash(int fd)
{
	int unused = 0;

	return setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof(unused)) < 0
		       ? -errno
		       : HT_OK;
}

static int set_and_read(int fd, int option, int value)
{
	socklen_t len = sizeof(value);
	int now = 0;

	if (setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, option, &now, &len) < 0)
		return -errno;
	return now == value ? HT_OK : -EOPNOTSUPP;
}

int socket_prefer_cpu(int fd, int cpu)
{
	return set_and_read(fd, SO_INCOMING_CPU, cpu);
}

int socket_busy_poll(int fd, int us)
{
	return set_and_read(fd, SO_BUSY_POLL, us);
}
