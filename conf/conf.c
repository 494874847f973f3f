/* From a file to a struct conf: the tree of the YAML is walked along the table of options. */
#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/net.h"
#include "conf/options.h"
#include "conf/place.h"
#include "conf/suggest.h"
#include "conf/tree.h"
#include "conf/values.h"

#define PATH_BYTES    128
#define EXPECTS_BYTES 256

#define ENTRIES_MAX CONF_MAX_FILTERS

_Static_assert(CONF_MAX_LISTENERS <= ENTRIES_MAX && CONF_MAX_CAPTURES <= ENTRIES_MAX,
	       "no group has more entries");

struct reader {
	struct complaints say;
	const void *bytes; /* the file */
	size_t len;
	struct conf *conf;
	/* Where each value stands, by row; line 0: not in the file. */
	struct mark found[CONF_OPTIONS_MAX];
	struct {
		struct mark found[ENTRIES_MAX][CONF_OPTIONS_MAX];
		struct mark entry[ENTRIES_MAX]; /* where it begins */
		bool is_given;
	} group[CONF_GROUPS];
};

/* A section while it is read. */
struct scope {
	const char *prefix; /* of its keys: "", "storage.", "hep[]." */
	void *base;	    /* where their values go */
	struct mark *found;
};

static const char *kind_text(const struct tree *t)
{
	if (t->kind == TREE_LIST)
		return "a list";
	return t->kind == TREE_SECTION ? "a section" : "a single value";
}

/* Without quotes, these mean "nothing" to YAML and would be a surprising name. */
static bool is_null(const struct tree *t)
{
	return t->style == TREE_PLAIN &&
	       (strcmp(t->text, "~") == 0 || strcmp(t->text, "null") == 0 ||
		strcmp(t->text, "Null") == 0 || strcmp(t->text, "NULL") == 0);
}

static void refuse_value(struct reader *r, const struct conf_option *o, const struct tree *t,
			 const char *why)
{
	const char *colon = *why ? ": " : "";
	char expects[EXPECTS_BYTES];
	struct filter_error mistake;

	if (t->kind == TREE_SCALAR && value_mistake(o, t->text, &mistake)) {
		complain(&r->say, place_in_scalar(r->bytes, r->len, t, mistake.offset), "%s: %s",
			 o->key, mistake.text);
		return;
	}
	value_expects(o, expects, sizeof(expects));
	if (t->kind != TREE_SCALAR)
		complain(&r->say, t->at, "%s: expected %s, not %s", o->key, expects, kind_text(t));
	else if (o->is_secret)
		complain(&r->say, t->at, "%s: expected %s%s%s", o->key, expects, colon, why);
	else
		complain(&r->say, t->at, "%s: expected %s, not '%.60s'%s%s", o->key, expects,
			 t->text, colon, why);
}

static int read_value(struct reader *r, const struct conf_option *o, const struct tree *t, void *at)
{
	char why[WHY_BYTES] = "";
	int err;

	if (t->kind == TREE_REFUSED)
		return HT_OK;
	if (t->kind != TREE_SCALAR) {
		refuse_value(r, o, t, why);
		return HT_OK;
	}
	if (is_null(t)) {
		refuse_value(r, o, t, "in YAML this is nothing; quote it if it is meant");
		return HT_OK;
	}
	err = value_parse(o, t->text, at, why);
	if (err == HT_ECONF)
		refuse_value(r, o, t, why);
	return err == -ENOMEM ? err : HT_OK;
}

static int read_list(struct reader *r, const struct conf_option *o, const struct tree *t,
		     void *base)
{
	struct field f;
	size_t i = 0;
	int err;

	if (t->kind != TREE_LIST) {
		complain(&r->say, t->at, "%s: expected a list in [ ], not %s", o->key,
			 kind_text(t));
		return HT_OK;
	}
	if (t->count < o->count_min || t->count > o->count_max) {
		complain(&r->say, t->at, "%s: expected a list of %zu to %zu, not of %zu", o->key,
			 o->count_min, o->count_max, t->count);
		return HT_OK;
	}
	err = field_make(o, base, t->count, &f);
	for (const struct tree *entry = t->first; entry && err == HT_OK; entry = entry->next, i++)
		err = read_value(r, o, entry, f.at + i * f.bytes);
	return err;
}

static int read_option(struct reader *r, const struct scope *s, size_t row, const struct tree *t)
{
	const struct conf_option *o = conf_option_at(row);

	s->found[row] = t->at;
	if (t->kind == TREE_REFUSED)
		return HT_OK;
	if (conf_option_is_list(o))
		return read_list(r, o, t, s->base);
	return read_value(r, o, t, (char *)s->base + o->offset);
}

/* @p path has no "[]" at its end, since that is not written in the file. @return the row, or -1. */
static int option_find(const char *path)
{
	size_t len = strlen(path);
	const struct conf_option *o;

	for (int i = 0; (o = conf_option_at((size_t)i)); i++) {
		if (strncmp(o->key, path, len) == 0 &&
		    (!o->key[len] || strcmp(o->key + len, "[]") == 0))
			return i;
	}
	return -1;
}

static bool has_options(const char *prefix)
{
	const struct conf_option *o;

	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		if (strncmp(o->key, prefix, strlen(prefix)) == 0)
			return true;
	}
	return false;
}

static void refuse_key(struct reader *r, const struct scope *s, const struct tree *key)
{
	char hint[SUGGEST_BYTES];

	complain(&r->say, key->at, "%s%.60s: unknown key; %s", s->prefix, key->text,
		 suggest_key(s->prefix, key->text, hint, sizeof(hint)));
}

/* Few keys are known and few complaints taken, so looking at all the earlier keys is quick. */
static bool is_repeated(struct reader *r, const struct scope *s, const struct tree *section,
			const struct tree *key)
{
	for (const struct tree *k = section->first; k != key; k = k->next->next) {
		if (k->kind != TREE_SCALAR || strcmp(k->text, key->text) != 0)
			continue;
		complain(&r->say, key->at, "%s%.60s: given before, in line %u", s->prefix,
			 key->text, k->at.line);
		return true;
	}
	return false;
}

static int read_section(struct reader *r, const struct scope *s, const char *path,
			const struct tree *t);

static size_t *group_count(const struct conf_group *g, struct conf *conf)
{
	return (size_t *)(void *)((char *)conf + g->count_offset);
}

static int read_entry(struct reader *r, size_t n, const struct tree *t)
{
	const struct conf_group *g = conf_group_at(n);
	size_t i = (*group_count(g, r->conf))++;
	struct scope s = { .prefix = g->prefix,
			   .base = conf_group_entry(g, r->conf, i),
			   .found = r->group[n].found[i] };
	char path[PATH_BYTES];

	r->group[n].entry[i] = t->at;
	snprintf(path, sizeof(path), "%s[]", g->name);
	return read_section(r, &s, path, t);
}

static int read_group(struct reader *r, size_t n, const struct tree *t)
{
	const struct conf_group *g = conf_group_at(n);
	size_t least = g->count_unasked;
	int err = HT_OK;

	r->group[n].is_given = true;
	if (t->kind == TREE_REFUSED)
		return HT_OK;
	if (t->kind != TREE_LIST) {
		complain(&r->say, t->at, "%s: expected a list of %ss, not %s", g->name, g->entry,
			 kind_text(t));
		return HT_OK;
	}
	if (t->count < least || t->count > g->count_max) {
		complain(&r->say, t->at, "%s: expected a list of %zu to %zu, not of %zu", g->name,
			 least, g->count_max, t->count);
		return HT_OK;
	}
	for (const struct tree *entry = t->first; entry && err == HT_OK; entry = entry->next)
		err = read_entry(r, n, entry);
	return err;
}

/* The group of that name; CONF_GROUPS: none. */
static size_t group_find(const char *name)
{
	size_t n = 0;

	while (n < CONF_GROUPS && strcmp(conf_group_at(n)->name, name) != 0)
		n++;
	return n;
}

static int read_pair(struct reader *r, const struct scope *s, const struct tree *key)
{
	char path[PATH_BYTES], section[PATH_BYTES + 1];
	struct scope inner = *s;
	size_t group;
	int row;

	/* The table's way of writing a path is not the file's. */
	if (strpbrk(key->text, ".[")) {
		refuse_key(r, s, key);
		return HT_OK;
	}
	/* A path that does not fit is cut, and no key of ours. */
	snprintf(path, sizeof(path), "%s%s", s->prefix, key->text);
	snprintf(section, sizeof(section), "%s.", path);
	row = option_find(path);
	if (row >= 0)
		return read_option(r, s, (size_t)row, key->next);
	group = group_find(path);
	if (group < CONF_GROUPS)
		return read_group(r, group, key->next);
	if (!has_options(section)) {
		refuse_key(r, s, key);
		return HT_OK;
	}
	inner.prefix = section;
	return read_section(r, &inner, path, key->next);
}

/* A key with nothing behind it is an empty section: all that was in it became comments. */
static bool is_empty(const struct tree *t)
{
	return t->kind == TREE_SCALAR && t->style == TREE_PLAIN && !t->text[0];
}

static int read_section(struct reader *r, const struct scope *s, const char *path,
			const struct tree *t)
{
	int err = HT_OK;

	if (t->kind == TREE_REFUSED || is_empty(t))
		return HT_OK;
	if (t->kind != TREE_SECTION) {
		complain(&r->say, t->at, "%s%sexpected a section of `key: value`, not %s", path,
			 *path ? ": " : "", kind_text(t));
		return HT_OK;
	}
	for (const struct tree *key = t->first; key && err == HT_OK; key = key->next->next) {
		if (complaints_are_full(&r->say))
			break;
		if (key->kind == TREE_SCALAR && !is_repeated(r, s, t, key))
			err = read_pair(r, s, key);
		else if (key->kind == TREE_LIST || key->kind == TREE_SECTION)
			complain(&r->say, key->at, "expected the name of a key, not %s",
				 kind_text(key));
	}
	return err;
}

/* Entries of a list; any other value is one, spaces and all. */
static size_t count_words(const char *text)
{
	size_t count = *text ? 1 : 0;

	while ((text = strchr(text, ' '))) {
		text++;
		count++;
	}
	return count;
}

/* The default is text in the table and takes the way of any other value. */
static int set_default(const struct conf_option *o, void *base)
{
	bool is_list = conf_option_is_list(o);
	char text[256], why[WHY_BYTES], *rest = text, *word;
	struct field f;
	int err = field_make(o, base, is_list ? count_words(o->value) : 1, &f);

	snprintf(text, sizeof(text), "%s", o->value);
	for (size_t i = 0; i < f.count && err == HT_OK; i++) {
		word = is_list ? strsep(&rest, " ") : text;
		err = value_parse(o, word, f.at + i * f.bytes, why);
	}
	return err;
}

/* @p group: -1 for those of struct conf itself. */
static int set_defaults(void *base, const struct mark *found, int group)
{
	const struct conf_option *o;
	int err = HT_OK;

	for (size_t i = 0; (o = conf_option_at(i)) && err == HT_OK; i++) {
		if (conf_option_group(o) == group && !found[i].line)
			err = set_default(o, base);
	}
	return err;
}

static int set_all_defaults(struct reader *r)
{
	int err = set_defaults(r->conf, r->found, -1);

	for (int n = 0; n < CONF_GROUPS; n++) {
		const struct conf_group *g = conf_group_at((size_t)n);

		if (!r->group[n].is_given)
			*group_count(g, r->conf) = g->count_unasked;
		for (size_t i = 0; i < *group_count(g, r->conf) && err == HT_OK; i++)
			err = set_defaults(conf_group_entry(g, r->conf, i), r->group[n].found[i],
					   n);
	}
	return err;
}

/* Where the value of an entry's option stands, or the entry if the value is a default. */
static struct mark entry_mark(const struct reader *r, size_t i, const char *key)
{
	int row = option_find(key), n = conf_option_group(conf_option_at((size_t)row));
	struct mark m = r->group[n].found[i][row];

	return m.line ? m : r->group[n].entry[i];
}

/* Is one of the addresses before @p e, which may be in another listener, the same? */
static bool listens_on(const struct conf_listener *l, const struct conf_endpoint *e)
{
	for (size_t i = 0; i < l->listen_count && &l->listen[i] != e; i++) {
		if (endpoint_is_equal(&l->listen[i], e))
			return true;
	}
	return false;
}

/* What listener @p i has in common with itself and those before it, and should not. */
static void check_listener(struct reader *r, size_t i)
{
	const struct conf_listener *l = &r->conf->hep[i];

	for (size_t j = 0; j < i; j++) {
		const struct conf_listener *other = &r->conf->hep[j];

		if (l->name && other->name && strcmp(l->name, other->name) == 0)
			complain(&r->say, entry_mark(r, i, "hep[].name"),
				 "hep[].name: '%s' is also the name of the listener in line %u",
				 l->name, r->group[0].entry[j].line);
	}
	for (const struct conf_endpoint *e = l->listen; e < l->listen + l->listen_count; e++) {
		for (size_t j = 0; j <= i && e->addr_len; j++) {
			if (!listens_on(&r->conf->hep[j], e))
				continue;
			complain(&r->say, entry_mark(r, i, "hep[].listen"),
				 "hep[].listen[]: '%s' is listened on more than once", e->text);
			break;
		}
	}
}

/* Metrics of both have the label `source`. */
static void check_capture_name(struct reader *r, size_t i)
{
	const struct conf *conf = r->conf;
	const char *name = conf->capture[i].name, *of = NULL;
	struct mark other = { 0 };

	for (size_t j = 0; j < conf->hep_count; j++) {
		if (name && conf->hep[j].name && strcmp(name, conf->hep[j].name) == 0) {
			of = "listener";
			other = r->group[0].entry[j];
		}
	}
	for (size_t j = 0; j < i; j++) {
		if (name && conf->capture[j].name && strcmp(name, conf->capture[j].name) == 0) {
			of = "source";
			other = r->group[1].entry[j];
		}
	}
	if (!of)
		return;
	if (other.line)
		complain(&r->say, entry_mark(r, i, "capture[].name"),
			 "capture[].name: '%s' is also the name of the %s in line %u", name, of,
			 other.line);
	else
		complain(&r->say, entry_mark(r, i, "capture[].name"),
			 "capture[].name: '%s' is also the name of the %s that there is by default",
			 name, of);
}

static bool is_set(const char *text)
{
	return text && text[0];
}

static void check_capture(struct reader *r, size_t i)
{
	const struct conf_capture *c = &r->conf->capture[i];
	const struct mark *found = r->group[1].found[i];

	check_capture_name(r, i);
	if (is_set(c->interface) && is_set(c->file))
		complain(&r->say, entry_mark(r, i, "capture[].file"),
			 "capture[].file: expected no more than one of interface and file");
	/* What was refused is not complained about a second time. */
	if (!is_set(c->interface) && !is_set(c->file) &&
	    (c->interface || !found[option_find("capture[].interface")].line) &&
	    (c->file || !found[option_find("capture[].file")].line))
		complain(&r->say, r->group[1].entry[i],
			 "capture[]: expected one of interface and file");
	if (is_set(c->interface) && strcmp(c->interface, "any") == 0 &&
	    c->method == CONF_METHOD_AF_PACKET)
		complain(&r->say, entry_mark(r, i, "capture[].interface"),
			 "capture[].interface: 'any' is taken with `method: pcap` only");
	if (c->ring && c->ring < CONF_RING_LEAST)
		complain(&r->say, entry_mark(r, i, "capture[].ring"),
			 "capture[].ring: expected 0, or a size from 1M on");
}

static void check_filter(struct reader *r, size_t i)
{
	const struct conf_filter *f = &r->conf->filters[i];

	for (size_t j = 0; j < i; j++) {
		const struct conf_filter *other = &r->conf->filters[j];

		if (!f->name || !other->name || strcmp(f->name, other->name) != 0)
			continue;
		complain(&r->say, entry_mark(r, i, "filters[].name"),
			 "filters[].name: '%s' is also the name of the rule in line %u", f->name,
			 r->group[2].entry[j].line);
		break;
	}
	/* What was refused is not complained about a second time. */
	if (f->when && !f->when[0])
		complain(&r->say, entry_mark(r, i, "filters[].when"),
			 "filters[].when: expected a condition");
}

static int compile_filters(const struct conf *conf, struct filter_program **out, size_t *failed,
			   struct filter_error *error)
{
	struct filter_source *rules = calloc(conf->filter_count + 1, sizeof(*rules));
	int err;

	if (!rules)
		return -ENOMEM;
	for (size_t i = 0; i < conf->filter_count; i++) {
		const struct conf_filter *f = &conf->filters[i];

		rules[i] =
			(struct filter_source){ f->name, f->when, f->action, f->table, f->scope };
	}
	err = filter_compile(rules, conf->filter_count, conf->default_action, out, failed, error);
	free(rules);
	return err;
}

int conf_compile_filters(const struct conf *conf, struct filter_program **out)
{
	struct filter_error error;
	size_t failed;

	return compile_filters(conf, out, &failed, &error);
}

/* Each alone is good. Together they may ask for too much. */
static int check_filters(struct reader *r)
{
	struct filter_program *program;
	struct filter_error error;
	size_t failed;
	int err;

	for (size_t i = 0; i < r->conf->filter_count; i++)
		check_filter(r, i);
	if (r->say.count)
		return HT_OK;
	err = compile_filters(r->conf, &program, &failed, &error);
	if (err == HT_OK)
		filter_free(program);
	if (err == HT_ECONF)
		complain(&r->say, entry_mark(r, failed, "filters[].when"), "filters[].when: %s",
			 error.text);
	return err == -ENOMEM ? err : HT_OK;
}

static void check_together(struct reader *r)
{
	const struct conf *conf = r->conf;

	for (size_t i = 0; i < conf->hep_count; i++)
		check_listener(r, i);
	for (size_t i = 0; i < conf->capture_count; i++)
		check_capture(r, i);
	if (conf->storage.password && conf->storage.password[0] && conf->storage.password_file &&
	    conf->storage.password_file[0])
		complain(&r->say, r->found[option_find("storage.password_file")],
			 "storage.password_file: expected no more than one of password and "
			 "password_file");
	if (conf->storage.layout == CONF_LAYOUT_HOMER5 && conf->storage.table &&
	    strlen(conf->storage.table) > CONF_MAX_DAILY_TABLE)
		complain(&r->say, r->found[option_find("storage.table")],
			 "storage.table: expected at most %d octets, since with the layout homer5 "
			 "_registration_YYYYMMDD follows",
			 CONF_MAX_DAILY_TABLE);
}

static int read_tree(struct reader *r, const struct tree *root)
{
	struct scope all = { .prefix = "", .base = r->conf, .found = r->found };
	int err = root ? read_section(r, &all, "", root) : HT_OK;

	if (err == HT_OK)
		err = set_all_defaults(r);
	if (err < 0)
		return err;
	check_together(r);
	err = check_filters(r);
	if (err < 0)
		return err;
	return r->say.count ? HT_ECONF : HT_OK;
}

static int read_into(struct reader *r, const void *bytes, size_t len)
{
	struct tree *root;
	int err = tree_read(bytes, len, &r->say, &root);

	if (err == HT_OK)
		err = read_tree(r, root);
	tree_free(root);
	return err;
}

int conf_read_bytes(const char *name, const void *bytes, size_t len, struct conf **out,
		    FILE *errors)
{
	struct reader *r = calloc(1, sizeof(*r));
	struct conf *conf = calloc(1, sizeof(*conf));
	int err = -ENOMEM;

	if (r && conf && (conf->file = strdup(name))) {
		r->say = (struct complaints){ .name = name, .out = errors };
		r->conf = conf;
		r->bytes = bytes;
		r->len = len;
		err = read_into(r, bytes, len);
	}
	if (err == -ENOMEM && errors)
		fprintf(errors, "%s: out of memory\n", name);
	if (err < 0)
		conf_free(conf);
	else
		*out = conf;
	free(r);
	return err;
}

/* At most @p size bytes; a file that has more fills it. @return bytes or -errno. */
static ssize_t file_read(const char *file, char *out, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 0;
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (len < size) {
		n = read(fd, out + len, size - len);
		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	n = n < 0 ? -errno : (ssize_t)len;
	close(fd);
	return n;
}

int conf_read(const char *file, struct conf **out, FILE *errors)
{
	char *bytes;
	ssize_t len;
	int err;

	if (!file)
		return conf_read_bytes("", "", 0, out, errors);
	bytes = malloc(TREE_MAX_BYTES + 1);
	len = bytes ? file_read(file, bytes, TREE_MAX_BYTES + 1) : -ENOMEM;
	if (len >= 0) {
		err = conf_read_bytes(file, bytes, (size_t)len, out, errors);
		explicit_bzero(bytes, (size_t)len);
	} else {
		err = (int)len;
		if (errors)
			fprintf(errors, "%s: cannot be read: %s\n", file, ht_strerror(err));
	}
	free(bytes);
	return err;
}

void conf_free(struct conf *conf)
{
	const struct conf_option *o;

	if (!conf)
		return;
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		const struct conf_group *g;

		if (conf_option_group(o) < 0) {
			field_fini(o, conf);
			continue;
		}
		g = conf_group_at((size_t)conf_option_group(o));
		for (size_t n = 0; n < conf_group_count(g, conf); n++)
			field_fini(o, conf_group_entry(g, conf, n));
	}
	free(conf->file);
	free(conf);
}

/* The first line of @p len bytes becomes a string in place; what follows it is erased. */
static int first_line(char *text, size_t len, size_t size)
{
	char *end = memchr(text, '\n', len);
	size_t line = end ? (size_t)(end - text) : len;

	if (!end && len == size)
		return -EMSGSIZE;
	if (line > 0 && text[line - 1] == '\r')
		line--;
	if (line == 0)
		return -ENODATA;
	if (memchr(text, '\0', line))
		return -EINVAL;
	explicit_bzero(text + line, size - line);
	return HT_OK;
}

int conf_password(const struct conf *conf, char *out, size_t out_size)
{
	const char *password = conf->storage.password;
	ssize_t len;
	int err;

	if (!conf->storage.password_file[0]) {
		if (strlen(password) >= out_size)
			return -EMSGSIZE;
		strcpy(out, password);
		return HT_OK;
	}
	len = file_read(conf->storage.password_file, out, out_size);
	err = len < 0 ? (int)len : first_line(out, (size_t)len, out_size);
	if (err < 0)
		explicit_bzero(out, out_size);
	return err;
}
