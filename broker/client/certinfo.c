/* How are a certificate's facts read out? With OpenSSL's accessors, for error texts, doctor and token binding. */
#include "config.h"

#include "client/certinfo.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"

#define CERT_FILE_MAX (256 * 1024)

static int64_t asn1_ms(const ASN1_TIME *t)
{
	struct tm tm;

	if (!t || !ASN1_TIME_to_tm(t, &tm))
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static void name_text(X509_NAME *name, char *out, size_t size)
{
	BIO *b = BIO_new(BIO_s_mem());
	int n = 0;

	if (b && X509_NAME_print_ex(b, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0)
		n = BIO_read(b, out, (int)size - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(b);
}

static void uri_sans(X509 *cert, struct certinfo *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		struct slice uri;

		if (g->type != GEN_URI)
			continue;
		uri = slice_of(ASN1_STRING_get0_data(g->d.uniformResourceIdentifier),
			       (size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier));
		if (out->uri_sans++ == 0 && utf8_is_text(uri))
			slice_copy_str(uri, out->spiffe_id, sizeof out->spiffe_id);
	}
	GENERAL_NAMES_free(names);
}

void certinfo_of(struct x509_st *cert, struct certinfo *out)
{
	uint8_t digest[SHA256_BYTES];
	uint8_t *der = NULL;
	int n = i2d_X509(cert, &der);

	memset(out, 0, sizeof *out);
	if (n > 0) {
		sha256(slice_of(der, (size_t)n), digest);
		b64url_encode(digest, sizeof digest, out->x5t_s256);
	}
	OPENSSL_free(der);
	name_text(X509_get_subject_name(cert), out->subject, sizeof out->subject);
	name_text(X509_get_issuer_name(cert), out->issuer, sizeof out->issuer);
	out->not_before_ms = asn1_ms(X509_get0_notBefore(cert));
	out->not_after_ms = asn1_ms(X509_get0_notAfter(cert));
	out->is_ca = X509_check_ca(cert) > 0;
	uri_sans(cert, out);
	ERR_clear_error();
}

bool certinfo_der(struct slice der, struct certinfo *out)
{
	const unsigned char *at = der.p;
	X509 *cert = d2i_X509(NULL, &at, (long)der.n);
	bool whole = cert && at == der.p + der.n;

	if (whole)
		certinfo_of(cert, out);
	X509_free(cert);
	ERR_clear_error();
	return whole;
}

int certinfo_read(const char *path, struct certinfo *out, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	BIO *b = NULL;
	X509 *cert = NULL;
	int rc = -1;

	if (file_read(path, CERT_FILE_MAX, &bytes, &n, why))
		return -1;
	b = BIO_new_mem_buf(bytes, (int)n);
	cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	if (!cert) {
		problem_set(why, "%s: holds no PEM certificate", path);
		goto out;
	}
	certinfo_of(cert, out);
	rc = 0;
out:
	ERR_clear_error();
	X509_free(cert);
	BIO_free(b);
	free(bytes);
	return rc;
}
