/* Can a certificate request crash the CA, or get more than a certificate for the id that was asked about? The first byte chooses. 's' gives the request (the
 * rest, DER) a good key and signs it anew, so that only what it asks for decides; anything else takes it as it is. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "fuzz.h"
#include "identity/ca.h"

#define ID "spiffe://acme.example/planner"
#define NOW_MS 1800000000000
#define DAY_MS 86400000

unsigned fuzz_good;

static EVP_PKEY *key;
static struct ca_issuer *issuer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct ca_authority a = {.trust_domain = "acme.example", .not_before_ms = NOW_MS - DAY_MS, .not_after_ms = NOW_MS + 30LL * DAY_MS, .serial = {0x40}};
	struct ca_key *root = ca_key_new(CA_P256, NULL);
	struct buf der;

	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	buf_init(&der, 65536);
	NEED(key && root && ca_make_root(root, &a, &der, NULL) == 0);
	issuer = ca_issuer_new(buf_slice(&der), root, NULL);
	NEED(issuer);
	buf_clear(&der);
	return 0;
}

/* What was taken makes a certificate of this id, with this key and nothing else of the request. */
static void check_issued(struct slice public_key)
{
	struct ca_leaf leaf = {.spiffe_id = ID, .not_before_ms = NOW_MS, .not_after_ms = NOW_MS + DAY_MS, .serial = {0x41}};
	struct ca_cert_info info;
	struct buf der;

	buf_init(&der, 65536);
	NEED(ca_make_leaf(issuer, public_key, &leaf, &der, NULL) == 0);
	NEED(ca_cert_info(buf_slice(&der), &info, NULL) == 0);
	NEED(strcmp(info.spiffe_id, ID) == 0 && !info.is_ca && info.not_after_ms == NOW_MS + DAY_MS);
	buf_clear(&der);
}

static void check(struct slice der)
{
	struct problem why = {""};
	struct buf public_key;
	int rc;

	buf_init(&public_key, 65536);
	rc = ca_request_check(der, ID, &public_key, &why);
	NEED((rc == 0) == (why.text[0] == '\0') && (rc == 0) == (public_key.n > 0));
	NEED(ERR_peek_error() == 0);
	if (rc == 0) {
		fuzz_good++;
		check_issued(buf_slice(&public_key));
	}
	buf_clear(&public_key);
}

static void check_signed(struct slice der)
{
	const unsigned char *at = der.p;
	X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der.n);
	unsigned char *made = NULL;
	int n = req && X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, NULL) > 0 ? i2d_X509_REQ(req, &made) : 0;

	ERR_clear_error();
	if (n > 0)
		check(slice_of(made, (size_t)n));
	OPENSSL_free(made);
	X509_REQ_free(req);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] == 's')
		check_signed(slice_of(data + 1, size - 1));
	else
		check(slice_of(data + 1, size - 1));
	return 0;
}
