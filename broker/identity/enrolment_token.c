/* What does an enrolment token look like, and what is the bundle in it known by? See enrolment.h. Whether one is good only the broker knows (rpc/enrolment.h). */
#include "identity/enrolment.h"

#include <string.h>

#include "base/encode.h"

#define SCHEME "baton-enrol."
#define SECRET_BYTES 32
#define KEY_BYTES 8 /* of them: the agent's number */
#define PART B64URL_LEN(SECRET_BYTES)
#define BUNDLE_MAX (4 << 20)

_Static_assert(sizeof SCHEME - 1 + PART + 1 + PART == ENROLMENT_TOKEN_TEXT, "as admin.proto says");
_Static_assert(SECRET_BYTES == SHA256_BYTES, "both parts are of one size");

void enrolment_token(uint64_t agent_key, const uint8_t pin[SHA256_BYTES], char out[ENROLMENT_TOKEN_TEXT + 1])
{
	uint8_t secret[SECRET_BYTES];
	char *at = out + sizeof SCHEME - 1;

	for (int i = KEY_BYTES - 1; i >= 0; i--, agent_key >>= 8)
		secret[i] = (uint8_t)agent_key;
	random_bytes(secret + KEY_BYTES, sizeof secret - KEY_BYTES);
	memcpy(out, SCHEME, sizeof SCHEME - 1);
	b64url_encode(secret, sizeof secret, at);
	at[PART] = '.';
	b64url_encode(pin, SHA256_BYTES, at + PART + 1);
	secret_wipe(secret, sizeof secret);
}

static const char *form_fault(struct slice text)
{
	if (text.n == 0)
		return "there is no token";
	if (!slice_begins(text, SLICE_LIT(SCHEME)))
		return "an enrolment token begins with baton-enrol.";
	if (text.n < ENROLMENT_TOKEN_TEXT)
		return "the enrolment token is cut short: it has 99 characters";
	return text.n > ENROLMENT_TOKEN_TEXT ? "there is more than an enrolment token, which has 99 characters" : NULL;
}

const char *enrolment_token_read(struct slice text, uint64_t *agent_key, uint8_t pin[SHA256_BYTES])
{
	const char *fault = form_fault(text);
	const uint8_t *at = text.p + sizeof SCHEME - 1;
	uint8_t secret[SECRET_BYTES];

	*agent_key = 0;
	if (fault)
		return fault;
	if (at[PART] != '.' || b64url_decode(slice_of(at, PART), secret, sizeof secret) != SECRET_BYTES ||
	    b64url_decode(slice_of(at + PART + 1, PART), pin, SHA256_BYTES) != SHA256_BYTES)
		fault = "the enrolment token has a character that no token has";
	for (size_t i = 0; !fault && i < KEY_BYTES; i++)
		*agent_key = *agent_key << 8 | secret[i];
	secret_wipe(secret, sizeof secret);
	return fault;
}

bool enrolment_pin(const struct slice *der, size_t n, uint8_t out[SHA256_BYTES])
{
	struct buf all;
	bool ok = n > 0;

	buf_init(&all, BUNDLE_MAX);
	for (size_t i = 0; i < n; i++)
		ok = ok && buf_put_slice(&all, der[i]);
	if (ok)
		sha256(buf_slice(&all), out);
	buf_clear(&all);
	return ok;
}
