/* Names of tables. */
#include "storage/layout.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct place layout_place_of(const struct layout *l, const struct row_head *r, uint32_t today)
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

	if (!l->is_daily || r->table != ROW_TABLE_SIP_CAPTURE)
		return (struct place){ by_table[r->table], 0 };
	return (struct place){ by_kind[r->kind],
			       r->day + LAYOUT_DAYS_BACK < today ? LAYOUT_PAST : r->day };
}

void layout_label(const struct layout *l, enum layout_place what, char out[LAYOUT_NAME])
{
	static const char *const ending[PLACE_COUNT] = {
		[PLACE_SIP] = "",
		[PLACE_CALL] = "_call",
		[PLACE_REGISTRATION] = "_registration",
		[PLACE_REST] = "_rest",
	};
	static const char *const name[PLACE_COUNT] = {
		[PLACE_RTCP] = "rtcp_capture",
		[PLACE_REPORT] = "report_capture",
		[PLACE_LOGS] = "logs_capture",
	};

	if (name[what])
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

	for (unsigned what = 0; what < PLACE_COUNT; what++) {
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
