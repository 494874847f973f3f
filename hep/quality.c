/* Lines of "Name: value". */
#include "hep/quality.h"

static struct view front(struct view v, uint32_t len)
{
	return (struct view){ v.at, v.len < len ? v.len : len };
}

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct view trimmed(struct view v)
{
	while (v.len && is_blank(v.at[v.len - 1]))
		v.len--;
	while (v.len && is_blank(v.at[0])) {
		v.at++;
		v.len--;
	}
	return v;
}

bool quality_is_report(struct view content_type)
{
	struct cursor c = cursor_over_view(content_type);

	return view_is_nocase(trimmed(cursor_until(&c, ';')), "application/vq-rtcpxr");
}

struct view quality_callid(struct view body)
{
	struct cursor c = cursor_over_view(body);
	struct view line;

	while (cursor_left(&c) > 0) {
		line = cursor_until(&c, '\n');
		if (view_is_nocase(front(line, 7), "callid:"))
			return trimmed((struct view){ line.at + 7, line.len - 7 });
	}
	return (struct view){ 0 };
}
