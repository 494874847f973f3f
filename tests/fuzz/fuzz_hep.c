/*
 * Any bytes as HEP: a packet is decoded from its own octets only, all of them, and what it says
 * lies within it.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hep/codec.h"
#include "hep/msg.h"

#define ARRIVAL_US 42
#define CUTS_MAX   256 /* shorter packets are cut at every octet, longer ones at this many */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decode an exact-size copy, which is the caller's to free. */
static ssize_t decode_copy(const uint8_t *data, size_t size, uint8_t **copy, struct msg *m)
{
	*copy = malloc(size);
	assert(*copy || size == 0);
	if (size)
		memcpy(*copy, data, size);
	memset(m, 0xa5, sizeof(*m));
	m->arrival_us = ARRIVAL_US;
	return hep_decode(*copy, size, m);
}

static int is_addr_same(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* The same place in either copy. */
static int is_view_same(struct view a, const uint8_t *base_a, struct view b, const uint8_t *base_b)
{
	return a.len == b.len && (a.len == 0 || a.at - base_a == b.at - base_b);
}

static void check_same(const struct msg *a, const uint8_t *base_a, const struct msg *b,
		       const uint8_t *base_b)
{
	assert(is_addr_same(&a->src, &b->src));
	assert(is_addr_same(&a->dst, &b->dst));
	assert(a->ts_us == b->ts_us);
	assert(is_view_same(a->payload, base_a, b->payload, base_b));
	assert(is_view_same(a->correlation, base_a, b->correlation, base_b));
	assert(is_view_same(a->key, base_a, b->key, base_b));
	assert(a->has_capture_id == b->has_capture_id && a->capture_id == b->capture_id);
	assert(a->has_key == b->has_key && a->is_compressed == b->is_compressed);
	assert(a->ip_proto == b->ip_proto && a->type == b->type);
	assert(a->odd_chunks == b->odd_chunks && a->twice_chunks == b->twice_chunks);
}

static void check_addr(const struct addr *a)
{
	static const uint8_t nothing[12];

	assert(a->family == FAMILY_IPV4 || a->family == FAMILY_IPV6);
	assert(a->family == FAMILY_IPV6 || memcmp(a->ip + 4, nothing, sizeof(nothing)) == 0);
}

static void check_msg(const struct msg *m, struct view packet)
{
	check_addr(&m->src);
	check_addr(&m->dst);
	assert(view_inside(m->payload, packet));
	assert(view_inside(m->correlation, packet));
	assert(view_inside(m->key, packet));
	assert(view_inside(m->agent_name, packet));
	assert(m->has_key || m->key.len == 0);
	assert(m->has_capture_id || m->capture_id == 0);
	assert(m->ts_us == 0 || m->ts_us >= 1000000);
	assert(m->arrival_us == ARRIVAL_US);
}

static void check_own_octets_suffice(const uint8_t *data, size_t used, const struct msg *m,
				     const uint8_t *base)
{
	struct msg again;
	uint8_t *copy;
	ssize_t used_again = decode_copy(data, used, &copy, &again);

	assert(used_again == (ssize_t)used);
	check_same(m, base, &again, copy);
	free(copy);
}

/* Versions 1 and 2 go to the end of what there is: fewer octets are a shorter payload, or too few.
 */
static void check_fewer_of_legacy(const uint8_t *data, size_t used, const struct msg *m)
{
	size_t step = used / CUTS_MAX + 1;
	struct msg less;

	for (size_t len = 0; len < used; len += step) {
		uint8_t *copy;
		ssize_t got = decode_copy(data, len, &copy, &less);

		assert(got == HT_ESHORT || got == (ssize_t)len);
		if (got > 0) {
			assert(less.payload.len == m->payload.len - (used - len));
			assert(is_addr_same(&less.src, &m->src) &&
			       is_addr_same(&less.dst, &m->dst));
			assert(less.ts_us == m->ts_us && less.capture_id == m->capture_id);
		}
		free(copy);
	}
}

static void check_fewer_do_not(const uint8_t *data, size_t used)
{
	size_t step = used / CUTS_MAX + 1;
	struct msg m;

	for (size_t len = 0; len < used; len += step) {
		uint8_t *copy;
		ssize_t err = decode_copy(data, len, &copy, &m);

		assert(err == HT_ESHORT);
		free(copy);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg m;
	uint8_t *copy;
	ssize_t used = decode_copy(data, size, &copy, &m);

	assert(used != 0 && used <= (ssize_t)size);
	assert(used >= HEP3_HEAD_BYTES || used == HT_ESHORT || used == HT_EVERSION ||
	       used == HT_ELENGTH || used == HT_ECHUNK || used == HT_EADDRESS);
	if (used > 0) {
		check_msg(&m, (struct view){ copy, (uint32_t)used });
		check_own_octets_suffice(data, (size_t)used, &m, copy);
		assert(m.version == (data[0] < 3 ? data[0] : 3));
		if (m.version < 3) {
			assert(used == (ssize_t)size);
			assert(m.type == HEP_TYPE_SIP && !m.has_key && m.correlation.len == 0);
			check_fewer_of_legacy(data, (size_t)used, &m);
		} else {
			check_fewer_do_not(data, (size_t)used);
		}
	}
	free(copy);
	return 0;
}
