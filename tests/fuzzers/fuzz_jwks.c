/* Can a document from the network make the readers of JWKS and discovery crash, or import what they must not? */
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "identity/jwk.h"

unsigned fuzz_good;

static void check_key(const struct jwk *k)
{
	int bits = EVP_PKEY_get_bits(k->key);

	fuzz_good++;
	NEED(k->alg && (k->alg & (k->alg - 1)) == 0 && k->kid_n <= JWK_KID_MAX);
	if (k->alg & (ALG_RS256 | ALG_PS256))
		NEED(EVP_PKEY_get_base_id(k->key) == EVP_PKEY_RSA && bits >= 2048 && bits <= 8192);
	else if (k->alg == ALG_EDDSA)
		NEED(EVP_PKEY_get_base_id(k->key) == EVP_PKEY_ED25519);
	else
		NEED(EVP_PKEY_get_base_id(k->key) == EVP_PKEY_EC && bits == (k->alg == ALG_ES256 ? 256 : 384));
}

static void check_set(struct slice text)
{
	struct problem why = {{0}};
	struct keyset *k = keyset_parse(text, 31, 1, &why);

	NEED((k == NULL) == (why.text[0] != '\0'));
	NEED(!k || (keyset_size(k) >= 1 && keyset_size(k) <= JWK_KEYS_MAX));
	for (size_t i = 0; i < keyset_size(k); i++)
		check_key(keyset_at(k, i));
	keyset_unref(k);
}

static void check_discovery(struct slice text)
{
	static const char url[] = "https://i.example/t", origin[] = "https://i.example";
	char out[300];
	struct problem why = {{0}};

	if (discovery_parse(text, url, out, sizeof out, &why) == 0) {
		const char *rest = out + sizeof origin - 1;

		NEED(strncasecmp(out, origin, sizeof origin - 1) == 0);
		NEED(*rest == '\0' || *rest == '/' || *rest == '?' || strncmp(rest, ":443", 4) == 0 ||
		     strncmp(rest, ":0", 2) == 0);
	} else {
		NEED(why.text[0] && !out[0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_set(slice_of(data, size));
	check_discovery(slice_of(data, size));
	return 0;
}
