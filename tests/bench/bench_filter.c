/*
 * Nanoseconds of CPU per message that rules take, against the bare pcre2_match() calls for the same
 * expressions, with machine code, on the same fields: bench_filter MESSAGES ROUNDS
 * Of 100 rules 50 are anchored, 30 have a literal inside, 20 neither; the last one matches. Prints
 * one line for each number of rules: rules, ns by rules, ns bare, their ratio; medians of rounds
 * that take turns.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture/filter.h"
#include "hep/msg.h"
#include "hep/sip.h"

#define MOST_RULES  100
#define MOST_ROUNDS 101
#define MESSAGES    8

static const char *const starts[MESSAGES] = {
	"INVITE sip:5551234@trunk9.carrier.example:5060;user=phone",
	"INVITE sip:+4930123456@198.51.100.7",
	"INVITE sip:81234567@10.9.8.7:5070;transport=tcp",
	"INVITE sip:alice.smith@pbx.customer.example",
	"INVITE sip:4711@192.0.2.200:5062",
	"INVITE sip:conference-room-12@meet.example;transport=ws",
	"INVITE sip:0012125550100@gw3.example.net:5080",
	"INVITE sip:bob@[2001:db8::77]:5060",
};

struct message {
	char text[1024];
	struct msg msg;
	struct sip sip;
};

static struct message messages[MESSAGES];
static char patterns[MOST_RULES][128];
static pcre2_code *bare[MOST_RULES];
static pcre2_match_data *data;

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void messages_make(void)
{
	for (int i = 0; i < MESSAGES; i++) {
		struct message *m = &messages[i];
		int len = snprintf(
			m->text, sizeof(m->text),
			"%s SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.2.3:5060;branch=z9hG4bK%d\r\n"
			"From: \"Carol\" <sip:carol%d@a.example>;tag=77\r\nTo: <sip:b@c>\r\n"
			"Call-ID: %d-5561@10.1.2.3\r\nCSeq: 1 INVITE\r\n"
			"Max-Forwards: 70\r\nUser-Agent: phone 7\r\nContent-Length: 0\r\n\r\n",
			starts[i], i, i, i);

		m->msg = (struct msg){
			.payload = { (uint8_t *)m->text, (uint32_t)len },
			.type = HEP_TYPE_SIP,
			.ip_proto = PROTO_UDP,
			.src = { .ip = { 10, 1, 2, 3 }, .port = 5060, .family = FAMILY_IPV4 }
		};
		if (sip_parse(m->msg.payload, NULL, &m->sip) < 0)
			abort();
	}
}

/* As trunks are told apart; none but the last matches. */
static void pattern_make(int i, int rules)
{
	static const char *const anchored[] = {
		"^sip:8?[0-9]{7}@172\\.16\\.%d\\.",
		"^sip:[2-9][0-9]{6}@203\\.0\\.%d\\.[0-9]+",
		"^sip:(?!55)[0-9]{8}@pop%d",
		"^sip:6%d[0-9]{2}@",
		"^sip:[^@]+@trunk%d\\.example\\.(com|net)(:506[01])?",
	};
	static const char *const inner[] = {
		"@(10\\.0\\.0\\.1|10\\.0\\.0\\.2|sbc%d\\.example\\.com):506[01]",
		"[0-9]+@site%d\\.example",
		"(alice|bob)@.*transport=tls%d",
	};
	static const char *const neither[] = { "[0-9]{4}[a-f]{%d}", "(x%d|y[0-9])[a-z]+(q|z)$" };
	char *out = patterns[i];

	if (i == rules - 1)
		strcpy(out, "[a-z]{3}:[^ ]*[0-9a-z]");
	else if (i % 10 < 5)
		snprintf(out, sizeof(patterns[i]), anchored[i % 5], 10 + i);
	else if (i % 10 < 8)
		snprintf(out, sizeof(patterns[i]), inner[i % 3], i);
	else
		snprintf(out, sizeof(patterns[i]), neither[i % 2], 3 + i / 10);
}

static struct filter *rules_make(int rules)
{
	static char when[MOST_RULES][160];
	struct filter_source sources[MOST_RULES];
	struct filter_program *program;
	struct filter_error error;
	struct filter *f;
	PCRE2_SIZE offset;
	size_t failed;
	int number;

	for (int i = 0; i < rules; i++) {
		pattern_make(i, rules);
		snprintf(when[i], sizeof(when[i]), "ruri =~ '%s'", patterns[i]);
		sources[i] = (struct filter_source){ "r", when[i], "drop", "", FILTER_SCOPE_AUTO };
		pcre2_code_free(bare[i]);
		bare[i] = pcre2_compile((PCRE2_SPTR)patterns[i], PCRE2_ZERO_TERMINATED, 0, &number,
					&offset, NULL);
		if (!bare[i] || pcre2_jit_compile(bare[i], PCRE2_JIT_COMPLETE) < 0)
			abort();
	}
	if (filter_compile(sources, (size_t)rules, "store", &program, &failed, &error) < 0 ||
	    filter_new(program, &f) < 0)
		abort();
	return f;
}

static double by_rules(struct filter *f, struct filter_thread *t, int rules, unsigned count)
{
	double begin = cpu_ns();

	for (unsigned i = 0; i < count; i++) {
		struct message *m = &messages[i % MESSAGES];
		struct filter_input in = { .msg = &m->msg, .sip = &m->sip, .record = FILTER_NONE };
		struct filter_decision d;

		filter_decide(f, t, &in, &d);
		if (d.rule != rules - 1)
			abort();
	}
	return (cpu_ns() - begin) / count;
}

static double by_calls(int rules, unsigned count)
{
	double begin = cpu_ns();

	for (unsigned i = 0; i < count; i++) {
		struct view v = messages[i % MESSAGES].sip.ruri;
		int found = -1;

		for (int k = 0; k < rules && found < 0; k++) {
			if (pcre2_match(bare[k], v.at, v.len, 0, 0, data, NULL) >= 0)
				found = k;
		}
		if (found != rules - 1)
			abort();
	}
	return (cpu_ns() - begin) / count;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *of, int count)
{
	qsort(of, (size_t)count, sizeof(*of), compare);
	return of[count / 2];
}

static void measure(int rules, struct filter_thread *t, unsigned count, int rounds)
{
	struct filter *f = rules_make(rules);
	double ours[MOST_ROUNDS], theirs[MOST_ROUNDS], a, b;

	for (int i = 0; i < rounds; i++) {
		ours[i] = by_rules(f, t, rules, count);
		theirs[i] = by_calls(rules, count);
	}
	a = median(ours, rounds);
	b = median(theirs, rounds);
	if (rules)
		printf("%d %.1f %.1f %.3f\n", rules, a, b, a / b);
	else
		printf("0 %.1f - -\n", a);
	filter_end(f);
}

int main(int argc, char **argv)
{
	static const int numbers[] = { 0, 1, 10, 100 };
	unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 20000;
	int rounds = argc > 2 ? atoi(argv[2]) : 11;
	struct filter_thread *t;

	if (!count || rounds < 1 || rounds > MOST_ROUNDS || filter_thread_new(&t) < 0) {
		fprintf(stderr, "usage: bench_filter [MESSAGES [ROUNDS]], at most %d rounds\n",
			MOST_ROUNDS);
		return 2;
	}
	data = pcre2_match_data_create(1, NULL);
	messages_make();
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		measure(numbers[i], t, count, rounds);
	for (int i = 0; i < MOST_RULES; i++)
		pcre2_code_free(bare[i]);
	pcre2_match_data_free(data);
	filter_thread_free(t);
	return 0;
}
