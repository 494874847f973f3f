/*
 * A condition up to the first line feed, then a message: whatever both are, an error has a place
 * within the condition, and a condition that compiles holds or does not, !() of it the opposite,
 * the same with others beside it, machine code or not.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/filter.h"
#include "conf/filter_regex.h"
#include "hep/msg.h"
#include "hep/sip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct filter_thread *thread;

static struct filter *compile(const struct filter_source *rules, size_t count)
{
	struct filter_program *program;
	struct filter_error error;
	struct filter *f;
	size_t failed;

	if (filter_compile(rules, count, "store", &program, &failed, &error) < 0)
		return NULL;
	if (filter_new(program, &f) < 0)
		abort();
	return f;
}

/* 1 and 0 as the rule matches or not; -1: a limit was reached. */
static int decide(const struct filter_source *rules, size_t count, const struct filter_input *in,
		  int rule)
{
	struct filter *f = compile(rules, count);
	struct filter_decision d, again;

	if (!f)
		return -1; /* what compiles alone may be too much together */
	filter_decide(f, thread, in, &d);
	filter_decide(f, thread, in, &again);
	assert(d.rule == again.rule && d.record == again.record && d.is_stored == again.is_stored);
	assert(d.rule >= FILTER_NONE && d.rule < (int)count);
	assert(!d.is_unsure || (d.is_stored && d.rule == FILTER_NONE));
	filter_end(f);
	return d.is_unsure ? -1 : d.rule == rule;
}

static void judge(const char *when, const struct filter_input *in)
{
	char negated[FILTER_MAX_OCTETS + 8];
	struct filter_source rules[6];
	struct filter_error error;
	int holds, other;

	for (int i = 0; i < 6; i++)
		rules[i] = (struct filter_source){ "r", when, "drop", "", FILTER_SCOPE_MESSAGE };
	holds = decide(rules, 1, in, 0);
	if (holds < 0)
		return;
	snprintf(negated, sizeof(negated), "!(%s)", when);
	rules[0].when = negated;
	if (filter_check(negated, &error) == HT_OK) { /* else too long or too deep */
		other = decide(rules, 1, in, 0);
		assert(other < 0 || other == !holds);
	}
	/* Six of them are looked for together. */
	rules[0].when = when;
	other = decide(rules, 6, in, 0);
	assert(other < 0 || other == holds);
	filter_regex_interpret(true);
	other = decide(rules, 1, in, 0);
	assert(other < 0 || other == holds);
	filter_regex_interpret(false);
	rules[0].scope = FILTER_SCOPE_AUTO;
	decide(rules, 1, in, 0);
}

static void run(const char *when, const uint8_t *text, size_t len)
{
	struct msg m = { .payload = { text, (uint32_t)len },
			 .type = len % 3 ? HEP_TYPE_SIP : HEP_TYPE_RTCP,
			 .ip_proto = PROTO_UDP,
			 .correlation = { text, len < 9 ? (uint32_t)len : 9 },
			 .src = { { 10, 0, 0, 1 }, 5060, FAMILY_IPV4 },
			 .dst = { { 0x20, 1, 0xd, 0xb8 }, 5061, FAMILY_IPV6 } };
	struct filter_input in = { .msg = &m,
				   .source = view_of("agents"),
				   .agent = view_of("edge"),
				   .record = (int)(len % 4) - 1 };
	struct sip s;

	if (m.type == HEP_TYPE_SIP && sip_parse(m.payload, NULL, &s) == HT_OK)
		in.sip = &s;
	judge(when, &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t len = end ? (size_t)(end - data) : size, rest = size - len;
	struct filter_error error = { 0 };
	struct filter_verdict verdict;
	char *when = strndup((const char *)data, len);
	uint8_t *text = malloc(rest ? rest : 1);
	int err;

	if (!thread && filter_thread_new(&thread) < 0)
		abort();
	if (!when || !text)
		abort();
	if (rest)
		memcpy(text, end, rest);
	err = filter_verdict_parse(when, &verdict, &error);
	assert(err == HT_OK || (err == HT_ECONF && error.offset <= strlen(when) && error.text[0]));
	error.text[0] = '\0';
	err = filter_check(when, &error);
	assert(err == HT_OK || (err == HT_ECONF && error.offset <= strlen(when) && error.text[0]));
	if (err == HT_OK)
		run(when, text, rest);
	free(when);
	free(text);
	return 0;
}
