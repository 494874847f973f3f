/**
 * @file
 * Error codes. A function returns 0 or a count on success and a negative number otherwise: -errno
 * where the system refused, one of ours (from -1000 down) where the reason is our own. Both travel
 * in one int.
 */
#pragma once

#define HT_MUST_CHECK __attribute__((warn_unused_result))

/* X(name, text): the text completes "cannot do this: ...". */
#define HT_ERRORS(X)                                            \
	X(HT_ECONF, "the configuration is wrong")               \
	X(HT_ESHORT, "not enough bytes")                        \
	X(HT_EVERSION, "not a HEP version that is taken here")  \
	X(HT_ELENGTH, "HEP length impossible")                  \
	X(HT_ECHUNK, "HEP chunk length impossible")             \
	X(HT_EADDRESS, "HEP without a pair of addresses")       \
	X(HT_EINFLATE, "compressed payload cannot be inflated") \
	X(HT_ENOTSIP, "not a SIP message")                      \
	X(HT_EFULL, "no room")                                  \
	X(HT_EBADBLOCK, "damaged block")                        \
	X(HT_ETORN, "block not complete")                       \
	X(HT_EOWNER, "somebody else writes this stream")        \
	X(HT_ECONN, "connection to the database lost")          \
	X(HT_ERETRY, "the database asks to try again")          \
	X(HT_EMISSING, "a table or partition is missing")       \
	X(HT_EFUTURE, "rows of a day too far ahead")            \
	X(HT_ECOLUMNS, "the table's columns have changed")      \
	X(HT_EDENIED, "the database refuses access")            \
	X(HT_EROW, "the database refuses a row")                \
	X(HT_EDUPLICATE, "a row id is taken")                   \
	X(HT_ETABLE, "the database refuses most rows")          \
	X(HT_EDB, "the database reports an error")              \
	X(HT_ESTOP, "stopped on request")                       \
	X(HT_EJOURNAL, "the journal is damaged")                \
	X(HT_EFORMAT, "the journal is of another version")      \
	X(HT_EPCAP, "not a capture file, or a damaged one")

enum ht_error {
	HT_OK = 0,
	HT_ERROR_FIRST = -1000,
#define X(name, text) name,
	HT_ERRORS(X)
#undef X
		HT_ERROR_END, /* keep last */
};

/**
 * A person's text for an error code of either kind.
 *
 * @return a string that is never freed and never NULL.
 * Threads: any.
 */
const char *ht_strerror(int err);
