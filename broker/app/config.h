/* How is this node to run? Everything that /etc/baton/baton.yaml says, defaults filled in; immutable, swapped whole
 * on reload. The file in deploy/baton.yaml explains each key; the table in config_table.c is the one list of them. */
#ifndef BATON_APP_CONFIG_H
#define BATON_APP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/problem.h"
#include "identity/issuer.h"
#include "identity/peer.h"
#include "net/server.h"
#include "net/tls_provider.h"
#include "registry/registry.h"
#include "store/store.h"

/* An agent of the list, and what it points to. */
struct agent_row {
	struct agent agent;                  /* key is set */
	char spiffe_id[AGENT_ID_MAX + 1];
	char client[AGENT_CLIENT_MAX + 1];
	char call[AGENT_ROUTES_MAX][64], serve[AGENT_ROUTES_MAX][64];
};

/* Texts are never NULL; "" = not set, or off. All live as long as the configuration. */
struct config {
	const char *node;                    /* default: the host's name */
	const char *state_dir;
	uint32_t workers;                    /* 0 = one per core */

	const char *listen_agents;           /* "0.0.0.0:7443" */
	const char *listen_http1;            /* "" = off; always, in this version */
	const char *listen_admin;            /* "" = off */
	const char *listen_admin_socket;     /* "" = off */
	const char *listen_enrol;            /* "" = off */
	const char *listen_metrics;          /* "" = off */

	const char *admin_audience;          /* of operators' tokens; "" = none is taken */

	const char *tls_cert, *tls_key;      /* the key: a file, or a URI (net/keyuri.h) */
	const char *tls_key_file;            /* of tls_key what is a file: the key's, or its PIN's; "" = nothing */
	const struct tls_provider_config *tls_providers;
	size_t n_tls_providers;
	const struct trust_domain_config *trust;
	size_t n_trust;                      /* at least 1 */
	int64_t crl_refresh_ms;              /* lists that are fetched are fetched again after so long at the latest */
	int64_t crl_grace_ms;                /* tls.crl_stale: 0 = deny; it stands in each of `trust` too */
	bool allow_private_fetches;          /* may what is registered have nodes connect to private addresses? */
	const char *secrets_dir;             /* registry.secrets: what registered issuers may be asked with; "" = nothing */

	const char *issuing_cert, *issuing_key; /* of the CA that issues agents' certificates; "" = none does */
	const char *issuing_bundle;          /* what agents verify the broker by */
	int64_t issuing_ttl_ms;

	const struct issuer_rule *issuers;
	size_t n_issuers;

	const char *store_url;               /* "" = a private redis-server under state_dir */
	const char *store_cluster;           /* urls of nodes of a Redis Cluster with commas between, instead of store_url */
	const char *store_sentinels;         /* urls with commas between, instead of store_url */
	const char *store_sentinel_master;   /* the primary's name there */
	const char *store_sentinel_user, *store_sentinel_password_file;
	const char *store_user, *store_password_file;
	const char *store_ca, *store_cert, *store_key; /* rediss:// */
	const char *store_keys_file;         /* sealing keys; default state_dir/seal.keys */
	bool store_fsync_always;
	uint32_t store_replicas;             /* that must have what is acknowledged */
	int64_t store_timeout_ms;
	int64_t store_keep_finished_ms;      /* how long a finished handoff can still be read */
	uint64_t store_max_memory;           /* bytes, of the private server */
	int64_t store_hold_ms;               /* accepted so long before a fail-over under a key: held until its sender confirms it */
	uint64_t store_max_lost;             /* handoffs of a route: more gone than this, and it opens paused */

	const char *profiles;                /* a folder */
	const char *keeper_user;             /* "" = the broker's */
	const char *keeper_record;           /* default state_dir/keeper/record.jsonl */
	const char *assertion_key_file;      /* default state_dir/assertion.key */
	const char *assertion_issuer;        /* default "baton:" + node */

	int64_t envelope_window_ms, clock_skew_ms;
	uint64_t max_payload;                /* bytes */

	struct server_limits server;         /* of every listener for agents */
	uint32_t connections_per_agent;
	uint64_t buffered_per_connection;    /* bytes each way */
	uint32_t rate_per_agent;             /* submits a second; this and the next, but for a route's: 0 = none */
	uint64_t waiting_per_route, waiting_bytes, waiting_per_sender, waiting_bytes_per_sender, waiting_per_tenant, waiting_bytes_per_tenant, card_bytes_per_tenant, agents_per_tenant, revocations_per_tenant;

	const char *audit_file;
	bool audit_payload_hash;             /* audit.payloads: hash */
	double trace_sample;                 /* 0..1 */
	enum log_level log_level;
	bool log_json;

	bool hardening_seccomp, hardening_landlock;

	const struct agent_row *agents;
	size_t n_agents;
};

/* Owned, or NULL with why: "file:line:column: what; what to do". Every file and folder that the configuration names
 * and that must be there is looked for. No secret is read, and none is quoted in an error. */
struct config *config_load(const char *path, struct problem *why);
void config_free(struct config *c);

/* Reads every *.json of the profiles folder, in the order of their names, and makes the directory of agents and
 * routes. One ref, or NULL with why (file and member). *warn: controls that profiles ask for and this version does
 * not carry out, "" when there are none. */
struct registry *config_registry(const struct config *c, struct problem *why, struct problem *warn);

/* Calls fn for each file and folder that must be there and that the broker reads, with its key ("tls.trust[0].bundle"), until it answers otherwise than 0. Its answer. */
typedef int config_file_visitor(void *arg, const char *key, const char *path, bool folder);
int config_each_file(const struct config *c, config_file_visitor *fn, void *arg);
/* The same, for those that the keeper reads. */
int config_each_secret(const struct config *c, config_file_visitor *fn, void *arg);

/* Whether both want the same providers, in the same way. */
bool config_same_providers(const struct config *a, const struct config *b);

struct store_slot_limits config_slot_limits(const struct config *c);

#endif
