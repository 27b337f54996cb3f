/* Does this certificate prove a workload of a trust domain that we know? First what the leaf says (X.509-SVID §3, §4),
 * then its chain against the one bundle of that domain. Nothing but the URI SAN names anybody: no subject, no DNS name,
 * no order of RDNs. */
#include "identity/peer.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "identity/trust_priv.h"

struct fault {
	const char *why;
	int alert;
};

static const struct fault out_of_memory = {"untrusted_chain", SSL_AD_INTERNAL_ERROR};

#define FAULT(name, text, number) static const struct fault name = {text, number}
FAULT(no_certificate, "no_certificate", SSL_AD_CERTIFICATE_REQUIRED);
FAULT(no_uri_san, "no_uri_san", SSL_AD_BAD_CERTIFICATE);
FAULT(two_uri_sans, "two_uri_sans", SSL_AD_BAD_CERTIFICATE);
FAULT(bad_spiffe_id, "bad_spiffe_id", SSL_AD_BAD_CERTIFICATE);
FAULT(unknown_trust_domain, "unknown_trust_domain", SSL_AD_UNKNOWN_CA);
FAULT(leaf_is_ca, "leaf_is_ca", SSL_AD_BAD_CERTIFICATE);
FAULT(key_usage, "key_usage", SSL_AD_UNSUPPORTED_CERTIFICATE);
FAULT(extended_key_usage, "extended_key_usage", SSL_AD_UNSUPPORTED_CERTIFICATE);
FAULT(weak_key, "weak_key", SSL_AD_BAD_CERTIFICATE);
FAULT(certificate_expired, "certificate_expired", SSL_AD_CERTIFICATE_EXPIRED);
FAULT(certificate_not_yet_valid, "certificate_not_yet_valid", SSL_AD_BAD_CERTIFICATE);
FAULT(revoked, "revoked", SSL_AD_CERTIFICATE_REVOKED);
FAULT(crl_stale, "crl_stale", SSL_AD_CERTIFICATE_UNKNOWN);
FAULT(crl_missing, "crl_missing", SSL_AD_CERTIFICATE_UNKNOWN);
FAULT(chain_too_long, "chain_too_long", SSL_AD_BAD_CERTIFICATE);
FAULT(untrusted_chain, "untrusted_chain", SSL_AD_UNKNOWN_CA);

static const struct {
	int error;
	const struct fault *fault;
} chain_faults[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, &certificate_expired},
	{X509_V_ERR_CERT_NOT_YET_VALID, &certificate_not_yet_valid},
	{X509_V_ERR_CERT_REVOKED, &revoked},
	{X509_V_ERR_CRL_HAS_EXPIRED, &crl_stale},
	{X509_V_ERR_CRL_NOT_YET_VALID, &crl_stale},
	{X509_V_ERR_UNABLE_TO_GET_CRL, &crl_stale},
	{X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, &crl_stale},
	{X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE, &crl_stale},
	{X509_V_ERR_CRL_SIGNATURE_FAILURE, &crl_stale},
	{X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD, &crl_stale},
	{X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD, &crl_stale},
	{X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, &crl_stale},
	{X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, &crl_stale},
	{X509_V_ERR_DIFFERENT_CRL_SCOPE, &crl_stale},
	{X509_V_ERR_CRL_PATH_VALIDATION_ERROR, &crl_stale},
	{X509_V_ERR_CERT_CHAIN_TOO_LONG, &chain_too_long},
	{X509_V_ERR_PATH_LENGTH_EXCEEDED, &chain_too_long},
	{X509_V_ERR_EE_KEY_TOO_SMALL, &weak_key},
	{X509_V_ERR_CA_KEY_TOO_SMALL, &weak_key},
	{X509_V_ERR_CA_MD_TOO_WEAK, &weak_key},
	{X509_V_ERR_OUT_OF_MEM, &out_of_memory},
};

static const struct fault *fault_of_chain(int error)
{
	for (size_t i = 0; i < sizeof chain_faults / sizeof chain_faults[0]; i++)
		if (chain_faults[i].error == error)
			return chain_faults[i].fault;
	return &untrusted_chain;
}

/* The one URI among the alternative names; other kinds of name are not looked at. *uri: borrowed from names. */
static const struct fault *find_uri(const GENERAL_NAMES *names, struct slice *uri)
{
	int n = sk_GENERAL_NAME_num(names), uris = 0;

	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (g->type != GEN_URI)
			continue;
		if (++uris > 1)
			return &two_uri_sans;
		*uri = slice_of(ASN1_STRING_get0_data(g->d.uniformResourceIdentifier),
				(size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier));
	}
	return uris ? NULL : &no_uri_san;
}

/* Writes the id to p->spiffe_id. *domain: the bundle of its trust domain. */
static const struct fault *read_id(const struct trust *t, X509 *leaf, struct identity_peer *p,
				   const struct trust_domain **domain)
{
	int critical = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	const struct fault *fault;
	struct slice uri = {NULL, 0};
	struct spiffe_id id;

	if (!names) /* -1: absent; -2: the extension stands there twice; else it does not decode */
		return critical == -1 ? &no_uri_san : critical == -2 ? &two_uri_sans : &bad_spiffe_id;
	fault = find_uri(names, &uri);
	if (!fault && (spiffe_parse(uri, &id) || !slice_copy_str(uri, p->spiffe_id, sizeof p->spiffe_id)))
		fault = &bad_spiffe_id;
	if (!fault) {
		*domain = trust_find(t, id.trust_domain);
		if (!*domain)
			fault = &unknown_trust_domain;
	}
	GENERAL_NAMES_free(names);
	return fault;
}

/* X.509-SVID §4.3: critical, digitalSignature, and neither of the signing bits of a CA. */
static const struct fault *check_key_usage(X509 *leaf)
{
	int at = X509_get_ext_by_NID(leaf, NID_key_usage, -1);
	uint32_t usage;

	if (at < 0 || !X509_EXTENSION_get_critical(X509_get_ext(leaf, at)))
		return &key_usage;
	usage = X509_get_key_usage(leaf);
	return (usage & KU_DIGITAL_SIGNATURE) && !(usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) ? NULL : &key_usage;
}

static const struct fault *check_leaf(X509 *leaf)
{
	uint32_t flags;
	const struct fault *fault;

	X509_check_purpose(leaf, -1, 0); /* makes OpenSSL read the extensions */
	flags = X509_get_extension_flags(leaf);
	if (flags & EXFLAG_CA)
		return &leaf_is_ca;
	fault = check_key_usage(leaf);
	if (fault)
		return fault;
	if ((flags & EXFLAG_XKUSAGE) && !(X509_get_extended_key_usage(leaf) & XKU_SSL_CLIENT))
		return &extended_key_usage;
	if (flags & EXFLAG_INVALID)
		return &untrusted_chain;
	return trust_key_is_strong(leaf) ? NULL : &weak_key;
}

/* OpenSSL asks about each error. Three are forgiven: a CA above the leaf whose own issuer publishes no CRL, a CRL
 * within its grace, and one that has not come yet while its domain is let in without. */
static int on_chain_error(int ok, X509_STORE_CTX *ctx)
{
	const struct trust_domain *d = X509_STORE_CTX_get_app_data(ctx);
	int error = X509_STORE_CTX_get_error(ctx);
	int64_t next, now_ms;

	if (ok)
		return 1;
	if (error == X509_V_ERR_UNABLE_TO_GET_CRL && (X509_STORE_CTX_get_error_depth(ctx) > 0 || d->crl_missing))
		return 1;
	if (error != X509_V_ERR_CRL_HAS_EXPIRED || !d->crl_grace_ms)
		return 0;
	now_ms = (int64_t)X509_VERIFY_PARAM_get_time(X509_STORE_CTX_get0_param(ctx)) * 1000;
	if (!trust_time_ms(X509_CRL_get0_nextUpdate(X509_STORE_CTX_get0_current_crl(ctx)), &next))
		return 0;
	return now_ms < next + d->crl_grace_ms; /* as OpenSSL has it without: at its end it is over */
}

/* The other value that s may have: n - s, of the signer's curve. NULL: it is not known. */
static BIGNUM *other_s(const EVP_PKEY *signer, const ECDSA_SIG *sig)
{
	BIGNUM *order = NULL, *other = BN_new();

	if (!other || EVP_PKEY_get_bn_param(signer, OSSL_PKEY_PARAM_EC_ORDER, &order) != 1 || BN_sub(other, order, ECDSA_SIG_get0_s(sig)) != 1) {
		BN_free(other);
		other = NULL;
	}
	BN_free(order);
	return other;
}

/* Owned by the caller (OPENSSL_free). Its length; 0 or less: it could not be made. */
static int other_signature(const EVP_PKEY *signer, const ASN1_BIT_STRING *bits, unsigned char **der)
{
	const unsigned char *p = ASN1_STRING_get0_data(bits);
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, ASN1_STRING_length(bits));
	BIGNUM *s = sig ? other_s(signer, sig) : NULL, *r = s ? BN_dup(ECDSA_SIG_get0_r(sig)) : NULL;
	int n = 0;

	if (r && ECDSA_SIG_set0(sig, r, s) == 1) {
		n = i2d_ECDSA_SIG(sig, der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(sig);
	return n;
}

/* Behind the next element of a DER sequence; NULL: there is none. */
static const unsigned char *next_element(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *body = p;
	int tag, class;
	long n;

	return p && p < end && !(ASN1_get_object(&body, &n, &tag, &class, end - p) & 0x81) ? body + n : NULL;
}

/* SHA-256 over the certificate (RFC 5280 §4.1) with this signature in the place of its own, which is what it ends with. A copy of it would be parsed, which costs a
 * sixth of a handshake. */
static bool digest_with(X509 *leaf, const unsigned char *signature, int size, uint8_t out[SHA256_BYTES])
{
	unsigned char *der = NULL, *twin, *p;
	int n = i2d_X509(leaf, &der), n_bits = ASN1_object_size(0, size + 1, V_ASN1_BIT_STRING), n_twin, tag, class;
	const unsigned char *body = der, *end = der + (n > 0 ? n : 0), *at;
	long n_body;
	int kept; /* bytes before the signature: what is signed, and how */

	if (n <= 0 || ASN1_get_object(&body, &n_body, &tag, &class, n) & 0x81)
		goto failed;
	at = next_element(next_element(body, end), end);
	if (!at)
		goto failed;
	kept = (int)(at - body);
	n_twin = ASN1_object_size(1, kept + n_bits, V_ASN1_SEQUENCE);
	twin = p = OPENSSL_malloc((size_t)n_twin);
	if (!twin)
		goto failed;
	ASN1_put_object(&p, 1, kept + n_bits, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	memcpy(p, body, (size_t)kept);
	p += kept;
	ASN1_put_object(&p, 0, size + 1, V_ASN1_BIT_STRING, V_ASN1_UNIVERSAL);
	*p++ = 0; /* no bit of the last byte is unused */
	memcpy(p, signature, (size_t)size);
	sha256(slice_of(twin, (size_t)n_twin), out);
	OPENSSL_free(twin);
	OPENSSL_free(der);
	return true;
failed:
	OPENSSL_free(der);
	return false;
}

/* A certificate that is revoked by its digest must not come back by being written in another way. */
static const struct fault *find_twin(X509 *leaf, X509 *issuer, struct identity_peer *p)
{
	const EVP_PKEY *signer = X509_get0_pubkey(issuer);
	const ASN1_BIT_STRING *bits;
	unsigned char *der = NULL;
	uint8_t digest[SHA256_BYTES];
	int size;
	bool ok;

	if (!signer || EVP_PKEY_get_base_id(signer) != EVP_PKEY_EC)
		return NULL;
	X509_get0_signature(&bits, NULL, leaf);
	size = other_signature(signer, bits, &der);
	ok = size > 0 && digest_with(leaf, der, size, digest);
	if (ok)
		b64url_encode(digest, sizeof digest, p->x5t_twin);
	OPENSSL_free(der);
	return ok ? NULL : &out_of_memory;
}

/* What OpenSSL lets pass: old-style CAs, curves and digests that we do not take. Finds the end of the chain's validity
 * on the way. */
static const struct fault *check_chain(STACK_OF(X509) *chain, struct identity_peer *p)
{
	int n = sk_X509_num(chain);
	int64_t end;

	if (n > CHAIN_CERTS_MAX)
		return &chain_too_long;
	for (int i = 0; i < n; i++) {
		X509 *cert = sk_X509_value(chain, i);
		bool anchor = i == n - 1; /* trusted for being there, not for its own signature */

		if (i > 0 && X509_check_ca(cert) != 1)
			return &untrusted_chain;
		if (!trust_key_is_strong(cert) || (!anchor && !trust_signature_is_strong(cert)))
			return &weak_key;
		if (!trust_time_ms(X509_get0_notAfter(cert), &end))
			return &untrusted_chain;
		if (i == 0 || end < p->not_after_ms)
			p->not_after_ms = end;
	}
	if (n < 2)
		return &untrusted_chain;
	p->subject = ocsp_subject_new(chain);
	return p->subject ? find_twin(sk_X509_value(chain, 0), sk_X509_value(chain, 1), p) : &out_of_memory;
}

/* NULL when memory is out. */
static X509_STORE_CTX *verification(const struct trust_domain *d, X509 *cert, STACK_OF(X509) *untrusted, int64_t now_ms)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;

	if (!ctx || X509_STORE_CTX_init(ctx, d->anchors, cert, untrusted) != 1) {
		X509_STORE_CTX_free(ctx);
		return NULL;
	}
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
	X509_VERIFY_PARAM_set_depth(param, CHAIN_CERTS_MAX - 2); /* counts the CAs between leaf and anchor */
	X509_VERIFY_PARAM_set_auth_level(param, 2);
	if (d->has_crl)
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	X509_STORE_CTX_set_app_data(ctx, (void *)d);
	X509_STORE_CTX_set_verify_cb(ctx, on_chain_error);
	return ctx;
}

bool trust_vouches_for(const struct trust_domain *d, X509 *cert, STACK_OF(X509) *untrusted, int64_t now_ms)
{
	X509_STORE_CTX *ctx = verification(d, cert, untrusted, now_ms);
	bool ok = ctx && X509_verify_cert(ctx) == 1;

	X509_STORE_CTX_free(ctx);
	return ok;
}

static const struct fault *verify_chain(const struct trust_domain *d, X509 *leaf, STACK_OF(X509) *untrusted,
					int64_t now_ms,
					struct identity_peer *p)
{
	X509_STORE_CTX *ctx = verification(d, leaf, untrusted, now_ms);
	const struct fault *fault = &out_of_memory;

	if (ctx && X509_verify_cert(ctx) != 1)
		fault = fault_of_chain(X509_STORE_CTX_get_error(ctx));
	else if (ctx)
		fault = check_chain(X509_STORE_CTX_get0_chain(ctx), p);
	X509_STORE_CTX_free(ctx);
	return fault;
}

static const struct fault *describe(X509 *leaf, struct identity_peer *p)
{
	unsigned n = 0;
	int64_t end;

	if (X509_digest(leaf, EVP_sha256(), p->cert_sha256, &n) != 1 || n != SHA256_BYTES)
		return &out_of_memory;
	b64url_encode(p->cert_sha256, sizeof p->cert_sha256, p->x5t_s256);
	if (!trust_time_ms(X509_get0_notBefore(leaf), &p->not_before_ms) || !trust_time_ms(X509_get0_notAfter(leaf), &end))
		return &untrusted_chain;
	p->life_ms = end - p->not_before_ms;
	return NULL;
}

struct identity_peer *identity_peer_verify(const struct trust *t, struct x509_store_ctx_st *ctx, int64_t now_ms,
					   const char **why, int *alert)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
	struct identity_peer *p = calloc(1, sizeof *p);
	const struct trust_domain *domain = NULL;
	const struct fault *fault = NULL;

	if (!p)
		fault = &out_of_memory;
	else if (!leaf)
		fault = &no_certificate;
	if (!fault)
		fault = read_id(t, leaf, p, &domain);
	if (!fault)
		fault = check_leaf(leaf);
	if (!fault && domain->crl_missing && now_ms >= domain->crl_admit_until_ms)
		fault = &crl_missing;
	if (!fault)
		fault = verify_chain(domain, leaf, X509_STORE_CTX_get0_untrusted(ctx), now_ms, p);
	if (!fault)
		fault = describe(leaf, p);
	ERR_clear_error();
	if (!fault)
		return p;
	*why = fault->why;
	*alert = fault->alert;
	identity_peer_free(p);
	return NULL;
}

void identity_peer_free(struct identity_peer *p)
{
	if (p)
		ocsp_subject_unref(p->subject);
	free(p);
}
