/**
 * @file
 * YAML bytes into a tree of values that know their line and column. What YAML has and a
 * configuration does not need is refused here: anchors, aliases, tags, more than one document, NUL
 * bytes.
 * Threads: pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/complain.h"
#include "conf/err.h"

#define TREE_MAX_BYTES (1U << 20) /* of the file */
#define TREE_MAX_DEPTH 16	  /* lists and sections inside each other */
#define TREE_MAX_NODES 20000

enum tree_kind {
	TREE_SCALAR,
	TREE_LIST,
	TREE_SECTION,
	TREE_REFUSED, /* complained about already; ignore it */
};

enum tree_style { TREE_PLAIN, TREE_SINGLE, TREE_DOUBLE, TREE_LITERAL, TREE_FOLDED };

struct tree {
	enum tree_kind kind;
	enum tree_style style; /* of a scalar: how it is quoted, if at all */
	struct mark at;
	char *text;   /* of a scalar, UTF-8, without NUL bytes; else NULL */
	size_t count; /* children; a section has two for each key, key and value in turn */
	struct tree *first, *last, *next;
};

/**
 * Parse the one document in a range of bytes (UTF-8, with or without a byte order mark).
 *
 * @param out  The tree, or NULL if there is nothing but comments; tree_free() it, also after an
 *             error.
 * @return HT_OK, even after complaints, if the tree is whole; HT_ECONF after a complaint that ends
 *         it (a syntax error, a bound); -ENOMEM.
 */
HT_MUST_CHECK int tree_read(const void *bytes, size_t len, struct complaints *say,
			    struct tree **out);

/** Free a tree; NULL is fine. */
void tree_free(struct tree *t);
