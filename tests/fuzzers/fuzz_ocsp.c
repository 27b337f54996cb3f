/* Can an OCSP answer crash the reader, or count without being one? The first byte chooses. 's' signs what the rest (an answer, DER) says anew by the issuer's key, so that
 * only what it says decides; anything else takes the rest as it comes. What counts is signed, current, and about the one certificate. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "fuzz.h"
#include "identity/ocsp.h"

#define NOW_MS INT64_C(1800000000000)
#define MAX_AGE_MS INT64_C(3600000)

unsigned fuzz_good;

static EVP_PKEY *key;
static X509 *issuer;
static struct ocsp_question *questions[2];

static X509 *make(const char *name, long serial, EVP_PKEY *of, bool ca)
{
	X509 *cert = X509_new();
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");

	NEED(cert && e);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	ASN1_TIME_set(X509_getm_notBefore(cert), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(cert), 2000000000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(ca ? cert : issuer));
	X509_set_pubkey(cert, of);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
	NEED(X509_sign(cert, key, NULL) > 0);
	return cert;
}

/* The key is always the same, so that the corpus has answers that it signed. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t secret[32] = "the issuer's key of all answers";
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct ocsp_subject *s;
	X509 *leaf;

	(void)argc;
	(void)argv;
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	NEED(key);
	issuer = make("issuer", 1, key, true);
	leaf = make("leaf", 2, key, false);
	sk_X509_push(chain, leaf);
	sk_X509_push(chain, issuer);
	s = ocsp_subject_new(chain);
	sk_X509_free(chain);
	for (int d = 0; d < 2; d++) {
		questions[d] = ocsp_question_new(s, (enum ocsp_digest)d);
		NEED(questions[d]);
	}
	ocsp_subject_unref(s);
	X509_free(leaf);
	return 0;
}

static void check(struct slice body)
{
	for (int d = 0; d < 2; d++) {
		struct ocsp_answer a = {.says = OCSP_SAYS_GOOD};
		const struct ocsp_heard h = {.body = body, .now_ms = NOW_MS, .max_age_ms = MAX_AGE_MS};
		const char *wrong = ocsp_read(questions[d], &h, &a);
		int64_t until = wrong ? 0 : ocsp_until_ms(&a, NOW_MS, MAX_AGE_MS);

		NEED(ERR_peek_error() == 0 && (!wrong || wrong[0]));
		if (wrong)
			continue;
		fuzz_good++;
		NEED(a.says <= OCSP_SAYS_UNKNOWN && a.reason && a.this_ms <= NOW_MS + OCSP_SKEW_MS && a.next_ms > NOW_MS);
		NEED(until > NOW_MS && until <= NOW_MS + MAX_AGE_MS && until <= a.next_ms);
	}
}

/* What was kept counts by its own times, however far they are from now; what counts today does too. */
static void check_kept(struct slice body)
{
	const struct ocsp_heard now = {.body = body, .now_ms = NOW_MS, .max_age_ms = MAX_AGE_MS}, kept = {.body = body, .now_ms = NOW_MS, .max_age_ms = MAX_AGE_MS, .kept = true};
	struct ocsp_answer a = {.says = OCSP_SAYS_GOOD}, b = a;
	bool counts = !ocsp_read(questions[0], &now, &a), counted = !ocsp_read(questions[0], &kept, &b);

	NEED(counted || !counts);
	if (counts)
		NEED(a.says == b.says && a.this_ms == b.this_ms && a.next_ms == b.next_ms);
	if (counted)
		NEED(b.says <= OCSP_SAYS_UNKNOWN && ocsp_until_ms(&b, NOW_MS, MAX_AGE_MS) <= NOW_MS + MAX_AGE_MS);
}

static void check_signed(struct slice der)
{
	const unsigned char *at = der.p;
	OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &at, (long)der.n), *again = NULL;
	OCSP_BASICRESP *b = r ? OCSP_response_get1_basic(r) : NULL;
	unsigned char *made = NULL;
	int n = 0;

	if (b && OCSP_basic_sign(b, issuer, key, NULL, NULL, OCSP_NOCERTS | OCSP_NOTIME) == 1)
		again = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
	if (again)
		n = i2d_OCSP_RESPONSE(again, &made);
	ERR_clear_error();
	if (n > 0) {
		check(slice_of(made, (size_t)n));
		check_kept(slice_of(made, (size_t)n));
	}
	OPENSSL_free(made);
	OCSP_RESPONSE_free(again);
	OCSP_BASICRESP_free(b);
	OCSP_RESPONSE_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 's')
		check_signed(slice_of(data + 1, size - 1));
	else {
		check(slice_of(data + 1, size - 1));
		check_kept(slice_of(data + 1, size - 1));
	}
	return 0;
}
