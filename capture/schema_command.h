/**
 * @file
 * `heptap schema`: our tables printed, made, brought up to what they are in this version, or
 * rotated.
 * Threads: main of a command.
 */
#pragma once
#include "conf/conf.h"

/** The words that may follow, for a usage error. */
#define SCHEMA_USAGE                                                                              \
	"schema takes print or install and parts (capture, reports, statistics, users, "          \
	"configuration; print also grants, for an administrator to run), or upgrade and perhaps " \
	"--convert and --yes, or rotate and perhaps --dry-run"

/** Are these words good? @p argv: print, install, upgrade or rotate, and what follows. */
bool schema_words_are_good(int argc, char **argv);

/** @return an exit code. */
int schema_command(const struct conf *conf, int argc, char **argv);
