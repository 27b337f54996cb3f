/* How is an enrolment token taken apart? See enroltoken.h. Whether it is good only the broker knows. */
#include "config.h"

#include "cli/enroltoken.h"

#include <string.h>

#include "base/buf.h"
#include "base/encode.h"

#define PREFIX "baton-enrol."
#define PART B64URL_LEN(SHA256_BYTES)
#define BUNDLE_MAX (4 * 1024 * 1024)

_Static_assert(sizeof PREFIX - 1 + PART + 1 + PART == ENROLTOKEN_BYTES, "as admin.proto has it");

const char *enroltoken_parse(struct slice text, uint8_t pin[SHA256_BYTES])
{
	const struct slice prefix = slice_str(PREFIX);
	uint8_t secret[SHA256_BYTES];
	const uint8_t *at = text.p + prefix.n;
	bool ok;

	if (text.n == 0)
		return "there is no token";
	if (!slice_begins(text, prefix))
		return "an enrolment token begins with baton-enrol.";
	if (text.n != ENROLTOKEN_BYTES)
		return text.n < ENROLTOKEN_BYTES ? "the enrolment token is cut short: it has 99 characters" : "there is more than an enrolment token, which has 99 characters";
	ok = at[PART] == '.' && b64url_decode(slice_of(at, PART), secret, sizeof secret) == SHA256_BYTES &&
	     b64url_decode(slice_of(at + PART + 1, PART), pin, SHA256_BYTES) == SHA256_BYTES;
	secret_wipe(secret, sizeof secret);
	return ok ? NULL : "the enrolment token has a character that no token has";
}

bool enroltoken_pins(const uint8_t pin[SHA256_BYTES], const struct slice *der, size_t n)
{
	uint8_t digest[SHA256_BYTES];
	struct buf all;
	bool ok = n > 0;

	buf_init(&all, BUNDLE_MAX);
	for (size_t i = 0; i < n; i++)
		ok = ok && buf_put_slice(&all, der[i]);
	if (ok)
		sha256(buf_slice(&all), digest);
	ok = ok && secret_equal(digest, pin, sizeof digest);
	buf_clear(&all);
	return ok;
}
