/* What does a YAML file say, and where does it say it? A tree of texts, lists and mappings, each with its line and
 * column. Only what a configuration needs is read: no anchors, aliases or tags; a key stands once. A file is one document,
 * or with yaml_stream_next() several. */
#ifndef BATON_BASE_YAML_TREE_H
#define BATON_BASE_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/problem.h"
#include "base/slice.h"

struct yaml_stream;

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	unsigned line, column;         /* from 1 */
	const char *text;              /* of a YAML_TEXT: without NUL or control characters inside */
	bool nothing;                  /* of a YAML_TEXT: written without quotes as nothing, ~ or null */
	const struct yaml_node *key;   /* of an entry of a mapping: its key, a YAML_TEXT */
	struct yaml_node *first, *last, *next; /* of a list or mapping: its elements; of an element: the next */
	size_t n;                      /* elements */
};

/* The root, in the arena. NULL with why: "file:line:column: ...". name: of the file, for errors. */
const struct yaml_node *yaml_tree_parse(struct slice yaml, const char *name, struct arena *arena, struct problem *why);

/* Several documents, one after the other. Borrows both. NULL: memory is out. */
struct yaml_stream *yaml_stream_new(struct slice yaml, const char *name);
void yaml_stream_free(struct yaml_stream *s);
/* 1: *root of the next one, in the arena; an empty document is a text that is nothing. 0: there is none any more. -1 with why. */
int yaml_stream_next(struct yaml_stream *s, struct arena *arena, const struct yaml_node **root, struct problem *why);

/* The entry of a mapping, or NULL. map may be NULL. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key);

#endif
