/* Is the configuration read as it is written, and is everything else refused at its line and column, with what to
 * do? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/config.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/yaml_tree.h"
#include "policy/profile.h"

/* A folder of its own with every file that a configuration can name. %D in a text stands for it. */
static char folder[64];

static void write_file(const char *name, const char *text)
{
	struct problem why = {""};
	char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (file_write_atomic(path, slice_str(text), 0600, &why))
		fail_msg("%s", why.text);
}

static void remove_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	assert_int_equal(unlink(path), 0);
}

static const char refunds_json[] =
	"{\"route\": \"refunds\", \"identity\": {\"allowed_issuers\": [\"https://login.example\"], \"required_audience\": \"a\","
	" \"required_scopes\": [\"s\"]}, \"tools\": {\"allowed\": [\"t\"]}}";

static const char *const files[] = {"server.pem", "server.key", "acme.pem", "acme.crl", "ca.pem", "corp.jwks",
	"password"};

static int setup(void **state)
{
	char path[128];

	(void)state;
	strcpy(folder, "/tmp/baton-test-config-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		write_file(files[i], "x");
	snprintf(path, sizeof path, "%s/profiles", folder);
	if (mkdir(path, 0700))
		return -1;
	write_file("profiles/refunds.json", refunds_json);
	return 0;
}

static int teardown(void **state)
{
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		remove_file(files[i]);
	remove_file("profiles/refunds.json");
	remove_file("baton.yaml");
	snprintf(path, sizeof path, "%s/profiles", folder);
	return rmdir(path) || rmdir(folder);
}

/* Text with %D replaced; the caller frees. */
static char *expand(const char *text)
{
	size_t size = strlen(text) * 4 + 4096, n = 0;
	char *out = malloc(size);

	assert_non_null(out);
	for (; *text; text++) {
		if (!strncmp(text, "%D", 2)) {
			n += (size_t)snprintf(out + n, size - n, "%s", folder);
			text++;
		} else {
			out[n++] = *text;
		}
		assert_true(n + 128 < size);
	}
	out[n] = '\0';
	return out;
}

/* With spaces between. */
static void assert_names(const struct claim_names *names, const char *wanted)
{
	char all[600] = "";

	for (size_t i = 0; i < names->n; i++)
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? " " : "", names->name[i]);
	assert_string_equal(all, wanted);
}

static struct config *load(const char *text, struct problem *why)
{
	char path[128], *expanded = expand(text);
	struct config *c;

	why->text[0] = '\0';
	write_file("baton.yaml", expanded);
	snprintf(path, sizeof path, "%s/baton.yaml", folder);
	c = config_load(path, why);
	free(expanded);
	return c;
}

/* The least that loads. */
#define TLS "tls:\n  cert: %D/server.pem\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem}\n"
#define SVIDS ISSUER "    kind: jwt-svid\n    trust_domain: acme.example\n    audiences: [baton]\n"
#define ISSUER "issuers:\n  - name: corp\n    url: https://login.example\n    tenants: [acme]\n"
#define PROFILES "profiles: %D/profiles\n"
#define LEAST TLS ISSUER PROFILES
#define PKCS11 "  providers: [{name: pkcs11}]\n"
#define TOKEN(key, more) "tls:\n  cert: %D/server.pem\n  key: " key "\n" more "  trust: [{domain: acme.example, bundle: %D/acme.pem}]\n" ISSUER PROFILES
#define TRUST(more) "tls:\n  cert: %D/server.pem\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem" more "}\n" ISSUER PROFILES

static void test_defaults(void **state)
{
	struct problem why;
	struct config *c = load(LEAST, &why);
	struct store_slot_limits s;
	char host[256] = "";

	(void)state;
	if (!c)
		fail_msg("%s", why.text);
	gethostname(host, sizeof host - 1);
	assert_string_equal(c->node, host);
	assert_string_equal(c->state_dir, "/var/lib/baton");
	assert_int_equal(c->workers, 0);
	assert_string_equal(c->listen_agents, "0.0.0.0:7443");
	assert_string_equal(c->listen_http1, "");
	assert_string_equal(c->listen_admin, "127.0.0.1:7444");
	assert_string_equal(c->listen_admin_socket, "/run/baton/admin.sock");
	assert_string_equal(c->listen_metrics, "127.0.0.1:9464");
	assert_int_equal(c->n_trust, 1);
	assert_string_equal(c->trust[0].domain, "acme.example");
	assert_string_equal(c->trust[0].crl_file, "");
	assert_int_equal(c->trust[0].n_crl_urls, 0);
	assert_int_equal(c->trust[0].crl_grace_ms, 0);
	assert_int_equal(c->crl_refresh_ms, 600000);
	assert_false(c->allow_private_fetches);
	assert_string_equal(c->secrets_dir, "");
	assert_int_equal(c->n_issuers, 1);
	assert_string_equal(c->issuers[0].name, "corp");
	assert_string_equal(c->issuers[0].url, "https://login.example");
	assert_string_equal(c->issuers[0].tenants[0], "acme");
	assert_int_equal(c->issuers[0].n_tenants, 1);
	assert_int_equal(c->issuers[0].algorithms, ALG_ES256 | ALG_EDDSA | ALG_PS256 | ALG_RS256);
	assert_true(c->issuers[0].binding);
	assert_int_equal(c->issuers[0].max_lifetime_ms, 3600000);
	assert_int_equal(c->issuers[0].keys_refresh_ms, 300000);
	assert_int_equal(c->issuers[0].keys_stale_ms, 900000);
	assert_int_equal(c->issuers[0].n_audiences, 0);
	assert_int_equal(c->issuers[0].n_tenant_values, 0);
	assert_int_equal(c->issuers[0].claims.dialect, DIALECT_STANDARD);
	assert_int_equal(c->issuers[0].claims.typ, TYP_AT_JWT);
	assert_string_equal(c->issuers[0].claims.tenant, "tenant");
	assert_names(&c->issuers[0].claims.client, "client_id");
	assert_names(&c->issuers[0].claims.scope, "scope");
	assert_names(&c->issuers[0].claims.jti, "jti");
	assert_false(c->issuers[0].claims.jti_optional);
	assert_string_equal(c->issuers[0].claims.user, "");
	assert_string_equal(c->issuers[0].claims.service, "");
	assert_string_equal(c->issuers[0].ca_file, "");
	assert_false(c->issuers[0].allow_private);
	assert_string_equal(c->store_url, "");
	assert_string_equal(c->store_keys_file, "/var/lib/baton/seal.keys");
	assert_true(c->store_fsync_always);
	assert_int_equal(c->store_timeout_ms, 2000);
	assert_int_equal(c->store_max_memory, 1 << 30);
	assert_int_equal(c->store_max_lost, 100);
	assert_int_equal(c->store_hold_ms, 30000);
	assert_string_equal(c->assertion_key_file, "/var/lib/baton/assertion.key");
	assert_memory_equal(c->assertion_issuer, "baton:", 6);
	assert_string_equal(c->assertion_issuer + 6, c->node);
	assert_int_equal(c->envelope_window_ms, 300000);
	assert_int_equal(c->clock_skew_ms, 30000);
	assert_int_equal(c->max_payload, 1 << 20);
	assert_int_equal(c->server.connections, 20000);
	assert_int_equal(c->connections_per_agent, 16);
	assert_int_equal(c->server.h2.max_streams, 128);
	assert_int_equal(c->server.handshakes_per_s, 500);
	assert_string_equal(c->audit_file, "/var/log/baton/audit.jsonl");
	assert_false(c->audit_payload_hash);
	assert_true(c->trace_sample > 0.0099 && c->trace_sample < 0.0101);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_true(c->log_json);
	assert_true(c->hardening_seccomp && c->hardening_landlock);
	assert_int_equal(c->n_agents, 0);
	s = config_slot_limits(c);
	assert_int_equal(s.max_waiting, 100000);
	assert_int_equal(s.max_waiting_bytes, INT64_C(4) << 30);
	assert_int_equal(s.max_per_sender, 25000);
	assert_int_equal(s.max_bytes_per_sender, 256 << 20);
	assert_int_equal(c->waiting_per_tenant, 0);
	assert_int_equal(c->waiting_bytes_per_tenant, 0);
	assert_int_equal(c->card_bytes_per_tenant, 16 << 20);
	assert_int_equal(c->agents_per_tenant, 10000);
	assert_int_equal(c->revocations_per_tenant, 1000);
	assert_int_equal(c->rate_per_agent, 0);
	assert_int_equal(s.clock_skew_ms, 30000);
	assert_int_equal(s.keep_finished_ms, 86400000);
	config_free(c);
	config_free(NULL);
}

/* Takes down "key name-of-the-file;". */
static int note_file(void *arg, const char *key, const char *path, bool is_folder)
{
	struct buf *b = arg;

	buf_printf(b, "%s %s%s;", key, strrchr(path, '/') + 1, is_folder ? "/" : "");
	return b->failed;
}

/* Every file that the configuration names, and that must be there, is found by its key. */
static void check_each_file(const struct config *c)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(config_each_file(c, note_file, &b), 0);
	assert_true(slice_is(buf_slice(&b),
		"tls.cert server.pem;tls.key server.key;tls.trust[0].bundle acme.pem;tls.trust[1].bundle acme.pem;tls.trust[0].crl acme.crl;tls.trust[1].crl_ca ca.pem;"
		"issuers[0].jwks_file corp.jwks;issuers[0].ca_file ca.pem;store.ca ca.pem;store.cert server.pem;"
		"store.key server.key;profiles profiles/;"));
	buf_reset(&b);
	assert_int_equal(config_each_secret(c, note_file, &b), 0);
	assert_true(slice_is(buf_slice(&b), "store.password_file password;"));
	buf_clear(&b);
}

static bool has(const char *text, const char *part)
{
	char *expanded = expand(part);
	bool found = strstr(text, expanded) != NULL;

	free(expanded);
	return found;
}

/* Of a key in a token the file with the PIN is read, watched, and looked for. */
static void test_key_uri(void **state)
{
	static const char *const others[] = {
		TOKEN("pkcs11:token=a", "  providers: [{name: pkcs11, reads: [/x]}]\n"), TOKEN("pkcs11:token=a", "  providers: [{name: pkcs11, writes: [/x, /y]}]\n"),
		TOKEN("pkcs11:token=a", "  providers: [{name: pkcs11, writes: [/x], parameters: {a: b}}]\n"),
		TOKEN("pkcs11:token=a", "  providers: [{name: pkcs11, writes: [/x], environment: {A: b}}]\n"),
		TOKEN("pkcs11:token=a", "  providers: [{name: pkcs11, writes: [/x], module: %D/ca.pem}]\n"),
		TOKEN("pkcs11:token=a", "  providers: [{name: pkcs12, writes: [/x]}]\n"), TOKEN("%D/server.key", ""),
	};
	struct problem why;
	struct config *c = load(TOKEN("pkcs11:token=a?pin-source=file:%D/password", "  providers: [{name: pkcs11, writes: [/x]}]\n"), &why), *d;
	struct buf b;

	(void)state;
	assert_non_null(c);
	buf_init(&b, 4096);
	assert_int_equal(config_each_file(c, note_file, &b), 0);
	assert_true(slice_is(buf_slice(&b), "tls.cert server.pem;tls.key password;tls.trust[0].bundle acme.pem;profiles profiles/;"));
	assert_true(has(c->tls_key_file, "%D/password"));
	d = load(TOKEN("pkcs11:token=b", "  providers: [{name: pkcs11, writes: [/x]}]\n"), &why);
	assert_true(config_same_providers(c, d));
	assert_string_equal(d->tls_key_file, "");
	config_free(d);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		d = load(others[i], &why);
		assert_non_null(d);
		if (config_same_providers(c, d) && strstr(others[i], "[{"))
			fail_msg("row %zu: the same", i);
		config_free(d);
	}
	buf_clear(&b);
	config_free(c);
}

static void check_issuers_set(const struct config *c)
{
	assert_int_equal(c->n_issuers, 2);
	assert_int_equal(c->issuers[0].algorithms, ALG_ES384 | ALG_RS256);
	assert_string_equal(c->issuers[0].url, "https://login.example/");
	assert_false(c->issuers[0].binding);
	assert_int_equal(c->issuers[0].max_lifetime_ms, 600000);
	assert_int_equal(c->issuers[0].keys_refresh_ms, 30000);
	assert_int_equal(c->issuers[0].keys_stale_ms, 60000);
	assert_int_equal(c->issuers[0].n_audiences, 2);
	assert_string_equal(c->issuers[0].audiences[1], "api://b");
	assert_int_equal(c->issuers[0].claims.dialect, DIALECT_KEYCLOAK);
	assert_int_equal(c->issuers[0].claims.typ, TYP_JWT);
	assert_string_equal(c->issuers[0].claims.tenant, "/org/id");
	assert_names(&c->issuers[0].claims.client, "azp");
	assert_names(&c->issuers[0].claims.scope, "/realm_access/roles scp scope https://acme.example/scope");
	assert_names(&c->issuers[0].claims.jti, "");
	assert_true(c->issuers[0].claims.jti_optional);
	assert_string_equal(c->issuers[0].claims.user, "email");
	assert_string_equal(c->issuers[0].claims.service, "");
	assert_int_equal(c->issuers[0].n_tenant_values, 2);
	assert_string_equal(issuer_tenant(&c->issuers[0], "3f8a-1"), "acme");
	assert_string_equal(issuer_tenant(&c->issuers[0], "Umbrella Corp"), "umbrella");
	assert_null(issuer_tenant(&c->issuers[0], "acme"));
	assert_true(c->issuers[0].allow_private);
	assert_non_null(strstr(c->issuers[0].jwks_file, "/corp.jwks"));
	assert_true(c->issuers[1].binding);
}

static void test_everything_set(void **state)
{
	struct problem why;
	struct config *c = load(
		"version: 1\nnode: n-1\nstate_dir: %D/state\nworkers: 3\n"
		"listen: {agents: \"[::1]:0\", http1: \"off\", admin: \"off\", admin_socket: \"\", metrics: \"off\"}\n"
		"tls:\n  cert: %D/server.pem\n  key: %D/server.key\n  crl_stale: {allow-for: 2d}\n  crl_refresh: 30s\n  trust:\n"
		"    - {domain: acme.example, bundle: %D/acme.pem, crl: %D/acme.crl}\n    - {domain: b.example, bundle: %D/acme.pem, crl_urls: [\"http://h/1\", \"https://h/2\"],\n"
		"       crl_ca: %D/ca.pem, crl_allow_private: true}\nregistry: {allow_private_fetches: true}\n"
		"issuers:\n  - {name: corp, url: \"https://login.example/\", jwks_file: %D/corp.jwks, tenants: [acme, umbrella], algorithms: [ES384, RS256],\n"
		"     binding: none, max_lifetime: 10m, keys_refresh: 30s, keys_stale: 1m, ca_file: %D/ca.pem, allow_private: true,\n"
		"     audiences: [baton, \"api://b\"], typ: jwt, claims: {tenant: /org/id, client: azp, user: email, service: \"\", jti: [],\n"
		"      scope: [/realm_access/roles, scp, scope, \"https://acme.example/scope\"],\n"
		"      tenant_values: {3f8a-1: acme, \"Umbrella Corp\": umbrella}}, dialect: keycloak}\n"
		"  - {name: other, url: \"https://other.example\", tenants: [acme]}\n"
		"store: {url: \"rediss://redis.example:6379\", user: baton, password_file: %D/password, ca: %D/ca.pem, cert: %D/server.pem,\n"
		"  key: %D/server.key, keys_file: %D/seal, fsync: everysec, timeout: 250ms, keep_finished: 7d, max_memory: 256MiB, max_lost: 0, hold_after_failover: 0s}\n"
		PROFILES "assertion: {key_file: %D/a.key, issuer: \"https://baton.example\"}\n"
		"envelope: {window: 1m, clock_skew: 0s, max_payload: 16MiB}\n"
		"limits: {connections: 1, connections_per_agent: 2, streams_per_connection: 3, handshakes_per_s: 4, waiting_per_route: 5, waiting_bytes: 2MiB,\n"
		"  waiting_per_sender: 6, waiting_bytes_per_sender: 17MiB, waiting_per_tenant: 7, waiting_bytes_per_tenant: 18MiB, card_bytes_per_tenant: 1MiB, agents_per_tenant: 9, revocations_per_tenant: 10, rate_per_agent: 8}\n"
		"audit: {file: %D/audit, when_unwritable: refuse, payloads: hash}\ntraces: {otlp: \"\", sample: 1, denials: always}\n"
		"log: {level: debug, format: text}\nhardening: {seccomp: off, landlock: \"off\"}\n"
		"agents:\n"
		"  - {name: planner, tenant: acme, id: \"spiffe://acme.example/planner\", call: [refunds, other]}\n"
		"  - {name: worker, tenant: umbrella, id: \"spiffe://b.example/w\", serve: [refunds], max_in_flight: 8, rate_per_s: 9, client: w-client}\n"
		"  - {name: child, tenant: acme, id: \"spiffe://acme.example/child\", call: [refunds], may_originate: false}\n"
		"  - {name: idle, tenant: acme, id: \"spiffe://acme.example/idle\", may_originate: true}\n", &why);

	(void)state;
	if (!c)
		fail_msg("%s", why.text);
	assert_string_equal(c->node, "n-1");
	assert_int_equal(c->workers, 3);
	assert_string_equal(c->listen_agents, "[::1]:0");
	assert_string_equal(c->listen_admin, "");
	assert_string_equal(c->listen_admin_socket, "");
	assert_string_equal(c->listen_metrics, "");
	assert_int_equal(c->n_trust, 2);
	assert_non_null(strstr(c->trust[0].crl_file, "/acme.crl"));
	assert_string_equal(c->trust[1].domain, "b.example");
	assert_int_equal(c->trust[1].n_crl_urls, 2);
	assert_string_equal(c->trust[1].crl_urls[1], "https://h/2");
	assert_non_null(strstr(c->trust[1].crl_ca_file, "/ca.pem"));
	assert_true(c->trust[1].crl_allow_private && !c->trust[0].crl_allow_private && c->allow_private_fetches);
	assert_int_equal(c->trust[1].crl_grace_ms, INT64_C(2) * 86400000);
	assert_int_equal(c->crl_refresh_ms, 30000);
	check_issuers_set(c);
	assert_string_equal(c->store_url, "rediss://redis.example:6379");
	assert_string_equal(c->store_user, "baton");
	assert_false(c->store_fsync_always);
	assert_int_equal(c->store_timeout_ms, 250);
	assert_int_equal(c->store_keep_finished_ms, INT64_C(7) * 86400000);
	assert_int_equal(c->store_max_memory, 256 << 20);
	assert_int_equal(c->store_max_lost, 0);
	assert_int_equal(c->store_hold_ms, 0);
	assert_non_null(strstr(c->store_keys_file, "/seal"));
	assert_non_null(strstr(c->assertion_key_file, "/a.key"));
	assert_string_equal(c->assertion_issuer, "https://baton.example");
	assert_int_equal(c->clock_skew_ms, 0);
	assert_int_equal(c->max_payload, 16 << 20);
	assert_int_equal(c->server.connections, 1);
	assert_int_equal(c->connections_per_agent, 2);
	assert_int_equal(c->server.h2.max_streams, 3);
	assert_int_equal(c->server.handshakes_per_s, 4);
	assert_int_equal(c->waiting_per_route, 5);
	assert_int_equal(c->waiting_bytes, 2 << 20);
	assert_int_equal(c->waiting_per_sender, 6);
	assert_int_equal(c->waiting_bytes_per_sender, 17 << 20);
	assert_int_equal(c->waiting_per_tenant, 7);
	assert_int_equal(c->waiting_bytes_per_tenant, 18 << 20);
	assert_int_equal(c->card_bytes_per_tenant, 1 << 20);
	assert_int_equal(c->agents_per_tenant, 9);
	assert_int_equal(c->revocations_per_tenant, 10);
	assert_int_equal(c->rate_per_agent, 8);
	assert_int_equal(c->agents[0].agent.rate_per_s, 0);
	assert_int_equal(c->agents[1].agent.rate_per_s, 9);
	assert_true(c->audit_payload_hash);
	assert_true(c->trace_sample == 1);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_false(c->log_json);
	assert_false(c->hardening_seccomp || c->hardening_landlock);
	check_each_file(c);
	assert_int_equal(c->n_agents, 4);
	assert_string_equal(c->agents[0].agent.client, "planner");
	assert_int_equal(c->agents[0].agent.n_call, 2);
	assert_string_equal(c->agents[0].agent.call[1], "other");
	assert_int_equal(c->agents[0].agent.max_in_flight, 1000);
	assert_true(c->agents[0].agent.may_originate);
	assert_true(c->agents[0].agent.key == store_agent_key("acme", "planner"));
	assert_string_equal(c->agents[1].agent.client, "w-client");
	assert_int_equal(c->agents[1].agent.max_in_flight, 8);
	assert_false(c->agents[1].agent.may_originate);
	assert_false(c->agents[2].agent.may_originate);
	assert_true(c->agents[3].agent.may_originate);
	config_free(c);
}

/* Even rows are refused with this text (after the file's path), odd rows are their twins. */
static const struct { const char *yaml, *error; } rows[] = {
	/* keys */
	{LEAST "issuer: []\n", ":11:1: unknown key `issuer`\n    Did you mean `issuers`? Known keys: version, node, "},
	{LEAST "version: 1\n", NULL},
	{TLS ISSUER "    audience: x\n" PROFILES,
		":10:5: unknown key `audience` in issuers[0]\n    Audiences are demanded by profiles "
	 "(identity.required_audience). List those that its tokens may be for under audiences, or remove the line. Did you mean `audiences`? Known keys: name, "},
	{TLS ISSUER "    max_lifetime: 1m\n" PROFILES, NULL},
	{TLS ISSUER "    algoritms: [ES256]\n" PROFILES,
		":10:5: unknown key `algoritms` in issuers[0]\n    Did you mean `algorithms`?"},
	{TLS ISSUER "    algorithms: [ES256]\n" PROFILES, NULL},
	{LEAST "store:\n  password: hunter2\n",
		":12:3: unknown key `password` in store\n    Put it into a file of mode 0600"},
	{LEAST "store:\n  fsync: always\n", NULL},
	{LEAST "limits: {conections: 3}\n",
		":11:10: unknown key `conections` in limits\n    Did you mean `connections`?"},
	{LEAST "limits: {connections: 3}\n", NULL},
	{LEAST "limits: {waiting_bytes_per_sender: 2047KiB}\n", ":11:36: limits.waiting_bytes_per_sender is too small for one payload of "
	 "envelope.max_payload: it must be at least that and 1MiB, or 0 for no cap"},
	{LEAST "limits: {waiting_bytes_per_sender: 2MiB}\n", NULL},
	{LEAST "limits: {waiting_bytes_per_tenant: 16MiB}\nenvelope: {max_payload: 16MiB}\n", ":11:36: limits.waiting_bytes_per_tenant is too small"},
	{LEAST "limits: {waiting_bytes_per_tenant: 0}\nenvelope: {max_payload: 16MiB}\n", NULL},
	{LEAST "limits: {rate_per_agent: 1000001}\n", ":11:26: limits.rate_per_agent: 1000001 is not within 0..1000000"},
	{LEAST "limits: {rate_per_agent: 1000000}\n", NULL},
	{LEAST "issuers[]: 3\n", ":11:1: unknown key `issuers[]`"},
	{LEAST "limits: {}\n", NULL},
	{LEAST "listen.agents: \"127.0.0.1:1\"\n", ":11:1: unknown key `listen.agents`"},
	{LEAST "listen: {agents: \"127.0.0.1:1\"}\n", NULL},
	{TLS ISSUER "    claims: {sub: x}\n" PROFILES,
		":10:14: unknown key `sub` in issuers[0].claims\n    Known keys: tenant, client, scope, jti, user, service, tenant_values"},
	{TLS ISSUER "    claims: {user: x}\n" PROFILES, NULL},
	{LEAST "node: a\nnode: b\n", ":12:1: key `node` stands here twice"},
	{LEAST "node: a\n", NULL},
	{LEAST "store: {url: \"\", url: \"\"}\n", ":11:18: key `url` stands here twice"},
	{LEAST "store: {url: \"\"}\n", NULL},

	/* missing */
	{ISSUER PROFILES, ":1:1: tls.cert is not set. Name the server's certificate chain"},
	{TLS ISSUER PROFILES, NULL},
	{"tls:\n  cert: %D/server.pem\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem}\n" ISSUER PROFILES,
		":2:3: tls.key is not set."},
	{LEAST, NULL},
	{TOKEN("pkcs11:token=a?pin-source=file:%D/password", ""), ":3:8: tls.key: a provider of OpenSSL reads pkcs11: URIs, and tls.providers names none. List it"},
	{TOKEN("pkcs11:token=a?pin-source=file:%D/password", PKCS11), NULL},
	{TOKEN("pkcs11:token=a?pin-source=file:%D/nothing", PKCS11), ":3:8: tls.key: pin-source: %D/nothing: No such file"},
	{TOKEN("pkcs11:token=a", PKCS11), NULL},
	{TOKEN("pkcs11:token=a?pin-value=hunter2", PKCS11), ":3:8: tls.key: a PIN or password in the URI would stand in the clear"},
	{TOKEN("handle:0x81000001?pass", PKCS11), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: {user-pin: hunter2}}]\n"), "tls.providers[0].parameters: a PIN or password would stand in the clear"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: {tcti: \"device:/dev/tpmrm0\"}}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: [hunter2]}]\n"), "tls.providers[0].parameters: at most 16 names with the value of each belong here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: {}}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: {a: [hunter2]}}]\n"), "tls.providers[0].parameters: a single value belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, parameters: {a: b}}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, environment: {LD_PRELOAD: /x}}]\n"), "tls.providers[0].environment: that variable is not a provider's"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, environment: {SOFTHSM2_CONF: /x}}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, reads: [opt]}]\n"), "tls.providers[0].reads: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, reads: [/opt/x]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: /opt}]\n"), "tls.providers[0].writes: a list of at most 16 absolute paths belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/dev/tpmrm0]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/]}]\n"), "tls.providers[0].writes: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/x]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [//]}]\n"), "tls.providers[0].writes: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [//x]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/./]}]\n"), "tls.providers[0].writes: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/./x]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/opt/..]}]\n"), "tls.providers[0].writes: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/opt/x..]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/opt/../etc]}]\n"), "tls.providers[0].writes: an absolute path belongs here"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, writes: [/opt/.x/etc]}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, module: %D/nothing}]\n"), "tls.providers[0].module: %D/nothing: No such file"},
	{TOKEN("%D/server.key", "  providers: [{name: pkcs11, module: %D/ca.pem}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: legacy}]\n"), "tls.providers[0].name: legacy is OpenSSL's own"},
	{TOKEN("%D/server.key", "  providers: [{name: tpm2}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: a.b}]\n"), "tls.providers[0].name: a provider's name has no dot here"},
	{TOKEN("%D/server.key", "  providers: [{name: a-b}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: a}, {name: a}]\n"), "tls.providers[1]: provider a stands in the list twice"},
	{TOKEN("%D/server.key", "  providers: [{name: a}, {name: b}]\n"), NULL},
	{TOKEN("%D/server.key", "  providers: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}]\n"), "tls.providers has 5 elements, and at most 4 are taken"},
	{TOKEN("%D/server.key", "  providers: [{name: a}, {name: b}, {name: c}, {name: d}]\n"), NULL},
	{TOKEN("%D/server.key", "  pin: hunter2\n"), "unknown key `pin` in tls\n    Put it into a file of mode 0600"},
	{TOKEN("%D/server.key", ""), NULL},
	{"tls:\n  cert: %D/server.pem\n  key: %D/server.key\n" ISSUER PROFILES,
		":2:3: tls.trust is not set. List a trust domain"},
	{TLS PROFILES, NULL}, /* issuers may all be registered */
	{"tls: {cert: %D/server.pem, key: %D/server.key, trust: []}\n" ISSUER PROFILES, "tls.trust is empty."},
	{TLS "issuers: []\n" PROFILES, NULL},
	{TLS "issuers:\n  - {name: corp, tenants: [acme]}\n" PROFILES,
		":7:5: issuers[0].url is not set. It is what `iss` must be"},
	{TLS "issuers:\n  - {name: corp, tenants: [acme], url: \"https://a\"}\n" PROFILES, NULL},
	{TLS "issuers:\n  - {name: corp, url: \"https://a\"}\n" PROFILES,
		":7:5: issuers[0].tenants is not set. List the tenants"},
	{LEAST, NULL},
	{TLS "issuers:\n  - {name: corp, url: \"https://a\", tenants: []}\n" PROFILES,
		":7:45: issuers[0].tenants is empty."},
	{LEAST, NULL},
	{TLS ISSUER, ":1:1: profiles: /etc/baton/profiles: No such file"},
	{LEAST, NULL},
	{LEAST "agents:\n  - {tenant: acme, id: \"spiffe://acme.example/x\"}\n", ":12:5: agents[0].name is not set."},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\"}\n", NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme}\n", ":12:5: agents[0].id is not set."},
	{LEAST "agents: []\n", NULL},
	{LEAST "audit:\n  file: \"\"\n", ":12:9: audit.file is empty."},
	{LEAST "audit:\n  file: %D/a\n", NULL},
	{LEAST "node:\n", ":11:6: node has no value. Write \"\" for nothing"},
	{LEAST "node: \"\"\n", NULL},
	{LEAST "store: ~\n", ":11:8: store has no value."},
	{LEAST "store: {}\n", NULL},

	/* kinds */
	{LEAST "workers: many\n", ":11:10: workers: \"many\" is not a whole number"},
	{LEAST "workers: 2\n", NULL},
	{LEAST "workers: 65\n", ":11:10: workers: 65 is not within 0..64"},
	{LEAST "workers: 64\n", NULL},
	{LEAST "workers: -1\n", "workers: \"-1\" is not a whole number"},
	{LEAST "workers: 0\n", NULL},
	{LEAST "workers: 99999999999999999999\n", "workers: \"99999999999999999999\" is not a whole number"},
	{LEAST "workers: 1\n", NULL},
	{LEAST "workers: [1]\n", ":11:10: workers: a single value belongs here, not a list"},
	{LEAST "workers: \"1\"\n", NULL},
	{LEAST "listen: \"0.0.0.0:7443\"\n", ":11:9: listen: keys and values belong here"},
	{LEAST "listen: {}\n", NULL},
	{LEAST "agents: {name: x}\n", ":11:9: agents: a list belongs here"},
	{LEAST "agents: []\n", NULL},
	{LEAST "agents: [x]\n", ":11:10: agents[0]: keys and values belong here"},
	{LEAST "agents: []\n", NULL},
	{LEAST "envelope: {max_payload: 17MiB}\n", ":11:25: envelope.max_payload: 17MiB is not within 1B..16MiB"},
	{LEAST "envelope: {max_payload: 16384KiB}\n", NULL},
	{LEAST "envelope: {max_payload: 1MB}\n", "envelope.max_payload: \"1MB\" is not a size such as"},
	{LEAST "envelope: {max_payload: 1000000}\n", NULL},
	{LEAST "envelope: {max_payload: 999999999999TiB}\n", "is not within"},
	{LEAST "envelope: {max_payload: 1B}\n", NULL},
	{LEAST "envelope: {window: 6m}\n", "envelope.window: 6m is not within 1s..5m"},
	{LEAST "envelope: {window: 300s}\n", NULL},
	{LEAST "envelope: {window: 300}\n", "envelope.window: \"300\" is not a duration such as"},
	{LEAST "envelope: {window: 1500ms}\n", NULL},
	{LEAST "envelope: {clock_skew: 61s}\n", "envelope.clock_skew: 61s is not within 0ms..1m"},
	{LEAST "envelope: {clock_skew: 1m}\n", NULL},
	{LEAST "traces: {sample: 1.5}\n", "traces.sample: \"1.5\" is not a number from 0 to 1"},
	{LEAST "traces: {sample: 0.5}\n", NULL},
	{LEAST "traces: {sample: nan}\n", "traces.sample: \"nan\" is not a number"},
	{LEAST "traces: {sample: 0}\n", NULL},
	{LEAST "log: {level: verbose}\n", "log.level: \"verbose\" is none of debug, info, warn, error"},
	{LEAST "log: {level: error}\n", NULL},
	{LEAST "hardening: {seccomp: maybe}\n", "hardening.seccomp: \"maybe\" is none of on, off"},
	{LEAST "hardening: {seccomp: \"on\"}\n", NULL},
	{TLS ISSUER "    allow_private: yes\n" PROFILES, "issuers[0].allow_private: \"yes\" is none of true, false"},
	{TLS ISSUER "    allow_private: true\n" PROFILES, NULL},
	{TLS ISSUER "    binding: cert\n" PROFILES, "issuers[0].binding: \"cert\" is none of certificate, none"},
	{TLS ISSUER "    binding: none\n" PROFILES, NULL},
	{TLS ISSUER "    algorithms: [HS256]\n" PROFILES, ":10:18: issuers[0].algorithms: \"HS256\" is none of ES256"},
	{TLS ISSUER "    algorithms: [EdDSA]\n" PROFILES, NULL},
	{TLS ISSUER "    algorithms: [none]\n" PROFILES, "\"none\" is none of ES256"},
	{TLS ISSUER "    algorithms: [PS256, RS256]\n" PROFILES, NULL},
	{TLS ISSUER "    algorithms: []\n" PROFILES, "a list belongs here"},
	{TLS ISSUER "    algorithms: [ES384]\n" PROFILES, NULL},
	{TLS ISSUER "    algorithms: [ES256, ES256]\n" PROFILES, "ES256 stands in the list twice"},
	{LEAST, NULL},
	{LEAST "listen: {agents: \"localhost:7443\"}\n",
		":11:18: listen.agents: \"localhost:7443\" is not an address and port such as 0.0.0.0:7443"},
	{LEAST "listen: {agents: \"127.0.0.1:65535\"}\n", NULL},
	{LEAST "listen: {agents: \"off\"}\n", "listen.agents: \"off\" is not an address"},
	{LEAST "listen: {admin: \"off\"}\n", NULL},
	{LEAST "listen: {agents: \"127.0.0.1:65536\"}\n", "is not an address"},
	{LEAST "listen: {agents: \"[::]:1\"}\n", NULL},
	{LEAST "listen: {agents: \":7443\"}\n", "is not an address"},
	{LEAST "listen: {agents: \"[::1]:7443\"}\n", NULL},
	{LEAST "listen: {agents: \"::1:7443\"}\n", "is not an address"},
	{LEAST "listen: {agents: \"1.2.3.4:0\"}\n", NULL},
	{LEAST "state_dir: var\n", "state_dir: an absolute path belongs here"},
	{LEAST "state_dir: /var\n", NULL},
	{LEAST "node: \"a b\"\n", ":11:7: node: a node's name is"},
	{LEAST "node: a.b-C_9\n", NULL},

	/* files that must be there */
	{"tls:\n  cert: %D/none.pem\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem}\n" ISSUER PROFILES,
	 ":2:9: tls.cert: %D/none.pem: No such file or directory"},
	{LEAST, NULL},
	{"tls:\n  cert: %D\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem}\n" ISSUER PROFILES,
	 ":2:9: tls.cert: %D is not a regular file"},
	{LEAST, NULL},
	{"tls:\n  cert: %D/server.pem\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem, crl: %D/no}\n"
	 ISSUER PROFILES, "tls.trust[0].crl: %D/no: No such file"},
	{"tls:\n  cert: %D/server.pem\n  key: %D/server.key\n  trust:\n    - {domain: acme.example, bundle: %D/acme.pem, crl: %D/acme.crl}\n"
	 ISSUER PROFILES, NULL},
	{TLS ISSUER "    jwks_file: %D/no\n" PROFILES, ":10:16: issuers[0].jwks_file: %D/no: No such file"},
	{TLS ISSUER "    jwks_file: %D/corp.jwks\n" PROFILES, NULL},
	{TLS ISSUER "    ca_file: corp.pem\n" PROFILES, "issuers[0].ca_file: an absolute path belongs here"},
	{TLS ISSUER "    ca_file: %D/ca.pem\n" PROFILES, NULL},
	{TLS ISSUER "profiles: %D/server.pem\n", "profiles: %D/server.pem is not a folder"},
	{LEAST, NULL},

	/* identity */
	{TLS "issuers:\n  - {name: corp, url: \"http://a\", tenants: [acme]}\n" PROFILES,
		"issuers[0].url: an issuer's url begins with https://"},
	{LEAST, NULL},
	{TLS "issuers:\n  - {name: corp, url: \"https://u:hunter2@a\", tenants: [acme]}\n" PROFILES,
		"issuers[0].url: a url with user or password is refused"},
	{LEAST, NULL},
	{TLS "issuers:\n  - {name: Corp, url: \"https://a\", tenants: [acme]}\n" PROFILES,
		":7:12: issuers[0].name: \"Corp\" is not a name"},
	{LEAST, NULL},
	{TLS ISSUER "  - {name: corp, url: \"https://a\", tenants: [acme]}\n" PROFILES,
		":10:5: two issuers have the name corp"},
	{TLS ISSUER "  - {name: corp2, url: \"https://a\", tenants: [acme]}\n" PROFILES, NULL},
	{TLS ISSUER "  - {name: corp2, url: \"https://login.example\", tenants: [acme]}\n" PROFILES,
		":10:5: issuers corp and corp2 have the same url"},
	{TLS ISSUER "  - {name: corp2, url: \"https://login.example/\", tenants: [acme]}\n" PROFILES, NULL},
	/* how an issuer's tokens are read */
	{TLS ISSUER "    audiences: a\n" PROFILES, ":10:16: issuers[0].audiences: a list of 1 to 16 audiences belongs here"},
	{LEAST, NULL},
	{TLS ISSUER "    audiences: []\n" PROFILES, ":10:16: issuers[0].audiences: a list of 1 to 16 audiences belongs here"},
	{LEAST, NULL},
	{TLS ISSUER "    audiences: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]\n" PROFILES,
		"issuers[0].audiences: a list of 1 to 16 audiences belongs here"},
	{TLS ISSUER "    audiences: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]\n" PROFILES, NULL},
	{TLS ISSUER "    audiences: [a, b, a]\n" PROFILES, ":10:23: issuers[0].audiences: a stands in the list twice"},
	{LEAST, NULL},
	{TLS ISSUER "    audiences: [\"a b\"]\n" PROFILES, "issuers[0].audiences: an audience has 1 to 255 characters, no space"},
	{LEAST, NULL},
	{TLS ISSUER "    audiences: [[a]]\n" PROFILES, "issuers[0].audiences: an audience is a text"},
	{LEAST, NULL},
	{TLS ISSUER "    kind: saml\n" PROFILES, "issuers[0].kind: \"saml\" is none of oidc, jwt-svid"},
	{TLS SVIDS PROFILES, NULL},
	{TLS ISSUER "    kind: jwt-svid\n" PROFILES, ":7:5: issuers[0].trust_domain: name the trust domain of its JWT-SVIDs: acme.example"},
	{TLS SVIDS PROFILES, NULL},
	{TLS ISSUER "    trust_domain: acme.example\n" PROFILES, "issuers[0].trust_domain: only JWT-SVIDs are of a trust domain"},
	{TLS SVIDS PROFILES, NULL},
	{TLS ISSUER "    kind: jwt-svid\n    trust_domain: acme.example\n" PROFILES, "issuers[0].audiences: list what its JWT-SVIDs may be for: [baton]"},
	{TLS SVIDS PROFILES, NULL},
	{TLS SVIDS "    algorithms: [EdDSA]\n" PROFILES, "issuers[0].algorithms: a JWT-SVID is not signed with EdDSA"},
	{TLS SVIDS "    algorithms: [ES384]\n" PROFILES, NULL},
	{TLS SVIDS "    binding: none\n" PROFILES, "issuers[0].binding: a JWT-SVID is bound by its sub, whatever stands here: remove it"},
	{TLS SVIDS "    binding: certificate\n" PROFILES, NULL},
	{TLS SVIDS "    dialect: standard\n" PROFILES, ":13:14: issuers[0]: dialect is not for JWT-SVIDs: remove it"},
	{TLS SVIDS "    claims: {tenant: t}\n" PROFILES, NULL},
	{TLS SVIDS "    claims: {user: uid}\n" PROFILES, ":13:20: issuers[0]: user is not for JWT-SVIDs: remove it"},
	{TLS SVIDS "    claims: {scope: scp}\n" PROFILES, NULL},
	{TLS SVIDS "  - {name: twin, url: \"https://b\", tenants: [acme], kind: jwt-svid, trust_domain: acme.example, audiences: [a]}\n" PROFILES,
		"issuers corp and twin have the same trust domain"},
	{TLS SVIDS "  - {name: twin, url: \"https://b\", tenants: [acme], kind: jwt-svid, trust_domain: b.example, audiences: [a]}\n" PROFILES, NULL},
	{TLS ISSUER "    dialect: google\n" PROFILES, "issuers[0].dialect: \"google\" is none of standard, entra, okta, keycloak, auth0"},
	{TLS ISSUER "    dialect: okta\n" PROFILES, NULL},
	{TLS ISSUER "    typ: any\n" PROFILES, "issuers[0].typ: \"any\" is none of at+jwt, jwt"},
	{TLS ISSUER "    typ: jwt\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {client: []}\n" PROFILES, ":7:5: issuers[0].claims.client: 1 to 4 names of claims belong here"},
	{TLS ISSUER "    claims: {client: [a, b, c, d]}\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {client: [a, b, c, d, e]}\n" PROFILES, ":10:35: issuers[0].claims.client: at most 4 claims can be named"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {client: [a, a]}\n" PROFILES, "issuers[0].claims.client: a claim stands in the list twice"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {client: {a: b}}\n" PROFILES, "issuers[0].claims.client: a claim's name belongs here, or a list of them"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {client: [[a]]}\n" PROFILES, "issuers[0].claims.client: a claim's name belongs here, not a list or mapping"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {scope: \"a b\"}\n" PROFILES, "issuers[0].claims.scope: a claim's name has no space"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {scope: \"\"}\n" PROFILES, "issuers[0].claims.scope: it is empty. Name a claim"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant: \"\"}\n" PROFILES, "issuers[0].claims.tenant: it is empty. Name a claim"},
	{TLS ISSUER "    claims: {tenant: /a/b/c/d}\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {tenant: /a/b/c/d/e}\n" PROFILES, "issuers[0].claims.tenant: a pointer to a claim has at most 4 parts"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant: /a//b}\n" PROFILES, "issuers[0].claims.tenant: a pointer to a claim has no empty part"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant: /a~2}\n" PROFILES, "issuers[0].claims.tenant: in a pointer to a claim ~0 stands for ~"},
	{LEAST, NULL},
	{TLS ISSUER "    introspection: {client_id: x}\n" PROFILES, "issuers[0].introspection.url: name the url that is asked about tokens"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"http://x.example\", client_id: x, secret_file: %D/ca.pem}\n" PROFILES, "issuers[0].introspection.url: it begins with https://"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", secret_file: %D/ca.pem}\n" PROFILES, "issuers[0].introspection.client_id: name the client"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x}\n" PROFILES, "it proves itself by a secret_file, or by client_cert and client_key"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, client_key: %D/ca.pem}\n" PROFILES, "client_cert and client_key go together"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret: sesame}\n" PROFILES, "Put it into a file of mode 0600"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 11m}\n" PROFILES, "issuers[0].introspection.cache"},
	{TLS ISSUER "    introspection: {url: \"https://x.example\", client_id: x, secret_file: %D/ca.pem, cache: 10m}\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {user: sid, service: sid}\n" PROFILES, "issuers[0].claims.service: it is claims.user: a token would be both"},
	{TLS ISSUER "    claims: {user: sid, service: client_id}\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {jti: [a, a]}\n" PROFILES, "issuers[0].claims.jti: a claim stands in the list twice"},
	{TLS ISSUER "    claims: {jti: []}\n" PROFILES, NULL},
	{TLS ISSUER "    claims: {tenant_values: {}}\n" PROFILES, "issuers[0].claims.tenant_values: 1 to 32 values with the tenant of each belong here"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant_values: [acme]}\n" PROFILES, "issuers[0].claims.tenant_values: 1 to 32 values with the tenant of each belong here"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant_values: {x: Acme}}\n" PROFILES, ":10:33: issuers[0].claims.tenant_values: \"Acme\" is not a tenant's name"},
	{LEAST, NULL},
	{TLS ISSUER "    claims: {tenant_values: {x: globex}}\n" PROFILES,
		":7:5: issuers[0].claims.tenant_values: a value means a tenant that the issuer does not speak for: list it under tenants"},
	{TLS ISSUER "    claims: {tenant_values: {x: acme, y: acme}}\n" PROFILES, NULL},
	{TLS "issuers:\n  - {name: corp, url: \"https://a\", tenants: [acme, acme]}\n" PROFILES,
		"issuers[0].tenants: acme stands in the list twice"},
	{LEAST, NULL},
	{TLS "    - {domain: acme.example, bundle: %D/ca.pem}\n" ISSUER PROFILES,
		":6:7: trust domain acme.example stands in the list twice"},
	{TLS "    - {domain: b.example, bundle: %D/ca.pem}\n" ISSUER PROFILES, NULL},
	{TLS "    - {domain: B.example, bundle: %D/ca.pem}\n" ISSUER PROFILES,
		"tls.trust[1].domain: a trust domain is lower-case"},
	{LEAST, NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://other.example/x\"}\n",
	 ":12:33: agents[0].id: trust domain other.example is not listed under tls.trust"},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\"}\n", NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"https://acme.example/x\"}\n", ":12:33: agents[0].id: "},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/X\"}\n", NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\"}\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/y\"}\n",
	 ":13:5: agents[1]: agent x stands in tenant acme twice"},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\"}\n  - {name: x, tenant: b, id: \"spiffe://acme.example/y\"}\n", NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\"}\n  - {name: y, tenant: b, id: \"spiffe://acme.example/x\"}\n",
	 ":13:5: agents[1]: agents x and y have the same id"},
	{LEAST, NULL},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\", call: [\"a/b\"]}\n",
		":12:67: agents[0].call: \"a/b\" is not a name"},
	{LEAST "agents:\n  - {name: x, tenant: acme, id: \"spiffe://acme.example/x\", call: [a.b]}\n", NULL},

	/* the store */
	{LEAST "store: {url: \"redis://u:hunter2@h:6379\"}\n",
		":11:14: store.url: a url with user or password is refused."},
	{LEAST "store: {url: \"redis://h:6379\"}\n", NULL},
	{LEAST "store: {url: \"http://h\"}\n", "store.url: redis://host:port, rediss://host:port or unix:///path"},
	{LEAST "store: {url: \"unix:///run/redis.sock\"}\n", NULL},
	{LEAST "store: {password_file: %D/password}\n",
		"store.url is \"\": the private redis-server takes no user or password"},
	{LEAST "store: {url: \"redis://h:6379\", password_file: %D/password}\n", NULL},
	{LEAST "store: {url: \"redis://h:6379\", ca: %D/ca.pem}\n",
		":11:14: store.ca, store.cert and store.key are for rediss:// only"},
	{LEAST "store: {url: \"rediss://h:6379\", ca: %D/ca.pem}\n", NULL},
	{LEAST "store: {url: \"rediss://h:6379\", cert: %D/server.pem}\n", "store.cert and store.key go together"},
	{LEAST "store: {url: \"rediss://h:6379\", cert: %D/server.pem, key: %D/server.key}\n", NULL},
	{LEAST "store: {sentinels: [\"redis://a:1\"]}\n", "store.sentinels and store.sentinel_master go together"},
	{LEAST "store: {sentinels: [\"redis://a:1\", \"redis://b:1\"], sentinel_master: m}\n", NULL},
	{LEAST "store: {url: \"redis://h:1\", sentinels: [\"redis://a:1\"], sentinel_master: m}\n", "store.sentinels say where the store is: remove store.url"},
	{LEAST "store: {sentinels: [\"rediss://a:1\"], sentinel_master: m, ca: %D/ca.pem, user: baton, password_file: %D/password}\n", NULL},
	{LEAST "store: {sentinels: [\"rediss://a:1\", \"redis://b:1\"], sentinel_master: m}\n", "either all sentinels have TLS (rediss://), or none has"},
	{LEAST "store: {sentinels: [\"rediss://a\", \"rediss://[::1]:2\"], sentinel_master: m}\n", NULL},
	{LEAST "store: {sentinels: [\"redis://u:hunter2@a:1\"], sentinel_master: m}\n", "store.sentinels: a url with user or password is refused."},
	{LEAST "store: {sentinels: [\"redis://a:1\"], sentinel_master: m, sentinel_user: u, sentinel_password_file: %D/password}\n", NULL},
	{LEAST "store: {sentinels: [\"unix:///run/s\"], sentinel_master: m}\n", "a sentinel is redis://host:port or rediss://host:port"},
	{LEAST "store: {sentinels: [\"redis://a:1\"], sentinel_master: \"my-store\"}\n", NULL},
	{LEAST "store: {cluster: [\"redis://a:1\"], url: \"redis://h:1\"}\n", "store.cluster says where the store is: remove store.url"},
	{LEAST "store: {cluster: [\"redis://a:1\", \"redis://b\"]}\n", NULL},
	{LEAST "store: {cluster: [\"redis://a:1\"], sentinels: [\"redis://a:1\"], sentinel_master: m}\n", "store.cluster says where the store is: remove store.sentinels"},
	{LEAST "store: {cluster: [\"rediss://a:1\"], ca: %D/ca.pem, user: baton, password_file: %D/password, replicas: 1}\n", NULL},
	{LEAST "store: {cluster: [\"redis://a:1/2\"]}\n", "store.cluster: a node is redis://host:port or rediss://host:port"},
	{LEAST "store: {cluster: []}\n", NULL},
	{LEAST "store: {cluster: [\"unix:///run/r.sock\"]}\n", "store.cluster: a node is redis://host:port or rediss://host:port"},
	{LEAST "store: {cluster: [\"redis://[::1]:7000\"]}\n", NULL},
	{LEAST "store: {cluster: [\"rediss://a:1\", \"redis://b:1\"]}\n", "either all nodes have TLS (rediss://), or none has"},
	{LEAST "store: {cluster: [\"rediss://a\", \"rediss://b:2\"]}\n", NULL},
	{LEAST "store: {cluster: \"redis://a:1\"}\n", "store.cluster: a list of at most 16 nodes belongs here"},
	{LEAST "store: {cluster: [\"redis://a:1\"], replicas: 2}\n", NULL},
	{LEAST "store: {cluster: [\"redis://u:hunter2@a:1\"]}\n", "store.cluster: a url with user or password is refused."},
	{LEAST "store: {cluster: [\"redis://a:1\"], fsync: everysec}\n", NULL},
	{LEAST "store: {cluster: [\"redis://a:1\"], ca: %D/ca.pem}\n", "store.ca, store.cert and store.key are for rediss:// only"},
	{LEAST "store: {cluster: [\"redis://a:1\"], user: baton, password_file: %D/password}\n", NULL},
	{LEAST "store: {sentinels: \"redis://a:1\", sentinel_master: m}\n", "store.sentinels: a list of at most 16 sentinels belongs here"},
	{LEAST "store: {fsync: always}\n", NULL},
	{LEAST "store: {replicas: 1}\n", "store.replicas: the private redis-server has none"},
	{LEAST "store: {url: \"redis://h:1\", replicas: 1}\n", NULL},
	{LEAST "store: {sentinel_user: u}\n", "store.sentinel_user and store.sentinel_password_file are for store.sentinels only"},
	{LEAST "store: {fsync: always}\n", NULL},
	{LEAST "store: {fsync: \"no\"}\n", "store.fsync: \"no\" is none of always, everysec"},
	{LEAST "store: {fsync: everysec}\n", NULL},
	{LEAST "store: {keep_finished: 361s}\n",
		":11:24: store.keep_finished is shorter than envelope.window + twice clock_skew + store.timeout"},
	{LEAST "store: {keep_finished: 362s}\n", NULL},

	/* what this version does not do */
	{LEAST "listen: {http1: \"0.0.0.0:8443\"}\n",
		":11:17: listen.http1: only \"off\" is taken. It is not available in this version"},
	{LEAST "listen: {http1: \"off\"}\n", NULL},
	{LEAST "traces: {otlp: \"https://otel\"}\n",
		":11:16: traces.otlp: only \"\" is taken. It is not available in this version"},
	{LEAST "traces: {otlp: \"\"}\n", NULL},
	/* revocation lists */
	{TLS "  crl_stale: allow\n" ISSUER PROFILES, ":6:14: tls.crl_stale: deny, or {allow-for: 24h}"},
	{TLS "  crl_stale: deny\n" ISSUER PROFILES, NULL},
	{TLS "  crl_stale: {allow-for: 31d}\n" ISSUER PROFILES, "tls.crl_stale: 31d is not within 1s..30d"},
	{TLS "  crl_stale: {allow-for: 30d}\n" ISSUER PROFILES, NULL},
	{TLS "  crl_stale: {allow-for: 24h, then: deny}\n" ISSUER PROFILES, "tls.crl_stale: deny, or {allow-for: 24h}"},
	{TLS "  crl_stale: {allow-for: 24h}\n" ISSUER PROFILES, NULL},
	{TLS "  crl_stale: \"allow-for: ever\"\n" ISSUER PROFILES, "tls.crl_stale: \"ever\" is not a duration"},
	{TLS "  crl_stale: \"allow-for: 24h\"\n" ISSUER PROFILES, NULL},
	{TLS "  crl_refresh: 999ms\n" ISSUER PROFILES, "tls.crl_refresh: 999ms is not within 1s..7d"},
	{TLS "  crl_refresh: 1s\n" ISSUER PROFILES, NULL},
	{TRUST(", crl_urls: https://h/a.crl"), "tls.trust[0].crl_urls: a list of at most 8 URLs belongs here"},
	{TRUST(", crl_urls: [https://h/a.crl]"), NULL},
	{TRUST(", crl_urls: [ldap://h/a]"), "tls.trust[0].crl_urls: a URL here begins with https:// or http://"},
	{TRUST(", crl_urls: [http://h/a]"), NULL},
	{TRUST(", crl_urls: [\"https://user:s3cret@h/a\"]"),
	 "tls.trust[0].crl_urls: a URL with user or password is refused"},
	{TRUST(", crl_urls: [\"https://h/a?who=user@h\"]"), NULL},
	{TRUST(", crl_urls: [\"https://h/a\", \"https://h/a\"]"), "tls.trust[0].crl_urls: a URL stands in the list twice"},
	{TRUST(", crl_urls: [\"https://h/a\", \"https://h/b\"]"), NULL},
	{TRUST(", crl_urls: [\"https://h/1\", \"https://h/2\", \"https://h/3\", \"https://h/4\", \"https://h/5\", \"https://h/6\", \"https://h/7\", \"https://h/8\", \"https://h/9\"]"),
	 "tls.trust[0].crl_urls: a list of at most 8 URLs belongs here"},
	{TRUST(", crl_urls: [\"https://h/1\", \"https://h/2\", \"https://h/3\", \"https://h/4\", \"https://h/5\", \"https://h/6\", \"https://h/7\", \"https://h/8\"]"), NULL},
	{TRUST(", crl_ca: %D/ca.pem"), "tls.trust[0].crl_ca is for crl_urls only"},
	{TRUST(", crl_urls: [\"https://h/a\"], crl_ca: %D/ca.pem, crl_allow_private: true"), NULL},
	/* OCSP */
	{TRUST(", ocsp: {max_age: 5m}"), "tls.trust[0].ocsp.url: name the responder: http://ocsp.acme.example"},
	{TRUST(", ocsp: {url: \"http://o\", max_age: 5m}"), NULL},
	{TRUST(", ocsp: {url: \"ldap://o\"}"), "tls.trust[0].ocsp.url: a URL here begins with https:// or http://"},
	{TRUST(", ocsp: {url: \"https://o/x\", ca: %D/ca.pem, allow_private: true}"), NULL},
	{TRUST(", ocsp: {url: \"https://user:s3cret@o\"}"), "tls.trust[0].ocsp.url: a URL with user or password is refused"},
	{TRUST(", ocsp: {url: \"https://o\"}"), NULL},
	{TRUST(", ocsp: {url: \"http://o\", cert_id: md5}"), "tls.trust[0].ocsp.cert_id: \"md5\" is none of sha256, sha1"},
	{TRUST(", ocsp: {url: \"http://o\", cert_id: sha1}"), NULL},
	{TRUST(", ocsp: {url: \"http://o\", nonce: always}"), "tls.trust[0].ocsp.nonce: \"always\" is none of optional, required"},
	{TRUST(", ocsp: {url: \"http://o\", nonce: required}"), NULL},
	{TRUST(", ocsp: {url: \"http://o\", max_age: 1s}"), "tls.trust[0].ocsp.max_age: 1s is not within 2s..1d"},
	{TRUST(", ocsp: {url: \"http://o\", max_age: 2s}"), NULL},
	{TRUST(", ocsp: {url: \"http://o\", stale: allow}"), "tls.trust[0].ocsp.stale: deny, or {allow-for: 24h}"},
	{TRUST(", ocsp: {url: \"http://o\", stale: deny}"), NULL},
	{TRUST(", ocsp: {url: \"http://o\", stale: {allow-for: 31d}}"), "tls.trust[0].ocsp.stale: 31d is not within 1s..30d"},
	{TRUST(", ocsp: {url: \"http://o\", stale: {allow-for: 10m}}"), NULL},
	{LEAST "registry: {allow_private_fetches: \"yes\"}\n",
	 "registry.allow_private_fetches: \"yes\" is none of true, false"},
	{LEAST "registry: {allow_private_fetches: true}\n", NULL},
	{LEAST "registry: {secrets: secrets}\n", "registry.secrets: an absolute path belongs here"},
	{LEAST "registry: {secrets: %D}\n", NULL},
	{LEAST "registry: {secrets: %D/ca.pem}\n", "is not a folder"},
	{LEAST "registry: {secrets: %D}\n", NULL},
	{LEAST "registry: {secrets: %D/none}\n", "registry.secrets: "},
	{LEAST "registry: {secrets: %D}\n", NULL},

	/* what there is one value for */
	{LEAST "audit: {when_unwritable: continue}\n", "audit.when_unwritable: only \"refuse\" is taken"},
	{LEAST "audit: {when_unwritable: refuse}\n", NULL},
	{LEAST "version: 2\n", "version: only \"1\" is taken. This batond reads version 1"},
	{LEAST "version: 1\n", NULL},

	/* YAML */
	{LEAST "state_dir: &a /var\n", ":11:12: anchors and tags are not taken"},
	{LEAST "state_dir: \"/&a\"\n", NULL},
};

static void test_table(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct problem why;
		struct config *c = load(rows[i].yaml, &why);
		bool fine = rows[i].error ? !c && has(why.text, rows[i].error) && has(why.text, "%D/baton.yaml:")
			: c != NULL;

		if ((rows[i].error == NULL) != (i % 2 == 1))
			fail_msg("row %zu: refusals have even places, twins odd ones", i);
		if (!fine)
			print_error("row %zu: %s\n%s\nwhere this was expected: %s\n", i, rows[i].yaml, c ? "taken"
				: why.text,
				    rows[i].error ? rows[i].error : "taken");
		if (rows[i].error && strstr(why.text, "hunter2"))
			fail_msg("a secret is in the error: %s", why.text);
		failed += !fine;
		config_free(c);
	}
	assert_int_equal(failed, 0);
}

static void refused(const char *yaml, const char *error)
{
	struct problem why;

	assert_null(load(yaml, &why));
	if (!has(why.text, error))
		fail_msg("%s\n%s\nwhere this was expected: %s", yaml, why.text, error);
}

static void test_yaml(void **state)
{
	(void)state;
	refused("", ":1:1: the file is empty");
	refused("# nothing\n", ":1:1: the file is empty");
	refused("just text\n", "the file is not a mapping");
	refused("[a]\n", "the file is not a mapping");
	refused("a: [\n", "this is no YAML");
	refused("a: b: c\n", ":1:5: this is no YAML");
	refused("\tnode: x\n", "this is no YAML");
	refused("node: x\n---\nnode: y\n", ":2:1: a second document begins here");
	refused("node: &x a\nstate_dir: *x\n", ":1:7: anchors and tags are not taken");
	refused("node: *x\n", ":1:7: aliases are not taken");
	refused("tls: &x {}\n", "anchors and tags are not taken");
	refused("agents: &x []\n", "anchors and tags are not taken");
	refused("node: !!str a\n", "anchors and tags are not taken");
	refused("tls: !!map {}\n", "anchors and tags are not taken");
	refused("node: !<x> a\n", "anchors and tags are not taken");
	refused("<<: {node: a}\n", "unknown key `<<`");
	refused("node: |\n  a\n  b\n", "a control character or a line break inside a value");
	refused("node: \"a\\0b\"\n", "a control character");
	refused("node: \"a\\x1bb\"\n", "a control character");
	refused("? [a]\n: b\n", "a key is a plain word");
	refused("\"\": b\n", "a key is a plain word");
	refused("~: b\n", "a key is a plain word");
	refused("a: [[[[[[[[[[1]]]]]]]]]]\n", "nested too deeply");
	refused("node: \xff\n", "this is no YAML");
}

static void test_missing_and_too_large(void **state)
{
	struct problem why = {""};
	char *big = malloc((1 << 20) + 64);

	(void)state;
	assert_null(config_load("/nonexistent/baton.yaml", &why));
	assert_non_null(strstr(why.text, "/nonexistent/baton.yaml"));
	assert_non_null(big);
	memset(big, '#', (1 << 20) + 63);
	big[(1 << 20) + 63] = '\0';
	refused(big, "larger than");
	free(big);
}

/* ---- the registry ---- */

#define AGENTS "agents:\n  - {name: p, tenant: acme, id: \"spiffe://acme.example/p\", call: [refunds]}\n" \
	"  - {name: w, tenant: acme, id: \"spiffe://acme.example/w\", serve: [refunds]}\n"

static void registry_refused(const char *yaml, const char *error)
{
	struct problem why, warn;
	struct config *c = load(yaml, &why);

	if (!c)
		fail_msg("%s", why.text);
	assert_null(config_registry(c, &why, &warn));
	if (!has(why.text, error))
		fail_msg("%s\nwhere this was expected: %s", why.text, error);
	config_free(c);
}

static void test_registry(void **state)
{
	struct problem why, warn = {"x"};
	struct config *c = load(LEAST AGENTS, &why);
	struct registry *r;

	(void)state;
	if (!c)
		fail_msg("%s", why.text);
	r = config_registry(c, &why, &warn);
	if (!r)
		fail_msg("%s", why.text);
	assert_string_equal(warn.text, "");
	assert_int_equal(registry_agents(r), 2);
	assert_non_null(registry_route(r, "acme", SLICE_LIT("refunds")));
	assert_ptr_equal(registry_by_spiffe(r, "spiffe://acme.example/w"), registry_by_key(r, "acme",
		store_agent_key("acme", "w")));
	assert_null(registry_route(r, "other", SLICE_LIT("refunds")));
	config_free(c); /* the registry stands by itself */
	assert_string_equal(registry_by_name(r, "acme", SLICE_LIT("p"))->name, "p");
	registry_unref(r);
}

/* Descriptors run out: no directory of routes at all, rather than one without them. */
static void test_registry_without_descriptors(void **state)
{
	struct problem why = {""}, warn;
	struct config *c = load(LEAST AGENTS, &why);
	struct rlimit before, few;
	struct registry *r;
	int next;

	(void)state;
	assert_non_null(c);
	next = dup(0);
	assert_true(next >= 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
	close(next);
	few = (struct rlimit){(rlim_t)next, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_null(config_registry(c, &why, &warn));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_non_null(strstr(why.text, "Too many open files"));
	r = config_registry(c, &why, &warn);
	assert_non_null(r);
	assert_non_null(registry_route(r, "acme", SLICE_LIT("refunds")));
	registry_unref(r);
	config_free(c);
}

static void test_registry_refusals(void **state)
{
	(void)state;
	registry_refused(LEAST "agents:\n  - {name: p, tenant: acme, id: \"spiffe://acme.example/p\", call: [nowhere]}\n",
			 "agent p: `call` names nowhere, and tenant acme has no such route");
	write_file("profiles/bad.json", "{\"route\": \"x\", \"risk\": 1}");
	registry_refused(LEAST, "%D/profiles/bad.json: unknown member `risk`. Known: route");
	write_file("profiles/bad.json", "{");
	registry_refused(LEAST, "%D/profiles/bad.json: line 1, column 1");
	write_file("profiles/bad.json", refunds_json);
	registry_refused(LEAST, "%D/profiles/refunds.json: route refunds has two profiles");
	remove_file("profiles/bad.json");
	write_file("profiles/bad.json~", "{");
	write_file("profiles/.bad.json", "{");
	test_registry(NULL); /* not profiles */
	remove_file("profiles/bad.json~");
	remove_file("profiles/.bad.json");
}

/* ---- the shipped examples ---- */

/* Replaces every `from` in text; the caller frees both. */
static char *replace(const char *text, const char *from, const char *to)
{
	char *out = calloc(1, strlen(text) * 8 + 64), *at = out;

	assert_non_null(out);
	while (*text) {
		if (!strncmp(text, from, strlen(from))) {
			at = stpcpy(at, to);
			text += strlen(from);
		} else {
			*at++ = *text++;
		}
	}
	return out;
}

static void test_shipped_examples(void **state)
{
	static const char *const moves[][2] = {
		{"/etc/baton/tls/", "%D/"}, {"/etc/baton/trust/", "%D/"}, {"/etc/baton/profiles", "%D/profiles"},
	};
	const char *root = getenv("BATON_SRCDIR");
	struct problem why = {""}, warn = {""};
	struct registry *r;
	struct config *c;
	char path[1024], *text;
	uint8_t *bytes, *json;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/deploy/baton.yaml", root ? root : ".");
	if (file_read(path, 1 << 20, &bytes, &n, &why))
		fail_msg("%s", why.text);
	text = replace((const char *)bytes, "x-x-x", "");
	for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
		char *next = replace(text, moves[i][0], moves[i][1]);

		free(text);
		text = next;
	}
	c = load(text, &why);
	if (!c)
		fail_msg("%s", why.text);
	assert_int_equal(c->n_agents, 2);
	assert_int_equal(c->agents[1].agent.max_in_flight, 8);
	assert_int_equal(c->issuers[0].algorithms, ALG_ES256 | ALG_EDDSA | ALG_PS256 | ALG_RS256);

	snprintf(path, sizeof path, "%s/deploy/profiles/support_refund_assistant.json", root ? root : ".");
	if (file_read(path, 1 << 20, &json, &n, &why))
		fail_msg("%s", why.text);
	write_file("profiles/support.json", (const char *)json);
	r = config_registry(c, &why, &warn);
	if (!r)
		fail_msg("%s", why.text);
	assert_non_null(registry_route(r, "acme", SLICE_LIT("support_refund_assistant")));
	assert_non_null(strstr(warn.text, "support.json: not enforced in this version: guardrails.input.detect"));
	registry_unref(r);
	config_free(c);
	remove_file("profiles/support.json");
	free(text);
	free(bytes);
	free(json);
}

/* What the example file shows commented out are keys too: with the # taken away it still loads. */
static void test_commented_keys(void **state)
{
	static const char *const moves[][2] = {
		{"\n  # ", "\n  "}, {"\n    # ", "\n    "}, {"\n# assertion", "\nassertion"}, {"\n# issuing", "\nissuing"}, {"\n# keeper", "\nkeeper"}, {"\n#   ", "\n  "},
		{"/etc/baton/trust/servers.pem", "%D/ca.pem"}, {"/etc/baton/tls/", "%D/"}, {"/etc/baton/trust/", "%D/"}, {"/etc/baton/profiles", "%D/profiles"},
		{"/etc/baton/corp-ca.pem", "%D/ca.pem"}, {"/etc/baton/corp.secret", "%D/ca.pem"}, {"/etc/baton/secrets", "%D/profiles"},
	};
	const char *root = getenv("BATON_SRCDIR");
	struct problem why = {""};
	struct config *c;
	char path[1024], *text = NULL, *next;
	uint8_t *bytes;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/deploy/baton.yaml", root ? root : ".");
	if (file_read(path, 1 << 20, &bytes, &n, &why))
		fail_msg("%s", why.text);
	for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
		next = replace(text ? text : (const char *)bytes, moves[i][0], moves[i][1]);
		free(text);
		text = next;
	}
	c = load(text, &why);
	if (!c)
		fail_msg("%s", why.text);
	assert_non_null(strstr(c->issuers[0].ca_file, "/ca.pem"));
	assert_string_equal(c->issuers[0].introspection.url, "https://login.acme.example/introspect");
	assert_int_equal(c->issuers[0].introspection.cache_ms, 60000);
	assert_non_null(strstr(c->assertion_key_file, "assertion.key"));
	assert_int_equal(c->issuing_ttl_ms, 8 * 3600000);
	config_free(c);
	free(text);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_everything_set), cmocka_unit_test(test_key_uri), cmocka_unit_test(test_table),
			cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_missing_and_too_large), cmocka_unit_test(test_registry),
			cmocka_unit_test(test_registry_refusals), cmocka_unit_test(test_registry_without_descriptors),
		cmocka_unit_test(test_shipped_examples), cmocka_unit_test(test_commented_keys),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
