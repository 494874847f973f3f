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
