/* One question to information_schema for all capture tables. */
#include "storage/stock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct reading {
	struct stock *stock;
	const struct layout *layout;
	bool is_full;
};

/* MariaDB says unix_timestamp(`date`); others may leave the quotes out. */
static bool is_by_seconds(const char *method, const char *expression, const char *subpartition)
{
	static const char ours[] = "unix_timestamp(date)";
	size_t n = 0;

	for (const char *c = expression; *c; c++) {
		if (strchr("` ", *c))
			continue;
		if (n == sizeof(ours) - 1 || strncasecmp(c, &ours[n++], 1) != 0)
			return false;
	}
	return n == sizeof(ours) - 1 && strcasecmp(method, "RANGE") == 0 && !subpartition;
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 0;
}

/* Of a table without partitions: days end by themselves, what is long past is older than all. */
static uint64_t bound_of_table(struct place p)
{
	if (!place_is_daily(p))
		return STOCK_NO_BOUND;
	return p.day == LAYOUT_PAST ? 0 : ((uint64_t)p.day + 1) * 86400;
}

static bool item_fill(struct stock_item *i, const struct layout *layout, char **texts)
{
	enum { TABLE, PARTITION, SUBPARTITION, METHOD, EXPRESSION, BOUND, ROWS, BYTES };

	*i = (struct stock_item){ .rows = number(texts[ROWS]), .bytes = number(texts[BYTES]) };
	if (!texts[TABLE] || !layout_parse(layout, texts[TABLE], &i->place))
		return false;
	snprintf(i->table, sizeof(i->table), "%s", texts[TABLE]);
	i->bound = bound_of_table(i->place);
	if (!texts[PARTITION] || place_is_daily(i->place))
		return true;
	snprintf(i->partition, sizeof(i->partition), "%s", texts[PARTITION]);
	i->is_foreign = !texts[METHOD] || !texts[EXPRESSION] || !texts[BOUND] ||
			strchr(i->partition, '`') ||
			!is_by_seconds(texts[METHOD], texts[EXPRESSION], texts[SUBPARTITION]);
	if (!i->is_foreign && strcasecmp(texts[BOUND], "MAXVALUE") != 0)
		i->bound = number(texts[BOUND]);
	return true;
}

static void item_see(void *ctx, unsigned columns, char **texts)
{
	struct reading *r = ctx;
	struct stock *s = r->stock;
	struct stock_item item, *grown;

	if (columns != 8 || r->is_full || !item_fill(&item, r->layout, texts))
		return;
	s->bytes += item.bytes;
	if (s->count && !item.partition[0] &&
	    strcmp(s->item[s->count - 1].table, item.table) == 0) {
		s->item[s->count - 1].rows += item.rows; /* Homer's daily tables have partitions */
		s->item[s->count - 1].bytes += item.bytes;
		return;
	}
	grown = reallocarray(s->item, s->count + 1, sizeof(*grown));
	r->is_full = !grown;
	if (!grown)
		return;
	s->item = grown;
	s->item[s->count++] = item;
}

static int by_age(const void *x, const void *y)
{
	const struct stock_item *a = x, *b = y;

	if (a->bound != b->bound)
		return a->bound < b->bound ? -1 : 1;
	return strcmp(a->table, b->table);
}

/* Between quotes, one behind the other: their names need no escaping. */
static void routes_list(const struct layout *layout, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < layout_places(layout) - PLACE_ROUTED; i++)
		used += (size_t)snprintf(out + used, size - used, ", '%s'",
					 layout->routes->name[i]);
}

int stock_read(struct stock *out, struct db *db, const struct layout *layout)
{
	struct reading r = { .stock = out, .layout = layout };
	char sip[LAYOUT_NAME + 32], routes[ROUTES_MOST * (ROUTE_NAME + 4) + 1];
	char sql[sizeof(routes) + 1024];
	int64_t rows;

	*out = (struct stock){ 0 };
	routes_list(layout, routes, sizeof(routes));
	snprintf(sip, sizeof(sip), layout->is_daily ? "LIKE '%s\\_%%'" : "= '%s'", layout->table);
	snprintf(sql, sizeof(sql),
		 "SELECT table_name, partition_name, subpartition_name, partition_method, "
		 "partition_expression, partition_description, table_rows, "
		 "data_length + index_length FROM information_schema.partitions "
		 "WHERE table_schema = DATABASE() AND (table_name %s OR table_name IN "
		 "('rtcp_capture', 'report_capture', 'logs_capture'%s))",
		 sip, routes);
	rows = db_query(db, item_see, &r, sql);
	if (rows < 0)
		return (int)rows;
	if (r.is_full)
		return -ENOMEM;
	if (out->count)
		qsort(out->item, out->count, sizeof(*out->item), by_age);
	return HT_OK;
}

void stock_free(struct stock *s)
{
	free(s->item);
	*s = (struct stock){ 0 };
}

struct stock_table stock_of_table(const struct stock *s, const char *table)
{
	struct stock_table t = { 0 };

	for (size_t i = 0; i < s->count; i++) {
		const struct stock_item *item = &s->item[i];

		if (strcmp(item->table, table) != 0)
			continue;
		t.items++;
		t.is_flat |= !item->partition[0];
		t.is_foreign |= item->is_foreign;
		if (item->bound == STOCK_NO_BOUND)
			t.max = item;
		else if (item->bound > t.end)
			t.end = item->bound;
	}
	return t;
}

bool stock_has(const struct stock *s, const char *table, const char *partition)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->item[i].table, table) == 0 &&
		    strcasecmp(s->item[i].partition, partition) == 0)
			return true;
	return false;
}
