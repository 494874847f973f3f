/* Names of tables. */
#include "storage/layout.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "conf/conf.h"

void layout_init(struct layout *l, struct routes *routes, const struct conf *conf)
{
	*l = (struct layout){ .table = conf->storage.table,
			      .is_daily = conf->storage.layout == CONF_LAYOUT_HOMER5,
			      .routes = routes };
	for (size_t i = 0; i < conf->filter_count; i++)
		if (conf->filters[i].table[0])
			(void)layout_route(l, view_of(conf->filters[i].table));
}

/* Where rows of a rule go that cannot have its table, in words. */
static const char *usual_table(const struct layout *l)
{
	return l->is_daily ? "the daily tables" : l->table;
}

/* Does the layout need the table for something else, or one of the parts beside it? Some servers
 * take upper and lower case for the same. */
static bool is_taken(const struct layout *l, const char *name)
{
	static const char *const beginnings[] = { "heptap_", "stats_", "alarm_" };
	struct layout usual = { .table = l->table, .is_daily = l->is_daily };
	char report[LAYOUT_NAME];
	struct place p;

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncasecmp(name, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	for (unsigned what = PLACE_RTCP; what < PLACE_ROUTED; what++) {
		layout_label(&usual, what, report);
		if (strcasecmp(name, report) == 0)
			return true;
	}
	return strcasecmp(name, "webrtc_capture") == 0 || layout_parse(&usual, name, &p);
}

/* It has no number yet. */
static int route_begin(const struct layout *l, struct view name)
{
	enum route_trouble trouble = ROUTE_NO_NAME;
	char text[ROUTE_NAME];
	int at = HT_EFULL;

	if (route_is_name(name)) {
		snprintf(text, sizeof(text), "%.*s", (int)name.len, (const char *)name.at);
		trouble = is_taken(l, text) ? ROUTE_TAKEN : ROUTE_ONE_MORE;
	}
	if (trouble == ROUTE_ONE_MORE)
		at = routes_add(l->routes, name);
	if (at < 0)
		routes_tell(l->routes, trouble, name, usual_table(l));
	return at;
}

enum layout_place layout_route(const struct layout *l, struct view name)
{
	int at;

	if (!l->is_daily && view_is(name, l->table))
		return PLACE_SIP;
	if (!l->routes)
		return PLACE_COUNT;
	at = routes_find(l->routes, name);
	if (at < 0)
		at = route_begin(l, name);
	return at < 0 ? PLACE_COUNT : PLACE_ROUTED + (unsigned)at;
}

struct place layout_place_of(const struct layout *l, const struct block_head *h,
			     const struct row_head *r, uint32_t today)
{
	static const enum layout_place by_kind[ROW_KIND_END] = {
		[ROW_KIND_CALL] = PLACE_CALL,
		[ROW_KIND_REGISTRATION] = PLACE_REGISTRATION,
		[ROW_KIND_REST] = PLACE_REST,
	};
	static const enum layout_place by_table[ROW_TABLE_END] = {
		[ROW_TABLE_SIP_CAPTURE] = PLACE_SIP,
		[ROW_TABLE_RTCP_CAPTURE] = PLACE_RTCP,
		[ROW_TABLE_REPORT_CAPTURE] = PLACE_REPORT,
		[ROW_TABLE_LOGS_CAPTURE] = PLACE_LOGS,
	};

	struct view route = row_text(h, r, ROW_route);

	if (route.len && r->table == ROW_TABLE_SIP_CAPTURE) {
		enum layout_place what = layout_route(l, route);

		if (what < PLACE_COUNT)
			return (struct place){ what, 0 };
	}
	if (!l->is_daily || r->table != ROW_TABLE_SIP_CAPTURE)
		return (struct place){ by_table[r->table], 0 };
	return (struct place){ by_kind[r->kind],
			       r->day + LAYOUT_DAYS_BACK < today ? LAYOUT_PAST : r->day };
}

void layout_label(const struct layout *l, enum layout_place what, char out[LAYOUT_NAME])
{
	static const char *const ending[PLACE_ROUTED] = {
		[PLACE_SIP] = "",
		[PLACE_CALL] = "_call",
		[PLACE_REGISTRATION] = "_registration",
		[PLACE_REST] = "_rest",
	};
	static const char *const name[PLACE_ROUTED] = {
		[PLACE_RTCP] = "rtcp_capture",
		[PLACE_REPORT] = "report_capture",
		[PLACE_LOGS] = "logs_capture",
	};

	if (what >= PLACE_ROUTED)
		snprintf(out, LAYOUT_NAME, "%s", l->routes->name[what - PLACE_ROUTED]);
	else if (name[what])
		snprintf(out, LAYOUT_NAME, "%s", name[what]);
	else
		snprintf(out, LAYOUT_NAME, "%s%s", l->table, ending[what]);
}

void layout_name(const struct layout *l, struct place p, char out[LAYOUT_NAME])
{
	time_t t = (time_t)p.day * 86400;
	size_t used;
	struct tm tm;

	layout_label(l, p.what, out);
	used = strlen(out);
	if (!place_is_daily(p))
		return;
	if (p.day == LAYOUT_PAST) {
		snprintf(out + used, LAYOUT_NAME - used, "_past");
		return;
	}
	gmtime_r(&t, &tm);
	strftime(out + used, LAYOUT_NAME - used, "_%Y%m%d", &tm);
}

/* Eight digits: whether they are a date is seen by making the name again. */
static uint32_t day_of(const char *text)
{
	struct tm tm = { 0 };

	if (strlen(text) != 8 || strspn(text, "0123456789") != 8 ||
	    sscanf(text, "%4d%2d%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return tm.tm_year >= 70 ? (uint32_t)(timegm(&tm) / 86400) : 0;
}

bool layout_parse(const struct layout *l, const char *name, struct place *out)
{
	char text[LAYOUT_NAME];
	size_t len;

	for (unsigned what = 0; what < layout_places(l); what++) {
		struct place p = { what, 0 };

		if (what <= PLACE_REST && place_is_daily(p) != l->is_daily)
			continue;
		layout_label(l, what, text);
		len = strlen(text);
		if (strncmp(name, text, len) != 0)
			continue;
		if (place_is_daily(p) && name[len] == '_')
			p.day = strcmp(name + len, "_past") == 0 ? LAYOUT_PAST
								 : day_of(name + len + 1);
		layout_name(l, p, text);
		if (strcmp(name, text) != 0)
			continue;
		*out = p;
		return true;
	}
	return false;
}
