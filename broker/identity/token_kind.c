/* Is it an access token, although its header does not say so? typ at+jwt says it (RFC 9068, 2.1 and 5), and then nobody asks here. Some
 * providers write typ JWT, or none, over all their tokens; with the same keys they sign ID tokens, which anybody gets who lets a user log in
 * (RFC 8725, 2.8 and 3.11: one kind of token in the place of another). What tells them apart then:
 *
 * - other kinds have a typ of their own (logout+jwt, secevent+jwt, token-introspection+jwt, ...): token.c takes none of those;
 * - an ID token's aud holds its client (OpenID Connect Core 1.0, 2), an access token's the service that it is for. So aud may not hold the
 *   token's own client, and a service that asks for tokens for itself needs a client of its own for that;
 * - nonce, at_hash, c_hash (Core, 2 and 3.3.2.11) and s_hash (FAPI 1.0 Advanced) tie an ID token to a log-in; events are those of a
 *   logout token (OIDC Back-Channel Logout 1.0, 2.4) or a security event (RFC 8417, 2.2); token_introspection is an introspection's
 *   answer (RFC 9701, 5);
 * - a payload with a typ, as Keycloak writes it, has Bearer there; Keycloak's must.
 *
 * Beside this every token must name its client, which Entra's, Okta's and Auth0's ID tokens do not under the names that are read, and the
 * audience that the route demands, which is no client's. */
#include "identity/token_kind.h"

static const char *const foreign[] = {"nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection"};

static bool says_bearer(const json_t *typ, enum dialect dialect)
{
	if (!typ)
		return !dialect_says_bearer(dialect);
	return json_is_string(typ) && slice_is(slice_of(json_string_value(typ), json_string_length(typ)), "Bearer");
}

const char *token_kind_fault(const json_t *payload, const struct facts *f, enum dialect dialect, const char **field)
{
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
		*field = foreign[i];
		if (json_object_get(payload, foreign[i]))
			return "this claim is that of an ID token or another kind of token: send the access token";
	}
	*field = "typ";
	if (!says_bearer(json_object_get(payload, "typ"), dialect))
		return "the payload's typ says it is no access token: send one whose typ is Bearer";
	*field = "aud";
	if (facts_find_audience(f, facts_text(f, f->client)))
		return "an audience that is the token's own client is an ID token's: send an access token for this service";
	return NULL;
}
