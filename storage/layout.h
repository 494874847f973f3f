/**
 * @file
 * Which table a row goes to, and what it is called. Source: the tables of Homer 3 (one for SIP) and
 * of Homer 5 (one for each UTC day and kind). A rule may choose another table for a SIP message;
 * that one lasts, whatever the layout is.
 * Threads: any; the routes are shared.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "storage/block.h"
#include "storage/routes.h"

struct conf;

enum layout_place {
	PLACE_SIP,
	PLACE_CALL,
	PLACE_REGISTRATION,
	PLACE_REST,
	PLACE_RTCP,
	PLACE_REPORT,
	PLACE_LOGS,
	PLACE_ROUTED, /* the first of the tables that rules chose, by their numbers */
	PLACE_COUNT = PLACE_ROUTED + ROUTES_MOST
};

struct layout {
	const char *table; /* of SIP messages, or how its daily tables begin */
	bool is_daily;
	struct routes *routes; /* NULL: there are none */
};

/* A table: what it holds, and for daily ones of which day. */
struct place {
	enum layout_place what;
	uint32_t day; /* since 1970, UTC; LAYOUT_PAST; 0 where the table is not daily */
};

#define LAYOUT_DAYS_AHEAD 2   /* made ahead: today and these */
#define LAYOUT_DAYS_MOST  7   /* the furthest ahead that a place is made on demand */
#define LAYOUT_DAYS_BACK  366 /* older days share one table, so that no sender makes thousands */
#define LAYOUT_PAST	  UINT32_MAX /* the day of that one */
#define LAYOUT_NAME	  96	     /* octets of a name, its end included */

/**
 * The layout that a configuration stands for. @p routes: empty; the tables that its rules name get
 * their numbers, so that they are known before a row goes there. Both stay the caller's.
 */
void layout_init(struct layout *l, struct routes *routes, const struct conf *conf);

/** Where a row goes. A route that cannot be is told once, and the row goes where it would without.
 * @p today: days since 1970, UTC. */
struct place layout_place_of(const struct layout *l, const struct block_head *h,
			     const struct row_head *r, uint32_t today);

/** The place of a route; PLACE_SIP if it names the table of all messages; PLACE_COUNT if rows
 * cannot go there. */
enum layout_place layout_route(const struct layout *l, struct view name);

/** How many places are in use: those of the layout and the routes that have a number. */
static inline unsigned layout_places(const struct layout *l)
{
	return PLACE_ROUTED + (l->routes ? routes_count(l->routes) : 0);
}

/** Is it one for SIP messages? */
static inline bool place_is_sip(struct place p)
{
	return p.what <= PLACE_REST || p.what >= PLACE_ROUTED;
}

static inline bool place_is_daily(struct place p)
{
	return p.what == PLACE_CALL || p.what == PLACE_REGISTRATION || p.what == PLACE_REST;
}

static inline bool place_is(struct place a, struct place b)
{
	return a.what == b.what && a.day == b.day;
}

/** The table's name. */
void layout_name(const struct layout *l, struct place p, char out[LAYOUT_NAME]);

/** Which table of the layout has this name? Strict: a day is eight digits that are a date. @return
 * false if none. */
bool layout_parse(const struct layout *l, const char *name, struct place *out);

/** The same without the day: a label for metrics, that does not grow in number. */
void layout_label(const struct layout *l, enum layout_place what, char out[LAYOUT_NAME]);
