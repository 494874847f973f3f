/**
 * @file
 * The HTTP server: evhttp with bounds on connections, time and size; it knows paths, not numbers.
 * Threads: all of it runs in main's event loop.
 */
#pragma once
#include <event2/buffer.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "conf/err.h"

#define HTTP_MAX_CONNECTIONS 64
#define HTTP_MAX_BODY	     8192
#define HTTP_TIMEOUT_S	     10

struct http;
struct memory_use;
struct subscribers;

/* Answer a GET: append the body to @p out. @return the status code; @p type is set to the content
 * type. @p rest: what follows a path that ends in a slash,
 * percent-decoded. */
typedef int http_answer_fn(void *ctx, const char *rest, struct evbuffer *out, const char **type);

/*
 * A path that changes something takes PUT alone, which no page of another site can send, and
 * without a token only from this host.
 */
struct http_path {
	const char *path; /* that ends in a slash: all below it */
	http_answer_fn *answer;
	bool is_open; /* answered without the token too */
	bool is_put;
	bool is_stream; /* after 200 the answer goes on: subscribers_send() */
};

/** Bind the address; http_serve() starts to answer. @return HT_OK or -errno. */
HT_MUST_CHECK int http_open(struct http **out, struct event_base *base, const struct sockaddr *addr,
			    socklen_t addr_len);

/** Those who get the streams. */
struct subscribers *http_subscribers(struct http *h);

/**
 * Answer these paths.
 * @param paths  Ends with a NULL path; has to live as long as the server, as has @p ctx.
 * @param token  Bearer token asked for, or NULL; copied.
 */
HT_MUST_CHECK int http_serve(struct http *h, const struct http_path *paths, void *ctx,
			     const char *token);

/** Add what requests and answers on their way take. */
void http_memory(struct http *h, struct memory_use *sum);

void http_close(struct http *h);
