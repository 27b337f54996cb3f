/* Can a certificate make the peer check crash, or take one without a good id? The first byte chooses. 's' signs the leaf (the rest, DER)
 * anew with the bundle's CA, so that the chain is good and only the leaf's own fields decide; 'i' puts the certificate that follows it
 * between them, as its issuer; 'u' is an id alone; anything else takes leaf and chain as they are. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "identity/peer.h"

#define NOW_MS 1800000000000
#define CHAIN_MAX 8

unsigned fuzz_good;

static X509 *root;
static EVP_PKEY *key, *key_between;
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
	struct trust_domain_config d = {.domain = "acme.example", .bundle_file = path};
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	key_between = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	root = X509_new();
	NEED(f && key && key_between && root);
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

/* An id that was taken says it in other words: scheme, lower-case host, clean segments. */
static void check_id(const char *id)
{
	const char *host = id + strlen("spiffe://"), *path;

	NEED(strncmp(id, "spiffe://", 9) == 0 && strlen(id) <= SPIFFE_ID_MAX);
	path = strchr(host, '/');
	NEED(path && path > host && path[1] && id[strlen(id) - 1] != '/');
	for (const char *c = host; c < path; c++)
		NEED(strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_", *c));
	for (const char *c = path; *c; c++)
		NEED((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("/.-_", *c));
	NEED(!strstr(path, "//"));
	for (const char *c = path; c; c = strchr(c + 1, '/')) {
		size_t n = strcspn(c + 1, "/");

		NEED(!(n == 1 && c[1] == '.') && !(n == 2 && c[1] == '.' && c[2] == '.'));
	}
}

static void check_uri(struct slice text)
{
	struct spiffe_id id;
	char copy[SPIFFE_ID_MAX + 1];

	if (spiffe_parse(text, &id))
		return;
	NEED(slice_copy_str(text, copy, sizeof copy) && strlen(copy) == text.n);
	check_id(copy);
}

static void check(X509 *leaf, STACK_OF(X509) *sent)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = NULL;
	int alert = -1;
	struct identity_peer *p;
	struct spiffe_id id;

	NEED(ctx && X509_STORE_CTX_init(ctx, NULL, leaf, sent) == 1);
	p = identity_peer_verify(trust, ctx, NOW_MS, &why, &alert);
	NEED((p == NULL) == (why != NULL) && (p == NULL) == (alert != -1));
	if (p) {
		fuzz_good++;
		NEED(!spiffe_parse(slice_str(p->spiffe_id), &id) && slice_is(id.trust_domain, "acme.example"));
		check_id(p->spiffe_id);
		NEED(X509_check_ca(leaf) == 0 && (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE));
		NEED(p->not_before_ms <= NOW_MS && p->not_after_ms >= NOW_MS);
	}
	identity_peer_free(p);
	X509_STORE_CTX_free(ctx);
}

static bool sign(X509 *cert, X509 *issuer, EVP_PKEY *with)
{
	return X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 && X509_sign(cert, with, NULL) > 0;
}

static bool sign_chain(uint8_t how, STACK_OF(X509) *sent)
{
	X509 *leaf = sk_X509_value(sent, 0), *between = sk_X509_value(sent, 1);

	if (how == 's')
		return sign(leaf, root, key);
	if (how != 'i')
		return true;
	return between && X509_set_pubkey(between, key_between) == 1 && sign(between, root, key) && sign(leaf, between, key_between);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data + 1, *end = data + size;
	STACK_OF(X509) *sent;

	if (size < 2)
		return 0;
	if (data[0] == 'u') {
		check_uri(slice_of(at, size - 1));
		return 0;
	}
	sent = sk_X509_new_null();
	NEED(sent);
	for (X509 *cert; at < end && sk_X509_num(sent) < CHAIN_MAX && (cert = d2i_X509(NULL, &at, end - at));)
		NEED(sk_X509_push(sent, cert));
	ERR_clear_error(); /* what it holds would look like a leak to the fuzzer */
	if (sk_X509_num(sent) && sign_chain(data[0], sent))
		check(sk_X509_value(sent, 0), sent);
	ERR_clear_error();
	sk_X509_pop_free(sent, X509_free);
	return 0;
}
