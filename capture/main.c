/* Arguments and commands. Exit codes: 0 done, 1 the input or configuration is wrong, 2 usage, 3 the
 * system refused. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/client.h"
#include "capture/import.h"
#include "capture/match.h"
#include "capture/replay.h"
#include "capture/schema_command.h"
#include "capture/server.h"
#include "capture/tune_command.h"
#include "conf/complain.h"
#include "conf/conf.h"
#include "conf/log.h"
#include "conf/version.h"

enum { EXIT_DONE = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

#define DEFAULT_FILE "/etc/heptap/heptap.yaml"

struct command {
	const char *name;
	const char *arguments;
	const char *line; /* one line for the list */
	const char *text; /* the rest of `heptap help NAME` */
	int (*run)(const char *file, int argc, char **argv);
};

static const struct command commands[];

static int usage(const char *why, const char *what)
{
	fprintf(stderr, "heptap: %s%s%s\nTry 'heptap help'.\n", why, what ? ": " : "",
		what ? what : "");
	return EXIT_USAGE;
}

/* The configuration of a command that takes no (further) words. @return an exit code. */
static int conf_load(const char *file, int words_left, struct conf **out)
{
	int err;

	if (words_left != 0)
		return usage("too many arguments", NULL);
	err = conf_read(file, out, stderr);
	return err == HT_OK ? EXIT_DONE : err == HT_ECONF ? EXIT_WRONG : EXIT_REFUSED;
}

/* ---- commands ---- */

static int command_run(const char *file, int argc, char **argv)
{
	struct conf *conf;
	int code;

	(void)argv;
	code = conf_load(file, argc, &conf);
	if (code != EXIT_DONE)
		return code;
	log_open(conf->log.level, conf->log.target);
	code = server_run(conf) == HT_OK ? EXIT_DONE : EXIT_REFUSED;
	conf_free(conf);
	return code;
}

/* What a rule without a scope of its own has is worth knowing. */
static int print_scopes(const struct conf *conf)
{
	struct filter_program *program;
	int err = conf_compile_filters(conf, &program);

	if (err < 0)
		return err;
	for (uint32_t i = 0; i < program->rule_count; i++)
		printf("rule %s: scope %s\n", program->rules[i].name,
		       program->rules[i].scope == FILTER_SCOPE_MESSAGE ? "message" : "dialog");
	filter_free(program);
	return HT_OK;
}

static int command_check(const char *file, int argc, char **argv)
{
	struct conf *conf;
	int code;

	(void)argv;
	code = conf_load(file, argc, &conf);
	if (code != EXIT_DONE)
		return code == EXIT_REFUSED ? EXIT_WRONG : code;
	code = print_scopes(conf) == HT_OK ? EXIT_DONE : EXIT_REFUSED;
	if (code == EXIT_DONE)
		printf("%s: good\n", file);
	conf_free(conf);
	return code;
}

static int command_config(const char *file, int argc, char **argv)
{
	struct conf *conf;
	int code;

	(void)argv;
	code = conf_load(file, argc, &conf);
	if (code != EXIT_DONE)
		return code;
	conf_print(conf, stdout);
	conf_free(conf);
	return EXIT_DONE;
}

static int command_schema(const char *file, int argc, char **argv)
{
	struct conf *conf;
	int code;

	if (!schema_words_are_good(argc, argv))
		return usage(SCHEMA_USAGE, NULL);
	code = conf_load(file, 0, &conf);
	if (code != EXIT_DONE)
		return code;
	code = schema_command(conf, argc, argv);
	conf_free(conf);
	return code;
}

static int command_replay(const char *file, int argc, char **argv)
{
	struct conf *conf;
	int code;

	if (argc != 1)
		return usage("replay takes the directory of a spool", NULL);
	code = conf_load(file, 0, &conf);
	if (code != EXIT_DONE)
		return code;
	log_open(conf->log.level, LOG_TARGET_STDERR);
	code = replay_command(conf, argv[0]);
	conf_free(conf);
	return code;
}

static int command_import(const char *file, int argc, char **argv)
{
	struct import_wish wish;
	char why[WHY_BYTES];
	struct conf *conf;
	int code;

	if (!import_words(argc, argv, &wish, why))
		return usage(why, NULL);
	code = conf_load(file, 0, &conf);
	if (code != EXIT_DONE)
		return code;
	log_open(conf->log.level, LOG_TARGET_STDERR);
	code = import_command(conf, &wish);
	conf_free(conf);
	return code;
}

static int command_match(const char *file, int argc, char **argv)
{
	struct match_wish wish;
	char why[WHY_BYTES];
	struct conf *conf;
	int code;

	if (!match_words(argc, argv, &wish, why))
		return usage(why, NULL);
	code = conf_load(file, 0, &conf);
	if (code != EXIT_DONE)
		return code;
	log_open(conf->log.level, LOG_TARGET_STDERR);
	code = match_command(conf, &wish);
	conf_free(conf);
	return code;
}

static int command_tune(const char *file, int argc, char **argv)
{
	struct tune_words words;
	struct conf *conf = NULL;
	int code;

	if (!tune_words(argc, argv, &words))
		return usage(TUNE_USAGE, NULL);
	code = tune_needs_conf(&words) ? conf_load(file, 0, &conf) : EXIT_DONE;
	if (code != EXIT_DONE)
		return code;
	code = tune_command(conf, file, &words);
	conf_free(conf);
	return code;
}

/* ---- to the running server ---- */

static int ask_server(const char *file, int words_left, const char *path)
{
	struct conf *conf;
	int code = conf_load(file, words_left, &conf), status;

	if (code != EXIT_DONE)
		return code;
	status = client_put(conf, path);
	conf_free(conf);
	return status == 200						       ? EXIT_DONE
	       : status < 0 || status == 401 || status == 403 || status == 503 ? EXIT_REFUSED
									       : EXIT_WRONG;
}

static int command_reload(const char *file, int argc, char **argv)
{
	(void)argv;
	return ask_server(file, argc, "/api/reload");
}

static int command_capture(const char *file, int argc, char **argv)
{
	char path[512], name[256];

	if (argc != 2 || (strcmp(argv[0], "on") != 0 && strcmp(argv[0], "off") != 0))
		return usage("capture takes on or off and the name of a source", NULL);
	if (!client_encode(argv[1], name, sizeof(name)))
		return usage("there is no source of that name", argv[1]);
	snprintf(path, sizeof(path), "/api/capture/%s/%s", name, argv[0]);
	return ask_server(file, 0, path);
}

static int command_help(const char *file, int argc, char **argv)
{
	(void)file;
	if (argc > 1)
		return usage("help takes one command", NULL);
	for (const struct command *c = commands; argc == 1 && c->name; c++) {
		if (strcmp(c->name, argv[0]) != 0)
			continue;
		printf("usage: heptap %s%s\n\n%s\n%s", *c->name ? c->name : "", c->arguments,
		       c->line, c->text);
		return EXIT_DONE;
	}
	if (argc == 1)
		return usage("no such command", argv[0]);
	printf("heptap takes SIP from HEP agents, mirror ports and capture files, and stores it in "
	       "Homer's MySQL tables.\n\n");
	for (const struct command *c = commands; c->name; c++)
		printf("  heptap %-7s%-38s %s\n", c->name, c->arguments, c->line);
	printf("  heptap --version                                     the version\n\n"
	       "FILE is %s unless -c says otherwise. Manual: heptap(8), heptap.yaml(5).\n",
	       DEFAULT_FILE);
	return EXIT_DONE;
}

static const struct command commands[] = {
	{ "", "[-c FILE]", "run in the foreground",
	  "\nSIGTERM and SIGINT drain and end it, SIGHUP reads the configuration again (what is "
	  "wrong changes nothing),\n"
	  "SIGUSR1 writes its state to the log.\n",
	  command_run },
	{ "check", " -c FILE", "read the configuration and say what is wrong",
	  "\nErrors are FILE:LINE:COLUMN: KEY: what was expected. Exit 0 if it is good, 1 if "
	  "not.\n",
	  command_check },
	{ "config", " -c FILE", "print the configuration with all defaults",
	  "\nPasswords and keys are not shown; everything else can be read again.\n",
	  command_config },
	{ "schema", " print|install|upgrade|rotate -c FILE",
	  "the tables: show the SQL, run it, compare, or rotate",
	  "\nprint and install take parts: capture, reports, statistics (these three if none is "
	  "named), users (Homer 3),\nconfiguration (Homer 5); print also grants, for accounts with "
	  "no "
	  "more rights than they need. install makes\nthe database, if it is missing; what is "
	  "there "
	  "stays as it is. upgrade says what the database lacks of it,\nand adds it after a yes, "
	  "or "
	  "with --yes; it drops and narrows nothing. upgrade --convert also gives tables "
	  "of\nothers "
	  "our engine, row format and primary key. rotate does once what the running server does "
	  "each "
	  "minute:\nit makes partitions and daily tables ahead, drops those that are too old or "
	  "too "
	  "much, and prints each\nstatement; with --dry-run it only prints them.\n",
	  command_schema },
	{ "import", " -c FILE [OPTIONS] CAPTURE...", "store the SIP of capture files",
	  "\nCAPTURE is a pcap or pcapng file, or - for standard input; several are read one "
	  "after the other, as one.\n\n"
	  "  --ports 5060,5070    ports of SIP\n"
	  "  --hep-ports 9060     ports of HEP on its way to somebody\n"
	  "  --bpf EXPRESSION     only packets that this filter takes are looked at, whatever "
	  "their ports (pcap-filter(7))\n"
	  "  --from N             begin with packet N of the first file\n\n"
	  "What no option says is as in the first entry of `capture` in FILE; without one the "
	  "ports are 5060 and 5061.\nIt may run beside a server. Ctrl-C stops reading, stores "
	  "what was read and says where it stopped; twice gives up.\n"
	  "Exit 0 if all is stored, 1 if a file is damaged or rows were refused, 3 if it could "
	  "not be done or was\ninterrupted.\n",
	  command_import },
	{ "replay", " -c FILE DIR", "store the spool of another (dead) machine, exactly once",
	  "\nDIR stays as it is: what the database has of it already, by whatever way, is not "
	  "stored "
	  "again,\nso an interrupted replay is just started again. It may run beside a server, but "
	  "not "
	  "on the spool of one that\nruns. Exit 0 if all is stored, 1 if some was damaged or "
	  "refused, 3 if "
	  "it could not be done.\n",
	  command_replay },
	{ "match", " -c FILE [OPTIONS] [-r CAPTURE]",
	  "which filter rule decides, message by message",
	  "\nCAPTURE is a pcap or pcapng file, or - for standard input. Without it standard input "
	  "is "
	  "SIP messages,\na line of --- between two of them.\n\n"
	  "  --only RULE          show only what this rule decides (default_action: what none "
	  "does)\n"
	  "  --tests              show all tests that were made, not only the one that settled a "
	  "rule\n"
	  "  --summary            show no message, only how often each rule decided\n"
	  "  --json               an object of JSON for each message, and one for the summary\n"
	  "  --source NAME        listener or capture that the messages come by\n"
	  "  --ports, --hep-ports, --bpf  of a capture: as of import\n"
	  "  --src, --dst 192.0.2.1:5060, --transport udp, --agent NAME  of messages: what they do "
	  "not say themselves\n\n"
	  "Nothing is stored and no server is asked. Exit 0 if all of it was judged; 1 if it is no "
	  "capture or no SIP,\nor is damaged, or the rule of --only decided nothing; 3 if it could "
	  "not be done or was interrupted.\n",
	  command_match },
	{ "tune", " plan|apply|... -c FILE [OPTIONS]", "what would suit this host; do it, undo it",
	  "\nplan      prints how many threads, rings and buffers of what size and which cores we "
	  "would use; what of the host\n          should change (now, wanted, why, right needed, "
	  "danger, undo); and settings that hurt. It changes nothing.\n"
	  "apply     makes those changes, and says of each what became of it. What was there "
	  "before "
	  "is in a journal\n          before anything is written. Exit 3 if something was "
	  "refused.\n"
	  "verify    compares the host with the journal. Exit 3 if something is not as it was "
	  "set.\n"
	  "rollback  sets everything back, but for what somebody else changed since. Exit 3 if "
	  "something was refused.\n"
	  "export    prints files that keep it over a restart: sysctl.d, .link, a drop-in of our "
	  "unit.\n\n"
	  "  --root DIR           a recorded host: its /proc, /sys, /etc and /var/lib/heptap below "
	  "DIR\n"
	  "  --format text|json   text unless json is asked for\n"
	  "  --only PATTERN       apply: only these objects ('*/rps_cpus'), an interface (eth0) or "
	  "a "
	  "kind (irq, queue,\n                       sysctl, ethtool, table); may be given several "
	  "times\n"
	  "  --persist            apply: also write the files of export to their places\n"
	  "  --dir DIR            export: write the files below DIR instead\n\n"
	  "A file that heptap did not make is never written to. verify and rollback go by the "
	  "journal,\n/var/lib/heptap/tune.journal, and need no configuration.\n",
	  command_tune },
	{ "reload", " -c FILE", "the running server reads its configuration again",
	  "\nWhat is wrong changes nothing and is printed. Exit 0 if it was done, 1 if something "
	  "is "
	  "wrong,\n3 if the server does not answer.\n",
	  command_reload },
	{ "capture", " on|off NAME -c FILE",
	  "store what a source of the running server gets, or not",
	  "\nNAME is the name of a listener. While it is off what comes is counted as "
	  "denied{reason=\"off\"};\n"
	  "a start of the server switches everything on.\n",
	  command_capture },
	{ "help", " [COMMAND]", "this list, or more about a command", "", command_help },
	{ NULL, NULL, NULL, NULL, NULL },
};

/* -c FILE may stand before or behind the command. */
static const char *file_option(int *argc, char **argv)
{
	const char *file = DEFAULT_FILE;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "-c") != 0)
			argv[kept++] = argv[i];
		else if (++i < *argc)
			file = argv[i];
		else
			file = NULL;
	}
	*argc = kept;
	return file;
}

int main(int argc, char **argv)
{
	const char *file = file_option(&argc, argv);
	const char *name = argc > 1 ? argv[1] : "";

	if (!file)
		return usage("-c takes the name of a file", NULL);
	if (strcmp(name, "--version") == 0) {
		printf("heptap %s\n", HEPTAP_VERSION);
		return EXIT_DONE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c->run(file, argc > 1 ? argc - 2 : 0, argv + (argc > 1 ? 2 : 1));
	return usage(name[0] == '-' ? "no such option" : "no such command", name);
}
