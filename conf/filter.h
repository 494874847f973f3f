/**
 * @file
 * The filter language: rules as text into a flat program of tests. A test reads one field, compares
 * it, and names the test that follows when it holds and the one when it does not; that is all there
 * is to && || ! and brackets, so running a program needs no stack. What fields are in a message is
 * capture/filter.h's affair.
 *
 * Threads: a program is constant once compiled; any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

struct conf_net;
struct filter_probe;
struct filter_regex;

#define FILTER_MAX_RULES   256
#define FILTER_MAX_OCTETS  4096 /* of a condition */
#define FILTER_MAX_DEPTH   32	/* brackets and ! inside each other */
#define FILTER_MAX_HEADERS 64	/* different names in header("X"), over all rules */
#define FILTER_MAX_NAME	   64	/* octets of such a name */
#define FILTER_MAX_DIGITS  18	/* what has more is no number */

enum filter_kind {
	FILTER_FLAG,	/* true or false, stands alone */
	FILTER_TEXT,	/* octets; what is absent is empty */
	FILTER_NUMBER,	/* may be absent, and then equals nothing and is neither more nor less */
	FILTER_ADDRESS, /* of IP; may be absent, too */
};

/* X(id, name, kind, whether a rule that uses it is of message scope unless said otherwise) */
#define FILTER_FIELDS(X)                                    \
	X(METHOD, "method", FILTER_TEXT, false)             \
	X(STATUS, "status", FILTER_NUMBER, true)            \
	X(REASON, "reason", FILTER_TEXT, true)              \
	X(IS_REQUEST, "is_request", FILTER_FLAG, true)      \
	X(IS_REPLY, "is_reply", FILTER_FLAG, true)          \
	X(RURI, "ruri", FILTER_TEXT, false)                 \
	X(RURI_USER, "ruri.user", FILTER_TEXT, false)       \
	X(RURI_HOST, "ruri.host", FILTER_TEXT, false)       \
	X(FROM, "from", FILTER_TEXT, false)                 \
	X(FROM_USER, "from.user", FILTER_TEXT, false)       \
	X(FROM_HOST, "from.host", FILTER_TEXT, false)       \
	X(TO, "to", FILTER_TEXT, false)                     \
	X(TO_USER, "to.user", FILTER_TEXT, false)           \
	X(TO_HOST, "to.host", FILTER_TEXT, false)           \
	X(CONTACT, "contact", FILTER_TEXT, false)           \
	X(CONTACT_USER, "contact.user", FILTER_TEXT, false) \
	X(CONTACT_HOST, "contact.host", FILTER_TEXT, false) \
	X(PAI_USER, "pai.user", FILTER_TEXT, false)         \
	X(CALLID, "callid", FILTER_TEXT, false)             \
	X(CSEQ_METHOD, "cseq.method", FILTER_TEXT, false)   \
	X(USER_AGENT, "user_agent", FILTER_TEXT, false)     \
	X(CONTENT_TYPE, "content_type", FILTER_TEXT, true)  \
	X(HEADER, "header", FILTER_TEXT, false)             \
	X(BODY, "body", FILTER_TEXT, true)                  \
	X(SRC_IP, "src.ip", FILTER_ADDRESS, false)          \
	X(SRC_PORT, "src.port", FILTER_NUMBER, false)       \
	X(DST_IP, "dst.ip", FILTER_ADDRESS, false)          \
	X(DST_PORT, "dst.port", FILTER_NUMBER, false)       \
	X(TRANSPORT, "transport", FILTER_TEXT, false)       \
	X(AGENT, "agent", FILTER_TEXT, false)               \
	X(CAPTURE_ID, "capture_id", FILTER_NUMBER, false)   \
	X(SOURCE, "source", FILTER_TEXT, false)             \
	X(TYPE, "type", FILTER_TEXT, false)

enum filter_field {
#define X(id, name, kind, of_message) FILTER_##id,
	FILTER_FIELDS(X)
#undef X
		FILTER_FIELD_COUNT
};

enum filter_op {
	FILTER_OP_IS,	  /* a flag */
	FILTER_OP_REGEX,  /* text, or a number or address as text */
	FILTER_OP_TEXT,	  /* is it one of the texts, or in one of the nets? */
	FILTER_OP_NUMBER, /* is it in one of the ranges? */
	FILTER_OP_NET,	  /* is it in one of the nets? */
	/* two fields */
	FILTER_OP_SAME_TEXT,
	FILTER_OP_SAME_NUMBER,
	FILTER_OP_SAME_ADDRESS,
	FILTER_OP_LESS, /* as numbers */
	FILTER_OP_AT_MOST,
};

/* Ends of a rule, in the place of the number of a test. */
#define FILTER_YES UINT32_MAX
#define FILTER_NO  (UINT32_MAX - 1)

/* Which field; @p header is the number of the name, of FILTER_HEADER only. */
struct filter_operand {
	uint8_t field, header;
};

struct filter_text {
	uint32_t len;
	char *at;
};

/* Both ends are in it. */
struct filter_range {
	uint64_t least, most;
};

struct filter_test {
	uint8_t op;	   /* enum filter_op */
	uint8_t probe;	   /* of a regex: number of its probe and 1; 0: none */
	uint8_t probe_bit; /* its place there */
	struct filter_operand left, right;
	bool is_not;	  /* it is written as the opposite: !~ or != */
	uint32_t yes, no; /* number of the next test, or FILTER_YES, FILTER_NO */
	uint64_t pairs;	  /* of a regex: that its literal has; conf/filter_probe.h */
	struct filter_regex *regex;
	/* what the field is compared with, as the op needs it */
	uint32_t text_count, range_count, net_count;
	uint16_t at, octets; /* where it stands in the condition; for whoever shows it */
	struct filter_text *texts;
	struct filter_range *ranges;
	struct conf_net *nets;
};

enum filter_action { FILTER_STORE, FILTER_DROP, FILTER_SAMPLE, FILTER_LIMIT };
enum filter_scope { FILTER_SCOPE_AUTO, FILTER_SCOPE_MESSAGE, FILTER_SCOPE_DIALOG };

/* sample: of 100000; limit: messages in a second. */
struct filter_verdict {
	enum filter_action action;
	uint32_t amount;
};

#define FILTER_SAMPLE_ALL 100000

struct filter_rule {
	char *name;
	char *table; /* "": none is asked for */
	struct filter_verdict verdict;
	enum filter_scope scope; /* never AUTO */
	uint32_t first;		 /* its first test */
};

struct filter_header {
	uint8_t len;
	char compact; /* its short form; 0: none */
	char lower[FILTER_MAX_NAME + 1];
};

struct filter_program {
	uint32_t rule_count, test_count, header_count, probe_count;
	struct filter_verdict otherwise; /* default_action */
	struct filter_rule *rules;
	struct filter_test *tests;
	struct filter_probe *probes;
	struct filter_header headers[FILTER_MAX_HEADERS];
};

/* What is wrong, and where in the text. */
struct filter_error {
	size_t offset; /* octets */
	char text[128];
};

/* A rule as it is written. */
struct filter_source {
	const char *name, *when, *action, *table;
	enum filter_scope scope;
};

/** Can a condition be compiled? @return HT_OK, HT_ECONF with @p error filled, or -ENOMEM. */
HT_MUST_CHECK int filter_check(const char *when, struct filter_error *error);

/** store, drop, sample N% or limit N/s. @return HT_OK or HT_ECONF with @p error filled. */
HT_MUST_CHECK int filter_verdict_parse(const char *action, struct filter_verdict *out,
				       struct filter_error *error);

/** The scope that a condition has when none is said. @p when can be compiled. */
enum filter_scope filter_scope_of(const char *when);

/**
 * Compile rules, in their order.
 *
 * @param failed  After HT_ECONF: the number of the rule that @p error is of; @p count if it is
 *                @p otherwise.
 * @return HT_OK and filter_free() it; HT_ECONF; -ENOMEM.
 */
HT_MUST_CHECK int filter_compile(const struct filter_source *rules, size_t count,
				 const char *otherwise, struct filter_program **out, size_t *failed,
				 struct filter_error *error);

void filter_free(struct filter_program *program);

/** Name and kind of a field, for whoever shows them. */
const char *filter_field_name(enum filter_field field);
enum filter_kind filter_field_kind(enum filter_field field);
