/* Who vouches for identities on this node? See vouching.h. What is read of the store is judged again, as if nobody had: it may be of another version. */
#include "app/vouching.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/bundlespec.h"
#include "rpc/cader.h"
#include "rpc/issuerspec.h"
#include "rpc/unpacked.h"

#define ARENA_MAX (256u << 20) /* as many of them, and as large, as there may be */
#define TRUSTS_MAX 256 /* domains: trust_with() takes no more */

/* The lists while they grow. */
struct making {
	const struct vouching_from *from;
	struct vouching *out;
	struct arena *arena;
	struct issuer_source *issuers;
	size_t n_issuers;
	struct trust_domain_config *domains;
	size_t n_domains;
	struct crl_source *sources;
	size_t n_sources;
};

bool vouching_is(struct slice name)
{
	return slice_begins(name, SLICE_LIT(ISSUER_PREFIX)) || slice_begins(name, SLICE_LIT(BUNDLE_PREFIX));
}

static void leave_out(struct making *k, const struct resource *r, bool conflict, const char *what)
{
	k->out->refused++;
	k->out->conflicts += conflict;
	problem_set(&k->out->why, "%.*s: %s", (int)r->name.n, (const char *)r->name.p, what);
}

/* What stands under another's name is not believed. */
static bool is_under(const struct resource *r, size_t prefix, const char *name)
{
	return slice_is(slice_of(r->name.p + prefix, r->name.n - prefix), name);
}

/* ---- issuers ---- */

/* NULL: no issuer that is there already stands in its way. */
static const char *issuer_conflict(const struct making *k, const struct issuer_rule *rule)
{
	const char *same = NULL;

	for (size_t i = 0; i < k->n_issuers && !same; i++)
		same = issuerspec_collide(k->issuers[i].rule, rule);
	if (!same)
		return NULL;
	return strcmp(same, "name") == 0 ? "an issuer of this name stands in the configuration file" : strcmp(same, "url") == 0 ? "another issuer has its url"
		: strcmp(same, "introspection") == 0 ? "another issuer is asked about tokens of one of its tenants" : "another issuer has its trust domain";
}

/* Those who run the node can mend it; what two registered ones have in common, whoever registered them. */
static bool of_configuration(const struct making *k, const struct issuer_rule *rule)
{
	for (size_t i = 0; i < k->from->n_issuers; i++)
		if (issuerspec_collide(&k->from->issuers[i], rule))
			return true;
	return false;
}

/* false: memory is out; so below. */
static bool copy_ca(struct making *k, const Baton__V1__Issuer *m, struct slice *out)
{
	char *pem = m->n_ca_der ? cader_pem(m->ca_der, m->n_ca_der) : NULL, *copy = pem ? arena_strdup(k->arena, pem) : NULL;

	free(pem);
	*out = copy ? slice_str(copy) : slice_of(NULL, 0);
	return copy || !m->n_ca_der;
}

static bool add_issuer(struct making *k, const struct resource *r)
{
	struct problem why = {""};
	struct issuer_rule *rule;
	const char *field, *wrong, *conflict;
	Baton__V1__Resource *m;
	struct slice ca;

	if (k->n_issuers >= k->from->n_issuers + ISSUERS_MAX) {
		leave_out(k, r, false, "there are more issuers than there may be: remove some");
		return true;
	}
	m = resource_unpack(k->arena, r, BATON__V1__RESOURCE__SPEC_ISSUER);
	rule = arena_alloc(k->arena, sizeof *rule);

	if (arena_failed(k->arena))
		return false;
	wrong = !m || !is_under(r, sizeof ISSUER_PREFIX - 1, m->issuer->name) ? "it is no issuer" : issuerspec_rule(m->issuer, rule, &field, &why);
	conflict = wrong ? NULL : issuer_conflict(k, rule);
	if (wrong || conflict) {
		leave_out(k, r, conflict && of_configuration(k, rule), wrong ? wrong : conflict);
		return true;
	}
	if (!copy_ca(k, m->issuer, &ca))
		return false;
	rule->allow_private = rule->allow_private && k->from->allow_private;
	k->issuers[k->n_issuers++] = (struct issuer_source){rule, slice_of(m->issuer->jwks.data, m->issuer->jwks.len), ca};
	return true;
}

/* ---- trust domains ---- */

static bool is_configured(const struct making *k, const char *domain)
{
	for (size_t i = 0; i < trust_count(k->from->configured); i++)
		if (strcmp(trust_state(k->from->configured, i).domain, domain) == 0)
			return true;
	return false;
}

static bool add_domain(struct making *k, const struct resource *r)
{
	struct trust_domain_config *d = &k->domains[k->n_domains];
	struct problem why = {""};
	const char *field, *wrong;
	Baton__V1__Resource *m;

	if (k->n_domains >= BUNDLES_MAX || trust_count(k->from->configured) + k->n_domains >= TRUSTS_MAX) {
		leave_out(k, r, false, "there are more trust bundles than there may be: remove some");
		return true;
	}
	m = resource_unpack(k->arena, r, BATON__V1__RESOURCE__SPEC_BUNDLE);

	if (arena_failed(k->arena))
		return false;
	wrong = !m || !is_under(r, sizeof BUNDLE_PREFIX - 1, m->bundle->trust_domain) ? "it is no trust bundle" : bundlespec_wrong(m->bundle, &field, &why);
	if (wrong || is_configured(k, m->bundle->trust_domain)) {
		leave_out(k, r, !wrong, wrong ? wrong : "its trust domain stands in the configuration file");
		return true;
	}
	if (!bundlespec_domain(k->arena, m->bundle, d))
		return false;
	d->crl_allow_private = k->from->allow_private;
	d->ocsp_allow_private = k->from->allow_private;
	d->crl_grace_ms = k->from->crls->grace_ms;
	k->n_domains++;
	return true;
}

static bool add_sources(struct making *k, const struct trust_domain_config *d)
{
	char *pem = d->n_crl_ca ? trust_pem(d->crl_ca, d->n_crl_ca) : NULL, *copy = pem ? arena_strdup(k->arena, pem) : NULL;

	free(pem);
	for (size_t u = 0; u < d->n_crl_urls; u++)
		k->sources[k->n_sources++] = (struct crl_source){d->domain, d->crl_urls[u], d->crl_ca_file, d->crl_allow_private, copy};
	return copy || !d->n_crl_ca;
}

static bool add_all_sources(struct making *k)
{
	const struct vouching_from *f = k->from;
	bool ok = true;

	for (size_t i = 0; i < f->n_domains; i++)
		ok = add_sources(k, &f->domains[i]) && ok;
	for (size_t i = 0; i < k->n_domains; i++)
		ok = add_sources(k, &k->domains[i]) && ok;
	return ok;
}

/* Of all domains. */
static struct responders *make_responders(struct making *k, struct problem *why)
{
	const struct vouching_from *f = k->from;
	struct trust_domain_config *all = arena_alloc(k->arena, (f->n_domains + k->n_domains + 1) * sizeof *all);

	if (!all) {
		problem_set(why, "out of memory");
		return NULL;
	}
	memcpy(all, f->domains, f->n_domains * sizeof *all);
	memcpy(all + f->n_domains, k->domains, k->n_domains * sizeof *all);
	return responders_new(f->certstatus, all, f->n_domains + k->n_domains, why);
}

static int make_trust(struct making *k, struct problem *why)
{
	const struct vouching_from *f = k->from;
	struct vouching *out = k->out;
	struct trust *base;

	if (f->running_trust && !f->read_files && !f->bundles) {
		out->trust = trust_ref(f->running_trust);
		return 0;
	}
	k->sources = arena_alloc(k->arena, (f->n_domains + k->n_domains + 1) * CRL_URLS_MAX * sizeof *k->sources);
	if (!k->sources || !add_all_sources(k))
		return problem_set(why, "out of memory");
	base = trust_with(f->configured, k->domains, k->n_domains, why);
	out->crls = base ? crlfeed_new(f->crls, k->sources, k->n_sources, base, f->running_crls, why) : NULL;
	out->trust = out->crls ? crlfeed_trust(out->crls, why) : NULL;
	trust_unref(base);
	out->responders = out->trust ? make_responders(k, why) : NULL;
	return out->responders ? 0 : -1;
}

/* ---- both ---- */

static size_t count(const struct resources *s, struct slice prefix)
{
	size_t from = resources_place(s, prefix), i = from;

	while (i < resources_count(s) && slice_begins(resources_at(s, i)->name, prefix))
		i++;
	return i - from;
}

static bool gather(struct making *k, struct slice prefix, bool (*add)(struct making *, const struct resource *))
{
	const struct resources *s = k->from->resources;
	size_t from = resources_place(s, prefix), n = count(s, prefix);

	for (size_t i = 0; i < n; i++)
		if (!resources_at(s, from + i)->removed && !add(k, resources_at(s, from + i)))
			return false;
	return true;
}

static bool fill(struct making *k)
{
	const struct vouching_from *f = k->from;
	const struct slice issuers = SLICE_LIT(ISSUER_PREFIX), bundles = SLICE_LIT(BUNDLE_PREFIX);

	k->issuers = arena_alloc(k->arena, (f->n_issuers + count(f->resources, issuers) + 1) * sizeof *k->issuers);
	k->domains = arena_alloc(k->arena, (count(f->resources, bundles) + 1) * sizeof *k->domains);
	if (!k->issuers || !k->domains)
		return false;
	for (size_t i = 0; i < f->n_issuers; i++)
		k->issuers[k->n_issuers++] = (struct issuer_source){.rule = &f->issuers[i]};
	return gather(k, issuers, add_issuer) && gather(k, bundles, add_domain);
}

static int make(struct making *k, struct problem *why)
{
	const struct vouching_from *f = k->from;
	struct vouching *out = k->out;

	if (!fill(k))
		return problem_set(why, "out of memory");
	out->feed = keyfeed_new(f->feed, k->issuers, k->n_issuers, f->read_files ? NULL : f->running, why);
	if (out->feed && f->running)
		keyfeed_inherit(out->feed, f->running, f->read_files);
	if (out->feed)
		out->introspector = introspector_new(f->asking, k->issuers, k->n_issuers, f->running_introspector, f->read_files ? NULL : f->running_introspector, why);
	return out->introspector ? make_trust(k, why) : -1;
}

int vouching_make(const struct vouching_from *from, struct vouching *out, struct problem *why)
{
	struct making k = {.from = from, .out = out, .arena = arena_new(ARENA_MAX)};
	int rc;

	*out = (struct vouching){0};
	rc = k.arena ? make(&k, why) : problem_set(why, "out of memory");
	arena_free(k.arena);
	if (rc)
		vouching_clear(out);
	return rc;
}

void vouching_clear(struct vouching *v)
{
	keyfeed_free(v->feed);
	introspector_free(v->introspector);
	crlfeed_free(v->crls);
	trust_unref(v->trust);
	responders_free(v->responders);
	v->feed = NULL;
	v->introspector = NULL;
	v->crls = NULL;
	v->trust = NULL;
	v->responders = NULL;
}
