/*
 * Each group of settings is a struct of the kernel's: get it, change a field, set it. Features are
 * bits, whose places the kernel tells by name.
 */
#include "tune/ethtool.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tune/files.h"

#define FEATURES_MOST	1024
#define HASH_KEY_MOST	512
#define HASH_TABLE_MOST 65536

union answer {
	uint32_t cmd;
	struct ethtool_channels channels;
	struct ethtool_ringparam rings;
	struct ethtool_coalesce coalesce;
	struct ethtool_pauseparam pause;
};

static const struct group {
	const char *name;
	uint32_t get, set;
} groups[] = {
	{ "channels", ETHTOOL_GCHANNELS, ETHTOOL_SCHANNELS },
	{ "rings", ETHTOOL_GRINGPARAM, ETHTOOL_SRINGPARAM },
	{ "coalesce", ETHTOOL_GCOALESCE, ETHTOOL_SCOALESCE },
	{ "pause", ETHTOOL_GPAUSEPARAM, ETHTOOL_SPAUSEPARAM },
};

enum { IS_NUMBER, IS_SWITCH, IS_FACT };

#define AT(member) offsetof(union answer, member)
static const struct field {
	const char *group, *key;
	size_t at;
	int kind;
} fields[] = {
	{ "channels", "rx", AT(channels.rx_count), IS_NUMBER },
	{ "channels", "tx", AT(channels.tx_count), IS_NUMBER },
	{ "channels", "other", AT(channels.other_count), IS_NUMBER },
	{ "channels", "combined", AT(channels.combined_count), IS_NUMBER },
	{ "channels", "max_rx", AT(channels.max_rx), IS_FACT },
	{ "channels", "max_tx", AT(channels.max_tx), IS_FACT },
	{ "channels", "max_combined", AT(channels.max_combined), IS_FACT },
	{ "rings", "rx", AT(rings.rx_pending), IS_NUMBER },
	{ "rings", "tx", AT(rings.tx_pending), IS_NUMBER },
	{ "rings", "rx_max", AT(rings.rx_max_pending), IS_FACT },
	{ "rings", "tx_max", AT(rings.tx_max_pending), IS_FACT },
	{ "coalesce", "rx_usecs", AT(coalesce.rx_coalesce_usecs), IS_NUMBER },
	{ "coalesce", "rx_frames", AT(coalesce.rx_max_coalesced_frames), IS_NUMBER },
	{ "coalesce", "tx_usecs", AT(coalesce.tx_coalesce_usecs), IS_NUMBER },
	{ "coalesce", "tx_frames", AT(coalesce.tx_max_coalesced_frames), IS_NUMBER },
	{ "coalesce", "adaptive_rx", AT(coalesce.use_adaptive_rx_coalesce), IS_SWITCH },
	{ "coalesce", "adaptive_tx", AT(coalesce.use_adaptive_tx_coalesce), IS_SWITCH },
	{ "pause", "autoneg", AT(pause.autoneg), IS_SWITCH },
	{ "pause", "rx", AT(pause.rx_pause), IS_SWITCH },
	{ "pause", "tx", AT(pause.tx_pause), IS_SWITCH },
};

/* ethtool(8) calls these otherwise than the kernel does. */
static const struct {
	const char *ours, *kernel;
} feature_names[] = {
	{ "generic-receive-offload", "rx-gro" },   { "large-receive-offload", "rx-lro" },
	{ "rx-vlan-offload", "rx-vlan-hw-parse" }, { "rx-checksumming", "rx-checksum" },
	{ "receive-hashing", "rx-hashing" },	   { "ntuple-filters", "rx-ntuple-filter" },
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* ---- one ioctl ---- */

/* @return 0 or more as the kernel does, -errno. */
static int ask(const char *interface, void *question)
{
	struct ifreq request = { 0 };
	int fd, err;

	if (strlen(interface) >= sizeof(request.ifr_name))
		return -ENODEV;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(request.ifr_name, interface, strlen(interface));
	request.ifr_data = question;
	err = ioctl(fd, SIOCETHTOOL, &request);
	if (err < 0)
		err = -errno;
	close(fd);
	return err;
}

static const struct group *group_find(const char *name)
{
	for (size_t i = 0; i < ROWS(groups); i++) {
		if (strcmp(groups[i].name, name) == 0)
			return &groups[i];
	}
	return NULL;
}

static const struct field *field_find(const char *group, const char *key)
{
	for (size_t i = 0; i < ROWS(fields); i++) {
		if (strcmp(fields[i].group, group) == 0 && strcmp(fields[i].key, key) == 0)
			return &fields[i];
	}
	return NULL;
}

static uint32_t *field_of(union answer *a, const struct field *f)
{
	return (uint32_t *)((char *)a + f->at);
}

static int field_read(const char *interface, const struct field *f, char *out, size_t size)
{
	union answer a = { .cmd = group_find(f->group)->get };
	int err = ask(interface, &a);

	if (err < 0)
		return err;
	if (f->kind == IS_SWITCH)
		return snprintf(out, size, "%s", *field_of(&a, f) ? "on" : "off");
	return snprintf(out, size, "%u", *field_of(&a, f));
}

static bool is_on(const char *value)
{
	return strcmp(value, "on") == 0;
}

static bool is_switch(const char *value)
{
	return is_on(value) || strcmp(value, "off") == 0;
}

static int number_of(const char *value, uint32_t *out)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || n > UINT32_MAX)
		return -EINVAL;
	*out = (uint32_t)n;
	return HT_OK;
}

static int field_value(const struct field *f, const char *value, uint32_t *out)
{
	if (f->kind == IS_NUMBER)
		return number_of(value, out);
	if (f->kind == IS_FACT || !is_switch(value))
		return -EINVAL;
	*out = is_on(value);
	return HT_OK;
}

static int field_write(const char *interface, const struct field *f, const char *value)
{
	const struct group *g = group_find(f->group);
	union answer a = { .cmd = g->get };
	uint32_t number = 0;
	int err = field_value(f, value, &number);

	if (err < 0)
		return err;
	err = ask(interface, &a);
	if (err < 0)
		return err;
	*field_of(&a, f) = number;
	a.cmd = g->set;
	err = ask(interface, &a);
	return err < 0 ? err : HT_OK;
}

/* ---- features ---- */

static int features_count(const char *interface)
{
	union {
		struct ethtool_sset_info info;
		char room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} q = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };
	int err = ask(interface, &q);
	uint32_t n;

	if (err < 0)
		return err;
	memcpy(&n, q.room + sizeof(q.info), sizeof(n));
	return q.info.sset_mask && n <= FEATURES_MOST ? (int)n : -EOPNOTSUPP;
}

static const char *kernel_name(const char *name)
{
	for (size_t i = 0; i < ROWS(feature_names); i++) {
		if (strcmp(feature_names[i].ours, name) == 0)
			return feature_names[i].kernel;
	}
	return name;
}

/* @param count  Of all features. @return the bit's number or -errno. */
static int feature_bit(const char *interface, const char *name, int *count)
{
	struct ethtool_gstrings *q;
	int bit = -EOPNOTSUPP, err;

	*count = features_count(interface);
	if (*count < 0)
		return *count;
	q = calloc(1, sizeof(*q) + (size_t)*count * ETH_GSTRING_LEN);
	if (!q)
		return -ENOMEM;
	q->cmd = ETHTOOL_GSTRINGS;
	q->string_set = ETH_SS_FEATURES;
	q->len = (uint32_t)*count;
	err = ask(interface, q);
	for (int i = 0; err >= 0 && i < *count; i++) {
		const char *at = (const char *)q->data + (size_t)i * ETH_GSTRING_LEN;

		if (strncmp(at, kernel_name(name), ETH_GSTRING_LEN) == 0)
			bit = i;
	}
	free(q);
	return err < 0 ? err : bit;
}

static int feature_read(const char *interface, const char *name, char *out, size_t size)
{
	struct ethtool_get_features_block b;
	struct ethtool_gfeatures *q;
	int count, bit = feature_bit(interface, name, &count), err;
	uint32_t mask, blocks;

	if (bit < 0)
		return bit;
	blocks = ((uint32_t)count + 31) / 32;
	q = calloc(1, sizeof(*q) + blocks * sizeof(q->features[0]));
	if (!q)
		return -ENOMEM;
	q->cmd = ETHTOOL_GFEATURES;
	q->size = blocks;
	err = ask(interface, q);
	b = q->features[bit / 32];
	free(q);
	if (err < 0)
		return err;
	mask = 1U << (bit % 32);
	return snprintf(out, size, "%s%s", b.active & mask ? "on" : "off",
			!(b.available & mask) || (b.never_changed & mask) ? " fixed" : "");
}

static int feature_write(const char *interface, const char *name, const char *value)
{
	struct ethtool_sfeatures *q;
	int count, bit = feature_bit(interface, name, &count), err;
	uint32_t blocks;

	if (bit < 0)
		return bit;
	if (!is_switch(value))
		return -EINVAL;
	blocks = ((uint32_t)count + 31) / 32;
	q = calloc(1, sizeof(*q) + blocks * sizeof(q->features[0]));
	if (!q)
		return -ENOMEM;
	q->cmd = ETHTOOL_SFEATURES;
	q->size = blocks;
	q->features[bit / 32].valid = 1U << (bit % 32);
	q->features[bit / 32].requested = is_on(value) ? 1U << (bit % 32) : 0;
	err = ask(interface, q);
	free(q);
	if (err < 0)
		return err;
	return err & ETHTOOL_F_UNSUPPORTED ? -EOPNOTSUPP : HT_OK;
}

/* ---- the driver ---- */

static int driver_read(const char *interface, const char *key, char *out, size_t size)
{
	struct ethtool_drvinfo q = { .cmd = ETHTOOL_GDRVINFO };
	int err = ask(interface, &q);

	if (err < 0)
		return err;
	if (strcmp(key, "driver") == 0)
		return snprintf(out, size, "%.*s", (int)sizeof(q.driver), q.driver);
	if (strcmp(key, "bus_info") == 0)
		return snprintf(out, size, "%.*s", (int)sizeof(q.bus_info), q.bus_info);
	return -EINVAL;
}

/* ---- how queues are chosen ---- */

/* Fields of a packet that its hash is made of, by ethtool(8)'s letters. */
static const struct {
	char letter;
	uint64_t bit;
} hash_fields[] = {
	{ 's', RXH_IP_SRC }, { 'd', RXH_IP_DST }, { 'f', RXH_L4_B_0_1 }, { 'n', RXH_L4_B_2_3 },
	{ 'v', RXH_VLAN },   { 'm', RXH_L2DA },	  { 't', RXH_L3_PROTO },
};

static const struct {
	const char *name;
	uint32_t type;
} flows[] = {
	{ "udp4", UDP_V4_FLOW },
	{ "udp6", UDP_V6_FLOW },
	{ "tcp4", TCP_V4_FLOW },
	{ "tcp6", TCP_V6_FLOW },
};

/* @return 0: there is no such flow */
static uint32_t flow_type(const char *name)
{
	for (size_t i = 0; i < ROWS(flows); i++) {
		if (strcmp(flows[i].name, name) == 0)
			return flows[i].type;
	}
	return 0;
}

/* @return false: a letter that we do not know, or none at all. */
static bool hash_bits(const char *letters, uint64_t *out)
{
	*out = 0;
	for (const char *c = letters; *c; c++) {
		size_t i = 0;

		while (i < ROWS(hash_fields) && hash_fields[i].letter != *c)
			i++;
		if (i == ROWS(hash_fields))
			return false;
		*out |= hash_fields[i].bit;
	}
	return *out != 0;
}

static int flow_read(const char *interface, const char *name, char *out, size_t size)
{
	struct ethtool_rxnfc q = { .cmd = ETHTOOL_GRXFH, .flow_type = flow_type(name) };
	int err = q.flow_type ? ask(interface, &q) : -EINVAL;
	size_t len = 0;

	if (err < 0)
		return err;
	for (size_t i = 0; i < ROWS(hash_fields); i++) {
		if (q.data & hash_fields[i].bit && len + 1 < size)
			out[len++] = hash_fields[i].letter;
	}
	out[len] = '\0';
	return len ? (int)len : -EOPNOTSUPP;
}

static int flow_write(const char *interface, const char *name, const char *letters)
{
	struct ethtool_rxnfc q = { .cmd = ETHTOOL_SRXFH, .flow_type = flow_type(name) };
	uint64_t bits;
	int err;

	if (!hash_bits(letters, &bits))
		return -EINVAL;
	q.data = bits;
	err = ask(interface, &q);
	return err < 0 ? err : HT_OK;
}

/* The key of the hash, in hexadecimal with a colon between octets. */
static int hash_key_read(const char *interface, char *out, size_t size)
{
	struct ethtool_rxfh q = { .cmd = ETHTOOL_GRSSH }, *full;
	size_t len = 0;
	const uint8_t *key;
	int err = ask(interface, &q);

	if (err < 0)
		return err;
	if (!q.key_size || q.key_size > HASH_KEY_MOST || q.indir_size > HASH_TABLE_MOST)
		return -EOPNOTSUPP;
	full = calloc(1, sizeof(*full) + q.indir_size * sizeof(uint32_t) + q.key_size);
	if (!full)
		return -ENOMEM;
	full->cmd = ETHTOOL_GRSSH;
	full->indir_size = q.indir_size;
	full->key_size = q.key_size;
	err = ask(interface, full);
	key = (const uint8_t *)(full->rss_config + q.indir_size);
	for (uint32_t i = 0; err >= 0 && i < q.key_size && len + 4 < size; i++)
		len += (size_t)snprintf(out + len, size - len, i ? ":%02x" : "%02x", key[i]);
	free(full);
	return err < 0 ? err : (int)len;
}

static int rxfh_read(const char *interface, const char *key, char *out, size_t size)
{
	return strcmp(key, "key") == 0 ? hash_key_read(interface, out, size) : -EOPNOTSUPP;
}

/* ---- recorded trees: lines of KEY=VALUE ---- */

/* @return where the value of @p key begins in @p text, or NULL. */
static char *line_find(char *text, const char *key)
{
	size_t n = strlen(key);

	for (char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		if (strncmp(at, key, n) == 0 && at[n] == '=')
			return at + n + 1;
	}
	return NULL;
}

/* @return the octets of the group's file in @p text, or -errno. */
static int recorded_group(const char *root, const char *interface, const char *group, char *path,
			  char text[FILE_VALUE])
{
	char dir[128];
	int n;

	snprintf(path, 160, "/ethtool/%.32s/%.32s", interface, group);
	n = file_value(root, path, text, FILE_VALUE);
	if (n != -ENOENT)
		return n;
	snprintf(dir, sizeof(dir), "/sys/class/net/%.32s/ifindex", interface);
	n = file_value(root, dir, text, FILE_VALUE);
	return n < 0 ? -ENODEV : -EOPNOTSUPP;
}

static int recorded_read(const char *root, const char *interface, const char *group,
			 const char *key, char *out, size_t size)
{
	char text[FILE_VALUE], path[160], *at;
	int err = recorded_group(root, interface, group, path, text);

	if (err < 0)
		return err;
	at = line_find(text, key);
	return at ? snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at) : -EOPNOTSUPP;
}

static int recorded_write(const char *root, const char *interface, const char *group,
			  const char *key, const char *value)
{
	char text[FILE_VALUE], changed[FILE_VALUE], path[160], *at;
	int err = recorded_group(root, interface, group, path, text);
	size_t old;

	if (err < 0)
		return err;
	at = line_find(text, key);
	if (!at)
		return -EOPNOTSUPP;
	old = strcspn(at, "\n");
	if (old > 6 && strncmp(at + old - 6, " fixed", 6) == 0)
		return -EOPNOTSUPP;
	snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, value, at + old);
	return file_write(root, path, changed);
}

/* ---- a setting ---- */

/* "GROUP/KEY" @return the key or NULL. */
static const char *split(const char *setting, char group[16])
{
	size_t n = strcspn(setting, "/");

	if (!setting[n] || n >= 16)
		return NULL;
	memcpy(group, setting, n);
	group[n] = '\0';
	return setting + n + 1;
}

/* Groups whose keys are not fields of a struct. */
static const struct special {
	const char *group;
	int (*read)(const char *interface, const char *key, char *out, size_t size);
	int (*write)(const char *interface, const char *key, const char *value); /* NULL: a fact */
} specials[] = {
	{ "features", feature_read, feature_write },
	{ "rxflow", flow_read, flow_write },
	{ "rxfh", rxfh_read, NULL },
	{ "driver", driver_read, NULL },
};

static const struct special *special_find(const char *group)
{
	for (size_t i = 0; i < ROWS(specials); i++) {
		if (strcmp(specials[i].group, group) == 0)
			return &specials[i];
	}
	return NULL;
}

int ethtool_read(const char *root, const char *interface, const char *setting, char *out,
		 size_t size)
{
	char group[16];
	const char *key = split(setting, group);
	const struct field *f = key ? field_find(group, key) : NULL;
	const struct special *s = key ? special_find(group) : NULL;

	if (!f && !s)
		return -EINVAL;
	if (root[0])
		return recorded_read(root, interface, group, key, out, size);
	return f ? field_read(interface, f, out, size) : s->read(interface, key, out, size);
}

static bool is_value(const char *group, const char *key, const struct field *f, const char *value)
{
	uint32_t number;
	uint64_t bits;

	if (f)
		return field_value(f, value, &number) == HT_OK;
	return strcmp(group, "features") == 0 ? is_switch(value)
					      : flow_type(key) && hash_bits(value, &bits);
}

int ethtool_write(const char *root, const char *interface, const char *setting, const char *value)
{
	char group[16];
	const char *key = split(setting, group);
	const struct field *f = key ? field_find(group, key) : NULL;
	const struct special *s = key ? special_find(group) : NULL;

	if ((!f && (!s || !s->write)) || !is_value(group, key, f, value))
		return -EINVAL;
	if (root[0])
		return recorded_write(root, interface, group, key, value);
	return f ? field_write(interface, f, value) : s->write(interface, key, value);
}
