/* A short list that only grows. */
#include "storage/routes.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "conf/log.h"

void routes_init(struct routes *r)
{
	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
}

void routes_fini(struct routes *r)
{
	pthread_mutex_destroy(&r->lock);
}

static bool is_in_name(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '$';
}

bool route_is_name(struct view name)
{
	if (name.len == 0 || name.len >= ROUTE_NAME)
		return false;
	for (uint32_t i = 0; i < name.len; i++)
		if (!is_in_name(name.at[i]))
			return false;
	return true;
}

unsigned routes_count(const struct routes *r)
{
	return atomic_load_explicit(&r->count, memory_order_acquire);
}

int routes_find(const struct routes *r, struct view name)
{
	unsigned count = routes_count(r);

	for (unsigned i = 0; i < count; i++)
		if (strlen(r->name[i]) == name.len && memcmp(r->name[i], name.at, name.len) == 0)
			return (int)i;
	return -ENOENT;
}

int routes_add(struct routes *r, struct view name)
{
	unsigned count;
	int at;

	pthread_mutex_lock(&r->lock);
	at = routes_find(r, name); /* another writer may have been faster */
	count = routes_count(r);
	if (at < 0 && count == ROUTES_MOST)
		at = HT_EFULL;
	if (at == -ENOENT) {
		memcpy(r->name[count], name.at, name.len);
		atomic_store_explicit(&r->count, count + 1, memory_order_release);
		at = (int)count;
	}
	pthread_mutex_unlock(&r->lock);
	return at;
}

void routes_tell(struct routes *r, enum route_trouble trouble, struct view name,
		 const char *instead)
{
	if (atomic_fetch_or(&r->told, 1U << trouble) & 1U << trouble)
		return;
	if (trouble == ROUTE_NO_NAME)
		log_warning(
			"spool: a row asks for a table whose name of %u octets is none (letters, "
			"digits, _ or $, at most 64); such rows go to %s",
			(unsigned)name.len, instead);
	else
		log_warning("table %.*s: %s, so messages that a rule chose for it go to %s",
			    (int)name.len, (const char *)name.at,
			    trouble == ROUTE_TAKEN ? "has another use"
						   : "rules chose 32 other tables before it",
			    instead);
}
