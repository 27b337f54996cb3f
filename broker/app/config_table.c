/* Which keys has the configuration, of what kind, with what default and bounds? One row a key; deploy/baton.yaml
 * shows them all with their defaults and says what each is for. */
#include <stdio.h>
#include <string.h>

#include "app/config_priv.h"
#include "base/near.h"
#include "base/words.h"
#include "identity/claim.h"
#include "identity/crl.h"
#include "identity/spiffe.h"
#include "rpc/world.h"

/* ---- checks of texts. Where a text could hold a secret, the answer does not quote it ---- */

static bool graphic(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

static const char *check_node(const char *text)
{
	return *text && !node_name_valid(slice_str(text)) ? "a node's name is 1 to 63 letters, digits, dots, hyphens" : NULL;
}

static const char *check_store_url(const char *text)
{
	if (!graphic(text))
		return "the url has a space or a control character";
	if (!strncmp(text, "unix:///", 8))
		return NULL;
	if (strncmp(text, "redis://", 8) && strncmp(text, "rediss://", 9))
		return "redis://host:port, rediss://host:port or unix:///path; \"\" for a private redis-server";
	if (strchr(text, '@'))
		return "a url with user or password is refused. Put the user into store.user, the password into a file "
		       "of mode 0600, and the file's path into store.password_file";
	return strpbrk(text, "?#") ? "the url has a query or fragment: TLS files go to store.ca, store.cert, store.key"
		: NULL;
}

static const char *check_user(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return text[n] || n > 32 || text[0] == '-' ? "a user's name is 1 to 32 letters, digits, dots, hyphens, underscores" : NULL;
}

static const char *check_domain(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-");

	return text[n] || n > 255
		? "a trust domain is lower-case letters, digits, dots, hyphens, underscores: acme.example" : NULL;
}

static const char *check_client(const char *text)
{
	return graphic(text) ? NULL : "a client id has no space or control character";
}

static const char *check_audience(const char *text)
{
	return graphic(text) && strlen(text) <= ADMIN_AUDIENCE_MAX ? NULL : "an audience has at most 255 characters, no space and no control character";
}

static const char *check_spiffe(const char *text)
{
	struct spiffe_id id;

	return spiffe_parse(slice_str(text), &id);
}

/* ---- what is no plain value ---- */

/* A list of urls becomes one text, with commas between. what: a word for one. */
static int read_urls(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to, const char *what, const char *example)
{
	const char **list = to, *wrong;
	char form[80], mixed[80];

	*list = "";
	if (!node)
		return 0;
	if (node->kind != YAML_LIST || node->n > STORE_SEEDS_MAX)
		return config_error(r, node, "%s: a list of at most %d %ss belongs here: [\"%s\"]", shown, STORE_SEEDS_MAX, what, example);
	snprintf(mixed, sizeof mixed, "either all %ss have TLS (rediss://), or none has", what);
	snprintf(form, sizeof form, "a %s is redis://host:port or rediss://host:port", what);
	for (const struct yaml_node *e = node->first; e; e = e->next) {
		wrong = e->kind == YAML_TEXT ? check_store_url(e->text) : "an url belongs here";
		if (!wrong && (!strncmp(e->text, "unix", 4) || strchr(e->text, ',') || strchr(strchr(e->text, ':') + 3, '/')))
			wrong = form;
		if (!wrong && strncmp(e->text, node->first->text, 7))
			wrong = mixed;
		if (wrong)
			return config_error(r, e, "%s: %s", shown, wrong);
		*list = arena_printf(r->arena, "%s%s%s", *list, **list ? "," : "", e->text);
		if (!*list)
			return config_error(r, e, "%s: out of memory", shown);
	}
	return 0;
}

static int read_sentinels(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	return read_urls(r, node, shown, to, "sentinel", "rediss://s1.example.com:26379");
}

static int read_cluster(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	return read_urls(r, node, shown, to, "node", "rediss://r1.example.com:6379");
}

/* deny, or {allow-for: 24h}; as one text, "allow-for: 24h", too. */
static int read_stale(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	static const struct config_row span = {"stale", KIND_DURATION, .size = sizeof(int64_t), .min = 1000, .max = OCSP_STALE_MAX_MS};
	const struct yaml_node *given = yaml_tree_get(node, "allow-for");
	const char *text = node && node->kind == YAML_TEXT ? node->text : "";

	if (!node || !strcmp(text, "deny"))
		return 0;
	if (given && node->n == 1 && given->kind == YAML_TEXT)
		text = given->text;
	else if (!strncmp(text, "allow-for:", 10))
		text += 10 + strspn(text + 10, " ");
	else
		return config_error(r, node, "%s: deny, or {allow-for: 24h}", shown);
	return config_set(r, &span, given ? given : node, shown, text, to);
}

/* Of a trust domain: `to` is all of it. */
static int read_crl_urls(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	static const struct config_texts urls = {CRL_URLS_MAX, "URLs", "[https://pki.acme.example/acme.crl]", "a URL belongs here", crl_url_wrong, "a URL stands in the list twice"};
	struct trust_domain_config *t = to;

	return config_set_texts(r, &urls, node, shown, &t->crl_urls, &t->n_crl_urls);
}

static int check_trust(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	const struct trust_domain_config *t = to;

	if (t->crl_ca_file[0] && !t->n_crl_urls)
		return config_error(r, node, "%s.crl_ca is for crl_urls only", shown);
	if (yaml_tree_get(node, "ocsp") && !t->ocsp_url[0])
		return config_error(r, node, "%s.ocsp.url: name the responder: http://ocsp.acme.example", shown);
	for (const struct trust_domain_config *other = r->config->trust; other < t; other++)
		if (!strcmp(other->domain, t->domain))
			return config_error(r, node,
				"trust domain %s stands in the list twice: put all its CAs into one bundle", t->domain);
	return 0;
}

/* Whether it stands there twice is looked at when all are there. */
static int fill_agent(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	struct agent_row *row = to;
	struct agent *a = &row->agent;

	(void)r;
	(void)shown;
	a->spiffe_id = row->spiffe_id;
	a->client = row->client[0] ? row->client : a->name;
	a->call = row->call;
	a->serve = row->serve;
	if (!yaml_tree_get(node, "may_originate"))
		a->may_originate = a->n_call > 0;
	a->key = store_agent_key(a->tenant, a->name);
	return 0;
}

/* ---- the rows ---- */

#define C(field) .offset = offsetof(struct config, field)
#define C_NUM(field) C(field), .size = sizeof(((struct config *)0)->field)
#define I(field) .offset = offsetof(struct issuer_rule, field), .size = sizeof(((struct issuer_rule *)0)->field)
#define T(field) .offset = offsetof(struct trust_domain_config, field)
#define P(field) .offset = offsetof(struct tls_provider_config, field)
#define A(field) .offset = offsetof(struct agent_row, field), .size = sizeof(((struct agent_row *)0)->field)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NOT_YET "It is not available in this version"

const struct config_row config_rows[] = {
	{"version", KIND_ONLY, .def = "1", .note = "This batond reads version 1"},
	{"node", KIND_TEXT, C(node), .def = "", .check = check_node},
	{"state_dir", KIND_PATH, C(state_dir), .def = "/var/lib/baton", .required = true},
	{"workers", KIND_NUMBER, C_NUM(workers), .def = "0", .max = 64},

	{.path = "listen", .kind = KIND_SECTION},
	{"listen.agents", KIND_LISTEN, C(listen_agents), .def = "0.0.0.0:7443", .min = 1},
	{"listen.http1", KIND_ONLY, .def = "off", .note = NOT_YET},
	{"listen.admin", KIND_LISTEN, C(listen_admin), .def = "127.0.0.1:7444"},
	{"listen.admin_socket", KIND_PATH, C(listen_admin_socket), .def = "/run/baton/admin.sock"},
	{"listen.enrol", KIND_LISTEN, C(listen_enrol), .def = "off"},
	{"listen.metrics", KIND_LISTEN, C(listen_metrics), .def = "127.0.0.1:9464"},

	{.path = "admin", .kind = KIND_SECTION},
	{"admin.audience", KIND_TEXT, C(admin_audience), .def = "", .check = check_audience},

	{.path = "tls", .kind = KIND_SECTION},
	{"tls.cert", KIND_FILE, C(tls_cert), .required = true,
	 .note = "Name the server's certificate chain, PEM, leaf first"},
	{"tls.key", KIND_KEY, C(tls_key), .required = true,
	 .note = "Name the private key of tls.cert, PEM, mode 0600"},
	{"tls.providers", KIND_LIST, C(tls_providers), .size = sizeof(struct tls_provider_config), .count = offsetof(struct config, n_tls_providers),
	 .max = TLS_PROVIDERS_MAX, .custom = config_provider_check},
	{"tls.providers[].name", KIND_NAME, P(name), .size = sizeof ((struct tls_provider_config *)0)->name, .required = true,
	 .note = "It is what OpenSSL calls the provider: pkcs11"},
	{"tls.providers[].module", KIND_FILE, P(module), .def = ""},
	{"tls.providers[].parameters", KIND_CUSTOM, P(parameters), .custom = config_provider_parameters},
	{"tls.providers[].environment", KIND_CUSTOM, P(environment), .custom = config_provider_environment},
	{"tls.providers[].reads", KIND_CUSTOM, P(reads), .custom = config_provider_paths},
	{"tls.providers[].writes", KIND_CUSTOM, P(writes), .custom = config_provider_paths},
	{"tls.trust", KIND_LIST, C(trust), .size = sizeof(struct trust_domain_config),
	 .count = offsetof(struct config, n_trust),
	 .required = true, .min = 1, .max = 64, .custom = check_trust,
	 .note = "List a trust domain and its CA bundle: - {domain: acme.example, bundle: /etc/baton/trust/acme.pem}"},
	{"tls.trust[].domain", KIND_TEXT, T(domain), .required = true, .check = check_domain,
	 .note = "Name the trust domain: acme.example"},
	{"tls.trust[].bundle", KIND_FILE, T(bundle_file), .required = true,
	 .note = "Name the file of its CA certificates, PEM"},
	{"tls.trust[].crl", KIND_FILE, T(crl_file), .def = ""},
	{"tls.trust[].crl_urls", KIND_CUSTOM, .custom = read_crl_urls},
	{"tls.trust[].crl_ca", KIND_FILE, T(crl_ca_file), .def = ""},
	{"tls.trust[].crl_allow_private", KIND_BOOL, T(crl_allow_private), .def = "false"},
	{.path = "tls.trust[].ocsp", .kind = KIND_SECTION},
	{"tls.trust[].ocsp.url", KIND_TEXT, T(ocsp_url), .def = "", .check = crl_url_wrong},
	{"tls.trust[].ocsp.ca", KIND_FILE, T(ocsp_ca_file), .def = ""},
	{"tls.trust[].ocsp.allow_private", KIND_BOOL, T(ocsp_allow_private), .def = "false"},
	{"tls.trust[].ocsp.cert_id", KIND_CHOICE, T(ocsp_digest), .def = "sha256", .choices = "sha256 sha1"},
	{"tls.trust[].ocsp.nonce", KIND_CHOICE, T(ocsp_nonce), .def = "optional", .choices = "optional required"},
	{"tls.trust[].ocsp.max_age", KIND_DURATION, T(ocsp_max_age_ms), .size = sizeof(int64_t), .def = "10m", .min = OCSP_AGE_MIN_MS, .max = OCSP_AGE_MAX_MS},
	{"tls.trust[].ocsp.stale", KIND_CUSTOM, T(ocsp_grace_ms), .custom = read_stale},
	{"tls.crl_refresh", KIND_DURATION, C_NUM(crl_refresh_ms), .def = "10m", .min = SECOND, .max = 7 * DAY},
	{"tls.crl_stale", KIND_CUSTOM, C(crl_grace_ms), .custom = read_stale},

	{.path = "registry", .kind = KIND_SECTION},
	{"registry.allow_private_fetches", KIND_BOOL, C(allow_private_fetches), .def = "false"},
	{"registry.secrets", KIND_FOLDER, C(secrets_dir), .def = ""},

	{.path = "issuing", .kind = KIND_SECTION},
	{"issuing.cert", KIND_PATH, C(issuing_cert), .def = ""},
	{"issuing.key", KIND_PATH, C(issuing_key), .def = ""},
	{"issuing.bundle", KIND_FILE, C(issuing_bundle), .def = ""},
	{"issuing.ttl", KIND_DURATION, C(issuing_ttl_ms), .def = "8h", .min = 30 * SECOND, .max = DAY},

	{"issuers", KIND_LIST, C(issuers), .size = sizeof(struct issuer_rule),
	 .count = offsetof(struct config, n_issuers), .max = 64, .custom = config_issuer_settle,
	 .note = "List who may issue access tokens: name, url, tenants; or leave it out, and register them: baton issuer add"},
	{"issuers[].name", KIND_NAME, I(name), .required = true, .note = "Give it a name"},
	{"issuers[].url", KIND_TEXT, I(url), .required = true, .check = issuer_url_wrong,
	 .note = "It is what `iss` must be in a token, to the byte: https://login.acme.example"},
	{"issuers[].kind", KIND_CHOICE, I(claims.kind), .def = "oidc", .choices = "oidc jwt-svid"},
	{"issuers[].trust_domain", KIND_TEXT, I(claims.trust_domain), .def = "", .check = check_domain},
	{"issuers[].jwks_file", KIND_FILE, I(jwks_file), .def = ""},
	{"issuers[].tenants", KIND_NAMES, .offset = offsetof(struct issuer_rule, tenants),
	 .count = offsetof(struct issuer_rule, n_tenants),
	 .required = true, .min = 1, .max = ISSUER_TENANTS_MAX, .note = "List the tenants that it speaks for: [acme]"},
	{"issuers[].audiences", KIND_CUSTOM, .custom = config_issuer_audiences},
	{"issuers[].algorithms", KIND_CUSTOM, .custom = config_issuer_algorithms},
	{"issuers[].binding", KIND_SWITCH, I(binding), .def = "certificate", .choices = "certificate none"},
	{"issuers[].max_lifetime", KIND_DURATION, I(max_lifetime_ms), .def = "1h", .min = ISSUER_LIFETIME_MIN_MS, .max = ISSUER_LIFETIME_MAX_MS},
	{"issuers[].keys_refresh", KIND_DURATION, I(keys_refresh_ms), .def = "5m", .min = ISSUER_REFRESH_MIN_MS, .max = ISSUER_REFRESH_MAX_MS},
	{"issuers[].keys_stale", KIND_DURATION, I(keys_stale_ms), .def = "15m", .min = ISSUER_STALE_MIN_MS, .max = ISSUER_STALE_MAX_MS},
	/* typ and claims: what is not set is as the dialect has it. */
	{"issuers[].dialect", KIND_CHOICE, I(claims.dialect), .def = "standard", .choices = "standard entra okta keycloak auth0"},
	{"issuers[].typ", KIND_CHOICE, I(claims.typ), .choices = "at+jwt jwt"},
	{.path = "issuers[].claims", .kind = KIND_SECTION},
	{"issuers[].claims.tenant", KIND_TEXT, I(claims.tenant), .check = claim_name_wrong},
	{"issuers[].claims.client", KIND_CUSTOM, I(claims.client), .custom = config_issuer_names},
	{"issuers[].claims.scope", KIND_CUSTOM, I(claims.scope), .custom = config_issuer_names},
	{"issuers[].claims.jti", KIND_CUSTOM, I(claims.jti), .custom = config_issuer_names},
	{"issuers[].claims.user", KIND_TEXT, I(claims.user), .check = claim_name_wrong},
	{"issuers[].claims.service", KIND_TEXT, I(claims.service), .check = claim_name_wrong},
	{"issuers[].claims.tenant_values", KIND_CUSTOM, .custom = config_issuer_tenant_values},
	{.path = "issuers[].introspection", .kind = KIND_SECTION},
	{"issuers[].introspection.url", KIND_TEXT, I(introspection.url), .def = ""},
	{"issuers[].introspection.client_id", KIND_TEXT, I(introspection.client_id), .def = "", .check = check_client},
	{"issuers[].introspection.secret_file", KIND_SECRET, I(introspection.secret_file), .def = ""},
	{"issuers[].introspection.client_cert", KIND_FILE, I(introspection.cert_file), .def = ""},
	{"issuers[].introspection.client_key", KIND_FILE, I(introspection.key_file), .def = ""},
	{"issuers[].introspection.cache", KIND_DURATION, I(introspection.cache_ms), .def = "60s", .min = INTROSPECTION_CACHE_MIN_MS, .max = INTROSPECTION_CACHE_MAX_MS},
	{"issuers[].ca_file", KIND_FILE, I(ca_file), .def = ""},
	{"issuers[].allow_private", KIND_BOOL, I(allow_private), .def = "false"},

	{.path = "store", .kind = KIND_SECTION},
	{"store.url", KIND_TEXT, C(store_url), .def = "", .check = check_store_url},
	{"store.cluster", KIND_CUSTOM, C(store_cluster), .custom = read_cluster},
	{"store.sentinels", KIND_CUSTOM, C(store_sentinels), .custom = read_sentinels},
	{"store.sentinel_master", KIND_TEXT, C(store_sentinel_master), .def = "", .check = check_client},
	{"store.sentinel_user", KIND_TEXT, C(store_sentinel_user), .def = "", .check = check_client},
	{"store.sentinel_password_file", KIND_SECRET, C(store_sentinel_password_file), .def = ""},
	{"store.user", KIND_TEXT, C(store_user), .def = "", .check = check_client},
	{"store.password_file", KIND_SECRET, C(store_password_file), .def = ""},
	{"store.ca", KIND_FILE, C(store_ca), .def = ""},
	{"store.cert", KIND_FILE, C(store_cert), .def = ""},
	{"store.key", KIND_FILE, C(store_key), .def = ""},
	{"store.keys_file", KIND_PATH, C(store_keys_file), .def = ""},
	{"store.fsync", KIND_SWITCH, C(store_fsync_always), .def = "always", .choices = "always everysec"},
	{"store.replicas", KIND_NUMBER, C_NUM(store_replicas), .def = "0", .max = 8},
	{"store.timeout", KIND_DURATION, C(store_timeout_ms), .def = "2s", .min = 50, .max = MINUTE},
	{"store.keep_finished", KIND_DURATION, C(store_keep_finished_ms), .def = "24h", .min = SECOND,
	 .max = 366 * DAY},
	{"store.max_memory", KIND_SIZE, C_NUM(store_max_memory), .def = "1GiB", .min = 64 * MIB, .max = 1024 * GIB},
	{"store.max_lost", KIND_NUMBER, C_NUM(store_max_lost), .def = "100", .max = 1000000000},
	{"store.hold_after_failover", KIND_DURATION, C(store_hold_ms), .def = "30s", .max = 366 * DAY},

	{"profiles", KIND_FOLDER, C(profiles), .def = "/etc/baton/profiles", .required = true},

	{.path = "keeper", .kind = KIND_SECTION},
	{"keeper.user", KIND_TEXT, C(keeper_user), .def = "", .check = check_user},
	{"keeper.record", KIND_PATH, C(keeper_record), .def = ""},

	{.path = "assertion", .kind = KIND_SECTION},
	{"assertion.key_file", KIND_PATH, C(assertion_key_file), .def = ""},
	{"assertion.issuer", KIND_TEXT, C(assertion_issuer), .def = "", .check = check_client},

	{.path = "envelope", .kind = KIND_SECTION},
	{"envelope.window", KIND_DURATION, C(envelope_window_ms), .def = "5m", .min = SECOND, .max = 5 * MINUTE},
	{"envelope.clock_skew", KIND_DURATION, C(clock_skew_ms), .def = "30s", .max = MINUTE},
	{"envelope.max_payload", KIND_SIZE, C_NUM(max_payload), .def = "1MiB", .min = 1, .max = 16 * MIB},

	{.path = "limits", .kind = KIND_SECTION},
	{"limits.connections", KIND_NUMBER, C_NUM(server.connections), .def = "20000", .min = 1, .max = 1000000},
	{"limits.connections_per_source", KIND_NUMBER, C_NUM(server.connections_per_source), .def = "4096", .min = 1,
	 .max = 1000000},
	{"limits.connections_per_source_per_s", KIND_NUMBER, C_NUM(server.connections_per_source_per_s), .def = "250",
	 .min = 1, .max = 1000000},
	{"limits.connections_per_agent", KIND_NUMBER, C_NUM(connections_per_agent), .def = "16", .min = 1,
	 .max = 100000},
	{"limits.streams_per_connection", KIND_NUMBER, C_NUM(server.h2.max_streams), .def = "128", .min = 1,
	 .max = 10000},
	{"limits.buffered_per_connection", KIND_SIZE, C_NUM(buffered_per_connection), .def = "64MiB", .min = MIB,
	 .max = GIB},
	{"limits.handshakes_per_s", KIND_NUMBER, C_NUM(server.handshakes_per_s), .def = "500", .min = 1, .max = 1000000},
	{"limits.handshakes_open", KIND_NUMBER, C_NUM(server.handshakes_open), .def = "1024", .min = 1, .max = 1000000},
	{"limits.handshakes_open_per_source", KIND_NUMBER, C_NUM(server.handshakes_open_per_source), .def = "256",
	 .min = 1, .max = 1000000},
	{"limits.handshake_timeout", KIND_DURATION, C_NUM(server.handshake_ms), .def = "10s", .min = 100, .max = HOUR},
	{"limits.preface_timeout", KIND_DURATION, C_NUM(server.preface_ms), .def = "5s", .min = 100, .max = HOUR},
	{"limits.headers_timeout", KIND_DURATION, C_NUM(server.headers_ms), .def = "10s", .min = 100, .max = HOUR},
	{"limits.message_timeout", KIND_DURATION, C_NUM(server.message_ms), .def = "60s", .min = 100, .max = HOUR},
	{"limits.idle_timeout", KIND_DURATION, C_NUM(server.idle_ms), .def = "10m", .min = SECOND, .max = 7 * DAY},
	{"limits.stalled_timeout", KIND_DURATION, C_NUM(server.stalled_ms), .def = "60s", .min = 100, .max = HOUR},
	{"limits.keepalive", KIND_DURATION, C_NUM(server.keepalive_ms), .def = "30s", .min = 100, .max = 7 * DAY},
	{"limits.keepalive_timeout", KIND_DURATION, C_NUM(server.keepalive_timeout_ms), .def = "20s", .min = 100,
	 .max = HOUR},
	{"limits.resets_per_s", KIND_NUMBER, C_NUM(server.h2.reset_rate), .def = "100", .min = 1, .max = 100000},
	{"limits.control_frames_per_s", KIND_NUMBER, C_NUM(server.h2.control_rate), .def = "100", .min = 1,
	 .max = 100000},
	{"limits.pings_per_s", KIND_NUMBER, C_NUM(server.h2.ping_rate), .def = "10", .min = 1, .max = 100000},
	{"limits.waiting_per_route", KIND_NUMBER, C_NUM(waiting_per_route), .def = "100000", .min = 1,
	 .max = 100000000},
	{"limits.waiting_bytes", KIND_SIZE, C_NUM(waiting_bytes), .def = "4GiB", .min = MIB, .max = 1024 * GIB},
	{"limits.waiting_per_sender", KIND_NUMBER, C_NUM(waiting_per_sender), .def = "25000", .max = 100000000},
	{"limits.waiting_bytes_per_sender", KIND_SIZE, C_NUM(waiting_bytes_per_sender), .def = "256MiB", .max = 1024 * GIB},
	{"limits.waiting_per_tenant", KIND_NUMBER, C_NUM(waiting_per_tenant), .def = "0", .max = 1000000000},
	{"limits.waiting_bytes_per_tenant", KIND_SIZE, C_NUM(waiting_bytes_per_tenant), .def = "0", .max = 1024 * GIB},
	{"limits.card_bytes_per_tenant", KIND_SIZE, C_NUM(card_bytes_per_tenant), .def = "16MiB", .max = 4 * GIB},
	{"limits.agents_per_tenant", KIND_NUMBER, C_NUM(agents_per_tenant), .def = "10000", .max = 65536},
	{"limits.revocations_per_tenant", KIND_NUMBER, C_NUM(revocations_per_tenant), .def = "1000", .max = 65536},
	{"limits.rate_per_agent", KIND_NUMBER, C_NUM(rate_per_agent), .def = "0", .max = 1000000},

	{.path = "audit", .kind = KIND_SECTION},
	{"audit.file", KIND_PATH, C(audit_file), .def = "/var/log/baton/audit.jsonl", .required = true,
	 .note = "What is not written down is not done: there is no way to run without it"},
	{"audit.when_unwritable", KIND_ONLY, .def = "refuse", .note = "What cannot be written down is not done"},
	{"audit.payloads", KIND_SWITCH, C(audit_payload_hash), .def = "never", .choices = "hash never"},

	{.path = "traces", .kind = KIND_SECTION},
	{"traces.otlp", KIND_ONLY, .def = "", .note = NOT_YET},
	{"traces.sample", KIND_FRACTION, C(trace_sample), .def = "0.01"},
	{"traces.denials", KIND_ONLY, .def = "always", .note = "A refusal is always traced"},

	{.path = "log", .kind = KIND_SECTION},
	{"log.level", KIND_CHOICE, C(log_level), .def = "info", .choices = "debug info warn error"},
	{"log.format", KIND_SWITCH, C(log_json), .def = "json", .choices = "json text"},

	{.path = "hardening", .kind = KIND_SECTION},
	{"hardening.seccomp", KIND_SWITCH, C(hardening_seccomp), .def = "on", .choices = "on off"},
	{"hardening.landlock", KIND_SWITCH, C(hardening_landlock), .def = "on", .choices = "on off"},

	{"agents", KIND_LIST, C(agents), .size = sizeof(struct agent_row), .count = offsetof(struct config, n_agents),
	 .max = 4096,
	 .custom = fill_agent},
	{"agents[].name", KIND_NAME, A(agent.name), .required = true, .note = "Give it a name"},
	{"agents[].tenant", KIND_NAME, A(agent.tenant), .required = true, .note = "Say whose it is"},
	{"agents[].id", KIND_TEXT, A(spiffe_id), .required = true, .check = check_spiffe,
	 .note = "It is the URI of the agent's certificate: spiffe://acme.example/planner"},
	{"agents[].client", KIND_TEXT, A(client), .def = "", .check = check_client},
	{"agents[].call", KIND_NAMES, .offset = offsetof(struct agent_row, call), .count = offsetof(struct agent_row, agent.n_call),
	 .max = AGENT_ROUTES_MAX},
	{"agents[].serve", KIND_NAMES, .offset = offsetof(struct agent_row, serve), .count = offsetof(struct agent_row, agent.n_serve),
	 .max = AGENT_ROUTES_MAX},
	{"agents[].max_in_flight", KIND_NUMBER, A(agent.max_in_flight), .def = "1000", .min = 1, .max = 1000000},
	{"agents[].rate_per_s", KIND_NUMBER, A(agent.rate_per_s), .def = "0", .max = 1000000},
	{"agents[].may_originate", KIND_BOOL, A(agent.may_originate), .def = "false"},
};
const size_t config_n_rows = sizeof config_rows / sizeof config_rows[0];

/* ---- keys that people try ---- */

static const struct { const char *path, *hint; } hints[] = {
	{"issuers[].audience", "Audiences are demanded by profiles (identity.required_audience). List those that its tokens may be for under audiences, or remove the line."},
	{"issuers[].client_secret", "batond verifies tokens and asks for none. Where it asks about opaque ones it has a secret: a file, under introspection."},
	{"issuers[].introspection_url", "It is the url of a section: introspection: {url: https://…, client_id: baton, secret_file: /etc/baton/corp.secret}."},
	{"issuers[].introspection_endpoint", "It is the url of a section: introspection: {url: https://…, client_id: baton, secret_file: /etc/baton/corp.secret}."},
	{"issuers[].introspection.client_secret", "Put it into a file of mode 0600 and its path into secret_file."},
	{"issuers[].introspection.secret", "Put it into a file of mode 0600 and its path into secret_file."},
	{"issuers[].jwks_uri", "Keys are found by discovery at url, or read from jwks_file."},
	{"issuers[].scopes", "Scopes are demanded by profiles (identity.required_scopes). Remove the line."},
	{"issuing.user", "It is keeper.user: the keeper holds the key of assertions too."},
	{"issuing.record", "It is keeper.record: the keeper writes down what it signs too."},
	{"store.password", "Put it into a file of mode 0600 and its path into store.password_file."},
	{"tls.client_auth", "A client certificate is always demanded. Remove the line."},
	{"tls.min_version", "TLS 1.3 is the only version. Remove the line."},
	{"tls.pin", "Put it into a file of mode 0600, and its path into the key's URI: ?pin-source=file:/etc/baton/tls.pin."},
	{"tls.engine", "OpenSSL's engines are not used. List its provider under tls.providers."},
	{"tls.ca", "List it under tls.trust, with the trust domain it vouches for."},
	{"listen.plaintext", "There is no port without TLS. Remove the line."},
	{"routes", "A route is a file in the folder of profiles. Remove the section."},
	{"agents[].spiffe_id", "It is called id."},
	{"agents[].routes", "List the routes that it sends to under call, those it serves under serve."},
	{"agents[].token", "An agent's token comes with its calls. Remove the line."},
};

const char *config_hint(const char *table_path)
{
	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
		if (!strcmp(hints[i].path, table_path))
			return hints[i].hint;
	return NULL;
}
