/* evhttp; the number of open connections is bounded by not accepting. */
#include "web-sql/http.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>

#include "conf/clock.h"
#include "conf/gauge.h"
#include "web-sql/subscribers.h"

struct http {
	struct event_base *base;
	struct evhttp *server;
	struct evconnlistener *listener;
	const struct http_path *paths;
	void *ctx;
	char *token;
	struct subscribers subscribers;
	struct event *each_second;
	struct evhttp_connection *known[HTTP_MAX_CONNECTIONS]; /* have sent a request */
	unsigned known_count;
	uint64_t
		silent_us[HTTP_MAX_CONNECTIONS]; /* when the others came, monotonic, oldest first */
	unsigned silent_count;
	struct gauge memory; /* octets in the buffers of connections */
};

/* ---- bounds ---- */

/*
 * evhttp tells of the end of a connection that sent a request, but not of one that never did; those
 * it ends itself after HTTP_TIMEOUT_S. So the first kind is known by pointer, and the second,
 * silent one by when it came. At the bound the listener rests, and the kernel's backlog holds who
 * comes.
 */
static void silent_forget_old(struct http *h)
{
	uint64_t now_us = clock_mono_us();

	while (h->silent_count && now_us - h->silent_us[0] > (HTTP_TIMEOUT_S + 1) * 1000000ULL) {
		h->silent_count--;
		memmove(h->silent_us, h->silent_us + 1, h->silent_count * sizeof(h->silent_us[0]));
	}
}

static void accept_if_room(struct http *h)
{
	silent_forget_old(h);
	if (h->known_count + h->silent_count < HTTP_MAX_CONNECTIONS)
		evconnlistener_enable(h->listener);
	else
		evconnlistener_disable(h->listener);
}

/* ---- memory ---- */

static void measure(struct http *h)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < h->known_count; i++) {
		struct bufferevent *b = evhttp_connection_get_bufferevent(h->known[i]);

		bytes += evbuffer_get_length(bufferevent_get_input(b)) +
			 evbuffer_get_length(bufferevent_get_output(b));
	}
	gauge_set(&h->memory, bytes);
}

void http_memory(struct http *h, struct memory_use *sum)
{
	measure(h);
	memory_use_add_gauge(sum, &h->memory);
	sum->real_used += counter_get(&h->memory.now);
}

/* ---- connections ---- */

static void second_passed(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	accept_if_room(ctx);
}

/* evhttp asks for what a new connection is to be made of: the one moment at which it says that
 * there is one. */
static struct bufferevent *connection_new(struct event_base *base, void *ctx)
{
	struct http *h = ctx;

	if (h->silent_count < HTTP_MAX_CONNECTIONS)
		h->silent_us[h->silent_count++] = clock_mono_us();
	accept_if_room(h);
	return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
}

static void connection_gone(struct evhttp_connection *connection, void *ctx)
{
	struct http *h = ctx;

	subscribers_gone(&h->subscribers, connection);
	for (unsigned i = 0; i < h->known_count; i++)
		if (h->known[i] == connection)
			h->known[i--] = h->known[--h->known_count];
	if (h->listener)
		accept_if_room(h);
}

/* Called with each request: one of the silent ones has spoken. */
static void connection_know(struct http *h, struct evhttp_connection *connection)
{
	for (unsigned i = 0; i < h->known_count; i++)
		if (h->known[i] == connection)
			return;
	evhttp_connection_set_closecb(connection, connection_gone, h);
	if (h->known_count == HTTP_MAX_CONNECTIONS)
		return;
	h->known[h->known_count++] = connection;
	if (h->silent_count) {
		h->silent_count--;
		memmove(h->silent_us, h->silent_us + 1, h->silent_count * sizeof(h->silent_us[0]));
	}
}

/* ---- requests ---- */

/* In a time that does not tell where the first difference is. */
static bool token_is_right(const struct http *h, struct evhttp_request *request)
{
	const char *given =
		evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");
	size_t len = strlen(h->token), given_len;
	unsigned differ = 0;

	if (!given || strncmp(given, "Bearer ", 7) != 0)
		return false;
	given += 7;
	given_len = strlen(given);
	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)(h->token[i] ^ given[given_len ? i % given_len : 0]);
	return given_len == len && differ == 0;
}

static const struct http_path *path_find(const struct http *h, struct evhttp_request *request)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	for (const struct http_path *p = h->paths; p->path && path; p++) {
		size_t len = strlen(p->path);

		if (strcmp(p->path, path) == 0 ||
		    (p->path[len - 1] == '/' && strncmp(p->path, path, len) == 0 && path[len]))
			return p;
	}
	return NULL;
}

static bool is_from_here(struct evhttp_request *request)
{
	char *address;
	ev_uint16_t port;

	evhttp_connection_get_peer(evhttp_request_get_connection(request), &address, &port);
	return address && (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
			   strncmp(address, "::ffff:127.", 11) == 0);
}

static void send_plain(struct evhttp_request *request, int code, const char *reason,
		       const char *text)
{
	struct evbuffer *out = evbuffer_new();

	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
			  "text/plain; charset=utf-8");
	if (out)
		evbuffer_add(out, text, strlen(text));
	evhttp_send_reply(request, code, reason, out);
	if (out)
		evbuffer_free(out);
}

/* Else it is answered. */
static bool stream_is_possible(struct http *h, struct evhttp_request *request)
{
	if (evhttp_request_get_command(request) != EVHTTP_REQ_GET) {
		send_plain(request, HTTP_BADMETHOD, "Method Not Allowed",
			   "GET is asked for here\n");
		return false;
	}
	if (!subscribers_have_room(&h->subscribers)) {
		send_plain(request, HTTP_SERVUNAVAIL, "Service Unavailable",
			   "there are too many subscribers\n");
		return false;
	}
	return true;
}

static const char *reason_of(int code)
{
	switch (code) {
	case HTTP_OK:
		return "OK";
	case HTTP_NOTFOUND:
		return "Not Found";
	case 422:
		return "Unprocessable Content";
	default:
		return "Service Unavailable";
	}
}

static void request_answer(struct evhttp_request *request, void *ctx)
{
	struct http *h = ctx;
	const struct http_path *p = path_find(h, request);
	struct evbuffer *out;
	const char *type = "text/plain; charset=utf-8";
	char *rest;
	int code;

	connection_know(h, evhttp_request_get_connection(request));
	if (!p) {
		send_plain(request, HTTP_NOTFOUND, "Not Found", "no such path\n");
		return;
	}
	if (h->token && !p->is_open && !token_is_right(h, request)) {
		evhttp_add_header(evhttp_request_get_output_headers(request), "WWW-Authenticate",
				  "Bearer");
		send_plain(request, 401, "Unauthorized", "a bearer token is asked for here\n");
		return;
	}
	if (p->is_put != (evhttp_request_get_command(request) == EVHTTP_REQ_PUT)) {
		send_plain(request, HTTP_BADMETHOD, "Method Not Allowed",
			   p->is_put ? "PUT is asked for here\n" : "GET is asked for here\n");
		return;
	}
	if (p->is_put && !h->token && !is_from_here(request)) {
		send_plain(request, 403, "Forbidden",
			   "without http.token_file this is for this host alone\n");
		return;
	}
	if (p->is_stream && !stream_is_possible(h, request))
		return;
	out = evbuffer_new();
	if (!out) {
		send_plain(request, HTTP_INTERNAL, "Internal Server Error", "out of memory\n");
		return;
	}
	rest = evhttp_uridecode(evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request)) +
					strlen(p->path),
				0, NULL);
	code = p->answer(h->ctx, rest ? rest : "", out, &type);
	free(rest);
	if (p->is_stream && code == HTTP_OK) {
		subscribers_add(&h->subscribers, request, type, out);
		evbuffer_free(out);
		return;
	}
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
	evhttp_send_reply(request, code, reason_of(code), out);
	measure(h); /* the answer waits to be written */
	evbuffer_free(out);
}

struct subscribers *http_subscribers(struct http *h)
{
	return &h->subscribers;
}

/* ---- life ---- */

int http_open(struct http **out, struct event_base *base, const struct sockaddr *addr,
	      socklen_t addr_len)
{
	struct http *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->base = base;
	h->server = evhttp_new(base);
	if (!h->server) {
		http_close(h);
		return -ENOMEM;
	}
	evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT);
	evhttp_set_max_body_size(h->server, HTTP_MAX_BODY);
	evhttp_set_max_headers_size(h->server, HTTP_MAX_BODY);
	evhttp_set_timeout(h->server, HTTP_TIMEOUT_S);
	evhttp_set_bevcb(h->server, connection_new, h);
	h->listener = evconnlistener_new_bind(
		base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
		64, addr, (int)addr_len);
	if (!h->listener) {
		err = errno ? -errno : -EINVAL;
		http_close(h);
		return err;
	}
	*out = h;
	return HT_OK;
}

int http_serve(struct http *h, const struct http_path *paths, void *ctx, const char *token)
{
	static const struct timeval second = { .tv_sec = 1 };

	h->paths = paths;
	h->ctx = ctx;
	if (token) {
		h->token = strdup(token);
		if (!h->token)
			return -ENOMEM;
	}
	evhttp_set_gencb(h->server, request_answer, h);
	h->each_second = event_new(h->base, -1, EV_PERSIST, second_passed, h);
	if (!h->each_second || event_add(h->each_second, &second) < 0)
		return -ENOMEM;
	return evhttp_bind_listener(h->server, h->listener) ? HT_OK : -ENOMEM;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	if (h->listener && !h->paths)
		evconnlistener_free(h->listener);
	if (h->each_second)
		event_free(h->each_second);
	h->listener = NULL; /* once it is bound evhttp frees it */
	if (h->server)
		evhttp_free(h->server);
	free(h->token);
	free(h);
}
