/* May this certificate request have a certificate for this id? Only its public key is taken from it; what it asks for besides is refused
 * rather than passed over, so that nobody believes that he got it. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "identity/ca_priv.h"

/* The digest that the request is signed with, as strong as what trust.c takes in certificates. */
static bool signature_is_strong(const X509_REQ *req)
{
	int md = NID_undef, key = NID_undef;

	if (OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &md, &key) != 1)
		return false;
	return md == NID_sha256 || md == NID_sha384 || md == NID_sha512 || key == NID_ED25519;
}

/* Proof of possession. The key is judged before it is used. */
static int check_key(X509_REQ *req, struct problem *why)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(req);
	const char *fault = key ? ca_key_fault(key) : "its public key cannot be read";

	if (!fault && !signature_is_strong(req))
		fault = "it is signed with a digest weaker than SHA-256, or in a form that is not taken";
	if (!fault && X509_REQ_verify(req, key) != 1)
		fault = "its signature is not that of its key: whoever made it does not hold the key";
	return fault ? problem_set(why, "%s", fault) : 0;
}

static int check_uri(const ASN1_STRING *uri, const char *spiffe_id, struct problem *why)
{
	if (slice_is(slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)), spiffe_id))
		return 0;
	return problem_set(why, "it asks for another URI than the id that it is to have");
}

/* The extension subjectAltName of the request. */
static int check_names(X509_EXTENSION *e, const char *spiffe_id, struct problem *why)
{
	GENERAL_NAMES *names = X509V3_EXT_d2i(e);
	int n = sk_GENERAL_NAME_num(names), rc = 0; /* -1 names: it cannot be read */

	for (int i = 0; rc == 0 && i < n; i++)
		if (sk_GENERAL_NAME_value(names, i)->type != GEN_URI)
			rc = problem_set(why, "it asks for another kind of name than a URI: only the SPIFFE id is put in");
	if (rc == 0 && n != 1)
		rc = problem_set(why, n > 1 ? "it asks for %d URIs: a certificate has one" : "its subjectAltName cannot be read", n);
	if (rc == 0)
		rc = check_uri(sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier, spiffe_id, why);
	GENERAL_NAMES_free(names);
	return rc;
}

static int check_extensions(STACK_OF(X509_EXTENSION) *all, const char *spiffe_id, struct problem *why)
{
	bool named = false;

	for (int i = 0; i < sk_X509_EXTENSION_num(all); i++) {
		X509_EXTENSION *e = sk_X509_EXTENSION_value(all, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));

		if (nid != NID_subject_alt_name)
			return problem_set(why, "it asks for the extension %s: only subjectAltName may be asked for", nid ? OBJ_nid2sn(nid) : "of an unknown kind");
		if (named)
			return problem_set(why, "it has two subjectAltNames");
		named = true;
		if (check_names(e, spiffe_id, why) < 0)
			return -1;
	}
	return 0;
}

/* One list of extensions, or nothing. */
static int check_attributes(X509_REQ *req, const char *spiffe_id, struct problem *why)
{
	int n = X509_REQ_get_attr_count(req), rc;
	X509_ATTRIBUTE *a = n > 0 ? X509_REQ_get_attr(req, 0) : NULL;
	STACK_OF(X509_EXTENSION) *all;

	if (n <= 0)
		return 0;
	if (n > 1 || OBJ_obj2nid(X509_ATTRIBUTE_get0_object(a)) != NID_ext_req || X509_ATTRIBUTE_count(a) != 1)
		return problem_set(why, "it has attributes besides one list of extensions");
	all = X509_REQ_get_extensions(req);
	rc = all ? check_extensions(all, spiffe_id, why) : problem_set(why, "its extensions cannot be read");
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	return rc;
}

static X509_REQ *read_request(struct slice der)
{
	const unsigned char *at = der.p;
	X509_REQ *req = der.n && der.n <= CA_REQUEST_MAX ? d2i_X509_REQ(NULL, &at, (long)der.n) : NULL;

	if (req && at == der.p + der.n)
		return req;
	X509_REQ_free(req);
	return NULL;
}

static int put_key(X509_REQ *req, struct buf *out, struct problem *why)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(X509_REQ_get0_pubkey(req), &der);
	bool ok = n > 0 && buf_put(out, der, (size_t)n);

	OPENSSL_free(der);
	return ok ? 0 : ca_failed(why, "reading a public key");
}

int ca_request_check(struct slice der, const char *spiffe_id, struct buf *public_key, struct problem *why)
{
	struct spiffe_id id;
	const char *fault = spiffe_parse(slice_str(spiffe_id), &id);
	X509_REQ *req = fault ? NULL : read_request(der);
	int rc = -1;

	if (!fault && !req)
		fault = der.n > CA_REQUEST_MAX ? "the request is larger than 16 KiB" : "that is no certificate request (PKCS #10)";
	if (fault)
		problem_set(why, "%s", fault);
	else if (check_key(req, why) == 0 && check_attributes(req, spiffe_id, why) == 0)
		rc = put_key(req, public_key, why);
	X509_REQ_free(req);
	ERR_clear_error();
	return rc;
}
