/* Would batond start with this configuration? Each part is built as start would build it, and dropped again. */
#include "app/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/secret.h"
#include "confine/confine.h"
#include "net/tls.h"
#include "rpc/issuing.h"

#define JWKS_MAX (256u << 10)

static bool tenant_has_issuer(const struct config *c, const char *tenant)
{
	for (size_t i = 0; i < c->n_issuers; i++)
		for (size_t j = 0; j < c->issuers[i].n_tenants; j++)
			if (strcmp(c->issuers[i].tenants[j], tenant) == 0)
				return true;
	return false;
}

static int check_keys(const struct issuer_rule *r, struct problem *why)
{
	struct keyset *keys;
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (!r->jwks_file[0])
		return 0;
	if (file_read(r->jwks_file, JWKS_MAX, &bytes, &n, why) < 0)
		return -1;
	keys = keyset_parse_for(r, slice_of(bytes, n), 1, why);
	free(bytes);
	if (!keys)
		return problem_prefix(why, "%s", r->jwks_file);
	keyset_unref(keys);
	return 0;
}

static int check_introspection(const struct issuer_rule *r, struct problem *why)
{
	const struct introspection_rule *i = &r->introspection;

	if (!i->cert_file[0] || tls_check_identity(i->cert_file, i->key_file, why) == 0)
		return 0;
	return problem_prefix(why, "issuer %s: introspection", r->name);
}

struct looking {
	uid_t keeper;
	struct problem *why;
};

/* As the keeper will see it. */
static int look_at_secret(void *arg, const char *key, const char *path, bool folder)
{
	const struct looking *l = arg;

	(void)folder;
	return secret_look(path, l->keeper, l->why) < 0 ? problem_prefix(l->why, "%s", key) : 0;
}

static int check_secrets(const struct config *c, struct problem *why)
{
	struct looking l = {.why = why};

	if (confine_uid_of(c->keeper_user, &l.keeper, why) < 0)
		return problem_prefix(why, "keeper.user");
	return config_each_secret(c, look_at_secret, &l);
}

static int check_socket(const char *path, struct problem *why)
{
	const char *slash = strrchr(path, '/');
	char folder[1024];
	struct stat st;

	if (!slash || !slice_copy_str(slice_of(path, (size_t)(slash - path) + (slash == path)), folder, sizeof folder))
		return 0;
	if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return problem_set(why, "listen.admin_socket: there is no folder %s: make it, name another path, or close the socket with \"\"", folder);
}

struct issuing *config_issuing(const struct config *c, const char *trust_domain, struct slice issuer, struct problem *why)
{
	struct issuing *i = NULL;
	uint8_t *pem = NULL, *chain = NULL;
	size_t n = 0, chain_n = 0;
	const char *fault = NULL;

	if (file_read(c->issuing_bundle, ISSUING_BUNDLE_FILE_MAX, &pem, &n, why) == 0 && file_read(c->tls_cert, ISSUING_BUNDLE_FILE_MAX, &chain, &chain_n, why) == 0)
		i = issuing_new(trust_domain, slice_of(pem, n), c->issuing_ttl_ms, why);
	if (i && !issuing_vouches(i, slice_of(chain, chain_n)))
		fault = "no CA in it signed tls.cert, so that agents could not verify this broker: put it in";
	else if (i && issuer.n && !issuing_vouches_for(i, issuer))
		fault = "no CA in it signed issuing.cert, so that agents could not verify what they get: put its root in";
	free(pem);
	free(chain);
	if (i && !fault)
		return i;
	issuing_unref(i);
	if (fault)
		problem_set(why, "%s", fault);
	problem_prefix(why, "issuing.bundle: %s", c->issuing_bundle);
	return NULL;
}

/* What the broker itself reads; the key is the keeper's to read, maybe as another user. */
static int check_issuing(const struct config *c, struct problem *why)
{
	struct issuing *i = c->issuing_cert[0] ? config_issuing(c, "", slice_of(NULL, 0), why) : NULL;

	issuing_unref(i);
	return i || !c->issuing_cert[0] ? 0 : -1;
}

/* What start refuses, and what nobody could use. */
static int check_usable(const struct config *c, const struct trust *t, struct problem *why, struct problem *warn)
{
	struct stat st;

	if (check_socket(c->listen_admin_socket, why) < 0)
		return -1;
	if (stat(c->state_dir, &st) == 0 && file_check_dir(c->state_dir, 0700, why) < 0)
		return problem_prefix(why, "state_dir");
	for (size_t i = 0; i < trust_count(t) && !warn->text[0]; i++)
		if (!trust_state(t, i).anchors)
			problem_set(warn, "tls.trust: the bundle of %s holds no certificate, so its agents are refused", trust_state(t, i).domain);
	for (size_t i = 0; i < c->n_issuers && !warn->text[0]; i++)
		if (!c->issuers[i].binding)
			problem_set(warn, "issuers: binding is none for %s: its tokens work on any agent's connection", c->issuers[i].name);
	for (size_t i = 0; i < c->n_agents && !warn->text[0]; i++)
		if (!tenant_has_issuer(c, c->agents[i].agent.tenant))
			problem_set(warn, "agents: no issuer speaks for tenant %s of %s: add it to issuers[].tenants", c->agents[i].agent.tenant, c->agents[i].agent.name);
	return 0;
}

int check_config(const struct config *c, struct problem *why, struct problem *warn)
{
	const struct tls_hook hook = {.verify = NULL};
	struct registry *r = config_registry(c, why, warn);
	struct tls_providers *providers = NULL;
	struct tls_server *tls = NULL;
	struct trust *t = NULL;
	int rc = -1;

	if (!r)
		goto out;
	if (!(t = trust_new(c->trust, c->n_trust, why))) {
		problem_prefix(why, "tls.trust");
		goto out;
	}
	if (c->n_tls_providers && !(providers = tls_providers_open(c->tls_providers, c->n_tls_providers, why)))
		goto out;
	if (!(tls = tls_server_new(c->tls_cert, c->tls_key, providers, &hook, why))) {
		problem_prefix(why, "tls.cert, tls.key");
		goto out;
	}
	for (size_t i = 0; i < c->n_issuers; i++)
		if (check_keys(&c->issuers[i], why) < 0 || check_introspection(&c->issuers[i], why) < 0)
			goto out;
	rc = check_secrets(c, why) < 0 || check_issuing(c, why) < 0 ? -1 : check_usable(c, t, why, warn);
out:
	tls_server_unref(tls);
	tls_providers_close(providers);
	trust_unref(t);
	registry_unref(r);
	return rc;
}
