/* How is the agent's side of enrolment done with keys and certificates? See enrolment.h. Who speaks to whom is cli/enroll.c and cli/renewal.c. */
#include "config.h"

#include "identity/enrolment.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "identity/ca_priv.h"
#include "identity/trust_priv.h"

int enrolment_request(const struct ca_key *key, struct buf *out, struct problem *why)
{
	X509_REQ *req = X509_REQ_new();
	unsigned char *der = NULL;
	int n = 0;
	bool ok = req && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(req, key->pkey) == 1 &&
		  X509_REQ_sign(req, key->pkey, ca_digest_for(key->pkey)) > 0;

	if (ok)
		n = i2d_X509_REQ(req, &der);
	ok = n > 0 && buf_put(out, der, (size_t)n);
	OPENSSL_free(der);
	X509_REQ_free(req);
	return ok ? 0 : ca_failed(why, "making a certificate request");
}

/* ---- the answer ---- */

/* Owned with what is in it; NULL: one of them is no certificate. */
static STACK_OF(X509) *read_chain(const struct slice *der, size_t n)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	bool ok = all && n;

	for (size_t i = 0; ok && i < n; i++) {
		X509 *cert = trust_x509(der[i]);

		ok = cert && sk_X509_push(all, cert) > 0;
		if (!ok)
			X509_free(cert);
	}
	if (ok)
		return all;
	sk_X509_pop_free(all, X509_free);
	return NULL;
}

/* As a broker that trusts `t` would judge it. */
static int judge(const struct trust *t, STACK_OF(X509) *chain, const char *spiffe_id, int64_t now_ms, struct problem *why)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	struct identity_peer *p = NULL;
	const char *fault = "out_of_memory";
	int alert, rc = -1;

	if (ctx && X509_STORE_CTX_init(ctx, NULL, sk_X509_value(chain, 0), chain) == 1)
		p = identity_peer_verify(t, ctx, now_ms, &fault, &alert);
	if (!p)
		problem_set(why, "it would not be taken anywhere (%s)", fault);
	else if (strcmp(p->spiffe_id, spiffe_id) != 0)
		problem_set(why, "it is made for another SPIFFE id");
	else
		rc = 0;
	identity_peer_free(p);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

static int check_trust(const char *spiffe_id, STACK_OF(X509) *chain, const struct slice *bundle, size_t n, int64_t now_ms, struct problem *why)
{
	struct spiffe_id id;
	const char *fault = spiffe_parse(slice_str(spiffe_id), &id);
	struct trust_domain_config d = {.anchors = bundle, .n_anchors = n};
	char domain[256];
	struct trust *t;
	int rc;

	if (fault)
		return problem_set(why, "its SPIFFE id is none: %s", fault);
	if (!slice_copy_str(id.trust_domain, domain, sizeof domain))
		return problem_set(why, "its trust domain is longer than 255 bytes");
	d.domain = domain;
	t = trust_new(&d, 1, why);
	if (!t)
		return problem_prefix(why, "the CA bundle with it");
	rc = judge(t, chain, spiffe_id, now_ms, why);
	trust_unref(t);
	return rc;
}

int enrolment_check(const struct ca_key *key, const char *spiffe_id, const struct slice *chain, size_t n_chain, const struct slice *bundle, size_t n_bundle,
		    int64_t now_ms, struct problem *why)
{
	STACK_OF(X509) *all = read_chain(chain, n_chain);
	int rc;

	if (!all)
		rc = problem_set(why, "one of its chain is no certificate");
	else if (EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(all, 0)), key->pkey) != 1)
		rc = problem_set(why, "it is made for another key than ours");
	else
		rc = check_trust(spiffe_id, all, bundle, n_bundle, now_ms, why);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return rc;
}
