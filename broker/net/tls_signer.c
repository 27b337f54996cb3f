/* See tls_signer.h. */
#include "config.h"

#include "net/tls_signer.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "baton"
#define OURS "provider=" NAME
#define HANDED "key" /* the parameter by which a struct wrapped comes in */

struct tls_signer {
	OSSL_LIB_CTX *own, *keys;
	OSSL_PROVIDER *provider;
	pthread_mutex_t *lock;
};

/* A key. */
struct wrapped {
	const struct tls_signer *signer;
	EVP_PKEY *key, *public;
	char query[80]; /* "?provider=pkcs11" */
};

#define PARAMS_MAX 4

/* A signature under way. All of it is done at its end, in one go: what a TPM has begun takes one of its few places until it has ended. */
struct signing {
	const struct wrapped *w; /* EVP keeps the key meanwhile */
	char digest[32];         /* "" = none */
	OSSL_PARAM *params[PARAMS_MAX];
	size_t n_params;
};

/* A row of a dispatch table, whose functions have any type. */
#define FN(id, f) {id, (void (*)(void))(f)}

/* ---- the key ---- */

static void *key_new(void *provctx)
{
	(void)provctx;
	return calloc(1, sizeof(struct wrapped));
}

static void with_lock(const struct tls_signer *s, void (*fn)(EVP_PKEY *), EVP_PKEY *key)
{
	pthread_mutex_lock(s->lock);
	fn(key);
	pthread_mutex_unlock(s->lock);
}

static void key_free(void *keydata)
{
	struct wrapped *w = keydata;

	if (w && w->signer)
		with_lock(w->signer, EVP_PKEY_free, w->key); /* its provider lets go of it */
	if (w)
		EVP_PKEY_free(w->public);
	free(w);
}

/* From tls_signer_wrap() alone. */
static int key_import(void *keydata, int selection, const OSSL_PARAM params[])
{
	struct wrapped *w = keydata;
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, HANDED);
	const void *from = NULL;
	size_t n = 0;

	(void)selection;
	if (!p || OSSL_PARAM_get_octet_ptr(p, &from, &n) != 1 || n != sizeof *w)
		return 0;
	memcpy(w, from, n);
	EVP_PKEY_up_ref(w->key);
	EVP_PKEY_up_ref(w->public);
	return 1;
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_octet_ptr(HANDED, NULL, 0), OSSL_PARAM_END};

	(void)selection;
	return types;
}

/* The public half, for comparing with a certificate. Nobody gets a private one. */
static int key_export(void *keydata, int selection, OSSL_CALLBACK *give, void *arg)
{
	const struct wrapped *w = keydata;
	OSSL_PARAM *params = NULL;
	int rc;

	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || EVP_PKEY_todata(w->public, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	rc = give(params, arg);
	OSSL_PARAM_free(params);
	return rc;
}

static const OSSL_PARAM *key_export_types(int selection)
{
	static const OSSL_PARAM any[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : any;
}

static int key_has(const void *keydata, int selection)
{
	(void)selection;
	return keydata != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
	(void)selection;
	return EVP_PKEY_eq(((const struct wrapped *)a)->public, ((const struct wrapped *)b)->public) == 1;
}

static int key_get_params(void *keydata, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct wrapped *)keydata)->public, params);
}

static const OSSL_PARAM *key_gettable(void *provctx)
{
	static const OSSL_PARAM known[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END};

	(void)provctx;
	return known;
}

static const char *signs_by_ecdsa(int operation)
{
	(void)operation;
	return "ECDSA";
}

#define KEY_FUNCTIONS                                                                                                                       \
	FN(OSSL_FUNC_KEYMGMT_NEW, key_new), FN(OSSL_FUNC_KEYMGMT_FREE, key_free), FN(OSSL_FUNC_KEYMGMT_IMPORT, key_import),                \
		FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_import_types), FN(OSSL_FUNC_KEYMGMT_EXPORT, key_export),                             \
		FN(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_export_types), FN(OSSL_FUNC_KEYMGMT_HAS, key_has), FN(OSSL_FUNC_KEYMGMT_MATCH, key_match), \
		FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params), FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable)

static const OSSL_DISPATCH key_functions[] = {KEY_FUNCTIONS, {0, NULL}};
static const OSSL_DISPATCH key_functions_ec[] = {KEY_FUNCTIONS, FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, signs_by_ecdsa), {0, NULL}};

/* ---- the signature ---- */

static void *signing_new(void *provctx, const char *query)
{
	(void)provctx;
	(void)query;
	return calloc(1, sizeof(struct signing));
}

static void drop_params(struct signing *s)
{
	while (s->n_params)
		OSSL_PARAM_free(s->params[--s->n_params]);
}

static void signing_free(void *ctx)
{
	if (ctx)
		drop_params(ctx);
	free(ctx);
}

/* Of RSA: padding and length of the salt. */
static int signing_set_params(void *ctx, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	if (!params || !params[0].key)
		return 1;
	if (s->n_params == PARAMS_MAX || !(s->params[s->n_params] = OSSL_PARAM_dup(params)))
		return 0;
	s->n_params++;
	return 1;
}

static int signing_init(void *ctx, const char *digest, void *keydata, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	if (!keydata || (digest && strlen(digest) >= sizeof s->digest)) /* without a key: once more with the same, for which nobody asks */
		return 0;
	s->w = keydata;
	snprintf(s->digest, sizeof s->digest, "%s", digest ? digest : "");
	drop_params(s);
	return signing_set_params(s, params);
}

static int ask_provider(const struct signing *s, unsigned char *signature, size_t *n, const unsigned char *text, size_t text_n)
{
	const struct wrapped *w = s->w;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	int rc = md && EVP_DigestSignInit_ex(md, &pctx, s->digest[0] ? s->digest : NULL, w->signer->keys, w->query, w->key, NULL) == 1;

	for (size_t i = 0; i < s->n_params && rc; i++)
		rc = EVP_PKEY_CTX_set_params(pctx, s->params[i]) == 1;
	if (rc)
		rc = EVP_DigestSign(md, signature, n, text, text_n) == 1;
	EVP_MD_CTX_free(md);
	return rc;
}

/* Whatever the provider says of a failure, or says not, there is one error for it. */
static int signing_sign(void *ctx, unsigned char *signature, size_t *n, size_t size, const unsigned char *text, size_t text_n)
{
	const struct signing *s = ctx;
	int rc;

	if (!signature) {
		*n = (size_t)EVP_PKEY_get_size(s->w->public);
		return 1;
	}
	*n = size;
	pthread_mutex_lock(s->w->signer->lock);
	rc = ask_provider(s, signature, n, text, text_n);
	pthread_mutex_unlock(s->w->signer->lock);
	if (rc)
		return 1;
	ERR_clear_error();
	ERR_raise(TLS_SIGNER_LIB, TLS_SIGNER_FAILED);
	return 0;
}

static const OSSL_PARAM *signing_settable(void *ctx, void *provctx)
{
	static const OSSL_PARAM known[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0), OSSL_PARAM_END};

	(void)ctx;
	(void)provctx;
	return known;
}

static const OSSL_DISPATCH signing_functions[] = {
	FN(OSSL_FUNC_SIGNATURE_NEWCTX, signing_new), FN(OSSL_FUNC_SIGNATURE_FREECTX, signing_free), FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_init),
	FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_sign), FN(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signing_set_params),
	FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signing_settable), {0, NULL},
};

/* ---- the provider ---- */

static const OSSL_ALGORITHM keys[] = {
	{"EC:id-ecPublicKey:1.2.840.10045.2.1", OURS, key_functions_ec, NULL},
	{"RSA:rsaEncryption:1.2.840.113549.1.1.1", OURS, key_functions, NULL},
	{"ED25519:1.3.101.112", OURS, key_functions, NULL},
	{"ED448:1.3.101.113", OURS, key_functions, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM signatures[] = {
	{"ECDSA", OURS, signing_functions, NULL},
	{"RSA:rsaEncryption:1.2.840.113549.1.1.1", OURS, signing_functions, NULL},
	{"ED25519:1.3.101.112", OURS, signing_functions, NULL},
	{"ED448:1.3.101.113", OURS, signing_functions, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
	(void)provctx;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	static const OSSL_DISPATCH functions[] = {FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), {0, NULL}};

	(void)in;
	*provctx = (void *)(uintptr_t)handle;
	*out = functions;
	return 1;
}

struct tls_signer *tls_signer_new(OSSL_LIB_CTX *where, pthread_mutex_t *lock)
{
	struct tls_signer *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->keys = where;
	s->lock = lock;
	s->own = OSSL_LIB_CTX_new();
	if (s->own && OSSL_PROVIDER_add_builtin(s->own, NAME, begin) == 1)
		s->provider = OSSL_PROVIDER_load(s->own, NAME);
	if (s->provider)
		return s;
	tls_signer_free(s);
	return NULL;
}

void tls_signer_free(struct tls_signer *s)
{
	if (!s)
		return;
	if (s->provider)
		OSSL_PROVIDER_unload(s->provider);
	OSSL_LIB_CTX_free(s->own);
	free(s);
}

EVP_PKEY *tls_signer_wrap(struct tls_signer *s, EVP_PKEY *key, EVP_PKEY *public)
{
	struct wrapped w = {.signer = s, .key = key, .public = public}, *at = &w;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_ptr(HANDED, (void **)&at, sizeof w), OSSL_PARAM_construct_end()};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(s->own, EVP_PKEY_get0_type_name(public), NULL);
	EVP_PKEY *made = NULL;

	snprintf(w.query, sizeof w.query, "?provider=%.63s", OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)));
	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params) != 1)
		made = NULL;
	EVP_PKEY_CTX_free(ctx);
	return made;
}
