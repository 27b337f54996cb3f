/* What does a file of resources say? Each document is read by its kind's rows. A scalar is the text that stands there, whatever YAML would make of it: yes and 1e3
 * are texts. See resfile.h. */
#include "config.h"

#include "cli/resfile.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/near.h"
#include "base/yaml_tree.h"
#include "cli/card.h"
#include "cli/options.h"
#include "cli/pem.h"

#define TREE_BYTES_MAX (64 * 1024 * 1024) /* of one document */

struct reader {
	const char *file;
	struct arena *arena;
	struct problem *why;
	struct res_item *item; /* being read */
};

static int error_at(const struct reader *r, const struct yaml_node *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int error_at(const struct reader *r, const struct yaml_node *at, const char *fmt, ...)
{
	va_list ap;
	char text[600];

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return problem_set(r->why, "%s:%u:%u: %s", r->file, at->line, at->column, text);
}

static int no_memory(const struct reader *r, const struct yaml_node *at)
{
	return error_at(r, at, "the file is too large; split it");
}

/* ---- bytes ---- */

/* What libyaml takes. */
static bool is_yaml(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7e) || c == 0x85 || (c >= 0xa0 && c != 0xfffe && c != 0xffff);
}

/* libyaml cannot say where it met a byte that is none of YAML's. */
static int check_bytes(struct slice s, const char *file, struct problem *why)
{
	unsigned line = 1, column = 1;
	uint32_t c;

	for (size_t n; s.n; s.p += n, s.n -= n) {
		n = utf8_step(s, &c);
		if (!n)
			return problem_set(why, "%s:%u:%u: a byte that is not UTF-8; save the file as UTF-8", file, line, column);
		if (!is_yaml(c))
			return problem_set(why, "%s:%u:%u: a control character; take it out", file, line, column);
		column = c == '\n' ? 1 : column + 1;
		line += c == '\n';
	}
	return 0;
}

/* ---- values ---- */

static int wrong_value(const struct reader *r, const struct res_field *f, const struct yaml_node *at, const char *what)
{
	char shown[64];

	return error_at(r, at, "%s: \"%s\": %s%s%s", f->name, near_show(slice_str(at->text), shown), what, f->todo ? "; " : "", f->todo ? f->todo : "");
}

static int read_text(const struct reader *r, const struct res_field *f, const struct yaml_node *n, char **out)
{
	const char *wrong = f->wrong ? f->wrong(n->text) : NULL;

	if (wrong)
		return wrong_value(r, f, n, wrong);
	if (f->required && !*n->text)
		return error_at(r, n, "%s is empty; %s", f->name, f->todo);
	*out = arena_strdup(r->arena, n->text);
	return *out ? 0 : no_memory(r, n);
}

static int read_number(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	size_t len = strlen(n->text);
	char shown[64];
	int64_t v;

	if (!len || len > 10 || strspn(n->text, "0123456789") != len || (len > 1 && n->text[0] == '0'))
		return error_at(r, n, "%s: \"%s\" is no whole number; write %" PRIu64 " to %" PRIu64, f->name, near_show(slice_str(n->text), shown), f->min, f->max);
	v = strtoll(n->text, NULL, 10);
	if ((uint64_t)v < f->min || (uint64_t)v > f->max)
		return error_at(r, n, "%s: %s is not within %" PRIu64 " to %" PRIu64 "; leave the line out for the default", f->name, n->text, f->min, f->max);
	res_set_number(r->item->spec, f, v);
	return 0;
}

static int read_size(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	int64_t v = size_parse(n->text);
	char shown[64], most[SIZE_TEXT_MAX];

	size_text((int64_t)f->max, most);
	if (v < 0 || (uint64_t)v > f->max)
		return error_at(r, n, "%s: \"%s\" is no size; write it as 512, 64KiB, 1MiB or 4GiB, at most %s", f->name, near_show(slice_str(n->text), shown), most);
	res_set_number(r->item->spec, f, v);
	return 0;
}

static int read_bool(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	char shown[64];

	if (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0)
		return error_at(r, n, "%s: \"%s\" is neither; write true or false", f->name, near_show(slice_str(n->text), shown));
	res_set_number(r->item->spec, f, n->text[0] == 't');
	return 0;
}

static int read_time(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	int64_t ms = clock_parse_rfc3339(slice_str(n->text));
	char shown[64];

	if (ms <= 0)
		return error_at(r, n, "%s: \"%s\" is no time of RFC 3339; write it as 2027-01-31T00:00:00Z, or leave the line out for never", f->name,
				near_show(slice_str(n->text), shown));
	res_set_number(r->item->spec, f, ms);
	return 0;
}

static int read_choice(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	char shown[64], known[128] = "";
	size_t at = 0;

	for (const struct res_word *w = f->words; w->text; w++) {
		if (strcmp(w->text, n->text) == 0) {
			res_set_number(r->item->spec, f, w->value);
			return 0;
		}
		if (at < sizeof known)
			at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", at ? " or " : "", w->text);
	}
	return error_at(r, n, "%s: \"%s\" is not known; write %s%s%s", f->name, near_show(slice_str(n->text), shown), known, f->todo ? ": " : "", f->todo ? f->todo : "");
}

static int read_words(const struct reader *r, const struct res_field *f, const struct yaml_node *list)
{
	char **v = arena_alloc(r->arena, (list->n + 1) * sizeof *v);
	size_t n = 0;

	if (!v)
		return no_memory(r, list);
	for (const struct yaml_node *e = list->first; e; e = e->next) {
		if (e->kind != YAML_TEXT || e->nothing)
			return error_at(r, e, "%s: each entry is a text; write one a line, behind `- `", f->name);
		if (read_text(r, f, e, &v[n]))
			return -1;
		for (size_t i = 0; i < n && n < 1024; i++) /* a list that is longer is refused by the broker */
			if (strcmp(v[i], v[n]) == 0)
				return error_at(r, e, "%s: \"%.63s\" stands there twice; take one of the two out", f->name, v[n]);
		n++;
	}
	*res_words(r->item->spec, f) = v;
	*res_count(r->item->spec, f) = n;
	return 0;
}

static int read_bytes(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	ProtobufCBinaryData *b = res_bytes(r->item->spec, f);
	struct problem why = {""};

	if (f->json && card_take(slice_str(n->text), r->arena, b, &why) < 0)
		return error_at(r, n, "%s: %s; write JSON as one text, or name a file of it with `%s`", f->name, why.text, f->from_file);
	if (f->json)
		return 0;
	b->len = strlen(n->text);
	b->data = (uint8_t *)arena_strdup(r->arena, n->text);
	return b->data ? 0 : no_memory(r, n);
}

static int read_der(const struct reader *r, const struct res_field *f, const struct yaml_node *list)
{
	ProtobufCBinaryData *v = arena_alloc(r->arena, (list->n + 1) * sizeof *v);
	size_t n = 0;

	if (!v)
		return no_memory(r, list);
	for (const struct yaml_node *e = list->first; e; e = e->next) {
		if (e->kind != YAML_TEXT || e->nothing || pem_one(slice_str(e->text), f->label, r->arena, &v[n++]) < 0)
			return error_at(r, e, "%s: this is no %s; %s", f->name, f->label, f->todo);
	}
	*(ProtobufCBinaryData **)res_at(r->item->spec, f->at) = v;
	*res_count(r->item->spec, f) = n;
	return 0;
}

static int read_pairs(const struct reader *r, const struct res_field *f, const struct yaml_node *map)
{
	ProtobufCMessage **v = arena_alloc(r->arena, (map->n + 1) * sizeof *v);
	size_t n = 0;

	if (!v)
		return no_memory(r, map);
	for (const struct yaml_node *e = map->first; e; e = e->next) {
		char shown[64];

		if (e->kind != YAML_TEXT || e->nothing)
			return error_at(r, e, "%s: `%s` has no text; write one, \"\" when it is empty", f->name, near_show(slice_str(e->key->text), shown));
		if (f->wrong && f->wrong(e->key->text))
			return wrong_value(r, f, e->key, f->wrong(e->key->text));
		v[n] = arena_alloc(r->arena, f->entry->sizeof_message);
		if (!v[n])
			return no_memory(r, e);
		protobuf_c_message_init(f->entry, v[n]);
		*res_side(v[n], 0) = arena_strdup(r->arena, e->key->text);
		*res_side(v[n], 1) = arena_strdup(r->arena, e->text);
		if (!*res_side(v[n], 0) || !*res_side(v[n], 1))
			return no_memory(r, e);
		n++;
	}
	*res_pairs(r->item->spec, f) = v;
	*res_count(r->item->spec, f) = n;
	return 0;
}

static int read_value(const struct reader *r, const struct res_field *f, const struct yaml_node *n)
{
	static const struct { enum yaml_kind kind; const char *what; } forms[] = {
		[RES_TEXT] = {YAML_TEXT, "a text"}, [RES_NUMBER] = {YAML_TEXT, "a number"}, [RES_BOOL] = {YAML_TEXT, "true or false"}, [RES_TIME] = {YAML_TEXT, "a time"},
		[RES_CHOICE] = {YAML_TEXT, "a word"}, [RES_WORDS] = {YAML_LIST, "a list: [a, b], or one a line behind `- `"},
		[RES_PAIRS] = {YAML_MAP, "a mapping: one `key: value` a line"}, [RES_BYTES] = {YAML_TEXT, "a text"},
		[RES_DER] = {YAML_LIST, "a list: one a line behind `- `"}, [RES_COUNT] = {YAML_TEXT, "a number"}, [RES_SIZE] = {YAML_TEXT, "a size: 64MiB"},
	};

	if (n->kind == YAML_TEXT && n->nothing)
		return error_at(r, n->key, "%s has no value; write one, or leave the line out", f->name);
	if (n->kind != forms[f->type].kind)
		return error_at(r, n, "%s is not what it should be; write %s", f->name, forms[f->type].what);
	switch (f->type) {
	case RES_TEXT:
		return read_text(r, f, n, res_text(r->item->spec, f));
	case RES_NUMBER:
	case RES_COUNT:
		return read_number(r, f, n);
	case RES_SIZE:
		return read_size(r, f, n);
	case RES_BOOL:
		return read_bool(r, f, n);
	case RES_TIME:
		return read_time(r, f, n);
	case RES_CHOICE:
		return read_choice(r, f, n);
	case RES_WORDS:
		return read_words(r, f, n);
	case RES_BYTES:
		return read_bytes(r, f, n);
	case RES_DER:
		return read_der(r, f, n);
	default:
		return read_pairs(r, f, n);
	}
}

/* ---- keys ---- */

static const struct res_refused *refused(const struct res_refused *v, const char *key)
{
	while (v->name && strcmp(v->name, key) != 0)
		v++;
	return v->name ? v : NULL;
}

static int unknown_key(const struct reader *r, const struct yaml_node *key)
{
	const struct res_kind *k = r->item->kind;
	const struct res_refused *no = refused(k->refused, key->text);
	const char *names[RES_FIELDS_MAX + 1] = {"kind"}, *meant;
	char shown[64], known[640] = "kind";
	size_t at = 4;

	near_show(slice_str(key->text), shown);
	no = no ? no : refused(res_refused_everywhere, key->text);
	if (no && no->instead)
		return error_at(r, key, "`%s` is not taken: %s; write `%s`", shown, no->why, no->instead);
	if (no)
		return error_at(r, key, "`%s` may not be set: %s; take the line out", shown, no->why);
	for (size_t i = 0; i < k->n_fields; i++) {
		names[i + 1] = k->fields[i].name;
		if (at < sizeof known)
			at += (size_t)snprintf(known + at, sizeof known - at, ", %s", k->fields[i].name);
	}
	meant = near_word(slice_str(key->text), names, k->n_fields + 1);
	if (meant)
		return error_at(r, key, "unknown key `%s`; did you mean `%s`?", shown, meant);
	return error_at(r, key, "unknown key `%s`; known are %s", shown, known);
}

static int find_kind(const struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *kind = yaml_tree_get(root, "kind"), *many = yaml_tree_get(root, "resources");
	char shown[64], known[128] = "";
	size_t at = 0;

	for (size_t i = 0; i < n_res_kinds && at < sizeof known; i++)
		at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? " or " : "", res_kinds[i].name);
	if (!kind && many)
		return error_at(r, many->key, "`resources` is not taken; write each resource as a document of its own, with a line `---` between two");
	if (!kind)
		return error_at(r, root, "no `kind` stands here; write `kind: %s`", known);
	r->item->kind = kind->kind == YAML_TEXT ? res_kind_find(kind->text) : NULL;
	if (r->item->kind)
		return 0;
	return error_at(r, kind, "kind: \"%s\" is not known; write %s", kind->kind == YAML_TEXT ? near_show(slice_str(kind->text), shown) : "", known);
}

/* ---- resources ---- */

static bool make_messages(struct res_item *item, struct arena *arena)
{
	item->resource = arena_alloc(arena, sizeof *item->resource);
	item->spec = arena_alloc(arena, item->kind->spec->sizeof_message);
	if (!item->resource || !item->spec)
		return false;
	protobuf_c_message_init(item->kind->spec, item->spec);
	if (!res_make_inner(item->kind, item->spec, arena))
		return false;
	baton__v1__resource__init(item->resource);
	res_set_spec(item->kind, item->resource, item->spec);
	return true;
}

/* A key by which a file is named: -1 none, else the field that stands in it. */
static int find_from_file(const struct res_kind *k, const char *key)
{
	for (size_t i = 0; i < k->n_fields; i++)
		if (k->fields[i].from_file && strcmp(k->fields[i].from_file, key) == 0)
			return (int)i;
	return -1;
}

static int read_from_file(const struct reader *r, const struct res_field *f, const struct yaml_node *e)
{
	if (e->kind != YAML_TEXT || e->nothing || !*e->text)
		return error_at(r, e->key, "%s names no file; write its name, or leave the line out", f->from_file);
	r->item->in_file = f;
	r->item->path = arena_strdup(r->arena, e->text);
	return r->item->path ? 0 : no_memory(r, e);
}

/* The field's place; -1: it is none, or wrong. */
static int read_field(const struct reader *r, const struct yaml_node *e, const bool *given)
{
	const struct res_kind *k = r->item->kind;
	int i = res_field_find(k, e->key->text), from = i < 0 ? find_from_file(k, e->key->text) : -1, at = i < 0 ? from : i;

	if (at < 0)
		return unknown_key(r, e->key);
	if (given[at])
		return error_at(r, e->key, "%s stands here, and in a file of its own too; take one of the two out", k->fields[at].name);
	return (i < 0 ? read_from_file(r, &k->fields[at], e) : read_value(r, &k->fields[at], e)) ? -1 : at;
}

static int read_fields(const struct reader *r, const struct yaml_node *root)
{
	struct res_item *item = r->item;
	bool given[RES_FIELDS_MAX] = {false};

	for (const struct yaml_node *e = root->first; e; e = e->next) {
		int i;

		if (strcmp(e->key->text, "kind") == 0)
			continue;
		i = read_field(r, e, given);
		if (i < 0)
			return -1;
		given[i] = true;
		item->field[i] = (struct res_place){e->key->line, e->key->column};
	}
	for (size_t i = 0; i < item->kind->n_fields; i++)
		if (item->kind->fields[i].required && !given[i])
			return error_at(r, root, "`%s` is missing; %s", item->kind->fields[i].name, item->kind->fields[i].todo);
	if (item->kind->finish)
		item->kind->finish(item->spec, given);
	return 0;
}

static int read_item(const struct reader *r, const struct yaml_node *root)
{
	struct res_item *item = r->item;

	if (root->kind != YAML_MAP)
		return error_at(r, root, "a resource is a mapping that has a `kind`; write its keys, one a line");
	item->at = (struct res_place){root->line, root->column};
	if (find_kind(r, root))
		return -1;
	if (!make_messages(item, r->arena))
		return no_memory(r, root);
	if (read_fields(r, root))
		return -1;
	item->name = res_name(item->kind, res_tenant(item->kind, item->spec), res_id(item->kind, item->spec), r->arena);
	return item->name ? 0 : no_memory(r, root);
}

/* ---- what stands there twice ---- */

struct claim {
	const char *text;
	const struct res_item *item;
	const struct res_field *field; /* NULL: its name */
};

static int by_text(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int rc = strcmp(x->text, y->text);

	return rc ? rc : (x->item > y->item) - (x->item < y->item);
}

static int claimed_twice(const struct resfile *f, const struct claim *one, const struct claim *again, struct problem *why)
{
	const struct res_item *b = again->item;
	struct res_place at = b->at;
	char shown[64];

	if (!one->field)
		return problem_set(why, "%s:%u:%u: %s stands here again, it was at line %u; take one of the two out", f->name, at.line, at.column, b->name, one->item->at.line);
	at = b->field[one->field - b->kind->fields];
	return problem_set(why, "%s:%u:%u: %s: \"%s\" is that of %s too, at line %u; give each its own", f->name, at.line, at.column, one->field->name,
			   near_show(slice_str(one->text), shown), one->item->name, one->item->at.line);
}

static int check_claims(const struct resfile *f, struct claim *v, size_t n, struct problem *why)
{
	const struct claim *first = NULL;

	qsort(v, n, sizeof *v, by_text);
	for (size_t i = 1; i < n; i++)
		if (strcmp(v[i - 1].text, v[i].text) == 0 && (!first || v[i].item < first->item))
			first = &v[i];
	return first ? claimed_twice(f, first - 1, first, why) : 0;
}

static int check_twice(const struct resfile *f, struct arena *arena, struct problem *why)
{
	struct claim *v = arena_alloc(arena, (f->n + 1) * sizeof *v);

	if (!v)
		return problem_set(why, "%s:1:1: the file is too large; split it", f->name);
	for (size_t i = 0; i < f->n; i++)
		v[i] = (struct claim){f->v[i].name, &f->v[i], NULL};
	if (check_claims(f, v, f->n, why))
		return -1;
	for (size_t k = 0; k < n_res_kinds; k++)
		for (size_t j = 0; j < res_kinds[k].n_fields; j++) {
			const struct res_field *field = &res_kinds[k].fields[j];
			size_t n = 0;

			for (size_t i = 0; i < f->n && field->unique; i++)
				if (f->v[i].kind == &res_kinds[k])
					v[n++] = (struct claim){*res_text(f->v[i].spec, field), &f->v[i], field};
			if (check_claims(f, v, n, why))
				return -1;
		}
	return 0;
}

/* ---- the file ---- */

/* The YAML reader says what is wrong; what to do is for whoever knows what the file is for. */
static void advise(struct problem *why)
{
	static const struct { const char *said, *todo; } rows[] = {
		{"stands here twice", "take one of the two out"}, {"nested too deeply", "a resource has texts, lists and mappings of texts alone"},
		{"a control character or a line break", "write it as one line"}, {"a key is a plain word", "write `key: value`"},
		{"the file is too large", "split it"}, {"over 256 keys", "split it"}, {"this is no YAML", "look at what stands before it: indentation, quotes, brackets"},
	};
	size_t n = strlen(why->text);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strstr(why->text, rows[i].said)) {
			snprintf(why->text + n, sizeof why->text - n, "; %s", rows[i].todo);
			return;
		}
}

/* Room for one more. */
static bool grow(struct resfile *f, struct arena *arena)
{
	struct res_item *v;

	if (f->n & (f->n - 1)) /* it is full at powers of two */
		return true;
	v = arena_alloc(arena, (f->n ? 2 * f->n : 1) * sizeof *v);
	if (v && f->n)
		memcpy(v, f->v, f->n * sizeof *v);
	f->v = v;
	return v;
}

static int take(const struct reader *in, struct resfile *f, const struct yaml_node *root)
{
	struct reader r = *in;

	if (root->kind == YAML_TEXT && root->nothing)
		return 0;
	if (f->n == RESFILE_ITEMS_MAX)
		return error_at(in, root, "over %d resources; split the file", RESFILE_ITEMS_MAX);
	if (!grow(f, in->arena))
		return no_memory(in, root);
	r.item = &f->v[f->n];
	*r.item = (struct res_item){0};
	if (read_item(&r, root))
		return -1;
	f->n++;
	return 0;
}

static int read_documents(const struct reader *r, struct yaml_stream *s, struct arena *tree, struct resfile *f)
{
	const struct yaml_node *root;
	size_t documents = 0;
	int rc;

	while ((rc = yaml_stream_next(s, tree, &root, r->why)) > 0) {
		documents++;
		if (take(r, f, root))
			return -1;
		arena_reset(tree);
	}
	if (rc)
		advise(r->why);
	else if (!documents)
		return problem_set(r->why, "%s:1:1: nothing stands in the file; write a resource, beginning with its `kind`", r->file);
	return rc;
}

/* An editor's mark that it is UTF-8; to libyaml it would be a column. */
static struct slice behind_mark(struct slice s)
{
	return s.n >= 3 && memcmp(s.p, "\xef\xbb\xbf", 3) == 0 ? slice_of(s.p + 3, s.n - 3) : s;
}

int resfile_read(struct slice yaml, const char *name, struct arena *arena, struct resfile *out, struct problem *why)
{
	struct reader r = {name, arena, why, NULL};
	struct arena *tree = NULL;
	struct yaml_stream *s = NULL;
	int rc = -1;

	*out = (struct resfile){.name = name};
	if (yaml.n > RESFILE_BYTES_MAX)
		return problem_set(why, "%s:1:1: the file is over 16 MiB; split it", name);
	yaml = behind_mark(yaml);
	if (check_bytes(yaml, name, why))
		return -1;
	tree = arena_new(TREE_BYTES_MAX);
	s = tree ? yaml_stream_new(yaml, name) : NULL;
	if (s)
		rc = read_documents(&r, s, tree, out);
	else
		problem_set(why, "%s: out of memory", name);
	yaml_stream_free(s);
	arena_free(tree);
	return rc ? -1 : check_twice(out, arena, why);
}

/* ---- what stands in files of its own ---- */

/* Where the file of resources lies; standard input: where the command was called. */
static const char *beside(const char *file, const char *path, struct arena *arena)
{
	const char *slash = strrchr(file, '/');

	return *path == '/' || !slash ? path : arena_printf(arena, "%.*s/%s", (int)(slash - file), file, path);
}

static int load(const struct res_item *item, const char *path, struct arena *arena, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc;

	if (file_read(path, CARD_FILE_MAX, &bytes, &n, why) < 0)
		return -1;
	rc = card_take(slice_of(bytes, n), arena, res_bytes(item->spec, item->in_file), why);
	free(bytes);
	return rc < 0 ? problem_prefix(why, "%s", path) : 0;
}

int resfile_load(struct resfile *f, struct arena *arena, struct problem *why)
{
	for (size_t i = 0; i < f->n; i++) {
		struct res_item *item = &f->v[i];
		const char *path = item->in_file ? beside(f->name, item->path, arena) : "";
		const struct res_place *at = item->in_file ? &item->field[item->in_file - item->kind->fields] : NULL;

		if (at && (!path || load(item, path, arena, why) < 0))
			return path ? problem_prefix(why, "%s:%u:%u: %s", f->name, at->line, at->column, item->in_file->from_file) : problem_set(why, "out of memory");
	}
	return 0;
}
