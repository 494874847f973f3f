/* Addresses of media, in an rcu_table. An entry never changes; another call's replaces it. */
#include "storage/media.h"

#include <string.h>

#include "hep/sdp.h"

/* Without padding, because it is hashed. */
struct media_key {
	uint8_t ip[16];
	uint16_t port, family;
};

struct media {
	struct rcu_entry entry;
	struct media_key key;
	uint32_t callid_len;
	uint8_t callid[MEDIA_CALLID];
};

_Static_assert(sizeof(struct media) <= 192, "three cache lines");

/* The key, and what a fresh entry is filled with. */
struct claim {
	struct media_key key;
	struct view callid;
};

static struct media_key key_of(const struct addr *a, uint16_t port)
{
	struct media_key k = { .port = port, .family = a->family };

	memcpy(k.ip, a->ip, a->family == FAMILY_IPV4 ? 4 : 16);
	return k;
}

static int media_match(struct cds_lfht_node *node, const void *key)
{
	struct media *m = caa_container_of(node, struct media, entry.node);
	const struct claim *claim = key;

	rcu_tell_acquire(&m->entry);
	return memcmp(&m->key, &claim->key, sizeof(m->key)) == 0;
}

static void media_fill(struct rcu_entry *e, const void *key)
{
	struct media *m = caa_container_of(e, struct media, entry);
	const struct claim *claim = key;

	m->key = claim->key;
	m->callid_len = claim->callid.len;
	memcpy(m->callid, claim->callid.at, claim->callid.len);
}

static bool media_is_over(const struct rcu_entry *e, uint32_t idle_ms)
{
	(void)e;
	return idle_ms >= MEDIA_IDLE_MS;
}

uint64_t media_entry_cost(void)
{
	return rcu_table_entry_cost(sizeof(struct media));
}

int media_new(struct rcu_table **out, uint32_t entries, unsigned threads)
{
	const struct rcu_table_options o = { .entries = entries,
					     .entry_bytes = sizeof(struct media),
					     .threads = threads,
					     .match = media_match,
					     .fill = media_fill,
					     .is_over = media_is_over };

	return rcu_table_new(out, &o);
}

static struct media *media_at(const struct rcu_table *media, const struct claim *claim)
{
	uint64_t hash = rcu_table_hash(media, &claim->key, sizeof(claim->key));
	struct rcu_entry *e = rcu_table_find(media, hash, claim);

	return e ? caa_container_of(e, struct media, entry) : NULL;
}

/* Most descriptions come again, with every hop and every session refresh: then nothing changes. */
static int learn_one(struct rcu_table_thread *th, const struct addr *at, struct view callid,
		     uint32_t now_ms)
{
	struct claim claim = { key_of(at, at->port), callid };
	const struct rcu_table *media = rcu_table_of(th);
	struct media *m = media_at(media, &claim);
	uint64_t hash;

	if (m && m->callid_len == callid.len && memcmp(m->callid, callid.at, callid.len) == 0) {
		rcu_entry_touch(&m->entry, now_ms);
		return HT_OK;
	}
	hash = rcu_table_hash(media, &claim.key, sizeof(claim.key));
	return rcu_table_replace(th, hash, &claim, now_ms) ? HT_OK : HT_EFULL;
}

int media_learn(struct rcu_table_thread *th, const struct sdp *sdp, struct view callid,
		uint32_t now_ms)
{
	int err = HT_OK;

	if (callid.len == 0 || callid.len > MEDIA_CALLID)
		return HT_EFULL;
	for (uint32_t i = 0; i < sdp->count; i++) {
		const struct sdp_media *m = &sdp->media[i];

		if (learn_one(th, &m->rtp, callid, now_ms) < 0)
			err = HT_EFULL;
		if (m->rtcp.family != FAMILY_NONE && learn_one(th, &m->rtcp, callid, now_ms) < 0)
			err = HT_EFULL;
	}
	return err;
}

struct view media_find(const struct rcu_table *media, const struct addr *at, uint32_t now_ms)
{
	for (uint16_t below = 0; below < 2 && at->port > below; below++) {
		struct claim claim = { .key = key_of(at, (uint16_t)(at->port - below)) };
		struct media *m = media_at(media, &claim);

		if (!m)
			continue;
		rcu_entry_touch(&m->entry, now_ms);
		return (struct view){ m->callid, m->callid_len };
	}
	return (struct view){ NULL, 0 };
}
