/* Chunks of an evhttp answer that is never ended. */
#include "web-sql/subscribers.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "conf/err.h"
#include "conf/log.h"

#define INPUT_MOST 4096 /* octets that nobody asked for are taken in so far */

/*
 * evhttp ends a connection that is silent, but subscribers are; and it takes in whatever comes
 * while it answers. A host that went away without a word is found by what it does not acknowledge.
 */
static void connection_prepare(struct evhttp_connection *connection)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(connection);
	int fd = (int)bufferevent_getfd(bev), room = SUBSCRIBERS_BYTES;
	unsigned patience_ms = SUBSCRIBERS_SILENCE_S * 1000;

	bufferevent_set_timeouts(bev, NULL, NULL);
	bufferevent_setwatermark(bev, EV_READ, 0, INPUT_MOST);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms)) < 0)
		log_debug("http: a subscriber's socket: %s", ht_strerror(-errno));
}

bool subscribers_have_room(struct subscribers *s)
{
	if (s->count < SUBSCRIBERS_MAX)
		return true;
	s->refused++;
	return false;
}

void subscribers_add(struct subscribers *s, struct evhttp_request *request, const char *type,
		     struct evbuffer *first)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	unsigned i = s->count++;

	s->at[i].request = request;
	s->at[i].connection = evhttp_request_get_connection(request);
	connection_prepare(s->at[i].connection);
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_send_reply_start(request, HTTP_OK, "OK");
	evhttp_send_reply_chunk(request, first);
}

/* A connection that failed leaves its unfinished request to us; one that is freed frees it. */
void subscribers_gone(struct subscribers *s, struct evhttp_connection *connection)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct evhttp_request *request = s->at[i].request;

		if (s->at[i].connection != connection)
			continue;
		s->at[i] = s->at[--s->count];
		if (!evhttp_request_get_connection(request))
			evhttp_send_reply_end(request);
		return;
	}
}

static size_t waiting_bytes(struct evhttp_connection *connection)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(connection);

	return evbuffer_get_length(bufferevent_get_output(bev));
}

unsigned subscribers_send(struct subscribers *s, const char *text, size_t len)
{
	struct evbuffer *chunk = evbuffer_new();
	unsigned sent = 0;

	for (unsigned i = s->count;
	     chunk && i-- > 0;) { /* from behind: a cut one leaves its place */
		if (waiting_bytes(s->at[i].connection) + len > SUBSCRIBERS_BYTES) {
			s->cut++;
			evhttp_connection_free(s->at[i].connection);
		} else if (evbuffer_add(chunk, text, len) == 0) {
			evhttp_send_reply_chunk(s->at[i].request, chunk);
			sent++;
		}
	}
	if (chunk)
		evbuffer_free(chunk);
	return sent;
}
