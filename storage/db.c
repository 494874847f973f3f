/* libmariadb behind db.h. */
#include "storage/db.h"

#include <errno.h>
#include <inttypes.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECT_S	10
#define READ_S		30
#define WRITE_S		30
#define STATEMENT_MAX	8192	   /* octets of a statement made by db_run() */
#define MULTI_ROW_BYTES (1U << 20) /* a multi-row INSERT is sent when it is this long */

struct db {
	MYSQL *my;
	bool has_bulk, has_row_number;
	uint64_t max_packet;
	unsigned last_errno; /* of the last call that failed */
	char last_error[512];
};

struct db_insert {
	struct db *db;
	unsigned columns;
	struct db_column *column;
	struct db_value *value;
	char *head; /* INSERT INTO ... VALUES */
	/* bulk */
	MYSQL_STMT *stmt;
	MYSQL_BIND *bind;
	MYSQL_TIME *time;
	db_row_fn *fn;
	void *ctx;
	size_t first;
	size_t failed_first, failed_count; /* rows of the statement that failed last */
	/* multi-row */
	char *sql;
	size_t sql_len, sql_room;
};

static _Thread_local unsigned open_errno;
static _Thread_local char open_error[512];

/* ---- error classes ---- */

static bool is_one_of(unsigned code, const unsigned *codes)
{
	while (*codes && *codes != code)
		codes++;
	return *codes != 0;
}

/*
 * What to do about an error number of the server (mariadb.com/kb: MariaDB error codes) or the
 * client library (2000 to 2999): the transaction again; connect again; make a table or partition;
 * read the columns again; wait for a person; the row.
 */
static int error_class(unsigned code)
{
	static const unsigned connection[] = { 1053, 1927, 1153, 1156, 1157, 1158,
					       1159, 1160, 1161, 1180, 1317, 0 };
	static const unsigned retry[] = { 1205, 1213, 1040, 1203, 1047, 1290, 1836, 1021, 1114,
					  /* a server in need, or whose disk or settings are */
					  1020, 1026, 1030, 1034, 1035, 1036, 1037, 1038, 1041,
					  1129, 1194, 1195, 1206, 1223, 1226, 1297, 1637, 1792,
					  1812, 1932, 1969, 0 };
	static const unsigned missing[] = { 1526, 1146, 0 };
	static const unsigned columns[] = { 1054, 1136, 1412, 1615, 0 };
	static const unsigned denied[] = { 1044, 1045, 1142, 1143, 1049, 1698, 0 };
	static const unsigned row[] = { 1406, 1366, 1264, 1292, 1048, 1265, 1300, 1364, 1411,
					1690, 1644, 4025, 3819, 3854, 1451, 1452, 0 };
	static const unsigned duplicate[] = { 1062, 1586, 0 };

	if ((code >= 2000 && code < 3000) || is_one_of(code, connection))
		return HT_ECONN;
	if (is_one_of(code, retry))
		return HT_ERETRY;
	if (is_one_of(code, missing))
		return HT_EMISSING;
	if (is_one_of(code, columns))
		return HT_ECOLUMNS;
	if (is_one_of(code, denied))
		return HT_EDENIED;
	if (is_one_of(code, duplicate))
		return HT_EDUPLICATE;
	return is_one_of(code, row) ? HT_EROW : HT_EDB;
}

/* Keep what the server said, since later calls replace it. @return the class. */
static int failed(struct db *db)
{
	db->last_errno = mysql_errno(db->my);
	snprintf(db->last_error, sizeof(db->last_error), "%s", mysql_error(db->my));
	return error_class(db->last_errno);
}

static int statement_failed(struct db *db, MYSQL_STMT *stmt)
{
	db->last_errno = mysql_stmt_errno(stmt);
	snprintf(db->last_error, sizeof(db->last_error), "%s", mysql_stmt_error(stmt));
	return error_class(db->last_errno);
}

unsigned db_last_errno(const struct db *db)
{
	return db ? db->last_errno : open_errno;
}

const char *db_last_error(const struct db *db)
{
	return db ? db->last_error : open_error;
}

/* ---- connection ---- */

/*
 * A session of ours that lost its client without the server's knowledge holds its locks for
 * wait_timeout at most, which is hours by default; every thread that keeps a connection says
 * something more often than that.
 */
static int session_begin(struct db *db, const struct db_options *o)
{
	if (mysql_set_character_set(db->my, "utf8mb4"))
		return failed(db);
	if (mysql_query(
		    db->my,
		    "SET time_zone='+00:00', sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
		    "innodb_lock_wait_timeout=20, lock_wait_timeout=20, wait_timeout=30"))
		return failed(db);
	if (o->is_patient && mysql_query(db->my, "SET wait_timeout=28800"))
		return failed(db);
	if (mysql_autocommit(db->my, o->autocommit))
		return failed(db);
	return HT_OK;
}

static void packet_size_read(void *ctx, unsigned columns, char **texts)
{
	if (columns == 1 && texts[0])
		*(uint64_t *)ctx = strtoull(texts[0], NULL, 10);
}

int db_open(struct db **out, const struct db_options *o)
{
	unsigned connect_s = CONNECT_S, read_s = o->is_patient ? 0 : READ_S, write_s = WRITE_S;
	struct db *db = calloc(1, sizeof(*db));
	unsigned long capabilities = 0;
	int err;

	if (!db)
		return -ENOMEM;
	db->my = mysql_init(NULL);
	if (!db->my) {
		free(db);
		return -ENOMEM;
	}
	mysql_options(db->my, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
	mysql_options(db->my, MYSQL_OPT_READ_TIMEOUT, &read_s);
	mysql_options(db->my, MYSQL_OPT_WRITE_TIMEOUT, &write_s);
	mysql_options(db->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	err = mysql_real_connect(db->my, o->host, o->user, o->password, o->database, o->port,
				 o->socket && o->socket[0] ? o->socket : NULL, 0)
		      ? session_begin(db, o)
		      : failed(db);
	if (err == HT_OK)
		err = (int)db_query(db, packet_size_read, &db->max_packet,
				    "SELECT @@max_allowed_packet");
	if (err < 0) {
		open_errno = db->last_errno;
		snprintf(open_error, sizeof(open_error), "%s", db->last_error);
		db_close(db);
		return err;
	}
	mariadb_get_infov(db->my, MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &capabilities);
	db->has_bulk = !o->no_bulk && (capabilities & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32));
	db->has_row_number = !o->no_row_number;
	*out = db;
	return HT_OK;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	mysql_close(db->my);
	free(db);
}

void db_interrupt(struct db *db)
{
	my_socket fd = mysql_get_socket(db->my);

	if (fd != MARIADB_INVALID_SOCKET)
		shutdown(fd, SHUT_RDWR);
}

uint64_t db_max_packet(const struct db *db)
{
	return db->max_packet;
}

int db_packet_has_changed(struct db *db)
{
	uint64_t now = db->max_packet;
	int64_t rows = db_query(db, packet_size_read, &now, "SELECT @@GLOBAL.max_allowed_packet");

	return rows < 0 ? (int)rows : now != db->max_packet;
}

/* ---- statements ---- */

int64_t db_run(struct db *db, const char *format, ...)
{
	char sql[STATEMENT_MAX];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	if (len < 0 || len >= (int)sizeof(sql))
		return -E2BIG;
	return db_run_long(db, sql, (size_t)len);
}

int64_t db_run_long(struct db *db, const char *sql, size_t len)
{
	if (mysql_real_query(db->my, sql, (unsigned long)len))
		return failed(db);
	return (int64_t)mysql_affected_rows(db->my);
}

int64_t db_query(struct db *db, db_result_fn *fn, void *ctx, const char *sql)
{
	MYSQL_RES *result;
	MYSQL_ROW row;
	int64_t rows = 0;

	if (mysql_query(db->my, sql))
		return failed(db);
	result = mysql_store_result(db->my);
	if (!result)
		return mysql_errno(db->my) ? failed(db) : 0;
	while (fn && (row = mysql_fetch_row(result))) {
		fn(ctx, mysql_num_fields(result), row);
		rows++;
	}
	mysql_free_result(result);
	return rows;
}

size_t db_escape(struct db *db, char *out, struct view text)
{
	return mysql_real_escape_string(db->my, out, (const char *)text.at, text.len);
}

int db_commit(struct db *db)
{
	return mysql_commit(db->my) ? failed(db) : HT_OK;
}

void db_rollback(struct db *db)
{
	(void)mysql_rollback(db->my);
}

uint64_t db_insert_id(const struct db *db)
{
	return mysql_insert_id(db->my);
}

/* ---- inserting rows ---- */

static const enum enum_field_types bind_type[] = {
	[DB_INTEGER] = MYSQL_TYPE_LONGLONG,
	[DB_TEXT] = MYSQL_TYPE_STRING,
	[DB_BINARY] = MYSQL_TYPE_BLOB,
	[DB_DATETIME] = MYSQL_TYPE_DATETIME,
};

static void time_set(MYSQL_TIME *out, int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	*out = (MYSQL_TIME){ .year = (unsigned)tm.tm_year + 1900,
			     .month = (unsigned)tm.tm_mon + 1,
			     .day = (unsigned)tm.tm_mday,
			     .hour = (unsigned)tm.tm_hour,
			     .minute = (unsigned)tm.tm_min,
			     .second = (unsigned)tm.tm_sec,
			     .time_type = MYSQL_TIMESTAMP_DATETIME };
}

/* The library asks for each row in turn; what the binds point to is copied before it asks for the
 * next. */
static my_bool bulk_row(void *data, MYSQL_BIND *bind, unsigned row)
{
	struct db_insert *in = data;

	in->fn(in->ctx, in->first + row, in->value);
	for (unsigned i = 0; i < in->columns; i++) {
		const struct db_value *v = &in->value[i];

		if (in->column[i].kind == DB_DATETIME) {
			time_set(&in->time[i], v->number);
		} else if (in->column[i].kind != DB_INTEGER) {
			bind[i].buffer = (void *)(uintptr_t)(v->at ? v->at : "");
			bind[i].buffer_length = v->len; /* with a row callback the library looks
							   here, not at length */
		}
	}
	return 0;
}

static int bulk_prepare(struct db_insert *in, const char *sql)
{
	in->stmt = mysql_stmt_init(in->db->my);
	in->bind = calloc(in->columns, sizeof(*in->bind));
	in->time = calloc(in->columns, sizeof(*in->time));
	if (!in->stmt || !in->bind || !in->time)
		return -ENOMEM;
	if (mysql_stmt_prepare(in->stmt, sql, (unsigned long)strlen(sql)))
		return statement_failed(in->db, in->stmt);
	for (unsigned i = 0; i < in->columns; i++) {
		in->bind[i].buffer_type = bind_type[in->column[i].kind];
		in->bind[i].buffer = &in->value[i].number;
		if (in->column[i].kind == DB_DATETIME)
			in->bind[i].buffer = &in->time[i];
	}
	return HT_OK;
}

static int packet_too_large(struct db *db, uint64_t bytes)
{
	db->last_errno = ER_NET_PACKET_TOO_LARGE;
	snprintf(db->last_error, sizeof(db->last_error),
		 "%" PRIu64 " octets are more than the server's max_allowed_packet of %" PRIu64,
		 bytes, db->max_packet);
	return HT_EROW;
}

/* Octets of a bulk statement with a lone row, or some more. */
static uint64_t bulk_row_bytes(struct db_insert *in, size_t row, db_row_fn *fn, void *ctx)
{
	uint64_t bytes = 16;

	fn(ctx, row, in->value);
	for (unsigned i = 0; i < in->columns; i++)
		bytes += 12 + (in->column[i].kind == DB_TEXT || in->column[i].kind == DB_BINARY
				       ? in->value[i].len
				       : 0);
	return bytes;
}

static int bulk_run(struct db_insert *in, size_t first, size_t count, db_row_fn *fn, void *ctx)
{
	unsigned rows = (unsigned)count;
	uint64_t bytes = count == 1 ? bulk_row_bytes(in, first, fn, ctx) : 0;

	in->fn = fn;
	in->ctx = ctx;
	in->first = in->failed_first = first;
	in->failed_count = count;
	if (bytes > in->db->max_packet)
		return packet_too_large(in->db, bytes);
	if (mysql_stmt_attr_set(in->stmt, STMT_ATTR_ARRAY_SIZE, &rows) ||
	    mysql_stmt_attr_set(in->stmt, STMT_ATTR_CB_USER_DATA, in) ||
	    mysql_stmt_attr_set(in->stmt, STMT_ATTR_CB_PARAM, (const void *)(uintptr_t)bulk_row))
		return HT_EDB;
	if (mysql_stmt_bind_param(in->stmt, in->bind) || mysql_stmt_execute(in->stmt))
		return statement_failed(in->db, in->stmt);
	return HT_OK;
}

static int sql_room(struct db_insert *in, size_t more)
{
	size_t room = in->sql_room ? in->sql_room : MULTI_ROW_BYTES;
	char *grown;

	while (room < in->sql_len + more)
		room *= 2;
	if (room == in->sql_room)
		return HT_OK;
	grown = realloc(in->sql, room);
	if (!grown)
		return -ENOMEM;
	in->sql = grown;
	in->sql_room = room;
	return HT_OK;
}

static void sql_append(struct db_insert *in, const char *text, size_t len)
{
	memcpy(in->sql + in->sql_len, text, len);
	in->sql_len += len;
}

/* Append one value as a literal. There is room for it. */
static void sql_append_value(struct db_insert *in, enum db_kind kind, const struct db_value *v)
{
	char *at = in->sql + in->sql_len;

	if (kind == DB_INTEGER) {
		in->sql_len += (size_t)sprintf(at, "%lld", (long long)v->number);
	} else if (kind == DB_DATETIME) {
		in->sql_len += (size_t)sprintf(at, "FROM_UNIXTIME(%lld)", (long long)v->number);
	} else {
		if (kind == DB_BINARY)
			sql_append(in, "_binary", 7);
		sql_append(in, "'", 1);
		in->sql_len += mysql_real_escape_string(in->db->my, in->sql + in->sql_len,
							v->at ? v->at : "", (unsigned long)v->len);
		sql_append(in, "'", 1);
	}
}

static int multi_row_send(struct db_insert *in)
{
	size_t len = in->sql_len;

	in->sql_len = 0;
	if (len >= in->db->max_packet)
		return packet_too_large(in->db, len);
	return mysql_real_query(in->db->my, in->sql, (unsigned long)len) ? failed(in->db) : HT_OK;
}

static int multi_row_add(struct db_insert *in)
{
	size_t most = strlen(in->head) + 4;
	int err;

	for (unsigned i = 0; i < in->columns; i++)
		most += 48 + 2 * in->value[i].len;
	err = sql_room(in, most);
	if (err < 0)
		return err;
	if (in->sql_len == 0)
		sql_append(in, in->head, strlen(in->head));
	else
		sql_append(in, ",", 1);
	for (unsigned i = 0; i < in->columns; i++) {
		sql_append(in, i ? "," : "(", 1);
		sql_append_value(in, in->column[i].kind, &in->value[i]);
	}
	sql_append(in, ")", 1);
	return HT_OK;
}

static int multi_row_run(struct db_insert *in, size_t first, size_t count, db_row_fn *fn, void *ctx)
{
	int err = HT_OK;

	in->sql_len = 0;
	in->failed_first = first;
	in->failed_count = 0;
	for (size_t row = first; row < first + count && err == HT_OK; row++) {
		if (in->sql_len == 0) {
			in->failed_first = row;
			in->failed_count = 0;
		}
		in->failed_count++;
		fn(ctx, row, in->value);
		err = multi_row_add(in);
		if (err == HT_OK && in->sql_len > MULTI_ROW_BYTES / 2)
			err = multi_row_send(in);
	}
	return err == HT_OK && in->sql_len ? multi_row_send(in) : err;
}

void db_insert_free(struct db_insert *in)
{
	if (!in)
		return;
	if (in->stmt)
		mysql_stmt_close(in->stmt);
	free(in->bind);
	free(in->time);
	free(in->column);
	free(in->value);
	free(in->head);
	free(in->sql);
	free(in);
}

/* "INSERT INTO `t` (`a`,`b`) VALUES ", and for bulk the marks behind it. Names were checked or read
 * from the server. */
static char *insert_text(const char *table, const struct db_column *columns, unsigned count,
			 bool with_marks)
{
	size_t room = 64 + strlen(table) + count * (sizeof(columns->name) + 6), used;
	char *sql = malloc(room);

	if (!sql)
		return NULL;
	used = (size_t)snprintf(sql, room, "INSERT INTO `%s` (", table);
	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(sql + used, room - used, "%s`%s`", i ? "," : "",
					 columns[i].name);
	used += (size_t)snprintf(sql + used, room - used, ") VALUES ");
	for (unsigned i = 0; with_marks && i < count; i++)
		used += (size_t)snprintf(sql + used, room - used, "%s?", i ? "," : "(");
	if (with_marks)
		snprintf(sql + used, room - used, ")");
	return sql;
}

int db_insert_prepare(struct db_insert **out, struct db *db, const char *table,
		      const struct db_column *columns, unsigned count)
{
	struct db_insert *in = calloc(1, sizeof(*in));
	int err = HT_OK;

	if (!in)
		return -ENOMEM;
	in->db = db;
	in->columns = count;
	in->column = calloc(count, sizeof(*columns));
	in->value = calloc(count, sizeof(*in->value));
	in->head = insert_text(table, columns, count, db->has_bulk);
	if (!in->column || !in->value || !in->head) {
		db_insert_free(in);
		return -ENOMEM;
	}
	memcpy(in->column, columns, count * sizeof(*columns));
	if (db->has_bulk)
		err = bulk_prepare(in, in->head);
	if (err < 0) {
		db_insert_free(in);
		return err;
	}
	*out = in;
	return HT_OK;
}

int db_insert_run(struct db_insert *in, size_t first, size_t count, db_row_fn *fn, void *ctx)
{
	return in->stmt ? bulk_run(in, first, count, fn, ctx)
			: multi_row_run(in, first, count, fn, ctx);
}

void db_insert_failed(const struct db_insert *in, size_t *first, size_t *count)
{
	*first = in->failed_first;
	*count = in->failed_count;
}

static void row_number_read(void *ctx, unsigned columns, char **texts)
{
	if (columns == 1 && texts[0])
		*(int64_t *)ctx = strtoll(texts[0], NULL, 10) - 1;
}

int64_t db_refused_row(struct db *db)
{
	int64_t row = -1;

	if (!db->has_row_number)
		return -1;
	if (db_run(db, "GET DIAGNOSTICS CONDITION 1 @heptap_row = ROW_NUMBER") < 0 ||
	    db_query(db, row_number_read, &row, "SELECT @heptap_row") < 0)
		return -1;
	return row;
}
