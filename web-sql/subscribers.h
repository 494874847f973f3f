/**
 * @file
 * Answers that do not end: HTTP clients to whom text is sent as it comes up. Their number is
 * bounded, and what waits for one of them is: who does not read is cut. Part of web-sql/http.c,
 * which knows connections. Threads: main.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;
struct evhttp_connection;
struct evhttp_request;

#define SUBSCRIBERS_MAX	      16
#define SUBSCRIBERS_BYTES     65536 /* that wait for one of them here, and in its socket */
#define SUBSCRIBERS_SILENCE_S 60    /* of a host that acknowledges nothing; then it is gone */

struct subscribers {
	unsigned count;
	struct {
		struct evhttp_request *request;
		struct evhttp_connection *connection;
	} at[SUBSCRIBERS_MAX];
	uint64_t refused; /* for want of a place */
	uint64_t cut;	  /* did not read */
};

/** Is there a place for another? If not, that is counted. */
bool subscribers_have_room(struct subscribers *s);

/** Begin to answer; there has to be room. @p first: what it gets at once. */
void subscribers_add(struct subscribers *s, struct evhttp_request *request, const char *type,
		     struct evbuffer *first);

/** A connection has ended; perhaps one of these. */
void subscribers_gone(struct subscribers *s, struct evhttp_connection *connection);

/** @return to how many it was sent; who has no room for it is cut. */
unsigned subscribers_send(struct subscribers *s, const char *text, size_t len);
