/* Complaints about a configuration file. */
#include "conf/complain.h"

#include <stdarg.h>

#include "conf/log.h"

#define COMPLAINT_BYTES 1024

bool complaints_are_full(const struct complaints *c)
{
	return c->count > COMPLAINTS_MAX;
}

void complain(struct complaints *c, struct mark at, const char *format, ...)
{
	char text[COMPLAINT_BYTES];
	va_list args;

	if (complaints_are_full(c))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (c->count++ == COMPLAINTS_MAX)
		snprintf(text, sizeof(text), "and more; the first %d are shown", COMPLAINTS_MAX);
	log_clean(text); /* it may quote the file */
	if (c->out)
		fprintf(c->out, "%s:%u:%u: %s\n", c->name, at.line, at.column, text);
}
