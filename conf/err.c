/* Texts of the error codes in err.h. */
#include "conf/err.h"

#include <string.h>

const char *ht_strerror(int err)
{
	switch (err) {
	case HT_OK:
		return "success";
#define X(name, text) \
	case name:    \
		return text;
		HT_ERRORS(X)
#undef X
	default:
		break;
	}
	if (err > HT_ERROR_FIRST && err < 0)
		return strerrordesc_np(-err) ? strerrordesc_np(-err) : "unknown system error";
	return "unknown error";
}
