/* How does a node take on a new configuration without dropping anybody? Everything that can fail is built beside the old; only when all of it
 * stands is it swapped in. What needs a restart (ports, store, state folder, workers) is compared and refused by name. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/log.h"

static void warn_of_unbound(struct node *n, const struct issuer_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].rule.binding)
			continue;
		metrics_add(n->metrics, METRIC_TOKEN_UNBOUND, entries[i].rule.name, NULL, 0);
		log_event(LOG_WARN, "issuer.unbound", F_STR("issuer", entries[i].rule.name),
			  F_STR("remedy", "its tokens work on any agent's connection: set binding: certificate"));
	}
}

struct issuers *reload_make_issuers(struct node *n, const struct vouching *v, struct problem *why)
{
	size_t count;
	const struct issuer_entry *entries = keyfeed_entries(v->feed, &count);
	struct issuers *issuers = issuers_new(entries, count);

	warn_of_unbound(n, entries, count);
	if (!issuers)
		problem_set(why, "out of memory");
	return issuers;
}

struct world *reload_make_world(struct node *n, const struct config *c, struct registry *configured, const struct vouching *v, struct issuing *issuing,
				struct roster *roster, struct problem *why)
{
	struct registry *r = sharing_registry(n, configured, true, roster, why);
	struct issuers *issuers = r ? reload_make_issuers(n, v, why) : NULL;
	struct envelope_limits limits = {.window_ms = c->envelope_window_ms, .clock_skew_ms = c->clock_skew_ms,
		.max_payload = c->max_payload};
	const struct world_quotas quotas = {.rate_per_agent = c->rate_per_agent, .waiting_per_tenant = c->waiting_per_tenant,
		.waiting_bytes_per_tenant = c->waiting_bytes_per_tenant, .card_bytes_per_tenant = c->card_bytes_per_tenant,
		.agents_per_tenant = c->agents_per_tenant, .revocations_per_tenant = c->revocations_per_tenant};
	struct world *w;

	if (!issuers) {
		registry_unref(r);
		return NULL;
	}
	w = world_new(r, issuers, resources_ref(n->resources), n->world ? n->world->generation : 0, &limits, &quotas, c->audit_payload_hash);
	if (!w) {
		problem_set(why, "out of memory, or two routes of a tenant share a tag: rename one");
		return NULL;
	}
	world_set_audience(w, c->admin_audience);
	world_set_private_fetches(w, c->allow_private_fetches);
	world_set_secrets(w, c->secrets_dir[0]);
	world_set_trust(w, v->trust);
	world_set_issuing(w, issuing);
	return w;
}

struct registry *reload_make_registry(const struct config *c, struct problem *why)
{
	struct problem warn = {""};
	struct registry *r = config_registry(c, why, &warn);

	if (r && warn.text[0])
		log_event(LOG_WARN, "profile.not_enforced", F_STR("what", warn.text));
	return r;
}

static void *verify_peer(void *arg, struct x509_store_ctx_st *ctx, const char **why, int *alert)
{
	struct node *n = arg;
	struct identity_peer *p;
	struct trust *t;

	pthread_mutex_lock(&n->trust_lock);
	t = trust_ref(n->trust);
	pthread_mutex_unlock(&n->trust_lock);
	p = identity_peer_verify(t, ctx, clock_unix_ms(), why, alert);
	trust_unref(t);
	return p;
}

static void free_peer(void *identity)
{
	identity_peer_free(identity);
}

static int64_t peer_not_after(const void *identity)
{
	return ((const struct identity_peer *)identity)->not_after_ms;
}

static struct tls_server *make_tls(const struct node *n, const struct config *c, const struct tls_hook *hook, struct problem *why)
{
	struct tls_server *t = tls_server_new(c->tls_cert, c->tls_key, n->providers, hook, why);

	if (!t)
		problem_prefix(why, "tls.cert, tls.key");
	return t;
}

struct tls_server *reload_make_tls(struct node *n, const struct config *c, struct problem *why)
{
	const struct tls_hook hook = {.verify = verify_peer, .free_identity = free_peer, .not_after_ms = peer_not_after, .arg = n};

	return make_tls(n, c, &hook, why);
}

/* Whoever comes to be enrolled. */
static const struct identity_peer stranger = {.not_after_ms = INT64_MAX};

struct tls_server *reload_make_enrol_tls(const struct node *n, const struct config *c, struct problem *why)
{
	const struct tls_hook hook = {.not_after_ms = peer_not_after, .anonymous = &stranger};

	return make_tls(n, c, &hook, why);
}

#define SIGNING_US_MAX 500000 /* of a second: more, and workers wait for the provider instead of serving */

void reload_tell_key(const struct node *n)
{
	int64_t us = tls_server_sign_us(n->tls), rate = n->config->server.handshakes_per_s;
	bool slow = us * rate > SIGNING_US_MAX;

	if (tls_server_key_is_elsewhere(n->tls))
		log_event(slow ? LOG_WARN : LOG_INFO, "tls.key_elsewhere", F_STR("key", tls_server_key_shown(n->tls)), F_INT("sign_us", us),
			  F_INT("handshakes_per_s", rate), F_STR("remedy", slow ? "limits.handshakes_per_s lets in more than the provider signs: lower it" : NULL));
}

static void set_world(void *arg, unsigned i)
{
	struct node *n = arg;

	rpc_worker_set_world(n->rpc[i], n->world);
	node_worker_close_revoked(n, i);
}

struct settled {
	struct node *node;
	uint64_t issuer;
};

static void settle(void *arg, unsigned i)
{
	const struct settled *s = arg;

	rpc_worker_keys_settled(s->node->rpc[i], s->issuer);
}

static void on_settled(void *arg, size_t issuer)
{
	struct node *n = arg;
	struct settled s = {n, issuer};

	if (n->server)
		server_each_worker(n->server, settle, &s);
}

void reload_spread_world(struct node *n)
{
	server_each_worker(n->server, set_world, n);
	on_settled(n, KEYS_OF_ALL);
}

/* Takes the ref. Live peers are judged by it. */
static void swap_trust(struct node *n, struct trust *now)
{
	struct trust *old;

	pthread_mutex_lock(&n->trust_lock);
	old = n->trust;
	n->trust = now;
	pthread_mutex_unlock(&n->trust_lock);
	n->list_ends_ms = 0;
	trust_unref(old);
	if (!n->server)
		return;
	server_recheck_peers(n->server);
	log_event(LOG_INFO, "trust.installed", F_INT("domains", (long long)trust_count(now)));
}

static void on_keys(void *arg, const struct issuer_entry *entries, size_t count)
{
	struct node *n = arg;
	struct issuers *issuers;
	struct world *w;

	if (!n->server || !n->world)
		return; /* still starting: the entries are read when the world is made */
	issuers = issuers_new(entries, count);
	w = issuers ? world_with_issuers(n->world, issuers) : NULL;
	if (!w) {
		log_event(LOG_ERROR, "keys.not_applied", F_STR("why", "out of memory"));
		return;
	}
	world_unref(n->world);
	n->world = w;
	server_each_worker(n->server, set_world, n);
}

/* The trust as the lists are now, in the place of the one that runs. */
static bool on_lists(void *arg)
{
	struct node *n = arg;
	struct problem why = {""};
	struct trust *now = crlfeed_trust(n->crls, &why);
	struct world *w = now && n->world ? world_with_issuers(n->world, issuers_ref(n->world->issuers)) : NULL;

	if (!w) {
		trust_unref(now);
		return false;
	}
	world_set_trust(w, now);
	world_unref(n->world);
	n->world = w;
	swap_trust(n, now);
	server_each_worker(n->server, set_world, n);
	return true;
}

int reload_make_vouching(struct node *n, const struct config *c, struct trust *configured, const struct gathering *gathered, bool read_files, bool strict, struct vouching *v, struct problem *why)
{
	const struct keyfeed_config k = {.loop = n->loop, .metrics = n->metrics, .health = n->health, .on_keys = on_keys,
		.on_settled = on_settled, .arg = n};
	const struct introspector_config asking = {.loop = n->loop, .metrics = n->metrics, .answers = n->answers,
		.on_answered = node_workers_answered, .on_mute = expiry_introspection, .arg = n, .secrets = c->secrets_dir, .owner = n->keeper_uid,
		.source = keeping_secrets(n->keeping), .gathered = gathered};
	const struct crlfeed_config crls = {.loop = n->loop, .metrics = n->metrics, .audit = n->control_audit, .state_dir = n->boot->state_dir,
		.refresh_ms = c->crl_refresh_ms, .grace_ms = c->crl_grace_ms, .on_lists = on_lists, .arg = n};
	const struct vouching_from from = {.feed = &k, .asking = &asking, .running_introspector = n->introspector, .issuers = c->issuers, .n_issuers = c->n_issuers, .configured = configured, .resources = n->resources,
		.domains = c->trust, .n_domains = c->n_trust, .crls = &crls, .certstatus = n->certstatus, .allow_private = c->allow_private_fetches, .running = n->feed, .running_crls = n->crls,
		.running_trust = n->trust, .read_files = read_files, .bundles = n->sharing.bundles};

	if (vouching_make(&from, v, why) < 0)
		return -1;
	if (strict && v->conflicts) {
		problem_set(why, "registered %.400s: take it out of the configuration, or remove the registered one", v->why.text);
		return -1; /* v says so too; whoever asked clears it */
	}
	if (v->refused)
		log_event(LOG_ERROR, "vouching.refused", F_INT("resources", (long long)v->refused), F_STR("why", v->why.text),
			  F_STR("remedy", "its tokens or certificates are refused here: take it out of the configuration file, or remove it"));
	return 0;
}

void reload_swap_vouching(struct node *n, struct vouching *v, bool anew)
{
	struct vouching old = {.feed = n->feed, .introspector = n->introspector};

	if (v->responders) /* before the trust: nobody of a new domain is let in without having been asked about */
		certstatus_install(n->certstatus, v->responders);
	pthread_mutex_lock(&n->feed_lock);
	n->feed = v->feed;
	if (!anew)
		introspector_inherit(v->introspector, n->introspector);
	n->introspector = v->introspector;
	if (v->crls) {
		old.crls = n->crls;
		n->crls = v->crls;
	}
	pthread_mutex_unlock(&n->feed_lock);
	if (v->trust == n->trust) /* no bundle and no list changed: nobody is judged anew */
		trust_unref(v->trust);
	else
		swap_trust(n, v->trust);
	old.lists_made = v->crls;
	*v = old;
}

void reload_begin_vouching(struct node *n, struct vouching *old)
{
	keyfeed_begin(n->feed);
	expiry_forget(n, old->introspector);
	if (old->lists_made)
		crlfeed_begin(n->crls, old->crls);
	expiry_look(n);
	vouching_clear(old); /* who waited for what it asked has asked anew */
}

/* Settings that a running node cannot change. */
static int same_fixed(const struct config *a, const struct config *b, struct problem *why)
{
	const struct { const char *key; bool same; } fixed[] = {
		{"node", strcmp(a->node, b->node) == 0},
		{"state_dir", strcmp(a->state_dir, b->state_dir) == 0},
		{"workers", a->workers == b->workers},
		{"listen.agents", strcmp(a->listen_agents, b->listen_agents) == 0},
		{"listen.admin", strcmp(a->listen_admin, b->listen_admin) == 0},
		{"listen.enrol", strcmp(a->listen_enrol, b->listen_enrol) == 0},
		{"tls.providers", config_same_providers(a, b)},
		{"issuing.cert", strcmp(a->issuing_cert, b->issuing_cert) == 0},
		{"issuing.key", strcmp(a->issuing_key, b->issuing_key) == 0},
		{"keeper.user", strcmp(a->keeper_user, b->keeper_user) == 0},
		{"keeper.record", strcmp(a->keeper_record, b->keeper_record) == 0},
		{"issuing.ttl", a->issuing_ttl_ms == b->issuing_ttl_ms},
		{"listen.admin_socket", strcmp(a->listen_admin_socket, b->listen_admin_socket) == 0},
		{"listen.metrics", strcmp(a->listen_metrics, b->listen_metrics) == 0},
		{"store.url", strcmp(a->store_url, b->store_url) == 0},
		{"store.cluster", strcmp(a->store_cluster, b->store_cluster) == 0},
		{"store.sentinels", strcmp(a->store_sentinels, b->store_sentinels) == 0},
		{"store.sentinel_master", strcmp(a->store_sentinel_master, b->store_sentinel_master) == 0},
		{"store.sentinel_user", strcmp(a->store_sentinel_user, b->store_sentinel_user) == 0},
		{"store.sentinel_password_file", strcmp(a->store_sentinel_password_file, b->store_sentinel_password_file) == 0},
		{"store.user", strcmp(a->store_user, b->store_user) == 0},
		{"store.password_file", strcmp(a->store_password_file, b->store_password_file) == 0},
		{"store.ca", strcmp(a->store_ca, b->store_ca) == 0},
		{"store.cert", strcmp(a->store_cert, b->store_cert) == 0},
		{"store.key", strcmp(a->store_key, b->store_key) == 0},
		{"store.keys_file", strcmp(a->store_keys_file, b->store_keys_file) == 0},
		{"store.fsync", a->store_fsync_always == b->store_fsync_always},
		{"store.replicas", a->store_replicas == b->store_replicas},
		{"store.timeout", a->store_timeout_ms == b->store_timeout_ms},
		{"store.keep_finished", a->store_keep_finished_ms == b->store_keep_finished_ms},
		{"store.max_memory", a->store_max_memory == b->store_max_memory},
		{"store.max_lost", a->store_max_lost == b->store_max_lost},
		{"store.hold_after_failover", a->store_hold_ms == b->store_hold_ms},
		{"limits.waiting_per_route", a->waiting_per_route == b->waiting_per_route},
		{"limits.waiting_bytes", a->waiting_bytes == b->waiting_bytes},
		{"limits.waiting_per_sender", a->waiting_per_sender == b->waiting_per_sender},
		{"limits.waiting_bytes_per_sender", a->waiting_bytes_per_sender == b->waiting_bytes_per_sender},
		{"envelope.window", a->envelope_window_ms == b->envelope_window_ms},
		{"envelope.clock_skew", a->clock_skew_ms == b->clock_skew_ms},
		{"assertion.key_file", strcmp(a->assertion_key_file, b->assertion_key_file) == 0},
		{"assertion.issuer", strcmp(a->assertion_issuer, b->assertion_issuer) == 0},
		{"audit.file", strcmp(a->audit_file, b->audit_file) == 0},
		{"hardening.seccomp", a->hardening_seccomp == b->hardening_seccomp},
		{"hardening.landlock", a->hardening_landlock == b->hardening_landlock},
	};

	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
		if (!fixed[i].same)
			return problem_set(why, "%s cannot change while batond runs: put it back, or restart", fixed[i].key);
	return 0;
}

static void note(struct node *n, const char *why)
{
	struct audit_record r = {.event = "config.reloaded", .at_ms = clock_unix_ms(), .message = slice_str(why),
		.outcome = why ? OUTCOME_DENY : OUTCOME_ALLOW};
	struct audit_lane *l = n->control_audit;

	metrics_add(n->metrics, METRIC_RELOADS, why ? "failed" : "ok", NULL, 1);
	if (why)
		log_event(LOG_ERROR, "config.reload_failed", F_STR("why", why));
	else
		log_event(LOG_INFO, "config.reloaded", F_STR("file", n->config_path));
	audit_put(l, &r);
	audit_flush(l);
}

#define AGAIN_MS 60000

/* The parts of a reload, built beside what runs. */
struct fresh {
	struct node *node;
	struct gathering *secrets;       /* of the configured issuers */
	struct config *config;
	struct registry *configured;
	struct roster roster;
	struct trust *trust;             /* configured */
	struct vouching vouching;
	struct issuing *issuing;
	struct world *world;
	struct tls_server *tls, *tls_enrol; /* the latter NULL when the listener is closed */
	uint64_t tried, mark;            /* of the files that were named until then, and that are now, before any was read */
};

static void fresh_drop(struct fresh *f)
{
	if (!f)
		return;
	gathering_free(f->secrets);
	tls_server_unref(f->tls);
	tls_server_unref(f->tls_enrol);
	world_unref(f->world);
	issuing_unref(f->issuing);
	registry_unref(f->configured);
	vouching_clear(&f->vouching);
	trust_unref(f->trust);
	config_free(f->config);
	free(f);
}

static int fresh_read(struct node *n, struct fresh *f, struct problem *why)
{
	f->tried = files_mark(n->config);
	f->config = config_load(n->config_path, why);
	f->mark = f->config ? files_mark(f->config) : 0;
	return f->config && same_fixed(n->config, f->config, why) == 0 && keeping_check(n, f->config, why) == 0 && bounds_check(n, f->config, why) == 0 ? 0 : -1;
}

static int fresh_make(struct node *n, struct fresh *f, struct problem *why)
{
	f->trust = trust_new(f->config->trust, f->config->n_trust, why);
	if (!f->trust || reload_make_vouching(n, f->config, f->trust, f->secrets, true, true, &f->vouching, why) < 0)
		return -1;
	f->configured = issuance_make(n, f->config, &f->issuing, why) == 0 ? reload_make_registry(f->config, why) : NULL;
	f->world = f->configured ? reload_make_world(n, f->config, f->configured, &f->vouching, f->issuing, &f->roster, why) : NULL;
	f->tls = f->world ? reload_make_tls(n, f->config, why) : NULL;
	if (f->tls && f->config->listen_enrol[0] && !(f->tls_enrol = reload_make_enrol_tls(n, f->config, why)))
		return -1;
	return f->tls ? 0 : -1;
}

/* Swapped in whole; what was is dropped with *f-> */
static void install(struct node *n, struct fresh *f)
{
	struct server_limits limits;
	struct config *old_config = n->config;

	reload_swap_vouching(n, &f->vouching, true);
	trust_unref(n->configured_trust);
	n->configured_trust = f->trust;
	world_unref(n->world);
	n->world = f->world;
	sharing_installed(n, &f->roster);
	registry_unref(n->configured);
	n->configured = f->configured;
	tls_server_unref(n->tls);
	n->tls = f->tls;
	tls_server_unref(n->tls_enrol);
	n->tls_enrol = f->tls_enrol;
	issuing_unref(n->issuing);
	n->issuing = f->issuing;
	n->config = f->config;
	files_are_taken(n, f->mark);
	server_set_tls(n->server, NODE_LISTENER, n->tls);
	server_set_tls(n->server, RPC_LISTENER_ADMIN_TLS, n->tls);
	if (n->tls_enrol)
		server_set_tls(n->server, RPC_LISTENER_ENROL, n->tls_enrol);
	reload_tell_key(n);
	keeping_reload(n);
	limits = node_limits(n, n->config);
	server_set_limits(n->server, &limits);
	census_set_max(n->census, n->config->connections_per_agent);
	census_set_max(n->operators, n->config->connections_per_agent);
	log_open(STDERR_FILENO, n->config->log_level, n->config->log_json);
	reload_spread_world(n);
	reload_begin_vouching(n, &f->vouching);
	if (old_config != n->boot)
		config_free(old_config);
	note(n, NULL);
}

/* When is what was refused tried again by itself? Nobody says twice that a certificate or a list was replaced. 0: when a file changes. */
static int64_t again_ms(const struct fresh *f)
{
	if (gathering_is_late(f->secrets))
		return 1; /* at the next look */
	return f->world ? 0 : AGAIN_MS; /* the key, which comes last, is not shown again: what holds it may lock itself up */
}

static void on_gathered(void *arg)
{
	struct fresh *f = arg;
	struct node *n = f->node;
	struct problem why = {""};

	n->reloading = NULL;
	if (fresh_make(n, f, &why) < 0) {
		files_are_refused(n, f->tried, again_ms(f));
		fresh_drop(f);
		note(n, why.text);
		return;
	}
	install(n, f);
	gathering_free(f->secrets);
	free(f);
}

void reload_drop(struct node *n)
{
	fresh_drop(n->reloading);
	n->reloading = NULL;
}

void reload_run(struct node *n)
{
	struct problem why = {"out of memory"};
	struct fresh *f = calloc(1, sizeof *f);

	reload_drop(n);
	if (f && fresh_read(n, f, &why) == 0) {
		f->node = n;
		f->secrets = gathering_new(n->loop, keeping_secrets(n->keeping), f->config->issuers, f->config->n_issuers, on_gathered, f);
	}
	if (f && f->secrets) {
		n->reloading = f;
		return;
	}
	files_are_refused(n, f ? f->tried : n->files_seen, AGAIN_MS);
	fresh_drop(f);
	note(n, why.text);
}
