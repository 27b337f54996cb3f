/* Whose signatures vouch for which trust domain? One store of anchors and revocation lists a domain, read once and
 * never changed after. How a certificate is judged against it is peer.c. */
#include "config.h"

#include "identity/trust_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"

#define BUNDLE_MAX (1 << 20)
#define CRL_MAX (16 << 20)
#define ANCHORS_MAX 256
#define CRLS_MAX 256
#define DOMAINS_MAX 256

bool trust_time_ms(const ASN1_TIME *t, int64_t *ms)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*ms = (int64_t)timegm(&tm) * 1000;
	return true;
}

bool trust_pkey_is_strong(const EVP_PKEY *key)
{
	char group[32];
	int bits;

	if (!key)
		return false;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		bits = EVP_PKEY_get_bits(key);
		return bits >= 2048 && bits <= 8192;
	case EVP_PKEY_EC:
		return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
		       (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
	case EVP_PKEY_ED25519:
		return true;
	default:
		return false;
	}
}

bool trust_key_is_strong(X509 *cert)
{
	return trust_pkey_is_strong(X509_get0_pubkey(cert));
}

bool trust_signature_is_strong(X509 *cert)
{
	int md = NID_undef, key = NID_undef, bits = 0;

	if (X509_get_signature_info(cert, &md, &key, &bits, NULL) != 1)
		return false;
	return md == NID_sha256 || md == NID_sha384 || md == NID_sha512 || key == NID_ED25519;
}

static int pss_digest(const X509_ALGOR *alg)
{
	RSA_PSS_PARAMS *p = alg->parameter ? ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), alg->parameter) : NULL;
	int md = p && p->hashAlgorithm ? OBJ_obj2nid(p->hashAlgorithm->algorithm) : NID_undef;

	RSA_PSS_PARAMS_free(p);
	return md;
}

bool trust_algorithm_is_strong(const X509_ALGOR *alg)
{
	int md = NID_undef, key = NID_undef, nid = OBJ_obj2nid(alg->algorithm);

	if (nid == NID_ED25519)
		return true;
	if (nid == NID_rsassaPss)
		md = pss_digest(alg);
	else
		OBJ_find_sigid_algs(nid, &md, &key);
	return md == NID_sha256 || md == NID_sha384 || md == NID_sha512;
}

/* True when the file simply had no more PEM blocks. OpenSSL says the same when memory ran out on the way to the next one. */
static bool at_end_of_pem(BIO *bio)
{
	unsigned long e = ERR_peek_last_error();
	bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE && BIO_eof(bio) && errno != ENOMEM;

	ERR_clear_error();
	return end;
}

/* X.509-SVID §4.1: only a CA signs; what is weak here would be refused at every handshake, so it is said now. */
static int add_anchor(struct trust_domain *d, X509 *cert, struct problem *why)
{
	if (++d->n_anchors > ANCHORS_MAX)
		return problem_set(why, "more than %d certificates", ANCHORS_MAX);
	if (X509_check_purpose(cert, -1, 0) != 1 || X509_check_ca(cert) != 1)
		return problem_set(why,
				   "certificate %zu is not a CA: put only the CAs of the trust domain into its bundle",
				   d->n_anchors);
	if (!trust_key_is_strong(cert))
		return problem_set(why,
				   "certificate %zu has a weak key: use RSA >= 2048, P-256, P-384, Ed25519", d->n_anchors);
	if (X509_STORE_add_cert(d->anchors, cert) != 1)
		return problem_set(why, "certificate %zu cannot be used", d->n_anchors);
	return 0;
}

static int add_anchors(struct trust_domain *d, BIO *bio, struct problem *why)
{
	X509 *cert;
	int rc;

	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, (void *)""))) {
		rc = add_anchor(d, cert, why);
		X509_free(cert);
		if (rc < 0)
			return rc;
	}
	return at_end_of_pem(bio) ? 0 : problem_set(why, "certificate %zu cannot be read", d->n_anchors + 1);
}

static int add_crl(struct trust_domain *d, X509_CRL *crl, struct problem *why)
{
	int64_t next;

	if (!trust_time_ms(X509_CRL_get0_nextUpdate(crl), &next))
		return problem_set(why, "the CRL has no nextUpdate (RFC 5280 §5.1.2.5): issue it with one");
	if (X509_STORE_add_crl(d->anchors, crl) != 1)
		return problem_set(why, "the CRL cannot be used");
	if (next < d->crl_next_update_ms)
		d->crl_next_update_ms = next;
	return 0;
}

static int add_crls(struct trust_domain *d, BIO *bio, struct problem *why)
{
	X509_CRL *crl;
	int rc, n = 0;

	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, (void *)""))) {
		rc = ++n > CRLS_MAX ? problem_set(why, "more than %d CRLs", CRLS_MAX) : add_crl(d, crl, why);
		X509_CRL_free(crl);
		if (rc < 0)
			return rc;
	}
	if (!at_end_of_pem(bio))
		return problem_set(why, "CRL %d cannot be read", n + 1);
	return n ? 0 : problem_set(why, "no CRL is in it");
}

static int load_pem(struct trust_domain *d, const char *file, size_t max,
		    int (*add)(struct trust_domain *, BIO *, struct problem *), struct problem *why)
{
	uint8_t *pem = NULL;
	size_t n = 0;
	BIO *bio;
	int rc;

	ERR_clear_error();
	if (file_read(file, max, &pem, &n, why) < 0)
		return -1;
	bio = BIO_new_mem_buf(n ? pem : (const void *)"", (int)n);
	errno = 0;
	rc = bio ? add(d, bio, why) : problem_set(why, "out of memory");
	BIO_free(bio);
	free(pem);
	ERR_clear_error();
	return rc < 0 ? problem_prefix(why, "%s", file) : 0;
}

/* ---- as DER ---- */

X509 *trust_x509(struct slice der)
{
	const unsigned char *at = der.p;
	X509 *cert = der.n ? d2i_X509(NULL, &at, (long)der.n) : NULL;

	ERR_clear_error();
	if (cert && at == der.p + der.n)
		return cert;
	X509_free(cert);
	return NULL;
}

static int add_anchor_der(struct trust_domain *d, struct slice der, struct problem *why)
{
	X509 *cert = trust_x509(der);
	int rc = cert ? add_anchor(d, cert, why) : problem_set(why, "certificate %zu cannot be read", d->n_anchors + 1);

	X509_free(cert);
	return rc;
}

char *trust_pem(const struct slice *der, size_t n)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem = NULL, *out;
	bool ok = bio;
	long len;

	for (size_t i = 0; ok && i < n; i++) {
		X509 *cert = trust_x509(der[i]);

		ok = cert && PEM_write_bio_X509(bio, cert) == 1;
		X509_free(cert);
	}
	len = ok ? BIO_get_mem_data(bio, &pem) : 0;
	out = len > 0 ? strndup(pem, (size_t)len) : NULL;
	BIO_free(bio);
	ERR_clear_error();
	return out;
}

static int add_crl_der(struct trust_domain *d, struct slice der, struct problem *why)
{
	const unsigned char *at = der.p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)der.n);
	int rc = crl && at == der.p + der.n ? add_crl(d, crl, why) : problem_set(why, "a CRL cannot be read");

	X509_CRL_free(crl);
	return rc;
}

static int load_der(struct trust_domain *d, const struct trust_domain_config *c, struct problem *why)
{
	int rc = c->n_crls > CRLS_MAX ? problem_set(why, "more than %d CRLs", CRLS_MAX) : 0;

	for (size_t i = 0; i < c->n_anchors && !rc; i++)
		rc = add_anchor_der(d, c->anchors[i], why);
	for (size_t i = 0; i < c->n_crls && !rc; i++)
		rc = add_crl_der(d, c->crls[i], why);
	ERR_clear_error();
	return rc < 0 ? problem_prefix(why, "%s", c->domain) : 0;
}

/* ---- domains ---- */

/* The name must be what can stand in an id: parsed as one. */
const char *trust_domain_wrong(const char *name)
{
	char text[sizeof "spiffe:///x" + 256];
	struct spiffe_id id;
	const char *fault;

	if (strlen(name) > 255)
		return "longer than 255 bytes";
	snprintf(text, sizeof text, "spiffe://%s/x", name);
	fault = spiffe_parse(slice_str(text), &id);
	return fault ? fault : slice_is(id.trust_domain, name) ? NULL : "it holds a /";
}

static int load_domain(struct trust *t, const struct trust_domain_config *c, struct problem *why)
{
	struct trust_domain *d = &t->domains[t->n];

	d->crl_next_update_ms = d->crl_left_out_end_ms = INT64_MAX;
	d->crl_grace_ms = c->crl_grace_ms > 0 ? c->crl_grace_ms : 0;
	d->of_file = c->bundle_file;
	d->crl_missing = c->n_crl_urls; /* until trust_with_lists() */
	d->has_crl = (c->crl_file && c->crl_file[0]) || c->n_crls || c->n_crl_urls;
	if (trust_domain_wrong(c->domain))
		return problem_set(why, "trust domain \"%.255s\": %s", c->domain, trust_domain_wrong(c->domain));
	slice_copy_str(slice_str(c->domain), d->name, sizeof d->name);
	if (trust_find(t, slice_str(c->domain)))
		return problem_set(why, "trust domain %s is configured twice", c->domain);
	d->anchors = X509_STORE_new();
	t->n++; /* from here on trust_unref() frees it */
	if (!d->anchors)
		return problem_set(why, "out of memory");
	if (!c->bundle_file)
		return load_der(d, c, why);
	if (load_pem(d, c->bundle_file, BUNDLE_MAX, add_anchors, why) < 0)
		return -1;
	return c->crl_file && c->crl_file[0] ? load_pem(d, c->crl_file, CRL_MAX, add_crls, why) : 0;
}

void trust_take_domain(struct trust *t, const struct trust_domain *of)
{
	t->domains[t->n] = *of;
	X509_STORE_up_ref(of->anchors);
	t->n++;
}

struct trust *trust_alloc(size_t n, struct problem *why)
{
	struct trust *t = n <= DOMAINS_MAX ? calloc(1, sizeof *t + n * sizeof *t->domains) : NULL;

	if (t)
		atomic_init(&t->refs, 1);
	else
		problem_set(why, n > DOMAINS_MAX ? "more than 256 trust domains" : "out of memory");
	return t;
}

struct trust *trust_with(const struct trust *base, const struct trust_domain_config *more, size_t n, struct problem *why)
{
	struct trust *t = trust_alloc(n + (base ? base->n : 0), why);

	for (size_t i = 0; t && base && i < base->n; i++)
		trust_take_domain(t, &base->domains[i]);
	for (size_t i = 0; t && i < n; i++) {
		if (load_domain(t, &more[i], why) < 0) {
			trust_unref(t);
			return NULL;
		}
	}
	return t;
}

struct trust *trust_new(const struct trust_domain_config *domains, size_t n, struct problem *why)
{
	return trust_with(NULL, domains, n, why);
}

struct trust *trust_ref(struct trust *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void trust_unref(struct trust *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	for (size_t i = 0; i < t->n; i++)
		X509_STORE_free(t->domains[i].anchors);
	free(t);
}

const struct trust_domain *trust_find(const struct trust *t, struct slice domain)
{
	for (size_t i = 0; i < t->n; i++)
		if (slice_is(domain, t->domains[i].name))
			return &t->domains[i];
	return NULL;
}

bool trust_knows(const struct trust *t, const char *spiffe_id)
{
	struct spiffe_id id;

	return !spiffe_parse(slice_str(spiffe_id), &id) && trust_find(t, id.trust_domain);
}

size_t trust_count(const struct trust *t)
{
	return t->n;
}

struct trust_domain_state trust_state(const struct trust *t, size_t at)
{
	const struct trust_domain *d = &t->domains[at];

	return (struct trust_domain_state){.domain = d->name, .anchors = d->n_anchors, .crl_next_update_ms = d->crl_next_update_ms, .crl_grace_ms = d->crl_grace_ms,
		.crl_this_update_ms = d->crl_this_update_ms, .crl_left_out_end_ms = d->crl_left_out_end_ms, .crl_missing = d->crl_missing, .crl_admit_until_ms = d->crl_admit_until_ms, .of_file = d->of_file};
}
