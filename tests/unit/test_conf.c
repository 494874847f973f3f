/*
 * conf/conf.c and what is behind it. Runs from the root of the sources, where conf/heptap.yaml is.
 */
#include "conf/conf.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/options.h"
#include "conf/tree.h"
#include "conf/values.h"

#define SAMPLE	    "conf/heptap.yaml"
#define MANUAL	    "conf/man/heptap.yaml.5"
#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Text is kept until the next test, which is soon enough for a process that only tests. */
static char *kept[256];
static size_t kept_count;

static char *keep(char *text)
{
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_lt(kept_count, sizeof(kept) / sizeof(kept[0]));
	return kept[kept_count++] = text;
}

static void free_kept(void)
{
	while (kept_count > 0)
		free(kept[--kept_count]);
}

__attribute__((format(printf, 1, 2))) static char *text_of(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	ck_assert_int_ge(vasprintf(&text, format, args), 0);
	va_end(args);
	return keep(text);
}

/* What reading complains about; *out is NULL if it failed. */
static const char *read_bytes(const void *bytes, size_t len, struct conf **out)
{
	char *complaints = NULL;
	size_t size;
	FILE *f = open_memstream(&complaints, &size);
	int err;

	*out = NULL;
	err = conf_read_bytes("t", bytes, len, out, f);
	fclose(f);
	keep(complaints);
	ck_assert_int_eq(err, size ? HT_ECONF : HT_OK);
	ck_assert_int_eq(err == HT_OK, *out != NULL);
	return complaints;
}

static struct conf *read_good(const char *yaml)
{
	struct conf *conf;

	ck_assert_str_eq(read_bytes(yaml, strlen(yaml), &conf), "");
	return conf;
}

static const char *complaints_about(const char *yaml)
{
	struct conf *conf;
	const char *complaints = read_bytes(yaml, strlen(yaml), &conf);

	conf_free(conf);
	return complaints;
}

static char *print_of(const struct conf *conf)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	conf_print(conf, f);
	fclose(f);
	return keep(text);
}

/* Reading what was printed makes the same again. */
static void check_round_trip(const char *yaml)
{
	struct conf *first = read_good(yaml);
	char *text = print_of(first);
	struct conf *second = read_good(text);
	const struct conf_option *o;

	ck_assert_str_eq(print_of(second), text);
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		const struct conf_group *g;

		if (conf_option_group(o) < 0) {
			ck_assert_msg(field_is_equal(o, first, second), "%s", o->key);
			continue;
		}
		g = conf_group_at((size_t)conf_option_group(o));
		for (size_t n = 0; n < conf_group_count(g, first); n++)
			ck_assert_msg(field_is_equal(o, conf_group_entry(g, first, n),
						     conf_group_entry(g, second, n)),
				      "%s", o->key);
	}
	conf_free(first);
	conf_free(second);
}

/*
 * What an entry of `capture` or `filters` needs beside the option, so that it is one.
 */
static const char *beside(const char *key, const char *value)
{
	bool is_empty = strcmp(value, "''") == 0;

	if (strncmp(key, "filters[].", strlen("filters[].")) == 0)
		return strcmp(key, "filters[].when") == 0 ? "" : "when: is_reply, ";
	if (strncmp(key, "capture[].", strlen("capture[].")) != 0)
		return "";
	if (strcmp(key, "capture[].interface") == 0)
		return is_empty ? "file: f, " : "";
	if (strcmp(key, "capture[].file") == 0)
		return is_empty ? "interface: e, " : "";
	return "interface: e, ";
}

/*
 * YAML on one line with one option set: "{storage: {spool: {max: 1G}}}". *column is where the value
 * begins.
 */
static char *yaml_with(const char *key, const char *value, size_t *column)
{
	char text[256] = "{", close[64] = "}", *end = text + 1;

	for (const char *c = key; *c; c++) {
		if (strncmp(c, "[].", 3) == 0) {
			end = stpcpy(stpcpy(end, ": [{"), beside(key, value));
			memmove(close + 2, close, strlen(close) + 1);
			memcpy(close, "}]", 2);
			c += 2;
		} else if (*c == '.') {
			end = stpcpy(end, ": {");
			memmove(close + 1, close, strlen(close) + 1);
			close[0] = '}';
		} else if (strcmp(c, "[]") == 0) {
			break;
		} else {
			*end++ = *c;
			*end = '\0';
		}
	}
	end = stpcpy(end, ": ");
	*column = (size_t)(end - text) + 1;
	return text_of("%s%s%s\n", text, value, close);
}

static void check_taken(const struct conf_option *o, const char *value)
{
	size_t column;
	const char *yaml = yaml_with(o->key, value, &column);

	ck_assert_str_eq(complaints_about(yaml), "");
	if (!o->is_secret)
		check_round_trip(yaml);
}

static void check_refused(const struct conf_option *o, const char *value, const char *expected)
{
	size_t column;
	const char *yaml = yaml_with(o->key, value, &column);

	if (o->is_secret)
		expected = text_of("t:1:%zu: %s: %s\n", column, o->key, expected);
	else
		expected =
			text_of("t:1:%zu: %s: %s, not '%.60s'\n", column, o->key, expected, value);
	ck_assert_str_eq(complaints_about(yaml), expected);
}

/* Defaults. */

static void check_default_listener(const struct conf_listener *l)
{
	static const char *const nets[] = { "127.0.0.0/8",    "10.0.0.0/8", "172.16.0.0/12",
					    "192.168.0.0/16", "::1",	    "fc00::/7" };
	const struct sockaddr_in *in = (const struct sockaddr_in *)&l->listen[0].addr;
	char *text = text_of("{hep: [{allow: ['%s', '%s', '%s', '%s', '%s', '%s']}]}", nets[0],
			     nets[1], nets[2], nets[3], nets[4], nets[5]);
	struct conf *written = read_good(text);

	ck_assert_str_eq(l->name, "agents");
	ck_assert_uint_eq(l->listen_count, 2);
	ck_assert_str_eq(l->listen[0].text, "udp:0.0.0.0:9060");
	ck_assert(!l->listen[0].is_stream);
	ck_assert_str_eq(l->listen[1].text, "tcp:0.0.0.0:9060");
	ck_assert(l->listen[1].is_stream);
	ck_assert_uint_eq(l->listen[0].addr_len, sizeof(*in));
	ck_assert_int_eq(in->sin_family, AF_INET);
	ck_assert_uint_eq(in->sin_addr.s_addr, INADDR_ANY);
	ck_assert_uint_eq(ntohs(in->sin_port), 9060);
	ck_assert_uint_eq(l->allow_count, 6);
	ck_assert_mem_eq(l->allow, written->hep[0].allow, 6 * sizeof(l->allow[0]));
	ck_assert_uint_eq(l->keys.count, 0);
	conf_free(written);
}

static void check_default_storage(const struct conf *conf)
{
	ck_assert_str_eq(conf->storage.host, "localhost");
	ck_assert_uint_eq(conf->storage.port, 3306);
	ck_assert_str_eq(conf->storage.socket, "");
	ck_assert_str_eq(conf->storage.user, "homeruser");
	ck_assert_str_eq(conf->storage.password, "");
	ck_assert_str_eq(conf->storage.password_file, "");
	ck_assert_str_eq(conf->storage.database, "homer_db");
	ck_assert_str_eq(conf->storage.table, "sip_capture");
	ck_assert_int_eq(conf->storage.compat, CONF_COMPAT_HOMER);
	ck_assert_uint_eq(conf->storage.batch_rows, 1000);
	ck_assert_uint_eq(conf->storage.batch_ms, 20);
	ck_assert_uint_eq(conf->storage.writers, 0);
	ck_assert_int_eq(conf->storage.partition, CONF_PARTITION_DAY);
	ck_assert_uint_eq(conf->storage.retention_days, 10);
	ck_assert_uint_eq(conf->storage.retention_bytes, 0);
	ck_assert_str_eq(conf->storage.spool.dir, "/var/spool/heptap");
	ck_assert_uint_eq(conf->storage.spool.max, UINT64_C(20) << 30);
	ck_assert_int_eq(conf->storage.spool.durability, CONF_DURABILITY_SPOOL);
}

static void check_defaults(const struct conf *conf)
{
	ck_assert_str_eq(conf->node, "node1");
	ck_assert_uint_eq(conf->node_id, 1);
	ck_assert_str_eq(conf->user, "heptap");
	ck_assert_uint_eq(conf->hep_threads, 0);
	ck_assert_uint_eq(conf->memory, UINT64_C(1) << 30);
	ck_assert_uint_eq(conf->max_clock_skew, 300);
	ck_assert_uint_eq(conf->hep_count, 1);
	check_default_listener(&conf->hep[0]);
	ck_assert_uint_eq(conf->filter_count, 0);
	ck_assert_str_eq(conf->default_action, "store");
	ck_assert_uint_eq(conf->legs.count, 1);
	ck_assert_str_eq(conf->legs.at[0], "X-CID");
	ck_assert_uint_eq(conf->custom_fields.count, 0);
	check_default_storage(conf);
	ck_assert_str_eq(conf->http.listen.text, "127.0.0.1:9080");
	ck_assert_str_eq(conf->http.token_file, "");
	ck_assert_uint_eq(conf->events.receiver_count, 0);
	ck_assert_uint_eq(conf->events.agent_silent, 300);
	ck_assert_int_eq(conf->log.level, LOG_LEVEL_INFO);
	ck_assert_int_eq(conf->log.target, LOG_TARGET_STDERR);
}

START_TEST(no_file_is_all_defaults)
{
	struct conf *conf;

	ck_assert_int_eq(conf_read(NULL, &conf, NULL), HT_OK);
	ck_assert_str_eq(conf->file, "");
	check_defaults(conf);
	conf_free(conf);
}
END_TEST

static const char *const empty_files[] = {
	"",
	"\n",
	"# nothing\n",
	"---\n",
	"{}\n",
	"---\n...\n",
	"\357\273\277# with a byte order mark\n",
	"storage:\nhttp:\n",
	"storage:\n  spool:\n",
};

START_TEST(file_with_nothing_in_it_is_all_defaults)
{
	struct conf *conf = read_good(empty_files[_i]);

	ck_assert_str_eq(conf->file, "t");
	check_defaults(conf);
	conf_free(conf);
}
END_TEST

/* One test per row of the table: bounds and kinds. */

static size_t option_count(void)
{
	size_t n = 0;

	while (conf_option_at(n))
		n++;
	return n;
}

START_TEST(default_may_be_written)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	char *value = text_of("%s", o->value), *list = text_of("['"), *word;

	if (o->type == CONF_CONDITION)
		return; /* the one that has to be written */
	if (!conf_option_is_list(o)) {
		check_taken(o, text_of("'%s'", value));
		return;
	}
	for (size_t n = 0; (word = strsep(&value, " ")) && *word; n++)
		list = text_of("%s%s%s'", list, n ? ", '" : "", word);
	check_taken(o, strlen(list) > 2 ? text_of("%s]", list) : "[]");
}
END_TEST

static const char *expected_number(const struct conf_option *o)
{
	if (o->type == CONF_TIME)
		return text_of("expected a time from %ju to %ju %s", (uintmax_t)o->min,
			       (uintmax_t)o->max, o->unit);
	return text_of("expected a number from %ju to %ju", (uintmax_t)o->min, (uintmax_t)o->max);
}

/* A number in a list stands alone in it; its place is behind the bracket. */
static void check_numbers(const struct conf_option *o)
{
	static const char *const never[] = { "-1", "0x10", "one", "1 0", "99999999999999999999" };
	const char *expected = expected_number(o);
	const char *least = text_of("%ju", (uintmax_t)o->min - 1);
	const char *most = text_of("%ju", (uintmax_t)o->max + 1), *value;
	size_t column;

	check_taken(o, text_of("[%ju, %ju]", (uintmax_t)o->min, (uintmax_t)o->max));
	for (size_t i = 0; i < 2 + sizeof(never) / sizeof(never[0]); i++) {
		const char *yaml;

		value = i == 0 ? least : i == 1 ? most : never[i - 2];
		yaml = yaml_with(o->key, text_of("[%s]", value), &column);
		ck_assert_str_eq(complaints_about(yaml),
				 text_of("t:1:%zu: %s: %s, not '%s'\n", column + 1, o->key,
					 expected, value));
	}
}

static void check_number(const struct conf_option *o)
{
	static const char *const never[] = {
		"''",  "-1",  "+1",  "0x10", "1.5",  "1e3", "1_000",
		"007", "one", "1 0", "1K",   "true", "NaN", "99999999999999999999"
	};
	const char *expected = expected_number(o);

	check_taken(o, text_of("%ju", (uintmax_t)o->min));
	check_taken(o, text_of("%ju", (uintmax_t)o->max));
	check_refused(o, text_of("%ju", (uintmax_t)o->max + 1), expected);
	if (o->min > 0)
		check_refused(o, text_of("%ju", (uintmax_t)o->min - 1), expected);
	for (size_t i = 1; i < sizeof(never) / sizeof(never[0]); i++)
		check_refused(o, never[i], expected);
}

static void check_size(const struct conf_option *o, const char *expected)
{
	check_taken(o, text_of("%ju", (uintmax_t)o->min));
	check_taken(o, text_of("%ju", (uintmax_t)o->max));
	check_refused(o, text_of("%ju", (uintmax_t)o->max + 1), expected);
	check_refused(o, o->min ? text_of("%ju", (uintmax_t)o->min - 1) : "-1", expected);
	check_refused(o, "1X", expected);
	check_refused(o, "1GB", expected);
	check_refused(o, "1g", expected);
	check_refused(o, "G", expected);
	check_refused(o, "18014398509481985K", expected); /* 2^64 + 1024 */
	check_refused(o, "99999999999999999999", expected);
}

static const char *octets(uint64_t n)
{
	char *text = text_of("%*s", (int)n, "");

	memset(text, 'x', n);
	return text;
}

/* The value is alone in the list if there is one, so only the column differs. */
static void check_string(const struct conf_option *o, const char *expected)
{
	bool is_list = conf_option_is_list(o);
	const char *too_long = octets(o->max + 1), *yaml;
	size_t column;

	check_taken(o, text_of(is_list ? "[%s]" : "%s", octets(o->max)));
	if (o->min)
		check_taken(o, text_of(is_list ? "[%s]" : "%s", octets(o->min)));
	yaml = yaml_with(o->key, text_of(is_list ? "[%s]" : "%s", too_long), &column);
	expected = text_of("t:1:%zu: %s: %s", column + is_list, o->key, expected);
	if (!o->is_secret)
		expected = text_of("%s, not '%.60s'", expected, too_long);
	ck_assert_str_eq(complaints_about(yaml), text_of("%s\n", expected));
	if (!o->min)
		return;
	yaml = yaml_with(o->key, is_list ? "['']" : "''", &column);
	ck_assert_ptr_nonnull(strstr(complaints_about(yaml),
				     text_of("t:1:%zu: %s: expected ", column + is_list, o->key)));
}

static void check_words(const struct conf_option *o)
{
	char *words = text_of("%s", o->words), *word;

	while ((word = strsep(&words, "|")))
		check_taken(o, conf_option_is_list(o) ? text_of("[%s]", word) : word);
	if (conf_option_is_list(o)) {
		size_t column;
		const char *yaml = yaml_with(o->key, "[no]", &column);

		ck_assert_str_eq(complaints_about(yaml),
				 text_of("t:1:%zu: %s: expected one of %s, not 'no'\n", column + 1,
					 o->key, o->words));
		return;
	}
	check_refused(o, "no", text_of("expected one of %s", o->words));
	check_refused(o, "Homer", text_of("expected one of %s", o->words));
	check_refused(o, text_of("%.2s", o->words), text_of("expected one of %s", o->words));
	check_refused(o, o->words, text_of("expected one of %s", o->words));
}

static void check_ring(const struct conf_option *o)
{
	static const char *const never[] = { "-1", "16385M", "17179869185", "1X", "G" };
	size_t column;
	const char *yaml;

	check_taken(o, "0");
	check_taken(o, "1M");
	check_taken(o, "16G");
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		check_refused(o, never[i], "expected a size from 0 to 16G");
	yaml = yaml_with(o->key, "1048575", &column);
	ck_assert_str_eq(
		complaints_about(yaml),
		text_of("t:1:%zu: %s: expected 0, or a size from 1M on\n", column, o->key));
}

/* Any filter may be as long as the bound; libpcap has its own words for what it does not know. */
static void check_bpf(const struct conf_option *o)
{
	char *longest = text_of("udp%*sport 5060", (int)o->max - 12, "");
	const char *yaml, *complaints;
	size_t column;

	check_taken(o, "udp port 5060 or (vlan and udp port 5060)");
	check_taken(o, longest);
	check_refused(o, text_of("udp%*sport 5060", (int)o->max - 11, ""),
		      text_of("expected a packet filter of at most %ju octets", (uintmax_t)o->max));
	yaml = yaml_with(o->key, "udp prot 5060", &column);
	complaints = complaints_about(yaml);
	ck_assert_msg(
		strstr(complaints,
		       text_of("t:1:%zu: %s: expected a packet filter of at most 4096 octets, "
			       "not 'udp prot 5060': ",
			       column, o->key)) == complaints &&
			strstr(complaints, "syntax error"),
		"%s", complaints);
	yaml = yaml_with(o->key, "tcp and udp", &column);
	complaints = complaints_about(yaml);
	ck_assert_msg(strstr(complaints, "rejects all packets"), "%s", complaints);
}

/* Complaints say what is wrong where it is, which is within the value. */
static void check_mistake(const struct conf_option *o, const char *value, size_t offset,
			  const char *mistake)
{
	size_t column;
	const char *yaml = yaml_with(o->key, value, &column);

	ck_assert_str_eq(complaints_about(yaml),
			 text_of("t:1:%zu: %s: %s\n", column + offset, o->key, mistake));
}

static void check_condition(const struct conf_option *o)
{
	check_taken(o, "is_reply");
	check_taken(o, "'ruri == ''x'' && header(\"Y\") =~ \"\\d\"'");
	check_taken(o, text_of("is_reply%*s&& is_reply", (int)o->max - 19, ""));
	check_mistake(o, text_of("is_reply%*s&& is_reply", (int)o->max - 18, ""), o->max,
		      "a condition has at most 4096 octets");
	check_mistake(o, "''", 0, "expected a condition");
	check_mistake(o, "'is_reply && '", 13, "expected a field, ! or (, but it ends here");
}

static void check_leg(const struct conf_option *o)
{
	static const char *const taken[] = {
		"X-CID",
		"session-id",
		"P-Charging-Vector",
		"shared X-Global-Call",
		"'  shared   X-Global-Call  '",
		"shared", /* a header of that name */
		"'shared =~ \"x\"'",
		"Shared",
		"'X-Corr=~''^([^;]+)'''",
		"'Call-ID =~ \"^(.+)_b2b-[0-9]+$\"'",
		"'shared Session-ID =~ \"remote=([0-9a-f]+)\"'",
	};

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		check_taken(o, text_of("[%s]", taken[i]));
	check_taken(o, text_of("[%s]", octets(64)));
	check_taken(o, text_of("['X =~ \"%s\"']", octets(o->max - 7)));
	check_mistake(o, text_of("['X =~ \"%s\"']", octets(o->max - 6)), 1,
		      text_of("expected a header, perhaps with =~ \"EXPRESSION\", of at most 1024 "
			      "octets, not 'X =~ \"%.54s'",
			      octets(54)));
}

static void check_action(const struct conf_option *o)
{
	static const char *const actions[] = { "store", "drop", "sample 0.5%", "limit 7/s" };

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		check_taken(o, actions[i]);
	check_mistake(o, "keep", 0, "expected store, drop, sample N% or limit N/s");
	check_mistake(o, "limit 10/m", 8, "expected /s and then the end");
}

START_TEST(bounds_are_taken_and_nothing_beyond)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	uintmax_t min = o->min, max = o->max;

	if (o->type == CONF_NUMBER && conf_option_is_list(o))
		check_numbers(o);
	else if (o->type == CONF_NUMBER || o->type == CONF_TIME)
		check_number(o);
	else if (strcmp(o->key, "memory") == 0)
		check_size(o, "expected a size from 64M to 1T");
	else if (strcmp(o->key, "storage.spool.max") == 0)
		check_size(o, "expected a size from 16M to 1024T");
	else if (strcmp(o->key, "storage.retention_bytes") == 0)
		check_size(o, "expected a size from 0 to 1024T");
	else if (strcmp(o->key, "capture[].ring") == 0)
		check_ring(o);
	else if (o->type == CONF_BPF)
		check_bpf(o);
	else if (o->type == CONF_CONDITION)
		check_condition(o);
	else if (o->type == CONF_ACTION)
		check_action(o);
	else if (o->type == CONF_LEG)
		check_leg(o);
	else if (o->type == CONF_WORD)
		check_words(o);
	else if (o->type == CONF_HEADER)
		check_string(o, "expected the name of a header, at most 64 octets");
	else if (o->type == CONF_IDENTIFIER && !min)
		check_string(o, "expected at most 64 letters, digits, _ or $");
	else if (o->type == CONF_IDENTIFIER)
		check_string(o, "expected 1 to 64 letters, digits, _ or $");
	else if (o->type == CONF_STRING && min)
		check_string(o, text_of("expected a string of %ju to %ju octets", min, max));
	else if (o->type == CONF_STRING)
		check_string(o, text_of("expected a string of at most %ju octets", max));
	else
		ck_assert_msg(o->type >= CONF_LISTEN, "%s: nothing tests this type", o->key);
}
END_TEST

START_TEST(other_kinds_of_values_are_refused)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	char expects[256];
	size_t column;
	const char *yaml, *other;

	if (conf_option_is_list(o)) {
		other = "expected a list in [ ], not a single value";
		yaml = yaml_with(o->key, "x", &column);
	} else {
		other = text_of("expected %s, not a list",
				value_expects(o, expects, sizeof(expects)));
		yaml = yaml_with(o->key, "[x]", &column);
	}
	ck_assert_str_eq(complaints_about(yaml),
			 text_of("t:1:%zu: %s: %s\n", column, o->key, other));
	yaml = yaml_with(o->key, "{x: y}", &column);
	ck_assert_ptr_nonnull(strstr(complaints_about(yaml), ", not a section\n"));
}
END_TEST

START_TEST(list_takes_as_many_as_it_can_and_no_more)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	const char *head = "X-", *list = "";
	size_t column;

	if (!conf_option_is_list(o))
		return;
	if (o->type == CONF_LISTEN || o->type == CONF_RECEIVER)
		head = "udp:[::1]:";
	else if (o->type == CONF_NET)
		head = "192.0.2.";
	else if (o->type == CONF_NUMBER)
		head = "";
	for (size_t i = 1; i <= o->count_max; i++)
		list = o->type == CONF_WORD
			       ? text_of("%s%s%.*s", list, i > 1 ? ", " : "",
					 (int)strcspn(o->words, "|"), o->words)
			       : text_of("%s%s'%s%zu'", list, i > 1 ? ", " : "", head, i);
	check_taken(o, text_of("[%s]", list));
	ck_assert_str_eq(complaints_about(yaml_with(o->key, text_of("[%s, x]", list), &column)),
			 text_of("t:1:%zu: %s: expected a list of %zu to %zu, not of %zu\n", column,
				 o->key, o->count_min, o->count_max, o->count_max + 1));
	if (o->count_min == 0)
		return;
	ck_assert_str_eq(complaints_about(yaml_with(o->key, "[]", &column)),
			 text_of("t:1:%zu: %s: expected a list of 1 to %zu, not of 0\n", column,
				 o->key, o->count_max));
}
END_TEST

/* Rows themselves. */

START_TEST(row_is_complete)
{
	const struct conf_option *o = conf_option_at((size_t)_i), *other;

	ck_assert_ptr_nonnull(o->key);
	ck_assert_ptr_nonnull(o->value);
	ck_assert_ptr_nonnull(o->help);
	ck_assert_ptr_nonnull(o->unit);
	ck_assert_uint_le(o->min, o->max);
	ck_assert_int_eq(o->type == CONF_WORD, o->words != NULL);
	ck_assert_int_eq(conf_option_is_list(o), strcmp(o->key + strlen(o->key) - 2, "[]") == 0);
	ck_assert_int_ne(o->help[strlen(o->help) - 1], '.');
	for (size_t i = 0; (other = conf_option_at(i)); i++) {
		if (i == (size_t)_i)
			continue;
		ck_assert_str_ne(other->key, o->key);
		ck_assert(other->offset != o->offset ||
			  conf_option_group(o) != conf_option_group(other));
	}
}
END_TEST

START_TEST(reload_is_enough_for_some_keys)
{
	static const char *const reload[] = { "max_clock_skew",
					      "hep[].allow[]",
					      "hep[].keys[]",
					      "hep[].max_rate",
					      "hep[].max_connections",
					      "hep[].first_message_timeout",
					      "hep[].message_timeout",
					      "hep[].idle_timeout",
					      "filters[].name",
					      "filters[].when",
					      "filters[].action",
					      "filters[].table",
					      "filters[].scope",
					      "default_action",
					      "legs[]",
					      "custom_fields[]",
					      "duplicates.window",
					      "events.receivers[]",
					      "events.agent_silent",
					      "log.level" };
	const struct conf_option *o;
	size_t n = 0;

	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		if (o->when == CONF_RELOAD)
			ck_assert_str_eq(o->key, reload[n++]);
	}
	ck_assert_uint_eq(n, sizeof(reload) / sizeof(reload[0]));
}
END_TEST

/* Single values. */

START_TEST(sizes_and_times_take_suffixes)
{
	struct conf *conf = read_good("memory: 65536K\nmax_clock_skew: 2h\n"
				      "storage: {batch_ms: 1s, spool: {max: 3T}}\n");

	ck_assert_uint_eq(conf->memory, 64 << 20);
	ck_assert_uint_eq(conf->max_clock_skew, 7200);
	ck_assert_uint_eq(conf->storage.batch_ms, 1000);
	ck_assert_uint_eq(conf->storage.spool.max, UINT64_C(3) << 40);
	conf_free(conf);
	conf = read_good("memory: 70000000\nmax_clock_skew: 5m\nstorage: {batch_ms: 7ms, spool: "
			 "{max: 100M}}\n");
	ck_assert_uint_eq(conf->memory, 70000000);
	ck_assert_uint_eq(conf->max_clock_skew, 300);
	ck_assert_uint_eq(conf->storage.batch_ms, 7);
	ck_assert_uint_eq(conf->storage.spool.max, 100 << 20);
	conf_free(conf);
	conf = read_good("max_clock_skew: 3000ms\n");
	ck_assert_uint_eq(conf->max_clock_skew, 3);
	conf_free(conf);
}
END_TEST

START_TEST(addresses_are_ready_to_bind)
{
	struct conf *conf =
		read_good("hep: [{listen: ['udp:[2001:db8::1]:9061', udp:192.0.2.1:1]}]\n"
			  "http: {listen: '[::]:65535'}\n");
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&conf->hep[0].listen[0].addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&conf->hep[0].listen[1].addr;
	char text[INET6_ADDRSTRLEN];

	ck_assert_uint_eq(conf->hep[0].listen_count, 2);
	ck_assert_int_eq(in6->sin6_family, AF_INET6);
	ck_assert_uint_eq(ntohs(in6->sin6_port), 9061);
	ck_assert_str_eq(inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)), "2001:db8::1");
	ck_assert_uint_eq(conf->hep[0].listen[0].addr_len, sizeof(*in6));
	ck_assert_int_eq(in->sin_family, AF_INET);
	ck_assert_uint_eq(ntohs(in->sin_port), 1);
	ck_assert_uint_eq(ntohl(in->sin_addr.s_addr), 0xc0000201);
	in6 = (const struct sockaddr_in6 *)&conf->http.listen.addr;
	ck_assert_int_eq(in6->sin6_family, AF_INET6);
	ck_assert_uint_eq(ntohs(in6->sin6_port), 65535);
	conf_free(conf);
}
END_TEST

START_TEST(listeners_take_defaults_one_by_one)
{
	struct conf *conf = read_good(
		"hep:\n  - listen: [udp:10.0.0.1:9060]\n    keys: [a, b]\n"
		"  - name: other\n    listen: [udp:10.0.0.2:9060]\n    allow: [10.0.0.9]\n");

	ck_assert_uint_eq(conf->hep_count, 2);
	ck_assert_str_eq(conf->hep[0].name, "agents");
	ck_assert_uint_eq(conf->hep[0].allow_count, 6);
	ck_assert_uint_eq(conf->hep[0].keys.count, 2);
	ck_assert_str_eq(conf->hep[0].keys.at[1], "b");
	ck_assert_str_eq(conf->hep[1].name, "other");
	ck_assert_uint_eq(conf->hep[1].allow_count, 1);
	ck_assert_uint_eq(conf->hep[1].keys.count, 0);
	conf_free(conf);
}
END_TEST

/* One row per thing that can be wrong: YAML and every byte of the complaints. */
#define ENDPOINT "expected udp:ADDRESS:PORT or tcp:ADDRESS:PORT (IPv6 in brackets), not "
#define FIELD	 "expected a field, ! or (, not "
#define NAMES	 ": ADDRESS is IPv4 or [IPv6], names are not resolved\n"
#define NET	 "expected an address, or a network such as 10.0.0.0/8, not "
#define HERE                                                                                \
	"node, node_id, user, hep_threads, memory, max_clock_skew, hep, capture, filters, " \
	"default_action, legs, "                                                            \
	"custom_fields, duplicates, tables, "                                               \
	"storage, "                                                                         \
	"tune, http, events, log\n"

/* clang-format off */
static const struct {
	const char *yaml, *complaints;
} mistakes[] = {
	/* Addresses. */
	{ "hep: [{listen: [tls:0.0.0.0:9060]}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'tls:0.0.0.0:9060': this version takes udp and tcp\n" },
	{ "hep: [{listen: [0.0.0.0:9060]}]",
	  "t:1:17: hep[].listen[]: " ENDPOINT "'0.0.0.0:9060'\n" },
	{ "hep: [{listen: [udp:9060]}]", "t:1:17: hep[].listen[]: " ENDPOINT "'udp:9060'\n" },
	{ "hep: [{listen: [udp:0.0.0.0:0]}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'udp:0.0.0.0:0': the port is 1 to 65535\n" },
	{ "hep: [{listen: [udp:0.0.0.0:65536]}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'udp:0.0.0.0:65536': the port is 1 to 65535\n" },
	{ "hep: [{listen: ['udp:0.0.0.0:']}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'udp:0.0.0.0:': the port is 1 to 65535\n" },
	{ "hep: [{listen: [udp:a.example:9060]}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'udp:a.example:9060'" NAMES },
	{ "hep: [{listen: ['udp:::1:9060']}]",
	  "t:1:17: hep[].listen[]: " ENDPOINT "'udp:::1:9060'" NAMES },
	{ "hep: [{listen: ['udp:[::1:9060']}]",
	  "t:1:17: hep[].listen[]: " ENDPOINT "'udp:[::1:9060'\n" },
	{ "hep: [{listen: ['udp:[:9060']}]", "t:1:17: hep[].listen[]: " ENDPOINT "'udp:[:9060'\n" },
	{ "hep: [{listen: ['udp:[]:9060']}]",
	  "t:1:17: hep[].listen[]: " ENDPOINT "'udp:[]:9060'" NAMES },
	{ "hep: [{listen: ['udp:[1.2.3.4]:9060']}]", "t:1:17: hep[].listen[]: " ENDPOINT
	  "'udp:[1.2.3.4]:9060'" NAMES },
	{ "http: {listen: localhost:80}",
	  "t:1:16: http.listen: expected ADDRESS:PORT (IPv6 in brackets), "
	  "not 'localhost:80'" NAMES },
	{ "http: {listen: '9080'}",
	  "t:1:16: http.listen: expected ADDRESS:PORT (IPv6 in brackets), "
	  "not '9080'\n" },
	{ "http: {listen: ''}",
	  "t:1:16: http.listen: expected ADDRESS:PORT (IPv6 in brackets), not ''\n" },
	{ "events: {receivers: [tcp:1.2.3.4:1]}", "t:1:22: events.receivers[]: expected "
	  "udp:ADDRESS:PORT (IPv6 in brackets), not 'tcp:1.2.3.4:1'\n" },
	{ "events: {receivers: [udp:localhost:1]}", "t:1:22: events.receivers[]: expected "
	  "udp:ADDRESS:PORT (IPv6 in brackets), not 'udp:localhost:1'" NAMES },
	/* Networks. */
	{ "hep: [{allow: [home]}]", "t:1:16: hep[].allow[]: " NET "'home'\n" },
	{ "hep: [{allow: [10.0.0]}]", "t:1:16: hep[].allow[]: " NET "'10.0.0'\n" },
	{ "hep: [{allow: [10.0.0.0/33]}]", "t:1:16: hep[].allow[]: " NET
	  "'10.0.0.0/33': the prefix is 0 to 32\n" },
	{ "hep: [{allow: ['::/129']}]",
	  "t:1:16: hep[].allow[]: " NET "'::/129': the prefix is 0 to 128\n" },
	{ "hep: [{allow: [10.0.0.0/]}]",
	  "t:1:16: hep[].allow[]: " NET "'10.0.0.0/': the prefix is 0 to 32\n" },
	{ "hep: [{allow: [10.0.0.0/08]}]", "t:1:16: hep[].allow[]: " NET
	  "'10.0.0.0/08': the prefix is 0 to 32\n" },
	{ "hep: [{allow: [10.1.2.3/8]}]", "t:1:16: hep[].allow[]: " NET
	  "'10.1.2.3/8': bits are set behind the prefix, the network is 10.0.0.0/8\n" },
	{ "hep: [{allow: [10.0.0.129/25]}]", "t:1:16: hep[].allow[]: " NET
	  "'10.0.0.129/25': bits are set behind the prefix, the network is 10.0.0.128/25\n" },
	{ "hep: [{allow: ['fe80::1/10']}]", "t:1:16: hep[].allow[]: " NET
	  "'fe80::1/10': bits are set behind the prefix, the network is fe80::/10\n" },
	{ "hep: [{allow: ['1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19']}]",
	  "t:1:16: hep[].allow[]: " NET
	  "'1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19'\n" },
	/* Text. */
	{ "legs: ['X CID']", "t:1:11: legs[]: expected =~ or nothing more, not CID\n" },
	{ "legs: ['X:']", "t:1:10: legs[]: expected =~ or nothing more, not :\n" },
	{ "legs: ['']", "t:1:9: legs[]: expected the name of a header, but it ends here\n" },
	{ "legs: [' ']", "t:1:10: legs[]: expected the name of a header, but it ends here\n" },
	{ "legs: ['=~ \"a\"']", "t:1:9: legs[]: expected the name of a header, not =~ \"a\"\n" },
	{ "legs: [a, shared X-1 X-2]", "t:1:22: legs[]: expected =~ or nothing more, not X-2\n" },
	{ "legs: ['shared X-1 == \"a\"']",
	  "t:1:20: legs[]: expected =~ or nothing more, not == \"a\"\n" },
	{ "legs: ['X-1 =~']",
	  "t:1:15: legs[]: expected an expression in quotes, but it ends here\n" },
	{ "legs: ['X-1 =~ a']", "t:1:16: legs[]: expected an expression in quotes, not a\n" },
	{ "legs: ['X-1 =~ \"a']", "t:1:16: legs[]: this quote is not closed\n" },
	{ "legs: ['X-1 =~ \"\"']", "t:1:16: legs[]: the expression is empty\n" },
	{ "legs: ['X-1 =~ \"a\" b']", "t:1:20: legs[]: expected nothing more, not b\n" },
	{ "legs: ['X-1 =~ \"(a\"']", "t:1:19: legs[]: missing closing parenthesis\n" },
	{ "legs: ['X-1 =~ \"a[\"', X-2, '!?']",
	  "t:1:19: legs[]: missing terminating ] for character class\n"
	  "t:1:30: legs[]: expected =~ or nothing more, not ?\n" },
	{ "legs:\n  - >-\n    X-1\n    =~ '+'\n",
	  "t:4:9: legs[]: quantifier does not follow a repeatable item\n" },
	{ "legs: [call-ID]",
	  "t:1:8: legs[]: a leg's own Call-ID names no other leg without an expression\n" },
	{ "legs: [shared Call-ID]",
	  "t:1:15: legs[]: a leg's own Call-ID names no other leg without an expression\n" },
	{ "legs: [X2345678901234567890123456789012345678901234567890123456789012345]",
	  "t:1:8: legs[]: the name of a header has at most 64 octets\n" },
	{ "storage: {table: a-b}",
	  "t:1:18: storage.table: expected 1 to 64 letters, digits, _ or $, not 'a-b'\n" },
	{ "storage: {table: ü}",
	  "t:1:18: storage.table: expected 1 to 64 letters, digits, _ or $, not 'ü'\n" },
	{ "node: \"a\\nb\"",
	  "t:1:7: node: expected a string of 1 to 100 octets, not 'a?b': it has a control "
	  "character\n" },
	{ "node: \"a\\x85\"",
	  "t:1:7: node: expected a string of 1 to 100 octets, not 'a?" "?': it has a control "
	  "character\n" },
	{ "node: \"a\\Lb\"",
	  "t:1:7: node: expected a string of 1 to 100 octets, not 'a\342\200\250b': it has a "
	  "control character\n" },
	{ "node: \"a\\0b\"", "t:1:7: a NUL byte in a value\n" },
	{ "node: ~",
	  "t:1:7: node: expected a string of 1 to 100 octets, not '~': in YAML this is nothing; "
	  "quote it if it is meant\n" },
	{ "user: null",
	  "t:1:7: user: expected a string of at most 32 octets, not 'null': in YAML this is "
	  "nothing; quote it if it is meant\n" },
	{ "node:", "t:1:6: node: expected a string of 1 to 100 octets, not ''\n" },
	{ "max_clock_skew: 1500ms",
	  "t:1:17: max_clock_skew: expected a time from 0 to 86400 s, not '1500ms': "
	  "it is counted in whole s\n" },
	{ "max_clock_skew: 25h",
	  "t:1:17: max_clock_skew: expected a time from 0 to 86400 s, not '25h'\n" },
	{ "max_clock_skew: 1d",
	  "t:1:17: max_clock_skew: expected a time from 0 to 86400 s, not '1d'\n" },
	/* Keys. */
	{ "nodeid: 1", "t:1:1: nodeid: unknown key; did you mean node_id?\n" },
	{ "nose: 1", "t:1:1: nose: unknown key; did you mean node?\n" },
	{ "Node: 1", "t:1:1: Node: unknown key; did you mean node?\n" },
	{ "hepp: 1", "t:1:1: hepp: unknown key; did you mean hep?\n" },
	{ "xyz: 1", "t:1:1: xyz: unknown key; keys here: " HERE },
	{ "'': 1", "t:1:1: : unknown key; keys here: " HERE },
	{ "legs[]: [a]", "t:1:1: legs[]: unknown key; keys here: " HERE },
	{ "hep[]: {name: a}", "t:1:1: hep[]: unknown key; keys here: " HERE },
	{ "hep[].name: a", "t:1:1: hep[].name: unknown key; keys here: " HERE },
	{ "storage.: {port: 1}", "t:1:1: storage.: unknown key; did you mean storage?\n" },
	{ "storage.port: 1", "t:1:1: storage.port: unknown key; keys here: " HERE },
	{ "storage:\n  pwd: x",
	  "t:2:3: storage.pwd: unknown key; keys here: host, port, socket, user, password, "
	  "password_file, database, table, layout, "
	  "compat, batch_rows, batch_ms, writers, statistics, partition, retention_days, "
	  "retention_bytes, spool\n" },
	{ "storage:\n  hots: x", "t:2:3: storage.hots: unknown key; did you mean host?\n" },
	{ "storage:\n  batch-row: x",
	  "t:2:3: storage.batch-row: unknown key; did you mean batch_rows?\n" },
	{ "storage: {spool: {directory: x}}",
	  "t:1:19: storage.spool.directory: unknown key; keys here: dir, max, "
	  "durability\n" },
	{ "hep: [{nmae: x}]", "t:1:8: hep[].nmae: unknown key; did you mean name?\n" },
	{ "hep: [{certificate: x}]",
	  "t:1:8: hep[].certificate: unknown key; keys here: name, listen, allow, "
	  "keys, max_rate, max_connections, first_message_timeout, message_timeout, idle_timeout\n" },
	{ "a_key_that_is_longer_than_any_key_could_ever_be_and_than_what_is_shown_of_it: 1",
	  "t:1:1: a_key_that_is_longer_than_any_key_could_ever_be_and_than_wha: unknown key; "
	  "keys here: " HERE },
	{ "\"a\\nb\": 1", "t:1:1: a?b: unknown key; keys here: " HERE },
	{ "node: a\nnode_id: 2\nnode: b", "t:3:1: node: given before, in line 1\n" },
	{ "storage:\n  port: 1\nstorage:\n  port: 2", "t:3:1: storage: given before, in line 1\n" },
	{ "hep: [{keys: [a], keys: [b]}]", "t:1:19: hep[].keys: given before, in line 1\n" },
	{ "hep: [{name: a}]\nhep: [{name: b}]", "t:2:1: hep: given before, in line 1\n" },
	{ "? [a]\n: b", "t:1:3: expected the name of a key, not a list\n" },
	{ "? {a: b}\n: c", "t:1:3: expected the name of a key, not a section\n" },
	/* Kinds. */
	{ "- a", "t:1:1: expected a section of `key: value`, not a list\n" },
	{ "hello", "t:1:1: expected a section of `key: value`, not a single value\n" },
	{ "storage: x",
	  "t:1:10: storage: expected a section of `key: value`, not a single value\n" },
	{ "storage: {spool: []}",
	  "t:1:18: storage.spool: expected a section of `key: value`, not a list\n" },
	{ "hep: {name: a}", "t:1:6: hep: expected a list of listeners, not a section\n" },
	{ "hep:", "t:1:5: hep: expected a list of listeners, not a single value\n" },
	{ "hep: []", "t:1:6: hep: expected a list of 1 to 16, not of 0\n" },
	{ "hep: [a]", "t:1:7: hep[]: expected a section of `key: value`, not a single value\n" },
	{ "legs: [[a]]",
	  "t:1:8: legs[]: expected a header, perhaps with =~ \"EXPRESSION\", of at most 1024 octets, "
	  "not a list\n" },
	/* What belongs together. */
	{ "hep:\n  - name: a\n  - name: a\n    listen: [udp:10.0.0.1:1]",
	  "t:3:11: hep[].name: 'a' is also the name of the listener in line 2\n" },
	{ "hep:\n  - listen: [udp:10.0.0.2:1]\n  - listen: [udp:10.0.0.1:1]",
	  "t:3:5: hep[].name: 'agents' is also the name of the listener in line 2\n" },
	{ "hep: [{listen: [udp:10.0.0.1:1, udp:10.0.0.1:1]}]",
	  "t:1:16: hep[].listen[]: 'udp:10.0.0.1:1' is listened on more than once\n" },
	{ "hep:\n  - {name: a}\n  - {name: b}",
	  "t:3:5: hep[].listen[]: 'udp:0.0.0.0:9060' is listened on more than once\n"
	  "t:3:5: hep[].listen[]: 'tcp:0.0.0.0:9060' is listened on more than once\n" },
	{ "storage:\n  password: a\n  password_file: b",
	  "t:3:18: storage.password_file: expected no more than one of password and password_file\n" },
	/* Sources of packets. */
	/* Filters: names, what is missing, and places within what is quoted, folded or escaped. */
	{ "filters: [{name: a, when: is_reply}, {name: a, when: is_reply}]",
	  "t:1:45: filters[].name: 'a' is also the name of the rule in line 1\n" },
	{ "filters:\n  - when: is_reply\n  - when: is_reply\n",
	  "t:3:5: filters[].name: 'rule' is also the name of the rule in line 2\n" },
	{ "filters: [{action: drop}]", "t:1:11: filters[].when: expected a condition\n" },
	{ "filters: {}", "t:1:10: filters: expected a list of rules, not a section\n" },
	{ "filters: [{when: [is_reply]}]",
	  "t:1:18: filters[].when: expected a condition of at most 4096 octets, not a list\n" },
	{ "filters: [{when: 'ruri == ''x'' && bad'}]",
	  "t:1:36: filters[].when: " FIELD "bad\n" },
	{ "filters: [{when: \"ruri == \\\"\\u00e9\\\" && bad\"}]",
	  "t:1:41: filters[].when: " FIELD "bad\n" },
	{ "filters: [{when: \"is_reply \\\n   && \\\n  bad\"}]", "t:3:3: filters[].when: " FIELD "bad\n" },
	{ "filters:\n  - when: is_reply\n      && ü", "t:3:10: filters[].when: 'ü' has no meaning here\n" },
	{ "filters:\n  - when: is_reply\r\n\r\n      &&\r\n      bad\n",
	  "t:5:7: filters[].when: " FIELD "bad\n" },
	{ "filters:\n  - when: 'is_reply\n\n\n      && bad'\n",
	  "t:5:10: filters[].when: " FIELD "bad\n" },
	{ "filters:\n  - when: >-\n      is_reply\n      && is_reply\n\n      && bad\n",
	  "t:6:10: filters[].when: " FIELD "bad\n" },
	{ "filters:\n  - when: | # comment\n      is_reply\n\n        && bad\n    action: x\n",
	  "t:5:12: filters[].when: " FIELD "bad\n"
	  "t:6:13: filters[].action: expected store, drop, sample N% or limit N/s\n" },
	{ "filters:\n  - when: |\n      ruri == 'a\n      b'\n",
	  "t:3:17: filters[].when: a control character in a string; expressions have \\t, \\r and "
	  "\\n for some\n" },
	{ "filters: [{when: 'ruri =~ \"é(\"'}]",
	  "t:1:30: filters[].when: missing closing parenthesis\n" },
	{ "filters: [{when: is_reply, action: sample 101%}]",
	  "t:1:43: filters[].action: expected a percentage from 0 to 100, with at most 3 decimal "
	  "places\n" },
	{ "capture: [{name: a}]", "t:1:11: capture[]: expected one of interface and file\n" },
	{ "capture: [{interface: '', file: ''}]",
	  "t:1:11: capture[]: expected one of interface and file\n" },
	{ "capture: [{interface: eth0, file: x.pcap}]",
	  "t:1:35: capture[].file: expected no more than one of interface and file\n" },
	{ "capture: [{interface: an_interface_of_ours}]",
	  "t:1:23: capture[].interface: expected a string of at most 15 octets, not "
	  "'an_interface_of_ours'\n" },
	{ "capture: [{interface: any}]",
	  "t:1:23: capture[].interface: 'any' is taken with `method: pcap` only\n" },
	{ "capture: [{interface: any, method: pcap}]", "" },
	{ "capture:\n  - interface: a\n  - interface: b",
	  "t:3:5: capture[].name: 'mirror' is also the name of the source in line 2\n" },
	{ "hep: [{name: x}]\ncapture: [{name: x, interface: a}]",
	  "t:2:18: capture[].name: 'x' is also the name of the listener in line 1\n" },
	{ "capture: [{name: agents, interface: a}]",
	  "t:1:18: capture[].name: 'agents' is also the name of the listener that there is by "
	  "default\n" },
	{ "capture: [{interface: a, ports: [0]}]",
	  "t:1:34: capture[].ports[]: expected a number from 1 to 65535, not '0'\n" },
	{ "capture: [{interface: a, port: 5060}]",
	  "t:1:26: capture[].port: unknown key; did you mean ports?\n" },
	{ "capture: {interface: a}",
	  "t:1:10: capture: expected a list of sources, not a section\n" },
	{ "capture: []", "" },
	/* YAML that a configuration does not need. */
	{ "node: &a x\nuser: *a", "t:1:7: anchors are not taken; quote what begins with &\n"
	  "t:2:7: aliases are not taken; quote what begins with *\n" },
	{ "&a storage: {}", "t:1:1: anchors are not taken; quote what begins with &\n" },
	{ "storage: &a {spool: *a}", "t:1:10: anchors are not taken; quote what begins with &\n"
	  "t:1:21: aliases are not taken; quote what begins with *\n" },
	{ "legs: &a [*a]", "t:1:7: anchors are not taken; quote what begins with &\n"
	  "t:1:11: aliases are not taken; quote what begins with *\n" },
	{ "node: !!str x", "t:1:7: tags are not taken; quote what begins with !\n" },
	{ "storage: !x {}", "t:1:10: tags are not taken; quote what begins with !\n" },
	{ "node: a\n---\nnode: b", "t:2:1: a second document; a configuration is one\n" },
	{ "a: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]", "t:1:19: nested deeper than 16 levels\n" },
	/* No YAML, no UTF-8. */
	{ "node: [a",
	  "t:2:1: not YAML: did not find expected ',' or ']' (while parsing a flow sequence that "
	  "begins in line 1)\n" },
	{ "node: 'a",
	  "t:1:9: not YAML: found unexpected end of stream (while scanning a quoted scalar that "
	  "begins in line 1)\n" },
	{ "node: a\n\tuser: b", "t:2:1: not YAML: found a tab character that violates indentation "
	  "(while scanning a plain scalar that begins in line 1)\n" },
	{ "node: a\n  user: b",
	  "t:2:7: not YAML: mapping values are not allowed in this context\n" },
	{ "node: @x",
	  "t:1:7: not YAML: found character that cannot start any token (while scanning for the next "
	  "token that begins in line 1)\n" },
	{ "node: \xff", "t:1:7: not UTF-8 text: invalid leading UTF-8 octet\n" },
	{ "node: ü\nuser: ü\xc3", "t:2:8: not UTF-8 text: incomplete UTF-8 octet sequence\n" },
	{ "node: \xc0\xaf", "t:1:7: not UTF-8 text: invalid length of a UTF-8 sequence\n" },
	{ "node: \xed\xa0\x80", "t:1:7: not UTF-8 text: invalid Unicode character\n" },
	{ "node: a\001b", "t:1:8: not UTF-8 text: control characters are not allowed\n" },
	/* All of them, not only the first. */
	{ "node_id: 0\nmemory: 1K\nlog:\n  level: all\n  targt: x\n",
	  "t:1:10: node_id: expected a number from 1 to 1023, not '0'\n"
	  "t:2:9: memory: expected a size from 64M to 1T, not '1K'\n"
	  "t:4:10: log.level: expected one of error|warning|info|debug, not 'all'\n"
	  "t:5:3: log.targt: unknown key; did you mean target?\n" },
};
/* clang-format on */

START_TEST(mistake_is_named_with_its_place)
{
	ck_assert_str_eq(complaints_about(mistakes[_i].yaml), mistakes[_i].complaints);
}
END_TEST

START_TEST(nul_byte_is_refused)
{
	struct conf *conf;

	ck_assert_str_eq(read_bytes("node: a\0b\n", 10, &conf),
			 "t:1:8: not UTF-8 text: control characters are not "
			 "allowed\n");
}
END_TEST

START_TEST(utf16_is_refused)
{
	struct conf *conf;

	ck_assert_str_eq(read_bytes("\xff\xfe{\0}\0", 6, &conf),
			 "t:1:1: not UTF-8 text: invalid leading UTF-8 "
			 "octet\n");
}
END_TEST

START_TEST(too_many_listeners_are_refused)
{
	char *yaml = text_of("%s", "");

	for (int i = 0; i < CONF_MAX_LISTENERS; i++)
		yaml = text_of("%s- {name: n%d, listen: [udp:10.0.0.1:%d]}\n", yaml, i, i + 1);
	check_round_trip(text_of("hep:\n%s", yaml));
	ck_assert_str_eq(complaints_about(text_of("hep:\n%s- {name: n}\n", yaml)),
			 "t:2:1: hep: expected a list of 1 to 16, not of 17\n");
	yaml = text_of("%s", "");
	for (int i = 0; i < CONF_MAX_CAPTURES; i++)
		yaml = text_of("%s- {name: n%d, interface: e%d}\n", yaml, i, i);
	check_round_trip(text_of("capture:\n%s", yaml));
	ck_assert_str_eq(complaints_about(text_of("capture:\n%s- {name: n}\n", yaml)),
			 "t:2:1: capture: expected a list of 0 to 16, not of 17\n");
}
END_TEST

START_TEST(complaints_end_after_a_hundred)
{
	char *yaml = calloc(1, 1 << 20), *end = yaml;
	const char *complaints, *c;
	int lines = 0;

	for (int i = 0; i < 9000; i++)
		end += sprintf(end, "unknown_%d: x\n", i);
	complaints = complaints_about(keep(yaml));
	for (c = complaints; (c = strchr(c, '\n')); c++)
		lines++;
	ck_assert_int_eq(lines, 101);
	ck_assert_ptr_nonnull(strstr(complaints, "\nt:101:1: and more; the first 100 are shown\n"));
}
END_TEST

START_TEST(huge_file_is_refused)
{
	char *yaml = keep(calloc(1, TREE_MAX_BYTES + 2));

	memset(yaml, '#', TREE_MAX_BYTES);
	ck_assert_str_eq(complaints_about(yaml), "");
	yaml[TREE_MAX_BYTES] = '#';
	ck_assert_str_eq(complaints_about(yaml), "t:1:1: larger than 1 MiB\n");
}
END_TEST

START_TEST(endless_list_is_refused)
{
	char *yaml = keep(calloc(1, 3 * TREE_MAX_NODES + 64)), *end = stpcpy(yaml, "legs: [");

	for (int i = 0; i < TREE_MAX_NODES; i++)
		end = stpcpy(end, "a,\n");
	stpcpy(end, "]");
	ck_assert_str_eq(complaints_about(yaml), "t:19998:1: more than 20000 values\n");
}
END_TEST

static const char *const secrets[] = {
	"storage: {password: [hunter2]}",
	"storage: {password: \"hunter2\\n\"}",
	"hep: [{keys: hunter2}]",
	"storage: {password: &hunter2 x}",
	"storage: {password: *hunter2}",
	"storage: {password: !hunter2 x}",
	"hep: [{keys: [\"hunter2\\t\"]}]",
	"hep: [{keys: [[hunter2]]}]",
	"storage: {password: @hunter2}",
	"storage: {password: hunter2, password_file: x}",
	"storage: {password: hunter2, password: hunter2}",
};

START_TEST(complaint_does_not_show_secrets)
{
	const char *complaints = complaints_about(secrets[_i]);

	ck_assert_str_ne(complaints, "");
	ck_assert_ptr_null(strstr(complaints, "hunter2"));
}
END_TEST

/* Files. */

/* A file without a name in any directory: its path, good until the process ends. */
static const char *file_with(const char *bytes, size_t len)
{
	int fd = memfd_create("conf", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	return text_of("/proc/self/fd/%d", fd);
}

static int read_file(const char *file, const char **complaints)
{
	struct conf *conf = NULL;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int err = conf_read(file, &conf, f);

	fclose(f);
	conf_free(conf);
	*complaints = keep(text);
	return err;
}

START_TEST(complaint_begins_with_the_name_of_the_file)
{
	const char *file = file_with("a: b", 4), *complaints;

	ck_assert_int_eq(read_file(file, &complaints), HT_ECONF);
	ck_assert_str_eq(complaints, text_of("%s:1:1: a: unknown key; keys here: " HERE, file));
}
END_TEST

START_TEST(file_that_cannot_be_read_is_named)
{
	const char *complaints;

	ck_assert_int_eq(read_file("no/such/file", &complaints), -ENOENT);
	ck_assert_str_eq(complaints, "no/such/file: cannot be read: No such file or directory\n");
	ck_assert_int_eq(read_file("conf", &complaints), -EISDIR);
	ck_assert_str_eq(complaints, "conf: cannot be read: Is a directory\n");
}
END_TEST

START_TEST(file_larger_than_the_limit_is_refused)
{
	char *bytes = keep(calloc(1, TREE_MAX_BYTES + 100));
	const char *file, *complaints;

	memset(bytes, '#', TREE_MAX_BYTES + 100);
	file = file_with(bytes, TREE_MAX_BYTES + 100);
	ck_assert_int_eq(read_file(file, &complaints), HT_ECONF);
	ck_assert_str_eq(complaints, text_of("%s:1:1: larger than 1 MiB\n", file));
}
END_TEST

/* Printing. */

static const char everything[] =
	"node: 'it''s #1: \"x\" \\ {y} üÜ€😀 '\nnode_id: 1023\nuser: ' heptap '\nhep_threads: 64\n"
	"memory: 66561K\nmax_clock_skew: 0\n"
	"hep:\n"
	"  - {name: one, listen: ['udp:[::1]:1', udp:10.0.0.1:65535], allow: ['::/0', 0.0.0.0/0, "
	"'::ffff:1.2.3.4']}\n"
	"  - {name: two, listen: [udp:10.0.0.2:1], allow: ['::ffff:1.2.0.0/112', '::/80', "
	"'fe80::/10', 1.2.3.4/31]}\n"
	"capture:\n  - {name: 'a b', interface: eth0.5, method: pcap, ports: [1, 65535], bpf: "
	"'udp or ip[6:2] & 0x1fff != 0', hep_ports: [9060], threads: 64, ring: 64M, promiscuous: "
	"false}\n  - {name: c, file: '/tmp/it''s.pcap'}\n"
	"legs: [Session-ID, 'shared X =~ \"(a)''b\"']\ncustom_fields: [X-A, X.b, \"!%*_+`'~\"]\n"
	"storage:\n  host: '[::1]'\n  port: 1\n  socket: /run/x y\n  user: 'null'\n  "
	"password_file: '~'\n"
	"  database: 'true'\n  table: $_0\n  compat: opensips\n  batch_rows: 1\n  batch_ms: 1\n  "
	"writers: 8\n  partition: hour\n  retention_days: 36500\n  retention_bytes: 3T\n"
	"  spool: {dir: '- x', max: 1024T, durability: memory}\n"
	"http: {listen: '[::1]:1', token_file: \"'\"}\n"
	"events: {receivers: ['udp:[::1]:8888', udp:10.0.0.1:1], agent_silent: 1h}\nlog: {level: "
	"debug, target: syslog}\n";

START_TEST(print_reads_back_equal)
{
	check_round_trip(everything);
	check_round_trip("");
}
END_TEST

START_TEST(print_shows_every_key)
{
	const struct conf_option *o;
	struct conf *conf = read_good("capture: [{interface: a}]\nfilters: [{when: is_reply}]");
	char *text = print_of(conf);
	const char *leaf;

	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		int len = (int)conf_option_leaf(o, &leaf);

		ck_assert_ptr_nonnull(strstr(text, text_of("%.*s:", len, leaf)));
	}
	conf_free(conf);
}
END_TEST

START_TEST(print_is_what_the_manual_says)
{
	struct conf *conf =
		read_good("node: x\nmemory: 2048M\nhep: [{name: a, allow: [10.0.0.0/8, '::1']}]\n");

	ck_assert_str_eq(
		print_of(conf),
		"node: 'x'\nnode_id: 1\nuser: 'heptap'\nhep_threads: 0\nmemory: 2G\n"
		"max_clock_skew: 300\nhep:\n  - name: 'a'\n"
		"    listen: ['udp:0.0.0.0:9060', 'tcp:0.0.0.0:9060']\n    allow: ['10.0.0.0/8', "
		"'::1']\n"
		"    keys: []\n    max_rate: 0\n    max_connections: 1024\n"
		"    first_message_timeout: 300\n"
		"    message_timeout: 30\n    idle_timeout: 86400\ncapture: []\nfilters: []\n"
		"default_action: 'store'\nlegs: "
		"['X-CID']\ncustom_fields: "
		"[]\nduplicates:\n  window: 5\ntables:\n  calls: 1000000\n  media: 500000\n"
		"  seen: 1000000\n  agents: 4096\nstorage:\n"
		"  host: 'localhost'\n  port: 3306\n  socket: ''\n  user: 'homeruser'\n"
		"  password: ''\n  password_file: ''\n  database: 'homer_db'\n"
		"  table: 'sip_capture'\n  layout: homer3\n  compat: homer\n  batch_rows: 1000\n"
		"  batch_ms: 20\n  writers: 0\n  statistics: true\n  partition: day\n"
		"  retention_days: 10\n  retention_bytes: 0\n  spool:\n"
		"    dir: '/var/spool/heptap'\n"
		"    max: 20G\n    durability: spool\ntune:\n  mode: auto\n"
		"  pin: true\n  smt: ignore\n  placement: same\n  require: []\n  allow_mgmt_nic: "
		"false\n"
		"  manage_notrack: false\n  pps: 0\nhttp:\n"
		"  listen: '127.0.0.1:9080'\n  token_file: ''\nevents:\n  receivers: []\n"
		"  agent_silent: 300\nlog:\n  level: info\n"
		"  target: stderr\n");
	conf_free(conf);
}
END_TEST

START_TEST(print_hides_secrets)
{
	struct conf *conf =
		read_good("storage: {password: hunter2}\nhep: [{keys: [hunter3, hunter4]}]\n");
	char *text = print_of(conf);

	ck_assert_ptr_nonnull(strstr(text, "\n  # password: '***' (set)\n"));
	ck_assert_ptr_nonnull(strstr(text, "\n    # keys: ['***'] (2 set)\n"));
	ck_assert_ptr_null(strstr(text, "hunter"));
	conf_free(conf);
	conf_free(read_good(text));
}
END_TEST

/* Reload. */

static void collect(void *ctx, const char *key)
{
	char **all = ctx;

	*all = text_of("%s%s ", *all, key);
}

static const char *restart_keys(const char *running, const char *fresh)
{
	struct conf *a = read_good(running), *b = read_good(fresh);
	char *keys = text_of("%s", "");
	size_t count = conf_restart_keys(a, b, collect, &keys);

	for (const char *c = keys; (c = strchr(c, ' ')); c++)
		count--;
	ck_assert_uint_eq(count, 0);
	conf_free(a);
	conf_free(b);
	return keys;
}

static const char *word_that_is_not_default(const struct conf_option *o)
{
	const char *last = strrchr(o->words, '|') + 1;

	return strcmp(last, o->value) == 0 ? text_of("%.*s", (int)strcspn(o->words, "|"), o->words)
					   : last;
}

START_TEST(key_needs_a_restart_if_its_row_says_so)
{
	static const char *const others[] = {
		[CONF_STRING] = "other",
		[CONF_IDENTIFIER] = "other",
		[CONF_HEADER] = "X-Other",
		[CONF_WORD] = NULL,
		[CONF_NUMBER] = "2",
		[CONF_TIME] = "7",
		[CONF_SIZE] = "100M",
		[CONF_LISTEN] = "udp:1.1.1.1:1",
		[CONF_ADDRESS] = "1.1.1.1:1",
		[CONF_NET] = "1.1.1.1",
		[CONF_RECEIVER] = "udp:1.1.1.1:1",
		[CONF_BPF] = "udp",
		[CONF_CONDITION] = "is_request",
		[CONF_ACTION] = "drop",
		[CONF_LEG] = "shared X-Other",
	};
	const struct conf_option *o = conf_option_at((size_t)_i);
	const char *other = o->type == CONF_WORD		   ? word_that_is_not_default(o)
			    : o->type == CONF_NUMBER && o->min > 2 ? text_of("%" PRIu64, o->min)
								   : others[o->type];
	size_t column;
	char *yaml =
		yaml_with(o->key, text_of(conf_option_is_list(o) ? "[%s]" : "%s", other), &column);
	const char *without = "", *keys = o->when == CONF_RESTART ? text_of("%s ", o->key) : "";

	if (strcmp(o->key, "capture[].file") == 0)
		without = "capture: [{file: f}]";
	else if (strncmp(o->key, "capture[].", strlen("capture[].")) == 0)
		without = "capture: [{interface: e}]";
	else if (strncmp(o->key, "filters[].", strlen("filters[].")) == 0)
		without = "filters: [{when: is_reply}]";
	ck_assert_str_eq(restart_keys(without, yaml), keys);
	ck_assert_str_eq(restart_keys(yaml, without), keys);
	ck_assert_str_eq(restart_keys(yaml, yaml), "");
}
END_TEST

START_TEST(same_value_written_otherwise_is_no_change)
{
	ck_assert_str_eq(
		restart_keys("memory: 1G\nnode: node1\n", "memory: 1024M\nnode: \"node1\"\n"), "");
	ck_assert_str_eq(restart_keys("hep: [{listen: ['udp:[::0]:1']}]",
				      "hep: [{listen: ['udp:[0::]:1']}]"),
			 "");
}
END_TEST

START_TEST(listener_that_comes_or_goes_needs_a_restart)
{
	const char *one = "hep: [{name: a}]";
	const char *two = "hep: [{name: a}, {name: b, listen: [udp:1.1.1.1:1]}]";
	const char *swapped = "hep: [{name: b, listen: [udp:1.1.1.1:1]}, {name: a}]";

	ck_assert_str_eq(restart_keys(one, two), "hep ");
	ck_assert_str_eq(restart_keys(two, one), "hep ");
	ck_assert_str_eq(restart_keys(two, swapped), "hep[].name hep[].listen[] ");
}
END_TEST

START_TEST(rules_come_and_go_without_a_restart)
{
	const char *one = "filters: [{when: is_reply}]";

	ck_assert_str_eq(restart_keys("", one), "");
	ck_assert_str_eq(restart_keys(one, ""), "");
}
END_TEST

START_TEST(rules_are_what_the_file_says)
{
	struct conf *conf =
		read_good("filters:\n"
			  "  - {name: a, when: 'from.user == \"x\"', action: drop}\n"
			  "  - name: b\n    when: >\n      is_reply\n        && is_reply\n"
			  "    action: limit 3/s\n    table: other\n    scope: dialog\n"
			  "default_action: sample 5%\n");
	struct filter_program *p;

	ck_assert_uint_eq(conf->filter_count, 2);
	ck_assert_str_eq(conf->filters[1].when, "is_reply   && is_reply");
	ck_assert_int_eq(conf_compile_filters(conf, &p), HT_OK);
	ck_assert_uint_eq(p->rule_count, 2);
	ck_assert_str_eq(p->rules[0].name, "a");
	ck_assert_int_eq(p->rules[0].verdict.action, FILTER_DROP);
	ck_assert_int_eq(p->rules[0].scope, FILTER_SCOPE_DIALOG);
	ck_assert_str_eq(p->rules[0].table, "");
	ck_assert_int_eq(p->rules[1].verdict.action, FILTER_LIMIT);
	ck_assert_uint_eq(p->rules[1].verdict.amount, 3);
	ck_assert_int_eq(p->rules[1].scope, FILTER_SCOPE_DIALOG);
	ck_assert_str_eq(p->rules[1].table, "other");
	ck_assert_int_eq(p->otherwise.action, FILTER_SAMPLE);
	ck_assert_uint_eq(p->otherwise.amount, 5000);
	filter_free(p);
	conf_free(conf);
}
END_TEST

static const char *many_rules(int count, const char *condition)
{
	char *yaml = keep(calloc(1, 64 * ((size_t)count + 1))), *end = stpcpy(yaml, "filters:\n");

	for (int i = 0; i < count; i++) {
		end += sprintf(end, "  - {name: r%d, when: \"", i);
		end += sprintf(end, condition, i);
		end = stpcpy(end, "\"}\n");
	}
	return yaml;
}

START_TEST(rules_are_bounded)
{
	conf_free(read_good(many_rules(256, "src.port == %d")));
	ck_assert_str_eq(complaints_about(many_rules(257, "src.port == %d")),
			 "t:2:3: filters: expected a list of 0 to 256, not of 257\n");
	conf_free(read_good(many_rules(64, "header('X-%d') == 'a'")));
	ck_assert_str_eq(complaints_about(many_rules(65, "header('X-%d') == 'a'")),
			 "t:66:23: filters[].when: more than 64 different headers\n");
}
END_TEST

START_TEST(source_that_comes_or_goes_needs_a_restart)
{
	ck_assert_str_eq(restart_keys("", "capture: [{interface: a}]"), "capture ");
	ck_assert_str_eq(restart_keys("capture: [{interface: a}]", "capture: [{file: a}]"),
			 "capture[].interface capture[].file ");
}
END_TEST

START_TEST(source_has_what_the_file_says)
{
	struct conf *conf = read_good(everything);
	const struct conf_capture *c = &conf->capture[0];

	ck_assert_uint_eq(conf->capture_count, 2);
	ck_assert_str_eq(c->name, "a b");
	ck_assert_str_eq(c->interface, "eth0.5");
	ck_assert_int_eq(c->method, CONF_METHOD_PCAP);
	ck_assert_uint_eq(c->port_count, 2);
	ck_assert_uint_eq(c->ports[1], 65535);
	ck_assert_str_eq(c->bpf, "udp or ip[6:2] & 0x1fff != 0");
	ck_assert_uint_eq(c->hep_port_count, 1);
	ck_assert_uint_eq(c->hep_ports[0], 9060);
	ck_assert_uint_eq(c->threads, 64);
	ck_assert_uint_eq(c->ring, 64 << 20);
	ck_assert_int_eq(c->promiscuous, CONF_FALSE);
	c++;
	ck_assert_str_eq(c->file, "/tmp/it's.pcap");
	ck_assert_str_eq(c->interface, "");
	ck_assert_int_eq(c->method, CONF_METHOD_AF_PACKET);
	ck_assert_uint_eq(c->port_count, 2);
	ck_assert_uint_eq(c->ports[0], 5060);
	ck_assert_uint_eq(c->ports[1], 5061);
	ck_assert_uint_eq(c->hep_port_count, 0);
	ck_assert_str_eq(c->bpf, "");
	ck_assert_uint_eq(c->ring, 0);
	ck_assert_int_eq(c->promiscuous, CONF_TRUE);
	conf_free(conf);
}
END_TEST

/* The password. */

static int password_from_file(const char *bytes, size_t len, char *out, size_t size)
{
	const char *file = file_with(bytes, len);
	struct conf *conf = read_good(text_of("storage: {password_file: '%s'}", file));
	int err = conf_password(conf, out, size);

	conf_free(conf);
	close(atoi(strrchr(file, '/') + 1));
	return err;
}

START_TEST(password_is_the_key_or_nothing)
{
	struct conf *conf = read_good("storage: {password: hunter2}"), *none = read_good("");
	char out[8] = "x";

	ck_assert_int_eq(conf_password(none, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(conf_password(conf, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "hunter2");
	ck_assert_int_eq(conf_password(conf, out, 7), -EMSGSIZE);
	conf_free(conf);
	conf_free(none);
}
END_TEST

START_TEST(password_is_the_first_line_of_the_file)
{
	char out[8];

	ck_assert_int_eq(password_from_file("abc", 3, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "abc");
	ck_assert_int_eq(password_from_file("abc\nd\n", 6, out, sizeof(out)), HT_OK);
	ck_assert_mem_eq(out, "abc\0\0\0\0", 8); /* nothing of the other lines stays */
	ck_assert_int_eq(password_from_file("abc\r\n", 5, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "abc");
	ck_assert_int_eq(password_from_file(" a \n", 4, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, " a ");
	ck_assert_int_eq(password_from_file("1234567", 7, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "1234567");
	ck_assert_int_eq(password_from_file("1234567\nmore", 12, out, sizeof(out)), HT_OK);
	ck_assert_str_eq(out, "1234567");
}
END_TEST

START_TEST(password_file_without_a_password_is_an_error)
{
	struct conf *conf = read_good("storage: {password_file: no/such/file}");
	char out[8];

	ck_assert_int_eq(password_from_file("", 0, out, sizeof(out)), -ENODATA);
	ck_assert_int_eq(password_from_file("\nabc\n", 5, out, sizeof(out)), -ENODATA);
	ck_assert_int_eq(password_from_file("a\0b\n", 4, out, sizeof(out)), -EINVAL);
	ck_assert_int_eq(password_from_file("12345678", 8, out, sizeof(out)), -EMSGSIZE);
	ck_assert_int_eq(conf_password(conf, out, sizeof(out)), -ENOENT);
	conf_free(conf);
}
END_TEST

/* Networks. */

static const struct {
	const char *nets, *ip;
	bool is_in;
} net_cases[] = {
	{ "10.0.0.0/8", "::ffff:10.255.255.255", true },
	{ "10.0.0.0/8", "::ffff:11.0.0.0", false },
	{ "10.0.0.0/8", "::ffff:9.255.255.255", false },
	{ "172.16.0.0/12", "::ffff:172.31.255.255", true },
	{ "172.16.0.0/12", "::ffff:172.32.0.0", false },
	{ "192.0.2.1", "::ffff:192.0.2.1", true },
	{ "192.0.2.1", "::ffff:192.0.2.0", false },
	{ "192.0.2.0/31", "::ffff:192.0.2.1", true },
	{ "192.0.2.0/31", "::ffff:192.0.2.2", false },
	{ "0.0.0.0/0", "::ffff:1.2.3.4", true },
	{ "0.0.0.0/0", "::1", false },
	{ "'::/0'", "::ffff:1.2.3.4", true },
	{ "'::/0'", "2001:db8::1", true },
	{ "'::1'", "::1", true },
	{ "'::1'", "::2", false },
	{ "'fc00::/7'", "fdff::1", true },
	{ "'fc00::/7'", "fe00::", false },
	{ "'::ffff:10.0.0.0/104'", "::ffff:10.1.2.3", true },
	{ "'::1', 10.0.0.0/8", "::ffff:10.1.2.3", true },
	{ "10.0.0.0/8, '::1'", "::1", true },
};

START_TEST(net_has_its_addresses)
{
	struct conf *conf = read_good(text_of("hep: [{allow: [%s]}]", net_cases[_i].nets));
	uint8_t ip[16];

	ck_assert_int_eq(inet_pton(AF_INET6, net_cases[_i].ip, ip), 1);
	ck_assert_int_eq(conf_net_has(conf->hep[0].allow, conf->hep[0].allow_count, ip),
			 net_cases[_i].is_in);
	ck_assert(!conf_net_has(conf->hep[0].allow, 0, ip));
	conf_free(conf);
}
END_TEST

/*
 * An address that differs from the network in one bit is in it exactly if that bit is behind the
 * prefix.
 */
START_TEST(net_compares_every_bit_of_its_prefix)
{
	struct conf_net net = { .prefix = (uint8_t)_i };
	uint8_t ip[16] = { 0 };

	ck_assert(conf_net_has(&net, 1, ip));
	for (int bit = 0; bit < 128; bit++) {
		ip[bit / 8] = (uint8_t)(0x80 >> bit % 8);
		ck_assert_int_eq(conf_net_has(&net, 1, ip), bit >= _i);
		ip[bit / 8] = 0;
	}
}
END_TEST

/* The sample and the manual. */

static char *file_text(const char *file)
{
	FILE *f = fopen(file, "r");
	char *text = keep(calloc(1, 1 << 16));

	ck_assert_msg(f != NULL, "%s: run this from the root of the sources", file);
	ck_assert_uint_lt(fread(text, 1, (1 << 16) - 1, f), (1 << 16) - 1);
	fclose(f);
	return text;
}

START_TEST(sample_is_the_defaults)
{
	struct conf *conf = read_good(file_text(SAMPLE));

	check_defaults(conf);
	conf_free(conf);
}
END_TEST

/* What "[...]" in the comment above a key has to say; the manual says it in the same words. */
static const char *range_text(const struct conf_option *o)
{
	char expects[256];
	const char *to;

	value_expects(o, expects, sizeof(expects));
	to = strstr(expects, "from ");
	if (to)
		return text_of("%s", to + strlen("from "));
	if (o->type == CONF_STRING || o->type == CONF_HEADER || o->type == CONF_LEG ||
	    o->type == CONF_BPF || o->type == CONF_CONDITION)
		return o->min ? text_of("%ju to %ju octets", (uintmax_t)o->min, (uintmax_t)o->max)
			      : text_of("at most %ju octets", (uintmax_t)o->max);
	return o->type == CONF_IDENTIFIER ? text_of("%s", expects) : "";
}

/*
 * The lines of comment in front of a key of the sample, at the key's depth; sections come in the
 * table's order.
 */
static char *sample_comment(const struct conf_option *o)
{
	char *text = file_text(SAMPLE), *at = text, *key = text, *begin;
	const struct conf_option *before;
	const char *leaf;
	int len;

	for (size_t i = 0; (before = conf_option_at(i)); i++) {
		len = (int)conf_option_leaf(before, &leaf);
		key = strstr(at, text_of(" %.*s:", len, leaf));
		begin = strstr(at, text_of("\n%.*s:", len, leaf));
		key = begin && (!key || begin < key) ? begin : key;
		ck_assert_msg(key != NULL, "%s lacks %s", SAMPLE, before->key);
		if (before == o)
			break;
		at = key + 1;
	}
	*key = '\0';
	begin = memrchr(text, '[', (size_t)(key - text));
	ck_assert_ptr_nonnull(begin);
	return begin;
}

START_TEST(sample_tells_range_and_reload_of_every_key)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	char *comment = sample_comment(o);

	ck_assert_msg(strstr(comment, o->when == CONF_RELOAD ? "; reload]" : "; restart]") != NULL,
		      "%s: %s", o->key, comment);
	ck_assert_msg(strstr(comment, range_text(o)) != NULL, "%s: %s lacks %s", o->key, comment,
		      range_text(o));
	if (conf_option_is_list(o))
		ck_assert_msg(strstr(comment, text_of("a list of %zu to %zu", o->count_min,
						      o->count_max)) != NULL,
			      "%s: %s", o->key, comment);
}
END_TEST

/* From the key's name to the next one. */
static char *manual_entry(const struct conf_option *o)
{
	char *entry = strstr(file_text(MANUAL), text_of("\n.TP\n.B %s\n", o->key)), *end;

	ck_assert_msg(entry != NULL, "%s lacks %s", MANUAL, o->key);
	entry += strlen("\n.TP\n");
	end = strstr(entry, "\n.TP\n");
	if (end)
		*end = '\0';
	return entry;
}

static const char *manual_default(const struct conf_option *o)
{
	if (o->value[0])
		return text_of("\nDefault: %s.\n", o->value);
	return conf_option_is_list(o) ? "\nDefault: [] (none).\n" : "\nDefault: '' (empty).\n";
}

START_TEST(manual_tells_default_range_and_reload_of_every_key)
{
	const struct conf_option *o = conf_option_at((size_t)_i);
	char *entry = manual_entry(o), *words = text_of("%s", o->words ? o->words : ""), *word;

	ck_assert_msg(strstr(entry, manual_default(o)) != NULL, "%s", entry);
	ck_assert_msg(strstr(entry, o->when == CONF_RELOAD ? "\nReload.\n" : "\nRestart.\n") !=
			      NULL,
		      "%s", entry);
	ck_assert_msg(strstr(entry, range_text(o)) != NULL, "%s lacks %s", entry, range_text(o));
	while ((word = strsep(&words, "|")))
		ck_assert_msg(strstr(entry, word) != NULL, "%s lacks %s", entry, word);
	if (conf_option_is_list(o))
		ck_assert_msg(strstr(entry, text_of("List of %zu to %zu ", o->count_min,
						    o->count_max)) != NULL,
			      "%s", entry);
}
END_TEST

START_TEST(example_of_the_manual_is_good)
{
	char *text = strstr(file_text(MANUAL), "\n.SH EXAMPLES\n"), *out;

	ck_assert_ptr_nonnull(text);
	text = strstr(text, "\n.EX\n") + strlen("\n.EX\n");
	*strstr(text, "\n.EE\n") = '\0';
	out = text;
	for (const char *c = text; *c; c++) { /* roff writes a minus as \- */
		if (c[0] != '\\' || c[1] != '-')
			*out++ = *c;
	}
	*out = '\0';
	ck_assert_str_eq(complaints_about(strstr(text, "node: ")), "");
}
END_TEST

static TCase *table_tests(void)
{
	TCase *t = tcase_create("table");
	int rows = (int)option_count();

	tcase_add_loop_test(t, row_is_complete, 0, rows);
	tcase_add_test(t, reload_is_enough_for_some_keys);
	tcase_add_loop_test(t, default_may_be_written, 0, rows);
	tcase_add_loop_test(t, bounds_are_taken_and_nothing_beyond, 0, rows);
	tcase_add_loop_test(t, other_kinds_of_values_are_refused, 0, rows);
	tcase_add_loop_test(t, list_takes_as_many_as_it_can_and_no_more, 0, rows);
	tcase_add_loop_test(t, key_needs_a_restart_if_its_row_says_so, 0, rows);
	tcase_add_loop_test(t, sample_tells_range_and_reload_of_every_key, 0, rows);
	tcase_add_loop_test(t, manual_tells_default_range_and_reload_of_every_key, 0, rows);
	return t;
}

static TCase *reading_tests(void)
{
	TCase *t = tcase_create("reading");

	tcase_add_test(t, no_file_is_all_defaults);
	tcase_add_loop_test(t, file_with_nothing_in_it_is_all_defaults, 0, ROWS(empty_files));
	tcase_add_test(t, sizes_and_times_take_suffixes);
	tcase_add_test(t, addresses_are_ready_to_bind);
	tcase_add_test(t, listeners_take_defaults_one_by_one);
	tcase_add_loop_test(t, mistake_is_named_with_its_place, 0, ROWS(mistakes));
	tcase_add_test(t, nul_byte_is_refused);
	tcase_add_test(t, utf16_is_refused);
	tcase_add_test(t, too_many_listeners_are_refused);
	tcase_add_test(t, complaints_end_after_a_hundred);
	tcase_add_test(t, huge_file_is_refused);
	tcase_add_test(t, endless_list_is_refused);
	tcase_add_loop_test(t, complaint_does_not_show_secrets, 0, ROWS(secrets));
	tcase_add_test(t, complaint_begins_with_the_name_of_the_file);
	tcase_add_test(t, file_that_cannot_be_read_is_named);
	tcase_add_test(t, file_larger_than_the_limit_is_refused);
	return t;
}

static TCase *using_tests(void)
{
	TCase *t = tcase_create("using");

	tcase_add_test(t, print_reads_back_equal);
	tcase_add_test(t, print_shows_every_key);
	tcase_add_test(t, print_is_what_the_manual_says);
	tcase_add_test(t, print_hides_secrets);
	tcase_add_test(t, same_value_written_otherwise_is_no_change);
	tcase_add_test(t, listener_that_comes_or_goes_needs_a_restart);
	tcase_add_test(t, source_that_comes_or_goes_needs_a_restart);
	tcase_add_test(t, rules_come_and_go_without_a_restart);
	tcase_add_test(t, rules_are_what_the_file_says);
	tcase_add_test(t, rules_are_bounded);
	tcase_add_test(t, source_has_what_the_file_says);
	tcase_add_test(t, password_is_the_key_or_nothing);
	tcase_add_test(t, password_is_the_first_line_of_the_file);
	tcase_add_test(t, password_file_without_a_password_is_an_error);
	tcase_add_loop_test(t, net_has_its_addresses, 0, ROWS(net_cases));
	tcase_add_loop_test(t, net_compares_every_bit_of_its_prefix, 0, 129);
	tcase_add_test(t, sample_is_the_defaults);
	tcase_add_test(t, example_of_the_manual_is_good);
	return t;
}

static Suite *conf_suite(void)
{
	TCase *cases[] = { table_tests(), reading_tests(), using_tests() };
	Suite *s = suite_create("conf");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], NULL, free_kept);
		suite_add_tcase(s, cases[i]);
	}
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(conf_suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
