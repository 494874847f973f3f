/**
 * @file
 * Names of the tables that rules chose for messages (`table:` of a filter): each gets a number when
 * it is first seen and keeps it until the process ends. Bounded, since the names come out of the
 * spool.
 *
 * Threads: writers add; ht-admin and who asks for metrics read. A name is complete before the count
 * has it, and never changes.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "conf/err.h"
#include "hep/cursor.h"

#define ROUTES_MOST 32
#define ROUTE_NAME  65 /* octets of a name, its end included */

struct routes {
	pthread_mutex_t lock; /* of adding */
	_Atomic unsigned count;
	char name[ROUTES_MOST][ROUTE_NAME];
	_Atomic unsigned told; /* bit per enum route_trouble, which the log has */
};

/* Why rows do not go where a rule wants them. */
enum route_trouble {
	ROUTE_NO_NAME, /* it cannot be the name of a table */
	ROUTE_TAKEN,   /* a table with another use */
	ROUTE_ONE_MORE /* than ROUTES_MOST */
};

void routes_init(struct routes *r);
void routes_fini(struct routes *r);

/** May it stand between backquotes as the name of a table: letters, digits, _ and $, at most 64?
 * What the spool holds need not be what a configuration was allowed to say. */
bool route_is_name(struct view name);

/** @return its number, or -ENOENT. */
int routes_find(const struct routes *r, struct view name);

/** Give a name, which route_is_name(), a number. @return the number, or HT_EFULL. */
HT_MUST_CHECK int routes_add(struct routes *r, struct view name);

unsigned routes_count(const struct routes *r);

/** Say in the log why a name is not used, once for each reason. @p instead: where its rows go. */
void routes_tell(struct routes *r, enum route_trouble trouble, struct view name,
		 const char *instead);
