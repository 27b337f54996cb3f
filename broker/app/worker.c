/* What does one worker thread own? Its store connection, its audit lane, its RPC layer, tied to its loop: made when the thread starts, freed
 * when it stops. */
#include <stdio.h>
#include <string.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "identity/ocsp.h"

#define TICK_MS 100
#define CLOSE_TICKS 10 /* between two looks for revoked peers that have come back */

static void tail(void *arg)
{
	struct node_worker *w = arg;

	rpc_worker_tail(w->rpc);
}

static void ask_tail(void *arg)
{
	struct node_worker *w = arg;

	loop_defer(w->loop, &w->tail);
}

static void audit_settled(void *arg)
{
	struct node_worker *w = arg;

	if (w->rpc)
		rpc_worker_tail(w->rpc);
}

/* On the audit's sync thread. */
static void audit_wake(void *arg)
{
	struct node_worker *w = arg;

	loop_post(w->loop, audit_settled, w);
}

static void search_found(void *arg)
{
	struct node_worker *w = arg;

	if (w->rpc)
		rpc_worker_audit_found(w->rpc);
}

/* On the thread of the audit's reader. Without memory for it the next tick looks. */
static void audit_found(void *arg)
{
	struct node_worker *w = arg;

	loop_post(w->loop, search_found, w);
}

static bool pick_revoked(void *arg, const struct call_peer *p)
{
	struct node_worker *w = arg;
	bool revoked = p->connection <= w->seen && rpc_worker_peer_revoked(w->rpc, NULL, p->identity);

	if (revoked)
		metrics_add(w->node->metrics, METRIC_REVOKED_CLOSED, p->listener, NULL, 1);
	return revoked;
}

static void close_revoked(struct node_worker *w)
{
	if (w->rpc && rpc_worker_revokes_peers(w->rpc))
		atomic_fetch_add(&w->node->closed, server_close_peers(w->node->server, w->index, pick_revoked, w, "revoked"));
}

struct counted {
	const struct node_worker *worker;
	const struct revocations *about;
	uint64_t n;
};

static bool count_would_close(void *arg, const struct call_peer *p)
{
	struct counted *c = arg;

	c->n += rpc_worker_peer_revoked(c->worker->rpc, c->about, p->identity);
	return false;
}

/* Somebody asks what a revocation would close. */
static void answer_asked(struct node_worker *w)
{
	struct counted c = {.worker = w};
	struct revocations *about;
	uint64_t asked = rpc_worker_asked(w->rpc, atomic_load(&w->asked), &about);

	if (!asked)
		return;
	c.about = about;
	server_close_peers(w->node->server, w->index, count_would_close, &c, "");
	revocations_unref(about);
	atomic_store(&w->asked, 0); /* whoever reads meanwhile takes neither for the other's */
	atomic_store(&w->would_close, c.n);
	atomic_store(&w->asked, asked);
}

/* ---- what responders say of certificates ---- */

static const struct {
	enum peer_status status;
	const char *why;
} refused_by_status[] = {
	{PEER_STATUS_REVOKED, "revoked"},
	{PEER_STATUS_UNKNOWN, "certificate_unknown"},
	{PEER_STATUS_SILENT, "status_unavailable"},
};

static enum peer_status peer_status(void *arg, const struct identity_peer *p)
{
	struct node_worker *w = arg;

	return certstatus_of(w->node->certstatus, w->index, p);
}

struct condemned {
	struct node_worker *worker;
	const uint8_t *key;              /* NULL: whoever has this status, and was there at the last look */
	enum peer_status status;
};

static bool pick_condemned(void *arg, const struct call_peer *p)
{
	const struct condemned *c = arg;
	struct node_worker *w = c->worker;
	const struct identity_peer *peer = p->identity;
	bool picked;

	if (!peer->subject)
		return false;
	picked = c->key ? memcmp(ocsp_subject_key(peer->subject), c->key, SHA256_BYTES) == 0
			: certstatus_condemns(w->node->certstatus, w->index, peer, c->status) && p->connection <= w->seen;
	if (picked && c->status == PEER_STATUS_REVOKED)
		metrics_add(w->node->metrics, METRIC_REVOKED_CLOSED, p->listener, NULL, 1);
	return picked;
}

static const char *why_of(enum peer_status status)
{
	for (size_t i = 0; i < sizeof refused_by_status / sizeof refused_by_status[0]; i++)
		if (refused_by_status[i].status == status)
			return refused_by_status[i].why;
	return "status_unavailable";
}

/* This is also how it is known which certificates are still connected peers': each is looked up. */
static void close_condemned(struct node_worker *w)
{
	for (size_t i = 0; i < sizeof refused_by_status / sizeof refused_by_status[0] && certstatus_asks(w->node->certstatus); i++) {
		struct condemned c = {.worker = w, .status = refused_by_status[i].status};

		server_close_peers(w->node->server, w->index, pick_condemned, &c, refused_by_status[i].why);
	}
}

/* On its way to a worker. */
struct fallen {
	struct node_worker *worker;
	uint8_t key[SHA256_BYTES];
	enum peer_status status;
};

static void hear_fallen(void *arg)
{
	struct fallen *f = arg;
	struct condemned c = {.worker = f->worker, .key = f->key, .status = f->status};

	if (f->worker->rpc) {
		rpc_worker_peer_fallen(f->worker->rpc, f->key, f->status);
		server_close_peers(f->worker->node->server, f->worker->index, pick_condemned, &c, why_of(f->status));
	}
	free(f);
}

/* Without memory for it, the next look of each worker closes them. */
void node_workers_fallen(void *node, const uint8_t key[SHA256_BYTES], enum peer_status status)
{
	struct node *n = node;

	for (unsigned i = 0; i < n->n_workers; i++) {
		struct fallen *f = n->server ? malloc(sizeof *f) : NULL;

		if (!f)
			continue;
		*f = (struct fallen){.worker = &n->workers[i], .status = status};
		memcpy(f->key, key, sizeof f->key);
		if (!n->workers[i].loop || !loop_post_sure(n->workers[i].loop, hear_fallen, f))
			free(f);
	}
}

/* Those that came back since the look before this one stay until the next: they ask for something, and hear why not. */
static void close_returned(struct node_worker *w)
{
	close_revoked(w);
	close_condemned(w);
	w->seen = w->admitted;
}

void node_worker_close_revoked(struct node *n, unsigned i)
{
	n->workers[i].seen = UINT64_MAX;
	close_revoked(&n->workers[i]);
	answer_asked(&n->workers[i]);
	n->workers[i].seen = 0;
}

static void tick(void *arg)
{
	struct node_worker *w = arg;

	rpc_worker_tick(w->rpc);
	keeping_look(w->keeping);
	if (++w->ticks % CLOSE_TICKS == 0)
		close_returned(w);
	loop_timer_set(w->timer, TICK_MS);
}

/* A look at the disk, and once in a deployment's life a write: who asks is root, and nobody waits for him elsewhere on this worker for long. */
static int initialised(void *arg, bool make, struct problem *why)
{
	return initmark(((struct node_worker *)arg)->node, make, why);
}

static bool want_keys(void *arg, const struct key_want *want)
{
	struct node_worker *w = arg;
	bool coming;

	pthread_mutex_lock(&w->node->feed_lock);
	coming = keyfeed_want(w->node->feed, want);
	pthread_mutex_unlock(&w->node->feed_lock);
	return coming;
}

static enum question_result ask_issuer(void *arg, const struct token_question *q)
{
	struct node_worker *w = arg;
	enum question_result r;

	pthread_mutex_lock(&w->node->feed_lock);
	r = introspector_ask(w->node->introspector, w->index, q);
	pthread_mutex_unlock(&w->node->feed_lock);
	return r;
}

/* That a question is over, on its way to a worker. */
struct answered {
	struct node_worker *worker;
	uint8_t key[SHA256_BYTES];
};

static void hear_answered(void *arg)
{
	struct answered *a = arg;

	if (a->worker->rpc)
		rpc_worker_answered(a->worker->rpc, a->key);
	free(a);
}

/* Without memory for it, who waits is denied when he has waited too long. */
static void tell_answered(struct node_worker *w, const uint8_t key[SHA256_BYTES])
{
	struct answered *a = malloc(sizeof *a);

	if (!a)
		return;
	a->worker = w;
	memcpy(a->key, key, sizeof a->key);
	if (!loop_post_sure(w->loop, hear_answered, a))
		free(a);
}

void node_workers_answered(void *node, uint64_t workers, const uint8_t key[SHA256_BYTES])
{
	struct node *n = node;

	for (unsigned i = 0; i < n->n_workers; i++)
		if (workers >> i & 1)
			tell_answered(&n->workers[i], key);
}

static bool keys_state(void *arg, const char *issuer, struct keys_state *out)
{
	struct node_worker *w = arg;
	bool there;

	pthread_mutex_lock(&w->node->feed_lock);
	there = keyfeed_state(w->node->feed, issuer, out);
	if (there)
		introspector_state(w->node->introspector, issuer, out->unanswered);
	pthread_mutex_unlock(&w->node->feed_lock);
	return there;
}

static bool lists_state(void *arg, const char *domain, struct lists_state *out)
{
	struct node_worker *w = arg;
	bool there;

	pthread_mutex_lock(&w->node->feed_lock);
	there = crlfeed_state(w->node->crls, domain, out);
	pthread_mutex_unlock(&w->node->feed_lock);
	return there;
}

static bool responder_fails(void *arg, const char *domain, char why[KEYS_FAILURE_MAX])
{
	struct node_worker *w = arg;

	return certstatus_fails(w->node->certstatus, domain, why, KEYS_FAILURE_MAX);
}

/* Of those only whose certificate was taken: strangers must not fill the file, they are counted and logged. */
static void audit_peer(struct node_worker *w, const char *event, const struct call_peer *p, const char *why)
{
	const struct identity_peer *peer = p->identity;
	struct audit_record r = {.event = event, .at_ms = clock_unix_ms(), .spiffe_id = slice_str(peer->spiffe_id),
		.certificate_sha256 = slice_str(peer->x5t_s256), .remote = slice_str(p->remote), .message = slice_str(why)};

	if (strcmp(p->listener, RPC_LISTENER_ENROL) == 0)
		return;
	audit_note(w->audit, &r);
	loop_defer(w->loop, &w->tail);
}

/* NULL: nobody counts. */
static struct census *census_of(const struct node *n, const struct call_peer *p)
{
	if (strcmp(p->listener, NODE_LISTENER) == 0)
		return n->census;
	return strcmp(p->listener, RPC_LISTENER_ADMIN_TLS) == 0 ? n->operators : NULL;
}

static void peer_gone(void *arg, const struct call_peer *p)
{
	const struct identity_peer *peer = p->identity;
	struct node_worker *w = arg;
	struct census *c = census_of(w->node, p);

	if (c)
		census_leave(c, peer->spiffe_id, peer->not_after_ms);
	audit_peer(w, "peer.closed", p, NULL);
}

/* ---- the store's news ---- */

static void store_wake_up(void *user, const char *tenant, const char *route)
{
	struct node_worker *w = user;

	if (w->rpc)
		rpc_worker_store_wake(w->rpc, tenant, route);
}

static void store_late(void *user, const char *tenant, const char *route, const struct store_record *r)
{
	struct node_worker *w = user;

	if (w->rpc)
		rpc_worker_store_late(w->rpc, tenant, route, r);
}

static void store_owing(void *user)
{
	struct node_worker *w = user;

	atomic_store(&w->node->owing, true);
}

static void store_state(void *user, bool ok, const char *why, const char *remedy)
{
	struct node_worker *w = user;
	struct node *n = w->node;
	char text[640];

	snprintf(text, sizeof text, "%s%s%s", why ? why : "", remedy && *remedy ? ": " : "", remedy ? remedy : "");
	health_set_part(n->health, HEALTH_STORE, w->index, n->n_workers, ok, text, clock_unix_ms());
	metrics_set(n->metrics, METRIC_STORE_PARTIAL, NULL, NULL, ok && *text);
	if (ok && w->rpc)
		rpc_worker_store_ready(w->rpc);
	if (ok && *text)
		log_event(LOG_WARN, "store.partial", F_INT("worker", w->index), F_STR("why", text));
	else if (ok)
		log_event(LOG_INFO, "store.ready", F_INT("worker", w->index));
	else
		log_event(LOG_WARN, "store.unavailable", F_INT("worker", w->index), F_STR("why", text));
}

/* What waits and has effects may have been done by the old primary. */
static void store_held(const char *tenant, const char *route, const struct store_incarnation *found)
{
	char from[25], to[25];

	clock_format_utc(found->held_from_ms, from);
	clock_format_utc(found->held_to_ms, to);
	log_event(LOG_WARN, "store.failed_over", F_STR("tenant", tenant), F_STR("route", route), F_STR("held_from", from), F_STR("held_to", to),
		  F_STR("remedy", "what was accepted between the two under an idempotency key is held until its sender submits it again under that key, or cancels it"));
}

static void store_incarnation(void *user, const char *tenant, const char *route, const struct store_incarnation *found)
{
	struct node_worker *w = user;
	struct audit_record r = {.event = "store.incarnation", .at_ms = clock_unix_ms(), .tenant = slice_str(tenant), .route = slice_str(route)};
	long long limit = (long long)w->node->boot->store_max_lost;
	uint64_t lost = found->lost;
	char text[160];

	if (lost)
		metrics_add(w->node->metrics, METRIC_STORE_LOST, route, NULL, (int64_t)lost);
	snprintf(text, sizeof text, "the slot was opened anew; %llu sequence numbers are missing", (unsigned long long)lost);
	r.message = slice_str(text);
	audit_put(w->audit, &r);
	loop_defer(w->loop, &w->tail);
	log_event(lost ? LOG_ERROR : LOG_WARN, "store.incarnation", F_STR("tenant", tenant), F_STR("route", route), F_INT("lost", lost));
	if (found->held_to_ms)
		store_held(tenant, route, found);
	if (!found->paused)
		return;
	snprintf(text, sizeof text, "%llu handoffs are gone, and store.max_lost is %lld: it takes work and leases none until it is resumed",
		 (unsigned long long)lost, limit);
	r.event = "route.paused";
	r.message = slice_str(text);
	audit_put(w->audit, &r);
	log_event(LOG_ERROR, "route.paused", F_STR("tenant", tenant), F_STR("route", route), F_INT("lost", lost), F_INT("max_lost", limit),
		  F_STR("remedy", "was an old copy of Redis' data put back? What was finished since would be delivered again: look first, then resume the route"));
}

static void store_waiting(void *user, const char *tenant, const char *route, uint64_t handoffs, uint64_t bytes)
{
	struct node_worker *w = user;

	tenants_saw(w->node->tenants, tenant, route, handoffs, bytes, clock_mono_ms());
}

static void store_kept(void *user, const char *tenant, const char *route, uint64_t bytes)
{
	struct node_worker *w = user;

	tenants_keeps(w->node->tenants, tenant, route, bytes, clock_mono_ms());
}

static void store_memory(void *user, uint64_t used, uint64_t max)
{
	struct node_worker *w = user;

	tenants_memory(w->node->tenants, used, max);
}

void node_count_store(struct node *n, const char *function, const char *result, unsigned items)
{
	metrics_add(n->metrics, METRIC_STORE_CALLS, function, result, 1);
	metrics_add(n->metrics, METRIC_STORE_ITEMS, function, NULL, items);
	if (strcmp(result, "unsealable") == 0)
		metrics_add(n->metrics, METRIC_STORE_SEAL_FAILURES, function, NULL, items);
}

static void store_count(void *user, const char *function, const char *result, unsigned items)
{
	node_count_store(((struct node_worker *)user)->node, function, result, items);
}

static void store_shared(void *user)
{
	struct node_worker *w = user;

	loop_post(w->node->loop, sharing_wake, w->node); /* else the next second asks */
}

struct store_redis_config node_store_config(const struct node *n)
{
	const struct config *c = n->boot;

	return (struct store_redis_config){
		.url = n->redis_url, .cluster = c->store_cluster, .sentinels = c->store_sentinels, .sentinel_master = c->store_sentinel_master,
		.sentinel_user = c->store_sentinel_user, .sentinel_password_file = c->store_sentinel_password_file,
		.password_file = c->store_password_file, .acl_user = c->store_user,
		.ca_file = c->store_ca, .cert_file = c->store_cert, .key_file = c->store_key,
		.timeout_ms = c->store_timeout_ms, .fsync_always = c->store_fsync_always, .replicas = c->store_replicas, .keys = n->seal,
		.limits = config_slot_limits(c), .node = c->node, .run = n->run, .state_dir = c->state_dir, .max_pending = 65536,
	};
}

static struct store *store_open(struct node_worker *w, struct problem *why)
{
	struct store_redis_config s = node_store_config(w->node);

	s.head = w->node->heads[w->index];
	s.secrets = keeping_secrets(w->keeping);
	s.wake = store_wake_up;
	s.shared = store_shared;
	s.on_state = store_state;
	s.on_incarnation = store_incarnation;
	s.late = store_late;
	s.owing = store_owing;
	s.on_waiting = store_waiting;
	s.on_kept = store_kept;
	s.on_memory = store_memory;
	s.count = store_count;
	s.user = w;
	return store_redis_new(w->loop, &s, w->index == 0, why);
}

static unsigned connections(void *arg, const char *spiffe_id, int64_t *certificate_ends_ms)
{
	return census_count(((struct node_worker *)arg)->node->census, spiffe_id, certificate_ends_ms);
}

static bool parts(struct node_worker *w, struct problem *why)
{
	struct node *n = w->node;
	struct rpc_env env = {
		.index = w->index, .workers = n->n_workers, .calls = w->calls, .peers = n->calls, .rpc = n->rpc,
		.metrics = n->metrics, .health = n->health, .audit_reader = n->audit_reader, .audit_found = audit_found, .sign = keeping_sign,
		.shared = n->shared, .fleet = n->fleet, .aside = &n->aside, .settled = sharing_settled, .revoke_here = sharing_revoke_here, .connections = connections,
		.fresh_until_ms = &n->fresh_until_ms, .rates = n->rates, .tenants = n->tenants,
		.ask_tail = ask_tail, .want_keys = want_keys, .answers = n->answers, .ask_issuer = ask_issuer, .peer_status = peer_status, .keys_state = keys_state, .lists_state = lists_state, .responder_fails = responder_fails, .initialised = initialised, .issue = n->issuance ? keeping_issue : NULL, .peer_gone = peer_gone, .arg = w, .node = n->boot->node,
		.version = n->version, .slot_limits = config_slot_limits(n->boot),
		.reconcile = w->index == 0 ? n->reconcile : NULL,
	};

	w->tail = (struct loop_tail){.fn = tail, .arg = w, .stage = LOOP_STAGE_AUDIT};
	w->audit = audit_lane_new(n->audit, audit_wake, w);
	w->store = w->audit && keeping_start(w) ? store_open(w, why) : NULL;
	if (!w->store)
		return false;
	env.audit = w->audit;
	env.store = w->store;
	w->rpc = rpc_worker_new(&env, n->world);
	w->timer = w->rpc ? loop_timer_new(w->loop, tick, w) : NULL;
	if (!w->timer)
		return false;
	loop_timer_set(w->timer, TICK_MS);
	return true;
}

const struct call_handler *node_worker_start(void *arg, unsigned i, struct loop *l, struct call_worker *calls)
{
	struct node *n = arg;
	struct node_worker *w = &n->workers[i];
	struct problem why = {""};
	bool ok;

	*w = (struct node_worker){.node = n, .index = i, .loop = l, .calls = calls};
	ok = parts(w, &why);
	if (!ok)
		log_event(LOG_ERROR, "worker.failed", F_INT("worker", i), F_STR("why", why.text));
	/* Others read these once connections come, and none does before the server knows that all workers have started. */
	n->calls[i] = calls;
	n->rpc[i] = w->rpc;
	return ok ? rpc_worker_handler(w->rpc) : NULL;
}

void node_worker_stop(void *arg, unsigned i)
{
	struct node *n = arg;
	struct node_worker *w = &n->workers[i];

	if (w->timer)
		loop_timer_free(w->timer);
	if (w->store)
		w->store->ops->free(w->store);
	keeping_stop(w);
	if (w->rpc)
		rpc_worker_tail(w->rpc);
	loop_defer_cancel(w->loop, &w->tail);
	rpc_worker_free(w->rpc);
	w->rpc = NULL;
	if (w->audit)
		audit_lane_free(w->audit);
}

void node_worker_rechecked(void *node, unsigned i)
{
	struct node *n = node;

	sharing_settled(&n->workers[i]);
}

/* Whoever comes with a revoked certificate, as one who stole it, is to hear so, but must not keep out those who have its agent's next one. */
static bool is_counted(struct node_worker *w, struct census *c, const struct identity_peer *peer)
{
	const struct census_entrant e = {.spiffe_id = peer->spiffe_id, .certificate_ends_ms = peer->not_after_ms,
		.refused = certstatus_refuses(w->node->certstatus, peer) || (w->rpc && rpc_worker_peer_revoked(w->rpc, NULL, peer))};

	return census_enter(c, &e);
}

const char *node_worker_admit(void *arg, unsigned i, const struct call_peer *p)
{
	const struct identity_peer *peer = p->identity;
	struct node *n = arg;
	struct node_worker *w = &n->workers[i];
	struct census *c = census_of(n, p);
	const char *why = !c || is_counted(w, c, peer) ? NULL : "too_many_for_agent";

	w->admitted = p->connection > w->admitted ? p->connection : w->admitted;
	if (!why)
		certstatus_of(n->certstatus, i, peer); /* who has to be asked is asked now */
	audit_peer(w, why ? "peer.refused" : "peer.connected", p, why);
	return why;
}
