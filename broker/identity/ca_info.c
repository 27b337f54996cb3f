/* What does something that the CA made say, and how is it written as text? Certificates are read back, nothing is judged; PEM is the form that
 * files have. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "identity/ca_priv.h"
#include "identity/trust_priv.h"

static bool copy_key_id(const ASN1_OCTET_STRING *id, uint8_t out[CA_KEY_ID_BYTES])
{
	if (!id || ASN1_STRING_length(id) != CA_KEY_ID_BYTES)
		return false;
	memcpy(out, ASN1_STRING_get0_data(id), CA_KEY_ID_BYTES);
	return true;
}

static bool copy_serial(X509 *cert, uint8_t out[CA_SERIAL_BYTES])
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	bool ok = bn && !BN_is_negative(bn) && BN_num_bytes(bn) == CA_SERIAL_BYTES && BN_bn2bin(bn, out) == CA_SERIAL_BYTES;

	BN_free(bn);
	return ok;
}

/* More than one URI is none. */
static void copy_id(X509 *cert, char out[SPIFFE_ID_MAX + 1])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int uris = 0;

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		struct slice uri;

		if (g->type != GEN_URI)
			continue;
		uri = slice_of(ASN1_STRING_get0_data(g->d.uniformResourceIdentifier), (size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier));
		if (++uris > 1 || memchr(uri.p, '\0', uri.n) || !slice_copy_str(uri, out, SPIFFE_ID_MAX + 1))
			out[0] = '\0';
	}
	GENERAL_NAMES_free(names);
}

int ca_cert_info(struct slice der, struct ca_cert_info *out, struct problem *why)
{
	X509 *cert = trust_x509(der);
	unsigned n = 0;
	bool ok = cert && X509_check_purpose(cert, -1, 0) == 1 && copy_serial(cert, out->serial) &&
		  X509_digest(cert, EVP_sha256(), out->sha256, &n) == 1 && copy_key_id(X509_get0_subject_key_id(cert), out->key_id) &&
		  copy_key_id(X509_get0_authority_key_id(cert), out->issuer_key_id) && trust_time_ms(X509_get0_notBefore(cert), &out->not_before_ms) &&
		  trust_time_ms(X509_get0_notAfter(cert), &out->not_after_ms);

	if (ok) {
		out->is_ca = X509_check_ca(cert) == 1;
		copy_id(cert, out->spiffe_id);
	}
	X509_free(cert);
	ERR_clear_error();
	return ok ? 0 : problem_set(why, "that is no certificate of this CA");
}

bool ca_cert_signed_by(struct slice der, struct slice issuer)
{
	X509 *cert = trust_x509(der), *by = trust_x509(issuer);
	bool ok = cert && by && X509_verify(cert, X509_get0_pubkey(by)) == 1;

	X509_free(cert);
	X509_free(by);
	ERR_clear_error();
	return ok;
}

static const char *const pem_names[] = {
	[CA_PEM_CERTIFICATE] = PEM_STRING_X509, [CA_PEM_CRL] = PEM_STRING_X509_CRL, [CA_PEM_REQUEST] = PEM_STRING_X509_REQ,
};

int ca_pem_write(enum ca_pem kind, struct slice der, struct buf *out, struct problem *why)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n = b && PEM_write_bio(b, pem_names[kind], "", der.p, (long)der.n) > 0 ? BIO_get_mem_data(b, &p) : 0;
	bool ok = n > 0 && buf_put(out, p, (size_t)n);

	BIO_free(b);
	return ok ? 0 : ca_failed(why, "writing PEM");
}

/* One block: 1 with *is whether it is of that kind; 0: there is no more; -1: it is broken. */
static int next_block(BIO *b, const char *want, bool *is, struct buf *out)
{
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	long n = 0;
	int rc = PEM_read_bio(b, &name, &header, &data, &n);

	*is = rc == 1 && (strcmp(name, want) == 0 || (strcmp(want, PEM_STRING_X509_REQ) == 0 && strcmp(name, PEM_STRING_X509_REQ_OLD) == 0));
	if (rc == 1)
		rc = !*is || (buf_reset(out), buf_put(out, data, (size_t)n)) ? 1 : -1;
	else
		rc = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? 0 : -1;
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(data);
	ERR_clear_error();
	return rc;
}

int ca_pem_read(enum ca_pem kind, struct slice pem, size_t at, struct buf *out, struct problem *why)
{
	BIO *b = BIO_new_mem_buf(pem.n ? pem.p : (const void *)"", (int)pem.n);
	struct buf block;
	bool is = false;
	int rc = b ? 1 : -1;

	buf_init(&block, pem.n + 1);
	while (rc == 1) {
		rc = next_block(b, pem_names[kind], &is, &block);
		if (rc == 1 && is && at-- == 0)
			break;
	}
	if (rc == 1 && !buf_put_slice(out, buf_slice(&block)))
		rc = -1;
	if (rc < 0)
		problem_set(why, "the PEM in it cannot be read");
	buf_clear(&block);
	BIO_free(b);
	return rc;
}
