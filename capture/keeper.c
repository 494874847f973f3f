/* It is not a thread: it has to outlive a server that was killed. */
#include "capture/keeper.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/log.h"
#include "tune/apply.h"

#define NAME	 "heptap: undo"
#define WAIT_MS	 5000 /* for another process that has the journal */
#define LOOK_MS	 20
#define STAT_ARG 48 /* field of /proc/self/stat: begin of the arguments; the next is their end */

/* ---- its work ---- */

static void tell_one(void *ctx, const struct tune_change *c, const struct apply_result *r)
{
	(void)ctx;
	if (r->state == APPLY_REFUSED || r->state == APPLY_LEFT)
		log_warning("tune: %s: %s: %s", c->object, apply_state_text(r->state), r->note);
}

static void tell(const char *what, int err, const char *journal, const struct apply_sums *sums)
{
	if (err < 0)
		log_error("tune: %s: not all could be set back, %s stays for the next start: %s",
			  what, journal,
			  err == -EXDEV ? "it is of another network namespace" : ht_strerror(err));
	else
		log_info("tune: %s: %u set back, %u were as before, %u left alone, %u refused",
			 what, sums->of[APPLY_RESTORED], sums->of[APPLY_NOT_NEEDED],
			 sums->of[APPLY_LEFT] + sums->of[APPLY_VANISHED], sums->of[APPLY_REFUSED]);
}

int keeper_undo(const struct guard_options *o, const char *journal, const char *what)
{
	struct apply_sums sums;
	int err = tune_rollback(o, journal, tell_one, NULL, &sums);

	for (int ms = 0; err == -EWOULDBLOCK && ms < WAIT_MS; ms += LOOK_MS) {
		poll(NULL, 0, LOOK_MS);
		err = tune_rollback(o, journal, tell_one, NULL, &sums);
	}
	if (err != -ENOENT)
		tell(what, err, journal, &sums);
	return err;
}

/* ---- the child ---- */

/* What ps shows: the arguments lie where the kernel reads them from. */
static void name_show(void)
{
	unsigned long begin = 0, end = 0;
	char text[2048], *at;
	ssize_t n = 0;
	int fd;

	prctl(PR_SET_NAME, NAME);
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')'); /* field 2 may have blanks */
	for (int field = 3; at && field <= STAT_ARG; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, "%lu %lu", &begin, &end) != 2 || end - begin <= sizeof(NAME))
		return;
	memset((char *)begin, 0, end - begin);
	memcpy((char *)begin, NAME, sizeof(NAME));
}

/* Files of root can be written without any capability; a directory may be the user's. */
static void rights_drop(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE) != 0 ||
	    capng_apply(CAPNG_SELECT_BOTH) != 0)
		log_debug("tune: %s keeps what rights it has", NAME);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void run(int pipe, const struct guard_options *o, const char *journal)
{
	static const int ignored[] = {
		SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2
	};
	char octet;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	name_show();
	rights_drop();
	while (read(pipe, &octet, 1) < 0 && errno == EINTR)
		;
	_exit(keeper_undo(o, journal, "interrupts") < 0 ? 1 : 0);
}

/* ---- the server's side ---- */

int keeper_start(struct keeper *k, const struct guard_options *o, const char *journal)
{
	int ends[2];

	*k = (struct keeper){ 0 };
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	k->pid = fork();
	if (k->pid == 0) {
		close(ends[1]);
		run(ends[0], o, journal);
	}
	close(ends[0]);
	if (k->pid < 0) {
		k->pid = 0;
		close(ends[1]);
		return -errno;
	}
	k->pipe = ends[1];
	return HT_OK;
}

void keeper_end(struct keeper *k)
{
	int status = 0;

	if (!k->pid)
		return;
	close(k->pipe);
	while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		log_error("tune: who sets interrupts back was killed; the next start does it");
	k->pid = 0;
}
