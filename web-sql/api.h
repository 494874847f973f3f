/**
 * @file
 * What is answered over HTTP: /metrics, /healthz, /readyz, /api/status; control.h has the rest.
 * Threads: main.
 */
#pragma once
#include "web-sql/http.h"

/* For http_serve(); its ctx is a struct stats_sources. */
extern const struct http_path api_paths[];
