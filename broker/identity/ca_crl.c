/* Which of the CA's certificates count no more? A list that says so until its next update (RFC 5280 §5): number, the issuer's key, and each entry's
 * reason where there is one. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "identity/ca_priv.h"
#include "identity/trust_priv.h"

static bool add_reason(X509_REVOKED *r, enum ca_reason reason)
{
	ASN1_ENUMERATED *e = reason == CA_UNSPECIFIED ? NULL : ASN1_ENUMERATED_new(); /* §5.3.1: unspecified is said by silence */
	bool ok = reason == CA_UNSPECIFIED || (e && ASN1_ENUMERATED_set(e, reason) == 1 && X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, e, 0, 0) == 1);

	ASN1_ENUMERATED_free(e);
	return ok;
}

static ASN1_INTEGER *serial_of(const uint8_t serial[CA_SERIAL_BYTES])
{
	BIGNUM *bn = BN_bin2bn(serial, CA_SERIAL_BYTES, NULL);
	ASN1_INTEGER *i = bn ? BN_to_ASN1_INTEGER(bn, NULL) : NULL;

	BN_free(bn);
	return i;
}

static bool add_revoked(X509_CRL *crl, const struct ca_revoked *one)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *serial = serial_of(one->serial);
	ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)(one->at_ms / 1000));
	bool ok = r && serial && at && X509_REVOKED_set_serialNumber(r, serial) == 1 && X509_REVOKED_set_revocationDate(r, at) == 1 &&
		  add_reason(r, one->reason) && X509_CRL_add0_revoked(crl, r) == 1;

	if (!ok)
		X509_REVOKED_free(r);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(at);
	return ok;
}

static bool set_times(X509_CRL *crl, const struct ca_crl *what)
{
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(what->this_update_ms / 1000)), *to = ASN1_TIME_set(NULL, (time_t)(what->next_update_ms / 1000));
	bool ok = from && to && X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, to) == 1;

	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	return ok;
}

static bool set_number(X509_CRL *crl, uint64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	bool ok = n && ASN1_INTEGER_set_uint64(n, number) == 1 && X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;

	ASN1_INTEGER_free(n);
	return ok;
}

static bool set_issuer_key(X509_CRL *crl, X509 *issuer)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = e && X509_CRL_add_ext(crl, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static int put_crl(X509_CRL *crl, struct buf *out, struct problem *why)
{
	unsigned char *der = NULL;
	int n = i2d_X509_CRL(crl, &der);
	bool ok = n > 0 && buf_put(out, der, (size_t)n);

	OPENSSL_free(der);
	return ok ? 0 : ca_failed(why, "writing a revocation list");
}

int ca_make_crl(const struct ca_issuer *by, const struct ca_crl *what, struct buf *out, struct problem *why)
{
	X509_CRL *crl = X509_CRL_new();
	EVP_PKEY *key = by->key->pkey;
	bool ok = crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->cert)) == 1 && set_times(crl, what) &&
		  set_issuer_key(crl, by->cert) && set_number(crl, what->number);
	int rc = -1;

	for (size_t i = 0; ok && i < what->n; i++)
		ok = add_revoked(crl, &what->revoked[i]);
	if (ok && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, key, ca_digest_for(key)))
		rc = put_crl(crl, out, why);
	else
		ca_failed(why, "making a revocation list");
	X509_CRL_free(crl);
	return rc;
}

/* Its number and its issuer's key; false: it has not both. */
static bool read_extensions(X509_CRL *crl, struct ca_crl_info *out)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	AUTHORITY_KEYID *id = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	bool ok = number && ASN1_INTEGER_get_uint64(&out->number, number) == 1 && id && id->keyid && ASN1_STRING_length(id->keyid) == CA_KEY_ID_BYTES;

	if (ok)
		memcpy(out->issuer_key_id, ASN1_STRING_get0_data(id->keyid), CA_KEY_ID_BYTES);
	ASN1_INTEGER_free(number);
	AUTHORITY_KEYID_free(id);
	return ok;
}

int ca_crl_info(struct slice der, struct ca_crl_info *out, struct problem *why)
{
	const unsigned char *at = der.p;
	X509_CRL *crl = der.n ? d2i_X509_CRL(NULL, &at, (long)der.n) : NULL;
	bool ok = crl && at == der.p + der.n && read_extensions(crl, out) && trust_time_ms(X509_CRL_get0_nextUpdate(crl), &out->next_update_ms);

	X509_CRL_free(crl);
	ERR_clear_error();
	return ok ? 0 : problem_set(why, "that is no revocation list of this CA");
}
