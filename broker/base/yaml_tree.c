/* What does a YAML file say, and where? libyaml's events become a tree with positions; whatever could make two
 * readers see different files (aliases, merges, tags, keys given twice) is refused as soon as it is met. */
#include "base/yaml_tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/encode.h"
#include "base/near.h"

#define DEPTH_MAX 8
#define NODES_MAX 200000
#define ENTRIES_MAX 256 /* keys of one mapping */

struct builder {
	yaml_parser_t parser;
	const char *name;
	struct arena *arena;
	struct problem *why;
	struct yaml_node *open[DEPTH_MAX]; /* lists and mappings not ended yet */
	size_t depth;
	struct yaml_node *key;             /* read, its value not yet */
	struct yaml_node *root;
	size_t nodes;
	bool many;                         /* documents are taken, one after the other */
	bool stopped;                      /* a document has ended, and another may come */
	bool ended;
};

static int error_at(struct builder *b, yaml_mark_t at, const char *text)
{
	return problem_set(b->why, "%s:%zu:%zu: %s", b->name, at.line + 1, at.column + 1, text);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, yaml_mark_t at)
{
	struct yaml_node *n = ++b->nodes <= NODES_MAX ? arena_zalloc(b->arena, sizeof *n) : NULL;

	if (!n) {
		error_at(b, at, "the file is too large");
		return NULL;
	}
	n->kind = kind;
	n->line = (unsigned)at.line + 1;
	n->column = (unsigned)at.column + 1;
	return n;
}

static int take_key(struct builder *b, struct yaml_node *map, struct yaml_node *key, yaml_mark_t at)
{
	char shown[64], text[128];

	if (key->kind != YAML_TEXT || key->nothing || !key->text[0])
		return error_at(b, at, "a key is a plain word");
	if (yaml_tree_get(map, key->text)) {
		snprintf(text, sizeof text, "key `%s` stands here twice", near_show(slice_str(key->text), shown));
		return error_at(b, at, text);
	}
	if (map->n >= ENTRIES_MAX)
		return error_at(b, at, "over 256 keys in one mapping");
	b->key = key;
	return 0;
}

/* Puts the node where it belongs: as root, element, key or value. */
static int place(struct builder *b, struct yaml_node *n, yaml_mark_t at)
{
	struct yaml_node *in = b->depth ? b->open[b->depth - 1] : NULL;

	if (!in) {
		b->root = n;
		return 0;
	}
	if (in->kind == YAML_MAP && !b->key)
		return take_key(b, in, n, at);
	n->key = b->key;
	b->key = NULL;
	if (in->last)
		in->last->next = n;
	else
		in->first = n;
	in->last = n;
	in->n++;
	return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
	struct slice s = slice_of(e->data.scalar.value, e->data.scalar.length);
	struct yaml_node *n;

	if (e->data.scalar.anchor || e->data.scalar.tag)
		return error_at(b, e->start_mark, "anchors and tags are not taken: write the value out");
	if (!utf8_is_text(s))
		return error_at(b, e->start_mark, "a control character or a line break inside a value");
	n = node_new(b, YAML_TEXT, e->start_mark);
	if (!n)
		return -1;
	n->text = arena_strndup(b->arena, s.p, s.n);
	if (!n->text)
		return error_at(b, e->start_mark, "the file is too large");
	n->nothing = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!s.n || slice_is(s, "~") ||
		slice_is(s, "null"));
	return place(b, n, e->start_mark);
}

static int on_open(struct builder *b, const yaml_event_t *e, enum yaml_kind kind, bool marked)
{
	struct yaml_node *n;

	if (marked)
		return error_at(b, e->start_mark, "anchors and tags are not taken: write the value out");
	if (b->depth == DEPTH_MAX)
		return error_at(b, e->start_mark, "nested too deeply");
	n = node_new(b, kind, e->start_mark);
	if (!n || place(b, n, e->start_mark))
		return -1;
	b->open[b->depth++] = n;
	return 0;
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, e, YAML_LIST, e->data.sequence_start.anchor || e->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, e, YAML_MAP, e->data.mapping_start.anchor || e->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		return error_at(b, e->start_mark, "aliases are not taken: write the value out");
	case YAML_DOCUMENT_START_EVENT:
		return b->root ? error_at(b, e->start_mark, "a second document begins here: one is taken") : 0;
	case YAML_DOCUMENT_END_EVENT:
		b->stopped = b->many;
		return 0;
	case YAML_STREAM_END_EVENT:
		b->ended = true;
		return 0;
	default:
		return 0;
	}
}

static int on_bad_yaml(struct builder *b)
{
	const yaml_parser_t *p = &b->parser;
	yaml_mark_t at = p->problem_mark;
	char text[256];

	snprintf(text, sizeof text, "this is no YAML: %s%s%s", p->problem ? p->problem : "out of memory", p->context
		? ", " : "",
		 p->context ? p->context : "");
	return error_at(b, at, text);
}

static bool begin(struct builder *b, struct slice yaml, const char *name)
{
	*b = (struct builder){.name = name};
	if (!yaml_parser_initialize(&b->parser))
		return false;
	yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b->parser, yaml.n ? yaml.p : (const uint8_t *)"", yaml.n);
	return true;
}

/* Up to the end of a document, or of all. */
static int read_on(struct builder *b, struct arena *arena, struct problem *why)
{
	yaml_event_t event;
	int rc = 0;

	b->arena = arena;
	b->why = why;
	b->root = b->key = NULL;
	b->nodes = b->depth = 0;
	b->stopped = false;
	while (!rc && !b->ended && !b->stopped) {
		if (!yaml_parser_parse(&b->parser, &event))
			return on_bad_yaml(b);
		rc = on_event(b, &event);
		yaml_event_delete(&event);
	}
	return rc;
}

const struct yaml_node *yaml_tree_parse(struct slice yaml, const char *name, struct arena *arena, struct problem *why)
{
	struct builder b;
	int rc;

	if (!begin(&b, yaml, name)) {
		problem_set(why, "%s: out of memory", name);
		return NULL;
	}
	rc = read_on(&b, arena, why);
	if (!rc && !b.root)
		rc = problem_set(why, "%s:1:1: the file is empty", name);
	yaml_parser_delete(&b.parser);
	return rc ? NULL : b.root;
}

struct yaml_stream {
	struct builder builder;
};

struct yaml_stream *yaml_stream_new(struct slice yaml, const char *name)
{
	struct yaml_stream *s = malloc(sizeof *s);

	if (s && begin(&s->builder, yaml, name)) {
		s->builder.many = true;
		return s;
	}
	free(s);
	return NULL;
}

void yaml_stream_free(struct yaml_stream *s)
{
	if (s)
		yaml_parser_delete(&s->builder.parser);
	free(s);
}

int yaml_stream_next(struct yaml_stream *s, struct arena *arena, const struct yaml_node **root, struct problem *why)
{
	int rc = s->builder.ended ? 0 : read_on(&s->builder, arena, why);

	*root = rc || s->builder.ended ? NULL : s->builder.root;
	if (rc)
		s->builder.ended = true;
	return rc ? -1 : *root != NULL;
}

const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key)
{
	for (const struct yaml_node *n = map && map->kind == YAML_MAP ? map->first : NULL; n; n = n->next)
		if (!strcmp(n->key->text, key))
			return n;
	return NULL;
}
