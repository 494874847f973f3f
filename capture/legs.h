/**
 * @file
 * What a message says of the legs of its call: the entries of `legs` (conf/leg.h), compiled, and
 * the values that they find. A value is the Call-ID of the leg before, or one that all legs share:
 * an entry says which, but two headers are known by their standards and need no word:
 *
 *   Session-ID (RFC 7989)         the UUIDs of both ends, each shared; none of zeros
 *   P-Charging-Vector (RFC 7315)  its icid-value, shared
 *
 * Threads: struct legs is constant once made; a matcher belongs to one thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "conf/err.h"
#include "hep/sip.h"

struct filter_matcher;
struct filter_regex;

#define LEGS_VALUES 2 /* that one entry finds, at most */

enum leg_kind { LEG_VALUE, LEG_SESSION, LEG_ICID };

struct leg {
	enum leg_kind kind;
	bool is_shared;
	bool is_callid;		    /* the header is Call-ID, which has a short form */
	struct filter_regex *regex; /* NULL: the whole value */
	char lower[SIP_MAX_NAME + 1];
	uint8_t lower_len;
};

/* Zeroed, there are none. */
struct legs {
	uint8_t count;
	struct leg leg[CONF_MAX_LEGS];
};

/**
 * Compile them; the header of entry i becomes name i of @p names, which has none yet.
 * @return HT_OK, HT_ECONF (what was read can be compiled) or -ENOMEM. legs_fini() it, also after an
 * error.
 */
HT_MUST_CHECK int legs_init(struct legs *l, const struct conf_strings *entries,
			    struct sip_names *names);
void legs_fini(struct legs *l);

/**
 * What entry @p i finds in a message that was parsed with its names.
 * @param out  Values, never empty; they point into the message.
 * @return how many, or HT_EFULL: a limit of the expression was reached.
 */
int legs_read(const struct legs *l, unsigned i, struct filter_matcher *matcher,
	      const struct sip *sip, struct view out[LEGS_VALUES]);

#define LEGS_KEY (SIP_MAX_NAME + 258) /* so that a value has 256 octets or more */

/**
 * The key of a shared value among Call-IDs: it begins with NUL, as none of them does, and names the
 * header, since what two headers say may be the same by chance.
 * @return its length; 0: the value is too long.
 */
uint32_t legs_key(const struct legs *l, unsigned i, struct view value, uint8_t key[LEGS_KEY]);

/** May it be a Call-ID, next to such keys? */
bool legs_is_callid(struct view v);
