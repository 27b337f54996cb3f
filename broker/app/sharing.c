/* How does this node hear of what all nodes share, and when does it live by it? The control thread asks the store each second, and at once when another
 * node says that it changed something. What came is put into a new world, and once every worker has that, it is confirmed. A node that has not
 * heard anything for STORE_NODE_LEASE_MS may be living by what was taken away long ago: it takes nothing and gives nothing until it has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "rpc/bundlespec.h"
#include "rpc/keys.h"
#include "rpc/nodes.h"
#include "rpc/revoked.h"
#include "rpc/roster.h"

#define ASK_MS 1000
#define FEED_MAX 256
#define LEAVE_MS 1000
#define HURRY_MS 50
#define REST 4 /* times what it took to apply changes, */
#define REST_MS 2000 /* but never so long that others take this node for silent */

static void ask(struct node *n);
static void know(struct node *n, const struct store_answer *a);
static void on_put_back(void *user, uint64_t op, const struct store_answer *a);

/* ---- the store's connection ---- */

static void on_state(void *user, bool ok, const char *why, const char *remedy)
{
	struct node *n = user;

	if (ok)
		ask(n);
	else
		log_event(LOG_WARN, "registry.unavailable", F_STR("why", why ? why : ""), F_STR("remedy", remedy ? remedy : ""));
}

static void on_count(void *user, const char *function, const char *result, unsigned items)
{
	node_count_store(user, function, result, items);
}

int sharing_open(struct node *n, struct problem *why)
{
	struct store_redis_config s = node_store_config(n);

	s.secrets = keeping_secrets(n->keeping);
	s.state_dir = ""; /* it has no slot whose numbers were to be remembered */
	s.on_state = on_state;
	s.count = on_count;
	s.user = n;
	n->sharing.next_expiry_ms = INT64_MAX;
	n->sharing.whole = true;
	fleet_heard(n->fleet, 0, clock_mono_ms());
	know(n, &(struct store_answer){0});
	n->sharing.timer = loop_timer_new(n->loop, sharing_wake, n);
	if (!n->sharing.timer)
		return problem_set(why, "out of memory");
	n->sharing.store = store_redis_new(n->loop, &s, false, why);
	return n->sharing.store ? 0 : -1;
}

/* ---- a new world ---- */

void sharing_installed(struct node *n, const struct roster *r)
{
	n->sharing.next_expiry_ms = r->next_expiry_ms;
	n->sharing.counted_unix_ms = clock_unix_ms();
	metrics_set(n->metrics, METRIC_AGENTS, "active", NULL, (int64_t)r->active);
	metrics_set(n->metrics, METRIC_AGENTS, "inactive", NULL, (int64_t)r->others);
	metrics_set(n->metrics, METRIC_AGENTS, "refused", NULL, (int64_t)r->refused);
	for (enum revoked_kind k = 0; k < REVOKED_KINDS; k++)
		metrics_set(n->metrics, METRIC_REVOCATIONS, revoked_kind_text(k), NULL, (int64_t)revocations_of_kind(n->world->revocations, k));
	if (r->refused)
		log_event(LOG_ERROR, "registry.refused", F_INT("agents", (long long)r->refused), F_STR("why", r->why.text),
			  F_STR("remedy", "they have no rights here: take them out of the configuration file, or retire them"));
}

struct registry *sharing_registry(struct node *n, struct registry *configured, bool strict, struct roster *roster, struct problem *why)
{
	struct registry *r = registry_new();

	if (r && registry_add_all(r, configured, why) == 0 && roster_add(r, n->resources, clock_unix_ms(), roster) == 0) {
		if (!strict || !roster->conflicts)
			return r;
		problem_set(why, "%.400s: take it out of the configuration, or retire the registered one", roster->why.text);
	} else {
		problem_set(why, "out of memory");
	}
	registry_unref(r);
	return NULL;
}

/* The world with those who vouch now, in the place of w. NULL, and w dropped: it cannot be had. */
static struct world *with_vouchers(struct node *n, struct world *w, const struct vouching *v, struct problem *why)
{
	struct issuers *issuers = reload_make_issuers(n, v, why);
	struct world *now = issuers ? world_with_issuers(w, issuers) : NULL;

	if (now)
		world_set_trust(now, v->trust);
	world_unref(w);
	return now;
}

static bool not_applied(struct node *n, bool conflict, struct vouching *v, const struct problem *why)
{
	log_event(LOG_ERROR, "registry.not_applied", F_STR("why", why->text));
	vouching_clear(v);
	n->conflict = conflict && !n->sharing.confirmed;
	if (n->conflict)
		loop_stop(n->loop);
	return false;
}

/* The first time, what stands in the configuration as well is an error of whoever starts this node: it ends. */
static bool apply(struct node *n, uint64_t generation)
{
	struct problem why = {"out of memory, or two queues of a tenant share a tag: rename the agent that was added last"};
	bool first = !n->sharing.confirmed, vouchers = n->sharing.vouchers;
	struct vouching v = {0};
	struct roster roster;
	struct registry *r;
	struct world *w;

	if (vouchers && reload_make_vouching(n, n->config, n->configured_trust, NULL, false, first, &v, &why) < 0)
		return not_applied(n, v.conflicts, &v, &why);
	r = sharing_registry(n, n->configured, first, &roster, &why);
	w = r ? world_with_agents(n->world, r, resources_ref(n->resources), generation) : NULL;
	if (w && vouchers)
		w = with_vouchers(n, w, &v, &why);
	if (!w)
		return not_applied(n, !r, &v, &why);
	if (vouchers)
		reload_swap_vouching(n, &v, false);
	n->sharing.vouchers = n->sharing.bundles = false;
	world_unref(n->world);
	n->world = w;
	sharing_installed(n, &roster);
	reload_spread_world(n);
	if (vouchers)
		reload_begin_vouching(n, &v);
	return true;
}

/* ---- what came ---- */

static struct resource shown(const struct store_resource *r)
{
	return (struct resource){.name = r->name, .version = r->version, .generation = r->generation, .changed_at_ms = r->changed_at_ms, .removed = r->removed,
		.value = r->value};
}

/* What does not open is nobody, in that version: an agent of whom nothing can be read has no rights. A revocation that was known stays in force; of one that
 * was not, nobody knows whom it is about. */
static size_t pick(struct node *n, const struct store_answer *a, struct resource v[FEED_MAX])
{
	size_t k = 0;

	for (size_t i = 0; i < a->n_resources && i < FEED_MAX; i++) {
		const struct store_resource *r = &a->resources[i];
		const struct resource *known = resources_find(n->resources, r->name);

		if (r->status != STORE_OK)
			log_event(LOG_ERROR, "registry.unsealable", F_SLICE("resource", r->name), F_INT("version", (long long)r->version),
				  F_STR("remedy", "somebody wrote into Redis, or the key that sealed it is gone: it has no rights now; register it anew"));
		if (r->status != STORE_OK && (kept_is(r->name) || (known && r->version <= known->version))) {
			n->sharing.unreadable |= !known;
			continue;
		}
		v[k++] = shown(r);
	}
	return k;
}

/* The store came back without changes that this node has seen: they are made again, one version after the other. Until the store has them nothing
 * is confirmed. */
static void put_back(struct node *n, const struct store_answer *a)
{
	struct store_change v[STORE_CHANGES_MAX];
	size_t k = 0, bytes = 0;

	for (size_t i = 0; i < a->n_resources && k < STORE_CHANGES_MAX; i++) {
		const struct store_resource *r = &a->resources[i];
		const struct resource *known = resources_find(n->resources, r->name);

		if (!known || r->version >= known->version || (k && bytes + known->value.n > STORE_RESOURCE_VALUE_MAX))
			continue;
		v[k++] = (struct store_change){.name = known->name, .version = r->version + 1, .removed = known->removed, .value = known->value};
		bytes += known->value.n;
	}
	if (k) {
		n->sharing.asking = true;
		n->sharing.store->ops->change(n->sharing.store, v, k, on_put_back, n, 0);
	}
}

/* It was said to this run of it. The others hear that it goes, then it does. */
static void drain_once(struct node *n)
{
	if (n->sharing.drain != DRAIN_NOT)
		return;
	n->sharing.drain = DRAIN_HEARD;
	log_event(LOG_INFO, "node.drain", F_STR("why", "an operator drains this node: the audit of the node that was asked says who, and why"));
	health_set(n->health, HEALTH_DRAINING, false, "this node is going away", clock_unix_ms());
}

static void note_kind(struct node *n, const struct resource *r)
{
	const struct slice refresh = SLICE_LIT(KEYS_REFRESH_PREFIX), name = r->name;

	if (nodes_drains(r, n->boot->node, n->run))
		drain_once(n);
	n->sharing.revoked = n->sharing.revoked || kept_is(name);
	n->sharing.vouchers = n->sharing.vouchers || vouching_is(name);
	n->sharing.bundles = n->sharing.bundles || slice_begins(name, SLICE_LIT(BUNDLE_PREFIX));
	if (slice_begins(name, refresh))
		keyfeed_refresh(n->feed, slice_of(name.p + refresh.n, name.n - refresh.n));
}

/* Takes what is newer. false: memory is out, and nothing was taken. */
static bool take(struct node *n, const struct store_answer *a)
{
	struct resource v[FEED_MAX];
	size_t k = pick(n, a, v), behind;
	struct resources *now = resources_with(n->resources, v, k, &behind);

	if (!now)
		return false;
	n->sharing.behind = n->sharing.behind || behind;
	n->sharing.changed = n->sharing.changed || k;
	for (size_t i = 0; i < k; i++)
		note_kind(n, &v[i]);
	resources_unref(n->resources);
	n->resources = now;
	if (behind) {
		log_event(LOG_WARN, "registry.behind", F_INT("resources", (long long)behind),
			  F_STR("remedy", "the store came back without changes that this node has seen, and has them from it again: a fail-over, or an old copy of its data"));
		put_back(n, a);
	}
	return true;
}

/* ---- revocations that the store does not have ---- */

struct seen {
	UT_hash_handle hh;
	size_t n;
	char name[];
};

static void forget_seen(struct sharing *s)
{
	struct seen *e, *next;

	HASH_ITER(hh, s->seen, e, next) {
		HASH_DEL(s->seen, e);
		free(e);
	}
}

/* One that cannot be remembered is given to the store again, which says that it has it. */
static void note_seen(struct sharing *s, const struct store_answer *a)
{
	for (size_t i = 0; i < a->n_resources; i++) {
		struct slice name = a->resources[i].name;
		struct seen *e = kept_is(name) ? calloc(1, sizeof *e + name.n) : NULL;

		if (!e)
			continue;
		memcpy(e->name, name.p, name.n);
		e->n = name.n;
		HASH_ADD_KEYPTR(hh, s->seen, e->name, e->n, e);
		if (!TABLE_HAS(e, hh))
			free(e);
	}
}

/* A store that was emptied must not let anybody in again: what is missing there is made again, in its first version. false: nothing is. */
static bool put_missing(struct node *n)
{
	const struct resources *all = n->resources;
	struct store_change v[STORE_CHANGES_MAX];
	size_t k = 0, bytes = 0;

	for (size_t i = resources_place(all, SLICE_LIT(REVOKED_PREFIX)); i < resources_count(all) && k < STORE_CHANGES_MAX; i++) {
		const struct resource *r = resources_at(all, i);
		struct seen *there = NULL;

		if (!kept_is(r->name))
			break;
		HASH_FIND(hh, n->sharing.seen, r->name.p, r->name.n, there);
		if (there || (k && bytes + r->value.n > STORE_RESOURCE_VALUE_MAX))
			continue;
		v[k++] = (struct store_change){.name = r->name, .version = 1, .removed = r->removed, .value = r->value};
		bytes += r->value.n;
	}
	if (!k)
		return false;
	log_event(LOG_WARN, "revocation.missing", F_INT("revocations", (long long)k),
		  F_STR("remedy", "the store has them from this node now: it was emptied, or they were made while it was away"));
	n->sharing.behind = n->sharing.asking = true;
	n->sharing.store->ops->change(n->sharing.store, v, k, on_put_back, n, 0);
	return true;
}

static void look_at_whole(struct sharing *s)
{
	forget_seen(s);
	s->unreadable = false;
	s->after = 0;
	s->whole = true;
}

/* After an answer: was all of it seen, or is it to be? The store may have come back as another, or have been emptied, which lifts its generation though
 * nothing is there that has it. */
static void watch_whole(struct node *n, const struct store_answer *a)
{
	struct sharing *s = &n->sharing;
	bool another = a->incarnation != s->incarnation || (a->generation > a->next && a->generation != s->whole_at);

	s->incarnation = a->incarnation;
	if (s->whole)
		note_seen(s, a);
	if (!s->wanted || a->more || s->behind)
		return;
	if (s->whole && s->unreadable) { /* until it can be read, or is gone, this node serves nobody */
		log_event(LOG_ERROR, "revocation.unreadable", F_STR("remedy", "a revocation in Redis does not open, so that nobody knows whom it is about: see registry.unsealable; take it out of Redis (HDEL {/}:s, ZREM {/}:z), and revoke anew"));
		look_at_whole(s);
	} else if (s->whole && !put_missing(n)) {
		s->whole = false;
		s->whole_at = a->generation;
		forget_seen(s);
	} else if (!s->whole && (another || s->unreadable)) {
		look_at_whole(s);
		s->again = true;
	}
}

/* Once no worker has anything under way that began in an older world, and all peers were judged by those who vouch now. */
static void confirm(struct node *n)
{
	if (!server_rechecked(n->server))
		return;
	for (unsigned i = 0; i < n->n_workers; i++)
		if (n->rpc[i] && !rpc_worker_settled(n->rpc[i]))
			return;
	n->sharing.confirmed = n->sharing.installed;
}

static void on_settled(void *arg)
{
	struct node *n = arg;

	if (n->sharing.leaving)
		return;
	confirm(n);
	if (n->sharing.store && n->sharing.confirmed != n->sharing.told)
		ask(n);
}

void sharing_settled(void *node_worker)
{
	const struct node_worker *w = node_worker;

	loop_post(w->node->loop, on_settled, w->node);
}

static void lives_by(struct node *n, uint64_t generation)
{
	struct sharing *s = &n->sharing;
	bool expired = s->next_expiry_ms <= clock_unix_ms();
	int64_t begun = clock_thread_us(), saving, rest;

	if ((s->changed || expired) && !apply(n, generation))
		return;
	saving = clock_mono_us(); /* the disk's time is this thread's too */
	if (s->revoked && kept_save(n)) /* else at the next answer again */
		s->revoked = false;
	saving = clock_mono_us() - saving;
	initmark_follow(n);
	rest = REST * (clock_thread_us() - begun + saving) / 1000;
	s->rest_ms = clock_mono_ms() + (rest < REST_MS ? rest : REST_MS);
	s->changed = false;
	s->installed = generation;
	confirm(n);
	atomic_store(&n->fresh_until_ms, s->asked_ms + STORE_NODE_LEASE_MS);
}

/* Who is there. */
static void know(struct node *n, const struct store_answer *a)
{
	struct node_report own = report_now(n);

	fleet_set(n->fleet, n->boot->node, n->sharing.confirmed, &own, a->nodes, a->n_nodes);
}

static void on_feed(void *user, uint64_t op, const struct store_answer *a)
{
	struct node *n = user;
	struct sharing *s = &n->sharing;

	(void)op;
	s->asking = false;
	if (s->leaving) {
		if (s->left)
			loop_stop(n->loop);
		else
			ask(n);
		return;
	}
	if (s->drain == DRAIN_TELLING)
		loop_stop(n->loop);
	if (a->status == STORE_OK && take(n, a)) {
		fleet_heard(n->fleet, a->incarnation, clock_mono_ms());
		s->told = s->telling;
		s->after = a->next;
		s->part = a->more && s->wanted;
		watch_whole(n, a);
		if (!a->more && !s->behind && !s->whole)
			lives_by(n, a->generation);
		know(n, a);
		if (a->more || s->confirmed != s->told)
			s->again = true; /* for the rest, or to say what is confirmed now */
	}
	if (s->again || s->drain == DRAIN_HEARD)
		ask(n);
	else if (fleet_lags(n->fleet, s->confirmed)) /* somebody may wait for the others */
		loop_timer_set(s->timer, HURRY_MS);
}

/* All is looked at again: there may be more of it, or another node was faster. When the store is away, later. */
static void on_put_back(void *user, uint64_t op, const struct store_answer *a)
{
	struct sharing *s = &((struct node *)user)->sharing;

	(void)op;
	s->asking = s->behind = false;
	look_at_whole(s);
	if (a->status == STORE_OK || a->status == STORE_CONFLICT)
		ask(user);
}

/* After changes were applied there is a rest, in which no more are taken; what is confirmed is said all the same. */
static void ask(struct node *n)
{
	struct sharing *s = &n->sharing;
	struct node_report own;
	uint8_t report[STORE_REPORT_MAX];
	int64_t now = clock_mono_ms();
	bool rests = now < s->rest_ms && !s->part && !s->leaving;

	s->again = s->asking;
	if (s->asking)
		return;
	if (rests)
		loop_timer_set(s->timer, s->rest_ms - now);
	if (rests && s->confirmed == s->told && s->drain != DRAIN_HEARD)
		return;
	s->asking = true;
	if (s->drain == DRAIN_HEARD)
		s->drain = DRAIN_TELLING;
	s->asked_ms = now;
	s->telling = s->confirmed;
	s->wanted = rests || s->leaving ? 0 : FEED_MAX;
	s->left = s->leaving;
	own = report_now(n);
	s->store->ops->feed(s->store, &(struct store_feed){.after = s->after, .confirmed = s->confirmed, .report = slice_of(report, node_report_pack(&own, report)), .max = s->wanted, .leaving = s->leaving}, on_feed, n, 0);
}

/* ---- without the store ---- */

struct here {
	struct node *node;
	struct slice name, value;
	uint8_t room[];
};

static void revoke_here(void *arg)
{
	struct here *h = arg;
	struct node *n = h->node;
	const struct resource *known = resources_find(n->resources, h->name);
	const struct resource r = {.name = h->name, .version = known ? known->version + 1 : 1, .changed_at_ms = clock_unix_ms(), .value = h->value};
	struct node_report own;
	struct resources *now;
	size_t behind;

	now = resources_with(n->resources, &r, 1, &behind);
	if (now) {
		resources_unref(n->resources);
		n->resources = now;
		n->sharing.revoked = !kept_save(n);
		apply(n, n->world->generation);
		own = report_now(n);
		fleet_tell(n->fleet, n->boot->node, &own);
		look_at_whole(&n->sharing);
	}
	free(h);
}

bool sharing_revoke_here(void *node_worker, struct slice name, struct slice value)
{
	const struct node_worker *w = node_worker;
	struct here *h = malloc(sizeof *h + name.n + value.n);

	if (!h)
		return false;
	h->node = w->node;
	h->name = slice_of(h->room, name.n);
	h->value = slice_of(h->room + name.n, value.n);
	memcpy(h->room, name.p, name.n);
	memcpy(h->room + name.n, value.p, value.n);
	if (loop_post(w->node->loop, revoke_here, h))
		return true;
	free(h);
	return false;
}

void sharing_wake(void *arg)
{
	struct node *n = arg;

	if (n->sharing.store)
		ask(n);
}

void sharing_look(struct node *n)
{
	const struct node_report own = report_now(n);
	int64_t now = clock_mono_ms(), unix_ms = clock_unix_ms();
	bool fresh = atomic_load(&n->fresh_until_ms) > now;

	/* the clock was set back: what had ended by it may not have */
	n->sharing.changed = n->sharing.changed || unix_ms < n->sharing.counted_unix_ms || unix_ms < n->world->made_unix_ms;
	health_set(n->health, HEALTH_REGISTRY, fresh, "this node has not heard of changes to agents for 10 s, and takes and hands out nothing until it has: see what is wrong with the store",
		   unix_ms);
	initmark_follow(n);
	fleet_tell(n->fleet, n->boot->node, &own);
	if (!n->sharing.asking && now - n->sharing.asked_ms >= ASK_MS - 100)
		ask(n);
}

static void give_up(void *arg)
{
	loop_stop(((struct node *)arg)->loop);
}

void sharing_leave(struct node *n)
{
	struct loop_timer *t = loop_timer_new(n->loop, give_up, n);

	if (t && n->sharing.store) {
		n->sharing.leaving = true;
		loop_timer_set(t, LEAVE_MS);
		ask(n);
		loop_run(n->loop);
	}
	if (t)
		loop_timer_free(t);
}

void sharing_close(struct node *n)
{
	if (n->sharing.store)
		n->sharing.store->ops->free(n->sharing.store);
	n->sharing.store = NULL;
	if (n->sharing.timer)
		loop_timer_free(n->sharing.timer);
	n->sharing.timer = NULL;
	forget_close(n);
	forget_seen(&n->sharing);
	resources_unref(n->resources);
	n->resources = NULL;
}
