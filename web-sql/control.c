/* Who sends, and switches. */
#include "web-sql/control.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/rcu.h"
#include "storage/agents.h"
#include "web-sql/stats.h"

/* ---- agents ---- */

static json_t *json_time(uint64_t wall_us)
{
	time_t t = (time_t)(wall_us / 1000000);
	char text[40];
	struct tm tm;

	if (wall_us == 0)
		return json_null();
	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

struct listing {
	json_t *agents;
	const struct stats_sources *from;
};

static void agent_list(void *ctx, const struct agent_view *v)
{
	struct listing *l = ctx;
	char address[INET6_ADDRSTRLEN];
	json_t *one;

	agent_address(v->key.ip, address);
	one = json_pack(
		"{sssosssssososIsIsIsIsIsIso}", "address", v->is_rest ? "other" : address,
		"capture_id", v->key.has_capture_id ? json_integer(v->key.capture_id) : json_null(),
		"name", v->name, "source", v->is_rest ? "" : l->from->source_name[v->key.source],
		"first_seen", json_time(v->first_us), "last_seen", json_time(v->last_us),
		"received", (json_int_t)v->received, "accepted", (json_int_t)v->accepted,
		"malformed", (json_int_t)v->malformed, "denied", (json_int_t)v->denied, "limited",
		(json_int_t)v->limited, "bytes", (json_int_t)v->bytes, "clock_offset_seconds",
		v->has_offset ? json_real((double)v->offset_us / 1e6) : json_null());
	if (one)
		json_array_append_new(l->agents, one);
}

int control_agents(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	struct listing l = { json_array(), from };
	json_t *root;
	char *text;

	(void)rest;
	*type = "application/json";
	rcu_read_begin();
	agents_list(from->agents, agent_list, &l);
	rcu_read_end();
	root = json_pack("{sosI}", "agents", l.agents, "evicted",
			 (json_int_t)agents_evicted(from->agents));
	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!text)
		return 503;
	evbuffer_add_printf(out, "%s\n", text);
	free(text);
	return 200;
}

/* ---- switches ---- */

/* /api/capture/NAME/on or .../off */
int control_capture(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	const char *slash = strrchr(rest, '/');
	bool on = slash && strcmp(slash, "/on") == 0;
	char name[128];
	int code = 404;

	(void)type;
	if (on || (slash && strcmp(slash, "/off") == 0)) {
		snprintf(name, sizeof(name), "%.*s", (int)(slash - rest), rest);
		if (from->control.capture(from->ctx, name, on)) {
			evbuffer_add_printf(out, "capture %s is %s\n", name, on ? "on" : "off");
			code = 200;
		}
	}
	if (code != 200)
		evbuffer_add_printf(out, "there is no source of that name\n");
	return code;
}

int control_reload(void *ctx, const char *rest, struct evbuffer *out, const char **type)
{
	const struct stats_sources *from = ctx;
	char *text = NULL;
	size_t len;
	FILE *complaints = open_memstream(&text, &len);
	int err;

	(void)rest;
	(void)type;
	if (!complaints)
		return 503;
	err = from->control.reload(from->ctx, complaints);
	if (fclose(complaints) == 0)
		evbuffer_add(out, text, len);
	free(text);
	evbuffer_add_printf(out, err == HT_OK ? "reloaded\n"
					      : "not reloaded: everything stays as it was\n");
	return err == HT_OK ? 200 : 422;
}
