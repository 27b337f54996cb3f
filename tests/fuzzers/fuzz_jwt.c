/* Can bytes make the token verifier crash, or say yes to what nobody signed? The first byte chooses: 's' and 'e' take the rest as header,
 * newline, payload, and sign it with the issuer's Ed25519 or P-256 key, so that the claims are reached; 'a' does so with Baton's own key
 * and asks the reader of its assertions; 'b' gives that reader the rest as it is; anything else is a token as it is. */
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "fuzz.h"
#include "identity/assertion.h"
#include "identity/token.h"

#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"
#define RECEIVER "spiffe://acme.example/worker"
#define SENDER "spiffe://acme.example/planner"
#define NOW_MS 1764000000000
/* A public key that nobody has the other half of: RS256 and PS256 are looked up, and never verify. */
#define RSA_JWK                                                                                                        \
	"{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"AQAB\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86"          \
	"zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Qv" \
	"zqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-" \
	"G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\"}"
/* Baton's own key is always this one: what stands in the corpus names it by its thumbprint. */
#define OWN_PEM                                                                                                        \
	"-----BEGIN PRIVATE KEY-----\n" \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoYsCE7uZxdO2nVEU\n" \
	"E2+C81h8vhH6MkUDHKJqhIps2G2hRANCAAS/KQB4sZFbwxF2pKABUK1d23yPjIoF\n" \
	"JnVBwphnwMlB+BERWbd1wc5Q+JJwNDcAmbhiOd1vlrnxnhn+otXw2Tk8\n" \
	"-----END PRIVATE KEY-----\n"

unsigned fuzz_good;

static EVP_PKEY *ed, *ec, *own;
static struct token_verifier *verifier;
static struct assertion_key *assertion;
static struct arena *arena;

static struct keyset *make_keys(void)
{
	uint8_t raw[32], point[65];
	char x[B64URL_LEN(32) + 1], ex[B64URL_LEN(32) + 1], ey[B64URL_LEN(32) + 1], jwks[2048];
	size_t n = sizeof raw, m = 0;
	struct keyset *k;

	NEED(EVP_PKEY_get_raw_public_key(ed, raw, &n) == 1);
	NEED(EVP_PKEY_get_octet_string_param(ec, "pub", point, sizeof point, &m) == 1 && m == sizeof point);
	b64url_encode(raw, n, x);
	b64url_encode(point + 1, 32, ex);
	b64url_encode(point + 33, 32, ey);
	snprintf(jwks, sizeof jwks, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"%s\"},"
		 "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"%s\",\"y\":\"%s\"}," RSA_JWK "]}", x, ex, ey);
	k = keyset_parse(slice_str(jwks), 31, 1, NULL);
	NEED(k && keyset_size(k) == 3);
	return k;
}

static void load_own_key(void)
{
	static const char pem[] = OWN_PEM;
	char path[] = "/tmp/baton-fuzz-XXXXXX";
	BIO *bio = BIO_new_mem_buf(pem, -1);
	int fd = mkstemp(path);

	own = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	NEED(own && fd >= 0 && write(fd, pem, sizeof pem - 1) == sizeof pem - 1);
	close(fd);
	assertion = assertion_key_load(path, NULL);
	unlink(path);
	BIO_free(bio);
	NEED(assertion);
}

static struct issuer_entry standard(void)
{
	struct issuer_entry e = {.rule = {.name = "corp", .url = "https://i.example", .tenants = {"acme"}, .n_tenants = 1, .algorithms = 31,
					  .binding = true, .max_lifetime_ms = 3600000}, .keys_good_until_ms = INT64_MAX};

	dialect_preset(DIALECT_STANDARD, &e.rule.claims);
	return e;
}

/* Another that has the same keys, writes no at+jwt, and keeps its claims in objects. */
static struct issuer_entry dialect(void)
{
	struct issuer_entry e = standard();

	memcpy(e.rule.name, "sso", sizeof "sso");
	memcpy(e.rule.url, "https://k.example", sizeof "https://k.example");
	dialect_preset(DIALECT_KEYCLOAK, &e.rule.claims);
	e.rule.claims.typ = TYP_JWT;
	memcpy(e.rule.claims.tenant, "/org/id", sizeof "/org/id");
	memcpy(e.rule.claims.scope.name[0], "/realm_access/roles", sizeof "/realm_access/roles");
	memcpy(e.rule.claims.scope.name[1], "/a~1b/~0c", sizeof "/a~1b/~0c");
	e.rule.claims.scope.n = 2;
	e.rule.tenant_values[0] = (struct tenant_value){"directory", "acme"};
	e.rule.n_tenant_values = 1;
	memcpy(e.rule.audiences[0], "baton", sizeof "baton");
	e.rule.n_audiences = 1;
	return e;
}

static struct issuer_entry svids(void)
{
	struct issuer_entry e = standard();

	memcpy(e.rule.name, "spire", sizeof "spire");
	memcpy(e.rule.url, "https://s.example", sizeof "https://s.example");
	e.rule.claims.kind = ISSUER_JWT_SVID;
	memcpy(e.rule.claims.trust_domain, "acme.example", sizeof "acme.example");
	e.rule.claims.jti_optional = true;
	e.rule.algorithms &= ~(unsigned)ALG_EDDSA;
	return e;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct issuer_entry e[3] = {standard(), dialect(), svids()};
	struct issuers *i;

	ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	ec = EVP_EC_gen("P-256");
	NEED(ed && ec);
	e[0].keys = make_keys();
	e[1].keys = e[2].keys = e[0].keys;
	i = issuers_new(e, 3);
	verifier = token_verifier_new(16);
	arena = arena_new(1 << 20);
	NEED(i && verifier && arena);
	token_verifier_set_issuers(verifier, i);
	issuers_unref(i);
	keyset_unref(e[0].keys);
	load_own_key();
	return 0;
}

/* RFC 7518 §3.4: r and s, 32 octets each. */
static void unwrap(const uint8_t *der, size_t n, uint8_t out[64])
{
	ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)n);

	NEED(s && BN_bn2binpad(ECDSA_SIG_get0_r(s), out, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(s), out + 32, 32) == 32);
	ECDSA_SIG_free(s);
}

/* The number of bytes of the token in out. */
static size_t sign(EVP_PKEY *key, struct slice header, struct slice payload, char *out)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t made[80], signature[64];
	size_t n = B64URL_LEN(header.n), made_n = sizeof made;

	b64url_encode(header.p, header.n, out);
	out[n++] = '.';
	b64url_encode(payload.p, payload.n, out + n);
	n += B64URL_LEN(payload.n);
	NEED(c && EVP_DigestSignInit(c, NULL, key == ed ? NULL : EVP_sha256(), NULL, key) == 1);
	NEED(EVP_DigestSign(c, made, &made_n, (const uint8_t *)out, n) == 1);
	EVP_MD_CTX_free(c);
	if (key == ed)
		memcpy(signature, made, sizeof signature);
	else
		unwrap(made, made_n, signature);
	out[n++] = '.';
	b64url_encode(signature, sizeof signature, out + n);
	return n + B64URL_LEN(sizeof signature);
}

static void check(struct slice token, bool genuine)
{
	struct token_context cx = {.x5t_s256 = X5T, .spiffe_id = SENDER, .client = "planner", .client_alt = SENDER, .audience = "baton", .tenant = "acme",
				   .now_ms = NOW_MS, .leeway_ms = 30000};
	struct token_answer first, again;

	arena_reset(arena);
	token_verify(verifier, token, &cx, arena, &first);
	token_verify(verifier, token, &cx, arena, &again); /* from the cache, when it went in */
	NEED(first.verdict.reason == again.verdict.reason && first.have_claims == again.have_claims);
	NEED(genuine || !first.have_claims);
	if (!verdict_ok(&first.verdict))
		return;
	fuzz_good++;
	NEED(first.have_claims && first.claims.bound && strcmp(first.claims.audience, "baton") == 0);
	NEED(strcmp(first.claims.client_id, "planner") == 0 || strcmp(first.claims.client_id, SENDER) == 0);
	NEED(strcmp(first.claims.issuer_name, "spire") != 0 || (strcmp(first.claims.subject, SENDER) == 0 && !first.claims.subject_is_user));
	NEED(first.claims.expires_at_ms > NOW_MS - 30000 && first.claims.issued_at_ms <= NOW_MS + 30000);
	NEED(strcmp(first.claims.tenant, "acme") == 0 || first.claims.tenant[0] == '\0');
	NEED(first.claims.subject[0] && (first.claims.jti[0] || strcmp(first.claims.issuer_name, "spire") == 0));
	NEED(first.claims.n_scopes <= CLAIMS_SCOPES_MAX);
	NEED(first.claims.n_scopes == again.claims.n_scopes && strcmp(first.claims.subject, again.claims.subject) == 0);
}

static void check_assertion(struct slice token, bool genuine)
{
	struct assertion_claims c;
	bool expired = false;
	const char *fault;

	arena_reset(arena);
	fault = assertion_verify(assertion, token, RECEIVER, X5T, NOW_MS, arena, &c, &expired);
	NEED(fault || genuine);
	NEED(fault || (c.expires_at_ms > NOW_MS && c.issuer && c.tenant && c.route && c.handoff_id));
	NEED(!expired || fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char token[32768];
	const uint8_t *newline;
	struct slice made;

	if (size < 1 || size > 10000)
		return 0;
	if (data[0] == 'b')
		check_assertion(slice_of(data + 1, size - 1), false);
	else if (data[0] != 's' && data[0] != 'e' && data[0] != 'a')
		check(slice_of(data + 1, size - 1), false);
	newline = data[0] && strchr("sea", data[0]) ? memchr(data, '\n', size) : NULL;
	if (!newline)
		return 0;
	made = slice_of(token, sign(data[0] == 's' ? ed : data[0] == 'e' ? ec : own, slice_of(data + 1, (size_t)(newline - data) - 1),
				    slice_of(newline + 1, size - (size_t)(newline - data) - 1), token));
	if (data[0] == 'a')
		check_assertion(made, true);
	else
		check(made, true);
	return 0;
}
