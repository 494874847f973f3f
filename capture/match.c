/*
 * Messages are taken as a worker takes them and judged as it judges them, by one generation of
 * rules, with records of calls in storage/calls.h. The clock is that of the packets: limits and
 * records go by it.
 */
#include "capture/match.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/decide.h"
#include "capture/file_source.h"
#include "capture/filter.h"
#include "capture/fragments.h"
#include "capture/match_print.h"
#include "capture/packets.h"
#include "capture/pcap_file.h"
#include "capture/sip_stream.h"
#include "capture/worker.h"
#include "conf/clock.h"
#include "conf/complain.h"
#include "conf/rcu.h"
#include "hep/codec.h"
#include "hep/inflate.h"
#include "hep/json.h"
#include "hep/sip.h"
#include "storage/calls.h"
#include "web-sql/stats.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

#define FRAGMENTS_PART	16 /* of `memory` */
#define REASSEMBLY_PART 8
#define CALLS_PART	4
#define CALL_COST	512
#define CALLS_MOST	1000000
#define SWEEP_MS	1000
#define SWEEP_TURN	60 /* sweeps in which all records are looked at */
#define GENERATION	1
#define TEXT_MOST	HEP_MAX_BYTES /* octets of a message on standard input */

struct match {
	const struct conf *conf;
	const struct match_wish *wish;
	struct conf_capture capture;
	struct filter *filter;
	struct filter_thread *thread;
	struct match_printer *printer;
	struct rcu_table *calls;
	struct fragments *fragments;
	struct packets *packets;
	struct file_source *files;
	struct inflater *inflater;
	uint8_t *unwrapped; /* HEP_MAX_BYTES: a message out of its JSON */
	uint64_t now_us;    /* the latest time of all packets */
	uint32_t swept_ms, turn;
	struct view source;
	int only; /* a rule; the number of rules: the default action; FILTER_NONE: all of them */
	uint64_t number; /* of messages so far, also of those that are not judged */
	struct match_sums *sums;
	struct match_summary summary;
	int err; /* what keeps it from going on */
};

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t is_interrupted;
static struct file_source *_Atomic interrupted; /* NULL: no capture is read */

static void interrupt(int number)
{
	struct file_source *f = atomic_load(&interrupted);

	is_interrupted = number;
	if (f)
		file_source_stop(f);
}

/* A second one ends it as it would have ended without this. */
static void signals_catch(struct file_source *f)
{
	struct sigaction sa = { .sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND };

	atomic_store(&interrupted, f);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* ---- records ---- */

static uint32_t now_ms(const struct match *m)
{
	return (uint32_t)(m->now_us / 1000);
}

/* What a verdict says. */
static enum match_record verdict_read(struct call_verdict v, int *rule)
{
	bool is_named = v.generation == GENERATION && v.rule != CALL_NO_RULE;

	*rule = is_named ? (int)v.rule : FILTER_NONE;
	return is_named ? MATCH_RULE : MATCH_NO_RULE;
}

/* Inside a read-side section. */
static struct call *record_find(struct match *m, struct filter_input *in, enum match_record *out)
{
	struct view callid = decide_callid(in->msg, in->sip);
	struct call *call;

	in->record = FILTER_NONE;
	*out = (in->sip ? in->sip->callid : in->msg->correlation).len ? MATCH_NEVER
								      : MATCH_NO_CALLID;
	if (callid.len == 0)
		return NULL;
	call = calls_find(m->calls, calls_hash(m->calls, callid), callid, now_ms(m));
	*out = call ? verdict_read(call_verdict(call), &in->record) : MATCH_NONE;
	return call;
}

/* An initial request was judged. Inside the same section. @return its record, made if need be. */
static struct call *record_judge(struct match *m, struct call *call, struct match_message *msg)
{
	const struct sip *s = msg->in->sip;
	struct call_verdict mine = { .generation = GENERATION,
				     .rule = CALL_NO_RULE,
				     .is_invite = view_is(s->method, "INVITE") };

	if (!mine.is_invite && msg->decision.record == FILTER_NONE && !call)
		return NULL;
	msg->is_told = true;
	msg->after = MATCH_NONE;
	if (!call)
		call = calls_get(rcu_table_thread(m->calls, 0), calls_hash(m->calls, s->callid),
				 s->callid, now_ms(m));
	if (!call)
		return NULL;
	if (msg->decision.record != FILTER_NONE)
		mine.rule = (uint32_t)msg->decision.record;
	if (!msg->decision.is_unsure)
		(void)call_judge(call, mine);
	msg->after = verdict_read(call_verdict(call), &msg->names);
	return call;
}

/* As main does it for a server: so many at a time that all are looked at once a minute. */
static void records_sweep(struct match *m)
{
	uint32_t now = now_ms(m), due = (now - m->swept_ms) / SWEEP_MS;

	if (due == 0)
		return;
	due = due < SWEEP_TURN ? due : SWEEP_TURN;
	m->turn = rcu_table_sweep(rcu_table_thread(m->calls, 0), now,
				  m->turn / SWEEP_TURN * due + SWEEP_TURN * due);
	m->swept_ms = now;
}

/* ---- one message ---- */

static void count(struct match *m, const struct filter_decision *d)
{
	const struct filter_program *p = filter_program_of(m->filter);
	struct match_sums *s = &m->sums[d->rule == FILTER_NONE ? (int)p->rule_count : d->rule];

	if (d->is_unsure) {
		m->summary.unsure++;
		return;
	}
	s->hits++;
	s->stored += d->is_stored;
}

static bool is_shown(const struct match *m, const struct filter_decision *d)
{
	int rule = d->rule == FILTER_NONE ? (int)filter_program_of(m->filter)->rule_count : d->rule;

	if (m->wish->is_summary)
		return false;
	return m->only == FILTER_NONE || (m->only == rule && !d->is_unsure);
}

/* @p came_us: when it came here, by the clock of the packets. */
static void judge(struct match *m, struct msg *msg, const struct sip *sip, uint64_t came_us)
{
	struct filter_input in = {
		.msg = msg, .sip = sip, .source = m->source, .agent = msg->agent_name
	};
	struct match_message message = { .number = m->number, .in = &in };
	struct call *call;

	if (came_us > m->now_us)
		m->now_us = came_us;
	in.mono_us = m->now_us;
	records_sweep(m);
	rcu_read_begin();
	call = record_find(m, &in, &message.before);
	filter_explain(m->filter, m->thread, &in, &message.decision,
		       match_print_begin(m->printer, &message));
	if (sip && filter_is_initial(sip) && decide_may_have_record(sip))
		call = record_judge(m, call, &message);
	if (sip && call) /* how old it may grow depends on what became of the call */
		(void)call_note(call, sip, msg->ts_us);
	rcu_read_end();
	count(m, &message.decision);
	if (!match_print_end(m->printer, is_shown(m, &message.decision)))
		m->err = -ENOMEM;
}

static void sip_take(struct match *m, struct msg *msg, uint64_t came_us)
{
	struct sip sip;

	if (msg->version != 0 && msg->payload.at[0] == '{' &&
	    json_unwrap(msg->payload, "payload", m->unwrapped, HEP_MAX_BYTES, &msg->payload) < 0) {
		m->summary.not_sip++;
		return;
	}
	if (sip_parse(msg->payload, NULL, &sip) < 0) {
		m->summary.not_sip++;
		return;
	}
	if (msg->version == 1 || msg->version == 2)
		msg->payload = sip_trim_nul(msg->payload, &sip);
	judge(m, msg, &sip, came_us);
}

/* ---- packets ---- */

static void on_begin(void *ctx, uint64_t wall_us, uint64_t mono_us)
{
	(void)ctx;
	(void)wall_us;
	(void)mono_us;
}

static void on_sip(void *ctx, unsigned source, struct msg *msg)
{
	struct match *m = ctx;

	(void)source;
	m->number++;
	sip_take(m, msg, msg->ts_us);
}

static void hep_message(struct match *m, struct msg *msg, uint64_t came_us)
{
	if (msg->ts_us == 0 || msg->ts_us > came_us + m->conf->max_clock_skew * 1000000ULL)
		msg->ts_us = came_us;
	if (msg->type != HEP_TYPE_SIP && !worker_stores_report(msg->type))
		m->summary.not_stored_type++;
	else if (msg->payload.len == 0 || (msg->version < 3 && view_is_all_nul(msg->payload)))
		m->summary.empty++;
	else if (msg->is_compressed && inflater_run(m->inflater, msg->payload, &msg->payload) < 0)
		m->summary.malformed++;
	else if (msg->payload.len == 0)
		m->summary.empty++;
	else if (msg->type == HEP_TYPE_SIP)
		sip_take(m, msg, came_us);
	else
		judge(m, msg, NULL, came_us);
}

static void on_hep(void *ctx, unsigned source, struct view packet, const uint8_t from_ip[16],
		   uint64_t ts_us)
{
	struct match *m = ctx;
	struct msg msg = { .arrival_us = ts_us };

	(void)source;
	(void)from_ip;
	m->number++;
	if (hep_decode(packet.at, packet.len, &msg) < 0)
		m->summary.malformed++;
	else
		hep_message(m, &msg, ts_us);
}

static void on_end(void *ctx)
{
	(void)ctx;
}

/* Whoever reads behind a pipe waits for what was read from one. */
static bool on_tend(void *ctx, uint64_t mono_us)
{
	struct match *m = ctx;

	(void)mono_us;
	if (fflush(stdout) != 0 && !m->err)
		m->err = -errno;
	if (m->err)
		file_source_stop(m->files);
	return false;
}

static const struct packets_taker taker = {
	.begin = on_begin, .sip = on_sip, .hep = on_hep, .end = on_end, .tend = on_tend
};

static const char *shown(const char *name)
{
	return strcmp(name, "-") == 0 ? "standard input" : name;
}

static void packets_count(struct match *m)
{
	struct match_summary *s = &m->summary;
	struct stats_packets p;

	packets_sum(&m->packets, 1, m->fragments, &p);
	s->has_packets = true;
	s->packets = p.seen;
	s->carriers = p.carriers;
	s->held = p.held;
	s->malformed += p.malformed_partial + p.malformed_oversize;
	for (unsigned i = 0; i < p.end_count; i++)
		*(p.end[i].is_incomplete ? &s->incomplete : &s->not_for_us) += p.end[i].count;
}

/* @return an exit code. */
static int capture_refused(const char *name, int err, const struct pcap_file *f)
{
	fprintf(stderr, "heptap: %s: %s\n", shown(name),
		err == HT_EPCAP ? pcap_file_why(f) : ht_strerror(err));
	return err == HT_EPCAP || err == -ENOENT || err == -ENOTDIR || err == -EISDIR
		       ? EXIT_WRONG
		       : EXIT_REFUSED;
}

static int capture_read(struct match *m)
{
	const char *name = m->wish->capture;
	int code = EXIT_DONE, err;
	struct pcap_file *f;

	err = pcap_file_open(&f, name);
	if (err < 0) {
		code = capture_refused(name, err, f);
		pcap_file_close(f);
		return code;
	}
	err = file_source_read(m->files, f, name, 1);
	if (err < 0 && err != HT_ESTOP) {
		fprintf(stderr, "heptap: %s: packet %" PRIu64 ": %s; what is before it is judged\n",
			shown(name), file_source_next(m->files),
			err == HT_EPCAP ? pcap_file_why(f) : ht_strerror(err));
		code = EXIT_WRONG;
	}
	packets_drain(m->packets);
	packets_count(m);
	pcap_file_close(f);
	return code;
}

/* ---- messages on standard input ---- */

/* Behind a message is the end, or a line of nothing but three dashes. */
static bool is_separator(const char *line, unsigned len)
{
	while (len > 3 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	return len == 3 && memcmp(line, "---", 3) == 0;
}

/* @return false: there is no more. @p len is more than TEXT_MOST if it is too long. */
static bool text_read(uint8_t *text, size_t *len)
{
	char line[5]; /* as much of it as a separator has */
	unsigned line_len = 0;
	bool is_more = false;
	int c;

	*len = 0;
	while ((c = getc(stdin)) != EOF) {
		is_more = true;
		if (*len < TEXT_MOST)
			text[*len] = (uint8_t)c;
		++*len;
		if (line_len < sizeof(line))
			line[line_len] = (char)c;
		line_len++;
		if (c != '\n')
			continue;
		if (line_len <= sizeof(line) && is_separator(line, line_len)) {
			*len -= line_len;
			return true;
		}
		line_len = 0;
	}
	if (line_len <= sizeof(line) && is_separator(line, line_len))
		*len -= line_len;
	return is_more;
}

static bool is_blank(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			return false;
	return true;
}

/* Somebody may have left out the line between two messages. A body of message/sipfrag begins as a
 * message, too. */
static void hint(const struct match *m, struct view text)
{
	static bool is_hinted;
	uint32_t front = 0;

	while (front < text.len && (text.at[front] == '\r' || text.at[front] == '\n'))
		front++;
	for (uint32_t i = front + 1; i < text.len && !is_hinted; i++) {
		struct view rest = { text.at + i, text.len - i };

		if (text.at[i - 1] != '\n' || sip_stream_begins(rest, true) != 1)
			continue;
		fprintf(stderr,
			"heptap: message %" PRIu64 ": a line within looks like the next message; "
			"a line of --- separates them\n",
			m->number);
		is_hinted = true;
	}
}

static bool is_capture(struct view text)
{
	static const uint8_t magic[][4] = { { 0xa1, 0xb2, 0xc3, 0xd4 },
					    { 0xd4, 0xc3, 0xb2, 0xa1 },
					    { 0xa1, 0xb2, 0x3c, 0x4d },
					    { 0x4d, 0x3c, 0xb2, 0xa1 },
					    { 0x0a, 0x0d, 0x0d, 0x0a } };

	for (size_t i = 0; text.len >= 4 && i < sizeof(magic) / sizeof(magic[0]); i++)
		if (memcmp(text.at, magic[i], 4) == 0)
			return true;
	return false;
}

static void text_take(struct match *m, const uint8_t *text, size_t len)
{
	const struct match_wish *w = m->wish;
	struct msg msg = { .src = w->src,
			   .dst = w->dst,
			   .ts_us = clock_wall_us(),
			   .agent_name = view_of(w->agent ? w->agent : ""),
			   .ip_proto = w->ip_proto ? w->ip_proto : PROTO_UDP,
			   .type = HEP_TYPE_SIP };
	uint64_t not_sip = m->summary.not_sip;

	m->number++;
	if (len > TEXT_MOST) {
		m->summary.too_long++;
		fprintf(stderr,
			"heptap: message %" PRIu64
			" has %zu octets, %d are the most that are read\n",
			m->number, len, TEXT_MOST);
		return;
	}
	msg.payload = (struct view){ text, (uint32_t)len };
	sip_take(m, &msg, msg.ts_us);
	if (m->summary.not_sip > not_sip)
		fprintf(stderr, "heptap: message %" PRIu64 " does not begin as SIP does%s\n",
			m->number,
			is_capture(msg.payload) ? "; a capture file is read with -r -" : "");
	else
		hint(m, msg.payload);
}

static int texts_read(struct match *m)
{
	uint8_t *text = malloc(TEXT_MOST);
	size_t len;

	if (!text) {
		m->err = -ENOMEM;
		return EXIT_REFUSED;
	}
	if (isatty(STDIN_FILENO))
		fputs("heptap: SIP messages are read from the terminal, --- between two of them; "
		      "Ctrl-D ends\n",
		      stderr);
	while (!m->err && !is_interrupted && text_read(text, &len)) {
		if (len <= TEXT_MOST && is_blank(text, len))
			continue;
		text_take(m, text, len);
		if (fflush(stdout) != 0)
			m->err = -errno;
	}
	if (ferror(stdin) && !is_interrupted)
		m->err = -errno;
	free(text);
	if (!m->err && !is_interrupted && m->number == 0)
		fputs("heptap: no message came\n", stderr);
	return m->number == 0 || m->summary.not_sip || m->summary.too_long ? EXIT_WRONG : EXIT_DONE;
}

/* ---- making everything ---- */

static int rules_make(struct match *m)
{
	struct filter_program *program;
	int err = conf_compile_filters(m->conf, &program);

	if (err == HT_OK)
		err = filter_new(program, &m->filter);
	if (err == HT_OK)
		err = filter_thread_new(&m->thread);
	if (err < 0)
		return err;
	m->sums = calloc(program->rule_count + 1, sizeof(*m->sums));
	m->summary.rules = m->sums;
	if (!m->sums)
		return -ENOMEM;
	return match_printer_new(&m->printer, m->conf, program, m->thread, m->wish->is_json,
				 m->wish->has_tests);
}

static int tables_make(struct match *m)
{
	uint64_t entries = m->conf->memory / CALLS_PART / CALL_COST + 1;

	m->unwrapped = malloc(HEP_MAX_BYTES);
	if (!m->unwrapped)
		return -ENOMEM;
	return calls_new(&m->calls, (uint32_t)(entries < CALLS_MOST ? entries : CALLS_MOST), 1);
}

static int packets_make(struct match *m)
{
	struct packets_options p = { .conf = &m->capture,
				     .memory = m->conf->memory / REASSEMBLY_PART,
				     .taker = &taker,
				     .taker_ctx = m };
	struct file_source_options f = { .bpf = m->capture.bpf };
	int err = packets_fragments_new(&m->fragments, m->conf->memory / FRAGMENTS_PART);

	p.fragments = m->fragments;
	if (err == HT_OK)
		err = packets_new(&m->packets, &p);
	if (err == HT_OK)
		err = inflater_new(&m->inflater);
	f.packets = m->packets;
	return err == HT_OK ? file_source_new(&m->files, &f) : err;
}

/* The name that `source` has: the one that is wished, or of the first capture, else listener. */
static struct view source_of(const struct match *m)
{
	if (m->wish->source)
		return view_of(m->wish->source);
	if (m->conf->capture_count)
		return view_of(m->conf->capture[0].name);
	return view_of(m->conf->hep_count ? m->conf->hep[0].name : "");
}

static int match_open(struct match *m)
{
	int err = rules_make(m);

	if (err == HT_OK)
		err = tables_make(m);
	if (err == HT_OK && m->wish->capture) {
		packet_wish_choose(&m->wish->packets, m->conf, &m->capture);
		err = packets_make(m);
	}
	m->source = source_of(m);
	if (err < 0)
		fprintf(stderr, "heptap: match cannot start: %s\n", ht_strerror(err));
	return err;
}

static void match_close(struct match *m)
{
	atomic_store(&interrupted, NULL);
	file_source_free(m->files);
	packets_free(m->packets);
	fragments_free(m->fragments);
	inflater_free(m->inflater);
	match_printer_free(m->printer);
	filter_thread_free(m->thread);
	filter_end(m->filter);
	if (m->calls)
		rcu_table_free(m->calls);
	free(m->unwrapped);
	free(m->sums);
}

/* ---- the command ---- */

static bool only_find(struct match *m)
{
	const struct filter_program *p = filter_program_of(m->filter);
	const char *name = m->wish->only;

	m->only = FILTER_NONE;
	if (!name)
		return true;
	for (uint32_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].name, name) != 0)
			continue;
		m->only = (int)i;
		return true;
	}
	if (strcmp(name, match_rule_name(p, FILTER_NONE)) == 0)
		m->only = (int)p->rule_count;
	else
		fprintf(stderr, "heptap: no rule of %s has the name that --only asks for\n",
			m->conf->file);
	return m->only != FILTER_NONE;
}

static void records_tell(struct match *m)
{
	struct rcu_table_sums s = rcu_table_sums(m->calls);

	m->summary.records_lost = s.evicted + s.refused;
	if (m->summary.records_lost)
		fprintf(stderr,
			"heptap: there were more calls than records: %" PRIu64
			" were given up, and what came later of these calls had none; a larger "
			"`memory` has room for more\n",
			m->summary.records_lost);
}

static int result_tell(struct match *m, int code)
{
	records_tell(m);
	match_print_summary(m->printer, &m->summary);
	if (fflush(stdout) != 0 && !m->err)
		m->err = -errno;
	if (m->err) {
		fprintf(stderr, "heptap: match: %s\n", ht_strerror(m->err));
		return EXIT_REFUSED;
	}
	if (is_interrupted) {
		fputs("heptap: interrupted, not all of it was judged\n", stderr);
		return EXIT_REFUSED;
	}
	if (code == EXIT_DONE && m->only != FILTER_NONE && m->sums[m->only].hits == 0)
		return EXIT_WRONG;
	return code;
}

static int match_run(struct match *m)
{
	int code;

	if (match_open(m) < 0)
		return EXIT_REFUSED;
	if (!only_find(m))
		return EXIT_USAGE;
	signals_catch(m->files);
	code = m->wish->capture ? capture_read(m) : texts_read(m);
	if (m->wish->capture && code != EXIT_DONE && !m->summary.has_packets)
		return code; /* it could not be opened */
	return result_tell(m, code);
}

int match_command(const struct conf *conf, const struct match_wish *wish)
{
	struct match m = { .conf = conf, .wish = wish };
	int code;

	rcu_thread_begin();
	code = match_run(&m);
	match_close(&m);
	rcu_thread_end();
	return code;
}
