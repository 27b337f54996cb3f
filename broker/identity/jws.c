/* How is a compact JWS (RFC 7515 §3.1) taken apart? Strictly: three canonical segments of the base64url alphabet, JSON
 * without a member that stands twice, no extension that must be understood. Signatures are jws_verify.c. */
#include "identity/jws.h"

#include <string.h>
#include <strings.h>

#include "base/encode.h"
#include "base/json.h"

/* RFC 7515 §2: one canonical segment that is not empty. b64url_decode() knows the alphabet, so nothing outside it gets
 * any further. */
static bool decode(struct slice text, uint8_t *out, size_t size, size_t *n)
{
	long got = text.n ? b64url_decode(text, out, size) : -1;

	*n = got > 0 ? (size_t)got : 0;
	return got > 0;
}

/* How many dots; the places of the first two. */
static int find_dots(struct slice token, const uint8_t *dot[2])
{
	const uint8_t *at = token.p, *end = token.p + token.n;
	int n = 0;

	while (at < end && (at = memchr(at, '.', (size_t)(end - at)))) {
		if (n < 2)
			dot[n] = at;
		n++;
		at++;
	}
	return n;
}

const char *jws_split(struct slice token, struct jws *out)
{
	const uint8_t *dot[2] = {NULL, NULL}, *end = token.p + token.n;
	int dots;

	if (token.n > TOKEN_MAX_BYTES)
		return "a token has at most 8192 bytes";
	dots = find_dots(token, dot);
	if (dots == 4)
		return "encrypted tokens (JWE) are not accepted: ask the issuer for a signed one";
	if (dots != 2)
		return "a token has three segments: send a signed JWT access token (RFC 9068)";
	if (dot[1] + 1 == end)
		return "the token is not signed";
	if (!decode(slice_of(dot[1] + 1, (size_t)(end - dot[1] - 1)), out->signature, sizeof out->signature,
		    &out->signature_n))
		return "the signature is not canonical base64url of at most 1024 bytes";
	if (!decode(slice_of(token.p, (size_t)(dot[0] - token.p)), out->header, sizeof out->header, &out->header_n) ||
	    !decode(slice_of(dot[0] + 1, (size_t)(dot[1] - dot[0] - 1)), out->payload, sizeof out->payload,
		    &out->payload_n))
		return "a token is canonical base64url: send it as it was issued, without padding or white space";
	out->signed_part = slice_of(token.p, (size_t)(dot[1] - token.p));
	return NULL;
}

json_t *jws_read_json(struct slice json)
{
	json_t *root = json_read(json, NULL);

	if (root && !json_is_object(root)) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

/* RFC 7515 §4.1.9: a typ without "/" reads as if "application/" stood before it; media types do not know case. */
static bool typ_is(const json_t *v, const char *typ)
{
	static const char prefix[] = "application/";
	const char *text = json_string_value(v);

	if (!text)
		return false;
	if (strncasecmp(text, prefix, sizeof prefix - 1) == 0)
		text += sizeof prefix - 1;
	return strcasecmp(text, typ) == 0;
}

static const char *read_header(const json_t *h, const char *demanded, bool untyped_too, struct jws_header *out, const char **field)
{
	const json_t *alg = json_object_get(h, "alg"), *kid = json_object_get(h, "kid"), *typ = json_object_get(h, "typ");

	*field = "crit";
	if (json_object_get(h, "crit"))
		return "the header demands extensions (crit); none is understood here";
	*field = "b64";
	if (json_object_get(h, "b64"))
		return "an unencoded payload (b64) is not accepted";
	*field = "alg";
	out->alg = json_is_string(alg) ? token_alg_from_text(slice_of(json_string_value(alg),
								      json_string_length(alg))) : ALG_NONE;
	if (out->alg == ALG_NONE)
		return "sign with ES256, ES384, EdDSA, PS256 or RS256";
	*field = "typ";
	out->untyped = !typ || typ_is(typ, "JWT");
	out->jose = typ_is(typ, "JOSE");
	if (!typ_is(typ, demanded) && !(untyped_too && (out->untyped || out->jose)))
		return JWS_NO_ACCESS_TOKEN;
	*field = "kid";
	out->has_kid = kid != NULL;
	if (!kid)
		return NULL;
	if (!json_is_string(kid) || !slice_copy_str(slice_of(json_string_value(kid), json_string_length(kid)), out->kid,
						    sizeof out->kid))
		return "kid must be a string of at most 256 bytes";
	out->kid_n = json_string_length(kid);
	return NULL;
}

const char *jws_read_header(const struct jws *j, const char *typ, bool untyped_too, struct jws_header *out, const char **field)
{
	/* RFC 7515 allows white space before the brace. No issuer writes it, and what redacts tokens knows them by their first letters. */
	json_t *h = j->header_n && j->header[0] == '{' ? jws_read_json(slice_of(j->header, j->header_n)) : NULL;
	const char *fault = "the header is no JSON object, or holds a member twice";

	*field = "";
	out->alg = ALG_NONE;
	out->untyped = out->jose = out->has_kid = false;
	out->kid_n = 0;
	if (h)
		fault = read_header(h, typ, untyped_too, out, field);
	json_decref(h);
	return fault;
}
