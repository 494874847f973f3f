/* What a NIC's driver answers, as facts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tune/ethtool.h"
#include "tune/facts.h"

#define KEY_BYTES 512

static const struct feature {
	const char *setting;
	size_t value, fixed; /* offsets */
} features[] = {
#define F(field) offsetof(struct nic_driver, field)
	{ "features/large-receive-offload", F(lro), F(lro_fixed) },
	{ "features/generic-receive-offload", F(gro), F(gro_fixed) },
	{ "features/rx-gro-hw", F(gro_hw), F(gro_hw_fixed) },
	{ "features/rx-gro-list", F(gro_list), F(gro_list_fixed) },
	{ "features/rx-udp-gro-forwarding", F(udp_gro), F(udp_gro_fixed) },
	{ "features/receive-hashing", F(rx_hash), F(rx_hash_fixed) },
#undef F
};

struct question {
	const char *root, *nic;
};

/* @return false: no answer; then @p out is "" */
static bool ask(const struct question *q, const char *setting, char *out, size_t size)
{
	if (ethtool_read(q->root, q->nic, setting, out, size) > 0)
		return true;
	out[0] = '\0';
	return false;
}

/* A switch is 0 or 1. @return -1: no answer */
static int64_t ask_number(const struct question *q, const char *setting)
{
	char value[64], *end;
	long long n;

	if (!ask(q, setting, value, sizeof(value)))
		return -1;
	if (strncmp(value, "on", 2) == 0 || strncmp(value, "off", 3) == 0)
		return value[1] == 'n';
	n = strtoll(value, &end, 10);
	return end == value ? -1 : n;
}

static void ask_channels(const struct question *q, struct nic_driver *out)
{
	out->channels = ask_number(q, "channels/combined");
	out->is_combined = out->channels > 0;
	if (!out->is_combined)
		out->channels = ask_number(q, "channels/rx");
	out->channels_max =
		ask_number(q, out->is_combined ? "channels/max_combined" : "channels/max_rx");
}

static void ask_features(const struct question *q, struct nic_driver *out)
{
	char value[64];

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		int64_t *is_on = (int64_t *)((char *)out + features[i].value);

		*is_on = ask_number(q, features[i].setting);
		*(bool *)((char *)out + features[i].fixed) =
			ask(q, features[i].setting, value, sizeof(value)) &&
			strstr(value, "fixed") != NULL;
	}
}

/* Symmetric: the driver says so, or the key is two octets again and again. */
static enum known is_symmetric(const struct question *q)
{
	char text[KEY_BYTES];
	size_t len;

	if (ask(q, "rxfh/input_xfrm", text, sizeof(text)) && strstr(text, "symmetric-xor"))
		return YES;
	len = ask(q, "rxfh/key", text, sizeof(text)) ? strlen(text) : 0;
	if (len < 5)
		return UNKNOWN;
	for (size_t i = 6; i < len; i++)
		if (text[i] != text[i - 6])
			return NO;
	return YES;
}

void facts_read_driver(const char *root, const char *nic, struct nic_driver *out)
{
	const struct question q = { root, nic };

	*out = (struct nic_driver){ .is_symmetric = UNKNOWN };
	ask(&q, "driver/driver", out->name, sizeof(out->name));
	ask_channels(&q, out);
	out->ring = ask_number(&q, "rings/rx");
	out->ring_max = ask_number(&q, "rings/rx_max");
	out->adaptive = ask_number(&q, "coalesce/adaptive_rx");
	out->usecs = ask_number(&q, "coalesce/rx_usecs");
	ask_features(&q, out);
	out->pause_rx = ask_number(&q, "pause/rx");
	out->pause_tx = ask_number(&q, "pause/tx");
	ask(&q, "rxflow/udp4", out->udp4_hash, sizeof(out->udp4_hash));
	out->is_symmetric = is_symmetric(&q);
}
