/* What world do the fuzzers of rpc/ live in? See kit.h. */
#include "kit.h"

#include <openssl/evp.h>

#include "baton/v1/admin.pb-c.h"
#include "base/encode.h"
#include "fuzz.h"
#include "policy/profile.h"

#define FOREVER_MS (INT64_C(1) << 50)
#define FAR_S "4102444800" /* 2100 */

static const char refunds[] =
	"{\"route\": \"refunds\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"baton\","
	" \"required_scopes\": [\"a\", \"b\"]}, \"tools\": {\"allowed\": [\"look\", \"draft\"], \"spec\": {\"look\": {\"scopes\": [\"a\"],"
	" \"side_effect\": \"read\"}, \"draft\": {\"scopes\": [\"b\"], \"side_effect\": \"draft\"}}},"
	" \"delivery\": {\"kind\": \"queue\", \"lease_ms\": 30000, \"max_attempts\": 3, \"backoff_ms\": [1000, 60000]}}";
static const char mail[] =
	"{\"route\": \"mail\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"baton\","
	" \"required_scopes\": [\"a\"]}, \"tools\": {\"allowed\": [\"write\"], \"approval_required\": [\"send\"], \"spec\": {"
	"\"write\": {\"scopes\": [\"a\"], \"side_effect\": \"write\"}, \"send\": {\"scopes\": [\"a\"], \"side_effect\": \"external_send\"}}},"
	" \"egress\": {\"classes\": {\"mail.example\": \"customer\"}},"
	" \"sandbox\": {\"network\": {\"allowed_domains\": [\"mail.example\"]}}}";

static const char news[] =
	"{\"route\": \"news\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"baton\","
	" \"required_scopes\": [\"a\"]}, \"tools\": {\"allowed\": [\"look\"], \"spec\": {\"look\": {\"scopes\": [\"a\"],"
	" \"side_effect\": \"read\"}}}, \"delivery\": {\"kind\": \"broadcast\", \"lease_ms\": 30000}}";

static void add_profile(struct registry *r, const char *json)
{
	struct problem why = {""};
	struct profile *p = profile_parse(slice_str(json), &why, NULL);

	if (!p || registry_add_profile(r, p, &why) != 0)
		fprintf(stderr, "%s\n", why.text);
	NEED(p && !why.text[0]);
	profile_unref(p);
}

static void add_agent(struct registry *r, const char *name, bool calls, size_t routes)
{
	char id[128], list[3][64] = {KIT_ROUTE, "mail"};
	struct agent a = {.tenant = KIT_TENANT, .may_originate = calls, .max_in_flight = 8, .spiffe_id = id, .client = name};
	struct problem why = {""};

	snprintf(a.name, sizeof a.name, "%s", name);
	snprintf(id, sizeof id, KIT_SPIFFE("%s"), name);
	snprintf(list[routes], sizeof list[0], "news");
	*(calls ? &a.call : &a.serve) = (const char(*)[64])list;
	*(calls ? &a.n_call : &a.n_serve) = routes + 1;
	a.key = store_agent_key(KIT_TENANT, name);
	NEED(registry_add_agent(r, &a, &why) == 0);
}

static void be(struct identity_peer *p, const char *name)
{
	snprintf(p->spiffe_id, sizeof p->spiffe_id, KIT_SPIFFE("%s"), name);
	sha256(slice_str(name), p->cert_sha256);
	b64url_encode(p->cert_sha256, sizeof p->cert_sha256, p->x5t_s256);
	p->not_after_ms = FOREVER_MS;
}

static void make_token(struct kit *k, EVP_PKEY *key)
{
	static const char header[] = "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"k\"}";
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t signature[64];
	size_t n = sizeof signature, at;
	char payload[512];

	snprintf(payload, sizeof payload, "{\"iss\":\"https://i.example\",\"sub\":\"" KIT_SENDER "\",\"client_id\":\"" KIT_SENDER
		 "\",\"aud\":\"baton\",\"exp\":" FAR_S ",\"iat\":1700000000,\"jti\":\"j\",\"scope\":\"a b\",\"tenant\":\"" KIT_TENANT
		 "\",\"cnf\":{\"x5t#S256\":\"%s\"}}", k->sender.x5t_s256);
	b64url_encode(header, sizeof header - 1, k->token);
	at = strlen(k->token);
	k->token[at++] = '.';
	b64url_encode(payload, strlen(payload), k->token + at);
	at = strlen(k->token);
	NEED(c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1);
	NEED(EVP_DigestSign(c, signature, &n, (const uint8_t *)k->token, at) == 1);
	EVP_MD_CTX_free(c);
	k->token[at++] = '.';
	b64url_encode(signature, n, k->token + at);
}

static struct keyset *make_keys(EVP_PKEY *key)
{
	char x[B64URL_LEN(32) + 1], jwks[256];
	struct keyset *keys;
	uint8_t raw[32];
	size_t n = sizeof raw;

	NEED(EVP_PKEY_get_raw_public_key(key, raw, &n) == 1);
	b64url_encode(raw, n, x);
	snprintf(jwks, sizeof jwks, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"%s\"}]}", x);
	keys = keyset_parse(slice_str(jwks), 31, 1, NULL);
	NEED(keys);
	return keys;
}

static struct registry *make_registry(size_t sender_routes, size_t worker_routes)
{
	struct registry *r = registry_new();

	NEED(r);
	add_profile(r, refunds);
	add_profile(r, mail);
	add_profile(r, news);
	add_agent(r, KIT_SENDER, true, sender_routes);
	if (worker_routes)
		add_agent(r, KIT_WORKER, false, worker_routes);
	return r;
}

static struct slice pack_role(const char *name, char *role, const char *spiffe_id, const char *claim, uint8_t *bytes)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	Baton__V1__RoleBinding b = BATON__V1__ROLE_BINDING__INIT;

	b.name = (char *)name;
	b.roles = &role;
	b.n_roles = 1;
	b.tenant = *claim ? KIT_TENANT : "";
	b.spiffe_id = (char *)spiffe_id;
	b.issuer = *claim ? "corp" : "";
	b.claim = (char *)claim;
	b.value = *claim ? KIT_SENDER : "";
	m.spec_case = BATON__V1__RESOURCE__SPEC_ROLE;
	m.role = &b;
	return slice_of(bytes, baton__v1__resource__pack(&m, bytes));
}

static struct slice pack_tenant(uint8_t *bytes)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	Baton__V1__Tenant t = BATON__V1__TENANT__INIT;

	t.name = KIT_TENANT;
	t.max_waiting = 40;
	m.spec_case = BATON__V1__RESOURCE__SPEC_TENANT;
	m.tenant = &t;
	return slice_of(bytes, baton__v1__resource__pack(&m, bytes));
}

/* One agent that was registered, and one name whose value is no agent, the same of tenants; the worker is an operator, the sender is one of its tenant by its token. */
static struct resources *make_resources(void)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	Baton__V1__AgentSpec a = BATON__V1__AGENT_SPEC__INIT;
	struct resources *none = resources_new(), *r;
	uint8_t bytes[512], worker[512], sender[512], tenant[512];
	size_t behind;

	a.tenant = KIT_TENANT;
	a.name = "member";
	a.spiffe_id = KIT_SPIFFE("member");
	a.owner = "team";
	a.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED;
	m.spec_case = BATON__V1__RESOURCE__SPEC_AGENT;
	m.agent = &a;
	r = resources_with(none, (const struct resource[]){
		{.name = SLICE_LIT("agent/" KIT_TENANT "/member"), .version = 1, .value = slice_of(bytes, baton__v1__resource__pack(&m, bytes))},
		{.name = SLICE_LIT("agent/" KIT_TENANT "/none"), .version = 1, .value = SLICE_LIT("?")},
		{.name = SLICE_LIT("role/one"), .version = 1, .value = pack_role("one", "platform", KIT_SPIFFE(KIT_WORKER), "", worker)},
		{.name = SLICE_LIT("role/two"), .version = 1, .value = pack_role("two", "sre", "", "sub", sender)},
		{.name = SLICE_LIT("tenant/" KIT_TENANT), .version = 1, .value = pack_tenant(tenant)}, {.name = SLICE_LIT("tenant/none"), .version = 1, .value = SLICE_LIT("?")}},
		6, &behind);
	NEED(r);
	resources_unref(none);
	return r;
}

static struct world *make_world(size_t sender_routes, size_t worker_routes, struct keyset *keys)
{
	struct issuer_entry e = {.rule = {.name = "corp", .url = "https://i.example", .n_tenants = 1, .algorithms = 31, .binding = true,
					  .max_lifetime_ms = FOREVER_MS, .claims.tenant = "tenant"}, .keys = keys, .keys_good_until_ms = INT64_MAX};
	const struct envelope_limits limits = {.window_ms = FOREVER_MS, .clock_skew_ms = FOREVER_MS, .max_payload = 4096};
	const struct world_quotas quotas = {.rate_per_agent = 40, .waiting_per_tenant = 50, .waiting_bytes_per_tenant = 1 << 18};
	struct world *w;

	memcpy(e.rule.tenants[0], KIT_TENANT, sizeof KIT_TENANT);
	w = world_new(make_registry(sender_routes, worker_routes), issuers_new(&e, 1), make_resources(), 0, &limits, &quotas, true);
	NEED(w);
	world_set_audience(w, "baton");
	return w;
}

void kit_make(struct kit *k)
{
	static const uint8_t bytes[32] = "always the same key of an issuer";
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, sizeof bytes);
	struct keyset *keys;

	NEED(key);
	be(&k->sender, KIT_SENDER);
	be(&k->worker, KIT_WORKER);
	be(&k->stranger, "stranger");
	make_token(k, key);
	keys = make_keys(key);
	k->world = make_world(2, 2, keys);
	k->fewer = make_world(1, 2, keys);
	k->alone = make_world(2, 0, keys);
	k->keyless = make_world(2, 2, NULL);
	keyset_unref(keys);
	EVP_PKEY_free(key);
}

void kit_free(struct kit *k)
{
	world_unref(k->world);
	world_unref(k->fewer);
	world_unref(k->alone);
	world_unref(k->keyless);
}
