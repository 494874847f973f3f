/* Values of headers, taken apart as their standards say or by an expression. */
#include "capture/legs.h"

#include <string.h>

#include "conf/filter_regex.h"
#include "conf/leg.h"

#define UUID_LEN 32 /* hexadecimal digits, RFC 7989 section 5 */

_Static_assert(LEG_MAX_NAME == SIP_MAX_NAME, "what can be configured can be looked for");

/* ---- making ---- */

static int leg_init(struct leg *leg, const char *text)
{
	struct filter_error error;
	struct leg_entry entry;
	struct view name;
	int err = leg_parse(text, &entry, &error);

	if (err < 0)
		return err;
	for (size_t i = 0; i < entry.name_len; i++)
		leg->lower[i] = (char)ascii_lower((uint8_t)entry.name[i]);
	leg->lower_len = (uint8_t)entry.name_len;
	leg->is_shared = entry.is_shared;
	name = (struct view){ (const uint8_t *)entry.name, (uint32_t)entry.name_len };
	leg->is_callid = view_is_nocase(name, "call-id");
	if (entry.pattern)
		return filter_regex_new(entry.pattern, entry.pattern_len, &leg->regex, &error);
	if (view_is_nocase(name, "session-id"))
		leg->kind = LEG_SESSION;
	else if (view_is_nocase(name, "p-charging-vector"))
		leg->kind = LEG_ICID;
	leg->is_shared |= leg->kind != LEG_VALUE;
	return HT_OK;
}

int legs_init(struct legs *l, const struct conf_strings *entries, struct sip_names *names)
{
	int err;

	*l = (struct legs){ 0 };
	for (size_t i = 0; i < entries->count; i++) {
		if (i == CONF_MAX_LEGS)
			return HT_EFULL;
		l->count++;
		err = leg_init(&l->leg[i], entries->at[i]);
		if (err == HT_OK)
			err = sip_names_add(names, l->leg[i].lower);
		if (err < 0)
			return err;
	}
	return HT_OK;
}

void legs_fini(struct legs *l)
{
	for (uint8_t i = 0; i < l->count; i++)
		filter_regex_free(l->leg[i].regex);
}

/* ---- reading ---- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct view trimmed(struct view v)
{
	while (v.len && is_blank(v.at[0]))
		v = (struct view){ v.at + 1, v.len - 1 };
	while (v.len && is_blank(v.at[v.len - 1]))
		v.len--;
	return v;
}

/* The next parameter of a value, up to a semicolon outside of quotes. */
static struct view parameter_next(struct cursor *c)
{
	const uint8_t *begin = c->pos;
	bool is_quoted = false;

	for (; c->pos < c->end && (is_quoted || *c->pos != ';'); c->pos++) {
		if (*c->pos == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && *c->pos == '\\' && c->pos + 1 < c->end)
			c->pos++;
	}
	return trimmed((struct view){ begin, (uint32_t)(c->pos - begin) });
}

/* Its value if it has the name, without quotes. What is escaped in quotes stays so: all legs carry
 * the same octets. */
static struct view parameter_value(struct view parameter, const char *lower)
{
	struct cursor c = cursor_over_view(parameter);
	struct view name = trimmed(cursor_until(&c, '=')), value = trimmed(cursor_rest(&c));

	if (!view_is_nocase(name, lower))
		return (struct view){ 0 };
	if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
		value = (struct view){ value.at + 1, value.len - 2 };
	return value;
}

static bool is_uuid(struct view v)
{
	bool is_nil = true;

	for (uint32_t i = 0; i < v.len; i++) {
		uint8_t c = ascii_lower(v.at[i]);

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		is_nil &= c == '0';
	}
	return v.len == UUID_LEN && !is_nil;
}

/* RFC 7989 section 6: the sender's UUID, then the other's as the parameter `remote`. */
static int session_read(struct view value, struct view out[LEGS_VALUES])
{
	struct cursor c = cursor_over_view(value);
	struct view v = parameter_next(&c);
	int n = 0;

	if (is_uuid(v))
		out[n++] = v;
	while (cursor_skip_byte(&c, ';')) {
		v = parameter_value(parameter_next(&c), "remote");
		if (is_uuid(v) && n < LEGS_VALUES) {
			out[n++] = v;
			break;
		}
	}
	return n;
}

/* RFC 7315 section 4.6. */
static int icid_read(struct view value, struct view out[LEGS_VALUES])
{
	struct cursor c = cursor_over_view(value);

	do {
		out[0] = parameter_value(parameter_next(&c), "icid-value");
		if (out[0].len)
			return 1;
	} while (cursor_skip_byte(&c, ';'));
	return 0;
}

static int regex_read(const struct filter_regex *regex, struct filter_matcher *matcher,
		      struct view value, struct view out[LEGS_VALUES])
{
	size_t begin, len;
	int found = filter_regex_find(regex, matcher, value.at, value.len, &begin, &len);

	if (found > 0)
		out[0] = (struct view){ value.at + begin, (uint32_t)len };
	return found < 0 ? HT_EFULL : found;
}

int legs_read(const struct legs *l, unsigned i, struct filter_matcher *matcher,
	      const struct sip *sip, struct view out[LEGS_VALUES])
{
	const struct leg *leg = &l->leg[i];
	struct view value = trimmed(leg->is_callid ? sip->callid : sip->extra[i]);

	if (value.len == 0)
		return 0;
	if (leg->regex)
		return regex_read(leg->regex, matcher, value, out);
	if (leg->kind == LEG_SESSION)
		return session_read(value, out);
	if (leg->kind == LEG_ICID)
		return icid_read(value, out);
	out[0] = value;
	return 1;
}

/* ---- keys ---- */

uint32_t legs_key(const struct legs *l, unsigned i, struct view value, uint8_t key[LEGS_KEY])
{
	const struct leg *leg = &l->leg[i];
	uint32_t len = 0;

	if (value.len > LEGS_KEY - leg->lower_len - 2U)
		return 0;
	key[len++] = '\0';
	memcpy(key + len, leg->lower, leg->lower_len);
	len += leg->lower_len;
	key[len++] = ':'; /* in no name */
	for (uint32_t k = 0; k < value.len; k++)
		key[len++] = leg->kind == LEG_SESSION ? ascii_lower(value.at[k]) : value.at[k];
	return len;
}

bool legs_is_callid(struct view v)
{
	return v.len && v.at[0] != '\0';
}
