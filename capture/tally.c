/* Five minutes that are being counted are a `bucket`: an array of sums that always have a place,
 * and a small hash table for texts. */
#include "capture/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "capture/first.h"
#include "hep/msg.h"
#include "hep/sip.h"
#include "storage/block.h"

#define BUCKETS 8 /* late messages are counted beside those of now */
#define TEXT_BYTES \
	116 /* of a user agent that tell it from others; its column has a hundred characters */
#define OTHERS	64 /* places for `other` */
#define TEXTS	(TALLY_ADDRESSES + TALLY_USER_AGENTS + TALLY_HOPS + TALLY_SCANNERS + OTHERS)
#define SLOTS	4096 /* of the hash table, a power of two, about twice TEXTS */
#define MINUTES (DELTA_BUCKET_S / DELTA_ALARM_S)

_Static_assert(SLOTS > TEXTS + TEXTS / 2, "the table stays sparse");

/* X(name, kind, text, auth, totag, cseq): sums that always have a place. */
#define SUMS(X)                                         \
	X(TOTAL, METHOD, "TOTAL", 0, 0, "")             \
	X(ALL, METHOD, "ALL", 0, 0, "")                 \
	X(INVITE, METHOD, "INVITE", 0, 0, "")           \
	X(INVITE_AUTH, METHOD, "INVITE", 1, 0, "")      \
	X(INVITE_INSIDE, METHOD, "INVITE", 0, 1, "")    \
	X(REGISTER, METHOD, "REGISTER", 0, 0, "")       \
	X(REGISTER_AUTH, METHOD, "REGISTER", 1, 0, "")  \
	X(BYE, METHOD, "BYE", 0, 0, "")                 \
	X(CANCEL, METHOD, "CANCEL", 0, 0, "")           \
	X(OPTIONS, METHOD, "OPTIONS", 0, 0, "")         \
	X(REFER, METHOD, "REFER", 0, 0, "")             \
	X(UPDATE, METHOD, "UPDATE", 0, 0, "")           \
	X(REDIRECTED, METHOD, "300", 0, 0, "")          \
	X(INVITE_200, METHOD, "200", 0, 0, "INVITE")    \
	X(INVITE_401, METHOD, "401", 0, 0, "INVITE")    \
	X(INVITE_407, METHOD, "407", 0, 0, "INVITE")    \
	X(BYE_200, METHOD, "200", 0, 0, "BYE")          \
	X(BYE_401, METHOD, "401", 0, 0, "BYE")          \
	X(BYE_407, METHOD, "407", 0, 0, "BYE")          \
	X(PACKET_COUNT, DATA, "packet_count", 0, 0, "") \
	X(PACKET_SIZE, DATA, "packet_size", 0, 0, "")   \
	X(SDF, DATA, "sdf", 0, 0, "")                   \
	X(ISA, DATA, "isa", 0, 0, "")                   \
	X(SD, DATA, "sd", 0, 0, "")                     \
	X(BAD, DATA, "bad", 0, 0, "")

enum sum {
#define X(name, kind, text, auth, totag, cseq) SUM_##name,
	SUMS(X)
#undef X
		SUM_COUNT
};

static const struct {
	enum delta_kind kind;
	bool auth, totag;
	const char *name, *cseq;
} sums[SUM_COUNT] = {
#define X(name, kind, text, auth, totag, cseq) { DELTA_KIND_##kind, auth, totag, text, cseq },
	SUMS(X)
#undef X
};

/* Replies that alarms are about; of the last three each next hop is counted too. */
static const uint16_t alarm_code[] = { 413, 483, 482, 403, 408, 400, 500, 503 };

#define ALARMS	   ((unsigned)(sizeof(alarm_code) / sizeof(alarm_code[0])))
#define ALARMS_HOP 5 /* from here on */

/* What a text is counted under. */
enum name { NAME_INVITE, NAME_REGISTER, NAME_400, NAME_500, NAME_503, NAME_SCANNER, NAME_COUNT };

static const char *const names[NAME_COUNT] = {
	"INVITE", "REGISTER", "400", "500", "503", "scanner"
};

struct text {
	uint64_t hash;
	uint32_t total;
	uint8_t kind; /* enum delta_kind */
	uint8_t name; /* enum name */
	uint8_t minute;
	uint8_t len;
	char text[TEXT_BYTES];
};

struct bucket {
	uint32_t at;   /* s since 1970 */
	bool is_used;  /* it is of a time */
	bool is_dirty; /* there are sums to be written */
	uint64_t turn; /* when it was last looked for */
	uint64_t sum[SUM_COUNT];
	uint64_t alarm[MINUTES][ALARMS];
	uint16_t of_kind[DELTA_KIND_END]; /* texts */
	uint16_t texts;
	uint16_t slot[SLOTS]; /* number of a text, from 1; 0: empty */
	struct text text[TEXTS];
};

struct tally {
	struct tally_options options;
	struct tally_counters counters;
	uint64_t turn;
	struct bucket *last;   /* most messages are of the time of the one before */
	struct bucket *bucket; /* BUCKETS; pages are touched as they are used */
};

const struct tally_counters *tally_counters(const struct tally *t)
{
	return &t->counters;
}

/* ---- buckets ---- */

static uint32_t bucket_at(uint64_t ts_us)
{
	uint32_t at = (uint32_t)(ts_us / 1000000);

	return at - at % DELTA_BUCKET_S;
}

/* The one of this time, else the one to be given to it. */
static struct bucket *bucket_choose(const struct tally *t, uint32_t at)
{
	struct bucket *oldest = t->bucket;

	if (t->last->is_used && t->last->at == at)
		return t->last;
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct bucket *b = &t->bucket[i];

		if (b->is_used && b->at == at)
			return b;
		if (b->turn < oldest->turn)
			oldest = b;
	}
	return oldest;
}

static bool is_of(const struct bucket *b, uint32_t at)
{
	return b->is_used && b->at == at;
}

bool tally_is_full(const struct tally *t, uint64_t ts_us)
{
	uint32_t at = bucket_at(ts_us);
	const struct bucket *b = bucket_choose(t, at);

	return b->is_dirty && !is_of(b, at);
}

static uint64_t rows_of(const struct bucket *b)
{
	uint64_t rows = 0;

	for (unsigned i = 0; i < SUM_COUNT; i++)
		rows += b->sum[i] != 0;
	for (unsigned i = 0; i < MINUTES * ALARMS; i++)
		rows += b->alarm[i / ALARMS][i % ALARMS] != 0;
	for (unsigned i = 0; i < b->texts; i++)
		rows += b->text[i].total != 0;
	return rows;
}

static struct bucket *bucket_take(struct tally *t, uint32_t at)
{
	struct bucket *b = bucket_choose(t, at);

	if (!is_of(b, at)) {
		if (b->is_dirty) {
			uint64_t rows = rows_of(b);

			counter_add(&t->counters.made, rows); /* before what became of them */
			counter_add(&t->counters.lost, rows);
		}
		memset(b, 0, offsetof(struct bucket, text));
		b->at = at;
		b->is_used = true;
	}
	b->turn = ++t->turn;
	t->last = b;
	b->is_dirty = true;
	return b;
}

/* ---- texts ---- */

static uint16_t most_of(enum delta_kind kind)
{
	switch (kind) {
	case DELTA_KIND_IP:
		return TALLY_ADDRESSES;
	case DELTA_KIND_USERAGENT:
		return TALLY_USER_AGENTS;
	case DELTA_KIND_ALARM:
		return TALLY_HOPS;
	default:
		return TALLY_SCANNERS;
	}
}

/* Not more than there is room for, and no part of a character at the end. */
static struct view text_cut(struct view v)
{
	if (v.len <= TEXT_BYTES)
		return v;
	v.len = TEXT_BYTES;
	while (v.len && (v.at[v.len] & 0xc0) == 0x80)
		v.len--;
	return v;
}

static bool text_is(const struct text *x, uint64_t hash, const struct text *wanted, struct view v)
{
	return x->hash == hash && x->kind == wanted->kind && x->name == wanted->name &&
	       x->minute == wanted->minute && x->len == v.len && memcmp(x->text, v.at, v.len) == 0;
}

/* Its place, a new one if there is room. NULL: there is none. */
static struct text *text_find(struct tally *t, struct bucket *b, const struct text *wanted,
			      struct view v, bool is_other)
{
	uint64_t seed = t->options.seed ^ (uint64_t)wanted->kind << 16 ^
			(uint64_t)wanted->name << 8 ^ wanted->minute;
	uint64_t hash = XXH3_64bits_withSeed(v.at, v.len, seed);
	uint32_t i = (uint32_t)hash & (SLOTS - 1);
	struct text *x;

	for (; b->slot[i]; i = (i + 1) & (SLOTS - 1))
		if (text_is(&b->text[b->slot[i] - 1], hash, wanted, v))
			return &b->text[b->slot[i] - 1];
	if (b->texts == TEXTS || (!is_other && b->of_kind[wanted->kind] == most_of(wanted->kind)))
		return NULL;
	b->of_kind[wanted->kind] += !is_other;
	x = &b->text[b->texts++];
	b->slot[i] = b->texts;
	*x = *wanted;
	x->hash = hash;
	x->len = (uint8_t)v.len;
	memcpy(x->text, v.at, v.len);
	return x;
}

static void text_count(struct tally *t, struct bucket *b, enum delta_kind kind, enum name name,
		       uint8_t minute, struct view v)
{
	struct text wanted = { .kind = kind, .name = name, .minute = minute };
	struct text *x;

	v = text_cut(v);
	if (v.len == 0)
		return;
	x = text_find(t, b, &wanted, v, false);
	if (!x) {
		counter_add(&t->counters.others, 1);
		x = text_find(t, b, &wanted, view_of("other"), true);
	}
	x->total++;
}

/* ---- what is counted ---- */

static bool begins_nocase(struct view v, const char *lower)
{
	uint32_t len = (uint32_t)strlen(lower);

	return v.len >= len && view_is_nocase((struct view){ v.at, len }, lower);
}

/* "friendly-scanner", "sipvicious" and "sipcli" anywhere in it, in any case. */
static bool is_scanner(struct view agent)
{
	for (; agent.len; agent.at++, agent.len--) {
		uint8_t lower = agent.at[0] | 0x20;

		if (lower == 's' &&
		    (begins_nocase(agent, "sipvicious") || begins_nocase(agent, "sipcli")))
			return true;
		if (lower == 'f' && begins_nocase(agent, "friendly-scanner"))
			return true;
	}
	return false;
}

static uint32_t number_of(struct view v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v.len && (uint8_t)(v.at[i] - '0') < 10; i++)
		n = n * 10 + (v.at[i] - '0');
	return n;
}

/* The cause of a Reason header says that the call did not end as calls do (RFC 3326; Q.850 causes
 * 16 and 17: normal clearing, user busy). */
static bool is_abnormal(struct view reason)
{
	for (uint32_t i = 0; i + 6 < reason.len; i++) {
		struct view rest = { reason.at + i, 6 };
		uint32_t cause;

		if (!view_is_nocase(rest, "cause="))
			continue;
		cause = number_of((struct view){ reason.at + i + 6, reason.len - i - 6 });
		return cause != 16 && cause != 17;
	}
	return false;
}

static void who_count(struct tally *t, struct bucket *b, const struct sip *s, enum name name,
		      struct view source_ip)
{
	text_count(t, b, DELTA_KIND_IP, name, 0, source_ip);
	if (is_scanner(s->user_agent))
		text_count(t, b, DELTA_KIND_SCANNER, NAME_SCANNER, 0, source_ip);
}

static void invite_count(struct tally *t, struct bucket *b, const struct sip *s,
			 struct view source_ip)
{
	who_count(t, b, s, NAME_INVITE, source_ip);
	if (s->to.tag.len) {
		b->sum[SUM_INVITE_INSIDE]++;
		return;
	}
	b->sum[SUM_INVITE]++;
	if (s->auth_user.len)
		b->sum[SUM_INVITE_AUTH]++;
	text_count(t, b, DELTA_KIND_USERAGENT, NAME_INVITE, 0, s->user_agent);
}

static void register_count(struct tally *t, struct bucket *b, const struct sip *s,
			   struct view source_ip)
{
	who_count(t, b, s, NAME_REGISTER, source_ip);
	b->sum[SUM_REGISTER]++;
	if (s->auth_user.len)
		b->sum[SUM_REGISTER_AUTH]++;
	text_count(t, b, DELTA_KIND_USERAGENT, NAME_REGISTER, 0, s->user_agent);
}

static void request_count(struct tally *t, struct bucket *b, const struct sip *s,
			  struct view source_ip)
{
	if (view_is(s->method, "INVITE")) {
		invite_count(t, b, s, source_ip);
	} else if (view_is(s->method, "REGISTER")) {
		register_count(t, b, s, source_ip);
	} else if (view_is(s->method, "BYE")) {
		b->sum[SUM_BYE]++;
		b->sum[SUM_SDF] += is_abnormal(s->reason);
	} else if (view_is(s->method, "OPTIONS")) {
		b->sum[SUM_OPTIONS]++;
	} else if (view_is(s->method, "CANCEL")) {
		b->sum[SUM_CANCEL]++;
	} else if (view_is(s->method, "UPDATE")) {
		b->sum[SUM_UPDATE]++;
	} else if (view_is(s->method, "REFER")) {
		b->sum[SUM_REFER]++;
	}
}

static void alarm_count(struct tally *t, struct bucket *b, const struct msg *m, uint32_t code)
{
	uint8_t minute = (uint8_t)((uint32_t)(m->ts_us / 1000000) % DELTA_BUCKET_S / DELTA_ALARM_S);

	for (unsigned i = 0; i < ALARMS; i++) {
		if (alarm_code[i] != code)
			continue;
		b->alarm[minute][i]++;
		if (i >= ALARMS_HOP)
			text_count(t, b, DELTA_KIND_ALARM, NAME_400 + (i - ALARMS_HOP), minute,
				   sip_via_host(m->payload, 1));
	}
}

static void reply_count(struct tally *t, struct bucket *b, const struct msg *m, const struct sip *s)
{
	bool to_invite = view_is(s->cseq_method, "INVITE"), to_bye = view_is(s->cseq_method, "BYE");
	uint32_t code = s->status;

	if (code >= 400)
		alarm_count(t, b, m, code);
	if (code >= 300 && code <= 302)
		b->sum[SUM_REDIRECTED]++;
	else if (to_invite || to_bye)
		switch (code) {
		case 200:
			b->sum[to_invite ? SUM_INVITE_200 : SUM_BYE_200]++;
			break;
		case 401:
			b->sum[to_invite ? SUM_INVITE_401 : SUM_BYE_401]++;
			break;
		case 407:
			b->sum[to_invite ? SUM_INVITE_407 : SUM_BYE_407]++;
			break;
		default:
			b->sum[SUM_ISA] += to_invite && (code == 408 || code == 500 || code == 503);
			b->sum[SUM_SD] += to_invite && (code == 500 || code == 503 || code == 504);
			b->sum[SUM_BAD] += to_invite && (code == 486 || code == 487 || code == 603);
		}
}

/* Requests by method, CSeq number and Call-ID, replies by code, CSeq and Call-ID. */
uint64_t tally_key(const struct tally *t, const struct sip *s)
{
	struct view method = s->is_reply ? s->cseq_method : s->method;
	uint64_t kind = (uint64_t)number_of(s->cseq) << 32 | (s->is_reply ? s->status + 1ULL : 0);
	uint64_t hash = XXH3_64bits_withSeed(method.at, method.len, t->options.seed ^ kind);

	hash = XXH3_64bits_withSeed(s->callid.at, s->callid.len, hash);
	first_expect(t->options.first, hash);
	return hash;
}

static bool is_first(struct tally *t, const struct msg *m, uint64_t key)
{
	enum first_verdict v = first_see(t->options.first, key, (uint32_t)(m->ts_us / 1000000));

	if (v == FIRST_NEW_EVICTED)
		counter_add(&t->counters.evicted, 1);
	return v != FIRST_REPEAT;
}

void tally_count(struct tally *t, const struct msg *m, const struct sip *s, uint64_t key,
		 struct view source_ip)
{
	struct bucket *b = bucket_take(t, bucket_at(m->ts_us));
	bool first = is_first(t, m, key);

	if (t->options.is_homer5) {
		b->sum[SUM_TOTAL]++;
		b->sum[SUM_PACKET_COUNT]++;
		b->sum[SUM_PACKET_SIZE] += m->payload.len;
	}
	if (first || !t->options.is_homer5)
		b->sum[SUM_ALL]++;
	if (!first)
		counter_add(&t->counters.repeats, 1);
	else if (s->is_reply)
		reply_count(t, b, m, s);
	else
		request_count(t, b, s, source_ip);
}

/* ---- writing ---- */

bool tally_has_sums(const struct tally *t)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		if (t->bucket[i].is_dirty)
			return true;
	return false;
}

/* A row of what was counted, if anything was and it fits. */
static void row_write(struct tally *t, struct block *b, struct delta *d, uint64_t total,
		      uint64_t wall_us)
{
	d->total = total;
	block_add_delta(b, d, wall_us);
	counter_add(&t->counters.made, 1);
}

static void alarms_write(struct tally *t, struct bucket *from, struct block *b, uint64_t wall_us)
{
	for (unsigned i = 0; i < MINUTES * ALARMS && !block_is_full(b); i++) {
		uint64_t *total = &from->alarm[i / ALARMS][i % ALARMS];
		uint16_t code = alarm_code[i % ALARMS];
		char digits[3] = { (char)('0' + code / 100), (char)('0' + code / 10 % 10),
				   (char)('0' + code % 10) };
		struct delta d = { .kind = DELTA_KIND_ALARM,
				   .at = from->at + i / ALARMS * DELTA_ALARM_S,
				   .name = { (uint8_t *)digits, 3 } };

		if (*total)
			row_write(t, b, &d, *total, wall_us);
		*total = 0;
	}
}

static void texts_write(struct tally *t, struct bucket *from, struct block *b, uint64_t wall_us)
{
	for (unsigned i = 0; i < from->texts && !block_is_full(b); i++) {
		struct text *x = &from->text[i];
		struct delta d = { .kind = x->kind,
				   .at = from->at + x->minute * DELTA_ALARM_S,
				   .name = view_of(names[x->name]),
				   .text = { (uint8_t *)x->text, x->len } };

		if (x->total)
			row_write(t, b, &d, x->total, wall_us);
		x->total = 0;
	}
}

static void bucket_write(struct tally *t, struct bucket *from, struct block *b, uint64_t wall_us)
{
	for (unsigned i = 0; i < SUM_COUNT && !block_is_full(b); i++) {
		struct delta d = { .kind = sums[i].kind,
				   .at = from->at,
				   .auth = sums[i].auth,
				   .totag = sums[i].totag,
				   .name = view_of(sums[i].name),
				   .cseq = view_of(sums[i].cseq) };

		if (from->sum[i])
			row_write(t, b, &d, from->sum[i], wall_us);
		from->sum[i] = 0;
	}
	alarms_write(t, from, b, wall_us);
	texts_write(t, from, b, wall_us);
	from->is_dirty = block_is_full(b) && rows_of(from) > 0;
}

void tally_write(struct tally *t, struct block *b, uint64_t wall_us)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		if (t->bucket[i].is_dirty && !block_is_full(b))
			bucket_write(t, &t->bucket[i], b, wall_us);
}

/* ---- life ---- */

int tally_new(struct tally **out, const struct tally_options *options)
{
	struct tally *t = aligned_alloc(_Alignof(struct tally), sizeof(*t));

	if (!t)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->options = *options;
	t->bucket = mmap(NULL, BUCKETS * sizeof(struct bucket), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->bucket == MAP_FAILED) {
		free(t);
		return -ENOMEM;
	}
	t->last = t->bucket;
	*out = t;
	return HT_OK;
}

void tally_free(struct tally *t)
{
	if (!t)
		return;
	munmap(t->bucket, BUCKETS * sizeof(struct bucket));
	free(t);
}
