/* One line per row. */
#include "storage/reject.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/log.h"
#include "storage/block.h"

struct reject_file {
	pthread_mutex_t lock;
	char path[4096], old_path[4096 + 2];
	uint64_t max_bytes;
	int fd; /* -1: not open */
};

const char *reject_reason_name(enum reject_reason reason)
{
	static const char *const name[] = {
#define X(id, text) [id] = text,
		REJECT_REASONS(X)
#undef X
	};

	return name[reason];
}

enum reject_reason reject_reason_of(unsigned code)
{
	switch (code) {
	case 1153:
	case 1406:
		return REJECT_TOO_LONG;
	case 1366:
	case 1300:
	case 3854:
		return REJECT_CHARSET;
	case 1264:
	case 1690:
		return REJECT_RANGE;
	case 1265:
	case 1292:
	case 1411:
		return REJECT_VALUE;
	case 1048:
	case 1364:
		return REJECT_NULL;
	case 1062:
	case 1586:
		return REJECT_DUPLICATE;
	case 1644:
	case 4025:
	case 3819:
	case 1451:
	case 1452:
		return REJECT_CONSTRAINT;
	default:
		return REJECT_OTHER;
	}
}

int reject_open(struct reject_file **out, const char *dir, uint64_t max_bytes)
{
	struct reject_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	snprintf(f->path, sizeof(f->path), "%s/rejected.jsonl", dir);
	snprintf(f->old_path, sizeof(f->old_path), "%s.1", f->path);
	f->max_bytes = max_bytes ? max_bytes : REJECT_MAX_BYTES;
	f->fd = -1;
	*out = f;
	return HT_OK;
}

void reject_close(struct reject_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* ---- the line ---- */

static void add_base64(struct evbuffer *out, const uint8_t *at, size_t len)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char four[4];

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t n = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
			     (left > 2 ? at[i + 2] : 0U);

		for (int k = 0; k < 4; k++)
			four[k] = digit[n >> (18 - 6 * k) & 63];
		if (left < 3)
			four[3] = '=';
		if (left < 2)
			four[2] = '=';
		evbuffer_add(out, four, sizeof(four));
	}
}

/* The server's words may quote what was on the wire. */
static void add_string(struct evbuffer *out, const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c == '"' || *c == '\\')
			evbuffer_add_printf(out, "\\%c", *c);
		else if ((uint8_t)*c < 0x20 || (uint8_t)*c >= 0x7f)
			evbuffer_add_printf(out, "\\u%04x", (uint8_t)*c);
		else
			evbuffer_add(out, c, 1);
	}
}

static void add_line(struct evbuffer *out, const struct reject *r)
{
	time_t now = time(NULL);
	char when[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	evbuffer_add_printf(out,
			    "{\"time\":\"%s\",\"stream\":\"%016" PRIx64 "\",\"seq\":%" PRIu64
			    ",\"row\":%" PRIu32 ",\"table\":\"",
			    when, r->block->stream, r->block->seq, r->index);
	add_string(out, r->table);
	evbuffer_add_printf(out, "\",\"errno\":%u,\"error\":\"", r->code);
	add_string(out, r->error);
	evbuffer_add_printf(out, "\",\"data\":\"");
	add_base64(out, (const uint8_t *)r->row, r->row->bytes);
	evbuffer_add_printf(out, "\"}\n");
}

/* ---- the file ---- */

static int file_ensure(struct reject_file *f)
{
	struct stat st;

	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size >= f->max_bytes) {
		close(f->fd);
		f->fd = -1;
		if (rename(f->path, f->old_path) < 0)
			return -errno;
		log_warning("database: %s is full and was set aside as %s", f->path, f->old_path);
	}
	if (f->fd < 0)
		f->fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	return f->fd < 0 ? -errno : HT_OK;
}

static int write_all(int fd, const uint8_t *at, size_t len)
{
	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return HT_OK;
}

int reject_write(struct reject_file *f, const struct reject *r)
{
	struct evbuffer *line = evbuffer_new();
	off_t end;
	int err;

	if (!line)
		return -ENOMEM;
	add_line(line, r);
	pthread_mutex_lock(&f->lock);
	err = file_ensure(f);
	end = err == HT_OK ? lseek(f->fd, 0, SEEK_END) : -1;
	if (err == HT_OK)
		err = write_all(f->fd, evbuffer_pullup(line, -1), evbuffer_get_length(line));
	if (err < 0 && end >= 0 && ftruncate(f->fd, end) < 0) /* no half a line */
		log_debug("reject: %s", ht_strerror(-errno));
	pthread_mutex_unlock(&f->lock);
	evbuffer_free(line);
	return err;
}
