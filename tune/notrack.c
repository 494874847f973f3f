/* The rules go to nft by its standard input, and come back by its standard output. */
#include "tune/notrack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tune/files.h"

#define RECORDED    "/nft/heptap"
#define TABLE	    "inet heptap"
#define TEXT	    8192 /* of rules: less than a pipe holds */
#define LINES	    11	 /* of our table as nft lists it */
#define PORTS_BYTES 512

/* ---- nft ---- */

static const char *program_find(void)
{
	static const char *const places[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (file_exists("", "%s", places[i]))
			return places[i];
	}
	return NULL;
}

/* @p in: its standard input. @p out: both of its outputs. Never returns. */
static void become(const char *program, char *const argv[], int in, int out)
{
	char language[] = "LC_ALL=C"; /* error_of() reads what it says */
	char *const environment[] = { language, NULL };

	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(out, STDERR_FILENO) >= 0)
		execve(program, argv, environment);
	_exit(127);
}

/* To the end of it, what does not fit is left out. */
static void read_all(int fd, char *out, size_t size)
{
	size_t len = 0;
	char rest[256];
	ssize_t n;

	for (;;) {
		bool has_room = len + 1 < size;

		n = read(fd, has_room ? out + len : rest, has_room ? size - 1 - len : sizeof(rest));
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		if (n > 0 && has_room)
			len += (size_t)n;
	}
	out[len] = '\0';
}

/* @return the exit code of nft, or -errno. @p out: what it said. */
static int run(char *const argv[], const char *text, char *out, size_t size)
{
	const char *program = program_find();
	int in[2] = { -1, -1 }, back[2] = { -1, -1 }, status = -EIO;
	pid_t child;

	if (!program)
		return -ENOENT;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0) {
		status = -errno;
		goto out;
	}
	if (write(in[1], text, strlen(text)) != (ssize_t)strlen(text))
		goto out;
	child = fork();
	if (child < 0) {
		status = -errno;
		goto out;
	}
	if (child == 0)
		become(program, argv, in[0], back[1]);
	close(in[1]);
	close(back[1]);
	in[1] = back[1] = -1;
	read_all(back[0], out, size);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
out:
	for (int i = 0; i < 2; i++) {
		if (in[i] >= 0)
			close(in[i]);
		if (back[i] >= 0)
			close(back[i]);
	}
	return status;
}

/* ---- the table as text ---- */

/* The ports between a word and "notrack". @return behind them, or NULL. */
static const char *take_ports(const char *at, const char *word, char out[PORTS_BYTES])
{
	const char *end;
	size_t len = 0;

	at = strstr(at, word);
	end = at ? strstr(at, "notrack") : NULL;
	if (!end)
		return NULL;
	out[0] = '\0';
	for (at += strlen(word); at < end; at++) {
		char *behind;
		unsigned long port = strtoul(at, &behind, 10);

		if (behind == at || *at == ' ')
			continue;
		len += (size_t)snprintf(out + len, PORTS_BYTES - len, "%s%lu", len ? " " : "",
					port);
		if (len >= PORTS_BYTES)
			return NULL;
		at = behind - 1;
	}
	return end;
}

/* Ours has three rules in two chains, of the same ports, and no line more. */
static void table_read(const char *text, char out[PORTS_BYTES])
{
	static const char *const more[] = { "udp dport", "udp sport" };
	const char *at = take_ports(text, "udp dport", out);
	char ports[PORTS_BYTES];
	unsigned lines = 0;

	for (const char *line = text; *line; line++)
		lines += line[0] == '\n' && line[1] != '\n';
	for (size_t i = 0; at && i < sizeof(more) / sizeof(more[0]); i++) {
		at = take_ports(at, more[i], ports);
		if (at && strcmp(ports, out) != 0)
			at = NULL;
	}
	if (!at || lines != LINES)
		snprintf(out, PORTS_BYTES, "other");
}

/* @return false: no ports. */
static bool table_print(const char *ports, char out[TEXT])
{
	char list[PORTS_BYTES * 2];
	size_t len = 0;

	if (!ports[0] || strspn(ports, "0123456789 ") != strlen(ports) ||
	    strlen(ports) >= PORTS_BYTES)
		return false;
	for (; *ports; ports++) {
		if (*ports == ' ')
			list[len++] = ',';
		list[len++] = *ports;
	}
	list[len] = '\0';
	/* What agents on this host send passes the second chain first.
	   In one step: delete it even if it is not there yet, by making it first. */
	snprintf(out, TEXT,
		 "table " TABLE "\n"
		 "delete table " TABLE "\n"
		 "table " TABLE " {\n"
		 "	chain prerouting {\n"
		 "		type filter hook prerouting priority -300; policy accept;\n"
		 "		udp dport { %s } notrack\n"
		 "	}\n"
		 "	chain output {\n"
		 "		type filter hook output priority -300; policy accept;\n"
		 "		udp dport { %s } notrack\n"
		 "		udp sport { %s } notrack\n"
		 "	}\n"
		 "}\n",
		 list, list, list);
	return true;
}

/* ---- reading and writing ---- */

/* What nft says when it fails; it has one exit code for all. */
static int error_of(const char *said)
{
	if (strstr(said, "ermitted") || strstr(said, "ermission"))
		return -EPERM;
	return strstr(said, "No such file or directory") ? -ENOENT : -EIO;
}

int notrack_read(const char *root, char *out, size_t size)
{
	char *const argv[] = { (char[]){ "nft" },  (char[]){ "list" },	 (char[]){ "table" },
			       (char[]){ "inet" }, (char[]){ "heptap" }, NULL };
	char text[TEXT], ports[PORTS_BYTES] = "none";
	int code;

	if (root[0])
		return file_value(root, RECORDED, out, size);
	code = run(argv, "", text, sizeof(text));
	if (code < 0)
		return code;
	if (code > 0 && error_of(text) != -ENOENT)
		return error_of(text);
	if (code == 0)
		table_read(text, ports);
	code = snprintf(out, size, "%s", ports);
	return code < (int)size ? code : HT_EFULL;
}

int notrack_write(const char *root, const char *value)
{
	char *const argv[] = { (char[]){ "nft" }, (char[]){ "-f" }, (char[]){ "-" }, NULL };
	char rules[TEXT], said[TEXT];
	bool is_none = strcmp(value, "none") == 0;
	int code;

	if (is_none)
		snprintf(rules, sizeof(rules), "delete table " TABLE "\n");
	else if (!table_print(value, rules))
		return -EINVAL;
	if (root[0])
		return file_write(root, RECORDED, value);
	code = run(argv, rules, said, sizeof(said));
	return code <= 0 ? code : error_of(said) == -EPERM ? -EPERM : -EIO;
}
