/**
 * @file
 * A condition between its text and its tests. Only the compiler includes it.
 *
 * Nodes lie in the order in which they were made; the last one is the whole condition.
 */
#pragma once
#include "conf/filter.h"

enum filter_node_kind { NODE_TEST, NODE_NOT, NODE_AND, NODE_OR };

struct filter_node {
	enum filter_node_kind kind;
	uint32_t left, right; /* of NOT: left only */
	struct filter_test test;
};

struct filter_tree {
	struct filter_node *nodes;
	uint32_t count, room;
	uint32_t root;
	bool is_of_message; /* uses a field that makes it so */
};

/* Names of headers, of all rules. */
struct filter_names {
	uint32_t count;
	struct filter_header *at; /* FILTER_MAX_HEADERS */
};

/** Read a condition. @return HT_OK, HT_ECONF or -ENOMEM; filter_tree_fini() in each case. */
HT_MUST_CHECK int filter_parse(const char *when, struct filter_names *names,
			       struct filter_tree *out, struct filter_error *error);

/** Free what its tests own, but for tests that were taken over and set to zero. */
void filter_tree_fini(struct filter_tree *tree);

void filter_test_fini(struct filter_test *test);
