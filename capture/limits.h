/**
 * @file
 * Limits of the process, before it opens anything. Threads: main.
 */
#pragma once
struct conf;

/**
 * As many open files as the configuration may need: up to the hard limit always, and beyond it with
 * CAP_SYS_RESOURCE, but not beyond fs.nr_open. What is missing is told in the log. No core files,
 * which would hold messages of others.
 */
void limits_set(const struct conf *conf);
