/* Parts by name; upgrade says first what it would do; rotate is ht-admin's look by hand. */
#include "capture/schema_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/clock.h"
#include "storage/db.h"
#include "storage/partitions.h"
#include "storage/rotate.h"
#include "storage/schema.h"
#include "storage/upgrade.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_REFUSED = 3 };

/* What a word stands for; parts of one word lie together. */
static const struct part {
	const char *word;
	enum schema_part part;
	bool is_default, may_install;
	const char *table; /* that a rule names; NULL: the part's own */
} parts[] = {
	{ "capture", SCHEMA_CAPTURE, true, true, NULL },
	{ "capture", SCHEMA_HEPTAP, true, true, NULL },
	{ "reports", SCHEMA_RTCP, true, true, NULL },
	{ "reports", SCHEMA_REPORT, true, true, NULL },
	{ "reports", SCHEMA_LOGS, true, true, NULL },
	{ "reports", SCHEMA_WEBRTC, true, true, NULL },
	{ "statistics", SCHEMA_STATISTICS, true, true, NULL },
	{ "users", SCHEMA_USERS, false, true, NULL },
	{ "configuration", SCHEMA_CONFIGURATION, false, true, NULL },
	{ "grants", SCHEMA_GRANTS, false, false, NULL },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static bool is_word(const char *word, bool to_install)
{
	for (size_t i = 0; i < PARTS; i++)
		if (strcmp(parts[i].word, word) == 0)
			return parts[i].may_install || !to_install;
	return false;
}

static bool has_option(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], option) == 0)
			return true;
	return false;
}

bool schema_words_are_good(int argc, char **argv)
{
	bool to_install = argc > 0 && strcmp(argv[0], "install") == 0;

	if (argc == 0)
		return false;
	if (strcmp(argv[0], "upgrade") == 0) {
		bool yes = has_option(argc, argv, "--yes");
		bool convert = has_option(argc, argv, "--convert");

		return argc == 1 + yes + convert;
	}
	if (strcmp(argv[0], "rotate") == 0)
		return argc == 1 || (argc == 2 && strcmp(argv[1], "--dry-run") == 0);
	if (!to_install && strcmp(argv[0], "print") != 0)
		return false;
	for (int i = 1; i < argc; i++)
		if (!is_word(argv[i], to_install))
			return false;
	return true;
}

static bool is_wanted(const struct part *p, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], p->word) == 0)
			return true;
	return argc == 1 && p->is_default;
}

static struct schema_names names_for(const struct conf *conf, const struct part *p)
{
	enum schema_part part = p->part;
	bool is_report = part == SCHEMA_RTCP || part == SCHEMA_REPORT || part == SCHEMA_LOGS;
	bool is_hourly = conf->storage.partition == CONF_PARTITION_HOUR;

	return (struct schema_names){ .database = conf->storage.database,
				      .table = p->table	   ? p->table
					       : is_report ? schema_report_table(part)
							   : conf->storage.table,
				      .today = (uint32_t)(clock_wall_us() / 86400000000ULL),
				      .step = is_hourly ? PARTITION_HOUR : PARTITION_DAY,
				      .is_daily = conf->storage.layout == CONF_LAYOUT_HOMER5 };
}

/* The parts that a configuration stands for. */
struct list {
	struct part part[PARTS + ROUTES_MOST];
	size_t count;
	struct layout layout;
	struct routes routes;
};

/* With daily tables the one for SIP is none of them: the server makes those. The tables that rules
 * name are parts of the same word. */
static void list_init(struct list *l, const struct conf *conf)
{
	routes_init(&l->routes);
	layout_init(&l->layout, &l->routes, conf);
	l->count = 0;
	for (size_t i = 0; i < PARTS; i++) {
		bool is_capture = parts[i].part == SCHEMA_CAPTURE;

		if (!is_capture || !l->layout.is_daily)
			l->part[l->count++] = parts[i];
		for (unsigned n = 0; is_capture && n < routes_count(&l->routes); n++) {
			l->part[l->count] = parts[i];
			l->part[l->count++].table = l->routes.name[n];
		}
	}
}

static void list_fini(struct list *l)
{
	routes_fini(&l->routes);
}

/* With daily tables the writer may insert into whatever is there. */
static void routed_grants_print(const struct list *l, const struct conf *conf)
{
	for (unsigned n = 0; !l->layout.is_daily && n < routes_count(&l->routes); n++)
		printf("%sGRANT INSERT ON `%s`.`%s` TO 'homer_writer'@'localhost';\n",
		       n ? "" : "\n-- Tables that rules name.\n", conf->storage.database,
		       l->routes.name[n]);
}

static int print(const struct conf *conf, const struct list *l, int argc, char **argv)
{
	bool is_first = true;

	for (size_t i = 0; i < l->count; i++) {
		struct schema_names names = names_for(conf, &l->part[i]);

		if (!is_wanted(&l->part[i], argc, argv))
			continue;
		if (!is_first)
			putchar('\n');
		is_first = false;
		if (schema_print(stdout, l->part[i].part, &names) < 0)
			return EXIT_REFUSED;
		if (l->part[i].part == SCHEMA_GRANTS)
			routed_grants_print(l, conf);
	}
	return EXIT_DONE;
}

/* ---- with the database ---- */

static int complain(const struct conf *conf, const struct db *db, const char *doing)
{
	const char *where = conf->storage.socket[0] ? conf->storage.socket : conf->storage.host;

	fprintf(stderr, "heptap: %s as %s on %s: %s\n", doing, conf->storage.user, where,
		db_last_error(db));
	return EXIT_REFUSED;
}

/* Connect, without having chosen a database. @return an exit code. */
static int open_server(const struct conf *conf, struct db **out)
{
	char password[256];
	struct db_options o = { .host = conf->storage.host,
				.socket = conf->storage.socket,
				.user = conf->storage.user,
				.password = password,
				.port = conf->storage.port,
				.autocommit = true,
				.is_patient = true };
	int err;

	if (conf_password(conf, password, sizeof(password)) < 0) {
		fprintf(stderr, "heptap: storage.password_file: %s: cannot be read\n",
			conf->storage.password_file);
		return EXIT_REFUSED;
	}
	err = db_open(out, &o);
	explicit_bzero(password, sizeof(password));
	return err < 0 ? complain(conf, NULL, "connecting") : EXIT_DONE;
}

/* Choose the database, making it if it is not there and may be made. */
static int use_database(const struct conf *conf, struct db *db)
{
	if (db_run(db, "USE `%s`", conf->storage.database) < 0 &&
	    (db_run(db,
		    "CREATE DATABASE IF NOT EXISTS `%s` DEFAULT CHARACTER SET utf8mb4 COLLATE "
		    "utf8mb4_general_ci",
		    conf->storage.database) < 0 ||
	     db_run(db, "USE `%s`", conf->storage.database) < 0))
		return complain(conf, db, "making the database");
	return EXIT_DONE;
}

static const char *database_of(const struct conf *conf, enum schema_part part)
{
	return part == SCHEMA_USERS	      ? "homer_users"
	       : part == SCHEMA_CONFIGURATION ? "homer_configuration"
					      : conf->storage.database;
}

static int install(const struct conf *conf, const struct list *l, struct db *db, int argc,
		   char **argv)
{
	const char *last = "";

	for (size_t i = 0; i < l->count; i++) {
		const struct part *p = &l->part[i];
		struct schema_names names = names_for(conf, p);

		if (!is_wanted(p, argc, argv))
			continue;
		if (schema_make(db, p->part, &names) < 0)
			return complain(conf, db, "making the tables");
		if (strcmp(last, p->word) != 0)
			printf("%s: %s is there\n", database_of(conf, p->part), p->word);
		last = p->word;
	}
	return EXIT_DONE;
}

/* ---- upgrade ---- */

/* The daily tables that are there; names are kept, since the connection answers one question at a
 * time. */
struct days {
	char (*name)[65];
	size_t count;
	bool is_full;
};

static void day_see(void *ctx, unsigned columns, char **texts)
{
	struct days *d = ctx;
	void *grown;

	if (columns != 1 || !texts[0] || d->is_full)
		return;
	grown = reallocarray(d->name, d->count + 1, sizeof(*d->name));
	d->is_full = !grown;
	if (!grown)
		return;
	d->name = grown;
	snprintf(d->name[d->count++], sizeof(*d->name), "%s", texts[0]);
}

/* @return statements, or an error. */
static int compare_days(struct db *db, const struct schema_names *names, bool convert, FILE *out)
{
	struct days d = { 0 };
	char sql[512];
	int64_t rows;
	int n, sum = 0;

	snprintf(sql, sizeof(sql),
		 "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
		 "AND table_name REGEXP '^%s_(call|registration|rest)_([0-9]{8}|past)$' "
		 "ORDER BY table_name",
		 names->table);
	rows = db_query(db, day_see, &d, sql);
	if (rows < 0 || d.is_full)
		sum = rows < 0 ? (int)rows : -ENOMEM;
	for (size_t i = 0; i < d.count && sum >= 0; i++) {
		struct schema_names of_day = *names;

		of_day.table = d.name[i];
		n = upgrade_compare(db, SCHEMA_CAPTURE_DAY, &of_day, convert, out);
		sum = n < 0 ? n : sum + n;
	}
	free(d.name);
	return sum;
}

/* Everything of ours in the database. @return statements, or an error. */
static int compare(const struct conf *conf, const struct list *l, struct db *db, bool convert,
		   FILE *out)
{
	struct schema_names names = names_for(conf, &parts[0]);
	int sum = compare_days(db, &names, convert, out);

	for (size_t i = 0; i < l->count && sum >= 0; i++) {
		int n;

		if (!l->part[i].is_default)
			continue;
		names = names_for(conf, &l->part[i]);
		n = upgrade_compare(db, l->part[i].part, &names, convert, out);
		sum = n < 0 ? n : sum + n;
	}
	return sum;
}

static bool is_agreed(void)
{
	char answer[8] = "";

	if (!isatty(STDIN_FILENO))
		return false;
	printf("Run this? [yes/no] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

struct running {
	const struct conf *conf;
	struct db *db;
	unsigned done, refused;
};

/* What one table refuses does not keep the others from what they need. */
static int statement_run(void *ctx, const char *statement)
{
	struct running *r = ctx;
	char doing[128];
	int64_t rows = db_query(r->db, NULL, NULL, statement);

	if (rows >= 0) {
		r->done++;
		return HT_OK;
	}
	r->refused++;
	snprintf(doing, sizeof(doing), "%.*s", (int)strcspn(statement, "(\n"), statement);
	complain(r->conf, r->db, doing);
	return rows == HT_ECONN ? (int)rows : HT_OK;
}

static int upgrade_run(const struct conf *conf, struct db *db, const char *sql)
{
	struct running r = { .conf = conf, .db = db };
	int err = schema_each(sql, statement_run, &r);

	if (err == HT_OK && r.refused == 0) {
		printf("done\n");
		return EXIT_DONE;
	}
	if (r.refused == 0)
		fprintf(stderr, "heptap: %s\n", ht_strerror(err));
	printf("%u done, %u refused%s\n", r.done, r.refused,
	       err < 0 ? "; the rest was not tried" : "");
	return EXIT_REFUSED;
}

static int upgrade(const struct conf *conf, const struct list *l, struct db *db, int argc,
		   char **argv)
{
	char *sql = NULL;
	size_t len;
	FILE *out = open_memstream(&sql, &len);
	bool convert = has_option(argc, argv, "--convert");
	int code = EXIT_DONE, changes = out ? compare(conf, l, db, convert, out) : -ENOMEM;

	if (out && fclose(out) != 0 && changes >= 0)
		changes = -ENOMEM;
	if (changes == -ENOMEM) {
		fprintf(stderr, "heptap: out of memory\n");
		code = EXIT_REFUSED;
	} else if (changes < 0) {
		code = complain(conf, db, "comparing the tables");
	} else if (changes == 0) {
		printf("%s%s: nothing to do\n", sql, conf->storage.database);
	} else {
		printf("%s", sql);
		if (has_option(argc, argv, "--yes") || is_agreed())
			code = upgrade_run(conf, db, sql);
		else
			printf("nothing was done; --yes does it\n");
	}
	free(sql);
	return code;
}

/* ---- rotate ---- */

static int rotate(const struct conf *conf, const struct list *l, struct db *db, bool is_dry)
{
	struct rotate_options o = rotate_options_of(conf, &l->layout);
	struct rotate *r;
	int failures;

	o.out = stdout;
	o.is_dry = is_dry;
	if (rotate_new(&r, &o) < 0) {
		fprintf(stderr, "heptap: out of memory\n");
		return EXIT_REFUSED;
	}
	failures = rotate_session(db);
	if (failures == HT_OK)
		failures = rotate_look(r, db);
	rotate_free(r);
	if (failures < 0)
		return complain(conf, db, "rotating");
	if (failures > 0)
		fprintf(stderr, "heptap: %d statement%s refused\n", failures,
			failures == 1 ? " was" : "s were");
	return failures ? EXIT_REFUSED : EXIT_DONE;
}

static int run(const struct conf *conf, const struct list *l, int argc, char **argv)
{
	bool is_install = strcmp(argv[0], "install") == 0;
	bool is_rotate = strcmp(argv[0], "rotate") == 0;
	struct db *db;
	int code = open_server(conf, &db);

	if (code != EXIT_DONE)
		return code;
	if (is_install)
		code = use_database(conf, db);
	else if (db_run(db, "USE `%s`", conf->storage.database) < 0)
		code = complain(conf, db, "choosing the database");
	if (code == EXIT_DONE)
		code = is_install  ? install(conf, l, db, argc, argv)
		       : is_rotate ? rotate(conf, l, db, argc == 2)
				   : upgrade(conf, l, db, argc, argv);
	db_close(db);
	return code;
}

int schema_command(const struct conf *conf, int argc, char **argv)
{
	struct list list;
	int code;

	list_init(&list, conf);
	if (strcmp(argv[0], "print") == 0)
		code = print(conf, &list, argc, argv);
	else
		code = run(conf, &list, argc, argv);
	list_fini(&list);
	return code;
}
