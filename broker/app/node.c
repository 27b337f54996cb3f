/* What is one running batond? The parts in the order in which they depend on each other: opened by node_new(), served by node_run() on
 * the control loop, closed in reverse by node_free(). A worker's parts are worker.c's, a new configuration reload.c's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/local.h"
#include "observe/audit_search.h"

#define DRAIN_MS 10000
#define CONTROL_MS 1000
#define DESCRIPTORS_KEPT 64 /* for the store, the audit, the files of a reload, keys that are fetched, pages */
#define DESCRIPTORS_A_WORKER 8
#define FOLDER_WAIT_MS (DRAIN_MS + 20000) /* for the node that is replaced, and its Redis */
#define OPERATORS_MAX 128 /* connections of listen.admin, beside those of agents */
#define STRANGERS_MAX 128 /* of listen.enrol */

static unsigned worker_count(const struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = c->workers ? c->workers : cores > 0 ? (unsigned)cores : 1;

	return n < SHARED_WORKERS_MAX ? n : SHARED_WORKERS_MAX;
}

/* What lies in it is one node's: another one that wrote there as well would take away what is revoked, or owed to the audit. */
static int open_folder(struct node *n, struct problem *why)
{
	const char *folder = n->config->state_dir;
	char path[1200];
	bool taken;

	if (file_make_dir(folder, 0700, why) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/lock", folder);
	n->folder_fd = file_lock(path, 0, &taken, why);
	if (taken) {
		log_event(LOG_WARN, "node.waits", F_STR("state_dir", folder), F_STR("why", "another batond uses it"), F_INT("up_to_ms", FOLDER_WAIT_MS));
		n->folder_fd = file_lock(path, FOLDER_WAIT_MS, &taken, why);
	}
	if (n->folder_fd >= 0)
		return 0;
	return taken ? problem_set(why, "state_dir: another batond uses %s, and has not ended within %d s: stop it, or give each node a folder of its own", folder, FOLDER_WAIT_MS / 1000)
		     : problem_prefix(why, "state_dir");
}

/* On a thread of its own. */
static void on_redis_lost(void *arg)
{
	struct node *n = arg;

	atomic_store(&n->redis_lost, true);
	loop_stop(n->loop);
}

/* Forks what supervises the private server: it shall have no secret of ours, and later nothing can be forked. */
static int open_private_store(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	char dir[1200];
	const struct redis_private_config p = {.dir = dir, .fsync_always = c->store_fsync_always, .max_memory = c->store_max_memory,
		.seccomp = c->hardening_seccomp, .landlock = c->hardening_landlock, .lost = on_redis_lost, .arg = n};

	if (c->store_url[0] || c->store_sentinels[0] || c->store_cluster[0]) {
		snprintf(n->redis_url, sizeof n->redis_url, "%s", c->store_url);
		return 0;
	}
	snprintf(dir, sizeof dir, "%s/redis", c->state_dir);
	n->redis = redis_private_new(&p, why);
	if (!n->redis)
		return -1;
	snprintf(n->redis_url, sizeof n->redis_url, "%s", redis_private_url(n->redis));
	return 0;
}

static int open_secrets(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	uint64_t run;

	random_bytes(&run, sizeof run);
	snprintf(n->run, sizeof n->run, "r%016llx", (unsigned long long)run);
	if (seal_keys_create(c->store_keys_file, why) < 0 || !(n->seal = seal_keys_load(c->store_keys_file, why)))
		return -1;
	return 0;
}

static void on_connection(void *arg, const char *listener, int delta)
{
	struct node *n = arg;

	metrics_add(n->metrics, METRIC_CONNECTIONS, listener, NULL, delta);
	if (strcmp(listener, NODE_LISTENER) == 0)
		atomic_fetch_add(&n->peers, delta);
}

static void on_handshake(void *arg, const char *listener, const char *result, const char *remote)
{
	struct node *n = arg;
	int64_t others;

	metrics_add(n->metrics, METRIC_HANDSHAKES, listener, result, 1);
	if (strcmp(result, "ok") != 0 && (others = refusals_note(&n->refusals)) >= 0)
		log_event(LOG_INFO, "peer.refused", F_STR("listener", listener), F_STR("why", result), F_STR("remote", remote),
			  F_INT("unlogged", others));
}

static void on_closed(void *arg, const char *listener, const char *why)
{
	struct node *n = arg;

	metrics_add(n->metrics, METRIC_CONNECTIONS_CLOSED, listener, why, 1);
}

struct server_limits node_limits(const struct node *n, const struct config *c)
{
	rlim_t a_worker = DESCRIPTORS_A_WORKER + (c->store_cluster[0] ? STORE_PRIMARIES_MAX : 0);
	rlim_t kept = DESCRIPTORS_KEPT + a_worker * n->n_workers + (c->listen_admin[0] ? OPERATORS_MAX : 0) + (c->listen_enrol[0] ? STRANGERS_MAX : 0), most;
	struct server_limits l = c->server;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return l;
	most = r.rlim_cur > 2 * kept ? r.rlim_cur - kept : r.rlim_cur / 2;
	if (l.connections > most) {
		l.connections = (uint32_t)most;
		log_event(LOG_WARN, "limits.lowered", F_STR("key", "limits.connections"), F_INT("to", l.connections),
			  F_STR("remedy", "more need more descriptors: raise LimitNOFILE, or lower the key"));
	}
	return l;
}

/* Whoever the kernel vouches for: there is no certificate that could end. */
static const struct identity_peer local_operator = {.not_after_ms = INT64_MAX};

/* Before this process is confined to its folders. */
static int open_admin(struct node *n, struct problem *why)
{
	const char *path = n->config->listen_admin_socket;

	if (!path[0])
		return 0;
	n->admin_fd = local_listen(path, why);
	return n->admin_fd < 0 ? problem_prefix(why, "listen.admin_socket") : 0;
}

static int serve_admin(struct node *n, struct problem *why)
{
	int fd = n->admin_fd;

	n->admin_fd = -1;
	return fd < 0 ? 0 : server_listen_local(n->server, RPC_LISTENER_ADMIN, fd, &local_operator, why);
}

/* Agents are many: what they may have of connections is not operators', who have their own. */
static int serve_operators(struct node *n, struct problem *why)
{
	const char *address = n->config->listen_admin;

	if (!address[0])
		return 0;
	if (server_listen(n->server, RPC_LISTENER_ADMIN_TLS, address, n->tls, why) < 0)
		return problem_prefix(why, "listen.admin");
	server_reserve(n->server, RPC_LISTENER_ADMIN_TLS, OPERATORS_MAX);
	return 0;
}

static int serve_strangers(struct node *n, struct problem *why)
{
	const char *address = n->config->listen_enrol;

	if (!address[0])
		return 0;
	n->tls_enrol = reload_make_enrol_tls(n, n->config, why);
	if (!n->tls_enrol || server_listen(n->server, RPC_LISTENER_ENROL, address, n->tls_enrol, why) < 0)
		return problem_prefix(why, "listen.enrol");
	server_reserve(n->server, RPC_LISTENER_ENROL, STRANGERS_MAX);
	return 0;
}

static int open_server(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	struct server_config s = {.workers = n->n_workers, .limits = node_limits(n, c),
		.observer = {.on_connection = on_connection, .on_handshake = on_handshake, .on_closed = on_closed, .arg = n},
		.worker_start = node_worker_start, .worker_stop = node_worker_stop, .admit = node_worker_admit, .rechecked = node_worker_rechecked, .arg = n};

	n->server = server_new(&s, why);
	if (!n->server)
		return -1;
	if (server_listen(n->server, NODE_LISTENER, c->listen_agents, n->tls, why) < 0 || serve_operators(n, why) < 0 || serve_strangers(n, why) < 0)
		return -1;
	return serve_admin(n, why);
}

static struct trust *trust_now(void *arg)
{
	return trust_ref(((struct node *)arg)->trust); /* this thread alone replaces it */
}

static int open_certstatus(struct node *n, struct problem *why)
{
	const struct certstatus_config s = {.loop = n->loop, .metrics = n->metrics, .audit = n->control_audit, .state_dir = n->boot->state_dir, .trust = trust_now, .on_answered = node_workers_answered,
		.on_fallen = node_workers_fallen, .arg = n};

	n->certstatus = certstatus_new(&s);
	return n->certstatus ? 0 : problem_set(why, "out of memory");
}

/* Within the folders that they are to do with, and before there are threads. */
static int open_providers(struct node *n, struct problem *why)
{
	const struct config *c = n->config;

	if (c->n_tls_providers)
		n->providers = tls_providers_open(c->tls_providers, c->n_tls_providers, why);
	return n->providers || !c->n_tls_providers ? 0 : -1;
}

/* ---- secrets of the configured issuers ---- */

static void on_gathered(void *arg)
{
	loop_stop(((struct node *)arg)->loop);
}

/* Nothing else is on the loop yet. */
static struct gathering *gather(struct node *n, struct problem *why)
{
	struct gathering *g = gathering_new(n->loop, keeping_secrets(n->keeping), n->config->issuers, n->config->n_issuers, on_gathered, n);

	if (!g) {
		problem_set(why, "out of memory");
		return NULL;
	}
	loop_run(n->loop);
	if (!n->keeper_lost)
		return g;
	gathering_free(g);
	problem_set(why, "the keeper of keys has ended");
	return NULL;
}

static int open_vouching(struct node *n, struct vouching *v, struct problem *why)
{
	struct gathering *g = gather(n, why);
	int rc = g ? reload_make_vouching(n, n->config, n->configured_trust, g, true, true, v, why) : -1;

	gathering_free(g);
	return rc;
}

static int open_parts(struct node *n, struct problem *why)
{
	struct roster roster;
	struct vouching v = {0};
	struct config *c = n->config;

	if (open_folder(n, why) < 0 || open_private_store(n, why) < 0 || keeping_open(n, why) < 0 ||
	    keeping_serve(n, why) < 0 || open_secrets(n, why) < 0 || open_admin(n, why) < 0 || bounds_files(n, why) < 0 || open_providers(n, why) < 0 || marker_open(n, why) < 0)
		return -1;
	n->audit = audit_open(c->audit_file, c->store_fsync_always ? AUDIT_SYNC_ALWAYS : AUDIT_SYNC_EVERYSEC, c->node, why);
	if (!n->audit)
		return -1;
	audit_set_metrics(n->audit, n->metrics);
	n->control_audit = audit_lane_new(n->audit, NULL, NULL);
	n->resources = resources_new();
	if (!(n->audit_reader = audit_reader_new(n->audit, why)))
		return -1;
	if (!n->control_audit || !n->resources || kept_open(n, why) < 0 || !(n->configured_trust = trust_new(c->trust, c->n_trust, why)))
		return -1;
	if (open_certstatus(n, why) < 0)
		return -1;
	if (open_vouching(n, &v, why) < 0) {
		vouching_clear(&v);
		return -1;
	}
	n->tls = reload_make_tls(n, c, why);
	n->configured = n->tls && issuance_make(n, c, &n->issuing, why) == 0 ? reload_make_registry(c, why) : NULL;
	n->world = n->configured ? reload_make_world(n, c, n->configured, &v, n->issuing, &roster, why) : NULL;
	reload_swap_vouching(n, &v, true);
	vouching_clear(&v);
	if (!n->world)
		return -1;
	if (c->listen_metrics[0] && !(n->pages = pages_listen(n->loop, c->listen_metrics, n->metrics, n->health, why)))
		return -1;
	if ((n->redis && redis_private_start(n->redis, why) < 0) || open_server(n, why) < 0 || sharing_open(n, why) < 0)
		return -1;
	if (bounds_calls(n, why) < 0)
		return -1;
	return tls_server_prove(n->tls, why) < 0 ? problem_prefix(why, "tls.key") : 0; /* with no more rights than in handshakes */
}

struct node *node_new(struct config *c, const char *config_path, const char *version, struct problem *why)
{
	struct node *n = calloc(1, sizeof *n);

	if (!n) {
		config_free(c);
		problem_set(why, "out of memory");
		return NULL;
	}
	n->config = n->boot = c;
	n->config_path = strdup(config_path);
	n->version = version;
	n->started_at_ms = clock_unix_ms();
	n->n_workers = worker_count(c);
	n->expiry_looked_ms = INT64_MIN;
	n->admin_fd = n->folder_fd = -1;
	pthread_mutex_init(&n->feed_lock, NULL);
	pthread_mutex_init(&n->trust_lock, NULL);
	n->loop = loop_new();
	n->metrics = metrics_new();
	n->health = health_new(clock_unix_ms());
	n->shared = shared_new();
	n->rates = rates_new();
	n->answers = answers_new();
	n->tenants = tenants_new();
	n->fleet = fleet_new();
	n->census = census_new(c->connections_per_agent);
	n->operators = census_new(c->connections_per_agent);
	refusals_init(&n->refusals);
	if (!n->config_path || !n->loop || !n->metrics || !n->health || !n->shared || !n->rates || !n->answers || !n->tenants || !n->fleet || !n->census || !n->operators) {
		problem_set(why, "out of memory");
		node_free(n);
		return NULL;
	}
	files_are_taken(n, files_mark(c)); /* before any of them is read */
	if (open_parts(n, why) < 0) {
		node_free(n);
		return NULL;
	}
	return n;
}

/* ---- the control loop ---- */

static void control(void *arg)
{
	struct node *n = arg;

	expiry_look(n);
	sharing_look(n);
	forget_look(n);
	keyfeed_look(n->feed);
	keeping_look(n->keeping);
	introspector_look(n->introspector);
	files_look(n);
	marker_look(n);
	health_set(n->health, HEALTH_AUDIT, audit_healthy(n->audit), "the audit file cannot be written: free space or mend its folder",
		   clock_unix_ms());
	loop_timer_set(n->timer, CONTROL_MS);
}

static void on_signal(void *arg, int signo)
{
	struct node *n = arg;

	if (signo == SIGHUP) {
		struct problem why = {""};

		if (audit_reopen(n->audit, &why) < 0)
			log_event(LOG_ERROR, "audit.reopen_failed", F_STR("why", why.text));
		reload_run(n);
	} else {
		loop_stop(n->loop);
	}
}

static void note(struct node *n, const char *event)
{
	struct audit_record r = {.event = event, .at_ms = clock_unix_ms(), .message = slice_str(n->version)};

	audit_put(n->control_audit, &r);
	audit_flush(n->control_audit);
}

static void drain_worker(void *arg, unsigned i)
{
	struct node *n = arg;

	rpc_worker_drain(n->rpc[i]);
}

static void drain(struct node *n)
{
	health_set(n->health, HEALTH_DRAINING, false, "this node is going away", clock_unix_ms());
	reload_drop(n);
	log_event(LOG_INFO, "node.draining", F_INT("up_to_ms", DRAIN_MS));
	server_each_worker(n->server, drain_worker, n);
	server_drain(n->server, DRAIN_MS);
}

int node_run(struct node *n)
{
	struct problem why = {""};

	signal(SIGPIPE, SIG_IGN);
	if (loop_signal(n->loop, SIGTERM, on_signal, n) < 0 || loop_signal(n->loop, SIGINT, on_signal, n) < 0 ||
	    loop_signal(n->loop, SIGHUP, on_signal, n) < 0 || !(n->timer = loop_timer_new(n->loop, control, n))) {
		log_event(LOG_ERROR, "node.failed", F_STR("why", "signals cannot be handled"));
		return 1;
	}
	if (server_start(n->server, &why) < 0) {
		log_event(LOG_ERROR, "node.failed", F_STR("why", why.text));
		return 1;
	}
	health_set(n->health, HEALTH_LISTENERS, true, "", clock_unix_ms());
	health_set(n->health, HEALTH_DRAINING, true, "", clock_unix_ms());
	metrics_set(n->metrics, METRIC_BUILD_INFO, n->version, NULL, 1);
	note(n, "node.started");
	control(n);
	keyfeed_begin(n->feed);
	crlfeed_begin(n->crls, NULL);
	log_event(LOG_INFO, "node.started", F_STR("node", n->config->node), F_STR("version", n->version),
		  F_INT("agents_port", server_port(n->server, NODE_LISTENER)), F_INT("workers", n->n_workers),
		  F_STR("certificate", tls_server_fingerprint(n->tls)));
	reload_tell_key(n);
	if (n->config->listen_enrol[0])
		log_event(LOG_INFO, "enrol.served", F_INT("enrol_port", server_port(n->server, RPC_LISTENER_ENROL)));
	if (n->config->listen_admin[0])
		log_event(LOG_INFO, "admin.served", F_INT("admin_port", server_port(n->server, RPC_LISTENER_ADMIN_TLS)));
	loop_run(n->loop);
	if (n->conflict)
		log_event(LOG_ERROR, "node.failed", F_STR("why", "something that stands in the configuration is registered too: registry.not_applied says what, and what to do"));
	if (atomic_load(&n->redis_lost))
		log_event(LOG_ERROR, "node.failed", F_STR("why", "nobody supervises redis-server any more, and it cannot be started from here: start batond again"));
	if (n->keeper_lost)
		log_event(LOG_ERROR, "node.failed", F_STR("why", "nobody holds the keys of assertions and certificates, and the secrets, any more, and no process can be started from here: start batond again"));
	drain(n);
	sharing_leave(n);
	note(n, "node.stopped");
	n->clean = true;
	return atomic_load(&n->redis_lost) || n->conflict || n->keeper_lost;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	if (n->server)
		server_free(n->server);
	sharing_close(n);
	reload_drop(n);
	if (n->admin_fd >= 0)
		close(n->admin_fd);
	redis_private_stop(n->redis);
	pages_free(n->pages);
	keyfeed_free(n->feed);
	crlfeed_free(n->crls);
	introspector_free(n->introspector);
	keeping_close(n);
	certstatus_free(n->certstatus);
	if (n->timer)
		loop_timer_free(n->timer);
	tls_server_unref(n->tls);
	tls_server_unref(n->tls_enrol);
	tls_providers_close(n->providers);
	issuing_unref(n->issuing);
	world_unref(n->world);
	registry_unref(n->configured);
	trust_unref(n->trust);
	trust_unref(n->configured_trust);
	audit_reader_free(n->audit_reader);
	if (n->control_audit)
		audit_lane_free(n->control_audit);
	if (n->audit)
		audit_close(n->audit);
	if (n->clean && !atomic_load(&n->owing) && reconcile_settled(n->reconcile)) /* else the next run looks what is missing in the audit */
		unlink(n->marker);
	if (n->folder_fd >= 0)
		close(n->folder_fd);
	reconcile_free(n->reconcile);
	seal_keys_free(n->seal);
	census_free(n->census);
	census_free(n->operators);
	refusals_clear(&n->refusals);
	shared_free(n->shared);
	rates_free(n->rates);
	answers_free(n->answers);
	tenants_free(n->tenants);
	fleet_free(n->fleet);
	if (n->loop)
		loop_free(n->loop);
	metrics_free(n->metrics);
	health_free(n->health);
	pthread_mutex_destroy(&n->feed_lock);
	pthread_mutex_destroy(&n->trust_lock);
	if (n->config != n->boot)
		config_free(n->config);
	config_free(n->boot);
	free(n->config_path);
	free(n);
}
