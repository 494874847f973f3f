/*
 * What a NIC's driver answers to ethtool's ioctls. A recorded tree holds the answers as text,
 * ethtool/IF/KIND with a KEY=VALUE a line.
 */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tune/facts.h"
#include "tune/files.h"

#define FEATURES_MOST 256

static const struct feature {
	const char *name;
	const char *kernel;  /* the kernel's name of it, where that is another */
	size_t value, fixed; /* offsets */
} features[] = {
#define F(field) offsetof(struct nic_driver, field)
	{ "large-receive-offload", "rx-lro", F(lro), F(lro_fixed) },
	{ "generic-receive-offload", "rx-gro", F(gro), F(gro_fixed) },
	{ "rx-gro-hw", "rx-gro-hw", F(gro_hw), F(gro_hw_fixed) },
	{ "rx-gro-list", "rx-gro-list", F(gro_list), F(gro_list_fixed) },
	{ "rx-udp-gro-forwarding", "rx-udp-gro-forwarding", F(udp_gro), F(udp_gro_fixed) },
	{ "receive-hashing", "rx-hashing", F(rx_hash), F(rx_hash_fixed) },
#undef F
};
#define FEATURES (sizeof(features) / sizeof(features[0]))

static void set_feature(struct nic_driver *out, const struct feature *f, bool is_on, bool is_fixed)
{
	*(int64_t *)((char *)out + f->value) = is_on;
	*(bool *)((char *)out + f->fixed) = is_fixed;
}

static void set_key_symmetric(struct nic_driver *out, const uint8_t *key, unsigned len)
{
	out->is_symmetric = len >= 2 ? YES : UNKNOWN;
	for (unsigned i = 2; i < len; i++)
		if (key[i] != key[i - 2])
			out->is_symmetric = NO;
}

/* ---- a recorded tree ---- */

static bool recorded(const char *root, const char *nic, const char *kind, char *text, size_t size)
{
	return file_read(root, text, size, "/ethtool/%s/%s", nic, kind) > 0;
}

/* @return what follows KEY= up to the end of its line, in @p out; false: there is no such key. */
static bool value_of(const char *text, const char *key, char *out, size_t size)
{
	size_t len = strlen(key);

	while (text && (strncmp(text, key, len) != 0 || text[len] != '=')) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (!text)
		return false;
	text += len + 1;
	snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
	return true;
}

static int64_t number_of(const char *text, const char *key)
{
	char value[64], *end;
	long long n;

	if (!value_of(text, key, value, sizeof(value)))
		return -1;
	if (strncmp(value, "on", 2) == 0 || strncmp(value, "off", 3) == 0)
		return value[1] == 'n';
	n = strtoll(value, &end, 10);
	return end == value ? -1 : n;
}

static void recorded_hash(const char *text, struct nic_driver *out)
{
	char value[512];
	uint8_t key[128];
	unsigned len = 0;

	if (value_of(text, "input_xfrm", value, sizeof(value)) && strstr(value, "symmetric-xor")) {
		out->is_symmetric = YES;
		return;
	}
	if (!value_of(text, "key", value, sizeof(value)))
		return;
	for (const char *c = value; *c && len < sizeof(key); c += *c == ':') {
		char *end;

		key[len++] = (uint8_t)strtoul(c, &end, 16);
		if (end == c)
			return;
		c = end;
	}
	set_key_symmetric(out, key, len);
}

static void read_recorded(const char *root, const char *nic, struct nic_driver *out)
{
	char text[4096], value[64];

	if (recorded(root, nic, "driver", text, sizeof(text)))
		value_of(text, "driver", out->name, sizeof(out->name));
	if (recorded(root, nic, "channels", text, sizeof(text))) {
		out->channels = number_of(text, "combined");
		out->channels_max = number_of(text, "max_combined");
		out->is_combined = out->channels > 0;
		if (!out->is_combined) {
			out->channels = number_of(text, "rx");
			out->channels_max = number_of(text, "max_rx");
		}
	}
	if (recorded(root, nic, "rings", text, sizeof(text))) {
		out->ring = number_of(text, "rx");
		out->ring_max = number_of(text, "rx_max");
	}
	if (recorded(root, nic, "coalesce", text, sizeof(text))) {
		out->adaptive = number_of(text, "adaptive_rx");
		out->usecs = number_of(text, "rx_usecs");
	}
	if (recorded(root, nic, "pause", text, sizeof(text))) {
		out->pause_rx = number_of(text, "rx");
		out->pause_tx = number_of(text, "tx");
	}
	if (recorded(root, nic, "features", text, sizeof(text)))
		for (size_t i = 0; i < FEATURES; i++)
			if (value_of(text, features[i].name, value, sizeof(value)))
				set_feature(out, &features[i], strncmp(value, "on", 2) == 0,
					    strstr(value, "fixed") != NULL);
	if (recorded(root, nic, "rxflow", text, sizeof(text)))
		value_of(text, "udp4", out->udp4_hash, sizeof(out->udp4_hash));
	if (recorded(root, nic, "rxfh", text, sizeof(text)))
		recorded_hash(text, out);
}

/* ---- this machine ---- */

static bool ask(int fd, const char *nic, void *request)
{
	struct ifreq r = { .ifr_data = request };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", nic);
	return ioctl(fd, SIOCETHTOOL, &r) == 0;
}

static void ask_channels(int fd, const char *nic, struct nic_driver *out)
{
	struct ethtool_channels c = { .cmd = ETHTOOL_GCHANNELS };

	if (!ask(fd, nic, &c))
		return;
	out->is_combined = c.combined_count > 0;
	out->channels = out->is_combined ? c.combined_count : c.rx_count;
	out->channels_max = out->is_combined ? c.max_combined : c.max_rx;
}

static void ask_queueing(int fd, const char *nic, struct nic_driver *out)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct ethtool_coalesce coalesce = { .cmd = ETHTOOL_GCOALESCE };
	struct ethtool_pauseparam pause = { .cmd = ETHTOOL_GPAUSEPARAM };

	if (ask(fd, nic, &ring)) {
		out->ring = ring.rx_pending;
		out->ring_max = ring.rx_max_pending;
	}
	if (ask(fd, nic, &coalesce)) {
		out->adaptive = coalesce.use_adaptive_rx_coalesce != 0;
		out->usecs = coalesce.rx_coalesce_usecs;
	}
	if (ask(fd, nic, &pause)) {
		out->pause_rx = pause.rx_pause != 0;
		out->pause_tx = pause.tx_pause != 0;
	}
}

static unsigned feature_count(int fd, const char *nic)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} r = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };

	return ask(fd, nic, &r) && r.info.sset_mask && r.count <= FEATURES_MOST ? r.count : 0;
}

static void ask_features(int fd, const char *nic, struct nic_driver *out)
{
	unsigned count = feature_count(fd, nic);
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + count * ETH_GSTRING_LEN);
	struct ethtool_gfeatures *bits =
		calloc(1, sizeof(*bits) + (count + 31) / 32 * sizeof(bits->features[0]));

	if (names && bits) {
		*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS,
						    .string_set = ETH_SS_FEATURES,
						    .len = count };
		*bits = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES,
						    .size = (count + 31) / 32 };
	}
	if (count && names && bits && ask(fd, nic, names) && ask(fd, nic, bits))
		for (unsigned i = 0; i < count; i++)
			for (size_t k = 0; k < FEATURES; k++) {
				const struct ethtool_get_features_block *b =
					&bits->features[i / 32];
				uint32_t bit = 1u << i % 32;

				if (strncmp((char *)names->data + i * ETH_GSTRING_LEN,
					    features[k].kernel, ETH_GSTRING_LEN) == 0)
					set_feature(out, &features[k], b->active & bit,
						    !(b->available & bit) ||
							    b->never_changed & bit);
			}
	free(names);
	free(bits);
}

static void ask_hash(int fd, const char *nic, struct nic_driver *out)
{
	struct ethtool_rxfh size = { .cmd = ETHTOOL_GRSSH }, *full;
	struct ethtool_rxnfc udp = { .cmd = ETHTOOL_GRXFH, .flow_type = UDP_V4_FLOW };

	if (ask(fd, nic, &udp) && udp.data)
		snprintf(out->udp4_hash, sizeof(out->udp4_hash), "%s%s%s%s",
			 udp.data & RXH_IP_SRC ? "s" : "", udp.data & RXH_IP_DST ? "d" : "",
			 udp.data & RXH_L4_B_0_1 ? "f" : "", udp.data & RXH_L4_B_2_3 ? "n" : "");
	if (!ask(fd, nic, &size) || size.key_size > 512 || size.indir_size > 65536)
		return;
	full = calloc(1, sizeof(*full) + size.indir_size * 4 + size.key_size);
	if (full) {
		*full = (struct ethtool_rxfh){ .cmd = ETHTOOL_GRSSH,
					       .indir_size = size.indir_size,
					       .key_size = size.key_size };
		if (ask(fd, nic, full))
			set_key_symmetric(out, (uint8_t *)full->rss_config + size.indir_size * 4,
					  size.key_size);
	}
	free(full);
}

static void read_live(const char *nic, struct nic_driver *out)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (ask(fd, nic, &info))
		snprintf(out->name, sizeof(out->name), "%.*s", (int)sizeof(info.driver) - 1,
			 info.driver);
	ask_channels(fd, nic, out);
	ask_queueing(fd, nic, out);
	ask_features(fd, nic, out);
	ask_hash(fd, nic, out);
	close(fd);
}

void facts_read_driver(const char *root, const char *nic, struct nic_driver *out)
{
	*out = (struct nic_driver){ .channels = -1,
				    .channels_max = -1,
				    .ring = -1,
				    .ring_max = -1,
				    .adaptive = -1,
				    .usecs = -1,
				    .lro = -1,
				    .gro = -1,
				    .gro_hw = -1,
				    .gro_list = -1,
				    .udp_gro = -1,
				    .rx_hash = -1,
				    .pause_rx = -1,
				    .pause_tx = -1,
				    .is_symmetric = UNKNOWN };
	if (nic[0] == '\0')
		return;
	if (root[0])
		read_recorded(root, nic, out);
	else
		read_live(nic, out);
}
