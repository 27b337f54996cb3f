/* Is this JWK a public key that may verify tokens? One row a kind of key says which algorithm it serves and how it is
 * imported. What is not for verifying (use, key_ops), not asymmetric, private, weak or not allowed by the issuer's rule
 * is skipped, never loaded. */
#include "identity/jwk.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/encode.h"

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 8192
#define COORDINATE_MAX 48 /* bytes, P-384 */

struct kind {
	const char *kty, *crv; /* crv NULL: has none */
	unsigned algorithms;   /* the first of them that the issuer allows is the key's, unless `alg` says which */
	const char *(*import)(const json_t *object, const struct kind *kind, EVP_PKEY **out);
	const char *group;     /* OpenSSL's name */
	size_t field_n;        /* bytes of a coordinate */
};

static const char *import_ec(const json_t *object, const struct kind *kind, EVP_PKEY **out);
static const char *import_rsa(const json_t *object, const struct kind *kind, EVP_PKEY **out);
static const char *import_ed25519(const json_t *object, const struct kind *kind, EVP_PKEY **out);

static const struct kind kinds[] = {
	{"EC", "P-256", ALG_ES256, import_ec, "prime256v1", 32},
	{"EC", "P-384", ALG_ES384, import_ec, "secp384r1", 48},
	{"RSA", NULL, ALG_RS256 | ALG_PS256, import_rsa, NULL, 0},
	{"OKP", "Ed25519", ALG_EDDSA, import_ed25519, NULL, 32},
};

static bool member_is(const json_t *object, const char *name, const char *value)
{
	const json_t *v = json_object_get(object, name);

	return json_is_string(v) && strcmp(json_string_value(v), value) == 0;
}

/* Bytes written, or -1. */
static long member_bytes(const json_t *object, const char *name, uint8_t *out, size_t size)
{
	const json_t *v = json_object_get(object, name);

	return json_is_string(v) ? b64url_decode(slice_of(json_string_value(v), json_string_length(v)), out, size) : -1;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* RFC 7518 §6.2.1: both coordinates have the full length of the field. OpenSSL refuses a point that is not on the
 * curve. */
static const char *import_ec(const json_t *object, const struct kind *kind, EVP_PKEY **out)
{
	uint8_t point[1 + 2 * COORDINATE_MAX] = {4}; /* uncompressed, SEC 1 §2.3.3 */
	OSSL_PARAM params[3];
	long n = (long)kind->field_n;

	if (member_bytes(object, "x", point + 1, kind->field_n) != n ||
	    member_bytes(object, "y", point + 1 + n, kind->field_n) != n)
		return "x or y is not a coordinate of its curve";
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)kind->group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * kind->field_n);
	params[2] = OSSL_PARAM_construct_end();
	*out = from_params("EC", params);
	return *out ? NULL : "the point is not on its curve";
}

static const char *import_ed25519(const json_t *object, const struct kind *kind, EVP_PKEY **out)
{
	uint8_t x[32];

	if (member_bytes(object, "x", x, sizeof x) != (long)sizeof x)
		return "x is not 32 bytes";
	*out = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x, sizeof x);
	return *out ? NULL : "x is not an Ed25519 key";
}

static EVP_PKEY *build_rsa(const BIGNUM *n, const BIGNUM *e)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
		params = OSSL_PARAM_BLD_to_param(build);
	if (params)
		key = from_params("RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static const char *import_rsa(const json_t *object, const struct kind *kind, EVP_PKEY **out)
{
	uint8_t n_bytes[RSA_MAX_BITS / 8 + 1], e_bytes[8];
	long n_n = member_bytes(object, "n", n_bytes, sizeof n_bytes);
	long e_n = member_bytes(object, "e", e_bytes, sizeof e_bytes);
	BIGNUM *n = NULL, *e = NULL;
	const char *fault = "n or e is not a number of at most 8192 bits";

	if (n_n <= 0 || e_n <= 0)
		return fault;
	n = BN_bin2bn(n_bytes, (int)n_n, NULL);
	e = BN_bin2bn(e_bytes, (int)e_n, NULL);
	if (!n || !e)
		goto out;
	fault = "RSA keys have at least 2048 bits";
	if (BN_num_bits(n) < RSA_MIN_BITS)
		goto out;
	fault = "RSA keys have at most 8192 bits, an odd modulus and an odd exponent of at least 3";
	if (BN_num_bits(n) > RSA_MAX_BITS || !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e))
		goto out;
	*out = build_rsa(n, e);
	fault = *out ? NULL : "the RSA key cannot be used";
out:
	BN_free(n);
	BN_free(e);
	return fault;
}

static const struct kind *find_kind(const json_t *object)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (member_is(object, "kty", kinds[i].kty) && (!kinds[i].crv || member_is(object, "crv", kinds[i].crv)))
			return &kinds[i];
	return NULL;
}

/* RFC 7518 §6.2.2, §6.3.2, §6.4: one of them is enough, an RSA key's factors give away the rest. */
static bool is_private(const json_t *object)
{
	static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		if (json_object_get(object, members[i]))
			return true;
	return false;
}

/* RFC 7517 §4.2, §4.3: absent means nothing is said against it. */
static const char *check_purpose(const json_t *object, bool of_svids)
{
	const json_t *use = json_object_get(object, "use"), *ops = json_object_get(object, "key_ops");
	const json_t *op;
	size_t i;

	if (use && !member_is(object, "use", "sig") && !(of_svids && member_is(object, "use", "jwt-svid")))
		return "its use is not sig";
	if (!ops)
		return NULL;
	json_array_foreach((json_t *)ops, i, op)
		if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
			return NULL;
	return "its key_ops do not name verify";
}

/* What `alg` says, or the one that the issuer's rule leaves. RSA keys without `alg` under a rule with both RSA
 * algorithms take RS256, the one that OpenID Connect demands of everybody. */
static enum token_alg choose_alg(const json_t *object, const struct kind *kind, unsigned algorithms)
{
	const json_t *v = json_object_get(object, "alg");
	unsigned may = kind->algorithms & algorithms;

	if (v)
		may &= json_is_string(v) ? token_alg_from_text(slice_of(json_string_value(v),
									json_string_length(v))) : ALG_NONE;
	return (enum token_alg)(may & -may);
}

static const char *read_kid(const json_t *object, struct jwk *out)
{
	const json_t *v = json_object_get(object, "kid");

	if (!v)
		return NULL;
	if (!json_is_string(v) || !slice_copy_str(slice_of(json_string_value(v), json_string_length(v)), out->kid,
						  sizeof out->kid))
		return "its kid is not a string of at most 256 bytes";
	out->has_kid = true;
	out->kid_n = json_string_length(v);
	return NULL;
}

const char *jwk_read(const json_t *object, unsigned algorithms, bool of_svids, struct jwk *out)
{
	const struct kind *kind;
	const char *fault;

	memset(out, 0, sizeof *out);
	if (!json_is_object(object))
		return "it is no object";
	if (member_is(object, "kty", "oct"))
		return "symmetric keys are never loaded";
	if (is_private(object))
		return "private keys are never loaded: publish the public half of a new one";
	kind = find_kind(object);
	if (!kind)
		return "its kind is not EC P-256, EC P-384, RSA or OKP Ed25519";
	fault = check_purpose(object, of_svids);
	if (!fault)
		fault = read_kid(object, out);
	if (fault)
		return fault;
	out->alg = choose_alg(object, kind, algorithms);
	if (out->alg == ALG_NONE)
		return "its algorithm is not one that the issuer's rule allows for such a key";
	fault = kind->import(object, kind, &out->key);
	ERR_clear_error();
	if (!fault)
		out->signature_n = kind->field_n ? 2 * kind->field_n : (size_t)EVP_PKEY_get_size(out->key);
	return fault;
}

void jwk_clear(struct jwk *k)
{
	EVP_PKEY_free(k->key);
	k->key = NULL;
}
