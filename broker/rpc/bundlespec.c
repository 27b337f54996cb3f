/* What does the registry say of a trust domain? See bundlespec.h. A bundle is read as certificates are judged against it, so that what is kept can be used. */
#include "rpc/bundlespec.h"

#include <string.h>

#include "identity/crl.h"
#include "rpc/cader.h"

typedef Baton__V1__TrustBundle bundle;

#define ARENA_MAX (80u << 10)

static const struct slice *slices(struct arena *a, const ProtobufCBinaryData *v, size_t n)
{
	struct slice *out = arena_alloc(a, (n + 1) * sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		out[i] = slice_of(v[i].data, v[i].len);
	return out;
}

bool bundlespec_domain(struct arena *a, const bundle *m, struct trust_domain_config *out)
{
	*out = (struct trust_domain_config){
		.domain = m->trust_domain, .anchors = slices(a, m->anchors_der, m->n_anchors_der), .n_anchors = m->n_anchors_der,
		.crls = slices(a, m->crls_der, m->n_crls_der), .n_crls = m->n_crls_der, .crl_urls = (const char *const *)m->crl_urls, .n_crl_urls = m->n_crl_urls,
		.crl_ca = slices(a, m->crl_ca_der, m->n_crl_ca_der), .n_crl_ca = m->n_crl_ca_der,
		.ocsp_url = m->ocsp_url, .ocsp_ca = slices(a, m->ocsp_ca_der, m->n_ocsp_ca_der), .n_ocsp_ca = m->n_ocsp_ca_der,
		.ocsp_digest = ocsp_digest_of(m->ocsp_cert_id), .ocsp_nonce = ocsp_nonce_of(m->ocsp_nonce),
		.ocsp_max_age_ms = m->ocsp_max_age_s ? m->ocsp_max_age_s * INT64_C(1000) : OCSP_AGE_MS, .ocsp_grace_ms = m->ocsp_stale_s * INT64_C(1000),
	};
	return out->anchors && out->crls && out->crl_ca && out->ocsp_ca;
}

static size_t bytes_of(const ProtobufCBinaryData *v, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += v[i].len;
	return bytes;
}

static const char *urls_wrong(const bundle *m)
{
	const char *wrong = m->n_crl_urls > CRL_URLS_MAX ? "at most 8 URLs" : NULL;

	for (size_t i = 0; i < m->n_crl_urls && !wrong; i++) {
		wrong = crl_url_wrong(m->crl_urls[i]);
		for (size_t k = 0; k < i && !wrong; k++)
			wrong = strcmp(m->crl_urls[i], m->crl_urls[k]) == 0 ? "a URL stands there twice" : NULL;
	}
	return wrong;
}

static const char *ca_wrong(const bundle *m)
{
	if (m->n_crl_ca_der && !m->n_crl_urls)
		return "it is for crl_urls only: leave it out";
	return cader_wrong(m->crl_ca_der, m->n_crl_ca_der);
}

/* ---- the responder ---- */

static const char *responder_url_wrong(const bundle *m)
{
	return *m->ocsp_url ? crl_url_wrong(m->ocsp_url) : NULL;
}

static const char *responder_ca_wrong(const bundle *m)
{
	return cader_wrong(m->ocsp_ca_der, m->n_ocsp_ca_der);
}

static const char *cert_id_wrong(const bundle *m)
{
	return ocsp_digest_of(m->ocsp_cert_id) < 0 ? "sha256 or sha1" : NULL;
}

static const char *nonce_wrong(const bundle *m)
{
	return ocsp_nonce_of(m->ocsp_nonce) < 0 ? "optional or required" : NULL;
}

static const char *max_age_wrong(const bundle *m)
{
	int64_t ms = m->ocsp_max_age_s * INT64_C(1000);

	return ms && (ms < OCSP_AGE_MIN_MS || ms > OCSP_AGE_MAX_MS) ? "2 to 86400 seconds, or 0 for 600" : NULL;
}

static const char *stale_wrong(const bundle *m)
{
	return m->ocsp_stale_s * INT64_C(1000) > OCSP_STALE_MAX_MS ? "at most 2592000 seconds, which are 30 days" : NULL;
}

/* Without a responder nothing is said of one. */
static bool responder_unsaid(const bundle *m, const char **field)
{
	*field = m->n_ocsp_ca_der ? "bundle.ocsp_ca_der" : *m->ocsp_cert_id ? "bundle.ocsp_cert_id" : *m->ocsp_nonce ? "bundle.ocsp_nonce"
		: m->ocsp_max_age_s ? "bundle.ocsp_max_age_s" : m->ocsp_stale_s ? "bundle.ocsp_stale_s" : NULL;
	return !*m->ocsp_url && *field;
}

static const char *responder_wrong(const bundle *m, const char **field)
{
	static const struct { const char *field; const char *(*wrong)(const bundle *); } rows[] = {
		{"bundle.ocsp_url", responder_url_wrong}, {"bundle.ocsp_ca_der", responder_ca_wrong}, {"bundle.ocsp_cert_id", cert_id_wrong},
		{"bundle.ocsp_nonce", nonce_wrong}, {"bundle.ocsp_max_age_s", max_age_wrong}, {"bundle.ocsp_stale_s", stale_wrong},
	};
	const char *wrong = NULL;

	if (responder_unsaid(m, field))
		return "it is for ocsp_url only: name the responder there, or leave it out";
	for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !wrong; i++) {
		*field = rows[i].field;
		wrong = rows[i].wrong(m);
	}
	return wrong;
}

const char *bundlespec_wrong(const bundle *m, const char **field, struct problem *why)
{
	struct arena *a;
	struct trust_domain_config d;
	struct trust *t = NULL;
	const char *wrong;

	*field = "bundle.trust_domain";
	if (trust_domain_wrong(m->trust_domain))
		return trust_domain_wrong(m->trust_domain);
	*field = "bundle.crl_urls";
	if (urls_wrong(m))
		return urls_wrong(m);
	*field = "bundle.crl_ca_der";
	if (ca_wrong(m))
		return ca_wrong(m);
	wrong = responder_wrong(m, field);
	if (wrong)
		return wrong;
	*field = "bundle.anchors_der";
	if (!m->n_anchors_der)
		return "at least one CA: to refuse all certificates of the domain, remove it";
	if (bytes_of(m->anchors_der, m->n_anchors_der) + bytes_of(m->crls_der, m->n_crls_der) > BUNDLE_BYTES_MAX)
		return "over 256 KiB with the CRLs: put a bundle that large into the configuration, as files";
	a = arena_new(ARENA_MAX);
	if (a && bundlespec_domain(a, m, &d))
		t = trust_new(&d, 1, why);
	else
		problem_set(why, "out of memory");
	arena_free(a);
	trust_unref(t);
	return t ? NULL : why->text;
}
