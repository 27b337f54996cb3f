/* Where is the private key of a TLS context? In a PEM file of mode 0600, or named by a URI (keyuri.h) and never in this process: a provider of OpenSSL's
 * signs with it. Such a key is proven when it is loaded: it must sign something that the certificate's key verifies, under whatever this process is
 * confined to by then. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"
#include "net/keyuri.h"
#include "net/tls_priv.h"
#include "net/tls_signer.h"

#define PEM_MAX 65536
#define PIN_MAX 255
#define PROOF "baton proves that it has its own key"
#define SIGNATURE_MAX 2048

/* Never asks a terminal for a pass phrase. */
int tls_no_passphrase(char *out, int size, int writing, void *arg)
{
	return -1;
}

int tls_key_load_pem(SSL_CTX *ctx, struct slice pem, const char *name, struct problem *why)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL) : NULL;
	int rc = -1;

	if (!key)
		tls_openssl_problem(why, "not a PEM private key without pass phrase");
	else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		tls_openssl_problem(why, "the key cannot be used with the certificate");
	else
		rc = 0;
	EVP_PKEY_free(key);
	BIO_free(bio);
	return rc < 0 ? problem_prefix(why, "%s", name) : 0;
}

static int load_file(SSL_CTX *ctx, const char *file, struct problem *why)
{
	uint8_t *pem = NULL;
	size_t n = 0;
	int rc;

	if (secret_read_file(file, PEM_MAX, &pem, &n, why) < 0)
		return -1;
	rc = tls_key_load_pem(ctx, slice_of(pem, n), file, why);
	secret_wipe(pem, n);
	free(pem);
	return rc;
}

/* ---- a key that a URI names ---- */

struct asked {
	const uint8_t *pin;
	size_t n;
	unsigned times;
	bool refused; /* the token did not take it */
};

static int give_pin(char *out, int size, int writing, void *arg)
{
	struct asked *a = arg;

	a->times++;
	if (!a->pin || writing || size < 0 || a->n > (size_t)size)
		return -1;
	memcpy(out, a->pin, a->n);
	return (int)a->n;
}

/* The provider's own words for what went wrong. What it was asked may be among them, but for a URI without a query there is nothing in it to hide. */
static const char *provider_words(const struct keyuri *u, char *out, size_t size)
{
	const char *data = NULL, *reason;
	unsigned long e;
	int flags;

	*out = '\0';
	while (!*out && (e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags))) {
		bool says = !strchr(u->store, '?') && (flags & ERR_TXT_STRING) && data[0];

		if (ERR_GET_LIB(e) < ERR_LIB_USER) /* above it are those that OpenSSL gives to providers */
			continue;
		reason = ERR_reason_error_string(e);
		snprintf(out, size, " (%.120s%s%.120s)", reason ? reason : "it failed", says ? ": " : "", says ? data : "");
	}
	ERR_clear_error();
	return out;
}

/* Of all that is there only private keys are kept, and of these the first. */
static EVP_PKEY *take_key(OSSL_STORE_CTX *store, unsigned *found)
{
	EVP_PKEY *key = NULL;

	while (*found < 2 && !OSSL_STORE_eof(store)) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(store);

		if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY && ++*found == 1)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
		if (!info && OSSL_STORE_error(store))
			break;
	}
	return key;
}

/* OpenSSL also looks for a file of the URI's name. */
static bool of_default(const EVP_PKEY *key)
{
	const OSSL_PROVIDER *p = EVP_PKEY_get0_provider(key);

	return !p || !strcmp(OSSL_PROVIDER_get0_name(p), "default");
}

/* The keys that are there, the first of them owned in *key. -1: it does not open. */
static int find_keys(const struct keyuri *u, struct tls_providers *p, struct asked *a, EVP_PKEY **key)
{
	UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_pin, 0);
	OSSL_STORE_CTX *store = ui ? OSSL_STORE_open_ex(u->store, tls_providers_context(p), NULL, ui, a, NULL, NULL, NULL) : NULL;
	unsigned found = 0;

	*key = NULL;
	if (store) {
		OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
		*key = take_key(store, &found);
	}
	OSSL_STORE_close(store);
	UI_destroy_method(ui);
	return store ? (int)found : -1;
}

/* A token that has taken the PIN does not ask for one again. This time it gets none, so no try is lost. */
static bool asks_again(const struct keyuri *u, struct tls_providers *p)
{
	struct asked a = {.pin = NULL};
	EVP_PKEY *key;

	find_keys(u, p, &a, &key);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return a.times > 0;
}

static void say_no_key(const struct keyuri *u, struct tls_providers *p, struct asked *a, struct problem *why)
{
	char words[300];

	provider_words(u, words, sizeof words);
	a->refused = a->times && a->pin && asks_again(u, p);
	if (a->times && !a->pin)
		problem_set(why, "%s wants a PIN: put it into a file of mode 0600, and name that: ?pin-source=file:/etc/baton/tls.pin", u->shown);
	else if (a->refused)
		problem_set(why, "%s: the PIN of %s was not taken%s: correct it before the next try, for a token locks after a few wrong ones", u->shown, u->pin_file, words);
	else
		problem_set(why, "%s: there is no private key of that name%s: correct the URI, or put the key there", u->shown, words);
}

static void say_not_open(const struct keyuri *u, struct tls_providers *p, struct problem *why)
{
	unsigned long e = ERR_peek_last_error();
	char words[300];

	if (ERR_GET_LIB(e) == ERR_LIB_OSSL_STORE && ERR_GET_REASON(e) == ERR_R_UNSUPPORTED)
		problem_set(why, "%s: none of tls.providers (%s) reads %s: URIs: list the one that does", u->shown, tls_providers_names(p), u->scheme);
	else
		problem_set(why, "%s: the provider does not open it%s: look at parameters, environment, reads and writes of tls.providers", u->shown,
			    provider_words(u, words, sizeof words));
}

static EVP_PKEY *open_key(const struct keyuri *u, struct tls_providers *p, struct asked *a, struct problem *why)
{
	EVP_PKEY *key = NULL;
	int found = find_keys(u, p, a, &key);

	if (found < 0)
		say_not_open(u, p, why);
	else if (found > 1)
		problem_set(why, "%s names more than one private key: add what tells them apart (id=, object=, serial=)", u->shown);
	else if (!key)
		say_no_key(u, p, a, why);
	else if (of_default(key))
		problem_set(why, "%s: a file was found under that name, and no key of a provider: name a file by its path", u->shown);
	else
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* ---- the proof ---- */

/* As TLS 1.3 has it sign, by way of OpenSSL's default context, which knows of no provider but its own: RSA by PSS. */
static bool set_padding(EVP_PKEY_CTX *pctx, const EVP_PKEY *key)
{
	if (!EVP_PKEY_is_a(key, "RSA"))
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static const char *digest_of(const EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448"))
		return NULL;
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256 ? "SHA384" : "SHA256";
}

static bool sign(EVP_PKEY *key, const EVP_PKEY *kind, uint8_t *signature, size_t *n)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	bool ok = md && EVP_DigestSignInit_ex(md, &pctx, digest_of(kind), NULL, NULL, key, NULL) == 1 && set_padding(pctx, kind) &&
		  EVP_DigestSign(md, signature, n, (const unsigned char *)PROOF, sizeof PROOF - 1) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

static bool verifies(EVP_PKEY *public, const uint8_t *signature, size_t n)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	bool ok = md && EVP_DigestVerifyInit_ex(md, &pctx, digest_of(public), NULL, NULL, public, NULL) == 1 && set_padding(pctx, public) &&
		  EVP_DigestVerify(md, signature, n, (const unsigned char *)PROOF, sizeof PROOF - 1) == 1;

	EVP_MD_CTX_free(md);
	return ok;
}

static int not_the_key(const struct tls_key_facts *facts, struct problem *why)
{
	return problem_set(why, "%s is not the key of the certificate: name the key that tls.cert was made for", facts->shown);
}

static int prove(EVP_PKEY *key, X509 *leaf, struct tls_key_facts *facts, struct problem *why)
{
	EVP_PKEY *public = X509_get0_pubkey(leaf);
	uint8_t signature[SIGNATURE_MAX];
	size_t n = sizeof signature;
	int64_t began = clock_mono_us();

	if (!public || !key || !sign(key, public, signature, &n))
		return problem_set(why, "%s: the provider does not sign with it: is it a key for signing, its password right, and may the provider reach what it needs? See batond(8), CONFINEMENT",
				   facts->shown);
	facts->sign_us = clock_mono_us() - began;
	return verifies(public, signature, n) ? 0 : not_the_key(facts, why);
}

int tls_key_prove(const SSL_CTX *ctx, struct tls_key_facts *facts, struct problem *why)
{
	int rc = prove(SSL_CTX_get0_privatekey(ctx), SSL_CTX_get0_certificate(ctx), facts, why);

	ERR_clear_error();
	return rc;
}

/* Puts it into ctx by way of the signer, once it has shown that it is the certificate's. */
static int use_key(SSL_CTX *ctx, EVP_PKEY *key, struct tls_providers *p, struct tls_key_facts *facts, struct problem *why)
{
	X509 *leaf = SSL_CTX_get0_certificate(ctx);
	EVP_PKEY *public = X509_get0_pubkey(leaf), *wrapped = NULL;
	int rc = -1;

	if (!public || !EVP_PKEY_is_a(key, EVP_PKEY_get0_type_name(public))) /* no signature of it could be the certificate's */
		return not_the_key(facts, why);
	wrapped = tls_signer_wrap(tls_providers_signer(p), key, public);
	if (!wrapped)
		problem_set(why, "%s: a key of this kind is not taken: RSA, EC, ED25519 and ED448 are", facts->shown);
	else if (prove(wrapped, leaf, facts, why) == 0)
		rc = SSL_CTX_use_PrivateKey(ctx, wrapped) == 1 ? 0 : tls_openssl_problem(why, facts->shown);
	EVP_PKEY_free(wrapped);
	return rc;
}

/* One that was found before, if it is the certificate's and signs. */
static bool use_held(SSL_CTX *ctx, const char *uri, const uint8_t pin[SHA256_BYTES], struct tls_providers *p, struct tls_key_facts *facts)
{
	EVP_PKEY *key;

	tls_providers_lock(p);
	key = tls_providers_held(p, uri, pin);
	tls_providers_unlock(p);
	return key && use_key(ctx, key, p, facts, NULL) == 0;
}

static int use_found(SSL_CTX *ctx, const struct keyuri *u, const uint8_t pin[SHA256_BYTES], struct tls_providers *p, struct asked *a, struct tls_key_facts *facts,
		     struct problem *why)
{
	EVP_PKEY *key;
	int rc;

	tls_providers_lock(p);
	key = open_key(u, p, a, why);
	tls_providers_unlock(p);
	rc = key ? use_key(ctx, key, p, facts, why) : -1;
	tls_providers_lock(p);
	if (!rc && !tls_providers_hold(p, u->store, pin, key))
		rc = problem_set(why, "%s: this process has had too many keys of providers: restart batond", u->shown);
	if (rc)
		EVP_PKEY_free(key);
	tls_providers_unlock(p);
	return rc;
}

/* Of this URI, this PIN and this writing of its file. */
static void print_of_try(const struct keyuri *u, const uint8_t pin[SHA256_BYTES], uint8_t out[SHA256_BYTES])
{
	struct {
		uint8_t uri[SHA256_BYTES], pin[SHA256_BYTES];
		int64_t s, ns;
	} all = {.s = 0};
	struct stat st;

	if (u->pin_file[0] && stat(u->pin_file, &st) == 0) {
		all.s = st.st_mtim.tv_sec;
		all.ns = st.st_mtim.tv_nsec;
	}
	sha256(slice_str(u->store), all.uri);
	memcpy(all.pin, pin, SHA256_BYTES);
	sha256(slice_of(&all, sizeof all), out);
	secret_wipe(&all, sizeof all);
}

/* Unless it is known that the token does not take this PIN: reloads come for many reasons, and it locks after a few tries. */
static int find_unless_refused(SSL_CTX *ctx, const struct keyuri *u, const uint8_t pin[SHA256_BYTES], struct tls_providers *p, struct asked *a, struct tls_key_facts *facts,
			       struct problem *why)
{
	uint8_t print[SHA256_BYTES];
	int rc;

	print_of_try(u, pin, print);
	if (tls_providers_is_refused(p, print))
		return problem_set(why, "%s: the PIN of %s was not taken, and is not tried again, for a token locks after a few wrong ones: write the right one into it, or the same anew", u->shown,
				   u->pin_file);
	rc = use_found(ctx, u, pin, p, a, facts, why);
	if (a->refused)
		tls_providers_refuse(p, print);
	return rc;
}

static int load_uri(SSL_CTX *ctx, const char *text, struct tls_providers *p, struct tls_key_facts *facts, struct problem *why)
{
	struct asked a = {.pin = NULL};
	struct keyuri u;
	const char *wrong = keyuri_parse(text, &u);
	uint8_t *pin = NULL, digest[SHA256_BYTES];
	int rc = 0;

	if (wrong)
		return problem_set(why, "%s", wrong);
	if (!p)
		return problem_set(why, "%s is read by a provider of OpenSSL, and tls.providers names none", u.shown);
	if (u.pin_file[0] && secret_read_file(u.pin_file, PIN_MAX, &pin, &a.n, why) < 0)
		return problem_prefix(why, "pin-source: %s", u.pin_file);
	a.pin = pin;
	sha256(slice_of(pin, a.n), digest);
	snprintf(facts->shown, sizeof facts->shown, "%.*s", (int)sizeof facts->shown - 1, u.shown);
	if (!use_held(ctx, u.store, digest, p, facts))
		rc = find_unless_refused(ctx, &u, digest, p, &a, facts, why);
	ERR_clear_error();
	secret_wipe(pin, a.n);
	secret_wipe(digest, sizeof digest);
	free(pin);
	return rc;
}

int tls_key_load(SSL_CTX *ctx, const char *key, struct tls_providers *p, struct tls_key_facts *facts, struct problem *why)
{
	return keyuri_is(key) ? load_uri(ctx, key, p, facts, why) : load_file(ctx, key, why);
}
