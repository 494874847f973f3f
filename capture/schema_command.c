/* Parts by name; upgrade says first what it would do. */
#include "capture/schema_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/clock.h"
#include "storage/db.h"
#include "storage/schema.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_REFUSED = 3 };

/* What a word stands for; parts of one word lie together. */
static const struct part {
	const char *word;
	enum schema_part part;
	bool is_default, may_install;
} parts[] = {
	{ "capture", SCHEMA_CAPTURE, true, true },
	{ "capture", SCHEMA_HEPTAP, true, true },
	{ "reports", SCHEMA_RTCP, true, true },
	{ "reports", SCHEMA_REPORT, true, true },
	{ "reports", SCHEMA_LOGS, true, true },
	{ "statistics", SCHEMA_STATISTICS, true, true },
	{ "users", SCHEMA_USERS, false, true },
	{ "configuration", SCHEMA_CONFIGURATION, false, true },
	{ "grants", SCHEMA_GRANTS, false, false },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static bool is_word(const char *word, bool to_install)
{
	for (size_t i = 0; i < PARTS; i++)
		if (strcmp(parts[i].word, word) == 0)
			return parts[i].may_install || !to_install;
	return false;
}

bool schema_words_are_good(int argc, char **argv)
{
	bool to_install = argc > 0 && strcmp(argv[0], "install") == 0;

	if (argc == 0)
		return false;
	if (strcmp(argv[0], "upgrade") == 0)
		return argc == 1 || (argc == 2 && strcmp(argv[1], "--yes") == 0);
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

static struct schema_names names_for(const struct conf *conf, enum schema_part part)
{
	bool is_report = part == SCHEMA_RTCP || part == SCHEMA_REPORT || part == SCHEMA_LOGS;

	return (struct schema_names){ .database = conf->storage.database,
				      .table = is_report ? schema_report_table(part)
							 : conf->storage.table,
				      .today = (uint32_t)(clock_wall_us() / 86400000000ULL) };
}

/* With daily tables the one for SIP is none of them: the server makes those. */
static bool is_for(const struct conf *conf, enum schema_part part)
{
	return part != SCHEMA_CAPTURE || conf->storage.layout != CONF_LAYOUT_HOMER5;
}

static int print(const struct conf *conf, int argc, char **argv)
{
	bool is_first = true;

	for (size_t i = 0; i < PARTS; i++) {
		struct schema_names names = names_for(conf, parts[i].part);

		if (!is_wanted(&parts[i], argc, argv) || !is_for(conf, parts[i].part))
			continue;
		if (!is_first)
			putchar('\n');
		is_first = false;
		if (schema_print(stdout, parts[i].part, &names) < 0)
			return EXIT_REFUSED;
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
				.autocommit = true };
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

static int install(const struct conf *conf, struct db *db, int argc, char **argv)
{
	const char *last = "";

	for (size_t i = 0; i < PARTS; i++) {
		struct schema_names names = names_for(conf, parts[i].part);

		if (!is_wanted(&parts[i], argc, argv) || !is_for(conf, parts[i].part))
			continue;
		if (schema_make(db, parts[i].part, &names) < 0)
			return complain(conf, db, "making the tables");
		if (strcmp(last, parts[i].word) != 0)
			printf("%s: %s is there\n", conf->storage.database, parts[i].word);
		last = parts[i].word;
	}
	return EXIT_DONE;
}

/* ---- upgrade ---- */

struct upgrade {
	struct db *db;
	FILE *why, *sql;
	int changes; /* or an error */
};

static void compare(struct upgrade *u, enum schema_part part, const char *table)
{
	int n = u->changes < 0 ? u->changes : schema_compare(u->db, part, table, u->why, u->sql);

	u->changes = n < 0 ? n : u->changes + n;
}

/* Names are kept, since the connection answers one question at a time. */
struct tables {
	char name[2048][65];
	unsigned count;
};

static void table_see(void *ctx, unsigned columns, char **texts)
{
	struct tables *t = ctx;

	if (columns == 1 && texts[0] && t->count < 2048)
		snprintf(t->name[t->count++], 65, "%s", texts[0]);
}

/* The table of SIP messages, or the daily ones. */
static void compare_capture(struct upgrade *u, const char *table)
{
	struct tables *t = calloc(1, sizeof(*t));
	char sql[512];
	int64_t rows;

	snprintf(sql, sizeof(sql),
		 "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
		 "AND (table_name = '%s' OR table_name REGEXP "
		 "'^%s_(call|registration|rest)_([0-9]{8}|past)$')",
		 table, table);
	rows = t ? db_query(u->db, table_see, t, sql) : -1;
	if (rows < 0)
		u->changes = (int)rows;
	for (unsigned i = 0; t && i < t->count; i++)
		compare(u, SCHEMA_CAPTURE, t->name[i]);
	free(t);
}

static bool is_agreed(int argc)
{
	char answer[8] = "";

	if (argc == 2) /* --yes */
		return true;
	if (!isatty(STDIN_FILENO))
		return false;
	printf("Run this? Each ALTER TABLE may rewrite its table. [yes/no] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static int upgrade_run(const struct conf *conf, struct upgrade *u, int argc, const char *why,
		       const char *sql)
{
	int code = EXIT_DONE;

	if (u->changes < 0)
		return complain(conf, u->db, "comparing the tables");
	if (u->changes == 0) {
		printf("%s: nothing to do\n", conf->storage.database);
		return EXIT_DONE;
	}
	printf("%s%s", why, sql);
	if (!is_agreed(argc)) {
		printf("nothing was done; --yes does it\n");
		return EXIT_DONE;
	}
	if (schema_run(u->db, sql) < 0)
		code = complain(conf, u->db, "changing the tables");
	else
		printf("done\n");
	return code;
}

static int upgrade(const struct conf *conf, struct db *db, int argc)
{
	static const char *const statistics[] = {
		"stats_method",	    "stats_data",    "stats_ip",   "stats_useragent", "stats_geo",
		"stats_dest_reply", "stats_generic", "alarm_data", "alarm_config"
	};
	char *why = NULL, *sql = NULL;
	size_t why_len, sql_len;
	struct upgrade u = { .db = db,
			     .why = open_memstream(&why, &why_len),
			     .sql = open_memstream(&sql, &sql_len) };
	int code;

	if (!u.why || !u.sql) {
		fprintf(stderr, "heptap: out of memory\n");
		return EXIT_REFUSED;
	}
	compare_capture(&u, conf->storage.table);
	for (enum schema_part p = SCHEMA_RTCP; p <= SCHEMA_LOGS; p++)
		compare(&u, p, schema_report_table(p));
	compare(&u, SCHEMA_HEPTAP, "heptap_ledger");
	compare(&u, SCHEMA_HEPTAP, "heptap_ids");
	for (size_t i = 0; i < sizeof(statistics) / sizeof(statistics[0]); i++)
		compare(&u, SCHEMA_STATISTICS, statistics[i]);
	fclose(u.why);
	fclose(u.sql);
	code = upgrade_run(conf, &u, argc, why, sql);
	free(why);
	free(sql);
	return code;
}

int schema_command(const struct conf *conf, int argc, char **argv)
{
	struct db *db;
	int code;

	if (strcmp(argv[0], "print") == 0)
		return print(conf, argc, argv);
	code = open_server(conf, &db);
	if (code != EXIT_DONE)
		return code;
	code = use_database(conf, db);
	if (code == EXIT_DONE)
		code = strcmp(argv[0], "install") == 0 ? install(conf, db, argc, argv)
						       : upgrade(conf, db, argc);
	db_close(db);
	return code;
}
