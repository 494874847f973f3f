/* Start order: sockets, spool, privileges, threads. Stop order: receivers, spool, writers, admin;
 * what each leaves the next one takes. */
#include "capture/server.h"

#include <cap-ng.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "capture/client.h"
#include "capture/decide.h"
#include "capture/first.h"
#include "capture/fitting.h"
#include "capture/host_watch.h"
#include "capture/limits.h"
#include "capture/memory.h"
#include "capture/mirror.h"
#include "capture/snapshot.h"
#include "capture/spooler.h"
#include "capture/spread.h"
#include "capture/store.h"
#include "capture/tables.h"
#include "capture/tally.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/log.h"
#include "conf/rcu.h"
#include "conf/version.h"
#include "hep/listener.h"
#include "hep/streams.h"
#include "storage/admin.h"
#include "storage/agents.h"
#include "storage/block.h"
#include "storage/spool.h"
#include "storage/writer.h"
#include "tune/plan.h"
#include "web-sql/api.h"
#include "web-sql/notify.h"
#include "web-sql/stats.h"

#define MAX_HEP_THREADS 64
#define FIRST_PART	64 /* of `memory` that first copies are recognised with */
#define DRAIN_S		10 /* for what is on its way, while the database takes it */
#define DRAIN_DOWN_S	2  /* while it does not: the spool keeps it */

struct receiver {
	struct listener *listener;
	struct worker *worker;
};

struct server {
	const struct conf *conf;
	struct snapshot *snapshot; /* published by RCU; main swaps it */
	struct rules *rules;
	struct tables *tables;
	struct fitting fitting;
	struct plan plan; /* of it */
	uint64_t started_us;
	struct event_base *base;
	struct http *http;
	_Atomic unsigned connections[CONF_MAX_LISTENERS]; /* open TCP, by source */
	_Atomic bool is_off[CONF_MAX_SOURCES];		  /* by source: capture off */
	struct event *signal_event[4], *each_minute, *each_second;

	struct listener_socket sockets[MAX_HEP_THREADS][LISTENER_MAX_SOCKETS];
	unsigned socket_count; /* of each thread */
	/* of the receive threads, then of those that capture; the list is for ht-spool */
	struct worker *workers[MAX_HEP_THREADS + MIRROR_MAX_THREADS];
	unsigned worker_count;
	struct mirror *mirror; /* NULL: nothing is captured */
	struct receiver receivers[MAX_HEP_THREADS];
	struct listener *listeners[MAX_HEP_THREADS]; /* of the receivers */
	struct spool *spool;
	struct spooler spooler;
	struct store store;
	struct tally_options tally; /* its `first` is NULL: no statistics */
	struct agents *agents;
	struct spread spread;

	struct thread hep_thread[MAX_HEP_THREADS], spool_thread;
	struct host_watch *host_watch; /* NULL: nobody looks at the host */
	_Atomic bool is_receiving;
	struct stats_sources stats;
	struct memory memory;
};

/* ---- threads ---- */

/* A receive thread: the listener feeds its worker; at the end what is open is sealed. */
static void run_receiver(void *ctx)
{
	struct receiver *r = ctx;

	listener_run(r->listener);
	worker_flush(r->worker);
}

static void run_spooler(void *ctx)
{
	spooler_run(ctx);
}

/* ---- before the threads ---- */

static int buffer_check(const struct server *s, unsigned source, const struct conf_endpoint *e,
			size_t got)
{
	if (e->is_stream || got >= s->plan.socket_buffer ||
	    !fitting_requires(s->conf, CONF_REQUIRE_BUFFERS))
		return HT_OK;
	log_error("tune.require: buffers: hep %s: %s has %zu KiB of %" PRIu64,
		  s->conf->hep[source].name, e->text, got >> 10, s->plan.socket_buffer >> 10);
	return -ENOBUFS;
}

static int socket_open(struct server *s, unsigned thread, unsigned source,
		       const struct conf_endpoint *e)
{
	struct listener_socket *out = &s->sockets[thread][s->socket_count];
	const struct sockaddr *addr = (const struct sockaddr *)&e->addr;
	size_t got = 0;
	int fd = e->is_stream ? streams_open_tcp(addr, e->addr_len)
			      : listener_open_udp(addr, e->addr_len, s->plan.socket_buffer, &got);

	if (fd < 0) {
		log_error("hep %s: %s: cannot listen: %s", s->conf->hep[source].name, e->text,
			  ht_strerror(fd));
		return fd;
	}
	*out = (struct listener_socket){ .fd = fd,
					 .source = source,
					 .is_stream = e->is_stream,
					 .buffer = got,
					 .connections = &s->connections[source] };
	if (e->is_stream && thread == 0)
		log_info("hep %s: listening on %s", s->conf->hep[source].name, e->text);
	else if (thread == 0 && got < s->plan.socket_buffer)
		log_warning("hep %s: %s: receive buffer is %zu KiB, %" PRIu64
			    " KiB are wanted: a burst may be dropped; raise net.core.rmem_max to "
			    "%" PRIu64,
			    s->conf->hep[source].name, e->text, got >> 10,
			    s->plan.socket_buffer >> 10, s->plan.socket_buffer / 2);
	else if (thread == 0)
		log_info("hep %s: listening on %s, receive buffer %zu KiB in each of %u thread%s",
			 s->conf->hep[source].name, e->text, got >> 10, s->plan.hep_threads,
			 s->plan.hep_threads == 1 ? "" : "s");
	return buffer_check(s, source, e, got);
}

static int sockets_open(struct server *s)
{
	int err;

	for (unsigned t = 0; t < s->plan.hep_threads; t++) {
		s->socket_count = 0;
		for (unsigned i = 0; i < s->conf->hep_count; i++) {
			for (size_t e = 0; e < s->conf->hep[i].listen_count; e++) {
				err = socket_open(s, t, i, &s->conf->hep[i].listen[e]);
				if (err < 0)
					return err;
				s->socket_count++;
			}
		}
	}
	return HT_OK;
}

static int http_start(struct server *s)
{
	const struct conf_endpoint *e = &s->conf->http.listen;
	int err;

	s->base = event_base_new();
	if (!s->base)
		return -ENOMEM;
	err = http_open(&s->http, s->base, (const struct sockaddr *)&e->addr, e->addr_len);
	if (err < 0)
		log_error("http: %s: cannot listen: %s", e->text, ht_strerror(err));
	return err;
}

static int user_find(const struct server *s, int *uid, int *gid)
{
	const char *name = s->conf->user;
	struct passwd *user;

	*uid = *gid = -1;
	if (getuid() != 0 || name[0] == '\0')
		return HT_OK;
	user = getpwnam(name);
	if (!user) {
		log_error("user %s: there is no such user; make it (adduser --system --group %s) "
			  "or leave `user` empty",
			  name, name);
		return -ENOENT;
	}
	*uid = (int)user->pw_uid;
	*gid = (int)user->pw_gid;
	return HT_OK;
}

static uint64_t spool_max(const struct conf *c)
{
	return c->storage.spool.durability == CONF_DURABILITY_MEMORY ? c->memory
								     : c->storage.spool.max;
}

static int spool_start(struct server *s, int uid, int gid)
{
	const struct conf *c = s->conf;
	bool in_memory = c->storage.spool.durability == CONF_DURABILITY_MEMORY;
	struct spool_options o = { .dir = c->storage.spool.dir,
				   .max_bytes = spool_max(c),
				   .node_id = c->node_id,
				   .writers = s->plan.writers,
				   .statistics = c->storage.statistics == CONF_TRUE,
				   .in_memory = in_memory,
				   .sync = c->storage.spool.durability == CONF_DURABILITY_DISK,
				   .owner_uid = uid,
				   .owner_gid = gid };
	int err = spool_open(&s->spool, &o);

	if (err < 0)
		log_error("spool: %s: cannot start: %s", o.dir, ht_strerror(err));
	return err;
}

/* Keeps nothing: what needs rights is open. Without them the process could not even open its own
 * sockets again, and need not. */
static int privileges_drop(const struct server *s, int uid, int gid)
{
	if (uid < 0)
		return HT_OK;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_change_id(uid, gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) != 0) {
		log_error("user %s: cannot become it: %s", s->conf->user, ht_strerror(-errno));
		return -EPERM;
	}
	return HT_OK;
}

/* ---- making everything ---- */

static int worker_make(struct server *s, struct worker **out)
{
	struct worker_options o = { .snapshot = &s->snapshot,
				    .spool = s->spool,
				    .spool_pressure = &s->spooler.pressure,
				    .spool_fd = s->spooler.wake_fd,
				    .blocks = s->plan.blocks,
				    .batch_rows = s->conf->storage.batch_rows,
				    .batch_us = s->conf->storage.batch_ms * 1000ULL,
				    .sources =
					    (unsigned)(s->conf->hep_count + s->conf->capture_count),
				    .agents = s->agents,
				    .is_off = s->is_off,
				    .compat = s->conf->storage.compat,
				    .tally = s->tally.first ? &s->tally : NULL,
				    .tables = tables_of(s->tables),
				    .thread = s->worker_count };
	int err = worker_new(out, &o);

	if (err == HT_OK)
		s->workers[s->worker_count++] = *out;
	return err;
}

static int receiver_make(struct server *s, unsigned i)
{
	struct receiver *r = &s->receivers[i];
	int err = worker_make(s, &r->worker);

	if (err < 0)
		return err;
	for (unsigned k = 0; k < s->socket_count; k++) {
		s->sockets[i][k].counters = worker_source(r->worker, s->sockets[i][k].source);
		if (i == 0 && !s->sockets[i][k].is_stream)
			spread_add(&s->spread, s->sockets[i][k].fd, s->sockets[i][k].source);
	}
	err = listener_new(&r->listener, s->sockets[i], s->socket_count, &worker_listener_ops,
			   r->worker);
	for (unsigned k = 0; k < s->socket_count; k++)
		s->sockets[i][k].fd = -1; /* they are the listener's */
	s->listeners[i] = r->listener;
	return err;
}

static int capturer_make(struct server *s, unsigned i)
{
	struct worker *worker;
	int err = worker_make(s, &worker);

	return err < 0 ? err : mirror_attach(s->mirror, i, worker);
}

static int storage_make(struct server *s)
{
	return store_init(&s->store, s->conf, s->spool, s->plan.writers, s->conf->storage.spool.dir,
			  s->conf->storage.writers == 0);
}

static int tally_prepare(struct server *s)
{
	if (s->conf->storage.statistics != CONF_TRUE)
		return HT_OK;
	s->tally.is_homer5 = s->conf->storage.layout == CONF_LAYOUT_HOMER5;
	if (getrandom(&s->tally.seed, sizeof(s->tally.seed), 0) != (ssize_t)sizeof(s->tally.seed))
		return -errno;
	return first_new(&s->tally.first, s->conf->memory / FIRST_PART);
}

static int receivers_make(struct server *s)
{
	unsigned threads = s->plan.hep_threads + mirror_thread_count(s->mirror);
	int err;

	err = agents_new(&s->agents, s->conf->tables.agents);
	if (err == HT_OK)
		err = tables_new(&s->tables, s->conf, threads);
	if (err == HT_OK)
		err = tally_prepare(s);
	s->spooler.spool = s->spool;
	s->spooler.writers = s->store.writers;
	s->spooler.spool_max = spool_max(s->conf);
	s->spooler.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->spooler.wake_fd < 0)
		return -errno;
	for (unsigned i = 0; i < s->plan.hep_threads && err == HT_OK; i++)
		err = receiver_make(s, i);
	for (unsigned i = 0; i < mirror_thread_count(s->mirror) && err == HT_OK; i++)
		err = capturer_make(s, i);
	s->spread.conf = s->conf;
	s->spread.agents = s->agents;
	s->spread.workers = s->workers;
	s->spread.threads = s->plan.hep_threads;
	s->spooler.workers = s->workers;
	s->spooler.worker_count = s->worker_count;
	return err;
}

static bool control_switch(void *ctx, const char *name, bool on);
static int control_reload_now(void *ctx, FILE *complaints);

/* ---- numbers ---- */

static const struct source_counters *stats_source(void *ctx, unsigned worker, unsigned source)
{
	struct server *s = ctx;

	return worker_source(s->workers[worker], source);
}

static const counter *stats_types(void *ctx, unsigned worker)
{
	struct server *s = ctx;

	return worker_types(s->workers[worker]);
}

static bool stats_packets(void *ctx, unsigned source, struct stats_packets *out)
{
	struct server *s = ctx;

	return mirror_sum(s->mirror, source, out);
}

static void stats_decisions(void *ctx, unsigned worker, struct stats_decisions *out)
{
	struct server *s = ctx;

	worker_decisions(s->workers[worker], out);
}

static unsigned stats_pressure(void *ctx, enum shed_reason reason)
{
	struct server *s = ctx;

	return spooler_pressure(&s->spooler, reason);
}

static const struct tally_counters *stats_tally(void *ctx, unsigned worker)
{
	struct server *s = ctx;

	return worker_tally(s->workers[worker]);
}

static unsigned stats_memory(void *ctx, struct stats_memory *out)
{
	struct server *s = ctx;

	return memory_take(&s->memory, out);
}

static void memory_setup(struct server *s)
{
	const struct decide_tables *tables = tables_of(s->tables);

	s->memory = (struct memory){ .conf = s->conf,
				     .snapshot = &s->snapshot,
				     .workers = s->workers,
				     .worker_count = s->worker_count,
				     .listeners = s->listeners,
				     .listener_count = s->plan.hep_threads,
				     .mirror = s->mirror,
				     .spool = s->spool,
				     .agents = s->agents,
				     .calls = tables->calls,
				     .media = tables->media,
				     .seen = tables->seen,
				     .first = s->tally.first,
				     .http = s->http };
}

static void stats_add_thread(struct stats_sources *st, const char *name, pthread_t id)
{
	if (st->thread_count < STATS_MAX_THREADS &&
	    pthread_getcpuclockid(id, &st->thread[st->thread_count].cpu) == 0)
		st->thread[st->thread_count++].name = name;
}

static const char *source_name(const struct conf *c, size_t source)
{
	return source < c->hep_count ? c->hep[source].name : c->capture[source - c->hep_count].name;
}

static void stats_setup(struct server *s)
{
	struct stats_sources *st = &s->stats;

	st->source_count = (unsigned)(s->conf->hep_count + s->conf->capture_count);
	st->worker_count = s->worker_count;
	st->writer_count = s->plan.writers;
	for (unsigned i = 0; i < st->source_count; i++)
		st->source_name[i] = source_name(s->conf, i);
	st->source = stats_source;
	st->packets = stats_packets;
	st->tally = stats_tally;
	st->first_bytes = s->tally.first ? first_bytes(s->tally.first) : 0;
	st->statistics_writer = s->store.statistics;
	st->ctx = s;
	st->spool = s->spool;
	st->writers = s->store.writers;
	st->rotate = admin_counters(s->store.admin);
	st->node = s->conf->node;
	st->layout = &s->store.layout;
	st->types = stats_types;
	st->pressure = stats_pressure;
	st->decisions = stats_decisions;
	st->rules = s->rules;
	tables_tell(s->tables, st);
	st->started_us = s->started_us;
	st->memory = stats_memory;
	st->host = host_watch_print;
	st->findings = host_watch_findings;
	st->host_ctx = s->host_watch;
	st->is_receiving = &s->is_receiving;
	st->agents = s->agents;
	st->control.capture = control_switch;
	st->control.reload = control_reload_now;
	stats_add_thread(st, "heptap", pthread_self());
	for (unsigned i = 0; i < s->plan.hep_threads; i++)
		stats_add_thread(st, s->hep_thread[i].name, s->hep_thread[i].id);
	for (unsigned i = 0; i < mirror_thread_count(s->mirror); i++)
		stats_add_thread(st, mirror_thread(s->mirror, i)->name,
				 mirror_thread(s->mirror, i)->id);
	stats_add_thread(st, s->spool_thread.name, s->spool_thread.id);
	for (unsigned i = 0; i < s->store.writer_count; i++)
		stats_add_thread(st, s->store.db_thread[i].name, s->store.db_thread[i].id);
	stats_add_thread(st, s->store.admin_thread.name, s->store.admin_thread.id);
	if (s->host_watch)
		stats_add_thread(st, host_watch_thread(s->host_watch)->name,
				 host_watch_thread(s->host_watch)->id);
}

/* ---- start and stop ---- */

static int threads_start(struct server *s)
{
	int err = thread_start_rcu_helper();

	if (err == HT_OK)
		err = store_start(&s->store);
	if (err == HT_OK)
		err = thread_start(&s->spool_thread, run_spooler, &s->spooler, "ht-spool");
	for (unsigned i = 0; i < s->plan.hep_threads && err == HT_OK; i++)
		err = thread_start(&s->hep_thread[i], run_receiver, &s->receivers[i], "ht-hep-%u",
				   i);
	if (err == HT_OK)
		err = mirror_start(s->mirror);
	if (err < 0)
		log_error("threads: cannot start: %s", ht_strerror(err));
	return err;
}

/* Once all threads are where they are to be. A server can do without. */
static void watch_start(struct server *s)
{
	int err = host_watch_start(&s->host_watch, s->conf, s->mirror, s->fitting.tuning.facts);

	if (err < 0)
		log_warning("host: not watched: %s", ht_strerror(err));
}

static void threads_stop(struct server *s)
{
	uint64_t deadline_us = clock_mono_us() + DRAIN_S * 1000000ULL;

	atomic_store(&s->is_receiving, false);
	for (unsigned i = 0; i < s->plan.hep_threads; i++)
		if (s->hep_thread[i].is_started)
			listener_stop(s->receivers[i].listener);
	mirror_stop(s->mirror);
	for (unsigned i = 0; i < s->plan.hep_threads; i++)
		thread_join(&s->hep_thread[i]);
	if (s->spool_thread.is_started)
		spooler_finish(&s->spooler, deadline_us - 1000000);
	thread_join(&s->spool_thread);
	store_finish(&s->store);
	(void)!store_wait(&s->store, deadline_us, DRAIN_DOWN_S * 1000000ULL);
	store_stop(&s->store);
}

static void report(struct server *s)
{
	bool in_memory = s->conf->storage.spool.durability == CONF_DURABILITY_MEMORY;
	uint64_t shed = 0;
	struct stats st;

	stats_take(&s->stats, &st);
	for (unsigned r = 0; r < SHED_REASONS; r++)
		for (unsigned k = 0; k <= SHED_CLASSES; k++)
			shed += st.all.shed[r][k];
	log_info("stopped: %" PRIu64 " messages received, %" PRIu64 " accepted, %" PRIu64
		 " shed; %" PRIu64 " rows stored, %" PRIu64 " lost, %" PRIu64
		 " %s; the kernel dropped %" PRIu64 " datagrams",
		 st.all.received, st.all.accepted, shed, st.stored,
		 st.lost_damage + st.lost_shutdown + (in_memory ? st.in_spool : 0),
		 in_memory ? 0 : st.in_spool, "wait in the spool for the next start",
		 st.all.kernel_dropped);
}

static void server_fini(struct server *s)
{
	http_close(s->http);
	notify_free(s->stats.notify);
	host_watch_stop(s->host_watch);
	for (int i = 0; i < 4; i++)
		if (s->signal_event[i])
			event_free(s->signal_event[i]);
	if (s->each_minute)
		event_free(s->each_minute);
	if (s->each_second)
		event_free(s->each_second);
	if (s->base)
		event_base_free(s->base);
	for (unsigned i = 0; i < s->plan.hep_threads; i++) {
		listener_free(s->receivers[i].listener);
		for (unsigned k = 0; k < s->socket_count; k++)
			if (s->sockets[i][k].fd > 0)
				close(s->sockets[i][k].fd);
	}
	mirror_close(s->mirror);
	for (unsigned i = 0; i < s->worker_count; i++)
		worker_free(s->workers[i]);
	store_fini(&s->store);
	spool_close(s->spool);
	if (s->spooler.wake_fd > 0)
		close(s->spooler.wake_fd);
	agents_free(s->agents);
	tables_free(s->tables);
	first_free(s->tally.first);
	urcu_memb_barrier();
	snapshot_free(s->snapshot);
	rules_free(s->rules);
	fitting_fini(&s->fitting);
	free(s);
}

/* ---- signals ---- */

static void restart_key_tell(void *ctx, const char *key)
{
	log_warning("reload: %s was changed; that takes effect at the next start", key);
	if (ctx)
		fprintf(ctx, "%s was changed; that takes effect at the next start\n", key);
}

/* All or nothing: what is wrong changes nothing. @p complaints: what is wrong, line by line. */
static int reload(struct server *s, FILE *complaints)
{
	struct snapshot *fresh, *old;
	struct conf *conf;
	int err = conf_read(s->conf->file, &conf, complaints);

	if (err == HT_OK) {
		(void)conf_restart_keys(s->conf, conf, restart_key_tell, complaints);
		log_open(conf->log.level, s->conf->log.target);
		err = snapshot_new(&fresh, s->conf, conf, s->rules);
	}
	if (err < 0) {
		log_error("reload: %s; everything stays as it was", ht_strerror(err));
		return err;
	}
	notify_configure(s->stats.notify, conf);
	old = rcu_swap(s->snapshot, fresh);
	snapshot_retire(old);
	log_info("reload: done");
	return HT_OK;
}

/* The same as an event. @p text: what is wrong, to be freed, or NULL. */
static int reload_and_notify(struct server *s, char **text)
{
	size_t len;
	FILE *complaints = open_memstream(text, &len);
	int err;

	if (!complaints)
		return -ENOMEM;
	err = reload(s, complaints);
	if (fclose(complaints) != 0) {
		free(*text);
		*text = NULL;
	}
	notify_reload(s->stats.notify, err == HT_OK, *text ? *text : "");
	return err;
}

/* On a signal nobody waits for an answer: what is wrong goes to the log. */
static void reload_and_log(struct server *s)
{
	char *text = NULL;

	if (reload_and_notify(s, &text) < 0 && text)
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
			log_error("reload: %s", line);
	free(text);
}

static int control_reload_now(void *ctx, FILE *complaints)
{
	char *text = NULL;
	int err = reload_and_notify(ctx, &text);

	if (text)
		fputs(text, complaints);
	free(text);
	return err;
}

static bool control_switch(void *ctx, const char *name, bool on)
{
	struct server *s = ctx;

	for (size_t i = 0; i < s->conf->hep_count + s->conf->capture_count; i++) {
		if (strcmp(source_name(s->conf, i), name) != 0)
			continue;
		atomic_store(&s->is_off[i], !on);
		log_info("capture %s is %s", name, on ? "on" : "off");
		return true;
	}
	return false;
}

static void state_dump(struct server *s)
{
	struct stats st;

	stats_take(&s->stats, &st);
	log_info("state: received %" PRIu64 ", accepted %" PRIu64 ", rows in memory %" PRIu64
		 ", in spool %" PRIu64 " (%" PRIu64 " MiB), stored %" PRIu64
		 ", database %s, spool %s",
		 st.all.received, st.all.accepted, st.in_memory, st.in_spool, st.spool_bytes >> 20,
		 st.stored, st.is_db_up ? "up" : "down", st.is_spool_ok ? "ok" : "refuses");
	memory_dump(&s->memory);
}

static void signal_came(evutil_socket_t number, short what, void *ctx)
{
	struct server *s = ctx;

	(void)what;
	if (number == SIGHUP) {
		sd_notify(0, "RELOADING=1");
		reload_and_log(s);
		sd_notify(0, "READY=1");
	} else if (number == SIGUSR1) {
		state_dump(s);
	} else {
		log_info("stopping: %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
		event_base_loopbreak(s->base);
	}
}

static void minute_passed(evutil_socket_t fd, short what, void *ctx)
{
	struct server *s = ctx;

	(void)fd;
	(void)what;
	agents_sweep(s->agents, clock_wall_us());
	if (s->conf->tune.mode >= CONF_TUNE_AUTO)
		spread_look(&s->spread, clock_wall_us());
}

static void second_passed(evutil_socket_t fd, short what, void *ctx)
{
	struct server *s = ctx;

	(void)fd;
	(void)what;
	tables_sweep(s->tables, clock_mono_us());
	memory_look(&s->memory);
}

static struct event *timer_start(struct server *s, time_t seconds, event_callback_fn passed)
{
	const struct timeval time = { .tv_sec = seconds };
	struct event *timer = event_new(s->base, -1, EV_PERSIST, passed, s);

	if (timer && event_add(timer, &time) < 0) {
		event_free(timer);
		timer = NULL;
	}
	return timer;
}

static int timers_start(struct server *s)
{
	s->each_minute = timer_start(s, 60, minute_passed);
	s->each_second = timer_start(s, 1, second_passed);
	return s->each_minute && s->each_second ? HT_OK : -ENOMEM;
}

static int signals_watch(struct server *s)
{
	static const int number[4] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (int i = 0; i < 4; i++) {
		s->signal_event[i] = evsignal_new(s->base, number[i], signal_came, s);
		if (!s->signal_event[i] || event_add(s->signal_event[i], NULL) < 0)
			return -ENOMEM;
	}
	return HT_OK;
}

/* Threads inherit a mask in which nothing is theirs; main takes it all. */
static void signals_block(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- all of it ---- */

static int server_open(struct server *s)
{
	char token[256] = "";
	int uid, gid, err;

	limits_set(s->conf);
	err = fitting_init(&s->fitting, s->conf);
	if (err < 0)
		return err;
	s->plan = *fitting_sizes(&s->fitting);
	err = rules_new(&s->rules);
	if (err == HT_OK)
		err = snapshot_new(&s->snapshot, s->conf, NULL, s->rules);
	if (err == HT_OK)
		err = user_find(s, &uid, &gid);
	if (err == HT_OK)
		err = sockets_open(s);
	if (err == HT_OK)
		err = mirror_open(&s->mirror, s->conf, s->fitting.tuning.captures);
	if (err == HT_OK)
		err = http_start(s);
	if (err == HT_OK)
		err = spool_start(s, uid, gid);
	if (err == HT_OK && s->conf->http.token_file[0]) {
		err = client_token(s->conf->http.token_file, token, sizeof(token));
		if (err < 0)
			log_error("http.token_file: %s: %s", s->conf->http.token_file,
				  ht_strerror(err));
	}
	if (err == HT_OK)
		err = http_serve(s->http, api_paths, &s->stats, token[0] ? token : NULL);
	if (err == HT_OK)
		err = storage_make(s);
	if (err == HT_OK)
		err = privileges_drop(s, uid, gid);
	if (err == HT_OK)
		err = receivers_make(s);
	if (err == HT_OK)
		err = timers_start(s);
	return err == HT_OK ? signals_watch(s) : err;
}

int server_run(const struct conf *conf)
{
	struct server *s = calloc(1, sizeof(*s));
	uint64_t begun_us = clock_mono_us();
	sigset_t mask;
	int err;

	if (!s)
		return -ENOMEM;
	s->conf = conf;
	s->started_us = clock_wall_us();
	rcu_thread_begin();
	err = server_open(s);
	if (err == HT_OK) {
		signals_block(&mask);
		err = threads_start(s);
		if (err == HT_OK) {
			fitting_report(&s->fitting);
			err = fitting_check(&s->fitting);
		}
		if (err == HT_OK)
			watch_start(s);
		memory_setup(s);
		stats_setup(s);
		if (err == HT_OK)
			err = notify_new(&s->stats.notify, s->base, s->http, &s->stats, s->conf);
		pthread_sigmask(SIG_SETMASK, &mask, NULL);
		if (err == HT_OK) {
			atomic_store(&s->is_receiving, true);
			log_info("heptap %s ready in %" PRIu64 " ms", HEPTAP_VERSION,
				 (clock_mono_us() - begun_us) / 1000);
			sd_notify(0, "READY=1");
			event_base_dispatch(s->base);
			sd_notify(0, "STOPPING=1");
		}
		threads_stop(s);
		notify_last(s->stats.notify);
		report(s);
	}
	server_fini(s);
	rcu_thread_end();
	return err;
}
