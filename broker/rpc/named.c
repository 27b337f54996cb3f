/* What do kinds share whose resources have one name for all tenants? See named.h. */
#include "rpc/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "rpc/caller.h"
#include "rpc/pipeline.h"
#include "rpc/specdiff.h"

static const char *name_of(const struct named *n, const ProtobufCMessage *m)
{
	return *(char *const *)((const char *)m + n->name);
}

struct slice named_name(const struct named *n, const char *name, char out[NAMED_NAME_MAX])
{
	int len = snprintf(out, NAMED_NAME_MAX, "%s%.255s", n->prefix, name);

	return slice_of(out, (size_t)len);
}

struct slice named_bound(const char *kind, const char *name, char out[NAMED_NAME_MAX])
{
	int len = snprintf(out, NAMED_NAME_MAX, "bound/%s/%.255s", kind, name);

	return slice_of(out, (size_t)len);
}

bool named_for_all(struct op *op, const struct kind *k)
{
	const char *why = k->named->for_all ? k->named->for_all : arena_printf(op->arena, "%ss are for all tenants", k->named->what);
	const struct verdict v = caller_elsewhere(op, why);

	if (!caller_sees_all(op))
		pipeline_deny(op, &v);
	return caller_sees_all(op);
}

bool named_may_show(struct op *op, const struct kind *k)
{
	return !k->named->all_tenants || named_for_all(op, k);
}

static const struct resource *stored(const struct op *op, const struct named *n, const char *name)
{
	char text[NAMED_NAME_MAX];

	return n->name_wrong(name) ? NULL : resources_find(op->world->resources, named_name(n, name, text));
}

/* ---- all of them, by name ---- */

#define NOT_GIVEN SIZE_MAX

/* What is stored, or what is there without that; or both, and then what is stored, if it reads. */
struct found {
	const char *name;
	const struct resource *resource;
	size_t given;
	bool is_static;
};

struct finding {
	struct found *v;
	size_t n;
};

static size_t n_given(const struct op *op, const struct named *n)
{
	return n->n_given ? n->n_given(op) : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : !x->resource - !y->resource;
}

static void gather_given(const struct op *op, const struct named *n, struct finding *g)
{
	size_t max = n_given(op, n);

	for (size_t i = 0; i < max; i++) {
		struct named_given given = n->given(op, i);

		g->v[g->n++] = (struct found){given.name, NULL, i, given.is_static};
	}
}

/* What is stored stands in the place of what is given under its name. */
static void join(struct finding *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		struct found *f = &g->v[i], *before = n ? &g->v[n - 1] : NULL;

		if (before && before->resource && !f->resource && !f->is_static && strcmp(before->name, f->name) == 0)
			before->given = f->given;
		else
			g->v[n++] = *f;
	}
	g->n = n;
}

/* v NULL: memory is out. */
static struct finding gather(struct op *op, const struct named *n)
{
	const struct slice prefix = slice_str(n->prefix);
	const struct resources *s = op->world->resources;
	size_t from = resources_place(s, prefix), to = from;
	struct finding g = {NULL, 0};

	while (to < resources_count(s) && slice_begins(resources_at(s, to)->name, prefix))
		to++;
	g.v = arena_alloc(op->arena, (to - from + n_given(op, n) + 1) * sizeof *g.v);
	if (!g.v)
		return g;
	gather_given(op, n, &g);
	for (size_t i = from; i < to; i++) {
		const struct resource *r = resources_at(s, i);
		const char *name = r->removed ? "" : arena_strndup(op->arena, r->name.p + prefix.n, r->name.n - prefix.n);

		if (!r->removed && name)
			g.v[g.n++] = (struct found){name, r, NOT_GIVEN, false};
	}
	qsort(g.v, g.n, sizeof *g.v, by_name);
	join(&g);
	return g;
}

/* NULL: it is none of the kind, or speaks of another; or memory is out. */
static Baton__V1__Resource *read_kept(struct op *op, const struct kind *k, const struct found *f)
{
	Baton__V1__Resource *m = f->resource ? kinds_read(op, k, f->resource) : NULL;

	return m && strcmp(name_of(k->named, kinds_spec(m)), f->name) == 0 ? m : NULL;
}

/* NULL: it is not to be shown, or memory is out. */
static Baton__V1__Resource *shown(struct op *op, const struct kind *k, const struct found *f, const char *tenant)
{
	Baton__V1__Resource *m = read_kept(op, k, f);

	if (!m && f->given != NOT_GIVEN)
		m = k->named->given_at(op, k, f->given);
	if (!m || !k->named->sees(op, kinds_spec(m), tenant))
		return NULL;
	if (k->named->dress)
		k->named->dress(op, m);
	return m;
}

/* None of these has labels. */
static Baton__V1__Resource *asked_for(struct op *op, const struct kind *k, const struct found *f, const Baton__V1__ListResourcesRequest *m)
{
	return m->n_labels ? NULL : shown(op, k, f, m->tenant);
}

/* From the first behind the token on; that there is more is said only to who sees more. false: memory is out. */
static bool fill(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page, Baton__V1__ListResourcesResponse *answer)
{
	struct finding g = gather(op, k->named);
	size_t i = 0;

	if (!g.v)
		return false;
	while (*m->page_token && i < g.n && strcmp(g.v[i].name, m->page_token) <= 0)
		i++;
	for (; i < g.n && !*answer->next_page_token; i++) {
		Baton__V1__Resource *one = asked_for(op, k, &g.v[i], m);

		if (one && answer->n_resources == page)
			answer->next_page_token = (char *)name_of(k->named, kinds_spec(answer->resources[page - 1]));
		else if (one)
			answer->resources[answer->n_resources++] = one;
	}
	return !arena_failed(op->arena);
}

void named_list(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page)
{
	Baton__V1__ListResourcesResponse *answer;

	if (!named_may_show(op, k))
		return;
	answer = kinds_page(op, page);
	if (answer && fill(op, k, m, page, answer))
		pipeline_answer(op, &answer->base);
	else if (answer)
		operator_no_memory(op);
}

/* ---- as a watch sees them ---- */

static uint64_t stamp_of(struct op *op, const struct kind *k, const struct found *f)
{
	const Baton__V1__Resource *m = f->resource ? NULL : k->named->given_at(op, k, f->given);

	return f->resource ? f->resource->generation : m ? kinds_stamp(op, m) : 1;
}

struct sights named_look(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m)
{
	struct finding g = gather(op, k->named);
	struct sights s = {g.v ? arena_alloc(op->arena, (g.n + 1) * sizeof *s.v) : NULL, 0};

	(void)m;
	for (; s.v && s.n < g.n; s.n++) {
		const struct found *f = &g.v[s.n];

		s.v[s.n] = (struct sight){slice_str(f->name), stamp_of(op, k, f), f->resource ? f->resource->value.n : 0, f};
	}
	return s;
}

Baton__V1__Resource *named_see(struct op *op, const struct kind *k, const struct sight *s, const Baton__V1__ListResourcesRequest *m)
{
	return asked_for(op, k, s->found, m);
}

Baton__V1__Resource *named_gone(struct op *op, const struct kind *k, struct slice name)
{
	ProtobufCMessage *m = arena_alloc(op->arena, k->named->none->descriptor->sizeof_message);
	char *text = arena_strndup(op->arena, name.p, name.n);

	if (!m || !text)
		return NULL;
	protobuf_c_message_init(k->named->none->descriptor, m);
	*(char **)((char *)m + k->named->name) = text;
	return kinds_wrap(op, k, m);
}

/* ---- one of them ---- */

static void deny_none(struct op *op, const struct kind *k, const char *field)
{
	operator_deny(op, REASON_NOT_FOUND, field, arena_printf(op->arena, "no such %s", k->named->what));
}

/* NOT_GIVEN: none has the name. */
static size_t find_given(const struct op *op, const struct named *n, const char *name)
{
	size_t max = n_given(op, n);

	for (size_t i = 0; i < max; i++)
		if (strcmp(n->given(op, i).name, name) == 0)
			return i;
	return NOT_GIVEN;
}

static bool is_static(const struct op *op, const struct named *n, size_t given)
{
	return given != NOT_GIVEN && n->given(op, given).is_static;
}

void named_get(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref)
{
	const struct resource *r = stored(op, k->named, ref->name);
	struct found f = {ref->name, NULL, find_given(op, k->named, ref->name), false};
	Baton__V1__Resource *m = NULL;

	if (!named_may_show(op, k))
		return;
	if (r && !r->removed && !is_static(op, k->named, f.given))
		f.resource = r;
	m = shown(op, k, &f, ref->tenant);
	if (m)
		pipeline_answer(op, &m->base);
	else if (arena_failed(op->arena))
		operator_no_memory(op);
	else if (f.resource && caller_sees_all(op) && !read_kept(op, k, &f))
		operator_deny(op, REASON_NOT_FOUND, "name", arena_printf(op->arena, "what is stored under this name is no %s, and does nothing: make it anew", k->named->what));
	else
		deny_none(op, k, "name");
}

const struct resource *named_kept(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref)
{
	const struct resource *r = stored(op, k->named, ref->name);
	size_t given = find_given(op, k->named, ref->name);

	if (!named_for_all(op, k))
		return NULL;
	if (r)
		return r;
	if (is_static(op, k->named, given))
		operator_deny(op, REASON_WRONG_STATE, "name", "it stands in the configuration file, which has no history here");
	else if (given != NOT_GIVEN)
		operator_deny(op, REASON_WRONG_STATE, "name", "it is there because others name it, and nothing of its own was ever kept: it has no history");
	else
		deny_none(op, k, "name");
	return NULL;
}

/* ---- changes ---- */

bool named_well_formed(struct op *op, const struct kind *k, const ProtobufCMessage *m, const struct entry *e, size_t i)
{
	const char *field = k->named->field, *wrong = k->named->name_wrong(name_of(k->named, m));
	struct problem why = {""};

	wrong = wrong ? wrong : k->named->wrong(m, &field, &why);
	if (wrong)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, field, wrong);
	return !k->named->fits || k->named->fits(op, m, e, i);
}

static void look_up(struct op *op, const struct kind *k, const char *name, struct entry *e)
{
	const struct resource *r = stored(op, k->named, name);

	*e = (struct entry){.kind = k, .tenant = "", .name = name, .version = r ? r->version : 0, .before = r && !r->removed ? kinds_read(op, k, r) : NULL};
}

static bool not_static(struct op *op, const struct entry *e, size_t i)
{
	if (!is_static(op, e->kind->named, find_given(op, e->kind->named, e->name)))
		return true;
	return enlist_deny(op, REASON_WRONG_STATE, i, e->kind->named->field, "it stands in the configuration file: it is static, and changes there alone");
}

/* What one alone may have is another's already. */
static bool check_claims(struct op *op, const struct entry *e, size_t i)
{
	const struct named *n = e->kind->named;
	char text[NAMED_NAME_MAX], own[NAMED_NAME_MAX];

	for (size_t k = 0; n->claim && k < NAMED_CLAIMS; k++) {
		struct slice claim = n->claim(e->spec, k, text);
		const struct resource *r = claim.n ? resources_find(op->world->resources, claim) : NULL;

		if (r && !r->removed && !slice_eq(r->value, named_name(n, e->name, own)))
			return enlist_deny(op, REASON_WRONG_STATE, i, n->claimed[k], arena_printf(op->arena, "it is that of %.*s", (int)r->value.n, (const char *)r->value.p));
	}
	return true;
}

/* What others name costs the store nothing. */
static bool check_room(struct op *op, const struct entry *e, size_t i)
{
	const struct named *n = e->kind->named;
	struct finding g = e->before ? (struct finding){NULL, 0} : gather(op, n);
	size_t kept = 0;

	for (size_t k = 0; k < g.n; k++)
		kept += g.v[k].resource || g.v[k].is_static;
	if (e->before || kept + i < n->max)
		return true;
	return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, n->field, arena_printf(op->arena, "there are as many %ss as there may be: %zu", n->what, n->max));
}

bool named_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	const struct named *n = k->named;
	ProtobufCMessage *spec = kinds_spec(m), *was;

	if (n->strip)
		n->strip(spec);
	if (!named_for_all(op, k) || !named_well_formed(op, k, spec, e, i))
		return false;
	look_up(op, k, name_of(n, spec), e);
	e->spec = spec;
	was = e->before ? kinds_spec(e->before) : NULL;
	return not_static(op, e, i) && enlist_check_version(op, m->version, e, i, n->what, n->field) && n->may(op, was, spec, i) && check_claims(op, e, i) &&
	       check_room(op, e, i) && enlist_compare(op, e, was, spec, was ? "updated" : n->made);
}

bool named_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e)
{
	const struct named *n = k->named;

	if (!named_for_all(op, k))
		return false;
	look_up(op, k, m->ref->name, e);
	if (!not_static(op, e, 0))
		return false;
	if (!e->before && find_given(op, n, e->name) != NOT_GIVEN)
		return enlist_deny(op, REASON_WRONG_STATE, 0, n->field, "it is there because others name it, and nothing of its own is kept: there is nothing to remove");
	if (!e->before) {
		deny_none(op, k, "ref");
		return false;
	}
	e->spec = kinds_spec(e->before);
	e->removed = true;
	return enlist_check_version(op, m->version, e, 0, n->what, n->field) && n->may(op, e->spec, NULL, 0) && enlist_compare(op, e, e->spec, n->none, "removed");
}

/* Whose the i-th text was, and is. */
static void write_claim(struct op *op, struct enlist *x, const struct entry *e, size_t i, struct slice own)
{
	const struct named *n = e->kind->named;
	char claim[NAMED_NAME_MAX], old[NAMED_NAME_MAX];
	struct slice is = e->removed ? slice_of(NULL, 0) : n->claim(e->spec, i, claim);
	struct slice was = e->before ? n->claim(kinds_spec(e->before), i, old) : slice_of(NULL, 0);

	if (was.n && !slice_eq(was, is))
		enlist_claim(op, x, was, own, true);
	if (is.n)
		enlist_claim(op, x, is, own, false);
}

static void write_guards(struct op *op, struct enlist *x, const struct named *n, const ProtobufCMessage *m)
{
	char text[NAMED_NAME_MAX];

	for (size_t i = 0; i < NAMED_GUARDS; i++) {
		struct slice name = n->guard(op, m, i, text);

		if (name.n)
			enlist_guard(op, x, name);
	}
}

bool named_write(struct op *op, struct enlist *x, struct entry *e)
{
	const struct named *n = e->kind->named;
	char name[NAMED_NAME_MAX];
	struct slice own = named_name(n, e->name, name);

	if (!enlist_put(op, x, e, own))
		return false;
	for (size_t i = 0; n->claim && i < NAMED_CLAIMS; i++)
		write_claim(op, x, e, i, own);
	if (n->counted && !e->before)
		enlist_guard(op, x, named_bound("count", e->kind->name, name));
	if (n->guard)
		write_guards(op, x, n, e->spec);
	if (n->guard && e->before)
		write_guards(op, x, n, kinds_spec(e->before));
	return !arena_failed(op->arena);
}
