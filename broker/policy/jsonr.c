/* How is a JSON file read strictly? See the header. The path of the member being read is kept beside, for the
 * errors. */
#include "policy/jsonr.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/near.h"

#define MEMBERS_MAX 32

size_t jsonr_enter(struct jsonr *r, const char *name, long index)
{
	size_t mark = r->path_n, room = sizeof r->path - r->path_n;
	char shown[64];
	int n;

	if (index >= 0)
		n = snprintf(r->path + mark, room, "[%ld]", index);
	else
		n = snprintf(r->path + mark, room, "%s%s", mark ? "." : "", near_show(slice_str(name), shown));
	r->path_n = n < 0 || (size_t)n >= room ? sizeof r->path - 1 : mark + (size_t)n;
	return mark;
}

void jsonr_leave(struct jsonr *r, size_t mark)
{
	r->path_n = mark;
	r->path[mark] = '\0';
}

int jsonr_error(struct jsonr *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return problem_set(r->why, "%s%s%s", r->path, r->path_n ? ": " : "", text);
}

const char *jsonr_kind(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number with a point";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	default:
		return "null";
	}
}

static int wrong_kind(struct jsonr *r, const json_t *v, const char *wanted)
{
	return jsonr_error(r, "is %s, and %s belongs here", jsonr_kind(v), wanted);
}

static int unknown(struct jsonr *r, const char *key, const struct json_member *members)
{
	const char *known[MEMBERS_MAX], *meant;
	char shown[64], list[400] = "";
	size_t n = 0, at = 0;

	for (; members[n].name && n < MEMBERS_MAX; n++) {
		known[n] = members[n].name;
		at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", n ? ", " : "", known[n]);
		if (at >= sizeof list)
			at = sizeof list - 1;
	}
	meant = near_word(slice_str(key), known, n);
	near_show(slice_str(key), shown);
	if (meant)
		return jsonr_error(r, "unknown member `%s`; did you mean `%s`? Known: %s", shown, meant, list);
	return jsonr_error(r, "unknown member `%s`. Known: %s", shown, list);
}

static const struct json_member *member(const struct json_member *members, const char *key)
{
	for (; members->name; members++)
		if (!strcmp(members->name, key))
			return members;
	return NULL;
}

int jsonr_members(struct jsonr *r, const json_t *object, const struct json_member *members, void *to)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)object, key, v) {
		const struct json_member *m = member(members, key);
		size_t mark;
		int rc;

		if (!m)
			return unknown(r, key, members);
		mark = jsonr_enter(r, key, -1);
		rc = m->read(r, v, m, (char *)to + m->offset);
		if (rc)
			return -1;
		jsonr_leave(r, mark);
	}
	for (const struct json_member *m = members; m->name; m++)
		if (m->required && !json_object_get(object, m->name))
			return jsonr_error(r, "`%s` is missing", m->name);
	return 0;
}

int jsonr_object(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	if (!json_is_object(v))
		return wrong_kind(r, v, "an object");
	return jsonr_members(r, v, m->members, to);
}

static int number(struct jsonr *r, const json_t *v, const struct json_member *m, int64_t *out)
{
	if (!json_is_integer(v))
		return wrong_kind(r, v, "a whole number");
	*out = json_integer_value(v);
	if (*out < m->min || *out > m->max)
		return jsonr_error(r, "%lld is not within %lld..%lld", (long long)*out, (long long)m->min,
			(long long)m->max);
	return 0;
}

int jsonr_i64(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	return number(r, v, m, to);
}

int jsonr_u32(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	int64_t n = 0;

	if (number(r, v, m, &n))
		return -1;
	*(uint32_t *)to = (uint32_t)n;
	return 0;
}

int jsonr_bool(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	if (!json_is_boolean(v))
		return wrong_kind(r, v, "true or false");
	*(bool *)to = json_is_true(v);
	return 0;
}

/* A text of the member's shape, kept in the arena. */
static const char *keep(struct jsonr *r, const json_t *v, const struct json_member *m)
{
	struct slice s;
	const char *kept;
	char shown[64];

	if (!json_is_string(v)) {
		wrong_kind(r, v, "a text");
		return NULL;
	}
	s = slice_of(json_string_value(v), json_string_length(v));
	if (!utf8_is_text(s) || (m->shape && !m->shape->ok(s))) {
		jsonr_error(r, "\"%s\" is not %s", near_show(s, shown), m->shape ? m->shape->what : "plain text");
		return NULL;
	}
	kept = arena_strndup(r->arena, s.p, s.n);
	if (!kept)
		jsonr_error(r, "the file is too large");
	return kept;
}

int jsonr_text(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	const char *kept = keep(r, v, m);

	if (!kept)
		return -1;
	*(const char **)to = kept;
	return 0;
}

int jsonr_choice(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	char shown[64], list[200] = "";
	size_t at = 0;

	if (!json_is_string(v))
		return wrong_kind(r, v, "a text");
	for (const struct text_choice *c = m->choices; c->text; c++) {
		if (slice_is(slice_of(json_string_value(v), json_string_length(v)), c->text)) {
			*(int *)to = c->value;
			return 0;
		}
		at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", c->text);
		if (at >= sizeof list)
			at = sizeof list - 1;
	}
	near_show(slice_of(json_string_value(v), json_string_length(v)), shown);
	return jsonr_error(r, "\"%s\" is none of %s", shown, list);
}

int jsonr_texts(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	struct text_list *list = to;
	const char **texts;
	size_t n, mark;

	if (!json_is_array(v))
		return wrong_kind(r, v, "a list");
	n = json_array_size(v);
	if ((int64_t)n < m->min || (int64_t)n > m->max)
		return jsonr_error(r, "has %zu elements, and %lld to %lld are taken", n, (long long)m->min,
			(long long)m->max);
	texts = arena_alloc(r->arena, (n + 1) * sizeof *texts);
	if (!texts)
		return jsonr_error(r, "the file is too large");
	for (size_t i = 0; i < n; i++) {
		mark = jsonr_enter(r, NULL, (long)i);
		texts[i] = keep(r, json_array_get(v, i), m);
		if (!texts[i])
			return -1;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(texts[i], texts[j]))
				return jsonr_error(r, "\"%s\" stands in the list twice", texts[i]);
		jsonr_leave(r, mark);
	}
	list->v = texts;
	list->n = n;
	return 0;
}
