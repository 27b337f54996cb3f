/* Which agents and routes exist? Hash tables built once and never changed after the first hand-over. A route is
 * found under (tenant, route); one whose profile has no tenant list is found under ("", route) by every tenant that
 * has an agent. */
#include "registry/registry.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/table.h"
#include "base/words.h"
#include "policy/profile.h"

#define KEY_MAX (2 * (NAME_MAX_BYTES + 1)) /* tenant/name and NUL */

struct agent_entry {
	struct agent agent;
	char name_key[KEY_MAX];
	UT_hash_handle by_spiffe, by_name;
	char room[];                     /* what the agent points to */
};

struct tenant_entry {
	char name[NAME_MAX_BYTES + 1];
	UT_hash_handle hh;
};

/* A tenant may have cards and no agent that is active. */
struct cards_entry {
	char tenant[NAME_MAX_BYTES + 1];
	uint64_t bytes;
	UT_hash_handle hh;
};

struct route_entry {
	char key[KEY_MAX];               /* "/route" when it is in every tenant */
	char tenant[NAME_MAX_BYTES + 1]; /* "" */
	struct profile *profile;         /* one ref */
	UT_hash_handle hh;
};

/* What the by_key table is keyed with: two tenants' agents may share the 64 bits by chance, and must not meet. */
struct tenant_key {
	uint64_t key;
	char tenant[NAME_MAX_BYTES + 1];
};

struct key_entry {
	struct tenant_key id;
	const struct agent *agent;
	UT_hash_handle hh;
};

struct registry {
	atomic_int refs;
	atomic_bool sealed;
	struct agent_entry *by_spiffe, *by_name;
	struct key_entry *by_key;
	struct tenant_entry *tenants;
	struct cards_entry *cards;
	struct route_entry *routes;
};

/* "tenant/name" → its length, 0 when one of them is too long to be a name. */
static size_t make_key(const char *tenant, struct slice name, char out[KEY_MAX])
{
	size_t t = strlen(tenant);

	if (t > NAME_MAX_BYTES || name.n > NAME_MAX_BYTES)
		return 0;
	memcpy(out, tenant, t);
	out[t] = '/';
	if (name.n)
		memcpy(out + t + 1, name.p, name.n);
	out[t + 1 + name.n] = '\0';
	return t + 1 + name.n;
}

static struct tenant_key tenant_key(const char *tenant, uint64_t key)
{
	struct tenant_key k;

	memset(&k, 0, sizeof k); /* all bytes count in the hash */
	k.key = key;
	slice_copy_str(slice_str(tenant), k.tenant, sizeof k.tenant);
	return k;
}

struct registry *registry_new(void)
{
	struct registry *r = calloc(1, sizeof *r);

	if (r)
		atomic_init(&r->refs, 1);
	return r;
}

/* ---- building ---- */

static int check_routes(const struct agent *a, const char *what, const char list[][64], size_t n, struct problem *why)
{
	if (n > AGENT_ROUTES_MAX)
		return problem_set(why, "agent %s: `%s` names more than %d routes", a->name, what, AGENT_ROUTES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!name_valid(slice_str(list[i])))
			return problem_set(why, "agent %s: `%s` has a bad route name", a->name, what);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(list[i], list[j]))
				return problem_set(why, "agent %s: `%s` names %s twice", a->name, what, list[i]);
	}
	return 0;
}

static int check_ceiling(const struct agent *a, struct problem *why)
{
	if (a->n_ceiling > AGENT_SCOPES_MAX)
		return problem_set(why, "agent %s: its ceiling has more than %d scopes", a->name, AGENT_SCOPES_MAX);
	return 0;
}

static int check_agent(const struct registry *r, const struct agent *a, struct problem *why)
{
	const struct agent *other;

	if (!name_valid(slice_str(a->name)) || !name_valid(slice_str(a->tenant)))
		return problem_set(why, "an agent's name and tenant are [a-z0-9][a-z0-9._-]{0,62}");
	if (strncmp(a->spiffe_id, "spiffe://", 9))
		return problem_set(why, "agent %s: the id is no SPIFFE id", a->name);
	if (check_routes(a, "call", a->call, a->n_call, why) || check_routes(a, "serve", a->serve, a->n_serve, why) || check_ceiling(a, why))
		return -1;
	if (strlen(a->spiffe_id) > AGENT_ID_MAX || strlen(a->client) > AGENT_CLIENT_MAX)
		return problem_set(why, "agent %s: its id has at most %d bytes, its client at most %d", a->name, AGENT_ID_MAX, AGENT_CLIENT_MAX);
	other = registry_by_spiffe(r, a->spiffe_id);
	if (other)
		return problem_set(why, "agents %s and %s have the same id, %s", other->name, a->name, a->spiffe_id);
	if (registry_by_name(r, a->tenant, slice_str(a->name)))
		return problem_set(why, "agent %s stands in tenant %s twice", a->name, a->tenant);
	if (a->key && registry_by_key(r, a->tenant, a->key))
		return problem_set(why, "agent %s: its key is that of %s", a->name, registry_by_key(r, a->tenant,
			a->key)->name);
	return 0;
}

int registry_add_card(struct registry *r, const char *tenant, size_t bytes)
{
	struct cards_entry *c = NULL;

	HASH_FIND_STR(r->cards, tenant, c);
	if (c) {
		c->bytes += bytes;
		return 0;
	}
	c = calloc(1, sizeof *c);
	if (!c)
		return -2;
	c->bytes = bytes;
	slice_copy_str(slice_str(tenant), c->tenant, sizeof c->tenant);
	HASH_ADD_STR(r->cards, tenant, c);
	if (TABLE_HAS(c, hh))
		return 0;
	free(c);
	return -2;
}

static int add_tenant(struct registry *r, const char *name)
{
	struct tenant_entry *t;

	HASH_FIND_STR(r->tenants, name, t);
	if (t)
		return 0;
	t = calloc(1, sizeof *t);
	if (!t)
		return -1;
	slice_copy_str(slice_str(name), t->name, sizeof t->name);
	HASH_ADD_STR(r->tenants, name, t);
	if (TABLE_HAS(t, hh))
		return 0;
	free(t);
	return -1;
}

static int sealed(const struct registry *r, struct problem *why)
{
	if (atomic_load(&r->sealed))
		return problem_set(why, "the registry is in use: make a new one");
	return 0;
}

/* Takes e. What could not be added is freed with the registry. */
static int index_agent(struct registry *r, struct agent_entry *e)
{
	HASH_ADD_KEYPTR(by_name, r->by_name, e->name_key, strlen(e->name_key), e);
	if (!TABLE_HAS(e, by_name)) {
		free(e);
		return -1;
	}
	HASH_ADD_KEYPTR(by_spiffe, r->by_spiffe, e->agent.spiffe_id, strlen(e->agent.spiffe_id), e);
	return TABLE_HAS(e, by_spiffe) ? 0 : -1;
}

static int index_key(struct registry *r, const struct agent *a)
{
	struct key_entry *k;

	if (!a->key)
		return 0;
	k = calloc(1, sizeof *k);
	if (!k)
		return -1;
	k->id = tenant_key(a->tenant, a->key);
	k->agent = a;
	HASH_ADD(hh, r->by_key, id, sizeof k->id, k);
	if (TABLE_HAS(k, hh))
		return 0;
	free(k);
	return -1;
}

static void *put(char **room, const void *p, size_t n)
{
	void *to = *room;

	if (n)
		memcpy(to, p, n);
	*room += n;
	return to;
}

static struct agent_entry *copy(const struct agent *a)
{
	size_t id = strlen(a->spiffe_id) + 1, client = strlen(a->client) + 1, call = a->n_call * sizeof *a->call, serve = a->n_serve * sizeof *a->serve, ceiling = a->n_ceiling * sizeof *a->ceiling;
	struct agent_entry *e = calloc(1, sizeof *e + id + client + call + serve + ceiling);
	char *room;

	if (!e)
		return NULL;
	room = e->room;
	e->agent = *a;
	e->agent.call = put(&room, a->call, call);
	e->agent.serve = put(&room, a->serve, serve);
	e->agent.ceiling = put(&room, a->ceiling, ceiling);
	e->agent.spiffe_id = put(&room, a->spiffe_id, id);
	e->agent.client = put(&room, a->client, client);
	make_key(a->tenant, slice_str(a->name), e->name_key);
	return e;
}

int registry_add_agent(struct registry *r, const struct agent *a, struct problem *why)
{
	struct agent_entry *e = NULL;

	if (sealed(r, why) || check_agent(r, a, why))
		return -1;
	e = copy(a);
	if (!e || add_tenant(r, a->tenant)) {
		free(e);
		return problem_set(why, "out of memory") - 1;
	}
	if (index_agent(r, e) || index_key(r, &e->agent))
		return problem_set(why, "out of memory") - 1;
	return 0;
}

static struct route_entry *find_route(const struct registry *r, const char *tenant, struct slice route)
{
	struct route_entry *e = NULL;
	char key[KEY_MAX];
	size_t n = make_key(tenant, route, key);

	if (n)
		HASH_FIND(hh, r->routes, key, n, e);
	return e;
}

/* Does the route exist already in this tenant ("": in any)? */
static bool route_taken(const struct registry *r, const char *tenant, struct slice route)
{
	struct route_entry *e, *tmp;

	if (tenant[0])
		return find_route(r, tenant, route) || find_route(r, "", route);
	HASH_ITER(hh, r->routes, e, tmp)
		if (slice_is(route, e->profile->route))
			return true;
	return false;
}

static int add_route(struct registry *r, const char *tenant, struct profile *p, struct problem *why)
{
	struct route_entry *e;

	if (route_taken(r, tenant, slice_str(p->route)))
		return problem_set(why, "route %s has two profiles%s%s", p->route, tenant[0] ? " in tenant " : "",
			tenant);
	e = calloc(1, sizeof *e);
	if (!e)
		return problem_set(why, "out of memory");
	make_key(tenant, slice_str(p->route), e->key);
	slice_copy_str(slice_str(tenant), e->tenant, sizeof e->tenant);
	e->profile = profile_ref(p);
	HASH_ADD_STR(r->routes, key, e);
	if (TABLE_HAS(e, hh))
		return 0;
	profile_unref(e->profile);
	free(e);
	return problem_set(why, "out of memory");
}

int registry_add_profile(struct registry *r, struct profile *p, struct problem *why)
{
	if (sealed(r, why))
		return -1;
	if (!name_valid(slice_str(p->route)))
		return problem_set(why, "a route's name is [a-z0-9][a-z0-9._-]{0,62}");
	if (!p->n_tenants)
		return add_route(r, "", p, why);
	for (size_t i = 0; i < p->n_tenants; i++)
		if (route_taken(r, p->tenants[i], slice_str(p->route)))
			return problem_set(why, "route %s has two profiles in tenant %s", p->route, p->tenants[i]);
	for (size_t i = 0; i < p->n_tenants; i++)
		if (add_route(r, p->tenants[i], p, why))
			return -1;
	return 0;
}

int registry_add_all(struct registry *r, const struct registry *of, struct problem *why)
{
	for (const struct agent_entry *e = of->by_name; e; e = e->by_name.next)
		if (registry_add_agent(r, &e->agent, why))
			return -1;
	if (sealed(r, why))
		return -1;
	for (const struct route_entry *e = of->routes; e; e = e->hh.next)
		if (add_route(r, e->tenant, e->profile, why))
			return -1;
	return 0;
}

static int check_named(const struct registry *r, const struct agent *a, const char *what, const char list[][64],
	size_t n,
		       struct problem *why)
{
	for (size_t i = 0; i < n; i++)
		if (!registry_route(r, a->tenant, slice_str(list[i])))
			return problem_set(why,
				"agent %s: `%s` names %s, and tenant %s has no such route: add its profile",
					   a->name, what, list[i], a->tenant);
	return 0;
}

struct queues {
	const struct registry *r;
	struct problem *why;
	size_t n;
	int rc;
};

/* A route is a queue, and on a broadcast route so is the inbox of each agent that may serve it. */
static void count_queues(void *arg, const char *tenant, const struct profile *p)
{
	struct queues *q = arg;
	size_t inboxes = 0;

	for (const struct agent_entry *e = p->broadcast ? q->r->by_name : NULL; e; e = e->by_name.next)
		inboxes += strcmp(e->agent.tenant, tenant) == 0 && agent_may_serve(&e->agent, slice_str(p->route));
	q->n += 1 + inboxes;
	if (inboxes > INBOXES_MAX && !q->rc)
		q->rc = problem_set(q->why, "route %s is a broadcast, and %zu agents of tenant %s may serve it: at most %d", p->route, inboxes,
				    tenant, INBOXES_MAX);
}

static int check_queues(const struct registry *r, struct problem *why)
{
	struct queues q = {.r = r, .why = why};

	registry_each_route(r, count_queues, &q);
	if (!q.rc && q.n > QUEUES_MAX)
		q.rc = problem_set(why, "%zu queues (each tenant's routes, and each agent's inbox on a broadcast route): at most %d", q.n,
				   QUEUES_MAX);
	return q.rc;
}

int registry_check(const struct registry *r, struct problem *why)
{
	if (check_queues(r, why))
		return -1;
	for (const struct agent_entry *e = r->by_name; e; e = e->by_name.next) {
		const struct agent *a = &e->agent;

		if (check_named(r, a, "call", a->call, a->n_call, why) || check_named(r, a, "serve", a->serve,
			a->n_serve, why))
			return -1;
	}
	return 0;
}

/* ---- life ---- */

struct registry *registry_ref(struct registry *r)
{
	atomic_store(&r->sealed, true);
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void registry_unref(struct registry *r)
{
	struct agent_entry *a, *at;
	struct key_entry *k, *kt;
	struct tenant_entry *t, *tt;
	struct cards_entry *c, *ct;
	struct route_entry *e, *et;

	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	HASH_ITER(hh, r->by_key, k, kt) {
		HASH_DEL(r->by_key, k);
		free(k);
	}
	HASH_CLEAR(by_spiffe, r->by_spiffe);
	HASH_ITER(by_name, r->by_name, a, at) {
		HASH_DELETE(by_name, r->by_name, a);
		free(a);
	}
	HASH_ITER(hh, r->tenants, t, tt) {
		HASH_DEL(r->tenants, t);
		free(t);
	}
	HASH_ITER(hh, r->cards, c, ct) {
		HASH_DEL(r->cards, c);
		free(c);
	}
	HASH_ITER(hh, r->routes, e, et) {
		HASH_DEL(r->routes, e);
		profile_unref(e->profile);
		free(e);
	}
	free(r);
}

/* ---- look-up ---- */

const struct agent *registry_by_spiffe(const struct registry *r, const char *spiffe_id)
{
	struct agent_entry *e = NULL;

	HASH_FIND(by_spiffe, r->by_spiffe, spiffe_id, strlen(spiffe_id), e);
	return e ? &e->agent : NULL;
}

const struct agent *registry_by_name(const struct registry *r, const char *tenant, struct slice name)
{
	struct agent_entry *e = NULL;
	char key[KEY_MAX];
	size_t n = make_key(tenant, name, key);

	if (n)
		HASH_FIND(by_name, r->by_name, key, n, e);
	return e ? &e->agent : NULL;
}

const struct agent *registry_by_key(const struct registry *r, const char *tenant, uint64_t key)
{
	struct tenant_key id = tenant_key(tenant, key);
	struct key_entry *e = NULL;

	HASH_FIND(hh, r->by_key, &id, sizeof id, e);
	return e ? e->agent : NULL;
}

const struct profile *registry_route(const struct registry *r, const char *tenant, struct slice route)
{
	struct route_entry *e = tenant[0] ? find_route(r, tenant, route) : NULL;
	struct tenant_entry *t = NULL;

	if (e)
		return e->profile;
	e = find_route(r, "", route);
	if (e)
		HASH_FIND_STR(r->tenants, tenant, t);
	return t ? e->profile : NULL;
}

const struct profile *registry_route_of_any(const struct registry *r, const char *tenant, struct slice route)
{
	struct route_entry *e = find_route(r, tenant, route);

	e = e ? e : find_route(r, "", route);
	return e ? e->profile : NULL;
}

void registry_each_route(const struct registry *r, void (*fn)(void *arg, const char *tenant, const struct profile *p),
	void *arg)
{
	for (const struct route_entry *e = r->routes; e; e = e->hh.next) {
		if (e->tenant[0]) {
			fn(arg, e->tenant, e->profile);
			continue;
		}
		for (const struct tenant_entry *t = r->tenants; t; t = t->hh.next)
			fn(arg, t->name, e->profile);
	}
}

uint64_t registry_card_bytes(const struct registry *r, const char *tenant)
{
	const struct cards_entry *c = NULL;

	HASH_FIND_STR(r->cards, tenant, c);
	return c ? c->bytes : 0;
}

size_t registry_agents(const struct registry *r)
{
	return HASH_CNT(by_name, r->by_name);
}

void registry_each_agent(const struct registry *r, void (*fn)(void *arg, const struct agent *a), void *arg)
{
	for (const struct agent_entry *e = r->by_name; e; e = e->by_name.next)
		fn(arg, &e->agent);
}
