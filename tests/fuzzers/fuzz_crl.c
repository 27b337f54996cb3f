/* Can a list of revoked certificates crash the judge, or count without being one? The first byte chooses. 's' signs the list (the rest, DER) anew in the bundle's
 * CA's name, so that only what it says decides; 'k' takes the rest as a copy that was kept; anything else takes it as it comes from a URL. What counts is the same
 * when it is written and read again, and certificates can be judged by it. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "fuzz.h"
#include "identity/crl.h"

#define NOW_MS 1800000000000
#define DOMAIN "acme.example"
#define BODY_MAX (8u << 20)

unsigned fuzz_good;

static EVP_PKEY *key;
static X509 *root;
static struct trust *trust;

static void extension(int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	NEED(e && X509_add_ext(root, e, -1) == 1);
	X509_EXTENSION_free(e);
}

/* The key is always the same, so that the corpus has lists that it signed. */
static void make_root(void)
{
	static const uint8_t secret[32] = "the root's key of all these list";

	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	root = X509_new();
	NEED(key && root);
	X509_set_version(root, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(root), 1);
	ASN1_TIME_set(X509_getm_notBefore(root), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(root), 2000000000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(root), "CN", MBSTRING_UTF8, (const unsigned char *)"root", -1, -1, 0);
	X509_set_issuer_name(root, X509_get_subject_name(root));
	X509_set_pubkey(root, key);
	extension(NID_basic_constraints, "critical,CA:TRUE");
	extension(NID_key_usage, "critical,keyCertSign,cRLSign");
	NEED(X509_sign(root, key, NULL) > 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t der[2048], *at = der;
	struct slice anchor;
	struct trust_domain_config d = {.domain = DOMAIN, .anchors = &anchor, .n_anchors = 1};

	make_root();
	anchor = slice_of(der, (size_t)i2d_X509(root, &at));
	trust = trust_new(&d, 1, NULL);
	NEED(trust);
	return 0;
}

static enum crl_answer ask(struct slice body, const struct crls *was, bool kept, struct crls **out)
{
	const struct crl_ask a = {.body = body, .was = was, .now_ms = NOW_MS, .kept = kept};
	struct problem why = {""};
	enum crl_answer r = crls_judge(trust, DOMAIN, &a, out, &why);

	NEED((r == CRLS_TAKEN) == (*out != NULL) && (r == CRLS_REFUSED) == (why.text[0] != '\0'));
	NEED(ERR_peek_error() == 0);
	return r;
}

static void check_used(struct crls *c)
{
	const struct trust_lists l = {.domain = DOMAIN, .of = &c, .n = 1};
	struct trust *t = trust_with_lists(trust, &l, 1, NULL);

	NEED(t && trust_state(t, 0).crl_next_update_ms == crls_next_update_ms(c));
	trust_unref(t);
}

static void check(struct slice body, bool kept)
{
	struct crls *c, *again;
	struct buf b;

	if (ask(body, NULL, kept, &c) != CRLS_TAKEN)
		return;
	fuzz_good++;
	NEED(crls_count(c) >= 1 && crls_count(c) <= CRL_LISTS_MAX && crls_bytes(c) > 0);
	NEED(kept || crls_next_update_ms(c) >= NOW_MS);
	buf_init(&b, BODY_MAX);
	NEED(crls_write(c, &b, NULL) == 0);
	NEED(ask(buf_slice(&b), NULL, true, &again) == CRLS_TAKEN && crls_count(again) == crls_count(c));
	crls_free(again);
	NEED(ask(body, c, kept, &again) == CRLS_SAME);
	NEED(crls_of(trust, DOMAIN, c, NOW_MS, &again) == 0 && again && crls_count(again) == crls_count(c));
	check_used(c);
	crls_free(again);
	crls_free(c);
	buf_clear(&b);
}

static void check_signed(struct slice der)
{
	const unsigned char *at = der.p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)der.n);
	unsigned char *made = NULL;
	int n = crl && X509_CRL_set_issuer_name(crl, X509_get_subject_name(root)) == 1 && X509_CRL_sign(crl, key, NULL) > 0 ? i2d_X509_CRL(crl, &made) : 0;

	ERR_clear_error();
	if (n > 0)
		check(slice_of(made, (size_t)n), false);
	OPENSSL_free(made);
	X509_CRL_free(crl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] == 's')
		check_signed(slice_of(data + 1, size - 1));
	else
		check(slice_of(data + 1, size - 1), data[0] == 'k');
	return 0;
}
