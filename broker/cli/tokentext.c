/* How is a token taken apart for people to read? Base64url, then JSON; the signature is never looked at. */
#include "config.h"

#include "cli/tokentext.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"

#define PART_MAX 8192

json_t *tokentext_part(struct slice token, int part)
{
	uint8_t bytes[PART_MAX];
	json_t *j = NULL;
	long n;

	for (; part > 0; part--) {
		const uint8_t *dot = token.n ? memchr(token.p, '.', token.n) : NULL;

		if (!dot)
			return NULL;
		token = slice_of(dot + 1, token.n - (size_t)(dot + 1 - token.p));
	}
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] == '.') {
			token.n = i;
			break;
		}
	n = b64url_decode(token, bytes, sizeof bytes);
	if (n > 0)
		j = json_loadb((const char *)bytes, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	secret_wipe(bytes, sizeof bytes);
	if (j && !json_is_object(j)) {
		json_decref(j);
		j = NULL;
	}
	return j;
}

static bool copy_text(const json_t *value, char *out, size_t size)
{
	const char *text = json_string_value(value);

	return text && (size_t)snprintf(out, size, "%s", text) < size;
}

bool tokentext_binding(struct slice token, char *out, size_t size)
{
	json_t *claims = tokentext_part(token, 1);
	bool found = copy_text(json_object_get(json_object_get(claims, "cnf"), "x5t#S256"), out, size);

	json_decref(claims);
	return found;
}

bool tokentext_claim(struct slice token, const char *name, char *out, size_t size)
{
	json_t *claims = tokentext_part(token, 1);
	bool found = copy_text(json_object_get(claims, name), out, size);

	json_decref(claims);
	return found;
}
