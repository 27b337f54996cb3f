/* Can a certificate make the peer check crash, or take one without a good id? The first byte chooses: 's' signs the
 * rest (DER) anew with the bundle's CA, so that the chain is good and only the leaf's own fields decide; anything else
 * takes it as it is. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "identity/peer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NEED(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x))                                                                                              \
			abort();                                                                                       \
	} while (0)

static X509 *root;
static EVP_PKEY *key;
static struct trust *trust;

static void extension(int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	NEED(e && X509_add_ext(root, e, -1) == 1);
	X509_EXTENSION_free(e);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[] = "/tmp/baton-fuzz-XXXXXX";
	struct trust_domain_config d = {"acme.example", path, NULL, 0};
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	root = X509_new();
	NEED(f && key && root);
	X509_set_version(root, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(root), 1);
	ASN1_TIME_set(X509_getm_notBefore(root), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(root), 2000000000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(root), "CN", MBSTRING_ASC, (const unsigned char *)"root", -1,
				   -1, 0);
	X509_set_issuer_name(root, X509_get_subject_name(root));
	X509_set_pubkey(root, key);
	extension(NID_basic_constraints, "critical,CA:TRUE");
	extension(NID_key_usage, "critical,keyCertSign,cRLSign");
	NEED(X509_sign(root, key, NULL) > 0);
	PEM_write_X509(f, root);
	fclose(f);
	trust = trust_new(&d, 1, NULL);
	unlink(path);
	NEED(trust);
	return 0;
}

static void check(X509 *leaf)
{
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = NULL;
	int alert = -1;
	struct identity_peer *p;
	struct spiffe_id id;

	NEED(sent && ctx && sk_X509_push(sent, leaf) && X509_STORE_CTX_init(ctx, NULL, leaf, sent) == 1);
	p = identity_peer_verify(trust, ctx, 1800000000000, &why, &alert);
	NEED((p == NULL) == (why != NULL));
	if (p) {
		NEED(!spiffe_parse(slice_str(p->spiffe_id), &id) && slice_is(id.trust_domain, "acme.example"));
		NEED(X509_check_ca(leaf) == 0 && (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE));
		NEED(p->not_before_ms <= 1800000000000 && p->not_after_ms >= 1800000000000);
	}
	identity_peer_free(p);
	X509_STORE_CTX_free(ctx);
	sk_X509_free(sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data + 1;
	X509 *leaf = size > 1 ? d2i_X509(NULL, &at, (long)size - 1) : NULL;

	ERR_clear_error(); /* what it holds would look like a leak to the fuzzer */
	if (!leaf)
		return 0;
	if (data[0] == 's' && (X509_set_issuer_name(leaf, X509_get_subject_name(root)) != 1 ||
			       X509_sign(leaf, key, NULL) <= 0)) {
		X509_free(leaf);
		return 0;
	}
	check(leaf);
	X509_free(leaf);
	return 0;
}
