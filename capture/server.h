/**
 * @file
 * The running server: owns all threads; creates, names and joins them, and registers them with RCU.
 * Threads: main.
 */
#pragma once
#include "conf/conf.h"

/**
 * Run until SIGTERM or SIGINT, then drain. SIGHUP reads the file again.
 * @param conf  Stays the caller's and has to live as long.
 * @return HT_OK, or why it did not start (said in the log).
 */
HT_MUST_CHECK int server_run(const struct conf *conf);
