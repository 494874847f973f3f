/**
 * @file
 * Over HTTP: who sends, switching a source on and off, and reading the configuration again. The ctx
 * is a struct stats_sources. Threads: main.
 */
#pragma once
#include "web-sql/http.h"

/** GET: the agents as JSON. */
int control_agents(void *ctx, const char *rest, struct evbuffer *out, const char **type);

/** PUT NAME/on and NAME/off. */
int control_capture(void *ctx, const char *rest, struct evbuffer *out, const char **type);

/** PUT: 200, or 422 and what is wrong. */
int control_reload(void *ctx, const char *rest, struct evbuffer *out, const char **type);
